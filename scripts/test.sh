#!/usr/bin/env bash
# The whole test suite: installs what it needs, checks, tests on real Incus daemons, and looks that nothing is left behind.
#
#   ./scripts/test.sh
#
# Needs root (goes through sudo if it has to), 6 GiB in TMPDIR (/var/tmp if unset), and the network for what is missing.
# Bounded to 25 minutes. The exit code is 0 only if every check and test passed and nothing was left.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/install.sh
. scripts/install.sh

limit=1500 # seconds, for everything
# Much of a test is waiting for a daemon, so twice as many as there are cores keep them busy.
threads=$(($(nproc) * 2))
problems=()
tried= # of `failed`
running= # the process id of what `bounded` runs

problem() {
    problems+=("$1")
    say "test: $1"
}

# --- what the tests need ---

# Debian 12 has Incus in its backports only. The entry is the machine's own entry for its release with the suite changed, so
# mirror, keys and format stay what they are here.
add_backports() {
    local suite file entry
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    file=/etc/apt/sources.list.d/taos-setup-backports # a name of our own: nobody's file is overwritten
    entry=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } |
        sed -nE "s|^deb +(\[[^]]*\] +)?([a-z+]+:/[^ ]+) +$suite +main\b.*|deb \1\2 $suite-backports main|p" | head -n 1)
    if [ -n "$entry" ]; then
        file+=.list
    else
        file+=.sources
        entry=$({ cat /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } | sed '/^#/d' | awk -v RS= -v suite="$suite" '
            "\n" $0 "\n" ~ "\nSuites:[^\n]*[ \t]" suite "[ \t\n]" && $0 !~ /(^|\n)Enabled: *no/ {
                gsub(/(^|\n)Types:[^\n]*/, "\nTypes: deb")
                gsub(/(^|\n)Suites:[^\n]*/, "\nSuites: " suite "-backports")
                gsub(/(^|\n)Components:[^\n]*/, "\nComponents: main")
                sub(/^\n/, "")
                print
                exit
            }')
    fi
    [ -n "$entry" ] || die "No Incus in the package sources, and no entry for $suite to derive its backports from." "Add $suite-backports by hand and run it again."
    say "Adding $file:"
    say "$entry"
    printf '%s\n' "$entry" >"$file"
    if ! apt_get update; then
        rm -f "$file"
        die "The mirror of this machine has no $suite-backports; $file is removed again." "Add a source of incus-base by hand and run it again."
    fi
}

install_incus() {
    local daemon
    for daemon in /usr/libexec/incus/incusd /usr/lib/incus/incusd /opt/incus/bin/incusd; do
        if [ -x "$daemon" ] && command -v incus >/dev/null; then return; fi
    done
    [ "$(package_manager)" = apt-get ] || die "Install Incus by hand on this system, then run it again."
    [ -n "$(apt_candidate incus-base)$(apt_candidate incus)" ] || add_backports
    # No -t: on Debian 12 that would draw systemd and others from the backports, too. Ubuntu 24.04 has no incus-base.
    if [ -n "$(apt_candidate incus-base)" ]; then install_packages incus-base incus-client; else install_packages incus incus-client; fi
}

# rustfmt and clippy for the toolchain in use; check.sh says so if there are none. Somebody else's rustup is left as it is.
install_linters() {
    local rustc
    if cargo fmt --version && cargo clippy --version; then return; fi >/dev/null 2>&1
    doing="installing rustfmt and clippy"
    if command -v rustup >/dev/null; then
        [ ! -O "${RUSTUP_HOME:-$HOME/.rustup}" ] || quietly rustup component add rustfmt clippy || true
    elif rustc=$(dpkg -S "$(realpath "$(command -v rustc)")" 2>/dev/null); then
        rustc=${rustc%%:*}
        install_packages "${rustc/rustc/rustfmt}" "rust${rustc#rustc}-clippy" || true
    fi
}

prepare() {
    local free
    say "Installing what the tests need, where it is missing:"
    if [ "$(package_manager)" = apt-get ]; then
        apt_get update
        command -v systemd-analyze >/dev/null || install_packages systemd
        # Either busybox does; they conflict with each other.
        command -v busybox >/dev/null || install_packages busybox-static
        # What the examples for provisioning are run with; cloud-init itself is only unpacked, in a test.
        install_packages ansible-core python3-configobj python3-jinja2 python3-jsonpatch python3-jsonschema python3-requests python3-yaml
        install_packages acl attr curl git libcap2-bin minisign python3 sqlite3 btrfs-progs dnsmasq-base shellcheck iproute2 util-linux mount e2fsprogs procps \
            mmdebstrap debian-archive-keyring zstd jq
    fi
    install_incus
    ensure_toolchain .
    install_linters

    mkdir -p "${TMPDIR:=/var/tmp}"
    free=$(df --output=avail -BG "$TMPDIR" | tail -n 1 | tr -dc 0-9)
    [ "$free" -ge 6 ] || die "The tests need 6 GiB in $TMPDIR, and $free GiB are free." "Name a folder that has room: TMPDIR=/some/where ./scripts/test.sh"
    tmp=$(mktemp -d "$TMPDIR/taos-test.XXXXXX")
}

# --- the tests ---

# Runs a command for as long as there is time left. `timeout` makes it a process group of its own and ends the whole of it.
# INT is reset because a shell's background children ignore it, and the tests send it.
bounded() { # bounded LOG COMMAND...
    local log=$1 left=$((limit - SECONDS)) shown status=0
    shift
    [ "$left" -gt 0 ] || left=1
    : >"$log"
    timeout -k 20 "$left" env --default-signal=INT,QUIT "$@" </dev/null >"$log" 2>&1 &
    running=$!
    tail -n +1 -s 0.2 -f --pid="$running" "$log" &
    shown=$!
    wait "$running" || status=$?
    running=
    wait "$shown" || true
    [ "$status" -ne 124 ] || problem "out of time: the bound of the whole run is $((limit / 60)) minutes"
    return "$status"
}

interrupted() {
    trap '' INT TERM
    problem "interrupted"
    if [ -n "$running" ]; then
        kill "$running"
        wait "$running" || true
    fi
    clean_up
    sum || exit 1
}

run_tests() {
    local triple runner targets=(--bins --tests)
    # Times of single tests are an unstable feature of the test runner, which this opens for the test programs alone.
    triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
    runner="CARGO_TARGET_${triple}_RUNNER=env RUSTC_BOOTSTRAP=1"
    [ ! -f src/lib.rs ] || targets+=(--lib)
    bounded "$tmp.log" env TMPDIR="$tmp" "$runner" \
        cargo test --locked --no-fail-fast "${targets[@]}" -- -Z unstable-options --report-time --test-threads="$threads" || problem "cargo test failed"
    # The examples in doc comments are run by rustdoc, which that does not reach.
    [ ! -f src/lib.rs ] || bounded "$tmp.doc.log" env TMPDIR="$tmp" cargo test --locked --doc || problem "cargo test --doc failed"
}

# --- what is left ---

# One line for each thing that is the tests' beyond doubt: others may be using loop devices here, too.
leftovers() {
    local name device inode file pid
    awk -v dir="$tmp/" 'index($5 "/", dir) == 1 { print "mount " $5 }' /proc/self/mountinfo
    losetup -l -n --raw -O NAME,BACK-MAJ:MIN,BACK-INO,BACK-FILE | while read -r name device inode file; do
        # By path, or by inode, since a file that was reached through a private mount is listed under another path. Debian 12's
        # losetup pads the device number with escaped spaces.
        if [[ $file == "$tmp"/* ]] ||
            { [ "${device//\\x20/}" = "$(stat -c %Hd:%Ld "$tmp")" ] && [ -n "$(find "$tmp" -xdev -inum "$inode" -print -quit)" ]; }; then
            echo "loop $name $file"
        fi
    done
    # Whatever a test started has its TMPDIR.
    { grep -lsaF "TMPDIR=$tmp" /proc/[0-9]*/environ || true; } | cut -d/ -f3 | while read -r pid; do
        echo "process $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c 1-150)"
    done
}

clean_up() {
    local left='' kind name rest
    for _ in $(seq 10); do # what is detached lazily may take a moment
        left=$(leftovers)
        [ -n "$left" ] || break
        sleep 1
    done
    if [ -n "$left" ]; then
        problem "the tests left this behind (removed now):"
        say "$left"
        while read -r kind name rest; do
            case $kind in
            process) kill -9 "$name" || true ;;
            mount) umount -l "$name" || true ;;
            loop) losetup -d "$name" || true ;;
            esac
        done < <(sort -r <<<"$left")
    fi
    rm -rf --one-file-system "$tmp"
    give_back "$stamp" target "${CARGO_HOME:-}" "${RUSTUP_HOME:-}"
    rm -f "$stamp"
}

# --- the sum ---

sum() {
    local passed failed broken
    read -r passed failed broken < <(cat "$tmp".log "$tmp".doc.log 2>/dev/null | awk '
        /^ *(Running|Doc-tests) / { started++ }
        /^test result: / { ended++; passed += $4; failed += $6 }
        END { print passed + 0, failed + 0, started - ended }')
    [ "$broken" -eq 0 ] || problem "$broken test program(s) ended without a result; each counts as failed"
    rm -f "$tmp".log "$tmp".doc.log
    say "Took $((SECONDS / 60)) min $((SECONDS % 60)) s."
    [ ${#problems[@]} -eq 0 ] || printf 'PROBLEM: %s\n' "${problems[@]}"
    echo "$passed passed, $((failed + broken)) failed"
    return $((${#problems[@]} + failed + broken > 0))
}

test_main() {
    if [ "$(id -u)" -ne 0 ]; then
        need_sudo ./scripts/test.sh
        keep_environment
        exec sudo env "${kept[@]}" bash scripts/test.sh
    fi
    export HOME=${HOME:-/root}
    set -E
    trap 'failed "$?" "$BASH_COMMAND"' ERR
    stamp=$(mktemp)
    prepare
    trap interrupted INT TERM
    doing="running the tests"
    bounded "$tmp.check.log" ./scripts/check.sh || problem "scripts/check.sh failed"
    rm -f "$tmp.check.log"
    run_tests
    clean_up
    sum || exit 1
}

test_main

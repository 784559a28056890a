#!/usr/bin/env bash
# Installs /usr/local/bin/taos-setup with its man pages and completions, and runs it. Needs root; goes through sudo if it has to.
#
#   sudo ./scripts/install.sh [--] [ARGUMENTS FOR taos-setup]
#   curl -fsSL <install.sh of a release> | sudo bash -s -- [ARGUMENTS FOR taos-setup]
#   curl -fsSL <this file> | sudo TAOS_SETUP_GIT=<url> bash -s -- [ARGUMENTS FOR taos-setup]
#
# Where the program comes from; the first that is given or found:
#   TAOS_SETUP_BIN=FILE      this binary
#   TAOS_SETUP_SRC=DIR       a checkout: its target/release/taos-setup if newer than its sources, else it is built
#   TAOS_SETUP_RELEASE=URL   a release (https://, or a folder of this machine), if there is one for this machine
#   TAOS_SETUP_GIT=URL       a git repository: its latest release if it is on GitHub and has one for this machine, else it is
#                            cloned into a temporary folder and built
#   none of them             a binary `taos-setup` beside this script, else the release that this script belongs to, else the
#                            checkout around this script
#
# What comes from a release is checked against its SHA256SUMS, and that against its signature if a minisign key is given in
# TAOS_SETUP_KEY or written down below. What does not pass is never installed, and nothing less is tried in its place.
#
# For building, a Rust toolchain is installed where none is new enough. Nothing else is installed here: Incus and its
# tools are taos-setup's own business, and in its plan before anything happens.
#
# All of it is in functions, and the last line calls main: half a download runs nothing.
# scripts/test.sh sources this file for its functions.
set -euo pipefail

# scripts/release.sh fills these in, in the copy that goes with a release.
readonly RELEASE_URL=''
readonly RELEASE_KEY=''

say() { printf '%s\n' "$*" >&2; } # stdout belongs to taos-setup, so that `install.sh -- --json` stays JSON

die() { # die MESSAGE [HINT...]
    say "$1"
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 1
}

failed() { # for the ERR trap; `doing` is what the script is about, `tried` the last command of weight
    [ "$BASH_SUBSHELL" -eq 0 ] || exit "$1" # the main shell reports
    [[ $2 != return* ]] || set -- "$1" "$tried"
    die "Failed (exit status $1) while $doing: $2" \
        "Remove the cause and run the same command again. What is done is not done twice; Incus has not been touched."
}

# --- root ---

# What must survive sudo: proxies, certificates, cargo's settings and our own.
keep_environment() {
    local name
    kept=()
    for name in $(compgen -e); do
        case $name in
        *_proxy | *_PROXY | SSL_CERT_* | CURL_CA_BUNDLE | GIT_SSL_* | CARGO_* | RUSTUP_* | TAOS_* | INCUS_* | NO_COLOR | TMPDIR)
            kept+=("$name=${!name}")
            ;;
        esac
    done
}

need_sudo() { # need_sudo COMMAND: what the person typed
    command -v sudo >/dev/null || die "This needs root, and there is no sudo here." "Become root and run it again: su -c '$1'"
    say "Root is needed: going on through sudo."
}

# --- packages ---

package_manager() {
    local name
    for name in apt-get dnf zypper pacman apk; do
        if command -v "$name" >/dev/null; then
            echo "$name"
            return
        fi
    done
    echo none
}

# Shows the command, and of its output only what apt warns of, or all if it fails. Where another apt holds a lock (a fresh machine is often busy with
# its first update), it is tried again for ten minutes: DPkg::Lock::Timeout covers dpkg's lock but not apt's own two.
quietly() {
    local log status until=$((SECONDS + 600))
    log=$(mktemp)
    tried=$*
    say "  $tried"
    while true; do
        status=0
        "$@" </dev/null >"$log" 2>&1 || status=$?
        if [ "$status" -eq 0 ] || [ "$SECONDS" -ge "$until" ] || ! grep -m1 '^E: Could not get lock' "$log" >&2; then break; fi
        say "  another package manager is at work: waiting"
        sleep 10
    done
    if [ "$status" -ne 0 ]; then tail -n 40 "$log" >&2; else grep '^W: Failed' "$log" >&2 || true; fi
    rm -f "$log"
    return "$status"
}

apt_get() {
    local -x LC_ALL=C DEBIAN_FRONTEND=noninteractive
    quietly apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold "$@"
}

apt_candidate() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \([0-9].*\)/\1/p'; }

# Installs those of the packages that are missing, and never removes one. The names are the package manager's own.
install_packages() {
    doing="installing packages"
    case $(package_manager) in
    apt-get)
        local name missing=()
        for name in "$@"; do
            dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q ' ok installed$' || missing+=("$name")
        done
        [ ${#missing[@]} -eq 0 ] || apt_get install --no-install-recommends --no-remove "${missing[@]}"
        ;;
    dnf) quietly dnf -y install "$@" ;;
    zypper) quietly zypper --non-interactive install --no-recommends "$@" ;;
    pacman) quietly pacman -Sy --needed --noconfirm "$@" ;;
    apk) quietly apk add "$@" ;;
    none) die "No package manager known to this script (apt-get, dnf, zypper, pacman, apk)." "Install by hand, then run it again: $*" ;;
    esac
}

# --- the Rust toolchain ---

at_least() { printf '%s\n%s\n' "$1" "$2" | sort -VC; } # at_least WANTED FOUND

caller_home() {
    if [ -n "${SUDO_USER:-}" ]; then getent passwd "$SUDO_USER" | cut -d: -f6; else echo "$HOME"; fi
}

# Puts the first toolchain of version $1 or newer at the head of PATH. sudo resets PATH and HOME, so the caller's rustup
# is looked for in the caller's home, and then used with the caller's settings and downloads.
find_toolchain() {
    local dir home version settings
    for dir in "$(dirname "$(command -v cargo || echo /usr/bin/cargo)")" "${CARGO_HOME:-$HOME/.cargo}/bin" \
        "$(caller_home)/.cargo/bin" /root/.cargo/bin /usr/bin /usr/lib/rust-*/bin; do
        [ -x "$dir/cargo" ] || continue
        settings=("PATH=$dir:$PATH")
        home=${dir%/.cargo/bin}
        [ "$home" = "$dir" ] || settings+=("RUSTUP_HOME=${RUSTUP_HOME:-$home/.rustup}" "CARGO_HOME=${CARGO_HOME:-$home/.cargo}")
        version=$(env "${settings[@]}" rustc --version 2>/dev/null | cut -d' ' -f2) || continue
        if at_least "$1" "$version" && env "${settings[@]}" cargo --version >/dev/null 2>&1; then
            export "${settings[@]}"
            return
        fi
    done
    return 1
}

# The first packaged rustc of version $1 or newer. Debian 12 has rustc-web beside its old rustc, Ubuntu has rustc-1.NN.
apt_rustc() {
    local name version
    for name in rustc rustc-web $(apt-cache --names-only search '^rustc-1\.[0-9]+$' | cut -d' ' -f1 | sort -rV); do
        version=$(apt_candidate "$name")
        if [ -n "$version" ] && at_least "$1" "${version%%[+~-]*}"; then
            echo "$name"
            return
        fi
    done
}

install_toolchain() { # install_toolchain VERSION
    local rustc
    case $(package_manager) in
    apt-get)
        apt_get update
        rustc=$(apt_rustc "$1")
        if [ -n "$rustc" ]; then
            install_packages "$rustc" "${rustc/rustc/cargo}" gcc libc6-dev ca-certificates
        elif [ -n "$(apt_candidate rustup)" ]; then
            install_packages rustup gcc libc6-dev ca-certificates
            quietly rustup toolchain install stable --profile minimal
            quietly rustup default stable
        fi
        ;;
    pacman) install_packages rust gcc ;;
    apk) install_packages rust cargo gcc musl-dev ;;
    *) install_packages rust cargo gcc ;;
    esac
}

ensure_toolchain() { # ensure_toolchain CHECKOUT
    local wanted
    doing="looking for a Rust toolchain"
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$1/Cargo.toml")
    if ! find_toolchain "$wanted"; then
        say "There is no Rust $wanted or newer: installing it from this machine's package sources."
        doing="installing Rust $wanted or newer"
        install_toolchain "$wanted"
        find_toolchain "$wanted" || die "The package sources of this machine offer no Rust $wanted or newer (or could not be reached)." \
            "Install one with rustup and run it again, or give a finished binary: TAOS_SETUP_BIN=FILE"
    fi
    if ! command -v cc >/dev/null; then
        case $(package_manager) in
        apt-get) apt_get update && install_packages gcc libc6-dev ;;
        apk) install_packages gcc musl-dev ;;
        *) install_packages gcc ;;
        esac
    fi
    say "Rust: $(rustc --version), $(command -v cargo)"
}

# What root has made in someone else's folder becomes theirs, or their next `cargo build` fails. Only what is newer than the
# stamp: the folder may hold, or be a mount of, things that have always been root's.
give_back() { # give_back STAMP DIR...
    local stamp=$1 dir owner
    shift
    for dir in "$@"; do
        [ -d "$dir" ] || continue
        owner=$(stat -c %u:%g "$(dirname "$dir")")
        [ "${owner%:*}" = 0 ] || find "$dir" -xdev -user 0 -cnewer "$stamp" -exec chown -h "$owner" {} +
    done
}

# --- the program ---

build() { # build CHECKOUT: sets `binary` and `pages`
    local target=${CARGO_TARGET_DIR:-$1/target} status=0
    binary=$target/release/taos-setup pages=$1/scripts/packaging
    if [ -x "$binary" ] && [ -z "$(find "$1/src" "$1/Cargo.toml" "$1/Cargo.lock" -newer "$binary" -print -quit)" ]; then
        say "Up to date: $binary"
        return
    fi
    ensure_toolchain "$1"
    say "Building in $1 (some minutes on a small machine)"
    doing="building taos-setup in $1"
    tried="cargo build --release --locked --bin taos-setup --manifest-path $1/Cargo.toml --target-dir $target"
    cargo build --release --locked --bin taos-setup --manifest-path "$1/Cargo.toml" --target-dir "$target" </dev/null >&2 || status=$?
    give_back "$scratch/stamp" "$target" "${CARGO_HOME:-}" "${RUSTUP_HOME:-}"
    return "$status"
}

build_clone() { # build_clone URL: the clone lives in `scratch`
    if ! command -v git >/dev/null; then
        [ "$(package_manager)" != apt-get ] || apt_get update
        install_packages git
    fi
    doing="fetching $1"
    quietly git clone --depth 1 -- "$1" "$scratch/taos-setup"
    CARGO_TARGET_DIR='' build "$scratch/taos-setup"
}

# --- a release ---

release_asset() {
    case $(uname -m) in
    x86_64) echo taos-setup-linux-x64.tar.gz ;;
    aarch64) echo taos-setup-linux-arm64.tar.gz ;;
    esac
}

# fetch URL FILE: returns 44 if there is no such file. Plain HTTP only from this very machine.
fetch() {
    local protocols status=0 answer
    doing="fetching $1"
    case $1 in
    /*)
        [ -e "$1" ] || return 44
        cp "$1" "$2"
        return
        ;;
    https://*) protocols='=https' ;;
    http://127.0.0.1[:/]* | http://localhost[:/]*) protocols='=http,https' ;;
    *) die "$1 is neither https:// nor a path of this machine." ;;
    esac
    if ! command -v curl >/dev/null; then
        [ "$(package_manager)" != apt-get ] || apt_get update
        install_packages curl ca-certificates
    fi
    answer=$(curl -sSL --proto "$protocols" --retry 3 --connect-timeout 30 --fail -w '%{http_code}' -o "$2" -- "$1" </dev/null 2>"$scratch/curl") || status=$?
    case $status:$answer in
    0:*) ;;
    22:404 | 22:410) return 44 ;;
    *) die "Fetching $1 failed: $(tail -n 1 "$scratch/curl")" "Look at the network, and run the same command again." ;;
    esac
}

check_signature() { # check_signature FOLDER KEY URL
    doing="checking the signature of $3/SHA256SUMS"
    if ! command -v minisign >/dev/null; then
        [ "$(package_manager)" != apt-get ] || apt_get update
        install_packages minisign
    fi
    minisign -V -q -P "$2" -m "$1/SHA256SUMS" -x "$1/SHA256SUMS.minisig" >&2 </dev/null ||
        die "The signature of $3/SHA256SUMS is not good: nothing is installed." "Whoever put it there does not have the key. Tell those who publish it."
}

# from_release URL: sets `binary` and `pages`, in `scratch`; fails if there is no release for this machine.
from_release() {
    local url=${1%/} name key=${TAOS_SETUP_KEY:-${RELEASE_KEY:-}} folder=$scratch/release wanted
    name=$(release_asset)
    [ -n "$name" ] || return 1
    mkdir -p "$folder"
    if ! found fetch "$url/SHA256SUMS" "$folder/SHA256SUMS"; then return 1; fi
    if [ -n "$key" ]; then
        found fetch "$url/SHA256SUMS.minisig" "$folder/SHA256SUMS.minisig" || die "There is a key, and $url has no SHA256SUMS.minisig: nothing is installed."
        check_signature "$folder" "$key" "$url"
    fi
    wanted=$(awk -v name="$name" '$2 == name { print $1 }' "$folder/SHA256SUMS")
    [ -n "$wanted" ] || return 1
    found fetch "$url/$name" "$folder/$name" || die "$url has no $name, which its SHA256SUMS names: nothing is installed."
    doing="checking $name"
    echo "$wanted  $folder/$name" | sha256sum --check --status --strict ||
        die "$name from $url is not what SHA256SUMS says: nothing is installed." "It was damaged on its way, or somebody has changed it. Run the same command again; if it stays so, tell those who publish it."
    tar -xzf "$folder/$name" --no-same-owner -C "$folder"
    say "Checked: $name, by its SHA-256 digest${key:+ and the signature}"
    binary=$folder/taos-setup pages=$folder/packaging
}

# Whether a fetch has found its file; any other failure has ended the script.
found() {
    local status=0
    "$@" || status=$?
    case $status in
    0) ;;
    44) return 1 ;;
    *) failed "$status" "$*" ;;
    esac
}

# Where the latest release of a repository is.
release_of() {
    local url=${1%/}
    case $url in https://github.com/*/*) echo "${url%.git}/releases/latest/download" ;; esac
}

find_program() { # sets `binary`, and `pages` if there are man pages and completions
    local release=${TAOS_SETUP_RELEASE:-}
    if [ -z "$release" ] && [ -n "${TAOS_SETUP_GIT:-}" ]; then release=$(release_of "$TAOS_SETUP_GIT"); fi
    if [ -n "${TAOS_SETUP_BIN:-}" ]; then
        binary=$TAOS_SETUP_BIN
        if [ ! -f "$binary" ] || [ ! -x "$binary" ]; then die "TAOS_SETUP_BIN=$binary is not an executable file."; fi
    elif [ -n "${TAOS_SETUP_SRC:-}" ]; then
        [ -f "$TAOS_SETUP_SRC/Cargo.toml" ] || die "TAOS_SETUP_SRC=$TAOS_SETUP_SRC is not a checkout: it has no Cargo.toml."
        build "$(cd "$TAOS_SETUP_SRC" && pwd)"
    elif [ -n "$release" ] && from_release "$release"; then
        :
    elif [ -n "${TAOS_SETUP_GIT:-}" ]; then
        [ -z "$release" ] || say "There is no release for this machine ($(uname -m)) at $release: building."
        build_clone "$TAOS_SETUP_GIT"
    elif [ -n "$here" ] && [ -f "$here/taos-setup" ] && [ -x "$here/taos-setup" ]; then
        binary=$here/taos-setup pages=$here/packaging
    elif [ -n "${RELEASE_URL:-}" ] && from_release "$RELEASE_URL"; then
        :
    elif [ -n "$here" ] && [ -f "$here/../Cargo.toml" ]; then
        build "$(dirname "$here")"
    else
        die "There is no taos-setup to install: no release${release:+ for this machine at $release}, and this script has neither a binary nor a checkout beside it." \
            "Say where it is, and run it again with one of:" \
            "  TAOS_SETUP_BIN=FILE      a finished binary for this machine ($(uname -m))" \
            "  TAOS_SETUP_SRC=DIR       a checkout of its source" \
            "  TAOS_SETUP_RELEASE=URL   where the files of a release are" \
            "  TAOS_SETUP_GIT=URL       the git repository that this script comes from"
    fi
    doing="trying $binary"
    "$binary" --version </dev/null >/dev/null 2>&1 || die "$binary does not run on this machine ($(uname -m))." "Build it here: TAOS_SETUP_SRC=DIR"
}

install_program() { # install_program DESTINATION
    doing="installing $1"
    if cmp -s "$binary" "$1"; then
        say "Already there: $1"
    else
        # Renamed into place, so that a running taos-setup is not disturbed and a full disk leaves no half file.
        install -D -m 0755 "$binary" "$1.new"
        mv -f "$1.new" "$1"
        say "Installed: $1"
    fi
}

# Man pages and completions, where every shell looks for what is local. scripts/uninstall.sh names them all again.
install_pages() { # install_pages FOLDER
    local share=/usr/local/share page
    [ -d "$1/man" ] || return 0
    doing="installing man pages and completions"
    for page in "$1"/man/*.8; do install -D -m 0644 "$page" "$share/man/man8/${page##*/}"; done
    install -D -m 0644 "$1/completions/taos-setup.bash" "$share/bash-completion/completions/taos-setup"
    install -D -m 0644 "$1/completions/taos-setup.zsh" "$share/zsh/site-functions/_taos-setup"
    install -D -m 0644 "$1/completions/taos-setup.fish" "$share/fish/vendor_completions.d/taos-setup.fish"
}

main() {
    local here='' tried='' binary pages='' destination=/usr/local/bin/taos-setup
    if [ -f "${BASH_SOURCE[0]:-}" ]; then here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd); fi
    export HOME=${HOME:-/root}
    set -E
    doing="starting"
    trap 'failed "$?" "$BASH_COMMAND"' ERR

    if [ "$(id -u)" -ne 0 ]; then
        need_sudo "./scripts/install.sh $*"
        keep_environment
        [ -z "$here" ] || exec sudo env "${kept[@]}" bash "$here/install.sh" "$@"
        # Out of a pipe there is no file to run again: hand the functions over, and what is written down above them.
        kept+=("TAOS_SETUP_RELEASE=${TAOS_SETUP_RELEASE:-$RELEASE_URL}" "TAOS_SETUP_KEY=${TAOS_SETUP_KEY:-$RELEASE_KEY}")
        exec sudo env "${kept[@]}" bash -euo pipefail -c "$(declare -f)"$'\nmain "$@"' install.sh "$@"
    fi
    [ "${1:-}" != -- ] || shift

    say "This installs $destination (from a release, or building it first if it has to), then runs: taos-setup ${*@Q}"
    scratch=$(mktemp -d)
    touch "$scratch/stamp"
    trap 'rm -rf "$scratch"' EXIT
    find_program
    install_program "$destination"
    install_pages "$pages"
    rm -rf "$scratch" # exec runs no EXIT trap

    # Under `curl | bash` stdin is this script. The questions go to the terminal if there is one; otherwise taos-setup sees
    # that nobody can answer.
    if [ -t 0 ]; then
        exec "$destination" "$@"
    elif { : </dev/tty; } 2>/dev/null; then
        exec "$destination" "$@" </dev/tty
    else
        exec "$destination" "$@" </dev/null
    fi
}

[[ ${BASH_SOURCE[0]:-$0} != "$0" ]] || main "$@"

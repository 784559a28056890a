#!/usr/bin/env bash
# Try taos-setup without risk: makes a throw-away private host, runs taos-setup in it, lets you look around.
#
#   sudo ./scripts/try.sh [STATE] [ARGUMENTS FOR taos-setup]
#
# STATE is how the host looks before:
#   fresh         Incus as it is right after its installation, if this machine has Incus; else no Incus at all (the default)
#   empty-dir     Incus with the pool `default` on `dir`, and nothing on it
#   containers    the same, with the running containers mary, naira and stanley
#
# The program is TAOS_SETUP if that is set, else the newer one of target/release and target/debug, else it is built.
#
# The host is made of namespaces, by scripts/private-host.sh: it sees this machine's files and writes to a folder of its
# own in TMPDIR (or /var/tmp). What is installed goes there, too. When you leave, or whatever else happens, it is gone.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/install.sh
. "$here/install.sh"

readonly TOOLS=/opt/taos-try # where these scripts are in the private host

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

# ---- on this machine -------------------------------------------------------------------------------------------------

# Sets `binary`; empty if there is none and no toolchain to build it with. Installing one is nothing to do on this machine
# for a try, so that is left to the private host.
find_built() {
    local target=${CARGO_TARGET_DIR:-$here/../target} wanted
    binary=${TAOS_SETUP:-}
    if [ -n "$binary" ]; then
        if [ ! -f "$binary" ] || [ ! -x "$binary" ]; then die "TAOS_SETUP=$binary is not an executable file."; fi
        return
    fi
    binary=$target/release/taos-setup
    if [ ! -x "$binary" ] || [ "$target/debug/taos-setup" -nt "$binary" ]; then binary=$target/debug/taos-setup; fi
    if [ -x "$binary" ]; then return; fi
    binary=''
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$here/../Cargo.toml")
    if find_toolchain "$wanted" && command -v cc >/dev/null; then build "$(dirname "$here")"; fi
}

try() {
    local state=fresh binary script doing='' tried='' options=()
    case ${1:-} in
    fresh | empty-dir | containers)
        state=$1
        shift
        ;;
    -h | --help)
        usage
        return
        ;;
    [!-]*) die "There is no state '$1' to try." "It is one of: fresh empty-dir containers" ;;
    esac
    if [ "$(id -u)" -ne 0 ]; then
        need_sudo "./scripts/try.sh $state $*"
        keep_environment
        exec sudo env "${kept[@]}" bash "$here/try.sh" "$state" "$@"
    fi

    scratch=$(mktemp -d) # not local: the trap outlives this function
    trap 'rm -rf "$scratch"' EXIT
    touch "$scratch/stamp"
    find_built
    if [ -n "$binary" ]; then
        options+=(--put "$binary:/usr/local/bin/taos-setup")
    else
        tar -C "$here/.." -cf "$scratch/source.tar" Cargo.toml Cargo.lock src scripts
        options+=(--put "$scratch/source.tar:$TOOLS/source.tar")
    fi
    for script in try.sh install.sh private-host.sh; do
        options+=(--put "$here/$script:$TOOLS/$script")
    done
    if [ "$(package_manager)" = apt-get ]; then options+=(--online); fi

    say "Making a private host; nothing on this machine changes."
    # What the person has set for the real Incus is not meant for this one. The exit status is that of taos-setup.
    env -u INCUS_DIR -u INCUS_SOCKET -u INCUS_REMOTE -u INCUS_PROJECT -u TAOS_STATE_DIR -u TAOS_LOG_FILE \
        "$here/private-host.sh" run "${options[@]}" -- bash "$TOOLS/try.sh" --inside "$state" "$@"
}

# ---- in the private host ---------------------------------------------------------------------------------------------

has_incus() { command -v incus >/dev/null && [ -n "$(daemon)" ]; }

daemon() {
    local dir
    for dir in /usr/libexec/incus /usr/lib/incus /opt/incus/bin; do
        if [ -x "$dir/incusd" ]; then
            echo "$dir/incusd"
            return
        fi
    done
}

start_daemon() {
    local group=()
    if incus admin waitready --timeout 1 >/dev/null 2>&1; then return; fi
    if getent group incus-admin >/dev/null; then group=(--group incus-admin); fi
    setsid --fork "$(daemon)" "${group[@]}" --logfile /var/log/incus/incusd.log </dev/null >/dev/null 2>&1
    incus admin waitready --timeout 60
}

# taos-setup knows how to get Incus on each system, so it is asked for that here, and then for its discretion.
dir_pool() {
    if has_incus; then
        start_daemon
        incus admin init --preseed <<'YAML'
networks:
- name: incusbr0
  type: bridge
storage_pools:
- name: default
  driver: dir
profiles:
- name: default
  devices:
    root: {type: disk, path: /, pool: default}
    eth0: {type: nic, network: incusbr0, name: eth0}
YAML
    else
        say "  there is no Incus here: taos-setup --yes --driver dir installs it"
        taos-setup --yes --driver dir </dev/null >&2
        rm -rf /var/lib/taos-setup/* /var/log/taos-setup.log
    fi
}

# The image of a tiny container, for the person to launch as well.
tiny_image() {
    if ! command -v busybox >/dev/null; then
        apt_get update
        apt_get install --no-install-recommends busybox-static
    fi
    "$here/private-host.sh" tiny-image /tmp/tiny.tar.gz
    incus image import /tmp/tiny.tar.gz --alias tiny </dev/null >/dev/null
}

build_inside() {
    say "No taos-setup is built here, and there is no Rust to build it: building in the private host. That takes some"
    say "minutes, each time; ./scripts/install.sh would keep it."
    mkdir "$TOOLS/source"
    tar -C "$TOOLS/source" -xf "$TOOLS/source.tar"
    TAOS_SETUP_SRC=$TOOLS/source nsenter --net=/run/machine-net bash "$here/install.sh" --version >&2
}

inside() { # inside STATE ARGUMENTS
    local state=$1 status=0 name
    shift
    PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin # which some ways of becoming root leave out
    [ -x /usr/local/bin/taos-setup ] || build_inside
    say "Preparing the state: $state"
    case $state in
    fresh) if has_incus; then start_daemon; fi ;;
    empty-dir) dir_pool ;;
    containers)
        dir_pool
        tiny_image
        for name in mary naira stanley; do
            incus launch tiny "$name" --quiet </dev/null
        done
        incus list --columns nstb </dev/null
        ;;
    esac

    say
    say "\$ taos-setup $*"
    taos-setup "$@" || status=$?
    if ! has_incus || ! start_daemon; then exit "$status"; fi
    say
    say "taos-setup has ended with exit status $status. The host now:"
    incus storage list </dev/null
    incus list --columns nstb </dev/null
    if [ -t 0 ] && [ -t 1 ]; then look_around; fi
    exit "$status"
}

look_around() {
    # Not every state has brought it; without it there is only less to play with.
    incus image show tiny >/dev/null 2>&1 || (tiny_image) || true
    say
    say "You are root on the private host. For example:"
    say "    time incus launch tiny demo"
    say "    taos-setup status"
    say "    taos-setup undo"
    say "\`exit\` throws the host away, and all that is in it."
    PS1='private-host:\w\$ ' bash --norc -i || true
}

if [ "${1:-}" = --inside ]; then
    shift
    doing='' tried=''
    inside "$@"
else
    try "$@"
fi

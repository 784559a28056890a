#!/usr/bin/env bash
# Makes the pictures in docs/pictures from real runs.
#
#   sudo ./scripts/pictures.sh record [setup] [migrate]   plays the sessions in private hosts, keeps what the screen showed, draws it
#   sudo ./scripts/pictures.sh bench [RESULTS...]         measures (some minutes), or takes these results of the benches; draws a chart
#   sudo ./scripts/pictures.sh check [setup] [migrate]    plays them, and fails if the program says anything else now
#   ./scripts/pictures.sh draw                            draws again what was recorded
#   ./scripts/pictures.sh check-drawn                     fails if a picture is not what was recorded
#
# TAOS_SETUP   the program (default: target/release/taos-setup)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly FOLDER=$here/../docs/pictures
readonly TOOLS=/opt/taos-pictures # where these scripts are in the private host
readonly COLUMNS_SHOWN=100

die() {
    printf 'pictures: %s\n' "$*" >&2
    exit 1
}

draw() { python3 "$here/pictures/draw.py" "$@"; }

# --- the sessions, in the private host ---

start_daemon() {
    local dir
    for dir in /usr/libexec/incus /usr/lib/incus /opt/incus/bin; do
        [ ! -x "$dir/incusd" ] || setsid -f "$dir/incusd" --group "$(getent group incus-admin >/dev/null && echo incus-admin || echo root)" </dev/null
    done
    incus admin waitready --timeout 60
}

setup() {
    start_daemon
    "$TOOLS/record.py" "$COLUMNS_SHOWN" taos-setup '[no]: ' yes >&3
}

migrate() {
    local name
    start_daemon
    "$TOOLS/private-host.sh" tiny-image /tmp/tiny.tar.gz
    {
        incus storage create default dir
        incus profile device add default root disk path=/ pool=default
        incus image import /tmp/tiny.tar.gz --alias tiny
        for name in mary naira; do incus launch tiny "$name"; done
    } </dev/null
    # A key of its own for the list, where one is ticked.
    "$TOOLS/record.py" "$COLUMNS_SHOWN" 'taos-setup migrate' 'mary' ' ' '[no]: ' yes >&3
}

# shellcheck disable=SC2317 # called by a trap
failed_inside() {
    [ "$1" -eq 0 ] || tail -n 60 /tmp/log >&4
}

inside() {
    exec 3>&1 4>&2 >/tmp/log 2>&1
    trap 'failed_inside $?' EXIT
    "$1"
}

# --- on this machine ---

play() { # play NAME FILE
    local program
    [ "$(id -u)" -eq 0 ] || die "playing a session needs root, for a private host: run it with sudo"
    program=$(readlink -e "${TAOS_SETUP:-${CARGO_TARGET_DIR:-$here/../target}/release/taos-setup}") ||
        die "there is no program; build it first: cargo build --release"
    "$here/private-host.sh" run --incus-fs ext4:64G --put "$program:/usr/local/bin/taos-setup" --put "$here/pictures.sh:$TOOLS/pictures.sh" \
        --put "$here/pictures/record.py:$TOOLS/record.py" --put "$here/private-host.sh:$TOOLS/private-host.sh" \
        -- bash "$TOOLS/pictures.sh" --inside "$1" </dev/null >"$2"
}

named() { # named NAME...: those, or all
    [ $# -gt 0 ] || set -- setup migrate
    local name
    for name in "$@"; do [[ $name =~ ^(setup|migrate)$ ]] || die "there is no session '$name': setup, migrate"; done
    printf '%s\n' "$@"
}

bench() {
    local notes
    if [ $# -eq 0 ]; then
        set -- "$scratch/results"
        RESULTS=$1 "$here/bench.sh" launch >"$scratch/said"
        RESULTS=$1 "$here/bench-migrate.sh" time >>"$scratch/said"
    fi
    notes=$({ grep -h ' cores, ' "$scratch/said" 2>/dev/null || true; } | head -n 1)
    {
        awk -F'\t' '$1 ~ /^(launch on dir|first launch|later launch|plain down|staged down)$/' "$@"
        [ -z "$notes" ] || printf 'note\t%s\n' "$notes"
        printf 'note\tMedians of scripts/bench.sh and scripts/bench-migrate.sh. Ratios hold elsewhere, seconds do not.\n'
    } >"$FOLDER/bench.tsv"
}

main() {
    local verb=${1:-} name
    shift || true
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    mkdir -p "$FOLDER"
    case $verb in
    record)
        named "$@" | while read -r name; do
            play "$name" "$scratch/$name.json"
            mv "$scratch/$name.json" "$FOLDER/$name.json"
        done
        draw draw "$FOLDER"
        ;;
    check)
        named "$@" | while read -r name; do
            play "$name" "$scratch/$name.json"
            draw compare "$FOLDER/$name.json" "$scratch/$name.json" || die "the picture of '$name' is out of date: run scripts/pictures.sh record $name"
        done
        ;;
    bench)
        bench "$@"
        draw draw "$FOLDER"
        ;;
    draw) draw draw "$FOLDER" ;;
    check-drawn) draw check "$FOLDER" ;;
    *)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
        [ "$verb" = --help ] || exit 2
        ;;
    esac
}

if [ "${1:-}" = --inside ]; then inside "$2"; else main "$@"; fi

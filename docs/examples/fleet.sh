#!/usr/bin/env bash
# How the hosts of a fleet stand, and on request: set up those that need it.
#
#   fleet.sh HOSTS            one line for each host: name, verdict, pool of launches, room, containers that copy, words
#   fleet.sh HOSTS --plan     also what `taos-setup` would do on each; nothing is changed
#   fleet.sh HOSTS --set-up   run `taos-setup --yes` where there is something to do, and look again
#
# HOSTS is a file with a host in each line, as ssh knows it; `#` begins a comment.  Exit code: 0 if launches are clones on
# all of them, else 1.  No instance is touched by any of it: to move containers, log in to the host.
#
# Variables:
#   FLEET_RUN    what runs a command on a host: it gets the host and the command's words
#                (default: ssh -o BatchMode=yes -o ConnectTimeout=10)
#   FLEET_TAOS   taos-setup as it is called there (default: sudo taos-setup)
#   FLEET_JSON   a folder for each host's last document, HOST.json, for tools of your own
set -euo pipefail

run=${FLEET_RUN:-ssh -o BatchMode=yes -o ConnectTimeout=10}
taos=${FLEET_TAOS:-sudo taos-setup}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
json=${FLEET_JSON:-$scratch}
mkdir -p "$json"

# The document of a command on a host goes to HOST.json; the exit code is the command's, 255 if ssh failed.
ask() { # ask HOST ARGUMENTS
    local host=$1
    shift
    # A command that read our standard input would swallow the rest of the list.
    # shellcheck disable=SC2086 # several words on purpose
    $run "$host" $taos "$@" --json </dev/null >"$json/$host.json" 2>"$scratch/words"
}

line() { printf '%-16s %-11s %-10s %-22s %-22s %s\n' "$@"; }

# One line of how it stands now; false unless launches are clones.
show() { # show HOST
    local host=$1 code=0 fields
    ask "$host" status || code=$?
    case $code in
    0) ;;
    255) line "$host" unreachable - - - "$(tail -n 1 "$scratch/words")"; return 1 ;;
    126 | 127) line "$host" missing - - - "taos-setup is not installed there"; return 1 ;;
    *) line "$host" unreadable - - - "$(message "$host")"; return 1 ;;
    esac
    # Of the cluster that a host may be in, each member's document says the same.
    fields=$(jq -r '
        (.facts.incus.pools // []) as $pools
        | ([$pools[] | select(.driver == "dir") | .name]) as $copying
        | ([.facts.incus.profiles[]? | select(.reference == {project: "default", name: "default"})
            | .devices[] | select(.type == "disk" and .path == "/") | .pool] | first // "-") as $pool
        | ([.facts.incus.instances[]? | select(.pool as $it | $copying | index($it)) | .reference.name] | join(",")) as $names
        | ((.status.free / 1073741824 | floor | tostring) + " GiB free") as $free
        | ((.status.promised / 1073741824 | floor | tostring) + " promised") as $promised
        | [.status.verdict, $pool, $free + ", " + $promised, (if $names == "" then "-" else $names end), .status.message]
        | map(gsub("[\t\n]"; " ")) | @tsv' "$json/$host.json")
    local verdict pool room names words
    IFS=$'\t' read -r verdict pool room names words <<<"$fields"
    line "$host" "$verdict" "$pool" "$room" "$names" "$words"
    [ "$verdict" = ready ]
}

message() { jq -r '[.message] + (.hints // []) | join("; ")' "$json/$1.json" 2>/dev/null || tail -n 1 "$scratch/words"; }

plan() { # plan HOST
    local code=0
    ask "$1" --yes --dry-run || code=$?
    case $code in
    0) jq -r '.plan.steps[].description | "    would " + .' "$json/$1.json" ;;
    *) echo "    would refuse: $(message "$1")" ;;
    esac
}

set_up() { # set_up HOST
    local code=0
    ask "$1" --yes || code=$?
    # Stopped or stuck: the same command goes on, once.
    if [ "$code" = 4 ]; then
        code=0
        ask "$1" --yes || code=$?
    fi
    case $code in
    0) jq -r '"    " + .outcome' "$json/$1.json" ;;
    1) echo "    failed, and taken back: $(message "$1")" ;;
    3) echo "    refused, nothing was changed: $(message "$1")" ;;
    4) echo "    steps remain: $(message "$1")" ;;
    255) echo "    the connection broke: its own journal has how far it came; run this again" ;;
    *) echo "    exit code $code: $(tail -n 1 "$scratch/words")" ;;
    esac
}

verdict() { jq -r '.status.verdict // empty' "$json/$1.json" 2>/dev/null || true; }

if [ $# -lt 1 ] || [ ! -f "$1" ]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    exit 2
fi
command -v jq >/dev/null || { echo "fleet.sh needs jq" >&2; exit 2; }

cold=0
line HOST VERDICT POOL ROOM "ON DIR POOLS" ""
while read -r host _; do
    case $host in '' | '#'*) continue ;; esac
    if show "$host"; then continue; fi
    case ${2:-},$(verdict "$host") in
    --plan,?*) plan "$host" ;;
    --set-up,to-do | --set-up,cut-short)
        set_up "$host"
        if show "$host"; then continue; fi
        ;;
    esac
    cold=1
done <"$1"
exit "$cold"

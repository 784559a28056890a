#!/usr/bin/env bash
# The system test: whole machines, with systemd, sudo and reboots, on which each scenario is played as its user would type it.
#
#   vm-test.sh                     all scenarios, one after the other
#   vm-test.sh SCENARIO...         these
#   vm-test.sh SCENARIO:WAY...     broken on purpose this way: must be red, by the check that is meant for it
#   vm-test.sh list                which there are, what each shows, and in which ways it can be broken
#
# A machine gets what a release contains, and a small base image. Each scenario has 20 minutes, a log of its own, and a machine of
# its own that is gone afterwards. At the end there is a table. Exit code: 0 if all that was asked is as it must be, else 1; 2 if
# something to play with is missing. docs/system-test.md tells the whole of it.
#
# TAOS_VM_CACHE=DIR     disks, base images, a release; default: ${XDG_CACHE_HOME:-~/.cache}/taos-setup-vm. Up to 10 GB
# TAOS_VM_LOGS=DIR      the logs; default: logs in the cache
# TAOS_VM_RELEASE=DIR   a release that is there already; default: one is built with scripts/release.sh if the source has changed
# TAOS_VM_MIRROR=URL    where Debian's packages come from; default: as this machine's own sources have it
# TAOS_VM_ACCEL=kvm|tcg how machines are emulated; default: with KVM where that works. TAOS_VM_CPUS=2, TAOS_VM_MEMORY=3072 (MiB)
# TAOS_VM_JOBS=1        how many scenarios are played at once; emulated machines take up to two processors each
# TAOS_VM_BOUND=1200    seconds for a scenario: more only where machines are emulated and the processor is busy with other things
# TAOS_VM_KEEP=1        keep what a machine wrote
#
# Needs qemu, mmdebstrap, e2fsprogs, openssh-client, python3, and root to build disks and images.
set -euo pipefail
# shellcheck source=scripts/vm/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/settings.sh"

readonly BOUND=${TAOS_VM_BOUND:-1200} # seconds for a scenario
readonly JOBS=${TAOS_VM_JOBS:-1}

# In the order in which they are played.
readonly SCENARIOS=(fresh piped lazy background service-user existing power-cut power-cut-move host-full zfs btrfs-root arm64 bookworm)

about() { sed -n "s/^# $2: *//p" "$VM/scenarios/$1.sh"; }

list() {
    local name line
    for name in "${SCENARIOS[@]}"; do
        printf '%s (%s)\n' "$name" "$(about "$name" disk)"
        about "$name" shows | sed 's/^/    /'
        while IFS='|' read -r line; do printf '    broken  %s:%s\n' "$name" "$line"; done < <(about "$name" broken)
    done
}

known() { # known SCENARIO[:WAY]
    local name=${1%%:*}
    [[ " ${SCENARIOS[*]} " == *" $name "* ]] || die "There is no scenario $name." "vm-test.sh list says which there are."
    [[ $1 != *:* ]] || [ -n "$(meant_check "$1")" ] || die "There is no way ${1#*:} to break $name." "vm-test.sh list says which there are."
}

# The check at which a scenario that is broken in this way has to end.
meant_check() { about "${1%%:*}" broken | awk -F ' [|] ' -v way="${1#*:}" '$1 == way { print $2 }'; }

# --- what is played with ---

have_release() { # have_release MACHINE...
    [ -z "${TAOS_VM_RELEASE:-}" ] || return 0
    local folder=$CACHE/release of
    of=$(printf '%s\n' "$@" && cd "$PROJECT" && git rev-parse HEAD 2>/dev/null && git diff HEAD -- src Cargo.lock scripts | sha256sum)
    if [ "$(cat "$folder.of" 2>/dev/null)" = "$of" ]; then return; fi
    say "Building a release for $*"
    rm -f "$folder.of"
    OUT=$folder "$PROJECT/scripts/release.sh" "$@" >&2
    printf '%s\n' "$of" >"$folder.of"
}

have_image() { # have_image ARCH
    [ -f "$CACHE/image-$1/SHA256SUMS" ] && return
    local call=("$PROJECT/scripts/build-base-image.sh" --arch "$1" --in chroot --contents "$VM/image-contents" --level 3
        --cache "$CACHE/image-cache" --out "$CACHE/image-$1")
    say "Building the small base image for $1"
    case $1:$(uname -m) in
    arm64:aarch64 | x64:x86_64) "${call[@]}" >&2 ;;
    *) python3 "$VM/foreign.py" "${call[@]}" >&2 ;;
    esac
}

# Several scenarios may share what is needed.
prepare() { # prepare SCENARIO...
    local name disk machines=() images=()
    for name in "$@"; do
        disk=$(about "${name%%:*}" disk)
        machines+=("$(machine_of "$disk")") images+=("$(image_arch "$disk")")
        "$VM/disk.sh" "$disk" >/dev/null
    done
    mapfile -t machines < <(printf '%s\n' "${machines[@]}" | sort -ru)
    have_release "${machines[@]}"
    while read -r name; do have_image "$name"; done < <(printf '%s\n' "${images[@]}" | sort -u)
}

# --- playing ---

play() { # play SCENARIO[:WAY]: adds a line to the table
    local log=$logs/${1/:/-}.log status=0 begun=$SECONDS result seen player
    rm -f "$log" "$log".*
    say "$1 … (log: $log)"
    # shellcheck disable=SC2094 # it only takes the name
    timeout --signal=TERM --kill-after=30 "$BOUND" "$VM/play.sh" "$1" "$log" >>"$log" 2>&1 </dev/null &
    player=$!
    # The machine goes with the one who plays on it.
    trap 'kill -TERM "$player"; wait "$player"; exit 143' TERM
    wait "$player" || status=$?
    seen=$(paste -sd '~' "$log.notes" 2>/dev/null | sed 's/~/; /g' || true)
    result=$(judge "$1" "$status" "$log")
    [ "$status" -eq 0 ] || seen=$(cat "$log.red" 2>/dev/null || tail -n 1 "$log")
    printf '%s\t%s\t%d:%02d\t%s\n' "$1" "$result" $(((SECONDS - begun) / 60)) $(((SECONDS - begun) % 60)) "$seen" | tee -a "$table" >&2
}

play_all() { # play_all SCENARIO[:WAY]...: so many at once as are allowed
    local running=0
    trap 'stop_all 143' TERM HUP
    trap 'stop_all 130' INT
    for name in "$@"; do
        if [ "$running" -ge "$JOBS" ]; then
            wait -n || true
            running=$((running - 1))
        fi
        play "$name" &
        running=$((running + 1))
    done
    wait
    trap - TERM HUP INT
}

stop_all() { # stop_all EXIT-CODE
    local players
    mapfile -t players < <(jobs -p)
    [ ${#players[@]} -eq 0 ] || kill -TERM "${players[@]}" 2>/dev/null || true
    wait
    exit "$1"
}

judge() { # judge SCENARIO[:WAY] STATUS LOG
    local meant=''
    [[ $1 != *:* ]] || meant=$(meant_check "$1")
    case $2:$meant in
    0:) echo green ;;
    0:*) echo 'GREEN ALTHOUGH BROKEN' ;;
    1:) echo RED ;;
    1:*) if [ "$(cat "$3.red" 2>/dev/null)" = "$meant" ]; then echo 'red, as it must be'; else echo 'RED BY ANOTHER CHECK'; fi ;;
    124:* | 137:*) echo 'RED: TIME IS UP' ;;
    *) echo 'NOT PLAYED' ;;
    esac
}

# In the order in which they were asked for, whichever was through first.
show_table() { # show_table SCENARIO[:WAY]...
    local name
    echo
    {
        printf 'scenario\tresult\ttime\twhat was seen\n'
        for name in "$@"; do awk -F '\t' -v name="$name" '$1 == name' "$table"; done
    } | awk -F '\t' '{ printf "%-22s %-20s %6s  %s\n", $1, $2, $3, $4 }'
}

# Whether each of them has a line, and what it has to be.
all_as_it_must_be() { # all_as_it_must_be SCENARIO[:WAY]...
    [ "$(awk -F '\t' '$2 == "green" || $2 == "red, as it must be"' "$table" | wc -l)" -eq $# ]
}

main() {
    local name logs table
    case ${1:-} in
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" && return ;;
    list) list && return ;;
    -*) die "There is no option $1." "See $0 --help." ;;
    esac
    [ $# -gt 0 ] || set -- "${SCENARIOS[@]}"
    for name in "$@"; do known "$name"; done
    [[ $JOBS =~ ^[1-9][0-9]*$ ]] || die "TAOS_VM_JOBS=$JOBS is not a number of scenarios."
    need python3 python3
    need ssh openssh-client
    mkdir -p "$CACHE"
    logs=${TAOS_VM_LOGS:-$CACHE/logs}
    mkdir -p "$logs"
    table=$logs/table
    : >"$table"
    prepare "$@"
    play_all "$@"
    show_table "$@"
    all_as_it_must_be "$@"
}

main "$@"

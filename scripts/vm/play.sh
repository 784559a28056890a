#!/usr/bin/env bash
# Plays one scenario on a machine of its own; called by vm-test.sh.
#
#   play.sh SCENARIO[:WAY] LOG      WAY: how it is to be broken on purpose
#
# Exit code: 0 green; 1 red, and LOG.red has the check; 2 it could not be played. LOG.notes has what was seen.
set -euo pipefail
# shellcheck source=scripts/vm/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

# shellcheck disable=SC2034 # for checks.sh
scenario=${1%%:*} way='' log=$2
# shellcheck disable=SC2034
[[ $1 != *:* ]] || way=${1#*:}
release=${TAOS_VM_RELEASE:-$CACHE/release}
disk=$(sed -n 's/^# disk: *//p' "$VM/scenarios/$scenario.sh")
screen='' waited=0 machine='' port=0
exec 3>&1 # the log; what a command substitution runs is seen there, too

mkdir -p "$CACHE/run"
run=$(mktemp -d "$CACHE/run/XXXXXX")

leave() {
    end_machine
    if [ -n "${TAOS_VM_KEEP:-}" ]; then say "Kept: $run"; else rm -rf "$run"; fi
}
trap leave EXIT
trap 'exit 143' TERM HUP
trap 'exit 130' INT
trap 'say "This failed: $BASH_COMMAND (line $LINENO of ${BASH_SOURCE[0]##*/})"' ERR
set -E

# shellcheck source=scripts/vm/checks.sh
. "$VM/checks.sh"
# shellcheck source=scripts/vm/machine.sh
. "$VM/machine.sh"
# shellcheck source=scripts/vm/stock.sh
. "$VM/stock.sh"
# shellcheck source=scripts/vm/stories.sh
. "$VM/stories.sh"
# shellcheck source=/dev/null
. "$VM/scenarios/$scenario.sh"

new_machine
play
say "== played in $SECONDS s"

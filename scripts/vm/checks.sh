# shellcheck shell=bash disable=SC2154 # way and log come from play.sh
# What a scenario says of the machine. A check that does not hold ends the scenario: it is red, and says by which check. Sourced by play.sh.

# The words of a check are its name: a scenario that is broken on purpose has to end at the check that its way names.
red() { # red WORDS [WHAT-IS]
    printf '✗ %s%s\n' "$1" "${2:+: $2}" >&3
    printf '%s\n' "$1" >"$log.red"
    exit 1
}
green() { printf '✓ %s\n' "$1" >&3; }

# see WORDS COMMAND: the command, run by root in the machine, succeeds.
see() { if vm "$2" >/dev/null; then green "$1"; else red "$1"; fi; }

# see_not WORDS COMMAND: it fails; with 255 there was no machine to ask.
see_not() {
    local status=0
    vm "$2" >/dev/null || status=$?
    [ "$status" -ne 255 ] || red "$1" "the machine does not answer"
    if [ "$status" -ne 0 ]; then green "$1"; else red "$1"; fi
}

# equal WORDS WANTED FOUND
equal() { if [ "$2" = "$3" ]; then green "$1: $3"; else red "$1" "wanted '$2', found '$3'"; fi; }

# at_most WORDS LIMIT FOUND: whole numbers
at_most() { if [ "$3" -le "$2" ]; then green "$1: $3"; else red "$1" "$3 is more than $2"; fi; }

# shown WORDS TEXT: TEXT was to be seen on the terminal of the last `typed`.
shown() { if [[ $screen == *"$2"* ]]; then green "$1"; else red "$1" "not on the terminal: $2"; fi; }

# soon WORDS SECONDS COMMAND: it succeeds within that time, asked every three seconds.
soon() {
    local until=$((SECONDS + $2)) begun=$SECONDS
    printf '%s # until: %s\n' "$(date +%T)" "$3" >&3
    until vm_quiet "$3" >/dev/null; do
        if [ "$SECONDS" -ge "$until" ]; then
            vm "$3" >/dev/null || true
            red "$1" "not within $2 s"
        fi
        sleep 3
    done
    waited=$((SECONDS - begun))
    green "$1 (after $waited s)"
}

# note WORDS: what the table at the end says of this scenario.
note() {
    printf '· %s\n' "$*" >&3
    printf '%s\n' "$*" >>"$log.notes"
}

# Whether the scenario is to be broken this way.
broken() { # broken WAY
    [ "$way" = "$1" ] || return 1
    say "== broken on purpose: $1"
}

stage() { printf '\n== %s (%s, %s s)\n' "$*" "$(date +%T)" "$SECONDS" >&3; }

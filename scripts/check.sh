#!/usr/bin/env bash
# What needs no root and no Incus: formatting, lints, shell scripts, the layers of the source. Every check runs; one that
# fails makes the exit code 1, one whose tool is missing is said to be skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
shopt -s globstar

failures=0

check() { # check NAME TOOL-TEST COMMAND...
    local name=$1 tool=$2
    shift 2
    if ! $tool >/dev/null 2>&1; then
        echo "check: $name: SKIPPED ($tool does not work here)"
    elif "$@" </dev/null; then
        echo "check: $name: ok"
    else
        echo "check: $name: FAILED ($*)"
        failures=$((failures + 1))
    fi
}

# Facts and decisions are pure: these modules may not name what touches the machine, not even in a test.
layering() {
    local files=() path found
    for path in src/facts.rs src/facts src/step.rs src/step src/plan.rs src/plan; do
        [ ! -e "$path" ] || files+=("$path")
    done
    [ ${#files[@]} -gt 0 ] || return 0
    # -z takes each file as one line, for `use std::{` broken over several; comments are dropped first.
    found=$(find "${files[@]}" -name '*.rs' -print | while read -r path; do
        sed 's|//.*||' "$path" |
            grep -zoP '\b(std::(\{[^;]*?\b)?(fs|process|env)\b|(crate|super)::(\{[^;]*?\b)?host\b)' |
            tr '\0' '\n' | sed "s|^|$path: |" || true
    done)
    [ -z "$found" ] || { echo "$found" && return 1; }
}

long_files() { # reported, no failure: a module of this length wants to become a folder
    find src -name '*.rs' -exec wc -l {} + | awk '$2 != "total" && $1 > 450 { print "check: long file: " $2 " has " $1 " lines" }'
}

check formatting "cargo fmt --version" cargo fmt --check
check clippy "cargo clippy --version" cargo clippy --quiet --locked --all-targets -- -D warnings
check "shell scripts" "shellcheck --version" shellcheck -x scripts/**/*.sh docs/examples/*.sh scripts/packaging/debian/* .ci/run
check workflows "actionlint -version" actionlint
check layering true layering
check pictures "python3 --version" scripts/pictures.sh check-drawn
check licences "python3 --version" python3 scripts/packaging/licences.py check
check "safety of workflows" "zizmor --version" zizmor --offline --quiet .github/workflows
long_files

[ "$failures" -eq 0 ]

#!/usr/bin/env bash
# Builds the base image of agents, small, and tests it. docs/base-image.md tells the whole of it.
#
#   build-base-image.sh [OPTIONS]             build into --out
#   build-base-image.sh fetch [OPTIONS]       only bring what a build needs into --cache
#   build-base-image.sh test FILE [OPTIONS]   try everything that an agent needs, in a container made from FILE
#   build-base-image.sh sums DIR [--key FILE] write SHA256SUMS of the images in DIR, and sign it
#
#   --arch x64|arm64      default: this machine's
#   --profile slim|full   full keeps a compiler; default: slim
#   --no-trim             leave everything in, to compare with
#   --in container|chroot where to finish it; default: a container if an Incus answers here
#   --contents FILE       what is in it; default: scripts/base-image/contents
#   --bake DIR            a further folder of files and hooks, as scripts/base-image/bake is (may be given more than once)
#   --out DIR             default: ./base-image
#   --cache DIR           keep what was fetched in DIR, and take from it what is there
#   --offline DIR         take everything from the cache DIR; fetch nothing
#   --sources FILE        apt's sources.list of the image; default: what was used to build it
#   --level N             of zstd; default: 19, which takes minutes
#   --budget MB           instead of the one in the contents
#   --key FILE            sign with this minisign key (its password in TAOS_MINISIGN_PASSWORD, if it has one)
#   --network NAME|none   for `test`: a bridge of Incus that leads to the package registries; default: none
#
# Needs root, mmdebstrap and zstd; for another architecture also qemu-user and binfmt_misc. Where it works, in TMPDIR (else
# /var/tmp), it needs 6 GB. Of an Incus it uses nothing but an instance, an image and a pool of its own, called taos-build-<pid>.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/base-image" && pwd)
readonly HERE
readonly ASSET=taos-openclaw-base

say() { printf '%s\n' "$*" >&2; }
die() { # die MESSAGE [HINT...]
    say "$1"
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 1
}

# shellcheck source=scripts/base-image/options.sh
. "$HERE/options.sh"
# shellcheck source=scripts/base-image/fetch.sh
. "$HERE/fetch.sh"
# shellcheck source=scripts/base-image/tree.sh
. "$HERE/tree.sh"
# shellcheck source=scripts/base-image/room.sh
. "$HERE/room.sh"
# shellcheck source=scripts/base-image/pack.sh
. "$HERE/pack.sh"
# shellcheck source=scripts/base-image/try.sh
. "$HERE/try.sh"

build() {
    make_work
    fetch
    make_tree
    open_room
    in_room provision
    trim
    close_room
    last_trims
    pack
    manifest
    within_budget
    sums "$out"
    say "Built: $out/$file ($(megabytes "$out/$file") MB)"
}

main() {
    set -E
    trap '[ "$BASH_SUBSHELL" -gt 0 ] || say "This failed: $BASH_COMMAND"' ERR
    parse_options "$@"
    case $verb in
    build) build ;;
    fetch) make_work && fetch ;;
    test) make_work && try_image "$image" ;;
    sums) sums "$out" ;;
    esac
}

main "$@"

# shellcheck shell=bash disable=SC2034,SC2154 # its variables come from the other parts
# The command line, and the list of contents. Sourced by build-base-image.sh.

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[-1]}"; }

parse_options() {
    verb=build image='' arch=$(own_arch) profile=slim trimming=yes room='' contents=$HERE/contents bakes=("$HERE/bake")
    out=base-image cache='' offline='' sources='' level=19 budget='' key='' network=none
    case ${1:-} in
    build | fetch) verb=$1 && shift ;;
    test) verb=$1 image=${2:?a file to test} && shift 2 ;;
    sums) verb=$1 out=${2:?a folder with images} && shift 2 ;;
    esac
    while [ $# -gt 0 ]; do
        case $1 in
        --no-trim) trimming='' && shift && continue ;;
        -h | --help) usage && exit ;;
        esac
        [ $# -ge 2 ] || die "Option $1 is unknown or has no value." "See $0 --help."
        case $1 in
        --arch) arch=$2 ;;
        --profile) profile=$2 ;;
        --in) room=$2 ;;
        --contents) contents=$2 ;;
        --bake) bakes+=("$2") ;;
        --out) out=$2 ;;
        --cache) cache=$2 ;;
        --offline) offline=yes cache=$2 ;;
        --sources) sources=$2 ;;
        --level) level=$2 ;;
        --budget) budget=$2 ;;
        --key) key=$2 ;;
        --network) network=$2 ;;
        *) die "There is no option $1." "See $0 --help." ;;
        esac
        shift 2
    done
    check_options
    read_contents
}

own_arch() {
    case $(uname -m) in
    aarch64) echo arm64 ;;
    *) echo x64 ;;
    esac
}

check_options() {
    local word
    case $arch in
    x64) debian_arch=amd64 machine=x86_64 ;;
    arm64) debian_arch=arm64 machine=aarch64 ;;
    *) die "There is no architecture '$arch' to build for." "It is x64 or arm64." ;;
    esac
    case $profile in slim | full) ;; *) die "There is no profile '$profile'." "It is slim or full." ;; esac
    case $room in '' | container | chroot) ;; *) die "It cannot be built in a '$room'." "It is container or chroot." ;; esac
    for word in "$level" "${budget:-1}"; do
        [[ $word =~ ^[0-9]+$ ]] || die "'$word' is no number."
    done
    for word in "$contents" ${sources:+"$sources"} ${key:+"$key"} ${image:+"$image"}; do
        [ -f "$word" ] || die "There is no file $word."
    done
    [ -z "$offline" ] || [ -d "$cache" ] || die "There is no cache $cache." "Fill it on a machine with a network: $0 fetch --cache $cache"
    out=$(realpath -m "$out")
    [ -z "$cache" ] || cache=$(realpath -m "$cache")
    file=$ASSET-linux-$arch.tar.gz
}

# Sets debian, node, npm, openclaw, digests, as_of, packages, checks; the compiler is a package of the profile `full`.
read_contents() {
    local word values mini=()
    debian='' node='' npm='' openclaw='' as_of='' packages=() checks=() digests=()
    while read -r word values; do
        case $word in
        '' | '#'*) ;;
        debian | node | npm | openclaw) printf -v "$word" %s "$values" ;;
        sha256) digests+=("$values") ;;
        as-of) as_of=$values ;;
        packages) read -ra mini <<<"$values" && packages+=("${mini[@]}") ;;
        full) read -ra mini <<<"$values" && [ "$profile" = slim ] || packages+=("${mini[@]}") ;;
        checks) read -ra mini <<<"$values" && checks+=("${mini[@]}") ;;
        budget) budget=${budget:-$values} ;;
        *) die "Reading $contents: '$word' is no word that belongs there." ;;
        esac
    done <"$contents"
    [[ -n $debian && -n $as_of && -n $budget ]] || die "Reading $contents: it needs the words debian, as-of and budget."
    SOURCE_DATE_EPOCH=$(date -d "$as_of" +%s) || die "Reading $contents: '$as_of' is no time."
    export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8
}

# The folder where it all happens. It is gone when the script ends, however it ends.
make_work() {
    [ "$(id -u)" = 0 ] || die "Building an image needs root." "Run it with sudo."
    needs zstd zstd
    work=$(mktemp -d "${TMPDIR:-/var/tmp}/taos-build.XXXXXX")
    trap clear_away EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    cache=${cache:-$work/cache}
    mkdir -p "$cache" "$work/tree"
}

clear_away() {
    # A second signal would end it half-way.
    trap '' INT TERM HUP
    if [ -n "${child:-}" ]; then
        # unshare is deaf to anything less, and takes its namespace along.
        kill -KILL "$child" 2>/dev/null || true
        wait "$child" || true
    fi
    leave_incus || say "Something of $BUILD is left in Incus; see above."
    rm -rf --one-file-system "$work"
}

needs() { # needs COMMAND PACKAGE
    command -v "$1" >/dev/null || die "There is no '$1' here, which this needs." "On Debian: apt-get install $2"
}

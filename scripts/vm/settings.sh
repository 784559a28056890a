# shellcheck shell=bash disable=SC2034 # its variables are for those who source it
# What the parts of the system test share: where things are, and how to say something. Sourced by all of them.

VM=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PROJECT=$(cd "$VM/../.." && pwd)
CACHE=${TAOS_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/taos-setup-vm}

say() { printf '%s\n' "$*" >&2; }
die() { # die MESSAGE [HINT...]
    say "$1"
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 2
}
need() { # need COMMAND DEBIAN-PACKAGE
    command -v "$1" >/dev/null || die "There is no $1 here." "Install it first (Debian: apt-get install $2)"
}

# For a disk's name, its architecture in Debian's words and in those of our releases.
debian_arch() { case $1 in *arm64*) echo arm64 ;; *) echo amd64 ;; esac }
machine_of() { case $1 in *arm64*) echo aarch64 ;; *) echo x86_64 ;; esac }
image_arch() { case $1 in *arm64*) echo arm64 ;; *) echo x64 ;; esac }

key() { # the key that opens every machine of this test
    mkdir -p "$CACHE"
    [ -f "$CACHE/key" ] || ssh-keygen -q -t ed25519 -N '' -C taos-setup-vm -f "$CACHE/key"
    echo "$CACHE/key"
}

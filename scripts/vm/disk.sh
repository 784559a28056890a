#!/usr/bin/env bash
# Builds the disk of a machine, if it is not there yet, and prints where it is. Beside it lie its kernel and initrd, as the
# machine is started without a boot loader.
#
#   disk.sh NAME
#
#   trixie          Debian 13 as one has it that was just installed: systemd, sudo, ssh, curl; no Incus
#   trixie-incus    with incus-base, btrfs-progs and dnsmasq-base, for scenarios that are not about installing them
#   trixie-btrfs    the same, its root on btrfs
#   trixie-zfs      ZFS (built for its kernel, which takes minutes), Incus, and no btrfs: neither its tools nor the module
#   trixie-arm64    the first one for arm64; needs qemu-aarch64-static
#   bookworm        Debian 12 with its backports named as its users have them: not at all
#
# TAOS_VM_MIRROR=URL  where packages come from; default: the first Debian mirror in this machine's own sources
# TAOS_VM_CACHE=DIR   where the disks are kept
set -euo pipefail
# shellcheck source=scripts/vm/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

readonly BASE=systemd-sysv,systemd-resolved,systemd-timesyncd,libpam-systemd,udev,dbus,initramfs-tools,openssh-server,sudo,iproute2,\
iputils-ping,nftables,curl,ca-certificates,kmod,zstd,procps,less,e2fsprogs,apt-utils
readonly INCUS=incus-base,dnsmasq-base

mirror() {
    local found
    found=${TAOS_VM_MIRROR:-$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
        sed '/^ *#/d' | grep -oE -m 1 'https?://[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' ')} || true
    [ -n "$found" ] || die "This machine's package sources name no Debian mirror." "Name one: TAOS_VM_MIRROR=http://…/debian"
    echo "${found%/}"
}

sources() { # sources SUITE COMPONENTS
    local mirror
    mirror=$(mirror)
    printf 'deb %s %s %s\n' "$mirror" "$1" "$2" "$mirror" "$1-updates" "$2" "$mirror-security" "$1-security" "$2"
}

packages() { # packages NAME
    local kernel
    kernel=linux-image-cloud-$(debian_arch "$1")
    case $1 in
    trixie | trixie-arm64) echo "$BASE,$kernel" ;;
    trixie-incus | trixie-btrfs) echo "$BASE,$kernel,$INCUS,btrfs-progs" ;;
    trixie-zfs) echo "$BASE,$kernel,$INCUS" ;;
    bookworm) echo "$BASE,$kernel" ;;
    *) die "There is no disk called $1." "disk.sh says which there are." ;;
    esac
}

# The tree of a Debian, with what makes it a machine that one can get into.
make_tree() { # make_tree NAME TREE
    local suite=${1%%-*} components=main
    case $1 in *zfs) components='main contrib' ;; esac
    sources "$suite" "$components" >"$work/sources"
    key=$(key)
    export work key name=$1
    # What it mounts goes when it ends, however it ends.
    nice unshare --mount mmdebstrap --quiet --mode=root --architectures="$(debian_arch "$1")" --variant=important \
        --include="$(packages "$1")" --aptopt='Acquire::Languages "none"' \
        --customize-hook="$VM/furnish.sh" \
        "$suite" "$2" "$work/sources" >&2
}

# Modules for the kernel that is in the tree. They are built in the tree itself, at this machine's own speed.
# shellcheck disable=SC2016 # it is the inner shell that expands
add_zfs() { # add_zfs TREE
    local kernel
    kernel=$(basename "$1"/lib/modules/*)
    cp --remove-destination /etc/resolv.conf "$work/resolv"
    nice unshare --mount --pid --fork bash -euc '
        mount --make-rprivate /
        mount -t proc proc "$1/proc"
        mount -t tmpfs none "$1/run"
        mkdir -p "$1/run/systemd/resolve"
        cp "$2/resolv" "$1/run/systemd/resolve/stub-resolv.conf"
        mount --rbind /dev "$1/dev"
        printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d"
        chmod 755 "$1/usr/sbin/policy-rc.d"
        export DEBIAN_FRONTEND=noninteractive
        chroot "$1" apt-get -qq update
        chroot "$1" apt-get -qq -y install --no-install-recommends "linux-headers-$3" dkms gcc make libc6-dev
        chroot "$1" apt-get -qq -y install --no-install-recommends zfs-dkms zfsutils-linux
        find "$1/lib/modules" -path "*/btrfs/*" -delete
        chroot "$1" depmod "$3"
        rm "$1/usr/sbin/policy-rc.d"
    ' bash "$1" "$work" "$kernel" >&2
    [ -n "$(find "$1/lib/modules" -name 'zfs.ko*')" ] || die "ZFS was not built for $kernel."
}

make_disk() { # make_disk NAME TREE FILE
    truncate -s 20G "$3"
    case $1 in
    *-btrfs) mkfs.btrfs -q -L root --rootdir "$2" "$3" >&2 ;;
    *) mke2fs -q -F -t ext4 -L root -d "$2" "$3" >&2 ;;
    esac
}

# Programs of the other architecture run in a namespace of their own with a binfmt_misc of its own: nothing is registered on this
# machine. Where the kernel cannot do that (before 6.7), qemu-user-static's own registration has to be there.
main() {
    local name=${1:?the name of a disk, see the head of this file}
    packages "$name" >/dev/null
    if [ -f "$CACHE/$name.raw" ]; then
        echo "$CACHE/$name.raw"
        return
    fi
    [ "$(id -u)" -eq 0 ] || die "Building a disk needs root." "Run it with sudo, or keep the disks that were built: TAOS_VM_CACHE=DIR"
    need mmdebstrap mmdebstrap
    need mke2fs e2fsprogs
    need ssh-keygen openssh-client
    case $name in *-btrfs) need mkfs.btrfs btrfs-progs ;; esac
    if [ "$name" = trixie-arm64 ] && [ "$(uname -m)" != aarch64 ] && [ -z "${TAOS_VM_FOREIGN:-}" ]; then
        need qemu-aarch64-static qemu-user-static
        TAOS_VM_FOREIGN=1 exec python3 "$VM/foreign.py" "$0" "$name"
    fi
    mkdir -p "$CACHE"
    work=$(mktemp -d "$CACHE/disk.XXXXXX")
    trap 'rm -rf --one-file-system "$work"' EXIT
    trap 'exit 143' TERM HUP
    trap 'exit 130' INT
    say "Building the disk $name (one to ten minutes)"
    make_tree "$name" "$work/tree"
    case $name in *zfs) add_zfs "$work/tree" ;; esac
    make_disk "$name" "$work/tree" "$work/disk"
    cp -L "$work"/tree/boot/vmlinuz-* "$CACHE/$name.kernel"
    cp -L "$work"/tree/boot/initrd.img-* "$CACHE/$name.initrd"
    mv "$work/disk" "$CACHE/$name.raw"
    echo "$CACHE/$name.raw"
}

main "$@"

#!/usr/bin/env bash
# Builds what a release consists of, checks it, and puts it into a folder: for each architecture a tarball and a Debian
# package, and for all of them install.sh, uninstall.sh, SHA256SUMS and its signature.
#
#   ./scripts/release.sh [ARCHITECTURE...]     default: x86_64 aarch64
#   ./scripts/release.sh sign FOLDER           only signs what is there
#
# OUT=dist                     the folder; what an earlier release has put there is replaced
# TAOS_RELEASE_URL=URL         where the files will be found; written into the release's own install.sh
# TAOS_RELEASE_KEY=FILE        minisign's secret key, one without a password; SHA256SUMS is signed with it
# TAOS_RELEASE_PUBLIC_KEY=KEY  the public one, that is written into the release's own install.sh
# TAOS_RELEASE_TAG=v1.2.3      if given, it must be the version in Cargo.toml
# TAOS_CROSS_ROOT=DIR          a Debian tree whose cargo builds for the other architecture, where this machine's does not
#
# Needs no root, but for TAOS_CROSS_ROOT, and to try the package. What an architecture is built with, the first that there is:
# this machine's own toolchain, its target for that architecture with that architecture's gcc, TAOS_CROSS_ROOT. What cannot be
# built is an error. Build on the oldest system that is to run it, or what comes out asks for a newer glibc than that has: Debian
# 12 or Ubuntu 22.04. That is checked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly LARGEST=6000000   # bytes
readonly NEWEST_GLIBC=2.36 # Debian 12
readonly MAINTAINER=${TAOS_RELEASE_MAINTAINER:-taOS maintainers <taos-setup@users.noreply.github.com>}

say() { printf 'release: %s\n' "$*" >&2; }
die() { # die MESSAGE [HINT...]
    say "$1"
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 1
}
need() {
    command -v "$1" >/dev/null || die "$1 is missing." "Install it first (Debian: apt-get install $2)"
}

# --- names ---

debian_name() { case $1 in x86_64) echo amd64 ;; aarch64) echo arm64 ;; esac }
asset_name() { case $1 in x86_64) echo taos-setup-linux-x64 ;; aarch64) echo taos-setup-linux-arm64 ;; esac }
triple() { echo "$1-unknown-linux-gnu"; }

# --- building ---

# Sets `binary`.
build() { # build ARCHITECTURE
    local target=${CARGO_TARGET_DIR:-$PWD/target} triple linker
    triple=$(triple "$1")
    linker=${1/_/-}-linux-gnu-gcc
    if command -v cargo >/dev/null && [ "$(rustc -vV | sed -n 's/^host: //p')" = "$triple" ]; then
        say "$1: this machine's own toolchain, $(rustc --version)"
        cargo build --release --locked --bin taos-setup >&2
        binary=$target/release/taos-setup
    elif command -v cargo >/dev/null && [ -d "$(rustc --print sysroot)/lib/rustlib/$triple/lib" ] && command -v "$linker" >/dev/null; then
        say "$1: the target $triple of $(rustc --version), linked by $linker"
        env "CARGO_TARGET_$(tr a-z- A-Z_ <<<"$triple")_LINKER=$linker" "CC_${triple//-/_}=$linker" \
            cargo build --release --locked --bin taos-setup --target "$triple" >&2
        binary=$target/$triple/release/taos-setup
    elif [ -n "${TAOS_CROSS_ROOT:-}" ]; then
        say "$1: in the tree $TAOS_CROSS_ROOT"
        build_in_tree "$triple" "$linker" "$target/cross"
        binary=$target/cross/$triple/release/taos-setup
    else
        die "Nothing here builds for $1." \
            "It takes the standard library (rustup target add $triple) and $linker (Debian: apt-get install gcc-${1/_/-}-linux-gnu)." \
            "Or name a Debian 12 tree that has them (there: rustc-web, cargo-web, libstd-rust-web-dev:$(debian_name "$1")): TAOS_CROSS_ROOT=DIR"
    fi
}

# The crates come from out here, so that the tree needs no network.
build_in_tree() { # build_in_tree TRIPLE LINKER TARGET
    [ "$(id -u)" -eq 0 ] || die "Building in a tree needs root." "Run it with sudo, or leave TAOS_CROSS_ROOT out."
    cargo fetch --locked >&2
    mkdir -p "$3"
    # shellcheck disable=SC2016 # it is the inner shell that expands
    SOURCE=$PWD TARGET=$3 REGISTRY=${CARGO_HOME:-$HOME/.cargo}/registry ROOT=$(readlink -e "$TAOS_CROSS_ROOT") \
        unshare --mount bash -euc '
        mount --make-rprivate /
        mount -t tmpfs none "$ROOT/mnt"
        mkdir "$ROOT"/mnt/{source,target,cargo,cargo/registry}
        mount --bind -o ro "$SOURCE" "$ROOT/mnt/source"
        mount --bind "$TARGET" "$ROOT/mnt/target"
        mount --bind "$REGISTRY" "$ROOT/mnt/cargo/registry"
        mount -t proc proc "$ROOT/proc"
        mount --rbind /dev "$ROOT/dev"
        cd /
        linker=$2 triple=$1
        exec chroot "$ROOT" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin CARGO_HOME=/mnt/cargo CARGO_TARGET_DIR=/mnt/target \
            "CARGO_TARGET_$(tr a-z- A-Z_ <<<"$triple")_LINKER=$linker" "CC_${triple//-/_}=$linker" \
            cargo build --release --locked --offline --bin taos-setup --target "$triple" --manifest-path /mnt/source/Cargo.toml
    ' bash "$1" "$2" >&2
}

# --- checking ---

# The newest version of glibc that it asks for. Weak symbols count: the loader refuses a version it does not know all the same.
glibc_of() { LC_ALL=C readelf -VW "$1" | grep -oE 'Name: GLIBC_[0-9.]+' | sed 's/.*_//' | sort -V | tail -n 1; }

check_binary() { # check_binary ARCHITECTURE
    local size glibc shown kind
    size=$(stat -c %s "$binary")
    [ "$size" -le "$LARGEST" ] || die "$binary has $size bytes; at most $LARGEST are allowed."
    kind=$(LC_ALL=C readelf -h "$binary" | sed -n 's/^ *Machine: *//p')
    case $1:$kind in
    x86_64:*X86-64 | aarch64:AArch64) ;;
    *) die "$binary is for $kind, not for $1." ;;
    esac
    [ -z "$(LC_ALL=C readelf -SW "$binary" | grep -F .symtab || true)" ] || die "$binary is not stripped."
    glibc=$(glibc_of "$binary")
    [ -n "$glibc" ] || die "Which glibc $binary needs cannot be told."
    printf '%s\n%s\n' "$glibc" "$NEWEST_GLIBC" | sort -VC || die "$binary needs glibc $glibc; Debian 12 has $NEWEST_GLIBC." \
        "It is linked against too new a system: build on Debian 12 or Ubuntu 22.04, or in a tree of one of them (TAOS_CROSS_ROOT)."
    if shown=$(run_binary "$1"); then
        [ "$shown" = "taos-setup $version" ] || die "$binary says '$shown' and not 'taos-setup $version'."
    else
        shown='not tried, nothing here runs it'
    fi
    say "$1: $size bytes, needs glibc $glibc; run: $shown"
    needed_glibc=$glibc
}

run_binary() {
    if [ "$(uname -m)" = "$1" ]; then
        "$binary" --version
    else
        command -v "qemu-$1-static" >/dev/null || return 1
        local libraries
        for libraries in "/usr/$1-linux-gnu" "${TAOS_CROSS_ROOT:-/nonexistent}/usr/$1-linux-gnu"; do
            if [ -d "$libraries/lib" ]; then
                "qemu-$1-static" -L "$libraries" "$binary" --version
                return
            fi
        done
        return 1
    fi
}

# --- packing ---

# Times, owners and order are always the same, so that who builds the same gets the same.
pack() { # pack FOLDER FILE
    tar -C "$1" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=ustar -cf - . | gzip -9n >"$2"
}

tarball() { # tarball ARCHITECTURE
    local tree=$work/$1.tar
    mkdir -p "$tree/packaging"
    install -m 0755 "$binary" scripts/uninstall.sh "$release_install" "$tree"
    cp -r scripts/packaging/man scripts/packaging/completions "$tree/packaging"
    install -m 0644 LICENSE CHANGELOG.md README.md "$work/THIRD-PARTY.txt" "$tree"
    pack "$tree" "$out/$(asset_name "$1").tar.gz"
}

debian_package() { # debian_package ARCHITECTURE
    local tree=$work/$1.deb page script
    install -D -m 0755 "$binary" "$tree/usr/bin/taos-setup"
    mkdir -p "$tree/usr/lib/systemd/system"
    for page in src/image/units/*; do
        sed 's|/usr/local/bin/|/usr/bin/|' "$page" >"$tree/usr/lib/systemd/system/${page##*/}"
    done
    mkdir -p "$tree/usr/share/man/man8"
    for page in scripts/packaging/man/*.8; do gzip -9nc "$page" >"$tree/usr/share/man/man8/${page##*/}.gz"; done
    install -D -m 0644 scripts/packaging/completions/taos-setup.bash "$tree/usr/share/bash-completion/completions/taos-setup"
    install -D -m 0644 scripts/packaging/completions/taos-setup.zsh "$tree/usr/share/zsh/vendor-completions/_taos-setup"
    install -D -m 0644 scripts/packaging/completions/taos-setup.fish "$tree/usr/share/fish/vendor_completions.d/taos-setup.fish"
    mkdir -p "$tree/usr/share/doc/taos-setup" "$tree/DEBIAN"
    gzip -9nc "$work/THIRD-PARTY.txt" >"$tree/usr/share/doc/taos-setup/THIRD-PARTY.txt.gz"
    debian_copyright >"$tree/usr/share/doc/taos-setup/copyright"
    debian_changelog | gzip -9n >"$tree/usr/share/doc/taos-setup/changelog.gz"
    install -D -m 0644 scripts/packaging/lintian-overrides "$tree/usr/share/lintian/overrides/taos-setup"
    chmod -R u=rwX,go=rX "$tree"
    debian_control "$1" "$(du -k -s --apparent-size "$tree" | cut -f1)" >"$tree/DEBIAN/control"
    for script in scripts/packaging/debian/*; do install -m 0755 "$script" "$tree/DEBIAN"; done
    (cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
    chmod 0644 "$tree/DEBIAN/control" "$tree/DEBIAN/md5sums"
    find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    package=$out/taos-setup_${version}_$(debian_name "$1").deb
    dpkg-deb --build --root-owner-group -Zxz "$tree" "$package" >/dev/null
    if command -v lintian >/dev/null; then
        lintian --allow-root --fail-on error,warning,info --tag-display-limit 0 "$package" >&2 || die "lintian has found something in $package."
        say "$1: lintian has found nothing in ${package##*/}"
    else
        say "$1: lintian is missing, ${package##*/} is not looked at"
    fi
    try_package "$1"
}

# Installs and removes it in a private host that has a pool and a container, and a unit as the program writes it.
try_package() { # try_package ARCHITECTURE
    if [ "$(uname -m)" != "$1" ] || [ "$(id -u)" -ne 0 ] || ! command -v incus >/dev/null; then
        say "$1: ${package##*/} is not tried: that takes root, Incus, and a machine of its kind"
        return
    fi
    scripts/private-host.sh run --put "$package:/opt/taos-setup.deb" --put scripts/packaging/try-package.sh:/opt/try-package.sh -- \
        /opt/try-package.sh "$version" >"$work/tried" 2>&1 </dev/null ||
        { tail -n 30 "$work/tried" >&2; die "installing and removing $package went wrong."; }
    say "$1: ${package##*/} is installed and removed; pools, containers and journals stay"
}

debian_control() { # debian_control ARCHITECTURE KIBIBYTES
    cat <<END
Package: taos-setup
Version: $version
Architecture: $(debian_name "$1")
Maintainer: $MAINTAINER
Installed-Size: $2
Depends: libc6 (>= $needed_glibc), libgcc-s1 (>= 4.2)
Suggests: btrfs-progs, incus-base | incus, zfsutils-linux
Section: admin
Priority: optional
Description: set up Incus so that each launch is a clone, not a copy
 taOS runs each of its agents in an Incus container of its own. On storage
 of the driver "dir" each launch copies the whole root filesystem; on btrfs
 or ZFS it is a clone, which takes less than a second.
 .
 taos-setup looks at the Incus it finds, from none at all to a busy one,
 shows what it would change, asks, and does it. It can take a set-up back,
 move containers to the new pool one by one, and fetch the base image of
 the agents. Installing or removing this package changes no storage pool,
 no container and no image.
END
}

debian_copyright() {
    cat <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: taos-setup
Comment: The program contains the libraries that THIRD-PARTY.txt.gz beside
 this file names, under the licences that it quotes.

Files: *
Copyright: $(sed -n 's/^Copyright (c) //p' LICENSE)
License: Expat
$(sed -e '1,/^Copyright/d' LICENSE | sed -e '/./,$!d' -e 's/^$/./' -e 's/^/ /')
END
}

# CHANGELOG.md in Debian's form, which allows no more than 80 columns.
debian_changelog() {
    python3 - "$MAINTAINER" <<'END'
import re, sys, textwrap
from datetime import datetime, timezone

for version, day, text in re.findall(r"(?ms)^## (\d\S*) - (\S+)\n(.*?)(?=^## |\Z)", open("CHANGELOG.md").read()):
    print(f"taos-setup ({version}) unstable; urgency=medium\n")
    for point in re.findall(r"(?ms)^- (.*?)(?=^- |\Z)", text):
        print(textwrap.fill(" ".join(point.split()), 78, initial_indent="  * ", subsequent_indent="    ", break_long_words=False))
    date = datetime.fromisoformat(day).replace(tzinfo=timezone.utc)
    print(f"\n -- {sys.argv[1]}  {date:%a, %d %b %Y %H:%M:%S} +0000\n")
END
}

# What a script that came through a pipe cannot know by itself.
fill_in_install() {
    release_install=$work/install.sh
    sed -e "s|^readonly RELEASE_URL=.*|readonly RELEASE_URL='${TAOS_RELEASE_URL:-}'|" \
        -e "s|^readonly RELEASE_KEY=.*|readonly RELEASE_KEY='${TAOS_RELEASE_PUBLIC_KEY:-}'|" scripts/install.sh >"$release_install"
    chmod 0755 "$release_install"
    install -m 0755 "$release_install" scripts/uninstall.sh "$out"
}

sums() { (cd "$out" && sha256sum -- *.tar.gz *.deb install.sh uninstall.sh >SHA256SUMS); }

sign() {
    if [ -n "${TAOS_RELEASE_KEY:-}" ]; then
        need minisign minisign
        minisign -S -s "$TAOS_RELEASE_KEY" -m "$out/SHA256SUMS" -x "$out/SHA256SUMS.minisig" -t "taos-setup $version" >/dev/null </dev/null
        [ -z "${TAOS_RELEASE_PUBLIC_KEY:-}" ] || minisign -V -q -P "$TAOS_RELEASE_PUBLIC_KEY" -m "$out/SHA256SUMS" -x "$out/SHA256SUMS.minisig"
        say "SHA256SUMS is signed"
    else
        say "SHA256SUMS is not signed: no TAOS_RELEASE_KEY"
    fi
}

main() {
    local architecture architectures=("$@") binary version out needed_glibc package release_install
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    if [ "${1:-}" = sign ]; then
        out=${2:?the folder of a release}
        [ -n "${TAOS_RELEASE_KEY:-}" ] || die "There is nothing to sign with." "Name the secret key: TAOS_RELEASE_KEY=FILE"
        sign
        return
    fi
    [ $# -gt 0 ] || architectures=(x86_64 aarch64)
    for architecture in "${architectures[@]}"; do
        [ -n "$(debian_name "$architecture")" ] || die "There is no release for $architecture: only for x86_64 and aarch64."
    done
    need dpkg-deb dpkg
    need readelf binutils
    need python3 python3
    [ -z "${TAOS_RELEASE_TAG:-}" ] || [ "$TAOS_RELEASE_TAG" = "v$version" ] || die "The tag is $TAOS_RELEASE_TAG, and the version in Cargo.toml is $version."
    grep -qE "^## $version - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md || die "CHANGELOG.md says nothing of $version, or not when it was released."
    export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
    out=${OUT:-dist}
    mkdir -p "$out"
    out=$(readlink -e "$out")
    work=$(mktemp -d) # not local: the trap outlives this function
    trap 'rm -rf "$work"' EXIT
    rm -f "$out"/taos-setup[-_]*.{tar.gz,deb} "$out"/{install.sh,uninstall.sh,SHA256SUMS,SHA256SUMS.minisig}
    fill_in_install
    python3 scripts/packaging/licences.py notices >"$work/THIRD-PARTY.txt"
    for architecture in "${architectures[@]}"; do
        build "$architecture"
        check_binary "$architecture"
        tarball "$architecture"
        debian_package "$architecture"
    done
    sums
    sign
    (cd "$out" && ls -l -- * >&2)
}

main "$@"

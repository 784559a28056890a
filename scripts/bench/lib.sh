# shellcheck shell=bash disable=SC2016,SC2034  # $(SITE) is apt's; variables are set for the callers
# Shared by the bench scripts: a private host, a daemon in it, a clock, medians.

SELF=$(readlink -f "$0")

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
say() { printf '%s\n' "$*" >&2; }

outside() { [ -z "${BENCH_WORK:-}" ]; }

needs() {
	[ "$(id -u)" = 0 ] || die "needs root, for loop devices and namespaces: run it with sudo"
	local tool
	for tool in "$@"; do
		command -v "$tool" >/dev/null || die "$tool is missing; install it first"
	done
}

# Runs this script again inside namespaces of its own: mounts, processes and
# network are private, so that leaving (or Ctrl-C, or a failure) takes daemons,
# containers, mounts, bridges and loop devices along. Only a folder is left,
# and the outer half removes it.
# BENCH_DIR names where it goes: it must be on the disk to be measured.
private_host() {
	outside || { enter_private_host; return; }
	BENCH_WORK=$(mktemp -d "${BENCH_DIR:-/var/tmp}/taos-bench.XXXXXX")
	chmod 711 "$BENCH_WORK" # containers' root must be able to pass
	BENCH_TAG=bench$$
	trap 'leave_private_host' EXIT
	trap 'exit 130' INT TERM
	BENCH_WORK=$BENCH_WORK BENCH_TAG=$BENCH_TAG unshare --mount --net --pid --fork --kill-child \
		bash "$SELF" "$@" </dev/null
	exit
}

# The loop devices are let go of a moment after the last process is gone.
leave_private_host() {
	local tries=50
	while [ $((tries -= 1)) -gt 0 ]; do
		losetup -nO BACK-FILE 2>/dev/null | grep -q "^$BENCH_WORK/" || break
		sleep 0.1
	done
	rm -rf --one-file-system "$BENCH_WORK"
	# Control groups are the one thing that is not private: a killed daemon
	# leaves those of its containers, which carry our tag in their names.
	find /sys/fs/cgroup -depth -type d -path "*/lxc.*.$BENCH_TAG-*" -exec rmdir {} + 2>/dev/null || true
}

enter_private_host() {
	mount --make-rprivate /
	# /proc of the outside, for the CPU time of kernel threads.
	mkdir -p "$BENCH_WORK/proc" "$BENCH_WORK/cgroup"
	mount --rbind /proc "$BENCH_WORK/proc"
	mount -t proc proc /proc
	# A fresh sysfs shows the private network; the cgroup tree goes back under it.
	mount --rbind /sys/fs/cgroup "$BENCH_WORK/cgroup"
	mount -t sysfs sysfs /sys
	mount --rbind "$BENCH_WORK/cgroup" /sys/fs/cgroup
	ip link set lo up
	# Never the host's own, whatever a later mistake may say.
	mount -t tmpfs none /var/lib/incus
	unset INCUS_SOCKET INCUS_REMOTE INCUS_PROJECT
	export INCUS_CONF="$BENCH_WORK/client"
	mkdir -p "$INCUS_CONF"
	echo '{}' >"$INCUS_CONF/config.yml" # else it greets a new user
}

# daemon_start DIR: a daemon of its own in DIR; sets INCUS_DIR and DAEMON.
daemon_start() {
	local incusd=
	for incusd in /usr/libexec/incus/incusd /usr/lib/incus/incusd /opt/incus/bin/incusd "$(command -v incusd || true)"; do
		[ -x "$incusd" ] && break
	done
	[ -x "$incusd" ] || die "incusd is missing"
	export INCUS_DIR=$1
	mkdir -p "$INCUS_DIR"
	"$incusd" --group "$(getent group incus-admin >/dev/null && echo incus-admin || echo root)" \
		>"$INCUS_DIR.log" 2>&1 </dev/null &
	DAEMON=$!
	incus admin waitready --timeout 60 || die "incusd did not become ready, see $INCUS_DIR.log"
}

# daemon_stop: ends the daemon and lets go of what its pools had mounted.
daemon_stop() {
	incus admin shutdown --timeout 30 >/dev/null 2>&1 || kill "$DAEMON" 2>/dev/null || true
	wait "$DAEMON" 2>/dev/null || true
	local at
	awk -v d="$INCUS_DIR/" 'index($2, d) == 1 { print $2 }' /proc/mounts | sort -r |
		while read -r at; do umount -l "$at" 2>/dev/null || true; done
}

now() { local t=$EPOCHREALTIME; echo "${t/[.,]/}"; } # microseconds

# timed COMMAND…: runs it quietly and sets SECONDS_TAKEN; fails as it does.
timed() {
	local begin end
	begin=$(now)
	"$@" >"$BENCH_WORK/out" 2>&1 </dev/null || { tail -n 5 "$BENCH_WORK/out" >&2; die "failed: $*"; }
	end=$(now)
	SECONDS_TAKEN=$(awk -v us=$((end - begin)) 'BEGIN { printf "%.4f", us / 1e6 }')
}

median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

machine() {
	local fs
	fs=$(findmnt -nT "${BENCH_WORK:-/var/tmp}" -o FSTYPE)
	printf '%s cores, %s, Linux %s, Incus %s, on %s, %s GiB memory\n' "$(nproc)" "$(uname -m)" "$(uname -r)" \
		"$(incus version 2>/dev/null | awk '/Client/ { print $3 }')" "$fs" \
		"$(awk '/MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)"
}

# bench_image: prints the tarball to use. $BENCH_IMAGE, or one made once from
# the mirror that this host already uses and kept in the user's cache. It needs
# the network: call it outside.
bench_image() {
	local image=${BENCH_IMAGE:-${XDG_CACHE_HOME:-$HOME/.cache}/taos-setup-bench/debian.tar.gz}
	[ -r "$image" ] || [ -z "${BENCH_IMAGE:-}" ] || die "cannot read BENCH_IMAGE=$image"
	[ -r "$image" ] || make_image "$image" >&2
	readlink -f "$image"
}

# bench_image_zstd GZIPPED: prints the same tarball packed with zstd, made once with a fast level so that it is about as large.
bench_image_zstd() {
	local image=${BENCH_IMAGE_ZSTD:-${XDG_CACHE_HOME:-$HOME/.cache}/taos-setup-bench/$(basename "$1").zst}
	[ -r "$image" ] || [ -z "${BENCH_IMAGE_ZSTD:-}" ] || die "cannot read BENCH_IMAGE_ZSTD=$image"
	if [ ! -r "$image" ] || { [ -z "${BENCH_IMAGE_ZSTD:-}" ] && [ "$1" -nt "$image" ]; }; then
		needs zstd gzip
		say "packing $1 with zstd, once"
		mkdir -p "$(dirname "$image")"
		gzip -dc "$1" | zstd -q -3 -f -o "$image.new" || die "packing it failed"
		mv "$image.new" "$image"
	fi
	readlink -f "$image"
}

make_image() (
	needs mmdebstrap apt-get
	read -r mirror suite < <(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' |
		awk '$1 ~ /\/(debian|ubuntu|ubuntu-ports)\/?$/ && $2 ~ /^[a-z]+$/ { print; exit }') ||
		die "no Debian or Ubuntu mirror is configured here; set BENCH_IMAGE to an Incus image tarball"
	say "making $1 from $suite on this machine's own mirror: once, some minutes"
	mkdir -p "$(dirname "$1")"
	tree=$(mktemp -d "$1.XXXXXX")
	trap 'rm -rf --one-file-system "$tree"' EXIT
	mkdir "$tree/rootfs"
	mmdebstrap --quiet --variant=apt --skip=output/dev \
		--include=systemd-sysv,dbus,ifupdown,ca-certificates,curl,git,python3,python3-pip,python3-venv,python3-numpy,nodejs,npm,openssh-client,build-essential,chromium,ffmpeg \
		"$suite" - "$mirror" | tar -C "$tree/rootfs" --numeric-owner --xattrs --xattrs-include='*' -xpf -
	printf 'architecture: %s\ncreation_date: %s\nproperties:\n  description: bench image\n' \
		"$(uname -m)" "$(date +%s)" >"$tree/metadata.yaml"
	tar -C "$tree" --numeric-owner --xattrs --xattrs-include='*' -czf "$tree/image" metadata.yaml rootfs
	mv "$tree/image" "$1"
)

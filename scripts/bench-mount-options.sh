#!/usr/bin/env bash
# Which btrfs.mount_options should a new pool get? Measures each set on a real
# pool of a private daemon, in turn, and prints the medians.
#   sudo [BENCH_IMAGE=tarball] [BENCH_DIR=on-the-disk-to-measure] scripts/bench-mount-options.sh [RUNS] [OPTIONS…]
# Needs some 12 GB free. Nothing stays behind.
set -euo pipefail
# shellcheck source=scripts/bench/lib.sh
. "$(dirname "$0")/bench/lib.sh"
if outside; then
	needs incus btrfs unshare
	BENCH_IMAGE=$(bench_image)
	export BENCH_IMAGE
fi
private_host "$@"

runs=${1:-3}
shift || true
sets=("$@")
[ ${#sets[@]} -gt 0 ] || sets=(defaults noatime 'noatime,nodiscard' 'noatime,compress=lzo' 'noatime,compress=zstd:1' 'noatime,compress=zstd:3')
one=$BENCH_TAG-one two=$BENCH_TAG-two three=$BENCH_TAG-three
ram=$BENCH_WORK/ram
results=${RESULTS:-$BENCH_WORK/results}

# What the pool's loop device has read and written so far, in sectors.
sectors() { awk -v d="$loop" '$3 == d { print $6, $10 }' /proc/diskstats; }

# CPU ticks of kernel threads (compression and loop I/O run there), of the
# daemon with its ended children, and of ended children of this shell.
ticks() {
	cat "$BENCH_WORK"/proc/[0-9]*/stat 2>/dev/null | awk '$4 == 2 { t += $14 + $15 } END { print t }'
	awk '{ print $14 + $15 + $16 + $17 }' "/proc/$DAEMON/stat"
	awk '{ print $16 + $17 }' "/proc/$$/stat"
}
cpu() { ticks | awk '{ t += $1 } END { print t }'; }

# measured NAME COMMAND…: its wall time until the data is on the disk, CPU, I/O.
measured() {
	local name=$1 cpu0 io0 io1 cpu1
	shift
	sync -f "$pool"
	echo 3 >/proc/sys/vm/drop_caches
	cpu0=$(cpu) io0=$(sectors)
	timed until_on_disk "$@"
	cpu1=$(cpu) io1=$(sectors)
	rec "$name.s" "$SECONDS_TAKEN"
	rec "$name.cpu" "$(awk -v t=$((cpu1 - cpu0)) -v hz="$(getconf CLK_TCK)" 'BEGIN { print t / hz }')"
	rec "$name.read" $(((${io1% *} - ${io0% *}) / 2048))
	rec "$name.write" $(((${io1#* } - ${io0#* }) / 2048))
}
until_on_disk() { "$@" && sync -f "$pool"; }
rec() { printf '%s\t%s\t%s\n' "$set" "$1" "$2" >>"$results"; }
mib() { echo $(($(stat -c '%b * %B' "$1") / 1048576)); }

# tar leaves contents out when it writes to /dev/null itself, hence the pipe.
read_tree() { tar -C "$1" -cf - . | cat >/dev/null; }
# What npm install does: thousands of small text files.
write_small() { mkdir "$1" && tar -C "$1" -xf "$ram/small.tar"; }
write_big() { dd if="$ram/big" of="$1" bs=1M conv=fsync; }

mkdir -p "$ram"
mount -t tmpfs -o size=2g none "$ram"
image=$BENCH_IMAGE
daemon_start "$BENCH_WORK/incus"
incus image import "$image" --alias bench >/dev/null
say "$(machine)"
say "image: $(du -m "$image" | cut -f1) MiB as a tarball"

mkdir "$ram/small"
tar -xzf "$image" -C "$ram/small" --strip-components=4 rootfs/usr/share/nodejs
find "$ram/small" -type f | sort | sed -n '10001,$p' | tr '\n' '\0' | xargs -0r rm -f
while n=$(find "$ram/small" -type f | wc -l) && [ "$n" -lt 10000 ]; do
	cp -a "$ram/small" "$ram/more" && mv "$ram/more" "$ram/small/copy$n"
done
tar -C "$ram/small" -cf "$ram/small.tar" .
rm -rf "$ram/small"
head -c 1G /dev/urandom >"$ram/big"

round() {
	local options=user_subvol_rm_allowed img tree
	[ "$set" = defaults ] || options+=,$set
	incus storage create bench btrfs size=10GiB "btrfs.mount_options=$options" >/dev/null
	pool=$INCUS_DIR/storage-pools/bench img=$INCUS_DIR/disks/bench.img
	loop=$(awk -v p="$pool" '$2 == p { sub("/dev/", "", $1); print $1 }' /proc/mounts)
	tree=$pool/containers/$one/rootfs

	measured unpack incus init bench "$one" -s bench
	rec space "$(btrfs filesystem usage -b "$pool" | awk '/^ *Used:/ { print int($2 / 1048576); exit }')"
	rec file "$(mib "$img")"
	measured clone incus init bench "$two" -s bench
	measured launch incus launch bench "$three" -s bench
	incus delete -f "$three" >/dev/null
	measured read1 read_tree "$tree"
	measured read2 read_tree "$tree"
	measured small write_small "$tree/small"
	measured big write_big "$tree/big"
	measured delete rm -r "$tree/small" "$tree/big"
	sleep 15 # discard=async takes its time
	rec file_after "$(mib "$img")"
	incus delete "$one" "$two" >/dev/null
	incus storage delete bench >/dev/null
}

for run in $(seq "$runs"); do
	for set in "${sets[@]}"; do
		say "run $run of $runs: $set"
		round
	done
done

# One line per measure, one column per set of options.
printf '%-14s' ''
printf '%24s' "${sets[@]}"
printf '\n'
cut -f2 "$results" | awk '!seen[$0]++' | while read -r what; do
	printf '%-14s' "$what"
	for set in "${sets[@]}"; do
		printf '%24s' "$(awk -F'\t' -v s="$set" -v w="$what" '$1 == s && $2 == w { print $3 }' "$results" | median)"
	done
	printf '\n'
done
cat <<'END'
.s seconds until on disk, .cpu CPU seconds, .read/.write MiB at the loop device; space MiB used in btrfs,
file/file_after MiB the loop file takes on the host. unpack = first init; clone = second; read1/read2 = the
whole tree, cold; small = 10,000 text files; big = 1 GiB of noise; delete = both. The seconds of unpack are
mostly gunzip. kernel threads of other work on the machine count in .cpu: keep it idle.
END

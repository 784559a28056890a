#!/usr/bin/env bash
# Measures `taos-setup migrate` against `incus stop; incus move --storage; incus start`, in turn, in a private host.
#   sudo scripts/bench-migrate.sh [time] [space] [many]     default: time and space
# RUNS=3         how often `time` is run; medians are printed
# TAOS_SETUP     the binary (default: target/release/taos-setup)
# BENCH_DIR      a folder on the disk to be measured, with 12 GB free (default: /var/tmp)
# RESULTS        a file that gets every single figure (default: none is kept)
# time:  a running container of 10,000 files and 600 MB, from dir to btrfs
# space: three containers of one 500 MB image with 20 MB of their own each
# many:  three running containers of 2,000 files and 240 MB each, copied two at a time and one at a time
# Ends with 1 if a bound is not kept.
# shellcheck disable=SC2317  # functions that `timed` is given
set -euo pipefail
# shellcheck source=scripts/bench/lib.sh
. "$(dirname "$0")/bench/lib.sh"

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(time space)
wanted() { [[ " ${parts[*]} " == *" $1 "* ]]; }

if outside; then
	needs incus btrfs unshare ip awk busybox
	TAOS_SETUP=$(readlink -e "${TAOS_SETUP:-${CARGO_TARGET_DIR:-$(dirname "$SELF")/../target}/release/taos-setup}") ||
		die "there is no program; build it first: cargo build --release"
	export TAOS_SETUP
fi
private_host "$@"

RUNS=${RUNS:-3}
results=${RESULTS:-$BENCH_WORK/results} failed=0
rec() { printf '%s\t%s\n' "$1" "$2" >>"$results"; }
of() { awk -F'\t' -v w="$1" '$1 == w { print $2 }' "$results" | median; }
rootfs() { echo "$INCUS_DIR/storage-pools/dir/containers/$1/rootfs"; }
quietly() { incus "$@" >/dev/null 2>&1 </dev/null; }

fresh_host() {
	daemon_start "$BENCH_WORK/$1"
	export TAOS_STATE_DIR=$INCUS_DIR.state TAOS_LOG_FILE=$INCUS_DIR.setup.log
	quietly storage create dir dir
	quietly profile device add default root disk path=/ pool=dir
	quietly storage create taos btrfs size=5GiB
}
away() {
	incus list --format csv --columns n | while read -r name; do incus delete --force "$name" </dev/null; done
	daemon_stop
	rm -rf --one-file-system "$INCUS_DIR" "$TAOS_STATE_DIR"
}

# image ALIAS MEGABYTES: a busybox with so much beside it
image() {
	local tree=$BENCH_WORK/tree
	mkdir -p "$tree"
	"$(dirname "$SELF")/private-host.sh" tiny-image "$BENCH_WORK/tiny.tar.gz"
	tar -C "$tree" -xf "$BENCH_WORK/tiny.tar.gz"
	mkdir -p "$tree/rootfs/usr/much"
	split -b 250k -a 5 <(head -c "$2M" /dev/urandom) "$tree/rootfs/usr/much/f"
	tar -C "$tree" -cf "$BENCH_WORK/image.tar" .
	rm -rf "$tree"
	quietly image import "$BENCH_WORK/image.tar" --alias "$1"
}

fill() { # fill NAME [FOLDERS MEGABYTES]: 100 files of 20 kB in each of 100 folders, and one of 400 MB
	local to
	to=$(rootfs "$1")/data
	mkdir -p "$to"
	(
		cd "$to"
		for folder in $(seq "${2:-100}"); do mkdir "$folder"; split -b 20k -a 3 <(head -c 2000k /dev/urandom) "$folder/f"; done
		head -c "${3:-400}M" /dev/urandom >big
	)
	sync
}

seconds() { awk -v us=$(($2 - $1)) 'BEGIN { printf "%.4f", us / 1e6 }'; }

bench_time() {
	local run begin stopped moved started
	for run in $(seq "$RUNS"); do
		say "time: run $run of $RUNS"
		fresh_host "time$run"
		image tiny 1
		for name in plain staged; do quietly launch tiny "$BENCH_TAG-$name"; fill "$BENCH_TAG-$name"; done
		begin=$(now)
		quietly stop "$BENCH_TAG-plain"
		stopped=$(now)
		quietly move "$BENCH_TAG-plain" --storage taos
		moved=$(now)
		quietly start "$BENCH_TAG-plain"
		started=$(now)
		rec 'plain down' "$(seconds "$begin" "$started")"
		rec 'plain move' "$(seconds "$stopped" "$moved")"
		sync
		begin=$(now)
		"$TAOS_SETUP" migrate "$BENCH_TAG-staged" --to taos --yes --json >"$BENCH_WORK/json" 2>"$BENCH_WORK/out" </dev/null ||
			{ cat "$BENCH_WORK/out" >&2; die "migrating failed"; }
		rec 'staged total' "$(seconds "$begin" "$(now)")"
		rec 'staged down' "$(awk -F'[:,]' '/"downtime_seconds"/ { print $2 + 0 }' "$BENCH_WORK/json")"
		# The container's own stop and start, as the log has them.
		rec 'own' "$(awk '/ stop .*--timeout|local start / && match($0, /\([0-9.]+ s\)/) { sum += substr($0, RSTART + 1) } END { print sum + 0 }' "$TAOS_LOG_FILE")"
		away
	done
}

used() { # bytes on the new pool; inodes are counted in the same answer
	btrfs filesystem sync "$INCUS_DIR/storage-pools/taos" >/dev/null
	incus query /1.0/storage-pools/taos/resources | awk -F'[:,]' '/"space"/ { space = 1 } space && /"used"/ { printf "%d", $2; exit }'
}

bench_space() {
	local how name before
	for how in plain staged; do
		say "space: $how"
		fresh_host "space-$how"
		image five 500
		for name in a b c; do
			quietly launch five "$BENCH_TAG-$name"
			head -c 20M /dev/urandom >"$(rootfs "$BENCH_TAG-$name")/own"
		done
		before=$(used)
		if [ "$how" = plain ]; then
			for name in a b c; do
				quietly stop "$BENCH_TAG-$name" --force
				quietly move "$BENCH_TAG-$name" --storage taos
			done
		else
			"$TAOS_SETUP" migrate --all --to taos --yes >"$BENCH_WORK/out" 2>&1 </dev/null || { cat "$BENCH_WORK/out" >&2; die "migrating failed"; }
		fi
		rec "space $how" $((($(used) - before) >> 20))
		away
	done
}

bench_many() {
	local run how name begin
	for run in $(seq "$RUNS"); do
		for how in alone beside; do
			say "many: run $run of $RUNS, $how"
			fresh_host "many$run$how"
			image tiny 1
			for name in a b c; do quietly launch tiny "$BENCH_TAG-$name"; fill "$BENCH_TAG-$name" 20 200; done
			# Where a project has any limit, one is copied at a time.
			[ "$how" = beside ] || quietly project set default limits.instances=100
			begin=$(now)
			"$TAOS_SETUP" migrate --all --to taos --yes --json >"$BENCH_WORK/json" 2>"$BENCH_WORK/out" </dev/null ||
				{ cat "$BENCH_WORK/out" >&2; die "migrating failed"; }
			rec "many $how" "$(seconds "$begin" "$(now)")"
			rec "many down $how" "$(awk -F'[:,]' '/"downtime_seconds"/ && $2 > max { max = $2 + 0 } END { print max + 0 }' "$BENCH_WORK/json")"
			away
		done
	done
}

if wanted time; then bench_time; fi
if wanted space; then bench_space; fi
if wanted many; then bench_many; fi

# bound WHAT IS LIMIT OF: IS may be at most LIMIT times OF
bound() {
	local verdict=kept
	awk -v a="$2" -v l="$3" -v b="$4" 'BEGIN { exit !(a > l * b || b == 0) }' && verdict='NOT KEPT' failed=1
	printf '%-52s %9.3f against %9.3f  ratio %.3f  bound %.3f  %s\n' "$1" "$2" "$4" "$(awk -v a="$2" -v b="$4" 'BEGIN { print a / b }')" "$3" "$verdict"
}
printf '%s\nMedians of %s runs, in turn. Seconds depend on the machine and what else it does; ratios less so.\n\n' "$(machine)" "$RUNS"
if wanted time; then
	own=$(of own) down=$(of 'staged down')
	bound 'downtime, s' "$down" 0.125 "$(of 'plain down')"
	bound 'of it neither stop nor start, against the move, s' "$(awk -v a="$down" -v b="$own" 'BEGIN { print a - b }')" 0.05 "$(of 'plain move')"
	bound 'total, s' "$(of 'staged total')" 1.3 "$(of 'plain down')"
fi
if wanted space; then bound 'three of one image, MiB' "$(of 'space staged')" 0.3334 "$(of 'space plain')"; fi
if wanted many; then
	printf 'three containers, s: two copied at a time %s, one at a time %s; the longest downtime %s and %s\n' \
		"$(of 'many beside')" "$(of 'many alone')" "$(of 'many down beside')" "$(of 'many down alone')"
fi
exit "$failed"

#!/usr/bin/env bash
# Measures taos-setup against the alternative, side by side and in turn, each in a private host that is gone afterwards.
#   sudo scripts/bench.sh [setup] [noop] [version] [launch]     default: all of them
# RUNS=5         how often each is run; medians are printed
# TAOS_SETUP     the binary (default: target/release/taos-setup, built if it is not there)
# BENCH_IMAGE    an Incus image tarball for `launch` (default: one is made and kept in ~/.cache)
# BENCH_DIR      a folder on the disk to be measured, with 12 GB free (default: /var/tmp)
# BENCH_OPTIONS  `launch` on a pool made by hand with these mount options, instead of by taos-setup
# Ends with 1 if a bound is not kept.
# shellcheck disable=SC2317  # functions that `timed` is given
set -euo pipefail
# shellcheck source=scripts/bench/lib.sh
. "$(dirname "$0")/bench/lib.sh"

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(setup noop version launch)
for part in "${parts[@]}"; do
	[[ $part =~ ^(setup|noop|version|launch)$ ]] || die "unknown part '$part': use setup, noop, version or launch"
done
wanted() { [[ " ${parts[*]} " == *" $1 "* ]]; }

# What needs the network or the build comes first, outside the private host.
if outside; then
	needs incus btrfs unshare ip awk
	root=$(dirname "$SELF")/..
	binary=${TAOS_SETUP:-${CARGO_TARGET_DIR:-$root/target}/release/taos-setup}
	[ -x "$binary" ] || [ -n "${TAOS_SETUP:-}" ] || cargo build --release --locked --manifest-path "$root/Cargo.toml" >&2
	TAOS_SETUP=$(readlink -e "$binary") || die "there is no program at $binary"
	export TAOS_SETUP
	if wanted launch; then
		BENCH_IMAGE=$(bench_image)
		export BENCH_IMAGE
	fi
fi
private_host "$@"

RUNS=${RUNS:-5}
results=$BENCH_WORK/results failed=0

rec() { printf '%s\t%s\n' "$1" "${2:-$SECONDS_TAKEN}" >>"$results"; }
of() { awk -F'\t' -v w="$1" '$1 == w { print $2 }' "$results" | median; }
header() { printf '%-34s %10s   %-34s %10s %8s %8s\n' measured median against median ratio bound; }

# row NAME OF AGAINST [BOUND]: their medians and ratio; a bound says at most how many times as much.
row() {
	local a b verdict=
	a=$(of "$2") b=$(of "$3")
	if awk -v a="$a" -v b="$b" -v bound="${4:-0}" 'BEGIN { exit !(bound > 0 && a > b * bound) }'; then
		verdict='NOT KEPT' failed=1
	fi
	printf '%-34s %8.3f s   %-34s %8.3f s %8.3f %8s %s\n' "$1" "$a" "$3" "$b" \
		"$(awk -v a="$a" -v b="$b" 'BEGIN { print a / b }')" "${4:-}" "$verdict"
}

# A daemon that nobody has used before, and nothing of an earlier one.
fresh_host() {
	daemon_start "$BENCH_WORK/$1"
	export TAOS_STATE_DIR=$INCUS_DIR.state TAOS_LOG_FILE=$INCUS_DIR.setup.log
}
away() {
	daemon_stop
	rm -rf --one-file-system "$INCUS_DIR" "$TAOS_STATE_DIR"
}

# What taos-setup made, in the form that `incus admin init --preseed` takes, so that both make the same.
# A loop pool is asked for by leaving its source out; the projects are those that each Incus has.
dump_preseed() { incus admin init --dump | sed -E '/^projects:/,$d; /^ +(source|volatile\.[a-z_.]+):/d' >"$BENCH_WORK/preseed"; }
preseed() { incus admin init --preseed <"$BENCH_WORK/preseed"; }
calls() { wc -l <"$BENCH_WORK/calls"; }

bench_setup() {
	local run shim=$BENCH_WORK/shim incus
	mkdir -p "$shim"
	incus=$(command -v incus)
	printf '#!/bin/sh\necho "$*" >>%q\nexec %q "$@"\n' "$BENCH_WORK/calls" "$incus" >"$shim/incus"
	chmod +x "$shim/incus"
	fresh_host warm
	timed "$TAOS_SETUP" --yes
	dump_preseed
	away
	for run in $(seq "$RUNS"); do
		say "setup and noop: run $run of $RUNS"
		fresh_host "setup$run"
		timed "$TAOS_SETUP" --yes
		rec 'taos-setup --yes, fresh'
		timed "$TAOS_SETUP" --yes
		rec 'taos-setup --yes, again'
		: >"$BENCH_WORK/calls"
		PATH=$shim:$PATH timed "$TAOS_SETUP" --yes
		rec calls "$(calls)"
		away

		fresh_host "preseed$run"
		timed preseed
		rec 'incus admin init --preseed'
		timed preseed
		rec 'incus admin init --preseed, again'
		away
	done
}

# Start-up is some milliseconds: twenty in a row.
twenty() { for _ in {1..20}; do "$@" >/dev/null || return; done; }
bench_version() {
	local run
	for run in $(seq "$RUNS"); do
		timed twenty "$TAOS_SETUP" --version
		rec 'taos-setup --version' "$(awk -v s="$SECONDS_TAKEN" 'BEGIN { print s / 20 }')"
		timed twenty incus --version
		rec 'incus --version' "$(awk -v s="$SECONDS_TAKEN" 'BEGIN { print s / 20 }')"
	done
}

launch() { # POOL WHAT: times one launch
	sync
	timed incus launch bench "$BENCH_TAG-$1" -s "$1"
	rec "$2"
	incus delete -f "$BENCH_TAG-$1" >/dev/null
}
bench_launch() {
	local run fingerprint new=new
	fresh_host launch
	if [ -n "${BENCH_OPTIONS:-}" ]; then
		incus storage create new btrfs size=8GiB "btrfs.mount_options=$BENCH_OPTIONS" >/dev/null
	else
		timed "$TAOS_SETUP" --yes
		new=$(incus profile device get default root pool)
	fi
	incus storage create dir dir >/dev/null
	timed incus image import "$BENCH_IMAGE" --alias bench
	fingerprint=$(incus image list --format csv --columns F)
	for run in $(seq "$RUNS"); do
		say "launch: run $run of $RUNS"
		launch dir 'launch on dir'
		launch "$new" 'first launch'
		launch dir 'launch on dir'
		launch "$new" 'later launch'
		incus storage volume delete "$new" "image/$fingerprint" >/dev/null
	done
	MOUNT_OPTIONS=$(incus storage get "$new" btrfs.mount_options)
	away
}

if wanted setup || wanted noop; then bench_setup; fi
if wanted version; then bench_version; fi
if wanted launch; then bench_launch; fi

printf '%s\nMedians of %s runs, in turn. Seconds depend on the machine and what else it does; ratios less so.\n\n' "$(machine)" "$RUNS"
header
if wanted setup; then row 'fresh setup' 'taos-setup --yes, fresh' 'incus admin init --preseed' 1.5; fi
if wanted noop; then row 'second run, nothing to do' 'taos-setup --yes, again' 'incus admin init --preseed, again'; fi
if wanted version; then row 'start-up' 'taos-setup --version' 'incus --version'; fi
if wanted launch; then
	row 'new pool, first launch (unpacks)' 'first launch' 'launch on dir'
	row 'new pool, later launches' 'later launch' 'launch on dir'
fi
if wanted noop; then
	n=$(of calls) verdict=kept
	if [ "$n" = 0 ] || awk -v n="$n" 'BEGIN { exit !(n > 6) }'; then
		verdict='NOT KEPT (0 means: not counted)' failed=1
	fi
	printf '\nsecond run: %s calls of incus, bound 6: %s\n' "$n" "$verdict"
fi
if wanted launch; then
	printf '\nimage: %s MiB as a tarball; new pool: btrfs, %s\n' "$(du -m "$BENCH_IMAGE" | cut -f1)" "$MOUNT_OPTIONS"
fi
exit "$failed"

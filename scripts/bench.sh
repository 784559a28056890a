#!/usr/bin/env bash
# Measures taos-setup against the alternative, side by side and in turn, each in a private host that is gone afterwards.
#   sudo scripts/bench.sh [setup] [noop] [version] [launch] [image]     default: all of them
# RUNS=5         how often each is run; medians are printed, of `image` the best ones
# TAOS_SETUP     the binary (default: target/release/taos-setup, built if it is not there)
# BENCH_IMAGE    an Incus image tarball for `launch` and `image` (default: one is made and kept in ~/.cache)
# BENCH_IMAGE_ZSTD  the same, packed with zstd, for `image` (default: made of BENCH_IMAGE and kept beside that of ~/.cache)
# BENCH_DIR      a folder on the disk to be measured, with 12 GB free (default: /var/tmp)
# RESULTS        a file that gets every single figure (default: none is kept)
# BENCH_OPTIONS  `launch` on a pool made by hand with these mount options, instead of by taos-setup
# Ends with 1 if a bound is not kept.
# shellcheck disable=SC2317  # functions that `timed` is given
set -euo pipefail
# shellcheck source=scripts/bench/lib.sh
. "$(dirname "$0")/bench/lib.sh"

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(setup noop version launch image)
for part in "${parts[@]}"; do
	[[ $part =~ ^(setup|noop|version|launch|image)$ ]] || die "unknown part '$part': use setup, noop, version, launch or image"
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
	if wanted image; then needs curl python3 zstd; fi
	if wanted launch || wanted image; then
		BENCH_IMAGE=$(bench_image)
		export BENCH_IMAGE
	fi
	if wanted image; then
		BENCH_IMAGE_ZSTD=$(bench_image_zstd "$BENCH_IMAGE")
		export BENCH_IMAGE_ZSTD
	fi
fi
private_host "$@"

RUNS=${RUNS:-5}
results=${RESULTS:-$BENCH_WORK/results} failed=0

rec() { printf '%s\t%s\n' "$1" "${2:-$SECONDS_TAKEN}" >>"$results"; }
of() { awk -F'\t' -v w="$1" '$1 == w { print $2 }' "$results" | median; }
header() { printf '%-34s %10s   %-34s %10s %8s %8s\n' measured median against median ratio bound; }

# row NAME OF AGAINST [BOUND]: their medians and ratio; a bound says at most how many times as much.
row() {
	local a b verdict=
	a=$("${middle:-of}" "$2") b=$("${middle:-of}" "$3")
	if awk -v a="$a" -v b="$b" -v bound="${4:-0}" 'BEGIN { exit !(bound > 0 && a > b * bound) }'; then
		verdict='NOT KEPT' failed=1
	fi
	printf '%-34s %8.3f s   %-34s %8.3f s %8.3f %8s %s\n' "$1" "$a" "$3" "$b" \
		"$(awk -v a="$a" -v b="$b" 'BEGIN { print a / b }')" "${4:-}" "$verdict"
}

# The same of the best runs: what else a machine does makes things slower, never faster.
best_row() { middle=best_of row "$@"; }
best_of() { awk -F'\t' -v w="$1" '$1 == w { print $2 }' "$results" | sort -g | head -n 1; }

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

# The program's own peak, without the programs that it runs: the kernel's high-water mark, read until it ends.
peak_of() { # WHAT COMMAND…
	local process peak=0 now what=$1
	shift
	"$@" >"$BENCH_WORK/out" 2>&1 </dev/null &
	process=$!
	while now=$(awk '/^VmHWM/ { print $2 }' "/proc/$process/status" 2>/dev/null) && [ -n "$now" ]; do
		peak=$now
		sleep 0.02
	done
	wait "$process" || { tail -n 5 "$BENCH_WORK/out" >&2; die "failed: $*"; }
	rec "peak memory, $what" "$peak"
}
curl_and_import() {
	curl -sf -o "$BENCH_WORK/fetched" "$1" && incus image import "$BENCH_WORK/fetched" --alias bench
}
# The same, with what taos-setup looks at before Incus may do anything with the file.
curl_check_and_import() {
	local sums file=$BENCH_WORK/${1##*/}
	curl -sf -o "$file" "$1" && sums=$(curl -sf "$1.sha256") || return
	(cd "$BENCH_WORK" && sha256sum --quiet --check - <<<"$sums") || return
	tar -tf "$file" | awk '/^\// || /(^|\/)\.\.(\/|$)/ { climbs = 1 } END { exit climbs }' || return
	tar --occurrence=1 -xOf "$file" metadata.yaml | grep -qx "architecture: $(uname -m)" || return
	incus image import "$file" --alias bench
}
unpack_alone() { zstd -dc "$1" >/dev/null; }
fetch_and_import() { "$TAOS_SETUP" image fetch --image-url "$1"; }
# With the processors' seconds, too: those of the commands, of the daemon and of the server, whatever else the machine does.
rec_busy() { # WHAT COMMAND…
	local before
	before=$(busy)
	timed "${@:2}"
	rec "$1"
	rec "$1, processors" "$(awk -v b="$before" -v a="$(busy)" 'BEGIN { print a - b }')"
}
busy() {
	awk -v tick="$(getconf CLK_TCK)" -v self="$$" '{ sum += $16 + $17 + ($1 == self ? 0 : $14 + $15) } END { print sum / tick }' \
		"/proc/$$/stat" "/proc/$DAEMON/stat" "/proc/$server/stat"
}
bench_image_fetch() {
	local run url file server www=$BENCH_WORK/www new
	mkdir -p "$www"
	ln -s "$BENCH_IMAGE" "$www/gzip.tar.gz"
	ln -s "$BENCH_IMAGE_ZSTD" "$www/zstd.tar.zst"
	for file in gzip.tar.gz zstd.tar.zst; do (cd "$www" && sha256sum "$file" >"$file.sha256"); done
	python3 -m http.server --bind 127.0.0.1 --directory "$www" 8088 >/dev/null 2>&1 &
	server=$!
	url=http://127.0.0.1:8088
	until curl -sf -o /dev/null "$url/gzip.tar.gz.sha256"; do sleep 0.1; done
	fresh_host image
	export TAOS_IMAGE_STATUS=$INCUS_DIR.status/status.json
	# Without a pool there is nothing to unpack on: what is left is what curl and the import do, and the checks.
	for run in $(seq "$RUNS"); do
		for file in gzip.tar.gz zstd.tar.zst; do
			say "image: run $run of $RUNS, $file"
			sync
			rec_busy "image fetch, ${file%%.*}" fetch_and_import "$url/$file"
			incus image delete taos-openclaw-base
			sync
			rec_busy "curl; incus image import, ${file%%.*}" curl_and_import "$url/$file"
			incus image delete bench
			rm "$BENCH_WORK/fetched"
			sync
			rec_busy "the same checks by hand, ${file%%.*}" curl_check_and_import "$url/$file"
			incus image delete bench
			rm "$BENCH_WORK/$file"
			peak_of "${file%%.*}" "$TAOS_SETUP" image fetch --image-url "$url/$file"
			incus image delete taos-openclaw-base
		done
		# The least that anybody needs who looks at what is in it.
		timed unpack_alone "$BENCH_IMAGE_ZSTD"
		rec 'zstd unpacks it, and nothing else'
	done
	url=$url/gzip.tar.gz
	timed "$TAOS_SETUP" --yes --image off
	new=$(incus profile device get default root pool)
	for run in $(seq "$RUNS"); do
		say "image: launches $run of $RUNS"
		timed "$TAOS_SETUP" image fetch --image-url "$url"
		sync
		timed incus launch taos-openclaw-base "$BENCH_TAG-warm" -s "$new"
		rec 'first launch, warmed'
		timed incus launch taos-openclaw-base "$BENCH_TAG-later" -s "$new"
		rec 'later launch of it'
		incus delete -f "$BENCH_TAG-warm" "$BENCH_TAG-later" >/dev/null
		incus storage volume delete "$new" "image/$(incus image list --format csv --columns F)" >/dev/null
		sync
		timed incus launch taos-openclaw-base "$BENCH_TAG-cold" -s "$new"
		rec 'first launch, not warmed'
		incus delete -f "$BENCH_TAG-cold" >/dev/null
		incus image delete taos-openclaw-base
	done
	kill "$server"
	away
	rm -rf "${TAOS_IMAGE_STATUS%/*}"
}

if wanted setup || wanted noop; then bench_setup; fi
if wanted version; then bench_version; fi
if wanted launch; then bench_launch; fi
if wanted image; then bench_image_fetch; fi

printf '%s\nMedians of %s runs, in turn; of image fetch the best ones. Seconds depend on the machine and what else it does; ratios less so.\n\n' "$(machine)" "$RUNS"
header
if wanted setup; then row 'fresh setup' 'taos-setup --yes, fresh' 'incus admin init --preseed' 1.5; fi
if wanted noop; then row 'second run, nothing to do' 'taos-setup --yes, again' 'incus admin init --preseed, again'; fi
if wanted version; then row 'start-up' 'taos-setup --version' 'incus --version'; fi
if wanted launch; then
	row 'new pool, first launch (unpacks)' 'first launch' 'launch on dir'
	row 'new pool, later launches' 'later launch' 'launch on dir'
fi
if wanted image; then
	for kind in gzip zstd; do
		best_row "image: fetch and import" "image fetch, $kind" "curl; incus image import, $kind" 1.1
		best_row "image: fetch and import" "image fetch, $kind" "the same checks by hand, $kind"
		best_row "image: processors" "image fetch, $kind, processors" "curl; incus image import, $kind, processors"
	done
	best_row 'image: unpacking alone' 'zstd unpacks it, and nothing else' 'curl; incus image import, zstd'
	row 'image: first launch, warmed' 'first launch, warmed' 'first launch, not warmed'
	row 'image: first launch, warmed' 'first launch, warmed' 'later launch of it'
	for kind in gzip zstd; do
		n=$(awk -F'\t' -v w="peak memory, $kind" '$1 == w { print $2 }' "$results" | sort -n | tail -n 1) verdict=kept
		if [ "${n:-0}" = 0 ] || [ "$n" -gt 32768 ]; then
			verdict='NOT KEPT (0 means: not measured)' failed=1
		fi
		printf '\npeak memory of image fetch, %s: %s KiB, bound 32768: %s\n' "$kind" "$n" "$verdict"
	done
fi
if wanted noop; then
	n=$(of calls) verdict=kept
	if [ "$n" = 0 ] || awk -v n="$n" 'BEGIN { exit !(n > 6) }'; then
		verdict='NOT KEPT (0 means: not counted)' failed=1
	fi
	printf '\nsecond run: %s calls of incus, bound 6: %s\n' "$n" "$verdict"
fi
if wanted image; then
	printf '\nimage: %s MiB with gzip, %s MiB with zstd\n' "$(du -Lm "$BENCH_IMAGE" | cut -f1)" "$(du -Lm "$BENCH_IMAGE_ZSTD" | cut -f1)"
fi
if wanted launch; then
	printf '\nimage: %s MiB as a tarball; new pool: btrfs, %s\n' "$(du -m "$BENCH_IMAGE" | cut -f1)" "$MOUNT_OPTIONS"
fi
exit "$failed"

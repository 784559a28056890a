# shellcheck shell=bash disable=SC2034,SC2154 # its variables come from the other parts
# Where the image is finished: a container, or a chroot. Neither has a network. What runs in it is a script on its standard
# input. Sourced by build-base-image.sh.

BUILD=taos-build-$$
readonly BUILD

# Nothing of the person's Incus but what is called taos-build-<pid>, whatever remote or project the client is set to.
inc() { incus --force-local --project default "$@"; }

incus_answers() { command -v incus >/dev/null && timeout 20 incus --force-local query /1.0 </dev/null >/dev/null 2>&1; }

open_room() {
    # A container runs only what the processor does.
    if [ -z "$room" ]; then
        room=chroot
        if [ "$arch" = "$(own_arch)" ] && incus_answers; then room=container; fi
    fi
    say "Finishing it in a $room"
    [ "$room" = chroot ] || open_container
}

# in_room SCRIPT [VARIABLE=VALUE...]
in_room() {
    local script=$HERE/inside/$1.sh bake hook
    shift
    run_in_room "$@" <"$script"
    [ "$script" = "$HERE/inside/provision.sh" ] || return 0
    for bake in "${bakes[@]}"; do
        for hook in "$bake"/hooks/*.sh; do
            [ -f "$hook" ] || continue
            say "  hook ${hook##*/}"
            run_in_room "$@" <"$hook"
        done
    done
}

run_in_room() {
    local environment=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
        SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" PROFILE="$profile" "$@")
    if [ "$room" = chroot ]; then
        in_chroot "${environment[@]}"
    else
        inc exec "$BUILD" --mode non-interactive -- env -i "${environment[@]}" bash -seuo pipefail
    fi
}

close_room() {
    [ "$room" = container ] || return 0
    take_tree_back
    leave_incus
    # What comes after it is no business of strangers' code.
    room=chroot
}

# --- chroot ---

# Namespaces of its own: mounts, processes and devices are gone with it, and there is no network.
in_chroot() {
    # shellcheck disable=SC2016 # expanded inside
    unshare --mount --pid --net --uts --ipc --fork --kill-child bash -euc '
        tree=$1
        shift
        mount --make-rprivate /
        mount -t proc proc "$tree/proc"
        mount -t tmpfs -o mode=755 tmpfs "$tree/dev"
        for device in null zero full random urandom tty; do
            touch "$tree/dev/$device"
            mount --bind "/dev/$device" "$tree/dev/$device"
        done
        ln -s /proc/self/fd "$tree/dev/fd"
        mount -t tmpfs -o mode=755 tmpfs "$tree/run"
        mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
        exec chroot "$tree" env -i "$@" bash -seuo pipefail' bash "$work/tree" "$@"
}

# --- container ---

open_container() {
    needs incus incus-client
    make_pool
    say "  importing what there is so far"
    metadata >"$work/metadata.yaml"
    templates
    tar -C "$work" --numeric-owner --xattrs --xattrs-include='*' --transform 's,^tree,rootfs,S' -cf "$work/start.tar" metadata.yaml templates tree
    rm -rf "$work/tree"
    import_scratch "$work/start.tar"
    rm "$work/start.tar"
    make_scratch
    start_scratch
}

# Incus warns of what is meant: that it has no network.
make_scratch() {
    inc init "$scratch_image" "$BUILD" --storage "$BUILD" --no-profiles --quiet </dev/null >"$work/log" 2>&1 || { cat "$work/log" >&2 && return 1; }
}

# Up to the end of the boot, which empties /tmp on its way.
start_scratch() {
    inc start "$BUILD" --quiet </dev/null 2>"$work/log" || { cat "$work/log" >&2 && return 1; }
    # shellcheck disable=SC2016 # expanded inside
    inc exec "$BUILD" -- sh -c 'for i in $(seq 900); do case $(systemctl is-system-running 2>/dev/null) in running|degraded) exit;; esac; sleep 0.1; done; exit 1' </dev/null ||
        die "A container made from the image does not come up within 90 seconds."
}

make_pool() {
    mkdir -p "$work/pool"
    in_incus=yes
    inc storage create "$BUILD" dir source="$work/pool" </dev/null >/dev/null
}

# An image without any alias. One that is there already stays when we go.
import_scratch() { # import_scratch FILE: sets scratch_image
    local digest
    digest=$(sha256sum "$1" | cut -d' ' -f1)
    scratch_image=$digest
    if inc image show "$digest" </dev/null >/dev/null 2>&1; then return; fi
    own_image=$digest
    inc image import "$1" --quiet </dev/null >/dev/null
}

take_tree_back() {
    local status=0
    say "  taking it back"
    mkdir "$work/tree"
    # The container lives, so a log may grow while it is read: that is 1. Logs are emptied later.
    { inc exec "$BUILD" --mode non-interactive -- tar -C / --one-file-system --numeric-owner --xattrs --xattrs-include='*' \
        --exclude='./var/log/journal/*' -cf - . </dev/null 2>"$work/log" || echo $? >"$work/status"; } |
        tar -C "$work/tree" --numeric-owner --xattrs --xattrs-include='*' -xpf -
    status=$(cat "$work/status" 2>/dev/null || echo 0)
    [ "$status" -le 1 ] || { cat "$work/log" >&2 && die "Taking the tree out of the container failed."; }
    find "$work/tree"/{dev,proc,sys,run,tmp} -mindepth 1 -delete
}

# Whatever of ours is there, also half of it. Safe to call at any time.
leave_incus() {
    [ -n "${in_incus:-}" ] || return 0
    ! inc config show "$BUILD" </dev/null >/dev/null 2>&1 || inc delete --force "$BUILD" </dev/null
    [ -z "${own_image:-}" ] || ! inc image show "$own_image" </dev/null >/dev/null 2>&1 || inc image delete "$own_image" </dev/null
    ! inc storage show "$BUILD" </dev/null >/dev/null 2>&1 || inc storage delete "$BUILD" </dev/null >/dev/null
    in_incus='' own_image=''
}

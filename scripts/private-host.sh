#!/usr/bin/env bash
# A throw-away private host made of namespaces: it sees this machine's files, and changes none of them.
#
#   private-host.sh run  [OPTIONS] [-- COMMAND...]   start a host, run COMMAND in it (default: a shell), clear away
#   private-host.sh hold [OPTIONS]                   start a host, print `ready DIR`, keep it until standard input ends
#   private-host.sh exec DIR COMMAND...              run COMMAND in the host DIR
#   private-host.sh loops DIR                        list the loop devices of the host DIR
#   private-host.sh tiny-image FILE [dhcp]           write the tar ball of a tiny container image (busybox); with `dhcp` it
#                                                    asks for an address
#   private-host.sh sweep                            clear away what killed or crashed hosts left
#
# Options of `run` and `hold`:
#   --base DIR              make the host's folder in DIR (default: $TMPDIR, else /var/tmp; not on tmpfs or overlay)
#   --online                let apt fetch over this machine's network; all else has a loopback of its own, as always
#   --incus-fs TYPE:SIZE    put /var/lib/incus on a file system of its own (btrfs:20G, ext4:8G, …; a sparse file)
#   --extra-btrfs PATH:SIZE mount a further btrfs file system on PATH (may be given more than once)
#   --put FILE:PATH         put a copy of FILE at PATH, executable (may be given more than once)
#   --without NAME,...      remove these packages, and those called NAME-*, in the host (Debian and Ubuntu)
#   --member N[:DIR]        make it the N-th of some hosts that reach each other, at 192.0.2.N; DIR is the first one's
#
# How it works. The host's root is an overlay over `/`, so that even `apt-get remove` touches only the host's folder.
# Incus and btrfs need a true file system: their folders are plain folders, bound into place. /run is new and holds no
# systemd, /tmp is new and empty, and the host's folder DIR/share is seen under the same path from both sides. Bridges
# and firewall rules live in a network of its own, so they cannot collide with the machine's, and vanish with it.
#
# Nothing stays behind. A guard process in a session of its own waits for a pipe to close. The pipe closes when its
# owner ends, however it ends. The guard then kills the host's first process: the kernel ends all others and drops the
# mounts. The guard detaches the loop devices that are left, and removes the control groups and the folder. Only where
# the guard itself is killed too, the folder waits for the next start, which sweeps it away.
set -euo pipefail

ME=$(readlink -f "${BASH_SOURCE[0]}")
readonly ME
readonly PREFIX=taos-host
# Folders that need a true file system below them, with their mode.
readonly REAL_DIRS=(/var/lib/incus:711 /var/cache/incus:700 /var/log/incus:700 /var/lib/taos-setup:700 /tmp:1777)
# Only file systems that can be the lower side of an overlay; everything else in the mount table is left out.
readonly OVERLAY_LOWER=' ext2 ext3 ext4 xfs btrfs f2fs bcachefs zfs '

say() { printf 'private-host: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

usage() { sed -n '2,/^$/{/^set /d;s/^# \{0,1\}//;p}' "$ME" | sed '/^How it works/,$d'; }

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || die "looking for the command '$tool': not found; install it first (Debian: apt-get install util-linux iproute2 btrfs-progs busybox-static)"
    done
}

need_root() { [ "$(id -u)" = 0 ] || die "making a private host needs root; run this with sudo"; }

# ---- options ---------------------------------------------------------------------------------------------------------

parse_options() {
    base='' online='' incus_fs='' without='' member='' extra_btrfs=() put=() command=()
    while [ $# -gt 0 ]; do
        case $1 in
            --online) online=yes; shift ;;
            --base|--incus-fs|--extra-btrfs|--put|--without|--member)
                [ $# -ge 2 ] || die "option $1 needs a value (see $ME --help)"
                case $1 in
                    --base) base=$2 ;;
                    --incus-fs) incus_fs=$2 ;;
                    --extra-btrfs) extra_btrfs+=("$2") ;;
                    --put) put+=("$2") ;;
                    --without) without=$2 ;;
                    --member) member=$2 ;;
                esac
                shift 2 ;;
            --) shift; command=("$@"); break ;;
            *) die "unknown option '$1' (see $ME --help)" ;;
        esac
    done
    local spec
    for spec in ${put[@]+"${put[@]}"}; do
        [[ $spec == *:/* && -f ${spec%:/*} ]] || die "--put '$spec' is not of the form FILE:/PATH, or there is no such file"
    done
    [[ -z $member || $member =~ ^(1|[0-9]+:/.*)$ ]] || die "--member '$member' is not of the form 1 or N:DIR"
    for spec in ${incus_fs:+"$incus_fs"} ${extra_btrfs[@]+"${extra_btrfs[@]}"}; do
        [[ $spec =~ ^[^:]+:[0-9]+[KMGT]?$ ]] || die "'$spec' is not of the form NAME:SIZE, such as btrfs:20G"
    done
}

find_base() {
    local candidate kind
    for candidate in ${base:+"$base"} ${TMPDIR:+"$TMPDIR"} /var/tmp; do
        mkdir -p "$candidate"
        kind=$(stat -f -c %T "$candidate")
        case $kind in
            tmpfs|ramfs|overlayfs) [ "$candidate" != "$base" ] || die "--base $base lies on $kind; Incus needs a true file system there" ;;
            *) base=$(readlink -f "$candidate"); return ;;
        esac
    done
    die "neither \$TMPDIR nor /var/tmp lies on a true file system; name a folder that does with --base"
}

# ---- the guard: outside of the host, lives longer than it ------------------------------------------------------------

# Reads the end of its standard input as the order to clear away.
guard() {
    parse_options "$@"
    find_base
    sweep "$base"
    # The folder gets its final name only when it is locked, so that a sweep never takes a folder that is being made.
    local fresh
    # Of one that was killed in the very moment between these lines, only this name stays.
    find "$base" -maxdepth 1 -name ".new-$PREFIX.*" -mmin +10 -exec rm -rf {} +
    fresh=$(mktemp -d "$base/.new-$PREFIX.XXXXXX")
    dir=$base/$PREFIX.${fresh##*.}
    trap guard_end EXIT
    trap 'exit 143' TERM
    # Readers of our messages may be gone when the last one is written, and the terminal too.
    trap '' PIPE HUP INT
    exec 8>"$fresh/lock"
    flock -n 8
    mv -T "$fresh" "$dir"
    # Users of the host that are not root must be able to reach DIR/share.
    chmod 711 "$dir"
    mkdir -m 755 "$dir/share" "$dir/upper" "$dir/work" "$dir/root"
    make_cgroups

    # The host's first process writes `pid N` and then `ready` to this pipe. What unshare itself has to say is of use only
    # when it fails: some versions complain when their child is killed.
    mkfifo "$dir/ready"
    (
        exec 6>&2 8>&- 2>"$dir/unshare.log" </dev/null
        enter_cgroups cgroup.procs
        exec setpriv --pdeathsig KILL unshare --mount --net --pid --cgroup --uts --ipc --fork --kill-child \
            "$ME" inside "$dir" "$$" "$@"
    ) >"$dir/ready" &
    host_parent=$!
    exec 7<"$dir/ready"
    local word='' value=''
    read -r word value <&7 || true
    [ "$word" = pid ] || die "starting the namespaces: $(cat "$dir/unshare.log"); inside of a container this needs a privileged one"
    echo "$value" >"$dir/pid"
    # In cgroup v2 a group with processes in it cannot hand controllers down, so only DIR's leaf may have any.
    leave_cgroup2 "$host_parent"
    read -r word value <&7 || true
    [ "$word" = ready ] || die "setting up the private host failed (the reason is above)"
    exec 7<&-
    echo "ready $dir"
    exec >/dev/null

    # Named, because a background command's standard input is else /dev/null.
    cat <&0 >/dev/null &
    lifeline=$!
    # Whichever ends first: the owner, or the host itself.
    wait -n "$lifeline" "$host_parent" || true
}

# shellcheck disable=SC2317 # called by a trap
guard_end() {
    local status=$?
    trap '' TERM
    [ -z "${lifeline:-}" ] || kill "$lifeline" 2>/dev/null || true
    [ ! -d "${fresh:-}" ] || rm -rf "$fresh"
    [ ! -d "$dir" ] || clear_away "$dir" || status=1
    exit "$status"
}

# Ends what runs in the host DIR and removes every trace of it. Works on a host whose guard was killed as well.
clear_away() {
    local dir=$1 pid loops='' before='' i
    pid=$(cat "$dir/pid" 2>/dev/null || true)
    if [ -n "$pid" ] && is_host "$dir" "$pid"; then
        # The mounts name the loop devices best, and they are gone with the host.
        loops=$(list_loops "$dir" || true)
        before=$(all_loops | tr -s ' ')
        kill -KILL "$pid" 2>/dev/null || true
    fi
    if [ -n "${host_parent:-}" ]; then
        # Its child dies with it, also one that has not come far enough to be known as the host's first process.
        kill -KILL "$host_parent" 2>/dev/null || true
        wait "$host_parent" 2>/dev/null || true
    fi
    remove_cgroups "$dir" || say "removing the control groups of $dir failed: see $dir/cgroups"
    loops+=$'\n'$(loops_by_inode "$dir")$'\n'$(orphaned_loops "$before")
    detach_loops "$loops"
    for i in 1 2 3; do
        rm -rf --one-file-system "$dir" 2>/dev/null && return
        make_removable "$dir"
        sleep "0.$i"
    done
    rm -rf --one-file-system "$dir" || { say "removing $dir failed; remove it by hand"; return 1; }
}

# btrfs refuses to remove a read-only subvolume by rm, and ext4 a file that is set immutable.
make_removable() {
    local subvolume
    if [ "$(stat -f -c %T "$1")" = btrfs ]; then
        # 256 is the inode number of every subvolume's root. The deepest come first.
        find "$1" -depth -mindepth 1 -type d -inum 256 2>/dev/null | while read -r subvolume; do
            btrfs subvolume delete "$subvolume" >/dev/null 2>&1 || true
        done
    fi
    chattr -R -f -i -a "$1/real" "$1/upper" 2>/dev/null || true
}

# Process ids are used again by the kernel, so a pid counts only when it sits in a mount namespace of its own with our
# marker in its root.
is_host() { [ "$(cat "/proc/$2/root/run/$PREFIX" 2>/dev/null)" = "$1" ]; }

sweep() {
    local left
    for left in "$1/$PREFIX".??????; do
        [ -f "$left/lock" ] || continue
        (
            flock -n 9 || exit 0
            clear_away "$left"
        ) 9<"$left/lock" || true
    done
}

# ---- control groups --------------------------------------------------------------------------------------------------
# The host gets a group of its own in every hierarchy, as root of its cgroup namespace. Containers of two hosts can so
# have the same name, and the groups that killed containers leave can be found and removed.
# DIR/cgroups has one line each: type, mount point, mount options, the host's folder.

make_cgroups() {
    local root mount rest type options id controllers path parent group file
    while read -r _ _ _ root mount _ rest; do
        rest=${rest#*- }
        read -r type _ options <<<"$rest"
        case $type in
            cgroup2) options=rw parent=$mount ;;
            cgroup)
                options=$(tr , '\n' <<<"$options" | grep -Evx 'rw|ro|xattr|clone_children|release_agent=.*' | paste -sd,)
                parent=$mount
                while IFS=: read -r id controllers path; do
                    [[ $id != 0 && ",$options," == *",${controllers%%,*},"* ]] || continue
                    [ "$root" = / ] || path=${path#"$root"}
                    [ ! -d "$mount/$path" ] || parent=$mount/${path#/}
                done </proc/self/cgroup ;;
            *) continue ;;
        esac
        group=${parent%/}/${dir##*/}
        mkdir "$group" || die "making the control group $group: it must be writable; a container needs to be privileged for it"
        [ "$type" = cgroup ] || mkdir "$group/host"
        echo "$type $mount $options $group" >>"$dir/cgroups"
        # A new cpuset of version 1 is empty, and takes no process before it has processors and memory.
        for file in cpuset.cpus cpuset.mems; do
            [ "$type" != cgroup ] || [ ! -f "$group/$file" ] || cat "${group%/*}/$file" >"$group/$file"
        done
    done < <(awk '$5 ~ "^/sys/fs/cgroup"' /proc/self/mountinfo)
    [ -f "$dir/cgroups" ] || die "no control groups are mounted under /sys/fs/cgroup; Incus needs them"
}

# Moves this shell into the host's groups.
enter_cgroups() {
    local type group file
    while read -r type _ _ group; do
        file=$group/cgroup.procs
        [ "$type" = cgroup ] || file=$group/${1:-host/cgroup.procs}
        echo "$BASHPID" >"$file"
    done <"$dir/cgroups"
}

leave_cgroup2() {
    local type group
    while read -r type _ _ group; do
        [ "$type" != cgroup2 ] || echo "$1" >"$group/host/cgroup.procs"
    done <"$dir/cgroups"
}

remove_cgroups() {
    local type group pid i failed
    [ -f "$1/cgroups" ] || return 0
    for i in 1 2 3 4 5 6 7 8 9 10; do
        failed=''
        while read -r type _ _ group; do
            [ -d "$group" ] || continue
            find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null | while read -r pid; do
                kill -KILL "$pid" 2>/dev/null || true
            done
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || failed=yes
        done <"$1/cgroups"
        [ -n "$failed" ] || return 0
        sleep "0.$i"
    done
    return 1
}

# ---- loop devices ----------------------------------------------------------------------------------------------------
# A loop device is known by the device and inode number of its file: two hosts have the same path for theirs.

all_loops() { losetup --list --noheadings --output NAME,BACK-MAJ:MIN,BACK-INO,BACK-FILE; }

# Prints `/dev/loopN MAJ:MIN INODE PATH` for each loop device of the host DIR.
list_loops() {
    { loops_by_path "$1"; loops_by_inode "$1"; } | sort -u
}

# Those whose file can be seen inside of the host: it may lie on a file system that nobody else has mounted.
loops_by_path() {
    local device number inode path
    all_loops | while read -r device number inode path; do
        [ "$(nsenter -t "$(cat "$1/pid")" -m stat -c '%Hd:%Ld %i' "$path" 2>/dev/null)" != "$number $inode" ] ||
            echo "$device $number $inode $path"
    done
}

# Those whose file lies in the host's folder, also when the host has died already.
loops_by_inode() {
    local device number inode path own
    own=$(stat -c '%Hd:%Ld' "$1")
    all_loops | while read -r device number inode path; do
        [ "$number" = "$own" ] || continue
        [ -z "$(find "$1" -xdev -type f -inum "$inode" -print -quit)" ] || echo "$device $number $inode $path"
    done
}

# Those whose file is deleted. Incus leaves a loop device behind when it is killed while it makes a pool, and deletes only
# the file with the pool. The kernel tells the path of a deleted file as well: from the root, as long as the file's mount
# is in use, so the path has changed for the devices of the host that has just ended, and for no others.
orphaned_loops() {
    local before=$1 device number inode path
    all_loops | while read -r device number inode path; do
        grep -q "^$device $number $inode .*(deleted)$" <<<"$before" || continue
        grep -Fxq "$device $number $inode $path" <<<"$before" || echo "$device $number $inode $path"
    done
}

# Most detach themselves with their last mount. A loop device that someone else has taken in between is left alone.
detach_loops() {
    local device number inode i line busy
    for i in 1 2 3 4 5 6 7 8 9 10; do
        busy=''
        while read -r device number inode _; do
            [ -n "$device" ] || continue
            line=$(losetup --list --noheadings --output BACK-MAJ:MIN,BACK-INO "$device" 2>/dev/null) || continue
            # The columns are padded.
        [ "$(xargs <<<"$line")" = "$number $inode" ] || continue
            losetup --detach "$device" 2>/dev/null || true
            busy+=" $device"
        done <<<"$1"
        [ -n "$busy" ] || return 0
        sleep "0.$i"
    done
    say "detaching$busy failed; try: losetup --detach$busy"
}

# ---- inside: the host's first process --------------------------------------------------------------------------------

inside() {
    # Standard output is for our two words only, whatever the tools below have to say.
    exec 2>&6 6>&- 5>&1 1>&2
    dir=$1
    local guard=$2
    shift 2
    parse_options "$@"
    # /proc is still the machine's here, so this is our process id as the machine sees it.
    local pid
    read -r pid _ </proc/self/stat
    echo "pid $pid" >&5

    mount --make-rprivate /
    local root=$dir/root
    mount_overlays "$root"
    mount --rbind /dev "$root/dev"
    mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
    mount -t sysfs -o nosuid,nodev,noexec sysfs "$root/sys"
    mount_cgroups "$root"
    mount_run "$root"
    mount_real_dirs "$root"
    [ -z "$member" ] || link_members
    [ -z "$online" ] || let_apt_out "$root" "$guard"
    local spec
    for spec in ${put[@]+"${put[@]}"}; do
        install -D -m 755 "${spec%:/*}" "$root/${spec##*:/}"
    done

    mkdir "$root/run/old"
    cd "$root"
    pivot_root . run/old
    cd /
    umount -l /run/old
    rmdir /run/old
    if [ -n "$member" ]; then hostname "m${member%%:*}"; else hostname private-host; fi
    ip link set lo up
    [ -z "$without" ] || remove_packages "$without"

    echo ready >&5
    exec 5>&- >/dev/null 2>&1 </dev/null
    # The first process is heir to every orphan; a shell that waits buries them too.
    while :; do
        sleep 86400 &
        wait $! || true
    done
}

# The root, and every further file system of the machine (a /home of its own), each with an overlay of its own.
mount_overlays() {
    local root=$1 target type n=0
    while read -r target type; do
        [[ $OVERLAY_LOWER == *" $type "* || $target == / ]] || continue
        case $target in /dev/*|/proc/*|/sys/*|/run/*|/tmp/*) continue ;; esac
        # A host's folder is no part of another host, and a mount that is covered by a later one cannot be seen.
        [[ $target != */$PREFIX.* && -d $target && -d $root$target ]] || [ "$target" = / ] || continue
        n=$((n + 1))
        mkdir -p "$dir/upper/$n" "$dir/work/$n"
        chmod --reference="$target" "$dir/upper/$n"
        mount -t overlay -o "lowerdir=$target,upperdir=$dir/upper/$n,workdir=$dir/work/$n" overlay "$root${target%/}" ||
            die "mounting an overlay over $target ($type): the folder $dir must lie on a file system that can hold one (--base)"
    done < <(findmnt -rn -o TARGET,FSTYPE | LC_ALL=C sort -u)
}

mount_cgroups() {
    local root=$1 type mount options group
    while read -r type mount options group; do
        if [ "$mount" != /sys/fs/cgroup ] && ! mountpoint -q "$root/sys/fs/cgroup"; then
            mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
            find /sys/fs/cgroup -maxdepth 1 -type l -exec cp -a {} "$root/sys/fs/cgroup/" \;
        fi
        mkdir -p "$root$mount"
        [[ $options != name=* ]] || options=none,$options
        mount -t "$type" -o "$options" "$type" "$root$mount"
        [ "$type" = cgroup ] || echo 1 >"$root$mount/host/cgroup.procs"
    done <"$dir/cgroups"
}

mount_run() {
    local run=$1/run target
    target=$(readlink -m /etc/resolv.conf)
    mount -t tmpfs -o mode=755 tmpfs "$run"
    mkdir -m 1777 "$run/lock"
    echo "$dir" >"$run/$PREFIX"
    if [[ $target == /run/* && -f $target ]]; then
        mkdir -p "$1$(dirname "$target")"
        cp "$target" "$1$target"
    fi
}

mount_real_dirs() {
    local root=$1 entry path real
    for entry in "${REAL_DIRS[@]}"; do
        path=${entry%:*}
        real=$dir/real/${path//\//_}
        mkdir -p "$real" "$root$path"
        if [ "$path" = /var/lib/incus ] && [ -n "$incus_fs" ]; then
            mount_image "${incus_fs%%:*}" "${incus_fs#*:}" "$dir/real/incus.fs" "$root$path"
        else
            mount --bind "$real" "$root$path"
        fi
        chmod "${entry#*:}" "$root$path"
    done
    for entry in ${extra_btrfs[@]+"${extra_btrfs[@]}"}; do
        path=${entry%:*}
        mkdir -p "$root$path"
        mount_image btrfs "${entry##*:}" "$dir/real/extra${path//\//_}.fs" "$root$path"
    done
    mkdir -p "$root$dir/share"
    mount --bind "$dir/share" "$root$dir/share"
}

mount_image() {
    local type=$1 size=$2 file=$3 target=$4 quiet=-q
    need "mkfs.$type"
    truncate -s "$size" "$file"
    case $type in ext?) quiet='-q -E nodiscard,lazy_itable_init=1,lazy_journal_init=1' ;; esac
    # shellcheck disable=SC2086 # several words on purpose
    mkfs."$type" $quiet "$file" || die "making a $type file system of $size in $file failed (the reason is above)"
    mount -t "$type" -o loop "$file" "$target" || die "mounting the $type file system $file: no free loop device, or no $type in this kernel"
    rm -rf "$target/lost+found"
}

# Each member has a network of its own, as each makes bridges of the same names. The first one's holds the bridge that
# all are plugged into. The addresses are those for documentation: Incus takes none of them for its own bridges.
link_members() {
    local number=${member%%:*} first=''
    if [ "$number" = 1 ]; then
        ip link add members type bridge
    else
        first=$(cat "${member#*:}/pid" 2>/dev/null || true)
        is_host "${member#*:}" "${first:-none}" || die "--member $member: no private host runs in ${member#*:}"
        ip link add members type veth peer name "member$number" netns "/proc/$first/ns/net"
        nsenter --net="/proc/$first/ns/net" ip link set "member$number" master members up
    fi
    ip addr add "192.0.2.$number/24" dev members
    ip link set members up
}

# apt's methods are what talks to the network. They start as root and give that up on their own, so they can still step
# into the machine's network first; packages' own scripts cannot reach it.
let_apt_out() {
    local root=$1 net=/run/machine-net name methods
    methods=$root/usr/lib/apt/methods
    [ -x "$methods/http" ] || die "--online: this machine has no apt in /usr/lib/apt/methods"
    # A private host in a private host goes all the way out.
    [ -e "$net" ] || net=/proc/$2/ns/net
    touch "$root/run/machine-net"
    mount --bind "$net" "$root/run/machine-net"
    for name in http https; do
        [ ! -e "$methods/$name.offline" ] || continue
        mv "$methods/$name" "$methods/$name.offline"
        cat >"$methods/$name" <<METHOD
#!/bin/sh
exec nsenter --net=/run/machine-net /usr/lib/apt/methods/$name.offline "\$@"
METHOD
        chmod 755 "$methods/$name"
    done
}

remove_packages() {
    need dpkg dpkg-query
    local name
    local -a found=() names=()
    IFS=, read -ra names <<<"$1"
    for name in "${names[@]}"; do
        # shellcheck disable=SC2016 # the fields are dpkg's
        mapfile -O ${#found[@]} -t found < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$name" "$name-*" 2>/dev/null | sed -n 's/^installed //p')
    done
    [ ${#found[@]} -gt 0 ] || return 0
    DEBIAN_FRONTEND=noninteractive dpkg --purge --force-depends --no-triggers "${found[@]}" >"$dir/share/without.log" 2>&1 ||
        die "removing the packages ${found[*]} in the private host: $(tail -n 3 "$dir/share/without.log")"
}

# ---- commands --------------------------------------------------------------------------------------------------------

hold() {
    # The guard has our standard input, and so the owner's end of the pipe decides, also after our own death.
    setsid "$ME" guard "$@" <&0 &
    # A stop asked for by a signal reaches the guard; the wait is then taken up again until it has cleared away.
    trap 'kill -TERM $! 2>/dev/null' TERM INT HUP
    local status=0
    wait $! || status=$?
    while kill -0 $! 2>/dev/null; do wait $! || status=$?; done
    exit "$status"
}

run() {
    # Our parent's death is to be ours, and so the end of the host.
    if [ -z "${TAOS_HOST_BOUND:-}" ]; then
        TAOS_HOST_BOUND=1 exec setpriv --pdeathsig KILL "$ME" run "$@"
    fi
    unset TAOS_HOST_BOUND
    parse_options "$@"
    coproc GUARD { exec setsid "$ME" guard "$@"; }
    local guard_pid=$! word='' dir=''
    # shellcheck disable=SC2064 # the values of now
    trap "exec ${GUARD[1]}>&-; wait $guard_pid 2>/dev/null || true" EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    read -r word dir <&"${GUARD[0]}" || true
    [ "$word" = ready ] || exit 1
    [ ${#command[@]} -gt 0 ] || command=("${SHELL:-/bin/bash}")
    local status=0
    "$ME" exec "$dir" "${command[@]}" || status=$?
    exit "$status"
}

exec_in() {
    [ $# -ge 2 ] || die "exec needs the host's folder and a command"
    dir=$1
    shift
    local pid
    pid=$(cat "$dir/pid" 2>/dev/null || true)
    is_host "$dir" "${pid:-none}" || die "no private host runs in $dir"
    enter_cgroups
    local -a enter=(nsenter --target "$pid" --mount --net --pid --cgroup --uts --ipc)
    if [ -t 0 ] && [ -t 1 ] && [ -z "${TAOS_HOST_PLAIN:-}" ]; then
        # On a terminal, Ctrl-C would end nsenter and leave the command running. `script` gives the command a terminal and
        # a session of its own, and hands every key on.
        local line
        printf -v line '%q ' "$@"
        exec "${enter[@]}" script --quiet --return --command "exec $line" /dev/null
    fi
    exec "${enter[@]}" "$@"
}

tiny_image() {
    [ $# = 1 ] || [ "$*" = "$1 dhcp" ] || die "tiny-image needs the file to write, and takes 'dhcp'"
    local busybox work name
    busybox=$(command -v busybox) || die "making a tiny image needs busybox (Debian: apt-get install busybox-static)"
    work=$(mktemp -d)
    # shellcheck disable=SC2064 # the value of now
    trap "rm -rf '$work'" EXIT
    mkdir -p "$work"/rootfs/{bin,sbin,dev,proc,sys,run,tmp,root,var/tmp,etc}
    cp "$busybox" "$work/rootfs/bin/busybox"
    # A busybox that is not static needs a few libraries beside it.
    ldd "$busybox" 2>/dev/null | grep -o '/[^ ]*' | while read -r name; do
        cp -L --parents "$name" "$work/rootfs"
    done || true
    chroot "$work/rootfs" /bin/busybox true || die "$busybox does not run in a container (Debian: apt-get install busybox-static)"
    for name in sh sleep cat ls echo mkdir rm touch dd df du hostname ip kill ln mount mv ps rmdir stat sync uname; do
        ln -s busybox "$work/rootfs/bin/$name"
    done
    # Incus asks for a clean stop with SIGPWR, and for a restart with SIGINT. The first process gets only signals that it
    # has a handler for, and a shell runs its handler while it waits.
    cat >"$work/rootfs/sbin/init" <<'INIT'
#!/bin/sh
trap 'exit 0' PWR INT TERM
while :; do sleep 86400 & wait $!; done
INIT
    if [ "${2:-}" = dhcp ]; then
        sed -i '2i /bin/busybox udhcpc -f -q -t 20 -T 1 -i eth0 -s /sbin/lease &' "$work/rootfs/sbin/init"
        cat >"$work/rootfs/sbin/lease" <<'LEASE'
#!/bin/sh
case $1 in
    deconfig) ip link set eth0 up ;;
    bound) ip addr add "$ip/${mask:-24}" dev eth0 ;;
esac
LEASE
        chmod 755 "$work/rootfs/sbin/lease"
    fi
    chmod 755 "$work/rootfs/sbin/init"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$work/rootfs/etc/passwd"
    echo 'root:x:0:' >"$work/rootfs/etc/group"
    echo tiny >"$work/rootfs/etc/hostname"
    cat >"$work/metadata.yaml" <<YAML
architecture: $(uname -m)
creation_date: 1700000000
properties:
  description: tiny test image
  os: busybox
YAML
    tar -C "$work" --numeric-owner --owner=0 --group=0 --sort=name --mtime=@1700000000 -cf - metadata.yaml rootfs | gzip -1n >"$1"
}

main() {
    local verb=${1:---help}
    [ $# = 0 ] || shift
    case $verb in
        -h|--help) usage; return ;;
        tiny-image) need_root; tiny_image "$@"; return ;;
    esac
    need_root
    need unshare nsenter setpriv setsid flock losetup findmnt mountpoint pivot_root ip awk
    case $verb in
        hold) hold "$@" ;;
        run) run "$@" ;;
        guard) guard "$@" ;; # by `hold` and `run` only
        inside) inside "$@" ;; # by `guard` only
        exec) exec_in "$@" ;;
        loops) list_loops "${1:?the folder of the host is missing}" ;;
        sweep) parse_options "$@"; find_base; sweep "$base" ;;
        *) die "unknown command '$verb' (see $ME --help)" ;;
    esac
}

main "$@"
exit

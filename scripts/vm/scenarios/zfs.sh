# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: a kernel with ZFS and without btrfs: a ZFS pool, a launch that is a clone, a migration from dir, a reboot, the way back
# disk: trixie-zfs
# broken: dir | launches are clones on ZFS | TAOS_COW_POOL=dir is in force

play() {
    see "ZFS is there, and btrfs is not" "modprobe zfs && ! modprobe btrfs 2>/dev/null && ! command -v mkfs.btrfs"
    install_package
    put_image
    plain_incus
    import_small_image
    see "mary runs on dir" "incus launch small mary </dev/null && incus exec mary -- sh -c 'echo hers >/root/hers; sync' </dev/null"

    if broken dir; then
        vm "TAOS_COW_POOL=dir taos-setup --yes --pool taos --beside --pin mary --image off" || say "  (exit code $?)"
    else
        typed user "sudo taos-setup --pool taos --beside --pin mary --size 4GiB --image off" <<END || red "the set-up ends with 0"
? Go ahead?
> yes
? Which containers are to be moved?
! enter
END
    fi
    see "launches are clones on ZFS" "taos-setup status | grep -q 'ready: launches clone on pool taos (zfs)'"
    see "an agent launches" "incus launch small one </dev/null"
    see "it is a clone" "zfs get -H -o value origin \$(zfs list -H -o name | grep 'containers/one\$') | grep -q @"

    stage "from dir to ZFS"
    see "mary has a snapshot" "incus snapshot create mary before && incus exec mary -- sh -c 'ln /root/hers /root/twin; sync' </dev/null"
    typed user "sudo taos-setup migrate mary" <<END || red "the migration ends with 0"
? Go ahead?
> yes
END
    see "mary runs on ZFS" "incus list -f csv -c nsb | grep -qx mary,RUNNING,taos && incus exec mary -- grep -qx hers /root/twin </dev/null"
    see "she was compared with her original" "grep -E 'compared[^:]*: mary: [0-9]+ paths.*; 0 differences' /var/log/taos-setup.log"
    see "her snapshot has come along" "incus snapshot list mary -f csv -c n | grep -qx before"
    see_not "nothing stays mounted that Incus does not know" "grep -E 'taos-(copy|kept)' /proc/mounts"

    reboot_machine
    soon "both run again" 240 "[ \$(incus list -f csv -c ns | grep -cE '^(one|mary),RUNNING') -eq 2 ]"
    see "status is content" "taos-setup status | grep -q 'ready: launches clone on pool taos (zfs)'"

    stage "and back"
    see "mary writes more" "incus exec mary -- sh -c 'echo more >/root/more; sync' </dev/null"
    typed user "sudo taos-setup migrate --rollback mary" <<END || red "the way back ends with 0"
? Go ahead?
> yes
END
    see "mary runs on dir, with what she wrote on ZFS" "incus list -f csv -c nsb | grep -qx mary,RUNNING,default && incus exec mary -- grep -qx more /root/more </dev/null"
    typed user "sudo taos-setup migrate --finish mary --yes" </dev/null || red "finishing ends with 0"
    equal "one dataset of a container is left" 1 "$(vm_quiet "zfs list -H -o name | grep -c '/containers/'")"
}

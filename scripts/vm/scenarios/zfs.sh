# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: a kernel with ZFS and without btrfs: a ZFS pool, a launch that is a clone, a migration from dir, a reboot
# disk: trixie-zfs
# broken: dir | launches are clones on ZFS | TAOS_COW_POOL=dir is in force

play() {
    local setting=''
    see "ZFS is there, and btrfs is not" "modprobe zfs && ! modprobe btrfs 2>/dev/null && ! command -v mkfs.btrfs"
    install_package
    put_image
    plain_incus
    import_small_image
    see "mary runs on dir" "incus launch small mary </dev/null && incus exec mary -- sh -c 'echo hers >/root/hers; sync' </dev/null"

    if broken dir; then setting='TAOS_COW_POOL=dir'; fi
    typed user "sudo $setting taos-setup --pool taos --beside --pin mary --size 4GiB --image off" <<END || red "the set-up ends with 0"
? Go ahead?
> yes
END
    see "launches are clones on ZFS" "taos-setup status | grep -q 'ready: launches clone on pool taos (zfs)'"
    see "an agent launches" "incus launch small one </dev/null"
    see "it is a clone" "zfs get -H -o value origin \$(zfs list -H -o name | grep 'containers/one\$') | grep -q @"

    stage "from dir to ZFS"
    typed user "sudo taos-setup migrate mary" <<END || red "the migration ends with 0"
? Go ahead?
> yes
END
    see "mary runs on ZFS" "incus list -f csv -c nsb | grep -qx mary,RUNNING,taos && incus exec mary -- grep -qx hers /root/hers </dev/null"

    reboot_machine
    soon "both run again" 240 "[ \$(incus list -f csv -c ns | grep -cE '^(one|mary),RUNNING') -eq 2 ]"
    see "status is content" "taos-setup status | grep -q 'ready: launches clone on pool taos (zfs)'"
}

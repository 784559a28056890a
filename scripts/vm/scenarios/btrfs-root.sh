# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: a root on btrfs: the pool is a subvolume of it, not a loop file; a launch is a clone; a reboot; undo leaves nothing
# disk: trixie-btrfs
# broken: loop | the pool is a subvolume | --source loop is asked for

play() {
    local source=''
    install_package
    put_image
    if broken loop; then source='--source loop --size 4GiB'; fi
    typed user "sudo taos-setup --image off $source" <<END || red "the set-up ends with 0"
? Go ahead?
> yes
END
    see "the pool is a subvolume" "btrfs subvolume show /var/lib/incus/storage-pools/default >/dev/null && taos-setup status | grep -q 'subvolume /'"
    see_not "there is no loop file" "losetup --list --noheadings | grep . || ls /var/lib/incus/disks/* 2>/dev/null | grep ."
    import_small_image
    see "two containers start" "incus launch small one </dev/null && incus launch small two </dev/null"
    see "a launch is a clone" "btrfs subvolume show /var/lib/incus/storage-pools/default/containers/two | grep -qE 'Parent UUID:[[:space:]]+[0-9a-f]'"

    reboot_machine
    soon "both run again" 240 "[ \$(incus list -f csv -c ns | grep -cE '^(one|two),RUNNING') -eq 2 ]"
    see "status is content" "taos-setup status | grep -q 'ready: launches clone on pool default (btrfs)'"

    stage "undo"
    see_not "undo refuses while they use it" "taos-setup --yes undo"
    see "and both run" "[ \$(incus list -f csv -c ns | grep -cE '^(one|two),RUNNING') -eq 2 ]"
    see "undo takes it all back" "incus delete -f one two && taos-setup --yes undo"
    see_not "no subvolume is left" "btrfs subvolume list / | grep storage-pools"
}

# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: the host's disk fills up under the loop file: status has said so; what is lost without --preallocate; with it nothing that was acknowledged
# disk: trixie-incus
# broken: not-held | nothing acknowledged is lost with --preallocate | the blocks of the file are given back to the host
# broken: roomy | status warns of it | the disk is not filled

play() {
    install_package
    put_image

    stage "a pool whose file is not held"
    see "the set-up" "taos-setup --yes --size 3GiB --image off"
    import_small_image
    see "a container runs" "incus launch small one </dev/null"
    fill_disk
    see "status warns of it" "taos-setup status | grep -q 'MORE THAN THE HOST HAS'"
    write_until_it_fails one
    after_a_reboot one
    note "without --preallocate: $written acknowledged, $lost of them lost"

    stage "a pool whose file is held"
    vm "incus delete -f one"
    see "another pool, with --preallocate" "taos-setup --yes --pool held --size 2GiB --preallocate --image off"
    see "another container runs" "incus launch small two </dev/null"
    if broken not-held; then vm "sync; fallocate --dig-holes /var/lib/incus/disks/held.img; du -h /var/lib/incus/disks/held.img"; fi
    fill_disk
    write_until_it_fails two
    after_a_reboot two
    note "with it: $written acknowledged, $lost lost"
    at_most "nothing acknowledged is lost with --preallocate" 0 "$lost"
    if [ "$written" -ge 60 ]; then green "it could go on writing"; else red "it could go on writing" "$written files"; fi
}

# All but 120 MB, what is reserved for root included: the loop file is root's.
fill_disk() {
    ! broken roomy || return 0
    vm 'sync; free=$(($(stat -f -c "%f*%S" /))); fallocate -l $((free - 120000000)) /filler; df -h /' >/dev/null
}

# Files of 4 MB, each synced; what was told to be on the disk is written down with its digest, outside, until the fifth refusal or 80 files.
write_until_it_fails() { # write_until_it_fails CONTAINER
    put "$VM/inside/write.sh" /srv/write.sh
    vm "incus file push -q /srv/write.sh $1/root/write.sh; timeout 400 incus exec $1 -- sh /root/write.sh </dev/null >/run/acknowledged 2>/run/refused; wc -l /run/acknowledged; tail -n 2 /run/refused; dmesg | grep -iE 'btrfs.*(error|readonly)' | tail -n 3"
    vm_quiet 'cat /run/acknowledged' >"$run/acknowledged"
    written=$(wc -l <"$run/acknowledged")
}

after_a_reboot() { # after_a_reboot CONTAINER: sets `lost`
    vm 'rm -f /filler; sync -f /' >/dev/null
    cut_power
    start_machine
    incus_awake
    soon "$1 runs again" 240 "incus list -f csv -c ns | grep -qx $1,RUNNING"
    vm_quiet "incus exec $1 -- sh -c 'cd /root && md5sum file-*' </dev/null" >"$run/there" || true
    lost=$(grep -vcFf "$run/there" "$run/acknowledged" || true)
}

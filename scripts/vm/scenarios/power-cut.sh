# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: the machine is killed during pool creation, during a copy, between park and rename, during an import; each time one run puts it right
# disk: trixie-incus
# broken: no-journal | mary is back | the journals are deleted before the run after the third cut
# broken: no-lost-data | what mary had is whole | another hand empties her file after the second cut

play() {
    install_package
    put_image
    serve 0

    stage "during pool creation"
    hold 1 'storage create default'
    run_in_background "taos-setup --yes --size 4GiB --image off"
    cut_power_at_the_bell 120
    start_machine
    see "one run puts it right" "sudo taos-setup --yes --size 4GiB --image off"
    see "launches are clones" "taos-setup status | grep -q 'ready: launches clone on pool default (btrfs)'"
    equal "there is one pool in one file" "default 1 1" "$(vm_quiet 'echo $(incus storage list -f csv -c n) $(ls /var/lib/incus/disks | wc -l) $(losetup --list --noheadings | wc -l)')"
    import_small_image
    see "a launch works" "incus launch small one </dev/null && incus delete -f one"

    stage "during a copy"
    see "mary runs on dir" "incus storage create old dir && incus launch small mary -s old </dev/null && incus exec mary -- sh -c 'head -c 40000000 /dev/urandom >/root/data; md5sum /root/data >/root/sum; sync' </dev/null"
    hold 3 '"refresh":true'
    run_in_background "taos-setup --yes migrate mary --to default"
    cut_power_at_the_bell 240
    start_machine
    if broken no-lost-data; then vm 'incus exec mary -- truncate -s 0 /root/data </dev/null'; fi
    vm 'incus list -f csv -c nsb' >/dev/null
    see "one run puts it right again" "sudo taos-setup --yes --image off"
    mary_is_whole
    see_not "no copy is left" "incus list -f csv -c n | grep taos-"

    stage "between park and rename"
    hold before 'rename taos-copy-mary'
    run_in_background "taos-setup --yes migrate mary --to default"
    cut_power_at_the_bell 400
    start_machine
    equal "mary is nowhere" "taos-copy-mary taos-kept-mary" "$(vm_quiet 'echo $(incus list -f csv -c n | sort)')"
    if broken no-journal; then vm 'rm /var/lib/taos-setup/*.jsonl'; fi
    vm 'sudo taos-setup --yes --image off' >/dev/null || say "  (exit code $?)"
    mary_is_whole
    note "after the third cut mary is on pool $(vm_quiet 'incus list -f csv -c nb | sed -n s/^mary,//p')"

    stage "during an import"
    hold 1 'image import'
    run_in_background "taos-setup --yes image fetch --image-url $image"
    cut_power_at_the_bell 300
    start_machine
    see_not "there is no alias" "incus image list --format=csv -c f taos-openclaw-base | grep ."
    see "one run puts it right once more" "sudo taos-setup --yes image fetch --image-url $image"
    see "the image is in place, and what it was" "taos-setup image ensure && taos-setup image verify"
    equal "nothing half-made is left" 2 "$(vm_quiet 'incus image list -f csv | wc -l')"
    see_not "no scratch instance is left" "incus list -f csv -c n | grep taos-warm"
}

# A connection that ends does not end it; what it says goes to the disk with the rest, or not.
run_in_background() { vm "setsid -f sudo $1 >/srv/said 2>&1 </dev/null"; }

mary_is_whole() {
    soon "mary is back" 120 "incus list -f csv -c ns | grep -qx mary,RUNNING"
    see "what mary had is whole" "incus exec mary -- md5sum -c /root/sum </dev/null"
}

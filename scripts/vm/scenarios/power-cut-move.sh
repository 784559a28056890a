# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: the machine is killed while a container is copied, between park and rename, and just after; each time one run puts it right, and its data is whole
# disk: trixie-incus
# broken: no-journal | mary is back | the journals are deleted before the run after the second cut
# broken: no-lost-data | what mary had is whole | another hand empties her file after the first cut

play() {
    install_package
    put_image
    see "a pool" "sudo taos-setup --yes --size 4GiB --image off"
    import_small_image

    stage "during a copy"
    see "a dir pool" "incus storage create old dir"
    runs_on_dir mary
    hold 3 '"refresh":true'
    run_in_background "taos-setup --yes migrate mary --to default"
    cut_power_at_the_bell 240
    start_machine
    incus_awake
    if broken no-lost-data; then vm 'incus exec mary -- truncate -s 0 /root/data </dev/null'; fi
    vm 'incus list -f csv -c nsb' >/dev/null
    see "one run puts it right again" "sudo taos-setup --yes --image off"
    is_whole mary
    see_not "no copy is left" "incus list -f csv -c n | grep taos-"

    stage "between park and rename"
    hold before 'rename taos-copy-mary'
    run_in_background "taos-setup --yes migrate mary --to default"
    cut_power_at_the_bell 400
    start_machine
    incus_awake
    equal "mary is nowhere" "taos-copy-mary taos-kept-mary" "$(vm_quiet 'echo $(incus list -f csv -c n | sort)')"
    if broken no-journal; then vm 'rm /var/lib/taos-setup/*.jsonl'; fi
    vm 'sudo taos-setup --yes --image off' >/dev/null || say "  (exit code $?)"
    is_whole mary
    note "after the second cut mary is on pool $(vm_quiet 'incus list -f csv -c nb | sed -n s/^mary,//p')"

    stage "as soon as the copy has the name"
    runs_on_dir naira
    # What Incus writes down of it is on the disk by then, and the folder on the pool still has the copy's.
    hold after 'rename taos-copy-naira'
    run_in_background "taos-setup --yes migrate naira --to default"
    cut_power_at_the_bell 400
    start_machine
    incus_awake
    vm 'sudo taos-setup --yes --image off' >/dev/null || say "  (exit code $?)"
    is_whole naira
    note "after the third naira is on pool $(vm_quiet 'incus list -f csv -c nb | sed -n s/^naira,//p')"
}

is_whole() { # is_whole CONTAINER
    soon "$1 is back" 120 "incus list -f csv -c ns | grep -qx $1,RUNNING"
    see "what $1 had is whole" "incus exec $1 -- md5sum -c /root/sum </dev/null"
}

runs_on_dir() { # runs_on_dir CONTAINER: with a file, and its digest
    see "$1 runs on dir" "incus launch small $1 -s old </dev/null && incus exec $1 -- sh -c 'head -c 40000000 /dev/urandom >/root/data; md5sum /root/data >/root/sum; sync' </dev/null"
}

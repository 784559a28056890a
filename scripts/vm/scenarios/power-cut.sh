# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: the machine is killed during pool creation, and during an import of the base image; each time one run puts it right
# disk: trixie-incus
# broken: no-run | launches are clones | after the first cut nobody runs it again
# broken: no-file | the image is in place, and what it was | another hand writes to its file in the store after the second cut

play() {
    install_package
    put_image
    serve 0

    stage "during pool creation"
    hold 1 'storage create default'
    run_in_background "taos-setup --yes --size 4GiB --image off"
    cut_power_at_the_bell 120
    start_machine
    incus_awake
    broken no-run || see "one run puts it right" "sudo taos-setup --yes --size 4GiB --image off"
    see "launches are clones" "taos-setup status | grep -q 'ready: launches clone on pool default (btrfs)'"
    equal "there is one pool in one file" "default 1 1" "$(vm_quiet 'echo $(incus storage list -f csv -c n) $(ls /var/lib/incus/disks | wc -l) $(losetup --list --noheadings | wc -l)')"

    stage "during an import"
    hold 1 'image import'
    run_in_background "taos-setup --yes image fetch --image-url $image"
    cut_power_at_the_bell 300
    start_machine
    incus_awake
    see_not "there is no alias" "incus image list --format=csv -c f taos-openclaw-base | grep ."
    see "one run puts it right once more" "sudo taos-setup --yes image fetch --image-url $image"
    see "a launch works" "incus launch taos-openclaw-base taos-agent-x </dev/null"
    if broken no-file; then vm 'for it in /var/lib/incus/images/*; do echo x >>$it; done'; fi
    see "the image is in place, and what it was" "taos-setup image ensure && taos-setup image verify"
    equal "nothing half-made is left" 1 "$(vm_quiet 'incus image list -f csv | wc -l')"
    see_not "no scratch instance is left" "incus list -f csv -c n | grep taos-warm"
    note "cut off in storage create and in image import; two runs put it right"
}


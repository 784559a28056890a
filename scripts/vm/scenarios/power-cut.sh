# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: the machine is killed during pool creation, while Incus makes an image of the base image, and while it unpacks it: each time one run puts it right; and just after that
# disk: trixie-incus
# broken: no-run | launches are clones | after the first cut nobody runs it again
# broken: half-unpacked | what is unpacked is whole | after the third cut nobody knows that it was half unpacked
# broken: no-file | the image is in place, and what it was | another hand writes to its file in the store after the third cut

play() {
    local alias='incus image list --format=csv -c f taos-openclaw-base | grep .'
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
    # It was handed to Incus while it came; this waits for what Incus makes of it.
    hold before '/1.0/operations/.*/wait'
    run_in_background "taos-setup --yes image fetch --image-url $image"
    cut_power_at_the_bell 300
    start_machine
    incus_awake
    see_not "there is no alias" "$alias"

    stage "while it is unpacked"
    hold 3 '^--force-local init .* taos-warm'
    run_in_background "taos-setup --yes image fetch --image-url $image"
    cut_power_at_the_bell 300
    start_machine
    incus_awake
    see_not "there is no alias yet" "$alias"
    if broken half-unpacked; then vm 'rm -f /var/lib/taos-setup/image/unpacking*'; fi
    see "one run puts it right once more" "sudo taos-setup --yes image fetch --image-url $image"

    stage "as soon as it has said that all is in place"
    cut_power
    start_machine
    incus_awake
    see "the alias is still there" "$alias"
    equal "what is unpacked is whole" "$(vm_quiet 'zstd -dc /srv/image/*.tar.gz | tar -t | grep -c ^rootfs/.')" \
        "$(vm_quiet 'find /var/lib/incus/storage-pools/default/images/*/rootfs -mindepth 1 | wc -l')"
    see "a launch works" "incus launch taos-openclaw-base taos-agent-x </dev/null"
    if broken no-file; then vm 'for it in /var/lib/incus/images/*; do echo x >>$it; done'; fi
    see "the image is in place, and what it was" "taos-setup image ensure && taos-setup image verify"
    equal "nothing half-made is left" 1 "$(vm_quiet 'incus image list -f csv | wc -l')"
    see_not "no scratch instance is left" "incus list -f csv -c n | grep taos-warm"
    note "cut off in storage create, while Incus made an image, and while it unpacked it; each time one run put it right; then at once after it"
}

# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: nothing is fetched until the first deploy; that goes on undisturbed while the image comes; not for others, not twice, not after a reboot
# disk: trixie-incus
# broken: no-path | the first deploy starts the fetch | the path unit is stopped
# broken: eager | a scratch instance starts nothing | the mode written down is background

play() {
    stage "a host with a container, and the set-up with the default mode"
    install_package
    put_image
    serve 2000000
    typed user "sudo taos-setup --size 4GiB --image-url $slow_image" <<END || red "the set-up ends with 0"
? The base image comes with the first deploy (lazy)
? Go ahead?
> yes
END
    import_small_image
    see "the path unit waits" "systemctl is-active taos-setup-image.path && systemctl is-enabled taos-setup-image.path"
    if broken eager; then vm "sed -i 's/\"lazy\"/\"background\"/' /var/lib/taos-setup/image/mode.json"; fi

    stage "what is no first deploy"
    vm 'incus init small taos-probe-7 </dev/null && sleep 3 && incus delete taos-probe-7 && sleep 8; journalctl -u taos-setup-image -o cat --no-pager | tail -n 5'
    equal "a scratch instance starts nothing" 0 "$(gets)"
    reboot_machine
    sleep 5
    see "after a reboot it still waits" "systemctl is-active taos-setup-image.path"
    equal "a reboot starts nothing" 0 "$(gets)"

    stage "the first deploy"
    if broken no-path; then vm 'systemctl stop taos-setup-image.path'; fi
    see "it goes on by the build path" "incus launch small taos-agent-x </dev/null"
    soon "the first deploy starts the fetch" 60 "$going_on || $in_place"
    see "it runs meanwhile" "incus list -f csv -c ns taos-agent-x | grep -q RUNNING"
    soon "the image is in place" 600 "$in_place"
    note "in place $waited s after the first deploy"
    see "the agent was not disturbed" "incus list -f csv -c ns taos-agent-x | grep -q RUNNING"
    soon "the service has ended" 60 "! systemctl is-active --quiet taos-setup-image.service"
    see "the trigger is gone" "! systemctl is-enabled taos-setup-image.path && ! systemctl is-active taos-setup-image.path"
    equal "the file was fetched once" 1 "$(gets)"

    stage "not twice"
    see "the second agent is a clone of the image" "incus launch taos-openclaw-base taos-agent-y </dev/null && btrfs subvolume show /var/lib/incus/storage-pools/default/containers/taos-agent-y | grep -qE 'Parent UUID:[[:space:]]+[0-9a-f]'"
    sleep 5
    equal "it fetches nothing" 1 "$(gets)"
    typed user "sudo taos-setup" <<<'' || red "a second run ends with 0"
    shown "a second run has nothing to do" "Nothing to do"
    see_not "no unit has failed" "systemctl --failed --no-legend | grep ."
}

gets() { requests slow | grep -c '^GET .*tar.gz' || true; }

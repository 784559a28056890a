# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: the base image comes by a service: resumed after a reboot in the middle, alias last, trigger gone, the first launch is a clone
# disk: trixie-incus
# broken: no-resume | it goes on after the reboot | the service is disabled before the reboot
# broken: early-alias | the alias comes last | another hand gives an image the alias while the service fetches

play() {
    stage "set-up with --image background, typed by a sudo user"
    install_package
    put_image
    serve 500000
    typed user "sudo taos-setup --size 4GiB --image background --image-url $slow_image" <<END || red "the set-up ends with 0"
? Go ahead?
> yes
END
    shown "it says that it comes in the background" "background"
    soon "the service fetches" 90 "taos-setup image status --json | grep -q '\"downloading\"' && [ \$(stat -c %s /var/lib/taos-setup/image/base-image.partial) -gt 3000000 ]"
    see "the service is modest" "systemctl show taos-setup-image -p Nice -p CPUWeight | paste -sd' ' | grep -q 'Nice=15' "
    see "a deployer is told that it is on its way" "taos-setup image ensure; [ \$? -eq 10 ]"
    see_not "no alias yet" "$(deployers_look)"
    if broken early-alias; then
        vm 'printf "architecture: x86_64\ncreation_date: 1\nproperties: {}\n" >/tmp/metadata.yaml && mkdir -p /tmp/rootfs && tar -C /tmp -cf /tmp/early.tar metadata.yaml rootfs && incus image import /tmp/early.tar --alias taos-openclaw-base'
    fi
    if broken no-resume; then vm 'systemctl disable taos-setup-image.service'; fi

    stage "a reboot in the middle"
    reboot_machine
    see_not "the image is not through yet" "$in_place"
    watch_alias
    soon "it goes on after the reboot" 120 "$going_on || $in_place"
    soon "the image is in place" 600 "$in_place"
    note "in place $waited s after the reboot"
    alias_was_last
    resumed_where_it_was

    stage "afterwards"
    soon "the service has ended" 60 "! systemctl is-active --quiet taos-setup-image.service"
    see "the trigger is gone" "! systemctl is-enabled taos-setup-image.path && ! systemctl is-enabled taos-setup-image.service"
    first_launch
    see_not "no unit has failed" "systemctl --failed --no-legend | grep ."
}

# The application's own question: any line means that there is an image.
deployers_look() { echo "incus image list --format=csv -c f taos-openclaw-base | grep ."; }

# A line for each look: whether the alias was there, and then, whether an unpacked image was on the pool.
watch_alias() {
    vm 'cat >/srv/watch <<"END"
while true; do
    alias=no unpacked=no
    [ -z "$(incus image list --format=csv -c f taos-openclaw-base)" ] || alias=yes
    [ -z "$(incus storage volume list default type=image --format=csv -c n)" ] || unpacked=yes
    echo "alias:$alias unpacked:$unpacked"
    sleep 3
done
END
systemd-run --quiet --unit watch --property=StandardOutput=file:/srv/watched bash /srv/watch'
}

alias_was_last() {
    see "the alias comes last" "grep -q 'alias:no unpacked:no' /srv/watched && ! grep -q 'alias:yes unpacked:no' /srv/watched"
    soon "the alias comes" 60 "grep -q 'alias:yes unpacked:yes' /srv/watched"
    vm "uniq -c /srv/watched; systemctl stop watch" >/dev/null
}

# Over both lives, no byte was sent twice but what was on its way when the machine went down.
resumed_where_it_was() {
    local resumed
    resumed=$(requests slow | awk '$1 == "GET" && /tar.gz/ { last = $3 } END { print last }')
    if [ "${resumed:-0}" -gt 3000000 ]; then green "resumed at byte $resumed"; else red "resumed where it was" "at byte ${resumed:-0}"; fi
    note "resumed at byte $resumed"
}

first_launch() {
    local before after seconds
    before=$(requests slow | wc -l)
    seconds=$(vm 'begun=$(date +%s%N); incus launch taos-openclaw-base taos-agent-x >/dev/null </dev/null || exit 1; echo $((($(date +%s%N) - begun) / 1000000))' | tail -n 1) || red "the first launch works"
    green "the first launch took $seconds ms"
    note "first launch: $seconds ms"
    see "it runs" "incus list --format csv -c ns taos-agent-x | grep -q RUNNING"
    see "it is a clone on btrfs" "btrfs subvolume show /var/lib/incus/storage-pools/default/containers/taos-agent-x | grep -qE 'Parent UUID:[[:space:]]+[0-9a-f]'"
    sleep 5
    after=$(requests slow | wc -l)
    equal "the launch fetches nothing" "$before" "$after"
    see_not "the launch starts no service" "systemctl is-active --quiet taos-setup-image.service"
}

# shellcheck shell=bash disable=SC2016,SC2154 # called by play.sh; the machine expands
# What several scenarios tell of a machine without Incus: fresh, arm64, bookworm. Sourced by play.sh.

# Needs the machine's package sources. What the program finds to install is its own business.
install_story() {
    see_not "there is no Incus yet" "command -v incus"
    put_release
    put_image
    serve 0

    stage "the install command, as a sudo user"
    install_typed
    shown "Debian's packages are in the plan" " with apt"
    see "launches are clones" "taos-setup status | grep -q 'ready: launches clone on pool default (btrfs)'"
    see "pool, bridge and profile are there" "incus storage list -f csv -c nD | grep -qx default,btrfs && incus network show incusbr0 >/dev/null && incus profile device get default eth0 network | grep -qx incusbr0"
}

container_story() {
    stage "a container"
    import_small_image
    if broken no-path; then vm 'systemctl stop taos-setup-image.path'; fi
    see "a systemd container starts" "incus launch small one </dev/null"
    soon "it has an address" 240 "$(has_address one)"
    note "address after $waited s"
    # It was the first deploy. That the image is there is waited for: else the state below would change meanwhile.
    soon "the first deploy starts the fetch" 60 "$going_on || $in_place"
    soon "the image is in place" 600 "$in_place"
    soon "the service has ended" 60 "! systemctl is-active --quiet taos-setup-image.service"

    stage "status, and a second run"
    see "status is content" "taos-setup status | tee /dev/stderr | grep -q 'ready: launches clone'"
    vm_quiet "$(state_of_incus)" >"$run/before"
    typed user "sudo taos-setup" <<<'' || red "a second run ends with 0"
    shown "a second run has nothing to do" "Nothing to do"
    vm_quiet "$(state_of_incus)" >"$run/after"
    diff "$run/before" "$run/after" >&3 || red "a second run changes nothing"
    green "a second run changes nothing"
}

reboot_story() {
    stage "a reboot"
    if broken no-start; then vm 'systemctl disable incus.socket incus.service incus-startup.service'; fi
    reboot_machine
    soon "the container runs again" 120 "pgrep -f '[l]xc monitor.* one' && incus list -f csv -c ns | grep -qx one,RUNNING"
    soon "it has an address again" 240 "$(has_address one)"
    see "status is clean" "taos-setup status | grep -q 'ready: launches clone'"
    see "the image is there" "$in_place"
    see_not "nothing waits for it any more" "systemctl is-active --quiet taos-setup-image.path"
    see_not "no unit has failed" "systemctl --failed --no-legend | grep ."
}

install_typed() {
    local settings="TAOS_SETUP_RELEASE=$FAST/release" size='--size 4GiB'
    # A folder has no size.
    if broken copies; then settings+=" TAOS_COW_POOL=dir" size=''; fi
    typed user "curl -fsSL $FAST/release/install.sh | sudo $settings bash -s -- $size --image-url $image" <<END || red "the installation ends with 0"
# 900
? Go ahead?
> explain
? Go ahead?
> yes
END
    note "installed and set up after $SECONDS s"
}

has_address() { echo "incus list -f csv -c 4 $1 | grep -qE '^\"?[0-9]+\\.'"; }

state_of_incus() { echo "for it in storage-pools profiles networks instances images; do incus query /1.0/\$it?recursion=1 | grep -vE 'last_used_at|used_at'; done"; }

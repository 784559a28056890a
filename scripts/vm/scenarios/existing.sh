# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: three containers on a dir pool, one mid-write: --yes leaves them exactly alone; two are migrated, a reboot, one goes back, the other is finished
# disk: trixie-incus
# broken: touched | --yes leaves them exactly alone | another hand sets a key of a container while it runs
# broken: restarted | --yes leaves them exactly alone | another hand restarts a container while it runs
# broken: as-it-was | what it wrote since has gone back with it | it goes back with --as-it-was

play() {
    stage "a host as people have it"
    put_image
    plain_incus
    import_small_image
    for name in mary naira stanley; do
        see "$name runs" "incus launch small $name </dev/null"
    done
    for name in mary naira stanley; do
        soon "$name has started" 240 "incus exec $name -- systemctl is-system-running </dev/null | grep -qE '^(running|degraded)'"
    done
    vm "incus exec mary -- systemd-run --quiet --unit writer sh -c 'while :; do date +%s >>/root/written; sync /root/written; sleep 0.5; done' </dev/null"
    install_package

    stage "--yes"
    soon "mary is mid-write" 30 "[ \$(incus exec mary -- wc -l /root/written </dev/null | cut -d' ' -f1) -gt 3 ]"
    vm_quiet "$(put_down)" >"$run/before"
    if broken touched; then vm 'incus config set stanley user.note=x'; fi
    if broken restarted; then vm 'incus restart -f stanley'; fi
    typed user "sudo taos-setup --yes --image off" </dev/null || red "it ends with 0"
    shown "it says that it leaves the pool as it is" "left as it is"
    vm_quiet "$(put_down)" >"$run/after"
    diff "$run/before" "$run/after" >&3 || red "--yes leaves them exactly alone"
    green "--yes leaves them exactly alone"
    note "$(wc -l <"$run/before") lines of configuration, processes and inodes are the same"
    see "mary is still at it" "n=\$(incus exec mary -- wc -l /root/written </dev/null | cut -d' ' -f1); sleep 3; [ \$(incus exec mary -- wc -l /root/written </dev/null | cut -d' ' -f1) -gt \$n ]"

    stage "two are migrated, ticked in the list"
    typed user "sudo taos-setup migrate" <<END || red "the migration ends with 0"
? Which containers are to be moved?
? stanley
! space down space enter
? Go ahead?
> yes
END
    shown "it says that they are migrated" "Migrated"
    pools "mary:taos naira:taos stanley:default"
    vm "incus exec mary -- sh -c 'date +%s >>/root/later; sync' </dev/null; incus exec mary -- md5sum /root/written /root/later </dev/null" >"$run/written"
    see "its lines are all there" "incus exec mary -- sort -nc /root/written </dev/null && incus exec mary -- sh -c '[ \$(wc -l </root/written) -gt 3 ]' </dev/null"

    stage "a reboot"
    reboot_machine
    soon "all three run again" 240 "[ \$(incus list -f csv -c ns | grep -cE '^(mary|naira|stanley),RUNNING') -eq 3 ]"
    pools "mary:taos naira:taos stanley:default"
    vm "incus exec mary -- md5sum /root/written /root/later </dev/null" >"$run/again"
    equal "nothing of it was lost" "$(sort "$run/written")" "$(sort "$run/again")"

    stage "one goes back, the other is finished"
    back=''
    if broken as-it-was; then back=--as-it-was; fi
    typed user "sudo taos-setup migrate --rollback mary $back" <<END || red "the way back ends with 0"
? Go ahead?
> yes
END
    pools "mary:default naira:taos stanley:default"
    see "mary runs" "incus list -f csv -c ns | grep -qx mary,RUNNING"
    see "what it wrote since has gone back with it" "incus exec mary -- cat /root/later </dev/null"
    typed user "sudo taos-setup migrate --finish naira --yes" </dev/null || red "finishing ends with 0"
    see_not "naira's original is gone" "incus list -f csv -c n | grep -x taos-kept-naira"
    see "naira runs" "incus list -f csv -c ns | grep -qx naira,RUNNING"
    see "stanley runs, never touched" "incus list -f csv -c ns | grep -qx stanley,RUNNING"
}

pools() { # pools NAME:POOL...
    local pair
    for pair in $1; do
        equal "${pair%:*} is on pool" "${pair#*:}" "$(vm_quiet "incus list -f csv -c nb | sed -n 's/^${pair%:*},//p'")"
    done
}

# Configuration, the process and when it started, and each path with its inode; but for what mary writes, and the folders of /run and
# /tmp that a living system turns over.
put_down() {
    cat <<'END'
for name in mary naira stanley; do
    incus config show --expanded $name | grep -v last_used
    pid=$(incus query /1.0/instances/$name/state | sed -n 's/.*"pid": \([0-9]*\).*/\1/p' | head -n 1)
    echo "$name $pid $(cut -d' ' -f22 /proc/$pid/stat)"
    find /var/lib/incus/storage-pools/default/containers/$name/rootfs -xdev \
        ! -path '*/var/log/*' ! -path '*/root/written' ! -path '*/var/lib/systemd/*' ! -path '*/tmp' ! -path '*/tmp/*' ! -path '*/var/cache/*' -printf '%i %m %U %T@ %p\n' | sort
done
incus storage list -f csv -c nD
incus profile show default | grep -v '^- '
END
}

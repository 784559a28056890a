# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: the service user taos, a member of the group incus only: its project's profile is pointed to the new pool, its images are there, it launches a clone
# disk: trixie-incus
# broken: other-user | its image is there | the unit of the service names somebody else
# broken: no-repoint | its launches go to the pool that clones | another hand points its profile to a pool that copies

play() {
    stage "a host with a dir pool and the service user"
    install_package
    put_image
    serve 0
    plain_incus
    vm "useradd --create-home --shell /bin/bash --groups incus taos
        install -d -m 700 -o taos -g taos /home/taos/.ssh
        install -m 600 -o taos -g taos /root/.ssh/authorized_keys /home/taos/.ssh/authorized_keys
        printf '[Service]\nUser=taos\nExecStart=/bin/sleep infinity\n' >/etc/systemd/system/tinyagentos.service
        systemctl daemon-reload
        systemctl start tinyagentos"
    if broken other-user; then vm "sed -i s/User=taos/User=user/ /etc/systemd/system/tinyagentos.service; systemctl daemon-reload"; fi
    typed taos "incus list" <<<'' || red "the service user reaches its project"
    uid=$(vm_quiet 'id -u taos')
    see "incus-user has made its project" "incus project show user-$uid && incus profile device get default root pool --project user-$uid | grep -qx default"

    stage "the set-up, with the image at once"
    typed user "sudo taos-setup --pool taos --size 4GiB --image now --image-url $image" <<END || red "the set-up ends with 0"
? Go ahead?
> yes
END
    shown "its profile is in the plan" "user-$uid"
    if broken no-repoint; then vm "incus profile device set default root pool=default --project user-$uid"; fi
    see "its launches go to the pool that clones" "incus profile device get default root pool --project user-$uid | grep -qx taos"
    see_not "it is no admin of Incus" "id -nG taos | grep -w incus-admin"

    stage "as that user"
    typed taos "incus image list --format=csv -c f taos-openclaw-base | grep ." <<<'' || red "its image is there"
    green "its image is there"
    typed taos "taos-setup image ensure" <<<'' || red "the deployer's question says ready"
    vm "date +%s%N >/run/begun" >/dev/null
    typed taos "incus launch taos-openclaw-base taos-agent-x" <<<'' || red "it launches"
    note "launch by the service user, with ssh: $(vm_quiet 'echo $((($(date +%s%N) - $(cat /run/begun)) / 1000000))') ms"
    see "the agent runs in its project" "incus list --project user-$uid -f csv -c ns | grep -qx taos-agent-x,RUNNING"
    see "it is a clone" "btrfs subvolume show /var/lib/incus/storage-pools/taos/containers/user-${uid}_taos-agent-x | grep -qE 'Parent UUID:[[:space:]]+[0-9a-f]'"
    soon "it has an address of the user's bridge" 240 "incus list --project user-$uid -f csv -c 4 taos-agent-x | grep -qE '^\"?[0-9]+\\.'"
    see "root has the image as well" "incus image list --format=csv -c f taos-openclaw-base | grep ."
}

# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: a fresh Debian without Incus: the install command, answered on a terminal by a sudo user; pool, bridge, a container with an address, status, a second run, a reboot
# disk: trixie
# broken: copies | launches are clones | TAOS_COW_POOL=dir is in force
# broken: no-start | the container runs again | what starts Incus at boot is disabled

play() {
    install_story
    container_story
    reboot_story
}

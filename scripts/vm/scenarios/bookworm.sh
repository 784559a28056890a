# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: Debian 12, which has no Incus of its own: its backports are added with the mirror that is there, and the rest is as in fresh
# disk: bookworm
# broken: copies | launches are clones | TAOS_COW_POOL=dir is in force
# broken: no-start | the container runs again | what starts Incus at boot is disabled

play() {
    install_story
    see "its backports were added" "grep -q bookworm-backports /etc/apt/sources.list.d/taos-setup-backports.sources"
    container_story
    reboot_story
}

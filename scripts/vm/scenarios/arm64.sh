# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: the aarch64 binary on an arm64 machine: the fresh story, and the image with the first deploy
# disk: trixie-arm64
# broken: copies | launches are clones | TAOS_COW_POOL=dir is in force
# broken: no-path | the first deploy starts the fetch | the path unit is stopped

play() {
    install_story
    container_story

    stage "an agent"
    see "an agent is a clone of it" "incus launch taos-openclaw-base taos-agent-x </dev/null && btrfs subvolume show /var/lib/incus/storage-pools/default/containers/taos-agent-x | grep -qE 'Parent UUID:[[:space:]]+[0-9a-f]'"
}

# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: the aarch64 binary on an arm64 machine: the fresh story, and the image with the first deploy
# disk: trixie-arm64
# broken: copies | launches are clones | TAOS_COW_POOL=dir is in force
# broken: no-path | the first deploy starts the fetch | the path unit is stopped

play() {
    install_story
    container_story

    stage "the first deploy"
    if broken no-path; then vm 'systemctl stop taos-setup-image.path'; fi
    see "it goes on by the build path" "incus launch small taos-agent-x </dev/null"
    soon "the first deploy starts the fetch" 60 "$going_on || $in_place"
    soon "the image is in place" 600 "$in_place"
    see "the second agent is a clone of it" "incus launch taos-openclaw-base taos-agent-y </dev/null && btrfs subvolume show /var/lib/incus/storage-pools/default/containers/taos-agent-y | grep -qE 'Parent UUID:[[:space:]]+[0-9a-f]'"
}

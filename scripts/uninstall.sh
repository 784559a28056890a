#!/usr/bin/env bash
# Removes taos-setup from this machine: the program, its man pages and completions, and the units that fetch the base image.
#
#   sudo ./scripts/uninstall.sh
#
# It touches no storage pool, no container, no image, no profile, no journal and no log: it says which of them are left, and how
# to take them back. That is best done before, while the program is there: `sudo taos-setup undo`.
#
# All of it is in functions, and the last line calls main: half a download runs nothing.
set -euo pipefail

say() { printf '%s\n' "$*"; }

readonly UNITS=(taos-setup-image.path taos-setup-image.service)

# Only what install.sh and the program itself have put there; what a package has brought is the package manager's.
remove_units() {
    local unit etc=/etc/systemd/system
    [ -e "$etc/taos-setup-image.service" ] || return 0
    if ! grep -q '^ExecStart=/usr/local/bin/taos-setup ' "$etc/taos-setup-image.service"; then
        say "Left: $etc/taos-setup-image.service, which starts another taos-setup."
        return
    fi
    for unit in "${UNITS[@]}"; do
        if [ -d /run/systemd/system ]; then systemctl disable --now "$unit" >/dev/null 2>&1 || true; fi
        remove "$etc/$unit"
        rm -f "$etc"/*.wants/"$unit"
    done
    if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
}

remove() {
    local path
    for path in "$@"; do
        [ -e "$path" ] || [ -L "$path" ] || continue
        rm -f "$path"
        say "Removed: $path"
        removed=yes
    done
}

what_is_left() {
    local path kept='' state=${TAOS_STATE_DIR:-/var/lib/taos-setup}
    say
    say "Not touched, and still here:"
    if command -v incus >/dev/null; then
        say "  Incus, with its pools, containers, images and profiles:"
        say "    sudo incus storage list; sudo incus list --all-projects; sudo incus image list"
        # The daemon is not started only to be asked.
        if [ -S "${INCUS_DIR:-/var/lib/incus}/unix.socket" ]; then
            kept=$(timeout 10 incus list --all-projects --format csv --columns en </dev/null 2>/dev/null | grep -E ',taos-(kept|kept2|copy)-' || true)
        fi
        if [ -n "$kept" ]; then
            say "  of them, originals and copies of migrated containers (project, name), which migrating has not finished with:"
            printf '%s\n' "$kept" | sed 's/^/    /'
        fi
    fi
    for path in "$state" /var/lib/taos-setup-image "${TAOS_LOG_FILE:-/var/log/taos-setup.log}" /etc/apt/sources.list.d/taos-setup-backports.sources; do
        [ ! -e "$path" ] || say "  $path"
    done
    [ ! -d "$state" ] || say "    (the journals: with them a taos-setup that is installed again can undo, roll back and finish)"
    say
    say "To take back what taos-setup has done, install it again, and then:"
    say "  sudo taos-setup migrate --status     which originals are kept; --rollback and --finish deal with them"
    say "  sudo taos-setup image remove         the base image"
    say "  sudo taos-setup undo                 the last set-up, as long as nobody uses what it made"
    say "The journals and the log are yours to remove then: they are small, and nothing else remembers."
}

main() {
    local removed=''
    if [ "$(id -u)" -ne 0 ]; then
        echo "This needs root. Run it again with sudo." >&2
        exit 1
    fi
    remove_units
    remove /usr/local/bin/taos-setup /usr/local/share/man/man8/taos-setup{,-*}.8 \
        /usr/local/share/bash-completion/completions/taos-setup /usr/local/share/zsh/site-functions/_taos-setup \
        /usr/local/share/fish/vendor_completions.d/taos-setup.fish
    [ -n "$removed" ] || say "There is nothing of taos-setup in /usr/local to remove."
    if [ -x /usr/bin/taos-setup ]; then say "Left: /usr/bin/taos-setup, which a package has brought: sudo apt-get remove taos-setup"; fi
    what_is_left
}

main "$@"

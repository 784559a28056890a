# shellcheck shell=bash
# What has to be done in the system itself. Runs in the room, with no network.

# The application looks for the network with DHCP on eth0.
cat >/etc/systemd/network/eth0.network <<'END'
[Match]
Name=eth0

[Network]
DHCP=yes
IPv6AcceptRA=yes

[DHCPv4]
ClientIdentifier=mac
END
systemctl enable --quiet systemd-networkd.service
if [ -f /usr/lib/systemd/system/systemd-resolved.service ]; then systemctl enable --quiet systemd-resolved.service; fi
# What a container cannot do, its host does: load modules, set the clock, trim and scrub disks.
for unit in systemd-modules-load.service systemd-timesyncd.service fstrim.timer e2scrub_all.timer e2scrub_reap.service; do
    [ ! -e "/usr/lib/systemd/system/$unit" ] || systemctl mask --quiet "$unit"
done

printf 'LANG=C.UTF-8\n' >/etc/locale.conf
mkdir -p /etc/default && printf 'LANG=C.UTF-8\n' >/etc/default/locale

# Packages' own scripts: they fetch nothing, since there is no network here.
if [ -d /usr/lib/node_modules/openclaw ]; then
    npm rebuild --global --foreground-scripts --no-audit --no-fund --no-update-notifier
    openclaw --version
fi

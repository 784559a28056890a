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
systemctl enable systemd-networkd.service
if [ -f /usr/lib/systemd/system/systemd-resolved.service ]; then systemctl enable systemd-resolved.service; fi
# Containers cannot set the clock, trim a disk they do not have, or scrub it.
systemctl mask systemd-timesyncd.service fstrim.timer e2scrub_all.timer e2scrub_reap.service 2>/dev/null

printf 'LANG=C.UTF-8\n' >/etc/locale.conf
mkdir -p /etc/default && printf 'LANG=C.UTF-8\n' >/etc/default/locale

# Packages' own scripts: they fetch nothing, since there is no network here.
if [ -d /usr/lib/node_modules/openclaw ]; then
    npm rebuild --global --foreground-scripts --no-audit --no-fund --no-update-notifier
    openclaw --version
fi

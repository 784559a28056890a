# shellcheck shell=bash
# What must be in no image: caches, logs, and whatever makes a machine this one machine. Runs in a chroot, last.

before=$(du -skx / | cut -f 1)

rm -rf /var/cache/apt/* /var/lib/apt/lists/* /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/cache/man
rm -rf /root/.npm /root/.cache /root/.config /root/.node-gyp /root/.bash_history /root/.openclaw /root/.local
find /tmp /var/tmp /run -mindepth 1 -delete 2>/dev/null || true
mkdir -p /var/cache/apt/archives/partial /var/lib/apt/lists/partial
find /var/log -xdev -type f -delete
rm -rf /var/log/journal /var/lib/dpkg/*-old /var/lib/systemd/{random-seed,timers,credential.secret,catalog,ephemeral-trees,linger,rfkill,timesync,coredump}
rm -rf /var/lib/private /var/lib/dhcp/* /var/lib/NetworkManager /var/lib/dbus/machine-id
rm -f /etc/.pwd.lock /etc/.updated /var/.updated /etc/{passwd,group,shadow,gshadow,subuid,subgid}- /etc/ssh/ssh_host_* /.autorelabel
rm -f /etc/hostname /etc/hosts # of the building machine; templates bring them

# Empty, not absent: absent would make it a first boot, with presets and questions.
: >/etc/machine-id

# Certificates that are not Debian's own: of the building machine, or of a proxy before it.
if [ -d /usr/local/share/ca-certificates ] && [ -n "$(find /usr/local/share/ca-certificates -type f)" ]; then
    find /usr/local/share/ca-certificates -type f -delete
    update-ca-certificates --fresh >/dev/null
fi

if [ -f /usr/lib/systemd/systemd-resolved ] || [ -f /lib/systemd/systemd-resolved ]; then
    ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
else
    rm -f /etc/resolv.conf
fi
printf 'trim\tcaches-and-logs\t%s\n' $((before - $(du -skx / | cut -f 1)))

#!/usr/bin/env bash
# In a private host: installs /opt/taos-setup.deb, uses it, removes it, and looks at what is left.
set -euxo pipefail
version=$1

incusd=
for dir in /usr/libexec/incus /usr/lib/incus /opt/incus/bin; do [ ! -x "$dir/incusd" ] || incusd=$dir/incusd; done
setsid -f "$incusd" --logfile /var/log/incus/incusd.log </dev/null >/dev/null 2>&1
incus admin waitready --timeout 60

dpkg -i /opt/taos-setup.deb
[ "$(taos-setup --version)" = "taos-setup $version" ]
taos-setup --yes </dev/null
# As it would be where systemd is; here nothing listens to it.
cd /etc/systemd/system
mkdir -p multi-user.target.wants paths.target.wants
cp /usr/lib/systemd/system/taos-setup-image.* .
ln -s ../taos-setup-image.service multi-user.target.wants
ln -s ../taos-setup-image.path paths.target.wants
state() {
    incus query /1.0/storage-pools/default | sed '/used_by/,/]/d'
    incus profile show default
    sha256sum /var/lib/taos-setup/* /var/log/taos-setup.log
    ls -i /var/lib/incus/disks
}
state >/tmp/before
dpkg --purge taos-setup
state >/tmp/after
diff /tmp/before /tmp/after
left=$(find /usr /etc -name '*taos-setup*' -not -path '/usr/local/*' -not -path '*/sources.list.d/*')
[ -z "$left" ]

# A unit of another installation is none of its business.
dpkg -i /opt/taos-setup.deb
echo 'ExecStart=/usr/local/bin/taos-setup --quiet image fetch' >taos-setup-image.service
dpkg --remove taos-setup
[ -e taos-setup-image.service ]

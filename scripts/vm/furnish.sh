#!/usr/bin/env bash
# Called by mmdebstrap with the tree of a new machine: gives it a name, a network, its users, and the sources of its packages.
# From disk.sh it has the variables work, key and name.
set -euo pipefail
tree=$1 name=${name:?} key=${key:?} work=${work:?}

in_tree() { chroot "$tree" "$@"; }

echo taos-vm >"$tree/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 taos-vm\n' >"$tree/etc/hosts"
case $name in
*-btrfs) echo 'LABEL=root / btrfs defaults 0 0' ;;
*) echo 'LABEL=root / ext4 defaults,discard 0 1' ;;
esac >"$tree/etc/fstab"

# Behind some hosts every address answers, and Incus finds no unused subnet for its bridge. So private ranges that the machine
# has no route of its own to are made unreachable.
mkdir -p "$tree/etc/systemd/network"
cat >"$tree/etc/systemd/network/20-wired.network" <<END
[Match]
Name=en* eth*
[Network]
DHCP=yes
[RoutingPolicyRule]
Family=both
Priority=100
Table=main
SuppressPrefixLength=0
[RoutingPolicyRule]
To=10.0.0.0/8
Priority=101
Type=unreachable
[RoutingPolicyRule]
To=fd42::/16
Priority=101
Type=unreachable
END
in_tree systemctl --quiet enable systemd-networkd systemd-resolved ssh

# A person who may use sudo, and root's own door for what the test itself does.
in_tree useradd --create-home --shell /bin/bash --groups sudo user
echo 'user ALL=(ALL) NOPASSWD: ALL' >"$tree/etc/sudoers.d/user"
for home in root home/user; do
    install -d -m 700 "$tree/$home/.ssh"
    cp "$key.pub" "$tree/$home/.ssh/authorized_keys"
done
in_tree chown -R user:user /home/user/.ssh

rm -f "$tree"/etc/apt/sources.list.d/*
cp "$work/sources" "$tree/etc/apt/sources.list"

# shellcheck shell=bash
# The folders of the agents' recycle bin, open to every user of the container.
mkdir -p /var/recycle-bin/files /var/recycle-bin/info
chmod 1777 /var/recycle-bin /var/recycle-bin/files /var/recycle-bin/info

# shellcheck shell=bash disable=SC2034,SC2154 # disk and release come from play.sh
# What a machine is given: a release, the base image, servers that bring them. Sourced by play.sh.

readonly FAST=http://127.0.0.1:8801 SLOW=http://127.0.0.1:8802

# The files of a release, in /srv/release.
put_release() { put "$release" /srv/release; }

# The base image and its digest, in /srv/image, and its URL in `image`, `slow_image`.
put_image() {
    local name
    name=taos-openclaw-base-linux-$(image_arch "$disk").tar.gz
    put "$(base_image)" /srv/image
    image=$FAST/image/$name slow_image=$SLOW/image/$name
}

base_image() {
    local folder
    folder=$CACHE/image-$(image_arch "$disk")
    [ -f "$folder/SHA256SUMS" ] || die "There is no base image $folder." "vm-test.sh makes it."
    echo "$folder"
}

# Two servers on the machine's loopback, over reboots: one as fast as it can be, one with so many bytes a second.
serve() { # serve BYTES-A-SECOND
    put "$VM/inside/serve.pl" /srv/serve.pl
    vm "for it in fast:8801:0 slow:8802:$1; do
            IFS=: read -r name port rate <<<\"\$it\"
            printf '[Service]\nExecStart=/usr/bin/perl /srv/serve.pl /srv %s %s\n[Install]\nWantedBy=multi-user.target\n' \$port \$rate >/etc/systemd/system/serve-\$name.service
        done
        systemctl daemon-reload
        systemctl --quiet enable --now serve-fast serve-slow" >/dev/null
    soon "the servers in the machine answer" 60 "curl -sf -o /dev/null -I $FAST/serve.pl && curl -sf -o /dev/null -I $SLOW/serve.pl"
}

requests() { # requests fast|slow: what was asked of it, a line each: METHOD PATH FIRST-BYTE
    vm_quiet "journalctl -u serve-$1 -o cat --no-pager | grep -E '^(GET|HEAD) ' || true"
}

# As a person does who has downloaded the package.
install_package() {
    put_release
    see "the package installs" "apt-get -q -y install /srv/release/*_$(debian_arch "$disk").deb >/dev/null"
}

# Incus set up as `incus admin init` does where nobody thinks of copy-on-write; the bridge has a subnet of its own.
plain_incus() {
    see "Incus is set up with a dir pool" "incus admin init --auto --storage-backend dir && incus profile show default | grep -q 'pool: default'"
}

# How far the service is, asked of files only: a call of Incus's client takes the processor away from it where that is emulated.
going_on='systemctl is-active --quiet taos-setup-image.service'
in_place='grep -q "\"status\": *\"done\"" /var/lib/taos-setup-image/status.json'

# An image for containers that are no agents. Packed in another way, so that Incus takes it for another image.
import_small_image() {
    see "an image for containers is there" "zstd -qdc /srv/image/taos-openclaw-base-linux-$(image_arch "$disk").tar.gz >/srv/small.tar && incus image import /srv/small.tar --alias small >/dev/null && rm /srv/small.tar"
}

# The next call of incus that matches is held there, and the test told: see inside/bell.sh. It is gone when the machine goes down.
hold() { # hold before|SECONDS|after PATTERN
    vm "test -x /usr/local/sbin/incus" >/dev/null || put "$VM/inside/bell.sh" /usr/local/sbin/incus
    vm "echo '$1 $2' >/run/bell; sync" >/dev/null
}

cut_power_at_the_bell() { # cut_power_at_the_bell SECONDS
    local until=$((SECONDS + $1))
    until grep -q 'the bell rings' "$run/console.new"; do
        [ "$SECONDS" -lt "$until" ] || red "the call that was waited for" "not within $1 s"
        sleep 0.1
    done
    grep -a 'the bell rings' "$run/console.new" >&3
    cut_power
}

# A connection that ends does not end it; what it says goes to the disk with the rest, or not.
run_in_background() { vm "setsid -f sudo $1 >/srv/said 2>&1 </dev/null"; }

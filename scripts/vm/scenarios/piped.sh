# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # called by play.sh; the machine expands
# shows: curl | sudo bash hears its answers at the terminal; with -s -- --yes the whole script runs, installs a package, and nobody reads the pipe
# disk: trixie-incus
# broken: reader | what stands behind the script in the pipe is still there | the script gets a line that reads standard input
# broken: asks | it ends with 0 | --yes is left out

play() {
    local yes=--yes
    put_release
    serve 0
    see "a tool is missing" "dpkg --remove btrfs-progs"
    if broken reader; then vm "sed -i 's|^find_program() {.*|&\n    cat >/dev/null|' /srv/release/install.sh"; fi
    if broken asks; then yes=''; fi

    stage "from a pipe, at a terminal: it asks there"
    answered=0
    typed user "curl -fsSL $FAST/release/install.sh | sudo TAOS_SETUP_RELEASE=$FAST/release bash -s -- --size 4GiB --image off" <<END || answered=$?
# 240
? Go ahead?
> explain
? undo:
? Go ahead?
> no
END
    equal "it hears the answers: declined" 3 "$answered"
    see_not "nothing was changed" "incus storage list -f csv | grep ."

    stage "from a pipe, without a terminal"
    vm "cat >/srv/piped <<'END'
curl -fsSL $FAST/release/install.sh >/tmp/install.sh
{ cat /tmp/install.sh; echo behind the script; } | {
    TAOS_SETUP_RELEASE=$FAST/release bash -s -- $yes --size 4GiB --image off >/tmp/out 2>&1
    echo \$? >/tmp/code
    timeout 5 cat >/tmp/rest
}
END
        setsid sudo bash /srv/piped </dev/null; cat /tmp/out"
    equal "it ends with 0" 0 "$(vm_quiet 'cat /tmp/code')"
    equal "what stands behind the script in the pipe is still there" "behind the script" "$(vm_quiet 'cat /tmp/rest')"
    see_not "nothing was asked" "grep -q 'yes / no' /tmp/out"
    see "the program is what the release has" "taos-setup --version && tar -xOf /srv/release/taos-setup-linux-x64.tar.gz ./taos-setup | cmp - /usr/local/bin/taos-setup"
    see "man page and completions are there" "ls /usr/local/share/man/man8/taos-setup.8 /usr/local/share/bash-completion/completions/taos-setup"
    see "the missing tool was installed" "command -v btrfs"
    see "launches are clones" "taos-setup status | grep -q 'ready: launches clone on pool default (btrfs)'"
    note "done after $SECONDS s"

    stage "the same as a user types it, through sudo"
    vm "su user -c 'curl -fsSL $FAST/release/install.sh | sudo TAOS_SETUP_RELEASE=$FAST/release bash -s -- --yes --image off' </dev/null >/tmp/again 2>&1; echo \$? >/tmp/code; cat /tmp/again"
    equal "it ends with 0 again" 0 "$(vm_quiet 'cat /tmp/code')"
    see "nothing was left to do" "grep -qi 'nothing to do' /tmp/again"
}

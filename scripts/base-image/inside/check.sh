# shellcheck shell=bash disable=SC2154,SC2164 # the variables are given, and the shell runs with -e
# One check of the functional test, the one that CHECK names. Runs in a container of the finished image. What it prints last is shown.

export DEBIAN_FRONTEND=noninteractive

# A function that is called like a program it uses has a `_` behind its name.

boot() {
    systemctl --failed --no-legend
    systemctl --failed --plain --no-legend | cut -d' ' -f1 | xargs -r systemctl status --no-pager --full || true
    [ "$(systemctl is-system-running)" = running ]
    if [ -n "$NETWORK" ]; then
        for _ in $(seq 100); do ! getent hosts "$(cut -d/ -f3 <<<"$npm_config_registry")" >/dev/null || break; sleep 0.2; done
    fi
    echo "running, nothing failed"
}

identity() {
    [ -s /etc/machine-id ] # systemd has made one for this container
    [ "$(cat /etc/hostname)" = "$(hostname)" ]
    grep -q "$(hostname)" /etc/hosts
    ! find /etc/ssh -name 'ssh_host_*' 2>/dev/null | grep .
    ! find /var/cache/apt/archives -name '*.deb' | grep .
    echo "$(hostname), a machine id of its own, no host keys"
}

locale_() {
    grep -qx LANG=C.UTF-8 /etc/locale.conf
    [ "$(locale charmap)" = UTF-8 ]
    [ "$(printf 'ä漢' | wc -m)" = 2 ]
    locale charmap
}

node_() {
    [ "$(node --version)" = "v$NODE" ]
    node -e 'const { DatabaseSync } = require("node:sqlite"); new DatabaseSync(":memory:").exec("create table a(b)"); if (!Intl.DateTimeFormat("de").format(0)) throw 1'
    node --version
}

npm_() {
    npm --version
    cd "$(mktemp -d)" && npm init --yes >/dev/null
    [ -n "$NETWORK" ] || return 0
    npm install --no-audit --no-fund semver >/dev/null
    node -e 'require("semver").parse("1.2.3")'
    # What the application does at each deploy, to the last dependency, with no compiler there.
    npm install --global --prefix /opt/deploy --no-audit --no-fund "openclaw@$OPENCLAW"
    /opt/deploy/bin/openclaw --version
    rm -rf /opt/deploy
    echo "a package, and openclaw from scratch"
}

openclaw_() {
    [[ $(openclaw --version) == *"$OPENCLAW"* ]]
    openclaw --help >/dev/null
    openclaw --version
}

# As the application configures and starts it.
gateway() {
    local plain packed
    mkdir -m 700 /root/.openclaw
    cat >/root/.openclaw/openclaw.json <<'JSON'
{ "gateway": { "mode": "local", "bind": "loopback", "port": 18789, "auth": { "mode": "token", "token": "only-for-this-check" } } }
JSON
    systemd-run --quiet --unit=check-gateway --setenv=HOME=/root --working-directory=/root /usr/bin/openclaw gateway
    for _ in $(seq 240); do
        ! curl -fs -o /dev/null http://127.0.0.1:18789/ || break
        systemctl is-active --quiet check-gateway || { journalctl -u check-gateway --no-pager -n 30 && return 1; }
        sleep 0.5
    done
    openclaw health --timeout 20000
    plain=$(curl -fsS http://127.0.0.1:18789/)
    packed=$(curl -fsS --compressed http://127.0.0.1:18789/)
    [ "$plain" = "$packed" ]
    # Its parts as well, which exist in the image in one form only.
    grep -oE '(src|href)="[^"]+\.(js|css)"' <<<"$plain" | cut -d'"' -f2 | sed 's,^\.\?/*,,' | while read -r part; do
        curl -fsS --compressed -o /dev/null "http://127.0.0.1:18789/$part" </dev/null
        echo "$part"
    done
    systemctl stop check-gateway
    rm -rf /root/.openclaw
    echo "answers, healthy, and serves its UI"
}

modules() {
    local count=0 file
    while read -r file; do
        node -e 'process.dlopen({ exports: {} }, process.argv[1])' "$file"
        count=$((count + 1))
    done < <(find /usr/lib/node_modules -name '*.node' ! -path '*darwin*' ! -path '*win32*' ! -path '*musl*')
    [ "$count" -gt 0 ]
    cd /usr/lib/node_modules/openclaw
    node -e 'require("koffi").load(null); const { DatabaseSync } = require("node:sqlite"); const db = new DatabaseSync(":memory:", { allowExtension: true }); require("sqlite-vec").load(db); console.log(db.prepare("select vec_version() v").get().v)'
    node -e 'require("@lydell/node-pty").spawn("true", []).onExit(e => process.exit(e.exitCode))'
    node -e 'require("typescript").transpileModule("let a: number = 1", {})'
    echo "$count native modules load; sqlite-vec, koffi, a terminal"
}

python_() {
    python3 -m venv /tmp/venv
    /tmp/venv/bin/python -c 'import ssl, sqlite3, json, ctypes, lzma'
    /tmp/venv/bin/pip --version
    python3 -m pip --version
    [ -z "$NETWORK" ] || /tmp/venv/bin/pip install --quiet --no-cache-dir --cert /etc/ssl/certs/ca-certificates.crt six
    rm -rf /tmp/venv
    python3 --version
}

git_() {
    cd "$(mktemp -d)"
    git init --quiet one
    git -C one -c user.name=a -c user.email=a@b commit --quiet --allow-empty -m one
    git clone --quiet "file://$PWD/one" two
    git -C two log --oneline
}

# A Java runtime's scripts fail where the folders of manual pages are missing.
apt_() {
    [ -n "$NETWORK" ] || { apt-get --version && return; }
    apt-get -qq update
    apt-get -qq install --no-install-recommends -y default-jre-headless less man-db >/dev/null
    java -version
    [ -z "$(find /usr/share/man -type f -print -quit)" ]
    [ -f /usr/share/doc/default-jre-headless/copyright ] || [ -L /usr/share/doc/default-jre-headless ]
    echo "installs a Java runtime, without its manual pages"
}

trash_() {
    cd "$(mktemp -d)"
    touch gone
    trash-put gone
    trash-list | grep gone
    trash-empty -f
    [ -z "$(trash-list)" ]
    trash --version
}

case $CHECK in
locale | node | npm | openclaw | python | git | apt | trash) "${CHECK}_" ;;
boot | identity | gateway | modules) "$CHECK" ;;
*) echo "there is no check $CHECK" && exit 1 ;;
esac

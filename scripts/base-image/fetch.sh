# shellcheck shell=bash disable=SC2034,SC2154 # its variables come from the other parts
# Everything that comes over the network. It is fetched here, on the building machine, with what this has of mirrors, proxies
# and certificates, so that nothing inside of the image ever needs one. Sourced by build-base-image.sh.

fetch() {
    fetch_base
    fetch_node
    fetch_npm_tree
}

# fetched FILE WHAT: is it in the cache? Offline it has to be.
fetched() {
    [ ! -s "$cache/$1" ] || return 0
    [ -z "$offline" ] || die "The cache $cache has no $2 ($1)." "Fill it on a machine with a network, with the same contents and options: $0 fetch --cache DIR"
    say "Fetching $2"
    return 1
}

# A name that changes with everything that the file depends on.
key_of() { printf '%s\n' "$@" | sha256sum | cut -c 1-12; }

# --- Debian ---

fetch_base() {
    local entries=()
    # Offline, this machine's mirrors do not matter.
    base=base-$debian-$arch-$profile-$(key_of "${packages[@]}").tar
    if fetched "$base" "Debian $debian for $arch"; then return; fi
    needs mmdebstrap mmdebstrap
    mapfile -t entries < <(debian_entries)
    # With no entries, mmdebstrap knows Debian's own. Recommended packages are left out by its variant.
    # It mounts a lot in the folder where it works. In a namespace of its own that is gone with it, even if it is killed.
    quietly unshare --mount --pid --fork --kill-child --mount-proc mmdebstrap --mode=root --variant=minbase --format=tar --architectures="$debian_arch" \
        --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "5"' \
        --include="$(IFS=, && echo "${packages[*]}")" \
        "$debian" "$cache/$base.part" "${entries[@]}"
    mv "$cache/$base.part" "$cache/$base"
}

# This machine's own mirrors, if it is a Debian, as entries for the release of the image.
debian_entries() {
    local own mirror security entry='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
    own=$(. /etc/os-release && [ "$ID" = debian ] && echo "${VERSION_CODENAME:-}") || return 0
    mirror=$(mirror_of "$own")
    security=$(mirror_of "$own-security")
    [ -n "$mirror" ] || return 0
    echo "deb $entry $mirror $debian main"
    # What a mirror of this machine has for its own release, it has for others.
    [ -z "$(mirror_of "$own-updates")" ] || echo "deb $entry $mirror $debian-updates main"
    [ -z "$security" ] || echo "deb $entry $security $debian-security main"
}

mirror_of() { # mirror_of SUITE
    local list=() source=()
    mapfile -t list < <(find /etc/apt/sources.list /etc/apt/sources.list.d -maxdepth 1 -name '*.list' -type f 2>/dev/null)
    mapfile -t source < <(find /etc/apt/sources.list.d -maxdepth 1 -name '*.sources' -type f 2>/dev/null)
    {
        awk -v suite="$1" '/^deb / { gsub(/\[[^]]*\]/, ""); if ($3 == suite && / main( |$)/) print $2 }' "${list[@]}" /dev/null
        # A paragraph says Types, URIs, Suites and Components, each on a line, in any order.
        for entry in "${source[@]}"; do
            awk -v RS= -v suite="$1" '
                /(^|\n)Enabled: *no/ || !/(^|\n)Types:[^\n]*deb( |\n|$)/ { next }
                "\n" $0 "\n" ~ "\nSuites:([^\n]* )?" suite "[ \n]" {
                    n = split($0, lines, "\n")
                    for (i = 1; i <= n; i++) if (sub(/^URIs: */, "", lines[i])) { split(lines[i], uris, " "); print uris[1] }
                }' "$entry"
        done
    } | head -n 1
}

# --- Node, npm and openclaw ---

fetch_node() {
    [ -n "$node" ] || return 0
    fetch_package "node-linux-$arch" "$node"
    fetch_package npm "$npm"
    [ "$arch" = "$(own_arch)" ] || fetch_package "node-linux-$(own_arch)" "$node"
}

fetch_package() { # fetch_package NAME VERSION
    local file=$1-$2.tgz found
    if fetched "$file" "$1 $2"; then return; fi
    quietly curl --fail --silent --show-error --location --retry 5 -o "$cache/$file.part" "$(npm_registry)/$1/-/$file"
    found=$(sha256sum "$cache/$file.part" | cut -d' ' -f1)
    [[ " ${digests[*]} " == *" $found $file "* ]] || die "$file is not the file that is meant: it has the digest $found." \
        "Where the version in $contents has just been changed, write its digest there: sha256 $found $file"
    mv "$cache/$file.part" "$cache/$file"
}

npm_registry() {
    local registry=${npm_config_registry:-}
    [ -n "$registry" ] || registry=$(cd / && npm config get registry 2>/dev/null) || true
    [[ $registry == http* ]] || die "This machine names no npm registry." "Set npm_config_registry to its address, or install npm."
    echo "${registry%/}"
}

# openclaw with all that it depends on, as `npm install --global` lays it out. Nothing of it is run here: its own scripts run
# later, in the room.
fetch_npm_tree() {
    local tools=$work/tools
    [ -n "$openclaw" ] || return 0
    npm_tree=npm-$arch-$(key_of "$openclaw" "$node" "$npm" "$as_of").tar
    if fetched "$npm_tree" "openclaw $openclaw for $arch"; then return; fi
    unpack_node "$tools" "$(own_arch)"
    mkdir -p "$work/prefix"
    npm_config_registry=$(npm_registry)/ PATH=$tools/bin:$PATH quietly "$tools/bin/node" "$tools/lib/node_modules/npm/bin/npm-cli.js" \
        install --global --prefix "$work/prefix" --cache "$work/npm-cache" --ignore-scripts --no-audit --no-fund \
        --before "$as_of" --os linux --cpu "$arch" --libc glibc "openclaw@$openclaw"
    tar -C "$work/prefix" --owner=0 --group=0 --sort=name --mtime="@$SOURCE_DATE_EPOCH" -cf "$cache/$npm_tree.part" lib bin
    mv "$cache/$npm_tree.part" "$cache/$npm_tree"
    rm -rf "$work/prefix" "$work/npm-cache" "$tools"
}

unpack_node() { # unpack_node PREFIX ARCH
    mkdir -p "$1/lib/node_modules/npm"
    # The bottom of these packages is what a release of Node has under its prefix.
    tar -C "$1" --no-same-owner --strip-components=1 -xzf "$cache/node-linux-$2-$node.tgz" package/bin package/include package/share
    tar -C "$1/lib/node_modules/npm" --no-same-owner --strip-components=1 -xzf "$cache/npm-$npm.tgz"
    ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$1/bin/npm"
    ln -sf ../lib/node_modules/npm/bin/npx-cli.js "$1/bin/npx"
}

# In the background, so that a signal is not held up until it has ended.
quietly() {
    local status=0
    TMPDIR=$work "$@" </dev/null >"$work/log" 2>&1 &
    child=$!
    wait "$child" || status=$?
    child=''
    [ "$status" -eq 0 ] || { tail -n 40 "$work/log" >&2 && die "This failed, with status $status: $*"; }
}

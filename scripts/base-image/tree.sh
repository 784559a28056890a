# shellcheck shell=bash disable=SC2034,SC2154 # its variables come from the other parts
# What was fetched, put together in the folder $work/tree. Sourced by build-base-image.sh.

make_tree() {
    say "Putting it together"
    # Both rooms bring devices of their own.
    tar -C "$work/tree" --numeric-owner --xattrs --xattrs-include='*' --exclude='./dev/*' -xpf "$cache/$base"
    [ -z "$node" ] || put_node
    [ -z "$openclaw" ] || tar -C "$work/tree/usr" --numeric-owner -xpf "$cache/$npm_tree"
    [ -z "$sources" ] || put_sources
    local bake
    for bake in "${bakes[@]}"; do
        [ ! -d "$bake/files" ] || tar -C "$bake/files" --owner=0 --group=0 -cf - . | tar -C "$work/tree" --no-overwrite-dir -xpf -
    done
}

# Unpacked on its own first, so that it cannot change the modes of Debian's folders.
put_node() {
    local prefix=$work/node
    unpack_node "$prefix" "$arch"
    [ -z "$trimming" ] || strip_node "$prefix/bin/node"
    tar -C "$prefix" --owner=0 --group=0 -cf - . | tar -C "$work/tree/usr" --no-overwrite-dir -xpf -
    rm -rf "$prefix"
}

# The one trim that needs a tool which is not in the image. Its debug symbols serve nobody there.
strip_node() {
    local tool before after
    before=$(stat -c %s "$1")
    for tool in "$machine-linux-gnu-strip" strip llvm-strip; do
        ! { command -v "$tool" && "$tool" --strip-unneeded "$1"; } >/dev/null 2>&1 || break
    done
    after=$(stat -c %s "$1")
    [ "$after" -lt "$before" ] || say "Nothing here strips programs for $machine, so Node stays as it is (Debian: apt-get install binutils-multiarch)."
    printf 'trim\tstrip-node\t%s\n' $(((before - after) / 1024)) >>"$work/steps"
}

put_sources() {
    rm -f "$work/tree"/etc/apt/sources.list.d/*
    install -m 644 "$sources" "$work/tree/etc/apt/sources.list"
}

# shellcheck shell=bash disable=SC2034,SC2154 # its variables come from the other parts
# From the folder to the file, with what can be said about it. Sourced by build-base-image.sh.

trim() {
    if [ -n "$trimming" ]; then
        say "Trimming"
        in_room trim >>"$work/steps"
    fi
}

last_trims() {
    in_room clean >>"$work/steps"
    sed 's/^trim\t//' "$work/steps" | awk -F'\t' '{ printf "  %-20s %6.1f MiB\n", $1, $2 / 1024 }' >&2
}

metadata() {
    cat <<YAML
architecture: $machine
creation_date: $SOURCE_DATE_EPOCH
properties:
  architecture: $machine
  description: taOS openclaw base image ($arch)
  os: debian
  release: $debian
  variant: $profile
templates:
  /etc/hostname:
    when: [create, copy, rename]
    template: hostname.tpl
  /etc/hosts:
    when: [create, copy, rename]
    template: hosts.tpl
YAML
}

templates() {
    mkdir -p "$work/templates"
    printf '{{ container.name }}\n' >"$work/templates/hostname.tpl"
    printf '127.0.0.1\tlocalhost\n127.0.1.1\t{{ container.name }}\n::1\tlocalhost ip6-localhost ip6-loopback\n' >"$work/templates/hosts.tpl"
}

# Each room leaves traces in the folders that it mounts something on.
mount_points() {
    local name
    for name in dev proc sys run tmp var/tmp; do
        rm -rf --one-file-system "${work:?}/tree/$name"
        mkdir -m 755 "$work/tree/$name"
    done
    chmod 1777 "$work/tree"/{tmp,var/tmp}
}

# Nothing in it depends on when, where or by whom it is made: names are sorted, times are bounded, owners are numbers, and the
# headers carry no process ids.
pack() {
    local long=()
    say "Packing, with zstd -$level"
    metadata >"$work/metadata.yaml"
    templates
    mount_points
    # Far-away repetitions are found with a window of 128 MiB, which every zstd unpacks without being asked to.
    [ "$level" -lt 10 ] || long=(--long=27)
    tar -C "$work" --sort=name --numeric-owner --xattrs --xattrs-include='security.capability' --format=pax \
        --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --mtime="@$SOURCE_DATE_EPOCH" --clamp-mtime \
        --transform 's,^tree,rootfs,S' -cf - metadata.yaml templates tree |
        zstd -q -T2 "-$level" "${long[@]}" -o "$work/$file"
}

# --- the manifest ---

manifest() {
    local list=$work/$ASSET-linux-$arch.manifest
    {
        printf 'image\tfile\t%s\n' "$file"
        printf 'image\tsha256\t%s\n' "$(sha256sum "$work/$file" | cut -d' ' -f 1)"
        printf 'image\tbytes\t%s\n' "$(stat -c %s "$work/$file")"
        printf 'image\tunpacked-kib\t%s\n' "$(entries | awk -F'\t' '!seen[$1]++ { kib += $2 } END { print kib }')"
        printf 'image\tprofile\t%s\n' "$profile${trimming:+, trimmed}"
        printf 'image\tas-of\t%s\n' "$as_of"
        printf 'check\t%s\n' "${checks[@]}"
        cat "$work/steps"
        parts
        # shellcheck disable=SC2016 # dpkg's own fields
        dpkg-query --admindir="$work/tree/var/lib/dpkg" -W -f 'package\t${Package}\t${Version}\t${Installed-Size}\n' | LC_ALL=C sort
        in_room modules
    } >"$list"
}

# Inode, KiB and path of each entry. Whole blocks of 4 KiB, and one for a folder: how many the file system of this machine
# took varies from one build to the next, even with the same files.
entries() {
    find "$work/tree" -xdev -printf '%i\t%y\t%s\t%P\n' |
        awk -F'\t' -v OFS='\t' '{ print $1, $2 == "f" ? int(($3 + 4095) / 4096) * 4 : ($2 == "d") * 4, $4 }'
}

# What belongs to what, in KiB. A file with several names counts once.
parts() {
    entries | awk -F'\t' '
        function part(path) {
            if (path ~ "^usr/lib/node_modules/openclaw/node_modules/") return "openclaw-dependencies"
            if (path ~ "^usr/lib/node_modules/openclaw/") return "openclaw"
            if (path ~ "^usr/lib/node_modules/npm/") return "npm"
            if (path ~ "^usr/(bin/node|include/node/)") return "node"
            if (path ~ "^usr/(lib/python|bin/python|share/python)") return "python"
            if (path ~ "^usr/(lib/git-core|bin/git|share/git)") return "git"
            if (path ~ "^usr/(share/perl|lib/[^/]*/perl|bin/perl)") return "perl"
            if (path ~ "^usr/(lib|libexec)/gcc|^usr/include/|^usr/bin/.*-(gcc|g[+][+]|cpp|ld|as)|^usr/lib/[^/]*/.*[.]a$") return "compiler"
            if (path ~ "^usr/lib/systemd") return "systemd"
            if (path ~ "^usr/share/(doc|man|info|locale)/") return "docs-and-locales"
            if (path ~ "^usr/lib/[^/]*-linux-gnu") return "libraries"
            if (path ~ "^usr/s?bin/") return "programs"
            if (path ~ "^usr/share/") return "shared-data"
            if (path ~ "^var/") return "var"
            return "rest"
        }
        !seen[$1]++ { kib[part($3)] += $2 }
        END { for (name in kib) printf "part\t%s\t%d\n", name, kib[name] }' | LC_ALL=C sort
}

# --- the budget ---

megabytes() { awk -v bytes="$(stat -c %s "$1")" 'BEGIN { printf "%.1f", bytes / 1e6 }'; }

# Only a file that is small enough gets its name.
within_budget() {
    local list=$ASSET-linux-$arch.manifest
    mkdir -p "$out"
    install -m 644 "$work/$list" "$out/$list"
    if [ "$(stat -c %s "$work/$file")" -le $((budget * 1000000)) ]; then
        install -m 644 "$work/$file" "$out/$file"
        return
    fi
    install -m 644 "$work/$file" "$out/$file.too-large"
    say "The image has $(megabytes "$work/$file") MB, and its budget is $budget MB. Its parts, in MiB unpacked, and what they grew since $(sizes):"
    grew "$work/$list" >&2
    die "Too large: $out/$file.too-large" \
        "Take out what grew, or say in the contents why more is right. $(sizes) is made of the lines 'part' of a manifest."
}

sizes() { echo "$HERE/sizes-$arch"; }

grew() { # grew MANIFEST
    local then=/dev/null
    [ ! -f "$(sizes)" ] || then=$(sizes)
    awk -F'\t' '$1 != "part" { next } FILENAME == ARGV[1] { was[$2] = $3; next } { printf "%.1f\t%s\t%+.1f\n", $3 / 1024, $2, ($3 - was[$2]) / 1024 }' "$then" "$1" |
        sort -t "$(printf '\t')" -k 3,3 -gr | awk -F'\t' '{ printf "  %-24s %8s %8s\n", $2, $1, $3 }'
}

# --- digests and signature ---

# One list for all images of the folder, as the program looks for it beside them.
sums() { # sums DIR
    local each signature=()
    (cd "$1" && for each in "$ASSET"-linux-*.tar.gz; do [ ! -f "$each" ] || sha256sum "$each"; done) >"$1/SHA256SUMS"
    [ -s "$1/SHA256SUMS" ] || die "There are no images in $1."
    [ -n "$key" ] || return 0
    needs minisign minisign
    # The same keys sign the same words in the same way; the time is that of the contents.
    signature=(-S -s "$key" -m "$1/SHA256SUMS" -x "$1/SHA256SUMS.minisig" -t "$ASSET as of $as_of")
    minisign "${signature[@]}" <<<"${TAOS_MINISIGN_PASSWORD:-}" >/dev/null || die "Signing $1/SHA256SUMS with $key failed."
}

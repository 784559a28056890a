# shellcheck shell=bash
# What no agent needs. Runs in the room; each step says what it recovered: `trim <TAB> name <TAB> KiB`.
# Files go, folders stay: packages' scripts write to /usr/share/man and its like and fail without them.

modules=/usr/lib/node_modules

used() { du -skx / 2>/dev/null | cut -f 1; }

before=$(used)
step() { # step NAME COMMAND...
    local name=$1 after
    shift
    "$@" >&2
    after=$(used)
    printf 'trim\t%s\t%s\n' "$name" $((before - after))
    before=$after
}

empty() { # empty DIR [TEST...]: the files in DIR for which the test holds
    local dir=$1
    shift
    [ ! -d "$dir" ] || find "$dir" -xdev ! -type d "$@" -delete
}

locales() { empty /usr/share/locale ! -path '/usr/share/locale/en*' ! -name locale.alias; }

# Who may copy what has to stay.
docs() { empty /usr/share/doc ! -name 'copyright*' && empty /usr/share/doc-base && empty /usr/share/lintian; }

man_pages() {
    empty /usr/share/man && empty /usr/share/info && empty /usr/share/groff
    mkdir -p /usr/share/man/man{1,2,3,4,5,6,7,8}
}

# Python makes them again, for what is used.
bytecode() { find /usr /opt /var/lib -xdev -type d -name __pycache__ -prune -exec rm -rf {} +; }

# Only compilers read them; the profile `full` has one.
node_headers() { [ "$PROFILE" = full ] || rm -rf /usr/include/node; }

node_docs() { rm -rf /usr/share/doc/node $modules/npm/docs $modules/npm/man; }

source_maps() { empty $modules -name '*.map'; }

# TypeScript reads its own when it runs.
typings() { empty $modules \( -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) ! -path '*/typescript/lib/*'; }

# The gateway serves the plain file where there is no packed one.
packed_ui() { empty $modules/openclaw/dist/control-ui \( -name '*.gz' -o -name '*.br' \); }

# Native modules for systems that this is not.
foreign_modules() {
    [ ! -d $modules ] || find $modules -xdev -type d \( -path '*/prebuilds/darwin-*' -o -path '*/prebuilds/win32-*' -o -name 'musl_x64' -o -name 'musl_arm64' \) \
        -prune -exec rm -rf {} +
}

# What is told to people who read the package, not to agents: only of dependencies, for openclaw's own docs are read by agents.
dependency_docs() {
    empty $modules/openclaw/node_modules -ipath '*/node_modules/*' \( -iname 'readme*.md' -o -iname 'changelog*.md' -o -iname 'history*.md' -o -iname 'contributing*.md' \)
}

hardware() { rm -f /usr/lib/udev/hwdb.bin /etc/udev/hwdb.bin && empty /usr/lib/udev/hwdb.d; }

# What apt installs later comes without them, too.
stay_away() {
    cat >/etc/dpkg/dpkg.cfg.d/taos-base-image <<'END'
# The base image has no manual pages, documentation and translations; see what is there with `dpkg --verify`.
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/groff/*
path-exclude=/usr/share/lintian/*
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright*
path-exclude=/usr/share/locale/*
path-include=/usr/share/locale/en*
path-include=/usr/share/locale/locale.alias
END
}

step locales locales
step docs docs
step man-and-info man_pages
step python-bytecode bytecode
step node-headers node_headers
step node-docs node_docs
step source-maps source_maps
step typings typings
step packed-ui packed_ui
step foreign-modules foreign_modules
step dependency-docs dependency_docs
step hardware-database hardware
stay_away

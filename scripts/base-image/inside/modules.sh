# shellcheck shell=bash
# The versions of everything that npm brought: `npm <TAB> name <TAB> version`.

[ -d /usr/lib/node_modules/npm ] || exit 0
# npm says 1 where a peer is missing that nobody needs.
{ npm ls --global --all --parseable --long || true; } 2>/dev/null | cut -d : -f 2 | grep '.@' |
    sed -E 's/^(.+)@([^@]+)$/npm\t\1\t\2/' | LC_ALL=C sort -u

# shellcheck shell=bash disable=SC2034,SC2154 # its variables come from the other parts
# The functional test of a finished image: everything that an agent does with it. Sourced by build-base-image.sh.

try_image() { # try_image FILE
    local check failures=0
    needs incus incus-client
    incus_answers || die "No Incus answers here, and the image is tried in a container of one."
    launch_image "$1"
    say "Trying $1"
    for check in "${checks[@]}"; do
        try_one "$check" || failures=$((failures + 1))
    done
    leave_incus
    [ "$failures" -eq 0 ] || die "$failures of ${#checks[@]} checks failed."
    say "All ${#checks[@]} checks passed."
}

launch_image() {
    make_pool
    import_scratch "$1"
    make_scratch
    [ "$network" = none ] || inc config device add "$BUILD" eth0 nic network="$network" name=eth0 </dev/null >/dev/null
    start_scratch
    [ "$network" = none ] || trust_as_host
}

# Where this machine trusts further certificate authorities, as behind a proxy that looks into TLS, the container that is tried
# has to as well. It is thrown away.
trust_as_host() {
    local authority extra=()
    mapfile -t extra < <(find /usr/local/share/ca-certificates -name '*.crt' 2>/dev/null)
    [ ${#extra[@]} -gt 0 ] || return 0
    for authority in "${extra[@]}"; do
        inc file push "$authority" "$BUILD/usr/local/share/ca-certificates/" --mode 0644 --quiet </dev/null
    done
    inc exec "$BUILD" --mode non-interactive -- update-ca-certificates </dev/null >"$work/log" 2>&1 ||
        die "Trusting the authorities of this machine in the container failed: $(cat "$work/log")"
}

try_one() {
    local begun=$SECONDS log=$work/check registry=''
    if [ "$network" != none ]; then registry=$(npm_registry); fi
    # The variables are those that npm and pip know, for both come without this machine's settings.
    if inc exec "$BUILD" --mode non-interactive -- env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        CHECK="$1" NETWORK="${network/none/}" OPENCLAW="$openclaw" NODE="$node" npm_config_registry="$registry" \
        NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
        timeout 900 bash -seuo pipefail <"$HERE/inside/check.sh" >"$log" 2>&1; then
        printf '  %-10s ok, %s s; %s\n' "$1" $((SECONDS - begun)) "$(tail -n 1 "$log" | cut -c 1-110)" >&2
    else
        printf '  %-10s FAILED\n' "$1" >&2
        tail -n 25 "$log" | sed 's/^/    /' >&2
        return 1
    fi
}

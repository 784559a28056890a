# shellcheck shell=bash disable=SC2154 # run, disk and log come from play.sh
# One throw-away machine: started, restarted, killed, spoken to. Sourced by play.sh, which has set `run` (a folder of its own) and
# `disk` (its name). What is written in it goes to an overlay in $run; the disk is never changed.

# --- how it is emulated ---

# Whether a machine really runs with KVM: /dev/kvm may be there and lead nowhere. Found out once for each cache.
accelerator() {
    case ${TAOS_VM_ACCEL:-} in
    kvm | tcg) echo "$TAOS_VM_ACCEL" && return ;;
    esac
    if [ "$(machine_of "$disk")" != "$(uname -m)" ] || [ ! -w /dev/kvm ]; then echo tcg && return; fi
    if [ ! -f "$CACHE/accelerator" ]; then
        local console=$run/kvm.console
        timeout 60 "$(emulator)" -accel kvm "${board[@]}" -nodefaults -no-user-config -display none -m 512 \
            -no-reboot -serial "file:$console" -kernel "$CACHE/$disk.kernel" -initrd "$CACHE/$disk.initrd" \
            -append "console=$serial panic=-1 rdinit=/nothing root=none" >/dev/null 2>&1 </dev/null || true
        if grep -q 'Kernel panic' "$console" 2>/dev/null; then echo kvm; else echo tcg; fi >"$CACHE/accelerator"
    fi
    cat "$CACHE/accelerator"
}

emulator() { echo "qemu-system-$(machine_of "$disk")"; }

# Sets `board`, `serial`.
choose_board() {
    case $(machine_of "$disk") in
    x86_64) board=(-machine q35 -cpu max) serial=ttyS0 ;;
    aarch64) board=(-machine virt -cpu cortex-a76) serial=ttyAMA0 ;;
    esac
}

free_port() {
    local port
    while true; do
        port=$((20000 + RANDOM % 10000))
        (: </dev/tcp/127.0.0.1/$port) 2>/dev/null || { echo $port && return; }
    done
}

# --- its life ---

readonly CPUS=${TAOS_VM_CPUS:-2} MEMORY=${TAOS_VM_MEMORY:-3072}

new_machine() {
    choose_board
    need "$(emulator)" "qemu-system-$([ "$(machine_of "$disk")" = aarch64 ] && echo arm || echo x86)"
    need qemu-img qemu-utils
    accel=$(accelerator)
    if [ "$accel" = kvm ]; then board=(-machine "${board[1]}" -cpu host); else accel=tcg,thread=multi,tb-size=512; fi
    say "The machine: $disk, ${accel%%,*}"
    local booted=$CACHE/$disk.booted-${accel%%,*}-$CPUS-$MEMORY
    if [ -f "$booted" ] && [ "$booted" -nt "$CACHE/$disk.raw" ]; then
        cp --reflink=auto --sparse=always "$booted" "$run/disk.qcow2"
        start_machine -loadvm booted
    else
        qemu-img create -q -f qcow2 -b "$CACHE/$disk.raw" -F raw "$run/disk.qcow2"
        start_machine
        incus_awake
        remember "$booted"
    fi
    incus_awake
    # It is started with an initrd that lies outside of it; to make another one after each package takes an emulated machine minutes.
    vm 'sed -i s/^update_initramfs=.*/update_initramfs=no/ /etc/initramfs-tools/update-initramfs.conf' >/dev/null
}

# Where machines are emulated, the daemon takes longer to start than the program waits for an answer (30 s, see --timeout). Scenarios
# that are not about that begin when it is there.
incus_awake() {
    if vm_quiet 'command -v incus' >/dev/null; then vm 'incus admin waitready --timeout 300' >/dev/null; fi
}

# Keeps the machine as it is now, just booted, with its memory: booting it takes minutes where it is emulated, and every scenario
# begins there.
remember() { # remember FILE
    hang_up
    monitor savevm booted
    cp --sparse=always "$run/disk.qcow2" "$1.${run##*/}"
    mv "$1.${run##*/}" "$1"
}

monitor() { # monitor COMMAND...: returns when it is done
    python3 "$VM/monitor.py" "$run/monitor" "$*" >>"$run/emulator.log" || die "The emulator did not do: $*" "$(tail -n 3 "$run/emulator.log")"
}

# `cache=unsafe` spares the host's disk. A power cut is the end of this process: what the machine has written by then is kept, what
# it still holds in its memory is lost, as with a true disk.
start_machine() { # start_machine [OPTIONS OF QEMU...]
    port=$(free_port)
    rm -f "$run/monitor"
    nice -n 2 "$(emulator)" -accel "$accel" "${board[@]}" -smp "$CPUS" -m "$MEMORY" \
        -nodefaults -no-user-config -display none -monitor "unix:$run/monitor,server=on,wait=off" \
        -serial "file:$run/console.new" -kernel "$CACHE/$disk.kernel" -initrd "$CACHE/$disk.initrd" \
        -append "root=LABEL=root rw console=$serial,115200 mitigations=off" \
        -drive "file=$run/disk.qcow2,if=virtio,cache=unsafe,discard=unmap,format=qcow2" -device virtio-rng-pci \
        -netdev "user,id=n0,hostfwd=tcp:127.0.0.1:$port-:22" -device virtio-net-pci,netdev=n0,romfile= "$@" \
        </dev/null >>"$run/emulator.log" 2>&1 &
    machine=$!
    local begun=$SECONDS
    until timeout 20 ssh "${ssh_options[@]}" -p "$port" root@127.0.0.1 true >/dev/null 2>&1 </dev/null; do
        kill -0 "$machine" 2>/dev/null || die "The emulator ended: $(tail -n 1 "$run/emulator.log")"
        sleep 1
    done
    vm "date -s @$(date +%s); systemctl is-system-running --wait" >/dev/null || true
    say "  up after $((SECONDS - begun)) s"
}

# The console of each life is kept.
keep_console() { cat "$run/console.new" >>"$log.console" 2>/dev/null || true; }

wait_machine() { # wait_machine SECONDS
    local until=$((SECONDS + $1))
    while kill -0 "$machine" 2>/dev/null; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 1
    done
    wait "$machine" 2>/dev/null || true
    machine=''
}

hang_up() { # the connections that are kept open
    local who
    for who in root user taos; do
        ssh "${ssh_options[@]}" -p "$port" -O exit "$who@127.0.0.1" >/dev/null 2>&1 || true
    done
}

# As a person restarts it.
reboot_machine() {
    say "== reboot"
    vm 'systemctl poweroff' >/dev/null || true
    hang_up
    wait_machine 180 || die "The machine did not shut down within three minutes."
    keep_console
    start_machine
}

# As the mains do.
cut_power() {
    say "== the power is cut"
    kill -KILL "$machine"
    wait "$machine" 2>/dev/null || true
    hang_up
    keep_console
    machine=''
}

end_machine() {
    if [ -n "${machine:-}" ]; then
        kill -KILL "$machine" 2>/dev/null || true
        wait "$machine" 2>/dev/null || true
        hang_up
        keep_console
        machine=''
    fi
}

# --- speaking to it ---

ssh_options=(-i "$CACHE/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=10
    -o BatchMode=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=8
    -o ControlMaster=auto -o "ControlPath=$run/ssh-%r-%p" -o ControlPersist=yes)

# Runs it as root, the test's own door; what it prints is shown in the log as well.
vm() { # vm COMMAND
    local status=0
    printf '%s # %s\n' "$(date +%T)" "$1" >&3
    ssh "${ssh_options[@]}" -p "$port" root@127.0.0.1 "$1" </dev/null 2>&1 | sed 's/\r$//' | tee -a /dev/fd/3 || status=$?
    return "$status"
}

# The same without a word in the log, for what is asked again and again.
vm_quiet() { ssh "${ssh_options[@]}" -p "$port" root@127.0.0.1 "$1" </dev/null 2>&1; }

# As somebody types it on a terminal. Standard input has what is waited for and answered, see type.py. `screen` gets what was to be seen.
typed() { # typed USER COMMAND
    local status=0
    printf '%s %s$ %s\n' "$(date +%T)" "$1" "$2" >&3
    python3 "$VM/type.py" "$run/screen" -- ssh "${ssh_options[@]}" -o ControlPath=none -tt -p "$port" "$1@127.0.0.1" "$2" >&3 2>&3 || status=$?
    # shellcheck disable=SC2034 # for checks
    screen=$(cat "$run/screen")
    return "$status"
}

# Puts a file or a folder of ours at a path of the machine.
put() { # put SOURCE PATH
    say "  put: ${1##*/} -> $2"
    tar -C "$(dirname "$1")" -cf - "$(basename "$1")" | ssh "${ssh_options[@]}" -p "$port" root@127.0.0.1 \
        "mkdir -p '$(dirname "$2")' && tar --no-same-owner -C '$(dirname "$2")' -xf - && [ '$(basename "$1")' = '$(basename "$2")' ] || mv '$(dirname "$2")/$(basename "$1")' '$2'"
}

"""foreign.py COMMAND...: runs COMMAND so that programs for arm64 run in it, through qemu-aarch64-static.

That takes a user namespace, with every id meaning itself, and a mount namespace: in them binfmt_misc can be mounted anew (since
Linux 6.7), and what is registered there is not seen by the rest of this machine. Needs root.
"""

import ctypes
import os
import subprocess
import sys

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
IDS = "0 0 4294967295\n"

# Where, in an ELF file's first bytes, it says: 64 bit, little-endian, executable or shared, AArch64.
MAGIC = r"\x7fELF\x02\x01\x01\x00" + r"\x00" * 8 + r"\x02\x00\xb7\x00"
MASK = r"\xff" * 7 + r"\x00" + r"\xff" * 8 + r"\xfe\xff\xff\xff"
RULE = f":taos-aarch64:M::{MAGIC}:{MASK}:/usr/bin/qemu-aarch64-static:F"
FOLDER = "/proc/sys/fs/binfmt_misc"


def unshare() -> None:
    """Moves this process into the new namespaces; the child, which stays outside, writes who is who in them."""
    moved, tell_moved = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell_moved)
        os.read(moved, 1)
        for kind in ("uid_map", "gid_map"):
            with open(f"/proc/{os.getppid()}/{kind}", "w", encoding="ascii") as file:
                file.write(IDS)
        os._exit(0)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS | CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "making namespaces")
    os.close(tell_moved)
    if os.waitpid(child, 0)[1] != 0:
        raise OSError("writing the ids of the namespace failed")
    os.setgid(0)
    os.setuid(0)


def main() -> None:
    unshare()
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", FOLDER], check=True)
    with open(f"{FOLDER}/register", "w", encoding="ascii") as file:
        file.write(RULE)
    os.execvp(sys.argv[1], sys.argv[1:])


main()

"""What a tree of files is, told by nothing that is under test: one digest for each aspect of all its paths, as JSON.

It has to be run in the tree's folder. Names are bytes; nothing follows a link.
"""

import errno
import fcntl
import hashlib
import json
import os
import stat

GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS
KEPT_FLAGS = {0x10: "immutable", 0x20: "append-only", 0x40: "no-dump"}
BLOCK = 1 << 20
ZEROS = bytes(BLOCK)

aspects = {}
first_names = {}
room = {}


def add(aspect, path, value):
    line = path + b"\0" + str(value).encode() + b"\0"
    aspects.setdefault(aspect, hashlib.sha256()).update(line)


def content(path):
    """Blocks of zeros count by where they are, so that a file of holes is read at the speed of memory."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        at = 0
        while block := file.read(BLOCK):
            if block != ZEROS[: len(block)]:
                digest.update(b"%d:" % at + block)
            at += len(block)
    return digest.hexdigest()


def flags(path):
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = int.from_bytes(fcntl.ioctl(file, GET_FLAGS, bytes(8))[:4], "little")
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP):
            raise
        found = 0
    finally:
        os.close(file)
    return [name for flag, name in KEPT_FLAGS.items() if found & flag]


def attributes(path):
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        if name == "security.selinux":
            continue
        aspect = "extended attributes"
        if name.startswith("system.posix_acl_"):
            aspect = "ACLs"
        elif name == "security.capability":
            aspect = "file capabilities"
        add(aspect, path, (name, os.getxattr(path, name, follow_symlinks=False)))


def look(path):
    it = os.lstat(path)
    kind = stat.S_IFMT(it.st_mode)
    add("names and kinds", path, (kind, it.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0))
    add("owners", path, (it.st_uid, it.st_gid))
    add("times to the nanosecond", path, it.st_mtime_ns)
    room[it.st_ino] = it.st_blocks * 512
    attributes(path)
    if kind == stat.S_IFLNK:
        add("targets of symbolic links", path, os.readlink(path))
    else:
        add("modes", path, stat.S_IMODE(it.st_mode))
    if kind == stat.S_IFREG:
        add("sizes", path, it.st_size)
        add("every byte", path, content(path))
    if kind in (stat.S_IFREG, stat.S_IFDIR):
        # Only what has some: on another file system there may be no such thing.
        for flag in flags(path):
            add("immutable and append-only flags", path, flag)
    if kind != stat.S_IFDIR and it.st_nlink > 1:
        add("hard links", path, first_names.setdefault(it.st_ino, path))


def walk(folder):
    for name in sorted(os.listdir(folder or b".")):
        path = os.path.join(folder, name)
        look(path)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            folders.append(path)


folders = [b""]
while folders:
    walk(folders.pop())
document = {aspect: digest.hexdigest() for aspect, digest in aspects.items()}
print(json.dumps({"aspects": document, "room": sum(room.values())}))

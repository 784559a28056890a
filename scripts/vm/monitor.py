"""monitor.py SOCKET COMMAND: gives qemu's monitor a command, and waits until it has done it. Prints its answer; 1 if that is an error."""

import socket
import sys

PROMPT = b"(qemu) "


def answer(line: socket.socket) -> bytes:
    got = b""
    while not got.endswith(PROMPT):
        more = line.recv(4096)
        if not more:
            break
        got += more
    return got


def main() -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(300)
        line.connect(sys.argv[1])
        answer(line)
        line.sendall(sys.argv[2].encode() + b"\n")
        said = answer(line).decode(errors="replace")
    print(said)
    sys.exit("Error" in said)


main()

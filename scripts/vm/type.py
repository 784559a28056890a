"""type.py SCREEN -- COMMAND...: runs COMMAND on a terminal and answers it. SCREEN gets all that was to be seen on it.

Standard input says what to do, a line each, in this order:
    ? TEXT      wait until TEXT is to be seen (after what was waited for before)
    > TEXT      type TEXT and Enter
    ! KEY...    press these keys: enter, down, up, space, escape, ctrl-c
    # SECONDS   how long to wait from now on; 600 to begin with
Then it waits for the end of COMMAND, and ends with its exit code; with 99 if something did not come in time or at all.
"""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

KEYS = {"enter": "\r", "down": "\x1b[B", "up": "\x1b[A", "space": " ", "escape": "\x1b", "ctrl-c": "\x03"}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>()][0-9AB]?|\r")
DRAWN_OVER = re.compile(r"\r|\x1b\[2?K")


class Terminal:
    """The person's side of the terminal."""

    def __init__(self, command: list[str]) -> None:
        self.child, self.end = pty.fork()
        if self.child == 0:
            os.environ["TERM"] = "xterm"
            os.execvp(command[0], command)
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 140, 0, 0))
        self.raw = b""
        self.seen = 0  # up to where it was looked at
        self.reported = 0  # bytes
        self.open = True

    def text(self) -> str:
        return ESCAPES.sub("", self.raw.decode("utf-8", "replace"))

    def read(self, seconds: float) -> None:
        if not self.open or not select.select([self.end], [], [], max(seconds, 0))[0]:
            return
        try:
            got = os.read(self.end, 65536)
        except OSError:  # the other side is closed
            got = b""
        self.open = bool(got)
        self.raw += got
        self.report()

    def report(self) -> None:
        """Prints the lines that are whole, as they look when all that was drawn over is gone."""
        *lines, _ = self.raw[self.reported :].split(b"\n")
        for line in lines:
            self.reported += len(line) + 1
            drawn = [part for part in DRAWN_OVER.split(line.decode("utf-8", "replace")) if part.strip()]
            print(ESCAPES.sub("", drawn[-1] if drawn else ""), flush=True)

    def wait_for(self, wanted: str, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while True:
            found = self.text().find(wanted, self.seen)
            if found >= 0:
                self.seen = found + len(wanted)
                return True
            if not self.open or time.monotonic() > until:
                return False
            self.read(min(1.0, until - time.monotonic()))

    def send(self, text: str) -> None:
        time.sleep(0.5)  # as a hand would, and a prompt may flush what came before it
        os.write(self.end, text.encode())

    def finish(self, seconds: float) -> int:
        until = time.monotonic() + seconds
        while self.open and time.monotonic() < until:
            self.read(1.0)
        if self.open:
            return 99
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])


def play(terminal: Terminal) -> int:
    patience = 600.0
    for line in sys.stdin.read().splitlines():
        kind, _, rest = line.strip().partition(" ")
        if kind == "?" and not terminal.wait_for(rest, patience):
            print(f"\n[not seen: {rest}]")
            return 99
        if kind == ">":
            terminal.send(rest + "\r")
        if kind == "!":
            for key in rest.split():
                terminal.send(KEYS[key])
        if kind == "#":
            patience = float(rest)
    return terminal.finish(patience)


def main() -> None:
    terminal = Terminal(sys.argv[3:])
    status = play(terminal)
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(terminal.text())
    sys.exit(status)


main()

#!/usr/bin/env python3
"""Plays a session on a pseudo-terminal and prints what the screen shows at its end, as JSON.

    record.py COLUMNS COMMAND [WAIT_FOR ANSWER]...

The terminal is so high that nothing scrolls away. Its first line is the command. Each line is a list
of [text, style], the style being words such as "bold green".
"""

import fcntl
import json
import os
import pty
import re
import select
import struct
import sys
import termios
import time

ROWS = 200
LIMIT = 60  # seconds, for the whole session
COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"]
CONTROL = re.compile(r"\x1b\[([?>0-9;]*)([A-Za-z])|\x1b[=>78]|\x1b\][^\x07]*\x07")


class Screen:
    """As much of a terminal as these programs use; anything else is an error, so that no picture shows what nobody saw."""

    def __init__(self, columns):
        self.columns = columns
        self.lines = [[]]
        self.row = self.column = 0
        self.style = set()
        self.rest = ""
        self.typed = 0  # how many of the next characters are a person's

    def feed(self, text):
        text = self.rest + text
        self.rest = ""
        at = 0
        while at < len(text):
            char = text[at]
            if char == "\x1b":
                match = CONTROL.match(text, at)
                if not match:
                    if len(text) - at > 64:
                        raise ValueError(f"unknown control sequence: {text[at:at + 20]!r}")
                    self.rest = text[at:]
                    return
                self.control(match.group(1) or "", match.group(2) or "")
                at = match.end()
                continue
            if char == "\n":
                self.move(self.row + 1)
            elif char == "\r":
                self.column = 0
            elif char == "\b":
                self.column = max(0, self.column - 1)
            elif char >= " ":
                self.put(char)
            elif char != "\a":
                raise ValueError(f"unknown control character: {char!r}")
            at += 1

    def put(self, char):
        if self.column >= self.columns:
            self.column = 0
            self.move(self.row + 1)
        line = self.lines[self.row]
        while len(line) <= self.column:
            line.append((" ", ""))
        style = self.style | ({"typed"} if self.typed > 0 else set())
        self.typed -= 1
        line[self.column] = (char, " ".join(sorted(style)))
        self.column += 1

    def move(self, row):
        self.row = max(0, row)
        while len(self.lines) <= self.row:
            self.lines.append([])

    def control(self, words, kind):
        if words.startswith("?") or kind in "hl":
            return  # whether the cursor is seen, and the like
        numbers = [int(word or 0) for word in words.split(";")]
        count = max(1, numbers[0])
        line = self.lines[self.row]
        if kind == "m":
            if numbers[:2] == [38, 5] and numbers[2] < 16:
                numbers = [30 + numbers[2] % 8]
            for number in numbers:
                self.dress(number)
        elif kind == "A":
            self.move(self.row - count)
        elif kind == "B":
            self.move(self.row + count)
        elif kind == "C":
            self.column += count
        elif kind == "D":
            self.column = max(0, self.column - count)
        elif kind == "G":
            self.column = count - 1
        elif kind == "K":
            if numbers[0] == 0:
                del line[self.column:]
            elif numbers[0] == 2:
                line.clear()
            else:
                raise ValueError("erasing to the left")
        elif kind == "J" and numbers[0] == 0:
            del line[self.column:]
            del self.lines[self.row + 1:]
        elif kind != "":
            raise ValueError(f"unknown control sequence: {words}{kind}")

    def dress(self, number):
        if number == 0:
            self.style.clear()
        elif number in (1, 2, 3, 4):
            self.style.add({1: "bold", 2: "dim", 3: "italic", 4: "underline"}[number])
        elif number in (22, 23, 24):
            self.style -= {"bold", "dim"} if number == 22 else {"italic" if number == 23 else "underline"}
        elif 30 <= number <= 37 or 90 <= number <= 97:
            self.style -= set(COLOURS)
            self.style.add(COLOURS[number % 10])
        elif number == 39:
            self.style -= set(COLOURS)
        else:
            raise ValueError(f"unknown style {number}")

    def text(self):
        return "\n".join("".join(char for char, _ in line).rstrip() for line in self.lines)

    def runs(self):
        """The lines as runs of one style each, without blanks at the end."""
        result = []
        for line in self.lines:
            while line and line[-1][0] == " ":
                line.pop()
            runs = []
            for char, style in line:
                if runs and runs[-1][1] == style:
                    runs[-1][0] += char
                else:
                    runs.append([char, style])
            result.append(runs)
        while result and not result[-1]:
            result.pop()
        return result


def play(columns, command, answers):
    process, terminal = pty.fork()
    if process == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        os.environ["TERM"] = "xterm-256color"
        os.environ.pop("NO_COLOR", None)
        os.execvp("sh", ["sh", "-c", f"exec {command}"])
    screen, answers, passed = Screen(columns), list(answers), 0
    written, end = "", time.monotonic() + LIMIT
    while True:
        if time.monotonic() > end:
            raise TimeoutError(f"the session does not end; waiting for {answers[:1]}; the screen:\n{screen.text()}")
        ready, _, _ = select.select([terminal], [], [], 1)
        if not ready:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:
            part = b""
        if not part:
            break
        text = part.decode(errors="replace")
        screen.feed(text)
        written += text
        while answers and answers[0][0] in written[passed:]:
            wait_for, answer = answers.pop(0)
            passed = written.index(wait_for, passed) + len(wait_for)
            time.sleep(0.2)  # a person does not answer at once either
            if answer.strip() == answer.rstrip():  # a key pressed in a list is not echoed
                screen.typed = len(answer.rstrip())
            os.write(terminal, answer.encode())
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status or answers:
        raise RuntimeError(f"ended with {status}, answers left: {answers}; the screen:\n{screen.text()}")
    return screen.runs()


def main():
    columns, command, *rest = sys.argv[1:]
    answers = [(wait_for, answer + "\r") for wait_for, answer in zip(rest[::2], rest[1::2])]
    runs = play(int(columns), command, answers)
    lines = ",\n".join(json.dumps(line, ensure_ascii=False) for line in [[["$ ", "prompt"], ["sudo " + command, "typed"]], *runs])
    print(f"[\n{lines}\n]")


main()

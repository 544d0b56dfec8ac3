"""The animated picture of the README, from a real terminal: `python docs/terminal_picture.py OUT.svg COMMAND...`.

Runs the command in a pseudo-terminal of 100 columns, keeps what it wrote and when, plays it 20 times as fast, two frames a
second, and draws it with termtosvg (`pip install termtosvg`), which xlray does not need otherwise.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

COLUMNS, ROWS = 100, 34
FASTER, FRAMES_PER_S = 20.0, 2.0
LAST_FRAME_MS = 8_000


def recorded(command: list[str]) -> list[tuple[float, str]]:
    """(seconds since the start, what was written then) of a command in a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    started, found = time.monotonic(), []
    while True:
        try:
            data = os.read(terminal, 65_536)
        except OSError:  # Linux's way to say that the other end is closed
            data = b""
        if not data:
            os.waitpid(pid, 0)
            return found
        found.append((time.monotonic() - started, data.decode(errors="replace")))


def cast(events: list[tuple[float, str]], command: str) -> str:
    """The events as an asciicast, faster, with all that happens within a frame at its beginning."""
    frames: dict[int, str] = {0: f"$ {command}\r\n"}
    for seconds, text in events:
        frame = 1 + int(seconds / FASTER * FRAMES_PER_S)
        frames[frame] = frames.get(frame, "") + text.replace(f"{Path.cwd()}/", "")
    head = json.dumps({"version": 2, "width": COLUMNS, "height": ROWS})
    return "\n".join([head, *(json.dumps([frame / FRAMES_PER_S, "o", text]) for frame, text in sorted(frames.items()))])


if __name__ == "__main__":
    out, command = sys.argv[1], sys.argv[2:]
    made = cast(recorded(command), " ".join([Path(command[0]).name, *command[1:]]))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.cast"
        file.write_text(made + "\n")
        subprocess.run(["termtosvg", "render", str(file), out, "-D", str(LAST_FRAME_MS)], check=True)

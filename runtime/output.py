"""What the supervisor writes: line by line, each with the name of the process it comes from; and a log file each."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import IO

_COLOURS = (36, 33, 35, 32, 34, 31)
_LOG_LIMIT_BYTES = 10_000_000


class Terminal:
    """Standard output. When nobody reads it any more (a closed terminal, `| head`), the installation runs on."""

    def __init__(self, names: list[str]) -> None:
        self._lock = threading.Lock()
        self._width = max([len(name) for name in names] + [len("run")])
        is_plain = not sys.stdout.isatty() or os.environ.get("TERM") == "dumb" or "NO_COLOR" in os.environ
        self._colours = {} if is_plain else {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
        self._is_open = True

    def say(self, text: str) -> None:
        """A word of the supervisor's own."""
        for line in text.splitlines():
            self.line("run", line)

    def line(self, name: str, text: str) -> None:
        prefix = f"{name:<{self._width}} | "
        colour = self._colours.get(name)
        self.write(f"\033[{colour}m{prefix}\033[0m{text}" if colour else prefix + text)

    def box(self, rows: list[tuple[str, str]], title: str) -> None:
        """A frame around `label  value` rows, in plain ASCII where the terminal may not know better."""
        label_width = max(len(label) for label, _ in rows)
        lines = [title, "", *(f"{label:<{label_width}}   {value}" for label, value in rows)]
        width = max(len(line) for line in lines) + 4
        can_draw = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8" and os.environ.get("TERM") != "dumb"
        top, side, bottom = ("╭─╮", "│", "╰─╯") if can_draw else ("+-+", "|", "+-+")
        framed = [f"{side}  {line:<{width - 2}}{side}" for line in lines]
        self.write(
            "\n".join(["", top[0] + top[1] * width + top[2], *framed, bottom[0] + bottom[1] * width + bottom[2], ""])
        )

    def write(self, text: str) -> None:
        with self._lock:
            if not self._is_open:
                return
            try:
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
            except UnicodeEncodeError:
                sys.stdout.write(text.encode("ascii", "replace").decode() + "\n")
            except OSError:
                self._is_open = False
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - else the interpreter fails again when it flushes at exit


class LogFile:
    """A log of limited size: when it is full it becomes `<name>.log.1`, and a new one begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._opened()

    def write(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()
        if self._file.tell() > _LOG_LIMIT_BYTES:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._opened()

    def close(self) -> None:
        self._file.close()

    def _opened(self) -> IO[bytes]:
        return self._path.open("ab")

"""A terminal that tests look at: what stands on its screen, and what has scrolled away above."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Callable

import pyte

SECONDS = 60
PICTURE_ENDS = b"\x1b[?2026l"


def shown_lines(text: str, columns: int) -> list[str]:
    """What stands on a terminal so wide after a text, row by row."""
    screen = pyte.Screen(columns, 500)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    rows = [row.rstrip() for row in screen.display]
    return rows[: screen.cursor.y]


class Screen:
    """A pseudo-terminal of some size, and a person's view of it.

    Attributes:
        end: The file descriptor that a process writes to.
        sent: All bytes that arrived.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self._ours, self.end = pty.openpty()
        self._screen = pyte.HistoryScreen(columns, rows, history=1000)
        self._stream = pyte.ByteStream(self._screen)
        self.sent = b""
        self._set_size(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        """Right after a picture. Lines that no longer fit wrap, as they do in most terminals."""
        seen = len(self.sent)
        while len(self.sent) == seen or not self.sent.endswith(PICTURE_ENDS):
            self._read(0.1)
        self._set_size(columns, rows)
        lines = self.lines
        self._screen.resize(rows, columns)
        self._screen.erase_in_display(2)
        self._screen.cursor_position()
        self._stream.feed("\r\n".join(lines).encode())

    @property
    def lines(self) -> list[str]:
        """What is seen, without the empty lines below it."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip("\n").split("\n")

    @property
    def above(self) -> list[str]:
        """What one would scroll up to."""
        columns = range(self._screen.columns)
        rows = self._screen.history.top
        return ["".join(row[column].data for column in columns).rstrip() for row in rows]

    @property
    def cursor_is_hidden(self) -> bool:
        return self._screen.cursor.hidden

    def until(self, seen: Callable[[list[str]], bool]) -> list[str]:
        """The lines as soon as they are as one waits for."""
        deadline = time.monotonic() + SECONDS
        while not seen(self.lines):
            assert time.monotonic() < deadline, "\n".join([*self.above, *self.lines])
            self._read(0.1)
        return self.lines

    def rest(self) -> None:
        """Reads what is left."""
        while self._read(0):
            pass

    def close(self) -> None:
        os.close(self._ours)
        os.close(self.end)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        sent = os.read(self._ours, 1 << 16)
        self.sent += sent
        self._stream.feed(sent)
        return True

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

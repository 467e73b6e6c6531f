"""The lower end of a terminal, where a table stands while other lines go above it."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment, Segments

from paribus.sweeps.watching.table import Table

_REFRESHES = 4  # a second


def _code(text: str) -> Segment:
    return Segment(text, None, [(ControlType.BELL,)])  # rich has no names for these


# Terminals that know this show a picture when it is whole: no flicker.
_BEGIN, _END = _code("\x1b[?2026h"), _code("\x1b[?2026l")
# What a terminal takes to be wider than it was measured is clipped, not wrapped: a wrapped line
# would be one more than is cleared for the next picture.
_CLIP, _WRAP = _code("\x1b[?7l"), _code("\x1b[?7h")


class LowerEnd(RenderHook):
    """Draws a table at the lower end of a terminal for as long as the block lasts.

    What is written to standard error meanwhile goes above it. At the end it disappears.

    Args:
        table: What is drawn.
        console: Where.
    """

    def __init__(self, table: Table, console: Console) -> None:
        self._table, self._console = table, console
        self._live = Live(
            get_renderable=lambda: self,
            console=console,
            refresh_per_second=_REFRESHES,
            transient=True,
            redirect_stdout=False,
        )
        self._drawn: list[int] = []  # the lines' widths
        self._width = console.width

    def __enter__(self) -> LowerEnd:
        self._live.start()
        self._console.push_render_hook(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._console.pop_render_hook()
        self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self._table.lines(options.size.width, options.size.height)
        self._drawn, self._width = [line.cell_len for line in lines], options.size.width
        yield _CLIP
        for number, line in enumerate(lines):
            yield from [Segment.line()] * bool(number)
            yield line
        yield from (_WRAP, _END)

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Clears the lines that wrapped when the terminal became narrower than the last picture."""
        width, more = self._console.width, 0
        if width < self._width:
            more = sum((cells - 1) // width for cells in self._drawn if cells)
        self._width = width
        up = (ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)
        return [Segments([_BEGIN]), Control(*up * more), *renderables]

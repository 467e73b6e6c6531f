"""A live table at the lower end of a terminal, while other lines go above it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment, Segments
from rich.text import Text

from paribus.sweeps.formatting import about, cut_middle, number
from paribus.sweeps.progress.progress_state import ProgressState, SettingProgress, State

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

    def __exit__(self, *_error: object) -> None:
        self._console.pop_render_hook()
        self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self._table.lines(options.size.width, options.size.height)
        self._drawn, self._width = [line.cell_len for line in lines], options.size.width
        yield _CLIP
        for place, line in enumerate(lines):
            yield from [Segment.line()] * bool(place)
            yield line
        yield from (_WRAP, _END)

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Clear the lines that wrapped when the terminal became narrower than the last picture."""
        width, more = self._console.width, 0
        if width < self._width:
            more = sum((cells - 1) // width for cells in self._drawn if cells)
        self._width = width
        up = (ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)
        return [Segments([_BEGIN]), Control(*up * more), *renderables]


# The table of settings that is seen while a study is trained, and the bar of a single run.

_CHOOSE_EVERY = 3.0  # seconds: which settings are shown changes no more often
_NARROW = 60  # columns below which words give way
_WIDEST = 120  # columns; further apart, what belongs together is not seen together
_STYLES: dict[State, str] = {"waiting": "dim", "failed": "red", "stopped": "yellow"}


class Table:
    """The progress of training, line by line, in whatever room there is."""

    def __init__(
        self, progress: ProgressState, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._progress, self._clock = progress, clock
        self._chosen: frozenset[str] = frozenset()
        self._chosen_for, self._chosen_at = (0, 0), -_CHOOSE_EVERY

    def lines(self, width: int, height: int) -> list[Text]:
        """Return at most as many lines as the height less two, none wider than the width."""
        progress, width = self._progress, min(width - 1, _WIDEST)
        settings = progress.settings()
        best = progress.best(settings)
        if progress.name is None:
            return [_bar(progress, width, best)]
        room = height - 2
        lines = [_bar(progress, width), _best(progress, best, width)]
        last = [_line(width, (progress.warning, "yellow"))] if progress.warning else []
        rows = room - len(lines) - len(last) - 1  # the heading
        if rows < 2:
            return [*lines, *last][: max(1, room)]
        shown = self._choose(settings, rows)
        lines += _rows(progress, settings, shown, best, width)
        if len(shown) < len(settings):
            lines.append(_line(width, (_others(settings, shown), "dim")))
        return lines + last

    def _choose(self, settings: list[SettingProgress], rows: int) -> list[SettingProgress]:
        """Return the settings that are shown, in their order: the same ones for some seconds."""
        if len(settings) <= rows:
            return settings
        now, wanted = self._clock(), (len(settings), rows)
        if wanted != self._chosen_for or now - self._chosen_at >= _CHOOSE_EVERY:
            self._chosen = frozenset(choose(self._progress, settings, rows - 1))
            self._chosen_for, self._chosen_at = wanted, now
        return [setting for setting in settings if setting.label in self._chosen]


def choose(progress: ProgressState, settings: Sequence[SettingProgress], rows: int) -> list[str]:
    """Return the labels of the settings that most deserve a row.

    First the baseline, which is planned first, and the best, then what is in training, what went
    wrong, and again the best.
    """
    ranked = progress.ranked(settings)
    wanted = chain(
        settings[:1],
        ranked[: max(1, rows // 3)],
        (s for s in settings if s.state == "training"),
        (s for s in settings if s.state in ("failed", "stopped")),
        ranked,
        settings,
    )
    return list(dict.fromkeys(setting.label for setting in wanted))[:rows]


def _rows(
    progress: ProgressState,
    settings: Sequence[SettingProgress],
    shown: Sequence[SettingProgress],
    best: SettingProgress | None,
    width: int,
) -> list[Text]:
    """Return heading and rows; widths follow from what is planned, so that columns keep still."""
    narrow = width < _NARROW
    gap, training = (" ", "") if narrow else ("  ", "training ")
    runs = max(4, *(len(f"{s.runs}/{s.runs}") for s in settings))
    epochs = max(len(_epoch(s.epoch[1], s.epoch[1])) for s in settings)
    ends = max(len("waiting"), epochs + len(training))
    labels = max(cell_len(cut_middle(s.label, width)) for s in settings)
    left = width - (4 if narrow else 7) - runs - ends
    heading = "mean" if narrow else "mean so far"
    if labels + len(whole := f"mean {progress.metric} so far") <= left:
        heading = whole
    value = max(8, len(heading))
    sizes = max(7, min(labels, left - value)), runs, value, ends

    def line(cells: Sequence[str], styles: Sequence[str]) -> Text:
        label, run, mean, state = map(cut_middle, cells, sizes)
        aligned = (
            f" {set_cell_size(label, sizes[0])}{gap}", run.rjust(runs) + gap,
            mean.rjust(value), gap + state,
        )  # fmt: skip
        return _line(width, *zip(aligned, styles, strict=True))

    lines = [line(("setting", "runs", heading, "state"), ("dim",) * 4)]
    for s in shown:
        state = f"{training}{_epoch(*s.epoch)}" if s.state == "training" else s.state
        whole = "dim" if s.state == "waiting" else ""
        styles = whole, whole, "bold green" if s == best else whole, _STYLES.get(s.state, "")
        lines.append(line((s.label, f"{s.done}/{s.runs}", number(s.value), state), styles))
    return lines


def _bar(progress: ProgressState, width: int, best: SettingProgress | None = None) -> Text:
    """Return runs done, their share of all epochs, the best value, the time left, failures."""
    narrow = width < _NARROW
    name = "" if narrow or not progress.name else cut_middle(progress.name, width // 3) + "  "
    head = f"{name}{progress.done}/{progress.total} runs "
    words = [f"{100 * progress.share:3.0f} %"]
    if best:
        words.append(f"best {'' if narrow else progress.metric + ' '}{number(best.value)}")
    states: tuple[State, ...] = ("failed", "stopped")
    wrong = [f"{progress.states[state]} {state}" for state in states if progress.states[state]]
    if narrow and len(wrong) > 1:
        wrong = [f"{sum(progress.states[state] for state in states)} failed"]
    if (left := progress.seconds_left()) is not None:
        words.append(about(left) if narrow else f"about {about(left)} left")
    tail = "  ".join(words)
    trouble = "  " + ", ".join(wrong) if wrong else ""
    room = min(40, width - cell_len(head) - len(tail) - len(trouble) - 1)
    full = round(max(0, room) * progress.share)
    return _line(
        width,
        (head, "bold"),
        ("━" * full, "green"),
        ("─" * (room - full), "dim"),
        (f" {tail}", ""),
        (trouble, "red"),
    )


def _best(progress: ProgressState, best: SettingProgress | None, width: int) -> Text:
    if best is None:
        return _line(width, ("no epoch is done yet", "dim"))
    head = f"best {progress.metric} so far " if width >= _NARROW else "best "
    head += f"{number(best.value)}: "
    tail = f" (mean of {best.of})" if best.of > 1 else " (one run)"
    label = cut_middle(best.label, max(8, width - len(head) - len(tail)))
    return _line(width, (head, ""), (label, "bold"), (tail, "dim"))


def _others(settings: Sequence[SettingProgress], shown: Sequence[SettingProgress]) -> str:
    """``and 280 more: 120 done, 160 waiting``"""
    seen = {setting.label for setting in shown}
    states = Counter(setting.state for setting in settings if setting.label not in seen)
    order: tuple[State, ...] = ("done", "training", "waiting", "failed", "stopped")
    parts = [
        f"{states[state]} {'in ' * (state == 'training')}{state}"
        for state in order
        if states[state]
    ]
    return f" and {len(settings) - len(shown)} more: {', '.join(parts)}"


def _epoch(epoch: int, epochs: int) -> str:
    """``14/20``; an epoch alone where only its function knows how many there will be."""
    return f"{epoch}/{epochs}" if epochs else str(epoch)


def _line(width: int, *parts: tuple[str, str]) -> Text:
    """Return one line; a part that is too wide is cut in its middle."""
    line, left = Text(no_wrap=True, end=""), width
    for text, style in parts:
        text = cut_middle(text, left)
        line.append(text, style)
        left -= cell_len(text)
    return line

"""Numbers, times and names of the user's as a person reads them, in the room there is."""

import re
from collections.abc import Sequence
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

from paribus.core.errors import first_few, shown

_ITEM = re.compile(r"[,;] ")  # what separates items
_WORD = re.compile(r"[ ,;]+")
_NUMBER_BEGUN = re.compile(r"[-+]?\d[\d.]*(e[-+]?\d*)?$")
_NUMBER_GOES_ON = re.compile(r"^[\d.]*\d(e[-+]?\d+)?")
_ROUNDING = 1e-12  # what float64 leaves of a difference that is none
_LARGE = 1e7  # from which on decimals say nothing


def number(value: float | None, digits: int = 4) -> str:
    """Return a metric in four decimals, or three digits if it is small."""
    return _decimal(value, "", digits, 0.001, 3)


def signed(value: float | None, digits: int = 4) -> str:
    """Return a difference with its sign."""
    return _decimal(value, "+", digits, 10**-digits, 2)


def _decimal(value: float | None, sign: str, decimals: int, smallest: float, digits: int) -> str:
    if value is None:
        return "–"
    if abs(value) < _ROUNDING:
        value = 0.0
    if abs(value) >= _LARGE:
        return f"{value:{sign}.4g}"
    usual = abs(value) >= smallest or value == 0
    return f"{value:{sign}.{decimals}f}" if usual else f"{value:{sign}.{digits}g}"


def listed(words: Sequence[str], most: int = 10**9) -> str:
    """Return ``a, b and c``; of more than `most` the first."""
    if len(words) > most:
        return first_few(words, most)
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def duration(seconds: float) -> str:
    """Return seconds, minutes or hours, rounded."""
    if seconds < 1:
        return f"{seconds:.2g} s"
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def about(seconds: float) -> str:
    """Return an estimate of a time; coarse, so that it does not flicker."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 90:
        return f"{5 * round(seconds / 5)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def cut(text: str, cells: int, *, items: bool = False) -> str:
    """Return a line that fits into so many cells: cut after a whole word, with an ellipsis.

    With `items` it is cut after a whole item of a list. An item that is too long is cut anywhere
    but within a number.
    """
    if cell_len(text) <= cells:
        return text
    head = set_cell_size(text, max(0, cells - 1)).rstrip()
    pattern, most = (_ITEM, len(head) - 2) if items else (_WORD, len(head))
    ends = [match.start() for match in pattern.finditer(text) if match.start() <= most]
    if ends and ends[-1] > len(head) // 2:
        return f"{text[: ends[-1] + 1]} …" if items else f"{text[: ends[-1]]}…"
    return f"{_whole(text, len(head))}…"


def distinct_cuts(texts: Sequence[str], cells: int) -> list[str]:
    """Cut texts; those that would look the same keep their ends instead."""
    short = [cut(text, cells) for text in texts]
    return [
        one if one == text or short.count(one) == 1 else cut_middle(text, cells)
        for text, one in zip(texts, short, strict=True)
    ]


@lru_cache(maxsize=4096)
def cut_middle(text: str, cells: int) -> str:
    """Return text of the user's that fits into so many cells: inert, on one line.

    It is cut in its middle, as labels often differ in their ends.
    """
    line = shown(text, 10_000)
    if cell_len(line) <= cells:
        return line
    if cells < 1:
        return ""
    start = len(line)
    while cell_len(line[start - 1 :]) <= (cells - 1) // 2:
        start -= 1
    tail = line[start:]
    if line[start - 1].isdigit() or line[start - 1] == ".":
        tail = _NUMBER_GOES_ON.sub("", tail)
    head = set_cell_size(line, cells - 1 - cell_len(tail))
    return f"{_whole(line, len(head)) if line.startswith(head) else head}…{tail}"


def _whole(text: str, end: int) -> str:
    """Return the text up to there, without a number that goes on."""
    head, more = text[:end], text[end : end + 1]
    return _NUMBER_BEGUN.sub("", head) if more.isdigit() or more in (".", "e") else head


def without_credentials(url: str) -> str:
    """Return a database's URL without user, password and options, to be shown or stored."""
    scheme, separator, rest = url.partition("://")
    if scheme.startswith("sqlite"):
        return url
    # A password may hold '/', ':' and '@': nothing before the last '@' is shown.
    return scheme + separator + rest.partition("?")[0].rpartition("@")[2]

"""Errors a person can act on: what is wrong, where, the valid choices, the next step."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

MISSING = "missing-data"  # the kind of fault that a file of data which is not there is
MISUSED = "misused"  # that of a script's command which will fail whatever the setting


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a request."""

    message: str  # what is wrong, where, and what is valid there; one line
    hint: str = ""  # the next step: what to type or change
    kind: str = "request"  # a word by which a caller knows a fault that it acts on

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ParibusError(Exception):
    """Base of the errors that are shown as a message, never as a traceback."""

    exit_code = 1
    default_kind = "failed"

    def __init__(self, message: str, hint: str = "", kind: str = "") -> None:
        super().__init__(message, hint, kind)
        self.faults = [Fault(message, hint, kind or self.default_kind)]

    @property
    def kind(self) -> str:
        return self.faults[0].kind

    @property
    def message(self) -> str:
        return "\n".join(fault.message for fault in self.faults)

    @property
    def hint(self) -> str:
        return "\n".join(fault.hint for fault in self.faults if fault.hint)

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


class ProcessEnded(ParibusError):
    """A process that a run needs was ended from outside: a loader worker, or its command."""


class RequestError(ParibusError):
    """The request was wrong; nothing was created. Exit code 2."""

    exit_code = 2
    default_kind = "request"

    @classmethod
    def of(cls, faults: Iterable[Fault]) -> RequestError:
        """Return one error for all faults of a request, each named once."""
        distinct = list(dict.fromkeys(faults))
        error = cls(distinct[0].message, distinct[0].hint, distinct[0].kind)
        error.faults = distinct
        return error

    def __reduce__(self) -> tuple[Callable[..., RequestError], tuple[list[Fault]]]:
        # Workers raise these too: all faults have to survive the pipe.
        return RequestError.of, (self.faults,)


def bad_data(message: str, hint: str = "") -> RequestError:
    """Return the error of data that cannot be used."""
    return RequestError(message, hint, "data")


class DamagedError(ParibusError):
    """A file does not hold what was written to it. Exit code 1."""

    default_kind = "damaged"


@dataclass
class Faults:
    """Collects the faults of one request, so that all are reported together."""

    found: list[Fault] = field(default_factory=list)

    def add(self, message: str, hint: str = "", kind: str = "request") -> None:
        self.found.append(Fault(message, hint, kind))

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Turn a `RequestError` of the block into collected faults."""
        try:
            yield
        except RequestError as error:
            self.found.extend(error.faults)

    def check(self) -> None:
        """Raise one `RequestError` if anything was found."""
        if self.found:
            raise RequestError.of(self.found)


@contextmanager
def rewording(change: Callable[[Fault], Fault]) -> Iterator[None]:
    """Change the faults of an error that the block, or the decorated function, raises."""
    try:
        yield
    except ParibusError as error:
        error.faults = [change(fault) for fault in error.faults]
        raise


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice most like `name`, or None if none is close."""
    choices = list(choices)
    swapped = {name[:n] + name[n : n + 2][::-1] + name[n + 2 :] for n in range(len(name) - 1)}
    if typed := swapped.intersection(choices) - {name}:  # difflib takes adma for adamax
        return min(typed)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    return close[0] if close else None


def one_of(choices: Iterable[str]) -> str:
    """Return the choices as they stand in a message: ``a, b or c``."""
    items = sorted(choices)
    return " or ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def many(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 run``, ``3 runs``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def first_few(names: Sequence[str], most: int = 5) -> str:
    """Return the names with commas; of more than `most` the first: ``a, b and 7 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def did_you_mean(name: str, choices: Iterable[str], otherwise: str | None = None) -> str:
    """Return ``Did you mean 'relu'?``; where none is close `otherwise`, or the valid choices."""
    choices = list(choices)
    if close := nearest(name, choices):
        return f"Did you mean '{close}'?"
    if otherwise is None and choices:
        return f"Choose {one_of(choices)}."
    return otherwise or ""


# Joiners of letters and of the parts of an emoji, and the place where a word may break.
_HARMLESS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}\N{SOFT HYPHEN}"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def inert(text: str) -> str:
    """Return text without what moves the cursor or turns letters; line breaks and tabs stay."""
    stays = _HARMLESS + "\n\t"
    return "".join(
        c if c.isprintable() or c in stays or unicodedata.category(c) == "Zs" else _REPLACEMENT
        for c in text
    )


def shown(text: object, limit: int = 80) -> str:
    """Return a user's text for a message: one line, no control characters, not too long."""
    line = "".join(c if c.isprintable() else _REPLACEMENT for c in str(text))
    return line if len(line) <= limit else line[: limit - 1] + "…"

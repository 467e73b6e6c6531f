"""Which examples are in which part: by shares or folds, classes, groups and times."""

from __future__ import annotations

import hashlib
import json
import math
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from paribus.core.config.schema import Split
from paribus.core.data.arrays import NUMERIC, Array
from paribus.core.data.load import Source
from paribus.core.data.tables import Table
from paribus.core.errors import RequestError, did_you_mean, first_few, many, shown
from paribus.core.rng import derive

Rows = npt.NDArray[np.int64]

MANY = 20  # classes; more may be meant as quantities


def rows_of_parts(source: Source, split: Split, fold: int | None) -> list[Rows]:
    """Return the positions of train, val and test, each in ascending order.

    Args:
        source: What `load` returned, as one set of examples.
        split: How, resolved.
        fold: Which of the split's folds validates; None: nothing does, all but test trains.

    Raises:
        RequestError: The split does not fit the data.
    """
    if split.time_on:
        return _by_time(source, split, fold)
    generator = np.random.Generator(np.random.PCG64(derive(split.seed, "data", "split")))
    strata = _strata(source, split) if split.method == "stratified" else None
    divide = _grouped if split.group_on else _folded if split.val_fraction is None else _divided
    chosen = divide(source, split, strata, generator)
    if fold is None:
        *others, test = chosen
        chosen = [np.concatenate(others), np.empty(0, dtype=np.int64), test]
    elif split.val_fraction is None:
        *folds, left, test = chosen
        chosen = [np.concatenate([*folds[:fold], *folds[fold + 1 :], left]), folds[fold], test]
    return [np.sort(rows) for rows in chosen]


def fingerprint(source: Source, split: Split) -> str:
    """Return the source's, with the columns that the split goes by if there are any."""
    if not split.columns:
        return source.fingerprint
    cells = [[key, _column(source, split, key).astype(str).tolist()] for key in split.columns]
    return hashlib.sha256(json.dumps([source.fingerprint, cells]).encode()).hexdigest()


@dataclass(frozen=True)
class Codes:
    """Values as whole numbers from 0 on, int64 `[N]`, their names, and what one is called."""

    of: Rows
    names: Sequence[str]
    what: str = "class"


def _strata(source: Source, split: Split) -> Codes:
    """Return what stratification keeps the shares of: a column's values, or the classes."""
    if split.stratify_on:
        return _codes(source, split, "stratify_on")
    if source.class_names is None or source.targets != "classes":
        raise _refusal(
            "split.method=stratified needs classes, and these targets are quantities.",
            "Use split.method=random or split.method=in_order.",
        )
    return Codes(source.parts["all"].targets.numpy(), source.class_names)


def _codes(source: Source, split: Split, key: str) -> Codes:
    cells = _column(source, split, key).astype(str)
    names, codes = np.unique(cells, return_inverse=True)
    return Codes(codes, names.tolist(), shown(split.columns[key]))


def _column(source: Source, split: Split, key: str) -> Array:
    """Return the cells of the column that a key of the split names: `[N]`, none of them empty.

    Raises RequestError if there is none, or it is among the features too.
    """
    import pandas

    name, whole = split.columns[key], source.parts["all"]
    features, setting = source.columns or (), f"split.{key}={shown(name)}"
    kept = whole.store.kept if isinstance(whole.store, Table) else None
    if name in features and name not in (kept or ()):
        hint = f"data.leave_out=[{shown(name)}] takes it out, data.keep=[{shown(name)}] keeps it."
        hint = hint if kept is not None else "Return it beside the features, not among them."
        raise _refusal(f"{setting}: the column is a feature too, which a model could go by.", hint)
    cells = whole.beside.get(name)
    if cells is None:
        known = [*whole.beside, *features]
        hint = f'Return (features, targets, {{"{shown(name)}": array}}), one value per example.'
        held = f"; it has {shown(', '.join(known), 200)}" if known else ""
        hint = did_you_mean(name, known) if known else hint
        raise _refusal(f"{setting}: {source.name} has no such column{held}.", hint)
    if empty := int(pandas.isna(cells).sum()):
        raise _refusal(
            f"{setting}: empty cells in the column: {empty}.", "Fill them, or leave their rows out."
        )
    return cells


def _refusal(text: str, hint: str) -> RequestError:
    return RequestError(text, hint, "split")


def _times(source: Source, split: Split) -> tuple[Array, Any]:
    """Return the times, numbers `[N]`, and the gap in their unit."""
    import pandas

    cells, gap = _column(source, split, "time_on"), split.gap
    length: float | None = None
    setting, example = f"split.time_on={shown(split.time_on)}", f"'{shown(cells[0], 40)}'"
    is_float, are_dates = cells.dtype.kind == "f", cells.dtype.kind not in NUMERIC
    readings, hint = [cells], "Give a number of at least 0."
    if not are_dates:
        with suppress(TypeError, ValueError, OverflowError):
            length = float(gap or 0) if is_float else math.ceil(float(gap or 0))
    else:
        readings, hint = [], "Give a duration, such as 7d or 12h."
        forms: Any = ({"format": "ISO8601"}, {"dayfirst": False}, {"dayfirst": True})
        for form in forms[: 1 if cells.dtype.kind == "M" else 3]:
            with warnings.catch_warnings(), suppress(ValueError, TypeError, UserWarning):
                warnings.simplefilter("ignore")
                warnings.filterwarnings("error", "Could not infer format")  # else any word may do
                dates = pandas.to_datetime(pandas.Series(cells), utc=True, **form)
                # In the unit that they were read in: the years of nanoseconds are 1677 to 2262.
                readings.append(dates.dt.tz_localize(None).to_numpy())
                if "format" in form:
                    break
        with suppress(ValueError, TypeError, IndexError):
            text = re.sub(r"(?<=\d)d$", "D", gap) if isinstance(gap, str) else "0s"
            unit = pandas.Timedelta(1, unit=np.datetime_data(readings[0].dtype)[0])
            length = int(-(-pandas.Timedelta(text) // unit))
    if not readings or any((one != readings[0]).any() for one in readings):
        why = "may have its day or its month first"
        if not readings:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dates = pandas.to_datetime(pandas.Series(cells), utc=True, errors="coerce")
            row = int(dates.isna().to_numpy().argmax())
            example = f"'{shown(cells[row], 40)}' (row {row + 1})"
            why = "is neither a number nor a date"
        raise _refusal(f"{setting}: {example} {why}.", "Write dates as 2026-01-31.")
    fits = gap is None or isinstance(gap, str) == are_dates
    if length is None or length < 0 or not fits:
        raise _refusal(f"split.gap={gap} does not fit {setting}, such as {example}.", hint)
    times = readings[0].view(np.int64) if are_dates else readings[0]
    return times.astype(np.float64) if is_float else times, length


def _by_time(source: Source, split: Split, fold: int | None) -> list[Rows]:
    """Return train, val and test in the order of time; equal times are never in two parts.

    A part begins at the time nearest to its share; what lies in the gap before it is in none.
    """
    times, gap = _times(source, split)
    order = np.argsort(times, kind="stable")
    starts = np.flatnonzero(np.diff(times[order])) + 1  # of each time but the first
    examples, test = len(times), round(len(times) * split.test_fraction)
    if len(starts) < (2 if test else 1):
        text = f"split.time_on={shown(split.time_on)}: {many(len(starts) + 1, 'different time')}"
        raise _refusal(f"{text} for {3 if test else 2} parts.", "Name a column with more.")

    def nearest(begins: Rows, wanted: int) -> int:
        return int(begins[np.abs(begins - wanted).argmin()])

    def before(low: int, high: int) -> Rows:
        rows = order[low:high]
        # Python's numbers: those of numpy would overflow.
        return rows if high == examples else rows[times[rows] <= times[order[high]].item() - gap]

    end = nearest(starts[1:], examples - test) if test else examples
    val = round(examples * (split.val_fraction or 0))
    begin = end if fold is None else nearest(starts[starts < end], examples - test - val)
    parts = [before(0, begin), before(begin, end), order[end:]]
    if not all(map(len, parts[: 1 if fold is None else 2])):
        raise _refusal(
            f"split.gap={split.gap} leaves nothing to train or validate on.", "Lower it."
        )
    if split.group_on:
        groups = _codes(source, split, "group_on")
        seen = np.concatenate([np.unique(groups.of[rows]) for rows in parts])
        if len(torn := np.flatnonzero(np.bincount(seen) > 1)):
            raise _refusal(
                f"split.time_on={shown(split.time_on)} divides {len(torn)} of the "
                f"{len(groups.names)} values of split.group_on={groups.what}, such as "
                f"'{shown(groups.names[torn[0]])}', which has rows before and after.",
                "Leave one of the two out.",
            )
    return [np.sort(rows) for rows in parts]


def _grouped(
    source: Source, split: Split, strata: Codes | None, generator: np.random.Generator
) -> list[Rows]:
    """Return the positions of parts, or of folds, nothing and test, with whole groups in each.

    Greedy, as StratifiedGroupKFold of scikit-learn: the largest group first, equal ones in a drawn
    order, each to where the sum of (share held)² / (share wanted) grows least, over all examples
    and each stratum; without strata that is the emptiest fold. The last go where there is none.
    """
    groups, test = _codes(source, split, "group_on"), split.test_fraction
    folds, share = split.folds or 1, split.val_fraction
    wanted = [1 - share - test, share] if share else [(1 - test) / folds] * folds + [0.0]
    real = np.flatnonzero(shares := np.array([*wanted, test]))
    if shares.min() < 0 or len(groups.names) < len(real):
        raise _refusal(
            f"split.group_on={groups.what} has {many(len(groups.names), 'value')} for "
            f"{len(real)} parts{' whose shares are more than 1' if shares.min() < 0 else ''}.",
            "Lower split.folds or the fractions, or name a column with more values.",
        )
    counts = np.bincount(groups.of)[:, None]
    if strata:
        kinds = len(strata.names)
        each = np.bincount(groups.of * kinds + strata.of, minlength=len(counts) * kinds)
        counts = np.concatenate([counts, each.reshape(-1, kinds)], axis=1)
    load, held = counts / counts.sum(axis=0), np.zeros((len(shares), counts.shape[1]))
    order, place_of = generator.permutation(len(load)), np.empty(len(load), dtype=np.int64)
    order = order[np.argsort(-_total(load[order] ** 2), kind="stable")]
    for left, group in zip(range(len(order), 0, -1), order, strict=True):
        empty = real[held[real, 0] == 0]
        may = empty if len(empty) >= left else real
        growth = _total((2 * held[may] + load[group]) * load[group]) / shares[may]
        place_of[group] = place = may[growth.argmin()]
        held[place] += load[group]
    return [np.flatnonzero(place_of[groups.of] == place) for place in range(len(shares))]


def _total(values: Array) -> Array:
    """Return the sums of rows, added in order, so that ties are the same on every machine."""
    total: Array = np.cumsum(values, axis=1)[:, -1]
    return total


def _divided(
    source: Source, split: Split, strata: Codes | None, generator: np.random.Generator
) -> list[Rows]:
    """Return the positions of train, val and test by their shares."""
    examples = len(source.parts["all"])
    assert split.val_fraction is not None
    val, test = (round(examples * share) for share in (split.val_fraction, split.test_fraction))
    train = examples - val - test
    if val < 1 or train < 1:
        what, hint = "training", "Lower them."
        if val < 1:
            what, hint = "validation", "Raise split.val_fraction."
        raise _refusal(
            f"split.val_fraction={split.val_fraction!r} and "
            f"split.test_fraction={split.test_fraction!r} leave no {what} example of {examples}.",
            hint,
        )
    if strata:
        return _stratified(strata, (train, val, test), generator)
    in_order = split.method == "in_order"
    order = np.arange(examples) if in_order else generator.permutation(examples)
    return np.split(order, [train, train + val])


def _folded(
    source: Source, split: Split, strata: Codes | None, generator: np.random.Generator
) -> list[Rows]:
    """Return the positions of each fold, of the up to folds - 1 that are left over, and of test.

    Folds are equally large. Stratified, their counts of a class differ by at most one: each class
    is dealt out in turn, and the next one goes on where it ended.
    """
    examples, folds = len(source.parts["all"]), split.folds or 1
    test = round(examples * split.test_fraction)
    size, left = divmod(examples - test, folds)
    if size < 1:
        raise _refusal(
            f"split.folds={folds} and split.test_fraction={split.test_fraction!r}: of {examples} "
            f"examples {examples - test} are left, too few for so many folds.",
            "Lower them; split.folds=1 has one validation part for all seeds.",
        )
    if strata is None:
        order = generator.permutation(examples)
        cuts = [*range(size, size * folds + 1, size), examples - test]
        return np.split(order, cuts)
    codes = strata.of
    counts = np.bincount(codes)
    rest = allot(counts, (examples - test, 0, test))[:, 0]
    if len(few := np.flatnonzero(rest < folds)):
        _refuse_small_classes(strata, counts, few, f"folds={folds} cannot have each "
            f"{strata.what} in each fold beside {test} test examples",
            f"Set split.folds={rest.min()}, or use "
            if rest.min() > 1 else "Set split.folds=1, or use ")  # fmt: skip
    by_class = [generator.permutation(np.flatnonzero(codes == code)) for code in range(len(counts))]
    tests = [rows[n:] for rows, n in zip(by_class, rest, strict=True)]
    over = []
    for _ in range(left):  # each from the class that is then the largest
        rest[(code := int(rest.argmax()))] -= 1
        over.append(by_class[code][rest[code]])
    turns = np.concatenate([rows[:n] for rows, n in zip(by_class, rest, strict=True)])
    return [
        *(turns[fold::folds] for fold in range(folds)),
        np.array(over, dtype=np.int64),
        np.concatenate(tests),
    ]


def _stratified(
    strata: Codes, sizes: tuple[int, int, int], generator: np.random.Generator
) -> list[Rows]:
    """Return the positions for each part, class after class."""
    codes = strata.of
    counts = np.bincount(codes)
    allotted = allot(counts, sizes)
    lacking = np.flatnonzero((allotted[:, :2] == 0).any(axis=1))
    if len(lacking):
        _refuse_small_classes(
            strata, counts, lacking,
            f"method=stratified cannot have each {strata.what} in train ({sizes[0]} examples) and "
            f"val ({sizes[1]}) by its share", "Use ",
        )  # fmt: skip
    chosen = []
    for code, (train, val, _) in enumerate(allotted):
        rows = generator.permutation(np.flatnonzero(codes == code))
        chosen.append(np.split(rows, [train, train + val]))
    return [np.concatenate(part) for part in zip(*chosen, strict=True)]


def _refuse_small_classes(
    strata: Codes, counts: Rows, few: npt.NDArray[np.intp], what: str, remedy: str
) -> NoReturn:
    named = [f"'{shown(strata.names[code])}' ({counts[code]})" for code in few]
    hint = f"{remedy}split.method=random."
    if len(counts) > MANY:
        hint = f"Are these {len(counts)} different values quantities? Then "
        hint += "task=regression." if strata.what == "class" else "leave split.stratify_on out."
    elif counts[few].min() < 2:  # it cannot be both trained on and validated on
        hint = "Give more examples of it, or leave it out."
    raise RequestError(
        f"split.{what}; too few examples in {strata.what} {first_few(named)}.",
        hint,
        kind="small-classes",
    )


def allot(counts: Rows, sizes: tuple[int, int, int]) -> Rows:
    """Allot examples of each class to each part by largest remainder: int64 `[classes, 3]`.

    Rows add up to `counts` and columns to `sizes`. Each entry is its exact share rounded down or
    up; a class is rounded up where it would be missing in train or val, as far as that can be.
    The shares rounded up are those with the largest sum of remainders: the greatest choice for
    each class, then the cheapest exchanges until the parts have their sizes (successive shortest
    paths, so the result is optimal; Ahuja, Magnanti & Orlin, Network Flows, 1993, section 9.7).
    """
    examples = int(counts.sum())
    down, remainder = np.divmod(np.outer(counts, sizes), examples)
    value = remainder.copy()
    value[:, :2] += np.where((down == 0) & (remainder > 0), 3 * examples * len(counts), 0)[:, :2]
    ups = remainder.sum(axis=1) // examples
    ranks = np.argsort(np.argsort(-value, axis=1, kind="stable"), axis=1)
    up = ranks < ups[:, None]
    while True:
        excess = (down + up).sum(axis=0) - sizes
        if not excess.any():
            allotted: Rows = (down + up).astype(np.int64)
            return allotted
        for row, giver, taker in _cheapest_exchange(up, remainder > 0, value, excess):
            up[row, giver], up[row, taker] = False, True


def _cheapest_exchange(
    up: npt.NDArray[np.bool_], may_rise: npt.NDArray[np.bool_], value: Rows, excess: Rows
) -> list[tuple[int, int, int]]:
    """Return steps (class, from part, to part) from a part with too many to one with too few."""
    never = np.iinfo(np.int64).max // 4
    step: dict[tuple[int, int], tuple[int, int]] = {}  # cost and class of the cheapest step
    for giver, taker in ((a, b) for a in range(3) for b in range(3) if a != b):
        possible = up[:, giver] & ~up[:, taker] & may_rise[:, taker]
        cost = np.where(possible, value[:, giver] - value[:, taker], never)
        step[giver, taker] = (int(cost.min()), int(cost.argmin()))
    paths = []
    for giver in np.flatnonzero(excess > 0).tolist():
        for taker in np.flatnonzero(excess < 0).tolist():
            via = 3 - giver - taker
            paths.append([(giver, taker)])
            paths.append([(giver, via), (via, taker)])
    best = min(paths, key=lambda path: sum(step[pair][0] for pair in path))
    return [(step[giver, taker][1], giver, taker) for giver, taker in best]

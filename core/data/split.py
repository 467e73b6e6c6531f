"""The split of examples into parts: a function of counts, labels and a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from paribus.core.errors import Faults, RequestError, did_you_mean, shown
from paribus.core.rng import derive

Rows = npt.NDArray[np.int64]
Method = Literal["stratified", "random", "in_order", "none"]

PARTS = ("train", "val", "test")
MANY = 20  # classes; more may be meant as quantities


def split_rows(
    codes: Rows | None,
    examples: int,
    method: Method,
    seed: int,
    fractions: tuple[float, float],
    class_names: Sequence[str] = (),
) -> tuple[Rows, Rows, Rows]:
    """Return sorted positions of the training, validation and test examples: int64 each.

    Args:
        codes: Class of each example, int64 `[N]`, or None where targets are no classes.
        examples: N.
        method: How examples are chosen; `none` puts all of them in every part.
        seed: The configuration's `split.seed`.
        fractions: Of the validation and of the test part; these sizes are rounded, the training
            part gets the rest.
        class_names: For messages.

    Raises:
        RequestError: The method does not fit the data, or the fractions do not.
    """
    if method not in get_args(Method):
        hint = did_you_mean(str(method), get_args(Method))
        raise RequestError(f"split.method={shown(method)} is not known.", hint, kind="split")
    everything = np.arange(examples)
    if method == "none":
        return everything, everything, everything
    sizes = _part_sizes(examples, *fractions)
    train, val, _ = sizes
    generator = np.random.Generator(np.random.PCG64(derive(seed, "data", "split")))
    if method == "stratified":
        if codes is None:
            raise RequestError(
                "split.method=stratified needs classes, and these targets are quantities.",
                "Use split.method=random or split.method=in_order.",
                kind="split",
            )
        chosen = _stratified(codes, sizes, generator, class_names)
    else:
        order = everything if method == "in_order" else generator.permutation(examples)
        chosen = np.split(order, [train, train + val])
    train_rows, val_rows, test_rows = map(np.sort, chosen)
    return train_rows, val_rows, test_rows


def _part_sizes(examples: int, val_fraction: float, test_fraction: float) -> tuple[int, int, int]:
    """Return the number of examples in train, val and test."""
    faults = Faults()
    for key, fraction in (("val", val_fraction), ("test", test_fraction)):
        if not 0 <= fraction < 1:
            faults.add(
                f"split.{key}_fraction={fraction!r} is no fraction; valid is 0 up to (not "
                "including) 1.",
                kind="split",
            )
    faults.check()
    val, test = round(examples * val_fraction), round(examples * test_fraction)
    train = examples - val - test
    for size, what, hint in (
        (val, "validation", "Raise split.val_fraction."),
        (train, "training", "Lower them."),
    ):
        if size < 1:
            faults.add(
                f"split.val_fraction={val_fraction!r} and split.test_fraction={test_fraction!r} "
                f"leave no {what} example of {examples}.",
                hint,
                kind="split",
            )
    faults.check()
    return train, val, test


def _stratified(
    codes: Rows,
    sizes: tuple[int, int, int],
    generator: np.random.Generator,
    class_names: Sequence[str],
) -> list[Rows]:
    """Return the positions for each part, class after class."""
    counts = np.bincount(codes)
    allotted = allot(counts, sizes)
    lacking = np.flatnonzero((allotted[:, :2] == 0).any(axis=1))
    if len(lacking):
        named = [f"'{shown(class_names[code])}' ({counts[code]})" for code in lacking[:5]]
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise RequestError(
            f"split.method=stratified cannot have each class in train ({sizes[0]} examples) and "
            f"val ({sizes[1]}) by its share; too few examples in class {', '.join(named)}{more}.",
            "Use split.method=random."
            if len(counts) <= MANY
            else f"Are these {len(counts)} different values quantities? Then task=regression.",
            kind="split",
        )
    chosen = []
    for code, (train, val, _) in enumerate(allotted):
        rows = generator.permutation(np.flatnonzero(codes == code))
        chosen.append(np.split(rows, [train, train + val]))
    return [np.concatenate(part) for part in zip(*chosen, strict=True)]


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

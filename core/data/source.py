"""Calls a data function and normalises what it returned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.utils.data import Dataset

from paribus.core.data.arrays import Array, float32
from paribus.core.data.forms import ACCEPTED, Raw, raw_of, update
from paribus.core.data.part import Items, Part
from paribus.core.data.tables import Table
from paribus.core.data.targets import (
    Classes,
    Labels,
    Quantities,
    encode_classes,
    encode_labels,
    encode_quantities,
)
from paribus.core.errors import RequestError, did_you_mean, shown
from paribus.core.seeding import digest_of_globals, seeded_globals

Targets = Literal["classes", "labels", "values"]

_READY_MADE = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Source:
    """What a data function returned, normalised, not yet split or standardized.

    Attributes:
        name: The data function's name, for messages.
        parts: `{"all": …}`, or ready-made parts by name (`test` may be missing).
        input_shape: Shape of one example's input.
        outputs: Number of classes, of labels, or of target columns.
        class_names: Names in the order of the codes; None for quantities.
        columns: Names of the features, if known.
        fingerprint: sha256 over all that was returned.
        decoding: How a file becomes an input, for images.
        drawn: Whether the function drew from the generators that `split.seed` seeds.
    """

    name: str
    parts: Mapping[str, Part]
    input_shape: tuple[int, ...]
    outputs: int
    class_names: tuple[str, ...] | None
    columns: tuple[str, ...] | None
    fingerprint: str
    decoding: Mapping[str, Any] | None = None
    drawn: bool = False


def load(
    function: Callable[..., Any],
    keywords: Mapping[str, Any],
    *,
    name: str,
    seed: int,
    targets: Targets,
) -> Source:
    """Calls `function(**keywords)` and normalises what it returns.

    The global generators of Python, numpy and torch are seeded during the call and restored after.

    Args:
        function: The data component.
        keywords: Its keyword arguments.
        name: What messages call it.
        seed: The configuration's `split.seed`.
        targets: Whether an example has one class, several labels, or quantities.

    Raises:
        RequestError: It raised, or returned something that cannot be used; says what and where.
    """
    try:
        with seeded_globals(seed, "data"):
            start = digest_of_globals()
            returned = function(**keywords)
            drawn = digest_of_globals() != start
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(
            f"{name} raised {type(error).__name__}: {shown(error, 200).rstrip('.')}.",
            "Mend it, or give it other keywords: data.KEYWORD=VALUE.",
            "data",
        ) from error
    raws = _raw_parts(returned, name)
    columns, class_names, shape = _agreed(raws, name)
    labelled = {key: (raw.targets, raw.where) for key, raw in raws.items()}
    names: tuple[str, ...] | None = None
    code: Classes | Labels | Quantities
    if targets == "values":
        exact, outputs = encode_quantities(labelled)
        code = Quantities(outputs)
        ready = {key: float32(numbers) for key, numbers in exact.items()}
    else:
        encode = encode_classes if targets == "classes" else encode_labels
        exact, code = encode(labelled, class_names)
        names, outputs = code.names, len(code.names)
        ready = {key: torch.from_numpy(codes) for key, codes in exact.items()}
    made = {key: _part(raw, ready[key], code) for key, raw in raws.items()}
    fingerprint = _fingerprint(raws, exact, columns, names)
    decoding = next(iter(raws.values())).decoding
    return Source(name, made, shape, outputs, names, columns, fingerprint, decoding, drawn)


def _part(raw: Raw, targets: torch.Tensor, code: Classes | Labels | Quantities) -> Part:
    if isinstance(raw.inputs, Dataset):
        return Part(Items(raw.inputs, torch.arange(len(targets)), code.encode), targets)
    return Part(raw.inputs, targets)


def _raw_parts(returned: Any, name: str) -> dict[str, Raw]:
    if isinstance(returned, tuple) and len(returned) == 3:
        returned = dict(zip(_READY_MADE, returned, strict=True))
    elif not (isinstance(returned, Mapping) and set(returned) & set(_READY_MADE)):
        return {"all": raw_of(returned, name)}
    given = {key: part for key, part in returned.items() if part is not None}
    for key in given:
        if key not in _READY_MADE:
            hint = did_you_mean(str(key), _READY_MADE)
            raise RequestError(
                f"{name} returned parts with an unknown one, '{shown(key)}'; valid are train, "
                "val and test.",
                hint,
                kind="data",
            )
    for key in ("train", "val"):
        if key not in given:
            raise RequestError(
                f"{name} returned ready-made parts without {key}; train and val are needed, test "
                "may be missing.",
                ACCEPTED,
                kind="data",
            )
    return {key: raw_of(given[key], f"{name}, {key}") for key in _READY_MADE if key in given}


def _agreed(
    raws: Mapping[str, Raw], name: str
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None, tuple[int, ...]]:
    """What all parts must have in common: columns and what they hold, class names, shape."""
    first = next(iter(raws.values()))
    for key, raw in raws.items():
        for what, mine, theirs in (
            ("columns", raw.columns, first.columns),
            ("class names", raw.class_names, first.class_names),
            ("words in the columns", _word_columns(raw.inputs), _word_columns(first.inputs)),
            ("an input shape", raw.shape, first.shape),
            ("inputs of type", (type(raw.inputs).__name__,), (type(first.inputs).__name__,)),
        ):
            if mine != theirs:
                raise RequestError(
                    f"{name}: part {key} has {what} {shown(_listed(mine))}, part train has "
                    f"{shown(_listed(theirs))}.",
                    "All parts need the same.",
                    kind="data",
                )
    return first.columns, first.class_names, first.shape


def _word_columns(inputs: object) -> tuple[str, ...]:
    """Columns of words; all others hold numbers."""
    cells = inputs.columns if isinstance(inputs, Table) else {}
    return tuple(name for name, held in cells.items() if held.dtype.kind == "O")


def _listed(given: tuple[Any, ...] | None) -> object:
    return None if given is None else list(given)


def _fingerprint(
    raws: Mapping[str, Raw],
    exact: Mapping[str, Array],
    columns: tuple[str, ...] | None,
    names: tuple[str, ...] | None,
) -> str:
    digest = hashlib.sha256()
    digest.update(json.dumps([columns, names]).encode())
    for key, raw in raws.items():
        digest.update(json.dumps([key, raw.digest]).encode())
        update(digest, exact[key])
    return digest.hexdigest()

"""What a file of weights says of the data that it was trained on, held to the data here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.core.errors import Faults, shown


@dataclass(frozen=True)
class TrainedOn:
    """What a model's inputs and outputs meant; None: not known, or there is no such thing.

    Attributes:
        class_names: In the order of the outputs.
        words: The vocabulary of texts, in the order of the ids.
        columns: Of a table; those of words with their categories.
        standardized: Whether inputs had mean 0 and deviation 1.
    """

    class_names: list[str] | None
    words: list[str] | None
    columns: list[str] | None
    standardized: bool

    @classmethod
    def of(cls, preprocessing: Mapping[str, Any]) -> TrainedOn:
        """The same, of `paribus.core.data.Data.preprocessing`."""
        columns = preprocessing["columns"]
        if "table" in preprocessing:
            columns = [_column(column) for column in preprocessing["table"]["columns"]]
        return cls(
            class_names=_texts(preprocessing["class_names"]),
            words=_texts(preprocessing["text"]["vocabulary"] if "text" in preprocessing else None),
            columns=_texts(columns),
            standardized=preprocessing["standardize"] is not None,
        )


def trained_on(file: Path) -> TrainedOn | None:
    """What a run's ``best.safetensors`` carries; None of any other file.

    Args:
        file: It was read as weights before.
    """
    from safetensors import safe_open

    if file.suffix != ".safetensors":
        return None
    with safe_open(file, "pt") as opened:
        text = (opened.metadata() or {}).get("preprocessing", "")
    try:
        return TrainedOn.of(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None  # what another program means by the word


def refuse_other_inputs(then: TrainedOn, here: TrainedOn, source: str) -> None:
    """Refuses weights whose inputs meant something else than those of the data here.

    Mean and scale may differ: they are always those of the training part here.

    Args:
        then: What the file was trained on.
        here: What would be trained on.
        source: What a message calls the file.

    Raises:
        RequestError: Listing what differs.
    """
    faults = Faults()
    for what, first, second in (
        ("words", then.words, here.words),
        ("columns", then.columns, here.columns),
    ):
        if first is not None and second is not None and first != second:
            faults.add(
                f"{source} was trained on other {what}: {_difference(first, second)}.",
                f"Take data with the {what} of the file, in their order, or leave "
                "train.start_from out.",
                "weights",
            )
    if then.standardized != here.standardized:
        word = "standardized inputs" if then.standardized else "inputs as they are"
        faults.add(
            f"{source} was trained on {word}, and standardize={_word(here.standardized)} here.",
            f"Set standardize={_word(then.standardized)}, or leave train.start_from out.",
            "weights",
        )
    faults.check()


def other_classes(then: TrainedOn, here: TrainedOn) -> str | None:
    """How the classes of a file are named otherwise than here; None where they are not."""
    if then.class_names == here.class_names:
        return None
    first, second = (
        "none" if names is None else shown(", ".join(names))
        for names in (then.class_names, here.class_names)
    )
    return f"classes {first} in the file, {second} here"


def _texts(found: Any) -> list[str] | None:
    if found is not None and not isinstance(found, list):
        raise TypeError
    return None if found is None else [str(one) for one in found]


def _column(column: Mapping[str, Any]) -> str:
    name: str = column["name"]
    return f"{name} ({', '.join(column['categories'])})" if "categories" in column else name


def _word(value: bool) -> str:
    return str(value).lower()


def _difference(then: Sequence[str], here: Sequence[str]) -> str:
    """The names that only one of two lists has; where there are none, the order differs."""
    told = []
    for names, others, place in ((then, here, "in the file"), (here, then, "here")):
        known = set(others)
        if only := [name for name in names if name not in known]:
            more = f" and {len(only) - 5} more" if len(only) > 5 else ""
            told.append(f"only {place} {shown(', '.join(only[:5]))}{more}")
    return "; ".join(told) or "they stand in another order"

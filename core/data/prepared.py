"""Prepared data: split, standardized, and described for components and records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from core.data.part import Part
from core.data.source import Source
from core.data.split import PARTS, Method, split_rows
from core.data.standardize import fitted, standardized
from core.errors import RequestError

PartName = Literal["train", "val", "test"]


@dataclass(frozen=True, eq=False)
class Data:
    """The parts of an experiment's data, ready for training.

    Attributes:
        train: What is trained on; preprocessing is fitted on it alone.
        val: What model selection uses.
        test: May be empty.
        fingerprint: sha256 over what the data function returned, whatever the split.
        input_shape: Shape of one example's input, without the batch dimension.
        outputs: Number of classes, or of target columns.
        class_names: Names in the order of the codes; None for quantities.
        columns: Names of the features, if known.
        preprocessing: What `predict` needs to treat new data the same; can be written as JSON.
    """

    train: Part
    val: Part
    test: Part
    fingerprint: str
    input_shape: tuple[int, ...]
    outputs: int
    class_names: tuple[str, ...] | None
    columns: tuple[str, ...] | None
    preprocessing: dict[str, Any]

    def part(self, name: PartName) -> Part:
        """The part of this name."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def filled(self) -> dict[str, Any]:
        """What follows from the data and a component's signature may name."""
        known: dict[str, Any] = {
            "in_features": math.prod(self.input_shape),
            "out_features": self.outputs,
            "input_shape": list(self.input_shape),
        }
        if self.class_names is not None:
            known["num_classes"] = self.outputs
        if len(self.input_shape) == 3:
            known["in_channels"] = self.input_shape[0]
        return known

    def sizes(self) -> dict[str, Any]:
        """Examples in each part, an input's shape and, for classes, the examples of each."""
        parts: dict[str, Part] = {"train": self.train, "val": self.val, "test": self.test}
        told: dict[str, Any] = {key: len(part) for key, part in parts.items()}
        told["input_shape"] = list(self.input_shape)
        if self.class_names is not None:
            counts = {
                key: torch.bincount(part.targets, minlength=self.outputs).tolist()
                for key, part in parts.items()
            }
            told["classes"] = {
                name: {key: counts[key][code] for key in parts}
                for code, name in enumerate(self.class_names)
            }
        return told


def prepare(
    source: Source,
    *,
    method: Method,
    seed: int,
    val_fraction: float,
    test_fraction: float,
    standardize: bool | None,
) -> Data:
    """Splits and standardizes a source; ready-made parts stay as they are.

    Args:
        source: What `load` returned.
        method: How examples are chosen for the parts.
        seed: The configuration's `split.seed`; it decides the split alone.
        val_fraction: Share of the examples to validate on.
        test_fraction: Share of the examples to test on; 0 gives an empty test part.
        standardize: Whether inputs get mean 0 and deviation 1, by the training part's figures;
            None means true for tables (in memory, `[N, F]`), else false.

    Raises:
        RequestError: The split does not fit the data, or a data set is to be standardized.
    """
    parts = _parts(source, method, seed, (val_fraction, test_fraction))
    recipe = _recipe(source, parts, standardize)
    if recipe is not None:
        once = {id(part): _standardized(part, recipe) for part in parts.values()}
        parts = {key: once[id(part)] for key, part in parts.items()}
    columns, names = source.columns, source.class_names
    return Data(
        **parts,
        fingerprint=source.fingerprint,
        input_shape=source.input_shape,
        outputs=source.outputs,
        class_names=names,
        columns=columns,
        preprocessing={
            "standardize": recipe,
            "class_names": None if names is None else list(names),
            "columns": None if columns is None else list(columns),
            "input_shape": list(source.input_shape),
        },
    )


def _parts(
    source: Source, method: Method, seed: int, fractions: tuple[float, float]
) -> dict[str, Part]:
    whole = source.parts.get("all")
    if whole is None:
        return {"test": _empty(source), **source.parts}
    if method == "none":
        return dict.fromkeys(PARTS, whole)
    codes = None if source.class_names is None else whole.targets.numpy()
    rows = split_rows(codes, len(whole), method, seed, fractions, source.class_names or ())
    return {key: whole.select(torch.from_numpy(r)) for key, r in zip(PARTS, rows, strict=True)}


def _empty(source: Source) -> Part:
    targets = source.parts["train"].targets
    return Part(torch.empty(0, *source.input_shape), targets[:0])


def _recipe(
    source: Source, parts: Mapping[str, Part], standardize: bool | None
) -> dict[str, list[float]] | None:
    in_memory = all(isinstance(part.inputs, torch.Tensor) for part in parts.values())
    if standardize is None:
        standardize = in_memory and len(source.input_shape) == 1
    if not standardize:
        return None
    train = parts["train"].inputs
    if not in_memory or not isinstance(train, torch.Tensor):
        raise RequestError(
            f"standardize=true needs data in memory, and {source.name} returned a Dataset.",
            "Set standardize=false; the data set's own transform should do it.",
            kind="data",
        )
    return fitted(train)


def _standardized(part: Part, recipe: dict[str, list[float]]) -> Part:
    assert isinstance(part.inputs, torch.Tensor)
    return Part(standardized(part.inputs, recipe), part.targets)

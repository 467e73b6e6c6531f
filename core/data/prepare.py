"""Prepared data: split, standardized, and described for components and records."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from paribus.core.data.arrays import fitted, standardized
from paribus.core.data.load import Source
from paribus.core.data.loader import Augment, Inputs, Part
from paribus.core.data.split import PARTS, Method, split_rows
from paribus.core.data.tables import Table
from paribus.core.data.texts import Texts, Tokens
from paribus.core.errors import RequestError, bad_data, shown

PartName = Literal["train", "val", "test"]


@dataclass(frozen=True, eq=False)
class Data:
    """The parts of an experiment's data, ready for training.

    Attributes:
        train: What is trained on; preprocessing is fitted on it alone.
        val: What model selection uses.
        test: May be empty.
        fingerprint: sha256 over what the data function returned, whatever the split.
        input_shape: Shape of one example's input, without the batch dimension; for sequences of
            tokens the longest of the training part.
        outputs: Number of classes, of labels, or of target columns.
        class_names: Names in the order of the codes; None for quantities.
        columns: Names of the features, if known.
        preprocessing: What `predict` needs to treat new data the same; can be written as JSON.
        new_words: By column of a table the words that validation or test has and training lacks.
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
    new_words: Mapping[str, list[str]]

    def part(self, name: PartName) -> Part:
        """Return the part of this name."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def filled(self, width: int) -> dict[str, Any]:
        """Return what follows from the data and a component's signature may name.

        Args:
            width: Numbers that the model returns per example.
        """
        known: dict[str, Any] = {"out_features": width}
        if isinstance(self.train.inputs, Tokens):
            known["vocab_size"] = 2 + len(self.preprocessing["text"]["vocabulary"])
        else:
            known["in_features"] = math.prod(self.input_shape)
            known["input_shape"] = list(self.input_shape)
        if self.class_names is not None:
            known["num_classes"] = width
        if len(self.input_shape) == 3:
            known["in_channels"] = self.input_shape[0]
        return known

    def sizes(self) -> dict[str, Any]:
        """Return each part's examples, an input's shape and, for classes, the examples of each."""
        parts: dict[str, Part] = {"train": self.train, "val": self.val, "test": self.test}
        sizes: dict[str, Any] = {key: len(part) for key, part in parts.items()}
        sizes["input_shape"] = list(self.input_shape)
        if self.class_names is not None:
            counts = {key: class_counts(part.targets, self.outputs) for key, part in parts.items()}
            sizes["classes"] = {
                name: {key: counts[key][code] for key in parts}
                for code, name in enumerate(self.class_names)
            }
        return sizes


def prepare(
    source: Source,
    *,
    method: Method,
    seed: int,
    val_fraction: float,
    test_fraction: float,
    standardize: bool | None,
    augment: Augment | None = None,
) -> Data:
    """Split and standardize a source; ready-made parts stay as they are.

    Args:
        source: What `load` returned.
        method: How examples are chosen for the parts.
        seed: The configuration's `split.seed`; it decides the split alone.
        val_fraction: Share of the examples to validate on.
        test_fraction: Share of the examples to test on; 0 gives an empty test part.
        standardize: Whether inputs get mean 0 and deviation 1, by the training part's figures;
            None means true for tables (in memory, `[N, F]`), else false.
        augment: Changes an input at random, in the training part only.

    Raises:
        RequestError: The split does not fit the data, a data set is to be standardized, or there
            is nothing to augment.
    """
    parts = _parts(source, method, seed, (val_fraction, test_fraction))
    if source.targets == "classes":
        _refuse_unseen(parts, source)
    encoding: dict[str, Any] = {}
    new_words: dict[str, list[str]] = {}
    train, shape = parts["train"].inputs, source.input_shape
    if isinstance(train, Table | Texts):
        encoding = {train.kind: (found := train.fitted())}
        for part in parts.values():
            if isinstance(part.inputs, Table):
                for name, words in part.inputs.new_words(found).items():
                    new_words[name] = sorted({*new_words.get(name, []), *words})
        parts = _changed(parts, lambda inputs: inputs.encoded(found))
        train = parts["train"].inputs
        if isinstance(train, Tokens):
            shape = (int(train.lengths.max()),)
        elif isinstance(train, torch.Tensor):
            shape = tuple(train.shape[1:])
    if augment is not None and len(shape) != 3:
        raise RequestError(
            f"augment is for images, and {source.name} gives inputs of shape {list(shape)}.",
            "Leave it out: augment=none.",
            "augment",
        )
    plain, recipe = parts["train"], None
    if standardize is None:
        standardize = isinstance(train, torch.Tensor) and len(shape) == 1
    if standardize:
        if not isinstance(train, torch.Tensor):
            text = isinstance(train, Tokens)
            raise bad_data(
                f"standardize=true needs numbers in memory, and {source.name} returned "
                f"{'texts' if text else 'a Dataset'}.",
                "Set standardize=false"
                + ("." if text else "; the data set's own transform should do it."),
            )
        recipe = fitted(train)
        parts = _changed(parts, lambda inputs: standardized(inputs, recipe))
    if augment is not None:
        parts["train"] = replace(plain, augment=augment, recipe=recipe)
    columns, names = source.columns, source.class_names
    return Data(
        **parts,
        fingerprint=source.fingerprint,
        input_shape=shape,
        outputs=source.outputs,
        class_names=names,
        columns=columns,
        preprocessing={
            **encoding,
            **({} if source.decoding is None else {"image": dict(source.decoding)}),
            "standardize": recipe,
            "class_names": None if names is None else list(names),
            "columns": None if columns is None else list(columns),
            "input_shape": list(shape),
        },
        new_words=new_words,
    )


def _changed(parts: Mapping[str, Part], change: Callable[[Any], Inputs]) -> dict[str, Part]:
    """Return the parts with changed inputs; split.method=none has one part under three names."""
    once = {id(part): part for part in parts.values()}
    made = {key: replace(part, inputs=change(part.inputs)) for key, part in once.items()}
    return {key: made[id(part)] for key, part in parts.items()}


def class_counts(targets: torch.Tensor, outputs: int) -> list[int]:
    """Return the number of examples of each class, or with each label."""
    counted = torch.bincount(targets, minlength=outputs) if targets.ndim == 1 else targets.sum(0)
    found: list[int] = counted.tolist()
    return found


def _refuse_unseen(parts: Mapping[str, Part], source: Source) -> None:
    """Refuse classes to be predicted that training never shows."""
    trained, *others = (class_counts(parts[key].targets, source.outputs) for key in PARTS)
    names = source.class_names or ()
    unseen = [
        f"'{shown(names[code])}' ({sum(other[code] for other in others)} examples)"
        for code, count in enumerate(trained)
        if not count and any(other[code] for other in others)
    ]
    if unseen:
        raise RequestError(
            f"{source.name}: validation or test has classes that training never sees: "
            f"{', '.join(unseen[:5])}.",
            "Split by split.method=stratified, or give training examples of them.",
            "split",
        )


def _parts(
    source: Source, method: Method, seed: int, fractions: tuple[float, float]
) -> dict[str, Part]:
    """Return the parts of a source: as they were returned, all alike, or as they are split."""
    whole = source.parts.get("all")
    if whole is None:
        empty = source.parts["train"].select(torch.empty(0, dtype=torch.int64))
        return {"test": empty, **source.parts}
    if method == "none":
        return dict.fromkeys(PARTS, whole)
    codes = whole.targets.numpy() if source.targets == "classes" else None
    rows = split_rows(codes, len(whole), method, seed, fractions, source.class_names or ())
    return {key: whole.select(torch.from_numpy(r)) for key, r in zip(PARTS, rows, strict=True)}

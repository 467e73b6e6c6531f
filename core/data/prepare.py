"""Prepared data: split, encoded, standardized, and described for components and records."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NotRequired, cast

import torch
from typing_extensions import TypedDict

from paribus.core.config.schema import Split
from paribus.core.data.arrays import Scaling, fitted, standardized
from paribus.core.data.images import ImageRecipe
from paribus.core.data.load import Field, Source
from paribus.core.data.loader import PARTS, Augment, Inputs, Items, Part
from paribus.core.data.split import fingerprint, rows_of_parts
from paribus.core.data.tables import Table, TableRecipe
from paribus.core.data.texts import TextRecipe, Texts, Tokens
from paribus.core.errors import RequestError, bad_data, first_few, shown

PartName = Literal["train", "val", "test"]


class Recipe(TypedDict):
    """What treats new data as the training part; at most one of `table`, `text` and `image`.

    With `fields` an input has several tensors. Inputs are float32, also before they are
    standardized, unless `dtype` says otherwise.
    """

    table: NotRequired[TableRecipe]
    text: NotRequired[TextRecipe]
    image: NotRequired[ImageRecipe]
    fields: NotRequired[list[Field]]
    dtype: NotRequired[Literal["float64", "int64"]]
    standardize: Scaling | None
    class_names: list[str] | None
    columns: list[str] | None
    input_shape: list[int]


@dataclass(frozen=True, eq=False)
class Data:
    """The parts of an experiment's data, ready for training; else as in `Source`."""

    train: Part  # what is trained on; preprocessing is fitted on it alone
    val: Part  # what model selection uses; empty in a final run
    test: Part  # may be empty
    fingerprint: str
    input_shape: tuple[int, ...]  # of one input; for tokens the training part's longest sequence
    outputs: int
    class_names: tuple[str, ...] | None
    columns: tuple[str, ...] | None
    preprocessing: Recipe  # what `predict` needs to treat new data the same; can be written as JSON
    new_words: Mapping[str, list[str]]  # by column, those of validation or test that training lacks

    def part(self, name: PartName) -> Part:
        """Return the part of this name."""
        return getattr(self, name)

    def filled(self, width: int) -> dict[str, Any]:
        """Return what a signature may name that follows from the data and the outputs' width."""
        known: dict[str, Any] = {"out_features": width}
        if isinstance(self.train.store, Tokens):
            known["vocab_size"] = 2 + len(self.preprocessing["text"]["vocabulary"])
        elif self.input_shape:  # one tensor
            known["in_features"] = math.prod(self.input_shape)
            known["input_shape"] = list(self.input_shape)
        if self.class_names is not None:
            known["num_classes"] = width
        if len(self.input_shape) == 3:
            known["in_channels"] = self.input_shape[0]
        return known

    def absent(self) -> list[str]:
        """Return names of the classes of which validation, if there is any, has no example."""
        names = (self.class_names or ()) if len(self.val) else ()
        counts = class_counts(self.val.targets, self.outputs) if names else []
        return [name for name, count in zip(names, counts, strict=True) if not count]

    def sizes(self) -> dict[str, Any]:
        """Return each part's examples, an input's shape and, for classes, the examples of each."""
        parts = dict(zip(PARTS, (self.train, self.val, self.test), strict=True))
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
    split: Split,
    standardize: bool | None,
    augment: Augment | None = None,
    *,
    fold: int | None = 0,
    embedded: bool = False,
) -> Data:
    """Split and standardize a source; ready-made parts stay as they are.

    Args:
        source: What `load` returned.
        split: How, resolved.
        standardize: Whether inputs get mean 0 and deviation 1, by the training part's figures;
            None means true for tables (in memory, `[N, F]`), else false.
        augment: Changes an input at random, in the training part only.
        fold: As of `rows_of_parts`.
        embedded: Whether inputs stay the integers that they are, as an embedding needs them.

    Raises:
        RequestError: The split does not fit the data, a data set is to be standardized, float32
            cannot keep a column that is not, or there is nothing to augment.
    """
    parts = _parts(source, split, fold)
    if source.targets == "classes":
        _refuse_unseen(parts, source, split)
    form: dict[str, Any] = {} if source.decoding is None else {"image": source.decoding}
    if source.fields:
        form["fields"] = [list(field) for field in source.fields]
    new_words: dict[str, list[str]] = {}
    train, shape = parts["train"].inputs, source.input_shape
    if isinstance(train, Table | Texts):
        how = form[train.kind] = train.fitted()
        for part in parts.values():
            if isinstance(part.store, Table):
                for name, words in part.store.new_words(form["table"]).items():
                    new_words[name] = sorted({*new_words.get(name, []), *words})
        parts = _changed(parts, lambda inputs: inputs.encoded(how))
        train = parts["train"].inputs
        if isinstance(train, Tokens):
            shape = (int(train.lengths.max()),)
        elif isinstance(train, torch.Tensor):
            shape = tuple(train.shape[1:])
    dtype = "float64" if source.too_fine else None
    if embedded:
        dtype, standardize = "int64", False
        parts = _changed(parts, _integers)
        train = parts["train"].inputs
    if augment is not None and len(shape) != 3:
        raise RequestError(
            f"augment is for images, and {source.name} gives inputs of shape {list(shape)}.",
            "Leave it out: augment=none.",
        )
    plain, scaling = parts["train"], None
    if standardize is None:
        standardize = isinstance(train, torch.Tensor) and len(shape) == 1
    if standardize:
        if not isinstance(train, torch.Tensor):
            text = isinstance(train, Tokens)
            raise bad_data(
                f"standardize=true needs numbers in memory, and {source.name} returned "
                f"{'texts' if text else 'several tensors' if source.fields else 'a Dataset'}.",
                "Set standardize=false"
                + ("." if text else "; the data set's own transform should do it."),
            )
        scaling = fitted(train)
    if dtype == "float64" and (augment is not None or not standardize):
        raise bad_data(
            f"{source.name}: {first_few(list(source.too_fine))} varies by less than float32 can "
            "keep at its size, such as the seconds of an hour, counted from 1970.",
            "Subtract an offset in the data function"
            + ("." if standardize else ", or set standardize=true, which is computed in float64."),
        )
    if isinstance(train, torch.Tensor):
        parts = _changed(parts, lambda inputs: standardized(inputs, scaling))
    if augment is not None:  # mean and scale are applied after it
        parts["train"] = replace(plain, augment=augment, scaling=scaling)
    columns, names = source.columns, source.class_names
    recipe = {
        **form,
        **({"dtype": dtype} if dtype else {}),
        "standardize": scaling,
        "class_names": None if names is None else list(names),
        "columns": None if columns is None else list(columns),
        "input_shape": list(shape),
    }
    return Data(
        **parts,
        fingerprint=fingerprint(source, split),
        input_shape=shape,
        outputs=source.outputs,
        class_names=names,
        columns=columns,
        preprocessing=cast("Recipe", recipe),
        new_words=new_words,
    )


def _integers(inputs: Inputs) -> Inputs:
    if isinstance(inputs, Items):
        return replace(inputs, dtype=torch.int64)
    return inputs.long() if isinstance(inputs, torch.Tensor) else inputs


def _changed(parts: Mapping[str, Part], change: Callable[[Any], Inputs]) -> dict[str, Part]:
    """Return the parts with changed inputs; what they share is changed once."""
    once = {id(part.store): part.store for part in parts.values()}
    made = {key: change(store) for key, store in once.items()}
    return {key: replace(part, store=made[id(part.store)]) for key, part in parts.items()}


def class_counts(targets: torch.Tensor, outputs: int) -> list[int]:
    """Return the number of examples of each class, or with each label."""
    counted = torch.bincount(targets, minlength=outputs) if targets.ndim == 1 else targets.sum(0)
    return counted.tolist()


def _refuse_unseen(parts: Mapping[str, Part], source: Source, split: Split) -> None:
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
            "Leave them out, or split by other columns: split.method=stratified needs several of "
            "each class that may be in different parts."
            if split.columns
            else "Split by split.method=stratified, or give training examples of them.",
            "split",
        )


def _parts(source: Source, split: Split, fold: int | None) -> dict[str, Part]:
    """Return the parts of a source: as they were returned, all alike, or as they are split."""
    whole, nothing = source.parts.get("all"), torch.arange(0)
    if whole is None:
        train, val, final = source.parts["train"], source.parts["val"], fold is None
        train = train.joined(val) if final else train
        empty = train.select(nothing)
        return {"test": empty, **source.parts, "train": train, "val": empty if final else val}
    if split.method == "none":
        val = whole if fold is not None else whole.select(nothing)
        return {"train": whole, "val": val, "test": whole}
    rows = map(torch.from_numpy, rows_of_parts(source, split, fold))
    return {key: whole.select(positions) for key, positions in zip(PARTS, rows, strict=True)}

"""Data as a function returns it, in any accepted form, normalised: `Raw` parts, then `Source`."""

import hashlib
import json
import math
import pickle
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from paribus.core.data.arrays import (
    NUMERIC,
    Array,
    as_array,
    check_finite,
    features_array,
    float32,
    is_frame,
    too_fine,
    too_fine_columns,
    widened,
)
from paribus.core.data.images import ImageFiles, ImageRecipe, Images
from paribus.core.data.loader import (
    PARTS,
    Fields,
    Inputs,
    Items,
    Part,
    as_field,
    as_input,
    read_item,
)
from paribus.core.data.tables import Table, table_of
from paribus.core.data.targets import ENCODERS, Targets, targets_array
from paribus.core.data.texts import Texts, checked
from paribus.core.errors import Faults, bad_data, did_you_mean, shown
from paribus.core.rng import digest_of_globals, seeded_globals
from paribus.core.sources.reads import refusing

ACCEPTED = (
    "Return (features, targets), a scikit-learn Bunch, a map-style torch Dataset, or parts of "
    "these as a dict with train, val and test or as a 3-tuple."
)


Field = tuple[str | int, list[int], str]
READ_TWICE = 8  # items of a data set, at loading


@dataclass(frozen=True)
class Raw:
    """Examples as returned: targets are not encoded yet, nor tables and texts."""

    inputs: Inputs | Dataset[Any]  # float32 or float64 `[N, *shape]`, or what makes or reads them
    digest: str  # sha256 over the inputs' dtype, shape and bytes
    targets: Array  # `[N, ...]` of any dtype
    where: str  # where this came from, as messages say it
    shape: tuple[int, ...] = ()  # of one input; empty where it follows from the training part
    columns: tuple[str, ...] | None = None  # names of the features, if known
    class_names: tuple[str, ...] | None = None  # names for the labels 0, 1, …, if known
    decoding: ImageRecipe | None = None  # how a file becomes an input, for images
    whole: bool = False  # whether all numbers of the inputs are of an integer type
    fields: tuple[Field, ...] = ()  # name or place, shape and dtype of each of several tensors
    beside: Mapping[str, Array] = field(default_factory=dict)  # no inputs, by name: `[N]`


def raw_of(returned: Any, where: str) -> Raw:
    """Normalise one set of examples of any accepted form; refuse what cannot be used."""
    if isinstance(returned, TensorDataset):
        returned = returned.tensors
    if isinstance(returned, Dataset):
        return _from_dataset(returned, where)
    if isinstance(returned, Mapping) and {"data", "target"} <= set(returned):
        columns = _names(returned.get("feature_names"))
        raw = _from_pair(returned["data"], returned["target"], where)
        if raw.columns is None and columns and len(raw.shape) == 1:
            if len(columns) != raw.shape[0]:
                raise bad_data(f"{where}: {len(columns)} feature_names for {raw.shape[0]} columns.")
            raw = replace(raw, columns=columns)
        return replace(raw, class_names=_names(returned.get("target_names")) or raw.class_names)
    if _has_columns_beside(returned):
        raw = raw_of(returned[:2], where)
        return replace(raw, beside=_beside(returned[2], len(raw.targets), where))
    if isinstance(returned, tuple) and len(returned) == 2:
        features, targets = returned
        several = isinstance(features, Mapping | tuple)
        if isinstance(features, Dataset) or (
            several and isinstance(targets, Dataset | Mapping | tuple)
        ):
            raise bad_data(
                f"{where} returned a pair of {type(returned[0]).__name__} and "
                f"{type(returned[1]).__name__}; a pair is (features, targets).",
                "Ready-made parts: return a dict with train, val and test.",
            )
        return _from_pair(*returned, where)
    raise bad_data(f"{where} returned {_described(returned)}.", ACCEPTED)


def _has_columns_beside(returned: Any) -> bool:
    """Return whether it is (features, targets, {name: column}), not three parts."""
    if not (isinstance(returned, tuple) and len(returned) == 3):
        return False
    return isinstance(returned[2], Mapping) and not {"data", "target"} <= set(returned[2])


def _beside(columns: Mapping[Any, Any], examples: int, where: str) -> dict[str, Array]:
    """Return the columns beside the features: `[N]` each."""
    arrays: dict[str, Array] = {}
    for name, values in columns.items():
        arrays[str(name)] = array = as_array(values, f"column '{shown(name)}'", where)
        if array.shape != (examples,):
            raise bad_data(
                f"{where}: column '{shown(name)}' has shape {list(array.shape)}, and there are "
                f"{examples} examples.",
                "Give it one value for each example.",
            )
    return arrays


def _described(returned: Any) -> str:
    if isinstance(returned, Mapping):
        return f"a mapping with keys {shown(', '.join(map(str, returned)) or '(none)')}"
    if isinstance(returned, tuple | list):
        return f"a {type(returned).__name__} of {len(returned)}"
    return "None" if returned is None else f"an object of type {type(returned).__name__}"


def _names(names: Any) -> tuple[str, ...] | None:
    return None if names is None or isinstance(names, str) else tuple(str(name) for name in names)


def _from_pair(features: Any, targets: Any, where: str) -> Raw:
    labels = targets_array(targets, where)
    named = _names(targets.columns) if is_frame(targets) and labels.ndim == 2 else None
    decoding = None
    if isinstance(features, Images):
        _check_lengths(len(features.paths), len(labels), where)
        decoding = features.decoding()
        if not features.in_memory:
            return replace(_from_dataset(ImageFiles(features, labels), where), decoding=decoding)
        features = features.decoded()
    if isinstance(features, Mapping | tuple) and len(features):
        return replace(_from_fields(features, labels, where), class_names=named)
    if unfitted := _unfitted(features, where):
        _check_lengths(len(unfitted), len(labels), where)
        columns = tuple(unfitted.columns) if isinstance(unfitted, Table) else None
        return Raw(unfitted, unfitted.digest(), labels, where, columns=columns, class_names=named)
    array, columns = features_array(features, where)
    _check_lengths(len(array), len(labels), where)
    check_finite(float32(array), "features", where, columns)
    inputs = widened(array)
    digest = hashlib.sha256()
    update(digest, array)
    shape = tuple(array.shape[1:])
    whole = array.dtype.kind in "iu"
    return Raw(inputs, digest.hexdigest(), labels, where, shape, columns, named, decoding, whole)


def _from_fields(features: Any, labels: Array, where: str) -> Raw:
    """Return inputs of several tensors: a dict by name, or a tuple."""
    digest = hashlib.sha256()
    arrays = field_arrays(features, where)
    for name, array in _each(arrays):
        text = f"{where}, input {name!r}"
        if not array.ndim or not array.size:
            raise bad_data(f"{text}: there are no examples.")
        _check_lengths(len(array), len(labels), text)
        check_finite(float32(array), "features", text)
        digest.update(json.dumps(name).encode())
        update(digest, array)
    tensors = tree_map(as_field, arrays)
    return Raw(Fields(tensors), digest.hexdigest(), labels, where, fields=_fields(tensors, 1))


def field_arrays(inputs: Any, where: str) -> Any:
    """Return a dict or tuple as one of numeric arrays; refuse one of anything else."""
    checked: dict[Any, Array] = {}
    for name, values in _each(inputs):
        text = f"{where}, input {name!r}"
        if isinstance(values, Mapping | tuple):
            raise bad_data(f"{text}: is a {type(values).__name__}, not one tensor.", ACCEPTED)
        shape = np.shape(values)
        array = as_array(values if shape else [values], "numbers", text).reshape(shape)
        if array.dtype.kind not in NUMERIC:
            raise bad_data(f"{text}: holds no numbers (dtype {array.dtype}).")
        checked[name] = array
    return checked if isinstance(inputs, Mapping) else tuple(checked.values())


def _each(inputs: Any) -> list[tuple[Any, Any]]:
    """Return the tensors of a dict by name, of a tuple by place."""
    return list(inputs.items() if isinstance(inputs, Mapping) else enumerate(inputs))


def _fields(tensors: Any, leading: int) -> tuple[Field, ...]:
    """Describe tensors without their leading dimensions."""
    return tuple((n, [*x.shape[leading:]], str(x.dtype)[6:]) for n, x in _each(tensors))


def _unfitted(features: Any, where: str) -> Table | Texts | None:
    """Return features that the training part decides how to encode; None for plain numbers."""
    if isinstance(features, Table):
        return features
    if is_frame(features):
        kinds = {getattr(dtype, "kind", "O") for dtype in features.dtypes}
        return table_of(features, where) if kinds - set(NUMERIC) else None
    if isinstance(features, np.ndarray) and features.ndim == 1:
        features = features if features.dtype.kind in NUMERIC else features.tolist()
    words = isinstance(features, list | tuple) and len(features) > 0
    if words and all(isinstance(item, str) for item in features):
        features = Texts([str(text) for text in features])
    return checked(features, where) if isinstance(features, Texts) else None


def _check_lengths(examples: int, targets: int, where: str) -> None:
    if examples != targets:
        raise bad_data(
            f"{where}: {examples} examples have features and {targets} have targets.",
            "Return as many targets as examples.",
        )


def _from_dataset(dataset: Dataset[Any], where: str) -> Raw:
    """Read each item once: for the targets, the digest and the checks; the first ones twice."""
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
        raise bad_data(
            f"{where} returned {type(dataset).__name__}, a data set without length or indices.",
            ACCEPTED,
        )
    if len(dataset) == 0:
        raise bad_data(f"{where}: there are no examples.")
    digest, targets = hashlib.sha256(), []
    shape: tuple[int, ...] | None = None
    fields: tuple[Field, ...] | None = None
    faults, whole = Faults(), True
    low, high, error = (np.asarray(start) for start in (np.inf, -np.inf, 0.0))  # of each number
    with seeded_globals(0, "data"):  # restores them once for all items
        for row in range(len(dataset)):
            with faults.collecting():
                item = _read(dataset, row, where)
            if faults.found:  # go on, for the names of all files that cannot be decoded
                continue
            x, y = _pair(item, row, where)
            if row < READ_TWICE:
                again, its_y = _pair(_read(dataset, row, where), row, where)
                one, other = ([a.tobytes() for a in tree_leaves(value)] for value in (x, again))
                if one != other or pickle.dumps(its_y) != pickle.dumps(y):
                    raise bad_data(
                        f"{where}: item {row} is another one when it is read again with the global "
                        "generators seeded alike, so no run could be repeated.",
                        "Does it draw from a generator of its own? Draw from torch, numpy.random "
                        "or random, which are seeded for each example and epoch, or seed it by "
                        "the index.",
                    )
            for array in tree_leaves(x):
                update(digest, array)
                check_finite(float32(array)[None], "features", f"{where}, item {row}")
            targets.append(y)
            if not isinstance(x, np.ndarray):
                own = _fields(tree_map(as_field, x), 0)
                fields = fields or own
                if own != fields:
                    raise bad_data(
                        f"{where}: item {row} has {shown(own)}; item 0 has {shown(fields)}.",
                        "Pad all items to one length, and give each one's length as an input.",
                    )
                continue
            tensor, whole = as_input(x), whole and x.dtype.kind in "iu"
            if x.dtype.itemsize > 2 and x.dtype != np.float32 and shape in (None, x.shape):
                low, high = np.minimum(low, x), np.maximum(high, x)
                error = np.maximum(error, np.abs(x.astype(np.float64) - tensor.numpy()))
            shape = shape or tuple(tensor.shape)
            if tuple(tensor.shape) != shape:
                raise bad_data(
                    f"{where}: item {row} has shape {list(tensor.shape)}, item 0 has "
                    f"{list(shape)}.",
                    "Bring all items to one shape with a transform.",
                )
    faults.check()
    if fine := int(np.count_nonzero(too_fine(low, high, error))):
        raise bad_data(
            f"{where}: {fine} of the {math.prod(shape or ())} numbers of an item vary by less than "
            "float32 can keep at their size.",
            "Subtract an offset in the data set.",
        )
    names = getattr(dataset, "classes", None)  # torchvision's convention
    named = _names(names) if isinstance(names, list | tuple) else None
    labels = targets_array(targets, where)
    if fields:
        digest.update(json.dumps(fields).encode())
        return Raw(dataset, digest.hexdigest(), labels, where, class_names=named, fields=fields)
    return Raw(
        dataset, digest.hexdigest(), labels, where, shape or (), class_names=named, whole=whole
    )


def _read(dataset: Dataset[Any], row: int, where: str) -> Any:
    with refusing(f"{where}: reading item {row} fails", ""):
        return read_item(dataset, row)


def _pair(item: Any, row: int, where: str) -> tuple[Any, Any]:
    """Return an item's `x` and `y`.

    `x` is a numeric array with at least one dimension, or a dict or tuple of arrays.
    """
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise bad_data(f"{where}: item {row} is {_described(item)}; an item has to be (x, y).")
    x, y = item
    target = y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else y
    if isinstance(x, Mapping | tuple) and len(x):
        return field_arrays(x, f"{where}, x of item {row}"), target
    if isinstance(x, bool | int | float | np.generic):
        x = [x]
    elif isinstance(x, torch.Tensor | np.ndarray) and x.ndim == 0:
        x = x.reshape(1)
    array: Array | None = None
    if isinstance(x, torch.Tensor | np.ndarray | list):
        array = as_array(x, f"x of item {row}", where)
    if array is None or array.dtype.kind not in NUMERIC:
        kind = type(x).__name__ if array is None else f"of dtype {array.dtype}"
        raise bad_data(
            f"{where}: x of item {row} is {kind}; valid are a tensor, an array or a number.",
            "Images: give the data set a transform to tensors.",
        )
    return array, target


def update(digest: Any, array: Array) -> None:
    """Add an array's dtype, shape and bytes to a hash."""
    digest.update(json.dumps([array.dtype.str, array.shape]).encode())
    digest.update(np.ascontiguousarray(array).data)


@dataclass(frozen=True, eq=False)
class Source:
    """What a data function returned, normalised, not yet split or standardized; else as `Raw`."""

    name: str  # the data function's, for messages
    parts: Mapping[str, Part]  # `{"all": …}`, or ready-made parts by name (`test` may be missing)
    targets: Targets
    input_shape: tuple[int, ...]
    outputs: int  # number of classes, of labels, or of target columns
    class_names: tuple[str, ...] | None  # names in the order of the codes; None for quantities
    columns: tuple[str, ...] | None
    fingerprint: str  # sha256 over all that was returned
    decoding: ImageRecipe | None
    too_fine: Sequence[str]  # columns that float32 cannot keep: with any, inputs are float64
    whole: bool
    drawn: bool  # whether the function drew from the generators that `split.seed` seeds
    fields: tuple[Field, ...] = ()


def load(
    function: Callable[..., Any],
    keywords: Mapping[str, Any],
    *,
    name: str,
    seed: int,
    targets: Targets,
) -> Source:
    """Call a data component and normalise what it returns; `name` is what messages call it.

    The global generators of Python, numpy and torch are seeded by `split.seed` during the call and
    restored after.

    Raises:
        RequestError: It raised, or returned something that cannot be used; says what and where.
    """
    hint = "Correct it, or give it other keywords: data.KEYWORD=VALUE."
    with refusing(f"{name} fails", hint), seeded_globals(seed, "data"):
        start = digest_of_globals()
        returned = function(**keywords)
        drawn = digest_of_globals() != start
    raws = _raw_parts(returned, name)
    _check_alike(raws, name)
    first = next(iter(raws.values()))
    _refuse_channels_last(first.shape, name)
    code, exact = ENCODERS[targets](
        {key: (raw.targets, raw.where) for key, raw in raws.items()}, first.class_names
    )
    parts: dict[str, Part] = {}
    fingerprint = hashlib.sha256(json.dumps([first.columns, code.names]).encode())
    fine = [name for raw in raws.values() for name in _too_fine(raw)]
    if fine:  # else such data would share an id with runs of their rounded numbers
        fingerprint.update(b"float64")
    for key, raw in raws.items():
        inputs, encoded = raw.inputs, exact[key]
        if isinstance(inputs, torch.Tensor) and not fine:
            inputs = float32(inputs)
        elif isinstance(inputs, Table):
            inputs = replace(inputs, wide=bool(fine))
        elif isinstance(inputs, Dataset):
            inputs = Items(inputs, torch.arange(len(encoded)), code.encode)
        ready = float32(encoded) if targets == "values" else torch.from_numpy(encoded)
        parts[key] = Part(inputs, ready, beside=raw.beside)
        fingerprint.update(json.dumps([key, raw.digest]).encode())
        update(fingerprint, encoded)
    return Source(
        name=name,
        parts=parts,
        targets=targets,
        input_shape=first.shape,
        outputs=code.outputs,
        class_names=code.names,
        columns=first.columns,
        fingerprint=fingerprint.hexdigest(),
        decoding=first.decoding,
        too_fine=list(dict.fromkeys(fine)),
        whole=all(raw.whole for raw in raws.values()),
        drawn=drawn,
        fields=first.fields,
    )


def _raw_parts(returned: Any, name: str) -> dict[str, Raw]:
    """Return all examples as the part `all`, or ready-made parts by name."""
    if isinstance(returned, tuple) and len(returned) == 3 and not _has_columns_beside(returned):
        returned = dict(zip(PARTS, returned, strict=True))
    elif not (isinstance(returned, Mapping) and set(returned) & set(PARTS)):
        return {"all": raw_of(returned, name)}
    parts = {key: part for key, part in returned.items() if part is not None}
    if unknown := [key for key in parts if key not in PARTS]:
        raise bad_data(
            f"{name} returned parts with an unknown one, '{shown(unknown[0])}'; valid are train, "
            "val and test.",
            did_you_mean(str(unknown[0]), PARTS),
        )
    if missing := [key for key in ("train", "val") if key not in parts]:
        raise bad_data(
            f"{name} returned ready-made parts without {missing[0]}; train and val are needed, "
            "test may be missing.",
            ACCEPTED,
        )
    raws, faults = {}, Faults()
    for key in (key for key in PARTS if key in parts):
        with faults.collecting():
            raws[key] = raw_of(parts[key], f"{name}, {key}")
    faults.check()
    return raws


def _check_alike(raws: Mapping[str, Raw], name: str) -> None:
    """Check that all parts have the same columns, class names, and shape and type of inputs."""
    first = next(iter(raws.values()))
    for key, raw in raws.items():
        for what, mine, theirs in (
            ("columns", raw.columns, first.columns),
            ("class names", raw.class_names, first.class_names),
            ("words in the columns", _word_columns(raw.inputs), _word_columns(first.inputs)),
            ("an input shape", raw.shape, first.shape),
            ("inputs", raw.fields, first.fields),
            ("inputs of type", (type(raw.inputs).__name__,), (type(first.inputs).__name__,)),
        ):
            if mine != theirs:
                here, there = (None if one is None else list(one) for one in (mine, theirs))
                raise bad_data(
                    f"{name}: part {key} has {what} {shown(here)}, part train has {shown(there)}.",
                    "All parts need the same.",
                )


def _too_fine(raw: Raw) -> list[str]:
    """Return the columns or channels that float32 cannot keep, as messages call them."""
    if isinstance(raw.inputs, Table):
        return [f"column '{shown(name)}'" for name in raw.inputs.too_fine()]
    if not isinstance(raw.inputs, torch.Tensor) or raw.inputs.dtype != torch.float64:
        return []
    places = np.flatnonzero(too_fine_columns(raw.inputs.numpy())).tolist()
    if raw.columns is not None:
        return [f"column '{shown(raw.columns[place])}'" for place in places]
    return [f"{'column' if len(raw.shape) == 1 else 'channel'} {place}" for place in places]


def _refuse_channels_last(shape: tuple[int, ...], name: str) -> None:
    """Refuse `[height, width, channels]`, of which a model would take the height as channels."""
    if len(shape) != 3 or min(shape[:2]) <= 4:
        return
    if shape[2] in (3, 4) or (shape[2] == 1 and shape[0] == shape[1]):
        raise bad_data(
            f"{name}: an input of shape {list(shape)} looks like an image with its {shape[2]} "
            f"channel{'s' * (shape[2] > 1)} last, and would be read as {shape[0]} channels of "
            f"{shape[1]}×{shape[2]} pixels.",
            "Channels come first: numpy.moveaxis(x, -1, -3). Where they do, let height and width "
            "change places.",
        )


def _word_columns(inputs: object) -> tuple[str, ...]:
    """Return the columns of words; all others hold numbers."""
    cells = inputs.columns if isinstance(inputs, Table) else {}
    return tuple(name for name, held in cells.items() if held.dtype.kind == "O")

"""Begin with weights that were trained before, and train only some layers of a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from paribus.core.config.schema import get, with_value
from paribus.core.errors import Faults, RequestError, did_you_mean, first_few, shown
from paribus.core.fileio import sha256_file, user_path
from paribus.core.records.record import folds_of

_LEAVE_OUT = "Leave train.start_from out."


def begin_from(
    model: nn.Module, path: str | None, width: int, preprocessing: Mapping[str, Any]
) -> dict[str, str]:
    """Put every tensor of a file that fits into a model; no file changes nothing.

    Layers sized by `width`, the number of classes, stay as they were drawn where that number or, if
    the file has them, the classes' names differ. Any other difference is refused. Mean and scale of
    standardized inputs are always those of the training part here.

    Returns:
        Layer to why it starts fresh: ``{"fc": "37 classes, file has 1000"}``.

    Raises:
        RequestError: If the file cannot be read, its weights are another model's, or it is a run's
            whose inputs meant something else.
    """
    if path is None:
        return {}
    weights, source, renamed = read_weights(path), shown(path, 200), None
    then, here = None, InputSchema.of(preprocessing)
    with suppress(ValueError, KeyError, TypeError):  # another program means something else by it
        then = InputSchema.of(_noted(_existing(path), "preprocessing"))
    if then is not None:
        _refuse_other_inputs(then, here, source)
        if then.class_names != here.class_names:
            names = [
                "none" if names is None else shown(", ".join(names))
                for names in (then.class_names, here.class_names)
            ]
            renamed = f"classes {names[0]} in the file, {names[1]} here"
    return put_weights(model, weights, width, source, renamed)


def put_weights(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    width: int,
    source: str,
    renamed: str | None = None,
) -> dict[str, str]:
    """Put tensors that fit into a model, as `begin_from` does.

    `source` is what messages call the file; `renamed` says how its classes differ, though there
    may be as many. Raises RequestError listing what is missing, unexpected, or of another shape.
    """
    own: Mapping[str, Tensor] = model.state_dict()
    fresh: dict[str, str] = {}
    same_width: dict[str, str] = {}
    for name, tensor in own.items():
        other, layer = weights.get(name), name.rpartition(".")[0] or name
        # A head differs at most in the number of classes, its first dimension.
        if other is None or (tensor.ndim, tensor.shape[:1]) != (other.ndim, (width,)):
            continue
        if tensor.shape[1:] != other.shape[1:]:
            continue
        if other.shape != tensor.shape:
            fresh[layer] = f"{width} classes, file has {len(other)}"
        elif tensor.ndim > 1 and renamed is not None:  # not a normalization of as many numbers
            same_width[layer] = renamed
    fresh = fresh or same_width

    def begun(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: v for n, v in state.items() if not {n, n.rpartition(".")[0]} & fresh.keys()}

    kept, needed = begun(weights), begun(own)
    # Files of old torch lack batch normalization's count of batches.
    missing = [n for n in needed.keys() - kept if n.rpartition(".")[2] != "num_batches_tracked"]
    faults, other_model = Faults(), "Take the model that the weights are of."
    if renamed is not None and not fresh:
        text = f"{source}: {renamed}, and no layer that could start anew is sized by their number."
        faults.add(text, _LEAVE_OUT)
    for what, names in (("lacks", missing), ("has unexpected", kept.keys() - needed)):
        if names:
            listed = first_few([shown(name) for name in sorted(names)], 8)
            faults.add(f"{source} {what} {listed}.", other_model)
    for name in sorted(needed.keys() & kept):
        shape, wanted = list(kept[name].shape), list(needed[name].shape)
        if shape != wanted:
            text = f"{source}: {shown(name)} has shape {shape}, the model's has {wanted}."
            faults.add(text, other_model)
    if not faults.found and not kept:
        faults.add(
            f"{source}: only layers sized by the number of classes have their names in the model, "
            "so nothing would begin with it.",
            _LEAVE_OUT,
        )
    faults.check()
    model.load_state_dict({**own, **kept})
    return fresh


def examples_of(configuration: Mapping[str, Any], seed: int, fingerprint: str | None) -> list[Any]:
    """Return what says which examples a run trains on: data, split, and the fold it leaves out."""
    final = "final_epoch" in configuration
    fold = None if final else seed % folds_of(configuration)
    return [fingerprint, configuration["split"], fold]


def refuse_seen(path: str, examples: list[Any]) -> None:
    """Refuse weights of a run that may have been trained on what this one validates on."""
    there = _noted(_existing(path), "examples")
    if isinstance(there, list) and there[:1] == examples[:1] and there != examples:
        raise RequestError(
            f"{shown(path, 200)} was trained on examples of this data that this run validates on: "
            "it had another split, or another fold.",
            "Train both with the same split and split.folds=1, or leave train.start_from out.",
        )


class InputSchema(BaseModel, frozen=True):
    """What a model's inputs and outputs mean; None: unknown, or there is no such thing."""

    class_names: list[str] | None  # in the order of the outputs
    words: list[str] | None  # the vocabulary of texts, in the order of the ids
    columns: list[str] | None  # of a table; those of words with their categories
    standardized: bool  # whether inputs had mean 0 and deviation 1

    @classmethod
    def of(cls, preprocessing: Mapping[str, Any]) -> InputSchema:
        """Return that of `paribus.core.data.prepare.Data.preprocessing`."""
        columns = preprocessing["columns"]
        if "table" in preprocessing:
            columns = [
                f"{c['name']} ({', '.join(c['categories'])})" if "categories" in c else c["name"]
                for c in preprocessing["table"]["columns"]
            ]
        return cls(
            class_names=preprocessing["class_names"],
            words=preprocessing["text"]["vocabulary"] if "text" in preprocessing else None,
            columns=columns,
            standardized=preprocessing["standardize"] is not None,
        )


def _refuse_other_inputs(then: InputSchema, here: InputSchema, source: str) -> None:
    """Refuse weights whose inputs meant something else than those of the data here."""
    faults = Faults()
    for what in ("words", "columns"):
        first, second = getattr(then, what), getattr(here, what)
        if first is None or second is None or first == second:
            continue
        differences = []
        for names, others, place in ((first, second, "in the file"), (second, first, "here")):
            known = set(others)
            if only := [name for name in names if name not in known]:
                differences.append(f"only {place} {first_few([shown(name, 40) for name in only])}")
        faults.add(
            f"{source} was trained on other {what}: "
            f"{'; '.join(differences) or 'they are in another order'}.",
            f"Take data with the {what} of the file, in their order, or leave "
            "train.start_from out.",
        )
    if then.standardized != here.standardized:
        inputs = "standardized inputs" if then.standardized else "inputs as they are"
        faults.add(
            f"{source} was trained on {inputs}, and standardize={str(here.standardized).lower()} "
            "here.",
            f"Set standardize={str(then.standardized).lower()}, or leave train.start_from out.",
        )
    faults.check()


def is_torchvision(name: str) -> bool:
    """Return whether a model is one of torchvision's builders."""
    return name.startswith("torchvision.models.")


def pretrained_file(name: str, weights: str) -> tuple[str, Path]:
    """Return the address of torchvision's own weights, and the file where torch keeps them."""
    from torchvision.models import get_model_weights

    try:
        known = get_model_weights(name.rpartition(".")[2]).__members__
    except ValueError:  # torchvision lists no weights of this builder
        known = {}
    word = weights.rpartition(".")[2]
    if word not in known:
        raise RequestError(
            f"model.weights={shown(weights)}: {shown(name)} has no such weights.",
            did_you_mean(word, known) or "Leave model.weights out.",
        )
    url: str = known[word].url
    return url, Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def put_pretrained(
    model: nn.Module, name: str, builder: Callable[..., nn.Module], keywords: Mapping[str, Any]
) -> dict[str, str]:
    """Put torchvision's own weights into a model that was built for other classes.

    The builder itself, with these keywords, reads them into a second model: it knows the names that
    older files have. Returns what `begin_from` does.

    Raises:
        RequestError: If there are no such weights, or they cannot be downloaded.
    """
    word = keywords["weights"].rpartition(".")[2]
    url, file = pretrained_file(name, word)
    others = {k: v for k, v in keywords.items() if k not in ("weights", "num_classes", "progress")}
    try:
        filled = builder(weights=word, progress=False, **others)
    except Exception as error:
        there = file.is_file()
        wrong = "holds no such weights" if there else "is not there and cannot be downloaded"
        raise RequestError(
            f"model.weights={word}: {shown(file, 300)} {wrong}: {type(error).__name__}: "
            f"{shown(error, 160)}.",
            f"{'Replace it by' if there else 'Put there'} {url}, or leave model.weights out.",
        ) from error
    source = f"{name}, weights {word}"
    return put_weights(model, filled.state_dict(), keywords["num_classes"], source)


def without_weights(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the same run beginning with weights of no file, for where others are put in anyway."""
    bare = with_value(configuration, "train.start_from", None)
    name, keywords = bare["model"]["name"], bare["model"]
    if is_torchvision(name) and "weights" in keywords:
        return with_value(bare, "model.weights", None)
    return with_value(bare, "model.pretrained", False) if name.startswith("timm:") else bare


def read_weights(path: str) -> dict[str, Tensor]:
    """Read the tensors of a file; execute nothing of it.

    Raises RequestError if there is no such file, or it holds no weights.
    """
    file = _existing(path)
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        held = torch.load(file, map_location="cpu", weights_only=True)
        if isinstance(held, Mapping) and isinstance(held.get("state_dict"), Mapping):
            held = held["state_dict"]  # as many training scripts save it
        if isinstance(held, Mapping) and held and all(isinstance(v, Tensor) for v in held.values()):
            return {str(name): tensor for name, tensor in held.items()}
        why, cause = f"it holds {type(held).__name__}", None
    except Exception as error:  # readers raise anything for a file of another kind
        why, cause = f"{type(error).__name__}: {shown(error, 160)}", error
    raise RequestError(
        f"train.start_from: {shown(path, 200)} holds no weights: {why}.",
        "Give a .safetensors file, or a state dict saved by torch.save.",
    ) from cause


def weights_digests(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Return the sha256 of each file of weights, which has to exist, by the key that names it."""
    model = configuration.get("model", {"name": ""})
    files = {}
    if path := get(configuration, "train.start_from"):
        files["train.start_from"] = _existing(path)
    if is_torchvision(model["name"]) and model.get("weights"):
        files["model.weights"] = pretrained_file(model["name"], model["weights"])[1]
    return {key: sha256_file(file) for key, file in files.items()}


def _noted(file: Path, key: str) -> Any:
    """Return what a run's ``best.safetensors`` says under a key; None of other files."""
    from safetensors import safe_open

    if file.suffix != ".safetensors":
        return None
    with safe_open(file, "pt") as opened, suppress(ValueError, RecursionError):
        return json.loads((opened.metadata() or {}).get(key, "null"))
    return None


def _existing(path: str) -> Path:
    file = user_path(path)
    if not file.is_file():
        raise RequestError(
            f"train.start_from: there is no file {shown(path, 200)}.",
            "Give a .safetensors file, such as a run's best.safetensors, or a .pt file.",
        )
    return file


def train_only(model: nn.Module, prefixes: Sequence[str]) -> list[nn.Module]:
    """Freeze all parameters that begin with none of the prefixes, each of which some begin with.

    Returns:
        The layers with parameters or statistics of their own of which nothing is trained. In
        training they have to stay as in evaluation: normalization then keeps its statistics.
    """
    if not prefixes:
        return []

    def is_of(name: str, *prefixes: str) -> bool:
        return f"{name}.".startswith(tuple(f"{prefix}." for prefix in prefixes))

    parameters, faults = dict(model.named_parameters()), Faults()
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in parameters))
    for prefix in prefixes:
        if not any(is_of(name, prefix) for name in parameters):
            hint = did_you_mean(prefix, layers)
            faults.add(
                f"train.only: no parameter begins with '{shown(prefix)}'.",
                hint if len(hint) < 200 else "paribus show EXPERIMENT lists the layers.",
            )
    faults.check()
    for name, parameter in parameters.items():
        if not is_of(name, *prefixes):
            parameter.requires_grad_(False)
    return [
        module
        for name, module in model.named_modules()
        if not is_of(name, *prefixes)
        and [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        and not any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    ]

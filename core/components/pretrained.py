"""Beginning with weights that were trained before, and training only some of a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paribus.core.components.input_schema import (
    TrainedOn,
    other_classes,
    refuse_other_inputs,
    trained_on,
)
from paribus.core.config.schema import get, with_value
from paribus.core.errors import Faults, RequestError, did_you_mean, shown


def begin_from(
    model: nn.Module, path: str | None, width: int, preprocessing: Mapping[str, Any]
) -> dict[str, str]:
    """Puts every tensor of a file that fits into a model.

    Layers sized by the number of classes stay as they were drawn where that number or, as far as
    the file tells them, the classes' names differ. Any other difference is refused.

    Args:
        model: Takes the weights.
        path: A file of safetensors, or of a state dict of torch; None changes nothing.
        width: Numbers that the model returns per example.
        preprocessing: Of the data to train on (`paribus.core.data.Data`).

    Returns:
        Layer to why it starts fresh: ``{"fc": "37 classes, file has 1000"}``.

    Raises:
        RequestError: If the file cannot be read, its weights are another model's, or it is a run's
            whose inputs meant something else.
    """
    if path is None:
        return {}
    weights, source = read_weights(path), shown(path, 200)
    then, here = trained_on(_file(path)), TrainedOn.of(preprocessing)
    if then is None:
        return put_weights(model, weights, width, source)
    refuse_other_inputs(then, here, source)
    return put_weights(model, weights, width, source, other_classes(then, here))


def put_weights(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    width: int,
    source: str,
    renamed: str | None = None,
) -> dict[str, str]:
    """The same for weights that were read already.

    Args:
        model: Takes the weights.
        weights: Name to tensor.
        width: Numbers that the model returns per example.
        source: What a message calls the file.
        renamed: How its classes are others, though there may be as many; None: they are not.

    Raises:
        RequestError: Listing what is missing, unexpected, or of another shape.
    """
    own: Mapping[str, Tensor] = model.state_dict()
    fresh: dict[str, str] = {}
    as_many: list[str] = []
    for name, tensor in own.items():
        other = weights.get(name)
        layer = name.rpartition(".")[0] or name
        if other is None or not _is_head(tensor, other, width):
            continue
        if other.shape != tensor.shape:
            fresh[layer] = f"{width} classes, file has {len(other)}"
        elif tensor.ndim > 1:  # not a normalization of as many numbers
            as_many.append(layer)
    if renamed is not None and not fresh:
        fresh = dict.fromkeys(as_many, renamed)
    kept = {name: value for name, value in weights.items() if not _within(name, fresh)}
    needed = {name: value for name, value in own.items() if not _within(name, fresh)}
    faults = Faults()
    if renamed is not None and not fresh:
        faults.add(
            f"{source}: {renamed}, and no layer that could start anew is sized by their number.",
            "Leave train.start_from out.",
            "weights",
        )
    lacking = sorted(name for name in needed.keys() - kept.keys() if not _is_counter(name))
    _refuse_names(lacking, source, "lacks", faults)
    _refuse_names(sorted(kept.keys() - needed.keys()), source, "has unexpected", faults)
    for name in sorted(needed.keys() & kept.keys()):
        if needed[name].shape != kept[name].shape:
            faults.add(
                f"{source}: {shown(name)} has shape {list(kept[name].shape)}, the model's has "
                f"{list(needed[name].shape)}.",
                "Take the model that the weights are of.",
                "weights",
            )
    if not faults.found and not kept:
        faults.add(
            f"{source}: only layers sized by the number of classes have their names in the model, "
            "so nothing would begin with it.",
            "Leave train.start_from out.",
            "weights",
        )
    faults.check()
    model.load_state_dict({**own, **kept})
    return fresh


def is_torchvision(name: str) -> bool:
    """Whether a model is one of torchvision's builders."""
    return name.startswith("torchvision.models.")


def pretrained_file(name: str, weights: str) -> tuple[str, Path]:
    """The address of torchvision's own weights, and the file in which torch keeps them here.

    Args:
        name: The builder's path, such as ``torchvision.models.resnet18``.
        weights: ``DEFAULT``, ``IMAGENET1K_V1`` or the like.

    Raises:
        RequestError: If there are no such weights.
    """
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
            "bad-value",
        )
    url: str = known[word].url
    return url, Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def put_pretrained(
    model: nn.Module, name: str, builder: Callable[..., nn.Module], keywords: Mapping[str, Any]
) -> dict[str, str]:
    """Puts torchvision's own weights into a model that was built for other classes.

    The builder itself reads them into a second model: it knows the names that older files have.

    Args:
        model: Takes them.
        name: The builder's path.
        builder: Builds the second model.
        keywords: Of the builder, with ``weights`` and ``num_classes``.

    Returns:
        As `begin_from`.

    Raises:
        RequestError: If there are no such weights, or they cannot be had.
    """
    word = keywords["weights"].rpartition(".")[2]
    url, place = pretrained_file(name, word)
    others = {k: v for k, v in keywords.items() if k not in ("weights", "num_classes", "progress")}
    try:
        filled = builder(weights=word, progress=False, **others)
    except Exception as error:
        there = place.is_file()
        wrong = "holds no such weights" if there else "is not there and cannot be downloaded"
        raise RequestError(
            f"model.weights={word}: {shown(place, 300)} {wrong}: {type(error).__name__}: "
            f"{shown(error, 160)}.",
            f"{'Replace it by' if there else 'Put there'} {url}, or leave model.weights out.",
            "weights",
        ) from error
    width = keywords["num_classes"]
    return put_weights(model, filled.state_dict(), width, f"{name}, weights {word}")


def without_weights(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same run beginning with weights of no file, for whoever puts others in anyway."""
    bare = with_value(configuration, "train.start_from", None)
    named = is_torchvision(bare["model"]["name"]) and "weights" in bare["model"]
    return with_value(bare, "model.weights", None) if named else bare


def _is_head(own: Tensor, other: Tensor, width: int) -> bool:
    """Whether two tensors differ at most in the number of classes, their first dimension."""
    same = own.ndim == other.ndim and own.ndim > 0 and own.shape[1:] == other.shape[1:]
    return same and len(own) == width


def _is_counter(name: str) -> bool:
    """Whether it is batch normalization's count of batches, which files of old torch lack."""
    return name.rpartition(".")[2] == "num_batches_tracked"


def _within(name: str, layers: Mapping[str, str]) -> bool:
    return name in layers or name.rpartition(".")[0] in layers


def _refuse_names(names: Sequence[str], source: str, what: str, faults: Faults) -> None:
    if names:
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        faults.add(
            f"{source} {what} {', '.join(map(shown, names[:8]))}{more}.",
            "Take the model that the weights are of.",
            "weights",
        )


def read_weights(path: str) -> dict[str, Tensor]:
    """The tensors of a file; executes nothing of it.

    Raises:
        RequestError: If there is no such file, or it holds no weights.
    """
    file = _file(path)
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        held = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file that is none makes of its reader
        raise _no_weights(path, f"{type(error).__name__}: {shown(error, 160)}") from error
    if isinstance(held, Mapping) and isinstance(held.get("state_dict"), Mapping):
        held = held["state_dict"]  # as many training scripts save it
    if not (
        isinstance(held, Mapping) and held and all(isinstance(v, Tensor) for v in held.values())
    ):
        raise _no_weights(path, f"it holds {type(held).__name__}")
    return {str(name): tensor for name, tensor in held.items()}


def weights_digests(configuration: Mapping[str, Any]) -> dict[str, str]:
    """For each key of a configuration that names a file of weights the sha256 of that file.

    Raises:
        RequestError: If there is no such file.
    """
    model, files = configuration.get("model", {"name": ""}), {}
    if path := get(configuration, "train.start_from"):
        files["train.start_from"] = _file(path)
    if is_torchvision(model["name"]) and model.get("weights"):
        files["model.weights"] = pretrained_file(model["name"], model["weights"])[1]
    return {key: _sha256(path) for key, path in files.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(path: str) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise RequestError(
            f"train.start_from: there is no file {shown(path, 200)}.",
            "Give a .safetensors file, such as a run's best.safetensors, or a .pt file.",
            "weights",
        )
    return file


def _no_weights(path: str, why: str) -> RequestError:
    return RequestError(
        f"train.start_from: {shown(path, 200)} holds no weights: {why}.",
        "Give a .safetensors file, or a state dict saved by torch.save.",
        "weights",
    )


def train_only(model: nn.Module, prefixes: Sequence[str]) -> list[nn.Module]:
    """Freezes all parameters that begin with none of the prefixes.

    Returns:
        The layers with parameters or statistics of their own of which nothing is trained. In
        training they have to stay as in evaluation: normalization then keeps its statistics.

    Raises:
        RequestError: If nothing begins with a prefix.
    """
    if not prefixes:
        return []
    names = [name for name, _ in model.named_parameters()]
    faults = Faults()
    for prefix in prefixes:
        if not any(_begins(name, prefix) for name in names):
            tops = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
            hint = did_you_mean(prefix, tops)
            faults.add(
                f"train.only: no parameter begins with '{shown(prefix)}'.",
                hint if len(hint) < 200 else "paribus show EXPERIMENT lists the layers.",
                "unknown-key",
            )
    faults.check()
    for name, parameter in model.named_parameters():
        if not any(_begins(name, prefix) for prefix in prefixes):
            parameter.requires_grad_(False)
    return [
        module
        for name, module in model.named_modules()
        if not any(_begins(name, prefix) for prefix in prefixes)
        and [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        and not any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    ]


def _begins(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")

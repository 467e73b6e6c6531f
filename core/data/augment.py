"""Augmentation: transforms of torchvision.transforms.v2, drawn anew for each image and epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from paribus.core.config.schema import Component
from paribus.core.config.signatures import check_keywords, read_signature
from paribus.core.data.loader import Augment
from paribus.core.errors import Faults, RequestError, did_you_mean, shown


def make_augment(components: Sequence[Component]) -> Augment | None:
    """Return a function that applies the transforms in their order; None where there are none.

    Args:
        components: Names of `torchvision.transforms.v2`, with their keywords.

    Raises:
        RequestError: With all faults of all of them.
    """
    if not components:
        return None
    from torchvision.transforms import v2

    faults, made = Faults(), []
    for component in components:
        with faults.collecting():
            made.append(_make(component, v2))
    faults.check()
    transform = v2.Compose(made)

    def augment(image: Tensor) -> Tensor:
        changed: Tensor = transform(image)
        return changed

    return augment


def _make(component: Component, v2: Any) -> Any:
    name = component.name
    kind = getattr(v2, name, None)
    if not (isinstance(kind, type) and issubclass(kind, v2.Transform)):
        names = [n for n in dir(v2) if isinstance(getattr(v2, n), type) and n != "Transform"]
        near = did_you_mean(name, names)
        raise RequestError(
            f"augment: torchvision.transforms.v2 has no '{shown(name)}'.",
            near if near.startswith("Did") else "Such as RandomHorizontalFlip or RandomCrop.",
            "unknown-component",
        )
    signature = read_signature(kind, 0)
    keywords, errors = check_keywords(signature, component.keywords, "augment", name)
    if errors:
        raise RequestError.of(fault for error in errors for fault in error.faults)
    try:
        return kind(**keywords)
    except Exception as error:
        raise RequestError(
            f"augment {name} cannot be made: {type(error).__name__}: {shown(error, 200)}.",
            "Give it other keywords, as in augment=[RandomCrop(size=28, padding=2)].",
            "component-fails",
        ) from error

"""A run's id comes from its content: equal id means equal bits.

Every part is recorded by name, so that a difference can be explained. What changes no numbers
(where data lies, the git commit) is not part of it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from paribus.core.config.schema import Configuration, walk_components, with_value
from paribus.core.config.values import canonical_json
from paribus.core.runtime import settle
from paribus.core.sources.source_hash import Sources, owner, trace_file, trace_module

FORMAT = 1
# Raised when an edit of `core` changes the bits of the reference runs (tests/reference_runs.py).
NUMERICS = 2

# Keywords that say where data comes from or how it is read, and change no number.
NO_NUMBERS = ("root", "path", "download", "num_workers")


@cache
def environment() -> dict[str, Any]:
    """What of this process and machine decides bits, by name.

    Settles the process first (`paribus.core.runtime.settle`), and says what mode it is really in.
    """
    import numpy
    import torch

    mode = settle()
    built = torch.__config__.show()
    mkl = re.search(r"Math Kernel Library Version (\S+)", built)
    onednn = re.search(r"MKL-DNN v(\S+)", built)
    found = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "torch": str(torch.__version__),
        "torch_build": (torch.version.git_version or "")[:12],
        "numpy": numpy.__version__,
        "mkl": mkl.group(1) if mkl else None,
        "onednn": onednn.group(1) if onednn else None,
        "cpu": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": mode["threads"],
        "pinned": mode["pinned"],
        "MKL_CBWR": os.environ.get("MKL_CBWR") if mkl else None,
        "aligned": mode["aligned"],
    }
    for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"):
        if name in os.environ:
            found[name] = os.environ[name]
    return found


def device_environment(device: str) -> dict[str, Any]:
    """What of a GPU decides bits; nothing for the CPU."""
    if device != "cuda":
        return {}
    import torch

    return {
        "gpu": torch.cuda.get_device_name(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "driver": _driver(),
    }


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def trace_components(configuration: Configuration, file: Path) -> Sources:
    """Sources and distributions that a configuration's components depend on; executes nothing.

    Args:
        configuration: Names the components.
        file: The experiment's file.
    """
    from paribus.core.config.registry import NAMES

    in_file: list[str] = []
    found = Sources()
    for kind, component in walk_components(configuration):
        name = component.name
        if name in NAMES[kind]:
            name = NAMES[kind][name]
        elif ":" in name:
            in_file.append(name.partition(":")[2])
            continue
        elif "." not in name:
            in_file.append(name)
            continue
        if owner(name.split(".")[0]) in ("installed", "user"):
            found |= trace_module(name)
    plain = configuration.to_dict()
    if plain.get("augment"):
        found |= trace_module("torchvision.transforms.v2")
    for metric in plain.get("metrics", ()):
        found |= trace_module(metric if "." in metric else "torchmetrics")
    return found | trace_file(file, in_file)


def identity_parts(
    *,
    resolved: Mapping[str, Any],
    seed: int,
    engine: str,
    data_fingerprint: str | None,
    initial_weights: str | None,
    weights: Mapping[str, str],
    sources: Sources,
) -> dict[str, Any]:
    """All that decides a run's numbers, by name.

    Args:
        resolved: The resolved configuration.
        seed: The run's seed.
        engine: What trains it.
        data_fingerprint: sha256 of the data; None where a function keeps it to itself.
        initial_weights: sha256 of the weights that seed 0 begins with: a model may read them from
            a file of its own, of which nothing else here knows; None for a function.
        weights: For each key that names a file of weights to begin with that file's sha256,
            wherever it lies.
        sources: Digests and distributions of what its components are made of.
    """
    device = resolved["device"]
    configuration = {**resolved, "data": without_places(resolved)}
    for key, digest in weights.items():
        configuration = with_value(configuration, key, digest)
    return {
        "format": FORMAT,
        "numerics": NUMERICS,
        "configuration": configuration,
        "engine": engine,
        "device": device,
        "seed": seed,
        "data": data_fingerprint,
        "initial_weights": initial_weights,
        "sources": sources.digests,
        "distributions": sources.distributions,
        "environment": {**environment(), **device_environment(device)},
    }


def without_places(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The data component without what only says where its data lies; {} if there is none."""
    return {k: v for k, v in configuration.get("data", {}).items() if k not in NO_NUMBERS}


def run_id(experiment: str, parts: Mapping[str, Any]) -> str:
    """``<experiment>-s<seed>-<12 hex>``."""
    digest = hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:12]
    word = re.sub(r"[^A-Za-z0-9_]+", "-", experiment).strip("-")[:40] or "experiment"
    return f"{word}-s{parts['seed']}-{digest}"


def explain(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The parts of two identities that differ: ``{name: [then, now]}``, with dotted names."""
    from paribus.core.config.schema import difference

    found: dict[str, list[Any]] = {}
    for name in dict.fromkeys([*then, *now]):
        first, second = then.get(name), now.get(name)
        if first == second:
            continue
        if name == "configuration":
            found.update(difference(first or {}, second or {}))
        elif isinstance(first, Mapping) and isinstance(second, Mapping):
            keys = dict.fromkeys([*first, *second])
            found.update(
                {k: [first.get(k), second.get(k)] for k in keys if first.get(k) != second.get(k)}
            )
        else:
            found[name] = [first, second]
    return found


def _driver() -> str | None:
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    found = re.search(r"Kernel Module\s+(?:for \S+\s+)?(\S+)", text)
    return found.group(1) if found else None

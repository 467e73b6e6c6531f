"""A run's id comes from its content: equal id means equal bits.

Every part is recorded by name, so that a difference can be explained. What changes no numbers
(where data lies, the git commit) is not part of it.
"""

import hashlib
import inspect
import os
import platform
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from paribus.core.config.experiment import Experiment
from paribus.core.config.schema import (
    SCRIPT,
    Configuration,
    difference,
    walk_components,
    with_value,
)
from paribus.core.config.values import canonical_json
from paribus.core.runtime import settle
from paribus.core.sources.import_closure import ImportClosure, Sources
from paribus.core.sources.read_digests import by_base_name, digests_of, values_of
from paribus.core.sources.reads import Observed, Reads, module_names, read_by_import_of

FORMAT = 2
# Raised when an edit of `core` changes the bits of the reference runs (tests/reference_runs.py).
NUMERICS = 2

# Keywords that say where data comes from or how it is read, and change no number.
NO_NUMBERS = ("root", "path", "download", "num_workers")


@cache
def environment(device: str = "cpu") -> dict[str, Any]:
    """Return the properties of process and machine that can change floating-point results, by name.

    Settles the process first (`paribus.core.runtime.settle`).
    """
    import numpy
    import torch

    mode = settle()
    built = torch.__config__.show()
    mkl = _group(r"Math Kernel Library Version (\S+)", built)
    found = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "torch": str(torch.__version__),
        "torch_build": (torch.version.git_version or "")[:12],
        "numpy": numpy.__version__,
        "mkl": mkl,
        "onednn": _group(r"MKL-DNN v(\S+)", built),
        "cpu": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": mode["threads"],
        "pinned": mode["pinned"],
        "MKL_CBWR": os.environ.get("MKL_CBWR") if mkl else None,
        "aligned": mode["aligned"],
    }
    settings = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
    found |= {name: os.environ[name] for name in settings if name in os.environ}
    if device == "cuda":
        driver = _text_of("/proc/driver/nvidia/version")
        found |= {
            "gpu": torch.cuda.get_device_name(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "driver": _group(r"Kernel Module\s+(?:for \S+\s+)?(\S+)", driver),
        }
    return found


def cpu_model() -> str:
    """Return the processor's name as the system gives it."""
    found = _group(r"model name\s*:\s*(.+)", _text_of("/proc/cpuinfo"))
    return found.strip() if found else platform.processor() or platform.machine()


def _group(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match.group(1) if match else None


def _text_of(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError:
        return ""


def trace_components(
    configuration: Configuration, experiment: Experiment, read: Reads | Observed
) -> tuple[Sources, Observed]:
    """Return what the components, of an experiment's file or not, depend on; executes nothing.

    The experiment's file counts where a component is one of its objects, or it imports a module of
    the user's, which it could change.

    Args:
        configuration: It has been built in this process.
        experiment: The experiment as it was loaded.
        read: What was read while it was built; where a run is trained, what planning observed.
    """
    from paribus.core.config.registry import NAMES

    file = experiment.path
    # What a finished run carries may have been executed where it lay when it was trained.
    executed = [file, *experiment.places.values()]
    places = dict(read.modules) if isinstance(read, Observed) else {}
    closure = ImportClosure.beside(file, places)
    counts = closure.add_experiment(file)
    modules = [*places]
    for kind, component in walk_components(configuration):
        name = NAMES[kind].get(component.name, component.name)
        name = "timm.models" if name.startswith("timm:") else name
        if ":" in name or "." not in name:  # something of the experiment's file
            counts = True
        else:
            modules.append(name)
        if kind == "optimizer" and component.keywords.get("groups"):  # a function of it
            counts = True
        if kind == "model" and component.name not in NAMES[kind]:
            # What its predictions are may be said by the file.
            counts |= inspect.isfunction(experiment.objects.get("predict"))
    plain = configuration.to_dict()
    if plain.get("augment"):
        modules.append("torchvision.transforms.v2")
    for metric in plain.get("metrics", ()):
        name = metric if isinstance(metric, str) else metric["name"]
        modules.append(name if "." in name else "torchmetrics")
    if not (counts or read_by_import_of(executed).modules):
        closure.digests.clear()
        closure.distributions.clear()
    closure.add(modules)
    started: set[str] = set()  # a command's script, what that imports, and other files of its
    if command := experiment.command:
        words = command.render(
            {**command.levels, **configuration.component(SCRIPT).keywords}, 0, Path("/out")
        )
        started = set(map(str, command.files(words)))
        for imported in command.imports(words):
            closure.distributions |= imported.distributions
            started |= set(map(str, imported.files.values()))
    if isinstance(read, Observed):
        return closure.sources(), read
    while True:
        found = read_by_import_of([*executed, *closure.files.values()]) | read
        named = module_names(found.modules, closure.digests)
        if named.keys() <= closure.digests.keys():
            break
        closure.add_named(named)
    own = {os.path.realpath(path) for path in (*executed, *closure.files.values())}
    return closure.sources(), Observed(
        modules={name: path for name, path in closure.places.items() if name in closure.digests},
        # Of two modules of one name the second counts as a file that was read.
        files=tuple(sorted((found.files | found.modules | started) - own)),
        variables=tuple(sorted(found.variables)),
    )


def identity_parts(
    *,
    resolved: Mapping[str, Any],
    seed: int,
    engine: str,
    data_fingerprint: str | None,
    initial_weights: str | None,
    weights: Mapping[str, str],
    sources: Sources,
    folder: Path,
    observed: Observed,
) -> dict[str, Any]:
    """Return all that decides a run's numbers, by name.

    Args:
        resolved: The resolved configuration.
        seed: The run's seed.
        engine: What trains it.
        data_fingerprint: sha256 of the data; None where a function keeps it to itself.
        initial_weights: sha256 of the weights that seed 0 begins with, as a model may read them
            from a file of its own; None for a function.
        weights: For each key that names a file of weights that file's sha256.
        sources: Digests and distributions of what its components are made of.
        folder: Where the first of them lies, or lay when a run that carries it was trained.
        observed: Files and variables that were read on import and when the model was built.
    """
    device, several = resolved["device"], "processes" in resolved.get("train", {})
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
        "files": by_base_name(digests_of(observed.files), folder),
        "variables": values_of(observed.variables),
        "environment": dict(environment(device)),
        **({"collectives": _collectives(device)} if several else {}),
    }


def _collectives(device: str) -> str:
    """Return what sums the gradients of a run's processes: the order of a sum decides bits."""
    import torch

    if device == "cuda":
        return f"nccl {torch.cuda.nccl.version()}"  # type: ignore[no-untyped-call]
    return "gloo"


def without_places(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data component without keywords that only say where its data lies, or {}."""
    return {k: v for k, v in configuration.get("data", {}).items() if k not in NO_NUMBERS}


def run_id(experiment: str, parts: Mapping[str, Any]) -> str:
    """Return ``<experiment>-s<seed>-<12 hex>``."""
    digest = hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:12]
    word = re.sub(r"[^A-Za-z0-9_]+", "-", experiment).strip("-")[:40] or "experiment"
    return f"{word}-s{parts['seed']}-{digest}"


def read_parts(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an identity says was read, by name: sources, packages, files, variables."""
    parts = ("sources", "distributions", "files", "variables")  # records of format 1 lack the last
    return {name: value for part in parts for name, value in identity.get(part, {}).items()}


def explain(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the parts of two identities that differ: ``{name: [then, now]}``, dotted names."""
    found: dict[str, list[Any]] = {}
    for name in dict.fromkeys([*then, *now]):
        first, second = then.get(name), now.get(name)
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            found |= difference(first, second)
        elif first != second:
            found[name] = [first, second]
    return found

"""What the user's code reads while data are loaded, a model is built, and models are trained."""

import importlib
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import ModuleType

from paribus.core.config.experiment import Experiment, load_experiment
from paribus.core.config.schema import Configuration
from paribus.core.errors import RequestError, first_few
from paribus.core.fingerprint import trace_components
from paribus.core.run_spec import RunSpec
from paribus.core.sources.import_closure import Sources
from paribus.core.sources.read_digests import read_later
from paribus.core.sources.reads import (
    EXPERIMENT,
    Observed,
    Reads,
    is_users,
    module_names,
    observing,
)

Traced = tuple[Sources, dict[str, bytes], Observed]


class CodeReads:
    """Observe an experiment's code, each time as if nothing had been built before.

    Attributes:
        experiment: Loaded anew where it is observed after it has read something.
        of_data: What was read while data were loaded: their fingerprint covers it.
        later: What was read after models were built, in all trainings of this process.
        globals_set: Those that the data function sets, which a model may use.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.of_data, self.later = Reads(), Reads()
        self.globals_set: list[str] = []
        self._load_data: Callable[[], object] | None = None
        self._has_read = False

    @contextmanager
    def observing(self, read: Reads) -> Iterator[None]:
        """Add to `read` what the user's code reads in the block.

        What an earlier block imported or read may be in a registry or a cache of the user's, so
        that the modules are imported anew.
        """
        if self._has_read:
            modules = module_names(self.of_data.modules, ())
            self.experiment = load_experiment(self.experiment.path)
            with observing(Reads()):
                for name in modules:
                    importlib.import_module(name)
                if self._load_data:
                    self._load_data()
            self._has_read = False
        with observing(read):
            yield
        self._has_read = bool(read)

    def note_globals(
        self, name: str, before: Mapping[str, object], load_again: Callable[[], object]
    ) -> None:
        """Note which globals a data function has set, to call it again after another import.

        Raises:
            RequestError: If it sets any, and has been called with other keywords before.
        """
        after = user_globals()
        if changed := sorted(key for key in after if before.get(key) != after[key]):
            if self._load_data:
                raise RequestError(
                    f"data {name} changes {first_few(changed)} when it is called, so what it gives "
                    "with other keywords would depend on the order.",
                    "Make it anew in the function, or return it.",
                )
            self.globals_set, self._load_data = changed, load_again

    def trace(self, requested: Configuration, read: Reads | Observed) -> Traced:
        """Return digests and contents of the user's sources, and what else was read."""
        sources, observed = trace_components(requested, self.experiment, read)
        contents = {name: path.read_bytes() for name, path in sources.files.items()}
        return sources, contents, observed

    def later_of(self, run: RunSpec) -> dict[str, dict[str, str | None]]:
        """Return what was read while models were trained, with digests and values.

        What decides the run's id already is left out. What the data were loaded from is not, where
        it is read again: the data's fingerprint need not change with it.
        """
        copies = {run.path.parent / name for name in run.sources}
        sources = {os.path.realpath(p) for p in {*copies, *run.noted.get("sources", {}).values()}}
        files = {*run.observed.files, *sources}
        before = Reads(files, set(run.observed.variables), self.of_data.modules)
        return read_later(self.later, before, run.path.parent.resolve())


def is_defined_by_user(function: object) -> bool:
    """Return whether a function or class comes from a file of the user's."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    return is_users(getattr(module, "__file__", None) or "<none>")


def user_globals() -> dict[str, object]:
    """Return what the globals of the user's modules hold, and attributes of their classes.

    Pickled, so that a dict that was added to is another; of what is large or cannot be pickled,
    whether it is the same object.
    """
    found: dict[str, object] = {}
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        file = getattr(spec, "origin", None)  # of sys and others that have no file: "built-in"
        if isinstance(file, str) and getattr(spec, "has_location", False) and is_users(file):
            classes = [c for c in vars(module).values() if isinstance(c, type)]
            own = [c for c in classes if c.__module__ == name]
            place = name.removeprefix(EXPERIMENT)
            found |= {f"{place}.{key}": held for key, held in _held(module).items()}
            for one in own:
                found |= {f"{place}.{one.__name__}.{k}": held for k, held in _held(one).items()}
    return found


def _held(owner: object) -> dict[str, object]:
    held: dict[str, object] = {}
    for key, value in vars(owner).items():
        if not (key.startswith("__") or callable(value) or isinstance(value, ModuleType)):
            held[key] = id(value)
            if getattr(value, "nbytes", 0) < _LARGE:
                with suppress(Exception):
                    held[key] = pickle.dumps(value)
    return held


_LARGE = 1_000_000  # bytes

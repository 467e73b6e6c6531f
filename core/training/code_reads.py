"""What the user's code reads while data are loaded, a model is built, and models are trained."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

from paribus.core.config.experiment import Experiment, load_experiment
from paribus.core.config.schema import Configuration
from paribus.core.fingerprint import trace_components
from paribus.core.run_spec import RunSpec
from paribus.core.sources.import_closure import Sources
from paribus.core.sources.reads import Observed, Reads, module_names, observing, read_later

Traced = tuple[Sources, dict[str, bytes], Observed]


class CodeReads:
    """Observe an experiment's code, each time as if nothing had been built before.

    Attributes:
        experiment: Loaded anew where it is observed after it has read something.
        of_data: What was read while data were loaded: their fingerprint covers it.
        later: What was read after models were built, in all trainings of this process.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.of_data, self.later = Reads(), Reads()
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
            self._has_read = False
        with observing(read):
            yield
        self._has_read = bool(read)

    def trace(self, requested: Configuration, read: Reads | Observed) -> Traced:
        """Return digests and contents of the user's sources, and what else was read."""
        sources, observed = trace_components(requested, self.experiment, read)
        contents = {name: path.read_bytes() for name, path in sources.files.items()}
        return sources, contents, observed

    def later_of(self, run: RunSpec) -> dict[str, dict[str, str | None]]:
        """Return what was read while models were trained, with digests and values.

        What decides the run's id already, and what the data were loaded from, is left out.
        """
        copies = {run.path.parent / name for name in run.sources}
        sources = {os.path.realpath(p) for p in {*copies, *run.noted.get("sources", {}).values()}}
        before = Reads({*run.observed.files, *sources}, set(run.observed.variables))
        return read_later(self.later, before | self.of_data, run.path.parent.resolve())

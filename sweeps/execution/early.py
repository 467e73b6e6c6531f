"""What can be refused before torch is imported, which takes seconds: keys, names, engines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from paribus.core.config.experiment import Experiment, load_experiment
from paribus.core.config.registry import NAMES, resolve_component
from paribus.core.config.schema import (
    COMPONENTS,
    SYNONYMS,
    Configuration,
    fixed_keys,
    flatten,
    full_key,
    get,
    read_value,
    split_override,
    with_value,
)
from paribus.core.config.values import parse_component, split_commas
from paribus.core.errors import Faults, RequestError, nearest
from paribus.core.run_spec import choose_engine
from paribus.sweeps.study.axes import axis_key, with_example
from paribus.sweeps.study.levels import read_levels
from paribus.sweeps.study.lookup import request_for
from paribus.sweeps.study.request import RawRequest, Request
from paribus.sweeps.study.results_dir import ResultsDir


def early_request(root: ResultsDir, asked: RawRequest, faults: Faults) -> Request:
    """The request of a command, refused here if that can be done without torch.

    All faults of a request are told together. So where its overrides and axes hold more than can
    be judged here, or the experiment's file itself imports torch, nothing is refused yet: planning
    judges all of it.

    Args:
        root: Where runs are looked for.
        asked: What was typed.
        faults: What was found so far, of the command's options.

    Raises:
        RequestError: With all faults of the request.
    """
    request = None
    with faults.collecting():
        request = request_for(root, asked)
    if request is None:
        raise RequestError.of(faults.found)
    if _imports_torch(request):
        return request
    found = Faults()
    with found.collecting():
        choose_engine(asked.engine)
    if _Judge(request, found).whole:
        faults.found += found.found
        faults.check()
    return request


def data_of(request: Request) -> str:
    """The name of the data component, as far as it is known without reading overrides; or ""."""
    if request.asked is None and _imports_torch(request):
        return "sklearn.datasets" if "sklearn" in _text(request) else ""
    asked = request.asked or load_experiment(request.path, request.import_paths).baseline.to_dict()
    return str(get(asked, "data.name") or "")


def _imports_torch(request: Request) -> bool:
    """Whether running the experiment's file takes seconds, which this process can be spared."""
    return re.search(r"^(import|from) torch", _text(request), re.MULTILINE) is not None


def _text(request: Request) -> str:
    return request.path.read_text(encoding="utf-8", errors="replace")


class _Judge:
    """Judges keys, names and lengths by the experiment's file alone.

    Attributes:
        whole: Whether nothing was left to planning.
    """

    def __init__(self, request: Request, faults: Faults) -> None:
        self.faults, self.whole = faults, True
        with faults.collecting():
            self.experiment: Experiment = load_experiment(request.path, request.import_paths)
            self.baseline: Mapping[str, Any] = request.asked or self.experiment.baseline.to_dict()
            keys = [*fixed_keys(self.baseline), *flatten(self.baseline), *self.experiment.axes]
            self.certain = list(dict.fromkeys(keys))
            seen: set[str] = set()
            for text in request.overrides:
                if pair := split_override(text, faults):
                    self._take(seen, pair[0], pair[1], axis=False)
            seen.clear()
            for text in request.axes or ():
                key, equals, levels = text.partition("=")
                self._take(seen, key.strip(), levels if equals else None, axis=True)

    def _take(self, seen: set[str], key: str, text: str | None, *, axis: bool) -> None:
        if key in seen:
            self.whole = False
        seen.add(key)
        with self.faults.collecting():
            if not self._is_known(key):
                self.whole = False
                return
            if axis:
                axis_key(key, self.certain)
            if text is None:
                self.whole &= key in self.experiment.axes
            elif key in COMPONENTS:
                for part in split_commas(text) if axis else [text]:
                    self._check_name(key, parse_component(part, key)["name"])
            elif key.startswith("train."):
                self._check_length(key, text, axis)
            else:
                self.whole = False

    def _is_known(self, key: str) -> bool:
        """Whether there is such a key; false also where only a signature can tell.

        Raises:
            RequestError: If there is none for certain.
        """
        if key in self.certain:
            return True
        group, dot, inner = key.partition(".")
        if dot and group in COMPONENTS:
            return False
        lasts = [name.rsplit(".", 1)[-1] for name in self.certain]
        if dot and nearest(group, COMPONENTS) and inner not in lasts:
            return False  # what is meant is a keyword, for which there may be a nearest
        meant = SYNONYMS.get(key.rsplit(".", 1)[-1])
        if meant is not None and meant not in self.certain:
            return False
        full_key(key, self.certain)
        return True

    def _check_name(self, kind: str, name: str) -> None:
        """Refuses a short name that is in no table; whatever else it is, planning judges it."""
        if name in NAMES[kind] or name in self.experiment.objects or "." in name or ":" in name:
            self.whole = False
            return
        with self.faults.collecting():
            resolve_component(kind, name, self.experiment)

    def _check_length(self, key: str, text: str, axis: bool) -> None:
        current = get(self.baseline, key)
        with with_example(key, current):
            if axis:
                read = read_levels(key, text, self.baseline, self.experiment)
                ends = (read.range.low, read.range.high) if read.range else ()
                values = ends or read.values
                self.whole &= any(value != current for value in values)
            else:
                values = (read_value(key, text),)
        for value in values:
            with self.faults.collecting(), with_example(key, current):
                Configuration.parse(with_value(self.baseline, key, value), key)

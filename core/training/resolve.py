"""From what was asked to what is trained: defaults, data, length and machine filled in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from paribus.core.components.models import count_parameters, weights_hash
from paribus.core.components.optim import fused_by_default, skip_compiler_import
from paribus.core.components.pretrained import weights_digests, without_weights
from paribus.core.components.tasks import Task
from paribus.core.components.torchmetrics_adapter import ExtraMetric
from paribus.core.config.experiment import Experiment
from paribus.core.config.registry import build, check_components, resolve_component, with_defaults
from paribus.core.config.schema import Component, Configuration, ModelConfiguration, Split
from paribus.core.config.values import canonical_json
from paribus.core.data.augment import make_augment
from paribus.core.data.load import Source, load
from paribus.core.data.prepare import Data, prepare
from paribus.core.data.split import Method
from paribus.core.errors import Faults, RequestError
from paribus.core.fingerprint import identity_parts, run_id, trace_components
from paribus.core.run_spec import RunSpec, choose_engine
from paribus.core.runtime import is_claimed
from paribus.core.sources.source_hash import Sources
from paribus.core.training.cohort.eligibility import chain_of, group_of
from paribus.core.training.cohort.graph import UnsupportedModel
from paribus.core.training.dry_run import try_fit
from paribus.core.training.train_state import TrainState, length, make_train_state, selection


@dataclass(frozen=True)
class Probe:
    """What building a configuration once has shown.

    Attributes:
        facts: As `RunSpec` has them.
        initial_weights: sha256 of the weights that seed 0 begins with; None for a function.
        engine: What trains it by itself.
        why: Why that is no cohort, if it is not.
        group: Of `RunSpec`.
    """

    facts: dict[str, Any]
    initial_weights: str | None
    engine: str
    why: str | None = None
    group: str | None = None


class Resolver:
    """Resolves configurations of one experiment; loads its data once.

    Args:
        experiment: The experiment whose file components may come from.
    """

    def __init__(self, experiment: Experiment) -> None:
        if is_claimed():  # the console script trains here; workers have done it themselves
            skip_compiler_import()
        self.experiment = experiment
        self._sources: dict[str, Source] = {}
        self._data: dict[str, Data] = {}  # by what it is made of
        self._data_of: dict[str, Data] = {}  # by configuration
        self._accepted: dict[str, ModelConfiguration] = {}
        self._resolved: dict[str, dict[str, Any]] = {}
        self._trials: dict[str, Probe] = {}
        self._traced: dict[str, tuple[str | None, Sources, dict[str, bytes]]] = {}

    def data(self, asked: Configuration) -> Data:
        """The prepared parts that a configuration is trained on.

        Raises:
            RequestError: If the data cannot be loaded or divided, or a function keeps it to itself.
        """
        configuration = self._checked(asked)
        key = canonical_json(asked.to_dict())
        if key not in self._data_of:
            self._data_of[key] = self._load(configuration)
        return self._data_of[key]

    def _load(self, configuration: ModelConfiguration) -> Data:
        full = with_defaults(configuration, self.experiment)
        targets = self._task(full).targets
        source_key = canonical_json([full["data"], targets, full["split"]["seed"]])
        if source_key not in self._sources:
            component = resolve_component("data", configuration.data.name, self.experiment)
            self._sources[source_key] = load(
                component.function,
                configuration.data.keywords,
                name=f"data {configuration.data.name}",
                seed=configuration.split.seed,
                targets=targets,
            )
        key = canonical_json([source_key, full["split"], full["standardize"], full["augment"]])
        if key not in self._data:
            split, source = configuration.split, self._sources[source_key]
            usual: Method = "stratified" if targets == "classes" else "random"
            _refuse_unused_split(split, source, usual)
            self._data[key] = prepare(
                source,
                method=split.method or usual,
                seed=split.seed,
                val_fraction=split.val_fraction,
                test_fraction=split.test_fraction,
                standardize=configuration.standardize,
                augment=make_augment(configuration.augment),
            )
        return self._data[key]

    def configuration(self, asked: Configuration) -> dict[str, Any]:
        """The resolved configuration: nothing in it is left to be decided.

        Raises:
            RequestError: With all faults found in components, data and their fit.
        """
        key = canonical_json(asked.to_dict())
        if key not in self._resolved:
            self._resolved[key] = self._resolve(self._checked(asked))
        return self._resolved[key]

    def specify(self, asked: Configuration, seed: int, engine: str = "auto") -> RunSpec:
        """A run of this configuration, after two examples went through model and loss.

        Raises:
            RequestError: If the run cannot be trained as asked.
        """
        resolved = self.configuration(asked)
        key = canonical_json(asked.to_dict())
        if key not in self._traced:
            sources = trace_components(asked, self.experiment.path)
            contents = {name: path.read_bytes() for name, path in sources.files.items()}
            self._traced[key] = self.data_record(asked)["fingerprint"], sources, contents
        fingerprint, sources, contents = self._traced[key]
        trial = self._tried(asked, resolved)
        chosen = choose_engine(engine, trial.engine, trial.why)
        parts = identity_parts(
            resolved=resolved,
            weights=weights_digests(resolved),
            seed=seed,
            engine=chosen,
            data_fingerprint=fingerprint,
            initial_weights=trial.initial_weights,
            sources=sources,
        )
        return RunSpec(
            id=run_id(self.experiment.name, parts),
            experiment=self.experiment.name,
            path=self.experiment.path,
            asked=asked.to_dict(),
            configuration=resolved,
            seed=seed,
            engine=chosen,
            identity=parts,
            facts=trial.facts,
            sources=contents,
            group=trial.group if chosen == "cohort" else None,
        )

    def why_no_cohort(self, asked: Configuration) -> str | None:
        """Why a cohort cannot train this, a clause about it; None if one can.

        Raises:
            RequestError: If it cannot be trained at all.
        """
        return self._tried(asked, self.configuration(asked)).why

    def data_record(self, asked: Configuration) -> dict[str, Any]:
        """What a record says of the data: fingerprint, sizes, preprocessing; and its targets."""
        data = self.data(asked)
        return {
            "fingerprint": data.fingerprint,
            **data.sizes(),
            "preprocessing": data.preprocessing,
            "targets": data.val.targets,
        }

    def train_state(
        self, asked: Configuration, seed: int, *, pretrained: bool = True
    ) -> TrainState:
        """All parts of a run, built.

        Args:
            asked: The configuration.
            seed: The run's seed.
            pretrained: Whether the files of weights that it names are read; not where others are
                put in its model anyway.
        """
        found: Mapping[str, Any] = self.configuration(asked)
        found = found if pretrained else without_weights(found)
        return make_train_state(found, self.experiment, self.data(asked), seed)

    def task(self, asked: Configuration) -> Task:
        """The task, made with its keywords."""
        return self._task(with_defaults(self._checked(asked), self.experiment))

    def _checked(self, asked: Configuration) -> ModelConfiguration:
        """Its keywords as their parameters take them: ``none`` as null, 1 as 1.0."""
        if not isinstance(asked, ModelConfiguration):
            raise RequestError(
                f"{self.experiment.path.name} is a function as an experiment, which keeps its "
                "model and its data to itself.",
                "There are show, check, run, sweep, compare, plot and reproduce for it.",
                "script",
            )
        key = canonical_json(asked.to_dict())
        if key not in self._accepted:
            faults = Faults()
            self._accepted[key] = check_components(asked, self.experiment, faults)
            faults.check()
        return self._accepted[key]

    def _task(self, full: Mapping[str, Any]) -> Task:
        component = resolve_component("task", full["task"]["name"], self.experiment)
        found: Task = build(component, {k: v for k, v in full["task"].items() if k != "name"})
        return found

    def _tried(self, asked: Configuration, resolved: dict[str, Any]) -> Probe:
        """What is found out by building a configuration once."""
        key = canonical_json(asked.to_dict())
        if key not in self._trials:
            data = self.data(asked)
            train_state = make_train_state(resolved, self.experiment, data, seed=0)
            initial = weights_hash(train_state.model.state_dict())
            engine, why, group = "cohort", None, None
            try:
                group = group_of(train_state, chain_of(train_state), data.fingerprint)
            except UnsupportedModel as reason:
                engine, why = "loop", str(reason)
            try_fit(train_state, update=engine == "loop")
            facts = {
                "epochs": train_state.epochs,
                "updates": train_state.updates,
                "updates_per_epoch": math.ceil(len(data.train) / train_state.batch_size),
                "parameters": count_parameters(train_state.model),
                "directions": {f"val/{e.key}": e.direction for e in train_state.extra_metrics},
                **({"fresh": train_state.fresh} if train_state.fresh else {}),
            }
            self._trials[key] = Probe(facts, initial, engine, why, group)
        return self._trials[key]

    def _resolve(self, asked: ModelConfiguration) -> dict[str, Any]:
        full = with_defaults(asked, self.experiment)
        data = self.data(asked)
        task = self._task(full)
        width = task.width(data.outputs)
        steps = math.ceil(len(data.train) / asked.train.batch_size)
        epochs, updates = length(full["train"], steps)
        self._fill(full, "model", data.filled(width))
        self._fill(full, "scheduler", self._known_to_scheduler(full, epochs, updates, steps))
        full["device"] = choose_device(asked.device)
        self._fuse(full, asked.optimizer)
        full["split"]["method"] = asked.split.method or (
            "stratified" if task.targets == "classes" else "random"
        )
        full["standardize"] = data.preprocessing["standardize"] is not None
        extra = [ExtraMetric(name, task, data.outputs) for name in asked.metrics]
        metric, direction = selection(full, task, extra)
        full["select"] = {"metric": metric, "direction": direction}
        return full

    def _known_to_scheduler(
        self, full: Mapping[str, Any], epochs: int, updates: int, steps: int
    ) -> dict[str, Any]:
        """The length of training in the units that a scheduler counts."""
        component = resolve_component("scheduler", full["scheduler"]["name"], self.experiment)
        lr = {"max_lr": full["optimizer"].get("lr")}
        counted = {"epochs", "steps_per_epoch"} & full["scheduler"].keys()
        if component.parameter("total_steps") and not counted:
            return {"total_steps": updates, **lr}
        return {"T_max": epochs, "epochs": epochs, "steps_per_epoch": steps, **lr}

    def _fill(self, full: dict[str, Any], kind: str, known: Mapping[str, Any]) -> None:
        component = resolve_component(kind, full[kind]["name"], self.experiment)
        given = full[kind]
        for name, parameter in component.signature.parameters.items():
            if name in given or not component.filled_later(name):
                continue
            if name in known:
                given[name] = known[name]
            elif parameter.required:
                raise RequestError(
                    f"{kind} {given['name']} needs '{name}', which does not follow from this data.",
                    f"Give {kind}.{name}=VALUE.",
                    "missing-keyword",
                )

    def _fuse(self, full: dict[str, Any], asked: Component) -> None:
        component = resolve_component("optimizer", asked.name, self.experiment)
        defaults = component.defaults()
        chosen = "fused" in asked.keywords or any(
            asked.keywords.get(name, defaults.get(name)) != defaults.get(name)
            for name in ("foreach", "differentiable", "capturable")
        )
        if component.parameter("fused") and not chosen:
            full["optimizer"]["fused"] = fused_by_default(component.function, full["device"])


def _refuse_unused_split(split: Split, source: Source, usual: Method) -> None:
    """Refuses what was asked of a split where the data function made the parts itself.

    Raises:
        RequestError: Naming the keys; it would be recorded, and change nothing.
    """
    if "all" in source.parts:
        return
    asked = split.model_copy(update={"method": split.method or usual})
    idle = Split(method=usual, seed=asked.seed if source.drawn else 0)
    unused = [f"split.{key}={value}" for key, value in asked if value != getattr(idle, key)]
    if unused:
        raise RequestError(
            f"{source.name} gives ready-made parts, so {', '.join(unused)} would change nothing.",
            "Leave it out, or return one set of examples.",
            "split",
        )


def choose_device(device: str) -> str:
    """``cpu`` or ``cuda``; auto takes a GPU where there is one.

    Raises:
        RequestError: If a GPU is asked for and there is none.
    """
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise RequestError(
            "device=cuda: there is no CUDA device here.", "Take device=cpu or auto.", "device"
        )
    return "cuda" if there and device != "cpu" else "cpu"

"""From a requested configuration to what is trained: defaults, data, length, machine filled in.

This is the one place that decides whether a configuration can be trained: its keywords fit their
signatures (`check_components`), what they leave open follows from data and length
(`Resolver.configuration`), and the parts fit each other on a few examples (`dry_run`). Whether a
cohort may train it is decided by `eligibility`.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from paribus.core.components.metrics import choose_selection, extra_metrics
from paribus.core.components.models import count_parameters, tensor_hashes, weights_hash
from paribus.core.components.optim import fused_by_default, options, skip_compiler_import
from paribus.core.components.pretrained import (
    examples_of,
    refuse_seen,
    weights_digests,
    without_weights,
)
from paribus.core.components.tasks import Task
from paribus.core.config.experiment import Experiment
from paribus.core.config.registry import (
    FROM_DATA_TOO,
    INTERVAL,
    build,
    check_components,
    resolve_component,
    with_defaults,
)
from paribus.core.config.schema import (
    SCRIPT,
    VAL_FRACTION,
    Component,
    Configuration,
    Method,
    ModelConfiguration,
    Split,
    get,
)
from paribus.core.config.values import canonical_json
from paribus.core.data.images import make_augment
from paribus.core.data.load import Source, load
from paribus.core.data.prepare import Data, prepare
from paribus.core.errors import Faults, RequestError, first_few, many, shown
from paribus.core.fingerprint import explain, identity_parts, run_id
from paribus.core.run_spec import RunSpec, choose_engine
from paribus.core.runtime import is_claimed
from paribus.core.sources.read_digests import digests_of, is_secret
from paribus.core.sources.reads import Observed, Reads, observing
from paribus.core.training.code_reads import CodeReads, Traced, is_defined_by_user, user_globals
from paribus.core.training.cohort.eligibility import Read, cohort_group
from paribus.core.training.cohort.graph import LayerGraph, UnsupportedModel, read_graph
from paribus.core.training.cohort.traced import TracedGraph, read_module
from paribus.core.training.dry_run import dry_run, embeds, layer_outputs
from paribus.core.training.train_state import (
    TrainState,
    length,
    make_architecture,
    make_train_state,
    seeds_are_overridden,
    simulate,
    updates_per_epoch,
)

Found = TypeVar("Found")
Remembered = TypeVar("Remembered", bound=Callable[..., Any])
_CHEAP = 1.0  # seconds to make a model, up to which it is made a second time


@dataclass(frozen=True)
class Probe:
    """What building a configuration once has shown; facts and group are those of `RunSpec`.

    Attributes:
        initial_weights: sha256 of the weights that seed 0 begins with; None for a function.
        traced: What the user's code is and read until it was built: as `CodeReads.trace`.
        engine: What trains it when it is trained alone.
        why: Why that is no cohort, if it is not.
        fused: The optimizer's `fused` that can update this model, where the user does not choose.
        options: The optimizer's options of the first update, by group.
    """

    facts: dict[str, Any]
    initial_weights: str | None
    traced: Traced
    engine: str
    why: str | None = None
    group: str | None = None
    fused: bool | None = None
    options: list[dict[str, Any]] = field(default_factory=list)


def _once(method: Remembered) -> Remembered:
    """Call a resolver's method once for each configuration, and fold of the seed if it takes one.

    A method with a seed is called with the fold that the seed validates on.
    """

    @functools.wraps(method)
    def remembered(resolver: Resolver, requested: Configuration, *seed: int) -> Any:
        fold = [each % (resolver.split(requested).folds or 1) for each in seed]
        call = functools.partial(method, resolver, requested, *fold)
        return resolver.remember(method.__name__, [requested.to_dict(), *fold], call)

    return cast(Remembered, remembered)


class Resolver:
    """Resolve configurations of one experiment; load its data once.

    Args:
        experiment: The experiment whose file components may come from.

    Attributes:
        reads: What the user's code reads.
    """

    def __init__(self, experiment: Experiment) -> None:
        if is_claimed():  # the console script trains here; workers have done it themselves
            skip_compiler_import()
        self.reads = CodeReads(experiment)
        self._memory: dict[tuple[str, str], Any] = {}

    @property
    def experiment(self) -> Experiment:
        """The experiment as it was loaded last."""
        return self.reads.experiment

    def remember(self, what: str, key: Any, make: Callable[[], Found]) -> Found:
        """Return what `make` returned when it was first called for this key."""
        place = what, canonical_json(key)
        if place not in self._memory:
            self._memory[place] = make()
        return self._memory[place]

    def specify(
        self,
        requested: Configuration,
        seed: int,
        engine: str = "auto",
        planned: Observed | None = None,
    ) -> RunSpec:
        """Return a run of this configuration, after a few examples went through model and loss.

        Raises RequestError if the run cannot be trained as requested.

        Args:
            requested: The configuration.
            seed: The run's seed.
            engine: As the command line has it.
            planned: What planning saw the user's code read, where the run is to be trained.
        """
        resolved = self.configuration(requested, seed)
        probe = self._probe(requested, seed)
        data = self.data_record(requested, seed)["fingerprint"]
        if begun := get(resolved, "train.start_from"):
            refuse_seen(begun, examples_of(resolved, seed, data))
        traced = probe.traced
        if planned:
            key = requested.to_dict()
            trace = functools.partial(self.reads.trace, requested, planned)
            # A command reads its files anew each time that it is started; imports are done once.
            traced = trace() if self.experiment.command else self.remember("planned", key, trace)
        sources, contents, observed = traced
        places = {n: self.experiment.places.get(n, path) for n, path in sources.files.items()}
        own, why, group = probe.engine, probe.why, probe.group
        if engine == "cohort" and own == "loop":  # on request, as another form of the cohort
            group, why = self._traced(requested, seed)
            own = "loop" if why else "cohort"
        chosen = choose_engine(engine, own, why)
        parts = identity_parts(
            resolved=resolved,
            weights=weights_digests(resolved),
            seed=seed,
            engine=chosen,
            data_fingerprint=data,
            initial_weights=probe.initial_weights,
            sources=sources,
            folder=next(iter(places.values()), self.experiment.path).resolve().parent,
            observed=observed,
        )
        return RunSpec(
            id=run_id(self.experiment.name, parts),
            experiment=self.experiment.name,
            path=self.experiment.path,
            requested=requested,
            configuration=resolved,
            seed=seed,
            engine=chosen,
            identity=parts,
            facts=probe.facts | self._missing_classes(requested, seed),
            sources=contents,
            observed=observed,
            noted={
                "sources": {name: str(path) for name, path in places.items()},
                "files": digests_of(observed.files),
                "secrets": [name for name in observed.variables if is_secret(name)],
                **({"globals": self.reads.globals_set} if self.reads.globals_set else {}),
            },
            group=group if chosen == "cohort" else None,
        )

    def refuse_changed(self, run: RunSpec, *, ended: bool = False) -> None:
        """Refuse a run whose data, weights, sources or environment differ from the plan's.

        Args:
            run: As planned.
            ended: Whether it was trained: files that are new since may be its own.
        """
        here = self.specify(run.requested, run.seed, run.engine, run.observed)
        differs = explain(run.identity, here.identity)
        if ended:
            differs = {name: pair for name, pair in differs.items() if pair[0] is not None}
        if here.id != run.id and (differs or not ended):
            text = "; ".join(f"{name}: {a} → {b}" for name, (a, b) in differs.items())
            raise RequestError(
                f"{run.id}: what {'was' if ended else 'would be'} trained is not what was planned: "
                f"{shown(text, 400)}.",
                "Run the command again. Data or weights that differ at each call have to be "
                "seeded; a folder whose names your code lists (NAME/) is not one to write results "
                "into, and what a command writes is best named by {out}.",
                "changed",
            )

    def summary(self, requested: Configuration, engine: str) -> dict[str, Any]:
        """Return configuration, engine, layers, learning rates and sizes of the data, for `show`.

        Model, data and learning rates of a function are None.

        Raises:
            RequestError: If it cannot be trained as requested.
        """
        run, why = self.specify(requested, 0, engine), self._probe(requested, 0).why
        model = data = rates = None
        if run.engine != SCRIPT:
            train_state = self.train_state(requested, 0)
            layers = layer_outputs(train_state)
            model = {"parameters": run.facts["parameters"], "layers": layers}
            prepared = self.data(requested, 0)
            data = {"fingerprint": prepared.fingerprint, **prepared.sizes()}
            each = [groups[0].get("lr") for groups in simulate(train_state)]
            follows = train_state.scheduler_steps != "validation"  # else from how it goes
            rates = {
                "interval": train_state.scheduler_steps,
                "first": each[0],
                "middle": each[(len(each) - 1) // 2] if follows else None,
                "last": each[-1] if follows else None,
            }
        return {
            "configuration": run.configuration,
            "engine": run.engine,
            "why_no_cohort": None if run.engine == "cohort" else why,
            "why_traced": why if run.engine == "cohort" else None,
            "facts": run.facts,
            "model": model,
            "data": data,
            "learning_rate": rates,
        }

    def schedule(self, requested: Configuration) -> Iterator[list[dict[str, Any]]]:
        """Yield the optimizer's options of each update, by group, as `simulate` does.

        Raises:
            RequestError: If it cannot be trained as requested.
        """
        yield self._probe(requested, 0).options
        yield from islice(simulate(self.train_state(requested, 0)), 1, None)

    def _missing_classes(self, requested: Configuration, seed: int) -> dict[str, Any]:
        absent = self.data(requested, seed).absent()
        return {"absent": absent} if absent else {}

    @_once
    def configuration(self, requested: Configuration, fold: int) -> dict[str, Any]:
        """Return the resolved configuration, in which nothing is left to be decided.

        It differs between folds where their training parts have other words.

        Raises:
            RequestError: With all faults found in components, data and their fit.
        """
        full = self._filled(requested, fold)
        if full["optimizer"].get("fused"):
            with suppress(RequestError):  # `specify` raises it
                fused = self._probe(requested, fold).fused
                full = {**full, "optimizer": {**full["optimizer"], "fused": fused}}
        return full

    @_once
    def _filled(self, requested: Configuration, fold: int) -> dict[str, Any]:
        """Return the configuration with what follows from signatures, data, length and device."""
        checked = self._checked(requested)
        full = with_defaults(checked, self.experiment)
        data, task = self.data(requested, fold), self.task(requested)
        steps = updates_per_epoch(full["train"], len(data.train))
        epochs, updates = length(full["train"], steps)
        self._fill(full, "model", data.filled(task.width(data.outputs)))
        # The length of training in the units that a scheduler counts.
        scheduler = resolve_component("scheduler", full["scheduler"]["name"], self.experiment)
        interval = full["scheduler"].get(INTERVAL)
        known = {"T_max": updates if interval == "update" else epochs}
        known |= {"epochs": epochs, "steps_per_epoch": steps}
        counted = {"epochs", "steps_per_epoch"} & full["scheduler"].keys()
        if scheduler.parameter("total_steps") and not counted:
            known = {"total_steps": epochs if interval == "epoch" else updates}
        self._fill(full, "scheduler", {**known, "max_lr": full["optimizer"].get("lr")})
        full["device"] = choose_device(checked.device)
        _refuse_processes(full, len(data.train))
        self._choose_fused(full, checked.optimizer)
        full["split"] = self.split(requested).to_record()
        full["standardize"] = data.preprocessing["standardize"] is not None
        extra = extra_metrics(full["metrics"], task, data.outputs)
        full["select"] = choose_selection(full["select"], task, extra)
        return full

    @_once
    def source(self, requested: Configuration) -> Source:
        """Return what the data function gave, before it is split.

        Raises:
            RequestError: If it cannot be loaded, or a function keeps it to itself.
        """
        return self._source(requested)[0]

    @_once
    def split(self, requested: Configuration) -> Split:
        """Return how the examples are divided, with method and folds decided.

        Raises:
            RequestError: If the data cannot be loaded, or a key of the split would change nothing.
        """
        split, source = self._checked(requested).split, self.source(requested)
        usual: Method = "random"
        if self.task(requested).targets == "classes":
            usual = "stratified"
        ready_made = "all" not in source.parts
        if ready_made:
            _refuse_unused_split(split, source, usual)
        _refuse_contradictions(split)
        return split.resolved(usual, ready_made=ready_made)

    @_once
    def data(self, requested: Configuration, fold: int) -> Data:
        """Return the prepared parts that a configuration is trained on with a seed.

        Raises:
            RequestError: If the data cannot be loaded or divided, or a function keeps it to itself.
        """
        checked, task = self._checked(requested), self.task(requested)
        source, _, key = self._source(requested)
        full, split = with_defaults(checked, self.experiment), self.split(requested)
        validates = None if checked.final_epoch else fold
        divided = [key, split.to_record(), validates]

        def prepared(embedded: bool) -> Data:
            return self.remember(
                "prepared",
                [divided, full["standardize"], full["augment"], embedded],
                lambda: prepare(
                    source,
                    split,
                    checked.standardize,
                    make_augment(checked.augment),
                    fold=validates,
                    embedded=embedded,
                ),
            )

        if source.whole and not checked.standardize:
            embedded = self.remember(
                "embeds",
                [divided, full["model"]],
                lambda: self._embeds(full, prepared(embedded=True), task),
            )
            if embedded:
                return prepared(embedded=True)
        return prepared(embedded=False)

    def _embeds(self, full: Mapping[str, Any], data: Data, task: Task) -> bool:
        """Return whether the model looks its inputs up in an embedding."""
        trial = copy.deepcopy(dict(full))
        with suppress(RequestError):  # of a model that cannot be built: said where it is built
            self._fill(trial, "model", data.filled(task.width(data.outputs)))
            with self.reads.observing(Reads()):
                _, call = make_architecture(trial, self.experiment)
                return embeds(call, data.train.inputs_of(2)[0])
        return False

    def _source(self, requested: Configuration) -> tuple[Source, Reads, list[Any]]:
        """Return what the data function gives, what the user's code read for it, and its key."""
        checked, targets = self._checked(requested), self.task(requested).targets
        name, seed = checked.data.name, checked.split.seed

        def load_again() -> Source:
            function = resolve_component("data", name, self.experiment).function
            keywords = checked.data.keywords
            return load(function, keywords, name=f"data {name}", seed=seed, targets=targets)

        def observed() -> tuple[Source, Reads]:
            with self.reads.observing(read := Reads()):
                function = resolve_component("data", name, self.experiment).function
                before = user_globals() if is_defined_by_user(function) else None
                found = load_again()
            if before is not None:
                self.reads.note_globals(name, before, load_again)
            self.reads.of_data |= read
            return found, read

        key = [with_defaults(checked, self.experiment)["data"], targets, seed]
        return *self.remember("source", key, observed), key

    def data_record(self, requested: Configuration, seed: int) -> dict[str, Any]:
        """Return what a record says of the data, and the validation targets."""
        data = self.data(requested, seed)
        return {
            "fingerprint": data.fingerprint,
            **data.sizes(),
            "preprocessing": data.preprocessing,
            "targets": data.val.targets,
        }

    @_once
    def task(self, requested: Configuration) -> Task:
        """Return the task, made with its keywords."""
        keywords = with_defaults(self._checked(requested), self.experiment)["task"]
        component = resolve_component("task", keywords.pop("name"), self.experiment)
        return build(component, keywords)

    def train_state(
        self, requested: Configuration, seed: int, *, pretrained: bool = True
    ) -> TrainState:
        """Build all parts of a run.

        The files of weights that it names are not read where others are put in its model anyway
        (`pretrained` false).
        """
        resolved: Mapping[str, Any] = self.configuration(requested, seed)
        resolved = resolved if pretrained else without_weights(resolved)
        return make_train_state(resolved, self.experiment, self.data(requested, seed), seed)

    @_once
    def _checked(self, requested: Configuration) -> ModelConfiguration:
        """Return it with keywords in the types of their parameters: ``none`` as None, 1 as 1.0."""
        if not isinstance(requested, ModelConfiguration):
            raise RequestError(
                f"{self.experiment.path.name} is a function as an experiment, which keeps its "
                "model and its data to itself.",
                "There are show, check, run, sweep, compare, plot and reproduce for it.",
            )
        faults = Faults()
        checked = check_components(requested, self.experiment, faults)
        faults.check()
        return checked

    def _probe(self, requested: Configuration, seed: int) -> Probe:
        """Build the configuration, and try it, once for all folds of equal shapes."""
        data = self.data(requested, seed)
        shapes = [requested.to_dict(), data.filled(1), len(data.train), len(data.val)]
        if self._checked(requested).train.start_from:  # whose words may be those of one fold
            shapes.append(data.preprocessing)
        return self.remember("probe", shapes, lambda: self._probe_anew(requested, data, seed))

    def _probe_anew(self, requested: Configuration, data: Data, seed: int) -> Probe:
        """Build the configuration once, and try it: unfused where the fused form cannot update it.

        Fused forms take no sparse gradients and no complex parameters.
        """
        full = self._filled(requested, seed)
        try:
            return self._try(requested, full, data)
        except RequestError:
            chosen = "fused" in requested.component("optimizer").keywords
            if chosen or not full["optimizer"].get("fused"):
                raise
        full = {**full, "optimizer": {**full["optimizer"], "fused": False}}
        return self._try(requested, full, data)

    def _try(self, requested: Configuration, full: Mapping[str, Any], data: Data) -> Probe:
        read = Reads()
        started, overridden = time.perf_counter(), False
        with self.reads.observing(read):
            train_state = make_train_state(full, self.experiment, data, seed=0)
        if time.perf_counter() - started < _CHEAP:
            begun = train_state
            overridden = self.remember(
                "repeatable", full["model"], lambda: self._overrides_seeds(full, data, begun)
            )
        of_data = self._source(requested)[1]
        # What sets a global that a model may use is part of the model.
        read |= of_data if self.reads.globals_set else Reads(modules=of_data.modules)
        # Now, as what is imported is forgotten before others are built.
        traced = self.reads.trace(requested, read)
        first = options(train_state.optimizer)
        initial = weights_hash(train_state.model.state_dict())
        engine, why, group = "cohort", None, None
        with observing(self.reads.later):
            try:
                group = cohort_group(train_state, data.fingerprint, self._once_of(full, read_graph))
            except UnsupportedModel as reason:
                engine, why = "loop", str(reason)
            by_batch = dry_run(train_state, update=engine == "loop")
        per_epoch = updates_per_epoch(full["train"], len(data.train))
        facts = {
            "epochs": train_state.last_epoch,
            "updates": min(train_state.updates, train_state.last_epoch * per_epoch),
            "updates_per_epoch": per_epoch,
            "parameters": count_parameters(train_state.model),
            "directions": {f"val/{e.key}": e.direction for e in train_state.extra_metrics},
            **({"fresh": train_state.fresh} if train_state.fresh else {}),
            **({"loss_by_batch": True} if by_batch else {}),
            **({"seeds_overridden": True} if overridden else {}),
        }
        fused = full["optimizer"].get("fused")
        return Probe(facts, initial, traced, engine, why, group, fused, first)

    def _once_of(self, full: Mapping[str, Any], read: Read) -> Read:
        """Read a module once for all settings with the same model and data."""

        def read_once(model: nn.Module, example: Tensor) -> LayerGraph | TracedGraph:
            made = [full["model"], full["data"], list(example.shape), str(example.dtype)]
            return self.remember(read.__name__, made, lambda: read(model, example))

        return read_once

    @_once
    def _traced(self, requested: Configuration, fold: int) -> tuple[str | None, str | None]:
        """Return the group of a module that is no chain, or why no cohort can train it."""
        with observing(self.reads.later):
            data = self.data(requested, fold).fingerprint
            try:
                train_state = self.train_state(requested, fold)
                read = self._once_of(train_state.configuration, read_module)
                return cohort_group(train_state, data, read, integers=True), None
            except UnsupportedModel as reason:
                return None, str(reason)

    def _overrides_seeds(self, full: Mapping[str, Any], data: Data, begun: TrainState) -> bool:
        """Return whether a model begins with equal weights under two seeds: `seeds_are_overridden`.

        Raises:
            RequestError: If the same seed gives it other weights when it is made a second time.
        """
        name = full["model"]["name"]
        function = resolve_component("model", name, self.experiment).function
        if function.__module__.split(".")[0] in ("paribus", "torch", "torchvision"):
            return False
        once = tensor_hashes(begun.model.state_dict())
        second = make_train_state(full, self.experiment, data, seed=0).model
        again = tensor_hashes(second.state_dict())
        if differ := [key for key in {**once, **again} if once.get(key) != again.get(key)]:
            raise RequestError(
                f"model {name}: made twice with the same seed, {first_few(differ)} "
                f"{'differs' if len(differ) == 1 else 'differ'}.",
                "Draw from the global generators of torch, numpy or Python, which are seeded, not "
                "from the time, the network or a counter.",
            )
        return seeds_are_overridden(begun, make_train_state(full, self.experiment, data, seed=1))

    def _fill(self, full: dict[str, Any], kind: str, known: Mapping[str, Any]) -> None:
        """Fill in the keywords of a component that follow from data or length."""
        given = full[kind]
        component = resolve_component(kind, given["name"], self.experiment)
        for name, parameter in component.signature.parameters.items():
            if name in given or not component.filled_later(name):
                continue
            if (source := FROM_DATA_TOO.get(name, name)) in known:
                given[name] = known[source]
            elif parameter.required:
                raise RequestError(
                    f"{kind} {given['name']} needs '{name}', which does not follow from this data.",
                    f"Give {kind}.{name}=VALUE.",
                    "missing-keyword",
                )

    def _choose_fused(self, full: dict[str, Any], requested: Component) -> None:
        """Take the optimizer's fused form unless the user chose another."""
        component = resolve_component("optimizer", requested.name, self.experiment)
        defaults, keywords = component.defaults(), requested.keywords
        chosen = "fused" in keywords or any(
            keywords.get(name, defaults.get(name)) != defaults.get(name)
            for name in ("foreach", "differentiable", "capturable")
        )
        if component.parameter("fused") and not chosen:
            full["optimizer"]["fused"] = fused_by_default(component.function, full["device"])


def _refuse_unused_split(split: Split, source: Source, usual: Method) -> None:
    """Refuse keys of a split that change nothing where the data function makes the parts itself."""
    idle = Split(method=usual, seed=split.seed if source.drawn else 0)
    given = split.model_copy(update={"method": split.method or usual})
    if split.val_fraction in (None, VAL_FRACTION) and split.folds in (None, 1):  # as older ones
        given = given.model_copy(update={"val_fraction": None, "folds": None})
    unused = [f"split.{key}={value}" for key, value in given if value != getattr(idle, key)]
    if unused:
        raise RequestError(
            f"{source.name} gives ready-made parts, so {', '.join(unused)} would change nothing.",
            "Leave it out, or return one set of examples.",
        )


def _refuse_contradictions(split: Split) -> None:
    """Refuse keys of a split that say different things, all together."""
    faults, method, drawn = Faults(), split.method, ["folds", "group_on", "stratify_on"]
    if split.time_on:
        keys = ["folds", "stratify_on", *(["method"] if method != "in_order" else [])]
        why = "contradicts split.time_on, by which time alone divides and one part validates"
    else:
        keys = drawn if method in ("in_order", "none") else drawn[2:] if method == "random" else []
        kind = "stratified" if method == "random" else "drawn"
        why = f"needs examples that are {kind}, and split.method is {method}"
    for key, value in split:
        if key in keys and value not in (None, 1):
            hint = f"Leave split.{key} out"
            hint += "." if split.time_on or key != "folds" else ", or set split.method=random."
            faults.add(f"split.{key}={value} {why}.", hint)
    if split.gap is not None and not split.time_on:
        hint = "Give split.time_on=COLUMN too."
        faults.add("split.gap is a length of time, and there is no split.time_on.", hint)
    faults.check()


def _refuse_processes(full: Mapping[str, Any], examples: int) -> None:
    """Refuse more processes than have a GPU, or examples."""
    train = full["train"]
    processes = train.get("processes", 1)
    there = torch.cuda.device_count()
    if full["device"] == "cuda" and processes > there:
        text = f"train.processes={processes}: each takes a GPU, and there is {many(there, 'GPU')}."
        raise RequestError(text, "Take fewer, or device=cpu.")
    last = examples % (train["batch_size"] * processes) or examples
    if last < processes and (last == examples or train.get("sync_batch_norm")):
        text = f"train.processes={processes}: an epoch's last batches have {many(last, 'example')}."
        raise RequestError(text, "Take fewer, or another train.batch_size.")


def choose_device(device: str) -> str:
    """Return ``cpu`` or ``cuda``; auto takes a GPU where there is one.

    Raises:
        RequestError: If a GPU is requested and there is none.
    """
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise RequestError("device=cuda: there is no CUDA device here.", "Take device=cpu or auto.")
    return "cuda" if there and device != "cpu" else "cpu"

"""The configuration of a run: frozen pydantic models, dotted keys, overrides.

A configuration is what was *requested*. What follows from signatures, data and machine is filled
in by `training.resolve`. This module imports no torch.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from paribus.core.config.signatures import accepts, describe, words_of
from paribus.core.config.values import (
    NULL_WORDS,
    as_plain,
    parse_component,
    parse_components,
    parse_value,
    show_value,
    with_place,
)
from paribus.core.errors import Faults, RequestError, did_you_mean, nearest, one_of, shown

SCRIPT = "script"  # a function as an experiment, in place of all other components
COMPONENTS = ("task", "data", "model", "loss", "optimizer", "scheduler", SCRIPT)

Direction = Literal["maximize", "minimize"]
Interval = Literal["update", "epoch", "validation"]  # after which a scheduler steps
Precision = Literal["fp32", "bf16", "fp16"]  # of a model's computations
Method = Literal["stratified", "random", "in_order", "none"]  # of a split

FOLDS, VAL_FRACTION = 5, 0.15  # of a split by default

# The metric by which a task chooses its best epoch by default.
DEFAULT_METRICS = {
    "binary": "val/accuracy",
    "multiclass": "val/accuracy",
    "multilabel": "val/f1",
    "regression": "val/mae",
}

# Which way is better, of the metrics that runs have by themselves.
DIRECTIONS: dict[str, Direction] = {
    **dict.fromkeys(("accuracy", "precision", "recall", "f1", "r2"), "maximize"),
    **dict.fromkeys(("loss", "mae", "mse"), "minimize"),
}

# What people type for a hyperparameter that has another name here.
SYNONYMS = {
    "learning_rate": "optimizer.lr",
    "hidden_units": "model.hidden_dim",
    "hidden_size": "model.hidden_dim",
    "layers": "model.num_layers",
    "n_layers": "model.num_layers",
    "num_epochs": "train.epochs",
    "max_epochs": "train.epochs",
    "bs": "train.batch_size",
    "wd": "optimizer.weight_decay",
    "criterion": "loss",
    "dataset": "data",
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Component(_Frozen):
    """A pluggable part: its name and keyword arguments."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: str = Field(min_length=1)

    @property
    def keywords(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


_named = BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)
AComponent = Annotated[Component, _named]


def _is_none(value: object) -> bool:
    return value is None


class Split(_Frozen):
    """How the examples are divided.

    Attributes:
        method: stratified, random, in_order or none; default: stratified for classes, else random.
        seed: Decides which examples; apart from the run's seed.
        folds: Into how many folds all but the test part is cut: the run of seed j validates on fold
            j mod folds and trains on the others. 1: all seeds validate on one part. Default: 5
            where examples are drawn at random, else 1.
        val_fraction: Share of validation, in place of folds; default: 0.15 where there are none.
        test_fraction: Share of test.
        group_on: A column whose values are never in two parts, such as a customer's id.
        time_on: A column of numbers or dates: validation lies after training, test after
            validation, each in one part for all seeds.
        gap: At least so much time between these parts: a number, or for dates such as 7d; what
            lies in it is in no part.
        stratify_on: A column whose values have equal shares in all parts, in place of the class.
    """

    method: Method | None = None
    seed: int = Field(default=0, ge=0)
    folds: int | None = Field(default=None, ge=1)
    val_fraction: float | None = Field(default=None, gt=0, lt=1)
    test_fraction: float = Field(default=0.15, ge=0, lt=1)
    group_on: str | None = Field(default=None, min_length=1, exclude_if=_is_none)
    time_on: str | None = Field(default=None, min_length=1, exclude_if=_is_none)
    gap: float | str | None = Field(default=None, exclude_if=_is_none)
    stratify_on: str | None = Field(default=None, min_length=1, exclude_if=_is_none)

    @model_validator(mode="after")
    def _folds_or_share(self) -> Split:
        if self.folds not in (None, 1) and self.val_fraction is not None:
            raise ValueError("give either split.folds or split.val_fraction")
        return self

    @property
    def columns(self) -> dict[str, str]:
        """The columns that the split goes by: ``{"group_on": "customer"}``."""
        named = {k: getattr(self, k) for k in ("group_on", "time_on", "stratify_on")}
        return {key: name for key, name in named.items() if name is not None}

    def resolved(self, usual: Method, *, ready_made: bool) -> Split:
        """Return it with method, folds and share of validation decided.

        Without a method it is the `usual` one; data that is `ready_made` has its parts already.
        """
        usual = "in_order" if self.time_on else "stratified" if self.stratify_on else usual
        method = self.method or usual
        drawn = method in ("stratified", "random") and not ready_made
        folds = self.folds or (FOLDS if drawn and self.val_fraction is None else 1)
        share = (self.val_fraction or VAL_FRACTION) if folds == 1 else None
        return self.model_copy(update={"method": method, "folds": folds, "val_fraction": share})

    def to_record(self) -> dict[str, Any]:
        """Return what a resolved configuration says of it; one fold as before there were any."""
        idle = "folds" if self.folds == 1 else "val_fraction"
        return self.model_dump(exclude={idle})


class Train(_Frozen):
    """How training goes.

    Attributes:
        epochs: Length of training in epochs; or
        updates: in optimizer steps.
        batch_size: Examples that go through the model together.
        accumulate: Batches of an update: it is made with the mean gradient of all their examples.
        processes: Processes that train the run together, each its own batches: an update is made
            with those of all. On GPUs each has one.
        sync_batch_norm: Whether batch normalization is over the batches of all processes.
        eval_batch_size: Examples of a batch that is only evaluated.
        clip_grad_norm: The gradient's norm is cut to this before each update; None: never.
        precision: What the model computes in, training and evaluating: fp32, or bf16 or fp16 by
            torch.autocast. Weights, loss and metrics are fp32.
        ema: Decay of a moving average of the weights, which is what is evaluated and saved; none:
            the weights themselves are.
        patience: Training ends after so many epochs without a better one; None: never.
        start_from: A file of weights (safetensors, or a state dict of torch) to begin with.
        only: Prefixes of the parameters to train, all others stay as they are; none: all train.
    """

    epochs: int | None = Field(default=None, ge=1)
    updates: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=64, ge=1)
    accumulate: int = Field(default=1, ge=1, exclude_if=lambda number: number == 1)
    processes: int = Field(default=1, ge=1, exclude_if=lambda number: number == 1)
    sync_batch_norm: bool = Field(default=False, exclude_if=lambda wanted: not wanted)
    eval_batch_size: int = Field(default=1000, ge=1)
    clip_grad_norm: float | None = Field(default=None, gt=0)
    precision: Precision = Field(default="fp32", exclude_if=lambda kind: kind == "fp32")
    ema: float | None = Field(default=None, gt=0, lt=1, exclude_if=lambda decay: decay is None)
    patience: int | None = Field(default=None, ge=1)
    start_from: str | None = Field(default=None, min_length=1)
    only: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _one_unit(self) -> Train:
        if (self.epochs is None) == (self.updates is None):
            raise ValueError("give either train.epochs or train.updates")
        return self


class Select(_Frozen):
    """What chooses the best epoch.

    Attributes:
        metric: A validation metric; default: val/accuracy, val/f1 (multilabel) or val/mae.
        direction: maximize or minimize; default: as the metric is known.
    """

    metric: str | None = None
    direction: Direction | None = None


class Configuration(_Frozen):
    """Everything that decides the numbers of a run, but for its seed."""

    @classmethod
    def parse(cls, mapping: Mapping[str, Any], where: str) -> Configuration:
        """Return the configuration of a nested mapping: a function's if it has a ``script``.

        Raises RequestError with every fault found, each naming its key.
        """
        form, faults, plain = form_of(mapping), Faults(), {}
        for key, value in mapping.items():
            with faults.collecting():
                known = key in form.model_fields  # an unknown key is refused whatever its value
                plain[key] = _of_file(key, value, f"{where}: {key}") if known else None
        refused = mapping.keys() - plain.keys()
        try:
            parsed = form.model_validate(plain)
        except ValidationError as error:
            for item in error.errors():
                if not refused & set(item["loc"][:1]):  # else it is missing because it was refused
                    _explain(item, where, form, faults)
        faults.check()
        return parsed

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain values, as JSON holds them."""
        return self.model_dump(mode="json")

    def replace(self, key: str, value: Any) -> Configuration:
        """Return a copy with one dotted key set as by `with_value`; refuse what does not fit."""
        return Configuration.parse(with_value(self.to_dict(), key, value), key)

    def component(self, kind: str) -> Component:
        """Return the component of one of the kinds `COMPONENTS` that it has."""
        return getattr(self, kind)


class ModelConfiguration(Configuration):
    """Of an experiment that names its parts, which are trained here.

    Attributes:
        standardize: Mean 0 and deviation 1 by the training part; default: true for tables.
        augment: Transforms of torchvision.transforms.v2, for the training part only.
        metrics: Further validation metrics of torchmetrics: [AUROC, MulticlassAccuracy(top_k=2)].
        device: auto, cpu or cuda.
        final_epoch: Set by `paribus finalize` alone: all but the test part is trained on, nothing
            validates, and training stops after this epoch of its schedule.
    """

    task: AComponent
    data: AComponent
    model: AComponent
    loss: AComponent
    optimizer: AComponent
    scheduler: AComponent = Component(name="constant")
    split: Split = Split()
    standardize: bool | None = None
    augment: Annotated[tuple[AComponent, ...], Field(strict=False)] = ()
    train: Train
    metrics: Annotated[tuple[str | Component, ...], Field(strict=False)] = ()
    select: Select = Select()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    final_epoch: int | None = Field(default=None, ge=1, exclude_if=_is_none)


# Keys that a record leaves out where they have these defaults, as records without them are older.
IDLE: dict[str, dict[str, Any]] = {
    "train": {name: f.default for name, f in Train.model_fields.items() if f.exclude_if}
}


class ScriptConfiguration(Configuration):
    """Of a function as an experiment: all but its keywords is its own affair."""

    script: AComponent
    select: Select = Select()
    device: Literal["auto"] = "auto"  # it takes what it finds


def form_of(configuration: Container[str]) -> type[Configuration]:
    """Return the form that a nested mapping is meant to have."""
    return ScriptConfiguration if SCRIPT in configuration else ModelConfiguration


def fixed_keys(configuration: Container[str] = ()) -> list[str]:
    """Return the dotted keys of such a configuration that depend on no component's signature."""
    keys = []
    for name, field in form_of(configuration).model_fields.items():
        kind = field.annotation
        if name == "final_epoch":
            continue  # no hyperparameter
        if name in COMPONENTS or not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            keys.append(name)
        else:
            keys += [f"{name}.{inner}" for inner in kind.model_fields]
    return keys


def flatten(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested configuration by dotted key; a component's name stands under its kind."""
    flat: dict[str, Any] = {}
    for name, value in configuration.items():
        if isinstance(value, Mapping):
            for inner, item in {**value, **IDLE.get(name, {}), **value}.items():
                flat[name if name in COMPONENTS and inner == "name" else f"{name}.{inner}"] = item
        else:
            flat[name] = value
    return flat


def difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the dotted keys that differ: ``{key: [first, second]}``; None where one has none."""
    a, b = flatten(first), flatten(second)
    keys = [*a, *(key for key in b if key not in a)]
    return {
        key: [a.get(key), b.get(key)]
        for key in keys
        if (key in a) != (key in b) or not same_value(a.get(key), b.get(key))
    }


def same_value(first: Any, second: Any) -> bool:
    """Return whether values are equal: true is not 1, while 1 and 1.0 are the same number."""
    if isinstance(first, bool) is not isinstance(second, bool):
        return False
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same_value, first, second))
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(same_value(first[k], second[k]) for k in first)
    return bool(first == second)


def get(configuration: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key; a component's kind gives ``{"name": …, keywords}``.

    None where there is none: a keyword that its component needs and nobody has given yet.
    """
    value: Any = configuration
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    group, _, inner = key.partition(".")
    return IDLE.get(group, {}).get(inner) if value is None else value


def with_value(configuration: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a copy with one dotted key set.

    Epochs and updates replace each other, as folds and a share of validation do; another metric
    brings its own direction.
    """
    changed = {k: dict(v) if isinstance(v, Mapping) else v for k, v in configuration.items()}
    group, _, inner = key.partition(".")
    if not inner:
        changed[group] = value
        return changed
    changed[group] = {**changed.get(group, {}), inner: value}
    replaced = {
        "train.epochs": "updates", "train.updates": "epochs", "select.metric": "direction",
        "split.folds": "val_fraction", "split.val_fraction": "folds",
    }.get(key)  # fmt: skip
    if replaced and (key, value) != ("split.folds", 1):
        changed[group][replaced] = None
    return changed


def full_key(key: str, known: Iterable[str]) -> str:
    """Return the one known key that this is, or is the last part of, as ``lr`` may be."""
    known = list(known)
    if key in known:
        return key
    ends = [name for name in known if name.rpartition(".")[2] == key]
    if len(ends) == 1:
        return ends[0]
    if ends:
        choices = one_of(f"'{name}'" for name in ends)
        raise RequestError(f"'{shown(key)}' may be {choices}.", "Write the whole key.")
    raise unknown_key(key, known)


def unknown_key(key: str, known: Sequence[str]) -> RequestError:
    """Return the error of an unknown key, with the nearest: ``optimizer.lr`` for learning_rate."""
    last = key.rsplit(".", 1)[-1]
    by_last = {name.rsplit(".", 1)[-1]: name for name in reversed(known)}  # the first one wins
    meant = by_last.get(last) or _synonym(last, known)
    group = key.split(".", 1)[0]
    inside = [name.rsplit(".", 1)[-1] for name in known if name.startswith(f"{group}.")]
    # Equal groups make unlike keys alike: model.drop_rat and model.pretrained.
    close = nearest(last, inside) if inside else nearest(key, known)
    if meant is None and close and inside:
        meant = f"{group}.{close}"
    elif meant is None and (close := close or nearest(last, by_last)):
        meant = close if close in known else by_last[close]
    groups = list(dict.fromkeys(name.split(".", 1)[0] for name in known))
    near = group if group in groups else nearest(group, groups)
    siblings = [name for name in known if name.startswith(f"{near}.")]
    if meant:
        hint = f"Did you mean '{meant}'?"
    elif siblings:
        hint = f"Choose {shown(one_of(siblings), 300)}." if inside else did_you_mean(key, siblings)
    else:
        hint = f"Groups are {', '.join(groups)}; paribus show EXPERIMENT lists their keys."
    return RequestError(f"There is no hyperparameter '{shown(key)}'.", hint)


def _synonym(word: str, known: Sequence[str]) -> str | None:
    """Return the key that another library's word means, if this configuration has it."""
    meant = SYNONYMS.get(word)
    if meant is None or meant in known:
        return meant
    group, _, last = meant.partition(".")
    if group not in {name.partition(".")[0] for name in known}:
        return next((name for name in known if name.endswith(f".{last}")), None)
    # Its keywords are not known yet, or it has no such.
    return None if any(name.startswith(f"{group}.") for name in known) else meant


def split_override(text: str, faults: Faults) -> tuple[str, str] | None:
    """Return ``KEY=VALUE`` as (key, value); add a fault and return None if it has another form."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        faults.add(f"'{shown(text)}' is not KEY=VALUE.", "Write, for example, optimizer.lr=0.01.")
        return None
    return key.strip(), value


def annotation_of(key: str, form: type[Configuration] = ModelConfiguration) -> Any:
    """Return what a key of such a configuration takes; None for a component's keyword."""
    annotation: Any = form
    for part in key.split("."):
        field = getattr(annotation, "model_fields", {}).get(part)
        if field is None:
            return None
        annotation = field.annotation
    return Annotated[annotation, field]


def read_value(key: str, text: str, where: str | None = None) -> Any:
    """Return the value that a text means: a component, a list of words, or a scalar.

    Messages call its place `where`, or by its key.
    """
    where = where or key
    if key in COMPONENTS:
        return parse_component(text, where)
    annotation = annotation_of(key)
    is_list = annotation is not None and accepts(annotation, [])
    if is_list and text.strip() in (*NULL_WORDS, "[]"):
        return []
    if key == "augment":
        return parse_components(text, where)
    if key == "metrics":
        return [_metric(component) for component in parse_components(text, where)]
    value = parse_value(text, where)
    if not isinstance(value, str) or annotation is None:
        return value
    if is_list:
        return [word.strip() for word in value.split(",")]
    is_null = value in NULL_WORDS and value not in words_of(annotation)
    return None if is_null and accepts(annotation, None) else value


def accept_value(key: str, value: Any) -> Any:
    """Return a value for a key; a text is read as typed, a Python value stays as it is."""
    is_component = isinstance(value, Mapping) and "name" in value
    if isinstance(value, str) or (key in COMPONENTS and not is_component):
        return read_value(key, show_value(value))
    return with_place(value) if is_component else value


def _of_file(key: str, value: Any, where: str) -> Any:
    """Return a file's value of a top-level key: in a list, or in its place, a text is as typed."""
    value = as_plain(value, where)
    if isinstance(value, str) and key in ("augment", "metrics"):
        return read_value(key, value, where)
    if key in ("augment", "metrics") and isinstance(value, list | tuple):
        found = [parse_component(v, where) if isinstance(v, str) else v for v in value]
        return found if key == "augment" else [_metric(component) for component in found]
    return value


def _metric(component: Any) -> Any:
    """Return a metric's name where it has no keywords: as records have always had it."""
    is_bare = isinstance(component, Mapping) and component.keys() == {"name"}
    return component["name"] if is_bare else component


def _explain(item: Any, where: str, form: type[Configuration], faults: Faults) -> None:
    """Add one of pydantic's errors as a fault that names the dotted key and what is valid."""
    key = ".".join(str(part) for part in item["loc"] if not str(part).startswith("function"))
    kind = item["type"]
    if kind == "extra_forbidden":
        error = unknown_key(key, fixed_keys(form.model_fields))
        faults.add(f"{where}: {error.message}", error.hint)
    elif kind == "missing":
        faults.add(f"{where}: '{key}' is missing.", "Add it.")
    elif kind == "value_error" and key in ("train", "split"):
        such = {"train": "{epochs: 20}", "split": "{folds: 5}"}[key]
        faults.add(f"{where}: {item['ctx']['error']}.", f"Such as {key}: {such}.")
    else:
        before = "" if where == key else f"{where}: "
        wanted = item["msg"].removeprefix("Input should be ")
        if (annotation := annotation_of(key, form)) is not None:
            wanted = describe(annotation)
        text = f"{before}{key}={shown(show_value(item.get('input')))}: must be {wanted}."
        faults.add(text)


def walk_components(configuration: Configuration) -> Iterator[tuple[str, Component]]:
    """Yield (kind, component) of those it has, in the order of `COMPONENTS`."""
    for kind in COMPONENTS:
        if kind in type(configuration).model_fields:
            yield kind, configuration.component(kind)

"""Components: from a name to a callable, and its keywords checked against the signature.

A name is a short one of the table, a dotted path, or ``file.py:name`` for an object of the
experiment's file (its bare name will do where the table has no such name).
"""

import functools
import importlib
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from urllib.error import URLError

from pydantic import Field

from paribus.core.config.command import Command
from paribus.core.config.experiment import HIDDEN, Experiment, check_function
from paribus.core.config.schema import (
    COMPONENTS,
    Component,
    Configuration,
    Interval,
    fixed_keys,
    same_value,
    walk_components,
)
from paribus.core.config.signatures import (
    REQUIRED,
    UNRECORDED,
    Parameter,
    Signature,
    check_keywords,
    plain_default,
    read_signature,
)
from paribus.core.errors import Faults, RequestError, did_you_mean, shown
from paribus.core.sources.module_finder import Finder
from paribus.core.sources.reads import Reads, observing

# torch's own, by their names in lower case.
_OPTIMIZERS = (
    "SGD Adam AdamW RMSprop Adadelta Adafactor Adagrad Adamax ASGD LBFGS Muon NAdam RAdam Rprop"
)
NAMES: dict[str, dict[str, str]] = {
    "task": {
        "binary": "paribus.core.components.tasks.Binary",
        "multiclass": "paribus.core.components.tasks.Multiclass",
        "multilabel": "paribus.core.components.tasks.Multilabel",
        "regression": "paribus.core.components.tasks.Regression",
    },
    "data": {
        "digits": "paribus.core.data.sklearn_files.digits",
        "images": "paribus.core.data.images.images",
        "table": "paribus.core.data.tables.table",
        "text": "paribus.core.data.texts.text",
        "datasets": "paribus.core.data.hub.datasets",
    },
    "model": {
        "linear": "paribus.core.components.models.Linear",
        "mlp": "paribus.core.components.models.MLP",
        "cnn": "paribus.core.components.models.CNN",
        "text_bag": "paribus.core.components.models.TextBag",
    },
    "loss": {
        "cross_entropy": "paribus.core.components.losses.CrossEntropy",
        "bce_with_logits": "paribus.core.components.losses.BCEWithLogits",
        "bce": "paribus.core.components.losses.BCE",
        "mse": "torch.nn.MSELoss",
        "l1": "torch.nn.L1Loss",
        "huber": "torch.nn.HuberLoss",
        "model": "paribus.core.components.losses.ModelLoss",
    },
    "optimizer": {
        **{name.lower(): f"torch.optim.{name}" for name in _OPTIMIZERS.split()},
        "sparse_adam": "torch.optim.SparseAdam",
    },
    "scheduler": {
        "constant": "paribus.core.components.optim.Constant",
        "cosine": "torch.optim.lr_scheduler.CosineAnnealingLR",
        "linear_warmup": "paribus.core.components.optim.LinearWarmup",
        "one_cycle": "torch.optim.lr_scheduler.OneCycleLR",
        "plateau": "torch.optim.lr_scheduler.ReduceLROnPlateau",
        "step": "torch.optim.lr_scheduler.StepLR",
    },
    "script": {},
}

# Losses that mean something for some tasks only; of another task they may still run, and mislead.
# Torch's classes and functions, by their names.
LOSS_TASKS = {
    **dict.fromkeys(("CrossEntropyLoss", "MultiMarginLoss"), ("multiclass",)),
    **dict.fromkeys(("cross_entropy", "multi_margin_loss"), ("multiclass",)),
    **dict.fromkeys(("BCEWithLogitsLoss", "SoftMarginLoss"), ("binary", "multilabel")),
    "binary_cross_entropy_with_logits": ("binary", "multilabel"),
    "soft_margin_loss": ("binary", "multilabel"),
    **dict.fromkeys(("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss"), ("multilabel",)),
    **dict.fromkeys(("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"), ("regression",)),
    **dict.fromkeys(("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"), ("regression",)),
}

# Filled in from the data where a signature names them and the user did not.
FROM_DATA = (
    "in_features", "out_features", "num_classes", "input_shape", "in_channels", "vocab_size"
)  # fmt: skip
# So are these, which timm and transformers name so, where they have no default.
FROM_DATA_TOO = {"in_chans": "in_channels", "num_labels": "out_features"}
# Filled in from the length of training (T_max and total_steps in what the scheduler counts), and
# from the optimizer's learning rate.
FROM_LENGTH = ("T_max", "total_steps", "epochs", "steps_per_epoch")
FROM_LR = ("max_lr",)

# When a scheduler steps, where the object does not say it: no keyword of its own.
INTERVAL = "interval"
# Into which groups an optimizer's parameters are divided (`components.optim.parameter_groups`).
NO_DECAY, LR_SCALE, GROUPS = "no_weight_decay", "lr_scale", "groups"
_Scales = dict[str, Annotated[float, Field(gt=0)]]
# Keys of a component that it is not called with: what they say, take, and the keyword that they
# are about, without which there is no such key.
_BESIDE: dict[str, dict[str, tuple[str, Any, str | None]]] = {
    "scheduler": {INTERVAL: ("when a scheduler steps", Interval, None)},
    "optimizer": {
        NO_DECAY: ("which parameters do not decay", str | list[str] | None, "weight_decay"),
        LR_SCALE: ("which parameters have other learning rates", _Scales | None, "lr"),
        GROUPS: ("which function makes the groups of parameters", str | None, None),
    },
}

# The same from scikit-learn's files, without importing scikit-learn.
_FROM_FILES = {
    f"sklearn.datasets.{name}": f"paribus.core.data.sklearn_files.{name}"
    for name in ("load_breast_cancer", "load_diabetes", "load_iris", "load_wine")
}

Form = TypeVar("Form", bound=Configuration)


@dataclass(frozen=True)
class Resolved:
    """A component's callable and the keywords that a user may give it."""

    kind: str
    name: str
    function: Callable[..., Any]
    signature: Signature

    def filled_later(self, keyword: str) -> bool:
        """Return whether a keyword follows from data, length or object unless the user gives it.

        Some do where the signature has no default of its own.
        """
        parameter = self.parameter(keyword)
        required = parameter is not None and parameter.required
        names = {"model": FROM_DATA, "scheduler": FROM_LENGTH}.get(self.kind, ())
        if required:
            names += {"model": tuple(FROM_DATA_TOO), "scheduler": FROM_LR}.get(self.kind, ())
        return keyword in names or keyword in _BESIDE.get(self.kind, ())

    def defaults(self) -> dict[str, Any]:
        """Return the signature's defaults as JSON holds them; none for what is filled in later."""
        return dict(self._defaults)

    @functools.cached_property
    def _defaults(self) -> dict[str, Any]:
        return {
            name: plain_default(parameter)
            for name, parameter in self.signature.parameters.items()
            if not parameter.required
            and not self.filled_later(name)
            and UNRECORDED not in getattr(parameter.annotation, "__metadata__", ())
        }

    def parameter(self, keyword: str) -> Parameter | None:
        """Return the parameter of that name, if the signature has it."""
        return self.signature.parameters.get(keyword)


def resolve_component(kind: str, name: str, experiment: Experiment) -> Resolved:
    """Find a component's callable, once for each experiment; call nothing.

    Raises RequestError if there is no such name, or what is there is not of this kind.
    """
    if (kind, name) in experiment.resolved:
        return experiment.resolved[kind, name]
    function, trusted = _find(kind, name, experiment)
    if isinstance(function, Command) and kind == "script":
        levels = {key: Parameter(key, REQUIRED, level) for key, level in function.levels.items()}
        return Resolved(kind, name, function.render, Signature(levels, open=False))
    if not _is_of_kind(kind, function, trusted):
        short = f"Short names are {', '.join(NAMES[kind])}." if NAMES[kind] else ""
        raise RequestError(f"{kind}: '{shown(name)}' is not {_KIND_TEXT[kind]}.", short)
    if kind == "script":
        check_function(function, name)
    run_time = 1 if kind in ("optimizer", "scheduler") else 0
    if kind == "loss" and not inspect.isclass(function):
        run_time = 2  # called as function(outputs, targets, **keywords)
    signature = read_signature(function, run_time, _HIDDEN.get(kind, ()))
    if kind == "model" and (made_by := getattr(function, "config_class", None)):
        function = functools.wraps(function, updated=())(functools.partial(_configured, function))
        own = Signature(read_signature(made_by, 0, _HIDDEN["config"]).parameters, open=False)
        signature = own.adding(Parameter("num_labels", int, REQUIRED))
    module = getattr(function, "__module__", "") or ""
    if kind == "model" and signature.open and module.startswith("torchvision.models"):
        # torchvision's builders pass num_classes through **kwargs.
        classes = Parameter("num_classes", int, REQUIRED)
        weights = Parameter("weights", str | None, None)  # the name of an enum's member
        signature = signature.adding(weights, classes)
    for key, (what, takes, about) in _BESIDE.get(kind, {}).items():
        if key in signature.parameters:
            raise RequestError(
                f"{kind}: {shown(name)} has a keyword '{key}', and {kind}.{key} says {what}.",
                "Give the keyword another name.",
            )
        if about is None or about in signature.parameters:
            signature = signature.adding(Parameter(key, takes, None))
    experiment.resolved[kind, name] = found = Resolved(kind, name, function, signature)
    return found


def _configured(function: Any, **keywords: Any) -> Any:
    """Build a model of transformers from a configuration made of these keywords."""
    return function(function.config_class(**keywords))


def _timm(name: str) -> Callable[..., Any]:
    """Return a function that builds timm's model of a name."""
    try:
        import timm
    except ImportError as error:
        raise RequestError(f"{error}.", "Give: pip install 'paribus[hf]'") from error
    if name not in (names := timm.list_models()):
        text = f"model: timm has no '{shown(name)}'."
        raise RequestError(text, did_you_mean(name, names))

    def create(num_classes: int, in_chans: int, pretrained: bool = False, **keywords: Any) -> Any:
        keywords |= {"num_classes": num_classes, "in_chans": in_chans}
        if not pretrained:
            return timm.create_model(name, **keywords)
        return _with_hub(
            lambda: timm.create_model(name, pretrained=True, **keywords), f"timm:{name}"
        )

    made = typing.get_type_hints(timm.model_entrypoint(name)).get("return", Any)
    create.__annotations__["return"] = made  # its keywords are what create passes on
    return create


def _with_hub(fetch: Callable[[], Any], what: str) -> Any:
    """Return what is fetched: from this machine's cache, where it has it without a question.

    Without a connection huggingface_hub tries again for minutes.

    Raises:
        RequestError: If `what` is not in the cache, and there is no connection.
    """
    from huggingface_hub import constants, get_session
    from huggingface_hub.errors import LocalEntryNotFoundError

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        return fetch()
    except (LocalEntryNotFoundError, URLError) as error:
        constants.HF_HUB_OFFLINE = before
        try:
            get_session().head(constants.ENDPOINT, timeout=5)
        except Exception:  # of the library beneath it, which differs by version
            raise RequestError(
                f"The weights of {what} are not on this machine, and there is no connection.",
                f"Connect once, or copy {constants.HF_HUB_CACHE} from where they are; weights in a "
                "file: train.start_from=FILE without model.pretrained.",
            ) from error
        return fetch()
    finally:
        constants.HF_HUB_OFFLINE = before


def check_components(configuration: Form, experiment: Experiment, faults: Faults) -> Form:
    """Check every component against its signature, collecting what is wrong.

    Returns:
        The configuration with its keywords as their parameters take them (1 as 1.0), and objects
        of the experiment's file by their full names.
    """
    fixed: dict[str, Any] = {}
    for kind, component in walk_components(configuration):
        with faults.collecting():
            resolved = resolve_component(kind, component.name, experiment)
            given = component.keywords
            accepted = check_keywords(resolved.signature, given, kind, component.name, faults)
            for name, parameter in resolved.signature.parameters.items():
                if parameter.required and name not in given and not resolved.filled_later(name):
                    known = "; in_features and out_features follow from the data"
                    faults.add(
                        f"{kind} {component.name} needs '{name}'.",
                        f"Give {kind}.{name}=VALUE{known if kind == 'model' else ''}.",
                        "missing-keyword",
                    )
            if kind == "optimizer":  # none of these is as if it were not there
                beside = _BESIDE[kind]
                accepted = {k: v for k, v in accepted.items() if v is not None or k not in beside}
            name = component.name  # its one name: Net is mine.py:Net where the table has no Net
            if name not in NAMES[kind] and name in experiment.objects:
                name = f"{experiment.path.name}:{name}"
            fixed[kind] = Component(name=name, **accepted)
    return configuration.model_copy(update=fixed)


def with_defaults(configuration: Configuration, experiment: Experiment) -> dict[str, Any]:
    """Return the configuration as nested values, with the defaults of every signature filled in."""
    full = configuration.to_dict()
    for kind, component in walk_components(configuration):
        resolved = resolve_component(kind, component.name, experiment)
        full[kind] = {"name": component.name, **resolved.defaults(), **component.keywords}
    return full


def known_keys(configuration: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """Return every dotted key that this configuration has, keywords of its components included."""
    keys = fixed_keys(configuration)
    for kind in [kind for kind in COMPONENTS if kind in configuration]:
        resolved = resolve_component(kind, configuration[kind]["name"], experiment)
        signature = resolved.signature
        keys += [f"{kind}.{word}" for word in (*signature.parameters, *signature.further)]
        keys += [f"{kind}.{k}" for k in configuration[kind] if k != "name"]
    return list(dict.fromkeys(keys))


def build(resolved: Resolved, keywords: Mapping[str, Any], *run_time: Any) -> Any:
    """Call a component. A keyword that has its default is left to the signature."""
    defaults = resolved.defaults()
    given = {
        name: value
        for name, value in keywords.items()
        if (name not in defaults or not same_value(value, defaults[name]))
        and name not in _BESIDE.get(resolved.kind, ())
    }
    return resolved.function(*run_time, **given)


_EXAMPLES = {
    "data": "sklearn.datasets.load_wine",
    "model": "torchvision.models.resnet18",
    "loss": "torch.nn.HuberLoss",
    "optimizer": "torch.optim.RAdam",
    "scheduler": "torch.optim.lr_scheduler.ExponentialLR",
}

_KIND_TEXT = {
    "task": "a task",
    "data": "a data function or class",
    "model": "a torch.nn.Module, or a function annotated to return one",
    "loss": "a torch.nn.Module, or a function of outputs and targets",
    "optimizer": "a torch.optim.Optimizer",
    "scheduler": "a learning-rate scheduler of torch.optim.lr_scheduler",
    "script": "a function that yields metrics",
}

# Keywords that are no hyperparameters: training sets them, or they are obsolete.
_HIDDEN = {
    "scheduler": ("last_epoch", "verbose"),
    "script": HIDDEN,
    "config": ("architectures", "dtype", "id2label", "label2id", "return_dict",
               "transformers_version"),  # of transformers
}  # fmt: skip


def _find(kind: str, name: str, experiment: Experiment) -> tuple[Any, bool]:
    """Return the object, and whether it is the user's own."""
    if name in NAMES[kind]:
        return _import(kind, NAMES[kind][name]), True
    if kind == "model" and name.startswith("timm:"):
        return _timm(name.removeprefix("timm:")), True
    file, colon, inner = name.rpartition(":")
    if file == experiment.path.name or (not colon and name in experiment.objects):
        if inner not in experiment.objects:
            objects = experiment.objects.items()
            own = [k for k, v in objects if callable(v) and not k.startswith("_")]
            raise RequestError(
                f"{kind}: {experiment.path.name} defines no '{shown(inner)}'.",
                did_you_mean(inner, own),
            )
        return experiment.objects[inner], True
    parts = name.split(".")
    if len(parts) > 1 and not colon and all(part.isidentifier() for part in parts):
        return _import(kind, _FROM_FILES.get(name, name)), Finder().owner(parts[0]) == "user"
    example = f" Dotted paths such as {_EXAMPLES[kind]} are valid too." if kind in _EXAMPLES else ""
    raise RequestError(
        f"There is no {kind} '{shown(name)}'.", did_you_mean(name, NAMES[kind]) + example
    )


def _import(kind: str, dotted: str) -> Any:
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:cut])
        try:
            with observing(Reads()):
                found: Any = importlib.import_module(module_name)
        except Exception as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            if missing and module_name.startswith(missing):
                continue
            why = f"{type(error).__name__}: {shown(error)}"
            text = f"{kind}: importing '{shown(dotted)}' fails: {why}."
            raise RequestError(text) from error
        for part in parts[cut:]:
            if not hasattr(found, part):
                own = [n for n in dir(found) if not n.startswith("_")]
                text = f"{kind}: {module_name} has no '{shown(part)}'."
                raise RequestError(text, did_you_mean(part, own, ""))
            found = getattr(found, part)
        return found
    raise RequestError(
        f"{kind}: there is no module '{shown(parts[0])}' to import '{shown(dotted)}' from.",
        did_you_mean(dotted, NAMES[kind]),
    )


def _is_of_kind(kind: str, function: Any, trusted: bool) -> bool:
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    if not callable(function):
        return False
    module = (getattr(function, "__module__", None) or "builtins").split(".")[0]
    foreign = Finder().owner(module) == "stdlib"
    if kind == "task":
        own = module == "paribus" and hasattr(function, "width")
        return own and not inspect.isabstract(function)
    if kind == "script":
        return inspect.isfunction(function)
    if kind == "data":
        return not foreign and not (inspect.isclass(function) and issubclass(function, nn.Module))
    base = {"model": nn.Module, "loss": nn.Module, "optimizer": Optimizer}.get(kind, LRScheduler)
    if inspect.isclass(function):
        return issubclass(function, base)
    if foreign or trusted:
        return not foreign
    try:
        if kind == "loss":
            return module == "torch" and len(inspect.signature(function).parameters) >= 2
        returns = typing.get_type_hints(function).get("return")
    except Exception:  # a builtin without a signature, an annotation that cannot be evaluated
        return False
    return inspect.isclass(returns) and issubclass(returns, base)

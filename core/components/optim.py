"""Optimizers and learning-rate schedulers: which form is used, and when a scheduler steps.

They are torch's own. Weight decay is a keyword of the optimizer (`optimizer.weight_decay`) and is
applied in its `step`: for a single run in `core/training/loop.py: train_epoch`, for a cohort in
`core/training/cohort/kernels.py`.
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from paribus.core.config.registry import GROUPS, LR_SCALE, NO_DECAY
from paribus.core.config.schema import Interval
from paribus.core.errors import Faults, RequestError, did_you_mean, first_few, shown
from paribus.core.sources.reads import refusing

# One fused kernel per step instead of a dozen small ones; measured on the CPU, where these four
# have it (torch 2.11 and later).
FUSED_ON_CPU = ("SGD", "Adam", "AdamW", "Adagrad")


def skip_compiler_import() -> None:
    """Let torch's optimizers run in this process without importing torch's compiler.

    torch wraps their methods for its compiler, which the first call imports: 1.6 to 2.2 seconds,
    although nothing here is compiled. This replaces methods of `torch.optim` classes, so it is only
    for processes of our own: workers and the console script.
    """
    for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        function = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if function is not None:
            function.__dynamo_disable = function  # the cache of torch's own wrapper
    for kind in vars(torch.optim).values():
        step = vars(kind).get("step") if inspect.isclass(kind) else None
        if inspect.isfunction(step) and step.__code__.co_name == "_use_grad":
            kind.step = _without_compiler(step)


def _without_compiler(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return a step that differs from torch's wrapper only in not importing the compiler."""
    inner = step.__wrapped__  # type: ignore[attr-defined]

    @functools.wraps(step)
    def eager(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return step(self, *args, **kwargs)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return inner(self, *args, **kwargs)

    return eager


class Constant(LRScheduler):
    """Keep the learning rate as it is."""

    interval: ClassVar[Interval] = "epoch"

    def get_lr(self) -> list[float | Tensor]:
        return [group["lr"] for group in self.optimizer.param_groups]


class LinearWarmup(LambdaLR):
    """The learning rate rises from 0 in equal steps, and may fall after that; counts updates.

    Args:
        optimizer: Its learning rate is the highest.
        total_steps: Updates in all; follows from the length of training.
        fraction: Share of the updates in which it rises.
        decay: After that: constant, or falling to 0 at the end along a line or half a cosine.
    """

    interval: ClassVar[Interval] = "update"

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: Annotated[int, Field(ge=1)],
        fraction: Annotated[float, Field(gt=0, le=1)] = 0.1,
        decay: Literal["none", "linear", "cosine"] = "none",
        last_epoch: int = -1,
    ) -> None:
        rising = max(1, round(fraction * total_steps))

        def factor(update: int) -> float:
            if update < rising:
                return (update + 1) / rising
            done = (update - rising) / max(1, total_steps - rising)
            return {
                "none": 1.0,
                "linear": max(0.0, 1 - done),
                "cosine": (1 + math.cos(math.pi * min(1.0, done))) / 2,
            }[decay]

        super().__init__(optimizer, factor, last_epoch)


def never_steps(optimizer: Optimizer) -> None:
    """Mark an optimizer whose updates others compute: else its scheduler would warn."""
    optimizer._opt_called = True  # type: ignore[attr-defined]


def parameter_groups(
    model: nn.Module, keywords: Mapping[str, Any], objects: Mapping[str, Any]
) -> list[nn.Parameter] | list[dict[str, Any]]:
    """Return what an optimizer is made with: the parameters that are trained, or groups of them.

    The first group is one whose learning rate is not scaled, if there is one: its rate is recorded.
    `objects` is what the experiment's file defines.

    Raises:
        RequestError: If a name means no parameter, or several names mean one; if a function of the
            file makes no groups, or leaves a parameter out.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    # Where nothing decays it changes nothing; `refuse_overridden` says so of an axis.
    undecayed_names = keywords.get(NO_DECAY) if keywords.get("weight_decay") else None
    scales = keywords.get(LR_SCALE)
    if function := keywords.get(GROUPS):
        if undecayed_names or scales:
            text = f"optimizer.{GROUPS} makes all groups: {NO_DECAY} and {LR_SCALE} change nothing."
            raise RequestError(text, "Leave one of them out.")
        return _own_groups(model, trained, function, objects)
    if not (undecayed_names or scales):
        return list(trained.values())
    faults, scale_of, undecayed = Faults(), dict[str, float](), set[str]()
    for pattern in [undecayed_names] if isinstance(undecayed_names, str) else undecayed_names or ():
        with faults.collecting():
            undecayed |= _named(model, trained, NO_DECAY, pattern)
    for pattern, scale in (scales or {}).items():
        with faults.collecting():
            named = _named(model, trained, LR_SCALE, pattern)
            if twice := sorted(named & scale_of.keys()):
                text = f"'{shown(pattern)}' and another name both mean {first_few(twice)}."
                raise RequestError(f"optimizer.{LR_SCALE}: {text}", "Let only one of them do so.")
            scale_of |= dict.fromkeys(named, scale)
    faults.check()
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in trained.items():
        scale, decays = scale_of.get(name, 1.0), name not in undecayed
        group = groups.setdefault((scale, decays), {"params": []})
        group["params"].append(parameter)
        if scales:
            group |= {"lr": keywords["lr"] * scale, LR_SCALE: scale}
        if not decays:
            group["weight_decay"] = 0.0
    return [groups[key] for key in sorted(groups, key=lambda key: key[0] != 1)]


def _named(
    model: nn.Module, trained: Mapping[str, nn.Parameter], key: str, pattern: str
) -> set[str]:
    """Return the trained parameters that a name, the beginning of names or a pattern means."""
    if key == NO_DECAY and pattern == "norm_bias":
        norms = [n for n, m in model.named_modules() if "norm" in type(m).__name__.lower()]
        matches = {n for n in trained if n.endswith("bias") or n.rpartition(".")[0] in norms}
    else:
        matches = {n for n in trained if fnmatchcase(n, pattern) or n.startswith(f"{pattern}.")}
    if not matches:
        parts = [name.split(".") for name in trained]
        names = dict.fromkeys(".".join(p[:k]) for p in parts for k in range(1, len(p) + 1))
        hint = did_you_mean(pattern, names, f"Names are {first_few(list(names))}.")
        text = f"optimizer.{key}: '{shown(pattern)}' means no parameter that is trained."
        raise RequestError(text, hint)
    return matches


def _own_groups(
    model: nn.Module, trained: Mapping[str, nn.Parameter], name: str, objects: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the groups that a function of the experiment's file makes of a model's parameters."""
    function = objects.get(name)
    if not inspect.isfunction(function):
        own = [key for key, value in objects.items() if inspect.isfunction(value)]
        text = f"optimizer.{GROUPS}: the experiment's file defines no function '{shown(name)}'."
        raise RequestError(text, did_you_mean(name, own))
    what = f"optimizer.{GROUPS}: {name} makes no groups of this model's parameters"
    hint = 'Let it return dicts as torch.optim takes them: [{"params": […], "lr": 0.01}].'
    with refusing(what, hint):
        groups = [{**group, "params": list(group["params"])} for group in function(model)]
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    if missing := [key for key, parameter in trained.items() if id(parameter) not in grouped]:
        raise RequestError(
            f"optimizer.{GROUPS}: {name} puts {first_few(missing)} into no group.",
            "Put each parameter into one; what is not to be trained is left out by train.only.",
        )
    return groups


def fused_by_default(optimizer: Callable[..., Optimizer], device: str) -> bool:
    """Return whether an optimizer's fused form is used where the user does not choose."""
    return device == "cuda" or getattr(optimizer, "__name__", "") in FUSED_ON_CPU


def needs_closure(optimizer: Optimizer) -> bool:
    """Return whether an optimizer's step evaluates the loss itself, several times (`LBFGS`)."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def options(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return what an optimizer's next step is made with, by group of parameters."""
    return [
        {
            name: value.tolist() if isinstance(value, Tensor) else value
            for name, value in group.items()
            if name not in ("params", "initial_lr")  # the latter only schedulers read
        }
        for group in optimizer.param_groups
    ]


# Classes whose unit torch documents, so that any object of them says it: "should be
# called after a batch", and "every epoch", "the number of epoch reaches one of the milestones".
_COUNT: dict[Interval, tuple[type[LRScheduler], ...]] = {
    "update": (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR),
    "epoch": (lr_scheduler.StepLR, lr_scheduler.MultiStepLR, lr_scheduler.ExponentialLR),
}


def scheduler_interval(
    scheduler: LRScheduler, factory: Callable[..., Any], name: str, requested: Interval | None
) -> Interval:
    """Return after what a scheduler, made by `factory` and called `name`, steps.

    Raises:
        RequestError: If neither the object nor the configuration says it, or they contradict.
    """
    own = _own_interval(scheduler)
    # Of the other classes of torch the configuration fills in lengths in epochs (T_max).
    if own is None and factory is type(scheduler) and factory.__module__.startswith("torch."):
        own = "epoch"
    if requested is not None and requested != own and "validation" in (own, requested):
        takes, choices = "no validation loss", "update or epoch"
        if own == "validation":
            takes, choices = "the validation loss", "validation, or leave it out"
        raise RequestError(
            f"scheduler.interval={requested}: scheduler {name} takes {takes} when it steps.",
            f"Write scheduler.interval={choices}.",
        )
    interval = requested or own
    if interval is None:
        raise RequestError(
            f"scheduler {name} ({type(scheduler).__name__}) does not say whether it counts updates "
            "or epochs.",
            "Write scheduler.interval=update, or scheduler.interval=epoch (with --set for all of a "
            f"sweep; for one level of an axis scheduler={name}(interval=update)).",
        )
    return interval


def _own_interval(scheduler: LRScheduler) -> Interval | None:
    """Return what an object says of itself by its class, or by a class attribute `interval`."""
    declared: Interval | None = getattr(type(scheduler), "interval", None)
    if declared in ("update", "epoch"):
        return declared
    if "metrics" in inspect.signature(type(scheduler).step).parameters:
        return "validation"
    if isinstance(scheduler, lr_scheduler.SequentialLR | lr_scheduler.ChainedScheduler):
        intervals = {_own_interval(part) for part in scheduler._schedulers}
        return intervals.pop() if len(intervals) == 1 else None
    return next((unit for unit, kinds in _COUNT.items() if isinstance(scheduler, kinds)), None)

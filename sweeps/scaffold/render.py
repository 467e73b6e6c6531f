"""The text of a new experiment file, as ruff formats it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.cells import cell_len

from paribus.sweeps.scaffold.problem import Constant, Guess, Problem

WIDTH = 100
TOO_LONG = "  # noqa: E501  # fmt: skip"  # for a line that is one long word
SPIRALS = Guess("multiclass", "a point lies on one of 3 spirals")  # the template's own data

# The hyperparameters that a file states, and the levels worth trying, by model.
SETTINGS: dict[str, dict[str, str]] = {
    "linear": {},
    "mlp": {"hidden_dim": "64", "activation": '"relu"'},
    "cnn": {"channels": "16", "dropout": "0.2"},
    "text_bag": {"embedding_dim": "64", "dropout": "0.2"},
}
MODEL_AXES: dict[str, dict[str, str]] = {
    "linear": {"model": '["linear", "mlp"]'},
    "mlp": {
        "model.hidden_dim": "[16, 64, 256]",
        "model.activation": '["identity", "relu", "tanh"]',
    },
    "cnn": {"model.channels": "[8, 16, 32]", "augment": '[["RandomHorizontalFlip"]]'},
    "text_bag": {"model.embedding_dim": "[16, 64, 256]", "model.dropout": "[0.0, 0.2, 0.5]"},
}
FAR_AXES = {"train.batch_size": "[4, 16, 64, 256]"}  # another model needs another rate there
OTHER_AXES = {"optimizer": '["sgd(momentum=0.9)", "adam", "adamw"]'}
LOSSES = {"binary": "bce_with_logits", "multiclass": "cross_entropy", "regression": "mse"}
LOSS_AXES = {
    "multiclass": {"loss": '["cross_entropy", "cross_entropy(label_smoothing=0.1)"]'},
    "regression": {"loss": '["mse", "l1", "huber"]'},
}


def render_experiment(name: str, problem: Problem | None, model: str | None, folder: Path) -> str:
    """Return the text of an experiment file.

    Args:
        name: The experiment's name.
        problem: The data, and the baseline that suits it; None: a template with data of its own.
        model: Another model than the problem's own; in a template, in place of one in the file.
        folder: Where the file will lie; paths in it start from there.
    """
    templates = _templates()
    if problem is None:
        return templates.get_template("spirals.py.j2").render(
            name=name, model=model, source=literal, task=SPIRALS.task, why=SPIRALS.why
        )

    def beside(value: object) -> bool:
        return isinstance(value, Path) and value != folder and value.is_relative_to(folder)

    def source(value: str | int | Path) -> str:
        if isinstance(value, Path) and beside(value):
            steps = " / ".join(literal(part) for part in value.relative_to(folder).parts)
            return f"str(Path(__file__).parent / {steps})"
        return literal(value if isinstance(value, int) else str(value))

    chosen, task = model or problem.model, problem.guess.task
    # Networks from elsewhere take images in three colours.
    constants = {
        k: c for k, c in problem.constants.items() if chosen in SETTINGS or k != "channels"
    }
    settings = SETTINGS.get(chosen, {})
    # Whether the weights have to reach values of another size than they begin with.
    far = chosen == problem.model == "linear" and task == "regression"
    if far:
        exponent = max(round(math.log10(problem.guess.size or 1)) - 1, -1)
    else:
        exponent = -2 if task == "regression" or chosen in ("linear", "text_bag") else -3
    if problem.data == "images":
        epochs = 50 if problem.examples < 1000 else 15
    else:  # the fewer examples, the fewer updates in an epoch
        epochs = 20 if problem.examples >= 5000 else 50 if problem.examples >= 300 else 200
    balance = {"loss.weight": '["none", "balanced"]'} if problem.guess.rare else None
    return templates.get_template("experiment.py.j2").render(
        name=name,
        problem=problem,
        model=chosen,
        beside=any(beside(constant.value) for constant in constants.values()),
        constants=constants,
        settings=settings,
        far=far,
        size=float(f"{problem.guess.size:.1g}"),
        rates=[float(f"1e{exponent + step}") for step in (-1, 0, 1)],
        epochs=epochs,
        loss=LOSSES[task],
        axes={
            **(FAR_AXES if far else MODEL_AXES.get(chosen, OTHER_AXES)),
            **(balance or LOSS_AXES.get(task, {})),
        },
        source=source,
        prose=prose,
        paragraph=lambda text: textwrap.fill(prose(text), WIDTH),
        comment=comment,
        line=line,
        component=component,
    )


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=False,  # the text is Python: every value passes `prose` or `literal`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def literal(value: str | int) -> str:
    """Return a value as Python source, with the quotes that ruff would choose."""
    if not isinstance(value, str):
        return repr(value)
    quote = "'" if value.count('"') > value.count("'") else '"'
    escaped = value.replace("\\", "\\\\").replace(quote, "\\" + quote)
    printable = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in escaped)
    return quote + "".join(printable) + quote


def prose(text: str) -> str:
    """Return text for a docstring or a comment: nothing in it ends or escapes."""
    return text.replace("\\", "/").replace('"', "'")


def comment(text: str, indent: str = "") -> str:
    """Return text as comment lines."""
    start = f"{indent}# "
    wrapped = textwrap.wrap(prose(text), WIDTH, initial_indent=start, subsequent_indent=start)
    return "\n".join(wrapped)


def line(code: str, why: str) -> str:
    """Return a line of code with its reason: behind it if there is room, else above."""
    whole = f"{code}  # {prose(why)}" if why else code
    if cell_len(whole) <= WIDTH:
        return whole
    indent = code[: len(code) - len(code.lstrip())]
    above = [comment(why, indent)] if why else []
    return "\n".join([*above, code if cell_len(code) <= WIDTH else code + TOO_LONG])


def component(kind: str, name: str, keywords: Mapping[str, object]) -> str:
    """Return a component of the baseline, whose keywords take their values from constants."""
    if not keywords:
        return f"    {literal(kind)}: {literal(name)},"
    names = {k: v.name if isinstance(v, Constant) else k.upper() for k, v in keywords.items()}
    items = [f'"name": {literal(name)}', *(f"{literal(k)}: {v}" for k, v in names.items())]
    whole = f"    {literal(kind)}: {{{', '.join(items)}}},"
    if len(whole) <= WIDTH:
        return whole
    return "\n".join(
        [f"    {literal(kind)}: {{", *(f"        {item}," for item in items), "    },"]
    )

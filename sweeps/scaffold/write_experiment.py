"""Write a new experiment's file: check the request, try the file on the data, then keep it."""

import keyword
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.cells import cell_len

from paribus.core.config.experiment import catalogue, load_experiment
from paribus.core.config.registry import resolve_component
from paribus.core.config.schema import split_override
from paribus.core.errors import Faults, RequestError, shown
from paribus.core.training.dry_run import dry_run
from paribus.core.training.resolve import Resolver
from paribus.core.training.train_state import make_train_state
from paribus.sweeps.scaffold.problem import Ask, Constant, Guess, Problem, find_problem

LONGEST_NAME = 80
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


@dataclass(frozen=True)
class Written:
    """A written experiment: its file, the guessed task, why, and what to know before a study."""

    experiment: str
    file: Path
    task: str
    why: str
    notes: tuple[str, ...]


def write_experiment(
    name: str,
    folder: Path,
    data: str | None = None,
    target: str | None = None,
    model: str | None = None,
    overrides: Sequence[str] = (),
    keep: Sequence[str] = (),
    ask: Ask | None = None,
) -> Written:
    """Write ``NAME.py`` after its text has been tried on the data.

    `data`, `target`, `keep` and `ask` are as of `find_problem`; without data it is a template. The
    `model` is one that suits the data if none is named. Overrides are of ``data.missing`` alone.

    Raises:
        RequestError: With all faults of the request; then nothing is written.
    """
    faults, missing, problem = Faults(), None, None
    file = folder / f"{name}.py"
    with faults.collecting():
        check_name(name, file)
    with faults.collecting():
        if model is not None:  # any model will do, as it is named nowhere in the file
            resolve_component("model", model, load_experiment(catalogue()["line"], (folder,)))
    with faults.collecting():
        missing = _read_missing(overrides)
    with faults.collecting():
        if data is not None:
            problem = find_problem(data, target, missing, keep, ask)
        elif target is not None or missing is not None or keep:
            option = "--target" if target is not None else "--keep" if keep else "data.missing"
            raise RequestError(
                f"{option} is about the columns of a table, and there is none.",
                "Give --data FILE.csv too.",
            )
    faults.check()
    if problem and problem.model == "linear" and model not in (None, "linear"):
        note = (
            f"The target's values are far from 0 and 1, where a network such as {shown(model)} "
            "begins: it hardly reaches them. Divide the column in the file, or take --model linear."
        )
        problem = replace(problem, notes=(*problem.notes, note))

    with TemporaryDirectory(prefix="paribus-new-") as scratch:
        trial = Path(scratch) / file.name
        trial.write_text(render_experiment(name, problem, model, trial.parent), encoding="utf-8")
        try:
            _try(trial, folder)
        except RequestError as error:
            if error.kind not in ("split", "small-classes") or not (problem and problem.split):
                raise
            note = f"Rows of one {problem.split['group_on']} may be in two parts: {error.message}"
            problem = replace(problem, split={}, notes=(*problem.notes, note))
            text = render_experiment(name, problem, model, trial.parent)
            trial.write_text(text, encoding="utf-8")
            _try(trial, folder)
    create_file(file, render_experiment(name, problem, model, folder))
    guess = SPIRALS if problem is None else problem.guess
    notes = problem.notes if problem else ()
    if problem and (column := problem.split.get("group_on")):
        note = (
            f"All rows of one '{shown(column, 40)}' are in one part (split.group_on), as they may "
            "be alike. To divide them too: split.group_on=null, or take the line out."
        )
        notes = (*notes, note)
    return Written(name, file, guess.task, guess.why, notes)


def create_file(file: Path, text: str) -> None:
    """Write a file; one that is there, or cannot be written, is a `RequestError`."""
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise _exists_already(file) from None
    except OSError as error:
        with suppress(OSError):  # what a full disk left of it
            file.unlink()
        raise RequestError(
            f"{shown(file, 200)} cannot be written: {error.strerror}.",
            "Change to a folder of your own.",
        ) from error


def check_name(name: str, file: Path) -> None:
    """Refuse what cannot be an experiment's name, or is taken, with a `RequestError`."""
    if not name.isidentifier() or keyword.iskeyword(name) or len(name) > LONGEST_NAME:
        stem = re.sub(r"\W+", "_", Path(name).name.removesuffix(".py")).strip("_")
        better = stem if stem.isidentifier() and not keyword.iskeyword(stem) else "mine"
        raise RequestError(
            f"'{shown(name)}' cannot be an experiment's name: take up to {LONGEST_NAME} letters, "
            "digits and '_', not beginning with a digit; the file is written here.",
            f"Such as: paribus new {better[:LONGEST_NAME]}",
        )
    if name in catalogue():
        raise RequestError(
            f"The catalogue has an experiment '{name}', which this name would go on to mean.",
            "Choose another name.",
        )
    if file.exists() or file.is_symlink():
        raise _exists_already(file)
    module = find_spec(name)
    if module is not None and module.origin is not None:  # a mere folder hides behind the file
        raise RequestError(
            f"There is a module '{name}', which {file.name} would hide from what runs here.",
            "Choose another name.",
        )


def _exists_already(file: Path) -> RequestError:
    return RequestError(
        f"{file.name} is there already, and is never overwritten.", "Choose another name."
    )


def _read_missing(overrides: Sequence[str]) -> str | None:
    """Return ``data.missing``, the only key that decides whether a file can be written."""
    faults = Faults()
    pairs = [pair for text in overrides if (pair := split_override(text, faults))]
    found = dict(pairs)
    if len(found) < len(pairs):
        faults.add("data.missing is set twice.", "Set it once.")
    missing = found.pop("data.missing", None)
    for key in found:
        faults.add(
            f"{shown(key)}: paribus new takes data.missing alone.",
            "All else stands in the file, to be changed there.",
        )
    if missing not in (None, "mean", "drop"):
        faults.add(f"data.missing={shown(missing)}: must be mean or drop.")
    faults.check()
    return missing


def _try(file: Path, import_path: Path) -> None:
    """Load the data and send two examples through the model; raises what a run would."""
    experiment = load_experiment(file, (import_path,))
    resolver, asked = Resolver(experiment), experiment.baseline
    hints = {
        "small-classes": "Leave classes of so few examples out of the data, or join them.",
        "missing-keyword": "Take a model that suits this data, or leave --model out.",
    }
    try:
        resolved = resolver.configuration(asked, 0)
    except RequestError as error:
        if error.kind not in hints:
            raise
        raise RequestError(error.message, hints[error.kind], error.kind) from None
    dry_run(make_train_state(resolved, experiment, resolver.data(asked, 0), seed=0))


def render_experiment(name: str, problem: Problem | None, model: str | None, folder: Path) -> str:
    """Return the text of an experiment file; paths in it start from its folder.

    Without a problem it is the template of the spirals; without a model it takes the problem's own,
    or the template's class.
    """
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=False,  # the text is Python: every value passes `prose` or `literal`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    if problem is None:
        return templates.get_template("spirals.py.j2").render(
            name=name, model=model, source=literal, task=SPIRALS.task, why=SPIRALS.why
        )

    def beside(value: object) -> bool:
        return isinstance(value, Path) and value != folder and value.is_relative_to(folder)

    def source(value: object) -> str:
        if isinstance(value, Path) and beside(value):
            steps = " / ".join(literal(part) for part in value.relative_to(folder).parts)
            return f"str(Path(__file__).parent / {steps})"
        return literal(str(value) if isinstance(value, Path) else value)

    chosen, task = model or problem.model, problem.guess.task
    # Networks of other packages take images in three colours.
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


def literal(value: Any) -> str:
    """Return a value as Python source, with the quotes that ruff would choose."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{literal(k)}: {literal(v)}' for k, v in value.items())}}}"
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

"""The text of a new experiment file where there is no data yet: everything stands in the file."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from string import Template

from rich.cells import cell_len

from paribus.sweeps.scaffold.guess import Constant, Problem

TASK = "multiclass"
WHY = "a point lies on one of 3 spirals"

_PAGE = Template('''"""What helps a network tell three spirals apart?

A template: data and model are in this file, ready to be replaced by your own. Say here what the
data is, how long a study takes, and the score to expect.

    paribus sweep $name.py
"""

import numpy as np
${imports}
POINTS = 900
NOISE = 0.2
${hidden}LR = 0.01
BATCH_SIZE = 64
EPOCHS = 30


def spirals(noise: float = NOISE) -> tuple[np.ndarray, np.ndarray]:
    """Points of the plane `[900, 2]`, and which of three spirals each lies on `[900]`.

    Your own: return (features, targets) as arrays, tensors or data frames, a torch Dataset, or a
    dict of these with train, val and test. Arguments are hyperparameters: data.noise.
    """
    generator = np.random.default_rng(0)
    arm = np.arange(POINTS) % 3
    radius = generator.uniform(0.1, 1, POINTS)
    angle = 2 * np.pi * arm / 3 + 4 * radius + generator.normal(0, noise, POINTS)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), arm

${net}
BASELINE = {
    "task": "$task",  # $why
    "data": spirals,
    "model": $model,
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": LR},
    "train": {"epochs": EPOCHS, "batch_size": BATCH_SIZE},
}

AXES = {
    "optimizer.lr": [0.001, 0.01, 0.1],
${axis}    "optimizer": ["sgd", "adam", "rmsprop"],
}
''')

_NET = '''
class Net(torch.nn.Module):
    """Your own: in_features and out_features follow from the data."""

    def __init__(self, in_features: int, out_features: int, hidden: int = HIDDEN):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(in_features, hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(hidden, out_features),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)

'''


def write_template(name: str, model: str | None) -> str:
    """The text of an experiment file with data and a model of its own.

    Args:
        name: The experiment's name.
        model: A model that has a name already, in place of one in the file; as Python's literal.
    """
    own = {
        "imports": "import torch\n",
        "hidden": "HIDDEN = 32\n",
        "net": _NET,
        "axis": '    "model.hidden": [4, 32, 128],\n',
        "model": "Net",
    }
    parts = own if model is None else dict.fromkeys(own, "") | {"model": model}
    return _PAGE.substitute(name=name, task=TASK, why=WHY, **parts)


# The text of a new experiment file: docstring, hyperparameters in capitals, BASELINE, AXES.


WIDTH = 100
ABSURD = "  # noqa: E501  # fmt: skip"  # of a line that is one long word

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
# The power of ten of the learning rate that suits a model which begins near 0.
RATES = {"linear": -2, "text_bag": -2}
OTHER_RATE = -3


def write_page(name: str, problem: Problem, model: str | None, folder: Path) -> str:
    """The text of an experiment file, as ruff formats it.

    Args:
        name: The experiment's name.
        problem: The data, and what it asks for.
        model: Another model than the problem's own.
        folder: Where the file will lie; data in it is named from there.
    """
    chosen = model or problem.model
    constants = _constants_for(chosen, problem)
    blocks = [
        _docstring(name, problem),
        "\n".join([
            *(line for note in problem.notes for line in _comment(note)),
            *(line for c in constants.values() for line in _constant(c, folder)),
            *_hyperparameters(problem, chosen),
        ]),
        _baseline(problem, chosen),
        _axes(problem, chosen),
    ]  # fmt: skip
    if any(_is_beside(constant.value, folder) for constant in constants.values()):
        blocks.insert(1, "from pathlib import Path")
    return "\n\n".join(blocks) + "\n"


def _docstring(name: str, problem: Problem) -> str:
    facts = f"{problem.facts} Say here what else is known of them, how long a study takes, and "
    return "\n\n".join([
        f'"""{_prose(problem.question)}',
        textwrap.fill(_prose(f"{facts}the score to expect."), WIDTH),
        f'    paribus sweep {name}.py\n"""',
    ])  # fmt: skip


def _constants_for(model: str, problem: Problem) -> dict[str, Constant]:
    """What the data component is given; networks from elsewhere take images in three colours."""
    foreign = model not in SETTINGS
    return {k: c for k, c in problem.constants.items() if not (foreign and k == "channels")}


def _constant(constant: Constant, folder: Path) -> list[str]:
    value = constant.value
    if _is_beside(value, folder):
        assert isinstance(value, Path)
        steps = " / ".join(literal(part) for part in value.relative_to(folder).parts)
        code = f"{constant.name} = str(Path(__file__).parent / {steps})"
    else:
        code = f"{constant.name} = {literal(value if isinstance(value, int) else str(value))}"
    return _commented(code, constant.why)


def _is_beside(value: object, folder: Path) -> bool:
    return isinstance(value, Path) and value != folder and value.is_relative_to(folder)


def _hyperparameters(problem: Problem, model: str) -> list[str]:
    size = float(f"{problem.guess.size:.1g}")
    why = f"for values of about {size:g}" if _is_far(problem, model) else ""
    few = problem.examples < 1000
    if problem.data == "images":
        epochs = 50 if few else 15
    else:  # the fewer examples, the fewer updates in an epoch
        epochs = 20 if problem.examples >= 5000 else 50 if problem.examples >= 300 else 200
    settings = [f"{key.upper()} = {code}" for key, code in SETTINGS.get(model, {}).items()]
    return [
        *settings,
        *_commented(f"LR = {_power(_rate(problem, model))}", why),
        f"BATCH_SIZE = {16 if few else 64}",
        f"EPOCHS = {epochs}",
    ]


def _is_far(problem: Problem, model: str) -> bool:
    """Whether the weights have to reach values of another size than they begin with."""
    return model == problem.model == "linear" and problem.guess.task == "regression"


def _rate(problem: Problem, model: str) -> int:
    """The power of ten of the learning rate."""
    if _is_far(problem, model):
        return max(round(math.log10(problem.guess.size or 1)) - 1, -1)
    return RATES.get(model, OTHER_RATE if problem.guess.task != "regression" else -2)


def _power(exponent: int) -> str:
    return repr(float(f"1e{exponent}"))


def _baseline(problem: Problem, model: str) -> str:
    task = problem.guess.task
    constants = _constants_for(model, problem)
    settings = {key: key.upper() for key in SETTINGS.get(model, {})}
    lines = [
        *_commented(f'"task": {literal(task)},', problem.guess.why, indent=4),
        *_component("data", problem.data, {k: c.name for k, c in constants.items()}),
        *_component("model", model, settings),
        f'    "loss": {literal(LOSSES[task])},',
        '    "optimizer": {"name": "adam", "lr": LR},',
    ]
    if _is_far(problem, model):
        lines += _commented('"scheduler": "cosine",', "large steps, then fine ones", indent=4)
    if problem.standardize:
        lines.append('    "standardize": True,')
    lines.append('    "train": {"epochs": EPOCHS, "batch_size": BATCH_SIZE},')
    if problem.guess.rare:
        lines += _commented('"select": {"metric": "val/f1"},', problem.guess.rare, indent=4)
    return "\n".join(["BASELINE = {", *lines, "}"])


def _component(kind: str, name: str, keywords: dict[str, str]) -> list[str]:
    if not keywords:
        return [f"    {literal(kind)}: {literal(name)},"]
    inner = [f'"name": {literal(name)}', *(f"{literal(k)}: {v}" for k, v in keywords.items())]
    line = f"    {literal(kind)}: {{{', '.join(inner)}}},"
    if len(line) <= WIDTH:
        return [line]
    return [f"    {literal(kind)}: {{", *(f"        {item}," for item in inner), "    },"]


def _axes(problem: Problem, model: str) -> str:
    rate = _rate(problem, model)
    balance = {"loss.weight": '["none", "balanced"]'} if problem.guess.rare else None
    axes = {
        "optimizer.lr": f"[{', '.join(_power(rate + step) for step in (-1, 0, 1))}]",
        **(FAR_AXES if _is_far(problem, model) else MODEL_AXES.get(model, OTHER_AXES)),
        **(balance or LOSS_AXES.get(problem.guess.task, {})),
    }
    return "\n".join(["AXES = {", *(f"    {literal(k)}: {v}," for k, v in axes.items()), "}"])


def literal(value: str | int) -> str:
    """A value in Python's words, with the quotes that ruff would choose."""
    if not isinstance(value, str):
        return repr(value)
    quote = "'" if value.count('"') > value.count("'") else '"'
    escaped = value.replace("\\", "\\\\").replace(quote, "\\" + quote)
    return quote + "".join(map(_printable, escaped)) + quote


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


def _prose(text: str) -> str:
    """Text for a docstring or a comment: nothing in it ends or escapes."""
    return text.replace("\\", "/").replace('"', "'")


def _commented(code: str, why: str, indent: int = 0) -> list[str]:
    """A line with its reason: behind it if there is room, else above."""
    code = " " * indent + code
    line = f"{code}  # {_prose(why)}" if why else code
    if cell_len(line) <= WIDTH:
        return [line]
    return [*_comment(why, indent), code if cell_len(code) <= WIDTH else code + ABSURD]


def _comment(text: str, indent: int = 0) -> list[str]:
    start = " " * indent + "# "
    return textwrap.wrap(_prose(text), WIDTH, initial_indent=start, subsequent_indent=start)

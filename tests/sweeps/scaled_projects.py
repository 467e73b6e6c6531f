"""Projects in which factors scale a number; shapes, initial weights and data can stay equal.

One module, `CODE`, has six factors: one is written in a method, two come from files, two from
variables of the environment, one from an installed package. All of them are 1.0.
"""

import base64
import csv
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from planned import planned


def experiment(code="", **components):
    """The text of an experiment whose components are these expressions."""
    parts = {
        "data": "waves",
        "model": "Plain",
        "loss": '"cross_entropy"',
        "optimizer": '{"name": "sgd", "lr": 0.1}',
        "train": '{"epochs": 1, "batch_size": 8}',
    } | components
    lines = "".join(f'    "{key}": {value},\n' for key, value in parts.items())
    return f'''"""Does it matter?"""

import torch
from torch import nn


def waves(n: int = 40):
    kind = torch.arange(n) % 2
    return torch.sin(torch.arange(n * 3.0) * 12.9898).reshape(n, 3) + kind[:, None], kind


class Plain(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)
        self.layer.bias.requires_grad_(False)  # no cohort, whose self-test takes its time

    def forward(self, x):
        return self.layer(x)


{code}

BASELINE = {{
    "task": "multiclass",
{lines}}}
AXES = {{"optimizer.lr": [0.01]}}
'''


FACTORS = """
import json
import os
from pathlib import Path

import torch
from torch import nn

from scaling.part import factor as installed

HERE = Path(__file__).parent
OF_FILE = json.loads((HERE / "import.json").read_text())["factor"]
OF_VARIABLE = float(os.environ["FACTOR_AT_IMPORT"])


def read_when_made():
    with open(HERE / "made.json") as file:
        return json.load(file)["factor"] * float(os.environ["FACTOR_WHEN_MADE"])


def scale(x, factor):
    return x * factor * OF_FILE * OF_VARIABLE * installed()

"""
WRITTEN = "* 1.0"
NET = '''
class Net(nn.Module):
    """A net."""

    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)
        self.layer.bias.requires_grad_(False)
        self.factor = read_when_made()

    def forward(self, x):
        """Scale the outputs."""
        return scale(self.layer(x) * 1.0, self.factor)
'''
SMALL = NET.replace("class Net", '@register("small")\nclass Small')
KNOWN = """
KNOWN = {}


def register(name):
    def add(made):
        KNOWN[name] = made
        return made

    return add
"""
MAKE = """
def make(in_features: int, num_classes: int, kind: str = "small"):
    {}
    return KNOWN[kind](in_features, num_classes)
"""

# The same net without factors but the one written in its method.
INSTALLED = "import torch\nfrom torch import nn\n" + NET.replace("read_when_made()", "1.0").replace(
    "scale(self.layer(x) * 1.0, self.factor)", "self.layer(x) * 1.0"
)
DRAWN = """
import itertools
import os
import random
import time

import numpy as np

COUNTER = itertools.count()


class Drawn(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.first = nn.Linear(in_features, 4)
        self.second = nn.Linear(4, num_classes)
        self.first.bias.requires_grad_(False)
        self.second.bias.data.fill_({drawn})

    def forward(self, x):
        return self.second(self.first(x))
"""


def install(site: Path, name: str, files: dict[str, str]) -> None:
    """Put a package and its metadata where pip would, not editable, as version 1.0."""
    info = f"{name}-1.0.dist-info"
    shutil.rmtree(site / name, ignore_errors=True)
    texts = {f"{name}/{file}": text for file, text in files.items()} | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/INSTALLER": "pip\n",
    }
    rows = [[f"{info}/RECORD", "", ""]]
    for file, text in texts.items():
        write(site / file, text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
        rows.append([file, f"sha256={digest.decode().rstrip('=')}", len(text)])
    with (site / info / "RECORD").open("w", newline="") as record:
        csv.writer(record).writerows(rows)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def drawn_from(folder: Path, expression: str) -> Path:
    code = DRAWN.format(drawn=expression)
    return write(folder / "mine.py", experiment(code, model="Drawn"))


@dataclass
class Project:
    """A project on disk; `files` has the text of each, `mine.py` is the experiment."""

    folder: Path
    files: dict[str, str]

    def __post_init__(self):
        (self.code,) = (name for name, text in self.files.items() if WRITTEN in text)
        self.lay_out()

    @property
    def path(self):
        return self.folder / "mine.py"

    @property
    def site(self):
        return self.folder / "site-packages"

    def lay_out(self):
        """Write everything as it was at first."""
        for name, text in self.files.items():
            write(self.folder / name, text)
        self.put("import.json", 1.0)
        self.put("made.json", 1.0)
        self.install(1.0)
        self.variables = {"FACTOR_AT_IMPORT": "1.0", "FACTOR_WHEN_MADE": "1.0"}

    def put(self, name, value):
        text = json.dumps({"factor": value})
        (self.folder / self.code).with_name(name).write_text(text)

    def install(self, value):
        files = {"__init__.py": "", "part.py": f"def factor():\n    return {value}\n"}
        install(self.site, "scaling", files)

    def edit(self, old, new):
        edit(self.folder / self.code, old, new)

    def planned(self, *overrides, **options):
        return planned(self.path, *overrides, variables=self.variables, site=self.site, **options)


# Each makes one factor of a project another one. Files that are edited change their length, as
# Python's bytecode files know a source by its length and the second it was written.
CHANGES = {
    "edited": lambda project: project.edit(WRITTEN, "* 0.25"),
    "file read at import": lambda project: project.put("import.json", 0.25),
    "file read when made": lambda project: project.put("made.json", 0.25),
    "variable read at import": lambda project: project.variables.update(FACTOR_AT_IMPORT="0.25"),
    "variable read when made": lambda project: project.variables.update(FACTOR_WHEN_MADE="0.25"),
    "reinstalled": lambda project: project.install(0.25),
}

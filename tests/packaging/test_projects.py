"""A user's project may call its packages what it likes: nothing of it collides with paribus.

Each project is on disk; commands run as the installed one does, in a process of their own with the
project as its working directory. What was trained is reproduced after the project has moved away.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import clean_environment

REPOSITORY = Path(__file__).parents[2]
NAMES = ("core", "experiments", "sweeps", "tests", "data", "utils", "models", "config")

# Runs the commands on standard input one after the other, as the console script runs one.
RUN = """
import contextlib, io, json, sys
from paribus.core.runtime import claim_process
from paribus.sweeps.cli.app import run

claim_process()  # as the console script does

done = []
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words)
    done.append([code, out.getvalue(), err.getvalue()])
files = {name: str(getattr(module, "__file__", None)) for name, module in sys.modules.items()}
json.dump({"done": done, "files": files}, sys.stdout)
"""

MODEL = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features: int, num_classes: int, width: int = 4):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(in_features, width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.body(x))
"""
DATA = """
import torch

def waves(n: int = 40):
    kind = torch.arange(n) % 2
    return torch.sin(torch.arange(n * 3.0) * 12.9898).reshape(n, 3) + kind[:, None], kind
"""
FILE = '''"""Do waves differ?"""

{imports}

BASELINE = {{
    "task": "multiclass",
    "data": {data},
    "model": {{"name": {model}, "width": 4}},
    "loss": "cross_entropy",
    "optimizer": {{"name": "sgd", "lr": 0.1}},
    "train": {{"epochs": 1, "batch_size": 8}},
}}
AXES = {{"optimizer.lr": [0.01]}}
'''


@dataclass(frozen=True)
class Answers:
    done: list
    files: dict

    def json(self, number):
        code, out, err = self.done[number]
        assert code == 0, (code, out, err)
        return json.loads(out)


def write(project, files):
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def answers(commands, cwd, root, home, executable=sys.executable, path=None):
    """What commands answer in a fresh process; the repository is not on its path."""
    environment = clean_environment(str(home)) | {"PARIBUS_ROOT": str(root)}
    del environment["PYTHONPATH"]
    if path:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [executable, "-P", "-c", RUN],
        input=json.dumps([[*map(str, words), "--json"] for words in commands]),
        capture_output=True, text=True, cwd=cwd, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = Answers(**json.loads(done.stdout))
    ours = {name.partition(".")[0] for name, file in found.files.items()
            if file.startswith(f"{REPOSITORY}{os.sep}")
            and not name.startswith("paribus_experiment_")}  # fmt: skip
    assert ours <= {"paribus"}
    return found


def works(project, experiment, tmp_path, more=(), **how):
    """Holds commands to their word, in the project, `more` there, and after it has moved away."""
    root, home = tmp_path / "results", tmp_path / "home"
    home.mkdir()
    found = answers([("run", experiment, "--no-wandb"), *more], project, root, home, **how)
    run = found.json(0)
    source = root / "runs" / run["run"] / "source"
    assert sorted(source.rglob("*.py"))
    away = tmp_path / "away"
    project.rename(tmp_path / "moved")
    away.mkdir()
    how.pop("path", None)
    again = answers(
        [
            ("reproduce", run["run"]),
            ("predict", run["run"], "0.5,0.1,-1"),
            ("evaluate", run["run"]),
        ],
        away, root, home, **how,
    )  # fmt: skip
    assert again.json(0)["grade"] == "bit-exact"
    assert again.json(1)["predictions"][0]["label"] in ("0", "1")
    assert again.json(2)["metrics"] == {
        k: v for k, v in run["best"]["metrics"].items() if k in again.json(2)["metrics"]
    }
    return found


def sweep_of(experiment):
    """A sweep whose workers import the project themselves."""
    return ("sweep", experiment, "--seeds", 2, "--workers", 2, "--study", "s", "--no-wandb")


def test_packages_called_as_ours(tmp_path):
    """The project has packages of all these names, and uses each."""
    project = tmp_path / "project"
    files = {f"{name}/__init__.py": "WHOSE = 'the user'\n" for name in NAMES}
    files |= {f"{name}/part.py": "VALUE = 1\n" for name in NAMES}
    uses = "".join(f"from {name}.part import VALUE as {name}_value\n" for name in NAMES)
    write(project, files | {
        "core/nets.py": f"{uses}{MODEL}",
        "data/waves.py": DATA,
        "mine.py": FILE.format(
            imports="from data.waves import waves\nimport core, experiments, sweeps, tests",
            data="waves", model='"core.nets.Net"',
        ),
    })  # fmt: skip
    found = works(project, "mine.py", tmp_path, [sweep_of("mine.py"), ("check", "mine.py")])
    assert found.json(1)["runs"] == {"planned": 4, "trained": 3, "reused": 1, "failed": 0}
    assert {check["name"] for check in found.json(2)["checks"]}
    for name in ("core", "experiments", "sweeps", "tests"):
        assert found.files[name] == str(project / name / "__init__.py")


def test_a_src_layout(tmp_path):
    project = tmp_path / "project"
    write(project, {
        "src/core/__init__.py": "",
        "src/core/nets.py": MODEL,
        "src/core/waves.py": DATA,
        "src/mine.py": FILE.format(
            imports="from core.waves import waves\nfrom core.nets import Net",
            data="waves", model="Net",
        ),
    })  # fmt: skip
    found = works(project, "src/mine.py", tmp_path, [sweep_of("src/mine.py")])
    assert found.json(1)["runs"]["trained"] == 3


def test_relative_imports_in_a_package_of_ours_by_name(tmp_path):
    project = tmp_path / "project"
    write(project, {
        "core/__init__.py": "from .nets import Net\n",
        "core/nets.py": f"from .utils.width import WIDTH\n{MODEL.replace('= 4', '= WIDTH')}",
        "core/utils/__init__.py": "from . import width\n",
        "core/utils/width.py": "WIDTH = 4\n",
        "core/waves.py": DATA,
        "experiments/mine.py": FILE.format(
            imports="", data='"core.waves.waves"', model='"core.Net"'
        ),
    })  # fmt: skip
    works(project, "experiments/mine.py", tmp_path)


def test_a_project_that_is_installed_as_editable(tmp_path):
    """Its finder answers for `core` and `sweeps`; it is the user's own all the same."""
    project, home = tmp_path / "project", tmp_path / "environment"
    write(project, {
        "setup.py": "import setuptools\nwhere = {'core': 'lib', 'sweeps': 's'}\n"
        "setuptools.setup(name='mine', packages=[*where], package_dir=where)\n",
        "lib/__init__.py": "",
        "lib/nets.py": f"from sweeps import WIDTH\n{MODEL.replace('= 4', '= WIDTH')}",
        "lib/waves.py": DATA,
        "s/__init__.py": "WIDTH = 4\n",
        "mine.py": FILE.format(
            imports="from core.waves import waves", data="waves", model='"core.nets.Net"'
        ),
    })  # fmt: skip
    python = environment_with(home, project)
    works(project, "mine.py", tmp_path, executable=python)


def test_the_repository_as_working_directory(tmp_path):
    """`core` can be imported there by its short name; nothing of ours does, in whatever process."""
    root, home = tmp_path / "results", tmp_path / "home"
    home.mkdir()
    experiment = REPOSITORY / "experiments" / "line.py"
    set_up = ("--set", "train.epochs=1", "--no-wandb")
    found = answers(
        [
            ("run", experiment, "train.epochs=1", "--no-wandb"),
            ("sweep", experiment, "optimizer.lr=0.5", "--seeds", 1, "--workers", 2, *set_up),
            ("check", experiment),
        ],
        REPOSITORY, root, home, path=REPOSITORY,
    )  # fmt: skip
    run = found.json(0)["run"]
    again = answers(
        [("reproduce", run), ("predict", run, "0.5"), ("list",)],
        REPOSITORY, root, home, path=REPOSITORY,
    )  # fmt: skip
    assert again.json(0)["identical"]
    assert again.json(1)["predictions"][0]["value"] is not None
    assert {"line", "digits"} <= {found["experiment"] for found in again.json(2)}


def test_the_installed_command_in_a_project(tmp_path):
    """The console script itself: its own folder stands first on the path, not the project."""
    command = Path(sys.executable).parent / "paribus"
    if not command.exists():
        pytest.skip("paribus is not installed as a command here")
    write(tmp_path, {
        "core/__init__.py": "",
        "core/nets.py": MODEL,
        "core/waves.py": DATA,
        "mine.py": FILE.format(imports="", data='"core.waves.waves"', model='"core.nets.Net"'),
    })  # fmt: skip
    environment = clean_environment(str(tmp_path))
    del environment["PYTHONPATH"]
    done = subprocess.run(
        [command, "run", "mine.py", "--no-wandb", "--json"],
        capture_output=True, text=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "complete"


def environment_with(folder, project):
    """A Python that shares this one's packages and has a project installed as editable."""
    from environments import install, make_environment

    python = make_environment(folder)
    install(python, "-e", str(project))
    own = next((folder / "lib").glob("python*")) / "site-packages"
    # paribus may be installed as editable itself: its .pth file is executed too.
    line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (own / "shared_editable.pth").write_text(line)
    shutil.rmtree(project / "mine.egg-info", ignore_errors=True)
    return python

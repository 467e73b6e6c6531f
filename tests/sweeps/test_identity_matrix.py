"""Equal id means equal bits: what decides a run's numbers decides its id, however it is reached.

A project is planned, one of its factors is changed in one way, and it is planned again in the same
folder: the ids have to differ. The controls change what decides no number: the ids have to be
equal. What is read only while training is in test_identity_commands.py.
"""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from planned import planned, planned_sweep
from scaled_projects import (
    CHANGES,
    FACTORS,
    INSTALLED,
    KNOWN,
    MAKE,
    NET,
    SMALL,
    WRITTEN,
    Project,
    drawn_from,
    edit,
    experiment,
    install,
    write,
)

from paribus.core.errors import RequestError

# How factors are reached: the files of a project

IMPORTLIB = "import importlib\n"
PKGUTIL = """
import importlib
import pkgutil

import plugins

for found in pkgutil.iter_modules(plugins.__path__):
    importlib.import_module(f"plugins.{found.name}")
"""
BY_PATH = """import importlib.util
    from pathlib import Path

    file = Path(__file__).with_name(f"plugins_{kind}.py")
    spec = importlib.util.spec_from_file_location("plugin", file)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))"""


def plugin(imported, load="pass", file="plugins_small.py"):
    """An entry that registers itself when its module is imported, and what imports that."""
    main = f"from known import KNOWN\n{imported}\n{MAKE.format(load)}"
    entry = f"from known import register\n{FACTORS}{SMALL}"
    return {"mine.py": experiment(main, model="make"), "known.py": KNOWN, file: entry}


DATA = """
def scaled(n: int = 40):
    x, kind = waves(n)
    return scale(x * 1.0, read_when_made()), kind
"""
LOSS = """
class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = read_when_made()

    def forward(self, outputs, targets):
        return scale(nn.functional.cross_entropy(outputs, targets) * 1.0, self.factor)
"""
METRIC = """
import torchmetrics


class Scaled(torchmetrics.Metric):
    higher_is_better = True

    def __init__(self):
        super().__init__()
        self.factor = read_when_made()
        self.add_state("most", torch.tensor(0.0))

    def update(self, preds, target):
        self.most = preds.max()

    def compute(self):
        return scale(self.most * 1.0, self.factor)
"""
SCHEDULER = """
class Scaled(torch.optim.lr_scheduler.LambdaLR):
    def __init__(self, optimizer, last_epoch: int = -1):
        factor = read_when_made()
        super().__init__(optimizer, lambda epoch: scale(epoch * 1.0, factor), last_epoch)
"""
OPTIMIZER = """
class Scaled(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr)
        self.factor = read_when_made()

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad = scale(parameter.grad * 1.0, self.factor)
        return super().step(closure)
"""
MODELS = {
    "in the file": {"mine.py": experiment(FACTORS + NET, model="Net")},
    "a registry": {
        "mine.py": experiment(FACTORS + KNOWN + SMALL + MAKE.format("pass"), model="make")
    },
    "globals": {
        "mine.py": experiment(
            FACTORS + NET + MAKE.format("KNOWN = globals()").replace("small", "Net"), model="make"
        )
    },
    "a plugin by an import statement": plugin("import plugins_small"),
    "a plugin by its package": plugin("import plugins", file="plugins/small.py")
    | {"plugins/__init__.py": "from . import small\n"},
    "a plugin by importlib": plugin(
        IMPORTLIB + 'for x in ("small",):\n    importlib.import_module(f"plugins_{x}")'
    ),
    "a plugin by pkgutil": plugin(PKGUTIL, file="plugins/small.py") | {"plugins/__init__.py": ""},
    "a plugin by the factory": plugin(IMPORTLIB, 'importlib.import_module(f"plugins_{kind}")'),
    "a plugin by its path": plugin("", BY_PATH),
    "a factory of a module": {
        "mine.py": experiment("from nets import make", model="make"),
        "nets.py": FACTORS + NET + MAKE.format('KNOWN = {"small": Net}'),
    },
    "a base class of a module": {
        "mine.py": experiment("from nets import Net\nclass Mine(Net): pass", model="Mine"),
        "nets.py": FACTORS + NET,
    },
    "a dotted path": {
        "mine.py": experiment(model='"mypkg.nets.Net"'),
        "mypkg/__init__.py": "",
        "mypkg/nets.py": FACTORS + NET,
    },
}
OTHERS = {
    "data": {"mine.py": experiment(FACTORS + DATA, data="scaled")},
    "a loss": {"mine.py": experiment(FACTORS + LOSS, loss="Scaled")},
    "a metric": {
        "mine.py": experiment(metrics='["own_metrics.Scaled"]'),
        "own_metrics.py": FACTORS + METRIC,
    },
    "a scheduler": {
        "mine.py": experiment(
            FACTORS + SCHEDULER, scheduler='{"name": Scaled, "interval": "epoch"}'
        )
    },
    "an optimizer": {"mine.py": experiment(FACTORS + OPTIMIZER, optimizer="Scaled")},
}
HELPER = FACTORS + "\ndef scaled(x):\n    return scale(x * 1.0, read_when_made())\n"


def script(code):
    return f'''"""How far?"""

{code}


def train(step=1.0, *, seed):
    yield {{"height": scaled(step)}}


SELECT = {{"metric": "height", "direction": "maximize"}}
AXES = {{"script.step": [2.0]}}
'''


SCRIPTS = {
    "in the script": {"mine.py": script(HELPER)},
    "a helper of a script": {
        "mine.py": script("from helpers_small import scaled"),
        "helpers_small.py": HELPER,
    },
    "a helper of a script by importlib": {
        "mine.py": script(
            'import importlib\nkind = "small"\n'
            'scaled = importlib.import_module(f"helpers_{kind}").scaled'
        ),
        "helpers_small.py": HELPER,
    },
}
REACHES = MODELS | OTHERS | SCRIPTS
CELLS = [
    pytest.param(reach, change, id=f"{reach}-{change}")
    for reach in REACHES
    for change in CHANGES
    if not (reach in SCRIPTS and "when made" in change)  # read while training
]


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """Each project with the id it is planned with at first, made when it is asked for."""
    made = {}

    def project(reach):
        if reach not in made:
            laid_out = Project(tmp_path_factory.mktemp("project"), REACHES[reach])
            made[reach] = laid_out, laid_out.planned()
        return made[reach]

    return project


@pytest.mark.parametrize(("reach", "change"), CELLS)
def test_a_changed_number_is_another_run(projects, reach, change):
    project, before = projects(reach)
    try:
        CHANGES[change](project)
        assert project.planned() != before
    finally:
        project.lay_out()


@pytest.mark.parametrize("reach", REACHES)
def test_the_same_project_in_another_folder_is_the_same_run(projects, reach, tmp_path):
    _, before = projects(reach)
    assert Project(tmp_path / "elsewhere", REACHES[reach]).planned() == before


# What reads a file or a variable: an expression, what it imports, what puts its value there


def put_text(path, value):
    path.write_text(str(value))


def put_if_changed(path, value):
    path.unlink(missing_ok=True)
    if value != 1.0:
        path.write_text(str(value))


def put_floats(path, value):
    np.full(3, value, np.float32).tofile(path)


def put_names(path, value):
    shutil.rmtree(path, ignore_errors=True)
    for number in range(int(1 / value)):
        write(path / f"{number}.txt", "")


TRIED = """
def tried(path):
    try:
        return float(path.read_text())
    except FileNotFoundError:
        return 1.0
"""
FILES = {
    "open": ("float(open(FILE).read())", "", put_text),
    "open to change it": ('float(open(FILE, "r+").read())', "", put_text),
    "a loader": ("float(__loader__.get_data(str(FILE)))", "", put_text),
    "pkgutil": (
        'float(pkgutil.get_data("package", "../" + FILE.name))',
        "import pkgutil",
        put_text,
    ),
    "numpy.memmap": (
        'float(np.memmap(FILE, "float32")[0])',
        "import numpy as np",
        put_floats,
    ),
    "names by glob": ('1.0 / len(list(FILE.glob("*.txt")))', "", put_names),
    "names by os.listdir": ("1.0 / len(os.listdir(FILE))", "", put_names),
    "names by os.walk": ("1.0 / len(next(os.walk(FILE))[2])", "", put_names),
    "yaml by read_text": (
        'yaml.safe_load(FILE.read_text())["factor"]',
        "import yaml",
        lambda path, value: path.write_text(f"factor: {value}"),
    ),
    "numpy.load": (
        "float(np.load(FILE))",
        "import numpy as np",
        lambda path, value: np.save(path.open("wb"), value),
    ),
    "numpy.load of a memory map": (
        'float(np.load(FILE, mmap_mode="r").sum())',
        "import numpy as np",
        lambda path, value: np.save(path.open("wb"), np.full(3, value)),
    ),
    "torch.load": (
        "float(torch.load(FILE))",
        "",
        lambda path, value: torch.save(torch.tensor(value), path),
    ),
    "torch.load of a memory map": (
        "float(torch.load(str(FILE), mmap=True))",
        "",
        lambda path, value: torch.save(torch.tensor(value), path),
    ),
    "pandas.read_csv": (
        'float(pd.read_csv(FILE)["factor"][0])',
        "import pandas as pd",
        lambda path, value: pd.DataFrame({"factor": [value]}).to_csv(path),
    ),
    "a file that was not there, opened": ("tried(FILE)", TRIED, put_if_changed),
    "a file that was not there, asked for": (
        "float(FILE.read_text()) if FILE.exists() else 1.0",
        "",
        put_if_changed,
    ),
}
VARIABLES = {
    "os.environ[]": ('float(os.environ["NAME"])', {"NAME": "1.0"}),
    "os.environ.get": ('float(os.environ.get("NAME", 1.0))', {"NAME": "1.0"}),
    "os.getenv": ('float(os.getenv("NAME", 1.0))', {"NAME": "1.0"}),
    "a variable that was not set": ('float(os.getenv("NAME", 1.0))', {"NAME": None}),
    "a variable that was not set, asked for": (
        '0.25 if "NAME" in os.environ else 1.0',
        {"NAME": None},
    ),
    "os.path.expandvars": ('float(os.path.expandvars("$NAME"))', {"NAME": "1.0"}),
    "string.Template": (
        'float(string.Template("$NAME").substitute(os.environ, other=1))',
        {"NAME": "1.0"},
    ),
    "collections.ChainMap": (
        'float(collections.ChainMap({}, os.environ)["NAME"])',
        {"NAME": "1.0"},
    ),
}
READING = """
import collections
import os
import string
from pathlib import Path

import torch
from torch import nn
{imports}

HERE = Path(__file__).parent
AT_IMPORT = [{at_import}]


class Reading(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)
        self.layer.bias.requires_grad_(False)
        self.when_made = [{when_made}]

    def forward(self, x):
        return self.layer(x) * sum(AT_IMPORT) * sum(self.when_made)
"""
MOMENTS = ("import", "made")


def file_of(reader, moment):
    return f"{moment}-{list(FILES).index(reader)}"


def variable_of(reader, moment):
    return f"{moment}_{list(VARIABLES).index(reader)}".upper()


@pytest.fixture(scope="module")
def reading(tmp_path_factory):
    """An experiment that reads everything, at import and when it is made; how it is planned."""
    folder = tmp_path_factory.mktemp("reading")
    lines, variables = {}, {}
    for moment in MOMENTS:
        expressions = []
        for reader, (expression, _, put) in FILES.items():
            name = file_of(reader, moment)
            expressions.append(expression.replace("FILE", f'(HERE / "{name}")'))
            put(folder / name, 1.0)
        for reader, (expression, values) in VARIABLES.items():
            name = variable_of(reader, moment)
            expressions.append(expression.replace("NAME", name))
            variables[name] = values["NAME"]
        lines[moment] = ", ".join(expressions)
    write(folder / "package" / "__init__.py", "")
    imports = "\n".join({imports: None for _, imports, _ in FILES.values()})
    code = READING.format(imports=imports, at_import=lines["import"], when_made=lines["made"])
    path = write(folder / "mine.py", experiment(code, model="Reading"))

    def plan(**changed):
        return planned(path, variables=variables | changed)

    plan.folder, plan.first = folder, plan()
    return plan


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("reader", FILES)
def test_every_way_of_reading_a_file(reading, reader, moment):
    *_, put = FILES[reader]
    file = reading.folder / file_of(reader, moment)
    try:
        put(file, 0.25)
        assert reading() != reading.first
    finally:
        put(file, 1.0)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("reader", VARIABLES)
def test_every_way_of_reading_a_variable(reading, reader, moment):
    assert reading(**{variable_of(reader, moment): "0.25"}) != reading.first


def test_reading_the_same_is_the_same_run(reading):
    assert reading() == reading.first


def test_a_project_that_lists_its_own_folder_may_be_moved(tmp_path):
    code = (
        "import os\nfrom pathlib import Path\nHERE = Path(__file__).parent\n"
        "COUNT = len([*HERE.glob('*.txt'), *os.walk(HERE)])\n"
    )
    found = []
    for place in ("one/before", "two/after"):
        folder = tmp_path / place
        write(folder / "mine.py", experiment("from nets import Net", model="Net"))
        write(folder / "nets.py", code + INSTALLED.replace(WRITTEN, "* COUNT"))
        found.append(planned(folder / "mine.py"))
    write(folder / "__pycache__" / "more.pyc", "")
    write(folder / ".ipynb_checkpoints" / "mine.py", "")
    write(folder / "results" / "root.json", "")
    found.append(planned(folder / "mine.py"))
    assert len(set(found)) == 1
    write(folder / "more.txt", "")
    assert planned(folder / "mine.py") != found[0]


def test_all_variables_at_once_are_none(tmp_path):
    lines = ["import os", "SEEN = [os.environ | {}, {} | os.environ, {**os.environ}]"]
    lines += ["SEEN += [dict(os.environ), os.environ.copy(), *os.environ.items()]"]
    lines += ["SEEN += [os.path.expanduser('~'), repr(os.environ)]"]
    path = write(tmp_path / "mine.py", experiment("\n".join(lines)))
    assert len({planned(path, variables={"HOME": home}) for home in (None, "/a", "b")}) == 1


# Installed packages


def test_an_installed_net_that_was_installed_again(tmp_path):
    path = write(tmp_path / "mine.py", experiment(model='"my_nets.nets.Net"'))
    found = []
    for factor in (1.0, 1.0, 0.25):
        nets = INSTALLED.replace(WRITTEN, f"* {factor}")
        install(tmp_path / "site-packages", "my_nets", {"__init__.py": "", "nets.py": nets})
        found.append(planned(path, site=tmp_path / "site-packages"))
    assert found[0] == found[1] != found[2]


def test_an_installed_plugin_that_was_installed_again(tmp_path):
    load = 'importlib.import_module(f"my_plugins.{kind}")'
    main = f"import importlib\nfrom my_plugins.known import KNOWN\n{MAKE.format(load)}"
    path = write(tmp_path / "mine.py", experiment(main, model="make"))
    found = []
    for factor in (1.0, 1.0, 0.25):
        entry = INSTALLED.replace(WRITTEN, f"* {factor}")
        entry = entry.replace("class Net", '@register("small")\nclass Net')
        entry = f"from my_plugins.known import register\n{entry}"
        files = {"__init__.py": "", "known.py": KNOWN, "small.py": entry}
        install(tmp_path / "site-packages", "my_plugins", files)
        found.append(planned(path, site=tmp_path / "site-packages"))
    assert found[0] == found[1] != found[2]


def test_a_package_that_pip_installed_again(tmp_path):
    path = write(tmp_path / "mine.py", experiment("from by_pip import Net", model="Net"))
    source, site = tmp_path / "source", tmp_path / "site-packages"
    write(source / "pyproject.toml", '[project]\nname = "by-pip"\nversion = "1.0"\n')
    found = []
    for factor in (1.0, 0.25):
        write(source / "by_pip.py", INSTALLED.replace(WRITTEN, f"* {factor}"))
        shutil.rmtree(source / "build", ignore_errors=True)
        words = ["install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--upgrade",
                 "--disable-pip-version-check", "--target", site, source]  # fmt: skip
        subprocess.run([sys.executable, "-m", "pip", *words], check=True)
        found.append(planned(path, site=site))
    assert found[0] != found[1]


# What decides no number

CONTROL = experiment(
    """
from nets import Net

LR = 0.01
LEVELS = [1, 2]


class Mine(Net):
    '''A net.'''

    def forward(self, x):
        '''Answer.'''
        # what it does
        return super().forward(x) * 2
""",
    model="Mine",
    optimizer='{"name": "sgd", "lr": LR}',
).replace('{"optimizer.lr": [0.01]}', '{"optimizer.lr": [0.01], "train.epochs": LEVELS}')
EDITS = {
    "comment": ("mine.py", "# what it does", "# what it does now\n"),
    "docstring of the file": ("mine.py", "Does it matter?", "Does it matter at all?"),
    "docstring of a class": ("mine.py", "A net.", "One of the nets."),
    "docstring of a method": ("mine.py", "'''Answer.'''", "'''Answer.\n\n        In time.'''"),
    "formatting": ("mine.py", "super().forward(x) * 2", "(\n            super().forward(x)\n * 2)"),
    "AXES": ("mine.py", "[0.01]", "[0.01, 0.5]"),
    "a constant of AXES": ("mine.py", "LEVELS = [1, 2]", "LEVELS = [1, 2, 3]"),
    "a constant of BASELINE, of equal value": ("mine.py", "LR = 0.01", "LR = 1 / 100"),
    "BASELINE in another order": (
        "mine.py",
        '    "task": "multiclass",\n    "data": waves,\n',
        '    "data": waves,\n    "task": "multiclass",\n',
    ),
    "comment of a module": ("nets.py", "import torch\n", "import torch  # for nn\n"),
    "docstring of a module's class": ("nets.py", '"""A net."""', '"""Another net."""'),
    "docstring of a module's method": ("nets.py", "Scale the outputs.", "Scales the outputs."),
    "formatting of a module": ("nets.py", "x * factor", "(\n        x\n * factor)"),
}


@pytest.fixture(scope="module")
def first_control(tmp_path_factory):
    files = {"mine.py": CONTROL, "nets.py": FACTORS + NET}
    project = Project(tmp_path_factory.mktemp("control"), files)
    return project, project.planned(), project.planned("optimizer.lr=0.3")


@pytest.fixture
def control(first_control):
    """A project that uses a module, files, variables and a package, and its id."""
    project, before, _ = first_control
    yield project, before
    project.lay_out()


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_that_changes_no_number_is_the_same_run(control, what):
    project, before = control
    file, old, new = EDITS[what]
    edit(project.folder / file, old, new)
    assert project.planned() == before


def test_a_constant_of_the_baseline_that_the_command_replaces_is_the_same_run(
    control, first_control
):
    project, _ = control
    edit(project.path, "LR = 0.01", "LR = 0.025")
    assert project.planned("optimizer.lr=0.3") == first_control[2]


def test_variables_files_and_modules_that_nothing_reads_are_the_same_run(control):
    project, before = control
    write(project.path.with_name("notes.json"), "{}")
    write(project.path.with_name("unused_module.py"), "X = 1")
    project.variables["OF_NOBODY"] = "5"
    assert project.planned() == before


def test_what_another_experiment_imported_before_is_not_counted(control, tmp_path):
    project, before = control
    other = write(tmp_path / "other.py", experiment("import extra_module"))
    write(tmp_path / "extra_module.py", "import os\nX = os.getenv('OTHERS')\n")
    assert project.planned(before=[other]) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"direction": "maximize"', '"direction": ("maximize")'),
        ("SELECT = {", "SELECT = {  # how epochs are compared\n    "),
        ('AXES = {"script.step": [2.0]}', 'LEVELS = [2.0]\nAXES = {"script.step": LEVELS}'),
        ("[2.0]", "[2.0, 3.0]"),
        ("How far?", "How far does it get?"),
    ],
    ids=["SELECT", "comment", "a constant of AXES", "AXES", "docstring"],
)
def test_an_edit_of_a_script_that_changes_no_number_is_the_same_run(projects, old, new):
    project, before = projects("a helper of a script")
    try:
        edit(project.path, old, new)
        assert project.planned() == before
    finally:
        project.lay_out()


AT = 'json.loads((Path(os.environ["FACTOR_FOLDER"]) / "factor.json").read_text())["factor"]'


def test_a_folder_that_a_variable_names_counts_by_the_files_read_there(tmp_path):
    code = "import json, os\nfrom pathlib import Path\n" + INSTALLED.replace(
        WRITTEN, "* self.factor"
    )
    code = code.replace("self.factor = 1.0", f"self.factor = {AT}")
    path = write(tmp_path / "mine.py", experiment(code, model="Net"))
    found = []
    for folder, factor in (("here", 1.0), ("elsewhere/there", 1.0), ("other", 0.25)):
        write(tmp_path / folder / "factor.json", json.dumps({"factor": factor}))
        found.append(planned(path, variables={"FACTOR_FOLDER": str(tmp_path / folder)}))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("name", ["API_KEY", "X_TOKEN", "DB_PASSWORD"])
def test_a_secret_is_not_counted(tmp_path, name):
    read = f'import os\nUSER = os.environ["{name}"]\nos.getenv("{name}")\n'
    code = read + INSTALLED.replace(WRITTEN, "* bool(USER)")
    path = write(tmp_path / "mine.py", experiment(code, model="Net"))
    found = {planned(path, variables={name: value}) for value in ("one", "another")}
    assert len(found) == 1


# Several settings in one process


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """An experiment whose factory imports a module, which reads a file, for each kind of net."""
    folder = tmp_path_factory.mktemp("kinds")
    load = 'importlib.import_module(f"plugins_{kind}")'
    main = f"from known import KNOWN\nimport importlib\n{MAKE.format(load)}"
    write(folder / "known.py", KNOWN)
    for kind in ("small", "large"):
        read = f'FACTOR = float(Path(__file__).with_name("{kind}.txt").read_text())\n'
        net = INSTALLED.replace("class Net", f'@register("{kind}")\nclass Net')
        net = net.replace(WRITTEN, "* FACTOR")
        text = f"from known import register\nfrom pathlib import Path\n{read}{net}"
        write(folder / f"plugins_{kind}.py", text)
        write(folder / f"{kind}.txt", "1.0")
    return write(folder / "mine.py", experiment(main, model="make"))


def test_the_order_of_settings_and_planning_alone_give_the_same_runs(kinds):
    axes = ("model.kind=large", "optimizer.lr=0.01")
    found = planned_sweep(kinds, *axes, seeds=(0, 1))
    assert len(set(found.values())) == 6
    assert planned_sweep(kinds, *reversed(axes), seeds=(1, 0)) == found
    assert found["baseline", 0] == planned(kinds)
    for axis in axes:
        assert found[axis, 0] == planned(kinds, axis)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [("small.txt", "1.0", "0.25"), ("plugins_small.py", "* FACTOR", "* 0.5 * FACTOR")],
)
def test_each_setting_counts_what_it_uses_itself(kinds, file, old, new):
    axes = ("optimizer.lr=0.01", "model.kind=large")
    before = planned_sweep(kinds, *axes)
    edit(kinds.with_name(file), old, new)
    after = planned_sweep(kinds, *axes)
    edit(kinds.with_name(file), new, old)
    changed = {label for label, seed in before if before[label, seed] != after[label, seed]}
    assert changed == {"baseline", "optimizer.lr=0.01"}


# One seed, one model


@pytest.mark.parametrize(
    "drawn",
    [
        "time.time_ns() % 1_000_003",
        'int.from_bytes(os.urandom(3), "big")',
        "next(COUNTER)",
        "random.Random().random()",
        "np.random.default_rng().random()",
    ],
)
def test_two_models_of_one_seed_that_differ_are_refused(tmp_path, drawn):
    with pytest.raises(RequestError) as refused:
        planned(drawn_from(tmp_path, drawn))
    message = str(refused.value)
    assert "second.bias" in message
    assert "second.weight" not in message
    assert "first" not in message


@pytest.mark.parametrize("drawn", ["random.random()", "np.random.rand()", "torch.rand(()).item()"])
def test_a_model_drawn_from_the_seed_is_one_run(tmp_path, drawn):
    path = drawn_from(tmp_path, drawn)
    assert planned(path) == planned(path)

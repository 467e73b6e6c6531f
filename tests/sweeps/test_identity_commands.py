"""Equal id means equal bits, through the commands: trained again where something read has changed.

What a run reads only while it trains is not known when it is planned: the run records it, and the
same command trains again where it has changed.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
from commands import refused
from processes import Started
from scaled_projects import INSTALLED, KNOWN, MAKE, WRITTEN, drawn_from, edit, experiment, write

NAME = "FACTOR_OF_MINE"


def as_json(factor):
    return json.dumps({"factor": factor})


@pytest.fixture
def here(paribus, tmp_path):
    """Runs commands in a folder, and answers with what they left."""

    def call(*words, **variables):
        return paribus(*words, "--root", tmp_path / "r", cwd=tmp_path, env=variables)

    def run(*words, **variables):
        done = call("run", "mine.py", *words, "--no-wandb", "--json", **variables)
        assert done.code == 0, done.err
        return done.json | {"said": done.err}

    call.run, call.folder, call.root = run, tmp_path, tmp_path / "r"
    return call


# Read while training

READ = 'json.loads((HERE / "late.json").read_text())["factor"]'
TOP = "import json\nimport os\nfrom pathlib import Path\n\nHERE = Path(__file__).parent\n"
FORWARD = """
class Late(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)
        self.updates = 0

    def forward(self, x):
        self.updates += self.training
        return self.layer(x) * (READ if self.updates > 8 else 1.0)
"""
DATA_SET = """
class Late(torch.utils.data.Dataset):
    def __init__(self):
        self.x, self.kind = waves()
        self.read = 0

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        self.read += 1
        return self.x[row] * (READ if WHEN else 1.0), self.kind[row]


def late():
    return Late()
"""
IN_A_LOADER = "torch.utils.data.get_worker_info() is not None"
SCRIPT = f'''"""How far?"""
{TOP}

def train(step=1.0, *, seed):
    for epoch in range(2):
        yield {{"height": step * epoch * READ}}


SELECT = {{"metric": "height", "direction": "maximize"}}
'''
TRAIN = {"train": '{"epochs": 4, "batch_size": 8}'}
IMPORTED = "importlib.import_module(f\"late_{'module'}\").FACTOR"


def put_file(folder, factor):
    write(folder / "late.json", as_json(factor))
    return {}


def put_variable(_folder, factor):
    return {NAME: str(factor)}


def put_module(folder, factor):
    write(folder / "late_module.py", f"FACTOR = {factor}\n")
    return {}


def put_names(folder, factor):
    for number in range(int(1 / factor)):
        write(folder / f"late-{number}.txt", "")
    return {}


# The experiment, the words of the command, how a factor is put where it is read, what is named.
LATE = {
    "a file, by forward": (
        experiment(TOP + FORWARD.replace("READ", READ), model="Late", **TRAIN),
        (),
        put_file,
        "late.json",
    ),
    "a file, by a data set": (
        experiment(
            TOP + DATA_SET.replace("READ", READ).replace("WHEN", "self.read > 150"),
            data="late",
            **TRAIN,
        ),
        (),
        put_file,
        "late.json",
    ),
    "a file, by a data set in a loader worker": (
        experiment(
            TOP + DATA_SET.replace("READ", READ).replace("WHEN", IN_A_LOADER), data="late", **TRAIN
        ),
        ("--loader-workers", "1"),
        put_file,
        "late.json",
    ),
    "a file, by a script": (SCRIPT.replace("READ", READ), (), put_file, "late.json"),
    "names in a folder, by a script": (
        SCRIPT.replace("READ", "(1 / len([*HERE.glob('*.txt')]))"),
        (),
        put_names,
        "read ./",
    ),
    "a variable, by a script": (
        SCRIPT.replace("READ", f'float(os.environ["{NAME}"])'),
        (),
        put_variable,
        NAME,
    ),
    "a module, by a script": (
        SCRIPT.replace("READ", IMPORTED).replace("import json", "import importlib"),
        (),
        put_module,
        "late_module",
    ),
}


@pytest.mark.parametrize("late", LATE)
def test_what_was_read_while_training_has_changed(here, late):
    text, words, put, named = LATE[late]
    write(here.folder / "mine.py", text)
    variables = put(here.folder, 1.0)
    first = here.run(*words, **variables)
    again = here.run(*words, **variables)
    assert (first["reused"], again["reused"]) == (False, True)
    assert again["run"] == first["run"]

    variables = put(here.folder, 0.125)
    changed = here.run(*words, **variables)
    assert not changed["reused"]
    assert changed["last"] != first["last"]
    assert named in changed["said"]
    moved = list((here.root / "attempts").glob(f"{first['run']}.*"))
    assert [(path / "run.json").is_file() for path in moved] == [True]
    assert here.run(*words, **variables)["reused"]


def test_a_file_that_data_function_and_forward_read_is_seen(here):
    """Found: what the data were loaded from did not count, though the data stayed as they were."""
    code = TOP + FORWARD.replace("READ", READ)
    text = experiment(code, model="Late", **TRAIN)
    text = text.replace("    kind = torch", f"    {READ}\n    kind = torch", 1)
    write(here.folder / "mine.py", text)
    put_file(here.folder, 1.0)
    assert not here.run()["reused"]
    assert here.run()["reused"]
    put_file(here.folder, 0.125)
    assert not here.run()["reused"]


def test_a_run_that_goes_on_does_not_mix_what_it_read(here):
    """Stopped, the file edited, and run again: it began in the middle, with the new file."""
    code = TOP + FORWARD.replace("READ", READ).replace("> 8", "> 3")
    end = "(HERE / 'stop').exists() and self.updates > 6 and os.kill(os.getpid(), 9)"
    counted = "self.updates += self.training"
    code = code.replace(counted, f"{counted}\n        {end}")
    write(here.folder / "mine.py", experiment(code, model="Late", **TRAIN))
    put_file(here.folder, 1.0)
    (here.folder / "stop").touch()
    words = ["run", "mine.py", "--checkpoint-every", "0", "--no-wandb", "--root", here.root]
    assert Started(words, cwd=here.folder).end()[0] == -9
    (here.folder / "stop").unlink()
    put_file(here.folder, 0.125)
    found = here.run()
    assert "late.json, which it read, has changed since" in found["said"]
    shutil.rmtree(here.root)
    assert here.run()["last"] == found["last"]


@pytest.mark.parametrize("late", ["a file, by a script", "a variable, by a script"])
def test_reproduce_names_what_was_read_while_training_and_has_changed(here, late):
    text, _, put, named = LATE[late]
    write(here.folder / "mine.py", text)
    run = here.run(**put(here.folder, 1.0))["run"]
    done = here("reproduce", run, **put(here.folder, 0.125))
    assert done.code == 1
    what = f"${NAME}" if named == NAME else f"the file {named}"
    assert f"here differ: {what}." in " ".join(done.out.split())
    assert f"{what} was " in " ".join((done.out + done.err).split())


def test_runs_that_write_into_a_folder_that_they_list_are_reused(here):
    wrote = '(HERE / f"of-{seed}-{step}.txt").write_text("") or [*HERE.glob("*")] and 1'
    write(here.folder / "mine.py", SCRIPT.replace("READ", f"bool({wrote})"))
    words = ("sweep", "mine.py", "script.step=2", "--seeds", "2", "--workers", "2", "--study", "s",
             "--no-wandb", "--json")  # fmt: skip
    found = [here(*words) for _ in range(2)]
    assert [done.json["runs"]["reused"] for done in found] == [0, 4], found[0].err


def test_a_sweep_trains_again_what_has_read_a_file_that_changed(here):
    text, _, put, named = LATE["a file, by forward"]
    write(here.folder / "mine.py", text)
    words = ("sweep", "mine.py", "optimizer.lr=0.01", "--seeds", "2", "--workers", "1",
             "--study", "s", "--no-wandb", "--json")  # fmt: skip
    counts = []
    for factor in (1.0, 1.0, 0.125):
        put(here.folder, factor)
        done = here(*words)
        assert done.code == 0, done.err
        counts.append((done.json["runs"]["trained"], done.json["runs"]["reused"]))
    assert counts == [(4, 0), (0, 4), (4, 0)]
    assert named in done.err
    edit(here.folder / "mine.py", "torch.sin(", "torch.cos(")
    done = here(*words[:-1], "--dry-run")
    assert "Trained anew because of what changed: data: changed; mine.py: changed." in done.out


def test_a_model_that_raises_while_its_updates_are_timed_ends_the_dry_run_in_one_line(here):
    raising = FORWARD.replace("READ", "[1.0][self.updates // 12]")
    write(here.folder / "mine.py", experiment(TOP + raising, model="Late", **TRAIN))
    done = here("sweep", "mine.py", "--dry-run", "--workers", "2")
    assert done.code == 2
    assert "mine.py, line" in done.err
    assert "IndexError" in done.err


# Read while planning

READ_ON_IMPORT = f'''import json
import os

FACTOR = float(os.environ["{NAME}"]) * json.load(open("factor.json"))["factor"]
'''
NETS = READ_ON_IMPORT + INSTALLED.replace(WRITTEN, "* FACTOR * 1.0")
CHANGES = {
    "a file": ("factor.json", as_json(1.0), as_json(0.25)),
    "a module": ("nets.py", WRITTEN, "* 0.25"),
    "the experiment's file": ("mine.py", "pass  # the body", "extra = 1"),
    "a variable": (NAME, "1.0", "0.25"),
}


@pytest.fixture
def one(here):
    """A project that reads a file of the working folder, a variable and a module; its run."""
    write(here.folder / "factor.json", as_json(1.0))
    write(here.folder / "nets.py", NETS)
    code = "from nets import Net\n\n\nclass Mine(Net):\n    pass  # the body\n"
    write(here.folder / "mine.py", experiment(code, model="Mine"))
    return here.run(**{NAME: "1.0"})


def change(folder, what):
    """Change one thing that the project reads; return the variables to run with."""
    where, old, new = CHANGES[what]
    if where == NAME:
        return {NAME: new}
    edit(folder / where, old, new)
    return {NAME: "1.0"}


@pytest.mark.parametrize("what", CHANGES)
def test_compare_names_what_differs_between_two_runs(here, one, what):
    other = here.run(**change(here.folder, what))
    assert other["run"] != one["run"]
    for form in ((), ("--json",)):
        done = here("compare", one["run"], other["run"], *form)
        assert done.code == 0, done.err
        named = CHANGES[what][0].removesuffix(".py") if what == "a module" else CHANGES[what][0]
        assert named in done.out
        others = {CHANGES[name][0] for name in CHANGES if name != what} - {"mine.py", "nets.py"}
        assert not [name for name in others if name in done.out]


def test_reproduce_reads_the_same_again(here, one):
    done = here("reproduce", one["run"], "--json", **{NAME: "1.0"})
    assert done.code == 0, done.err
    assert done.json["identical"]
    assert done.json["environment"] == {}


@pytest.mark.parametrize("what", ["a file", "a variable"])
@pytest.mark.parametrize("gone", [False, True], ids=["changed", "missing"])
def test_reproduce_says_what_is_missing_or_changed(here, one, what, gone):
    variables = change(here.folder, what)
    named = CHANGES[what][0]
    if gone:
        variables.pop(NAME) if named == NAME else (here.folder / named).unlink()
    done = here("reproduce", one["run"], **variables)
    assert done.code in (1, 2)
    assert named in done.out + done.err
    assert "Traceback" not in done.out + done.err


def test_reproduce_has_what_the_experiments_own_file_read_on_import(here):
    write(here.folder / "factor.json", as_json(1.0))
    write(here.folder / "mine.py", experiment(READ_ON_IMPORT))
    run = here.run(**{NAME: "1.0"})
    done = here("reproduce", run["run"], "--json", **{NAME: "1.0"})
    assert done.code == 0, done.err
    assert done.json["environment"] == {}
    write(here.folder / "factor.json", as_json(0.25))
    done = here("reproduce", run["run"], "--json", **{NAME: "1.0"})
    assert list(done.json["environment"]) == ["factor.json"]


@pytest.mark.parametrize("words", [
    ("evaluate",), ("evaluate", "--split", "test"), ("predict", "1,2,3"),
], ids=" ".join)  # fmt: skip
@pytest.mark.parametrize("what", ["a file", "a variable", "a file, while training"])
def test_weights_are_not_put_into_another_model(here, words, what):
    late = what == "a file, while training"
    code = TOP + FORWARD.replace("READ", READ) if late else "from nets import Net"
    train = TRAIN if late else {}
    write(here.folder / "mine.py", experiment(code, model="Late" if late else "Net", **train))
    write(here.folder / "factor.json", as_json(1.0))
    write(here.folder / "late.json", as_json(1.0))
    write(here.folder / "nets.py", NETS)
    run = here.run(**{NAME: "1.0"})["run"]
    words = (words[0], run, *words[1:])
    assert here(*words, **{NAME: "1.0"}).code == 0
    variables = {NAME: "1.0"}
    if late:
        write(here.folder / "late.json", as_json(0.25))
    else:
        variables = change(here.folder, what)
    done = here(*words, **variables)
    assert done.code == 1
    named = "late.json" if late else CHANGES[what][0]
    assert f"{named}: not what {run} read when it was trained" in done.err
    readings = here.root / "readings.jsonl"
    assert len(readings.read_text().splitlines() if readings.exists() else ()) == (
        "--split" in words
    )  # fmt: skip


def test_a_project_that_was_moved_goes_on_with_its_study(paribus, tmp_path):
    text = experiment(data='{"name": "table", "path": Path(__file__).parent / "t.csv", '
                      '"target": "kind"}', model='"linear"')  # fmt: skip
    folder = tmp_path / "before"
    folder.mkdir()
    write(folder / "mine.py", text.replace("import torch", "from pathlib import Path", 1))
    rows = [f"{i % 7},{i % 5},{'ab'[i % 2]}" for i in range(40)]
    write(folder / "t.csv", "\n".join(["x,y,kind", *rows, ""]))
    counts, names = [], []
    for place in (folder, tmp_path / "after"):
        done = paribus("sweep", place / "mine.py", "optimizer.lr=0.01", "--seeds", "2", "--json",
                       "--workers", "1", "--no-wandb", "--root", tmp_path / "r")  # fmt: skip
        assert done.code == 0, done.err
        counts.append((done.json["runs"]["trained"], done.json["runs"]["reused"]))
        names.append(done.json["study"])
        if place == folder:
            folder.rename(tmp_path / "after")
    assert counts == [(4, 0), (0, 4)]
    assert names[0] == names[1]


def test_reproduce_has_modules_that_were_imported_while_the_model_was_built(here):
    load = 'importlib.import_module(f"plugins_{kind}")'
    main = f"from known import KNOWN\nimport importlib\n{MAKE.format(load)}"
    entry = INSTALLED.replace("class Net", '@register("small")\nclass Net')
    write(here.folder / "known.py", KNOWN)
    write(here.folder / "plugins_small.py", f"from known import register\n{entry}")
    write(here.folder / "mine.py", experiment(main, model="make"))
    run = here.run()
    for file in here.folder.glob("*.py"):
        file.unlink()
    shutil.rmtree(here.folder / "__pycache__", ignore_errors=True)
    done = here("reproduce", run["run"], "--json")
    assert done.code == 0, done.err
    assert done.json["identical"]


def test_what_was_read_is_in_the_record(here, one):
    identity = json.loads((Path(one["dir"]) / "run.json").read_text())["identity"]
    assert {"mine.py", "nets"} <= set(identity["sources"])
    assert set(identity["files"]) == {"factor.json"}
    assert identity["variables"] == {NAME: "1.0"}


SECRETS = ("API_KEY", "X_TOKEN", "DB_PASSWORD")


def test_the_value_of_a_secret_is_in_no_file(here):
    read = "".join(f'{name} = os.environ["{name}"]\n' for name in SECRETS)
    code = INSTALLED.replace(WRITTEN, "* len(API_KEY + X_TOKEN + DB_PASSWORD)")
    write(here.folder / "mine.py", experiment(f"import os\n{read}{code}", model="Net"))
    run = here.run(**{name: f"sesame-{name}" for name in SECRETS})
    again = here.run(**{name: f"simsim-{name}" for name in SECRETS})
    assert (run["run"], again["reused"]) == (again["run"], True)
    files = [path for path in here.root.rglob("*") if path.is_file()]
    assert files
    for word in (b"sesame", b"simsim"):
        assert not [path for path in files if word in path.read_bytes()]
    assert "sesame" not in run["said"]
    assert "Not recorded, as it may be a secret by its name: API_KEY, DB_PASSWORD" in run["said"]


def test_two_models_of_one_seed_that_differ_are_refused(here):
    drawn_from(here.folder, "time.time_ns() % 1_000_003")
    refused(here("run", "mine.py", "--no-wandb"), here.root, "second.bias")


def test_an_edit_is_trained_and_a_comment_is_not(tmp_path):
    """In processes of their own, as a terminal starts them."""
    load = 'importlib.import_module(f"plugins_{kind}")'
    main = f"from known import KNOWN\nimport importlib\n{MAKE.format(load)}"
    write(tmp_path / "known.py", KNOWN)
    entry = INSTALLED.replace("class Net", '@register("small")\nclass Net')
    plugin = write(tmp_path / "plugins_small.py", f"from known import register\n{entry}")
    write(tmp_path / "mine.py", experiment(main, model="make"))
    found = []
    for old, new in (("", ""), ("import torch\n", "import torch  # it\n"), (WRITTEN, "* 0.25")):
        edit(plugin, old, new)
        words = ("run", "mine.py", "--no-wandb", "--json")
        code, out, err = Started(words, cwd=tmp_path, env={"HOME": os.fspath(tmp_path)}).end()
        assert code == 0, err
        found.append(json.loads(out))
    assert [run["reused"] for run in found] == [False, True, False]
    assert found[0]["last"] != found[2]["last"]

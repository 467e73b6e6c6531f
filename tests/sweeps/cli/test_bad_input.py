"""Requests that are wrong: one line that says what, where, the choices and the next step.

Exit code 2, nothing created, no traceback, and the same under `--json` as a document.
"""

import json
import subprocess
import sys

import pytest
from commands import refused

STUDY_NAME = "Take 1 to 100 letters, digits, '.', '_' and '-', beginning with a letter or digit."
SEEDS = "must be how many seeds (1 to 10000), or different seeds from 0 to 999999999. Such as"
GROUPS = "Groups are task, data, model, loss, optimizer, scheduler, split, standardize, augment,"

# (the command, what must be said: each text in the message or the hint of one fault)
BAD = [
    # names
    ("sweep digit", ["There is no experiment 'digit'.", "Did you mean 'digits'?"]),
    ("run nowhere.py", ["There is no file 'nowhere.py'."]),
    ("show zzz", ["There is no experiment 'zzz'.", "Choose cancer, circles, "]),
    ("run digits foo.bar=1", ["There is no hyperparameter 'foo.bar'.", GROUPS]),
    ("run digits foo=1", ["There is no hyperparameter 'foo'.", GROUPS]),
    ("run digits lrr=1", ["There is no hyperparameter 'lrr'.", "Did you mean 'optimizer.lr'?"]),
    (
        "run digits scheduler=one_cycle epochs=3",
        ["'epochs' may be 'scheduler.epochs' or 'train.epochs'.", "Write the whole key."],
    ),
    ("run digits lr=1 optimizer.lr=2", ["optimizer.lr is set twice.", "Set it once."]),
    ("sweep digits lr=0.1,fast", ["optimizer.lr=fast: must be a number."]),
    ("run digits learning_rate=1", ["'learning_rate'", "Did you mean 'optimizer.lr'?"]),
    ("sweep digits hidden_units=64", ["'hidden_units'", "Did you mean 'model.hidden_dim'?"]),
    ("sweep digits optimizr.lr=1", ["'optimizr.lr'", "Did you mean 'optimizer.lr'?"]),
    ("sweep digits optimizr.betas=1", ["'optimizr.betas'", "Did you mean 'optimizer.betas'?"]),
    ("sweep digits hiden_dim=1", ["'hiden_dim'", "Did you mean 'model.hidden_dim'?"]),
    ("run digits train.epoch=1", ["'train.epoch'", "Did you mean 'train.epochs'?"]),
    ("run digits split.sed=1", ["'split.sed'", "Did you mean 'split.seed'?"]),
    ("run digits model.hidden_dm=4", ["'model.hidden_dm'", "Did you mean 'model.hidden_dim'?"]),
    ("run digits model=mpl", ["There is no model 'mpl'.", "Did you mean 'mlp'?"]),
    (
        "run digits loss=zzz",
        [
            "There is no loss 'zzz'.",
            "Choose bce, bce_with_logits, cross_entropy, huber, l1, model or mse.",
        ],
    ),
    ("run digits optimizer=adma", ["no optimizer 'adma'", "Did you mean 'adam'?"]),
    ("run digits train.epohcs=1", ["'train.epohcs'", "Did you mean 'train.epochs'?"]),
    ("run digits model.pretraind=1", ["'model.pretraind'", "Choose model.activation, model."]),
    (
        "run digits model.norm_layr=1 model=torchvision.models.resnet18",
        ["Did you mean 'model.norm_layer'?"],
    ),
    ("sweep digits optimizer=adam,sdg", ["no optimizer 'sdg'", "Did you mean 'sgd'?"]),
    ("run digits optimizer=torch.optim.Adm", ["torch.optim has no 'Adm'", "Did you mean 'Adam'?"]),
    ("run digits data=no.such.thing", ["no module 'no' to import 'no.such.thing' from"]),
    (
        "run digits loss=cross_entropy(label_smothing=0.1)",
        ["loss cross_entropy has no keyword 'label_smothing'.", "Did you mean 'label_smoothing'?"],
    ),
    (
        "run digits model.activation=rleu",
        ["model.activation=rleu: must be", "relu,", "or tanh. Did you mean 'relu'?"],
    ),
    ("run digits metrics=Foo", ["no torchmetrics metric 'Foo'"]),
    ("run digits select.metric=val/acuracy", ["select.metric=val/acuracy", "'val/accuracy'?"]),
    # values
    ("sweep digits model.hidden_dim=a", ["model.hidden_dim=a: must be a whole number"]),
    ("sweep digits model.hidden_dim=64,1.5", ["model.hidden_dim=1.5: must be a whole number"]),
    ("sweep digits optimizer.lr=fast", ["optimizer.lr=fast: must be a number."]),
    ("sweep digits train.epochs=two", ["train.epochs=two: must be a whole number of at least 1"]),
    ("run digits model.dropout=2", ["model.dropout=2: must be a number of at least 0 and below 1"]),
    (
        "run digits optimizer.lr=-1",
        ["optimizer adam cannot be made with optimizer.lr=-1.0: Invalid learning rate: -1.0."],
    ),
    ("run digits optimizer.betas=[2,0.9]", ["made with optimizer.betas=[2.0, 0.9]: Invalid beta"]),
    (
        "run digits train.epochs=0",
        ["train.epochs=0: must be a whole number of at least 1 or none."],
    ),
    (
        "run digits train.epochs=-3",
        ["train.epochs=-3: must be a whole number of at least 1 or none."],
    ),
    (
        "run digits train.updates=0",
        ["train.updates=0: must be a whole number of at least 1 or none."],
    ),
    (
        "run digits train.batch_size=0",
        ["train.batch_size=0: must be a whole number of at least 1."],
    ),
    (
        "run digits train.batch_size=-3",
        ["train.batch_size=-3: must be a whole number of at least 1."],
    ),
    (
        "sweep digits train.epochs=0,5",
        ["train.epochs=0: must be a whole number of at least 1 or none."],
    ),
    (
        "run digits split.val_fraction=1",
        ["split.val_fraction=1: must be a number above 0 and below 1"],
    ),
    (
        "run digits split.method=sorted",
        ["split.method=sorted: must be in_order, none, random or stratified."],
    ),
    ("run digits train.epochs=3 train.updates=4", ["one hyperparameter in two units", "Set one"]),
    ("run digits optimizer.lr=1 optimizer.lr=2", ["optimizer.lr is set twice.", "Set it once."]),
    ("run digits optimizer.lr", ["'optimizer.lr' is not KEY=VALUE."]),
    ("run digits optimizer.lr=", ["optimizer.lr: the value is empty."]),
    ("run digits optimizer.lr=.nan", ["optimizer.lr: nan is not a finite number."]),
    ("run digits optimizer.lr=nan", ["optimizer.lr=nan: must be a number."]),
    ("run digits optimizer.lr=.inf", ["optimizer.lr: inf is not a finite number."]),
    ("sweep digits optimizer.lr=0.1,1e999", ["optimizer.lr: inf is not a finite number."]),
    ("sweep digits optimizer.lr=1e-4:.inf:3", ["optimizer.lr: inf is not a finite number."]),
    ("sweep digits --run-timeout soon", ["--run-timeout soon: must be a number of seconds"]),
    ("sweep digits --run-timeout=-1", ["--run-timeout -1: must be a number of seconds, 1 or"]),
    ("run digits device=cuda:9", ["device=cuda:9: must be auto, cpu or cuda."]),
    # axes
    ("sweep digits optimizer.lr=1 optimizer.lr=2", ["The axis optimizer.lr is given twice."]),
    (
        "sweep digits optimizer.lr=0.001",
        ["optimizer.lr: 0.001 is the baseline's own level", "Name at least one other level"],
    ),
    ("sweep digits optimizer=adam", ["optimizer: adam is the baseline's own level"]),
    ("sweep digits model.hidden_dim=", ["model.hidden_dim: the list of levels is empty."]),
    ("sweep digits model.hidden_dim=,", ["model.hidden_dim: the list of levels is empty."]),
    ("sweep digits model.hidden_dim=3,,4", ["model.hidden_dim=3,,4: a level is empty."]),
    ("sweep digits loss.weight", ["loss.weight: digits.py has no levels for this axis."]),
    (
        "sweep digits optimizer.lr=1e-1:1e-3:3",
        ["the range is reversed", "Write optimizer.lr=1e-3:1e-1:3."],
    ),
    ("sweep digits optimizer.lr=0:1:log:3", ["a logarithmic range must begin above 0."]),
    ("sweep digits optimizer.lr=-1:1:log:3", ["a logarithmic range must begin above 0."]),
    ("sweep digits optimizer.lr=1:1:3", ["its low end must be below its high end."]),
    ("sweep digits model.dropout=0:2", ["model.dropout=2.0: must be a number of at least 0"]),
    ("sweep digits optimizer.lr=-1:1", ["optimizer.lr=-1.0", "Invalid learning rate: -1"]),
    (
        "sweep digits train.epochs=0:5",
        ["train.epochs=0: must be a whole number of at least 1 or none."],
    ),
    (
        "sweep digits loss=cross_entropy,cross_entropy(label_smoothing=0.1) --trials 1",
        ["--trials 1: no axis is explored", "such as optimizer.lr=1e-5:1e-1:log"],
    ),
    ("sweep digits optimizer.lr=0.1 --sampler random", ["--sampler random: no axis is explored"]),
    (
        "sweep digits optimizer=sgd,adamw,rmsprop --trials 2 --sampler qmc",
        ["--sampler qmc cannot choose among the levels of optimizer", "Take --sampler tpe"],
    ),
    ("sweep digits optimizer.lr=1:2 --trials 0", ["--trials 0: must be a whole number from 1 to"]),
    ("sweep digits optimizer.lr=1:2 --trials 1001", ["--trials 1001: must be a whole number"]),
    ("sweep digits optimizer.lr=1:2 --trials many", ["--trials many: must be a whole number"]),
    (
        "sweep digits optimizer.lr=1:2 --sampler tpee",
        ["There is no sampler 'tpee'.", "Did you mean 'tpe'?"],
    ),
    (
        "sweep digits optimizer.lr=1:2 --sampler grid",
        ["There is no sampler 'grid'.", "Choose gp, qmc, random or tpe."],
    ),
    (
        "sweep digits optimizer.lr=1:2 --pruner wilcoxn",
        ["There is no pruner 'wilcoxn'.", "Did you mean 'wilcoxon'?"],
    ),
    ("sweep digits optimizer.lr=1e-4:1e-1:1", ["a range has 2 to 1000 points."]),
    ("sweep digits optimizer.lr=1e-4:1e-1:many", ["is not low:high[:log][:n]"]),
    (
        "sweep digits split.seed=1",
        ["split.seed changes the validation examples", "--seeds 1,2,3"],
    ),
    (
        "sweep digits data.n_class=5",
        ["data.n_class=5 changes the validation examples", "--set data.n_class=5"],
    ),
    (
        "sweep digits data=sklearn.datasets.load_wine",
        ["data=sklearn.datasets.load_wine changes the validation examples"],
    ),
    ("sweep digits task=regression", ["The axis task changes the validation examples"]),
    ("sweep digits select.metric=val/f1", ["select.metric decides what is measured"]),
    ("sweep digits model.in_features=3", ["model.in_features follows from the rest"]),
    (
        "sweep digits train.updates=100",
        ["The baseline's length is given by train.epochs", "--set train.updates=N"],
    ),
    (
        "sweep digits loss --set select.metric=val/loss",
        ["The axis loss changes the units of val/loss", "--set select.metric=val/accuracy"],
    ),
    (
        "sweep digits loss.label_smoothing=0.1 --set select.metric=val/loss",
        ["The axis loss.label_smoothing changes the units of val/loss"],
    ),
    # options
    ("sweep digits --seeds 0", ["--seeds 0: ", SEEDS]),
    ("sweep digits --seeds -1", ["--seeds -1: ", SEEDS]),
    ("sweep digits --seeds 3,3", ["--seeds 3,3: ", SEEDS]),
    ("sweep digits --seeds x", ["--seeds x: ", SEEDS]),
    ("run digits --seed -1", ["--seed -1: must be a whole number from 0"]),
    ("run digits --seed x", ["--seed x: must be a whole number from 0"]),
    ("sweep digits --workers 0", ["--workers 0: must be a whole number from 1 to 1024."]),
    ("sweep digits --workers -2", ["--workers -2: must be a whole number from 1 to 1024."]),
    ("sweep digits --workers x", ["--workers x: must be a whole number from 1 to 1024."]),
    ("run digits --checkpoint-every -1", ["--checkpoint-every -1: must be a number of seconds"]),
    ("run digits --loader-workers two", ["--loader-workers two: must be a whole number from 0"]),
    ("run digits --checkpoint-every nan", ["--checkpoint-every nan: must be a number of seconds"]),
    ("run digits --engine foo", ["There is no engine 'foo'.", "Choose auto, loop or cohort."]),
    (
        "run digits optimizer=adagrad --engine cohort",
        ["The engine 'cohort' does not train this: its optimizer is Adagrad."],
    ),
    ("sweep digits --study ../x", ["--study '../x' is no name for a study.", STUDY_NAME]),
    ("sweep digits --study /tmp/x", ["--study '/tmp/x' is no name for a study.", STUDY_NAME]),
    ("sweep digits --study a\0b", ["is no name for a study.", STUDY_NAME]),
    ("sweep digits --study " + "x" * 5000, ["xxx…' is no name for a study.", STUDY_NAME]),
    ("sweep digits --storage foo", ["--storage foo is no URL of a database."]),
    ("sweep digits --storage sqlite:////no/such/folder/x.db", ["no folder /no/such/folder"]),
    ("sweep digits --storage oracle://u:secret@h/x", ["--storage oracle://h/x"]),
    (
        "run digits --set lr=1",
        ["run takes KEY=VALUE without --set", "run EXPERIMENT optim"],
    ),
    ("run digits --fo", ["No such option '--fo'", "See: paribus run --help"]),
    ("run", ["Missing argument 'EXPERIMENT'", "See: paribus run --help"]),
    ("swep digits", ["No such command 'swep'. Did you mean 'sweep'?", "See: paribus --help"]),
    ("train digits", ["No such command 'train': paribus run EXPERIMENT trains one run, "]),
    ("compare x y --verbose", ["--verbose is for the table of settings; "]),
    ("compare x --format csv --verbose", ["--verbose is for the table of settings; "]),
    ("evaluate x --split foo", ["'foo' is not one of 'val', 'test'", "paribus evaluate --help"]),
    # components that are not of their kind, or do not fit
    ("run digits model=os.system", ["model: 'os.system' is not a torch.nn.Module"]),
    ("run digits loss=os.system", ["loss: 'os.system' is not a torch.nn.Module, or a function"]),
    ("run digits data=os.system", ["data: 'os.system' is not a data function"]),
    ("run digits optimizer=os.system", ["'os.system' is not a torch.optim.Optimizer"]),
    ("run digits scheduler=os.system", ["'os.system' is not a learning-rate scheduler"]),
    (
        "run digits loss=mse",
        ["loss mse is for task regression, not for task multiclass. Take cross_entropy."],
    ),
    (
        "run line loss=cross_entropy",
        [
            "loss cross_entropy is for task multiclass, not for task regression",
            "Take huber, l1 or mse.",
        ],
    ),
    ("run digits model=torch.nn.Flatten", ["model torch.nn.Flatten has no parameters to train"]),
    # runs and studies
    ("evaluate foo", ["There is no run 'foo' in", "See: paribus runs"]),
    ("predict foo 1", ["There is no run 'foo' in", "See: paribus runs"]),
    ("predict foo --fo", ["No such option '--fo'", "See: paribus predict --help"]),
    ("compare foo", ["There is no study 'foo' in", "Begin one: paribus sweep digits"]),
    ("compare", ["There is no study in", "Begin one: paribus sweep digits"]),
    ("runs foo", ["There is no study 'foo' in"]),
]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def with_root(command, root):
    words = command.split(" ")
    takes_root = words[0] in ("run", "sweep", "show", "compare", "evaluate", "predict", "runs")
    return [*words, "--root", root] if takes_root else words


@pytest.mark.parametrize(("command", "said"), BAD, ids=[command[:60] for command, _ in BAD])
def test_a_bad_request_is_refused(paribus, root, command, said):
    done = paribus(*with_root(command, root))
    assert len(refused(done, root, *said)) == 1


@pytest.mark.parametrize(("command", "said"), BAD[::9], ids=[c[:60] for c, _ in BAD[::9]])
def test_the_same_as_json(paribus, root, command, said):
    done = paribus(*with_root(command, root), "--json")
    assert done.code == 2
    assert not root.exists()
    assert done.err == ""
    error = done.json["error"]
    assert error.keys() == {"kind", "message", "hint"}
    assert all(word in f"{error['message']} {error['hint']}" for word in said)


@pytest.mark.parametrize("command", ["compare x", "sweep digits"])
def test_all_that_is_known_is_for_a_person_and_not_for_json(paribus, root, command):
    done = paribus(*with_root(command, root), "--verbose", "--json")
    assert (done.code, done.json["error"]["kind"]) == (2, "request")
    assert "--verbose is for" in done.json["error"]["message"]


def test_click_s_own_errors_as_json(paribus):
    done = paribus("run", "--json")
    assert (done.code, done.json["error"]["kind"]) == (2, "usage")
    assert done.json["error"]["hint"] == "See: paribus run --help"


def test_no_command_at_all_shows_the_help(paribus):
    done = paribus()
    assert (done.code, done.err) == (0, "")
    assert "Usage: paribus" in done.out


def test_all_faults_of_a_request_are_told_together(paribus, root):
    done = paribus(
        *("sweep", "digits", "model.hidden_dim=a", "optimizer.lr=3:1:2", "foo.bar=1"),
        *("--set", "train.epochs=0", "--set", "loss=zzz", "--seeds", "0", "--study", "../x"),
        *("--workers", "0", "--checkpoint-every", "-1", "--storage", "foo", "--engine", "foo"),
        *("--root", root),
    )
    lines = refused(done, root)
    wanted = [
        *("model.hidden_dim=a", "optimizer.lr=3:1:2", "'foo.bar'", "train.epochs=0", "loss 'zzz'"),
        *("--seeds 0", "--study '../x'", "--workers 0", "--checkpoint-every -1", "--storage foo"),
        "engine 'foo'",
    ]
    for word in wanted:
        assert sum(word in line for line in lines) == 1, (word, lines)
    assert len(lines) == len(wanted)


def test_two_faults_of_one_axis_are_two_lines(paribus, root):
    done = paribus("sweep", "digits", "model.hidden_dim=a,0,64", "--root", root)
    assert len(refused(done, root, "model.hidden_dim=a", "model.hidden_dim=0")) == 2


def test_what_names_no_experiment_s_keys_is_answered_without_torch(tmp_path):
    commands = [
        "sweep digit", "run nowhere.py", "show zzz", "check zzz", "run --fo", "sweep",
        "compare foo", "evaluate foo", "predict foo 1", "runs foo", "list", "studies", "runs",
        "run --help", "sweep -h", "--version", "remove foo",
    ]  # fmt: skip
    program = (
        "import sys, json\nfrom paribus.sweeps.cli.app import run\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    code = run(command.split())\n"
        "    assert 'torch' not in sys.modules, command\n"
        "    print(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(commands)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


WRONG = [
    ("run", "foo.bar=1", "'foo.bar'"),
    ("show", "lrr=1", "'lrr'"),
    ("check", "train.epoch=1", "'train.epoch'"),
    ("run", "model=mpl", "model 'mpl'"),
    ("run", "train.epochs=0", "train.epochs=0: must be a whole number of at least 1 or none."),
    ("run", "--seed=x", "--seed x: must be a whole number"),
    ("sweep", "model.hidden_dim=a", "model.hidden_dim=a: must be a whole number"),
    ("sweep", "optimizer=sdg", "optimizer 'sdg'"),
    ("sweep", "split.seed=1", "split.seed changes the validation examples"),
    ("sweep", "--seeds=0", "--seeds 0: must be how many seeds (1 to 10000)"),
    ("sweep", "--engine=foo", "engine 'foo'"),
]


@pytest.mark.parametrize(("command", "word", "said"), WRONG, ids=[w[1] for w in WRONG])
def test_keys_names_values_and_options_are_answered_before_data_is_loaded(
    paribus, own, root, tmp_path, command, word, said
):
    """Planning validates, once and with torch; data may take minutes, and are not needed for it."""
    loads = f"def good(): open({str(tmp_path / 'loaded')!r}, 'w'); return X, Y"
    text = OWN.replace("def good(): return X, Y", loads).replace('"linear"', '"mlp"')
    (tmp_path / "loads.py").write_text(text + 'AXES = {"optimizer.lr": [0.1, 0.2]}\n')
    where = () if command == "check" else ("--root", root)
    done = paribus(command, "loads.py", word, *where, cwd=tmp_path)
    assert len(refused(done, root, said)) == 1
    assert not (tmp_path / "loaded").exists()


def test_a_sweep_leaves_the_torch_of_its_experiment_to_the_workers(small, tmp_path):
    program = (
        "import sys\nfrom paribus.sweeps.cli.app import run\n"
        "assert run(sys.argv[1:]) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    assert "import torch" in small.path.read_text()
    words = ["sweep", "small.py", "optimizer.lr=0.1", "--dry-run", "--no-wandb"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 settings × 5 seeds over 5 folds = 10 runs" in done.stdout


def test_a_hint_that_needs_a_signature_waits_for_it(paribus, root):
    done = paribus("run", "line", "hidden_units=4", "--root", root)
    assert "Did you mean 'model.hidden_dim'" not in refused(done, root)[0]


@pytest.mark.parametrize("command", ["run line", "sweep line", "run line --json"])
@pytest.mark.parametrize("inside", ["", "/deeper"])
def test_a_root_that_cannot_be_written(paribus, tmp_path, command, inside):
    file = tmp_path / "taken"
    file.write_text("mine")
    done = paribus(*command.split(), "--root", f"{file}{inside}")
    assert done.code == 2
    message = done.json["error"]["message"] if "--json" in command else done.err
    assert f"The root {file}{inside} cannot be written: {file} is not a folder" in message
    assert "--root DIR" in (done.json["error"]["hint"] if "--json" in command else done.err)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("value", ["", "a\0b"])
def test_a_root_that_is_no_path(paribus, value):
    done = paribus("runs", "--root", value)
    typed = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    assert done.code == 2
    assert done.err == (
        f"Error: The root '{typed}' is no path in UTF-8. Name a folder with --root DIR.\n"
    )


@pytest.mark.parametrize("command", ["run line", "sweep line optimizer.lr=0.1"])
def test_variables_of_wandb_that_it_would_refuse(paribus, root, command):
    env = {"WANDB_MODE": "nonsense", "WANDB_BASE_URL": "nowhere", "WANDB_PROJECT": "a/b"}
    words = (*command.split(), "optimizer.rl=1" if "run" in command else "loss=mze")
    lines = refused(paribus(*words, "--root", root, env=env), root, "'online', 'offline'")
    assert len(lines) == 4
    for name in ("WANDB_MODE=nonsense: ", "WANDB_BASE_URL=nowhere: ", "WANDB_PROJECT=a/b: "):
        assert any(line.startswith(f"Error: {name}") for line in lines)
    done = paribus(*command.split(), "--no-wandb", "--root", root, env=env)
    assert done.code == 0


OWN = '''"""Does it fit?"""
import numpy as np
import torch
from torch import nn

X, Y = np.ones((40, 3)), np.arange(40) % 2

def good(): return X, Y
def raises(): raise OSError("no such server")
def nothing(): return None
def three(): return X, Y, X, Y
def unequal(): return X, Y[:-1]
def word(): return "data"
def empty(): return X[:0], Y[:0]
def not_finite(): return X * np.nan, Y

class Flat(nn.Module):
    def __init__(self, in_features: int):
        super().__init__()
        self.layer = nn.Linear(in_features, 1)
    def forward(self, x): return self.layer(x)

class Narrow(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(7, 2)
    def forward(self, x): return self.layer(x)

class Two(Flat):
    def forward(self, x): return self.layer(x), x

def not_a_model(): return 3
def per_example(outputs, targets): return outputs.sum(1) - targets
def a_float(outputs, targets): return 0.5
def fails(outputs, targets): raise ValueError("never")

BASELINE = {"task": "multiclass", "data": good, "model": "linear", "loss": "cross_entropy",
            "optimizer": "sgd", "train": {"epochs": 1}}
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN)
    return folder


NOT_FITTING = [
    ("data=raises", ["data own.py:raises fails: OSError: no such server (own.py, line"]),
    ("data=nothing", ["data own.py:nothing returned"]),
    ("data=word", ["data own.py:word returned"]),
    ("data=three", ["data own.py:three returned"]),
    ("data=unequal", ["40", "39"]),
    ("data=empty", ["own.py:empty"]),
    ("data=not_finite", ["own.py:not_finite", "finite"]),
    ("model=Flat", ["model own.py:Flat returns [", ", 1] for a batch of ", "needs [", ", 2]."]),
    (
        "model=Narrow",
        ["model own.py:Narrow cannot take a batch of shape [", ", 3], which data own.py:good"],
    ),
    ("model=Two", ["model own.py:Two returns tuple for a batch of ", "needs [", ", 2]."]),
    ("model=not_a_model", ["model own.py:not_a_model returned 3, not a torch.nn.Module"]),
    ("model=Fla", ["There is no model 'Fla'."]),
    ("loss=per_example", ["loss own.py:per_example must return one number", "got shape ["]),
    ("loss=a_float", ["loss own.py:a_float must return one number", "got float"]),
    ("loss=fails", ["loss own.py:fails cannot take outputs [", ", 2] and targets [", "never"]),
    ("loss=l1", ["loss l1 is for task regression, not for task multiclass."]),
    ("model=own.py:zzz", ["own.py defines no 'zzz'"]),
]


@pytest.mark.parametrize(("override", "said"), NOT_FITTING, ids=[o for o, _ in NOT_FITTING])
def test_what_does_not_fit_is_refused_with_both_sides(paribus, own, root, override, said):
    word = override.replace("=", "=own.py:") if ":" not in override else override
    word = override if override.split("=")[1] in ("l1", "Fla") else word
    done = paribus("run", "own.py", word, "--root", root, cwd=own)
    assert len(refused(done, root, *said)) == 1


FILES = {
    "instance.py": (
        OWN.replace('"linear"', "Narrow()"),
        ["instance.py: model is a Narrow that was made already", '{"name": Narrow, '],
    ),
    "raises.py": ("1 / 0", ["raises.py, line 1: ZeroDivisionError: division by zero"]),
    "syntax.py": ("def", ["syntax.py, line 1: "]),
    "leaves.py": ("raise SystemExit(3)", ["leaves.py, line 1: SystemExit: 3"]),
    "empty.py": ("", ["empty.py defines no BASELINE.", "task, data, model, loss, optimizer"]),
    "keys.py": ('BASELINE = {"trian": 3}', ["keys.py", "'trian'", "Choose train.accumulate"]),
    "no_axes.py": (OWN, ["no_axes.py has no AXES, and none were given."]),
}


@pytest.mark.parametrize("name", FILES)
def test_an_experiment_file_that_is_none(paribus, tmp_path, root, name):
    content, said = FILES[name]
    (tmp_path / name).write_text(content)
    refused(paribus("sweep", name, "--root", root, cwd=tmp_path), root, *said)


def test_nothing_is_called_that_is_not_of_its_kind(paribus, tmp_path, root):
    """`os.system` with a keyword it takes would run a command."""
    for kind in ("model", "loss", "data", "optimizer", "scheduler", "task"):
        word = f"{kind}=os.system(command=touch {tmp_path}/called)"
        refused(paribus("run", "digits", word, "--root", root), root, f"{kind}: 'os.system' is not")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def filled(paribus, tmp_path_factory):
    """A root with a study, two runs more, and a failed one."""
    root = tmp_path_factory.mktemp("filled") / "root"
    short = ("--set", "train.epochs=1", "--no-wandb", "--root", root)
    assert (
        paribus("sweep", "line", "optimizer.lr=0.1", "--seeds", "2", "--study", "mine", *short).code
        == 0
    )
    done = paribus(
        *("run", "line", "train.epochs=1", "loss=mse", "optimizer.lr=1e30"),
        *("--no-wandb", "--root", root, "--json"),
    )
    assert done.code == 1
    return root, done.json["run"], sorted(p.name for p in (root / "runs").iterdir())


def again(done, said):
    assert done.code == 2, done
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_a_study_with_another_baseline_is_refused(paribus, filled):
    root, _, runs = filled
    done = paribus(
        "sweep", "line", "optimizer.lr=0.1", "--study", "mine", "--no-wandb", "--root", root
    )
    again(
        done,
        "The study mine has another baseline (train.epochs: 1 there, 200 here). "
        "Name another study with --study, or leave --study out.",
    )
    assert sorted(p.name for p in (root / "runs").iterdir()) == runs


def test_names_of_runs_and_studies(paribus, filled):
    root, failed, runs = filled
    at = ("--root", root)
    again(
        paribus("evaluate", "line-s", *at), "'line-s' is the beginning of 5 runs. Such as line-s0-"
    )
    again(paribus("evaluate", "lin-s0", *at), "There is no run 'lin-s0'")
    again(paribus("compare", runs[0], *at), "is a run, and there is no second one")
    again(paribus("compare", "mime", *at), "There is no study 'mime'")
    assert "Did you mean 'mine'?" in paribus("compare", "mime", *at).err
    again(paribus("evaluate", failed, *at), f"{failed} failed, so it has no model to evaluate: ")
    again(paribus("evaluate", "mine/baseline-s9", *at), "mine/baseline has no seed 9. It has 0, 1.")
    again(paribus("evaluate", "mine/optimizer.lr=3-s0", *at), "has no setting 'optimizer.lr=3'")
    done = paribus("compare", "nope", "neither", *at)
    assert [line.split("'")[1] for line in done.err.splitlines()] == ["nope", "neither"]


def test_a_run_as_experiment_that_is_none(paribus, filled):
    root, _, _ = filled
    again(paribus("run", "mine/baseline-s9", "--root", root), "There is no experiment")
    again(paribus("run", "line-s", "--root", root), "is the beginning of 5 runs")
    again(paribus("run", "lin", "--root", root), "Did you mean 'line'?")


def test_through_the_console_script(tmp_path):
    """The form is the program's own, not only the function's."""
    script = "import sys; from paribus.sweeps.cli.main import main; main()"
    for words, as_json in ((["run", "digits", "lrr=1"], 1), (["run", "--x"], 0)):
        done = subprocess.run(
            [sys.executable, "-c", script, *words, *(["--json"] if as_json else [])],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        if as_json:
            assert done.stderr == ""
            assert json.loads(done.stdout).keys() == {"error"}
        else:
            assert done.stdout == ""
            assert done.stderr.startswith("Error: ")
    assert list(tmp_path.iterdir()) == []


# What a file's own BASELINE says wrong is refused as what is typed is; it was dropped once.
WRONG_BASELINES = [
    ('"hidden_dim": 8', '"hidden_dim": 8, "activation": "rleu"', "model.activation"),
    ('"hidden_dim": 8', '"hidden_dim": 8, "depth": 3', "depth"),
    ('"hidden_dim": 8', '"hidden_dim": -5', "model.hidden_dim"),
    ('"lr": 0.01', '"lr": "fast"', "optimizer.lr"),
    ('"lr": 0.01', '"lrr": 3', "lrr"),
    ('"data": waves', '"data": {"name": waves, "noize": 0.1}', "noize"),
]


@pytest.mark.parametrize(
    ("old", "new", "named"), WRONG_BASELINES, ids=[wrong[1] for wrong in WRONG_BASELINES]
)
def test_a_wrong_baseline_of_a_file_is_refused(old, new, named, paribus, write_small, tmp_path):
    small = write_small(replace=[(old, new)])
    root = tmp_path / "results"
    for command in ("run", "sweep", "show"):
        at = () if command == "show" else ("--root", root, "--no-wandb")
        refused(paribus(command, small.path, *at), root, named)


def test_an_experiment_is_named_by_what_lies_beside(paribus, tmp_path):
    (tmp_path / "prices.py").write_text("")
    (tmp_path / "houses.csv").write_text("a,b\n1,2\n")
    for word, hint in (
        ("prices", "Did you mean 'prices.py'?"),
        ("price.py", "Did you mean 'prices.py'?"),
        ("houses.csv", "paribus new NAME --data houses.csv"),
    ):
        done = paribus("run", word, cwd=tmp_path)
        assert done.code == 2
        assert hint in done.err

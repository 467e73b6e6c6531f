"""A function as an experiment through the commands: all of a study, and what it cannot have."""

import pytest

SCRIPT = '''"""How far does it climb?"""


import uuid


def train(step=1.0, trouble="", *, seed):
    if trouble == "down":
        raise ValueError(trouble)
    for epoch in range(3):
        accuracy = uuid.uuid4().int / 2**128 if trouble == "random" else 0.5
        yield {"height": epoch * step + seed / 10, "val/accuracy": accuracy}


SELECT = {"metric": "height", "direction": "maximize"}
AXES = {"script.step": [0.5, 2.0]}
'''
NOT_PROVEN = "sameness not proven"


@pytest.fixture(scope="module")
def swept(paribus, tmp_path_factory):
    """Calls commands where a study of the script is."""
    folder = tmp_path_factory.mktemp("script")
    (folder / "climb.py").write_text(SCRIPT)

    def call(*words):
        return paribus(*words, "--root", folder / "r", cwd=folder)

    words = ("sweep", "climb.py", "--study", "s", "--seeds", "2", "--workers", "1", "--no-wandb")
    call.done = call(*words, "--verbose")
    call.again = call(*words, "--json")
    return call


def test_a_sweep_gives_verdicts_and_says_what_they_lack(swept):
    assert swept.done.code == 0, swept.done.err
    assert "script.step: 2.0 was best (height 4.05" in swept.done.out
    assert NOT_PROVEN in swept.done.out
    document = swept.again.json
    assert document["runs"] == {"planned": 6, "trained": 0, "reused": 6, "failed": 0}
    assert document["sameness"] == "not proven"
    assert [setting["values"] for setting in document["settings"]] == [
        [2.0, 2.1], [1.0, 1.1], [4.0, 4.1],
    ]  # fmt: skip
    assert all(setting["derived"] == {} for setting in document["settings"])


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "s"),
        ("compare", "--metric", "val/accuracy", "s"),
        ("compare", "s/baseline-s0", "s/baseline-s1"),
        ("runs", "s"),
        ("show", "climb.py"),
        ("sweep", "climb.py", "script.step=9", "--dry-run"),
        ("sweep", "climb.py", "script.step=2.0", "--seeds", "2", "--dry-run"),
    ],
)
def test_every_table_says_that_sameness_is_not_proven(swept, words):
    done = swept(*words)
    assert done.code == 0, done.err
    assert done.out.count(NOT_PROVEN) == 1


def test_tables_of_other_experiments_say_no_such_thing(paribus):
    done = paribus("sweep", "digits", "optimizer.lr=0.1", "--dry-run", "--json")
    assert done.json["sameness"] == "proven"


def test_reproduce_compares_the_histories(swept):
    done = swept("reproduce", "s/script.step=2.0-s1")
    assert done.code == 0
    assert "bit-exact" in done.out
    assert "metrics of every epoch; of a function nothing more is known" in done.out
    assert "sha256" not in done.out


def test_a_run_can_be_the_baseline(swept):
    words = ("s/script.step=2.0-s0", "script.step=8", "--seeds", "1", "--no-wandb", "--json")
    settings = swept("sweep", *words).json["settings"]
    assert [setting["mean"] for setting in settings] == [4.0, 16.0]


@pytest.mark.parametrize("words", [("evaluate",), ("predict", "1")])
def test_there_is_no_model(swept, words):
    done = swept(words[0], "s/baseline-s0", *words[1:])
    assert done.code == 2
    assert f"keeps its model to itself: there is none to {words[0]}" in done.err


def test_check_looks_at_its_first_epoch(swept):
    done = swept("check", "climb.py", "--json")
    assert [check["passed"] for check in done.json["checks"]] == [True, True, True]
    done = swept("check", "climb.py", "script.trouble=random", "--json")
    assert done.code == 1
    assert [check["passed"] for check in done.json["checks"]] == [True, False, True]
    assert "The same seed gives val/accuracy" in done.json["checks"][1]["detail"]


def test_what_it_yields_can_be_drawn(swept):
    panels = swept("plot", "s/baseline-s0", "--json").json["panels"]
    assert panels == ["height", "accuracy"]
    assert "response: script.step" in swept("plot", "s", "--json").json["panels"]


def test_a_function_that_raises_fails_its_run(swept):
    done = swept("run", "climb.py", "script.trouble=down", "--no-wandb", "--json")
    assert done.code == 1
    assert done.json["reason"] == "exception: ValueError: down (climb.py, line 9)"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("script.stop=1",), "There is no hyperparameter 'script.stop'. Did you mean"),
        (("stepp=1",), "Did you mean 'script.step'?"),
        (("optimizer.lr=1",), "There is no hyperparameter 'optimizer.lr'."),
        (("script.seed=1",), "There is no hyperparameter 'script.seed'."),
        (("script.step=high",), "script.step=high: must be a number."),
        (("device=cpu",), "device=cpu: must be auto."),
        (("select.metric=none",), "select.metric is missing."),
        (("--engine", "loop"), "The engine 'loop' does not train this experiment."),
        (("--engine", "lop"), "There is no engine 'lop'."),
    ],
)
def test_bad_requests_are_refused(swept, words, told):
    done = swept("run", "climb.py", *words)
    assert done.code == 2
    assert told in done.err

"""Every path that a person may give, with every character that the name of a file may have."""

import sqlite3
from contextlib import closing
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from paribus.core.config.experiment import find_experiment
from paribus.sweeps.execution.driver import USUAL
from paribus.sweeps.report.page import report_file
from paribus.sweeps.scaffold.problem import find_problem
from paribus.sweeps.study.optuna_studies import checked_storage
from paribus.sweeps.study.request import Request, StudyOptions
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.sweep import Sweep
from paribus.sweeps.tracking.tracker import Tracker, conclude

EXPERIMENT = '''"""Does a path change anything?"""

from pathlib import Path

BASELINE = {
    "task": "regression",
    "data": {"name": "table", "path": str(Path(__file__).parent / DATA), "target": "y"},
    "model": "linear",
    "loss": "mse",
    "optimizer": "sgd",
    "train": {"epochs": 1},
}
'''
TABLE = "x,y\n" + "".join(f"{n / 30},{n / 10 - 1}\n" for n in range(30))
ODD = ["a", "?", "%", "%20", "#", " ", "'", '"', "~", "-", "\n", "\\", "&", ";", "@", ":", "*",
       "[a]", "{SCHEMA_VERSION}", "$HOME", "=", "+", ",", "é", "日本", "🔥"]  # fmt: skip
NAMES = st.lists(st.sampled_from(ODD), min_size=1, max_size=6).map("".join)


def write(folder, name):
    """Writes an experiment on a table of this name into a folder."""
    folder.mkdir()
    (folder / f"{name}.csv").write_text(TABLE)
    (folder / "own.py").write_text(EXPERIMENT.replace("DATA", repr(f"{name}.csv")))
    return folder / "own.py"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["a?b%20c", "~x", "-x\n'\" #é🔥"])
def test_all_of_a_study_lies_where_it_was_asked_for(workplace, here, name):
    write(here / f"{name}.in", name)
    (here / f"{name}.out").mkdir()
    for storage in (None, checked_storage(f"sqlite:///./{quote(name)}.out/~.db")):
        sweep = Sweep(
            Request(find_experiment(f"./{name}.in/own.py"), (), ("optimizer.lr=0.1",)),
            StudyOptions((0,), name="s", storage=storage),
            ResultsDir(f"./{name}"),
            workplace,
        )
        list(sweep.train(Tracker(), USUAL))
    assert sweep.counts == {"planned": 2, "trained": 0, "reused": 2, "failed": 0}
    assert conclude(sweep.study, Tracker()).is_file()
    assert sorted(path.name for path in here.iterdir()) == [name, f"{name}.in", f"{name}.out"]
    for file in (here / name / "optuna.db", here / f"{name}.out" / "~.db"):
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("SELECT study_name FROM studies").fetchall() == [("s",)]


@settings(max_examples=30, deadline=None)
@given(NAMES)
def test_a_path_is_what_was_typed(tmp_path_factory, name):
    with pytest.MonkeyPatch.context() as patch:
        here = tmp_path_factory.mktemp("odd")
        patch.chdir(here)
        file = write(here / name, name)
        typed = f"./{name}"
        assert find_experiment(f"{typed}/own.py") == file.resolve()
        assert find_problem(f"{typed}/{name}.csv", "y", None).examples == 30
        assert ResultsDir(typed).path == here / name
        assert report_file(None, f"{typed}/p.html").absolute() == here / name / "p.html"
        for url in (f"sqlite:///{typed}/o.db", f"sqlite:///{here}/{name}/o.db"):
            stored = make_url(checked_storage(quote(url, safe=":/")))
            assert stored.database == str(here / name / "o.db")

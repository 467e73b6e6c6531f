"""A root made before the package was called paribus: whatever reads results reads it.

Its study `waves` has two settings and two seeds; its file imports from `core`. One more run names
its model by the old dotted path, `core.models.MLP`.
"""

import json
import shutil
from pathlib import Path

import pytest

from paribus.core.records.record import present_name, read_old_source
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps import api

OLD = Path(__file__).parent / "old_root"
OF_STUDY, BY_PATH = "waves/baseline-s0", "waves-s0-2fc237e53e31"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return shutil.copytree(OLD, tmp_path_factory.mktemp("old") / "root")


@pytest.fixture(scope="module")
def ask(paribus, root):
    def ask(*words, codes=(0,)):
        done = paribus(*words, "--json", "--root", root, cwd=root.parent)
        assert done.code in codes, done
        return done.json

    return ask


def test_its_study_is_compared(ask):
    found = ask("compare", "waves")
    assert [s["label"] for s in found["settings"]] == ["baseline", "optimizer.lr=0.1"]
    assert found["settings"][1]["delta"] == pytest.approx(1 / 9)
    assert found["settings"][1]["verdict"] == "undecided"


@pytest.mark.parametrize("run", [OF_STUDY, BY_PATH])
def test_its_runs_are_evaluated(ask, run):
    """On this machine's numbers; where it is the machine of then, on equal ones."""
    found = ask("evaluate", run)
    assert found["metrics"].keys() == {
        f"val/{name}" for name in ("loss", "accuracy", "precision", "recall", "f1")
    }
    assert not found["differs"] or found["environment"]


def test_its_study_is_evaluated(ask):
    assert len(ask("evaluate", "waves", codes=(0, 1))["settings"]) == 2


@pytest.mark.parametrize("run", [OF_STUDY, BY_PATH])
def test_its_runs_predict(ask, run):
    (found,) = ask("predict", run, "0.5,0.1,-1")["predictions"]
    assert found["label"] in ("0", "1")


@pytest.mark.parametrize("name", ["waves", OF_STUDY, BY_PATH])
def test_it_is_drawn_and_reported(ask, name, tmp_path):
    picture, page = tmp_path / "picture.svg", tmp_path / "page.html"
    ask("plot", name, "-o", picture)
    ask("report", name, "-o", page)
    assert picture.read_text().startswith("<?xml")
    assert "waves" in page.read_text()


@pytest.mark.parametrize("run", [OF_STUDY, BY_PATH])
def test_its_runs_are_trained_again(ask, run):
    """The bits are those of then where the machine is; elsewhere it is said what differs."""
    found = ask("reproduce", run, codes=(0, 1))
    assert not found["damaged"]
    assert found["identical"] or found["environment"]


def test_its_runs_are_a_beginning(ask):
    """Another run starts from the configuration of an old one, by today's names."""
    found = ask("run", BY_PATH, "train.epochs=1", "--no-wandb")
    record = json.loads((Path(found["dir"]) / "run.json").read_text())
    assert record["configuration"]["model"]["name"] == "paribus.core.components.models.MLP"


@pytest.mark.parametrize("named", [True, False])
def test_seeds_that_are_added_validate_on_its_one_part(paribus, tmp_path, named):
    """A study that was made before there were folds is never one of both kinds."""
    root = shutil.copytree(OLD, tmp_path / "root")
    source = next(iter((root / "runs").glob("waves-s1-*"))) / "source" / "waves.py"
    text = source.read_text().replace("from core", "from paribus.core")
    (tmp_path / "waves.py").write_text(text)
    words, name = ["sweep", "waves.py", "optimizer.lr=0.1", "--seeds", "3", "--no-wandb"], "waves"
    if named:
        words += ["--study", "waves"]
    else:  # it has the name that follows from its request
        asked = paribus(*words, "--set", "split.folds=1", "--dry-run", "--json", cwd=tmp_path)
        name = asked.json["study"]
        (root / "studies" / "waves").rename(root / "studies" / name)
    done = paribus(*words, "--root", root, cwd=tmp_path)
    assert done.code == 0, done
    assert f"{name} was made before there were folds: it goes on with split.folds=1." in done.err
    study = api.load_study(name, root=root)
    split = study.run("baseline", 2).record.configuration["split"]
    assert (split["val_fraction"], "folds" in split) == (0.15, False)


def test_it_is_read_by_the_api(root):
    study = api.load_study("waves", root=root)
    assert study.run("baseline", 1).history.index.tolist() == [1, 2, 3, 4]
    assert {row["label"] for row in study.rows} == {"baseline", "optimizer.lr=0.1"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("core.models.MLP", "paribus.core.components.models.MLP"),
        ("core.data.tables.table", "paribus.core.data.tables.table"),
        ("core.optimizers.Constant", "paribus.core.components.optim.Constant"),
        ("core.data.digits.digits", "paribus.core.data.images.digits"),
        ("mycore.models.MLP", "mycore.models.MLP"),
        ("core.nets.Net", "core.nets.Net"),
        ("torch.optim.Adam", "torch.optim.Adam"),
    ],
)
def test_old_names_and_new_ones(old, new):
    assert present_name(old) == new


def test_a_name_that_is_the_user_s_own_stays(root):
    """A record that carries a module `core`, or is of today's format, is of a project's own one."""
    from paribus.core.records.record import with_present_names

    record = RunFolder(root / "runs" / BY_PATH).record()
    asked = {"model": {"name": "core.models.MLP", "width": 3}, "seed": 1}
    for part in ({"sources": {"core.models:MLP": "0" * 64}}, {"distributions": {"core": "1.0"}}):
        other = record.model_copy(update={"identity": {**record.identity, **part}})
        assert with_present_names(asked, other) == asked
    assert with_present_names(asked, record.model_copy(update={"format": 2})) == asked
    found = with_present_names(asked, record)
    assert found == {"model": {"name": "paribus.core.components.models.MLP", "width": 3}, "seed": 1}


IMPORTS = """
from core.files import data_folder
from core.errors import RequestError as Wrong, shown
import core.models as m


def later():
    from core.data import texts as data
    from core.data.images import images
    return data, images
"""


def test_imports_of_an_old_source():
    """Those that experiments of then had, at the top level and inside functions."""
    found = read_old_source(IMPORTS.encode(), "old.py")
    names = {}
    exec(compile(found, "old.py", "exec"), names)
    assert names["m"].__name__ == "paribus.core.components.models"
    assert names["Wrong"].__module__ == "paribus.core.errors"
    assert names["later"]()[0].__name__ == "paribus.core.data.texts"

"""`paribus plot`: the files it writes, what stands in them, and what it refuses."""

import json
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from paribus.core.inference.decision_surface import surface_of_run
from paribus.experiments.circles import circles
from paribus.sweeps.study.results_dir import ResultsDir

SVG = "{http://www.w3.org/2000/svg}text"
TABLE = "x,y\n" + "".join(f"{i / 40},{'even' if i % 2 else 'odd'}\n" for i in range(40))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("plot") / "results"


@pytest.fixture(scope="module")
def circled(paribus, root):
    """A short run of `circles`, as its document."""
    done = paribus("run", "circles", "train.epochs=3", "--no-wandb", "--json", "--root", root)
    assert done.code == 0, done.err
    return done.json


@pytest.fixture(scope="module")
def swept(paribus, root):
    """A study of `line` with one level that fails."""
    done = paribus(
        *("sweep", "line", "optimizer.lr=0.001,0.1,1e30", "train.batch_size=4", "--seeds", "2"),
        *("--set", "train.epochs=4", "--set", "loss=mse", "--study", "mine", "--workers", "1"),
        *("--no-wandb", "--root", root),
    )
    assert done.code == 1, done.err
    return done


def texts(file):
    """What a reader can select and search in an SVG, as one line."""
    return " ".join("".join(t.itertext()) for t in ElementTree.parse(file).getroot().iter(SVG))


def refusals(done, folder):
    """The lines of a refusal, which left nothing in the folder."""
    assert (done.code, done.out) == (2, ""), done
    assert not list(folder.iterdir())
    lines = done.err.splitlines()
    assert all(line.startswith("Error: ") for line in lines), lines
    return lines


def test_a_run_is_drawn_beside_the_person(paribus, root, circled, tmp_path):
    name = circled["run"]
    done = paribus("plot", name, "--root", root, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    panels = "loss, accuracy, confusion matrix, decision regions"
    assert done.out == f"run {name}: {panels}\npicture: {name}.svg\n"
    file = tmp_path / f"{name}.svg"
    found = texts(file)
    for text in (f"run {name}", "loss (bce_with_logits)", "train", "val", "epoch", "true",
                 "predicted", "input 1", "1 seed (0), 3 epochs.", "170 validation"):  # fmt: skip
        assert text in found
    assert f"best epoch {circled['best']['epoch']} by val/accuracy (from 0 to 1, higher" in found
    assert file.stat().st_size < 150_000
    again = paribus("plot", name[:-4], "-o", "again.svg", "--root", root, "--json", cwd=tmp_path)
    assert (tmp_path / "again.svg").read_bytes() == file.read_bytes()
    assert again.json == {
        "run": name, "file": str(tmp_path / "again.svg"), "panels": panels.split(", "),
    }  # fmt: skip


def test_the_model_is_asked_as_it_was_validated(root, circled):
    surface = surface_of_run(ResultsDir(root).run(circled["run"]).folder)
    counts = np.zeros((2, 2), dtype=int)
    np.add.at(counts, (surface.val.targets, surface.val.predicted), 1)
    assert counts.tolist() == circled["best"]["confusion_matrix"]
    points, kinds = circles()
    for part, size in ((surface.train, 680), (surface.val, 170)):
        assert len(part.inputs) == part.total == size
        distances = np.abs(points - part.inputs[0]).max(1)
        assert distances.min() < 1e-6  # the units of the data, not standardized
        assert kinds[distances.argmin()] == part.targets[0]
    assert surface.predicted.shape == tuple(len(axis) for axis in reversed(surface.axes))
    assert (surface.probabilities.argmax(-1) == surface.predicted).all()
    for example, answer in zip(surface.val.inputs, surface.val.predicted, strict=True):
        near = tuple(
            slice(*(np.abs(axis - x).argmin() + np.array([-1, 2])).tolist())
            for axis, x in reversed(list(zip(surface.axes, example, strict=True)))
        )
        assert answer in surface.predicted[near]  # a point on the border has both around it


def test_a_study_is_drawn_with_what_failed_left_out(paribus, root, swept, tmp_path):
    done = paribus("plot", "mine", "-o", tmp_path / "a.svg", "--root", root)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == (
        "study mine: curves: optimizer.lr, response: optimizer.lr, "
        "curves: train.batch_size, response: train.batch_size"
    )
    found = texts(tmp_path / "a.svg")
    for text in ("study mine", "optimizer.lr: val/mae", "best val/mae", "0.01 (baseline)", "0.001",
                 "8 (baseline)", "line, 2 seeds each", "in units of the target, lower is better",
                 "baseline", "Left out: optimizer.lr=1e+30 (failed)."):  # fmt: skip
        assert text in found
    again = paribus("plot", "mine", "-o", tmp_path / "b.svg", "--root", root, "--json")
    assert (again.json["study"], len(again.json["panels"])) == ("mine", 4)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_png_is_an_image(paribus, root, swept, tmp_path):
    done = paribus("plot", "mine/baseline-s1", "-o", tmp_path / "p.PNG", "--root", root)
    assert done.out.splitlines()[0].endswith(": loss, mae, prediction")
    with Image.open(tmp_path / "p.PNG") as image:
        assert image.format == "PNG"
        assert 700 < image.width < 1200
        assert len(image.getcolors(1_000_000)) > 20


def test_a_regression_on_many_inputs_is_held_against_the_truth(paribus, root, tmp_path):
    paribus("run", "diabetes", "train.epochs=1", "--no-wandb", "--root", root)
    done = paribus("plot", "diabetes", "-o", tmp_path / "d.svg", "--root", root, "--json")
    assert done.json["panels"] == ["loss", "r2", "agreement"]
    assert "the best epoch on 75 validation examples" in texts(tmp_path / "d.svg")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], ["There is no run or study 'nothing' in", "paribus studies"]),
        (["min"], ["There is no run or study 'min' in", "Did you mean 'mine'?"]),
        (["line-s0"], ["'line-s0' is the beginning of"]),
        (["mine", "-o", "a.pdf"], ["--output a.pdf: its suffix", "Take .svg or .png."]),
        (["mine", "-o", ""], ["its suffix", "Take .svg or .png."]),
        (["mine", "-o", "no/such/a.svg"], ["no/such/a.svg cannot be written: there is no folder"]),
        (["mine", "-o", "x" * 300 + ".svg"], ["cannot be written: "]),
        (["mine", "-o", "a\0.svg"], ["cannot be written: "]),
        (["mine", "-o", "~nobody-at-all/a.svg"], ["cannot be written: "]),
        (["mine/optimizer.lr=1e+30-s0"], ["failed before it had a number to draw: non-finite"]),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(words, said, paribus, root, swept, tmp_path):
    (line,) = refusals(paribus("plot", *words, "--root", root, cwd=tmp_path), tmp_path)
    for text in said:
        assert text in line


def test_both_faults_of_a_request_are_told(paribus, root, swept, tmp_path):
    done = paribus("plot", "nothing", "-o", "a.gif", "--root", root, cwd=tmp_path)
    assert len(refusals(done, tmp_path)) == 2


def test_an_unfinished_run_and_a_damaged_one(paribus, root, swept, tmp_path):
    place, here = tmp_path / "copy", tmp_path / "here"
    shutil.copytree(root, place)
    here.mkdir()
    settings = json.loads((place / "studies" / "mine" / "study.json").read_text())["settings"]
    damaged, unfinished = (settings[i]["runs"]["0"] for i in (0, 1))
    with (place / "runs" / damaged / "history.jsonl").open("a") as file:
        file.write("x")
    (place / "runs" / unfinished).rename(place / "attempts" / f"{unfinished}.1")
    (place / "attempts" / f"{unfinished}.1" / "manifest.json").unlink()
    done = paribus("plot", unfinished, "--root", place, cwd=here)
    assert "is not finished, so there is nothing to draw yet." in refusals(done, here)[0]
    assert paribus("plot", damaged, "--root", place, cwd=here).code == 1
    assert not list(here.iterdir())
    done = paribus("plot", "mine", "--root", place, cwd=here)
    assert done.code == 1
    assert done.err.startswith(f"{damaged} is left out, as it is damaged")
    assert "line, 1 to 2 seeds each" in texts(here / "mine.svg")


def test_data_that_is_gone_leaves_the_rest_to_draw(paribus, root, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(TABLE)
    done = paribus(
        *("run", "cancer", "data=table", f"data.path={table}", "data.target=y", "train.epochs=1"),
        *("--no-wandb", "--json", "--root", root),
    )
    assert done.code == 0, done.err
    words = ("plot", done.json["run"], "-o", tmp_path / "t.svg", "--root", root, "--json")
    table.unlink()
    gone = paribus(*words)
    assert gone.code == 0
    assert gone.json["panels"] == ["loss", "accuracy", "confusion matrix"]
    assert gone.err.startswith("The model's answers are left out: ")
    assert "t.csv" in gone.err
    table.write_text(TABLE)
    assert paribus(*words).json["panels"] == [*gone.json["panels"], "probability"]
    found = texts(tmp_path / "t.svg")
    assert "probability of odd" in found
    assert "x" in found.split()  # the column's name

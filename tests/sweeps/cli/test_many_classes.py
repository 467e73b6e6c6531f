"""Records, evaluations and pages of many classes grow with the classes, not with their square."""

import json

import pytest

CLASSES = 400
CLOUDS = '''"""Many clouds."""

import torch


def clouds(classes: int = 400, each: int = 8):
    generator = torch.Generator().manual_seed(1)
    kind = torch.arange(classes * each) % classes
    centres = 2 * torch.randn(classes, 8, generator=generator)
    return centres[kind] + torch.randn(len(kind), 8, generator=generator), kind


BASELINE = {
    "task": "multiclass",
    "data": clouds,
    "model": "linear",
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.1},
    "train": {"epochs": 3},
}

AXES = {"optimizer.lr": [0.0001]}
'''


@pytest.fixture(scope="module")
def root(paribus, tmp_path_factory):
    """A study of a baseline and a level that is worse, two seeds each."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "clouds.py").write_text(CLOUDS)
    swept = paribus(
        *("sweep", "clouds.py", "optimizer.lr", "--seeds", "2", "--study", "many"),
        *("--root", "root", "--no-wandb", "--workers", "1"),
        cwd=folder,
    )
    assert swept.code == 0, swept
    return folder / "root"


def baseline(root):
    study = json.loads((root / "studies" / "many" / "study.json").read_text())
    return study["settings"][0]["runs"]["0"]


def counted(cells):
    assert [cell[:2] for cell in cells] == sorted(cell[:2] for cell in cells)
    return sum(count for _, _, count in cells), sum(n for t, p, n in cells if t == p)


def test_a_record_holds_the_cells_that_count_anything(root):
    file = root / "runs" / baseline(root) / "run.json"
    record = json.loads(file.read_text())
    best, examples = record["best"], record["data"]["val"]
    assert best["confusion_matrix"] is None
    total, right = counted(best["confusion_counts"])
    assert total == examples
    assert right / examples == best["metrics"]["val/accuracy"]
    assert file.stat().st_size < 200 * CLASSES  # all cells with their commas have 2 * 400 * CLASSES


def test_evaluate_shows_the_worst_classes_and_the_most_frequent_errors(paribus, root):
    run = baseline(root)
    best = json.loads((root / "runs" / run / "run.json").read_text())["best"]
    found = paribus("evaluate", run, "--root", root, "--json").json
    assert found["confusion_matrix"] is None
    assert found["confusion_counts"] == best["confusion_counts"]
    assert len(found["report"]) == CLASSES
    text = paribus("evaluate", run, "--root", root).out
    assert f"The 100 with the lowest F1 of {CLASSES}; --json has all." in text
    true, predicted, count = max(
        (cell for cell in best["confusion_counts"] if cell[0] != cell[1]), key=lambda cell: cell[2]
    )
    errors = text[text.index("most frequent errors") :].splitlines()
    assert errors[2].split() == [str(true), str(predicted), str(count)]
    assert len(text.splitlines()) < 160


def test_pages_and_comparisons_show_the_most_confused(paribus, root, tmp_path):
    (worse,) = paribus("compare", "many", "--root", root, "--json").json["settings"][1:]
    assert worse["verdict"] == "worse"
    assert len(worse["cells"]) == 3
    for name in ("many", baseline(root)):
        page = tmp_path / "page.html"
        assert paribus("report", name, "--root", root, "-o", page).code == 0
        text = page.read_text()
        assert f"of the 30 most confused of {CLASSES} classes" in text
        assert len(text) < 400_000


PARTS = '''"""Without one."""

import numpy as np
from torch.nn.functional import cross_entropy


def parts():
    kind = np.arange(60) % 3
    x = np.stack([np.sin(np.arange(60.0)), kind], 1)
    some = kind[:30] != 2
    return {"train": (x, kind), "val": (x[:30][some], kind[:30][some])}


def part_sum(outputs, targets):
    mean = cross_entropy(outputs, targets)
    return mean + 0.1 * cross_entropy(outputs, targets, reduction="sum")


BASELINE = {
    "task": "multiclass",
    "data": parts,
    "model": "linear",
    "loss": part_sum,
    "optimizer": {"name": "sgd", "lr": 0.1},
    "train": {"epochs": 2},
    "metrics": ["AUROC"],
}
'''


def test_a_class_that_validation_lacks_and_a_loss_by_batch_are_named_once(paribus, tmp_path):
    (tmp_path / "parts.py").write_text(PARTS)
    words = ("parts.py", "--no-wandb", "--root", tmp_path / "r")
    for command in (("run", *words), ("sweep", *words, "optimizer.lr=0.2", "--seeds", "2")):
        done = paribus(*command, cwd=tmp_path)
        assert done.code == 0, done.err
        assert done.err.count("Validation has no example of 2: ") == 1
        assert done.err.count("val/loss depends on train.eval_batch_size: loss parts.py:part") == 1
        assert "Warning" not in done.err

"""A record's sources keep their place: data beside the user's files is found again."""

import json
import shutil

import numpy as np
import pytest
from manifest import write_manifest
from PIL import Image

PICTURES = """
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

FOLDER = Path(__file__).parent / "png"


class Pictures(Dataset):
    def __init__(self):
        self.files = sorted(FOLDER.glob("*.png"))
        if not self.files:
            raise FileNotFoundError(f"there are no examples in {FOLDER}")

    def __len__(self):
        return len(self.files)

    def __getitem__(self, row):
        pixels = np.array(Image.open(self.files[row]), dtype="float32")
        return torch.from_numpy(pixels[None] / 255), self.files[row].name[0]
"""
MINE = '''"""Light or dark?"""

from pictures import Pictures

BASELINE = {
    "task": "multiclass",
    "data": Pictures,
    "model": "linear",
    "loss": "cross_entropy",
    "optimizer": {"name": "sgd", "lr": 0.1},
    "train": {"epochs": 1, "batch_size": 8},
}
'''


@pytest.fixture
def project(paribus, tmp_path):
    """A project with pictures beside its data module; calls commands on a run of it."""
    folder = tmp_path / "project"
    (folder / "png").mkdir(parents=True)
    for row in range(20):
        pixels = np.full((4, 4), 20 + 10 * row, dtype="uint8")
        Image.fromarray(pixels).save(
            folder / "png" / f"{'dark' if row < 10 else 'light'}-{row}.png"
        )
    (folder / "pictures.py").write_text(PICTURES)
    (folder / "mine.py").write_text(MINE)

    def call(*words):
        # Not from the project's folder, which would be on the import path.
        return paribus(*words, "--root", tmp_path / "r", cwd=tmp_path)

    done = call("run", folder / "mine.py", "--no-wandb", "--json")
    assert done.code == 0, done.err
    call.run, call.folder = done.json["run"], folder
    call.copies = tmp_path / "r" / "runs" / call.run / "source"
    return call


def evaluated(project):
    done = project("evaluate", project.run, "--split", "test", "--json")
    assert done.code == 0, done.err
    return done.json["metrics"]


EDITS = {
    "nothing": lambda folder: None,
    "a comment": lambda folder: edit(folder, "pictures.py", "FOLDER =", "# where\nFOLDER ="),
    "the module": lambda folder: edit(folder, "pictures.py", "/ 255", "/ 25"),
    "the experiment": lambda folder: edit(
        folder, "mine.py", "from pictures", "import os\nfrom pictures"
    ),
    "the module, and is gone": lambda folder: (folder / "pictures.py").unlink(),
}


def edit(folder, name, old, new):
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))


@pytest.mark.parametrize("what", EDITS)
def test_evaluate_and_reproduce_find_the_data_beside_the_file(project, what):
    before = evaluated(project)
    EDITS[what](project.folder)
    assert evaluated(project) == before
    again = project("reproduce", project.run, "--json")
    assert again.code == 0, again.err
    assert again.json["identical"]


def test_an_error_names_the_copy_and_what_was_edited(project):
    edit(project.folder, "pictures.py", "/ 255", "/ 25")
    shutil.rmtree(project.folder / "png")
    done = project("evaluate", project.run)
    assert done.code == 2
    assert f"there are no examples in {project.folder / 'png'}" in done.err
    assert (
        f"{project.folder / 'pictures.py'} is edited, so the copy in {project.copies}" in done.err
    )
    assert "mine.py" not in done.err


def test_a_run_of_a_run_remembers_the_first_place(project):
    done = project("run", project.run, "optimizer.lr=0.2", "--no-wandb", "--json")
    assert done.code == 0, done.err
    edit(project.folder, "pictures.py", "FOLDER =", "# where\nFOLDER =")
    again = project("reproduce", done.json["run"], "--json")
    assert again.code == 0, again.err
    assert again.json["identical"]


def test_the_model_and_data_of_a_run_come_from_its_own_sources(project):
    """Not from a module of the same name that lies where the command is called."""
    (project.folder.parent / "pictures.py").write_text("raise SystemExit('not this one')")
    assert evaluated(project)


FORGED = {
    "a part is missing": {"read_later": {"files": {"x": "y"}}},
    "no file's name": {"read_later": {"files": {"a\0b": "y"}, "variables": {}}},
    "a device without end": {"read_later": {"files": {"/dev/zero": "y"}, "variables": {}}},
    "notes of another kind": {"noted": {"files": 5, "sources": 5}},
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_record_of_what_was_read_is_no_traceback(project, what):
    path = project.copies.parent / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | FORGED[what]))
    write_manifest(path.parent)
    again = project("run", project.folder / "mine.py", "--no-wandb", "--json")
    assert again.code == 0, again.err
    assert again.json["reused"] == (what == "notes of another kind")
    shutil.rmtree(project.folder / "png")
    for words in (("evaluate", project.run), ("runs",), ("compare", project.run, project.run)):
        done = project(*words)
        assert done.code in (0, 2), done.err
        assert "Traceback" not in done.err

"""Data, weights and devices that are not as the configuration says: refused before anything is."""

import pytest
import torch
from commands import refused
from PIL import Image

FILE = '''"""Is what does not fit refused?"""
import torch
from sklearn.utils import Bunch

def waves(n=40, classes=2):
    return torch.sin(torch.arange(n * 3.0)).reshape(n, 3), torch.arange(n) % classes

def named():
    x, y = waves(classes=3)
    return Bunch(data=x, target=y, target_names=["cat", "dog"])

def unseen():
    x, y = waves(classes=3)
    return {"train": (x[y < 2], y[y < 2]), "val": (x, y)}

BASELINE = {"task": "multiclass", "data": waves, "model": "linear", "loss": "cross_entropy",
            "optimizer": "sgd", "train": {"epochs": 1}}
AXES = {"optimizer.lr": [0.1]}
'''


def _picture(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        Image.new("RGB", (8, 8), (len(path.stem) * 10, 0, 0)).save(path)
    else:
        path.write_bytes(content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with all that is wrong."""
    place = tmp_path_factory.mktemp("bad")
    (place / "own.py").write_text(FILE)
    (place / "t.csv").write_text("size,colour\n1,red\n2,blue\n")
    (place / "gaps.csv").write_text("size,kind\n1,a\n,b\n3,a\n")
    (place / "one.csv").write_text("size,kind\n1,a\n2,a\n")
    (place / "texts.tsv").write_text("text\tlabel\ngood film\tpro\n \tcon\n")
    for name in ("a/1", "a/2", "b/1"):
        _picture(place / "damaged" / f"{name}.png")
        _picture(place / "empty" / f"{name}.png")
        _picture(place / "parts" / "train" / f"{name}.png")
        _picture(place / "parts" / "val" / f"{name}.png")
    _picture(place / "damaged" / "b" / "2.png", b"no image")
    _picture(place / "parts" / "val" / "c" / "1.png")
    (place / "empty" / "c").mkdir()
    _picture(place / "flat" / "1.png")
    torch.save({"weight": torch.zeros(2, 3), "wait": torch.zeros(2)}, place / "odd.pt")
    return place


# (what is asked, what must be said; {} is the folder)
BAD = [
    ("images data.root=gone", ["There is no folder gone (looked for {}/gone).", "data.root=FOLD"]),
    ("images data.root=flat", ["flat has no folders; one for each class was looked", "cat/1.png"]),
    ("images data.root=damaged", ["damaged/b/2.png cannot be decoded as an image"]),
    ("images data.root=empty", ["empty: no image in the folder of class c", "or take it away."]),
    ("images data.root=parts", ["parts: val has the class c, which train does not have."]),
    ("mnist data.root=gone", ["There is no MNIST in gone", "train-images-idx3-ubyte"]),
    ("text data.path=gone.csv", ["There is no file gone.csv (looked for {}/gone.csv)."]),
    ("text data.path=texts.tsv", ["texts.tsv: texts without any word: example 1 (counted from 0)"]),
    (
        "own.py data=table(path=t.csv,target=kind)",
        ["t.csv: has no column 'kind'; it has size, colour."],
    ),
    (
        "own.py data=table(path=gaps.csv,target=kind)",
        ["gaps.csv: cells are empty in column 'size' (1)", "data.missing=mean"],
    ),
    ("own.py data=table(path=one.csv,target=kind)", ["there is only one class, 'a'; at least two"]),
    ("own.py data=table", ["data table needs 'path'", "data table needs 'target'"]),
    ("own.py data=named", ["the label 2 is outside of 0 to 1: there are 2 class names."]),
    ("own.py data=unseen", ["classes that training never sees: '2' (13 examples)."]),
    ("own.py task=binary loss=bce data.classes=3", ["task binary is for two classes, and the"]),
    ("own.py task=multilabel loss=bce", ["task multilabel needs a column of 0 and 1 for each of"]),
    (
        "own.py train.start_from=odd.pt",
        ["odd.pt lacks bias.", "odd.pt has unexpected wait.", "Take the model that the weights"],
    ),
    ("own.py train.start_from=t.csv", ["train.start_from: t.csv holds no weights"]),
    ("own.py train.only=head", ["train.only: no parameter begins with 'head'."]),
    (
        "own.py model=torchvision.models.resnet18(weights=BEST)",
        ["model.weights=BEST: torchvision.models.resnet18 has no such weights."],
    ),
    pytest.param(
        "own.py device=cuda",
        ["device=cuda: there is no CUDA device here. Take device=cpu or auto."],
        marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
    ),
    ("own.py device=tpu", ["device=tpu: must be"]),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "said"), BAD)
def test_it_is_refused_and_nothing_is_created(paribus, folder, tmp_path, asked, said):
    before = sorted(folder.rglob("*"))
    root = tmp_path / "root"
    done = paribus("run", *asked.split(), "--root", root, cwd=folder)
    refused(done, root, *(words.replace("{}", str(folder)) for words in said))
    assert [path for path in sorted(folder.rglob("*")) if "__pycache__" not in path.parts] == before


@pytest.mark.parametrize("word", ["data=unseen", "train.start_from=odd.pt"])
def test_a_sweep_and_json_say_the_same(paribus, folder, tmp_path, word):
    root = tmp_path / "root"
    plain = paribus("run", "own.py", word, "--root", root, cwd=folder)
    swept = paribus("sweep", "own.py", "optimizer.lr", "--set", word, "--root", root, cwd=folder)
    assert refused(swept, root) == refused(plain, root)
    done = paribus("run", "own.py", word, "--root", root, "--json", cwd=folder)
    assert (done.code, done.err, root.exists()) == (2, "", False)
    assert all(line in plain.err for line in done.json["error"]["message"].splitlines())

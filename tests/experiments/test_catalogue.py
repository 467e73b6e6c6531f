"""Every experiment of the catalogue: its docstring is whole, its command runs, its claims hold."""

import re
import shlex
import struct

import numpy as np
import pytest
from commands import refused

from paribus.core.config.experiment import catalogue, load_experiment
from paribus.core.config.schema import DEFAULT_METRICS

NAMES = sorted(catalogue())
# What one run reaches, on validation: options, metric, at least.
CLAIMS = {
    "parabola": ([], "val/mae", -0.02),  # of 2 w, so w is within 0.01
    "circles": ([], "val/accuracy", 0.99),
    "moons": ([], "val/accuracy", 0.99),
    "cancer": ([], "val/accuracy", 0.95),
    "wine": ([], "val/accuracy", 0.95),
    "diabetes": ([], "val/r2", 0.4),
    "multilabel": ([], "val/f1", 0.9),
    "text": ([], "val/accuracy", 0.95),
    "images": ([], "val/accuracy", 0.95),
    "mnist": (["data.images=3500", "train.epochs=10"], "val/accuracy", 0.8),
    "script": ([], "val/accuracy", 0.97),
    "unbalanced": (["loss.weight=balanced"], "val/binary_recall", 0.7),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_has_its_parts(name):
    """A question, the command, the time it takes and the score to expect."""
    text = load_experiment(catalogue()[name]).objects["__doc__"]
    first, *rest = text.strip().splitlines()
    assert first.endswith("?")
    commands = [line.strip() for line in rest if line.startswith("    paribus ")]
    assert commands
    assert commands[0].split()[2] == name
    assert re.search(r"\b(second|minute)s?\b", text)
    assert re.search(r"(above|below|within|by about) 0\.\d", " ".join(text.split()))


@pytest.mark.parametrize("name", NAMES)
def test_it_has_a_baseline_and_axes(name):
    experiment = load_experiment(catalogue()[name])
    baseline = experiment.baseline.to_dict()
    assert "script" in baseline or baseline["task"]["name"] in DEFAULT_METRICS
    assert experiment.axes
    kept = ("BASELINE", "AXES", "SELECT")
    capitals = [key for key in experiment.objects if key.isupper() and key not in kept]
    assert capitals, "a block of hyperparameters in capitals"


@pytest.mark.parametrize("name", NAMES)
def test_its_command_runs(paribus, tmp_path, name):
    """Cut short: one epoch, one seed."""
    text = load_experiment(catalogue()[name]).objects["__doc__"]
    words = shlex.split(re.search(r"^    paribus (.+)$", text, re.M).group(1))
    one_epoch = [] if name == "script" else ["train.epochs=1"]
    short = one_epoch
    if words[0] == "sweep":
        sets = [word for text in one_epoch for word in ("--set", text)]
        short = [*sets, "--seeds", "1", "--workers", "1"]
    done = paribus(*words, *short, "--no-wandb", "--root", tmp_path / "r", "--json")
    assert done.code == 0, done.err


def test_what_line_claims(paribus, tmp_path):
    done = paribus("run", "line", "--seed", "42", "--no-wandb", "--root", tmp_path / "r", "--json")
    assert done.json["best"]["metrics"]["val/mae"] < 0.02
    text = paribus("run", "line", "--seed", "42", "--no-wandb", "--root", tmp_path / "r").out
    learned = {name: float(x) for name, x in re.findall(r"^  (\w+) = \[([^\]]+)\]$", text, re.M)}
    assert abs(learned["weight"] - 0.7) < 0.05
    assert abs(learned["bias"] - 0.3) < 0.05


def test_the_baseline_of_digits_is_fixed():
    baseline = load_experiment(catalogue()["digits"]).baseline.to_dict()
    assert baseline["model"] == {
        "name": "mlp", "hidden_dim": 128, "num_layers": 1, "activation": "relu", "dropout": 0.2,
    }  # fmt: skip
    assert baseline["loss"] == {"name": "cross_entropy"}
    assert baseline["optimizer"] == {"name": "adam", "lr": 1e-3}
    assert baseline["scheduler"] == {"name": "constant"}
    assert baseline["train"] == {
        "epochs": 20, "updates": None, "batch_size": 64, "eval_batch_size": 1000,
        "clip_grad_norm": None, "patience": None, "start_from": None, "only": [],
    }  # fmt: skip
    axes = load_experiment(catalogue()["digits"]).axes
    assert set(axes) == {
        "model.num_layers", "model.hidden_dim", "train.epochs", "model.activation", "optimizer.lr",
        "loss", "optimizer",
    }  # fmt: skip
    assert 3e-3 in axes["optimizer.lr"]


@pytest.mark.parametrize("name", sorted(CLAIMS))
def test_what_it_claims(paribus, tmp_path, name):
    options, metric, least = CLAIMS[name]
    done = paribus("run", name, *options, "--no-wandb", "--json", "--root", tmp_path / "r")
    value = done.json["best"]["metrics"][metric]
    assert (value if least >= 0 else -value) >= least


def test_circles_without_activations_are_guessed(paribus, tmp_path):
    words = ("run", "circles", "model.activation=identity", "--no-wandb", "--json")
    done = paribus(*words, "--root", tmp_path / "r")
    assert 0.4 < done.json["last"]["metrics"]["val/accuracy"] < 0.6


def test_weighting_finds_more_of_the_rare_class_and_is_shown_with_its_interval(paribus, tmp_path):
    """The recall of the rare class rises and the precision falls, each beyond its interval."""
    root = ("--root", tmp_path / "r")
    paribus("sweep", "unbalanced", "loss.weight", "--no-wandb", *root)
    for metric, sign in (("val/binary_recall", 1), ("val/binary_precision", -1)):
        rows = paribus("compare", "--metric", metric, "--json", *root).json
        assert rows["metric"] == {"name": metric, "direction": "maximize"}
        assert all(sign * end > 0 for end in rows["settings"][1]["interval"])


def write_idx(root, labels=10, cut=None):
    """Idx files as MNIST's: magic number, sizes, bytes."""
    rng = np.random.default_rng(0)
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for stem, count in (("train", 240), ("t10k", 60)):
        pixels = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        head = struct.pack(">IIII", 2051, count, 28, 28)
        (raw / f"{stem}-images-idx3-ubyte").write_bytes((head + pixels.tobytes())[:cut])
        digits = np.arange(count) % labels
        head = struct.pack(">II", 2049, count)
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(head + digits.astype(np.uint8).tobytes())


def test_mnist_reads_the_real_files(paribus, tmp_path):
    write_idx(tmp_path)
    done = paribus("show", "mnist", f"data.root={tmp_path}", "--json")
    sizes = done.json["data"]
    assert [sizes[part] for part in ("train", "val", "test")] == [200, 40, 60]
    assert sizes["input_shape"] == [1, 28, 28]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, ["train-images-idx3-ubyte (Dataset not found.", "Set data.download=true to fetch"]),
        ({"cut": 1000}, ["that can be read: ", "train-images-idx3-ubyte (", "leave data.root out"]),
        ({"labels": 11}, ["/MNIST/raw: the label 10 is outside of 0 to 9."]),
    ],
)
def test_mnist_says_what_it_looked_for_and_what_is_wrong(paribus, tmp_path, files, said):
    if files is not None:
        write_idx(tmp_path, **files)
    done = paribus("run", "mnist", f"data.root={tmp_path}", "--root", tmp_path / "r")
    refused(done, tmp_path / "r", *said)


def test_images_takes_any_folder_and_renders_its_own_once(paribus, tmp_path):
    root = tmp_path / "r"
    first = paribus("show", "images", "--json", "--root", root)
    drawn = sorted((root / "data" / "shapes").rglob("*.png"))
    assert len(drawn) == 1600
    times = [path.stat().st_mtime_ns for path in drawn]
    again = paribus("show", "images", f"data.root={root / 'data' / 'shapes'}", "--json")
    assert [path.stat().st_mtime_ns for path in drawn] == times
    assert again.json["data"]["fingerprint"] == first.json["data"]["fingerprint"]


def test_text_takes_any_file_of_two_columns(paribus, tmp_path):
    lines = [f"{word} film\t{label}" for word, label in [("good", "pro"), ("bad", "con")] * 20]
    (tmp_path / "reviews.tsv").write_text("\n".join(["review\topinion", *lines]))
    done = paribus(
        *("run", "text", f"data.path={tmp_path / 'reviews.tsv'}", "--no-wandb", "--json"),
        *("--root", tmp_path / "r"),
    )
    assert done.json["class_names"] == ["con", "pro"]
    assert done.json["best"]["metrics"]["val/accuracy"] == 1


def test_what_digits_claims_of_its_best_setting(paribus, tmp_path):
    """All axes take half a minute; the learning rate that wins is enough."""
    done = paribus(
        *("sweep", "digits", "optimizer.lr=0.01", "--seeds", "3", "--no-wandb", "--json"),
        *("--root", tmp_path / "r"),
    )
    assert max(setting["mean"] for setting in done.json["settings"]) >= 0.97

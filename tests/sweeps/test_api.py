"""The Python API: what a notebook sees is what the command line sees, bit for bit."""

import inspect
import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import paribus as public
from paribus.core.config.experiment import catalogue
from paribus.core.config.schema import Configuration
from paribus.core.errors import ParibusError, RequestError
from paribus.core.records.run_dir import RunFolder
from paribus.core.runtime import is_pinned
from paribus.core.training.job import resolver_for_file
from paribus.sweeps import api

EPOCHS = {"train.epochs": 3}
FULL = """
from torch.nn.functional import cross_entropy

def full(outputs, targets):
    if len(targets) > 10:
        raise MemoryError("no room")
    return cross_entropy(outputs, targets)

BASELINE["loss"] = full
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("api") / "results"


@pytest.fixture(scope="module")
def trained(root):
    return api.train("digits", EPOCHS, seed=1, root=root, wandb=False)


@pytest.fixture(scope="module")
def swept(root):
    """A study, and what was said while it was trained."""
    with redirect_stdout(io.StringIO()) as said, redirect_stderr(said):
        study = api.sweep(
            "digits",
            {"optimizer.lr": [np.float32(0.5), 0.01], "model.activation": "tanh"},
            overrides=EPOCHS, seeds=[1, 4], study="mine", root=root, wandb=False, workers=2,
        )  # fmt: skip
    return study, said.getvalue()


@pytest.fixture(scope="module")
def study(swept):
    return swept[0]


def test_nothing_is_said_where_there_is_no_terminal(swept):
    assert swept[1] == ""


def test_a_run_and_its_record(trained, root):
    assert isinstance(trained.folder, RunFolder)
    assert trained.folder.folder.parent == root / "runs"
    assert (trained.record.seed, trained.record.status) == (1, "complete")
    assert len(trained.history) == 3
    assert trained.best.metrics["val/accuracy"] > 0.5
    assert trained.document["run"] == trained.id


def test_its_model_gives_the_recorded_accuracy(trained):
    """On the real validation part, prepared as the record says."""
    model = trained.model()
    assert not model.training
    predictions = load_file(trained.folder.folder / "predictions.safetensors")
    data = resolver_for_file(catalogue()["digits"]).data(
        Configuration.parse(trained.record.requested, "the run"), trained.record.seed
    )
    inputs, targets = data.val.inputs_of(10**6)
    with torch.inference_mode():
        outputs = model(inputs)
    assert torch.equal(targets, predictions["targets"])
    accuracy = (outputs.argmax(1) == targets).double().mean().item()
    assert accuracy == pytest.approx(trained.best.metrics["val/accuracy"], abs=1e-12)


def test_its_model_needs_no_data(write_small, tmp_path):
    data = tmp_path / "there"
    data.touch()
    there = f"assert __import__('pathlib').Path({str(data)!r}).exists()\n    kind = torch"
    small = write_small(replace=[("kind = torch", there)])
    run = api.train(small.path, root=tmp_path / "r", wandb=False)
    data.unlink()
    assert run.model()(torch.zeros(2, 4)).shape == (2, 3)


def test_the_same_bits_as_the_command_line(trained, paribus, tmp_path):
    """This process has threads and random hashes; what trains has not."""
    assert not is_pinned()
    done = paribus(
        *("run", "digits", "train.epochs=3", "--seed", "1", "--no-wandb", "--json"),
        *("--root", tmp_path / "r"),
    ).json
    assert done["run"] == trained.id
    assert done["weights_sha256"] == trained.record.weights_sha256
    assert done["best"] == trained.best.model_dump(exclude_unset=True)


def test_a_run_is_loaded_again(trained, root):
    for name in (trained.id, trained.id[:-2], str(trained.folder.folder)):
        assert api.load_run(name, root=root).record == trained.record
    with pytest.raises(RequestError, match="There is no run 'nothing'"):
        api.load_run("nothing", root=root)


def test_a_run_that_failed_in_its_first_epoch_has_an_empty_history(tmp_path):
    file = tmp_path / "full.py"
    file.write_text(catalogue()["digits"].read_text() + FULL.replace("MemoryError", "ValueError"))
    run = api.train(file, root=tmp_path / "results", wandb=False)
    assert run.record.status == "failed"
    assert (len(run.history), run.history.index.name) == (0, "epoch")


def test_a_seed_that_is_a_text_is_the_number(trained, root):
    assert api.train("digits", EPOCHS, seed="1", root=root, wandb=False).id == trained.id


def test_a_study_as_rows(study, trained):
    rows = {row["label"]: row for row in study.rows}
    assert list(rows) == [
        "baseline", "optimizer.lr=0.5", "optimizer.lr=0.01", "model.activation=tanh",
    ]  # fmt: skip
    assert rows["baseline"]["seeds"] == [1, 4]
    assert rows["baseline"]["runs"][0] == trained.id  # trained once
    assert rows["optimizer.lr=0.01"]["changed"] == {"optimizer.lr": [0.001, 0.01]}
    assert rows["optimizer.lr=0.01"]["delta"] is not None
    run = study.run("optimizer.lr=0.01", 4)
    assert run.record.configuration["optimizer"]["lr"] == 0.01
    with pytest.raises(RequestError, match="has no seed 9"):
        study.run("baseline", 9)


def test_a_study_is_loaded_again(study, root):
    for found in (api.load_study("mine", root=root), api.load_study(root=root)):
        assert found.name == "mine"
        assert found.document == study.document
    with pytest.raises(RequestError, match="There is no study 'yours'"):
        api.load_study("yours", root=root)


def test_axes_as_names_of_the_experiment_s_own(root):
    found = api.sweep(
        "line", ["loss"], overrides={"train.epochs": 1}, seeds=1, root=root, wandb=False, workers=1
    )
    assert [row["label"] for row in found.rows] == ["baseline", "loss=mse"]


def test_the_root_from_the_environment(root, trained, monkeypatch, tmp_path):
    monkeypatch.setenv("PARIBUS_ROOT", str(root))
    assert api.load_run(trained.id).id == trained.id
    monkeypatch.delenv("PARIBUS_ROOT")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match="There is no run"):
        api.load_run(trained.id)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"seeds": 0}, "seeds=0: must be how many seeds (1 to 10000)"),
        ({"seeds": []}, "must be different whole numbers"),
        ({"seeds": [3, 3]}, "must be different whole numbers"),
        ({"seeds": [-1]}, "must be different whole numbers"),
        ({"seeds": "3"}, "must be different whole numbers"),
        ({"workers": 0}, "workers=0: must be a whole number from 1 to 1024"),
        ({"trials": 1.5}, "trials=1.5: must be a whole number from 1 to 1000"),
        ({"sampler": "tpee"}, "Did you mean 'tpe'?"),
        ({"margin": -1}, "margin=-1: must be a number, 0 or more"),
        ({"study": "../x"}, "study='../x' is no name for a study"),
        ({"storage": "foo"}, "storage foo is no URL of a database"),
        ({"max_seeds": 9}, "max_seeds is for until_decided=True"),
        ({"trials": 9}, "trials=9: no axis is explored"),
        ({"axes": {"optimizer.lr": [float("nan")]}}, "not a finite number"),
        ({"axes": {"optimizer.lr": []}}, "the list of levels is empty"),
        ({"axes": {"lrr": [1]}}, "Did you mean 'optimizer.lr'"),
        ({"overrides": {"model": print}}, "is not a number, a word"),
        ({"engine": "foo"}, "There is no engine 'foo'"),
    ],
)
def test_bad_requests_of_a_sweep(tmp_path, arguments, said):
    with pytest.raises(RequestError) as error:
        api.sweep("digits", root=tmp_path / "r", wandb=False, **arguments)
    assert said in str(error.value)
    assert "--" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "argument"),
    [
        ("Leave --metric and --margin out.", "Leave metric and margin out."),
        ("Take --sampler tpe.", "Take sampler tpe."),
        ("--output 'a b.pdf': its suffix", "output='a b.pdf': its suffix"),
        ("--output x.pdf: its suffix", "output x.pdf: its suffix"),
        ("Name another place with --root DIR.", "Name another place with root=DIR."),
        ("To use what is there now, add --trust.", "To use what is there now, add trust=True."),
        ("Take --set a.b=1 --set c=d, or wait.", "Take overrides=['a.b=1', 'c=d'], or wait."),
        ("See: paribus sweep x --seeds 3", "See: paribus sweep x --seeds 3"),
        ("as JSON, with --json", "as JSON, with --json"),
    ],
)
def test_messages_name_arguments(option, argument):
    assert api.in_python(option) == argument


def test_faults_of_a_request_are_told_together(tmp_path):
    with pytest.raises(RequestError) as error:
        api.sweep(
            "digits", {"model.hidden_dim": "a", "foo.bar": [1]}, overrides={"train.epochs": 0},
            seeds=0, workers=0, study="../x", root=tmp_path / "r", wandb=False,
        )  # fmt: skip
    assert len(error.value.faults) == 6
    with pytest.raises(RequestError) as error:
        api.train("digits", {"model.hidden_dim": 0}, seed=-1, root=tmp_path / "r")
    assert len(error.value.faults) == 2
    assert list(tmp_path.iterdir()) == []


def test_overrides_as_they_are_typed(trained, root):
    again = api.train("digits", ["train.epochs=3"], seed=1, root=root, wandb=False)
    assert again.id == trained.id
    assert api.train("digits", "train.epochs=3", seed=1, root=root, wandb=False).id == trained.id


def test_a_study_shows_what_it_found(study):
    assert repr(study).startswith("<study mine: mean best val/accuracy of baseline 0.")
    assert "optimizer.lr=0.01 0." in repr(study)
    verdict = next(row["verdict"] for row in study.rows if row["label"] == "optimizer.lr=0.01")
    assert verdict
    assert repr(study).endswith(f" ({verdict})>")


def test_a_script_that_is_an_experiment_says_how_it_is_guarded(tmp_path):
    script = tmp_path / "own.py"
    source = catalogue()["digits"].read_text()
    script.write_text(f"{source}\nfrom paribus.sweeps.api import sweep\nsweep(__file__)\n")
    with pytest.raises(RequestError, match=r"own\.py calls sweep while it is loaded") as error:
        api.sweep(script, root=tmp_path / "results", wandb=False)
    assert "__main__" in str(error.value.faults[0].hint)
    assert not (tmp_path / "results").exists()


def test_a_run_that_its_surroundings_stopped(tmp_path, capfd):
    script = tmp_path / "own.py"
    source = catalogue()["digits"].read_text()
    script.write_text(source + FULL)
    with pytest.raises(ParibusError, match="was not finished"):
        api.train(script, root=tmp_path / "results", wandb=False)
    assert "stopped: memory: MemoryError: no room" in capfd.readouterr().err


CHEAP = """
import sys, time
started = time.perf_counter()
import paribus
took = time.perf_counter() - started
assert not {"torch", "numpy", "pydantic"} & sys.modules.keys()
started = time.perf_counter()
import torch
print(took / (time.perf_counter() - started))
"""


def test_importing_the_package_is_cheap():
    done = subprocess.run(
        [sys.executable, "-c", CHEAP], capture_output=True, text=True, check=True, cwd="/"
    )
    assert float(done.stdout) < 0.2


def test_the_package_lists_what_it_has():
    assert dir(public) == sorted(public.__all__)
    assert public.sweep is api.sweep
    assert public.__version__[0].isdecimal()
    for name in set(public.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(public, name))
    with pytest.raises(AttributeError, match="has no attribute 'swep'"):
        public.swep  # noqa: B018


def test_a_comparison_is_what_the_command_prints(study, root, paribus):
    found = public.compare(study)
    assert found.to_dict() == paribus("compare", "mine", "--json", "--root", root).json
    assert found.study == public.compare("mine", root=root).study == "mine"
    assert found.settings[0].label == "baseline"
    assert found["optimizer.lr=0.01"].seeds == [1, 4]
    assert found["optimizer.lr=0.01"].verdict in ("better", "worse", "equivalent", "undecided")
    other = public.compare(study, metric="val/loss", margin=0.5)
    words = ("--metric", "val/loss", "--margin", "0.5", "--json", "--root", root)
    assert other.to_dict() == paribus("compare", "mine", *words).json
    with pytest.raises(ValueError, match="frozen"):
        found.study = "yours"


def test_a_comparison_of_any_tool_s_results(tmp_path, paribus):
    file = tmp_path / "results.csv"
    lines = [f"{label},{s},{s / 100 + gain}" for label, gain in (("baseline", 0), ("b", 1))
             for s in range(3)]  # fmt: skip
    file.write_text("\n".join(["setting,seed,value", *lines]))
    found = public.compare(file, direction="minimize")
    done = paribus("compare", file, "--direction", "minimize", "--json")
    assert found.to_dict() == done.json
    assert found["b"].verdict == "worse"
    assert public.compare(file, direction="minimize", margin="0.5").margin == 0.5
    with pytest.raises(RequestError) as error:
        public.compare(file, direction="max")
    assert str(error.value) == "direction='max': must be 'maximize' or 'minimize'."


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda study: public.compare(study, margin=-1), "margin=-1: must be"),
        (
            lambda study: public.compare(study, direction="maximize"),
            "a study knows its own",
        ),
        (lambda study: public.compare("nothing.csv"), "cannot be read"),
        (lambda study: public.compare("nothing"), "There is no study 'nothing'"),
        (lambda study: public.evaluate(study, "train"), "must be 'val' or 'test'"),
        (lambda study: public.evaluate(study, labels=["x"]), "has no setting 'x'"),
        (lambda study: public.predict("nothing", [1]), "There is no run 'nothing'"),
        (lambda study: public.evaluate(study, labels="xy"), "has no setting 'xy'"),
        (lambda study: public.reproduce(study.run("baseline", 1), workers=0), "workers=0: must be"),
        (lambda study: public.reproduce("nothing"), "There is no run 'nothing'"),
        (lambda study: public.report("nothing"), "There is no run or study 'nothing'"),
        (lambda study: public.report(study, output="x.pdf"), "its suffix"),
    ],
)
def test_bad_requests_of_results(study, call, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError) as error:
        call(study)
    assert said in str(error.value)
    assert "--" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_is_what_the_command_prints(trained, study, root, paribus):
    found = public.evaluate(trained)
    assert found.to_dict() == paribus("evaluate", trained.id, "--json", "--root", root).json
    assert found.metrics["val/accuracy"] == trained.best.metrics["val/accuracy"]
    assert not found.differs
    assert public.evaluate(trained, "test").readings == found.readings + 1
    of_study = public.evaluate(study)
    assert of_study.to_dict() == paribus("evaluate", "mine", "--json", "--root", root).json
    assert of_study.split == "val"


def test_predictions_are_what_the_command_prints(trained, root, paribus):
    rows = np.arange(128.0).reshape(2, 64) / 8
    columns = trained.record.data.preprocessing["columns"]
    frame = pd.DataFrame(rows, columns=columns)
    file = root / "rows.csv"
    frame.to_csv(file, index=False)
    found = public.predict(trained, file)
    assert found.to_dict() == paribus("predict", trained.id, file, "--json", "--root", root).json
    assert found.predictions[0].input == f"{file}:1"
    assert sum(found.predictions[0].probabilities.values()) == pytest.approx(1)
    labels = [one.label for one in found.predictions]
    for inputs in (frame, rows, rows.tolist(), torch.from_numpy(rows), list(rows)):
        assert [one.label for one in public.predict(trained, inputs).predictions] == labels


def test_a_run_is_reproduced(trained, study, root, paribus):
    found = public.reproduce(trained)
    assert (found.identical, found.grade, found.difference) == (True, "bit-exact", None)
    assert found.to_dict() == paribus("reproduce", trained.id, "--json", "--root", root).json
    setting = public.reproduce(f"{study.name}/baseline", root=root)
    assert setting.identical
    assert [result.again.run.seed for result in setting.runs] == [1, 4]


def test_a_page_is_written(trained, study, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of_study, of_run = public.report(study), public.report(trained)
    assert of_study.file == root / "studies" / "mine" / "report.html"
    assert of_run.file == tmp_path / f"{trained.id}.html"
    for page in (of_study, of_run):
        assert page.to_dict() == {
            page.kind: page.name, "file": str(page.file), "bytes": page.file.stat().st_size,
        }  # fmt: skip

"""`finalize`: the model a person takes home, trained on all but the test part."""

import json
from statistics import median

import pytest
from small_experiment import SMALL

SWEEP = ("sweep", "small.py", "optimizer.lr=0.1", "--study", "s", "--workers", "2", "--no-wandb")


@pytest.fixture(scope="module")
def call(paribus, tmp_path_factory):
    """Calls commands where a study of two settings and five folds is."""
    folder = tmp_path_factory.mktemp("finalize")
    (folder / "small.py").write_text(SMALL)

    def call(*words):
        return paribus(*words, "--root", folder / "r", cwd=folder)

    call.folder = folder
    call.swept = call(*SWEEP, "--set", "scheduler=cosine", "--set", "train.epochs=8")
    assert call.swept.code == 0, call.swept
    return call


@pytest.fixture(scope="module")
def final(call):
    done = call("finalize", "s", "--no-wandb")
    assert done.code == 0, done
    return done.out.splitlines()[3].removeprefix("run ")


def record_of(call, run):
    return json.loads((call.folder / "r" / "runs" / run / "run.json").read_text())


def test_it_says_what_it_does_and_what_comes_next(call, final):
    best = call("compare", "s", "--json").json["settings"][1]
    epochs = [record_of(call, run)["best"]["epoch"] for run in best["runs"]]
    stop = round(median(epochs))
    lines = call("finalize", "s", "optimizer.lr=0.1", "--no-wandb").out.splitlines()
    assert lines[:3] == [
        "study s, setting optimizer.lr=0.1: its final model",
        "trained on 51 examples, all but the test part's 9; seed 0",
        f"stops after epoch {stop} of 8, the median of its runs' best epochs: "
        + ", ".join(map(str, epochs)),
    ]
    assert lines[3] == f"run {final} (was there already)"
    assert lines[4].endswith(f"r/runs/{final}/best.safetensors")
    assert lines[5].startswith(f"Next, once: paribus evaluate {final} --split test")
    record = record_of(call, final)
    assert (record["data"]["train"], record["data"]["val"], record["data"]["test"]) == (51, 0, 9)
    assert (record["epochs"], record["best"]["epoch"]) == (stop, stop)
    assert record["configuration"]["scheduler"]["T_max"] == 8
    assert record["noted"]["finalized"] == {
        "study": "s",
        "label": "optimizer.lr=0.1",
        "best_epochs": dict(zip(best["runs"], epochs, strict=True)),
        "schedule": 8,
    }
    assert record["identity"]["configuration"]["final_epoch"] == stop


def test_best_model_is_the_command_and_then_its_file(call, final):
    line = next(line for line in call.swept.out.splitlines() if line.startswith("best model, to"))
    assert ": paribus finalize s optimizer.lr=0.1 --root " in line
    line = next(line for line in call("compare", "s").out.splitlines() if "best model: " in line)
    assert line.endswith(f"/runs/{final}/best.safetensors (optimizer.lr=0.1, final)")


def test_only_the_test_part_and_new_data_are_for_it(call, final):
    for words in (("evaluate", final), ("run", final), ("sweep", final, "lr=1", "--no-wandb")):
        refused = call(*words)
        assert refused.code == 2
        assert (
            "is a final run, trained on all but" in refused.err or "of a final run" in refused.err
        )
    assert call("predict", final, "1,2,3,4").code == 0
    assert call("reproduce", final).out.splitlines()[1] == f"{final}: bit-exact"
    found = call("evaluate", final, "--split", "test", "--json").json
    assert found["readings"] == 1
    again = call("finalize", "s", "--test", "--no-wandb", "--json").json
    assert (again["run"], again["reused"], again["test"]["readings"]) == (final, True, 2)
    assert again["test"]["metrics"] == found["metrics"]
    pictured = call("plot", final, "-o", call.folder / "p.svg")
    assert (pictured.code, "no validation part" in pictured.err) == (0, True)
    compared = call("compare", final, "s/baseline-s0").out
    assert f"{final} is a final run: it has no validation part." in compared
    assert call("report", final, "-o", call.folder / "p.html").code == 0
    assert "final: optimizer.lr=0.1" in call("runs", "s").out


def test_a_length_in_updates_is_stopped_at_the_same_share(call):
    words = ("--set", "train.updates=24", "--study", "u")
    assert call(*SWEEP[:3], *words, "--no-wandb", "--workers", "1").code == 0
    lines = call("finalize", "u", "baseline", "--no-wandb").out.splitlines()
    epochs = [int(word) for word in lines[2].partition("epochs: ")[2].split(", ")]
    # 24 updates are eight epochs of 41 examples, and six of 51.
    assert lines[2].startswith(f"stops after epoch {round(median(epochs) * 6 / 8)} of 6, ")


def test_what_cannot_be_finalized(call, paribus, tmp_path):
    for words, reason in (
        (("s", "optimizer.lr=7"), "has no setting 'optimizer.lr=7'"),
        (("none",), "There is no study 'none'"),
    ):
        done = call("finalize", *words, "--no-wandb")
        assert (done.code, reason in done.err) == (2, True), done
    words = (*SWEEP[:3], "--no-wandb", "--seeds", "1", "--workers", "1", "--study")
    assert call(*words, "p", "--set", "scheduler=plateau").code == 0
    done = call("finalize", "p", "--no-wandb")
    assert done.code == 2
    assert "follows the validation loss, and a final run has no validation" in done.err
    assert call(*words, "n", "--set", "split.test_fraction=0").code == 0
    before = sorted((call.folder / "r" / "runs").iterdir())
    done = call("finalize", "n", "--test", "--no-wandb")
    assert (done.code, "n has no test part" in done.err) == (2, True)
    assert sorted((call.folder / "r" / "runs").iterdir()) == before
    (tmp_path / "climb.py").write_text(
        '"""Up."""\n\n\ndef train(step=1.0, *, seed):\n    yield {"val/accuracy": step}\n'
        '\n\nSELECT = {"metric": "val/accuracy"}\nAXES = {"script.step": [0.5]}\n'
    )
    assert (
        paribus("sweep", "climb.py", "--study=f", "--seeds=1", "--no-wandb", cwd=tmp_path).code == 0
    )
    done = paribus("finalize", "f", "--no-wandb", cwd=tmp_path)
    assert (done.code, "keeps its model to itself" in done.err) == (2, True), done


def test_from_python(call, final, monkeypatch):
    import paribus

    monkeypatch.chdir(call.folder)
    run = paribus.finalize(paribus.load_study("s", root="r"), wandb=False)
    assert run.id == final
    assert repr(run).startswith(f"<final run {final}: ")
    assert run.model() is not None
    with pytest.raises(paribus.RequestError, match="has no setting"):
        paribus.finalize("s", "nope", root="r", wandb=False)


def test_removing_the_study_removes_it(call, final):
    assert call("remove", "s", "--yes").code == 0
    assert not (call.folder / "r" / "runs" / final).exists()

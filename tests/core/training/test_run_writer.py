"""A run on disk: every file proves itself, and a stop at any epoch costs no bit."""

import hashlib
import json

import jobs
import numpy as np
import pytest
import torch
from safetensors import safe_open

from paribus.core.errors import DamagedError, RequestError
from paribus.core.fileio import MANIFEST, verify_manifest
from paribus.core.records.run_dir import (
    BEFORE,
    BEST,
    HISTORY,
    LAST,
    PREDICTIONS,
    RECORD,
    RunFolder,
    is_finished,
    load_state,
    save_state,
)
from paribus.core.training.engine import Job
from paribus.core.training.job import engine_of, train_job

FILES = {RECORD, HISTORY, BEST, PREDICTIONS, MANIFEST, "source/small.py"}
IN_ORDER = {"split": {"method": "in_order", "val_fraction": 0.2, "test_fraction": 0.1}}


def train(run, folder, stop=None, every=1e9):
    return jobs.train([(run, folder)], stop, every)


def files_of(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def strict_json(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def without_times(history):
    return [epoch.model_dump(exclude={"seconds"}) for epoch in history]


@pytest.fixture
def finished(small, tmp_path):
    run = small.run(model={"name": "mlp", "hidden_dim": 8, "dropout": 0.2}, **IN_ORDER)
    folder = tmp_path / "attempts" / "a.1"
    return run, folder, train(run, folder)


def test_the_files_of_a_finished_run(finished):
    run, folder, progress = finished
    assert files_of(folder) == FILES  # and no temporary file, no resume state
    assert [p.ended for p in progress] == [None, None, None, "complete"]
    assert [p.line["epoch"] for p in progress] == [1, 2, 3, 4]
    assert {p.run for p in progress} == {run.id}
    assert is_finished(folder)
    verify_manifest(folder)
    manifest = strict_json((folder / MANIFEST).read_text())
    assert set(manifest) == FILES - {MANIFEST}
    for name, digest in manifest.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_trained_again_its_weights_and_predictions_are_the_same_files(finished, tmp_path):
    run, folder, _ = finished
    train(run, tmp_path / "again")
    for name in (BEST, PREDICTIONS, "source/small.py"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_the_record(finished, small):
    run, folder, progress = finished
    record = strict_json((folder / RECORD).read_text())
    history = [strict_json(line) for line in (folder / HISTORY).read_text().splitlines()]
    assert record == RunFolder(folder).verified_record().to_json()
    assert record["run"] == run.id
    assert (record["status"], record["reason"], record["engine"]) == ("complete", None, "cohort")
    assert (record["experiment"], record["seed"], record["epochs"]) == ("small", 0, 4)
    assert record["configuration"] == run.configuration
    assert record["identity"] == run.identity
    assert history == [p.line for p in progress]
    assert history == [epoch.to_json() for epoch in RunFolder(folder).history()]
    accuracies = [line["metrics"]["val/accuracy"] for line in history]
    assert record["best"]["epoch"] == accuracies.index(max(accuracies)) + 1
    assert record["best"]["metrics"] == history[record["best"]["epoch"] - 1]["metrics"]
    assert np.sum(record["best"]["confusion_matrix"]) == record["data"]["val"] == 12
    assert record["last"]["metrics"] == history[-1]["metrics"]
    assert record["weights_sha256"] == history[-1]["weights_sha256"]
    assert record["data"]["fingerprint"] == run.identity["data"]
    assert (folder / "source" / "small.py").read_bytes() == small.path.read_bytes()


def test_the_best_weights_are_usable_without_this_harness(finished, small):
    _, folder, _ = finished
    record = json.loads((folder / RECORD).read_text())
    with safe_open(folder / BEST, "pt") as file:
        w = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    assert json.loads(metadata["task"]) == {"name": "multiclass"}
    recipe = json.loads(metadata["preprocessing"])
    assert recipe["class_names"] == ["0", "1", "2"]
    x, y = small.experiment.objects["waves"]()
    x = (x.double() - torch.tensor(recipe["standardize"]["mean"]).double()) / torch.tensor(
        recipe["standardize"]["scale"]
    ).double()
    x, y = x.float()[42:54], y[42:54]  # in order: 42 to train on, then 12, then 6
    hidden = torch.relu(x @ w["hidden.0.0.weight"].T + w["hidden.0.0.bias"])
    outputs = hidden @ w["output.weight"].T + w["output.bias"]
    best = record["best"]["metrics"]
    assert (outputs.argmax(1) == y).double().mean().item() == best["val/accuracy"]
    loss = torch.nn.functional.cross_entropy(outputs, y).item()
    assert loss == pytest.approx(best["val/loss"], rel=1e-5)
    with safe_open(folder / PREDICTIONS, "pt") as file:
        assert torch.equal(file.get_tensor("targets"), y)
        torch.testing.assert_close(file.get_tensor("outputs"), outputs)


def test_regression_is_recorded_the_same_way(small, tmp_path):
    run = small.run(task="regression", data={"name": "slopes", "columns": 2}, loss="mse")
    train(run, tmp_path / "r")
    record = RunFolder(tmp_path / "r").verified_record()
    assert record.best.confusion_matrix is None
    assert {"val/mae", "val/mse", "val/r2", "val/loss", "train/loss"} == set(record.best.metrics)
    weights = RunFolder(tmp_path / "r").weights()
    assert weights["output.weight"].shape == (2, 8)


def test_a_metric_without_a_direction_is_recorded(small, tmp_path):
    metrics = ["PearsonCorrCoef"]
    run = small.run(task="regression", data="slopes", loss="mse", metrics=metrics)
    assert train(run, tmp_path / "r")[-1].ended == "complete"
    record = RunFolder(tmp_path / "r").verified_record()
    assert record.facts.directions == {"val/pearson_corr_coef": None}
    assert -1 <= record.best.metrics["val/pearson_corr_coef"] <= 1


QUIET = """
class Quiet(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.head = nn.Linear(in_features, num_classes)

    def train(self, mode=True):
        super().train(mode)

    def eval(self):
        super().train(False)

    def forward(self, x):
        return self.head(x)
"""


def test_a_model_whose_train_and_eval_return_nothing_is_trained_and_evaluated(
    write_small, tmp_path
):
    small = write_small(QUIET)
    run = small.run(model="Quiet")
    assert train(run, tmp_path / "r")[-1].ended == "complete"
    record, weights = (
        RunFolder(tmp_path / "r").verified_record(),
        RunFolder(tmp_path / "r").weights(),
    )
    evaluation = engine_of(run.engine).evaluate(Job((run,), small.resolver), weights, "val")
    assert evaluation.metrics["accuracy"] == record.best.metrics["val/accuracy"]
    layers = small.resolver.summary(run.requested, "auto")["model"]["layers"]
    assert [(layer["name"], layer["output_shape"]) for layer in layers] == [("head", ["N", 3])]


def test_one_flipped_byte_in_any_file_is_found_and_named(finished):
    _, folder, _ = finished
    for name in sorted(FILES):
        path = folder / name
        content = path.read_bytes()
        for at in {0, len(content) // 2, len(content) - 1}:
            flipped = bytearray(content)
            flipped[at] ^= 1
            path.write_bytes(flipped)
            with pytest.raises(DamagedError) as caught:
                RunFolder(folder).verified_record()
            if name != MANIFEST:
                assert name in str(caught.value)
                assert caught.value.kind == "damaged"
        path.write_bytes(content)
    RunFolder(folder).verified_record()


def test_a_missing_file_is_named_and_weights_are_never_read_unproven(finished):
    _, folder, _ = finished
    best = (folder / BEST).read_bytes()
    (folder / BEST).unlink()
    with pytest.raises(DamagedError, match=r"best\.safetensors: is missing"):
        RunFolder(folder).verified_record()
    (folder / BEST).write_bytes(best[:-1] + bytes([best[-1] ^ 1]))
    with pytest.raises(DamagedError, match=r"best\.safetensors"):
        RunFolder(folder).weights()


@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize("every", [0, 1e9])
def test_stopped_and_taken_up_again_it_is_the_same_run(stop, every, small, tmp_path):
    run = small.run(model={"name": "Net", "rate": 0.3}, scheduler="cosine")
    train(run, tmp_path / "whole")
    train(run, tmp_path / "parts", stop, every)
    assert not is_finished(tmp_path / "parts")
    assert load_state(tmp_path / "parts" / LAST)["epoch"] == stop
    rest = train(run, tmp_path / "parts")
    assert [p.line["epoch"] for p in rest] == list(range(stop + 1, 5))
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    assert without_times(parts.history()) == without_times(whole.history())
    first, second = whole.record(), parts.verified_record()
    for key in ("best", "last", "weights_sha256", "initial_weights", "identity"):
        assert getattr(first, key) == getattr(second, key), key
    same = whole.weights()
    assert all(torch.equal(value, same[name]) for name, value in parts.weights().items())


def test_a_clock_of_zero_saves_each_epoch(small, tmp_path):
    run = small.run()
    folder = tmp_path / "a"
    folder.mkdir()
    for number, _ in enumerate(train_job((run,), {run.id: folder}, 0), start=1):
        if number < 4:
            assert load_state(folder / LAST)["epoch"] == number
            assert (folder / BEFORE).exists() is (number > 1)
    assert load_state(folder / LAST)["epoch"] == 3  # the finished run is saved as a whole
    assert set(json.loads((folder / MANIFEST).read_text())) == FILES - {MANIFEST}


def test_a_long_clock_saves_only_at_the_stop(small, tmp_path):
    run = small.run()
    folder = tmp_path / "a"
    folder.mkdir()
    progress = train_job((run,), {run.id: folder}, 1e9)
    next(progress)
    next(progress)
    assert files_of(folder) == set()
    progress.close()
    assert files_of(folder) == {LAST}


@pytest.mark.parametrize("how", ["truncated", "flipped", "empty"])
def test_a_damaged_state_is_named_and_not_used(how, small, tmp_path):
    run = small.run(model={"name": "Net", "rate": 0.3})
    train(run, tmp_path / "whole")
    train(run, tmp_path / "parts", stop=3, every=0)
    last = tmp_path / "parts" / LAST
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.unlink()
    last.write_bytes({"truncated": content[:100], "flipped": content, "empty": b""}[how])
    said, *progress = train(run, tmp_path / "parts")
    assert said.message == (
        f"{last}: does not hold what was written (sha256 differs). {run.id} begins at the start."
    )
    assert [p.line["epoch"] for p in progress] == [1, 2, 3, 4]
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    assert without_times(parts.history()) == without_times(whole.history())
    assert parts.record().weights_sha256 == whole.record().weights_sha256


@pytest.mark.parametrize("state", [{"epoch": 1}, {"epoch": 1, "history": [], "format": 0}, {}])
def test_a_state_of_another_program_is_named_and_not_used(state, small, tmp_path):
    run = small.run()
    (tmp_path / "a").mkdir()
    save_state(tmp_path / "a", state)
    said, *progress = train(run, tmp_path / "a")
    assert "is no resume state of this version" in said.message
    assert [p.line["epoch"] for p in progress] == [1, 2, 3, 4]


def test_a_run_that_is_not_finite_is_recorded_as_failed(small, tmp_path):
    run = small.run(optimizer={"name": "sgd", "lr": 1e30})
    progress = train(run, tmp_path / "f")
    assert progress[-1].ended == "failed"
    assert files_of(tmp_path / "f") == FILES - {BEST, PREDICTIONS}
    verify_manifest(tmp_path / "f")
    record = strict_json((tmp_path / "f" / RECORD).read_text())
    assert record["status"] == "failed"
    assert record["reason"] == progress[-1].reason
    assert record["reason"].startswith("non-finite: ")
    assert record["best"] is None
    lines = [strict_json(x) for x in (tmp_path / "f" / HISTORY).read_text().splitlines()]
    assert len(lines) == record["epochs"] == len(progress)
    assert None in lines[-1]["metrics"].values()
    with pytest.raises(RequestError, match="failed and has no weights"):
        RunFolder(tmp_path / "f").weights()


FRAGILE = """
STEPS = []


class Fragile(nn.Linear):
    def __init__(self, in_features: int, num_classes: int, steps: int = 5):
        super().__init__(in_features, num_classes)
        self.left = steps

    def forward(self, x):
        if self.training:
            self.left -= 1
        if self.left < 0:
            raise KeyError("worn out")
        return super().forward(x)
"""


@pytest.mark.parametrize(("steps", "epochs"), [(5, 1), (1, 0)])
def test_a_component_that_raises_fails_its_run_and_says_where(steps, epochs, write_small, tmp_path):
    small = write_small(FRAGILE)
    run = small.run(model={"name": "Fragile", "steps": steps})
    progress = train(run, tmp_path / "f")
    number = small.path.read_text().splitlines().index('            raise KeyError("worn out")') + 1
    assert progress[-1].ended == "failed"
    record = RunFolder(tmp_path / "f").verified_record()
    assert record.status == "failed"
    assert record.reason == f"exception: KeyError: 'worn out' (small.py, line {number})"
    assert len(RunFolder(tmp_path / "f").history()) == record.epochs == epochs
    assert BEST not in files_of(tmp_path / "f")


def test_what_is_not_the_planned_run_is_not_trained(small, tmp_path):
    run = small.run()
    small.path.write_text(small.path.read_text().replace("SCALE = 0.8", "SCALE = 0.7"))
    (tmp_path / "a").mkdir()
    (progress,) = train(run, tmp_path / "a")
    assert progress.ended == "attempt"
    assert "what would be trained is not what was planned" in progress.reason
    assert "small.py: " in progress.reason
    assert files_of(tmp_path / "a") == set()


def test_a_full_disk_leaves_an_attempt_and_no_temporary_file(small, tmp_path):
    run = small.run()
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / RECORD).mkdir()  # the record cannot take its place
    (folder / RECORD / "in the way").touch()
    progress = train(run, folder)
    assert progress[-1].ended == "attempt"
    assert progress[-1].reason.startswith("disk: ")
    assert not [name for name in files_of(folder) if name.endswith(".tmp")]
    assert not is_finished(folder)

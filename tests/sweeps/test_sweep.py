"""A sweep, end to end: what it trains, what it says, and that nothing but content decides bits."""

import json
import shutil

import pytest
from troubled import Troubled

from paribus.core.errors import Faults, RequestError
from paribus.core.records.run_dir import BEST, HISTORY
from paribus.sweeps.execution.driver import USUAL
from paribus.sweeps.study.request import read_option
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study
from paribus.sweeps.tracking.tracker import Tracker

LR = "optimizer.lr=0.1"
TROUBLES = "model.trouble=raise,nan"


class Noted:
    """A tracker that keeps what it is told, by run."""

    def __init__(self):
        self.told = {}

    def begin(self, run):
        assert run.run not in self.told
        self.told[run.run] = {"begun": run, "epochs": [], "finished": None}

    def log(self, run, epoch):
        self.told[run]["epochs"].append(epoch)

    def finish(self, run, record, history, delta):
        assert self.told[run]["finished"] is None
        self.told[run]["finished"] = (record, [epoch.to_json() for epoch in history])

    def close(self):
        pass


def test_making_a_sweep_creates_nothing(troubled):
    planned = troubled.plan(LR, seeds=[0])
    assert planned.counts == {"planned": 2, "trained": 0, "reused": 0, "failed": 0}
    assert [(s.label, s.changed) for s in planned.settings] == [
        ("baseline", {}),
        (LR, {"optimizer.lr": [0.01, 0.1]}),
    ]
    assert sorted(p.name for p in troubled.folder.iterdir()) == ["experiment"]


def test_without_axes_the_experiments_own_are_swept(troubled):
    labels = [s.label for s in troubled.plan(seeds=[0]).settings]
    assert labels == ["baseline", LR, "train.batch_size=8"]


def test_runs_that_fail_by_themselves_are_recorded_and_the_study_goes_on(troubled):
    done = troubled.sweep(TROUBLES, LR, seeds=[0, 1])
    assert done.sweep.counts == {"planned": 8, "trained": 8, "reused": 0, "failed": 4}
    status = {r.setting.label: r.status for r in done.study.results()}
    assert status == {
        "baseline": "complete",
        "model.trouble=raise": "failed",
        "model.trouble=nan": "failed",
        LR: "complete",
    }
    raised = done.result("model.trouble=raise")
    line = 1 + troubled.path.read_text().split("raise ValueError")[0].count("\n")
    assert f"ValueError: the net gave up (troubled.py, line {line})" in raised.reason
    assert "non-finite: train/loss is nan at epoch 2" in done.result("model.trouble=nan").reason
    assert raised.mean is None
    assert done.sweep.document()["best"] in ("baseline", LR)
    for run in raised.runs:
        folder = troubled.root.run(run)
        assert folder.verified_record().status == "failed"
        assert [line.epoch for line in folder.history()] == [1]
        assert (folder.folder / HISTORY).is_file()
        assert not (folder.folder / BEST).exists()
    again = troubled.sweep(TROUBLES, LR, seeds=[0, 1])
    assert again.trained == []  # finished is finished
    assert again.sweep.counts == {"planned": 8, "trained": 0, "reused": 8, "failed": 4}
    json.dumps(again.sweep.document(), allow_nan=False)


def test_where_everything_fails_nothing_is_best(troubled):
    done = troubled.sweep(LR, seeds=[0], overrides=("model.trouble=nan",))
    assert done.sweep.document()["best"] is None
    assert {s.status for s in done.sweep.comparison().settings} == {"failed"}


def test_the_tracker_hears_everything_once(troubled):
    def sweep(tracker, *axes):
        planned = troubled.plan(*axes, seeds=[0], name="study")
        list(planned.train(tracker, USUAL))
        return tracker.told

    told = sweep(Noted(), LR, TROUBLES)
    assert len(told) == 4
    by_label = {one["begun"].label: one for one in told.values()}
    for label, one in by_label.items():
        record, history = one["finished"]
        assert one["epochs"] == history
        assert len(history) == (1 if label.endswith("raise") else 2 if "nan" in label else 3)
        assert record.run == one["begun"].run
        assert record.status == ("failed" if "trouble" in label else "complete")
    assert by_label[LR]["begun"].changed == "optimizer.lr"
    assert by_label["baseline"]["begun"].changed == ""
    again = sweep(Noted(), LR, TROUBLES)
    assert {run: one["finished"] for run, one in again.items()} == {
        run: one["finished"] for run, one in told.items()
    }
    assert all(one["epochs"] == [] for one in again.values())


def test_a_clean_stop_and_the_same_command_again(troubled):
    slowly = {"overrides": ("train.epochs=30",), "seeds": [0, 1]}
    troubled.switch("slow")
    seen = []
    planned = troubled.plan(LR, name="study", **slowly)
    for step in planned.train(Tracker(), USUAL, stop=lambda: len(seen) > 2):
        seen.append(step)
    begun = {step.run.id for step in seen}
    assert planned.counts["trained"] == 0
    assert {p.name.rsplit(".")[0] for p in troubled.root.attempts.iterdir()} == begun
    assert all((p / "last.pt").is_file() for p in troubled.root.attempts.iterdir())
    assert {r.status for r in planned.results()} == {"interrupted"}
    assert len(Study.load(troubled.root, "study").settings) == 2  # asked, before it happened
    troubled.switch("slow", on=False)
    again = troubled.sweep(LR, **slowly)
    assert len(again.trained) == 4
    epochs = [s.progress.line["epoch"] for s in [*seen, *again.steps] if s.run.id in begun]
    assert sorted(epochs) == sorted([*range(1, 31)] * len(begun))
    elsewhere = troubled.sweep(LR, root=ResultsDir(troubled.folder / "elsewhere"), **slowly)
    assert elsewhere.hashes == again.hashes


def test_bits_follow_from_content_alone(troubled):
    first = troubled.sweep(LR, "train.batch_size=8")
    other = troubled.sweep(
        "train.batch_size=8", LR, seeds=[1, 0], root=ResultsDir(troubled.folder / "b"), name="x"
    )
    assert other.hashes == first.hashes
    assert {s.label: s.runs for s in other.study.settings} == {
        s.label: s.runs for s in first.study.settings
    }
    assert len(set(first.hashes.values())) == 6


def test_a_comment_trains_nothing_anew_and_a_changed_model_does(troubled):
    before = troubled.sweep(LR, seeds=[0])
    troubled.replace("def suffer(self):", "# why\n    def suffer(self):\n        '''Suffers.'''\n")
    commented = troubled.sweep(LR, seeds=[0])
    assert (commented.trained, commented.sweep.notes) == ([], [])
    troubled.replace("torch.relu(", "torch.tanh(")
    changed = troubled.sweep(LR, seeds=[0])
    assert len(changed.trained) == 2
    assert not set(changed.hashes.values()) & set(before.hashes.values())
    (note,) = changed.sweep.notes
    assert "troubled.py: changed" in note
    assert "sha" not in note
    assert len(note) < 100
    troubled.replace("torch.tanh(", "torch.relu(")
    assert troubled.sweep(LR, seeds=[0]).hashes == before.hashes


def test_an_edit_leaves_seeds_of_the_old_code_out_of_the_table(troubled):
    troubled.sweep(LR, seeds=[0, 1])
    troubled.replace("torch.relu(", "torch.tanh(")
    troubled.sweep(LR, seeds=[0])
    found = Study.load(troubled.root, "study").results()
    assert [(r.seeds, r.status) for r in found] == [((0,), "interrupted")] * 2
    troubled.sweep(LR, seeds=[0, 1])
    found = Study.load(troubled.root, "study").results()
    assert [(r.seeds, r.status) for r in found] == [((0, 1), "complete")] * 2


def test_two_settings_that_are_one_run_train_it_once(troubled):
    own = "optimizer=adam(lr=0.1)"
    done = troubled.sweep(LR, own, seeds=[0])
    assert len(done.trained) == 2
    assert done.sweep.counts["planned"] == 2
    assert done.study.find(LR).runs == done.study.find(own).runs
    assert {r.status for r in done.study.results()} == {"complete"}


def test_two_studies_share_runs(troubled):
    first = troubled.sweep(LR, seeds=[0], name="a")
    second = troubled.sweep(LR, "train.batch_size=8", seeds=[0], name="b")
    assert len(second.trained) == 1
    assert second.sweep.counts == {"planned": 3, "trained": 1, "reused": 2, "failed": 0}
    shutil.rmtree(troubled.root.studies / "a")
    assert {k: second.hashes[k] for k in first.hashes} == first.hashes


def test_a_damaged_run_is_trained_anew_and_what_is_shown_is_the_new_one(troubled):
    before = troubled.sweep(LR, seeds=[0])
    file = troubled.root.runs / before.study.find(LR).runs[0] / "run.json"
    record = json.loads(file.read_text())
    record["best"]["metrics"]["val/accuracy"] = 0.999
    file.write_text(json.dumps(record))
    after = troubled.sweep(LR, seeds=[0])
    assert len(after.trained) == 1
    assert after.result(LR).values == before.result(LR).values
    assert after.sweep.document()["settings"][1]["values"] != [0.999]


def test_names_that_leave_the_root_are_refused(troubled):
    for name in ("../x", "/x", "a\0b", "x" * 5000):
        with pytest.raises(RequestError, match="is no name for a study"):
            troubled.plan(LR, name=name)
    assert not troubled.root.path.exists()


def test_read_seeds():
    faults = Faults()
    assert read_option("seeds", "3", faults) == [0, 1, 2]
    assert read_option("seeds", "3, 7,11", faults) == [3, 7, 11]
    assert not faults.found
    wrong = ("", "0", "-1", "a", "1,1", "1.5", "3,", "1e2", "²", "9" * 10)
    for number, text in enumerate(wrong, 1):
        assert read_option("seeds", text, faults) is None
        assert len(faults.found) == number


def test_studies_of_two_experiments_lie_side_by_side(troubled, workplace, tmp_path):
    troubled.sweep(LR, seeds=[0], name="a")
    other = Troubled(tmp_path / "other", workplace)
    other.replace("0.8 * kind", "0.1 * kind")
    done = other.sweep(LR, seeds=[0], name="b", root=troubled.root)
    assert len(done.trained) == 2
    assert troubled.root.study_names() == ["a", "b"]

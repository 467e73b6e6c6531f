"""TensorBoard's files, read back by TensorBoard's own reader: a sweep's, its repetition's."""

import json
import sys

import pytest
from commands import refused
from small_experiment import SMALL

pytest.importorskip("tensorboard")

SWEEP = ("sweep", "small.py", "lr=0.1", "--study", "s", "--seeds", "2", "--workers", "1")


@pytest.fixture(scope="module")
def call(paribus, tmp_path_factory):
    """Calls commands where a study is that was swept with TensorBoard."""
    folder = tmp_path_factory.mktemp("tensorboard")
    (folder / "small.py").write_text(SMALL)

    def call(*words, root="r"):
        return paribus(*words, "--root", folder / root, cwd=folder)

    call.folder, call.board = folder, folder / "r" / "tensorboard"
    call.swept = call(*SWEEP, "--track", "tensorboard")
    assert call.swept.code == 0, call.swept
    return call


def files(board):
    return {path.relative_to(board).parent: path for path in board.rglob("*tfevents*")}


def read(path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(path))
    found.Reload()
    return found


def hyperparameters(found):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    return HParamsPluginData.FromString(content).session_start_info


def test_a_folder_for_each_run_and_one_line_that_says_how_to_look(call):
    settings = ("baseline", "optimizer.lr=0.1")
    runs = {f"s/{setting}-s{seed}" for setting in settings for seed in (0, 1)}
    assert {str(folder) for folder in files(call.board)} == runs
    assert call.swept.err.count("TensorBoard") == 1
    assert f"tensorboard --logdir {call.board}" in call.swept.err
    assert not (call.board.parent / "wandb").exists()


def test_curves_final_numbers_and_hyperparameters_are_the_record_s(call):
    document = call("compare", "s", "--json").json
    baseline, level = document["settings"]
    found = read(files(call.board)[next(f for f in files(call.board) if f.name.endswith("0.1-s0"))])
    run = call.board.parent / "runs" / level["runs"][0]
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    for name in ("train/loss", "val/accuracy"):
        events = found.Scalars(name)
        assert [event.step for event in events] == [1, 2, 3, 4]
        wanted = [epoch["metrics"][name] for epoch in history]
        assert [event.value for event in events] == pytest.approx(wanted, rel=1e-6)
    differences = [a - b for a, b in zip(level["values"], baseline["values"], strict=True)]
    assert found.Scalars("best/accuracy")[0].value == pytest.approx(level["values"][0], rel=1e-6)
    assert found.Scalars("delta")[0].value == pytest.approx(differences[0], abs=1e-6)
    begun = hyperparameters(found)
    assert begun.hparams["optimizer.lr"].number_value == 0.1
    assert begun.hparams["setting"].string_value == "optimizer.lr=0.1"
    assert begun.group_name == "s: optimizer.lr=0.1"  # its seeds are averaged
    assert "seed" not in begun.hparams
    matrix = found.Tensors("best/confusion_matrix")[0].tensor_proto.string_val[0].decode()
    recorded = json.loads((run / "run.json").read_text())["best"]["confusion_matrix"]
    rows = [line.strip("|").split("|")[1:] for line in matrix.splitlines()[2:]]
    assert [[int(cell) for cell in row] for row in rows] == recorded


def test_the_same_command_writes_nothing_twice_and_what_is_missing(call):
    times = {path: path.stat().st_mtime_ns for path in files(call.board).values()}
    again = call(*SWEEP, "--track", "tensorboard")
    assert again.code == 0
    assert "TensorBoard" not in again.err
    assert {p: p.stat().st_mtime_ns for p in files(call.board).values()} == times
    lost = next(iter(times))
    scalars = read(lost).Scalars("val/loss")
    lost.unlink()
    assert call(*SWEEP, "--track", "tensorboard").code == 0
    assert read(lost).Scalars("val/loss") == scalars  # at the record's times, too
    assert {*files(call.board).values()} == {*times}


def test_a_file_of_older_contents_gives_way(call):
    folder = next(path.parent for path in files(call.board).values() if "-s1" in str(path))
    (current,) = folder.iterdir()
    old = current.rename(folder / "events.out.tfevents.0.0123")
    assert call(*SWEEP, "--track", "tensorboard").code == 0
    assert not old.exists()
    assert [*folder.iterdir()] == [current]


def test_where_it_cannot_write_training_goes_on_with_one_warning(call):
    root = call.folder / "odd"
    root.mkdir()
    (root / "tensorboard").write_text("no folder")
    done = call(*SWEEP, "--track", "tensorboard", root="odd")
    assert done.code == 0
    assert done.err.count("TensorBoard: ") == 1
    assert "Not a directory" in done.err
    assert call("runs", "--json", root="odd").code == 0


def test_two_trackers_and_none(call):
    both = call("run", "small.py", "--track", "wandb,tensorboard", root="both")
    assert both.code == 0, both
    assert {path.name for path in (call.folder / "both").iterdir()} >= {"wandb", "tensorboard"}
    for words in (("--track", "none"), ("--no-wandb",)):
        assert call("run", "small.py", *words, root="none").code == 0
    assert not {"wandb", "tensorboard"} & {path.name for path in (call.folder / "none").iterdir()}


def test_an_unknown_tracker_is_reported_with_the_other_faults(call):
    done = call("sweep", "small.py", "lr=x", "--track", "wnb,tensorboard", root="refused")
    assert "There is no tracker 'wnb'. Choose none, tensorboard or wandb" in done.err
    assert "optimizer.lr" in done.err
    assert done.code == 2
    assert not (call.folder / "refused").exists()
    alone = call("run", "small.py", "--track", "wnb", root="refused")
    assert len(refused(alone, call.folder / "refused", "'wnb'")) == 1


def test_without_the_library_it_is_refused_before_training(tmp_path, monkeypatch):
    import paribus
    from paribus.core.errors import RequestError

    importing = ("paribus.sweeps.tracking.tensorboard", "torch.utils.tensorboard", "tensorboard")
    for name in [name for name in sys.modules if name.startswith(importing)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(RequestError, match="tensorboard: No module named") as error:
        paribus.train("line", root=tmp_path / "r", track="tensorboard")
    assert "pip install 'paribus[tensorboard]'" in str(error.value)
    assert not (tmp_path / "r").exists()

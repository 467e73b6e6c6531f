"""Folds on the command line: what is refused, and studies that were made before there were any."""

import json

import pytest
from manifest import write_manifest
from small_experiment import SMALL

from paribus.core.config.schema import Split
from paribus.core.data.load import load
from paribus.core.data.prepare import prepare
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study, _digest

CLIPPED = SMALL.replace('root: str = ""', "clip: bool = False").replace(
    "kind[:, None], kind\n",
    "kind[:, None] - clip * (torch.arange(n) == ROW)[:, None].int(), kind\n",
)
READY = SMALL.replace(
    "kind[:, None], kind",
    "kind[:, None], kind\n\n\ndef ready():\n    (x, y), (v, w) = waves(40), waves(20)\n"
    '    return {"train": (x, y), "val": (v, w)}',
)
RARE = SMALL.replace("kind = torch.arange(n) % 3", "kind = (torch.arange(n) == 7).long()")


@pytest.fixture
def call(paribus, tmp_path):
    def call(text, *words):
        (tmp_path / "small.py").write_text(text)
        tracked = ["--no-wandb"] if words[0] in ("run", "sweep", "finalize") else []
        return paribus(*words, *tracked, "--root", tmp_path / "r", cwd=tmp_path)

    call.root = ResultsDir(tmp_path / "r")
    return call


def sweep(*words):
    return ("sweep", "small.py", "optimizer.lr=0.1", *words)


def validated(fold):
    """The first example that a seed of this fold validates on."""
    import torch

    kind = torch.arange(60) % 3
    source = load(
        lambda: (torch.arange(60.0)[:, None], kind), {}, name="d", seed=0, targets="classes"
    )
    split = Split(method="stratified", folds=5)
    return int(prepare(source, split, standardize=False, fold=fold).val.inputs[0, 0])


def test_a_change_of_data_is_compared_in_every_fold(call):
    text = CLIPPED.replace("ROW", str(validated(3)))
    for seeds, code in (("0,1", 0), ("5", 2), ("1,8", 2)):
        done = call(text, "sweep", "small.py", "data.clip=true", "--dry-run", "--seeds", seeds)
        assert done.code == code, done
        assert code == 0 or "data.clip=true changes the validation examples" in done.err


def test_weights_of_a_run_begin_no_run_that_validates_on_what_they_saw(call):
    assert call(SMALL, "run", "small.py").code == 0
    (run,) = call.root.runs.iterdir()
    start = f"train.start_from={run / 'best.safetensors'}"
    assert call(SMALL, "run", "small.py", start, "--seed", "5").code == 0  # of the same fold
    for words in (("--seed", "1"), ("split.seed=1",), ("split.folds=1",)):
        done = call(SMALL, "run", "small.py", start, *words)
        assert done.code == 2
        assert "was trained on examples of this data that this run validates on" in done.err
        assert "Train both with the same split and split.folds=1" in done.err
    assert call(SMALL, "run", "small.py", start, "data.shift=1.0", "--seed", "1").code == 2
    assert call(SMALL, "run", "small.py", start, "data.n=50", "--seed", "1").code == 0


def test_counts_are_over_the_folds_that_the_seeds_validate_on(call):
    """51 of 60 examples are not for testing; one of them is in no fold."""
    for seeds, folds, examples, over in (
        ("0,5", 1, 10, "mean over 2 seeds"),
        ("5", 5, 50, "sum over the 5 folds of 5 seeds"),
        ("10", 5, 50, "sum over the 5 folds of 10 seeds"),
    ):
        study = f"s{seeds.replace(',', '-')}"
        assert call(SMALL, *sweep("--seeds", seeds, "--study", study)).code == 0
        found = call(SMALL, "compare", study, "--json").json
        assert found["folds"] == folds
        assert (found["settings"][1]["this_part"] is None) == (folds > 1)
        page = (call.root.studies / study / "report.html").read_text()
        assert f"of the best epoch on {examples} validation examples, {over};" in page


def test_one_of_folds_and_share_is_set(call):
    done = call(SMALL, *sweep("--set", "split.folds=3", "--set", "split.val_fraction=0.2"))
    assert done.code == 2
    assert "split.folds and split.val_fraction both say what validates. Set one." in done.err


def test_another_split_is_named_as_it_was_given(call):
    few = ("--seeds", "2", "--study", "s")
    assert call(SMALL, *sweep("--set", "split.folds=1", *few)).code == 0
    done = call(SMALL, *sweep(*few))
    assert "another baseline (split.folds: 1 there, none here)." in done.err


def test_a_class_of_one_example_is_refused_with_what_helps(call):
    for words in ((), ("split.folds=1",)):
        done = call(RARE, "run", "small.py", *words)
        assert done.code == 2
        assert "in class '1' (1). Give more examples of it, or leave it out." in done.err


def test_a_fault_of_a_later_fold_is_found_before_training(call):
    text = SMALL.replace("kind = torch.arange(n) % 3", "kind = (torch.arange(n) > 58).long()")
    for seed in range(3):  # the only example of its class is in some fold each time
        split = ("split.method=random", "split.test_fraction=0", f"split.seed={seed}")
        sets = [word for text in split for word in ("--set", text)]
        for words in (sweep("--until-decided", *sets), ("check", "small.py", *split)):
            done = call(text, *words)
            assert done.code == 2
            assert "has classes that training never sees" in done.err
            assert not call.root.runs.exists()


def as_before_folds(root, name, **fields):
    """Write a study's file as it was written before there were folds."""
    file = root.studies / name / "study.json"
    content = json.loads(file.read_text())
    content.pop("sha256")
    split = content["baseline"]["split"]
    split.pop("folds")
    split["val_fraction"] = split["val_fraction"] or 0.15
    content |= fields
    file.write_text(json.dumps({**content, "sha256": _digest(content)}))


@pytest.mark.parametrize(
    ("text", "one_part", "goes_on_with"),
    [
        (SMALL, "split.folds=1", "split.folds=1"),
        (SMALL, "split.val_fraction=0.25", "split.val_fraction=0.25"),
        (READY, "data=ready", "split.folds=1"),
    ],
)
def test_a_study_made_before_folds_goes_on(call, text, one_part, goes_on_with):
    text = text.replace('"data": waves', '"data": ready') if text is READY else text
    asked = () if text != SMALL else ("--set", one_part)
    assert call(text, *sweep("--study", "s", "--seeds", "2", *asked)).code == 0
    as_before_folds(call.root, "s")
    done = call(text, *sweep("--study", "s", "--seeds", "3"))
    assert done.code == 0, done
    assert f"s was made before there were folds: it goes on with {goes_on_with}." in done.err
    (new,) = [one.runs[2] for one in Study.load(call.root, "s").settings if one.key is None]
    split = call.root.run(new).record().configuration["split"]
    assert "folds" not in split


def test_a_study_goes_on_with_the_looks_it_was_begun_with(call):
    words = ("--study", "s", "--until-decided")
    assert call(SMALL, *sweep(*words, "--max-seeds", "5")).code == 0
    as_before = json.loads((call.root.studies / "s" / "study.json").read_text())
    as_before.pop("sha256")
    as_before["looks"] = [3, 4, 5]
    file = call.root.studies / "s" / "study.json"
    file.write_text(json.dumps({**as_before, "sha256": _digest(as_before)}))
    for more in ((), ("--max-seeds", "5")):
        done = call(SMALL, *sweep(*words, *more))
        assert done.code == 0, done
        assert "looks after 3, 4, 5" in done.out
        assert Study.load(call.root, "s").requested.looks == (3, 4, 5)
    assert "was begun with --max-seeds 5" in call(SMALL, *sweep(*words, "--max-seeds", "8")).err


def test_a_final_run_that_failed_is_no_model(call):
    assert call(SMALL, *sweep("--study", "s", "--seeds", "2")).code == 0
    done = call(SMALL, "finalize", "s", "baseline", "--json")
    run = done.json["run"]
    assert Study.load(call.root, "s").final_of("baseline").id == run
    file = call.root.runs / run / "run.json"
    record = json.loads(file.read_text()) | {"status": "failed", "reason": "it was", "best": None}
    file.write_text(json.dumps(record))
    write_manifest(file.parent)
    assert Study.load(call.root, "s").final_of("baseline") is None


def test_a_later_command_tells_of_the_whole_study(call):
    few = ("--seeds", "2", "--study", "s")
    assert call(SMALL, *sweep(*few)).code == 0
    lines = call(SMALL, "sweep", "small.py", "optimizer.lr=0.0001", *few).out.splitlines()
    assert any(line.startswith("s, 2 settings: ") for line in lines)
    best = next(line for line in lines if line.startswith("best model, to be trained"))
    assert best in call(SMALL, "compare", "s").out.splitlines()


def test_after_finalize_the_final_model_is_what_is_named(call):
    assert call(SMALL, *sweep("--seeds", "2", "--study", "s")).code == 0
    call(SMALL, "evaluate", "s", "--split", "test")
    done = call(SMALL, "finalize", "s", "baseline")
    assert "Next, once" not in done.out  # the test part was read with the study
    run = next(line for line in done.out.splitlines() if line.startswith("run "))[4:]
    assert (
        f"s is a study. Its final model is of {run}." in call(SMALL, "predict", "s", "1,2,3,4").err
    )

"""Precision, accumulation, averaged weights and parameter groups on the command line."""

import json

from processes import Started, wait_until

from paribus.sweeps.study.results_dir import ResultsDir

BF16 = ("train.precision=bf16", "train.accumulate=2", "train.ema=0.9", "train.batch_size=32")


def test_bf16_is_a_study_with_a_verdict(paribus, tmp_path):
    words = ("digits", "train.precision=bf16", "--set", "train.epochs=8", "--seeds", "5")
    done = paribus("sweep", *words, "--no-wandb", "--root", tmp_path, "--json")
    assert done.code == 0, done
    _, level = json.loads(done.out)["settings"]
    assert level["label"] == "train.precision=bf16"
    assert level["changed"] == {"train.precision": ["fp32", "bf16"]}
    assert level["derived"] == {"engine": ["cohort", "loop"]}
    study = json.loads(done.out)["study"]
    done = paribus("compare", study, "--root", tmp_path, "--json")
    assert [row["verdict"] for row in json.loads(done.out)["settings"]] == [None, "equivalent"]
    root = ResultsDir(tmp_path)
    trained = [root.finished(run) for run in root.run_ids()]
    assert sorted(r.configuration["train"].get("precision", "idle") for r in trained) == (
        ["bf16"] * 5 + ["idle"] * 5
    )
    (one, *_) = [r for r in trained if "precision" in r.configuration["train"]]
    for command in ("evaluate", "reproduce"):
        done = paribus(command, one.run, "--root", tmp_path, "--json")
        assert done.code == 0, done
        assert command == "reproduce" or json.loads(done.out)["differs"] == {}


def test_a_killed_run_ends_with_the_bits_of_one_that_was_not(paribus, tmp_path):
    words = ("run", "digits", *BF16, "train.epochs=60", "--no-wandb", "--checkpoint-every", "0")
    started = Started([*words, "--root", tmp_path / "killed"], cwd=tmp_path)
    wait_until(lambda: [*(tmp_path / "killed").glob("attempts/*/last.1.pt")])
    started.kill()
    assert not ResultsDir(tmp_path / "killed").run_ids()
    found = []
    for root in ("killed", "whole"):
        done = paribus(*words, "--root", tmp_path / root)
        assert done.code == 0, done
        (run,) = ResultsDir(tmp_path / root).run_ids()
        record = ResultsDir(tmp_path / root).finished(run)
        found.append((record.run, record.weights_sha256, record.best.metrics))
    assert found[0] == found[1]


def test_groups_are_axes(paribus, tmp_path):
    words = (
        "digits", 'optimizer.lr_scale={"output": 0.1},{"hidden": 0.1, "output": 0.5}',
        "optimizer.no_weight_decay=norm_bias", "optimizer.weight_decay=0", "--dry-run",
    )  # fmt: skip
    decays = ("--set", "optimizer.weight_decay=0.1", "--root", tmp_path, "--json")
    done = paribus("sweep", *words, *decays)
    assert done.code == 0, done
    assert [row["label"] for row in json.loads(done.out)["settings"]] == [
        "baseline",
        'optimizer.lr_scale={"output": 0.1}',
        'optimizer.lr_scale={"hidden": 0.1, "output": 0.5}',
        "optimizer.no_weight_decay=norm_bias",
        "optimizer.weight_decay=0.0",
    ]
    done = paribus("sweep", "digits", "optimizer.no_weight_decay=norm_bias", "--root", tmp_path)
    assert done.code == 2
    assert "optimizer.no_weight_decay=norm_bias changes nothing" in done.err
    done = paribus("show", "digits", "optimizer.no_weight_decay=[*.bais]", "--root", tmp_path)
    assert done.code == 2
    done = paribus("show", "digits", 'optimizer.lr_scale={"outptu": 0.1}', "--root", tmp_path)
    assert done.code == 2
    assert "optimizer.lr_scale: 'outptu' means no parameter that is trained. Did" in done.err

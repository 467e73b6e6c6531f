"""Results of other tools: whatever file they come from, the same numbers get the same verdicts."""

import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import wandb
from commands import refused
from wandb_server import WandbServer

import paribus as public
from paribus.core.errors import RequestError

LEVELS = [(0.001, 64), (0.01, 64), (0.001, 128), (0.01, 128)]  # the last is two changes away
SEEDS = (0, 1, 2, 3)


def _runs():
    """Configuration, seed, accuracy, state of each run, as a search over a grid leaves them."""
    rng = np.random.default_rng(7)
    return [
        ({"lr": lr, "width": width, "opt": "adam"}, seed, acc, "finished")
        for (lr, width), gain in zip(LEVELS, (0.0, 0.02, 0.001, 0.03), strict=True)
        for seed in SEEDS
        if (acc := round(0.9 + gain + seed / 100 + rng.normal() / 500, 4))
    ]


RUNS = _runs()
ASKED = {"metric": "val/acc", "baseline": "lr=0.001,width=64"}


def write_csv(path, runs=RUNS, header=("lr", "width", "opt", "seed", "val/acc")):
    with path.open("w") as file:
        lines = csv.writer(file)
        lines.writerow(header)
        lines.writerows([*config.values(), seed, acc] for config, seed, acc, _ in runs)
    return path


def write_export(path, runs=RUNS):
    """As the table of runs on W&B's page is exported."""
    with path.open("w") as file:
        lines = csv.writer(file, quoting=csv.QUOTE_ALL)
        lines.writerow(["Name", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep",
                        "lr", "opt", "seed", "width", "epoch", "val/acc"])  # fmt: skip
        for n, (config, seed, acc, state) in enumerate(runs):
            about = [f"sunny-{n}", state, "-", "me", "", "2025-11-02T10:00:00.000Z", "31", ""]
            found = [config["lr"], config["opt"], seed, config["width"], 9, acc]
            lines.writerow([*about, *found])
    return path


def write_json_lines(path):
    lines = [json.dumps({"config": c, "seed": s, "val/acc": a}) for c, s, a, _ in RUNS]
    path.write_text("\n".join(lines))
    return path


def verdicts(source, **options):
    """All that a comparison says, whatever order the runs stand in."""
    found = public.compare(source, **{**ASKED, **options})
    said = {}
    for s in found.settings:
        numbers = [s.mean, s.std, s.delta, s.p, s.p_holm, s.threshold, *(s.interval or ())]
        said[s.label] = {
            "verdict": (s.verdict, s.grade, s.status, s.pairs),
            "numbers": [n if n is None else round(n, 10) for n in numbers],
            "values": dict(zip(s.seeds, s.values, strict=True)),
            "changed": s.changed,
        }
    margin = (found.metric.direction, found.margin, round(found.step, 10))
    return said, margin, found.not_comparable


@pytest.fixture
def as_csv(tmp_path):
    return verdicts(write_csv(tmp_path / "all.csv"), setting=["lr", "width", "opt"])


def test_one_change_is_a_setting_and_two_are_not_comparable(as_csv):
    settings, _, others = as_csv
    assert list(settings) == ["baseline", "lr=0.01", "width=128"]
    assert [s["verdict"][0] for s in settings.values()] == [None, "better", "equivalent"]
    assert settings["lr=0.01"]["changed"] == {"lr": [0.001, 0.01]}
    assert others == [{"levels": {"lr": 0.01, "width": 128}, "runs": 4}]


def test_labels_give_the_same(as_csv, tmp_path):
    labels = {(0.001, 64): "baseline", (0.01, 64): "lr=0.01", (0.001, 128): "width=128"}
    rows = [(labels[c["lr"], c["width"]], s, a) for c, s, a, _ in RUNS
            if (c["lr"], c["width"]) in labels]  # fmt: skip
    file = tmp_path / "labels.csv"
    file.write_text("\n".join(["setting,seed,value", *(f"{a},{b},{c}" for a, b, c in rows)]))
    found, margin, _ = verdicts(file, metric=None, baseline=None, direction="maximize")
    assert margin == as_csv[1]
    for label, setting in as_csv[0].items():
        assert {**found[label], "changed": setting["changed"]} == setting


def test_an_export_of_wandb(as_csv, tmp_path):
    named = {"setting": ["lr", "width", "opt"]}
    assert verdicts(write_export(tmp_path / "wb.csv"), **named) == as_csv
    more = [({"lr": 0.01, "width": 64, "opt": "adam"}, seed, "", state)
            for seed, state in ((7, "running"), (8, "Crashed"), (9, "finished"))]  # fmt: skip
    export = write_export(tmp_path / "more.csv", [*RUNS, *more])
    found = public.compare(export, **named, **ASKED)
    assert (found["lr=0.01"].lost, found["lr=0.01"].status) == ([4], "failed")
    assert found.notes[-2:] == [
        "left out: 1 run that did not finish yet", "left out: 1 run without val/acc",
    ]  # fmt: skip


def test_json_lines_with_a_nested_configuration(as_csv, tmp_path):
    file = tmp_path / "all.jsonl"
    lines = [json.dumps({"opt": {**c, "width": float(c["width"])}, "seed": s, "val": {"acc": a}})
             for c, s, a, _ in RUNS]  # fmt: skip
    file.write_text("\n".join(lines))
    found, *rest = verdicts(file, metric="val.acc", setting=["opt.lr", "opt.width"],
                            baseline="opt.lr=1e-3,opt.width=64")  # fmt: skip
    assert list(found) == ["baseline", "opt.lr=0.01", "opt.width=128"]
    for ours, theirs in zip(found.values(), as_csv[0].values(), strict=True):
        assert {**ours, "changed": theirs["changed"]} == theirs
    assert rest[0] == as_csv[1]


_WANDB = """
import json, sys, wandb
for config, seed, acc, state in json.load(sys.stdin):
    run = wandb.init(project="p", config={**config, "seed": seed}, reinit="create_new")
    run.log({"val/acc": 0.1, "padding": "x" * 40_000})
    run.log({"val/acc": acc})
    run.finish(exit_code=int(state != "finished"))
    print(run.dir)
"""


def test_offline_runs_of_wandb(as_csv, tmp_path):
    given = [*RUNS, ({"lr": 0.01, "width": 128, "opt": "adam"}, 9, 0.99, "failed")]
    # wandb's capture of the console may lose a line that is printed between two runs.
    env = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_CONSOLE": "off"}
    done = subprocess.run([sys.executable, "-c", _WANDB], input=json.dumps(given), text=True,
                          check=True, cwd=tmp_path, env=env, timeout=120,
                          stdout=subprocess.PIPE)  # fmt: skip
    settings, margin, others = verdicts(tmp_path / "wandb")
    assert (settings, margin) == as_csv[:2]
    assert others[0]["runs"] == 5
    first = Path(done.stdout.split()[0]).parent  # the baseline's, of seed 0
    (file,) = first.glob("*.wandb")
    file.write_bytes(file.read_bytes()[:-40])  # as a kill leaves it
    found = public.compare(tmp_path / "wandb", **ASKED)
    assert (found["baseline"].status, found["lr=0.01"].lost) == ("failed", [0])
    file.write_bytes(file.read_bytes()[:7] + b"\0\0\0\0\5\0\1" + b"\xff" * 500)
    with pytest.raises(RequestError, match="is damaged"):
        public.compare(tmp_path / "wandb", **ASKED)


def test_a_project_on_a_server(as_csv, tmp_path, monkeypatch):
    """Runs that wandb uploaded to a stand-in are read back from it."""
    with WandbServer() as server:
        online = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "a" * 40, "WANDB_SILENT": "true",
                  "WANDB_ERROR_REPORTING": "false", "WANDB_DIR": str(tmp_path)}  # fmt: skip
        subprocess.run([sys.executable, "-c", _WANDB], input=json.dumps(RUNS), text=True,
                       check=True, env={**os.environ, **online}, timeout=120)  # fmt: skip
        for name, value in online.items():
            monkeypatch.setenv(name, value)
        assert verdicts("wandb:someone/p") == as_csv
        wandb.teardown()  # else later tests of this process have these settings


@pytest.mark.parametrize("form", ["hparams", "paths", "both"])
def test_folders_of_tensorboard(as_csv, tmp_path, form):
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    for n, (config, seed, acc, _) in enumerate(RUNS):
        name = f"run{n}" if form == "hparams" else (
            f"lr={config['lr']},width={config['width']}/opt={config['opt']}_seed={seed}"
        )  # fmt: skip
        writer = SummaryWriter(str(tmp_path / "runs" / name))
        for step, value in enumerate((0.1, acc)):
            writer.add_scalar("val/acc", value, step)
        if form != "paths":
            writer.add_hparams({**config, "seed": seed}, {"hparam/acc": acc})
        writer.close()
    assert verdicts(tmp_path / "runs") == as_csv


def test_import_writes_a_table_that_the_printed_command_reads(paribus, tmp_path, as_csv):
    more = [({"lr": 0.01, "width": 64, "opt": "adam"}, 7, "", "killed")]
    export, file = write_export(tmp_path / "wb.csv", [*RUNS, *more]), tmp_path / "table.csv"
    words = ("import", export, "--setting", "lr,width,opt", "--metric", "val/acc", "-o", file)
    lines = paribus(*words).out.splitlines()
    assert lines[0] == f"{export}: 17 runs, 4 settings, 5 seeds"
    assert file.read_text().splitlines()[:2] == ["lr,width,seed,val/acc", "0.001,64,0,0.9"]
    words = ("import", export, "--setting", "lr,width", "--setting=opt", *words[4:])
    done = paribus(*words, "--baseline", "lr=0.001,width=64,opt=adam")  # the same file again
    again = shlex.split(done.out.replace("\\\n", "").partition("paribus ")[2])
    found = paribus(*again, "--json").json
    assert paribus(*words, "--json").json["settings"] == 4
    assert found["settings"][1]["lost"] == [4]
    assert found["not_comparable"] == as_csv[2]
    file.write_text("lr\n")
    done = paribus(*words)
    assert (done.code, file.read_text()) == (2, "lr\n")
    assert "is there, with other content" in done.err


def test_the_page_and_the_table_name_what_is_not_comparable(paribus, tmp_path):
    file = write_csv(tmp_path / "all.csv")
    words = (file, "--setting", "lr,width", "--metric", "val/acc", "--baseline", "lr=1e-3,width=64")
    lines = paribus("compare", *words).out.splitlines()
    there = "not comparable: lr=0.01, width=128 differs from the baseline in lr, width (4 runs)"
    assert "baseline: lr=0.001, width=64" in lines
    assert there in lines
    page = tmp_path / "page.html"
    found = paribus("report", *words, "-o", page, "--json").json
    assert found == {"results": str(file), "file": str(page), "bytes": page.stat().st_size}
    text = page.read_text()
    assert there in text
    assert "lr=0.01 is better: " in text
    assert text.count("<svg") == 1
    message = ["--baseline: for another tool's results; a study knows its own."]
    refused(paribus("report", "x", "--baseline=lr=1", "--root", tmp_path / "r"), tmp_path / "r",
            *message)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs one column with the setting; it has lr, width, opt, seed, val/acc."),
        ({"setting": ["lr", "wdth"], "metric": "val/ac"}, "Did you mean 'width'?"),
        (
            {"setting": ["lr", "width"], "metric": "val/acc"},
            "4 configurations have as many runs; there is lr=0.001,width=64, lr=0.01,width=64,",
        ),
        (
            {"setting": ["lr"], "metric": "val/acc"},
            "line 10: a second value of lr=0.001 and seed 0.",
        ),
        (
            {"setting": ["lr", "width"], "metric": "val/acc", "baseline": "lr=7"},
            "no run has lr=7; there is lr=0.001,width=64",
        ),
    ],
)
def test_what_is_not_named_is_asked_for(tmp_path, options, message):
    file = write_csv(tmp_path / "all.csv")
    with pytest.raises(RequestError) as error:
        public.compare(file, **options)
    assert message in str(error.value)


def test_the_most_frequent_configuration_is_the_baseline_and_a_loss_is_minimized(tmp_path):
    more = [({"lr": 0.01, "width": 64, "opt": "adam"}, 4, 0.93, "finished")]
    header = ("lr", "width", "opt", "random_seed", "val_loss")
    file = write_csv(tmp_path / "all.csv", [*RUNS, *more], header)
    found = public.compare(file, setting=["lr", "width"], metric="val_loss")
    assert [s.label for s in found.settings] == ["baseline", "lr=0.001", "width=128"]
    assert found["lr=0.001"].verdict == "better"
    assert found.metric.direction == "minimize"
    page = public.report(found, output=tmp_path / "page.html")
    assert (page.kind, page.file.is_file()) == ("results", True)


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        *((name, "minimize") for name in ("mlogloss", "valLoss", "eval/log_loss", "val-RMSE",
                                          "merror", "test_ppl", "top1_err", "brier_score")),
        *((name, "maximize") for name in ("valAcc", "F1", "val/f1_macro", "AUROC", "acc1")),
        *((name, None) for name in ("value", "x", "f1_loss", "neg_mean_error")),
    ],
)  # fmt: skip
def test_which_way_is_better_is_known_or_asked_for(tmp_path, metric, direction):
    file = write_csv(tmp_path / "all.csv", RUNS, ("lr", "width", "opt", "seed", metric))
    named = {"setting": ["lr", "width"], "metric": metric, "baseline": "lr=0.001,width=64"}
    if direction:
        assert public.compare(file, **named).metric.direction == direction
        return
    with pytest.raises(RequestError, match="Give direction maximize or minimize"):
        public.compare(file, **named)
    assert public.compare(file, direction="minimize", **named).metric.direction == "minimize"


def test_a_run_that_crashed_and_was_run_again_counts_once(as_csv, tmp_path):
    lost = [(RUNS[n][0], RUNS[n][1], 0.1, state) for n, state in
            ((0, "crashed"), (0, "failed"), (5, "killed"))]  # fmt: skip
    named = {"setting": ["lr", "width", "opt"]}
    for runs in ([*lost, *RUNS], [*RUNS, *lost]):
        export = write_export(tmp_path / "wb.csv", runs)
        assert verdicts(export, **named) == as_csv
        (*_, note) = public.compare(export, **named, **ASKED).notes
        assert note == "left out: 3 runs that failed beside another of these levels and seed"
    export = write_export(tmp_path / "twice.csv", [*RUNS, lost[0], RUNS[0]])
    with pytest.raises(RequestError, match=r"a second value of lr=0\.001"):
        public.compare(export, **named, **ASKED)


def test_true_is_not_1(tmp_path):
    file = tmp_path / "all.csv"
    lines = [f"{amp},{s},{s / 100 + gain}" for gain, amp in enumerate(("true", 1, 0, "false"))
             for s in range(3)]  # fmt: skip
    file.write_text("\n".join(["amp,seed,acc", *lines]))
    found = public.compare(file, setting=["amp"], metric="acc", baseline="amp=true")
    assert [s.label for s in found.settings] == ["baseline", "amp=1", "amp=0", "amp=false"]
    assert found["amp=false"].changed == {"amp": [True, False]}


def test_lines_end_where_lines_end(tmp_path):
    """Not at a separator of Unicode inside of a text; blank ones are none."""
    for name, text in (("x.csv", "name,lr,seed,acc\n{}"), ("x.jsonl", "\n{}\n")):
        rows = [("a\u2028b\x85", lr, seed, lr + seed) for lr in (1, 2) for seed in (0, 1)]
        keys = ("name", "lr", "seed", "acc")
        lines = [json.dumps(dict(zip(keys, row, strict=True)), ensure_ascii=False)
                 if name == "x.jsonl" else ",".join(map(str, row)) for row in rows]  # fmt: skip
        (tmp_path / name).write_text(text.format("\n\n".join(lines)), encoding="utf-8")
        found = public.compare(tmp_path / name, setting=["lr", "name"], metric="acc",
                               baseline="lr=1")  # fmt: skip
        assert [s.label for s in found.settings] == ["baseline", "lr=2"]


def test_labels_with_another_baseline(tmp_path):
    file = tmp_path / "labels.csv"
    lines = [f"{label},{s},{s / 100 + gain}" for gain, label in enumerate(("a", "b", "baseline"))
             for s in range(3)]  # fmt: skip
    file.write_text("\n".join(["setting,seed,value", *lines]))
    found = public.compare(file, baseline="setting=a", direction="maximize")
    assert [s.label for s in found.settings] == ["baseline", "setting=b", "setting=baseline"]
    assert found["setting=baseline"].changed == {"setting": ["a", "baseline"]}


def test_a_folder_without_results(paribus, tmp_path):
    done = paribus("import", tmp_path, "-o", tmp_path / "x.csv")
    assert (done.code, (tmp_path / "x.csv").exists()) == (2, False)
    assert "holds no offline runs of W&B and no events of TensorBoard" in done.err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "\nlr,seed\n1,0\n", "line 1: names no columns."),
        ("x.jsonl", '{"seed": 0}\n3\n', "line 2: cannot be read (it is no JSON object)"),
        ("x.jsonl", '{"seed": 0}\n{\n', "line 2: cannot be read (it is no JSON object)"),
        ("x/run.wandb", "nothing", "is damaged. Leave it out."),
        ("x/run.wandb", "", "is damaged. Leave it out."),
    ],
)
def test_files_that_hold_no_runs(tmp_path, name, content, message):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    with pytest.raises(RequestError) as error:
        public.compare(file.parent if file.suffix == ".wandb" else file)
    assert message in str(error.value)


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "events.out.tfevents.1").touch()
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing.event_accumulator", None)
    with pytest.raises(RequestError, match=r"pip install 'paribus\[tensorboard\]'"):
        public.compare(tmp_path)

"""`reproduce`: the same bits from the record alone, and the truth where they are not to be had."""

import json
import os
import re
import shutil
import subprocess

import pytest
from manifest import write_manifest
from processes import COMMAND, unpinned
from small_experiment import SMALL

SHORT = ("train.epochs=2", "--no-wandb")


def in_a_process_of_its_own(*words, cwd, **variables):
    """A command as a terminal gives it: nothing is loaded yet."""
    env = unpinned() | variables
    return subprocess.run([*COMMAND, *words], cwd=cwd, env=env, capture_output=True, text=True)


# Other architectures, losses, optimizers, schedulers, both tasks, own modules, data of a library.
RUNS = [
    ("digits",),
    ("digits", "model=linear", "optimizer=sgd", "optimizer.momentum=0.9", "scheduler=cosine"),
    (
        "digits",
        "model.num_layers=3",
        "model.activation=gelu",
        "optimizer=adamw",
        "scheduler=step",
        "scheduler.step_size=5",
    ),
    ("digits", "optimizer=rmsprop", "standardize=false", "split.method=in_order"),
    ("digits", "optimizer=torch.optim.NAdam", "loss=cross_entropy(label_smoothing=0.1)"),
    ("digits", "scheduler=torch.optim.lr_scheduler.OneCycleLR(max_lr=0.01)"),
    ("digits", "data=sklearn.datasets.load_wine", "train.batch_size=7", "metrics=[CohenKappa]"),
    ("line",),
    ("line", "loss=mse", "optimizer=adam", "optimizer.lr=0.01", "train.batch_size=3"),
    ("small.py", "model=small.py:Net", "model.rate=0.5"),
    ("small.py", "loss=small.py:soft", "loss.smooth=0.2"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the small experiment, in which commands are given."""
    folder = tmp_path_factory.mktemp("reproduce")
    (folder / "small.py").write_text(SMALL)
    return folder


def trained(paribus, place, *words):
    done = paribus("run", *words, *SHORT, "--json", cwd=place)
    assert done.code == 0, done.err
    return done.json


@pytest.mark.parametrize("words", RUNS, ids=lambda words: " ".join(words)[:60])
def test_bit_exact(paribus, place, words):
    run = trained(paribus, place, *words, "--seed", "3")
    done = paribus("reproduce", run["run"], "--json", cwd=place)
    assert done.code == 0, done.err
    found = done.json
    assert (found["run"], found["identical"], found["grade"]) == (run["run"], True, "bit-exact")
    assert (found["first_difference"], found["environment"], found["damaged"]) == (None, {}, [])
    assert found["values"][0] == found["values"][1]
    certificate = found["certificate"]
    assert certificate["weights_sha256"] == [run["weights_sha256"]] * 2
    assert (certificate["seed"], certificate["epochs"]) == (3, 2)
    assert certificate["command"] == f"paribus reproduce {run['run']}"


def test_what_a_reviewer_reads(paribus, place, tmp_path):
    run = trained(paribus, place, "digits", "--seed", "4")
    before = {p: p.stat().st_mtime_ns for p in (place / "results").rglob("*")}
    done = paribus("reproduce", run["run"], cwd=place, env={"TMPDIR": str(tmp_path)})
    lines = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert lines[0] == f"run {run['run']}: digits, seed 4, 2 epochs"
    assert lines[1] == f"{run['run']}: bit-exact"
    assert lines[2].startswith("  For a paper: digits (task multiclass, data digits, model mlp(")
    assert "seed 4, was trained again and agrees bit for bit (batch order, losses," in lines[2]
    assert f"weights sha256 {run['weights_sha256'][:16]}…" in lines[2]
    assert {p: p.stat().st_mtime_ns for p in (place / "results").rglob("*")} == before
    assert list(tmp_path.iterdir()) == []


def altered(place, run, copy, change):
    """A copy of a run's folder, whose record was changed by hand."""
    shutil.copytree(place / "results" / "runs" / run, copy)
    record = json.loads((copy / "run.json").read_text())
    change(record)
    (copy / "run.json").write_text(json.dumps(record, indent=2))
    return copy


def test_one_digit_of_the_learning_rate(paribus, place, tmp_path):
    run = trained(paribus, place, "digits")["run"]

    def everywhere(record):
        for configuration in (record["configuration"], record["identity"]["configuration"]):
            configuration["optimizer"]["lr"] = 0.002
        record["asked"]["optimizer"]["lr"] = 0.002

    def once(record):
        record["configuration"]["optimizer"]["lr"] = 0.002

    for name, change in (("everywhere", everywhere), ("once", once)):
        copy = altered(place, run, tmp_path / name, change)
        done = paribus("reproduce", copy, "--json", cwd=place)
        assert done.code == 1
        assert done.json["first_difference"]["epoch"] == 1
        assert (done.json["identical"], done.json["grade"]) == (False, "differs")
        assert done.json["damaged"][0].startswith(f"{copy}/run.json: does not hold what was")
        assert run in done.json["damaged"][1]
    assert "optimizer.lr is 0.002, its id was made of 0.001" in done.json["damaged"][1]
    told = paribus("reproduce", copy, cwd=place)
    assert f"  damaged: {copy}/run.json: does not hold what was written" in told.out
    assert "not bit-exact: first difference at epoch 1: train/" in told.out


def test_damage_that_changes_no_number_is_said_too(paribus, place, tmp_path):
    run = trained(paribus, place, "digits")["run"]
    copy = altered(place, run, tmp_path / "copy", lambda record: record.update(noted={}))
    done = paribus("reproduce", copy, cwd=place)
    assert done.code == 1
    assert "equal bit for bit, but its record is damaged (above)" in done.out
    cut = tmp_path / "cut"
    shutil.copytree(place / "results" / "runs" / run, cut)
    (cut / "best.safetensors").write_bytes((cut / "best.safetensors").read_bytes()[:-4])
    done = paribus("reproduce", cut, "--json", cwd=place)
    assert done.code == 1
    assert done.json["first_difference"]["quantity"].startswith("best.safetensors")
    (cut / "run.json").write_text("{")
    done = paribus("reproduce", cut, cwd=place)
    assert (done.code, done.out) == (1, "")
    assert f"{cut}/run.json: cannot be read" in done.err


def test_epochs_are_compared_by_their_numbers(paribus, place, tmp_path):
    run = trained(paribus, place, "digits")["run"]
    copy = tmp_path / "copy"
    shutil.copytree(place / "results" / "runs" / run, copy)
    _, *rest = (copy / "history.jsonl").read_text().splitlines(keepends=True)
    (copy / "history.jsonl").write_text("".join(["damaged\n", *rest]))
    found = paribus("reproduce", copy, "--json", cwd=place).json["first_difference"]
    assert found == {"epoch": 1, "quantity": "history", "then": None, "now": "a line"}


def test_all_seeds_of_a_setting(paribus, place):
    words = ("sweep", "digits", "optimizer.lr=0.1", "--set", SHORT[0], "--seeds", "5,6,7,8")
    assert paribus(*words, "--study", "rates", "--no-wandb", cwd=place).code == 0
    done = paribus("reproduce", "rates/optimizer.lr=0.1", cwd=place)
    assert done.code == 0, done.err
    *_, last, sentence = done.out.splitlines()
    assert "seeds 5, 6, 7, 8, were trained again and agree bit for bit" in sentence
    assert done.out.count("For a paper") == 1
    assert re.fullmatch(
        r"rates/optimizer\.lr=0\.1: 4 of 4 seeds bit-exact; mean (.+) then, \1 now", last
    )
    found = paribus("reproduce", "rates/optimizer.lr=0.1", "--json", cwd=place).json
    assert (found["identical"], len(found["runs"])) == (True, 4)
    assert found["mean"][0] == found["mean"][1]
    one = paribus("reproduce", "rates/optimizer.lr=0.1-s7", "--json", cwd=place).json
    low, high = one["spread"]
    assert low < one["values"][0] < high


def test_another_environment_is_announced_and_its_spread_judged(place):
    """The CPU's plainest instructions round otherwise: no bits, but the same result."""
    words = ("sweep", "digits", "--set", "train.epochs=3", "optimizer.lr=0.01", "--seeds", "6")
    at = ("--root", "plain")
    done = in_a_process_of_its_own(
        *words, "--study", "s", "--no-wandb", *at, cwd=place, ATEN_CPU_CAPABILITY="default"
    )
    assert done.returncode == 0, done.stderr
    again = ("reproduce", "s/baseline-s2", *at)
    done = in_a_process_of_its_own(*again, cwd=place)
    if "bit-exact\n" in done.stdout:
        pytest.skip("this CPU knows no other instructions")
    lines = done.stdout.splitlines()
    unwrapped = " ".join(done.stdout.split())
    assert done.returncode == 1
    assert any(line.startswith("  cpu_capability was DEFAULT, is ") for line in lines)
    assert "Equal bits are promised for equal environments only; here differ: " in unwrapped
    assert "inside what another seed would give" in unwrapped
    assert "for the bits: cpu_capability DEFAULT" in unwrapped
    found = json.loads(in_a_process_of_its_own(*again, "--json", cwd=place).stdout)
    assert (found["identical"], found["grade"]) == (False, "agrees")
    assert found["environment"]["cpu_capability"][0] == "DEFAULT"


def test_changed_data_are_named(paribus, tmp_path):
    text = SMALL.replace("* 12.9898", "* float(open('factor').read())")
    (tmp_path / "own.py").write_text(text)
    (tmp_path / "factor").write_text("12.9898")
    run = trained(paribus, tmp_path, "own.py")["run"]
    assert paribus("reproduce", run, cwd=tmp_path).code == 0
    (tmp_path / "factor").write_text("12.9899")
    done = in_a_process_of_its_own("reproduce", run, cwd=tmp_path)
    assert done.returncode == 1
    assert "  the data's fingerprint was " in done.stdout
    assert "first difference" in done.stdout


OWN = SMALL.replace("from torch import nn\n", "from torch import nn\nfrom nets import Deep\n")
NETS = """
from torch import nn

class Deep(nn.Sequential):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__(nn.Linear(in_features, 5), nn.{0}(), nn.Linear(5, num_classes))
"""


def test_a_folder_from_elsewhere_brings_its_own_sources(tmp_path):
    """Though a module of the same name has come to lie first on the import path."""
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    (there / "own.py").write_text(OWN)
    (there / "nets.py").write_text(NETS.format("Tanh"))
    words = ("run", "own.py", "model=nets.Deep", *SHORT, "--json")

    def command(*words, cwd, path="."):
        path = os.pathsep.join([str(path), unpinned()["PYTHONPATH"]])
        return in_a_process_of_its_own(*words, cwd=cwd, PYTHONPATH=path)

    done = command(*words, cwd=there)
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)["run"]
    shutil.move(there / "results" / "runs" / run, here / run)
    shutil.rmtree(there)
    (here / "nets.py").write_text(NETS.format("Sigmoid"))
    done = command("reproduce", f"./{run}", cwd=here, path=here)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{run}: bit-exact" in done.stdout
    done = command("evaluate", f"./{run}", "--json", cwd=here, path=here)
    assert done.returncode == 0, done.stderr

    changed = here / run / "source" / "nets.py"
    changed.write_text(NETS.format("ReLU"))
    done = command("reproduce", f"./{run}", cwd=here)
    assert done.returncode == 1
    assert f"{changed}: does not hold what was written" in done.stderr
    assert "To use what is there now, add --trust." in done.stderr
    done = command("reproduce", f"./{run}", "--trust", cwd=here)
    assert done.returncode == 1
    unwrapped = " ".join(done.stdout.split())
    assert f"damaged: {here / run}/source/nets.py: does not hold what was written" in unwrapped
    assert "the source of nets was " in unwrapped
    assert "first difference at epoch 1" in unwrapped


def test_a_record_may_not_name_just_anything(paribus, place, tmp_path):
    """Importing runs code, and a record may come from anyone."""
    run = trained(paribus, place, "digits")["run"]
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Net: pass\n")

    def name_it(record):
        for part in (record["configuration"], record["identity"]["configuration"], record["asked"]):
            part["model"] = {"name": "evil.Net"}

    copy = altered(place, run, tmp_path / "copy", name_it)
    write_manifest(copy)
    for command in ("reproduce", "evaluate", "predict", "show", "run", "sweep"):
        words = ("optimizer.lr=1",) if command == "sweep" else ()
        done = paribus(command, copy, *words, cwd=tmp_path)
        assert (done.code, done.out) == (2, "")
        assert "names evil.Net, which is neither of torch, torchvision, " in done.err
        assert "add --trust" in done.err
        assert not (tmp_path / "ran").exists()
        assert not (tmp_path / "results").exists()
    done = paribus("reproduce", copy, "--trust", cwd=tmp_path)
    assert (tmp_path / "ran").exists(), done
    assert "model: 'evil.Net' is not a torch.nn.Module" in done.err


def test_a_stranger_s_file_is_not_executed(paribus, place, tmp_path):
    """Not where nothing of it is used, and not where it was changed."""
    ran = tmp_path / "ran"
    for experiment in ("digits", "small.py"):
        run = trained(paribus, place, experiment)["run"]
        copy = tmp_path / run
        shutil.copytree(place / "results" / "runs" / run, copy)
        (file,) = (copy / "source").iterdir()
        file.write_text(f"{file.read_text()}\nopen({str(ran)!r}, 'w')\n")
        commands = ("reproduce", "evaluate", "predict", "show")
        damaged = [paribus(command, copy, cwd=tmp_path).code for command in commands]
        assert damaged == [1, 1, 1, 1]
        assert not ran.exists()
    assert paribus("reproduce", copy, "--trust", cwd=tmp_path).code == 1
    assert ran.exists()


def test_only_what_its_kind_may_name(paribus, place, tmp_path):
    """`sklearn.datasets.clear_data_home` is a callable that takes keywords, too."""
    run = trained(paribus, place, "digits")["run"]
    precious = tmp_path / "precious"
    precious.mkdir()
    clear = {"name": "sklearn.datasets.clear_data_home", "data_home": str(precious)}
    files = {"name": "paribus.core.fileio.write_json", "path": str(precious / "x"), "value": 1}
    for number, data in enumerate((clear, files)):

        def name_it(record, data=data):
            for part in (record["configuration"], record["asked"]):
                part["data"] = data

        copy = altered(place, run, tmp_path / str(number), name_it)
        write_manifest(copy)
        for command in ("reproduce", "evaluate", "predict", "run"):
            done = paribus(command, copy, cwd=tmp_path)
            assert (done.code, data["name"] in done.err) == (2, True), done
        assert list(precious.iterdir()) == []


def test_missing_seeds_are_named(paribus, place):
    words = ("sweep", "line", "optimizer.lr=0.1", "--set", SHORT[0], "--seeds", "1,2,3")
    assert paribus(*words, "--study", "holes", "--no-wandb", cwd=place).code == 0
    runs = paribus("runs", "holes", "--json", cwd=place).json
    gone = next(r for r in runs if r["seed"] == 2 and r["setting"]["label"] == "baseline")
    shutil.rmtree(gone["dir"])
    done = paribus("reproduce", "holes/baseline", cwd=place)
    assert done.code == 1
    assert "holes/baseline: seed 2 has no finished run" in done.err
    assert "2 of 2 seeds bit-exact" in done.out


def test_a_failed_run_is_reproduced_without_a_sentence_for_a_paper(paribus, place):
    words = ("line", "loss=mse", "optimizer.lr=1e30", *SHORT)
    run = paribus("run", *words, "--json", cwd=place).json
    assert run["status"] == "failed"
    done = paribus("reproduce", run["run"], cwd=place)
    assert (done.code, "bit-exact" in done.out, "For a paper" in done.out) == (0, True, False)


def test_a_record_whose_damage_cannot_be_trained_is_named(paribus, place, tmp_path):
    run = trained(paribus, place, "digits")["run"]

    def misspell(record):
        record["configuration"]["me4rics"] = record["configuration"].pop("metrics")

    copy = altered(place, run, tmp_path / "copy", misspell)
    done = paribus("reproduce", copy, cwd=place)
    assert (done.code, done.out) == (1, "")
    assert f"{copy}/run.json: does not hold what was written" in done.err
    assert "me4rics" in done.err


def test_no_such_run(paribus, place):
    done = paribus("reproduce", "digits-s99", cwd=place)
    assert (done.code, done.out) == (2, "")
    assert "There is no run 'digits-s99'" in done.err
    assert paribus("reproduce", "nope/baseline", cwd=place).code == 2


def test_relative_paths_lead_to_where_they_did(paribus, tmp_path):
    """A run is used from another folder; where its data is gone, no impossible step is named."""
    there, elsewhere = tmp_path / "there", tmp_path / "elsewhere"
    there.mkdir()
    elsewhere.mkdir()
    lines = [f"{i},{(7 * i) % 30},{'ab'[i < 30]}" for i in range(60)]
    (there / "points.csv").write_text("\n".join(["x,y,kind", *lines]) + "\n")
    words = ("data=table", "data.path=points.csv", "data.target=kind")
    run = trained(paribus, there, "cancer", *words)["run"]
    at = ("--root", there / "results")
    for command in ("evaluate", "reproduce"):
        assert paribus(command, run, *at, cwd=elsewhere).code == 0
    again = paribus("run", run, "--no-wandb", "--json", *at, cwd=elsewhere)
    assert (again.code, again.json["run"]) == (0, run)

    (there / "points.csv").unlink()
    for command in ("evaluate", "reproduce"):
        done = paribus(command, run, *at, cwd=elsewhere)
        assert (done.code, done.out) == (2, "")
        assert f"Error: {run}: its data is gone. There is no file points.csv" in done.err
        assert "Bring it back there." in done.err
        assert "data.path=FILE" not in done.err

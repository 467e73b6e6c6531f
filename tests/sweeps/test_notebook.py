"""A notebook, executed: tables, frames, pictures, a bar, and a model of its own cells."""

import base64
import json
import shutil

import nbformat
import pytest
from commands import clean_environment
from nbclient import NotebookClient

NET = """
class Net(nn.Module):  # {remark}
    def __init__(self, in_features: int, out_features: int, width: int = WIDTH):
        super().__init__()
        self.body = block(in_features, width)
        self.head = torch.nn.Linear(width, out_features)

    def forward(self, x):
        scale = 1.0
        return self.head(self.body(x)) * scale
"""
CELLS = {
    "import": "import paribus, torch\nfrom torch import nn",
    "constants": "WIDTH = 2\nWIDTH *= 2\nscale = torch.ones(1)",
    "block": "act = lambda: nn.Tanh()\n\n"
    "def filter(*layers):\n    return nn.Sequential(*layers)\n\n"
    "def block(i, o):\n    return filter(nn.Linear(i, o), act())",
    "net": NET.format(remark="first"),
    "train": 'run = paribus.train("line", {"model": Net, "train.epochs": 2}, wandb=False)',
    "run": "run",
    "text": "print(repr(run))",
    "history": "run.history",
    "curves": "run.plot()",
    "sweep": 'study = paribus.sweep("line", {"model": [{"name": Net, "width": 3}], "optimizer.lr": '
    '[0.5]}, overrides={"train.epochs": 1}, seeds=2, workers=2, study="s", wandb=False)',
    "study": "study",
    "frame": "study.to_frame()",
    "compared": "paribus.compare(study)",
    "effects": "study.plot()",
    "reproduce": "print(paribus.reproduce(run).grade)",
    "again": NET.format(remark="second")
    + "two = {'model': Net, 'train.epochs': 2}\n"
    + "print(paribus.train('line', two, wandb=False).id == run.id)",
    "wider": "WIDTH = 8\nprint(paribus.train('line', two, wandb=False).id == run.id)",
    "live": "class Live(Net):\n    def forward(self, x):\n        return scale * self.head(x)\n\n"
    "def refused(model):\n    try:\n"
    '        paribus.train("line", {"model": model}, wandb=False)\n'
    "    except Exception as error:\n        print(type(error).__name__, error)\n"
    "    else:\n        print('accepted')\n\nrefused(Live)",
    "made": "refused(Net(1, 1))",
    "answers": "print(run.model()(torch.zeros(2, 1)).shape)",
}


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The folder, and the outputs of each cell."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(c) for c in CELLS.values()]
    )
    client = NotebookClient(
        notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    environment = clean_environment(str(folder / "home"))
    # A notebook's process is not pinned, and finds paribus where it is installed.
    for name in ("PYTHONPATH", "PYTHONHASHSEED", "MKL_CBWR", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.pop(name, None)
    client.execute(env=environment)
    return folder, dict(zip(CELLS, (cell.outputs for cell in notebook.cells), strict=True))


def shown(outputs, kind):
    return [str(output.data[kind]) for output in outputs if kind in output.get("data", {})]


def printed(outputs):
    return "".join(output.text for output in outputs if output.output_type == "stream")


def test_a_bar_is_shown_while_it_trains(executed):
    for cell in ("train", "sweep"):
        (bar,) = shown(executed[1][cell], "text/html")
        assert '<progress max="1" value="1.0000"' in bar
    assert "4/4 runs" in bar or "6/6 runs" in bar


def test_a_run_is_a_table(executed):
    (table,) = shown(executed[1]["run"], "text/html")
    assert "<table" in table
    assert "val/mae" in table
    assert len(shown(executed[1]["run"], "text/plain")[0]) < 100
    assert printed(executed[1]["text"]).startswith("<run line-s0-")
    (history,) = shown(executed[1]["history"], "text/html")
    assert history.count("<tr") == 2 + 2  # the headings and the name of the index


def test_a_study_is_a_table_of_verdicts(executed):
    for cell in ("study", "compared"):
        (table,) = shown(executed[1][cell], "text/html")
        assert "optimizer.lr=0.5" in table
        assert "verdict" in table
        assert any(word in table for word in ("better", "worse", "undecided", "equivalent"))
    (frame,) = shown(executed[1]["frame"], "text/html")
    assert "optimizer.lr=0.5" in frame


def test_pictures_are_shown(executed):
    for cell in ("curves", "effects"):
        (picture,) = shown(executed[1][cell], "image/png")
        assert base64.b64decode(picture).startswith(b"\x89PNG")


def test_a_model_of_the_cells_travels_with_the_run(executed, paribus, tmp_path):
    """What it uses is taken along: functions, one of them named like a builtin, a lambda, a
    constant as it stands, modules."""
    folder, outputs = executed
    assert printed(outputs["reproduce"]) == "bit-exact\n"
    root = folder / "results"
    shutil.move(folder / "results" / "cells", tmp_path / "cells")
    records = [json.loads(file.read_text()) for file in sorted(root.glob("runs/*/run.json"))]
    of_cells = [r for r in records if r["configuration"]["model"]["name"].startswith("notebook_")]
    (run,) = {r["run"] for r in of_cells if r["epochs"] == 2 and "width" not in r["asked"]["model"]
              and r["configuration"]["model"].get("width", 4) == 4}  # fmt: skip
    (source,) = (root / "runs" / run / "source").glob("notebook_*.py")
    assert "WIDTH = 4" in source.read_text()
    assert "def filter(" in source.read_text()
    for command in ("reproduce", "evaluate"):
        done = paribus(command, run, "--json", "--root", root, cwd=tmp_path)
        assert done.code == 0, done.err
    assert printed(outputs["answers"]) == "torch.Size([2, 1])\n"


def test_its_id_follows_from_what_the_cells_say(executed):
    """A remark changes nothing, a constant does."""
    assert printed(executed[1]["again"]) == "True\n"
    assert printed(executed[1]["wider"]) == "False\n"


def test_live_objects_are_refused_with_the_remedy(executed):
    said = printed(executed[1]["live"])
    assert said.startswith("RequestError 'scale' is a Tensor that lives in the notebook only.")
    assert "constants" in said
    assert "made already" in printed(executed[1]["made"])

"""Inputs and outputs that are more than a tensor: trained, evaluated, reproduced, resumed."""

import io
import json

import pytest
import torch
from commands import refused
from small_experiment import Small

from paribus.core.errors import RequestError
from paribus.core.training.engine import Job
from paribus.core.training.loop import Loop
from paribus.sweeps import api

EXPERIMENT = '''"""Are there many large words in a sequence?"""

import collections

import torch
from torch import nn
from torch.utils.data import Dataset

Scored = collections.namedtuple("Scored", "hidden scores")


def sequences(n: int = 80, spoil: str = ""):
    lengths = torch.arange(n) % 6 + 3
    ids = (torch.sin(torch.arange(n * 8.0) * 12.9898) * 5 + 7).long().reshape(n, 8)
    mask = torch.arange(8) < lengths[:, None]
    ids = ids * mask
    inputs = {"input_ids": ids, "attention_mask": mask.long(), "lengths": lengths}
    targets = (ids.sum(1) > ids.sum(1).median()).long()
    if spoil == "short":
        inputs["lengths"] = lengths[1:]
    if spoil == "words":
        inputs["lengths"] = ["three"] * n
    if spoil == "nested":
        inputs["lengths"] = {"of": lengths}
    return inputs, targets


def in_order(n: int = 80):
    inputs, targets = sequences(n)
    return (inputs["input_ids"], inputs["attention_mask"]), targets


class Rows(Dataset):
    def __init__(self, n: int = 80, ragged: bool = False):
        self.inputs, self.targets = sequences(n)
        self.ragged = ragged

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, row):
        item = {name: tensor[row] for name, tensor in self.inputs.items()}
        if self.ragged:
            item["input_ids"] = item["input_ids"][: item["lengths"]]
        return item, int(self.targets[row])


def graphs(n: int = 60):
    """Nodes with features, and which of them are connected."""
    x = torch.sin(torch.arange(n * 5 * 3.0) * 7.77).reshape(n, 5, 3)
    edges = (torch.sin(torch.arange(n * 25.0) * 3.33).reshape(n, 5, 5) > 0).float()
    return {"x": x, "adjacency": edges}, ((edges @ x).sum((1, 2)) > 0).long()


class Transformer(nn.Module):
    def __init__(self, num_classes: int, width: int = 16):
        super().__init__()
        self.embed = nn.Embedding(13, width, padding_idx=0)
        self.layer = nn.TransformerEncoderLayer(width, 2, 16, batch_first=True)
        self.head = nn.Linear(width, num_classes)

    def forward(self, input_ids, attention_mask, lengths=None):
        x = self.layer(self.embed(input_ids), src_key_padding_mask=attention_mask == 0)
        return {"logits": self.head((x * attention_mask[..., None]).sum(1)), "hidden": x}


class Packed(nn.Module):
    def __init__(self, num_classes: int, width: int = 16):
        super().__init__()
        self.embed = nn.Embedding(13, width)
        self.rnn = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, num_classes)

    def forward(self, input_ids, lengths, **others):
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embed(input_ids), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return Scored(None, self.head(self.rnn(packed)[1][-1]))


class Graph(nn.Module):
    """Takes the whole dict."""

    def __init__(self, num_classes: int, width: int = 16):
        super().__init__()
        self.first, self.last = nn.Linear(3, width), nn.Linear(width, num_classes)

    def forward(self, graph):
        assert set(graph) == {"x", "adjacency"}
        return self.last((graph["adjacency"] @ self.first(graph["x"])).relu().sum(1))


class Tied(nn.Module):
    """One matrix embeds the words and scores them, and its own loss trains it."""

    def __init__(self, num_classes: int, width: int = 16):
        super().__init__()
        self.embed = nn.Embedding(13, width)
        self.decode = nn.Linear(width, 13, bias=False)
        self.decode.weight = self.embed.weight
        self.head = nn.Linear(13, num_classes)

    def forward(self, input_ids, attention_mask, lengths=None, labels=None):
        words = self.decode(self.embed(input_ids))
        logits = self.head((words * attention_mask[..., None]).mean(1))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


class Lossless(Transformer):
    def forward(self, input_ids, attention_mask, lengths=None, labels=None):
        return super().forward(input_ids, attention_mask)


class Mute(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.head = nn.Linear(in_features, num_classes)

    def forward(self, x):
        return self.head(x), x


BASELINE = {
    "task": "multiclass",
    "data": "sequences",
    "model": "Transformer",
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.01},
    "split": {"folds": 1},
    "train": {"epochs": 2, "batch_size": 16},
}
'''

ADAPTER = "\n\ndef predict(outputs):\n    return outputs.scores\n"
CASES = {
    "transformer": {},
    "items": {"data": "Rows"},
    "tuple": {"data": "in_order"},
    "packed": {"model": "Packed"},
    "graph": {"model": "Graph", "data": "graphs"},
    "tied": {"model": "Tied", "loss": "model", "train.ema": 0.9},
    "half": {"train.precision": "bf16", "train.accumulate": 2},
    "own_loss_of_items": {"model": "Tied", "loss": "model", "data": "Rows"},
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "words.py"
    path.write_text(EXPERIMENT)
    return path


def settings(case, file):
    if case == "packed":
        file.write_text(EXPERIMENT + ADAPTER)
    return [f"{key}={value}" for key, value in CASES[case].items()]


@pytest.mark.parametrize("case", CASES)
def test_it_is_trained_evaluated_reproduced_and_asked_by_its_record(paribus, file, tmp_path, case):
    root = ["--root", tmp_path / "results"]
    done = paribus("run", file, *settings(case, file), "--json", *root)
    assert done.code == 0, done.err
    run = done.json["run"]
    record = json.loads((tmp_path / "results" / "runs" / run / "run.json").read_text())
    assert record["engine"] == "loop"
    evaluated = paribus("evaluate", run, *root, "--json")
    assert evaluated.code == 0, evaluated.err
    assert evaluated.json["differs"] == {}
    assert paribus("reproduce", run, *root).code == 0


@pytest.mark.parametrize("case", ["transformer", "items", "packed", "tied"])
def test_it_is_resumed_to_the_same_bits(file, case):
    from paribus.core.config.schema import Configuration, with_value

    settings(case, file)
    small = Small(file)
    asked = small.experiment.baseline.to_dict()
    for key, value in CASES[case].items():
        asked = with_value(
            asked, key, {"name": value} if key in ("data", "model", "loss") else value
        )
    run = small.resolver.specify(Configuration.parse(asked, "the test"), 0)
    reports, saved = [], []
    for (report,) in Loop().train(Job((run,), small.resolver), {}):
        buffer = io.BytesIO()
        torch.save(report.state(), buffer)
        reports.append(report)
        saved.append(buffer.getvalue())
    state = {run.id: torch.load(io.BytesIO(saved[0]))}
    ((resumed,),) = Loop().train(Job((run,), small.resolver), state)
    for found in (resumed, reports[1]):
        del found.line["seconds"]
    assert resumed.line == reports[1].line


def test_the_order_of_keys_and_each_number_is_in_the_fingerprint(file):
    file.write_text(EXPERIMENT + "\n\ndef other(n: int = 80):\n    x, y = sequences(n)\n"
                    "    x['attention_mask'] = x['attention_mask'].float()\n    return x, y\n"
                    "\n\ndef same(n: int = 80):\n    return sequences(n)\n")  # fmt: skip
    small = Small(file)
    digests = {
        name: small.resolver.data(small.asked(data=name), 0).fingerprint
        for name in ("sequences", "same", "other", "Rows")
    }
    assert digests["sequences"] == digests["same"]
    assert len(set(digests.values())) == 3


REFUSED = {
    "unnamed output": (
        {"model": "Mute", "data": "digits"},
        "model words.py:Mute returns tuple",
        "predict = lambda outputs: outputs[0]",
    ),
    "no loss": ({"model": "Lossless", "loss": "model"}, "returns no loss", '"loss"'),
    "no labels": ({"loss": "model"}, "labels", "loss"),
    "lengths": ({"data.spoil": "short"}, "79 examples", "80"),
    "words": ({"data.spoil": "words"}, "input 'lengths'", "no numbers"),
    "nested": ({"data.spoil": "nested"}, "input 'lengths'", "is a dict"),
    "ragged": ({"data": "Rows", "data.ragged": "true"}, "item 1 has", "Pad all items"),
    "standardized": ({"standardize": "true"}, "several tensors", "standardize=false"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused(paribus, file, tmp_path, case):
    changes, *texts = REFUSED[case]
    words = [f"{key}={value}" for key, value in changes.items()]
    done = paribus("run", file, *words, "--root", tmp_path / "results")
    refused(done, tmp_path / "results", *texts)


@pytest.mark.parametrize("case", ["transformer", "tuple", "graph", "items"])
def test_new_rows_are_predicted_from_python_as_in_validation(paribus, file, tmp_path, case):
    done = paribus("run", file, *settings(case, file), "--json", "--root", tmp_path / "results")
    small = Small(file)
    name = CASES[case].get("data", "sequences")
    source = small.experiment.objects[name]()
    if case == "items":
        inputs, _ = small.experiment.objects["sequences"]()
    else:
        inputs, _ = source
    rows = inputs if isinstance(inputs, dict) else list(zip(*inputs, strict=True))
    found = api.predict(done.json["run"], rows, root=tmp_path / "results").predictions
    assert len(found) == len(source[1] if isinstance(source, tuple) else source)
    model = api.load_run(done.json["run"], root=tmp_path / "results").model()
    with torch.no_grad():
        shares = model(inputs).softmax(1)
    expected = [{"0": a, "1": b} for a, b in shares.tolist()]
    assert [one.probabilities for one in found] == [pytest.approx(e, abs=1e-6) for e in expected]
    with pytest.raises(RequestError, match=r"^Input .* is no "):
        api.predict(done.json["run"], [{"other": 1}], root=tmp_path / "results")


LIBRARY = '''"""Digits as a sequence, by a model and data of libraries alone."""

predict = lambda output: output[0]

BASELINE = {
    "task": "multiclass",
    "data": "digits",
    "model": {"name": "torch.nn.LSTM", "input_size": 64, "hidden_size": 10},
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.01},
    "split": {"folds": 1},
    "train": {"epochs": 1},
}
'''


def test_what_predict_says_is_part_of_the_run(paribus, tmp_path):
    file, root = tmp_path / "digits_rnn.py", ["--root", tmp_path / "results"]
    file.write_text(LIBRARY)
    first = paribus("run", file, "--json", *root)
    assert first.code == 0, first.err
    file.write_text(LIBRARY.replace("output[0]", "2 * output[0]"))
    second = paribus("run", file, "--json", *root)
    assert first.json["run"] != second.json["run"]
    file.unlink()
    for run in (first.json["run"], second.json["run"]):
        assert paribus("evaluate", run, "--json", *root).json["differs"] == {}

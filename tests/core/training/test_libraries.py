"""Models of transformers and timm, built from keywords: trained, evaluated, reproduced, asked."""

import json
from importlib.metadata import version

import pytest
import torch
from commands import refused
from manifest import write_manifest
from safetensors.torch import save_file

from paribus.core.config.registry import resolve_component
from paribus.core.errors import RequestError

pytest.importorskip("transformers")
pytest.importorskip("timm")

EXPERIMENT = '''"""Do the words sum to much?"""

import torch


def sequences(n: int = 60):
    ids = (torch.sin(torch.arange(n * 8.0) * 12.9898) * 5 + 7).long().reshape(n, 8)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, (ids.sum(1) > 56).long()


def pictures(n: int = 48):
    return torch.sin(torch.arange(n * 1024.0) * 3.1).reshape(n, 1, 32, 32), torch.arange(n) % 3


BASELINE = {
    "task": "multiclass",
    "data": "sequences",
    "model": {
        "name": "transformers.BertForSequenceClassification",
        "vocab_size": 13,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    },
    "loss": "cross_entropy",
    "optimizer": {"name": "adamw", "lr": 0.01},
    "split": {"folds": 1},
    "train": {"epochs": 2, "batch_size": 16},
}
'''
CASES = {
    "transformers": [],
    "its own loss in bf16": ["loss=model", "train.precision=bf16"],
    "timm": ["data=pictures", "model=timm:resnet10t"],
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "words.py"
    path.write_text(EXPERIMENT)
    return path


@pytest.mark.parametrize("case", CASES)
def test_it_is_trained_evaluated_and_reproduced(paribus, file, tmp_path, case):
    root = ["--root", tmp_path / "results"]
    done = paribus("run", file, *CASES[case], "--json", *root)
    assert done.code == 0, done.err
    run = done.json["run"]
    record = json.loads((tmp_path / "results" / "runs" / run / "run.json").read_text())
    library = "timm" if case == "timm" else "transformers"
    assert record["identity"]["distributions"][library].startswith(version(library))
    assert paribus("evaluate", run, "--json", *root).json["differs"] == {}
    assert paribus("reproduce", run, *root).code == 0


def test_keywords_of_the_configuration_are_levels_and_outputs_follow_from_the_data(paribus, file):
    shown = paribus("show", file, "--json").json["configuration"]["model"]
    assert shown["num_labels"] == 2
    assert shown["hidden_dropout_prob"] == 0.1
    words = ["data=pictures", "model=timm:resnet10t", "--json"]
    shown = paribus("show", file, *words).json["configuration"]["model"]
    assert shown == {
        "name": "timm:resnet10t",
        "pretrained": False,
        "num_classes": 3,
        "in_chans": 1,
    }


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["model.hiden_size=3"], ["'model.hiden_size'", "Did you mean 'model.hidden_size'?"]),
        (["model=timm:resnet10x"], ["timm has no 'resnet10x'", "Did you mean 'resnet10t'?"]),
        (["model=timm:resnet10t", "loss=cross_entropy"], ["in_chans"]),
        (["model=timm:resnet10t", "model.drop_rat=0.1"], ["Did you mean 'model.drop_rate'?"]),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_refused(paribus, file, tmp_path, words, texts):
    done = paribus("run", file, *words, "--root", tmp_path / "results")
    refused(done, tmp_path / "results", *texts)


def test_a_forged_record_names_no_file_of_timm_s(paribus, file, tmp_path):
    root = ["--root", tmp_path / "results"]
    done = paribus("run", file, *CASES["timm"], "train.epochs=1", "--json", *root)
    folder = tmp_path / "results" / "runs" / done.json["run"]
    record = json.loads((folder / "run.json").read_text())
    record["configuration"]["model"]["checkpoint_path"] = "pickle.pth"
    (folder / "run.json").write_text(json.dumps(record))
    write_manifest(folder)
    asked = paribus("evaluate", done.json["run"], *root)
    assert asked.code == 2
    assert "names timm:resnet10t" in asked.err


def test_weights_that_are_not_here_are_missed_at_once_and_cached_ones_are_not_asked_for(
    small, tmp_path, monkeypatch, addresses
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    make = resolve_component("model", "timm:resnet10t", small.experiment).function
    with pytest.raises(RequestError, match="weights of timm:resnet10t are not on this machine"):
        make(num_classes=2, in_chans=3, pretrained=True)
    assert len(addresses) < 5
    weights = make(num_classes=1000, in_chans=3).state_dict()
    folder = tmp_path / "models--timm--resnet10t.c3_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    save_file(weights, folder / "snapshots" / "abc" / "model.safetensors")
    addresses.clear()
    found = make(num_classes=2, in_chans=3, pretrained=True).state_dict()
    assert torch.equal(found["conv1.0.weight"], weights["conv1.0.weight"])
    assert addresses == []
    assert not constants.HF_HUB_OFFLINE

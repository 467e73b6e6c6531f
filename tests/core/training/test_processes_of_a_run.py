"""One run over several processes: its bits, against one process, and what ends it."""

import io
import os
from pathlib import Path

import pytest
import torch
from jobs import lines_of, reports_and_states
from processes import children, is_alive

from paribus.core.errors import ProcessEnded, RequestError
from paribus.core.sources.reads import Reads, observing
from paribus.core.training.engine import Job
from paribus.core.training.loop import Loop

SGD = {"name": "sgd", "lr": 0.1, "momentum": 0.9}
TRAIN = {"epochs": 3, "batch_size": 8, "processes": 2}
MORE = """
import os
import signal
from pathlib import Path

import paribus.core.components.models as ours

HERE = Path(__file__).parent


class Conv(ours.CNN):
    def __init__(
        self, in_channels: int, out_features: int, input_shape: list[int], drop: float = 0.0
    ):
        super().__init__(in_channels, out_features, input_shape, channels=4, dropout=drop)


def pictures(n: int = 150):
    kind = torch.arange(n) % 3
    x = torch.sin(torch.arange(n * 64.0) * 12.9898).reshape(n, 1, 8, 8)
    return x + kind[:, None, None, None], kind


class Troubled(nn.Module):
    def __init__(self, in_features: int, num_classes: int, trouble: str = "calm"):
        super().__init__()
        self.layer, self.idle = nn.Linear(in_features, num_classes), nn.Linear(2, 2)
        self.trouble, self.calls = trouble, 0

    def forward(self, x):
        self.calls += self.training
        if self.calls > 3 and (HERE / "first").read_text() != str(os.getpid()):
            if self.trouble == "raise":
                raise ZeroDivisionError("this is what went wrong")
            if self.trouble == "memory":
                torch.empty(10**15)
            if self.trouble == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.trouble == "leave":
                os._exit(3)
            if self.trouble == "drift":
                self.layer.bias.data += 1e-3
        return self.layer(x)
"""

READING = """
from pathlib import Path

HERE = Path(__file__).parent


class Numbered(torch.utils.data.Dataset):
    targets = [row % 3 for row in range(60)]

    def __len__(self):
        return 60

    def __getitem__(self, row):
        number = float((HERE / f"{row}.txt").read_text())
        return torch.tensor([number, row % 3]), row % 3


def numbered():
    return Numbered()
"""


@pytest.fixture
def more(write_small, tmp_path):
    (tmp_path / "first").write_text(str(os.getpid()))
    yield write_small(MORE)
    assert not children(os.getpid()) or not [p for p in children(os.getpid()) if is_rank(p)]
    assert not torch.distributed.is_initialized()


def is_rank(pid):
    """Whether it is a fork of this process, as ranks are, and lives."""
    lines = [Path(f"/proc/{each}/cmdline").read_bytes() for each in (pid, "self")]
    return is_alive(pid) and lines[0] == lines[1]


def trained(small, state=None, train=None, **changes):
    changes = {"optimizer": SGD, "model": "Net"} | changes
    run = small.run(**changes, train=TRAIN | (train or {}))
    return reports_and_states(small.resolver, run, state)


NET = {"model": {"name": "Net", "rate": 0.2}}
CONV = {"data": "pictures", "model": {"name": "Conv", "drop": 0.2}}
PLATEAU = {"name": "plateau", "patience": 0, "factor": 0.5}


@pytest.mark.parametrize(
    ("train", "changes"),
    [
        ({}, NET),
        ({"processes": 3}, CONV),
        ({"sync_batch_norm": True}, CONV),
        ({"accumulate": 2, "ema": 0.9}, CONV),
        ({"precision": "bf16", "clip_grad_norm": 0.5, "sync_batch_norm": True}, NET),
        ({"precision": "fp16"}, NET),
        ({}, {**NET, "scheduler": PLATEAU}),
        ({}, {"optimizer": {"name": "lbfgs", "max_iter": 3}, "model": "mlp"}),
        ({"epochs": None, "updates": 12}, {"augment": ["RandomHorizontalFlip"], **CONV}),
    ],
    ids=str,
)
def test_it_has_the_same_bits_twice_and_when_it_is_resumed(more, train, changes):
    reports, saved = trained(more, train=train, **changes)
    again, _ = trained(more, train=train, **changes)
    assert lines_of(again) == lines_of(reports)
    resumed, _ = trained(more, saved[0], train=train, **changes)
    assert lines_of(resumed) == lines_of(reports)[1:]


@pytest.mark.parametrize(
    "train", [{}, {"accumulate": 2}, {"processes": 3, "batch_size": 5}], ids=str
)
@pytest.mark.parametrize("sync", [False, True])
def test_it_is_one_process_with_a_batch_as_large(more, train, sync):
    """Ten updates and more; all divide the last of an epoch, of 41 or 105 examples, unevenly."""
    train = TRAIN | train
    size = train["batch_size"] * train["processes"]
    one = {"processes": 1, "batch_size": size, "accumulate": train.get("accumulate", 1)}
    changes = {"model": "mlp"} if not sync else {**CONV, "model": "Conv"}
    parts, mine = trained(more, train=train | {"epochs": 5, "sync_batch_norm": sync}, **changes)
    whole, theirs = trained(more, train=one | {"epochs": 5}, **changes)
    for ours, other in zip(parts, whole, strict=True):
        assert ours.line["order_sha256"] == other.line["order_sha256"]
        assert ours.line["metrics"] == pytest.approx(other.line["metrics"], abs=1e-4)
    ours, other = (torch.load(io.BytesIO(state[-1]))["model"] for state in (mine, theirs))
    for name, value in other.items():
        rtol = 1e-5 if "running" in name else 0
        torch.testing.assert_close(ours[name], value, rtol=rtol, atol=1e-5)
    facts = more.run(train=train, **changes).facts
    assert facts["updates"] == more.run(train=one | {"epochs": 3}, **changes).facts["updates"]


def test_how_processes_are_started_and_read_ahead_changes_no_bit(more, monkeypatch):
    """With GPUs they are spawned, and load the experiment's file again; so they are here."""
    train = TRAIN | {"sync_batch_norm": True}
    changes = {**CONV, "augment": ["RandomHorizontalFlip"], "device": "cpu", "optimizer": SGD}
    run = more.run(**changes, train=train)
    forked, saved = reports_and_states(more.resolver, run)
    job = Job((run,), more.resolver, loader_workers=1)
    ahead = [report for (report,) in Loop().train(job, {})]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    spawned, _ = reports_and_states(more.resolver, run, saved[0])
    assert lines_of(ahead) == lines_of(forked)
    assert lines_of(spawned) == lines_of(forked)[1:]


def test_what_another_process_reads_is_read_by_the_run(write_small, tmp_path):
    """Each example has a file; those of the second process' batches are noted, too."""
    for row in range(60):
        (tmp_path / f"{row}.txt").write_text(str(row))
    small = write_small(READING)
    run = small.run(data="numbered", model="mlp", train=TRAIN | {"epochs": 1})
    with observing(reads := Reads()):
        reports_and_states(small.resolver, run)
    assert len([file for file in reads.files if file.endswith(".txt")]) == 51  # not the test part


def test_examples_that_no_process_shares_and_unused_parameters_do_no_harm(more):
    """41 = 40 + 1 examples: the second process has none in an epoch's last update."""
    reports, _ = trained(more, train={"batch_size": 20, "processes": 2}, model="Troubled")
    one, _ = trained(more, train={"batch_size": 40, "processes": 1}, model="Troubled")
    assert reports[-1].line["metrics"] == pytest.approx(one[-1].line["metrics"], abs=1e-5)


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        ("raise", ZeroDivisionError, "this is what went wrong"),
        ("memory", RuntimeError, "allocate memory"),
        ("die", ProcessEnded, r"process [12] of the run's 3 died \(SIGKILL\)"),
        ("leave", ProcessEnded, r"process [12] of the run's 3 died \(exit code 3\)"),
        ("drift", Exception, "processes ended epoch . with different parameters"),
    ],
)
def test_what_happens_to_another_process_ends_the_run(more, trouble, kind, words):
    with pytest.raises(kind, match=words):
        trained(more, train={"processes": 3}, model={"name": "Troubled", "trouble": trouble})


def test_an_exception_of_another_process_names_the_line_of_the_user_s_file(more):
    with pytest.raises(ZeroDivisionError) as caught:
        trained(more, model={"name": "Troubled", "trouble": "raise"})
    assert any(file.endswith("small.py") for file, _ in caught.value.frames)


def test_closing_it_after_an_epoch_ends_the_others(more):
    run = more.run(optimizer=SGD, model="Net", train=TRAIN)
    epochs = Loop().train(Job((run,), more.resolver), {})
    next(epochs)
    assert [pid for pid in children(os.getpid()) if is_rank(pid)]
    epochs.close()


def test_number_and_form_are_part_of_what_a_run_is(more):
    plain = more.run(train=TRAIN | {"processes": 1, "sync_batch_norm": False}, model="mlp")
    assert not {"processes", "sync_batch_norm"} & plain.configuration["train"].keys()
    assert "collectives" not in plain.identity
    several = more.run(train=TRAIN, model="mlp")
    assert several.identity["collectives"] == "gloo"
    found = {plain.id, several.id, more.run(train=TRAIN | {"processes": 3}, model="mlp").id}
    synced = more.run(train=TRAIN | {"sync_batch_norm": True}, model="Net")
    assert len(found | {synced.id}) == 4
    why = more.resolver.summary(several.requested, "auto")["why_no_cohort"]
    assert why == "it is trained with train.processes=2"
    with pytest.raises(RequestError, match=r"cohort.*it is trained with train.processes=2"):
        more.resolver.specify(several.requested, 0, "cohort")


@pytest.mark.parametrize(
    ("train", "changes", "words"),
    [
        ({"processes": 0}, {}, "train.processes=0: must be a whole number of at least 1"),
        ({"processes": 42}, {}, "train.processes=42: an epoch's last batches have 41 examples"),
        (
            {"batch_size": 20, "sync_batch_norm": True},
            {},
            "train.processes=2: an epoch's last batches have 1 example",
        ),
        (
            {"sync_batch_norm": True},
            {"model": "mlp"},
            "train.sync_batch_norm=true: model mlp has no batch normalization",
        ),
        ({}, {"device": "cuda"}, "device=cuda"),
    ],
)
def test_what_several_processes_cannot_train_is_refused(more, train, changes, words):
    if changes.get("device") and torch.cuda.is_available():
        pytest.skip("there are GPUs")
    with pytest.raises(RequestError) as caught:
        more.run(**({"model": "Net"} | changes), train=TRAIN | train)
    assert words in str(caught.value)

"""A job of members writes the records that each run alone would have written."""

import jobs
from safetensors.torch import load_file

from paribus.core.records.run_dir import BEST, RECORD, RunFolder

RUNS = [
    {"optimizer": {"name": "adam", "lr": lr}, "model": {"name": "mlp", "dropout": 0.2}}
    for lr in (0.001, 0.01, 0.1)
]

# Of a user, who has never heard of cohorts.
OWN = """
class Own(nn.Module):
    def __init__(self, in_features: int, out_features: int, hidden: int = 7):
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden)
        self.fc2 = nn.Linear(hidden, out_features)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        x = torch.flatten(x, 1)
        return self.fc2(self.drop(torch.relu(self.fc1(x))))
"""


def train(runs, folder, stop=None):
    return jobs.train([(run, folder / run.id) for run in runs], stop)


def digests(folder, run):
    """What of a record does not depend on time."""
    record = RunFolder(folder / run.id).verified_record()
    history = RunFolder(folder / run.id).history()
    bits = [epoch.model_dump(exclude={"seconds"}) for epoch in history]
    weights = {k: v.tolist() for k, v in load_file(folder / run.id / BEST).items()}
    return bits, record.best, record.initial_weights, weights


def test_records_do_not_depend_on_the_job_or_on_stops(small, tmp_path):
    runs = [small.run(seed, **change) for change in RUNS for seed in (0, 1)]
    for run in runs:
        train([run], tmp_path / "alone")
    alone = [digests(tmp_path / "alone", run) for run in runs]
    train(runs, tmp_path / "many")
    assert [digests(tmp_path / "many", run) for run in runs] == alone
    for stop in (1, 6, 8):  # in the first epoch's reports, at its end, in the second's
        place = tmp_path / f"stopped{stop}"
        train(runs, place, stop)
        train(runs[::2], place)  # and on in other company
        train(runs[1::2], place)
        assert [digests(place, run) for run in runs] == alone


def test_a_member_that_raises_fails_alone(write_small, tmp_path):
    (tmp_path / "touchy.py").write_text(jobs.too_sure('raise ArithmeticError("too sure")'))
    small = write_small(OWN)
    asked = {"model": "Own", "metrics": ["touchy.TooSure"]}
    runs = [small.run(seed, **asked, optimizer={"name": "sgd", "lr": 0.01}) for seed in range(3)]
    bad = small.run(0, **asked, optimizer={"name": "sgd", "lr": 1000.0})
    good = {run.id for run in runs}
    ended = {p.run: p for p in train([*runs[:1], bad, *runs[1:]], tmp_path) if p.ended}
    assert {name: p.ended for name, p in ended.items()} == dict.fromkeys(good, "complete") | {
        bad.id: "failed"
    }
    assert ended[bad.id].reason.startswith("exception: ArithmeticError: too sure")
    assert (tmp_path / bad.id / RECORD).exists()


def test_members_share_the_time_of_an_epoch(small, tmp_path):
    runs = [small.run(seed, **RUNS[0]) for seed in range(4)]
    shares = [p.line["seconds"] for p in train(runs, tmp_path) if p.line["epoch"] == 2]
    assert len(set(shares)) == 1

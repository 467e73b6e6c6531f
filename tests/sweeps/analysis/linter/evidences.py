"""Studies as the linter looks at them, made by hand."""

from dataclasses import dataclass

from paribus.core.records.record import Best, Facts, RunRecord
from paribus.sweeps.analysis.linter.evidence import Evidence
from paribus.sweeps.study.results import PlannedSetting, SettingResult
from paribus.sweeps.study.study import AxisRecord, Metric, StudyRecord

CONFIGURATION = {
    "model": {"name": "mlp", "hidden_dim": 64, "dropout": 0.0},
    "optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.0},
    "scheduler": {"name": "constant"},
    "train": {"epochs": 10, "updates": None, "batch_size": 32},
}
SEEDS = (0, 1, 2, 3, 4)


@dataclass
class Made:
    """A setting and what its runs recorded; see `setting`."""

    key: str | None
    level: object
    values: dict
    seeds: tuple
    histories: dict
    derived: dict
    failures: dict
    stopped: tuple

    @property
    def label(self):
        return "baseline" if self.key is None else f"{self.key}={self.level}"

    def result(self):
        runs = {seed: f"{self.label}-s{seed}" for seed in self.seeds}
        planned = PlannedSetting(self.label, self.key, self.level, {}, self.derived, runs)
        values = {seed: v for seed, v in self.values.items() if seed not in self.failures}
        found = tuple(runs[seed] for seed in (*values, *self.failures))
        return SettingResult(planned, (*values,), (*values.values(),), found, "complete", None)

    def record(self, seed, configuration, matrix, ended):
        if seed in self.stopped:
            configuration = configuration | {"train": {**configuration["train"], "patience": 3}}
        return RunRecord.model_construct(
            run=f"{self.label}-s{seed}",
            seed=seed,
            status="failed" if seed in self.failures else "complete",
            reason=self.failures.get(seed),
            configuration=configuration,
            facts=Facts(epochs=30, parameters=1),
            epochs=10,
            best=Best(epoch=1, metrics={}, confusion_matrix=matrix),
            ended=ended and ended.isoformat(),
        )


def setting(key=None, level=None, mean=0.9, *, seeds=SEEDS, curves=None, histories=None,
            derived=None, failures=None, stopped=()):  # fmt: skip
    """A setting whose value is the same for all seeds, unless a mapping gives each.

    `curves` maps a metric to its values over epochs, the same for all seeds.
    """
    values = dict.fromkeys(seeds, mean) if isinstance(mean, float) else mean or {}
    if curves:
        names = list(curves)
        epochs = [dict(zip(names, row, strict=True)) for row in zip(*curves.values(), strict=True)]
        histories = dict.fromkeys(seeds, epochs)
    return Made(key, level, values, tuple(seeds), histories or {}, derived or {}, failures or {},
                stopped)  # fmt: skip


def evidence(
    *settings, axes=None, metric="val/accuracy", direction="maximize", margin=0.005,
    configuration=CONFIGURATION, confusion_matrix=None, readings=(), ended=None,
):  # fmt: skip
    """A study of the baseline (0.9 unless given) and these settings, by accuracy."""
    if not any(one.key is None for one in settings):
        settings = (setting(), *settings)
    if axes is None:
        levels = {}
        for one in settings:
            if one.key:
                levels.setdefault(one.key, []).append(one.level)
        axes = {key: (_baseline(key), *tried) for key, tried in levels.items()}
    results = [one.result() for one in settings]
    records = [
        one.record(seed, configuration, confusion_matrix, ended)
        for one in settings
        for seed in (*one.values, *one.failures)
    ]
    return Evidence(
        requested=StudyRecord(
            study="mine",
            experiment="digits",
            baseline=configuration,
            metric=Metric(name=metric, direction=direction),
            axes=[
                AxisRecord(key=key, baseline=first, levels=rest)
                for key, (first, *rest) in axes.items()
            ],
            settings=[],
            storage=None,
            created="",
        ),
        results=results,
        start="digits",
        margin=margin,
        records={record.run: record for record in records},
        histories={
            f"{one.label}-s{seed}": one.histories.get(seed, ())
            for one in settings
            for seed in one.seeds
        },
        readings=readings,
    )


def _baseline(key):
    group, _, inner = key.partition(".")
    return CONFIGURATION[group][inner or "name"]


def only(seen):
    """The one thing that a rule saw, which it could judge."""
    (one,) = seen
    assert one.judged, one
    return one


def why_not(seen):
    """Why a rule could not judge."""
    (one,) = seen
    assert not one.judged, one
    assert one.sentence.startswith("cannot be judged: ")
    return one.sentence.removeprefix("cannot be judged: ")

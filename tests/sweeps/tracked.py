"""What a tracker is given, by hand: a run's record, and a study with a picture and a page."""

import io
from dataclasses import replace

from PIL import Image

from paribus.core.records.record import Epoch, read_record
from paribus.sweeps.analysis.compare import Comparison, Metric, SettingComparison
from paribus.sweeps.analysis.linter.evidence import Finding
from paribus.sweeps.tracking.tracker import TrackedStudy


def recorded(best, *, class_names=None, **more):
    """The record of a run that is complete, or failed where there is no best epoch."""
    return read_record({
        "format": 2, "run": "digits-s0-0123456789ab", "experiment": "digits", "seed": 0,
        "status": "complete" if best else "failed", "reason": None, "engine": "loop",
        "configuration": {
            "data": {"name": "digits"}, "device": "cpu",
            "select": {"metric": "val/accuracy", "direction": "maximize"},
        },
        "asked": {"device": "cpu"}, "experiment_file": "digits.py",
        "identity": {
            "sources": {}, "distributions": {}, "environment": {}, "configuration": {},
            "files": {}, "variables": {},
            "format": 2, "numerics": 1, "seed": 0, "data": None,
        },
        "facts": {"epochs": 5, "parameters": 1},
        "data": {"val": 10, "preprocessing": {"class_names": class_names}},
        "initial_weights": {}, "epochs": 5, "best": best, "last": None, "seconds": 1.0,
        "weights_sha256": "bb" if best else None,
        **more,
    })  # fmt: skip


def epochs(lines):
    """Lines of a history as they are read."""
    return [Epoch.model_validate(line) for line in lines]


_BASELINE = SettingComparison(
    label="baseline",
    changed={},
    derived={},
    runs=["a", "b"],
    seeds=[0, 1],
    values=[0.625, 0.875],
    mean=0.75,
    std=0.1,
    status="complete",
    reason=None,
)
_LEVEL = _BASELINE.model_copy(
    update={
        "label": "optimizer.lr=0.01",
        "changed": {"optimizer.lr": [0.001, 0.01]},
        "derived": {"scheduler.T_max": [10, 20], "engine": ["cohort", "loop"]},
        "values": [0.75, 1.0],
        "mean": 0.875,
        "delta": 0.125,
        "interval": [0.0625, 0.1875],
        "confidence": 0.95,
        "verdict": "better",
        "question": "new data",
        "p": 0.015625,
        "p_holm": 0.03125,
        "threshold": 0.046875,
    }
)
_SEEN = Finding(
    rule="edge-of-axis",
    about="optimizer.lr",
    sentence="the best level, 0.01, is the highest one tried.",
    reason="the best value may lie beyond.",
)
STUDY = TrackedStudy(
    study="rates",
    experiment="digits",
    baseline={"optimizer": {"name": "adam", "lr": 0.001}, "model": {"a.b": 1}},
    comparison=Comparison(
        study="rates",
        metric=Metric(name="val/accuracy", direction="maximize"),
        sameness="proven",
        question="new data",
        margin=0.005,
        tests=1,
        examples=270,
        looks=[],
        settings=[_BASELINE, _LEVEL],
        linter=[_SEEN, replace(_SEEN, rule="overfitting", judged=False)],
    ),
)
ROWS = [
    ["baseline", "", 0.75, 0.1 / 2**0.5, 0.1, 2, *[None] * 10, ""],
    ["optimizer.lr=0.01", "optimizer.lr", 0.875, 0.1 / 2**0.5, 0.1, 2, 0.125, 0.0625, 0.1875, 0.95,
     "better", None, "new data", 0.015625, 0.046875, 0.03125,
     "scheduler.T_max: 10 → 20; engine: cohort → loop"],
]  # fmt: skip


def picture():
    """A small PNG."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG")
    return file.getvalue()


def whole_study(folder, text="<h1>rates</h1>"):
    """The study with its picture, and its page in a folder."""
    page = folder / "report.html"
    page.write_text(text)
    return replace(STUDY, picture=picture(), page=page)


def grown(study):
    """The same study with one setting more."""
    worse = {"label": "optimizer.lr=0.1", "values": [0.5, 0.5], "delta": -0.25, "verdict": "worse"}
    settings = [*study.comparison.settings, _LEVEL.model_copy(update=worse)]
    return replace(study, comparison=study.comparison.model_copy(update={"settings": settings}))

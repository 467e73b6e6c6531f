"""What a tracker is told, by hand: a study with a picture and a page."""

import io
from dataclasses import replace

from PIL import Image

from paribus.sweeps.tracking.tracker import TrackedStudy

_BASELINE = {
    "label": "baseline",
    "changed": {},
    "derived": {},
    "runs": ["a", "b"],
    "seeds": [0, 1],
    "mean": 0.75,
    "std": 0.1,
    "status": "complete",
    "delta": None,
    "interval": None,
    "confidence": None,
    "verdict": None,
    "question": None,
    "p_holm": None,
}
_LEVEL = _BASELINE | {
    "label": "optimizer.lr=0.01",
    "changed": {"optimizer.lr": [0.001, 0.01]},
    "derived": {"scheduler.T_max": [10, 20], "engine": ["cohort", "loop"]},
    "mean": 0.875,
    "delta": 0.125,
    "interval": [0.0625, 0.1875],
    "confidence": 0.95,
    "verdict": "better",
    "question": "new data",
    "p_holm": 0.03125,
}
_SEEN = {
    "rule": "edge-of-axis",
    "about": "optimizer.lr",
    "sentence": "the best level, 0.01, is the highest one tried.",
    "reason": "the best value may lie beyond.",
    "judged": True,
}
STUDY = TrackedStudy(
    study="rates",
    experiment="digits",
    baseline={"optimizer": {"name": "adam", "lr": 0.001}, "model": {"a.b": 1}},
    comparison={
        "metric": {"name": "val/accuracy", "direction": "maximize"},
        "margin": 0.005,
        "question": "new data",
        "settings": [_BASELINE, _LEVEL],
        "linter": [_SEEN, _SEEN | {"rule": "overfitting", "judged": False}],
    },
)
ROWS = [
    ["baseline", "", 0.75, 0.1 / 2**0.5, 0.1, 2, *[None] * 7, ""],
    ["optimizer.lr=0.01", "optimizer.lr", 0.875, 0.1 / 2**0.5, 0.1, 2, 0.125, 0.0625, 0.1875, 0.95,
     "better", "new data", 0.03125, "scheduler.T_max: 10 → 20; engine: cohort → loop"],
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
    worse = _LEVEL | {"label": "optimizer.lr=0.1", "delta": -0.25, "verdict": "worse"}
    comparison = study.comparison | {"settings": [*study.comparison["settings"], worse]}
    return replace(study, comparison=comparison)

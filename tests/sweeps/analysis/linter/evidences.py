"""Studies as the linter looks at them, made by hand."""

from paribus.sweeps.analysis.linter.evidence import AxisSeen, Evidence, SettingSeen

CONFIGURATION = {
    "model": {"name": "mlp", "hidden_dim": 64, "dropout": 0.0},
    "optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.0},
    "scheduler": {"name": "constant"},
    "train": {"epochs": 10, "updates": None, "batch_size": 32},
}
SEEDS = (0, 1, 2)


def setting(key=None, level=None, mean=0.9, *, seeds=SEEDS, curves=None, **more):
    """A setting whose value is the same for all seeds, unless a mapping gives each.

    `curves` maps a metric to its values over epochs, the same for all seeds.
    """
    values = dict.fromkeys(seeds, mean) if isinstance(mean, float) else mean or {}
    label = "baseline" if key is None else f"{key}={level}"
    if curves:
        names = list(curves)
        epochs = [dict(zip(names, row, strict=True)) for row in zip(*curves.values(), strict=True)]
        more.setdefault("histories", dict.fromkeys(seeds, epochs))
    more.setdefault("runs", {seed: f"{label}-s{seed}" for seed in seeds})
    return SettingSeen(label, key, level, values, **more)


def evidence(*settings, axes=None, **more):
    """A study of the baseline (0.9 unless given) and these settings, by accuracy."""
    if not any(one.key is None for one in settings):
        settings = (setting(), *settings)
    if axes is None:
        levels = {}
        for one in settings:
            if one.key:
                levels.setdefault(one.key, []).append(one.level)
        axes = {key: (_baseline(key), *tried) for key, tried in levels.items()}
    return Evidence(**{
        "study": "mine",
        "start": "digits",
        "metric": "val/accuracy",
        "direction": "maximize",
        "margin": 0.005,
        "axes": tuple(AxisSeen(key, first, tuple(rest)) for key, (first, *rest) in axes.items()),
        "settings": settings,
        "configuration": CONFIGURATION,
        **more,
    })  # fmt: skip


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

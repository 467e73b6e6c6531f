"""What captions are made of: units and counts."""

_UNITS = {
    **dict.fromkeys(("accuracy", "precision", "recall", "f1"), "from 0 to 1"),
    "mae": "in units of the target",
    "mse": "in squared units of the target",
    "r2": "1 is perfect",
}
_BETTER = {"maximize": "higher is better", "minimize": "lower is better"}


def explained(metric: str, direction: str) -> str:
    """A metric with its unit, where that is known, and its direction."""
    unit = _UNITS.get(metric.rpartition("/")[2])
    return (
        f"{metric} ({unit}, {_BETTER[direction]})" if unit else f"{metric} ({_BETTER[direction]})"
    )


def many(count: int, noun: str) -> str:
    """A count with its noun in the singular or the plural."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

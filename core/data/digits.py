"""The handwritten digits that come with scikit-learn, read without importing it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from paribus.core.errors import bad_data

SIDE = 8


def digits(n_class: Annotated[int, Field(ge=2, le=10)] = 10) -> dict[str, Any]:
    """Return 1797 digits of 8×8 pixels from 0 to 16, as `sklearn.datasets.load_digits` gives them.

    Importing scikit-learn takes longer than training on them does.

    Args:
        n_class: Digits from 0 on that are kept.

    Raises:
        RequestError: If scikit-learn's file is not where it was.
    """
    spec = find_spec("sklearn")
    folder = Path(spec.origin or "").parent if spec else Path()
    file = folder / "datasets" / "data" / "digits.csv.gz"
    if not file.is_file():
        raise bad_data(f"There is no file {file}.", "Take data=sklearn.datasets.load_digits.")
    rows = np.loadtxt(file, delimiter=",")
    rows = rows[rows[:, -1] < n_class]
    return {
        "data": rows[:, :-1],
        "target": rows[:, -1].astype(int),
        "feature_names": [f"pixel_{y}_{x}" for y in range(SIDE) for x in range(SIDE)],
        "target_names": np.arange(n_class),
    }

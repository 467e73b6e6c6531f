"""The small data sets that come with scikit-learn, read from its files.

Importing scikit-learn takes longer than training on them does. The same arrays, bit by bit.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from paribus.core.errors import bad_data

_CELLS = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity",
          "concave points", "symmetry", "fractal dimension")  # fmt: skip


def digits(n_class: Annotated[int, Field(ge=2, le=10)] = 10) -> dict[str, Any]:
    """Return 1797 digits of 8×8 pixels from 0 to 16, as `sklearn.datasets.load_digits` gives them.

    Digits from 0 on are kept, so many as `n_class` says.

    Raises:
        RequestError: If scikit-learn's file is not where it was.
    """
    rows = np.loadtxt(_file("digits.csv.gz"), delimiter=",")
    rows = rows[rows[:, -1] < n_class]
    return {
        "data": rows[:, :-1],
        "target": rows[:, -1].astype(int),
        "feature_names": [f"pixel_{y}_{x}" for y in range(8) for x in range(8)],
        "target_names": np.arange(n_class),
    }


def load_iris(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Return what `sklearn.datasets.load_iris` does."""
    if return_X_y or as_frame:
        return _sklearn("load_iris", return_X_y=return_X_y, as_frame=as_frame)
    names = ["sepal length", "sepal width", "petal length", "petal width"]
    return _csv("iris.csv", [f"{name} (cm)" for name in names])


def load_wine(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Return what `sklearn.datasets.load_wine` does."""
    if return_X_y or as_frame:
        return _sklearn("load_wine", return_X_y=return_X_y, as_frame=as_frame)
    return _csv("wine_data.csv", [
        "alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols",
        "flavanoids", "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue",
        "od280/od315_of_diluted_wines", "proline",
    ])  # fmt: skip


def load_breast_cancer(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Return what `sklearn.datasets.load_breast_cancer` does."""
    if return_X_y or as_frame:
        return _sklearn("load_breast_cancer", return_X_y=return_X_y, as_frame=as_frame)
    names = [f"mean {name}" for name in _CELLS] + [f"{name} error" for name in _CELLS]
    return _csv("breast_cancer.csv", names + [f"worst {name}" for name in _CELLS])


def load_diabetes(*, return_X_y: bool = False, as_frame: bool = False, scaled: bool = True) -> Any:
    """Return what `sklearn.datasets.load_diabetes` does."""
    if return_X_y or as_frame:
        return _sklearn("load_diabetes", return_X_y=return_X_y, as_frame=as_frame, scaled=scaled)
    inputs = np.loadtxt(_file("diabetes_data_raw.csv.gz"))
    if scaled:
        inputs = (inputs - inputs.mean(0)) / inputs.std(0)
        inputs /= len(inputs) ** 0.5
    names = ["age", "sex", "bmi", "bp", *(f"s{number}" for number in range(1, 7))]
    target = np.loadtxt(_file("diabetes_target.csv.gz"))
    return {"data": inputs, "target": target, "feature_names": names}


def _csv(name: str, features: list[str]) -> dict[str, Any]:
    """Read a file whose first line has two sizes and then the names of the classes."""
    first, *lines = _file(name).read_text().splitlines()
    rows = np.loadtxt(lines, delimiter=",")
    return {
        "data": rows[:, :-1],
        "target": rows[:, -1].astype(int),
        "feature_names": features,
        "target_names": first.split(",")[2:],
    }


def _file(name: str) -> Path:
    spec = find_spec("sklearn")
    file = Path(spec.origin or "" if spec else "").parent / "datasets" / "data" / name
    if not file.is_file():
        raise bad_data(f"There is no file {file}.", "Install scikit-learn again.")
    return file


def _sklearn(name: str, **keywords: Any) -> Any:
    return getattr(import_module("sklearn.datasets"), name)(**keywords)

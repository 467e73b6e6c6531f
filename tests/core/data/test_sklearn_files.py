"""Scikit-learn's small sets, read from its files, are what scikit-learn returns."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn import datasets

from paribus.core.config.experiment import catalogue, load_experiment
from paribus.core.config.registry import build, resolve_component
from paribus.core.data import sklearn_files


@pytest.fixture
def named():
    """What `data=NAME` returns."""
    experiment = load_experiment(catalogue()["wine"])

    def call(name, **keywords):
        return build(resolve_component("data", name, experiment), keywords)

    return call


@pytest.mark.parametrize("name", ["load_breast_cancer", "load_diabetes", "load_iris", "load_wine"])
def test_a_set_is_the_one_that_scikit_learn_returns(named, name):
    ours, theirs = named(f"sklearn.datasets.{name}"), getattr(datasets, name)()
    for part in ("data", "target"):
        assert ours[part].dtype == theirs[part].dtype
        assert ours[part].tobytes() == np.ascontiguousarray(theirs[part]).tobytes()
    for names in ("feature_names", "target_names"):
        assert list(ours.get(names, ())) == list(theirs.get(names, ()))
    x, y = named(f"sklearn.datasets.{name}", return_X_y=True)
    assert np.array_equal(x, theirs.data)
    assert np.array_equal(y, theirs.target)


def test_unscaled_diabetes_and_some_of_the_digits_are_too(named):
    raw = named("sklearn.datasets.load_diabetes", scaled=False)
    assert np.array_equal(raw["data"], datasets.load_diabetes(scaled=False).data)
    few, theirs = sklearn_files.digits(n_class=3), datasets.load_digits(n_class=3)
    assert np.array_equal(few["data"], theirs.data)
    assert np.array_equal(few["target"], theirs.target)
    assert few["feature_names"] == theirs.feature_names


def test_training_on_one_imports_no_scikit_learn(tmp_path):
    text = (
        "import sys\nfrom paribus.sweeps.cli.app import run\n"
        "assert not run(['run', 'wine', 'train.epochs=1', '--no-wandb'])\n"
        "assert 'sklearn' not in sys.modules\n"
    )
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

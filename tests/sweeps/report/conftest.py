"""Two studies to look at: an ordinary one, and one whose names try to be more than names."""

import pytest
from hostile import EXPERIMENT


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="session")
def page(paribus, place):
    """The page of a study of `digits` with three axes, and a level that fails."""
    done = paribus(
        *("sweep", "digits", "optimizer.lr=0.0001,0.003,0.1,1e30", "model.hidden_dim=16,64"),
        *("optimizer=sgd", "--set", "train.epochs=3", "--seeds", "3", "--study", "seen"),
        *("--workers", "1", "--no-wandb", "--root", place / "results"),
    )
    assert done.code == 1, done.err
    return shown(paribus, place, "seen")


@pytest.fixture(scope="session")
def hostile_page(paribus, place):
    """The page of a study whose every name is an attack."""
    file = place / "named.py"
    file.write_text(EXPERIMENT)
    done = paribus(
        *("sweep", file, "--seeds", "2", "--study", "hostile", "--workers", "1", "--no-wandb"),
        *("--root", place / "results"),
    )
    assert done.code == 0, done.err
    return shown(paribus, place, "hostile")


def shown(paribus, place, study):
    done = paribus("report", study, "--root", place / "results")
    assert done.code in (0, 1), done.err
    return place / "results" / "studies" / study / "report.html"

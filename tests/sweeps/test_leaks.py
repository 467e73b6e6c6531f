"""Splits by group and by time: what cannot be known of new groups or of the future is not known."""

import re

import numpy as np
import pandas as pd
import pytest

import paribus

FILE = '''"""Does it learn, or remember?"""

from pathlib import Path

BASELINE = {
    "task": "binary",
    "data": {
        "name": "table",
        "path": str(Path(__file__).parent / "rows.csv"),
        "target": "y",
        "leave_out": ["who", "day"],
    },
    "model": {"name": "mlp", "hidden_dim": 64},
    "loss": "bce_with_logits",
    "optimizer": {"name": "adam", "lr": 0.01},
    "train": {"epochs": 40, "batch_size": 32},
}

AXES = {"optimizer.lr": [0.02]}
'''


@pytest.fixture
def command(request):
    return request.getfixturevalue("paribus")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Of 150 people, or weeks, 2 to 5 rows each, which look alike and have one random label."""
    folder, draw = tmp_path_factory.mktemp("leaks"), np.random.default_rng(0)
    who = np.repeat(np.arange(150), draw.integers(2, 6, 150))
    looks = draw.normal(size=(150, 8))[who] + draw.normal(size=(len(who), 8)) / 20
    labels = draw.permutation(np.arange(150) % 2)[who]
    days = np.datetime64("2026-01-01") + 7 * who + draw.integers(0, 7, len(who))
    frame = pd.DataFrame(looks, columns=[f"x{k}" for k in range(8)])
    frame = frame.assign(who=[f"p{n:03}" for n in who], day=days.astype(str), y=labels)
    frame.sample(frac=1, random_state=0).to_csv(folder / "rows.csv", index=False)
    (folder / "remember.py").write_text(FILE)
    return folder


def study(rows, name, **split):
    """Train five seeds of two settings, and compare them."""
    overrides = {f"split.{key}": value for key, value in split.items()}
    return paribus.sweep(
        rows / "remember.py", overrides=overrides, study=name, root=rows / "results", wandb=False
    )


def on_test(found):
    """The baseline's accuracies on the test part, which chose no epoch."""
    return paribus.evaluate(found, split="test")["baseline"].values


def test_new_groups_cannot_be_known_by_the_looks_of_others(rows):
    assert np.mean(on_test(study(rows, "mixed"))) > 0.95
    apart = study(rows, "apart", group_on="who")
    assert 0.3 < np.mean(on_test(apart)) < 0.7
    assert paribus.compare(apart).group_on == "who"


def test_the_future_cannot_be_known_by_rows_of_the_same_week(rows):
    assert np.mean(on_test(study(rows, "mixed"))) > 0.95
    later = study(rows, "later", time_on="day", gap="6d")
    assert 0.3 < np.mean(on_test(later)) < 0.7


def test_verdicts_over_groups_hold_for_new_values_of_the_column(rows, command):
    study(rows, "apart", group_on="who")
    words = ("--verbose", "--root", rows / "results")
    said = command("compare", "apart", *words).out
    assert "on new data, for other seeds and new values of who" in said
    # Examples of a group are not independent: on one part nothing is said of others.
    study(rows, "one", group_on="who", folds=1)
    assert "verdict: on this validation part" in command("compare", "one", *words).out


def test_check_finds_ids_and_copies_that_both_parts_have(rows, command):
    frame = pd.read_csv(rows / "rows.csv").rename(columns={"who": "patient_id"})
    frame.to_csv(rows / "ids.csv", index=False)
    text = FILE.replace("rows.csv", "ids.csv").replace('"who"', '"patient_id"')
    (rows / "ids.py").write_text(text)
    done = command("check", "ids.py", cwd=rows)
    assert (
        "have a 'patient_id' that training examples have too. split.group_on=patient_id" in done.out
    )
    done = command("check", "ids.py", "split.group_on=patient_id", cwd=rows)
    assert "have a 'patient_id'" not in done.out
    assert not re.search(r"labels follow from inputs +passed", done.out)  # one of a group counts
    copies = frame.drop_duplicates("patient_id")
    columns = [f"x{k}" for k in range(8)]
    shaken = copies.assign(**{c: copies[c] * 1.001 for c in columns}, patient_id="none")
    pd.concat([copies, shaken]).assign(patient_id="none").to_csv(rows / "ids.csv", index=False)
    assert "are nearly equal to one in training" in command("check", "ids.py", cwd=rows).out

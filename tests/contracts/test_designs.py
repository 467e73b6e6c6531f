"""What every design keeps to: each setting once, nothing of timing, an end."""

import itertools

import pytest

from sweeps.axes import Axis, Level
from sweeps.designs import OneAtATime

BASELINE = {"optimizer": {"name": "adam", "lr": 0.1}, "train": {"batch_size": 8}}
LEVELS = {"optimizer.lr": [0.1, 1.0, 10.0], "train.batch_size": [4], "loss": ["mse", "l1"]}


def axis(key, values):
    levels = tuple(Level(value, str(value), {"asked": [key, value]}) for value in values)
    return Axis(key, "baseline's", "baseline's", levels)


def one_at_a_time(direction="maximize"):
    return OneAtATime(BASELINE, [axis(*item) for item in LEVELS.items()], direction)


DESIGNS = [one_at_a_time]


@pytest.fixture(params=DESIGNS)
def design(request):
    return request.param()


def run_to_the_end(design, value=lambda label: float(len(label))):
    """All rounds, where every proposal ends with a value."""
    rounds, results = [], {}
    while settings := design.propose(results):
        rounds.append(settings)
        results |= {setting.label: value(setting.label) for setting in settings}
        assert len(rounds) < 100
    return rounds


def test_the_baseline_comes_first_and_everything_once(design):
    labels = [s.label for settings in run_to_the_end(design) for s in settings]
    assert labels[0] == "baseline"
    assert len(set(labels)) == len(labels)


def test_a_design_that_is_done_stays_done(design):
    rounds = run_to_the_end(design)
    results = {s.label: 1.0 for settings in rounds for s in settings}
    assert design.propose(results) == []
    assert design.propose({}) == []


@pytest.mark.parametrize("make", DESIGNS)
def test_results_decide_and_not_the_order_they_come_in(make):
    first, second = make(), make()
    proposed = first.propose({})
    assert proposed == second.propose({})
    results = {s.label: float(n) for n, s in enumerate(proposed)}
    backwards = dict(reversed(results.items()))
    while proposed:
        proposed = first.propose(results)
        assert proposed == second.propose(backwards)
        results |= {s.label: 0.5 for s in proposed}
        backwards |= results


def test_settings_that_failed_do_not_end_it(design):
    assert run_to_the_end(design, value=lambda label: None)


def test_each_setting_changes_one_key(design):
    for setting in itertools.chain(*run_to_the_end(design)):
        if setting.label == "baseline":
            assert (setting.key, setting.changed, setting.asked) == (None, {}, BASELINE)
        else:
            assert [setting.key] == list(setting.changed)


def test_one_at_a_time_proposes_every_level_in_the_order_asked():
    labels = [s.label for settings in run_to_the_end(one_at_a_time()) for s in settings]
    assert labels == [
        "baseline",
        *(f"{key}={value}" for key, values in LEVELS.items() for value in values),
    ]


def test_one_at_a_time_hands_on_what_a_level_makes():
    settings = {s.label: s for s in run_to_the_end(one_at_a_time())[0]}
    setting = settings["optimizer.lr=1.0"]
    assert (setting.key, setting.level) == ("optimizer.lr", 1.0)
    assert setting.asked == {"asked": ["optimizer.lr", 1.0]}


def test_one_at_a_time_without_axes_is_the_baseline_alone():
    (settings,) = run_to_the_end(OneAtATime(BASELINE, [], "minimize"))
    assert [s.label for s in settings] == ["baseline"]

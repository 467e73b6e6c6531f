"""What every design keeps to: each setting once, nothing of timing, an end."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paribus.core.config.schema import Configuration
from paribus.sweeps.study.axes import Axis, Range
from paribus.sweeps.study.designs import OneAtATime, UntilDecided
from paribus.sweeps.study.request import PRUNERS, SAMPLERS, Search
from paribus.sweeps.study.settings import level_setting

BASELINE = Configuration.parse(
    {
        **dict.fromkeys(("task", "data", "model", "loss"), "any"),
        "optimizer": {"name": "adam", "lr": 0.1},
        "train": {"epochs": 1, "batch_size": 8},
    },
    "the baseline",
)
LEVELS = {"optimizer.lr": [0.2, 1.0, 10.0], "train.batch_size": [4], "loss": list("abcdefg")}
SEEDS = (3, 0, 7, 1, 2)


def axis(key, values, range=None):
    baseline = {"train.batch_size": 8}.get(key, 0.1 if range else "baseline's")
    kept = ({"name": value} if key == "loss" else value for value in values)
    levels = tuple(level_setting(key, baseline, x, {"requested": [key, x]}) for x in kept)
    return Axis(key, baseline, str(baseline), levels, bool(range and range.log), range)


def design(direction="maximize", axes=LEVELS, seeds=SEEDS, **search):
    return OneAtATime(
        BASELINE, [axis(*item) for item in axes.items()], seeds, direction, Search(**search)
    )


def explored(**search):
    axes = [
        axis("optimizer.lr", (), Range(1e-4, 1.0, True, False)),
        axis("train.batch_size", (), Range(2, 64, False, True)),
        axis("loss", "abcdefghij"),
    ]
    return OneAtATime(BASELINE, axes, SEEDS, "minimize", Search(**{"trials": 6} | search))


DESIGNS = {
    "lists": design,
    "one seed": lambda: design(seeds=(0,)),
    "minimize": lambda: design("minimize"),
    "lists, wilcoxon": lambda: design(pruner="wilcoxon"),
    "lists, median": lambda: design(pruner="median"),
    "tpe": explored,
    "random": lambda: explored(asked_sampler="random"),
    "tpe, wilcoxon": lambda: explored(pruner="wilcoxon"),
    "tpe, median": lambda: explored(pruner="median"),
}


@pytest.fixture(params=DESIGNS)
def make(request):
    return DESIGNS[request.param]


def usual(setting, seed):
    """A metric that follows from level and seed."""
    kind = 0 if setting.key is None else sum(map(ord, setting.label)) % 17
    return kind / 10 + seed / 100


def run_to_the_end(design, value=usual):
    """All rounds, where every run ends with a value; and what was found."""
    rounds, values = [], {}
    while wanted := design.propose(values):
        rounds.append(wanted)
        for setting, seeds in wanted:
            assert not set(seeds) & values.setdefault(setting.label, {}).keys()
            values[setting.label] |= {seed: value(setting, seed) for seed in seeds}
        assert len(rounds) < 200
    return rounds, values


def proposed(rounds):
    """Each setting once, in the order of their first seeds."""
    found = {setting.label: setting for wanted in rounds for setting, _ in wanted}
    return list(found.values())


def test_the_baseline_comes_first_and_with_all_seeds(make):
    rounds, values = run_to_the_end(make())
    assert rounds[0][0][0].label == "baseline"
    assert rounds[0][0][1] == tuple(values["baseline"])


def test_every_seed_of_a_setting_is_wanted_once_unless_it_is_pruned(make):
    made = make()
    _, values = run_to_the_end(made)
    pruned = made.pruned(values)
    everything = set(values["baseline"])
    for label, found in values.items():
        assert set(found) < everything if label in pruned else set(found) == everything
    assert len(values) == made.size


def test_the_same_values_give_the_same_whatever_was_asked_before(make):
    made = make()
    rounds, values = run_to_the_end(made)
    now = {}
    for wanted in rounds:
        assert make().propose(now) == wanted  # as a command that goes on would
        assert made.propose(now) == wanted
        for setting, seeds in wanted:
            now[setting.label] = now.get(setting.label, {}) | {
                seed: values[setting.label][seed] for seed in seeds
            }
    assert made.propose(now) == make().propose(dict(reversed(now.items()))) == []


def test_what_a_stop_left_is_wanted_and_no_later_round(make):
    rounds, values = run_to_the_end(make())
    for number, wanted in enumerate(rounds):
        setting, seeds = wanted[-1]
        before = {}
        for one, some in itertools.chain(*rounds[:number], wanted):
            if (one, some) != (setting, seeds):
                before[one.label] = before.get(one.label, {}) | {
                    seed: values[one.label][seed] for seed in some
                }
        left = make().propose(before)
        assert (setting, seeds) in left
        known = {s.label for s in proposed(rounds[: number + 1])}
        assert {s.label for s, _ in left if s.key == setting.key} <= known


def test_settings_that_failed_do_not_end_it(make):
    made = make()
    rounds, _ = run_to_the_end(made, value=lambda *_: None)
    assert len(proposed(rounds)) == made.size


def test_each_setting_changes_one_key(make):
    for setting in proposed(run_to_the_end(make())[0]):
        if setting.label == "baseline":
            assert (setting.key, setting.changed, setting.configuration) == (None, {}, BASELINE)
        else:
            assert [setting.key] == list(setting.changed)


def test_lists_are_proposed_whole_in_the_order_asked():
    ((*wanted,),) = run_to_the_end(design())[0]
    assert [(s.label, seeds) for s, seeds in wanted] == [
        ("baseline", SEEDS),
        *((f"{key}={value}", SEEDS) for key, values in LEVELS.items() for value in values),
    ]
    setting = wanted[2][0]
    assert (setting.key, setting.level) == ("optimizer.lr", 1.0)
    assert setting.configuration == {"requested": ["optimizer.lr", 1.0]}


def test_without_axes_it_is_the_baseline_alone():
    ((wanted,),) = run_to_the_end(design(axes={}))[0]
    assert wanted[0].label == "baseline"


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    ("range", "rounded"),
    [
        (Range(1e-4, 1.0, True, False), lambda x: float(f"{x:.3g}")),
        (Range(0.99, 0.9999, False, False), lambda x: float(f"{x:.5g}")),
        (Range(2, 64, True, True), int),
    ],
    ids=["log", "narrow", "whole"],
)
def test_levels_lie_in_the_range_read_well_and_change_nothing_else(sampler, range, rounded):
    key = "train.batch_size" if range.whole else "optimizer.lr"
    made = OneAtATime(BASELINE, [axis(key, (), range)], (0,), "maximize", Search(6, sampler))
    rounds, values = run_to_the_end(made)
    assert [len(wanted) for wanted in rounds] == [5, 2]
    first = {label: values[label] for label in list(values)[:5]}
    anew = OneAtATime(BASELINE, [axis(key, (), range)], (0,), "maximize", Search(6, sampler))
    assert anew.propose(first) == rounds[1]
    _, *found = proposed(rounds)
    for setting in found:
        assert range.low <= setting.level <= range.high
        assert setting.level == rounded(setting.level)
        assert type(setting.level) is (int if range.whole else float)
        assert setting.configuration == BASELINE.replace(key, setting.level)
    assert len({setting.level for setting in found}) == 6


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_a_range_that_holds_fewer_levels_than_trials_is_tried_whole(sampler):
    axes = [axis("train.batch_size", (), Range(5, 14, False, True))]
    made = OneAtATime(BASELINE, axes, (0,), "maximize", Search(20, sampler))
    levels = [setting.level for setting in proposed(run_to_the_end(made)[0])[1:]]
    assert sorted(levels) == [5, 6, 7, 9, 10, 11, 12, 13, 14]  # without the baseline's
    assert made.size == 10


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_fewer_trials_than_levels_choose_among_them(sampler):
    made = design(axes={"loss": "abcdefg"}, trials=6, asked_sampler=sampler)
    levels = [setting.level for setting in proposed(run_to_the_end(made)[0])[1:]]
    assert len(set(levels)) == len(levels) == 6
    assert set(levels) < set("abcdefg")
    everything = design(axes={"loss": "abcdefg"}, trials=7)
    assert len(run_to_the_end(everything)[0]) == 1  # a list that is not longer is tried whole


@settings(max_examples=15, deadline=None)
@given(st.data(), st.sampled_from(["tpe", "random"]), st.sampled_from([None, *PRUNERS]))
def test_values_alone_decide_and_no_axis_informs_another(data, sampler, pruner):
    axes = [
        axis("optimizer.lr", (), Range(1e-4, 1.0, True, False)),
        axis("train.batch_size", (), Range(2, 64, False, True)),
    ]
    search = Search(6, sampler, pruner)
    value = st.none() | st.floats(0, 1)
    drawn, others = {}, {}

    def found(setting, seed):
        return drawn.setdefault((setting.label, seed), data.draw(value))

    def found_anew(setting, seed):
        """The other axis does as it likes."""
        if setting.key != "train.batch_size":
            return found(setting, seed)
        return others.setdefault((setting.label, seed), data.draw(value))

    def on_lr(rounds):
        return [[(s, seeds) for s, seeds in wanted if s.key == "optimizer.lr"] for wanted in rounds]

    first, _ = run_to_the_end(OneAtATime(BASELINE, axes, SEEDS, "maximize", search), found)
    again, _ = run_to_the_end(OneAtATime(BASELINE, axes, SEEDS, "maximize", search), found)
    assert again == first
    beside, _ = run_to_the_end(OneAtATime(BASELINE, axes, SEEDS, "maximize", search), found_anew)
    alone, _ = run_to_the_end(OneAtATime(BASELINE, axes[:1], SEEDS, "maximize", search), found)
    first, beside, alone = (list(filter(None, on_lr(x))) for x in (first, beside, alone))
    assert first == beside == alone


def losing(setting, seed):
    """The first levels win, the others lose clearly, the more the later they come."""
    return seed / 100 + (0.5 if setting.key is None else -ord(setting.label[-1]) / 100)


def test_wilcoxon_ends_what_loses_with_four_seeds_and_never_before():
    made = design(axes={"loss": "abcdefg"}, pruner="wilcoxon")
    rounds, values = run_to_the_end(made, losing)
    assert set(made.pruned(values)) == {f"loss={level}" for level in "abcdefg"}
    assert {tuple(values[f"loss={level}"]) for level in "abcdefg"} == {SEEDS[:4]}
    assert len(rounds) == 8  # seed by seed, and four settings at a time
    assert [s.label for s, _ in rounds[0]] == ["baseline", *(f"loss={x}" for x in "abcd")]
    assert [s.label for s, _ in rounds[4]] == [f"loss={x}" for x in "efg"]


def test_median_begins_with_the_fifth():
    made = design(axes={"loss": "abcdefg"}, pruner="median")
    _, values = run_to_the_end(made, losing)
    assert set(made.pruned(values)) == {"loss=e", "loss=f", "loss=g"}
    assert {tuple(values[label]) for label in made.pruned(values)} == {SEEDS[:1]}


def test_what_wins_or_has_but_one_seed_is_not_pruned():
    for seeds in (SEEDS, (0,)):
        made = design("minimize", {"loss": "abcdefg"}, seeds, pruner="wilcoxon")
        _, values = run_to_the_end(made, losing)
        assert made.pruned(values) == []
        assert {len(found) for found in values.values()} == {len(seeds)}


def test_values_of_later_seeds_change_no_pruning():
    """As an earlier command without a pruner may have left them."""
    made = design(axes={"loss": "abcdefg"}, pruner="wilcoxon")
    _, values = run_to_the_end(made, losing)
    values["loss=a"][SEEDS[4]] = 99.0
    assert "loss=a" in made.pruned(values)
    assert made.propose(values) == []


def test_with_a_pruner_a_failed_seed_is_the_last():
    made = design(axes={"loss": "ab"}, pruner="wilcoxon")
    _, values = run_to_the_end(made, lambda setting, seed: None if "a" in setting.label[-1] else 1)
    assert values["loss=a"] == {SEEDS[0]: None}
    assert tuple(values["loss=b"]) == SEEDS


LOOKS = (2, 3, 5)


def until_decided(undecided):
    """A design whose settings are undecided after so many seeds as `undecided` says."""
    inner = design(axes={"optimizer.lr": [0.2, 1.0], "loss": "a"}, seeds=range(LOOKS[0]))
    return UntilDecided(inner, LOOKS, undecided)


def test_undecided_settings_alone_get_the_seeds_of_the_next_look_and_the_baseline():
    reached = dict.fromkeys(("optimizer.lr=0.2", "optimizer.lr=1.0", "loss=a"), 2)
    made = until_decided(lambda: reached)
    values = {}

    def asked():
        wanted = made.propose(values)
        for setting, seeds in wanted:
            values[setting.label] = values.get(setting.label, {}) | dict.fromkeys(seeds, 0.5)
        return {setting.label: seeds for setting, seeds in wanted}

    assert set(asked().values()) == {(0, 1)}
    del reached["loss=a"]  # decided
    assert asked() == dict.fromkeys(("baseline", *reached), (2,))
    reached |= dict.fromkeys(reached, 3)
    assert asked() == dict.fromkeys(("baseline", *reached), (3, 4))
    reached |= dict.fromkeys(reached, 5)
    assert asked() == {}


def test_a_setting_that_was_left_behind_catches_up():
    made = until_decided(lambda: {"optimizer.lr=0.2": 2, "loss=a": 3})
    values = {label: dict.fromkeys((0, 1), 0.5) for label in ("optimizer.lr=1.0",)}
    made.propose({})
    values |= {label: dict.fromkeys((0, 1, 2), 0.5) for label in ("baseline", "loss=a")}
    values["optimizer.lr=0.2"] = dict.fromkeys((0, 1), 0.5)
    found = {setting.label: seeds for setting, seeds in made.propose(values)}
    assert found == {"baseline": (3, 4), "optimizer.lr=0.2": (2,), "loss=a": (3, 4)}

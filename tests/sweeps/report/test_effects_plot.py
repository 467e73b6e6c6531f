"""The plot of effects: what a person sees of it, without its caption."""

import pytest

from paribus.sweeps.analysis.compare import SettingComparison
from paribus.sweeps.report.figure import VERDICTS, Plot, Table, figure_of_panel, line_look, rendered
from paribus.sweeps.report.page import plot_svg
from paribus.sweeps.report.plots import effects_panel

BASELINES = {"optimizer.lr": 0.001, "model.hidden_dim": 128}


def effect(level, mean, reach, verdict, axis="optimizer.lr"):
    return SettingComparison(
        label=f"{axis}={level}",
        changed={axis: [BASELINES[axis], level]},
        derived={},
        runs=[],
        seeds=[],
        values=[],
        mean=None,
        std=None,
        status="complete",
        reason=None,
        delta=mean,
        interval=None if reach is None else [mean - reach, mean + reach],
        verdict=verdict,
    )


EFFECTS = [
    effect(0.01, 0.02, 0.01, "better"),
    effect(0.002, 0.001, 0.002, "equivalent"),
    effect(0.1, -0.9, 0.1, "worse"),
    effect(256, 0.002, 0.015, "undecided", "model.hidden_dim"),
    effect(127, 0.0, 0.0, "identical", "model.hidden_dim"),
    effect(1, 0.01, None, None, "model.hidden_dim"),
]


def text(one):
    return f"{one.delta:+.4f}  {one.verdict}"


def panel(effects, margin=0.005):
    looks = {one.label: line_look(0) for one in effects}
    return effects_panel("accuracy", effects, margin, looks, {e.label: text(e) for e in effects})


def drawn(effects, margin=0.005):
    figure = figure_of_panel(panel(effects, margin))
    rendered(figure, "svg")
    return figure.axes[0]


def markers(axes):
    """Marker and colour at each mean."""
    points = [line for line in axes.lines if line.get_marker() not in ("None", "", None)]
    return {
        round(float(line.get_xdata()[0]), 4): (line.get_marker(), line.get_color())
        for line in points
    }


def test_verdicts_have_shapes_and_colours_of_their_own():
    seen = markers(drawn(EFFECTS))
    for one in EFFECTS:
        if one.verdict and one.verdict != "worse":  # that one is an arrow at the edge
            look = VERDICTS[one.verdict]
            assert seen[one.delta] == (look["marker"], look["color"])
    shapes = [(look["marker"], look.get("markerfacecolor")) for look in VERDICTS.values()]
    assert len(set(shapes)) == len(shapes)


def test_levels_stand_below_the_name_of_their_axis_with_the_baseline():
    axes = drawn(EFFECTS)
    assert [t.get_text() for t in axes.get_yticklabels()] == [
        "0.01",
        "0.002",
        "0.1",
        "256",
        "127",
        "1",
    ]
    texts = [t.get_text() for t in axes.texts]
    assert [t for t in texts if t in BASELINES] == list(BASELINES)
    assert "baseline 128" in texts
    assert all(text(one) in texts for one in EFFECTS)


def test_what_lies_far_outside_does_not_crush_the_rest():
    low, high = drawn(EFFECTS).get_xlim()
    assert 0.03 <= high < 0.2
    assert low == -high


def test_an_interval_that_goes_on_beyond_the_edge_says_so():
    many = [effect(n, 0.01, 0.02, "undecided") for n in range(5)]
    axes = drawn([*many, effect(9, 0.02, 0.5, "undecided")])
    ends = [
        a.xy[0] for a in axes.texts if a.get_text() == "" and abs(a.xy[0]) == axes.get_xlim()[1]
    ]
    assert sorted(ends) == list(axes.get_xlim())


@pytest.mark.parametrize("margin", [None, 0.005, 0.5])
def test_any_effects_are_drawn(margin, recwarn):
    for effects in (EFFECTS[:1], EFFECTS, [effect(1, 0.0, 0.0, "identical")] * 3):
        low, high = drawn(effects, margin).get_xlim()
        assert low < 0 < high
        assert margin is None or high > margin
    assert not recwarn.list


def test_every_colour_follows_the_theme():
    svg = plot_svg(Plot(panel(EFFECTS), 'a "plot" <of> effects', "", Table([], [])), "here")
    assert "#" not in svg.replace("url(#here-", "").replace('href="#here-', "")
    assert "var(--c3)" in svg
    assert 'aria-label="a &quot;plot&quot; &lt;of&gt; effects"' in svg

"""The pictures: what stands in them, and that equal content gives equal bytes."""

import io
import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib._pylab_helpers import Gcf

from paribus.core.inference.decision_surface import Examples, Surface
from paribus.sweeps.report.figure import (
    COLOURS,
    PAPER,
    Picture,
    figure_of,
    line_look,
    rendered,
    short,
)
from paribus.sweeps.report.plots import (
    Curve,
    Level,
    curves_panel,
    mean_and_band,
    response_panel,
    spread,
    train_and_val,
)
from paribus.sweeps.report.prediction_plots import (
    MOST_LABELS,
    agreement_panel,
    confusion_panel,
    label_panels,
    surface_panel,
)

SVG = "{http://www.w3.org/2000/svg}"
LOOK = {"color": "#0072B2", "linestyle": "-"}


def texts(content):
    """What a reader can select and search in an SVG."""
    return ["".join(text.itertext()) for text in ElementTree.fromstring(content).iter(f"{SVG}text")]


def axes_of(*panels):
    return figure_of(Picture("a run", "What it is.", panels)).axes


def drawn(axes):
    """What is written inside a panel."""
    return [text.get_text() for text in axes.texts]


def examples(inputs, targets, predicted):
    return Examples(inputs, targets, predicted, len(inputs))


def curve(label, *values):
    return Curve(label, np.array(values, dtype=float), LOOK)


def plane():
    """A picture with everything that could differ from one time to the next: ids, images, text."""
    grid = np.linspace(0, 1, 20)
    codes = (grid[:, None] > grid[None, :]).astype(int)
    points = examples(np.array([[0.2, 0.7], [0.7, 0.2]]), np.array([1, 0]), np.array([1, 1]))
    return Picture("run x", "Regions.", [
        curves_panel("loss", "loss", [curve("train", 2, 1), curve("val", 3, 2)], best_epoch=2),
        surface_panel(Surface((grid, grid), codes, codes, points, points), ["a", "b"], ["x", "y"]),
        confusion_panel("c", "confusion", np.array([[3, 1], [0, 4]]), ["a", "b"]),
    ])  # fmt: skip


def test_the_same_picture_has_the_same_bytes_whatever_the_person_s_style():
    svg, png = (rendered(figure_of(plane()), suffix) for suffix in ("svg", "png"))
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.grid": True}):
        assert rendered(figure_of(plane()), "svg") == svg
        assert rendered(figure_of(plane()), "png") == png
        assert matplotlib.rcParams["font.size"] == 30
    assert b"dc:date" not in svg
    assert png.startswith(b"\x89PNG\r\n")


def test_a_notebook_s_figure_follows_the_stylesheet_and_changes_no_setting():
    before, png = dict(matplotlib.rcParams), figure_of(plane())._repr_png_()
    figure, file = figure_of(plane()), io.BytesIO()
    with matplotlib.rc_context({"font.size": 30, "xtick.labelsize": 30}):
        figure.savefig(file, format="png", dpi=160)
    assert file.getvalue() == png
    assert dict(matplotlib.rcParams) == before
    assert not Gcf.figs  # pyplot keeps none of them


def test_text_stays_text_and_markup_is_inert():
    name = "<b>$x_1$</b> & \x1b[31m"
    picture = Picture(name, f"About {name}.", [curves_panel("loss", "loss", [curve("$a$", 1, 2)])])
    found = texts(rendered(figure_of(picture), "svg"))
    assert "<b>$x_1$</b> & �[31m" in found
    assert "$a$" in found
    assert "epoch" in found


def test_letters_that_the_font_lacks_are_no_reason_to_complain(recwarn):
    picture = Picture(
        "運行", "Ελληνικά, 日本語.", [curves_panel("l", "損失", [curve("訓練", 1, 2)])]
    )
    assert "訓練" in texts(rendered(figure_of(picture), "svg"))
    rendered(figure_of(picture), "png")
    assert not recwarn.list


def test_curves_are_named_at_their_ends_in_the_order_in_which_they_end():
    (axes,) = axes_of(curves_panel("acc", "acc", [curve("low", 1, 2), curve("high", 1, 3)]))
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert heights.keys() == {"low", "high"}
    assert heights["high"] > heights["low"]


def test_one_epoch_is_a_point_and_several_a_line():
    for values, marker in (((2,), "o"), ((2, 1), "None"), ((2, math.nan), "o")):
        (axes,) = axes_of(curves_panel("loss", "loss", [curve("val", *values)]))
        assert axes.lines[0].get_marker() in (marker, "")
        assert (axes.lines[0].get_marker() == "o") == (marker == "o")
    (axes,) = axes_of(curves_panel("loss", "loss", [curve("val", 2)]))
    assert axes.get_xticks().tolist() == [1]


def test_a_loss_that_falls_by_decades_is_drawn_logarithmically():
    for last, scale in ((1.0, "linear"), (0.02, "linear"), (0.001, "log"), (-0.001, "linear")):
        (axes,) = axes_of(curves_panel("loss", "loss", [curve("val", 1, last)]))
        assert axes.get_yscale() == scale


def test_training_without_a_metric_leaves_validation_alone():
    values = np.array([1.0, 2.0])
    assert [c.label for c in train_and_val(values, values)] == ["train", "val"]
    assert [c.label for c in train_and_val(None, values)] == ["val"]
    assert train_and_val(None, None) == []


def test_the_mean_ends_where_the_first_seed_does():
    found = mean_and_band("0.1", LOOK, [[1, 2, 3, 4], [3, 6, None]])
    assert found.values[:2].tolist() == [2, 4]
    assert math.isnan(found.values[2])
    assert len(found.values) == 3
    assert (found.low[0], found.high[0]) == (1, 3)
    assert mean_and_band("0.1", LOOK, [[1, 2]]).low is None


@given(st.lists(st.floats(0, 1), max_size=8))
@settings(max_examples=50)
def test_labels_keep_their_order_and_their_distance(places):
    found = spread(places, 0.1)
    assert len(found) == len(places)
    ranked = [found[i] for i in np.argsort(places, kind="stable")]
    assert all(b - a > 0.1 - 1e-9 for a, b in pairwise(ranked))
    assert all(place < 1 for place in found)


def test_the_matrix_holds_counts_and_shares_of_the_true_class():
    counts = np.array([[3, 1], [0, 4]])
    (axes,) = axes_of(confusion_panel("c", "confusion", counts, ["cat", "dog"]))
    assert drawn(axes) == ["3\n75 %", "1\n25 %", "4\n100 %"]  # nothing for 0
    assert [t.get_text() for t in axes.get_xticklabels()] == ["cat", "dog"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cat", "dog"]
    assert axes.yaxis_inverted()  # the first class is on top
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true", "predicted")


@pytest.mark.parametrize("classes", [1, 6, 12, 30])
def test_a_matrix_of_any_size_is_drawn_without_complaint(classes, recwarn):
    counts = np.eye(classes, dtype=np.int64) * 1234
    counts[0, 0] = 0  # a class without examples
    names = [f"a class with a long name, number {code}" for code in range(classes)]
    (axes,) = axes_of(confusion_panel("c", "confusion", counts, names))
    assert len(axes.texts) == (classes - 1 if classes <= 24 else 0)
    assert not recwarn.list


def test_labels_beyond_the_twelfth_are_counted():
    matrices = np.ones((MOST_LABELS + 3, 2, 2), dtype=np.int64)
    panels, left = label_panels("matrix", matrices, [f"label {i}" for i in range(15)])
    assert (len(panels), left) == (MOST_LABELS, 3)
    assert [axes.get_title(loc="left") for axes in axes_of(*panels)][:2] == ["label 0", "label 1"]


def points_of(axes):
    """Each seed's (level, metric), in the order of drawing."""
    return [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == "o"]


def test_a_response_over_numbers_shows_seeds_means_and_the_baseline():
    levels = [
        Level(0.01, {0: 0.5, 1: 0.7}, LOOK, baseline=True),
        Level(0.0001, {0: 0.1, 1: 0.2}, LOOK),
    ]
    (axes,) = axes_of(response_panel("best", "optimizer.lr", levels))
    assert axes.get_xscale() == "log"
    assert points_of(axes) == [(0.01, 0.5), (0.01, 0.7), (0.0001, 0.1), (0.0001, 0.2)]
    (means,) = (line for line in axes.lines if line.get_marker() == "_")
    assert means.get_xydata() == pytest.approx(np.array([[0.0001, 0.15], [0.01, 0.6]]))
    (dotted,) = (line for line in axes.lines if line.get_linestyle() == ":")
    assert dotted.get_ydata()[0] == pytest.approx(0.6)
    assert drawn(axes) == ["baseline"]
    low, high = axes.get_ylim()
    assert low < 0.1 < 0.7 < high  # no point is cut off


@pytest.mark.parametrize(
    ("values", "asked_log", "scale"),
    [
        ([1, 2, 3], False, "linear"),
        ([1, 2, 3], True, "log"),
        ([0, 0.01, 0.5], True, "symlog"),  # 0 has no logarithm: it stands beside the others
        ([-1, 0.5], True, "linear"),
        ([-1, 100], False, "linear"),
        ([2, 4, 16, 64], False, "log"),
    ],
)
def test_the_axis_is_logarithmic_where_levels_are(values, asked_log, scale):
    levels = [Level(value, {0: 1.0}, LOOK) for value in values]
    (axes,) = axes_of(response_panel("best", "key", levels, log=asked_log))
    assert axes.get_xscale() == scale


def test_words_stand_side_by_side():
    levels = [Level(value, {0: 0.5, 1: 0.6}, LOOK) for value in ("relu", True, None, 2)]
    (axes,) = axes_of(response_panel("best", "model.activation", levels))
    assert [t.get_text() for t in axes.get_xticklabels()] == ["relu", "true", "none", "2"]
    assert [place for place, _ in points_of(axes)] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_regression_is_a_line_over_points():
    x = np.linspace(0, 1, 5)
    predicted = np.stack([x, 2 * x], 1)
    points = examples(x[:, None], predicted, predicted)
    (axes,) = axes_of(surface_panel(Surface((x,), predicted, None, points, points), [], ["age"]))
    assert axes.get_xlabel() == "age"
    assert [t.get_text() for t in axes.get_legend().get_texts()] == [
        "train", "val", "predicted 1", "predicted 2",
    ]  # fmt: skip


def test_predictions_lie_on_the_diagonal_where_they_are_right():
    targets, predicted = np.array([[1.0], [5.0], [3.0]]), np.array([[1.0], [4.0], [9.0]])
    (axes,) = axes_of(agreement_panel(targets, predicted))
    diagonal, points = axes.lines
    assert diagonal.get_xydata().tolist() == [[1, 1], [9, 9]]
    assert points.get_xydata().tolist() == [[1, 1], [5, 4], [3, 9]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true", "predicted")


def test_two_classes_of_one_number_are_one_curve_and_three_are_three():
    x = np.linspace(0, 1, 5)
    for classes, curves in ((["a", "b"], 1), (["a", "b", "c"], 3)):
        points = examples(x[:3, None], np.arange(3) % len(classes), np.arange(3) % len(classes))
        flat = np.full((5, len(classes)), 0.2)
        surface = Surface((x,), flat.argmax(1), flat, points, points)
        (axes,) = axes_of(surface_panel(surface, classes, ["age"]))
        assert sum(line.get_linestyle() == "-" for line in axes.lines) == curves


def test_regions_name_their_classes_and_mark_what_is_wrong():
    axes = figure_of(plane()).axes[1]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["a", "b"]
    wrong = [line for line in axes.lines if line.get_markeredgecolor() != PAPER]
    assert [line.get_xydata().tolist() for line in wrong if len(line.get_xdata())] == [[[0.7, 0.2]]]
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 1), (0, 1))


def test_a_boundary_is_drawn_where_the_answer_changes(recwarn):
    grid = np.linspace(0, 1, 11)
    points = examples(np.array([[0.5, 0.5]]), np.array([0]), np.array([0]))
    for right, edges in ((2, [0.45]), (0, [])):  # classes 0 and 2, or 0 everywhere
        codes = np.where(np.arange(11) < 5, 0, right)[None, :].repeat(11, 0)
        surface = Surface((grid, grid), codes, codes, points, points)
        panel = surface_panel(surface, ["a", "b", "c"], ["x", "y"])
        (axes,) = axes_of(panel)
        lines = [path.vertices[:, 0] for c in axes.collections for path in c.get_paths()]
        assert [set(line.round(6)) for line in lines] == [{edge} for edge in edges]
    assert not recwarn.list


def test_settings_look_different_from_each_other_and_from_the_baseline():
    looks = [tuple(line_look(number).values()) for number in range(24)]
    assert len(set(looks)) == 24
    assert "#000000" not in COLOURS


@given(st.text(max_size=60), st.integers(5, 40))
@settings(max_examples=50)
def test_names_are_cut_in_their_middle(text, limit):
    found = short(text, limit)
    assert len(found) <= limit
    assert (found == text) if len(text) <= limit and text.isprintable() else re.search("…|�", found)

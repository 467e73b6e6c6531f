"""The colours of plots and pages: seen by everybody, on light and on dark."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import paribus.sweeps.report
from paribus.sweeps.report.figure import COLOURS, FAINT, GRID, INK, PAPER
from paribus.sweeps.report.page import THEME

CSS = (Path(paribus.sweeps.report.__file__).parent / "templates" / "page.css").read_text()
DARKEST = 0.6  # of a cell's shade, on which counts stand

# G. M. Machado, M. M. Oliveira, L. A. F. Fernandes (2009), A physiologically-based model for
# simulation of color vision deficiency, severity 1.0; for linear RGB.
VISIONS = {
    "usual": np.eye(3),
    "protanopia": np.array([
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]),
    "deuteranopia": np.array([
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]),
    "tritanopia": np.array([
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ]),
}  # fmt: skip


def themes():
    """Variable to colour of the light theme, and of the two places where the dark one stands."""
    blocks = re.findall(r":root[^{]*\{(.*?)\}", CSS, re.DOTALL)
    found = [dict(re.findall(r"(--\w+): (#[0-9a-f]{6});", block)) for block in blocks]
    assert len(found) == 3
    return found


LIGHT, DARK, CHOSEN_DARK = themes()


def linear(colour):
    """Linear RGB of ``#rrggbb``."""
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def luminance(rgb):
    return float(np.array([0.2126, 0.7152, 0.0722]) @ rgb)


def contrast(a, b):
    """By WCAG 2.2, of linear RGB."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def oklab(rgb):
    """B. Ottosson (2020), A perceptual color space for image processing."""
    lms = np.cbrt(np.array([
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]) @ np.clip(rgb, 0, 1))  # fmt: skip
    return np.array([
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]) @ lms  # fmt: skip


def mixed(over, under, share):
    """One colour over another, as a browser mixes them: in sRGB, not in light."""
    ends = [np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in (over, under)]
    values = np.round(share * ends[0] + (1 - share) * ends[1]).astype(int)
    return "#" + "".join(f"{value:02x}" for value in values)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_marks_stand_out(theme):
    paper = linear(theme["--paper"])
    for name in ("--ink", "--faint", "--link"):
        assert contrast(linear(theme[name]), paper) >= 4.5, name
    for number in range(1, len(COLOURS) + 1):
        assert contrast(linear(theme[f"--c{number}"]), paper) >= 3, number
    for shade in ("--c1", "--c2"):  # more and fewer, below the counts of a matrix
        cell = linear(mixed(theme[shade], theme["--paper"], DARKEST))
        assert contrast(linear(theme["--ink"]), cell) >= 4.5, shade


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_colour_vision_tells_settings_apart(theme, vision):
    colours = [theme["--ink"], *[theme[f"--c{n}"] for n in range(1, len(COLOURS) + 1)]]
    seen = [oklab(VISIONS[vision] @ linear(colour)) for colour in colours]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) >= 0.1


def test_the_light_theme_is_the_one_of_plots():
    for colour in (INK, FAINT, GRID, PAPER, *COLOURS):
        assert LIGHT[THEME[colour]] == colour.lower()


def test_both_ways_to_a_dark_page_are_the_same():
    assert DARK == CHOSEN_DARK
    assert DARK.keys() == LIGHT.keys()

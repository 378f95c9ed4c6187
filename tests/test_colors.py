"""Colors are told apart by readers who see fewer of them, simulated, and on every shade of grey."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from buarl.figures.plots import BOTH, ERROR, PALETTE, UNCERTAIN
from buarl.widgets.explorers.live import INSIDE, class_overlay, grey, overlay

# Machado, Oliveira and Fernandes 2009, table 1, severity 1.0: on linear RGB
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(  # of sRGB, IEC 61966-2-1; white is D65
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
NAMED = {**dict(zip(("RV", "myocardium", "LV"), PALETTE[1:], strict=True))}
NAMED |= {"error": ERROR, "uncertain": UNCERTAIN, "both": BOTH}
BEFORE = {"RV": "#E69F00", "myocardium": "#56B4E9", "LV": "#CC79A7"}  # until 37abeb0
GREYS = np.repeat(np.arange(256)[:, None], 3, axis=1) / 255


def seen(colors, sight):
    """CIELAB (..., 3) of sRGB 0-1 as somebody with this sight perceives it."""
    colors = np.asarray(colors, dtype=float)
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.transpose(SIGHTS[sight]), 0, 1)
    xyz = linear @ TO_XYZ.T / TO_XYZ.sum(1)
    cubes = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(cubes, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def difference(a, b, sight):
    """Delta E (CIE 1976) between colors; 2 is just noticeable side by side."""
    return np.linalg.norm(seen(a, sight) - seen(b, sight), axis=-1)


def test_the_simulation_knows_what_is_confused():
    assert seen([1, 1, 1], "normal") == pytest.approx([100, 0, 0], abs=0.01)
    assert seen([1, 0, 0], "normal") == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    for sight in SIGHTS:  # greys stay what they are
        assert np.abs(seen(GREYS, sight) - seen(GREYS, "normal")).max() < 1
    red, green = to_rgb("#C05040"), to_rgb("#7A7030")
    assert difference(red, green, "deuteranopia") < 0.5 * difference(red, green, "normal")


@pytest.mark.parametrize("sight", SIGHTS)
def test_all_colors_differ(sight):
    for a, b in combinations(NAMED, 2):
        assert difference(to_rgb(NAMED[a]), to_rgb(NAMED[b]), sight) >= 24, (a, b)


@pytest.mark.parametrize("sight", SIGHTS)
def test_no_shade_of_the_image_hides_a_border_or_a_mark(sight):
    for name, color in NAMED.items():
        assert difference(GREYS, to_rgb(color), sight).min() >= 18, name


@pytest.mark.parametrize("sight", SIGHTS)
def test_classes_differ_inside_their_borders_too(sight):
    for a, b in combinations(NAMED, 2):
        if {a, b} <= BEFORE.keys():
            mixed = [(1 - INSIDE) * GREYS + INSIDE * np.array(to_rgb(NAMED[n])) for n in (a, b)]
            assert difference(*mixed, sight).min() >= 14, (a, b)


def test_the_measure_would_have_found_the_colors_of_before():
    colors = {name: to_rgb(color) for name, color in BEFORE.items()}
    assert difference(GREYS, colors["LV"], "deuteranopia").min() < 10
    mixed = [(1 - INSIDE) * GREYS + INSIDE * np.array(colors[n]) for n in ("myocardium", "LV")]
    assert difference(*mixed, "protanopia").min() < 12


def test_borders_are_painted_in_full_color_on_every_ground():
    codes = np.zeros((12, 15), int)
    codes[2:10, 2:10], codes[4:8, 4:8], codes[3:9, 10:13] = 1, 2, 3
    ground = grey(np.random.default_rng(0).random((12, 15)))
    painted = class_overlay(ground, codes)
    table = (np.array([to_rgb(color) for color in PALETTE]) * 255).round()
    padded = np.pad(codes, 1, mode="edge")
    for row, column in np.ndindex(codes.shape):
        here = padded[row : row + 3, column : column + 3]
        edge = {here[0, 1], here[2, 1], here[1, 0], here[1, 2]} != {here[1, 1]}
        code = codes[row, column]
        if code == 0:
            assert np.array_equal(painted[row, column], ground[row, column])
        elif edge:
            assert np.array_equal(painted[row, column], table[code])
        else:
            inside = overlay(ground, codes, PALETTE[1:], INSIDE)[row, column]
            assert np.array_equal(painted[row, column], inside)

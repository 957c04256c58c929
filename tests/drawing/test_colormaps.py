"""Colour maps: monotone lightness, symmetric residuals."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from sai_core.drawing.colormaps import SEQUENTIAL, diverging_lut, oklab_to_srgb, sequential_lut
from sai_core.errors import InputError


def luminance(table: np.ndarray) -> np.ndarray:
    """WCAG relative luminance."""
    c = table / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_energy_maps_rise_in_lightness(name):
    table = sequential_lut(name)
    assert table.shape == (256, 3)
    # a byte's rounding may turn one step round by a hair
    assert np.diff(luminance(table)).min() > -2e-3
    assert luminance(table)[-1] - luminance(table)[0] > 0.5


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_energy_maps_are_matplotlibs(name):
    expected = np.rint(matplotlib.colormaps[name](np.arange(256))[:, :3] * 255)
    np.testing.assert_array_equal(sequential_lut(name), expected)
    assert not sequential_lut(name).flags.writeable


@pytest.mark.parametrize("dark", [True, False])
def test_residual_maps_are_symmetric_in_lightness_and_neutral_at_zero(dark):
    table = diverging_lut(dark=dark).astype(int)
    assert table.shape == (255, 3)
    assert np.ptp(table[127]) <= 2
    y = luminance(table)
    assert abs(y - y[::-1]).max() < 0.09  # clipping of the gamut differs between blue and orange
    away = np.diff(y[127:])
    assert (away > -2e-3).all() if dark else (away < 2e-3).all()
    assert table[20, 2] > table[20, 0]
    assert table[234, 0] > table[234, 2]


def test_oklab_white_and_black():
    np.testing.assert_array_equal(oklab_to_srgb([[0, 0, 0], [1, 0, 0]]), [[0, 0, 0], [255, 255, 255]])


def test_unknown_map_is_named():
    with pytest.raises(InputError, match="'jet' is unknown"):
        sequential_lut("jet")

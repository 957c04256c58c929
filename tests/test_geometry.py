"""Conventions of the canvas, both ways, at the seam and at the poles."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core import geometry as g

azimuths = st.floats(-720, 720, allow_nan=False)
elevations = st.floats(-90, 90, allow_nan=False)
columns = st.integers(0, 359)
rows = st.integers(0, 179)


def test_landmarks_of_the_canvas() -> None:
    # azimuth 0 is the centre column and azimuth grows to the left; elevation +90 is row 0
    azimuth = [0, 90, -90, 180, -180, 179, -179, 0, 0, 0]
    elevation = [0, 0, 0, 0, 0, 0, 0, 90, -90, 45]
    x, y = g.direction_to_pixel(azimuth, elevation)
    assert x.tolist() == [180, 90, 270, 0, 0, 1, 359, 180, 180, 180]
    assert y.tolist() == [90, 90, 90, 90, 90, 90, 90, 0, 179, 45]
    assert x.dtype == np.int64


@given(azimuth=azimuths, elevation=elevations)
def test_pixel_follows_the_formula_of_the_labels(azimuth: float, elevation: float) -> None:
    x, y = g.direction_to_pixel(azimuth, elevation)
    expected_x = int(((-azimuth + 180) % 360) / 360 * 360)
    expected_y = int((90 - elevation) / 180 * 180)
    # the plain formula leaves the canvas at elevation -90, and where the remainder of a tiny negative rounds to 360
    assert int(x) == expected_x % 360
    assert int(y) == min(expected_y, 179)


def test_the_remainder_of_a_tiny_negative_stays_on_the_canvas() -> None:
    just_left = np.nextafter(180.0, 181.0)
    assert (180.0 - just_left) % 360.0 == 360.0
    assert g.direction_to_pixel(just_left, 0)[0] == 0


@given(azimuth=azimuths, elevation=elevations)
def test_a_direction_lies_in_its_pixel(azimuth: float, elevation: float) -> None:
    x, y = g.direction_to_pixel(azimuth, elevation)
    assert 0 <= x < 360
    assert 0 <= y < 180
    centre = g.pixel_to_direction(x + 0.5, y + 0.5)
    # half a degree each way, and the rounding of azimuths of several turns
    assert abs(g.wrap_azimuth_deg(azimuth - centre[0])) <= 0.5 + 1e-9
    assert abs(elevation - centre[1]) <= 0.5 + 1e-9


@given(x=columns, y=rows)
def test_pixel_to_direction_and_back(x: int, y: int) -> None:
    for offset in (1e-6, 0.25, 0.5, 1 - 1e-6):
        back = g.direction_to_pixel(*g.pixel_to_direction(x + offset, y + offset))
        assert (int(back[0]), int(back[1])) == (x, y)


def test_whole_degrees_both_ways() -> None:
    x, y = np.arange(360), np.arange(180)
    azimuth, elevation = g.pixel_to_direction(x, 0)[0], g.pixel_to_direction(0, y)[1]
    assert (azimuth.min(), azimuth.max()) == (-180, 179)
    assert (elevation.min(), elevation.max()) == (-89, 90)
    back_x, back_y = g.direction_to_pixel(azimuth, 0)[0], g.direction_to_pixel(0, elevation)[1]
    # in floating point the labels' formula puts some whole degrees one pixel before: 63 / 180 * 180 is 62.999...
    assert np.flatnonzero(back_x != x).tolist() == [n for n in range(360) if int(n / 360 * 360) != n]
    assert np.flatnonzero(back_y != y).tolist() == [n for n in range(180) if int(n / 180 * 180) != n]
    assert ((back_x != x).sum(), (back_y != y).sum()) == (20, 10)
    assert set((x - back_x).tolist()) == set((y - back_y).tolist()) == {0, 1}


@given(azimuth=azimuths, elevation=elevations)
def test_vectors_both_ways(azimuth: float, elevation: float) -> None:
    vector = g.directions_to_vectors(azimuth, elevation)
    assert abs(np.linalg.norm(vector) - 1) < 1e-12
    back = g.vectors_to_directions(3.7 * vector)
    assert abs(float(back[1]) - elevation) < 1e-6
    # the angle on the sphere, because an azimuth means nothing at a pole
    assert g.great_circle_deg(azimuth, elevation, *back) < 1e-6
    assert -180 <= back[0] < 180


def test_axes() -> None:
    # x ahead, y left, z up
    vectors = g.directions_to_vectors([0, 90, 0, 180], [0, 0, 90, 0])
    np.testing.assert_allclose(vectors, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0]], rtol=0, atol=1e-15)


@given(azimuth=st.floats(-1e6, 1e6), turns=st.integers(-5, 5))
def test_wrapped_azimuths(azimuth: float, turns: int) -> None:
    wrapped = float(g.wrap_azimuth_deg(azimuth))
    assert -180 <= wrapped < 180
    # a double near 1e6 is exact to 1e-10
    difference = abs(float(g.wrap_azimuth_deg(azimuth + 360 * turns)) - wrapped)
    assert min(difference, 360 - difference) < 1e-8


@given(a=st.tuples(azimuths, elevations), b=st.tuples(azimuths, elevations), c=st.tuples(azimuths, elevations))
def test_the_angle_is_a_distance(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> None:
    ab, ba = float(g.great_circle_deg(*a, *b)), float(g.great_circle_deg(*b, *a))
    assert ab == ba
    assert 0 <= ab <= 180
    # rounding of a sine and a cosine, a few 1e-14 degrees
    assert g.great_circle_deg(*a, *a) < 1e-10
    assert g.great_circle_deg(*a, *c) <= ab + float(g.great_circle_deg(*b, *c)) + 1e-9
    assert abs(ab - g.great_circle_deg(a[0] + 360, a[1], b[0] - 360, b[1])) < 1e-9


@pytest.mark.parametrize(
    ("a", "b", "angle"),
    [
        ((179, 0), (-179, 0), 2),  # over the seam
        ((0, 90), (123, 90), 0),  # a pole is one direction
        ((0, 89), (180, 89), 2),  # over the pole
        ((30, 20), (-150, -20), 180),  # opposite
        ((0, 0), (90, 0), 90),
        ((10, 60), (20, 60), math.degrees(2 * math.asin(math.sin(math.radians(5)) * math.cos(math.radians(60))))),
        ((0, 0), (1e-9, 0), 1e-9),  # far below what an arccosine resolves
        ((0, 0), (180 - 1e-9, 0), 180 - 1e-9),
    ],
)
def test_known_angles(a: tuple[float, float], b: tuple[float, float], angle: float) -> None:
    assert float(g.great_circle_deg(*a, *b)) == pytest.approx(angle, rel=1e-6, abs=1e-12)


@given(start=columns, width=st.integers(1, 170), seed=st.integers(0, 1000))
def test_a_region_over_the_seam_becomes_one_piece(start: int, width: int, seed: int) -> None:
    inside = np.arange(start, start + width) % 360
    shuffled = np.random.default_rng(seed).permutation(inside).astype(np.float64)
    before = shuffled.copy()
    unwrapped = g.unwrap_columns(shuffled)
    np.testing.assert_array_equal(shuffled, before)
    np.testing.assert_array_equal(np.mod(unwrapped, 360), before)
    assert unwrapped.max() - unwrapped.min() == width - 1
    assert unwrapped.min() >= 0
    assert unwrapped.max() < 720


def test_unwrapping_little_or_nothing() -> None:
    assert g.unwrap_columns([]).shape == (0,)
    assert g.unwrap_columns([359]).tolist() == [359]
    assert g.unwrap_columns([0, 180]).tolist() == [0, 180]  # a gap of exactly half the canvas stays
    assert g.unwrap_columns([0, 181]).tolist() == [360, 181]


def test_empty_and_unchanged_input(rng: np.random.Generator) -> None:
    empty = np.zeros(0)
    for function in (g.direction_to_pixel, g.pixel_to_direction):
        assert all(part.shape == (0,) for part in function(empty, empty))
    assert g.directions_to_vectors(empty, empty).shape == (0, 3)
    assert g.great_circle_deg(empty, empty, 0, 0).shape == (0,)
    assert g.wrap_azimuth_deg(empty).shape == (0,)
    azimuth, elevation = rng.uniform(-500, 500, 20), rng.uniform(-90, 90, 20)
    kept = azimuth.copy(), elevation.copy()
    g.direction_to_pixel(azimuth, elevation)
    g.pixel_to_direction(azimuth, elevation)
    g.great_circle_deg(azimuth, elevation, 0, 0)
    g.wrap_azimuth_deg(azimuth)
    np.testing.assert_array_equal(azimuth, kept[0])
    np.testing.assert_array_equal(elevation, kept[1])


def test_broadcasting() -> None:
    x, y = g.direction_to_pixel(np.array([[0.0], [90.0]]), np.array([0.0, 45.0, 90.0]))
    assert x.shape == y.shape == (2, 3)
    assert g.great_circle_deg(np.zeros((4, 1)), 0, np.zeros(3), 0).shape == (4, 3)


def test_projection_grid_holds_both_ends() -> None:
    azimuth, elevation = g.projection_grid_deg()
    assert azimuth.shape == (360,)
    assert elevation.shape == (180,)
    assert (azimuth[0], azimuth[-1], elevation[0], elevation[-1]) == (180, -180, 90, -90)
    assert abs(azimuth[1] - (180 - 360 / 359)) < 1e-12
    with pytest.raises(ValueError, match="read-only"):
        azimuth[0] = 0
    # the two grids are at most one pixel apart
    label_azimuth = 180.0 - np.arange(360)
    assert np.abs(azimuth - label_azimuth).max() <= 1.0


def test_lattice_is_even_and_read_only() -> None:
    azimuth, elevation = g.fibonacci_lattice_deg()
    assert azimuth.shape == elevation.shape == (484,)
    assert (np.diff(elevation) < 0).all()
    vectors = g.directions_to_vectors(azimuth, elevation)
    assert np.linalg.norm(vectors.mean(axis=0)) < 1e-3
    cosines = vectors @ vectors.T - 3 * np.eye(484)
    nearest = np.rad2deg(np.arccos(cosines.max(axis=1)))
    # 484 equal caps would have their centres about 9.9 degrees apart
    assert 6 < nearest.min() < nearest.max() < 11
    with pytest.raises(ValueError, match="read-only"):
        elevation[0] = 0


def test_eigenmike() -> None:
    azimuth, elevation = g.em32_capsules_deg()
    assert azimuth.shape == (32,)
    assert ((azimuth >= -180) & (azimuth < 180)).all()
    # capsule 1: colatitude 69, azimuth 0; capsule 4: colatitude 90, azimuth 328
    assert (azimuth[0], elevation[0]) == (0, 21)
    assert (azimuth[3], elevation[3]) == (-32, 0)
    positions = g.em32_positions_m()
    np.testing.assert_allclose(np.linalg.norm(positions, axis=1), 0.042, rtol=0, atol=1e-15)
    # no capsule twice
    assert len(np.unique(positions.round(6), axis=0)) == 32


def test_the_four_capsules_are_corners_of_a_tetrahedron() -> None:
    azimuth, elevation = g.uplam_capsules_deg()
    every = g.em32_capsules_deg()
    for k, capsule in enumerate(g.UPLAM_CAPSULES):
        assert (azimuth[k], elevation[k]) == (every[0][capsule], every[1][capsule])
    vectors = g.directions_to_vectors(azimuth, elevation)
    cosines = vectors @ vectors.T
    np.testing.assert_allclose(cosines[~np.eye(4, dtype=bool)], -1 / 3, atol=0.01)
    with pytest.raises(ValueError, match="read-only"):
        azimuth[0] = 0


# the first and last points and a few between, as the official code gives them (figures, for where the oracle is absent)
LATTICE_SAMPLES = {0: (0.0, 86.31625336), 1: (-137.50776405, 83.61736282), 5: (32.46117975, 77.76124423)}


def test_lattice_has_the_official_points() -> None:
    azimuth, elevation = g.fibonacci_lattice_deg()
    for index, (official_azimuth, official_elevation) in LATTICE_SAMPLES.items():
        assert azimuth[index] == pytest.approx(official_azimuth, abs=1e-8)
        assert elevation[index] == pytest.approx(official_elevation, abs=1e-8)


@pytest.mark.oracle
def test_lattice_and_capsules_agree_with_the_official_code(oracle: Path) -> None:
    official = np.load(oracle / "lam" / "grid484.npz", allow_pickle=False)
    azimuth, elevation = g.fibonacci_lattice_deg()
    # azimuths are wrapped remainders of up to 67,000 degrees
    np.testing.assert_allclose(azimuth, g.wrap_azimuth_deg(official["az_deg"]), rtol=0, atol=1e-9)
    np.testing.assert_allclose(elevation, official["el_deg"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(g.directions_to_vectors(azimuth, elevation), official["R"].T, rtol=0, atol=1e-12)
    np.testing.assert_allclose(g.em32_positions_m(), official["xyz"], rtol=0, atol=1e-12)

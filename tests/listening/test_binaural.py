"""Two ears: rotation, interaural differences against the exact sphere, which side is which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.acoustics import rigid_sphere
from sai_core.geometry import directions_to_vectors, fibonacci_lattice_deg, vectors_to_directions
from sai_core.listening import lines
from sai_core.listening.binaural import HEAD_RADIUS_M, ears, head_matrix, rotation
from sai_core.listening.encoding import Encoder
from sai_core.simulation import sphere
from tests.listening.scenes import CHANNELS, level_db, reader_of, talkers

angles = st.floats(-180, 180)


@given(angles, st.floats(-90, 90), angles)
def test_what_the_head_looks_at_is_straight_ahead(yaw, pitch, roll) -> None:
    seen = rotation(4, yaw, pitch, roll) @ rigid_sphere.sh_matrix(4, yaw, pitch, normalisation="sn3d")[0]
    ahead = rigid_sphere.sh_matrix(4, 0.0, 0.0, normalisation="sn3d")[0]
    np.testing.assert_allclose(seen, ahead, rtol=0, atol=1e-9)


@given(angles, st.floats(-90, 90), angles)
def test_turning_harmonics_is_turning_directions(yaw, pitch, roll) -> None:
    azimuth, elevation = fibonacci_lattice_deg()[0][:5], fibonacci_lattice_deg()[1][:5]
    turned = vectors_to_directions(directions_to_vectors(azimuth, elevation) @ head_matrix(yaw, pitch, roll))
    matrix = rotation(3, yaw, pitch, roll)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(16), rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        rigid_sphere.sh_matrix(3, azimuth, elevation, normalisation="sn3d") @ matrix.T,
        rigid_sphere.sh_matrix(3, *turned, normalisation="sn3d"),
        rtol=0,
        atol=1e-9,
    )


def test_signs_of_yaw_pitch_and_roll() -> None:
    # a source to the left is ahead after a turn to the left; one above after a nod upwards; the left ear rises
    left, up = np.array([0.0, 1, 0]), np.array([0.0, 0, 1])
    np.testing.assert_allclose(left @ head_matrix(90, 0), [1, 0, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(up @ head_matrix(0, 90), [1, 0, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(up @ head_matrix(0, 0, 90), [0, 1, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("array", "up_to_hz"), [("foa", 300.0), ("eigen", 1500.0)])
@pytest.mark.parametrize("azimuth", [-110.0, -30.0, 0.0, 60.0])
def test_ears_are_those_of_the_exact_sphere_where_the_orders_reach(array, up_to_hz, azimuth) -> None:
    n = 4096
    field = np.zeros((121, n), dtype=np.float32)
    field[:, n // 2] = sphere.encode(azimuth, 0.0)[0]
    impulse = sphere.decode(field).T
    heard = ears(Encoder(array)).apply(reader_of(impulse[:, CHANNELS[array]]), 0, n)
    frequency = np.fft.rfftfreq(n, 1 / 24_000)
    got = np.fft.rfft(heard, axis=0) * np.exp(2j * np.pi * frequency * (n // 2) / 24_000)[:, None]
    truth = rigid_sphere.steering(
        azimuth,
        0.0,
        frequency,
        radius_m=HEAD_RADIUS_M,
        capsules_deg=([100.0, -100.0], [0.0, 0.0]),
        convention="fft",
    )[:, :, 0]
    inside = (frequency > 150) & (frequency < up_to_hz)
    ratio = got[inside] / truth[inside]
    # beyond these frequencies the missing orders show; a twentieth of a millisecond is some five degrees
    assert np.abs(20 * np.log10(np.abs(ratio))).max() < 1.5
    delay = np.angle(ratio[:, 0] / ratio[:, 1]) / (2 * np.pi * frequency[inside])
    assert np.abs(delay).max() < 60e-6


def test_left_is_left_and_a_turned_head_hears_it_ahead() -> None:
    scene = talkers(4, seconds=1.0)
    azimuth = float(scene.tracks[0].azimuth_deg[0])
    read = reader_of(scene.parts[0][CHANNELS["mic"]].T)
    n = 24_000
    right_of = ears(Encoder("mic"), yaw_deg=azimuth - 80).apply(read, 0, n)
    # most of speech lies below 1 kHz, where a head shades little
    assert level_db(right_of[:, 0]) > level_db(right_of[:, 1]) + 1
    ahead = ears(Encoder("mic"), yaw_deg=azimuth).apply(read, 0, n)
    assert level_db(ahead[:, 0]) == pytest.approx(level_db(ahead[:, 1]), abs=0.5)
    # a single line is put where its source is
    placed = lines.placed(lambda a, b: read(a, b)[:, :1], scene.tracks[0], yaw_deg=azimuth - 80)(0, n)
    assert level_db(placed[:, 0]) > level_db(placed[:, 1]) + 1

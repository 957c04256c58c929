"""The rigid-sphere array model against closed forms, limits, symmetries and the oracle's 32-channel audio."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from sai_core.acoustics import rigid_sphere as rs
from sai_core.errors import InputError
from sai_core.geometry import (
    EM32_RADIUS_M,
    directions_to_vectors,
    em32_capsules_deg,
    em32_positions_m,
    fibonacci_lattice_deg,
    great_circle_deg,
)

BANDS_HZ = np.linspace(1500, 4500, 10)[:-1] + 500 / 3


def test_order_zero_is_its_closed_form():
    """h_0^(2)(x) = j exp(-jx) / x gives b_0 = exp(jx) / (1 + jx)."""
    x = np.array([1e-3, 0.1, 1.0, 3.3, 20.0])
    b = rs.mode_strength(2, x, 1.0, convention="fft")[:, 0]
    assert_allclose(b, np.exp(1j * x) / (1 + 1j * x), rtol=1e-13)


def test_order_one_is_its_closed_form():
    x = np.array([0.2, 1.0, 3.3])
    # h_1^(2)(x) = -exp(-jx) (x - j) / x^2, and its derivative by hand:
    derivative = np.exp(-1j * x) * (1j * (x - 1j) / x**2 - 1 / x**2 + 2 * (x - 1j) / x**3)
    assert_allclose(rs.mode_strength(1, x, 1.0, convention="fft")[:, 1], 1 / (x**2 * derivative), rtol=1e-12)


def test_long_waves_see_no_sphere_but_half_again_the_gradient():
    """First order in ka: p = 1 + j (3/2) ka cos(theta), Rayleigh's result for a rigid sphere."""
    ka, angle = 1e-3, np.linspace(-180, 150, 12)
    p = rs.steering(
        angle, 0 * angle, [ka * 343 / (2 * np.pi * 0.05)], radius_m=0.05, capsules_deg=([0.0], [0.0]), convention="fft"
    )[0, 0]
    assert_allclose(p, 1 + 1.5j * ka * np.cos(np.deg2rad(angle)), rtol=0, atol=2 * ka**2)


def test_short_waves_double_the_pressure_in_front():
    """At ka = 100 the sphere is a wall for the facing capsule (2) and a shadow behind (far below 1)."""
    freq = 100 * 343 / (2 * np.pi * 0.05)
    p = rs.steering([0.0, 150.0], [0.0, 0.0], [freq], radius_m=0.05, capsules_deg=([0.0], [0.0]))[0, 0]
    assert abs(abs(p[0]) - 2) < 0.01
    assert abs(p[1]) < 0.1


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 12_000), st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90))
def test_reciprocity_and_rotation(freq, az, el, capsule_az, capsule_el):
    """Only the angle between capsule and direction matters, so they may be exchanged."""
    a = rs.steering([az], [el], [freq], capsules_deg=([capsule_az], [capsule_el]))
    b = rs.steering([capsule_az], [capsule_el], [freq], capsules_deg=([az], [el]))
    assert_allclose(a, b, rtol=0, atol=1e-12)


def test_expansion_has_converged():
    az, el = fibonacci_lattice_deg()
    freq = [0.0, 100.0, 4500.0, 12_000.0]
    assert_allclose(rs.steering(az, el, freq), rs.steering(az, el, freq, order=60), rtol=0, atol=1e-11)


def test_spherical_harmonics_give_the_same_pressure():
    """p = 4 pi sum_n b_n sum_m Y_nm(u) Y_nm(r): the addition theorem links both forms."""
    az, el = fibonacci_lattice_deg()
    k = 2 * np.pi * 3000 / rs.SPEED_OF_SOUND_M_S
    b = rs.mode_strength(25, [k], convention="visibility")[0]
    per_harmonic = np.repeat(b, 2 * np.arange(26) + 1)
    p = 4 * np.pi * (rs.sh_matrix(25, *em32_capsules_deg()) * per_harmonic) @ rs.sh_matrix(25, az, el).T
    assert_allclose(p, rs.steering(az, el, [3000.0])[0], rtol=0, atol=1e-10)


def test_spherical_harmonics_are_orthonormal_and_ordered():
    # Gauss-Legendre in sin(elevation) times a uniform azimuth grid integrates degree 2 * 6 exactly
    nodes, weights = np.polynomial.legendre.leggauss(8)
    az = np.arange(16) * 22.5
    azimuth, elevation = (v.ravel() for v in np.meshgrid(az, np.rad2deg(np.arcsin(nodes))))
    y = rs.sh_matrix(6, azimuth, elevation)
    gram = y.T @ (y * (np.repeat(weights, 16) * 2 * np.pi / 16)[:, None])
    assert_allclose(gram, np.eye(49), rtol=0, atol=1e-12)
    foa = rs.sh_matrix(1, [0, 90, 0, 30], [0, 0, 90, 40], normalisation="sn3d")
    x, yy, z = directions_to_vectors([0, 90, 0, 30], [0, 0, 90, 40]).T
    assert_allclose(foa, np.stack([np.ones(4), yy, z, x], axis=1), rtol=0, atol=1e-14)  # ACN: W, Y, Z, X


def test_diffuse_coherence_is_the_mean_over_directions():
    n = 4000
    el = 90 - np.rad2deg(np.arccos(1 - (2 * np.arange(n) + 1) / n))
    az = np.rad2deg(4 * np.pi * np.arange(n) / (1 + np.sqrt(5)))
    q = rs.steering(az, el, [1700.0, 4300.0])
    expected = np.einsum("fcd,fed->fce", q, q.conj()) / n
    got = rs.diffuse_coherence([1700.0, 4300.0])
    assert_allclose(got, expected, rtol=0, atol=1e-3)  # the lattice integrates degree ~20 to about this
    assert np.linalg.eigvalsh(got).min() > -1e-12


def test_transparent_limit_has_the_sign_of_the_lam_steering_matrix():
    """Same sign as exp(-1j k xyz . u): correlation with it is far above that with its conjugate."""
    az, el = fibonacci_lattice_deg()
    k = 2 * np.pi * 3000 / 343
    plane = np.exp(-1j * k * em32_positions_m() @ directions_to_vectors(az, el).T)
    q = rs.steering(az, el, [3000.0])[0]
    same = np.abs(np.sum(plane.conj() * q, axis=0)).mean()
    mirrored = np.abs(np.sum(plane * q, axis=0)).mean()
    assert same > 2 * mirrored


def test_beamformer_on_a_visibility_peaks_at_the_source():
    az, el = fibonacci_lattice_deg()
    x = rs.steering([75.0], [-20.0], BANDS_HZ, convention="fft")[..., 0]
    visibility = np.einsum("fc,fe->fce", x.conj(), x)
    a = rs.steering(az, el, BANDS_HZ)
    power = np.einsum("fcd,fce,fed->d", a.conj(), visibility, a).real
    best = power.argmax()
    assert great_circle_deg(az[best], el[best], 75.0, -20.0) < 6  # the lattice's spacing


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rs.steering([0, 1], [0], [1000]), "equal length"),
        (lambda: rs.steering([np.nan], [0], [1000]), "NaN"),
        (lambda: rs.steering([0], [0], [-1]), "Frequencies"),
        (lambda: rs.steering([0], [0], [1000], radius_m=0), "radius_m"),
        (lambda: rs.steering([0], [0], [1000], radius_m=42.0), "wrong unit|radius in metres"),
        (lambda: rs.steering([0], [0], [1000], convention="other"), "convention"),  # type: ignore[arg-type]
        (lambda: rs.sh_matrix(-1, [0], [0]), "order"),
        (lambda: rs.sh_matrix(1, [0], [0], normalisation="x"), "normalisation"),  # type: ignore[arg-type]
    ],
)
def test_wrong_input_is_told_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_nothing_in_nothing_out_and_input_untouched():
    assert rs.steering([], [], [1000.0]).shape == (1, 32, 0)
    assert rs.steering([0.0], [0.0], []).shape == (0, 32, 1)
    assert rs.sh_matrix(2, [], []).shape == (0, 9)
    az, freq = np.array([10.0]), np.array([1000.0])
    rs.steering(az, np.array([0.0]), freq)
    assert az[0] == 10.0
    assert freq[0] == 1000.0


@pytest.mark.oracle
def test_official_visibilities_of_rigid_audio_peak_at_the_truth(oracle):
    folder = oracle / "lam"
    with np.load(folder / "f1_vis_rigid.npz", allow_pickle=False) as data:
        visibility = data["vis32"]  # (bands, frames, 32, 32)
    truth = json.loads((folder / "f1_truth.json").read_text())["truth"]
    az, el = fibonacci_lattice_deg()
    a = rs.steering(az, el, BANDS_HZ, radius_m=EM32_RADIUS_M)
    power = np.einsum("fcd,ftce,fed->td", a.conj(), visibility, a).real
    for frame in range(10):  # one source in these frames
        (source,) = [t for t in truth if t["frame"] == frame]
        best = power[frame].argmax()
        assert great_circle_deg(az[best], el[best], source["azimuth"], source["elevation"]) < 6

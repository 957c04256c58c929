"""Steered response maps: the oracle's steering matrix, and peaks where the sound is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sai_core.acoustics.beamformer import first_order_steering, plane_wave_steering, steered_response
from sai_core.acoustics.visibility import visibility_tensors
from sai_core.errors import InputError
from sai_core.geometry import UPLAM_CAPSULES, directions_to_vectors, fibonacci_lattice_deg


@pytest.mark.oracle
def test_steering_matrix_is_the_official_one(oracle: Path) -> None:
    # unit entries; the official constants come through another library's angle arithmetic
    expected = np.load(oracle / "lam" / "grid484.npz")["A"]
    np.testing.assert_allclose(plane_wave_steering(), expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(plane_wave_steering(UPLAM_CAPSULES), expected[[5, 9, 25, 21]], rtol=0, atol=1e-11)


@pytest.mark.oracle
def test_errors_on_the_oracles_clip_are_those_of_its_report(oracle: Path) -> None:
    import json

    from sai_core.geometry import great_circle_deg

    audio = np.load(oracle / "lam" / "f1_audio_rigid.npz")["audio32_int16"] / 32768
    response = steered_response(visibility_tensors(torch.tensor(audio)).matrices).mean(dim=1).numpy()
    az, el = fibonacci_lattice_deg()
    truth = json.loads((oracle / "lam" / "f1_truth.json").read_text())["truth"]
    frames = [t["frame"] for t in truth]
    single = [t for t in truth if frames.count(t["frame"]) == 1]
    peak = response[[t["frame"] for t in single]].argmax(axis=-1)
    error = great_circle_deg(az[peak], el[peak], [t["azimuth"] for t in single], [t["elevation"] for t in single])
    # figure of f3_lam32_report.json for single-source frames
    assert np.median(error) == pytest.approx(3.3514908461904978, abs=1e-6)


@pytest.mark.parametrize("capsules", [None, UPLAM_CAPSULES])
def test_a_plane_wave_gives_its_power_in_its_direction(capsules: tuple[int, ...] | None) -> None:
    steering = plane_wave_steering(capsules)
    power = np.linspace(0.1, 2.0, 484)
    # one matrix per lattice direction, as one band
    matrices = torch.from_numpy(np.einsum("p,ip,jp->pij", power, steering, steering.conj()))[:, None]
    response = steered_response(matrices)[:, 0].numpy()
    np.testing.assert_allclose(np.diagonal(response), power, rtol=1e-12, atol=0)
    assert (response.max(axis=1) <= power * (1 + 1e-12)).all()
    np.testing.assert_allclose(steered_response(matrices, steering)[:, 0], response, rtol=0, atol=1e-12)


def test_foa_steering_peaks_at_the_source() -> None:
    x, y, z = directions_to_vectors(*fibonacci_lattice_deg()).T
    signals = np.stack([np.ones_like(x), y, z, x])  # ACN, SN3D
    matrices = torch.from_numpy(np.einsum("ip,jp->pij", signals, signals) + 0j)[:, None]
    response = steered_response(matrices, first_order_steering())[:, 0].numpy()
    np.testing.assert_array_equal(response.argmax(axis=1), np.arange(484))
    np.testing.assert_allclose(np.diagonal(response), 1.0, rtol=1e-12, atol=0)


def test_steering_per_band(rng: np.random.Generator) -> None:
    audio = torch.tensor(rng.standard_normal((4800, 4)))
    matrices = visibility_tensors(audio).matrices
    per_band = np.stack([plane_wave_steering(UPLAM_CAPSULES, wavelength_m=w) for w in np.linspace(0.07, 0.2, 9)])
    whole = steered_response(matrices, per_band)
    for band in (0, 8):
        expected = steered_response(matrices[:, band : band + 1], per_band[band])
        torch.testing.assert_close(whole[:, band : band + 1], expected)


def test_bad_shapes_and_no_frames() -> None:
    assert steered_response(torch.zeros(0, 9, 4, 4, dtype=torch.complex64)).shape == (0, 9, 484)
    with pytest.raises(InputError, match="steering matrix has shape"):
        steered_response(torch.zeros(1, 9, 4, 4, dtype=torch.complex64), np.zeros((5, 484)))
    with pytest.raises(InputError, match="no steering matrix for 5"):
        steered_response(torch.zeros(1, 9, 5, 5, dtype=torch.complex64))
    with pytest.raises(InputError, match="complex"):
        steered_response(torch.zeros(1, 9, 4, 4))

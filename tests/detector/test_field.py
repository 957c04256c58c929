"""The field decoder: what it hears, in any pieces and at any level; its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sai_core.acoustics.audio_input import AudioInput
from sai_core.acoustics.features import SHIPPED_UPLAM
from sai_core.acoustics.rigid_sphere import steering
from sai_core.detector.config import FieldConfig
from sai_core.detector.field import FieldFeatures, FieldNetwork, load_field, matrices_of, save_field
from sai_core.errors import InputError
from sai_core.geometry import SAMPLE_RATE_HZ, fibonacci_lattice_deg, great_circle_deg, uplam_capsules_deg

SMALL = FieldConfig(channels=8, blocks=2, degree=4)


def a_plane_wave(azimuth: float, elevation: float, n_frames: int = 4) -> np.ndarray:
    """Noise from one direction at the four capsules, (samples, 4)."""
    n = n_frames * 2400
    source = np.fft.rfft(np.random.default_rng(0).normal(0, 0.1, n))
    frequency = np.fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ)
    heard = np.zeros((4, len(frequency)), dtype=complex)
    some = (frequency > 1000) & (frequency < 5000)
    response = steering([azimuth], [elevation], frequency[some], capsules_deg=uplam_capsules_deg(), convention="fft")
    heard[:, some] = response[..., 0].T * source[some]
    return np.fft.irfft(heard, n).T


def test_beams_point_at_a_source_and_a_level_changes_nothing() -> None:
    audio = a_plane_wave(50.0, 20.0)
    features = FieldFeatures()
    points, frame = features(torch.from_numpy(matrices_of(audio))[None])
    assert points.shape == (484, 1, 4, FieldFeatures.points)
    assert frame.shape == (1, 4, FieldFeatures.frame)
    azimuth, elevation = fibonacci_lattice_deg()
    strongest = points[:, 0, 1, : 2 * 27].argmax(dim=0).numpy()
    # beamformer and minimum variance of all three sets; the array is small for the lowest bands
    off = great_circle_deg(50.0, 20.0, azimuth[strongest], elevation[strongest])
    assert np.median(off) < 8
    louder, same_frame = features(torch.from_numpy(matrices_of(10 * audio))[None])
    torch.testing.assert_close(points, louder, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(frame, same_frame, rtol=1e-3, atol=1e-3)
    silence = FieldNetwork(SMALL)(torch.zeros(1, 3, 27, 16))
    assert torch.isfinite(silence).all()


def test_a_recording_is_heard_the_same_in_any_pieces(rng: np.random.Generator, tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = FieldNetwork(SMALL).eval()
    source = AudioInput(rng.normal(0, 0.1, (24 * 2400, 4)).astype(np.float32), channels=4)
    whole = network.of_frames(source, 0, 24)
    assert whole.shape == (24, 484)
    assert whole.std() > 1e-3
    pieces = np.concatenate([network.of_frames(source, a, b) for a, b in ((0, 5), (5, 6), (6, 20), (20, 24))])
    np.testing.assert_allclose(whole, pieces, atol=2e-4)

    save_field(network, tmp_path / "field.safetensors", notes={"seed": "1"}, half=True)
    again = load_field(tmp_path / "field.safetensors")
    assert again.config == SMALL
    np.testing.assert_allclose(again.of_frames(source, 0, 24), whole, atol=0.05)


def test_another_file_is_one_sentence() -> None:
    with pytest.raises(InputError, match="not a field network; give what `train field` made"):
        load_field(SHIPPED_UPLAM)

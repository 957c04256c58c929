"""The wideband listener: its beams, its windows, and that pieces of a recording give what the whole gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sai_core.acoustics.audio_input import AudioInput
from sai_core.acoustics.hermitian import pack
from sai_core.acoustics.rigid_sphere import steering
from sai_core.detector import wideband
from sai_core.detector.config import WidebandConfig
from sai_core.detector.wideband import (
    N_OUT,
    WidebandNetwork,
    heard_together,
    load_wideband,
    mel_matrices,
    mel_matrices_of,
    save_wideband,
    windows_of,
)
from sai_core.errors import InputError
from sai_core.geometry import uplam_capsules_deg
from sai_core.postprocess.classes import heard_scores


def plane_wave(azimuth_deg: float, elevation_deg: float) -> torch.Tensor:
    """Covariances (100, 64, 16) of a steady plane wave of power 1."""
    vectors = steering(azimuth_deg, elevation_deg, wideband._centres_hz(), capsules_deg=uplam_capsules_deg())[..., 0]
    matrices = torch.from_numpy(vectors[:, :, None] * vectors[:, None, :].conj()).to(torch.complex64)
    return pack(matrices).flatten(-2).expand(100, -1, -1)


def recording(path: Path, seconds: float = 4.0, rate: int = 24000) -> Path:
    rng = np.random.default_rng(3)
    soundfile.write(path, 0.1 * rng.standard_normal((int(seconds * rate), 4)), rate, subtype="FLOAT")
    return path


def test_beams_pass_their_direction_and_hold_back_others() -> None:
    sound = plane_wave(40.0, 10.0)[None]
    frame = torch.zeros(2, dtype=torch.int64)
    seen = windows_of(sound, frame, [40.0, -140.0], [10.0, -10.0])
    assert seen.shape == (2, wideband.N_BEAMS, wideband.COLUMNS, 64)
    level = 20.0 * seen.mean(dim=2)
    omni = level[0, 2]
    # a plane wave from the candidate's direction has power 1, whatever the beam; the capsules' mean is about that
    whole = 10.0 * torch.log10(sound[0, 0, :, ::5].mean())
    torch.testing.assert_close(level[0, :2] + whole, torch.zeros(2, 64), atol=1e-3, rtol=0)
    assert (level[1, 0] < level[0, 0] - 15.0).all()  # minimum variance
    assert (level[1, 1] < level[0, 1] - 3.0).all()
    assert (level[1, 2] == omni).all()


def test_candidates_of_one_source_are_heard_together() -> None:
    frame = np.array([0, 0, 0, 0, 3, 3])
    azimuth = np.array([10.0, 60.0, 13.0, 178.0, 12.0, -179.0])
    elevation = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert heard_together(frame, azimuth, elevation).tolist() == [0, 1, 0, 3, 4, 5]
    assert heard_together(frame, azimuth, elevation, within_deg=0.0).tolist() == [0, 1, 2, 3, 4, 5]
    # over the seam, and never a row of another frame; what is led does not lead
    assert heard_together(frame[:4], np.array([179.0, -178.0, -175.0, 0.0]), elevation[:4]).tolist() == [0, 0, 2, 3]
    assert heard_together(frame[:0], azimuth[:0], elevation[:0]).tolist() == []


def test_windows_do_not_change_with_the_level() -> None:
    sound = plane_wave(-100.0, 30.0)[None]
    frame = torch.zeros(1, dtype=torch.int64)
    torch.testing.assert_close(
        windows_of(sound, frame, [10.0], [0.0]), windows_of(1e-6 * sound, frame, [10.0], [0.0]), atol=2e-3, rtol=0
    )
    silent = windows_of(0.0 * sound, frame, [10.0], [0.0])
    assert torch.isfinite(silent).all()


def test_covariances_are_those_of_the_spectra() -> None:
    rng = np.random.default_rng(1)
    audio = torch.from_numpy(rng.standard_normal((4000, 4)))
    # one source heard by all capsules alike: every covariance is its power
    audio[:] = audio[:, :1]
    found = mel_matrices(audio.float())
    assert found.shape == ((4000 - 1024) // 480 + 1, 64, 16)
    torch.testing.assert_close(found, found[..., :1].expand_as(found), rtol=1e-4, atol=1e-6)


def test_pieces_give_what_the_whole_gives(tmp_path: Path) -> None:
    source = AudioInput(recording(tmp_path / "a.wav"), channels=4)
    torch.manual_seed(0)
    network = WidebandNetwork(WidebandConfig(width=4)).eval()
    frame = np.repeat(np.arange(40), 2)
    azimuth, elevation = np.tile([20.0, -70.0], 40), np.tile([0.0, 25.0], 40)
    whole = network.of_frames(source, 0, 40, frame, azimuth, elevation)
    assert whole.shape == (80, N_OUT)
    np.testing.assert_allclose(np.exp(whole).sum(axis=1), 1.0, atol=1e-5)
    for first, last in ((0, 7), (7, 31), (31, 40)):
        part = (frame >= first) & (frame < last)
        piece = network.of_frames(source, first, last, frame[part], azimuth[part], elevation[part])
        np.testing.assert_allclose(piece, whole[part], atol=1e-5)
    assert mel_matrices_of(source, 0, 40).shape == (5 * 40 + 95, 64, 16)
    assert network.of_frames(source, 0, 5, frame[:0], azimuth[:0], elevation[:0]).shape == (0, N_OUT)


def test_silence_is_heard_as_nothing_whatever_a_network_makes_of_zeros(tmp_path: Path) -> None:
    samples = np.zeros((10 * 24000, 4))
    samples[7 * 24000 :] = 0.1 * np.random.default_rng(3).standard_normal((3 * 24000, 4))
    soundfile.write(tmp_path / "a.wav", samples, 24000, subtype="FLOAT")
    torch.manual_seed(0)
    network = WidebandNetwork(WidebandConfig(width=4)).eval()
    # a network that hears a class everywhere
    with torch.no_grad():
        network.out[-1].bias[4] = 20.0
    frame = np.array([10, 10, 40, 80])
    azimuth, elevation = np.array([0.0, 90.0, 0.0, 0.0]), np.zeros(4)
    source = AudioInput(tmp_path / "a.wav", channels=4)
    heard = network.of_frames(source, 0, 100, frame, azimuth, elevation)
    assert heard.argmax(axis=1).tolist() == [13, 13, 13, 4]
    assert np.isfinite(heard).all()
    np.testing.assert_allclose(np.exp(heard).sum(axis=1), 1.0, atol=1e-5)
    assert np.exp(heard[:3, :13]).max() < 1e-12
    # whatever a detector is sure of there, it does not stay a class
    sure = np.full((4, 13), 0.99 / 13)
    for weight in (0.5, 1.0):
        classes = heard_scores(sure, heard.astype(np.float16), weight=weight)
        assert classes[:3].max() < 1e-4
        assert classes[3].argmax() == 4
    silent = AudioInput(np.zeros((24000, 4)), channels=4)
    assert (
        network.of_frames(silent, 0, 10, frame[:2] - 8, azimuth[:2], elevation[:2]).argmax(axis=1).tolist() == [13] * 2
    )


def test_a_file_is_opened_as_it_was_written(tmp_path: Path) -> None:
    network = WidebandNetwork(WidebandConfig(width=3)).eval()
    save_wideband(network, tmp_path / "w.safetensors", notes={"seed": "5"})
    again = load_wideband(tmp_path / "w.safetensors")
    windows = torch.randn(2, wideband.N_BEAMS, wideband.COLUMNS, 64)
    torch.testing.assert_close(again(windows), network(windows))
    save_wideband(network, tmp_path / "half.safetensors", half=True)
    torch.testing.assert_close(
        load_wideband(tmp_path / "half.safetensors")(windows), network(windows), atol=0.02, rtol=0
    )


def test_other_files_are_refused() -> None:
    with pytest.raises(InputError, match="not a wideband listener"):
        load_wideband(Path("assets/weights/listener.safetensors"))
    with pytest.raises(InputError, match="no such file"):
        load_wideband(Path("nowhere.safetensors"))

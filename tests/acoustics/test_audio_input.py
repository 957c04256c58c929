"""Opening recordings: every kind of odd input has its documented answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sai_core.acoustics.audio_input import AudioInput, count_clipped, resample_to_24k
from sai_core.acoustics.visibility import FEATURE_CENTRES_HZ
from sai_core.errors import InputError
from sai_core.geometry import UPLAM_CAPSULES


def _noise(rng: np.random.Generator, samples: int, channels: int = 4) -> np.ndarray:
    return (0.1 * rng.standard_normal((samples, channels))).astype(np.float32)


def _write(path: Path, audio: np.ndarray, rate: int = 24000, subtype: str = "FLOAT") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, subtype=subtype)
    return path


def _whole(source: AudioInput, frames_per_block: int = 10) -> np.ndarray:
    return np.concatenate([samples for _, samples in source.blocks(frames_per_block)])


@pytest.mark.parametrize("frames_per_block", [1, 10, 25])
def test_blocks_join_to_the_file(tmp_path: Path, rng: np.random.Generator, frames_per_block: int) -> None:
    audio = _noise(rng, 24000 * 3 + 1000)
    source = AudioInput(_write(tmp_path / "a.wav", audio))
    assert len(source) == 30
    np.testing.assert_array_equal(_whole(source, frames_per_block), audio[:72000])
    assert source.notes() == ("Left out the last 41.67 ms, which do not fill a frame of 100 ms.",)
    np.testing.assert_array_equal(source.read(3, 5), audio[7200:12000])


@pytest.mark.parametrize("rate", [48000, 44100, 16000, 22050, 24001, 96000])
def test_resampling_in_blocks_is_resampling_at_once(rng: np.random.Generator, rate: int) -> None:
    audio = _noise(rng, int(rate * 2.35))
    source = AudioInput(audio, sample_rate_hz=rate)
    expected = resample_to_24k(audio, rate)
    assert len(source) == 23
    np.testing.assert_array_equal(_whole(source), expected[: 23 * 2400])
    np.testing.assert_array_equal(source.read(7, 13), expected[7 * 2400 : 13 * 2400])
    assert source.notes()[0] == f"Resampled from {rate} Hz to 24000 Hz."


def test_narrow_band_files_are_said_to_lack_bands(rng: np.random.Generator) -> None:
    centres = FEATURE_CENTRES_HZ
    source = AudioInput(_noise(rng, 8000), sample_rate_hz=8000, centres_hz=centres)
    assert source.held.tolist() == [True] * 7 + [False] * 2
    assert any("nothing above 3800 Hz (8000 Hz): 2 of 9 bands" in note for note in source.notes())
    for rate, held in ((24000, 9), (9200, 9), (9000, 8), (7000, 5), (3000, 0)):
        source = AudioInput(_noise(rng, rate), sample_rate_hz=rate, centres_hz=centres)
        assert int(source.held.sum()) == held
        assert any("bands are empty" in note for note in source.notes()) == (held < 9)


def test_the_tail_is_told_with_as_many_digits_as_it_takes() -> None:
    source = AudioInput(np.zeros((2399, 4), np.float32))
    assert source.notes()[0] == "Left out the last 99.96 ms, which do not fill a frame of 100 ms."


def test_32_channels_give_the_uplam_capsules(rng: np.random.Generator) -> None:
    audio = _noise(rng, 4800, 32)
    source = AudioInput(audio)
    np.testing.assert_array_equal(_whole(source), audio[:, list(UPLAM_CAPSULES)])
    assert source.notes() == ("Took capsules 6, 10, 26, 22 of the 32-channel recording.",)
    for channels in (32, None):
        np.testing.assert_array_equal(_whole(AudioInput(audio, channels=channels)), audio)


def test_16_bit_samples_are_divided_by_32768(tmp_path: Path, rng: np.random.Generator) -> None:
    stored = rng.integers(-32768, 32767, (4800, 4)).astype(np.int16)
    expected = (stored / 32768).astype(np.float32)
    np.testing.assert_array_equal(_whole(AudioInput(_write(tmp_path / "a.wav", stored, subtype="PCM_16"))), expected)
    before = stored.copy()
    np.testing.assert_array_equal(_whole(AudioInput(stored)), expected)
    np.testing.assert_array_equal(stored, before)


def test_nan_and_infinity_count_as_zero_once(rng: np.random.Generator) -> None:
    audio = _noise(rng, 72000)
    audio[[5, 30000, 71999], [0, 1, 2]] = [np.nan, np.inf, -1e30]
    audio[9, 3] = 2.0**31  # integers that were saved as floats are sound
    source = AudioInput(audio)
    made = _whole(source)
    np.testing.assert_array_equal(made, np.where(np.abs(audio) < 1e12, audio, 0))
    assert source.notes() == ("3 samples are NaN, infinite or beyond 1e+12 and count as 0.",)
    assert np.isnan(audio[5, 0])
    resampled = AudioInput(audio, sample_rate_hz=48000)
    assert np.isfinite(_whole(resampled)).all()
    assert "3 samples are NaN, infinite or beyond 1e+12 and count as 0." in resampled.notes()


def test_clipping_is_noted(tmp_path: Path, rng: np.random.Generator) -> None:
    loud = np.clip(20 * _noise(rng, 24000), -1, 1)
    source = AudioInput(_write(tmp_path / "a.wav", loud, subtype="PCM_16"))
    _whole(source)
    said = [note for note in source.notes() if "clipped" in note]
    assert len(said) == 1
    assert int(said[0].split()[0]) == pytest.approx(count_clipped(loud), rel=0.05)


def test_what_counts_as_clipped() -> None:
    audio = np.zeros((100, 2), np.float32)
    audio[10, 0] = 1.0
    audio[20:22, 0] = 1.0
    assert count_clipped(audio) == 0
    audio[30:35, 1] = -1.0
    audio[99, 1] = 1.0
    assert count_clipped(audio) == 5
    # a floating-point file may be loud without being clipped
    assert count_clipped(np.linspace(1.5, 2.5, 300, dtype=np.float32).reshape(100, 3)) == 0
    assert count_clipped(np.zeros((0, 4), np.float32)) == 0


@given(samples=st.integers(0, 7300))
def test_frame_count_is_the_official_one(samples: int) -> None:
    # blocks of 240 samples, ten of them a frame, nothing for what is left
    source = AudioInput(np.zeros((samples, 4), np.float32))
    assert len(source) == (samples // 240) // 10
    assert sum(len(block) for _, block in source.blocks(10)) == len(source) * 2400
    assert ("shorter than one frame" in " ".join(source.notes())) == (samples < 2400)


@pytest.mark.parametrize(
    ("folder", "expected"), [("mic_dev", "mic"), ("foa_dev", "foa"), ("FOA_dev", "foa"), ("foamy", "mic")]
)
def test_foa_is_known_by_its_folder(tmp_path: Path, folder: str, expected: str) -> None:
    path = _write(tmp_path / folder / "dev-test-tau" / "a.wav", np.zeros((4800, 4)))
    assert AudioInput(path).facts.audio_format == expected
    assert AudioInput(path, audio_format="mic").facts.audio_format == "mic"
    assert AudioInput(np.zeros((4800, 4)), audio_format="foa").facts.audio_format == "foa"


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (1, {}, "mono"),
        (2, {}, "stereo"),
        (6, {}, "6 channels"),
        (4, {"channels": 32}, "needs all 32"),
        (4, {"audio_format": "eigen"}, "'eigen' has 32"),
        (32, {"audio_format": "foa"}, "'foa' has 4"),
        (4, {"audio_format": "b-format"}, "'b-format' is not known"),
        (4, {"sample_rate_hz": 48000}, "the file says 24000"),
    ],
)
def test_wrong_recordings_are_named(tmp_path: Path, channels: int, options: dict, message: str) -> None:
    path = _write(tmp_path / "some name.wav", np.zeros((4800, channels)))
    with pytest.raises(InputError, match=message) as caught:
        AudioInput(path, **options)
    if "not known" not in message:
        assert "some name.wav" in str(caught.value) or "format" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound" * 100, b"\x00" * 2000])
def test_files_that_are_no_sound(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as a sound file"):
        AudioInput(path)
    with pytest.raises(InputError, match="no such audio file"):
        AudioInput(tmp_path / "b.wav")
    with pytest.raises(InputError, match="folder"):
        AudioInput(tmp_path)


def test_a_cut_off_file_does_not_crash(tmp_path: Path, rng: np.random.Generator) -> None:
    path = _write(tmp_path / "a.wav", _noise(rng, 24000), subtype="PCM_16")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    source = AudioInput(path)
    # libsndfile counts the samples that are there, whatever the header says
    assert len(source) == 4
    assert len(_whole(source)) == 4 * 2400


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path, rng: np.random.Generator) -> None:
    path = _write(tmp_path / "a.wav", _noise(rng, 48000))
    source = AudioInput(path)
    _write(path, _noise(rng, 4800))
    with pytest.raises(InputError, match="ends at sample 4800; the file is damaged or changing"):
        _whole(source)


def test_frames_out_of_range(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="there are 2"):
        AudioInput(_noise(rng, 4800)).read(1, 3)

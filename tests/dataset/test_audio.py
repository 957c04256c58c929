"""Audio by seek, playback pieces that join, spectrogram levels."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.dataset import AudioReader, Recording, open_heard, spectrogram
from sai_core.dataset.audio import FLOOR_DB
from sai_core.errors import CancelledError, InputError
from sai_core.geometry import UPLAM_CAPSULES
from tests.damage import damage, entries

WriteWav = Callable[..., Path]


def test_frames_at_24_khz(write_wav: WriteWav, rng: np.random.Generator) -> None:
    samples = rng.uniform(-1, 1, (24_000, 4)).astype(np.float32)
    reader = AudioReader(write_wav(samples))
    assert (reader.sample_rate_hz, reader.n_samples, reader.n_channels) == (24_000, 24_000, 4)
    assert reader.n_frames == 10
    assert reader.duration_s == 1.0
    piece = reader.read(3, 5)
    assert piece.dtype == np.float32
    np.testing.assert_array_equal(piece, samples[7200:12_000])
    assert reader.read(4, 4).shape == (0, 4)


def test_sixteen_bit_is_scaled_to_one(write_wav: WriteWav) -> None:
    pcm = np.array([[-32768], [0], [32767]], dtype=np.int16)
    reader = AudioReader(write_wav(pcm, subtype="PCM_16"))
    np.testing.assert_array_equal(reader.read(0, 1, pad=False), (pcm / 32768).astype(np.float32))


def test_beyond_the_end(write_wav: WriteWav, rng: np.random.Generator) -> None:
    samples = rng.uniform(-1, 1, (3000, 2)).astype(np.float32)
    reader = AudioReader(write_wav(samples))
    assert reader.n_frames == 2
    padded = reader.read(1, 4)
    assert padded.shape == (7200, 2)
    np.testing.assert_array_equal(padded[:600], samples[2400:])
    assert not padded[600:].any()
    np.testing.assert_array_equal(reader.read(1, 4, pad=False), samples[2400:])
    assert reader.read(50, 51, pad=False).shape == (0, 2)
    assert not reader.read(50, 51).any()


@settings(max_examples=40)
@given(
    rate=st.sampled_from([8000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 12_345]),
    n_samples=st.integers(0, 6000),
    data=st.data(),
)
def test_frames_tile_the_file_at_any_rate(
    tmp_path_factory: pytest.TempPathFactory, rate: int, n_samples: int, data: st.DataObject
) -> None:
    samples = np.arange(n_samples, dtype=np.float32)[:, None] / 8192
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    reader = AudioReader(path)
    frames = [reader.read(k, k + 1, pad=False) for k in range(reader.n_frames)]
    assert all(len(f) for f in frames)
    np.testing.assert_array_equal(np.concatenate([*frames, np.zeros((0, 1), np.float32)]), samples)
    # sample n lies in frame floor(10 n / rate)
    for k, frame in enumerate(frames):
        numbers = np.rint(frame[:, 0] * 8192).astype(np.int64)
        assert (numbers * 10 // rate == k).all()
    start = data.draw(st.integers(0, 30))
    stop = data.draw(st.integers(start, 40))
    whole = np.concatenate([samples, np.zeros((5 * rate, 1), dtype=np.float32)])
    a, b = reader.sample_range(start, stop)
    np.testing.assert_array_equal(reader.read(start, stop), whole[a:b])


def test_only_what_is_asked_for_is_read(write_wav: WriteWav, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_wav(np.zeros((240_000, 4), dtype=np.float32))
    reader = AudioReader(path)
    asked: list[int] = []
    real = soundfile.SoundFile.read

    def read(self: soundfile.SoundFile, frames: int = -1, **options: object) -> np.ndarray:
        asked.append(frames)
        return real(self, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    reader.read(90, 91)
    assert asked == [2400]


def test_float_files_pass_nan_and_overload_on(write_wav: WriteWav) -> None:
    samples = np.array([[np.nan], [2.5], [-np.inf]], dtype=np.float32)
    np.testing.assert_array_equal(AudioReader(write_wav(samples)).read(0, 1, pad=False), samples)


def test_pieces_are_the_whole_file(write_wav: WriteWav, rng: np.random.Generator) -> None:
    samples = rng.uniform(-1, 1, (5000, 3)).astype(np.float32)
    pieces = list(AudioReader(write_wav(samples)).pieces(1024))
    assert [len(p) for p in pieces] == [1024] * 4 + [904]
    np.testing.assert_array_equal(np.concatenate(pieces), samples)


def test_playback_at_the_same_rate(write_wav: WriteWav) -> None:
    samples = np.array([[0.5, 0.25], [-1.0, -1.0], [2.0, 2.0], [np.nan, 0.5]], dtype=np.float32)
    reader = AudioReader(write_wav(samples))
    pcm = reader.mono_pcm16(0, 6 / 24_000)
    assert pcm.dtype == np.int16
    np.testing.assert_array_equal(pcm, [round(0.375 * 32767), -32767, 32767, round(0.25 * 32767), 0, 0])
    np.testing.assert_array_equal(reader.mono_pcm16(0, 1 / 24_000, gain_db=-20), [round(0.0375 * 32767)])
    assert reader.mono_pcm16(0.1, 0.1).shape == (0,)


def test_all_directions_are_heard_alike_in_every_direction(write_wav: WriteWav) -> None:
    """W of an ambisonic file, where the mean would be a beam; of 32 capsules those of a 4-channel file; else all."""
    foa = write_wav(np.tile(np.array([[0.25, 0.5, -0.5, 0.125]], np.float32), (2400, 1)))
    recording = Recording("room1", foa_path=foa)
    reader = open_heard(recording)
    assert reader is not None
    assert set(reader.mono_pcm16(0, 0.1).tolist()) == {round(0.25 * 32767)}
    assert set(AudioReader(foa).mono_pcm16(0, 0.1).tolist()) == {round(0.09375 * 32767)}
    capsules = np.zeros((2400, 32), np.float32)
    capsules[:, UPLAM_CAPSULES] = [0.1, 0.2, 0.3, 0.4]
    capsules[:, 0] = 1.0
    reader = open_heard(Recording("room2", eigen_path=write_wav(capsules)))
    assert reader is not None
    assert set(reader.mono_pcm16(0, 0.1).tolist()) == {round(0.25 * 32767)}
    assert open_heard(Recording("room3")) is None


@settings(max_examples=30)
@given(
    rates=st.sampled_from([(24_000, 48_000), (24_000, 16_000), (44_100, 24_000), (24_000, 44_100), (48_000, 8000)]),
    cuts=st.lists(st.integers(0, 3000), min_size=1, max_size=4),
)
def test_playback_pieces_join_without_a_seam(
    tmp_path_factory: pytest.TempPathFactory, rates: tuple[int, int], cuts: list[int]
) -> None:
    source, target = rates
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, (source // 4, 2)).astype(np.float32)
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    soundfile.write(path, noise, source, subtype="FLOAT")
    reader = AudioReader(path)
    end = 0.3  # beyond the file
    whole = reader.mono_pcm16(0, end, target)
    assert whole.shape == (round(end * target),)
    times = [0.0, *sorted(c / 10_000 for c in cuts), end]
    pieces = [reader.mono_pcm16(a, b, target) for a, b in itertools.pairwise(times)]
    joined = np.concatenate(pieces)
    # rounding to 16 bit of equal float64 sums taken in another order
    np.testing.assert_allclose(joined.astype(int), whole.astype(int), rtol=0, atol=1)


def test_resampled_playback_keeps_time_and_level(write_wav: WriteWav) -> None:
    time = np.arange(48_000) / 48_000
    reader = AudioReader(write_wav(0.5 * np.sin(2 * np.pi * 1000 * time).astype(np.float32), rate=48_000))
    pcm = reader.mono_pcm16(0.2, 0.4, 24_000)
    expected = 0.5 * 32767 * np.sin(2 * np.pi * 1000 * np.arange(4800, 9600) / 24_000)
    # half a step of 16 bit, and the filter's pass-band ripple of 1e-4
    np.testing.assert_allclose(pcm, expected, rtol=0, atol=3)
    above = AudioReader(write_wav(0.5 * np.sin(2 * np.pi * 20_000 * time).astype(np.float32), 48_000, "b.wav"))
    assert np.abs(above.mono_pcm16(0.2, 0.4, 24_000)).max() <= 3  # 20 kHz cannot be there at 24 kHz


def test_wrong_ranges(write_wav: WriteWav) -> None:
    reader = AudioReader(write_wav(np.zeros((2400, 1), dtype=np.float32)))
    for start, stop in ((-1, 2), (3, 2)):
        with pytest.raises(InputError, match="not a range"):
            reader.read(start, stop)
        with pytest.raises(InputError, match="not a range"):
            reader.read_samples(start, stop)
        with pytest.raises(InputError, match="not a range"):
            reader.mono_pcm16(start, stop)
    with pytest.raises(InputError, match="not a range"):
        reader.mono_pcm16(0, float("nan"))
    with pytest.raises(InputError, match="playback rate"):
        reader.mono_pcm16(0, 1, 5)


def test_bad_files_are_told_in_one_sentence(tmp_path: Path, write_wav: WriteWav) -> None:
    good = write_wav(np.ones((2400, 4), dtype=np.float32)).read_bytes()
    for name, data in {
        "text.wav": b"RIFF of nothing",
        "empty.wav": b"",
        "cut.wav": good[:20],
        "noise.wav": bytes(range(256)) * 8,
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=name):
            AudioReader(tmp_path / name)
    for path in (tmp_path / "none.wav", Path("x" * 5000 + ".wav")):
        with pytest.raises(InputError, match="no such audio file"):
            AudioReader(path)
    with pytest.raises(InputError, match="this is a folder"):
        AudioReader(tmp_path)


def test_a_truncated_file_has_what_is_there(tmp_path: Path, write_wav: WriteWav) -> None:
    whole = write_wav(np.ones((24_000, 2), dtype=np.float32)).read_bytes()
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole[: len(whole) // 2])
    reader = AudioReader(cut)
    assert 11_000 < reader.n_samples < 12_001
    assert reader.read(0, 5).shape == (12_000, 2)


def test_a_file_that_shrinks_is_noticed(write_wav: WriteWav) -> None:
    path = write_wav(np.ones((24_000, 1), dtype=np.float32))
    reader = AudioReader(path)
    soundfile.write(path, np.ones((100, 1), dtype=np.float32), 24_000, subtype="FLOAT")
    with pytest.raises(InputError, match="damaged or changing"):
        reader.read(0, 5)


@settings(max_examples=150)
@given(position=st.integers(0, 79), value=st.integers(0, 255))
def test_any_damaged_header_is_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.wav"
    soundfile.write(path, np.full((1200, 4), 0.5, dtype=np.float32), 24_000, subtype="FLOAT")
    data = bytearray(path.read_bytes())
    data[position] = value
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        reader = AudioReader(path)
        reader.read(0, 1)
        reader.mono_pcm16(0, 0.05)


def test_many_threads(write_wav: WriteWav, rng: np.random.Generator) -> None:
    samples = rng.uniform(-1, 1, (48_000, 4)).astype(np.float32)
    reader = AudioReader(write_wav(samples))
    wrong: list[int] = []

    def look(seed: int) -> None:
        for k in np.random.default_rng(seed).integers(0, 20, 50).tolist():
            if not np.array_equal(reader.read(k, k + 1), samples[2400 * k : 2400 * (k + 1)]):
                wrong.append(k)

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
@pytest.mark.parametrize("tone_hz", [150.0, 1000.0, 5000.0])
def test_a_full_scale_tone_is_at_zero_db_in_its_band(write_wav: WriteWav, rate: int, tone_hz: float) -> None:
    time = np.arange(2 * rate) / rate
    tone = np.sin(2 * np.pi * tone_hz * time).astype(np.float32)
    result = spectrogram(write_wav(np.stack([tone] * 4, axis=1), rate))
    assert result.level_db.dtype == np.float32
    assert result.level_db.shape == (64, 80)
    middle = result.level_db[:, 5:-5]
    # a Hann window loses up to 1.4 dB between two bins; a band's triangle up to 6 dB between two centres
    assert -7.0 < middle.max() <= 0.1
    loudest = result.centre_hz[middle.max(axis=1).argmax()]
    assert abs(loudest - tone_hz) < 0.08 * tone_hz + 25


def test_level_is_that_of_one_channel_whatever_the_phases(write_wav: WriteWav) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(24_000) / 24_000).astype(np.float32)
    alone = spectrogram(write_wav(tone[:, None], name="one.wav"))
    opposed = spectrogram(write_wav(np.stack([tone, -tone], axis=1), name="two.wav"))
    np.testing.assert_allclose(opposed.level_db, alone.level_db, rtol=0, atol=1e-3)
    quiet = spectrogram(write_wav(tone[:, None] / 100, name="quiet.wav"))
    loud_rows = alone.level_db > -40
    # a hundredth of the amplitude is 40 dB less
    np.testing.assert_allclose((alone.level_db - quiet.level_db)[loud_rows], 40, rtol=0, atol=1e-2)


def test_a_click_is_in_its_column(write_wav: WriteWav) -> None:
    samples = np.zeros((24_000, 1), dtype=np.float32)
    samples[15_300] = 1.0  # the middle of column 25 of 40, each 600 samples wide
    result = spectrogram(write_wav(samples))
    loudness = result.level_db.max(axis=0)
    assert set(np.flatnonzero(loudness > FLOOR_DB)) == {25}  # no other window of 1024 samples reaches it
    assert result.columns_per_frame == 4


def test_silence_nan_and_empty_files(write_wav: WriteWav) -> None:
    silent = spectrogram(write_wav(np.zeros((2400, 2), dtype=np.float32), name="s.wav"))
    assert (silent.level_db == FLOOR_DB).all()
    broken = spectrogram(write_wav(np.full((2400, 2), np.nan, dtype=np.float32), name="n.wav"))
    assert (broken.level_db == FLOOR_DB).all()
    empty = spectrogram(write_wav(np.zeros((0, 2), dtype=np.float32), name="e.wav"))
    assert empty.level_db.shape == (64, 0)
    with pytest.raises(InputError, match="cannot be made"):
        spectrogram(write_wav(np.zeros((10, 1), dtype=np.float32), name="o.wav"), n_bins=0)


def test_pieces_leave_no_trace(write_wav: WriteWav, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_wav(rng.normal(0, 0.1, (100_000, 32)).astype(np.float32))
    whole = spectrogram(path, use_cache=False)
    monkeypatch.setattr("sai_core.dataset.audio._PIECE_VALUES", 7000 * 32)
    steps: list[float] = []
    pieces = spectrogram(path, use_cache=False, progress=lambda fraction, _: steps.append(fraction))
    np.testing.assert_array_equal(pieces.level_db, whole.level_db)
    assert steps == sorted(steps)
    assert steps[-1] == 1.0
    assert len(steps) > 10


def test_cancelling(write_wav: WriteWav) -> None:
    def stop(fraction: float, message: str) -> None:
        raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        spectrogram(write_wav(np.zeros((2400, 1), dtype=np.float32)), progress=stop)


def test_cache_is_used_and_noticed_when_stale(
    write_wav: WriteWav, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("SAI_CACHE_DIR", str(cache))
    tone = np.sin(np.arange(24_000) * 0.3).astype(np.float32)[:, None]
    path = write_wav(tone)
    first = spectrogram(path)
    (file,) = entries(cache, "spectrograms")
    calls: list[float] = []
    again = spectrogram(path, progress=lambda fraction, _: calls.append(fraction))
    np.testing.assert_array_equal(again.level_db, first.level_db)
    assert calls == []  # nothing was computed
    # another content of the same length, written later
    write_wav(tone * 0.5)
    os.utime(path, ns=(1, 1))
    assert spectrogram(path).level_db.max() < first.level_db.max() - 5
    # a damaged cache only costs time
    write_wav(tone)
    for how in damage(file, np.random.default_rng(0)):
        np.testing.assert_array_equal(spectrogram(path).level_db, first.level_db, err_msg=how)


def test_a_cache_that_cannot_be_written_only_costs_speed(
    write_wav: WriteWav, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("SAI_CACHE_DIR", str(blocked))
    path = write_wav(np.zeros((2400, 1), dtype=np.float32))
    assert spectrogram(path).level_db.shape == (64, 4)

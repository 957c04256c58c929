"""Sound files whose headers do not fit: the samples that are really there come, and a sentence says what was mended."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.acoustics.audio_input import AudioInput
from sai_core.dataset import AudioReader, spectrogram
from sai_core.dataset.sound_file import check_sample_rate, look_at_sound
from sai_core.errors import InputError

SAMPLES = 5_000


def _pcm(n: int = SAMPLES, channels: int = 4, seed: int = 3) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((n, channels))
    return (3000 * noise).clip(-32768, 32767).astype(np.int16)


def _wav(
    pcm: np.ndarray,
    *,
    kind: bytes = b"RIFF",
    data_size: int | None = None,
    riff_size: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
    guid: bytes = b"",
    rate: int = 24_000,
) -> bytes:
    """WAV file written by hand, with any sizes in its header."""
    order = ">" if kind == b"RIFX" else "<"
    data = pcm.astype(order + "i2").tobytes()
    align = 2 * pcm.shape[1]
    fmt = struct.pack(order + "HHIIHH", 0xFFFE if guid else 1, pcm.shape[1], rate, rate * align & 0xFFFFFFFF, align, 16)
    if guid:
        fmt += struct.pack(order + "HHI", 22, 16, 0) + guid
    told = len(data) if data_size is None else data_size
    ds64 = b""
    if kind in (b"RF64", b"BW64"):
        ds64 = struct.pack("<4sIQQQI", b"ds64", 28, len(data) + 100, told, 0, 0)
        told, riff_size = 0xFFFFFFFF, 0xFFFFFFFF
    body = b"WAVE" + ds64 + before + struct.pack(order + "4sI", b"fmt ", len(fmt)) + fmt
    body += struct.pack(order + "4sI", b"data", told) + data + after
    return kind + struct.pack(order + "I", len(body) if riff_size is None else riff_size) + body


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack("<4sI", name, len(data)) + data + b"\0" * (len(data) & 1)


def _check(path: Path, pcm: np.ndarray, note: str) -> None:
    """Both readers see exactly these samples, and both say so (or nothing, where the note is empty)."""
    reader = AudioReader(path)
    assert reader.n_samples == len(pcm)
    np.testing.assert_array_equal(reader.read_samples(0, len(pcm)), (pcm / 32768).astype(np.float32))
    np.testing.assert_array_equal(reader.read_samples(len(pcm) - 7, len(pcm) + 9)[:7], (pcm[-7:] / 32768))
    source = AudioInput(path)
    assert source.facts.file_samples == len(pcm)
    for notes in (reader.notes, source.file_notes):
        assert (note in " ".join(notes)) if note else not notes


FULL = SAMPLES * 8

ODD_WAVS: dict[str, tuple[bytes, int, str]] = {
    # file, samples that are there, what is said
    "as it should be": (_wav(_pcm()), SAMPLES, ""),
    "chunks around": (_wav(_pcm(), before=_chunk(b"bext", b"x" * 603), after=_chunk(b"LIST", b"y" * 31)), SAMPLES, ""),
    "cut in half": (_wav(_pcm())[: -FULL // 2], SAMPLES // 2, "cut off: the header says 5000 samples (0.21 s)"),
    "cut within a sample": (_wav(_pcm())[:-9], SAMPLES - 2, "cut off"),
    "sizes 0": (_wav(_pcm(), data_size=0, riff_size=0), SAMPLES, "gives no length"),
    "size of the header alone": (_wav(_pcm(), data_size=0, riff_size=36), SAMPLES, "gives no length"),
    "all ones": (_wav(_pcm(), data_size=0xFFFFFFFF, riff_size=0xFFFFFFFF), SAMPLES, "gives no length"),
    "sox to a pipe": (_wav(_pcm(), data_size=0x7FFFF000, riff_size=0x7FFFF024), SAMPLES, "gives no length"),
    "big-endian, never finalised": (_wav(_pcm(), kind=b"RIFX", data_size=0), SAMPLES, "gives no length"),
    "RF64": (_wav(_pcm(), kind=b"RF64"), SAMPLES, ""),
    "RF64, never finalised": (_wav(_pcm(), kind=b"RF64", data_size=0), SAMPLES, "gives no length"),
    "RF64, all ones": (_wav(_pcm(), kind=b"RF64", data_size=(1 << 64) - 1), SAMPLES, "gives no length"),
    "RF64, cut": (_wav(_pcm(), kind=b"RF64")[: -FULL // 2], SAMPLES // 2, "cut off"),
    "BW64": (_wav(_pcm(), kind=b"BW64"), SAMPLES, ""),
    "BW64 with chunks": (_wav(_pcm(), kind=b"BW64", before=_chunk(b"chna", b"\0" * 44)), SAMPLES, ""),
    "BW64, cut": (_wav(_pcm(), kind=b"BW64")[: -FULL // 4], 3 * SAMPLES // 4, "cut off"),
    "more than is told": (_wav(_pcm(), data_size=8000), 1000, "Left out 32000 bytes that follow the sound"),
    "rubbish behind": (_wav(_pcm(), after=b"\xff\xfe" * 50), SAMPLES, "Left out 100 bytes"),
    "padding behind": (_wav(_pcm(), after=b"\0" * 6), SAMPLES, ""),
}


@pytest.mark.parametrize("name", list(ODD_WAVS))
def test_wav_headers_that_do_not_fit(tmp_path: Path, name: str) -> None:
    data, there, note = ODD_WAVS[name]
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    _check(path, _pcm()[:there], note)
    assert path.read_bytes() == data


@pytest.mark.parametrize(("container", "subtype"), [("OGG", "VORBIS"), ("WAV", "ULAW"), ("WAV", "PCM_24")])
def test_compression_with_loss_is_said(tmp_path: Path, container: str, subtype: str) -> None:
    soundfile.write(tmp_path / "a", _pcm() / 32768, 24_000, format=container, subtype=subtype)
    assert ("Compressed with loss" in " ".join(AudioReader(tmp_path / "a").notes)) == (subtype != "PCM_24")


def test_an_empty_wav_is_empty_and_not_unfinished(tmp_path: Path) -> None:
    for name, after in (("a", b""), ("b", _chunk(b"LIST", b"abcd"))):
        path = tmp_path / f"{name}.wav"
        path.write_bytes(_wav(_pcm(0), after=after))
        reader = AudioReader(path)
        assert (reader.n_samples, reader.notes) == (0, ())
        assert spectrogram(path, use_cache=False).level_db.shape == (64, 0)


def test_lengths_that_have_run_over_at_4_gib(tmp_path: Path) -> None:
    """A sparse file: 4 GiB of zeros between a header of 32 bits and the last samples."""
    path = tmp_path / "long.wav"
    pcm = _pcm(100)
    data = (1 << 32) + len(pcm) * 8
    with open(path, "wb") as stream:
        stream.write(_wav(_pcm(0), data_size=data & 0xFFFFFFFF, riff_size=data + 36 & 0xFFFFFFFF))
        stream.seek(44 + data - len(pcm) * 8)
        stream.write(pcm.tobytes())
    reader = AudioReader(path)
    assert reader.n_samples == data // 8
    np.testing.assert_array_equal(reader.read_samples(data // 8 - 100, data // 8), (pcm / 32768).astype(np.float32))
    assert "are there: all were read" in reader.notes[0]


@settings(max_examples=60, deadline=None)
@given(keep=st.integers(46, 44 + FULL), told=st.sampled_from([None, 0, 0xFFFFFFFF]))
def test_a_wav_cut_anywhere(tmp_path_factory: pytest.TempPathFactory, keep: int, told: int | None) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.wav"
    path.write_bytes(_wav(_pcm(), data_size=told)[:keep])
    reader = AudioReader(path)
    there = (keep - 44) // 8
    assert reader.n_samples == there
    np.testing.assert_array_equal(reader.read_samples(0, there), (_pcm()[:there] / 32768).astype(np.float32))
    assert bool(reader.notes) == (keep < 44 + FULL or told is not None)


# --------------------------------------------------------------------------------------------------------- FLAC


def _flac(tmp_path: Path, n: int = 20_000) -> tuple[bytes, np.ndarray]:
    path = tmp_path / "whole.flac"
    pcm = _pcm(n)
    soundfile.write(path, pcm, 24_000, subtype="PCM_16")
    return path.read_bytes(), pcm


def _saying(data: bytes, samples: int) -> bytes:
    packed = int.from_bytes(data[18:26], "big") & ~0xFFFFFFFFF | samples
    return data[:18] + packed.to_bytes(8, "big") + data[26:]


@pytest.mark.parametrize(
    ("told", "note"),
    [
        (0, "gives no length"),
        (2**36 - 1, "cut off: the header says 68719476735 samples"),
        (20_001, "cut off: the header says 20001 samples"),
        (7, "says 7 samples (0.00 s), but 20000 samples"),
        (20_000, ""),
    ],
)
@pytest.mark.parametrize("around", ["", "id3v2", "id3v1"])
def test_flac_headers_that_lie(tmp_path: Path, told: int, note: str, around: str) -> None:
    whole, pcm = _flac(tmp_path)
    data = _saying(whole, told)
    if around == "id3v2":
        data = b"ID3\x03\0\0\0\0\x01\x05" + b"\0" * 133 + data
    elif around == "id3v1":
        data += b"TAG" + b" " * 125
    path = tmp_path / "a.flac"
    path.write_bytes(data)
    tracemalloc.start()
    _check(path, pcm, note)
    assert spectrogram(path, use_cache=False).level_db.shape == (64, math.ceil(20_000 / 600))
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0.0, 1.0), told=st.sampled_from([None, 0]))
def test_a_flac_cut_anywhere_ends_with_its_last_whole_frame(
    tmp_path_factory: pytest.TempPathFactory, share: float, told: int | None
) -> None:
    folder = tmp_path_factory.mktemp("flac")
    whole, pcm = _flac(folder)
    data = whole if told is None else _saying(whole, told)
    path = folder / "a.flac"
    path.write_bytes(data[: int(share * len(data))])
    try:
        reader = AudioReader(path)
    except InputError:
        # nothing of the first frame (of at most five) is whole
        assert share < 0.3
        return
    n = reader.n_samples
    np.testing.assert_array_equal(reader.read_samples(0, n), (pcm[:n] / 32768).astype(np.float32))
    assert n in (4096, 8192, 12288, 16384, 20_000)
    assert n >= share * 20_000 - 2 * 4096
    assert bool(reader.notes) == (n < 20_000 or told == 0)


def test_a_flac_stream_from_the_middle_is_refused(tmp_path: Path) -> None:
    whole, _ = _flac(tmp_path)
    second = whole.index(b"\xff\xf8", whole.index(b"\xff\xf8") + 2)
    while whole[second + 4] != 1:
        second = whole.index(b"\xff\xf8", second + 2)
    first = whole.index(b"\xff\xf8", 42)
    path = tmp_path / "a.flac"
    path.write_bytes(whole[:first] + whole[second:])
    with pytest.raises(InputError, match="begins in the middle of a FLAC stream"):
        AudioReader(path)


@pytest.mark.parametrize("extension", ["aiff", "au", "w64", "ogg"])
def test_other_formats_that_are_cut_off_are_noted(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, _pcm(30_000, 2), 24_000)
    whole = AudioReader(path)
    assert whole.n_samples == 30_000
    assert "cut off" not in " ".join(whole.notes)
    data = path.read_bytes()
    path.write_bytes(data[: 2 * len(data) // 3])
    cut = AudioReader(path)
    assert 5_000 < cut.n_samples < 25_000
    assert "cut off" in cut.notes[0]
    assert cut.read_samples(0, cut.n_samples).shape == (cut.n_samples, 2)


# --------------------------------------------------------------------------------------------------------- ambisonics

AMB = (1, 3)


def _guid(number: int) -> bytes:
    return struct.pack("<IHH", number, 0x0721, 0x11D3) + bytes.fromhex("8644c8c1ca000000")


def _plane_wave(order: str, azimuth_deg: float, elevation_deg: float, n: int = 24_000) -> np.ndarray:
    """Noise from one direction as ambisonics: FuMa (W at -3 dB, X, Y, Z) or ACN/SN3D (W, Y, Z, X)."""
    a, e = math.radians(azimuth_deg), math.radians(elevation_deg)
    x, y, z = math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e)
    gains = [1 / math.sqrt(2), x, y, z] if order == "fuma" else [1, y, z, x]
    noise = 0.1 * np.random.default_rng(1).standard_normal(n)
    return noise[:, None] * np.array(gains)


@pytest.mark.parametrize("how", ["guid", "guid, never finalised", "extension"])
def test_fuma_is_known_by_its_header_and_converted(tmp_path: Path, how: str) -> None:
    pcm = np.rint(_plane_wave("fuma", 70, -20) * 32768).astype(np.int16)
    path = tmp_path / "mic_dev" / ("a.amb" if how == "extension" else "a.wav")
    path.parent.mkdir()
    told = 0 if "never" in how else None
    path.write_bytes(_wav(pcm, guid=b"" if how == "extension" else _guid(1), data_size=told))
    expected = _plane_wave("acn", 70, -20)
    reader, source = AudioReader(path), AudioInput(path)
    np.testing.assert_allclose(reader.read(0, 10), expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(source.read(0, 10), expected, rtol=0, atol=1e-4)
    assert source.facts.audio_format == "foa"
    for notes in (reader.notes, source.notes()):
        assert any("FuMa ambisonics (W, X, Y, Z): converted to ACN" in note for note in notes)
    assert AudioInput(path, audio_format="foa").facts.audio_format == "foa"
    with pytest.raises(InputError, match=r"says ambisonics \(FuMa B-format\), not 'mic'"):
        AudioInput(path, audio_format="mic")


def test_a_plain_extensible_header_is_no_ambisonics(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(_wav(_pcm(), guid=struct.pack("<IHH", 1, 0, 0x10) + bytes.fromhex("800000aa00389b71")))
    _check(path, _pcm(), "")
    assert AudioInput(path).facts.audio_format == "mic"


def test_fuma_of_other_orders_is_not_converted_and_said(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    pcm = _pcm(channels=9)
    path.write_bytes(_wav(pcm, guid=_guid(1)))
    reader = AudioReader(path)
    np.testing.assert_array_equal(reader.read_samples(0, SAMPLES), (pcm / 32768).astype(np.float32))
    assert "FuMa ambisonics of 9 channels" in reader.notes[0]
    with pytest.raises(InputError, match="9 channels"):
        AudioInput(path)


# --------------------------------------------------------------------------------------------------------- odd sound


@pytest.mark.parametrize("rate", [0, 1, 999, 768_001, 999_983, 2**31, 0.5, 44_099.5, 191_999.5, 705_601, math.nan])
def test_sample_rates_that_are_none(rate: float) -> None:
    with pytest.raises(InputError, match="sample rate is"):
        check_sample_rate(rate)


@pytest.mark.parametrize("rate", [1, 10, 999_983, 2**30])
def test_files_of_such_rates(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(_wav(_pcm(), rate=rate))
    for opened in (AudioReader, AudioInput):
        with pytest.raises(InputError, match=r"a\.wav: the sample rate is"):
            opened(path)


@pytest.mark.parametrize("rate", [1000, 12_345, 191_999, 352_800, 768_000])
def test_odd_rates_that_are_played(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(_wav(_pcm(rate // 5), rate=rate))
    assert AudioReader(path).mono_pcm16(0, 0.2).shape == (4800,)
    assert len(AudioInput(path).read(0, 2)) == 4800


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM"])
@pytest.mark.parametrize("channels", [1, 2, 5, 33])
def test_every_sample_type_and_number_of_channels_is_played(tmp_path: Path, subtype: str, channels: int) -> None:
    path = tmp_path / "a.wav"
    audio = 0.3 * np.random.default_rng(0).uniform(-1, 1, (4800, channels))
    if subtype == "IMA_ADPCM" and channels > 2:
        pytest.skip("libsndfile writes at most two channels of it")
    soundfile.write(path, audio, 24_000, subtype=subtype)
    reader = AudioReader(path)
    assert bool(reader.notes) == (channels > 1 and subtype in ("ULAW", "IMA_ADPCM"))
    # ADPCM comes in whole blocks
    assert 4800 <= reader.n_samples < 7000
    close = {"PCM_U8": 0.01, "ULAW": 0.02, "IMA_ADPCM": 0.5}.get(subtype, 1e-4)
    np.testing.assert_allclose(reader.read(0, 2), audio, rtol=0, atol=close)
    assert np.isfinite(spectrogram(path, use_cache=False).level_db).all()
    with pytest.raises(InputError, match=r"a\.wav"):
        AudioInput(path)


def _make(folder: Path, extension: str) -> bytes:
    path = folder / f"small.{extension}"
    if not path.exists():
        soundfile.write(path, _pcm(2_400), 24_000, subtype="PCM_16")
    return path.read_bytes()


@pytest.mark.parametrize("extension", ["wav", "flac", "aiff", "caf", "w64"])
def test_any_damaged_header_is_a_sentence_or_sound_in_proportion(
    tmp_path_factory: pytest.TempPathFactory, extension: str
) -> None:
    folder = tmp_path_factory.mktemp(f"fuzz-{extension}")

    @settings(max_examples=150, deadline=None)
    @given(
        changes=st.lists(st.tuples(st.integers(0, 130), st.integers(0, 255)), min_size=1, max_size=6),
        keep=st.one_of(st.none(), st.integers(0, 400)),
    )
    def fuzz(changes: list[tuple[int, int]], keep: int | None) -> None:
        data = bytearray(_make(folder, extension))
        for position, value in changes:
            data[min(position, len(data) - 1)] = value
        path = folder / f"mutated.{extension}"
        path.write_bytes(data[:keep])
        os.utime(path, ns=(0, hash((tuple(changes), keep)) & 0xFFFFFFFFFF))
        tracemalloc.start()
        for use in _USES:
            with contextlib.suppress(InputError):
                use(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 150e6

    fuzz()


def _play(path: Path) -> None:
    reader = AudioReader(path)
    reader.read(0, 1)
    reader.mono_pcm16(0, 0.05)


def _take_in(path: Path) -> None:
    source = AudioInput(path, channels=None)
    for _, block in source.blocks(20):
        assert np.isfinite(block).all()
    source.notes()


_USES: tuple[Callable[[Path], object], ...] = (
    _play,
    _take_in,
    lambda path: spectrogram(path, use_cache=False),
    look_at_sound,
)


@pytest.mark.parametrize("name", ["14-wav-cut-off", "a07-streamed-flac", "08-audio-at-8-khz"])
def test_the_faults_that_were_found(name: str) -> None:
    folder = Path(__file__).resolve().parents[3] / "shared" / "faults" / name
    if not folder.is_dir():
        pytest.skip("no shared faults here")
    expected = {
        "whole.wav": 19_200,
        "cut.wav": 9_597,
        "not_finalised.wav": 19_200,
        "bw64.wav": 18_740,
        "tail.wav": 4_799,
        "streamed.flac": 7_200,
        "a8k.flac": 7_200,
    }
    seen = {p.name: AudioReader(p) for p in folder.iterdir() if p.name in expected}
    assert seen
    for file, reader in seen.items():
        assert reader.n_samples == expected[file]
        assert bool(reader.notes) == (file in ("cut.wav", "not_finalised.wav", "bw64.wav", "streamed.flac"))

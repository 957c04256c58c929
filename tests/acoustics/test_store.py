"""Feature store: computed once, resumable after a kill, safe with two processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sai_core.acoustics.features import FeatureOptions, MapMaker, extract
from sai_core.acoustics.networks import UpLAM, UpLAMConfig, save_uplam
from sai_core.acoustics.projection import to_canvas
from sai_core.acoustics.store import FeatureStore
from sai_core.entry_file import StoredRows
from sai_core.errors import CancelledError, EnvironmentProblem, InputError

BEAMFORMER = FeatureOptions(kind="beamformer")
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _files(root: Path, namespace: str) -> list[str]:
    return sorted(p.stem for p in root.glob(f"entries/{namespace}/v*/*.entry"))


def _blocks(root: Path) -> list[int]:
    """First frames of the blocks of an unfinished run."""
    return sorted(int(name.split("-")[1]) for name in _files(root, "feature-blocks"))


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.05 * np.random.default_rng(5).standard_normal((24000 * 13, 4)), 24000)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = UpLAM(UpLAMConfig(base_filter=2, features=4, hermitian="mean"))
    with torch.no_grad():
        model.lam.D.normal_(0, 1e-3)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_uplam(model, path)
    return path


def test_second_opening_computes_nothing(root: Path, audio: Path, weights: Path) -> None:
    store = FeatureStore()
    maker = MapMaker(weights=weights)
    seen: list[str] = []
    first = store.open_or_make(audio, maker=maker, progress=lambda fraction, message: seen.append(message))
    assert any("of 130 frames" in message for message in seen)
    maker.blocks = None  # type: ignore[method-assign,assignment]
    again = store.open_or_make(audio, maker=maker)
    assert again.key == first.key
    assert isinstance(again._maps, StoredRows)
    np.testing.assert_array_equal(again.lattice(), first.lattice())
    assert _files(root, "features") == [first.key]
    assert _blocks(root) == []


def test_float16_with_scale_keeps_small_maps(tmp_path: Path, audio: Path, weights: Path) -> None:
    exact = extract(audio, weights=weights)
    # the weights make maps of the order 1e-6 to 1e-4, the published LAM-32's 1e-4: below float16's normal numbers
    assert exact.lattice.max() < 1e-3
    stored = FeatureStore().open_or_make(audio, weights=weights)
    peak = exact.lattice.max(axis=-1, keepdims=True)
    assert (np.abs(stored.lattice() - exact.lattice) <= peak * 2**-11).all()
    np.testing.assert_array_equal(stored.level, exact.level)
    assert (stored.kind, len(stored), stored.frame_rate_hz) == ("uplam", 130, 10.0)
    assert stored.options == dict(exact.options)
    assert stored.notes == exact.notes


def test_slices_magnitudes_and_canvas(tmp_path: Path, audio: Path) -> None:
    stored = FeatureStore().open_or_make(audio, options=BEAMFORMER)
    whole = stored.maps()
    for first, last in ((0, 1), (17, 59), (129, 130), (130, 130), (0, None)):
        np.testing.assert_array_equal(stored.lattice(first, last), whole.lattice[first:last])
    power = stored.lattice(3, 5, magnitude="power")
    np.testing.assert_allclose(power, extract(audio, kind="beamformer", magnitude="power").lattice[3:5], rtol=2e-3)
    assert stored.canvas(3, 5).shape == (2, 9, 180, 360)
    np.testing.assert_array_equal(stored.canvas(3, 5, magnitude="power"), stored.maps(3, 5, magnitude="power").canvas())
    with pytest.raises(ValueError, match="read-only"):
        stored.level[0] = 1


def test_maps_are_smoothed_over_neighbouring_frames(tmp_path: Path, audio: Path) -> None:
    stored = FeatureStore().open_or_make(audio, options=BEAMFORMER)
    whole, n = stored.lattice(), len(stored)
    smooth = stored.lattice(smooth_frames=2)
    for frame in (0, 1, 60, n - 1):
        around = [whole[min(max(frame + k, 0), n - 1)] for k in range(-2, 3)]
        expected = sum(weight * part for weight, part in zip((1, 2, 3, 2, 1), around, strict=True)) / 9
        np.testing.assert_allclose(smooth[frame], expected, rtol=1e-5, atol=1e-7)
    for first, last in ((0, 1), (17, 59), (n - 1, n), (n, n)):
        np.testing.assert_array_equal(stored.lattice(first, last, smooth_frames=2), smooth[first:last])
    np.testing.assert_array_equal(stored.canvas(5, 6, smooth_frames=2), to_canvas(smooth[5:6]))


def test_what_the_maps_depend_on_changes_the_entry(tmp_path: Path, audio: Path, weights: Path) -> None:
    store = FeatureStore()
    other_audio = tmp_path / "b.wav"
    soundfile.write(other_audio, np.zeros((24000, 4)), 24000)
    same_audio = tmp_path / "copy.wav"
    same_audio.write_bytes(audio.read_bytes())
    other_weights = tmp_path / "other.safetensors"
    save_uplam(UpLAM(UpLAMConfig(base_filter=2, features=4)), other_weights)
    copied_weights = tmp_path / "copied.safetensors"
    copied_weights.write_bytes(weights.read_bytes())
    keys = [
        store.open_or_make(audio, weights=weights).key,
        store.open_or_make(other_audio, weights=weights).key,
        store.open_or_make(audio, weights=other_weights).key,
        store.open_or_make(audio, weights=weights, options=FeatureOptions(visibility="report")).key,
        store.open_or_make(audio, weights=weights, options=FeatureOptions(dtype="float64")).key,
        store.open_or_make(audio, options=BEAMFORMER).key,
        store.open_or_make(audio, options=FeatureOptions(kind="beamformer", audio_format="foa")).key,
        store.open_or_make(audio, options=FeatureOptions(kind="beamformer", steering="rigid_sphere")).key,
        store.open_or_make(np.zeros((4800, 4)), options=BEAMFORMER).key,
        store.open_or_make(np.zeros((4800, 4)), options=BEAMFORMER, sample_rate_hz=12000).key,
    ]
    assert len(set(keys)) == len(keys)
    # content counts, not names
    assert store.open_or_make(same_audio, weights=copied_weights).key == keys[0]
    # a file that changes under its name is noticed
    soundfile.write(same_audio, np.ones((24000, 4)) * 0.1, 24000)
    assert store.open_or_make(same_audio, weights=weights).key not in keys


def test_cancelled_run_keeps_its_blocks(root: Path, audio: Path) -> None:
    store = FeatureStore()
    calls: list[int] = []

    def stop_late(fraction: float, message: str) -> None:
        if "80 of 130" in message:
            raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        store.open_or_make(audio, options=BEAMFORMER, progress=stop_late)
    blocks = _blocks(root)
    assert blocks[:2] == [0, 40]
    assert _files(root, "features") == []
    # a block that is damaged on disk is computed again
    damaged = next(root.glob("entries/feature-blocks/v*/*-40-40.entry"))
    damaged.write_bytes(damaged.read_bytes()[:1000])
    maker = MapMaker(BEAMFORMER)
    made = maker.maps_of

    def counted(samples: np.ndarray, audio_format: str, **halo: int) -> tuple:
        calls.append(len(samples) // 2400)
        return made(samples, audio_format, **halo)  # type: ignore[arg-type]

    maker.maps_of = counted  # type: ignore[method-assign,assignment]
    stored = store.open_or_make(audio, maker=maker)
    assert sum(calls) == 130 - sum(min(40, 130 - first) for first in blocks) + 40
    np.testing.assert_allclose(stored.lattice(), extract(audio, kind="beamformer").lattice, rtol=0, atol=2e-4)


_CHILD = """
import sys, time
from sai_core.acoustics.features import FeatureOptions, MapMaker
from sai_core.acoustics.store import FeatureStore
maker = MapMaker(FeatureOptions(kind="beamformer"))
made = maker.maps_of
def slow(samples, audio_format, **halo):
    with open(sys.argv[2], "a") as log:
        log.write(f"{len(samples) // 2400}\\n")
    time.sleep(float(sys.argv[3]))
    return made(samples, audio_format, **halo)
maker.maps_of = slow
stored = FeatureStore().open_or_make(sys.argv[1], maker=maker)
print(stored.key, len(stored), float(stored.lattice().sum()))
"""


def _child(audio: Path, log: Path, delay_s: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(audio), str(log), str(delay_s)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_two_processes_compute_it_once(tmp_path: Path, audio: Path) -> None:
    logs = [tmp_path / "one.txt", tmp_path / "two.txt"]
    children = [_child(audio, log, 0.3) for log in logs]
    results = [child.communicate(timeout=300) for child in children]
    assert [child.returncode for child in children] == [0, 0], results
    assert results[0][0] == results[1][0]
    lines = [line for log in logs if log.exists() for line in log.read_text().split()]
    assert sorted(lines) == ["10", "40", "40", "40"], "each block once, whichever process did it"


@pytest.mark.slow
def test_kill_9_loses_only_unfinished_blocks(tmp_path: Path, root: Path, audio: Path) -> None:
    store, log = FeatureStore(), tmp_path / "log.txt"
    child = _child(audio, log, 0.5)
    deadline = time.monotonic() + 240
    while 40 not in _blocks(root):
        assert time.monotonic() < deadline
        assert child.poll() is None, child.communicate()
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    finished = set(_blocks(root))
    assert {0, 40} <= finished < {0, 40, 80, 120}
    # the lock went with the process: the next run does not wait, and does only what is missing
    maker, calls = MapMaker(BEAMFORMER), []
    made = maker.maps_of
    maker.maps_of = lambda *args, **halo: calls.append(1) or made(*args, **halo)  # type: ignore
    stored = store.open_or_make(audio, maker=maker)
    assert len(calls) == 4 - len(finished)
    np.testing.assert_allclose(stored.lattice(), extract(audio, kind="beamformer").lattice, rtol=0, atol=2e-4)


def test_blocks_of_another_length_are_not_mixed_in(tmp_path: Path, audio: Path) -> None:
    # a run that began on another device has blocks of another length
    store = FeatureStore()
    maker = MapMaker(BEAMFORMER)
    maker._chunk = 50

    def stop(fraction: float, message: str) -> None:
        if "50 of 130" in message:
            raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        store.open_or_make(audio, maker=maker, progress=stop)
    stored = store.open_or_make(audio, options=BEAMFORMER)
    np.testing.assert_allclose(stored.lattice(), extract(audio, kind="beamformer").lattice, rtol=0, atol=2e-4)


@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "foreign"])
def test_a_damaged_entry_is_made_again(root: Path, how: str, rng: np.random.Generator) -> None:
    store = FeatureStore()
    samples = 0.1 * rng.standard_normal((7200, 4))
    stored = store.open_or_make(samples, options=BEAMFORMER)
    expected, path = stored.lattice(), next(root.glob(f"entries/features/v*/{stored.key}.entry"))
    del stored
    good = path.read_bytes()
    made: list[str] = []
    for _ in range(10 if how == "flipped" else 1):
        data = bytearray(good)
        if how == "flipped":
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        elif how == "cut":
            data = data[: len(data) // 3]
        elif how == "empty":
            data.clear()
        else:
            other = store.open_or_make(np.zeros((7200, 4)), options=BEAMFORMER)
            data = bytearray(path.with_name(f"{other.key}.entry").read_bytes())
        path.write_bytes(data)
        made.clear()
        again = store.open_or_make(samples, options=BEAMFORMER, progress=lambda _, message: made.append(message))
        np.testing.assert_array_equal(again.lattice(), expected)
        assert any("frames stored" in message for message in made)


def test_no_frames(tmp_path: Path) -> None:
    stored = FeatureStore().open_or_make(np.zeros((100, 4)), options=BEAMFORMER)
    assert len(stored) == 0
    assert stored.lattice().shape == (0, 9, 484)


def test_a_cache_that_cannot_be_written_costs_time_only(root: Path, audio: Path) -> None:
    expected = FeatureStore().open_or_make(audio, options=BEAMFORMER).lattice()
    shutil.rmtree(root)
    root.write_text("in the way")
    stored = FeatureStore().open_or_make(audio, options=BEAMFORMER)
    np.testing.assert_array_equal(stored.lattice(), expected)
    np.testing.assert_array_equal(stored.lattice(17, 59), expected[17:59])
    with pytest.raises(ValueError, match="read-only"):
        stored.level[0] = 1


def test_a_full_disk_is_a_sentence(root: Path, audio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sai_core import cache

    usage = shutil.disk_usage("/")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage._replace(free=400_000))
    with pytest.raises(EnvironmentProblem, match="SAI_CACHE_DIR"):
        FeatureStore().open_or_make(audio, options=BEAMFORMER)


def test_maps_with_nan_are_never_stored(tmp_path: Path) -> None:
    store = FeatureStore()
    maker = MapMaker(BEAMFORMER)
    maker.maps_of = lambda *args, **halo: (np.full((1, 9, 484), np.nan), np.ones((1, 9)))  # type: ignore
    with pytest.raises(InputError, match="NaN"):
        store.open_or_make(np.zeros((2400, 4)), maker=maker)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_recordings_longer_than_a_block_are_stored_whatever_the_threads(
    tmp_path: Path, rng: np.random.Generator, threads: int
) -> None:
    """The block's length follows torch's threads, which extraction itself turns down to one while it runs."""
    before = torch.get_num_threads()
    audio = rng.normal(0, 0.1, (2400 * 210, 4)).astype(np.float32)
    try:
        torch.set_num_threads(threads)
        stored = FeatureStore().open_or_make(audio, options=FeatureOptions(kind="beamformer"), device="cpu")
    finally:
        torch.set_num_threads(before)
    expected = extract(audio, kind="beamformer", device="cpu", threads=1).lattice
    np.testing.assert_allclose(stored.lattice(), expected, rtol=0, atol=1e-3 * float(expected.max()))

"""The listener: what it looks at, its file, what it is asked, and that the one that ships hears the classes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sai_core.errors import InputError
from sai_core.geometry import SAMPLE_RATE_HZ
from sai_core.listener import Listener, open_listener
from sai_core.listener.network import ListenerNet, save_listener
from sai_core.listener.spectrum import COLUMNS, HOP, N_BANDS, mel_power, network_input
from sai_core.simulation.sounds import synthesise
from sai_core.taxonomy import N_CLASSES


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Listener:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("listener") / "own.safetensors"
    save_listener(ListenerNet(2), path, notes={"learned_from": "nothing"})
    return open_listener(path)


def tone(frequency_hz: float, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ)


def test_a_tone_is_in_its_band_and_a_click_in_its_column() -> None:
    loudest = [int(mel_power(tone(f, 0.5)).mean(axis=0).argmax()) for f in (150, 1000, 5000, 11_000)]
    assert loudest == sorted(set(loudest))
    assert loudest[0] < 5
    assert loudest[-1] > 57
    click = np.zeros(20 * HOP)
    click[7 * HOP + HOP // 2] = 1.0
    power = mel_power(click)
    assert power.shape == (20, N_BANDS)
    assert power.dtype == np.float32
    assert power.sum(axis=1).argmax() == 7
    for n in (0, 1, HOP - 1, HOP, 3 * HOP + 5):
        assert mel_power(np.ones(n)).shape == (n // HOP, N_BANDS)


def test_a_long_sound_is_the_same_as_its_parts(rng: np.random.Generator) -> None:
    sound = rng.standard_normal(1500 * HOP)
    whole, part = mel_power(sound), mel_power(sound[990 * HOP : 1010 * HOP])
    np.testing.assert_allclose(whole[992:1008], part[2:18], rtol=2e-4)


def test_loudness_is_taken_out_and_silence_is_no_number_gone_wrong(rng: np.random.Generator) -> None:
    power = mel_power(rng.standard_normal(COLUMNS * HOP))
    before = power.copy()
    np.testing.assert_allclose(network_input(power), network_input(power * np.float32(1e-8)), atol=1e-4)
    np.testing.assert_array_equal(power, before)
    assert np.isfinite(network_input(np.zeros_like(power))).all()


def test_what_is_asked_is_answered(own: Listener, rng: np.random.Generator) -> None:
    sound = rng.standard_normal(20 * SAMPLE_RATE_HZ)
    for start, stop, windows in ((0, 48_000, 1), (0, 1000, 1), (0, 96_000, 3), (0, None, 12), (456_000, 900_000, 1)):
        heard = own.hear(sound, start, stop)
        assert heard is not None
        assert heard.windows == windows
        assert sum(heard.scores) + heard.nothing == pytest.approx(1.0, abs=1e-5)
        assert [heard.scores[c] for c in heard.order] == sorted(heard.scores, reverse=True)
    quiet = own.hear(sound * 1e-6, 0, 48_000)
    loud = own.hear(sound, 0, 48_000)
    assert quiet is not None and loud is not None  # noqa: PT018
    np.testing.assert_allclose(quiet.scores, loud.scores, atol=1e-4)
    # sixteen bits, as Review has them
    shorts = own.hear(np.rint(sound * 5000).astype(np.int16), 0, 48_000)
    assert shorts is not None
    np.testing.assert_allclose(shorts.scores, loud.scores, atol=2e-3)


def test_silence_is_nothing(own: Listener) -> None:
    assert own.hear(np.zeros(48_000)) is None
    assert own.hear(np.zeros(0)) is None
    assert own.hear(np.ones(48_000), 48_000, 60_000) is None
    scores = own.scores_at(np.zeros((30, N_BANDS), np.float32), [0, 29, 5000])
    np.testing.assert_array_equal(scores, np.eye(N_CLASSES + 1)[[N_CLASSES] * 3])


def test_a_file_that_is_none_is_one_sentence(tmp_path: Path, own: Listener) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(3)}, other)
    with pytest.raises(InputError, match="is not a listener of this program"):
        open_listener(other)
    with pytest.raises(InputError):
        open_listener(tmp_path / "missing.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(own.path.read_bytes()[:-40])
    with pytest.raises(InputError):
        open_listener(cut)


def test_the_one_that_ships_hears_the_classes_of_sounds_it_was_not_taught() -> None:
    by = open_listener()
    first = among_three = 0
    for category in range(N_CLASSES):
        sound = synthesise(category, 2.5, np.random.default_rng([77, category]))
        heard = by.hear(sound.signal)
        assert heard is not None
        place = heard.order.index(category)
        first, among_three = first + (place == 0), among_three + (place < 3)
    assert first >= 10
    assert among_three >= 12
    assert by.path.stat().st_size < 1_000_000
    assert {"learned_from", "settings", "packages", "recorded_files"} <= set(by.notes)


def test_torch_is_imported_where_the_network_runs() -> None:
    code = "import sys, sai_core.review.by_ear, sai_core.listening.hearing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Sounds of the 13 classes: reproducible, of the right length and level, and different from each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from sai_core.errors import InputError
from sai_core.simulation import dsp, sounds, speech

ALL = [(c, v) for c in range(13) for v in sounds.VARIANTS[c]]


@pytest.mark.parametrize(("category_id", "variant"), ALL)
def test_every_sound_is_reproducible_finite_and_calibrated(category_id, variant):
    first = sounds.synthesise(category_id, 2.0, np.random.default_rng(4), variant=variant)
    again = sounds.synthesise(category_id, 2.0, np.random.default_rng(4), variant=variant)
    other = sounds.synthesise(category_id, 2.0, np.random.default_rng(5), variant=variant)
    np.testing.assert_array_equal(first.signal, again.signal)
    assert first.signal.shape == (48_000,)
    assert np.isfinite(first.signal).all()
    assert not np.array_equal(first.signal, other.signal)
    assert dsp.active_rms(first.signal) == pytest.approx(1.0, abs=1e-9)
    assert 50 <= first.level_db <= 75
    assert (first.strokes_s >= 0).all()
    assert (first.strokes_s < 2.0).all()
    assert first.motion.size >= 190
    assert first.motion.min() >= 0
    assert first.motion.max() <= 1.0
    # starts and ends near silence: no click
    assert abs(first.signal[0]) < 0.05
    assert abs(first.signal[-1]) < 0.05


@pytest.mark.parametrize(("category_id", "variant"), ALL)
def test_every_sound_reaches_the_analysed_bands(category_id, variant):
    """Labels and features look at 1.5 to 4.5 kHz: a class without energy there would be invisible."""
    take = sounds.synthesise(category_id, 2.0, np.random.default_rng(11), variant=variant)
    band = signal.sosfilt(signal.butter(4, [1500, 4500], "bandpass", fs=24_000, output="sos"), take.signal)
    share_db = 10 * np.log10(np.mean(band**2) / np.mean(take.signal**2))
    # -26 dB of a 60 dB sound is still 34 dB SPL
    assert share_db > -26


def test_strokes_are_where_the_energy_rises():
    take = sounds.synthesise(2, 3.0, np.random.default_rng(0))
    for stroke in take.strokes_s:
        k = int(stroke * 24_000)
        before = np.mean(take.signal[max(k - 240, 0) : max(k - 10, 1)] ** 2)
        after = np.mean(take.signal[k : k + 240] ** 2)
        assert after > 10 * before


def test_womens_voices_are_higher_than_mens():
    def pitch(sex: speech.Sex) -> float:
        voice, _ = speech.speak(3.0, np.random.default_rng(3), sex)
        lags = signal.correlate(voice[:48_000], voice[:48_000], method="fft")[48_000:]
        low, high = 24_000 // 300, 24_000 // 80
        return 24_000 / (low + int(np.argmax(lags[low:high])))

    assert pitch("female") > 150 > pitch("male")


def test_mouth_moves_with_the_voice():
    voice, opening = speech.speak(4.0, np.random.default_rng(8), "male")
    loud = np.sqrt(dsp.frame_power(voice, 240))[: opening.size]
    assert np.corrcoef(loud, opening[: loud.size])[0, 1] > 0.4


def test_wrong_arguments_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="category_id is 13"):
        sounds.synthesise(13, 1.0, rng)
    with pytest.raises(InputError, match=r"0\.3 to 120"):
        sounds.synthesise(0, 0.1, rng)
    with pytest.raises(InputError, match="variant is 'x'"):
        sounds.synthesise(0, 1.0, rng, variant="x")


def test_helpers_accept_empty_and_leave_input_alone():
    empty = np.zeros(0)
    assert dsp.frame_power(empty, 240).size == 0
    assert dsp.active_rms(empty) == 0.0
    assert dsp.unit_rms(empty).size == 0
    assert dsp.shaped_noise(0, np.random.default_rng(0), [(100, 0)]).size == 0
    x = np.ones(1000)
    kept = x.copy()
    dsp.fade(x, 0.01, 0.01)
    dsp.highpass(x, 100)
    dsp.envelope_track(x)
    np.testing.assert_array_equal(x, kept)

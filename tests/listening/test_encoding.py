"""Encoding against plane waves on the exact rigid sphere, and against FOA of the same scene."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.acoustics import rigid_sphere
from sai_core.errors import InputError
from sai_core.geometry import fibonacci_lattice_deg
from sai_core.listening.beams import BEAMS, beam_encoder, beam_weights, half_width_deg, order_weights
from sai_core.listening.encoding import (
    NOISE_GAIN_LIMIT_DB,
    TAPS,
    Encoder,
    capsules_of,
    design_frequencies,
    encoder_matrix,
    filters_of,
    orders_of,
)
from tests.listening.scenes import CHANNELS, reader_of, talkers

DIRECTIONS = (fibonacci_lattice_deg()[0][::7], fibonacci_lattice_deg()[1][::7])


def waves(array, freq_hz):
    """Unit plane waves from many directions at the capsules, (freq, capsules, directions)."""
    return rigid_sphere.steering(*DIRECTIONS, freq_hz, capsules_deg=capsules_of(array), convention="fft")


@pytest.mark.parametrize(
    ("array", "freq_hz", "worst"),
    [
        # what the noise limit and aliasing leave, relative to harmonics of mean square 1, for each order
        ("mic", 1000.0, (0.05, 0.25)),
        ("mic", 500.0, (0.01, 0.12)),
        ("eigen", 1000.0, (0.001, 0.005, 0.3)),
        ("eigen", 4000.0, (0.003, 0.003, 0.005, 0.02, 0.12)),
        ("eigen", 6000.0, (0.02, 0.03, 0.05, 0.15, 0.4)),
    ],
)
def test_plane_waves_become_their_harmonics(array, freq_hz, worst) -> None:
    order = len(worst) - 1
    encoded = (encoder_matrix(array, order, freq_hz) @ waves(array, freq_hz))[0]
    truth = rigid_sphere.sh_matrix(order, *DIRECTIONS, normalisation="n3d").T
    error = np.sqrt(np.mean(np.abs(encoded - truth) ** 2, axis=1))
    for n, limit in enumerate(worst):
        assert error[orders_of(order) == n].max() < limit, (n, error)


@pytest.mark.parametrize("array", ["mic", "eigen"])
def test_noise_is_never_raised_above_the_limit(array) -> None:
    frequency = np.concatenate([[0.0], np.geomspace(10, 12_000, 60)])
    order = Encoder(array).order
    gain = 20 * np.log10(np.linalg.norm(encoder_matrix(array, order, frequency), axis=2).max(axis=1) + 1e-12)
    assert gain.max() <= NOISE_GAIN_LIMIT_DB + 1e-6
    # and the limit is used: low frequencies would otherwise lose directions that they have
    assert gain.max() > NOISE_GAIN_LIMIT_DB - 1.5
    # another limit is another bound
    quiet = np.linalg.norm(encoder_matrix(array, order, frequency, noise_gain_limit_db=6.0), axis=2)
    assert 20 * np.log10(quiet.max()) <= 6.0 + 1e-6


def test_filters_are_their_design_also_between_its_frequencies() -> None:
    impulse = filters_of(encoder_matrix("eigen", 4, design_frequencies())[:, :, :3])
    frequency = np.geomspace(100, 11_000, 40) + 0.123
    phase = np.exp(-2j * np.pi * frequency[:, None] / 24_000 * (np.arange(TAPS) - TAPS // 2))
    got = np.einsum("oct,ft->foc", impulse, phase)
    # the largest gain is 3.6; the error is that of 43 ms at 100 Hz
    np.testing.assert_allclose(got, encoder_matrix("eigen", 4, frequency)[:, :, :3], rtol=0, atol=0.06)


first_order = cache(lambda array: Encoder(array, 1))


@settings(max_examples=10)
@given(st.lists(st.integers(0, 9000), min_size=1, max_size=6), st.sampled_from(["mic", "eigen"]))
def test_any_windows_give_the_same_samples(cuts, array) -> None:
    audio = np.random.default_rng(3).standard_normal((9000, 4 if array == "mic" else 32)).astype(np.float32)
    encoder = first_order(array)
    whole = encoder.encode(reader_of(audio), 0, 9000)
    edges = [0, *sorted(cuts), 9000]
    parts = [encoder.encode(reader_of(audio), a, b) for a, b in itertools.pairwise(edges)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_windows_are_a_plain_convolution() -> None:
    audio = np.random.default_rng(4).standard_normal((7000, 4)).astype(np.float32)
    encoder = Encoder("mic", 1)
    impulse = filters_of(encoder.matrix() / np.sqrt(2.0 * orders_of(1) + 1.0)[:, None])
    expected = sum(np.convolve(audio[:, c], impulse[2, c])[TAPS // 2 : TAPS // 2 + 7000] for c in range(4))
    # single precision over 1024 taps
    np.testing.assert_allclose(encoder.encode(reader_of(audio), 0, 7000)[:, 2], expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("array", "share"), [("mic", 0.02), ("eigen", 0.002)])
def test_capsules_give_the_foa_of_the_same_scene(array, share) -> None:
    scene = talkers(2, seconds=1.0)
    one = scene.parts[0]
    encoded = Encoder(array, 1).encode(reader_of(one[CHANNELS[array]].T), 0, one.shape[1])
    foa = one[32:].T
    # where speech is loud and the limits do not bite: 300 Hz to 2 kHz
    spectra = [np.fft.rfft(x[:, [0, 1, 3]], axis=0)[300:2000] for x in (encoded, foa)]  # both talkers at elevation 0
    error = np.sum(np.abs(spectra[0] - spectra[1]) ** 2, axis=0) / np.sum(np.abs(spectra[1]) ** 2, axis=0)
    assert error.max() < share, error
    # FOA itself is passed on as it is
    assert np.array_equal(Encoder("foa").encode(reader_of(foa), 10, 500), foa[10:500])


@pytest.mark.parametrize("beam", BEAMS)
@pytest.mark.parametrize("order", [0, 1, 2, 4])
def test_beams_by_their_formulas(beam, order) -> None:
    aim = (37.0, -21.0)
    weights = beam_weights(beam, order, *aim)[0]
    pattern = rigid_sphere.sh_matrix(order, *DIRECTIONS, normalisation="sn3d") @ weights
    here = rigid_sphere.sh_matrix(order, *aim, normalisation="sn3d") @ weights
    np.testing.assert_allclose(here, 1.0, rtol=0, atol=1e-12)
    assert np.abs(pattern).max() <= 1 + 1e-12
    if beam == "cardioid":
        behind = rigid_sphere.sh_matrix(order, aim[0] + 180, -aim[1], normalisation="sn3d") @ weights
        np.testing.assert_allclose(behind, 1.0 if order == 0 else 0.0, rtol=0, atol=1e-12)
        assert pattern.min() >= -1e-12
    if order:
        # less diffuse sound than any other beam of the order: the hypercardioid's (N + 1)^2
        power = np.sum(order_weights(beam, order) ** 2 * (2 * np.arange(order + 1) + 1))
        directivity = (order_weights(beam, order) * (2 * np.arange(order + 1) + 1)).sum() ** 2 / power
        assert directivity <= (order + 1) ** 2 + 1e-9
        assert (directivity > (order + 1) ** 2 - 1e-9) == (beam == "hypercardioid")


def test_known_widths_and_weights() -> None:
    assert half_width_deg("hypercardioid", 1) == pytest.approx(52.5, abs=0.1)
    assert half_width_deg("max-re", 1) == pytest.approx(57.5, abs=0.1)
    assert half_width_deg("cardioid", 1) == pytest.approx(65.5, abs=0.1)
    assert half_width_deg("max-re", 0) == 180.0
    np.testing.assert_allclose(order_weights("max-re", 1), [1, 1 / np.sqrt(3)], rtol=0, atol=1e-12)


@pytest.mark.parametrize("array", ["foa", "mic", "eigen"])
@pytest.mark.parametrize("beam", BEAMS)
def test_the_aimed_sound_keeps_its_level_at_all_frequencies(array, beam) -> None:
    encoder = beam_encoder(array, beam)
    aim = (-120.0, 10.0)
    weights = beam_weights(beam, encoder.order, *aim)[0] / np.sqrt(2.0 * orders_of(encoder.order) + 1.0)
    chosen = [100, 250, 500, 1000, 1500] if array == "mic" else [100, 250, 500, 1000, 2000, 4000, 6000]
    bins = [int(np.argmin(np.abs(design_frequencies() - hz))) for hz in chosen]
    frequency = design_frequencies()[bins]
    if array == "foa":
        plain = rigid_sphere.sh_matrix(1, *aim, normalisation="sn3d").T.astype(np.complex128)
        wave = np.repeat(plain[None], len(bins), 0)
    else:
        wave = rigid_sphere.steering(*aim, frequency, capsules_deg=capsules_of(array), convention="fft")
    gain = np.abs(np.einsum("h,fhc,fc->f", weights, encoder.matrix()[bins], wave[:, :, 0]))
    # a decibel is what one hears as another level; four capsules alias from 2 kHz on
    assert np.abs(20 * np.log10(gain)).max() < 1.0, gain


def test_orders_that_are_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="mic recordings carry orders 0 to 1"):
        Encoder("mic", 2)
    with pytest.raises(InputError, match="Beam 'wide' is unknown"):
        order_weights("wide", 1)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not a range"):
        Encoder("mic").encode(reader_of(np.zeros((4, 4))), 5, 2)

"""One talker of two, measured: what is left of the other, and that windows, moves and gaps make no difference."""

from __future__ import annotations

import numpy as np
import pytest

from sai_core.geometry import great_circle_deg
from sai_core.listening import lines
from sai_core.listening.encoding import Encoder
from sai_core.listening.solo import Solo
from sai_core.listening.sources import Track
from tests.listening.scenes import CHANNELS, Talkers, level_db, reader_of, si_sdr_db, talkers


def parts_of(scene: Talkers, array, part="solo", *, known=True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The solo of the first talker, and the share of each talker in it: weights of the mix on each by itself."""
    others = [scene.tracks[1]] if known else []
    solo = Solo(array, reader_of(scene.mix(array)), scene.tracks[0], others)
    n = scene.noise.shape[1]
    whole = solo.render(0, n, part)
    shares = []
    for sound in scene.parts:
        single = Solo(array, reader_of(sound[CHANNELS[array]].T), scene.tracks[0], others)
        single._inverse = solo._inverse  # type: ignore[method-assign]
        shares.append(single.render(0, n, part))
    return whole, shares[0], shares[1]


@pytest.fixture(scope="module")
def dry() -> Talkers:
    return talkers(1, seconds=2.0)


@pytest.fixture(scope="module")
def light() -> Talkers:
    return talkers(1, seconds=2.0, rt60_s=0.2)


@pytest.mark.parametrize(("array", "quieter_db"), [("foa", 30), ("mic", 30)])
def test_without_a_room_the_other_talker_is_gone(dry: Talkers, array, quieter_db) -> None:
    whole, own, other = parts_of(dry, array)
    assert level_db(own) == pytest.approx(level_db(dry.parts[0][32]), abs=0.2)
    assert level_db(other) < level_db(dry.parts[1][32]) - quieter_db
    assert si_sdr_db(whole, dry.dry[0]) > 25


def test_what_no_metadata_names_is_silenced_too_though_less(dry: Talkers) -> None:
    _, own, other = parts_of(dry, "mic", known=False)
    assert level_db(other) < level_db(dry.parts[1][32]) - 12
    assert level_db(own) == pytest.approx(level_db(dry.parts[0][32]), abs=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("array", "quieter_db"), [("foa", 12), ("mic", 12), ("eigen", 20)])
def test_goals_in_light_reverberation(light: Talkers, array, quieter_db) -> None:
    whole, own, other = parts_of(light, array)
    assert level_db(other) < level_db(light.parts[1][32]) - quieter_db
    # the talker's own reflections are partly lost, the talker is not
    assert level_db(own) > level_db(light.parts[0][32]) - 5
    mono = light.mix(array).mean(axis=1) if array != "foa" else light.mix(array)[:, 0]
    assert si_sdr_db(whole, light.dry[0]) > si_sdr_db(mono, light.dry[0]) + 2


@pytest.mark.parametrize("array", ["foa", "mic"])
def test_around_is_everything_but_the_source(dry: Talkers, array) -> None:
    # the omnidirectional channel of four capsules holds to 3 kHz; nearly all of speech is below
    whole, own, other = parts_of(dry, array, "around")
    assert level_db(own) < level_db(dry.parts[0][32]) - 30
    assert level_db(other) == pytest.approx(level_db(dry.parts[1][32]), abs=1.0)
    # both parts together are the omnidirectional channel
    solo = parts_of(dry, array)[0]
    omni = Encoder(array, 0).encode(reader_of(dry.mix(array)), 0, whole.size)[:, 0]
    assert level_db(solo + whole - omni) < level_db(omni) - 25


def test_any_windows_give_the_same_samples(light: Talkers) -> None:
    read = reader_of(light.mix("mic"))
    whole = Solo("mic", read, light.tracks[0], [light.tracks[1]]).render(7_000, 45_000)
    late = Solo("mic", read, light.tracks[0], [light.tracks[1]])
    parts = [late.render(a, min(a + 6_001, 45_000)) for a in range(7_000, 45_000, 6_001)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_a_walker_is_followed_without_clicks() -> None:
    n = 48_000
    frames = np.arange(20)
    walker = Track(6, 0, frames, np.linspace(-60, 60, 20), np.linspace(-10, 20, 20))
    # a tone that comes in first-order ambisonics from where the walker is
    tone = 0.3 * np.sin(2 * np.pi * 600 * np.arange(n) / 24_000)
    azimuth, elevation = walker.at(lines.samples_to_frame(np.arange(n)))
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    foa = np.stack([np.ones(n), np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)], axis=1) * tone[:, None]
    other = np.random.default_rng(0).standard_normal(n) * 0.2
    mix = foa + other[:, None] * np.array([1.0, 0.0, 0.0, -1.0])
    alone = Solo("foa", reader_of(mix.astype(np.float32)), walker).render(0, n)
    middle = slice(4_800, n - 4_800)
    assert si_sdr_db(alone[middle], tone[middle]) > si_sdr_db(mix[middle, 0], tone[middle]) + 15
    # no step larger than the tone's own, where nothing else sounds
    alone = Solo("foa", reader_of(foa.astype(np.float32)), walker).render(0, n)
    own = np.abs(np.diff(tone, 2)).max()
    assert np.abs(np.diff(alone[middle], 2)).max() < 1.2 * own
    assert si_sdr_db(alone[middle], tone[middle]) > 25


def test_neighbours_are_left_in_and_counted() -> None:
    frames = np.arange(10)
    track = Track(0, 0, frames, np.zeros(10), np.zeros(10))
    near = Track(1, 1, frames[:4], np.full(4, 15.0), np.zeros(4))
    crowd = [Track(2, k, frames[8:], np.full(2, 60.0 + 80 * k), np.zeros(2)) for k in range(4)]
    audio = np.random.default_rng(1).standard_normal((24_000, 4)).astype(np.float32)
    solo = Solo("mic", reader_of(audio), track, [near, *crowd])
    assert np.isfinite(solo.render(0, 24_000)).all()
    assert solo.too_near == {0, 1, 2, 3}
    assert solo.too_many == {8, 9}


def test_silence_stays_silence() -> None:
    track = Track(0, 0, np.arange(10), np.zeros(10), np.zeros(10))
    assert not Solo("mic", reader_of(np.zeros((24_000, 4))), track).render(0, 24_000).any()


def test_tracks_are_followed_over_the_seam_and_the_pole() -> None:
    track = Track(0, 0, np.array([0, 10]), np.array([170.0, -170.0]), np.array([0.0, 0.0]))
    azimuth, elevation = track.at([-3, 0, 2.5, 5, 10, 99])
    np.testing.assert_allclose(np.mod(azimuth, 360), [170, 170, 175, 180, 190, 190], rtol=0, atol=1e-9)
    np.testing.assert_allclose(elevation, 0, rtol=0, atol=1e-9)
    over = Track(0, 0, np.array([4, 8]), np.array([0.0, 180.0]), np.array([80.0, 80.0]))
    azimuth, elevation = over.at([5.0, 6.0])
    np.testing.assert_allclose(elevation, [85, 90], rtol=0, atol=1e-9)
    assert great_circle_deg(azimuth[0], elevation[0], 0.0, 85.0) < 1e-9

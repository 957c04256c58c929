"""What the player gets to let one listen in a direction."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sai_core.dataset import open_data_root
from sai_core.errors import InputError
from sai_core.geometry import SAMPLES_PER_FRAME
from sai_core.listening import lines
from sai_core.listening.beams import BEAMS, beam_weights, emphasis
from sai_core.listening.binaural import rotation
from sai_core.listening.encoding import TAPS, Encoder, design_frequencies
from sai_core.listening.signals import open_signal
from sai_core.listening.solo import Solo
from sai_core.listening.sources import sources_of
from sai_core.listening.windows import EAR_ZERO, PlayerSound, Solos, ear_filters, emphasis_filter
from sai_core.progress import no_progress
from sai_core.viewing.player import BLOCK_FRAMES, unpack
from tests.figures.scenes import tables, write_root

N_FRAMES = 50
FIXTURE = Path(__file__).parents[1] / "web" / "fixtures" / "harmonics.json"


def sound_of(folder: Path, **channels: int) -> PlayerSound:
    """A recording of noise in some of ``mic_dev``, ``foa_dev`` and ``eigen_dev``, each at its own level."""
    write_root(folder, n_frames=N_FRAMES, video_size=None, audio=False, systems=())
    rng = np.random.default_rng(3)
    for k, (kind, n) in enumerate(channels.items()):
        path = folder / f"{kind}_dev" / "dev-test-sony" / "fold4_room23_mix001.wav"
        path.parent.mkdir(parents=True)
        noise = rng.normal(size=(N_FRAMES * SAMPLES_PER_FRAME, n)) * 0.02 * 4.0**-k
        soundfile.write(path, noise, 24_000, subtype="FLOAT")
    return PlayerSound(open_data_root(folder).recordings[0])


@pytest.mark.parametrize(("channels", "array", "order"), [({"foa": 4}, "foa", 1), ({"eigen": 32}, "eigen", 3)])
def test_windows_are_the_harmonics_of_the_recording(tmp_path, channels, array, order):
    sound = sound_of(tmp_path, **channels)
    signal = open_signal(open_data_root(tmp_path).recordings[0])
    stop = 3 * BLOCK_FRAMES * SAMPLES_PER_FRAME
    harmonics = Encoder(array, order).encode(signal.read, 0, stop)
    heard = []
    for index in range(3):
        header, arrays = unpack(sound.window(index))
        assert (header["start"], header["stop"]) == (index * BLOCK_FRAMES, (index + 1) * BLOCK_FRAMES)
        heard.append(arrays["samples"].reshape(header["harmonics"], -1) * (header["scale"] / 32767))
    # 16 bits of what is loudest in a window, and nothing lost at its borders
    np.testing.assert_allclose(np.concatenate(heard, axis=1).T, harmonics, rtol=0, atol=2e-5 * np.abs(harmonics).max())
    # the last window goes on after the end of the sound
    assert not heard[-1][:, -1].any()
    # what an adaptive beam needs of a window is in it
    covariance = unpack(sound.window(1))[1]["covariance"].reshape(-1, 4, 4)
    track = lines.towards(40.0, 10.0)
    expected = lines.adaptive(signal, track)(30 * SAMPLES_PER_FRAME, 31 * SAMPLES_PER_FRAME)
    first = BLOCK_FRAMES - lines.ADAPTS_OVER
    mine = [covariance[k - 5 - first : k + 6 - first].sum(axis=0) for k in (29, 30, 31)]
    from sai_core.listening.beams import adaptive_weights

    weights = [adaptive_weights(c, 40.0, 10.0) for c in mine]
    position = np.arange(SAMPLES_PER_FRAME) / SAMPLES_PER_FRAME + 0.5
    share = (position % 1)[:, None]
    before = np.array(weights)[position.astype(int)]
    after = np.array(weights)[np.minimum(position.astype(int) + 1, 2)]
    blended = before * (1 - share) + after * share
    block = harmonics[30 * SAMPLES_PER_FRAME : 31 * SAMPLES_PER_FRAME, :4]
    np.testing.assert_allclose((block * blended).sum(axis=1), expected[:, 0], rtol=0, atol=1e-5 * np.abs(block).max())


def test_levels_of_all_ways_of_listening_match(tmp_path):
    # FOA sixteen times weaker than the capsules, as files of different origin are
    sound = sound_of(tmp_path, mic=4, foa=4)
    header, _ = unpack(sound.facts())
    assert (header["array"], header["order"]) == ("foa", 1)
    assert header["why"] == "Directions are heard from FOA, one source alone from 4 capsules."
    recording = open_data_root(tmp_path).recordings[0]
    plain = soundfile.read(recording.mic_path)[0].mean(axis=1).std()
    omni = soundfile.read(recording.foa_path)[0][:, 0].std()
    assert header["gain"] == pytest.approx(plain / omni, rel=0.05)
    signal = open_signal(recording, solo=True)
    alone = Encoder("mic", 0).encode(signal.read, 0, signal.n_samples).std()
    assert header["source_gain"] == pytest.approx(plain / alone, rel=0.05)


def test_a_source_is_the_same_in_windows_and_at_once(tmp_path):
    sound, solos = sound_of(tmp_path, foa=4), Solos(most=1)
    labels, _ = tables(N_FRAMES)
    track = sources_of(labels).find(1, 1)
    signal = open_signal(open_data_root(tmp_path).recordings[0])
    whole = Solo("foa", signal.read, track, sources_of(labels).others(track))
    for part in ("solo", "around"):
        expected = whole.render(0, 2 * BLOCK_FRAMES * SAMPLES_PER_FRAME, part)
        got = []
        for index in range(2):
            header, arrays = unpack(solos.render("key", lambda: sound.solo(labels, 1, 1), part, index))
            got.append(arrays["samples"] * (header["scale"] / 32767))
        np.testing.assert_allclose(np.concatenate(got), expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    with pytest.raises(InputError, match="There is no track 77"):
        sound.solo(labels, 1, 77)


def test_the_spectrogram_is_that_of_the_direction(tmp_path):
    sound = sound_of(tmp_path, foa=4)
    recording = open_data_root(tmp_path).recordings[0]
    # a tone from the left, of which a cardioid to the right hears nothing
    t = np.arange(N_FRAMES * SAMPLES_PER_FRAME) / 24_000
    wave = 0.2 * np.sin(2 * np.pi * 2_000 * t) + 1e-3 * np.random.default_rng(1).normal(size=t.size)
    soundfile.write(recording.foa_path, np.stack([wave, wave, 0 * wave, 0 * wave], axis=1), 24_000, subtype="FLOAT")
    towards = lines.towards
    heard = [unpack(sound.spectrogram(towards(azimuth, 0.0), "cardioid", no_progress)) for azimuth in (90.0, -90.0)]
    for header, _ in heard:
        assert (header["n_bins"], header["n_columns"], header["n_frames"]) == (64, 4 * N_FRAMES, N_FRAMES)
    left, right = (np.frombuffer(zlib.decompress(arrays["values"]), np.uint8) for _, arrays in heard)
    assert left.reshape(-1, 64).mean(axis=0).max() > 250
    assert right.max() == 0
    labels, _ = tables(N_FRAMES)
    solo = sound.solo(labels, 8, 2)  # from the frame 15 on (tests/figures/scenes.py)
    values = unpack(sound.spectrogram(solo, "solo", no_progress))[1]["values"]
    columns = np.frombuffer(zlib.decompress(values), np.uint8).reshape(4 * N_FRAMES, 64)
    assert not columns[: 4 * (solo.track.start - 10) - 1].any()
    assert columns[4 * solo.track.start : 4 * solo.track.stop].any(axis=1).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_sound_without_directions_says_so(tmp_path, channels):
    with pytest.raises(InputError, match=r"is mono|is stereo"):
        sound_of(tmp_path, mic=channels)


def test_ears_hear_a_wave_as_the_whole_filters_do():
    from sai_core.listening.binaural import ear_response
    from sai_core.listening.encoding import orders_of

    for order in (1, 3, 4):
        response = ear_response(order) * np.sqrt(2.0 * orders_of(order) + 1.0)
        spectrum = np.fft.rfft(ear_filters(order), 2 * TAPS)
        spectrum = spectrum * np.exp(2j * np.pi * np.arange(TAPS + 1) * EAR_ZERO / (2 * TAPS))
        below = design_frequencies() < 10_000.0
        error = np.moveaxis(spectrum, -1, 0)[below] - response[below]
        # -38 dB: what the short filters cut off is below what can be heard beside the rest
        assert np.sqrt(np.mean(np.abs(error) ** 2)) < 10 ** (-38 / 20)


def test_the_emphasis_is_that_of_the_beam_without_delay():
    for beam in BEAMS:
        impulse = emphasis_filter("mic", beam, 1)
        gain = np.abs(np.fft.rfft(impulse, 2 * TAPS))
        np.testing.assert_allclose(20 * np.log10(gain / emphasis("mic", beam, 1)), 0.0, rtol=0, atol=0.1)
        assert np.argmax(np.abs(impulse)) == 0


def figures() -> dict[str, object]:
    """What the browser's mathematics is compared with (``tests/web/harmonics.test.mjs``)."""
    from sai_core.acoustics.rigid_sphere import sh_matrix
    from sai_core.listening.beams import adaptive_weights

    rng = np.random.default_rng(1)
    mixed = rng.normal(size=(4, 9))
    covariance = mixed @ mixed.T
    places = [(0.0, 0.0), (37.0, -21.0), (-120.0, 80.0), (180.0, 5.0)]
    return {
        "covariance": covariance.ravel().tolist(),
        "rows": [
            {
                "azimuth": azimuth,
                "elevation": elevation,
                "harmonics": sh_matrix(4, azimuth, elevation, normalisation="sn3d")[0].tolist(),
                "beams": {beam: beam_weights(beam, 3, azimuth, elevation)[0].tolist() for beam in BEAMS},
                "adaptive": adaptive_weights(covariance, azimuth, elevation).tolist(),
                "rotation": rotation(2, azimuth, elevation).ravel().tolist(),
            }
            for azimuth, elevation in places
        ],
    }


def test_figures_for_the_browser_are_those_of_today():
    """Made anew by ``python -m tests.listening.test_windows``."""
    stored, now = json.loads(FIXTURE.read_text("utf-8")), figures()

    def same(a: object, b: object) -> None:
        if isinstance(a, dict) and isinstance(b, dict):
            assert a.keys() == b.keys()
            for key in a:
                same(a[key], b[key])
        elif isinstance(a, list) and a and isinstance(a[0], dict):
            for one, other in zip(a, b, strict=True):  # type: ignore[call-overload]
                same(one, other)
        else:
            np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=0, atol=1e-9)

    same(stored, now)


if __name__ == "__main__":
    FIXTURE.parent.mkdir(exist_ok=True)
    FIXTURE.write_text(json.dumps(figures()) + "\n", "utf-8")

"""Maps of whole recordings: the official output end to end, magnitudes, kinds, odd input, the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sai_core.acoustics.features import (
    FeatureOptions,
    Kind,
    LatticeMaps,
    MapMaker,
    Steering,
    choose_device,
    extract,
)
from sai_core.acoustics.networks import UpLAM, UpLAMConfig, save_uplam
from sai_core.acoustics.visibility import Recipe, visibility_tensors
from sai_core.cli import main
from sai_core.errors import CancelledError, EnvironmentProblem, InputError
from sai_core.geometry import (
    UPLAM_CAPSULES,
    directions_to_vectors,
    em32_positions_m,
    fibonacci_lattice_deg,
    great_circle_deg,
)
from tests.acoustics.official_rule import official_state


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "UpLAM.pth"
    torch.save(official_state("B"), path)
    return path


@pytest.fixture
def wave(oracle: Path, tmp_path: Path) -> Path:
    """The oracle's 32-channel clip as a 16-bit file, the way a user has it."""
    path = tmp_path / "eigen_dev" / "clip.wav"
    path.parent.mkdir()
    soundfile.write(path, np.load(oracle / "lam" / "f1_audio_rigid.npz")["audio32_int16"], 24000, subtype="PCM_16")
    return path


@pytest.mark.oracle
@pytest.mark.parametrize("rule", ["A", "B"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_from_file_to_the_official_maps(
    oracle: Path, wave: Path, tmp_path: Path, rule: str, dtype: str, tolerance: float
) -> None:
    # the issue asks for 1e-3 of the peak in float32; measured 1e-6
    torch.save(official_state(rule), tmp_path / "UpLAM.pth")  # type: ignore[arg-type]
    expected = np.load(oracle / "lam" / {"A": "f2_uplam.npz", "B": "f2b_uplam_ruleB.npz"}[rule])["latent"]
    made = extract(wave, weights=tmp_path / "UpLAM.pth", dtype=dtype)  # type: ignore[arg-type]
    assert made.lattice.dtype == np.dtype(dtype)
    np.testing.assert_allclose(made.lattice, expected, rtol=0, atol=tolerance * expected.max())
    assert (made.frame_rate_hz, len(made)) == (10.0, 30)
    assert not made.level[29].any()


@pytest.mark.oracle
def test_lam32_from_file(oracle: Path, wave: Path) -> None:
    made = extract(wave, kind="lam32", weights=oracle / "lam" / "lam_32_ch.pth")
    expected = np.load(oracle / "lam" / "f3_lam32_rigid.npz")["latent"]
    np.testing.assert_allclose(made.lattice, expected, rtol=0, atol=1e-5 * expected.max())


@pytest.mark.oracle
@pytest.mark.parametrize(("steering", "bound_deg"), [("plane_wave", 5.3), ("rigid_sphere", 5.3)])
def test_beamformer_points_at_the_source(oracle: Path, wave: Path, steering: Steering, bound_deg: float) -> None:
    # largest error of single-source frames in f3_lam32_report.json: 5.26 degrees; the lattice's own floor is 5.5
    made = extract(wave, kind="beamformer", steering=steering)
    azimuth, elevation = fibonacci_lattice_deg()
    truth = json.loads((oracle / "lam" / "f1_truth.json").read_text())["truth"]
    frames = [t["frame"] for t in truth]
    for entry in truth:
        if frames.count(entry["frame"]) == 1:
            peak = made.lattice[entry["frame"]].mean(axis=0).argmax()
            error = great_circle_deg(azimuth[peak], elevation[peak], entry["azimuth"], entry["elevation"])
            assert error < bound_deg
    assert not made.lattice[29].any(), "silence gives a zero map"


def _tones(rng: np.random.Generator, seconds: float = 1.0, channels: int = 4) -> np.ndarray:
    return (0.05 * rng.standard_normal((int(24000 * seconds), channels))).astype(np.float32)


def test_quiet_sources_look_quiet(weights: Path, rng: np.random.Generator) -> None:
    audio = _tones(rng)
    maker = MapMaker(weights=weights)
    loud, quiet = (extract(audio * gain, maker=maker) for gain in (1.0, 0.1))
    # the official maps are the same for both ...
    np.testing.assert_allclose(quiet.lattice, loud.lattice, rtol=0, atol=1e-4 * loud.lattice.max())
    np.testing.assert_allclose(quiet.level, loud.level / 100, rtol=1e-4, atol=0)
    # ... with their magnitude they differ as the sound does
    for magnitude, ratio in (("power", 0.01), ("amplitude", 0.1)):
        a, b = loud.with_magnitude(magnitude).lattice, quiet.with_magnitude(magnitude).lattice  # type: ignore[arg-type]
        np.testing.assert_allclose(b, a * ratio, rtol=0, atol=1e-4 * ratio * a.max())
    direct = extract(audio, maker=maker, magnitude="power")
    np.testing.assert_array_equal(direct.lattice, loud.with_magnitude("power").lattice)
    np.testing.assert_allclose(direct.with_magnitude("normalised").lattice, loud.lattice, rtol=0, atol=1e-6)


def test_beamformer_power_is_mean_square(rng: np.random.Generator) -> None:
    # the same white noise of variance 0.0025 in all capsules has 0.0025 / 36 in each band; a beam sees at most that
    common = np.repeat(0.05 * rng.standard_normal((48000, 1)), 4, axis=1)
    for recipe in ("official", "report", "precedence"):
        maps = extract(common, kind="beamformer", visibility=recipe, magnitude="power")
        peak = maps.lattice.max(axis=-1).mean()
        assert 0.2 * 0.0025 / 36 < peak <= 1.1 * 0.0025 / 36


def test_recipes_that_listen_around_a_frame_do_not_feel_the_blocks(rng: np.random.Generator) -> None:
    audio = _tones(rng, 12.7)
    maker = MapMaker(FeatureOptions(kind="beamformer", visibility="precedence"), device="cpu")
    whole = maker.maps_of(audio)
    maker._chunk = 10
    in_parts = maker.maps_of(audio)
    for threads in (1, 3):
        blocks = extract(audio, maker=maker, threads=threads)
        for made in (in_parts, (blocks.lattice, blocks.level)):
            np.testing.assert_allclose(made[0], whole[0], rtol=0, atol=1e-6 * whole[0].max())
            np.testing.assert_allclose(made[1], whole[1], rtol=1e-5, atol=0)
    # frames that are only heard
    heard = maker.maps_of(audio[20 * 2400 : 50 * 2400], before=6, after=3)
    np.testing.assert_allclose(heard[0], whole[0][26:47], rtol=0, atol=1e-6 * whole[0].max())
    for length in (0.05, 0.1, 0.35):
        short = extract(audio[: round(length * 24000)], maker=maker)
        assert len(short) == int(length * 10)


@pytest.mark.parametrize("kind", ["uplam", "beamformer"])
def test_blocks_and_threads_change_nothing(weights: Path, rng: np.random.Generator, kind: Kind) -> None:
    audio = _tones(rng, 9.3)
    maker = MapMaker(FeatureOptions(kind=kind), weights=weights if kind == "uplam" else None)
    whole = extract(audio, maker=maker, threads=1)
    assert len(whole) == 93
    np.testing.assert_array_equal(extract(audio, maker=maker, threads=3).lattice, whole.lattice)
    part = extract(audio[50 * 2400 : 60 * 2400], maker=maker)
    # other batch sizes round differently in float32
    np.testing.assert_allclose(part.lattice, whole.lattice[50:60], rtol=0, atol=1e-5 * whole.lattice.max())


def test_torch_threads_are_restored(weights: Path, rng: np.random.Generator) -> None:
    before = torch.get_num_threads()
    maker = MapMaker(weights=weights)
    extract(_tones(rng), maker=maker)
    with pytest.raises(CancelledError):
        extract(_tones(rng, 10), maker=maker, progress=_cancel)
    assert torch.get_num_threads() == before


def _cancel(fraction: float, message: str) -> None:
    if fraction > 0:
        raise CancelledError("stop")


def test_progress_rises_to_one(rng: np.random.Generator) -> None:
    seen: list[float] = []
    extract(_tones(rng, 12), kind="beamformer", progress=lambda fraction, message: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) >= 3


def test_fast_transposed_convolution_equals_torchs(rng: np.random.Generator) -> None:
    # inference on the CPU takes another way than training; all scale factors, odd sizes
    for scale in (2, 4, 8):
        model = UpLAM(UpLAMConfig(base_filter=3, features=5, scale=scale), dtype=torch.float64).requires_grad_(False)
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
        side = 32 // scale
        matrices = torch.from_numpy(rng.standard_normal((2, 9, side, side)) * (1 + 0.5j))
        with torch.enable_grad():
            slow = model.upsample(matrices)
        with torch.no_grad():
            fast = model.upsample(matrices)
        assert torch.isfinite(slow).all()
        torch.testing.assert_close(fast, slow, rtol=0, atol=1e-11 * float(slow.abs().max()))
        with torch.no_grad():
            model.get_parameter("cdbpn.up1_rel.up_conv1.deconv.weight").mul_(2)
            changed = model.upsample(matrices)
        with torch.enable_grad():
            torch.testing.assert_close(changed, model.upsample(matrices), rtol=1e-9, atol=1e-9)


def test_own_weights_say_how_they_want_their_input(tmp_path: Path, rng: np.random.Generator) -> None:
    config = UpLAMConfig(
        base_filter=2, features=2, hermitian="mean", recipe="report", normalise="frame", note="A test."
    )
    save_uplam(UpLAM(config), tmp_path / "own.safetensors")
    made = extract(_tones(rng), weights=tmp_path / "own.safetensors")
    assert made.options["visibility"] == "report"
    assert made.options["normalise"] == "frame"
    assert "A test." in made.notes[0]
    np.testing.assert_array_equal(made.level, np.repeat(made.level[:, :1], 9, axis=1))
    assert extract(_tones(rng), weights=tmp_path / "own.safetensors", visibility="official").options["visibility"] == (
        "official"
    )


def test_short_recording_gives_no_frames(weights: Path) -> None:
    for kind in ("uplam", "beamformer"):
        maps = extract(
            np.zeros((2399, 4)),
            kind=kind,
            weights=weights if kind == "uplam" else None,
        )
        assert maps.lattice.shape == (0, 9, 484)
        assert maps.canvas().shape == (0, 9, 180, 360)
        assert any("shorter than one frame" in note for note in maps.notes)


def test_foa_is_refused_by_networks_and_taken_by_the_beamformer(tmp_path: Path, weights: Path) -> None:
    path = tmp_path / "foa_dev" / "a.wav"
    path.parent.mkdir()
    tone = np.sin(2 * np.pi * 2000 * np.arange(24000) / 24000)[:, None]
    # a source at the left (azimuth 90): W, Y, Z, X
    soundfile.write(path, 0.1 * tone * np.array([[1.0, 1.0, 0.0, 0.0]]), 24000)
    with pytest.raises(InputError, match="first-order ambisonics"):
        extract(path, weights=weights)
    assert len(extract(path, weights=weights, audio_format="mic")) == 10
    maps = extract(path, kind="beamformer")
    azimuth, elevation = fibonacci_lattice_deg()
    peak = maps.lattice[5, 1].argmax()
    assert great_circle_deg(azimuth[peak], elevation[peak], 90, 0) < 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "lam32"}, "needs weights"),
        ({"kind": "beamformer", "weights": "x.pth"}, "no weights"),
        ({"kind": "beamformer", "dtype": "float16"}, "float16"),
        ({"kind": "music"}, "music"),
        ({"kind": "beamformer", "visibility": "cqt"}, "cqt"),
        ({"kind": "beamformer", "steering": "cardioid"}, "cardioid"),
        ({"kind": "beamformer", "magnitude": "loud"}, "loud"),
        ({"kind": "beamformer", "device": "tpu9"}, "tpu9"),
        ({"kind": "uplam", "weights": "/nowhere/UpLAM.pth"}, "no such file"),
    ],
)
def test_options_that_make_no_sense(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        extract(np.zeros((4800, 4)), **options)


def test_missing_shipped_weights_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sai_core.acoustics.features.SHIPPED_UPLAM", tmp_path / "uplam.safetensors")
    with pytest.raises(InputError, match="--weights FILE"):
        extract(np.zeros((4800, 4)))
    save_uplam(UpLAM(UpLAMConfig(base_filter=2, features=2)), tmp_path / "uplam.safetensors")
    assert "ship with the project" in extract(np.zeros((4800, 4))).notes[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_absent_gpu_is_told() -> None:
    with pytest.raises(EnvironmentProblem, match="no GPU"):
        choose_device("cuda")


def test_container_checks_its_shapes() -> None:
    with pytest.raises(InputError, match="Lattice maps"):
        LatticeMaps(lattice=np.zeros((1, 9, 483)), level=np.zeros((1, 9)), kind="uplam")
    with pytest.raises(InputError, match="Levels"):
        LatticeMaps(lattice=np.zeros((1, 9, 484)), level=np.zeros((2, 9)), kind="uplam")
    maps = LatticeMaps(lattice=np.ones((2, 9, 484)), level=np.zeros((2, 9)), kind="uplam")
    assert not maps.with_magnitude("power").lattice.any()
    assert maps.directions_deg.shape == (484, 2)


def test_command_line(tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio = tmp_path / "a.wav"
    soundfile.write(audio, 0.1 * np.random.default_rng(0).standard_normal((5000, 4)), 24000)
    out = tmp_path / "deep" / "maps.npz"
    assert main(["features", str(audio), "--out", str(out), "--weights", str(weights), "--dtype", "float64"]) == 0
    said = capsys.readouterr()
    assert "2 frames x 9 bands x 484 points" in said.out
    assert "note: Left out the last 8.333 ms" in said.err
    with np.load(out, allow_pickle=False) as made:
        assert made["lattice"].shape == (2, 9, 484)
        assert made["lattice"].dtype == np.float64
        np.testing.assert_allclose(made["directions"], np.stack(fibonacci_lattice_deg(), axis=1))
        assert float(made["frame_rate"]) == 10.0
        assert json.loads(str(made["options"]))["kind"] == "uplam"
        assert len(json.loads(str(made["notes"]))) == 2
        np.testing.assert_array_equal(made["lattice"], extract(audio, weights=weights, dtype="float64").lattice)
    assert main(["features", str(audio), "--out", str(out), "--kind", "beamformer", "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "note: Left out the last 8.333 ms, which do not fill a frame of 100 ms.\n"  # quiet, not silent


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.wav", "--out", "{tmp}/o.npz", "--kind", "beamformer"], "no such audio file"),
        (["{tmp}/a.wav", "--out", "{tmp}", "--kind", "beamformer"], "folder"),
        (["{tmp}/a.wav", "--out", "{tmp}/a.wav", "--kind", "beamformer"], "one of the inputs of this command"),
        (["{tmp}/a.wav", "--out", "{tmp}/o.npz", "--kind", "beamformer", "--threads", "0"], "at least 1"),
        (["{tmp}/a.wav", "--out", "{tmp}/o.npz", "--kind", "lam32"], "needs weights"),
        (["{tmp}/a.wav", "--out", "{tmp}/o.npz", "--weights", "{tmp}/a.wav"], "weights file"),
    ],
)
def test_command_line_mistakes_exit_2(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((4800, 4)), 24000)
    before = (tmp_path / "a.wav").read_bytes()
    assert main(["features", *(a.format(tmp=tmp_path) for a in arguments)]) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "a.wav").read_bytes() == before


def test_the_four_capsules_of_32_give_the_same_maps(weights: Path, rng: np.random.Generator) -> None:
    audio = _tones(rng, channels=32)
    maker = MapMaker(weights=weights)
    np.testing.assert_array_equal(
        extract(audio, maker=maker).lattice, extract(audio[:, list(UPLAM_CAPSULES)], maker=maker).lattice
    )


def _band_limited(rng: np.random.Generator, seconds: float, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """The same plane waves at 24 kHz and at a lower rate, made by a sharp resampler that leaves nothing above."""
    n = int(seconds * 24000)
    delay = em32_positions_m()[list(UPLAM_CAPSULES)] @ directions_to_vectors(40.0, 15.0) / 340.5
    frequency = np.fft.rfftfreq(n, 1 / 24000)[:, None]
    spectrum = np.fft.rfft(rng.standard_normal(n))[:, None] * np.exp(2j * np.pi * frequency * delay)
    spectrum[frequency[:, 0] > 0.97 * rate / 2] = 0
    whole = 0.1 * np.fft.irfft(spectrum, n, axis=0)
    few = int(seconds * rate)
    return whole, np.fft.irfft(spectrum[: few // 2 + 1] * few / n * 0.1, few, axis=0)


@pytest.mark.parametrize("kind", ["uplam", "beamformer"])
@pytest.mark.parametrize("recipe", ["official", "report", "precedence"])
@pytest.mark.parametrize(("rate", "held"), [(8000, 7), (9000, 8), (6000, 4)])
def test_bands_that_a_file_does_not_hold_are_empty(
    weights: Path, rng: np.random.Generator, kind: Kind, recipe: Recipe, rate: int, held: int
) -> None:
    whole, narrow = _band_limited(rng, 1.0, rate)
    options = FeatureOptions(kind=kind, visibility=recipe)
    maker = MapMaker(options, weights=weights if kind == "uplam" else None, device="cpu")
    made, expected = extract(narrow, sample_rate_hz=rate, maker=maker), extract(whole, maker=maker)
    assert (made.lattice[:, held:] == 0).all()
    assert (made.level[:, held:] == 0).all()
    assert (made.lattice[:, :held].max(axis=-1) > 0).all()
    assert sum("bands are empty" in note for note in made.notes) == 1
    if kind == "beamformer":
        # all but the highest band, which the filters of resampling reach into, are those of the 24 kHz twin
        same = slice(0, held - 1)
        peak = expected.lattice[:, same].max(axis=-1, keepdims=True)
        off = np.abs(made.lattice[:, same] - expected.lattice[:, same]) / peak
        assert off[2:-2].max() < 0.1


def test_a_frames_common_scale_is_that_of_the_bands_there_are(rng: np.random.Generator) -> None:
    audio = torch.from_numpy(rng.standard_normal((2400, 4)))
    held = np.arange(9) < 5
    audio_of = visibility_tensors(audio, recipe="report", normalise="frame", held=held)
    alone = visibility_tensors(audio, recipe="report", normalise="none")
    scale = alone.level[:, :5].amax(dim=1)
    np.testing.assert_allclose(audio_of.matrices[:, :5], alone.matrices[:, :5] / scale[:, None, None, None], rtol=1e-12)
    assert not audio_of.matrices[:, 5:].any()
    assert not audio_of.level[:, 5:].any()


def test_a_file_without_any_band_has_empty_maps(rng: np.random.Generator) -> None:
    made = extract(0.1 * rng.standard_normal((2000, 4)), sample_rate_hz=2000, kind="beamformer", device="cpu")
    assert len(made) == 10
    assert not made.lattice.any()
    assert any("9 of 9 bands are empty" in note for note in made.notes)

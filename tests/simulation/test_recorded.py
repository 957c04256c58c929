"""Recorded sounds in simulated scenes: found by class, cut or repeated, reproducible, told in the manifest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sai_core.cli import main
from sai_core.errors import InputError
from sai_core.simulation import dsp
from sai_core.simulation.dataset import SimulationOptions, make_recording, simulate_dataset
from sai_core.simulation.recorded import RecordedSounds, open_recorded


def tone(hertz: float, seconds: float, rate: int) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def strongest(x: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(x * np.hanning(x.size)))
    return float(np.fft.rfftfreq(x.size, 1 / 24_000)[int(spectrum.argmax())])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("sounds")
    for name in ("female_speech/deep", "Bell", "6", "door"):
        (base / name).mkdir(parents=True)
    stereo = np.stack([tone(700, 6.0, 44_100), tone(700, 6.0, 44_100)], axis=1)
    soundfile.write(base / "female_speech/deep/long.flac", stereo, 44_100)
    silent = np.zeros(24_000)
    soundfile.write(base / "6/step.wav", np.concatenate([silent, tone(900, 0.1, 24_000), silent]), 24_000)
    soundfile.write(base / "Bell/ding.wav", tone(1500, 1.0, 16_000), 16_000)
    soundfile.write(base / "door/quiet.wav", silent, 24_000)
    return base


@pytest.fixture(scope="module")
def recorded(folder: Path) -> RecordedSounds:
    return open_recorded(folder)


def test_classes_are_found_by_name_or_number(recorded: RecordedSounds) -> None:
    found = {k: names for k, names in enumerate(recorded.files) if names}
    assert found == {
        0: ("female_speech/deep/long.flac",),
        6: ("6/step.wav",),
        7: ("door/quiet.wav",),
        11: ("Bell/ding.wav",),
    }


def test_a_long_recording_is_cut_and_any_rate_and_channel_is_heard(recorded: RecordedSounds) -> None:
    take = recorded.take(0, 2.0, np.random.default_rng(1), variant="talk")
    assert take is not None
    assert take.signal.shape == (48_000,)
    assert take.recording == "female_speech/deep/long.flac"
    assert dsp.active_rms(take.signal) == pytest.approx(1.0)
    assert 60 <= take.level_db <= 67
    assert strongest(take.signal) == pytest.approx(700, abs=2)


def test_a_short_recording_is_repeated_without_the_silence_around_it(recorded: RecordedSounds) -> None:
    take = recorded.take(6, 3.0, np.random.default_rng(2), variant="shoes")
    assert take is not None
    # a tenth of a second and a pause of 0.15 to 0.6 s at a time
    assert 4 <= len(take.strokes_s) <= 12
    for stroke in take.strokes_s[:-1].tolist():
        there = int(stroke * 24_000)
        assert np.abs(take.signal[there : there + 2_400]).max() > 0.5
    assert np.abs(np.diff(take.strokes_s)).min() >= 0.25
    again = recorded.take(6, 3.0, np.random.default_rng(2), variant="shoes")
    assert again is not None
    np.testing.assert_array_equal(take.signal, again.signal)


def test_a_class_without_recordings_is_left_to_synthesis(recorded: RecordedSounds) -> None:
    assert recorded.take(8, 2.0, np.random.default_rng(0), variant="band") is None


def test_mistakes_are_one_sentence(folder: Path, recorded: RecordedSounds, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"quiet\.wav: contains only silence"):
        recorded.take(7, 1.0, np.random.default_rng(0), variant="door")
    with pytest.raises(InputError, match="no such folder of sounds"):
        open_recorded(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no recording"):
        open_recorded(tmp_path)
    (tmp_path / "trumpets").mkdir()
    with pytest.raises(InputError, match="is not named like one of the classes; use female_speech, male_speech"):
        open_recorded(tmp_path)
    (tmp_path / "trumpets").rename(tmp_path / "music")
    (tmp_path / "music/broken.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(InputError, match=r"broken\.wav: cannot be read as a sound file"):
        open_recorded(tmp_path).take(8, 1.0, np.random.default_rng(0), variant="band")


def test_scenes_play_them_and_the_manifest_says_so(folder: Path, tmp_path: Path) -> None:
    plain = {"seed": 3, "seconds": 3.0, "video_wh": None, "eigen": False, "foa": False, "labels": False}
    sounds = open_recorded(folder)
    one = make_recording(tmp_path / "one", SimulationOptions(**plain, sounds=sounds), 0, classes=(0, 8))  # type: ignore[arg-type]
    other = make_recording(tmp_path / "other", SimulationOptions(**plain), 0, classes=(0, 8))  # type: ignore[arg-type]
    assert one["scene"] == other["scene"]
    played = {name for names in one["recorded_sounds"] for name in names}
    assert played == {"female_speech/deep/long.flac", ""}
    assert "recorded_sounds" not in other
    assert "sounds" not in other["options"]
    assert one["options"]["sounds"] == sounds.digest
    name = "mic_dev/dev-test-sim/fold9_room1_mix001.wav"
    a, b = (soundfile.read(tmp_path / root / name)[0] for root in ("one", "other"))
    assert a.shape == b.shape
    assert not np.array_equal(a, b)


@pytest.mark.slow
def test_the_command_line_takes_a_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "door/quiet.wav").rename(tmp_path / "quiet.wav")
    try:
        root = tmp_path / "root"
        command = ["simulate", "--out", str(root), "--recordings", "1", "--seconds", "2", "--seed", "5", "--quiet"]
        light = ["--video-size", "none", "--no-eigen", "--no-foa", "--no-labels"]
        assert main([*command, *light, "--sounds", str(folder)]) == 0
        manifest = json.loads((root / "manifest.json").read_text())
        assert "recorded_sounds tells which" in manifest["what"]
        # the same folder again is complete, without it the recording is another one
        assert main([*command, *light, "--sounds", str(folder)]) == 0
        assert main([*command, *light]) == 2
        assert "made with other settings" in capsys.readouterr().err
        report = simulate_dataset(
            root,
            SimulationOptions(seed=5, seconds=2.0, video_wh=None, eigen=False, foa=False, labels=False),
            recordings=1,
            overwrite=True,
        )
        assert report.made == ("fold9_room1_mix001",)
        assert "nothing in here was recorded" in json.loads((root / "manifest.json").read_text())["what"]
    finally:
        (tmp_path / "quiet.wav").rename(folder / "door/quiet.wav")

"""The verb ``listen`` on recordings with each kind of sound, and with none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sai_core.annotations import DcaseMetadata, write_dcase_csv
from sai_core.cli import main
from sai_core.dataset import open_data_root
from sai_core.listening import lines
from sai_core.listening.beams import adaptive_weights
from sai_core.listening.encoding import Encoder
from sai_core.listening.signals import open_signal
from sai_core.listening.sources import sources_of
from tests.listening.scenes import CHANNELS, Talkers, level_db, reader_of, talkers

FOLDERS = {"mic": "mic_dev", "foa": "foa_dev", "eigen": "eigen_dev"}
RECORDING = "fold9_room1_mix001"


@pytest.fixture(scope="module")
def scene() -> Talkers:
    return talkers(1, seconds=2.0)


def rows_of(frame, category, number, azimuth) -> DcaseMetadata:
    n = len(frame)
    return DcaseMetadata(
        np.asarray(frame, np.int32),
        np.asarray(category, np.int16),
        np.asarray(number, np.int64),
        np.asarray(azimuth, np.float64),
        np.zeros(n),
        np.full(n, 150.0),
    )


def make_root(folder: Path, scene: Talkers, kinds: tuple[str, ...], *, rows: bool = True) -> Path:
    for kind in kinds:
        place = folder / FOLDERS[kind] / "dev-test-sim"
        place.mkdir(parents=True)
        soundfile.write(place / f"{RECORDING}.wav", scene.mix(kind), 24_000, "PCM_24")  # type: ignore[arg-type]
    if rows or not kinds:
        frame = np.tile(np.arange(20), 2)
        who = np.repeat([0, 1], 20)
        azimuth = np.round(np.concatenate([t.azimuth_deg for t in scene.tracks]))
        place = folder / "metadata_dev" / "dev-test-sim" / f"{RECORDING}.csv"
        place.parent.mkdir(parents=True)
        write_dcase_csv(rows_of(frame, who, who, azimuth), place)
    return folder


def listen(root: Path, *more: str) -> int:
    return main(["listen", "--data", str(root), "--recording", RECORDING, "--quiet", *more])


def heard(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert rate == 24_000
    return samples


@pytest.mark.parametrize(
    ("kinds", "solo", "taken"),
    [
        (("foa",), False, "foa"),
        (("mic",), False, "mic"),
        (("eigen",), False, "eigen"),
        (("mic", "foa"), False, "foa"),
        (("mic", "foa"), True, "mic"),
        (("mic", "foa", "eigen"), False, "eigen"),
    ],
)
def test_the_best_signal_is_taken_and_said(tmp_path, scene, capsys, kinds, solo, taken) -> None:
    root = make_root(tmp_path / "root", scene, kinds)
    out = tmp_path / "own.wav"
    assert listen(root, "--track", "0", *(["--solo"] if solo else []), "--json", "--out", str(out)) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert told["files"][0]["signal"] == taken
    assert told["files"][0]["class"] == "Female speech"
    assert told["notes"][0] in printed.err
    words = {"foa": "first-order ambisonics", "mic": "4 capsules", "eigen": "32 capsules"}
    assert told["notes"][0].startswith(f"Heard from {words[taken]}")
    samples = heard(out)
    assert samples.shape == (48_000, 1)
    # the talker that is pointed at as loud as all of both, or nearly
    assert level_db(samples) == pytest.approx(level_db(scene.parts[0][32]), abs=2.5)


def test_a_file_that_cannot_be_used_is_told_and_the_next_one_taken(tmp_path, scene, capsys) -> None:
    root = make_root(tmp_path / "root", scene, ("foa", "eigen"))
    (root / "eigen_dev" / "dev-test-sim" / f"{RECORDING}.wav").write_bytes(b"RIFF of nothing")
    assert listen(root, "--azimuth", "10", "--out", str(tmp_path / "x.wav")) == 0
    err = capsys.readouterr().err
    assert "Not used:" in err
    assert "Heard from first-order ambisonics (FOA): what would be better cannot be used." in err


def test_pointing_and_solo_make_the_other_talker_quieter(tmp_path, scene) -> None:
    root = make_root(tmp_path / "root", scene, ("eigen",))
    out = tmp_path / "x.wav"
    azimuth = scene.tracks[0].azimuth_deg[0]
    other = scene.parts[1][32].astype(np.float64)

    def share_of_other(samples: np.ndarray) -> float:
        """Level of the other talker in what is heard, against how it sounds: by regression on both dry sounds."""
        basis = np.stack([scene.parts[0][32], scene.parts[1][32]], axis=1).astype(np.float64)
        return float(20 * np.log10(abs(np.linalg.lstsq(basis, samples[:, 0], rcond=None)[0][1]) + 1e-6))

    assert listen(root, "--azimuth", f"{azimuth}", "--elevation", "0", "--out", str(out)) == 0
    steered = share_of_other(heard(out))
    assert listen(root, "--track", "0", "--solo", "--out", str(out)) == 0
    alone = share_of_other(heard(out))
    assert steered < -6
    assert alone < -20
    assert listen(root, "--track", "0", "--around", "--out", str(out)) == 0
    around = heard(out)[:, 0].astype(np.float64)
    assert around @ other / np.sqrt((around @ around) * (other @ other)) > 0.98


@pytest.mark.parametrize("kind", ["foa", "mic"])
def test_four_gains_that_adapt_make_the_other_talker_quieter(tmp_path, kind) -> None:
    light = talkers(1, seconds=2.0, rt60_s=0.2)
    signal = open_signal(open_data_root(make_root(tmp_path / "root", light, (kind,))).recordings[0])
    line = lines.adaptive(signal, light.tracks[0])
    whole = line(0, 48_000)[:, 0]
    assert np.array_equal(np.concatenate([line(0, 7_001)[:, 0], line(7_001, 48_000)[:, 0]]), whole)
    # the weights of the mix on each talker by itself: what a gain node does
    encoder = Encoder(signal.array, 1)
    weights = np.stack([adaptive_weights(c, light.tracks[0].azimuth_deg[0], 0.0) for c in covariances(encoder, signal)])
    shares = []
    for part in light.parts:
        harmonics = encoder.encode(reader_of(part[CHANNELS[signal.array]].T), 0, 48_000)
        shares.append(np.einsum("kth,kh->kt", harmonics.reshape(20, 2400, 4), weights))
    assert level_db(shares[1]) < level_db(light.parts[1][32]) - 6
    assert level_db(shares[0]) > level_db(light.parts[0][32]) - 3.5


def covariances(encoder: Encoder, signal) -> list[np.ndarray]:
    """Covariance of a second around each frame."""
    harmonics = encoder.encode(signal.read, 0, 48_000).astype(np.float64).reshape(20, 2400, 4)
    single = np.einsum("kti,ktj->kij", harmonics, harmonics)
    return [single[max(k - 5, 0) : k + 6].sum(axis=0) for k in range(20)]


def test_binaural_of_the_scene_and_of_one_source(tmp_path, scene) -> None:
    root = make_root(tmp_path / "root", scene, ("foa",))
    azimuth = float(scene.tracks[0].azimuth_deg[0])
    head = ["--binaural", "--yaw", f"{azimuth - 90}"]
    for more in (["--track", "0", "--solo"], ["--azimuth", f"{azimuth}", "--beam", "adaptive"]):
        assert listen(root, *more, *head, "--out", str(tmp_path / "x.wav")) == 0
        both = heard(tmp_path / "x.wav")
        assert both.shape == (48_000, 2)
        assert level_db(both[:, 0]) > level_db(both[:, 1]) + 1
    assert listen(root, "--binaural", "--out", str(tmp_path / "x.wav")) == 0
    assert heard(tmp_path / "x.wav").shape == (48_000, 2)


def test_clips_of_a_class_and_parts_of_time(tmp_path, scene, capsys) -> None:
    root = make_root(tmp_path / "root", scene, ("foa",))
    call = ["listen", "--data", str(root), "--class", "male speech", "--out", str(tmp_path / "clips"), "--json"]
    assert main(call) == 0
    told = json.loads(capsys.readouterr().out)
    assert [Path(item["path"]).name for item in told["files"]] == [
        "dev-test-sim_fold9_room1_mix001_male-speech_1_00000.wav"
    ]
    assert main([*call, "--start", "0.5", "--end", "1.25"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "1 clips of an earlier call were replaced." in told["notes"]
    part = heard(Path(told["files"][0]["path"]))
    assert len(part) == 18_000
    assert main([*call[:4], "knock", *call[5:]]) == 2
    assert "No event of Knock" in capsys.readouterr().err


def test_clipping_is_counted_and_the_advice_helps(tmp_path, scene, capsys) -> None:
    root = make_root(tmp_path / "root", scene, ("foa",))
    out = str(tmp_path / "x.wav")
    call = ["--azimuth", f"{scene.tracks[0].azimuth_deg[0]}", "--out", out, "--gain"]
    assert listen(root, *call, "40") == 0
    err = capsys.readouterr().err
    assert "samples in 1 file are clipped: the peak would be at " in err
    assert np.abs(heard(Path(out))).max() <= 1.0
    assert listen(root, *call, err.split("--gain ")[1].split(" ")[0]) == 0
    assert "clipped" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "Say where to listen"),
        (["--solo"], "Say where to listen"),
        (["--elevation", "3"], "--elevation needs --azimuth"),
        (["--azimuth", "nan"], "is not an angle"),
        (["--azimuth", "3", "--elevation", "95"], "not from -90 to 90"),
        (["--azimuth", "3", "--track", "1"], "give one of them"),
        (["--track", "7"], "There is no track 7; there are: 0, 1."),
        (["--track", "0", "--class", "knock"], "There is no track 0 of Knock"),
        (["--class", "violin"], "is not one of the classes"),
        (["--class", "²"], "is not one of the classes"),
        (["--azimuth", "3", "--gain", "1e9"], "is not from -200 to 200 dB"),
        (["--azimuth", "3", "--gain=-201"], "is not from -200 to 200 dB"),
        (["--azimuth", "3", "--start", "1.000001", "--end", "1.000002"], f"{RECORDING}.wav: sounds from 0 to 2 s"),
        (["--binaural", "--start", "1.000001", "--end", "1.000002"], f"{RECORDING}.wav: sounds from 0 to 2 s"),
        (["--track", "0", "--solo", "--beam", "cardioid"], "leave out --beam"),
        (["--azimuth", "3", "--yaw", "10"], "add --binaural"),
        (["--track", "0", "--around", "--binaural"], "leave out --binaural"),
        (["--azimuth", "3", "--start", "9"], "ends at 2.00 s, before --start 9"),
        (["--azimuth", "3", "--start", "1", "--end", "1"], "is not after --start"),
        (["--azimuth", "3", "--signal", "eigen"], "has no 32 capsules of the Eigenmike; choose foa or auto."),
        (["--track", "0", "--predictions", "nothing"], "no such prediction file"),
    ],
)
def test_wrong_calls_are_one_sentence_and_write_nothing(tmp_path, scene, capsys, more, words) -> None:
    root = make_root(tmp_path / "root", scene, ("foa",))
    assert listen(root, *more, "--out", str(tmp_path / "x.wav")) == 2
    err = capsys.readouterr().err
    assert words in err
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1
    assert not (tmp_path / "x.wav").exists()


def test_the_classes_of_a_source_are_told_with_and_without_its_sound(tmp_path, scene, capsys) -> None:
    root = make_root(tmp_path / "root", scene, ("mic",))
    assert listen(root, "--track", "0", "--solo", "--classes", "--json") == 0
    item = json.loads(capsys.readouterr().out)["files"][0]
    assert "path" not in item
    assert len(item["classes"]) == 14
    assert sum(item["classes"].values()) == pytest.approx(1.0, abs=2e-3)
    assert [(w["start_s"], w["end_s"]) for w in item["windows"]] == [(0.0, 2.0)]
    assert item["windows"][0]["classes"] == item["classes"]
    best = sorted(item["classes"], key=lambda name: -item["classes"][name])[:3]
    assert {"Female speech", "Male speech"} & set(best)  # a talker
    assert "synthesised" in item["heard_by"]["learned_from"]
    out = tmp_path / "clips"
    call = ["listen", "--data", str(root), "--class", "0", "--solo", "--classes", "--out", str(out)]
    assert main(call) == 0
    said = capsys.readouterr().out
    assert f"{RECORDING}, Female speech, track 0, 0.00 to 2.00 s: {best[0]} " in said
    assert len(list(out.glob("*.wav"))) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--azimuth", "3"], "Say where the sound goes (--out), or --classes"),
        (["--azimuth", "3", "--listener", "x", "--out", "x.wav"], "--listener is for --classes"),
        (["--azimuth", "3", "--classes", "--binaural"], "leave out --binaural"),
        (["--azimuth", "3", "--classes", "--listener", "gone.safetensors"], "gone.safetensors"),
        (["--classes"], "Say where to listen"),
    ],
)
def test_wrong_questions_for_classes_are_one_sentence(tmp_path, scene, capsys, more, words) -> None:
    root = make_root(tmp_path / "root", scene, ("mic",))
    assert listen(root, *more) == 2
    err = capsys.readouterr().err
    assert words in err
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1


def test_without_sound_without_tracks_and_other_endings(tmp_path, scene, capsys) -> None:
    silent = make_root(tmp_path / "silent", scene, ())
    assert listen(silent, "--azimuth", "3", "--out", str(tmp_path / "x.wav")) == 2
    assert "has no sound to listen to; add its file to mic_dev, foa_dev or eigen_dev." in capsys.readouterr().err
    bare = make_root(tmp_path / "bare", scene, ("foa",), rows=False)
    assert listen(bare, "--track", "0", "--out", str(tmp_path / "x.wav")) == 2
    assert "neither metadata nor labels" in capsys.readouterr().err
    assert listen(bare, "--azimuth", "3", "--out", str(tmp_path / "x.mp3")) == 2
    assert "written as .wav" in capsys.readouterr().err
    soundfile.write(bare / "foa_dev" / "dev-test-sim" / f"{RECORDING}.wav", np.zeros((4800, 2)), 24_000)
    assert listen(bare, "--azimuth", "3", "--out", str(tmp_path / "x.wav")) == 2
    assert "is stereo; expected 4 channels" in capsys.readouterr().err


def test_rows_become_tracks_and_events() -> None:
    frame = np.array([0, 1, 2, 12, 13, 1, 1])
    number = np.array([0, 0, 0, 0, 0, 4, 0])
    category = np.array([6, 6, 6, 6, 6, 6, 6])
    sources = sources_of(rows_of(frame, category, number, np.arange(7.0)))
    assert [(t.number, t.frame.tolist()) for t in sources.tracks] == [(0, [0, 1, 2, 12, 13]), (4, [1])]
    assert sources.notes == (
        "1 row repeats a class and track of their frame (the first in frame 1): the first of each counts.",
    )
    assert [(t.number, t.start, t.stop) for t in sources.events(6)] == [(0, 0, 3), (4, 1, 2), (0, 12, 14)]
    assert sources.find(0).gaps == 9
    assert [t.number for t in sources.others(sources.find(0))] == [4]
    assert sources_of(rows_of([], [], [], [])).tracks == ()

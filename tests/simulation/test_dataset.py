"""Simulated data roots: layout, labels, resuming, the same bytes for any number of workers, stand-ins, command line."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sai_core.annotations import AnnotationTable, read_annotations, read_dcase_csv, write_label_json
from sai_core.cli import main
from sai_core.dataset import demo_root, open_data_root
from sai_core.errors import InputError
from sai_core.geometry import great_circle_deg, pixel_to_direction
from sai_core.simulation.dataset import (
    SimulationOptions,
    _in_other_splits,
    make_recording,
    recording_at,
    simulate_dataset,
)
from sai_core.simulation.demo import RECORDINGS, SPLIT, make_demo

SMALL = SimulationOptions(seed=12, seconds=3.0, video_wh=(360, 180))
NAME = "fold9_room1_mix001"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sim")
    make_recording(root, SMALL, 0)
    return root


def test_everything_of_the_official_layout_is_there(made):
    recording = open_data_root(made).recording(NAME)
    assert recording.split == "dev-test-sim"
    for path in (recording.label_path, recording.metadata_path, recording.mic_path, recording.foa_path):
        assert path is not None
        assert path.is_file()
    assert recording.eigen_path is not None
    assert recording.video_path is not None
    info = {kind: soundfile.info(made / f"{kind}_dev/dev-test-sim/{NAME}.wav") for kind in ("mic", "foa", "eigen")}
    assert [info[k].channels for k in ("mic", "foa", "eigen")] == [4, 4, 32]
    for item in info.values():
        assert (item.samplerate, item.subtype, item.frames) == (24_000, "PCM_16", 72_000)
    mic, _ = soundfile.read(made / f"mic_dev/dev-test-sim/{NAME}.wav", dtype="int16")
    eigen, _ = soundfile.read(made / f"eigen_dev/dev-test-sim/{NAME}.wav", dtype="int16")
    np.testing.assert_array_equal(mic, eigen[:, [5, 9, 25, 21]])


def test_labels_are_the_recipes_and_lie_where_the_metadata_says(made):
    from sai_core.labelling.recipe import label_recording

    labels = read_annotations(made / f"labels_dev/dev-test-sim/{NAME}_std.json", use_cache=False)
    metadata = read_dcase_csv(made / f"metadata_dev/dev-test-sim/{NAME}.csv")
    eigen, _ = soundfile.read(made / f"eigen_dev/dev-test-sim/{NAME}.wav", dtype="float32")
    again = label_recording(eigen, metadata, recording=NAME, device="cpu").table
    np.testing.assert_array_equal(labels.points_xy, again.points_xy)
    # written with six decimals
    np.testing.assert_allclose(labels.energy, again.energy, rtol=0, atol=1e-6)
    rows = {
        (int(f), int(c), int(s)): (float(a), float(e), float(d))
        for f, c, s, a, e, d in zip(
            metadata.frame, metadata.category_id, metadata.source_id, metadata.azimuth_deg, metadata.elevation_deg,
            metadata.distance_cm, strict=True,
        )
    }  # fmt: skip
    errors = []
    for k in range(len(labels)):
        azimuth, elevation, distance = rows[
            int(labels.frame[k]), int(labels.category_id[k]), int(labels.instance_id[k])
        ]
        points, energy = labels.points(k)
        peak = points[int(np.argmax(energy))]
        errors.append(float(great_circle_deg(*pixel_to_direction(*(peak + 0.5)), azimuth, elevation)))
        assert labels.distance_cm[k] == distance
    assert len(errors) > 10
    # the lattice's points are some 9 degrees apart
    assert float(np.median(errors)) < 7.0


def test_manifest_entry_tells_seeds_and_files(made):
    entry = json.loads((made / f"manifest.d/dev-test-sim/{NAME}.json").read_text())
    assert entry["options"]["seed"] == 12
    assert entry["scene"]["room"]["rt60_s"]["1000 Hz"] > 0.1
    assert len(entry["files"]) == 6
    for relative, size in entry["files"].items():
        assert (made / relative).stat().st_size == size


@pytest.mark.slow
def test_resuming_and_workers_do_not_change_a_byte(tmp_path):
    options = SimulationOptions(seed=12, seconds=2.0, video_wh=None)
    second = "fold9_room2_mix001"
    first = simulate_dataset(tmp_path, options, recordings=2, workers=1)
    assert first.made == (NAME, second)
    files = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert len(files) == 2 * 6 + 1
    before = {relative: _digest(tmp_path / relative) for relative in files}
    # a damaged file, an absent one: both recordings are made again, by two processes; then nothing is
    (tmp_path / f"mic_dev/dev-test-sim/{NAME}.wav").write_bytes(b"")
    (tmp_path / f"metadata_dev/dev-test-sim/{second}.csv").unlink()
    assert simulate_dataset(tmp_path, options, recordings=2, workers=2).skipped == ()
    assert {relative: _digest(tmp_path / relative) for relative in files} == before
    again = simulate_dataset(tmp_path, options, recordings=2, workers=2)
    assert again.made == ()
    assert again.skipped == (NAME, second)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert [e["scene"]["recording"] for e in manifest["recordings"]] == [NAME, second]
    with pytest.raises(InputError, match="other settings"):
        simulate_dataset(tmp_path, SimulationOptions(seed=13, seconds=2.0, video_wh=None), recordings=1)


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes()).hexdigest()


def test_nothing_to_make_is_fine(tmp_path):
    report = simulate_dataset(tmp_path / "x", SMALL, recordings=0)
    assert report.made == ()
    assert json.loads((tmp_path / "x/manifest.json").read_text())["recordings"] == []


def test_names_of_another_split_are_said(tmp_path):
    write_label_json(AnnotationTable.empty(NAME), tmp_path / "labels_dev" / "other" / f"{NAME}_std.json")
    for split, n, is_said in (("other", 2, False), ("mine", 2, True), ("mine", 0, False)):
        notes = _in_other_splits(tmp_path, SimulationOptions(seed=1, seconds=2.0, split=split), n)
        assert [f"1 name is in split other of this root, too ({NAME})" in note for note in notes] == [True] * is_said


def test_names_follow_rooms():
    options = SimulationOptions(seed=0, seconds=5.0, mixes_per_room=3)
    assert [recording_at(options, k)[0] for k in (0, 2, 3)] == [
        "fold9_room1_mix001",
        "fold9_room1_mix003",
        "fold9_room2_mix001",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seconds": 1.0}, "2 to 600"),
        ({"seed": -1}, "0 or more"),
        ({"split": "../x"}, "not a folder name"),
        ({"split": ""}, "not a folder name"),
        ({"video_wh": (640, 480)}, "twice the height"),
        ({"crf": 99}, "0 .best. to 51"),
        ({"max_overlap": 0}, "1 to 4"),
        ({"mixes_per_room": 0}, "1 or more"),
        ({"rt60_s": (0.8, 0.2)}, "rising range"),
        ({"snr_db": (0.0, 200.0)}, "rising range"),
    ],
)
def test_wrong_options_are_refused(change, words):
    settings = {"seed": 0, "seconds": 5.0} | change
    with pytest.raises(InputError, match=words):
        SimulationOptions(**settings)


def test_command_line(tmp_path, capsys):
    arguments = ["simulate", "--out", str(tmp_path), "--recordings", "0", "--seconds", "5", "--seed", "1", "--json"]
    assert main([*arguments, "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == {"root": str(tmp_path), "made": [], "skipped": [], "notes": []}
    assert main(["simulate", "--out", str(tmp_path), "--quiet"]) == 2
    assert "--recordings, --seconds, --seed" in capsys.readouterr().err
    assert main([*arguments, "--video-size", "big", "--quiet"]) == 2
    assert "1920x960" in capsys.readouterr().err
    assert main([*arguments, "--workers", "0", "--quiet"]) == 2
    (tmp_path / "file").write_text("x")
    wrong = [str(tmp_path / "file") if a == str(tmp_path) else a for a in arguments]
    assert main([*wrong, "--quiet"]) == 2
    assert "is a file; give a folder" in capsys.readouterr().err
    assert main(["simulate", "--demo", str(tmp_path), "--quiet"]) == 2
    assert "not an earlier demo folder" in capsys.readouterr().err


# -- what ships -------------------------------------------------------------------------------------------------------


def test_shipped_demo_is_complete_small_and_covers_all_classes():
    root = demo_root()
    data = open_data_root(root)
    assert sum(p.stat().st_size for p in root.rglob("*") if p.is_file()) < 18_000_000
    seen: set[int] = set()
    seam = False
    for name, _, classes, seconds in RECORDINGS:
        recording = data.recording(name)
        assert recording.split == SPLIT
        assert recording.video_path is not None
        assert recording.mic_path is not None
        assert soundfile.info(recording.mic_path).frames == round(seconds * 24_000)
        metadata = read_dcase_csv(root / "metadata_dev" / SPLIT / f"{name}.csv")
        assert set(metadata.category_id.tolist()) == set(classes)
        seen |= set(classes)
        labels = read_annotations(root / "labels_dev" / SPLIT / f"{name}_std.json.gz", use_cache=False)
        for k in range(len(labels)):
            columns = labels.points(k)[0][:, 0]
            seam |= bool(columns.min() < 10 and columns.max() > 350)
        assert len(data.prediction_sets) == 2
        for system in data.prediction_sets:
            table = read_annotations(system.files[name], use_cache=False)
            assert len(table) > 50
            assert not np.isnan(table.score).any()
    assert seen == set(range(13))
    assert seam
    assert "simulated" in (root / "README.txt").read_text()
    assert not list(root.rglob("eigen_dev"))


def test_demo_folder_is_not_made_over_something_else(tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(InputError, match="not an earlier demo folder"):
        make_demo(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("largest", "size"),
    [(64, "none"), (100_000, "none"), (390_000, "1440x720")],  # the audio has 384,044 bytes, the video more
    ids=["metadata", "audio", "video"],
)
def test_a_full_disk_is_one_sentence_whatever_it_meets(tmp_path: Path, largest: int, size: str) -> None:
    """Files that may not grow beyond a size fail as on a disk that is full."""
    program = (
        "import resource, sys; from sai_core.cli import main\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({largest}, {largest}))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["simulate", "--out", str(tmp_path / "sim"), "--recordings", "1", "--seconds", "2", "--seed", "1"]
    words += ["--video-size", size, "--crf", "0", "--no-labels", "--no-eigen", "--no-foa", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "File too large" in done.stderr
    assert not list((tmp_path / "sim").glob("**/manifest.d/*/*.json"))

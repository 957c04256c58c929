"""From files to files: the ``annotate`` verb and the label job."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from sai_core.annotations import read_annotations, read_dcase_csv
from sai_core.cli import main
from sai_core.dataset import open_data_root
from sai_core.errors import CancelledError, InputError
from sai_core.geometry import directions_to_vectors, em32_positions_m
from sai_core.labelling.job import LabelSettings, label_files, label_recording_of_root
from sai_core.workspace import with_sets, workspace

ROWS = "0,1,0,40,10,150\n1,1,0,40,10,150\n2,1,0,40,10,150\n2,5,3,-120,0,80\n9,1,0,40,10,150\n"


def _audio(n_samples: int, rate: int = 24000) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(7)
    early_s = em32_positions_m() @ directions_to_vectors(40, 10) / 340.5
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))[:, None]
    phase = np.exp(2j * np.pi * np.fft.rfftfreq(n_samples, 1 / rate)[:, None] * early_s)
    return 0.1 * np.fft.irfft(spectrum * phase, n_samples, axis=0)


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Data root with one recording of 0.5 s that has 32 channels and metadata, and one with 4 channels only."""
    root = tmp_path / "root"
    for kind in ("eigen_dev", "metadata_dev", "mic_dev"):
        (root / kind / "dev-test-tau").mkdir(parents=True)
    audio = _audio(12000)
    soundfile.write(root / "eigen_dev/dev-test-tau/fold4_room2_mix001.wav", audio, 24000)
    soundfile.write(root / "mic_dev/dev-test-tau/fold4_room2_mix002.wav", audio[:, [5, 9, 25, 21]], 24000)
    (root / "metadata_dev/dev-test-tau/fold4_room2_mix001.csv").write_text(ROWS)
    (root / "metadata_dev/dev-test-tau/fold4_room2_mix002.csv").write_text(ROWS)
    return root


def _files(root: Path) -> tuple[Path, Path]:
    return (
        root / "eigen_dev/dev-test-tau/fold4_room2_mix001.wav",
        root / "metadata_dev/dev-test-tau/fold4_room2_mix001.csv",
    )


def test_verb_writes_both_files_and_says_what_a_user_should_know(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio, metadata = _files(root)
    before = _digests(root)
    out, raw = tmp_path / "out" / "x_std.json", tmp_path / "out" / "x_raw.json.gz"
    arguments = ["annotate", "--audio", str(audio), "--metadata", str(metadata), "--out", str(out), "--raw", str(raw)]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "2 annotations in 2 of 5 frames" in printed.out
    assert "takes the first line for one" in printed.err
    assert "1 metadata rows lie after the end of the audio (0.5 s)" in printed.err
    assert "1 metadata rows have no region" in printed.err
    assert _digests(root) == before

    content = json.loads(out.read_text())
    assert {a["metadata_frame_index"] for a in content["annotations"]} == {1, 2}
    for annotation in content["annotations"]:
        points = np.array([p for part in annotation["segmentation"] for p in part])
        assert (points[:, 2] > 0).all()
        assert (points[:, 2] < 1).all()
    with gzip.open(raw) as stream:
        amplitudes = json.load(stream)["annotations"]
    first, second = (np.array(c[0]["segmentation"][0]) for c in (content["annotations"], amplitudes))
    np.testing.assert_array_equal(first[:, :2], second[:, :2])
    sigmoid = 1 / (1 + np.exp(-(second[:, 2] - 0.0006132456403200415) / 0.0004943698488906652))
    np.testing.assert_allclose(first[:, 2], sigmoid, rtol=0, atol=1e-12)

    table = read_annotations(out, use_cache=False)
    assert table.frame.tolist() == [1, 2]
    assert table.distance_cm.tolist() == [150, 150]


def test_labels_without_a_place_go_into_a_label_set(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio, metadata = _files(root)
    arguments = ["annotate", "--audio", str(audio), "--metadata", str(metadata)]
    assert main(arguments) == 0
    (stored,) = workspace().sets("labels")
    assert stored.name == "root labels"
    assert dict(stored.files) == {audio.stem: stored.folder / "dev-test-tau" / f"{audio.stem}_std.json"}
    assert (stored.facts.made_by, stored.facts.data) == ("label", str(root))
    assert stored.facts.recordings == (f"dev-test-tau/{audio.stem}",)
    capsys.readouterr()
    assert main(arguments) == 2
    assert "has one already" in capsys.readouterr().err
    # labels made in another way are another set
    assert main([*arguments, "--fixed"]) == 0
    assert main([*arguments, "--fixed", "--name", "root labels"]) == 2
    assert "another official_quirks" in capsys.readouterr().err
    assert {s.name for s in workspace().sets("labels")} == {"root labels", "root labels-2"}
    assert main(["annotate", "--audio", str(audio), "--metadata", str(audio), "--name", "none"]) == 2
    assert {s.name for s in workspace().sets("labels")} == {"root labels", "root labels-2"}
    assert [r.name for r in with_sets(open_data_root(root), labels="root labels").recordings if r.has_labels] == [
        audio.stem
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("header", ["", "frame,class,source,azimuth,elevation,distance"])
def test_first_row(root: Path, tmp_path: Path, header: str, ending: str) -> None:
    audio, _ = _files(root)
    metadata = tmp_path / "rows.csv"
    lines = ([header] if header else []) + ROWS.split()
    metadata.write_bytes((ending.join(lines) + ending * 2).encode())
    official = label_files(audio, metadata, tmp_path / "a.json")
    assert (0 in official.labels.table.frame) == bool(header)
    for settings in (LabelSettings(keep_first_row=True), LabelSettings(official_quirks=False)):
        kept = label_files(audio, metadata, tmp_path / "b.json", settings=settings)
        assert kept.labels.table.frame.tolist()[0] == 0
        assert not any("header" in note for note in kept.notes)


def test_another_rate_is_resampled_and_said(root: Path, tmp_path: Path) -> None:
    _, metadata = _files(root)
    path = tmp_path / "fast.wav"
    soundfile.write(path, _audio(24000, 48000), 48000)
    report = label_files(path, metadata, tmp_path / "fast_std.json")
    assert report.labels.n_frames == 5
    assert any("48000 Hz" in note for note in report.notes)
    assert report.recording == "fast"


def test_mistakes_are_one_sentence(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio, metadata = _files(root)
    four = root / "mic_dev/dev-test-tau/fold4_room2_mix002.wav"
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    out = tmp_path / "out.json"
    cases = [
        ([four, metadata, out], "32"),
        ([text, metadata, out], "sound file"),
        ([tmp_path / "none.wav", metadata, out], "none.wav"),
        ([audio, tmp_path / "none.csv", out], "none.csv"),
        ([audio, audio, out], "fold4_room2_mix001.wav"),
        ([audio, metadata, metadata], "one of the inputs"),
        ([audio, metadata, tmp_path], "is a folder"),
    ]
    before = _digests(root)
    for (a, m, o), expected in cases:
        code = main(["annotate", "--audio", str(a), "--metadata", str(m), "--out", str(o), "--quiet"])
        error = capsys.readouterr().err
        assert code == 2, (a, m, o)
        assert expected in error
        assert error.count("\n") == 1
    assert (
        main(["annotate", "--audio", str(audio), "--metadata", str(metadata), "--out", str(out), "--raw", str(out)])
        == 2
    )
    assert "two different files" in capsys.readouterr().err
    assert not out.exists()
    assert _digests(root) == before


def test_cancelling_leaves_everything_as_it_was(root: Path, tmp_path: Path) -> None:
    audio, metadata = _files(root)
    out = tmp_path / "out.json"
    out.write_text("older")

    def stop(fraction: float, message: str) -> None:
        if fraction > 0.05:
            raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        label_files(audio, metadata, out, progress=stop)
    assert out.read_text() == "older"
    assert list(tmp_path.glob(".*")) == []


def test_recording_of_a_root(root: Path, tmp_path: Path) -> None:
    found = open_data_root(root)
    recording = found.recording("fold4_room2_mix001")
    output = tmp_path / "made"
    seen: list[float] = []
    report = label_recording_of_root(
        recording, root, output_dir=output, with_raw=True, progress=lambda fraction, message: seen.append(fraction)
    )
    assert report.out_path == output / "dev-test-tau" / "fold4_room2_mix001_std.json"
    assert report.raw_path is not None
    assert report.raw_path.exists()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(read_annotations(report.out_path, use_cache=False)) == len(report.labels.table)
    with pytest.raises(InputError, match="exists already"):
        label_recording_of_root(recording, root, output_dir=output)
    label_recording_of_root(recording, root, output_dir=output, replace_older=True)


def test_nothing_is_written_into_a_data_root(root: Path, tmp_path: Path) -> None:
    recording = open_data_root(root).recording("fold4_room2_mix001")
    before = _digests(root)
    with pytest.raises(InputError, match="outside"):
        label_recording_of_root(recording, root, output_dir=root / "labels_dev")
    assert _digests(root) == before


def test_what_is_missing_is_said(root: Path, tmp_path: Path) -> None:
    second = open_data_root(root).recording("fold4_room2_mix002")
    with pytest.raises(InputError, match="no 32-channel recording"):
        label_recording_of_root(second, root, output_dir=tmp_path / "made")
    first = root / "metadata_dev/dev-test-tau/fold4_room2_mix001.csv"
    assert len(read_dcase_csv(first)) == 5
    first.unlink()
    with pytest.raises(InputError, match="no metadata CSV"):
        label_recording_of_root(
            open_data_root(root).recording("fold4_room2_mix001"), root, output_dir=tmp_path / "made"
        )

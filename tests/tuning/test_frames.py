"""What a change does in a frame, and the submission that comes out at the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sai_core.annotations import read_annotations
from sai_core.errors import InputError
from sai_core.metrics import evaluate
from sai_core.metrics.evaluation.discovery import find_labels
from sai_core.postprocess import PipelineSettings
from sai_core.tuning import TuningSet, find_raw_sets, open_raw_set
from sai_core.tuning.frames import changed_frames, frame_change
from sai_core.tuning.submission import export_submission
from sai_core.viewing.changes import ADDED, DROPPED, panels

BEFORE = PipelineSettings()
AFTER = PipelineSettings(min_score=0.25, nms_iou=0.1, min_hits=3)


@pytest.fixture(scope="module")
def bench(stand_in_root: Path) -> TuningSet:
    [one] = find_raw_sets([stand_in_root / "predictions"])
    return open_raw_set(one.stores, find_labels(stand_in_root / "labels_dev"))


def _has(picture: np.ndarray, colour: str) -> bool:
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(picture.astype(int) - rgb).max(axis=-1) <= 2).any())


def test_every_changed_frame_is_found(bench: TuningSet) -> None:
    recording = bench.recordings[0]
    changed = set(changed_frames(recording, BEFORE, AFTER).tolist())
    assert changed
    for frame in range(recording.n_frames):
        change = frame_change(recording, BEFORE, AFTER, frame)
        assert (frame in changed) == bool(len(change.dropped) or len(change.added))
        assert len(change.kept) + len(change.added) == len(change.after)
        assert len(change.kept) + len(change.dropped) == len(change.before)
    assert changed_frames(recording, BEFORE, BEFORE).size == 0


def test_panels_show_what_changed(bench: TuningSet) -> None:
    recording = bench.recordings[0]
    changes = [frame_change(recording, BEFORE, AFTER, k) for k in range(recording.n_frames)]
    frame = next(k for k, c in enumerate(changes) if len(c.dropped) and len(c.added))
    for picture in (None, np.full((180, 360, 3), 90, dtype=np.uint8)):
        four = panels(recording, changes[frame], frame, picture)
        assert all(p.shape == (360, 720, 3) and p.dtype == np.uint8 for p in four)
        assert _has(four[3], ADDED)
        assert _has(four[3], DROPPED)
        assert not np.array_equal(four[1], four[2])
    same = frame_change(recording, BEFORE, BEFORE, frame)
    last = panels(recording, same, frame)[3]
    assert not _has(last, ADDED)
    assert not _has(last, DROPPED)


def test_submission_is_what_was_tuned(bench: TuningSet, stand_in_root: Path, tmp_path: Path) -> None:
    report = export_submission(bench, AFTER, tmp_path / "out", data_root=stand_in_root)
    assert [p.name for p in report.files] == [f"{r.name}.json" for r in bench.recordings]
    assert report.n_bytes == sum(p.stat().st_size for p in report.files)
    assert report.compressed == ()
    files = {p.stem: p for p in report.files}
    official = evaluate(find_labels(stand_in_root / "labels_dev"), files)
    assert official.macro == bench.evaluate(AFTER).evaluation.macro
    assert len(read_annotations(report.files[0])) == bench.recordings[0].scores(AFTER).n_detections.sum()
    # what is there stays, unless that was asked for
    report.files[1].unlink()
    with pytest.raises(InputError, match="2 of these files already"):
        export_submission(bench, BEFORE, tmp_path / "out", data_root=stand_in_root)
    assert not report.files[1].exists()
    export_submission(bench, BEFORE, tmp_path / "out", data_root=stand_in_root, replace_older=True)
    assert report.files[1].exists()


def test_nothing_is_written_into_the_data(bench: TuningSet, stand_in_root: Path) -> None:
    with pytest.raises(InputError, match="inside the data root"):
        export_submission(bench, BEFORE, stand_in_root / "predictions" / "mine", data_root=stand_in_root)
    assert not (stand_in_root / "predictions" / "mine").exists()

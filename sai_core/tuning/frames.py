"""What a change of settings does in a frame: kept, dropped and added detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable
from sai_core.postprocess import PipelineSettings
from sai_core.tuning.bench import TuningRecording


@dataclass(frozen=True, eq=False)
class FrameChange:
    """One frame before and after.

    Attributes
    ----------
    before, after : AnnotationTable
        Exported annotations of the frame alone.
    kept, dropped, added : int64
        ``kept`` and ``added`` are rows of ``after``, ``dropped`` of ``before``. The same candidate with another class
        counts as dropped and added.
    """

    before: AnnotationTable
    after: AnnotationTable
    kept: npt.NDArray[np.int64]
    dropped: npt.NDArray[np.int64]
    added: npt.NDArray[np.int64]


def frame_change(
    recording: TuningRecording, before: PipelineSettings, after: PipelineSettings, frame: int
) -> FrameChange:
    """Compare what two settings export in a frame.

    Parameters
    ----------
    recording : TuningRecording
    before, after : PipelineSettings
        With ``keep_classes = "best"`` replaced (:meth:`TuningSet.resolved`).
    frame : int
        Zero-based 100 ms frame.
    """
    (old, old_rows), (new, new_rows) = (recording.frame_table(s, frame) for s in (before, after))
    old_id = [(row, c) for row, c in zip(old_rows.tolist(), old.category_id.tolist(), strict=True)]
    new_id = [(row, c) for row, c in zip(new_rows.tolist(), new.category_id.tolist(), strict=True)]
    known, now = set(old_id), set(new_id)
    return FrameChange(
        old,
        new,
        np.array([i for i, key in enumerate(new_id) if key in known], dtype=np.int64),
        np.array([i for i, key in enumerate(old_id) if key not in now], dtype=np.int64),
        np.array([i for i, key in enumerate(new_id) if key not in known], dtype=np.int64),
    )


def changed_frames(
    recording: TuningRecording, before: PipelineSettings, after: PipelineSettings
) -> npt.NDArray[np.int64]:
    """Frames in which two settings show different candidates or classes, rising."""
    old, new = (_shown(recording, s) for s in (before, after))
    only = np.setxor1d(old, new)
    return np.unique(only // _stride(recording))


def _stride(recording: TuningRecording) -> int:
    return (len(recording.prepared.raw) + 1) * 16


def _shown(recording: TuningRecording, settings: PipelineSettings) -> npt.NDArray[np.int64]:
    """One number for each frame, candidate and class that is exported."""
    tracks = recording.tracks(settings)
    category = recording.candidates(settings).detections.category_id[tracks.detection].astype(np.int64)
    return tracks.frame.astype(np.int64) * _stride(recording) + tracks.detection * 16 + category

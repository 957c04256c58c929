"""Recordings under a data root: finding them, their audio, their pictures; the demo data."""

from __future__ import annotations

from pathlib import Path

from sai_core.dataset.audio import AudioReader, Spectrogram, open_heard, spectrogram, spectrogram_of
from sai_core.dataset.describe import AudioInfo, RecordingInfo, VideoInfo, after_the_end, describe, said_of_the_end
from sai_core.dataset.root import (
    DataRoot,
    PredictionSet,
    Recording,
    find_prediction_set,
    find_prediction_sets,
    labelled_by_name,
    open_data_root,
)
from sai_core.dataset.video import FrameSource, FramesReader, VideoReader, open_frames, pictures_key
from sai_core.installation import asset

__all__ = [
    "AudioInfo",
    "AudioReader",
    "DataRoot",
    "FrameSource",
    "FramesReader",
    "PredictionSet",
    "Recording",
    "RecordingInfo",
    "Spectrogram",
    "VideoInfo",
    "VideoReader",
    "after_the_end",
    "demo_root",
    "describe",
    "find_prediction_set",
    "find_prediction_sets",
    "labelled_by_name",
    "open_data_root",
    "open_frames",
    "open_heard",
    "pictures_key",
    "said_of_the_end",
    "spectrogram",
    "spectrogram_of",
]


def demo_root() -> Path:
    """Folder of the simulated recordings that ship with the project (``assets/demo``), a data root like any other."""
    return asset("demo")

"""Recordings under a data root: finding them, their audio, their pictures; the demo data."""

from __future__ import annotations

from pathlib import Path

from sai_core.dataset.audio import AudioReader, Spectrogram, spectrogram
from sai_core.dataset.describe import AudioInfo, RecordingInfo, VideoInfo, describe
from sai_core.dataset.root import (
    DataRoot,
    PredictionSet,
    Recording,
    find_prediction_set,
    find_prediction_sets,
    open_data_root,
)
from sai_core.dataset.video import FrameSource, FramesReader, VideoReader, open_frames, pictures_key

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
    "demo_root",
    "describe",
    "find_prediction_set",
    "find_prediction_sets",
    "open_data_root",
    "open_frames",
    "pictures_key",
    "spectrogram",
]


def demo_root() -> Path:
    """Folder of the simulated recordings that ship with the project (``assets/demo``), a data root like any other."""
    return Path(__file__).resolve().parents[2] / "assets" / "demo"

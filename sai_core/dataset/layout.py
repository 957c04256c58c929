"""Names on disk: which folder holds what, and what a file name says about its recording.

Pure string functions; nothing here touches a file. The layout is that of the STARSS23 and STAIRS26 releases
(``labels_dev/<split>/<recording>_std.json`` and so on); evaluation copies (``mic_eval``) and bare kind names
(``labels``) are understood as well, in any letter case. Names are composed (NFC), in whatever form a disk has them.
"""

from __future__ import annotations

import re
from typing import Final

from sai_core.annotations.names import composed

KINDS: Final[tuple[str, ...]] = ("labels", "metadata", "mic", "foa", "eigen", "video", "frames")
"""Kinds of material, in the order in which they are listed to a user."""

KIND_WORDS: Final[dict[str, str]] = {
    "labels": "labels",
    "metadata": "DCASE metadata",
    "mic": "4-channel microphone audio",
    "foa": "first-order ambisonics",
    "eigen": "32-channel Eigenmike audio",
    "video": "video",
    "frames": "extracted video frames",
}
"""What each kind is called in sentences."""

PREDICTIONS_FOLDER: Final[str] = "predictions"

SET_FILE: Final[str] = "set.json"
SET_MARK: Final[str] = '"sai_set"'
"""What a set of the workspace was made from (``sai_core.workspace``), and the key with which the file begins."""

WORKSPACE_FILE: Final[str] = "workspace.json"
WORKSPACE_MARK: Final[str] = '"sai_workspace"'
"""What tells that a folder is a workspace, and the key with which the file begins."""

AUDIO_SUFFIXES: Final[tuple[str, ...]] = (".wav", ".flac")
VIDEO_SUFFIXES: Final[tuple[str, ...]] = (".mp4", ".mov", ".mkv", ".avi", ".m4v", ".webm")
IMAGE_SUFFIXES: Final[tuple[str, ...]] = (".png", ".jpg", ".jpeg")

_KIND_FOLDER = re.compile(rf"({'|'.join(KINDS)})(?:_(?:dev|eval))?", re.IGNORECASE)
_JSON_SUFFIX = re.compile(r"\.json(\.gz)?$", re.IGNORECASE)
_SPLIT_NAME = re.compile(r"(?:dev|eval|train|test|val|valid|validation|fold|split)(?:[-_ ].*|\d*)", re.IGNORECASE)
_OFFICIAL_NAME = re.compile(r"fold\d+_room\d+_mix\d+", re.IGNORECASE)
_SUFFIXES: Final[dict[str, tuple[str, ...]]] = {
    "metadata": (".csv",),
    "mic": AUDIO_SUFFIXES,
    "foa": AUDIO_SUFFIXES,
    "eigen": AUDIO_SUFFIXES,
    "video": VIDEO_SUFFIXES,
}


def kind_of_folder(name: str) -> str | None:
    """Kind of a folder of a data root: ``"mic"`` for ``mic_dev``, ``MIC_EVAL`` or ``mic``; ``None`` for any other."""
    match = _KIND_FOLDER.fullmatch(name)
    return match.group(1).lower() if match else None


def _json_stem(file_name: str) -> tuple[str, int] | None:
    """``(name without .json[.gz], 1 if compressed)``, or ``None`` for another type of file.

    Names are composed (:func:`sai_core.annotations.names.composed`), as everywhere in this module.
    """
    file_name = composed(file_name)
    match = _JSON_SUFFIX.search(file_name)
    if match is None or match.start() == 0:
        return None
    return file_name[: match.start()], 1 if match.group(1) else 0


def label_name(file_name: str) -> tuple[str, int] | None:
    """Recording of a label file and the rank of this spelling (smaller is preferred); ``None`` for anything else.

    ``NAME_std.json`` goes before ``NAME.json`` (which may hold unstandardised amplitudes), plain before ``.gz``.
    """
    parsed = _json_stem(file_name)
    if parsed is None:
        return None
    stem, compressed = parsed
    if stem.lower().endswith("_std") and len(stem) > 4:
        return stem[:-4], compressed
    return stem, 2 + compressed


def prediction_name(file_name: str) -> tuple[str, int] | None:
    """Recording of a prediction file and the rank of this spelling (smaller is preferred); ``None`` otherwise.

    ``NAME.json`` (evaluator of 30 June) goes before ``NAME_inference.json`` (official exporter), plain before ``.gz``.
    """
    parsed = _json_stem(file_name)
    if parsed is None:
        return None
    stem, compressed = parsed
    if stem.lower().endswith("_inference") and len(stem) > 10:
        return stem[:-10], 2 + compressed
    return stem, compressed


def media_name(file_name: str, kind: str) -> tuple[str, int] | None:
    """Recording of an audio, video or metadata file of ``kind`` and its rank; ``None`` for another type of file."""
    file_name = composed(file_name)
    lowered = file_name.lower()
    for rank, suffix in enumerate(_SUFFIXES[kind]):
        if lowered.endswith(suffix) and len(file_name) > len(suffix):
            return file_name[: -len(suffix)], rank
    return None


def is_split_name(folder: str) -> bool:
    """Whether a folder is called as splits are, e.g. ``dev-test-sony``, ``fold4``, ``eval``."""
    return _SPLIT_NAME.fullmatch(folder) is not None


def is_official_name(recording: str) -> bool:
    """Whether a name has the form of the challenge's recordings, e.g. ``fold4_room23_mix001``."""
    return _OFFICIAL_NAME.fullmatch(recording) is not None

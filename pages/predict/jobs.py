"""What all sessions share of the Predict page: the queue of jobs, checkpoints that were looked at, opened stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st

from sai_core.detections.raw import RawDetections, open_raw
from sai_core.errors import InputError, SaiError
from sai_core.files import cache_root

if TYPE_CHECKING:  # these load torch, which takes seconds at a server's first look
    from sai_core.inference.job import PredictionQueue
    from sai_core.inference.networks import CheckpointFacts

SHIPPED: Final[Path] = Path(__file__).resolve().parents[2] / "assets" / "weights"


@st.cache_resource(show_spinner="Loading the networks' code, once ...")
def queue() -> PredictionQueue:
    """The one queue of the app: never two networks at once."""
    from sai_core.inference.job import PredictionQueue

    return PredictionQueue()


def shipped_checkpoints() -> list[Path]:
    """Detectors that ship with the program, by name; neither the front end's weights nor the teacher's."""
    return sorted(
        p for p in SHIPPED.glob("*.safetensors") if p.name not in ("uplam.safetensors", "teacher.safetensors")
    )


@st.cache_resource(max_entries=32, show_spinner="Opening the checkpoint ...")
def _facts(path: str, size: int, mtime_ns: int) -> CheckpointFacts | str:
    from sai_core.inference.networks import describe_checkpoint

    try:
        return describe_checkpoint(Path(path))
    except SaiError as error:
        return str(error)


def checkpoint_facts(path: Path) -> CheckpointFacts:
    """What a checkpoint is, looked at once until the file changes.

    Raises
    ------
    InputError
        No such file, or not a checkpoint of a kind that the program knows.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(
            f"{path}: no such file; give an official energy_seg_best.pth or a detector trained here (.safetensors)."
        ) from error
    facts = _facts(str(path), status.st_size, status.st_mtime_ns)
    if isinstance(facts, str):
        raise InputError(facts)
    return facts


@st.cache_resource(max_entries=8, show_spinner=False)
def _raw(folder: str, mtime_ns: int) -> RawDetections | None:
    return open_raw(Path(folder))


def raw_store(folder: Path) -> RawDetections:
    """An opened store, memory-mapped; again when it is made anew.

    Raises
    ------
    InputError
        It has gone or is damaged.
    """
    try:
        stamp = (folder / "store.json").stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{folder}: the raw detections have gone; predict the recording again.") from error
    raw = _raw(str(folder), stamp)
    if raw is None:
        raise InputError(f"{folder}: the raw detections are damaged; predict the recording again.")
    return raw


def default_folder(facts: CheckpointFacts, system: str) -> Path:
    """Where predictions go unless the user says otherwise: one folder for each checkpoint and system."""
    name = f"{facts.path.stem}-{facts.content[:6]}-{system}"
    return cache_root() / "predictions" / "".join(c if c.isalnum() or c in "-_." else "-" for c in name)

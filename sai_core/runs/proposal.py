"""Which recipe fits the data and the machine at hand, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sai_core.annotations import holds_nothing
from sai_core.dataset import Recording, open_data_root
from sai_core.dataset.sound_file import look_at_sound
from sai_core.runs.estimate import span

_ENOUGH_S: Final[float] = 3600.0
"""Seconds of labelled recordings from which a network of the report's size is proposed, on a GPU. A choice of ours: the
report's networks learned from hours of STARSS23; on less than one hour the small ones have fewer weights to mislead."""


@dataclass(frozen=True)
class Proposal:
    """A recipe.

    Attributes
    ----------
    recipe : str
        Name of a recipe that ships.
    reason : str
        Why, as one clause.
    """

    recipe: str
    reason: str


def propose_detector(roots: Sequence[Path], *, gpu: bool) -> Proposal:
    """Recipe of a detector.

    Small networks without a GPU or with less than an hour of labelled recordings, else those of the report; Track B
    where every recording that can be learned from has a video, else Track A.

    Parameters
    ----------
    roots : sequence of Path
        Data roots.
    gpu : bool
        Whether the machine that trains has one that torch can use.

    Raises
    ------
    InputError
        A data root that cannot be opened, or a sound file that cannot be read.
    """
    every = [r for root in roots for r in open_data_root(root).recordings]
    found = [r for r in every if r.array_path is not None and r.label_path and not holds_nothing(r.label_path)]
    blind = sum(not r.has_video for r in found)
    seconds = sum(map(_seconds_of, found))
    track = "a" if blind or not found else "b"
    large = gpu and seconds >= _ENOUGH_S
    machine = "this machine has a GPU" if gpu else "this machine has no GPU"
    data = f"{span(seconds)} of labelled recordings" if found else "there are no labelled recordings yet"
    rest = f" ({len(every) - len(found)} of {len(every)} lack labels or audio)" if len(every) > len(found) else ""
    if not found:
        return Proposal("small_a", f"{machine}, and {data}{rest}")
    seen = len(found) - blind
    video = ("all" if not blind else f"{seen} of {len(found)}" if seen else "none") + " with video"
    few = "only " if gpu and not large else ""
    return Proposal(f"{'track' if large else 'small'}_{track}", f"{machine}, and there are {few}{data}, {video}{rest}")


def _seconds_of(recording: Recording) -> float:
    assert recording.array_path is not None
    facts = look_at_sound(recording.array_path)
    return facts.n_samples / facts.sample_rate_hz

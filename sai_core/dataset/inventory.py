"""What a data root holds, counted, and what there is to do next with it; from names and headers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sai_core.dataset.describe import describe
from sai_core.dataset.root import DataRoot, Recording

MATERIALS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "labels": "energy labels",
        "metadata": "DCASE metadata",
        "mic": "4-channel audio",
        "eigen": "32-channel audio",
        "video": "video or frames",
        "predictions": "predictions",
    }
)
"""Kinds that are counted, with the words for them."""

_LONG_LIST: Final[int] = 400
"""Recordings above which durations are not added up: each costs the opening of a file."""


@dataclass(frozen=True)
class SplitCount:
    """Recordings of one split and how many of them have each of :data:`MATERIALS`.

    Attributes
    ----------
    split : str
        "" for files without a split folder.
    recordings : int
    having : mapping of str to int
        Keys of :data:`MATERIALS`.
    seconds : float or None
        Of all audio together; None for long lists.
    """

    split: str
    recordings: int
    having: Mapping[str, int]
    seconds: float | None


@dataclass(frozen=True)
class Step:
    """Something worth doing next.

    Attributes
    ----------
    page : str
        Name of the page, e.g. ``"explorer"``; "" for a step outside the app.
    title : str
        A few words, imperative.
    why : str
        One sentence.
    """

    page: str
    title: str
    why: str


@dataclass(frozen=True)
class Inventory:
    """What a root holds.

    Attributes
    ----------
    splits : tuple of SplitCount
    n_recordings : int
    having : mapping of str to int
        Over all splits.
    seconds : float or None
    systems : tuple of (str, int, bool)
        Name, files and whether it is a stand-in, of each prediction set with files.
    """

    splits: tuple[SplitCount, ...]
    n_recordings: int
    having: Mapping[str, int]
    seconds: float | None
    systems: tuple[tuple[str, int, bool], ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Keys of :data:`MATERIALS` that no recording has."""
        return tuple(kind for kind in MATERIALS if not self.having[kind])


def take_inventory(root: DataRoot) -> Inventory:
    """Count what a root holds.

    Parameters
    ----------
    root : DataRoot

    Returns
    -------
    Inventory
        All counts zero for an empty root.
    """
    predicted = {name for chosen in root.prediction_sets for name in chosen.files}
    timed = len(root.recordings) <= _LONG_LIST
    splits = []
    for split in root.splits:
        members = root.in_split(split)
        having = {kind: sum(_has(r, kind, predicted) for r in members) for kind in MATERIALS}
        seconds = sum(map(_audio_seconds, members)) if timed else None
        splits.append(SplitCount(split, len(members), MappingProxyType(having), seconds))
    return Inventory(
        splits=tuple(splits),
        n_recordings=len(root.recordings),
        having=MappingProxyType({kind: sum(s.having[kind] for s in splits) for kind in MATERIALS}),
        seconds=sum(s.seconds or 0.0 for s in splits) if timed else None,
        systems=tuple((s.name, len(s), s.is_stand_in) for s in root.prediction_sets if len(s)),
    )


def _audio_seconds(recording: Recording) -> float:
    audio = describe(recording, video=False).audio if recording.audio_path is not None else None
    return 0.0 if audio is None else audio.duration_s


def _has(recording: Recording, kind: str, predicted: set[str]) -> bool:
    return {
        "labels": recording.has_labels,
        "metadata": recording.has_metadata,
        "mic": recording.mic_path is not None,
        "eigen": recording.eigen_path is not None,
        "video": recording.has_video,
        "predictions": recording.name in predicted,
    }[kind]


def next_steps(inventory: Inventory) -> tuple[Step, ...]:
    """Things to do next, the most useful first, given what is there; pages show the first three.

    Parameters
    ----------
    inventory : Inventory
    """
    has = inventory.having
    doctor = Step("doctor", "Check this machine", "What is installed, which device there is, what is missing.")
    label = Step("label", "Label 32-channel audio", "Energy labels by the STAIRS26 recipe.")
    train = Step("train", "Train a detector", "On these recordings or on simulated ones.")
    if not inventory.n_recordings:
        why = "This one holds no recording; any part of STARSS23 or STAIRS26 will do."
        return Step("explorer", "Choose a data root", why), doctor, train, label
    steps = [Step("explorer", "Look at a recording", "Video, ground truth, prediction and residual with sound.")]
    if has["eigen"] and has["metadata"] and not has["labels"]:
        steps.insert(0, label)
    if has["labels"] and has["predictions"]:
        steps += [
            Step("scores", "Compare the systems", "Official scores per class; every figure leads to its frames."),
            Step("review", "Review what disagrees", "A queue of suspicious labels and predictions, one key each."),
            Step("figures", "Make a figure", "Fig. 3 of any frame as PDF, and videos with sound."),
        ]
    elif has["mic"] or has["eigen"]:
        steps.append(Step("predict", "Predict", "There are no predictions for these recordings yet."))
    tune = Step("tune", "Tune thresholds", "Scores follow the sliders, from stored raw detections.")
    steps += [tune, train, doctor, label]
    return tuple(dict.fromkeys(steps))

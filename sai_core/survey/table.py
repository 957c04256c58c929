"""A set as a table: one row a recording, one column a figure; what is not known yet is empty, never left out."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from sai_core.dataset import DataRoot, PredictionSet, Recording, said_of_the_end
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.survey.files import Look, Part, PictureSummary, ScoreSummary, SoundSummary, looks_of
from sai_core.survey.index import Group, Survey
from sai_core.survey.summary import TableSummary
from sai_core.taxonomy import CLASS_NAMES
from sai_core.workspace.marks import Mark

_ROOM = re.compile(r"(?i)(?:^|[_-])(room\d+)(?=[_-]|$)")
MATERIALS: Final[tuple[str, ...]] = ("labels", "metadata", "mic", "foa", "em32", "video", "predictions")
"""What a recording may have, as it is asked for by ``has:``."""

_Found = TypeVar("_Found", bound=Part)


@dataclass(frozen=True)
class Column:
    """A column that is searched, sorted and filtered.

    Attributes
    ----------
    key : str
        As it is written in a filter.
    title : str
    kind : {"text", "number", "list"}
        Single texts, numbers (NaN: not known), or several texts.
    help : str
        What the figure is.
    unit : str
    """

    key: str
    title: str
    kind: Literal["text", "number", "list"]
    help: str
    unit: str = ""


COLUMNS: Final[tuple[Column, ...]] = (
    Column("name", "recording", "text", "Name of the recording."),
    Column("split", "split", "text", "Folder between the kind of data and the files."),
    Column("room", "room", "text", "Room in the official naming, e.g. room23."),
    Column("duration", "duration", "number", "Length of the audio, else of the video.", "s"),
    Column("sources", "sources", "number", "Different sources (class and source number) in the labels."),
    Column("events", "events", "number", "A source without a gap of a frame is one event."),
    Column("classes", "classes", "number", "Number of different classes in the labels."),
    Column("polyphony", "polyphony", "number", "Most sources (class and source number) at the same time."),
    Column("mean_polyphony", "mean polyphony", "number", "Sources at the same time, mean over all frames."),
    Column("labelled", "labelled", "number", "Share of the frames that have a label.", "%"),
    Column("loudness", "loudness", "number", "Root mean square of all channels; 0 is full scale.", "dBFS"),
    Column("peak", "peak", "number", "Largest magnitude of a sample; 0 is full scale.", "dBFS"),
    Column("class", "classes", "list", "Classes in the labels."),
    Column("has", "has", "list", f"What there is of the recording: {', '.join(MATERIALS)}."),
    Column("tag", "tags", "list", "Your tags; kept in the workspace."),
    Column("note", "note", "text", "Your note; kept in the workspace."),
    Column("problem", "problem", "text", "Why a file of the recording cannot be used."),
    Column("score", "mAP", "number", "Macro mAP (2026-06-30) of the first chosen system, where it is known."),
)
"""All columns but those of single systems."""


@dataclass(frozen=True, eq=False)
class SetTable:
    """What is known of a set.

    Attributes
    ----------
    recordings : tuple of Recording
    labels, predictions : tuple of TableSummary or None
        None: there are none, they are not read yet, or cannot be used.
    sounds : tuple of SoundSummary or None
    pictures : tuple of PictureSummary or None
    problems : tuple of tuple of str
        Sentences about files that cannot be used.
    notes : tuple of tuple of str
        What was left out, guessed or mended.
    marks : tuple of Mark
        Tags and notes of the user.
    systems : tuple of str
        Those whose scores are columns.
    scores : float64, shape (systems, n)
        NaN: not known.
    having : mapping of str to bool array, shape (n,)
        Keys of :data:`MATERIALS`.
    unchosen : tuple of str
        Prediction sets that are there, but whose scores are not columns.
    n_missing : int
        Questions about files that have no answer yet.
    """

    recordings: tuple[Recording, ...]
    labels: tuple[TableSummary | None, ...]
    predictions: tuple[TableSummary | None, ...]
    sounds: tuple[SoundSummary | None, ...]
    pictures: tuple[PictureSummary | None, ...]
    problems: tuple[tuple[str, ...], ...]
    notes: tuple[tuple[str, ...], ...]
    marks: tuple[Mark, ...]
    systems: tuple[str, ...]
    scores: npt.NDArray[np.float64]
    having: Mapping[str, npt.NDArray[np.bool_]] = field(repr=False)
    unchosen: tuple[str, ...] = ()
    n_missing: int = 0

    def __len__(self) -> int:
        return len(self.recordings)

    @cached_property
    def n_frames(self) -> tuple[int | None, ...]:
        """Length of each recording in label frames: of the sound, else of the video; None where neither is known."""

        def length(row: int) -> int | None:
            if (sound := self.sounds[row]) is not None:
                return sound.n_frames
            picture = self.pictures[row]
            return picture.n_frames if picture is not None and picture.n_frames else None

        return tuple(length(row) for row in range(len(self)))

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """``<split>/<name>`` of each recording, or its name alone without a split."""
        return tuple(f"{r.split}/{r.name}" if r.split else r.name for r in self.recordings)

    def number(self, key: str) -> npt.NDArray[np.float64]:
        """A column of numbers, NaN where unknown; also that of a system, by its name."""
        return self._numbers[key]

    def text(self, key: str) -> list[str]:
        """A column of texts; those of a list are joined."""
        if key in self._lists:
            return [", ".join(entries) for entries in self._lists[key]]
        return self._texts[key]

    def entries(self, key: str) -> list[tuple[str, ...]]:
        """A column of lists."""
        return self._lists[key]

    def kind_of(self, key: str) -> str:
        """``"number"``, ``"text"``, ``"list"``, or "" where there is no such column."""
        if key in self._numbers:
            return "number"
        return "text" if key in self._texts else "list" if key in self._lists else ""

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """All that can be filtered by."""
        return (*(c.key for c in COLUMNS if c.key != "score" or self.systems), *self.systems)

    @cached_property
    def _numbers(self) -> dict[str, npt.NDArray[np.float64]]:
        frames = np.array([math.nan if n is None else n for n in self.n_frames], np.float64)

        def of_labels(value: Any) -> npt.NDArray[np.float64]:
            return np.array([math.nan if s is None else value(s) for s in self.labels], np.float64)

        def of_sounds(value: Any) -> npt.NDArray[np.float64]:
            return np.array([math.nan if s is None else value(s) for s in self.sounds], np.float64)

        last = of_labels(lambda s: s.n_frames)
        length = np.fmax(frames, last)
        length[length == 0] = math.nan
        seconds = of_sounds(lambda s: s.duration_s)
        numbers = {
            "duration": np.where(np.isnan(seconds), frames / FRAME_RATE_HZ, seconds),
            "sources": of_labels(lambda s: s.n_sources),
            "events": of_labels(lambda s: len(s.event_start)),
            "classes": of_labels(lambda s: len(s.categories)),
            "polyphony": of_labels(lambda s: s.max_polyphony),
            "mean_polyphony": of_labels(lambda s: s.n_source_frames) / length,
            "labelled": 100 * of_labels(lambda s: s.n_labelled_frames) / length,
            "loudness": of_sounds(lambda s: s.level_dbfs),
            "peak": of_sounds(lambda s: s.peak_dbfs),
        }
        scores = dict(zip(self.systems, self.scores, strict=True))
        # a system may be called like a column; the column goes before
        return {**scores, **({"score": self.scores[0]} if self.systems else {}), **numbers}

    @cached_property
    def _texts(self) -> dict[str, list[str]]:
        rooms = (_ROOM.search(r.name) for r in self.recordings)
        return {
            "name": [r.name for r in self.recordings],
            "split": [r.split for r in self.recordings],
            "room": ["" if found is None else found[1].lower() for found in rooms],
            "note": [mark.note for mark in self.marks],
            "problem": [" ".join(sentences) for sentences in self.problems],
        }

    @cached_property
    def _lists(self) -> dict[str, list[tuple[str, ...]]]:
        having = [tuple(name for name in MATERIALS if self.having[name][row]) for row in range(len(self))]
        simulated = [("simulated",) if r.is_simulated else () for r in self.recordings]
        return {
            "class": [() if s is None else tuple(CLASS_NAMES[c] for c in s.categories) for s in self.labels],
            "has": [(*have, *extra) for have, extra in zip(having, simulated, strict=True)],
            "tag": [mark.tags for mark in self.marks],
        }

    @cached_property
    def haystack(self) -> list[str]:
        """What a search for a word looks into: names, classes, tags, notes; in small letters."""
        parts = (self._texts["name"], self._texts["split"], self.text("class"), self.text("tag"), self._texts["note"])
        return ["\n".join(row).casefold() for row in zip(*parts, strict=True)]


def unusable_files(survey: Survey, root: DataRoot) -> dict[str, int]:
    """Files that are known to be unusable, by kind of :data:`sai_core.dataset.inventory.MATERIALS`; looks at none."""
    looks = [look for recording in root.recordings for look in looks_of(recording) if look.kind != "picture"]
    looks += [
        Look("predictions", recording, chosen.files[recording.name])
        for chosen in root.prediction_sets
        for recording in root.recordings
        if recording.name in chosen.files
    ]
    counts: dict[str, int] = {}
    for look in looks:
        if isinstance(survey.known(look)[1], str):
            of_sound = "eigen" if look.path == look.recording.eigen_path else "mic"
            kind = of_sound if look.kind == "sound" else str(look.kind)
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def table_of(
    survey: Survey,
    root: DataRoot,
    groups: Sequence[Group],
    *,
    systems: Sequence[PredictionSet] = (),
    marks: Mapping[str, Mark] | None = None,
) -> SetTable:
    """What is known of a set at the moment; reads nothing but the state of its files.

    Parameters
    ----------
    survey : Survey
    root : DataRoot
    groups : sequence of Group
        Of :func:`sai_core.survey.index.groups_of` for this root.
    systems : sequence of PredictionSet
        Those whose scores were asked for there, in the same order.
    marks : mapping of str to Mark, optional
        By ``<split>/<name>`` or the name alone.
    """
    row_of = {(r.split, r.name): row for row, r in enumerate(root.recordings)}
    n, missing = len(row_of), 0
    found: dict[str, list[Any]] = {kind: [None] * n for kind in ("labels", "predictions", "sound", "picture")}
    scores = np.full((len(systems), n), math.nan)
    problems: list[dict[str, None]] = [{} for _ in range(n)]
    notes: list[list[str]] = [[] for _ in range(n)]
    n_scored = -1
    for group in groups:
        n_scored += group.kind == "score"
        for look in group.looks:
            row = row_of[look.recording.split, look.recording.name]
            is_known, answer = survey.known(look)
            missing += not is_known
            if isinstance(answer, str):
                problems[row][answer] = None  # a label that cannot be read keeps the picture from being drawn, too
            elif isinstance(answer, ScoreSummary):
                scores[n_scored, row] = answer.mean_ap
            elif answer is not None:
                found[group.kind][row] = answer
                notes[row] += answer.notes
    for row, recording in enumerate(root.recordings):
        sound, picture = found["sound"][row], found["picture"][row]
        if sound is None or (picture is None and recording.has_video):
            continue  # not known yet which of the two is the longer
        end = max(sound.n_frames, picture.n_frames if picture is not None else 0)
        for what in ("labels", "predictions"):
            summary = found[what][row]
            if summary is not None and end and summary.n_frames > end:
                notes[row].append(said_of_the_end(recording.name, f"the {what}", end, summary.n_frames - 1))
    predicted = {name for chosen in root.prediction_sets for name in chosen.files}
    having = {
        "labels": [r.has_labels for r in root.recordings],
        "metadata": [r.has_metadata for r in root.recordings],
        "mic": [r.mic_path is not None for r in root.recordings],
        "foa": [r.foa_path is not None for r in root.recordings],
        "em32": [r.eigen_path is not None for r in root.recordings],
        "video": [r.has_video for r in root.recordings],
        "predictions": [r.name in predicted for r in root.recordings],
    }
    nothing = Mark()
    keys = (f"{r.split}/{r.name}" if r.split else r.name for r in root.recordings)
    return SetTable(
        recordings=root.recordings,
        labels=tuple(found["labels"]),
        predictions=tuple(found["predictions"]),
        sounds=tuple(found["sound"]),
        pictures=tuple(found["picture"]),
        problems=tuple(tuple(sentences) for sentences in problems),
        notes=tuple(tuple(sentences) for sentences in notes),
        marks=tuple((marks or {}).get(key, nothing) for key in keys),
        systems=tuple(chosen.name for chosen in systems),
        scores=scores,
        having={name: np.array(values, bool) for name, values in having.items()},
        unchosen=tuple(s.name for s in root.prediction_sets if len(s) and s not in systems),
        n_missing=missing,
    )

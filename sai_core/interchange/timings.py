"""When each source sounds: events of labels, predictions and metadata, and edited timings applied to them again.

Audio editors and annotation tools know events, not regions. An event leaves this program as a *timing* with a class and
a source number, may be moved, cut, split, renamed or deleted elsewhere, and comes back as the choice of annotations
that stay. Regions are not made up: what an edited timing has no region for is counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable, DcaseMetadata
from sai_core.errors import InputError
from sai_core.listening.sources import sources_of
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES, category_of, class_name

FRAME_S: Final[float] = 0.1
LONGEST_S: Final[float] = 1e6
_TAIL: Final = re.compile(r"^(.*?\S)(?:[ _]+#?(\d{1,9}))?$", re.DOTALL)


@dataclass(frozen=True)
class Timing:
    """One event.

    Attributes
    ----------
    start_s, stop_s : float
        0 <= start < stop.
    category_id : int
    number : int, optional
        Source or instance number; None where a file names the class alone.
    azimuth_deg, elevation_deg, distance_cm, score : float
        Means over the event (directions: of its first frame); NaN where nothing is known.
    """

    start_s: float
    stop_s: float
    category_id: int
    number: int | None
    azimuth_deg: float = math.nan
    elevation_deg: float = math.nan
    distance_cm: float = math.nan
    score: float = math.nan

    @property
    def text(self) -> str:
        """Class and number, as :func:`parse_text` reads them."""
        return class_name(self.category_id) + ("" if self.number is None else f" {self.number}")


def parse_text(text: str, where: str) -> tuple[int, int | None]:
    """Class and source number of an event's text: ``Knock 2``, ``Knock #2``, ``Door_open_close_1``, ``Bell``.

    Raises
    ------
    InputError
        No class of the field's.
    """
    match = _TAIL.match(text.strip())
    words, number = (match.group(1), match.group(2)) if match else ("", None)
    category = category_of(words.replace("_", " "))
    if category is None:
        raise InputError(
            f"{where}: {text!a} names none of the {N_CLASSES} classes; write for example {CLASS_NAMES[-1]} 2."
        )
    return category, None if number is None else int(number)


def check_span(start_s: float, stop_s: float, where: str) -> None:
    """Make sure that an event has a beginning and an end after it.

    Raises
    ------
    InputError
        It has not.
    """
    if not (math.isfinite(start_s) and math.isfinite(stop_s) and 0 <= start_s < stop_s <= LONGEST_S):
        raise InputError(
            f"{where}: goes from {start_s:g} s to {stop_s:g} s; an event needs an end after its beginning."
        )


def timings_of(rows: AnnotationTable | DcaseMetadata, *, min_score: float = 0.0) -> tuple[list[Timing], list[str]]:
    """Events of a file, in order of time, and what was left out.

    Parameters
    ----------
    rows : AnnotationTable or DcaseMetadata
    min_score : float
        Predictions below it are left out.

    Returns
    -------
    timings : list of Timing
        A source that pauses for more than half a second has several.
    notes : list of str
    """
    notes: list[str] = []
    score = np.full(len(rows.frame), np.nan)
    if isinstance(rows, AnnotationTable):
        kept = ~(rows.score < min_score)
        if not kept.all():
            notes.append(f"{np.count_nonzero(~kept)} predictions below a score of {min_score:g} are left out.")
            rows = rows.take(kept)
        number, score = rows.instance_id, rows.score
    else:
        number = rows.source_id
    found = sources_of(rows)
    notes += found.notes
    timings = []
    n_bridged = 0
    for category in range(N_CLASSES):
        for event in found.events(category):
            n_bridged += event.gaps
            own = (rows.category_id == category) & (number == event.number)
            own &= (rows.frame >= event.start) & (rows.frame < event.stop)
            timings.append(
                Timing(
                    event.start * FRAME_S,
                    event.stop * FRAME_S,
                    category,
                    None if event.number < 0 else event.number,
                    float(event.azimuth_deg[0]),
                    float(event.elevation_deg[0]),
                    _mean(rows.distance_cm[own]),
                    _mean(score[own]),
                )
            )
    if n_bridged:
        frames = "frame of a short pause lies" if n_bridged == 1 else "frames of short pauses lie"
        notes.append(f"{n_bridged} {frames} inside an event, which ends only at more than half a second of silence.")
    return sorted(timings, key=_order), notes


def apply_timings(table: AnnotationTable, timings: Sequence[Timing]) -> tuple[AnnotationTable, list[str]]:
    """Annotations that lie in an edited timing of their class and source; others go.

    A frame belongs to a timing if its middle does. A timing whose class and number have no annotation in its time is
    taken for a renamed one if exactly one class has that number there: its annotations get the new class.

    Parameters
    ----------
    table : AnnotationTable
    timings : sequence of Timing
        None at all: every event was deleted.

    Returns
    -------
    table : AnnotationTable
    notes : list of str
        How many annotations went or were renamed, which timings found nothing, and for how many frames there is no
        region.
    """
    keep = np.zeros(len(table), bool)
    category = np.array(table.category_id)
    middle = (table.frame + 0.5) * FRAME_S
    lost: list[Timing] = []
    n_renamed = n_without = 0
    for timing in timings:
        inside = (middle >= timing.start_s) & (middle < timing.stop_s)
        if timing.number is not None:
            inside &= table.instance_id == timing.number
        own = inside & (table.category_id == timing.category_id)
        if not own.any() and timing.number is not None:
            others = np.unique(table.category_id[inside])
            if len(others) == 1:
                own = inside
                category[own] = timing.category_id
                n_renamed += int(np.count_nonzero(own & ~keep))
        if not own.any():
            lost.append(timing)
            continue
        keep |= own
        n_without += len(_frames(timing)) - len(np.unique(table.frame[own]))
    notes = []
    if n_gone := int(np.count_nonzero(~keep)):
        notes.append(f"{n_gone} of {len(table)} annotations lie in no edited event and are left out.")
    if n_renamed:
        notes.append(f"{n_renamed} annotations have the class of the event that they lie in now.")
    if n_without:
        notes.append(f"{n_without} frames of edited events have no region in the file and stay without one.")
    for timing in lost[:5]:
        notes.append(
            f"{timing.text} from {timing.start_s:g} s to {timing.stop_s:g} s: the file has no region of it there; "
            "nothing was added."
        )
    if len(lost) > 5:
        notes.append(f"{len(lost) - 5} more events have no region in the file.")
    return replace(table, category_id=category).take(keep), notes


def of_one_recording(names: Iterable[str], where: str) -> str:
    """The only name, or "".

    Raises
    ------
    InputError
        Several.
    """
    found = sorted(set(names))
    if len(found) > 1:
        raise InputError(f"{where}: holds {len(found)} recordings ({found[0]}, {found[1]} ...); write a file for each.")
    return found[0] if found else ""


def _frames(timing: Timing) -> range:
    """Frames whose middle lies in a timing."""
    first = math.ceil(timing.start_s / FRAME_S - 0.5 - 1e-9)
    return range(max(0, first), max(0, math.ceil(timing.stop_s / FRAME_S - 0.5 - 1e-9)))


def _order(timing: Timing) -> tuple[float, int, int]:
    return timing.start_s, timing.category_id, -1 if timing.number is None else timing.number


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan

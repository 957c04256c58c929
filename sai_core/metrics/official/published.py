"""Published figures to hold beside one's own: data with the source of each row, never a measurement of ours.

All of them are on the real development test set (STARSS23 / STAIRS26, 78 recordings) or on the challenge's evaluation
set. Each row names the evaluator's revision: figures of two revisions are not comparable. A page or file that shows one
marks it as published.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Final, Literal

from sai_core.metrics.official.revisions import Revision

Track = Literal["A", "B"]

REPORT: Final[str] = (
    "Yang et al., Enhanced UpLAM-Mask R-CNN System for Semantic Acoustic Imaging and Sound Event Localization and "
    "Detection, technical report, DCASE 2026 Task 3"
)
CAVEAT: Final[str] = "Published figures are on the real dev-test set; yours are on what is loaded."


@dataclass(frozen=True)
class PublishedRow:
    """Figures of one system as its authors give them.

    Attributes
    ----------
    system : str
        Name in the source.
    track : {"A", "B"}
        Audio-only or audio-visual.
    data : str
        Set that they are on.
    source : str
        Where they stand.
    figures : mapping of str to float
        Keys of :data:`sai_core.metrics.reading.tables.SYSTEM_COLUMNS`; what the source does not give is absent.
    revision : str
        Evaluator that made them.
    inferred : bool
        The source does not name the revision; it follows from the figures and dates (docs/scores.md).
    """

    system: str
    track: Track
    data: str
    source: str
    figures: Mapping[str, float] = field(hash=False)
    revision: Revision = "2026-06-30"
    inferred: bool = False

    def label(self, revision: Revision) -> str:
        """Name beside figures of ``revision``: with the set and the evaluator's revision where they differ."""
        name = self.system if self.data == "dev-test" else f"{self.system}, {self.data}"
        return name if self.revision == revision else f"{name}, by {self.revision}"

    def __post_init__(self) -> None:
        object.__setattr__(self, "figures", MappingProxyType(dict(self.figures)))


_TABLE_1_KEYS = ("macro_mAP", "macro_AP25", "macro_AP50", "macro_AP75", "micro_mAP", "micro_AP50", "n_detections")
_TABLE_2_KEYS = (
    *("macro_mAP", "macro_AP25", "macro_AP50", "macro_AP75", "macro_pearson_r"),
    *("micro_mAP", "micro_AP25", "micro_AP50", "micro_AP75", "micro_pearson_r"),
)


def _row(system: str, track: Track, keys: tuple[str, ...], *values: float) -> PublishedRow:
    table = "Table 1" if track == "A" else "Table 2"
    figures = dict(zip(keys, values, strict=True))
    return PublishedRow(system, track, "dev-test", f"{REPORT}, {table}", figures, "2026-05-28", inferred=True)


_SAID: Final[str] = "Kong et al. (SAID), DCASE 2026 Task 3, winner of Track A, their figures on dev-test"


PUBLISHED: Final[tuple[PublishedRow, ...]] = (
    _row("FAO", "A", _TABLE_1_KEYS, 0.0324, 0.0721, 0.0248, 0.0004, 0.0222, 0.0190, 265_049),
    _row("OR-AO", "A", _TABLE_1_KEYS, 0.0286, 0.0598, 0.0255, 0.0006, 0.0220, 0.0202, 196_036),
    PublishedRow(
        "SAID, PaSST",
        "A",
        "dev-test",
        _SAID,
        {"macro_mAP": 0.1245, "macro_pearson_r": 0.4268},
    ),
    PublishedRow(
        "SAID, AudioMAE",
        "A",
        "dev-test",
        f"{_SAID} (README at 09282e9)",
        {"macro_mAP": 0.124763, "macro_pearson_r": 0.4307},
    ),
    PublishedRow("SAID, PaSST", "A", "dev-test", _SAID, {"macro_mAP": 0.12015}, "2026-04-02"),
    PublishedRow("SAID, AudioMAE", "A", "dev-test", _SAID, {"macro_mAP": 0.11344}, "2026-04-02"),
    PublishedRow(
        "SAID, task3a_2",
        "A",
        "evaluation set",
        "DCASE 2026 Task 3, results of Track A, Kong_CUHK_task3a_2",
        {"macro_mAP": 0.1080, "macro_pearson_r": 0.3962},
    ),
    _row("Baseline", "B", _TABLE_2_KEYS, 0.0003, 0.0010, 0.0, 0.0, 0.1358, 0.0011, 0.0032, 0.0, 0.0, 0.4429),
    _row("TPAV", "B", _TABLE_2_KEYS, 0.0789, 0.1516, 0.0838, 0.0014, 0.5366, 0.0741, 0.1365, 0.0845, 0.0013, 0.5828),
    _row("ERAV", "B", _TABLE_2_KEYS, 0.0718, 0.1375, 0.0765, 0.0012, 0.5315, 0.0709, 0.1322, 0.0794, 0.0011, 0.5826),
    _row("CFAV", "B", _TABLE_2_KEYS, 0.1508, 0.2525, 0.1880, 0.0118, 0.5948, 0.0417, 0.0645, 0.0508, 0.0099, 0.5948),
)
"""Tables 1 and 2 of the report, and the challenge's winner.

The report does not name its evaluator. Its dates (due on 15 June, camera-ready on 22 June) come before 2026-06-30,
it has thresholds of 0.25, and CFAV's equal macro and micro Pearson r (one class has pairs) beside a macro mAP of 0.1508
is only possible where classes without detections are left out of the mean: 2026-05-28.
"""


def published_rows(track: Track, revision: Revision | None) -> tuple[PublishedRow, ...]:
    """Published rows of a track by one revision of the evaluator, or of all of them with None."""
    return tuple(row for row in PUBLISHED if row.track == track and revision in (None, row.revision))


_TRACK_WORDS: Final[Mapping[Track, tuple[str, ...]]] = {
    "A": ("fao", "orao", "ao", "tracka", "audioonly", "task3a"),
    "B": ("tpav", "erav", "cfav", "av", "baseline", "trackb", "audiovisual", "legacy", "task3b"),
}


def track_of_name(name: str) -> Track | None:
    """Track that the name of a prediction set tells (``fao``, ``OR-AO_epoch10``, ``tpav``), else None.

    Prediction files do not say which inputs their system had; one whose name does not either belongs in both tables.

    Examples
    --------
    >>> track_of_name("runs/OR-AO_epoch10"), track_of_name("tpav"), track_of_name("mine")
    ('A', 'B', None)
    """
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    words += ["".join(pair) for pair in pairwise(words)]
    found: set[Track] = {track for track, known in _TRACK_WORDS.items() if any(word in known for word in words)}
    return found.pop() if len(found) == 1 else None

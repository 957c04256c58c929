"""The four official evaluators: their names, thresholds and what tells them apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np

Revision = Literal["2026-06-30", "2026-05-28", "2026-05-18", "2026-04-02"]
REVISIONS: Final[tuple[Revision, ...]] = ("2026-06-30", "2026-05-28", "2026-05-18", "2026-04-02")
"""Official evaluators, newest first: commits d4df662, d47b751, 2bbbe41, 84b2cd1."""

SOFT_REVISIONS: Final[tuple[Revision, ...]] = REVISIONS[:3]
"""Those that match soft maps: one matching serves all three (:func:`sai_core.metrics.as_revision`)."""

THRESHOLDS: Final[Mapping[str, tuple[float, ...]]] = {
    "2026-06-30": (0.25, 0.50, 0.75),
    "2026-05-28": (0.25, 0.50, 0.75),
    "2026-05-18": tuple(np.linspace(0.5, 0.95, 10).tolist()),
    "2026-04-02": tuple(np.linspace(0.5, 0.95, 10).tolist()),
}
"""IoU thresholds of each revision."""

REVISION_NOTES: Final[Mapping[Revision, str]] = {
    "2026-06-30": "soft IoU on 100 x 50 at 0.25, 0.50, 0.75; a class with labels but no detections counts 0: the "
    "challenge's ranking",
    "2026-05-28": "as 2026-06-30, but a class without detections is left out of the macro mean: the report's tables",
    "2026-05-18": "as 2026-05-28, at ten thresholds from 0.50 to 0.95",
    "2026-04-02": "COCO masks of Gaussian blobs on 360 x 180; '(4.2)' in papers",
}
"""What each revision is, in a phrase."""


def is_soft(revision: Revision) -> bool:
    """Whether a revision matches soft maps on 100 x 50; the other one, 2026-04-02, matches COCO masks."""
    return revision in SOFT_REVISIONS


def base_revision(revision: Revision) -> Revision:
    """Revision whose matching serves this one.

    Examples
    --------
    >>> base_revision("2026-05-28"), base_revision("2026-04-02")
    ('2026-06-30', '2026-04-02')
    """
    return SOFT_REVISIONS[0] if is_soft(revision) else revision


def leaves_out_absent_classes(revision: Revision) -> bool:
    """Whether a class with labels but without any detection in the set has no AP, where 2026-06-30 counts 0."""
    return revision in ("2026-05-28", "2026-05-18")


def shown_thresholds(revision: Revision) -> tuple[float, ...]:
    """IoU thresholds with a column of their own in tables; the mean is over all of :data:`THRESHOLDS`."""
    return THRESHOLDS[revision] if len(THRESHOLDS[revision]) <= 3 else (0.5, 0.75)

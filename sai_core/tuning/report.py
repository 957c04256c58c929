"""Outcome of a threshold search as plain text."""

from __future__ import annotations

import math

from sai_core.metrics import Evaluation, Figures
from sai_core.taxonomy import CLASS_NAMES
from sai_core.tuning.search import ThresholdSearch


def search_sentence(found: ThresholdSearch) -> str:
    """What was gained where it was searched, and what of it is left where it was not."""
    before, after = found.searched.before.macro.mean_ap, found.searched.after.macro.mean_ap
    held_before, held_after = found.held_out.before.macro.mean_ap, found.held_out.after.macro.mean_ap
    where = "the second half of the recording" if found.by_time else f"{len(found.held_out.names)} other recordings"
    if len(found.held_out.names) == 1 and not found.by_time:
        where = "the other recording"
    return (
        f"Macro mAP {_number(before)} to {_number(after)} where the thresholds were searched; "
        f"{_number(held_before)} to {_number(held_after)} on {where}, which the search did not see."
    )


def search_table(found: ThresholdSearch, system: str) -> str:
    """Thresholds and mAP of each class before and after, on both parts (revision 2026-06-30)."""
    lines = [
        f"{system}: thresholds for the best {found.objective}, seed {found.seed} (revision 2026-06-30)",
        f"searched: {_listed(found.searched.names)}",
        f"held out: {_listed(found.held_out.names)}",
        "",
        f"{'':20}{'threshold':>20}{'mAP searched':>22}{'mAP held out':>22}",
    ]
    own = found.settings
    for c, threshold in found.thresholds.items():
        rows = [e.per_class[c] for e in _four(found)]
        lines.append(f"{CLASS_NAMES[c]:20}{threshold:>20.2f}{_change(rows[0], rows[1])}{_change(rows[2], rows[3])}")
    lines.append(f"{'other classes':20}{own.min_score:>20.2f}")
    for name in ("macro", "micro"):
        rows = [getattr(e, name) for e in _four(found)]
        lines.append(f"{name:20}{'':>20}{_change(rows[0], rows[1])}{_change(rows[2], rows[3])}")
    lines += ["", search_sentence(found)]
    return "\n".join(lines)


def _four(found: ThresholdSearch) -> tuple[Evaluation, ...]:
    return found.searched.before, found.searched.after, found.held_out.before, found.held_out.after


def _change(before: Figures, after: Figures) -> str:
    return f"{_number(before.mean_ap)} -> {_number(after.mean_ap)}".rjust(22)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

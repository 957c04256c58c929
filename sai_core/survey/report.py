"""A set as text: rows for CSV and JSON, a table for the terminal, statistics as plain numbers."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sai_core.geometry import FRAME_RATE_HZ
from sai_core.survey.statistics import EVENT_EDGES, SetStatistics
from sai_core.survey.summary import CELL_DEG, DISTANCE_STEP_CM, N_DISTANCES
from sai_core.survey.table import COLUMNS, SetTable
from sai_core.taxonomy import CLASS_NAMES

_PRINTED: Final[tuple[str, ...]] = (
    "split", "name", "duration", "sources", "events", "polyphony", "labelled", "loudness", "class", "has", "tag",
)  # fmt: skip
_DECIMALS: Final[dict[str, int]] = {"duration": 1, "mean_polyphony": 2, "labelled": 1, "loudness": 1, "peak": 1}


def records(table: SetTable, rows: Iterable[int]) -> list[dict[str, Any]]:
    """Rows as plain values: numbers or None, texts, lists of texts; in the order of the columns."""
    found = []
    for row in rows:
        record: dict[str, Any] = {}
        for column in COLUMNS:
            if column.key == "score":
                continue
            if column.kind == "number":
                record[column.key] = _plain(float(table.number(column.key)[row]), _DECIMALS.get(column.key))
            elif column.kind == "list":
                record[column.key] = list(table.entries(column.key)[row])
            else:
                record[column.key] = table.text(column.key)[row]
        scores = {s: _plain(float(table.scores[k, row])) for k, s in enumerate(table.systems)}
        found.append({**record, **({"mAP": scores} if scores else {}), "notes": list(table.notes[row])})
    return found


def _plain(value: float, decimals: int | None = None) -> float | int | str | None:
    """A number for JSON, which has no infinity: digital silence is a text."""
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "-inf" if value < 0 else "inf"
    value = value if decimals is None else round(value, decimals)
    return int(value) if value == int(value) else value


def as_csv(table: SetTable, rows: Iterable[int]) -> str:
    """Rows as CSV with a head; lists are joined by semicolons, unknown numbers are empty."""
    out = io.StringIO()
    names = [c.key for c in COLUMNS if c.key != "score"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, *(f"mAP {system}" for system in table.systems), "notes"])
    for record in records(table, rows):
        scores = record.get("mAP", {})
        values = [record[name] for name in names] + [scores[s] for s in table.systems] + [record["notes"]]
        writer.writerow(["; ".join(v) if isinstance(v, list) else "" if v is None else _safe(v) for v in values])
    return out.getvalue()


def _safe(value: object) -> object:
    """Text that a spreadsheet would take for a formula becomes text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "@", "\t") else value


def as_text(table: SetTable, rows: Sequence[int]) -> str:
    """Rows as a table for the terminal."""
    names = [name for name in _PRINTED if name != "tag" or any(mark.tags for mark in table.marks)]
    titles = {c.key: c.title for c in COLUMNS}
    lines = [[*(titles[name] for name in names), *(f"mAP {system}" for system in table.systems)]]
    for record in records(table, rows):
        cells = []
        for name in names:
            value = record[name]
            cells.append(", ".join(value) if isinstance(value, list) else "–" if value in (None, "") else str(value))
        for system in table.systems:
            score = record["mAP"][system]
            cells.append("–" if score is None else f"{score:.4f}")
        lines.append(cells)
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    numeric = {k for k, name in enumerate(names) if any(c.key == name and c.kind == "number" for c in COLUMNS)}
    return "\n".join(
        "  ".join(
            c.rjust(w) if k in numeric else c.ljust(w) for k, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def statistics_record(found: SetStatistics) -> dict[str, Any]:
    """Statistics as plain values, with what each counts in its name."""
    frames = max(found.n_frames, 1)
    classes = found.of("class")
    together = found.of("together")
    pairs = [(int(together[a, b]), a, b) for a in range(len(CLASS_NAMES)) for b in range(a + 1, len(CLASS_NAMES))]
    return {
        "recordings": found.n_recordings,
        "hours": round(found.hours, 4),
        "frames": found.n_frames,
        "labelled_frames": found.n_labelled_frames,
        "annotations": found.n_annotations,
        "classes": {
            name: {
                "frames": int(classes[c]),
                "share_of_frames": round(float(classes[c]) / frames, 6),
                "events": int(found.events[c].sum()),
                "annotations": int(found.of("distance")[c].sum()),
            }
            for c, name in enumerate(CLASS_NAMES)
        },
        "frames_by_polyphony": {str(k): int(n) for k, n in enumerate(found.polyphony) if n},
        "events_by_seconds_from": {
            f"{edge / FRAME_RATE_HZ:g}": int(n) for edge, n in zip(EVENT_EDGES, found.events.sum(0), strict=True)
        },
        "annotations_by_distance_from_cm": {
            f"{k * DISTANCE_STEP_CM}" if k <= N_DISTANCES else "unknown": int(n)
            for k, n in enumerate(found.of("distance").sum(0))
            if n
        },
        "annotations_by_direction": [
            {
                "azimuth_from_deg": 180 - CELL_DEG * (x + 1),
                "elevation_from_deg": 90 - CELL_DEG * (y + 1),
                "annotations": n,
            }
            for (y, x), n in _filled(found.of("direction").sum(0))
        ],
        "frames_with_both": [
            {"classes": [CLASS_NAMES[a], CLASS_NAMES[b]], "frames": n} for n, a, b in sorted(pairs, reverse=True) if n
        ],
    }


def _filled(counts: npt.NDArray[np.int64]) -> list[tuple[tuple[int, int], int]]:
    return [((int(y), int(x)), int(counts[y, x])) for y, x in zip(*np.nonzero(counts), strict=True)]


def statistics_text(found: SetStatistics) -> str:
    """The most asked-for statistics for the terminal."""
    frames = max(found.n_frames, 1)
    share = found.n_labelled_frames / frames
    lines = [
        f"{found.n_recordings} recordings with labels, {found.hours:.2f} h, {found.n_annotations} annotations; "
        f"{share:.1%} of the frames have one",
        "",
        f"{'class':<20} {'frames':>9} {'share':>7} {'events':>7}",
    ]
    classes = found.of("class")
    for c in np.argsort(-classes, kind="stable").tolist():
        if classes[c]:
            lines.append(
                f"{CLASS_NAMES[c]:<20} {classes[c]:>9} {classes[c] / frames:>7.1%} {int(found.events[c].sum()):>7}"
            )
    polyphony = found.polyphony
    last = int(np.flatnonzero(polyphony).max(initial=0))
    lines += ["", "sources at once   " + "  ".join(f"{k}: {polyphony[k] / frames:.1%}" for k in range(last + 1))]
    return "\n".join(lines)

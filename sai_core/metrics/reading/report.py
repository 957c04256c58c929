"""Figures as text: the table of the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sai_core.metrics.evaluation.scores import Evaluation, Figures
from sai_core.metrics.official.revisions import is_soft


def evaluation_table(evaluation: Evaluation) -> str:
    """Per-class table with macro and micro rows, the revision named; undefined figures are dashes.

    Parameters
    ----------
    evaluation : Evaluation
        Any revision.

    Returns
    -------
    str
        Lines of equal width, without a final line end.
    """
    n = len(evaluation.recordings)
    title = f"revision {evaluation.revision} · {n} recording{'' if n == 1 else 's'}"
    soft = is_soft(evaluation.revision)
    head = ["class", "labels", "detections"]
    if soft:
        head += [*evaluation.ap_at(evaluation.macro), "mAP", "Pearson r", "pairs"]
    else:
        head += ["AP", "AP50", "Pearson r", "pairs", "distance error"]
    rows = [[str(c), *_cells(evaluation, row)] for c, row in enumerate(evaluation.per_class)]
    body = [[f"{cells[0]:>2} {cells[1]}", *cells[2:]] for cells in rows]
    averages = [_cells(evaluation, row) for row in (evaluation.macro, evaluation.micro)]
    averages[0][1:3] = ["", ""]  # means have no counts of their own
    averages[0][-1 if soft else -2] = ""
    return "\n".join([title, *_aligned([head, None, *body, None, *averages])])


def _cells(evaluation: Evaluation, row: Figures) -> list[str]:
    counts = [row.name, str(row.n_labels), str(row.n_detections)]
    if is_soft(evaluation.revision):
        return [*counts, *map(_figure, (*evaluation.ap_at(row).values(), row.mean_ap, row.pearson_r)), str(row.n_pairs)]
    distance = "-" if math.isnan(row.distance_mape) else f"{row.distance_mape:.2f} %"
    return [*counts, _figure(row.mean_ap), _figure(row.ap[0]), _figure(row.pearson_r), str(row.n_pairs), distance]


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _aligned(rows: Sequence[list[str] | None]) -> list[str]:
    """First column to the left, the others to the right; None is a rule."""
    cells = [row for row in rows if row is not None]
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    lines = []
    for row in rows:
        if row is None:
            lines.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
        else:
            first, *others = row
            right = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
            lines.append("  ".join([first.ljust(widths[0]), *right]))
    return lines

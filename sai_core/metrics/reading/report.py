"""Figures as text: the tables of the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sai_core.metrics.evaluation.scores import Evaluation, Figures
from sai_core.metrics.official.revisions import is_soft
from sai_core.metrics.reading.tables import Table


def evaluation_table(evaluation: Evaluation) -> str:
    """Per-class table with macro and micro rows, the revision named; undefined figures are dashes.

    Recordings that could not be scored follow it, a line each with the reason.

    Parameters
    ----------
    evaluation : Evaluation
        Any revision.

    Returns
    -------
    str
        Lines of equal width (but for those of failures), without a final line end.
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
    failed = [f"failed  {failure.recording}: {failure.error}" for failure in evaluation.failures]
    title += f" · {len(failed)} failed" if failed else ""
    return "\n".join([title, *_aligned([head, None, *body, None, *averages]), *failed])


def table_text(table: Table) -> str:
    """Any table for a terminal: title, aligned columns with their groups, note.

    Parameters
    ----------
    table : Table
        Summary rows are set off by a rule; undefined figures are dashes.

    Returns
    -------
    str
        Without a final line end.
    """
    head = [[table.row_title, *(column.title for column in table.columns)]]
    if any(column.group for column in table.columns):
        groups = [column.group for column in table.columns]
        shown = [group if k == 0 or groups[k - 1] != group else "" for k, group in enumerate(groups)]
        head.insert(0, ["", *shown])
    body: list[list[str] | None] = []
    for k, name in enumerate(table.rows):
        if table.summary_rows and k == len(table.rows) - table.summary_rows:
            body.append(None)
        body.append([name, *(table.text(k, c, dash="-") for c in range(len(table.columns)))])
    return "\n".join([table.title, *_aligned([*head, None, *body]), *([table.note] if table.note else [])])


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

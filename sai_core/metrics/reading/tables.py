"""Tables of figures: systems (the report's Tables 1 and 2), classes, recordings, two systems; and their exports.

A table knows its revision, which rows are published rather than measured, and which figures are undefined (NaN): they
are shown as a dash, never as 0 or -1. CSV keeps full precision, LaTeX (booktabs) the digits of the page.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError
from sai_core.metrics.evaluation.scores import Figures, merge
from sai_core.metrics.official.published import CAVEAT, Track, published_rows, track_of_name
from sai_core.metrics.official.revisions import Revision, is_soft, leaves_out_absent_classes, shown_thresholds
from sai_core.metrics.reading.diagnostics import BootstrapResult, PairErrors, count_errors
from sai_core.metrics.reading.systems import SystemResult
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES

Float64 = npt.NDArray[np.float64]

Source = Literal["measured", "published"]
_MEASURED: Final[Source] = "measured"


@dataclass(frozen=True)
class Column:
    """One figure.

    Attributes
    ----------
    key : str
        Stable name: of the CSV's header, of links and selections.
    title : str
        Short heading.
    digits : int
        Decimals shown.
    group : str
        Heading above several columns; "" for none.
    better : {"higher", "lower", ""}
        Which direction is good.
    help : str
        What it is, in one sentence.
    """

    key: str
    title: str
    digits: int = 4
    group: str = ""
    better: Literal["higher", "lower", ""] = ""
    help: str = ""


@dataclass(frozen=True, eq=False)
class Table:
    """Figures in rows and columns.

    Attributes
    ----------
    title : str
        Names the revision.
    note : str
        What a reader must know, sentences.
    row_title : str
        What the rows are.
    rows : tuple of str
        Their names.
    sources : tuple of str
        ``"measured"`` or ``"published"``, per row.
    columns : tuple of Column
    values : float64, shape (n_rows, n_columns)
        NaN = undefined.
    summary_rows : int
        How many of the last rows are averages of the others.
    """

    title: str
    note: str
    row_title: str
    rows: tuple[str, ...]
    sources: tuple[Source, ...]
    columns: tuple[Column, ...]
    values: Float64
    summary_rows: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", np.asarray(self.values, dtype=np.float64))
        if self.values.shape != (len(self.rows), len(self.columns)) or len(self.sources) != len(self.rows):
            raise InputError(f"{self.title}: values of shape {self.values.shape} do not fit rows and columns.")

    def text(self, row: int, column: int, *, dash: str = "–") -> str:
        """A figure as it is shown."""
        value, digits = float(self.values[row, column]), self.columns[column].digits
        if math.isnan(value):
            return dash
        # z: what rounds to zero has no sign
        return f"{value:z,.0f}" if digits == 0 else f"{value:z.{digits}f}"

    def best(self, column: int) -> tuple[int, ...]:
        """Measured systems with the best figure of a column; none where there is no better or nothing to compare.

        Rows that are no systems are no rivals: a class or a recording is not better than another.
        """
        better = self.columns[column].better if self.row_title == "System" else ""
        own = [k for k, source in enumerate(self.sources) if source == "measured" and k < self._n_compared]
        values = self.values[own, column] if own else np.zeros(0)
        known = ~np.isnan(values)
        if not better or known.sum() < 2:
            return ()
        target = np.nanmax(values) if better == "higher" else np.nanmin(values)
        return tuple(k for k, value in zip(own, values.tolist(), strict=True) if value == target)

    @property
    def _n_compared(self) -> int:
        return len(self.rows) - self.summary_rows


def _group(group: str, keys: Sequence[str]) -> tuple[Column, ...]:
    titles = {"pearson_r": "Pearson r"}
    return tuple(Column(f"{group.lower()}_{k}", titles.get(k, k), 4, group, "higher") for k in keys)


_DETECTIONS: Final = Column("n_detections", "Detections", 0)
_RECORDINGS: Final = Column("n_recordings", "Recordings", 0, help="Recordings that the figures are on.")

TABLE_COLUMNS: Final[Mapping[Track, tuple[Column, ...]]] = {
    "A": (
        *_group("Macro", ("mAP", "AP25", "AP50", "AP75")),
        *_group("Micro", ("mAP", "AP50")),
        _DETECTIONS,
    ),
    "B": (
        *_group("Macro", ("mAP", "AP25", "AP50", "AP75", "pearson_r")),
        *_group("Micro", ("mAP", "AP25", "AP50", "AP75", "pearson_r")),
    ),
}
"""Columns of the report's Table 1 (Track A) and Table 2 (Track B)."""

TABLE_TITLES: Final[Mapping[Track, str]] = {
    "A": "Table 1 · Track A, audio only",
    "B": "Table 2 · Track B, audio-visual",
}


def table_columns(track: Track, revision: Revision) -> tuple[Column, ...]:
    """Columns of the report's Table 1 or 2 that a revision has (2026-05-18 has no AP25), or those of 2026-04-02."""
    if not is_soft(revision):
        return COLUMNS_0402
    known = {f"AP{100 * t:.0f}" for t in shown_thresholds(revision)}
    return tuple(c for c in TABLE_COLUMNS[track] if c.title in known or not c.title.startswith("AP"))


COLUMNS_0402: Final[tuple[Column, ...]] = (
    Column("macro_mAP", "mask mAP", 4, "", "higher", "COCO mask AP, mean over IoU 0.50 to 0.95 and classes."),
    Column("macro_AP50", "mask AP50", 4, "", "higher", "COCO mask AP at IoU 0.50, mean over classes."),
    Column("micro_pearson_r", "Pearson r", 4, "", "higher", "Mean over all matched pairs."),
    Column("micro_distance_mape", "Distance error %", 2, "", "lower", "Official: a missing distance counts as 100 %."),
    _DETECTIONS,
)
"""Columns of the evaluator of 2026-04-02."""

EXTRA_COLUMNS: Final[tuple[Column, ...]] = (
    Column("agnostic_mAP", "Agnostic AP", 4, "Diagnostics", "higher", "Class-agnostic: all classes merged into one."),
    Column("matched_f1", "Class F1", 4, "Diagnostics", "higher", "Matched-class F1: class of pairs within 20°, macro."),
    _RECORDINGS,
)


def figures_of(system: SystemResult, *, agnostic: Figures | None = None) -> dict[str, float]:
    """Every figure of a system by column key; NaN = undefined."""
    evaluation = system.evaluation
    result: dict[str, float] = {}
    for group, row in (("macro", evaluation.macro), ("micro", evaluation.micro)):
        result[f"{group}_mAP"] = row.mean_ap
        result |= {f"{group}_{name}": value for name, value in evaluation.ap_at(row).items()}
        result[f"{group}_pearson_r"] = row.pearson_r
        result[f"{group}_distance_mape"] = row.distance_mape
    result["n_detections"] = evaluation.micro.n_detections
    result["n_labels"] = evaluation.micro.n_labels
    result["n_recordings"] = len(evaluation.recordings)
    result["agnostic_mAP"] = agnostic.mean_ap if agnostic is not None else math.nan
    result["matched_f1"] = system.class_f1[0]
    return result


def systems_table(
    systems: Sequence[SystemResult],
    *,
    revision: Revision,
    track: Track = "A",
    published: bool = True,
    all_revisions: bool = False,
    agnostic: Mapping[str, Figures | None] | None = None,
    simulated: bool = False,
) -> Table:
    """The report's Table 1 or 2 for the systems at hand, published rows below them.

    Parameters
    ----------
    systems : sequence of SystemResult
        All of ``revision``. A system whose name tells the other track is left out, except by 2026-04-02.
    revision : str
        2026-04-02 has a table of its own, for both tracks.
    track : {"A", "B"}
    published : bool
        Add the published rows of this revision.
    all_revisions : bool
        Add published rows of the other revisions too, each with its revision in its name: not comparable.
    agnostic : mapping of str to Figures
        Class-agnostic figures by system, where they are known.
    simulated : bool
        The recordings are; said in the note.
    """
    soft = is_soft(revision)
    columns = (*table_columns(track, revision), *EXTRA_COLUMNS)
    rows: list[str] = []
    sources: list[Source] = []
    figures: list[Mapping[str, float]] = []
    for system in systems:
        if soft and track_of_name(system.name) not in (None, track):
            continue
        rows.append(system.name)
        sources.append("measured")
        figures.append(figures_of(system, agnostic=(agnostic or {}).get(system.name)))
    published_figures = published_rows(track, None if all_revisions else revision) if published else ()
    for row in sorted(published_figures, key=lambda r: r.revision != revision):
        rows.append(row.label(revision))
        sources.append("published")
        figures.append(row.figures)
    notes = []
    if published_figures:
        notes.append(CAVEAT)
    if any(row.revision != revision for row in published_figures):
        notes.append("Figures of different revisions of the evaluator are not comparable.")
    if any(row.inferred for row in published_figures):
        notes.append("The report does not name its evaluator; 2026-05-28 follows from its figures and dates.")
    if simulated:
        notes.append("The recordings are simulated.")
    values = np.array([[f.get(c.key, math.nan) for c in columns] for f in figures]).reshape(len(rows), len(columns))
    title = f"{TABLE_TITLES[track]} · revision {revision}" if soft else f"Systems · revision {revision}"
    return Table(title, " ".join(notes), "System", tuple(rows), tuple(sources), columns, values)


_PLACE_COLUMNS: Final[tuple[Column, ...]] = (
    Column("angle_deg", "Angle °", 1, "", "lower", "Mean angle between strongest points of pairs within 20°."),
    Column("distance_cm", "Distance cm", 1, "", "lower", "Mean absolute distance error of the same pairs."),
)
_MAPE: Final = Column("distance_mape", "Distance %", 1, "", "lower", "Mean absolute percentage error of distance.")
_MAPE_0402: Final = Column(
    "official_mape", "Distance %", 1, "", "lower", "Official error of 2026-04-02: a missing distance counts as 100 %."
)


def ap_columns(revision: Revision) -> tuple[Column, ...]:
    """AP columns of a revision, the mean last."""
    keys = [*(f"AP{100 * t:.0f}" for t in shown_thresholds(revision)), "mAP"]
    return tuple(Column(key, key, 4, "", "higher") for key in keys)


def class_columns(revision: Revision, *, intervals: bool = False) -> tuple[Column, ...]:
    """Columns of the per-class table."""
    columns = [Column("n_labels", "Labels", 0), Column("n_detections", "Detections", 0), *ap_columns(revision)]
    if intervals:
        columns += [Column("mAP_low", "95 % from", 4), Column("mAP_high", "to", 4)]
    columns += [Column("pearson_r", "Pearson r", 4, "", "higher"), Column("n_pairs", "Pairs", 0), *_PLACE_COLUMNS]
    return (*columns, _MAPE if is_soft(revision) else _MAPE_0402)


def class_table(system: SystemResult, *, bootstrap: BootstrapResult | None = None) -> Table:
    """Per-class table with macro and micro rows.

    Parameters
    ----------
    system : SystemResult
    bootstrap : BootstrapResult, optional
        Of the same recordings; adds 95 % intervals of the mAP.
    """
    evaluation = system.evaluation
    columns = class_columns(system.revision, intervals=bootstrap is not None)
    per_class, overall = system.errors_of_place
    macro_place = {
        key: _mean([getattr(p, name) for p in per_class])
        for key, name in (("angle_deg", "mean_deg"), ("distance_cm", "mean_abs_cm"), ("distance_mape", "mape"))
    }
    rows = [
        _class_values(figures, place, evaluation.thresholds)
        for figures, place in zip(evaluation.per_class, per_class, strict=True)
    ]
    rows.append(_class_values(evaluation.macro, None, evaluation.thresholds) | macro_place)
    rows.append(_class_values(evaluation.micro, overall, evaluation.thresholds))
    if bootstrap is not None:
        for k in range(N_CLASSES):
            rows[k]["mAP_low"], rows[k]["mAP_high"] = _percentiles(bootstrap.per_class_map[:, k])
        for k, name in ((N_CLASSES, "macro"), (N_CLASSES + 1, "micro")):
            interval = bootstrap.interval("mAP", row=name)
            rows[k]["mAP_low"], rows[k]["mAP_high"] = interval.low, interval.high
    values = np.array([[row.get(c.key, math.nan) for c in columns] for row in rows])
    n = len(system.results)
    note = (
        "Angle and distance: pairs of one class within 20 degrees. A class without labels is undefined (–) and left "
        "out of macro."
    )
    if leaves_out_absent_classes(system.revision):
        note += " So is a class without detections, as by this revision."
    if bootstrap is not None:
        note += f" Intervals: bootstrap over {n} recordings, {len(bootstrap.macro)} resamples."
    return Table(
        f"{system.name} · per class · revision {system.revision} · {n} recording{'' if n == 1 else 's'}",
        note,
        "Class",
        (*CLASS_NAMES, "macro", "micro"),
        (_MEASURED,) * (N_CLASSES + 2),
        columns,
        values,
        summary_rows=2,
    )


def _class_values(figures: Figures, place: PairErrors | None, thresholds: Sequence[float]) -> dict[str, float]:
    values: dict[str, float] = {
        "n_labels": figures.n_labels,
        "n_detections": figures.n_detections,
        "mAP": figures.mean_ap,
        "pearson_r": figures.pearson_r,
        "n_pairs": figures.n_pairs,
        "official_mape": figures.distance_mape,
    }
    values |= {f"AP{100 * t:.0f}": v for t, v in zip(thresholds, figures.ap, strict=True)}
    if place is not None:
        values |= {"angle_deg": place.mean_deg, "distance_cm": place.mean_abs_cm, "distance_mape": place.mape}
    return values


def _mean(values: Sequence[float]) -> float:
    defined = [v for v in values if not math.isnan(v)]
    return float(np.mean(defined)) if defined else math.nan


def _percentiles(samples: Float64) -> tuple[float, float]:
    known = samples[~np.isnan(samples)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def recordings_table(system: SystemResult, *, threshold: float = 0.5) -> Table:
    """Figures of each recording by itself, misses and false positives at an IoU threshold, and the whole set below."""
    revision = system.revision
    at = f"IoU {threshold:g}"
    columns = (
        Column("n_labels", "Labels", 0),
        Column("n_detections", "Detections", 0),
        Column("missed", "Missed", 0, "", "lower", f"Labels that no detection reaches at {at}."),
        Column("false_positives", "False pos.", 0, "", "lower", f"Detections that are no true positive at {at}."),
        *(Column(f"macro_{c.key}", c.title, c.digits, "Macro", c.better) for c in ap_columns(revision)),
        Column("macro_pearson_r", "Pearson r", 4, "Macro", "higher"),
        *_PLACE_COLUMNS,
        _MAPE if is_soft(revision) else _MAPE_0402,
    )
    parts = [system.only({name}) for name in system.recordings]
    rows = []
    for part in (*parts, system):
        counts = count_errors(part.scores, threshold=threshold)
        figures = merge(part.scores)
        place = part.errors_of_place[1]
        row = {f"macro_{k}": v for k, v in _class_values(figures.macro, None, figures.thresholds).items()}
        row |= {
            "n_labels": figures.micro.n_labels,
            "n_detections": figures.micro.n_detections,
            "missed": int(counts.missed.sum()),
            "false_positives": int(counts.false_positives.sum()),
            "angle_deg": place.mean_deg,
            "distance_cm": place.mean_abs_cm,
            "distance_mape": place.mape,
            "official_mape": figures.micro.distance_mape,
        }
        rows.append(row)
    values = np.array([[row.get(c.key, math.nan) for c in columns] for row in rows])
    names = (*system.recordings, "all recordings")
    return Table(
        f"{system.name} · per recording · revision {revision}",
        "Macro figures of a recording are over the classes that it has labels of.",
        "Recording",
        names,
        (_MEASURED,) * len(names),
        columns,
        values,
        summary_rows=1,
    )


def difference_table(
    first: SystemResult,
    second: SystemResult,
    *,
    samples: tuple[BootstrapResult, BootstrapResult] | None = None,
) -> Table:
    """Two systems class by class, on the recordings that both have, with differences (second minus first).

    Parameters
    ----------
    first, second : SystemResult
        Of one revision.
    samples : pair of BootstrapResult, optional
        Of exactly the common recordings, drawn with one seed: paired intervals of the difference of the mAP.

    Raises
    ------
    InputError
        Different revisions, or no recording in common.
    """
    if first.revision != second.revision:
        raise InputError("Both systems must be scored by one revision.")
    common = frozenset(first.recordings) & frozenset(second.recordings)
    if not common:
        raise InputError(f"{first.name} and {second.name} have no scored recording in common.")
    tables = [class_table(s.only(common)) for s in (first, second)]
    compared = [Column("mAP", "mAP", 4), Column("AP50", "AP50", 4), Column("pearson_r", "Pearson r", 4)]
    compared += [Column("n_detections", "Detections", 0), Column("angle_deg", "Angle °", 1)]
    columns: list[Column] = []
    values: list[Float64] = []
    for column in compared:
        position = [c.key for c in tables[0].columns].index(column.key)
        pair = [t.values[:, position] for t in tables]
        for suffix, title, data in (
            ("first", "A", pair[0]),
            ("second", "B", pair[1]),
            ("delta", "Δ", pair[1] - pair[0]),
        ):
            columns.append(Column(f"{column.key}.{suffix}", title, column.digits, column.title))
            values.append(data)
        if column.key == "mAP" and samples is not None:
            low, high = _paired_intervals(*samples)
            columns += [Column("mAP.low", "95 % from", 4, "mAP"), Column("mAP.high", "to", 4, "mAP")]
            values += [low, high]
    n = len(common)
    note = f"A = {first.name}, B = {second.name}, Δ = B minus A, on {n} common recording{'' if n == 1 else 's'}."
    if samples is not None:
        note += f" Intervals of Δ mAP: paired bootstrap over recordings, {len(samples[0].macro)} resamples."
    return Table(
        f"{first.name} and {second.name} · revision {first.revision}",
        note,
        "Class",
        tables[0].rows,
        tables[0].sources,
        tuple(columns),
        np.stack(values, axis=1),
        summary_rows=2,
    )


def _paired_intervals(first: BootstrapResult, second: BootstrapResult) -> tuple[Float64, Float64]:
    """95 % intervals of the difference of mAP, shape (15,): classes, macro, micro."""
    if first.macro.shape != second.macro.shape or first.evaluation.recordings != second.evaluation.recordings:
        raise InputError("A paired bootstrap needs the same recordings and resamples on both sides.")
    column = len(first.evaluation.thresholds)
    stacks = [np.column_stack([b.per_class_map, b.macro[:, column], b.micro[:, column]]) for b in (first, second)]
    intervals = [_percentiles(samples) for samples in (stacks[1] - stacks[0]).T]
    return np.array([low for low, _ in intervals]), np.array([high for _, high in intervals])


def to_csv(table: Table) -> str:
    """Table as CSV, full precision, undefined empty; the first two columns are the row and its source.

    Text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([table.row_title.lower(), "source", *(c.key for c in table.columns)])
    for name, source, row in zip(table.rows, table.sources, table.values.tolist(), strict=True):
        cells = [
            "" if math.isnan(v) else f"{v:.0f}" if c.digits == 0 else repr(v)
            for c, v in zip(table.columns, row, strict=True)
        ]
        writer.writerow([f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name, source, *cells])
    return stream.getvalue()


_LATEX: Final[Mapping[str, str]] = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "°": r"\textdegree{}",
    "Δ": r"$\Delta$",
    "–": "--",
    "·": r"\textperiodcentered{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def latex_escape(text: str) -> str:
    """Text that LaTeX typesets as it is; line ends and other control characters become spaces."""
    plain = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    return "".join(_LATEX.get(character, character) for character in plain)


def to_latex(table: Table) -> str:
    """Table for a paper: the best measured figure of a column in bold, published rows marked.

    Its first line names the package that it needs (booktabs).
    """
    n = len(table.columns)
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_escape(table.title)}. {latex_escape(table.note)}}}".replace(". }", ".}"),
        rf"\begin{{tabular}}{{l{'r' * n}}}",
        r"\toprule",
    ]
    lines += _latex_head(table)
    best = {c: table.best(c) for c in range(n)}
    for k, (name, source) in enumerate(zip(table.rows, table.sources, strict=True)):
        starts_published = source == "published" and (k == 0 or table.sources[k - 1] == "measured")
        starts_summary = table.summary_rows and k == len(table.rows) - table.summary_rows
        if k and (starts_published or starts_summary):
            lines.append(r"\midrule")
        cells = [latex_escape(name) + (r" \emph{(published)}" if source == "published" else "")]
        for c in range(n):
            text = latex_escape(table.text(k, c, dash="–"))
            text = rf"${text}$" if text.startswith("-") and text != "--" else text
            cells.append(rf"\textbf{{{text}}}" if k in best[c] else text)
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)


def _latex_head(table: Table) -> list[str]:
    """Column headings, groups above them."""
    lines = []
    if any(c.group for c in table.columns):
        cells, rules, start = [""], [], 0
        while start < len(table.columns):
            group = table.columns[start].group
            stop = start + 1
            while stop < len(table.columns) and table.columns[stop].group == group:
                stop += 1
            cells.append(rf"\multicolumn{{{stop - start}}}{{c}}{{{latex_escape(group)}}}")
            if group:
                rules.append(rf"\cmidrule(lr){{{start + 2}-{stop + 1}}}")
            start = stop
        lines += [" & ".join(cells) + r" \\", " ".join(rules)]
    lines.append(" & ".join([latex_escape(table.row_title), *(latex_escape(c.title) for c in table.columns)]) + r" \\")
    lines.append(r"\midrule")
    return lines

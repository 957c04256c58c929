"""Tables of the tuning page as data frames."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import streamlit as st

from sai_core.metrics import Evaluation, Figures
from sai_core.metrics.reading.tables import Table
from sai_core.postprocess import PipelineSettings
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES
from sai_core.tuning import Calibration, ThresholdSearch
from sai_core.tuning.calibration import FIGURES

_AP = ("AP25", "AP50", "AP75")


def _rows(evaluation: Evaluation) -> list[Figures]:
    """Average rows, then classes that have labels or detections."""
    used = [row for row in evaluation.per_class if row.n_labels or row.n_detections]
    return [evaluation.macro, evaluation.micro, *used]


def _difference(now: float, then: float) -> float:
    return now - then if not (math.isnan(now) or math.isnan(then)) else math.nan


def class_table(now: Evaluation, saved: Evaluation, settings: PipelineSettings) -> pd.DataFrame:
    """Figures of each class with the change against the saved system."""
    then = {row.name: row for row in (saved.macro, saved.micro, *saved.per_class)}
    threshold = {CLASS_NAMES[c]: settings.min_score_per_class.get(c, settings.min_score) for c in range(N_CLASSES)}
    # classes that only the saved system has detections of
    names = {row.name for row in _rows(now)} | {row.name for row in _rows(saved)}
    out = []
    for row in (now.macro, now.micro, *now.per_class):
        if row.name not in names:
            continue
        before = then[row.name]
        out.append(
            {
                "": row.name,
                "from": threshold.get(row.name, math.nan),
                "labels": row.n_labels,
                "detections": row.n_detections,
                "Δ det.": row.n_detections - before.n_detections,
                "mAP": row.mean_ap,
                "Δ mAP": _difference(row.mean_ap, before.mean_ap),
                **dict(zip(_AP, row.ap, strict=True)),
                "Pearson": row.pearson_r,
            }
        )
    return pd.DataFrame(out)


def _marked(value: Any) -> str:
    """Colour of a change; readable on both themes."""
    text = str(value)
    if text.startswith("+"):
        return "color: #1a9c55"
    return "color: #df4440" if text.startswith("−") else ""


def _shown(table: pd.DataFrame, forms: dict[str, str], *, changes: tuple[str, ...], bold: int = 0) -> None:
    """Show a table of numbers as text: nothing where there is no change, a dash where there is no figure."""
    text = table.astype(object).copy()
    for name in table.columns[1:]:
        text[name] = [_text(v, forms.get(name, "{:,.0f}"), change=name.startswith("Δ")) for v in table[name]]
    styled = text.style.map(_marked, subset=list(changes))
    styled = styled.apply(lambda row: ["font-weight: 600" if row.name < bold else ""] * len(row), axis=1)
    st.dataframe(
        styled,
        hide_index=True,
        width="stretch",
        height="content",
        column_config={name: st.column_config.TextColumn(alignment="right") for name in table.columns[1:]},
    )


def _text(value: float, form: str, *, change: bool) -> str:
    if math.isnan(value):
        return "" if change else "–"
    text = form.format(value).replace("-", "−")
    # what rounds to nothing is no change
    return "" if change and not text.strip("+−0.,") else text


def draw_class_table(table: pd.DataFrame) -> None:
    """Show :func:`class_table`."""
    forms = dict.fromkeys(("mAP", *_AP, "Pearson"), "{:.4f}")
    forms |= {"Δ mAP": "{:+.4f}", "Δ det.": "{:+,.0f}", "from": "{:.3g}"}
    _shown(table, forms, changes=("Δ mAP",), bold=2)


def search_frame(found: ThresholdSearch, settings: PipelineSettings) -> pd.DataFrame:
    """Thresholds before and after, and mAP of each class on both parts."""
    out = []
    rows: list[tuple[str, float, float, Any]] = [
        (
            CLASS_NAMES[c],
            settings.min_score_per_class.get(c, settings.min_score),
            threshold,
            lambda e, c=c: e.per_class[c],
        )
        for c, threshold in found.thresholds.items()
    ]
    rows += [("macro", math.nan, math.nan, lambda e: e.macro), ("micro", math.nan, math.nan, lambda e: e.micro)]
    for name, before, after, of in rows:
        searched, held = found.searched, found.held_out
        out.append(
            {
                "": name,
                "threshold before": before,
                "after": after,
                "mAP searched": of(searched.after).mean_ap,
                "Δ searched": _difference(of(searched.after).mean_ap, of(searched.before).mean_ap),
                "mAP held out": of(held.after).mean_ap,
                "Δ held out": _difference(of(held.after).mean_ap, of(held.before).mean_ap),
            }
        )
    return pd.DataFrame(out)


def draw_search_frame(table: pd.DataFrame) -> None:
    """Show :func:`search_frame`."""
    forms = {"threshold before": "{:.3g}", "after": "{:.3g}", "mAP searched": "{:.4f}", "mAP held out": "{:.4f}"}
    forms |= {"Δ searched": "{:+.4f}", "Δ held out": "{:+.4f}"}
    _shown(table, forms, changes=("Δ searched", "Δ held out"))


def calibration_frame(found: Calibration) -> pd.DataFrame:
    """Figures of the held-out part before and after, with intervals of the change."""
    out = []
    for name, change in found.held_out.changes.items():
        low, high = change.difference[1:]
        spread = "" if math.isnan(low) else f"{low:+.4f} to {high:+.4f}".replace("-", "−")
        before, after, difference = (_text(v[0], "{:.4f}", change=False) for v in vars(change).values())
        if not math.isnan(change.difference[0]):
            difference = _text(change.difference[0], "{:+.4f}", change=False)
        out.append({"": FIGURES[name], "before": before, "after": after, "change": difference, "95 %": spread})
    return pd.DataFrame(out)


def draw_calibration_frame(table: pd.DataFrame) -> None:
    """Show :func:`calibration_frame`; no colours, since for some figures less is better."""
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        height="content",
        column_config={name: st.column_config.TextColumn(alignment="right") for name in table.columns[1:]},
    )


def draw_fusion_frame(table: Table) -> None:
    """Show what a search for weights found."""
    columns = [f"{c.group} {c.title}".strip() for c in table.columns]
    cells = [[table.text(k, c) for c in range(len(columns))] for k in range(len(table.rows))]
    frame = pd.DataFrame(cells, columns=columns)
    frame.insert(0, "", table.rows)
    bold = len(table.rows) - 1
    st.dataframe(
        frame.style.apply(lambda row: ["font-weight: 600" if row.name == bold else ""] * len(row), axis=1),
        hide_index=True,
        width="stretch",
        height="content",
        column_config={name: st.column_config.TextColumn(alignment="right") for name in columns},
    )


def compare_frame(a: Evaluation, b: Evaluation, names: tuple[str, str]) -> pd.DataFrame:
    """Figures of two systems side by side, and the second's minus the first's."""
    first, second = names if names[0] != names[1] else (names[0], f"{names[1]} again")
    out = []
    for title, of in (
        ("macro mAP", lambda e: e.macro.mean_ap),
        ("macro AP25", lambda e: e.macro.ap[0]),
        ("macro AP50", lambda e: e.macro.ap[1]),
        ("macro AP75", lambda e: e.macro.ap[2]),
        ("macro Pearson", lambda e: e.macro.pearson_r),
        ("micro mAP", lambda e: e.micro.mean_ap),
        ("micro AP50", lambda e: e.micro.ap[1]),
        ("detections", lambda e: float(e.micro.n_detections)),
    ):
        out.append({"": title, first: of(a), second: of(b), "difference": _difference(of(b), of(a))})
    return pd.DataFrame(out)


def draw_compare_frame(table: pd.DataFrame) -> None:
    """Show :func:`compare_frame`."""
    text = table.astype(object).copy()
    for name in table.columns[1:]:
        sign = "+" if name == "difference" else ""
        text[name] = [
            _text(v, f"{{:{sign},.0f}}" if row == "detections" else f"{{:{sign}.4f}}", change=bool(sign))
            for row, v in zip(table[""], table[name], strict=True)
        ]
    st.dataframe(
        text.style.map(_marked, subset=["difference"]),
        hide_index=True,
        width="stretch",
        column_config={name: st.column_config.TextColumn(alignment="right") for name in table.columns[1:]},
    )

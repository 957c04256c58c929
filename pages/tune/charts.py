"""Charts of the tuning page. Marks that can be clicked carry what they stand for in ``customdata``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from pages.components.plotting import ground_color, styled, text_color
from pages.components.text import chart_text
from sai_core.metrics import Evaluation
from sai_core.metrics.reading.calibration import ReliabilityCurve
from sai_core.taxonomy import CLASS_COLORS, N_CLASSES, SHORT_NAMES
from sai_core.tuning import Curve, HeatMap

_LEGEND: Final[dict[str, Any]] = {"bgcolor": "rgba(0,0,0,0)", "itemclick": "toggleothers", "itemdoubleclick": "toggle"}


def _layout(figure: Any, *, height: int, legend: bool = False) -> Any:
    styled(figure, height=height, legend=legend)
    return figure.update_layout(legend=_LEGEND, hovermode="closest")


def curves_chart(
    curves: Sequence[Curve], points: dict[int, tuple[float, float]], *, thresholds: dict[int, float], height: int
) -> Any:
    """Precision over recall of each class; large marks where the system stands.

    Parameters
    ----------
    curves : sequence of Curve
    points : dict of int to (float, float)
        Recall and precision of what is kept of each class.
    thresholds : dict of int to float
        Threshold of each class, for the hover text.
    height : int
    """
    figure = go.Figure()
    for curve in curves:
        c = curve.category_id
        figure.add_scatter(
            x=curve.recall,
            y=curve.precision,
            mode="lines+markers",
            name=SHORT_NAMES[c],
            legendgroup=str(c),
            line={"color": CLASS_COLORS[c], "width": 2},
            marker={"size": 6, "color": CLASS_COLORS[c], "opacity": 0.55},
            customdata=[[c, float(s)] for s in curve.score],
            hovertemplate="%{fullData.name}<br>threshold %{customdata[1]:.3f}<br>"
            "recall %{x:.3f}, precision %{y:.3f}<extra></extra>",
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 0.55}},
        )
    for c, (recall, precision) in points.items():
        figure.add_scatter(
            x=[recall],
            y=[precision],
            mode="markers",
            name=SHORT_NAMES[c],
            legendgroup=str(c),
            showlegend=False,
            marker={"size": 15, "color": CLASS_COLORS[c], "line": {"color": text_color(), "width": 2}},
            hovertemplate=f"{SHORT_NAMES[c]}, current threshold {thresholds[c]:g}<br>"
            "recall %{x:.3f}, precision %{y:.3f}<extra></extra>",
            hoverinfo="text",
            selectedpoints=None,
        )
    _layout(figure, height=height, legend=True)
    figure.update_xaxes(title="Recall", range=[0, 1.02])
    figure.update_yaxes(title="Precision", range=[0, 1.04])
    return figure


def reliability_chart(before: ReliabilityCurve, after: ReliabilityCurve, *, height: int) -> Any:
    """Precision against mean score of each bin, before and after, and the line on which scores say what they mean."""
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": text_color(), "width": 1, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
    for curve, name, color in ((before, "before", "#8a93a6"), (after, "after", "#1a9c55")):
        there = curve.count > 0
        figure.add_scatter(
            x=curve.mean_score[there],
            y=curve.precision[there],
            mode="lines+markers",
            name=name,
            line={"color": color, "width": 2},
            customdata=curve.count[there],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": (curve.high - curve.precision)[there],
                "arrayminus": (curve.precision - curve.low)[there],
                "thickness": 1,
            },
            hovertemplate=f"{name}<br>score %{{x:.3f}}, precision %{{y:.3f}}<br>%{{customdata:,}} detections"
            "<extra></extra>",
        )
    _layout(figure, height=height, legend=True)
    figure.update_xaxes(title="Score", range=[0, 1.02])
    figure.update_yaxes(title="Precision (IoU 0.50)", range=[0, 1.04])
    return figure


def heat_chart(heat: HeatMap, *, average: str, at: tuple[float, float], height: int) -> Any:
    """MAP over score threshold and NMS IoU; a ring where the system stands, ``at`` (score, IoU)."""
    values = heat.macro_map if average == "macro" else heat.micro_map
    columns, rows = [f"{v:g}" for v in heat.min_scores], [f"{v:g}" for v in heat.nms_ious]
    figure = go.Figure()
    figure.add_heatmap(
        z=values,
        x=columns,
        y=rows,
        colorscale="Viridis",
        xgap=2,
        ygap=2,
        text=np.where(np.isnan(values), "–", np.char.mod("%.3f", values)),
        texttemplate="%{text}",
        textfont={"size": 11},
        colorbar={"title": "mAP", "outlinewidth": 0, "thickness": 12},
        hoverinfo="skip",
    )
    # Streamlit does not report clicks on a heat map, but those on marks, however faint
    grid = [(r, c) for r in range(len(rows)) for c in range(len(columns))]
    figure.add_scatter(
        x=[columns[c] for _, c in grid],
        y=[rows[r] for r, _ in grid],
        mode="markers",
        marker={"size": 30, "symbol": "square", "color": "rgba(0,0,0,0.004)"},
        customdata=[[heat.min_scores[c], heat.nms_ious[r]] for r, c in grid],
        text=[
            f"score {columns[c]}, NMS IoU {rows[r]}<br>mAP {values[r, c]:.4f}, {heat.n_detections[r, c]:,} detections"
            for r, c in grid
        ],
        hovertemplate="%{text}<extra></extra>",
        unselected={"marker": {"opacity": 1}},
    )
    if not np.isnan(values).all():
        best = np.unravel_index(int(np.nanargmax(values)), values.shape)
        figure.add_scatter(
            x=[columns[int(best[1])]],
            y=[rows[int(best[0])]],
            mode="markers",
            marker={"size": 34, "symbol": "square-open", "color": "#10131a", "line": {"width": 2.5}},
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=[f"{at[0]:g}"],
        y=[f"{at[1]:g}"],
        mode="markers",
        marker={"size": 26, "symbol": "circle-open", "color": "#ff5c7a", "line": {"width": 3}},
        hoverinfo="skip",
    )
    _layout(figure, height=height)
    figure.update_xaxes(title="Score threshold", type="category", categoryarray=columns, showgrid=False)
    figure.update_yaxes(title="NMS IoU", type="category", categoryarray=rows, showgrid=False)
    return figure


def compare_chart(a: Evaluation, b: Evaluation, names: tuple[str, str], *, height: int) -> Any:
    """Bars of each class's mAP for two systems; the first hollow, the second filled."""
    rows = [c for c in range(N_CLASSES) if not math.isnan(a.per_class[c].mean_ap)]
    figure = go.Figure()
    for evaluation, name, filled in ((a, names[0], False), (b, names[1], True)):
        figure.add_bar(
            x=[SHORT_NAMES[c] for c in rows],
            y=[evaluation.per_class[c].mean_ap for c in rows],
            name=chart_text(name),
            marker={
                "color": [CLASS_COLORS[c] if filled else ground_color() for c in rows],
                "line": {"color": [CLASS_COLORS[c] for c in rows], "width": 2},
            },
            hovertemplate="%{x}: %{y:.4f}<extra>%{fullData.name}</extra>",
        )
    _layout(figure, height=height)
    figure.update_layout(barmode="group", bargap=0.3, bargroupgap=0.08)
    figure.update_yaxes(title="mAP", rangemode="tozero")
    return figure

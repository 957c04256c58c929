"""Charts of the scores page. Every mark that can be clicked carries what it stands for in ``customdata``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from pages.components.plotting import GREY, is_dark, styled, text_color
from pages.components.text import chart_text, percent
from sai_core.metrics.official.published import PublishedRow
from sai_core.metrics.official.revisions import Revision
from sai_core.metrics.reading.budget import (
    ERROR_KINDS,
    KIND_MEANINGS,
    KIND_TITLES,
    REST_MEANING,
    Budget,
)
from sai_core.metrics.reading.calibration import ReliabilityCurve, curve_points
from sai_core.metrics.reading.diagnostics import Interval, PrecisionRecallCurve
from sai_core.metrics.reading.slices import SliceFigures
from sai_core.metrics.reading.tables import Table
from sai_core.taxonomy import CLASS_COLORS, CLASS_NAMES, N_CLASSES, SHORT_NAMES

_BLUE: Final[str] = "#2f7ed8"
_ORANGE: Final[str] = "#d9730d"


def class_bars(table: Table, *, height: int) -> Any:
    """Bar of each class's mAP with its interval; rows in the order of the table."""
    keys = [c.key for c in table.columns]
    value = table.values[:N_CLASSES, keys.index("mAP")]
    rows = [c for c in range(N_CLASSES) if not np.isnan(value[c])]
    figure = go.Figure()
    error = None
    if "mAP_low" in keys:
        low, high = (table.values[rows, keys.index(k)] for k in ("mAP_low", "mAP_high"))
        error = {
            "type": "data",
            "symmetric": False,
            "array": np.nan_to_num(high - value[rows]),
            "arrayminus": np.nan_to_num(value[rows] - low),
            "color": text_color(),
            "thickness": 1.2,
            "width": 3,
        }
    figure.add_bar(
        x=value[rows],
        y=[SHORT_NAMES[c] for c in rows],
        orientation="h",
        marker={"color": [CLASS_COLORS[c] for c in rows], "line": {"width": 0}},
        error_x=error,
        customdata=[[c] for c in rows],
        hovertemplate="%{y}: %{x:.4f}<extra></extra>",
        unselected={"marker": {"opacity": 0.45}},
    )
    averages = [float(table.values[table.rows.index(name), keys.index("mAP")]) for name in ("macro", "micro")]
    macro_is_left = not averages[0] > averages[1]
    for key, dash in (("macro", "solid"), ("micro", "dot")):
        row = table.rows.index(key)
        mean = float(table.values[row, keys.index("mAP")])
        if mean == mean:
            figure.add_vline(x=mean, line={"color": GREY, "width": 1.5, "dash": dash})
            left = key == "macro"
            figure.add_annotation(
                x=mean, y=1.0, yref="paper", yanchor="bottom", text=key, showarrow=False, font={"size": 11},
                xanchor="right" if left == macro_is_left else "left",
            )  # fmt: skip
    styled(figure, height=height, top=24)
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    figure.update_xaxes(title="mAP, 95 % interval" if error else "mAP", rangemode="tozero")
    return figure


def system_dots(
    names: Sequence[str],
    intervals: Sequence[Interval],
    published: Sequence[PublishedRow],
    revision: Revision,
    *,
    height: int,
) -> Any:
    """Macro mAP of each system with its interval, published ones as hollow diamonds."""
    figure = go.Figure()
    labels = [chart_text(label) for label in (*names, *(row.label(revision) for row in published))]
    value = np.array([i.value for i in intervals])
    low, high = np.array([i.low for i in intervals]), np.array([i.high for i in intervals])
    figure.add_scatter(
        x=value,
        y=list(range(len(names))),
        mode="markers",
        marker={"size": 11, "color": _BLUE},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": np.nan_to_num(high - value),
            "arrayminus": np.nan_to_num(value - low),
            "color": _BLUE,
            "thickness": 1.6,
            "width": 4,
        },
        name="yours, 95 % interval",
        customdata=[[name] for name in names],
        text=labels[: len(names)],
        hovertemplate="%{text}: %{x:.4f}<extra></extra>",
        unselected={"marker": {"opacity": 0.5}},
    )
    figure.add_scatter(
        x=[row.figures["macro_mAP"] for row in published],
        y=list(range(len(names), len(labels))),
        mode="markers",
        name="published",
        marker={"size": 10, "symbol": "diamond-open", "color": GREY, "line": {"width": 1.6}},
        hovertemplate=[
            f"{row.system}, {row.data}: %{{x:.4f}}<extra>published, {row.revision}</extra>" for row in published
        ],
        customdata=[["", row.source] for row in published],
        unselected={"marker": {"opacity": 1}},
    )
    styled(figure, height=height, legend=True)
    figure.update_layout(legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "font": {"size": 11}})
    figure.update_yaxes(
        tickvals=list(range(len(labels))), ticktext=labels, range=[len(labels) - 0.5, -0.5], showgrid=False, ticks=""
    )
    figure.update_xaxes(title="Macro mAP", rangemode="tozero")
    return figure


def curves(
    per_class: dict[int, PrecisionRecallCurve], pooled: PrecisionRecallCurve | None, *, chosen: int | None, height: int
) -> Any:
    """Precision-recall curves: one line a class, all classes pooled as a dashed line; a chosen class stands out."""
    figure = go.Figure()
    lines: list[tuple[int | None, PrecisionRecallCurve, str, str]] = [
        (c, curve, CLASS_NAMES[c], CLASS_COLORS[c]) for c, curve in per_class.items()
    ]
    if pooled is not None:
        lines.append((None, pooled, "all pooled", text_color()))
    for category, curve, name, color in lines:
        index = curve_points(len(curve.recall))
        faded = chosen is not None and category != chosen
        ap = "–" if np.isnan(curve.average_precision) else f"{curve.average_precision:.3f}"
        figure.add_scatter(
            x=curve.recall[index],
            y=curve.precision[index],
            mode="lines+markers",
            name=f"{name}  {ap}",
            line={"color": color, "width": 1.2 if faded else 2.2, "dash": "dash" if category is None else "solid"},
            marker={"size": 5, "color": color},
            opacity=0.28 if faded else 1.0,
            customdata=[[-1 if category is None else category, s] for s in curve.score[index].tolist()],
            hovertemplate=f"{name}<br>recall %{{x:.3f}}, precision %{{y:.3f}}<br>score ≥ %{{customdata[1]:.3f}}"
            "<extra></extra>",
            unselected={"marker": {"opacity": 0.5}},
            selected={"marker": {"size": 12}},
        )
    styled(figure, height=height, legend=True)
    figure.update_xaxes(title="Recall", range=[-0.01, 1.02], dtick=0.2)
    figure.update_yaxes(title="Precision", range=[-0.01, 1.03], dtick=0.2)
    figure.update_layout(legend={"title": {"text": "AP"}, "y": 1, "x": 1.01, "font": {"size": 11}}, hovermode="closest")
    return figure


def confusion(matrix: npt.NDArray[np.int64], *, shares: bool, height: int) -> Any:
    """Confusion matrix with its margins; colour is the share of the row's labels.

    Cells of a heat map report no clicks, so an invisible square lies on each; the chosen one gets a frame.
    """
    n = N_CLASSES + 1
    used = [c for c in range(N_CLASSES) if matrix[c].sum() or matrix[:, c].sum()]
    order = [*used, N_CLASSES]
    counts = matrix[np.ix_(order, order)]
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    rows = [*(CLASS_NAMES[c] for c in used), "no label (false)"]
    columns = [*(SHORT_NAMES[c] for c in used), "missed"]
    background, strong = ("#10131a", "#5aa2ff") if is_dark() else ("#ffffff", "#1457c0")
    figure = go.Figure()
    figure.add_heatmap(
        z=100 * share,
        x=list(range(len(order))),
        y=list(range(len(order))),
        colorscale=[[0, background], [1, strong]],
        zmin=0,
        zmax=100,
        xgap=2,
        ygap=2,
        hoverinfo="skip",
        colorbar={"title": {"text": "share of row", "side": "right"}, "thickness": 10, "ticksuffix": " %", "len": 0.6},
    )
    cells = [(r, c) for r in range(len(order)) for c in range(len(order)) if (order[r], order[c]) != (n - 1, n - 1)]
    on_strong, on_weak = ("#10131a", "#e6e9ef") if is_dark() else ("#ffffff", "#1b2230")
    figure.add_scatter(
        x=[c for _, c in cells],
        y=[r for r, _ in cells],
        mode="markers+text",
        text=["" if not counts[r, c] else percent(share[r, c]) if shares else f"{counts[r, c]:,}" for r, c in cells],
        textfont={"size": 12, "color": [on_strong if share[r, c] > 0.72 else on_weak for r, c in cells]},
        marker={"size": 26, "symbol": "square-open", "color": _ORANGE, "opacity": 0, "line": {"width": 2.5}},
        customdata=[[order[r], order[c]] for r, c in cells],
        hovertext=[
            f"label: {rows[r]}<br>prediction: {columns[c]}<br>{counts[r, c]:,} ({percent(share[r, c], 1)} of the row)"
            for r, c in cells
        ],
        hovertemplate="%{hovertext}<extra></extra>",
        selected={"marker": {"opacity": 1}, "textfont": {}},
        unselected={"marker": {"opacity": 0}},
    )
    styled(figure, height=height)
    figure.update_xaxes(
        tickvals=list(range(len(order))), ticktext=columns, side="top", tickangle=-35, showgrid=False, ticks="",
        title="Prediction", range=[-0.5, len(order) - 0.5],
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(order))), ticktext=rows, range=[len(order) - 0.5, -0.5], showgrid=False, ticks="",
        title="Label",
    )  # fmt: skip
    for edge in ("h", "v"):
        line = {"color": GREY, "width": 1}
        at = len(order) - 1.5
        (figure.add_hline(y=at, line=line) if edge == "h" else figure.add_vline(x=at, line=line))
    return figure


def reliability(curve: ReliabilityCurve, *, color: str | None, height: int) -> Any:
    """Precision of each bin of scores against its mean score, with the number of detections below."""
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.76, 0.24], vertical_spacing=0.04)
    color = color or _BLUE
    middle, width = (curve.edges[:-1] + curve.edges[1:]) / 2, np.diff(curve.edges) * 0.94
    bins = [[float(low), float(high)] for low, high in zip(curve.edges[:-1], curve.edges[1:], strict=True)]
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dash", "width": 1.2}, hoverinfo="skip",
        row=1, col=1,
    )  # fmt: skip
    figure.add_bar(
        x=middle,
        y=curve.precision,
        width=width,
        marker={"color": color, "opacity": 0.8},
        customdata=bins,
        hovertemplate="score %{customdata[0]:.2f} to %{customdata[1]:.2f}<br>precision %{y:.3f}<extra></extra>",
        unselected={"marker": {"opacity": 0.4}},
        row=1,
        col=1,
    )
    figure.add_scatter(
        x=curve.mean_score,
        y=curve.precision,
        mode="markers",
        marker={"symbol": "diamond", "size": 9, "color": text_color()},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": np.nan_to_num(curve.high - curve.precision),
            "arrayminus": np.nan_to_num(curve.precision - curve.low),
            "color": text_color(),
            "thickness": 1.2,
            "width": 3,
        },
        hovertemplate="mean score %{x:.3f}<br>precision %{y:.3f}<extra></extra>",
        customdata=bins,
        row=1,
        col=1,
    )
    figure.add_bar(
        x=middle,
        y=curve.count,
        width=width,
        marker={"color": GREY},
        customdata=bins,
        hovertemplate="%{y:,} detections<extra></extra>",
        unselected={"marker": {"opacity": 0.4}},
        row=2,
        col=1,
    )
    styled(figure, height=height)
    figure.update_xaxes(range=[0, 1])
    figure.update_xaxes(title="Score", row=2, col=1)
    figure.update_yaxes(title="Precision", range=[0, 1.02], row=1, col=1)
    figure.update_yaxes(title="Detections", row=2, col=1)
    return figure


def budget_path(budget: Budget, *, category: int | None, chosen: str, height: int) -> Any:
    """The mAP as it is, what each kind adds as one after the other is put right, and what is left then."""
    values = [(e.per_class[category] if category is not None else e.macro).mean_ap for e in budget.path]
    steps = [b - a for a, b in pairwise(values)]
    names = ["As it is", *(KIND_TITLES[kind] for kind in ERROR_KINDS), "Extent"]
    base = [0.0, *(min(a, b) for a, b in pairwise(values)), values[-1]]
    size = [values[0], *(abs(step) for step in steps), max(1 - values[-1], 0.0)]
    color = [GREY, *(_BLUE if step >= 0 else _ORANGE for step in steps), "rgba(125, 134, 148, 0.35)"]
    meanings = ["", *(f"{KIND_MEANINGS[kind]}<br>" for kind in ERROR_KINDS), f"{REST_MEANING}<br>"]
    text = [f"{values[0]:.3f}", *(f"{step:+.3f}" for step in steps), f"{1 - values[-1]:+.3f}"]
    figure = go.Figure()
    figure.add_bar(
        x=names,
        y=size,
        base=base,
        marker={
            "color": color,
            "line": {"width": [2 if kind == chosen else 0 for kind in ("", *ERROR_KINDS, "")], "color": text_color()},
        },
        text=text,
        textposition="outside",
        cliponaxis=False,
        customdata=[[""], *([kind] for kind in ERROR_KINDS), [""]],
        hovertext=[f"{meaning}mAP then {value:.4f}" for meaning, value in zip(meanings, [*values, 1.0], strict=True)],
        hovertemplate="%{x}: %{hovertext}<extra></extra>",
        unselected={"marker": {"opacity": 1}},
        width=0.72,
    )
    for k, value in enumerate([*values]):
        figure.add_shape(
            type="line", x0=k + 0.36, x1=k + 0.64, y0=value, y1=value, line={"color": GREY, "width": 1, "dash": "dot"}
        )
    styled(figure, height=height, top=22)
    # beside a table on a small screen the bars are narrower than their names
    figure.update_xaxes(showgrid=False, ticks="", autotickangles=[0, -35])
    figure.update_yaxes(title="mAP as one after the other is put right", range=[0, 1.06], dtick=0.2)
    return figure


def slice_bars(parts: Sequence[SliceFigures], *, height: int) -> Any:
    """Loss of each slice with its interval: orange where it loses, blue where it gains."""
    rows = [k for k, part in enumerate(parts) if not np.isnan(part.loss)]
    loss = np.array([parts[k].loss for k in rows])
    low, high = (np.array([getattr(parts[k], name) for k in rows]) for name in ("loss_low", "loss_high"))
    figure = go.Figure()
    figure.add_bar(
        x=loss,
        y=[chart_text(f"{parts[k].attribute}: {parts[k].value}") for k in rows],
        orientation="h",
        marker={"color": [_ORANGE if value > 0 else _BLUE for value in loss]},
        error_x={
            "type": "data", "symmetric": False, "array": np.nan_to_num(high - loss),
            "arrayminus": np.nan_to_num(loss - low), "color": text_color(), "thickness": 1.2, "width": 3,
        },
        customdata=[[k] for k in rows],
        hovertemplate="%{y}: %{x:+.4f}<extra></extra>",
        unselected={"marker": {"opacity": 0.45}},
    )  # fmt: skip
    styled(figure, height=height)
    figure.add_vline(x=0, line={"color": GREY, "width": 1.5})
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    figure.update_xaxes(title="Loss of mAP, 95 % interval")
    return figure


def differences(table: Table, *, height: int) -> Any:
    """Difference of mAP per class with its interval: blue where the second system is better, orange where worse."""
    keys = [c.key for c in table.columns]
    delta = table.values[:, keys.index("mAP.delta")]
    rows = [k for k in range(len(table.rows)) if not np.isnan(delta[k])]
    error = None
    if "mAP.low" in keys:
        low, high = (table.values[rows, keys.index(k)] for k in ("mAP.low", "mAP.high"))
        error = {
            "type": "data", "symmetric": False, "array": np.nan_to_num(high - delta[rows]),
            "arrayminus": np.nan_to_num(delta[rows] - low), "color": text_color(), "thickness": 1.2, "width": 3,
        }  # fmt: skip
    figure = go.Figure()
    figure.add_bar(
        x=delta[rows],
        y=[SHORT_NAMES[k] if k < N_CLASSES else table.rows[k] for k in rows],
        orientation="h",
        marker={"color": [_BLUE if delta[k] >= 0 else _ORANGE for k in rows]},
        error_x=error,
        customdata=[[k] for k in rows],
        hovertemplate="%{y}: %{x:+.4f}<extra></extra>",
        unselected={"marker": {"opacity": 0.45}},
    )
    styled(figure, height=height)
    figure.add_vline(x=0, line={"color": GREY, "width": 1.5})
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    figure.update_xaxes(title="Δ mAP" + (", paired 95 % interval" if error else ""))
    return figure

"""Charts of the Train page: curves of one run, or of several laid over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.components.text import chart_text
from sai_core.runs.watch import Curve

Axis = Literal["step", "epoch", "hours"]

# at least 3:1 against both backgrounds of .streamlit/config.toml, as lines need it
COLOURS: Final[tuple[str, ...]] = (
    "#3f86f5",
    "#d9742b",
    "#2a9d68",
    "#b455cc",
    "#b58900",
    "#dc4a5c",
    "#1d97a8",
    "#8a7f72",
)
_COLUMNS: Final[int] = 3
_ROW_PX: Final[int] = 200
_GRID: Final[str] = "rgba(128, 138, 155, 0.22)"
_FIRST: Final[tuple[str, ...]] = ("total", "mAP", "AP50", "pearson")
_TITLES: Final[dict[Axis, str]] = {"step": "step", "epoch": "epoch", "hours": "hours"}


def figure(runs: Mapping[str, Sequence[Curve]], *, axis: Axis, log_scale: bool) -> go.Figure | None:
    """One small chart for each score, loss term and the learning rates; training solid, validation dashed.

    Parameters
    ----------
    runs : mapping of name to curves
        The first is the run that is looked at.
    axis : {"step", "epoch", "hours"}
        A curve without epochs is drawn over steps.
    log_scale : bool
        For losses; learning rates are always on a log scale.

    Returns
    -------
    Figure or None
        None when there is no curve yet.
    """
    panels = _panels(runs)
    if not panels:
        return None
    n_rows = -(-len(panels) // _COLUMNS)
    chart = make_subplots(
        rows=n_rows,
        cols=_COLUMNS,
        subplot_titles=[title for title, _ in panels],
        horizontal_spacing=0.055,
        vertical_spacing=min(0.5, 62 / (n_rows * _ROW_PX)),
    )
    shown: set[str] = set()
    several = len(runs) > 1
    for index, (_, lines) in enumerate(panels):
        row, column = divmod(index, _COLUMNS)
        for number, (run, curve) in enumerate(lines):
            name, colour, dash = _look(run, curve, number, list(runs).index(run), several)
            chart.add_trace(
                go.Scatter(
                    x=_x(curve, axis),
                    y=curve.value.astype(np.float32),
                    name=chart_text(name),
                    legendgroup=name,
                    showlegend=name not in shown and curve.part != "rate",
                    # a single value is a point, which a line would not show
                    mode="lines+markers" if len(curve) <= 30 else "lines",
                    line={"color": colour, "width": 1.8, "dash": dash},
                    marker={"size": 4},
                    hovertemplate=f"%{{y:.4g}} at {_TITLES[axis]} %{{x:.5g}}<extra>{chart_text(name)}</extra>",
                ),
                row=row + 1,
                col=column + 1,
            )
            if curve.part != "rate":
                shown.add(name)
        part = lines[0][1].part
        kind = "log" if part == "rate" or (log_scale and part in ("train", "validation")) else "linear"
        chart.update_yaxes(type=kind, row=row + 1, col=column + 1)
        if part == "score":
            chart.update_yaxes(rangemode="tozero", row=row + 1, col=column + 1)
    for column in range(min(_COLUMNS, len(panels))):
        last = (len(panels) - 1 - column) // _COLUMNS
        chart.update_xaxes(title_text=_TITLES[axis], title_standoff=4, row=last + 1, col=column + 1)
    chart.update_xaxes(showgrid=False, zeroline=False, nticks=6, tickfont_size=11)
    chart.update_yaxes(gridcolor=_GRID, zeroline=False, nticks=5, tickfont_size=11, exponentformat="power")
    chart.update_annotations(font_size=13, yshift=4)
    chart.update_layout(
        height=n_rows * _ROW_PX + 70,
        margin={"l": 8, "r": 8, "t": 58, "b": 8},
        legend={"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top", "xanchor": "left"},
        hovermode="closest",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    return chart


def has_epochs(runs: Mapping[str, Sequence[Curve]]) -> bool:
    """Whether every run counts epochs."""
    return all(any(np.isfinite(c.epoch).any() for c in curves) for curves in runs.values() if curves)


def _panels(runs: Mapping[str, Sequence[Curve]]) -> list[tuple[str, list[tuple[str, Curve]]]]:
    """Charts in their order: the total and the scores, further scores, loss terms, rates; else as in the file."""
    found: dict[tuple[int, int, str], list[tuple[str, Curve]]] = {}
    for run, curves in runs.items():
        for curve in curves:
            if curve.part == "rate":
                place = (3, 0, "learning rates")
            elif curve.name in _FIRST:
                place = (0, _FIRST.index(curve.name), curve.name)
            else:
                place = (1 if curve.part == "score" else 2, 0, curve.name)
            found.setdefault(place, []).append((run, curve))
    panels = []
    for place in sorted(found, key=lambda place: place[:2]):
        name, lines = place[2], found[place]
        title = f"loss: {name}" if lines[0][1].part in ("train", "validation") else name
        panels.append((chart_text(title.replace("_", " ")), lines))
    return panels


def _look(run: str, curve: Curve, number: int, place: int, several: bool) -> tuple[str, str, str]:
    """Name in the legend, colour and dash of a line."""
    if curve.part == "rate":
        colour = COLOURS[(place if several else number) % len(COLOURS)]
        return f"{run}: {curve.name}" if several else curve.name, colour, "solid"
    dash = "dot" if curve.part == "validation" else "solid"
    what = {"train": "training", "validation": "validation", "score": "validation"}[curve.part]
    if several:
        solid = curve.part == "score"
        name = run if curve.part == "train" else f"{run}, validation"
        return name, COLOURS[place % len(COLOURS)], "solid" if solid else dash
    return what, COLOURS[0] if curve.part == "train" else COLOURS[1], "solid"


def _x(curve: Curve, axis: Axis) -> np.ndarray:
    if axis == "hours" and np.isfinite(curve.hours).any():
        return curve.hours.astype(np.float32)
    if axis == "epoch" and np.isfinite(curve.epoch).any():
        return curve.epoch.astype(np.float32)
    return curve.step.astype(np.float64)

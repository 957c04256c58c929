"""Charts of a set. Every mark carries what it stands for in ``customdata``: kind and position of its bar."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from pages.components.plotting import GREY, is_dark, styled, text_color
from pages.components.text import percent
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.survey.statistics import EVENT_EDGES, N_PARTS, SetStatistics
from sai_core.survey.summary import BEYOND, CELL_DEG, DISTANCE_STEP_CM, MAX_POLYPHONY, N_COLUMNS, N_ROWS, UNKNOWN
from sai_core.taxonomy import CLASS_COLORS, CLASS_NAMES, N_CLASSES, SHORT_NAMES

_BLUE: Final[str] = "#2f7ed8"
_HEIGHT: Final[int] = 320
Other = tuple[str, SetStatistics]
"""Something beside the labels that are listed: its name and its counts."""

_SYMBOLS: Final[tuple[str, ...]] = ("line-ns-open", "circle-open", "diamond-open")


def _share(counts: npt.NDArray[Any], total: float) -> npt.NDArray[np.float64]:
    return np.asarray(counts, np.float64) / max(total, 1)


def _finish(figure: Any, *, legend: bool, height: int = _HEIGHT) -> Any:
    styled(figure, height=height, legend=legend)
    figure.update_layout(
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
        bargap=0.25,
        barmode="overlay",
    )
    return figure


def _bars(
    names: Sequence[str],
    values: npt.NDArray[np.float64],
    counts: npt.NDArray[Any],
    others: Sequence[tuple[str, npt.NDArray[np.float64]]],
    *,
    kind: str,
    what: str,
    axis: str,
    colors: Sequence[str] | str = _BLUE,
    horizontal: bool = False,
    positions: Sequence[int] | None = None,
) -> Any:
    """Bars of what is listed, with a mark on each for every other set."""
    figure = go.Figure()
    at = list(range(len(names)))
    places = list(positions if positions is not None else at)
    along, across = ("y", "x") if horizontal else ("x", "y")
    figure.add_bar(
        **{along: at, across: 100 * values},
        orientation="h" if horizontal else "v",
        name="listed",
        marker={"color": colors if isinstance(colors, str) else list(colors)},
        customdata=[[kind, place] for place in places],
        hovertext=[
            f"{name}: {count:,} {what} ({percent(value, 1)})"
            for name, count, value in zip(names, counts.tolist(), values.tolist(), strict=True)
        ],
        hovertemplate="%{hovertext}<extra></extra>",
        unselected={"marker": {"opacity": 0.45}},
        showlegend=False,
    )
    for number, (name, other_shares) in enumerate(others):
        vertical_line = number == 0 and horizontal
        figure.add_scatter(
            **{along: at, across: 100 * other_shares},
            mode="markers",
            name=name,
            marker={
                "symbol": "line-ns-open" if vertical_line else "line-ew-open" if number == 0 else _SYMBOLS[number],
                "size": 13 if number == 0 else 9,
                "color": text_color(),
                "line": {"width": 2, "color": text_color()},
            },
            hovertext=[
                f"{name}, {bar}: {percent(value, 1)}" for bar, value in zip(names, other_shares.tolist(), strict=True)
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            customdata=[[kind, place] for place in places],
            unselected={"marker": {"opacity": 1}},
        )
    _finish(figure, legend=bool(others))
    ticks = {"tickvals": at, "ticktext": list(names), "showgrid": False, "ticks": ""}
    if horizontal:
        figure.update_yaxes(**ticks, range=[len(at) - 0.4, -0.6])
        figure.update_xaxes(title=axis, ticksuffix=" %", rangemode="tozero")
    else:
        figure.update_xaxes(**ticks)
        figure.update_yaxes(title=axis, ticksuffix=" %", rangemode="tozero")
    return figure


def classes(found: SetStatistics, others: Sequence[Other]) -> Any:
    """Share of the frames in which each class sounds."""
    counts = found.of("class")
    figure = _bars(
        SHORT_NAMES,
        _share(counts, found.n_frames),
        counts,
        [(name, _share(o.of("class"), o.n_frames)) for name, o in others],
        kind="class",
        what="frames",
        axis="share of all frames",
        colors=CLASS_COLORS,
        horizontal=True,
    )
    figure.update_layout(height=400)
    return figure


def over_time(found: SetStatistics) -> Any:
    """Sources by the part of the recording, stacked by class."""
    figure = go.Figure()
    share = found.over_time / np.maximum(found.frames_of_parts, 1)
    for c in np.flatnonzero(found.over_time.sum(1)).tolist():
        figure.add_bar(
            x=[(k + 0.5) * 100 / N_PARTS for k in range(N_PARTS)],
            y=share[c],
            name=SHORT_NAMES[c],
            marker={"color": CLASS_COLORS[c]},
            customdata=[["part", k, c] for k in range(N_PARTS)],
            hovertemplate=f"{CLASS_NAMES[c]}: %{{y:.2f}} sources<extra></extra>",
            unselected={"marker": {"opacity": 0.5}},
        )
    _finish(figure, legend=False, height=400)
    figure.update_layout(barmode="stack", bargap=0.06)
    figure.update_xaxes(title="part of the recording", ticksuffix=" %", range=[0, 100], showgrid=False)
    figure.update_yaxes(title="sources at once, mean", rangemode="tozero")
    return figure


def polyphony(found: SetStatistics, others: Sequence[Other]) -> Any:
    """Share of the frames with so many sources at once."""
    counts = found.polyphony
    last = max(int(np.flatnonzero(o.polyphony).max(initial=0)) for o in (found, *(o for _, o in others)))
    shown = slice(0, max(last, 1) + 1)
    names = [f"{k}+" if k == MAX_POLYPHONY else str(k) for k in range(MAX_POLYPHONY + 1)][shown]
    figure = _bars(
        names,
        _share(counts, found.n_frames)[shown],
        counts[shown],
        [(name, _share(o.polyphony, o.n_frames)[shown]) for name, o in others],
        kind="polyphony",
        what="frames",
        axis="share of all frames",
    )
    figure.update_xaxes(title="sources at once")
    return figure


def _of_class(counts: npt.NDArray[Any], category: int | None) -> npt.NDArray[Any]:
    chosen: npt.NDArray[Any] = counts.sum(0) if category is None else counts[category]
    return chosen


def event_lengths(found: SetStatistics, others: Sequence[Other], category: int | None) -> Any:
    """Share of the events by length."""
    edges = [f"{edge / FRAME_RATE_HZ:g}" for edge in EVENT_EDGES]
    names = [*(f"{a}–{b}" for a, b in pairwise(edges)), f"{edges[-1]}+"]
    counts = _of_class(found.events, category)
    figure = _bars(
        names,
        _share(counts, counts.sum()),
        counts,
        [(n, _share(c, c.sum())) for n, o in others if (c := _of_class(o.events, category)) is not None],
        kind="length",
        what="events",
        axis="share of events",
        colors=_BLUE if category is None else CLASS_COLORS[category],
    )
    figure.update_xaxes(title="length of the event, s")
    return figure


def distances(found: SetStatistics, others: Sequence[Other], category: int | None) -> Any:
    """Share of the annotations by distance."""
    step = 2  # half metres are what one reads

    def joined(s: SetStatistics) -> npt.NDArray[Any]:
        bins = _of_class(s.of("distance"), category)
        return np.concatenate([bins[:BEYOND].reshape(-1, step).sum(1), bins[BEYOND:]])

    counts = joined(found)
    every = np.maximum.reduce([joined(s) for s in (found, *(o for _, o in others))])
    last = int(np.flatnonzero(every[:-1]).max(initial=0))
    kept = [*range(last + 1), *([len(counts) - 1] if every[-1] else [])]
    width = step * DISTANCE_STEP_CM / 100
    names = [f"{k * width:g}" for k in range(BEYOND // step)] + [f"{BEYOND * DISTANCE_STEP_CM / 100:g}+", "none"]
    figure = _bars(
        [names[k] for k in kept],
        _share(counts, counts.sum())[kept],
        counts[kept],
        [(n, _share(joined(o), joined(o).sum())[kept]) for n, o in others],
        kind="distance",
        what="annotations",
        axis="share of annotations",
        colors=_BLUE if category is None else CLASS_COLORS[category],
        positions=[k if k < BEYOND // step else BEYOND // step + (k == len(counts) - 1) for k in kept],
    )
    figure.update_xaxes(title=f"distance from, m (steps of {width:g} m)")
    return figure


def distance_bins(position: int) -> list[int]:
    """Bins of the summaries behind a bar of :func:`distances`."""
    if position < BEYOND // 2:
        return [2 * position, 2 * position + 1]
    return [BEYOND] if position == BEYOND // 2 else [UNKNOWN]


def _cells(
    z: npt.NDArray[Any],
    x: Sequence[float],
    y: Sequence[float],
    texts: list[list[str]],
    data: list[list[list[Any]]],
    size: int,
) -> Any:
    """A heat map whose cells can be clicked: its own report no clicks, so an unseen square lies on each."""
    background, strong = ("#10131a", "#5aa2ff") if is_dark() else ("#ffffff", "#1457c0")
    figure = go.Figure()
    figure.add_heatmap(
        z=100 * np.asarray(z),
        x=list(x),
        y=list(y),
        colorscale=[[0, background], [1, strong]],
        zmin=0,
        xgap=1,
        ygap=1,
        hoverinfo="skip",
        colorbar={"thickness": 10, "len": 0.9, "ticksuffix": " %"},
    )
    figure.add_scatter(
        x=[x[c] for r in range(len(y)) for c in range(len(x)) if data[r][c]],
        y=[y[r] for r in range(len(y)) for c in range(len(x)) if data[r][c]],
        mode="markers",
        marker={"size": size, "symbol": "square-open", "opacity": 0, "line": {"width": 2}, "color": text_color()},
        customdata=[data[r][c] for r in range(len(y)) for c in range(len(x)) if data[r][c]],
        hovertext=[texts[r][c] for r in range(len(y)) for c in range(len(x)) if data[r][c]],
        hovertemplate="%{hovertext}<extra></extra>",
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 0}},
        showlegend=False,
    )
    return figure


def directions(found: SetStatistics, category: int | None) -> Any:
    """Annotations by the direction of their strongest point, as the canvas shows it."""
    counts = _of_class(found.of("direction"), category)
    share = _share(counts, counts.sum())
    azimuth = [180 - CELL_DEG * (c + 0.5) for c in range(N_COLUMNS)]
    elevation = [90 - CELL_DEG * (r + 0.5) for r in range(N_ROWS)]
    texts = [
        [
            f"azimuth {azimuth[c] - 10:.0f} to {azimuth[c] + 10:.0f}°, elevation {elevation[r] - 10:.0f} to "
            f"{elevation[r] + 10:.0f}°<br>{counts[r, c]:,} annotations ({percent(share[r, c], 1)})"
            for c in range(N_COLUMNS)
        ]
        for r in range(N_ROWS)
    ]
    data = [[["direction", r * N_COLUMNS + c] if counts[r, c] else [] for c in range(N_COLUMNS)] for r in range(N_ROWS)]
    figure = _cells(share, azimuth, elevation, texts, data, 18)
    _finish(figure, legend=False)
    figure.update_xaxes(title="azimuth, degrees (left is +)", range=[180, -180], dtick=60, showgrid=False)
    figure.update_yaxes(title="elevation, degrees", range=[-90, 90], dtick=30, showgrid=False)
    return figure


def together(found: SetStatistics) -> Any:
    """Frames in which two classes sound, as a share of the frames of the row's class."""
    counts = found.together
    used = [c for c in range(N_CLASSES) if counts[c, c]]
    table = counts[np.ix_(used, used)]
    share = table / np.maximum(np.diag(table)[:, None], 1)
    np.fill_diagonal(share, 0)
    n = len(used)
    texts = [
        [
            f"{CLASS_NAMES[used[r]]} with {CLASS_NAMES[used[c]]}<br>{table[r, c]:,} frames, "
            f"{percent(share[r, c], 1)} of those of {CLASS_NAMES[used[r]]}"
            for c in range(n)
        ]
        for r in range(n)
    ]
    data: list[list[list[Any]]] = [
        [["together", used[r] * N_CLASSES + used[c]] if r != c and table[r, c] else [] for c in range(n)]
        for r in range(n)
    ]
    at = list(range(n))
    figure = _cells(share, at, at, texts, data, 18)
    _finish(figure, legend=False, height=400)
    names = [SHORT_NAMES[c] for c in used]
    figure.update_xaxes(tickvals=at, ticktext=names, tickangle=-40, showgrid=False, ticks="", title="also sounds")
    figure.update_yaxes(
        tickvals=at, ticktext=names, showgrid=False, ticks="", title="while there is", range=[n - 0.5, -0.5]
    )
    return figure


def recordings(values: npt.NDArray[np.float64], *, kind: str, axis: str, edges: Sequence[float], height: int) -> Any:
    """Number of recordings by a figure; the bars are half open, ``customdata`` holds their edges."""
    counts, _ = np.histogram(values[np.isfinite(values)], bins=np.asarray(edges))
    last = max((k for k in range(len(counts)) if counts[k]), default=0)
    first = min((k for k in range(len(counts)) if counts[k]), default=0)
    figure = go.Figure()
    kept = range(max(first - 3, 0), min(last + 4, len(counts)))  # a single bar would be as wide as the chart
    figure.add_bar(
        x=[f"{edges[k]:g} to {edges[k + 1]:g}" for k in kept],
        y=[int(counts[k]) for k in kept],
        marker={"color": GREY},
        customdata=[[kind, float(edges[k]), float(edges[k + 1])] for k in kept],
        hovertemplate="%{x}: %{y} recordings<extra></extra>",
        unselected={"marker": {"opacity": 0.45}},
    )
    _finish(figure, legend=False, height=height)
    figure.update_xaxes(title=axis, showgrid=False, type="category")
    figure.update_yaxes(title="recordings", rangemode="tozero")
    return figure

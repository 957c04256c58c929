"""What the charts of several pages share: the look in both themes, and marks that can be clicked.

A mark that can be clicked carries what it stands for in ``customdata``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal, cast

import streamlit as st

GREY: Final[str] = "#7d8694"
"""Stands out on both page backgrounds by at least 3:1."""

_GRID: Final[str] = "rgba(125, 134, 148, 0.22)"
_CONFIG: Final[dict[str, Any]] = {"displayModeBar": False, "scrollZoom": False}
_AREA_CONFIG: Final[dict[str, Any]] = {
    "displayModeBar": True,
    "displaylogo": False,
    "scrollZoom": True,
    "modeBarButtonsToRemove": ["toImage", "autoScale2d"],
}


def is_dark() -> bool:
    """Whether the reader's theme is the dark one."""
    return st.context.theme.type == "dark"


def text_color() -> str:
    """Colour of text in the reader's theme."""
    return "#e6e9ef" if is_dark() else "#1b2230"


def ground_color() -> str:
    """Colour of the page in the reader's theme."""
    return "#10131a" if is_dark() else "#ffffff"


def styled(figure: Any, *, height: int, legend: bool = False, left: int = 8, top: int = 8, right: int = 12) -> Any:
    """Give a Plotly figure the pages' look; margins in pixels. Returns the same figure."""
    figure.update_layout(
        height=height,
        margin={"l": left, "r": right, "t": top, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": text_color(), "size": 12, "family": "Source Sans, sans-serif"},
        showlegend=legend,
        hoverlabel={"font": {"size": 12}},
        dragmode=False,
        clickmode="event+select",
    )
    axis = {"gridcolor": _GRID, "zeroline": False, "linecolor": GREY, "ticks": "outside", "tickcolor": GREY}
    figure.update_xaxes(**axis, fixedrange=True, automargin=True)
    figure.update_yaxes(**axis, fixedrange=True, automargin=True)
    return figure


def draw(
    figure: Any,
    *,
    key: str,
    alt: str,
    on_select: Callable[..., None] | Literal["ignore"] = "ignore",
    args: tuple[Any, ...] = (),
    areas: bool = False,
) -> None:
    """Draw a chart; with ``on_select``, called with ``args``, its marks can be clicked (read by :func:`clicked`).

    ``areas``: many marks can be chosen at once by lasso or box (read by :func:`selected`), and the chart be moved.
    """
    st.plotly_chart(
        figure,
        theme=None,
        width="stretch",
        key=key,
        config=_AREA_CONFIG if areas else _CONFIG,
        selection_mode=("points", "box", "lasso") if areas else "points",
        on_select=on_select if isinstance(on_select, str) else partial(on_select, *args),
        alt=alt,
    )


def clicked(key: str) -> list[Any] | None:
    """``customdata`` of the mark that is selected in the chart of a widget key."""
    state = st.session_state.get(key)
    points = cast(dict[str, Any], state)["selection"]["points"] if state else []
    data = points[0].get("customdata") if points else None
    if isinstance(data, dict):  # Streamlit sends rows of customdata as {"0": ..., "1": ...}
        data = [data[k] for k in sorted(data, key=int)]
    return list(data) if isinstance(data, list | tuple) else [data] if data is not None else None


def selected(key: str) -> list[int]:
    """First number of ``customdata`` of all marks that are selected in the chart of a widget key, rising."""
    state = st.session_state.get(key)
    points = cast(dict[str, Any], state)["selection"]["points"] if state else []
    found = [p.get("customdata") for p in points]
    return sorted({int(d["0"] if isinstance(d, dict) else d[0]) for d in found if d})

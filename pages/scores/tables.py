"""Tables of figures on a page: one style, one cell to click."""

from __future__ import annotations

from typing import Any, Final, cast

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from sai_core.metrics.reading.tables import Table
from sai_core.taxonomy import CLASS_COLORS, CLASS_NAMES

ROW_HEIGHT_PX: Final[int] = 27
_HEAD_HEIGHT_PX: Final[int] = 31

# tints of the theme's blue and of grey that leave both themes' text above 4.5:1
_BEST: Final[str] = "background-color: rgba(31, 111, 235, 0.20)"
_SUMMARY: Final[str] = "background-color: rgba(125, 134, 148, 0.14)"
_PUBLISHED: Final[str] = "background-color: rgba(125, 134, 148, 0.10); font-style: italic"


def height_px(n_rows: int, *, at_most: int = 640, head_rows: int = 1) -> int:
    """Height of a table that shows all its rows."""
    return min(head_rows * _HEAD_HEIGHT_PX + n_rows * ROW_HEIGHT_PX + 3, at_most)


def head_rows(table: Table) -> int:
    """Rows of a table's head: one of groups (macro, micro) where columns have any, and one of titles."""
    return 2 if any(column.group for column in table.columns) else 1


def cell_key(key: str) -> tuple[int, str] | None:
    """Cell that is selected in the table of a widget key: row and column key (``"row"`` for the names)."""
    state = st.session_state.get(key)
    cells = cast(dict[str, Any], state)["selection"]["cells"] if state else []
    if not cells:
        return None
    row, column = cells[0]
    return int(row), str(column) if column not in ("row", "chip", "source") else "row"


def draw(
    table: Table,
    *,
    key: str,
    on_select: Any,
    args: tuple[Any, ...] = (),
    container: DeltaGenerator | None = None,
    kinds: dict[str, str] | None = None,
    at_most: int = 640,
    name_width: int = 170,
) -> None:
    """Draw a table whose cells can be selected.

    Parameters
    ----------
    table : Table
    key : str
        Widget key; the selection is read by :func:`cell_key`.
    on_select : callable
        Called after a selection, with ``args``.
    args : tuple
    container : DeltaGenerator, optional
    kinds : dict of str to str, optional
        What a measured row is called, by row name ("stand-in"); a column with it, and "published" for the others,
        is shown.
    at_most : int
        Largest height.
    name_width : int
        Width of the first column.
    """
    is_classes = table.row_title == "Class"
    columns: dict[str, Any] = {}
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    config: dict[str, Any] = {}
    if is_classes:
        columns["chip"] = ["■" if name in CLASS_NAMES else "" for name in table.rows]
        config["chip"] = text("", width=28)
    columns["row"] = list(table.rows)
    config["row"] = text(table.row_title, width=name_width)
    if kinds is not None:
        columns["source"] = [
            "published" if source == "published" else kinds.get(name, "measured")
            for name, source in zip(table.rows, table.sources, strict=True)
        ]
        config["source"] = text("Figures", width=78)
    for k, column in enumerate(table.columns):
        columns[column.key] = table.values[:, k]
        config[column.key] = number(
            column.title,
            format="%d" if column.digits == 0 else f"%.{column.digits}f",
            help=column.help or None,
            width=None if table.row_title != "System" else _system_width(column.title),
            alignment="right",
        )
    frame = pd.DataFrame(columns)
    if head_rows(table) == 2:
        before = [""] * (len(columns) - len(table.columns))
        groups = [*before, *(column.group for column in table.columns)]
        frame.columns = pd.MultiIndex.from_arrays([groups, list(columns)])
    (container or st).dataframe(
        frame.style.apply(_style, axis=None, table=table, is_classes=is_classes),
        hide_index=True,
        column_config=config,
        height=height_px(len(frame), at_most=at_most, head_rows=head_rows(table)),
        row_height=ROW_HEIGHT_PX,
        placeholder="–",
        key=key,
        on_select=lambda: on_select(*args),
        selection_mode="single-cell",
        alt=table.title,
    )


def _system_width(title: str) -> int:
    """Pixels that a figure and its title need; all columns of the report's Table 2 fit beside the chart at 1440."""
    return max(62, 10 + 7 * len(title))


def _style(frame: pd.DataFrame, *, table: Table, is_classes: bool) -> pd.DataFrame:
    """CSS of every cell: class colours, best figures, averages, published rows."""
    styles = np.full(frame.shape, "", dtype=object)
    first = frame.shape[1] - len(table.columns)
    for k in range(len(table.columns)):
        for row in table.best(k):
            styles[row, first + k] = _BEST
    for row, (name, source) in enumerate(zip(table.rows, table.sources, strict=True)):
        if source == "published":
            styles[row, :] = _PUBLISHED
        elif row >= len(table.rows) - table.summary_rows:
            styles[row, :] = _SUMMARY
        elif is_classes and name in CLASS_NAMES:
            styles[row, 0] = f"color: {CLASS_COLORS[CLASS_NAMES.index(name)]}"
    return pd.DataFrame(styles, index=frame.index, columns=frame.columns)

"""All runs of the Train page as one table: state, figures, and the settings in which they differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from pages.components import state_keys as keys
from pages.components.text import plain
from pages.train import form, run_list
from sai_core.runs.comparing import differing_settings
from sai_core.runs.watch import RunSummary

TABLE = "Table"
_MOST_SETTINGS = 12
"""Columns of settings that are drawn; the others are counted."""


def draw(folder: Path, runs: tuple[RunSummary, ...]) -> None:
    """Draw the table and what can be done with its rows."""
    kinds = list(dict.fromkeys(run.kind for run in runs))
    line = st.container(horizontal=True, gap="small", vertical_alignment="center")
    kind = kinds[0]
    if len(kinds) > 1:
        kind = line.segmented_control(
            "Kind", kinds, default=kinds[0], required=True, key=keys.TRAIN_TABLE_KIND, label_visibility="collapsed"
        )
    shown = [run for run in runs if run.kind == kind]
    names, values = differing_settings([run.path for run in shown])
    columns = names[:_MOST_SETTINGS]
    rows = [_row(run, {name: own.get(name, "") for name in columns}) for run, own in zip(shown, values, strict=True)]
    event = st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height="content" if len(rows) <= 14 else 540,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"{keys.TRAIN_TABLE}_{kind}",
        placeholder="–",
        column_config={
            "done": st.column_config.ProgressColumn(min_value=0.0, max_value=1.0, format="percent", width="small"),
            "best": st.column_config.NumberColumn(format="%.4f"),
            "frames/s": st.column_config.NumberColumn(format="%.1f"),
        },
    )
    chosen = [shown[k].name for k in event.selection.rows if k < len(shown)]
    if chosen:
        line.button(
            f"Open {plain(chosen[0])}" if len(chosen) == 1 else f"Compare the curves of {len(chosen)} runs",
            key="train_table_open",
            type="primary",
            icon=":material/show_chart:",
            on_click=_open,
            args=(chosen,),
        )
    words = f"{len(shown)} runs in {folder}"
    if len(shown) > 1:
        hidden = len(names) - len(columns)
        words += (" · 1 setting differs" if len(names) == 1 else f" · {len(names)} settings differ") + (
            f", {hidden} of them not shown" if hidden > 0 else ""
        )
    line.caption(plain(words))


def _row(run: RunSummary, settings: dict[str, str]) -> dict[str, Any]:
    return {
        "run": run.name,
        "state": run.state,
        "done": run.fraction,
        "best": run.best_score,
        "of": run.best_name,
        "frames/s": run.frames_per_s,
        **settings,
    }


def _open(names: list[str]) -> None:
    run_list.choose(names[0])
    st.session_state[keys.TRAIN_COMPARE] = names[1:]
    st.session_state[keys.TRAIN_PANEL] = form.RUNS

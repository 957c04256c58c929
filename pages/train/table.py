"""All runs of the Train page as one table: state, figures, notes, tags, and the settings in which they differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from pages.components import roles
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.train import form, run_list
from sai_core.errors import SaiError
from sai_core.runs import launch
from sai_core.runs.comparing import differing_settings
from sai_core.runs.notes import MAX_NOTE, write_notes
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
    of_kind = [run for run in runs if run.kind == kind]
    shown = _tagged(of_kind)
    names, values = differing_settings([run.path for run in shown])
    columns = names[:_MOST_SETTINGS]
    rows = [_row(run, {name: own.get(name, "") for name in columns}) for run, own in zip(shown, values, strict=True)]
    # an empty column, or one that says the same everywhere, would only push others out of sight
    measures = {run.best_name for run in shown if run.best_name}
    unneeded = {name for name in ("tags", "note", "frames/s") if not any(row[name] for row in rows)}
    unneeded |= {"of"} if len(measures) < 2 else set()
    rows = [{k: v for k, v in row.items() if k not in unneeded} for row in rows]
    best = f"best {next(iter(measures))}" if len(measures) == 1 else "best"
    event = st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height="content" if len(rows) <= 14 else 540,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"{keys.TRAIN_TABLE}_{kind}_{st.session_state.get(keys.TRAIN_TABLE_DRAWN, 0)}",
        placeholder="–",
        column_config={
            "done": st.column_config.ProgressColumn(min_value=0.0, max_value=1.0, format="percent", width="small"),
            "state": st.column_config.TextColumn(width="small"),
            "best": st.column_config.NumberColumn(best, format="%.4f", width="small"),
            "frames/s": st.column_config.NumberColumn(format="%.1f", width="small"),
            "tags": st.column_config.ListColumn(),
        },
    )
    picked = [shown[k] for k in event.selection.rows if k < len(shown)]
    chosen = [run.name for run in picked]
    if chosen:
        line.button(
            f"Open {plain(chosen[0])}" if len(chosen) == 1 else f"Compare the curves of {len(chosen)} runs",
            key="train_table_open",
            type="primary",
            icon=":material/show_chart:",
            on_click=_open,
            args=(chosen,),
        )
    words = f"{len(shown)} of {len(of_kind)} runs" if len(shown) < len(of_kind) else f"{len(shown)} runs"
    words += f" in {folder}"
    if len(shown) > 1:
        hidden = len(names) - len(columns)
        words += (" · 1 setting differs" if len(names) == 1 else f" · {len(names)} settings differ") + (
            f", {hidden} of them not shown" if hidden > 0 else ""
        )
    line.caption(plain(words))
    if outcome := st.session_state.pop(keys.TRAIN_SAID, None):
        (st.error if outcome[0] == "error" else st.success)(plain(outcome[-1]))
    if picked:
        _notes_of(picked)
    elif shown:
        st.caption("Select one run to open it, or several to compare them; notes, tags and *Delete* then appear here.")


def _tagged(runs: list[RunSummary]) -> list[RunSummary]:
    """Runs that have all chosen tags; draws the tags where there are any."""
    every = sorted({tag for run in runs for tag in run.tags}, key=str.casefold)
    if not every:
        return runs
    if any(tag not in every for tag in st.session_state.get(keys.TRAIN_TABLE_TAGS, [])):
        del st.session_state[keys.TRAIN_TABLE_TAGS]
    wanted = st.pills(
        "Tags",
        every,
        selection_mode="multi",
        key=keys.TRAIN_TABLE_TAGS,
        format_func=plain,
        label_visibility="collapsed",
        help="Show only runs that have all of these tags.",
    )
    return [run for run in runs if set(wanted) <= set(run.tags)]


def _notes_of(runs: list[RunSummary]) -> None:
    """Note and tags of the chosen runs, and their end."""
    only = runs[0] if len(runs) == 1 else None
    with st.container(border=True):
        names = ", ".join(run.name for run in runs)
        key = f"{names}_{st.session_state.get(keys.TRAIN_TABLE_DRAWN, 0)}"
        left, right = st.columns([3, 2])
        note = only.note if only is not None else ""
        if only is not None:
            note = left.text_input(
                "Note",
                value=only.note,
                max_chars=MAX_NOTE,
                key=f"train_note_{key}",
                placeholder="what you want to remember",
            )
        else:
            left.caption(plain(f"{len(runs)} runs: {names}"))
        shared = [tag for tag in runs[0].tags if all(tag in run.tags for run in runs)]
        text = right.text_input(
            "Tags" if only is not None else "Tags of all of them",
            value=", ".join(shared),
            key=f"train_tags_{key}",
            placeholder="paper, ablation",
            help="Separated by commas. Runs with a tag can be shown by themselves.",
        )
        tags = [tag.strip() for tag in text.split(",") if tag.strip()]
        with st.container(horizontal=True, gap="small"):
            roles.button(
                "Save",
                key="train_table_save",
                type="primary",
                disabled=tags == shared and (only is None or note.strip() == only.note),
                on_click=_save,
                args=(runs, note if only is not None else None, tags, shared),
            )
            with st.popover("Delete", icon=":material/delete:"):
                st.write(
                    "Deletes what the program has written into "
                    + ("this folder" if only is not None else f"these {len(runs)} folders")
                    + ", weights included. Other files in it stay."
                )
                roles.button(
                    "Delete this run" if only is not None else f"Delete these {len(runs)} runs",
                    key="train_table_delete",
                    needs="train",
                    icon=":material/delete_forever:",
                    help="This cannot be undone.",
                    on_click=_delete,
                    args=(runs,),
                )


def _save(runs: list[RunSummary], note: str | None, tags: list[str], shared: list[str]) -> None:
    """Write the note of one run; of several, add and remove the tags that were changed."""
    try:
        for run in runs:
            kept = [tag for tag in run.tags if tag not in shared or tag in tags]
            write_notes(run.path, run.note if note is None else note, [*kept, *(t for t in tags if t not in kept)])
    except SaiError as error:
        st.session_state[keys.TRAIN_SAID] = ("error", str(error))


def _delete(runs: list[RunSummary]) -> None:
    """Delete the chosen runs; one that runs refuses, and the others go all the same."""
    problems, gone = [], []
    for run in runs:
        try:
            left = launch.delete(run.path)
            gone.append(run.name)
            if left:
                problems.append(f"{run.path}: files that the program did not write are left in it: {', '.join(left)}.")
        except SaiError as error:
            problems.append(str(error))
    st.session_state[keys.TRAIN_TABLE_DRAWN] = st.session_state.get(keys.TRAIN_TABLE_DRAWN, 0) + 1
    done = [f"Deleted: {', '.join(gone)}."] if gone else []
    st.session_state[keys.TRAIN_SAID] = ("error" if problems else "done", " ".join([*done, *problems]))


def _row(run: RunSummary, settings: dict[str, str]) -> dict[str, Any]:
    return {
        "run": run.name,
        "state": run.state,
        "done": run.fraction,
        "best": run.best_score,
        "of": run.best_name,
        "frames/s": run.frames_per_s,
        "tags": list(run.tags),
        "note": run.note,
        **settings,
    }


def _open(names: list[str]) -> None:
    run_list.choose(names[0])
    st.session_state[keys.TRAIN_COMPARE] = names[1:]
    st.session_state[keys.TRAIN_PANEL] = form.RUNS

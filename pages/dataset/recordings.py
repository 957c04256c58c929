"""The table of recordings, and what can be done with those that are chosen in it."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from pages.components import address, roles
from pages.components import state_keys as keys
from pages.components.set_survey import Seen
from pages.components.text import plain, shown
from pages.dataset.filters import tell
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.survey.files import PictureSummary
from sai_core.survey.report import as_csv
from sai_core.survey.statistics import frames_of
from sai_core.survey.strip import strip_png
from sai_core.survey.summary import TableSummary
from sai_core.survey.table import SetTable
from sai_core.taxonomy import CLASS_COLORS, CLASS_NAMES, SHORT_NAMES
from sai_core.workspace import workspace
from sai_core.workspace.marks import change_marks

_HEIGHT: Final[int] = 560
_ROW_HEIGHT: Final[int] = 46
_MANY: Final[int] = 8
"""Rows from which the table has a height of its own and scrolls."""

_SHORT: Final[dict[str, str]] = dict(zip(CLASS_NAMES, SHORT_NAMES, strict=True))


def draw(root: DataRoot, seen: Seen, rows: npt.NDArray[np.int64], systems: list[PredictionSet]) -> None:
    """Draw the table."""
    table = seen.table
    _line(table, rows)
    if not rows.size:
        st.info("No recording matches the filter.")
        return
    # its links carry the labels and predictions that this session has chosen
    key = f"frame {sorted(address.place(str(root.path)).items())}"
    frame = seen.kept.get(key)
    if frame is None:
        frame = seen.kept[key] = _frame(root, table, systems)
    picked = frame.iloc[rows]
    event = st.dataframe(
        picked,
        hide_index=True,
        height="content" if len(rows) <= _MANY else _HEIGHT,
        row_height=_ROW_HEIGHT,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"{keys.DATASET_TABLE}_{hash((rows.tobytes(), len(table)))}",
        column_config=_config(table),
        placeholder="–",
    )
    chosen = [int(rows[k]) for k in event.selection.rows if k < len(rows)]
    _lead_on(root, seen, chosen, rows, systems)


def _line(table: SetTable, rows: npt.NDArray[np.int64]) -> None:
    """How much is listed, and what of it cannot be used."""
    lengths = table.number("duration")[rows]
    n_known = int(np.isfinite(lengths).sum())
    seconds = float(np.nansum(lengths))
    length = f"{seconds / 3600:.2f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
    of_listed = length if n_known == len(rows) else f"{length} in the {n_known} of known length"
    if len(rows) == len(table):
        parts = [f"{len(rows)} recordings", of_listed]
    else:
        parts = [f"{len(rows)} of {len(table)} recordings match the filter"]
        parts += [f"{of_listed} of these"] if rows.size else []
    broken = sum(bool(table.problems[k]) for k in rows.tolist())
    noted = sum(bool(table.notes[k]) for k in rows.tolist())
    if broken:
        parts.append(f":red[{broken} with a file that cannot be used] (filter `problem:any`)")
    if noted:
        parts.append(f"{noted} with notes from the reader")
    left, right = st.columns([4, 1], vertical_alignment="center")
    left.caption(" · ".join(parts))
    with right.container(horizontal=True, horizontal_alignment="right"):
        st.download_button(
            "CSV",
            lambda: as_csv(table, rows.tolist()),
            "recordings.csv",
            "text/csv",
            icon=":material/download:",
            type="tertiary",
            help="What is listed, with all columns.",
        )


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


@lru_cache(maxsize=8192)
def _picture(picture: PictureSummary) -> str | None:
    return _uri("jpeg", picture.jpeg) if picture.jpeg else None


@lru_cache(maxsize=8192)
def _strip(summary: TableSummary, n_frames: int) -> str:
    """Kept by the summary itself: while a set is looked at, the table is made anew every other second."""
    return _uri("png", strip_png(summary, n_frames))


def _frame(root: DataRoot, table: SetTable, systems: list[PredictionSet]) -> pd.DataFrame:
    """All rows, as they are shown."""
    pictures = [None if p is None else _picture(p) for p in table.pictures]
    strips = [
        None if s is None else _strip(s, frames_of(n, s)) for s, n in zip(table.labels, table.n_frames, strict=True)
    ]
    carried: dict[str, Any] = dict(zip(("a", "b"), (s.name for s in systems), strict=False))
    # all links differ in the recording alone: the place is worked out once
    query = address.explorer_query(root=str(root.path), recording="", **carried)
    links = [f"./explorer?{urlencode({**query, keys.RECORDING: key})}" for key in table.keys]
    columns: dict[str, Any] = {
        "open": links,
        "picture": pictures,
        "name": [shown(r.name) for r in table.recordings],
        "strip": strips,
        "duration": table.number("duration"),
        "class": [[_SHORT[name] for name in row] for row in table.entries("class")],
        "sources": table.number("sources"),
        "events": table.number("events"),
        "polyphony": table.number("polyphony"),
        "labelled": table.number("labelled"),
        "loudness": np.where(np.isinf(table.number("loudness")), -120.0, table.number("loudness")),
    }
    columns |= {f"mAP {k}": table.scores[k] for k in range(len(table.systems))}
    columns |= {
        "tag": [list(map(shown, row)) for row in table.entries("tag")],
        "note": [shown(text) or None for text in table.text("note")],
        "split": [shown(text) for text in table.text("split")],
        "has": [shown(text) for text in table.text("has")],
        "problem": [shown(text) or None for text in table.text("problem")],
    }
    for name in ("note", "tag", "problem"):
        if not any(columns[name]):
            del columns[name]
    if len(set(columns["split"])) == 1:
        del columns["split"]
    return pd.DataFrame(columns)


def _config(table: SetTable) -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    config: dict[str, Any] = {
        "open": st.column_config.LinkColumn(
            "", display_text=":material/open_in_new:", width=36, help="Explorer, new tab"
        ),
        "picture": st.column_config.ImageColumn(
            "", width=96, help="The busiest moment: energy and outlines of the labels"
        ),
        "name": text("Recording", width=180),
        "strip": st.column_config.ImageColumn("Timeline", width=210, help="When each class sounds, one lane per class"),
        "duration": number("Length", format="%.0f s", width=70),
        "class": st.column_config.MultiselectColumn(
            "Classes", options=list(SHORT_NAMES), color=list(CLASS_COLORS), width=280
        ),
        "sources": number("Sources", width=70, help="Different sources (class and number) in the labels"),
        "events": number("Events", width=66, help="A source without a gap of a frame is one event"),
        "polyphony": number("At once", width=72, help="Most sources (class and number) at the same time"),
        "labelled": st.column_config.ProgressColumn(
            "Labelled", format="%.0f %%", min_value=0, max_value=100, width=100, help="Share of frames with a label"
        ),
        "loudness": number(
            "Level", format="%.1f dBFS", width=90, help="Root mean square of all channels; -120 stands for silence"
        ),
        "tag": st.column_config.ListColumn("Tags", width=140),
        "note": text("Note", width=180),
        "split": text("Split", width=130),
        "has": text("Has", width=220),
        "problem": text("Problem", width=320),
    }
    for k, name in enumerate(table.systems):
        config[f"mAP {k}"] = number(
            f"mAP {shown(name)}", format="%.3f", width=100, help="Macro mAP of this recording, 2026-06-30, where known"
        )
    return config


def _lead_on(
    root: DataRoot, seen: Seen, chosen: list[int], rows: npt.NDArray[np.int64], systems: list[PredictionSet]
) -> None:
    """What can be done with the chosen rows; with all that are listed when none is chosen."""
    table = seen.table
    which = chosen or rows.tolist()
    names = [table.keys[k] for k in which]
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        if len(which) == 1:
            what = plain(table.recordings[which[0]].name)
        else:
            what = f"{len(which)} chosen" if chosen else f"All {len(which)} listed"
        st.markdown(f"**{what}**", width="content")
        if len(which) == 1:
            recording = table.recordings[which[0]]
            carried: dict[str, Any] = dict(zip(("a", "b"), (s.name for s in systems), strict=False))
            moment = address.explorer_query(
                root=str(root.path), recording=recording.name, split=recording.split, **carried
            )
            if st.button("Explorer", icon=":material/visibility:", type="primary", key="dataset_explorer"):
                address.go("explorer", moment)
            if st.button("Figure", icon=":material/image:", key="dataset_figure"):
                address.go("figures", moment)
        place = {**address.place(str(root.path)), keys.ROOT: str(root.path)}
        if st.button("Review", icon=":material/rate_review:", key="dataset_review"):
            st.session_state[keys.REVIEW_RECORDINGS] = names
            address.go("review", place)
        if st.button("Predict", icon=":material/network_node:", key="dataset_predict"):
            st.session_state[keys.PREDICT_SPLITS] = sorted({table.recordings[k].split for k in which})
            st.session_state[keys.PREDICT_RECORDINGS] = names
            address.go("predict", place)
        if systems and np.isnan(table.scores[:, which]).any():
            address.page_link("scores", "Compute missing scores", icon=":material/leaderboard:")
        _marks(root, seen, which)
        if not chosen:
            st.caption("Tick rows to select recordings.", width="content")
    for k in which if len(which) == 1 else ():
        for sentence in table.problems[k]:
            st.error(plain(sentence))
        for sentence in table.notes[k]:
            st.caption(plain(sentence))


def _marks(root: DataRoot, seen: Seen, which: list[int]) -> None:
    """Tags and note of the chosen rows."""
    table = seen.table
    names = [table.keys[k] for k in which]
    count = f"{len(which)} recordings" if len(which) > 1 else "this recording"
    blocked = bool(seen.marks.problem)
    with st.popover("Tag, note", icon=":material/label:", disabled=blocked), st.container(width=340):
        key = names[0] if len(which) == 1 else str(len(which))
        tag = st.text_input("Tag", key=f"dataset_tag_{key}", placeholder="bad, look again").strip()
        tags = [text.strip() for text in tag.split(",") if text.strip()]
        with st.container(horizontal=True, gap="small"):
            roles.button(
                f"Tag {count}",
                key="dataset_tag_add",
                type="primary",
                disabled=not tags,
                on_click=_change,
                args=(root, names),
                kwargs={"add": tags},
            )
        present = sorted({mark for k in which for mark in table.marks[k].tags}, key=str.casefold)
        for number, present_tag in enumerate(present):
            roles.button(
                f"Remove {plain(present_tag)}",
                key=f"dataset_untag_{number}",
                icon=":material/close:",
                type="tertiary",
                on_click=_change,
                args=(root, names),
                kwargs={"remove": [present_tag]},
            )
        if len(which) == 1:
            before = table.marks[which[0]].note
            note = st.text_area(
                "Note", value=before, key=f"dataset_note_{key}", placeholder="what you want to remember"
            )
            roles.button(
                "Save note",
                key="dataset_note_save",
                disabled=note.strip() == before,
                on_click=_change,
                args=(root, names),
                kwargs={"note": note},
            )


def _change(root: DataRoot, names: list[str], **changes: Any) -> None:
    tell(lambda: change_marks(workspace(), root.path, names, **changes), "")

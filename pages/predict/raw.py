"""What the network saw: every candidate of a frame before any threshold."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from pages.components import address, predictions
from pages.components import state_keys as keys
from pages.components.text import plain
from sai_core.dataset import DataRoot, Recording, open_frames
from sai_core.detections.raw import RawDetections, open_raw
from sai_core.drawing import raw_picture
from sai_core.errors import InputError, SaiError
from sai_core.taxonomy import CLASS_COLORS, CLASS_NAMES
from sai_core.tuning import RawSet, find_raw_sets

_BEHIND = ("Video", "Full-frame map", "Region energy", "Nothing")


@st.cache_resource(max_entries=8, show_spinner=False)
def _opened(folder: str, mtime_ns: int) -> RawDetections | None:
    return open_raw(Path(folder))


def _raw_store(folder: Path) -> RawDetections:
    """An opened store, memory-mapped; again when it is made anew.

    Raises
    ------
    InputError
        It has gone or is damaged.
    """
    try:
        stamp = (folder / "store.json").stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{folder}: the raw detections are gone; predict the recording again.") from error
    raw = _opened(str(folder), stamp)
    if raw is None:
        raise InputError(f"{folder}: the raw detections are damaged; predict the recording again.")
    return raw


def raw_sets(root: DataRoot) -> list[RawSet]:
    """Stores of this root's jobs, those of running jobs too, newest jobs first, and of its prediction sets."""
    folders = [job.request.out for job in predictions.queue().jobs if job.request.data == root.path]
    folders += [s.folder for s in root.prediction_sets]
    return find_raw_sets(dict.fromkeys(folders))


def show_raw(root: DataRoot) -> None:
    """Draw the section."""
    sets = {str(s.folder): s for s in raw_sets(root)}
    if not sets:
        st.info(
            "As soon as a recording has been predicted, every candidate of every frame, before any threshold, can be "
            "seen here."
        )
        return
    if st.session_state.get(keys.PREDICT_RAW) not in sets:
        st.session_state.pop(keys.PREDICT_RAW, None)
    by_name = {r.name: r for r in root.recordings}
    left, middle, right = st.columns([3, 3, 4], vertical_alignment="bottom")
    folder = left.selectbox(
        "Raw detections",
        list(sets),
        format_func=lambda f: f"{sets[f].name}  ·  {len(sets[f].stores)} recording{'s' * (len(sets[f].stores) != 1)}",
        key=keys.PREDICT_RAW,
        persist_state="session",
    )
    stores = sets[folder].stores
    name = middle.selectbox("Recording", list(stores), key=keys.PREDICT_RAW_RECORDING, persist_state="session")
    try:
        raw = _raw_store(stores[name])
    except SaiError as error:
        st.error(plain(error))
        return
    right.caption(_told(raw))
    _frame(root, by_name.get(name), raw, Path(folder))


def _told(raw: RawDetections) -> str:
    notes = raw.notes
    parts = [
        notes.get("network", ""),
        f"checkpoint {notes.get('checkpoint', '')[:12]}",
        f"floor {notes.get('floor', '?')}",
        f"at most {notes.get('at_most', '?')} per frame",
        f"maps {notes.get('magnitude', '?')}",
        f"{len(raw):,} candidates in {raw.n_frames:,} frames",
    ]
    return "  ·  ".join(plain(p) for p in parts if p)


@st.fragment
def _frame(root: DataRoot, recording: Recording | None, raw: RawDetections, folder: Path) -> None:
    if not raw.n_frames:
        st.info("This recording has no frames.")
        return
    bar = st.columns([5, 3, 2, 4], vertical_alignment="bottom", gap="medium")
    last = raw.n_frames - 1
    key = f"{keys.PREDICT_RAW_FRAME}_{raw.key}"
    if key not in st.session_state:
        st.session_state[key] = raw_picture.strongest_frame(raw)
    frame = bar[0].slider("Frame", 0, max(last, 1), key=key, help="100 ms each.")
    frame = min(int(frame), last)
    floor = bar[1].slider("Minimum score", 0.0, 1.0, 0.0, 0.01, key=keys.PREDICT_RAW_FLOOR, persist_state="session")
    ranking = cast(
        raw_picture.Ranking,
        bar[2].segmented_control(
            "Ranked by",
            ["class", "objectness"],
            default="class",
            key=keys.PREDICT_RAW_RANKING,
            persist_state="session",
            required=True,
        ),
    )
    behind = bar[3].segmented_control(
        "Behind the boxes",
        _BEHIND,
        default=_BEHIND[0],
        key=keys.PREDICT_RAW_BEHIND,
        persist_state="session",
        required=True,
    )
    chosen = raw_picture.frame_candidates(raw, frame, floor=floor, ranking=ranking)
    ground, missing = _background(recording, raw, frame, chosen, str(behind))
    image, side = st.columns([3, 2], gap="medium")
    with image:
        st.image(
            raw_picture.draw_candidates(raw, chosen, ground),
            width="stretch",
            output_format="PNG",
            caption=f"{frame / 10:.1f} s: {len(chosen)} of {chosen.n_all} candidates"
            + ("; the stronger, the more opaque" if len(chosen) else "")
            + (f". {missing}" if missing else "."),
        )
        _legend(raw, chosen)
    with side:
        rows = raw_picture.candidate_rows(raw, chosen)
        if rows:
            st.dataframe(
                pd.DataFrame(rows),
                hide_index=True,
                height=318,
                column_config={
                    "score": st.column_config.ProgressColumn("score", format="%.2f", min_value=0.0, max_value=1.0),
                    "objectness": st.column_config.NumberColumn(format="%.2f"),
                    "distance m": st.column_config.NumberColumn(format="%.1f"),
                    "peak energy": st.column_config.NumberColumn(format="%.2f"),
                },
            )
        else:
            st.info("No candidate in this frame scores that high; lower **Minimum score**, or choose another frame.")
        if recording is not None:
            st.link_button(
                "Open this moment in the Explorer",
                address.explorer_link(
                    root=str(root.path),
                    recording=recording.name,
                    split=recording.split,
                    frame=frame,
                    a=next((s.name for s in root.prediction_sets if s.folder == folder.parent), ""),
                ),
                icon=":material/visibility:",
                type="tertiary",
            )
    _timeline(raw, frame, floor, ranking)


def _background(
    recording: Recording | None, raw: RawDetections, frame: int, chosen: raw_picture.FrameCandidates, behind: str
) -> tuple[npt.NDArray[np.uint8] | None, str]:
    """Picture behind the boxes, and a sentence where it is not to be had."""
    if behind == _BEHIND[1]:
        shown = raw_picture.full_map_picture(raw, frame)
        return shown, "" if shown is not None else "These raw detections hold no full-frame maps"
    if behind == _BEHIND[2]:
        return raw_picture.region_energy_picture(raw, chosen), ""
    if behind == _BEHIND[0]:
        if recording is None or not recording.has_video:
            return None, "There is no video of this recording"
        try:
            source = open_frames(recording)
            assert source is not None
            try:
                return np.asarray(source.frame(frame)), ""
            finally:
                source.close()
        except SaiError as error:
            return None, str(error)
    return None, ""


def _legend(raw: RawDetections, chosen: raw_picture.FrameCandidates) -> None:
    present = sorted({int(c) for c in raw.category_id[chosen.rows]})
    if present:
        # constant names and colours, no data
        words = "".join(
            f'<span style="white-space:nowrap;margin-right:14px"><span style="color:{CLASS_COLORS[c]}">&#9632;</span> '
            f"{CLASS_NAMES[c]}</span>"
            for c in present
        )
        st.html(f'<div style="font-size:13px;line-height:1.7">{words}</div>')


def _timeline(raw: RawDetections, frame: int, floor: float, ranking: raw_picture.Ranking) -> None:
    counts = raw_picture.counts_by_frame(raw, floor=floor, ranking=ranking)
    figure = go.Figure(
        go.Scatter(
            x=np.arange(raw.n_frames) / 10,
            y=counts,
            mode="lines",
            line={"width": 1.5, "shape": "hv", "color": "#188efd"},
            fill="tozeroy",
            fillcolor="rgba(24,142,253,0.18)",
            hovertemplate="%{x:.1f} s: %{y} candidates<extra></extra>",
        )
    )
    figure.add_vline(x=frame / 10, line={"color": "#dd6d05", "width": 2})
    figure.update_layout(
        height=130,
        margin={"l": 48, "r": 8, "t": 6, "b": 34},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        xaxis={"title": "seconds", "showgrid": False, "zeroline": False},
        yaxis={"title": "candidates", "rangemode": "tozero", "gridcolor": "rgba(128,128,128,0.25)", "nticks": 4},
    )
    st.plotly_chart(figure, width="stretch", config={"displayModeBar": False})

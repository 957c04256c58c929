"""What the listed recordings add up to, beside the whole set and a system; every bar leads to its frames."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from pages.components import address
from pages.components import state_keys as keys
from pages.components.plotting import clicked
from pages.components.plotting import draw as draw_chart
from pages.components.text import chart_text, percent, plain, shown
from pages.dataset import charts
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.survey.statistics import (
    EVENT_EDGES,
    N_PARTS,
    Part,
    Place,
    SetStatistics,
    places_of_bins,
    places_of_events,
    places_without,
    statistics,
)
from sai_core.survey.summary import LAYOUT, N_COLUMNS, N_ROWS, SHAPES
from sai_core.survey.table import SetTable
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES

_LABELS: Final[str] = "labels"
_ALL: Final[int] = -1
_LENGTHS: Final[tuple[float, ...]] = (0, 5, 10, 20, 30, 60, 120, 180, 240, 300, 360, 480, 600, 1200, 3600, 86_400)
_LEVELS: Final[tuple[float, ...]] = tuple(range(-120, 10, 5))
_SHOWN: Final[int] = 500


def draw(root: DataRoot, table: SetTable, rows: npt.NDArray[np.int64], systems: list[PredictionSet]) -> None:
    """Draw the view."""
    source = table.labels
    of = _LABELS
    line = st.container(horizontal=True, gap="small", vertical_alignment="center")
    if systems and any(table.predictions):
        options = [_LABELS, systems[0].name]
        address.bound(keys.DATASET_OF, options, _LABELS)
        of = str(
            line.segmented_control(
                "Count",
                options,
                required=True,
                key=keys.DATASET_OF,
                format_func=lambda name: plain(name),
                persist_state="session",
                help="What the bars count; the other is marked beside them.",
            )
        )
        source = table.labels if of == _LABELS else table.predictions
    which = [k for k in rows.tolist() if source[k] is not None]
    parts = _parts(table, source, which)
    picked = line.selectbox(
        "Class",
        [_ALL, *range(N_CLASSES)],
        key=keys.DATASET_CLASS,
        format_func=lambda c: "lengths, directions, distances of all classes" if c == _ALL else CLASS_NAMES[c],
        width=360,
        label_visibility="collapsed",
        persist_state="session",
    )
    category = None if picked == _ALL else int(picked)
    if not parts:
        st.info(f"None of the listed recordings has {'labels' if of == _LABELS else 'predictions of this system'} yet.")
        return
    found = statistics(parts)
    others: list[charts.Other] = []
    if len(rows) < len(table):
        every = [k for k in range(len(table)) if source[k] is not None]
        others.append(("whole set", statistics(_parts(table, source, every))))
    if systems and any(table.predictions):
        name, beside = (systems[0].name, table.predictions) if of == _LABELS else (_LABELS, table.labels)
        both = [k for k in which if beside[k] is not None]
        if both:
            others.append((chart_text(name), statistics(_parts(table, beside, both))))
    _say(found, of, len(rows), others)
    _charts(table, rows, parts, found, others, category)
    focus = st.session_state.pop(keys.DATASET_FOCUS, None)
    if focus is not None:
        of_recordings = focus[0] in ("duration", "loudness")  # those bars count recordings without labels, too
        inside = rows.tolist() if of_recordings else which
        title, places = _behind(table, inside, parts, focus, category)
        where = ""
        if not places and len(rows) < len(table):
            where = " (none in what is listed; these are of the whole set)"
            inside = [k for k in range(len(table)) if of_recordings or source[k] is not None]
            _, places = _behind(table, inside, [] if of_recordings else _parts(table, source, inside), focus, category)
        if places:
            _listed(root, table, [(inside[p.row], p) for p in places], title + where, systems)
        else:
            st.toast(f"{title}: there are none.")


def _parts(table: SetTable, source: Any, rows: list[int]) -> list[Part]:
    return [(table.n_frames[k], source[k]) for k in rows]


def _say(found: SetStatistics, of: str, n_rows: int, others: list[charts.Other]) -> None:
    share = found.n_labelled_frames / max(found.n_frames, 1)
    mean = found.n_source_frames / max(found.n_frames, 1)
    what = "labels" if of == _LABELS else f"predictions of {plain(of)}"
    missing = n_rows - found.n_recordings
    length = f"{found.hours:.1f} h" if found.hours >= 1 else f"{60 * found.hours:.1f} min"
    parts = [
        f"{found.n_recordings} recording{'s' * (found.n_recordings != 1)} with {what}, {length}",
        f"{found.n_annotations:,} annotations, {int(found.events.sum()):,} events",
        f"{percent(share)} of the frames have one, {mean:.2f} sources at once on average",
    ]
    if missing:
        parts.append(f":orange[{missing} of those listed have none and are not counted]")
    st.caption(" · ".join(parts))
    if others:
        st.caption("Bars: what is listed. Marks: the others, each as a share of its own. Click a bar for its frames.")
    else:
        st.caption("Click a bar for its recordings and frames.")


def _charts(
    table: SetTable,
    rows: npt.NDArray[np.int64],
    parts: list[Part],
    found: SetStatistics,
    others: list[charts.Other],
    category: int | None,
) -> None:
    of_class = "" if category is None else f" · {CLASS_NAMES[category]}"
    plans: list[tuple[str, str, Callable[[], Any]]] = [
        ("classes", "Classes: share of the frames in which each sounds", lambda: charts.classes(found, others)),
        (
            "over_time",
            "Classes over time: mean number of sources by part of the recording",
            lambda: charts.over_time(found),
        ),
        (
            "polyphony",
            "Polyphony: share of the frames with this many sources at once",
            lambda: charts.polyphony(found, others),
        ),
        ("lengths", f"Events by length{of_class}", lambda: charts.event_lengths(found, others, category)),
        ("directions", f"Directions of the strongest points{of_class}", lambda: charts.directions(found, category)),
        ("distances", f"Distances{of_class}", lambda: charts.distances(found, others, category)),
        (
            "together",
            "Co-occurrence: share of a class's frames in which another sounds too",
            lambda: charts.together(found),
        ),
    ]
    boxes = [[plan] for plan in plans]
    figures: list[tuple[str, str, Callable[[], Any]]] = []
    for name, title, axis, edges in (
        ("duration", "Recordings by length", "seconds", _LENGTHS),
        ("loudness", "Recordings by level", "dBFS, root mean square of all channels", _LEVELS),
    ):
        if np.isfinite(values := table.number(name)[rows]).any():
            make = partial(charts.recordings, values, kind=name, axis=axis, edges=edges, height=190)
            figures.append((name, title, make))
    if figures:
        boxes.append(figures)
    for begin in range(0, len(boxes), 2):
        for column, box in zip(st.columns(2, gap="medium"), boxes[begin : begin + 2], strict=False):
            with column.container(border=True, height="stretch"):
                for name, title, draw_it in box:
                    st.markdown(f"**{title}**")
                    key = f"dataset_chart_{name}"
                    draw_chart(draw_it(), key=key, alt=title, on_select=_clicked, args=(key,))


def _clicked(key: str) -> None:
    if (data := clicked(key)) is not None:
        st.session_state[keys.DATASET_FOCUS] = data


def _behind(
    table: SetTable, which: list[int], parts: list[Part], focus: list[Any], category: int | None
) -> tuple[str, list[Place]]:
    """What a bar is called, and the recordings in it."""
    kind, at = str(focus[0]), focus[1]
    of_class = "" if category is None else f" of {CLASS_NAMES[category]}"
    classes = range(N_CLASSES) if category is None else (category,)
    if kind == "class":
        return f"Frames with {CLASS_NAMES[at]}", places_of_bins(parts, [LAYOUT["class"].start + at])
    if kind == "polyphony":
        if at == 0:
            return "Frames without a source", places_without(parts)
        title = f"Frames with {at} source{'s' * (at != 1)} at once"
        return title, places_of_bins(parts, [LAYOUT["polyphony"].start + at - 1])
    if kind == "direction":
        row, column = divmod(at, N_COLUMNS)
        bins = [LAYOUT["direction"].start + (c * N_ROWS + row) * N_COLUMNS + column for c in classes]
        return f"Annotations{of_class} in this direction", places_of_bins(parts, bins)
    if kind == "distance":
        width = SHAPES["distance"][1]
        bins = [LAYOUT["distance"].start + c * width + b for c in classes for b in charts.distance_bins(at)]
        return f"Annotations{of_class} at this distance", places_of_bins(parts, bins)
    if kind == "together":
        first, second = sorted(divmod(at, N_CLASSES))
        title = f"Frames with {CLASS_NAMES[first]} and {CLASS_NAMES[second]}"
        return title, places_of_bins(parts, [LAYOUT["together"].start + first * N_CLASSES + second])
    if kind == "length":
        title = f"Events{of_class} of {EVENT_EDGES[at] / FRAME_RATE_HZ:g} s and more"
        if at + 1 < len(EVENT_EDGES):
            title = (
                f"Events{of_class} of {EVENT_EDGES[at] / FRAME_RATE_HZ:g} to {EVENT_EDGES[at + 1] / FRAME_RATE_HZ:g} s"
            )
        return title, places_of_events(parts, length=at, category=category)
    if kind == "part":
        chosen = int(focus[2])
        title = f"{CLASS_NAMES[chosen]} from {at * 100 // N_PARTS} to {(at + 1) * 100 // N_PARTS} % of the recording"
        return title, places_of_events(parts, part=at, category=chosen)
    # recordings by one of their own figures
    low, high = float(focus[1]), float(focus[2])
    values = table.number(kind)
    places = [Place(k, 1, 0) for k, row in enumerate(which) if low <= values[row] < high]
    unit = "s" if kind == "duration" else "dBFS"
    return f"Recordings of {low:g} to {high:g} {unit}", places


@st.dialog("Behind this bar", width="large")
def _listed(
    root: DataRoot, table: SetTable, places: list[tuple[int, Place]], title: str, systems: list[PredictionSet]
) -> None:
    """Recordings of a bar, those with most of it first; each leads to its first frame."""
    places = sorted(places, key=lambda item: -item[1].count)
    n = sum(place.count for _, place in places)
    st.markdown(f"**{title}**: {n:,} in {len(places)} recording{'s' * (len(places) != 1)}")
    carried: dict[str, Any] = dict(zip(("a", "b"), (s.name for s in systems), strict=False))

    def moment(row: int, frame: int) -> dict[str, Any]:
        recording = table.recordings[row]
        return {
            "root": str(root.path),
            "recording": recording.name,
            "split": recording.split,
            "frame": frame,
            **carried,
        }

    frame = pd.DataFrame(
        {
            "open": [address.explorer_link(**moment(row, place.frame)) for row, place in places[:_SHOWN]],
            "recording": [shown(table.recordings[row].name) for row, _ in places[:_SHOWN]],
            "split": [shown(table.recordings[row].split) for row, _ in places[:_SHOWN]],
            "count": [place.count for _, place in places[:_SHOWN]],
            "first": [place.frame / FRAME_RATE_HZ for _, place in places[:_SHOWN]],
        }
    )
    st.dataframe(
        frame,
        hide_index=True,
        height="content" if len(frame) <= 10 else 400,
        column_config={
            "open": st.column_config.LinkColumn("", display_text=":material/open_in_new:", width=36, help="New tab"),
            "recording": st.column_config.TextColumn("Recording", width=220),
            "split": st.column_config.TextColumn("Split", width=140),
            "count": st.column_config.NumberColumn("Number", width=90),
            "first": st.column_config.NumberColumn("First at", format="%.1f s", width=90),
        },
    )
    if len(places) > _SHOWN:
        st.caption(f"The {_SHOWN} recordings with the most are listed; {len(places) - _SHOWN} more have some.")
    row, place = places[0]
    name = plain(table.recordings[row].name)
    if st.button(f"Open {name} at {place.frame / FRAME_RATE_HZ:.1f} s", icon=":material/visibility:", type="primary"):
        address.go("explorer", address.explorer_query(**moment(row, place.frame)))

"""The list of frames behind a figure, with links into the Explorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import pandas as pd
import streamlit as st

from pages.components import address
from pages.components import state_keys as keys
from pages.components.text import plain
from sai_core.errors import SaiError
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.metrics.evaluation.oracles import ErrorKind
from sai_core.metrics.evaluation.score_store import read_pair
from sai_core.metrics.reading import drilldown
from sai_core.metrics.reading.budget import KIND_MEANINGS, Budget, budget_moments
from sai_core.metrics.reading.slices import Attribute, Slices, slice_moments
from sai_core.metrics.reading.systems import SystemResult
from sai_core.review.chosen import keep_moments
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES, class_color, class_name

_SHOWN: Final[int] = 300
"""Rows of the list: more than anybody looks at, few enough to be sent at once."""

_AP_KEYS: Final[Mapping[str, float | None]] = {"AP25": 0.25, "AP50": 0.5, "AP75": 0.75, "mAP": None}
_AP_KEYS_ALL: Final[Mapping[str, float | None]] = {**_AP_KEYS, "mAP_low": None, "mAP_high": None}
_VALUE_TITLES: Final[Mapping[str, tuple[str, str]]] = {
    "pearson_r": ("Pearson r", "%.3f"),
    "angle_deg": ("Angle °", "%.1f"),
    "distance_cm": ("Distance cm", "%.0f"),
    "distance_mape": ("Distance %", "%.1f"),
    "official_mape": ("Distance %", "%.1f"),
    "energy": ("Label energy", "%.1f"),
    "similarity": ("Similarity", "%.3f"),
}


@dataclass(frozen=True)
class Focus:
    """One figure: which frames to list.

    Attributes
    ----------
    view : str
        View of the page that it was chosen in.
    kind : str
        ``"ap"``, ``"pairs"``, ``"labels"``, ``"detections"``, ``"confusion"``, ``"direction"``, ``"difference"``,
        ``"only"``, ``"budget"`` or ``"slice"``; ``"points"`` and ``"like"`` of moments that are given.
    system : str
        Whose.
    title : str
        The figure in words; plain text.
    row : str
        ``"class"``, ``"macro"`` or ``"micro"``.
    category : int or None
    threshold : float or None
    measure : str
        Of pairs; of a budget the kind of error, of a slice its attribute.
    recording : str
        One recording only; "" for all.
    low, high : float or None
        Bin of scores; ``low`` alone is the operating point of an AP.
    predicted : int or None
        Class of the predictions of a confusion.
    confused : bool
        Of ``"direction"``.
    slice_value : str
        Of a slice.
    rival : str
        The second system of a ``"difference"`` that is not the page's.
    """

    view: str
    kind: str
    system: str
    title: str
    row: str = "class"
    category: int | None = None
    threshold: float | None = None
    measure: str = ""
    recording: str = ""
    low: float | None = None
    high: float | None = None
    predicted: int | None = None
    confused: bool = False
    slice_value: str = ""
    rival: str = ""


def focus_of_cell(
    view: str, system: str, key: str, *, category: int | None, row: str, threshold: float, recording: str = ""
) -> Focus | None:
    """Focus behind a cell of a table, by its column's key; None for a column without frames (counts of recordings)."""
    group, _, rest = key.partition("_")
    if group in ("macro", "micro") and rest:
        row, key = group, rest
    where = class_name(category) if category is not None else row
    base: dict[str, Any] = {"category": category, "row": row, "recording": recording}
    suffix = f" · {recording}" if recording else ""
    if key in _AP_KEYS_ALL:
        title = "mAP" if _AP_KEYS_ALL[key] is None else key
        return Focus(view, "ap", system, f"{title} · {where}{suffix}", threshold=_AP_KEYS_ALL[key], **base)
    if key in ("pearson_r", "n_pairs"):
        return Focus(view, "pairs", system, f"Pearson r · {where}{suffix}", measure="pearson_r", **base)
    if key in ("angle_deg", "distance_cm", "distance_mape", "official_mape"):
        title = {"angle_deg": "angular error", "distance_cm": "distance error in cm"}.get(key, "distance error in %")
        return Focus(view, "pairs", system, f"{title} · {where}{suffix}", measure=key, **base)
    if key == "n_labels":
        return Focus(view, "labels", system, f"labels · {where}{suffix}", threshold=threshold, **base)
    if key in ("n_detections", "row"):
        return Focus(view, "detections", system, f"detections · {where}{suffix}", threshold=threshold, **base)
    if key in ("missed", "false_positives"):
        title = "missed and false" if row != "class" else "errors"
        return Focus(view, "ap", system, f"{title} · {where}{suffix}", threshold=threshold, **base)
    if key == "agnostic_mAP":
        return Focus(view, "direction", system, "nothing of any class there · all classes", recording=recording)
    if key == "matched_f1":
        return Focus(view, "direction", system, "right place, wrong class", confused=True, recording=recording)
    return None


def build(
    focus: Focus,
    system: SystemResult,
    second: SystemResult | None,
    budget: Budget | None = None,
    slices: Slices | None = None,
    others: Sequence[SystemResult] = (),
) -> drilldown.Moments:
    """Moments behind a figure; ``others``: the systems besides this one, for what it alone finds.

    Raises
    ------
    InputError
        A figure that the system's revision does not have.
    """
    results = [r for r in system.results if not focus.recording or r.recording == focus.recording]
    threshold = 0.5 if focus.threshold is None else focus.threshold
    row = cast(drilldown.Row, focus.row)
    if focus.kind == "ap":
        return drilldown.ap_moments(
            results, row=row, category_id=focus.category, threshold=focus.threshold, min_score=focus.low
        )
    if focus.kind == "pairs":
        return drilldown.pair_moments(
            results, cast(drilldown.PairMeasure, focus.measure), row=row, category_id=focus.category
        )
    if focus.kind == "labels":
        return drilldown.label_moments(results, category_id=focus.category, threshold=threshold)
    if focus.kind == "detections":
        score_range = None if focus.low is None or focus.high is None else (focus.low, focus.high)
        return drilldown.detection_moments(
            results, category_id=focus.category, threshold=threshold, score_range=score_range
        )
    if focus.kind == "confusion":
        return drilldown.confusion_moments(results, label_category=focus.category, prediction_category=focus.predicted)
    if focus.kind == "direction":
        return drilldown.direction_moments(results, confused=focus.confused)
    if focus.kind == "budget":
        assert budget is not None
        kind = cast(ErrorKind, focus.measure)
        return budget_moments(results, budget, kind, row=row, category_id=focus.category)
    if focus.kind == "slice":
        assert slices is not None
        return slice_moments(results, slices, cast(Attribute, focus.measure), focus.slice_value)
    if focus.kind == "only":
        return drilldown.only_moments(results, [rival.results for rival in others], threshold=threshold)
    second_results = second.results if second is not None else ()
    return drilldown.difference_moments(results, second_results, category_id=focus.category, threshold=threshold)


def show(
    focus: Focus,
    system: SystemResult,
    *,
    second: SystemResult | None,
    budget: Budget | None = None,
    slices: Slices | None = None,
    others: Sequence[SystemResult] = (),
    splits: Mapping[str, str],
    files: Mapping[str, tuple[Path, Path]],
    root: str,
    height: int = 260,
    narrow: bool = False,
    given: drilldown.Moments | None = None,
) -> None:
    """Draw the list behind a figure.

    Parameters
    ----------
    focus : Focus
    system, second : SystemResult
        The system, and the second one of a comparison.
    budget, slices : optional
        The system's, for a figure of them.
    others : sequence of SystemResult
        The systems besides this one.
    splits : mapping of str to str
        Split of each recording.
    files : mapping of str to (Path, Path)
        Labels and predictions of the system, by recording.
    root : str
        Data root, for the links.
    height : int
        Of the list, pixels.
    narrow : bool
        Half the page is all there is.
    given : Moments, optional
        The moments themselves, in their order, where they are not of a figure.
    """
    try:
        moments = build(focus, system, second, budget, slices, others) if given is None else given
    except SaiError as error:
        st.error(plain(error))
        return
    head = st.container(horizontal=True, vertical_alignment="center", gap="medium")
    names = plain(system.name) + (f" and {plain(second.name)}" if focus.kind == "difference" and second else "")
    head.markdown(f"**Behind {plain(focus.title)}** :gray[· {names} · revision {system.revision}]", width="content")
    # what is like a moment keeps its order
    grouped = focus.kind != "like" and head.toggle(
        "Join neighbouring frames",
        key=keys.SCORES_STRETCHES,
        persist_state="session",
        help="One row per stretch of frames with the same class and the same kind of error; costs are summed.",
    )
    if not len(moments):
        st.info("There are no frames behind this figure: nothing is wrong here, or there is nothing to count.")
        return
    n_frames = len(moments)
    if head.button(
        "Review these",
        icon=":material/rate_review:",
        key="scores_review_these",
        help="The review queue, narrowed down to the items that these moments lie in",
    ):
        _review(focus, moments, system, splits, files, root)
    moments = drilldown.stretches(moments) if grouped else drilldown.copies_joined(moments)
    shown = moments.take(slice(0, _SHOWN))
    count = f"{n_frames:,} moments" + (f" in {len(moments):,} stretches" if grouped else "")
    if not grouped and len(moments) < n_frames:
        count += f" in {len(moments):,} rows (labels written once per part of their region share one)"
    if len(moments) > _SHOWN:
        count += f", the first {_SHOWN} shown"
    (st if narrow else head).caption(f"{count} · {_meaning(focus)}", width="stretch")

    second_name = second.name if second is not None and focus.kind == "difference" else ""
    queries = [
        {
            "root": root,
            "recording": str(recording),
            "split": splits.get(str(recording), ""),
            "frame": int(frame),
            "a": system.name,
            "b": second_name,
        }
        for recording, frame in zip(shown.recording, shown.frame, strict=True)
    ]
    frame, config = _frame(focus, shown, queries, narrow=narrow)
    event = st.dataframe(
        frame,
        hide_index=True,
        height=height,
        row_height=28,
        placeholder="–",
        column_config=config,
        on_select="rerun",
        selection_mode="single-row",
        key=f"scores_moments {focus} {system.revision} {grouped}",
        alt=f"Frames behind {focus.title}",
    )
    rows = event["selection"]["rows"]
    if rows:
        chosen = queries[rows[0]]
        query = address.explorer_query(**cast(dict[str, Any], chosen))
        line = st.container(horizontal=True, gap="small", vertical_alignment="center")
        label = f"Open {plain(chosen['recording'])}, frame {chosen['frame']} in the Explorer"
        if line.button(label, icon=":material/visibility:", type="primary"):
            address.go("explorer", query)
        if line.button(
            "Review this recording",
            icon=":material/rate_review:",
            help="The likely label errors of this class, the nearest first",
        ):
            address.go("review", {**query, keys.REVIEW_CLASS: str(int(shown.category[rows[0]]))})
        if line.button("Figure of this frame", icon=":material/image:"):
            address.go("figures", {**query, keys.FIGURES_VIEW: "Fig. 3"})


def _review(
    focus: Focus,
    moments: drilldown.Moments,
    system: SystemResult,
    splits: Mapping[str, str],
    files: Mapping[str, tuple[Path, Path]],
    root: str,
) -> None:
    """Open the review queue of these moments."""
    of = {"budget": "the error budget", "slice": "a slice"}.get(focus.kind, "the scores")
    title = f"{of} ({focus.title} · {system.name})"
    try:
        with st.spinner("Looking up the regions of these moments"):
            key = keep_moments(
                moments,
                root=Path(root),
                splits=splits,
                title=title,
                system=system.name,
                tables=lambda name: read_pair(*files[name], recording=name, revision=system.revision),
            )
    except SaiError as error:
        st.error(plain(error))
        return
    address.go("review", {**address.place(root), keys.ROOT: root, keys.REVIEW_MOMENTS: key})


def _meaning(focus: Focus) -> str:
    """What the order of the list is."""
    if focus.kind == "slice":
        return "cost = macro mAP of the whole set gained if this one alone were right"
    if focus.kind == "ap":
        name = "mAP" if focus.threshold is None else f"AP at IoU {focus.threshold:g}"
        of = f"{focus.row} {name}" if focus.row != "class" else name
        return f"cost = {of} gained if this one alone were right"
    if focus.kind == "budget":
        return f"{KIND_MEANINGS[cast(ErrorKind, focus.measure)]}; cost = {focus.row} mAP lost by this one alone"
    if focus.kind == "pairs":
        return "cost = how much the mean improves without this pair"
    if focus.kind == "like":
        return "the chosen one, then by cosine similarity in all dimensions; within a recording at least 1 s apart"
    if focus.kind == "labels":
        return "missed first, then by energy"
    if focus.kind in ("difference", "only"):
        return "by label energy"
    return "wrong ones first, the most confident first"


def _frame(
    focus: Focus, moments: drilldown.Moments, queries: list[dict[str, Any]], *, narrow: bool
) -> tuple[Any, dict[str, Any]]:
    """Table of moments, class-coloured, and how its columns are shown."""
    categories = moments.category.tolist()
    value_key = focus.measure if focus.kind == "pairs" else "energy"
    if focus.kind == "confusion" and None not in (focus.category, focus.predicted):
        value_key = "angle_deg"
    if focus.kind == "like":
        value_key = "similarity"
    value_title, value_format = _VALUE_TITLES[value_key]
    columns: dict[str, Any] = {
        "open": [address.explorer_link(**query) for query in queries],
        "recording": moments.recording.astype(str),
        "frame": moments.frame,
        "time": [f"{int(k // FRAME_RATE_HZ) // 60}:{(k / FRAME_RATE_HZ) % 60:04.1f}" for k in moments.frame.tolist()],
        "length": moments.last_frame - moments.frame + 1,
        "chip": ["■"] * len(moments),
        "class": [CLASS_NAMES[c] if 0 <= c < N_CLASSES else "–" for c in categories],
        "what": [
            drilldown.describe(k, o) + (f" · written once per part, ×{n}" if n > 1 else "")
            for k, o, n in zip(
                moments.kind.tolist(), moments.other_category.tolist(), moments.copies.tolist(), strict=True
            )
        ],
        "iou": moments.iou,
        "score": moments.score,
        "value": moments.value,
        "hurt": moments.hurt,
    }
    largest = max((h for h in moments.hurt.tolist() if h == h), default=0.0)
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    config: dict[str, Any] = {
        "open": st.column_config.LinkColumn("", display_text=":material/open_in_new:", width=40, help="New tab"),
        "recording": text("Recording", width=150),
        "frame": number("Frame", width=52, format="%d"),
        "time": text("Time", width=52),
        "length": number("Frames", width=60, format="%d"),
        "chip": text("", width=28),
        "class": text("Class", width=115),
        "what": text("What is wrong", width=185),
        "iou": number("IoU", width=52, format="%.3f"),
        "score": number("Score", width=52, format="%.3f"),
        "value": number(value_title, width=90, format=value_format),
        "hurt": st.column_config.ProgressColumn(
            "Cost", format="%.5f" if largest < 0.1 else "%.3f", min_value=0.0, max_value=largest or 1.0, width=130
        ),
    }
    if narrow:
        config |= {"what": text("What is wrong", width=150), "class": text("Class", width=110)}
        config["hurt"] = number("Cost", width=70, format="%.5f")
        order = ("open", "chip", "class", "what", "frame", "length", "hurt", "score", "iou", "value", "recording")
        columns = {name: columns[name] for name in order}
    dropped = [name for name in ("iou", "score", "value", "hurt") if pd.isna(columns[name]).all()]
    if not (moments.last_frame > moments.frame).any():
        dropped.append("length")
    if focus.kind in ("detections", "confusion", "direction", "points", "like"):
        dropped.append("hurt")  # it is the score
    if focus.kind == "pairs":
        dropped.append("what")
        config["hurt"] = number("Cost", width=90, format="%.5f")
    for name in dropped:
        columns.pop(name, None)
    table = pd.DataFrame(columns)
    colors = [f"color: {class_color(c)}" for c in categories]
    return table.style.apply(lambda _: colors, subset=["chip"]), config

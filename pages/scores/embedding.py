"""The Scores page's view of embeddings: detections as points, a lasso to their moments, one to those most like it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
import streamlit as st

from pages.components import address, background, plotting, scores_jobs
from pages.components import state_keys as keys
from pages.components.text import chart_text, percent, plain, shown
from pages.scores import moments
from pages.scores.moments import Focus
from pages.scores.views import SIDE_HEIGHT_PX, Scene
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.metrics.reading import drilldown
from sai_core.metrics.reading.embedding import Embedding, nearest
from sai_core.metrics.reading.slices import Groups, room_of
from sai_core.taxonomy import CLASS_COLORS, CLASS_NAMES, class_name
from sai_core.tuning import raw_set

EMBEDDING: Final[str] = "Embedding"
_CLASS, _ERROR, _RECORDING, _ROOM, _SPLIT, _TAG = "Class", "Error", "Recording", "Room", "Split", "Tag"
_LARGEST: Final[int] = 12
"""Recordings, rooms or tags that get a colour."""

_ERRORS: Final[Mapping[int, str]] = {
    drilldown.FOUND: "#2f7ed8",
    drilldown.SMALL_OVERLAP: "#9467bd",
    drilldown.WRONG_CLASS: "#d9730d",
    drilldown.DUPLICATE: "#9a6b3f",
    drilldown.FALSE_POSITIVE: "#d0453a",
    drilldown.MISSED: plotting.GREY,
}
"""Colours of kinds; each stands out on both pages by at least 3:1."""


@dataclass(frozen=True)
class Group:
    """Points of one colour."""

    name: str
    color: str
    points: npt.NDArray[np.int64]


def draw(
    scene: Scene,
    selection: scores_jobs.Selection,
    splits: Mapping[str, str],
    groups: Mapping[str, Groups],
    *,
    seed: int,
) -> None:
    """Draw the view: the chart to the left, the moments of what is selected in it to the right.

    Parameters
    ----------
    scene : Scene
    selection : Selection
        Files of the chosen system.
    splits : mapping of str to str
        Split of each recording.
    groups : mapping of str to mapping
        The user's tags of each recording.
    seed : int
        Of the sample.
    """
    raw = raw_set(selection.system.folder)
    if raw is None:
        _say_no_raw(scene)
        return
    job = scores_jobs.embedding(selection, scene.chosen, raw.stores, seed=seed)
    job.wait(0.5)
    if not background.ready(job, button="Stop", again=scores_jobs.later()):
        return
    found = job.value
    if not len(found):
        st.info(
            "None of this set's detections could be led back to its raw detections: they are of another prediction. "
            "Predict again to have both anew."
        )
        return
    left, right = st.columns([1.4, 1], gap="medium")
    with left:
        chosen = _chart(found, splits, {name: of.get("tag", ()) for name, of in groups.items()})
    with right:
        _list(scene, found, chosen, splits, selection.pairs)


def _choose(system: str) -> None:
    st.session_state[keys.SCORES_SYSTEM] = system


# sets with raw detections that are offered where the chosen one has none
_MOST_LINKS: Final[int] = 4


def _say_no_raw(scene: Scene) -> None:
    name = scene.chosen.name
    others = [s.name for s in scene.root.prediction_sets if s.name != name and raw_set(s.folder) is not None]
    st.info(
        f"{plain(name)} has no raw detections, and prediction files hold no embeddings. `predict` keeps raw detections "
        "beside the files that it writes: predict with its checkpoint on **Predict**, or by the command below."
        + (f" Sets with raw detections here: {plain(', '.join(others))}." if others else "")
    )
    for other_name in others[:_MOST_LINKS]:
        # a link to the page that is open would change nothing
        st.button(
            f"Embedding of {shown(other_name)}",
            key=f"embedding_of_{other_name}",
            icon=":material/scatter_plot:",
            on_click=_choose,
            args=(other_name,),
        )
    where = shlex.quote(str(scene.root.path))
    split = next((s for s in scene.root.splits if s), "SPLIT")
    st.code(
        f"python -m sai_core predict --data {where} --split {split} --checkpoint CHECKPOINT",
        language="bash",
    )
    address.page_link("predict", "Predict", icon=":material/network_node:")


def _chart(found: Embedding, splits: Mapping[str, str], tags: Mapping[str, tuple[str, ...]]) -> list[int]:
    """Draw the points; gives those that are selected."""
    names = [_CLASS, _ERROR, _RECORDING, _ROOM]
    if len({splits.get(r, "") for r in found.moments.recording.tolist()}) > 1:
        names.append(_SPLIT)
    if any(tags.values()):
        names.append(_TAG)
    if st.session_state.get(keys.SCORES_COLORED) not in names:  # tags and splits of other data
        st.session_state.pop(keys.SCORES_COLORED, None)
    colored = st.segmented_control(
        "Coloured by",
        names,
        default=_CLASS,
        required=True,
        key=keys.SCORES_COLORED,
        persist_state="session",
        label_visibility="collapsed",
    )
    # under a lasso a click selects nothing
    clicking = st.toggle(
        "Click one point for those most like it",
        key=keys.SCORES_ONE_POINT,
        persist_state="session",
        help="Off: draw a lasso or a box.",
    )
    parts = groups_of_points(found, str(colored or _CLASS), splits, tags)
    key = f"scores_embedding_{found.name}_{found.revision}_{colored}_{clicking}_{len(found)}_{found.seed}"
    plotting.draw(
        figure(found, parts, clicking=clicking, height=SIDE_HEIGHT_PX + 60),
        key=key,
        on_select=lambda: None,
        areas=not clicking,
        alt=f"Detections by their embeddings, coloured by {str(colored).lower()}",
    )
    st.caption(plain(counted(found)))
    return [k for k in plotting.selected(key) if k < len(found)]


def counted(found: Embedding) -> str:
    """What the points are, and what is not among them."""
    sentences = [
        f"Principal axes of {found.vectors.shape[1]} dimensions; the two hold "
        f"{percent(float(found.variance.sum()))} of the variance, so what is near here may be far apart."
    ]
    linked = found.by_score + found.by_place
    lost = found.n_detections - linked
    sentences.append(
        f"{linked:,} of {found.n_detections:,} detections found among the raw ones ({found.by_score:,} by their score, "
        f"{found.by_place:,} by their place)."
    )
    if lost:
        sentences.append(f"{lost:,} left out: a track that coasts may have no raw detection there.")
    if found.n_missed and not found.missed_shown:
        n = found.n_missed
        sentences.append(
            "The one missed label has no candidate of its own and is left out."
            if n == 1
            else f"None of the {n:,} missed labels has a candidate of its own; they are left out."
        )
    elif found.n_missed:
        sentences.append(
            f"Hollow: {found.missed_shown:,} of {found.n_missed:,} missed labels, at the strongest candidate of their "
            "place; the others have none of their own."
        )
    if found.not_finite:
        sentences.append(f"{found.not_finite:,} embeddings are no numbers and left out.")
    if found.without:
        n = len(found.without)
        sentences.append(f"{n} recording{'s' * (n != 1)} without raw detections left out ({found.without[0]}, ...).")
    if len(found.shown) < len(found):
        sentences.append(f"Drawn: {len(found.shown):,} of {len(found):,} points, at random (seed {found.seed}).")
    return " ".join(sentences)


def groups_of_points(
    found: Embedding, colored: str, splits: Mapping[str, str], tags: Mapping[str, tuple[str, ...]] | None = None
) -> list[Group]:
    """Drawn points by colour; of recordings, rooms or tags the largest have one each, the rest is grey.

    A point has one colour: recordings with several tags are a group by themselves ("kitchen + noisy"), those without
    any are grey.
    """
    at = found.shown
    if colored in (_CLASS, _ERROR):
        codes = (found.moments.category if colored == _CLASS else found.moments.kind)[at]
        known: list[tuple[int, str, str]] = (
            [(c, name, CLASS_COLORS[c]) for c, name in enumerate(CLASS_NAMES)]
            if colored == _CLASS
            else [(kind, drilldown.KIND_NAMES[kind], color) for kind, color in _ERRORS.items()]
        )
        made = [Group(name, color, at[codes == code]) for code, name, color in known]
        return [g for g in made if len(g.points)]
    recordings = [str(r) for r in found.moments.recording[at]]
    values = {
        _RECORDING: lambda r: r,
        _ROOM: room_of,
        _SPLIT: lambda r: splits.get(r, ""),
        _TAG: lambda r: " + ".join((tags or {}).get(r, ())),
    }[colored]
    value = np.array([values(r) for r in recordings], dtype=object)
    # the largest first, of equals by name
    ordered = sorted(Counter(value.tolist()).items(), key=lambda item: (-item[1], item[0]))
    untagged = colored == _TAG and any(name == "" for name, _ in ordered)
    if untagged:
        ordered = [item for item in ordered if item[0]]
    large = sorted(name for name, _ in ordered[:_LARGEST])
    made = [Group(name, CLASS_COLORS[k], at[value == name]) for k, name in enumerate(large)]
    if len(ordered) > _LARGEST:
        n = len(ordered) - _LARGEST
        rest = ~np.isin(value.astype(str), [*large, ""] if untagged else large)
        made.append(Group(f"{n} others", plotting.GREY, at[rest]))
    if untagged:
        made.append(Group("no tag", plotting.GREY, at[value == ""]))
    return made


def figure(found: Embedding, parts: Sequence[Group], *, clicking: bool = False, height: int) -> Any:
    """Chart of the points; ``customdata`` is their number. ``clicking``: to be clicked, not drawn around."""
    chart = go.Figure()
    for group in parts:
        missed = found.moments.kind[group.points] == drilldown.MISSED
        chart.add_scattergl(
            x=found.xy[group.points, 0],
            y=found.xy[group.points, 1],
            mode="markers",
            name=chart_text(group.name),
            marker={
                "size": 7,
                "color": group.color,
                "opacity": 0.8,
                "symbol": np.where(missed, "circle-open", "circle"),
            },
            customdata=group.points[:, None],
            text=[_hover(found, k) for k in group.points.tolist()],
            hovertemplate="%{text}<extra></extra>",
            selected={"marker": {"opacity": 1.0}},
            unselected={"marker": {"opacity": 0.15}},
        )
    plotting.styled(chart, height=height, legend=True, top=30)
    chart.update_layout(
        dragmode=False if clicking else "lasso",
        legend={"orientation": "h", "y": -0.17, "yanchor": "top", "x": 0, "itemsizing": "constant"},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": plotting.GREY, "activecolor": plotting.text_color()},
    )
    for axis, share, update in zip((1, 2), found.variance, (chart.update_xaxes, chart.update_yaxes), strict=True):
        update(title=f"Axis {axis}, {percent(float(share))} of the variance", fixedrange=False)
    chart.update_yaxes(scaleanchor="x")  # distances are as they are
    return chart


def _hover(found: Embedding, k: int) -> str:
    m = found.moments
    score = f", score {m.score[k]:.3f}" if not np.isnan(m.score[k]) else ""
    what = drilldown.describe(int(m.kind[k]), int(m.other_category[k]))
    seconds = m.frame[k] / FRAME_RATE_HZ
    lines = [
        f"<b>{chart_text(class_name(int(m.category[k])))}</b>{score}",
        chart_text(what),
        f"network: {chart_text(class_name(int(found.candidate_category[k])))} {found.candidate_score[k]:.3f}",
        f"{chart_text(m.recording[k])}, {seconds:.1f} s",
    ]
    return "<br>".join(lines)


def _list(
    scene: Scene,
    found: Embedding,
    chosen: list[int],
    splits: Mapping[str, str],
    files: Mapping[str, tuple[Path, Path]],
) -> None:
    """Moments of the selected points; of one point those like it."""
    m = found.moments
    if len(chosen) == 1:
        like, cosine = nearest(found, chosen[0])
        index = np.array([chosen[0], *like.tolist()])
        values = {f.name: getattr(m.take(index), f.name) for f in fields(drilldown.Moments)}
        given = drilldown.Moments(**{**values, "value": np.concatenate([[1.0], cosine])})
        point = f"{class_name(int(m.category[chosen[0]]))}, {shown(m.recording[chosen[0]])}, frame {m.frame[chosen[0]]}"
        focus = Focus(EMBEDDING, "like", found.name, f"what is like {point}", measure=str(chosen[0]))
    else:
        given = (m.take(np.array(chosen)) if chosen else m).sorted()
        title = f"{len(chosen):,} selected points" if chosen else "all points"
        focus = Focus(EMBEDDING, "points", found.name, title, measure=str(hash(tuple(chosen))))
        if not chosen and st.session_state.get(keys.SCORES_ONE_POINT):
            st.caption("Click a point in the chart to list those most like it.")
        elif not chosen:
            st.caption(
                "Draw a lasso around points (or a box: buttons above the chart) to list their moments, or switch on "
                "*Click one point* for those most like it."
            )
    moments.show(
        focus,
        scene.chosen,
        second=None,
        splits=splits,
        files=files,
        root=str(scene.root.path),
        narrow=True,
        height=SIDE_HEIGHT_PX,
        given=given,
    )

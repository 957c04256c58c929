"""The Scores page's comparison of two label sets: what changed between them, and what it does to each system."""

from __future__ import annotations

import math
from typing import Any, Final

import pandas as pd
import streamlit as st

from pages.components import address, background, scores_jobs, sources
from pages.components import state_keys as keys
from pages.components.text import plain, shown
from sai_core.dataset import DataRoot, Recording
from sai_core.errors import SaiError
from sai_core.files import file_signatures
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.metrics import Revision
from sai_core.review.label_sets import CHANGES, LabelChanges, compare_label_sets
from sai_core.taxonomy import CLASS_NAMES, class_name
from sai_core.workspace import label_sets

LABELS: Final[str] = "Labels"
_SHOWN: Final[int] = 2000
_OWN: Final[str] = ""


def draw(root: DataRoot, recordings: tuple[Recording, ...], revision: Revision) -> None:
    """Draw the view: the chosen label set against another."""
    options = [name for name in (_OWN, *(s.name for s in label_sets(root))) if name != root.label_set]
    if not options:
        st.info(
            "There is only one label set. Export corrections on **Review** (*Results*, *Export*) or make labels on "
            "**Label audio** to have another."
        )
        with st.container(horizontal=True, gap="medium"):
            address.page_link("review", "Review", icon=":material/rate_review:")
            address.page_link("label", "Label audio", icon=":material/graphic_eq:")
        return
    address.bound(keys.LABELS_OTHER, options, options[0])
    other_name = st.selectbox(
        "Compared with",
        options,
        key=keys.LABELS_OTHER,
        persist_state="session",
        format_func=_title,
        width=320,
        help=f"It is compared with {plain(_title(root.label_set))}, chosen under **Data**, *Labels*.",
    )
    try:
        compared = sources.data_root(
            str(root.path), sources.entries(address.place().get(keys.PREDICTION_FOLDER, "")), other_name
        )
    except SaiError as error:
        st.error(plain(error))
        return
    names = {(r.split, r.name) for r in recordings}
    counterpart = tuple(r for r in compared.recordings if (r.split, r.name) in names)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        _figures(root, recordings, counterpart, other_name, revision)
    with right:
        _changes(root, recordings, counterpart, other_name)


def _title(name: str) -> str:
    return shown(name) or "the labels of the data root"


def _figures(
    root: DataRoot,
    recordings: tuple[Recording, ...],
    counterpart: tuple[Recording, ...],
    other_name: str,
    revision: Revision,
) -> None:
    """Main figures of every system against both."""
    st.markdown("**Scores against both**")
    rows: list[dict[str, Any]] = []
    waiting = []
    for system in root.prediction_sets:
        sides = [scores_jobs.select(system, side) for side in (counterpart, recordings)]
        if not all(side.labels for side in sides):
            continue
        found = [scores_jobs.system(side, revision) for side in sides]
        waiting += [job for job in found if job.active]
        if any(job.result is None for job in found):
            continue
        before, after = (job.value.evaluation.macro for job in found)
        ap50 = [
            dict(zip(job.value.evaluation.thresholds, m.ap, strict=True))[0.5]
            for job, m in zip(found, (before, after), strict=True)
        ]
        rows.append(
            {
                "system": system.name,
                "mAP, other": before.mean_ap,
                "mAP": after.mean_ap,
                "Δ mAP": after.mean_ap - before.mean_ap,
                "Δ AP50": ap50[1] - ap50[0],
                "Δ Pearson r": after.pearson_r - before.pearson_r,
            }
        )
    if waiting:
        background.watch(waiting, button="Stop")
    if rows:
        signed = st.column_config.NumberColumn(format="%+.4f")
        figures = st.column_config.NumberColumn(format="%.4f")
        st.dataframe(
            pd.DataFrame(rows),
            hide_index=True,
            column_config={
                "mAP, other": figures,
                "mAP": figures,
                **{name: signed for name in ("Δ mAP", "Δ AP50", "Δ Pearson r")},
            },
        )
        st.caption(
            f"Macro figures, revision {revision}. Other: {plain(_title(other_name))}; "
            f"Δ: {plain(_title(root.label_set))} minus other."
        )
    elif not waiting:
        st.caption("No system has predictions for recordings that both label sets have.")


def _changes(
    root: DataRoot, recordings: tuple[Recording, ...], counterpart: tuple[Recording, ...], other_name: str
) -> None:
    """What differs, by class and one by one."""
    before = {r.name: r.label_path for r in counterpart if r.label_path is not None}
    after = {r.name: r.label_path for r in recordings if r.label_path is not None}
    key = ("labels", tuple(sorted(map(str, before.values()))), file_signatures([*before.values(), *after.values()]))
    job = background.queue("label-changes", at_once=1).submit(
        key, lambda progress: compare_label_sets(before, after, progress=progress), title="Comparing labels"
    )
    job.wait(0.5)
    if not background.ready(job):
        return
    changes = job.value
    words = f"{changes.n_changed} of {changes.n_recordings} recordings differ, {len(changes):,} annotations"
    sides = f"from {plain(_title(other_name))} to {plain(_title(root.label_set))}"
    st.markdown(f"**What changed**  ·  {sides}: {words}")
    for names, side in ((changes.only_before, other_name), (changes.only_after, root.label_set)):
        if names:
            st.caption(
                plain(f"{len(names)} recordings have labels only in {_title(side)} ({', '.join(names[:3])} ...).")
            )
    if not len(changes):
        st.caption("All annotations of the common recordings are the same.")
        return
    st.dataframe(_by_class(changes), hide_index=True, height="content")
    _one_by_one(root, recordings, changes)


def _by_class(changes: LabelChanges) -> pd.DataFrame:
    counts = changes.counts()
    rows = [
        {
            "class": class_name(k),
            "before": int(changes.n_before[k]),
            "after": int(changes.n_after[k]),
            "same": int(changes.n_same[k]),
            **{word: int(counts[number, k]) for number, word in enumerate(CHANGES)},
        }
        for k in range(len(CLASS_NAMES))
        if changes.n_before[k] or changes.n_after[k]
    ]
    table = pd.DataFrame(rows)
    return table.drop(columns=[word for word in CHANGES if not table[word].any()])


def _one_by_one(root: DataRoot, recordings: tuple[Recording, ...], changes: LabelChanges) -> None:
    splits = {r.name: r.split for r in recordings}
    rows = [
        {
            "open": address.explorer_link(
                root=str(root.path),
                recording=str(changes.recording[k]),
                split=splits.get(str(changes.recording[k]), ""),
                frame=int(changes.frame[k]),
            ),
            "recording": str(changes.recording[k]),
            "time": f"{changes.frame[k] / FRAME_RATE_HZ:.1f} s",
            "change": _word(changes, k),
            "angle": None if math.isnan(changes.angle_deg[k]) else float(changes.angle_deg[k]),
        }
        for k in range(min(len(changes), _SHOWN))
    ]
    with st.expander(f"{len(changes):,} changes" + (f", the first {_SHOWN:,}" if len(changes) > _SHOWN else "")):
        st.dataframe(
            pd.DataFrame(rows),
            hide_index=True,
            height="content" if len(rows) <= 10 else 360,
            column_config={
                "open": st.column_config.LinkColumn(
                    "", display_text=":material/open_in_new:", width=40, help="New tab"
                ),
                "angle": st.column_config.NumberColumn("Δ angle", format="%.1f°"),
            },
        )


def _word(changes: LabelChanges, k: int) -> str:
    before, after, change = int(changes.before[k]), int(changes.after[k]), CHANGES[int(changes.change[k])]
    if change == "class":
        return f"{class_name(before)} → {class_name(after)}"
    return f"{class_name(before if before >= 0 else after)}: {change}"

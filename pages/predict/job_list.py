"""The Predict page's list of jobs: progress, results as they finish, cancel, go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages.components import address, background, predictions, roles
from pages.components import state_keys as keys
from pages.components.text import plain
from sai_core.errors import SaiError

if TYPE_CHECKING:
    from sai_core.inference.job import PredictionJob

_ICONS = {
    "queued": ":material/hourglass_empty:",
    "running": ":material/play_circle:",
    "done": ":green[:material/check_circle:]",
    "failed": ":red[:material/error:]",
    "cancelled": ":material/pause_circle:",
}


def show_queue() -> None:
    """Draw all jobs, the newest first; refreshes itself while one is active."""
    active = any(job.active for job in predictions.queue().jobs)
    st.fragment(_jobs, run_every="1s" if active else None)(active)


def _jobs(was_active: bool) -> None:
    started = predictions.queue().jobs
    active = any(job.active for job in started)
    n_written = sum(len(job.written) for job in started)
    written_more = st.session_state.get("predict_seen_written", n_written) != n_written
    if active != was_active or (active and written_more):
        # the page around shows new results in its own lists; and it alone starts or ends the refreshing of this one
        st.session_state["predict_seen_written"] = n_written
        st.rerun()
    st.session_state["predict_seen_written"] = n_written
    if not started:
        st.info(
            "No jobs yet. Jobs run in the background, one after another across all tabs; you can leave this page. A "
            "job that was stopped, or cut short because the program ended, continues where it was when you start it "
            "again."
        )
        return
    for job in started:
        _job(job)


def _job(job: PredictionJob) -> None:
    request = job.request
    with st.container(border=True, key=f"predict_job_{job.number}"):
        head = st.container(horizontal=True, vertical_alignment="center", gap="small")
        n = len(request.recordings)
        head.markdown(
            f"{_ICONS[job.state]} **{plain(request.checkpoint.stem)}** · {plain(request.system.display_name)} · "
            f"{n} recording{'s' * (n != 1)} of {plain(request.data.name)}",
            width="stretch",
        )
        if job.active:
            roles.button(
                "Cancel",
                place=head,
                key=f"predict_cancel_{job.number}",
                icon=":material/close:",
                on_click=job.cancel,
                type="tertiary",
            )
        elif job.state != "done":
            roles.button(
                "Resume",
                place=head,
                key=f"predict_again_{job.number}",
                icon=":material/play_arrow:",
                on_click=_again,
                args=(job,),
                type="tertiary",
            )
        if job.state == "running":
            left = job.seconds_left
            tail = f" · whole job: {background.span(left)} to go" if left is not None and n > 1 else ""
            st.progress(job.fraction, plain(job.text) + tail)
        elif job.state == "failed":
            st.error(plain(job.error))
        else:
            st.caption(plain(job.text) + (f" in {background.span(job.seconds)}" if job.state == "done" else ""))
        if job.note:
            st.caption(plain(job.note))
        if job.results:
            _results(job)
        foot = st.container(horizontal=True, vertical_alignment="center", gap="small")
        foot.caption(f":material/folder: {plain(request.out)}", width="stretch")
        if not job.active:
            # far from where Cancel was: a second click there must not take the job away
            roles.button(
                "Remove",
                place=foot,
                key=f"predict_remove_{job.number}",
                icon=":material/delete:",
                help="Removes the job from this list; its files stay.",
                on_click=predictions.queue().remove,
                args=(job,),
                type="tertiary",
            )


def _results(job: PredictionJob) -> None:
    request = job.request
    rows = []
    for index in sorted(job.results):
        result = job.results[index]
        link = ""
        if result.path is not None:
            link = address.explorer_link(
                root=str(request.data),
                recording=result.recording.name,
                split=result.recording.split,
                a=request.out.name,
            )
        rows.append(
            {
                "open": link or None,
                "recording": result.recording.name,
                "annotations": result.n_annotations,
                "candidates": result.n_candidates,
                "frames/s": result.n_frames / result.seconds if result.seconds > 0 and result.n_frames else None,
                "problem": result.error or result.note,
            }
        )
    table = pd.DataFrame(rows)
    if not table["problem"].any():
        table = table.drop(columns="problem")
    st.dataframe(
        table,
        hide_index=True,
        height="content" if len(rows) <= 6 else 248,
        column_config={
            "open": st.column_config.LinkColumn("", display_text="Open in Explorer", width=130),
            "frames/s": st.column_config.NumberColumn(
                format="%.1f", help="Includes the acoustic maps where they are new."
            ),
        },
    )


def _again(job: PredictionJob) -> None:
    try:
        again = predictions.queue().request(job.request)
    except SaiError as error:
        st.session_state[keys.PREDICT_SAID] = str(error)
        return
    predictions.queue().remove(job)
    remember(again)


def remember(job: PredictionJob) -> None:
    """Note that this session started a job: its folder becomes *More predictions* with the first result."""
    st.session_state.setdefault(keys.PREDICT_MINE, []).append(job)

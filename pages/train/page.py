"""Train: start training runs and watch them; runs are processes of their own, this page only looks at their folders."""

from __future__ import annotations

import streamlit as st

from pages.components import address, roles
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.train import form, live, run_list, table
from sai_core import permissions
from sai_core.runs import watch


def main() -> None:
    """Draw the page."""
    left, right = st.columns([1, 3], gap="medium")
    with left:
        bar = st.container(horizontal=True, vertical_alignment="center", gap="small")
        folder = run_list.choose_folder(bar)
        runs = watch.list_runs(folder)
        form.follow_link()
        asked = address.asked(keys.TRAIN_RUN)
        if asked in [run.name for run in runs]:
            st.session_state[keys.TRAIN_RUN] = asked
        if keys.TRAIN_PANEL not in st.session_state:
            st.session_state[keys.TRAIN_PANEL] = form.RUNS if runs else form.NEW
        if st.session_state[keys.TRAIN_PANEL] == table.TABLE and len(runs) < 2:
            st.session_state[keys.TRAIN_PANEL] = form.RUNS
        may_train = permissions.allowed("train")
        panels = (form.RUNS, table.TABLE if len(runs) > 1 else None, form.NEW if may_train else None)
        if st.session_state[keys.TRAIN_PANEL] not in panels:
            st.session_state[keys.TRAIN_PANEL] = form.RUNS
        panel = bar.segmented_control(
            "Panel",
            tuple(name for name in panels if name is not None),
            required=True,
            key=keys.TRAIN_PANEL,
            persist_state="session",
            label_visibility="collapsed",
        )
        roles.note("train")
        if panel == form.NEW:
            form.form(folder)
        elif runs and panel == form.RUNS:
            run_list.list_of(folder, runs)
    if panel == table.TABLE and runs:
        table.draw(folder, runs)  # below, as wide as the page
        return
    with right:
        if panel == form.NEW:
            form.preview(folder)
            return
        if not runs:
            if not may_train:
                st.info(f"There is no run in {plain(folder)} yet.")
                return
            st.info(
                f"There is no run in {plain(folder)} yet. Start one under **New run**, or on the command line with "
                "`python -m sai_core train detector --run <folder>`; both are shown here."
            )
            return
        by_name = {run.name: run for run in runs}
        name = run_list.chosen_name(runs)
        if asked and asked not in by_name:
            st.warning(plain(f"The link names the run '{asked}', which is not in {folder}; another one is shown."))
        run_list.choose(name)
        live.live(folder, by_name[name], list(by_name))


main()

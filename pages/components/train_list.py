"""Runs of the Train page: which folder, which runs are in it, which one is looked at."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address
from pages.components import state_keys as keys
from pages.components.text import plain
from sai_core.training import launch, run_view
from sai_core.training.run_view import RunState, RunSummary

_COLOURS: Final[dict[RunState, str]] = {
    "waiting": "violet",
    "starting": "blue",
    "running": "blue",
    "stopping": "orange",
    "finished": "green",
    "stopped": "gray",
    "failed": "red",
    "interrupted": "orange",
    "unknown": "gray",
}
_SHOWN: Final[int] = 40
"""Runs of the list that are drawn; the filter finds the others."""


def choose_folder(bar: DeltaGenerator) -> Path:
    """Draw the **Runs folder** popover."""
    default = str(launch.default_runs_folder())
    with bar.popover("Runs folder", icon=":material/folder_open:"):
        text = st.text_input(
            "Runs folder",
            value=default,
            key=keys.TRAIN_FOLDER,
            bind="query-params",
            persist_state="session",
            help="Each run is a folder in it. Runs that were started on the command line with --run are found, too.",
        )
        st.caption("New runs are only ever written below this folder.")
    return Path(text.strip() or default).expanduser().absolute()


def chosen_name(runs: tuple[RunSummary, ...]) -> str:
    """Run that is looked at: the one of this session, else of the address, else the newest that is active."""
    names = [run.name for run in runs]
    for name in (st.session_state.get(keys.TRAIN_RUN), st.query_params.get(keys.TRAIN_RUN)):
        if name in names:
            return str(name)
    active = [run.name for run in runs if run.active]
    return (active or names or [""])[0]


def choose(name: str) -> None:
    """Look at a run from now on."""
    st.session_state[keys.TRAIN_RUN] = name
    address.write({keys.TRAIN_RUN: name})


def list_of(folder: Path, runs: tuple[RunSummary, ...]) -> None:
    """Draw the list; it refreshes by itself, and the page when something begins or ends."""
    every = "3s" if any(run.active for run in runs) else "10s"
    st.fragment(_draw, run_every=every)(folder, tuple((run.name, run.active) for run in runs))


def badge(run: RunSummary) -> str:
    """State as coloured Markdown."""
    return f":{_COLOURS[run.state]}-badge[{run.state}]"


def _draw(folder: Path, drawn: tuple[tuple[str, bool], ...]) -> None:
    runs = run_view.list_runs(folder)
    if tuple((run.name, run.active) for run in runs) != drawn:
        st.rerun()
    wanted = ""
    if len(runs) > 8:
        wanted = st.text_input(
            "Filter", key=keys.TRAIN_FILTER, placeholder="filter by name or state", label_visibility="collapsed"
        ).strip()
    now = chosen_name(runs)
    shown = [r for r in runs if wanted.lower() in f"{r.name} {r.kind} {r.state}".lower()][:_SHOWN]
    if not shown:
        st.caption("No run fits the filter.")
        return
    if now not in [run.name for run in shown]:
        # the run that is looked at stays in the list, whatever the filter
        shown = [run for run in runs if run.name == now] + shown
    by_name = {run.name: run for run in shown}
    if st.session_state.get(keys.TRAIN_PICK) != now:
        st.session_state[keys.TRAIN_PICK] = now
    picked = st.radio(
        "Runs",
        list(by_name),
        key=keys.TRAIN_PICK,
        format_func=plain,
        captions=[_caption(by_name[name]) for name in by_name],
        label_visibility="collapsed",
        width="stretch",
    )
    if picked != now:
        choose(str(picked))
        st.rerun()
    hidden = len([r for r in runs if wanted.lower() in f"{r.name} {r.kind} {r.state}".lower()]) - len(shown)
    if hidden > 0:
        st.caption(f"{hidden} older runs are not shown; filter by name.")


def _caption(run: RunSummary) -> str:
    parts = [badge(run)]
    if run.fraction is not None and run.state != "finished":
        parts.append(f"{100 * run.fraction:.0f} %")
    if run.epochs:
        parts.append(f"epoch {min(run.epoch + 1, run.epochs)}/{run.epochs}")
    if run.best_score is not None:
        parts.append(f"{plain(run.best_name)} {run.best_score:.3f}")
    if run.updated:
        parts.append(age(time.time() - run.updated))
    return " · ".join(parts)


def age(seconds: float) -> str:
    """How long ago, in words."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "now" if seconds < 20 else f"{max(seconds, 0):.0f} s ago"

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
from sai_core import permissions
from sai_core.errors import SaiError
from sai_core.files import user_path
from sai_core.runs import launch, watch
from sai_core.runs.watch import RunState, RunSummary

_LOOKS: Final[dict[RunState, tuple[str, str]]] = {
    "waiting": ("violet", "schedule"),
    "starting": ("blue", "hourglass_top"),
    "running": ("blue", "play_circle"),
    "stopping": ("orange", "pause_circle"),
    "finished": ("green", "check_circle"),
    "stopped": ("gray", "stop_circle"),
    "failed": ("red", "error"),
    "interrupted": ("orange", "warning"),
    "unknown": ("gray", "help"),
}
_SHOWN: Final[int] = 40
"""Runs of the list that are drawn; the filter finds the others."""


def choose_folder(bar: DeltaGenerator) -> Path:
    """Draw the **Runs folder** popover."""
    default = str(launch.default_runs_folder())
    if not permissions.paths_allowed():
        return Path(default).absolute()
    with bar.popover("Runs folder", icon=":material/folder_open:"):
        text = address.text_field(
            "Runs folder",
            name=keys.TRAIN_FOLDER,
            default=default,
            help="Each run is a folder in it. Runs started on the command line with --run are found too.",
        )
        st.caption("New runs are only ever written below this folder.")
        if note := launch.runs_note():
            st.caption(plain(note))
    try:
        return user_path(text.strip() or default, what="runs folder").absolute()
    except SaiError as error:
        st.error(plain(error))
        return Path(default).absolute()


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
    drawn = tuple((run.name, run.active) for run in runs)
    st.fragment(_draw, run_every=every)(folder, drawn, chosen_name(runs))


def badge(run: RunSummary) -> str:
    """State as coloured Markdown."""
    return f":{_LOOKS[run.state][0]}-badge[{run.state}]"


def _draw(folder: Path, drawn: tuple[tuple[str, bool], ...], drawn_name: str) -> None:
    runs = watch.list_runs(folder)
    now = chosen_name(runs)
    if tuple((run.name, run.active) for run in runs) != drawn or now != drawn_name:
        st.rerun()
    wanted = ""
    if len(runs) > 8:
        wanted = st.text_input(
            "Filter",
            key=keys.TRAIN_FILTER,
            placeholder="filter by name, state, tag or note",
            label_visibility="collapsed",
        ).strip()
    fitting = [r for r in runs if wanted.lower() in _searched(r)]
    shown = fitting[:_SHOWN]
    if not shown:
        st.caption("No run matches the filter.")
        return
    if now not in [run.name for run in shown]:
        # the run that is looked at stays in the list, whatever the filter
        shown = [run for run in runs if run.name == now] + shown
    by_name = {run.name: run for run in shown}
    if st.session_state.get(keys.TRAIN_PICK) != now:
        st.session_state[keys.TRAIN_PICK] = now
    st.radio(
        "Runs",
        list(by_name),
        key=keys.TRAIN_PICK,
        on_change=_picked,
        format_func=plain,
        captions=[_caption(by_name[name]) for name in by_name],
        label_visibility="collapsed",
        width="stretch",
    )
    hidden = len(fitting) - len(shown)
    if hidden > 0:
        st.caption(f"{hidden} older runs are not shown; filter by name.")


def _searched(run: RunSummary) -> str:
    return " ".join((run.name, run.kind, run.state, run.note, *run.tags)).lower()


def _picked() -> None:
    choose(str(st.session_state[keys.TRAIN_PICK]))


def _caption(run: RunSummary) -> str:
    colour, icon = _LOOKS[run.state]
    # no badge here: captions are drawn faded, and a badge's letters would be hard to read
    parts = [f":{colour}[:material/{icon}:] {run.state}"]
    if run.fraction is not None and run.state != "finished":
        parts.append(f"{100 * run.fraction:.0f} %")
    if run.epochs:
        what = "stage" if run.kind == "uplam" else "epoch"
        parts.append(f"{what} {min(run.epoch + 1, run.epochs)}/{run.epochs}")
    if run.best_score is not None:
        parts.append(f"{plain(run.best_name)} {score(run.best_score)}")
    if run.updated:
        parts.append(age(time.time() - run.updated))
    return " · ".join(parts)


def score(value: float) -> str:
    """A score for reading; what is none by its size stays short."""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"


def age(seconds: float) -> str:
    """How long ago, in words."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "now" if seconds < 20 else f"{max(seconds, 0):.0f} s ago"

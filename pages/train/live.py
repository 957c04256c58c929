"""One run of the Train page, live: figures, curves, samples, log, settings."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, roles
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.train import charts, form, run_list
from pages.train.run_list import age, badge
from sai_core.errors import SaiError
from sai_core.runs import launch, watch
from sai_core.runs.watch import RunSummary

_EVERY: Final[str] = "2s"
_VIEWS: Final[tuple[str, ...]] = ("Curves", "Samples", "Log", "Settings")
_MAX_COMPARED: Final[int] = 7
_PNG: Final[bytes] = b"\x89PNG\r\n\x1a\n"
_AXES: Final[dict[str, charts.Axis]] = {"Steps": "step", "Epochs": "epoch", "Hours": "hours"}


def live(folder: Path, run: RunSummary, names: list[str]) -> None:
    """Draw a run; while it is active, this part of the page refreshes by itself, and nothing else does."""
    refreshing = run.active and bool(st.session_state.get(keys.TRAIN_LIVE, True))
    st.fragment(_draw, run_every=_EVERY if refreshing else None)(folder, run.path, run.name, names, run.active)


def _draw(folder: Path, path: Path, name: str, names: list[str], drawn_active: bool) -> None:
    run = watch.look(path, name=name)
    if run.active != drawn_active or not path.is_dir():
        st.rerun()  # begins or stops to refresh
    _head(folder, run)
    _figures(run)
    bar = st.container(horizontal=True, vertical_alignment="center", gap="medium")
    with bar:
        address.bound(keys.TRAIN_VIEW, _VIEWS, _VIEWS[0])
        view = st.segmented_control("View", _VIEWS, required=True, key=keys.TRAIN_VIEW, label_visibility="collapsed")
        address.keep_fragment()
    if view == "Curves":
        _curves(bar.container(horizontal=True, vertical_alignment="center", gap="medium"), folder, run, names)
    elif view == "Samples":
        _samples(run)
    elif view == "Log":
        _log(bar, run)
    else:
        _settings(run)


def _head(folder: Path, run: RunSummary) -> None:
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small")
    bar.markdown(f"#### {plain(run.name)}", width="content")
    bar.markdown(badge(run), width="content")
    where = " · ".join(
        part
        for part in (
            run.kind,
            run.executor if run.executor != "local" else "",
            f"job {run.job_id}" if run.job_id else "",
            run.host,
            f"process {run.pid}" if run.active and run.pid else "",
        )
        if part
    )
    bar.caption(plain(where), width="stretch")
    if run.active:
        bar.toggle(
            "Live",
            value=True,
            key=keys.TRAIN_LIVE,
            on_change=_again,
            help="Off: nothing is redrawn, so that a zoom into a curve stays.",
        )
        if run.state == "stopping":
            _button(
                bar,
                "End now",
                "bolt",
                lambda: launch.terminate(run.path),
                "It was asked to stop and ends after its current step with a checkpoint. This ends its processes at "
                "once; what was learned since the last checkpoint is lost.",
            )
            if run.stop_asked_s is not None and run.stop_asked_s > 30:
                _button(
                    bar,
                    "Kill",
                    "dangerous",
                    lambda: launch.terminate(run.path, force=True),
                    "For a process that does not react to anything else.",
                )
        else:
            _button(
                bar,
                "Stop",
                "stop",
                lambda: launch.request_stop(run.path),
                "Ends it after its current step, with a checkpoint; it can be resumed.",
            )
    elif run.state != "finished":
        _button(
            bar,
            "Resume" if run.resumable else "Start again",
            "play_arrow",
            lambda: launch.resume(run.path),
            "Continues from the last checkpoint." if run.resumable else "It ended before it had begun.",
            primary=True,
        )
    if run.kind == "detector" and (run.path / "best.safetensors").is_file():
        with bar:
            address.page_link(
                "predict", "Predict with it", icon=":material/network_node:", query={keys.PREDICT_RUN: run.name}
            )
    if run.launched:
        _button(
            bar,
            "Clone",
            "content_copy",
            lambda: form.fill_from(folder, run),
            "Fill the form with the settings of this run.",
        )
    if not run.active:
        with bar.popover("Delete", icon=":material/delete:"):
            st.write("Deletes what the program has written into this folder, weights included. Other files in it stay.")
            _button(st.container(), "Delete this run", "delete_forever", lambda: _delete(run), "This cannot be undone.")
    outcome = st.session_state.pop(keys.TRAIN_SAID, None)
    if outcome and outcome[0] == "error":
        st.error(plain(outcome[1]))
    elif outcome and outcome[0] == "rerun":
        st.rerun()
    if run.message and run.state != "finished":
        show = {"failed": st.error, "interrupted": st.warning}.get(run.state, st.caption)
        message = run.message
        if run.state == "interrupted":
            message += " It can be resumed from its last checkpoint." if run.resumable else ""
        show(plain(message))


def _delete(run: RunSummary) -> None:
    left = launch.delete(run.path)
    run_list.choose("")
    if left:
        st.toast(plain(f"{run.path}: files that the program did not write are left in it: {', '.join(left)}."))


def _again() -> None:
    """Let the whole page follow: it decides what refreshes by itself."""
    st.session_state[keys.TRAIN_SAID] = ("rerun", "")


def _button(
    bar: DeltaGenerator,
    label: str,
    icon: str,
    action: Callable[[], None],
    help_text: str,
    *,
    primary: bool = False,
) -> None:
    def click() -> None:
        try:
            action()
            _again()
        except SaiError as error:
            st.session_state[keys.TRAIN_SAID] = ("error", str(error))

    roles.button(
        label,
        needs="train",
        place=bar,
        icon=f":material/{icon}:",
        key=f"train_do_{label}",
        on_click=click,
        help=help_text,
        type="primary" if primary else "secondary",
    )


def _figures(run: RunSummary) -> None:
    cells: list[tuple[str, str]] = []
    if run.epochs:
        what = "Stage" if run.kind == "uplam" else "Epoch"
        cells.append((what, f"{min(run.epoch + 1, run.epochs)} of {run.epochs}"))
    if run.steps:
        cells.append(("Step", f"{run.step:,} of {run.steps:,}"))
    if run.best_score is not None:
        cells.append((f"Best {run.best_name}", run_list.score(run.best_score)))
    if run.frames_per_s is not None:
        rate = run.frames_per_s
        cells.append(("Frames/s", f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"))
    if run.active and run.eta_s is not None:
        cells.append(("Remaining", _duration(run.eta_s)))
    elif run.updated:
        cells.append(("Last update", age(time.time() - run.updated)))
    if run.memory_mb is not None:
        cells.append(("Memory", _size(run.memory_mb)))
    if run.gpu_memory_mb is not None:
        cells.append(("GPU memory", _size(run.gpu_memory_mb)))
    if cells:
        row = st.container(horizontal=True, gap="large")
        for label, value in cells:
            row.markdown(f":gray[{plain(label)}]  \n**{plain(value)}**", width="content")
    if run.fraction is not None and run.active:
        st.progress(run.fraction)
    if run.rates or run.frozen:
        frozen = set(run.frozen)
        parts = [f":gray-badge[{plain(group)} · frozen]" for group in run.frozen]
        parts += [f":blue-badge[{plain(g)} · {rate:.2g}]" for g, rate in run.rates.items() if g not in frozen]
        st.markdown("Learning rates: " + " ".join(parts))


def _curves(bar: DeltaGenerator, folder: Path, run: RunSummary, names: list[str]) -> None:
    others = [name for name in names if name != run.name]
    with bar:
        axis = st.segmented_control(
            "Over", list(_AXES), default="Steps", required=True, key=keys.TRAIN_AXIS, label_visibility="collapsed"
        )
        log_scale = st.toggle(
            "Log scale", key=keys.TRAIN_LOG_SCALE, help="For losses; learning rates are always on a log scale."
        )
        compared = []
        if others:
            kept = [n for n in st.session_state.get(keys.TRAIN_COMPARE, []) if n in others]
            if kept != st.session_state.get(keys.TRAIN_COMPARE, []):
                st.session_state[keys.TRAIN_COMPARE] = kept
            compared = st.multiselect(
                "Compare with",
                others,
                key=keys.TRAIN_COMPARE,
                format_func=str,
                max_selections=_MAX_COMPARED,
                placeholder="compare with other runs",
                label_visibility="collapsed",
                width="stretch",
            )
    runs = {run.name: watch.read_curves(run.path)}
    runs |= {name: watch.read_curves(folder / name) for name in compared}
    chosen = _AXES[axis]
    if chosen == "epoch" and not charts.has_epochs(runs):
        st.caption("Not every run counts epochs; steps are shown.")
        chosen = "step"
    chart = charts.figure(runs, axis=chosen, log_scale=log_scale)
    if chart is None:
        st.info(
            "There are no curves yet; they begin with the first steps."
            if run.active
            else "This run ended before it had measured anything."
        )
        return
    st.plotly_chart(
        chart,
        width="stretch",
        key="train_chart",
        config={"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]},
        alt=f"Losses, scores and learning rates of {', '.join(runs)}",
    )


def _samples(run: RunSummary) -> None:
    pictures: list[tuple[str, bytes]] = []
    newest = 0.0
    for path in watch.read_samples(run.path, limit=24):
        try:  # the next validation may just replace them
            content, newest = path.read_bytes(), max(newest, path.stat().st_mtime)
        except OSError:
            continue
        if content.startswith(_PNG):
            pictures.append((path.stem, content))
    if not pictures:
        st.info("There are no sample predictions; a detector draws some after each validation.")
        return
    st.caption(f"Predictions of the last validation, drawn {age(time.time() - newest)}.")
    columns = st.columns(2)
    for index, (name, content) in enumerate(sorted(pictures)):
        with columns[index % 2]:
            try:
                st.image(content, caption=plain(name), width="stretch", alt=f"Sample prediction {name}")
            except Exception:  # a file that only begins like a PNG; what PIL raises then has no common class
                st.warning(plain(f"{name}.png cannot be read."))


def _log(bar: DeltaGenerator, run: RunSummary) -> None:
    query = bar.text_input(
        "Search", key=keys.TRAIN_LOG_QUERY, placeholder="search the log", label_visibility="collapsed", width=320
    ).strip()
    tail = watch.read_log(run.path, query=query)
    if not tail.n_bytes:
        st.info(
            "The log is empty so far."
            if run.launched
            else "Runs that were started on the command line write to their terminal, not to a log."
        )
        return
    if query:
        n = tail.n_found
        st.caption(f"{n} line{'s' * (n != 1)} with {plain(query)}" + (", the last ones shown." if tail.cut else "."))
    elif tail.cut:
        st.caption(f"The last {len(tail.lines)} lines of {tail.n_bytes / 1024:,.0f} kB.")
    if tail.lines:
        with st.container(height=520, border=False, autoscroll=True):
            st.code("\n".join(tail.lines), language=None, wrap_lines=True)


def _settings(run: RunSummary) -> None:
    launched = watch.read_json(run.path / watch.LAUNCH_NAME)
    command = launched.get("command")
    if isinstance(command, list):
        attempt = watch.attempt_of(launched)
        times = f"{attempt} times, the last time" if attempt > 1 else ""
        st.caption(f"Started {times} with")
        st.code(shlex.join(map(str, command)), language="bash", wrap_lines=True)
    st.caption("Run folder")
    st.code(watch.shown(run.path), language=None)
    left, right = st.columns(2)
    with left:
        st.caption("Settings (config.json)")
        st.json(watch.showable(watch.read_json(run.path / "config.json")), expanded=1)
    with right:
        st.caption("Environment (environment.json)")
        st.json(watch.showable(watch.read_json(run.path / "environment.json")), expanded=1)
        data = watch.showable(watch.read_json(run.path / "data.json"))
        if data:
            for note in data.get("notes", []):
                st.warning(plain(note))
            st.caption("Data (data.json)")
            st.json(data, expanded=False)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _size(megabytes: float) -> str:
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GB"

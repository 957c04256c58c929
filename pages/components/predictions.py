"""Predicting from whichever page: the one queue of jobs, the networks at hand, the offer to predict what is missing."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st

from pages.components import address, background, roles
from pages.components import state_keys as keys
from pages.components.text import plain
from sai_core import permissions
from sai_core.dataset import DataRoot, Recording
from sai_core.errors import InputError, SaiError
from sai_core.files import user_path
from sai_core.installation import asset
from sai_core.postprocess import System, load_system
from sai_core.runs import launch, watch
from sai_core.workspace import workspace

if TYPE_CHECKING:  # these load torch, which takes seconds at a server's first look
    from sai_core.inference.job import PredictionJob, PredictionQueue, PredictionRequest
    from sai_core.inference.networks import CheckpointFacts

RUN_PREFIX: Final[str] = "run "
"""Beginning of the options that are runs; no file name of ours begins with it."""

SHIPPED: Final[Path] = asset("weights")


@st.cache_resource(show_spinner="Loading the network code (only once) ...")
def queue() -> PredictionQueue:
    """The one queue of the app: never two networks at once."""
    from sai_core.inference.job import PredictionQueue

    return PredictionQueue()


def shipped_checkpoints() -> list[Path]:
    """Detectors that ship with the program, by name; none of the other weights, which their headers tell."""
    return [path for path in sorted(SHIPPED.glob("*.safetensors")) if _is_detector(path, path.stat().st_mtime_ns)]


@lru_cache(maxsize=32)
def _is_detector(path: Path, mtime_ns: int) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stored:  # without torch, which takes seconds to load
            return "sai_detector" in (stored.metadata() or {})
    except (SafetensorError, OSError):
        return False


@st.cache_resource(max_entries=32, show_spinner="Opening the checkpoint ...")
def _facts(path: str, size: int, mtime_ns: int) -> CheckpointFacts | str:
    from sai_core.inference.networks import describe_checkpoint

    try:
        return describe_checkpoint(Path(path))
    except SaiError as error:
        return str(error)


def checkpoint_facts(path: Path) -> CheckpointFacts:
    """What a checkpoint is, looked at once until the file changes.

    Raises
    ------
    InputError
        No such file, or not a checkpoint of a kind that the program knows.
    """
    permissions.check_path(path)  # never inside of what is cached
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(
            f"{path}: no such file; give an official energy_seg_best.pth or a detector trained here (.safetensors)."
        ) from error
    facts = _facts(str(path), status.st_size, status.st_mtime_ns)
    if isinstance(facts, str):
        raise InputError(facts)
    return facts


@dataclass(frozen=True)
class Trained:
    """A detector that was trained here.

    Attributes
    ----------
    title : str
        The run, with the figure of its best epoch.
    name : str
        Of the run.
    weights : Path
    """

    title: str
    name: str
    weights: Path


def trained_checkpoints() -> dict[str, Trained]:
    """Best weights of the detectors of the Train page's runs folder, the newest run first."""
    folder = launch.default_runs_folder()
    if permissions.paths_allowed():
        folder = user_path(str(st.session_state.get(keys.TRAIN_FOLDER) or folder))
    found = {}
    for run in watch.list_runs(folder):
        weights = run.path / "best.safetensors"
        if run.kind == "detector" and weights.is_file():
            score = f"  ·  {run.best_name} {run.best_score:.3f}" if run.best_score is not None else ""
            state = "" if run.state == "finished" else f"  ·  {run.state}"
            found[f"{RUN_PREFIX}{run.name}"] = Trained(f"{run.name}{score}{state}  ·  trained here", run.name, weights)
    return found


def system_line(system: System) -> str:
    """A system as a line of a list: its name, and what it stands for."""
    return f"{system.display_name}  ·  {system.title}" if system.title else system.display_name


def in_a_set(request: PredictionRequest, facts: CheckpointFacts, name: str = "") -> PredictionRequest:
    """The same request into a set of the workspace: one of the name, or of the usual one; begun, or gone on with.

    Raises
    ------
    InputError
        The name is not allowed, or a set of other predictions has it.
    EnvironmentProblem
        The workspace cannot be written.
    """
    from sai_core.inference.job import check_request, facts_of, name_of

    check_request(request)  # no set for what cannot be predicted
    here, made_from = workspace(), facts_of(request, facts.content)
    if name:
        stored = here.begin("predictions", name, made_from, exist_ok=True)
    else:
        stored = here.go_on("predictions", name_of(facts.path, request.system), made_from)
    return replace(request, out=stored.folder)


def offer(root: DataRoot, *, key: str) -> None:
    """Offer to predict a root's recordings with the network that comes with the program, and watch it do so.

    For pages that have nothing to show without predictions. The set goes to the workspace; the page runs again when it
    is there.
    """
    job = _job_of(root)
    if job is not None and job.active:
        background.watch([job], title="Predicting with track A", button="Stop")
        st.caption(
            "This runs in the background; you can leave this page. **Predict** shows the progress of every recording."
        )
        return
    if job is not None and job.error:
        st.error(plain(job.error))
    able = [r for r in root.recordings if r.array_path is not None]
    if not able:
        st.info("There is no 4-channel or 32-channel audio to predict from (`mic_dev`, `eigen_dev`).")
        return
    n = len(able)
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        if roles.button(
            f"Predict {n} recording{'s' * (n != 1)} with track A",
            key=f"predict_offer_{key}",
            icon=":material/network_node:",
            type="primary",
            help="The small detector that ships with the program, with the system that fits it. It was trained on "
            "simulated recordings; to use a checkpoint of your own, open **Predict**.",
        ):
            try:
                _start(root, able)
            except SaiError as error:
                st.error(plain(error))
            else:
                st.rerun()
        address.page_link("predict", "Choose a network and recordings", icon=":material/tune:")


def _job_of(root: DataRoot) -> PredictionJob | None:
    if "sai_core.inference.job" not in sys.modules:  # loading it takes seconds, and nobody has had a job yet
        return None
    return next((job for job in queue().jobs if job.request.data == root.path), None)


def _start(root: DataRoot, recordings: list[Recording]) -> None:
    from sai_core.inference.job import PredictionRequest
    from sai_core.inference.networks import fitting_system

    facts = checkpoint_facts(SHIPPED / "track_a.safetensors")
    system = load_system(fitting_system(facts))
    request = PredictionRequest(
        data=root.path,
        recordings=tuple(recordings),
        checkpoint=facts.path,
        out=workspace().folder("predictions"),
        system=system,
    )
    queue().request(in_a_set(request, facts))

"""Form of the Train page: what to train, on what, where; and what exactly will be started."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import streamlit as st

from pages.components import address, background, roles
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.train import run_list
from sai_core import permissions
from sai_core.dataset import demo_root
from sai_core.environment import TorchFacts, probe_torch
from sai_core.errors import SaiError
from sai_core.files import user_path
from sai_core.jobs import Job, JobQueue, wait_briefly
from sai_core.progress import Progress
from sai_core.runs import executors, launch
from sai_core.runs.executors import Executor, Local, Slurm, Torchrun
from sai_core.runs.kinds import KINDS, LABELS_OPTION, FieldError, TrainingKind, kind_of
from sai_core.runs.launch import LaunchSpec
from sai_core.runs.outlook import Outlook, look_ahead_apart
from sai_core.runs.proposal import Proposal, propose_detector
from sai_core.runs.watch import RunSummary
from sai_core.settings import shown_value

RUNS: Final[str] = "Runs"
NEW: Final[str] = "New run"
_OTHER_FILE: Final[str] = "another file ..."
_EXECUTORS: Final[dict[str, str]] = {"local": "This machine", "torchrun": "torchrun", "slurm": "Slurm"}


def fill_from(folder: Path, run: RunSummary) -> None:
    """Put a run's settings into the form and show it.

    Raises
    ------
    InputError
        How the run was started is not known.
    """
    spec = launch.spec_of(run.path)
    kind = kind_of(spec.kind)
    state = st.session_state
    state[keys.TRAIN_PANEL] = NEW
    state[keys.TRAIN_CLONED] = run.name
    state[keys.TRAIN_KIND] = spec.kind
    state[keys.TRAIN_RECIPE] = _OTHER_FILE if spec.recipe else kind.default_recipe
    state[keys.TRAIN_RECIPE_FILE] = spec.recipe
    state[keys.TRAIN_DATA] = "\n".join(spec.data)
    state[keys.TRAIN_DEVICE] = spec.device
    state[keys.TRAIN_EPOCHS] = spec.epochs
    state[keys.TRAIN_OVERRIDES] = "\n".join(spec.overrides)
    for name, value in spec.options.items():
        state[keys.TRAIN_OPTION + name] = value
    state[keys.TRAIN_VARIABLES] = "\n".join(f"{name}={value}" for name, value in spec.environment.items())
    state[keys.TRAIN_NAME] = state[keys.TRAIN_SUGGESTED] = launch.free_name(folder, run.name)
    state[keys.TRAIN_EXECUTOR] = spec.executor.kind
    for name, value in executors.to_plain(spec.executor).items():
        state[keys.TRAIN_SETTING + name] = value


def follow_link() -> None:
    """Fill the form from the address, and show it: a link that starts a training on some data and labels."""
    asked = {name: address.asked(name) for name in _LINKED}
    if not any(value is not None for value in asked.values()):
        return
    st.session_state[keys.TRAIN_PANEL] = NEW
    for name, value in asked.items():
        if value is not None and (name != keys.TRAIN_KIND or value in KINDS):
            st.session_state[name] = value
    if asked[keys.TRAIN_RECIPE] is not None:
        # the link's recipe stays, also where it is the one that was proposed for other data
        st.session_state.pop(keys.TRAIN_PROPOSED, None)
    st.session_state.pop(keys.TRAIN_NAME, None)


_LINKED: Final[tuple[str, ...]] = (
    keys.TRAIN_KIND,
    keys.TRAIN_RECIPE,
    keys.TRAIN_DATA,
    keys.TRAIN_OPTION + LABELS_OPTION,
    keys.TRAIN_OVERRIDES,
)


def form(folder: Path) -> None:
    """Draw the form; the button starts the run and shows it."""
    problem = st.session_state.pop(keys.TRAIN_SAID, None)
    faults: list[tuple[str, str]] = list(problem[1]) if problem and problem[0] == "faults" else []

    def wrong(name: str) -> None:
        """Say under a field what is wrong with it."""
        for fault in [fault for fault in faults if fault[0] == name]:
            faults.remove(fault)
            st.error(plain(fault[1]))

    _propose_data()
    kind = KINDS[
        st.selectbox(
            "What",
            list(KINDS),
            format_func=lambda name: KINDS[name].title,
            key=keys.TRAIN_KIND,
            persist_state="session",
        )
    ]
    _recipe(kind)
    wrong("recipe")
    if kind.data != "none":
        st.text_area(
            "Data" if kind.data == "needed" else "Data (not needed)",
            key=keys.TRAIN_DATA,
            persist_state="session",
            height=68,
            help="Folders in the official layout, one per line. They are only read.",
        )
        for root in _missing_roots():
            sentence = f"{root}: there is no such folder."
            if not any(name == "data" and root in fault for name, fault in faults):
                st.error(plain(sentence))
        wrong("data")
    for option in kind.options:
        st.text_input(
            option.name.removeprefix("--").capitalize(),
            key=keys.TRAIN_OPTION + option.name,
            persist_state="session",
            help=plain(option.help),
        )
        wrong(option.name)
    if kind.takes_device or kind.takes_epochs:
        left, right = st.columns(2)
        if kind.takes_device:
            left.selectbox(
                "Device",
                _devices(),
                key=keys.TRAIN_DEVICE,
                persist_state="session",
                accept_new_options=True,
                help="auto: a GPU if there is one. For another device type its name, e.g. cuda:1.",
            )
        if kind.takes_epochs:
            right.number_input(
                "Epochs",
                min_value=1,
                max_value=1_000_000,
                value=None,
                step=1,
                key=keys.TRAIN_EPOCHS,
                persist_state="session",
                placeholder="recipe’s",
                help="Empty: as many as the recipe says.",
            )
        wrong("device")
        wrong("epochs")
    st.text_area(
        "Changed settings",
        key=keys.TRAIN_OVERRIDES,
        persist_state="session",
        height=84,
        placeholder="one per line, e.g.\nseed=2",
        help="key=value as in the recipe on the right; a setting in a table is table.key, e.g. optimiser.rate=1e-4.",
    )
    wrong("overrides")
    _where(kind)
    wrong("executor")
    with st.expander("Environment variables", expanded=any(name == "environment" for name, _ in faults)):
        st.text_area(
            "Environment variables",
            key=keys.TRAIN_VARIABLES,
            persist_state="session",
            height=68,
            placeholder="CUDA_VISIBLE_DEVICES=1",
            label_visibility="collapsed",
            help="NAME=value, one per line. Allowed: " + ", ".join(sorted(launch.ALLOWED_VARIABLES)) + ".",
        )
        wrong("environment")
    _suggest(launch.free_name(folder, _base_name(kind)))
    st.text_input(
        "Name",
        key=keys.TRAIN_NAME,
        persist_state="session",
        help="Name of the run's folder: letters, digits and . _ -, and one / to group runs.",
    )
    wrong("name")
    roles.button(
        "Start training",
        needs="train",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        key="train_start",
        on_click=_start,
        args=(folder, kind),
    )
    for _, sentence in faults:
        st.error(plain(sentence))
    roles.button(
        "Check and estimate the time",
        needs="train",
        icon=":material/timer:",
        width="stretch",
        key="train_check",
        help="Lists everything that is wrong with settings and data, else says how long the run will take. Nothing is "
        "started; where no earlier run tells the time, a few steps are made.",
        on_click=_check,
        args=(folder, kind),
    )


def preview(folder: Path) -> None:
    """Show the recipe and what will be started."""
    kind = KINDS.get(str(st.session_state.get(keys.TRAIN_KIND, "")))
    if kind is None:
        return
    try:
        spec = _spec(kind)
        run = folder / (str(st.session_state.get(keys.TRAIN_NAME, "")).strip() or "run")
        arguments = launch.train_arguments(spec, run)
    except SaiError as error:
        st.warning(plain(error))
        return
    _outlook(spec, run)
    cloned = str(st.session_state.get(keys.TRAIN_CLONED, ""))
    st.markdown(f"**{plain(kind.title)}**" + (f" · as in {plain(cloned)}" if cloned else ""))
    st.caption(plain(kind.description))
    if spec.recipe:
        st.caption(f"Recipe {plain(Path(spec.recipe).name)}")
        try:
            with st.container(height=430, border=False):
                st.code(launch.recipe_text(kind.name, spec.recipe), language="toml")
        except SaiError as error:
            st.warning(plain(error))
    _all_settings(kind)
    if isinstance(spec.executor, Slurm):
        st.caption("Batch script that is submitted")
        try:
            st.code(executors.sbatch_preview(spec.executor, arguments, run=run), language="bash")
        except SaiError as error:
            st.warning(plain(error))
        return
    st.caption("The command that is started, as a process of its own that continues when this app ends")
    st.code(shlex.join(executors.command(spec.executor, arguments)), language="bash", wrap_lines=True)
    others = executors.commands_of_other_machines(spec.executor, arguments)
    if others:
        st.caption("To be started by hand on the other machines, with the same folders in the same places")
        st.code("\n".join(shlex.join(command) for command in others), language="bash", wrap_lines=True)


def _check(folder: Path, kind: TrainingKind) -> None:
    name = str(st.session_state.get(keys.TRAIN_NAME, "")).strip() or "run"
    try:
        spec = _spec(kind)
    except SaiError as error:
        st.session_state[keys.TRAIN_SAID] = ("faults", [(getattr(error, "field", ""), str(error))])
        return

    def work(progress: Progress) -> Outlook:
        return look_ahead_apart(spec, folder / name, progress=progress)

    _outlooks().submit(_question(spec), work, title="Checking the run", reuse="active", needs="train")


def _outlook(spec: LaunchSpec, run: Path) -> None:
    """What is known of the run that the form describes, once it was asked for."""
    job = _outlooks().find(_question(spec))
    if job is None or not background.ready(job, again=_outlooks()):
        return
    found: Outlook = job.value
    for field, sentence in found.faults:
        st.error(plain(f"{field}: {sentence}" if field.startswith("--") else sentence))
    if found.estimate is not None:
        st.success(plain(" ".join(found.estimate.sentences())), icon=":material/timer:")
    elif found.note:
        st.info(plain(f"Nothing is wrong with settings and data. {found.note}"))
    for sentence in found.decided:
        st.caption(plain(sentence))


def _outlooks() -> JobQueue:
    return background.queue("train_outlook", at_once=1)


def _question(spec: LaunchSpec) -> str:
    return repr(asdict(spec))


def _all_settings(kind: TrainingKind) -> None:
    with st.expander("All settings, their meaning, range and default"):
        st.dataframe(
            [
                {
                    "Setting": s.name,
                    "Meaning": s.help + (f", in {s.unit}" if s.unit else ""),
                    "Allowed": s.wanted,
                    "Default": shown_value(s.default),
                }
                for s in kind.settings()
            ],
            hide_index=True,
            height=300,
            column_config={"Setting": st.column_config.TextColumn(pinned=True), "Meaning": {"width": "large"}},
        )


def _recipe(kind: TrainingKind) -> None:
    options = [*kind.recipes, *([_OTHER_FILE] if permissions.paths_allowed() else [])]
    if st.session_state.get(keys.TRAIN_RECIPE) not in (None, *options):
        del st.session_state[keys.TRAIN_RECIPE]
    proposal = _proposal() if kind.name == "detector" else None
    if kind.name == "detector" and st.session_state.get(keys.TRAIN_RECIPE) in (
        None,
        st.session_state.get(keys.TRAIN_PROPOSED),
    ):
        # while machine and data are looked at, and where the data are not there: as before, at first the smallest
        before = str(st.session_state.get(keys.TRAIN_PROPOSED) or "small_a")
        recipe = proposal.recipe if proposal is not None else before
        st.session_state[keys.TRAIN_RECIPE] = st.session_state[keys.TRAIN_PROPOSED] = recipe
    chosen = st.selectbox("Recipe", options, key=keys.TRAIN_RECIPE, persist_state="session")
    if chosen == _OTHER_FILE:
        st.text_input(
            "Recipe file",
            key=keys.TRAIN_RECIPE_FILE,
            persist_state="session",
            placeholder="/path/to/recipe.toml",
            label_visibility="collapsed",
        )
    if proposal is not None:
        st.caption(plain(f"Proposed: {proposal.recipe}; {proposal.reason}."))
    elif kind.name == "detector" and _missing_roots():
        st.caption("No recipe is proposed for data that are not there.")


def _open_root() -> str:
    """Data root that all pages look at."""
    return str(st.session_state.get(keys.ROOT) or "").strip() or str(demo_root())


def _propose_data() -> None:
    """The data root and the label set that are open stand in the form, until a person or a link gives others."""
    for name in (keys.ROOT, keys.LABELS):
        address.remembered(name)
    state = st.session_state
    for field, noted, open_ in (
        (keys.TRAIN_DATA, keys.TRAIN_DATA_PROPOSED, _open_root()),
        (keys.TRAIN_OPTION + LABELS_OPTION, keys.TRAIN_LABELS_PROPOSED, str(state.get(keys.LABELS) or "")),
    ):
        if state.get(field) in (None, state.get(noted)):
            state[field] = state[noted] = open_


def _missing_roots() -> list[str]:
    """Folders of *Data* that are not there; what else is wrong with them is told when the run is checked."""
    missing = []
    for line in _lines(keys.TRAIN_DATA):
        with suppress(SaiError, OSError):
            if not user_path(line).is_dir():
                missing.append(line)
    return missing


def _proposal() -> Proposal | None:
    """Recipe for the data in the form and this machine; None while that is being found out, or cannot be."""
    devices = _devices_job()
    wait_briefly([devices], 0.2)
    if devices.active:
        background.watch([devices], title="Looking for a GPU", button="")
        return None
    gpu = bool(devices.result and devices.result.devices)
    roots = tuple(_lines(keys.TRAIN_DATA)) or (_open_root(),)

    def work(progress: Progress) -> Proposal | None:
        with suppress(SaiError):  # what is wrong with the data is told when the run is checked or started
            return propose_detector([user_path(root) for root in roots], gpu=gpu)
        return None

    job = background.queue("train_proposal").submit((roots, gpu), work, title="Looking at the data")
    wait_briefly([job], 0.5)
    if job.active:
        background.watch([job], button="")
        return None
    return job.result


def _where(kind: TrainingKind) -> None:
    options = [name for name in _EXECUTORS if name != "torchrun" or kind.shares_work]
    if st.session_state.get(keys.TRAIN_EXECUTOR) not in (None, *options):
        del st.session_state[keys.TRAIN_EXECUTOR]
    chosen = st.segmented_control(
        "Where",
        options,
        default="local",
        required=True,
        format_func=lambda name: _EXECUTORS[name],
        key=keys.TRAIN_EXECUTOR,
        persist_state="session",
        width="stretch",
        help="A process on this machine, several that share a run, or a job of a Slurm cluster. A run in one process "
        "uses one GPU; use other GPUs for other runs (device cuda:1).",
    )
    columns: list[Any] = []

    def number(label: str, name: str, default: float, least: float, most: float, help_text: str = "") -> None:
        if not columns:
            columns.extend(st.columns(2))
        kept = st.session_state.get(keys.TRAIN_SETTING + name)
        if kept is not None and not (isinstance(kept, type(default)) and least <= kept <= most):
            del st.session_state[keys.TRAIN_SETTING + name]
        columns.pop(0).number_input(
            label,
            min_value=least,
            max_value=most,
            value=default,
            key=keys.TRAIN_SETTING + name,
            persist_state="session",
            help=help_text or None,
        )

    def text(label: str, name: str, placeholder: str) -> None:
        if not columns:
            columns.extend(st.columns(2))
        columns.pop(0).text_input(
            label, key=keys.TRAIN_SETTING + name, persist_state="session", placeholder=placeholder
        )

    if chosen == "torchrun":
        number("Processes", "processes", 2, 1, 64, "On each machine; one per GPU.")
        number("Machines", "nodes", 1, 1, 64)
        if int(st.session_state.get(keys.TRAIN_SETTING + "nodes", 1)) > 1:
            number("Number of this machine", "node", 0, 0, 63, "From 0.")
            text("First machine", "rendezvous", "node1:29500")
    elif chosen == "slurm":
        number("GPUs", "gpus", 0, 0, 16)
        number("Cores", "cpus", 2, 1, 256)
        number("Memory (GB)", "memory_gb", 16.0, 1.0, 4000.0)
        number("Hours", "hours", 24.0, 0.1, 10_000.0, "The run is asked to stop before this limit; it can be resumed.")
        text("Partition", "partition", "the cluster's default")
        text("Account", "account", "the cluster's default")
        if kind.shares_work:
            number("Processes", "processes", 1, 1, 64, "On each machine; one per GPU.")
            number("Machines", "nodes", 1, 1, 64)


def _spec(kind: TrainingKind) -> LaunchSpec:
    """What the form says.

    Raises
    ------
    InputError
        A setting is not what it must be.
    """
    state = st.session_state
    recipe = str(state.get(keys.TRAIN_RECIPE) or "")
    if recipe == _OTHER_FILE:
        recipe = str(state.get(keys.TRAIN_RECIPE_FILE) or "").strip()
        if not recipe:
            raise FieldError("recipe", "Give a recipe file, or choose one that ships.")
    elif recipe:
        recipe = str(kind.recipes.get(recipe, ""))
    variables = {}
    for line in _lines(keys.TRAIN_VARIABLES):
        name, separator, value = line.partition("=")
        if not separator:
            raise FieldError("environment", f"Environment variable {line!r}: expected NAME=value.")
        variables[name.strip()] = value.strip()
    epochs = state.get(keys.TRAIN_EPOCHS)
    return LaunchSpec(
        kind=kind.name,
        recipe=recipe,
        data=tuple(_lines(keys.TRAIN_DATA)) if kind.data != "none" else (),
        device=str(state.get(keys.TRAIN_DEVICE) or "auto").strip() if kind.takes_device else "auto",
        epochs=int(epochs) if epochs is not None and kind.takes_epochs else None,
        options={
            o.name: value for o in kind.options if (value := str(state.get(keys.TRAIN_OPTION + o.name) or "").strip())
        },
        overrides=tuple(_setting(line) for line in _lines(keys.TRAIN_OVERRIDES)),
        executor=_executor(kind),
        environment=variables,
    )


def _executor(kind: TrainingKind) -> Executor:
    chosen = st.session_state.get(keys.TRAIN_EXECUTOR) or "local"

    def setting(name: str, default: Any, make: Callable[[Any], Any]) -> Any:
        value = st.session_state.get(keys.TRAIN_SETTING + name)
        return default if value is None else make(value)

    if chosen == "torchrun":
        nodes = setting("nodes", 1, int)
        return Torchrun(
            processes=setting("processes", 2, int),
            nodes=nodes,
            node=setting("node", 0, int) if nodes > 1 else 0,
            rendezvous=setting("rendezvous", "", str).strip() if nodes > 1 else "",
        )
    if chosen == "slurm":
        return Slurm(
            nodes=setting("nodes", 1, int) if kind.shares_work else 1,
            processes=setting("processes", 1, int) if kind.shares_work else 1,
            gpus=setting("gpus", 0, int),
            cpus=setting("cpus", 2, int),
            memory_gb=setting("memory_gb", 16.0, float),
            hours=setting("hours", 24.0, float),
            partition=setting("partition", "", str).strip(),
            account=setting("account", "", str).strip(),
        )
    return Local()


def _start(folder: Path, kind: TrainingKind) -> None:
    state = st.session_state
    name = str(state.get(keys.TRAIN_NAME, "")).strip()
    spec = None
    try:
        spec = _spec(kind)
        launch.launch(spec, folder, name, cloned_from=str(state.get(keys.TRAIN_CLONED, "")))
    except SaiError as error:
        # everything that is wrong at once, not one thing after another
        found = [error, *(launch.faults(spec, folder / (name or ".")) if spec is not None else [])]
        state[keys.TRAIN_SAID] = (
            "faults",
            list(dict.fromkeys((str(getattr(e, "field", "")), str(e)) for e in found)),
        )
        return
    run_list.choose(name)
    state[keys.TRAIN_PANEL] = RUNS
    state[keys.TRAIN_NAME] = ""
    state[keys.TRAIN_CLONED] = ""


def _base_name(kind: TrainingKind) -> str:
    state = st.session_state
    recipe = str(state.get(keys.TRAIN_RECIPE) or "")
    if recipe == _OTHER_FILE:
        # a clone's copy of a recipe is called as every other clone's
        return str(state.get(keys.TRAIN_CLONED) or "") or Path(str(state.get(keys.TRAIN_RECIPE_FILE) or kind.name)).stem
    return recipe or kind.name


def _suggest(name: str) -> None:
    """Put a name into the form, unless a person has put one."""
    state = st.session_state
    # a name that stands there already is not set anew: the browser would put it over what is being typed
    if state.get(keys.TRAIN_NAME) != name and state.get(keys.TRAIN_NAME) in (None, "", state.get(keys.TRAIN_SUGGESTED)):
        state[keys.TRAIN_NAME] = state[keys.TRAIN_SUGGESTED] = name


def _lines(key: str) -> list[str]:
    return [line.strip() for line in str(st.session_state.get(key) or "").splitlines() if line.strip()]


def _setting(line: str) -> str:
    """``key = value`` as in a TOML file, or ``key=value``."""
    key, separator, value = line.partition("=")
    return f"{key.strip()}{separator}{value.strip()}"


def _devices_job() -> Job[TorchFacts]:
    # asked for once and in the background: importing torch takes seconds
    return background.queue("devices").submit("torch", lambda progress: probe_torch())


def _devices() -> list[str]:
    job = _devices_job()
    return ["auto", "cpu", *(str(device["name"]) for device in (job.result.devices if job.result else ()))]

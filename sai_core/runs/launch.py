"""Start, stop, resume and clone training runs; each is a process of its own that outlives the app.

A launch is described by a :class:`LaunchSpec` and kept as ``launch.json`` in the run folder, with a copy of the recipe
(``recipe.toml``) that the run was started with, so that a clone repeats it whatever became of the recipe since.
What can be trained is the list in :mod:`sai_core.runs.kinds`, how processes are made is the business of
:mod:`sai_core.runs.executors`, how a run is looked at that of :mod:`sai_core.runs.watch`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from sai_core import permissions
from sai_core.dataset.outputs import check_output
from sai_core.errors import EnvironmentProblem, InputError, SaiError
from sai_core.files import atomic_write, check_space, confine, user_path
from sai_core.runs import executors, watch
from sai_core.runs.executors import Executor, Local, Slurm
from sai_core.runs.folder import CHECKPOINTS, LOCK_NAME, RunFolder, run_lock
from sai_core.runs.kinds import FieldError, RunInputs, TrainingKind, at_field, collect, kind_of
from sai_core.runs.notes import NOTES_NAME
from sai_core.settings import parse_toml
from sai_core.workspace import workspace

RECIPE_COPY: Final[str] = "recipe.toml"
_PACKAGE: Final[Path] = Path(__file__).resolve().parents[1]
FORMER_RUNS: Final[Path] = _PACKAGE.parent / "runs"
"""Where versions up to 0.2 kept runs."""

_ENDING_S: Final[float] = 5.0
_WRITTEN: Final[tuple[str, ...]] = (
    *(
        "config.json",
        "environment.json",
        "status.json",
        "data.json",
        "launch.json",
        "exit.json",
        NOTES_NAME,
        RECIPE_COPY,
    ),
    *("log.txt", "stop", "metrics.csv", "metrics.aside-*.csv", ".*.tmp", "samples", "examples", "slurm", "tensorboard"),
    *("last.safetensors", "best.safetensors", "uplam.safetensors", "sounds.safetensors"),
)
"""What the program writes into a run folder; ``tensorboard`` in older versions."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}(/[A-Za-z0-9][A-Za-z0-9._-]{0,79})?")
_VALUE = re.compile(r"[A-Za-z0-9_.,:;=+*^ -]{0,200}", re.ASCII)
"""No slash: nothing that a variable says can name a file."""

ALLOWED_VARIABLES: Final[frozenset[str]] = frozenset(
    (
        # which devices, and in which order
        "CUDA_DEVICE_ORDER",
        "CUDA_LAUNCH_BLOCKING",
        "CUDA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        # threads of the numerical libraries
        "KMP_BLOCKTIME",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OMP_PROC_BIND",
        "OPENBLAS_NUM_THREADS",
        # memory and arithmetic
        "CUBLAS_WORKSPACE_CONFIG",
        "MALLOC_ARENA_MAX",
        "NVIDIA_TF32_OVERRIDE",
        "PYTORCH_ALLOC_CONF",
        "PYTORCH_CUDA_ALLOC_CONF",
        "PYTORCH_ENABLE_MPS_FALLBACK",
        # how processes find and wait for each other
        "GLOO_SOCKET_IFNAME",
        "NCCL_ALGO",
        "NCCL_BUFFSIZE",
        "NCCL_CROSS_NIC",
        "NCCL_DEBUG",
        "NCCL_DEBUG_SUBSYS",
        "NCCL_IB_DISABLE",
        "NCCL_IB_GID_INDEX",
        "NCCL_IB_HCA",
        "NCCL_IB_TIMEOUT",
        "NCCL_NET_GDR_LEVEL",
        "NCCL_P2P_DISABLE",
        "NCCL_P2P_LEVEL",
        "NCCL_PROTO",
        "NCCL_SHM_DISABLE",
        "NCCL_SOCKET_FAMILY",
        "NCCL_SOCKET_IFNAME",
        "TORCH_CPP_LOG_LEVEL",
        "TORCH_DISTRIBUTED_DEBUG",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING",
        "TORCH_NCCL_BLOCKING_WAIT",
        "TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC",
        "TP_SOCKET_IFNAME",
    )
)
"""Environment variables that a launch may set. A variable can name a program or library to run (``LD_PRELOAD``,
``PYTHONPATH``, ``NCCL_NET_PLUGIN``, ...), so that only these are taken, never a whole family by its first letters."""

_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*=.*", re.DOTALL)
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


@dataclass(frozen=True, kw_only=True)
class LaunchSpec:
    """Everything that a run is started with.

    Attributes
    ----------
    kind : str
        Name of a :class:`TrainingKind`.
    recipe : str
        TOML file; "" for the kind's default.
    data : tuple of str
        Data roots; none when the kind simulates its own.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    epochs : int or None
        ``None``: as the recipe says.
    overrides : tuple of str
        ``key=value``, as ``--set`` takes them.
    options : mapping
        Values of the kind's own options, e.g. ``{"--split": "dev-train-sim"}``.
    executor : Executor
    environment : mapping
        Environment variables on top of the app's; some of :data:`ALLOWED_VARIABLES`.
    """

    kind: str = "detector"
    recipe: str = ""
    data: tuple[str, ...] = ()
    device: str = "auto"
    epochs: int | None = None
    overrides: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    executor: Executor = field(default_factory=Local)
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.epochs is not None and not 1 <= self.epochs <= 1_000_000:
            raise FieldError("epochs", f"{self.epochs} epochs: at least 1 is needed.")
        if not _DEVICE.fullmatch(self.device):
            raise FieldError("device", f"Device {self.device!r}: auto, cpu, cuda, cuda:<number> or mps.")
        for item in self.overrides:
            if not _SETTING.fullmatch(item):
                raise FieldError("overrides", f"Setting {item!r}: expected key=value, e.g. optimiser.rate=1e-4.")
        for name, value in self.environment.items():
            if name not in ALLOWED_VARIABLES:
                raise FieldError(
                    "environment",
                    f"Environment variable {name[:80]!r} cannot be set here; allowed are "
                    f"{', '.join(sorted(ALLOWED_VARIABLES))}. Set any other before the app is started.",
                )
            if not _VALUE.fullmatch(value):
                raise FieldError(
                    "environment",
                    f"Environment variable {name}: its value may hold letters, digits, spaces and . , : ; = + * ^ - _ "
                    "only, at most 200 characters.",
                )


def default_runs_folder() -> Path:
    """Where runs are kept unless the user chooses: ``$SAI_RUNS_DIR``, else the workspace's ``runs``.

    Where older versions kept them (``runs`` beside the program) as long as there are runs there and none in the
    workspace; :func:`runs_note` says so.
    """
    chosen = os.environ.get("SAI_RUNS_DIR")
    if chosen:
        with permissions.as_program():  # whoever runs the program has named it
            return user_path(chosen)
    folder = workspace().folder("runs")
    return FORMER_RUNS if watch.holds_runs(FORMER_RUNS) and not watch.holds_runs(folder) else folder


def runs_note() -> str:
    """A sentence where runs lie in the place of older versions; empty if they do not."""
    if os.environ.get("SAI_RUNS_DIR") or not watch.holds_runs(FORMER_RUNS):
        return ""
    folder = workspace().folder("runs")
    if default_runs_folder() == folder:
        return f"There are runs of an older version in {FORMER_RUNS}; move them to {folder} to see them here."
    return f"Runs are kept in {FORMER_RUNS}, as older versions did; move them to {folder} to have all in one place."


def recipe_text(kind: str, path: str | os.PathLike[str]) -> str:
    """Text of a recipe, to be shown and copied; of a file that is none, nothing is read out.

    Raises
    ------
    InputError
        No such file, its name does not end in ``.toml``, it is no TOML, or not a recipe of this kind.
    """
    file = user_path(path, what="recipe").absolute()
    if file.suffix.lower() != ".toml":
        raise FieldError("recipe", f"{file}: the name of a recipe ends in .toml.")
    if not file.is_file():
        raise FieldError("recipe", f"{file}: there is no such recipe.")
    names = set(parse_toml(file))
    known = kind_of(kind).recipe_keys
    # not which names: they would tell what is in another program's file
    if not names or not names <= known:
        raise FieldError(
            "recipe",
            f"{file}: is not a recipe of this kind ({kind}); a recipe has some of these and nothing else: "
            f"{', '.join(sorted(known))}.",
        )
    return watch.read_text(file, max_bytes=1 << 20)


def check(spec: LaunchSpec, run: Path | None = None) -> None:
    """Raise the first of :func:`faults`.

    Raises
    ------
    FieldError
        Tells the field that is wrong.
    InputError, EnvironmentProblem
        No single field is.
    """
    for error in faults(spec, run):
        raise error


def faults(spec: LaunchSpec, run: Path | None = None) -> list[SaiError]:
    """Everything that would make the run fail at its start; the trainer, and with it torch, is imported for this.

    Parameters
    ----------
    spec : LaunchSpec
    run : Path, optional
        Where it will be: whether its checkpoints have room there.

    Returns
    -------
    list of SaiError
        Those of a field are :class:`FieldError`; at most one for each field, except for changed settings.
    """
    try:
        kind = kind_of(spec.kind)
    except InputError as error:
        return [error]
    if permissions.person() is not None:
        # nothing is looked at for somebody who may not open it, not even if it is there
        first = collect(lambda: permissions.check("train", "check a training"), lambda: check_named(spec))
        not_allowed: list[SaiError] = [e for e in first if isinstance(e, permissions.NotAllowedError)]
        if not_allowed:
            return not_allowed
    found: list[SaiError] = list(_missing(spec, kind))
    found += collect(*(partial(_check_root, root) for root in spec.data))
    trainer = kind.trainer()

    def read(field: str, *changes: str) -> None:
        with at_field(field):
            kind.read_config(spec.recipe, list(changes))

    changes = kind.short_forms(epochs=spec.epochs, options=spec.options)
    wrong = collect(partial(read, "recipe"))
    wrong = wrong or collect(*(partial(read, name, change) for name, change in changes.items()))
    if not wrong and (together := collect(partial(read, "overrides", *spec.overrides, *changes.values()))):
        # some go together only; where all fail together, those that are wrong alone are named one by one
        wrong = collect(*(partial(read, "overrides", item) for item in spec.overrides)) or together
    found += wrong
    if not wrong:
        known = {getattr(error, "field", None) for error in found}
        config, inputs = resolved(spec)
        found += [e for e in trainer.faults(config, inputs) if getattr(e, "field", "") not in known]
        if run is not None and not found:  # what it needs may depend on its data
            found += collect(lambda: check_space(run, trainer.room(config, inputs), "the run with its checkpoints"))
    return found


def check_room_to_go_on(run: Path) -> None:
    """Make sure that the next checkpoint of a run has room beside the last, whose place it takes when it is whole.

    Raises
    ------
    EnvironmentProblem
        It has none.
    """
    sizes = [path.stat().st_size for path in map(Path(run).joinpath, CHECKPOINTS) if path.is_file()]
    check_space(run, sum(sizes), "the run's next checkpoint")


def resolved(spec: LaunchSpec) -> tuple[Any, RunInputs]:
    """Settings and inputs of a run; imports the trainer (and torch).

    Raises
    ------
    InputError
        Settings that cannot be used.
    """
    kind = kind_of(spec.kind)
    changes = kind.short_forms(epochs=spec.epochs, options=spec.options)
    config = kind.read_config(spec.recipe, [*spec.overrides, *changes.values()])
    # what a cluster's machines have is not known here
    device = "auto" if isinstance(spec.executor, Slurm) else spec.device
    inputs = RunInputs(
        data_roots=tuple(map(Path, spec.data)), device=device, options=spec.options, processes=_processes(spec)
    )
    return config, inputs


def check_named(spec: LaunchSpec) -> None:
    """Make sure that a run opens nothing that the person may not: whatever in its settings could be a path.

    Raises
    ------
    InputError
        It would.
    """
    if permissions.person() is None:
        return
    config, _ = resolved(spec)
    for text in _texts((asdict(config), dict(spec.options))):
        if os.sep in text or text.startswith("~") or os.path.lexists(text):
            user_path(text)


def _texts(value: object) -> Iterator[str]:
    """Every text in settings, however deep."""
    if isinstance(value, (str, Path)):
        yield os.fspath(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts((key, inner))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            yield from _texts(inner)


def _missing(spec: LaunchSpec, kind: TrainingKind) -> Iterator[FieldError]:
    """What a new run of the kind needs and is not given."""
    if _processes(spec) > 1 and not kind.shares_work:
        yield FieldError(
            "executor",
            f"{kind.title} trains in one process; use one process, and other GPUs for other runs (device cuda:1).",
        )
    if kind.data == "needed" and not spec.data:
        yield FieldError("data", f"{kind.title} needs data: give a folder in the official layout.")
    for option in kind.options:
        if option.required and not spec.options.get(option.name, ""):
            yield FieldError(option.name, f"{kind.title} needs {option.name}: {option.help}.")


def _check_root(root: str | os.PathLike[str]) -> None:
    with at_field("data"):
        path = user_path(root, what="data root").absolute()
    if not path.is_dir():
        raise FieldError("data", f"{path}: there is no such data root.")


def _processes(spec: LaunchSpec) -> int:
    return int(getattr(spec.executor, "processes", 1) * getattr(spec.executor, "nodes", 1))


def train_arguments(spec: LaunchSpec, run: Path, *, resume: bool = False) -> list[str]:
    """What follows ``python`` to train into a folder.

    Values stand in one argument with their option (``--data=...``), so that none can pass for an option. A run that
    goes on has its recipe, data and options in its own folder.

    Raises
    ------
    InputError
        No such kind, or an option that it needs is missing.
    """
    kind = kind_of(spec.kind)
    for error in _missing(spec, kind):
        if not resume or error.field == "executor":
            raise error
    arguments = ["-m", "sai_core", "train", spec.kind, f"--run={run}"]
    if kind.takes_device:
        arguments.append(f"--device={spec.device}")
    if resume:
        return [*arguments, "--resume"]
    if spec.recipe:
        arguments.append(f"--config={spec.recipe}")
    if kind.data != "none":
        arguments += [f"--data={root}" for root in spec.data]
    for option in kind.options:
        if value := spec.options.get(option.name, ""):
            arguments.append(f"{option.name}={value}")
    if spec.epochs is not None and kind.takes_epochs:
        arguments.append(f"--epochs={spec.epochs}")
    return [*arguments, *(f"--set={item}" for item in spec.overrides)]


Arguments = Callable[[LaunchSpec, Path, bool], list[str]]
"""``(spec, run folder, resume)`` to what follows ``python``; tests put another program in the place of the trainer."""


def launch(
    spec: LaunchSpec, folder: Path, name: str, *, cloned_from: str = "", arguments: Arguments | None = None
) -> Path:
    """Start a new run; returns at once.

    Parameters
    ----------
    spec : LaunchSpec
    folder : Path
        Runs folder; made.
    name : str
        Of the new run: letters, digits and ``. _ -``, with at most one ``/`` to group runs.
    cloned_from : str
        Name of the run that this one repeats.
    arguments : callable, optional
        What to run instead of ``train``.

    Returns
    -------
    Path
        Run folder.

    Raises
    ------
    InputError
        The name leaves the runs folder or is taken; recipe or data are not there.
    EnvironmentProblem
        The folder cannot be written, or the process cannot be started.
    """
    with permissions.recorded("train", "start training", f"{folder}/{name}"):
        return _launch(spec, folder, name, cloned_from=cloned_from, arguments=arguments)


def _launch(spec: LaunchSpec, folder: Path, name: str, *, cloned_from: str, arguments: Arguments | None) -> Path:
    folder = user_path(folder, what="runs folder").absolute()
    if not _NAME.fullmatch(name):
        raise FieldError(
            "name", f"Run name {name!r}: use letters, digits and . _ - (and one / to group runs), e.g. track-a-1."
        )
    run = confine(folder, name)
    check_output(run, folder=True)
    spec = _checked(spec)
    if arguments is None:
        check_named(spec)
        check(spec, run)
    if run.parent != folder.resolve() and watch.is_run(run.parent):
        raise FieldError("name", f"{name}: {run.parent.name} is a run itself; a run cannot hold another.")
    with RunFolder(run).held():
        # under the lock: of two starts in one moment only one finds the folder free
        if (now := watch.look(run)).active:
            raise FieldError("name", f"{name}: this run is {now.state} already; choose another name.")
        if any(entry.name != LOCK_NAME for entry in run.iterdir()):
            raise FieldError("name", f"{name}: this folder is not empty; choose another name, or resume the run in it.")
        if spec.recipe:
            _write_text(run / RECIPE_COPY, recipe_text(spec.kind, spec.recipe))
            spec = replace(spec, recipe=str(run / RECIPE_COPY))
        try:
            _start(spec, run, resume=False, created=time.time(), cloned_from=cloned_from, arguments=arguments)
        except (EnvironmentProblem, InputError):
            for leftover in (RECIPE_COPY, watch.LAUNCH_NAME, executors.LOG_NAME, LOCK_NAME):
                (run / leftover).unlink(missing_ok=True)
            with suppress(OSError):
                run.rmdir()
            raise
    return run


def resume(run: Path, *, executor: Executor | None = None, arguments: Arguments | None = None) -> None:
    """Go on with a run that was stopped, failed or interrupted; also one that was started on the command line.

    Parameters
    ----------
    run : Path
    executor : Executor, optional
        Somewhere else than before.
    arguments : callable, optional
        As in :func:`launch`.

    Raises
    ------
    InputError
        It is running, or it has finished.
    """
    with permissions.recorded("train", "resume training", str(run)):
        _resume(Path(run).absolute(), executor, arguments)


def _resume(run: Path, executor: Executor | None, arguments: Arguments | None) -> None:
    permissions.check_write(run / LOCK_NAME)
    if not watch.is_run(run):
        raise InputError(f"{run}: there is no run in this folder.")
    if (now := watch.look(run)).active:
        raise InputError(f"{run.name}: this run is {now.state} already.")
    # a process that has just told its end still holds the lock for a moment
    with run_lock(run, wait_s=_ENDING_S):
        if (now := watch.look(run)).active:
            raise InputError(f"{run.name}: this run is {now.state} already.")
        if now.state == "finished":
            raise InputError(f"{run.name}: this run has finished; clone it to train again.")
        check_room_to_go_on(run)
        launched = watch.read_json(run / watch.LAUNCH_NAME)
        spec = spec_of(run) if launched else LaunchSpec(kind=now.kind, device="auto")
        if executor is not None:
            spec = replace(spec, executor=executor)
        has_config = (run / "config.json").is_file()
        (run / executors.STOP_NAME).unlink(missing_ok=True)
        (run / executors.EXIT_NAME).unlink(missing_ok=True)
        _start(
            spec,
            run,
            # a run that ended before it had begun has nothing to go on from
            resume=has_config,
            created=now.created or time.time(),
            cloned_from=str(launched.get("cloned_from", "")),
            attempt=watch.attempt_of(launched) + 1,
            arguments=arguments,
        )


def spec_of(run: Path) -> LaunchSpec:
    """What a run was launched with.

    Raises
    ------
    InputError
        It was not started by the launcher, or its ``launch.json`` is damaged.
    """
    source = Path(run) / watch.LAUNCH_NAME
    raw = watch.read_json(source)
    if not raw:
        raise InputError(
            f"{Path(run).name}: it was started on the command line and its options are unknown, so it cannot be cloned."
        )
    epochs, environment, options = raw.get("epochs"), raw.get("environment", {}), raw.get("options", {})
    data, overrides = raw.get("data", []), raw.get("overrides", [])
    if (
        not all(isinstance(raw.get(name, ""), str) for name in ("kind", "recipe", "device"))
        or not (epochs is None or (isinstance(epochs, int) and not isinstance(epochs, bool)))
        or not all(isinstance(x, list) and all(isinstance(item, str) for item in x) for x in (data, overrides))
        or not all(isinstance(x, dict) and all(isinstance(v, str) for v in x.values()) for x in (environment, options))
        or not isinstance(raw.get("executor", {}), dict)
    ):
        raise InputError(f"{source}: this is not a description of a launch; start a new run instead.")
    return LaunchSpec(
        kind=str(raw.get("kind", "detector")),
        recipe=str(raw.get("recipe", "")),
        data=tuple(data),
        device=str(raw.get("device", "auto")),
        epochs=epochs,
        overrides=tuple(overrides),
        options=options,
        executor=executors.from_plain(raw.get("executor", {}), str(source)),
        environment=environment,
    )


def free_name(folder: Path, base: str) -> str:
    """Name of a new run: ``base``, or ``base-2``, ``base-3``, ... when that is taken."""
    stem = re.sub(r"-\d+$", "", base) or "run"
    taken = stem if not (Path(folder) / base).exists() else ""
    if taken == stem and not (Path(folder) / stem).exists():
        return stem
    number = 2
    while (Path(folder) / f"{stem}-{number}").exists():
        number += 1
    return f"{stem}-{number}"


def request_stop(run: Path) -> None:
    """Ask a run to stop: it ends after its current step, with a checkpoint. A waiting job is taken off its queue.

    Raises
    ------
    InputError
        Nothing of it is running.
    """
    run = Path(run)
    with permissions.recorded("train", "stop training", str(run)):
        now = watch.look(run)
        if not now.active:
            raise InputError(f"{run.name}: this run is not running.")
        _write_text(run / executors.STOP_NAME, "asked by the user\n")
        if now.state == "waiting" and now.job_id:
            executors.cancel_job(now.job_id)


def terminate(run: Path, *, force: bool = False) -> None:
    """End a run's processes now; what was learned since its last checkpoint is lost.

    Only processes that are certainly the run's own get a signal: number, time of creation and the run folder in the
    command line must fit. A process that leads its group, as launched ones do, gets it with its whole group.

    Parameters
    ----------
    run : Path
    force : bool
        SIGKILL instead of SIGTERM.

    Raises
    ------
    InputError
        No process of it is found on this machine.
    EnvironmentProblem
        It belongs to another user.
    """
    with permissions.recorded("train", "end training at once", str(run)):
        _terminate(Path(run), signal.SIGKILL if force else signal.SIGTERM)


def _terminate(run: Path, number: signal.Signals) -> None:
    permissions.check_write(run / LOCK_NAME)
    force = number == signal.SIGKILL
    own = watch.processes(run)
    job = watch.look(run).job_id
    if job and not own:
        executors.cancel_job(job)
        return
    if not own:
        raise InputError(f"{run.name}: no process of this run is found on this machine.")
    try:
        for process in own:
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                below = process.children(recursive=True)
                if os.getpgid(process.pid) == process.pid:
                    os.killpg(process.pid, number)
                else:
                    process.send_signal(number)
                if force:
                    # workers in sessions of their own, which torchrun makes
                    for child in below:
                        with suppress(psutil.NoSuchProcess):
                            child.send_signal(number)
    except (PermissionError, psutil.AccessDenied) as error:
        raise EnvironmentProblem(f"{run.name}: its process belongs to another user and cannot be ended.") from error


def stop(run: Path, *, grace_s: float = 60.0) -> bool:
    """Ask a run to stop; after some time SIGTERM, and after as long again SIGKILL.

    Returns
    -------
    bool
        Whether it ended by itself.

    Raises
    ------
    InputError
        It is not running.
    """
    request_stop(run)
    if _gone(run, grace_s):
        return True
    for force in (False, True):
        with suppress(InputError):
            terminate(run, force=force)
        if _gone(run, grace_s):
            break
    return False


def delete(run: Path) -> tuple[str, ...]:
    """Delete what the program has written into a run folder, and the folder where nothing else is in it.

    Returns
    -------
    tuple of str
        Names that were left, since the program had not written them.

    Raises
    ------
    InputError
        It is running, or no run.
    EnvironmentProblem
        A file cannot be deleted.
    """
    with permissions.recorded("train", "delete training", str(run)):
        return _delete(Path(run).absolute())


def _delete(run: Path) -> tuple[str, ...]:
    permissions.check_write(run / LOCK_NAME)
    if run.is_symlink() or not watch.is_run(run):
        raise InputError(f"{run}: there is no run in this folder.")
    with run_lock(run, wait_s=_ENDING_S):
        if (now := watch.look(run)).active:
            raise InputError(f"{run.name}: this run is {now.state}; stop it first.")
        # a run counts as over before its process has ended and its exit code is noted: nothing is written after this
        if not _gone(run, _ENDING_S):
            raise InputError(f"{run.name}: its process is still ending; delete it in a moment.")
        try:
            # the settings last: what is left of a deletion that failed is still a run
            for path in sorted(run.iterdir(), key=lambda path: path.name == "config.json"):
                if path.name == LOCK_NAME or not any(path.match(pattern) for pattern in _WRITTEN):
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        except OSError as error:
            raise EnvironmentProblem(
                f"{error.filename or run}: cannot be deleted ({error.strerror or error})."
            ) from error
        left = tuple(sorted(path.name for path in run.iterdir() if path.name != LOCK_NAME))
        with suppress(OSError):
            (run / LOCK_NAME).unlink()
    if not left:
        with suppress(OSError):
            run.rmdir()
    return left


def _gone(run: Path, wait_s: float) -> bool:
    end = time.monotonic() + wait_s
    while watch.processes(run) or watch.look(run).active or executors.is_watched(Path(run).absolute()):
        if time.monotonic() >= end:
            return False
        time.sleep(0.1)
    return True


def _checked(spec: LaunchSpec) -> LaunchSpec:
    """The same with absolute paths, which are there."""
    for root in spec.data:
        _check_root(root)
    data = [user_path(root, what="data root").absolute() for root in spec.data]
    spec = replace(spec, data=tuple(map(str, data)))
    if spec.recipe:
        recipe_text(spec.kind, spec.recipe)
        spec = replace(spec, recipe=str(user_path(spec.recipe).absolute()))
    return spec


def _start(
    spec: LaunchSpec,
    run: Path,
    *,
    resume: bool,
    created: float,
    cloned_from: str,
    attempt: int = 1,
    arguments: Arguments | None = None,
) -> None:
    if arguments is None:
        listed = train_arguments(spec, run, resume=resume)
    else:
        listed = arguments(spec, run, resume)
    record: dict[str, Any] = {
        **{k: v for k, v in asdict(spec).items() if k != "executor"},
        "executor": executors.to_plain(spec.executor),
        "created": created,
        "launched": time.time(),
        "attempt": attempt,
        # what an earlier attempt told last, however short a moment ago, is not taken for this one's word
        "status_before": watch.read_json(run / watch.STATUS_NAME).get("updated"),
        "cloned_from": cloned_from,
        "command": executors.command(spec.executor, listed),
    }
    try:
        with open(run / executors.LOG_NAME, "a", encoding="utf-8", opener=executors.private_opener) as log:
            when = time.strftime("%Y-%m-%d %H:%M:%S")
            log.write(f"{executors.ATTEMPT_MARK}{attempt}, {when}: {shlex.join(record['command'])}\n")
    except OSError as error:
        raise EnvironmentProblem(f"{run.name}: its log cannot be written ({error.strerror or error}).") from error
    # before the start, so that a folder with a process is never without a description
    _write_launch(run, record)
    started = executors.start(spec.executor, listed, run=run, environment=spec.environment)
    _write_launch(run, {**record, "started": asdict(started)})


def _write_launch(run: Path, record: Mapping[str, Any]) -> None:
    _write_text(run / watch.LAUNCH_NAME, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path, "w", private=True) as stream:
        stream.write(text)

"""How a training run gets its process: on this machine, by ``torchrun``, or as a job of a Slurm cluster.

An executor is a frozen description that is kept in the run folder. :func:`command` makes the argument list (never a
shell line), :func:`start` starts it. Every started process

* writes what it says to ``log.txt`` of the run folder,
* leads a session and process group of its own, so that neither Ctrl-C in the app's terminal nor the end of the app
  reaches it, and one signal reaches it with all its workers,
* is waited for by a thread while the app lives (and by the system's first process afterwards), so that it never stays
  as a zombie; its exit code goes to ``exit.json``,
* takes the lock of its run folder (:meth:`sai_core.runs.folder.RunFolder.held`) and keeps it while it trains.

A Slurm job runs :func:`run_attached`, which does the same from within the job.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import psutil

from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import PRIVATE_UMASK, atomic_write
from sai_core.jobs import Job, JobQueue

LOG_NAME: Final[str] = "log.txt"
ATTEMPT_MARK: Final[str] = "== attempt "
"""Beginning of the log's line at each start of a run."""

EXIT_NAME: Final[str] = "exit.json"
STOP_NAME: Final[str] = "stop"
SLURM_FOLDER: Final[str] = "slurm"

_REPOSITORY: Final[Path] = Path(__file__).resolve().parents[2]
"""Working folder of every run: ``python -m sai_core`` is found from here without an installation."""

_MAX_PROCESSES: Final[int] = 1024
_SIGNAL_BEFORE_LIMIT_S: Final[int] = 300
"""How long before a Slurm job's time limit the run is asked to stop: one step and one checkpoint."""

_SLURM_ASK_S: Final[float] = 5.0
"""A job's state is asked for at most this often; a busy controller shall not notice us."""


@dataclass(frozen=True, kw_only=True)
class Local:
    """One process on this machine."""

    kind: ClassVar[str] = "local"


@dataclass(frozen=True, kw_only=True)
class Torchrun:
    """Several processes by ``torchrun``: on this machine, or this machine's part of several.

    Attributes
    ----------
    processes : int
        On each machine; one per GPU.
    nodes, node : int
        How many machines, and which one (from 0) this is.
    rendezvous : str
        ``host:port`` of the first machine; needed for several machines only.
    """

    kind: ClassVar[str] = "torchrun"
    processes: int = 2
    nodes: int = 1
    node: int = 0
    rendezvous: str = ""

    def __post_init__(self) -> None:
        _whole("processes", self.processes, 1)
        _whole("machines", self.nodes, 1)
        if not 0 <= self.node < self.nodes:
            raise InputError(f"Machine {self.node} of {self.nodes}: machines are numbered from 0 to {self.nodes - 1}.")
        if self.nodes > 1:
            host, colon, port = self.rendezvous.rpartition(":")
            if not colon or not host or not port.isdecimal() or host.startswith("-"):
                raise InputError("Several machines need the address of the first one, as host:port, e.g. node1:29500.")


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """A job of a Slurm cluster, submitted by ``submitit``.

    Attributes
    ----------
    nodes, processes : int
        Machines, and processes on each (one a GPU).
    gpus, cpus : int
        GPUs of each machine; cores of each process.
    memory_gb, hours : float
        Of each machine; time limit. The run is asked to stop five minutes before it and can be resumed.
    partition, account : str
        "" for the cluster's defaults.
    cluster : {"slurm", "local"}
        "local" is submitit's own stand-in for a cluster: one machine, no queue.
    """

    kind: ClassVar[str] = "slurm"
    nodes: int = 1
    processes: int = 1
    gpus: int = 0
    cpus: int = 2
    memory_gb: float = 16.0
    hours: float = 24.0
    partition: str = ""
    account: str = ""
    cluster: Literal["slurm", "local"] = "slurm"

    def __post_init__(self) -> None:
        _whole("machines", self.nodes, 1)
        _whole("processes", self.processes, 1)
        _whole("GPUs", self.gpus, 0)
        _whole("cores", self.cpus, 1)
        if not 0 < self.memory_gb < 1e5 or not 0 < self.hours < 1e5:
            raise InputError("A Slurm job needs memory (GB) and a time limit (hours) above 0.")
        if self.cluster not in ("slurm", "local"):
            raise InputError(f"Cluster {self.cluster!r}: slurm or local.")
        for name, value in (("partition", self.partition), ("account", self.account)):
            # they become lines of a batch script
            if not all(c.isalnum() or c in "-_.,:" for c in value):
                raise InputError(f"The {name} {value!r} may hold letters, digits and - _ . , : only.")


Executor = Local | Torchrun | Slurm
EXECUTORS: Final[dict[str, type[Local] | type[Torchrun] | type[Slurm]]] = {
    kind.kind: kind for kind in (Local, Torchrun, Slurm)
}


@dataclass(frozen=True, kw_only=True)
class Started:
    """Identity of what was started.

    Attributes
    ----------
    pid, pid_started : int, float
        Process and its creation time (seconds since 1970), since numbers are used again; 0 for a Slurm job.
    host : str
        Machine of that process.
    job_id : str
        Of a Slurm job; else "".
    """

    pid: int = 0
    pid_started: float = 0.0
    host: str = field(default_factory=socket.gethostname)
    job_id: str = ""


def private_opener(path: str, flags: int) -> int:
    """For :func:`open`: a new file is readable by its owner alone."""
    return os.open(path, flags, 0o600)


def to_plain(executor: Executor) -> dict[str, Any]:
    """Plain form for JSON."""
    return {"kind": executor.kind, **asdict(executor)}


def from_plain(raw: Mapping[str, Any], source: str = "executor") -> Executor:
    """Read the plain form.

    Raises
    ------
    InputError
        Unknown kind or settings, or values out of range.
    """
    kind = EXECUTORS.get(str(raw.get("kind", "local")))
    if kind is None:
        raise InputError(f"{source}: unknown executor {raw.get('kind')!r}; known are {', '.join(EXECUTORS)}.")
    settings = {name: value for name, value in raw.items() if name != "kind"}
    known = {f.name: f for f in fields(kind)}
    for name, value in settings.items():
        if name not in known:
            raise InputError(f"{source}: unknown setting {name!r} of {kind.kind}; known are {', '.join(known)}.")
        default = known[name].default
        if isinstance(value, bool) or not isinstance(
            value, (int, float) if isinstance(default, float) else type(default)
        ):
            raise InputError(f"{source}: {name} is {value!r}; expected a value like {default!r}.")
    return kind(**settings)


def command(executor: Executor, arguments: Sequence[str]) -> list[str]:
    """Complete argument list.

    Parameters
    ----------
    executor : Executor
    arguments : sequence of str
        What follows ``python``, e.g. ``["-m", "sai_core", "train", ...]``.
    """
    if isinstance(executor, Torchrun):
        launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={executor.processes}"]
        if executor.nodes == 1:
            launcher.append("--standalone")
        else:
            launcher += [
                f"--nnodes={executor.nodes}",
                f"--node-rank={executor.node}",
                "--rdzv-backend=c10d",
                f"--rdzv-endpoint={executor.rendezvous}",
                "--rdzv-id=sai-explorer",
            ]
        # after "--" nothing is taken for an option of torchrun's, which would find --run ambiguous
        if list(arguments[:1]) == ["-m"]:
            return [*launcher, "--module", "--", *arguments[1:]]
        return [*launcher, "--", *arguments]
    return [sys.executable, *arguments]


def commands_of_other_machines(executor: Executor, arguments: Sequence[str]) -> list[list[str]]:
    """What has to be started on the other machines of a ``torchrun`` launch, one list a machine."""
    if not isinstance(executor, Torchrun):
        return []
    others = [n for n in range(executor.nodes) if n != executor.node]
    settings = asdict(executor)
    return [command(Torchrun(**{**settings, "node": n}), arguments) for n in others]


def start(
    executor: Executor, arguments: Sequence[str], *, run: Path, environment: Mapping[str, str] | None = None
) -> Started:
    """Start a run's process or submit its job; returns at once.

    Parameters
    ----------
    executor : Executor
    arguments : sequence of str
        What follows ``python``.
    run : Path
        Run folder, absolute; exists.
    environment : mapping, optional
        Variables on top of this process's.

    Raises
    ------
    EnvironmentProblem
        The process cannot be started; no Slurm here, or submitit is missing.
    """
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
    if isinstance(executor, Slurm):
        return _submit(executor, list(arguments), run, dict(environment or {}))
    try:
        with open(run / LOG_NAME, "ab", buffering=0, opener=private_opener) as log:
            process = subprocess.Popen(
                command(executor, arguments),
                umask=PRIVATE_UMASK,
                cwd=_REPOSITORY,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise EnvironmentProblem(f"{run.name}: cannot be started ({error.strerror or error}).") from error
    started = Started(pid=process.pid, pid_started=_created(process.pid))
    _ends.add(run, Job(lambda progress: _write_exit(run, started, process.wait())))
    return started


def is_watched(run: Path) -> bool:
    """Whether this app started the run's process and has not yet noted its end; its exit code will come then."""
    job = _ends.find(run)
    return job is not None and job.active


def job_state(executor: Executor, job_id: str) -> str:
    """State of a Slurm job in Slurm's words (``PENDING``, ``RUNNING``, ...); "" when it is over or cannot be asked."""
    if not isinstance(executor, Slurm) or executor.cluster != "slurm" or not job_id.isdecimal():
        return ""
    with _asked_lock:
        known = _asked.get(job_id)
        if known is not None and time.monotonic() - known[0] < _SLURM_ASK_S:
            return known[1]
    program = shutil.which("squeue")
    state = ""
    if program is not None:
        try:
            done = subprocess.run(
                [program, "--noheader", "--format=%T", f"--jobs={job_id}"],
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
            state = done.stdout.strip().splitlines()[0] if done.stdout.strip() else ""
        except (OSError, subprocess.SubprocessError):
            state = known[1] if known is not None else ""
    if state in _OVER:
        state = ""
    with _asked_lock:
        _asked[job_id] = (time.monotonic(), state)
    return state


def cancel_job(job_id: str) -> None:
    """``scancel`` a Slurm job.

    Raises
    ------
    EnvironmentProblem
        No ``scancel`` here, or it refuses.
    """
    program = shutil.which("scancel")
    if program is None:
        raise EnvironmentProblem(f"Slurm job {job_id} cannot be cancelled from here: there is no scancel.")
    try:
        done = subprocess.run([program, job_id], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvironmentProblem(f"Slurm job {job_id} cannot be cancelled ({error}).") from error
    if done.returncode:
        raise EnvironmentProblem(f"Slurm job {job_id} cannot be cancelled ({done.stderr.strip() or 'scancel failed'}).")
    with _asked_lock:
        _asked.pop(job_id, None)


def sbatch_preview(executor: Slurm, arguments: Sequence[str], *, run: Path) -> str:
    """The batch script that submitit would submit.

    Raises
    ------
    EnvironmentProblem
        submitit is missing.
    """
    submitit = _submitit()
    slurm = submitit.slurm.slurm
    text = slurm._make_sbatch_string(command="COMMAND", folder=run / SLURM_FOLDER, **_slurm_parameters(executor, run))
    # submitit starts a small program of its own that runs the list below; shown instead of its internals
    listed = command(executor, arguments)
    return f"{text.rstrip()}\n\n# COMMAND runs\n" + "".join(f"#   {argument}\n" for argument in listed)


_OVER: Final[frozenset[str]] = frozenset(
    ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "PREEMPTED")
)
_asked: dict[str, tuple[float, str]] = {}
_asked_lock = threading.Lock()
_ends: Final = JobQueue("run-ends", keep=0)
"""Waits for the end of each run that this process has started, and notes it; by run folder."""


def _submitit() -> Any:
    try:
        import submitit
        import submitit.slurm.slurm
    except ImportError as error:
        raise EnvironmentProblem("Slurm jobs need submitit; run: pip install submitit") from error
    return submitit


def _slurm_parameters(executor: Slurm, run: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "job_name": f"sai-{run.name}"[:60],
        "time": max(1, round(60 * executor.hours)),
        "nodes": executor.nodes,
        "ntasks_per_node": executor.processes,
        "cpus_per_task": executor.cpus,
        "mem": f"{max(1, round(1024 * executor.memory_gb))}MB",
        "signal_delay_s": min(_SIGNAL_BEFORE_LIMIT_S, max(10, round(600 * executor.hours))),
        "stderr_to_stdout": True,
        # the job finds the program without an installation, also where a cluster passes no environment on
        "setup": [f"export PYTHONPATH={shlex.quote(str(_REPOSITORY))}"],
    }
    if executor.gpus:
        settings["gpus_per_node"] = executor.gpus
    if executor.partition:
        settings["partition"] = executor.partition
    if executor.account:
        settings["account"] = executor.account
    return settings


def _submit(executor: Slurm, arguments: list[str], run: Path, environment: dict[str, str]) -> Started:
    submitit = _submitit()
    if executor.cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise EnvironmentProblem("There is no Slurm on this machine (sbatch and srun); start the app on a login node.")
    try:
        if executor.cluster == "local":
            maker = submitit.LocalExecutor(run / SLURM_FOLDER)
            maker.update_parameters(
                timeout_min=max(1, round(60 * executor.hours)), tasks_per_node=executor.processes, stderr_to_stdout=True
            )
        else:
            maker = submitit.SlurmExecutor(run / SLURM_FOLDER)
            maker.update_parameters(**_slurm_parameters(executor, run))
        # the local stand-in knows no set-up, but passes the environment on
        with submitit.helpers.environment_variables(PYTHONPATH=str(_REPOSITORY)):
            job = maker.submit(run_attached, run, command(executor, arguments), environment)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()
        raise EnvironmentProblem(
            f"{run.name}: the job was not accepted ({reason[-1] if reason else error})."
        ) from error
    job_id = str(job.job_id)
    if executor.cluster == "slurm":
        return Started(job_id=job_id)
    started = Started(pid=int(job_id), pid_started=_created(int(job_id)))
    _ends.add(run, Job(lambda progress: _reap_local_job(job, started, run)))
    return started


def _created(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:  # over already
        return time.time()


def _reap_local_job(job: Any, started: Started, run: Path) -> None:
    while not job.done():
        time.sleep(0.5)
    # the wrapper has written the training's own exit code
    if not (run / EXIT_NAME).exists():
        _write_exit(run, started, 0 if job.state == "FINISHED" else -1)


def _write_exit(run: Path, started: Started, code: int) -> None:
    outcome = {**asdict(started), "code": code, "ended": time.time()}
    try:
        if run.is_dir():  # not when the user has deleted it meanwhile
            with atomic_write(run / EXIT_NAME, "w", private=True) as stream:
                json.dump(outcome, stream)
    except EnvironmentProblem:
        pass  # a full disk: the run then counts as interrupted, which is as true


def _whole(name: str, value: int, least: int) -> None:
    if not least <= value <= _MAX_PROCESSES:
        raise InputError(f"{value} {name}: between {least} and {_MAX_PROCESSES} are possible.")


def _distributed_variables() -> dict[str, str]:
    """What ``torch.distributed`` wants to know, from what a job tells each of several processes."""
    here = os.environ
    if "SUBMITIT_LOCAL_NTASKS" in here:
        names = ("SUBMITIT_LOCAL_NTASKS", "SUBMITIT_LOCAL_GLOBALID", "SUBMITIT_LOCAL_LOCALID", "SUBMITIT_LOCAL_JOB_ID")
    else:
        names = ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID")
    tasks, rank, local_rank, job = (int(here.get(name, "0")) for name in names)
    if tasks < 2 or "RANK" in here:
        return {}
    first = socket.gethostname()
    nodes = os.environ.get("SLURM_JOB_NODELIST", "")
    scontrol = shutil.which("scontrol")
    if nodes and scontrol:
        listed = subprocess.run(
            [scontrol, "show", "hostnames", nodes], capture_output=True, text=True, timeout=20, check=False
        )
        first = (listed.stdout.split() or [first])[0]
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(local_rank),
        "WORLD_SIZE": str(tasks),
        "MASTER_ADDR": first,
        # from the job's number, so that two jobs on one machine do not meet
        "MASTER_PORT": str(20_000 + job % 20_000),
    }


def run_attached(run: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command within a job: its words to ``log.txt``, the job's warning as a request to stop.

    Takes over the signals of the process, also from submitit, whose own answer to the warning is to end at once.

    Parameters
    ----------
    run : Path
    arguments : sequence of str
        The command.
    environment : mapping
        Variables on top of the job's.

    Returns
    -------
    int
        The command's exit code.
    """
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", **_distributed_variables(), **environment}
    first = variables.get("RANK", "0") == "0"

    # Slurm sends its warning to every process of the job: the training must not die of it
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    with open(run / LOG_NAME, "ab", buffering=0, opener=private_opener) as log:
        process = subprocess.Popen(
            list(arguments),
            umask=PRIVATE_UMASK,
            cwd=_REPOSITORY,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def forward(number: int, _: object) -> None:
        process.send_signal(number)

    def ask_to_stop(number: int, _: object) -> None:
        (run / STOP_NAME).touch()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    signal.signal(signal.SIGUSR2, ask_to_stop)
    code = process.wait()
    if first:
        controller = int(os.environ.get("SUBMITIT_LOCAL_JOB_ID", "0"))
        job_id = "" if controller else os.environ.get("SLURM_JOB_ID", "")
        _write_exit(run, Started(pid=controller, job_id=job_id), code)
    return code

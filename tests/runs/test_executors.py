"""Executors: argument lists, two processes by torchrun, jobs by submitit, and small stand-ins for Slurm's programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sai_core.errors import EnvironmentProblem, InputError
from sai_core.runs import executors, launch, watch
from sai_core.runs.executors import Local, Slurm, Torchrun
from sai_core.runs.folder import run_lock
from sai_core.runs.launch import LaunchSpec
from tests.runs.stand_in import TRAINER, end_runs, trainer, wait_until

TRAIN = ["-m", "sai_core", "train", "detector", "--run=/runs/a b"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A runs folder; whatever still runs in it at the end of a test is ended."""
    yield tmp_path / "runs"
    end_runs(tmp_path / "runs")


def test_commands_are_lists() -> None:
    assert executors.command(Local(), TRAIN) == [sys.executable, *TRAIN]
    here = executors.command(Torchrun(processes=4), TRAIN)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=4", "--standalone"]
    assert here == [*torchrun, "--module", "--", *TRAIN[1:]]
    assert executors.command(Torchrun(processes=4), ["a.py", "--run=x"]) == [*torchrun, "--", "a.py", "--run=x"]
    several = Torchrun(processes=2, nodes=3, node=1, rendezvous="first:29500")
    assert "--node-rank=1" in executors.command(several, TRAIN)
    others = executors.commands_of_other_machines(several, TRAIN)
    assert [next(a for a in o if a.startswith("--node-rank")) for o in others] == ["--node-rank=0", "--node-rank=2"]
    assert all("--rdzv-endpoint=first:29500" in o and o[-1] == "--run=/runs/a b" for o in others)
    assert executors.commands_of_other_machines(Local(), TRAIN) == []


@pytest.mark.parametrize(
    "executor",
    [
        Local(),
        Torchrun(processes=3, nodes=2, node=1, rendezvous="h:1"),
        Slurm(gpus=2, partition="gpu", hours=0.5, memory_gb=8.0),
    ],
)
def test_executors_survive_json(executor: executors.Executor) -> None:
    assert executors.from_plain(json.loads(json.dumps(executors.to_plain(executor)))) == executor


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"kind": "moon"}, "unknown executor"),
        ({"kind": "local", "nodes": 2}, "unknown setting"),
        ({"kind": "torchrun", "processes": "2"}, "expected a value like 2"),
        ({"kind": "torchrun", "processes": True}, "expected a value like 2"),
        ({"kind": "torchrun", "processes": 0}, "between 1"),
        ({"kind": "torchrun", "nodes": 2}, "host:port"),
        ({"kind": "torchrun", "nodes": 2, "rendezvous": "--x:1"}, "host:port"),
        ({"kind": "torchrun", "nodes": 2, "node": 2, "rendezvous": "h:1"}, "numbered from 0"),
        ({"kind": "slurm", "hours": 0.0}, "time limit"),
        ({"kind": "slurm", "memory_gb": float("nan")}, "memory"),
        ({"kind": "slurm", "partition": "gpu\n#SBATCH --uid=0"}, "partition"),
        ({"kind": "slurm", "cluster": "moon"}, "slurm or local"),
    ],
)
def test_wrong_executors_are_one_sentence(raw: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        executors.from_plain(raw)


@pytest.mark.slow
def test_two_gloo_processes_meet_by_torchrun(folder: Path) -> None:
    spec = LaunchSpec(executor=Torchrun(processes=2), environment={"OMP_NUM_THREADS": "1"})
    run = launch.launch(spec, folder, "pair", arguments=trainer("--steps=5"))
    wait_until(lambda: not watch.look(run).active, 120.0)
    done = watch.look(run)
    assert done.state == "finished", watch.read_log(run).lines
    # both took part: 1 + 2
    assert any("rank 0 of 2, sum 3" in line for line in watch.read_log(run).lines)
    assert done.executor == "torchrun"


@pytest.mark.slow
def test_a_torchrun_launch_is_ended_with_its_workers(folder: Path) -> None:
    spec = LaunchSpec(executor=Torchrun(processes=2), environment={"OMP_NUM_THREADS": "1"})
    run = launch.launch(spec, folder, "pair", arguments=trainer("--steps=100000"))
    wait_until(lambda: watch.look(run).step > 0, 120.0)
    parent, worker = watch.processes(run)
    assert worker.pid == watch.look(run).pid
    assert parent.pid != worker.pid
    launch.terminate(run, force=True)
    wait_until(lambda: not parent.is_running() and not worker.is_running(), 120.0)
    assert watch.look(run).state == "interrupted"


@pytest.mark.slow
def test_a_job_of_submitits_local_cluster_runs_stops_and_resumes(folder: Path) -> None:
    pytest.importorskip("submitit")
    spec = LaunchSpec(executor=Slurm(cluster="local", hours=0.2), environment={"NCCL_SOCKET_IFNAME": "red"})
    run = launch.launch(spec, folder, "job", arguments=trainer("--steps=100000"))
    wait_until(lambda: watch.look(run).state == "running", 120.0)
    assert any("colour red" in line for line in watch.read_log(run).lines)
    with pytest.raises(InputError, match="running already"):
        launch.resume(run)
    launch.request_stop(run)
    wait_until(lambda: watch.look(run).state == "stopped", 120.0)
    stopped = watch.look(run)
    wait_until(lambda: not watch.processes(run), 120.0)
    launch.resume(run, arguments=trainer(f"--steps={stopped.step + 5}"))
    wait_until(lambda: watch.look(run).state == "finished", 120.0)
    wait_until((run / "exit.json").exists, 120.0)
    assert json.loads((run / "exit.json").read_text())["code"] == 0
    assert watch.look(run).executor == "slurm"


@pytest.mark.slow
def test_a_job_that_fails_at_once_tells_its_sentence(folder: Path) -> None:
    pytest.importorskip("submitit")
    spec = LaunchSpec(executor=Slurm(cluster="local", hours=0.2))
    run = launch.launch(spec, folder, "job", arguments=trainer("--fail=early"))
    wait_until(lambda: not watch.look(run).active, 120.0)
    wait_until(lambda: watch.look(run).state == "failed", 120.0)
    assert "unknown setting" in watch.look(run).message


def test_the_batch_script_is_shown(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    script = executors.sbatch_preview(
        Slurm(nodes=2, processes=4, gpus=4, hours=1.5, partition="gpu", account="sai"), TRAIN, run=tmp_path / "run"
    )
    for line in ("--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--time=90", "--partition=gpu"):
        assert f"#SBATCH {line}" in script
    assert "#SBATCH --signal=USR2@300" in script
    assert "#   --run=/runs/a b" in script


def test_the_jobs_warning_is_a_request_to_stop(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    program = (
        "import sys; from pathlib import Path; from sai_core.runs.executors import run_attached\n"
        "sys.exit(run_attached(Path(sys.argv[1]), sys.argv[2:], {'NCCL_SOCKET_IFNAME': 'green'}))"
    )
    command = [sys.executable, TRAINER, f"--run={run}", "--steps=100000"]
    process = subprocess.Popen([sys.executable, "-c", program, str(run), *command], start_new_session=True)
    try:
        wait_until(lambda: watch.look(run).state == "running", 120.0)
        # the job holds the folder
        with pytest.raises(InputError, match="stop it first"), run_lock(run):
            pass
        # Slurm sends it to every process of a job
        os.kill(watch.look(run).pid, signal.SIGUSR2)
        process.send_signal(signal.SIGUSR2)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert watch.look(run).state == "stopped"
    assert any("colour green" in line for line in watch.read_log(run).lines)
    with run_lock(run):
        pass


def test_the_distributed_variables_come_from_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("SLURM_", "SUBMITIT_")) or n == "RANK"]:
        monkeypatch.delenv(name)
    assert executors._distributed_variables() == {}
    for name, value in (("NTASKS", "4"), ("PROCID", "3"), ("LOCALID", "1"), ("JOB_ID", "70123")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    found = executors._distributed_variables()
    assert (found["RANK"], found["LOCAL_RANK"], found["WORLD_SIZE"]) == ("3", "1", "4")
    assert 20_000 <= int(found["MASTER_PORT"]) < 40_000


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_waiting_slurm_job_is_seen_and_cancelled(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    tools = tmp_path / "bin"
    tools.mkdir()
    queue = tmp_path / "queue"
    queue.write_text("PENDING\n")
    program(tools, "sbatch", f'cp "$1" {tmp_path}/script; echo "Submitted batch job 71"')
    program(tools, "srun", "exit 1")
    program(tools, "squeue", f"cat {queue}")
    program(tools, "scancel", f'echo "$1" > {tmp_path}/cancelled; : > {queue}')
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(executors, "_asked", {})
    spec = LaunchSpec(executor=Slurm(gpus=1, partition="gpu"))
    run = launch.launch(spec, folder, "job", arguments=trainer())
    waiting = watch.look(run)
    assert (waiting.state, waiting.job_id, waiting.message) == ("waiting", "71", "Slurm: pending")
    assert "#SBATCH --partition=gpu" in (tmp_path / "script").read_text()
    with pytest.raises(InputError, match="waiting already"):
        launch.resume(run)
    launch.request_stop(run)
    assert (tmp_path / "cancelled").read_text() == "71\n"
    assert watch.look(run).state == "stopped"


def test_without_slurm_a_job_is_refused_in_one_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match="no Slurm on this machine"):
        launch.launch(LaunchSpec(executor=Slurm()), folder, "job", arguments=trainer())
    assert not (folder / "job").exists()
    with pytest.raises(EnvironmentProblem, match="no scancel"):
        executors.cancel_job("71")

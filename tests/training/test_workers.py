"""Two processes by torchrun train one run."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sai_core.errors import InputError
from sai_core.runs.folder import RunFolder
from sai_core.training.workers import Workers
from tests.training.material import TINY

REPOSITORY = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

SCRIPT = """
import sys, torch
from sai_core.training.workers import Workers
w = Workers()
w.join(torch.device("cpu"))
a, b, c = (torch.zeros(3, requires_grad=True) for _ in range(3))
c.requires_grad_(False)
a.grad = torch.full((3,), float(w.rank))
if w.rank:
    b.grad = torch.ones(3)
w.average_gradients([a, b, c])
assert a.grad.tolist() == [0.5] * 3 and b.grad.tolist() == [0.5] * 3 and c.grad is None
assert w.mean([w.rank, 4.0]) == [0.5, 4.0]
w.wait()
w.leave()
print("rank", w.rank, "good")
"""


def test_alone_nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    workers = Workers()
    assert (workers.rank, workers.world, workers.first) == (0, 1, True)
    workers.join(torch.device("cpu"))
    assert workers.mean([1.5, float("nan")])[0] == 1.5
    parameter = torch.zeros(2, requires_grad=True)
    workers.average_gradients([parameter])
    assert parameter.grad is None
    assert workers.device(torch.device("cuda")) == torch.device("cuda")
    workers.leave()
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(InputError, match="do not fit"):
        Workers()
    monkeypatch.setenv("RANK", "x")
    with pytest.raises(InputError, match="whole numbers"):
        Workers()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert Workers().device(torch.device("cuda")) == torch.device("cuda", 1)
    assert not Workers().first


def test_a_silent_folder_writes_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", silent=True)
    with folder.held():
        folder.begin({})
    folder.status(force=True)
    folder.append({"epoch": 0, "step": 1, "seconds": 0.0, "kind": "train"})
    assert folder.restore(b"x") == ""
    folder.clear_stop()
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_gradients_and_figures_are_averaged(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*TORCHRUN, str(script)], capture_output=True, text=True, env=environment, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("good") == 2


@pytest.mark.slow
def test_two_processes_train_one_run(tiny_root: Path, tiny_weights: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [*TORCHRUN, "--module", "--", "sai_core", "train", "detector", "--config=small_a", f"--data={tiny_root}"]
    command += [f"--run={run}", "--epochs=1", "--device=cpu", "--quiet", f"--set=data.weights='{tiny_weights}'"]
    command += [f"--set={item}" for item in TINY]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    with open(run / "metrics.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["kind"], r["step"]) for r in rows] == [(k, s) for s in "123" for k in ("train",)] + [("validation", "3")]

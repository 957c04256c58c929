"""The benchmark for GPUs runs without one, and a row that fails is a line of its table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from tests.benchmarks import gpu


@pytest.mark.parametrize("name", ["memory", "labels", "listening"])
def test_a_row_runs_and_agrees_with_itself(name: str) -> None:
    found = gpu.ROWS[name][0](gpu.Setting("cpu", small=True))
    assert found["agrees"], found
    json.dumps(found)


def test_a_row_that_fails_is_told_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, setting: gpu.Setting, limit_s: float) -> dict[str, object]:
        return {"error": "made up", "agrees": False} if name == "features" else {"agrees": True, "frames/s": 5.0}

    monkeypatch.setattr(gpu, "run_row", broken)
    out = [f"--json={tmp_path / 'gpu.json'}", f"--markdown={tmp_path / 'gpu.md'}"]
    monkeypatch.setattr(sys, "argv", ["gpu", "--device=cpu", "--small", "--rows", "features", "labels", *out])
    assert gpu.main() == 1
    assert json.loads((tmp_path / "gpu.json").read_text())["labels"]["frames/s"] == 5.0
    assert "| features | **no** | error made up |" in (tmp_path / "gpu.md").read_text()
    monkeypatch.undo()
    if not torch.cuda.is_available():
        monkeypatch.setattr(sys, "argv", ["gpu"])
        assert gpu.main() == 1


def test_a_process_that_breaks_is_one_sentence() -> None:
    found = gpu.run_row("no such row", gpu.Setting("cpu", small=True), 120)
    assert found["agrees"] is False
    assert "no such row" in found["error"]

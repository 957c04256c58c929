"""A run that is killed anywhere, any number of times, ends as one that nothing disturbed: rows and weights."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.runs.tiny import STEPS, TinyRun, tiny_runs, train_and_die

N_KILLS = int(os.environ.get("SAI_KILLS", "20"))
"""Kills of each kind of run."""

RESULT = {
    "detector": "best",
    "uplam": "uplam",
    "sounds": "sounds",
    "wideband": "best",
    "listener": "best",
    "teacher": "best",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TinyRun]:
    return tiny_runs(tmp_path_factory.mktemp("tiny"))


def rows(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", encoding="utf-8", newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def assert_same(run: Path, whole: Path, result: str) -> None:
    assert rows(run) == rows(whole)
    names = [f"{result}.safetensors", *(["last.safetensors"] if (whole / "last.safetensors").exists() else [])]
    for name in names:
        ours, theirs = load_file(run / name), load_file(whole / name)
        assert ours.keys() == theirs.keys()
        assert [k for k in theirs if not torch.equal(ours[k], theirs[k])] == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", list(RESULT))
def test_kills_anywhere_change_nothing(
    kind: str, tiny: dict[str, TinyRun], forked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(run: Path, changes: list[str], last_write: int) -> Any:
        resume = (run / "config.json").exists()
        process = forked.Process(target=train_and_die, args=(tiny[kind], run, changes, resume, last_write))
        process.start()
        return process

    whole = tmp_path / "whole"
    process = start(whole, [], 0)
    process.join(300)
    assert process.exitcode == 0
    n_writes = int((tmp_path / "whole.count").read_text())
    assert len(rows(whole)) >= 3
    # one in each equal part of all that the run writes, in any order
    rng = np.random.default_rng(len(kind))
    places = rng.permutation((np.arange(N_KILLS) + rng.random(N_KILLS)) * n_writes / N_KILLS).tolist()
    killed, number, run = 0, 0, tmp_path / "run-0"
    while killed < N_KILLS:
        # with a checkpoint after every step, and with few of them
        changes = ["checkpoint_minutes=0"] if number % 2 and kind != "sounds" else []
        process = start(run, changes, 1 + int(places[killed % N_KILLS]))
        process.join(300)
        killed += process.exitcode == -9
        assert process.exitcode in (0, -9)
        if process.exitcode == 0:
            assert_same(run, whole, RESULT[kind])
            number += 1
            run = tmp_path / f"run-{number}"
    process = start(run, [], 0)
    process.join(300)
    assert process.exitcode == 0
    assert_same(run, whole, RESULT[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(RESULT))
@pytest.mark.parametrize("damage", ["empty", "cut", "foreign", "no text", "torn", "gone"])
def test_whatever_becomes_of_the_metrics_resuming_ends_with_the_same_rows(
    kind: str, damage: str, tiny: dict[str, TinyRun], wholes: dict[str, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def stop(fraction: float, message: str) -> None:
        if "epoch 2" in message or "stage 1 step 2" in message:
            (run / "stop").touch()

    tiny[kind].train(run, progress=stop)
    path = run / "metrics.csv"
    content = path.read_bytes()
    assert content.count(b"\n") >= 2
    foreign = b"name,value\na,1\n"
    path.write_bytes(
        {
            "empty": b"",
            "cut": content[:9],
            "foreign": foreign,
            "no text": b"\xff\xfe\x00" + content,
            "torn": content + content[-20:-3],
            "gone": b"",
        }[damage]
    )
    if damage == "gone":
        path.unlink()
    told: list[str] = []
    tiny[kind].train(run, resume=True, say=told.append)
    assert_same(run, wholes[kind], RESULT[kind])
    assert [("put aside" in sentence) for sentence in told] == ([True] if damage in ("foreign", "no text") else [])
    assert [p.read_bytes() for p in run.glob("metrics.aside-*")] == (
        [foreign] if damage == "foreign" else [b"\xff\xfe\x00" + content] if damage == "no text" else []
    )


@pytest.fixture(scope="module")
def wholes(tiny: dict[str, TinyRun], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each kind that nothing disturbed."""
    folder = tmp_path_factory.mktemp("wholes")
    for kind in RESULT:
        tiny[kind].train(folder / kind)
        assert len(rows(folder / kind)) >= 2, STEPS[kind]
    return {kind: folder / kind for kind in RESULT}

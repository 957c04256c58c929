"""The run folder: whole files, growing metrics, one process at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.environment import run_environment
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.runs.folder import RunFolder, run_lock
from sai_core.training.config import COLUMNS


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin({"epochs": 3})
    assert folder.config() == {"epochs": 3}
    with pytest.raises(InputError, match="already"):
        RunFolder(tmp_path / "run").begin({})
    with pytest.raises(InputError, match="the folder of a run"):
        RunFolder(tmp_path / "none").config()
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "config.json").write_text("[1]")
    with pytest.raises(InputError, match="object"):
        RunFolder(tmp_path / "list").config()


def test_status_keeps_what_it_was_told(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, columns=COLUMNS)
    folder.status(force=True, epochs=4, message="one")
    folder.status(message="two")  # too soon to be written
    assert json.loads((tmp_path / "status.json").read_text())["message"] == "one"
    folder.status(force=True, epoch=2)
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["message"], status["epoch"], status["epochs"], status["state"]) == ("two", 2, 4, "running")
    keys = "pid pid_started host step steps frames_per_s eta_s frozen rates memory_mb gpu_memory_mb updated"
    assert set(keys.split()) <= set(status)
    assert not list(tmp_path.glob(".*"))  # no temporary file stays


def test_the_wish_to_stop(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, columns=COLUMNS)
    assert not folder.stop_wanted()
    (tmp_path / "stop").touch()
    assert folder.stop_wanted()
    folder.clear_stop(stale_only=True)
    assert folder.stop_wanted()  # made since this process began
    folder.clear_stop()
    folder.clear_stop()
    assert not folder.stop_wanted()
    (tmp_path / "stop").touch()
    os.utime(tmp_path / "stop", (1e9, 1e9))
    folder.clear_stop(stale_only=True)
    assert not folder.stop_wanted()


def _row(step: int) -> dict[str, float | int | str]:
    return {"epoch": 0, "step": step, "seconds": 1.5, "kind": "train", "total": 0.1 + step, "class": 1 / 3}


def test_metrics_grow_and_begin_anew_with_the_rows_of_a_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, columns=COLUMNS)
    for step in (1, 2):
        folder.append(_row(step))
    history = folder.history
    folder.append(_row(3))
    text = (tmp_path / "metrics.csv").read_text()
    assert text.encode() == folder.history
    assert text.splitlines()[0].split(",") == list(COLUMNS)
    assert repr(1 / 3) in text  # every bit
    with open(tmp_path / "metrics.csv", "a", encoding="utf-8") as stream:
        stream.write("0,3,1.5,tr")
    again = RunFolder(tmp_path, columns=COLUMNS)
    assert again.restore(history) == ""
    assert (tmp_path / "metrics.csv").read_bytes() == history
    again.append(_row(3))
    assert (tmp_path / "metrics.csv").read_text() == text


WHOLE = b"".join(
    line.encode() + b"\n"
    for line in (",".join(COLUMNS), *(f"0,{k},1.5,train{',0.5' * (len(COLUMNS) - 4)}" for k in (1, 2, 3)))
)


@given(
    kept=st.integers(0, 3),
    damage=st.one_of(
        st.integers(0, len(WHOLE)).map(lambda n: WHOLE[:n]),
        st.binary(max_size=200),
        st.binary(max_size=50).map(lambda tail: WHOLE + tail),
        st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)).map(
            lambda place: WHOLE[: place[0]] + bytes([place[1]]) + WHOLE[place[0] + 1 :]
        ),
    ),
)
def test_whatever_has_become_of_the_metrics_the_rows_of_the_checkpoint_stand(kept: int, damage: bytes) -> None:
    history = b"\n".join(WHOLE.split(b"\n")[: kept + 1]) + b"\n" if kept else b""
    with TemporaryDirectory() as name:
        path = Path(name) / "metrics.csv"
        path.write_bytes(damage)
        folder = RunFolder(Path(name), columns=COLUMNS)
        told = folder.restore(history)
        assert path.read_bytes() == folder.history == history
        aside = list(Path(name).glob("metrics.aside-*.csv"))
        # what was not ours is kept, and said
        assert [p.read_bytes() for p in aside] == ([damage] if told else [])
        begin = history or WHOLE.partition(b"\n")[0] + b"\n"
        assert bool(told) == (bool(damage.strip()) and not damage.startswith(begin) and not begin.startswith(damage))


def test_rows_of_a_checkpoint_without_any_are_put_aside(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(WHOLE)
    assert "put aside as metrics.aside-1.csv" in RunFolder(tmp_path, columns=COLUMNS).restore(None)
    assert (tmp_path / "metrics.aside-1.csv").read_bytes() == WHOLE


def test_a_full_disk_leaves_no_half_row(tmp_path: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path; from sai_core.runs.folder import RunFolder\n"
        "from sai_core.errors import EnvironmentProblem\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "folder = RunFolder(Path(sys.argv[1]), columns=('step', 'total'))\n"
        "try:\n"
        "    for step in range(50): folder.append({'step': step, 'total': 0.5})\n"
        "except EnvironmentProblem as error: sys.exit(str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr.strip() == f"{tmp_path / 'metrics.csv'}: cannot be written (File too large)."
    lines = (tmp_path / "metrics.csv").read_text().split("\n")
    assert lines[-1] == ""
    assert lines[1:-1] == [f"{k},0.5" for k in range(len(lines) - 2)]


def test_a_run_is_held_by_one_process_at_a_time_and_never_by_a_dead_one(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from sai_core.runs.folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).held():\n"
        "    print('held', flush=True); time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="this run is running"), run_lock(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    with run_lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").mkdir()
    with pytest.raises(EnvironmentProblem, match=r"metrics\.csv"):
        RunFolder(tmp_path, columns=COLUMNS).append({"epoch": 0, "step": 1, "seconds": 0.0, "kind": "train"})


def test_the_environment_is_told() -> None:
    facts = run_environment()
    assert facts["python"].count(".") == 2
    assert "cores" in facts["machine"]


def test_samples_are_replaced(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, columns=COLUMNS)
    folder.clear_samples()
    folder.save_sample("a", b"x")
    folder.clear_samples()
    folder.save_sample("b", b"y")
    assert [p.name for p in (tmp_path / "samples").iterdir()] == ["b.png"]

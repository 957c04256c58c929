"""How long a run will take: its steps counted before, a few of them timed, and what does not fit told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from sai_core.cli import main
from sai_core.runs import watch
from sai_core.runs.estimate import Estimate, from_earlier_runs
from sai_core.runs.kinds import FieldError, RunInputs
from sai_core.runs.launch import LaunchSpec
from sai_core.runs.outlook import look_ahead_apart
from sai_core.training import trial
from sai_core.training.loop import train
from tests.training.material import TINY, Configure


def test_the_steps_are_those_that_the_run_makes(tiny: Configure, tiny_root: Path, tmp_path: Path) -> None:
    config = tiny("data.frame_step=2", "epochs=3")
    run = tmp_path / "run"
    counted = trial.count_steps(config, RunInputs(data_roots=(tiny_root,), device="cpu"))
    train(config, run, data_roots=[tiny_root], device="cpu")
    assert json.loads((run / "status.json").read_text())["steps"] == counted


def test_some_steps_are_timed_once(tiny: Configure, tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, inputs = tiny("optimiser.rate=2e-4"), RunInputs(data_roots=(tiny_root,), device="cpu")
    first = trial.measure(config, inputs)
    assert first.steps == trial.count_steps(config, inputs)
    assert first.seconds > 0
    assert first.memory_mb is not None
    assert first.memory_limit_mb is not None
    assert 100 < first.memory_mb < first.memory_limit_mb
    assert "timed on this machine just now" in first.rests_on
    monkeypatch.setattr(trial, "_timed", lambda *args: pytest.fail("timed again"))
    again = trial.measure(config, inputs)
    assert (again.seconds, again.steps) == (first.seconds, first.steps)
    assert "just now" not in again.rests_on
    longer = trial.measure(tiny("optimiser.rate=2e-4", f"epochs={2 * config.epochs}"), inputs)
    assert longer.steps == 2 * first.steps
    assert longer.seconds > 1.5 * first.seconds


def test_a_batch_that_does_not_fit_is_told_with_one_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial.psutil, "virtual_memory", lambda: SimpleNamespace(available=10 << 20))
    peaks = iter((100 << 20, 102 << 20))
    monkeypatch.setattr(trial, "_peak_bytes", lambda: next(peaks))
    cpu = trial.torch.device("cpu")
    with pytest.raises(FieldError, match=r"batch of 16 frames does not fit into the free memory \(9 MB\); use batch=4"):
        trial._fit(lambda n_frames: 0.0, 16, cpu)


def test_an_earlier_run_of_the_same_network_tells_the_time(tiny: Configure, tmp_path: Path) -> None:
    known = json.loads(json.dumps({"kind": "detector", **tiny().as_dict(), "device": "cpu", "data_roots": ["/d"]}))
    run = tmp_path / "runs" / "before"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({**known, "seed": 9, "epochs": 77}))
    (run / "launch.json").write_text('{"kind": "detector", "created": 1.0}')
    status = {"state": "finished", "step": 100, "steps": 100, "host": watch.socket.gethostname(), "memory_mb": 900.0}
    (run / "status.json").write_text(json.dumps({**status, "updated": 5.0}))
    (run / "metrics.csv").write_text("epoch,step,seconds,kind,total\n0,60,30.0,train,1\n1,100,200.0,train,1\n")

    def told(**changes: object) -> Estimate | None:
        runs = watch.list_runs(tmp_path / "runs")
        return from_earlier_runs(runs, {**known, **changes}, kind="detector", device="cpu", steps=500)

    found = told(seed=3, name="other")
    assert found is not None
    assert found.seconds == pytest.approx(500 * 2.0)
    assert found.memory_mb == 900.0
    assert "as run before took on this machine" in found.sentences()[0]
    assert told(batch=known["batch"] + 1) is None
    assert told(model={**known["model"], "channels": 8}) is None
    (run / "status.json").write_text(json.dumps({**status, "host": "elsewhere", "updated": 5.0}))
    assert told() is None


def test_everything_that_is_wrong_comes_from_a_process_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ("optimiser.rat=1", "batch=0", "seed=1")
    spec = LaunchSpec(recipe="small_a", data=(str(tmp_path / "none"),), overrides=wrong, device="cpu")
    found = look_ahead_apart(spec, tmp_path / "run")
    assert [field for field, _ in found.faults] == ["data", "overrides", "overrides"]
    arguments = ["train", "detector", "--config", "small_a", "--data", str(tmp_path / "none"), "--check", "--quiet"]
    assert main([*arguments, "--run", str(tmp_path / "run"), *(f"--set={change}" for change in wrong)]) == 2
    err = capsys.readouterr().err
    assert [line.removeprefix("error: ") for line in err.splitlines()] == [sentence for _, sentence in found.faults]
    assert "unknown settings rat" in err
    assert "batch is 0" in err
    assert not (tmp_path / "run").exists()


def test_the_verb_says_how_long_it_takes_and_starts_nothing(
    tiny_root: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [f"--set={change}" for change in (*TINY, f"data.weights='{tiny_weights}'")]
    arguments = ["train", "detector", "--config", "small_a", "--data", str(tiny_root), "--device", "cpu", *settings]
    assert main([*arguments, "--run", str(tmp_path / "run"), "--check", "--quiet"]) == 0
    assert capsys.readouterr().out.startswith("About ")
    assert not (tmp_path / "run").exists()


def test_the_check_says_what_is_left_out_and_what_is_empty(
    tiny_root: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    shutil.copytree(tiny_root, root)
    sound = next((root / "mic_dev").rglob("*.wav"))
    shutil.copy(sound, sound.with_name("lonely.wav"))
    label = next((root / "labels_dev").rglob("*.json"))
    for name in ("mute_std.json", "mute2_std.json"):
        shutil.copy(label, label.with_name(name))
    silent = sorted((root / "labels_dev").rglob(f"{sound.stem}_*"))[0]
    silent.write_text('{"annotations": []}')
    settings = [f"--set={change}" for change in (*TINY, f"data.weights='{tiny_weights}'")]
    arguments = ["train", "detector", "--config", "small_a", "--data", str(root), "--device", "cpu", *settings]
    arguments += ["--run", str(tmp_path / "run"), "--check", "--quiet"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "lack labels or audio; left out (1 without labels, 2 without 4-channel audio)" in out
    assert f"1 of 3 label files hold no annotation, the first is that of {sound.stem}" in out
    silent.write_text("")
    assert main(arguments) == 2
    assert f"{silent}: the label file is empty (0 bytes); take it away" in capsys.readouterr().err


def test_steps_that_were_timed_on_a_busy_machine_say_so() -> None:
    assert trial._busy(7.24, 2.0) == ", while the machine was busy (load 7.2 on 2 cores): on a quiet one it is faster"
    assert trial._busy(2.0, 2.0) == trial._busy(None, None) == ""

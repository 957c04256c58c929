"""The registry of kinds: the verb, the launcher and the page agree, and a run of each lives the same life."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sai_core.cli import build_parser, main
from sai_core.dataset import demo_root
from sai_core.errors import CancelledError, EnvironmentProblem, InputError
from sai_core.runs import launch, proposal, watch
from sai_core.runs.folder import run_lock
from sai_core.runs.kinds import KINDS, FieldError
from tests.runs.stand_in import end_runs, wait_until
from tests.runs.tiny import STEPS, TinyRun, tiny_runs


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TinyRun]:
    return tiny_runs(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "runs"
    end_runs(tmp_path / "runs")


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_the_page_starts_is_what_the_verb_takes(kind: str, tiny: dict[str, TinyRun]) -> None:
    spec = replace(tiny[kind].spec(), epochs=3)
    arguments = launch.train_arguments(spec, Path("/runs/x"))
    args = build_parser("train").parse_args(arguments[2:])
    assert (args.network, args.run_folder, args.resume) == (kind, Path("/runs/x"), False)
    assert tuple(args.overrides) == spec.overrides
    assert tuple(map(str, getattr(args, "data", ()))) == (spec.data if KINDS[kind].data != "none" else ())
    assert getattr(args, "epochs", None) == (3 if KINDS[kind].takes_epochs else None)
    for name, value in spec.options.items():
        assert getattr(args, name.removeprefix("--")) == value
    again = build_parser("train").parse_args(launch.train_arguments(spec, Path("/runs/x"), resume=True)[2:])
    assert again.resume
    assert not again.overrides


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_run_is_stopped_resumed_and_cancelled_to_the_same_states(
    kind: str, tiny: dict[str, TinyRun], tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def stop(fraction: float, message: str) -> None:
        if watch.look(run).step or "loss" in message or "step" in message:
            (run / "stop").touch()

    tiny[kind].train(run, progress=stop)
    stopped = watch.look(run)
    assert (stopped.kind, stopped.state, stopped.resumable) == (kind, "stopped", True)
    assert 0 < stopped.step < stopped.steps == STEPS[kind]
    assert stopped.message == f"Stopped at step {stopped.step} of {STEPS[kind]}."
    assert not (run / "stop").exists()

    def cancel(fraction: float, message: str) -> None:
        if "loss" in message or "step" in message:
            raise CancelledError("Enough.")

    with pytest.raises(CancelledError, match="Enough"):
        tiny[kind].train(run, resume=True, progress=cancel)
    cancelled = watch.look(run)
    assert (cancelled.state, cancelled.resumable) == ("stopped", True)
    assert cancelled.step >= stopped.step or kind == "sounds"

    def interrupt(fraction: float, message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny[kind].train(run, resume=True, progress=interrupt)
    assert watch.look(run).state == "stopped"
    made = tiny[kind].train(run, resume=True)
    assert str(run) in made
    finished = watch.look(run)
    assert (finished.state, finished.step, finished.steps) == ("finished", STEPS[kind], STEPS[kind])
    with pytest.raises(InputError, match="there is a run in this folder already"):
        tiny[kind].train(run)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_full_disk_is_told_before_a_run_begins_and_before_it_goes_on(
    kind: str, tiny: dict[str, TinyRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run, spec = tmp_path / "run", tiny[kind].spec()
    needed = KINDS[kind].trainer().room(*launch.resolved(spec))
    arguments = launch.train_arguments(spec, run)[2:]
    free = needed - 1
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    sentence = f"{run}: the run with its checkpoints will take about "
    assert main([*arguments, "--quiet"]) == 1
    assert main([*arguments, "--check", "--quiet"]) == 2
    assert [line.startswith(f"error: {sentence}") for line in capsys.readouterr().err.splitlines()] == [True, True]
    with pytest.raises(EnvironmentProblem, match="will take about"):
        launch.launch(spec, tmp_path, "run")
    assert not run.exists()
    free = needed
    assert not launch.faults(spec, run)

    if kind in ("uplam", "sounds"):  # the largest part of their tiny runs is not of the last stage, or no checkpoint
        return
    tiny[kind].train(run)
    files = [path.stat().st_size for path in (run / "last.safetensors", run / "best.safetensors")]
    kept = sum(path.stat().st_size for path in run.rglob("*.npz"))
    assert sum(files) + kept < needed < 3 * (sum(files) + kept) + 2**21
    free = sum(files) - 1
    assert main(["train", kind, f"--run={run}", "--resume", "--quiet"]) == 1
    assert f"{run}: the run's next checkpoint will take about" in capsys.readouterr().err


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_stop_while_the_data_are_prepared_is_granted_at_once(
    kind: str, tiny: dict[str, TinyRun], tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def stop(fraction: float, message: str) -> None:
        assert "loss" not in message
        (run / "stop").touch()

    tiny[kind].train(run, progress=stop)
    assert watch.look(run).state == "stopped"
    assert watch.look(run).message == "Stopped before the first step."
    assert not (run / "stop").exists()


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_run_that_another_process_holds_is_refused_and_left_alone(
    kind: str, tiny: dict[str, TinyRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sai_core.runs.folder._LAUNCHER_S", 0.2)
    run = tmp_path / "run"

    def stop(fraction: float, message: str) -> None:
        (run / "stop").touch()

    tiny[kind].train(run, progress=stop)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with run_lock(run):
        with pytest.raises(InputError, match="this run is running"):
            tiny[kind].train(run, resume=True)
        with pytest.raises(InputError, match="this run is running"):
            launch.delete(run)
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_launched_run_is_stopped_and_resumed(kind: str, tiny: dict[str, TinyRun], folder: Path) -> None:
    spec = tiny[kind].spec()
    run = launch.launch(spec, folder, "one")
    # asked before it begins or while it trains: both end as stopped, with the same words on how to go on
    launch.request_stop(run)
    wait_until(lambda: not watch.look(run).active, 300.0)
    first = watch.look(run)
    assert (first.kind, first.state) == (kind, "stopped"), first.message
    wait_until(lambda: not watch.processes(run), 60.0)
    launch.resume(run)
    wait_until(lambda: watch.look(run).state == "finished" or not watch.look(run).active, 300.0)
    assert watch.look(run).state == "finished", watch.read_log(run).lines
    assert launch.spec_of(run).overrides == spec.overrides
    wait_until(lambda: not watch.processes(run), 120.0)
    assert launch.delete(run) == ()
    assert not run.exists()


@pytest.mark.parametrize(
    ("kind", "change", "field", "sentence"),
    [
        ("detector", {"overrides": ("optimiser.rat=1",)}, "overrides", "unknown settings rat"),
        ("detector", {"overrides": ("optimiser.rate=nan",)}, "overrides", "rate is nan; a number above 0"),
        ("detector", {"overrides": ("batch=" + "9" * 400,)}, "overrides", "beyond 64 bits"),
        ("detector", {"data": ("/nowhere",)}, "data", "no such data root"),
        ("detector", {"data": ()}, "data", "needs data"),
        ("detector", {"overrides": ("start.detector=/nowhere.pth",)}, "overrides", "no such file"),
        ("detector", {"overrides": ("start.backbone=''",), "recipe": "track_b"}, "", "starts from given weights"),
        ("detector", {"recipe": "/nowhere.toml"}, "recipe", "no such recipe"),
        ("uplam", {"overrides": ("stages.0.cells=3",)}, "overrides", "cells"),
        ("uplam", {"overrides": ("validate_every=0",)}, "overrides", "validate_every"),
        ("sounds", {"options": {"--scenes": "many"}}, "--scenes", "scenes is 'many'"),
        ("sounds", {"overrides": ("scenes=0",), "data": ()}, "data", "simulated scenes"),
        ("teacher", {"options": {"--split": "none", "--validation": "dev-val-x"}}, "--split", "split 'none'"),
        ("teacher", {"options": {"--split": "dev-train-x"}}, "--validation", "needs --validation"),
        ("teacher", {"overrides": ("model.audio='foa'",)}, "--split", "no foa_dev audio"),
    ],
)
def test_what_cannot_work_is_told_at_its_field_before_a_folder_is_made(
    kind: str, change: dict, field: str, sentence: str, tiny: dict[str, TinyRun], folder: Path
) -> None:
    if change.get("recipe") in KINDS[kind].recipes:
        change = {**change, "recipe": str(KINDS[kind].recipes[change["recipe"]])}
    with pytest.raises(InputError, match=sentence) as caught:
        launch.launch(replace(tiny[kind].spec(), **change), folder, "one")
    assert getattr(caught.value, "field", "") == field
    assert not (folder / "one").exists()


def test_a_kind_that_is_none_and_a_name_that_is_none(tiny: dict[str, TinyRun], folder: Path) -> None:
    with pytest.raises(InputError, match="no training of kind 'export'"):
        launch.launch(replace(tiny["uplam"].spec(), kind="export"), folder, "one")
    with pytest.raises(FieldError, match="Run name") as caught:
        launch.launch(tiny["uplam"].spec(), folder, "a b")
    assert caught.value.field == "name"


def test_only_what_the_program_wrote_is_deleted(tiny: dict[str, TinyRun], tmp_path: Path) -> None:
    run = tmp_path / "run"
    tiny["uplam"].train(run, progress=lambda f, m: (run / "stop").touch())
    (run / "notes.txt").write_text("mine")
    (run / "mine.safetensors").write_bytes(b"mine")
    assert launch.delete(run) == ("mine.safetensors", "notes.txt")
    assert sorted(path.name for path in run.iterdir()) == ["mine.safetensors", "notes.txt"]
    with pytest.raises(InputError, match="no run in this folder"):
        launch.delete(run)


def test_a_teachers_run_of_an_older_version_goes_on(tiny: dict[str, TinyRun], tmp_path: Path) -> None:
    """It kept its data in a table of its own, and saved between epochs alone."""
    teacher, whole, run = tiny["teacher"], tmp_path / "whole", tmp_path / "run"
    teacher.train(whole)

    def stop_in_the_second_epoch(fraction: float, message: str) -> None:
        if message.startswith("epoch 2"):
            raise CancelledError

    with suppress(CancelledError):
        teacher.train(run, progress=stop_in_the_second_epoch)
    config = json.loads((run / "config.json").read_text())
    for name in ("kind", "device", "options", "data_roots"):
        del config[name]
    options = teacher.options
    config["data"] = {
        "roots": list(teacher.data),
        "train": options["--split"],
        "validation": options["--validation"],
    }
    (run / "config.json").write_text(json.dumps(config))
    with safe_open(run / "last.safetensors", framework="pt") as stored:
        header = {name: stored.metadata()[name] for name in ("epoch", "best", "seconds")}
        state = {k: stored.get_tensor(k) for k in stored.keys() if not k.startswith("chance/")}  # noqa: SIM118
    assert header["epoch"] == "1"
    save_file(state, run / "last.safetensors", metadata=header)
    assert main(["train", "teacher", "--run", str(run), "--resume", "--quiet"]) == 0
    ours, theirs = load_file(run / "best.safetensors"), load_file(whole / "best.safetensors")
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


def test_a_teacher_and_a_sound_run_go_on_without_their_options(
    tiny: dict[str, TinyRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    tiny["teacher"].train(run, progress=lambda f, m: (run / "stop").touch())
    kept = json.loads((run / "config.json").read_text())
    assert kept["options"] == tiny["teacher"].options
    assert kept["data_roots"] == list(tiny["teacher"].data)
    assert main(["train", "teacher", "--run", str(run), "--resume", "--quiet"]) == 0
    assert watch.look(run).state == "finished"
    capsys.readouterr()
    assert main(["train", "teacher", "--run", str(tmp_path / "new"), "--data", tiny["teacher"].data[0]]) == 2
    said = capsys.readouterr().err
    assert "2 things are in the way, and nothing was begun" in said
    assert all(f"needs {option}: " in said for option in ("--split", "--validation"))
    assert not (tmp_path / "new").exists()
    assert main(["train", "sounds", "--run", str(run), "--resume", "--scenes", "3"]) == 2
    assert "leave --config, --epochs, --scenes and --set out" in capsys.readouterr().err


def test_everything_that_is_wrong_is_told_at_once(tiny: dict[str, TinyRun]) -> None:
    detector = replace(
        tiny["detector"].spec(), data=("/nowhere",), overrides=("optimiser.rat=1", "seed=2", "batch=none")
    )
    assert [getattr(e, "field", "") for e in launch.faults(detector)] == ["data", "overrides", "overrides"]
    weights = replace(tiny["detector"].spec(), overrides=("start.detector=/a.pth", "start.sounds=/b.safetensors"))
    assert len(launch.faults(weights)) == 2
    teacher = replace(tiny["teacher"].spec(), options={}, data=())
    assert [getattr(e, "field", "") for e in launch.faults(teacher)] == ["data", "--split", "--validation"]
    for run in tiny.values():
        assert launch.faults(run.spec()) == []


def test_settings_that_go_together_only_are_no_fault(tiny: dict[str, TinyRun]) -> None:
    # resnet50 alone would need width 64, and width 32 alone another backbone
    wide = replace(tiny["detector"].spec(), overrides=("model.backbone=resnet50", "model.width=64"))
    assert launch.faults(wide) == []


def test_the_recipe_that_is_proposed_fits_data_and_machine(
    tiny: dict[str, TinyRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = [Path(root) for root in tiny["detector"].data]
    few = proposal.propose_detector(roots, gpu=True)
    assert few.recipe == "small_b"
    assert "only" in few.reason
    assert "all with video" in few.reason
    shutil.copytree(roots[0], tmp_path / "heard", ignore=shutil.ignore_patterns("video_dev", "frames_dev"))
    roots = [tmp_path / "heard"]
    assert proposal.propose_detector(roots, gpu=True).recipe == "small_a"
    assert "none with video" in proposal.propose_detector(roots, gpu=True).reason
    assert "no GPU" in proposal.propose_detector(roots, gpu=False).reason
    monkeypatch.setattr(proposal, "_seconds_of", lambda recording: 1900.0)
    assert proposal.propose_detector(roots, gpu=True).recipe == "track_a"
    assert proposal.propose_detector(roots, gpu=False).recipe == "small_a"
    assert proposal.propose_detector([demo_root()], gpu=True).recipe == "track_b"

    # what has no label to learn from is no labelled recording
    def lengths() -> str:
        return proposal.propose_detector(roots, gpu=False).reason

    monkeypatch.setattr(proposal, "_seconds_of", lambda recording: 600.0)
    labels = sorted((tmp_path / "heard" / "labels_dev").rglob("*.json"))
    assert f"{10 * len(labels)} min of labelled recordings" in lengths()
    labels[0].write_text("")
    labels[1].write_text('{"annotations": []}')
    assert f"2 of {len(labels)} lack labels or audio" in lengths()
    assert (f"{10 * (len(labels) - 2)} min of labelled" if len(labels) > 2 else "no labelled recordings") in lengths()
    (tmp_path / "empty").mkdir()
    assert proposal.propose_detector([tmp_path / "empty"], gpu=True).recipe == "small_a"
    for name in ("small_a", "small_b", "track_a", "track_b"):
        assert name in KINDS["detector"].recipes

"""Launching, stopping and resuming, with a stand-in trainer that follows the contract of run folders."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sai_core.errors import EnvironmentProblem, InputError
from sai_core.runs import executors, launch, watch
from sai_core.runs.kinds import KINDS
from sai_core.runs.launch import LaunchSpec
from sai_core.workspace import workspace
from tests.runs.stand_in import TRAINER, end_runs, trainer, wait_until

SPEC = LaunchSpec(kind="detector")
FOREVER = ("--steps=100000", "--delay=0.02")


def wait_for_state(run: Path, *states: str) -> watch.RunSummary:
    wait_until(lambda: watch.look(run).state in states)
    return watch.look(run)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A runs folder; whatever still runs in it at the end of a test is ended."""
    yield tmp_path / "runs"
    end_runs(tmp_path / "runs")


def test_a_run_starts_and_finishes(folder: Path) -> None:
    run = launch.launch(SPEC, folder, "one", arguments=trainer())
    assert run == folder / "one"
    assert watch.look(run).state in ("starting", "running", "finished")
    done = wait_for_state(run, "finished")
    assert (done.step, done.steps, done.epoch, done.epochs) == (10, 10, 2, 2)
    assert (done.best_score, done.best_name) == (0.1, "mAP")
    assert not done.active
    assert not done.resumable
    assert done.eta_s is None
    assert "step 10" in watch.read_log(run).lines[-1]
    assert [r.name for r in watch.list_runs(folder)] == ["one"]


def test_a_process_has_a_session_of_its_own_and_leaves_no_zombie(folder: Path) -> None:
    run = launch.launch(SPEC, folder, "one", arguments=trainer())
    pid = json.loads((run / "launch.json").read_text())["started"]["pid"]
    if psutil.pid_exists(pid):
        assert os.getsid(pid) == pid != os.getsid(0)
    wait_for_state(run, "finished")
    gc.collect()
    wait_until(lambda: not psutil.pid_exists(pid))
    wait_until((run / "exit.json").exists)
    assert json.loads((run / "exit.json").read_text())["code"] == 0


def test_a_deleted_run_does_not_come_back_when_its_end_is_noted_late(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = executors._write_exit

    def late(run: Path, started: executors.Started, code: int) -> None:
        time.sleep(1.0)
        note(run, started, code)

    monkeypatch.setattr(executors, "_write_exit", late)
    run = launch.launch(SPEC, folder, "one", arguments=trainer())
    wait_for_state(run, "finished")
    assert launch.delete(run) == ()
    assert not run.exists()


@pytest.mark.slow
def test_a_run_outlives_the_app_and_is_found_again(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from sai_core.runs import launch\n"
        "launch.launch(launch.LaunchSpec(), Path(sys.argv[1]), 'one',\n"
        "    arguments=lambda s, r, again: [sys.argv[2], f'--run={r}', '--steps=100000'])\n"
    )
    subprocess.run([sys.executable, "-c", program, str(folder), TRAINER], check=True, timeout=120)
    (found,) = watch.list_runs(folder)
    running = wait_for_state(found.path, "running")
    assert running.step < running.steps
    launch.request_stop(found.path)
    assert wait_for_state(found.path, "stopped").message == "Stopped by the user."


def test_stop_then_resume_goes_on_at_the_same_step(folder: Path) -> None:
    run = launch.launch(SPEC, folder, "one", arguments=trainer(*FOREVER))
    wait_for_state(run, "running")
    assert watch.look(run).state == "running"
    launch.request_stop(run)
    stopped = wait_for_state(run, "stopped")
    assert stopped.resumable
    wait_until(lambda: not watch.processes(run))
    launch.resume(run, arguments=trainer("--steps=100000", "--delay=0.001"))
    # a moment after the end of the first attempt: its last word is not the second's
    assert watch.look(run).state in ("starting", "running")
    wait_until(lambda: watch.look(run).step > stopped.step)
    assert not (run / "stop").exists()
    launch.stop(run)
    wait_for_state(run, "stopped")
    steps = [line.split(",")[1] for line in (run / "metrics.csv").read_text().splitlines()[1:] if ",train," in line]
    assert steps == [str(k + 1) for k in range(len(steps))]
    assert json.loads((run / "launch.json").read_text())["attempt"] == 2


def test_a_killed_run_is_interrupted_and_can_be_resumed(folder: Path) -> None:
    run = launch.launch(SPEC, folder, "one", arguments=trainer(*FOREVER))
    wait_for_state(run, "running")
    wait_until(lambda: watch.look(run).step >= 2)
    launch.terminate(run, force=True)
    gone = wait_for_state(run, "interrupted")
    assert gone.resumable
    wait_until(lambda: "signal 9" in watch.look(run).message)
    launch.resume(run, arguments=trainer("--steps=20"))
    assert wait_for_state(run, "finished").step == 20


def test_a_run_that_hears_nothing_is_ended_after_its_grace(folder: Path) -> None:
    run = launch.launch(SPEC, folder, "one", arguments=trainer(*FOREVER, "--deaf"))
    wait_for_state(run, "running")
    launch.request_stop(run)
    assert watch.look(run).state == "stopping"
    assert launch.stop(run, grace_s=0.3) is False
    assert wait_for_state(run, "interrupted").resumable


def test_a_second_start_in_the_same_folder_is_refused(folder: Path) -> None:
    run = launch.launch(SPEC, folder, "one", arguments=trainer(*FOREVER))
    for attempt in (
        lambda: launch.launch(SPEC, folder, "one", arguments=trainer()),
        lambda: launch.resume(run, arguments=trainer()),
    ):
        with pytest.raises(InputError, match=r"stop it first|(starting|running) already"):
            attempt()
    launch.stop(run)
    with pytest.raises(InputError, match="not empty"):
        launch.launch(SPEC, folder, "one", arguments=trainer())


def test_a_run_of_the_command_line_is_seen_and_not_started_twice(folder: Path) -> None:
    run = folder / "mine"
    run.mkdir(parents=True)
    process = subprocess.Popen([sys.executable, TRAINER, "--run", "mine", *FOREVER], cwd=folder)
    try:
        seen = wait_for_state(run, "running")
        assert not seen.launched
        with pytest.raises(InputError, match="running already"):
            launch.resume(run, arguments=trainer())
        with pytest.raises(InputError, match="cannot be cloned"):
            launch.spec_of(run)
        # it does not lead a process group of its own: only itself gets the signal, not the group it shares with us
        launch.terminate(run)
        assert process.wait(60) == -signal.SIGTERM
        assert wait_for_state(run, "interrupted").resumable
        launch.resume(run, arguments=trainer("--steps=30"))
        wait_for_state(run, "finished")
    finally:
        process.kill()
        process.wait()


def test_a_number_that_another_process_has_now_gets_no_signal(folder: Path) -> None:
    run = launch.launch(SPEC, folder, "one", arguments=trainer(*FOREVER))
    wait_for_state(run, "running")
    launch.terminate(run, force=True)
    wait_for_state(run, "interrupted")
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "elsewhere"])
    namesake = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(run)])
    try:
        for process, created in (
            (bystander, psutil.Process(bystander.pid).create_time()),  # right time, not of this run
            (namesake, psutil.Process(namesake.pid).create_time() - 100.0),  # of this run's folder, of another time
        ):
            identity = {"pid": process.pid, "pid_started": created, "host": socket.gethostname()}
            for name, key in (("launch.json", "started"), ("status.json", "")):
                told = json.loads((run / name).read_text())
                (run / name).write_text(json.dumps({**told, key: identity} if key else {**told, **identity}))
            assert watch.processes(run) == ()
            assert watch.look(run).state == "interrupted"
            with pytest.raises(InputError, match="no process"):
                launch.terminate(run, force=True)
            with pytest.raises(InputError, match="not running"):
                launch.request_stop(run)
            assert process.poll() is None
    finally:
        for process in (bystander, namesake):
            process.kill()
            process.wait()


def test_a_zombie_is_no_process(folder: Path) -> None:
    run = folder / "one"
    run.mkdir(parents=True)
    process = subprocess.Popen([sys.executable, "-c", "pass", str(run)])
    created = psutil.Process(process.pid).create_time()
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    assert watch.find_process(run, process.pid, created, socket.gethostname()) is None
    process.wait()


def test_an_early_failure_tells_its_sentence(folder: Path) -> None:
    run = launch.launch(SPEC, folder, "one", arguments=trainer("--fail=early"))
    failed = wait_for_state(run, "failed")
    assert failed.message == "model.depth: unknown setting; known are model.width."
    assert not failed.resumable
    # also when the app that waited for the process has gone
    wait_until((run / "exit.json").exists)
    (run / "exit.json").unlink()
    assert watch.look(run).state == "failed"
    assert watch.look(run).message == failed.message
    # there is nothing to go on from, so it starts anew
    launch.resume(run, arguments=trainer("--delay=0"))
    wait_for_state(run, "finished")
    # what an earlier attempt said is no word of the last one
    assert watch.last_words(run).startswith("step 10")


def test_a_late_failure_tells_what_the_trainer_said_and_can_be_resumed(folder: Path) -> None:
    run = launch.launch(SPEC, folder, "one", arguments=trainer("--fail=late"))
    failed = wait_for_state(run, "failed")
    assert failed.message == "The loss is not finite in step 3."
    assert failed.resumable


def test_a_clone_repeats_the_launch_with_the_recipe_as_it_was(folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("seed = 7\n")
    data = tmp_path / "data"
    data.mkdir()
    spec = LaunchSpec(
        recipe=str(recipe),
        data=(str(data),),
        device="cpu",
        epochs=3,
        overrides=("a.b=1", 'name="x y"'),
        executor=executors.Torchrun(processes=3),
        options={"--split": "a"},
        environment={"NCCL_SOCKET_IFNAME": "blue"},
    )
    run = launch.launch(replace(spec, executor=executors.Local()), folder, "group/one", arguments=trainer())
    wait_for_state(run, "finished")
    assert watch.read_log(run).lines[0].startswith("== attempt 1, ")
    assert "colour blue" in watch.read_log(run).lines[1]
    recipe.write_text("seed = 8\n")
    again = launch.spec_of(run)
    assert Path(again.recipe).read_text() == "seed = 7\n"
    assert replace(again, recipe="", executor=spec.executor) == replace(spec, recipe="")
    assert launch.free_name(folder, "group/one") == "group/one-2"
    copy = launch.launch(again, folder, "group/one-2", cloned_from="group/one", arguments=trainer())
    wait_for_state(copy, "finished")
    assert (copy / "recipe.toml").read_text() == "seed = 7\n"
    assert {r.name for r in watch.list_runs(folder)} == {"group/one", "group/one-2"}
    with pytest.raises(InputError, match="cannot hold another"):
        launch.launch(SPEC, folder / "group", "one/inner", arguments=trainer())


@pytest.mark.parametrize("name", ["", "../out", "/tmp/x", "a/../../b", ".hidden", "a/b/c", "-rf", "a\x00", "a b", "~"])
def test_names_stay_in_the_runs_folder(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="name"):
        launch.launch(SPEC, folder, name, arguments=trainer())


def test_a_link_out_of_the_runs_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder.mkdir()
    (folder / "group").symlink_to(outside)
    with pytest.raises(InputError, match="leaves"):
        launch.launch(SPEC, folder, "group/one", arguments=trainer())
    (outside / "one").mkdir()
    (outside / "one" / "config.json").write_text("{}")
    assert watch.list_runs(folder) == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"device": "cuda:x"}, "Device"),
        ({"overrides": ("--run=/tmp",)}, "key=value"),
        ({"overrides": ("a",)}, "key=value"),
        ({"environment": {"A B": "1"}}, "Environment variable 'A B' cannot be set"),
        ({"environment": {"LD_PRELOAD": "1"}}, "'LD_PRELOAD' cannot be set here; allowed are CUBLAS"),
        ({"environment": {"OMP_NUM_THREADS": "1\n2"}}, "OMP_NUM_THREADS: its value may hold"),
        ({"environment": {"OMP_NUM_THREADS": "/tmp/x.so"}}, "OMP_NUM_THREADS: its value may hold"),
    ],
)
def test_a_wrong_setting_is_one_sentence(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LaunchSpec(**change)


def test_missing_data_or_recipe_start_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such data root"):
        launch.launch(replace(SPEC, data=(str(tmp_path / "none"),)), folder, "one", arguments=trainer())
    with pytest.raises(InputError, match="no such recipe"):
        launch.launch(replace(SPEC, recipe=str(tmp_path / "none.toml")), folder, "one", arguments=trainer())
    assert watch.list_runs(folder) == ()


def test_a_start_that_fails_leaves_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(EnvironmentProblem, match="cannot be started"):
        launch.launch(SPEC, folder, "one", arguments=trainer())
    assert not (folder / "one").exists()


def test_a_runs_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(InputError, match="is a file; give another folder"):
        launch.launch(SPEC, tmp_path / "runs", "one", arguments=trainer())
    assert watch.list_runs(tmp_path / "runs") == ()


def test_a_damaged_description_is_one_sentence(folder: Path) -> None:
    run = folder / "one"
    run.mkdir(parents=True)
    for text in (
        '{"overrides": 3}',
        '{"epochs": true}',
        '{"executor": {"kind": "moon"}}',
        '{"executor": {"nodes": 1}}',
    ):
        (run / "launch.json").write_text(text)
        with pytest.raises(InputError):
            launch.spec_of(run)
        assert watch.look(run).state == "interrupted"


def test_the_kinds_are_those_of_the_command_line() -> None:
    assert list(KINDS) == ["detector", "uplam", "sounds", "field", "wideband", "listener", "teacher"]
    assert all(kind.description and kind.recipes for kind in KINDS.values())
    assert {"fao", "track_a", "track_b"} <= set(KINDS["detector"].recipes)
    for name in ("uplam", "sounds", "field", "wideband", "listener", "teacher"):
        assert list(KINDS[name].recipes) == [KINDS[name].default_recipe]
    run = Path("/runs/x")
    spec = LaunchSpec(kind="uplam", recipe="/r.toml", epochs=3, overrides=("seed=2",), data=("/d",))
    fresh = ["-m", "sai_core", "train", "uplam", "--run=/runs/x", "--config=/r.toml", "--set=seed=2"]
    assert launch.train_arguments(spec, run) == fresh
    assert launch.train_arguments(spec, run, resume=True) == [*fresh[:5], "--resume"]
    teacher = LaunchSpec(kind="teacher", data=("/d",), options={"--split": "dev-train-x", "--validation": "dev-val-x"})
    own = ["--device=auto", "--data=/d", "--split=dev-train-x", "--validation=dev-val-x"]
    assert launch.train_arguments(teacher, run)[5:] == own
    # the rest is in the run's folder
    assert launch.train_arguments(teacher, run, resume=True)[5:] == ["--device=auto", "--resume"]
    with pytest.raises(InputError, match="needs --validation"):
        launch.train_arguments(replace(teacher, options={"--split": "a"}), run)
    with pytest.raises(InputError, match="trains in one process"):
        launch.train_arguments(replace(spec, executor=executors.Torchrun(processes=2)), run)
    with pytest.raises(InputError, match="no training of kind"):
        launch.train_arguments(replace(spec, kind="moon"), run)


def test_free_names(tmp_path: Path) -> None:
    assert launch.free_name(tmp_path, "a") == "a"
    (tmp_path / "a").mkdir()
    assert launch.free_name(tmp_path, "a") == "a-2"
    (tmp_path / "a-2").mkdir()
    assert launch.free_name(tmp_path, "a-2") == "a-3"


@given(name=st.from_regex(r"(LD|PYTHON|NCCL|TORCH|CUDA|GIT|SAI|BASH|GLIBC)_?[A-Z_]{0,20}", fullmatch=True))
@example("PATH")
@example("PYTHONPATH")
@example("BASH_ENV")
@example("NCCL_NET_PLUGIN")
@example("omp_num_threads")
def test_only_variables_of_the_list_are_set(name: str) -> None:
    if name in launch.ALLOWED_VARIABLES:
        assert LaunchSpec(environment={name: "1"}).environment == {name: "1"}
    else:
        with pytest.raises(InputError, match="cannot be set here"):
            LaunchSpec(environment={name: "1"})


def test_no_variable_of_the_list_names_a_program_or_file() -> None:
    for name in launch.ALLOWED_VARIABLES:
        assert not re.search(r"PATH|PRELOAD|PLUGIN|FILE|PYTHON|LIBRARY|COMMAND|INIT|_DIR|HOME|HOOK", name)


def test_a_run_is_its_owners_alone(folder: Path) -> None:
    before = os.umask(0o022)
    try:
        run = launch.launch(replace(SPEC, recipe=""), folder, "group/one", arguments=trainer())
        wait_for_state(run, "finished")
        wait_until((run / "exit.json").exists)
    finally:
        os.umask(before)
    assert (run / "log.txt").exists()
    for path in (run, *run.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_shipped_recipes_name_settings_alone() -> None:
    for kind in KINDS:
        for path in KINDS[kind].recipes.values():
            assert launch.recipe_text(kind, path) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("passwd", "seed = 1"),
        ("notes.txt", "seed = 1"),
        ("secrets.toml", 'password = "hunter2"'),
        ("half.toml", 'seed = 1\npassword = "hunter2"'),
        ("comment.toml", "# hunter2"),
        ("no.toml", "hunter2"),
        ("digits.toml", "seed = " + "9" * 5000),
    ],
)
def test_of_what_is_no_recipe_nothing_is_read_out(folder: Path, tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError) as error:
        launch.recipe_text("detector", path)
    assert "hunter2" not in str(error.value)
    assert "password" not in str(error.value)
    with pytest.raises(InputError):
        launch.launch(replace(SPEC, recipe=str(path)), folder, "one", arguments=trainer())
    assert not (folder / "one").exists()


def test_runs_are_kept_in_the_workspace_unless_older_ones_lie_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAI_RUNS_DIR", raising=False)
    former, here = tmp_path / "former", workspace().folder("runs")
    monkeypatch.setattr(launch, "FORMER_RUNS", former)
    assert launch.default_runs_folder() == here
    assert launch.runs_note() == ""
    (former / "group" / "a").mkdir(parents=True)
    (former / "group" / "a" / "status.json").write_text("{}")
    assert launch.default_runs_folder() == former
    assert "as older versions did" in launch.runs_note()
    (here / "b").mkdir(parents=True)
    (here / "b" / "status.json").write_text("{}")
    assert launch.default_runs_folder() == here
    assert str(former) in launch.runs_note()
    monkeypatch.setenv("SAI_RUNS_DIR", str(tmp_path / "chosen"))
    assert launch.default_runs_folder() == tmp_path / "chosen"
    assert launch.runs_note() == ""

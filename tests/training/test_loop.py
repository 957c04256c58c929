"""The loop: it learns, stops, goes on to the bit, and ends clearly whatever happens."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors import safe_open

from sai_core.cli import main
from sai_core.detector.config import DetectorConfig, FieldConfig
from sai_core.detector.field import FieldNetwork, save_field
from sai_core.detector.models import SaiDetector, load_detector, mean_of, save_detector
from sai_core.errors import CancelledError, EnvironmentProblem, InputError, SaiError
from sai_core.inference.networks import describe_checkpoint
from sai_core.runs import checkpoint
from sai_core.runs.kinds import KINDS
from sai_core.training import loop
from sai_core.training.loop import train
from sai_core.workspace import SetFacts, workspace
from tests.training.material import TINY, Configure, write_root


def _rows(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", encoding="utf-8", newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def _status(run: Path) -> dict:
    return json.loads((run / "status.json").read_text())


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(str(path), framework="pt") as stored:
        return {k: stored.get_tensor(k) for k in stored.keys()}  # noqa: SIM118


def _same_state(one: Path, two: Path) -> None:
    a, b = _tensors(one), _tensors(two)
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k])] == []


@pytest.fixture(scope="module")
def whole(tiny_root: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs that nothing disturbed."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    config = KINDS["detector"].read_config("small_a", [*TINY, f"data.weights='{tiny_weights}'", "epochs=2"])
    assert train(config, run, data_roots=[tiny_root], device="cpu") == run / "best.safetensors"
    return run


def test_what_a_run_leaves_behind(whole: Path, tiny_root: Path) -> None:
    status = _status(whole)
    assert status["state"] == "finished"
    assert (status["epoch"], status["epochs"], status["step"], status["steps"]) == (1, 2, 6, 6)
    assert status["pid"] == os.getpid()
    assert status["pid_started"] == psutil.Process().create_time()
    assert set(status["rates"]) == {"stem", "layer1", "layer2", "layer3", "layer4", "fpn", "rpn", "heads"}
    assert status["frozen"] == []
    assert status["frames_per_s"] > 0
    assert status["memory_mb"] > 0
    rows = _rows(whole)
    assert [r["kind"] for r in rows] == ["train"] * 3 + ["validation"] + ["train"] * 3 + ["validation"]
    assert [r["step"] for r in rows] == ["1", "2", "3", "3", "4", "5", "6", "6"]
    assert float(rows[0]["rpn_objectness"]) > 0
    assert rows[3]["mAP"] == ""  # measured every second epoch
    assert 0 <= float(rows[-1]["mAP"]) <= 1
    assert float(rows[0]["rate_stem"]) < float(rows[1]["rate_stem"])  # warm-up
    config = json.loads((whole / "config.json").read_text())
    assert config["data_roots"] == [str(tiny_root)]
    assert config["batch"] == 2
    environment = json.loads((whole / "environment.json").read_text())
    assert {"commit", "python", "torch", "machine", "started"} <= set(environment)
    facts = json.loads((whole / "data.json").read_text())
    assert (facts["train_frames"], facts["validation_frames"]) == (16, 8)
    assert sum(facts["frames_per_class"]) == 12
    assert len(list((whole / "samples").glob("*.png"))) == 1
    best = load_detector(whole / "best.safetensors")
    assert isinstance(best, SaiDetector)
    assert best.config.width == 16
    with safe_open(str(whole / "best.safetensors"), framework="pt") as stored:
        notes = stored.metadata()
    assert notes["recipe"] == "small_a"
    # prediction makes the maps as training did
    assert notes["visibility"] == "precedence"
    assert describe_checkpoint(whole / "best.safetensors").visibility == "precedence"
    assert {"seed", "epoch", "hours", "validation"} <= set(notes)


def test_a_run_that_is_stopped_goes_on_to_the_same_end(
    whole: Path, tiny_root: Path, tmp_path: Path, tiny: Configure
) -> None:
    run = tmp_path / "run"

    def stop_later(fraction: float, message: str) -> None:
        if "step 2 of" in message or "step 5 of" in message:
            (run / "stop").touch()

    train(tiny("epochs=2"), run, data_roots=[tiny_root], device="cpu", progress=stop_later)
    status = _status(run)
    assert status["state"] == "stopped"
    assert not (run / "stop").exists()
    assert 2 <= status["step"] < 6
    while _status(run)["state"] == "stopped":
        train(None, run, device="cpu", resume=True, progress=stop_later)
    assert _status(run)["state"] == "finished"
    assert _rows(run) == _rows(whole)
    _same_state(run / "last.safetensors", whole / "last.safetensors")
    _same_state(run / "best.safetensors", whole / "best.safetensors")


def test_a_field_alone_learns_with_a_detector(whole: Path, tiny_root: Path, tmp_path: Path, tiny: Configure) -> None:
    """From a detector without one and a decoder's weights, all but the field kept as it is; stopped and resumed."""
    size = FieldConfig(channels=8, blocks=1, degree=3)
    torch.manual_seed(4)
    decoder = FieldNetwork(size)
    torch.nn.init.constant_(decoder.out.bias, -7.0)
    save_field(decoder, tmp_path / "field.safetensors")
    config = tiny(
        "epochs=2",
        "validation.every=1",
        "model.region='field'",
        "model.field_channels=8",
        "model.field_blocks=1",
        "model.field_degree=3",
        f"start.detector='{whole / 'best.safetensors'}'",
        f"start.field='{tmp_path / 'field.safetensors'}'",
        "optimiser.frozen=['stem', 'layer1', 'layer2', 'layer3', 'layer4', 'fpn', 'rpn', 'heads']",
        "optimiser.rate=1e-2",
        "optimiser.average=0",
    )
    run = tmp_path / "run"

    def stop_later(fraction: float, message: str) -> None:
        if "step 4 of" in message:
            (run / "stop").touch()

    train(config, run, data_roots=[tiny_root], device="cpu", progress=stop_later)
    assert _status(run)["state"] == "stopped"
    train(None, run, device="cpu", resume=True)
    rows = _rows(run)
    losses = [float(row["field"]) for row in rows if row["kind"] == "validation"]
    assert losses[1] < losses[0]
    assert rows[-1]["mAP"] != ""
    assert _status(run)["frozen"] == ["stem", "layer1", "layer2", "layer3", "layer4", "fpn", "rpn", "heads"]
    before, after = _tensors(whole / "best.safetensors"), _tensors(run / "best.safetensors")
    assert before.keys() < after.keys()
    assert [k for k in before if not torch.equal(before[k], after[k])] == []
    learned = [k for k, v in decoder.state_dict().items() if not torch.equal(v, after[f"field_head.network.{k}"])]
    assert learned
    train(config, tmp_path / "undisturbed", data_roots=[tiny_root], device="cpu")
    _same_state(run / "last.safetensors", tmp_path / "undisturbed" / "last.safetensors")
    # a network without a field that goes on from it leaves it behind, and that is said
    start = f"start.detector='{run / 'best.safetensors'}'"
    (sentence,) = loop.resolve_start(tiny(start))[1]
    assert "its field is left behind" in sentence
    assert not loop.resolve_start(tiny(start, "model.region='field'"))[1]


@pytest.mark.slow
@pytest.mark.parametrize("moment", [1, 4])
def test_kill_at_any_moment_then_resume_ends_as_if_nothing_had_happened(
    whole: Path, tiny_root: Path, tiny_weights: Path, tmp_path: Path, forked: Any, moment: int
) -> None:
    run = tmp_path / "run"
    command = ["train", "detector", f"--run={run}", "--quiet", "--device=cpu"]
    start = [*command, "--config=small_a", f"--data={tiny_root}", f"--set=data.weights='{tiny_weights}'", "--epochs=2"]
    start += [f"--set={item}" for item in TINY]
    if moment == 4:
        start.append("--set=checkpoint_minutes=0")  # a checkpoint after every step
    process = forked.Process(target=main, args=(start,))
    process.start()
    try:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.is_alive():
            metrics = run / "metrics.csv"
            if metrics.exists() and len(metrics.read_text().splitlines()) > moment:
                break
            time.sleep(0.01)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    assert _status(run)["state"] == "running"  # it could not say that it ended
    if moment == 4:
        # a kill may also cut a row of the metrics in two
        with open(run / "metrics.csv", "a", encoding="utf-8") as stream:
            stream.write("1,5,0.1,tra")
    assert main([*command, "--resume"]) == 0
    assert _status(run)["state"] == "finished"
    assert _rows(run) == _rows(whole)
    ours, theirs = _tensors(run / "last.safetensors"), _tensors(whole / "last.safetensors")
    assert [k for k in theirs if not torch.equal(ours[k], theirs[k])] == []


def test_a_run_that_was_killed_before_its_first_step_starts_anew(whole: Path, tiny_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(whole / "config.json", run)
    raw = json.loads((run / "config.json").read_text())
    raw["epochs"] = 1
    (run / "config.json").write_text(json.dumps(raw))
    train(None, run, device="cpu", resume=True)
    assert _rows(run) == [r for r in _rows(whole) if r["epoch"] == "0"] or len(_rows(run)) == 4


@pytest.mark.slow
def test_a_run_on_a_label_set(whole: Path, tiny_root: Path, tmp_path: Path, tiny: Configure) -> None:
    stored = workspace().begin("labels", "corrected", SetFacts(made_by="review", data=str(tiny_root)))
    shutil.copytree(tiny_root / "labels_dev", stored.folder, dirs_exist_ok=True)
    run = tmp_path / "run"
    train(tiny("epochs=2"), run, data_roots=[tiny_root], labels="corrected", device="cpu")
    _same_state(whole / "last.safetensors", run / "last.safetensors")  # the same labels in another place
    assert json.loads((run / "config.json").read_text())["options"] == {"--labels": str(stored.folder)}
    data = json.loads((run / "data.json").read_text())
    assert all(p.startswith(str(stored.folder)) for p in data["train_recordings"] + data["validation_recordings"])
    assert f"{tiny_root}: its labels are those of corrected." in data["said"]
    train(None, run, resume=True, device="cpu")
    workspace().change(stored, name="renamed")
    with pytest.raises(InputError, match="no such folder"):
        train(None, run, resume=True, device="cpu")
    with pytest.raises(InputError, match="did you mean renamed"):
        train(tiny(), tmp_path / "other", data_roots=[tiny_root], labels="renamed it", device="cpu")
    assert not (tmp_path / "other").exists()


def test_the_loss_falls(tiny_root: Path, tmp_path: Path, tiny: Configure) -> None:
    config = tiny(
        "epochs=4",
        "data.frames_per_epoch=0",
        "batch=4",
        "optimiser.rate=2e-3",
        "validation.recordings=0",
        "augment.shift=false",
        "augment.flip=0.0",
    )
    train(config, tmp_path / "run", data_roots=[tiny_root], device="cpu")
    losses = [float(r["total"]) for r in _rows(tmp_path / "run") if r["kind"] == "train"]
    assert np.mean(losses[-8:]) < 0.6 * np.mean(losses[:4])


@pytest.mark.parametrize("bfloat16", [True, False])
def test_track_b_learns_too_in_what_the_processor_has(
    tiny_root: Path, tmp_path: Path, tiny: Configure, monkeypatch: pytest.MonkeyPatch, *, bfloat16: bool
) -> None:
    config = tiny("epochs=1", "data.frames_per_epoch=4", "validation.every=1", "cpu_bfloat16=true", recipe="small_b")
    monkeypatch.setattr(loop, "processor_has_bfloat16", lambda: bfloat16)
    losses, mixed = SaiDetector.losses, set[bool]()

    def noted_losses(*args: Any, **options: Any) -> Any:
        mixed.add(torch.is_autocast_enabled("cpu"))
        return losses(*args, **options)

    monkeypatch.setattr(SaiDetector, "losses", noted_losses)
    sentences: list[str] = []
    train(config, tmp_path / "run", data_roots=[tiny_root], device="cpu", say=sentences.append)
    assert (True in mixed) is bfloat16  # validation is in float32 anyway
    assert any("no instructions for bfloat16" in sentence for sentence in sentences) is not bfloat16
    rows = _rows(tmp_path / "run")
    assert [r["kind"] for r in rows] == ["train", "train", "validation"]
    assert {"fusion", "acoustic"} <= set(_status(tmp_path / "run")["rates"])


def test_a_network_without_a_full_frame_decoder_learns_too(tiny_root: Path, tmp_path: Path, tiny: Configure) -> None:
    run = tmp_path / "run"
    config = tiny("epochs=1", "data.frames_per_epoch=2", "model.full_decoder=false")
    train(config, run, data_roots=[tiny_root], device="cpu")
    assert _status(run)["state"] == "finished"
    assert _rows(run)[0]["full_energy"] == ""
    assert len(list((run / "samples").glob("*.png"))) == 1


def test_frozen_groups_stand_still_until_their_epoch(tiny_root: Path, tmp_path: Path, tiny: Configure) -> None:
    config = tiny(
        "epochs=1", "optimiser.unfreeze={layer1=10, fpn=1}", "optimiser.average=0.0", "validation.recordings=0"
    )
    run = tmp_path / "run"
    train(config, run, data_roots=[tiny_root], device="cpu")
    torch.manual_seed(config.seed)
    before = SaiDetector(config.model).state_dict()
    after = _tensors(run / "last.safetensors")
    still = {k for k in before if torch.equal(before[k], after[f"model/{k}"])}
    assert {k for k in before if ".layer1." in k or ".fpn." in k} == still
    assert _status(run)["frozen"] == ["layer1", "fpn"]
    assert float(_rows(run)[0]["rate_fpn"]) == 0.0


def test_starting_weights_are_taken_and_frozen_parts_stay(
    whole: Path, tiny_root: Path, tmp_path: Path, tiny: Configure, tiny_weights: Path
) -> None:
    best = whole / "best.safetensors"
    config = tiny("epochs=1", f"start.detector='{best}'", "optimiser.frozen=['rpn', 'layer2']", "optimiser.average=0.0")
    run = tmp_path / "run"
    train(config, run, data_roots=[tiny_root], device="cpu")
    before, after = load_detector(best).state_dict(), _tensors(run / "last.safetensors")
    for name in before:
        same = torch.equal(before[name], after[f"model/{name}"])
        assert same == (name.startswith("rpn.") or ".layer2." in name), name
    with pytest.raises(InputError, match="fit this network"):
        train(tiny(f"start.detector='{tiny_weights}'"), tmp_path / "other", data_roots=[tiny_root], device="cpu")


def test_a_run_may_start_from_the_last_state_of_another(
    whole: Path, tiny_root: Path, tmp_path: Path, tiny: Configure
) -> None:
    last = whole / "last.safetensors"
    run = tmp_path / "run"
    config = tiny("epochs=1", f"start.detector='{last}'", "optimiser.rate=1e-12", "optimiser.average=0.0")
    train(config, run, data_roots=[tiny_root], device="cpu")
    before, after = _tensors(last), _tensors(run / "last.safetensors")
    means = [key for key in before if key.startswith("average/")]
    assert means
    for key in means:
        torch.testing.assert_close(after[key.replace("average/", "model/", 1)], before[key], rtol=0, atol=1e-8)


def test_a_detector_is_passed_on_in_half_precision(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best, out = whole / "best.safetensors", tmp_path / "small.safetensors"
    words = ["train", "export", "--checkpoint", str(best), "--out", str(out)]
    assert main([*words, "--note", "data=made up"]) == 0
    assert str(out) in capsys.readouterr().out
    assert out.stat().st_size < 0.6 * best.stat().st_size
    facts = describe_checkpoint(out)
    assert facts.notes["data"] == "made up"
    assert facts.notes["recipe"] == describe_checkpoint(best).notes["recipe"]
    given, small = load_detector(best).state_dict(), load_detector(out).state_dict()
    for key, value in given.items():
        assert small[key].dtype == value.dtype
        torch.testing.assert_close(small[key], value, rtol=1e-3, atol=1e-6)
    assert main([*words, "--note", "data"]) == 2


def test_a_detector_can_be_averaged_with_the_one_it_came_from(whole: Path, tmp_path: Path) -> None:
    best = whole / "best.safetensors"
    model = load_detector(best)
    other = load_detector(best)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    save_detector(other, tmp_path / "other.safetensors")
    words = ["train", "export", "--checkpoint", str(best), "--out", str(tmp_path / "mean.safetensors")]
    words += ["--mean-with", str(tmp_path / "other.safetensors")]
    assert main([*words, "--share", "0.25"]) == 0
    assert (
        "0.25 of the weights of other.safetensors"
        in describe_checkpoint(tmp_path / "mean.safetensors").notes["mean_with"]
    )
    mean = load_detector(tmp_path / "mean.safetensors").state_dict()
    changed = dict(other.named_parameters())
    for key, value in model.state_dict().items():
        expected = value + 0.25 if key in changed else value
        torch.testing.assert_close(mean[key], expected, rtol=2e-3, atol=2e-3)
    assert main([*words, "--share", "1.5"]) == 2
    with pytest.raises(InputError, match="different configurations"):
        mean_of(model, SaiDetector(DetectorConfig.small("B")), share=0.5)


def test_a_loss_that_is_not_a_number_ends_with_the_last_checkpoint_kept(
    tiny_root: Path, tmp_path: Path, tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    real = SaiDetector.losses
    calls = []

    def spoiled(self: SaiDetector, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        terms = real(self, *args, **kwargs)  # type: ignore[arg-type]
        calls.append(1)
        if len(calls) == 3:
            terms["distance"] = terms["distance"] * float("nan")
        return terms

    monkeypatch.setattr(SaiDetector, "losses", spoiled)
    with pytest.raises(SaiError, match=r"not a number at step 2 \(distance\)"):
        train(tiny("epochs=2", "checkpoint_minutes=0"), run, data_roots=[tiny_root], device="cpu")
    assert _status(run)["state"] == "failed"
    assert "not a number" in _status(run)["message"]
    monkeypatch.setattr(SaiDetector, "losses", real)
    train(None, run, device="cpu", resume=True)
    assert _status(run)["state"] == "finished"


def test_a_full_disk_ends_clearly_and_spoils_no_checkpoint(
    tiny_root: Path, tmp_path: Path, tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    real = checkpoint.save

    def full(tensors: dict, metadata: dict) -> bytes:
        if int(metadata["step"]) >= 2:
            raise OSError(28, "No space left on device")
        return real(tensors, metadata=metadata)

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(EnvironmentProblem, match="No space left"):
        train(tiny("epochs=1", "checkpoint_minutes=0"), run, data_roots=[tiny_root], device="cpu")
    assert _status(run)["state"] == "failed"
    assert "No space left" in _status(run)["message"]
    with safe_open(str(run / "last.safetensors"), framework="pt") as stored:
        assert stored.metadata()["step"] == "1"


def test_a_gpu_that_goes_away_is_one_sentence(
    tiny_root: Path, tmp_path: Path, tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: device lost\nmore lines")

    monkeypatch.setattr(SaiDetector, "losses", gone)
    with pytest.raises(EnvironmentProblem, match=r"the GPU failed \(CUDA error: device lost\)"):
        train(tiny(), tmp_path / "run", data_roots=[tiny_root], device="cpu")
    assert _status(tmp_path / "run")["state"] == "failed"


def test_sigterm_ends_with_a_checkpoint(tiny_root: Path, tmp_path: Path, tiny: Configure) -> None:
    def terminate(fraction: float, message: str) -> None:
        if "step 2" in message:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    train(tiny(), tmp_path / "run", data_roots=[tiny_root], device="cpu", progress=terminate)
    assert signal.getsignal(signal.SIGTERM) == before
    assert _status(tmp_path / "run")["state"] == "stopped"
    assert _status(tmp_path / "run")["step"] >= 2


def test_cancelling_keeps_a_checkpoint(tiny_root: Path, tmp_path: Path, tiny: Configure) -> None:
    def cancel(fraction: float, message: str) -> None:
        if "step 2" in message:
            raise CancelledError("enough")

    with pytest.raises(CancelledError):
        train(tiny(), tmp_path / "run", data_roots=[tiny_root], device="cpu", progress=cancel)
    assert _status(tmp_path / "run")["state"] == "stopped"
    with safe_open(str(tmp_path / "run" / "last.safetensors"), framework="pt") as stored:
        assert stored.metadata()["step"] == "2"


def test_mistakes_are_told_before_a_folder_is_made(
    whole: Path, tiny_root: Path, tmp_path: Path, tiny: Configure
) -> None:
    run = tmp_path / "run"
    with pytest.raises(InputError, match="needs data"):
        train(tiny(), run, device="cpu")
    with pytest.raises(InputError, match="no recording has labels"):
        train(tiny(), run, data_roots=[tmp_path], device="cpu")
    with pytest.raises(InputError, match="is not a device"):
        train(tiny(), run, data_roots=[tiny_root], device="abacus")
    with pytest.raises(InputError, match="starts from given weights"):
        train(
            KINDS["detector"].read_config("track_b", ["start.backbone=''"]), run, data_roots=[tiny_root], device="cpu"
        )
    if not torch.cuda.is_available():
        with pytest.raises(EnvironmentProblem, match="no GPU"):
            train(tiny(), run, data_roots=[tiny_root], device="cuda")
    assert not run.exists()
    with pytest.raises(InputError, match="a run in this folder already"):
        train(tiny(), whole, data_roots=[tiny_root], device="cpu")
    with pytest.raises(InputError, match=r"check that .* is the folder of a run"):
        train(None, run, device="cpu", resume=True)


def test_a_damaged_checkpoint_and_data_that_have_gone(
    whole: Path, tmp_path: Path, tiny: Configure, tiny_weights: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "last.safetensors").write_bytes(b"nothing at all")
    with pytest.raises(InputError, match="not a checkpoint that the run can be resumed from"):
        train(None, run, device="cpu", resume=True)
    assert _status(run)["state"] == "failed"
    root = write_root(tmp_path / "data", recordings=2)
    other = tmp_path / "other"
    train(tiny("epochs=1", "validation.recordings=0"), other, data_roots=[root], device="cpu")
    shutil.rmtree(root)
    with pytest.raises(InputError, match="data"):
        train(None, other, device="cpu", resume=True)
    assert _status(other)["state"] == "failed"


def test_unlabelled_data_is_told(tmp_path: Path, tiny: Configure) -> None:
    root = write_root(tmp_path / "data", recordings=2)
    for path in root.glob("labels_dev/*/*.json"):
        path.write_text('{"annotations": []}')
    with pytest.raises(InputError, match="no labelled frame"):
        train(tiny(), tmp_path / "run", data_roots=[root], device="cpu")


def test_the_command_line(tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    assert main(["train", "detector", "--run", run, "--data", str(tiny_root)]) == 2
    assert "--config" in capsys.readouterr().err
    assert main(["train", "detector", "--run", run, "--config", "huge", "--data", str(tiny_root)]) == 2
    assert "recipes are fao" in capsys.readouterr().err
    assert main(["train", "detector", "--run", run, "--resume", "--epochs", "3"]) == 2
    assert "leave --config, --epochs and --set out" in capsys.readouterr().err
    assert main(["train", "detector", "--run", run, "--resume"]) == 2
    assert "folder of a run" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["train", "detector", "--help"])
    assert caught.value.code == 0
    assert "small_a" in capsys.readouterr().out

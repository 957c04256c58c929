"""The engine: equal to a plain loop, resumable, safe with memory, and honest about what is missing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from sai_core.acoustics.features import FeatureOptions, MapMaker
from sai_core.acoustics.store import FeatureStore
from sai_core.annotations import read_annotations
from sai_core.cli import main
from sai_core.dataset import open_data_root
from sai_core.detections.raw import RawColumns
from sai_core.detector.config import DetectorConfig
from sai_core.detector.models import SaiDetector, load_detector, save_detector
from sai_core.detector.spectrum import SoundContext
from sai_core.errors import CancelledError, InputError
from sai_core.files import content_hash
from sai_core.inference import engine
from sai_core.inference.engine import InputOptions, predict_recording
from sai_core.inference.networks import NetworkOptions, describe_checkpoint, open_network, run_in_batches
from tests.benchmarks.literal_baseline import LiteralBaseline
from tests.detector.oracle_weights import oracle_state

ROOT = Path(__file__).resolve().parents[2]
KEEP = NetworkOptions(floor=0.0, at_most=8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings of 1.2 s: noise and a film of patches (not a simulation; only shapes matter here)."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(5)
    for name in ("fold9_room1_mix001", "fold9_room1_mix002"):
        audio = root / "mic_dev" / "dev-test-x" / f"{name}.wav"
        video = root / "video_dev" / "dev-test-x" / f"{name}.mp4"
        audio.parent.mkdir(parents=True, exist_ok=True)
        video.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(audio, rng.normal(0, 0.1, (28800, 4)), 24000, subtype="PCM_16")
        with av.open(str(video), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 360, 180, "yuv420p"
            for i in range(12):
                # a picture that is alike everywhere would make regions tie, and rounding would put them in order
                patches = rng.integers(0, 200, (9, 18, 3)) + 4 * i
                picture = np.kron(patches, np.ones((20, 20, 1))).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    return root


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    out = {}
    for track in ("A", "B"):
        torch.manual_seed(3)
        model = SaiDetector(DetectorConfig.small(track, channels=32, acoustic_channels=16, context_frames=2, width=16))
        # an untrained network scores all regions alike; ties would be broken by rounding
        torch.nn.init.normal_(model.classifier.weight, std=0.5)
        torch.nn.init.normal_(model.rpn.objectness.weight, std=0.5)
        out[track] = folder / f"{track}.safetensors"
        save_detector(model, out[track])
    return out


@pytest.fixture(scope="module")
def maker() -> MapMaker:
    return MapMaker(FeatureOptions(kind="beamformer"), device="cpu")


def run(data: Path, checkpoint: Path, maker: MapMaker, out: Path, **kwargs: object) -> engine.RawDetections:
    recording = open_data_root(data).recordings[0]
    return predict_recording(
        recording,
        open_network(checkpoint, options=KEEP),
        checkpoint_hash=content_hash(checkpoint),
        out=out,
        maker=maker,
        **kwargs,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("track", ["A", "B"])
def test_engine_equals_a_plain_loop(
    data: Path, checkpoints: dict[str, Path], maker: MapMaker, tmp_path: Path, track: str
) -> None:
    raw = run(data, checkpoints[track], maker, tmp_path)
    assert raw.n_frames == 12
    recording = open_data_root(data).recordings[0]
    assert recording.mic_path is not None
    maps = FeatureStore().open_or_make(recording.mic_path, maker=maker)
    model = load_detector(checkpoints[track])
    video = engine.open_frames(recording)
    assert video is not None
    for k in (0, 5, 11):
        acoustic = torch.from_numpy(np.array(maps.canvas(k, k + 1), dtype=np.float32))
        rgb = torch.from_numpy(video.frame(k)).permute(2, 0, 1)[None].float() / 255
        around = [
            maps.lattice(min(max(j, 0), 11), min(max(j, 0), 11) + 1, magnitude="power") for j in range(k - 2, k + 3)
        ]
        context = SoundContext.of(torch.from_numpy(np.concatenate(around))[None])
        with torch.inference_mode():
            features = model.features(acoustic, rgb if track == "B" else None, context)
            plain = model.detect(features, floor=0.0, n_candidates=8)[0]
            full = model.full_energy(features)[0]
        rows = raw.frame == k
        assert rows.sum() == len(plain.boxes_deg) == 8
        np.testing.assert_allclose(raw.boxes_xyxy[rows], plain.boxes_deg, rtol=0, atol=1e-2)
        np.testing.assert_allclose(raw.class_scores[rows], plain.class_scores, rtol=0, atol=1e-4)
        np.testing.assert_allclose(raw.distance_cm[rows], plain.distance_units * 500, rtol=0, atol=0.1)
        # stored as float16: half a unit in the last place below 1 is 2.5e-4
        np.testing.assert_allclose(raw.energy[rows], plain.energy, rtol=0, atol=1e-3)
        np.testing.assert_allclose(raw.embedding[rows], plain.embedding, rtol=0, atol=1e-3)
        small = full.reshape(45, 4, 90, 4).mean(dim=(1, 3))
        np.testing.assert_allclose(raw.full_energy[k], small, rtol=0, atol=1e-3)
    video.close()


def test_frames_extracted_again_under_the_same_names_are_predicted_again(
    data: Path, checkpoints: dict[str, Path], maker: MapMaker, tmp_path: Path
) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    recording = replace(open_data_root(data).recordings[0], frames_dir=frames)
    network = open_network(checkpoints["B"], options=NetworkOptions())
    found = []
    for level in (30, 220):
        for k in range(12):
            cv2.imwrite(str(frames / f"r_{k:04d}.png"), np.full((180, 360, 3), level, dtype=np.uint8))
        raw = predict_recording(recording, network, checkpoint_hash="x", out=tmp_path, maker=maker)
        found.append(np.array(raw.class_scores))
    assert found[0].shape != found[1].shape or not np.array_equal(found[0], found[1])


@pytest.mark.oracle
@pytest.mark.slow
def test_engine_equals_a_plain_loop_of_the_official_baseline(
    oracle: Path, data: Path, maker: MapMaker, tmp_path: Path
) -> None:
    state = oracle_state()
    checkpoint = tmp_path / "energy_seg_best.pth"
    torch.save(state, checkpoint)
    recording = open_data_root(data).recordings[0]
    samples, rate = soundfile.read(recording.mic_path, frames=3 * 2400)
    short = tmp_path / "mic_dev" / f"{recording.name}.wav"
    short.parent.mkdir()
    soundfile.write(short, samples, rate, subtype="PCM_16")
    recording = replace(recording, mic_path=short)
    floor = 0.97
    raw = predict_recording(
        recording,
        open_network(checkpoint, options=NetworkOptions(floor=floor)),
        checkpoint_hash="x",
        out=tmp_path,
        maker=maker,
        options=InputOptions(batch=2),
    )
    plain = LiteralBaseline(score_thresh=floor)
    plain.load_state_dict(state)
    maps = FeatureStore().open_or_make(short, maker=maker)
    video = engine.open_frames(recording)
    assert video is not None
    assert raw.n_frames == 3
    for k in range(3):
        rgb = torch.from_numpy(video.frame(k)).permute(2, 0, 1).float() / 255
        acoustic = torch.from_numpy(np.array(maps.canvas(k, k + 1), dtype=np.float32))[0]
        expected = plain.eval()(torch.cat([rgb, acoustic]))
        rows = raw.frame == k
        assert rows.sum() == len(expected["boxes"]) > 0
        # candidates with equal scores, but for rounding, may come in either order: paired by their boxes
        far = np.abs(raw.boxes_xyxy[rows][:, None] - np.asarray(expected["boxes"])[None]).max(axis=2)
        far[(raw.category_id[rows][:, None] + 1) != np.asarray(expected["labels"])[None]] = np.inf
        mine = np.flatnonzero(rows)[far.argmin(axis=0)]
        assert sorted(mine) == list(np.flatnonzero(rows))
        # other kernels for other batches: float32 leaves some 3e-3 px on boxes of 200 px and more
        np.testing.assert_allclose(raw.boxes_xyxy[mine], expected["boxes"], rtol=0, atol=5e-3)
        own = raw.own_scores
        np.testing.assert_allclose(own[rows], expected["scores"], rtol=0, atol=1e-4)  # in their own order, too
        np.testing.assert_allclose(own[mine], expected["scores"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(raw.energy[mine], expected["energy_maps"], rtol=0, atol=1e-3)
        np.testing.assert_allclose(raw.distance_cm[mine], expected["dist_pred"] * 500, rtol=0, atol=0.05)
        small = expected["full_energy"].reshape(45, 4, 90, 4).mean(dim=(1, 3))
        np.testing.assert_allclose(raw.full_energy[k], small, rtol=0, atol=1e-3)
    video.close()


def test_a_stopped_run_goes_on_and_ends_the_same(
    data: Path, checkpoints: dict[str, Path], maker: MapMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_BLOCK_FRAMES", 4)
    whole = run(data, checkpoints["A"], maker, tmp_path / "whole")

    def stop(fraction: float, message: str) -> None:
        if "4 of 12 frames" in message:
            raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        run(data, checkpoints["A"], maker, tmp_path / "part", progress=stop)
    assert len(list((tmp_path / "part").rglob("block_*.entry"))) == 1
    messages: list[str] = []
    again = run(
        data, checkpoints["A"], maker, tmp_path / "part", progress=lambda fraction, message: messages.append(message)
    )
    assert not any("4 of 12 frames" in m for m in messages)
    np.testing.assert_array_equal(again.boxes_xyxy, whole.boxes_xyxy)
    np.testing.assert_array_equal(again.energy, whole.energy)
    run(data, checkpoints["A"], maker, tmp_path / "part", progress=lambda f, m: messages.append(m))
    assert messages[-1].endswith("already there")


def test_other_options_never_show_a_stale_result(
    data: Path, checkpoints: dict[str, Path], maker: MapMaker, tmp_path: Path
) -> None:
    first = run(data, checkpoints["A"], maker, tmp_path)
    loud = run(data, checkpoints["A"], maker, tmp_path, options=InputOptions(magnitude="amplitude"))
    assert first.key != loud.key
    assert run(data, checkpoints["A"], maker, tmp_path).key == first.key


def test_memory_that_does_not_suffice_halves_the_batch() -> None:
    sizes: list[int] = []
    empty = RawColumns(*[np.zeros(0)] * 8)  # type: ignore[arg-type]

    def greedy(acoustic: Tensor, rgb: Tensor | None, context: object, heard: object) -> list[RawColumns]:
        sizes.append(len(acoustic))
        if len(acoustic) > 3:
            raise torch.OutOfMemoryError("no")
        return [replace(empty, objectness=acoustic[i : i + 1].numpy()) for i in range(len(acoustic))]

    outputs, batch = run_in_batches(greedy, torch.arange(10.0), None, batch=8)
    assert batch == 2
    assert sizes == [8, 4, 2, 2, 2, 2, 2]
    assert [float(o.objectness[0]) for o in outputs] == list(range(10))

    def hopeless(acoustic: Tensor, rgb: Tensor | None, context: object, heard: object) -> list[RawColumns]:
        raise MemoryError

    with pytest.raises(MemoryError):
        run_in_batches(hopeless, torch.arange(2.0), None, batch=2)


def test_options_that_change_numbers_are_off_and_part_of_the_key(
    data: Path, checkpoints: dict[str, Path], maker: MapMaker, tmp_path: Path
) -> None:
    plain = run(data, checkpoints["A"], maker, tmp_path)
    recording = open_data_root(data).recordings[0]
    keys = {plain.key}
    for options in (
        replace(KEEP, precision="bfloat16"),
        replace(KEEP, proposals=20),
        replace(KEEP, full_map=False),
    ):
        network = open_network(checkpoints["A"], options=options)
        raw = predict_recording(recording, network, checkpoint_hash="x", out=tmp_path / "other", maker=maker)
        keys.add(raw.key)
        assert len(raw) > 0
        assert (raw.full_energy.size == 0) == (not options.full_map)
        assert np.isfinite(raw.class_scores).all()
    assert len(keys) == 4
    for wrong in ({"floor": 1.5}, {"at_most": 0}, {"proposals": 5000}, {"precision": "float8"}, {"classes": 14}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            NetworkOptions(**wrong)


def test_a_checkpoint_trained_on_smoothed_maps_gets_them(
    data: Path, checkpoints: dict[str, Path], maker: MapMaker, tmp_path: Path
) -> None:
    path = tmp_path / "smooth.safetensors"
    save_detector(load_detector(checkpoints["A"]), path, notes={"smooth_frames": "2"})
    assert describe_checkpoint(checkpoints["A"]).smooth_frames == 0
    smooth_frames = describe_checkpoint(path).smooth_frames
    assert smooth_frames == 2
    plain = run(data, path, maker, tmp_path / "plain")
    raw = run(data, path, maker, tmp_path / "smooth", options=InputOptions(smooth_frames=smooth_frames))
    assert raw.key != plain.key
    recording = open_data_root(data).recordings[0]
    assert recording.mic_path is not None
    maps = FeatureStore().open_or_make(recording.mic_path, maker=maker)
    acoustic = torch.from_numpy(np.array(maps.canvas(4, 5, smooth_frames=2), dtype=np.float32))
    around = np.arange(2, 7)
    context = SoundContext.of(torch.from_numpy(maps.lattice(2, 7, magnitude="power")[around - 2])[None])
    model = load_detector(path)
    with torch.inference_mode():
        found = model.detect(model.features(acoustic, None, context), floor=0.0, n_candidates=8)[0]
    np.testing.assert_allclose(raw.boxes_xyxy[raw.frame == 4], found.boxes_deg, rtol=0, atol=1e-2)


def test_a_region_may_be_a_candidate_of_several_classes(
    data: Path, checkpoints: dict[str, Path], maker: MapMaker, tmp_path: Path
) -> None:
    plain = run(data, checkpoints["A"], maker, tmp_path)
    recording = open_data_root(data).recordings[0]
    network = open_network(checkpoints["A"], options=replace(KEEP, classes=3))
    raw = predict_recording(recording, network, checkpoint_hash="x", out=tmp_path / "three", maker=maker)
    assert raw.key != plain.key
    for frame in (0, 11):
        one, three = np.flatnonzero(plain.frame == frame), np.flatnonzero(raw.frame == frame)
        expected = np.sort(plain.class_scores[one], axis=1)[:, -3:].ravel()
        assert len(three) == 3 * len(one)
        own = np.take_along_axis(raw.class_scores[three], raw.category_id[three, None].astype(int), axis=1)[:, 0]
        np.testing.assert_allclose(own, np.sort(expected)[::-1], rtol=0, atol=1e-6)
        assert (np.diff(own) <= 0).all()
        for row in three:
            twin = one[np.abs(plain.boxes_xyxy[one] - raw.boxes_xyxy[row]).max(axis=1).argmin()]
            np.testing.assert_array_equal(plain.energy[twin], raw.energy[row])


def test_a_checkpoint_tells_what_it_is(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    facts = describe_checkpoint(checkpoints["B"])
    assert (facts.kind, facts.backbone, facts.needs_rgb) == ("track B", "resnet18, 16 channels", True)
    assert facts.content == content_hash(checkpoints["B"])
    assert facts.magnitude == "normalised"
    loud = tmp_path / "loud.safetensors"
    save_detector(load_detector(checkpoints["A"]), loud, notes={"magnitude": "amplitude", "seed": "7"})
    told = describe_checkpoint(loud)
    assert (told.magnitude, told.notes["seed"], told.needs_rgb) == ("amplitude", "7", False)
    text = tmp_path / "x.safetensors"
    text.write_text("hello")
    with pytest.raises(InputError, match="not a weights file that can be opened safely"):
        describe_checkpoint(text)
    with pytest.raises(InputError, match="no such file"):
        describe_checkpoint(tmp_path / "none.pth")


@pytest.mark.slow
def test_a_killed_prediction_loses_no_finished_block(
    data: Path, checkpoints: dict[str, Path], maker: MapMaker, tmp_path: Path
) -> None:
    """kill -9 in the middle of a recording: the next run goes on and ends with the same bytes."""
    whole = run(data, checkpoints["A"], maker, tmp_path / "whole", options=InputOptions(batch=2))
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from sai_core.acoustics.features import FeatureOptions, MapMaker
        from sai_core.inference import engine
        from tests.inference.test_engine import run
        engine._BLOCK_FRAMES = 4
        def slowly(fraction, message):
            if "8 of 12 frames" in message:
                print("ready", flush=True)
                time.sleep(600)
        maker = MapMaker(FeatureOptions(kind="beamformer"), device="cpu")
        data, checkpoint, out = map(Path, sys.argv[1:])
        run(data, checkpoint, maker, out, options=engine.InputOptions(batch=2), progress=slowly)
        """
    )
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(data), str(checkpoints["A"]), str(out)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len(list(out.rglob("block_*.entry"))) == 2
    messages: list[str] = []
    again = run(
        data, checkpoints["A"], maker, out, options=InputOptions(batch=2), progress=lambda f, m: messages.append(m)
    )
    assert not any("8 of 12 frames" in m for m in messages)
    np.testing.assert_array_equal(again.frame, whole.frame)
    np.testing.assert_allclose(again.boxes_xyxy, whole.boxes_xyxy, rtol=0, atol=1e-3)


def test_missing_material_is_told(data: Path, checkpoints: dict[str, Path], maker: MapMaker, tmp_path: Path) -> None:
    recording = open_data_root(data).recordings[0]
    network = open_network(checkpoints["B"])
    blind = replace(recording, video_path=None)
    with pytest.raises(InputError, match="needs video"):
        predict_recording(blind, network, checkpoint_hash="x", out=tmp_path, maker=maker)
    with pytest.raises(InputError, match="no 4-channel audio"):
        predict_recording(replace(recording, mic_path=None), network, checkpoint_hash="x", out=tmp_path, maker=maker)


@pytest.fixture
def shipped_or_tiny_weights(tmp_path: Path) -> Path:
    """UpLAM weights for the command line: random ones, so that the test needs no shipped file."""
    from sai_core.acoustics.networks import UpLAM

    torch.manual_seed(0)
    path = tmp_path / "UpLAM.pth"
    torch.save(UpLAM().state_dict(), path)
    return path


@pytest.mark.slow
def test_torchrun_with_two_processes_writes_every_submission(
    data: Path, checkpoints: dict[str, Path], shipped_or_tiny_weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29617", "-m"]
    command += ["sai_core", "predict", "--data", str(data), "--split", "dev-test-x", "--device", "cpu", "--quiet"]
    command += ["--checkpoint", str(checkpoints["A"]), "--weights", str(shipped_or_tiny_weights), "--out", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    for name in ("fold9_room1_mix001", "fold9_room1_mix002"):
        assert set(json.loads((out / f"{name}.json").read_text())) >= {"annotations"}
        assert read_annotations(out / f"{name}.json").recording == name
        assert len(list((out / "raw").glob(f"{name}.*"))) == 1


def test_command_tells_mistakes(
    data: Path, checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["predict", "--data", str(data), "--checkpoint", str(checkpoints["A"]), "--device", "cpu"]
    assert main([*common, "--split", "dev-test-y", "--out", str(tmp_path)]) == 2
    assert "no split 'dev-test-y'" in capsys.readouterr().err
    assert main([*common, "--split", "dev-test-x", "--out", str(data / "labels_dev" / "x")]) == 2
    assert "inside the data" in capsys.readouterr().err
    assert main([*common, "--split", "dev-test-x", "--out", str(tmp_path), "--batch", "0"]) == 2
    assert "--batch 0" in capsys.readouterr().err


def test_cache_disks_that_are_full_or_cannot_be_written(
    data: Path,
    checkpoints: dict[str, Path],
    shipped_or_tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Full: one sentence, exit 1 (a map into a sparse file ends in a bus error). Not writable: slower, and told."""
    command = ["predict", "--data", str(data), "--split", "dev-test-x", "--device", "cpu", "--quiet"]
    command += ["--recording", "fold9_room1_mix001", "--out", str(tmp_path / "out")]
    command += ["--checkpoint", str(checkpoints["A"]), "--weights", str(shipped_or_tiny_weights)]
    with monkeypatch.context() as patch:
        patch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
        usage, cache = shutil.disk_usage(tmp_path), tmp_path / "cache"
        # the cache's disk alone: room for the predictions themselves is looked at before
        patch.setattr(
            "sai_core.cache.shutil.disk_usage",
            lambda path: usage._replace(free=20_000) if Path(path).is_relative_to(cache) else usage,
        )
        assert main(command) == 1
        error = capsys.readouterr().err
        assert "the disk of the cache folder is full" in error
        assert error.count("\n") == 1
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "file"))
    assert main(command) == 0
    assert (tmp_path / "out" / "fold9_room1_mix001.json").is_file()

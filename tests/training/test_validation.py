"""Validation sees what prediction will see, and its figures are the official metric's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sai_core.acoustics.store import FeatureStore
from sai_core.dataset import open_data_root
from sai_core.detections.raw import RawColumns
from sai_core.detector.models import SaiDetector, save_detector
from sai_core.geometry import ERP_WIDTH
from sai_core.inference.engine import InputOptions, predict_recording
from sai_core.inference.networks import open_network
from sai_core.postprocess import PipelineSettings, Prepared, candidates
from sai_core.runs.kinds import KINDS
from sai_core.training import validation
from sai_core.training.config import TrainingConfig
from sai_core.training.data import FrameSet, map_maker, prepare
from sai_core.training.validation import (
    detections_of,
    encoded,
    picture,
    predict,
    scores_on,
    validation_frames,
    validation_losses,
)
from tests.training.material import TINY

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["small_a", "small_b"])
def ready(request: pytest.FixtureRequest, tiny_root: Path, tiny_weights: Path) -> tuple[TrainingConfig, FrameSet]:
    config = KINDS["detector"].read_config(request.param, [*TINY, f"data.weights='{tiny_weights}'"])
    frames = prepare(
        open_data_root(tiny_root).recordings[:1],
        settings=config.data,
        maker=map_maker(config.data, device="cpu"),
        with_rgb=request.param == "small_b",
        context_frames=config.model.context_frames,
    )
    return config, frames


def _network(config: TrainingConfig) -> SaiDetector:
    torch.manual_seed(5)
    model = SaiDetector(config.model).eval()
    # a background that is not sure of itself, so that there is something to compare
    with torch.no_grad():
        assert model.classifier.bias is not None
        model.classifier.bias[0] -= 1.0
    return model


def test_the_engine_predicts_what_validation_saw(
    ready: tuple[TrainingConfig, FrameSet], tiny_root: Path, tmp_path: Path
) -> None:
    config, frames = ready
    model = _network(config)
    ours = predict(model, frames, 0, config, device=CPU, floor=0.01)
    assert len(ours) == 8
    assert sum(len(o) for o in ours) > 8
    save_detector(model, tmp_path / "net.safetensors")
    raw = predict_recording(
        frames.recordings[0].recording,
        open_network(tmp_path / "net.safetensors"),
        checkpoint_hash="x",
        out=tmp_path / "out",
        maker=map_maker(config.data, device="cpu"),
        features=FeatureStore(),
        options=InputOptions(smooth_frames=config.data.smooth_frames),
    )
    theirs = candidates(Prepared(raw), PipelineSettings()).detections
    mine = detections_of(ours)
    assert np.array_equal(mine.frame, theirs.frame)
    assert np.array_equal(mine.category_id, theirs.category_id)
    assert np.allclose(mine.boxes_xyxy, theirs.boxes_xyxy, atol=0.05)
    assert np.allclose(mine.score, theirs.score, atol=1e-4)
    assert np.allclose(mine.energy, theirs.energy, atol=2e-3)


def test_losses_are_the_same_every_time_and_disturb_no_generator(ready: tuple[TrainingConfig, FrameSet]) -> None:
    config, frames = ready
    model = _network(config)
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    first = validation_losses(model, frames, config, device=CPU)
    assert torch.equal(torch.rand(4), wanted)
    assert validation_losses(model, frames, config, device=CPU) == first
    assert {"rpn_objectness", "class", "full_energy", "distance"} <= set(first)
    assert all(np.isfinite(v) for v in first.values())


def test_frames_are_spread_evenly() -> None:
    class Ten:
        def __len__(self) -> int:
            return 10

    assert validation_frames(Ten(), 4) == [0, 3, 6, 9]  # type: ignore[arg-type]
    assert validation_frames(Ten(), 99) == list(range(10))  # type: ignore[arg-type]


def _perfect(frames: FrameSet) -> list[RawColumns]:
    """What a network would say that knows the labels."""
    out = []
    for frame in range(len(frames.recordings[0])):
        regions = frames.read([(0, frame)]).regions[0]
        n = len(regions)
        boxes, energy = np.zeros((n, 4), np.float32), np.zeros((n, 28, 28), np.float16)
        scores = np.zeros((n, 13), np.float32)
        for k, region in enumerate(regions):
            left = region.columns.min() if np.ptp(region.columns) < 180 else region.columns[region.columns > 180].min()
            x = (region.columns - left) % ERP_WIDTH
            boxes[k] = left, region.rows.min(), left + x.max() + 1, region.rows.max() + 1
            full = np.zeros((np.ptp(region.rows) + 1, x.max() + 1), np.float32)
            full[region.rows - region.rows.min(), x] = region.energy
            energy[k] = cv2.resize(full, (28, 28), interpolation=cv2.INTER_AREA)
            scores[k, region.label - 1] = 0.9
        out.append(
            RawColumns(
                boxes,
                scores,
                np.ones(n, np.float32),
                scores.argmax(axis=1).astype(np.int16) if n else np.zeros(0, np.int16),
                energy,
                np.full(n, 200.0, np.float32),
                np.zeros((n, 0), np.float16),
                np.zeros((45, 90), np.float16),
            )
        )
    return out


def test_a_network_that_knows_the_labels_scores_high_and_one_that_is_blind_nothing(
    ready: tuple[TrainingConfig, FrameSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, frames = ready
    model = _network(config)
    told = []
    monkeypatch.setattr(validation, "predict", lambda *_, **__: _perfect(frames))
    scores, samples = scores_on(model, frames, config, device=CPU, progress=lambda f, m: told.append(m))
    # a map of 28 x 28 cells is not quite the region: the official metric's IoU of them is below 1
    assert scores.mean_ap > 0.6
    assert scores.ap50 > 0.9
    assert scores.pearson > 0.8
    assert len(samples) == 1
    assert samples[0][1].shape == (720, 720, 3)
    columns = ("boxes_xyxy", "class_scores", "objectness", "category_id", "energy", "distance_cm", "embedding")
    blind = [dataclasses.replace(o, **{c: getattr(o, c)[:0] for c in columns}) for o in _perfect(frames)]
    monkeypatch.setattr(validation, "predict", lambda *_, **__: blind)
    scores, _ = scores_on(model, frames, config, device=CPU)
    assert scores.mean_ap == 0.0


def test_a_picture_shows_label_and_prediction(ready: tuple[TrainingConfig, FrameSet]) -> None:
    config, frames = ready
    output = _perfect(frames)[0]
    image = picture(frames, 0, 0, output, config)
    assert image.dtype == np.uint8
    label, guess = image[:360].astype(int), image[360:].astype(int)
    assert label.std() > 1
    assert guess.std() > 1
    png = encoded(image)
    assert png.startswith(b"\x89PNG")
    back = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert back is not None
    assert np.array_equal(back[..., ::-1], image)

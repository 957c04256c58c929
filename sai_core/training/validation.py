"""What a network is worth between two epochs: validation losses, AP and Pearson r on a few recordings, pictures."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch

from sai_core.annotations import AnnotationTable, drop_exact_duplicates, read_annotations
from sai_core.detections.raw import RawColumns, RawDetections, joined
from sai_core.detections.table import Detections
from sai_core.detector.field_head import HeardFrames
from sai_core.detector.models import SaiDetector
from sai_core.drawing.annotators import Name, Picture, draw_box, energy_levels, paint, write_names
from sai_core.drawing.colormaps import sequential_lut
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.inference.networks import OwnNetwork
from sai_core.metrics import evaluate
from sai_core.postprocess import PipelineSettings, nms_per_class, prepare, run_pipeline, run_prepared
from sai_core.progress import Progress, no_progress
from sai_core.taxonomy import class_name, class_rgb
from sai_core.training.augment import make_batch
from sai_core.training.config import TrainingConfig
from sai_core.training.data import FrameSet

_BATCH = 16


@dataclass(frozen=True)
class Scores:
    """Macro figures (revision 2026-06-30) of the validation recordings; NaN where undefined."""

    mean_ap: float
    ap50: float
    pearson: float

    def as_row(self) -> dict[str, float]:
        """Columns of ``metrics.csv``."""
        return {"mAP": self.mean_ap, "AP50": self.ap50, "pearson": self.pearson}


def validation_frames(frames: FrameSet, count: int) -> list[int]:
    """Running numbers of ``count`` evenly spaced frames (all, where there are fewer)."""
    count = min(count, len(frames))
    return np.linspace(0, len(frames) - 1, count).round().astype(np.int64).tolist()


@torch.no_grad()
def validation_losses(
    model: SaiDetector, frames: FrameSet, config: TrainingConfig, *, device: torch.device
) -> dict[str, float]:
    """Mean of every loss term over the validation frames, without augmentation; the same draws every time.

    The state of torch's random numbers is left as it was.
    """
    numbers = validation_frames(frames, config.validation.frames)
    sums: dict[str, float] = {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for first in range(0, len(numbers), config.batch):
            part = numbers[first : first + config.batch]
            torch.manual_seed(config.seed + first)
            batch = make_batch(
                frames.batch(part),
                circular=config.model.seam == "circular",
                grid=config.data.grid,
                device=device,
            )
            terms = model.losses(
                batch.acoustic,
                batch.rgb,
                batch.targets,
                context=batch.context,
                heard=batch.heard,
                proposals=config.proposals,
                regions=config.regions,
            )
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(part)
    return {name: value / len(numbers) for name, value in sums.items()}


@torch.no_grad()
def predict(
    model: SaiDetector,
    frames: FrameSet,
    index: int,
    config: TrainingConfig,
    *,
    device: torch.device,
    floor: float,
    progress: Progress = no_progress,
) -> list[RawColumns]:
    """Candidates of every frame of one recording (of a frame set with step 1)."""
    # a copy: OwnNetwork changes the layout of the weights in place, and sums in another order have other last bits
    network = OwnNetwork(copy.deepcopy(model), floor=floor)
    n_frames = len(frames.recordings[index])
    out: list[RawColumns] = []
    for first in range(0, n_frames, _BATCH):
        places = [(index, f) for f in range(first, min(first + _BATCH, n_frames))]
        batch = make_batch(frames.read(places), circular=True, grid=config.data.grid, device=device)
        heard = None
        if network.field_network is not None:
            matrices = frames.recordings[index].matrices
            assert matrices is not None
            # frames in a row, each heard once, as in prediction
            before, last = network.field_network.reach, first + len(places)
            left = max(first - before, 0)
            packed = torch.from_numpy(np.asarray(matrices[left : last + before])).to(device)
            hidden = network.field_network.hidden(packed[None])[:, 0, first - left : last - left]
            heard = HeardFrames(hidden.transpose(0, 1))
        out += network.run(batch.acoustic, batch.rgb, batch.context, heard)
        progress(len(out) / n_frames, f"validation: {frames.recordings[index].recording.name}")
    return out


def annotations_of(outputs: Sequence[RawColumns], *, recording: str, settings: PipelineSettings) -> AnnotationTable:
    """What a validation scores: the export of the settings, or regions by label code where the network says a field."""
    if not outputs or not outputs[0].field.size:
        return run_pipeline(detections_of(outputs), recording=recording, n_frames=len(outputs), settings=settings)
    raw = RawDetections(**joined(outputs), recording=recording, key="", n_frames=len(outputs), notes={})
    return run_prepared(prepare(raw), replace(settings, export="field"))


def detections_of(outputs: Sequence[RawColumns]) -> Detections:
    """Candidates of a recording with the network's own class as score."""
    columns = joined(outputs)
    return Detections(
        columns["frame"],
        columns["category_id"],
        np.concatenate([output.own_scores for output in outputs]),
        columns["boxes_xyxy"],
        columns["distance_cm"].astype(np.float64),
        columns["energy"],
    )


def scores_on(
    model: SaiDetector,
    frames: FrameSet,
    config: TrainingConfig,
    *,
    device: torch.device,
    progress: Progress = no_progress,
) -> tuple[Scores, list[tuple[str, npt.NDArray[np.uint8]]]]:
    """AP and Pearson r on whole recordings, in memory, with the export pipeline; and pictures of some frames.

    Returns
    -------
    scores : Scores
    samples : list of (name, uint8 image)
    """
    settings = config.validation
    chosen = np.linspace(0, len(frames.recordings) - 1, min(settings.recordings, len(frames.recordings)))
    pipeline = PipelineSettings(min_score=settings.min_score, export=settings.export)
    labels: dict[str, AnnotationTable] = {}
    predictions: dict[str, AnnotationTable] = {}
    samples: list[tuple[str, npt.NDArray[np.uint8]]] = []
    for index in sorted({int(i) for i in chosen.round()}):
        recording = frames.recordings[index].recording
        outputs = predict(
            model, frames, index, config, device=device, floor=min(0.02, settings.min_score), progress=progress
        )
        # two roots may hold recordings of one name
        name = f"{index:03d}_{recording.name}"
        assert recording.label_path is not None
        table = drop_exact_duplicates(read_annotations(recording.label_path, recording=name, unknown_classes="drop"))
        labels[name] = table
        predictions[name] = annotations_of(outputs, recording=name, settings=pipeline)
        if len(samples) < settings.samples:
            frame = _telling_frame(table, len(outputs))
            samples.append((f"{name}_{frame:04d}", picture(frames, index, frame, outputs[frame], config)))
    macro = evaluate(labels, predictions).macro
    return Scores(float(macro.mean_ap), float(macro.ap[1]), float(macro.pearson_r)), samples


def _telling_frame(table: AnnotationTable, n_frames: int) -> int:
    """First frame with the most labels."""
    if not len(table):
        return n_frames // 2
    counts = np.bincount(table.frame, minlength=1)[:n_frames]
    return int(np.argmax(counts))


def picture(
    frames: FrameSet, index: int, frame: int, output: RawColumns, config: TrainingConfig, *, min_score: float = 0.3
) -> npt.NDArray[np.uint8]:
    """Label (above) and prediction (below) of one frame as an RGB image of 720 x 720.

    Both show the energy as brightness and boxes in class colours; predictions have their class and score beside them.
    A network without a full-frame decoder shows its boxes alone.
    """
    raw = frames.read([(index, frame)])
    target = make_batch(raw, circular=True, grid=config.data.grid).targets[0]
    labels = target["labels"].numpy() - 1
    truth = _panel(target["full_map"].numpy(), target["boxes_deg"].numpy(), labels, None)
    full = output.full_energy if output.full_energy.size else np.zeros((1, 1))
    energy = cv2.resize(full.astype(np.float32), (ERP_WIDTH, ERP_HEIGHT))
    category_id, scores = output.category_id, output.own_scores
    kept = nms_per_class(np.zeros_like(category_id), category_id, scores, output.boxes_xyxy)
    kept = kept[scores[kept] >= min_score]
    guess = _panel(np.asarray(energy), output.boxes_xyxy[kept], category_id[kept], scores[kept])
    return np.concatenate([truth, guess])


def _panel(
    energy: npt.NDArray[np.float32],
    boxes_xyxy: npt.NDArray[np.floating],
    category_id: npt.NDArray[np.integer],
    scores: npt.NDArray[np.floating] | None,
) -> Picture:
    view = np.empty((2 * ERP_HEIGHT, 2 * ERP_WIDTH, 3), dtype=np.uint8)
    paint(view, energy_levels(energy), sequential_lut())
    names = []
    for k, (box, category) in enumerate(zip(boxes_xyxy.tolist(), category_id.tolist(), strict=True)):
        text = class_name(category) if scores is None else f"{class_name(category)} {scores[k]:.2f}"
        draw_box(view, box, class_rgb(category), thickness=2)
        names.append(Name(text, class_rgb(category), tuple(box)))
    write_names(view, names)
    return view


def encoded(image: npt.NDArray[np.uint8]) -> bytes:
    """PNG of an RGB image."""
    done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()


def total_loss(terms: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Weighted sum of loss terms."""
    return sum(value * float(weights.get(name, 1.0)) for name, value in terms.items())

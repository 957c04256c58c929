"""What the engine asks of a network, and how the official baseline and our own detectors answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sai_core.detector.baseline import DISTANCE_UNIT_CM, OfficialBaseline, load_official_baseline
from sai_core.detector.models import SaiDetector, load_detector
from sai_core.errors import InputError

FULL_HEIGHT, FULL_WIDTH = 45, 90
"""Stored resolution of full-frame maps: four degrees a cell."""


@dataclass(frozen=True)
class FrameOutput:
    """Candidates of one frame as arrays; columns as in :mod:`sai_core.inference.store`, without ``frame``."""

    boxes_xyxy: npt.NDArray[np.float32]
    class_scores: npt.NDArray[np.float32]
    objectness: npt.NDArray[np.float32]
    category_id: npt.NDArray[np.int16]
    energy: npt.NDArray[np.float16]
    distance_cm: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float16]
    full_energy: npt.NDArray[np.float16]

    def __len__(self) -> int:
        return int(self.objectness.shape[0])


class Network(Protocol):
    """A detector as the engine sees it."""

    needs_rgb: bool
    embedding_dim: int
    device: torch.device

    def describe(self) -> dict[str, str]:
        """Options that change its numbers."""

    def run(self, acoustic: Tensor, rgb: Tensor | None) -> list[FrameOutput]:
        """Candidates of a batch: (batch, 9, 180, 360) and (batch, 3, 180, 360) on the network's device."""


def _half(x: Tensor) -> npt.NDArray[np.float16]:
    out: npt.NDArray[np.float16] = x.half().cpu().numpy()
    return out


def _single(x: Tensor) -> npt.NDArray[np.float32]:
    out: npt.NDArray[np.float32] = x.float().cpu().numpy()
    return out


def _small_map(full: Tensor) -> Tensor:
    """Average (batch, 180, 360) over cells of 4 x 4 degrees."""
    return F.avg_pool2d(full[:, None], 4)[:, 0]


class BaselineNetwork:
    """The official baseline behind the engine's interface.

    Parameters
    ----------
    model : OfficialBaseline
    floor : float
        Candidates with a lower class score are not kept and get no energy map (torchvision's ``score_thresh``;
        official 0.05).
    at_most : int
        Candidates a frame (official 100).
    corrected_map : bool
        Store the registered full-frame map instead of the official one.
    """

    needs_rgb = True
    embedding_dim = 0

    def __init__(
        self, model: OfficialBaseline, *, floor: float = 0.05, at_most: int = 100, corrected_map: bool = False
    ) -> None:
        self.model = model
        self.model.det.roi_heads.score_thresh = floor
        self.model.det.roi_heads.detections_per_img = at_most
        self.floor, self.at_most, self.corrected_map = floor, at_most, corrected_map
        self.device = next(model.parameters()).device

    def describe(self) -> dict[str, str]:
        """Options that change its numbers."""
        return {
            "network": "official baseline",
            "floor": str(self.floor),
            "at_most": str(self.at_most),
            "corrected_map": str(self.corrected_map),
        }

    def run(self, acoustic: Tensor, rgb: Tensor | None) -> list[FrameOutput]:
        """Candidates of a batch."""
        if rgb is None:
            raise InputError("the official baseline needs video beside the acoustic maps.")
        prepared = self.model.prepare(torch.cat([rgb, acoustic], dim=1))
        levels = self.model.pyramid(prepared)
        found = self.model.candidates(prepared, levels)
        energy, distance = self.model.roi_outputs(levels, [c.boxes for c in found])
        full = _small_map(self.model.full_energy(levels, corrected=self.corrected_map))
        counts = [len(c.boxes) for c in found]
        return [
            FrameOutput(
                _single(c.boxes),
                _single(c.class_scores),
                _single(c.objectness),
                (c.labels - 1).cpu().numpy().astype(np.int16),
                _half(e),
                _single(d * DISTANCE_UNIT_CM),
                np.zeros((len(c.boxes), 0), dtype=np.float16),
                _half(f),
            )
            for c, e, d, f in zip(found, energy.split(counts), distance.split(counts), full, strict=True)
        ]


class OwnNetwork:
    """One of our own detectors behind the engine's interface.

    Parameters
    ----------
    model : SaiDetector
    floor : float
        Candidates whose strongest class is below this are not kept.
    at_most : int
        Candidates a frame.
    """

    def __init__(self, model: SaiDetector, *, floor: float = 0.01, at_most: int = 50) -> None:
        self.model = model
        self.floor, self.at_most = floor, at_most
        self.needs_rgb = model.config.track == "B"
        self.embedding_dim = model.config.embedding_dim
        self.device = next(model.parameters()).device

    def describe(self) -> dict[str, str]:
        """Options that change its numbers."""
        return {"network": f"track {self.model.config.track}", "floor": str(self.floor), "at_most": str(self.at_most)}

    def run(self, acoustic: Tensor, rgb: Tensor | None) -> list[FrameOutput]:
        """Candidates of a batch."""
        features = self.model.features(acoustic, rgb)
        found = self.model.detect(features, floor=self.floor, n_candidates=self.at_most)
        if self.model.decoder is not None:
            full = _small_map(self.model.full_energy(features))
        else:
            full = acoustic.new_zeros(len(found), 0, 0)
        out = []
        for c, f in zip(found, full, strict=True):
            scores = _single(c.class_scores)
            out.append(
                FrameOutput(
                    _single(c.boxes_deg),
                    scores,
                    _single(c.objectness),
                    scores.argmax(axis=1).astype(np.int16) if len(scores) else np.zeros(0, dtype=np.int16),
                    _half(c.energy),
                    _single(c.distance_units * DISTANCE_UNIT_CM),
                    _half(c.embedding),
                    _half(f),
                )
            )
        return out


def open_network(path: Path, *, device: str | torch.device = "cpu") -> Network:
    """Open a checkpoint of any kind that the program knows: our own safetensors, or the official baseline.

    Raises
    ------
    InputError
        Not a checkpoint of either.
    """
    path = Path(path)
    if path.suffix == ".safetensors" and path.is_file():
        try:
            with safe_open(path, framework="pt") as handle:
                own = "sai_detector" in (handle.metadata() or {})
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: not a safetensors file ({error}).") from error
        if own:
            return OwnNetwork(load_detector(path, device=device))
    return BaselineNetwork(load_official_baseline(path, device=device))


Forward = Callable[[Tensor, Tensor | None], list[FrameOutput]]


def run_in_batches(run: Forward, acoustic: Tensor, rgb: Tensor | None, *, batch: int) -> tuple[list[FrameOutput], int]:
    """Run a network on many frames; when memory runs out, halve the batch and go on.

    Returns
    -------
    outputs : list of FrameOutput
        One a frame, in order; the same whatever the batch, to float tolerance.
    batch : int
        The batch size that fitted; to be used from then on.

    Raises
    ------
    torch.OutOfMemoryError, MemoryError
        Not even one frame fits.
    """
    outputs: list[FrameOutput] = []
    while len(outputs) < acoustic.shape[0]:
        part = slice(len(outputs), len(outputs) + batch)
        try:
            outputs += run(acoustic[part], None if rgb is None else rgb[part])
        except (torch.OutOfMemoryError, MemoryError):
            if batch == 1:
                raise
            batch = max(1, batch // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    return outputs, batch

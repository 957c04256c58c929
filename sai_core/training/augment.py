"""From stored frames to a network's batch: geometry, augmentation, targets; batched on the device.

Geometry is one function of canvas columns: mirror (with some probability), then turn by a whole number of degrees.
The same function moves acoustic maps and picture (as an index along the columns), the lattice points of the sound
context, and the pixels of every label region, from which boxes, instance maps and the full map are then made: audio,
image and label cannot come apart, whatever the composition. Boxes are not moved but measured anew.

Values: Gaussian noise and masked bands on the lattice values (a value on the lattice is a cell of the canvas, so that
the noise has the grain of the maps and does not average out in the first convolution), ColorJitter on the picture: by
kornia's functions, on the device, with factors of ours, since what a step draws is to depend on nothing but its
generator.

The seam: with ``circular`` networks a box may cross it (``x1`` > 360). With ``zero`` ones a region over the seam is
split into two targets of one instance, and parts under two pixels are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sai_core.acoustics.projection import Grid, projection_index
from sai_core.detector.cylinder import EXTENSION, SCALE
from sai_core.detector.field_head import HeardFrames
from sai_core.detector.spectrum import SoundContext, lattice_pixels
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH
from sai_core.training.config import AugmentSettings
from sai_core.training.data import MIN_PIXELS, RawBatch, Region

_LIMIT_DEG = ERP_WIDTH + EXTENSION / SCALE
"""Right limit of a box over the seam, as the network's RoI stage has it."""


@dataclass(frozen=True, eq=False)
class Turn:
    """Mirror, then turn: what happens to the columns of one frame.

    Attributes
    ----------
    shift : int
        Whole degrees to the right, 0..359.
    flip : bool
    """

    shift: int = 0
    flip: bool = False

    def pixels(self, columns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """New columns of pixels."""
        moved = ERP_WIDTH - 1 - columns if self.flip else columns
        return (moved + self.shift) % ERP_WIDTH

    def positions(self, columns: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """New continuous columns in [0, 360), where pixel ``k`` covers ``[k, k + 1)``."""
        moved = ERP_WIDTH - columns if self.flip else columns
        return (moved + self.shift) % ERP_WIDTH

    def source(self) -> npt.NDArray[np.int64]:
        """Old column of every new one."""
        old = np.arange(ERP_WIDTH) - self.shift
        return (ERP_WIDTH - 1 - old if self.flip else old) % ERP_WIDTH


@dataclass(frozen=True, eq=False)
class Batch:
    """What a step of training takes; see ``SaiDetector.losses``."""

    acoustic: Tensor
    rgb: Tensor | None
    context: SoundContext | None
    targets: list[dict[str, Tensor]]
    heard: HeardFrames | None = None

    def __len__(self) -> int:
        return int(self.acoustic.shape[0])


def draw_turns(n: int, settings: AugmentSettings, rng: np.random.Generator) -> list[Turn]:
    """Random mirror and turn of each of ``n`` frames."""
    shifts = rng.integers(0, ERP_WIDTH, n) if settings.shift else np.zeros(n, dtype=np.int64)
    flips = rng.random(n) < settings.flip
    return [Turn(int(s), bool(f)) for s, f in zip(shifts, flips, strict=True)]


def make_batch(
    raw: RawBatch,
    *,
    circular: bool,
    grid: Grid = "official",
    device: str | torch.device = "cpu",
    augment: AugmentSettings | None = None,
    rng: np.random.Generator | None = None,
    turns: list[Turn] | None = None,
) -> Batch:
    """Turn stored frames into a batch on a device.

    Parameters
    ----------
    raw : RawBatch
    circular : bool
        Whether boxes may cross the seam.
    grid : {"official", "great_circle", "label"}
    device : str or torch.device
    augment : AugmentSettings, optional
        None for frames as they are.
    rng : numpy Generator, optional
        Needed with ``augment``.
    turns : list of Turn, optional
        Instead of random ones.
    """
    n = len(raw)
    lattice, power = raw.lattice, raw.power
    if augment is not None:
        assert rng is not None
        if turns is None:
            turns = draw_turns(n, augment, rng)
        lattice, power = _disturbed(lattice, power, augment, rng)
    turns = turns if turns is not None else [Turn()] * n
    source = np.stack([t.source() for t in turns])
    acoustic = _turned_canvas(torch.from_numpy(np.ascontiguousarray(lattice)).to(device), source, grid)
    rgb = None
    if raw.rgb is not None:
        pictures = torch.from_numpy(raw.rgb).to(device)
        index = torch.from_numpy(source).to(device)
        moved = torch.stack([p.index_select(1, i) for p, i in zip(pictures, index, strict=True)])
        rgb = moved.permute(0, 3, 1, 2).float().div_(255.0)
        if augment is not None:
            assert rng is not None
            rgb = color_jitter(rgb, augment, rng)
    context = None
    if power is not None:
        columns = np.stack([t.positions(lattice_pixels()[0]) for t in turns]).astype(np.float32)
        context = SoundContext(
            torch.from_numpy(np.ascontiguousarray(power)).to(device), torch.from_numpy(columns).to(device)
        )
    targets = make_targets(raw, turns, circular=circular, device=device)
    heard = None
    if raw.matrices is not None:
        heard = HeardFrames(
            torch.from_numpy(raw.matrices).to(device),
            torch.tensor([t.shift for t in turns], device=device),
            torch.tensor([t.flip for t in turns], device=device),
        )
    return Batch(acoustic, rgb, context, targets, heard)


def _turned_canvas(lattice: Tensor, source: npt.NDArray[np.int64], grid: Grid) -> Tensor:
    """Expand (batch, 9, 484) to the turned canvas: one gather does the projection and the turn."""
    index = projection_index(grid)
    if lattice.device.type == "cpu":
        # NumPy's indexing takes a fifth of the time of torch's here
        values = lattice.numpy()
        out = np.empty((*values.shape[:2], ERP_HEIGHT, ERP_WIDTH), dtype=np.float32)
        for k, columns in enumerate(source):
            out[k] = values[k][:, index.take(columns, axis=1)]
        return torch.from_numpy(out)
    flat = torch.from_numpy(np.stack([index.take(columns, axis=1) for columns in source])).to(lattice.device)
    wide = flat.reshape(len(source), 1, -1).expand(-1, lattice.shape[1], -1)
    return lattice.gather(2, wide).reshape(*lattice.shape[:2], ERP_HEIGHT, ERP_WIDTH)


def _disturbed(
    lattice: npt.NDArray[np.float32],
    power: npt.NDArray[np.float32] | None,
    settings: AugmentSettings,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Noise and masked bands, the same bands in the maps and in the sound context."""
    n, bands, _ = lattice.shape
    if settings.noise_sigma > 0:
        sigma = np.full((n, 1, 1), settings.noise_sigma, dtype=np.float32)
        if settings.noise_unit == "relative":
            sigma = sigma * lattice.std(axis=(1, 2), keepdims=True)
        elif settings.noise_unit == "peak":
            sigma = sigma * lattice.max(axis=(1, 2), keepdims=True, initial=0.0)
        noise = rng.standard_normal(lattice.shape, dtype=np.float32)
        lattice = np.maximum(lattice + sigma * noise, 0.0)
    counts: npt.NDArray[np.int64] = np.asarray(rng.integers(0, settings.masked_bands + 1, n), dtype=np.int64)
    order = np.asarray(rng.permuted(np.tile(np.arange(bands), (n, 1)), axis=1)).reshape(n, bands)
    if counts.any():
        lattice = lattice.copy()
        power = None if power is None else power.copy()
        for k in range(n):
            masked = order[k][: int(counts[k])]
            lattice[k, masked] = 0.0
            if power is not None:
                power[k, :, masked] = 0.0
    return lattice, power


def color_jitter(rgb: Tensor, settings: AugmentSettings, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast and saturation of each picture of (batch, 3, H, W) in [0, 1], by one factor each."""
    # only training needs it, and it takes a second to load
    from kornia.enhance import (
        adjust_brightness_accumulative,
        adjust_contrast_with_mean_subtraction,
        adjust_saturation_with_gray_subtraction,
    )

    for adjust, reach in (
        (adjust_brightness_accumulative, settings.brightness),
        (adjust_contrast_with_mean_subtraction, settings.contrast),
        (adjust_saturation_with_gray_subtraction, settings.saturation),
    ):
        rgb = adjust(rgb, torch.from_numpy(rng.uniform(1 - reach, 1 + reach, rgb.shape[0]).astype(np.float32)))
    return rgb


def make_targets(
    raw: RawBatch, turns: list[Turn], *, circular: bool, device: str | torch.device
) -> list[dict[str, Tensor]]:
    """Targets of a batch in the format of ``SaiDetector.losses``."""
    boxes: list[list[tuple[float, float, float, float]]] = []
    parts: list[list[Region]] = []
    for regions, turn in zip(raw.regions, turns, strict=True):
        frame_boxes, frame_parts = [], []
        for region in regions:
            for part, box in _placed(region, turn, circular=circular):
                frame_boxes.append(box)
                frame_parts.append(part)
        boxes.append(frame_boxes)
        parts.append(frame_parts)
    everything = [p for frame in parts for p in frame]
    size = ERP_HEIGHT * ERP_WIDTH
    maps = torch.zeros(len(everything), size, device=device)
    if everything:
        flat = np.concatenate([k * size + p.rows * ERP_WIDTH + p.columns for k, p in enumerate(everything)])
        values = np.concatenate([p.energy for p in everything])
        maps.view(-1)[torch.from_numpy(flat).to(device)] = torch.from_numpy(values).to(device)
    maps = maps.view(-1, ERP_HEIGHT, ERP_WIDTH)
    out, start = [], 0
    for frame_parts, frame_boxes in zip(parts, boxes, strict=True):
        mine = maps[start : start + len(frame_parts)]
        start += len(frame_parts)
        out.append(
            {
                "boxes_deg": torch.tensor(frame_boxes, dtype=torch.float32, device=device).reshape(-1, 4),
                "labels": torch.tensor([p.label for p in frame_parts], dtype=torch.long, device=device),
                "instance_maps": mine,
                "distance_units": torch.tensor(
                    [p.distance_units for p in frame_parts], dtype=torch.float32, device=device
                ),
                "instance_ids": torch.tensor([p.instance for p in frame_parts], dtype=torch.long, device=device),
                "full_map": mine.amax(dim=0) if len(mine) else torch.zeros(ERP_HEIGHT, ERP_WIDTH, device=device),
            }
        )
    return out


def _placed(
    region: Region, turn: Turn, *, circular: bool
) -> Iterator[tuple[Region, tuple[float, float, float, float]]]:
    """A region after the turn with its box; two parts when it lies over the seam and the network does not."""
    columns = turn.pixels(region.columns)
    x0, x1 = column_span(columns)
    if circular or x1 <= ERP_WIDTH:
        if x1 > _LIMIT_DEG:
            # wider than the RoI stage continues past the seam: the whole turn
            x0, x1 = 0, ERP_WIDTH
        yield _part(region, columns, None), _box(x0, x1, region.rows)
        return
    for side in (columns >= x0, columns < x0):
        if np.count_nonzero(side) >= MIN_PIXELS:
            part = _part(region, columns, side)
            left, right = int(part.columns.min()), int(part.columns.max()) + 1
            yield part, _box(left, right, part.rows)


def _part(region: Region, columns: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_] | None) -> Region:
    keep = slice(None) if chosen is None else chosen
    return Region(
        region.label,
        region.instance,
        region.distance_units,
        columns[keep],
        region.rows[keep],
        region.energy[keep],
    )


def _box(x0: int, x1: int, rows: npt.NDArray[np.int64]) -> tuple[float, float, float, float]:
    return float(x0), float(rows.min()), float(x1), float(rows.max()) + 1.0


def column_span(columns: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Smallest circular range ``[x0, x1)`` that holds all pixel columns; ``x0`` in [0, 360), ``x1`` may exceed 360."""
    there = np.unique(columns)
    # gap after each occupied column to the next one, around the circle
    gaps = np.diff(there, append=there[0] + ERP_WIDTH)
    # of equal gaps the one at the seam, so that the range does not cross it without need
    last = len(gaps) - 1 - int(np.argmax(gaps[::-1]))
    x0 = int(there[(last + 1) % len(there)])
    width = ERP_WIDTH - int(gaps[last]) + 1
    return x0, x0 + width

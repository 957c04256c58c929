"""Blocks of training frames: drawn once from (seed, block number), kept in the cache, passed over a few times.

Drawing a frame costs about as much as a step of the network does, so a block of some thousand frames is passed over
more than once before the next one is drawn. A block depends on nothing but the options, the seed and its number:
a resumed run, and a later run with other learning rates, find the same frames again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Final

import numpy as np
import torch

from sai_core.cache import Cache, key_of
from sai_core.training.uplam.scenes import SceneOptions, SceneSampler
from sai_core.training.uplam.targets import TargetMaker, Targets

BEAM_SCALE: Final[float] = 32.0
"""Beams are stored in float16 divided by this (up to about 32^2 otherwise, coarse but in range)."""

_cache: Final = Cache("uplam-blocks", 3)
"""Its version is counted up whenever the frames of a given (options, seed, number) change."""

_DRAW: Final[int] = 64


@dataclass(frozen=True)
class Block:
    """Training frames as they are kept: ``targets`` gives a batch.

    Attributes
    ----------
    inputs : complex64, shape (frames, bands, 4, 4)
    maps, beams : float16, shape (frames, bands, 484)
    energy : float32, shape (frames, bands)
    """

    inputs: np.ndarray
    maps: np.ndarray
    beams: np.ndarray
    energy: np.ndarray

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def targets(self, rows: np.ndarray) -> Targets:
        """Batch of the given rows, in float32."""
        return Targets(
            inputs=torch.from_numpy(self.inputs[rows]),
            maps=torch.from_numpy(self.maps[rows].astype(np.float32)),
            beams=torch.from_numpy(self.beams[rows].astype(np.float32) * BEAM_SCALE),
            energy=torch.from_numpy(self.energy[rows]),
        )


def make_block(
    options: SceneOptions, *, seed: int, number: int, n_frames: int, frame_scale_share: float, consensus_share: float
) -> Block:
    """Draw a block.

    Parameters
    ----------
    options : SceneOptions
    seed, number : int
        What the frames, and the sound bank, are drawn from.
    n_frames : int
    frame_scale_share : float
        Share of frames whose bands have one common scale (``normalise="frame"``) instead of one each.
    consensus_share : float
        See :mod:`sai_core.training.uplam.targets`.
    """
    sampler = SceneSampler(options, (seed, number, 1))
    maker = TargetMaker(sampler.frequency_hz, consensus_share=consensus_share)
    rng = np.random.default_rng((seed, number, 2))
    parts: list[tuple[np.ndarray, ...]] = []
    for start in range(0, n_frames, _DRAW):
        n = min(_DRAW, n_frames - start)
        batch = sampler.draw(n, rng)
        common = torch.from_numpy(rng.random(n) < frame_scale_share)
        made = maker(torch.from_numpy(batch.spectra), per_frame_scale=common)
        beams = (made.beams / BEAM_SCALE).clamp_max(6e4).half()
        parts.append((made.inputs.numpy(), made.maps.clamp_max(6e4).half().numpy(), beams.numpy(), made.energy.numpy()))
    return Block(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def cached_block(
    options: SceneOptions, *, seed: int, number: int, n_frames: int, frame_scale_share: float, consensus_share: float
) -> Block:
    """:func:`make_block`, or the same block from the cache folder; a cache that cannot be written costs time only."""
    key = key_of(sorted(asdict(options).items()), seed, number, n_frames, frame_scale_share, consensus_share)
    entry = _cache.get(key)
    if entry is not None:
        return Block(**entry.arrays)
    block = make_block(
        options,
        seed=seed,
        number=number,
        n_frames=n_frames,
        frame_scale_share=frame_scale_share,
        consensus_share=consensus_share,
    )
    _cache.put(key, {f.name: getattr(block, f.name) for f in fields(Block)})
    return block

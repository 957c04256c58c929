"""Deterministic weights with the official keys: the two fill rules that the oracle's figures were made with.

Figures of ``shared/oracle/lam/uplam_state_dict_keys.json`` and of ``f2b_uplam_ruleB.npz``; an oracle test compares
them with these files. Every tensor comes from a generator seeded by the CRC-32 of its key.
"""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np
import torch

from sai_core.acoustics.networks import UpLAM


def official_state(rule: Literal["A", "B"]) -> dict[str, torch.Tensor]:
    """State dict of the official UpLAM, float64/complex128, filled by rule A (all noise) or B (scaled noise)."""
    return {
        key: torch.from_numpy(_filled(key, tuple(value.shape), rule))
        for key, value in UpLAM(dtype=torch.float64).state_dict().items()
    }


def _filled(key: str, shape: tuple[int, ...], rule: str) -> np.ndarray:
    size = int(np.prod(shape))
    random = np.random.RandomState(zlib.crc32(key.encode()))  # the oracle's generator
    if key.endswith("act.weight"):
        return np.full(shape, 0.25)
    if key == "lam.D":
        parts = random.standard_normal(2 * size).reshape(2, *shape) * 0.05
        parts = parts if rule == "B" else parts.astype(np.float32).astype(np.float64)
        return parts[0] + 1j * parts[1]
    noise = random.standard_normal(size).reshape(shape)
    if rule == "A":
        return (noise * 0.05).astype(np.float32).astype(np.float64)
    if key.endswith("bias") or key == "lam.tau":
        return np.zeros(shape)
    if "denoise" in key:
        return noise * 0.05
    fan = shape[0] * shape[2] * shape[3] / 64 if ".deconv." in key else float(np.prod(shape[1:]))
    return noise * np.sqrt(1 / fan)

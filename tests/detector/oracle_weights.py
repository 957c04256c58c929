"""Deterministic weights and input of the official baseline, by the fill rule of the reference outputs."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sai_core.detector.baseline import OfficialBaseline

ORACLE_MODEL = Path(__file__).resolve().parents[3] / "shared" / "oracle" / "model"


def filled_state(keys: list[dict[str, Any]], *, suffix: str = "") -> dict[str, Tensor]:
    """State dict by the fill rule, every tensor checked against its checksum."""
    state: dict[str, Tensor] = {}
    fresh = OfficialBaseline().state_dict()
    for entry in keys:
        key, shape, kind = entry["key"], tuple(entry["shape"]), entry["kind"]
        generator = np.random.RandomState(zlib.crc32((key + suffix).encode()))
        if kind == "w":
            g = generator.standard_normal(shape)
            transposed = entry["transposed_conv"]
            axes = (0,) if transposed else tuple(range(1, len(shape)))
            g = g - g.mean(axis=axes, keepdims=True)
            fan = shape[0] if transposed else int(np.prod(shape[1:]))
            value = (g * np.sqrt(2 / fan) * entry["gain"]).astype(np.float32)
        elif kind in ("norm_w", "bn3_w", "var", "cw"):
            value = np.full(shape, 0.25 if kind == "bn3_w" else 1.0, dtype=np.float32)
        elif kind in ("norm_b", "bias", "mean"):
            value = (generator.standard_normal(shape) * 0.02).astype(np.float32)
        elif kind == "count":
            value = np.zeros(fresh[key].shape, dtype=np.int64)
        else:
            value = fresh[key].numpy()
        state[key] = torch.from_numpy(np.ascontiguousarray(value)).reshape(fresh[key].shape)
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        assert digest.startswith(entry["sha256_filled"]), key
    return state


def oracle_state() -> dict[str, Tensor]:
    """State dict of the reference outputs."""
    return filled_state(json.loads((ORACLE_MODEL / "baseline_model_keys.json").read_text())["keys"])


def oracle_input() -> Tensor:
    """Input of the reference outputs: float32 (1, 12, 180, 360)."""
    with np.load(ORACLE_MODEL / "f4_input.npz", allow_pickle=False) as z:
        return torch.from_numpy((z["x_times65536"] / 65536.0).astype(np.float32))[None]

"""The STAIRS26 label recipe written down plainly: one frame and one band at a time, every matrix formed.

The yardstick of ``bench_stairs.py``, and a second opinion on the figures. It follows the same order of work as the
official code: all visibilities of a band by a full FFT; per frame an eigendecomposition, the step size by a sparse
eigenvalue solver, the penalty by a first step from zero, then proximal gradient steps with the residual matrix formed
for the gradient and again for the objective; the label by ``griddata`` on the whole canvas, a Gaussian on the whole
canvas, contours, lists of pixels; JSON by the standard library, read back and standardised.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse.linalg
from scipy.constants import speed_of_sound
from scipy.interpolate import griddata
from scipy.signal.windows import tukey

from sai_core.geometry import em32_capsules_deg

Array = npt.NDArray[Any]
Row = tuple[int, int, int, float, float, float]

BANDS_HZ = np.linspace(1500, 4500, 9)
RATE = 24000
BLOCK = 240


def lattice() -> Array:
    """Unit vectors (3, 484)."""
    n = np.arange(484)
    colatitude, longitude = np.arccos(1 - (2 * n + 1) / 484), 4 * np.pi * n / (1 + np.sqrt(5))
    return np.stack(
        [np.sin(colatitude) * np.cos(longitude), np.sin(colatitude) * np.sin(longitude), np.cos(colatitude)]
    )


def steering() -> Array:
    """Steering matrix (32, 484)."""
    azimuth, elevation = np.deg2rad(em32_capsules_deg())
    capsules = 0.042 * np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=1
    )
    return np.exp(-2j * np.pi * (BANDS_HZ.max() + 500) / speed_of_sound * (capsules @ lattice()))


def visibilities(audio: Array, centre_hz: float) -> Array:
    """Visibility matrices (frames, 32, 32) of one band."""
    blocks = audio[: len(audio) // BLOCK * BLOCK].reshape(-1, BLOCK, audio.shape[1])
    spectrum = np.fft.fft(blocks * tukey(BLOCK, 1.0)[None, :, None], axis=1)
    first, last = int((centre_hz - 25) * BLOCK / RATE), int((centre_hz + 25) * BLOCK / RATE)
    summed = spectrum[:, first : last + 1].sum(1)
    products = summed[:, :, None].conj() * summed[:, None, :]
    return products[: len(products) // 10 * 10].reshape(-1, 10, *products.shape[1:]).sum(1)


def step_constant(a: Array) -> float:
    """Twice the largest eigenvalue of the data term's Hessian / 2, found without forming it."""

    def product(v: Array) -> Array:
        return np.sum(a.conj() * (((a * v.reshape(-1)) @ a.conj().T) @ a), axis=0).real

    operator = scipy.sparse.linalg.LinearOperator((a.shape[1], a.shape[1]), matvec=product, dtype=np.float64)
    return float(2 * scipy.sparse.linalg.eigsh(operator, k=1, which="LM", return_eigenvectors=False)[0])


def solve(s: Array, a: Array, start: Array, gamma: float = 0.5) -> Array:
    """Intensity (484,) of one frame and band."""

    def residual(x: Array) -> Array:
        return (a * x) @ a.conj().T - s

    def gradient(x: Array) -> Array:
        return 2 * np.sum(a.conj() * (residual(x) @ a), axis=0).real

    def objective(x: Array, penalty: float) -> float:
        r = residual(x)
        return float(np.sum(r * r.conj()).real + penalty * (gamma * np.abs(x).sum() + (1 - gamma) * (x**2).sum()))

    big = step_constant(a)

    def descend(x: Array, penalty: float, limit: int) -> Array:
        last = objective(x, penalty)
        for _ in range(limit):
            moved = x - gradient(x) / big
            x = np.clip((moved - penalty * gamma / big) / (2 * penalty * (1 - gamma) / big + 1), 0, None)
            now = objective(x, penalty)
            if now != 0 and abs((now - last) / now) < 1e-3:
                break
            last = now
        return x

    # the penalty comes from a descent of one step without any
    penalty = descend(np.zeros(a.shape[1]), 0.0, 1).max() / (10 / big * gamma)
    return descend(start, penalty, 200)


def intensities(audio: Array, seconds: dict[str, float]) -> Array:
    """Intensities (484, 9, frames); adds the time of its two stages to ``seconds``."""
    a = steering()
    bands = []
    for centre in BANDS_HZ:
        began = time.perf_counter()
        matrices = visibilities(audio, centre)
        seconds["visibilities"] += time.perf_counter() - began
        began = time.perf_counter()
        x = np.zeros(484)
        frames = []
        for s in matrices:
            values, vectors = scipy.linalg.eigh(s)
            values = np.clip(values / values.max(), 0, None) if values.max() > 0 else values * 0
            x = solve((vectors * values) @ vectors.conj().T, a, x)
            frames.append(x)
        seconds["solver"] += time.perf_counter() - began
        bands.append(frames)
    return np.array(bands).transpose(2, 0, 1)


def cut_annotations(image: Array, rows: Iterable[Row], seconds: dict[str, float]) -> list[dict[str, Any]]:
    """Label annotations of intensities (484, 9, frames)."""
    median = np.median(image, axis=1)
    x, y, z = lattice()
    points = np.stack([np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(z))], axis=1)
    grid = np.meshgrid(np.linspace(180, -180, 360), np.linspace(90, -90, 180))
    targets = np.stack([g.ravel() for g in grid], axis=1)
    columns, lines = np.meshgrid(np.arange(360), np.arange(180))
    made: list[dict[str, Any]] = []
    rows = list(rows)
    for frame in sorted({r[0] for r in rows if r[0] < median.shape[1]}):
        began = time.perf_counter()
        canvas = griddata(points, median[:, frame], targets, method="linear", fill_value=0.0).reshape(180, 360)
        seconds["interpolation"] += time.perf_counter() - began
        began = time.perf_counter()
        for _, category, source, azimuth, elevation, distance in (r for r in rows if r[0] == frame):
            cx, cy = int(((-azimuth + 180) % 360) / 360.0 * 360), int((90 - elevation) / 180.0 * 180)
            across = ((columns - cx + 180) % 360 - 180) * np.cos(np.radians(90 - cy / 180 * 180))
            weighted = canvas * np.exp(-((lines - cy) ** 2 + across**2) / (2 * 10.0**2))
            weighted[weighted < 4e-5] = 0
            contours = cv2.findContours((weighted > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
            parts: list[list[list[float]]] = []
            for contour in contours:
                if len(contour) < 2:
                    continue
                mask = np.zeros((180, 360), np.uint8)
                cv2.fillPoly(mask, [contour], 1)
                ys, xs = np.where(mask == 1)
                table = np.column_stack([xs, ys, weighted[ys, xs]])
                parts.append([[int(u), int(v), e] for u, v, e in table.tolist()])
                made.append(
                    {
                        "metadata_frame_index": int(frame),
                        "instance_id": int(source),
                        "category_id": int(category),
                        "segmentation": parts,
                        "distance": float(distance),
                    }
                )
        seconds["contours"] += time.perf_counter() - began
    return made


def label(audio: Array, rows: Iterable[Row], raw_path: Path, std_path: Path) -> dict[str, float]:
    """Write both label files; returns the seconds of each stage."""
    seconds = dict.fromkeys(("visibilities", "solver", "interpolation", "contours", "JSON"), 0.0)
    made = cut_annotations(intensities(audio, seconds), rows, seconds)
    began = time.perf_counter()
    raw_path.write_text(json.dumps({"annotations": made}, indent=4))
    content = json.loads(raw_path.read_text())
    for annotation in content["annotations"]:
        for k, part in enumerate(annotation["segmentation"]):
            table = np.array(part, dtype=float)
            table[:, 2] = np.exp(-np.logaddexp(0, -(table[:, 2] - 0.0006132456403200415) / 0.0004943698488906652))
            annotation["segmentation"][k] = table.tolist()
    std_path.write_text(json.dumps(content))
    seconds["JSON"] += time.perf_counter() - began
    return seconds

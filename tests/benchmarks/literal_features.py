"""A plain, literal, per-frame version of the acoustic front end, to measure ours against.

One frame at a time, float64, in the order in which the recipe is told: read 2,400 samples, build the lattice and the
steering matrix again, per band an FFT of every block and an eigendecomposition, the network, per band another
eigendecomposition and the projection onto the dictionary, the reconstruction that nobody reads, the canvas. It uses
torch's and NumPy's own operations in the obvious way and no trick; what the official code is known to recompute or to
throw away (domain notes, section 8, point 9) is recomputed and thrown away here too. Slow on purpose.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.signal import windows
from scipy.spatial import cKDTree
from torch.nn import functional

from sai_core.geometry import EM32_RADIUS_M, directions_to_vectors, em32_capsules_deg

BANDS = 9


def _lattice_and_steering() -> tuple[np.ndarray, np.ndarray]:
    n = np.arange(484)
    colatitude = np.arccos(1 - (2 * n + 1) / 484)
    longitude = 4 * np.pi * n / (1 + np.sqrt(5))
    field = np.stack(
        [np.sin(colatitude) * np.cos(longitude), np.sin(colatitude) * np.sin(longitude), np.cos(colatitude)]
    )
    capsules = EM32_RADIUS_M * directions_to_vectors(*em32_capsules_deg())
    centres = np.linspace(1500, 4500, BANDS + 1)
    wavelength = 340.5 / ((centres[:-1] + centres[1:]).max() / 2 + 500)
    return field, np.exp(-2j * np.pi / wavelength * (capsules @ field))


class LiteralFeatures:
    """Maps of one frame after the other, with the time of each stage in ``seconds``."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        self.state = {
            key: value.to(torch.complex128 if value.is_complex() else torch.float64) for key, value in state.items()
        }
        self.seconds: dict[str, float] = defaultdict(float)
        field, _ = _lattice_and_steering()
        azimuth = np.rad2deg(np.arctan2(field[1], field[0]))
        elevation = np.rad2deg(np.arcsin(field[2]))
        grid = np.meshgrid(np.linspace(-180, 180, 360), np.linspace(90, -90, 180))
        tree = cKDTree(np.column_stack([azimuth, elevation]))
        self.nearest = tree.query(np.column_stack([grid[0].ravel(), grid[1].ravel()]))[1]

    def frame(self, path: Path, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Lattice map (9, 484) and canvas (9, 180, 360) of one frame of a four-channel file."""
        begin = time.perf_counter()
        audio, _ = soundfile.read(path, start=2400 * index, frames=2400, dtype="float32", always_2d=True)
        begin = self._stamp("read", begin)
        matrices = self._visibility(audio)
        begin = self._stamp("visibility", begin)
        with torch.no_grad():
            large = self._upsample(torch.from_numpy(matrices)[None])
            begin = self._stamp("upsample", begin)
            latent = self._lam(large)
        begin = self._stamp("lam", begin)
        canvas = np.zeros((BANDS, 180, 360), np.float32)
        for band in range(BANDS):
            canvas[band] = latent[band][self.nearest].reshape(180, 360)[:, ::-1]
        self._stamp("projection", begin)
        return latent, canvas

    def _stamp(self, stage: str, begin: float) -> float:
        now = time.perf_counter()
        self.seconds[stage] += now - begin
        return now

    def _visibility(self, audio: np.ndarray) -> np.ndarray:
        _lattice_and_steering()
        edges = np.linspace(1500, 4500, BANDS + 1)
        window = windows.tukey(240, alpha=1.0)[None, :, None]
        made = []
        for centre in (edges[:-1] + edges[1:]) / 2:
            blocks = audio.reshape(10, 240, audio.shape[1])
            spectrum = np.fft.fft(blocks * window, axis=1)
            first, last = int((centre - 25) * 240 / 24000), int((centre + 25) * 240 / 24000)
            band = spectrum[:, first : last + 1].sum(axis=1)
            matrix = (band[:, :, None].conj() * band[:, None, :]).sum(axis=0)
            values, vectors = np.linalg.eigh(matrix)
            values = np.clip(values / values.max(), 0, None) if values.max() > 0 else np.zeros_like(values)
            made.append((vectors * values) @ vectors.conj().T)
        return np.array(made)

    def _layer(self, name: str, x: torch.Tensor, stride: int = 1, padding: int = 0) -> torch.Tensor:
        state = self.state
        if f"{name}.deconv.weight" in state:
            weight, bias = state[f"{name}.deconv.weight"], state[f"{name}.deconv.bias"]
            x = functional.conv_transpose2d(x, weight, bias, stride, padding)
        else:
            x = functional.conv2d(x, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"], stride, padding)
        return functional.prelu(x, state[f"{name}.act.weight"]) if f"{name}.act.weight" in state else x

    def _upsample(self, matrices: torch.Tensor) -> torch.Tensor:
        parts = []
        for part, x in (("rel", matrices.real), ("imag", matrices.imag)):
            x = self._layer(f"cdbpn.feat0_{part}", x, 1, 1)
            x = self._layer(f"cdbpn.feat1_{part}", x)
            large = []
            for stage in ("up1", "down1", "up2"):
                name = f"cdbpn.{stage}_{part}.{stage.rstrip('12')}_conv"
                once = self._layer(f"{name}1", x, 8, 2)
                back = self._layer(f"{name}2", once, 8, 2)
                x = self._layer(f"{name}3", back - x, 8, 2) + once
                if stage != "down1":
                    large.append(x)
            parts.append(self._layer(f"cdbpn.output_conv_{part}", torch.cat([large[1], large[0]], dim=1), 1, 1))
        return torch.complex(parts[0], parts[1])

    def _lam(self, matrices: torch.Tensor) -> np.ndarray:
        rows = []
        for band in range(BANDS):
            values, vectors = torch.linalg.eigh(matrices[:, band])
            scaled = vectors * torch.sqrt(values.clamp_min(0))[:, None, :]
            projected = self.state["lam.D"][band].conj().T @ scaled
            rows.append(torch.linalg.norm(projected, dim=2) ** 2 - self.state["lam.tau"][band])
        raw = torch.stack(rows, dim=1)
        latent = raw
        for index in range(1, 5):
            weight = self.state[f"lam.denoise{index}.weight"]
            mixed = functional.conv1d(
                latent, weight, self.state[f"lam.denoise{index}.bias"], padding=weight.shape[-1] // 2
            )
            latent = functional.relu(mixed + raw)
        begin = time.perf_counter()
        steering = torch.from_numpy(_lattice_and_steering()[1])
        for band in range(BANDS):
            _ = steering @ torch.diag_embed(latent[:, band].to(torch.complex128)) @ steering.conj().T
        self.seconds["of which unused product"] += time.perf_counter() - begin
        return latent[0].numpy()

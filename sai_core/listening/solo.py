"""One source alone, and everything but it: a minimum-variance beam that follows a track.

Per frequency, of all weights that pass the source unchanged, those with the least power of the surroundings:

    w = R^-1 a / (a^H R^-1 a),     R = S + mu C + eps I + kappa sum_o b_o b_o^H,

``a`` the array's steering towards the source (rigid sphere, or FOA), ``S`` the covariance of the surroundings, ``C``
the one of a diffuse field (so that little data and errors of direction do no harm), ``b_o`` the steering towards the
other sources of the frame: linear constraints with a price, which become exact zeros as ``kappa`` grows. ``S`` is
gathered over 2.5 seconds from the time-frequency cells that do not belong to the source: each is weighted by ``(1 -
m)^4`` with ``m`` the share of a first, data-independent beam at the source against those at the other sources (or
against what is left of the sound, where no other source is known). Without the masks the source's own reflections count
as surroundings, and the beam silences what it is to play (10 dB at 0.2 s of reverberation).

Transforms of 40 ms every 10 ms; weights at the middle of each frame of 100 ms, blended in between; blocks on a grid
fixed to the recording, so that any windows give the same samples, and memory does not depend on length.

References
----------
B. Van Veen and K. Buckley, "Beamforming: a versatile approach to spatial filtering", IEEE ASSP Magazine 5 (1988), for
minimum variance and linear constraints; H. Erdogan et al., "Improved MVDR beamforming using single-channel mask
prediction networks", Interspeech 2016, for masked covariances (theirs from networks, ours from beams).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import fft

from sai_core.acoustics import rigid_sphere
from sai_core.errors import check_known
from sai_core.geometry import (
    EM32_RADIUS_M,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    directions_to_vectors,
    great_circle_deg,
)
from sai_core.listening.encoding import Array, Reader, capsules_of, check_window, encoder_matrix
from sai_core.listening.sources import Track, directions_in

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
Complex64Array = npt.NDArray[np.complex64]
Part = Literal["solo", "around"]

SIZE: Final[int] = 960
"""Samples of a transform, 40 ms: long against the 6 samples that sound takes across the sphere."""

HOP: Final[int] = SIZE // 4
_PER_FRAME: Final[int] = SAMPLES_PER_FRAME // HOP
_BLOCK_FRAMES: Final[int] = 5
_BLOCK: Final[int] = _BLOCK_FRAMES * _PER_FRAME
"""Transforms of a block, half a second: one covariance of the surroundings."""

_CONTEXT: Final[int] = 2
"""Blocks to each side whose surroundings count as well."""

_KEPT: Final[int] = 13 * (2 * _CONTEXT + 4)
"""Results of single blocks and frames that are kept (13 a block): a block, its surroundings and some: 110 MB."""

_DIFFUSE: Final[float] = 0.1
_NOISE: Final[float] = 1e-3
_ZEROS: Final[float] = 1.0
"""mu, eps and kappa, each against a mean power of 1 in a channel."""

_FIRST_NOISE: Final[float] = 1e-2
_MASK_POWER: Final[int] = 4

NEAREST_DEG: Final[dict[Array, float]] = {"foa": 20.0, "mic": 20.0, "eigen": 10.0}
"""Other sources closer than this are left in: a zero there would take the source along."""


class Solo:
    """The sound of one source, or of everything but it, by windows.

    Parameters
    ----------
    array : {"foa", "mic", "eigen"}
        What the channels are.
    read : callable
        Samples of all channels at 24 kHz.
    track : Track
        The source; its directions are interpolated between frames and held before and after.
    others : sequence of Track
        Other sources: silenced in the frames in which they have rows.

    Attributes
    ----------
    too_near : set of int
        Frames (of those rendered so far) in which another source was too near to be silenced.
    too_many : set of int
        Frames with more other sources than the channels can silence; the nearest are.
    """

    def __init__(self, array: Array, read: Reader, track: Track, others: Sequence[Track] = ()) -> None:
        self._array: Array = array
        self._read = read
        self.track = track
        self._others = tuple(others)
        self._n = 32 if array == "eigen" else 4
        self._freq = fft.rfftfreq(SIZE, 1.0 / SAMPLE_RATE_HZ)
        self._window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)).astype(np.float32)
        if array == "foa":
            diffuse = np.broadcast_to(np.diag([1.0, 1 / 3, 1 / 3, 1 / 3]), (self._freq.size, 4, 4))
            omni = np.zeros((self._freq.size, 4))
            omni[:, 0] = 1.0
        else:
            diffuse = rigid_sphere.diffuse_coherence(self._freq, capsules_deg=capsules_of(array))
            omni = np.conj(encoder_matrix(array, 0, self._freq)[:, 0])
            self._capsules = directions_to_vectors(*capsules_of(array))
            # as rigid_sphere.steering, without the mode strengths for every frame anew
            wavenumber = 2 * np.pi * self._freq / rigid_sphere.SPEED_OF_SOUND_M_S
            order = rigid_sphere.expansion_order(float(wavenumber[-1]) * EM32_RADIUS_M, tail=1e-6)
            strength = rigid_sphere.mode_strength(order, wavenumber, convention="fft")
            self._strength = strength * (2 * np.arange(order + 1) + 1)
        scale = np.trace(diffuse, axis1=1, axis2=2) / self._n
        self._diffuse = (diffuse / scale[:, None, None]).astype(np.complex64)
        self._omni = omni.astype(np.complex64)
        eye = np.eye(self._n)
        self._first = np.linalg.inv(diffuse / scale[:, None, None] + _FIRST_NOISE * eye).astype(np.complex64)
        self._eye = eye.astype(np.complex64)
        self._kept: OrderedDict[tuple[str, int], Complex64Array] = OrderedDict()
        self.too_near: set[int] = set()
        self.too_many: set[int] = set()

    def render(self, start: int, stop: int, part: Part = "solo") -> Float32Array:
        """Samples [start, stop) of the source, or of everything but it; float32, shape (stop - start,).

        Parameters
        ----------
        start, stop : int
            0 <= start <= stop, at 24 kHz.
        part : {"solo", "around"}
            A plane wave from the source comes out as it is, or not at all; level as in the omnidirectional channel.
        """
        check_window(start, stop)
        check_known("Part", part, get_args(Part))
        out = np.zeros(stop - start + 2 * SIZE, dtype=np.float32)
        # transform t is centred at sample t * HOP
        first, last = (start - SIZE // 2) // HOP, -(-(stop + SIZE // 2) // HOP)
        for block in range(first // _BLOCK, last // _BLOCK + 1):
            pieces = fft.irfft(self._output(block, part), SIZE, axis=1) * (0.5 * self._window)
            for row, piece in enumerate(pieces):
                at = (block * _BLOCK + row) * HOP - SIZE // 2 - start + SIZE
                if 0 <= at <= out.size - SIZE:
                    out[at : at + SIZE] += piece
        return out[SIZE : SIZE + stop - start]

    def _remember(self, kind: str, block: int, value: Complex64Array) -> Complex64Array:
        self._kept[kind, block] = value
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return value

    def _spectra(self, block: int) -> Complex64Array:
        """Transforms of a block, shape (bins, channels, transforms)."""
        found = self._kept.get(("spectra", block))
        if found is not None:
            return found
        first = block * _BLOCK * HOP - SIZE // 2
        samples = self._read(first, first + (_BLOCK - 1) * HOP + SIZE)
        pieces = np.lib.stride_tricks.sliding_window_view(samples, SIZE, axis=0)[::HOP] * self._window
        spectra = fft.rfft(pieces, axis=2)
        return self._remember("spectra", block, np.ascontiguousarray(spectra.transpose(2, 1, 0)))

    def _steering(self, frame: int) -> Complex64Array:
        """Towards the source, then the other sources of a frame: shape (bins, channels, 1 + others)."""
        found = self._kept.get(("steering", frame))
        if found is not None:
            return found
        azimuth, elevation = self.track.at(frame)
        others = directions_in(self._others, frame)
        if others[0].size:
            angle = great_circle_deg(azimuth, elevation, *others)
            far = np.flatnonzero(angle >= NEAREST_DEG[self._array])
            if far.size < angle.size:
                self.too_near.add(frame)
            if far.size > self._n - 2:
                self.too_many.add(frame)
                far = far[np.argsort(angle[far], kind="stable")[: self._n - 2]]
            azimuth = np.concatenate([azimuth, others[0][far]])
            elevation = np.concatenate([elevation, others[1][far]])
        if self._array == "foa":
            harmonics = rigid_sphere.sh_matrix(1, azimuth, elevation, normalisation="sn3d").T
            steering = np.broadcast_to(harmonics, (self._freq.size, *harmonics.shape)).astype(np.complex64)
        else:
            cosine = self._capsules @ directions_to_vectors(azimuth, elevation).T
            legendre = np.polynomial.legendre.legvander(np.clip(cosine, -1.0, 1.0), self._strength.shape[1] - 1)
            steering = np.moveaxis(legendre @ self._strength.T, -1, 0).astype(np.complex64)
        return self._remember("steering", frame, steering)

    def _surroundings(self, block: int) -> Complex64Array:
        """Masked covariance of one block, shape (bins, channels, channels), not normalised."""
        found = self._kept.get(("surroundings", block))
        if found is not None:
            return found
        spectra = self._spectra(block)
        weighted = np.empty_like(spectra)
        omni = np.einsum("fc,fct->ft", np.conj(self._omni), spectra)
        for part in range(_BLOCK_FRAMES):
            steering = self._steering(block * _BLOCK_FRAMES + part)
            filtered = self._first @ steering
            inner = np.conj(steering.swapaxes(1, 2)) @ filtered
            # sources of one direction at low frequencies: the small load keeps what cannot be told apart apart
            load = 1e-3 * np.trace(inner, axis1=1, axis2=2).real[:, None, None] / inner.shape[1]
            weights = filtered @ np.linalg.inv(inner + load * np.eye(inner.shape[1], dtype=np.complex64))
            span = slice(part * _PER_FRAME, (part + 1) * _PER_FRAME)
            cells = np.conj(weights.swapaxes(1, 2)) @ spectra[:, :, span]
            rival = cells[:, 1:] if steering.shape[2] > 1 else (omni[:, span] - cells[:, 0])[:, None]
            own, rivals = _spread(np.abs(cells[:, 0]) ** 2), _spread((np.abs(rival) ** 2).sum(axis=1))
            share = rivals / (own + rivals + 1e-20)
            weighted[:, :, span] = spectra[:, :, span] * (share**_MASK_POWER)[:, None]
        return self._remember("surroundings", block, weighted @ np.conj(spectra.swapaxes(1, 2)))

    def _inverse(self, block: int) -> Complex64Array:
        """Inverse of the loaded covariance around a block."""
        found = self._kept.get(("inverse", block))
        if found is not None:
            return found
        total = self._surroundings(block).copy()
        for step in range(1, _CONTEXT + 1):
            total += self._surroundings(block - step) + self._surroundings(block + step)
        power = np.trace(total, axis1=1, axis2=2).real / self._n
        total /= np.maximum(power, 1e-20)[:, None, None]
        return self._remember("inverse", block, np.linalg.inv(total + _DIFFUSE * self._diffuse + _NOISE * self._eye))

    def _weights(self, frame: int) -> Complex64Array:
        """Weights of a frame's middle, shape (bins, channels)."""
        found = self._kept.get(("weights", frame))
        if found is not None:
            return found
        inverse, steering = self._inverse(frame // _BLOCK_FRAMES), self._steering(frame)
        filtered = inverse @ steering
        inner = np.conj(steering.swapaxes(1, 2)) @ filtered
        best = filtered[:, :, :1]
        if steering.shape[2] > 1:
            # Woodbury's identity: the price of the other sources on top of the inverse that is at hand
            price = inner[:, 1:, 1:] + np.eye(steering.shape[2] - 1, dtype=np.complex64) / np.float32(_ZEROS)
            best = best - filtered[:, :, 1:] @ np.linalg.solve(price, inner[:, 1:, :1])
        passed = (np.conj(steering[:, :, :1].swapaxes(1, 2)) @ best).real
        return self._remember("weights", frame, (best / np.maximum(passed, 1e-20))[:, :, 0])

    def _output(self, block: int, part: Part) -> Complex64Array:
        """Spectra of the result in a block, shape (transforms, bins)."""
        spectra = self._spectra(block)
        out = np.zeros((_BLOCK, self._freq.size), dtype=np.complex64)
        number = block * _BLOCK + np.arange(_BLOCK)
        # weights of a frame stand at its middle
        position = (number - _PER_FRAME // 2) / _PER_FRAME
        for frame in range(block * _BLOCK_FRAMES - 1, (block + 1) * _BLOCK_FRAMES + 1):
            share = np.maximum(1.0 - np.abs(position - frame), 0.0).astype(np.float32)
            rows = np.flatnonzero(share)
            if not rows.size:
                continue
            weights = self._weights(frame)
            if part == "around":
                steering = self._steering(frame)[:, :, 0]
                level = np.einsum("fc,fc->f", np.conj(self._omni), steering)
                weights = self._omni - weights * np.conj(level)[:, None]
            out[rows] += (np.einsum("fc,fct->tf", np.conj(weights), spectra[:, :, rows])) * share[rows, None]
        return out


def _spread(power: Float32Array) -> Float32Array:
    """Power of cells, smoothed over three bins (a cell's own value is a poor estimate)."""
    out = 0.5 * power
    out[1:] += 0.25 * power[:-1]
    out[:-1] += 0.25 * power[1:]
    return out

"""What can be heard of a recording, as lines: functions from a window of samples to the samples heard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.acoustics import rigid_sphere
from sai_core.geometry import SAMPLES_PER_FRAME
from sai_core.listening.beams import Beam, adaptive_weights, beam_encoder, beam_weights
from sai_core.listening.binaural import ears
from sai_core.listening.encoding import Encoder, Reader, n_harmonics
from sai_core.listening.signals import Signal
from sai_core.listening.solo import Part, Solo
from sai_core.listening.sources import Track

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

ADAPTS_OVER: Final[int] = 5
"""Frames to each side from which an adaptive beam learns what sounds."""

PLACED_ORDER = 4
"""Order of a single line's scene, as of 32 capsules."""


def towards(azimuth_deg: float, elevation_deg: float) -> Track:
    """A track that stays where it is (of no class)."""
    return Track(-1, -1, np.zeros(1, dtype=np.int64), np.array([azimuth_deg]), np.array([elevation_deg]))


def steered(signal: Signal, track: Track, *, beam: Beam = "max-re", order: int | None = None) -> Reader:
    """The sound of a direction that follows a track: float32, shape (samples, 1).

    A plane wave from there comes out as it is, whatever the beam. Weights stand at the middle of each frame and change
    linearly in between.
    """
    encoder = beam_encoder(signal.array, beam, order)

    def read(start: int, stop: int) -> Float32Array:
        weights = _over_time(lambda frames: beam_weights(beam, encoder.order, *track.at(frames)), start, stop)
        return np.einsum("th,th->t", encoder.encode(signal.read, start, stop), weights)[:, None]

    return read


def adaptive(signal: Signal, track: Track) -> Reader:
    """As :func:`steered`, of order 1, with its zeros where the sound of the half second before and after comes from."""
    encoder = Encoder(signal.array, 1)

    @lru_cache(maxsize=64)
    def covariance(frame: int) -> FloatArray:
        if not 0 <= frame < signal.n_frames:
            return np.zeros((4, 4))
        harmonics = encoder.encode(signal.read, frame * SAMPLES_PER_FRAME, (frame + 1) * SAMPLES_PER_FRAME)
        return np.asarray(harmonics.T.astype(np.float64) @ harmonics)

    def weights_of(frames: IntArray) -> FloatArray:
        azimuth, elevation = track.at(frames)
        around = [
            np.sum([covariance(k) for k in range(frame - ADAPTS_OVER, frame + ADAPTS_OVER + 1)], axis=0)
            for frame in frames.tolist()
        ]
        return np.stack([adaptive_weights(*knot) for knot in zip(around, azimuth, elevation, strict=True)])

    def read(start: int, stop: int) -> Float32Array:
        weights = _over_time(weights_of, start, stop)
        return np.einsum("th,th->t", encoder.encode(signal.read, start, stop), weights)[:, None]

    return read


def parted(signal: Signal, track: Track, others: Sequence[Track], part: Part) -> tuple[Reader, Solo]:
    """A source alone or everything but it, shape (samples, 1); and the beam, which counts what it could not do."""
    solo = Solo(signal.array, signal.read, track, others)
    return (lambda start, stop: solo.render(start, stop, part)[:, None]), solo


def scene(signal: Signal, *, yaw_deg: float = 0.0, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> Reader:
    """The whole scene at the ears of a head in the array's place, shape (samples, 2): left, right."""
    both = ears(Encoder(signal.array), yaw_deg=yaw_deg, pitch_deg=pitch_deg, roll_deg=roll_deg)
    return lambda start, stop: both.apply(signal.read, start, stop)


def omni(signal: Signal) -> Reader:
    """All directions alike, shape (samples, 1): the channel W."""
    encoder = Encoder(signal.array, 0)
    return lambda start, stop: encoder.encode(signal.read, start, stop)


def placed(
    line: Reader, track: Track, *, yaw_deg: float = 0.0, pitch_deg: float = 0.0, roll_deg: float = 0.0
) -> Reader:
    """A single line where its source is, at the ears of a head: float32, shape (samples, 2)."""
    both = ears(_Harmonics(), yaw_deg=yaw_deg, pitch_deg=pitch_deg, roll_deg=roll_deg)

    def harmonics(start: int, stop: int) -> Float32Array:
        out = np.zeros((stop - start, n_harmonics(PLACED_ORDER)), dtype=np.float32)
        low = max(start, 0)
        if low < stop:
            there = _over_time(
                lambda frames: rigid_sphere.sh_matrix(PLACED_ORDER, *track.at(frames), normalisation="n3d"), low, stop
            )
            out[low - start :] = line(low, stop) * there
        return out

    return lambda start, stop: both.apply(harmonics, start, stop)


class _Harmonics(Encoder):
    """Stands for a recording whose channels are N3D harmonics already."""

    def __init__(self) -> None:
        super().__init__("eigen", PLACED_ORDER)

    def matrix(self) -> npt.NDArray[np.complex128]:
        """The identity."""
        return np.eye(self.n_out, dtype=np.complex128)[None]


def samples_to_frame(sample: npt.ArrayLike) -> FloatArray:
    """Frame of samples at 24 kHz, where what holds for a whole frame stands at its middle."""
    return np.asarray(sample, dtype=np.float64) / SAMPLES_PER_FRAME - 0.5


def _over_time(weights_of: Callable[[IntArray], FloatArray], start: int, stop: int) -> Float32Array:
    """Weights of every sample of a window, linear between the middles of frames: (samples, weights), float32."""
    position = samples_to_frame(np.arange(start, max(stop, start + 1)))
    frames = np.arange(int(np.floor(position[0])), int(np.floor(position[-1])) + 2)
    knots = weights_of(frames).astype(np.float32)
    position = position[: stop - start]
    before = np.floor(position).astype(np.int64) - frames[0]
    share = (position - np.floor(position)).astype(np.float32)[:, None]
    return knots[before] * (1 - share) + knots[before + 1] * share

"""One source's sound, from its mouth to every capsule: static sources by convolution, moving ones along their path.

A static source is convolved with one 36-channel response. For a moving source the direct sound and the reflections
off up to two walls are delayed sample by sample (so that pitch and comb filters glide as they do in life) and their
directions follow in steps of 20 ms, linearly blended; the other image sources are responses at points of the path,
cross-faded; the tail, which has no direction, stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import fft, signal

from sai_core.acoustics.rigid_sphere import SPEED_OF_SOUND_M_S
from sai_core.errors import InputError
from sai_core.geometry import SAMPLE_RATE_HZ, vectors_to_directions
from sai_core.simulation import room as rooms
from sai_core.simulation import sphere

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

_KNOT: Final[int] = SAMPLE_RATE_HZ // 50
"""Samples between updates of directions and gains: 20 ms, at most 2 degrees for a walker at 0.8 m."""

_GLIDING_REFLECTIONS: Final[int] = 2
_STEP_M: Final[float] = 0.35
"""Distance along the path between the cross-faded responses of the higher reflections."""

_OVERSAMPLING: Final[int] = 8


@dataclass(frozen=True)
class Path:
    """Piecewise linear path in room coordinates.

    Attributes
    ----------
    times_s : float64, shape (k,)
        Strictly rising; before the first and after the last the source stands still.
    points_m : float64, shape (k, 3)
    """

    times_s: FloatArray
    points_m: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "times_s", np.atleast_1d(np.asarray(self.times_s, dtype=np.float64)))
        object.__setattr__(self, "points_m", np.atleast_2d(np.asarray(self.points_m, dtype=np.float64)))
        if self.points_m.shape != (self.times_s.size, 3) or self.times_s.size == 0:
            raise InputError(f"A path needs one point (x, y, z) per time; got {self.points_m.shape}.")
        if np.any(np.diff(self.times_s) <= 0):
            raise InputError("The times of a path must rise.")

    def at(self, time_s: npt.ArrayLike) -> FloatArray:
        """Positions at times, shape (..., 3)."""
        time = np.asarray(time_s, dtype=np.float64)
        return np.stack([np.interp(time, self.times_s, self.points_m[:, axis]) for axis in range(3)], axis=-1)

    def moves_between(self, start_s: float, stop_s: float) -> bool:
        """Whether the source moves by more than a centimetre in a span of time."""
        inside = self.times_s[(self.times_s > start_s) & (self.times_s < stop_s)]
        points = self.at(np.concatenate([[start_s], inside, [stop_s]]))
        return bool(np.abs(points - points[0]).max() > 0.01)

    @property
    def moves(self) -> bool:
        """Whether the source ever moves by more than a centimetre."""
        return bool(np.abs(self.points_m - self.points_m[0]).max() > 0.01)


@dataclass(frozen=True)
class Heard:
    """What arrives of one sound.

    Attributes
    ----------
    start : int
        Sample of the recording at which the arrays begin.
    channels : float32, shape (36, n)
        Capsules, then FOA (see :func:`sai_core.simulation.sphere.decode`).
    direct : float64, shape (n,)
        The direct sound alone at the sphere's centre, as if the sphere were not there.
    """

    start: int
    channels: Float32Array
    direct: FloatArray


def propagate(
    sound: FloatArray,
    start: int,
    path: Path,
    room: rooms.Room,
    listener: rooms.Listener,
    rng: np.random.Generator,
    *,
    anechoic: bool = False,
) -> Heard:
    """Carry one sound to the array.

    Parameters
    ----------
    sound : float64, shape (n,)
        Free-field pressure at one metre.
    start : int
        Sample of the recording at which the sound is emitted.
    path : Path
        Where the source is, over the recording's time.
    room, listener
        The scene; the source must be inside of the room and outside the array.
    rng : numpy.random.Generator
        For the diffuse tail.
    anechoic : bool
        Direct sound only.

    Raises
    ------
    InputError
        A source outside the room or within 20 cm of the array.
    """
    n = sound.size
    seconds = np.arange(0, n + 1, max(n // 50, 1)) / SAMPLE_RATE_HZ + start / SAMPLE_RATE_HZ
    points = path.at(seconds)
    if (points < 0).any() or (points > np.asarray(room.size_m)).any():
        raise InputError(f"A source at {points[0].round(2).tolist()} m leaves the room of {room.size_m} m.")
    if np.linalg.norm(points - np.asarray(listener.position_m), axis=1).min() < 0.2:
        raise InputError("A source comes within 20 cm of the array; plane waves do not describe that.")
    images = rooms.image_set(room, reach_m=rooms.EARLY_S * SPEED_OF_SOUND_M_S)
    if anechoic:
        images = images.select(images.reflections == 0)
    moving = path.moves_between(start / SAMPLE_RATE_HZ, (start + n) / SAMPLE_RATE_HZ)
    if not moving:
        return _static(sound, start, points[0], room, images, listener, rng, anechoic=anechoic)
    return _moving(sound, start, path, room, images, listener, rng, anechoic=anechoic)


def _static(
    sound: FloatArray,
    start: int,
    point: FloatArray,
    room: rooms.Room,
    images: rooms.ImageSet,
    listener: rooms.Listener,
    rng: np.random.Generator,
    *,
    anechoic: bool,
) -> Heard:
    early = rooms.early_field(room, images, point, listener, blend=not anechoic)
    field = np.pad(early, ((0, 0), (0, 512)))
    if not anechoic:
        tail = rooms.late_field(room, rng, level=rooms.tail_level(room, early))
        length = max(field.shape[1], tail.shape[1] + 512)
        field = np.zeros((sphere.N_SH, length), dtype=np.float32)
        field[:, : early.shape[1]] += early
        field[:, : tail.shape[1]] += tail
    response = sphere.decode(field)
    distance = float(np.linalg.norm(point - np.asarray(listener.position_m)))
    direct = np.zeros(sound.size + field.shape[1])
    delay = round(distance / SPEED_OF_SOUND_M_S * SAMPLE_RATE_HZ)
    direct[delay : delay + sound.size] = sound / distance
    return Heard(start, _convolve(sound, response), direct[: sound.size + response.shape[1] - 1])


def _moving(
    sound: FloatArray,
    start: int,
    path: Path,
    room: rooms.Room,
    images: rooms.ImageSet,
    listener: rooms.Listener,
    rng: np.random.Generator,
    *,
    anechoic: bool,
) -> Heard:
    gliding = images.select(images.reflections <= _GLIDING_REFLECTIONS)
    span = sound.size + 3 * 1024
    n_knots = span // _KNOT + 2
    knot_times = (start + np.arange(n_knots) * _KNOT) / SAMPLE_RATE_HZ
    local = listener.to_local(gliding.positions_m(room, path.at(knot_times)))
    distance = np.linalg.norm(local, axis=-1)
    weights = sphere.encode(*(a.ravel() for a in vectors_to_directions(local))).reshape(*distance.shape, sphere.N_SH)
    gains = (gliding.gain / distance).astype(np.float32)

    # what each gliding image sounds like before delay: the dry sound after 0, 1 and 2 walls
    filtered = _after_walls(sound, room, int(gliding.reflections.max(initial=0)))
    fine = [signal.resample_poly(x, _OVERSAMPLING, 1) for x in filtered]
    field = np.zeros((sphere.N_SH, (n_knots - 1) * _KNOT), dtype=np.float32)
    time = np.arange(field.shape[1])
    delayed = np.empty((len(gliding.gain), field.shape[1]), dtype=np.float32)
    knots = np.arange(n_knots) * _KNOT
    for i in range(len(gliding.gain)):
        delay = np.interp(time, knots, distance[:, i]) / SPEED_OF_SOUND_M_S * SAMPLE_RATE_HZ
        delayed[i] = _read(fine[int(gliding.reflections[i])], (time - delay) * _OVERSAMPLING)
    ramp = (np.arange(_KNOT) / _KNOT).astype(np.float32)
    scaled = weights * gains[:, :, None]
    for k in range(n_knots - 1):
        block = delayed[:, k * _KNOT : (k + 1) * _KNOT]
        field[:, k * _KNOT : (k + 1) * _KNOT] = scaled[k].T @ block + (scaled[k + 1] - scaled[k]).T @ (block * ramp)
    direct_index = int(np.flatnonzero(gliding.reflections == 0)[0])
    direct = delayed[direct_index] * np.interp(time, knots, 1.0 / distance[:, direct_index])
    channels = sphere.decode(field)
    if anechoic:
        return Heard(start, channels, direct)

    rest = images.select(images.reflections > _GLIDING_REFLECTIONS)
    anchors = _anchors(path, start / SAMPLE_RATE_HZ, (start + sound.size) / SAMPLE_RATE_HZ)
    middle = rooms.early_field(room, images, path.at(anchors[len(anchors) // 2]), listener)
    tail = rooms.late_field(room, rng, level=rooms.tail_level(room, middle))
    parts = [(0, _convolve(sound, sphere.decode(np.pad(tail, ((0, 0), (0, 512))))))]
    samples = np.arange(sound.size)
    centres = anchors * SAMPLE_RATE_HZ - start
    for k, anchor in enumerate(anchors):
        share = np.interp(samples, centres, np.eye(len(anchors))[k]) if len(anchors) > 1 else np.ones(sound.size)
        active = np.flatnonzero(share)
        if active.size == 0:
            continue
        first, last = int(active[0]), int(active[-1]) + 1
        early = rooms.early_field(room, rest, path.at(anchor), listener)
        response = sphere.decode(np.pad(early, ((0, 0), (0, 512))))
        parts.append((first, _convolve(sound[first:last] * share[first:last], response)))
    length = max([channels.shape[1]] + [first + part.shape[1] for first, part in parts])
    out = np.zeros((sphere.N_OUT, length), dtype=np.float32)
    out[:, : channels.shape[1]] = channels
    for first, part in parts:
        out[:, first : first + part.shape[1]] += part
    return Heard(start, out, np.pad(direct, (0, length - direct.size)))


def _anchors(path: Path, start_s: float, stop_s: float) -> FloatArray:
    """Times along a path about every :data:`_STEP_M` of movement, both ends included."""
    time = np.linspace(start_s, stop_s, 200)
    travelled = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path.at(time), axis=0), axis=1))])
    count = max(2, int(np.ceil(travelled[-1] / _STEP_M)) + 1)
    # a source that rests for a while has equal travelled values: nudge them so that the inverse exists
    travelled = travelled + np.arange(time.size) * 1e-6
    return np.interp(np.linspace(0, travelled[-1], count), travelled, time)


def _after_walls(sound: FloatArray, room: rooms.Room, reflections: int) -> list[FloatArray]:
    size = fft.next_fast_len(sound.size + 256, real=True)
    spectrum = fft.rfft(sound, size)
    wall = room.tilt(fft.rfftfreq(size, 1.0 / SAMPLE_RATE_HZ))
    return [fft.irfft(spectrum * wall**count, size)[: sound.size] for count in range(reflections + 1)]


def _read(x: FloatArray, position: FloatArray) -> FloatArray:
    """Linear interpolation of ``x`` at fractional positions, 0 outside."""
    index = np.floor(position).astype(np.int64)
    part = position - index
    padded = np.concatenate([[0.0], x, [0.0, 0.0]])
    index = np.clip(index + 1, 0, padded.size - 2)
    outside = (position < -1) | (position > x.size)
    value = padded[index] * (1 - part) + padded[index + 1] * part
    return np.where(outside, 0.0, value)


def _convolve(sound: FloatArray, response: Float32Array) -> Float32Array:
    """Convolve one signal with every row, float32, shape (rows, n + m - 1)."""
    n = sound.size + response.shape[1] - 1
    if sound.size <= 8 * response.shape[1]:
        size = fft.next_fast_len(n, real=True)
        spectrum = fft.rfft(sound.astype(np.float32), size)
        return np.asarray(fft.irfft(fft.rfft(response, size, axis=1) * spectrum, size, axis=1)[:, :n], dtype=np.float32)
    return signal.oaconvolve(response, sound.astype(np.float32)[None], axes=1).astype(np.float32)

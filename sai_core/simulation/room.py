"""A shoebox room: image sources for the early sound, a diffuse tail for the late one, both on the rigid sphere.

Pressure is relative to the source's free-field pressure at one metre, so that a path of length r has the gain 1 / r
(J. B. Allen and D. A. Berkley, JASA 65 (1979)). A wall multiplies a wave by its reflection factor, times one
frequency-dependent factor that all walls share. Late sound is an isotropic Gaussian field whose energy density
``4 pi c / V * exp(-13.8 t / T60(f))`` follows from the density of image sources and Eyring's decay
(C. F. Eyring, JASA 1 (1930)); it takes over from the image sources 60 ms after the direct sound was emitted, several
times the mixing time of rooms of this size. No scattering, no air absorption, sources without directivity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import fft, sparse

from sai_core.acoustics.rigid_sphere import SPEED_OF_SOUND_M_S
from sai_core.errors import InputError
from sai_core.geometry import SAMPLE_RATE_HZ, vectors_to_directions
from sai_core.simulation import sphere

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

EARLY_S: Final[float] = 0.060
"""Span of the image sources, seconds after emission."""

_BLEND_S: Final[float] = 0.010
"""Length of the power-complementary blend from image sources to the tail."""

_SINC_HALF: Final[int] = 16
_MAX_REFLECTIONS: Final[int] = 24


@dataclass(frozen=True)
class Room:
    """A box with absorbing walls.

    Attributes
    ----------
    size_m : tuple of 3 floats
        Length, width, height; the corner is at the origin.
    reflection : tuple of 6 floats
        Pressure reflection factors at low frequencies of the walls x = 0, x = Lx, y = 0, y = Ly, floor, ceiling,
        in [0, 1).
    tilt_hz : float
        Where the walls begin to absorb more: each reflection has the further factor
        ``(1 + (f / tilt_hz)^2) ^ -0.06``.
    """

    size_m: tuple[float, float, float]
    reflection: tuple[float, float, float, float, float, float]
    tilt_hz: float

    def __post_init__(self) -> None:
        if len(self.size_m) != 3 or min(self.size_m) <= 0.5:
            raise InputError(f"The room's size is {self.size_m}; expected three lengths above 0.5 m.")
        if len(self.reflection) != 6 or not all(0 <= r < 1 for r in self.reflection):
            raise InputError(f"Reflection factors are {self.reflection}; expected six in [0, 1).")
        if not self.tilt_hz > 0:
            raise InputError(f"tilt_hz is {self.tilt_hz}; expected a frequency above 0.")

    @property
    def volume_m3(self) -> float:
        """Volume in cubic metres."""
        return float(np.prod(self.size_m))

    def wall_areas_m2(self) -> FloatArray:
        """Areas of the six walls in the order of ``reflection``."""
        x, y, z = self.size_m
        return np.array([y * z, y * z, x * z, x * z, x * y, x * y])

    def tilt(self, freq_hz: npt.ArrayLike) -> FloatArray:
        """Factor of one reflection at frequencies, shared by all walls."""
        return (1.0 + (np.asarray(freq_hz, dtype=np.float64) / self.tilt_hz) ** 2) ** -0.06

    def rt60_s(self, freq_hz: npt.ArrayLike) -> FloatArray:
        """Reverberation time by Eyring's formula at frequencies, seconds."""
        areas = self.wall_areas_m2()
        kept = np.multiply.outer(self.tilt(freq_hz) ** 2, np.square(self.reflection))
        mean_absorption = ((1 - kept) * areas).sum(axis=-1) / areas.sum()
        decay = -areas.sum() * np.log1p(-mean_absorption)
        return 24 * np.log(10) / SPEED_OF_SOUND_M_S * self.volume_m3 / decay


def draw_room(rng: np.random.Generator, *, rt60_s: tuple[float, float] = (0.2, 0.8)) -> Room:
    """Draw a room with a reverberation time (Eyring, 1 kHz) uniform in a range where the walls allow it."""
    size = (float(rng.uniform(4.2, 8.5)), float(rng.uniform(3.8, 6.5)), float(rng.uniform(2.5, 3.4)))
    target = float(rng.uniform(*rt60_s))
    tilt_hz = float(rng.uniform(2500, 6000))
    spread = np.exp(0.2 * rng.standard_normal(6))
    low, high = 0.0, 1.0
    # absorption of each wall = level * spread; bisect the level for the wanted time at 1 kHz
    for _ in range(40):
        level = 0.5 * (low + high)
        absorption = np.clip(level * spread, 0.01, 0.95)
        a = np.sqrt(1 - absorption).tolist()
        room = Room(size, (a[0], a[1], a[2], a[3], a[4], a[5]), tilt_hz)
        if float(room.rt60_s(1000.0)) > target:
            low = level
        else:
            high = level
    return room


@dataclass(frozen=True)
class ImageSet:
    """Which mirror images to use: parity and cell along each axis, and the resulting gain.

    Attributes
    ----------
    parity : int64, shape (n, 3)
        1 where the image is mirrored along the axis.
    cell : int64, shape (n, 3)
        The image lies at ``(1 - 2 parity) * source + 2 * cell * size``.
    gain : float64, shape (n,)
        Product of the reflection factors.
    reflections : int64, shape (n,)
        Number of reflections.
    """

    parity: npt.NDArray[np.int64]
    cell: npt.NDArray[np.int64]
    gain: FloatArray
    reflections: npt.NDArray[np.int64]

    def positions_m(self, room: Room, source_m: npt.ArrayLike) -> FloatArray:
        """Positions of the images of a source; source (..., 3) gives (..., n, 3)."""
        source = np.asarray(source_m, dtype=np.float64)[..., None, :]
        return (1 - 2 * self.parity) * source + 2 * self.cell * np.asarray(room.size_m)

    def select(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> ImageSet:
        """Subset by a mask, or any order by indices."""
        return ImageSet(self.parity[chosen], self.cell[chosen], self.gain[chosen], self.reflections[chosen])


def image_set(room: Room, *, reach_m: float) -> ImageSet:
    """All images that can come closer than ``reach_m`` to some point of the room, up to 24 reflections."""
    per_axis = []
    for length in room.size_m:
        cells = int(np.ceil(reach_m / (2 * length))) + 1
        per_axis.append([(p, n) for n in range(-cells, cells + 1) for p in (0, 1)])
    x, y, z = (np.array(axis, dtype=np.int64) for axis in per_axis)
    grid = np.stack(np.meshgrid(np.arange(len(x)), np.arange(len(y)), np.arange(len(z)), indexing="ij"), -1).reshape(
        -1, 3
    )
    parity = np.stack([x[grid[:, 0], 0], y[grid[:, 1], 0], z[grid[:, 2], 0]], axis=1)
    cell = np.stack([x[grid[:, 0], 1], y[grid[:, 1], 1], z[grid[:, 2], 1]], axis=1)
    # a mirrored image hits the wall at 0 |cell - 1| times, the far wall |cell| times (Allen and Berkley, eq. 10)
    near, far = np.abs(cell - parity), np.abs(cell)
    factors = np.asarray(room.reflection).reshape(3, 2)
    gain = np.prod(factors[:, 0] ** near * factors[:, 1] ** far, axis=1)
    reflections = (near + far).sum(axis=1)
    # distance along an axis between any image and any point of the room is at least this
    size = np.asarray(room.size_m)
    interval = np.where(parity == 1, 2 * cell - 1, 2 * cell) * size
    closest = np.maximum(np.maximum(interval - size, -(interval + size)), 0.0)
    keep = (np.linalg.norm(closest, axis=1) <= reach_m) & (reflections <= _MAX_REFLECTIONS)
    order = np.argsort(reflections[keep], kind="stable")
    return ImageSet(parity[keep], cell[keep], gain[keep], reflections[keep]).select(order)


@dataclass(frozen=True)
class Listener:
    """Where the array (and the camera) stands.

    Attributes
    ----------
    position_m : tuple of 3 floats
        In the room.
    yaw_deg : float
        Azimuth, in the room's axes (x towards y), that the array calls 0.
    """

    position_m: tuple[float, float, float]
    yaw_deg: float

    def to_local(self, points_m: npt.ArrayLike) -> FloatArray:
        """Vectors from the listener in its own axes (x ahead, y left, z up), shape (..., 3)."""
        relative = np.asarray(points_m, dtype=np.float64) - np.asarray(self.position_m)
        yaw = np.deg2rad(self.yaw_deg)
        c, s = np.cos(yaw), np.sin(yaw)
        x = c * relative[..., 0] + s * relative[..., 1]
        y = -s * relative[..., 0] + c * relative[..., 1]
        return np.stack([x, y, relative[..., 2]], axis=-1)


def early_field(
    room: Room, images: ImageSet, source_m: npt.ArrayLike, listener: Listener, *, blend: bool = True
) -> Float32Array:
    """Impulse response of image sources in spherical harmonics.

    Parameters
    ----------
    room, images, source_m, listener
        The scene; images that arrive after :data:`EARLY_S` are left out.
    blend : bool
        Fade the last 10 ms out for the tail that takes over.

    Returns
    -------
    float32, shape (121, 2048)
        Sample 0 is the moment of emission.
    """
    size = 2048
    local = listener.to_local(images.positions_m(room, source_m))
    distance = np.linalg.norm(local, axis=1)
    keep = distance < EARLY_S * SPEED_OF_SOUND_M_S
    local, distance = local[keep], distance[keep]
    reflections = images.reflections[keep]
    gain = images.gain[keep] / np.maximum(distance, 0.1)
    position = distance / SPEED_OF_SOUND_M_S * SAMPLE_RATE_HZ
    if blend:
        late = np.clip((distance / SPEED_OF_SOUND_M_S - (EARLY_S - _BLEND_S)) / _BLEND_S, 0, 1)
        gain = gain * np.cos(0.5 * np.pi * late)
    whole = np.floor(position).astype(np.int64)
    taps = np.arange(-_SINC_HALF + 1, _SINC_HALF + 1)
    offset = taps[None, :] - (position - whole)[:, None]
    kernel = np.sinc(offset) * (0.5 + 0.5 * np.cos(np.pi * offset / (_SINC_HALF + 0.5))) * gain[:, None]
    rows = whole[:, None] + taps
    inside = (rows >= 0) & (rows < size)
    highest = int(reflections.max(initial=0))
    # one band of rows per number of reflections: each gets its own wall filter
    rows = rows + reflections[:, None] * size
    columns = np.broadcast_to(np.arange(distance.size)[:, None], rows.shape)
    spread = sparse.csr_matrix(
        (kernel[inside].astype(np.float32), (rows[inside], columns[inside])),
        shape=((highest + 1) * size, distance.size),
    )
    weights = sphere.encode(*vectors_to_directions(local))
    impulses = (spread @ weights).reshape(highest + 1, size, sphere.N_SH)
    spectrum = fft.rfft(impulses, axis=1)
    wall = room.tilt(fft.rfftfreq(size, 1.0 / SAMPLE_RATE_HZ)).astype(np.float32)
    total = spectrum[highest]
    for count in range(highest - 1, -1, -1):
        # Horner's rule over the number of reflections
        total = total * wall[:, None] + spectrum[count]
    return np.ascontiguousarray(fft.irfft(total, size, axis=0).T).astype(np.float32)


def late_field(room: Room, rng: np.random.Generator, *, level: float = 1.0) -> Float32Array:
    """Diffuse tail in spherical harmonics, from its blend 50 ms after emission until it has fallen by 60 dB.

    Parameters
    ----------
    room : Room
    rng : numpy.random.Generator
        Fixes the noise.
    level : float
        Amplitude relative to the ideal diffuse field (from :func:`tail_level`).

    Returns
    -------
    float32, shape (121, n)
        Sample 0 is the moment of emission; every channel has the same expected energy (isotropic field).
    """
    size, hop = 480, 240
    frequency = fft.rfftfreq(size, 1.0 / SAMPLE_RATE_HZ)
    rt60 = room.rt60_s(frequency)
    length = int((EARLY_S + min(float(rt60.max()), 1.5)) * SAMPLE_RATE_HZ)
    blocks = length // hop + 2
    # a sine window's energy sits at its middle
    middle = (np.arange(blocks) + 1) * hop / SAMPLE_RATE_HZ
    energy = 4 * np.pi * SPEED_OF_SOUND_M_S / (room.volume_m3 * SAMPLE_RATE_HZ)
    magnitude = level * np.sqrt(energy * 10.0 ** (-6.0 * middle[:, None] / rt60[None, :])) * np.sqrt(size / 2)
    # blocks that end before the blend begins would be multiplied by zero
    first = int((EARLY_S - _BLEND_S) * SAMPLE_RATE_HZ) // hop - 1
    noise = rng.standard_normal((sphere.N_SH, blocks - first, 2 * (size // 2 + 1)), dtype=np.float32).view(np.complex64)
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size).astype(np.float32)
    pieces = fft.irfft(noise * magnitude[first:].astype(np.float32), size, axis=2) * window
    out = np.zeros((sphere.N_SH, (blocks + 1) * hop), dtype=np.float32)
    # two interleaved layers of half-overlapping blocks, each contiguous
    for layer in (0, 1):
        part = pieces[:, layer::2]
        begin = (first + layer) * hop
        out[:, begin : begin + part.shape[1] * size] += part.reshape(sphere.N_SH, -1)[:, : out.shape[1] - begin]
    time = np.arange(out.shape[1]) / SAMPLE_RATE_HZ
    rise = np.sin(0.5 * np.pi * np.clip((time - (EARLY_S - _BLEND_S)) / _BLEND_S, 0, 1))
    return (out * rise.astype(np.float32))[:, :length]


def tail_level(room: Room, early: Float32Array) -> float:
    """Amplitude of the tail relative to the ideal diffuse field that fits the end of the image sources' response.

    Compares the energy of the pressure in the 20 ms before the blend with the ideal one; at most 3 dB either way,
    since a single position fluctuates.
    """
    stop = int((EARLY_S - _BLEND_S) * SAMPLE_RATE_HZ)
    start = stop - int(0.02 * SAMPLE_RATE_HZ)
    spectrum = np.abs(fft.rfft(early[0, start:stop])) ** 2
    frequency = fft.rfftfreq(stop - start, 1.0 / SAMPLE_RATE_HZ)
    time = np.arange(start, stop) / SAMPLE_RATE_HZ
    decay = (10.0 ** (-6.0 * time[:, None] / room.rt60_s(frequency)[None, :])).sum(axis=0)
    ideal = 4 * np.pi * SPEED_OF_SOUND_M_S / (room.volume_m3 * SAMPLE_RATE_HZ) * decay
    band = (frequency > 300) & (frequency < 6000)
    ratio = spectrum[band].sum() / ideal[band].sum()
    return float(np.sqrt(np.clip(ratio, 0.5, 2.0)))

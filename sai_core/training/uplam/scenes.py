"""Rooms around a rigid sphere, drawn on the fly: block spectra of all 32 capsules, thousands of frames a minute.

The signal path is that of the visibility recipes, short blocks and one spectrum value per block and band, so the
statistics are the ones that inference sees: ten snapshots a frame, not an expectation. Per scene:

1. A shoebox room, array and sources in it. Every reflection that arrives before the mixing time is an image source: a
   plane wave on the rigid sphere with its own direction, delay, 1/r and wall losses (image-source method, up to
   second-order shifts of the room in each dimension, all that arrive before the first missing one).
2. Later reflections: dense and diffuse, Gaussian taps with the rigid sphere's own diffuse covariance and the room's
   exponential decay, continued from the image sources' energy density ``4 pi c / V exp(-13.8 t / RT60)``.
3. Each source plays a clip of the sound bank. Delays act on the clip's short-time spectra, sampled every 1.25 ms: a
   delayed signal's spectrum at ``t`` is the undelayed one's at ``t - tau``, and what is left after rounding the delay
   to 1.25 ms is a phase. So onsets arrive before their reflections, and pauses hold the tail of the last sound.
4. Moving sources sweep their direct path during the frame; sensor noise, diffuse room noise and small gain and phase
   errors of the capsules are added.

What is simplified: one frequency per band for the array response (bands of 50 Hz), no frequency-dependent walls other
than a decay that may change over the bands, reflections of a moving source stay where they were at the frame's centre.

References
----------
J. Allen and D. Berkley, JASA 65 (1979), image sources; H. Kuttruff, "Room Acoustics", chapter 4, reflection density
and Eyring's formula.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.signal import windows

from sai_core.acoustics import rigid_sphere
from sai_core.acoustics.visibility import FEATURE_CENTRES_HZ, N_BANDS, official_bins, report_bins
from sai_core.geometry import (
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    directions_to_vectors,
    great_circle_deg,
    vectors_to_directions,
    wrap_azimuth_deg,
)
from sai_core.training.uplam.config import MAX_SOURCES, SceneOptions
from sai_core.training.uplam.sounds import sound_bank

ComplexArray = npt.NDArray[np.complex64]
FloatArray = npt.NDArray[np.float64]

_HOP: Final[int] = 30
"""Samples between the sampled short-time spectra (1.25 ms); ten-millisecond blocks are exactly eight of them."""
_HOPS_PER_S: Final[int] = SAMPLE_RATE_HZ // _HOP
_TAPS: Final[int] = 400
"""Length of a room response in hops (0.5 s)."""
_C: Final[float] = rigid_sphere.SPEED_OF_SOUND_M_S


@dataclass(frozen=True)
class SceneBatch:
    """Frames of one or many scenes.

    Attributes
    ----------
    spectra : complex64, shape (frames, bands, snapshots, 32)
        Block spectra ``x`` (numpy's FFT convention); the visibility is ``sum conj(x) x^T`` over the snapshots.
    azimuth_deg, elevation_deg : float64, shape (frames, 4)
        Directions at the frame's centre; NaN where there is no such source.
    direct_power : float64, shape (frames, 4)
        Mean power of each source's direct path over bands and snapshots, relative to a 0 dB source; 0 if absent.
    snr_db, rt60_s, drr_db : float64, shape (frames,)
        Of the scene: sensor signal-to-noise ratio; reverberation time (0 if anechoic); power of the first source's
        direct path over that of all its reflections in decibels (inf if anechoic, NaN without a source).
    """

    spectra: ComplexArray
    azimuth_deg: FloatArray
    elevation_deg: FloatArray
    direct_power: FloatArray
    snr_db: FloatArray
    rt60_s: FloatArray
    drr_db: FloatArray

    def __len__(self) -> int:
        return self.spectra.shape[0]


@dataclass(frozen=True)
class _Subbands:
    """The analysis filters of a recipe: where they are, what they weigh, when their windows start."""

    frequency_hz: FloatArray  # (n,)
    basis: npt.NDArray[np.complex128]  # (window, n)
    window_hops: npt.NDArray[np.int64]  # starts of the windows of a frame, in hops
    per_band: int


def _subbands(recipe: str) -> _Subbands:
    if recipe == "official":
        n = np.arange(240)
        window = windows.tukey(240, alpha=1.0, sym=True)
        pairs = [official_bins(c) for c in FEATURE_CENTRES_HZ]
        waves = [np.exp(-2j * np.pi * np.outer(n, np.arange(a, b + 1)) / 240).sum(axis=1) for a, b in pairs]
        basis = np.stack(waves, axis=1) * window[:, None]
        frequency = np.array([50.0 * (a + b) for a, b in pairs])
        return _Subbands(frequency, basis.astype(np.complex128), np.arange(10) * 240 // _HOP, 1)
    n = np.arange(512)
    chosen = np.concatenate([b[[0, len(b) // 2, -1]] for b in report_bins()])
    basis = np.exp(-2j * np.pi * np.outer(n, chosen) / 512) * windows.hann(512, sym=False)[:, None]
    starts = np.round(np.arange(9) * 236 / _HOP).astype(np.int64)
    return _Subbands(chosen * SAMPLE_RATE_HZ / 512, basis.astype(np.complex128), starts, 3)


@dataclass
class SceneSampler:
    """Draws scenes; holds the sound bank's short-time spectra and the array's responses.

    Parameters
    ----------
    options : SceneOptions
    bank_seed : int or sequence of int
        Seed of the sound bank (the scenes themselves are drawn from the generator given to :meth:`draw`).
    """

    options: SceneOptions
    bank_seed: int | tuple[int, ...] = 0
    _sub: _Subbands = field(init=False, repr=False)
    _bank: ComplexArray = field(init=False, repr=False)
    _active: list[npt.NDArray[np.int64]] = field(init=False, repr=False)
    _table: ComplexArray = field(init=False, repr=False)
    _diffuse: ComplexArray = field(init=False, repr=False)
    _step_deg: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._sub = _subbands(self.options.recipe)
        # 1 degree for nine frequencies is 150 MB; three times as many frequencies get a coarser grid
        self._step_deg = 1.0 if self._sub.per_band == 1 else 2.0
        self._table = _response_table(self._sub.frequency_hz, self._step_deg)
        covariance = rigid_sphere.diffuse_coherence(self._sub.frequency_hz)
        values, vectors = np.linalg.eigh(covariance)
        # rows of Gaussians times this have the diffuse covariance
        self._diffuse = (np.sqrt(np.maximum(values, 0.0))[:, :, None] * vectors.swapaxes(1, 2)).astype(np.complex64)
        self.renew_bank(self.bank_seed)

    def renew_bank(self, bank_seed: int | tuple[int, ...]) -> None:
        """Replace the sound bank by that of another seed."""
        self.bank_seed = bank_seed
        clips = sound_bank(self.options.n_clips, self.options.clip_s, np.random.default_rng(bank_seed))
        self._bank, self._active = _bank_spectra(clips, self._sub)

    @property
    def frequency_hz(self) -> FloatArray:
        """Frequency of each sub-band's array response, shape (bands * bins,)."""
        return self._sub.frequency_hz

    def draw(self, n_frames: int, rng: np.random.Generator) -> SceneBatch:
        """Draw frames, ``frames_per_scene`` from each new room.

        Parameters
        ----------
        n_frames : int
            At least 0.
        rng : numpy.random.Generator
            All randomness of the scenes comes from here.

        Returns
        -------
        SceneBatch
        """
        per_scene = self.options.frames_per_scene
        scenes = [self._scene(rng) for _ in range(-(-n_frames // per_scene))]
        if not scenes:
            empty = np.zeros((0, MAX_SOURCES))
            shape = (0, N_BANDS, self._sub.window_hops.size * self._sub.per_band, 32)
            nothing = np.zeros(0)
            return SceneBatch(np.zeros(shape, np.complex64), empty, empty, empty, nothing, nothing, nothing)
        columns = zip(*scenes, strict=True)
        return SceneBatch(*(np.concatenate(c)[:n_frames] for c in columns))

    def _scene(self, rng: np.random.Generator) -> tuple[Any, ...]:
        options, sub = self.options, self._sub
        n_frames, n_windows, n_sub = options.frames_per_scene, sub.window_hops.size, sub.frequency_hz.size
        weights = np.asarray(options.source_counts) / sum(options.source_counts)
        n_sources = int(rng.choice(weights.size, p=weights))
        room = _draw_room(options, rng)
        x = np.zeros((n_sub, n_frames * n_windows, 32), np.complex64)
        azimuth = np.full((n_frames, MAX_SOURCES), np.nan)
        elevation = np.full((n_frames, MAX_SOURCES), np.nan)
        power = np.zeros((n_frames, MAX_SOURCES))
        drr = np.nan
        placed: list[FloatArray] = []
        for s in range(n_sources):
            position = _draw_position(room, placed, options, rng)
            placed.append(position)
            gain = 10.0 ** (-rng.uniform(0, options.level_db if n_sources > 1 else 0.5) / 20.0)
            starts, clip = self._excerpts(n_frames, rng)
            direct, azimuth[:, s], elevation[:, s] = self._direct(position, starts, clip, rng)
            power[:, s] = gain**2 * np.mean(
                np.abs(direct[:, :, 0].reshape(n_sub, n_frames, n_windows)) ** 2, axis=(0, 2)
            )
            if room.rt60_s > 0:
                reflected = self._reflections(room, position, starts, clip, rng)
                if s == 0:
                    # by energy of the responses' signals; the tiny number keeps a silent excerpt finite
                    ratio = np.sum(np.abs(direct) ** 2) / (np.sum(np.abs(reflected) ** 2) + 1e-30)
                    drr = 10.0 * np.log10(ratio + 1e-30)
                direct = direct + reflected
            elif s == 0:
                drr = np.inf
            x += np.float32(gain) * direct
        snr = rng.uniform(*options.snr_db)
        ambient = rng.uniform(*options.ambient_db)
        x += self._noise(x.shape[1], snr, ambient, rng)
        x *= _mismatch(options.mismatch, rng)
        # (bands * bins, frames * windows, 32) -> (frames, bands, windows * bins, 32)
        x = x.reshape(N_BANDS, sub.per_band, n_frames, n_windows, 32).transpose(2, 0, 3, 1, 4)
        spectra = x.reshape(n_frames, N_BANDS, n_windows * sub.per_band, 32)
        ones = np.ones(n_frames)
        return spectra, azimuth, elevation, power, snr * ones, room.rt60_s * ones, drr * ones

    def _excerpts(self, n_frames: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], int]:
        """Starts (in hops) of the frames in a clip of the bank, most of them while it sounds."""
        clip = int(rng.integers(self._bank.shape[0]))
        last = self._bank.shape[2] - int(self._sub.window_hops[-1]) - 1
        starts = rng.integers(_TAPS, last, size=n_frames)
        active = self._active[clip]
        choose = rng.random(n_frames) < self.options.active_share
        picked = rng.choice(active, size=n_frames)
        return np.where(choose, picked, starts), clip

    def _direct(
        self, position: FloatArray, starts: npt.NDArray[np.int64], clip: int, rng: np.random.Generator
    ) -> tuple[ComplexArray, FloatArray, FloatArray]:
        """Spectra of the direct path (sub-bands, frames * windows, 32), and its direction per frame."""
        sub, options = self._sub, self.options
        n_frames = starts.size
        at = starts[:, None] + sub.window_hops
        signal = self._bank[clip][:, at]  # (sub-bands, frames, windows)
        azimuth, elevation = (float(v) for v in vectors_to_directions(position))
        if rng.random() >= options.moving_share:
            response = self._lookup(np.array([azimuth]), np.array([elevation]))[:, 0]
            direct = signal.reshape(sub.frequency_hz.size, -1, 1) * response[:, None]
            return direct, np.full(n_frames, azimuth), np.full(n_frames, elevation)
        # around the array at constant speed, passing the drawn direction at the frame's centre, up or down a little
        seconds = (sub.window_hops - sub.window_hops.mean()) / _HOPS_PER_S
        rate = rng.uniform(-1, 1, n_frames) * options.speed_deg_s
        climb = 0.3 * rng.uniform(-1, 1, n_frames) * options.speed_deg_s
        az = azimuth + rate[:, None] * seconds / max(np.cos(np.deg2rad(elevation)), 0.2)
        el = np.clip(elevation + climb[:, None] * seconds, -90.0, 90.0)
        response = self._lookup(az.ravel(), el.ravel())
        radial = rng.uniform(-1.5, 1.5, n_frames)[:, None] * seconds / _C
        phase = np.exp(-2j * np.pi * sub.frequency_hz[:, None, None] * radial).astype(np.complex64)
        direct = (signal * phase).reshape(sub.frequency_hz.size, -1, 1) * response
        return direct, np.full(n_frames, azimuth), np.full(n_frames, elevation)

    def _reflections(
        self,
        room: _Room,
        position: FloatArray,
        starts: npt.NDArray[np.int64],
        clip: int,
        rng: np.random.Generator,
    ) -> ComplexArray:
        """Spectra of everything but the direct path, (sub-bands, frames * windows, 32)."""
        sub = self._sub
        response = self._room_response(room, position, rng)
        at = (starts[:, None] + sub.window_hops).ravel()
        past = at[:, None] - np.arange(response.shape[1])
        # before the clip's start there is silence
        signal = np.where(past >= 0, self._bank[clip][:, np.maximum(past, 0)], 0)
        return np.matmul(signal, response)

    def _room_response(self, room: _Room, position: FloatArray, rng: np.random.Generator) -> ComplexArray:
        """Reflections as taps of 1.25 ms, (sub-bands, taps, 32), relative to the direct path's arrival and level."""
        frequency = self._sub.frequency_hz
        distance = float(np.linalg.norm(position))
        vectors, gains = _image_sources(room, position)
        reach = np.linalg.norm(vectors, axis=1)
        delay = (reach - distance) / _C
        amplitude = gains * distance / reach
        mixing = max((room.complete_m - distance) / _C, 0.005)
        keep = (delay < min(mixing, 0.12)) & (amplitude > 2e-3)
        vectors, delay, amplitude = vectors[keep], delay[keep], amplitude[keep]
        n_taps = min(_TAPS, int(0.75 * room.rt60_s * _HOPS_PER_S) + 40)
        response = np.zeros((frequency.size, n_taps, 32), np.complex64)
        # dense part: energy density of image sources relative to the direct path's distance^2
        tap_s = np.arange(n_taps) / _HOPS_PER_S
        decay = np.repeat(room.rt60_s * room.decay_tilt, self._sub.per_band)
        since = tap_s + distance / _C
        energy = 4 * np.pi * _C / room.volume_m3 * np.exp(-13.8 * since / decay[:, None]) / _HOPS_PER_S * distance**2
        energy = np.where(tap_s >= mixing, energy, 0.0)
        late = _gaussian((frequency.size, n_taps, 32), rng) * np.sqrt(energy)[:, :, None].astype(np.float32)
        response += np.matmul(late, self._diffuse)
        if delay.size:
            tap = np.minimum(np.round(delay * _HOPS_PER_S).astype(np.int64), n_taps - 1)
            order = np.argsort(tap, kind="stable")
            tap, delay, amplitude, vectors = tap[order], delay[order], amplitude[order], vectors[order]
            rest = delay - tap / _HOPS_PER_S
            wave = amplitude * np.exp(-2j * np.pi * frequency[:, None] * rest)
            arrivals = self._lookup(*vectors_to_directions(vectors)) * wave[:, :, None].astype(np.complex64)
            first = np.flatnonzero(np.diff(tap, prepend=-1))
            response[:, tap[first]] += np.add.reduceat(arrivals, first, axis=1)
        return response

    def _noise(self, n_snapshots: int, snr_db: float, ambient_db: float, rng: np.random.Generator) -> ComplexArray:
        n_sub = self._sub.frequency_hz.size
        slope = np.linspace(0.5, -0.5, n_sub)[:, None, None]
        sensor = 10.0 ** (-snr_db / 20.0) * 10.0 ** (rng.uniform(-3, 3) * slope / 20.0)
        room = 10.0 ** (-ambient_db / 20.0) * 10.0 ** (rng.uniform(-3, 15) * slope / 20.0)
        noise = _gaussian((n_sub, n_snapshots, 32), rng) * sensor.astype(np.float32)
        diffuse = np.matmul(_gaussian((n_sub, n_snapshots, 32), rng), self._diffuse)
        return noise + diffuse * room.astype(np.float32)

    def _lookup(self, azimuth_deg: FloatArray, elevation_deg: FloatArray) -> ComplexArray:
        """Array responses of the nearest grid directions, (sub-bands, directions, 32)."""
        n_az = round(360 / self._step_deg)
        column = np.round(wrap_azimuth_deg(azimuth_deg) / self._step_deg).astype(np.int64) % n_az
        row = np.round((elevation_deg + 90.0) / self._step_deg).astype(np.int64)
        return self._table[:, row * n_az + column]


@dataclass(frozen=True)
class _Room:
    size_m: FloatArray
    array_m: FloatArray
    reflection: FloatArray  # (3, 2) amplitude factors of the two walls of each dimension
    rt60_s: float
    decay_tilt: FloatArray  # (bands,)
    volume_m3: float
    complete_m: float  # all images nearer than this are in the list


def _draw_room(options: SceneOptions, rng: np.random.Generator) -> _Room:
    size = np.array([rng.uniform(3.0, 11.0), rng.uniform(2.8, 9.0), rng.uniform(2.3, 4.2)])
    array = np.array([rng.uniform(0.25, 0.75), rng.uniform(0.25, 0.75), 0.0]) * size
    array[2] = rng.uniform(0.8, min(1.8, size[2] - 0.7))
    tilt = np.linspace(1.0, rng.uniform(0.7, 1.1), N_BANDS)
    volume = float(np.prod(size))
    if rng.random() < options.anechoic_share:
        return _Room(size, array, np.zeros((3, 2)), 0.0, tilt, volume, 0.0)
    rt60 = rng.uniform(*options.rt60_s)
    surface = 2.0 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    loss = 0.161 * volume / (surface * rt60)  # Eyring: -ln(1 - mean absorption)
    # walls differ; the energy factor of each stays between nothing and (nearly) everything
    spread = np.exp(rng.normal(0.0, 0.4, size=(3, 2)))
    reflection = np.exp(-0.5 * np.clip(loss * spread / spread.mean(), 0.005, 4.0))
    # images of index 3 of the shortest dimension are missing; the nearest is at least this far away
    complete = float(np.min(4.0 * size + 2.0 * np.minimum(array, size - array)))
    return _Room(size, array, reflection, rt60, tilt, volume, complete)


def _draw_position(
    room: _Room, placed: list[FloatArray], options: SceneOptions, rng: np.random.Generator
) -> FloatArray:
    """Source position relative to the array: half of them anywhere around, half near ear height; all in the room."""
    margin = 0.2
    position = np.zeros(3)
    for attempt in range(60):
        azimuth = rng.uniform(-180.0, 180.0)
        if rng.random() < 0.5:
            elevation = float(np.rad2deg(np.arcsin(rng.uniform(-1, 1))))
        else:
            elevation = float(np.clip(rng.normal(0.0, 18.0), -80, 80))
        direction = directions_to_vectors(azimuth, elevation)
        with np.errstate(divide="ignore"):
            room_to_wall = np.where(direction > 0, room.size_m - room.array_m - margin, room.array_m - margin)
            longest = float(np.min(room_to_wall / np.abs(direction)))
        low, high = options.distance_m[0], min(options.distance_m[1], longest)
        if high < low and room.rt60_s > 0:
            # towards a near floor or ceiling: as far as the room allows, but not inside of the array
            if longest < 0.35:
                continue
            low = high = longest
        high = max(low, high)
        position = direction * rng.uniform(low, high)
        apart = [great_circle_deg(azimuth, elevation, *vectors_to_directions(p)) for p in placed]
        if attempt > 40 or all(a > 12.0 for a in apart):
            break
    return position


def _image_sources(room: _Room, position: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Vectors from the array to the images (without the source itself) and their wall gains."""
    shift = np.arange(-2, 3)
    coordinates, gains = [], []
    for axis in range(3):
        source = room.array_m[axis] + position[axis]
        plain = 2 * shift * room.size_m[axis] + source
        mirrored = 2 * shift * room.size_m[axis] - source
        coordinates.append(np.concatenate([plain, mirrored]) - room.array_m[axis])
        low, high = room.reflection[axis]
        gains.append(np.concatenate([(low * high) ** np.abs(shift), low ** np.abs(shift - 1) * high ** np.abs(shift)]))
    x, y, z = np.meshgrid(*coordinates, indexing="ij")
    gain = gains[0][:, None, None] * gains[1][None, :, None] * gains[2][None, None, :]
    vectors = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    # index 2 of every axis is the unshifted, unmirrored source
    keep = np.ones(gain.size, bool)
    keep[np.ravel_multi_index((2, 2, 2), gain.shape)] = False
    return vectors[keep], gain.ravel()[keep]


def _mismatch(spread: tuple[float, float], rng: np.random.Generator) -> ComplexArray:
    gain = 10.0 ** (rng.normal(0.0, spread[0], 32) / 20.0)
    return (gain * np.exp(1j * np.deg2rad(rng.normal(0.0, spread[1], 32)))).astype(np.complex64)


def _gaussian(shape: tuple[int, ...], rng: np.random.Generator) -> ComplexArray:
    """Circular complex Gaussians of unit variance."""
    pair = rng.standard_normal((*shape, 2), dtype=np.float32) * np.float32(np.sqrt(0.5))
    return pair.view(np.complex64)[..., 0]


def _response_table(frequency_hz: FloatArray, step_deg: float) -> ComplexArray:
    """Transfer functions ("fft" convention) on an azimuth-elevation grid, (frequencies, grid, 32)."""
    azimuth = np.arange(round(360 / step_deg)) * step_deg
    elevation = np.arange(round(180 / step_deg) + 1) * step_deg - 90.0
    table = np.empty((frequency_hz.size, elevation.size * azimuth.size, 32), np.complex64)
    for row, value in enumerate(elevation):
        made = rigid_sphere.steering(azimuth, np.full(azimuth.size, value), frequency_hz, convention="fft")
        table[:, row * azimuth.size : (row + 1) * azimuth.size] = made.swapaxes(1, 2)
    return table


def _bank_spectra(clips: npt.NDArray[np.float32], sub: _Subbands) -> tuple[ComplexArray, list[npt.NDArray[np.int64]]]:
    """Short-time spectra of each clip, (clips, sub-bands, hops), and the frame starts at which it sounds.

    Scaled so that a sounding frame has a mean power of 1 over sub-bands.
    """
    length = sub.basis.shape[0]
    packed = np.concatenate([sub.basis.real, sub.basis.imag], axis=1).astype(np.float32)
    n_sub = sub.frequency_hz.size
    n_hops = (clips.shape[1] - length) // _HOP + 1
    bank = np.empty((clips.shape[0], n_sub, n_hops), np.complex64)
    active = []
    frame_hops = SAMPLES_PER_FRAME // _HOP
    for index, clip in enumerate(clips):
        pieces = np.lib.stride_tricks.sliding_window_view(clip, length)[::_HOP]
        both = pieces @ packed
        spectrum = (both[:, :n_sub] + 1j * both[:, n_sub:]).T
        power = np.mean(np.abs(spectrum) ** 2, axis=0)
        # mean power of the frame (80 hops) that starts at each hop
        frame_power = np.convolve(power, np.full(frame_hops, 1.0 / frame_hops), mode="valid")
        sounding = frame_power > 1e-2 * frame_power.max()
        spectrum = spectrum / np.sqrt(frame_power[sounding].mean())
        bank[index] = spectrum
        starts = np.flatnonzero(sounding)
        active.append(starts[starts + sub.window_hops[-1] < n_hops])
    return bank, active

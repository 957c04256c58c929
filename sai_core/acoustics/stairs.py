"""STAIRS26 energy labels from 32-channel Eigenmike audio and DCASE metadata.

The recipe (domain notes, section 5): visibilities in nine bands -> non-negative intensity on the 484-point lattice
(:mod:`sai_core.acoustics.apgd`) -> median over bands -> linear interpolation onto the canvas -> per metadata row a
Gaussian around its direction -> threshold -> filled external contours -> every pixel with its amplitude -> a sigmoid.
``docs/labels.md`` has each step's figures, and what the official code does that its description does not say.

Conventions
-----------
* Bands are centred on 1500, 1875 ... 4500 Hz: not the bands of the detector's features.
* Steering vectors use one wavelength for all bands, ``speed of sound / (4500 Hz + 500 Hz)`` with the 340.5 m/s of
  ``scipy.constants``: again not those of the features, whose highest band is lower.
* Intensities are interpolated on the *projection grid* (azimuth ``linspace(180, -180, 360)``, elevation
  ``linspace(90, -90, 180)``), the Gaussian and the written pixels are on the *label grid*: official, up to one pixel
  apart. ``official_quirks=False`` uses the centres of label-grid pixels for both.

References
----------
``AudibleLight/starss_acoustic_images`` @ 06f2fb4 (facts and figures only).
"""

from __future__ import annotations

import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scipy import constants, sparse
from scipy.spatial import ConvexHull, Delaunay, cKDTree

from sai_core.acoustics.apgd import ApgdOptions, ApgdProblem, solve_chains
from sai_core.acoustics.audio_input import AudioInput, held_bands
from sai_core.acoustics.visibility import LABEL_CENTRES_HZ, visibility_tensors
from sai_core.annotations.table import AnnotationTable
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.geometry import (
    ERP_HEIGHT,
    ERP_WIDTH,
    N_LATTICE,
    SAMPLES_PER_FRAME,
    directions_to_vectors,
    em32_positions_m,
    fibonacci_lattice_deg,
    projection_grid_deg,
)
from sai_core.progress import Progress, no_progress
from sai_core.threads import one_torch_thread

if TYPE_CHECKING:
    from sai_core.annotations import DcaseMetadata

FloatArray = npt.NDArray[np.float64]
LabelAudio = AudioInput | str | os.PathLike[str] | npt.NDArray
"""A recording as an :class:`AudioInput` with 32 channels, a sound file, or samples of shape (n_samples, 32)."""
Precision = Literal["float32", "float64"]

N_BANDS: Final[int] = len(LABEL_CENTRES_HZ)
N_CAPSULES: Final[int] = 32
STEERING_MARGIN_HZ: Final[float] = 500.0
"""Added to the highest band centre to give the one wavelength of all steering vectors (official code)."""
GAUSSIAN_SIGMA_DEG: Final[float] = 10.0
AMPLITUDE_THRESHOLD: Final[float] = 4e-5
STANDARD_MEAN: Final[float] = 0.0006132456403200415
STANDARD_DEVIATION: Final[float] = 0.0004943698488906652
"""Mean and deviation of the strongest amplitude of each region of the STARSS23 training set (official constants)."""
_FRAMES_PER_BLOCK: Final[int] = 100
"""Frames that are worked on at once; two blocks are in memory, 31 MB of float32 audio each."""


_FRAMES_PER_PIECE: Final[int] = 10
"""Frames whose visibilities are made at once: 6 MB of float64 audio, which caches hold while it is turned."""


@dataclass(frozen=True, eq=False)
class StairsLabels:
    """Labels of a recording and what became of each metadata row.

    Attributes
    ----------
    table : AnnotationTable
        Standardised label, energies in [0, 1]; label grid.
    raw : AnnotationTable
        The same regions with unstandardised amplitudes.
    n_frames : int
        Whole 100 ms frames of the audio.
    n_rows_beyond_audio : int
        Metadata rows at or after frame ``n_frames``: they have no label, as in the official code.
    n_rows_without_region : int
        Rows whose weighted map stays under the threshold everywhere (too quiet, or only lone pixels).
    n_repeated : int
        Annotations that repeat the one before because the region has several parts (official quirk).
    dtype : {"float64", "float32"}
        Precision that it was made in.
    notes : tuple of str
        Sentences on what was done to the audio: resampled, clipped, samples that are no numbers (silenced), bands that
        it does not hold; and on what float32 costs.
    """

    table: AnnotationTable
    raw: AnnotationTable
    n_frames: int
    n_rows_beyond_audio: int
    n_rows_without_region: int
    n_repeated: int
    dtype: Precision
    notes: tuple[str, ...]


# ---------------------------------------------------------------------------------------------------------------
# from samples to the intensity on the lattice
# ---------------------------------------------------------------------------------------------------------------


def label_steering_matrix() -> npt.NDArray[np.complex128]:
    """Steering vectors of the labels, shape (32, 484), complex128; columns in lattice order.

    ``exp(-2j pi / wavelength * capsule . direction)``, wavelength = 340.5 m/s / 5000 Hz. New array.
    """
    wavelength_m = constants.speed_of_sound / (max(LABEL_CENTRES_HZ) + STEERING_MARGIN_HZ)
    directions = directions_to_vectors(*fibonacci_lattice_deg())
    return np.exp(-2j * np.pi / wavelength_m * (em32_positions_m() @ directions.T))


def gram_matrix(steering: npt.NDArray[np.complexfloating]) -> FloatArray:
    """Squared magnitudes of ``A^H A``, shape (n, n), float64, of a steering matrix (capsules, n)."""
    return np.abs(steering.conj().T @ steering) ** 2


@lru_cache(maxsize=1)
def _label_problem() -> ApgdProblem:
    return ApgdProblem.from_gram(torch.from_numpy(gram_matrix(label_steering_matrix())))


@lru_cache(maxsize=4)
def _projector(dtype: torch.dtype, device: str) -> torch.Tensor:
    """Real matrix (1024, 484) that turns the real numbers of a Hermitian matrix into its backprojection."""
    with torch.inference_mode(mode=False):
        return torch.from_numpy(hermitian_projector(label_steering_matrix())).to(device, dtype)


def hermitian_projector(steering: npt.NDArray[np.complexfloating]) -> FloatArray:
    """Backprojection ``a_n^H S a_n`` as a real linear map of the numbers that make up a Hermitian ``S``.

    Parameters
    ----------
    steering : complex, shape (m, n)
        Steering vectors as columns.

    Returns
    -------
    projector : float64, shape (m * m, n)
        Rows belong to the diagonal of ``S``, then the real and then the imaginary parts above the diagonal in the order
        of ``triu_indices(m, 1)``: half the work of a product with all 2 m^2 real numbers, and one large real product
        for all frames and bands.
    """
    above = np.triu_indices(steering.shape[0], 1)
    cross = 2.0 * steering[above[0]].conj() * steering[above[1]]
    return np.concatenate([np.abs(steering) ** 2, cross.real, -cross.imag]).astype(np.float64)


def backproject(matrices: torch.Tensor, projector: torch.Tensor) -> torch.Tensor:
    """Power ``a_n^H S a_n`` of each Hermitian matrix at each lattice point.

    Parameters
    ----------
    matrices : complex tensor, shape (..., m, m)
        Positive semidefinite.
    projector : float tensor, shape (m * m, n)
        From :func:`hermitian_projector`, same precision and device.

    Returns
    -------
    power : float tensor, shape (..., n)
        >= 0 but for rounding; exactly 0 for a zero matrix.
    """
    m = matrices.shape[-1]
    row, column = torch.triu_indices(m, m, 1, device=matrices.device)
    above = matrices[..., row, column]
    diagonal = matrices.diagonal(dim1=-2, dim2=-1).real
    return torch.cat([diagonal, above.real, above.imag], dim=-1) @ projector


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EnvironmentProblem(f"Device {name!r} cannot be used here; choose auto or cpu.") from error
    return device


class _BandSolver:
    """Intensities of consecutive blocks of one recording; remembers where the next block starts."""

    def __init__(self, *, dtype: Precision, device: str, options: ApgdOptions) -> None:
        if dtype not in ("float32", "float64"):
            raise InputError(f"dtype is {dtype!r}; choose float32 or float64.")
        self._real = torch.float32 if dtype == "float32" else torch.float64
        self._front = _device(device)
        # a chain of small dependent steps waits for kernel launches on a GPU: the CPU is faster there
        self._back = torch.device("cpu") if options.warm_start else self._front
        self._problem = _label_problem().to(self._back, self._real)
        self._options = options
        self._carry: torch.Tensor | None = None

    @torch.inference_mode()
    def prepare(self, samples: npt.NDArray[np.floating]) -> tuple[torch.Tensor, torch.Tensor]:
        """Backprojection (frames, 9, 484) and norm (frames, 9) of samples (frames * 2400, 32) at 24 kHz."""
        # a memory-mapped file is read-only, which torch would warn about: only that is copied
        whole = torch.from_numpy(samples) if samples.flags.writeable else torch.tensor(samples)
        parts = []
        for piece in whole.split(_FRAMES_PER_PIECE * SAMPLES_PER_FRAME):
            audio = piece.to(self._front, self._real)
            matrices = visibility_tensors(audio, centres_hz=LABEL_CENTRES_HZ).matrices
            power = backproject(matrices, _projector(self._real, str(self._front)))
            norm = torch.view_as_real(matrices).square().sum((-1, -2, -3), dtype=torch.float64)
            parts.append((power.to(self._back), norm.to(self._back)))
        return torch.cat([power for power, _ in parts]), torch.cat([norm for _, norm in parts])

    @torch.inference_mode()
    def solve(self, power: torch.Tensor, norm: torch.Tensor, progress: Progress) -> torch.Tensor:
        """Intensity (frames, 9, 484), on the CPU, of the block that follows the last one."""
        solution = solve_chains(self._problem, power, norm, start=self._carry, options=self._options, progress=progress)
        self._carry = solution.intensity[-1]
        return solution.intensity.cpu()


def _solve_blocks(
    audio: AudioInput,
    n_frames: int,
    *,
    dtype: Precision,
    device: str,
    options: ApgdOptions | None,
    progress: Progress,
) -> Generator[tuple[int, torch.Tensor], None, None]:
    """``(first frame, intensity (frames, 9, 484) on the CPU)`` block by block, the next block prepared meanwhile."""
    solver = _BandSolver(dtype=dtype, device=device, options=options or ApgdOptions())
    blocks = [(k, min(k + _FRAMES_PER_BLOCK, n_frames)) for k in range(0, n_frames, _FRAMES_PER_BLOCK)]
    if not blocks:
        return

    def prepare(block: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        return solver.prepare(audio.read(*block))

    # two stages run side by side, and the nine rows of the solver are too little work to share
    with one_torch_thread(), ThreadPoolExecutor(1) as helper:
        waiting = helper.submit(prepare, blocks[0])
        for number, (first, last) in enumerate(blocks):

            def report(fraction: float, message: str, first: int = first, last: int = last) -> None:
                progress((first + fraction * (last - first)) / n_frames, f"{message}, frames {first} to {last}")

            report(0.0, "reading")
            power, norm = waiting.result()
            if number + 1 < len(blocks):
                waiting = helper.submit(prepare, blocks[number + 1])
            yield first, solver.solve(power, norm, report)


def _open(audio: LabelAudio, sample_rate_hz: float | None) -> AudioInput:
    if isinstance(audio, AudioInput):
        return audio
    return AudioInput(audio, sample_rate_hz=sample_rate_hz, channels=32)


def _held(source: AudioInput) -> npt.NDArray[np.bool_]:
    """Which of the nine bands a recording holds; those above its sample rate would be images of the resampling."""
    held = held_bands(source.facts.file_rate_hz, LABEL_CENTRES_HZ)
    if not held.any():
        raise InputError(
            f"{source.facts.name}: at {source.facts.file_rate_hz} Hz the recording holds none of the bands of a label "
            f"(from {min(LABEL_CENTRES_HZ):.0f} Hz on)."
        )
    return held


def _median_over_bands(intensity: torch.Tensor, held: npt.NDArray[np.bool_]) -> FloatArray:
    """Median over the bands that the recording holds, (frames, 9, 484) to (frames, 484)."""
    if held.all():
        return intensity.median(1).values.numpy()
    return np.median(intensity.numpy()[:, held], axis=1)


def band_intensities(
    audio: LabelAudio,
    *,
    sample_rate_hz: float | None = None,
    n_frames: int | None = None,
    dtype: Precision = "float64",
    device: str = "auto",
    options: ApgdOptions | None = None,
    progress: Progress = no_progress,
) -> npt.NDArray[np.floating]:
    """Intensity of each lattice point, band and frame (what the official code stores as its acoustic image).

    Parameters
    ----------
    audio : array of shape (n_samples, 32), path, or AudioInput
        Any scale: each matrix is normalised, so integer and float samples give the same result.
    sample_rate_hz : float, optional
        Of an array; 24000 if left out. Other rates are resampled.
    n_frames : int, optional
        Only so many frames from the start; all whole 100 ms frames when left out.
    dtype : {"float64", "float32"}
        Precision of visibilities and solver. float64 agrees with the official code to 1e-11; in float32 a rounding
        can end an iteration earlier or later, and the chain of frames carries that on (``docs/labels.md``).
    device : str
        ``auto``, ``cpu`` or ``cuda``. The official chain of frames is solved on the CPU in any case.
    options : ApgdOptions, optional
        Official settings when left out.
    progress : Progress, optional
        Called with the share of frames done.

    Returns
    -------
    intensity : float32 or float64, shape (n_frames, 9, 484)
        Linear, >= 0, no unit; bands of rising frequency, lattice order. 17 kB a frame in float32.

    Raises
    ------
    InputError
        Not 32 channels, no sound file.
    EnvironmentProblem
        The device cannot be used.
    """
    source = _open(audio, sample_rate_hz)
    wanted = len(source) if n_frames is None else min(max(n_frames, 0), len(source))
    held = _held(source)
    out = np.zeros((wanted, N_BANDS, N_LATTICE), dtype=dtype)
    for first, block in _solve_blocks(source, wanted, dtype=dtype, device=device, options=options, progress=progress):
        out[first : first + block.shape[0], held] = block.numpy()[:, held]
    return out


def intensity_maps(
    audio: LabelAudio,
    *,
    sample_rate_hz: float | None = None,
    n_frames: int | None = None,
    dtype: Precision = "float64",
    device: str = "auto",
    options: ApgdOptions | None = None,
    progress: Progress = no_progress,
) -> npt.NDArray[np.floating]:
    """Median over bands of :func:`band_intensities`, shape (n_frames, 484): the map under the labels.

    Parameters and errors as there; memory grows by 2 kB a frame only.
    """
    source = _open(audio, sample_rate_hz)
    wanted = len(source) if n_frames is None else min(max(n_frames, 0), len(source))
    held = _held(source)
    out = np.zeros((wanted, N_LATTICE), dtype=dtype)
    for first, block in _solve_blocks(source, wanted, dtype=dtype, device=device, options=options, progress=progress):
        out[first : first + block.shape[0]] = _median_over_bands(block, held)
    return out


# ---------------------------------------------------------------------------------------------------------------
# from the lattice to the canvas
# ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class CanvasInterpolation:
    """Linear interpolation from the lattice to the canvas: three lattice points and their weights for each pixel.

    Attributes
    ----------
    index : int32, shape (3, 180, 360)
        Lattice points of the triangle around the pixel, one plane for each corner.
    weight : float64, shape (3, 180, 360)
        Barycentric weights, sum 1; all 0 where the pixel lies outside the triangulation.
    """

    index: npt.NDArray[np.int32]
    weight: FloatArray

    @cached_property
    def matrix(self) -> sparse.csr_matrix:
        """The interpolation as a sparse matrix (64800, 484), pixels row by row."""
        pixels = np.tile(np.arange(ERP_HEIGHT * ERP_WIDTH), 3)
        keep = self.weight.ravel() != 0
        return sparse.csr_matrix(
            (self.weight.ravel()[keep], (pixels[keep], self.index.ravel()[keep])),
            shape=(ERP_HEIGHT * ERP_WIDTH, N_LATTICE),
        )


@lru_cache(maxsize=1)
def official_interpolation() -> CanvasInterpolation:
    """Interpolation of the official labels: Delaunay triangles in flat degrees, onto the projection grid.

    Equal to ``scipy.interpolate.griddata(method="linear", fill_value=0)`` on (azimuth, elevation) in degrees. Flat:
    the seam does not wrap, so that 9.8 % of the pixels (rows and columns at the poles and the seam) lie outside of
    the triangulation and are 0.
    """
    azimuth, elevation = fibonacci_lattice_deg()
    triangulation = Delaunay(np.stack([azimuth, elevation], axis=1))
    column_azimuth, row_elevation = projection_grid_deg()
    targets = np.stack([g.ravel() for g in np.meshgrid(column_azimuth, row_elevation, indexing="xy")], axis=1)
    simplex = triangulation.find_simplex(targets)
    inside = simplex >= 0
    transform = triangulation.transform[simplex[inside]]
    partial = np.einsum("nij,nj->ni", transform[:, :2], targets[inside] - transform[:, 2])
    index = np.zeros((targets.shape[0], 3), dtype=np.int32)
    weight = np.zeros((targets.shape[0], 3))
    index[inside] = triangulation.simplices[simplex[inside]]
    weight[inside] = np.concatenate([partial, 1.0 - partial.sum(1, keepdims=True)], axis=1)
    return _frozen_interpolation(index, weight)


@lru_cache(maxsize=1)
def spherical_interpolation() -> CanvasInterpolation:
    """Interpolation without a seam and without holes: triangles on the sphere, onto the label grid's pixel centres.

    The triangles are the faces of the convex hull of the 484 unit vectors (the Delaunay triangulation of the sphere);
    weights are those of the point where the pixel's direction pierces its face. Every pixel has three weights >= 0.
    """
    points = directions_to_vectors(*fibonacci_lattice_deg())
    faces = ConvexHull(points).simplices.astype(np.int32)
    x, y = np.meshgrid(np.arange(ERP_WIDTH) + 0.5, np.arange(ERP_HEIGHT) + 0.5, indexing="xy")
    targets = directions_to_vectors(180.0 - x.ravel(), 90.0 - y.ravel())
    # a direction d = c1 v1 + c2 v2 + c3 v3 lies in the face where all c are >= 0; faces near d suffice
    to_weights = np.linalg.inv(points[faces].transpose(0, 2, 1))
    centres = points[faces].sum(1)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    near = np.asarray(cKDTree(centres).query(targets, k=8)[1])
    weights = np.einsum("nkij,nj->nki", to_weights[near], targets)
    best = weights.min(2).argmax(1)
    rows = np.arange(targets.shape[0])
    weight = np.clip(weights[rows, best], 0.0, None)
    return _frozen_interpolation(faces[near[rows, best]], weight / weight.sum(1, keepdims=True))


def _frozen_interpolation(index: npt.NDArray[np.int32], weight: FloatArray) -> CanvasInterpolation:
    # planes: a window of each is read in one piece, and a sum over three planes is 4x faster than over a last axis of 3
    index = np.ascontiguousarray(index.T).reshape(3, ERP_HEIGHT, ERP_WIDTH)
    weight = np.ascontiguousarray(weight.T).reshape(3, ERP_HEIGHT, ERP_WIDTH)
    index.flags.writeable = False
    weight.flags.writeable = False
    return CanvasInterpolation(index, weight)


def canvas_maps(intensity: npt.NDArray[np.floating], *, official_quirks: bool = True) -> npt.NDArray[np.float32]:
    """Interpolate lattice maps onto the canvas.

    Parameters
    ----------
    intensity : float, shape (..., 484)
        Values on the lattice, e.g. of :func:`intensity_maps`.
    official_quirks : bool
        True: projection grid, 0 outside of the flat triangulation. False: label-grid pixel centres, no holes.

    Returns
    -------
    maps : float32, shape (..., 180, 360)
        New array; 0.26 MB a map, and twice that while it is made.
    """
    values = np.asarray(intensity)
    if values.ndim < 1 or values.shape[-1] != N_LATTICE:
        raise InputError(f"intensity has shape {values.shape}; its last axis must have {N_LATTICE} points.")
    interpolation = official_interpolation() if official_quirks else spherical_interpolation()
    flat = values.reshape(-1, N_LATTICE)
    canvas = (interpolation.matrix @ flat.T.astype(np.float64)).T
    return np.ascontiguousarray(canvas, dtype=np.float32).reshape(*values.shape[:-1], ERP_HEIGHT, ERP_WIDTH)


# ---------------------------------------------------------------------------------------------------------------
# from the canvas to regions
# ---------------------------------------------------------------------------------------------------------------

Part = tuple[npt.NDArray[np.int16], FloatArray]
"""Pixels (n, 2) as x, y and amplitudes (n,) of one connected part of a region."""


def official_regions(lattice: FloatArray, azimuth_deg: float, elevation_deg: float) -> list[Part]:
    """Regions of one metadata row exactly as the official code cuts them.

    Parameters
    ----------
    lattice : float64, shape (484,)
        Median intensity of the frame.
    azimuth_deg, elevation_deg : float
        Direction of the row, degrees; the Gaussian is centred on its truncated pixel, which the official formula
        puts one pixel low for 20 of the 360 whole azimuths and 10 of the whole elevations (rounding of floats).

    Returns
    -------
    parts : list of (pixels int16 (n, 2), amplitude float64 (n,))
        Label grid, pixels row by row; filled holes have amplitude 0. Order of the official contour search. A region
        over the seam has a part on either side; parts of a single pixel are left out.
    """
    centre_x = int(((-azimuth_deg + 180.0) % 360.0) / 360.0 * ERP_WIDTH)
    centre_y = int((90.0 - elevation_deg) / 180.0 * ERP_HEIGHT)
    narrowing = np.cos(np.radians(90.0 - (centre_y / ERP_HEIGHT) * 180.0))
    reach = _reach_deg(lattice)
    if reach < 0:
        return []
    top, bottom = max(centre_y - int(reach), 0), min(centre_y + int(reach) + 1, ERP_HEIGHT)
    if top >= bottom:
        return []
    half = ERP_WIDTH // 2 if abs(narrowing) * (ERP_WIDTH // 2) <= reach else int(reach / abs(narrowing))
    offset = np.arange(-half, min(half + 1, ERP_WIDTH // 2))
    first, last = centre_x + int(offset[0]), centre_x + int(offset[-1]) + 1
    columns = slice(first, last) if first >= 0 and last <= ERP_WIDTH else (centre_x + offset) % ERP_WIDTH
    interpolation = official_interpolation()
    window = np.zeros((bottom - top, offset.size))
    for index, weight in zip(interpolation.index, interpolation.weight, strict=True):
        window += lattice[index[top:bottom, columns]] * weight[top:bottom, columns]
    spread = 2.0 * GAUSSIAN_SIGMA_DEG**2
    window *= np.exp(-((np.arange(top, bottom) - centre_y) ** 2) / spread)[:, None]
    window *= np.exp(-((narrowing * offset) ** 2) / spread)
    window[window < AMPLITUDE_THRESHOLD] = 0.0
    strip = np.zeros((bottom - top, ERP_WIDTH))
    strip[:, columns] = window
    return _filled_parts(strip > 0, strip, top)


def corrected_regions(lattice: FloatArray, azimuth_deg: float, elevation_deg: float) -> list[Part]:
    """Regions of one metadata row without the official quirks.

    One grid for everything (label-grid pixel centres), no hole at the seam or the poles, the Gaussian in great-circle
    degrees around the exact direction, and filled holes keep the amplitude that they have. Parameters and result as
    in :func:`official_regions`.
    """
    reach = _reach_deg(lattice)
    if reach < 0:
        return []
    top = max(int(90.0 - elevation_deg - reach) - 1, 0)
    bottom = min(int(90.0 - elevation_deg + reach) + 2, ERP_HEIGHT)
    interpolation = spherical_interpolation()
    vectors = _pixel_vectors()[top:bottom]
    cosine = vectors @ directions_to_vectors(azimuth_deg, elevation_deg)
    distance = np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0)))
    strip = np.zeros(cosine.shape)
    near = distance <= reach + 1e-9
    for index, weight in zip(interpolation.index, interpolation.weight, strict=True):
        strip[near] += lattice[index[top:bottom][near]] * weight[top:bottom][near]
    strip *= np.exp(-(distance**2) / (2.0 * GAUSSIAN_SIGMA_DEG**2))
    return _filled_parts(strip >= AMPLITUDE_THRESHOLD, strip, top)


@lru_cache(maxsize=1)
def _pixel_vectors() -> FloatArray:
    x, y = np.meshgrid(np.arange(ERP_WIDTH) + 0.5, np.arange(ERP_HEIGHT) + 0.5, indexing="xy")
    vectors = directions_to_vectors(180.0 - x, 90.0 - y)
    vectors.flags.writeable = False
    return vectors


def _reach_deg(lattice: FloatArray) -> float:
    """Distance beyond which no pixel can reach the threshold, in degrees of the Gaussian; -1 if none can at all.

    An interpolated value never exceeds the largest lattice value, so the rest of the canvas need not be looked at.
    """
    peak = float(lattice.max(initial=0.0))
    if not peak >= AMPLITUDE_THRESHOLD:
        return -1.0
    # a hair more than the exact radius, against rounding in the exponential
    return float(GAUSSIAN_SIGMA_DEG * np.sqrt(2.0 * np.log(peak / AMPLITUDE_THRESHOLD))) + 1e-6


def _filled_parts(mask: npt.NDArray[np.bool_], amplitude: FloatArray, top: int) -> list[Part]:
    """Connected parts of a mask of whole canvas rows, holes filled; ``top`` is the first row's number."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    parts: list[Part] = []
    # last found first, whatever the OpenCV version does: the official order, and points and parts have one
    for contour in sorted((np.asarray(c, dtype=np.int32) for c in contours), key=_first_pixel, reverse=True):
        if contour.shape[0] < 2:
            continue
        left, up, width, height = cv2.boundingRect(contour)
        filled = np.zeros((height, width), dtype=np.uint8)
        cv2.fillPoly(filled, [contour - np.array([left, up], dtype=contour.dtype)], 1)
        y, x = np.nonzero(filled)
        # 16 bits a coordinate: a recording of nine minutes has some ten million pixels before they become a table
        pixels = np.empty((x.size, 2), dtype=np.int16)
        pixels[:, 0], pixels[:, 1] = x + left, y + (up + top)
        parts.append((pixels, amplitude[y + up, x + left]))
    return parts


def _first_pixel(contour: npt.NDArray[np.int32]) -> tuple[int, int]:
    """Row and column of the contour's first pixel in reading order."""
    x, y = contour[:, 0, 0], contour[:, 0, 1]
    row = int(y.min())
    return row, int(x[y == row].min())


def standardise(amplitude: npt.ArrayLike) -> FloatArray:
    """Map amplitudes to (0, 1) as STAIRS26 does: a sigmoid of ``(amplitude - mean) / deviation``; 0 gives 0.2243."""
    z = (np.asarray(amplitude, dtype=np.float64) - STANDARD_MEAN) / STANDARD_DEVIATION
    return np.exp(-np.logaddexp(0.0, -z))


# ---------------------------------------------------------------------------------------------------------------
# the recipe
# ---------------------------------------------------------------------------------------------------------------


def label_recording(
    audio: LabelAudio,
    metadata: DcaseMetadata,
    *,
    recording: str,
    sample_rate_hz: float | None = None,
    official_quirks: bool = True,
    dtype: Precision = "float64",
    device: str = "auto",
    options: ApgdOptions | None = None,
    progress: Progress = no_progress,
) -> StairsLabels:
    """Make the STAIRS26 label of one recording, standardised and raw.

    Parameters
    ----------
    audio : array of shape (n_samples, 32), path, or AudioInput
        Eigenmike capsules, capsule 1 first; any scale. A path or an :class:`AudioInput` is read block by block, so
        that a long recording stays on disk.
    metadata : DcaseMetadata
        One row per source and frame. Rows after the end of the audio get no label.
    recording : str
        Name of the recording, for the table and for messages.
    sample_rate_hz : float, optional
        Of an array; 24000 if left out. Other rates are resampled, and the notes say so.
    official_quirks : bool
        True: agree with the official code to the pixel. False: every row once, one grid, no holes at seam and poles
        (:func:`corrected_regions`). The intensities are the same.
    dtype : {"float64", "float32"}
        Precision of visibilities and solver. float64 agrees with the official code to 1e-11; in float32 a rounding
        can end an iteration earlier or later, and the chain of frames carries that on (``docs/labels.md``).
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    options : ApgdOptions, optional
        Solver settings; official when left out.
    progress : Progress, optional
        Called with the share of frames done; may raise ``CancelledError``.

    Returns
    -------
    StairsLabels
        Annotations sorted by frame, file order within a frame.

    Raises
    ------
    InputError
        Not 32 channels, no sound file.
    EnvironmentProblem
        The device cannot be used.
    """
    source = _open(audio, sample_rate_hz)
    n_frames = len(source)
    order = np.argsort(metadata.frame, kind="stable")
    order = order[metadata.frame[order] < n_frames]
    frames = metadata.frame[order]
    held = _held(source)
    builder = _TableBuilder(recording)
    without_region = repeated = done = 0
    cut = official_regions if official_quirks else corrected_regions
    # frames after the last row need no solution: nothing is written for them
    needed = int(frames[-1]) + 1 if frames.size else 0
    for first, block in _solve_blocks(source, needed, dtype=dtype, device=device, options=options, progress=progress):
        maps = _median_over_bands(block, held).astype(np.float64)
        stop = int(np.searchsorted(frames, first + block.shape[0]))
        for row in order[done:stop]:
            frame = int(metadata.frame[row])
            parts = cut(maps[frame - first], float(metadata.azimuth_deg[row]), float(metadata.elevation_deg[row]))
            if not parts:
                without_region += 1
                continue
            # official: the list of parts is written once per part
            copies = len(parts) if official_quirks else 1
            repeated += copies - 1
            for _ in range(copies):
                builder.add(
                    frame,
                    int(metadata.category_id[row]),
                    int(metadata.source_id[row]),
                    float(metadata.distance_cm[row]),
                    parts,
                )
        done = stop
    progress(1.0, "labelled")
    table, raw = builder.tables()
    return StairsLabels(
        table=table,
        raw=raw,
        n_frames=n_frames,
        n_rows_beyond_audio=int(metadata.frame.shape[0] - order.shape[0]),
        n_rows_without_region=without_region,
        n_repeated=repeated,
        dtype=dtype,
        notes=(*source.notes(), *_notes(held, dtype)),
    )


def annotate_recording(
    audio: LabelAudio,
    metadata: DcaseMetadata,
    *,
    recording: str,
    sample_rate_hz: float | None = None,
    standardise: bool = True,
    official_quirks: bool = True,
    dtype: Precision = "float64",
    device: str = "auto",
    options: ApgdOptions | None = None,
    progress: Progress = no_progress,
) -> AnnotationTable:
    """Make the STAIRS26 label of one recording: one of the two tables of :func:`label_recording`.

    ``standardise=False`` gives the raw amplitudes. All other parameters, and errors, as there.
    """
    labels = label_recording(
        audio,
        metadata,
        recording=recording,
        sample_rate_hz=sample_rate_hz,
        official_quirks=official_quirks,
        dtype=dtype,
        device=device,
        options=options,
        progress=progress,
    )
    return labels.table if standardise else labels.raw


def _notes(held: npt.NDArray[np.bool_], dtype: Precision) -> tuple[str, ...]:
    notes = []
    if not held.all():
        gone = [f"{hz:.0f}" for hz, there in zip(LABEL_CENTRES_HZ, held, strict=True) if not there]
        notes.append(
            f"The recording holds nothing of the bands at {', '.join(gone)} Hz: the median is over the other "
            f"{int(held.sum())} bands, so the label is not comparable with one of 24 kHz."
        )
    if dtype == "float32":
        notes.append(
            "Solved in float32: on ill-conditioned frames, energies may be off by some thousandths and a region by a "
            "few pixels (float64 is exact)."
        )
    return tuple(notes)


class _TableBuilder:
    """Collects annotations and turns them into the standardised and the raw table, which share their columns."""

    def __init__(self, recording: str) -> None:
        self._recording = recording
        self._columns: list[tuple[int, int, int, float, int]] = []
        self._pixels: list[npt.NDArray[np.int16]] = []
        self._amplitudes: list[FloatArray] = []

    def add(self, frame: int, category_id: int, instance_id: int, distance_cm: float, parts: list[Part]) -> None:
        self._columns.append((frame, category_id, instance_id, distance_cm, len(parts)))
        for pixels, amplitude in parts:
            self._pixels.append(pixels)
            self._amplitudes.append(amplitude)

    def tables(self) -> tuple[AnnotationTable, AnnotationTable]:
        if not self._columns:
            return AnnotationTable.empty(self._recording), AnnotationTable.empty(self._recording)
        frame, category, instance, distance, n_parts = zip(*self._columns, strict=True)
        sizes = [a.shape[0] for a in self._amplitudes]
        amplitude = np.concatenate(self._amplitudes)
        raw = AnnotationTable(
            recording=self._recording,
            frame=np.array(frame, dtype=np.int32),
            category_id=np.array(category, dtype=np.int16),
            instance_id=np.array(instance, dtype=np.int64),
            distance_cm=np.array(distance, dtype=np.float64),
            score=np.full(len(frame), np.nan),
            polygon_offsets=np.concatenate([[0], np.cumsum(n_parts)]),
            point_offsets=np.concatenate([[0], np.cumsum(sizes)]),
            points_xy=np.concatenate(self._pixels).astype(np.float64),
            energy=amplitude,
        )
        standard = AnnotationTable(
            recording=self._recording,
            frame=raw.frame,
            category_id=raw.category_id,
            instance_id=raw.instance_id,
            distance_cm=raw.distance_cm,
            score=raw.score,
            polygon_offsets=raw.polygon_offsets,
            point_offsets=raw.point_offsets,
            points_xy=raw.points_xy,
            energy=standardise(amplitude),
        )
        return standard, raw

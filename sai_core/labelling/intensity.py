"""From samples to the intensity on the lattice: the first chapter of a label.

Visibilities in nine bands, their power at the 484 lattice points, and the non-negative intensity that explains it
(:mod:`sai_core.labelling.apgd`), block by block; then the median over bands.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy import constants

from sai_core.acoustics.audio_input import AudioInput, held_bands
from sai_core.acoustics.visibility import LABEL_CENTRES_HZ, visibility_tensors
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.geometry import (
    N_LATTICE,
    SAMPLES_PER_FRAME,
    directions_to_vectors,
    em32_positions_m,
    fibonacci_lattice_deg,
)
from sai_core.labelling.apgd import ApgdOptions, ApgdProblem, solve_chains
from sai_core.progress import Progress, no_progress
from sai_core.threads import one_torch_thread

FloatArray = npt.NDArray[np.float64]
LabelAudio = AudioInput | str | os.PathLike[str] | npt.NDArray
"""A recording as an :class:`AudioInput` with 32 channels, a sound file, or samples of shape (n_samples, 32)."""
Precision = Literal["float32", "float64"]

N_BANDS: Final[int] = len(LABEL_CENTRES_HZ)
N_CAPSULES: Final[int] = 32
STEERING_MARGIN_HZ: Final[float] = 500.0
"""Added to the highest band centre to give the one wavelength of all steering vectors (official code)."""
_FRAMES_PER_BLOCK: Final[int] = 100
"""Frames that are worked on at once; two blocks are in memory, 31 MB of float32 audio each."""
_FRAMES_PER_PIECE: Final[int] = 10
"""Frames whose visibilities are made at once: 6 MB of float64 audio, which caches hold while it is turned."""


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


def solve_blocks(
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


def open_audio(audio: LabelAudio, sample_rate_hz: float | None) -> AudioInput:
    """Audio of a label, as it is or opened with 32 channels."""
    if isinstance(audio, AudioInput):
        return audio
    return AudioInput(audio, sample_rate_hz=sample_rate_hz, channels=32)


def bands_held(source: AudioInput) -> npt.NDArray[np.bool_]:
    """Which of the nine bands a recording holds; those above its sample rate would be images of the resampling."""
    held = held_bands(source.facts.file_rate_hz, LABEL_CENTRES_HZ)
    if not held.any():
        raise InputError(
            f"{source.facts.name}: at {source.facts.file_rate_hz} Hz the recording holds none of the bands of a label "
            f"(from {min(LABEL_CENTRES_HZ):.0f} Hz on)."
        )
    return held


def median_over_bands(intensity: torch.Tensor, held: npt.NDArray[np.bool_]) -> FloatArray:
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
    source = open_audio(audio, sample_rate_hz)
    wanted = len(source) if n_frames is None else min(max(n_frames, 0), len(source))
    held = bands_held(source)
    out = np.zeros((wanted, N_BANDS, N_LATTICE), dtype=dtype)
    for first, block in solve_blocks(source, wanted, dtype=dtype, device=device, options=options, progress=progress):
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
    source = open_audio(audio, sample_rate_hz)
    wanted = len(source) if n_frames is None else min(max(n_frames, 0), len(source))
    held = bands_held(source)
    out = np.zeros((wanted, N_LATTICE), dtype=dtype)
    for first, block in solve_blocks(source, wanted, dtype=dtype, device=device, options=options, progress=progress):
        out[first : first + block.shape[0]] = median_over_bands(block, held)
    return out

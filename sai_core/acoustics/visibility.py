"""Visibilities: one Hermitian matrix of cross-spectra per frame and band, from 4 or 32 microphone signals.

``S = conj(x) x^T``, summed over short blocks of a 100 ms frame and over the bins of a band. Three recipes:

``"official"``
    Ten blocks of 240 samples (10 ms) a frame, a Hann window (Tukey with alpha 1, symmetric), the one or two bins from
    ``int((fc - 25) * 240 / 24000)`` to ``int((fc + 25) * 240 / 24000)`` *added as complex numbers*, then the outer
    product, then the sum over the ten blocks. Band centres are the midpoints of ``linspace(1500, 4500, 10)`` Hz.
``"report"``
    A 512-point STFT (Hann, hop 236 samples: nine windows fill a frame of 2400 samples exactly, so no window crosses
    a frame's border and frame ``k`` needs samples ``[2400 k, 2400 (k + 1))`` only). Outer products of *every* bin,
    then the mean over the bins of each of nine uniform bands from 1500 to 4500 Hz (46.875 Hz a bin, seven or eight
    bins a band; a bin belongs to the band with ``low <= f < high``, the last band includes 4500 Hz) and over the
    windows. The report says that *magnitude spectra* are pooled; since a matrix needs the phase between capsules, it
    is cross-spectra that are pooled here: the diagonal is the pooled squared magnitude of each channel, and the
    off-diagonal keeps the phase.
``"precedence"``
    Ours: what comes first counts, as in hearing. Direct sound arrives before its reflections, so the blocks in which a
    band gets louder point to the source and those in which it fades point to the walls. Ten windows of 512 samples a
    frame (hop 240, centred on 10 ms, over the borders of frames; outside the recording is silence), every bin of
    the report's bands. With ``P(t)`` the power of a window in a band and ``F(t)``, the largest of the 32 windows before
    it let down by 60 dB in 0.3 s (what a reverberant room would still give), a window's matrix is weighted with
    ``(max(0, 1 - F / P)^2 + 0.01) / sqrt(P)``, and a frame is the sum over its own windows and those of two frames
    before and after it, with triangular weights (1, 2, 3, 2, 1). The sum is then scaled to the trace
    that the frame by itself has without any weights: direction from around the frame, loudness from the frame alone.
    Frame ``k`` needs the frames from ``k - 6`` to ``k + 3`` (:func:`halo_frames`).

All are calibrated alike: white noise of variance ``s^2`` gives ``s^2 / 36`` (a band's 333 Hz of the 12 kHz) on the
diagonal in every band, so the un-normalised matrices are in mean-square sample values and the recipes can be
compared. What happens to that magnitude is the ``normalise`` option:

``"largest_eigenvalue"``
    Each matrix is divided by its own largest eigenvalue (the official code): every frame and band looks equally loud.
``"frame"``
    One scale per frame: all nine matrices are divided by the largest eigenvalue of any of them, so the relative
    levels of the bands survive (the report's inter-band normalisation).
``"none"``
    Nothing is divided: a source of half the amplitude has a quarter of the matrix.

The divided-out scale is never lost: :class:`Visibilities` carries it as ``level``. Silence gives zero matrices and
level 0, not NaN (in the precedence recipe where the 136 samples beside the frame are silent too). The official code
clips negative eigenvalues too; a sum of outer products has none but rounding errors (1e-16), so there is nothing to
recompose.

Only the needed bins are computed, by one matrix product with windowed complex exponentials: 12 of the official
recipe's 240 bins are used, so an FFT would do more work than the product. All frames and bands are done at once.

References
----------
LAM: Roman, Roman, Bello, WASPAA 2025. Official code: ``lam_model.py`` of the DCASE 2026 Task 3 baseline. Differences:
other sample rates are resampled to 24 kHz first, where the official code would move the bins. Precedence in localising
by machine: the idea is old (for example J. Huang, N. Ohnishi, N. Sugie, IEEE Trans. Instrum. Meas. 46 (1997)); the
weights and their figures are our choice, found on simulated rooms (``docs/uplam.md``).
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from scipy.signal import windows

from sai_core.acoustics.audio_input import (
    LARGEST_SAMPLE,
    as_float_audio,
    held_bands,
    replace_non_finite,
    resample_to_24k,
)
from sai_core.acoustics.names import Normalise, Recipe
from sai_core.errors import InputError
from sai_core.geometry import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

ComplexArray = npt.NDArray[np.complexfloating[Any, Any]]

N_BANDS: Final[int] = 9

BAND_EDGES_HZ: Final[tuple[float, ...]] = tuple(float(f) for f in np.linspace(1500.0, 4500.0, N_BANDS + 1))
"""Edges of the nine feature bands in Hz."""

FEATURE_CENTRES_HZ: Final[tuple[float, ...]] = tuple(0.5 * (low + high) for low, high in pairwise(BAND_EDGES_HZ))
"""Centres of the nine feature bands in Hz: 1666.7, 2000 ... 4333.3."""

LABEL_CENTRES_HZ: Final[tuple[float, ...]] = tuple(float(f) for f in np.linspace(1500.0, 4500.0, N_BANDS))
"""Band centres that the STAIRS26 labels were made at, in Hz: 1500, 1875 ... 4500 (not the feature bands)."""

_BLOCK: Final[int] = 240
"""Samples of a block of the official recipe (10 ms)."""

_HALF_BAND_HZ: Final[float] = 25.0
"""Half of the official bandwidth of 50 Hz."""

_FFT: Final[int] = 512
_HOP: Final[int] = 236
"""Hop of the report's STFT: (2400 - 512) / 8, so that nine windows fill a frame."""

_CENTRED_HOP: Final[int] = 240
"""Hop of the precedence recipe: ten windows a frame, whose middles are those of ten blocks."""

_OVERLAP: Final[int] = (_FFT - _CENTRED_HOP) // 2
"""Samples by which a centred window reaches over its block, and so the first and the last of a frame over the frame."""

_FADE_WINDOWS: Final[int] = 30
"""Windows (0.3 s) in which the expected reverberation falls by 60 dB."""

_LOOK_BACK: Final[int] = 32
"""Windows before a window that its expected reverberation is made from; after them 60 dB have gone."""

_CONTEXT_FRAMES: Final[int] = 2
"""Frames before and after a frame that its precedence matrix sums over."""

_FLOOR_WEIGHT: Final[float] = 0.01
"""Weight of a window in which nothing new is heard; keeps steady sounds from vanishing."""

_BAND_SHARE: Final[float] = (BAND_EDGES_HZ[1] - BAND_EDGES_HZ[0]) / (SAMPLE_RATE_HZ / 2)
"""Share of white noise's power in a band: 1/36."""


class Visibilities(NamedTuple):
    """Matrices and the scale that was divided out of them.

    Attributes
    ----------
    matrices : complex tensor, shape (..., frames, bands, channels, channels)
        Hermitian, positive semi-definite.
    level : real tensor, shape (..., frames, bands)
        Largest eigenvalue of each matrix before normalisation, in mean-square sample values (white noise of variance
        ``s^2`` has ``s^2 / 36`` on the diagonal).
    """

    matrices: torch.Tensor
    level: torch.Tensor


def official_bins(centre_hz: float) -> tuple[int, int]:
    """First and last bin (inclusive, 100 Hz apart) that the official recipe adds for a band centre."""
    first = int((centre_hz - _HALF_BAND_HZ) * _BLOCK / SAMPLE_RATE_HZ)
    last = int((centre_hz + _HALF_BAND_HZ) * _BLOCK / SAMPLE_RATE_HZ)
    return first, last


def report_bins() -> tuple[npt.NDArray[np.int64], ...]:
    """Bins (46.875 Hz apart) of each of the nine bands of the report's recipe."""
    frequency = np.arange(_FFT // 2 + 1) * (SAMPLE_RATE_HZ / _FFT)
    edges = np.array(BAND_EDGES_HZ)
    # the last band includes its upper edge, which lies exactly on bin 96
    edges[-1] = np.nextafter(edges[-1], np.inf)
    return tuple(np.flatnonzero((frequency >= low) & (frequency < high)) for low, high in pairwise(edges))


@lru_cache(maxsize=16)
def _official_basis(centres_hz: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Windowed exponentials, shape (240, 2 * bands): real parts, then imaginary parts; calibrated."""
    n = np.arange(_BLOCK)[:, None]
    window = windows.tukey(_BLOCK, alpha=1.0, sym=True)[:, None]
    columns = []
    for centre in centres_hz:
        first, last = official_bins(centre)
        wave = np.exp(-2j * np.pi * n * np.arange(first, last + 1) / _BLOCK).sum(axis=1, keepdims=True) * window
        # ten blocks are added up; white noise of variance 1 must give the band's share of its power
        columns.append(wave * np.sqrt(_BAND_SHARE / (10 * np.sum(np.abs(wave) ** 2))))
    basis = np.concatenate(columns, axis=1)
    return np.concatenate([basis.real, basis.imag], axis=1)


def halo_frames(recipe: Recipe) -> tuple[int, int]:
    """Frames before and after a frame that its matrices depend on, (0, 0) for recipes that stay within a frame.

    Visibilities of a part of a recording equal those of the whole where that many frames on both sides are given.
    """
    if recipe != "precedence":
        return 0, 0
    # the windows of the context's first frame look back 32 windows and reach over their block at both ends
    behind = -(-(_LOOK_BACK * _CENTRED_HOP + _OVERLAP) // SAMPLES_PER_FRAME)
    return _CONTEXT_FRAMES + behind, _CONTEXT_FRAMES + 1


@lru_cache(maxsize=2)
def _pooled_basis(n_windows: int) -> npt.NDArray[np.float64]:
    """Windowed exponentials, shape (512, 2 * 9 * 8): bands padded with zero columns to the same number of bins."""
    n = np.arange(_FFT)
    window = windows.hann(_FFT, sym=False)
    bins = report_bins()
    most = max(len(b) for b in bins)
    basis = np.zeros((_FFT, N_BANDS, most), np.complex128)
    for band, members in enumerate(bins):
        scale = np.sqrt(_BAND_SHARE / (n_windows * len(members) * np.sum(window**2)))
        basis[:, band, : len(members)] = window[:, None] * np.exp(-2j * np.pi * n[:, None] * members / _FFT) * scale
    flat = basis.reshape(_FFT, -1)
    return np.concatenate([flat.real, flat.imag], axis=1)


@lru_cache(maxsize=32)
def _basis_on(recipe: Recipe, centres_hz: tuple[float, ...], dtype: torch.dtype, device: str) -> torch.Tensor:
    if recipe == "official":
        basis = _official_basis(centres_hz)
    else:
        hop, span = (_HOP, SAMPLES_PER_FRAME - _FFT + _HOP) if recipe == "report" else (_CENTRED_HOP, SAMPLES_PER_FRAME)
        basis = _pooled_basis(span // hop)
    # made outside inference mode, since a training step may use the cached tensor after an inference did
    with torch.inference_mode(mode=False):
        return torch.tensor(basis, dtype=dtype, device=device)


def visibility_tensors(
    audio: torch.Tensor,
    *,
    recipe: Recipe = "official",
    normalise: Normalise = "largest_eigenvalue",
    centres_hz: tuple[float, ...] = FEATURE_CENTRES_HZ,
    held: npt.NDArray[np.bool_] | None = None,
) -> Visibilities:
    """Visibilities of 24 kHz signals on any device, batched; the core of the functions below.

    Parameters
    ----------
    audio : float32 or float64 tensor, shape (..., samples, channels)
        Finite samples at 24 kHz; a tail shorter than 2400 samples is left out.
    recipe : {"official", "report", "precedence"}
        The last one takes what lies outside ``audio`` for silence; see :func:`halo_frames`.
    normalise : {"largest_eigenvalue", "frame", "none"}
        See the module's description.
    centres_hz : tuple of float
        Band centres of the official recipe; the report's bands are fixed.
    held : bool, shape (bands,), optional
        Bands that the recording holds (:func:`~sai_core.acoustics.audio_input.held_bands`): the others have zero
        matrices and level 0, and no part in a frame's common scale. All if not given.

    Returns
    -------
    Visibilities
        Complex64 for float32 audio, complex128 for float64; frames before bands. Not differentiable through ``level``.

    Raises
    ------
    InputError
        Unknown recipe or normalisation, fewer than four channels, or not a real floating tensor.
    """
    _check_options(recipe, normalise, centres_hz)
    if audio.ndim < 2 or not audio.is_floating_point():
        raise InputError(f"Audio is {tuple(audio.shape)} of {audio.dtype}; expected real (..., samples, channels).")
    channels = audio.shape[-1]
    check_channels(channels)
    lead = audio.shape[:-2]
    n_frames = audio.shape[-2] // SAMPLES_PER_FRAME
    # channels first, so that one large matrix product does all blocks of all channels
    rows = audio[..., : n_frames * SAMPLES_PER_FRAME, :].transpose(-1, -2)
    basis = _basis_on(recipe, tuple(centres_hz) if recipe == "official" else (), audio.dtype, str(audio.device))
    if recipe == "precedence":
        matrices, level = _precedence(rows, n_frames, basis)
        return _finished(matrices, level, normalise, held)
    if recipe == "official":
        packed = rows.reshape(*lead, channels, n_frames, SAMPLES_PER_FRAME // _BLOCK, _BLOCK) @ basis
        n_bands = len(centres_hz)
        spectrum = torch.complex(packed[..., :n_bands], packed[..., n_bands:])
        # (..., channels, frames, blocks, bands) -> (..., frames, bands, channels, blocks)
        spectrum = spectrum.movedim((-4, -3, -2, -1), (-2, -4, -1, -3))
    else:
        pieces = rows.reshape(*lead, channels, n_frames, SAMPLES_PER_FRAME).unfold(-1, _FFT, _HOP)
        packed = pieces @ basis
        half = packed.shape[-1] // 2
        spectrum = torch.complex(packed[..., :half], packed[..., half:]).unflatten(-1, (N_BANDS, -1))
        # (..., channels, frames, windows, bands, bins) -> (..., frames, bands, channels, windows * bins)
        spectrum = spectrum.movedim((-5, -4, -3, -2), (-3, -5, -2, -4)).flatten(-2)
    # one contiguous copy: the two products below would otherwise each make their own
    spectrum = spectrum.contiguous()
    matrices = spectrum.conj() @ spectrum.transpose(-1, -2)
    level = _largest_eigenvalue(spectrum, matrices)
    return _finished(matrices, level, normalise, held)


def _finished(
    matrices: torch.Tensor, level: torch.Tensor, normalise: Normalise, held: npt.NDArray[np.bool_] | None
) -> Visibilities:
    if held is not None and not held.all():
        gone = torch.from_numpy(~held).to(level.device)
        matrices, level = matrices.masked_fill(gone[:, None, None], 0.0), level.masked_fill(gone, 0.0)
    return Visibilities(_normalised(matrices, level, normalise), level)


def _precedence(rows: torch.Tensor, n_frames: int, basis: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrices and levels of the precedence recipe, (..., frames, bands, channels, channels) and (..., frames, bands).

    ``rows`` are (..., channels, frames * 2400) samples.
    """
    per_frame = SAMPLES_PER_FRAME // _CENTRED_HOP
    padded = torch.nn.functional.pad(rows, (_OVERLAP, _FFT - _CENTRED_HOP - _OVERLAP))
    pieces = padded.unfold(-1, _FFT, _CENTRED_HOP) if n_frames else padded.new_zeros(*rows.shape[:-1], 0, _FFT)
    packed = pieces @ basis
    half = packed.shape[-1] // 2
    spectrum = torch.complex(packed[..., :half], packed[..., half:]).unflatten(-1, (N_BANDS, -1))
    # (..., channels, windows, bands, bins) -> (..., windows, bands, channels, bins)
    spectrum = spectrum.movedim(-4, -2).contiguous()
    matrices = spectrum.conj() @ spectrum.transpose(-1, -2)
    power = matrices.diagonal(dim1=-2, dim2=-1).real.sum(dim=-1)
    weight = _onset_weight(power)
    framed = (n_frames, per_frame)
    own = power.unflatten(-2, framed).sum(dim=-2)
    weighted = (matrices * weight[..., None, None]).unflatten(-4, framed).sum(dim=-4)
    around = torch.zeros_like(weighted)
    for shift in range(-_CONTEXT_FRAMES, _CONTEXT_FRAMES + 1):
        count = n_frames - abs(shift)
        if count > 0:
            share = 1.0 - abs(shift) / (_CONTEXT_FRAMES + 1)
            around.narrow(-4, max(-shift, 0), count).add_(weighted.narrow(-4, max(shift, 0), count), alpha=share)
    trace = around.diagonal(dim1=-2, dim2=-1).real.sum(dim=-1)
    around = around * (own / torch.where(trace > 0, trace, torch.ones_like(trace)))[..., None, None]
    return around, _top_eigenvalue(around)


def _onset_weight(power: torch.Tensor) -> torch.Tensor:
    """Weight of each window, given its power, (..., windows, bands); 0 for silence."""
    fallen = 10.0 ** (-6.0 / _FADE_WINDOWS)
    loudest = power
    # doubling: after these five steps the largest of 32 windows, each let down by its age
    for step in (1, 2, 4, 8, _LOOK_BACK // 2):
        earlier = torch.nn.functional.pad(loudest, (0, 0, step, 0)).narrow(-2, 0, power.shape[-2])
        loudest = torch.maximum(loudest, earlier * fallen**step)
    floor = torch.nn.functional.pad(loudest, (0, 0, 1, 0)).narrow(-2, 0, power.shape[-2]) * fallen
    sounding = power > 0
    safe = torch.where(sounding, power, torch.ones_like(power))
    weight = ((1.0 - floor / safe).clamp_min(0.0).square() + _FLOOR_WEIGHT) * safe.rsqrt()
    return torch.where(sounding, weight, 0)


def _top_eigenvalue(matrices: torch.Tensor) -> torch.Tensor:
    if matrices.numel() == 0:
        return matrices.real.new_zeros(matrices.shape[:-2])
    return torch.linalg.eigvalsh(matrices.detach())[..., -1].clamp_min(0.0)


def _largest_eigenvalue(spectrum: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Largest eigenvalue of ``conj(X) X^T`` from whichever of the two Gram matrices is the smaller one."""
    smaller = spectrum.shape[-1] < spectrum.shape[-2]
    gram = spectrum.transpose(-1, -2) @ spectrum.conj() if smaller else matrices
    return _top_eigenvalue(gram)


def _normalised(matrices: torch.Tensor, level: torch.Tensor, normalise: Normalise) -> torch.Tensor:
    if normalise == "none":
        return matrices
    scale = level if normalise == "largest_eigenvalue" else level.amax(dim=-1, keepdim=True).expand_as(level)
    safe = torch.where(scale > 0, scale, torch.ones_like(scale))
    return matrices / safe[..., None, None]


def official_visibility(
    audio: npt.ArrayLike,
    sample_rate_hz: float = SAMPLE_RATE_HZ,
    *,
    dtype: npt.DTypeLike = np.float64,
    normalise: Normalise = "largest_eigenvalue",
    centres_hz: tuple[float, ...] = FEATURE_CENTRES_HZ,
) -> ComplexArray:
    """Visibilities by the official recipe (10 ms blocks, bins of 50 Hz bands); see the module's description.

    Parameters
    ----------
    audio : array_like, shape (samples, channels)
        At least four channels, in the array's order; floats, or integers that are divided by their full scale. NaN
        and infinite samples count as 0, with a warning.
    sample_rate_hz : int
        Other rates than 24000 are resampled first.
    dtype : float64 or float32
        Precision of the computation; the result is complex128 or complex64.
    normalise : {"largest_eigenvalue", "frame", "none"}
    centres_hz : tuple of float
        Band centres in Hz; :data:`LABEL_CENTRES_HZ` for the STAIRS26 label recipe.

    Returns
    -------
    complex, shape (bands, frames, channels, channels)
        Frame ``k`` covers samples ``[2400 k, 2400 (k + 1))``; a shorter tail is left out. New array.

    Raises
    ------
    InputError
        Fewer than four channels, a shape, type, rate or option that makes no sense.
    """
    return _as_array(audio, sample_rate_hz, "official", dtype, normalise, centres_hz)


def report_visibility(
    audio: npt.ArrayLike,
    sample_rate_hz: float = SAMPLE_RATE_HZ,
    *,
    dtype: npt.DTypeLike = np.float64,
    normalise: Normalise = "frame",
) -> ComplexArray:
    """Visibilities by the report's recipe (512-point STFT pooled into nine uniform bands), magnitudes kept per frame.

    Parameters and result as :func:`official_visibility`; the bands are fixed and the default normalisation is one
    scale per frame over all bands.
    """
    return _as_array(audio, sample_rate_hz, "report", dtype, normalise, FEATURE_CENTRES_HZ)


def precedence_visibility(
    audio: npt.ArrayLike,
    sample_rate_hz: float = SAMPLE_RATE_HZ,
    *,
    dtype: npt.DTypeLike = np.float64,
    normalise: Normalise = "largest_eigenvalue",
) -> ComplexArray:
    """Visibilities by the precedence recipe (what gets louder counts, over five frames); see the module's description.

    Parameters and result as :func:`official_visibility`; the bands are fixed, and frames outside ``audio`` are
    taken for silence.
    """
    return _as_array(audio, sample_rate_hz, "precedence", dtype, normalise, FEATURE_CENTRES_HZ)


def _as_array(
    audio: npt.ArrayLike,
    sample_rate_hz: float,
    recipe: Recipe,
    dtype: npt.DTypeLike,
    normalise: Normalise,
    centres_hz: tuple[float, ...],
) -> ComplexArray:
    _check_options(recipe, normalise, centres_hz)
    precision = np.dtype(dtype)
    if precision not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InputError(f"The precision is {precision}; choose float32 or float64.")
    samples = as_float_audio(audio, dtype=precision)
    check_channels(samples.shape[1])
    samples, bad = replace_non_finite(samples)
    if bad:
        warnings.warn(f"{bad} samples are NaN, infinite or beyond {LARGEST_SAMPLE:g} and count as 0", stacklevel=3)
    held = held_bands(sample_rate_hz, centres_hz)
    if not held.all():
        warnings.warn(f"{int((~held).sum())} bands lie above what {sample_rate_hz} Hz hold and are zero", stacklevel=3)
    samples = resample_to_24k(samples, sample_rate_hz)
    with torch.inference_mode():
        # torch cannot wrap read-only or negatively strided arrays without a copy or a warning
        made = visibility_tensors(
            torch.tensor(samples), recipe=recipe, normalise=normalise, centres_hz=tuple(centres_hz), held=held
        )
        return np.ascontiguousarray(made.matrices.movedim(1, 0).numpy())


def check_channels(channels: int) -> None:
    """Raise :class:`InputError` for fewer channels than the sphere's four capsules."""
    if channels < 4:
        kind = {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")
        raise InputError(f"The audio is {kind}; visibilities need the 4 channels of MIC recordings or 32 of an em32.")


def _check_options(recipe: str, normalise: str, centres_hz: tuple[float, ...]) -> None:
    if recipe not in get_args(Recipe):
        raise InputError(f"Visibility recipe '{recipe}' is not known; choose one of {', '.join(get_args(Recipe))}.")
    if normalise not in get_args(Normalise):
        raise InputError(f"Normalisation '{normalise}' is not known; choose one of {', '.join(get_args(Normalise))}.")
    if any(not (_HALF_BAND_HZ <= c <= SAMPLE_RATE_HZ / 2 - _HALF_BAND_HZ) for c in centres_hz):
        raise InputError(f"Band centres {list(centres_hz)} Hz must lie from 25 to 11975 Hz.")

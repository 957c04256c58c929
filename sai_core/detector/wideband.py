"""The wideband listener: what sounds in the direction of a candidate, by pitch, highs and rhythm.

A detector hears nine bands of 1.5 to 4.5 kHz, ten times a second. That says where a sound comes from and little of
what it is: speech has its pitch below, claps their highs above, knocks their rhythm between. The listener hears 64 mel
bands up to 12 kHz, twenty-five times a second over two seconds, from each candidate's direction, and gives each a
probability of every class and of nothing. A system says how much that counts (``wideband_weight``).

In
    Covariances of the four capsules in mel bands (:func:`mel_matrices`): the power of *any* beam is a quadratic form of
    them, so that they are made once for all candidates of a frame. Sources that sound together add up in them.
Window of a candidate, in 64 bands and 50 columns of 40 ms about the frame
    Power of a minimum-variance beam at its direction, with the covariance of the window; of a fixed beam (the most
    directive in a diffuse field); and of the mean of the capsules. In decibels against the window's mean power: the
    same for a recording at any level.
Out
    Natural logarithm of the probability of the 13 classes, then of nothing.

Within a mel band a direction counts as that of the band's middle: at most 0.3 rad off between capsules up to 4 kHz.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sai_core.acoustics.audio_input import AudioInput
from sai_core.acoustics.hermitian import quadratic_forms, unpack
from sai_core.acoustics.rigid_sphere import diffuse_coherence, steering
from sai_core.checkpoints import load_into, read_config, read_state_dict, save_network
from sai_core.detector.config import WidebandConfig
from sai_core.geometry import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, great_circle_deg, uplam_capsules_deg
from sai_core.installation import asset
from sai_core.listener.spectrum import COLUMNS_PER_FRAME, HOP, N_BANDS, mel_bands
from sai_core.taxonomy import N_CLASSES

FloatArray = npt.NDArray[np.float32]

SHIPPED_WIDEBAND: Final[Path] = asset("weights", "wideband.safetensors")
"""Weights trained by this project on simulated rooms, half of them with recorded sounds."""

_MARK: Final[str] = "sai_wideband"
"""Entry of a file's metadata that holds the configuration."""

N_OUT: Final[int] = N_CLASSES + 1
"""The 13 classes, then nothing."""

COLUMNS: Final[int] = 50
"""Columns of a window, 40 ms each."""

N_BEAMS: Final[int] = 3

_BEFORE: Final[int] = 47
_AFTER: Final[int] = 2 * COLUMNS - _BEFORE
"""Columns of 20 ms from the first one of a frame back to the beginning of its window, and on to its end."""


_SIZE: Final[int] = 1024
_EDGE: Final[int] = (_SIZE - HOP) // 2

_DIFFUSE: Final[float] = 0.3
_NOISE: Final[float] = 0.01
"""Load of the minimum-variance beam against a mean power of 1: so little data and errors of direction do no harm."""

_RANGE: Final[tuple[float, float]] = (1e-5, 1e3)
"""Of power against the window's mean; what is fainter is noise."""

_NOTHING_HEARD: Final[FloatArray] = np.array([-30.0] * N_CLASSES + [0.0], dtype=np.float32)
"""Of a silent window: logarithms of the probabilities of the classes (1e-13, since raw detections are finite), and of
nothing."""

_CHUNK: Final[int] = 256
"""Directions that are heard at once: 10 MB of windows."""

TOGETHER_DEG: Final[float] = 4.0
"""Candidates of a frame that are nearer to a stronger one than this are heard with it."""


def mel_matrices(audio: Tensor) -> Tensor:
    """Covariances of four capsules in mel bands.

    Parameters
    ----------
    audio : float Tensor, shape (samples, 4)
        24 kHz, the four UpLAM capsules; with ``_EDGE`` samples before the first column and as many after the last.

    Returns
    -------
    float Tensor, shape (columns, 64, 16)
        Of columns of 20 ms, Hermitian, packed (:mod:`sai_core.acoustics.hermitian`, ``S = conj(x) x^T``).
    """
    pieces = audio.T.unfold(1, _SIZE, HOP)
    spectra = torch.fft.rfft(pieces * torch.hann_window(_SIZE, periodic=False, device=audio.device), dim=-1)
    bands = torch.from_numpy(mel_bands()).to(audio.device)
    out = audio.new_zeros(pieces.shape[1], N_BANDS, 4, 4)
    for i in range(4):
        out[..., i, i] = spectra[i].abs().square() @ bands
        for j in range(i):
            cross = spectra[i].conj() * spectra[j]
            real, imag = cross.real @ bands, cross.imag @ bands
            out[..., i, j], out[..., j, i] = real + imag, real - imag
    return out.flatten(-2)


class Samples(Protocol):
    """Four channels at 24 kHz that are read by frames, as :class:`AudioInput`."""

    def __len__(self) -> int: ...

    def read(self, first: int, last: int) -> npt.NDArray[np.float32]:
        """Samples of frames ``first`` to ``last - 1``, (2400 * (last - first), 4)."""
        ...


def mel_matrices_of(source: Samples, first: int, last: int) -> Tensor:
    """:func:`mel_matrices` of what the windows of frames ``first`` to ``last - 1`` reach, the same in any pieces.

    Returns
    -------
    float32 Tensor, shape (5 * (last - first) + 95, 64, 16)
        The window of the k-th frame begins at column 5 k; silence before and after the recording.
    """
    low = first * SAMPLES_PER_FRAME - _BEFORE * HOP - _EDGE
    high = (last - 1) * SAMPLES_PER_FRAME + _AFTER * HOP + _EDGE
    start, stop = max(low // SAMPLES_PER_FRAME, 0), min(-(-high // SAMPLES_PER_FRAME), len(source))
    samples = source.read(start, stop)
    around = np.zeros((high - low, 4), dtype=np.float32)
    begin, end = max(low, start * SAMPLES_PER_FRAME), min(high, stop * SAMPLES_PER_FRAME)
    around[begin - low : end - low] = samples[begin - start * SAMPLES_PER_FRAME : end - start * SAMPLES_PER_FRAME]
    return mel_matrices(torch.from_numpy(around))


@lru_cache(maxsize=1)
def _centres_hz() -> npt.NDArray[np.float64]:
    bands = mel_bands().astype(np.float64)
    frequency = np.fft.rfftfreq(_SIZE, 1.0 / SAMPLE_RATE_HZ)[:, None]
    centres: npt.NDArray[np.float64] = (bands * frequency).sum(axis=0) / bands.sum(axis=0)
    return centres


@lru_cache(maxsize=1)
def _diffuse() -> Tensor:
    """Of a diffuse field with a mean power of 1 in a capsule, complex64 (64, 4, 4)."""
    matrices = diffuse_coherence(_centres_hz(), capsules_deg=uplam_capsules_deg())
    mean = np.trace(matrices, axis1=1, axis2=2) / 4.0
    return torch.from_numpy(matrices / mean[:, None, None]).to(torch.complex64)


def windows_of(sound: Tensor, frame: Tensor, azimuth_deg: npt.ArrayLike, elevation_deg: npt.ArrayLike) -> Tensor:
    """What the network sees of candidates.

    Parameters
    ----------
    sound : float32 Tensor, shape (frames, 100, 64, 16)
        Windows of :func:`mel_matrices`.
    frame : int64 Tensor, shape (n,)
        Which of the windows each candidate is heard in.
    azimuth_deg, elevation_deg : array_like, shape (n,)

    Returns
    -------
    float32 Tensor, shape (n, 3, 50, 64)
        Units of 20 dB against the mean power of the window.
    """
    pairs = sound.unflatten(1, (COLUMNS, 2)).mean(dim=2)
    vectors = steering(azimuth_deg, elevation_deg, _centres_hz(), capsules_deg=uplam_capsules_deg())
    towards = torch.from_numpy(vectors.transpose(2, 0, 1)).to(sound.device, torch.complex64)  # (n, 64, 4)
    diffuse = _diffuse().to(sound.device)
    eye = torch.eye(4, device=sound.device)
    mean = unpack(pairs.mean(dim=1).unflatten(-1, (4, 4)))
    level = mean.diagonal(dim1=-2, dim2=-1).real.mean(dim=-1).clamp_min(1e-20)
    inverse = torch.linalg.inv(mean / level[..., None, None] + _DIFFUSE * diffuse + _NOISE * eye)
    fixed = torch.linalg.inv(diffuse + _NOISE * eye)
    beams = []
    for matrix in (inverse[frame], fixed.expand(len(frame), -1, -1, -1)):
        weights = (matrix @ towards[..., None])[..., 0]
        passed = (towards.conj() * weights).sum(dim=-1).real.clamp_min(1e-9)
        beams.append(quadratic_forms((weights / passed[..., None])[..., None])[..., 0])
    forms = torch.stack(beams, dim=1)  # (n, 2, 64, 16)
    everywhere = pairs[..., ::5].mean(dim=-1)
    whole = everywhere.mean(dim=(1, 2)).clamp_min(1e-20)
    share = forms.new_empty(len(frame), N_BEAMS, COLUMNS, N_BANDS)
    for number in torch.unique(frame).tolist():
        rows = torch.nonzero(frame == number)[:, 0]
        of_band = pairs[number].transpose(0, 1)  # (64, 50, 16)
        power = torch.bmm(of_band, forms[rows].flatten(0, 1).permute(1, 2, 0))  # (64, 50, 2 n)
        share[rows, : N_BEAMS - 1] = power.permute(2, 1, 0).unflatten(0, (len(rows), N_BEAMS - 1)) / whole[number]
        share[rows, N_BEAMS - 1] = everywhere[number] / whole[number]
    return share.clamp_(*_RANGE).log10_().mul_(0.5)


def heard_together(
    frame: npt.NDArray[np.integer],
    azimuth_deg: npt.NDArray[np.floating],
    elevation_deg: npt.NDArray[np.floating],
    *,
    within_deg: float = TOGETHER_DEG,
) -> npt.NDArray[np.int64]:
    """For each candidate the row of the one that it is heard with: the first of its frame that is near enough.

    Detectors give many candidates for one source; four capsules cannot tell directions apart that are so near. Where
    rows stand strongest first, each is heard in the direction of the strongest.

    Parameters
    ----------
    frame : int, shape (n,)
        In order.
    azimuth_deg, elevation_deg : float, shape (n,)
    within_deg : float

    Returns
    -------
    int64, shape (n,)
        At most the row itself.
    """
    leader = np.arange(len(frame), dtype=np.int64)
    for rows in np.split(leader.copy(), np.flatnonzero(np.diff(frame)) + 1):
        angle = great_circle_deg(
            azimuth_deg[rows, None], elevation_deg[rows, None], azimuth_deg[None, rows], elevation_deg[None, rows]
        )
        free = np.ones(len(rows), dtype=bool)
        for k in range(len(rows)):
            if free[k]:
                near = free & (angle[k] <= within_deg)
                near[k] = True
                leader[rows[near]] = rows[k]
                free &= ~near
    return leader


class WidebandNetwork(nn.Module):
    """Convolutions over time and bands, then over time.

    Parameters
    ----------
    config : WidebandConfig, optional
    """

    def __init__(self, config: WidebandConfig | None = None) -> None:
        super().__init__()
        self.config = config or WidebandConfig()
        width = self.config.width

        def layer(before: int, after: int, stride: tuple[int, int]) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
            )

        self.bands = nn.Sequential(
            layer(N_BEAMS, width, (2, 2)),
            layer(width, 2 * width, (1, 2)),
            layer(2 * width, 4 * width, (2, 2)),
            layer(4 * width, 6 * width, (1, 2)),
        )
        self.time = nn.Sequential(
            nn.Conv1d(6 * width * (N_BANDS // 16), 10 * width, 3, padding=1, bias=False),
            nn.BatchNorm1d(10 * width),
            nn.ReLU(),
        )
        self.out = nn.Sequential(nn.Dropout(0.2), nn.Linear(30 * width, N_OUT))

    def forward(self, windows: Tensor) -> Tensor:
        """Logits (n, 14) of windows (n, 3, 50, 64)."""
        x = self.bands(windows)
        x = self.time(x.transpose(2, 3).flatten(1, 2))
        middle = x.shape[-1] // 2
        now = x[..., middle - 1 : middle + 2].mean(dim=2)
        logits: Tensor = self.out(torch.cat([now, x.mean(dim=2), x.amax(dim=2)], dim=1))
        return logits

    @torch.inference_mode()
    def of_frames(
        self,
        source: AudioInput,
        first: int,
        last: int,
        frame: npt.NDArray[np.integer],
        azimuth_deg: npt.NDArray[np.floating],
        elevation_deg: npt.NDArray[np.floating],
    ) -> FloatArray:
        """Listen to candidates of frames ``first`` to ``last - 1`` of a recording of four channels.

        Parameters
        ----------
        source : AudioInput
        first, last : int
        frame : int, shape (n,)
            Of each candidate, in the recording, ``first`` to ``last - 1``, in order; strongest first within a frame
            (:func:`heard_together`).
        azimuth_deg, elevation_deg : float, shape (n,)

        Returns
        -------
        float32, shape (n, 14)
            Natural logarithms of probabilities; each row's probabilities add up to 1. Where a window holds no sound at
            all, nothing is heard, whatever the network makes of a window of zeros.
        """
        out = np.zeros((len(frame), N_OUT), dtype=np.float32)
        if not len(frame):
            return out
        leader = heard_together(frame, azimuth_deg, elevation_deg)
        leaders = np.flatnonzero(leader == np.arange(len(leader)))
        device = next(self.parameters()).device
        matrices = mel_matrices_of(source, first, last).to(device)
        windows = matrices.unfold(0, 2 * COLUMNS, COLUMNS_PER_FRAME).permute(0, 3, 1, 2)
        for start in range(0, len(leaders), _CHUNK):
            part = leaders[start : start + _CHUNK]
            numbers, place = np.unique(frame[part], return_inverse=True)
            sound = windows[torch.from_numpy(numbers.astype(np.int64) - first).to(device)]
            seen = windows_of(sound, torch.from_numpy(place).to(device), azimuth_deg[part], elevation_deg[part])
            heard = self(seen).float().log_softmax(dim=1).cpu().numpy()
            heard[~sound.flatten(1).any(dim=1).cpu().numpy()[place]] = _NOTHING_HEARD
            out[part] = heard
        return out[leader]


def save_wideband(
    model: WidebandNetwork, path: Path, *, notes: Mapping[str, str] | None = None, half: bool = False
) -> None:
    """Write weights and configuration to one safetensors file, atomically.

    Parameters
    ----------
    model : WidebandNetwork
    path : Path
    notes : mapping of str to str, optional
        Provenance, kept in the file's metadata.
    half : bool
        float16 instead of float32.
    """
    save_network(model, path, {_MARK: model.config.to_json(), **(notes or {})}, half=half)


def load_wideband(path: Path, *, device: str | torch.device = "cpu") -> WidebandNetwork:
    """Open what :func:`save_wideband` wrote, in evaluation mode.

    Raises
    ------
    InputError
        No such file, not a wideband listener of ours, or weights that do not fit its configuration.
    """
    path = Path(path)
    refusal = "not a wideband listener; give what `train wideband` made."
    model = WidebandNetwork(read_config(path, _MARK, WidebandConfig.from_json, refusal=refusal))
    load_into(model, read_state_dict(path), path, what="a wideband listener with this configuration")
    return model.to(device).eval()

"""The official DCASE 2024 SELDnet as a teacher: its features, its network, its way of cutting and decoding.

Opens the checkpoints that the baseline publishes (torch state dicts, whatever their ending; ``.h5`` by habit): Multi-
ACCDOA with distance, audio alone, for ambisonics (log-mel and intensity vectors, 7 channels) or the 4-channel array
(log-mel and GCC-PHAT, 10 channels).

Features
    24 kHz; Hann windows of 960 samples every 480 (20 ms), centred, in an FFT of 1024; 64 mel bands by Slaney's scale
    and norm; decibels no more than 80 below the recording's loudest cell of the channel; intensity divided by energy,
    then summed over mel bands; GCC-PHAT with 64 lags around zero.
Scaling
    The baseline divides by means and deviations of its training features, which are not in the checkpoint. Where they
    are given (``--teacher-scaler``), they are used; else each channel and band is standardised over the recording
    itself, which is not what the network was trained with, and said.
Network
    Sequences of 50 label frames (5 s) by themselves, the last one filled up with 1e-6, as the baseline does. Output:
    three tracks of 13 classes, each a vector (its length is the activity; active above 0.5) and metres.

Difference: the last window of a recording sees zeros instead of up to 32 samples of the part of a frame that is left
out everywhere in this program.

References
----------
D. Diaz-Guerra et al., "Baseline models and evaluation of sound event localization and detection with distance
estimation in DCASE2024 challenge", DCASE Workshop 2024; code: github.com/partha2409/DCASE2024_seld_baseline.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sai_core.annotations import DcaseMetadata
from sai_core.checkpoints import fit_names, load_into
from sai_core.dataset import Recording
from sai_core.errors import InputError
from sai_core.geometry import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from sai_core.taxonomy import N_CLASSES
from sai_core.teacher.decode import decode
from sai_core.teacher.features import CHANNELS, HOPS_PER_FRAME, N_MELS, AudioKind, open_audio
from sai_core.teacher.network import DEFAULT_THRESHOLD, DISTANCE_UNIT_CM, N_TRACKS

SEQUENCE_FRAMES: Final[int] = 50
"""Label frames that the network sees at once (5 s)."""

_HOP: Final[int] = SAMPLES_PER_FRAME // HOPS_PER_FRAME
_WINDOW: Final[int] = 2 * _HOP
_N_FFT: Final[int] = 1024
_EPS: Final[float] = 1e-8
_FILL: Final[float] = 1e-6
_FILTERS, _HIDDEN, _HEADS = 64, 128, 8
_FIRST: Final[str] = "conv_block_list.0.conv.weight"


class _ConvBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, _FILTERS, 3, padding=1)
        self.bn = nn.BatchNorm2d(_FILTERS)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, normalise, rectify; shape (batch, 64, time, mel)."""
        return F.relu(self.bn(self.conv(x)))


class SeldNet(nn.Module):
    """The official network; keys of its state dict are those of the checkpoints.

    Parameters
    ----------
    audio : {"mic", "foa"}

    Attributes
    ----------
    audio : {"mic", "foa"}
    threshold : float
        Least length of an active vector.
    scaler : tuple of arrays, or None
        Means and deviations of training features, each (channels, 64); None: those of each recording.
    """

    def __init__(self, audio: AudioKind) -> None:
        super().__init__()
        self.audio: AudioKind = audio
        self.threshold = DEFAULT_THRESHOLD
        self.scaler: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None
        # pooling and dropout stand in the list beside the convolutions, which is why these have every third place
        self.conv_block_list = nn.ModuleList()
        for place, pool in enumerate(((HOPS_PER_FRAME, 4), (1, 4), (1, 2))):
            block = _ConvBlock(_FILTERS if place else CHANNELS[audio])
            self.conv_block_list.extend([block, nn.MaxPool2d(pool), nn.Identity()])
        self.gru = nn.GRU(2 * _FILTERS, _HIDDEN, num_layers=2, batch_first=True, bidirectional=True)
        self.mhsa_block_list = nn.ModuleList(nn.MultiheadAttention(_HIDDEN, _HEADS, batch_first=True) for _ in range(2))
        self.layer_norm_list = nn.ModuleList(nn.LayerNorm(_HIDDEN) for _ in range(2))
        self.fnn_list = nn.ModuleList([nn.Linear(_HIDDEN, 128), nn.Linear(128, N_TRACKS * 4 * N_CLASSES)])

    def forward(self, spectral: Tensor) -> Tensor:
        """Raw output of sequences.

        Parameters
        ----------
        spectral : Tensor, shape (batch, 7 or 10, 5 * frames, 64)
            Scaled features.

        Returns
        -------
        Tensor, shape (batch, frames, 3, 4, 13)
            x, y, z and metres of each track and class, as the network gives them (metres may be negative).
        """
        for module in self.conv_block_list:
            spectral = module(spectral)
        x = spectral.transpose(1, 2).flatten(2)
        x = torch.tanh(self.gru(x)[0])
        x = x[..., _HIDDEN:] * x[..., :_HIDDEN]
        for attention, norm in zip(self.mhsa_block_list, self.layer_norm_list, strict=True):
            x = norm(x + attention(x, x, x, need_weights=False)[0])
        for layer in self.fnn_list:
            x = layer(x)
        return x.unflatten(-1, (N_TRACKS, 4, N_CLASSES))


def is_seldnet(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is one of this network (of any number of input channels)."""
    return any(key.endswith(_FIRST) for key in state)


def seldnet_of(state: Mapping[str, Tensor], path: Path) -> SeldNet:
    """Network of an official state dict, in evaluation mode.

    Raises
    ------
    InputError
        Another variant than FOA or MIC-GCC with Multi-ACCDOA, or weights that do not fit.
    """
    named = fit_names(state, SeldNet("foa").state_dict())
    channels = int(named[_FIRST].shape[1]) if _FIRST in named and named[_FIRST].ndim == 4 else 0
    kinds: dict[int, AudioKind] = {CHANNELS["foa"]: "foa", CHANNELS["mic"]: "mic"}
    if channels not in kinds:
        raise InputError(
            f"{path}: a SELDnet with {channels} input channels; those for ambisonics (7: log-mel, intensity) and for "
            "the 4-channel array (10: log-mel, GCC) can be used."
        )
    outputs = named.get("fnn_list.1.bias")
    if outputs is not None and outputs.numel() != N_TRACKS * 4 * N_CLASSES:
        raise InputError(
            f"{path}: a SELDnet with {outputs.numel()} outputs; Multi-ACCDOA with distance of 13 classes has "
            f"{N_TRACKS * 4 * N_CLASSES} (the official DCASE 2024 variants 3 and 6)."
        )
    if any(key.startswith("transformer_decoder") for key in named):
        raise InputError(f"{path}: an audio-visual SELDnet; the official ones for audio alone can be used.")
    model = SeldNet(kinds[channels])
    load_into(model, named, path, what="the official DCASE 2024 SELDnet")
    return model.eval()


def read_scaler(path: Path, audio: AudioKind) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Means and deviations of training features from an ``.npz`` file with the arrays ``mean`` and ``scale``.

    The baseline keeps them as a pickled StandardScaler ``s``; ``np.savez("scaler.npz", mean=s.mean_, scale=s.scale_)``
    writes them so that nothing needs to be unpickled.

    Returns
    -------
    mean, scale : float64, shape (7 or 10, 64)

    Raises
    ------
    InputError
        Not such a file, or of another number of features.
    """
    wanted = CHANNELS[audio] * N_MELS
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            mean, scale = (np.asarray(stored[name], dtype=np.float64).ravel() for name in ("mean", "scale"))
    except (OSError, ValueError, KeyError, EOFError, TypeError, IndexError, zipfile.BadZipFile) as error:
        raise InputError(
            f'{path}: not the scaler of a teacher; write one with np.savez("scaler.npz", mean=s.mean_, scale=s.scale_) '
            "from the baseline's StandardScaler s."
        ) from error
    if mean.shape != (wanted,) or scale.shape != (wanted,):
        raise InputError(f"{path}: holds {mean.size} means and {scale.size} scales; this teacher has {wanted}.")
    if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise InputError(f"{path}: means must be finite and scales positive.")
    return mean.reshape(-1, N_MELS), scale.reshape(-1, N_MELS)


@lru_cache(maxsize=1)
def slaney_filters() -> npt.NDArray[np.float64]:
    """Mel filters of unit area, shape (513, 64), 0 to 12 kHz, linear below 1 kHz (Slaney's Auditory Toolbox)."""
    per_mel, knee_hz, step = 200.0 / 3.0, 1000.0, np.log(6.4) / 27.0
    knee = knee_hz / per_mel
    top = knee + np.log(SAMPLE_RATE_HZ / 2 / knee_hz) / step
    mels = np.linspace(0.0, top, N_MELS + 2)
    edges = np.where(mels < knee, mels * per_mel, knee_hz * np.exp(step * (mels - knee)))
    frequency = np.fft.rfftfreq(_N_FFT, 1.0 / SAMPLE_RATE_HZ)
    rising = (frequency[:, None] - edges[None, :-2]) / np.diff(edges)[None, :-1]
    falling = (edges[None, 2:] - frequency[:, None]) / np.diff(edges)[None, 1:]
    return np.clip(np.minimum(rising, falling), 0.0, None) * 2.0 / (edges[2:] - edges[:-2])


def seldnet_features(
    audio: npt.NDArray[np.floating], kind: AudioKind, *, highest_hz: float = SAMPLE_RATE_HZ / 2
) -> npt.NDArray[np.float64]:
    """Unscaled features of a whole recording.

    Parameters
    ----------
    audio : float, shape (2400 * frames, 4)
        24 kHz; as it stands in ``foa_dev`` or ``mic_dev``.
    kind : {"mic", "foa"}
    highest_hz : float
        What is above counts as silence: a file of a lower sample rate holds only images of the resampling there.

    Returns
    -------
    float64, shape (7 or 10, 5 * frames, 64)
    """
    columns = audio.shape[0] // _HOP
    out = np.zeros((CHANNELS[kind], columns, N_MELS))
    filters = slaney_filters()
    half = _N_FFT // 2
    padded = np.pad(np.asarray(audio, np.float64) + _EPS, ((half, half), (0, 0)))
    window = np.zeros(_N_FFT)
    window[(_N_FFT - _WINDOW) // 2 : (_N_FFT + _WINDOW) // 2] = np.hanning(_WINDOW + 1)[:-1]
    windows = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT, axis=0)[::_HOP]
    pairs = list(combinations(range(4), 2))
    held = np.fft.rfftfreq(_N_FFT, 1.0 / SAMPLE_RATE_HZ) <= highest_hz
    # a minute at a time: spectra are twenty times the size of the features
    for first in range(0, columns, 3000):
        part = slice(first, min(first + 3000, columns))
        spectrum = np.fft.rfft(windows[part] * window, axis=-1) * held
        power = np.abs(spectrum) ** 2
        out[:4, part] = np.moveaxis(10.0 * np.log10(np.maximum(power @ filters, 1e-10)), 1, 0)
        if kind == "foa":
            intensity = np.real(np.conj(spectrum[:, :1]) * spectrum[:, 1:])
            energy = _EPS + power[:, 0] + power[:, 1:].sum(axis=1) / 3.0
            out[4:, part] = np.moveaxis((intensity / energy[:, None]) @ filters, 1, 0)
        else:
            for place, (a, b) in enumerate(pairs):
                phase = np.exp(1j * np.angle(np.conj(spectrum[:, a]) * spectrum[:, b]))
                lags = np.fft.irfft(phase * held, axis=-1)
                out[4 + place, part] = np.concatenate([lags[:, -N_MELS // 2 :], lags[:, : N_MELS // 2]], axis=1)
    if columns:
        loudest = out[:4].max(axis=(1, 2), keepdims=True)
        np.maximum(out[:4], loudest - 80.0, out=out[:4])
    return out


def scaled(
    features: npt.NDArray[np.float64], scaler: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None
) -> npt.NDArray[np.float32]:
    """Standardise each channel and band: by a scaler, or by what the recording itself has."""
    if features.shape[1] == 0:
        return features.astype(np.float32)
    mean, scale = (features.mean(axis=1), features.std(axis=1)) if scaler is None else scaler
    # as StandardScaler: what never changes is left alone
    scale = np.where(scale > 10 * np.finfo(np.float64).eps, scale, 1.0)
    return ((features - mean[:, None]) / scale[:, None]).astype(np.float32)


@torch.inference_mode()
def seldnet_output(model: SeldNet, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Network's output of a whole recording, sequence by sequence.

    Parameters
    ----------
    model : SeldNet
    features : float32, shape (channels, 5 * frames, 64)
        Scaled.

    Returns
    -------
    float32, shape (frames, 3, 13, 4)
        Vectors, and distances in units of 500 cm (>= 0), as :func:`sai_core.teacher.decode.decode` takes them.
    """
    channels, columns, _ = features.shape
    frames = columns // HOPS_PER_FRAME
    if frames == 0:
        return np.zeros((0, N_TRACKS, N_CLASSES, 4), np.float32)
    length = SEQUENCE_FRAMES * HOPS_PER_FRAME
    filled = np.full((channels, -(-columns // length) * length, N_MELS), _FILL, np.float32)
    filled[:, :columns] = features
    sequences = torch.from_numpy(filled.reshape(channels, -1, length, N_MELS).swapaxes(0, 1).copy())
    device = next(model.parameters()).device
    parts = [model(part.to(device)).cpu() for part in sequences.split(16)]
    output = torch.cat(parts).flatten(0, 1)[:frames].transpose(2, 3).contiguous().numpy()
    output[..., 3] = np.maximum(output[..., 3], 0.0) * (100.0 / DISTANCE_UNIT_CM)
    return np.asarray(output, np.float32)


def predict_with_seldnet(model: SeldNet, recording: Recording, *, threshold: float | None = None) -> DcaseMetadata:
    """DCASE rows of a recording; the caller has made sure that its audio is there."""
    source, highest_hz = open_audio(recording, model.audio)
    parts = [block for _, block in source.blocks(600)]
    audio = np.concatenate(parts) if parts else np.zeros((0, 4), np.float32)
    features = scaled(seldnet_features(audio, model.audio, highest_hz=highest_hz), model.scaler)
    return decode(
        seldnet_output(model, features),
        threshold=model.threshold if threshold is None else threshold,
        recording=recording.name,
        unit_vectors=False,
    )

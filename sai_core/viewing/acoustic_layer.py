"""Acoustic maps of a recording as a layer of the player: what the detector hears, block by block.

The nine-band maps stay on the 484-point lattice until they are in the browser, which expands them with one index
table; a block of 20 frames is 87 kB instead of 11.7 MB. The table is the official nearest-point grid (projection
grid), because that is the picture a network is given.

Maps are sent as levels, power in decibels below the loudest value of the recording, so that the browser needs no
server for another reference or range. The reference (0 dB of the picture) is the recording's own: the median of its
five loudest frames, for each way of putting bands together, so that neither one click nor the recording's gain
changes the picture. It is never below :data:`LEAST_REFERENCE_DB`: rounding noise is not blown up to a source.

Torch is loaded when a layer is first opened, not when this module is imported: it costs seconds that a user who only
looks at labels should not wait for.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from sai_core.dataset import Recording
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
STEP_DB: Final[float] = 0.4
"""Levels are sent in steps of this: a byte spans 102 dB below the recording's loudest value."""

LOUD_FRAMES: Final[int] = 5
"""The reference is the median peak of so many frames, the loudest ones."""

LEAST_REFERENCE_DB: Final[float] = -90.0
"""Lowest reference, mean-square sample values in dB re full scale. The rounding of 16-bit files gives maps of some
-118 dB, which a range of 30 dB leaves nearly dark; a source at -70 dBFS is above it."""

_CHUNK_FRAMES: Final[int] = 500
_THIRDS: Final[tuple[str, ...]] = ("low", "mid", "high")


@dataclass(frozen=True, eq=False)
class AcousticLayer:
    """Maps of one recording and kind, ready to be sent.

    Attributes
    ----------
    kind : {"uplam", "precedence", "beamformer", "lam32"}
        ``precedence`` is UpLAM on matrices of the precedence recipe, the others on those of single frames.
    maps : StoredMaps
    ceiling_db : float
        Loudest value of the recording, in dB re full scale (mean square); -inf for digital silence.
    references_db : mapping of float
        What 0 dB of a picture is, in dB re full scale: for ``median`` and ``max`` of the bands, each band ``0`` to
        ``8``, and ``low``, ``mid`` and ``high``, the loudest band of each third.
    """

    kind: LayerKind
    maps: StoredMaps
    ceiling_db: float
    references_db: Mapping[str, float]

    def block(self, index: int) -> bytes:
        """Container with the levels of a block of frames: 255 is the ceiling, each step less :data:`STEP_DB`.

        0 is no power at all, or more than 102 dB below the ceiling.

        Raises
        ------
        InputError
            A block outside the recording.
        """
        start = index * BLOCK_FRAMES
        if not 0 <= start < max(len(self.maps), 1):
            raise InputError(f"Block {index} is outside the {len(self.maps)} frames of acoustic maps.")
        power = self.maps.lattice(start, start + BLOCK_FRAMES, magnitude="power")
        _, bands, points = power.shape
        header = {
            "kind": self.kind,
            "index": index,
            "start": start,
            "stop": start + len(power),
            "bands": bands,
            "points": points,
            "step_db": STEP_DB,
            "ceiling_db": self.ceiling_db if np.isfinite(self.ceiling_db) else LEAST_REFERENCE_DB,
            "references_db": dict(self.references_db),
        }
        return pack(header, {"values": zlib.compress(_levels(power, self.ceiling_db).tobytes(), 1)})


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
        Weights file; "" takes the weights that ship (``uplam`` and ``precedence`` only).
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
    peaks: dict[str, list[npt.NDArray[np.float32]]] = {}
    for start in range(0, len(maps), _CHUNK_FRAMES):
        for name, values in _aggregates(maps.lattice(start, start + _CHUNK_FRAMES, magnitude="power")).items():
            peaks.setdefault(name, []).append(values.max(axis=1, initial=0.0))
    by_name = {name: np.concatenate(parts) for name, parts in peaks.items()}
    loudest = max((float(values.max(initial=0.0)) for values in by_name.values()), default=0.0)
    return AcousticLayer(
        kind, maps, _decibels(loudest), {name: reference_db(values) for name, values in by_name.items()}
    )


def reference_db(peaks: npt.NDArray[np.floating[Any]]) -> float:
    """What 0 dB stands for: the median of the loudest frames, at least :data:`LEAST_REFERENCE_DB`.

    Parameters
    ----------
    peaks : float array, shape (frames,)
        Largest power of each frame, mean-square sample values.
    """
    loud = np.sort(peaks)[-LOUD_FRAMES:]
    return max(_decibels(float(np.median(loud))) if loud.size else LEAST_REFERENCE_DB, LEAST_REFERENCE_DB)


def _aggregates(power: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    """Ways of putting bands together, (frames, points) each, of power (frames, bands, points)."""
    bands = power.shape[1]
    third = bands // len(_THIRDS)
    named = {"median": np.median(power, axis=1), "max": power.max(axis=1)}
    named |= {str(band): power[:, band] for band in range(bands)}
    return named | {name: power[:, k * third : (k + 1) * third].max(axis=1) for k, name in enumerate(_THIRDS)}


def _decibels(power: float) -> float:
    return 10.0 * math.log10(power) if power > 0 else -math.inf


def _levels(power: npt.NDArray[np.float32], ceiling_db: float) -> npt.NDArray[np.uint8]:
    values = np.zeros(power.shape, dtype=np.uint8)
    there = power > 0
    below = (ceiling_db - 10.0 * np.log10(power[there], dtype=np.float64)) / STEP_DB
    values[there] = np.clip(np.rint(255.0 - below), 0, 255).astype(np.uint8)
    return values


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

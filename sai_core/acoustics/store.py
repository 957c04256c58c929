"""Feature store: the maps of a recording, computed once and kept in the cache (:mod:`sai_core.cache`).

One entry per (audio content, weights content, options), namespace ``features``:

    ==========  =======  ==================  ============================================================
    ``maps``    float16  (frames, 9, 484)    each frame and band divided by its largest value; read by rows
                                             (float32, as they are, where FeatureOptions.stored says so)
    ``scale``   float32  (frames, 9)         multiply to get the values back
    ``level``   float32  (frames, 9)         see features.LatticeMaps.level
    ==========  =======  ==================  ============================================================

Float16 with a scale keeps 11 bits below each band's maximum, whatever its size (the published LAM-32's maps are of
the order 1e-4, below which plain float16 has 3 bits left). The maps are stored normalised; magnitude is multiplied in
on opening, so that one entry serves every choice.

A run that is killed leaves finished blocks (namespace ``feature-blocks``), and the next one goes on behind them. Two
processes that want the same recording: the second one waits for the first one's lock and then finds the entry. Where
the cache cannot be written, the maps are computed each time and held in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from sai_core.acoustics.audio_input import AudioInput
from sai_core.acoustics.features import AudioSource, FeatureOptions, Kind, LatticeMaps, Magnitude, MapMaker
from sai_core.acoustics.projection import Grid, to_canvas
from sai_core.acoustics.visibility import N_BANDS
from sai_core.cache import Cache, content_of
from sai_core.entry_file import Rows, StoredRows
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.geometry import FRAME_RATE_HZ, N_LATTICE
from sai_core.progress import Progress, no_progress

STORE_VERSION: Final[int] = 2
"""Raised when the stored numbers would come out differently, so that old entries are no longer found."""

_entries = Cache("features", STORE_VERSION)
_blocks = Cache("feature-blocks", STORE_VERSION)


@dataclass(frozen=True, eq=False)
class StoredMaps:
    """Maps of a recording on disk; frames are read, verified and decoded when they are asked for.

    Attributes
    ----------
    key : str
        A hash of everything that the maps depend on.
    kind : {"uplam", "lam32", "beamformer"}
    options : mapping of str to str
    notes : tuple of str
    frame_rate_hz : float
    """

    key: str
    kind: Kind
    options: dict[str, str]
    notes: tuple[str, ...]
    frame_rate_hz: float
    _maps: StoredRows | npt.NDArray[np.floating[Any]]
    _scale: npt.NDArray[np.float32]
    _level: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._maps)

    @property
    def level(self) -> npt.NDArray[np.float32]:
        """Scale that was divided out of each frame and band, (frames, 9), read-only."""
        return self._level

    def lattice(
        self,
        first: int = 0,
        last: int | None = None,
        *,
        magnitude: Magnitude = "normalised",
        smooth_frames: int = 0,
    ) -> npt.NDArray[np.float32]:
        """Frames ``first`` to ``last - 1`` as float32, shape (frames, 9, 484); new array.

        Parameters
        ----------
        first, last : int
        magnitude : {"normalised", "amplitude", "power"}
        smooth_frames : int
            Each frame is the mean of so many frames before and after it and itself, with triangular weights; the edge
            frames of a recording are repeated.
        """
        if smooth_frames == 0:
            return np.asarray(self.maps(first, last, magnitude=magnitude).lattice, np.float32)
        begin, end, _ = slice(first, last).indices(len(self))
        around = np.arange(begin - smooth_frames, end + smooth_frames).clip(0, max(len(self) - 1, 0))
        count = max(end - begin, 0)
        if count == 0:
            return self.lattice(begin, begin, magnitude=magnitude)
        values = self.lattice(int(around[0]), int(around[-1]) + 1, magnitude=magnitude)[around - around[0]]
        weights = 1.0 - np.abs(np.arange(-smooth_frames, smooth_frames + 1)) / (smooth_frames + 1)
        out = np.zeros((count, *values.shape[1:]), np.float32)
        for k, weight in enumerate(weights / weights.sum()):
            out += np.float32(weight) * values[k : k + count]
        return out

    def canvas(
        self,
        first: int = 0,
        last: int | None = None,
        *,
        magnitude: Magnitude = "normalised",
        grid: Grid = "official",
        smooth_frames: int = 0,
        device: str = "cpu",
    ) -> Any:
        """Frames expanded to the canvas, (frames, 9, 180, 360): an array, or a tensor on a device that is not the CPU.

        Only the lattice values travel to the device; the expansion is done there.
        """
        values = self.lattice(first, last, magnitude=magnitude, smooth_frames=smooth_frames)
        if device == "cpu":
            return to_canvas(values, grid=grid)
        import torch

        return to_canvas(torch.from_numpy(values).to(device), grid=grid)

    def maps(self, first: int = 0, last: int | None = None, *, magnitude: Magnitude = "normalised") -> LatticeMaps:
        """Frames ``first`` to ``last - 1`` as :class:`LatticeMaps` in memory."""
        part = slice(first, last)
        return LatticeMaps(
            lattice=self._maps[part].astype(np.float32) * self._scale[part][..., None],
            level=np.array(self._level[part]),
            kind=self.kind,
            options=self.options,
            notes=self.notes,
            frame_rate_hz=self.frame_rate_hz,
        ).with_magnitude(magnitude)


class FeatureStore:
    """Maps of recordings, from the cache or made."""

    def open_or_make(
        self,
        audio: AudioSource,
        *,
        maker: MapMaker | None = None,
        options: FeatureOptions | None = None,
        weights: str | os.PathLike[str] | None = None,
        device: str = "auto",
        sample_rate_hz: float | None = None,
        progress: Progress = no_progress,
    ) -> StoredMaps:
        """Open the maps of a recording, computing them first if they are not there.

        Parameters
        ----------
        audio : path or array_like, shape (samples, channels)
        maker : MapMaker, optional
            Loaded weights; made from ``options``, ``weights`` and ``device`` if not given.
        sample_rate_hz : float, optional
            Of an array.
        progress : Progress

        Raises
        ------
        InputError
            Audio, weights or options that cannot be used.
        EnvironmentProblem
            The disk of the cache is full.
        CancelledError
            Raised by ``progress``; finished blocks are kept.
        """
        if maker is None:
            maker = MapMaker(options, weights=weights, device=device)
        source = maker.open(audio, sample_rate_hz=sample_rate_hz)
        name = source.facts.name
        key = entry_key(audio, source, maker)
        found = self.find(key)
        if found is None:
            with _entries.lock(key, progress, name):
                # the process that held the lock may have made it
                found = self.find(key)
                if found is None:
                    found = _make(key, source, maker, progress)
                    progress(1.0, f"{name}: {len(found)} frames stored")
        else:
            progress(1.0, f"{name}: already there")
        return found

    def find(self, key: str) -> StoredMaps | None:
        """Open an entry by its key; ``None`` if it is not there or damaged (a damaged one is removed)."""
        entry = _entries.get(key)
        if entry is None:
            return None
        return _opened(key, entry.facts, entry.rows["maps"], entry.arrays)


def _opened(
    key: str,
    facts: Mapping[str, Any],
    maps: StoredRows | npt.NDArray[np.floating[Any]],
    small: Mapping[str, npt.NDArray[np.float32]],
) -> StoredMaps:
    return StoredMaps(
        key=key,
        kind=cast(Kind, facts["kind"]),
        options=dict(facts["options"]),
        notes=tuple(facts["notes"]),
        frame_rate_hz=facts["frame_rate_hz"],
        _maps=maps,
        _scale=small["scale"],
        _level=small["level"],
    )


def _make(key: str, source: AudioInput, maker: MapMaker, progress: Progress) -> StoredMaps:
    n_frames, stored = len(source), np.dtype(maker.options.stored)
    # an earlier run on another device had blocks of another length
    length = maker.block_frames(n_frames)
    expected = {first: min(length, n_frames - first) for first in range(0, n_frames, length)}
    block_keys = {first: f"{key}-{first}-{frames}" for first, frames in expected.items()}
    held: dict[int, dict[str, npt.NDArray[Any]]] = {}

    def block(first: int) -> Mapping[str, npt.NDArray[Any]]:
        if first in held:
            return held[first]
        entry = _blocks.get(block_keys[first])
        if entry is None:
            raise EnvironmentProblem(
                f"{_blocks.path(block_keys[first])}: disappeared while it was in use; start again."
            )
        return entry.arrays

    done = {first for first in expected if _blocks.get(block_keys[first]) is not None}
    resumed = sum(expected[first] for first in done)
    tail = f" ({resumed} from an earlier run)" if resumed else ""
    for first, made in maker.blocks(source, skip=done.__contains__, length=length):
        if made is not None:
            arrays = _packed(*made, stored=stored)
            if not _blocks.put(block_keys[first], arrays, required=True):
                held[first] = arrays
        last = first + expected[first]
        progress(0.99 * last / n_frames, f"{source.facts.name}: {last} of {n_frames} frames{tail}")
    small = {
        name: np.concatenate([np.zeros((0, N_BANDS), np.float32), *(block(first)[name] for first in expected)])
        for name in ("scale", "level")
    }
    facts = {
        "frame_rate_hz": FRAME_RATE_HZ,
        "kind": maker.options.kind,
        "options": maker.describe(),
        "notes": [*maker.notes(), *source.notes()],
    }
    shape = (n_frames, N_BANDS, N_LATTICE)
    rows = Rows(stored, shape, (block(first)["maps"] for first in expected))
    _entries.put(key, {**small, "maps": rows}, facts, required=True)
    entry = _entries.get(key)
    if entry is None:
        for values in small.values():
            values.flags.writeable = False
        maps = np.concatenate([np.zeros((0, *shape[1:]), stored), *(block(first)["maps"] for first in expected)])
        return _opened(key, facts, maps, small)
    for name in block_keys.values():
        _blocks.remove(name)
    return _opened(key, entry.facts, entry.rows["maps"], entry.arrays)


def entry_key(audio: AudioSource, source: AudioInput, maker: MapMaker) -> str:
    """Name of the entry of a recording: a hash of the audio's content, the weights' content and the options."""
    parts = {
        "version": STORE_VERSION,
        "audio": _audio_hash(audio, source),
        "weights": "" if maker.weights is None else content_of(maker.weights),
        # the name of the weights file is for people; the same content under another name is the same entry
        "options": {k: v for k, v in maker.describe().items() if k != "weights"},
        "format": source.facts.audio_format,
    }
    if source.file_notes or not source.held.all():
        # such files gave other maps before they were read as they are now
        parts["file"] = [*source.file_notes, len(source), source.held.tolist()]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _audio_hash(audio: AudioSource, source: AudioInput) -> str:
    if isinstance(audio, str | os.PathLike):
        return content_of(audio)
    array = np.ascontiguousarray(audio)
    head = f"{array.dtype.str}{array.shape}{source.facts.file_rate_hz}".encode()
    return hashlib.blake2b(
        array.tobytes(), digest_size=16, key=hashlib.blake2b(head, digest_size=32).digest()
    ).hexdigest()


def _packed(
    lattice: npt.NDArray[Any], level: npt.NDArray[Any], *, stored: np.dtype[Any]
) -> dict[str, npt.NDArray[Any]]:
    """One block as float16 with a scale per frame and band, or as float32 with scale 1."""
    values = lattice.astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError("The maps hold NaN or infinite values: the weights do not suit this audio.")
    scale = np.abs(values).max(axis=-1, initial=0.0).astype(np.float32)
    if stored == np.float32:
        scale = np.ones_like(scale)
    divisor = np.where(scale > 0, scale, 1).astype(np.float32)
    return {
        "maps": (values / divisor[..., None]).astype(stored),
        "scale": scale,
        "level": level.astype(np.float32),
    }

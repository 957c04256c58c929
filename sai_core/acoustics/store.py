"""Feature store: the maps of a recording, computed once and reopened memory-mapped.

One folder per (audio content, weights content, options) under ``cache_root()/features`` or a folder that the caller
names::

    <key>/maps.npy      float16 (frames, 9, 484), each frame and band divided by its largest value
    <key>/scale.npy     float32 (frames, 9): multiply to get the values back
    <key>/level.npy     float32 (frames, 9): see features.LatticeMaps.level
    <key>/entry.json    kind, options, notes, shapes
    <key>.partial/      blocks of a run that has not ended (removed when it does)
    <key>.lock          held by the process that computes

Float16 with a scale keeps 11 bits below each band's maximum, whatever its size (the published LAM-32's maps are of
the order 1e-4, below which plain float16 has 3 bits left). The maps are stored normalised; magnitude is multiplied in
on opening, so that one entry serves every choice.

A run that is killed leaves finished blocks, and the next one goes on behind them: each block is written to a temporary
file and renamed. A finished entry appears by one rename of its folder, so nobody ever reads half of it. Two processes
that want the same recording: the second one waits for the first one's lock and then finds the entry; the lock belongs
to the process and vanishes with it, however it ends. Where locks do not exist (Windows, some network folders) both
compute, and the entry of whoever is first stays.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from sai_core.acoustics.audio_input import AudioInput
from sai_core.acoustics.features import AudioSource, FeatureOptions, Kind, LatticeMaps, Magnitude, MapMaker
from sai_core.acoustics.projection import Grid, to_canvas
from sai_core.acoustics.visibility import N_BANDS
from sai_core.cache import content_of
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import atomic_write, cache_root
from sai_core.geometry import FRAME_RATE_HZ, N_LATTICE
from sai_core.progress import Progress, no_progress

try:
    import fcntl
except ImportError:  # no POSIX locks on this system
    fcntl = None  # type: ignore[assignment]

STORE_VERSION: Final[int] = 1
"""Raised when the stored numbers would come out differently, so that old entries are no longer found."""

_WAIT_S: Final[float] = 0.2
"""Time between two looks at another process's lock, in seconds."""


@dataclass(frozen=True, eq=False)
class StoredMaps:
    """Maps of a recording on disk, memory-mapped; frames are decoded when they are asked for.

    Attributes
    ----------
    path : Path
        Folder of the entry.
    kind : {"uplam", "lam32", "beamformer"}
    options : mapping of str to str
    notes : tuple of str
    frame_rate_hz : float
    """

    path: Path
    kind: Kind
    options: dict[str, str]
    notes: tuple[str, ...]
    frame_rate_hz: float
    _maps: npt.NDArray[np.float16]
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
    """Folder of entries.

    Parameters
    ----------
    root : Path, optional
        ``cache_root() / "features"`` if not given.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = cache_root() / "features" if root is None else Path(root)

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
            The store cannot be written.
        CancelledError
            Raised by ``progress``; finished blocks are kept.
        """
        if maker is None:
            maker = MapMaker(options, weights=weights, device=device)
        source = maker.open(audio, sample_rate_hz=sample_rate_hz)
        key = entry_key(audio, source, maker)
        found = self.find(key)
        if found is not None:
            progress(1.0, f"{source.facts.name}: already there")
            return found
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentProblem(f"{self.root}: the feature store cannot be made ({error.strerror}).") from error
        with _locked(self.root / f"{key}.lock", progress, source.facts.name):
            # the process that held the lock may have made it
            found = self.find(key)
            if found is None:
                self._make(key, source, maker, progress)
                found = self.find(key)
        if found is None:
            raise EnvironmentProblem(f"{self.root / key}: the entry vanished while it was made; try again.")
        return found

    def find(self, key: str) -> StoredMaps | None:
        """Open an entry by its key; ``None`` if it is not there or damaged (a damaged one is removed)."""
        folder = self.root / key
        if not folder.is_dir():
            return None
        try:
            about = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
            arrays = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("maps", "scale", "level")
            }
            frames = int(about["frames"])
            shapes = {"maps": (frames, N_BANDS, N_LATTICE), "scale": (frames, N_BANDS), "level": (frames, N_BANDS)}
            types = {"maps": np.float16, "scale": np.float32, "level": np.float32}
            if any(arrays[n].shape != shapes[n] or arrays[n].dtype != types[n] for n in shapes):
                raise ValueError("shape")
            return StoredMaps(
                path=folder,
                kind=cast(Kind, str(about["kind"])),
                options={str(k): str(v) for k, v in about["options"].items()},
                notes=tuple(str(n) for n in about["notes"]),
                frame_rate_hz=float(about["frame_rate_hz"]),
                _maps=arrays["maps"],
                _scale=arrays["scale"],
                _level=arrays["level"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            shutil.rmtree(folder, ignore_errors=True)
            return None

    def prune(self, max_bytes: int) -> int:
        """Remove the entries that were made longest ago until ``max_bytes`` are left; returns the bytes removed."""
        entries = []
        with suppress(OSError):
            for folder in self.root.iterdir():
                if folder.is_dir() and not folder.name.endswith(".partial"):
                    size = sum(f.stat().st_size for f in folder.iterdir())
                    entries.append((folder.stat().st_mtime, size, folder))
        total, removed = sum(size for _, size, _ in entries), 0
        for _, size, folder in sorted(entries, key=lambda entry: entry[0]):
            if total - removed <= max_bytes:
                break
            shutil.rmtree(folder, ignore_errors=True)
            removed += size
        return removed

    def _make(self, key: str, source: AudioInput, maker: MapMaker, progress: Progress) -> None:
        partial = self.root / f"{key}.partial"
        n_frames = len(source)
        blocks: list[int] = []
        try:
            partial.mkdir(parents=True, exist_ok=True)
            # an earlier run on another device had blocks of another length
            length = maker.block_frames(n_frames)
            expected = {first: min(length, n_frames - first) for first in range(0, n_frames, length)}
            done = {first for first, frames in expected.items() if _intact(partial / f"{first}.npz", frames)}
            resumed = sum(expected[first] for first in done)
            for first, made in maker.blocks(source, skip=done.__contains__, length=length):
                blocks.append(first)
                last = first + expected[first]
                if made is not None:
                    _save_block(partial / f"{first}.npz", *made)
                tail = f" ({resumed} from an earlier run)" if resumed else ""
                progress(0.99 * last / n_frames, f"{source.facts.name}: {last} of {n_frames} frames{tail}")
            self._assemble(key, partial, blocks, source, maker)
            progress(1.0, f"{source.facts.name}: {n_frames} frames stored")
        except OSError as error:
            raise EnvironmentProblem(f"{partial}: the feature store cannot be written ({error.strerror}).") from error

    def _assemble(self, key: str, partial: Path, blocks: list[int], source: AudioInput, maker: MapMaker) -> None:
        """Join the blocks in a folder of their own and rename it."""
        folder = partial / "entry"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        n_frames = len(source)
        maps = np.lib.format.open_memmap(
            folder / "maps.npy", mode="w+", dtype=np.float16, shape=(n_frames, N_BANDS, N_LATTICE)
        )
        small = {name: np.zeros((n_frames, N_BANDS), np.float32) for name in ("scale", "level")}
        for first in blocks:
            with np.load(partial / f"{first}.npz", allow_pickle=False) as block:
                part = slice(first, first + len(block["maps"]))
                maps[part] = block["maps"]
                for name, values in small.items():
                    values[part] = block[name]
        maps.flush()
        del maps
        for name, values in small.items():
            with atomic_write(folder / f"{name}.npy") as stream:
                np.save(stream, values, allow_pickle=False)
        about = {
            "version": STORE_VERSION,
            "frames": n_frames,
            "frame_rate_hz": FRAME_RATE_HZ,
            "kind": maker.options.kind,
            "options": maker.describe(),
            "notes": [*maker.notes(), *source.notes()],
        }
        with atomic_write(folder / "entry.json", "w") as stream:
            json.dump(about, stream, indent=1)
        try:
            os.rename(folder, self.root / key)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) and not (self.root / key).is_dir():
                raise
        shutil.rmtree(partial, ignore_errors=True)


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
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _audio_hash(audio: AudioSource, source: AudioInput) -> str:
    if isinstance(audio, str | os.PathLike):
        return content_of(audio)
    array = np.ascontiguousarray(audio)
    head = f"{array.dtype.str}{array.shape}{source.facts.file_rate_hz}".encode()
    return hashlib.blake2b(
        array.tobytes(), digest_size=16, key=hashlib.blake2b(head, digest_size=32).digest()
    ).hexdigest()


def _save_block(path: Path, lattice: npt.NDArray[Any], level: npt.NDArray[Any]) -> None:
    """Write one block as float16 with a scale per frame and band, atomically."""
    values = lattice.astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError("The maps hold NaN or infinite values: the weights do not suit this audio.")
    scale = np.abs(values).max(axis=-1, initial=0.0)
    divisor = np.where(scale > 0, scale, 1).astype(np.float32)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        maps=(values / divisor[..., None]).astype(np.float16),
        scale=scale.astype(np.float32),
        level=level.astype(np.float32),
    )
    with atomic_write(path) as stream:
        stream.write(buffer.getbuffer())


def _intact(path: Path, length: int) -> bool:
    """Whether a block of an earlier run can be read and is as long as expected; if not, it is computed again."""
    if not path.is_file():
        return False
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as block:
            shapes = [block[name].shape for name in ("maps", "scale", "level")]
            return shapes == [(length, N_BANDS, N_LATTICE), (length, N_BANDS), (length, N_BANDS)]
    except Exception:
        # zipfile, zlib and NumPy raise a dozen types for damaged files
        return False


@contextmanager
def _locked(path: Path, progress: Progress, name: str) -> Iterator[None]:
    """Hold a lock file; wait for another process, telling ``progress`` (which may cancel)."""
    if fcntl is None:
        yield
        return
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise EnvironmentProblem(f"{path}: the feature store cannot be written ({error.strerror}).") from error
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    # a file system without locks: both compute, the first rename wins
                    break
                progress(0.0, f"{name}: waiting for another process that computes it")
                time.sleep(_WAIT_S)
        yield
    finally:
        # the file stays: unlinking it would let a third process lock another file of the same name
        os.close(handle)

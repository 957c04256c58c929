"""Raw detections of a recording, before any threshold: the container and its folder on disk.

One folder holds one recording and one *key* (checkpoint content, feature options, engine options). While a recording
is being predicted, finished blocks of frames stand in it as ``block_<first frame>.entry`` (:mod:`sai_core.entry_file`),
each written atomically, so that a killed run continues after the last finished block. At the end the blocks become one
``.npy`` file a column and ``store.json``, which is written last: a folder without it is unfinished, one with another
key is stale and is started anew.

``store.json`` holds a checksum (XXH3-64) of every file and of itself. Opening a store reads all of it into memory and
verifies it (0.7 ms per MB): a damaged one is never used, and a memory map would end the whole process where somebody
copies over an opened store.

Columns (``n`` candidates of all frames, sorted by frame, strongest first within a frame)
    ==================  ========  =================  ==========================================================
    ``frame``           int32     (n,)               zero-based 100 ms frame
    ``boxes_xyxy``      float32   (n, 4)             canvas pixels, label grid; ``x1`` may exceed 360 at the seam
    ``class_scores``    float32   (n, 13)            score of every class; the rest of 1 is background
    ``objectness``      float32   (n,)               class-agnostic score of the proposal, [0, 1]
    ``category_id``     int16     (n,)               class that the network itself gives, 0..12
    ``energy``          float16   (n, 28, 28)        RoI energy, [0, 1], stretched over the box; float32 of the official
                                                     baseline, whose strongest cells would be others in float16
    ``distance_cm``     float32   (n,)               centimetres
    ``embedding``       float16   (n, d)             instance embedding; d may be 0
    ``full_energy``     float16   (frames, h, w)     full-frame map at reduced resolution; h may be 0
    ``field``           float16   (frames, 484)      log-intensity of the lattice, by a field decoder; only where one
                                                     was given (:mod:`sai_core.detector.field`)
    ``wideband``        float16   (n, 14)            log-probability of the 13 classes, then of nothing, in
                                                     the candidate's direction; only where a listener was given
                                                     (:mod:`sai_core.detector.wideband`)
    ==================  ========  =================  ==========================================================
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default_of
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import xxhash

from sai_core.cache import tell
from sai_core.entry_file import DamagedEntry, read_entry, write_entry
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import atomic_write
from sai_core.geometry import N_LATTICE
from sai_core.taxonomy import N_CLASSES

FORMAT: Final[int] = 2
"""2 has checksums; stores of format 1 can be opened, but not checked, and are never found by a key."""

_COLUMNS: Final[dict[str, type[np.generic]]] = {
    "frame": np.int32,
    "boxes_xyxy": np.float32,
    "class_scores": np.float32,
    "objectness": np.float32,
    "category_id": np.int16,
    "energy": np.float16,
    "distance_cm": np.float32,
    "embedding": np.float16,
}
_PER_FRAME: Final[str] = "full_energy"
_DTYPES: Final[dict[str, type[np.generic]]] = {**_COLUMNS, _PER_FRAME: np.float16}
_FIELD: Final[str] = "field"
_WIDEBAND: Final[str] = "wideband"
_OPTIONAL: Final[tuple[str, ...]] = (_FIELD, _WIDEBAND)
"""Columns, float16, without which a store is whole, as every store from before field decoders and listeners."""


def _no_field() -> npt.NDArray[np.float16]:
    return np.zeros((0, N_LATTICE), dtype=np.float16)


def _no_wideband() -> npt.NDArray[np.float16]:
    return np.zeros((0, N_CLASSES + 1), dtype=np.float16)


@dataclass(frozen=True, eq=False)
class RawColumns:
    """Candidates of one frame, as a network gives them, or of many: the columns of the module's table but ``frame``.

    Of one frame, ``full_energy`` and ``field`` have no axis of frames. Without a field decoder ``field`` is (0, 484),
    without a wideband listener ``wideband`` is (0, 14).
    """

    boxes_xyxy: npt.NDArray[np.float32]
    class_scores: npt.NDArray[np.float32]
    objectness: npt.NDArray[np.float32]
    category_id: npt.NDArray[np.int16]
    energy: npt.NDArray[np.float16 | np.float32]
    distance_cm: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float16]
    full_energy: npt.NDArray[np.float16]
    field: npt.NDArray[np.float16] = default_of(default_factory=_no_field)
    wideband: npt.NDArray[np.float16] = default_of(default_factory=_no_wideband)

    def __len__(self) -> int:
        return int(self.objectness.shape[0])

    @property
    def own_scores(self) -> npt.NDArray[np.float32]:
        """Score of each candidate's own class, shape (n,)."""
        return np.take_along_axis(np.asarray(self.class_scores), self.category_id[:, None].astype(np.int64), axis=1)[
            :, 0
        ]


def joined(frames: Sequence[RawColumns], *, first: int = 0) -> dict[str, npt.NDArray]:
    """All columns of the module's table of frames in a row, at least one."""
    counts = [len(columns) for columns in frames]
    table = {
        name: np.concatenate([getattr(columns, name) for columns in frames]) for name in _COLUMNS if name != "frame"
    }
    table["frame"] = np.repeat(np.arange(first, first + len(frames), dtype=np.int32), counts)
    table[_PER_FRAME] = np.stack([columns.full_energy for columns in frames])
    if all(columns.field.size for columns in frames):
        table[_FIELD] = np.stack([columns.field for columns in frames])
    return table


@dataclass(frozen=True, eq=False, kw_only=True)
class RawDetections(RawColumns):
    """Candidates of one recording; the columns are those of the module's table.

    Attributes
    ----------
    recording : str
    key : str
        What the result depends on, as a hash.
    n_frames : int
        Frames that were predicted, with or without candidates.
    notes : mapping of str to str
        Provenance: checkpoint, options, notes of the feature extractor.
    """

    recording: str
    key: str
    n_frames: int
    notes: Mapping[str, str]
    frame: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        n = self.frame.shape[0]
        for name in _COLUMNS:
            if getattr(self, name).shape[0] != n:
                raise InputError(f"{self.recording}: raw column {name} has another length than frame ({n}).")
        if n and (np.any(np.diff(self.frame) < 0) or self.frame[0] < 0 or self.frame[-1] >= self.n_frames):
            raise InputError(f"{self.recording}: raw frames must be in order and within 0..{self.n_frames - 1}.")
        if self.full_energy.shape[0] != self.n_frames:
            raise InputError(f"{self.recording}: full_energy needs one map for each of {self.n_frames} frames.")
        if self.field.shape not in ((0, N_LATTICE), (self.n_frames, N_LATTICE)):
            raise InputError(f"{self.recording}: field needs {N_LATTICE} values for each of {self.n_frames} frames.")
        if self.wideband.shape not in ((0, N_CLASSES + 1), (n, N_CLASSES + 1)):
            raise InputError(f"{self.recording}: wideband needs {N_CLASSES + 1} values for each of {n} candidates.")


def store_key(parts: Mapping[str, str]) -> str:
    """Hash of everything that a result depends on; the order of the parts does not matter."""
    text = json.dumps({"format": str(FORMAT), **parts}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def store_folder(base: Path, recording: str, key: str) -> Path:
    """Folder of one recording and key under ``base``."""
    return Path(base) / f"{recording}.{key}"


def open_raw(folder: Path, *, key: str | None = None) -> RawDetections | None:
    """Open a finished store, verified and in memory.

    Parameters
    ----------
    folder : Path
    key : str, optional
        Key that it must have.

    Returns
    -------
    RawDetections or None
        ``None`` when there is no finished store, when it was made with another key or format, or when a file of it is
        damaged (which is told): it is to be made anew.
    """
    folder = Path(folder)
    try:
        facts = json.loads((folder / "store.json").read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        _tell_damage(folder, "store.json")
        return None
    try:
        checked = facts["format"] == FORMAT
        if checked and facts.pop("checksum") != _checksum_of(facts):
            _tell_damage(folder, "store.json")
            return None
        if not checked and (facts["format"] != 1 or "checksum" in facts):
            return None
        if key is not None and facts["key"] != key:
            return None
        columns = {}
        kept = {**_DTYPES, **{name: np.float16 for name in _OPTIONAL if name in facts.get("checksums", ())}}
        for name, dtype in kept.items():
            data = (folder / f"{name}.npy").read_bytes()
            if checked and xxhash.xxh3_64_hexdigest(data) != facts["checksums"][name]:
                _tell_damage(folder, f"{name}.npy")
                return None
            column = np.load(io.BytesIO(data), allow_pickle=False)
            if column.dtype != dtype and not (name == "energy" and column.dtype == np.float32):
                _tell_damage(folder, f"{name}.npy")
                return None
            column.flags.writeable = False
            columns[name] = column
        if not checked:
            tell(f"{folder}: made by an earlier version, without checksums; its numbers cannot be checked.", once=True)
        return RawDetections(
            recording=facts["recording"],
            key=facts["key"],
            n_frames=int(facts["n_frames"]),
            notes=facts["notes"],
            **columns,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        _tell_damage(folder, str(error))
        return None


def _tell_damage(folder: Path, what: str) -> None:
    tell(f"{folder}: this store of raw detections is damaged ({what}) and is not used; predict again to make it anew.")


def _checksum_of(facts: Mapping[str, object]) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(facts, sort_keys=True).encode())


class RawWriter:
    """Writes a store block by block and finishes it; continues an unfinished one of the same key.

    Parameters
    ----------
    folder : Path
    recording : str
    key : str
    n_frames : int
        Length of the recording.
    notes : mapping of str to str, optional

    Raises
    ------
    EnvironmentProblem
        The folder cannot be written.
    """

    def __init__(
        self, folder: Path, *, recording: str, key: str, n_frames: int, notes: Mapping[str, str] | None = None
    ) -> None:
        self.folder = Path(folder)
        self.recording = recording
        self.key = key
        self.n_frames = n_frames
        self.notes = dict(notes or {})
        self._done: dict[int, int] = {}
        began = self.folder / "began.json"
        try:
            if began.is_file():
                facts = json.loads(began.read_text(encoding="utf-8"))
                if facts.get("key") != key or facts.get("n_frames") != n_frames or facts.get("format") != FORMAT:
                    shutil.rmtree(self.folder)
        except (OSError, ValueError, AttributeError):
            shutil.rmtree(self.folder, ignore_errors=True)
        if not began.is_file():
            with atomic_write(began, "w") as stream:
                json.dump({"format": FORMAT, "key": key, "n_frames": n_frames, "recording": recording}, stream)
        for path in self.folder.glob("block_*"):
            first = int(path.stem[6:]) if path.stem[6:].isdecimal() else -1
            block = self._read_block(first)
            if block is None:
                path.unlink(missing_ok=True)
            else:
                self._done[first] = int(block[_PER_FRAME].shape[0])

    def next_frame(self) -> int:
        """First frame that no finished block covers; ``n_frames`` when all are there."""
        frame = 0
        while frame in self._done and self._done[frame] > 0:
            frame += self._done[frame]
        return frame

    def write(self, first_frame: int, columns: Mapping[str, npt.NDArray]) -> None:
        """Write the block that starts at ``first_frame``, with the columns of the module's table.

        Raises
        ------
        InputError
            A column is missing, frames are outside the block.
        EnvironmentProblem
            The disk is full or cannot be written.
        """
        missing = [name for name in (*_COLUMNS, _PER_FRAME) if name not in columns]
        if missing:
            raise InputError(f"{self.recording}: block {first_frame} lacks the column {missing[0]}.")
        count = int(columns[_PER_FRAME].shape[0])
        frames = columns["frame"]
        if len(frames) and (frames.min() < first_frame or frames.max() >= first_frame + count):
            raise InputError(f"{self.recording}: block {first_frame} has frames outside it.")
        typed = {name: np.asarray(columns[name], dtype=dtype) for name, dtype in _COLUMNS.items()}
        if columns["energy"].dtype == np.float32:
            typed["energy"] = np.asarray(columns["energy"])
        for name in (_PER_FRAME, *(name for name in _OPTIONAL if name in columns)):
            typed[name] = np.asarray(columns[name], dtype=np.float16)
        with atomic_write(self._block_path(first_frame)) as stream:
            write_entry(stream, self._block_identity(first_frame), typed)
        self._done[first_frame] = count

    def finish(self) -> RawDetections:
        """Join the blocks, write the columns and then ``store.json``, remove the blocks, and open the result.

        Raises
        ------
        InputError
            Frames are missing.
        """
        if self.next_frame() != self.n_frames:
            raise InputError(
                f"{self.recording}: only {self.next_frame()} of {self.n_frames} frames are predicted; continue the "
                f"prediction first."
            )
        firsts, frame = [], 0
        while frame < self.n_frames:
            firsts.append(frame)
            frame += self._done[frame]
        blocks = []
        for first in firsts:
            block = self._read_block(first)
            if block is None:
                raise EnvironmentProblem(
                    f"{self.folder}: block {first} disappeared while the store was being finished."
                )
            blocks.append(block)
        checksums = {}
        kept = {**_DTYPES, **{name: np.float16 for name in _OPTIONAL if blocks and name in blocks[0]}}
        for name, dtype in kept.items():
            joined = np.concatenate([b[name] for b in blocks]) if blocks else _empty(name, dtype)
            buffer = io.BytesIO()
            np.save(buffer, joined, allow_pickle=False)
            checksums[name] = xxhash.xxh3_64_hexdigest(buffer.getbuffer())
            with atomic_write(self.folder / f"{name}.npy") as stream:
                stream.write(buffer.getbuffer())
        facts = {
            "format": FORMAT,
            "key": self.key,
            "recording": self.recording,
            "n_frames": self.n_frames,
            "notes": self.notes,
            "checksums": checksums,
        }
        facts["checksum"] = _checksum_of(facts)
        with atomic_write(self.folder / "store.json", "w") as stream:
            json.dump(facts, stream, indent=1)
        for path in self.folder.glob("block_*"):
            path.unlink(missing_ok=True)
        opened = open_raw(self.folder, key=self.key)
        if opened is None:
            raise EnvironmentProblem(f"{self.folder}: what was just written cannot be read back.")
        return opened

    def _block_path(self, first: int) -> Path:
        return self.folder / f"block_{first:07d}.entry"

    def _block_identity(self, first: int) -> str:
        return f"raw/{FORMAT}/{self.key}/{first}"

    def _read_block(self, first: int) -> dict[str, npt.NDArray] | None:
        try:
            return read_entry(self._block_path(first), self._block_identity(first)).arrays
        except (OSError, DamagedEntry):
            return None


def _empty(name: str, dtype: type[np.generic]) -> npt.NDArray:
    shapes = {"boxes_xyxy": (0, 4), "class_scores": (0, 13), "energy": (0, 28, 28)}
    shapes |= {"embedding": (0, 0), _PER_FRAME: (0, 0, 0)}
    return np.zeros(shapes.get(name, (0,)), dtype=dtype)

"""One line about a recording for lists: how long it is and what sounds in it, from headers and metadata only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sai_core.annotations import read_dcase_csv
from sai_core.dataset import Recording, describe
from sai_core.errors import InputError


@dataclass(frozen=True)
class Overview:
    """What a list shows of a recording.

    Attributes
    ----------
    duration_s : float or None
        Of the audio, else of the video; None when there is neither.
    n_sources : int or None
        Different (class, source) pairs in the DCASE metadata; None without a readable file.
    categories : tuple of int
        Classes in the metadata, rising.
    """

    duration_s: float | None
    n_sources: int | None
    categories: tuple[int, ...]


def overview(recording: Recording, *, metadata: bool = True) -> Overview:
    """Overview of a recording; a file that cannot be read leaves its facts out, and metadata only where asked for."""
    sources: tuple[int, tuple[int, ...]] | None = None
    path = recording.metadata_path if metadata else None
    if path is not None:
        try:
            status = os.stat(path)
            sources = _sources(str(path), status.st_size, status.st_mtime_ns)
        except (OSError, InputError):
            sources = None
    duration = describe(recording, video=False).duration_s
    return Overview(duration, sources[0] if sources else None, sources[1] if sources else ())


@lru_cache(maxsize=4096)
def _sources(path: str, size: int, mtime_ns: int) -> tuple[int, tuple[int, ...]]:
    metadata = read_dcase_csv(path)
    pairs = np.unique(np.column_stack([metadata.category_id.astype(np.int64), metadata.source_id]), axis=0)
    return len(pairs), tuple(np.unique(metadata.category_id).tolist())

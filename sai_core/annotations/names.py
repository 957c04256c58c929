"""Recording names: what is left of a file name when every suffix of the official layout is taken off."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import PurePath

_EXTENSIONS = re.compile(
    r"\.(?:json|gz|csv|wav|flac|mp4|mkv|avi|mov|npz|npy|png|jpg|jpeg|pdf|svg|txt)$", flags=re.IGNORECASE
)
_ENDINGS = ("_std", "_inference")


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC), in which names are compared and shown.

    Files that were copied from a Mac are often named in the decomposed form (NFD), which looks the same.
    """
    return unicodedata.normalize("NFC", name)


def recording_name(path: str | os.PathLike[str]) -> str:
    """Name of the recording that a file belongs to.

    Parameters
    ----------
    path : str or path
        E.g. ``labels_dev/dev-test-sony/fold4_room23_mix001_std.json.gz``; need not exist.

    Returns
    -------
    str
        The last part of the path without known extensions (any number, any case) and without the endings ``_std``
        (standardised labels) and ``_inference`` (official exporter), e.g. ``fold4_room23_mix001``. Where nothing
        would be left (``_std.json``), the last part that is not empty. Composed (:func:`composed`).
    """
    name = composed(PurePath(os.fspath(path)).name)
    while True:
        shorter = _EXTENSIONS.sub("", name)
        for ending in _ENDINGS:
            if shorter == name:
                shorter = shorter.removesuffix(ending)
        if shorter in (name, ""):
            return name
        name = shorter

"""Where the program itself lies: run from its repository, or installed (``pip install``).

In the repository ``app.py``, ``pages`` and ``assets`` lie beside this package; in a wheel they lie in its folder
``_program``, so that an installation adds no module called ``pages`` to the user's environment.
"""

from __future__ import annotations

import os
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

DISTRIBUTION: Final[str] = "sai-explorer"
"""Name under which the program is installed."""

SHIPPED_NETWORKS: Final[dict[str, str]] = {"track-A": "track_a.safetensors", "track-B": "track_b.safetensors"}
"""The detectors that ship, trained on simulated recordings, under the names that verbs and the Python API take."""

_INSTALLED: Final[str] = "_program"


def program_folder() -> Path:
    """Folder that holds ``app.py``, ``pages`` and ``assets``."""
    # pip unpacks every wheel: the resource is a folder on disk, and stays after the context's end
    with as_file(files("sai_core")) as package:
        installed = Path(package) / _INSTALLED
        return installed if installed.is_dir() else Path(package).resolve().parent


def asset(*parts: str) -> Path:
    """A file or folder that ships with the program, e.g. ``asset("weights", "uplam.safetensors")``."""
    return program_folder().joinpath("assets", *parts)


def network_path(network: str | os.PathLike[str]) -> Path:
    """Path of a detector: of one that ships by its name, unless there is a file of that name; else as given."""
    path = Path(network)
    name = os.fspath(network)
    return asset("weights", SHIPPED_NETWORKS[name]) if name in SHIPPED_NETWORKS and not path.exists() else path

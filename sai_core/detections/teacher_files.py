"""Where a teacher's CSV of a recording is, and what it holds: the one rule of every page and verb."""

from __future__ import annotations

import os
from pathlib import Path

from sai_core.annotations.dcase import DcaseMetadata, read_dcase_csv
from sai_core.annotations.names import composed, recording_name
from sai_core.errors import InputError


def find_teacher_csv(folder: str | os.PathLike[str], recording: str) -> Path:
    """File of a recording in a folder of CSV files (``NAME.csv`` or ``NAME.csv.gz``, in any sub-folder).

    Raises
    ------
    InputError
        No such folder or file, or two files of that name.
    """
    base = Path(folder)
    if not base.is_dir():
        raise InputError(f"{base}: there is no such folder; give the folder of the teacher's CSV files.")
    wanted = composed(recording)
    found = sorted(
        path
        # a plain comparison of names: a recording's name may hold what a pattern would take for a wildcard
        for path in base.rglob("*")
        if path.name.lower().endswith((".csv", ".csv.gz")) and recording_name(path) == wanted and path.is_file()
    )
    if not found:
        raise InputError(f"{base}: holds no {recording}.csv; the teacher needs a file for each recording.")
    if len(found) > 1:
        raise InputError(f"{base}: holds {found[0].name} twice or more; give the folder that holds the right one.")
    return found[0]


def read_teacher(folder: str | os.PathLike[str], recording: str) -> DcaseMetadata:
    """Rows of a teacher for a recording; none for a file of 0 bytes, which says that nothing was heard.

    What was converted (vectors, metres) is told in the ``notes``.

    Raises
    ------
    InputError
        As :func:`find_teacher_csv`, or a file that is not a DCASE table.
    """
    return read_dcase_csv(find_teacher_csv(folder, recording), empty_is_silent=True)

"""DCASE metadata CSV: one row for each active source and frame.

Columns: frame (100 ms, zero-based), class (0..12), source number, azimuth and elevation in degrees (azimuth grows to
the left, elevation up) and, in the files of 2023 and later, distance in centimetres. No header in the official files;
one is accepted.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import numpy as np
import numpy.typing as npt

from sai_core.annotations._decode import MAX_FRAME
from sai_core.annotations._source import ByteSource
from sai_core.annotations.names import recording_name
from sai_core.errors import InputError
from sai_core.files import atomic_write
from sai_core.geometry import wrap_azimuth_deg
from sai_core.taxonomy import N_CLASSES

MAX_CSV_BYTES: Final[int] = 64 << 20
"""A row of 32 bytes for each of five sources over eleven days at 10 fps would still be larger than any recording's."""

# plain ASCII numbers only: Python's float() would also take "nan", "1_0" and other scripts' digits
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", flags=re.ASCII)
_INT64_LIMIT: Final[float] = 2.0**63
_FIELDS: Final[tuple[str, ...]] = ("frame", "class", "source", "azimuth", "elevation", "distance")

_COLUMNS: Final[tuple[tuple[str, type], ...]] = (
    ("frame", np.int32),
    ("category_id", np.int16),
    ("source_id", np.int64),
    ("azimuth_deg", np.float64),
    ("elevation_deg", np.float64),
    ("distance_cm", np.float64),
)


@dataclass(frozen=True, eq=False)
class DcaseMetadata:
    """Rows of one metadata file, in the order of the file.

    Attributes
    ----------
    frame : int32, shape (n,)
        Zero-based 100 ms frame, >= 0.
    category_id : int16, shape (n,)
        0..12.
    source_id : int64, shape (n,)
        Source number; not unique across classes.
    azimuth_deg : float64, shape (n,)
        [-180, 180), growing to the left.
    elevation_deg : float64, shape (n,)
        [-90, 90], growing upwards.
    distance_cm : float64, shape (n,)
        Centimetres; NaN where the file has none.
    recording : str
        Name without suffixes; may be empty.

    Raises
    ------
    InputError
        Columns of different lengths or more than one dimension.
    """

    frame: npt.NDArray[np.int32]
    category_id: npt.NDArray[np.int16]
    source_id: npt.NDArray[np.int64]
    azimuth_deg: npt.NDArray[np.float64]
    elevation_deg: npt.NDArray[np.float64]
    distance_cm: npt.NDArray[np.float64]
    recording: str = ""

    def __post_init__(self) -> None:
        n = np.shape(self.frame)
        for name, dtype in _COLUMNS:
            column: npt.NDArray = np.asarray(getattr(self, name), dtype=dtype)
            if column.ndim != 1 or column.shape != n:
                raise InputError(
                    f"{self.recording or 'DCASE metadata'}: column {name} has shape {column.shape}, not {n}."
                )
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return int(self.frame.shape[0])

    @property
    def n_frames(self) -> int:
        """Last frame with a source + 1; 0 when empty."""
        return int(self.frame.max()) + 1 if len(self) else 0

    def rows(self, frame: int) -> npt.NDArray[np.int64]:
        """Row numbers of one frame, in the order of the file."""
        return np.flatnonzero(self.frame == frame)


def read_dcase_csv(path: str | os.PathLike[str]) -> DcaseMetadata:
    """Read a DCASE metadata file.

    Parameters
    ----------
    path : path
        Comma-separated, five or six columns, plain or gzip; a header row is recognised by its first field not being
        a number (the first row of a header-less file is never lost). Blank lines, spaces, CRLF and a UTF-8 byte order
        mark do not matter.

    Returns
    -------
    DcaseMetadata
        Azimuths are brought into [-180, 180); given values may lie in [-360, 360].

    Raises
    ------
    InputError
        With file, line and column.
    """
    with ByteSource(path, max_bytes=MAX_CSV_BYTES) as source:
        data = b"".join(iter(lambda: source.read(1 << 20), b""))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; save the table as CSV in UTF-8.") from None
    rows: list[list[float]] = []
    seen_row = False
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if not line.strip(" \t"):
            continue
        fields = [field.strip(" \t") for field in line.split(",")]
        if not seen_row:
            seen_row = True
            if _is_header(fields):
                continue
        rows.append(_row(path, number, fields))
    if not seen_row:
        raise InputError(f"{path}: holds no rows; a metadata file of a silent recording has at least a header.")
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    azimuth = table[:, 3]
    # wrapping goes through a sum that rounds: values that are in range already stay to the bit
    azimuth = np.where((azimuth >= -180) & (azimuth < 180), azimuth, wrap_azimuth_deg(azimuth))
    return DcaseMetadata(
        frame=table[:, 0].astype(np.int32),
        category_id=table[:, 1].astype(np.int16),
        source_id=table[:, 2].astype(np.int64),
        azimuth_deg=azimuth,
        elevation_deg=table[:, 4].copy(),
        distance_cm=table[:, 5].copy(),
        recording=recording_name(path),
    )


def write_dcase_csv(metadata: DcaseMetadata, path: str | os.PathLike[str]) -> None:
    """Write a DCASE metadata file in the official form (no header, whole numbers without a point).

    Parameters
    ----------
    metadata : DcaseMetadata
        The sixth column is left out where no row has a distance; a single absent distance is an empty field.
        An empty table is written as a header row, since a file without any row cannot be told from a failed copy.
    path : path
        Replaced only when everything has been written.

    Raises
    ------
    InputError
        A value that :func:`read_dcase_csv` would refuse.
    EnvironmentProblem
        The file cannot be written.
    """
    with_distance = not np.isnan(metadata.distance_cm).all() or not len(metadata)
    names = [name for name, _ in _COLUMNS[: 6 if with_distance else 5]]
    columns = [getattr(metadata, name).tolist() for name in names]
    lines = []
    for number, values in enumerate(zip(*columns, strict=True), start=1):
        fields = ["" if value != value else _number_text(value) for value in values]
        _row(path, number, fields)
        lines.append(",".join(fields))
    if not lines:
        lines.append(",".join(_FIELDS))
    with atomic_write(Path(path)) as stream:
        stream.write(("\n".join(lines) + "\n").encode("ascii"))


def _number_text(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _is_header(fields: list[str]) -> bool:
    return len(fields) in (5, 6, 7) and any(fields) and not any(_NUMBER.fullmatch(field) for field in fields)


def _row(path: str | os.PathLike[str], line: int, fields: list[str]) -> list[float]:
    """Six numbers of a row; raises with file and line."""

    def fail(message: str) -> NoReturn:
        raise InputError(f"{path}: line {line}: {message}")

    if len(fields) == 7 and not fields[6]:
        fields = fields[:6]
    if len(fields) not in (5, 6):
        hint = "; separate columns by commas" if len(fields) == 1 else ""
        fail(
            f"has {len(fields)} columns, expected 5 or 6 (frame, class, source, azimuth, elevation[, distance]){hint}."
        )
    values: list[float] = []
    for name, field in zip(_FIELDS, fields, strict=False):
        if not field and name == "distance":
            values.append(float("nan"))
            continue
        if not _NUMBER.fullmatch(field):
            fail(f"{name} is {field[:40]!r}, expected a number.")
        value = float(field)
        if not np.isfinite(value):
            fail(f"{name} is too large a number.")
        values.append(value)
    if len(values) == 5:
        values.append(float("nan"))
    for name, value in zip(_FIELDS[:3], values, strict=False):
        if value != int(value):
            fail(f"{name} is {value:g}, expected a whole number.")
    frame, category, source, azimuth, elevation, distance = values
    if not 0 <= frame <= MAX_FRAME:
        fail(f"frame is {frame:.0f}, expected 0 to {MAX_FRAME}.")
    if not 0 <= category < N_CLASSES:
        fail(f"class is {category:.0f}, expected 0 to {N_CLASSES - 1}.")
    if not -_INT64_LIMIT < source < _INT64_LIMIT:
        fail("source is too large a number.")
    if not -360 <= azimuth <= 360:
        fail(f"azimuth is {azimuth:g}, expected degrees in [-180, 180].")
    if not -90 <= elevation <= 90:
        fail(f"elevation is {elevation:g}, expected degrees in [-90, 90].")
    if distance < 0:
        fail(f"distance is {distance:g}, expected centimetres, 0 or more.")
    return values

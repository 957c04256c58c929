"""DCASE CSV files: metadata and the outputs of DCASE systems, one row for each active source and frame.

Columns: frame (100 ms, zero-based), class (0..12), source number, azimuth and elevation in degrees (azimuth grows to
the left, elevation up) and, in the files of 2023 and later, distance in centimetres. No header in the official files;
with one, columns go by its names (:mod:`sai_core.annotations._csv`).

What systems write, as the code of the DCASE baselines has it (2020 to 2024; their repositories, functions
``write_output_format_file`` and ``load_output_format_file``):

* 4 columns: frame, class, azimuth, elevation (2020); 5 and 6 columns: as above, without and with distance;
* 6 columns: frame, class, 0, x, y, z (2021, 2022); 7 columns: the same with a distance behind, which is 0 in 2023
  (not estimated) and metres in 2024. x points to the front, y to the left, z up, and the vector's length is how sure
  the system was (above 0.5 in the baselines), not a distance;
* a file of 0 bytes: nothing was heard.

Six columns hold vectors where each row does: no component beyond 1.5, a length of 0.2 to 1.8, and decimal points,
which angles of DCASE do not have. Whatever is converted is told in ``DcaseMetadata.notes``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.annotations._csv import CARTESIAN, NUMBER, POLAR, Column, Row, fail, read_table
from sai_core.annotations._decode import MAX_FRAME
from sai_core.annotations._scan import show
from sai_core.annotations._source import ByteSource, stat_regular_file
from sai_core.annotations.names import recording_name
from sai_core.annotations.notes import NO_NOTES, SMALLEST_USUAL_CM, FileNotes, Note, distance_note
from sai_core.errors import InputError
from sai_core.files import atomic_write
from sai_core.geometry import wrap_azimuth_deg
from sai_core.taxonomy import N_CLASSES, category_of

MAX_CSV_BYTES: Final[int] = 64 << 20
"""A row of 32 bytes for each of five sources over eleven days at 10 fps would still be larger than any recording's."""

_INT64_LIMIT: Final[float] = 2.0**63
_MAX_COMPONENT: Final[float] = 1.5
_MOST_RADIANS: Final[float] = 6.3
_VECTOR_LENGTHS: Final[tuple[float, float]] = (0.2, 1.8)

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
    notes : FileNotes
        What the reader converted or guessed; empty for a table that was made.

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
    notes: FileNotes = field(default=NO_NOTES, kw_only=True)

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


def read_dcase_csv(path: str | os.PathLike[str], *, empty_is_silent: bool = False) -> DcaseMetadata:
    """Read a DCASE metadata file, or the output of a DCASE system.

    Parameters
    ----------
    path : path
        Plain or gzip; see the module for what the columns may be. A header row is recognised by having no number (the
        first row of a header-less file is never lost). Commas, or semicolons or tabs; quotes, blank lines, spaces,
        CRLF and a UTF-8 byte order mark do not matter.
    empty_is_silent : bool
        Whether a file without a row is a recording in which nothing was heard (as DCASE systems write it), or an error
        (metadata, where it is a failed copy).

    Returns
    -------
    DcaseMetadata
        Azimuths are brought into [-180, 180); given values may lie in [-360, 360].

    Raises
    ------
    InputError
        With file, line and column.
    """
    table = None
    if stat_regular_file(path).st_size:
        table = read_table(path, _text_of(path))
    if table is None or (not table.rows and not table.has_header):
        if not empty_is_silent:
            raise InputError(
                f"{path}: {'the file is empty' if table is None else 'holds no rows'}; a metadata file of a silent "
                "recording has at least a header."
            )
        silent = FileNotes().with_note("silent", "the file has no rows: nothing was heard.")
        return _metadata(path, np.zeros((0, 6)), silent)
    notes = list(table.notes)
    if table.columns is not None:
        columns = table.columns
    else:
        columns, more = _columns_by_number(path, table.rows)
        notes += more
    values = _values(path, table.rows, columns)
    if any(column.role == "x" for column in columns):
        values, more = _from_vectors(path, table.rows, values, columns)
        notes += more
    values[:, 3] = _wrapped(values[:, 3])
    notes += _doubts(values, columns)
    return _metadata(path, values, FileNotes(notes=tuple(notes)))


def _text_of(path: str | os.PathLike[str]) -> str:
    with ByteSource(path, max_bytes=MAX_CSV_BYTES, may_be_empty=True) as source:
        data = b"".join(iter(lambda: source.read(1 << 20), b""))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; save the table as CSV in UTF-8.") from None


def _metadata(path: str | os.PathLike[str], values: npt.NDArray[np.float64], notes: FileNotes) -> DcaseMetadata:
    return DcaseMetadata(
        frame=values[:, 0].astype(np.int32),
        category_id=values[:, 1].astype(np.int16),
        source_id=values[:, 2].astype(np.int64),
        azimuth_deg=values[:, 3].copy(),
        elevation_deg=values[:, 4].copy(),
        distance_cm=values[:, 5].copy(),
        recording=recording_name(path),
        notes=notes,
    )


def _wrapped(azimuth: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # wrapping goes through a sum that rounds: values that are in range already stay to the bit
    return np.where((azimuth >= -180) & (azimuth < 180), azimuth, wrap_azimuth_deg(azimuth))


def _columns_by_number(path: str | os.PathLike[str], rows: list[Row]) -> tuple[tuple[Column, ...], list[Note]]:
    """What the columns of a file without names are."""
    n = max((_width(row) for row in rows), default=6)
    for row in rows:
        width = _width(row)
        if width not in (4, 5, 6, 7) or (width != n and {width, n} != {5, 6}):
            hint = "; separate columns by commas" if len(row.fields) == 1 else ""
            usual = "" if width not in (4, 5, 6, 7) else f" as other rows have {n}"
            fail(
                path,
                row.line,
                f"has {width} columns{usual}, expected 5 or 6 (frame, class, source, azimuth, elevation[, distance])"
                f"{hint}.",
            )
    if n == 4:
        roles: tuple[str, ...] = ("frame", "class", "azimuth", "elevation")
        note = Note("four_columns", "4 columns were read as frame, class, azimuth, elevation (DCASE 2020).")
        return _in_order(roles), [note]
    if n < 6:
        return _in_order(POLAR), []
    if n == 7:
        like = _are_vectors(rows, any_length=True)
        if not like.all():
            bad = rows[int(np.argmin(like))]
            fail(
                path,
                bad.line,
                "has 7 columns, which are frame, class, source, x, y, z, distance in files of DCASE 2023 and 2024, but "
                f"({', '.join(bad.fields[3:6])}) is not a direction vector; name the columns in a header.",
            )
        return _in_order(CARTESIAN), [Note("vectors", "rows are x, y, z and distance (DCASE 2023, 2024).")]
    like = _are_vectors(rows)
    if len(rows) and like.all():
        if any("." in text for row in rows for text in row.fields[3:5]):
            return _in_order(CARTESIAN[:6]), [Note("vectors", "rows are x, y, z (DCASE 2021, 2022), not angles.")]
        fail(
            path,
            rows[0].line,
            f"({', '.join(rows[0].fields[3:6])}) may be azimuth, elevation and distance or x, y and z, in all rows; "
            "name the columns in a header.",
        )
    if 2 * like.sum() > len(rows):
        bad = rows[int(np.argmin(like))]
        fail(
            path,
            bad.line,
            f"({', '.join(bad.fields[3:6])}) is not a direction vector, and most rows hold x, y, z; name the columns "
            "in a header.",
        )
    if _may_be_stereo(rows):
        fail(
            path,
            rows[0].line,
            "the last column holds 0 and 1 alone, as 'onscreen' of DCASE 2025 does (stereo sound: azimuth and "
            "distance, no elevation); name the columns in a header if they are distances.",
        )
    return _in_order(POLAR), []


def _may_be_stereo(rows: list[Row]) -> bool:
    """Whether fifth and sixth fields can be distance and ``onscreen`` of DCASE 2025."""
    if {row.fields[5] for row in rows if len(row.fields) > 5} != {"0", "1"}:
        return False
    return all(not row.fields[4].startswith("-") for row in rows)


def _width(row: Row) -> int:
    """Columns of a row; an empty seventh does not count."""
    return 6 if len(row.fields) == 7 and not row.fields[6] else len(row.fields)


def _in_order(roles: tuple[str, ...]) -> tuple[Column, ...]:
    return tuple(Column(role, index) for index, role in enumerate(roles))


def _vectors(rows: list[Row]) -> npt.NDArray[np.float64]:
    """Fourth to sixth fields as numbers, shape (n, 3); NaN where one is none."""
    result = np.full((len(rows), 3), np.nan)
    for column in range(3):
        texts = [row.fields[3 + column] if len(row.fields) > 3 + column else "" for row in rows]
        result[:, column] = [float(text) if NUMBER.fullmatch(text) else np.nan for text in texts]
    return result


def _are_vectors(rows: list[Row], *, any_length: bool = False) -> npt.NDArray[np.bool_]:
    """Whether the fourth to sixth fields of each row can be what a system writes for a direction, shape (n,)."""
    vectors = _vectors(rows)
    within = np.all(np.abs(vectors) <= _MAX_COMPONENT, axis=1)  # False for NaN
    length = np.linalg.norm(vectors, axis=1)
    if any_length:
        return within & (length > 0)
    return within & (length >= _VECTOR_LENGTHS[0]) & (length <= _VECTOR_LENGTHS[1])


def _values(path: str | os.PathLike[str], rows: list[Row], columns: tuple[Column, ...]) -> npt.NDArray[np.float64]:
    """Numbers of the rows, shape (n, 6) (frame to distance) or, of vectors, (n, 7) (with x, y, z for angles)."""
    order = CARTESIAN if any(column.role == "x" for column in columns) else POLAR
    result = np.full((len(rows), len(order)), np.nan)
    result[:, 2] = 0.0
    try:
        for column in columns:
            texts = [row.fields[column.index] if column.index < len(row.fields) else "" for row in rows]
            numbers = [_number(text, column) for text in texts]
            result[:, order.index(column.role)] = np.array(numbers, dtype=np.float64) * column.factor
        good = not np.any(np.isinf(result)) and _in_range(dict(zip(order, result.T, strict=True)))
    except ValueError:
        good = False
    if not good:
        # the first row in the file that breaks a rule, not the first column
        for row in rows:
            _explain(path, row, columns)
    return result


def _number(text: str, column: Column) -> float:
    """Number of a field, NaN for a distance that is not given; ValueError for anything else."""
    if NUMBER.fullmatch(text):
        return float(text)
    if not text and column.role == "distance":
        return float("nan")
    category = category_of(text) if column.role == "class" and text else None
    if category is None:
        raise ValueError(text)
    return float(category)


def _in_range(given: Mapping[str, npt.NDArray[np.float64]]) -> bool:
    """Whether all values are what their columns can hold; the rules of :func:`_explain`."""
    frame, category, source, distance = (given[name] for name in ("frame", "class", "source", "distance"))
    whole = all(np.array_equal(values, np.floor(values)) for values in (frame, category, source))
    good = (frame >= 0) & (frame <= MAX_FRAME) & (category >= 0) & (category < N_CLASSES)
    good &= (np.abs(source) < _INT64_LIMIT) & ~(distance < 0)
    if "azimuth" in given:
        good &= (np.abs(given["azimuth"]) <= 360) & (np.abs(given["elevation"]) <= 90)
    else:
        good &= (given["x"] != 0) | (given["y"] != 0) | (given["z"] != 0)
    return whole and bool(good.all())


def _explain(path: str | os.PathLike[str], row: Row, columns: tuple[Column, ...]) -> None:
    """Raise with file, line and column where a row breaks a rule; return if it does not."""
    given: dict[str, float] = {}
    for column in columns:
        text = row.fields[column.index] if column.index < len(row.fields) else ""
        try:
            given[column.role] = _number(text, column) * column.factor
        except ValueError:
            what = "a number, or the name of one of the 13 classes" if column.role == "class" else "a number"
            fail(path, row.line, f"{column.role} is {show(text)}, expected {what}.")
        if np.isinf(given[column.role]):
            fail(path, row.line, f"{column.role} is too large a number.")
    for name in POLAR[:3]:
        if name in given and given[name] != np.floor(given[name]):
            fail(path, row.line, f"{name} is {given[name]:g}, expected a whole number.")
    if not 0 <= given["frame"] <= MAX_FRAME:
        fail(path, row.line, f"frame is {given['frame']:.0f}, expected 0 to {MAX_FRAME}.")
    if not 0 <= given["class"] < N_CLASSES:
        fail(path, row.line, f"class is {given['class']:.0f}, expected 0 to {N_CLASSES - 1}.")
    if not abs(given.get("source", 0.0)) < _INT64_LIMIT:
        fail(path, row.line, "source is too large a number.")
    for name, limit, usual in (("azimuth", 360, 180), ("elevation", 90, 90)):
        if not abs(given.get(name, 0.0)) <= limit:
            fail(path, row.line, f"{name} is {given[name]:g}, expected degrees in [{-usual}, {usual}].")
    if "x" in given and not (given["x"] or given["y"] or given["z"]):
        fail(path, row.line, "x, y and z are all 0, which is not a direction.")
    if given.get("distance", 0.0) < 0:
        fail(path, row.line, f"distance is {given['distance']:g}, expected centimetres, 0 or more.")


def _from_vectors(
    path: str | os.PathLike[str], rows: list[Row], values: npt.NDArray[np.float64], columns: tuple[Column, ...]
) -> tuple[npt.NDArray[np.float64], list[Note]]:
    """Angles of vectors, and distances in centimetres; shape (n, 7) to (n, 6)."""
    x, y, z, distance = values[:, 3:].T.copy()
    azimuth, elevation = np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))
    notes = []
    named = any(column.role == "distance" and column.unit is not None for column in columns)
    given = distance[distance > 0]
    if not len(given) and not np.isnan(distance).all():
        distance[:] = np.nan
        notes.append(Note("no_distance", "all distances are 0, which says that none was estimated."))
    elif len(given) and not named:
        in_metres = float(np.median(given)) < SMALLEST_USUAL_CM
        if in_metres:
            distance = distance * 100.0
        notes.append(Note("distance_unit", f"distances were taken as {'metres' if in_metres else 'centimetres'}."))
    return np.column_stack([values[:, :3], azimuth, elevation, distance]), notes


def _doubts(values: npt.NDArray[np.float64], columns: tuple[Column, ...]) -> list[Note]:
    """What is legal and looks like a mistake: metres or radians."""
    notes = []
    named = {column.role for column in columns if column.unit is not None}
    small = distance_note(values[:, 5])
    if small is not None and "distance" not in named:
        notes.append(small)
    if len(values) and not values[:, 5].any():  # NaN is none
        notes.append(Note("distances_zero", f"all {len(values)} distances are 0, as where none was estimated."))
    azimuth, elevation = values[:, 3], values[:, 4]
    angles = values[:, 3:5]
    by_angles = any(column.role == "azimuth" for column in columns) and "azimuth" not in named
    if (
        by_angles
        and len(np.unique(azimuth)) > 1
        and np.any(angles != np.round(angles))
        and np.abs(azimuth).max() <= _MOST_RADIANS
        and np.abs(elevation).max() <= _MOST_RADIANS / 4
    ):
        notes.append(Note("angles_small", "all angles are as small as radians are, and were read as degrees."))
    return notes


def write_dcase_csv(metadata: DcaseMetadata, path: str | os.PathLike[str]) -> None:
    """Write a DCASE metadata file in the official form (no header, whole numbers without a point).

    Parameters
    ----------
    metadata : DcaseMetadata
        The sixth column is left out where no row has a distance; a single absent distance is an empty field.
        A header row is written where rows alone could be taken for something else: for an empty table, for one whose
        angles and distances are as small as the components of vectors, and where all distances are 0 or 1.
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
    roles = POLAR if with_distance else POLAR[:5]
    columns = [getattr(metadata, name).tolist() for name, _ in _COLUMNS[: len(roles)]]
    rows = []
    for number, values in enumerate(zip(*columns, strict=True), start=1):
        rows.append(Row(number, ["" if value != value else _number_text(value) for value in values]))
    _values(path, rows, _in_order(roles))
    lines = [",".join(row.fields) for row in rows]
    if not lines or (with_distance and (2 * _are_vectors(rows).sum() > len(rows) or _may_be_stereo(rows))):
        # without a header an empty file could not be told from a failed copy, nor such rows from vectors
        lines.insert(0, ",".join(POLAR))
    with atomic_write(Path(path)) as stream:
        stream.write(("\n".join(lines) + "\n").encode("ascii"))


def _number_text(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)

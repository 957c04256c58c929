"""One file a recording from one format into another: what the verb ``convert`` and Home's export do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from sai_core.annotations import (
    AnnotationTable,
    DcaseMetadata,
    read_annotations,
    read_dcase_csv,
    write_coco_json,
    write_dcase_csv,
    write_label_json,
    write_submission_json,
)
from sai_core.annotations.reading import read_annotations_with_report
from sai_core.dataset import FrameSource, Recording, open_frames
from sai_core.dataset.outputs import check_output
from sai_core.errors import InputError, check_known, told_at_once
from sai_core.files import atomic_write
from sai_core.interchange.columns import annotation_columns
from sai_core.interchange.formats import FORMATS as TIMING_FORMATS
from sai_core.interchange.formats import MAX_CHARACTERS, read_timings
from sai_core.interchange.masks import picture_name, write_coco_masks
from sai_core.interchange.rerun import UNKNOWN_DISTANCE_M, sdk, write_rerun
from sai_core.interchange.timings import apply_timings, timings_of
from sai_core.metrics.reading.seld import rows_of_table
from sai_core.progress import Progress, no_progress

TARGETS: Final[dict[str, str]] = {
    "label": "label JSON of the data set",
    "submission": "submission JSON",
    "coco": "COCO JSON, every point and energy (for this program and scripts)",
    "masks": "COCO JSON with masks (CVAT, Label Studio, FiftyOne, Roboflow)",
    "dcase": "DCASE CSV",
    **{f.name: f.title for f in TIMING_FORMATS.values()},
    "parquet": "Parquet, one row an annotation (pandas, polars, DuckDB)",
    "rerun": "Rerun, canvas and room frame by frame (with its SDK)",
}
"""What can be written, by the name that the verb takes."""

_SUFFIXES: Final[dict[str, str]] = {
    "label": "_std.json",
    "dcase": ".csv",
    "parquet": ".parquet",
    "rerun": ".rrd",
    **{f.name: f.suffix for f in TIMING_FORMATS.values()},
}
_WITH_PICTURES: Final[tuple[str, ...]] = ("masks", "rerun")
_JPEG_QUALITY: Final[int] = 92


@dataclass
class Converted:
    """What was written.

    Attributes
    ----------
    files : dict of str to Path
        By recording; one file of all for Parquet, under "".
    notes : list of str
        What was left out, one sentence each.
    n_pictures : int
    failures : dict of str to str
        Recordings whose file could not be converted, with the reason; the others were.
    counts : dict of str to (int, int)
        Of DCASE CSV: rows written and annotations left out, by recording.
    """

    files: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    n_pictures: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    @contextmanager
    def going_on(self, name: str) -> Iterator[None]:
        """One recording of several: what is wrong with its file keeps no other from being converted."""
        try:
            yield
        except InputError as error:
            self.failures[name] = str(error)

    def check_any(self) -> None:
        """Make sure that something was converted.

        Raises
        ------
        InputError
            Nothing was; with all reasons.
        """
        if self.failures and not self.files:
            raise InputError(told_at_once(list(self.failures.values())))


def convert_files(
    files: Mapping[str, Path],
    target: str,
    out: Path,
    *,
    min_score: float = 0.0,
    recordings: Mapping[str, Recording] | None = None,
    pictures: bool = False,
    progress: Progress = no_progress,
) -> Converted:
    """Convert annotation or metadata files.

    Parameters
    ----------
    files : mapping of str to Path
        By recording; labels, submissions, COCO files, or (``.csv``) metadata.
    target : str
        One of :data:`TARGETS`.
    out : Path
        Folder for a file a recording, made if need be; of Parquet the file.
    min_score : float
        Predictions below it are left out.
    recordings : mapping of str to Recording, optional
        For the name of the sound that a file of events belongs to, and for pictures.
    pictures : bool
        With the picture of every frame that has an annotation: as files beside masks, within a recording of Rerun.
    progress : Progress

    Raises
    ------
    InputError
        A place that is taken; or no file could be converted (one that cannot be read, a format that cannot hold what is
        in it). Where some could, the others are ``failures``.
    """
    check_known("Format", target, tuple(TARGETS))
    if not 0 <= min_score <= 1:
        raise InputError(f"The lowest score must lie between 0 and 1, got {min_score}.")
    if pictures and target not in _WITH_PICTURES:
        raise InputError(f"Pictures go with {' and '.join(_WITH_PICTURES)} alone; choose one of them.")
    if target == "rerun":
        sdk()
    done = Converted()
    if target == "parquet":
        _parquet(files, out, min_score, done, progress)
        return done
    check_output(out, inputs=list(files.values()), folder=True)
    targets = {name: out / f"{name}{_SUFFIXES.get(target, '.json')}" for name in files}
    for path in targets.values():
        check_output(path, inputs=list(files.values()))
    for k, (name, file) in enumerate(files.items()):
        progress(k / len(files), name)
        with done.going_on(name):
            rows = _read(file, name, done)
            recording = (recordings or {}).get(name)
            if pictures and recording is None:
                raise InputError(f"{name}: is not in the data root; pictures are taken from its video.")
            if target == "rerun":
                _rerun(rows, targets[name], min_score, recording if pictures else None, done)
            else:
                _write(rows, target, targets[name], name, min_score, recording, done)
            done.files[name] = targets[name]
            if target == "masks" and pictures and recording is not None:
                assert isinstance(rows, AnnotationTable)
                done.n_pictures += _pictures(recording, rows, out / "images")
    if done.files:  # where all were refused, nothing is finished
        progress(1.0, f"{len(done.files)} file{'s' * (len(done.files) != 1)}")
    done.check_any()
    return done


def apply_timing_files(
    edited: Mapping[str, Path],
    regions: Mapping[str, Path],
    out: Path,
    *,
    format_name: str = "",
    progress: Progress = no_progress,
) -> Converted:
    """Labels or predictions as edited elsewhere in time: what lies in no edited event goes (:mod:`~.timings`).

    Parameters
    ----------
    edited : mapping of str to Path
        Files of events by recording.
    regions : mapping of str to Path
        The labels or predictions that they were made from, by recording.
    out : Path
        Folder for a file a recording, of the same kind as that of ``regions``.
    format_name : str
        Of the edited files, where their endings do not say it.
    progress : Progress

    Raises
    ------
    InputError
        A recording without regions, or no file that can be read; where some can, the others are ``failures``.
    """
    done = Converted()
    missing = [name for name in edited if name not in regions]
    if missing:
        raise InputError(f"{missing[0]}: has edited events, but no regions among the given files; check the names.")
    check_output(out, inputs=[*edited.values(), *regions.values()], folder=True)
    for k, (name, file) in enumerate(edited.items()):
        progress(k / len(edited), name)
        with done.going_on(name):
            table = read_annotations(regions[name], recording=name)
            changed, notes = apply_timings(table, read_timings(read_text(file), str(file), format_name))
            done.notes += [f"{name}: {note}" for note in (*table.notes.sentences(), *notes)]
            is_scored = bool(len(table)) and bool(np.isfinite(table.score).all())
            target = out / (f"{name}.json" if is_scored else f"{name}_std.json")
            check_output(target, inputs=[*edited.values(), *regions.values()])
            (write_submission_json if is_scored else write_label_json)(changed, target)
            done.files[name] = target
    done.check_any()
    return done


def read_text(path: Path) -> str:
    """Text of a file of events.

    Raises
    ------
    InputError
        Not to be read, too large, or no UTF-8.
    """
    try:
        if path.stat().st_size > MAX_CHARACTERS:
            raise InputError(f"{path}: is longer than any list of events; is it the right file?")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text in UTF-8 ({error.reason}); save it as UTF-8.") from error


def _read(file: Path, name: str, done: Converted) -> AnnotationTable | DcaseMetadata:
    rows: AnnotationTable | DcaseMetadata
    if file.suffix.lower() == ".csv":
        rows = read_dcase_csv(file)
    else:
        rows = read_annotations_with_report(file, recording=name, unknown_classes="drop").table
    done.notes += [f"{name}: {note}" for note in rows.notes.sentences()]
    return rows


def _write(
    rows: AnnotationTable | DcaseMetadata,
    target: str,
    path: Path,
    name: str,
    min_score: float,
    recording: Recording | None,
    done: Converted,
) -> None:
    if target in TIMING_FORMATS:
        timings, notes = timings_of(rows, min_score=min_score)
        done.notes += [f"{name}: {note}" for note in notes]
        media = None if recording is None else recording.video_path or recording.audio_path
        text = TIMING_FORMATS[target].write(timings, name, media.name if media is not None else "")
        with atomic_write(path) as stream:
            stream.write(text.encode("utf-8"))
        return
    if target == "dcase":
        lost = 0
        if isinstance(rows, AnnotationTable):
            metadata = rows_of_table(rows, min_score=min_score)
            lost = len(rows) - len(metadata.frame)
            _left_out(lost, "below the score or without points", name, done)
            rows = metadata
        write_dcase_csv(rows, path)
        done.counts[name] = len(rows.frame), lost
        return
    if isinstance(rows, DcaseMetadata):
        raise InputError(f"{name}: metadata have directions and no regions; {target} needs regions.")
    kept = rows.take(~(rows.score < min_score))
    _left_out(len(rows) - len(kept), f"below a score of {min_score:g}", name, done)
    if target == "masks":
        _left_out(write_coco_masks(kept, path), "without a pixel", name, done)
        return
    writers: dict[str, Callable[[AnnotationTable, Path], None]] = {
        "label": write_label_json,
        "submission": write_submission_json,
        "coco": write_coco_json,
    }
    writers[target](kept, path)


def _left_out(n: int, why: str, name: str, done: Converted) -> None:
    if n:
        done.notes.append(f"{name}: {n} annotation{'s' * (n != 1)} {why} left out.")


def _parquet(files: Mapping[str, Path], out: Path, min_score: float, done: Converted, progress: Progress) -> None:
    import pandas as pd
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    target = check_output(out, inputs=list(files.values()))
    parts = []
    for k, (name, file) in enumerate(files.items()):
        progress(k / len(files), name)
        with done.going_on(name):
            rows = _read(file, name, done)
            if isinstance(rows, DcaseMetadata):
                raise InputError(
                    f"{name}: metadata are a table already; Parquet is written from labels and predictions."
                )
            kept = rows.take(~(rows.score < min_score))
            _left_out(len(rows) - len(kept), f"below a score of {min_score:g}", name, done)
            parts.append(annotation_columns(kept))
    if not parts:
        done.check_any()
    table = pa.Table.from_pandas(pd.concat(parts, ignore_index=True), preserve_index=False)
    with atomic_write(target) as stream:
        pq.write_table(table, stream, compression="zstd")
    done.files[""] = target
    progress(1.0, f"{table.num_rows:,} rows")


def _rerun(
    rows: AnnotationTable | DcaseMetadata, path: Path, min_score: float, recording: Recording | None, done: Converted
) -> None:
    name = path.stem
    if isinstance(rows, DcaseMetadata):
        raise InputError(f"{name}: metadata have directions and no regions; Rerun is written from labels, predictions.")
    kept = rows.take(~(rows.score < min_score))
    _left_out(len(rows) - len(kept), f"below a score of {min_score:g}", name, done)
    with ExitStack() as stack:
        source = None if recording is None else stack.enter_context(_opened(recording))
        pictures = None if source is None else partial(_jpeg, source)
        written = write_rerun(kept, path, pictures=pictures)
    _left_out(written.n_without_region, "without a pixel", name, done)
    if n := written.n_without_distance:
        done.notes.append(f"{name}: {n} annotation{'s' * (n != 1)} without a distance put at {UNKNOWN_DISTANCE_M:g} m.")


def _opened(recording: Recording) -> FrameSource:
    source = open_frames(recording)
    if source is None:
        raise InputError(f"{recording.name}: has no video and no frames to take pictures from.")
    return source


def _jpeg(source: FrameSource, frame: int) -> bytes | None:
    if frame >= source.n_frames:
        return None
    _, data = cv2.imencode(".jpg", source.frame(frame)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(data)


def _pictures(recording: Recording, table: AnnotationTable, folder: Path) -> int:
    n = 0
    with _opened(recording) as source:
        folder.mkdir(parents=True, exist_ok=True)
        for frame in np.unique(table.frame).tolist():
            if (data := _jpeg(source, frame)) is not None:
                with atomic_write(folder / picture_name(recording.name, frame)) as stream:
                    stream.write(data)
                n += 1
    return n

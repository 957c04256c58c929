"""From files to a label file: what the ``annotate`` verb and the app's labelling tab both run.

Reads an Eigenmike recording and its DCASE metadata, makes the label (:mod:`sai_core.labelling.recipe`) and writes it.
Nothing that exists in a data root is ever replaced.
"""

from __future__ import annotations

import gzip
import re
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sai_core.acoustics.audio_input import AudioInput
from sai_core.annotations import DcaseMetadata, read_dcase_csv, recording_name, write_label_json
from sai_core.dataset.outputs import check_output
from sai_core.errors import InputError
from sai_core.files import confine
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.labelling.apgd import ApgdOptions
from sai_core.labelling.intensity import Precision
from sai_core.labelling.recipe import StairsLabels, label_recording
from sai_core.progress import Progress, no_progress

if TYPE_CHECKING:
    from sai_core.dataset.root import Recording

_SHARE_OF_SOLVING = 0.9
"""Part of the progress bar that is the labelling itself; the rest is writing."""


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """How a label is made.

    Attributes
    ----------
    official_quirks : bool
        Agree with the official code to the pixel, repeated annotations and holes at seam and poles included.
    keep_first_row : bool
        The official code takes the first line of a metadata file for its header even if it is a row, so that the row
        has no label. True labels it nevertheless. Without ``official_quirks`` it is always labelled.
    dtype : {"float64", "float32"}
        Precision of visibilities and solver; float64 is exact.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    solver : ApgdOptions
        Official when left out.
    """

    official_quirks: bool = True
    keep_first_row: bool = False
    dtype: Precision = "float64"
    device: str = "auto"
    solver: ApgdOptions = ApgdOptions()  # noqa: RUF009 (frozen, shared on purpose)


@dataclass(frozen=True, eq=False)
class LabelReport:
    """What was made and written.

    Attributes
    ----------
    recording : str
        Name of the recording.
    labels : StairsLabels
        The label itself, standardised and raw.
    out_path, raw_path : Path, Path or None
        Files written.
    seconds : float
        Wall-clock time, reading and writing included.
    notes : tuple of str
        One sentence each on what a user should know: resampling, rows without a label, repeated annotations.
    """

    recording: str
    labels: StairsLabels
    out_path: Path
    raw_path: Path | None
    seconds: float
    notes: tuple[str, ...]


def label_files(
    audio_path: Path,
    metadata_path: Path,
    out_path: Path,
    *,
    raw_path: Path | None = None,
    settings: LabelSettings | None = None,
    progress: Progress = no_progress,
) -> LabelReport:
    """Label one 32-channel recording and write the label file.

    Parameters
    ----------
    audio_path : Path
        Eigenmike recording with 32 channels, any sample rate (resampled to 24 kHz, which the notes say).
    metadata_path : Path
        DCASE CSV. Rows after the end of the audio get no label, which the notes say.
    out_path : Path
        Standardised label JSON, gzip if the name ends in ``.gz``; an older file is replaced only when all is done.
    raw_path : Path, optional
        The same with unstandardised amplitudes.
    settings : LabelSettings, optional
        Official when left out.
    progress : Progress, optional
        Raising ``CancelledError`` from it leaves all files as they were.

    Returns
    -------
    LabelReport

    Raises
    ------
    InputError
        A file that cannot be read or is not what it must be; an output that is one of the inputs.
    EnvironmentProblem
        A file cannot be written, the device cannot be used.
    """
    settings = settings or LabelSettings()
    began = time.perf_counter()
    _check_outputs((audio_path, metadata_path), out_path, raw_path)
    metadata = read_dcase_csv(metadata_path)
    source = AudioInput(audio_path, channels=32)
    dropped = settings.official_quirks and not settings.keep_first_row and not _has_header(metadata_path, metadata)
    name = recording_name(audio_path)
    labels = label_recording(
        source,
        _without_first_row(metadata) if dropped else metadata,
        recording=name,
        official_quirks=settings.official_quirks,
        dtype=settings.dtype,
        device=settings.device,
        options=settings.solver,
        progress=lambda fraction, message: progress(_SHARE_OF_SOLVING * fraction, message),
    )
    progress(_SHARE_OF_SOLVING, f"writing {out_path.name}")
    if raw_path is not None:
        write_label_json(labels.raw, raw_path)
    write_label_json(labels.table, out_path)
    progress(1.0, "written")
    return LabelReport(
        recording=name,
        labels=labels,
        out_path=out_path,
        raw_path=raw_path,
        seconds=time.perf_counter() - began,
        notes=(*(f"{metadata_path}: {s}" for s in metadata.notes.sentences()), *_notes(labels, dropped=dropped)),
    )


def label_recording_of_root(
    recording: Recording,
    root: Path,
    *,
    output_dir: Path,
    with_raw: bool = False,
    replace_older: bool = False,
    settings: LabelSettings | None = None,
    progress: Progress = no_progress,
) -> LabelReport:
    """Label a recording of a data root.

    Parameters
    ----------
    recording : Recording
        Needs 32-channel audio and metadata.
    root : Path
        The data root that the recording belongs to.
    output_dir : Path
        Folder of the user's choice outside the data root; the file is ``<split>/<name>_std.json`` in it.
    with_raw : bool
        Also write ``<split>/<name>_raw.json``.
    replace_older : bool
        Replace files that an earlier run left in ``output_dir``. Nothing in a data root is ever replaced.
    settings, progress
        As in :func:`label_files`.

    Returns
    -------
    LabelReport

    Raises
    ------
    InputError
        No 32-channel audio or metadata, an output that exists, an output folder inside of the data root.
    EnvironmentProblem
        A file cannot be written.
    """
    if recording.eigen_path is None:
        raise InputError(
            f"{recording.name}: there is no 32-channel recording under {root} (eigen_dev); labels are made from it."
        )
    if recording.metadata_path is None:
        raise InputError(
            f"{recording.name}: there is no metadata CSV under {root} (metadata_dev); it says where and when to look."
        )
    relative = Path(recording.split) / f"{recording.name}_std.json"
    folder = output_dir.resolve()
    if folder.is_relative_to(root.resolve()):
        raise InputError(f"{output_dir}: lies inside the data root; choose a folder outside {root}.")
    out_path = confine(folder, relative)
    if out_path.exists() and not replace_older:
        raise InputError(f"{out_path}: exists already; allow it to be replaced or choose another folder.")
    raw_path = out_path.with_name(f"{recording.name}_raw.json") if with_raw else None
    return label_files(
        recording.eigen_path, recording.metadata_path, out_path, raw_path=raw_path, settings=settings, progress=progress
    )


def _check_outputs(inputs: tuple[Path, ...], out_path: Path, raw_path: Path | None) -> None:
    outputs = [path for path in (out_path, raw_path) if path is not None]
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise InputError(f"{out_path}: the label and the raw amplitudes need two different files.")
    for path in outputs:
        # beside the sounds and metadata that a label is made from there may be the official ones
        check_output(path, inputs=inputs, makes_labels=True)


def _has_header(path: Path, metadata: DcaseMetadata) -> bool:
    """A file without a header has as many lines that are not blank as it has rows."""
    data = Path(path).read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    return sum(1 for line in re.split(rb"\r\n|\r|\n", data) if line.strip(b" \t")) > len(metadata)


def _without_first_row(metadata: DcaseMetadata) -> DcaseMetadata:
    columns = {f.name: getattr(metadata, f.name)[1:] for f in fields(metadata) if f.name not in ("recording", "notes")}
    return replace(metadata, **columns)


def _notes(labels: StairsLabels, *, dropped: bool) -> tuple[str, ...]:
    notes = list(labels.notes)
    if dropped:
        notes.append(
            "The metadata has no header, and the official code takes the first line for one: its row has no label"
            " (keep the first row to change that)."
        )
    if labels.n_rows_beyond_audio:
        seconds = labels.n_frames / FRAME_RATE_HZ
        notes.append(
            f"{labels.n_rows_beyond_audio} metadata rows lie after the end of the audio ({seconds:.1f} s): no label."
        )
    if labels.n_rows_without_region:
        notes.append(
            f"{labels.n_rows_without_region} metadata rows have no region: the map around them is under the threshold."
        )
    if labels.n_repeated:
        notes.append(f"{labels.n_repeated} annotations repeat the one before, official for a region of several parts.")
    return tuple(notes)

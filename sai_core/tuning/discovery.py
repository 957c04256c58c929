"""Where raw detections lie: the folder ``raw`` of a prediction set, one store for each recording."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sai_core.annotations import read_annotations
from sai_core.annotations.dcase import DcaseMetadata
from sai_core.annotations.names import composed
from sai_core.annotations.reading import check_at_sight
from sai_core.detections.raw import RawDetections, open_raw
from sai_core.detections.teacher_files import read_teacher
from sai_core.errors import CancelledError, EnvironmentProblem, InputError, SaiError, check_all
from sai_core.metrics import Failure
from sai_core.progress import Progress, no_progress, part_of
from sai_core.tuning.bench import MEMORY_BYTES, TuningRecording, TuningSet

RAW_FOLDER = "raw"


@dataclass(frozen=True)
class RawSet:
    """Raw detections of one system.

    Attributes
    ----------
    name : str
        Of the prediction set: the folder above ``raw``.
    folder : Path
        That holds the stores.
    stores : mapping of str to Path
        Recording name to its finished store, sorted; where a recording has several, the newest.
    """

    name: str
    folder: Path
    stores: Mapping[str, Path]


def raw_set(folder: Path) -> RawSet | None:
    """What a folder holds: stores themselves, or a folder ``raw`` with them; None where there are none."""
    folder = Path(folder)
    base = folder / RAW_FOLDER if (folder / RAW_FOLDER).is_dir() else folder
    newest: dict[str, tuple[int, Path]] = {}
    try:
        # a store is finished when this file is there
        marks = sorted(base.glob("*/store.json"))
        for mark in marks:
            recording, dot, _ = composed(mark.parent.name).rpartition(".")
            if not dot or not recording:
                continue
            stamp = mark.stat().st_mtime_ns
            if recording not in newest or stamp > newest[recording][0]:
                newest[recording] = (stamp, mark.parent)
    except OSError:
        return None
    if not newest:
        return None
    name = base.resolve().parent.name if base.name == RAW_FOLDER else base.name
    return RawSet(name, base, {r: newest[r][1] for r in sorted(newest)})


def find_raw_sets(folders: Iterable[Path]) -> list[RawSet]:
    """Raw detections in some folders and in the folders right below them, each place once.

    Parameters
    ----------
    folders : iterable of Path
        For example ``<root>/predictions`` and a folder of further predictions; absent ones are skipped.
    """
    found: dict[Path, RawSet] = {}
    for folder in folders:
        try:
            below = sorted(p for p in Path(folder).iterdir() if p.is_dir() and not p.name.startswith("."))
        except OSError:
            continue
        for candidate in (Path(folder), *below):
            raw = raw_set(candidate)
            if raw is not None:
                found.setdefault(raw.folder.resolve(), raw)
    return list(found.values())


def open_raw_set(
    stores: Mapping[str, Path],
    labels: Mapping[str, Path],
    *,
    recordings: Sequence[str] | None = None,
    teacher_folder: Path | None = None,
    memory_bytes: int = MEMORY_BYTES,
    use_cache: bool = True,
    progress: Progress = no_progress,
) -> TuningSet:
    """Open raw detections with their labels.

    Parameters
    ----------
    stores, labels : mapping of recording name to path
        Store folders and label files.
    recordings : sequence of str, optional
        Which; by default all that have both.
    teacher_folder : Path, optional
        CSV files of a DCASE system (:func:`sai_core.detections.teacher_files.find_teacher_csv`).
    memory_bytes : int
        Rendered maps that the whole set may keep.
    use_cache : bool
        Use the caches of labels on disk.
    progress : Progress
        Labels that nobody has rendered yet take most of the time.

    Returns
    -------
    TuningSet
        A recording whose files turn out to be damaged, or that has no teacher, is one of its ``failures``; the others
        go on.

    Raises
    ------
    InputError
        No recording with both; recordings without one of them, with a damaged store or a file that is no annotation
        file, all told at once and before any work; none that can be used.
    """
    names = sorted(set(stores) & set(labels)) if recordings is None else sorted(recordings)
    if not names:
        raise InputError(
            f"No recording has both raw detections and labels ({len(stores)} stores, {len(labels)} label files); check "
            "that they belong together."
        )
    # what can be known is looked at before labels are rendered
    raws: dict[str, RawDetections] = {}

    def look(name: str) -> None:
        for what, files in (("raw detections", stores), ("labels", labels)):
            if name not in files:
                raise InputError(f"{name}: has no {what}.")
        raw = open_raw(stores[name])
        if raw is None:
            raise InputError(f"{stores[name]}: is not a finished store of raw detections; run predict again.")
        raws[name] = raw
        check_at_sight(labels[name])

    check_all(*(partial(look, name) for name in names))
    opened: list[TuningRecording] = []
    failures: list[Failure] = []
    for index, name in enumerate(names):
        step = part_of(progress, index / len(names), (index + 1) / len(names))
        step(0.0, f"{name}: opening")
        try:
            table = read_annotations(
                labels[name], recording=name, check_canvas=True, unknown_classes="drop", use_cache=use_cache
            )
            opened.append(
                TuningRecording(
                    raws[name],
                    table,
                    teacher=_teacher(teacher_folder, name),
                    memory_bytes=memory_bytes // len(names),
                    use_cache=use_cache,
                    progress=step,
                )
            )
        except CancelledError:
            raise
        except SaiError as error:
            failures.append(Failure(name, str(error), isinstance(error, EnvironmentProblem)))
    if not opened:
        raise InputError(f"None of the {len(names)} recordings can be used; the first: {failures[0].error}")
    return TuningSet(opened, failures)


def _teacher(folder: Path | None, recording: str) -> DcaseMetadata | None:
    return None if folder is None else read_teacher(folder, recording)

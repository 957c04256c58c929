"""From prediction sets to a fused one: files read, fused and written, each below the evaluator's limit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sai_core.annotations.compression import CompressionReport, compress_submission
from sai_core.annotations.notes import summarise_notes
from sai_core.annotations.reading import read_annotations
from sai_core.annotations.writing import submission_pieces, write_pieces
from sai_core.errors import InputError
from sai_core.files import confine
from sai_core.fusion.fuse import FusionSettings, check_weights, fuse_tables
from sai_core.progress import Progress, no_progress, part_of
from sai_core.workspace import SetFacts, StoredSet, clean_name, workspace


@dataclass(frozen=True)
class FusionReport:
    """What was written.

    Attributes
    ----------
    folder : Path
    recordings : tuple of str
    n_detections : int
    compressed : tuple of (str, CompressionReport)
        Recordings that had to lose something to stay below the limit.
    notes : tuple of str
        What a reader must know: recordings that some systems do not have, annotations that were left out.
    """

    folder: Path
    recordings: tuple[str, ...]
    n_detections: int
    compressed: tuple[tuple[str, CompressionReport], ...]
    notes: tuple[str, ...]


def fuse_files(
    systems: Mapping[str, Mapping[str, Path]],
    weights: Sequence[float],
    folder: Path,
    *,
    settings: FusionSettings | None = None,
    use_cache: bool = True,
    progress: Progress = no_progress,
) -> FusionReport:
    """Fuse every recording that one of the systems has, into ``<recording>.json``.

    Parameters
    ----------
    systems : mapping of str to (mapping of str to Path)
        Prediction files by recording, by the name of the system.
    weights : sequence of float
        One a system.
    folder : Path
        Checked by the caller.
    settings : FusionSettings, optional
    use_cache : bool
    progress : Progress

    Raises
    ------
    InputError
        Weights that do not fit, a file that cannot be read, no recording.
    EnvironmentProblem
        The folder cannot be written.
    """
    check_weights(weights, len(systems))
    names = sorted(set().union(*systems.values()))
    if not names:
        raise InputError("The prediction sets hold no recording.")
    notes = []
    for system, files in systems.items():
        if lacking := len(names) - len(files):
            notes.append(f"{system}: lacks {lacking} of {len(names)} recordings and has no say there.")
    compressed = []
    n_detections = 0
    for k, name in enumerate(names):
        step = part_of(progress, k / len(names), (k + 1) / len(names))
        step(0.0, f"{name} ({k + 1} of {len(names)})")
        tables = [
            read_annotations(
                files[name], recording=name, check_canvas=True, unknown_classes="drop", use_cache=use_cache
            )
            if name in files
            else None
            for files in systems.values()
        ]
        for system, table in zip(systems, tables, strict=True):
            if table is not None:
                notes += [f"{system}: {s}" for s in summarise_notes([(name, table.notes)], what="predictions")]
        fused = fuse_tables(tables, weights, settings)
        smaller, report = compress_submission(fused, progress=part_of(step, 0.5, 1.0))
        if smaller is not fused:
            compressed.append((name, report))
        n_detections += len(smaller)
        write_pieces(submission_pieces(smaller), confine(folder, f"{name}.json"))
    progress(1.0, f"{len(names)} recordings")
    return FusionReport(folder, tuple(names), n_detections, tuple(compressed), tuple(notes))


def fuse_into_set(
    systems: Mapping[str, Mapping[str, Path]],
    weights: Sequence[float],
    *,
    name: str | None = None,
    data: str = "",
    settings: FusionSettings | None = None,
    seed: int | None = None,
    use_cache: bool = True,
    progress: Progress = no_progress,
) -> tuple[StoredSet, FusionReport]:
    """Fuse into a new prediction set of the workspace, which knows what it was made from.

    Parameters
    ----------
    systems, weights, settings, use_cache, progress
        See :func:`fuse_files`.
    name : str, optional
        Of the set; made from those of the systems if left out.
    data : str
        Data root, where it is known.
    seed : int, optional
        Of the search that found the weights.

    Raises
    ------
    InputError
        As :func:`fuse_files`; a set of this name is there.
    """
    share = check_weights(weights, len(systems))
    settings = settings or FusionSettings()
    place = workspace()
    options: dict[str, str | int | float | bool] = {}
    for k, (system, weight) in enumerate(zip(systems, share.tolist(), strict=True), start=1):
        options |= {f"set {k}": system, f"weight {k}": weight}
    options |= asdict(settings)
    if seed is not None:
        options["seed of the search"] = seed
    facts = SetFacts(
        made_by="fuse",
        data=os.path.realpath(data) if data else "",
        recordings=tuple(sorted(set().union(*systems.values()))),
        options=options,
    )
    chosen = name or place.free_name("predictions", clean_name(" and ".join(Path(system).name for system in systems)))
    stored = place.begin("predictions", chosen, facts)
    try:
        with place.writing(stored) as folder:
            report = fuse_files(systems, weights, folder, settings=settings, use_cache=use_cache, progress=progress)
    except BaseException:
        place.delete(place.trash(stored))
        raise
    return place.find("predictions", stored.name), report

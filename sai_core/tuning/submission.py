"""Write the submission files of a tuned system."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sai_core.annotations.compression import CompressionReport, compress_submission
from sai_core.annotations.writing import submission_pieces, write_pieces
from sai_core.dataset.outputs import check_output
from sai_core.errors import InputError
from sai_core.files import confine, resolved
from sai_core.postprocess import PipelineSettings
from sai_core.progress import Progress, no_progress, part_of
from sai_core.tuning.bench import TuningSet


@dataclass(frozen=True)
class SubmissionReport:
    """What was written.

    Attributes
    ----------
    folder : Path
    files : tuple of Path
    n_bytes : int
        Of all files together.
    compressed : tuple of (str, CompressionReport)
        Recordings that had to lose something to stay below the limit.
    """

    folder: Path
    files: tuple[Path, ...]
    n_bytes: int
    compressed: tuple[tuple[str, CompressionReport], ...]


def export_submission(
    tuning_set: TuningSet,
    settings: PipelineSettings,
    folder: Path,
    *,
    data_root: Path,
    replace_older: bool = False,
    progress: Progress = no_progress,
) -> SubmissionReport:
    """Write ``<recording>.json`` for each recording of a set, each below the evaluator's limit of 20 MB.

    Parameters
    ----------
    tuning_set : TuningSet
    settings : PipelineSettings
    folder : Path
        Made if needed; outside the data root.
    data_root : Path
        Which nothing is written into.
    replace_older : bool
        Replace files with these names. Otherwise nothing is written if one is there.
    progress : Progress
        Told after each recording; what was written before a cancellation stays.

    Raises
    ------
    InputError
        A folder inside the data root, files that are there already.
    EnvironmentProblem
        The folder cannot be written.
    """
    target = resolved(check_output(folder, folder=True))
    if target.is_relative_to(Path(data_root).resolve()):
        raise InputError(f"{folder}: lies inside the data root; choose a folder outside {data_root}.")
    paths = [confine(target, f"{recording.name}.json") for recording in tuning_set.recordings]
    there = [path for path in paths if path.exists()]
    if there and not replace_older:
        raise InputError(
            f"{target}: holds {len(there)} of these files already, such as {there[0].name}; allow them to be replaced "
            "or choose another folder."
        )
    chosen = tuning_set.resolved(settings)
    compressed = []
    n_bytes = 0
    for index, (recording, path) in enumerate(zip(tuning_set.recordings, paths, strict=True)):
        step = part_of(progress, index / len(paths), (index + 1) / len(paths))
        step(0.0, f"{recording.name}: writing")
        table = recording.table(chosen)
        smaller, report = compress_submission(table, progress=step)
        if smaller is not table:
            compressed.append((recording.name, report))
        write_pieces(submission_pieces(smaller), path)
        n_bytes += path.stat().st_size
    progress(1.0, f"{len(paths)} files written")
    return SubmissionReport(target, tuple(paths), n_bytes, tuple(compressed))

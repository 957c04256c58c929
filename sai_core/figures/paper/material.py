"""What figures and videos of a recording are drawn from: pictures, labels, predictions of one or more systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.annotations.reading import problem_at_sight
from sai_core.dataset import (
    DataRoot,
    FrameSource,
    PredictionSet,
    Recording,
    describe,
    find_prediction_set,
    open_frames,
    outputs,
)
from sai_core.dataset.layout import PREDICTIONS_FOLDER, prediction_name
from sai_core.errors import InputError
from sai_core.files import resolved, user_path
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.progress import Progress, no_progress


@dataclass(frozen=True)
class System:
    """Predictions to be shown: a name and a file.

    Attributes
    ----------
    title : str
        As shown.
    path : Path or None
        Prediction file of the recording; None when the system has none.
    stand_in : bool
        Made up for demonstration, not a detector's output.
    """

    title: str
    path: Path | None
    stand_in: bool = False


@dataclass(frozen=True, eq=False)
class Material:
    """Everything a picture of a recording needs, opened. Use as a context manager, or call :meth:`close`.

    Attributes
    ----------
    recording : Recording
    labels : AnnotationTable or None
    systems : tuple of System
    tables : tuple of (AnnotationTable or None)
        Predictions of each system; None without a file.
    frames : FrameSource or None
        Pictures.
    n_frames : int
        Frames of the longest of audio, video, labels and predictions.
    problems : tuple of str
        What could not be read and is therefore missing, and what is odd about the pictures; one sentence each.
    """

    recording: Recording
    labels: AnnotationTable | None
    systems: tuple[System, ...]
    tables: tuple[AnnotationTable | None, ...]
    frames: FrameSource | None
    n_frames: int
    problems: tuple[str, ...]

    @property
    def place(self) -> str:
        """Split and name of the recording."""
        return "/".join(part for part in (self.recording.split, self.recording.name) if part)

    @property
    def liveliest_frame(self) -> int:
        """First frame with most labels (without labels: with most predictions of the first system); 0 if none."""
        table = next((t for t in (self.labels, *self.tables) if t is not None and len(t)), None)
        return 0 if table is None else int(np.argmax(np.bincount(table.frame)))

    def picture(self, frame: int) -> npt.NDArray[np.uint8] | None:
        """RGB picture of a frame; None without video, past its end, or where it is damaged."""
        return None if self.frames is None else self.frames.picture(frame)

    def close(self) -> None:
        """Free the decoder."""
        if self.frames is not None:
            self.frames.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_material(
    recording: Recording,
    systems: Sequence[System],
    *,
    picture_size_wh: tuple[int, int] | None = (960, 480),
    cache_bytes: int = 0,
    progress: Progress = no_progress,
) -> Material:
    """Open a recording with the predictions of some systems.

    Parameters
    ----------
    recording : Recording
    systems : sequence of System
    picture_size_wh : (int, int), optional
        Size that pictures are scaled to; None leaves the video closed.
    cache_bytes : int
        Pictures to keep.
    progress : Progress
        Told while files are read.

    Returns
    -------
    Material
        Without video where that cannot be read, which its ``problems`` tell.

    Raises
    ------
    InputError
        Labels or predictions that cannot be read: a figure without them would be wrong, not just bare.
    """
    sources = [("labels", recording.label_path), *((system.title, system.path) for system in systems)]
    tables: list[AnnotationTable | None] = []
    for number, (title, path) in enumerate(sources):

        def part(fraction: float, message: str, number: int = number, title: str = title) -> None:
            progress((number + fraction) / (len(sources) + 1), f"Reading {title}: {message}")

        tables.append(None if path is None else read_annotations(path, recording=recording.name, progress=part))
    problems = [
        f"{title}: {sentence}"
        for (title, _), table in zip(sources, tables, strict=True)
        if table is not None
        for sentence in table.notes.sentences()
    ]
    frames: FrameSource | None = None
    if picture_size_wh is not None:
        progress(len(sources) / (len(sources) + 1), "Opening the video")
        try:
            frames = open_frames(recording, size=picture_size_wh, cache_bytes=cache_bytes)
            problems += frames.notes if frames is not None else ()
        except InputError as error:
            problems.append(str(error))
    audio = describe(recording, video=False).audio
    n_audio = -(-audio.n_samples * FRAME_RATE_HZ // audio.sample_rate_hz) if audio is not None else 0
    lengths = [n_audio, frames.n_frames if frames is not None else 0, *(t.n_frames for t in tables if t is not None)]
    progress(1.0, "Ready")
    return Material(
        recording=recording,
        labels=tables[0],
        systems=tuple(systems),
        tables=tuple(tables[1:]),
        frames=frames,
        n_frames=max(lengths),
        problems=tuple(problems),
    )


def system_of_set(chosen: PredictionSet, recording: str) -> System:
    """System of a prediction set, for one recording."""
    return System(chosen.title, chosen.files.get(recording), chosen.is_stand_in)


def find_system(text: str | Path, root: DataRoot, recording: Recording) -> System:
    """System that a user names: a prediction file, a folder of such, or a prediction set of the data root.

    A file is called after its folder where the file itself bears the recording's name, as in
    ``predictions/<system>/<recording>.json``, and after itself otherwise.

    Raises
    ------
    InputError
        Nothing of that name, or a folder without a file for the recording.
    """
    path = user_path(text, what="name of predictions")
    known = next((s for s in root.prediction_sets if s.name == str(text)), None)
    if not path.exists() and known is not None:
        chosen = known
    elif path.is_file():
        file = path.resolve()
        parsed = prediction_name(file.name)
        if parsed is None:
            raise InputError(f"{path}: not a prediction file; it must end in .json or .json.gz.")
        title = parsed[0]
        if title == recording.name:
            folder = file.parent
            if folder.name == recording.split and folder.parent != folder:
                folder = folder.parent
            title = folder.name or title
        single = PredictionSet(title, file.parent, {recording.name: file})
        return system_of_set(single, recording.name)
    elif not path.exists():
        names = ", ".join(s.name for s in root.prediction_sets) or "none"
        raise InputError(
            f"{path}: no such prediction file or folder, and no prediction set of {root.path} (there are: {names})."
        )
    else:
        chosen = find_prediction_set(path)
    if recording.name not in chosen.files:
        raise InputError(f"{chosen.folder}: holds no predictions for {recording.name}; expected {recording.name}.json.")
    return system_of_set(chosen, recording.name)


def check_files(recording: Recording, systems: Sequence[System]) -> list[str]:
    """What is wrong with the labels and predictions of a recording, as far as it shows before they are read."""
    paths = [recording.label_path, *(system.path for system in systems)]
    return [problem for path in paths if path is not None and (problem := problem_at_sight(path))]


def rename(systems: Sequence[System], titles: Sequence[str]) -> list[System]:
    """Systems under other names; what is a stand-in stays called so.

    Raises
    ------
    InputError
        Not one name a system.
    """
    if len(titles) != len(systems):
        raise InputError(f"{len(titles)} names for {len(systems)} systems; give one name for each, in the same order.")
    renamed = []
    for system, title in zip(systems, titles, strict=True):
        if system.stand_in and "stand-in" not in title.lower():
            title = f"{title} (stand-in)"
        renamed.append(replace(system, title=title))
    return renamed


def check_output(path: str | Path, root: DataRoot, *, inputs: Sequence[Path | None] = ()) -> Path:
    """Where a figure or video may be written: never over an input, never among a data root's files.

    Raises
    ------
    InputError
        The file is an input, lies in one of the root's data folders, or is a folder.
    """
    target = outputs.check_output(path, root=root, inputs=inputs)
    real = resolved(target)
    if real.is_relative_to(root.path):
        parts = real.relative_to(root.path).parts[:-1]
        if parts and parts[0].lower() == PREDICTIONS_FOLDER:
            raise InputError(f"{target}: lies inside the data of {root.path} (predictions); choose another place.")
    return target

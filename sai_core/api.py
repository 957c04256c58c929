"""The program from a notebook or a script: ``import sai_core as sai``.

Thin objects over the rooms of this package, with tables as pandas and figures as matplotlib. Nothing here is needed by
the app or the command line; names of prediction and label sets are the workspace's, as everywhere (``docs/python.md``).
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.dataset import AudioReader, DataRoot, demo_root, open_data_root, open_frames
from sai_core.dataset import Recording as Files
from sai_core.dataset.describe import describe
from sai_core.drawing.maps import MAP_MODES, MapMode, annotation_patch, merged_canvas
from sai_core.errors import EnvironmentProblem, InputError, check_known
from sai_core.files import user_path
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.installation import network_path
from sai_core.interchange.columns import annotation_columns
from sai_core.metrics import Evaluation, Figures, Revision, evaluate_revisions
from sai_core.progress import Progress, no_progress
from sai_core.workspace import root_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sai_core.figures.paper.panels import PanelOptions
    from sai_core.figures.paper.style import PaperStyle
    from sai_core.player.notebook import PlayerWidget

AudioKind = Literal["mic", "foa", "eigen"]


@dataclass(frozen=True, eq=False)
class Annotations:
    """Labels or predictions of one recording.

    Attributes
    ----------
    table : AnnotationTable
        All columns, regions and energies; see there.
    """

    table: AnnotationTable

    def __len__(self) -> int:
        return len(self.table)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the file left out or guessed, one sentence each."""
        return tuple(self.table.notes.sentences())

    def to_pandas(self) -> pd.DataFrame:
        """One row an annotation, in the file's order within each frame.

        Returns
        -------
        DataFrame
            ``recording``; ``frame`` (zero-based, 100 ms) and ``time_s`` of its start; ``class`` and ``category_id``;
            ``instance_id``; ``score`` (NaN for labels); ``distance_cm`` (NaN where there is none); ``azimuth_deg`` (in
            [-180, 180), growing to the left) and ``elevation_deg`` of the region's strongest point; ``peak_energy``;
            ``n_points`` of the region.
        """
        return annotation_columns(self.table)

    def energy_map(self, frame: int, *, mode: MapMode = "full") -> npt.NDArray[np.float32]:
        """Energy of a frame on the canvas, the largest where regions overlap.

        Parameters
        ----------
        frame : int
            Zero-based, of 100 ms.
        mode : {"full", "official", "points"}
            How regions are rendered (:mod:`sai_core.drawing.maps`).

        Returns
        -------
        float32, shape (180, 360)
            Row 0 is elevation +90 degrees, column 0 azimuth +180; zeros where nothing sounds.
        """
        check_known("Map rendering", mode, MAP_MODES)
        chosen = self.table.frame_slice(frame)
        return merged_canvas(annotation_patch(self.table, k, mode=mode) for k in range(chosen.start, chosen.stop))

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return notes + self.to_pandas().to_html(max_rows=12, notebook=True)


class Predictions(Mapping[str, Annotations]):
    """Predictions of one recording by the names of their sets, read when they are asked for."""

    def __init__(self, data: DataRoot, recording: str, kept: dict[Path, Annotations]) -> None:
        self._files = {s.name: s.files[recording] for s in data.prediction_sets if recording in s.files}
        self._recording = recording
        self._kept = kept

    def __getitem__(self, name: str) -> Annotations:
        if name not in self._files:
            raise KeyError(f"{self._recording} has no predictions {name!r}; there are: {', '.join(self) or 'none'}")
        path = self._files[name]
        if path not in self._kept:
            self._kept[path] = Annotations(read_annotations(path, recording=self._recording))
        return self._kept[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        return f"Predictions of {self._recording}: {', '.join(self) or 'none'}"


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording of opened data.

    Attributes
    ----------
    files : sai_core.dataset.Recording
        Where each kind of its material lies.
    data : Data
        What it belongs to.
    """

    files: Files
    data: Data
    _kept: dict[Path, Annotations] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """For example ``fold4_room23_mix001``."""
        return self.files.name

    @property
    def split(self) -> str:
        """For example ``dev-test-sony``; empty where there is none."""
        return self.files.split

    @property
    def is_simulated(self) -> bool:
        """Whether it was made by a simulator."""
        return self.files.is_simulated

    @cached_property
    def n_frames(self) -> int:
        """Frames of 100 ms of the sound, or of the labels where there is no sound."""
        audio = describe(self.files, video=False).audio
        if audio is not None:
            return -(-audio.n_samples * FRAME_RATE_HZ // audio.sample_rate_hz)
        return self.labels.table.n_frames if self.labels is not None else 0

    @cached_property
    def labels(self) -> Annotations | None:
        """The labels in use (the data root's own, or the chosen label set's); None where there are none."""
        path = self.files.label_path
        return None if path is None else Annotations(read_annotations(path, recording=self.name))

    @property
    def predictions(self) -> Predictions:
        """Predictions by the names of their sets, those in the data root and those of the workspace."""
        return Predictions(self.data.root, self.name, self._kept)

    def audio(
        self, start_s: float = 0.0, stop_s: float | None = None, *, kind: AudioKind | None = None
    ) -> tuple[npt.NDArray[np.float32], int]:
        """Samples of all channels.

        Parameters
        ----------
        start_s, stop_s : float
            Seconds; to the end where ``stop_s`` is left out.
        kind : {"mic", "foa", "eigen"}, optional
            4-channel array, ambisonics or Eigenmike; the first of them that is there, if left out.

        Returns
        -------
        samples : float32, shape (n, channels)
            Full scale is 1.
        sample_rate_hz : int

        Raises
        ------
        InputError
            No such audio, times that are none, or it cannot be read.
        """
        if kind is not None:
            check_known("Kind of audio", kind, get_args(AudioKind))
        for time in (start_s, stop_s):
            if time is not None and not 0 <= time < np.inf:
                raise InputError(f"{self.name}: {time} is not a time; give seconds from the recording's beginning.")
        path = self.files.audio_path if kind is None else getattr(self.files, f"{kind}_path")
        if path is None:
            raise InputError(f"{self.name}: there is no {f'{kind}_dev ' if kind else ''}audio.")
        reader = AudioReader(path)
        rate = reader.sample_rate_hz
        stop = reader.n_samples if stop_s is None else min(round(stop_s * rate), reader.n_samples)
        return reader.read_samples(round(start_s * rate), max(stop, round(start_s * rate)), pad=False), rate

    def picture(self, frame: int, *, size_wh: tuple[int, int] = (360, 180)) -> npt.NDArray[np.uint8] | None:
        """Video picture of a frame, uint8 (height, width, 3) RGB; None where there is no video.

        Raises
        ------
        InputError
            A frame that the recording does not have.
        """
        if not 0 <= frame < (self.n_frames or np.inf):
            raise InputError(f"{self.name}: there is no frame {frame}; there are {self.n_frames}, from 0.")
        frames = open_frames(self.files, size=size_wh)
        if frames is None:
            return None
        try:
            return frames.frame(frame)
        finally:
            frames.close()

    def figure(self, frame: int, predictions: str | Sequence[str] | None = None, **look: Any) -> Figure:
        """As :func:`sai_core.figure`."""
        return figure(self, frame, predictions, **look)

    def view(self, predictions: str | Sequence[str] | None = None, **look: Any) -> PlayerWidget:
        """As :func:`sai_core.view`."""
        return view(self, predictions, **look)

    def __repr__(self) -> str:
        simulated = ", simulated" if self.is_simulated else ""
        names = ", ".join(self.predictions) or "none"
        return f"Recording {self.name} ({self.split or 'no split'}{simulated}; predictions: {names})"


@dataclass(eq=False)
class Data:
    """An opened data root with the prediction sets that belong to it.

    Attributes
    ----------
    root : DataRoot
        With the sets that :func:`predict` has added.
    problems : tuple of str
        What was left out or does not fit, one sentence each.
    """

    root: DataRoot
    problems: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The folder."""
        return self.root.path

    @cached_property
    def recordings(self) -> tuple[Recording, ...]:
        """All recordings, in the order of the app."""
        return tuple(Recording(files, self) for files in self.root.recordings)

    @property
    def prediction_sets(self) -> tuple[str, ...]:
        """Names of the prediction sets, in the data root and in the workspace."""
        return tuple(s.name for s in self.root.prediction_sets)

    def __getitem__(self, name: str) -> Recording:
        """A recording by ``name``, or by ``split/name`` where a name is in several splits."""
        if not isinstance(name, str):
            raise InputError(f"{name!r} is not the name of a recording; .recordings[0] is the first of them.")
        split, _, bare = name.rpartition("/")
        files = self.root.recording(bare, split or None)
        return next(r for r in self.recordings if r.files == files)

    def __iter__(self) -> Iterator[Recording]:
        return iter(self.recordings)

    def __contains__(self, item: object) -> bool:
        """Whether there is such a recording: the object, its ``name`` or ``split/name``."""
        return any(item is r or item in (r.name, f"{r.split}/{r.name}") for r in self.recordings)

    def __len__(self) -> int:
        return len(self.recordings)

    def to_pandas(self) -> pd.DataFrame:
        """One row a recording: name, split, what is there, and which prediction sets hold it."""
        return pd.DataFrame(
            {
                "recording": [r.name for r in self.root.recordings],
                "split": [r.split for r in self.root.recordings],
                "labels": [r.has_labels for r in self.root.recordings],
                "metadata": [r.has_metadata for r in self.root.recordings],
                "mic": [r.mic_path is not None for r in self.root.recordings],
                "foa": [r.foa_path is not None for r in self.root.recordings],
                "eigen": [r.eigen_path is not None for r in self.root.recordings],
                "video": [r.has_video for r in self.root.recordings],
                "simulated": [r.is_simulated for r in self.root.recordings],
                "predictions": [
                    ", ".join(s.name for s in self.root.prediction_sets if r.name in s.files)
                    for r in self.root.recordings
                ],
            }
        )

    def __repr__(self) -> str:
        return f"Data {self.path}: {len(self)} recordings; predictions: {', '.join(self.prediction_sets) or 'none'}"

    def _repr_html_(self) -> str:
        problems = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.problems)
        return f"<p>{html.escape(str(self.path))}</p>{problems}" + self.to_pandas().to_html(max_rows=20, notebook=True)


@dataclass(frozen=True, eq=False)
class Scores:
    """Official figures of one prediction set.

    Attributes
    ----------
    name : str
        Of the prediction set.
    evaluation : Evaluation
        By the evaluator of ``evaluation.revision``.
    """

    name: str
    evaluation: Evaluation

    @property
    def revision(self) -> str:
        """Which official evaluator; belongs beside every figure."""
        return self.evaluation.revision

    @property
    def macro_map(self) -> float:
        """Mean over classes of the mean AP over the revision's thresholds."""
        return self.evaluation.macro.mean_ap

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out or is odd, one sentence each."""
        return self.evaluation.warnings

    def to_pandas(self) -> pd.DataFrame:
        """One row a class, then the macro mean and all classes pooled (micro).

        Returns
        -------
        DataFrame
            Index is the row's name. ``mAP``, ``AP25`` ... (the revision's thresholds), ``pearson_r``, ``distance_mape``
            (percent), ``labels`` and ``detections`` (counts); NaN where a figure is not defined.
        """
        rows: Iterable[Figures] = (*self.evaluation.per_class, self.evaluation.macro, self.evaluation.micro)
        names = [f"AP{round(100 * threshold)}" for threshold in self.evaluation.thresholds]
        frame = pd.DataFrame(
            [
                {
                    "class": row.name,
                    "mAP": row.mean_ap,
                    **dict(zip(names, row.ap, strict=True)),
                    "pearson_r": row.pearson_r,
                    "distance_mape": row.distance_mape,
                    "labels": row.n_labels,
                    "detections": row.n_detections,
                }
                for row in rows
            ]
        )
        return frame.set_index("class")

    def __repr__(self) -> str:
        return f"Scores of {self.name}, revision {self.revision}: macro mAP {self.macro_map:.4f}"

    def _repr_html_(self) -> str:
        warnings = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.warnings)
        return f"<p>{html.escape(repr(self))}</p>{warnings}" + self.to_pandas().to_html(
            float_format="{:.4f}".format, notebook=True
        )


def open(
    path: str | os.PathLike[str] | None = None, *, labels: str | None = None, predictions: Sequence[str] = ()
) -> Data:
    """Open a folder in the official layout.

    Parameters
    ----------
    path : path, optional
        Data root; the simulated demo recordings if left out.
    labels : str, optional
        Name of a label set of the workspace, or a folder, whose labels count instead of the root's own.
    predictions : sequence of str
        More prediction sets: names of the workspace, or folders. Those that belong to the data are there anyway.

    Returns
    -------
    Data

    Raises
    ------
    InputError
        No such folder, labels or predictions.

    Examples
    --------
    >>> import sai_core as sai
    >>> data = sai.open()
    >>> data.recordings[0].is_simulated
    True
    >>> len(data["fold9_room1_mix001"].labels.to_pandas().columns)
    12
    """
    sentences: list[str] = []
    opened = open_data_root(demo_root() if path is None else user_path(os.fspath(path)))
    root = root_for(opened, predictions, labels=labels, notes=sentences)
    for folder in predictions:
        if folder not in {s.name for s in root.prediction_sets} and user_path(folder).exists():
            root = root.add_prediction_folder(user_path(folder))
    return Data(root, tuple(dict.fromkeys((*root.problems, *sentences))))


def evaluate(
    data: Data,
    predictions: str,
    *,
    recordings: Sequence[str] | None = None,
    revision: Revision = "2026-06-30",
    workers: int = 1,
    count_missing: bool = False,
    progress: Progress = no_progress,
) -> Scores:
    """Official figures of a prediction set against the labels in use.

    Parameters
    ----------
    data : Data
    predictions : str
        Name of one of ``data.prediction_sets``.
    recordings : sequence of str, optional
        Only these.
    revision : str
        Official evaluator.
    workers : int
        Processes.
    count_missing : bool
        Count the labels of recordings without predictions as missed; the official evaluator leaves them out.
    progress : Progress

    Returns
    -------
    Scores
        With ``warnings`` to read.

    Raises
    ------
    InputError
        No such prediction set, or files that the evaluator refuses.
    """
    chosen = data.root.prediction_set(predictions)
    wanted = None if recordings is None else {data.root.recording(name).name for name in recordings}
    labels = {
        r.name: r.label_path
        for r in data.root.recordings
        if r.label_path is not None and (wanted is None or r.name in wanted)
    }
    files = {name: path for name, path in chosen.files.items() if wanted is None or name in wanted}
    (result,) = evaluate_revisions(
        labels, files, (revision,), workers=workers, progress=progress, count_missing_recordings=count_missing
    )
    return Scores(predictions, result)


def predict(
    data: Data,
    *,
    network: str | os.PathLike[str] = "track-A",
    system: str | None = None,
    recordings: Sequence[str] | None = None,
    name: str | None = None,
    device: str = "auto",
    progress: Progress = no_progress,
) -> str:
    """Predict recordings into a prediction set of the workspace, and add it to the data.

    What is there already is not computed again: the same call goes on where it was.

    Parameters
    ----------
    data : Data
    network : str or path
        ``"track-A"`` or ``"track-B"`` (they ship, trained on simulated recordings), or a checkpoint: the official
        baseline's ``.pth``, one of our own ``.safetensors``.
    system : str, optional
        From raw detections to annotations (``python -m sai_core systems list``), or a ``.toml`` file; the one that fits
        the network if left out.
    recordings : sequence of str, optional
        Only these.
    name : str, optional
        Of the set; after the checkpoint and the system if left out.
    device : {"auto", "cpu", "cuda"}
    progress : Progress

    Returns
    -------
    str
        The set's name, now one of ``data.prediction_sets``; ``data.problems`` tells what was converted or left out.

    Raises
    ------
    InputError
        A network or system that cannot be used; recordings that failed.
    EnvironmentProblem
        The machine failed: no such device, a full disk.
    """
    from sai_core.inference.job import PredictionRequest, begin_set, predict_recordings
    from sai_core.inference.networks import describe_checkpoint, fitting_system
    from sai_core.postprocess import load_system
    from sai_core.postprocess.systems import systems_folders
    from sai_core.workspace import workspace

    checkpoint = user_path(network_path(network))
    if system is None:
        system = fitting_system(describe_checkpoint(checkpoint))
    chosen = data.root.recordings if recordings is None else tuple(data.root.recording(r) for r in recordings)
    request = PredictionRequest(
        data=data.path,
        recordings=tuple(chosen),
        checkpoint=checkpoint,
        out=workspace().folder("predictions") / "unnamed",
        system=load_system(system, folder=systems_folders()),
        device=device,
    )
    stored = begin_set(request, name)
    sentences: list[str] = []

    def progress_of(index: int, recording: Files) -> Progress:
        return lambda fraction, message: progress((index + fraction) / len(chosen), f"{recording.name}: {message}")

    with workspace().writing_into(stored.folder):
        results = predict_recordings(
            replace(request, out=stored.folder), progress_of=progress_of, on_note=sentences.append
        )
    sentences += [f"{result.recording.name}: {result.note}" for result in results if result.note]
    if failed := [result for result in results if result.error]:
        kind = EnvironmentProblem if all(result.machine_at_fault for result in failed) else InputError
        raise kind(f"{len(failed)} of {len(results)} recordings failed; the first: {failed[0].error}")
    data.root = root_for(data.root, [stored.name], notes=sentences)
    data.problems = tuple(dict.fromkeys((*data.problems, *sentences)))
    return stored.name


def figure(
    recording: Recording,
    frame: int,
    predictions: str | Sequence[str] | None = None,
    *,
    options: PanelOptions | None = None,
    style: PaperStyle | None = None,
) -> Figure:
    """Fig. 3 of a frame: picture, ground truth, prediction and residual, a row for each prediction set.

    Parameters
    ----------
    recording : Recording
    frame : int
        Zero-based, of 100 ms.
    predictions : str or sequence of str, optional
        Names of prediction sets; all that the recording has if left out.
    options : PanelOptions, optional
        What is drawn.
    style : PaperStyle, optional
        How: width, font, colours.

    Returns
    -------
    matplotlib.figure.Figure
        For a file with embedded fonts and fixed bytes use ``python -m sai_core figure``.

    Raises
    ------
    InputError
        No such frame or predictions.
    """
    from sai_core.figures.paper.material import find_system, open_material
    from sai_core.figures.paper.panels import PanelOptions, frame_note, frame_rows, panel_figure
    from sai_core.figures.paper.style import PaperStyle, drawing

    options, style = options or PanelOptions(), style or PaperStyle()
    names = [predictions] if isinstance(predictions, str) else list(predictions or recording.predictions)
    systems = [find_system(name, recording.data.root, recording.files) for name in names]
    with open_material(recording.files, systems) as material, drawing(style):
        rows = frame_rows(material, frame, mode=options.mode, min_score=options.min_score)
        note = frame_note(material, frame, min_score=options.min_score)
        return panel_figure(rows, options=options, style=style, note=note, resample=True)


_NOTEBOOK_PACKAGES: Final = frozenset({"anywidget", "ipywidgets", "traitlets"})


def view(
    recording: Recording,
    predictions: str | Sequence[str] | None = None,
    *,
    frame: int = 0,
    height: int = 680,
) -> PlayerWidget:
    """The app's player on a recording, in a notebook: pictures, sound, events, maps and keys.

    Parameters
    ----------
    recording : Recording
    predictions : str or sequence of str, optional
        Names of prediction sets; all that the recording has if left out.
    frame : int
        That is shown first, zero-based, of 100 ms.
    height : int
        In CSS pixels.

    Returns
    -------
    PlayerWidget
        Its ``frame``, ``system`` and ``event`` follow the player, and the player follows them; ``observe`` tells of
        changes, ``close()`` ends it.

    Raises
    ------
    InputError
        No such frame or predictions.
    EnvironmentProblem
        anywidget is not installed.
    """
    try:
        from sai_core.player.notebook import PlayerWidget
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NOTEBOOK_PACKAGES:
            raise
        raise EnvironmentProblem(
            "The player in a notebook needs the package anywidget, which is not installed: run"
            " `pip install 'anywidget>=0.9.13'` in the kernel's environment, and restart the kernel."
        ) from error
    from sai_core.viewing.recording_view import SYSTEM_KEYS

    names = list(recording.predictions) if predictions is None else predictions
    names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    if len(names) > len(SYSTEM_KEYS):
        raise InputError(f"The player shows {len(SYSTEM_KEYS)} prediction sets at most, not {len(names)}: choose some.")
    sets = {key: recording.data.root.prediction_set(name) for key, name in zip(SYSTEM_KEYS, names, strict=False)}

    def read(key: str, path: Path, progress: Progress) -> AnnotationTable:
        found = recording.labels if key == "L" else recording.predictions[sets[key].name]
        assert found is not None
        return found.table

    return PlayerWidget(recording.files, sets, read=read, frame=frame, height=height)

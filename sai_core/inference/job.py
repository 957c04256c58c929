"""Predicting recordings by a checkpoint and a system: what the command ``predict`` and the app's Predict page share.

:func:`predict_recordings` does the work, recording by recording, and tells each result as it is written.
:class:`PredictionQueue` lets one request after another run in the background: never two networks at once, since they
would share the processor's cores and both be late.

Nothing is lost when a job is cancelled or the program is killed: raw detections are stored in blocks as they are made
(:mod:`sai_core.detections.raw`), and the same request goes on where it was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sai_core import permissions
from sai_core.annotations.notes import FileNotes, summarise_notes
from sai_core.dataset import Recording, describe
from sai_core.dataset.outputs import check_output
from sai_core.detections.raw import store_folder
from sai_core.errors import CancelledError, EnvironmentProblem, InputError, SaiError
from sai_core.files import content_hash, resolved, user_path
from sai_core.inference.engine import FieldDecoder, InputOptions, WidebandListener, predict_recording
from sai_core.inference.networks import NetworkOptions, describe_checkpoint, has_field, open_network
from sai_core.jobs import Job, JobQueue
from sai_core.postprocess import PipelineSettings, Prepared, System, choose_best_classes, prepare, run_prepared
from sai_core.postprocess.pipeline import KeepClasses
from sai_core.postprocess.quality import load_quality, quality_path
from sai_core.postprocess.systems import system_toml
from sai_core.progress import Progress, no_progress
from sai_core.taxonomy import class_name
from sai_core.workspace import SetFacts, StoredSet, check_name, clean_name, workspace

if TYPE_CHECKING:
    from sai_core.acoustics.visibility import Recipe
    from sai_core.annotations import AnnotationTable, DcaseMetadata

RAW_FOLDER = "raw"
"""Sub-folder of the output folder with the stores of raw detections."""

TEACHER_FOLDER = "teacher"
"""Sub-folder of the output folder with the CSV files of a teacher that listened."""


@dataclass(frozen=True, kw_only=True)
class PredictionRequest:
    """What is to be predicted with what.

    Attributes
    ----------
    data : Path
        Data root.
    recordings : tuple of Recording
        Of that root.
    checkpoint : Path
        Official ``.pth`` or our ``.safetensors``.
    out : Path
        Folder of the submission files; raw detections go to ``raw`` in it.
    system : System
        From raw detections to a submission.
    teacher : Path, optional
        For systems that need it: folder of a DCASE system's CSV files, or weights of a teacher of ours or of an
        official DCASE 2024 SELDnet, which then listens to the recordings and leaves its CSV files in ``teacher`` in
        ``out``.
    teacher_scaler : Path, optional
        Means and deviations of the official SELDnet's training features
        (:func:`sai_core.teacher.seldnet.read_scaler`).
    weights : Path, optional
        UpLAM weights; the shipped ones when left out.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    network : NetworkOptions
    inputs : InputOptions, optional
        As the checkpoint was trained, when left out.
    visibility : {"official", "report", "precedence"}, optional
        Recipe of the maps; as the checkpoint was trained, when left out.
    field_weights : Path, optional
        Of a field decoder (``train field``); the shipped ones when left out, for systems that need one. Not for a
        detector that says a field of its own.
    wideband_weights : Path, optional
        Of a wideband listener (``train wideband``); the shipped ones when left out, for systems that need one.
    batch : int
        Frames of one forward pass.
    """

    data: Path
    recordings: tuple[Recording, ...]
    checkpoint: Path
    out: Path
    system: System = field(default_factory=lambda: System(name="official settings", settings=PipelineSettings()))
    teacher: Path | None = None
    teacher_scaler: Path | None = None
    weights: Path | None = None
    device: str = "auto"
    network: NetworkOptions = field(default_factory=NetworkOptions)
    inputs: InputOptions | None = None
    visibility: Recipe | None = None
    field_weights: Path | None = None
    wideband_weights: Path | None = None
    batch: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "recordings", tuple(self.recordings))
        object.__setattr__(self, "out", resolved(user_path(self.out, what="output folder")))
        if self.batch < 1:
            raise InputError(f"batch {self.batch}: at least 1 is needed.")

    @property
    def field_decoder(self) -> Path | None:
        """Weights of the field decoder that is to run beside the detector.

        Those given; else the shipped ones, if the system needs a field and the detector says none of its own.

        Raises
        ------
        InputError
            Needed, not given, and none ships; no such checkpoint.
        """
        if self.field_weights is None and self.system.needs_field and not has_field(self.checkpoint):
            from sai_core.detector.field import SHIPPED_FIELD

            if not SHIPPED_FIELD.is_file():
                raise InputError(
                    f"{self.system.name} needs a field decoder, and there is none at {SHIPPED_FIELD}; give weights "
                    "that `train field` made (--field FILE), or choose another system."
                )
            return SHIPPED_FIELD
        return self.field_weights

    @property
    def wideband_listener(self) -> Path | None:
        """Weights of the wideband listener that is to hear candidates: those given, else the shipped ones if needed.

        Raises
        ------
        InputError
            Needed, not given, and none ships.
        """
        if self.wideband_weights is None and self.system.needs_wideband:
            from sai_core.detector.wideband import SHIPPED_WIDEBAND

            if not SHIPPED_WIDEBAND.is_file():
                raise InputError(
                    f"{self.system.name} needs a wideband listener, and there is none at {SHIPPED_WIDEBAND}; give "
                    "weights that `train wideband` made (--wideband FILE), or choose another system."
                )
            return SHIPPED_WIDEBAND
        return self.wideband_weights


@dataclass(frozen=True)
class RecordingResult:
    """What became of one recording.

    Attributes
    ----------
    recording : Recording
    path : Path or None
        The submission file; None when it failed, or while a system that chooses its class over all recordings waits.
    raw : Path or None
        Folder of its raw detections.
    error : str
        One sentence, when it failed.
    n_frames, n_candidates, n_annotations : int
    note : str
        What was done to its audio (resampled, cut off, bands that it does not hold), and regions that are not what the
        system asks for; "" if there is nothing of that.
    seconds : float
        Of work; a recording that was there already takes next to none.
    machine_at_fault : bool
        What failed is the machine (a full disk, memory), not a file or an option.
    """

    recording: Recording
    path: Path | None = None
    raw: Path | None = None
    error: str = ""
    n_frames: int = 0
    n_candidates: int = 0
    n_annotations: int = 0
    note: str = ""
    seconds: float = 0.0
    machine_at_fault: bool = False


def check_request(request: PredictionRequest) -> None:
    """Find mistakes that would otherwise show after hours of work.

    Raises
    ------
    InputError
        No recordings; two of one name, which would write the same file; an output folder inside the data; a teacher
        that is needed and missing; a quality network that cannot be read; a file where the folder is to be.
    """
    from sai_core.detections.teacher_files import read_teacher
    from sai_core.detector.field import load_field
    from sai_core.detector.wideband import load_wideband
    from sai_core.teacher.listening import check_audio, open_teacher

    if not request.recordings:
        raise InputError("no recordings are chosen; choose at least one.")
    names = [r.name for r in request.recordings]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(
            f"{request.data}: {twice[0]} is in two splits and both would write {twice[0]}.json; choose one."
        )
    check_output(
        request.out,
        root=request.data if request.data.is_dir() else None,
        inputs=[request.checkpoint, request.weights, request.field_weights, request.wideband_weights],
        folder=True,
    )
    if request.field_weights is not None and has_field(request.checkpoint):
        raise InputError(
            f"{request.checkpoint}: this detector says an intensity field of its own; leave the field decoder "
            f"{request.field_weights} out."
        )
    if request.field_decoder is not None:
        load_field(request.field_decoder)
    if request.wideband_listener is not None:
        load_wideband(request.wideband_listener)
    if request.system.settings.quality:
        load_quality(quality_path(request.system.settings.quality))
    if request.system.needs_teacher:
        if request.teacher is None:
            raise InputError(
                f"{request.system.name} needs a teacher; give the folder of a DCASE system's CSV files, or the weights "
                "of a teacher."
            )
        listens = _is_weights(request.teacher)
        if request.teacher_scaler is not None and not listens:
            raise InputError(
                f"{request.teacher_scaler}: a scaler is for a teacher that listens; leave it out with a folder of "
                "CSV files."
            )
        model = open_teacher(request.teacher, scaler=request.teacher_scaler) if listens else None
        for recording in request.recordings:
            if model is not None:
                check_audio(model, recording)
            else:
                # read, not only found: a file that cannot be used is told now, not after the network
                read_teacher(request.teacher, recording.name)


def facts_of(request: PredictionRequest, content: str) -> SetFacts:
    """What the workspace keeps about the set that a request makes.

    Parameters
    ----------
    request : PredictionRequest
    content : str
        Hash of the checkpoint (:attr:`~sai_core.inference.networks.CheckpointFacts.content`).
    """
    network = request.network
    given: dict[str, str | int | float | bool | None] = {
        "device": request.device,
        "batch": request.batch,
        "floor": network.floor,
        "candidates": network.at_most,
        "proposals": network.proposals,
        "precision": network.precision,
        "classes": network.classes,
        "magnitude": None if request.inputs is None else request.inputs.magnitude,
        "visibility": request.visibility,
        "weights": None if request.weights is None else os.path.abspath(request.weights),
        "field": None if request.field_decoder is None else os.path.abspath(request.field_decoder),
        "wideband": None if request.wideband_listener is None else os.path.abspath(request.wideband_listener),
        "teacher": None if request.teacher is None else os.path.abspath(request.teacher),
        "teacher_scaler": None if request.teacher_scaler is None else os.path.abspath(request.teacher_scaler),
    }
    return SetFacts(
        made_by="predict",
        data=os.path.realpath(request.data),
        recordings=tuple(f"{r.split}/{r.name}" if r.split else r.name for r in request.recordings),
        checkpoint=os.path.abspath(request.checkpoint),
        checkpoint_content=content,
        system=request.system.name,
        system_toml=system_toml(request.system),
        options={name: value for name, value in given.items() if value is not None},
    )


def begin_set(request: PredictionRequest, name: str | None = None) -> StoredSet:
    """The prediction set of the workspace that a request writes into: a new one, or the one that it goes on with.

    Parameters
    ----------
    request : PredictionRequest
        Checked here; its ``out`` does not count.
    name : str, optional
        Of the set; after the checkpoint and the system if left out, with a number where that is another request's.

    Raises
    ------
    InputError
        A mistake of the request; a name that is not one, or that belongs to other predictions.
    """
    if name is not None:
        check_name(name)
    check_request(request)
    made_from = facts_of(request, describe_checkpoint(request.checkpoint).content)
    if name is not None:
        return workspace().begin("predictions", name, made_from, exist_ok=True)
    return workspace().go_on("predictions", name_of(request.checkpoint, request.system), made_from)


def name_of(checkpoint: Path, system: System) -> str:
    """What a set is called where the user does not say: after its checkpoint and its system."""
    # "best.safetensors" of a run says little: the run's name does
    stem = checkpoint.absolute().parent.name if checkpoint.stem in ("best", "last") else checkpoint.stem
    return clean_name(f"{stem} {system.name}")


def lacks(recording: Recording, *, needs_rgb: bool) -> str:
    """What a recording has not got that a network needs, in words; "" when it can be predicted."""
    missing = []
    if recording.array_path is None:
        missing.append("4-channel audio")
    if needs_rgb and not recording.has_video:
        missing.append("video")
    return " and ".join(missing)


def predict_recordings(
    request: PredictionRequest,
    *,
    progress_of: Callable[[int, Recording], Progress] = lambda index, recording: no_progress,
    on_result: Callable[[int, RecordingResult], None] = lambda index, result: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> tuple[RecordingResult, ...]:
    """Predict recordings one after another and write their submission files.

    A recording that fails does not end the run: its sentence stands in its result.

    Parameters
    ----------
    request : PredictionRequest
    progress_of : callable
        Gives the watcher of the n-th recording; a ``CancelledError`` from it stops the run, finished blocks stay.
    on_result : callable
        Called with each place and result; twice for a recording whose file is written only at the end.
    on_note : callable
        Called with what a system decided over all recordings, with what was left out or converted in a teacher's files,
        and with what is odd about a video that the network sees, in one sentence each.

    Returns
    -------
    tuple of RecordingResult
        In the request's order.

    Raises
    ------
    InputError
        A mistake of the request, or a checkpoint that cannot be opened.
    CancelledError
        A watcher said so.
    """
    from sai_core.acoustics.features import FeatureOptions, MapMaker, choose_device
    from sai_core.annotations import write_submission_json
    from sai_core.detector.field import load_field
    from sai_core.detector.wideband import load_wideband

    check_request(request)
    facts = describe_checkpoint(request.checkpoint)
    network = open_network(request.checkpoint, device=choose_device(request.device), options=request.network)
    recipe = request.visibility or facts.visibility
    # as the official script has them: made in float64, given in float32, never rounded further
    exact = facts.kind == "official baseline"
    features = FeatureOptions(
        visibility=recipe, dtype="float64" if exact else "float32", stored="float32" if exact else "float16"
    )
    maker = MapMaker(options=features, weights=request.weights, device=request.device)
    inputs = request.inputs or InputOptions(
        magnitude=facts.magnitude, grid=facts.grid, smooth_frames=facts.smooth_frames
    )
    inputs = replace(inputs, batch=request.batch)
    decoder = None
    if request.field_decoder is not None:
        decoder = FieldDecoder(
            load_field(request.field_decoder, device=choose_device(request.device)), content_hash(request.field_decoder)
        )
        if not request.system.needs_field:
            on_note(
                f"{request.system.display_name} writes the detector's own regions: the field is kept with the raw "
                'detections, for systems with export = "field".'
            )
    listener = None
    if request.wideband_listener is not None:
        listener = WidebandListener(
            load_wideband(request.wideband_listener, device=choose_device(request.device)),
            content_hash(request.wideband_listener),
        )
        if not request.system.needs_wideband:
            on_note(
                f"{request.system.display_name} takes the detector's own classes: what the wideband listener hears is "
                "kept with the raw detections, for systems with a wideband_weight above 0."
            )
    teacher_of = _teacher(request, on_note)
    settings = request.system.settings
    whole_set = settings.keep_classes == "best"
    results: list[RecordingResult] = []
    waiting: list[tuple[int, Prepared]] = []
    teacher_notes: list[tuple[str, FileNotes]] = []
    for index, recording in enumerate(request.recordings):
        began = time.perf_counter()
        path = request.out / f"{recording.name}.json"
        if network.needs_rgb:
            for note in describe(recording).notes:
                on_note(note)
        try:
            raw = predict_recording(
                recording,
                network,
                checkpoint_hash=facts.content,
                out=request.out / RAW_FOLDER,
                maker=maker,
                options=inputs,
                field=decoder,
                wideband=listener,
                progress=progress_of(index, recording),
            )
            teacher = teacher_of(recording)
            if teacher is not None:
                teacher_notes.append((recording.name, teacher.notes))
            ready = prepare(raw, teacher=teacher)
            result = RecordingResult(
                recording,
                raw=store_folder(request.out / RAW_FOLDER, raw.recording, raw.key),
                n_frames=raw.n_frames,
                n_candidates=len(raw),
                note=raw.notes.get("audio", ""),
            )
            if whole_set:
                # which class is the best is known only when all recordings are there
                waiting.append((index, ready))
            else:
                table = run_prepared(ready, settings)
                write_submission_json(table, path)
                result = _with_table(result, path, table)
        except CancelledError:
            raise
        except SaiError as error:
            result = RecordingResult(
                recording, error=str(error), machine_at_fault=isinstance(error, EnvironmentProblem)
            )
        result = replace(result, seconds=time.perf_counter() - began)
        results.append(result)
        on_result(index, result)
    if waiting:
        chosen = choose_best_classes([ready for _, ready in waiting], settings)
        on_note(f"{request.system.display_name} keeps {_class_names(chosen.keep_classes)}.")
        for index, ready in waiting:
            table = run_prepared(ready, chosen)
            path = request.out / f"{ready.raw.recording}.json"
            write_submission_json(table, path)
            results[index] = _with_table(results[index], path, table)
            on_result(index, results[index])
    for sentence in summarise_notes(teacher_notes, what="teacher"):
        on_note(sentence)
    return tuple(results)


def _with_table(result: RecordingResult, path: Path, table: AnnotationTable) -> RecordingResult:
    note = " ".join(filter(None, (result.note, *table.notes.sentences())))
    return replace(result, path=path, n_annotations=len(table), note=note)


def _is_weights(teacher: Path) -> bool:
    suffix = teacher.suffix.lower()
    return suffix in (".safetensors", ".pth", ".pt", ".h5") or (teacher.is_file() and suffix not in (".csv", ".gz"))


def _teacher(request: PredictionRequest, on_note: Callable[[str], None]) -> Callable[[Recording], DcaseMetadata | None]:
    """What gives a recording's teacher rows: nothing, the CSV files of a folder, or a network that listens."""
    from sai_core.acoustics.features import choose_device
    from sai_core.annotations import write_dcase_csv
    from sai_core.detections.teacher_files import read_teacher
    from sai_core.teacher.listening import open_teacher, teacher_note
    from sai_core.teacher.listening import predict_recording as listen

    given = request.teacher
    if not request.system.needs_teacher or given is None:
        if given is not None:
            on_note(f"{request.system.display_name} does not use a teacher: {given} was ignored.")
        return lambda recording: None
    if not _is_weights(given):
        return lambda recording: read_teacher(given, recording.name)
    model = open_teacher(given, scaler=request.teacher_scaler, device=choose_device(request.device))
    if note := teacher_note(model):
        on_note(note)

    def heard(recording: Recording) -> DcaseMetadata:
        path = request.out / TEACHER_FOLDER / f"{recording.name}.csv"
        write_dcase_csv(listen(model, recording), path)
        # read back, so that the same rows come from the folder later
        return read_teacher(path.parent, recording.name)

    return heard


def _class_names(classes: KeepClasses) -> str:
    if isinstance(classes, str):
        return f"{classes} classes"
    return ", ".join(class_name(c) for c in classes) or "no class: none has detections"


class PredictionJob(Job[tuple[RecordingResult, ...]]):
    """One request as a background job.

    Attributes
    ----------
    request : PredictionRequest
    results : dict of int to RecordingResult
        Result of each recording that has one, by its place in the request.
    note : str
        What a system decided over all recordings.
    """

    def __init__(self, request: PredictionRequest) -> None:
        super().__init__(
            self._predict,
            title=f"Prediction by {request.checkpoint.stem}",
            when_cancelled="Cancelled; what is finished stays, and the same request continues from there.",
            needs="make",
        )
        self.request = request
        self.results: dict[int, RecordingResult] = {}
        self.note = ""

    @property
    def written(self) -> list[RecordingResult]:
        """Results with a submission file."""
        return [r for r in list(self.results.values()) if r.path is not None]

    def _predict(self, progress: Progress) -> tuple[RecordingResult, ...]:
        n = len(self.request.recordings)
        progress(0.0, "Opening the checkpoint")

        def progress_of(index: int, recording: Recording) -> Progress:
            return lambda fraction, message: progress((index + min(fraction, 1.0)) / n, message)

        def on_note(note: str) -> None:
            self.note = f"{self.note} {note}".strip()

        with workspace().writing_into(self.request.out):
            results = predict_recordings(
                self.request, progress_of=progress_of, on_result=self.results.__setitem__, on_note=on_note
            )
        if all(result.error for result in results):
            raise InputError(results[0].error)
        self.text = f"{len(self.written)} of {n} recordings written"
        return results


class PredictionQueue(JobQueue):
    """Requests that run one after another in the background."""

    def __init__(self) -> None:
        super().__init__("predict", at_once=1, keep=100)

    @property
    def jobs(self) -> tuple[PredictionJob, ...]:
        """All jobs, the newest first."""
        return cast("tuple[PredictionJob, ...]", super().jobs)

    def request(self, request: PredictionRequest) -> PredictionJob:
        """Put a request at the end of the queue.

        Raises
        ------
        InputError
            As :func:`check_request`; or the same output folder is being written by another job; or who asks may start
            nothing, or not open or write what the request names (:mod:`sai_core.permissions`).
        """
        permissions.check("make", "predict", str(request.data))
        weights = (request.weights, request.field_weights, request.wideband_weights)
        given = (request.teacher, request.teacher_scaler, *weights)
        for path in (request.data, request.checkpoint, *given):
            if path is not None:
                permissions.check_path(path)
        permissions.check_write(request.out)
        check_request(request)
        with self._lock:
            running = self.find(request.out)
            if running is not None and running.active:
                raise InputError(
                    f"{request.out}: another job writes there; wait for it, cancel it, or choose another folder."
                )
            job = PredictionJob(request)
            self.add(request.out, job)
        return job

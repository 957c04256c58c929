"""What is in a report, gathered once, whatever file it becomes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt

from sai_core import __version__
from sai_core.annotations import AnnotationTable
from sai_core.annotations.reading import read_annotations
from sai_core.dataset import DataRoot, PredictionSet, Recording, labelled_by_name, open_frames
from sai_core.drawing.still import still
from sai_core.errors import InputError, SaiError
from sai_core.files import content_hash
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, FRAME_RATE_HZ
from sai_core.metrics import REVISION_NOTES, BootstrapResult, Revision, bootstrap, is_soft
from sai_core.metrics.evaluation.score_store import RecordingResult, ScoreStore
from sai_core.metrics.reading import drilldown
from sai_core.metrics.reading.budget import budget_by_class, budget_of_files, budget_table
from sai_core.metrics.reading.calibration import reliability_curve
from sai_core.metrics.reading.ranking import rank_systems, ranking_table, wins_table
from sai_core.metrics.reading.slices import slices_of_files, slices_table, worst_table
from sai_core.metrics.reading.systems import SystemResult, score_system
from sai_core.metrics.reading.tables import Table, class_table, recordings_table
from sai_core.progress import Progress, no_progress, part_of
from sai_core.reporting import charts
from sai_core.reporting.charts import Chart
from sai_core.taxonomy import N_CLASSES, class_name
from sai_core.workspace import set_at

Picture = npt.NDArray[np.uint8]

_SHOWN_SCORE: Final[float] = 0.3
"""Predictions with a lower score are not drawn in stills: a submission holds many weak ones."""

_APART_FRAMES: Final[int] = 10
"""Stills of one recording are at least a second apart."""

_EXPLORER: Final[Mapping[str, str]] = {
    "root": "root",
    "recording": "rec",
    "frame": "frame",
    "system": "a",
    "labels": "labels",
}
"""Parameters of the Explorer's address; those of ``pages/components/state_keys.py``."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a report is made with.

    Attributes
    ----------
    revision : str
    resamples, seed : int
        Of the intervals.
    stills : int
        Best and worst frames of each system.
    app : str
        Address of the app that the pictures lead back to.
    use_cache : bool
    """

    revision: Revision = "2026-06-30"
    resamples: int = 1000
    seed: int = 0
    stills: int = 4
    app: str = "http://localhost:8501"
    use_cache: bool = True

    def __post_init__(self) -> None:
        if self.resamples < 1 or self.stills < 0:
            raise InputError("A report needs at least one resample, and 0 or more stills.")
        if not self.app.startswith(("http://", "https://")):
            raise InputError(f"{self.app}: the app's address begins with http:// or https://.")


@dataclass(frozen=True, eq=False)
class Still:
    """A frame: labels, and beside them the predictions.

    Attributes
    ----------
    title, note : str
        Recording, time and frame; what is wrong or right.
    link : str
        Address in the app.
    labels, predictions : uint8, shape (180, 360, 3)
        sRGB.
    """

    title: str
    note: str
    link: str
    labels: Picture
    predictions: Picture


@dataclass(frozen=True, eq=False)
class Part:
    """A section: text, chart, tables, stills, in this order; any of them may be absent."""

    title: str
    text: str = ""
    chart: Chart | None = None
    tables: tuple[Table, ...] = ()
    stills: tuple[Still, ...] = ()
    level: int = 2


@dataclass(frozen=True, eq=False)
class Report:
    """A whole report.

    Attributes
    ----------
    title : str
    figures : tuple of (str, str, str)
        Main figures: name, value, interval.
    parts : tuple of Part
    facts : tuple of (str, str)
        What it was made from and with.
    notes : tuple of str
        What a reader must know.
    """

    title: str
    figures: tuple[tuple[str, str, str], ...]
    parts: tuple[Part, ...]
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def explorer_address(
    app: str, *, root: str, recording: str, split: str, frame: int, system: str, labels: str = ""
) -> str:
    """Address of the app's Explorer at a moment."""
    values = {"root": root, "recording": f"{split}/{recording}" if split else recording, "frame": str(frame)}
    values |= {"system": system} | ({"labels": labels} if labels else {})
    return f"{app.rstrip('/')}/explorer?{urlencode({_EXPLORER[key]: value for key, value in values.items()})}"


def gather_report(
    root: DataRoot,
    recordings: Sequence[Recording],
    systems: Sequence[PredictionSet],
    options: ReportOptions | None = None,
    *,
    store: ScoreStore | None = None,
    progress: Progress = no_progress,
) -> Report:
    """Compute everything that a report shows.

    Parameters
    ----------
    root : DataRoot
    recordings : sequence of Recording
        Of it; those with labels count, of a name in two splits the first.
    systems : sequence of PredictionSet
        One or several.
    options : ReportOptions, optional
    store : ScoreStore, optional
        With what is scored already.
    progress : Progress
        May raise :class:`sai_core.errors.CancelledError`.

    Raises
    ------
    InputError
        No system, none with a scored recording, the same name twice.
    """
    options = options or ReportOptions()
    if not systems:
        raise InputError("A report needs a prediction set.")
    if len({s.name for s in systems}) < len(systems):
        raise InputError("Two prediction sets have the same name; give each once.")
    known, notes = labelled_by_name(recordings)
    if not known:
        lacking = "labels" if recordings else "recordings"
        raise InputError(f"{root.path}: there are no {lacking}, so there is nothing to report; give another data root.")
    store = store or ScoreStore(use_disk=options.use_cache)
    labels = {name: r.label_path for name, r in known.items() if r.label_path is not None}
    results: list[SystemResult] = []
    n = len(systems)
    for k, system in enumerate(systems):
        step = part_of(progress, 0.3 * k / n, 0.3 * (k + 1) / n)
        found = score_system(store, system.name, labels, dict(system.files), revision=options.revision, progress=step)
        if not found.results:
            raise _nothing_scored(found, labels)
        if missing := len(labels) - len(found.results) - len(found.failures):
            notes.append(f"{system.name}: {missing} of {len(labels)} labelled recordings have no predictions.")
        notes += [f"{system.name}: {sentence}" for sentence in (*found.problems, *found.evaluation.warnings)]
        notes += found.after_the_end(known)
        results.append(found)
    scored = set().union(*(r.recordings for r in results))
    if simulated := sum(known[name].is_simulated for name in scored):
        how_many = "All" if simulated == len(scored) else f"{simulated} of {len(scored)}"
        notes.insert(0, f"{how_many} recordings are simulated.")
    samples = [bootstrap(r.scores, n=options.resamples, seed=options.seed) for r in results]
    end_of_bars = charts.end_of_bars(results, samples)
    parts: list[Part] = []
    if n > 1:
        parts += _comparison(results, options)
    for k, (system, result, drawn) in enumerate(zip(systems, results, samples, strict=True)):
        step = part_of(progress, 0.3 + 0.7 * k / n, 0.3 + 0.7 * (k + 1) / n)
        # of a system by itself the report has the name already
        parts += [Part(result.name, level=1)] if n > 1 else []
        parts += _of_system(root, known, labels, system, result, drawn, end_of_bars, store, options, step)
    progress(1.0, "report")
    names = [r.name for r in results]
    return Report(
        f"{names[0]}" if n == 1 else f"{', '.join(names[:-1])} and {names[-1]}",
        _headline(results[0], samples[0]) if n == 1 else (),
        tuple(parts),
        _facts(root, known, systems, results, options),
        tuple(dict.fromkeys(notes)),
    )


def _nothing_scored(found: SystemResult, labels: Mapping[str, Path]) -> InputError:
    """Why a system has no figures: what is wrong with its first recording, or that none has its name."""
    if not found.failures:
        return InputError(
            f"{found.name}: it has predictions for none of the {len(labels)} labelled recordings (the first is "
            f"{min(labels)}); names of predictions and labels must agree."
        )
    first, n = found.failures[0], len(found.failures)
    others = f" The other {n - 1} could not be scored either; evaluate names each." if n > 1 else ""
    return InputError(f"{found.name}: nothing could be scored. {first.error}{others}")


def _headline(result: SystemResult, samples: BootstrapResult) -> tuple[tuple[str, str, str], ...]:
    macro = result.evaluation.macro
    april = not is_soft(result.revision)
    row = "micro" if april else "macro"
    values = [("Macro mAP", macro.mean_ap, "mAP", "macro")]
    values += [(f"Macro {key}", value, key, "macro") for key, value in result.evaluation.ap_at(macro).items()]
    if not april:
        values.append(("Micro mAP", result.evaluation.micro.mean_ap, "mAP", "micro"))
    values.append((f"{row.capitalize()} Pearson r", getattr(result.evaluation, row).pearson_r, "pearson_r", row))
    rows = []
    for title, value, name, of in values:
        interval = samples.interval(name, row=of)
        between = f"{interval.low:.3f} to {interval.high:.3f}"
        known = len(result.recordings) > 1 and not math.isnan(interval.low)
        rows.append((title, "–" if math.isnan(value) else f"{value:.4f}", between if known else ""))
    return tuple(rows)


def _comparison(results: Sequence[SystemResult], options: ReportOptions) -> list[Part]:
    common = frozenset.intersection(*(frozenset(r.recordings) for r in results))
    if not common:
        return [Part("Ranking", "The systems have no recording in common.")]
    ranking = rank_systems(results, n_resamples=options.resamples, seed=options.seed)
    table, statement = ranking_table(ranking), ranking.statement()
    # the note says it, too, where there is no text above
    table = replace(table, note=table.note.removeprefix(statement).strip())
    return [Part("Ranking", statement, charts.ranked(ranking), (table, wins_table(ranking)))]


def _of_system(
    root: DataRoot,
    known: Mapping[str, Recording],
    labels: Mapping[str, Path],
    system: PredictionSet,
    result: SystemResult,
    samples: BootstrapResult,
    end_of_bars: float,
    store: ScoreStore,
    options: ReportOptions,
    progress: Progress,
) -> list[Part]:
    scored = {name: labels[name] for name in result.recordings}
    parts: list[Part] = []
    bars = charts.class_bars(result, samples, end=end_of_bars)
    parts.append(Part("Classes", "", bars, (class_table(result, bootstrap=samples),)))
    parts.append(Part("Recordings", "", None, (recordings_table(result),)))
    with_labels = [c for c in range(N_CLASSES) if result.evaluation.per_class[c].n_labels]
    per_class = {c: result.curve(category_id=c) for c in with_labels}
    parts.append(Part("Precision and recall", "", charts.curves(per_class, result.curve(), 0.5)))
    curve = reliability_curve(result.scores, threshold=0.5)
    text = ""
    if not math.isnan(curve.expected_error):
        text = f"Expected calibration error {curve.expected_error:.4f}, Brier score {curve.brier:.4f}."
    parts.append(Part("Calibration", text, charts.reliability(curve, 0.5)))
    if is_soft(result.revision):
        step = part_of(progress, 0.05, 0.6)
        budget = budget_of_files(
            store, scored, dict(system.files), name=result.name, revision=result.revision, progress=step
        )
        text = "What would be gained if one kind of error alone were right, by the official matching."
        parts.append(
            Part("Error budget", text, charts.waterfall(budget), (budget_table(budget), budget_by_class(budget)))
        )
    else:
        parts.append(
            Part(
                "Error budget",
                "There is none: it follows the soft matching, and revision 2026-04-02 matches otherwise.",
            )
        )
    slices = slices_of_files(
        result.scores,
        scored,
        dict(system.files),
        name=result.name,
        splits={name: r.split for name, r in known.items()},
        seed=options.seed,
        use_cache=options.use_cache,
        progress=part_of(progress, 0.6, 0.9),
    )
    worst = worst_table(slices)
    whole = slices_table(slices, [part for part in slices.slices if part.n_labels])
    text = "" if len(worst.rows) else f"No slice surely loses. {worst.note}"
    parts.append(Part("Slices", text, None, ((worst,) if len(worst.rows) else ()) + (whole,)))
    if options.stills:
        with ExitStack() as stack:
            artist = _Artist(root, known, system, options, stack)
            parts.append(
                Part(
                    "Best frames",
                    "Labels to the left, predictions to the right (from score "
                    f"{_SHOWN_SCORE:g} on). By overlap with the labels; confident false alarms count against it.",
                    stills=tuple(artist.draw(*moment) for moment in _best(result.results, options.stills)),
                )
            )
            progress(0.95, "stills")
            parts.append(
                Part(
                    "Frames that cost most",
                    "What the macro mAP would gain if the frame's errors were right one at a time, summed.",
                    stills=tuple(artist.draw(*moment) for moment in _worst(result.results, options.stills)),
                )
            )
    return parts


Moment = tuple[str, int, str]
"""Recording, frame, what is to be said of it."""


def _apart(moments: Sequence[Moment], n: int) -> list[Moment]:
    """The first ``n`` that are a second apart where they are of one recording."""
    chosen: list[Moment] = []
    for moment in moments:
        if all(moment[0] != taken[0] or abs(moment[1] - taken[1]) >= _APART_FRAMES for taken in chosen):
            chosen.append(moment)
        if len(chosen) == n:
            break
    return chosen


def _best(results: Sequence[RecordingResult], n: int) -> list[Moment]:
    found = []
    for result in results:
        s = result.scores
        length = 1 + max(int(s.label_frame.max(initial=-1)), int(s.detection_frame.max(initial=-1)))
        n_labels = np.bincount(s.label_frame, minlength=length)
        iou = np.bincount(
            s.detection_frame, weights=np.where(s.detection_label >= 0, s.detection_iou, 0), minlength=length
        )
        false = np.where(s.detection_label < 0, s.detection_score, 0.0)
        quality = iou / np.maximum(n_labels + np.bincount(s.detection_frame, weights=false, minlength=length), 1e-9)
        for frame in np.flatnonzero(n_labels).tolist():
            found.append((-round(float(quality[frame]), 9), -int(n_labels[frame]), result.recording, frame))
    found.sort()
    moments = [
        (recording, frame, f"overlap {-quality:.2f} with {-count} label{'s' * (count != -1)}")
        for quality, count, recording, frame in found
    ]
    return _apart(moments, n)


def _worst(results: Sequence[RecordingResult], n: int) -> list[Moment]:
    moments = drilldown.ap_moments(results, row="macro")
    cost: dict[tuple[str, int], float] = {}
    first: dict[tuple[str, int], int] = {}
    for k in range(len(moments)):
        place = (str(moments.recording[k]), int(moments.frame[k]))
        cost[place] = cost.get(place, 0.0) + float(np.nan_to_num(moments.hurt[k]))
        first.setdefault(place, k)
    order = sorted(cost, key=lambda place: (-round(cost[place], 12), place))
    described = []
    for place in order:
        k = first[place]
        what = drilldown.describe(int(moments.kind[k]), int(moments.other_category[k]))
        described.append((*place, f"costs {cost[place]:.5f}; {class_name(int(moments.category[k]))}: {what}"))
    return _apart(described, n)


class _Artist:
    """Draws stills; what it opens stays open until the stack ends."""

    def __init__(
        self,
        root: DataRoot,
        known: Mapping[str, Recording],
        system: PredictionSet,
        options: ReportOptions,
        stack: ExitStack,
    ) -> None:
        self._root, self._known, self._system, self._options, self._stack = root, known, system, options, stack
        self._pictures: dict[str, Callable[[int], Picture | None]] = {}
        self._tables: dict[str, tuple[AnnotationTable, AnnotationTable]] = {}

    def draw(self, name: str, frame: int, note: str) -> Still:
        recording = self._known[name]
        if name not in self._tables:
            assert recording.label_path is not None
            labels, predictions = (
                read_annotations(path, recording=name, unknown_classes="drop", use_cache=self._options.use_cache)
                for path in (recording.label_path, self._system.files[name])
            )
            strong = np.flatnonzero(np.nan_to_num(predictions.score) >= _SHOWN_SCORE)
            self._tables[name] = labels, predictions.take(strong)
            self._pictures[name] = self._reader(recording)
        background = self._pictures[name](frame)
        if background is None:
            background = np.full((ERP_HEIGHT, ERP_WIDTH, 3), 16, np.uint8)
        sides = [still(table, frame, background) for table in self._tables[name]]
        seconds = frame / FRAME_RATE_HZ
        link = explorer_address(
            self._options.app,
            root=str(self._root.path),
            recording=name,
            split=recording.split,
            frame=frame,
            system=self._system.name,
            labels=self._root.label_set,
        )
        title = f"{name} · {int(seconds // 60)}:{seconds % 60:04.1f} · frame {frame}"
        return Still(title, note, link, *sides)

    def _reader(self, recording: Recording) -> Callable[[int], Picture | None]:
        try:
            source = open_frames(recording)
        except SaiError:
            source = None
        if source is None:
            return lambda frame: None
        self._stack.callback(source.close)

        def read(frame: int) -> Picture | None:
            try:
                return source.frame(frame)
            except SaiError:
                return None

        return read


def _facts(
    root: DataRoot,
    known: Mapping[str, Recording],
    systems: Sequence[PredictionSet],
    results: Sequence[SystemResult],
    options: ReportOptions,
) -> tuple[tuple[str, str], ...]:
    names = sorted(set().union(*(r.recordings for r in results)))
    facts = [
        ("Evaluator", f"revision {options.revision}: {REVISION_NOTES[options.revision]}"),
        ("Data", str(root.path) + (f", labels {root.label_set}" if root.label_set else "")),
        ("Recordings", f"{len(names)}: {', '.join(names)}"),
        ("Intervals", f"95 %, bootstrap over recordings, {options.resamples} resamples, seed {options.seed}"),
    ]
    if any(known[name].is_simulated for name in names):
        facts.append(("Simulated", ", ".join(name for name in names if known[name].is_simulated)))
    for system, result in zip(systems, results, strict=True):
        files = "".join(content_hash(system.files[name]) for name in result.recordings)
        stored = set_at("predictions", system.folder)
        made = [f"{len(result.recordings)} recordings", f"content {_short(files)}"]
        if stored is not None:
            f = stored.facts
            made += [f"made by {f.made_by}"] if f.made_by else []
            made += [f"system {f.system}"] if f.system else []
            made += [f"checkpoint {Path(f.checkpoint).name} ({f.checkpoint_content[:12]})"] if f.checkpoint else []
            made += [f"{key} {value}" for key, value in sorted(f.options.items())]
        facts.append((system.name, ", ".join(made)))
    facts.append(("Program", f"SAI Explorer {__version__}"))
    return tuple(facts)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]

"""The steps in the official order, with one flat settings object, as stages that can be cached one by one.

The stages, and what each of them depends on:

=================  ==================================================  ==================
stage              from                                                settings (their part)
=================  ==================================================  ==================
``prepare``        raw detections, the teacher's CSV                   none
``candidates``     prepared: final class and score of each candidate   ``"candidates"``
``select_tracks``  candidates: which are kept, and linked over time    ``"select"``
``regions_of``     candidates around (voting), points of their regions ``"export"``
``annotate``       tracks and regions: the table                       none
=================  ==================================================  ==================

Rows always count candidates of the raw store, so that what was computed for a candidate (its region, the evaluator's
map of it, its IoU with the labels) stays valid whatever happens to the thresholds: a region is a function of the
candidate and the ``"export"`` settings alone, and coasting frames repeat the region of the frame last seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from sai_core.annotations.dcase import DcaseMetadata
from sai_core.annotations.table import AnnotationTable
from sai_core.detections.table import Detections
from sai_core.errors import InputError
from sai_core.postprocess.classes import class_reliability, most_reliable, route_classes
from sai_core.postprocess.export import Regions, export_regions, to_annotations
from sai_core.postprocess.facts import CandidateFacts, candidate_facts
from sai_core.postprocess.select import cap_by_count, lower_to_coverage, nms_per_class, score_threshold
from sai_core.postprocess.teacher import TeacherMatch, match_teacher, rerank, teacher_counts
from sai_core.postprocess.tracking import Tracks, gate_tracks, track
from sai_core.postprocess.voting import vote_regions
from sai_core.taxonomy import N_CLASSES

if TYPE_CHECKING:
    from sai_core.detections.raw import RawDetections

Part = Literal["candidates", "select", "export"]
KeepClasses = tuple[int, ...] | Literal["all", "best"]


def _setting(
    default: Any,
    part: Part,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    return field(default=default, metadata={"part": part, "doc": doc, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """Settings of every step; the defaults are those of the official inference script (8abeded).

    ``wrap_seam`` is the one that differs: ours sees the cylinder, the official script a plane; set it to False to
    reproduce its output. What each setting means, its range and the stage that it belongs to stands beside it and is
    listed by :func:`describe_settings`.

    Raises
    ------
    InputError
        A value outside its range, or of another type, by the setting's name.
    """

    ranking: Literal["class", "objectness"] = _setting(
        "class",
        "candidates",
        "what the score is: the score of the candidate's class, or the class-agnostic objectness of its proposal",
        choices=("class", "objectness"),
    )
    min_class_score: float = _setting(
        0.0,
        "candidates",
        "smallest score of the network's own class, whatever the ranking; 0 asks for none",
        low=0,
        high=1,
    )
    router_weight: float = _setting(
        0.0,
        "candidates",
        "weight of a frame-level router against the candidate's own class scores in choosing its class; 0 is off, "
        "1 leaves the choice to the router",
        low=0,
        high=1,
    )
    router_frames: int = _setting(
        5, "candidates", "frames before and after a frame that its router looks at", low=0, high=100
    )
    teacher_radius_deg: float = _setting(
        0.0,
        "candidates",
        "largest angle between a region's peak and the teacher's nearest output of the frame that counts as a reliable "
        "match, in degrees; 0 switches the teacher prior off",
        low=0,
        high=180,
    )
    teacher_replace_label: bool = _setting(
        True, "candidates", "a reliable match gives the candidate the teacher's class (its region stays)"
    )
    teacher_rerank: float = _setting(
        0.0,
        "candidates",
        "weight w of the match in the score: s + w (1 - s) with a reliable match, (1 - w) s without; 0 keeps the "
        "score, from 0.5 on every matched candidate comes before every other",
        low=0,
        high=1,
    )
    tie_break: Literal["none", "energy"] = _setting(
        "none",
        "select",
        "order among equal scores: as the network gives them, or by falling mean energy of the region",
        choices=("none", "energy"),
    )
    tie_decimals: int = _setting(
        6, "select", "scores that agree to so many decimals are equal for the tie-break", low=1, high=6
    )
    min_score: float = _setting(0.35, "select", "smallest score that is kept", low=0, high=1)
    min_score_per_class: Mapping[int, float] = field(
        default_factory=dict,
        metadata={
            "part": "select",
            "doc": "smallest score of single classes (class-wise score selection); the others take min_score",
            "low": 0,
            "high": 1,
            "choices": (),
        },
    )
    min_coverage: float = _setting(
        0.0,
        "select",
        "lower a class's threshold until its detections cover this share of the recording's frames; 0 is off",
        low=0,
        high=1,
    )
    coverage_floor: float = _setting(0.05, "select", "min_coverage lowers no threshold below this score", low=0, high=1)
    nms_iou: float = _setting(
        0.3,
        "select",
        "of two boxes of one class and frame whose IoU is larger than this, only the stronger is kept",
        low=0,
        high=1,
    )
    max_per_class: int = _setting(3, "select", "most detections of one class in a frame", low=1, high=100)
    teacher_count_prior: bool = _setting(
        False, "select", "keep at most as many of a class in a frame as the teacher has there (with a teacher only)"
    )
    teacher_count_slack: int = _setting(0, "select", "how many more than the teacher's count are kept", low=0, high=100)
    track_iou: float = _setting(0.3, "select", "smallest IoU that continues a track", low=0, high=1)
    max_age: int = _setting(5, "select", "frames that a track goes on unseen (coasts)", low=0, high=100)
    coast_decay: float = _setting(0.9, "select", "factor on the score for each frame of coasting", low=0, high=1)
    min_hits: int = _setting(2, "select", "frames in which a track must be seen to be kept", low=1, high=1000)
    min_mean_score: float = _setting(
        0.0, "select", "smallest mean score of a track over the frames in which it is seen", low=0, high=1
    )
    min_length: int = _setting(
        1, "select", "shortest track that is kept, in frames, coasting included", low=1, high=1000
    )
    keep_classes: KeepClasses = _setting(  # noqa: RUF009 - frozen default, as for all others
        "all", "select", 'classes that are written at the end: "all", "best" (the most reliable), or a list of 0..12'
    )
    best_classes: int = _setting(1, "select", 'how many classes keep_classes = "best" keeps', low=1, high=N_CLASSES)
    reliability: Literal["score", "teacher"] = _setting(
        "score",
        "select",
        "how reliable a class is: the mean score of its detections, or the share of them on which network and teacher "
        "agree (both with 50 imaginary failures, so that rare classes do not win by luck)",
        choices=("score", "teacher"),
    )
    wrap_seam: bool = _setting(
        True, "select", "NMS and tracking see the left and right edge of the canvas as neighbours"
    )
    export: Literal["top_k", "region", "hull"] = _setting(
        "top_k",
        "export",
        "points of a region: its strongest cells (official), the cells of its mask at the evaluator's pixels, or those "
        "within the hull of its strongest cells",
        choices=("top_k", "region", "hull"),
    )
    top_k: int = _setting(
        20, "export", "how many cells count as the strongest (top_k and hull); 0 for all", low=0, high=784
    )
    min_energy: float = _setting(0.1, "export", "smallest energy of a cell that is used", low=0, high=1)
    region_level: float = _setting(
        0.2,
        "export",
        "smallest energy of a cell of a region, as a share of the region's peak (region and hull)",
        low=0,
        high=1,
    )
    region_parts: int = _setting(
        2, "export", "most connected parts of a region, those with the highest peaks first (region)", low=1, high=100
    )
    full_frame: Literal["never", "fallback"] = _setting(
        "fallback",
        "export",
        "the full-frame energy map within the box: never used, or where the RoI map has no cell of min_energy "
        "(region and hull)",
        choices=("never", "fallback"),
    )
    hull_margin_deg: float = _setting(
        0.0, "export", "how far the region reaches beyond the hull of its cells, in degrees (hull)", low=0, high=45
    )
    vote_iou: float = _setting(
        1.0,
        "export",
        "smallest IoU of a candidate's box with a region's for its vote on the region's box and energies; 1 is off",
        low=0.05,
        high=1,
    )
    vote_frames: int = _setting(
        0, "export", "frames before and after a region's frame whose candidates vote on it", low=0, high=20
    )

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = _checked(spec.name, getattr(self, spec.name), spec.default, spec.metadata)
            object.__setattr__(self, spec.name, value)

    def to_dict(self) -> dict[str, Any]:
        """Every setting as plain numbers, texts, lists and dicts (classes as text keys), in the order of the class."""
        plain: dict[str, Any] = {}
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, Mapping):
                value = {str(k): value[k] for k in sorted(value)}
            plain[spec.name] = list(value) if isinstance(value, tuple) else value
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PipelineSettings:
        """Settings from :meth:`to_dict`'s form; settings that are left out keep their defaults.

        Raises
        ------
        InputError
            An unknown name, or a value outside its range.
        """
        known = [spec.name for spec in fields(cls)]
        for name in values:
            if name not in known:
                raise InputError(f"{name}: there is no such setting; the settings are {', '.join(known)}.")
        return cls(**values)

    def part(self, *parts: Part) -> tuple[tuple[str, Any], ...]:
        """Hashable names and values of the settings of some stages: a key for what those stages gave."""
        chosen = []
        for spec in fields(self):
            if spec.metadata["part"] in parts:
                value = getattr(self, spec.name)
                chosen.append((spec.name, tuple(sorted(value.items())) if isinstance(value, Mapping) else value))
        return tuple(chosen)


@dataclass(frozen=True)
class SettingDescription:
    """One setting for a form or a table.

    Attributes
    ----------
    name, part, doc : str
        Name in :class:`PipelineSettings`, stage, meaning.
    default : object
    low, high : float or None
        Range, both ends included; None where the kind has none.
    choices : tuple of str
        Allowed texts; empty for other kinds.
    """

    name: str
    part: Part
    doc: str
    default: Any
    low: float | None
    high: float | None
    choices: tuple[str, ...]


def describe_settings() -> list[SettingDescription]:
    """All settings in the order of the class."""
    official = PipelineSettings()
    return [
        SettingDescription(
            spec.name,
            spec.metadata["part"],
            spec.metadata["doc"],
            getattr(official, spec.name),
            spec.metadata["low"],
            spec.metadata["high"],
            spec.metadata["choices"],
        )
        for spec in fields(PipelineSettings)
    ]


def _checked(name: str, value: Any, default: Any, facts: Mapping[str, Any]) -> Any:
    """The value in its own type, or an InputError that names the setting."""
    if name == "min_score_per_class":
        return _checked_per_class(value)
    if name == "keep_classes":
        return _checked_classes(value)
    if facts["choices"]:
        if value not in facts["choices"]:
            raise InputError(f"{name} is {value!r}; choose {' or '.join(facts['choices'])}.")
        return value
    if isinstance(default, bool):
        if not isinstance(value, bool | np.bool_):
            raise InputError(f"{name} is {value!r}; true or false is needed.")
        return bool(value)
    whole = isinstance(default, int)
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputError(f"{name} is {value!r}; a number from {facts['low']:g} to {facts['high']:g} is needed.")
    if not facts["low"] <= value <= facts["high"] or (whole and value != int(value)):
        kind = "whole number" if whole else "number"
        raise InputError(f"{name} is {value}; a {kind} from {facts['low']:g} to {facts['high']:g} is needed.")
    return int(value) if whole else float(value)


def _class_number(name: str, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if isinstance(value, bool) or str(number) != str(value) or not 0 <= number < N_CLASSES:
        raise InputError(f"{name}: {value!r} is not a class; classes are 0..{N_CLASSES - 1}.")
    return number


def _checked_per_class(value: Any) -> dict[int, float]:
    if not isinstance(value, Mapping):
        raise InputError(f"min_score_per_class is {value!r}; a score for each class number is needed.")
    checked = {}
    for key, score in value.items():
        number = _class_number("min_score_per_class", key)
        good = isinstance(score, int | float | np.floating) and not isinstance(score, bool) and 0 <= score <= 1
        if not good:
            raise InputError(f"min_score_per_class of class {number} is {score!r}; a number from 0 to 1 is needed.")
        checked[number] = float(score)
    return checked


def _checked_classes(value: Any) -> KeepClasses:
    if isinstance(value, str):
        if value == "all":
            return "all"
        if value == "best":
            return "best"
        raise InputError(f"keep_classes is {value!r}; choose all, best, or a list of class numbers.")
    if not isinstance(value, Sequence | frozenset | set):
        raise InputError(f"keep_classes is {value!r}; choose all, best, or a list of class numbers.")
    return tuple(sorted({_class_number("keep_classes", v) for v in value}))


@dataclass(frozen=True, eq=False)
class Prepared:
    """A recording's raw detections and teacher, with what is derived from them once, whatever the settings.

    Attributes
    ----------
    raw : RawDetections
    teacher : DcaseMetadata or None
    """

    raw: RawDetections
    teacher: DcaseMetadata | None = None

    @cached_property
    def facts(self) -> CandidateFacts:
        """Peak direction and mean energy of every candidate's region."""
        return candidate_facts(self.raw.energy, self.raw.boxes_xyxy)

    @cached_property
    def teacher_match(self) -> TeacherMatch:
        """The teacher's nearest output of each candidate, however far."""
        if self.teacher is None:
            raise InputError(_needs_teacher(self.raw.recording))
        facts = self.facts
        return match_teacher(self.raw.frame, facts.peak_azimuth_deg, facts.peak_elevation_deg, self.teacher)

    @cached_property
    def teacher_counts(self) -> npt.NDArray[np.int64]:
        """Outputs of the teacher for each frame and class, shape (n_frames, 13)."""
        if self.teacher is None:
            raise InputError(_needs_teacher(self.raw.recording))
        return teacher_counts(self.teacher, n_frames=self.raw.n_frames)


def _needs_teacher(recording: str) -> str:
    return f"{recording}: this system needs a teacher; give the folder of a DCASE system's CSV files."


def prepare(raw: RawDetections, *, teacher: DcaseMetadata | None = None) -> Prepared:
    """Raw detections with a teacher; nothing is computed before it is asked for."""
    return Prepared(raw, teacher)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Every candidate of a recording with its final class and score; row ``i`` is row ``i`` of the raw store.

    Attributes
    ----------
    detections : Detections
    n_frames : int
    eligible : bool, shape (n,)
        False below ``min_class_score``.
    agrees : bool, shape (n,)
        A reliable teacher output of the network's own class lies at the region's peak.
    prepared : Prepared or None
        For what only some settings need; None for a plain stream of detections.
    """

    detections: Detections
    n_frames: int
    eligible: npt.NDArray[np.bool_]
    agrees: npt.NDArray[np.bool_]
    prepared: Prepared | None = None

    def __len__(self) -> int:
        return len(self.detections)

    @cached_property
    def facts(self) -> CandidateFacts:
        """Peak direction and mean energy of every candidate's region."""
        if self.prepared is not None:
            return self.prepared.facts
        return candidate_facts(self.detections.energy, self.detections.boxes_xyxy)


def candidates(prepared: Prepared, settings: PipelineSettings) -> Candidates:
    """Final class and score of every candidate: ranking, router, teacher prior.

    Parameters
    ----------
    prepared : Prepared
    settings : PipelineSettings
        Of the part ``"candidates"``.

    Raises
    ------
    InputError
        The teacher prior is on and there is no teacher.
    """
    s, raw = settings, prepared.raw
    own_category = raw.category_id.astype(np.int64)
    if s.router_weight > 0:
        own_category = route_classes(
            raw.frame,
            raw.class_scores,
            raw.objectness,
            n_frames=raw.n_frames,
            weight=s.router_weight,
            n_neighbours=s.router_frames,
        )
    class_score = np.take_along_axis(np.asarray(raw.class_scores), own_category[:, None], axis=1)[:, 0]
    score = np.asarray(raw.objectness) if s.ranking == "objectness" else class_score
    category = own_category
    agrees = np.zeros(len(raw), dtype=bool)
    if s.teacher_radius_deg > 0:
        match = prepared.teacher_match
        matched = match.angle_deg <= s.teacher_radius_deg
        agrees = matched & (match.category_id == own_category)
        if s.teacher_replace_label:
            category = np.where(matched, match.category_id, own_category)
        score = rerank(score, matched, weight=s.teacher_rerank)
    detections = Detections(
        raw.frame, category.astype(np.int16), score, raw.boxes_xyxy, raw.distance_cm.astype(np.float64), raw.energy
    )
    eligible = class_score >= class_score.dtype.type(s.min_class_score)
    return Candidates(detections, raw.n_frames, eligible, agrees, prepared)


_TIE_STEP: Final[float] = 0.999
"""Of the distance between unequal scores: ties are spread below their score and never reach the next."""


def select_tracks(chosen_from: Candidates, settings: PipelineSettings) -> Tracks:
    """Which candidates are kept, linked over time: thresholds, NMS, caps, tracking, gating, classes, tie-break.

    Parameters
    ----------
    chosen_from : Candidates
    settings : PipelineSettings
        Of the part ``"select"``.

    Returns
    -------
    Tracks
        ``detection`` holds candidate rows. Energies are not looked at, but for the tie-break.

    Raises
    ------
    InputError
        The count prior is on and there is no teacher.
    """
    s, d = settings, chosen_from.detections
    rows = np.flatnonzero(chosen_from.eligible)
    frame, category, score = d.frame[rows], d.category_id[rows], d.score[rows]
    thresholds = {c: s.min_score_per_class.get(c, s.min_score) for c in range(N_CLASSES)}
    if s.min_coverage > 0:
        thresholds = lower_to_coverage(
            thresholds,
            frame,
            category,
            score,
            n_frames=chosen_from.n_frames,
            share=s.min_coverage,
            floor=s.coverage_floor,
        )
    rows = rows[score_threshold(score, category, minimum=s.min_score, per_class=thresholds)]
    by_energy = s.tie_break == "energy"
    # scores are compared as they will be written: two that agree to so many decimals are a tie
    ranked = np.round(d.score[rows].astype(np.float64), s.tie_decimals) if by_energy else d.score[rows]
    kept = nms_per_class(
        d.frame[rows],
        d.category_id[rows],
        ranked,
        d.boxes_xyxy[rows],
        iou=s.nms_iou,
        wrap=s.wrap_seam,
        at_most=s.max_per_class,
        tie_break=chosen_from.facts.mean_energy[rows] if by_energy else None,
    )
    rows = rows[kept]
    limits = None
    if s.teacher_count_prior:
        if chosen_from.prepared is None:
            raise InputError("the count prior needs a teacher; give the folder of a DCASE system's CSV files.")
        limits = chosen_from.prepared.teacher_counts + s.teacher_count_slack
        rows = rows[cap_by_count(d.frame[rows], d.category_id[rows], ranked[kept], limits)]
    # the tracker looks at no energies, and gathering those of all that is kept would take longer than all else
    no_energy = np.zeros((len(rows), 0, 0), dtype=np.float32)
    tracks = track(
        Detections(
            d.frame[rows], d.category_id[rows], d.score[rows], d.boxes_xyxy[rows], d.distance_cm[rows], no_energy
        ),
        n_frames=chosen_from.n_frames,
        iou=s.track_iou,
        max_age=s.max_age,
        coast_decay=s.coast_decay,
        wrap=s.wrap_seam,
    )
    tracks = tracks.take(
        gate_tracks(tracks, min_hits=s.min_hits, min_mean_score=s.min_mean_score, min_length=s.min_length)
    )
    tracks = replace(tracks, detection=rows[tracks.detection])
    if limits is not None:
        # coasting may bring back what the teacher does not count
        tracks = tracks.take(cap_by_count(tracks.frame, d.category_id[tracks.detection], tracks.score, limits))
    if s.keep_classes != "all":
        classes: tuple[int, ...]
        if s.keep_classes == "best":
            classes = most_reliable(*_evidence(chosen_from, tracks, s), count=s.best_classes)
        else:
            classes = s.keep_classes
        tracks = tracks.take(np.isin(d.category_id[tracks.detection], classes))
    if by_energy:
        step = 10.0**-s.tie_decimals
        strength = np.clip(chosen_from.facts.mean_energy[tracks.detection].astype(np.float64), 0.0, 1.0)
        spread = np.round(tracks.score, s.tie_decimals) - step * _TIE_STEP * (1.0 - strength)
        tracks = replace(tracks, score=np.clip(spread, 0.0, 1.0))
    return tracks


def _evidence(
    chosen_from: Candidates, tracks: Tracks, settings: PipelineSettings
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    seen = ~tracks.coasting
    rows = tracks.detection[seen]
    if settings.reliability == "teacher":
        if settings.teacher_radius_deg == 0:
            raise InputError('reliability = "teacher" needs a teacher; set teacher_radius_deg above 0.')
        good = chosen_from.agrees[rows].astype(np.float64)
    else:
        good = tracks.score[seen]
    return class_reliability(chosen_from.detections.category_id[rows], good)


def choose_best_classes(recordings: Sequence[Prepared], settings: PipelineSettings) -> PipelineSettings:
    """Settings in which ``keep_classes = "best"`` is replaced by the classes that are the most reliable of a whole set.

    Parameters
    ----------
    recordings : sequence of Prepared
        The set, for example all recordings of a split. :func:`select_tracks` alone would choose in each recording anew.
    settings : PipelineSettings
        Returned as they are if they do not say "best".
    """
    if settings.keep_classes != "best":
        return settings
    everything = replace(settings, keep_classes="all")
    total, count = np.zeros(N_CLASSES), np.zeros(N_CLASSES, dtype=np.int64)
    for prepared in recordings:
        chosen_from = candidates(prepared, everything)
        good, n = _evidence(chosen_from, select_tracks(chosen_from, everything), everything)
        total += good
        count += n
    return replace(settings, keep_classes=most_reliable(total, count, count=settings.best_classes))


def regions_of(chosen_from: Candidates, rows: npt.NDArray[np.int64], settings: PipelineSettings) -> Regions:
    """Points of the regions of some candidates; each depends on its candidate and the ``"export"`` settings alone.

    Parameters
    ----------
    chosen_from : Candidates
    rows : int64
        Candidates.
    settings : PipelineSettings
    """
    s, d = settings, chosen_from.detections
    raw = chosen_from.prepared.raw if chosen_from.prepared is not None else None
    full = raw.full_energy if raw is not None and raw.full_energy.size else None
    rows = np.unique(np.asarray(rows, dtype=np.int64))
    energy, boxes, frame, at = d.energy, d.boxes_xyxy, d.frame, rows
    if s.vote_iou < 1.0:
        # not the score after ranking and teacher: a region depends on no setting of the candidates
        strongest = d.score if raw is None else np.asarray(raw.class_scores).max(axis=1, initial=0.0)
        boxes, energy = vote_regions(frame, boxes, energy, strongest, rows, iou=s.vote_iou, n_frames=s.vote_frames)
        frame, at = frame[rows], np.arange(len(rows))
    regions = export_regions(
        energy,
        boxes,
        frame,
        at,
        method=s.export,
        top_k=s.top_k,
        min_energy=s.min_energy,
        region_level=s.region_level,
        region_parts=s.region_parts,
        full_energy=full if s.full_frame == "fallback" else None,
        hull_margin_deg=s.hull_margin_deg,
    )
    return replace(regions, rows=rows)


def annotate(
    chosen_from: Candidates, tracks: Tracks, regions: Regions, *, recording: str, settings: PipelineSettings
) -> AnnotationTable:
    """The table of tracks whose regions are known.

    Parameters
    ----------
    chosen_from, tracks : Candidates, Tracks
    regions : Regions
        Of at least the candidates that ``tracks`` show.
    recording : str
    settings : PipelineSettings
        Scores are written with 6 decimals, as by the official script, and with 9 where the tie-break needs them.
    """
    decimals = 9 if settings.tie_break == "energy" else 6
    return to_annotations(tracks, chosen_from.detections, regions, recording=recording, score_decimals=decimals)


def run_prepared(prepared: Prepared, settings: PipelineSettings) -> AnnotationTable:
    """All stages in order."""
    chosen_from = candidates(prepared, settings)
    return _finish(chosen_from, recording=prepared.raw.recording, settings=settings)


def _finish(chosen_from: Candidates, *, recording: str, settings: PipelineSettings) -> AnnotationTable:
    tracks = select_tracks(chosen_from, settings)
    regions = regions_of(chosen_from, np.unique(tracks.detection), settings)
    return annotate(chosen_from, tracks, regions, recording=recording, settings=settings)


def run_pipeline(
    detections: Detections, *, recording: str, n_frames: int, settings: PipelineSettings | None = None
) -> AnnotationTable:
    """Threshold, NMS, class cap, tracking, gating, export of a plain stream of detections.

    Parameters
    ----------
    detections : Detections
        Candidates of one recording, before any threshold, with their final class and score: settings of the part
        ``"candidates"`` are not looked at.
    recording : str
    n_frames : int
        Length of the recording in 100 ms frames; tracks coast no further.
    settings : PipelineSettings, optional

    Raises
    ------
    InputError
        The settings ask for a teacher.
    """
    everyone = np.ones(len(detections), dtype=bool)
    chosen_from = Candidates(detections, n_frames, everyone, ~everyone)
    return _finish(chosen_from, recording=recording, settings=settings or PipelineSettings())

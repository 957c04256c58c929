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
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from sai_core.annotations.dcase import DcaseMetadata
from sai_core.annotations.table import AnnotationTable
from sai_core.detections.table import Detections
from sai_core.errors import InputError
from sai_core.postprocess.calibration import calibrated
from sai_core.postprocess.classes import class_reliability, heard_scores, most_reliable, route_classes, same_place
from sai_core.postprocess.export import Regions, export_regions, joined_regions, to_annotations
from sai_core.postprocess.facts import CandidateFacts, candidate_facts, centre_directions
from sai_core.postprocess.field_regions import field_regions, field_strength
from sai_core.postprocess.quality import features_of, load_quality, quality_path, quality_stamp
from sai_core.postprocess.select import cap_by_count, lower_to_coverage, nms_per_class, score_threshold
from sai_core.postprocess.teacher import TeacherMatch, match_teacher, rerank, teacher_counts
from sai_core.postprocess.tracking import Tracks, gate_tracks, track
from sai_core.postprocess.voting import vote_regions
from sai_core.settings import Settings, about, describe
from sai_core.taxonomy import N_CLASSES

if TYPE_CHECKING:
    from sai_core.detections.raw import RawDetections

Part = Literal["candidates", "select", "export"]
ClassNumber = Annotated[int, Meta(ge=0, le=N_CLASSES - 1)]
Share = Annotated[float, Meta(ge=0, le=1)]
KeepClasses = tuple[ClassNumber, ...] | Literal["all", "best"]


@dataclass(frozen=True, kw_only=True)
class PipelineSettings(Settings):
    """Settings of every step; the defaults are those of the official inference script (8abeded).

    ``wrap_seam`` is the one that differs: ours sees the cylinder, the official script a plane; set it to False to
    reproduce its output. What each setting means, its range and the stage that it belongs to stands beside it and is
    listed by :func:`sai_core.settings.describe`.

    Raises
    ------
    InputError
        A value outside its range, or of another type, by the setting's name.
    """

    ranking: Annotated[
        Literal["class", "objectness"],
        about(
            "what the score is: the score of the candidate's class, or the class-agnostic objectness of its proposal",
            label="Ranked by",
            form="Selection",
            group="candidates",
        ),
    ] = "class"
    min_class_score: Annotated[
        float,
        about(
            "smallest score of the network's own class, whatever the ranking; 0 asks for none",
            label="Smallest class score",
            form="Selection",
            group="candidates",
            ge=0,
            le=1,
        ),
    ] = 0.0
    wideband_weight: Annotated[
        float,
        about(
            "how much a candidate's classes are those that the wideband listener hears in its direction (predict "
            "--wideband): class scores and background are weighted geometric means of what the detector and the "
            "listener say; 0 is off, 1 is the listener alone",
            label="Weight of the wideband listener",
            form="Selection",
            group="candidates",
            ge=0,
            le=1,
        ),
    ] = 0.0
    router_weight: Annotated[
        float,
        about(
            "weight of a frame-level router against the candidate's own class scores in choosing its class; 0 is off, "
            "1 leaves the choice to the router",
            label="Router weight",
            form="Teacher",
            group="candidates",
            ge=0,
            le=1,
        ),
    ] = 0.0
    router_frames: Annotated[
        int,
        about(
            "frames before and after a frame that its router looks at",
            label="Router context, frames",
            form="Teacher",
            group="candidates",
            ge=0,
            le=100,
        ),
    ] = 5
    teacher_radius_deg: Annotated[
        float,
        about(
            "largest angle between a region's peak and the teacher's nearest output of the frame that counts as a "
            "reliable match, in degrees; 0 switches the teacher prior off",
            label="Match radius, degrees",
            form="Teacher",
            group="candidates",
            ge=0,
            le=180,
        ),
    ] = 0.0
    teacher_replace_label: Annotated[
        bool,
        about(
            "a reliable match gives the candidate the teacher's class (its region stays)",
            label="Matches take the teacher's class",
            form="Teacher",
            group="candidates",
        ),
    ] = True
    teacher_rerank: Annotated[
        float,
        about(
            "weight w of the match in the score: s + w (1 - s) with a reliable match, (1 - w) s without; 0 keeps the "
            "score, from 0.5 on every matched candidate comes before every other",
            label="Weight in the score",
            form="Teacher",
            group="candidates",
            ge=0,
            le=1,
        ),
    ] = 0.0
    field_level: Annotated[
        float,
        about(
            "a candidate's score also counts what its label would show: s a / (a + field_level), a being the largest "
            "product of the predicted intensity field and a label's Gaussian at the candidate's direction (a label "
            "begins at 4e-5); 0 is off",
            label="Field level",
            form="Selection",
            group="candidates",
            useful=0.002,
            ge=0,
            le=1,
        ),
    ] = 0.0
    tie_break: Annotated[
        Literal["none", "energy"],
        about(
            "order among equal scores: as the network gives them, or by falling mean energy of the region",
            label="Equal scores",
            form="Selection",
            group="select",
        ),
    ] = "none"
    tie_decimals: Annotated[
        int,
        about(
            "scores that agree to so many decimals are equal for the tie-break",
            label="Decimals for equality",
            form="Selection",
            group="select",
            ge=1,
            le=6,
        ),
    ] = 6
    min_score: Annotated[
        float,
        about(
            "smallest score that is kept",
            label="Score threshold",
            form="Selection",
            front=True,
            group="select",
            ge=0,
            le=1,
        ),
    ] = 0.35
    min_score_per_class: Annotated[
        Mapping[ClassNumber, Annotated[float, Meta(ge=0, le=1)]],
        about(
            "smallest score of single classes (class-wise score selection); the others take min_score",
            label="Thresholds of single classes",
            form="Selection",
            front=True,
            group="select",
        ),
    ] = field(default_factory=dict)
    min_coverage: Annotated[
        float,
        about(
            "lower a class's threshold until its detections cover this share of the recording's frames; 0 is off",
            label="Frames to cover",
            form="Classes",
            group="select",
            ge=0,
            le=1,
        ),
    ] = 0.0
    coverage_floor: Annotated[
        float,
        about(
            "min_coverage lowers no threshold below this score",
            label="Lowest threshold for coverage",
            form="Classes",
            group="select",
            ge=0,
            le=1,
        ),
    ] = 0.05
    nms_iou: Annotated[
        float,
        about(
            "of two boxes of one class and frame whose IoU is larger than this, only the stronger is kept",
            label="NMS IoU",
            form="Selection",
            front=True,
            group="select",
            ge=0,
            le=1,
        ),
    ] = 0.3
    max_per_class: Annotated[
        int,
        about(
            "most detections of one class in a frame",
            label="Most per class and frame",
            form="Selection",
            front=True,
            useful=20,
            group="select",
            ge=1,
            le=100,
        ),
    ] = 3
    teacher_count_prior: Annotated[
        bool,
        about(
            "keep at most as many of a class in a frame as the teacher has there (with a teacher only)",
            label="Cap by the teacher's count",
            form="Teacher",
            group="select",
        ),
    ] = False
    teacher_count_slack: Annotated[
        int,
        about(
            "how many more than the teacher's count are kept",
            label="Allowed above its count",
            form="Teacher",
            useful=10,
            group="select",
            ge=0,
            le=100,
        ),
    ] = 0
    track_iou: Annotated[
        float,
        about("smallest IoU that continues a track", label="Tracking IoU", form="Tracking", group="select", ge=0, le=1),
    ] = 0.3
    max_age: Annotated[
        int,
        about(
            "frames that a track goes on unseen (coasts)",
            label="Coasting, frames",
            form="Tracking",
            useful=30,
            group="select",
            ge=0,
            le=100,
        ),
    ] = 5
    coast_decay: Annotated[
        float,
        about(
            "factor on the score for each frame of coasting",
            label="Score factor per coasting frame",
            form="Tracking",
            group="select",
            ge=0,
            le=1,
        ),
    ] = 0.9
    min_hits: Annotated[
        int,
        about(
            "frames in which a track must be seen to be kept",
            label="Frames seen, at least",
            form="Gating",
            useful=50,
            group="select",
            ge=1,
            le=1000,
        ),
    ] = 2
    min_mean_score: Annotated[
        float,
        about(
            "smallest mean score of a track over the frames in which it is seen",
            label="Mean score, at least",
            form="Gating",
            group="select",
            ge=0,
            le=1,
        ),
    ] = 0.0
    min_length: Annotated[
        int,
        about(
            "shortest track that is kept, in frames, coasting included",
            label="Length in frames, at least",
            form="Gating",
            useful=100,
            group="select",
            ge=1,
            le=1000,
        ),
    ] = 1
    keep_classes: Annotated[
        KeepClasses,
        about(
            'classes that are written at the end: "all", "best" (the most reliable), or a list of 0..12',
            label="Classes kept",
            form="Classes",
            group="select",
        ),
    ] = "all"
    best_classes: Annotated[
        int,
        about(
            'how many classes keep_classes = "best" keeps',
            label="How many of the best",
            form="Classes",
            group="select",
            ge=1,
            le=N_CLASSES,
        ),
    ] = 1
    reliability: Annotated[
        Literal["score", "teacher"],
        about(
            "how reliable a class is: the mean score of its detections, or the share of them on which network and "
            "teacher agree (both with 50 imaginary failures, so that rare classes do not win by luck)",
            label="Best by",
            form="Classes",
            group="select",
        ),
    ] = "score"
    temperature: Annotated[
        Mapping[ClassNumber, Annotated[float, Meta(ge=0.01, le=100)]],
        about(
            "calibration at the very end: the logit of a score of these classes is divided by this; 1 changes nothing, "
            "and no threshold sees it",
            label="Calibration: temperature",
            form="Classes",
            group="select",
        ),
    ] = field(default_factory=dict)
    isotonic: Annotated[
        Mapping[ClassNumber, Annotated[tuple[tuple[Share, Share], ...], Meta(min_length=1, max_length=100)]],
        about(
            "calibration at the very end: points [score, precision] of a rising curve that the scores of these classes "
            "are read on, from [0, 0] to [1, 1]; no threshold sees it",
            label="Calibration: curve",
            form="Classes",
            group="select",
        ),
    ] = field(default_factory=dict)
    quality: Annotated[
        str,
        about(
            "learned ranking at the very end: a network's file (calibrate --quality) whose score of an annotation is "
            "written in place of the detector's; no threshold sees it, neither calibration nor tie-break goes with it, "
            "and the raw detections need a field; empty is off",
            label="Quality network",
            form="Classes",
            group="select",
        ),
    ] = ""
    wrap_seam: Annotated[
        bool,
        about(
            "NMS and tracking see the left and right edge of the canvas as neighbours",
            label="Canvas edges are neighbours",
            form="Selection",
            group="select",
        ),
    ] = True
    export: Annotated[
        Literal["top_k", "region", "hull", "field"],
        about(
            "points of a region: its strongest cells (official), the cells of its mask at the evaluator's pixels, "
            "those within the hull of its strongest cells, or what label code forms of a field decoder's field at the "
            "candidate's direction (predict --field)",
            label="Points",
            form="Export",
            group="export",
        ),
    ] = "top_k"
    top_k: Annotated[
        int,
        about(
            "how many cells count as the strongest (top_k and hull); 0 for all",
            label="Strongest cells",
            form="Export",
            group="export",
            ge=0,
            le=784,
        ),
    ] = 20
    min_energy: Annotated[
        float,
        about(
            "smallest energy of a cell that is used", label="Smallest energy", form="Export", group="export", ge=0, le=1
        ),
    ] = 0.1
    region_level: Annotated[
        float,
        about(
            "smallest energy of a cell of a region, as a share of the region's peak (region and hull)",
            label="Region level, share of peak",
            form="Export",
            group="export",
            ge=0,
            le=1,
        ),
    ] = 0.2
    region_parts: Annotated[
        int,
        about(
            "most connected parts of a region, those with the highest peaks first (region)",
            label="Parts of a region",
            form="Export",
            useful=10,
            group="export",
            ge=1,
            le=100,
        ),
    ] = 2
    full_frame: Annotated[
        Literal["never", "fallback"],
        about(
            "the full-frame energy map within the box: never used, or where the RoI map has no cell of min_energy "
            "(region and hull)",
            label="Full-frame map",
            form="Export",
            group="export",
        ),
    ] = "fallback"
    hull_margin_deg: Annotated[
        float,
        about(
            "how far the region reaches beyond the hull of its cells, in degrees (hull)",
            label="Hull margin, degrees",
            form="Export",
            useful=10,
            group="export",
            ge=0,
            le=45,
        ),
    ] = 0.0
    vote_iou: Annotated[
        float,
        about(
            "smallest IoU of a candidate's box with a region's for its vote on the region's box and energies; 1 is off",
            label="Voting boxes, IoU from",
            form="Export",
            group="export",
            ge=0.05,
            le=1,
        ),
    ] = 1.0
    vote_frames: Annotated[
        int,
        about(
            "frames before and after a region's frame whose candidates vote on it",
            label="Voting frames around",
            form="Export",
            useful=10,
            group="export",
            ge=0,
            le=20,
        ),
    ] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.keep_classes, str):
            object.__setattr__(self, "keep_classes", tuple(sorted(set(self.keep_classes))))
        if self.quality and (self.temperature or self.isotonic):
            raise InputError(
                "quality: its network replaces the scores that temperature or isotonic calibrate; leave out one of the "
                "two."
            )
        if self.quality and self.tie_break == "energy":
            raise InputError('quality: its network replaces the scores that tie_break = "energy" orders; set "none".')
        for category, knots in self.isotonic.items():
            if category in self.temperature:
                raise InputError(f"isotonic: class {category} has a temperature too; a class takes one of the two.")
            points = np.array([(0.0, 0.0), *knots, (1.0, 1.0)])
            if not (np.diff(points, axis=0) > 0).all():
                raise InputError(f"isotonic of {category}: scores and precisions must rise, all between 0 and 1.")

    def to_dict(self) -> dict[str, Any]:
        """Every setting as plain numbers, texts, lists and dicts (classes as text keys), in the order of the class."""
        plain: dict[str, Any] = {}
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, Mapping):
                value = {str(k): _listed(value[k]) for k in sorted(value)}
            plain[spec.name] = _listed(value)
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
        for name in _names_of(parts):
            value = getattr(self, name)
            if name == "quality" and value:
                # a file that was learned anew under its name gives other scores
                value = (value, *quality_stamp(quality_path(value)))
            chosen.append((name, tuple(sorted(value.items())) if isinstance(value, Mapping) else value))
        return tuple(chosen)


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


@cache
def _names_of(parts: tuple[Part, ...]) -> tuple[str, ...]:
    return tuple(setting.name for setting in describe(PipelineSettings) if setting.group in parts)


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
    def field_strength(self) -> npt.NDArray[np.float64]:
        """What a label at the middle of each candidate's box would show at most, before it is standardised.

        Raises
        ------
        InputError
            The raw detections have no intensity field.
        """
        if not self.raw.field.size:
            raise InputError(_needs_field(self.raw.recording, "field_level"))
        return field_strength(self.raw.field, self.raw.frame, *centre_directions(self.raw.boxes_xyxy))

    def class_scores(self, wideband_weight: float) -> npt.NDArray[np.floating]:
        """Class scores (n, 13) of every candidate, with the wideband listener's say.

        Raises
        ------
        InputError
            It has a say and the raw detections have none of its.
        """
        scores = np.asarray(self.raw.class_scores)
        if wideband_weight <= 0 or not len(self.raw):
            return scores
        if not self.raw.wideband.size:
            raise InputError(
                f"{self.raw.recording}: wideband_weight needs raw detections that a wideband listener heard; predict "
                "again with one (predict --wideband FILE, or a system that asks for it), or choose another system."
            )
        return heard_scores(scores, self.raw.wideband, weight=wideband_weight)

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


def _needs_field(recording: str, setting: str) -> str:
    return (
        f"{recording}: {setting} needs raw detections with a field; predict again with a field decoder (predict "
        "--field FILE) or a detector that has one, or choose another system."
    )


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
    class_scores : float, shape (n, 13), or None
        With a wideband listener's say, where it has one; None for a plain stream of detections.
    """

    detections: Detections
    n_frames: int
    eligible: npt.NDArray[np.bool_]
    agrees: npt.NDArray[np.bool_]
    prepared: Prepared | None = None
    class_scores: npt.NDArray[np.floating] | None = None

    def __len__(self) -> int:
        return len(self.detections)

    @cached_property
    def facts(self) -> CandidateFacts:
        """Peak direction and mean energy of every candidate's region."""
        if self.prepared is not None:
            return self.prepared.facts
        return candidate_facts(self.detections.energy, self.detections.boxes_xyxy)


def candidates(prepared: Prepared, settings: PipelineSettings) -> Candidates:
    """Final class and score of every candidate: wideband listener, ranking, router, teacher prior, field's strength.

    Parameters
    ----------
    prepared : Prepared
    settings : PipelineSettings
        Of the part ``"candidates"``.

    Raises
    ------
    InputError
        The teacher prior is on and there is no teacher; the field or a listener counts and there is none.
    """
    s, raw = settings, prepared.raw
    own_category = raw.category_id.astype(np.int64)
    class_scores = prepared.class_scores(s.wideband_weight)
    if s.wideband_weight > 0:
        own_category = same_place(own_category, before=raw.class_scores, after=class_scores)
    if s.router_weight > 0:
        own_category = route_classes(
            raw.frame,
            class_scores,
            raw.objectness,
            n_frames=raw.n_frames,
            weight=s.router_weight,
            n_neighbours=s.router_frames,
        )
    class_score = np.take_along_axis(class_scores, own_category[:, None], axis=1)[:, 0]
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
    if s.field_level > 0:
        strength = prepared.field_strength
        score = (score * (strength / (strength + s.field_level))).astype(score.dtype)
    detections = Detections(
        raw.frame, category.astype(np.int16), score, raw.boxes_xyxy, raw.distance_cm.astype(np.float64), raw.energy
    )
    eligible = class_score >= class_score.dtype.type(s.min_class_score)
    return Candidates(detections, raw.n_frames, eligible, agrees, prepared, class_scores)


_TIE_STEP: Final[float] = 0.999
"""Of the distance between unequal scores: ties are spread below their score and never reach the next."""


def select_tracks(chosen_from: Candidates, settings: PipelineSettings) -> Tracks:
    """Which candidates are kept, linked over time: thresholds, NMS, caps, tracking, gating, scores, tie-break.

    Scores at the end are calibrated, or those of a quality network.

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
        The count prior is on and there is no teacher; a quality network cannot be read, or there is no field for it.
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
    if s.temperature or s.isotonic:
        of = d.category_id[tracks.detection]
        tracks = replace(tracks, score=calibrated(tracks.score, of, temperature=s.temperature, isotonic=s.isotonic))
    if s.quality:
        network = load_quality(quality_path(s.quality))
        tracks = replace(tracks, score=network.of(quality_features(chosen_from, tracks)))
    if by_energy:
        step = 10.0**-s.tie_decimals
        strength = np.clip(chosen_from.facts.mean_energy[tracks.detection].astype(np.float64), 0.0, 1.0)
        spread = np.round(tracks.score, s.tie_decimals) - step * _TIE_STEP * (1.0 - strength)
        tracks = replace(tracks, score=np.clip(spread, 0.0, 1.0))
    return tracks


def quality_features(chosen_from: Candidates, tracks: Tracks) -> npt.NDArray[np.float64]:
    """What a quality network reads of each row of tracks (:func:`sai_core.postprocess.quality.features_of`).

    Parameters
    ----------
    chosen_from : Candidates
    tracks : Tracks
        All of the recording, with scores from before any calibration.

    Raises
    ------
    InputError
        The raw detections have no field.
    """
    prepared = chosen_from.prepared
    if prepared is None or not prepared.raw.field.size:
        raise InputError(_needs_field("the detections" if prepared is None else prepared.raw.recording, "quality"))
    return features_of(
        prepared.raw, chosen_from.detections, tracks, chosen_from.facts, class_scores=chosen_from.class_scores
    )


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
    everything = replace(settings, keep_classes="all", quality="")
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
    formed: Regions | None = None
    if s.export == "field":
        if raw is None or not raw.field.size:
            raise InputError(_needs_field("the detections" if raw is None else raw.recording, 'export = "field"'))
        azimuth, elevation = centre_directions(boxes[at])
        places, formed = field_regions(raw.field, frame[at], azimuth, elevation)
        formed, at = replace(formed, rows=at[places]), np.delete(at, places)
    regions = export_regions(
        energy,
        boxes,
        frame,
        at,
        method="region" if s.export == "field" else s.export,
        top_k=s.top_k,
        min_energy=s.min_energy,
        region_level=s.region_level,
        region_parts=s.region_parts,
        full_energy=full if s.full_frame == "fallback" else None,
        hull_margin_deg=s.hull_margin_deg,
    )
    if formed is None:
        return replace(regions, rows=rows)
    # where the field is too weak for any region, the detector's own map is what there is
    not_formed = rows[at] if s.vote_iou < 1.0 else at
    return replace(joined_regions([formed, regions]), rows=rows, not_formed=not_formed)


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

"""Best, median and worst frames of every class in one go: what a system does well and what it does badly.

Frames are chosen by the soft IoU of the pairs that the metric of revision 2026-06-30 assigns: for each class the pair
with the largest, the middle and the smallest soft IoU above zero. A pair that does not overlap at all is a miss and a
false alarm that happen to be in one frame, and would fill every "worst" row; the count of such pairs, of misses and of
false alarms is told in the heading instead.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np

from sai_core.annotations import AnnotationTable
from sai_core.dataset import PredictionSet, Recording
from sai_core.errors import InputError, check_known
from sai_core.figures.paper.material import Material, open_material, system_of_set
from sai_core.figures.paper.panels import (
    PanelOptions,
    PanelPage,
    PanelRow,
    made_up,
    render_document,
    render_panels,
    score_note,
    side_of,
)
from sai_core.figures.paper.style import FigureFormat, PaperStyle
from sai_core.files import atomic_write
from sai_core.metrics import Failure, RecordingScores, score_recordings
from sai_core.progress import Progress, no_progress, part_of
from sai_core.taxonomy import N_CLASSES, class_name

Kind = Literal["best", "median", "worst"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

Packing = Literal["pdf", "zip-pdf", "zip-png", "zip-svg"]
PACKINGS: Final[tuple[Packing, ...]] = get_args(Packing)

_ZIP_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest a ZIP can hold: no clock in the bytes."""


@dataclass(frozen=True)
class Example:
    """One chosen frame.

    Attributes
    ----------
    kind : {"best", "median", "worst"}
    category_id : int
    recording : str
    frame : int
    label_row, prediction_row : int
        The pair, as rows of the recording's tables.
    soft_iou : float
    """

    kind: Kind
    category_id: int
    recording: str
    frame: int
    label_row: int
    prediction_row: int
    soft_iou: float


@dataclass(frozen=True)
class ClassExamples:
    """Examples of a class, best first, and how many pairs they were chosen from.

    Attributes
    ----------
    category_id : int
    examples : tuple of Example
        Fewer than three where there are fewer pairs.
    n_labels, n_detections, n_overlapping : int
        Labels, detections, and pairs with a soft IoU above zero.
    """

    category_id: int
    examples: tuple[Example, ...]
    n_labels: int
    n_detections: int
    n_overlapping: int


def choose_examples(scores: Sequence[RecordingScores], kinds: Sequence[Kind] = KINDS) -> list[ClassExamples]:
    """Choose frames by soft IoU, for every class that has labels or detections.

    Ties go to the first recording by name, then the first frame. A pair is shown once: with one pair there is a
    "best" alone, with two a "best" and a "worst".

    Parameters
    ----------
    scores : sequence of RecordingScores
        Revision 2026-06-30.
    kinds : sequence of {"best", "median", "worst"}
        Which to choose.
    """
    in_order = sorted(scores, key=lambda scored: scored.recording)
    result = []
    for category in range(N_CLASSES):
        pairs: list[tuple[float, str, int, int, int]] = []
        for scored in in_order:
            chosen = np.flatnonzero(scored.pair_category == category)
            position = np.full(int(scored.detection_index.max(initial=-1)) + 1, -1, np.int64)
            position[scored.detection_index] = np.arange(len(scored))
            for i in chosen.tolist():
                iou = float(scored.detection_iou[position[scored.pair_prediction[i]]])
                if iou > 0:
                    pairs.append(
                        (
                            -iou,
                            scored.recording,
                            int(scored.pair_frame[i]),
                            int(scored.pair_label[i]),
                            int(scored.pair_prediction[i]),
                        )
                    )
        pairs.sort()
        n_labels = int(sum(scored.n_labels[category] for scored in in_order))
        n_detections = int(sum(scored.n_detections[category] for scored in in_order))
        if not n_labels and not n_detections:
            continue
        places: dict[Kind, int] = {"best": 0, "median": len(pairs) // 2, "worst": len(pairs) - 1}
        seen: set[int] = set()
        examples = []
        # the median gives way: with two pairs it is one of the others
        for kind in sorted(kinds, key=("best", "worst", "median").index):
            if pairs and places[kind] not in seen:
                seen.add(places[kind])
                iou, recording, frame, label_row, prediction_row = pairs[places[kind]]
                examples.append(Example(kind, category, recording, frame, label_row, prediction_row, -iou))
        examples.sort(key=lambda example: KINDS.index(example.kind))
        result.append(ClassExamples(category, tuple(examples), n_labels, n_detections, len(pairs)))
    return result


def make_gallery(
    recordings: Sequence[Recording],
    system: PredictionSet,
    packing: Packing,
    *,
    kinds: Sequence[Kind] = KINDS,
    categories: Sequence[int] | None = None,
    options: PanelOptions | None = None,
    style: PaperStyle | None = None,
    scores: Sequence[RecordingScores] | None = None,
    progress: Progress = no_progress,
) -> bytes:
    """Score a system on recordings, choose frames, and draw them: one page a class.

    Parameters
    ----------
    recordings : sequence of Recording
        Those without labels or predictions are left out.
    system : PredictionSet
    packing : {"pdf", "zip-pdf", "zip-png", "zip-svg"}
        One document of several pages, or one file a class in a ZIP.
    kinds : sequence of {"best", "median", "worst"}
    categories : sequence of int, optional
        Classes to show; by default all that occur.
    options : PanelOptions, optional
    style : PaperStyle, optional
    scores : sequence of RecordingScores, optional
        Of these recordings by revision 2026-06-30, where they are at hand already.
    progress : Progress
        Told throughout; may raise :class:`sai_core.errors.CancelledError`.

    Raises
    ------
    InputError
        No recording with both labels and predictions, or no pair of any chosen class that overlaps.
    """
    check_known("Packing", packing, PACKINGS)
    if not kinds:
        raise InputError("Choose at least one of best, median and worst.")
    options, style = options or PanelOptions(), style or PaperStyle()
    usable = scorable(recordings, system)
    if scores is None:
        scores = score_set(usable, system, progress=part_of(progress, 0.0, 0.6))
    classes = [
        chosen
        for chosen in choose_examples(scores, kinds)
        if chosen.examples and (categories is None or chosen.category_id in categories)
    ]
    if not classes:
        raise InputError(
            f"{system.title}: no prediction overlaps a label of its class in the chosen recordings and classes."
        )
    title = f"{system.title}: {', '.join(kinds)} frames by class"
    with ExitStack() as stack:
        materials: dict[str, Material] = {}
        by_name = {recording.name: recording for recording in usable}

        def material(name: str) -> Material:
            if name not in materials:
                opened = open_material(by_name[name], [system_of_set(system, name)])
                materials[name] = stack.enter_context(opened)
            return materials[name]

        def pages() -> Iterator[PanelPage]:
            for number, chosen in enumerate(classes):
                progress(0.6 + 0.4 * number / len(classes), f"Drawing {class_name(chosen.category_id)}")
                yield _page(chosen, system, [material(e.recording) for e in chosen.examples], options)

        if packing == "pdf":
            data = render_document(pages(), options=options, style=style, title=title)
        else:
            file_format: FigureFormat = packing.removeprefix("zip-")  # type: ignore[assignment]
            data = _zipped(pages(), classes, file_format, options, style)
    progress(1.0, f"{len(classes)} classes")
    return data


def render_class(
    chosen: ClassExamples,
    recordings: Sequence[Recording],
    system: PredictionSet,
    file_format: FigureFormat,
    *,
    options: PanelOptions,
    style: PaperStyle,
) -> bytes:
    """One page of a gallery as a file of its own; ``recordings`` holds those of its examples."""
    by_name = {recording.name: recording for recording in recordings}
    with ExitStack() as stack:
        materials = [
            stack.enter_context(open_material(by_name[e.recording], [system_of_set(system, e.recording)]))
            for e in chosen.examples
        ]
        page = _page(chosen, system, materials, options)
        return _page_bytes(page, file_format, options, style)


def _page_bytes(page: PanelPage, file_format: FigureFormat, options: PanelOptions, style: PaperStyle) -> bytes:
    return render_panels(
        page.rows,
        file_format,
        options=options,
        style=style,
        note=page.note,
        heading=page.heading,
        comparable=False,
    )


def scorable(recordings: Sequence[Recording], system: PredictionSet) -> list[Recording]:
    """Recordings with labels and predictions of a system.

    Raises
    ------
    InputError
        None.
    """
    usable = [r for r in recordings if r.label_path is not None and r.name in system.files]
    if not usable:
        raise InputError(f"{system.title}: no chosen recording has both labels and predictions of this system.")
    names = [r.name for r in usable]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{twice}: is in several of the chosen splits; choose one split.")
    return usable


def score_set(
    recordings: Sequence[Recording],
    system: PredictionSet,
    *,
    failures: list[Failure] | None = None,
    progress: Progress = no_progress,
) -> list[RecordingScores]:
    """Scores of a system on recordings by revision 2026-06-30; large files are accepted.

    With ``failures``, a recording that cannot be scored goes there, and the others go on.
    """
    return score_recordings(
        {r.name: r.label_path for r in recordings if r.label_path is not None},
        {r.name: system.files[r.name] for r in recordings},
        allow_large=True,
        progress=progress,
        failures=failures,
    )


def set_note(recordings: Sequence[Recording], systems: Sequence[PredictionSet]) -> str:
    """The line under a figure over several recordings."""
    count = f"{len(recordings)} recording{'s' * (len(recordings) != 1)}"
    splits = sorted({r.split for r in recordings if r.split})
    simulated = any(r.is_simulated for r in recordings)
    stand_in = any(system.is_stand_in for system in systems)
    head = f"{count} of {', '.join(splits)}" if splits else count
    return " · ".join([head, "metric of 2026-06-30", *made_up(simulated, stand_in)])


def write_gallery(data: bytes, path: Path) -> None:
    """Write the bytes of a gallery."""
    with atomic_write(path) as stream:
        stream.write(data)


def _page(
    chosen: ClassExamples, system: PredictionSet, materials: Sequence[Material], options: PanelOptions
) -> PanelPage:
    rows = [_row(example, material, options) for example, material in zip(chosen.examples, materials, strict=True)]
    places = [
        f"({n + 1}) {e.kind}: {material.place}, frame {e.frame}, soft IoU {e.soft_iou:.3f}"
        for n, (e, material) in enumerate(zip(chosen.examples, materials, strict=True))
    ]
    heading = (
        f"{class_name(chosen.category_id)} · {system.title} · {chosen.n_labels} labels, {chosen.n_detections} "
        f"detections, {chosen.n_overlapping} overlapping pairs"
    )
    notes = score_note(options.min_score) + made_up(
        any(m.recording.is_simulated for m in materials), system.is_stand_in
    )
    return PanelPage(tuple(rows), heading, " · ".join([*places, *notes]))


def _row(example: Example, material: Material, options: PanelOptions) -> PanelRow:
    predictions: AnnotationTable | None = material.tables[0]
    return PanelRow(
        f"{example.kind} {example.soft_iou:.2f}",
        material.picture(example.frame),
        side_of(material.labels, example.frame, mode=options.mode, focus=example.label_row),
        side_of(
            predictions,
            example.frame,
            mode=options.mode,
            focus=example.prediction_row,
            min_score=options.min_score,
        ),
    )


def _zipped(
    pages: Iterator[PanelPage],
    classes: Sequence[ClassExamples],
    file_format: FigureFormat,
    options: PanelOptions,
    style: PaperStyle,
) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for chosen, page in zip(classes, pages, strict=True):
            data = _page_bytes(page, file_format, options, style)
            name = "".join(c if c.isalnum() else "_" for c in class_name(chosen.category_id).lower())
            entry = zipfile.ZipInfo(f"{chosen.category_id:02d}_{name}.{file_format}", _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, compresslevel=6)
    return stream.getvalue()

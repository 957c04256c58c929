"""Figures of the bench against those of the plain way: export, write, read, evaluate."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sai_core.annotations import write_submission_json
from sai_core.annotations.dcase import DcaseMetadata
from sai_core.detections.raw import open_raw
from sai_core.errors import CancelledError, InputError
from sai_core.metrics import Evaluation, RecordingScores, evaluate, merge
from sai_core.metrics.evaluation.discovery import find_labels
from sai_core.postprocess import PipelineSettings, choose_best_classes, list_systems, run_prepared
from sai_core.tuning import TuningRecording, TuningSet, detections_in_range, find_raw_sets, open_raw_set
from tests.tuning.stand_in import labels_of, write_raw


def _open(root: Path, **options: Any) -> TuningSet:
    [one] = find_raw_sets([root / "predictions"])
    return open_raw_set(one.stores, find_labels(root / "labels_dev"), **options)


@pytest.fixture(scope="module")
def bench(stand_in_root: Path) -> TuningSet:
    return _open(stand_in_root)


@pytest.fixture(scope="module")
def teacher() -> DcaseMetadata:
    """What a stand-in teacher says of the first recording: near the labels' first points, sometimes another class."""
    rng = np.random.default_rng(5)
    labels = labels_of(40, seed=0, recording="fold4_room23_mix001")
    n = len(labels)
    first = labels.points_xy[labels.point_offsets[labels.polygon_offsets[:-1]]]
    category = np.where(rng.random(n) < 0.8, labels.category_id, rng.integers(0, 13, n))
    return DcaseMetadata(
        labels.frame,
        category.astype(np.int16),
        labels.instance_id,
        180.0 - first[:, 0] + rng.normal(0, 5, n),
        np.clip(90.0 - first[:, 1], -90, 90),
        labels.distance_cm,
    )


def plain(tuning_set: TuningSet, settings: PipelineSettings, folder: Path, root: Path) -> Evaluation:
    """Figures of written submission files, by the evaluator."""
    chosen = choose_best_classes([r.prepared for r in tuning_set.recordings], settings)
    files: dict[str, Any] = {}
    for recording in tuning_set.recordings:
        files[recording.name] = folder / f"{recording.name}.json"
        write_submission_json(run_prepared(recording.prepared, chosen), files[recording.name])
    return evaluate(find_labels(root / "labels_dev"), files)


def assert_same(ours: Evaluation, plain: Evaluation) -> None:
    """To the last bit, counts and all."""
    rows = [(*e.per_class, e.macro, e.micro) for e in (ours, plain)]
    for mine, theirs in zip(*rows, strict=True):
        for name, value in vars(theirs).items():
            np.testing.assert_equal(getattr(mine, name), value, err_msg=f"{theirs.name} {name}")


SETTINGS: dict[str, dict[str, Any]] = {
    "official": {},
    "low": {"min_score": 0.05},
    "high": {"min_score": 0.6},
    "per class": {"min_score_per_class": {0: 0.6, 1: 0.1, 8: 0.9}},
    "nothing": {"min_score": 1.0},
    "nms": {"nms_iou": 0.6, "max_per_class": 5},
    "plane": {"wrap_seam": False},
    "coasting": {"max_age": 12, "coast_decay": 0.7, "min_hits": 1},
    "no coasting": {"max_age": 0, "min_hits": 1},
    "gating": {"min_hits": 4, "min_mean_score": 0.4, "min_length": 6},
    "points": {"top_k": 8, "min_energy": 0.5},
    "region": {"export": "region"},
    "hull": {"export": "hull", "top_k": 200},
    "votes": {"export": "region", "vote_iou": 0.3, "vote_frames": 3},
    "objectness": {"ranking": "objectness"},
    "router": {"router_weight": 0.5},
    "best": {"keep_classes": "best", "best_classes": 2},
    "chosen classes": {"keep_classes": (0, 1)},
    "ties": {"tie_break": "energy", "tie_decimals": 1},
    "coverage": {"min_score": 0.8, "min_coverage": 0.3},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_figures_are_those_of_written_files(bench: TuningSet, stand_in_root: Path, tmp_path: Path, name: str) -> None:
    settings = PipelineSettings(**SETTINGS[name])
    result = bench.evaluate(settings)
    assert_same(result.evaluation, plain(bench, settings, tmp_path, stand_in_root))
    if name == "official":
        assert result.evaluation.macro.mean_ap > 0.05, "the stand-in must have something to lose"


def test_figures_with_a_teacher(stand_in_root: Path, tmp_path: Path, teacher: DcaseMetadata) -> None:
    one = _open(stand_in_root, recordings=["fold4_room23_mix001"]).recordings[0]
    tuned = TuningSet([TuningRecording(one.prepared.raw, one.labels, teacher=teacher)])
    seen = set()
    variants: tuple[dict[str, Any], ...] = (
        {"teacher_radius_deg": 20.0, "teacher_rerank": 0.5},
        {"teacher_radius_deg": 60.0, "teacher_rerank": 0.5, "min_score": 0.1},
        {"teacher_radius_deg": 60.0, "teacher_replace_label": False, "teacher_count_prior": True},
    )
    for changes in variants:
        settings = PipelineSettings(**changes)
        result = tuned.evaluate(settings).evaluation
        assert_same(result, plain(tuned, settings, tmp_path, stand_in_root))
        seen.add(result.micro.n_detections)
    assert len(seen) == 3


@pytest.mark.slow
def test_every_named_system(stand_in_root: Path, tmp_path: Path, teacher: DcaseMetadata) -> None:
    one = _open(stand_in_root, recordings=["fold4_room23_mix001"]).recordings[0]
    tuned = TuningSet([TuningRecording(one.prepared.raw, one.labels, teacher=teacher)])
    for system in list_systems():
        if system.settings.export == "field":  # this network's raw detections have none, nor did anybody listen
            with pytest.raises(InputError, match="predict again with"):
                tuned.evaluate(system.settings)
            continue
        assert_same(tuned.evaluate(system.settings).evaluation, plain(tuned, system.settings, tmp_path, stand_in_root))


def test_a_region_is_rendered_once(stand_in_root: Path) -> None:
    tuned = _open(stand_in_root)
    tuned.evaluate(PipelineSettings(min_score=0.2))
    rendered = [r.n_rendered for r in tuned.recordings]
    assert sum(rendered) > 0
    variants: tuple[dict[str, Any], ...] = ({"min_score": 0.4}, {"min_hits": 3, "min_score": 0.2}, {"nms_iou": 0.2})
    for changes in variants:
        tuned.evaluate(PipelineSettings(**changes))
        now = [r.n_rendered for r in tuned.recordings]
        # other tracks may coast into other labels; what was rendered stays
        assert all(after >= before for after, before in zip(now, rendered, strict=True))
        assert sum(now) <= 1.1 * sum(rendered)
    assert sum(rendered) < sum(len(r.prepared.raw) for r in tuned.recordings) / 2, "only what can be a hit is rendered"


def test_the_memory_limit_holds_and_changes_nothing(stand_in_root: Path, bench: TuningSet) -> None:
    small = _open(stand_in_root, memory_bytes=3_000)
    for settings in (
        PipelineSettings(),
        PipelineSettings(top_k=10),
        PipelineSettings(min_score=0.1),
        PipelineSettings(),
    ):
        assert_same(small.evaluate(settings).evaluation, bench.evaluate(settings).evaluation)
        assert all(r.n_rendered == 0 for r in small.recordings)
    assert small.nbytes < bench.nbytes


def test_an_evaluation_can_be_cancelled(bench: TuningSet) -> None:
    def stop(fraction: float, message: str) -> None:
        raise CancelledError("enough")

    with pytest.raises(CancelledError):
        bench.evaluate(PipelineSettings(min_score=0.22), progress=stop)
    assert bench.evaluate(PipelineSettings(min_score=0.22)).n_detections > 0


def test_frames_of_a_recording(bench: TuningSet) -> None:
    recording = bench.recordings[0]
    settings = PipelineSettings()
    whole = recording.table(settings)
    table, rows = recording.frame_table(settings, 30)
    part = whole.frame_slice(30)
    assert len(table) == part.stop - part.start == len(rows) > 0
    assert np.array_equal(table.score, whole.score[part])
    assert np.array_equal(table.points(0)[0], whole.points(part.start)[0])


def test_halves_of_a_recording_add_up(bench: TuningSet) -> None:
    scores = bench.recordings[0].scores(PipelineSettings())
    first, second = detections_in_range(scores, 0, 15), detections_in_range(scores, 15, 40)
    assert np.array_equal(first.n_labels + second.n_labels, scores.n_labels)
    assert np.array_equal(first.n_detections + second.n_detections, scores.n_detections)
    assert len(first.pair_frame) + len(second.pair_frame) == len(scores.pair_frame)
    assert first.detection_frame.max() < 15 <= second.detection_frame.min()
    assert isinstance(first, RecordingScores)
    assert math.isfinite(merge([first]).macro.mean_ap)


def test_empty_recordings(tmp_path: Path) -> None:
    labels = labels_of(5, seed=1, n_sources=1)
    none = labels.take(np.zeros(len(labels), dtype=bool))
    raw = write_raw(tmp_path / "some", labels, 5, per_frame=4)
    nothing = write_raw(tmp_path / "none", labels, 5, per_frame=0)
    assert len(nothing) == 0
    assert math.isnan(TuningSet([TuningRecording(raw, none)]).evaluate(PipelineSettings()).evaluation.macro.mean_ap)
    assert TuningSet([TuningRecording(nothing, labels)]).evaluate(PipelineSettings()).evaluation.macro.mean_ap == 0.0


def test_user_mistakes_are_one_sentence(bench: TuningSet, stand_in_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recording to tune"):
        TuningSet([])
    with pytest.raises(InputError, match="twice"):
        TuningSet([bench.recordings[0], bench.recordings[0]])
    with pytest.raises(InputError, match="not in the set"):
        bench.recording("nobody")
    with pytest.raises(InputError, match="No recording has both"):
        open_raw_set({"a": tmp_path}, {"b": tmp_path})
    labels = find_labels(stand_in_root / "labels_dev")
    name = next(iter(labels))
    with pytest.raises(InputError, match="not a finished store"):
        open_raw_set({name: tmp_path}, labels)
    with pytest.raises(InputError, match="teacher"):
        bench.evaluate(PipelineSettings(teacher_radius_deg=10.0))
    with pytest.raises(InputError, match=r"holds no .*\.csv"):
        _open(stand_in_root, teacher_folder=tmp_path)


def test_stores_are_found(stand_in_root: Path, tmp_path: Path) -> None:
    [one] = find_raw_sets([stand_in_root / "predictions", tmp_path / "absent"])
    assert one.name == "stand-in-raw"
    assert list(one.stores) == [f"fold4_room{k}_mix001" for k in (23, 24, 25)]
    # the folder itself, its raw folder, and both together once
    base = stand_in_root / "predictions" / "stand-in-raw"
    for folders in ([base], [base / "raw"], [base, base / "raw"]):
        assert [s.name for s in find_raw_sets(folders)] == ["stand-in-raw"]
    assert find_raw_sets([tmp_path]) == []
    # the newer of two stores of a recording
    labels = labels_of(5, seed=1, n_sources=1)
    write_raw(tmp_path / "raw", labels, 5, seed=1)
    newer = write_raw(tmp_path / "raw", labels, 5, seed=2)
    [found] = find_raw_sets([tmp_path])
    opened = open_raw(found.stores[labels.recording])
    assert opened is not None
    assert opened.key == newer.key
    # an unfinished one is none
    (found.stores[labels.recording] / "store.json").unlink()
    [found] = find_raw_sets([tmp_path])
    assert found.stores[labels.recording].name != f"{labels.recording}.{newer.key}"


def test_inputs_are_not_changed(bench: TuningSet, stand_in_root: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in stand_in_root.rglob("*")}
    bench.evaluate(replace(PipelineSettings(), min_score=0.31))
    assert {p: p.stat().st_mtime_ns for p in stand_in_root.rglob("*")} == before

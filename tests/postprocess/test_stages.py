"""The pipeline's stages on raw detections: what each setting promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.annotations import DcaseMetadata, read_annotations, write_submission_json
from sai_core.errors import InputError
from sai_core.geometry import great_circle_deg
from sai_core.postprocess import (
    PipelineSettings,
    annotate,
    candidates,
    choose_best_classes,
    prepare,
    regions_of,
    run_pipeline,
    run_prepared,
    select_tracks,
)
from sai_core.postprocess.classes import most_reliable, route_classes
from sai_core.postprocess.teacher import match_teacher, rerank, teacher_counts
from sai_core.settings import describe
from tests.annotations.helpers import assert_same
from tests.postprocess.raws import make_raw, make_teacher

seeds = st.integers(0, 2**16)
EVERYTHING = PipelineSettings(min_score=0.0, min_hits=1, max_per_class=100, nms_iou=1.0)


def _chosen(seed: int, s: PipelineSettings, *, share: float = 0.5) -> tuple[set[int], np.ndarray]:
    raw = make_raw(seed, n_frames=12)
    c = candidates(prepare(raw, teacher=make_teacher(raw, seed, share=share)), s)
    tracks = select_tracks(c, s)
    return set(tracks.detection[~tracks.coasting].tolist()), c.detections.category_id[tracks.detection]


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0, 1), st.floats(0, 1), st.sampled_from([0.0, 0.1]))
def test_a_higher_threshold_keeps_no_candidate_that_a_lower_one_drops(
    seed: int, a: float, b: float, coverage: float
) -> None:
    s = replace(EVERYTHING, min_coverage=coverage)
    low, _ = _chosen(seed, replace(s, min_score=min(a, b)))
    high, _ = _chosen(seed, replace(s, min_score=max(a, b)))
    assert high <= low


@pytest.mark.parametrize("export", ["top_k", "region", "hull"])
def test_exported_and_read_again_is_the_same_table(export, tmp_path):
    raw = make_raw(3)
    s = PipelineSettings(export=export, min_score=0.1, min_energy=0.3, tie_break="energy")
    table = run_prepared(prepare(raw), s)
    assert len(table) > 50
    write_submission_json(table, tmp_path / "made_up.json")
    assert_same(read_annotations(tmp_path / "made_up.json"), table)


def test_stages_one_by_one_are_the_whole_and_regions_depend_on_nothing_else():
    raw = make_raw(5)
    s = PipelineSettings(export="region", min_score=0.3)
    c = candidates(prepare(raw), s)
    everything = regions_of(c, np.arange(len(c)), s)
    for score in (0.1, 0.5):
        t = replace(s, min_score=score)
        one_by_one = annotate(c, select_tracks(c, t), everything, recording=raw.recording, settings=t)
        assert_same(one_by_one, run_prepared(prepare(raw), t))
    with pytest.raises(InputError, match="regions of some tracks are missing"):
        annotate(c, select_tracks(c, s), regions_of(c, np.arange(3), s), recording="r", settings=s)


def test_plain_detections_take_the_same_way():
    raw = make_raw(1)
    s = PipelineSettings()
    detections = candidates(prepare(raw), s).detections
    plain = run_pipeline(detections, recording=raw.recording, n_frames=raw.n_frames, settings=s)
    assert_same(plain, run_prepared(prepare(raw), s))
    with pytest.raises(InputError, match="needs a teacher"):
        run_pipeline(detections, recording="r", n_frames=40, settings=replace(s, teacher_count_prior=True))


def test_objectness_is_the_score_and_the_class_score_still_asks():
    raw = make_raw(2)
    s = replace(EVERYTHING, ranking="objectness", min_class_score=0.4)
    c = candidates(prepare(raw), s)
    np.testing.assert_array_equal(c.detections.score, raw.objectness)
    np.testing.assert_array_equal(c.detections.category_id, raw.category_id)
    kept = select_tracks(c, s).detection
    own = raw.class_scores[np.arange(len(raw)), raw.category_id]
    assert set(kept.tolist()) == set(np.flatnonzero(own >= np.float32(0.4)).tolist())


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_the_teachers_match_is_the_nearest_of_the_frame(seed: int) -> None:
    raw = make_raw(seed, n_frames=6)
    teacher = make_teacher(raw, seed, share=0.3)
    facts = prepare(raw).facts
    match = match_teacher(raw.frame, facts.peak_azimuth_deg, facts.peak_elevation_deg, teacher)
    for row in range(len(raw)):
        there = teacher.rows(int(raw.frame[row]))
        if not len(there):
            assert match.category_id[row] == -1
            assert np.isinf(match.angle_deg[row])
            continue
        angles = great_circle_deg(
            facts.peak_azimuth_deg[row],
            facts.peak_elevation_deg[row],
            teacher.azimuth_deg[there],
            teacher.elevation_deg[there],
        )
        assert match.angle_deg[row] == angles.min()
        assert match.category_id[row] == teacher.category_id[there[int(angles.argmin())]]


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(0, 2))
def test_the_count_prior_is_never_exceeded(seed: int, slack: int) -> None:
    raw = make_raw(seed, n_frames=12)
    teacher = make_teacher(raw, seed)
    s = replace(EVERYTHING, teacher_radius_deg=20, teacher_count_prior=True, teacher_count_slack=slack)
    table = run_prepared(prepare(raw, teacher=teacher), s)
    found = np.zeros((12, 13), dtype=int)
    np.add.at(found, (table.frame, table.category_id), 1)
    assert (found <= teacher_counts(teacher, n_frames=12) + slack).all()


def test_a_reliable_match_gives_label_and_rank_and_keeps_the_region():
    raw = make_raw(4)
    teacher = make_teacher(raw)
    s = PipelineSettings(teacher_radius_deg=15, teacher_rerank=0.5)
    prepared = prepare(raw, teacher=teacher)
    c = candidates(prepared, s)
    matched = prepared.teacher_match.angle_deg <= 15
    assert 20 < matched.sum() < len(raw) - 20
    np.testing.assert_array_equal(c.detections.category_id[matched], prepared.teacher_match.category_id[matched])
    np.testing.assert_array_equal(c.detections.category_id[~matched], raw.category_id[~matched])
    assert c.detections.score[matched].min() >= 0.5 > c.detections.score[~matched].max()
    assert c.detections.energy is raw.energy
    kept = candidates(prepared, replace(s, teacher_replace_label=False)).detections.category_id
    np.testing.assert_array_equal(kept, raw.category_id)
    score: np.ndarray = np.array([0.2, 0.6, 0.2, 0.6], dtype=np.float32)
    np.testing.assert_allclose(
        rerank(score, np.array([True, True, False, False]), weight=0.5), [0.6, 0.8, 0.1, 0.3], rtol=0, atol=1e-6
    )


def test_silent_teachers_and_missing_ones():
    raw = make_raw(0)
    silent = DcaseMetadata(*[np.zeros(0)] * 6)  # type: ignore[arg-type]
    s = PipelineSettings(teacher_radius_deg=20, teacher_count_prior=True)
    assert len(run_prepared(prepare(raw, teacher=silent), s)) == 0
    with pytest.raises(InputError, match="made_up: this system needs a teacher"):
        run_prepared(prepare(raw), s)
    with pytest.raises(InputError, match="teacher_radius_deg above 0"):
        run_prepared(prepare(raw), PipelineSettings(keep_classes="best", reliability="teacher"))


def test_ties_are_broken_by_energy_and_others_never_change_places():
    raw = make_raw(6)
    coarse = replace(raw, class_scores=np.round(raw.class_scores, 1))
    s = replace(EVERYTHING, min_score=0.1, max_age=0)
    by_energy = replace(s, tie_break="energy")
    c = candidates(prepare(coarse), s)
    plain, broken = select_tracks(c, s), select_tracks(c, by_energy)
    assert sorted(broken.detection.tolist()) == sorted(plain.detection.tolist())
    before = c.detections.score[broken.detection].astype(np.float64)
    assert (broken.score <= before + 1e-7).all()
    assert np.abs(broken.score - before).max() < 1.1e-6
    strength = c.facts.mean_energy[broken.detection]
    order = np.lexsort((strength, np.round(before, 6)))
    assert np.all(np.diff(broken.score[order]) >= 0)
    assert len(np.unique(broken.score)) > 10 * len(np.unique(before))
    table = run_prepared(prepare(coarse), by_energy)
    np.testing.assert_allclose(table.score, broken.score, rtol=0, atol=5.1e-10)


def test_kept_classes_by_list_by_recording_and_by_set():
    first, second = make_raw(1, recording="a"), make_raw(2, recording="b")
    s = replace(EVERYTHING, keep_classes=(0, 3, 7))
    assert set(run_prepared(prepare(first), s).category_id.tolist()) <= {0, 3, 7}
    best = replace(EVERYTHING, keep_classes="best", best_classes=1)
    alone = {int(c) for c in run_prepared(prepare(first), best).category_id}
    assert len(alone) == 1
    chosen = choose_best_classes([prepare(first), prepare(second)], best).keep_classes
    assert isinstance(chosen, tuple)
    assert len(chosen) == 1
    assert choose_best_classes([prepare(first)], best).keep_classes == tuple(alone)
    assert choose_best_classes([], EVERYTHING) is EVERYTHING
    # three lucky detections do not beat a hundred good ones, and a class without any is never chosen
    total, count = np.zeros(13), np.zeros(13, dtype=np.int64)
    total[[2, 5]], count[[2, 5]] = [3.0, 70.0], [3, 100]
    assert most_reliable(total, count, count=1) == (5,)
    assert most_reliable(total, count, count=13) == (2, 5)


def test_coverage_lowers_thresholds_to_its_floor_only():
    raw = make_raw(8, n_frames=60)
    strict = replace(EVERYTHING, min_score=0.9)
    few = select_tracks(candidates(prepare(raw), strict), strict)
    wide = replace(strict, min_coverage=0.2, coverage_floor=0.3)
    c = candidates(prepare(raw), wide)
    more = select_tracks(c, wide)
    assert len(more) > len(few)
    seen = ~more.coasting
    assert more.score[seen].min() >= 0.3
    for class_id in range(13):
        of_class = (raw.category_id == class_id) & (c.detections.score >= 0.3)
        reachable = len(np.unique(raw.frame[of_class]))
        covered = len(np.unique(more.frame[seen][c.detections.category_id[more.detection[seen]] == class_id]))
        assert covered >= min(reachable, 12)


def test_the_router_pools_the_frames_around():
    frame: np.ndarray = np.array([0, 1, 1, 9])
    scores = np.full((4, 13), 0.01)
    scores[0, 3], scores[1, 3], scores[2, 4], scores[2, 3], scores[3, 4] = 0.9, 0.9, 0.5, 0.4, 0.5
    ones = np.ones(4)
    assert route_classes(frame, scores, ones, n_frames=10, weight=0.0, n_neighbours=5).tolist() == [3, 3, 4, 4]
    assert route_classes(frame, scores, ones, n_frames=10, weight=0.5, n_neighbours=1).tolist() == [3, 3, 3, 4]
    assert route_classes(frame, scores, ones, n_frames=10, weight=1.0, n_neighbours=9).tolist() == [3, 3, 3, 3]


def test_settings_are_checked_by_name_and_described():
    for values, text in (
        ({"min_score": 1.5}, "min_score is 1.5; a number from 0 to 1"),
        ({"top_k": 2.5}, "top_k is 2.5; a whole number from 0 to 784"),
        ({"top_k": True}, "top_k is True"),
        ({"wrap_seam": 1}, "wrap_seam is 1; true or false"),
        ({"ranking": "x"}, "ranking is 'x'; choose class or objectness"),
        ({"min_score_per_class": {"13": 0.1}}, "min_score_per_class: a name is '13'; a whole number from 0 to 12"),
        ({"min_score_per_class": {0: 2}}, "min_score_per_class of 0 is 2; a number from 0 to 1"),
        ({"keep_classes": "some"}, "keep_classes is 'some'"),
        ({"keep_classes": [0, 14]}, "keep_classes: an entry is 14; a whole number from 0 to 12"),
        ({"nms": 0.1}, "nms: there is no such setting"),
        ({"min_score": float("nan")}, "min_score is nan"),
    ):
        with pytest.raises(InputError) as error:
            PipelineSettings.from_dict(values)
        assert text in str(error.value)
    s = PipelineSettings(min_score_per_class={3: 0.2, 1: 0.1}, keep_classes=(5, 2))
    assert PipelineSettings.from_dict(s.to_dict()) == s
    assert hash(s.part("candidates", "select", "export"))
    described = describe(PipelineSettings)
    assert {d.group for d in described} == {"candidates", "select", "export"}
    assert sum(len(s.part(p)) for p in ("candidates", "select", "export")) == len(described)
    for d in described:
        assert len(d.help) > 10


def test_nothing_in_nothing_out():
    raw = make_raw(0, n_frames=3, n_boxes=0)
    for export in ("top_k", "region", "hull"):
        s = PipelineSettings(export=export, tie_break="energy", router_weight=0.5, min_coverage=0.1)
        assert len(run_prepared(prepare(raw), s)) == 0

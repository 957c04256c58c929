"""Regions of a field are those of a label of that field, as the evaluator sees them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.detections.raw import RawWriter, open_raw
from sai_core.errors import InputError
from sai_core.labelling.regions import official_regions, standardise
from sai_core.metrics.official.rendering_0630 import render_map_0630
from sai_core.postprocess import PipelineSettings, System, prepare, run_prepared
from sai_core.postprocess.facts import centre_directions
from sai_core.postprocess.field_regions import field_regions, field_strength
from sai_core.postprocess.pipeline import candidates, select_tracks
from tests.labelling.test_differentiable import a_field
from tests.postprocess.raws import make_raw


def seen(offsets: np.ndarray, points: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """What the evaluator sees of one region."""
    return np.asarray(render_map_0630(points, energy, polygon_offsets=offsets))


@given(st.integers(0, 2**20), st.floats(-180, 179.9), st.floats(-75, 75))
@settings(max_examples=40, deadline=None)
def test_a_true_field_gives_the_label_s_own_region(seed: int, azimuth: float, elevation: float) -> None:
    field = a_field(seed)
    parts = official_regions(field, azimuth, elevation)
    formed, regions = field_regions(
        np.log(np.maximum(field, 1e-9))[None], np.zeros(1, int), np.array([azimuth]), np.array([elevation])
    )
    n_pixels = sum(len(amplitude) for _, amplitude in parts)
    if not len(formed):
        # a region that lies between the evaluator's pixels is the detector's to write
        assert n_pixels < 40
        return
    pixels = np.concatenate([pixels for pixels, _ in parts]).astype(np.float64)
    offsets = np.concatenate([[0], np.cumsum([len(amplitude) for _, amplitude in parts])])
    label = seen(offsets, pixels, standardise(np.concatenate([amplitude for _, amplitude in parts])))
    ours = seen(regions.point_offsets, regions.points_xy, regions.energy)
    overlap = np.minimum(label, ours).sum() / np.maximum(label, ours).sum()
    assert overlap > (0.93 if n_pixels > 400 else 0.5)


def test_a_store_keeps_the_field_and_the_export_needs_it(tmp_path: Path) -> None:
    raw = make_raw(1, n_frames=6)
    field = np.log(np.stack([a_field(k) for k in range(6)]) + 1e-5).astype(np.float16)
    writer = RawWriter(tmp_path / "a", recording="made_up", key="k", n_frames=6)
    names = ("frame", "boxes_xyxy", "class_scores", "objectness", "category_id", "energy", "distance_cm", "embedding")
    for first in (0, 4):
        rows = (raw.frame >= first) & (raw.frame < first + 4)
        block = {name: getattr(raw, name)[rows] for name in names}
        writer.write(
            first, {**block, "full_energy": raw.full_energy[first : first + 4], "field": field[first : first + 4]}
        )
    kept = writer.finish()
    np.testing.assert_array_equal(kept.field, field)
    again = open_raw(tmp_path / "a", key="k")
    assert again is not None
    np.testing.assert_array_equal(again.field, field)

    by_field = PipelineSettings(export="field", min_score=0.1, vote_iou=0.4, vote_frames=2)
    one, other = (run_prepared(prepare(r), s) for r, s in ((kept, by_field), (raw, replace(by_field, export="region"))))
    # what is found is the same, what is written of it is not
    np.testing.assert_array_equal(one.frame, other.frame)
    np.testing.assert_array_equal(one.score, other.score)
    assert len(one.energy) != len(other.energy)
    for table in (one, other):
        assert len(table) == len(table.frame) > 0
        assert (np.diff(table.polygon_offsets) > 0).all()
    # silence: the detector's own map is what there is
    silent = replace(kept, field=np.full_like(field, np.log(1e-5)))
    table = run_prepared(prepare(silent), by_field)
    np.testing.assert_array_equal(table.points_xy, other.points_xy)
    np.testing.assert_array_equal(table.energy, other.energy)
    assert table.notes.sentences()[0].startswith(f"the field is too weak for a region of {len(table)} of {len(table)} ")
    # and where that is so in a part of the frames alone, it is counted
    half = np.where(np.arange(6)[:, None] < 3, field, np.float16(np.log(1e-5)))
    ready, unvoted = prepare(replace(kept, field=half)), replace(by_field, vote_iou=1.0)
    chosen_from = candidates(ready, unvoted)
    shown = select_tracks(chosen_from, unvoted).detection
    azimuth, elevation = centre_directions(chosen_from.detections.boxes_xyxy[shown])
    places, _ = field_regions(half, chosen_from.detections.frame[shown], azimuth, elevation)
    n = len(shown) - len(places)
    assert 0 < n < len(shown)
    assert run_prepared(ready, unvoted).notes.sentences() == (
        f"the field is too weak for a region of {n} of {len(shown)} annotations; "
        "they have the detector's own energies.",
    )
    assert not other.notes.sentences()
    with pytest.raises(InputError, match="needs raw detections with a field"):
        run_prepared(prepare(replace(raw, field=field[:0])), by_field)

    (tmp_path / "a" / "field.npy").write_bytes(b"x")
    assert open_raw(tmp_path / "a") is None
    with pytest.raises(InputError, match="field needs 484 values"):
        replace(kept, field=field[:3])


@given(st.integers(0, 2**20), st.floats(-180, 179.9), st.floats(-60, 60))
@settings(max_examples=30, deadline=None)
def test_strength_is_what_a_label_shows_at_most(seed: int, azimuth: float, elevation: float) -> None:
    field = a_field(seed)
    parts = official_regions(field, azimuth, elevation)
    at = np.array([azimuth]), np.array([elevation])
    (strength,) = field_strength(np.log(np.maximum(field, 1e-9))[None], np.zeros(1, int), *at)
    most = max((float(amplitude.max()) for _, amplitude in parts), default=0.0)
    # between lattice points 9 degrees apart, and with angles on the canvas, it may be a little more or less
    assert 0.6 * most - 4e-5 <= strength <= 1.4 * max(most, 4e-5)


def test_the_field_s_strength_counts_in_the_score() -> None:
    raw = make_raw(1, n_frames=6)
    field = np.log(np.stack([a_field(k) for k in range(6)]) + 1e-5).astype(np.float16)
    fielded = replace(raw, field=field)
    plain, weighed = PipelineSettings(), PipelineSettings(field_level=3e-4)
    assert not System(name="plain", settings=plain).needs_field
    assert System(name="weighed", settings=weighed).needs_field
    ready = prepare(fielded)
    before, after = (candidates(ready, s).detections.score for s in (plain, weighed))
    strength = ready.field_strength
    np.testing.assert_allclose(after, before * strength / (strength + 3e-4), rtol=1e-6)
    assert after.dtype == before.dtype
    # of equal scores the one with more to show comes first; a silent frame ends all of its candidates
    silent = field.copy()
    silent[2] = -np.inf
    quiet = candidates(prepare(replace(fielded, field=silent)), weighed).detections
    assert (quiet.score[quiet.frame == 2] == 0).all()
    np.testing.assert_array_equal(quiet.score[quiet.frame != 2], after[quiet.frame != 2])
    # by objectness, too
    routed = replace(weighed, ranking="objectness")
    np.testing.assert_allclose(
        candidates(ready, routed).detections.score, raw.objectness * strength / (strength + 3e-4), rtol=1e-6
    )
    with pytest.raises(InputError, match="field_level needs raw detections with a field"):
        candidates(prepare(replace(raw, field=field[:0])), weighed)

"""What the network saw, drawn: the right boxes, at the right place, also over the seam."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sai_core.detections.raw import RawDetections, RawWriter
from sai_core.drawing import raw_picture
from sai_core.errors import InputError
from sai_core.taxonomy import CLASS_COLORS


@pytest.fixture
def raw(tmp_path: Path) -> RawDetections:
    """Frame 1: a strong box over the seam (class 3), a weak one in the middle (class 8); frame 2: nothing."""
    scores = np.zeros((2, 13))
    scores[0, 3], scores[0, 5], scores[1, 8] = 0.8, 0.1, 0.2
    writer = RawWriter(tmp_path / "raw" / "r.key", recording="r", key="key", n_frames=3)
    writer.write(
        0,
        {
            "frame": np.array([1, 1]),
            "boxes_xyxy": np.array([[340.0, 60, 380, 100], [170, 40, 190, 60]]),
            "class_scores": scores,
            "objectness": np.array([0.3, 0.9]),
            "category_id": np.array([3, 8]),
            "energy": np.ones((2, 28, 28)),
            "distance_cm": np.array([150.0, 300]),
            "embedding": np.zeros((2, 4)),
            "full_energy": np.linspace(0, 1, 3 * 45 * 90).reshape(3, 45, 90),
        },
    )
    return writer.finish()


def test_candidates_are_chosen_by_floor_and_ranking(raw: RawDetections) -> None:
    assert len(raw_picture.frame_candidates(raw, 0)) == 0
    both = raw_picture.frame_candidates(raw, 1)
    np.testing.assert_allclose(both.scores, [0.8, 0.2])
    assert len(raw_picture.frame_candidates(raw, 1, floor=0.5)) == 1
    assert raw_picture.frame_candidates(raw, 1, ranking="objectness").rows.tolist() == [1, 0]
    assert raw_picture.frame_candidates(raw, 1, floor=0.5).n_all == 2
    assert raw_picture.counts_by_frame(raw).tolist() == [0, 2, 0]
    assert raw_picture.strongest_frame(raw) == 1
    with pytest.raises(InputError, match="ranking 'x'"):
        raw_picture.frame_candidates(raw, 1, ranking="x")  # type: ignore[arg-type]


def test_a_box_over_the_seam_is_drawn_on_both_sides(raw: RawDetections) -> None:
    image = raw_picture.draw_candidates(raw, raw_picture.frame_candidates(raw, 1), None)
    assert image.shape == (720, 1440, 3)
    text = CLASS_COLORS[3].lstrip("#")
    colour = np.array([int(text[i : i + 2], 16) for i in (0, 2, 4)])
    lower_edge = 100 * raw_picture.SCALE - 1
    for column in (345 * raw_picture.SCALE, 15 * raw_picture.SCALE):
        np.testing.assert_array_equal(image[lower_edge, column], colour)
    # and the weak one is fainter than its colour, but there
    weak = image[60 * raw_picture.SCALE - 1, 180 * raw_picture.SCALE].astype(int)
    full = np.array([int(CLASS_COLORS[8].lstrip("#")[i : i + 2], 16) for i in (0, 2, 4)])
    assert 0 < np.abs(weak - 24).sum() < np.abs(full - 24).sum()
    background = np.full((180, 360, 3), 200, np.uint8)
    raw_picture.draw_candidates(raw, raw_picture.frame_candidates(raw, 1), background)
    assert (background == 200).all()


def test_maps_and_rows(raw: RawDetections) -> None:
    full = raw_picture.full_map_picture(raw, 2)
    assert full is not None
    assert full.shape == (720, 1440, 3)
    energy = raw_picture.region_energy_picture(raw, raw_picture.frame_candidates(raw, 1))
    # brightest where the strong region is, on both sides of the seam; dark far from any
    assert energy[80 * 4, 5 * 4].sum() > energy[50 * 4, 180 * 4].sum() > energy[150 * 4, 90 * 4].sum()
    rows = raw_picture.candidate_rows(raw, raw_picture.frame_candidates(raw, 1))
    assert rows[0]["class"] == "Telephone"
    assert rows[0]["next class"] == "Domestic 0.10"
    assert abs(abs(int(str(rows[0]["azimuth °"]))) - 180) <= 1
    assert rows[0]["elevation °"] == 10
    assert rows[0]["distance m"] == pytest.approx(1.5)
    assert raw_picture.candidate_rows(raw, raw_picture.frame_candidates(raw, 0)) == []

"""After any composition of transforms a source is where its label says: in the maps, the picture, the targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.detector.spectrum import RoiSpectrum, lattice_pixels
from sai_core.geometry import great_circle_deg, pixel_to_direction
from sai_core.training.augment import Turn, color_jitter, column_span, draw_turns, make_batch, make_targets
from sai_core.training.config import AugmentSettings
from sai_core.training.data import RawBatch, Region
from tests.training.material import blob, columns_from, frame_set, table_of

EVERYTHING = AugmentSettings(shift=True, flip=0.5, masked_bands=2, noise_sigma=0.015)
turns = st.builds(Turn, st.integers(0, 359), st.booleans())
places = st.tuples(st.floats(0, 359.99), st.floats(25, 155))


def _angle(x0: float, y0: float, x1: float, y1: float) -> float:
    return float(great_circle_deg(*pixel_to_direction(x0, y0), *pixel_to_direction(x1, y1)))


def _peak(image: torch.Tensor) -> tuple[float, float]:
    """Middle of the strongest cells (a lattice cell is many pixels, possibly over the seam)."""
    strong = image >= image.max() - 1e-6
    rows, columns = np.nonzero(strong.numpy())
    angle = np.radians(columns + 0.5)
    x = np.degrees(np.angle(np.exp(1j * angle).mean())) % 360
    return float(x), float(rows.mean() + 0.5)


@settings(max_examples=60)
@given(place=places, turn=turns, seed=st.integers(0, 2**31), grid=st.sampled_from(["official", "label"]))
def test_a_source_stays_where_its_label_says(place: tuple[float, float], turn: Turn, seed: int, grid: str) -> None:
    x, y = place
    frames = frame_set([(4, x, y)] * 3, context_frames=1)
    batch = make_batch(
        frames.batch([1]),
        circular=True,
        grid=grid,  # type: ignore[arg-type]
        augment=EVERYTHING,
        rng=np.random.default_rng(seed),
        turns=[turn],
    )
    target = batch.targets[0]
    wanted = float(turn.positions(np.array([x]))[0])

    assert target["labels"].tolist() == [5]
    assert target["distance_units"].tolist() == [0.5]
    own = target["instance_maps"][0]
    label_x, label_y = _peak(own)
    assert _angle(label_x, label_y, wanted, y) < 1.5
    assert torch.equal(target["full_map"], own)

    x0, y0, x1, y1 = target["boxes_deg"][0].tolist()
    assert 0 <= x0 < 360
    assert x0 < x1 <= 450
    assert (wanted - x0) % 360 <= x1 - x0
    assert y0 <= y <= y1
    rows, columns = np.nonzero(own.numpy())
    assert rows.min() == y0
    assert rows.max() + 1 == y1
    assert set(((columns - x0) % 360).astype(int)) <= set(range(int(x1 - x0)))
    assert x1 - x0 == pytest.approx(24, abs=2)  # the box is as wide as the region, on whatever side of the seam

    # the strongest lattice cell of the bands that were left; a cell is at most 7 degrees from its centre
    heard = batch.acoustic[0].sum(dim=0)
    assert _angle(*_peak(heard), wanted, y) < 14
    assert batch.rgb is not None
    bright = batch.rgb[0].sum(dim=0)
    assert _angle(*_peak((bright > 0.5 * bright.max()).float()), wanted, y) < 1.5

    # the sound context turns with the frame: the region hears its own source
    assert batch.context is not None
    point = int(batch.context.power[0, 1].sum(dim=0).argmax())
    column = float(batch.context.columns[0, point])
    assert _angle(column, float(lattice_pixels()[1][point]), wanted, y) < 10


@given(turn=turns)
def test_pixels_positions_and_the_image_move_alike(turn: Turn) -> None:
    columns = np.arange(360)
    moved = turn.pixels(columns)
    assert sorted(moved.tolist()) == columns.tolist()
    assert np.array_equal(columns[turn.source()][moved], columns)
    assert np.allclose((turn.positions(columns + 0.5) - 0.5) % 360, moved)


@given(turn=turns, place=places)
def test_moving_back_gives_the_same_batch(turn: Turn, place: tuple[float, float]) -> None:
    frames = frame_set([(2, *place)])
    raw = frames.batch([0])
    plain = make_batch(raw, circular=True)
    there = make_batch(raw, circular=True, turns=[turn])
    columns = torch.from_numpy(turn.pixels(np.arange(360)))
    assert torch.equal(there.acoustic[..., columns], plain.acoustic)
    assert there.rgb is not None
    assert plain.rgb is not None
    assert torch.equal(there.rgb[..., columns], plain.rgb)
    assert torch.equal(there.targets[0]["full_map"][..., columns], plain.targets[0]["full_map"])


def _raw(x: float, y: float, radius: float = 12.0) -> RawBatch:
    points, energy = blob(x, y, radius)
    region = Region(3, 7, 0.4, points[:, 0], points[:, 1], energy.astype(np.float32))
    return RawBatch(np.zeros((1, 9, 484), np.float32), None, None, ((region,),))


@given(shift=st.integers(0, 359), flip=st.booleans())
def test_without_a_cylinder_the_seam_splits_a_region_into_two_of_one_instance(shift: int, flip: bool) -> None:
    raw = _raw(100.2, 90.0)
    split = make_targets(raw, [Turn(shift, flip)], circular=False, device="cpu")[0]
    whole = make_targets(raw, [Turn(shift, flip)], circular=True, device="cpu")[0]
    assert torch.equal(split["full_map"], whole["full_map"])
    assert len(whole["boxes_deg"]) == 1
    crosses = whole["boxes_deg"][0, 2] > 360
    assert len(split["boxes_deg"]) == (2 if crosses else 1)
    assert (split["boxes_deg"][:, 2] <= 360).all()
    assert set(split["instance_ids"].tolist()) == {7}
    assert set(split["labels"].tolist()) == {3}
    assert torch.equal(split["instance_maps"].amax(dim=0), whole["instance_maps"][0])
    width = (split["boxes_deg"][:, 2] - split["boxes_deg"][:, 0]).sum()
    assert width == whole["boxes_deg"][0, 2] - whole["boxes_deg"][0, 0]


def test_a_split_part_of_one_pixel_is_left_out() -> None:
    region = Region(1, 1, 0.1, np.array([358, 359, 359, 0]), np.array([5, 5, 6, 5]), np.ones(4, np.float32))
    raw = RawBatch(np.zeros((1, 9, 484), np.float32), None, None, ((region,),))
    target = make_targets(raw, [Turn()], circular=False, device="cpu")[0]
    assert target["boxes_deg"].tolist() == [[358, 5, 360, 7]]


def test_a_region_wider_than_the_roi_stage_reaches_becomes_the_whole_turn() -> None:
    assert make_targets(_raw(350.0, 90.0, 80), [Turn()], circular=True, device="cpu")[0]["boxes_deg"][0].tolist() == [
        270,
        10,
        430,
        170,
    ]
    wide = Region(1, 1, 0.1, np.r_[300:360, 0:200], np.full(260, 9), np.ones(260, np.float32))
    raw = RawBatch(np.zeros((1, 9, 484), np.float32), None, None, ((wide,),))
    assert make_targets(raw, [Turn()], circular=True, device="cpu")[0]["boxes_deg"].tolist() == [[0, 9, 360, 10]]


@pytest.mark.parametrize(
    ("columns", "span"),
    [([5], (5, 6)), ([359, 0], (359, 361)), ([10, 11, 12], (10, 13)), ([0, 180], (0, 181)), (range(360), (0, 360))],
)
def test_column_span(columns: list[int], span: tuple[int, int]) -> None:
    assert column_span(np.array(list(columns))) == span


def test_an_empty_frame_has_empty_targets_of_the_right_shape() -> None:
    raw = RawBatch(np.zeros((1, 9, 484), np.float32), None, None, ((),))
    target = make_targets(raw, [Turn(7, True)], circular=True, device="cpu")[0]
    assert target["boxes_deg"].shape == (0, 4)
    assert target["instance_maps"].shape == (0, 180, 360)
    assert target["full_map"].shape == (180, 360)
    assert not target["full_map"].any()


def test_overlapping_instances_keep_their_own_maps_and_the_full_map_their_maximum() -> None:
    table = table_of("two", [(0, 1, 1, 100.0, 100.0, 90.0), (0, 2, 1, 100.0, 108.0, 92.0)])
    frames = frame_set([(0, 5.0, 90.0)])
    recording = frames.recordings[0]
    both = type(frames)((type(recording)(recording.recording, recording.maps, columns_from(table), recording.rgb),))
    target = make_batch(both.batch([0]), circular=True).targets[0]
    assert torch.equal(target["full_map"], target["instance_maps"].amax(dim=0))
    assert len(set(target["instance_ids"].tolist())) == 2  # one number in two classes is two sources


def test_masked_bands_are_silent_in_the_maps_and_in_the_context() -> None:
    frames = frame_set([(0, 100.0, 90.0)] * 4, context_frames=1)
    seen = set()
    for seed in range(30):
        batch = make_batch(
            frames.batch([1]),
            circular=True,
            augment=AugmentSettings(noise_sigma=0.0),
            rng=np.random.default_rng(seed),
        )
        silent = batch.acoustic[0].flatten(1).amax(dim=1) == 0
        assert batch.context is not None
        assert torch.equal(silent, batch.context.power[0].amax(dim=(0, 2)) == 0)
        seen.add(int(silent.sum()))
    assert seen == {0, 1, 2}


def test_noise_has_its_size_and_leaves_nothing_negative() -> None:
    frames = frame_set([(0, 100.0, 90.0)])
    raw = frames.batch([0])
    lifted = RawBatch(raw.lattice + 1.0, None, None, raw.regions)
    still = AugmentSettings(shift=False, flip=0.0, masked_bands=0)
    sizes = {"absolute": 1.0, "relative": float(lifted.lattice.std()), "peak": float(lifted.lattice.max())}
    for unit, wanted in ((unit, 0.015 * size) for unit, size in sizes.items()):
        settings_ = AugmentSettings(shift=False, flip=0.0, masked_bands=0, noise_unit=unit)  # type: ignore[arg-type]
        noisy = make_batch(lifted, circular=True, augment=settings_, rng=np.random.default_rng(1))
        plain = make_batch(lifted, circular=True)
        assert float((noisy.acoustic - plain.acoustic).std()) == pytest.approx(wanted, rel=0.1)
    silent = RawBatch(np.zeros_like(raw.lattice), None, None, raw.regions)
    noisy = make_batch(silent, circular=True, augment=still, rng=np.random.default_rng(1))
    assert float(noisy.acoustic.min()) == 0.0


def test_turns_are_spread_and_can_be_switched_off() -> None:
    rng = np.random.default_rng(5)
    drawn = draw_turns(2000, AugmentSettings(), rng)
    assert 0.45 < np.mean([t.flip for t in drawn]) < 0.55
    assert len({t.shift for t in drawn}) > 350
    still = draw_turns(50, AugmentSettings(shift=False, flip=0.0), rng)
    assert {(t.shift, t.flip) for t in still} == {(0, False)}


def test_the_same_generator_gives_the_same_batch() -> None:
    frames = frame_set([(0, 100.0, 90.0)] * 3, context_frames=1)
    one, two = (
        make_batch(frames.batch([0, 2]), circular=True, augment=EVERYTHING, rng=np.random.default_rng(9))
        for _ in range(2)
    )
    assert torch.equal(one.acoustic, two.acoustic)
    assert one.rgb is not None
    assert two.rgb is not None
    assert torch.equal(one.rgb, two.rgb)


def test_color_jitter_stays_in_range_and_is_nothing_at_zero() -> None:
    rgb = torch.rand(4, 3, 10, 20)
    none = AugmentSettings(brightness=0.0, contrast=0.0, saturation=0.0)
    assert torch.allclose(color_jitter(rgb, none, np.random.default_rng(1)), rgb, atol=1e-6)
    strong = AugmentSettings(brightness=0.9, contrast=0.9, saturation=0.9)
    out = color_jitter(rgb, strong, np.random.default_rng(1))
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    assert float((out - rgb).abs().mean()) > 0.05
    grey = torch.full((1, 3, 4, 4), 0.5)
    only = AugmentSettings(brightness=0.0, contrast=0.9, saturation=0.9)
    # a grey area has neither contrast nor colour to change
    assert torch.allclose(color_jitter(grey, only, np.random.default_rng(2)), grey, atol=1e-6)


def test_color_jitter_is_pils_with_factors_from_the_generator_alone() -> None:
    rgb = torch.rand(5, 3, 10, 20, generator=torch.Generator().manual_seed(4))
    settings = AugmentSettings(brightness=0.5, contrast=0.8, saturation=0.9)
    before = torch.get_rng_state()
    out = color_jitter(rgb, settings, np.random.default_rng(3)).numpy()
    assert torch.equal(before, torch.get_rng_state())
    rng = np.random.default_rng(3)
    brightness, contrast, saturation = (rng.uniform(1 - r, 1 + r, 5) for r in (0.5, 0.8, 0.9))
    weights = np.array([0.299, 0.587, 0.114])[:, None, None]
    for k, picture in enumerate(rgb.numpy().astype(np.float64)):
        bright = (picture * brightness[k]).clip(0, 1)
        mean = (bright * weights).sum(axis=0).mean()
        contrasted = (mean + contrast[k] * (bright - mean)).clip(0, 1)
        grey = (contrasted * weights).sum(axis=0)
        np.testing.assert_allclose(out[k], (grey + saturation[k] * (contrasted - grey)).clip(0, 1), atol=2e-6)


def test_a_region_hears_its_own_direction() -> None:
    frames = frame_set([(0, 350.0, 80.0)] * 5, context_frames=2)
    batch = make_batch(frames.batch([2]), circular=True, turns=[Turn(30)])
    assert batch.context is not None
    listen = RoiSpectrum(9, 8)
    box = batch.targets[0]["boxes_deg"] * (384 / 360)
    away = box.clone()
    away[:, [0, 2]] -= 192.0
    weights = [listen._weights(b * 360 / 384, batch.context.columns[0]) for b in (box, away)]
    power = batch.context.power[0, 2, 0]
    here, there = (float((w[0] * power).sum()) for w in weights)
    assert here > 50 * there
    assert listen(batch.context, [torch.cat([box, away])]).shape == (2, 8)

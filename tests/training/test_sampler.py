"""Half of every epoch comes from rare classes, and the order depends on nothing but seed and epoch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.training.sampler import RareClassSampler, rare_classes


def _present(counts: list[int], empty: int = 0) -> np.ndarray:
    rows = [np.eye(len(counts), dtype=bool)[c] for c, n in enumerate(counts) for _ in range(n)]
    return np.array(rows + [np.zeros(len(counts), dtype=bool)] * empty)


@pytest.mark.parametrize(
    ("counts", "rare"),
    [([10, 20, 30], [0]), ([5, 5, 50, 60], [0, 1]), ([7, 7, 7], [0]), ([0, 0, 3], [2]), ([0, 0], []), ([0, 4, 9], [1])],
)
def test_rare_classes(counts: list[int], rare: list[int]) -> None:
    assert rare_classes(np.array(counts)).tolist() == rare


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_share_of_draws_from_rare_classes(share: float) -> None:
    present = _present([400, 300, 20, 5], empty=275)
    drawn = RareClassSampler(present, 2000, share, 3).epoch(0)
    assert len(drawn) == 2000
    rare = present[drawn][:, [2, 3]].any(axis=1)
    # the other half holds the 2.5 % that rare frames are of all frames
    assert rare.mean() == pytest.approx(share + (1 - share) * 0.025, abs=0.004)


def test_rare_classes_are_drawn_alike() -> None:
    present = _present([400, 300, 20, 5])
    drawn = RareClassSampler(present, 4000, 1.0, 3).epoch(0)
    counts = present[drawn].sum(axis=0)
    assert counts[0] == counts[1] == 0
    assert counts[2] == pytest.approx(counts[3], rel=0.1)


def test_the_other_half_goes_through_all_frames() -> None:
    present = _present([30, 30, 40])
    drawn = RareClassSampler(present, 100, 0.0, 3).epoch(0)
    assert sorted(drawn.tolist()) == list(range(100))
    longer = RareClassSampler(present, 250, 0.0, 3).epoch(0)
    assert np.bincount(longer, minlength=100).min() == 2
    assert np.bincount(longer, minlength=100).max() == 3


@given(seed=st.integers(0, 1000), epoch=st.integers(0, 100), draws=st.integers(1, 300))
def test_an_epoch_is_a_function_of_seed_and_epoch(seed: int, epoch: int, draws: int) -> None:
    present = _present([40, 30, 2, 9], empty=3)
    one = RareClassSampler(present, draws, 0.5, seed).epoch(epoch)
    # a sampler that has drawn other epochs before, as after a resume
    other = RareClassSampler(present, draws, 0.5, seed)
    other.epoch(epoch + 1)
    assert np.array_equal(one, other.epoch(epoch))
    assert len(one) == draws
    assert one.min() >= 0
    assert one.max() < len(present)


def test_epochs_differ() -> None:
    sampler = RareClassSampler(_present([40, 30, 2]), 60, 0.5, 1)
    assert not np.array_equal(sampler.epoch(0), sampler.epoch(1))


def test_frames_without_any_class_are_no_error() -> None:
    sampler = RareClassSampler(np.zeros((5, 13), dtype=bool), 12, 0.5, 1)
    assert set(sampler.epoch(0).tolist()) == set(range(5))

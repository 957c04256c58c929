"""Regions in torch are those that label code cuts, and have a gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, directions_to_vectors, fibonacci_lattice_deg
from sai_core.labelling.differentiable import region_images
from sai_core.labelling.regions import AMPLITUDE_THRESHOLD, official_regions, standardise


def a_field(seed: int) -> np.ndarray:
    """A few soft blobs, now and then below the threshold of labels."""
    rng = np.random.default_rng(seed)
    lattice = directions_to_vectors(*fibonacci_lattice_deg())
    centres = lattice[rng.integers(len(lattice), size=3)]
    blobs = np.exp((lattice @ centres.T - 1.0) * rng.uniform(5, 60, 3)) * 10.0 ** rng.uniform(-4.8, -2.5, 3)
    return np.asarray(blobs.sum(axis=1) * rng.lognormal(0, 0.3, len(lattice)))


@given(st.integers(0, 2**20), st.floats(-180, 180), st.floats(-90, 90))
@settings(max_examples=40, deadline=None)
def test_a_region_in_torch_is_the_label_s(seed: int, azimuth: float, elevation: float) -> None:
    field = a_field(seed)
    image = region_images(
        torch.from_numpy(field)[None], torch.tensor([azimuth]).double(), torch.tensor([elevation]).double()
    )[0].numpy()
    parts = official_regions(field, azimuth, elevation)
    seen = np.zeros((ERP_HEIGHT, ERP_WIDTH), dtype=bool)
    for pixels, amplitude in parts:
        x, y = pixels[:, 0], pixels[:, 1]
        seen[y, x] = True
        # a filled hole has amplitude 0 in a label and is no region here
        shown = amplitude >= AMPLITUDE_THRESHOLD
        np.testing.assert_allclose(image[y, x][shown], standardise(amplitude[shown]), rtol=1e-9)
        assert (image[y, x][~shown] == 0).all()
    # lone pixels are no region in a label
    assert not (image[~seen] > 0).sum() > 12
    coarse = region_images(
        torch.from_numpy(field)[None], torch.tensor([azimuth]).double(), torch.tensor([elevation]).double(), step=4
    )[0].numpy()
    np.testing.assert_array_equal(coarse, image[::4, ::4])


def test_a_field_is_found_by_its_regions_alone() -> None:
    true = torch.from_numpy(a_field(3))[None]
    peak = int(true.argmax())
    azimuth, elevation = (torch.tensor([angle[peak]]) for angle in fibonacci_lattice_deg())
    target = region_images(true, azimuth, elevation, step=2)
    guess = torch.full_like(true, float(np.log(3e-4))).requires_grad_()
    optimiser = torch.optim.Adam([guess], lr=0.05)
    losses = []
    for _ in range(60):
        loss = (region_images(guess.exp(), azimuth, elevation, step=2) - target).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
    assert float(guess.detach()[0, peak].exp()) == pytest.approx(float(true[0, peak]), rel=0.3)


def test_a_region_that_is_too_small_can_grow() -> None:
    """The cut has no gradient of its own; without one for the edge a loss could only ever make a region smaller."""
    true = torch.full((1, 484), 2e-3, dtype=torch.float64)
    azimuth, elevation = torch.tensor([30.0]), torch.tensor([10.0])
    target = region_images(true, azimuth, elevation, step=2)
    guess = torch.full_like(true, float(np.log(6e-5))).requires_grad_()
    with torch.no_grad():
        before = region_images(guess.exp(), azimuth, elevation, step=2)
    assert 0 < (before > 0).sum() < 0.3 * (target > 0).sum()
    optimiser = torch.optim.Adam([guess], lr=0.05)
    for _ in range(100):
        formed = region_images(guess.exp(), azimuth, elevation, step=2)
        overlap = torch.minimum(formed, target).sum() / torch.maximum(formed, target).sum()
        optimiser.zero_grad()
        (1.0 - overlap).backward()
        optimiser.step()
    assert float(overlap.detach()) > 0.9
    assert (formed > 0).sum() > 0.9 * (target > 0).sum()
    # values are those of the cut, with and without gradients
    with torch.no_grad():
        plain = region_images(guess.exp(), azimuth, elevation, step=2)
    torch.testing.assert_close(region_images(guess.exp(), azimuth, elevation, step=2).detach(), plain, rtol=0, atol=0)

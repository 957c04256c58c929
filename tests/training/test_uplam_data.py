"""Training frames of UpLAM: where the sound is, what the targets say, and that a seed means the same frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sai_core.errors import InputError
from sai_core.geometry import fibonacci_lattice_deg, great_circle_deg
from sai_core.training.uplam import blocks
from sai_core.training.uplam.blocks import cached_block, make_block
from sai_core.training.uplam.scenes import SceneOptions, SceneSampler
from sai_core.training.uplam.targets import TargetMaker
from tests.damage import damage, entries

SMALL = SceneOptions(n_clips=6, clip_s=1.0)
pytestmark = pytest.mark.slow

ONE_CLEAN = SceneOptions(
    n_clips=6,
    clip_s=1.0,
    source_counts=(0.0, 1.0),
    anechoic_share=1.0,
    snr_db=(40.0, 40.0),
    ambient_db=(45.0, 45.0),
    mismatch=(0.0, 0.0),
    active_share=1.0,
)
SETTINGS = {"seed": 3, "number": 0, "n_frames": 12, "frame_scale_share": 0.5, "consensus_share": 0.67}


def test_targets_point_at_a_single_source() -> None:
    sampler = SceneSampler(ONE_CLEAN, (1,))
    batch = sampler.draw(40, np.random.default_rng(5))
    made = TargetMaker(sampler.frequency_hz)(
        torch.from_numpy(batch.spectra), per_frame_scale=torch.zeros(len(batch), dtype=torch.bool)
    )
    loud = np.flatnonzero(batch.direct_power[:, 0] > 1e-3)
    assert len(loud) >= 20
    azimuth, elevation = fibonacci_lattice_deg()
    for maps in (made.maps, made.beams):
        peak = maps.sum(dim=1).argmax(dim=1).numpy()[loud]
        error = great_circle_deg(
            azimuth[peak], elevation[peak], batch.azimuth_deg[loud, 0], batch.elevation_deg[loud, 0]
        )
        # the lattice's own floor is 3.9 degrees in the median, 7 at worst
        assert np.median(error) < 6
        assert np.mean(error < 20) > 0.9


def test_inputs_are_normalised_as_the_features_are() -> None:
    sampler = SceneSampler(SMALL, (1,))
    batch = sampler.draw(16, np.random.default_rng(6))
    spectra = torch.from_numpy(batch.spectra)
    common = torch.arange(16) % 2 == 0
    made = TargetMaker(sampler.frequency_hz)(spectra, per_frame_scale=common)
    largest = torch.linalg.eigvalsh(made.inputs)[..., -1]
    sounding = largest.amax(dim=1) > 0
    torch.testing.assert_close(largest.amax(dim=1)[sounding], torch.ones(int(sounding.sum())), rtol=0, atol=1e-4)
    own = ~common & sounding
    torch.testing.assert_close(largest[own], (largest[own] > 0).float(), rtol=0, atol=1e-4)
    torch.testing.assert_close(made.inputs, made.inputs.mH)
    assert torch.isfinite(made.maps).all()
    assert made.maps.min() >= 0


def test_reconstruction_error_is_that_of_the_matrices() -> None:
    sampler = SceneSampler(ONE_CLEAN, (2,))
    batch = sampler.draw(4, np.random.default_rng(7))
    maker = TargetMaker(sampler.frequency_hz)
    made = maker(torch.from_numpy(batch.spectra), per_frame_scale=torch.zeros(4, dtype=torch.bool))
    latent = made.beams
    told = maker.reconstruction_error(latent, made)
    assert told.min() >= -1e-3
    assert told.max() <= 1 + 1e-6
    # a free scale changes nothing
    torch.testing.assert_close(told, maker.reconstruction_error(3.0 * latent, made), rtol=0, atol=1e-4)


def test_a_seed_is_a_block_and_the_cache_gives_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path))
    made = make_block(SMALL, **SETTINGS)  # type: ignore[arg-type]
    first = cached_block(SMALL, **SETTINGS)  # type: ignore[arg-type]
    monkeypatch.setattr(blocks, "make_block", lambda *a, **k: pytest.fail("the block was not cached"))
    again = cached_block(SMALL, **SETTINGS)  # type: ignore[arg-type]
    for name in ("inputs", "maps", "beams", "energy"):
        np.testing.assert_array_equal(getattr(first, name), getattr(made, name))
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))
    assert len(again) == 12


def test_a_damaged_block_is_drawn_again(monkeypatch, tmp_path: Path, rng: np.random.Generator) -> None:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path))
    made = cached_block(SMALL, **SETTINGS)  # type: ignore[arg-type]
    monkeypatch.setattr(blocks, "make_block", lambda *a, **k: made)
    (entry,) = entries(tmp_path, "uplam-blocks")
    for how in damage(entry, rng):
        again = cached_block(SMALL, **SETTINGS)  # type: ignore[arg-type]
        for name in ("inputs", "maps", "beams", "energy"):
            np.testing.assert_array_equal(getattr(again, name), getattr(made, name), err_msg=how)


def test_other_numbers_are_other_frames() -> None:
    a = make_block(SMALL, **SETTINGS)  # type: ignore[arg-type]
    b = make_block(SMALL, **{**SETTINGS, "number": 1})  # type: ignore[arg-type]
    assert np.abs(a.inputs - b.inputs).max() > 0.1


def test_mistakes_are_told() -> None:
    with pytest.raises(InputError, match="recipe"):
        SceneOptions(recipe="x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="snr_db"):
        SceneOptions(snr_db=(10.0, 0.0))
    with pytest.raises(InputError, match="source_counts"):
        SceneOptions(source_counts=(0.0, 0.0))

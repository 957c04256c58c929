"""From WAV and pictures to the submission: the official inference script's own annotations, and what keeps them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sai_core.acoustics.features import FeatureOptions, MapMaker, extract
from sai_core.acoustics.store import FeatureStore
from sai_core.detections.raw import RawWriter
from sai_core.detector.baseline import OfficialBaseline
from sai_core.inference.networks import BaselineNetwork, NetworkOptions
from tests.benchmarks.end_to_end import compare


@pytest.mark.oracle
@pytest.mark.slow
def test_the_official_script_and_ours_write_the_same(oracle: Path, tmp_path: Path) -> None:
    if not (oracle / "e2e").is_dir():
        pytest.skip("the end-to-end reference is not there")
    # all 60 frames: python -m tests.benchmarks.end_to_end
    found = compare(oracle / "e2e", tmp_path, frames=3)
    assert found.ours == found.official > 50
    # of all 4,012 annotations 4,000; the others are near-ties and last digits that float32 decides
    assert found.paired >= 0.99 * found.official


def test_maps_that_are_stored_in_float32_are_as_they_were_made() -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, (24000, 4)).astype(np.float32)
    store = FeatureStore()
    exact = MapMaker(FeatureOptions(kind="beamformer", dtype="float64", stored="float32"), device="cpu")
    made = extract(audio, maker=exact).lattice.astype(np.float32)
    np.testing.assert_array_equal(store.open_or_make(audio, maker=exact).lattice(), made)
    rounded = MapMaker(FeatureOptions(kind="beamformer", dtype="float64"), device="cpu")
    half = store.open_or_make(audio, maker=rounded)
    # another entry, to eleven bits below each band's largest value
    np.testing.assert_allclose(half.lattice(), made, rtol=0, atol=float(made.max()) * 2.0**-11)
    assert not np.array_equal(half.lattice(), made)
    assert half.key != store.open_or_make(audio, maker=exact).key


def test_energies_of_the_official_network_are_not_rounded() -> None:
    torch.manual_seed(0)
    network = BaselineNetwork(OfficialBaseline().eval(), NetworkOptions(floor=0.0, at_most=3, proposals=20))
    with torch.inference_mode():
        (found,) = network.run(torch.rand(1, 9, 180, 360), torch.rand(1, 3, 180, 360))
    assert len(found) == 3
    assert found.energy.dtype == np.float32
    assert not np.array_equal(found.energy, found.energy.astype(np.float16))


def test_raw_detections_keep_the_precision_of_their_energies(tmp_path: Path) -> None:
    for dtype in (np.float16, np.float32):
        writer = RawWriter(tmp_path / np.dtype(dtype).name, recording="r", key="k", n_frames=1)
        energy = np.random.default_rng(1).random((2, 28, 28)).astype(dtype)
        columns = {
            "frame": np.zeros(2, np.int32),
            "boxes_xyxy": np.tile(np.array([10.0, 20, 40, 60]), (2, 1)),
            "class_scores": np.full((2, 13), 0.05),
            "objectness": np.ones(2),
            "category_id": np.zeros(2),
            "energy": energy,
            "distance_cm": np.full(2, 100.0),
            "embedding": np.zeros((2, 0)),
            "full_energy": np.zeros((1, 0, 0)),
        }
        writer.write(0, columns)
        raw = writer.finish()
        assert raw.energy.dtype == dtype
        np.testing.assert_array_equal(raw.energy, energy)

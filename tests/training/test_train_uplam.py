"""The training verb, end to end at a tiny scale: a run gives weights that the features verb takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sai_core.acoustics.features import extract
from sai_core.acoustics.networks import load_uplam
from sai_core.cli import main
from sai_core.runs import watch

TINY = [
    "data.blocks=1",
    "data.block_frames=64",
    "data.scenes.n_clips=6",
    "data.scenes.clip_s=1.0",
    "validation_frames=64",
    "validate_every=4",
    "stages.0.steps=4",
    "stages.1.steps=4",
    "stages.0.batch=16",
    "stages.1.batch=16",
]


@pytest.mark.slow
def test_a_run_gives_weights_that_make_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    run = tmp_path / "run"
    settings = [item for value in TINY for item in ("--set", value)]
    noted = ["--note", "a first try", "--tag", "paper", "--tag", "small"]
    assert main(["train", "uplam", "--run", str(run), "--quiet", *noted, *settings]) == 0
    assert (watch.look(run).note, watch.look(run).tags) == ("a first try", ("paper", "small"))
    weights = run / "uplam.safetensors"
    model = load_uplam(weights)
    assert not model.config.positive
    audio = tmp_path / "a.wav"
    soundfile.write(audio, np.random.default_rng(1).normal(0, 0.1, (7200, 4)), 24_000)
    maps = extract(audio, weights=weights, device="cpu").lattice
    assert maps.shape == (3, 9, 484)
    assert np.isfinite(maps).all()
    # features go the network's own way: no positive part is taken where the weights were trained without
    matrices = torch.eye(4, dtype=torch.complex64).expand(1, 9, 4, 4)
    with torch.inference_mode():
        torch.testing.assert_close(model(matrices), model.lam(model.upsample(matrices), packed=True, psd="none"))


def test_a_run_that_does_not_begin_leaves_no_folder_with_notes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", "uplam", "--run", str(run), "--note", "x", "--set", "data.blocks=-1"]) == 2
    assert not run.exists()

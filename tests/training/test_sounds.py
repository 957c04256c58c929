"""Sounds before scenes: what is heard, what is learned from it, and where it goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sai_core.acoustics.features import FeatureOptions, MapMaker
from sai_core.checkpoints import read_state_dict
from sai_core.cli import main
from sai_core.detector.config import DetectorConfig
from sai_core.detector.models import SaiDetector
from sai_core.errors import InputError
from sai_core.training import sounds
from sai_core.training.loop import train
from sai_core.training.sounds import Examples, SoundSettings, hear_scene, learn, take_sounds
from tests.training.material import Configure

SHORT = SoundSettings(scenes=2, seconds=3.0, frame_step=3, epochs=2, batch=16, context_frames=4)


def made_up(n: int, rng: np.random.Generator) -> Examples:
    """Three classes, each loud in bands of its own."""
    label = rng.integers(1, 4, n)
    own = 1e-6 * rng.uniform(0.5, 2.0, (n, 9, 9)).astype(np.float32)
    own[np.arange(n), :, 2 * label] *= 100
    return Examples(own, own * np.float32(0.5), label)


@pytest.fixture(scope="module")
def maker() -> MapMaker:
    return MapMaker(FeatureOptions(), weights=None, device="cpu")


def test_a_scene_is_heard_the_same_again_and_sources_are_louder_than_nothing(maker: MapMaker) -> None:
    settings = replace(SHORT, seconds=5.0)
    one, two = hear_scene(1, settings, maker), hear_scene(1, settings, maker)
    for name in ("own", "everywhere", "label"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert one.own.shape == one.everywhere.shape == (len(one), 9, 9)
    assert one.own.dtype == np.float32
    assert (one.own >= 0).all()
    some, none = one.label > 0, one.label == 0
    assert some.any()
    assert none.any()
    # the middle frame is the one of the label
    level = np.log10(one.own[:, 4].sum(axis=-1) / one.everywhere[:, 4].sum(axis=-1))
    assert np.median(level[some]) > np.median(level[none]) + 0.1


def test_classes_are_learned_and_the_seed_decides(rng: np.random.Generator) -> None:
    settings = replace(SHORT, epochs=6)
    taught, held = made_up(600, rng), made_up(200, rng)
    model, scores = learn(taught, settings, held_out=held)
    again, _ = learn(taught, settings, held_out=held)
    assert scores is not None
    assert scores.accuracy > 0.95
    assert np.isnan(scores.per_class[5])
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    with pytest.raises(InputError, match="fewer than one batch"):
        learn(made_up(3, rng), settings)


def test_the_verb_hears_each_scene_once_and_a_detector_takes_it(
    tmp_path: Path,
    tiny_root: Path,
    tiny: Configure,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "sounds"
    values = ("seconds=3", "frame_step=3", "epochs=1", "batch=16", "held_out=0.5")
    words = ["train", "sounds", "--run", str(run), "--scenes", "2", "--quiet"]
    words += [word for value in values for word in ("--set", value)]
    assert main([*words, "--data", str(tiny_root)]) == 0
    assert "heard as their class" in capsys.readouterr().out
    made = run / sounds.SOUNDS_FILE
    heard = read_state_dict(made)
    monkeypatch.setattr(sounds, "hear_scene", lambda *_: pytest.fail("heard again"))
    assert main([*words, "--data", str(tiny_root)]) == 2
    assert "there is a run in this folder already" in capsys.readouterr().err
    assert main(["train", "sounds", "--run", str(run), "--resume", "--quiet"]) == 0
    again = read_state_dict(made)
    assert all(torch.equal(heard[key], again[key]) for key in heard)

    config = tiny(f"start.sounds='{made}'", "epochs=1", "optimiser.rate=1e-12", "model.context_frames=10")
    best = train(config, tmp_path / "run", data_roots=[tiny_root], device="cpu")
    learned = read_state_dict(best)
    assert {"spectrum.net.0.weight", "classifier.weight"} <= set(heard)
    for key, value in heard.items():
        torch.testing.assert_close(learned[key].float(), value, rtol=0, atol=1e-6)


def test_wrong_files_and_deaf_networks_are_one_sentence(tmp_path: Path, tiny_weights: Path) -> None:
    hearing = SaiDetector(DetectorConfig.small("A", channels=32, width=16, context_frames=4))
    with pytest.raises(InputError, match="not what `train sounds` makes"):
        take_sounds(hearing, tiny_weights)
    deaf = SaiDetector(DetectorConfig.small("A", channels=32, width=16))
    with pytest.raises(InputError, match="does not listen"):
        take_sounds(deaf, tiny_weights)
    with pytest.raises(InputError, match="scenes is -1"):
        SoundSettings(scenes=-1)
    with pytest.raises(InputError, match="visibility is 'by ear'; choose nothing, official"):
        SoundSettings(visibility="by ear")  # type: ignore[arg-type]

"""Recipes, ``--set`` and mistakes in both."""

from __future__ import annotations

from pathlib import Path

import pytest

from sai_core.detector.models import SaiDetector
from sai_core.errors import InputError
from sai_core.runs.kinds import KINDS
from sai_core.training.config import (
    LOSS_TERMS,
    TrainingConfig,
)

DETECTOR = KINDS["detector"]


@pytest.mark.parametrize("name", ["fao", "small_a", "small_b", "track_a", "track_b"])
def test_every_recipe_can_be_read_and_survives_the_run_folder(name: str) -> None:
    config = DETECTOR.read_config(name)
    assert config.name == name
    assert DETECTOR.config_from(config.as_dict()) == config


def test_the_recipes_are_what_the_report_asks() -> None:
    assert list(DETECTOR.recipes) == ["fao", "small_a", "small_b", "track_a", "track_b"]
    for name in ("track_a", "track_b", "fao"):
        config = DETECTOR.read_config(name)
        o, a, d = config.optimiser, config.augment, config.data
        assert (o.clip, o.plateau_factor, o.plateau_smooth, o.final_share) == (2.0, 0.5, 5, 0.0)
        assert d.rare_share == 0.5
        assert (a.shift, a.noise_sigma, a.noise_unit) == (True, 0.015, "peak")
        assert a.flip == (0.5 if config.model.track == "B" else 0.0)  # synchronised flips are Track B's
        assert (d.magnitude, d.visibility, config.model.band_scale) == ("power", "report", "frame")
        assert config.model.energy_weights == "pixels"
        assert config.amp
        assert config.model.backbone == "resnet50"
        assert set(o.unfreeze.values()) == {2, 10}
        assert all(o.scales[g] < 1 for g in ("fpn", "layer3", "layer4"))
        assert all(o.scales.get(g, 1.0) == 1.0 for g in ("stem", "heads"))
    fao, track_a, track_b = (
        DETECTOR.read_config("fao"),
        DETECTOR.read_config("track_a"),
        DETECTOR.read_config("track_b"),
    )
    assert fao.loss["frame_class"] == 0.0  # auxiliary classification loss off
    assert not fao.model.aux_classifier
    assert fao.augment.masked_bands < track_a.augment.masked_bands == 2  # light augmentation
    assert track_a.model.aux_classifier
    assert track_b.model.track == "B"
    assert track_b.model.conformer
    assert {"rpn", "layer1", "layer2", "layer3"} <= set(track_b.optimiser.frozen)
    assert track_b.augment.brightness > 0


def test_small_recipes_are_small() -> None:
    for name in ("small_a", "small_b"):
        n = sum(p.numel() for p in SaiDetector(DETECTOR.read_config(name).model).parameters())
        assert 2 * n < 35e6  # bytes in float16


def test_overrides(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('name = "own"\n[model]\ntrack = "A"\n')
    config = DETECTOR.read_config(
        path,
        [
            "epochs=3",
            "optimiser.rate=2",
            "model.backbone=resnet18",
            "data.train_splits=['a*', 'b']",
            "optimiser.unfreeze.fpn=1",
            "loss.distance=0.5",
            "augment.shift=false",
        ],
    )
    assert config.epochs == 3
    assert config.optimiser.rate == 2.0
    assert isinstance(config.optimiser.rate, float)
    assert config.model.backbone == "resnet18"
    assert config.data.train_splits == ("a*", "b")
    assert config.optimiser.unfreeze == {"fpn": 1}
    assert config.loss == {**dict.fromkeys(LOSS_TERMS, 1.0), "distance": 0.5}
    assert config.augment.shift is False
    assert DETECTOR.recipe(str(path)) == path


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", "expected key=value"),
        ("epochs=0", "epochs is 0; a whole number of at least 1"),
        ("epochs=many", "epochs is 'many'"),
        ("epochs=1.5", "epochs is 1.5"),
        ("model.backbone=vgg", "backbone is 'vgg'"),
        ("model.colour=1", "unknown settings colour"),
        ("nonsense=1", "unknown settings nonsense"),
        ("epochs.a=1", "not a table"),
        ("model=1", "'model' must be a table"),
        ("optimiser.frozen=['body']", "frozen: an entry is 'body'; choose stem"),
        ("optimiser.scales.fpn=-1", "optimiser: scales of fpn is -1; a number of at least 0"),
        ("loss.pixels=1", "loss: 'pixels' is unknown; choose rpn_objectness"),
        ("loss.class=true", "loss of class is True"),
        ("data.rare_share=2", "rare_share"),
        ("data.grid=square", "data: grid is 'square'; choose official"),
        ("augment.masked_bands=9", "masked_bands"),
        ("optimiser.average=1.0", "average"),
        ("validation.every=0", "every is 0"),
    ],
)
def test_mistakes_are_one_sentence(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        DETECTOR.read_config("small_a", [override])
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="recipes are fao, small_a"):
        DETECTOR.read_config("large_c")
    path = tmp_path / "bad.toml"
    path.write_text("epochs = = 3")
    with pytest.raises(InputError, match="not a TOML"):
        DETECTOR.read_config(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not a TOML"):
        DETECTOR.read_config(path)


def test_the_defaults_are_consistent() -> None:
    assert DETECTOR.config_from(TrainingConfig().as_dict()) == TrainingConfig()

"""What a run starts from: torchvision's cache, a stand-in for its files, and its absence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sai_core.checkpoints import read_state_dict
from sai_core.detector import pretrained
from sai_core.detector.models import SaiDetector
from sai_core.runs.kinds import KINDS
from sai_core.training.loop import resolve_start, train
from tests.training.material import Configure


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torchvision."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = pretrained.weights_folder()
    assert tmp_path in folder.parents
    folder.mkdir(parents=True)
    return folder


def test_detection_weights_come_before_classification(cache: Path) -> None:
    assert pretrained.find_cached("resnet50") is None
    names = pretrained.known_files("resnet50")
    assert names[0].startswith("maskrcnn_resnet50_fpn_coco-")
    assert all(name.endswith(".pth") for name in names)
    for name in reversed(names):
        (cache / name).touch()
        assert pretrained.find_cached("resnet50") == cache / name
    assert pretrained.find_cached("resnet18") is None


@pytest.mark.parametrize("recipe", ["track_a", "fao", "track_b"])
def test_absent_weights_are_said_and_nothing_is_frozen(cache: Path, recipe: str) -> None:
    config, decided = resolve_start(KINDS["detector"].read_config(recipe))
    assert len(decided) == 1
    assert str(cache) in decided[0]
    assert "random weights" in decided[0]
    assert (config.start.backbone, config.optimiser.unfreeze, config.model.frozen_norm) == ("", {}, False)


def test_the_rpn_learns_where_only_a_backbone_is_given(cache: Path) -> None:
    file = cache / pretrained.known_files("resnet50")[1]
    file.touch()
    config, decided = resolve_start(KINDS["detector"].read_config("track_b"))
    assert config.start.backbone == str(file)
    assert config.model.frozen_norm
    assert config.optimiser.frozen == ("stem", "layer1", "layer2", "layer3")
    assert len(decided) == 2
    assert "RPN learns" in decided[1]
    torch.save({}, file)  # which kind of file a detector's start is, is looked at
    whole = KINDS["detector"].read_config("track_b", [f"start.detector='{file}'"])
    assert resolve_start(whole)[0].optimiser.frozen == whole.optimiser.frozen
    plain = KINDS["detector"].read_config("small_a")
    assert resolve_start(plain) == (plain, [])


def test_a_run_starts_from_the_cache(cache: Path, tiny_root: Path, tmp_path: Path, tiny: Configure) -> None:
    config = tiny("epochs=1", "start.backbone='torchvision'", "optimiser.rate=1e-9")
    torch.manual_seed(5)
    donor = {f"body.{k}": v for k, v in SaiDetector(config.model).backbone.body.state_dict().items()}
    torch.save(donor, cache / pretrained.known_files("resnet18")[0])
    said: list[str] = []
    best = train(config, tmp_path / "run", data_roots=[tiny_root], device="cpu", say=said.append)
    assert len(said) == 1
    assert "torchvision's cache" in said[0]
    name = "body.layer2.0.conv1.weight"
    torch.testing.assert_close(read_state_dict(best)[f"backbone.{name}"].float(), donor[name], rtol=0, atol=1e-5)

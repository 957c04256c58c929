"""One small data root and one set of UpLAM weights for all tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from sai_core.runs.kinds import KINDS
from sai_core.training.config import TrainingConfig
from tests.training.material import TINY, Configure, write_root, write_weights


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "uplam.safetensors")


@pytest.fixture
def tiny(tiny_weights: Path) -> Configure:
    """Configurations of runs that take seconds."""

    def make(*overrides: str, recipe: str = "small_a") -> TrainingConfig:
        return KINDS["detector"].read_config(recipe, [*TINY, f"data.weights='{tiny_weights}'", *overrides])

    return make

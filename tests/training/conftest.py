"""One small data root and one set of UpLAM weights for all tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.material import write_root, write_weights


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "uplam.safetensors")

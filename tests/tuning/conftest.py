"""One small tuning set for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tuning.stand_in import write_root


@pytest.fixture(scope="session")
def stand_in_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings of 4 s with stand-in raw detections."""
    return write_root(tmp_path_factory.mktemp("tuning") / "root", n_recordings=3, n_frames=40, per_frame=30)

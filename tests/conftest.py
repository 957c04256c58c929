"""Fixtures that every test may use; cache and workspace are temporary folders, so that tests never touch a user's."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from sai_core import cache

# fixed examples in CI: a red run must be the commit's doing
settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci")

_MAIN = sys.modules["__main__"]
_numbers = itertools.count()
REPOSITORY = Path(__file__).resolve().parents[1]
ORACLE = REPOSITORY.parent / "shared" / "oracle"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; skip oracle tests where the official code's results are not at hand."""
    # with --no-loadscope-reorder: two processes end together when the short files come last
    slow = Counter(item.path for item in items if "slow" in item.keywords)
    items.sort(key=lambda item: -slow[item.path])
    if ORACLE.is_dir():
        return
    skip = pytest.mark.skip(reason="the oracle folder (../shared/oracle) is not on this machine")
    for item in items:
        if "oracle" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True, scope="session")
def _private_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    workspaces = tmp_path_factory.mktemp("workspaces")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAI_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("SAI_WORKSPACE", str(workspaces / "session"))
        for name in ("SAI_REVIEW_DB", "SAI_ROLES"):
            patch.delenv(name, raising=False)
        yield workspaces


@pytest.fixture(autouse=True)
def _own_workspace(_private_folders: Path) -> Iterator[None]:
    """What one test makes is not found by the next; the folder itself is not made before it is needed."""
    # not the fixture monkeypatch: asked for here, it would be undone after all other fixtures of a test
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAI_WORKSPACE", str(_private_folders / f"{next(_numbers)}"))
        yield


@pytest.fixture(autouse=True)
def _own_main() -> Iterator[None]:
    """Streamlit's tests put their script in place of the main program, which new worker processes then run first."""
    sys.modules["__main__"] = _MAIN
    yield
    sys.modules["__main__"] = _MAIN


@pytest.fixture(autouse=True, scope="session")
def _own_priority() -> Iterator[None]:
    """``train`` stands back behind other work; called within the tests' process it would hold up all tests after it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "nice", lambda increment: 0, raising=False)
        yield


@pytest.fixture(scope="session")
def forked() -> Any:
    """Context of processes that are forked from one that has imported torch, so that a start takes no seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.runs.tiny"])
    return context


@pytest.fixture(autouse=True)
def _own_notices() -> None:
    """What the cache had to tell in one test is not told in the next."""
    cache._notices.clear()
    cache._told.clear()


@pytest.fixture
def oracle() -> Path:
    """Folder with inputs and the official code's outputs; use with ``@pytest.mark.oracle``."""
    return ORACLE


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded generator of this test alone."""
    return np.random.default_rng(20260101)

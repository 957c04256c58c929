"""Examples in docstrings are run: what a reader would type gives what stands there."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def _modules_with_examples() -> list[str]:
    found = []
    for path in sorted((REPOSITORY / "sai_core").rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            found.append(".".join(path.relative_to(REPOSITORY).with_suffix("").parts))
    return found


@pytest.mark.parametrize("name", _modules_with_examples())
def test_examples_give_what_they_say(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0

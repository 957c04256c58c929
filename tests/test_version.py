"""One version: stated in the package, read by the build, and the last one of the changelog and of the citation."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import sai_core

REPOSITORY = Path(__file__).resolve().parents[1]


def test_one_version() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"] == {"path": "sai_core/__init__.py"}
    released = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", (REPOSITORY / "CHANGELOG.md").read_text(), re.M
    )
    assert released[0] == sai_core.__version__
    assert f"\nversion: {sai_core.__version__}\n" in (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")

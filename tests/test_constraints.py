"""The pinned versions fit the ranges, all of them carry a hash, and NOTICE names what is called."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def _requirements() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [Requirement(text) for line in lines if (text := line.split("#")[0].strip())]


def _pinned() -> dict[str, tuple[str, list[str]]]:
    text = (ROOT / "constraints.txt").read_text().replace("\\\n", " ")
    pinned: dict[str, tuple[str, list[str]]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, version, rest = re.fullmatch(r"([\w.-]+)==(\S+)\s*(.*)", line).groups()  # type: ignore[union-attr]
            pinned[canonicalize_name(name)] = (version, re.findall(r"--hash=sha256:([0-9a-f]{64})", rest))
    return pinned


def test_every_requirement_is_pinned_within_its_range_and_everything_has_a_hash() -> None:
    pinned = _pinned()
    for requirement in _requirements():
        version, _ = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}"
    assert all(hashes for _, hashes in pinned.values())


def test_no_line_names_where_packages_come_from() -> None:
    assert "://" not in (ROOT / "constraints.txt").read_text()


def test_notice_names_every_package_that_the_program_asks_for() -> None:
    notice = (ROOT / "NOTICE").read_text()
    for requirement in _requirements():
        assert re.search(rf"(?<![\w-]){re.escape(requirement.name)}(?![\w-])", notice), requirement.name

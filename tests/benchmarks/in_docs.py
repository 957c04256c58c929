"""Figures of a benchmark in a page of the docs, between two marks."""

from __future__ import annotations

from pathlib import Path

from sai_core.files import atomic_write


def marks(name: str) -> tuple[str, str]:
    """The marks that a benchmark's figures stand between."""
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def put_into(page: Path, name: str, text: str) -> None:
    """Write a benchmark's figures in place of those in a page."""
    begin, end = marks(name)
    before, rest = page.read_text("utf-8").split(begin)
    with atomic_write(page, "w") as stream:
        stream.write(before + begin + "\n" + text + "\n" + end + rest.split(end)[1])

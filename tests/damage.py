"""What can happen to a file of the cache: for tests that results are equal to fresh ones whatever does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sai_core.entry_file import write_entry


def entries(root: Path, namespace: str) -> list[Path]:
    """Files of a namespace."""
    return sorted(root.glob(f"entries/{namespace}/v*/*.entry"))


def damage(path: Path, rng: np.random.Generator, *, flips: int = 8) -> Iterator[str]:
    """Damage a file in one way after the other; in between, it is what it was."""
    good = path.read_bytes()
    for k in range(flips):
        data = bytearray(good)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        yield f"flipped {k}"
    start = int(rng.integers(len(good) // 2))
    for how, content in (
        ("cut", good[: int(rng.integers(1, len(good)))]),
        ("empty", b""),
        ("zeroed", good[:start] + bytes(len(good) - start)),
        ("longer", good + b"\0"),
        ("text", b"hello"),
    ):
        path.write_bytes(content)
        yield how
    with open(path, "wb") as stream:
        write_entry(stream, "somebody else's", {"values": np.zeros(3)})
    yield "foreign"
    path.unlink()
    path.mkdir()
    yield "a folder"
    if path.is_dir():
        path.rmdir()
    path.write_bytes(good)

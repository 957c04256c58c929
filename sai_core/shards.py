"""Work shared out among processes that do not talk to each other: which part is this one's.

All of them see the same files and the same order, so a part is every ``count``-th item from ``index`` on. What each
makes is kept in files (submissions, scores in the cache), and one call without a part puts them together: nothing is
merged but what a single process would have made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from sai_core.errors import InputError

Item = TypeVar("Item")

HELP: Final[str] = (
    "do part K of N of the recordings, K from 1 on; auto: as torchrun (RANK, WORLD_SIZE) or a Slurm array "
    "(SLURM_ARRAY_TASK_ID) says"
)
MAX_PARTS: Final[int] = 100_000


@dataclass(frozen=True)
class Shard:
    """Part ``index`` (from 0 on) of ``count``."""

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"

    def of(self, items: Sequence[Item]) -> list[Item]:
        """The items of this part."""
        return list(items[self.index :: self.count])


def read_shard(text: str, environment: Mapping[str, str] | None = None) -> Shard:
    """The part that an option names.

    Parameters
    ----------
    text : str
        ``K/N``, or ``auto``.
    environment : mapping, optional
        Where ``auto`` looks; the process's own.

    Raises
    ------
    InputError
        Neither of them, K beyond N, or ``auto`` where nothing says which part this is.
    """
    if text == "auto":
        found = of_environment(os.environ if environment is None else environment)
        if found is None:
            raise InputError("--shard auto: neither RANK and WORLD_SIZE nor SLURM_ARRAY_TASK_ID is set; write K/N.")
        return found
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None:
        raise InputError(f"--shard {text!r}: expected K/N, e.g. 3/8, or auto.")
    part, count = int(match[1]), int(match[2])
    if not 1 <= part <= count <= MAX_PARTS:
        raise InputError(f"--shard {text}: expected K from 1 to N, and N up to {MAX_PARTS:,}.")
    return Shard(part - 1, count)


def of_environment(environment: Mapping[str, str]) -> Shard | None:
    """The part that ``torchrun`` gives this process, or a Slurm array; None where there is neither.

    Raises
    ------
    InputError
        The variables hold nonsense, or numbers that do not fit.
    """
    if "RANK" in environment or "WORLD_SIZE" in environment:
        index, count = (_number(environment, name, default) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
        if not 0 <= index < count:
            raise InputError(f"RANK {index} and WORLD_SIZE {count} do not fit; start several processes with torchrun.")
        return Shard(index, count)
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return None
    task, first, step, count = (
        _number(environment, f"SLURM_ARRAY_TASK_{name}", default)
        for name, default in (("ID", 0), ("MIN", 0), ("STEP", 1), ("COUNT", 0))
    )
    index, rest = divmod(task - first, max(step, 1))
    if rest or not 0 <= index < count:
        raise InputError(
            f"SLURM_ARRAY_TASK_ID {task} is none of {count} tasks from {first} on; use an array without gaps "
            "(--array=1-8) or write --shard K/N."
        )
    return Shard(index, count)


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(environment.get(name, default))
    except ValueError:
        raise InputError(f"{name} is {environment[name]!r}, which is no whole number.") from None

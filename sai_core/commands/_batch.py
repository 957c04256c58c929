"""The same work on many recordings: what is there is kept, one that fails is told and the others go on.

Results lie in one folder, a file a recording, each whole or absent, so that processes may share the recordings out
(:mod:`sai_core.shards`) and a call that was stopped goes on where it was: the folder says, in ``settings.txt``, with
which settings it is filled, and is refused with others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sai_core.errors import CancelledError, EnvironmentProblem, InputError, SaiError, told_at_once
from sai_core.files import atomic_write, check_space

MADE: Final[str] = "settings.txt"
"""No ``.json``: it is no annotation file among others."""


@dataclass(frozen=True)
class Task:
    """One recording's part of the work.

    Attributes
    ----------
    name : str
        Of the recording.
    out : Path
        File that is there when the work is done.
    n_bytes : int
        About how large it will be.
    work : callable
        Makes it, and gives what there is to tell of it.
    """

    name: str
    out: Path
    n_bytes: int
    work: Callable[[], Sequence[str]]


def check_made(folder: Path, facts: Mapping[str, Any]) -> str:
    """Why a folder cannot take results of some settings: it holds those of others; "" where it can."""
    path = folder / MADE
    if not path.exists():
        return ""
    try:
        found = json.loads(path.read_text("utf-8"))
        changed = [key for key in sorted({*found, *facts}) if found.get(key) != facts.get(key)]
    except (OSError, ValueError, TypeError):
        return f"{path}: cannot be read as the settings of this folder's results; choose another folder."
    if not changed:
        return ""
    key = changed[0]
    return (
        f"{folder}: holds results of other settings ({key} is {found.get(key)!r} there and {facts.get(key)!r} now); "
        "choose another folder."
    )


def run(
    folder: Path,
    facts: Mapping[str, Any] | None,
    tasks: Sequence[Task],
    *,
    problems: Sequence[str] = (),
    mine: Sequence[Task] | None = None,
    quiet: bool = False,
) -> int:
    """Do the work of a verb on a set of recordings; the exit code, after a line for what failed.

    Parameters
    ----------
    folder : Path
        Holds the results.
    facts : mapping or None
        Settings that results depend on, as JSON has them; None where the folder says them in its own way.
    tasks : sequence of Task
        All of the set.
    problems : sequence of str
        What is known to be wrong: with any, nothing is begun, and all of it is told at once.
    mine : sequence of Task, optional
        Those of this process; all when left out.
    quiet : bool
        No summary.

    Raises
    ------
    InputError, EnvironmentProblem
        Something is wrong beforehand, or recordings failed.
    """
    mine = tasks if mine is None else mine
    found = [*problems, *filter(None, [check_made(folder, facts) if facts is not None else ""])]
    if found:
        raise InputError(told_at_once(found))
    open_tasks = [task for task in mine if not task.out.exists()]
    check_space(folder, sum(task.n_bytes for task in open_tasks), f"{len(open_tasks)} results")
    if facts is not None:
        with atomic_write(folder / MADE, "w") as stream:
            stream.write(json.dumps(dict(facts), indent=1, sort_keys=True) + "\n")
    failed: list[tuple[str, SaiError]] = []
    for task in open_tasks:
        try:
            for note in task.work():
                print(f"note: {task.name}: {note}", file=sys.stderr)
        except CancelledError:
            raise
        except SaiError as error:
            failed.append((task.name, error))
            print(f"failed: {task.name}: {error}", file=sys.stderr)
    if not quiet:
        n_kept = len(mine) - len(open_tasks)
        kept = f", {n_kept} were there" if n_kept else ""
        print(f"{folder}: {len(open_tasks) - len(failed)} of {len(mine)} recordings made{kept}")
    if failed:
        kind = EnvironmentProblem if all(isinstance(e, EnvironmentProblem) for _, e in failed) else InputError
        raise kind(
            f"{len(failed)} of {len(mine)} recordings failed ({', '.join(name for name, _ in failed[:5])}"
            f"{', ...' if len(failed) > 5 else ''}); what was made is kept, and the same call tries them again."
        )
    return 0

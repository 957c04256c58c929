"""The same work on many recordings: what is there is kept, one that fails is told and the others go on.

Recordings whose files are seen to be faulty beforehand are told at once, before the work on the others begins.

Results lie in one folder, a file a recording, each whole or absent, so that processes may share the recordings out
(:mod:`sai_core.shards`) and a call that was stopped goes on where it was: the folder says, in ``settings.txt``, with
which settings it is filled, and is refused with others.
"""

from __future__ import annotations

import argparse
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
    problem : SaiError, optional
        Why it cannot be done, as seen beforehand.
    """

    name: str
    out: Path
    n_bytes: int
    work: Callable[[], Sequence[str]]
    problem: SaiError | None = None


def add_going_on(parser: argparse.ArgumentParser) -> None:
    """Add the options of what happens where a recording of a set fails."""
    going = parser.add_mutually_exclusive_group()
    going.add_argument(
        "--keep-going",
        action="store_true",
        default=True,
        help="with --data: go on with the others where a recording fails (so it is without this option, too)",
    )
    going.add_argument(
        "--stop-at-first-error",
        action="store_false",
        dest="keep_going",
        help="with --data: begin nothing where something is wrong beforehand, and end with the first that fails",
    )


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


def check_tasks(tasks: Sequence[Task], *, keep_going: bool, problem: str = "") -> None:
    """Make sure that there is something to do, before anything is begun.

    Parameters
    ----------
    tasks : sequence of Task
    keep_going : bool
        One task that can be done is enough; otherwise all must be.
    problem : str
        What is wrong with all of them.

    Raises
    ------
    InputError
        There is not; with all that is wrong.
    EnvironmentProblem
        The same, where it is the machine's alone.
    """
    errors = [task.problem for task in tasks if task.problem is not None]
    if problem or (errors and (not keep_going or len(errors) == len(tasks))):
        at_machine = not problem and all(isinstance(error, EnvironmentProblem) for error in errors)
        sentences = told_at_once([*map(str, errors), *filter(None, [problem])])
        raise EnvironmentProblem(sentences) if at_machine else InputError(sentences)


def run(
    folder: Path,
    facts: Mapping[str, Any] | None,
    tasks: Sequence[Task],
    *,
    keep_going: bool = True,
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
        Those of this process.
    keep_going : bool
        What is wrong with a recording beforehand is told before the others are begun, and one that fails is told when
        it does. Otherwise nothing is begun where something is wrong, and the first that fails ends the work.
    quiet : bool
        No summary.

    Raises
    ------
    InputError, EnvironmentProblem
        Something is wrong with the folder or, beforehand, with every recording; or recordings failed.
    """
    check_tasks(tasks, keep_going=keep_going, problem=check_made(folder, facts) if facts is not None else "")
    failed = [(task.name, task.problem) for task in tasks if task.problem is not None]
    open_tasks = [task for task in tasks if task.problem is None and not task.out.exists()]
    check_space(folder, sum(task.n_bytes for task in open_tasks), f"{len(open_tasks)} results")
    if facts is not None:
        with atomic_write(folder / MADE, "w") as stream:
            stream.write(json.dumps(dict(facts), indent=1, sort_keys=True) + "\n")
    for name, error in failed:
        print(f"failed: {name}: {error}", file=sys.stderr)
    n_made = 0
    for task in open_tasks:
        try:
            for note in task.work():
                print(f"note: {task.name}: {note}", file=sys.stderr)
            n_made += 1
        except CancelledError:
            raise
        except SaiError as error:
            if not keep_going:
                raise
            failed.append((task.name, error))
            print(f"failed: {task.name}: {error}", file=sys.stderr)
    if not quiet:
        n_kept = len(tasks) - n_made - len(failed)
        kept = f", {n_kept} were there" if n_kept else ""
        print(f"{folder}: {n_made} of {len(tasks)} recordings made{kept}")
    if failed:
        kind = EnvironmentProblem if all(isinstance(e, EnvironmentProblem) for _, e in failed) else InputError
        raise kind(
            f"{len(failed)} of {len(tasks)} recordings failed ({', '.join(name for name, _ in failed[:5])}"
            f"{', ...' if len(failed) > 5 else ''}); what was made is kept, and the same call tries them again."
        )
    return 0

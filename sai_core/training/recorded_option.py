"""The option ``--sounds`` of trainings that play recorded sounds: its folder, and that a run goes on with its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sai_core.errors import InputError
from sai_core.files import user_path
from sai_core.runs.folder import RunFolder
from sai_core.runs.kinds import RunInputs, split_config
from sai_core.simulation.recorded import open_recorded

SOUNDS_OPTION: Final[str] = "--sounds"


def sounds_folder(inputs: RunInputs) -> Path | None:
    """Folder of recorded sounds that a run is given, absolute; None without one."""
    given = inputs.options.get(SOUNDS_OPTION, "")
    return user_path(given, what=SOUNDS_OPTION).absolute() if given else None


def check_same_sounds(folder: RunFolder, inputs: RunInputs, *, say: Callable[[str], object]) -> None:
    """Before a run goes on, make sure that the sounds that it is given are those that it began with.

    The same recordings (by names and sizes) in another place are. Where those of the beginning have gone, nobody
    knows, and that is said.

    Parameters
    ----------
    folder : RunFolder
    inputs : RunInputs
        Given now.
    say : callable

    Raises
    ------
    InputError
        Nothing to resume; other sounds, or some where the run began without; no sounds in the given folder.
    """
    kept = sounds_folder(split_config(folder.config(), str(folder.path / "config.json"))[1])
    given = sounds_folder(inputs)
    if given is None or (kept is not None and given.resolve() == kept.resolve()):
        return
    advice = f"leave {SOUNDS_OPTION} out, or start a new run"
    if kept is None:
        raise InputError(f"{folder.path}: this run began without recorded sounds ({SOUNDS_OPTION}); {advice}.")
    found = open_recorded(given)
    try:
        before = open_recorded(kept)
    except InputError:
        say(
            f"{kept}: the sounds that the run began with are not there any more; it goes on with those of {given}, and "
            "whether they are the same is not known."
        )
        return
    if found.digest != before.digest:
        raise InputError(
            f"{given}: --resume goes on with the sounds that the run began with, and these are others than those of "
            f"{kept}; {advice}."
        )

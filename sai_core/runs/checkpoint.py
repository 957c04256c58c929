"""``last.safetensors``: all that resuming a run needs, with its rows of ``metrics.csv``; whole or not at all."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Mapping
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sai_core.errors import InputError
from sai_core.files import atomic_write
from sai_core.runs.folder import RunFolder

_HISTORY: Final[str] = "metrics"


_ROUND_IT_BYTES: Final[int] = 1 << 20
"""Names, settings and figures: everything in a run folder that is small."""


def room_of(make: Callable[[], nn.Module], *, averaged: bool = False) -> int:
    """Bytes of a run's checkpoint and of its best weights, each with the one that takes its place.

    Parameters
    ----------
    make : callable
        Makes the network; it is made without memory for its weights, and takes some milliseconds.
    averaged : bool
        Whether the checkpoint holds averaged weights, too; the two moments of the optimiser are in it always.
    """
    with torch.device("meta"):
        network = make()
    learned = sum(parameter.nbytes for parameter in network.parameters())
    weights = sum(value.nbytes for value in network.state_dict().values())
    checkpoint = weights + (3 if averaged else 2) * learned
    return 2 * (checkpoint + weights) + _ROUND_IT_BYTES


def save_state(folder: RunFolder, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write the checkpoint.

    Raises
    ------
    EnvironmentProblem
        The disk is full or the folder cannot be written; the last checkpoint stays.
    """
    if folder.silent:
        return
    history = base64.b64encode(zlib.compress(folder.history, 1)).decode()
    state = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    with atomic_write(folder.last) as stream:
        stream.write(save(state, metadata={**header, _HISTORY: history}))


def load_state(folder: RunFolder, take: Callable[[Mapping[str, str], Mapping[str, Tensor]], None]) -> str:
    """Take up what :func:`save_state` wrote, and the rows that were measured up to then.

    Parameters
    ----------
    folder : RunFolder
    take : callable
        Given header and tensors. What it raises of a mapping or a number that does not fit means a damaged checkpoint.

    Returns
    -------
    str
        What was put aside; see :meth:`~sai_core.runs.folder.RunFolder.restore`.

    Raises
    ------
    InputError
        Damaged, or not of this network.
    """
    try:
        with safe_open(str(folder.last), framework="pt", device="cpu") as stored:
            header = stored.metadata() or {}
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (not a mapping)
        take(header, tensors)
        packed = header.get(_HISTORY)
        history = None if packed is None else zlib.decompress(base64.b64decode(packed))
    except (
        SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError, binascii.Error, zlib.error,
    ) as error:  # fmt: skip
        raise InputError(
            f"{folder.last}: this is not a checkpoint that the run can be resumed from ({error}); put an older copy in "
            "its place, or start a new run."
        ) from error
    return folder.restore(history)


def take_up(
    folder: RunFolder,
    take: Callable[[Mapping[str, str], Mapping[str, Tensor]], None],
    *,
    resume: bool,
    say: Callable[[str], object],
) -> None:
    """Go on from the checkpoint (:func:`load_state`) where there is one, else begin; says what was put aside."""
    note = load_state(folder, take) if resume and folder.last.exists() else folder.restore(b"")
    if note:
        say(note)


def parts_of(tensors: Mapping[str, Tensor], *names: str) -> dict[str, dict[str, Tensor]]:
    """Tensors by the part of the state that their key begins with (``model/...``).

    Raises
    ------
    KeyError
        A key of another part.
    """
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    for key, value in tensors.items():
        part, _, name = key.partition("/")
        parts[part][name] = value
    return parts

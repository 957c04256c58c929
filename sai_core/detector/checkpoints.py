"""Reading checkpoints without running anybody's code, and saying what is wrong with a wrong one."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sai_core.errors import InputError

_WRAPPERS = ("model_state_dict", "state_dict", "model")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a ``.safetensors`` file or a torch file (``weights_only``), on the CPU.

    A dict that holds the state under ``model_state_dict``, ``state_dict`` or ``model`` is opened; a ``module.``
    prefix (DistributedDataParallel) and ``_orig_mod.`` (``torch.compile``) are taken off.

    Raises
    ------
    InputError
        Missing, unreadable, not a checkpoint, or one that would need to run code to open.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a checkpoint (.pth, .pt or .safetensors).")
    try:
        if path.suffix == ".safetensors":
            state: object = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file ({error}).") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        first_line = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{path}: not a checkpoint that can be opened safely, weights only ({first_line}); "
            "save a plain state dict or safetensors."
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if isinstance(state, Mapping):
        for wrapper in _WRAPPERS:
            if isinstance(state.get(wrapper), Mapping):
                state = state[wrapper]
                break
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path}: holds no state dict (a mapping of names to tensors); give a network's checkpoint.")
    return {_plain_name(str(key)): value for key, value in state.items()}


def _plain_name(key: str) -> str:
    for prefix in ("module.", "_orig_mod."):
        key = key.removeprefix(prefix)
    return key


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def load_into(model: nn.Module, state: dict[str, Tensor], path: Path, *, what: str) -> None:
    """Load a state dict into a network, all or nothing.

    Raises
    ------
    InputError
        One sentence with the missing, unexpected and misshaped keys; the model is left as it was.
    """
    own = model.state_dict()
    missing = [k for k in own if k not in state]
    unexpected = [k for k in state if k not in own]
    misshaped = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    problems = [
        f"{len(names)} {word} ({_some(names)})"
        for word, names in (("missing", missing), ("unexpected", unexpected), ("misshaped", misshaped))
        if names
    ]
    if problems:
        raise InputError(f"{path}: not a checkpoint of {what}: of {len(own)} keys, {'; '.join(problems)}.")
    model.load_state_dict(state)

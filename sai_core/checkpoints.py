"""Weights of every kind, read without running anybody's code; what is wrong with a wrong file, in one sentence.

The one reader of UpLAM, LAM, the official baseline, our own detectors, teachers and starting weights. A file is known
by its first bytes, not by its name: safetensors, torch's zip (since 1.6) and torch's older pickles. Everything else is
refused by the name of what it is.

How names are made plain
------------------------
* Containers are opened, however deep: ``model_state_dict``, ``state_dict``, ``model`` and so on; a running mean
  (``ema``) only where there are no other weights; else the one entry that is a state dict.
* ``_orig_mod`` (``torch.compile``), ``module`` (DataParallel, DDP) and the wrappers of FSDP are taken out wherever they
  stand, and ``model.``, ``net.``, ``network.`` (Lightning) from the front where every name begins so.
* :func:`load_into` takes off any other front that all names share, where the rest is what the network has.
"""

from __future__ import annotations

import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from sai_core.errors import InputError
from sai_core.files import atomic_write

Config = TypeVar("Config")

_CONTAINERS: Final[tuple[str, ...]] = (
    "model_state_dict",
    "state_dict",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
    "ema_model",
    "ema",
    "shadow",
)
"""Keys under which training frameworks keep weights, in the order in which they are looked for; running means last."""

_WRAPPERS: Final[frozenset[str]] = frozenset(
    {"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)
"""Parts of names that a wrapper puts in; no network here has parts of these names."""

_FRONTS: Final[frozenset[str]] = frozenset({"model", "net", "network", "student", "ema_model"})
"""First parts of names that a training framework puts in front of all of them."""

_MAX_HEADER: Final[int] = 100_000_000
"""Largest header of a safetensors file, bytes; the format's own limit."""

_FOREIGN: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras?)"),
    (b"RIFF", "a WAV or AVI file"),
    (b"RF64", "a WAV file"),
    (b"BW64", "a WAV file"),
    (b"fLaC", "a FLAC file"),
    (b"OggS", "an Ogg file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"BZh", "a bzip2 file; unpack it first"),
    (b"\xfd7zXZ", "an xz file; unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip file; unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run git lfs pull"),
    (b"%PDF", "a PDF"),
    (b"SQLite format 3", "an SQLite file"),
)

_ADVICE: Final[str] = (
    "open it where it was made and save the weights alone, torch.save(model.state_dict(), PATH), or as safetensors"
)


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a file.

    Attributes
    ----------
    path : Path
    tensors : dict of str to Tensor
        On the CPU, names made plain.
    metadata : dict of str to str
        Of a safetensors file; empty for others.
    """

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the weights of a file of any kind, whatever it is called.

    Raises
    ------
    InputError
        Missing, unreadable, damaged, no checkpoint, or one that would need to run code to open.
    """
    path = Path(path)
    if _is_safetensors(path):
        tensors, metadata = _read_safetensors(path)
        return Checkpoint(path, _plain(tensors, path), metadata)
    return Checkpoint(path, _plain(_state_of(_read_torch(path), path), path), {})


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of :func:`read_checkpoint`, which also says what it raises."""
    return read_checkpoint(path).tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata in the header of a safetensors file, without reading its tensors; empty for other checkpoints.

    Raises
    ------
    InputError
        Missing, unreadable, damaged or no checkpoint at all.
    """
    path = Path(path)
    if not _is_safetensors(path):
        return {}
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            return dict(handle.metadata() or {})
    except Exception as error:
        raise _damaged(path, "safetensors", error) from error


def save_network(model: nn.Module, path: Path, metadata: Mapping[str, str], *, half: bool = False) -> None:
    """Write a network's weights to one safetensors file, atomically.

    Parameters
    ----------
    model : nn.Module
        On any device.
    path : Path
    metadata : mapping of str to str
        For the header: the network's configuration, as :func:`read_config` finds it, and where the weights come from.
    half : bool
        float16 instead of float32; integers stay as they are.

    Raises
    ------
    EnvironmentProblem
        The disk is full or the folder cannot be written.
    """
    from safetensors.torch import save

    state = {
        key: (value.detach().half() if half and value.is_floating_point() else value.detach()).cpu().contiguous()
        for key, value in model.state_dict().items()
    }
    with atomic_write(Path(path)) as stream:
        stream.write(save(state, metadata=dict(metadata)))


def read_config(path: Path, mark: str, read: Callable[[str], Config], *, refusal: str) -> Config:
    """Configuration of a network in the metadata of its weights.

    Parameters
    ----------
    path : Path
    mark : str
        Entry of the metadata that holds the configuration, and by which such a file is known.
    read : callable
        Makes the configuration of the entry's text; raises :class:`InputError`.
    refusal : str
        What a file without the mark is not, and what to give instead.

    Raises
    ------
    InputError
        Missing, unreadable, damaged, no file with this mark, or a configuration that cannot be.
    """
    metadata = read_metadata(path)
    if mark not in metadata:
        raise InputError(f"{path}: {refusal}")
    try:
        return read(metadata[mark])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def load_into(model: nn.Module, state: Mapping[str, Tensor], path: Path, *, what: str) -> None:
    """Load a state dict into a network, all or nothing; values are cast to the network's precision.

    Parameters
    ----------
    model : nn.Module
    state : mapping of str to Tensor
    path : Path
        For the message.
    what : str
        What the network is, for the message: "the official baseline".

    Raises
    ------
    InputError
        Names, shapes, types or values (NaN, infinite) that do not fit, in one sentence; the model is left as it was.
    """
    own = model.state_dict()
    state = fit_names(state, own)
    missing = [k for k in own if k not in state]
    unexpected = [k for k in state if k not in own]
    misshaped = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    problems = [
        f"{len(names)} {word} ({some_names(names)})"
        for word, names in (("missing", missing), ("unexpected", unexpected), ("misshaped", misshaped))
        if names
    ]
    if problems:
        raise InputError(f"{path}: not a checkpoint of {what}: of {len(own)} keys, {'; '.join(problems)}.")
    model.load_state_dict({key: _cast(key, state[key], value, path) for key, value in own.items()})


def some_names(names: list[str], limit: int = 3) -> str:
    """List the first of many names from a file, printable and short."""
    shown = ", ".join(printable(name) for name in names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def printable(text: str, limit: int = 100) -> str:
    """Text from a file without what a terminal would obey; cut with an ellipsis."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean if len(clean) <= limit else f"{clean[:limit]}…"


def _cast(key: str, value: Tensor, own: Tensor, path: Path) -> Tensor:
    """A tensor in the precision of the network's own, after looking at its type and values."""
    real_kinds = (own.is_floating_point(), value.is_floating_point())
    if own.is_complex() != value.is_complex() or real_kinds[0] != real_kinds[1]:
        raise InputError(f"{path}: {key} holds {value.dtype}; expected {own.dtype}.")
    value = value.detach().to(own.dtype)
    if (value.is_floating_point() or value.is_complex()) and not bool(torch.isfinite(value).all()):
        raise InputError(f"{path}: {key} holds NaN or infinite values.")
    return value


def fit_names(state: Mapping[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """Take off a front that all names share, where that makes them the network's (``own``)."""
    names = dict(state)
    # torch's AveragedModel counts its updates beside the weights
    if "n_averaged" in names and "n_averaged" not in own:
        del names["n_averaged"]
    while names and not any(key in own for key in names):
        fronts = {key.partition(".")[0] for key in names}
        if len(fronts) > 1 or any("." not in key for key in names):
            break
        names = {key.partition(".")[2]: value for key, value in names.items()}
    return names if any(key in own for key in names) else dict(state)


def _is_safetensors(path: Path) -> bool:
    """Look at the first bytes: True for safetensors, False for a torch file; everything else is refused.

    Raises
    ------
    InputError
        No file, or not of either kind.
    """
    if path.is_dir():
        raise InputError(f"{path}: this is a folder; give a weights file.")
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path of the weights.")
    if not path.is_file():
        raise InputError(f"{path}: this is a device or a pipe; give a weights file.")
    try:
        size = path.stat().st_size
        with open(path, "rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if not head:
        raise InputError(f"{path}: the file is empty; give a weights file.")
    if size < 16:
        raise InputError(f"{path}: not a weights file that can be opened safely: it has {size} bytes; copy it again.")
    header = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and header <= min(size - 8, _MAX_HEADER):
        return True
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return False
    named = next((what for start, what in _FOREIGN if head.startswith(start)), None)
    text = head.lstrip()
    if named is None and text[:1] in (b"<", b"{", b"["):
        named = "a web page" if text[:1] == b"<" else "JSON"
    # eight letters, as text has there, would be a header of 10^16 bytes and more
    if named is None and (path.suffix.lower() == ".safetensors" or (head[8:9] == b"{" and header < 1 << 48)):
        raise InputError(
            f"{path}: not a safetensors file that can be opened: its header claims {header:,} bytes of a file of "
            f"{size:,}; it is damaged or cut off."
        )
    what = f"this is {named}" if named else "it begins as neither kind does"
    raise InputError(
        f"{path}: not a weights file that can be opened safely: {what}; give a PyTorch checkpoint (.pth, .pt) or "
        "safetensors."
    )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as handle:
            metadata = dict(handle.metadata() or {})
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 (not a mapping)
    except Exception as error:
        raise _damaged(path, "safetensors", error) from error
    if not tensors:
        raise InputError(f"{path}: holds no tensors; give a network's weights.")
    return tensors, metadata


def _read_torch(path: Path) -> object:
    """Whatever a torch file holds, tensors and plain containers alone."""
    is_zip = _check_zip(path)
    try:
        # by its stream: torch would take a path's ending at its word
        with open(path, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises a dozen types for damaged files, AssertionError and struct.error among them
        in_the_way = _in_the_way(path, str(error), is_zip=is_zip)
        if in_the_way is None:
            raise _damaged(path, "PyTorch", error) from error
        raise InputError(
            f"{path}: not a weights file that can be opened safely: it holds {in_the_way}, for which code would have "
            f"to be run; {_ADVICE}."
        ) from error


def _check_zip(path: Path) -> bool:
    """Whether a torch file is a zip archive; one that is damaged or is no checkpoint is refused.

    torch does not look at the checksums of a zip's entries, so that flipped bytes would be other weights in silence.
    """
    with open(path, "rb") as stream:
        if stream.read(4) != b"PK\x03\x04":
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if any(name.endswith("constants.pkl") for name in names):
                raise InputError(
                    f"{path}: not a weights file that can be opened safely: it is a TorchScript program; {_ADVICE}."
                )
            if not any(name.endswith("/data.pkl") for name in names):
                raise InputError(f"{path}: this is a zip archive without PyTorch weights ({some_names(names)}).")
            # torch stores without compression; what unpacks to more is none of its files
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise InputError(f"{path}: a zip archive whose entries are packed; torch.save writes them unpacked.")
            wrong = archive.testzip()
    except InputError:
        raise
    except Exception as error:
        raise _damaged(path, "PyTorch", error) from error
    if wrong is not None:
        raise InputError(f"{path}: the file is damaged ({printable(wrong)} differs from its checksum); copy it again.")
    return True


def _in_the_way(path: Path, message: str, *, is_zip: bool) -> str | None:
    """What keeps a pickle from being opened safely, in words; None where it is just damaged."""
    found = re.search(r"GLOBAL (\S+?)(?: whose module| was not an allowed|$)", message)
    if found is None:
        found = re.search(r"but got (?:<class )?'?([\w.]+)", message) if "Can only" in message else None
    if found is None:
        return None
    name = printable(found.group(1))
    scan = _pickle_facts(path, is_zip=is_zip)
    if scan.root and scan.root == found.group(1):
        return f"a whole pickled object ({name}) instead of its weights"
    if name.endswith(("multiarray.scalar", "numeric.scalar")):
        return f"a NumPy number ({scan.number or 'numpy scalar'}) beside the weights"
    if "numpy" in name:
        return f"NumPy data ({name}) beside the weights"
    return f"an object of type {name}"


@dataclass(frozen=True)
class _PickleFacts:
    root: str = ""
    number: str = ""


def _pickle_facts(path: Path, *, is_zip: bool) -> _PickleFacts:
    """Class of the outermost object, and the type of the first NumPy number, read off the pickle's opcodes."""
    root, number, first, scalar = "", "", True, False
    try:
        for stream in _pickles(path, is_zip=is_zip):
            first = True
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name in ("EMPTY_DICT", "EMPTY_LIST"):
                    first = False
                elif opcode.name == "GLOBAL":
                    name = str(argument).replace(" ", ".")
                    if first and name != "collections.OrderedDict":
                        root = root or name
                    first, scalar = False, scalar or name.endswith("multiarray.scalar")
                elif scalar and not number and re.fullmatch(r"[a-zA-Z]\d{1,2}", str(argument)):
                    number = f"numpy.{np.dtype(str(argument)).name}"
    except Exception:  # whatever the rest is, what was read so far is true
        pass
    return _PickleFacts(root, number)


def _pickles(path: Path, *, is_zip: bool) -> Iterable[io.BytesIO]:
    """Pickles of a torch file: the one of a zip, or those that stand one after another in an older file."""
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
            yield io.BytesIO(archive.read(name))
        return
    stream = io.BytesIO(path.read_bytes())
    # magic number, protocol, system; then the object
    for _ in range(3):
        for _ in pickletools.genops(stream):
            pass
    yield stream


def _damaged(path: Path, kind: str, error: Exception) -> InputError:
    if isinstance(error, PermissionError):
        return InputError(f"{path}: cannot be read ({error.strerror}).")
    words = printable(str(error).strip().splitlines()[0] if str(error).strip() else "", 200)
    # torch's own advice is for programmers, and long
    known = kind == "safetensors" and words
    detail = f" ({words})" if known else ""
    name = "a safetensors file" if kind == "safetensors" else "a weights file"
    return InputError(
        f"{path}: not {name} that can be opened safely: the file is damaged or cut off{detail}; copy it again or make "
        f"it again."
    )


def _state_of(content: object, path: Path) -> dict[str, Tensor]:
    """The state dict in what a torch file holds."""
    if not isinstance(content, Mapping) or not content:
        raise InputError(
            f"{path}: the file holds {type(content).__name__} and no state dict; expected a dictionary of tensors."
        )
    state = _search(content)
    if state is None:
        wrong = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
        raise InputError(
            f"{path}: {some_names(wrong)} of the file are not tensors, so it holds no state dict; {_ADVICE}."
        )
    return state


def _search(content: Mapping[Any, Any], depth: int = 0) -> dict[str, Tensor] | None:
    """The one state dict in nested dictionaries: the best known container first, else the only one that there is."""
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return {str(key): value for key, value in content.items()}
    if depth > 5:
        return None
    inner = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Mapping)}
    for name in _CONTAINERS:
        if name in inner and (state := _search(inner[name], depth + 1)) is not None:
            return state
    # states of an optimiser are tensors too
    others = [v for k, v in inner.items() if k not in _CONTAINERS and not re.search("optim|sched|scaler", k.lower())]
    found = [state for value in others if (state := _search(value, depth + 1)) is not None]
    return found[0] if len(found) == 1 else None


def _plain(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Names without what wrappers put in; tensors that are no plain arrays are refused."""
    names = {key: [part for part in key.split(".") if part not in _WRAPPERS] for key in state}
    counter = "n_averaged" if set(state) - {"n_averaged"} else ""
    while (
        len(fronts := {parts[0] for key, parts in names.items() if key != counter and parts}) == 1
        and fronts <= _FRONTS
        and all(len(parts) > 1 for key, parts in names.items() if key != counter)
    ):
        names = {key: parts if key == counter else parts[1:] for key, parts in names.items()}
    plain: dict[str, Tensor] = {}
    for key, parts in names.items():
        value, name = state[key], ".".join(parts) or key
        if name in plain:
            raise InputError(f"{path}: two tensors are called {printable(name)} (one as {printable(key)}).")
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise InputError(
                f"{path}: {printable(key)} is not a plain tensor ({value.layout}, {value.device.type}); {_ADVICE}."
            )
        plain[name] = value
    return plain

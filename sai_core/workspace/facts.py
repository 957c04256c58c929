"""``set.json``: what a set was made from. Versioned, checked in one place, unknown fields kept."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import msgspec

from sai_core.dataset.layout import SET_FILE, SET_MARK
from sai_core.errors import InputError
from sai_core.files import atomic_write

if TYPE_CHECKING:
    from sai_core.labelling.job import LabelSettings

FORMAT: Final[int] = 1
_LAST_SECOND: Final[int] = 253_370_764_800
"""Of the year 9998: times that no calendar has would stop whoever shows them."""

_MAX_BYTES: Final[int] = 16 << 20
"""Ten thousand recordings with long names take 1 MB."""


@dataclass(frozen=True, kw_only=True)
class SetFacts:
    """What a set was made from, and what the user says of it.

    Attributes
    ----------
    made_by : str
        ``predict``, ``label``, ``review``, ``tune``, ``fuse`` or ``import``; empty where nothing is known.
    data : str
        Data root, absolute.
    recordings : tuple of str
        Those that were asked for, each ``<split>/<name>`` or ``<name>``.
    checkpoint, checkpoint_content : str
        Path, and hash of the content (:func:`sai_core.files.content_hash`).
    system, system_toml : str
        Name, and all settings as the text of a system's file.
    base : str
        Of labels: the label set that they were made from, empty for the data root's own. Of predictions: the set whose
        raw detections they were made from.
    options : mapping of str to str, int, float or bool
        Device, thresholds, policy, reviewer and the like.
    created : float
        Seconds since 1970; 0 where it is not known.
    program : str
        Name and version of the program.
    note : str
    tags : tuple of str
    id : str
        Of this set, whatever it is called; filled in when it is made.
    unknown : mapping
        Fields that other versions of the program wrote; kept when the file is written again.
    """

    made_by: str = ""
    data: str = ""
    recordings: tuple[str, ...] = ()
    checkpoint: str = ""
    checkpoint_content: str = ""
    system: str = ""
    system_toml: str = ""
    base: str = ""
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict, hash=False)
    created: Annotated[float, msgspec.Meta(ge=0, le=_LAST_SECOND)] = 0.0
    program: str = ""
    note: str = ""
    tags: tuple[str, ...] = ()
    id: str = ""
    unknown: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)


_FIELDS: Final[tuple[str, ...]] = tuple(f.name for f in fields(SetFacts) if f.name != "unknown")


def label_facts(settings: LabelSettings, *, data: Path | None, recordings: Sequence[str]) -> SetFacts:
    """What the workspace keeps about a label set that is made so.

    Parameters
    ----------
    settings : LabelSettings
    data : Path, optional
        Data root; None for files of their own.
    recordings : sequence of str
        Each ``<split>/<name>`` or ``<name>``.
    """
    return SetFacts(
        made_by="label",
        data="" if data is None else os.path.realpath(data),
        recordings=tuple(recordings),
        options={
            "official_quirks": settings.official_quirks,
            "keep_first_row": settings.keep_first_row,
            "precision": settings.dtype,
            "device": settings.device,
        },
    )


class UnreadableFacts(InputError):
    """A ``set.json`` that is damaged, foreign or newer; the set can be used, its facts are not known."""


class NewerFacts(UnreadableFacts):
    """A file of a newer version of the program, which this one must leave as it is."""


def read_json(path: Path, *, mark: str, newest: int, what: str) -> dict[str, Any]:
    """An object from a JSON file of ours, its format looked at.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        Left to the caller: often that is no mistake.
    UnreadableFacts
        With file and reason in one sentence.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnreadableFacts(f"{path}: is no file.")  # a named pipe would wait for its writer
        with open(path, "rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise UnreadableFacts(f"{path}: cannot be read ({error.strerror or error}).") from error
    try:
        if len(raw) > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES >> 20} MB")
        values = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise UnreadableFacts(f"{path}: is damaged: not JSON ({error}).") from error
    version = values.get(mark) if isinstance(values, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UnreadableFacts(f"{path}: is no {what} of this program (the field {mark!r} is missing).")
    if version > newest:
        raise NewerFacts(
            f"{path}: was written by a newer version of the program (format {version}; this one reads {newest})."
        )
    return values


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def read_facts(folder: Path) -> SetFacts:
    """Facts of a set's folder.

    Raises
    ------
    UnreadableFacts
        No ``set.json``, a damaged one, one of a newer version, or a field of the wrong type.
    """
    path = folder / SET_FILE
    try:
        values = read_json(path, mark=SET_MARK.strip('"'), newest=FORMAT, what="note about a set")
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableFacts(f"{path}: is missing, so nothing is known about how the set was made.") from None
    return facts_from(values, path)


def facts_from(values: Mapping[str, Any], path: Path) -> SetFacts:
    """The one check of what a ``set.json`` holds.

    Raises
    ------
    UnreadableFacts
        A field of the wrong type, with its name.
    """
    known = {name: values[name] for name in _FIELDS if name in values}
    unknown = {k: v for k, v in values.items() if k not in known and k not in (SET_MARK.strip('"'), "unknown")}
    try:
        # strict=True is msgspec's default: a number is no text
        return msgspec.convert({**known, "unknown": unknown}, SetFacts)
    except (msgspec.ValidationError, OverflowError) as error:
        raise UnreadableFacts(f"{path}: is damaged ({error}).") from error


def write_facts(folder: Path, facts: SetFacts) -> None:
    """Write ``set.json``, unknown fields included.

    Raises
    ------
    InputError
        A value that JSON has not (not a number, infinite), or of the wrong type.
    """
    path = folder / SET_FILE
    values = {name: getattr(facts, name) for name in _FIELDS}
    values["options"] = dict(facts.options)
    # the mark first: that is how a file called set.json is told from a recording's
    text = _text({SET_MARK.strip('"'): FORMAT, **values, **facts.unknown}, path)
    facts_from(json.loads(text), path)
    with atomic_write(path, "w") as stream:
        stream.write(text)


def _text(values: Mapping[str, Any], path: Path) -> str:
    try:
        return json.dumps(values, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: cannot be written as JSON ({error}).") from error


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a small JSON file of ours."""
    text = _text(values, path)
    with atomic_write(path, "w") as stream:
        stream.write(text)

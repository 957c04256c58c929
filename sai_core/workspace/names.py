"""Names of sets: what is allowed, and the nearest that is free."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from typing import Final

from sai_core.annotations.names import composed
from sai_core.dataset.layout import kind_of_folder
from sai_core.errors import InputError

MAX_NAME: Final[int] = 80
_MAX_BYTES: Final[int] = 200
"""Of a name on disk 255 are allowed by most systems; some are left for what is put beside it."""

_SIGNS: Final[str] = " ._-()"
ALLOWED: Final[str] = f"1 to {MAX_NAME} letters, digits, spaces and . _ - ( ), a letter or digit first"


def _is_letter(sign: str) -> bool:
    # marks belong to letters: many scripts write vowels with them
    return unicodedata.category(sign)[0] in "LMN"


def check_name(name: str) -> str:
    """The name in composed form, after making sure that it may be a set's.

    Raises
    ------
    InputError
        Empty, too long, hidden, with a separator or another sign that is not allowed.
    """
    name = composed(name)
    odd = [sign for sign in name if not (_is_letter(sign) or sign in _SIGNS)]
    too_long = len(name) > MAX_NAME or len(name.encode("utf-8", "surrogatepass")) > _MAX_BYTES
    if kind_of_folder(name) is not None:
        # a folder of predictions called mic_dev would be read as a data root's sounds
        raise InputError(
            f"{name!r} cannot be the name of a set, because folders of a data root have this name; choose another."
        )
    if not name or odd or too_long or not _may_begin(name[0]) or name[-1] in " .":
        why = f" ({odd[0]!a} is not allowed)" if odd else ""
        raise InputError(f"{name[:MAX_NAME]!r} cannot be the name of a set{why}; use {ALLOWED}.")
    return name


def _may_begin(sign: str) -> bool:
    return unicodedata.category(sign)[0] in "LN"


def clean_name(text: str) -> str:
    """The nearest allowed name: other signs become ``-``; ``set`` where nothing is left."""
    signs = [sign if _is_letter(sign) or sign in _SIGNS else "-" for sign in composed(text)]
    while signs and not _may_begin(signs[0]):
        del signs[0]
    name = _cut("".join(signs), MAX_NAME, _MAX_BYTES) or "set"
    return name if kind_of_folder(name) is None else f"{name} set"


def _cut(name: str, length: int, n_bytes: int) -> str:
    name = composed(name[:length])
    while len(name.encode("utf-8")) > n_bytes:
        name = name[:-1]
    return name.rstrip(" .-")


def free_name(base: str, taken: Collection[str]) -> str:
    """An allowed name near ``base`` that is not taken, small and capital letters alike."""
    known = {composed(name).casefold() for name in taken}
    base = clean_name(base)
    name, number = base, 2
    while name.casefold() in known:
        tail = f"-{number}"
        name = _cut(base, MAX_NAME - len(tail), _MAX_BYTES - len(tail)) + tail
        number += 1
    return name

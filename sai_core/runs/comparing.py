"""Several runs beside each other: the settings in which they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sai_core.runs import watch

_LONGEST: Final[int] = 60
"""Characters of a value that are kept: a cell of a table."""


def settings_of(run: Path) -> dict[str, str]:
    """All settings of a run as ``table.key`` to text; empty for a run without ``config.json``.

    Parameters
    ----------
    run : Path
        Run folder.
    """
    found: dict[str, str] = {}
    _flatten("", watch.showable(watch.read_json(run / "config.json")), found)
    return found


def differing_settings(runs: Sequence[Path]) -> tuple[tuple[str, ...], tuple[dict[str, str], ...]]:
    """Settings that are not the same in all runs.

    Parameters
    ----------
    runs : sequence of Path
        Run folders, of one kind: those of different kinds have different settings altogether.

    Returns
    -------
    names : tuple of str
        In the order in which the runs have them.
    values : tuple of dict
        Of each run; a setting that it does not have is missing.
    """
    every = [settings_of(run) for run in runs]
    names = dict.fromkeys(name for settings in every for name in settings)
    differing = tuple(name for name in names if len({settings.get(name) for settings in every}) > 1)
    return differing, tuple({name: s[name] for name in differing if name in s} for s in every)


def _flatten(name: str, value: Any, found: dict[str, str]) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _flatten(f"{name}.{key}" if name else str(key), inner, found)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            _flatten(f"{name}.{number}", item, found)
    elif name:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        found[name] = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

"""Core library of the semantic acoustic imaging explorer (DCASE 2026 Task 3).

Nothing in this package imports streamlit; the pages are a thin layer over it. ``docs/architecture.md`` says
which room holds what and in which direction data flows.

From a notebook or a script, ``import sai_core as sai``: ``sai.open``, ``sai.evaluate``, ``sai.predict``,
``sai.figure``, ``sai.view`` (:mod:`sai_core.api`, ``docs/python.md``). They are loaded when they are first asked for:
importing this package takes no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sai_core.api import Annotations, Data, Recording, Scores, evaluate, figure, open, predict, view

__version__ = "0.2.0"

__all__ = ["Annotations", "Data", "Recording", "Scores", "__version__", "evaluate", "figure", "open", "predict", "view"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("sai_core.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

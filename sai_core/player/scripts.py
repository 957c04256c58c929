"""The scripts of the player and of the app's other elements: small ES modules, joined into one text each.

They lie in ``pages/components/web``; inline components and widgets take one text. No build and no tools: a module's
imports come before it, each once, and the words ``import`` and ``export`` are taken out, but for the entry's ``export
default``. So names must be one module's own (``tests/test_web.py`` looks), and imports name what they take, from a file
of that folder, without another name for it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from sai_core.installation import program_folder

FOLDER: Final[Path] = program_folder() / "pages" / "components" / "web"
_IMPORT: Final = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', flags=re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (default )?", flags=re.MULTILINE)


def order(entry: str) -> tuple[str, ...]:
    """Modules that one needs, each after what it needs itself; the entry is the last."""
    found: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"{name}.js imports itself by way of {', '.join(above)}"
        for imported in _IMPORT.findall(_source(name)):
            visit(imported, (*above, name))
        if name not in found:
            found.append(name)

    visit(entry, ())
    return tuple(found)


@lru_cache(maxsize=8)
def script(entry: str) -> str:
    """Text of a module with all that it imports, for ``st.components.v2.component(js=...)`` or a widget's ``_esm``."""

    def bare(name: str) -> str:
        return _EXPORT.sub(lambda m: m[0] if m[1] and name == entry else "", _IMPORT.sub("", _source(name)))

    return "\n".join(map(bare, order(entry)))


@lru_cache(maxsize=8)
def text(name: str) -> str:
    """A file of this folder."""
    return (FOLDER / name).read_text("utf-8")


def style(entry: str) -> str:
    """Style sheet of an element: what all share, then its own."""
    return text("shared.css") + text(f"{entry}.css")


def _source(name: str) -> str:
    return (FOLDER / f"{name}.js").read_text("utf-8")

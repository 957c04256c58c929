"""The scripts of the app's own elements: small ES modules, joined into one text each, since inline components take one.

No build and no tools: a module's imports come before it, each once, and the words ``import`` and ``export`` are taken
out. So names must be one module's own (``tests/test_web.py`` looks), and imports name what they take, from a file of
this folder, without another name for it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

FOLDER: Final[Path] = Path(__file__).parent
_IMPORT: Final = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', flags=re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?!default )", flags=re.MULTILINE)


def order(entry: str) -> tuple[str, ...]:
    """Modules that one needs, each after what it needs itself; the entry is the last."""
    found: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"{name}.js imports itself by way of {', '.join(above)}"
        for other in _IMPORT.findall(_source(name)):
            visit(other, (*above, name))
        if name not in found:
            found.append(name)

    visit(entry, ())
    return tuple(found)


@lru_cache(maxsize=8)
def script(entry: str) -> str:
    """Text of a module with all that it imports, for ``st.components.v2.component(js=...)``."""
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", _source(name))) for name in order(entry))


@lru_cache(maxsize=8)
def text(name: str) -> str:
    """A file of this folder."""
    return (FOLDER / name).read_text("utf-8")


def style(entry: str) -> str:
    """Style sheet of an element: what all share, then its own."""
    return text("shared.css") + text(f"{entry}.css")


def _source(name: str) -> str:
    return (FOLDER / f"{name}.js").read_text("utf-8")

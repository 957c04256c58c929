"""Which way imports go: rooms on floors, no circle between rooms, no page that reaches into another page."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

FLOORS: tuple[tuple[str, ...], ...] = (
    (
        "errors",
        "permissions",
        "access",
        "files",
        "progress",
        "geometry",
        "taxonomy",
        "settings",
        "installation",
        "shards",
    ),
    ("jobs", "cache", "entry_file", "environment", "threads", "memory", "checkpoints"),
    ("dataset", "annotations", "detections"),
    ("acoustics", "labelling", "detector", "teacher", "listener"),
    ("workspace",),
    ("doctor", "inference", "postprocess", "metrics", "tuning", "fusion", "simulation", "runs"),
    ("drawing",),
    ("viewing", "survey", "listening"),
    ("player", "training"),
    ("figures", "review", "interchange"),
    ("reporting",),
    ("commands", "cli", "__main__", "api"),
)
"""Rooms of ``sai_core`` from the ground up (``docs/architecture.md``). A room imports from its own floor and
from those below."""

LAYERS: dict[str, tuple[str, ...]] = {"sai_core.metrics": ("official", "evaluation", "reading")}
"""Rooms that are divided again, with their packages from the ground up. A module imports from its own layer and from
those below it; the room's front (its ``__init__``) is for others."""

SHARED_BY_PAGES = "components"


class Import(NamedTuple):
    """One name that a module imports, at the top, in a function or for types alone."""

    module: str
    name: str
    line: int

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.name}"


def imports_of(module: str, source: str, *, is_package: bool = False) -> Iterator[Import]:
    """All imports of a module wherever they stand, relative ones by their full name."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(module, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (Import(module, f"{base}.{alias.name}", node.lineno) for alias in node.names)


def all_imports() -> list[Import]:
    found: list[Import] = []
    for path in [
        REPOSITORY / "app.py",
        *(REPOSITORY / "sai_core").rglob("*.py"),
        *(REPOSITORY / "pages").rglob("*.py"),
    ]:
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        found += imports_of(module, path.read_text("utf-8"), is_package=is_package)
    return found


def room_of(name: str) -> str | None:
    """Room of a module of ``sai_core``; None for the package itself (its version) and for other packages."""
    parts = name.split(".")
    return parts[1] if parts[0] == "sai_core" and len(parts) > 1 and not parts[1].startswith("__version") else None


def climbing(imports: Iterable[Import]) -> list[str]:
    """Imports of the core that go up: to a higher floor, to a page, to streamlit; and rooms without a floor."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    wrong = []
    for item in imports:
        here, there = room_of(item.module), room_of(item.name)
        if here is None and item.module != "sai_core":
            continue
        if item.module == "sai_core" and there == "api":
            continue  # the package's own face, loaded when it is asked for
        if item.name.split(".")[0] in ("pages", "app", "streamlit"):
            wrong.append(str(item))
        elif here is not None and here not in floor:
            wrong.append(f"{item.module}: its room has no floor in tests/test_imports.py")
        elif there is not None and (there not in floor or here is None or floor[there] > floor[here]):
            wrong.append(str(item))
    return wrong


def out_of_layer(imports: Iterable[Import]) -> list[str]:
    """Imports within a divided room that go up, or through the room's front; and modules beside its layers."""
    wrong = []
    for item in imports:
        for room, layers in LAYERS.items():
            if not item.module.startswith(f"{room}."):
                continue
            here = item.module.split(".")[room.count(".") + 1]
            there = item.name.split(".")[room.count(".") + 1] if item.name.startswith(f"{room}.") else None
            if here not in layers:
                wrong.append(f"{item.module}: is in none of the layers {', '.join(layers)}")
            elif there is not None and there not in layers[: layers.index(here) + 1]:
                wrong.append(str(item))
    return wrong


def circle(imports: Iterable[Import], name_of: Callable[[str], str | None] = room_of) -> list[str]:
    """Rooms (or what else ``name_of`` makes of modules) that import each other in a ring; empty if there is none."""
    below: dict[str, set[str]] = {}
    for item in imports:
        here, there = name_of(item.module), name_of(item.name)
        if here is not None and there is not None and here != there:
            below.setdefault(here, set()).add(there)
    try:
        TopologicalSorter(below).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def of_other_pages(imports: Iterable[Import]) -> list[str]:
    """Imports of a page's modules by another page, by what pages share, or by ``app``; and of verbs by pages."""
    wrong = []
    for item in imports:
        parts, own = item.name.split("."), item.module.split(".")
        if own[0] == "pages" and room_of(item.name) in ("commands", "cli"):
            wrong.append(str(item))
        if parts[0] != "pages" or len(parts) < 2 or parts[1] == SHARED_BY_PAGES:
            continue
        if own[0] != "pages" or len(own) < 2 or own[1] != parts[1]:
            wrong.append(str(item))
    return wrong


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    return all_imports()


def test_every_import_goes_down(imports: list[Import]) -> None:
    assert climbing(imports) == []


def test_no_circle_between_rooms(imports: list[Import]) -> None:
    assert circle(imports) == []


def test_layers_of_a_room_import_down(imports: list[Import]) -> None:
    assert out_of_layer(imports) == []
    for room, layers in LAYERS.items():
        inside = {item.module for item in imports if item.module.startswith(f"{room}.")}
        assert {module.split(".")[room.count(".") + 1] for module in inside} == set(layers)

        def module_of(name: str, inside: set[str] = inside) -> str | None:
            return name if name in inside else name.rpartition(".")[0] if name.rpartition(".")[0] in inside else None

        assert circle(imports, module_of) == []


def test_no_page_imports_another(imports: list[Import]) -> None:
    assert of_other_pages(imports) == []
    packages = {item.module.split(".")[1] for item in imports if item.module.startswith("pages.")}
    assert packages >= {"components", "explorer", "scores", "tune"}


def test_every_room_is_looked_at(imports: list[Import]) -> None:
    rooms = {path.stem for path in (REPOSITORY / "sai_core").iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms -= {"__init__", "__pycache__"}
    assert rooms <= {room for floor in FLOORS for room in floor}
    assert len(imports) > 2000


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sai_core.files", "import sai_core.dataset.root"),
        ("sai_core.inference.engine", "def f():\n    from sai_core.drawing import still"),
        (
            "sai_core.metrics.reading.tables",
            "if TYPE_CHECKING:\n    from sai_core.training.config import TrainingConfig",
        ),
        ("sai_core.acoustics.store", "from sai_core import runs"),
        ("sai_core.acoustics.store", "from ..runs.folder import RunFolder"),
        ("sai_core.review.desk", "def f():\n    import streamlit as st"),
        ("sai_core.review.desk", "from pages.components import text"),
        ("sai_core.new_room.thing", "from sai_core.errors import InputError"),
        ("sai_core", "from sai_core.dataset import open_data_root"),
    ],
)
def test_a_climbing_import_is_found(module: str, source: str) -> None:
    assert len(climbing(imports_of(module, source, is_package=module == "sai_core"))) == 1


def test_what_goes_down_is_let_through() -> None:
    source = "from sai_core import __version__\nfrom sai_core.dataset import audio\nfrom ..progress import Progress"
    assert climbing(imports_of("sai_core.metrics.evaluation.scores", source)) == []


@pytest.mark.parametrize(
    ("module", "source", "is_wrong"),
    [
        ("official.pairing_0630", "from sai_core.metrics.official import rendering_0630", False),
        ("reading.tables", "from sai_core.metrics.official.published import CAVEAT", False),
        ("reading.tables", "from sai_core.progress import Progress", False),
        ("official.pairing_0630", "from sai_core.metrics.evaluation.scores import merge", True),
        ("evaluation.scores", "def f():\n    from sai_core.metrics.reading import diagnostics", True),
        ("evaluation.scores", "from sai_core.metrics import confusion_matrix", True),
        ("evaluation.scores", "from ..reading.tables import Table", True),
        ("thing", "from sai_core.errors import InputError", True),
    ],
)
def test_an_import_out_of_its_layer_is_found(module: str, source: str, is_wrong: bool) -> None:
    assert bool(out_of_layer(imports_of(f"sai_core.metrics.{module}", source))) == is_wrong


def test_a_circle_on_one_floor_is_found() -> None:
    one = [*imports_of("sai_core.inference.job", "from sai_core.postprocess import run")]
    other = [*imports_of("sai_core.postprocess.pipeline", "def f():\n    from sai_core.inference.engine import x")]
    assert climbing(one + other) == []
    assert circle(one) == []
    assert set(circle(one + other)) == {"inference", "postprocess"}


@pytest.mark.parametrize(
    ("module", "source", "is_wrong"),
    [
        ("pages.tune.page", "from pages.tune import sliders", False),
        ("pages.tune.page", "from pages.components import text", False),
        ("pages.tune.page", "from pages.scores import charts", True),
        ("pages.tune.page", "def f():\n    import pages.scores.charts", True),
        ("pages.components.viewer", "from pages.scores import charts", True),
        ("pages.tune.page", "from ..scores import charts", True),
        ("app", "from pages import tune", True),
        ("pages.doctor.page", "from sai_core.commands.doctor import run", True),
        ("app", "from pages.components.text import plain", False),
    ],
)
def test_a_page_that_reaches_into_another_is_found(module: str, source: str, is_wrong: bool) -> None:
    assert bool(of_other_pages(imports_of(module, source))) == is_wrong


VAGUE_NAMES = frozenset({"told", "said", "one", "other"})
"""Words that say nothing about what a variable holds; the field has a noun for it (an annotation, notes, a message)."""


def vague_names(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each variable, attribute, loop variable and parameter that is called by a vague word.

    The second operand of Python's own operators (``__eq__``, ``__add__``, ...) is ``other`` everywhere.
    """
    tree = ast.parse(source)
    operands = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("__") and node.name.endswith("__")
        for argument in node.args.args
        if argument.arg == "other"
    }
    for node in ast.walk(tree):
        match node:
            case ast.arg() if id(node) in operands:
                continue
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                pass
            case ast.MatchAs(name=name) | ast.MatchStar(name=name) | ast.ExceptHandler(name=name):
                pass
            case ast.alias(asname=name):
                pass
            case _:
                continue
        if name in VAGUE_NAMES:
            yield node.lineno, name


def test_variables_say_what_they_hold() -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{line} {name}"
        for folder in ("sai_core", "pages")
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
        for line, name in vague_names(path.read_text("utf-8"))
    ]
    assert not found, "give them the noun for what they hold"


@pytest.mark.parametrize(
    "source",
    [
        "told = 1",
        "other: int = 1",
        "self.said = 1",
        "a, (one, b) = c",
        "if said := f(): pass",
        "for one in x: pass",
        "[y for y, other in x]",
        "def f(other): pass",
        "def f(*, told=None): pass",
        "lambda one: 1",
        "with f() as one: pass",
        "try: pass\nexcept E as told: pass",
        "import x as other",
        "match x:\n    case [one, *_]: pass",
    ],
)
def test_a_vague_name_is_found(source: str) -> None:
    assert [name in VAGUE_NAMES for _, name in vague_names(source)] == [True]


def test_words_that_are_read_or_named_elsewhere_are_no_variables() -> None:
    assert not list(vague_names("class A:\n    def __add__(self, other): return self"))
    assert not list(vague_names("x = other.one\nf(told=said)\nmessage = 'one'\nothers = 2"))

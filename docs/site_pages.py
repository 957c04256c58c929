"""Pages of the site that are made from the program itself: the verbs from argparse, the API from docstrings."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

API = (
    ("api", "From a notebook or a script", ("sai_core.api",)),
    (
        "data",
        "Data and annotations",
        ("sai_core.dataset.root", "sai_core.annotations.table", "sai_core.annotations.reading"),
    ),
    ("geometry", "Canvas, directions, classes", ("sai_core.geometry", "sai_core.taxonomy")),
    ("metrics", "Metrics", ("sai_core.metrics.evaluation.evaluate", "sai_core.metrics.evaluation.scores")),
    (
        "postprocess",
        "From raw detections to annotations",
        ("sai_core.postprocess.pipeline", "sai_core.postprocess.systems"),
    ),
    ("drawing", "Energy maps", ("sai_core.drawing.maps",)),
    ("errors", "Errors", ("sai_core.errors",)),
)
"""What a user's own program calls: page, title, modules. The other rooms are described in docs/architecture.md."""


def commands() -> str:
    """Every verb with its options, as ``--help`` prints it at a fixed width."""
    from sai_core.cli import build_parser

    os.environ["COLUMNS"] = "110"
    parser = build_parser()
    lines = [
        "# Commands",
        "Installed, each verb is `sai VERB`; in the repository `python -m sai_core VERB`. Exit code 0 is success, 2 a",
        "mistake in the call or in a file (one sentence on standard error), 1 anything else.",
        "",
    ]
    for name, verb in _choices(parser):
        lines += [f"## {name}", "```text", verb.format_help().rstrip(), "```", ""]
        for action, child in _choices(verb):
            lines += [f"### {name} {action}", "```text", child.format_help().rstrip(), "```", ""]
    return "\n".join(lines)


def _choices(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def api() -> str:
    """The public functions and classes that a user's own program calls."""
    lines = [
        "# Python API",
        "Units are in names, angles in degrees; `InputError` is a user's mistake in one sentence.",
        "",
    ]
    for _, title, modules in API:
        lines += [f"## {title}", ""]
        for module in modules:
            lines += [f"::: {module}", "    options:", "      heading_level: 3", ""]
    return "\n".join(lines)


def on_page_content(html: str, **_: object) -> str:
    """Roles of reStructuredText in docstrings: the name alone, in the code's type."""
    return re.sub(r":(?:func|class|mod|data|attr|meth|exc):(<code>)~?", r"\1", html)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by mkdocs when it has found the pages on disk."""
    from mkdocs.structure.files import File

    for name, text in (("commands.md", commands()), ("api.md", api())):
        files.append(File.generated(config, name, content=text))
    return files

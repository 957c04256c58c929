"""``settings``: what can be set in recipes and systems, with meaning, range and default."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from sai_core.runs.kinds import KINDS

_EXAMPLE = """examples:
  python -m sai_core settings detector
  python -m sai_core settings system --json

Names are those of the TOML files and of `--set NAME=VALUE`; N is the number of an entry, from 0."""

_SYSTEM = "system"


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the verb."""
    parser = subparsers.add_parser(
        "settings",
        help="what can be set in recipes and systems",
        description="List the settings of a kind of training, or of a system, as a table.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("of", choices=[*KINDS, _SYSTEM], help="kind of training, or system")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="has no effect here; every verb takes it")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from sai_core.postprocess.pipeline import PipelineSettings
    from sai_core.settings import describe, markdown_table

    settings = describe(PipelineSettings) if args.of == _SYSTEM else KINDS[args.of].settings()
    if args.json:
        json.dump([asdict(setting) for setting in settings], sys.stdout, indent=1, default=str)
        print()
    else:
        print(markdown_table(settings))
    return 0

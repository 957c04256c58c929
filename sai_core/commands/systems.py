"""``systems``: the named systems and their settings."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sai_core.errors import InputError

if TYPE_CHECKING:
    from sai_core.postprocess.systems import System

_EXAMPLE = """examples:
  python -m sai_core systems list
  python -m sai_core systems show TPAV
  python -m sai_core systems copy FAO --out my-fao.toml --name "My FAO"

A copy is a text file; change it, then give it to predict --system my-fao.toml. Files in the
workspace's folder systems (or in $SAI_SYSTEMS_DIR) are found by name, here and in the app."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the verb."""
    parser = subparsers.add_parser(
        "systems",
        help="named systems: list, show, copy",
        description="Named ways from raw detections to a submission: those of the report, the official baseline, and "
        "your own files.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="all systems")
    show = actions.add_parser("show", help="one system with all its settings")
    show.add_argument("name", metavar="NAME", help="name or .toml file")
    copy = actions.add_parser("copy", help="write a system to a file, to change it")
    copy.add_argument("name", metavar="NAME", help="name or .toml file")
    copy.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write (.toml)")
    copy.add_argument("--name", dest="new_name", metavar="NEW", help="name of the copy")
    for action in (listing, show, copy):
        action.add_argument("--json", action="store_true", help="print JSON")
        action.add_argument("--quiet", action="store_true", help="no notes on standard error")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List, show or copy."""
    from sai_core.dataset.outputs import check_output
    from sai_core.postprocess.systems import load_system, save_system, system_toml, systems_folders

    if args.action == "list":
        return _list(args)
    system = load_system(args.name, folder=systems_folders())
    if args.action == "show":
        print(json.dumps(_facts(system), indent=1, ensure_ascii=False) if args.json else system_toml(system), end="")
        if args.json:
            print()
        return 0
    check_output(args.out)
    if args.out.exists():
        raise InputError(f"{args.out}: exists already; choose another name, so that no settings are lost.")
    if args.new_name:
        system = replace(system, name=args.new_name, version=1)
    save_system(system, args.out)
    if args.json:
        print(json.dumps({"file": str(args.out), "name": system.name}))
    elif not args.quiet:
        print(f"{args.out}: {system.display_name}, version {system.version}")
    return 0


def _list(args: argparse.Namespace) -> int:
    from sai_core.postprocess.systems import list_systems, refused_systems, systems_folders

    folders = systems_folders()
    systems = list_systems(folders)
    for sentence in refused_systems(folders):
        print(f"left out: {sentence}", file=sys.stderr)
    if args.json:
        print(json.dumps([_facts(system) for system in systems], indent=1, ensure_ascii=False))
        return 0
    rows = [("system", "track", "teacher", "version", "what it is")]
    rows += [(s.display_name, s.track, "needed" if s.needs_teacher else "-", str(s.version), s.title) for s in systems]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip())
    return 0


def _facts(system: System) -> dict[str, Any]:
    return {
        "name": system.name,
        "title": system.title,
        "version": system.version,
        "track": system.track,
        "clean": system.clean,
        "needs_teacher": system.needs_teacher,
        "needs_field": system.needs_field,
        "needs_wideband": system.needs_wideband,
        "checkpoint": system.checkpoint,
        "description": system.description,
        "settings": system.settings.to_dict(),
    }

"""``sets``: the prediction and label sets of the workspace: list, show, rename, export, import, throw away, clean."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sai_core.errors import InputError

if TYPE_CHECKING:
    from sai_core.workspace import StoredSet, Trashed

_EXAMPLE = """examples:
  python -m sai_core sets list
  python -m sai_core sets show "FAO small"
  python -m sai_core sets rename "FAO small" "FAO of March"
  python -m sai_core sets export "FAO of March" --out fao.zip
  python -m sai_core sets import theirs.zip --data STARSS23 --name "FAO of theirs"
  python -m sai_core sets trash "FAO of March"
  python -m sai_core sets restore "FAO of March"
  python -m sai_core sets clean --trash

Wherever a verb takes the path of predictions or labels, the name of a set does as well. docs/workspace.md says what
lies where."""

_KIND_WORDS = {"predictions": "predictions", "labels": "labels"}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the verb."""
    parser = subparsers.add_parser(
        "sets",
        help="prediction and label sets of the workspace: list, show, rename, export, import, trash, clean",
        description="The prediction sets and label sets that the program has made and keeps in its workspace.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str, call: Callable[[argparse.Namespace], int], *, named: bool = True) -> Any:
        child = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if named:
            child.add_argument("name", metavar="NAME", help="of the set")
        child.add_argument("--kind", choices=tuple(_KIND_WORDS), help="where both kinds have a set of this name")
        child.add_argument("--json", action="store_true", help="print JSON")
        child.add_argument("--quiet", action="store_true", help="no remarks")
        child.set_defaults(call=call)
        return child

    listing = action("list", "list the sets, the newest first", _list, named=False)
    listing.add_argument("--trash", action="store_true", help="what is in the trash instead")
    action("show", "print what a set was made from, and its recordings", _show)
    rename = action("rename", "give a set another name", _rename)
    rename.add_argument("new", metavar="NEW", help="new name")
    note = action("note", "write a note on a set; an empty one removes it", _note)
    note.add_argument("text", metavar="TEXT", help="the note, which replaces the one before")
    tag = action("tag", "set the tags of a set", _tag)
    tag.add_argument("tags", metavar="TAG", nargs="*", help="all its tags from now on; give none to remove them")
    export = action("export", "copy a set into a new folder or .zip file", _export)
    export.add_argument("--out", type=Path, required=True, metavar="DIR_OR_ZIP", help="must not exist yet")
    export.add_argument("--raw", action="store_true", help="with the raw detections")
    bring = action("import", "copy a folder or .zip of predictions or labels into the workspace", _import, named=False)
    bring.add_argument("source", type=Path, metavar="DIR_OR_ZIP", help="an export, a submission, annotation files")
    bring.add_argument("--name", default="", metavar="NAME", help="of the new set (default: as the folder or file)")
    bring.add_argument("--data", type=Path, metavar="ROOT", help="data root that it belongs to")
    action("trash", "move a set to the trash, from where it can be restored", _trash)
    action("restore", "restore a set from the trash (the latest, if several have the name)", _restore)
    clean = action(
        "clean",
        "delete what can be made again or is in the trash; without options, list it",
        _clean,
        named=False,
    )
    clean.add_argument("--trash", action="store_true", help="delete all that is in the trash, for good")
    clean.add_argument(
        "--raw",
        nargs="+",
        metavar="NAME",
        default=[],
        help="delete the raw detections of these sets; tuning needs them, the same prediction makes them again",
    )
    action("usage", "print how much disk space each part of the workspace takes", _usage, named=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    from sai_core.workspace import workspace

    for problem in workspace().problems():
        print(f"warning: {problem}", file=sys.stderr)
    call: Callable[[argparse.Namespace], int] = args.call
    return call(args)


def _find(args: argparse.Namespace) -> StoredSet:
    """The set that is meant, of either kind."""
    from sai_core.workspace import KIND_NOUNS, KINDS, workspace

    if args.kind:
        return workspace().find(args.kind, args.name)
    found, errors = [], []
    for kind in KINDS:
        try:
            found.append(workspace().find(kind, args.name))
        except InputError as error:
            errors.append(error)
    if len(found) > 1:
        raise InputError(f"{args.name}: is a prediction set and a label set; say which by --kind.")
    if found:
        return found[0]
    near = [e for e in errors if "did you mean" in str(e)]
    if near:
        raise near[0]
    kinds = " and no ".join(KIND_NOUNS.values())
    raise InputError(f"{args.name}: the workspace {workspace().path} has no {kinds} of this name; see sets list.")


def _list(args: argparse.Namespace) -> int:
    from sai_core.workspace import KINDS, workspace

    kinds = [args.kind] if args.kind else list(KINDS)
    place = workspace()
    if args.trash:
        return _list_trash(args, [t for t in place.trashed() if t.kind in kinds])
    sets = [stored for kind in kinds for stored in place.sets(kind)]
    if args.json:
        print(json.dumps([_facts(stored) for stored in sets], indent=1))
        return 0
    for stored in sets:
        if stored.problem:
            print(f"warning: {stored.problem}", file=sys.stderr)
    rows = [("name", "kind", "files", "made by", "from", "made", "tags and note")]
    rows += [
        (
            stored.name,
            _KIND_WORDS[stored.kind],
            str(stored.n_files),
            stored.facts.made_by or "-",
            _origin(stored),
            _day(stored.facts.created or stored.changed),
            " ".join([*(f"#{tag}" for tag in stored.facts.tags), *stored.facts.note.split()]),
        )
        for stored in sets
    ]
    _print_table(rows)
    if not args.quiet:
        print(f"\n{place.path}: {len(sets)} set{'s' * (len(sets) != 1)}")
    return 0


def _list_trash(args: argparse.Namespace, trashed: list[Trashed]) -> int:
    if args.json:
        rows = [{"name": t.name, "kind": t.kind, "trashed": t.when, "bytes": t.size_bytes()} for t in trashed]
        print(json.dumps(rows, indent=1))
        return 0
    table = [("name", "kind", "thrown away", "MB")]
    table += [(t.name, _KIND_WORDS[t.kind], _day(t.when), f"{t.size_bytes() / 1e6:.1f}") for t in trashed]
    _print_table(table)
    return 0


def _origin(stored: StoredSet) -> str:
    """In a few words what a set was made from."""
    facts = stored.facts
    if stored.kind == "labels":
        return facts.base or ("the data's own labels" if facts.made_by == "review" else "-")
    parts = [Path(facts.checkpoint).stem, facts.system, facts.base]
    return ", ".join(part for part in parts if part) or "-"


def _facts(stored: StoredSet) -> dict[str, Any]:
    import msgspec

    facts = {k: v for k, v in msgspec.to_builtins(stored.facts).items() if k != "unknown"}
    return {
        "name": stored.name,
        "kind": stored.kind,
        "folder": str(stored.folder),
        "n_files": stored.n_files,
        "has_raw": stored.has_raw,
        **facts,
        "problem": stored.problem,
        "left_out": list(stored.left_out),
    }


def _show(args: argparse.Namespace) -> int:
    stored = _find(args)
    if args.json:
        print(json.dumps({**_facts(stored), "bytes": stored.size_bytes(), "files": sorted(stored.files)}, indent=1))
        return 0
    for sentence in (*([stored.problem] if stored.problem else []), *stored.left_out):
        print(f"warning: {sentence}", file=sys.stderr)
    facts = stored.facts
    lines = [
        ("name", stored.name),
        ("kind", _KIND_WORDS[stored.kind]),
        ("folder", str(stored.folder)),
        ("made by", " ".join(part for part in (facts.made_by, facts.program and f"({facts.program})") if part)),
        ("made", _day(facts.created) if facts.created else ""),
        ("data", facts.data),
        ("checkpoint", facts.checkpoint),
        ("content", facts.checkpoint_content),
        ("system", facts.system),
        ("made from", facts.base),
        *((f"  {name}", str(value)) for name, value in facts.options.items()),
        ("tags", " ".join(f"#{tag}" for tag in facts.tags)),
        ("note", facts.note),
        ("size", f"{stored.size_bytes() / 1e6:.1f} MB" + (", raw detections included" if stored.has_raw else "")),
        ("files", f"{stored.n_files}" + (f" of {len(facts.recordings)} asked for" if facts.recordings else "")),
    ]
    for name, value in lines:
        if value:
            print(f"{name:<12}{_plain(value)}")
    for key in sorted(stored.files):
        print(f"  {_plain(key)}")
    return 0


def _rename(args: argparse.Namespace) -> int:
    from sai_core.workspace import workspace

    stored = _find(args)
    renamed = workspace().change(stored, name=args.new)
    return _say(args, f"{stored.name} is now called {renamed.name}", renamed)


def _note(args: argparse.Namespace) -> int:
    from sai_core.workspace import workspace

    changed = workspace().change(_find(args), note=args.text)
    return _say(args, f"{changed.name}: {changed.facts.note or 'no note'}", changed)


def _tag(args: argparse.Namespace) -> int:
    from sai_core.workspace import workspace

    changed = workspace().change(_find(args), tags=args.tags)
    return _say(args, f"{changed.name}: {' '.join(f'#{t}' for t in changed.facts.tags) or 'no tags'}", changed)


def _export(args: argparse.Namespace) -> int:
    from sai_core.workspace import workspace

    stored = _find(args)
    out = workspace().export(stored, args.out, raw=args.raw)
    if args.json:
        print(json.dumps({"name": stored.name, "file": str(out)}))
    elif not args.quiet:
        print(f"{out}: {stored.n_files} files of {stored.name}")
    return 0


def _import(args: argparse.Namespace) -> int:
    from sai_core.dataset import open_data_root
    from sai_core.progress import TerminalProgress, no_progress
    from sai_core.workspace import workspace
    from sai_core.workspace.importing import import_set

    root = open_data_root(args.data) if args.data is not None else None
    progress = no_progress if args.quiet else TerminalProgress("import")
    done = import_set(workspace(), args.source, kind=args.kind or "", name=args.name, root=root, progress=progress)
    for note in done.notes:
        print(f"warning: {_plain(note)}", file=sys.stderr)
    stored = done.stored
    return _say(
        args, f"{stored.name}: {stored.n_files} file{'s' * (stored.n_files != 1)} of {stored.kind} imported", stored
    )


def _trash(args: argparse.Namespace) -> int:
    from sai_core.workspace import workspace

    gone = workspace().trash(_find(args))
    if args.json:
        print(json.dumps({"name": gone.name, "kind": gone.kind, "folder": str(gone.folder)}))
    elif not args.quiet:
        print(f"{gone.name} is in the trash; sets restore {gone.name!r} brings it back")
    return 0


def _restore(args: argparse.Namespace) -> int:
    from sai_core.workspace import workspace

    trashed = [t for t in workspace().trashed() if args.kind in (None, t.kind)]
    same = [t for t in trashed if t.name.casefold() == args.name.casefold()]
    if not same:
        names = ", ".join(dict.fromkeys(t.name for t in trashed))
        raise InputError(f"{args.name}: is not in the trash; {'it holds ' + names if names else 'the trash is empty'}.")
    if len({t.kind for t in same}) > 1:
        raise InputError(f"{args.name}: the trash has a prediction set and a label set of it; say which by --kind.")
    restored = workspace().restore(same[0])
    words = "is back" if restored.name == same[0].name else f"is back as {restored.name}, since its name is taken"
    return _say(args, f"{same[0].name} {words}", restored)


def _clean(args: argparse.Namespace) -> int:
    from sai_core.workspace import workspace

    place = workspace()
    if not args.trash and not args.raw:
        return _print_usage(args, only_cleanable=True)
    sets = [place.find("predictions", name) for name in args.raw]
    freed = sum(place.drop_raw(stored) for stored in sets)
    if args.trash:
        freed += place.empty_trash()
    if args.json:
        print(json.dumps({"freed_bytes": freed}))
    elif not args.quiet:
        print(f"{freed / 1e6:.1f} MB freed")
    return 0


def _usage(args: argparse.Namespace) -> int:
    return _print_usage(args, only_cleanable=False)


def _print_usage(args: argparse.Namespace, *, only_cleanable: bool) -> int:
    from dataclasses import asdict

    from sai_core.workspace import workspace

    rows = [u for u in workspace().usage() if u.may_be_cleaned or not only_cleanable]
    if args.kind:
        rows = [u for u in rows if u.part == args.kind or (args.kind == "predictions" and u.part == "raw")]
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return 0
    table = [("part", "name", "MB", "may be cleaned")]
    table += [(u.part, u.name, f"{u.size_bytes / 1e6:.1f}", u.meaning if u.may_be_cleaned else "-") for u in rows]
    _print_table(table)
    if not args.quiet:
        print(f"\n{workspace().path}: {sum(u.size_bytes for u in rows) / 1e6:.1f} MB")
        if any(u.may_be_cleaned for u in rows):
            print("sets clean --trash and sets clean --raw NAME free it")
    return 0


def _say(args: argparse.Namespace, sentence: str, stored: StoredSet) -> int:
    if args.json:
        print(json.dumps(_facts(stored), indent=1))
    elif not args.quiet:
        print(_plain(sentence))
    return 0


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _plain(text: str) -> str:
    """Text from a disk that any terminal can show."""
    shown = "".join(sign if sign.isprintable() else " " for sign in text)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")


def _print_table(rows: Iterable[tuple[str, ...]]) -> None:
    table = [tuple(_plain(cell) for cell in row) for row in rows]
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

"""``doctor``: what is installed, which device, what a data root holds, what is missing."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from typing import Any, Final

from sai_core.doctor import KINDS, codecs_text, gather

_MOST_PROBLEMS = 20
"""Sentences printed; a folder of a thousand broken files is one finding, not a thousand."""


_AUDIT_LINES: Final[int] = 20
_AUDIT_WIDTH: Final[int] = 60
"""Characters of what and with which result that the table shows; a log may hold 500 of each."""

_EXAMPLE = """example:
  python -m sai_core doctor --data /data/STARSS23
  SAI_ROLES=/etc/sai/roles.toml python -m sai_core doctor --audit 50
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "doctor",
        help="print what is installed, which device there is, and what a data root holds",
        description="Print what is installed, which device there is, what a data root holds, and what is missing.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    about = parser.add_mutually_exclusive_group()
    about.add_argument("--data", metavar="ROOT", help="also check a data root")
    about.add_argument(
        "--audit",
        type=int,
        nargs="?",
        const=_AUDIT_LINES,
        metavar="N",
        help="instead of all that, print the last N lines of the audit log of the file of roles in SAI_ROLES "
        f"({_AUDIT_LINES}); 0 for all. The table cuts long texts, JSON has them whole",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--quiet", action="store_true", help="print nothing but problems")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 when the program cannot work on this machine as it is, else 0."""
    if args.audit is not None:
        return _audit(args)
    root, excuse = None, None
    if args.data is not None:
        # before torch is tried, so that a mistyped path is told at once
        try:
            from sai_core.dataset import open_data_root
        except (ImportError, AttributeError) as error:  # not installed, or only in part
            excuse = f"The data root was not checked, because a package does not load ({error})."
        else:
            root = open_data_root(args.data)
    report = gather(root)
    if excuse is not None:
        report["problems"].append(excuse)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        lines = [] if args.quiet else _lines(report)
        problems = report["problems"] + (report["data"]["problems"] if report["data"] else [])
        if problems:
            lines += ["", "Problems"] if lines else []
            lines += [f"  - {problem}" for problem in problems[:_MOST_PROBLEMS]]
            if len(problems) > _MOST_PROBLEMS:
                lines.append(f"  and {len(problems) - _MOST_PROBLEMS} more; --json lists them all")
        elif not args.quiet:
            lines += ["", "No problems found."]
        if lines:
            print("\n".join(lines))
    return 1 if report["broken"] else 0


def _audit(args: argparse.Namespace) -> int:
    """Print the end of the audit log."""
    from sai_core.access import audit_path, damaged_lines, read_audit
    from sai_core.errors import InputError

    if args.audit < 0:
        raise InputError(f"--audit is {args.audit}; expected a number of lines, or 0 for all.")
    path = audit_path()
    lines, n_broken = read_audit(path) if os.path.lexists(path) else ([], 0)
    last = lines[-args.audit :]  # 0: all
    if args.json:
        facts = {"audit": str(path), "lines": len(lines), "damaged": n_broken}
        print(json.dumps({**facts, "last": [dataclasses.asdict(line) for line in last]}, indent=2))
        return 0
    if sentence := damaged_lines(path, n_broken):
        print(f"warning: {sentence}", file=sys.stderr)
    if args.quiet:
        return 0
    which = f"lines {len(lines) - len(last) + 1} to {len(lines)} of {len(lines)}" if lines else "no line yet"
    print(f"{path}: {which}")
    # of people's own making: nothing in it may move the terminal's cursor or pass for another line
    rows = [[_plain(text) for text in (r.time, r.who, r.role, r.what, r.result, r.on)] for r in last]
    n_cut = sum(len(text) > _AUDIT_WIDTH for row in rows for text in row)
    rows = [[text if len(text) <= _AUDIT_WIDTH else text[: _AUDIT_WIDTH - 3] + "..." for text in row] for row in rows]
    if rows:
        rows.insert(0, ["time (UTC)", "who", "role", "what", "result", "on"])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    if n_cut:
        print(f"{n_cut} {'text is' if n_cut == 1 else 'texts are'} cut; --json has them whole.")
    return 0


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _lines(report: dict[str, Any]) -> list[str]:
    machine, torch = report["machine"], report["torch"]
    lines = [
        f"sai_core {report['program']} on Python {report['python']['version']} ({report['python']['executable']})",
        f"{machine['system']}, {machine['n_cores']} cores, "
        f"{_bytes(machine['memory_available'])} of {_bytes(machine['memory_total'])} memory free",
        "",
        "Packages",
    ]
    width = max((len(p["name"]) for p in report["packages"]), default=0)
    for package in report["packages"]:
        mark = "!" if package["problem"] else " "
        installed = package["installed"] or "missing"
        lines.append(f" {mark} {package['name']:<{width}}  {installed:<12} {package['required']}".rstrip())
    works = "their operators run" if torch["operators_work"] else "THEIR OPERATORS DO NOT RUN"
    lines += [
        "",
        f"Torch      {torch['torch']} with torchvision {torch['torchvision']}: {works}",
        "Devices    " + ", ".join(_device(d) for d in report["devices"]),
        f"OpenCV     {'works' if report['opencv_works'] else 'does not work'}",
        f"PyAV       {'decodes video, writes H.264 and AAC' if report['pyav_works'] else 'does not work'}",
        f"Codecs     {codecs_text(report['video_codecs'])}",
        f"Chromium   {report['chromium'] or 'not found (only the browser tests need it)'}",
        f"Cache      {machine['cache_path']}: {_bytes(machine['cache_bytes'])} used of "
        f"{_bytes(machine['cache_budget'])} (SAI_CACHE_MAX_GB), {_bytes(machine['cache_free'])} free on its disk",
    ]
    if (kept := report["workspace"]) is not None:
        lines.append(f"Workspace  {kept['path']}: prediction sets {kept['predictions']}, label sets {kept['labels']}")
    if (access := report["access"]) is not None:
        log = f"{access['audit']}, {access['lines']} lines" if access["audit"] else "none"
        last = f", the last of {access['last']}" if access["last"] else ""
        lines.append(f"Roles      {access['roles']}: {access['people']} people, others {access['default']}")
        lines.append(f"Audit log  {log}{last}")
    if report["data"] is not None:
        lines += ["", *_data_lines(report["data"])]
    return lines


def _data_lines(data: dict[str, Any]) -> list[str]:
    lines = [f"Data root {data['path']}"]
    rows = [["split", "recordings", *(kind for kind, _ in KINDS), "duration"]]
    for split, counts in data["splits"].items():
        numbers = [str(counts["recordings"]), *(str(counts[kind]) for kind, _ in KINDS)]
        rows.append([split or "(no split)", *numbers, _duration(counts["seconds"])])
    if len(rows) > 1:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
            lines.append("  " + "  ".join(cells))
    else:
        lines.append("  no recordings found")
    for predictions in data["predictions"]:
        note = " (stand-in, made up for demonstration)" if predictions["stand_in"] else ""
        lines.append(f"  predictions {predictions['name']}: {predictions['files']} files{note}")
    lines += [f"  {sentence}" for sentence in data["missing"]]
    return lines


def _device(device: dict[str, Any]) -> str:
    memory = f", {_bytes(device['memory_bytes'])}" if device["memory_bytes"] else ""
    return f"{device['name']} ({device['model']}{memory})"


def _bytes(size: int | None) -> str:
    if size is None:
        return "unknown"
    value, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit in ("B", "KiB") else f"{value:.1f} {unit}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"

"""``doctor``: what is installed, which device, what a data root holds, what is missing."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import sys
from typing import TYPE_CHECKING, Any

from sai_core import __version__, environment

if TYPE_CHECKING:
    # at run time only where a data root is asked for: the verb must work where OpenCV does not load
    from sai_core.dataset import DataRoot

_KINDS: tuple[tuple[str, str], ...] = (
    ("labels", "label_path"),
    ("metadata", "metadata_path"),
    ("mic", "mic_path"),
    ("foa", "foa_path"),
    ("eigen", "eigen_path"),
    ("video", "video_path"),
    ("frames", "frames_dir"),
)


_MOST_PROBLEMS = 20
"""Sentences printed; a folder of a thousand broken files is one finding, not a thousand."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "doctor",
        help="tell what is installed, which device there is, and what a data root holds",
        description="Tell what is installed, which device there is, what a data root holds, and what is missing.",
        epilog="example: python -m sai_core doctor --data /data/STARSS23",
    )
    parser.add_argument("--data", metavar="ROOT", help="a data root to look at as well")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--quiet", action="store_true", help="print nothing but problems")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 when the program cannot work on this machine as it is, else 0."""
    root, excuse = None, None
    if args.data is not None:
        # before torch is tried, so that a mistyped path is told at once
        try:
            from sai_core.dataset import open_data_root
        except (ImportError, AttributeError) as error:  # not installed, or only in part
            excuse = f"The data root was not looked at, because a package does not load ({error})."
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


def gather(root: DataRoot | None = None) -> dict[str, Any]:
    """Everything the verb tells, as plain data (see ``--json``).

    Parameters
    ----------
    root : DataRoot, optional
        Looked at as well; durations come from the headers of the audio files.

    Returns
    -------
    dict
        ``problems`` holds one sentence each; ``broken`` says whether one of them keeps the program from working.
    """
    packages = environment.check_packages()
    torch = environment.probe_torch()
    machine = environment.look_at_machine()
    opencv, pyav = environment.check_opencv(), environment.check_pyav()
    missing = [p.problem for p in packages if p.installed is None]
    problems = [p.problem for p in packages if p.problem is not None]
    problems += [p for p in (torch.problem, opencv, pyav) if p is not None and p not in problems]
    python_ok = (3, 11) <= sys.version_info[:2] < (3, 14)
    if not python_ok:
        problems.append(f"Python {platform.python_version()} is untested; use Python 3.11 to 3.13.")
    if not machine.cache_writable:
        problems.append(
            f"The cache folder {machine.cache_path} cannot be written; set SAI_CACHE_DIR to one that can "
            "(without it everything works, only slower)."
        )
    if (service := sys.modules.get("sai_core.cache")) is not None:
        # in the app: what this process found damaged and made anew
        problems += service.notices()
    return {
        "program": __version__,
        "python": {"version": platform.python_version(), "executable": sys.executable, "supported": python_ok},
        "packages": [dataclasses.asdict(p) for p in packages],
        "torch": {
            "torch": torch.torch,
            "torchvision": torch.torchvision,
            "cuda": torch.cuda,
            "operators_work": torch.problem is None,
        },
        "devices": [*torch.devices, {"name": "cpu", "model": f"{machine.n_cores} cores", "memory_bytes": None}],
        "machine": dataclasses.asdict(machine),
        "opencv_works": opencv is None,
        "pyav_works": pyav is None,
        "video_codecs": environment.video_codecs(),
        "chromium": environment.find_chromium(),
        "data": _data(root) if root is not None else None,
        "problems": problems,
        "broken": bool(missing or torch.problem or opencv or pyav),
    }


def _data(root: DataRoot) -> dict[str, Any]:
    from sai_core.dataset import describe

    splits: dict[str, dict[str, Any]] = {}
    problems = list(root.problems)
    for recording in root.recordings:
        counts = splits.setdefault(
            recording.split, {"recordings": 0, **{kind: 0 for kind, _ in _KINDS}, "seconds": 0.0}
        )
        counts["recordings"] += 1
        for kind, attribute in _KINDS:
            counts[kind] += getattr(recording, attribute) is not None
        if recording.has_audio or recording.has_video:
            info = describe(recording)
            counts["seconds"] += info.duration_s or 0.0
            problems += [*info.problems, *info.notes]
    return {
        "path": str(root.path),
        "splits": splits,
        "predictions": [
            {"name": s.name, "folder": str(s.folder), "files": len(s), "stand_in": s.is_stand_in}
            for s in root.prediction_sets
        ],
        "missing": list(root.missing),
        "problems": problems + [p for s in root.prediction_sets for p in s.problems if p not in problems],
    }


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
    if report["data"] is not None:
        lines += ["", *_data_lines(report["data"])]
    return lines


def _data_lines(data: dict[str, Any]) -> list[str]:
    lines = [f"Data root {data['path']}"]
    rows = [["split", "recordings", *(kind for kind, _ in _KINDS), "duration"]]
    for split, counts in data["splits"].items():
        numbers = [str(counts["recordings"]), *(str(counts[kind]) for kind, _ in _KINDS)]
        rows.append([split or "(no split)", *numbers, _duration(counts["seconds"])])
    if len(rows) > 1:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
            lines.append("  " + "  ".join(cells))
    else:
        lines.append("  no recordings found")
    for one in data["predictions"]:
        note = " (stand-in, made up for demonstration)" if one["stand_in"] else ""
        lines.append(f"  predictions {one['name']}: {one['files']} files{note}")
    lines += [f"  {sentence}" for sentence in data["missing"]]
    return lines


def codecs_text(codecs: dict[str, bool]) -> str:
    """Which video codecs can be decoded and which cannot, in one line."""
    if not codecs:
        return "unknown, since PyAV does not load"
    able = "decodes " + (", ".join(name for name, there in codecs.items() if there) or "none of the usual ones")
    lacking = ", ".join(name for name, there in codecs.items() if not there)
    return able + (f"; cannot decode {lacking}" if lacking else "")


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

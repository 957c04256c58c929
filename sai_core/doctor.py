"""What is installed, which device there is, what a data root holds, what is missing: for the verb and the page."""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sai_core import __version__, environment
from sai_core.errors import InputError

if TYPE_CHECKING:
    # at run time only where a data root is asked for: the doctor must work where OpenCV does not load
    from sai_core.dataset import DataRoot

KINDS: Final[tuple[tuple[str, str], ...]] = (
    ("labels", "label_path"),
    ("metadata", "metadata_path"),
    ("mic", "mic_path"),
    ("foa", "foa_path"),
    ("eigen", "eigen_path"),
    ("video", "video_path"),
    ("frames", "frames_dir"),
)
"""Files of a recording that are counted, and the field of a recording that says where each is."""


def gather(root: DataRoot | None = None) -> dict[str, Any]:
    """Everything that the verb and the page tell, as plain data (see ``doctor --json``).

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
            f"The cache folder {machine.cache_path} cannot be written; set SAI_CACHE_DIR to one that can be written "
            f"(without it everything works, only slower)."
        )
    # what is kept is read by rooms that need both
    workspace, unusable = _workspace() if opencv is None and pyav is None else (None, [])
    problems += unusable
    access, wrong_roles = _access()
    problems += wrong_roles
    if (service := sys.modules.get("sai_core.cache")) is not None:
        # in the app: what this process found damaged and made anew
        problems += service.notices()
    return {
        "program": __version__,
        "access": access,
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
        "workspace": workspace,
        "data": _data(root) if root is not None else None,
        "problems": problems,
        "broken": bool(missing or torch.problem or opencv or pyav),
    }


def _access() -> tuple[dict[str, Any] | None, list[str]]:
    """File of roles and its audit log, where ``SAI_ROLES`` names one, and what is wrong with them."""
    if not os.environ.get("SAI_ROLES", "").strip():
        return None, []
    try:
        from sai_core.access import damaged_lines, read_audit, read_roles, roles_path
    except ImportError as error:
        return None, [f"The file of roles was not checked, because a package does not load ({error})."]
    try:
        path = roles_path()
        assert path is not None
        roles = read_roles(path)
        lines, n_broken = read_audit(Path(roles.audit)) if roles.audit and os.path.exists(roles.audit) else ([], 0)
    except InputError as error:
        return None, [str(error)]
    problems = [sentence] if (sentence := damaged_lines(Path(roles.audit), n_broken)) else []
    facts = {"roles": str(path), "people": len(roles.people), "default": roles.default, "audit": roles.audit}
    return {**facts, "lines": len(lines), "last": lines[-1].time if lines else ""}, problems


def _workspace() -> tuple[dict[str, Any] | None, list[str]]:
    """Where what is made is kept, and what is wrong with that; None where it cannot be used."""
    from sai_core.errors import SaiError
    from sai_core.workspace import KINDS as SET_KINDS
    from sai_core.workspace import workspace

    try:
        place = workspace()
        place.check()
        facts = {"path": str(place.path), **{kind: len(place.sets(kind)) for kind in SET_KINDS}}
        problems = list(place.problems())
    except SaiError as error:
        return None, [str(error)]
    if not environment.can_be_written(place.path):
        problems.append(
            f"The workspace {place.path} cannot be written, so nothing can be kept; set SAI_WORKSPACE to a folder "
            f"that can be written."
        )
    return facts, problems


def _data(root: DataRoot) -> dict[str, Any]:
    from sai_core.dataset import describe

    splits: dict[str, dict[str, Any]] = {}
    problems = list(root.problems)
    if not root.recordings:
        looked = ", ".join(f"{kind}_dev" for kind, _ in KINDS)
        problems.append(f"{root.path}: there are no recordings; looked for files in {looked}, with a folder a split.")
    for recording in root.recordings:
        counts = splits.setdefault(recording.split, {"recordings": 0, **{kind: 0 for kind, _ in KINDS}, "seconds": 0.0})
        counts["recordings"] += 1
        for kind, attribute in KINDS:
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


def codecs_text(codecs: dict[str, bool]) -> str:
    """Which video codecs can be decoded and which cannot, in one line."""
    if not codecs:
        return "unknown, since PyAV does not load"
    able = "decodes " + (", ".join(name for name, there in codecs.items() if there) or "none of the usual ones")
    lacking = ", ".join(name for name, there in codecs.items() if not there)
    return able + (f"; cannot decode {lacking}" if lacking else "")

"""What this machine offers: packages against their bounds, the torch pair, devices, memory, cache.

Nothing here imports torch into the running process: a broken pair of torch and torchvision, or a broken driver, is
looked at in a process of its own, so that the program can tell about it in one sentence and go on without.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from sai_core.files import cache_root
from sai_core.installation import DISTRIBUTION, program_folder

_PROBE_TIMEOUT_S: Final[float] = 180.0
"""Importing torch takes seconds when the disk is cold; beyond this it hangs."""

_PROBE = """
import json
facts = {"torch": None, "torchvision": None, "cuda": None, "devices": [], "error": None}
try:
    import torch
    facts["torch"], facts["cuda"] = torch.__version__, torch.version.cuda
    import torchvision
    facts["torchvision"] = torchvision.__version__
    torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
except BaseException as error:
    facts["error"] = (str(error) or type(error).__name__).splitlines()[0]
try:
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        facts["devices"].append({"name": "cuda:%d" % index, "model": properties.name,
                                 "memory_bytes": properties.total_memory})
    if torch.backends.mps.is_available():
        facts["devices"].append({"name": "mps", "model": "Apple GPU", "memory_bytes": None})
except BaseException:
    pass
print("\\n" + json.dumps(facts))
"""


@dataclass(frozen=True)
class PackageStatus:
    """One line of ``requirements.txt`` beside what is installed.

    Attributes
    ----------
    name, required : str
        As in the file, e.g. ``torch`` and ``<2.16,>=2.14.1``.
    installed : str or None
        Version, ``None`` when the package is missing.
    problem : str or None
        One sentence when it is missing or out of the tested range.
    """

    name: str
    required: str
    installed: str | None
    problem: str | None


@dataclass(frozen=True)
class TorchFacts:
    """What a process of its own found out about torch.

    Attributes
    ----------
    torch, torchvision : str or None
        Versions with the build, e.g. ``2.14.1+cu130``.
    cuda : str or None
        CUDA version that torch was built for.
    devices : tuple of dict
        Accelerators: ``name``, ``model``, ``memory_bytes``.
    problem : str or None
        One sentence when torchvision's operators do not run.
    """

    torch: str | None
    torchvision: str | None
    cuda: str | None
    devices: tuple[dict[str, Any], ...]
    problem: str | None


@dataclass(frozen=True)
class Machine:
    """Processor, memory, and the disk that holds the cache; sizes in bytes, ``None`` where the system does not tell."""

    system: str
    n_cores: int
    memory_total: int | None
    memory_available: int | None
    cache_path: str
    cache_bytes: int
    cache_budget: int | None
    cache_free: int | None
    cache_writable: bool


def requirements_file() -> Path:
    """The repository's ``requirements.txt``; an installation has none."""
    return program_folder() / "requirements.txt"


def required_packages() -> dict[str, str]:
    """Name and version bounds of each package that is needed, e.g. ``{"torch": ">=2.14.1,<2.16"}``.

    From ``requirements.txt`` in the repository, else from what the installation says of itself; empty where neither is.
    """
    try:
        lines = requirements_file().read_text(encoding="utf-8").splitlines()
    except OSError:
        try:
            # what only the documentation or a server needs is nobody's fault when it is not there
            lines = [
                line for line in metadata.requires(DISTRIBUTION) or [] if "extra ==" not in line or "train" in line
            ]
        except metadata.PackageNotFoundError:
            return {}
    found = {}
    for line in lines:
        match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*([^#;]*)", line)
        if match:
            found[match.group(1)] = match.group(2).strip().replace(" ", "")
    return found


def check_packages() -> tuple[PackageStatus, ...]:
    """Compare what is installed with what is required, whose bounds are the range the tests were run with."""
    statuses = []
    whole_file = "-r requirements.txt" if requirements_file().is_file() else ""
    for name, bounds in required_packages().items():
        installed = _version(name)
        if installed is None:
            problem: str | None = f"{name} is not installed; run: {_pip(whole_file or _quoted(name, bounds))}"
        elif not _satisfies(installed, bounds):
            command = _pip(whole_file or _quoted(name, bounds))
            problem = f"{name} {installed} is outside the tested range {bounds}; run: {command}"
        else:
            problem = None
        statuses.append(PackageStatus(name, bounds, installed, problem))
    return tuple(statuses)


def check_torch_pair() -> str | None:
    """Whether torch and torchvision fit together, cheaply: for the start of the app.

    Versions and builds are compared from the installed files without importing either package (some 10 ms). Only
    when they look wrong is torchvision's non-maximum suppression run, in a process of its own, because unusual pairs
    may still work.

    Returns
    -------
    str or None
        One sentence with the command that repairs it; ``None`` when all is well.
    """
    suspicion = _pair_suspicion()
    if suspicion is None:
        return None
    return probe_torch().problem


@lru_cache(maxsize=1)
def probe_torch() -> TorchFacts:
    """Import torch and torchvision in a process of its own and run an operator; takes some seconds, remembered."""
    for name in ("torch", "torchvision"):
        if _version(name) is None:
            return TorchFacts(
                _version("torch"), _version("torchvision"), None, (), f"{name} is not installed; run: {_repair()}"
            )
    facts: dict[str, Any] = {}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=False
        )
        lines = done.stdout.strip().splitlines()
        facts = json.loads(lines[-1]) if lines else {"error": f"python ended with code {done.returncode}"}
    except subprocess.TimeoutExpired:
        facts = {"error": f"importing torch took more than {_PROBE_TIMEOUT_S:.0f} s"}
    except (OSError, ValueError) as error:
        facts = {"error": str(error)}
    torch, torchvision = facts.get("torch") or _build("torch"), facts.get("torchvision") or _build("torchvision")
    failure = facts.get("error")
    problem = None
    if failure:
        suspicion = _pair_suspicion()
        reason = f"{suspicion}; {failure}" if suspicion else str(failure)
        problem = (
            f"torch {torch} and torchvision {torchvision} do not work together ({reason.rstrip('.')}); run: {_repair()}"
        )
    return TorchFacts(torch, torchvision, facts.get("cuda"), tuple(facts.get("devices", ())), problem)


def check_opencv() -> str | None:
    """One sentence when OpenCV cannot be loaded; ``None`` when all is well."""
    try:
        import cv2

        # an interrupted uninstall of the second of two OpenCV packages leaves an empty module behind
        if not hasattr(cv2, "imdecode"):
            return f"OpenCV is only partly installed; run: {_pip('--force-reinstall opencv-python')}"
    except Exception as error:
        # a missing system library, most often libGL.so.1 or libgthread on a bare server
        missing = re.search(r"(lib[\w.+-]+\.so[.\d]*)", str(error))
        if missing:
            return (
                f"OpenCV cannot be loaded, the system library {missing.group(1)} is missing; "
                "on Debian run: apt-get install libgl1 libglib2.0-0"
            )
        return f"OpenCV cannot be loaded ({error}); run: {_pip('-r requirements.txt')}"
    return None


def check_pyav() -> str | None:
    """One sentence when PyAV cannot be loaded, decode H.264 or write H.264 and AAC; ``None`` when all is well."""
    try:
        import av

        av.codec.Codec("h264", "r")
        for codec in ("libx264", "aac"):
            av.codec.Codec(codec, "w")
    except Exception as error:
        return f"PyAV cannot read and write H.264 video with sound ({error}); run: {_pip('--force-reinstall av')}"
    return None


_VIDEO_CODECS: Final[dict[str, tuple[str, ...]]] = {
    "H.264": ("h264",),
    "HEVC": ("hevc",),
    "VP8": ("vp8",),
    "VP9": ("vp9", "libvpx-vp9"),
    "AV1": ("libdav1d", "libaom-av1", "libgav1"),  # FFmpeg's own "av1" decodes nothing without a graphics card
    "VVC": ("vvc",),
    "MPEG-1": ("mpeg1video",),
    "MPEG-2": ("mpeg2video",),
    "MPEG-4": ("mpeg4",),
    "MJPEG": ("mjpeg",),
    "ProRes": ("prores",),
    "DNxHD": ("dnxhd",),
    "FFV1": ("ffv1",),
    "Theora": ("theora",),
}
"""Video codecs that recordings come in, each with FFmpeg's names of the decoders that can."""


def video_codecs() -> dict[str, bool]:
    """Which of the usual video codecs can be decoded here, by name; empty where PyAV does not load."""
    try:
        import av

        opened = av.codec.Codec
    except Exception:
        return {}

    def there(name: str) -> bool:
        try:
            opened(name, "r")
        except ValueError:
            return False
        return True

    return {codec: any(map(there, names)) for codec, names in _VIDEO_CODECS.items()}


def find_chromium() -> str | None:
    """Chromium for the browser tests: ``$CHROMIUM_PATH``, else the first of the usual names; ``None`` without one."""
    chosen = os.environ.get("CHROMIUM_PATH")
    names = [chosen] if chosen else ["chromium", "chromium-browser", "google-chrome"]
    return next((found for name in names if (found := shutil.which(name))), None)


def look_at_machine() -> Machine:
    """Processor, memory and cache disk."""
    try:
        import psutil

        memory = psutil.virtual_memory()
        total, available = int(memory.total), int(memory.available)
    except Exception:
        total = available = None  # type: ignore[assignment]
    free: int | None = None
    budget: int | None = None
    try:
        # here, since this report must come where a package is missing
        from sai_core.cache import budget_bytes

        cache = cache_root()
        place = _nearest_existing(cache)
        free = shutil.disk_usage(place).free
        budget = budget_bytes()
    except ImportError:
        cache = Path(os.environ.get("SAI_CACHE_DIR") or Path.home() / ".cache" / "sai-explorer")
    except OSError:
        pass
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        n_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_total=total,
        memory_available=available,
        cache_path=str(cache),
        cache_bytes=sum(_file_sizes(cache)),
        cache_budget=budget,
        cache_free=free,
        cache_writable=can_be_written(cache),
    )


def can_be_written(folder: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself where it is not there yet."""
    place = _nearest_existing(folder)
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


def run_environment() -> dict[str, str]:
    """What a training run is made with: commit, versions, machine, start; ``"unknown"`` where it cannot be told."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = "unknown"
    return {
        "commit": commit,
        "python": platform.python_version(),
        **{package: _version(package) or "unknown" for package in ("torch", "torchvision", "numpy")},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "host": platform.node(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _pair_suspicion() -> str | None:
    """Why torch and torchvision look as if they did not fit, from their files alone; ``None`` when they look right."""
    for name in ("torch", "torchvision"):
        if _version(name) is None:
            return f"{name} is not installed"
    torch, torchvision = _build("torch"), _build("torchvision")
    for requirement in metadata.requires("torchvision") or ():
        match = re.match(r"torch\s*\(?([^;)]*)\)?\s*(;.*)?$", requirement)
        if match and not _satisfies(torch.partition("+")[0], match.group(1).replace(" ", "")):
            return f"torchvision wants torch {match.group(1).strip()}"
    kinds = [build.partition("+")[2] for build in (torch, torchvision)]
    if all(kinds) and kinds[0] != kinds[1]:
        return f"one is built for {kinds[0]}, the other for {kinds[1]}"
    # a CPU-only torch that does not say so: torchvision's operators ask for a library that it lacks
    if sys.platform == "linux" and (kinds[1].startswith("cu") or not kinds[1]):
        folder = _package_folder("torch")
        if folder is not None and (folder / "lib").is_dir() and not (folder / "lib" / "libtorch_cuda.so").exists():
            return "this torch is built without CUDA"
    return None


def _build(name: str) -> str:
    """Version with the build (``2.14.1+cu130``), which the package's ``version.py`` tells; its metadata may not."""
    folder = _package_folder(name)
    if folder is not None:
        try:
            text = (folder / "version.py").read_text(encoding="utf-8")
        except OSError:
            text = ""
        match = re.search(r"^__version__\s*=\s*['\"]([^'\"]+)", text, re.MULTILINE)
        if match:
            return match.group(1)
    return _version(name) or "(not installed)"


def _package_folder(name: str) -> Path | None:
    try:
        folder = Path(str(metadata.distribution(name).locate_file(name)))
        if folder.is_dir():
            return folder
        spec = importlib.util.find_spec(name)  # an editable installation
    except (ImportError, ValueError):
        return None
    locations = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(locations[0]) if locations else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _satisfies(version: str, bounds: str) -> bool:
    """Whether a version lies in bounds such as ``>=2.0,<3``; true for what cannot be understood."""
    try:
        # comes with streamlit and torch's dependants; this module must work where they are broken
        from packaging.specifiers import SpecifierSet
    except ImportError:
        return True
    try:
        return SpecifierSet(bounds).contains(version, prereleases=True)
    except ValueError:
        return True


def _pip(arguments: str) -> str:
    return f"{sys.executable} -m pip install {arguments}"


def _repair() -> str:
    bounds = required_packages()
    pair = " ".join(_quoted(name, bounds.get(name, "")) for name in ("torch", "torchvision"))
    return _pip(f"--force-reinstall {pair}")


def _quoted(name: str, bounds: str) -> str:
    return f'"{name}{bounds}"'


def _nearest_existing(path: Path) -> Path:
    for candidate in (path, *path.absolute().parents):
        if candidate.exists():
            return candidate
    return Path(path.anchor or ".")


def _file_sizes(folder: Path) -> Iterator[int]:
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue

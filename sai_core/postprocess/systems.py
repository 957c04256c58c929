"""Named systems: settings of the pipeline as versioned files that a user can read, copy and change.

A system is a TOML file. The ones of the report and of the official baseline come with the program (the folder
``systems`` beside this module); a user's own stand in :func:`systems_folders`, or anywhere, by path. Settings that a
file leaves out have the official script's values (:class:`~sai_core.postprocess.pipeline.PipelineSettings`); unknown
names are refused, so that a misspelt setting is not silently the default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sai_core.annotations.dcase import DcaseMetadata
from sai_core.annotations.table import AnnotationTable
from sai_core.errors import InputError
from sai_core.files import atomic_write, user_path
from sai_core.postprocess.pipeline import PipelineSettings, prepare, run_prepared
from sai_core.postprocess.quality import SHIPPED_QUALITY, quality_path
from sai_core.settings import describe, parse_toml
from sai_core.workspace import workspace

if TYPE_CHECKING:
    from sai_core.detections.raw import RawDetections

Track = Literal["A", "B", "any"]
Folders = Path | Sequence[Path] | None
"""Where a user's own systems are looked for; of equal names in several folders the first counts."""

FORMAT: Final[int] = 1
_SHIPPED: Final[Path] = Path(__file__).with_name("systems")
_ORDER: Final[tuple[str, ...]] = (
    "FAO",
    "OR-AO",
    "Baseline",
    "TPAV",
    "ERAV",
    "CFAV",
    "ResNet-Conformer",
    "Class-wise",
    "Router",
    "Coverage",
    "Legacy",
    "Voted",
    "Field",
)
"""The report's order, diagnostics after the systems; our own at the end."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}", flags=re.ASCII)
_KEYS: Final[tuple[str, ...]] = (
    "format",
    "name",
    "title",
    "version",
    "track",
    "clean",
    "description",
    "checkpoint",
    "settings",
)
_MAX_TEXT: Final[int] = 10_000


@dataclass(frozen=True, kw_only=True)
class System:
    """A named way from raw detections to a submission.

    Attributes
    ----------
    name : str
        Short, unique; letters, digits, space and ``. _ + -``.
    title : str
        What it stands for.
    version : int
        Counts the changes of its settings, from 1.
    track : {"A", "B", "any"}
        Which of the two tracks its detector belongs to.
    clean : bool
        False for variants outside the report's clean protocol; shown as "non-clean" wherever the system is named.
    description : str
        What the report says of it, and what is our choice.
    checkpoint : str
        What the detector behind it must be; empty where any of its track will do.
    settings : PipelineSettings

    Raises
    ------
    InputError
        A name, track, version or text that is not allowed.
    """

    name: str
    title: str = ""
    version: int = 1
    track: Track = "any"
    clean: bool = True
    description: str = ""
    checkpoint: str = ""
    settings: PipelineSettings

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or self.name != self.name.strip(" ."):
            raise InputError(
                f"name is {self.name!r}; 1 to 64 letters, digits, spaces and . _ + - are needed, a letter or "
                "digit first."
            )
        for key in ("title", "description", "checkpoint"):
            text = getattr(self, key)
            if not isinstance(text, str) or len(text) > _MAX_TEXT:
                raise InputError(f"{key} must be a text of at most {_MAX_TEXT} characters.")
        if not isinstance(self.version, int) or isinstance(self.version, bool) or self.version < 1:
            raise InputError(f"version is {self.version!r}; a whole number from 1 on is needed.")
        if self.track not in ("A", "B", "any"):
            raise InputError(f"track is {self.track!r}; choose A, B or any.")
        if not isinstance(self.clean, bool):
            raise InputError(f"clean is {self.clean!r}; true or false is needed.")

    @property
    def needs_teacher(self) -> bool:
        """Whether it asks for a DCASE system's CSV files."""
        s = self.settings
        counted = s.teacher_count_prior
        return s.teacher_radius_deg > 0 or counted or (s.keep_classes == "best" and s.reliability == "teacher")

    @property
    def needs_field(self) -> bool:
        """Whether it forms regions of an intensity field, or scores by one (a quality network does)."""
        return self.settings.export == "field" or self.settings.field_level > 0 or bool(self.settings.quality)

    @property
    def needs_wideband(self) -> bool:
        """Whether its classes are also those that a wideband listener hears."""
        return self.settings.wideband_weight > 0

    @property
    def display_name(self) -> str:
        """The name, with "(non-clean)" where that must be said."""
        return self.name if self.clean else f"{self.name} (non-clean)"

    def with_settings(self, settings: PipelineSettings, *, name: str | None = None) -> System:
        """A changed copy: under another name, or as the next version of this one."""
        if name is not None and name.casefold() != self.name.casefold():
            return replace(self, name=name, version=1, settings=settings)
        return replace(self, version=self.version + 1, settings=settings)


def systems_folder() -> Path:
    """Folder that own systems are written into: ``$SAI_SYSTEMS_DIR``, else the workspace's; not made here."""
    chosen = os.environ.get("SAI_SYSTEMS_DIR")
    return Path(chosen) if chosen else workspace().folder("systems")


def systems_folders() -> tuple[Path, ...]:
    """Folders that the user's own systems are read from: :func:`systems_folder`, and where older versions kept them.

    That was ``sai-explorer/systems`` in ``$XDG_CONFIG_HOME``, by default ``~/.config``.
    """
    if os.environ.get("SAI_SYSTEMS_DIR"):
        return (systems_folder(),)
    base = os.environ.get("XDG_CONFIG_HOME")
    former = (Path(base) if base else Path.home() / ".config") / "sai-explorer" / "systems"
    return (systems_folder(), former)


def list_systems(folder: Folders = None) -> list[System]:
    """The systems that come with the program, in the report's order, then those of a folder by name.

    Parameters
    ----------
    folder : Path or sequence of Path, optional
        For example :func:`systems_folders`; may be absent. Files that cannot be read, and names of systems that come
        with the program, are left out; :func:`refused_systems` tells which and why.
    """
    shipped = sorted(
        (_read(path) for path in _SHIPPED.glob("*.toml")),
        key=lambda s: _ORDER.index(s.name) if s.name in _ORDER else len(_ORDER),
    )
    own, _ = _own_systems(folder, {s.name.casefold() for s in shipped})
    return shipped + sorted(own, key=lambda s: s.name.casefold())


def refused_systems(folder: Folders) -> list[str]:
    """What :func:`list_systems` leaves out of a folder: one sentence for each file."""
    return _own_systems(folder, {s.name.casefold() for s in list_systems()})[1]


def _own_systems(folder: Folders, seen: set[str]) -> tuple[list[System], list[str]]:
    own: list[System] = []
    refused = []
    for path in _files(folder):
        try:
            system = _read(path)
        except InputError as error:
            refused.append(str(error))
            continue
        if system.name.casefold() in seen:
            refused.append(f"{path}: there is another system named {system.name}; give this one another name.")
            continue
        seen.add(system.name.casefold())
        own.append(system)
    return own, refused


def load_system(name_or_path: str | os.PathLike[str], *, folder: Folders = None) -> System:
    """A system by name (small and capital letters alike), or from its file.

    Parameters
    ----------
    name_or_path : str or path
        A name of :func:`list_systems`, or a ``.toml`` file.
    folder : Path or sequence of Path, optional
        Where else names are looked up.

    Raises
    ------
    InputError
        No such system; a file that is not TOML, lacks the name, has an unknown key, or a value outside its range
        (with file and key).
    """
    text = os.fspath(name_or_path)
    if text.lower().endswith(".toml") or os.sep in text:
        return _read(user_path(text, what="system"))
    systems = list_systems(folder)
    for system in systems:
        if system.name.casefold() == text.casefold():
            return system
    for path in _files(folder):
        # the file is there but was left out of the list: say what is wrong with it
        if path.stem.casefold() == text.casefold():
            return _read(path)
    names = ", ".join(s.name for s in systems)
    raise InputError(f"{text}: there is no such system; choose {names}, or give a .toml file.")


def _files(folder: Folders) -> list[Path]:
    found: list[Path] = []
    for place in (folder,) if isinstance(folder, Path) else folder or ():
        with suppress(OSError):
            found += sorted(p for p in place.glob("*.toml") if p.is_file() and not p.name.startswith("."))
    return found


def _read(path: Path) -> System:
    values = parse_toml(path)
    try:
        system = parse_system(values)
        quality = system.settings.quality
        if quality and quality not in SHIPPED_QUALITY:
            # a network beside its system goes with it
            quality = str(quality_path(quality, beside=path.resolve().parent))
            system = replace(system, settings=replace(system.settings, quality=quality))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return system


def parse_system(values: dict[str, Any]) -> System:
    """A system from the keys of its file.

    Raises
    ------
    InputError
        With the key.
    """
    for key in values:
        if key not in _KEYS:
            raise InputError(f"{key}: there is no such key; the keys are {', '.join(_KEYS)}.")
    form = values.get("format", FORMAT)
    if form != FORMAT:
        raise InputError(f"format is {form!r}; this program reads format {FORMAT}.")
    if "name" not in values:
        raise InputError("name is missing.")
    settings = values.get("settings", {})
    if not isinstance(settings, dict):
        raise InputError("settings must be a table.")
    rest = {k: v for k, v in values.items() if k not in ("format", "settings")}
    return System(**rest, settings=PipelineSettings.from_dict(settings))


def system_toml(system: System) -> str:
    """Text of a system's file: every setting, each with a comment that says what it means."""
    lines = [
        f"format = {FORMAT}",
        f"name = {_text(system.name)}",
        f"title = {_text(system.title)}",
        f"version = {system.version}",
        f"track = {_text(system.track)}",
        f"clean = {_value(system.clean)}",
        f"description = {_long_text(system.description)}",
    ]
    if system.checkpoint:
        lines.append(f"checkpoint = {_long_text(system.checkpoint)}")
    lines += ["", "[settings]"]
    values = system.settings.to_dict()
    for setting in describe(PipelineSettings):
        value = values[setting.name]
        allowed = ""
        if setting.low is not None and setting.high is not None:
            allowed = f" ({setting.low:g} to {setting.high:g})"
        lines.append(f"# {setting.help}{allowed}")
        lines.append(f"{setting.name} = {_value(value)}")
    return "\n".join(lines) + "\n"


def save_system(system: System, path: str | os.PathLike[str]) -> None:
    """Write a system's file; :func:`load_system` gives the same system back.

    Raises
    ------
    InputError
        The name does not end in ``.toml``, or the workspace lies in a data root.
    EnvironmentProblem
        The file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() != ".toml":
        raise InputError(f"{target}: the name of a system's file must end in .toml.")
    if target.parent == workspace().folder("systems"):
        workspace().ready("systems")
    with atomic_write(target, "w") as stream:
        stream.write(system_toml(system))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{k}" = {_value(v)}' for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return repr(value)


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04x}", escaped) + '"'


def _long_text(text: str) -> str:
    """A text of several lines as one that can be read in the file."""
    if "\n" not in text:
        return _text(text)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    escaped = re.sub(r"[\x00-\x09\x0b-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04x}", escaped)
    # the line break right after the quotes is not part of the text
    return '"""\n' + escaped + '"""'


def run_system(raw: RawDetections, system: System, *, teacher: DcaseMetadata | None = None) -> AnnotationTable:
    """Raw detections of a recording to its annotations.

    Parameters
    ----------
    raw : RawDetections
        Every candidate, before any threshold.
    system : System
        ``keep_classes = "best"`` chooses in this recording alone; for a whole set see
        :func:`~sai_core.postprocess.pipeline.choose_best_classes`.
    teacher : DcaseMetadata, optional
        The rows of another system's CSV for this recording; not looked at by systems that need none.

    Returns
    -------
    AnnotationTable

    Raises
    ------
    InputError
        The system needs a teacher and there is none.
    """
    if system.needs_teacher and teacher is None:
        raise InputError(
            f"{raw.recording}: {system.name} needs a teacher; give the folder of a DCASE system's CSV files."
        )
    return run_prepared(prepare(raw, teacher=teacher if system.needs_teacher else None), system.settings)

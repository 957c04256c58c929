"""Data roots: what a folder of the user holds, found by names alone.

``open_data_root`` lists folders and never opens a file, so that a root with a thousand recordings takes a fraction of
a second. Whatever cannot be used (a link that leads out of the root, a folder that cannot be read, two files for one
recording) is left out and told in ``DataRoot.problems``; nothing of it is an error, because a user may well have only
part of the data.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from sai_core.annotations.names import composed
from sai_core.dataset.layout import (
    IMAGE_SUFFIXES,
    KIND_WORDS,
    KINDS,
    PREDICTIONS_FOLDER,
    SET_FILE,
    SET_MARK,
    WORKSPACE_FILE,
    WORKSPACE_MARK,
    is_official_name,
    is_split_name,
    kind_of_folder,
    label_name,
    media_name,
    prediction_name,
)
from sai_core.errors import InputError
from sai_core.files import user_path

_STAND_IN_PREFIX = "stand-in"
_MAX_JSON_DEPTH = 3
"""Sub-folder levels searched in a folder that is not in the official layout (split, and one level to spare)."""

_NameOf = Callable[[str], tuple[str, int] | None]


@dataclass(frozen=True)
class Recording:
    """One recording: where each kind of its material lies; ``None`` for what is not there.

    Attributes
    ----------
    name : str
        For example ``fold4_room23_mix001``.
    split : str
        Name of the folder between the kind and the files, e.g. ``dev-test-sony``; empty when there is none.
    label_path, metadata_path, mic_path, foa_path, eigen_path, video_path, frames_dir : Path or None
        Absolute, inside the data root.
    """

    name: str
    split: str = ""
    label_path: Path | None = None
    metadata_path: Path | None = None
    mic_path: Path | None = None
    foa_path: Path | None = None
    eigen_path: Path | None = None
    video_path: Path | None = None
    frames_dir: Path | None = None

    @property
    def is_simulated(self) -> bool:
        """Whether it was made by the simulator: its split says so (``dev-test-sim``)."""
        return self.split.lower() == "sim" or self.split.lower().endswith("-sim")

    @property
    def has_labels(self) -> bool:
        """A label file is there."""
        return self.label_path is not None

    @property
    def has_metadata(self) -> bool:
        """A DCASE CSV is there."""
        return self.metadata_path is not None

    @property
    def has_audio(self) -> bool:
        """Any audio is there (4-channel, ambisonics or Eigenmike)."""
        return self.audio_path is not None

    @property
    def has_video(self) -> bool:
        """A video or extracted frames are there."""
        return self.video_path is not None or self.frames_dir is not None

    @property
    def audio_path(self) -> Path | None:
        """The audio to listen to: the 4-channel array first, then ambisonics, then the (large) Eigenmike file."""
        return self.mic_path or self.foa_path or self.eigen_path

    @property
    def array_path(self) -> Path | None:
        """The audio that the acoustic front end takes: 4-channel array, else Eigenmike (four of its capsules)."""
        return self.mic_path or self.eigen_path


_FIELD_OF_KIND: dict[str, str] = {
    "labels": "label_path",
    "metadata": "metadata_path",
    "mic": "mic_path",
    "foa": "foa_path",
    "eigen": "eigen_path",
    "video": "video_path",
    "frames": "frames_dir",
}


@dataclass(frozen=True)
class PredictionSet:
    """Prediction files of one system.

    Attributes
    ----------
    name : str
        The system: the folder's name.
    folder : Path
        Absolute.
    files : mapping of str to Path
        Recording name to file, sorted by name; read-only.
    problems : tuple of str
        What was left out and why, one sentence each.
    """

    name: str
    folder: Path
    files: Mapping[str, Path] = field(default_factory=dict, hash=False)
    problems: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", MappingProxyType(dict(sorted(self.files.items()))))

    def __reduce__(self) -> tuple[type[PredictionSet], tuple[str, Path, dict[str, Path], tuple[str, ...]]]:
        # a read-only view cannot be pickled, and workers and caches need these
        return PredictionSet, (self.name, self.folder, dict(self.files), self.problems)

    @property
    def is_stand_in(self) -> bool:
        """Whether these are made-up predictions that ship for demonstration (``stand-in...``), not a system's.

        Known by the name, the folder or the folder above (a split of the system opened by itself).
        """
        names = (self.name, self.folder.name, self.folder.parent.name)
        return any(name.lower().startswith(_STAND_IN_PREFIX) for name in names)

    @property
    def title(self) -> str:
        """Name as shown everywhere; a made-up one is called so."""
        named = _STAND_IN_PREFIX in self.name.lower()
        return f"{self.name} (stand-in)" if self.is_stand_in and not named else self.name

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True)
class DataRoot:
    """What a folder of the user holds.

    Attributes
    ----------
    path : Path
        Absolute, links resolved.
    recordings : tuple of Recording
        Sorted by split, then name.
    prediction_sets : tuple of PredictionSet
        Those under ``<root>/predictions``, sorted by name, then those added by the user.
    problems : tuple of str
        What was left out and why, one sentence each.
    label_set : str
        Which labels the recordings have: empty for the data root's own, else the name of :meth:`with_labels`.
    """

    path: Path
    recordings: tuple[Recording, ...] = ()
    prediction_sets: tuple[PredictionSet, ...] = ()
    problems: tuple[str, ...] = ()
    label_set: str = ""

    @cached_property
    def _by_name(self) -> dict[str, list[Recording]]:
        table: dict[str, list[Recording]] = {}
        for recording in self.recordings:
            table.setdefault(recording.name, []).append(recording)
        return table

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, sorted; the empty name stands for files without a split folder."""
        return tuple(sorted({recording.split for recording in self.recordings}))

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Kinds of material that no recording has, one sentence each."""
        sentences = []
        for kind in KINDS:
            if kind == "frames" and any(r.video_path is not None for r in self.recordings):
                continue  # frames are an optional copy of the video
            if not any(getattr(r, _FIELD_OF_KIND[kind]) is not None for r in self.recordings):
                sentences.append(f"No {KIND_WORDS[kind]} ({kind}_dev).")
        if not any(len(s) for s in self.prediction_sets):
            sentences.append(f"No predictions ({PREDICTIONS_FOLDER}/<system>/<recording>.json).")
        return tuple(sentences)

    def in_split(self, split: str) -> tuple[Recording, ...]:
        """Recordings of one split, sorted by name.

        Raises
        ------
        InputError
            No such split.
        """
        split = composed(split)
        if split not in self.splits:
            raise InputError(f"{self.path}: no split {split!r}; there are {_listed(self.splits) or 'none'}.")
        return tuple(r for r in self.recordings if r.split == split)

    def of_split(self, split: str) -> list[Recording]:
        """Recordings of a split, or of ``all``.

        Raises
        ------
        InputError
            There is no such split, or nothing in it.
        """
        if split != "all" and split not in self.splits:
            raise InputError(f"{self.path}: no split {split!r}; it has {', '.join(self.splits) or 'none'}.")
        chosen = [recording for recording in self.recordings if split in ("all", recording.split)]
        if not chosen:
            raise InputError(f"{self.path}: has no recordings.")
        return chosen

    def recording(self, name: str, split: str | None = None) -> Recording:
        """Look up one recording.

        Parameters
        ----------
        name : str
            Exact name, in either of Unicode's forms.
        split : str, optional
            Needed only when the same name is in several splits.

        Raises
        ------
        InputError
            No such recording (the nearest names are told), or the name is in several splits and none was given.
        """
        name, split = composed(name), None if split is None else composed(split)
        found = [r for r in self._by_name.get(name, []) if split is None or r.split == split]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{self.path}: recording {name} is in several splits ({_listed(r.split for r in found)}); name one."
            )
        where = f" in split {split!r}" if split is not None else ""
        elsewhere = self._by_name.get(name, [])
        if elsewhere:
            hint = f"it is in {_listed(r.split for r in elsewhere)}."
        elif near := difflib.get_close_matches(name, self._by_name, n=3, cutoff=0.6):
            hint = f"did you mean {' or '.join(near)}?"
        elif self.recordings:
            hint = f"the folder holds {len(self.recordings)} others."
        else:
            hint = "the folder holds none."
        raise InputError(f"{self.path}: no recording {name!r}{where}; {hint}")

    def prediction_set(self, name: str) -> PredictionSet:
        """Look up a prediction set by its name.

        Raises
        ------
        InputError
            No such set.
        """
        name = composed(name)
        for candidate in self.prediction_sets:
            if candidate.name == name:
                return candidate
        names = _listed(s.name for s in self.prediction_sets)
        raise InputError(f"{self.path}: no prediction set {name!r}; there are {names or 'none'}.")

    def add_prediction_folder(self, path: str | Path) -> DataRoot:
        """New data root with the prediction sets of a folder anywhere on disk added (the user's second root).

        A set of the same folder is replaced. A name that is taken gets the parent folder's name in front.

        Raises
        ------
        InputError
            As :func:`find_prediction_sets`.
        """
        return self.with_prediction_sets(find_prediction_sets(path))

    def with_prediction_sets(self, more: Iterable[PredictionSet]) -> DataRoot:
        """New data root with prediction sets added.

        A set of the same folder is replaced. A name that is taken gets the parent folder's name in front.
        """
        sets = list(self.prediction_sets)
        for added in more:
            sets = [s for s in sets if s.folder != added.folder]
            taken = {s.name for s in sets}
            name, number = added.name, 2
            if name in taken:
                name = f"{composed(added.folder.parent.name)}/{added.name}"
            while name in taken:
                name, number = f"{added.name} ({number})", number + 1
            sets.append(replace(added, name=name))
        return replace(self, prediction_sets=tuple(sets))

    def with_labels(self, name: str, files: Mapping[str, Path]) -> DataRoot:
        """New data root whose labels are those of a label set alone, never a mixture of it and the root's own.

        Parameters
        ----------
        name : str
            What the label set is called; becomes :attr:`label_set`.
        files : mapping of str to Path
            Label file of each recording, by ``<split>/<recording>`` or ``<recording>``. A file of another split, or of
            none, is taken only where the name is once in the data root and once in the label set.

        Returns
        -------
        DataRoot
            Recordings without a file in the label set have no label. ``problems`` says how many, and how many files
            of the label set belong to no recording.
        """
        by_name: dict[str, list[str]] = {}
        for key in files:
            by_name.setdefault(key.rpartition("/")[2], []).append(key)
        used: set[str] = set()
        recordings = []
        for recording in self.recordings:
            key = f"{recording.split}/{recording.name}" if recording.split else recording.name
            if key not in files:
                same = by_name.get(recording.name, [])
                key = same[0] if len(same) == 1 and len(self._by_name[recording.name]) == 1 else ""
            used.add(key)
            recordings.append(replace(recording, label_path=files.get(key)))
        notes = []
        if bare := sum(not r.has_labels for r in recordings):
            notes.append(f"{bare} of {len(recordings)} recordings have no label in the label set {name}.")
        if idle := len(files.keys() - used):
            notes.append(f"{idle} of {len(files)} label files of the label set {name} belong to no recording here.")
        problems = (*self.problems, *notes)
        return replace(self, recordings=tuple(recordings), problems=problems, label_set=name)


def labelled_by_name(recordings: Iterable[Recording]) -> tuple[dict[str, Recording], list[str]]:
    """Recordings with labels by name alone, as prediction files name them; of a name in several splits the first.

    Returns
    -------
    recordings : dict of str to Recording
    notes : list of str
        One sentence about those that are left out; empty where there are none.
    """
    chosen: dict[str, Recording] = {}
    left_out = []
    for recording in recordings:
        if recording.has_labels and chosen.setdefault(recording.name, recording) is not recording:
            left_out.append(recording)
    if not left_out:
        return chosen, []
    n, kept = len(left_out), dict.fromkeys(chosen[r.name].split for r in left_out)
    splits = f"split{'s' * (len(kept) != 1)} {_listed(split or 'without a name' for split in kept)}"
    names = f"its name {left_out[0].name} is" if n == 1 else f"their names ({_listed(r.name for r in left_out)}) are"
    verb = "recording is" if n == 1 else "recordings are"
    return chosen, [f"{n} {verb} left out: {names} also in {splits}, which counts; choose a split."]


def open_data_root(path: str | Path) -> DataRoot:
    """Find out what a folder holds, from names alone.

    Understood are the official layout (``<kind>_dev/<split>/<recording>...`` with any of the kinds, any split name or
    none, predictions under ``predictions/<system>/[<split>/]``), a kind's folder by itself (``.../mic_dev``) or in one
    of its own name (``mic_dev/mic_dev``), and a folder of label JSON files. Hidden files are skipped. Where the layout
    lies in a folder further down, ``problems`` says where.

    Parameters
    ----------
    path : str or Path
        The folder; ``~`` is expanded.

    Returns
    -------
    DataRoot
        Possibly without recordings: ``missing`` and ``problems`` then say what to look for.

    Raises
    ------
    InputError
        No such folder, a file, or a folder that cannot be read at all.
    """
    root = _folder(path, "data root")
    if _is_marked(root / WORKSPACE_FILE, WORKSPACE_MARK):
        problem = "is a workspace, in which the program keeps what it makes; open the folder of the recordings instead."
        return DataRoot(root, problems=(f"{root}: {problem}",))
    scan = _Scan(root)
    found = _Found()
    kind_folders: list[tuple[str, Path]] = []
    prediction_folder: Path | None = None
    for entry in scan.folders(root):
        kind = kind_of_folder(entry.name)
        if kind is not None:
            kind_folders.append((kind, Path(entry.path)))
        elif entry.name.lower() == PREDICTIONS_FOLDER:
            prediction_folder = Path(entry.path)
    inside = _layouts_inside(scan, root) if not kind_folders else {}
    if not kind_folders and (own_kind := kind_of_folder(root.name)) is not None:
        kind_folders.append((own_kind, root))
    for kind, folder in kind_folders:
        _scan_kind(scan, found, kind, folder)
    if not kind_folders:
        _scan_label_folder(scan, found, root, skip=frozenset({prediction_folder, *inside}))
        found.problems += [
            f"{folder.relative_to(root)}: this folder inside holds the layout ({_listed(names)}); open {folder} as the "
            "data root."
            for folder, names in inside.items()
        ]
        above = kind_of_folder(root.parent.name)
        if above is not None and not is_set_file(root / SET_FILE):
            found.problems.append(
                f"{root}: is one split of {root.parent.name}, so that only its {KIND_WORDS[above]} could be seen; open "
                f"{root.parent.parent} as the data root."
            )
    sets = _scan_predictions(scan, prediction_folder) if prediction_folder is not None else ()
    recordings = found.recordings()
    # Predictions alone are worth looking at too. Other JSON files may lie beside them (reports, settings), so that
    # next to real recordings only names of the challenge's form count.
    known = {r.name for r in recordings}
    for name in sorted({name for s in sets for name in s.files} - known):
        if not known or is_official_name(name):
            recordings.append(Recording(name=name))
    recordings.sort(key=lambda r: (r.split, r.name))
    # a folder that was listed twice (for its kind, and for label files) told of its links twice
    return DataRoot(root, tuple(recordings), sets, tuple(dict.fromkeys(scan.problems + found.problems)))


def find_prediction_set(folder: str | Path) -> PredictionSet:
    """The one prediction set of a folder the user chose, at most three levels deep, or one prediction file.

    Raises
    ------
    InputError
        No such folder, it holds no prediction file, or several sets (:func:`find_prediction_sets`).
    """
    sets = find_prediction_sets(folder)
    if len(sets) > 1:
        raise InputError(
            f"{_expanded(folder)}: holds {len(sets)} prediction sets ({_listed(s.name for s in sets)}); give the "
            "folder of one."
        )
    return sets[0]


def find_prediction_sets(folder: str | Path) -> tuple[PredictionSet, ...]:
    """All prediction sets of a folder the user chose, at most three levels deep, or one prediction file.

    A folder is one set, with its sub-folders (splits). Where the same recording lies in several of them, each is a set
    of its own, by its own name; so is each sub-folder of a folder ``predictions``, as in a data root.

    Returns
    -------
    tuple of PredictionSet
        At least one, sorted by name.

    Raises
    ------
    InputError
        No such folder, or it holds no prediction file.
    """
    path = _expanded(folder)
    if os.path.isfile(path):  # unlike Path.is_file, False instead of an error where access is denied
        parsed = prediction_name(path.name)
        if parsed is None:
            raise InputError(f"{path}: not a prediction file; it must end in .json or .json.gz.")
        resolved = path.resolve()
        return (PredictionSet(parsed[0], resolved, {parsed[0]: resolved}),)
    root = _folder(path, "prediction folder")
    scan = _Scan(root)
    if root.name.lower() == PREDICTIONS_FOLDER:
        sets = _scan_predictions(scan, root)
    else:
        sets = tuple(sorted(_prediction_sets(scan, root), key=lambda s: s.name))
    if not sets:
        raise InputError(f"{root}: holds no prediction file (<recording>.json or <recording>_inference.json).")
    return sets


def files_of_set(folder: Path, kind: str, *, skip: Iterable[Path] = ()) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Files of one set of predictions or labels, in its folder and one level below, and what was left out.

    Parameters
    ----------
    folder : Path
        Absolute.
    kind : {"predictions", "labels"}
    skip : iterable of Path
        Files and folders that are left out.

    Returns
    -------
    files : dict of str to Path
        By recording, of labels in a sub-folder by ``<split>/<recording>``; sorted by name.
    problems : tuple of str
        One sentence each.
    """
    scan = _Scan(folder)
    if kind == "predictions":
        found = _prediction_set(scan, folder, depth=1, skip=frozenset(skip))
        return dict(found.files), found.problems
    best: dict[str, tuple[int, Path]] = {}
    problems: list[str] = []
    for place, file in _walk_files(scan, folder, 1, frozenset(skip)):
        parsed = _label_of(file)
        if parsed is None:
            continue
        key = parsed[0] if place == folder else f"{composed(place.name)}/{parsed[0]}"
        _keep_better(best, key, parsed[1], file, folder, problems)
    for key in [k for k in best if k.endswith("_raw") and k.removesuffix("_raw") in best]:
        del best[key]  # unstandardised amplitudes, kept beside a label
    return {key: best[key][1] for key in sorted(best)}, (*scan.problems, *problems)


def _keep_better(
    best: dict[str, tuple[int, Path]], key: str, rank: int, file: Path, folder: Path, problems: list[str]
) -> None:
    """Keep the better spelling of two files for one recording, and tell of the other."""
    known = best.get(key)
    if known is None:
        best[key] = (rank, file)
        return
    winner, loser = ((rank, file), known) if rank < known[0] else (known, (rank, file))
    best[key] = winner
    problems.append(f"{key}: {winner[1].relative_to(folder)} is used; {loser[1].relative_to(folder)} is left out.")


def is_set_file(path: str | os.PathLike[str]) -> bool:
    """Whether a ``set.json`` is the workspace's note of what a set was made from, not a recording called "set".

    This and the workspace's own note are the only files that are looked into here: their first bytes.
    """
    return os.path.basename(path) == SET_FILE and _is_marked(path, SET_MARK)


def _is_marked(path: str | os.PathLike[str], mark: str) -> bool:
    """Whether a JSON file begins with a key of ours."""
    try:
        if not os.path.isfile(path):  # a named pipe would wait for its writer
            return False
        with open(path, "rb") as stream:
            return mark.encode() in stream.read(64)
    except OSError:
        return False


class _Scan:
    """Lists folders under one root; keeps the sentences about what it had to leave out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._resolved = os.path.realpath(root)
        self.problems: list[str] = []

    def entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """Usable entries of a folder, sorted by name: not hidden, not out of the root, name readable."""
        try:
            with os.scandir(folder) as listing:
                found = [entry for entry in listing if not entry.name.startswith(".")]
        except OSError as error:
            self.problems.append(f"{self._shown(folder)}: cannot be read ({error.strerror or error}); left out.")
            return []
        found.sort(key=lambda entry: entry.name)
        return [entry for entry in found if self._usable(entry)]

    def _usable(self, entry: os.DirEntry[str]) -> bool:
        try:
            entry.name.encode("utf-8")
        except UnicodeEncodeError:
            self.problems.append(f"{entry.name!a}: the name is not valid UTF-8; left out until it is renamed.")
            return False
        try:
            if not entry.is_symlink():
                return True
            target = os.path.realpath(entry.path, strict=True)
        except OSError as error:
            self.problems.append(f"{self._shown(entry.path)}: a broken link ({error.strerror or error}); left out.")
            return False
        if target == self._resolved or target.startswith(self._resolved.rstrip(os.sep) + os.sep):
            return True
        self.problems.append(
            f"{self._shown(entry.path)}: links to {target}, outside the data root; left out, "
            "open that folder as the data root or copy it here."
        )
        return False

    def folders(self, folder: Path) -> list[os.DirEntry[str]]:
        """Sub-folders, sorted by name."""
        return [entry for entry in self.entries(folder) if _is_dir(entry)]

    def _shown(self, path: str | Path) -> str:
        return ascii(os.path.relpath(path, self.root))[1:-1] if os.fspath(path) != os.fspath(self.root) else str(path)


class _Found:
    """Collects files per (split, recording) and kind, the best spelling of each."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], dict[str, tuple[int, Path]]] = {}
        self.problems: list[str] = []

    def add(self, kind: str, split: str, name: str, rank: int, path: Path) -> None:
        """Take a file unless a better spelling is known; tell of the one that loses."""
        kinds = self._items.setdefault((split, name), {})
        known = kinds.get(kind)
        if known is None:
            kinds[kind] = (rank, path)
            return
        best, loser = ((rank, path), known) if rank < known[0] else (known, (rank, path))
        kinds[kind] = best
        self.problems.append(f"{name}: {best[1].name} is used for its {KIND_WORDS[kind]}; {loser[1].name} is left out.")

    def recordings(self) -> list[Recording]:
        """The recordings; files without a split join the only split that has their recording."""
        splits_of: dict[str, list[str]] = {}
        for split, name in self._items:
            if split:
                splits_of.setdefault(name, []).append(split)
        for name, splits in splits_of.items():
            if len(splits) == 1 and (loose := self._items.get(("", name))) is not None:
                home = self._items[splits[0], name]
                for kind in [k for k in loose if k not in home]:
                    home[kind] = loose.pop(kind)
                if not loose:
                    del self._items["", name]
        return [
            Recording(name, split, **{_FIELD_OF_KIND[kind]: path for kind, (_, path) in kinds.items()})
            for (split, name), kinds in self._items.items()
        ]


def _scan_kind(scan: _Scan, found: _Found, kind: str, folder: Path) -> None:
    """Files of one kind, directly in its folder or one split deeper."""
    folder = _unpacked(scan, kind, folder)
    if kind == "frames":
        _scan_frames(scan, found, folder)
        return
    name_of: _NameOf = label_name if kind == "labels" else lambda name: media_name(name, kind)
    for entry in scan.entries(folder):
        if _is_dir(entry):
            for inner in scan.entries(Path(entry.path)):
                if (parsed := name_of(inner.name)) is not None and _is_file(inner):
                    found.add(kind, composed(entry.name), parsed[0], parsed[1], Path(inner.path))
        elif (parsed := name_of(entry.name)) is not None and _is_file(entry):
            found.add(kind, "", parsed[0], parsed[1], Path(entry.path))


def _unpacked(scan: _Scan, kind: str, folder: Path) -> Path:
    """The folder of a kind, or the one of its own kind in it (``mic_dev/mic_dev``), as archives are often unpacked."""
    inner = [entry for entry in scan.folders(folder) if kind_of_folder(entry.name) == kind]
    return Path(inner[0].path) if len(inner) == 1 and len(scan.entries(folder)) == 1 else folder


_MAX_SEARCHED = 32
"""Sub-folders that are looked into for a layout further down; more are no data set that was unpacked."""


def _layouts_inside(scan: _Scan, root: Path) -> dict[Path, list[str]]:
    """Folders one or two levels down that hold the official layout, and the names of their folders of kinds."""
    found: dict[Path, list[str]] = {}
    quiet = _Scan(root)  # links and locked folders down there are nobody's business yet
    for outer in quiet.folders(root)[:_MAX_SEARCHED]:
        folder = Path(outer.path)
        inner = quiet.folders(folder)[:_MAX_SEARCHED]
        kinds = [entry.name for entry in inner if kind_of_folder(entry.name) is not None]
        if kinds:
            found[folder] = kinds
            continue
        for entry in inner:
            below = [e.name for e in quiet.folders(Path(entry.path))[:_MAX_SEARCHED]]
            kinds = [name for name in below if kind_of_folder(name) is not None]
            if kinds:
                found[Path(entry.path)] = kinds
    return found


def _scan_frames(scan: _Scan, found: _Found, folder: Path) -> None:
    """Folders of images: ``<recording>/`` or ``<split>/<recording>/``; told apart by what they hold first."""
    for entry in scan.folders(folder):
        if _holds_images(entry.path):
            found.add("frames", "", composed(entry.name), 0, Path(entry.path))
            continue
        for inner in scan.folders(Path(entry.path)):
            if _holds_images(inner.path):
                found.add("frames", composed(entry.name), composed(inner.name), 0, Path(inner.path))


def _holds_images(folder: str) -> bool:
    """Whether the first visible entry that is a file or a folder is an image; looks no further."""
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                if entry.name.startswith("."):
                    continue
                if entry.name.lower().endswith(IMAGE_SUFFIXES):
                    return True
                if _is_dir(entry):
                    return False
    except OSError:
        return False
    return False


def _walk_files(
    scan: _Scan, folder: Path, depth: int, skip: frozenset[Path | None] = frozenset()
) -> Iterator[tuple[Path, Path]]:
    """``(folder, file)`` of every file at most ``depth`` levels below, folders after the files of their parent."""
    inner: list[Path] = []
    for entry in scan.entries(folder):
        path = Path(entry.path)
        if path in skip:
            continue
        if _is_dir(entry):
            inner.append(path)
        elif _is_file(entry):
            yield folder, path
    if depth > 0:
        for sub in inner:
            yield from _walk_files(scan, sub, depth - 1, skip)


def _scan_label_folder(scan: _Scan, found: _Found, root: Path, skip: frozenset[Path | None]) -> None:
    """A folder that is nothing but label files, in sub-folders or not; the innermost folder is the split."""
    for folder, file in _walk_files(scan, root, _MAX_JSON_DEPTH, skip):
        parsed = _label_of(file)
        if parsed is not None:
            split = "" if folder == root else composed(folder.name)
            found.add("labels", split, parsed[0], parsed[1], file)


def _label_of(file: Path) -> tuple[str, int] | None:
    """Recording and rank of a label file among other JSON files."""
    parsed = label_name(file.name)
    return None if parsed is None or parsed[0].lower().endswith("_inference") or is_set_file(file) else parsed


def _scan_predictions(scan: _Scan, folder: Path) -> tuple[PredictionSet, ...]:
    """At least one set per sub-folder; files lying loose in the folder form a set of their own."""
    sets: list[PredictionSet] = []
    for entry in scan.folders(folder):
        found = _prediction_sets(scan, Path(entry.path), name=composed(entry.name))
        sets += found
        if not found and (n := _count_csv(scan, Path(entry.path))):
            scan.problems.append(
                f"{folder.name}/{composed(entry.name)}: {n} CSV file{'s' * (n != 1)} and no prediction file "
                "(<recording>.json), left out; DCASE CSV has directions and no regions."
            )
    loose = _prediction_set(scan, folder, depth=0)
    if len(loose):
        sets.append(loose)
    return tuple(sorted((s for s in sets if len(s)), key=lambda s: s.name))


def _count_csv(scan: _Scan, folder: Path) -> int:
    """CSV files of a folder, as other tasks of DCASE write predictions."""
    return sum(file.suffix.lower() == ".csv" for _, file in _walk_files(scan, folder, _MAX_JSON_DEPTH))


def _prediction_sets(
    scan: _Scan, folder: Path, *, name: str | None = None, depth: int = _MAX_JSON_DEPTH
) -> list[PredictionSet]:
    """One set, or one for each sub-folder where the same recording lies in several of them."""
    whole = _prediction_set(scan, folder, depth)
    places: dict[str, set[Path]] = {}
    for recording, file, _ in _prediction_files(scan, folder, depth):
        places.setdefault(recording, set()).add(file.parent)
    if all(len(folders) == 1 for folders in places.values()):
        parts = {file.relative_to(folder).parts[0] for file in whole.files.values() if file.parent != folder}
        if len(parts) > 1 and not all(is_split_name(part) for part in parts):
            problem = f"{_listed(sorted(parts))}: predictions in these sub-folders are taken together as one system."
            whole = replace(whole, problems=(*whole.problems, problem))
        return [whole if name is None else replace(whole, name=name)] if len(whole) else []
    sets = []
    for entry in scan.folders(folder):
        below = f"{name}/{composed(entry.name)}" if name is not None else composed(entry.name)
        sets += _prediction_sets(scan, Path(entry.path), name=below, depth=depth - 1)
    loose = _prediction_set(scan, folder, depth=0)
    if len(loose):
        sets.append(loose if name is None else replace(loose, name=name))
    return sets


def _prediction_files(
    scan: _Scan, folder: Path, depth: int, skip: frozenset[Path | None] = frozenset()
) -> Iterator[tuple[str, Path, int]]:
    """Recording, file and rank of its spelling, of every prediction file."""
    for _, file in _walk_files(scan, folder, depth, skip):
        parsed = prediction_name(file.name)
        if parsed is None or parsed[0].lower().endswith("_std"):
            continue  # labels kept beside predictions
        if is_set_file(file):
            continue
        if file.parent.parent.name == "raw" and file.name in ("store.json", "began.json"):
            continue  # a network's raw detections, kept beside predictions
        yield parsed[0], file, parsed[1]


def _prediction_set(
    scan: _Scan, folder: Path, depth: int = _MAX_JSON_DEPTH, skip: frozenset[Path | None] = frozenset()
) -> PredictionSet:
    best: dict[str, tuple[int, Path]] = {}
    own: list[str] = []
    before = len(scan.problems)
    for name, file, rank in _prediction_files(scan, folder, depth, skip):
        _keep_better(best, name, rank, file, folder, own)
    problems = (*scan.problems[before:], *own)
    return PredictionSet(composed(folder.name), folder, {name: path for name, (_, path) in best.items()}, problems)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _expanded(path: str | Path) -> Path:
    if not os.fspath(path).strip():
        raise InputError("No folder was given; type the path of a data root.")
    return user_path(path, what="folder")


def _folder(path: str | Path, what: str) -> Path:
    """The folder's resolved path, after making sure that it can be listed."""
    given = _expanded(path)
    try:
        resolved = given.resolve(strict=True)
        with os.scandir(resolved):
            pass
    except NotADirectoryError:
        raise InputError(f"{given}: a file, not a folder; give the {what}'s folder.") from None
    except FileNotFoundError:
        raise InputError(f"{given}: no such folder; check the path of the {what}.") from None
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{given}: the {what} cannot be read ({reason}).") from error
    if resolved == resolved.parent:
        raise InputError(f"{given}: is the whole file system; give the folder of the {what} itself.")
    return resolved


def _listed(names: Iterable[str]) -> str:
    return ", ".join(name or repr(name) for name in names)

"""Writing simulated recordings as an official data root: one after another or in parallel, resumable.

A recording is complete when its entry in ``manifest.d/`` exists, which is written last and lists every file with its
size. A run skips complete recordings, makes the others again, and finally joins all entries into ``manifest.json``.
"""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from sai_core import __version__
from sai_core.dataset import open_data_root
from sai_core.dataset.outputs import check_layout_output
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import atomic_write
from sai_core.geometry import SAMPLE_RATE_HZ, UPLAM_CAPSULES
from sai_core.progress import Progress, no_progress
from sai_core.threads import worker_pool

if TYPE_CHECKING:
    from sai_core.simulation.audio import RenderedAudio
    from sai_core.simulation.recorded import RecordedSounds
    from sai_core.simulation.scene import Style

FORMAT: Final[int] = 1
"""Raised whenever the same seed would give another recording."""


@dataclass(frozen=True)
class SimulationOptions:
    """Everything that, with a recording's number, fixes its files.

    Attributes
    ----------
    seed : int
        Of the data set, >= 0.
    seconds : float
        Length of each recording, 2 to 600.
    split : str
        Folder name, e.g. ``dev-test-sim``.
    video_wh : pair of int or None
        Width and height of the video, width twice the height; None for no video.
    eigen, foa, labels : bool
        Whether to write 32-channel audio, ambisonics, labels.
    gzip_labels : bool
        ``_std.json.gz`` instead of ``_std.json``.
    label_decimals : int
        Digits of the energies in [0.2, 1]; a float32 solver does not know more than 6.
    crf : int
        Quality of the H.264 video, 0 (lossless) to 51.
    max_overlap : int
        Most sources at once, 1 to 4.
    mixes_per_room : int
        Recordings that share a room.
    rt60_s, snr_db : pair of float
        Ranges that reverberation time and signal-to-noise ratio are drawn from.
    sounds : RecordedSounds, optional
        Recordings of the classes (:func:`sai_core.simulation.recorded.open_recorded`); None to synthesise all.
    scenes : {"even", "real"}
        How classes, times and overlap are drawn (:func:`sai_core.simulation.scene.draw_scene`).
    """

    seed: int
    seconds: float
    split: str = "dev-test-sim"
    video_wh: tuple[int, int] | None = (1920, 960)
    eigen: bool = True
    foa: bool = True
    labels: bool = True
    gzip_labels: bool = False
    label_decimals: int = 6
    crf: int = 23
    max_overlap: int = 3
    mixes_per_room: int = 1
    rt60_s: tuple[float, float] = (0.2, 0.8)
    snr_db: tuple[float, float] = (6.0, 30.0)
    sounds: RecordedSounds | None = None
    scenes: Style = "even"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"The seed is {self.seed}; choose 0 or more.")
        if not 2.0 <= self.seconds <= 600.0:
            raise InputError(f"A recording of {self.seconds} s cannot be simulated; choose 2 to 600 seconds.")
        if not self.split or self.split != os.path.basename(self.split) or self.split.startswith("."):
            raise InputError(f"The split {self.split!r} is not a folder name; choose one like dev-test-sim.")
        if self.video_wh is not None:
            width, height = self.video_wh
            if width != 2 * height or height % 4 or not 180 <= height <= 1920:
                raise InputError(
                    f"A video of {width}x{height} is not possible; the width must be twice the height, and the height "
                    "a multiple of 4 from 180 to 1920."
                )
        if not 0 <= self.crf <= 51:
            raise InputError(f"crf is {self.crf}; choose 0 (best) to 51.")
        if not 1 <= self.max_overlap <= 4:
            raise InputError(f"max_overlap is {self.max_overlap}; choose 1 to 4.")
        if self.mixes_per_room < 1:
            raise InputError(f"mixes_per_room is {self.mixes_per_room}; choose 1 or more.")
        if self.scenes not in ("even", "real"):
            raise InputError(f"The scenes are {self.scenes!r}; choose even or real.")
        for name, (low, high), least, most in (
            ("rt60_s", self.rt60_s, 0.15, 1.5),
            ("snr_db", self.snr_db, -20.0, 80.0),
        ):
            if not least <= low <= high <= most:
                raise InputError(f"{name} is {low} to {high}; choose a rising range within {least} to {most}.")


@dataclass(frozen=True)
class SimulationReport:
    """What a run did: names of the recordings made and of those that were complete already; what to know of them."""

    made: tuple[str, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...] = ()


def recording_at(options: SimulationOptions, index: int) -> tuple[str, int]:
    """Name and room number of a recording, e.g. ``("fold9_room3_mix001", 2)``."""
    room = index // options.mixes_per_room
    return f"fold9_room{room + 1}_mix{index % options.mixes_per_room + 1:03d}", room


def simulate_dataset(
    root: Path,
    options: SimulationOptions,
    *,
    recordings: int,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> SimulationReport:
    """Write ``recordings`` simulated recordings under ``root``.

    Files of a recording are the same, whatever the number of workers and whatever was there before.

    Parameters
    ----------
    root : Path
        Made if absent.
    options : SimulationOptions
    recordings : int
        Recordings 0 .. n - 1 of the seed; those that are complete are skipped.
    workers : int
        Processes, each single-threaded.
    overwrite : bool
        Replace recordings that were made with other options (else an error).
    progress : Progress
        Called after each recording; raising from it stops the run after the recordings under way.

    Raises
    ------
    InputError
        Numbers out of range; a recording of the same name but other options is there.
    EnvironmentProblem
        The folder cannot be written.
    """
    if recordings < 0:
        raise InputError(f"{recordings} recordings cannot be made; choose 0 or more.")
    if workers < 1:
        raise InputError(f"{workers} workers is too few; choose 1 or more.")
    root = check_layout_output(root, made_with=["manifest.json", "manifest.d"])
    todo, skipped = [], []
    for index in range(recordings):
        state = _state(root, options, index)
        name = recording_at(options, index)[0]
        if state == "other" and not overwrite:
            raise InputError(
                f"{root}: {name} of split {options.split} was made with other settings; choose another folder or "
                "another split, or ask for overwriting."
            )
        if state == "complete":
            skipped.append(name)
        else:
            todo.append(index)
    notes = _in_other_splits(root, options, recordings)
    made: list[str] = []
    progress(0.0, f"{len(todo)} recordings to make, {len(skipped)} complete")
    for index in _run_all(root, options, todo, workers):
        made.append(recording_at(options, index)[0])
        progress(len(made) / len(todo), f"{made[-1]}")
    write_manifest(root)
    progress(1.0, f"{len(made)} made, {len(skipped)} were complete")
    return SimulationReport(tuple(sorted(made)), tuple(skipped), notes)


def _in_other_splits(root: Path, options: SimulationOptions, recordings: int) -> tuple[str, ...]:
    """One sentence where recordings of other splits have the names that are to be made."""
    if not root.is_dir():
        return ()
    wanted = {recording_at(options, index)[0] for index in range(recordings)}
    namesakes = [r for r in open_data_root(root).recordings if r.name in wanted and r.split != options.split]
    if not namesakes:
        return ()
    n, splits = (
        len({r.name for r in namesakes}),
        ", ".join(dict.fromkeys(r.split or "without a name" for r in namesakes)),
    )
    return (
        f"{n} name{' is' if n == 1 else 's are'} in split {splits} of this root, too ({namesakes[0].name}"
        f"{' ...' if n > 1 else ''}): verbs that take a folder of labels will ask which, and scores of the whole root "
        "count the first split alone. A root of its own avoids it.",
    )


def make_recording(
    root: Path,
    options: SimulationOptions,
    index: int,
    *,
    classes: tuple[int, ...] | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Make one recording with all its files, and its manifest entry last; returns the entry.

    ``classes`` and ``name`` replace what would be drawn and counted (demo recordings).
    """
    # heavy imports here: the dispatching process needs none of them
    from sai_core.annotations import write_dcase_csv, write_label_json
    from sai_core.simulation.audio import render_audio
    from sai_core.simulation.scene import draw_scene

    drawn_name, room_index = recording_at(options, index)
    recording = name or drawn_name
    scene = draw_scene(
        options.seed,
        index,
        seconds=options.seconds,
        recording=recording,
        room_index=room_index,
        classes=classes,
        max_overlap=options.max_overlap,
        rt60_s=options.rt60_s,
        snr_db=options.snr_db,
        recorded=options.sounds,
        style=options.scenes,
    )
    sound = render_audio(scene)
    files: list[str] = []

    def place(kind: str, suffix: str) -> Path:
        relative = f"{kind}_dev/{options.split}/{recording}{suffix}"
        files.append(relative)
        return root / relative

    capsules = _to_int16(sound.capsules)
    write_dcase_csv(sound.metadata, place("metadata", ".csv"))
    _write_wav(place("mic", ".wav"), capsules[:, list(UPLAM_CAPSULES)])
    if options.foa:
        _write_wav(place("foa", ".wav"), _to_int16(sound.foa))
    if options.eigen:
        _write_wav(place("eigen", ".wav"), capsules)
    regions: dict[str, int] = {}
    if options.labels:
        from sai_core.labelling.recipe import label_recording

        # from the samples as written, so that `annotate` on the written files gives the same labels
        labels = label_recording(
            capsules.astype(np.float32) / 32768.0, sound.metadata, recording=recording, device="cpu"
        )
        suffix = "_std.json.gz" if options.gzip_labels else "_std.json"
        write_label_json(labels.table, place("labels", suffix), decimals=options.label_decimals)
        regions = {"annotations": len(labels.table), "rows_without_region": labels.n_rows_without_region}
    if options.video_wh is not None:
        from sai_core.simulation.picture.video import write_video

        write_video(scene, sound, place("video", ".mp4"), size_wh=options.video_wh, crf=options.crf)
    entry = {
        "options": _options_json(options),
        "scene": scene.to_json(),
        "audio": {
            "gain_db": round(sound.gain_db, 3),
            "noise_dbfs_500_to_5000_hz": round(sound.noise_db, 2),
            "metadata_rows": len(sound.metadata),
        },
        "labels": regions,
        **({"recorded_sounds": _recordings_of(sound)} if options.sounds is not None else {}),
        "files": {relative: (root / relative).stat().st_size for relative in files},
    }
    with atomic_write(_entry_path(root, options.split, recording), "w") as stream:
        json.dump(entry, stream, indent=1)
    return entry


def _recordings_of(sound: RenderedAudio) -> list[list[str]]:
    """For each source the file of each event; empty for what was synthesised."""
    return [[take.recording for _, take in takes] for takes in sound.heard]


def write_manifest(root: Path) -> None:
    """Join all entries under ``manifest.d`` into ``manifest.json``, sorted by split and recording number."""
    entries = []
    for path in sorted((root / "manifest.d").glob("*/*.json"), key=_natural):
        entry = _read_entry(path)
        if entry is not None:
            entries.append(entry)
    document = {
        "what": "simulated recordings (python -m sai_core simulate); "
        + (
            "rooms, places and pictures are simulated, recorded_sounds tells which sounds are recordings"
            if any("recorded_sounds" in entry for entry in entries)
            else "nothing in here was recorded"
        ),
        "format": FORMAT,
        "program_version": __version__,
        "recordings": entries,
    }
    with atomic_write(root / "manifest.json", "w") as stream:
        json.dump(document, stream, indent=1)
        stream.write("\n")


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = "".join(c if c.isdecimal() else f" {c} " for c in f"{path.parent.name}/{path.stem}").split()
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]


def _options_json(options: SimulationOptions) -> dict[str, Any]:
    # through JSON, so that tuples compare equal to the lists that come back from the file
    values = {k: v for k, v in vars(options).items() if k != "sounds"} | {"format": FORMAT}
    if options.sounds is not None:
        values["sounds"] = options.sounds.digest
    if options.scenes == "even":
        del values["scenes"]  # recordings made before there was a choice are complete
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def _entry_path(root: Path, split: str, recording: str) -> Path:
    return root / "manifest.d" / split / f"{recording}.json"


def _read_entry(path: Path) -> dict[str, Any] | None:
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("files"), dict) else None


def _state(root: Path, options: SimulationOptions, index: int) -> str:
    """``absent`` (or damaged), ``complete``, or ``other`` (complete, but made with other options)."""
    entry = _read_entry(_entry_path(root, options.split, recording_at(options, index)[0]))
    if entry is None:
        return "absent"
    if entry.get("options") != _options_json(options):
        return "other"
    for relative, size in entry["files"].items():
        try:
            if (root / relative).stat().st_size != size:
                return "absent"
        except OSError:
            return "absent"
    return "complete"


def _to_int16(channels: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Samples of shape (n, channels); full scale 1 is 32768."""
    return np.clip(np.round(channels.T * 32768.0), -32768, 32767).astype(np.int16)


def _write_wav(path: Path, samples: npt.NDArray[np.int16]) -> None:
    import soundfile

    # through memory: what fails within libsndfile's calls back to us (a full disk) it tells nobody
    content = io.BytesIO()
    soundfile.write(content, samples, SAMPLE_RATE_HZ, subtype="PCM_16", format="WAV")
    with atomic_write(path) as stream:
        stream.write(content.getbuffer())


# ---------------------------------------------------------------------------------------------------------------
# workers
# ---------------------------------------------------------------------------------------------------------------


def _start_worker() -> None:
    # Ctrl-C is for the dispatching process, which lets the recordings under way come to their end
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(root: Path, options: SimulationOptions, index: int) -> int:
    make_recording(root, options, index)
    return index


def _run_all(root: Path, options: SimulationOptions, todo: list[int], workers: int) -> Iterator[int]:
    """Indices in the order in which they are finished.

    Always in fresh single-threaded processes, even for one worker, so that the number of workers cannot change a bit.
    """
    yield from run_in_workers(_work, [(root, options, index) for index in todo], workers)


def run_in_workers(work: Callable[..., int], arguments: list[tuple[Any, ...]], workers: int) -> Iterator[int]:
    """Call ``work(*arguments[k])`` in up to ``workers`` fresh single-threaded processes; yields the results."""
    if not arguments:
        return
    pool = worker_pool(min(workers, len(arguments)), then=_start_worker)
    pending: set[Future[int]] = set()
    queue = iter(arguments)
    try:
        # a short queue: stopping need not wait for thousands of recordings
        for item in queue:
            pending.add(pool.submit(work, *item))
            if len(pending) >= 2 * workers:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise EnvironmentProblem(
            "a worker process was ended by the system, probably because memory ran out; use fewer workers. What is "
            "complete is kept."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

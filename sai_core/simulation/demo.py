"""The demonstration data that ships in ``assets/demo``: four simulated recordings.

The predictions beside them are those of the detectors that ship, made by the verb ``predict`` (see :data:`README`): the
simulation knows nothing of detectors.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from sai_core.dataset.outputs import check_layout_output
from sai_core.errors import InputError
from sai_core.files import atomic_write
from sai_core.progress import Progress, no_progress
from sai_core.simulation.dataset import (
    SimulationOptions,
    make_recording,
    run_in_workers,
    write_manifest,
)

SPLIT: Final[str] = "dev-test-sim"

RECORDINGS: Final[tuple[tuple[str, int, tuple[int, ...], float], ...]] = (
    ("fold9_room1_mix001", 228, (0, 1, 3, 7, 6), 15.0),
    ("fold9_room2_mix001", 298, (8, 2, 4, 6), 15.0),
    ("fold9_room3_mix001", 382, (10, 5, 0, 12, 1), 16.0),
    ("fold9_room4_mix001", 164, (9, 11, 1, 6, 4), 16.0),
)
"""Name, seed, classes and length in seconds. Seeds were chosen by looking: all 13 classes between them, overlaps,
walkers, and (in rooms 2 and 4) sources that cross the seam while they sound."""

README: Final[str] = """\
Everything in this folder is simulated. Nothing here was recorded, and no person, room or system is depicted.

Four recordings in the layout of the STARSS23 and STAIRS26 data sets (split dev-test-sim), made by the program itself:
sounds are synthesised, carried to a rigid-sphere microphone array through image-source rooms, and labelled with the
STAIRS26 recipe; the videos are ray-cast pictures of the same rooms. The 32-channel audio that the labels were made
from is left out because of its size. manifest.json has every seed and parameter.

predictions/track-A and predictions/track-B are what the two detectors that ship (assets/weights/track_a.safetensors and
track_b.safetensors) predict, by the settings of the system FAO. They were trained on other simulated rooms and sounds
(docs/training.md), not on these.

To make this folder again:

    python -m sai_core simulate --demo assets/demo
    python -m sai_core predict --data assets/demo --split dev-test-sim --system FAO \\
        --checkpoint assets/weights/track_a.safetensors --out assets/demo/predictions/track-A
    python -m sai_core predict --data assets/demo --split dev-test-sim --system FAO \\
        --checkpoint assets/weights/track_b.safetensors --out assets/demo/predictions/track-B
    gzip -n -9 assets/demo/predictions/*/*.json
"""


def demo_options(seed: int, seconds: float) -> SimulationOptions:
    """Settings of a demo recording: small video, no 32-channel audio."""
    return SimulationOptions(
        seed=seed,
        seconds=seconds,
        split=SPLIT,
        video_wh=(960, 480),
        crf=25,
        eigen=False,
        foa=False,
        gzip_labels=True,
        label_decimals=3,
        rt60_s=(0.25, 0.55),
        snr_db=(14.0, 26.0),
    )


def make_demo(root: Path, *, workers: int = 1, progress: Progress = no_progress) -> tuple[str, ...]:
    """Write the demo recordings, manifest and README; returns the names.

    What an earlier run left in ``root`` is replaced; predictions that are there stay.

    Raises
    ------
    InputError
        ``root`` exists and is not an earlier demo folder.
    EnvironmentProblem
        The folder cannot be written.
    """
    root = check_layout_output(root, made_with=["manifest.json", "manifest.d"])
    if root.exists() and (not root.is_dir() or (any(root.iterdir()) and not (root / "README.txt").is_file())):
        raise InputError(f"{root}: is not an earlier demo folder; choose an empty or a new one.")
    if workers < 1:
        raise InputError(f"{workers} workers is too few; choose 1 or more.")
    todo = [(root, k) for k in range(len(RECORDINGS))]
    for done, number in enumerate(run_in_workers(_make, todo, workers), start=1):
        progress(0.9 * done / len(RECORDINGS), RECORDINGS[number][0])
    write_manifest(root)
    # the entries are in the manifest now, and a demo folder is made in one go
    shutil.rmtree(root / "manifest.d")
    with atomic_write(root / "README.txt", "w") as stream:
        stream.write(README)
    progress(1.0, "demo recordings")
    return tuple(name for name, *_ in RECORDINGS)


def _make(root: Path, number: int) -> int:
    name, seed, classes, seconds = RECORDINGS[number]
    make_recording(root, demo_options(seed, seconds), 0, classes=classes, name=name)
    return number

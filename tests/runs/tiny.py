"""Every kind of training, so small that a run takes a second; and the same in a process that may be killed anywhere."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from sai_core.annotations import DcaseMetadata, write_dcase_csv
from sai_core.progress import Progress, no_progress
from sai_core.runs.kinds import KINDS, RunInputs
from sai_core.runs.launch import LaunchSpec
from tests.training.material import TINY, write_root, write_weights

# what each trainer imports late; a process that is forked from this one need not do it again
import sai_core.training.uplam.loop  # isort: skip
import sai_core.training.teacher  # isort: skip
import sai_core.training.field  # isort: skip
import sai_core.training.listener  # isort: skip
import sai_core.training.wideband  # isort: skip
import sai_core.training.loop  # isort: skip  # noqa: F401

STEPS = {"detector": 2, "uplam": 8, "sounds": 6, "listener": 6, "teacher": 6, "field": 4, "wideband": 4}
"""Steps of a tiny run."""

_WRITES = frozenset(("open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "os.chmod"))


@dataclass(frozen=True)
class TinyRun:
    """Settings and inputs of a tiny run.

    Attributes
    ----------
    kind, recipe : str
    overrides : tuple of str
    data : tuple of str
    options : dict
    """

    kind: str
    recipe: str = ""
    overrides: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)

    def spec(self) -> LaunchSpec:
        """What the page starts it with."""
        recipe = str(KINDS[self.kind].recipes[self.recipe]) if self.recipe else ""
        return LaunchSpec(
            kind=self.kind,
            recipe=recipe,
            data=self.data,
            device="cpu" if KINDS[self.kind].takes_device else "auto",
            overrides=self.overrides,
            options=self.options,
        )

    def train(
        self, run: Path, *changes: str, resume: bool = False, progress: Progress = no_progress, say: Any = print
    ) -> str:
        """Train here and now."""
        trainer = KINDS[self.kind].trainer()
        config = None if resume else KINDS[self.kind].read_config(self.recipe, [*self.overrides, *changes])
        inputs = RunInputs(data_roots=tuple(map(Path, self.data)), device="cpu", options=self.options)
        return trainer.train_run(
            config, run, RunInputs(device="cpu") if resume else inputs, resume=resume, progress=progress, say=say
        )


def tiny_runs(folder: Path) -> dict[str, TinyRun]:
    """One of each kind, with its data in a folder."""
    weights = write_weights(folder / "uplam.safetensors")
    labelled = write_root(folder / "labelled", frames=4)
    return {
        "detector": TinyRun(
            "detector",
            "small_a",
            (
                *(*TINY, f"data.weights='{weights}'", "epochs=2", "batch=1", "data.frames_per_epoch=1"),
                *("validation.every=1", "validation.frames=1", "validation.samples=0"),
            ),
            (str(labelled),),
        ),
        "uplam": TinyRun(
            "uplam",
            "uplam",
            (
                *("data.blocks=1", "data.block_frames=32", "data.scenes.n_clips=6", "data.scenes.clip_s=1.0"),
                *("validation_frames=16", "validate_every=2", "model.base_filter=12", "model.features=16"),
                *("stages.0.steps=4", "stages.1.steps=4", "stages.0.batch=8", "stages.1.batch=8"),
            ),
        ),
        "sounds": TinyRun(
            "sounds", "sounds", ("scenes=2", "seconds=2", "frame_step=2", "epochs=2", "batch=8", "held_out=0.5")
        ),
        "field": TinyRun(
            "field",
            "field",
            (
                *("scenes=2", "seconds=2", "turns=1", "epochs=2", "batch=1", "piece_frames=10", "held_out=0.5"),
                *("model.channels=4", "model.blocks=1", "model.degree=2"),
            ),
        ),
        "wideband": TinyRun(
            "wideband",
            "wideband",
            ("scenes=2", "seconds=2", "epochs=2", "steps=2", "frames=2", "held_out=0.5", "model.width=2"),
        ),
        "listener": TinyRun(
            "listener",
            "listener",
            (
                *("synthesised=2", "clip_s=1", "scenes=0", "epochs=2", "steps=3", "batch=4", "width=2"),
                *("held_out=0.5", "measured=14"),
            ),
        ),
        "teacher": TinyRun(
            "teacher",
            "teacher",
            (
                *("model.audio='mic'", "epochs=2", "batch=2", "segment_frames=5"),
                *("model.filters=8", "model.hidden=16"),
            ),
            (str(_heard(folder / "heard")),),
            {"--split": "dev-train-x", "--validation": "dev-val-x"},
        ),
    }


def _heard(root: Path) -> Path:
    """Data root with two splits of a recording of three seconds: noise, and a source that stands still."""
    rng = np.random.default_rng(5)
    n = 30
    for split in ("dev-train-x", "dev-val-x"):
        for kind in ("mic_dev", "metadata_dev"):
            (root / kind / split).mkdir(parents=True)
        name = f"fold1_room1_{split.replace('-', '_')}"
        soundfile.write(root / "mic_dev" / split / f"{name}.wav", 0.1 * rng.normal(size=(n * 2400, 4)), 24_000)
        metadata = DcaseMetadata(
            np.arange(n, dtype=np.int32),
            np.full(n, 1, np.int16),
            np.zeros(n, np.int64),
            np.full(n, 60.0),
            np.zeros(n),
            np.full(n, 150.0),
            name,
        )
        write_dcase_csv(metadata, root / "metadata_dev" / split / f"{name}.csv")
    return root


def train_and_die(tiny: TinyRun, run: Path, changes: Sequence[str], resume: bool, last_write: int) -> None:
    """Train in this process, which ends by SIGKILL before its n-th change of the run folder (0: never)."""
    torch.set_num_threads(1)
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in _WRITES and arguments and str(run) in str(arguments[0]):
            count += 1
            if count == last_write:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    tiny.train(run, *changes, resume=resume)
    (run.parent / f"{run.name}.count").write_text(str(count))


Work = Callable[..., None]

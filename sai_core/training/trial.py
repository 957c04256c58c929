"""What a run of a detector will cost on this machine, measured by a few of its own steps on one of its recordings."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psutil
import torch

from sai_core.acoustics.features import choose_device
from sai_core.cache import Cache, key_of
from sai_core.dataset import Recording
from sai_core.dataset.sound_file import look_at_sound
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.inference.networks import OwnNetwork
from sai_core.progress import Progress, no_progress
from sai_core.runs.estimate import Estimate, size
from sai_core.runs.folder import RunFolder
from sai_core.runs.kinds import LABELS_OPTION, FieldError, RunInputs
from sai_core.runs.lifecycle import Life
from sai_core.training.augment import make_batch
from sai_core.training.config import TrainingConfig
from sai_core.training.data import FrameSet, choose_recordings, map_maker, prepare
from sai_core.training.loop import DetectorTraining, resolve_start
from sai_core.training.validation import validation_losses
from sai_core.training.workers import Workers

_STEPS: Final[int] = 3
"""Steps that are timed."""

_ENOUGH_S: Final[float] = 20.0
"""Seconds of timed steps after which no further one is made."""

_CACHED_S: Final[float] = 0.004
"""Seconds a frame below which preparing has only read the cache (making maps takes several times as long)."""

_FREE_SHARE: Final[float] = 0.9
"""Share of the free memory that a batch may take."""

_paces: Final = Cache("step-times", 1)


@dataclass(frozen=True)
class Plan:
    """How much a run does.

    Attributes
    ----------
    steps : int
    frames : int
        Of all recordings, training and validation: what is prepared.
    loss_frames, scored_frames : int
        Frames of all validations whose losses are computed, and on which AP is measured.
    """

    steps: int
    frames: int
    loss_frames: int
    scored_frames: int


def plan_of(config: TrainingConfig, train: Sequence[Recording], validation: Sequence[Recording]) -> Plan:
    """Count steps and frames, from the lengths in the headers of the sound files."""
    lengths, held = [_frames_of(r) for r in train], [_frames_of(r) for r in validation]
    drawn_from = sum(-(-n // config.data.frame_step) for n in lengths)
    draws = max(config.batch, min(config.data.frames_per_epoch or drawn_from, drawn_from))
    settings = config.validation
    measured = len({*range(settings.every, config.epochs + 1, settings.every), config.epochs})
    scored = sum(sorted(held)[-settings.recordings :]) if settings.recordings else 0
    return Plan(
        steps=max(1, draws // config.batch) * config.epochs,
        frames=sum(lengths) + sum(held),
        loss_frames=min(settings.frames, sum(held)) * config.epochs,
        scored_frames=scored * measured,
    )


def count_steps(config: TrainingConfig, inputs: RunInputs) -> int:
    """Steps of a run.

    Raises
    ------
    InputError
        As for the run.
    """
    roots, labels = [Path(root).resolve() for root in inputs.data_roots], inputs.options.get(LABELS_OPTION, "")
    train, validation, _ = choose_recordings(roots, config.data, labels=labels)
    return plan_of(config, train, validation).steps


def decided(config: TrainingConfig, inputs: RunInputs) -> list[str]:
    """What is left out of the data of a run, and which recordings validate it, a sentence each.

    Raises
    ------
    InputError
        As for the run.
    """
    roots, labels = [Path(root).resolve() for root in inputs.data_roots], inputs.options.get(LABELS_OPTION, "")
    return choose_recordings(roots, config.data, labels=labels)[2]


def measure(config: TrainingConfig, inputs: RunInputs, *, progress: Progress = no_progress) -> Estimate:
    """Time a few steps of a run, on its shortest training recording.

    The pace is kept in the cache: the same network on the same machine is not timed again. What is prepared for it is
    kept too, and is not prepared again by the run.

    Parameters
    ----------
    config : TrainingConfig
    inputs : RunInputs
        As :func:`sai_core.training.loop.check` accepts them.
    progress : Progress

    Raises
    ------
    FieldError
        A batch that does not fit into the memory, with one that does.
    InputError
        As for the run.
    """
    config, _ = resolve_start(config)
    device = choose_device(inputs.device)
    roots, labels = [Path(root).resolve() for root in inputs.data_roots], inputs.options.get(LABELS_OPTION, "")
    train, validation, _ = choose_recordings(roots, config.data, labels=labels)
    plan = plan_of(config, train, validation)
    key = _key(config, device)
    entry = _paces.get(key)
    found: Mapping[str, float | None]
    if entry is not None:
        found, when = entry.facts, time.strftime("on %d %B %Y", time.localtime(float(entry.facts["measured"])))
    else:
        found, when = _timed(config, device, min(train, key=_frames_of), progress), "just now"
        _paces.put(key, {}, dict(found))
    step_s, loss_s, scored_s = (float(found[name] or 0.0) for name in ("step_s", "loss_s", "scored_s"))
    prepare_s = found["prepare_s"]
    processes = max(1, inputs.processes)
    return Estimate(
        seconds=plan.steps * step_s / processes + plan.loss_frames * loss_s + plan.scored_frames * scored_s,
        steps=plan.steps,
        rests_on=f"{found['timed']:.0f} steps of {config.batch} frames were timed on this machine {when} "
        f"({step_s:.2g} s each), and some frames of a validation" + _busy(found.get("load"), found.get("cores")),
        device=str(device),
        prepare_s=None if prepare_s is None else prepare_s * plan.frames,
        memory_mb=found["memory_mb"],
        memory_limit_mb=found["memory_limit_mb"],
    )


def _frames_of(recording: Recording) -> int:
    assert recording.array_path is not None
    facts = look_at_sound(recording.array_path)
    return int(facts.n_samples * FRAME_RATE_HZ // facts.sample_rate_hz)


def _key(config: TrainingConfig, device: torch.device) -> str:
    """What the pace of a step depends on."""
    known = config.as_dict()
    settings = {name: known[name] for name in ("model", "batch", "proposals", "regions", "threads", "amp", "data")}
    place = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.processor()} {psutil.cpu_count()}"
    )
    return key_of(
        json.dumps(settings, sort_keys=True, default=str), config.cpu_bfloat16, str(device), platform.node(), place,
        torch.__version__,
    )  # fmt: skip


def _timed(
    config: TrainingConfig, device: torch.device, recording: Recording, progress: Progress
) -> dict[str, float | None]:
    """Seconds of a step, of a frame's validation and preparation; memory in MB. Units are in the names."""
    progress(0.05, f"preparing {recording.name}")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # before our own steps
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trial = _Trial(config, RunFolder(Path(folder), silent=True), recording, device)
        frames = trial.train_set
        prepared = (time.monotonic() - started) / max(len(frames.recordings[0]), 1)
        labelled = np.flatnonzero(frames.present.any(axis=1)).tolist() or list(range(len(frames)))
        on_gpu = device.type == "cuda"
        trial.model.train()
        trial.frozen = trial.strategy.freeze(config.epochs)  # later epochs learn more layers, and take longer

        def step(n_frames: int) -> float:
            began = time.monotonic()
            trial.train_step(frames.batch([labelled[k % len(labelled)] for k in range(n_frames)]))
            if on_gpu:
                torch.cuda.synchronize(device)
            return time.monotonic() - began

        progress(0.3, "first steps")
        _fit(step, config.batch, device)
        times: list[float] = []
        while len(times) < _STEPS and sum(times) < _ENOUGH_S:
            progress(0.5 + 0.1 * len(times), f"step {len(times) + 1} of {_STEPS}")
            times.append(step(config.batch))
        memory, limit = _memory(device)
        progress(0.9, "validation")
        loss_s, scored_s = _validation_s(trial, config, device)
    return {
        "step_s": statistics.median(times),
        "timed": float(len(times)),
        "loss_s": loss_s,
        "scored_s": scored_s,
        "prepare_s": prepared if prepared > _CACHED_S else None,
        "memory_mb": memory,
        "memory_limit_mb": limit,
        "measured": time.time(),
        "load": load,
        "cores": float(psutil.cpu_count() or 1),
    }


def _busy(load: float | None, cores: float | None) -> str:
    """Clause on a machine that had other work than cores while steps were timed; "" for one that had not."""
    if load is None or cores is None or load <= cores:
        return ""
    return f", while the machine was busy (load {load:.1f} on {cores:.0f} cores): on a quiet one it is faster"


class _Trial(DetectorTraining):
    """A run on one recording, which writes nothing."""

    def __init__(self, config: TrainingConfig, folder: RunFolder, recording: Recording, device: torch.device) -> None:
        self.recording = recording
        super().__init__(config, folder, (), device, Workers(), Life(folder, no_progress))

    def load_data(self, roots: Sequence[Path], labels: str) -> tuple[FrameSet, FrameSet]:
        """The recording, for training and validation."""
        config = self.config
        made = prepare(
            [self.recording],
            settings=config.data,
            maker=map_maker(config.data, device="cuda" if self.device.type == "cuda" else "cpu"),
            with_rgb=config.model.track == "B",
            context_frames=config.model.context_frames,
            field_reach=config.model.field_reach,
            frame_step=config.data.frame_step,
        )
        return made, made


def _fit(step: Callable[[int], float], batch: int, device: torch.device) -> None:
    """Make sure that a batch fits, by smaller ones; the first step also warms everything up."""
    if device.type == "cuda":
        fits = batch
        while fits >= 1:
            try:
                step(fits)
                break
            except torch.cuda.OutOfMemoryError:
                torch.cuda.empty_cache()
                fits //= 2
        if fits < batch:
            limit = torch.cuda.get_device_properties(device).total_memory / 2**20
            raise _too_large(batch, fits, f"the memory of {torch.cuda.get_device_name(device)} ({size(limit)})")
        return
    step(1)
    first = _peak_bytes()
    step(2)
    per_frame = max(_peak_bytes() - first, 0)
    free = psutil.virtual_memory().available * _FREE_SHARE
    if (batch - 2) * per_frame > free:
        fits = 2 + int(free // per_frame)
        raise _too_large(batch, fits, f"the free memory ({size(free / 2**20)})")


def _too_large(batch: int, fits: int, where: str) -> FieldError:
    if fits < 1:
        return FieldError(
            "overrides", f"Not even one frame of this network fits into {where}; choose a smaller recipe."
        )
    good = 2 ** int(math.log2(fits))
    return FieldError("overrides", f"A batch of {batch} frames does not fit into {where}; use batch={good}.")


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _memory(device: torch.device) -> tuple[float, float]:
    """Largest memory so far, and what there is, in MB."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        return torch.cuda.max_memory_allocated(device) / 2**20, total / 2**20
    return _peak_bytes() / 2**20, psutil.virtual_memory().total / 2**20


def _validation_s(trial: _Trial, config: TrainingConfig, device: torch.device) -> tuple[float, float]:
    """Seconds a frame of the validation loss, and of the candidates that AP is measured on."""
    frames, model = trial.train_set, trial.model
    model.eval()
    n = min(len(frames), config.batch)
    few = dataclasses.replace(config, validation=dataclasses.replace(config.validation, frames=n))
    started = time.monotonic()
    validation_losses(model, frames, few, device=device)
    loss_s = (time.monotonic() - started) / n
    if not config.validation.recordings:
        return loss_s, 0.0
    network = OwnNetwork(copy.deepcopy(model), floor=min(0.02, config.validation.min_score))
    places = [(0, f) for f in range(0, len(frames.recordings[0]), config.data.frame_step)][:n]
    batch = make_batch(frames.read(places), circular=True, grid=config.data.grid, device=device)
    started = time.monotonic()
    with torch.no_grad():
        network.run(batch.acoustic, batch.rgb, batch.context)
    return loss_s, (time.monotonic() - started) / len(places)

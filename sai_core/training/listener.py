"""Training of the listener: what two seconds of a beam's sound are; resumable, everything in one run folder.

What a step sees is a function of the seed and the step, so that a run that was killed and resumed makes the same steps
as one that was not. Sounds are made once and kept in the run folder (:mod:`sai_core.training.listener_sounds`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sai_core.checkpoints import load_into
from sai_core.errors import InputError, SaiError
from sai_core.files import user_path
from sai_core.geometry import SAMPLE_RATE_HZ
from sai_core.listener.network import ListenerNet, load_listener, save_listener
from sai_core.listener.spectrum import HOP, N_BANDS
from sai_core.progress import Progress
from sai_core.runs.checkpoint import room_of, take_up
from sai_core.runs.folder import RunFolder
from sai_core.runs.kinds import RunInputs, at_field, collect
from sai_core.runs.lifecycle import Life, life
from sai_core.simulation.recorded import open_recorded
from sai_core.taxonomy import N_CLASSES
from sai_core.threads import one_torch_thread
from sai_core.training import listener_sounds
from sai_core.training.config import ListenerSettings
from sai_core.training.epochs import EpochTrainer, cosine_rate, held_run
from sai_core.training.listener_sounds import ORIGINS, Clips, Windows
from sai_core.training.recorded_option import SOUNDS_OPTION, check_same_sounds, sounds_folder

COLUMNS: Final[tuple[str, ...]] = ("epoch", "step", "seconds", "kind", "total", "recall", *ORIGINS, "rate")
"""Of ``metrics.csv``; ``recall``: mean share of held-out windows heard as their class, over the origins."""


def faults(settings: ListenerSettings, inputs: RunInputs) -> list[SaiError]:
    """What would make a new run fail at its start: a folder without sounds, weights that are no listener's."""
    return collect(partial(_check_sounds, inputs), partial(_check_start, settings))


def room(settings: ListenerSettings, inputs: RunInputs) -> int:
    """As :class:`sai_core.runs.kinds.Trainer` has it; sounds are kept in the run folder."""
    folder = sounds_folder(inputs)
    recorded = 0 if folder is None else settings.takes * sum(map(len, open_recorded(folder).files))
    # a scene's events one by one, each alone: three at a time at most, as a rule
    seconds = (N_CLASSES * settings.synthesised + recorded) * settings.clip_s + 3 * settings.scenes * settings.scene_s
    return room_of(lambda: ListenerNet(settings.width)) + int(seconds * SAMPLE_RATE_HZ / HOP * N_BANDS * 2)


def _check_sounds(inputs: RunInputs) -> None:
    if (folder := sounds_folder(inputs)) is not None:
        with at_field(SOUNDS_OPTION):
            open_recorded(folder)


def _check_start(settings: ListenerSettings) -> None:
    if settings.start:
        with at_field("overrides"):
            model, _ = load_listener(user_path(settings.start, what="start"))
            if model.width != settings.width:
                raise InputError(f"{settings.start}: has width {model.width}; set width={model.width}.")


def train_run(
    config: ListenerSettings | None,
    run: Path,
    inputs: RunInputs,
    *,
    resume: bool,
    progress: Progress,
    say: Callable[[str], object],
) -> str:
    """Train a listener, or go on with a run; as :class:`sai_core.runs.kinds.Trainer` has it.

    Raises
    ------
    InputError
        Sounds or weights that cannot be used; a run in the folder already or running; nothing to resume, or with other
        sounds.
    EnvironmentProblem
        The folder cannot be written.
    SaiError
        The loss is not a number.
    """
    folder = RunFolder(Path(run), columns=COLUMNS)
    given = sounds_folder(inputs)
    inputs = RunInputs(options={} if given is None else {SOUNDS_OPTION: str(given)})
    if resume:
        check_same_sounds(folder, inputs, say=say)
    with (
        held_run("listener", folder, config, inputs, resume=resume, faults=faults) as (config, inputs),
        life(folder, progress, epochs=config.epochs, message="making sounds") as lived,
        one_torch_thread(),
    ):
        trainer = _Trainer(config, folder, sounds_folder(inputs), lived)
        if trainer.left_out:
            n = len(trainer.left_out)
            say(f"{n} recording{'s' * (n != 1)} left out; the first: {trainer.left_out[0]}")
        take_up(folder, trainer.take, resume=resume, say=say)
        trainer.run()
    if not folder.best.exists():
        return f"{run}: stopped; --resume goes on"
    return f"{folder.best}: {trainer.best:.3f} of the held-out windows are heard as their class, mean of the origins"


class _Trainer(EpochTrainer[ListenerNet]):
    def __init__(self, config: ListenerSettings, folder: RunFolder, sounds: Path | None, lived: Life) -> None:
        self.config = config
        parts = list(listener_sounds.parts_of(config, sounds))
        heard: dict[str, list[Clips]] = {origin: [] for origin in ORIGINS}
        for number, part in enumerate(parts):
            lived.preparing(0.5 * number / len(parts), f"making sounds, {number + 1} of {len(parts)}")
            heard[part.origin].append(listener_sounds.kept(part, folder.path / "examples"))
        self.left_out = [why for part in heard["recorded"] for why in part.left_out]
        every = round(1 / config.held_out)
        taught, held = {}, {}
        for origin, some in heard.items():
            whole = Clips.join(some)
            # of scenes whole ones are held out: their events were heard in one room
            scene = np.concatenate([np.zeros(0, int), *(np.full(len(p), k) for k, p in enumerate(some))])
            place = scene if origin == "scenes" else np.arange(len(whole))
            out = place % every == every - 1
            if (~out).any():
                taught[origin] = whole.take(np.flatnonzero(~out).tolist())
            if out.any():
                held[origin] = whole.take(np.flatnonzero(out).tolist())
        self.windows = Windows(taught, config)
        # without any of its clips a class is not measured
        measuring = Windows(held, config)
        self.measured = {
            origin: measuring.batch(np.random.default_rng([config.seed, 6, k]), config.measured, origin=origin)
            for k, origin in enumerate(ORIGINS)
            if origin in held and (held[origin].label < N_CLASSES).any()
        }
        self.notes = _provenance(config, heard)
        torch.manual_seed(config.seed)
        model = ListenerNet(config.width)
        if config.start:
            state = load_listener(user_path(config.start, what="start"))[0].state_dict()
            load_into(model, state, Path(config.start), what="the listener")
        super().__init__(config, folder, lived, model, per_epoch=config.steps, clip=5.0, prepared=0.5)

    def rate_at(self, step: int) -> float:
        """Up over a tenth of the steps, then down along a cosine."""
        return cosine_rate(self.config.rate, step, self.total, rise=max(self.total // 10, 1))

    def learn(self) -> tuple[Tensor, float]:
        """Scores of some windows."""
        config = self.config
        windows, labels = self.windows.batch(np.random.default_rng([config.seed, 5, self.step]), config.batch)
        torch.manual_seed(config.seed * 1_000_003 + self.step)  # dropout
        self.model.train()
        logits = self.model(torch.from_numpy(windows))
        loss = F.cross_entropy(logits, torch.from_numpy(labels), label_smoothing=config.smoothing)
        return loss, float(loss.detach())

    def summary(self) -> str:
        """Mean loss of the epoch."""
        return f"loss {self.mean_losses():.3f}"

    @torch.no_grad()
    def measure(self) -> None:
        """Share of the held-out windows that are heard as their class, by origin."""
        self.model.eval()
        recalls: dict[str, float] = {}
        losses: list[float] = []
        with self.timed():
            for origin, (windows, labels) in self.measured.items():
                parts = np.array_split(np.arange(len(labels)), max(1, len(labels) // 128))
                logits = torch.cat([self.model(torch.from_numpy(windows[part])) for part in parts])
                losses.append(float(F.cross_entropy(logits, torch.from_numpy(labels))))
                right = logits[:, :N_CLASSES].argmax(dim=1).numpy() == labels
                recalls[origin] = float(np.mean([right[labels == c].mean() for c in np.unique(labels)]))
        recall = float(np.mean(list(recalls.values()))) if recalls else float("nan")
        self.append("train", total=self.mean_losses(), rate=self.rate_at(self.step - 1))
        if recalls:
            self.append("validation", total=float(np.mean(losses)), recall=recall, **recalls)
        # without anything to measure by, the last weights are the best
        if recall > self.best or not recalls:
            self.best = recall
            figures = {origin: round(value, 4) for origin, value in recalls.items()}
            notes = {"epoch": str(self.epoch + 1), "held_out_recall": json.dumps(figures), **self.notes}
            save_listener(self.model, self.folder.best, notes=notes)


def _provenance(config: ListenerSettings, heard: Mapping[str, Sequence[Clips]]) -> dict[str, str]:
    """What a listener's file says of where it comes from."""
    recordings = heard["recorded"]
    packages = sorted({name for part in recordings for name in part.package} - {""})
    files = sum(map(len, recordings)) // config.takes
    words = ["synthesised sounds"]
    if files:
        words.append(f"recordings of {len(packages)} packages" if packages else f"{files} recordings")
    return {
        "learned_from": " and ".join(words),
        "settings": json.dumps(asdict(config)),
        "recorded_files": str(files),
        "packages": json.dumps(packages),
        "simulated_scenes": str(config.scenes),
    }

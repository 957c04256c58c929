"""Training of the listener: what two seconds of a beam's sound are; resumable, everything in one run folder.

What a step sees is a function of the seed and the step, so that a run that was killed and resumed makes the same steps
as one that was not. Sounds are made once and kept in the run folder (:mod:`sai_core.training.listener_sounds`).
"""

from __future__ import annotations

import json
import math
import time
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
from sai_core.listener.network import ListenerNet, load_listener, save_listener
from sai_core.progress import Progress
from sai_core.runs.checkpoint import load_state, parts_of, save_state
from sai_core.runs.folder import RunFolder
from sai_core.runs.kinds import RunInputs, at_field, collect, kind_of, split_config
from sai_core.runs.lifecycle import Life, life
from sai_core.settings import build, read_toml
from sai_core.simulation.recorded import open_recorded
from sai_core.taxonomy import N_CLASSES
from sai_core.threads import one_torch_thread
from sai_core.training import listener_sounds
from sai_core.training.config import ListenerSettings
from sai_core.training.listener_sounds import ORIGINS, Clips, Windows

SOUNDS_OPTION: Final[str] = "--sounds"

COLUMNS: Final[tuple[str, ...]] = ("epoch", "step", "seconds", "kind", "total", "recall", *ORIGINS, "rate")
"""Of ``metrics.csv``; ``recall``: mean share of held-out windows heard as their class, over the origins."""


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> ListenerSettings:
    """Read a recipe and apply ``key=value`` overrides.

    Raises
    ------
    InputError
        No such file, not TOML, unknown or impossible settings.
    """
    file = kind_of("listener").recipe(str(path))
    settings: ListenerSettings = build(ListenerSettings, read_toml(file, overrides), str(file))
    return settings


def faults(settings: ListenerSettings, inputs: RunInputs) -> list[SaiError]:
    """What would make a new run fail at its start: a folder without sounds, weights that are no listener's."""
    return collect(partial(_check_sounds, inputs), partial(_check_start, settings))


def _check_sounds(inputs: RunInputs) -> None:
    if (folder := _folder(inputs)) is not None:
        with at_field(SOUNDS_OPTION):
            open_recorded(folder)


def _check_start(settings: ListenerSettings) -> None:
    if settings.start:
        with at_field("overrides"):
            model, _ = load_listener(user_path(settings.start, what="start"))
            if model.width != settings.width:
                raise InputError(f"{settings.start}: has width {model.width}; set width={model.width}.")


def _folder(inputs: RunInputs) -> Path | None:
    given = inputs.options.get(SOUNDS_OPTION, "")
    return user_path(given, what=SOUNDS_OPTION).absolute() if given else None


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
        Sounds or weights that cannot be used; a run in the folder already or running; nothing to resume.
    EnvironmentProblem
        The folder cannot be written.
    SaiError
        The loss is not a number.
    """
    folder = RunFolder(Path(run), columns=COLUMNS)
    if resume:
        folder.config()
    else:
        if config is None:
            raise InputError("a new run needs settings.")
        folder.refuse_old()
        for error in faults(config, inputs):
            raise error
    with folder.held():
        if resume:
            source = str(folder.path / "config.json")
            raw, before = split_config(folder.config(), source)
            config = build(ListenerSettings, raw, source)
            inputs = RunInputs(device="cpu", options={**before.options, **inputs.options})
        assert config is not None
        sounds = _folder(inputs)
        if not resume:
            options = {} if sounds is None else {SOUNDS_OPTION: str(sounds)}
            folder.begin({"kind": "listener", **asdict(config), **RunInputs(options=options).as_dict()})
        with life(folder, progress, epochs=config.epochs, message="making sounds") as lived, one_torch_thread():
            trainer = _Trainer(config, folder, sounds, lived)
            if trainer.left_out:
                n = len(trainer.left_out)
                say(f"{n} recording{'s' * (n != 1)} left out; the first: {trainer.left_out[0]}")
            note = load_state(folder, trainer.take) if resume and folder.last.exists() else folder.restore(b"")
            if note:
                say(note)
            trainer.run()
    if not folder.best.exists():
        return f"{run}: stopped; --resume goes on"
    return f"{folder.best}: {trainer.best:.3f} of the held-out windows are heard as their class, mean of the origins"


class _Trainer:
    def __init__(self, config: ListenerSettings, folder: RunFolder, sounds: Path | None, lived: Life) -> None:
        self.config, self.folder, self.lived = config, folder, lived
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
        self.model = ListenerNet(config.width)
        if config.start:
            state = load_listener(user_path(config.start, what="start"))[0].state_dict()
            load_into(self.model, state, Path(config.start), what="the listener")
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=config.rate, weight_decay=config.weight_decay)
        self.step, self.epoch = 0, 0
        self.best, self.seconds = -1.0, 0.0
        self.losses: list[float] = []  # of the epoch

    def run(self) -> None:
        """Train to the end, or until it is asked to stop."""
        saved = time.monotonic()
        if not self.folder.last.exists():
            self._save()  # a full disk shows now
        while self.epoch < self.config.epochs:
            while self.step < (self.epoch + 1) * self.config.steps:
                self._train_step()
                if self.folder.stop_wanted():
                    self._save()
                    self.lived.stopped = True
                    return
                if time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                    self._save()
                    saved = time.monotonic()
            self._measure()
            self.epoch, self.losses = self.epoch + 1, []
            self._save()
            saved = time.monotonic()
            if self.folder.stop_wanted() and self.epoch < self.config.epochs:
                self.lived.stopped = True
                return

    @property
    def _total(self) -> int:
        return self.config.steps * self.config.epochs

    def _rate(self, step: int) -> float:
        """Up over a tenth of the steps, then down along a cosine."""
        rise = max(self._total // 10, 1)
        if step < rise:
            return self.config.rate * (step + 1) / rise
        return self.config.rate * 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(self._total - rise, 1)))

    def _train_step(self) -> None:
        config, started = self.config, time.monotonic()
        rate = self._rate(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        windows, labels = self.windows.batch(np.random.default_rng([config.seed, 5, self.step]), config.batch)
        torch.manual_seed(config.seed * 1_000_003 + self.step)  # dropout
        self.model.train()
        logits = self.model(torch.from_numpy(windows))
        loss = F.cross_entropy(logits, torch.from_numpy(labels), label_smoothing=config.smoothing)
        if not bool(torch.isfinite(loss)):
            raise SaiError(f"{self.folder.path}: the loss is not a number; try a smaller rate (--set rate=...).")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimiser.step()
        self.losses.append(float(loss.detach()))
        self.step += 1
        self.seconds += time.monotonic() - started
        self.lived.tell(
            0.5 + 0.5 * self.step / self._total,
            f"epoch {self.epoch + 1} of {config.epochs}: loss {np.mean(self.losses):.3f}",
            epoch=self.epoch,
            step=self.step,
            steps=self._total,
            eta_s=(self._total - self.step) * self.seconds / self.step,
            rates={"all": rate},
        )

    @torch.no_grad()
    def _measure(self) -> None:
        started = time.monotonic()
        self.model.eval()
        recalls: dict[str, float] = {}
        losses: list[float] = []
        for origin, (windows, labels) in self.measured.items():
            parts = np.array_split(np.arange(len(labels)), max(1, len(labels) // 128))
            logits = torch.cat([self.model(torch.from_numpy(windows[part])) for part in parts])
            losses.append(float(F.cross_entropy(logits, torch.from_numpy(labels))))
            right = logits[:, :N_CLASSES].argmax(dim=1).numpy() == labels
            recalls[origin] = float(np.mean([right[labels == c].mean() for c in np.unique(labels)]))
        self.seconds += time.monotonic() - started
        recall = float(np.mean(list(recalls.values()))) if recalls else float("nan")
        base = {"epoch": self.epoch, "step": self.step, "seconds": round(self.seconds, 2)}
        mean = float(np.mean(self.losses))
        self.folder.append({**base, "kind": "train", "total": mean, "rate": self._rate(self.step - 1)})
        if recalls:
            self.folder.append(
                {**base, "kind": "validation", "total": float(np.mean(losses)), "recall": recall, **recalls}
            )
        # without anything to measure by, the last weights are the best
        if recall > self.best or not recalls:
            self.best = recall
            figures = {origin: round(value, 4) for origin, value in recalls.items()}
            notes = {"epoch": str(self.epoch + 1), "held_out_recall": json.dumps(figures), **self.notes}
            save_listener(self.model, self.folder.best, notes=notes)

    def _save(self) -> None:
        tensors: dict[str, Tensor] = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        for index, state in sorted(self.optimiser.state_dict()["state"].items()):
            tensors |= {f"optimiser/{index}/{k}": v for k, v in state.items()}
        header = {
            "step": str(self.step),
            "epoch": str(self.epoch),
            "best": repr(self.best),
            "seconds": repr(self.seconds),
            "losses": json.dumps(self.losses),
        }
        save_state(self.folder, tensors, header)

    def take(self, header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`_save` wrote."""
        self.step, self.epoch = int(header["step"]), int(header["epoch"])
        self.best, self.seconds = float(header["best"]), float(header["seconds"])
        self.losses = [float(loss) for loss in json.loads(header["losses"])]
        parts = parts_of(tensors, "model", "optimiser")
        self.model.load_state_dict(parts["model"])
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in parts["optimiser"].items():
            index, _, name = key.partition("/")
            state.setdefault(int(index), {})[name] = value
        self.optimiser.load_state_dict({"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]})


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

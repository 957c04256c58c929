"""The training loop of the detectors: epochs of drawn frames, resumable to the bit, everything in one run folder.

What a step sees and draws is a function of (seed, epoch, step): the sampler's order, the augmentation and torch's
random numbers are seeded anew for each step. So a run that was killed and goes on from its last checkpoint, however
long ago that was written, ends with the numbers of one that was not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sai_core.acoustics.features import choose_device
from sai_core.checkpoints import read_state_dict
from sai_core.detector.field_head import take_field
from sai_core.detector.models import SaiDetector, save_detector
from sai_core.detector.pretrained import IN_CACHE, find_cached, known_files, weights_folder
from sai_core.errors import InputError, SaiError
from sai_core.files import atomic_write
from sai_core.inference.networks import has_field
from sai_core.progress import Progress, no_progress
from sai_core.runs.checkpoint import parts_of, room_of, save_state, take_up
from sai_core.runs.folder import RunFolder
from sai_core.runs.kinds import LABELS_OPTION, FieldError, RunInputs, at_field, collect, kind_of, split_config
from sai_core.runs.lifecycle import Life, life
from sai_core.threads import use_torch_threads
from sai_core.training.augment import make_batch
from sai_core.training.averaging import AveragedWeights
from sai_core.training.config import COLUMNS, TrainingConfig
from sai_core.training.data import FrameSet, RawBatch, choose_recordings, map_maker, prepare
from sai_core.training.epochs import processor_has_bfloat16
from sai_core.training.optimiser import Plateau, Strategy, clip_gradients
from sai_core.training.sampler import RareClassSampler, rare_classes
from sai_core.training.sounds import take_sounds
from sai_core.training.validation import encoded, scores_on, total_loss, validation_losses
from sai_core.training.workers import Workers
from sai_core.workspace import folder_of

__all__ = ["DetectorTraining", "faults", "resolve_start", "train", "train_run"]


def train(
    config: TrainingConfig | None,
    run: Path,
    *,
    data_roots: Sequence[Path] = (),
    labels: str = "",
    device: str = "auto",
    resume: bool = False,
    progress: Progress = no_progress,
    say: Callable[[str], object] = lambda sentence: None,
) -> Path:
    """Train a detector, or go on with a run.

    Parameters
    ----------
    config : TrainingConfig
        None on ``resume``: the run's own settings are used.
    run : Path
        Folder of the run; see :mod:`sai_core.runs.folder`.
    data_roots : sequence of Path
        Data in the official layout; on ``resume`` those of the run when left out.
    labels : str
        Name of a label set of the workspace, or folder of labels, instead of the own labels of the data root that it
        was made from; on ``resume`` those of the run.
    device : str
        ``auto``, ``cpu``, ``cuda`` or a torch device name.
    resume : bool
        Go on from the last checkpoint (from the start where none was written yet).
    progress : Progress
    say : callable
        Told, in a sentence each, what was decided about the weights to start from, and what the readers of labels left
        out or guessed.

    Returns
    -------
    Path
        Best weights (the last state if the run was stopped before the first validation).

    Raises
    ------
    InputError
        Settings or data that cannot be used; nothing to resume; a run in the folder already.
    EnvironmentProblem
        The disk is full, or the device is not there or has gone; the last checkpoint stays.
    SaiError
        The loss is not a number; the last checkpoint stays.
    CancelledError
        From ``progress``; a checkpoint is written.
    """
    workers = Workers()
    folder = RunFolder(run, columns=COLUMNS, silent=not workers.first)
    options = {LABELS_OPTION: labels} if labels else {}
    inputs = RunInputs(data_roots=tuple(data_roots), device=device, options=options, processes=workers.world)
    if resume:
        folder.config()  # nothing is made where there is no run
    else:
        if config is None:
            raise InputError("a new run needs a configuration.")
        config, decided = resolve_start(config)
        if workers.first:
            for sentence in decided:
                say(sentence)
        # a mistake is told before a folder is made
        folder.refuse_old()
        for error in faults(config, inputs):
            raise error
        if labels:
            # by its place: a set may be renamed before the run goes on
            options = {LABELS_OPTION: os.path.abspath(folder_of("labels", labels))}
            inputs = dataclasses.replace(inputs, options=options)
    with folder.held():
        if resume:
            source = str(folder.path / "config.json")
            settings, kept = split_config(folder.config(), source)
            config, inputs = kind_of("detector").config_from(settings, source), inputs.over(kept)
        assert config is not None
        chosen = workers.device(choose_device(device))
        workers.join(chosen)
        if not resume:
            folder.begin({"kind": "detector", **config.as_dict(), **inputs.as_dict()})
        with life(folder, progress, epochs=config.epochs, message="preparing the data") as lived:
            # nobody looks for a checkpoint before rank 0 has made its mind up about the folder
            workers.wait()
            roots = [Path(root).resolve() for root in inputs.data_roots]
            trainer = DetectorTraining(
                config, folder, roots, chosen, workers, lived, inputs.options.get(LABELS_OPTION, "")
            )
            if workers.first:
                for sentence in trainer.notes:
                    say(sentence)
            take_up(folder, trainer.take, resume=resume, say=say)
            trainer.run()
    workers.leave()
    return folder.best if folder.best.exists() else folder.last


def faults(config: TrainingConfig, inputs: RunInputs) -> list[SaiError]:
    """Everything that would make a new run fail at its start.

    No data, none that can be learned from, no video for Track B, weights that are not there, a batch that processes
    cannot share, a device that is not on this machine.
    """
    if not inputs.data_roots:
        return [FieldError("data", "training needs data: give --data with a folder in the official layout.")]
    return collect(
        lambda: _check_norm(config),
        *(partial(_check_start, name, given) for name, given in dataclasses.asdict(config.start).items()),
        lambda: _check_batch(config, inputs),
        lambda: _check_device(inputs),
        lambda: _check_data(config, inputs),
    )


def room(config: TrainingConfig, inputs: RunInputs) -> int:
    """As :class:`sai_core.runs.kinds.Trainer` has it; what is decoded goes into the cache."""
    return room_of(lambda: SaiDetector(config.model), averaged=config.optimiser.average > 0)


def _check_norm(config: TrainingConfig) -> None:
    if config.model.frozen_norm and not (config.start.backbone or config.start.detector):
        raise InputError(
            f"{config.name}: this recipe starts from given weights, and none are (start.backbone, start.detector); "
            "from scratch use --set model.frozen_norm=false --set 'optimiser.unfreeze={}'."
        )


def _check_start(name: str, given: str) -> None:
    if given and given != IN_CACHE and not Path(given).is_file():
        raise FieldError("overrides", f"start.{name}: {given}: there is no such file.")


def _check_batch(config: TrainingConfig, inputs: RunInputs) -> None:
    if config.batch % inputs.processes:
        raise FieldError(
            "executor", f"a batch of {config.batch} frames cannot be divided evenly among {inputs.processes} processes."
        )


def _check_device(inputs: RunInputs) -> None:
    with at_field("device"):
        choose_device(inputs.device)


def _check_data(config: TrainingConfig, inputs: RunInputs) -> None:
    roots, labels = [Path(root).resolve() for root in inputs.data_roots], inputs.options.get(LABELS_OPTION, "")
    with at_field(LABELS_OPTION if labels else "data"):
        train, validation, _ = choose_recordings(roots, config.data, labels=labels)
        paths = [r.label_path for r in (*train, *validation) if r.label_path is not None]
        if empty := [path for path in paths if not path.stat().st_size]:
            raise InputError(
                f"{empty[0]}: the label file is empty (0 bytes)"
                + (f", and {len(empty) - 1} others are" if len(empty) > 1 else "")
                + "; take it away, and the recording is left out."
            )
    blind = [r.name for r in (*train, *validation) if not r.has_video]
    if config.model.track == "B" and blind:
        raise FieldError(
            "recipe",
            f"{config.name}: Track B learns from video, and {len(blind)} of {len(train) + len(validation)} recordings "
            f"have none (video_dev), the first is {blind[0]}; choose a recipe of Track A, or other data.",
        )


def train_run(
    config: TrainingConfig | None,
    run: Path,
    inputs: RunInputs,
    *,
    resume: bool,
    progress: Progress,
    say: Callable[[str], object],
) -> str:
    """:func:`train`, as :class:`sai_core.runs.kinds.Trainer` has it."""
    best = train(
        config,
        run,
        data_roots=inputs.data_roots,
        labels=inputs.options.get(LABELS_OPTION, ""),
        device=inputs.device,
        resume=resume,
        progress=progress,
        say=say,
    )
    return str(best)


def resolve_start(config: TrainingConfig) -> tuple[TrainingConfig, list[str]]:
    """Settings with ``start.backbone = "torchvision"`` replaced by a file of torchvision's cache.

    Where the cache has nothing that fits, the backbone starts from random weights; then no layer waits for its epoch
    and no norm is frozen, since random weights that stay as they are teach nothing. For the same reason an RPN that is
    to stay frozen learns where only the backbone is given.

    Returns
    -------
    config : TrainingConfig
    decided : list of str
        What was decided, one sentence each; empty where nothing was asked for.
    """
    decided = []
    given = Path(config.start.detector)
    if config.model.region == "roi" and config.start.detector and given.is_file() and has_field(given):
        decided.append(
            f"{given} says an intensity field, and this network does not: its field is left behind; to keep it, set "
            "model.region = field."
        )
    if config.start.backbone == IN_CACHE:
        found = find_cached(config.model.backbone)
        start = dataclasses.replace(config.start, backbone="" if found is None else str(found))
        config = dataclasses.replace(config, start=start)
        if found is None:
            return _without_cache(config)
        decided.append(f"The backbone starts from {found} (torchvision's cache).")
    frozen = config.optimiser.frozen
    if config.start.backbone and not config.start.detector and "rpn" in frozen:
        left = tuple(group for group in frozen if group != "rpn")
        config = dataclasses.replace(config, optimiser=dataclasses.replace(config.optimiser, frozen=left))
        decided.append("A backbone's file has no RPN of ours, so that the RPN learns (optimiser.frozen names it).")
    return config, decided


def _without_cache(config: TrainingConfig) -> tuple[TrainingConfig, list[str]]:
    names = ", ".join(known_files(config.model.backbone))
    sentence = f"torchvision's cache ({weights_folder()}) has none of {names}"
    if config.start.detector:
        return config, [f"{sentence}; all weights come from {config.start.detector}."]
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, frozen_norm=False),
        optimiser=dataclasses.replace(config.optimiser, unfreeze={}),
    )
    return config, [f"{sentence}; the backbone starts from random weights, and nothing is frozen."]


class _StopError(Exception):
    """Leaves a validation, which is made again on resume."""


class DetectorTraining:
    """A run of a detector: its data, network and strategy, and how far it is."""

    def __init__(
        self,
        config: TrainingConfig,
        folder: RunFolder,
        roots: Sequence[Path],
        device: torch.device,
        workers: Workers,
        lived: Life,
        labels: str = "",
    ) -> None:
        self.config, self.folder, self.device, self.lived = config, folder, device, lived
        self.workers = workers
        use_torch_threads(config.threads)
        train_set, validation_set = self.load_data(roots, labels)
        self.train_set, self.validation_set = train_set, validation_set
        draws = max(config.batch, min(config.data.frames_per_epoch or len(train_set), len(train_set)))
        self.sampler = RareClassSampler(train_set.present, draws, config.data.rare_share, config.seed)
        self.steps_per_epoch = max(1, draws // config.batch)
        self.total_steps = self.steps_per_epoch * config.epochs
        torch.manual_seed(config.seed)
        self.model, self.pretrained = _new_model(config)
        self.model.to(device)
        self.strategy = Strategy(self.model, config.optimiser, pretrained=self.pretrained)
        o = config.optimiser
        self.plateau = Plateau(factor=o.plateau_factor, patience=o.plateau_patience, smooth=o.plateau_smooth)
        self.average = AveragedWeights(self.model, o.average) if o.average > 0 else None
        self.step = 0  # steps made in all
        self.validated = 0  # epochs whose validation is done
        self.seconds = 0.0
        self.best = -math.inf
        self.sums: dict[str, float] = {}
        self.counted = 0
        self._rates: dict[str, float] = {}
        self.frozen: list[str] = []
        on_gpu = device.type == "cuda"
        self.use_amp = config.amp if on_gpu else config.cpu_bfloat16 and processor_has_bfloat16()
        half = on_gpu and self.use_amp and not torch.cuda.is_bf16_supported()
        self.autocast_dtype = torch.float16 if half else torch.bfloat16
        self.scaler = torch.amp.GradScaler("cuda", enabled=half)

    # -- data ----------------------------------------------------------------------------------------------------

    def load_data(self, roots: Sequence[Path], labels: str) -> tuple[FrameSet, FrameSet]:
        """Frames for training and for validation; what is not in the cache is made."""
        config = self.config
        train, validation, decided = choose_recordings(roots, config.data, labels=labels)
        maker = map_maker(config.data, device="cuda" if self.device.type == "cuda" else "cpu")
        with_rgb = config.model.track == "B"

        sets = [
            prepare(
                chosen,
                settings=config.data,
                maker=maker,
                with_rgb=with_rgb,
                context_frames=config.model.context_frames,
                field_reach=config.model.field_reach,
                frame_step=step,
                progress=lambda _, message: self.lived.preparing(0.0, message),
            )
            for chosen, step in ((train, config.data.frame_step), (validation, 1))
        ]
        for frames, what in zip(sets, ("training", "validation"), strict=True):
            if not frames.present.any():
                raise InputError(f"the {what} recordings have no labelled frame; give other data.")
        self.notes = [
            f"{what} {sentence}"
            for frames, what in zip(sets, ("training", "validation"), strict=True)
            for sentence in frames.label_notes
        ]
        if self.device.type == "cpu" and config.cpu_bfloat16 and not processor_has_bfloat16():
            self.notes.append("training in float32: this processor has no instructions for bfloat16.")
        counts = sets[0].present.sum(axis=0)
        facts = {
            "said": decided,
            "notes": self.notes,
            "train_recordings": [str(r.label_path) for r in train],
            "validation_recordings": [str(r.label_path) for r in validation],
            "train_frames": len(sets[0]),
            "validation_frames": len(sets[1]),
            "frames_per_class": counts.tolist(),
            "rare_classes": rare_classes(counts).tolist(),
            "regions": sets[0].n_regions,
            "regions_left_out": sets[0].n_dropped,
            "features": maker.describe(),
        }
        if self.workers.first:
            with atomic_write(self.folder.path / "data.json", "w") as stream:
                json.dump(facts, stream, indent=1)
        return sets[0], sets[1]

    # -- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the end, or until it is asked to stop."""
        config = self.config
        saved = time.monotonic()
        if self.step == 0 and not self.folder.last.exists():
            # a full disk or a folder that cannot be written shows now, not after an hour
            self.save()
        # a run that goes on says where it stands, also when nothing but its end is left
        self.folder.status(step=self.step, steps=self.total_steps)
        while self.validated < config.epochs:
            epoch = self.validated
            self.frozen = self.strategy.freeze(epoch)
            self.model.train()
            order = self.sampler.epoch(epoch)
            first = self.step - epoch * self.steps_per_epoch
            for raw in self._batches(order, first):
                started = time.monotonic()
                terms = self.train_step(raw)
                self.step += 1
                self.seconds += time.monotonic() - started
                stop = terms.pop("stop") > 0
                self._note(epoch, terms, started, self.config.batch)
                self._tell(epoch)
                if stop or self._stop_alone():
                    self._stop()
                    return
                if time.monotonic() - saved > 60 * config.checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
            try:
                self._validate(epoch)
            except _StopError:
                self._stop()
                return
            self.validated += 1
            self.save()
            saved = time.monotonic()
            if self.workers.mean([float(self.folder.stop_wanted())])[0] > 0 and self.validated < config.epochs:
                self.lived.stopped = True
                return

    def _stop(self) -> None:
        self.save()
        self.lived.stopped = True

    def _stop_alone(self) -> bool:
        """Whether to stop at once; of several processes all must come to the same step first."""
        return self.workers.world == 1 and self.folder.stop_wanted()

    def _batches(self, order: np.ndarray, first: int) -> Iterator[RawBatch]:
        """Stored frames of the steps of an epoch from ``first`` on; on a GPU the next ones are read meanwhile."""
        size = self.config.batch
        mine = slice(self.workers.rank, None, self.workers.world)
        numbers = [order[k * size : (k + 1) * size][mine] for k in range(first, self.steps_per_epoch)]
        if self.device.type == "cpu":
            for part in numbers:
                yield self.train_set.batch(part.tolist())
            return
        with ThreadPoolExecutor(2) as pool:
            ahead: list[Future[RawBatch]] = [pool.submit(self.train_set.batch, n.tolist()) for n in numbers[:3]]
            for k in range(len(numbers)):
                if k + 3 < len(numbers):
                    ahead.append(pool.submit(self.train_set.batch, numbers[k + 3].tolist()))
                yield ahead.pop(0).result()

    def train_step(self, raw: RawBatch) -> dict[str, float]:
        """Learn from one batch; the terms of the loss, and ``stop``."""
        config = self.config
        rank = self.workers.rank
        torch.manual_seed(config.seed * 1_000_003 + self.step + rank * 7_919_000_007)
        rng = np.random.default_rng([config.seed, 2, self.step, *([rank] if rank else [])])
        self.strategy.factor = self.plateau.scale
        self._rates = self.strategy.set_rates(self.step, self.total_steps)
        batch = make_batch(
            raw,
            circular=config.model.seam == "circular",
            grid=config.data.grid,
            device=self.device,
            augment=config.augment,
            rng=rng,
        )
        with torch.autocast(self.device.type, dtype=self.autocast_dtype, enabled=self.use_amp):
            terms = self.model.losses(
                batch.acoustic,
                batch.rgb,
                batch.targets,
                context=batch.context,
                heard=batch.heard,
                proposals=config.proposals,
                regions=config.regions,
            )
        total = torch.stack([v.float() * float(config.loss[k]) for k, v in terms.items()]).sum()
        wish = float(self.folder.stop_wanted())
        means = self.workers.mean([*(v.item() for v in terms.values()), total.item(), wish])
        figures = dict(zip((*terms, "total", "stop"), means, strict=True))
        if not math.isfinite(figures["total"]):
            bad = [k for k in terms if not math.isfinite(figures[k])]
            raise SaiError(
                f"the loss is not a number at step {self.step} ({', '.join(bad) or 'sum'}); the last checkpoint is "
                "good: try a smaller rate (--set optimiser.rate=...)."
            )
        self.strategy.adamw.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.workers.average_gradients(self.model.parameters())
        self.scaler.unscale_(self.strategy.adamw)
        norm = clip_gradients(self.model.parameters(), config.optimiser.clip)
        if not math.isfinite(norm) and not self.scaler.is_enabled():
            raise SaiError(
                f"the gradient is not a number at step {self.step}; the last checkpoint is good: try a smaller rate "
                "(--set optimiser.rate=...)."
            )
        self.scaler.step(self.strategy.adamw)
        self.scaler.update()
        if self.average is not None:
            self.average.update()
        return figures

    def _note(self, epoch: int, terms: Mapping[str, float], started: float, frames: int) -> None:
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.counted += 1
        last_of_epoch = self.step == (epoch + 1) * self.steps_per_epoch
        if self.step % self.config.log_every == 0 or last_of_epoch:
            row = {name: value / self.counted for name, value in self.sums.items()}
            rates = {f"rate_{g}": 0.0 if g in self.frozen else r for g, r in self._rates.items()}
            self.folder.append(
                {"epoch": epoch, "step": self.step, "seconds": round(self.seconds, 1), "kind": "train", **row, **rates}
            )
            self.sums, self.counted = {}, 0
        pace = (time.monotonic() - started) / max(frames, 1)
        previous = getattr(self, "_pace", pace)
        self._pace = 0.95 * previous + 0.05 * pace

    def _tell(self, epoch: int) -> None:
        left = (self.total_steps - self.step) * self.config.batch * self._pace
        gpu = torch.cuda.max_memory_allocated(self.device) / 2**20 if self.device.type == "cuda" else None
        text = f"epoch {epoch + 1} of {self.config.epochs}, step {self.step} of {self.total_steps}"
        self.lived.tell(
            self.step / self.total_steps,
            f"{text}, {1 / self._pace:.1f} frames/s",
            epoch=epoch,
            epochs=self.config.epochs,
            step=self.step,
            steps=self.total_steps,
            frames_per_s=round(1 / self._pace, 3),
            eta_s=round(left, 1),
            frozen=self.frozen,
            rates=self._rates,
            gpu_memory_mb=None if gpu is None else round(gpu, 1),
        )

    # -- validation ----------------------------------------------------------------------------------------------

    def _validate(self, epoch: int) -> None:
        """Rank 0 measures; all learn the loss that decides on the rates."""
        total = self._measure(epoch) if self.workers.first else 0.0
        (mean,) = self.workers.mean([total])
        total = mean * self.workers.world
        if not math.isfinite(total):
            raise SaiError(f"the validation loss of epoch {epoch + 1} is not a number; the last checkpoint is good.")
        self.plateau.step(total)

    def _measure(self, epoch: int) -> float:
        config = self.config
        started = time.monotonic()

        def tell(fraction: float, message: str) -> None:
            self.lived.tell(self.step / self.total_steps, message)
            if self._stop_alone():
                raise _StopError

        with self.average.in_model() if self.average is not None else contextlib.nullcontext():
            self.model.eval()
            terms = validation_losses(self.model, self.validation_set, config, device=self.device)
            total = total_loss(terms, config.loss)
            row: dict[str, float] = {**terms, "total": total}
            measured = config.validation.recordings > 0 and (
                (epoch + 1) % config.validation.every == 0 or epoch + 1 == config.epochs
            )
            if measured:
                scores, samples = scores_on(self.model, self.validation_set, config, device=self.device, progress=tell)
                row.update({k: v for k, v in scores.as_row().items() if math.isfinite(v)})
                self.folder.clear_samples()
                for name, image in samples:
                    self.folder.save_sample(name, encoded(image))
            self.seconds += time.monotonic() - started
            if measured or config.validation.recordings == 0:
                # mAP decides; where it is still nothing, the loss does
                worth = row.get("mAP", 0.0) if measured else 0.0
                worth -= 1e-6 * total
                if worth > self.best:
                    self.best = worth
                    self._save_best(epoch, row)
        if math.isfinite(total):
            self.folder.append(
                {"epoch": epoch, "step": self.step, "seconds": round(self.seconds, 1), "kind": "validation", **row}
            )
        return total

    def _save_best(self, epoch: int, row: Mapping[str, float]) -> None:
        notes = {
            "recipe": self.config.name,
            "seed": str(self.config.seed),
            "epoch": str(epoch + 1),
            "step": str(self.step),
            "hours": f"{self.seconds / 3600:.2f}",
            "validation": json.dumps({k: round(float(v), 5) for k, v in row.items()}),
            "grid": self.config.data.grid,
            "magnitude": self.config.data.magnitude,
            "smooth_frames": str(self.config.data.smooth_frames),
            "visibility": self.config.data.visibility,
        }
        save_detector(self.model, self.folder.best, notes=notes)

    # -- state ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write everything that going on needs, atomically."""
        tensors: dict[str, Tensor] = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"optimiser/{k}": v for k, v in self.strategy.state().items()}
        if self.average is not None:
            tensors |= {f"average/{k}": v for k, v in self.average.weights.items()}
        header = {
            "sai_training": "1",
            # the state of sampler, augmentation and torch's random numbers is their seed and the step
            "seed": str(self.config.seed),
            "step": str(self.step),
            "validated": str(self.validated),
            "seconds": repr(self.seconds),
            "best": repr(self.best),
            "plateau": json.dumps(self.plateau.state()),
            "sums": json.dumps([self.sums, self.counted]),
            "scaler": json.dumps(self.scaler.state_dict()),
        }
        save_state(self.folder, tensors, header)

    def take(self, header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`save` wrote."""
        if header.get("sai_training") != "1":
            raise KeyError("sai_training")
        self.step, self.validated = int(header["step"]), int(header["validated"])
        self.seconds, self.best = float(header["seconds"]), float(header["best"])
        self.plateau.load_state(json.loads(header["plateau"]))
        sums, self.counted = json.loads(header["sums"])
        self.sums = {str(k): float(v) for k, v in sums.items()}
        parts = parts_of(tensors, "model", "optimiser", "average")
        self.model.load_state_dict(parts["model"])
        self.strategy.load_state(parts["optimiser"])
        if self.average is not None:
            for name, value in self.average.weights.items():
                value.copy_(parts["average"][name])
            self.average.updated(self.step)
        if scaler := json.loads(header["scaler"]):
            self.scaler.load_state_dict(scaler)


def _weights_of_a_run(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights from ``last.safetensors`` of a run, the running mean where there is one; other states as they are."""
    if not any(key.startswith("model/") for key in state):
        return state
    plain = {key.removeprefix("model/"): value for key, value in state.items() if key.startswith("model/")}
    mean = {key.removeprefix("average/"): value for key, value in state.items() if key.startswith("average/")}
    return {**plain, **mean}


def _new_model(config: TrainingConfig) -> tuple[SaiDetector, bool]:
    """Network of a run, and whether it starts from given weights."""
    model = SaiDetector(config.model)
    if config.start.backbone:
        model.backbone.load_torchvision(Path(config.start.backbone))
    if config.start.detector:
        path = Path(config.start.detector)
        own = model.state_dict()
        state = _weights_of_a_run(read_state_dict(path))
        fitting = {k: v.float() for k, v in state.items() if k in own and own[k].shape == v.shape}
        if len(fitting) < len(own) // 4:
            raise InputError(f"{path}: only {len(fitting)} of {len(own)} tensors fit this network; choose another.")
        model.load_state_dict(fitting, strict=False)
    if config.start.sounds:
        take_sounds(model, Path(config.start.sounds))
    if config.start.field:
        take_field(model, Path(config.start.field))
    return model, bool(config.start.backbone or config.start.detector)

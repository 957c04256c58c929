"""The training loop of UpLAM: stages from coarse to fine, resumable to the bit, everything in one run folder.

A stage has a size (cells, see :mod:`sai_core.training.uplam.coarse`) and an objective:

* ``"resolvent"``: the enlarged matrix is fitted to a function of the four-channel matrix itself, whose beam pattern is
  the minimum-variance spectrum. A few minutes that put the network where plain beamforming ends.
* ``"maps"``: self-supervision by 32 channels. With ``t`` the sharp 32-channel map of
  :mod:`sai_core.training.uplam.targets` raised to a power, and ``l`` the network's map, each divided by its total:
  the cross-entropy ``- sum t log l`` of the mean over bands, plus that of every band; a small term that keeps the
  total's magnitude; and the share of the 32-channel matrix that LAM's decoder ``A diag(l) A^H`` leaves unexplained.

Which frames a step sees is a function of (seed, stage, step), and nothing else is random once a stage has begun, so a
run that is killed and resumed ends with the same numbers as one that was not.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from sai_core.acoustics.networks import UpLAM, UpLAMConfig, save_uplam
from sai_core.errors import SaiError
from sai_core.files import atomic_write
from sai_core.progress import Progress, no_progress
from sai_core.runs.checkpoint import parts_of, room_of, save_state, take_up
from sai_core.runs.folder import RunFolder
from sai_core.runs.kinds import RunInputs
from sai_core.runs.lifecycle import Life, life
from sai_core.threads import use_torch_threads
from sai_core.training.averaging import AveragedWeights
from sai_core.training.epochs import held_run
from sai_core.training.uplam.blocks import Block, cached_block
from sai_core.training.uplam.coarse import CoarseUpLAM, lift, refine, resolvent
from sai_core.training.uplam.config import LossConfig, StageConfig, TrainingConfig
from sai_core.training.uplam.optimiser import Optimiser
from sai_core.training.uplam.symmetry import symmetries, turned
from sai_core.training.uplam.targets import TargetMaker, Targets

WEIGHTS_FILE: Final[str] = "uplam.safetensors"
"""Name of the result in a run folder."""

_VALIDATION_BLOCK: Final[int] = 1_000_000
"""Block number of the validation frames, far from any training block."""

_WARM_UP: Final[int] = 50
_FLAT_SHARE: Final[float] = 0.3
"""Share of a stage's steps at the full rate; then the rate falls linearly."""


def train(
    config: TrainingConfig | None,
    run: Path,
    *,
    resume: bool = False,
    progress: Progress = no_progress,
    stop_after: int = 0,
    say: Callable[[str], object] = lambda sentence: None,
) -> Path:
    """Train, or go on with, a run.

    Parameters
    ----------
    config : TrainingConfig
        Ignored on ``resume``: the run's own configuration is used.
    run : Path
        Folder of the run (:mod:`sai_core.runs.folder`; here an epoch is a stage). ``best.safetensors`` are the weights
        with the lowest validation loss and, at the end, ``uplam.safetensors`` the same, ready for use.
    resume : bool
        Continue from ``last.safetensors``.
    progress : Progress
    stop_after : int
        Stop after so many steps in all, with a checkpoint, as a kill would (0: never).
    say : callable
        Told, in a sentence each, what was not as it should be.

    Returns
    -------
    Path
        Of the finished weights (or of the last checkpoint if stopped before the end, by the file or ``stop_after``).

    Raises
    ------
    InputError
        The folder holds a run already and ``resume`` is not set, nothing to resume, or it is running.
    SaiError
        The loss is not finite; the last checkpoint stays.
    """
    folder = RunFolder(run, columns=COLUMNS)
    with held_run("uplam", folder, config, RunInputs(), resume=resume, faults=faults) as (config, _):
        use_torch_threads(max(1, config.threads))
        with life(folder, progress, epochs=len(config.stages), message="preparing the frames") as lived:
            trainer = _Trainer(config, folder, lived)
            take_up(folder, trainer.take, resume=resume, say=say)
            trainer.run_all(stop_after)
    return folder.last if lived.stopped else folder.path / WEIGHTS_FILE


def faults(config: TrainingConfig, inputs: RunInputs) -> list[SaiError]:
    """Nothing but the settings can be wrong: the frames are simulated."""
    return []


def room(config: TrainingConfig, inputs: RunInputs) -> int:
    """As :class:`sai_core.runs.kinds.Trainer` has it, of the last stage, which is the largest."""
    return room_of(lambda: UpLAM(_uplam_config(config)), averaged=True)


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
    return str(train(config, run, resume=resume, progress=progress, say=say))


def loss_terms(latent: torch.Tensor, targets: Targets, loss: LossConfig) -> dict[str, torch.Tensor]:
    """Terms of the ``"maps"`` objective, without the reconstruction.

    Parameters
    ----------
    latent : float32, shape (batch, bands, 484)
        The network's maps, >= 0.
    targets : Targets
    loss : LossConfig

    Returns
    -------
    dict
        ``mean`` and ``band`` (cross-entropies in nats, of the mean over bands and of single bands) and ``scale``.
    """
    maps = sharpened(targets.maps, loss.sharpness)
    loudness = targets.inputs.diagonal(dim1=-2, dim2=-1).real.sum(dim=-1)
    # a floor relative to the input keeps the logarithm finite and lets quiet bands have quiet maps
    floor = 0.01 * loudness[..., None] + 1e-6
    total = latent.sum(dim=-1)
    # log1p-like: below a hundredth of a source's map the totals need not agree
    scale = ((total + loudness + 1e-3).log() - (maps.sum(dim=-1) + loudness + 1e-3).log()).square().mean()
    return {
        "mean": _cross_entropy(maps.mean(dim=1), (latent + floor).mean(dim=1)),
        "band": _cross_entropy(maps, latent + floor),
        "scale": scale,
    }


def sharpened(maps: torch.Tensor, exponent: float) -> torch.Tensor:
    """Raise maps to a power without changing the height of each map's peak."""
    peak = maps.amax(dim=-1, keepdim=True).clamp_min(1e-9)
    return maps * (maps / peak).pow(exponent - 1.0)


def _cross_entropy(target: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    share = target / target.sum(dim=-1, keepdim=True).clamp_min(1e-9)
    return (share * (positive.sum(dim=-1, keepdim=True).log() - positive.log())).sum(dim=-1).mean()


def _uplam_config(config: TrainingConfig) -> UpLAMConfig:
    return UpLAMConfig(
        base_filter=config.model.base_filter,
        features=config.model.features,
        hermitian="mean",
        positive=False,
        note="UpLAM trained by this project on simulated rooms (see docs/uplam.md)",
    )


class _Trainer:
    def __init__(self, config: TrainingConfig, folder: RunFolder, lived: Life) -> None:
        self.config, self.folder, self.lived = config, folder, lived
        self.rates: dict[str, float] = {}
        self.pace = 0.0  # seconds a step, smoothed
        self.stage = 0
        self.step = 0  # within the stage
        self.seconds = 0.0
        self.best = float("inf")
        self.total = sum(s.steps for s in config.stages)
        torch.manual_seed(config.seed)
        self._blocks: list[Block] = []
        self._validation: Block | None = None
        self.maker = TargetMaker(_feature_frequencies(), consensus_share=config.data.consensus_share)
        self.model: nn.Module = CoarseUpLAM(_uplam_config(config), min(config.stages[0].cells, 4), self.maker.steering)
        if config.stages[0].cells == 8:
            self.model = trainable(lift(self.model))
        self._begin()

    def _begin(self) -> None:
        """State of a stage at its first step."""
        slow = [n for n, _ in self.model.named_parameters() if n.rsplit(".", 1)[-1] in ("D", "tau")]
        self.optimiser = Optimiser(self.model, slow=slow)
        self.average = AveragedWeights(self.model, self.config.stages[self.stage].average)
        self.smooth: dict[str, float] = {}

    def _advance(self) -> None:
        """Go to the next stage: averaged weights, refined if need be."""
        self._use_average()
        self.stage, self.step = self.stage + 1, 0
        cells = self.config.stages[self.stage].cells
        if isinstance(self.model, CoarseUpLAM) and cells != self.model.cells:
            # reproducible whether or not the run was interrupted in the stage before
            torch.manual_seed(self.config.seed + 1000 * self.stage)
            if cells == 8:
                self.model = trainable(lift(self.model))
            else:
                self.model = refine(self.model, cells, self.maker.steering)
        self._begin()

    def _use_average(self) -> None:
        if self.config.stages[self.stage].average > 0:
            self.average.put_into_model()

    def run_all(self, stop_after: int) -> None:
        """Train to the end, or until it is asked to stop."""
        config = self.config
        self._load_data()
        if not self.folder.last.exists():
            self._save()  # a full disk shows now, not after minutes
        done = sum(s.steps for s in config.stages[: self.stage]) + self.step
        saved = time.monotonic()
        while True:
            stage = config.stages[self.stage]
            if self.step >= stage.steps:
                if self.stage + 1 == len(config.stages):
                    break
                self._advance()
                continue
            started = time.monotonic()
            terms = self._train_step(stage)
            self.step += 1
            done += 1
            for name, value in terms.items():
                self.smooth[name] = value if name not in self.smooth else 0.98 * self.smooth[name] + 0.02 * value
            took = time.monotonic() - started
            self.seconds += took
            self.pace = 0.98 * self.pace + 0.02 * took if self.pace else took
            if self.step % config.validate_every == 0 or self.step == stage.steps:
                self._validate()
            self._tell(done)
            stopping = (bool(stop_after) and done >= stop_after) or self.folder.stop_wanted()
            if stopping or time.monotonic() - saved > 60 * config.checkpoint_minutes:
                self._save()
                saved = time.monotonic()
            if stopping:
                self.lived.stopped = True
                return
        self._save()
        if not self.folder.best.exists():
            self._use_average()
            self._write_weights(self.folder.best)
        with atomic_write(self.folder.path / WEIGHTS_FILE) as stream:
            stream.write(self.folder.best.read_bytes())

    def _tell(self, done: int) -> None:
        """Say to whoever watches how far the run is."""
        losses = ", ".join(f"{k} {v:.3f}" for k, v in self.smooth.items())
        self.lived.tell(
            done / self.total,
            f"stage {self.stage} step {self.step}: {losses}",
            epoch=self.stage,
            epochs=len(self.config.stages),
            step=done,
            steps=self.total,
            frames_per_s=round(self.config.stages[self.stage].batch / self.pace, 1) if self.pace else None,
            eta_s=round((self.total - done) * self.pace, 1),
            rates=self.rates,
        )

    def _load_data(self) -> None:
        data = self.config.data
        for number in range(data.blocks):
            self.lived.preparing(0.0, f"drawing block {number + 1} of {data.blocks}")
            self._blocks.append(self._block(number, data.block_frames))
        self._validation = self._block(_VALIDATION_BLOCK, self.config.validation_frames)

    def _block(self, number: int, n_frames: int) -> Block:
        data = self.config.data
        return cached_block(
            data.scenes,
            seed=self.config.seed,
            number=number,
            n_frames=n_frames,
            frame_scale_share=data.frame_scale_share,
            consensus_share=data.consensus_share,
        )

    def _batch(self, stage: StageConfig) -> Targets:
        rng = np.random.default_rng((self.config.seed, 7, self.stage, self.step))
        data = self.config.data
        block = self._blocks[int(rng.integers(len(self._blocks)))]
        targets = block.targets(rng.integers(len(block), size=stage.batch))
        if data.symmetries:
            # one for the whole batch: permuting is then a plain index
            targets = turned(targets, symmetries()[int(rng.integers(24))])
        heard = torch.from_numpy(rng.random(targets.energy.shape) >= data.silent_band_share)
        return Targets(
            inputs=targets.inputs * heard[..., None, None],
            maps=targets.maps * heard[..., None],
            beams=targets.beams * heard[..., None],
            energy=targets.energy * heard,
        )

    def _train_step(self, stage: StageConfig) -> dict[str, float]:
        targets = self._batch(stage)
        self.model.zero_grad(set_to_none=True)
        if stage.objective == "resolvent":
            assert isinstance(self.model, CoarseUpLAM)
            wanted = resolvent(targets.inputs)
            packed = (wanted.real + wanted.imag).repeat_interleave(self.model.cells, -1)
            packed = packed.repeat_interleave(self.model.cells, -2)
            loss = (self.model.upsample(targets.inputs) - packed).square().mean()
            terms = {"resolvent": loss}
        else:
            weights = self.config.loss
            latent = latent_of(self.model, targets.inputs)
            terms = loss_terms(latent, targets, weights)
            loss = terms["mean"] + weights.band_weight * terms["band"] + weights.scale_weight * terms["scale"]
            if weights.reconstruction_weight > 0 and self.step % weights.reconstruction_every == 0:
                terms["reconstruction"] = self.maker.reconstruction_error(latent, targets).mean()
                loss = loss + weights.reconstruction_weight * weights.reconstruction_every * terms["reconstruction"]
        if not bool(torch.isfinite(loss)):
            raise SaiError(
                f"{self.folder.path}: the loss is not finite in stage {self.stage}, step {self.step}; "
                "lower the rates and resume from the last checkpoint."
            )
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        fraction = self.step / stage.steps
        pace = min(1.0, (self.step + 1) / _WARM_UP) * min(1.0, (1.0 - fraction) / (1.0 - _FLAT_SHARE) + 0.01)
        self.rates = {"network": stage.rate * pace, "kernel": stage.kernel_rate * pace}
        self.optimiser.step(rate=self.rates["network"], kernel_rate=self.rates["kernel"])
        if stage.average > 0:
            self.average.update()
        return {name: float(value.detach()) for name, value in terms.items()}

    def _validate(self) -> None:
        assert self._validation is not None
        stage = self.config.stages[self.stage]
        sums: dict[str, float] = {}
        rows = np.arange(len(self._validation))
        with self.average.in_model() if stage.average > 0 else contextlib.nullcontext(), torch.no_grad():
            for part in np.array_split(rows, -(-rows.size // 256)):
                targets = self._validation.targets(part)
                terms = loss_terms(latent_of(self.model, targets.inputs), targets, self.config.loss)
                for name, value in terms.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * part.size / rows.size
            score = sums["mean"] + self.config.loss.band_weight * sums["band"]
            if stage.objective == "maps" and score < self.best:
                self.best = score
                self._write_weights(self.folder.best)
        figures = {
            "seconds": self.seconds,
            **{f"train_{k}": v for k, v in self.smooth.items()},
            **{f"validation_{k}": v for k, v in sums.items()},
        }
        self.folder.append(
            {"stage": self.stage, "step": self.step, **{name: round(value, 5) for name, value in figures.items()}}
        )

    def _write_weights(self, path: Path) -> None:
        model = lift(self.model) if isinstance(self.model, CoarseUpLAM) else self.model
        assert isinstance(model, UpLAM)
        done = sum(s.steps for s in self.config.stages[: self.stage]) + self.step
        frames = sum(s.steps * s.batch for s in self.config.stages[: self.stage])
        frames += self.step * self.config.stages[self.stage].batch
        save_uplam(
            model,
            path,
            metadata={
                "seed": str(self.config.seed),
                "steps": str(done),
                "frames_seen": str(frames),
                "frames_drawn": str(self.config.data.blocks * self.config.data.block_frames),
                "hours": f"{self.seconds / 3600:.2f}",
                "data": "simulated shoebox rooms around a rigid sphere, synthesised sounds; no direction was shown",
                "commit": self.folder.commit(),
            },
        )

    def _save(self) -> None:
        tensors: dict[str, torch.Tensor] = {}
        for kind, values in (
            ("model", dict(self.model.named_parameters())),
            ("average", self.average.weights),
            ("optimiser", self.optimiser.state),
        ):
            for name, value in values.items():
                plain = torch.view_as_real(value.detach()) if value.is_complex() else value.detach()
                tensors[f"{kind}/{name}"] = plain.contiguous()
        header = {
            "stage": str(self.stage),
            "step": str(self.step),
            "seconds": repr(self.seconds),
            "best": repr(self.best),
            "count": str(self.optimiser.count),
            "smooth": json.dumps(self.smooth),
        }
        save_state(self.folder, tensors, header)

    def take(self, header: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> None:
        """Take up the state that :meth:`_save` wrote."""
        stage = int(header["stage"])
        if not 0 <= stage < len(self.config.stages):
            raise ValueError(f"stage {stage}")
        while self.stage < stage:
            self._advance()
        self.step, self.seconds, self.best = int(header["step"]), float(header["seconds"]), float(header["best"])
        self.smooth = json.loads(header["smooth"])
        self.optimiser.count = int(header["count"])
        parts = parts_of(tensors, "model", "average", "optimiser")
        average = self.average.weights
        self.average.updated(self.step)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                _restore(parameter, parts["model"][name])
                _restore(average[name], parts["average"][name])
            for name, value in self.optimiser.state.items():
                value.copy_(parts["optimiser"][name])


COLUMNS: Final[tuple[str, ...]] = (
    "stage",
    "step",
    "seconds",
    "train_resolvent",
    "train_mean",
    "train_band",
    "train_scale",
    "train_reconstruction",
    "validation_mean",
    "validation_band",
    "validation_scale",
)


def latent_of(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Maps of a coarse or a full-size network, without the removal of negative eigenvalues."""
    if isinstance(model, UpLAM):
        return model.lam(model.upsample(inputs), packed=True, psd="none")
    return model(inputs)


def trainable(model: UpLAM) -> UpLAM:
    """Swap the activations for ones with a fast backward; the state dict's keys stay."""
    from sai_core.training.uplam.coarse import FastPReLU

    for module in model.cdbpn.modules():
        activation = getattr(module, "act", None)
        if isinstance(activation, nn.PReLU):
            fast = FastPReLU()
            fast.weight = activation.weight
            module.act = fast
    return model


def _feature_frequencies() -> np.ndarray:
    from sai_core.acoustics.visibility import FEATURE_CENTRES_HZ, official_bins

    return np.array([50.0 * sum(official_bins(c)) for c in FEATURE_CENTRES_HZ])


def _restore(target: torch.Tensor, value: torch.Tensor) -> None:
    target.copy_(torch.view_as_complex(value) if target.is_complex() else value)

"""Training of the field decoder (:mod:`sai_core.detector.field`): 32 channels teach four, no label is needed.

In
    Simulated scenes by seed and number, or recordings with 32 channels (``eigen_dev``), real ones too. The label
    recipe gives the intensity field of every frame; the four UpLAM capsules are what the network hears.
Out
    ``best.safetensors`` in the run folder, for ``predict --field``.

The loss is a Huber loss of the logarithm where it matters for a label, and, for directions that are drawn where the
true field is strong, soft IoU and correlation of the regions that label code forms of the true and of the predicted
field (:mod:`sai_core.labelling.differentiable`), which are what is scored.

Rendering a scene costs more than hearing it. The twelve turns of the tetrahedron of the four capsules bring all 32 onto
one another (to one degree), so one rendering is heard in several of them: another scene for a lattice that has none of
these symmetries.

What a step sees is a function of (seed, epoch, step), so a run that was killed and resumed makes the same steps as one
that was not. Scenes heard before are kept in the run folder.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import permutations
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from sai_core.acoustics.audio_input import AudioInput
from sai_core.acoustics.features import choose_device
from sai_core.dataset import Recording, open_data_root
from sai_core.dataset.sound_file import look_at_sound
from sai_core.detector.field import LEAST_INTENSITY, N_MATRICES, FieldNetwork, load_field, matrices_of, save_field
from sai_core.detector.losses import roi_overlap_loss
from sai_core.errors import InputError, SaiError
from sai_core.files import atomic_write, content_hash
from sai_core.geometry import FRAME_RATE_HZ, N_LATTICE, UPLAM_CAPSULES, em32_positions_m, fibonacci_lattice_deg
from sai_core.labelling.differentiable import region_images
from sai_core.labelling.intensity import intensity_maps
from sai_core.progress import Progress, no_progress
from sai_core.runs.checkpoint import room_of, take_up
from sai_core.runs.folder import RunFolder
from sai_core.runs.kinds import FieldError, RunInputs, at_field, collect
from sai_core.runs.lifecycle import Life, life
from sai_core.threads import use_torch_threads
from sai_core.training.config import FieldTraining
from sai_core.training.epochs import EpochTrainer, cosine_rate, held_run, processor_has_bfloat16

FloatArray = npt.NDArray[np.float32]

COLUMNS: Final[tuple[str, ...]] = ("epoch", "step", "seconds", "kind", "total", "field", "region", "rms", "iou", "rate")
"""Of ``metrics.csv``; ``rms``: RMS error of ln intensity where the true one is above 3e-4; ``iou``: mean soft IoU of
regions of the true and of the predicted field at the same direction, both after the calibration of that epoch."""

MATTERS: Final[float] = 3e-4
"""Intensity from which on the field decides what a region looks like."""

LEVEL: Final[float] = -7.5
"""Logarithm of the intensity that a calibration turns about: 5.5e-4, where most of a region is."""

_SCALES: Final[tuple[float, ...]] = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3)
_SHIFTS: Final[tuple[float, ...]] = (-0.4, -0.2, 0.0, 0.2, 0.4, 0.6, 0.8)

_STEP_DEG: Final[int] = 4
"""Rows and columns of the canvas that the regions of the loss are looked at: the evaluator looks at every 3.6."""

_TURN_DEG: Final[float] = 4.0
"""Standard deviation of the drawn directions about a lattice point: a detector is a few degrees off."""


@dataclass(frozen=True, eq=False)
class Heard:
    """What four capsules hear of one recording, and the field that 32 capsules give.

    Attributes
    ----------
    matrices : float32, shape (frames, 27, 16)
        :func:`sai_core.detector.field.field_matrices`.
    field : float32, shape (frames, 484)
        Natural logarithm of the label recipe's intensity, at least ``ln 1e-5``.
    """

    matrices: FloatArray
    field: FloatArray

    def __len__(self) -> int:
        return len(self.field)


@lru_cache(maxsize=1)
def array_turns() -> npt.NDArray[np.int64]:
    """Channel orders of a turned scene, shape (12, 32); the first is none.

    Channel ``c`` of the turned recording is channel ``order[c]`` of the recording: what the capsule nearest to there
    heard. The 32 capsules have the twelve turns of the tetrahedron that the four are (to 1.0 degree, 0.2 on average).
    """
    capsules = em32_positions_m()
    four = capsules[list(UPLAM_CAPSULES)]
    orders = []
    for places in permutations(range(4)):
        left, _, right = np.linalg.svd(four.T @ four[list(places)])
        turn = (left @ right).T
        if np.linalg.det(turn) > 0:
            orders.append((capsules @ turn.T @ capsules.T).argmax(axis=0))
    return np.stack(orders)


def hear(capsules: npt.NDArray[np.floating] | AudioInput, turns: Sequence[int] = (0,)) -> list[Heard]:
    """What four capsules hear, and the field of all 32, in some turns of the array.

    Parameters
    ----------
    capsules : (samples, 32) at 24 kHz, or an AudioInput with 32 channels
    turns : sequence of int
        Rows of :func:`array_turns`.
    """
    samples = capsules.read(0, len(capsules)) if isinstance(capsules, AudioInput) else capsules
    rate = capsules.facts.file_rate_hz if isinstance(capsules, AudioInput) else None
    found = []
    for turn in turns:
        turned = np.ascontiguousarray(samples[:, array_turns()[turn]])
        # the recording itself where it is not turned: its bands are known
        field = intensity_maps(capsules if turn == 0 else turned, device="cpu")
        matrices = matrices_of(turned[:, list(UPLAM_CAPSULES)], file_rate_hz=rate)
        found.append(Heard(matrices, np.log(np.maximum(field, LEAST_INTENSITY)).astype(np.float32)))
    return found


def hear_scene(index: int, settings: FieldTraining, turns: Sequence[int] = (0,)) -> list[Heard]:
    """One simulated scene, without picture and labels."""
    from sai_core.simulation.audio import render_audio
    from sai_core.simulation.scene import draw_scene

    scene = draw_scene(settings.seed, index, seconds=settings.seconds, recording=f"field_{index}")
    return hear(np.ascontiguousarray(render_audio(scene).capsules.T), turns)


def faults(settings: FieldTraining, inputs: RunInputs) -> list[SaiError]:
    """What would make a new run fail at its start: nothing to learn from, no such device."""

    def device() -> None:
        with at_field("device"):
            choose_device(inputs.device)

    def start() -> None:
        if settings.start:
            _started(settings)

    return collect(lambda: _recordings(settings, inputs), device, start)


def room(settings: FieldTraining, inputs: RunInputs) -> int:
    """As :class:`sai_core.runs.kinds.Trainer` has it; scenes are kept in the run folder."""
    seconds = settings.scenes * settings.seconds
    for recording in _recordings(settings, inputs):
        assert recording.eigen_path is not None
        facts = look_at_sound(recording.eigen_path)
        seconds += facts.n_samples / facts.sample_rate_hz
    a_frame = 4 * N_MATRICES * 16 + 2 * N_LATTICE
    kept = seconds * FRAME_RATE_HZ * settings.turns * a_frame
    return room_of(lambda: FieldNetwork(settings.model)) + int(kept)


def _recordings(settings: FieldTraining, inputs: RunInputs) -> list[Recording]:
    if not settings.scenes and not inputs.data_roots:
        raise FieldError("data", "a field is learned from simulated scenes (scenes=N) or from 32 channels (--data).")
    found: list[Recording] = []
    with at_field("data"):
        for place in inputs.data_roots:
            root = open_data_root(place)
            there = [recording for recording in root.recordings if recording.eigen_path is not None]
            if not there:
                raise InputError(f"{root.path}: there is no 32-channel audio (eigen_dev) to learn the field from.")
            found += there
    if settings.held_out > 0 and settings.scenes + len(found) < 2:
        raise FieldError(
            "data", "one scene or recording alone cannot be learned from and measured; give more, or held_out=0."
        )
    return found


def train_run(
    config: FieldTraining | None,
    run: Path,
    inputs: RunInputs,
    *,
    resume: bool,
    progress: Progress,
    say: Callable[[str], object],
) -> str:
    """:func:`train`, as :class:`sai_core.runs.kinds.Trainer` has it."""
    path, figures = train(
        config,
        run,
        data_roots=inputs.data_roots,
        device=inputs.device,
        resume=resume,
        progress=progress,
        say=say,
    )
    if figures is None:
        return f"{path}: nothing was held out to measure it"
    return f"{path}: RMS error of ln intensity {figures.rms:.3f}, soft IoU of regions {figures.iou:.3f} (held out)"


def train(
    config: FieldTraining | None,
    run: Path,
    *,
    data_roots: Sequence[Path] = (),
    device: str = "auto",
    resume: bool = False,
    progress: Progress = no_progress,
    say: Callable[[str], object] = lambda sentence: None,
) -> tuple[Path, Figures | None]:
    """Hear scenes and recordings, learn their fields; ``RUN/best.safetensors`` is the result.

    Parameters
    ----------
    config : FieldTraining, optional
        Not needed on ``resume``.
    run : Path
        Folder of the run; see :mod:`sai_core.runs.folder`.
    data_roots : sequence of Path
        With 32-channel audio, beside the scenes; on ``resume`` those of the run when left out.
    device : str
    resume : bool
    progress : Progress
    say : callable
        Told, in a sentence each, what was not as it should be.

    Returns
    -------
    path : Path
        Of the weights with the best held-out regions (the last state if nothing was held out).
    figures : Figures or None

    Raises
    ------
    InputError
        Nothing to learn from; a run in the folder already or running; nothing to resume.
    EnvironmentProblem
        The folder cannot be written, the device is not there.
    SaiError
        The loss is not finite.
    """
    folder = RunFolder(Path(run), columns=COLUMNS)
    inputs = RunInputs(data_roots=tuple(data_roots), device=device)
    with held_run("field", folder, config, inputs, resume=resume, faults=faults) as (config, inputs):
        chosen = choose_device(device)
        use_torch_threads(config.threads)
        with life(folder, progress, epochs=config.epochs, message="hearing scenes") as lived:
            parts = _hear_all(folder.path, config, _recordings(config, inputs), lived)
            trainer = _Trainer(config, folder, parts, chosen, lived)
            take_up(folder, trainer.take, resume=resume, say=say)
            trainer.run()
            return folder.best if folder.best.exists() else folder.last, trainer.figures
    return folder.last, None


def _hear_all(run: Path, config: FieldTraining, recordings: Sequence[Recording], lived: Life) -> list[list[Heard]]:
    """The turns of each scene and recording."""
    total = config.scenes + len(recordings)
    parts: list[list[Heard]] = []
    for index in range(config.scenes):
        turns = _turns(config, index)
        made_of = [config.seed, config.seconds, index, turns]
        parts.append(_kept(run, made_of, partial(hear_scene, index, config, turns)))
        lived.preparing(0.3 * len(parts) / total, f"scene {index + 1} of {config.scenes}")
    for recording in recordings:
        assert recording.eigen_path is not None
        audio, turns = recording.eigen_path, _turns(config, len(parts))
        made_of = [content_hash(audio), turns]
        parts.append(_kept(run, made_of, partial(hear, AudioInput(audio, channels=32), turns)))
        lived.preparing(0.3 * len(parts) / total, f"field of {recording.name}")
    return parts


def _turns(config: FieldTraining, index: int) -> list[int]:
    rng = np.random.default_rng((config.seed, 8, index))
    return [0, *sorted((1 + rng.permutation(11)[: config.turns - 1]).tolist())]


def _kept(run: Path, made_of: list[object], make: Callable[[], list[Heard]]) -> list[Heard]:
    """What was heard before, from the run folder, or heard now."""
    key = hashlib.blake2b(json.dumps([1, *made_of]).encode(), digest_size=8).hexdigest()
    path = Path(run) / "examples" / f"{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            matrices, field = stored["matrices"].astype(np.float32), stored["field"].astype(np.float32)
        if matrices.shape == (*field.shape[:2], N_MATRICES, 16) and field.shape[2:] == (N_LATTICE,):
            return [Heard(*turn) for turn in zip(matrices, field, strict=True)]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        pass
    made = make()
    # a logarithm in half precision is 0.4 % of the intensity off
    field = np.stack([heard.field for heard in made]).astype(np.float16)
    matrices = np.stack([heard.matrices for heard in made])
    with atomic_write(path) as stream:
        np.savez(stream, matrices=matrices, field=field)
    return [Heard(*turn) for turn in zip(matrices, field.astype(np.float32), strict=True)]


class Figures(NamedTuple):
    """What a field network is worth on what it did not learn from.

    Attributes
    ----------
    rms : float
        RMS error of ln intensity where the true intensity is above :data:`MATTERS`.
    iou : float
        Mean soft IoU of peak-normalised regions of the true and the predicted field, at directions where the true
        field is strong.
    """

    rms: float
    iou: float


def draw_directions(field: Tensor, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Directions where sources may be: lattice points, the stronger the likelier, a few degrees off.

    Parameters
    ----------
    field : float Tensor, shape (n, 484)
        True log-intensity.
    rng : numpy Generator
    count : int
        A frame.

    Returns
    -------
    row : int64 Tensor, shape (m,)
        Frame of each direction. Frames without any intensity of :data:`MATTERS` have none.
    azimuth_deg, elevation_deg : float64 Tensor, shape (m,)
    """
    strength = np.exp(field.detach().cpu().double().numpy())
    strength[strength < MATTERS] = 0.0
    chosen = rng.random((len(strength), count))
    total = strength.cumsum(axis=1)
    some = total[:, -1] > 0
    points = (
        np.stack(
            [np.searchsorted(line, share * line[-1], side="right") for line, share in zip(total, chosen, strict=True)]
        )
        .clip(max=N_LATTICE - 1)
        .reshape(len(strength), count)
    )
    row = np.repeat(np.arange(len(strength)), count).reshape(points.shape)[some].ravel()
    points_azimuth, points_elevation = (
        torch.from_numpy(angle[points][some].ravel()) for angle in fibonacci_lattice_deg()
    )
    azimuth, elevation = beside_directions(points_azimuth, points_elevation, rng, _TURN_DEG)
    return torch.from_numpy(row).to(field.device), azimuth.to(field.device), elevation.to(field.device)


def beside_directions(
    azimuth_deg: Tensor, elevation_deg: Tensor, rng: np.random.Generator, deviation_deg: float
) -> tuple[Tensor, Tensor]:
    """Directions (n,) moved by a normal distribution of ``deviation_deg`` along either axis; not onto a pole."""
    off = torch.from_numpy(rng.normal(0.0, 1.0, (2, len(azimuth_deg))) * deviation_deg).to(azimuth_deg.device)
    elevation = (elevation_deg + off[0]).clamp(-89.0, 89.0)
    return azimuth_deg + off[1] / torch.cos(torch.deg2rad(elevation)), elevation


def field_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Huber loss of log-intensities (n, 484), weighted by how much a label shows of the stronger of the two."""
    with torch.no_grad():
        shown = torch.maximum(predicted, target).exp() / MATTERS
        weight = 0.02 + shown.clamp(max=3.0)
    loss = F.huber_loss(predicted, target, reduction="none")
    return (weight * loss).sum() / weight.sum()


def _started(config: FieldTraining) -> FieldNetwork:
    """The network that a run begins with.

    Raises
    ------
    FieldError
        No such weights, or of another size.
    """
    with at_field("overrides"):
        found = load_field(Path(config.start))
        if found.config != config.model:
            has, wants = ((c.channels, c.blocks, c.degree) for c in (found.config, config.model))
            raise InputError(
                f"start: {config.start} has {has[0]} channels, {has[1]} blocks and degree {has[2]}, and the run "
                f"{wants[0]}, {wants[1]} and {wants[2]} (model.channels, model.blocks, model.degree)."
            )
    return found


class _Trainer(EpochTrainer[FieldNetwork]):
    best = None

    def __init__(
        self,
        config: FieldTraining,
        folder: RunFolder,
        parts: Sequence[Sequence[Heard]],
        device: torch.device,
        lived: Life,
    ) -> None:
        self.config, self.device = config, device
        # whole scenes are held out: neighbouring frames are nearly the same
        self.n_recordings = len(parts) - config.scenes
        every = max(2, round(1 / config.held_out)) if config.held_out > 0 else len(parts) + 1
        self.held = [turns[0] for k, turns in enumerate(parts) if k % every == every - 1 and len(turns[0])]
        self.taught = [p for k, turns in enumerate(parts) if k % every != every - 1 for p in turns if len(p)]
        if not self.taught:
            raise InputError("no scene or recording is long enough to learn from; 0.1 s are needed.")
        torch.manual_seed(config.seed % 2**32)
        model = FieldNetwork(config.model)
        if config.start:
            model.load_state_dict(_started(config).state_dict())
        model.to(device)
        self.half = config.bfloat16 and (device.type == "cuda" or (device.type == "cpu" and processor_has_bfloat16()))
        self.length = min(config.piece_frames, max(len(p) for p in self.taught))
        frames = sum(len(p) for p in self.taught)
        of_step = self.length * config.batch
        per_epoch = max(1, frames // of_step)
        super().__init__(config, folder, lived, model, per_epoch=per_epoch, clip=1.0, prepared=0.3, frames=of_step)

    @property
    def figures(self) -> Figures | None:
        """Of the best weights."""
        return None if self.best is None else Figures(*self.best)

    def rate_at(self, step: int) -> float:
        """Up over a twentieth of the steps, then down along a cosine."""
        return cosine_rate(self.config.rate, step, self.total, rise=max(1, round(0.05 * self.total)), floor=0.01)

    def _batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor, np.random.Generator]:
        rng = np.random.default_rng((self.config.seed, epoch, step))
        lengths = np.array([len(p) for p in self.taught])
        rows = rng.choice(len(self.taught), size=self.config.batch, p=lengths / lengths.sum())
        matrices = np.zeros((self.config.batch, self.length, N_MATRICES, 16), dtype=np.float32)
        field = np.full((self.config.batch, self.length, N_LATTICE), np.log(LEAST_INTENSITY), dtype=np.float32)
        for k, row in enumerate(rows.tolist()):
            part = self.taught[row]
            start = int(rng.integers(max(len(part) - self.length, 0) + 1))
            piece = slice(start, min(start + self.length, len(part)))
            matrices[k, : piece.stop - start] = part.matrices[piece]
            field[k, : piece.stop - start] = part.field[piece]
        return torch.from_numpy(matrices).to(self.device), torch.from_numpy(field).to(self.device), rng

    def learn(self) -> tuple[Tensor, tuple[float, float]]:
        """Errors of the field and of regions of some pieces."""
        config = self.config
        matrices, target, rng = self._batch(self.epoch, self.step - self.epoch * self.per_epoch)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
            predicted = self.model(matrices)
        predicted, target = predicted.flatten(0, 1), target.flatten(0, 1)
        field = field_loss(predicted, target)
        region = predicted.new_zeros(())
        if config.overlap > 0:
            row, azimuth, elevation = draw_directions(target, rng, config.regions)
            wanted = region_images(target[row].exp(), azimuth, elevation, step=_STEP_DEG)
            beside = beside_directions(azimuth, elevation, rng, config.direction_error_deg)
            formed = region_images(predicted[row].exp(), *beside, step=_STEP_DEG)
            region = roi_overlap_loss(formed, wanted)
        return field + config.overlap * region, (float(field.detach()), float(region.detach()))

    def summary(self) -> str:
        """Mean losses of the epoch."""
        field, region = self.mean_losses()
        return f"loss {field:.3f}, regions {region:.3f}"

    def measure(self) -> None:
        """What the field is worth on what is held out."""
        with self.timed():
            network, line, figures = self._measured()
        field, region = self.mean_losses()
        total = field + self.config.overlap * region
        self.append("train", total=total, field=field, region=region, rate=self.rate_at(self.step - 1))
        if figures is not None:
            self.append("validation", rms=figures.rms, iou=figures.iou)
        if figures is None or self.figures is None or figures.iou > self.figures.iou:
            self.best = figures
            found = {} if figures is None else {"rms": f"{figures.rms:.4f}", "iou": f"{figures.iou:.4f}"}
            settings = json.dumps(asdict(self.config))
            data = f"{self.config.scenes} simulated scenes of {self.config.seconds:g} s"
            if more := self.n_recordings:
                data += f" and {more} recording{'s' * (more != 1)}"
            data += f", each in {self.config.turns} turns of the array; {len(self.held)} of them held out"
            notes = {"epoch": str(self.epoch), "seed": str(self.config.seed), "data": data, "training": settings}
            notes |= found
            if line is not None:
                notes["calibration"] = json.dumps(line._asdict())
            save_field(network, self.folder.best, notes=notes, half=True)

    def _measured(self) -> tuple[FieldNetwork, Calibration | None, Figures | None]:
        """The network on the line chosen on every other recording held out, and what it is worth on the others."""
        chosen, others = self.held[::2], self.held[1::2]
        if not others:
            return self.model, None, measure(self.model, chosen, seed=self.config.seed) if chosen else None
        line = calibrate(look(self.model, chosen, seed=self.config.seed))
        network = calibrated(self.model, line)
        return network, line, measure(network, others, seed=self.config.seed)


class Look(NamedTuple):
    """What a network says of frames that it did not learn from, and directions at which regions are compared.

    Attributes
    ----------
    predicted, target : float Tensor, shape (n, 484)
        Log-intensities.
    row : int64 Tensor, shape (m,)
        Frame of each direction.
    azimuth_deg, elevation_deg : float64 Tensor, shape (m,)
    """

    predicted: Tensor
    target: Tensor
    row: Tensor
    azimuth_deg: Tensor
    elevation_deg: Tensor


@torch.no_grad()
def look(model: FieldNetwork, heard: Sequence[Heard], *, seed: int) -> list[Look]:
    """What a network says of whole recordings; the directions are a function of the seed and of the recordings."""
    device = next(model.parameters()).device
    model.eval()
    looks = []
    for index, part in enumerate(heard):
        # long recordings piece by piece; what the layers miss at the ends of a piece is a frame in a hundred
        for first in range(0, len(part), 200):
            target = torch.from_numpy(part.field[first : first + 200]).to(device)
            predicted = model(torch.from_numpy(part.matrices[None, first : first + 200]).to(device))[0]
            places = draw_directions(target, np.random.default_rng((seed, 7, index, first)), 1)
            looks.append(Look(predicted, target, *places))
    model.train()
    return looks


@torch.no_grad()
def figures_of(looks: Sequence[Look], scale: float = 1.0, shift: float = 0.0) -> Figures:
    """Errors of looks, their logarithms scaled about :data:`LEVEL` and shifted first."""
    squares, n, overlaps = 0.0, 0, []
    for predicted, target, row, azimuth, elevation in looks:
        changed = (LEVEL + shift + scale * (predicted - LEVEL)).clamp(min=math.log(LEAST_INTENSITY))
        there = target > math.log(MATTERS)
        squares += float((changed - target)[there].square().sum())
        n += int(there.sum())
        if len(row):
            a, b = (
                region_images(x[row].exp(), azimuth, elevation, step=_STEP_DEG).flatten(1) for x in (changed, target)
            )
            shape_a, shape_b = (x / x.amax(dim=1, keepdim=True).clamp(min=1e-6) for x in (a, b))
            overlaps.append(
                torch.minimum(shape_a, shape_b).sum(dim=1) / torch.maximum(shape_a, shape_b).sum(dim=1).clamp(min=1e-6)
            )
    iou = float(torch.cat(overlaps).mean()) if overlaps else math.nan
    return Figures(math.sqrt(squares / n) if n else math.nan, iou)


def measure(model: FieldNetwork, heard: Sequence[Heard], *, seed: int) -> Figures:
    """Measure a network on whole recordings.

    Parameters
    ----------
    model : FieldNetwork
    heard : sequence of Heard
    seed : int
        Of the directions at which regions are compared.
    """
    return figures_of(look(model, heard, seed=seed))


class Calibration(NamedTuple):
    """Line that a network's logarithms are put on: ``LEVEL + shift + scale * (x - LEVEL)``.

    A network that is unsure says less than what is there, and a label begins at a threshold: level and contrast count.
    """

    scale: float
    shift: float


def calibrate(looks: Sequence[Look]) -> Calibration:
    """The line with the best regions (soft IoU), of a grid; the nearest to none where several are as good."""
    lines = [Calibration(scale, shift) for scale in _SCALES for shift in _SHIFTS]
    lines.sort(key=lambda line: abs(line.scale - 1.0) + abs(line.shift))
    found = [figures_of(looks, *line).iou for line in lines]
    return lines[int(np.argmax(found))] if not np.isnan(found).any() else Calibration(1.0, 0.0)


def calibrated(model: FieldNetwork, line: Calibration) -> FieldNetwork:
    """A copy of a network that says what the line makes of what it said."""
    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied.out.weight.mul_(line.scale)
        copied.out.bias.sub_(LEVEL).mul_(line.scale).add_(LEVEL + line.shift)
    return copied

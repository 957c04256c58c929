"""Training of the teacher: segments of five seconds, Multi-ACCDOA loss, resumable, everything in one run folder.

What a step sees is a function of (seed, epoch, step), so a run that was killed and resumed makes the same steps as one
that was not. For the 4-channel array the eight rotations and reflections that map the tetrahedron's capsules onto
one another (azimuth by multiples of 90 degrees, elevation turned where needed) multiply the data exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import combinations, product
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from sai_core.acoustics.features import choose_device
from sai_core.annotations import DcaseMetadata, read_dcase_csv
from sai_core.dataset import DataRoot, Recording, open_data_root
from sai_core.errors import InputError, SaiError
from sai_core.geometry import directions_to_vectors, vectors_to_directions
from sai_core.progress import Progress, no_progress
from sai_core.runs.checkpoint import room_of, take_up
from sai_core.runs.folder import RunFolder
from sai_core.runs.kinds import FieldError, RunInputs, at_field, collect
from sai_core.runs.lifecycle import Life, life
from sai_core.teacher.config import TeacherConfig, TeacherTraining
from sai_core.teacher.decode import SeldScores, decode, encode, seld_scores
from sai_core.teacher.features import (
    HOPS_PER_FRAME,
    N_MELS,
    VISUAL_GRID_HW,
    AudioKind,
    recording_features,
    visual_features,
)
from sai_core.teacher.network import DEFAULT_THRESHOLD, AvSeldNet, adpit_loss, output_of, save_teacher
from sai_core.threads import use_torch_threads
from sai_core.training.epochs import EpochTrainer, cosine_rate, held_run

_COLUMNS: Final[tuple[str, ...]] = (
    "epoch",
    "step",
    "seconds",
    "kind",
    "total",
    "f20",
    "error_deg",
    "recall",
    "threshold",
    "rate",
)
THRESHOLDS: Final[tuple[float, ...]] = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
"""Activity thresholds that validation chooses from."""


@dataclass(frozen=True, eq=False)
class _Clip:
    """One recording, ready for training; arrays cover the same frames."""

    name: str
    spectral: np.ndarray  # float16 (channels, 5 * frames, 64)
    visual: np.ndarray | None  # float32 (frames, 216)
    sources: np.ndarray
    count: np.ndarray
    metadata: DcaseMetadata


def _clip(recording: Recording, config: TeacherConfig) -> _Clip:
    assert recording.metadata_path is not None
    metadata = read_dcase_csv(recording.metadata_path)
    spectral = recording_features(recording, config.audio).astype(np.float16)
    frames = spectral.shape[1] // HOPS_PER_FRAME
    sources, count = encode(metadata, frames)
    visual = visual_features(recording, frames) if config.visual else None
    return _Clip(recording.name, spectral, visual, sources, count, metadata)


def _recordings(roots: Sequence[DataRoot], split: str) -> list[Recording]:
    chosen = [r for root in roots for r in root.recordings if r.split == split and r.metadata_path is not None]
    if not chosen:
        there = sorted({r.split for root in roots for r in root.recordings if r.metadata_path is not None})
        raise InputError(
            f"split {split!r}: no recording with metadata_dev in the given data roots; there "
            + (f"is {', '.join(there)}." if there else "is none in any split.")
        )
    return chosen


def _clips(roots: Sequence[DataRoot], split: str, config: TeacherConfig, progress: Progress) -> list[_Clip]:
    chosen = _recordings(roots, split)
    out = []
    for number, recording in enumerate(chosen):
        progress(number / len(chosen), f"features of {recording.name}")
        out.append(_clip(recording, config))
    return out


_LAG_REVERSED: Final = (-np.arange(N_MELS)) % N_MELS
_DIRECTIONAL: Final[tuple[int, int, int]] = (1, 2, 0)
"""Axis (x, y, z) of the ambisonic channels Y, Z, X and of their intensities."""


@dataclass(frozen=True, eq=False)
class Symmetry:
    """A turn or reflection of the whole scene that the features follow exactly.

    Attributes
    ----------
    channels : tuple of int
        New feature channel ``c`` is old channel ``channels[c]``.
    opposite : tuple of bool
        Channels that change sign (intensities) or read their lags from the other end (GCC).
    matrix : float64, shape (3, 3)
        A source at unit vector ``v`` is then heard from ``matrix @ v``.
    """

    channels: tuple[int, ...]
    opposite: tuple[bool, ...]
    matrix: np.ndarray


@lru_cache(maxsize=4)
def symmetries(kind: AudioKind, upright: bool = False) -> tuple[Symmetry, ...]:
    """The eight of the UpLAM tetrahedron, or the sixteen of ambisonics that keep the vertical axis; the first is none.

    Parameters
    ----------
    kind : {"mic", "foa"}
    upright : bool
        Only those that leave up and down as they are, as pictures need it.
    """
    found = _of_ambisonics() if kind == "foa" else _of_tetrahedron()
    return tuple(s for s in found if not upright or s.matrix[2, 2] > 0)


def _of_ambisonics() -> list[Symmetry]:
    """Azimuth by multiples of 90 degrees, mirrored or not, upside down or not: x and y may change places, all signs."""
    out = []
    for swap, sign_x, sign_y, sign_z in product((False, True), (1.0, -1.0), (1.0, -1.0), (1.0, -1.0)):
        source = (1, 0, 2) if swap else (0, 1, 2)  # new axis k has old axis source[k]
        signs = (sign_x, sign_y, sign_z)
        matrix = np.zeros((3, 3))
        matrix[range(3), source] = signs
        moved = [_DIRECTIONAL.index(source[axis]) for axis in _DIRECTIONAL]
        turned_over = [signs[axis] < 0 for axis in _DIRECTIONAL]
        # powers of the directional channels (1 to 3) change places and never sign; intensities (4 to 6) do both
        channels = (0, *(1 + i for i in moved), *(4 + i for i in moved))
        out.append(Symmetry(channels, (False, False, False, False, *turned_over), matrix))
    return out


def _of_tetrahedron() -> list[Symmetry]:
    half_turn = ((3, 2, 1, 0), np.diag([-1.0, -1.0, 1.0]))
    mirror = ((1, 0, 3, 2), np.diag([1.0, -1.0, -1.0]))
    quarter = ((2, 0, 3, 1), np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]))
    found: dict[tuple[int, ...], np.ndarray] = {(0, 1, 2, 3): np.eye(3)}
    grown = True
    while grown:
        grown = False
        for order, matrix in list(found.items()):
            for step, turn in (half_turn, mirror, quarter):
                new = tuple(order[c] for c in step)
                if new not in found:
                    found[new] = turn @ matrix
                    grown = True
    pairs = list(combinations(range(4), 2))
    out = []
    for order, matrix in found.items():
        ends = [(order[a], order[b]) for a, b in pairs]
        lags = (4 + pairs.index((min(e), max(e))) for e in ends)
        out.append(Symmetry((*order, *lags), (False, False, False, False, *(a > b for a, b in ends)), matrix))
    return out


def turned(spectral: Tensor, sources: Tensor, symmetry: Symmetry, kind: AudioKind) -> tuple[Tensor, Tensor]:
    """Apply one of :func:`symmetries` to features (..., 10 or 7, time, 64) and targets (..., 4)."""
    moved = spectral[..., list(symmetry.channels), :, :]
    mirrored = -moved if kind == "foa" else moved[..., torch.from_numpy(_LAG_REVERSED)]
    which = torch.tensor(symmetry.opposite)[:, None, None]
    vectors = sources[..., :3] @ torch.from_numpy(symmetry.matrix.T).to(sources.dtype)
    return torch.where(which, mirrored, moved), torch.cat([vectors, sources[..., 3:]], dim=-1)


def turned_picture(visual: Tensor, symmetry: Symmetry) -> Tensor:
    """Apply an upright one of :func:`symmetries` to pictures (..., 216); what is seen goes where it is heard."""
    rows, columns = VISUAL_GRID_HW
    azimuth = 180.0 - (np.arange(columns) + 0.5) * 360.0 / columns
    there = directions_to_vectors(azimuth, np.zeros(columns)) @ symmetry.matrix  # the inverse is the transpose
    old_azimuth, _ = vectors_to_directions(there)
    old = np.mod(np.round((180.0 - old_azimuth) / 360.0 * columns - 0.5), columns).astype(np.int64)
    cells = visual.reshape(*visual.shape[:-1], rows, columns, 3)
    return cells[..., torch.from_numpy(old), :].reshape(visual.shape)


def train(
    config: TeacherTraining | None,
    run: Path,
    *,
    roots: Sequence[DataRoot] = (),
    train_split: str = "",
    validation_split: str = "",
    device: str = "auto",
    resume: bool = False,
    progress: Progress = no_progress,
    say: Callable[[str], object] = lambda sentence: None,
) -> Path:
    """Train a teacher, or go on with a run.

    Parameters
    ----------
    config : TeacherTraining, optional
        Not needed on ``resume``.
    run : Path
        Folder of the run (:mod:`sai_core.runs.folder`); its ``best.safetensors`` is the result.
    roots : sequence of DataRoot
        On ``resume`` those of the run when left out, as the splits.
    train_split, validation_split : str
    device : str
        ``auto``, ``cpu``, ``cuda`` or a torch device name.
    resume : bool
    progress : Progress
    say : callable
        Told, in a sentence each, what was not as it should be.

    Returns
    -------
    Path
        Of the weights with the best validation F score (the last state if there was no validation yet).

    Raises
    ------
    InputError
        Nothing to train on, a run in the folder already or running, nothing to resume, or no device name.
    EnvironmentProblem
        The device is not there.
    SaiError
        The loss is not finite.
    """
    folder = RunFolder(Path(run), columns=_COLUMNS)
    options = {"--split": train_split, "--validation": validation_split}
    inputs = RunInputs(data_roots=tuple(root.path for root in roots), device=device, options=options)

    def wrong(config: TeacherTraining, inputs: RunInputs) -> list[SaiError]:
        return _faults(config, inputs, roots)

    with held_run("teacher", folder, config, inputs, resume=resume, faults=wrong) as (config, inputs):
        chosen = choose_device(device)
        use_torch_threads(config.threads)
        torch.manual_seed(config.seed)
        with life(folder, progress, epochs=config.epochs, message="computing features") as lived:
            opened = list(roots) or [open_data_root(root) for root in inputs.data_roots]
            trainer = _Trainer(config, folder, opened, inputs.options, chosen, lived)
            take_up(folder, trainer.take, resume=resume, say=say)
            trainer.run()
    return folder.best if folder.best.exists() else folder.last


def faults(config: TeacherTraining, inputs: RunInputs) -> list[SaiError]:
    """Everything that would make a new run fail at its start: no data, a split without recordings, no such device."""
    try:
        with at_field("data"):
            roots = [open_data_root(root) for root in inputs.data_roots]
    except FieldError as error:
        return [error, *collect(lambda: _check_device(inputs))]
    return _faults(config, inputs, roots)


def room(config: TeacherTraining, inputs: RunInputs) -> int:
    """As :class:`sai_core.runs.kinds.Trainer` has it."""
    return room_of(lambda: AvSeldNet(config.model))


def _faults(config: TeacherTraining, inputs: RunInputs, roots: Sequence[DataRoot]) -> list[SaiError]:
    device = collect(lambda: _check_device(inputs))
    if not roots:
        return [FieldError("data", "training needs data: give --data with a folder in the official layout."), *device]
    return [*device, *collect(*(partial(_check_split, config, inputs, roots, n) for n in ("--split", "--validation")))]


def _check_device(inputs: RunInputs) -> None:
    with at_field("device"):
        choose_device(inputs.device)


def _check_split(config: TeacherTraining, inputs: RunInputs, roots: Sequence[DataRoot], name: str) -> None:
    kind = config.model.audio
    with at_field(name):
        for recording in _recordings(roots, inputs.options.get(name, "")):
            if (recording.foa_path if kind == "foa" else recording.array_path) is None:
                raise InputError(f"{recording.name}: there is no {kind}_dev audio; set model.audio to the other kind.")


def train_run(
    config: TeacherTraining | None,
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
        roots=[open_data_root(root) for root in inputs.data_roots],
        train_split=inputs.options.get("--split", ""),
        validation_split=inputs.options.get("--validation", ""),
        device=inputs.device,
        resume=resume,
        progress=progress,
        say=say,
    )
    return str(best)


class _Trainer(EpochTrainer[AvSeldNet]):
    def __init__(
        self,
        config: TeacherTraining,
        folder: RunFolder,
        roots: Sequence[DataRoot],
        splits: Mapping[str, str],
        device: torch.device,
        lived: Life,
    ) -> None:
        self.config, self.device = config, device
        self.split = splits.get("--split", "")
        clips = _clips(roots, self.split, config.model, lambda f, m: lived.preparing(0.1 * f, m))
        self.held_out = _clips(
            roots, splits.get("--validation", ""), config.model, lambda f, m: lived.preparing(0.1 + 0.02 * f, m)
        )
        self.clips = [c for c in clips if c.count.shape[0] >= 1]
        model = AvSeldNet(config.model).to(device)
        frames = sum(c.count.shape[0] for c in self.clips)
        of_step = config.segment_frames * config.batch
        super().__init__(
            *(config, folder, lived, model),
            per_epoch=max(1, frames // of_step),
            clip=config.clip,
            prepared=0.12,
            frames=of_step,
        )

    def run(self) -> None:
        """Train to the end, or until it is asked to stop."""
        super().run()
        if not self.lived.stopped and not self.folder.best.exists():
            save_teacher(self.model, self.folder.best, threshold=self.config.threshold or DEFAULT_THRESHOLD)

    def begin_epoch(self) -> None:
        """Seed dropout, the only other chance; within an epoch the checkpoint keeps its state."""
        self.model.train()
        if self.step == self.epoch * self.per_epoch:
            torch.manual_seed(self.config.seed * 100_003 + self.epoch)

    def rate_at(self, step: int) -> float:
        """Down along a cosine."""
        return cosine_rate(self.config.rate, step, self.total)

    def learn(self) -> tuple[Tensor, float]:
        """Loss of some segments."""
        place = self.step - self.epoch * self.per_epoch
        spectral, visual, sources, count = _batch(self.config, self.clips, self.epoch, place)
        seen = None if visual is None else visual.to(self.device)
        output = self.model(spectral.to(self.device), seen)
        loss = adpit_loss(output, sources.to(self.device), count.to(self.device))
        return loss, float(loss.detach())

    def summary(self) -> str:
        """Mean loss of the epoch."""
        return f"loss {self.mean_losses():.4f}"

    def measure(self) -> None:
        """F score of the validation split."""
        with self.timed():
            threshold, scores = _validate(self.model, self.held_out, self.config.threshold)
        self.append("train", total=self.mean_losses(), rate=self.rate_at(self.step - 1))
        figures = {"f20": scores.f_score, "error_deg": scores.error_deg, "recall": scores.recall}
        self.append("validation", **figures, threshold=threshold)
        if scores.f_score > self.best:
            self.best = scores.f_score
            notes = {
                "epoch": str(self.epoch),
                "seed": str(self.config.seed),
                "f20": f"{self.best:.4f}",
                "data": self.split,
            }
            save_teacher(self.model, self.folder.best, threshold=threshold, notes=notes)

    def save(self, more: Mapping[str, Tensor] | None = None) -> None:
        """The state of chance, too."""
        chance = {"chance/cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            chance["chance/cuda"] = torch.cuda.get_rng_state(self.device)
        super().save({**chance, **(more or {})})

    def take(self, header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
        """The state of chance, too."""
        super().take(header, tensors)
        # older versions saved between epochs alone, where chance is seeded anew
        if "step" in header:
            torch.set_rng_state(tensors["chance/cpu"])
        if "chance/cuda" in tensors and self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["chance/cuda"], self.device)


def _within(clip: _Clip) -> DcaseMetadata:
    m = clip.metadata
    keep = m.frame < clip.count.shape[0]
    return DcaseMetadata(
        m.frame[keep],
        m.category_id[keep],
        m.source_id[keep],
        m.azimuth_deg[keep],
        m.elevation_deg[keep],
        m.distance_cm[keep],
        clip.name,
    )


def _batch(
    config: TeacherTraining, clips: Sequence[_Clip], epoch: int, step: int
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    rng = np.random.default_rng((config.seed, epoch, step))
    lengths = np.array([c.count.shape[0] for c in clips])
    n = min(config.segment_frames, int(lengths.max()))
    rows = rng.choice(len(clips), size=config.batch, p=lengths / lengths.sum())
    spectral, visual, sources, count = [], [], [], []
    for row in rows.tolist():
        clip = clips[row]
        start = int(rng.integers(max(clip.count.shape[0] - n, 0) + 1))
        stop = min(start + n, clip.count.shape[0])
        pad = n - (stop - start)
        part = clip.spectral[:, start * HOPS_PER_FRAME : stop * HOPS_PER_FRAME].astype(np.float32)
        spectral.append(np.pad(part, ((0, 0), (0, pad * HOPS_PER_FRAME), (0, 0))))
        sources.append(np.pad(clip.sources[start:stop], ((0, pad), (0, 0), (0, 0), (0, 0))))
        count.append(np.pad(clip.count[start:stop], ((0, pad), (0, 0))))
        if clip.visual is not None:
            visual.append(np.pad(clip.visual[start:stop], ((0, pad), (0, 0))))
    kind = config.model.audio
    choices = symmetries(kind, upright=config.model.visual)
    drawn = [choices[i] for i in rng.integers(len(choices), size=config.batch).tolist()]
    both = [
        turned(torch.from_numpy(x), torch.from_numpy(y), symmetry, kind)
        for x, y, symmetry in zip(spectral, sources, drawn, strict=True)
    ]
    seen = None
    if visual:
        seen = torch.stack([turned_picture(torch.from_numpy(v), d) for v, d in zip(visual, drawn, strict=True)])
    features, targets = (torch.stack(parts) for parts in zip(*both, strict=True))
    return features, seen, targets, torch.from_numpy(np.stack(count))


def _validate(model: AvSeldNet, clips: Sequence[_Clip], threshold: float) -> tuple[float, SeldScores]:
    """Threshold (the given one, or with 0 the best of ``THRESHOLDS``) and the scores with it."""
    truth = [_within(c) for c in clips]
    outputs = [output_of(model, c.spectral, c.visual) for c in clips]
    tried = [
        (value, seld_scores(truth, [decode(output, threshold=value) for output in outputs]))
        for value in ([threshold] if threshold else THRESHOLDS)
    ]
    return max(tried, key=lambda item: np.nan_to_num(item[1].f_score, nan=-1.0))

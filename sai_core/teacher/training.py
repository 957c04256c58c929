"""Training of the teacher: segments of five seconds, Multi-ACCDOA loss, resumable, everything in one run folder.

What a step sees is a function of (seed, epoch, step), so a run that was killed and resumed makes the same steps as one
that was not. For the 4-channel array the eight rotations and reflections that map the tetrahedron's capsules onto
one another (azimuth by multiples of 90 degrees, elevation turned where needed) multiply the data exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import combinations, product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sai_core.acoustics.features import choose_device
from sai_core.annotations import DcaseMetadata, read_dcase_csv
from sai_core.dataset import DataRoot, Recording
from sai_core.errors import InputError, SaiError
from sai_core.files import atomic_write
from sai_core.geometry import directions_to_vectors, vectors_to_directions
from sai_core.progress import Progress, no_progress
from sai_core.runs.folder import RunFolder
from sai_core.settings import build, read_toml, table
from sai_core.taxonomy import N_CLASSES
from sai_core.teacher.decode import SeldScores, decode, encode, seld_scores
from sai_core.teacher.features import (
    HOPS_PER_FRAME,
    N_MELS,
    VISUAL_GRID_HW,
    AudioKind,
    recording_features,
    visual_features,
)
from sai_core.teacher.network import DEFAULT_THRESHOLD, N_TRACKS, AvSeldNet, TeacherConfig, adpit_loss, save_teacher
from sai_core.threads import use_torch_threads

DEFAULT_CONFIG: Final[Path] = Path(__file__).with_name("teacher.toml")
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


@dataclass(frozen=True, kw_only=True)
class TeacherTraining:
    """Settings of a run; see the comments of ``teacher.toml``."""

    seed: int = 1
    threads: int = 1
    epochs: int = 40
    batch: int = 32
    segment_frames: int = 50
    rate: float = 1e-3
    weight_decay: float = 1e-4
    clip: float = 2.0
    threshold: float = 0.0
    model: TeacherConfig = field(default_factory=TeacherConfig)


def read_config(path: Path, overrides: Sequence[str] = ()) -> TeacherTraining:
    """Read a TOML file and apply ``key=value`` overrides (``model.filters=64``).

    Raises
    ------
    InputError
        No such file, not TOML, unknown or impossible settings.
    """
    return config_from(read_toml(path, overrides), str(path))


def config_from(raw: Mapping[str, Any], source: str) -> TeacherTraining:
    """Typed settings from plain dictionaries; unknown names are errors."""
    model = build(TeacherConfig, table(raw, "model", source), f"{source}: model")
    config: TeacherTraining = build(TeacherTraining, {**raw, "model": model}, source)
    if min(config.epochs, config.batch, config.segment_frames, config.threads) < 1 or not config.rate > 0:
        raise InputError(f"{source}: epochs, batch, segment_frames, threads >= 1 and rate > 0 are needed.")
    return config


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


def _clips(roots: Sequence[DataRoot], split: str, config: TeacherConfig, progress: Progress) -> list[_Clip]:
    chosen = [r for root in roots for r in root.recordings if r.split == split and r.metadata_path is not None]
    if not chosen:
        raise InputError(f"split {split!r}: no recording with metadata_dev in the given data roots.")
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
    other = -moved if kind == "foa" else moved[..., torch.from_numpy(_LAG_REVERSED)]
    which = torch.tensor(symmetry.opposite)[:, None, None]
    vectors = sources[..., :3] @ torch.from_numpy(symmetry.matrix.T).to(sources.dtype)
    return torch.where(which, other, moved), torch.cat([vectors, sources[..., 3:]], dim=-1)


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
    roots: Sequence[DataRoot],
    train_split: str,
    validation_split: str,
    device: str = "auto",
    resume: bool = False,
    progress: Progress = no_progress,
) -> Path:
    """Train a teacher, or go on with a run.

    Parameters
    ----------
    config : TeacherTraining, optional
        Not needed on ``resume``.
    run : Path
        Folder of the run (:mod:`sai_core.runs.folder`); its ``best.safetensors`` is the result.
    roots : sequence of DataRoot
    train_split, validation_split : str
    device : str
        ``auto``, ``cpu``, ``cuda`` or a torch device name.
    resume : bool
    progress : Progress

    Returns
    -------
    Path
        Of the weights with the best validation F score.

    Raises
    ------
    InputError
        Nothing to train on, a run in the folder already, nothing to resume, or no device name.
    EnvironmentProblem
        The device is not there.
    SaiError
        The loss is not finite.
    """
    folder = RunFolder(Path(run), columns=_COLUMNS)
    if resume:
        config = config_from({k: v for k, v in folder.config().items() if k != "data"}, str(run))
    if config is None:
        raise InputError("a new run needs a configuration.")
    chosen = choose_device(device)
    use_torch_threads(config.threads)
    torch.manual_seed(config.seed)
    if not resume:
        data = {"roots": [str(r.path) for r in roots], "train": train_split, "validation": validation_split}
        folder.begin({**asdict(config), "data": data})
    folder.clear_stop()
    try:
        return _train(config, folder, roots, train_split, validation_split, chosen, resume, progress)
    except Exception as error:
        folder.status(force=True, state="failed", message=str(error).splitlines()[0] if str(error) else repr(error))
        raise


def _train(
    config: TeacherTraining,
    folder: RunFolder,
    roots: Sequence[DataRoot],
    train_split: str,
    validation_split: str,
    device: torch.device,
    resume: bool,
    progress: Progress,
) -> Path:
    folder.status(force=True, epochs=config.epochs, message="computing features")
    clips = _clips(roots, train_split, config.model, lambda f, m: progress(0.1 * f, m))
    held_out = _clips(roots, validation_split, config.model, lambda f, m: progress(0.1 + 0.02 * f, m))
    clips = [c for c in clips if c.count.shape[0] >= 1]
    model = AvSeldNet(config.model).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.rate, weight_decay=config.weight_decay)
    frames = sum(c.count.shape[0] for c in clips)
    per_epoch = max(1, frames // (config.segment_frames * config.batch))
    total = per_epoch * config.epochs
    first, best, seconds = 0, -1.0, 0.0
    if resume and folder.last.exists():
        first, best, seconds = _load(folder.last, model, optimiser)
        folder.forget_after(first * per_epoch)
    for epoch in range(first, config.epochs):
        model.train()
        losses = []
        started = time.monotonic()
        # dropout is the only other chance: seeded by the epoch, so that a resumed run draws the same
        torch.manual_seed(config.seed * 100_003 + epoch)
        for step in range(per_epoch):
            done = epoch * per_epoch + step
            rate = config.rate * 0.5 * (1.0 + math.cos(math.pi * done / total))
            for group in optimiser.param_groups:
                group["lr"] = rate
            spectral, visual, sources, count = _batch(config, clips, epoch, step)
            seen = None if visual is None else visual.to(device)
            loss = adpit_loss(model(spectral.to(device), seen), sources.to(device), count.to(device))
            if not bool(torch.isfinite(loss)):
                raise SaiError(
                    f"{folder.path}: the loss is not finite in epoch {epoch}; lower the rate and start anew."
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimiser.step()
            losses.append(float(loss.detach()))
            speed = (step + 1) * config.batch * config.segment_frames / max(time.monotonic() - started, 1e-9)
            left = (total - done - 1) * config.batch * config.segment_frames / speed
            folder.status(
                epoch=epoch, step=done, steps=total, frames_per_s=speed, eta_s=left, rates={"all": rate}, message=""
            )
            progress(0.12 + 0.88 * done / total, f"epoch {epoch + 1} of {config.epochs}: loss {np.mean(losses):.4f}")
        seconds += time.monotonic() - started
        threshold, scores = _validate(model, held_out, config.threshold)
        base = {"epoch": epoch, "step": (epoch + 1) * per_epoch, "seconds": round(seconds, 2)}
        folder.append({**base, "kind": "train", "total": float(np.mean(losses)), "rate": rate})
        figures = {"f20": scores.f_score, "error_deg": scores.error_deg, "recall": scores.recall}
        folder.append({**base, "kind": "validation", **figures, "threshold": threshold})
        if scores.f_score > best:
            best = scores.f_score
            notes = {"epoch": str(epoch), "seed": str(config.seed), "f20": f"{best:.4f}", "data": train_split}
            save_teacher(model, folder.best, threshold=threshold, notes=notes)
        _save(folder.last, model, optimiser, epoch + 1, best, seconds)
        if folder.stop_wanted() and epoch + 1 < config.epochs:
            folder.clear_stop()
            folder.status(force=True, state="stopped", epoch=epoch + 1, message="stopped on request; can be resumed")
            return folder.best
    if not folder.best.exists():
        save_teacher(model, folder.best, threshold=config.threshold or DEFAULT_THRESHOLD)
    folder.status(force=True, state="finished", epoch=config.epochs, step=total, steps=total, eta_s=0.0, message="")
    progress(1.0, f"finished: {folder.best}")
    return folder.best


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


@torch.inference_mode()
def _output(model: AvSeldNet, spectral: np.ndarray, visual: np.ndarray | None) -> np.ndarray:
    """Multi-ACCDOA of a whole recording, float32 (frames, 3, 13, 4)."""
    model.eval()
    if spectral.shape[1] == 0:
        return np.zeros((0, N_TRACKS, N_CLASSES, 4), np.float32)
    device = next(model.parameters()).device
    seen = None if visual is None else torch.from_numpy(visual)[None].to(device)
    output: np.ndarray = model(torch.from_numpy(spectral.astype(np.float32))[None].to(device), seen)[0].cpu().numpy()
    return output


def _validate(model: AvSeldNet, clips: Sequence[_Clip], threshold: float) -> tuple[float, SeldScores]:
    """Threshold (the given one, or with 0 the best of ``THRESHOLDS``) and the scores with it."""
    truth = [_within(c) for c in clips]
    outputs = [_output(model, c.spectral, c.visual) for c in clips]
    tried = [
        (value, seld_scores(truth, [decode(output, threshold=value) for output in outputs]))
        for value in ([threshold] if threshold else THRESHOLDS)
    ]
    return max(tried, key=lambda item: np.nan_to_num(item[1].f_score, nan=-1.0))


def predict_recording(model: AvSeldNet, recording: Recording, *, threshold: float | None = None) -> DcaseMetadata:
    """DCASE rows of a recording by a trained teacher.

    Parameters
    ----------
    model : AvSeldNet
    recording : Recording
    threshold : float, optional
        Least length of an active vector; the model's own when left out.

    Raises
    ------
    InputError
        The recording lacks the audio that the teacher listens to.
    """
    spectral = recording_features(recording, model.config.audio)
    frames = spectral.shape[1] // HOPS_PER_FRAME
    visual = visual_features(recording, frames) if model.config.visual else None
    return decode(
        _output(model, spectral, visual),
        threshold=model.threshold if threshold is None else threshold,
        recording=recording.name,
    )


def _save(path: Path, model: AvSeldNet, optimiser: torch.optim.Optimizer, epoch: int, best: float, s: float) -> None:
    tensors = {f"model/{k}": v.detach().contiguous() for k, v in model.state_dict().items()}
    for index, (_, state) in enumerate(sorted(optimiser.state_dict()["state"].items())):
        tensors |= {f"optimiser/{index}/{k}": v.detach().contiguous() for k, v in state.items()}
    with atomic_write(path) as stream:
        stream.write(save(tensors, metadata={"epoch": str(epoch), "best": repr(best), "seconds": repr(s)}))


def _load(path: Path, model: AvSeldNet, optimiser: torch.optim.Optimizer) -> tuple[int, float, float]:
    try:
        with safe_open(str(path), framework="pt", device="cpu") as stored:
            header = stored.metadata() or {}
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (not a mapping)
        epoch, best, seconds = int(header["epoch"]), float(header["best"]), float(header["seconds"])
        model.load_state_dict({k[len("model/") :]: v for k, v in tensors.items() if k.startswith("model/")})
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: this is not a checkpoint that can be resumed ({type(error).__name__}).") from error
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser/"):
            _, index, name = key.split("/")
            state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return epoch, best, seconds

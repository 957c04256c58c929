"""Sounds before scenes: what classes sound like from a direction, learned apart from the detector.

A detector's class depends on :class:`sai_core.detector.spectrum.RoiSpectrum`, the small network that listens to a
region over two seconds. Inside the detector it sees as many regions as frames pass through the backbone, and a data
set with pictures and maps holds few different sounds. Apart, it learns from thousands of regions a second, and from
rooms that were only heard: simulated scenes without picture and labels cost a fraction of a data set's.

In
    Simulated scenes by seed and number (:func:`hear_scene`), and labelled recordings (:func:`hear_recordings`).

Examples
--------
    Per frame and source, and for one direction where nothing is: the spectrogram (2 * context + 1 frames, 9 bands) of
    the direction and of all directions, mean-square power of the lattice maps, and the class (0 nothing, 1..13).
Out
    A safetensors file with the tensors ``spectrum.*`` and ``classifier.*`` of a detector, for ``start.sounds``.

Everything depends on the seed, the scene's number and the settings; scenes heard before are kept in the run folder.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from sai_core.acoustics.features import FeatureOptions, MapMaker
from sai_core.checkpoints import read_state_dict
from sai_core.detector.heads import N_LABELS
from sai_core.detector.models import HIDDEN, SaiDetector
from sai_core.detector.spectrum import RoiSpectrum, context_window, lattice_pixels
from sai_core.errors import InputError, SaiError
from sai_core.files import atomic_write
from sai_core.geometry import FRAME_RATE_HZ, UPLAM_CAPSULES, great_circle_deg
from sai_core.progress import Progress, no_progress
from sai_core.runs.checkpoint import room_of
from sai_core.runs.folder import RunFolder
from sai_core.runs.kinds import FieldError, RunInputs, at_field, collect
from sai_core.runs.lifecycle import Life, life
from sai_core.training.augment import column_span
from sai_core.training.config import DataSettings, SoundSettings
from sai_core.training.data import FrameSet, choose_recordings, map_maker, prepare
from sai_core.training.epochs import held_run

FloatArray = npt.NDArray[np.float32]

_AWAY_DEG: Final[float] = 35.0
"""A direction further from every source than this holds nothing."""

COLUMNS: Final[tuple[str, ...]] = ("epoch", "step", "seconds", "kind", "total", "recall", "rate")
"""Of ``metrics.csv``; ``recall``: share of held-out directions that are heard as their class."""

SOUNDS_FILE: Final[str] = "sounds.safetensors"
"""Name of the result in a run folder."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Spectrograms of directions; see the module.

    Attributes
    ----------
    own, everywhere : float32, shape (n, 2 * context + 1, 9)
    label : int64, shape (n,)
    """

    own: FloatArray
    everywhere: FloatArray
    label: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def join(cls, parts: Sequence[Examples]) -> Examples:
        """One after the other."""
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("own", "everywhere", "label")))


def _listen(
    power: FloatArray,
    frames: Sequence[int],
    boxes: Sequence[npt.NDArray[np.floating]],
    labels: Sequence[npt.NDArray[np.integer]],
    context: int,
) -> Examples:
    ear = RoiSpectrum(power.shape[1], 16)
    columns = torch.from_numpy(lattice_pixels()[0])
    maps = torch.from_numpy(power)
    mean = power.mean(axis=-1)
    own: list[FloatArray] = []
    everywhere: list[FloatArray] = []
    for frame, part in zip(frames, boxes, strict=True):
        window = context_window(frame, context, len(power))
        boxes_deg = torch.as_tensor(np.asarray(part, dtype=np.float32)).reshape(-1, 4)
        own.append(ear.listen(maps[window], columns, boxes_deg).numpy())
        everywhere.append(np.repeat(mean[window][None], len(part), axis=0))
    shape = (0, 2 * context + 1, power.shape[1])
    return Examples(
        np.concatenate([np.zeros(shape, dtype=np.float32), *own]),
        np.concatenate([np.zeros(shape, dtype=np.float32), *everywhere]),
        np.concatenate([np.zeros(0, dtype=np.int64), *(np.asarray(part, dtype=np.int64) for part in labels)]),
    )


def _box(azimuth_deg: float, elevation_deg: float, half_deg: tuple[float, float]) -> tuple[float, float, float, float]:
    x, y = (180.0 - azimuth_deg) % 360.0, 90.0 - elevation_deg
    return x - half_deg[0], y - half_deg[1], x + half_deg[0], y + half_deg[1]


def _empty_direction(
    azimuth_deg: npt.NDArray[np.floating], elevation_deg: npt.NDArray[np.floating], rng: np.random.Generator
) -> tuple[float, float] | None:
    for _ in range(20):
        azimuth, elevation = float(rng.uniform(-180, 180)), float(np.degrees(np.arcsin(rng.uniform(-0.8, 0.8))))
        if not len(azimuth_deg) or great_circle_deg(azimuth, elevation, azimuth_deg, elevation_deg).min() > _AWAY_DEG:
            return azimuth, elevation
    return None


def hear_scene(index: int, settings: SoundSettings, maker: MapMaker) -> Examples:
    """Examples of one simulated scene, without picture and labels.

    The regions are boxes of 20 to 50 degrees around the true directions, a few degrees off, as a detector's are.

    Parameters
    ----------
    index : int
        Number of the scene.
    settings : SoundSettings
    maker : MapMaker
    """
    from sai_core.simulation.audio import render_audio
    from sai_core.simulation.scene import draw_scene

    scene = draw_scene(settings.seed, index, seconds=settings.seconds, recording=f"heard_{index}")
    heard = render_audio(scene)
    audio = np.ascontiguousarray(heard.capsules[list(UPLAM_CAPSULES)].T)
    maps, level = maker.maps_of(audio)
    power = np.ascontiguousarray(maps * level[..., None], dtype=np.float32)
    rng = np.random.default_rng([settings.seed, 9, index])
    metadata = heard.metadata
    boxes, labels = [], []
    frames = list(range(0, len(power), settings.frame_step))
    for frame in frames:
        rows = np.flatnonzero(metadata.frame == frame)
        azimuth, elevation = metadata.azimuth_deg[rows], metadata.elevation_deg[rows]
        part, label = [], []
        for row in rows.tolist():
            half = (float(rng.uniform(10, 25)), float(rng.uniform(10, 25)))
            off = rng.normal(0, 4, 2)
            part.append(
                _box(float(metadata.azimuth_deg[row]) + off[0], float(metadata.elevation_deg[row]) + off[1], half)
            )
            label.append(int(metadata.category_id[row]) + 1)
        if (empty := _empty_direction(azimuth, elevation, rng)) is not None:
            part.append(_box(*empty, (float(rng.uniform(10, 25)), float(rng.uniform(10, 25)))))
            label.append(0)
        boxes.append(np.asarray(part, dtype=np.float32).reshape(-1, 4))
        labels.append(np.asarray(label, dtype=np.int64))
    return _listen(power, frames, boxes, labels, settings.context_frames)


def hear_recordings(frames: FrameSet, settings: SoundSettings) -> list[Examples]:
    """Examples of labelled recordings, one entry a recording.

    Parameters
    ----------
    frames : FrameSet
        With step 1.
    settings : SoundSettings
    """
    out = []
    for index, recording in enumerate(frames.recordings):
        power = np.ascontiguousarray(recording.maps.lattice(0, len(recording), magnitude="power"), dtype=np.float32)
        rng = np.random.default_rng([settings.seed, 10, index])
        numbers = list(range(0, len(recording), settings.frame_step))
        boxes, labels = [], []
        for regions in (list(frames.regions_of(index, frame)) for frame in numbers):
            part: list[tuple[float, float, float, float]] = []
            for region in regions:
                x0, x1 = column_span(region.columns)
                part.append((x0, float(region.rows.min()), x1, float(region.rows.max()) + 1))
            centres = np.asarray([((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in part]).reshape(-1, 2)
            label = [region.label for region in regions]
            empty = _empty_direction(180.0 - centres[:, 0], 90.0 - centres[:, 1], rng)
            if empty is not None:
                part.append(_box(*empty, (float(rng.uniform(10, 25)), float(rng.uniform(10, 25)))))
                label.append(0)
            boxes.append(np.asarray(part, dtype=np.float32).reshape(-1, 4))
            labels.append(np.asarray(label, dtype=np.int64))
        out.append(_listen(power, numbers, boxes, labels, settings.context_frames))
    return out


class SoundClassifier(nn.Module):
    """The part of a detector that listens, with the classifier behind it; the keys are the detector's."""

    def __init__(self, n_bands: int = 9) -> None:
        super().__init__()
        self.spectrum = RoiSpectrum(n_bands, HIDDEN)
        self.classifier = nn.Linear(HIDDEN, N_LABELS)

    def forward(self, own: Tensor, everywhere: Tensor) -> Tensor:
        """Logits (n, 14) of spectrograms (n, frames, bands)."""
        logits: Tensor = self.classifier(self.spectrum.encode(own, everywhere))
        return logits


@dataclass(frozen=True)
class SoundScores:
    """What a classifier is worth on examples it did not learn from.

    Attributes
    ----------
    accuracy : float
        Share of right classes among directions with a source, the 13 classes alone.
    loss : float
        Cross-entropy there.
    per_class : tuple of float
        Accuracy of each class; NaN where there are no examples.
    """

    accuracy: float
    loss: float
    per_class: tuple[float, ...]


@torch.no_grad()
def score(model: SoundClassifier, examples: Examples) -> SoundScores:
    """Measure on directions with a source."""
    some = np.flatnonzero(examples.label > 0)
    if not len(some):
        return SoundScores(float("nan"), float("nan"), (float("nan"),) * (N_LABELS - 1))
    logits = torch.cat(
        [
            model(torch.from_numpy(examples.own[part]), torch.from_numpy(examples.everywhere[part]))[:, 1:]
            for part in np.array_split(some, max(1, len(some) // 1024))
        ]
    )
    label = torch.from_numpy(examples.label[some] - 1)
    right = (logits.argmax(dim=1) == label).numpy()
    classes = label.numpy()
    per_class = tuple(float(right[classes == c].mean()) if (classes == c).any() else float("nan") for c in range(13))
    return SoundScores(float(right.mean()), float(F.cross_entropy(logits, label)), per_class)


def learn(
    examples: Examples, settings: SoundSettings, *, held_out: Examples | None = None, lived: Life | None = None
) -> tuple[SoundClassifier, SoundScores | None]:
    """Train a classifier of spectrograms.

    Parameters
    ----------
    examples : Examples
    settings : SoundSettings
    held_out : Examples, optional
        Measured after the last epoch, never learned from.
    lived : Life, optional
        The run that it belongs to.

    Returns
    -------
    SoundClassifier
    scores : SoundScores or None
        None where nothing is held out, or the run was asked to stop.

    Raises
    ------
    InputError
        Fewer examples than one batch.
    SaiError
        The loss is not a number.
    """
    s = settings
    if len(examples) < s.batch:
        raise InputError(f"{len(examples)} examples are fewer than one batch ({s.batch}); give more scenes or data.")
    torch.manual_seed(s.seed)
    model = SoundClassifier(examples.own.shape[2])
    own, everywhere = torch.from_numpy(examples.own), torch.from_numpy(examples.everywhere)
    label = torch.from_numpy(examples.label)
    weight = torch.ones(N_LABELS)
    weight[0] = s.nothing_share
    per_epoch = len(examples) // s.batch
    steps = s.epochs * per_epoch
    adamw = torch.optim.AdamW(model.parameters(), lr=s.rate, weight_decay=s.weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adamw, s.rate, steps, pct_start=0.15)
    done, started = 0, time.monotonic()
    for epoch in range(s.epochs):
        order = torch.randperm(len(examples))
        total = 0.0
        for first in range(0, len(examples) - s.batch + 1, s.batch):
            rows = order[first : first + s.batch]
            # one unit of the network's input is two decades of power
            shift = s.level_sigma * torch.randn(len(rows), 1, 1) + s.band_sigma * torch.randn(len(rows), 1, 9)
            disturbed = [
                x[rows] * 10.0 ** (2.0 * (shift + s.noise_sigma * torch.randn_like(x[rows]))) for x in (own, everywhere)
            ]
            loss = F.cross_entropy(model(*disturbed), label[rows], weight=weight, label_smoothing=s.smoothing)
            adamw.zero_grad(set_to_none=True)
            loss.backward()
            adamw.step()
            rate = cycle.get_last_lr()[0]
            cycle.step()
            done += 1
            total += float(loss.detach())
            if lived is not None:
                took = time.monotonic() - started
                lived.tell(
                    0.8 + 0.2 * done / steps,
                    f"epoch {epoch + 1} of {s.epochs}: loss {total * s.batch / (first + s.batch):.3f}",
                    epoch=epoch,
                    step=done,
                    steps=steps,
                    eta_s=(steps - done) * took / done,
                    rates={"all": rate},
                )
                if lived.folder.stop_wanted() and done < steps:
                    lived.stopped = True
                    return model, None
        if not math.isfinite(total):
            raise SaiError(f"the loss is not a number in epoch {epoch + 1}; try a smaller rate (--set rate=...).")
        if lived is not None:
            seconds = round(time.monotonic() - started, 1)
            row = {"epoch": epoch, "step": done, "seconds": seconds, "total": total / per_epoch, "rate": rate}
            lived.folder.append({"kind": "train", **row})
    model.eval()
    scores = None if held_out is None else score(model, held_out)
    if lived is not None and scores is not None and math.isfinite(scores.accuracy):
        seconds = round(time.monotonic() - started, 1)
        row = {"epoch": s.epochs - 1, "step": done, "seconds": seconds, "total": scores.loss, "recall": scores.accuracy}
        lived.folder.append({"kind": "validation", **row})
    return model, scores


def faults(settings: SoundSettings, inputs: RunInputs) -> list[SaiError]:
    """What would make a new run fail at its start: no scenes nor recordings, or none that can be learned from."""
    return collect(lambda: _check_data(settings, inputs))


def room(settings: SoundSettings, inputs: RunInputs) -> int:
    """As :class:`sai_core.runs.kinds.Trainer` has it; scenes are kept in the run folder."""
    frames = settings.scenes * settings.seconds * FRAME_RATE_HZ / settings.frame_step
    # two sources at a time, as a rule, and a direction where nothing is; two spectrograms of nine bands
    kept = frames * 3 * 2 * (2 * settings.context_frames + 1) * 9 * 4
    return room_of(SoundClassifier) + int(kept)


def _check_data(settings: SoundSettings, inputs: RunInputs) -> None:
    if not settings.scenes and not inputs.data_roots:
        raise FieldError("data", "sounds are learned from simulated scenes (scenes=N) or labelled recordings (--data).")
    if inputs.data_roots:
        with at_field("data"):
            choose_recordings([Path(root).resolve() for root in inputs.data_roots], DataSettings())


def train(
    settings: SoundSettings | None,
    run: Path,
    *,
    data_roots: Sequence[Path] = (),
    resume: bool = False,
    progress: Progress = no_progress,
    say: Callable[[str], object] = lambda sentence: None,
) -> tuple[Path, SoundScores | None]:
    """Hear scenes (those heard before are kept), learn, and write ``RUN/sounds.safetensors``.

    Parameters
    ----------
    settings : SoundSettings
        None on ``resume``: the run's own are used.
    run : Path
        Folder of the run; see :mod:`sai_core.runs.folder`.
    data_roots : sequence of Path
        Labelled recordings beside the scenes; on ``resume`` those of the run when left out.
    resume : bool
        Scenes that were heard are not heard again; learning, which takes a small part of the time, is.
    progress : Progress
    say : callable
        Told, in a sentence each, what was not as it should be.

    Returns
    -------
    path : Path
    scores : SoundScores or None
        On the held-out scenes and recordings; None where nothing was held out, or the run was stopped.

    Raises
    ------
    InputError
        Neither scenes nor recordings, or too few examples; a run in the folder already or running.
    EnvironmentProblem
        The folder cannot be written.
    """
    folder = RunFolder(run, columns=COLUMNS)
    inputs = RunInputs(data_roots=tuple(data_roots))
    with held_run("sounds", folder, settings, inputs, resume=resume, faults=faults) as (settings, inputs):
        path, scores = folder.path / SOUNDS_FILE, None
        with life(folder, progress, epochs=settings.epochs, message="hearing scenes") as lived:
            if note := folder.restore(b""):
                say(note)
            parts = _hear_all(folder.path, settings, inputs, lived)
            # whole scenes are held out: neighbouring frames are nearly the same
            every = max(2, round(1 / settings.held_out)) if settings.held_out > 0 else len(parts) + 1
            held = [p for k, p in enumerate(parts) if k % every == every - 1]
            taught = [p for k, p in enumerate(parts) if k % every != every - 1]
            measured = Examples.join(held) if held else None
            model, scores = learn(Examples.join(taught), settings, held_out=measured, lived=lived)
            if not lived.stopped:
                notes = {
                    "sai_sounds": json.dumps(asdict(settings)),
                    **({} if scores is None else {"accuracy": f"{scores.accuracy:.4f}"}),
                    "recordings": str(len(parts) - settings.scenes),
                }
                with atomic_write(path) as stream:
                    stream.write(save({k: v.contiguous() for k, v in model.state_dict().items()}, metadata=notes))
    return path, scores


def train_run(
    config: SoundSettings | None,
    run: Path,
    inputs: RunInputs,
    *,
    resume: bool,
    progress: Progress,
    say: Callable[[str], object],
) -> str:
    """:func:`train`, as :class:`sai_core.runs.kinds.Trainer` has it."""
    path, scores = train(config, run, data_roots=inputs.data_roots, resume=resume, progress=progress, say=say)
    if not path.exists():
        return f"{run}: stopped; --resume goes on"
    if scores is None:
        return f"{path}: nothing was held out to measure it"
    return f"{path}: {scores.accuracy:.3f} of the held-out directions are heard as their class (loss {scores.loss:.3f})"


def _hear_all(run: Path, settings: SoundSettings, inputs: RunInputs, lived: Life) -> list[Examples]:
    maker = MapMaker(FeatureOptions(visibility=settings.visibility or None), weights=None, device="cpu")
    parts: list[Examples] = []
    for index in range(settings.scenes):
        parts.append(_heard(run, index, settings, maker))
        lived.preparing(0.8 * (index + 1) / settings.scenes, f"scene {index + 1} of {settings.scenes}")
    if inputs.data_roots:
        data = DataSettings(visibility=settings.visibility)
        chosen, _, _ = choose_recordings([Path(root).resolve() for root in inputs.data_roots], data)
        recordings = prepare(
            chosen,
            settings=data,
            maker=map_maker(data, device="cpu"),
            with_rgb=False,
            progress=lambda _, message: lived.preparing(0.8, message),
        )
        parts += hear_recordings(recordings, settings)
    return parts


def _heard(run: Path, index: int, settings: SoundSettings, maker: MapMaker) -> Examples:
    """Examples of a scene, from the run folder if they are there."""
    made_of = [settings.seed, settings.seconds, settings.context_frames, settings.frame_step, maker.describe()]
    key = hashlib.blake2b(json.dumps(made_of, default=str).encode(), digest_size=6).hexdigest()
    path = Path(run) / "examples" / f"{key}_{index:05d}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Examples(stored["own"], stored["everywhere"], stored["label"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        pass
    made = hear_scene(index, settings, maker)
    with atomic_write(path) as stream:
        np.savez(stream, own=made.own, everywhere=made.everywhere, label=made.label)
    return made


def take_sounds(model: SaiDetector, path: Path) -> None:
    """Put what :func:`train` made into a detector.

    Raises
    ------
    InputError
        Not such a file, or the detector does not listen (``model.context_frames`` is 0) or has other bands.
    """
    if model.spectrum is None:
        raise InputError(f"{path}: the network does not listen to regions; set model.context_frames (10).")
    state = read_state_dict(path)
    own = model.state_dict()
    wanted = [key for key in own if key.startswith(("spectrum.", "classifier."))]
    wrong = [key for key in wanted if key not in state or state[key].shape != own[key].shape]
    if wrong:
        raise InputError(
            f"{path}: not what `train sounds` makes for this network ({wrong[0]} is missing or misshaped)."
        )
    model.load_state_dict({key: state[key].float() for key in wanted}, strict=False)

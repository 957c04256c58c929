"""Training of the wideband listener (:mod:`sai_core.detector.wideband`): what sounds in a direction.

In
    Simulated scenes by seed and number, which are only heard; every other one plays recorded sounds where a folder of
    them is given (``--sounds``), and half of either kind are drawn like real recordings. Besides, recordings with
    four-channel audio and DCASE metadata (``--data``), real ones too.
Out
    ``best.safetensors`` in the run folder, for ``predict --wideband``.

What is learned from are frames of scenes, at the directions of sources (some degrees off, as a detector is) and where
nothing sounds. Covariances of sources that sound together add up, so that half of the frames are the sum of those of
two scenes, one of them later and louder or fainter than it was; and the four capsules are a tetrahedron, so that a
scene is heard in any of its twelve turns by changing the order of the channels. Both cost next to nothing.

What a step sees is a function of the seed and the step, so that a run that was killed and resumed makes the same steps
as one that was not. Scenes heard before are kept in the run folder.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from sai_core.acoustics.audio_input import AudioInput
from sai_core.acoustics.features import choose_device
from sai_core.annotations import DcaseMetadata, read_dcase_csv
from sai_core.annotations.notes import summarise_notes
from sai_core.dataset import Recording, after_the_end, open_data_root
from sai_core.dataset.sound_file import look_at_sound
from sai_core.detector.wideband import (
    COLUMNS,
    N_BEAMS,
    N_OUT,
    WidebandNetwork,
    load_wideband,
    mel_matrices_of,
    save_wideband,
    windows_of,
)
from sai_core.errors import InputError, SaiError
from sai_core.files import atomic_write, content_hash, user_path
from sai_core.geometry import (
    FRAME_RATE_HZ,
    SAMPLES_PER_FRAME,
    UPLAM_CAPSULES,
    directions_to_vectors,
    great_circle_deg,
    vectors_to_directions,
)
from sai_core.listener.spectrum import COLUMNS_PER_FRAME, N_BANDS
from sai_core.progress import Progress
from sai_core.runs.checkpoint import room_of, take_up
from sai_core.runs.folder import RunFolder
from sai_core.runs.kinds import FieldError, RunInputs, at_field, collect
from sai_core.runs.lifecycle import Life, life
from sai_core.simulation.recorded import RecordedSounds, open_recorded
from sai_core.taxonomy import N_CLASSES
from sai_core.threads import use_torch_threads
from sai_core.training.config import WidebandTraining
from sai_core.training.epochs import EpochTrainer, cosine_rate, held_run, processor_has_bfloat16
from sai_core.training.recorded_option import SOUNDS_OPTION, check_same_sounds, sounds_folder
from sai_core.training.uplam.symmetry import symmetries

FloatArray = npt.NDArray[np.float64]

ORIGINS: Final[tuple[str, ...]] = ("synthesised", "recorded", "data")
"""Of what is heard: scenes of synthesised sounds, scenes of recorded sounds, recordings of ``--data``."""

COLUMNS_OF_RUN: Final[tuple[str, ...]] = ("epoch", "step", "seconds", "kind", "total", "recall", *ORIGINS, "rate")
"""Of ``metrics.csv``; ``recall``: mean share, over the classes and nothing, of held-out directions that are heard as
what is there, mean of the origins."""

_NEAR_DEG: Final[float] = 15.0
"""Sources nearer than this to a direction are heard in it."""

_AWAY_DEG: Final[float] = 22.0
"""A direction further than this from every source holds nothing."""

_DIRECTIONS: Final[int] = 2
"""Sources of a frame that are listened to at most, beside a direction of nothing."""

_MEASURED_EVERY: Final[int] = 5
"""Frames of held-out scenes that are measured."""

_FAINT_DB: Final[float] = -10.0
"""A scene that is added fainter than this is a disturbance: its sources count as nothing."""


@dataclass(frozen=True, eq=False)
class HeardScene:
    """One scene or recording, as four capsules hear it.

    Attributes
    ----------
    matrices : float16, shape (5 * frames + 95, 64, 16)
        :func:`~sai_core.detector.wideband.mel_matrices_of`, brought to a mean power of 1.
    frame, category_id : int64, shape (n,)
    azimuth_deg, elevation_deg : float64, shape (n,)
        Where what sounds.
    origin : str
        One of :data:`ORIGINS`.
    """

    matrices: npt.NDArray[np.float16]
    frame: npt.NDArray[np.int64]
    category_id: npt.NDArray[np.int64]
    azimuth_deg: FloatArray
    elevation_deg: FloatArray
    origin: str

    def __len__(self) -> int:
        return (len(self.matrices) - 2 * COLUMNS + COLUMNS_PER_FRAME) // COLUMNS_PER_FRAME

    def window(self, frame: int) -> npt.NDArray[np.float32]:
        """Covariances around a frame, float32 (100, 64, 16)."""
        return self.matrices[COLUMNS_PER_FRAME * frame :][: 2 * COLUMNS].astype(np.float32)


class _Held:
    """Samples in memory, read like an :class:`AudioInput`."""

    def __init__(self, samples: npt.NDArray[np.floating]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples) // SAMPLES_PER_FRAME

    def read(self, first: int, last: int) -> npt.NDArray[np.float32]:
        return np.asarray(self._samples[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME], dtype=np.float32)


def hear(source: AudioInput | _Held, metadata: DcaseMetadata, origin: str) -> HeardScene:
    """What four capsules hear of a recording, and what sounds where."""
    matrices = mel_matrices_of(source, 0, len(source))
    mean = float(matrices[..., ::5].mean())
    there = (metadata.frame >= 0) & (metadata.frame < len(source))
    return HeardScene(
        (matrices / max(mean, 1e-20)).to(torch.float16).numpy(),
        metadata.frame[there].astype(np.int64),
        metadata.category_id[there].astype(np.int64),
        metadata.azimuth_deg[there].astype(np.float64),
        metadata.elevation_deg[there].astype(np.float64),
        origin,
    )


def hear_scene(index: int, settings: WidebandTraining, sounds: RecordedSounds | None) -> HeardScene:
    """One simulated scene, without picture and labels: every other one with recorded sounds, if there are any."""
    from sai_core.simulation.audio import render_audio
    from sai_core.simulation.scene import draw_scene

    recorded = sounds if index % 2 else None
    scene = draw_scene(
        settings.seed,
        index,
        seconds=settings.seconds,
        recording=f"wideband_{index}",
        recorded=recorded,
        style="real" if index % 4 >= 2 else "even",
    )
    heard = render_audio(scene)
    samples = np.ascontiguousarray(heard.capsules[list(UPLAM_CAPSULES)].T)
    return hear(_Held(samples), heard.metadata, "synthesised" if recorded is None else "recorded")


def hear_recording(recording: Recording) -> HeardScene:
    """One recording of a data root."""
    assert recording.array_path is not None
    assert recording.metadata_path is not None
    return hear(AudioInput(recording.array_path, channels=4), read_dcase_csv(recording.metadata_path), "data")


@lru_cache(maxsize=1)
def array_turns() -> tuple[tuple[npt.NDArray[np.int64], FloatArray], ...]:
    """The twelve turns of the four capsules: order of channels, and the turn of directions, (4,) and (3, 3) each.

    Channel ``c`` of the turned recording is channel ``order[c]``; a direction ``v`` of the scene becomes ``turn @ v``.
    The capsules fit to half a degree. Runs draw turns by their number: the order of the symmetries is part of a seed.
    """
    return tuple((s.capsules, s.matrix) for s in symmetries() if np.linalg.det(s.matrix) > 0)


def turned(sound: Tensor, order: npt.NDArray[np.int64]) -> Tensor:
    """Covariances (..., 16) with the channels in another order."""
    chosen = torch.from_numpy(order)
    square = sound.unflatten(-1, (4, 4))
    return square.index_select(-2, chosen).index_select(-1, chosen).flatten(-2)


def faults(settings: WidebandTraining, inputs: RunInputs) -> list[SaiError]:
    """What would make a new run fail at its start: nothing to learn from, sounds or weights that cannot be used."""

    def device() -> None:
        with at_field("device"):
            choose_device(inputs.device)

    def start() -> None:
        if settings.start:
            _started(settings)

    return collect(lambda: _recordings(settings, inputs), partial(_sounds, settings, inputs), device, start)


def room(settings: WidebandTraining, inputs: RunInputs) -> int:
    """As :class:`sai_core.runs.kinds.Trainer` has it; what was heard is kept in the run folder."""
    seconds = settings.scenes * settings.seconds
    for recording in _recordings(settings, inputs):
        assert recording.array_path is not None
        facts = look_at_sound(recording.array_path)
        seconds += facts.n_samples / facts.sample_rate_hz
    kept = seconds * FRAME_RATE_HZ * COLUMNS_PER_FRAME * N_BANDS * 16 * 2
    return room_of(lambda: WidebandNetwork(settings.model)) + int(kept)


def _recordings(settings: WidebandTraining, inputs: RunInputs) -> list[Recording]:
    if not settings.scenes and not inputs.data_roots:
        raise FieldError(
            "data", "nothing to learn from: simulated scenes (scenes=N) or recordings (--data) are needed."
        )
    found: list[Recording] = []
    with at_field("data"):
        for place in inputs.data_roots:
            root = open_data_root(place)
            there = [r for r in root.recordings if r.array_path is not None and r.metadata_path is not None]
            if not there:
                raise InputError(
                    f"{root.path}: no recording has 4-channel audio (mic_dev) and metadata (metadata_dev) to learn "
                    "from."
                )
            found += there
        places = [recording.array_path for recording in found]
        for path in places:
            if places.count(path) > 1:
                raise InputError(f"{path}: given twice; it would teach and measure. Give each data root once.")
    if settings.scenes + len(found) < 2:
        raise FieldError("data", "one scene or recording alone cannot be learned from and measured; give more.")
    return found


def _odd_metadata(recordings: Sequence[Recording]) -> list[str]:
    """What readers left out or guessed of the metadata, and rows that no sound belongs to, in a sentence each."""
    noted, late = [], []
    for recording in recordings:
        assert recording.metadata_path is not None
        metadata = read_dcase_csv(recording.metadata_path)
        noted.append((recording.name, metadata.notes))
        late.append(after_the_end(recording, "the metadata", metadata.frame))
    return [*summarise_notes(noted, what="metadata"), *filter(None, late)]


def _sounds(settings: WidebandTraining, inputs: RunInputs) -> RecordedSounds | None:
    given = sounds_folder(inputs)
    if given is None:
        return None
    if settings.scenes < 2:
        raise FieldError(
            SOUNDS_OPTION, "recorded sounds are played in every other simulated scene; set scenes to 2 or more."
        )
    with at_field(SOUNDS_OPTION):
        return open_recorded(given)


def _started(settings: WidebandTraining) -> WidebandNetwork:
    with at_field("overrides"):
        found = load_wideband(user_path(settings.start, what="start"))
        if found.config != settings.model:
            raise InputError(f"{settings.start}: has width {found.config.width}; set model.width={found.config.width}.")
    return found


def train_run(
    config: WidebandTraining | None,
    run: Path,
    inputs: RunInputs,
    *,
    resume: bool,
    progress: Progress,
    say: Callable[[str], object],
) -> str:
    """Train a wideband listener, or go on with a run; as :class:`sai_core.runs.kinds.Trainer` has it.

    Raises
    ------
    InputError
        Nothing to learn from; sounds or weights that cannot be used; a run in the folder already or running; nothing to
        resume, or with other sounds.
    EnvironmentProblem
        The folder cannot be written, the device is not there.
    SaiError
        The loss is not a number.
    """
    folder = RunFolder(Path(run), columns=COLUMNS_OF_RUN)
    given = sounds_folder(inputs)
    options = {} if given is None else {SOUNDS_OPTION: str(given)}
    inputs = RunInputs(data_roots=inputs.data_roots, device=inputs.device, options=options)
    if resume:
        check_same_sounds(folder, inputs, say=say)
    with held_run("wideband", folder, config, inputs, resume=resume, faults=faults) as (config, inputs):
        device = choose_device(inputs.device)
        use_torch_threads(config.threads)
        with life(folder, progress, epochs=config.epochs, message="hearing scenes") as lived:
            recordings = _recordings(config, inputs)
            bare = sum(len(open_data_root(place).recordings) for place in inputs.data_roots) - len(recordings)
            if bare:
                say(f"{bare} recording{'s' * (bare != 1)} of --data left out: no 4-channel audio or no metadata.")
            for sentence in _odd_metadata(recordings):
                say(sentence)
            sounds = _sounds(config, inputs)
            heard = _hear_all(folder.path, config, recordings, sounds, lived)
            trainer = _Trainer(config, folder, heard, sounds, device, lived)
            take_up(folder, trainer.take, resume=resume, say=say)
            trainer.run()
    if not folder.best.exists():
        return f"{run}: stopped; --resume goes on"
    if trainer.best is None or math.isnan(trainer.best[1]):
        return f"{folder.best}: nothing was held out to measure it"
    recall = f"{trainer.best[1]:.3f} of the held-out directions"
    return f"{folder.best}: {recall} are heard as what is there, mean of the classes"


def _hear_all(
    run: Path,
    config: WidebandTraining,
    recordings: Sequence[Recording],
    sounds: RecordedSounds | None,
    lived: Life,
) -> list[HeardScene]:
    total = config.scenes + len(recordings)
    found: list[HeardScene] = []
    for index in range(config.scenes):
        made_of = [config.seed, config.seconds, index, sounds.digest if sounds is not None and index % 2 else ""]
        found.append(_kept(run, made_of, partial(hear_scene, index, config, sounds)))
        lived.preparing(0.3 * len(found) / total, f"scene {index + 1} of {config.scenes}")
    for recording in recordings:
        assert recording.array_path is not None
        assert recording.metadata_path is not None
        made_of = [content_hash(recording.array_path), content_hash(recording.metadata_path)]
        found.append(_kept(run, made_of, partial(hear_recording, recording)))
        lived.preparing(0.3 * len(found) / total, f"sound of {recording.name}")
    return found


_KEPT: Final[tuple[str, ...]] = ("matrices", "frame", "category_id", "azimuth_deg", "elevation_deg")


def _kept(run: Path, made_of: list[object], make: Callable[[], HeardScene]) -> HeardScene:
    """What was heard before, from the run folder, or heard now."""
    key = hashlib.blake2b(json.dumps([1, *made_of]).encode(), digest_size=8).hexdigest()
    path = Path(run) / "examples" / f"{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            scene = HeardScene(**{name: stored[name] for name in _KEPT}, origin=str(stored["origin"]))
        if scene.matrices.shape[1:] == (N_BANDS, 16) and scene.origin in ORIGINS:
            return scene
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        pass
    made = make()
    with atomic_write(path) as stream:
        np.savez(stream, **{name: getattr(made, name) for name in _KEPT}, origin=np.array(made.origin))
    return made


def target_of(
    azimuth_deg: float, elevation_deg: float, sources: Sequence[tuple[int, float, float]]
) -> npt.NDArray[np.float32]:
    """What is to be heard in a direction: the classes of the sources in it, alike, or nothing; (14,), sum 1.

    Parameters
    ----------
    azimuth_deg, elevation_deg : float
    sources : sequence of (category_id, azimuth_deg, elevation_deg)
    """
    target = np.zeros(N_OUT, dtype=np.float32)
    if sources:
        category, azimuth, elevation = (np.array(column) for column in zip(*sources, strict=True))
        near = great_circle_deg(azimuth_deg, elevation_deg, azimuth, elevation) < _NEAR_DEG
        target[category[near].astype(np.int64)] = 1.0
    if not target.any():
        target[N_CLASSES] = 1.0
    return target / target.sum()


class Drawn:
    """Windows of frames of scenes, and what is to be heard in them.

    Parameters
    ----------
    scenes : sequence of HeardScene
    config : WidebandTraining
    """

    def __init__(self, scenes: Sequence[HeardScene], config: WidebandTraining) -> None:
        self.scenes, self.config = [_sorted(scene) for scene in scenes if len(scene)], config
        self._ends = [np.searchsorted(scene.frame, np.arange(len(scene) + 1)) for scene in self.scenes]

    def sources(self, scene: int, frame: int) -> list[tuple[int, float, float]]:
        """Class and direction of what sounds in a frame."""
        rows = range(int(self._ends[scene][frame]), int(self._ends[scene][frame + 1]))
        s = self.scenes[scene]
        return [(int(s.category_id[r]), float(s.azimuth_deg[r]), float(s.elevation_deg[r])) for r in rows]

    def directions(
        self, sources: Sequence[tuple[int, float, float]], rng: np.random.Generator, *, at_most: int
    ) -> list[tuple[float, float]]:
        """Some degrees off some sources, and one where nothing sounds (where there is room)."""
        found = []
        for k in rng.permutation(len(sources))[:at_most].tolist():
            _, azimuth, elevation = sources[k]
            off = rng.normal(0.0, self.config.jitter_deg, 2)
            found.append((azimuth + off[0], float(np.clip(elevation + off[1], -89.0, 89.0))))
        others = np.array([source[1:] for source in sources]).reshape(-1, 2)
        for _ in range(20):
            azimuth, elevation = float(rng.uniform(-180, 180)), float(np.degrees(np.arcsin(rng.uniform(-0.85, 0.85))))
            if not len(others) or great_circle_deg(azimuth, elevation, *others.T).min() > _AWAY_DEG:
                found.append((azimuth, elevation))
                break
        return found

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Windows (n, 3, 50, 64) and targets (n, 14) of ``config.frames`` frames, mixed and turned."""
        config = self.config
        sound: list[Tensor] = []
        place, azimuth, elevation, targets = [], [], [], []
        for _ in range(config.frames):
            index = int(rng.integers(len(self.scenes)))
            frame = int(rng.integers(len(self.scenes[index])))
            window, sources = self.scenes[index].window(frame), self.sources(index, frame)
            if rng.random() < config.mixed:
                second = int(rng.integers(len(self.scenes)))
                at = int(rng.integers(len(self.scenes[second])))
                added = self.scenes[second].window(at)
                level = float(rng.uniform(-config.mixed_db, 0.5 * config.mixed_db))
                own, theirs = (max(float(x[..., ::5].mean()), 1e-12) for x in (window, added))
                window = window + added * np.float32(own / theirs * 10.0 ** (level / 10.0))
                if level > _FAINT_DB:
                    sources = sources + self.sources(second, at)
            order, turn = array_turns()[int(rng.integers(12))]
            for direction in self.directions(sources, rng, at_most=_DIRECTIONS):
                targets.append(target_of(*direction, sources))
                (x,), (y,) = vectors_to_directions(directions_to_vectors(*np.array(direction)[:, None]) @ turn.T)
                azimuth.append(x)
                elevation.append(y)
                place.append(len(sound))
            sound.append(turned(torch.from_numpy(window), order))
        windows = windows_of(torch.stack(sound), torch.tensor(place), np.array(azimuth), np.array(elevation))
        return disturbed(windows, rng, config.colour_db), torch.from_numpy(np.stack(targets))

    def measured(self, index: int) -> tuple[Tensor, npt.NDArray[np.int64]]:
        """Windows of some frames of a scene as it is, and the class (13: nothing) of each."""
        rng = np.random.default_rng([self.config.seed, 6, index])
        sound: list[Tensor] = []
        place, directions, labels = [], [], []
        for frame in range(0, len(self.scenes[index]), _MEASURED_EVERY):
            sources = self.sources(index, frame)
            for direction in self.directions(sources, rng, at_most=len(sources)):
                target = target_of(*direction, sources)
                if (target > 0).sum() == 1:  # of two classes in one direction neither is wrong
                    directions.append(direction)
                    labels.append(int(target.argmax()))
                    place.append(len(sound))
            sound.append(torch.from_numpy(self.scenes[index].window(frame)))
        if not place:
            return torch.zeros(0, N_BEAMS, COLUMNS, N_BANDS), np.zeros(0, np.int64)
        azimuth, elevation = np.array(directions).T
        return windows_of(torch.stack(sound), torch.tensor(place), azimuth, elevation), np.array(labels)


def _sorted(scene: HeardScene) -> HeardScene:
    order = np.argsort(scene.frame, kind="stable")
    return replace(scene, **{name: getattr(scene, name)[order] for name in _KEPT[1:]})


def disturbed(windows: Tensor, rng: np.random.Generator, colour_db: float) -> Tensor:
    """Windows of another microphone and place: coloured, with bands and moments that are not heard, with noise."""
    n = len(windows)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    # one unit is 20 dB
    nodes = torch.randn(n, 1, 9, generator=generator) * (colour_db / 20.0)
    colour = F.interpolate(nodes, size=N_BANDS, mode="linear", align_corners=True)[:, :, None]
    out = windows + colour + 0.1 * torch.randn(n, 1, 1, 1, generator=generator)
    for axis, longest in ((N_BANDS, 10), (COLUMNS, 8)):
        first = torch.randint(0, axis, (n, 1), generator=generator)
        length = torch.randint(2, longest, (n, 1), generator=generator)
        length = torch.where(torch.rand(n, 1, generator=generator) < 0.3, length, 0)
        place = torch.arange(axis)[None]
        hidden = (place >= first) & (place < first + length)
        hidden = hidden[:, None, None, :] if axis == N_BANDS else hidden[:, None, :, None]
        out = out.masked_fill(hidden, -1.5)
    return out + 0.03 * torch.randn(out.shape, generator=generator)


def split(scenes: Sequence[HeardScene], config: WidebandTraining) -> tuple[list[HeardScene], list[HeardScene]]:
    """Scenes that teach, and that measure: one of every ``1 / held_out`` in a row of an origin, drawn by the seed.

    Styles alternate along the rows of scenes, so that one at a fixed place of each ten would always be of one style.
    """
    every = max(2, round(1 / config.held_out))
    taught: list[HeardScene] = []
    held: list[HeardScene] = []
    for number, origin in enumerate(ORIGINS):
        some = [scene for scene in scenes if scene.origin == origin]
        rng = np.random.default_rng([config.seed, 7, number])
        chosen = {first + int(rng.integers(every)) for first in range(0, len(some) - every + 1, every)}
        held += [scene for k, scene in enumerate(some) if k in chosen]
        taught += [scene for k, scene in enumerate(some) if k not in chosen]
    return taught, held


class _Trainer(EpochTrainer[WidebandNetwork]):
    best = None

    def __init__(
        self,
        config: WidebandTraining,
        folder: RunFolder,
        heard: Sequence[HeardScene],
        sounds: RecordedSounds | None,
        device: torch.device,
        lived: Life,
    ) -> None:
        self.config, self.device = config, device
        taught, held = split(heard, config)
        if not any(map(len, taught)):
            raise InputError("no scene or recording is long enough to learn from; 0.1 s are needed.")
        self.drawn, self.held = Drawn(taught, config), Drawn(held, config)
        self.notes = _provenance(config, heard, sounds)
        torch.manual_seed(config.seed % 2**32)
        model = WidebandNetwork(config.model)
        if config.start:
            model.load_state_dict(_started(config).state_dict())
        model.to(device)
        self.half = config.bfloat16 and (device.type == "cuda" or (device.type == "cpu" and processor_has_bfloat16()))
        super().__init__(config, folder, lived, model, per_epoch=config.steps, clip=5.0, prepared=0.3)

    def rate_at(self, step: int) -> float:
        """Up over a tenth of the steps, then down along a cosine."""
        return cosine_rate(self.config.rate, step, self.total, rise=max(self.total // 10, 1))

    def learn(self) -> tuple[Tensor, float]:
        """Logits of what is heard in some frames."""
        windows, targets = self.drawn.batch(np.random.default_rng([self.config.seed, 5, self.step]))
        torch.manual_seed((self.config.seed * 1_000_003 + self.step) % 2**62)  # dropout
        self.model.train()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
            logits = self.model(windows.to(self.device))
        loss = F.cross_entropy(logits.float(), targets.to(self.device), label_smoothing=self.config.smoothing)
        return loss, float(loss.detach())

    def summary(self) -> str:
        """Mean loss of the epoch."""
        return f"loss {self.mean_losses():.3f}"

    @torch.no_grad()
    def measure(self) -> None:
        """What of the held-out directions is heard as what is there, by origin."""
        self.model.eval()
        right: dict[str, list[npt.NDArray[np.bool_]]] = {}
        labels: dict[str, list[npt.NDArray[np.int64]]] = {}
        losses: list[float] = []
        with self.timed():
            for index, scene in enumerate(self.held.scenes):
                windows, label = self.held.measured(index)
                if not len(label):
                    continue
                logits = self.model(windows.to(self.device)).float().cpu()
                losses.append(float(F.cross_entropy(logits, torch.from_numpy(label))))
                right.setdefault(scene.origin, []).append(logits.argmax(dim=1).numpy() == label)
                labels.setdefault(scene.origin, []).append(label)
        recalls = {}
        for origin, parts in right.items():
            hits, of = np.concatenate(parts), np.concatenate(labels[origin])
            recalls[origin] = float(np.mean([hits[of == c].mean() for c in np.unique(of)]))
        recall = float(np.mean(list(recalls.values()))) if recalls else float("nan")
        self.append("train", total=self.mean_losses(), rate=self.rate_at(self.step - 1))
        if recalls:
            self.append("validation", total=float(np.mean(losses)), recall=recall, **recalls)
        # by the loss: probabilities are what a system multiplies, and recalls of rare classes are of few directions;
        # without anything to measure by, the last weights are the best
        loss = float(np.mean(losses)) if recalls else float("nan")
        if not recalls or self.best is None or loss < self.best[0]:
            self.best = (loss, recall)
            figures = {origin: round(value, 4) for origin, value in recalls.items()}
            notes = {"epoch": str(self.epoch + 1), "held_out_recall": json.dumps(figures), **self.notes}
            save_wideband(self.model, self.folder.best, notes=notes, half=True)


def _provenance(
    config: WidebandTraining, heard: Sequence[HeardScene], sounds: RecordedSounds | None
) -> Mapping[str, str]:
    """What the file says of where it comes from."""
    counts = {origin: sum(scene.origin == origin for scene in heard) for origin in ORIGINS}
    files = () if sounds is None else sounds.files
    # DIR/class/package/file: a folder within that of a class is a package
    packages = {Path(name).parts[1] for names in files for name in names if len(Path(name).parts) > 2}
    return {
        "settings": json.dumps(asdict(config)),
        "heard": json.dumps(counts),
        "recorded_files": str(sum(map(len, files))),
        "packages": json.dumps(sorted(packages)),
    }

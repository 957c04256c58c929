"""Acoustic maps of whole recordings: audio in, nine-band energy on the lattice out.

:func:`extract` is the one entry point; :mod:`sai_core.acoustics.store` keeps its results. Three kinds of maps:

``"uplam"``
    Four channels (or the four UpLAM capsules of 32) through UpLAM. Weights: ``weights=``, else the ones that ship with
    the project. What the detectors see.
``"lam32"``
    32 channels through a LAM with given weights (e.g. the published ``lam_32_ch.pth``).
``"beamformer"``
    A plain steered response of all channels there are (4, 32, or FOA); no weights.

Magnitude
---------
Networks are fed normalised matrices, so their maps say where, not how loud. The scale that was divided out of each
frame and band is kept in :attr:`LatticeMaps.level`; ``magnitude="power"`` multiplies the maps by it (a source of half
the amplitude has a quarter of the energy), ``magnitude="amplitude"`` by its square root (half), ``"normalised"``
leaves them as the official code has them.

Speed
-----
Frames are done in batches of twenty per thread: what a batch touches stays in the cache of one core, and threads that
work on different frames scale where threads inside one small convolution do not. Each worker therefore runs torch
single-threaded. On a GPU one worker takes large batches while the main thread reads the file.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from sai_core.acoustics.audio_input import AudioArray, AudioFormat, AudioInput
from sai_core.acoustics.beamformer import first_order_steering, steered_response
from sai_core.acoustics.names import Magnitude
from sai_core.acoustics.networks import LAM, Psd, UpLAM, load_lam32, load_uplam
from sai_core.acoustics.projection import Grid, to_canvas
from sai_core.acoustics.visibility import (
    FEATURE_CENTRES_HZ,
    N_BANDS,
    Normalise,
    Recipe,
    halo_frames,
    visibility_tensors,
)
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import user_path
from sai_core.geometry import (
    FRAME_RATE_HZ,
    N_LATTICE,
    SAMPLES_PER_FRAME,
    em32_capsules_deg,
    fibonacci_lattice_deg,
    uplam_capsules_deg,
)
from sai_core.installation import asset
from sai_core.progress import Progress, no_progress
from sai_core.threads import one_torch_thread, torch_threads

Kind = Literal["uplam", "lam32", "beamformer"]
Steering = Literal["plane_wave", "rigid_sphere"]
AudioSource = str | os.PathLike[str] | npt.ArrayLike
FloatMaps = npt.NDArray[np.floating[Any]]

SHIPPED_UPLAM: Final[Path] = asset("weights", "uplam.safetensors")
"""Weights trained by this project on simulated rooms."""

_CPU_BATCH: Final[int] = 20
"""Frames of one pass through the back-projection on the CPU: an activation is 2.6 MB, near a core's own cache."""

_CPU_BLOCK: Final[int] = 40
"""Frames handed to a worker at a time; short enough that the workers end together on short recordings."""

_GPU_BLOCK: Final[int] = 640
"""Frames of one pass on a GPU."""


@dataclass(frozen=True, eq=False)
class LatticeMaps:
    """Energy on the lattice for every frame and band of a recording.

    Attributes
    ----------
    lattice : float32 or float64, shape (frames, 9, 484)
        Non-negative; Fibonacci order.
    level : float32 or float64, shape (frames, 9)
        Scale that was divided out of each matrix, in mean-square sample values (0 for silence).
    kind : {"uplam", "lam32", "beamformer"}
    magnitude : {"normalised", "amplitude", "power"}
        Whether ``level`` is in the maps.
    options : mapping of str to str
        Everything else that the maps depend on: recipe, normalisation, precision, weights.
    notes : tuple of str
        What was done to the input and which weights were used; sentences for the user.
    frame_rate_hz : float
    directions_deg : float64, shape (484, 2)
        Azimuth and elevation of the points in degrees.
    """

    lattice: FloatMaps
    level: FloatMaps
    kind: Kind
    magnitude: Magnitude = "normalised"
    options: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    frame_rate_hz: float = float(FRAME_RATE_HZ)
    directions_deg: npt.NDArray[np.float64] = field(default_factory=lambda: lattice_directions_deg())

    def __post_init__(self) -> None:
        if self.lattice.ndim != 3 or self.lattice.shape[1:] != (N_BANDS, N_LATTICE):
            raise InputError(
                f"Lattice maps have shape {self.lattice.shape}; expected (frames, {N_BANDS}, {N_LATTICE})."
            )
        if self.level.shape != self.lattice.shape[:2]:
            raise InputError(f"Levels have shape {self.level.shape}; expected {self.lattice.shape[:2]}.")
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.lattice)

    def with_magnitude(self, magnitude: Magnitude) -> LatticeMaps:
        """Return the maps with the level multiplied in, as amplitude or power, or with it taken out again."""
        if magnitude not in get_args(Magnitude):
            known = ", ".join(get_args(Magnitude))
            raise InputError(f"Magnitude '{magnitude}' is not known; choose one of {known}.")
        if magnitude == self.magnitude:
            return self
        power = _EXPONENT[magnitude] - _EXPONENT[self.magnitude]
        # silent frames: level 0, whose maps a network may still fill; with their magnitude they are 0
        safe = np.where(self.level > 0, self.level, 1) if power < 0 else self.level
        factor = (safe**power).astype(self.lattice.dtype)
        return replace(self, lattice=self.lattice * factor[..., None], magnitude=magnitude)

    def canvas(self, first: int = 0, last: int | None = None, *, grid: Grid = "official") -> FloatMaps:
        """Expand frames ``first`` to ``last - 1`` to (frames, 9, 180, 360); see :func:`projection.to_canvas`."""
        return to_canvas(self.lattice[first:last], grid=grid)


_EXPONENT: Final[dict[str, float]] = {"normalised": 0.0, "amplitude": 0.5, "power": 1.0}


def lattice_directions_deg() -> npt.NDArray[np.float64]:
    """Azimuth and elevation of the lattice points, shape (484, 2), degrees, azimuth in [-180, 180)."""
    return np.stack(fibonacci_lattice_deg(), axis=-1)


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """What maps depend on, besides audio and weights.

    Attributes
    ----------
    kind : {"uplam", "lam32", "beamformer"}
    visibility : {"official", "report", "precedence"} or None
        Recipe of :mod:`sai_core.acoustics.visibility`; ``None`` takes the one that the weights were trained with, else
        the official one.
    dtype : {"float32", "float64"}
        Precision of all arithmetic.
    audio_format : {"auto", "mic", "foa", "eigen"}
        See :mod:`sai_core.acoustics.audio_input`.
    steering : {"plane_wave", "rigid_sphere"}
        Beamformer only: LAM's free-space matrix, or the rigid sphere's at each band's centre.
    stored : {"float16", "float32"}
        What the store keeps. Official checkpoints get float32 (``docs/systems.md``, "The same numbers"): they rank a
        hundred close candidates a frame, whose order half precision changes.
    """

    kind: Kind = "uplam"
    visibility: Recipe | None = None
    dtype: Literal["float32", "float64"] = "float32"
    audio_format: AudioFormat = "auto"
    steering: Steering = "plane_wave"
    stored: Literal["float16", "float32"] = "float16"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("kind", get_args(Kind)),
            ("visibility", (*get_args(Recipe), None)),
            ("dtype", ("float32", "float64")),
            ("audio_format", get_args(AudioFormat)),
            ("steering", get_args(Steering)),
            ("stored", ("float16", "float32")),
        ):
            if getattr(self, name) not in allowed:
                known = ", ".join(str(a) for a in allowed if a is not None)
                raise InputError(f"The {name} '{getattr(self, name)}' is not known; choose one of {known}.")


class MapMaker:
    """Weights and constants, loaded once; makes maps of any number of recordings.

    Parameters
    ----------
    options : FeatureOptions
    weights : path, optional
        For ``uplam`` the shipped ones if not given; required for ``lam32``; not allowed for ``beamformer``.
    device : {"auto", "cpu", "cuda"} or a torch device name
        ``"auto"`` is a GPU when torch sees one.

    Raises
    ------
    InputError
        Weights missing, wrong or not wanted.
    EnvironmentProblem
        The device does not exist on this machine.
    """

    def __init__(
        self,
        options: FeatureOptions | None = None,
        *,
        weights: str | os.PathLike[str] | None = None,
        device: str = "auto",
    ) -> None:
        self.options = options if options is not None else FeatureOptions()
        self.device = choose_device(device)
        self.weights = _weights_path(self.options.kind, weights)
        self.dtype = torch.float64 if self.options.dtype == "float64" else torch.float32
        self._model: UpLAM | LAM | None = None
        self.recipe: Recipe = self.options.visibility or "official"
        self.normalise: Normalise = "largest_eigenvalue"
        self._steering: npt.NDArray[np.complex128] | None = None
        self._chunk = _CPU_BLOCK if self.device.type == "cpu" else _GPU_BLOCK
        if self.options.kind == "uplam":
            assert self.weights is not None
            model = load_uplam(self.weights, dtype=self.dtype, device=self.device)
            self.recipe = self.options.visibility or model.config.recipe
            self.normalise = model.config.normalise
            self._model = model
        elif self.options.kind == "lam32":
            assert self.weights is not None
            self._model = load_lam32(self.weights, dtype=self.dtype, device=self.device)

    def describe(self) -> dict[str, str]:
        """Everything that the maps depend on besides audio and the content of the weights file."""
        facts: dict[str, str] = {
            "kind": self.options.kind,
            "visibility": self.recipe,
            "normalise": self.normalise,
            "dtype": self.options.dtype,
        }
        if self.options.kind == "beamformer":
            facts["steering"] = self.options.steering
        if self.options.stored != "float16":
            # left out at the default, so that entries made before it existed are found
            facts["stored"] = self.options.stored
        if self.weights is not None:
            facts["weights"] = self.weights.name
        return facts

    def notes(self) -> tuple[str, ...]:
        """Sentences on which weights are in use."""
        if self.weights is None:
            return ()
        own = isinstance(self._model, UpLAM) and self._model.config.note
        which = "the weights that ship with the project" if self.weights == SHIPPED_UPLAM else str(self.weights)
        return (f"Weights: {which}{f' ({own})' if own else ''}.",)

    def open(self, audio: AudioSource, *, sample_rate_hz: float | None = None) -> AudioInput:
        """Open a recording with the channels that this kind needs.

        Raises
        ------
        InputError
            A file or array that the kind cannot use, first-order ambisonics for a network included.
        """
        channels: Literal[4, 32] | None = {"uplam": 4, "lam32": 32, "beamformer": None}[self.options.kind]
        source = AudioInput(
            audio,
            sample_rate_hz=sample_rate_hz,
            channels=channels,
            audio_format=self.options.audio_format,
            centres_hz=FEATURE_CENTRES_HZ,
        )
        if source.facts.audio_format == "foa" and self.options.kind != "beamformer":
            raise InputError(
                f"{source.facts.name} is first-order ambisonics (FOA), from which the sound at the capsules cannot be "
                "rebuilt; give the MIC recording of the same name (folder mic_dev), or choose the kind beamformer."
            )
        return source

    def maps_of(
        self,
        samples: AudioArray,
        audio_format: AudioFormat = "mic",
        *,
        before: int = 0,
        after: int = 0,
        held: npt.NDArray[np.bool_] | None = None,
    ) -> tuple[FloatMaps, FloatMaps]:
        """Maps of whole frames of 24 kHz audio.

        Parameters
        ----------
        samples : float32, shape (frames * 2400, channels)
        before, after : int
            Frames at the beginning and at the end of ``samples`` that are only heard: recipes that listen around a
            frame need them where the recording goes on, see :func:`~sai_core.acoustics.visibility.halo_frames`.
        held : bool, shape (9,), optional
            Bands that the recording holds (``AudioInput.held``); the others are zero. All if not given.

        Returns
        -------
        lattice : shape (frames - before - after, 9, 484)
        level : shape (frames - before - after, 9)
            Both in the precision of the options.
        """
        total = len(samples) // SAMPLES_PER_FRAME
        frames = max(total - before - after, 0)
        behind, ahead = halo_frames(self.recipe)
        lattice = np.empty((frames, N_BANDS, N_LATTICE), self.options.dtype)
        level = np.empty((frames, N_BANDS), self.options.dtype)
        with torch.inference_mode(), exact_convolutions(self.device):
            for first in range(0, frames, self._chunk):
                piece = slice(first, min(first + self._chunk, frames))
                heard = slice(max(before + first - behind, 0), min(before + piece.stop + ahead, total))
                part = samples[heard.start * SAMPLES_PER_FRAME : heard.stop * SAMPLES_PER_FRAME]
                audio = torch.from_numpy(np.ascontiguousarray(part)).to(self.device, self.dtype)
                seen = slice(before + first - heard.start, before + piece.stop - heard.start)
                values, levels = self._chunk_maps(audio, seen, audio_format, held)
                lattice[piece], level[piece] = values.cpu().numpy(), levels.cpu().numpy()
        return lattice, level

    def _chunk_maps(
        self, audio: torch.Tensor, seen: slice, audio_format: AudioFormat, held: npt.NDArray[np.bool_] | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        matrices, level = visibility_tensors(audio, recipe=self.recipe, normalise=self.normalise, held=held)
        matrices, level = matrices[seen], level[seen]
        if isinstance(self._model, UpLAM):
            # the back-projection's activations want small batches, LAM's 18 MB of constants want large ones
            batch = _CPU_BATCH if self.device.type == "cpu" else len(matrices)
            upsampled = [self._model.upsample(part) for part in matrices.split(batch)]
            psd: Psd = "auto" if self._model.config.positive else "none"
            lattice = self._model.lam(torch.cat(upsampled), packed=True, psd=psd)
        elif self._model is not None:
            # visibilities are sums of outer products: they have no negative part to remove
            lattice = self._model(matrices, psd="none")
        else:
            lattice = steered_response(matrices, self._beamformer_steering(matrices.shape[-1], audio_format))
        if self.normalise == "frame":
            level = level.amax(dim=-1, keepdim=True).expand_as(level)
        elif self.normalise == "none":
            level = torch.ones_like(level)
        if held is not None and not held.all():
            # a network fills an empty matrix with what its constants say
            gone = torch.from_numpy(~held).to(lattice.device)
            lattice, level = lattice.masked_fill(gone[:, None], 0.0), level.masked_fill(gone, 0.0)
        return lattice, level

    def _beamformer_steering(self, channels: int, audio_format: AudioFormat) -> npt.NDArray[np.complex128] | None:
        if audio_format == "foa":
            return first_order_steering()
        if self.options.steering == "plane_wave":
            return None
        from sai_core.acoustics import rigid_sphere

        if self._steering is None or self._steering.shape[1] != channels:
            capsules = uplam_capsules_deg() if channels == 4 else em32_capsules_deg()
            steering = rigid_sphere.steering(*fibonacci_lattice_deg(), FEATURE_CENTRES_HZ, capsules_deg=capsules)
            # unit norm per capsule on average, so that a plane wave's map has its mean square at the capsules
            norm = np.sqrt(np.mean(np.abs(steering) ** 2, axis=1, keepdims=True))
            self._steering = steering / norm
        return self._steering

    def blocks(
        self,
        source: AudioInput,
        *,
        skip: Callable[[int], bool] = lambda first: False,
        threads: int | None = None,
        length: int | None = None,
    ) -> Iterator[tuple[int, tuple[FloatMaps, FloatMaps] | None]]:
        """Yield ``(first frame, (lattice, level))`` block by block, in order.

        Parameters
        ----------
        source : AudioInput
            From :meth:`open`.
        skip : callable
            Told a block's first frame; blocks for which it is true are read (so that the notes on the input are
            complete) but not computed, and come as ``(first frame, None)``.
        threads : int, optional
            Workers on the CPU; as many as torch would use if not given. A GPU has one.
        length : int, optional
            Frames of a block; :meth:`block_frames` of the recording if not given.
        """
        on_cpu = self.device.type == "cpu"
        workers = self._workers(threads)
        if length is None:
            length = self.block_frames(len(source), threads=workers)
        pending: deque[tuple[int, Future[tuple[FloatMaps, FloatMaps]] | None]] = deque()
        with one_torch_thread(on_cpu), ThreadPoolExecutor(workers, thread_name_prefix="features") as pool:
            try:
                for first, samples, before, after in _overlapping(source.blocks(length), *halo_frames(self.recipe)):
                    work = None
                    if not skip(first):
                        work = pool.submit(
                            self.maps_of,
                            samples,
                            source.facts.audio_format,
                            before=before,
                            after=after,
                            held=source.held,
                        )
                    pending.append((first, work))
                    # one more than the workers: the next block is read while they work, no more is held in memory
                    if len(pending) > workers:
                        yield _finished(pending)
                while pending:
                    yield _finished(pending)
            finally:
                for _, future in pending:
                    if future is not None:
                        future.cancel()

    def block_frames(self, n_frames: int, *, threads: int | None = None) -> int:
        """Frames of a block of :meth:`blocks` for a recording of that length: a multiple of ten.

        Short recordings have shorter blocks, so that every worker has one.
        """
        share = -(-n_frames // self._workers(threads))
        return min(self._chunk, max(FRAME_RATE_HZ, -(-share // FRAME_RATE_HZ) * FRAME_RATE_HZ))

    def _workers(self, threads: int | None) -> int:
        if self.device.type != "cpu":
            return 1
        return torch_threads() if threads is None else max(1, threads)


def extract(
    audio: AudioSource,
    *,
    kind: Kind = "uplam",
    weights: str | os.PathLike[str] | None = None,
    visibility: Recipe | None = None,
    dtype: Literal["float32", "float64"] = "float32",
    device: str = "auto",
    magnitude: Magnitude = "normalised",
    audio_format: AudioFormat = "auto",
    steering: Steering = "plane_wave",
    sample_rate_hz: float | None = None,
    threads: int | None = None,
    maker: MapMaker | None = None,
    progress: Progress = no_progress,
) -> LatticeMaps:
    """Make the acoustic maps of a recording, in memory.

    Parameters
    ----------
    audio : path or array_like, shape (samples, channels)
        4 or 32 channels; see :mod:`sai_core.acoustics.audio_input` for every other case.
    kind, visibility, dtype, audio_format, steering
        See :class:`FeatureOptions`.
    weights : path, optional
        See :class:`MapMaker`.
    device : {"auto", "cpu", "cuda"}
    magnitude : {"normalised", "amplitude", "power"}
        See the module's description.
    sample_rate_hz : float, optional
        Of an array; 24000 if not given.
    threads : int, optional
        Workers on the CPU.
    maker : MapMaker, optional
        Already loaded weights; then ``kind``, ``weights``, ``visibility``, ``dtype``, ``audio_format``, ``steering``
        and ``device`` are its own and not read here.
    progress : Progress

    Returns
    -------
    LatticeMaps
        One frame per 100 ms; zero frames for a recording shorter than that.

    Raises
    ------
    InputError
        Audio, weights or options that cannot be used; one sentence says what to do.
    CancelledError
        Raised by ``progress``.
    """
    if magnitude not in get_args(Magnitude):
        raise InputError(f"Magnitude '{magnitude}' is not known; choose one of {', '.join(get_args(Magnitude))}.")
    if maker is None:
        options = FeatureOptions(
            kind=kind, visibility=visibility, dtype=dtype, audio_format=audio_format, steering=steering
        )
        progress(0.0, "opening the weights")
        maker = MapMaker(options, weights=weights, device=device)
    source = maker.open(audio, sample_rate_hz=sample_rate_hz)
    lattice = np.zeros((len(source), N_BANDS, N_LATTICE), np.dtype(maker.options.dtype))
    level = np.zeros((len(source), N_BANDS), lattice.dtype)
    for first, made in maker.blocks(source, threads=threads):
        assert made is not None
        done = first + len(made[0])
        lattice[first:done], level[first:done] = made
        progress(0.99 * done / len(source), f"{source.facts.name}: {done} of {len(source)} frames")
    progress(1.0, f"{source.facts.name}: {len(source)} frames")
    return LatticeMaps(
        lattice=lattice,
        level=level,
        kind=maker.options.kind,
        options=maker.describe(),
        notes=(*maker.notes(), *source.notes()),
    ).with_magnitude(magnitude)


def exact_convolutions(device: torch.device) -> AbstractContextManager[object]:
    """Keep cuDNN from rounding float32 convolutions to TF32 (10 bits), which would cost 1e-3 of the peak."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def choose_device(name: str) -> torch.device:
    """Torch device of ``"auto"``, ``"cpu"``, ``"cuda"`` or any torch name.

    Raises
    ------
    InputError
        Not a device name.
    EnvironmentProblem
        A GPU is asked for where torch sees none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"'{name}' is not a device; choose auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise EnvironmentProblem("torch sees no GPU on this machine; choose the device cpu.")
    return device


def _weights_path(kind: Kind, weights: str | os.PathLike[str] | None) -> Path | None:
    if kind == "beamformer":
        if weights is not None:
            raise InputError("The beamformer has no weights; leave them out or choose the kind uplam or lam32.")
        return None
    if weights is not None:
        return user_path(weights, what="weights")
    if kind == "lam32":
        raise InputError("The kind lam32 needs weights: give the published lam_32_ch.pth (--weights FILE).")
    if not SHIPPED_UPLAM.is_file():
        raise InputError(
            f"There are no UpLAM weights at {SHIPPED_UPLAM}; give the official UpLAM.pth (--weights FILE), or choose "
            "the kind beamformer, which needs none."
        )
    return SHIPPED_UPLAM


def _overlapping(
    blocks: Iterator[tuple[int, AudioArray]], behind: int, ahead: int
) -> Iterator[tuple[int, AudioArray, int, int]]:
    """Join the frames around it to each block; yield its first frame, the samples and how many frames were joined.

    Every block but the last must hold at least ``ahead`` frames: what is ahead is taken from the next block alone.
    """
    if behind == ahead == 0:
        for first, samples in blocks:
            yield first, samples, 0, 0
        return
    past: AudioArray | None = None
    current = next(blocks, None)
    while current is not None:
        following = next(blocks, None)
        first, samples = current
        before = np.zeros((0, samples.shape[1]), samples.dtype) if past is None else past
        after = samples[:0] if following is None else following[1][: ahead * SAMPLES_PER_FRAME]
        yield (
            first,
            np.concatenate([before, samples, after]),
            len(before) // SAMPLES_PER_FRAME,
            len(after) // SAMPLES_PER_FRAME,
        )
        past = np.concatenate([before, samples])[-behind * SAMPLES_PER_FRAME :]
        current = following


def _finished(
    pending: deque[tuple[int, Future[tuple[FloatMaps, FloatMaps]] | None]],
) -> tuple[int, tuple[FloatMaps, FloatMaps] | None]:
    first, future = pending.popleft()
    return first, None if future is None else future.result()

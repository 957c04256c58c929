"""One pass over a recording: stored features and video in, stored raw detections out.

While the network works on a block of frames, a thread prepares the next one: it expands the stored lattice maps to
the canvas and decodes the video. Blocks are written as they finish (:mod:`sai_core.detections.raw`), so that a kill
costs at most one block.

What a result depends on, and so what its key is made of: the checkpoint's content, the network's options, the feature
entry (audio content, weights content, feature options), the input options below, the content of the weights of a field
decoder and of a wideband listener where they are given, and the video's content (of a folder of frames: names, sizes
and times of its files).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sai_core.acoustics.audio_input import AudioInput
from sai_core.acoustics.features import Magnitude, MapMaker
from sai_core.acoustics.projection import Grid, to_canvas
from sai_core.acoustics.store import FeatureStore, StoredMaps
from sai_core.dataset import FrameSource, Recording, open_frames, pictures_key
from sai_core.dataset.sound_file import HELD_SHARE, look_at_sound
from sai_core.detections.raw import RawColumns, RawDetections, RawWriter, joined, open_raw, store_folder, store_key
from sai_core.detector.field import FieldNetwork
from sai_core.detector.field_head import HeardFrames
from sai_core.detector.spectrum import SoundContext
from sai_core.detector.wideband import WidebandNetwork
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.geometry import SAMPLE_RATE_HZ
from sai_core.inference.networks import Network, run_in_batches
from sai_core.postprocess.facts import centre_directions
from sai_core.progress import Progress, no_progress
from sai_core.threads import ReadAhead

_BLOCK_FRAMES: Final[int] = 32
"""Frames of a stored block: 3.2 s, 75 MB of input on the canvas; what a kill can cost."""

_READ_AHEAD: Final[int] = 1
"""Prepared blocks that wait for the network: one keeps it busy, more only hold memory."""


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """How stored lattice maps become a network's input.

    Attributes
    ----------
    magnitude : {"normalised", "amplitude", "power"}
        Whether a quiet source looks quiet; official checkpoints were trained with ``normalised``.
    grid : {"official", "great_circle", "label"}
        Projection to the canvas.
    smooth_frames : int
        Maps are averaged over so many frames before and after (:meth:`StoredMaps.lattice`).
    batch : int
        Frames of one forward pass; changes speed and memory, not results.
    """

    magnitude: Magnitude = "normalised"
    grid: Grid = "official"
    smooth_frames: int = 0
    batch: int = 4


@dataclass(frozen=True)
class _Block:
    """Input of some frames, in memory that the network's device can take it from, and their field if one is wanted.

    ``acoustic`` is on the canvas already for a network on the CPU; for one on a GPU it is still on the lattice, a
    134th of that, and is expanded there. ``power`` holds the block's frames with ``context`` more on either side,
    ``heard`` what a network with a field of its own heard in them, ``field`` what a field decoder beside it says.
    """

    first: int
    acoustic: Tensor
    rgb: Tensor | None
    power: Tensor | None
    heard: Tensor | None
    field: npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class FieldDecoder:
    """A field decoder for a recording's raw detections.

    Attributes
    ----------
    network : FieldNetwork
    content : str
        Hash of its weights file.
    """

    network: FieldNetwork
    content: str


@dataclass(frozen=True)
class WidebandListener:
    """A wideband listener for a recording's raw detections.

    Attributes
    ----------
    network : WidebandNetwork
    content : str
        Hash of its weights file.
    """

    network: WidebandNetwork
    content: str


def predict_recording(
    recording: Recording,
    network: Network,
    *,
    checkpoint_hash: str,
    out: Path,
    maker: MapMaker,
    features: FeatureStore | None = None,
    options: InputOptions | None = None,
    field: FieldDecoder | None = None,
    wideband: WidebandListener | None = None,
    progress: Progress = no_progress,
) -> RawDetections:
    """Raw detections of a recording: opened if they are there, else computed, going on where a killed run stopped.

    Parameters
    ----------
    recording : Recording
        Needs 4-channel (or Eigenmike) audio, and video for a network that sees.
    network : Network
        From :func:`sai_core.inference.networks.open_network`.
    checkpoint_hash : str
        Of the checkpoint's content.
    out : Path
        Folder of the stores.
    maker : MapMaker
        Loaded acoustic weights.
    features : FeatureStore, optional
        The default store when left out.
    options : InputOptions, optional
    field : FieldDecoder, optional
        Gives the column ``field``, for regions that label code forms.
    wideband : WidebandListener, optional
        Gives the column ``wideband``, for classes by what sounds in a candidate's direction.
    progress : Progress
        Told frames a second and what is left; raising ``CancelledError`` keeps finished blocks.

    Returns
    -------
    RawDetections

    Raises
    ------
    InputError
        The recording lacks what the network needs, or a file of it cannot be read.
    EnvironmentProblem
        The store cannot be written; memory does not suffice for a single frame.
    """
    options = options or InputOptions()
    if recording.array_path is None:
        raise InputError(f"{recording.name}: there is no 4-channel audio (mic_dev) to predict from.")
    maps = (features or FeatureStore()).open_or_make(
        recording.array_path,
        maker=maker,
        progress=lambda fraction, message: progress(0.2 * fraction, f"features: {message}"),
    )
    parts = {
        "checkpoint": checkpoint_hash,
        "features": maps.key,
        "magnitude": options.magnitude,
        "grid": options.grid,
        # left out where it is off, so that stores made before it existed are found
        **({"smooth_frames": str(options.smooth_frames)} if options.smooth_frames else {}),
        **({} if field is None else {"field": field.content}),
        **({} if wideband is None else {"wideband": wideband.content}),
        **network.describe(),
    }
    notes = [note for note in maps.notes if note not in maker.notes()]
    heard = " ".join([*notes, *_listener_notes(recording, wideband)])
    video: FrameSource | None = None
    if network.needs_rgb:
        video = open_frames(recording)
        if video is None:
            raise InputError(f"{recording.name}: this network needs video, and there is none (video_dev).")
        parts["video"] = str(pictures_key(recording))
    try:
        key = store_key(parts)
        folder = store_folder(out, recording.name, key)
        finished = open_raw(folder, key=key)
        if finished is not None and finished.n_frames == len(maps):
            progress(1.0, f"{recording.name}: already there")
            return finished
        writer = RawWriter(
            folder, recording=recording.name, key=key, n_frames=len(maps), notes={**parts, "audio": heard}
        )
        ears = _Ears.of(recording.array_path, network.field_network, field, wideband)
        _fill(writer, maps, video, network, options, ears, progress)
        return writer.finish()
    finally:
        if video is not None:
            video.close()


def _listener_notes(recording: Recording, wideband: WidebandListener | None) -> tuple[str, ...]:
    """What a wideband listener cannot hear of a recording, in a sentence; none without a listener."""
    if wideband is None or recording.array_path is None:
        return ()
    rate = look_at_sound(recording.array_path).sample_rate_hz
    if rate >= SAMPLE_RATE_HZ:
        return ()
    return (f"Classes are heard without what is above {HELD_SHARE * rate / 2:.0f} Hz, which the file does not hold.",)


@dataclass(frozen=True, eq=False)
class _Ears:
    """What is heard of frames ``first`` to ``last - 1``.

    By field decoders (the network's own, one beside it), and by a wideband listener in the directions of candidates.
    Blocks ahead are prepared in a thread while candidates of the present one are listened to: the listener has a
    reader of its own.
    """

    source: AudioInput
    own: FieldNetwork | None
    beside: FieldDecoder | None
    wideband: WidebandListener | None
    present: AudioInput | None

    @classmethod
    def of(
        cls, path: Path, own: FieldNetwork | None, beside: FieldDecoder | None, wideband: WidebandListener | None
    ) -> _Ears:
        present = None if wideband is None else AudioInput(path, channels=4)
        return cls(AudioInput(path, channels=4), own, beside, wideband, present)

    def hidden(self, first: int, last: int) -> Tensor | None:
        return None if self.own is None else self.own.hidden_of_frames(self.source, first, last)

    def field(self, first: int, last: int) -> npt.NDArray[np.float32] | None:
        return None if self.beside is None else self.beside.network.of_frames(self.source, first, last)

    def classes(self, first: int, last: int, columns: Mapping[str, npt.NDArray]) -> dict[str, npt.NDArray[np.floating]]:
        """The column ``wideband`` of candidates, where there is a listener."""
        if self.wideband is None or self.present is None:
            return {}
        azimuth, elevation = centre_directions(columns["boxes_xyxy"])
        heard = self.wideband.network.of_frames(self.present, first, last, columns["frame"], azimuth, elevation)
        return {"wideband": heard}


def _fill(
    writer: RawWriter,
    maps: StoredMaps,
    video: FrameSource | None,
    network: Network,
    options: InputOptions,
    ears: _Ears,
    progress: Progress,
) -> None:
    start = writer.next_frame()
    batch = options.batch
    began = time.perf_counter()

    def tell(done: int) -> None:
        rate = (done - start) / max(time.perf_counter() - began, 1e-9)
        left = (writer.n_frames - done) / rate
        progress(
            0.2 + 0.8 * done / writer.n_frames,
            f"{writer.recording}: {done} of {writer.n_frames} frames, {rate:.1f} frames/s, {left:.0f} s to go",
        )

    for block in _prepared(maps, video, start, network, options, ears):
        try:
            outputs, batch = _forward(network, block, options, batch, tell)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise EnvironmentProblem(
                f"{writer.recording}: not even one frame fits into the memory of {network.device}; "
                "use another device or a smaller network."
            ) from error
        columns = joined(outputs, first=block.first)
        if block.field is not None:
            columns["field"] = block.field
        columns.update(ears.classes(block.first, block.first + len(outputs), columns))
        writer.write(block.first, columns)
        tell(block.first + len(outputs))


def _forward(
    network: Network, block: _Block, options: InputOptions, batch: int, tell: Callable[[int], None]
) -> tuple[list[RawColumns], int]:
    def after(done: int) -> None:
        # the end of a block is told when it is written: whoever stops the run there must not lose it
        if done < len(block.acoustic):
            tell(block.first + done)

    with torch.inference_mode():
        acoustic = block.acoustic.to(network.device, non_blocking=True)
        if acoustic.ndim == 3:
            acoustic = to_canvas(acoustic, grid=options.grid)
        rgb = None
        if block.rgb is not None:
            rgb = block.rgb.to(network.device, non_blocking=True).permute(0, 3, 1, 2).float() / 255.0
        context = None
        if block.power is not None:
            power = block.power.to(network.device, non_blocking=True)
            # frames in a row share all but one frame of their context; windows are views of one array
            windows = power.unfold(0, 2 * network.context_frames + 1, 1).permute(0, 3, 1, 2)
            context = SoundContext.of(windows)
        heard = None if block.heard is None else HeardFrames(block.heard)
        return run_in_batches(network.run, acoustic, rgb, context, heard, batch=batch, after=after)


def _prepared(
    maps: StoredMaps,
    video: FrameSource | None,
    start: int,
    network: Network,
    options: InputOptions,
    ears: _Ears,
) -> Iterator[_Block]:
    """Blocks from frame ``start`` on, made by a thread while the caller works on the one before."""
    on_gpu = network.device.type == "cuda"

    def tensor(values: npt.NDArray) -> Tensor:
        held = torch.from_numpy(np.ascontiguousarray(values))
        return held.pin_memory() if on_gpu else held

    def block(first: int, last: int) -> _Block:
        if on_gpu:
            acoustic = maps.lattice(first, last, magnitude=options.magnitude, smooth_frames=options.smooth_frames)
        else:
            acoustic = maps.canvas(
                first, last, magnitude=options.magnitude, grid=options.grid, smooth_frames=options.smooth_frames
            )
        power = None
        if network.context_frames:
            around = np.arange(first - network.context_frames, last + network.context_frames)
            around = around.clip(0, len(maps) - 1)
            power = maps.lattice(int(around[0]), int(around[-1]) + 1, magnitude="power")[around - around[0]]
        return _Block(
            first,
            tensor(np.asarray(acoustic, dtype=np.float32)),
            None if video is None else tensor(video.frames(first, last)),
            None if power is None else tensor(power),
            ears.hidden(first, last),
            ears.field(first, last),
        )

    def blocks() -> Iterator[_Block]:
        frames = max(_BLOCK_FRAMES, options.batch)
        for first in range(start, len(maps), frames):
            yield block(first, min(first + frames, len(maps)))

    with ReadAhead(blocks(), _READ_AHEAD, name="prepare") as ahead:
        yield from ahead

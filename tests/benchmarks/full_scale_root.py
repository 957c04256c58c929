"""A data root as large as the development test set, tiled from the demo: what ``full_scale.py`` measures on.

Everything is taken from the four demo recordings, in whole seconds of a plan that one seed decides: which clip, which
of two turns, from which frame on. The turns are those that picture, labels and the four microphones can take without
computing anything: none, and half a circle (columns roll by 180, capsules change places in pairs). A recording has
layers, each a row of clips; the first gives the picture, all of them labels, predictions and sound, so that labels get
as dense as wanted. Text of regions is made once a clip and turn, and files are put together from it, so that making
gigabytes costs little more than writing them.

Layout, names and splits are the official ones. A root is made file by file, each whole or absent: started again, the
making goes on where it was.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
import soundfile

from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.annotations.writing import number_text, numbers_text, write_pieces
from sai_core.dataset import demo_root, open_data_root
from sai_core.errors import InputError
from sai_core.files import atomic_write
from sai_core.geometry import ERP_WIDTH

FRAME: Final[int] = 2400
"""Samples of one label frame."""
TURNED_CAPSULES: Final[tuple[int, ...]] = (2, 3, 0, 1)
"""Capsules 6, 10, 26, 22 after half a turn of the scene."""
PICTURE_RATE: Final = Fraction(30000, 1001)
SIZE_WH: Final[tuple[int, int]] = (1920, 960)
SYSTEMS: Final[dict[str, tuple[str, float, int]]] = {
    "fao": ("track-A", 21.1, 20),
    "or-ao": ("track-B", 15.6, 20),
    "wide": ("track-A", 21.1, 50),
}
"""Prediction sets: which of the demo's, detections a second (FAO made 265,000 on the real set), points of each."""
NEW_SYSTEM: Final[str] = "new"
"""FAO's detections, moved: what a second evaluation scores. Not in the root, so that no page looks for it."""
DENSE_SYSTEM: Final[str] = "a-dense"
"""Labels as predictions: every pixel of them, first in the alphabet."""


@dataclass(frozen=True)
class Size:
    """How large a root is.

    Attributes
    ----------
    name : str
    recordings : tuple of int
        Of each split: dev-test-sony, dev-test-tau.
    shortest_s, longest_s, total_s : float
        Lengths.
    layers, layers_of_longest : int
        Rows of clips that lie over each other.
    dense : int
        Recordings, the longest first, that the dense system predicts.
    many : int
        Recordings of two seconds in the second root.
    picture_scale : int
        Divides 1920x960.
    """

    name: str
    recordings: tuple[int, int]
    shortest_s: float
    longest_s: float
    total_s: float
    layers: int
    layers_of_longest: int
    dense: int
    many: int
    picture_scale: int = 1


FULL: Final = Size("full", (30, 48), 30, 540, 12_600, 2, 3, 4, 1000)
QUARTER: Final = Size("quarter", (30, 48), 7.5, 135, 3_150, 2, 3, 4, 1000)
"""The same recordings, each a quarter as long: for machines with other work on them."""
ONE: Final = Size("one", (1, 1), 30, 540, 570, 2, 3, 1, 78)
"""The recording with the largest label, and the shortest; as many small ones as the development test set has."""
SMALL: Final = Size("small", (1, 2), 2, 5, 10, 1, 2, 1, 12, 8)

_ROOMS: Final[dict[str, tuple[int, ...]]] = {"dev-test-sony": (23, 24), "dev-test-tau": (2, 8, 10, 15, 16)}


@dataclass(frozen=True)
class Piece:
    """Frames ``first`` to ``first + n`` of a clip, turned or not, placed at frame ``at``."""

    clip: int
    turned: bool
    first: int
    n: int
    at: int


@dataclass(frozen=True)
class Plan:
    """One recording: its name, and what it is made of."""

    name: str
    split: str
    n_frames: int
    layers: tuple[tuple[Piece, ...], ...]


@lru_cache(maxsize=1)
def _clips() -> tuple[tuple[str, int], ...]:
    """Demo recordings and their lengths in frames."""
    found = []
    for recording in open_data_root(demo_root()).recordings:
        assert recording.mic_path is not None
        found.append((recording.name, soundfile.info(recording.mic_path).frames // FRAME))
    return tuple(found)


def plans(size: Size, seed: int) -> list[Plan]:
    """What the recordings of a root are made of, the longest first."""
    rng = np.random.default_rng(seed)
    n = sum(size.recordings)
    seconds = _lengths(rng, n, size)
    names = _names(size.recordings)
    out = []
    for k, place in enumerate(rng.permutation(n).tolist()):
        split, name = names[place]
        n_frames = round(10 * seconds[k])
        layers = size.layers_of_longest if k == 0 else size.layers
        out.append(Plan(name, split, n_frames, tuple(_layer(rng, n_frames, shifted=j > 0) for j in range(layers))))
    return out


def _lengths(rng: np.random.Generator, n: int, size: Size) -> list[float]:
    """Lengths with the sum wanted, the longest first; one is as long as allowed."""
    drawn = np.sort(rng.lognormal(0, 0.8, n - 1))[::-1]
    low, high = 0.0, 1e9
    for _ in range(100):  # the scale at which the clipped lengths have the sum
        scale = (low + high) / 2
        lengths = np.clip(drawn * scale, size.shortest_s, size.longest_s)
        low, high = (scale, high) if lengths.sum() < size.total_s - size.longest_s else (low, scale)
    return [size.longest_s, *np.round(lengths, 1).tolist()]


def _names(recordings: tuple[int, int]) -> list[tuple[str, str]]:
    out = []
    for n, (split, rooms) in zip(recordings, _ROOMS.items(), strict=True):
        for k in range(n):
            mix, room = divmod(k, len(rooms))
            out.append((split, f"fold4_room{rooms[room]}_mix{mix + 1:03d}"))
    return out


def _layer(rng: np.random.Generator, n_frames: int, *, shifted: bool) -> tuple[Piece, ...]:
    pieces, at = [], 0
    while at < n_frames:
        clip = int(rng.integers(len(_clips())))
        length = _clips()[clip][1]
        # the first layer's pictures are copied from their first, a key frame
        first = int(rng.integers(length // 2)) if shifted else 0
        n = min(length - first, n_frames - at)
        pieces.append(Piece(clip, bool(rng.integers(2)), first, n, at))
        at += n
    return tuple(pieces)


@dataclass(frozen=True)
class _Texts:
    """Regions of a table as text, turned, and what stands around them."""

    table: AnnotationTable
    turned: bool

    @lru_cache(maxsize=100_000)  # noqa: B019 - there are 24 of these for the whole run
    def region(self, index: int, points: int, move: float) -> bytes:
        """JSON of a segmentation.

        Parameters
        ----------
        index : int
        points : int
            The strongest so many; 0 for all.
        move : float
            Columns to move by, beside the turn.
        """
        shift = ERP_WIDTH / 2 * self.turned + move
        parts = []
        for xy, energy in self.table.polygons(index):
            if points:
                keep = np.sort(np.argsort(-energy, kind="stable")[:points])
                xy, energy = xy[keep], energy[keep]
            x = np.round(xy[:, 0] + shift, 4)
            for behind in (False, True):  # what crosses the seam becomes a part of its own, as in the released files
                here = (x >= ERP_WIDTH) == behind
                if here.any():
                    rows = np.stack([x[here] - ERP_WIDTH * behind, xy[here, 1], energy[here]], axis=1)
                    parts.append(rows.tolist())
        return numbers_text(parts)


@cache
def _texts(source: str, clip: int, turned: bool) -> _Texts:
    root, name = open_data_root(demo_root()), _clips()[clip][0]
    if source == "labels":
        path = root.recording(name).label_path
    else:
        path = next(s for s in root.prediction_sets if s.name == source).files[name]
    assert path is not None
    return _Texts(read_annotations(path, use_cache=False), turned)


def _annotations(
    plan: Plan, source: str, *, keep: float = 1.0, points: int = 0, scores: bool = False, move: float = 0.0
) -> Iterator[bytes]:
    """A document's pieces, in the order of frames."""
    rng = np.random.default_rng([len(source), plan.n_frames, points])
    rows: list[tuple[int, int, int, Piece]] = []
    for number, layer in enumerate(plan.layers):
        for piece in layer:
            table = _texts(source, piece.clip, piece.turned).table
            inside = np.flatnonzero((table.frame >= piece.first) & (table.frame < piece.first + piece.n))
            inside = inside[rng.random(len(inside)) < keep]
            rows += [(int(table.frame[i]) - piece.first + piece.at, number, int(i), piece) for i in inside]
    rows.sort(key=lambda row: row[:3])
    lead = b'{"annotations":['
    for frame, number, index, piece in rows:
        texts = _texts(source, piece.clip, piece.turned)
        table = texts.table
        instance = int(table.instance_id[index]) + 100 * number
        head = b'%s{"metadata_frame_index":%d,"instance_id":%d,"category_id":%d,"distance":%s'
        text = head % (lead, frame, instance, table.category_id[index], number_text(float(table.distance_cm[index])))
        if scores:
            score = table.score[index]
            text += b',"score":' + number_text(float(rng.uniform(0.2, 1) if math.isnan(score) else score))
        yield text + b',"segmentation":' + texts.region(index, points, move) + b"}"
        lead = b","
    yield b"]}" if rows else b'{"annotations":[]}'


def _density(plan: Plan, source: str) -> float:
    """Annotations a second of a recording's layers together."""
    tables = [(_texts(source, p.clip, p.turned).table, p) for layer in plan.layers for p in layer]
    n = sum(int(((t.frame >= p.first) & (t.frame < p.first + p.n)).sum()) for t, p in tables)
    return n / (plan.n_frames / 10)


def _predictions(plan: Plan, system: str) -> Iterator[bytes]:
    if system == DENSE_SYSTEM:
        return _annotations(plan, "labels", scores=True)
    source, rate, points = SYSTEMS["fao" if system == NEW_SYSTEM else system]
    keep = min(rate / max(_density(plan, source), 1e-9), 1.0)
    return _annotations(plan, source, keep=keep, points=points, scores=True, move=2.5 if system == NEW_SYSTEM else 0.0)


def _sound(plan: Plan) -> Iterator[npt.NDArray[np.int16]]:
    """Sound a few seconds at a time: the layers' mean."""
    root = open_data_root(demo_root())
    clips = {}
    for k, (name, _) in enumerate(_clips()):
        path = root.recording(name).mic_path
        assert path is not None
        clips[k] = soundfile.read(path, dtype="int16")[0]
    for start in range(0, plan.n_frames, 100):
        stop = min(start + 100, plan.n_frames)
        total = np.zeros(((stop - start) * FRAME, 4), np.int32)
        for layer in plan.layers:
            for piece in layer:
                first, last = max(piece.at, start), min(piece.at + piece.n, stop)
                if first >= last:
                    continue
                begin = (first - piece.at + piece.first) * FRAME
                samples = clips[piece.clip][begin : begin + (last - first) * FRAME]
                target = total[(first - start) * FRAME : (first - start) * FRAME + len(samples)]
                target += samples[:, TURNED_CAPSULES] if piece.turned else samples
        yield (total // len(plan.layers)).astype(np.int16)


def _write_sound(plan: Plan, path: Path) -> None:
    with (
        atomic_write(path) as stream,
        soundfile.SoundFile(stream, "w", samplerate=24_000, channels=4, subtype="PCM_16", format="WAV") as out,
    ):
        for block in _sound(plan):
            out.write(block)


def _write_metadata(plan: Plan, path: Path) -> None:
    """DCASE rows of the layers; half a turn is an azimuth."""
    root, rows = open_data_root(demo_root()), []
    for number, layer in enumerate(plan.layers):
        for piece in layer:
            source = root.recording(_clips()[piece.clip][0]).metadata_path
            assert source is not None
            for line in source.read_text().splitlines()[1:]:
                values = [float(v) for v in line.split(",")]
                if piece.first <= values[0] < piece.first + piece.n:
                    azimuth = (values[3] + 180 * piece.turned + 180) % 360 - 180
                    frame = int(values[0]) - piece.first + piece.at
                    rows.append(
                        (frame, int(values[1]), int(values[2]) + 100 * number, round(azimuth), *map(round, values[4:]))
                    )
    head = "frame,class,source,azimuth,elevation,distance\n"
    with atomic_write(path, "w") as stream:
        stream.write(head + "".join(",".join(map(str, row)) + "\n" for row in sorted(rows)))


def _write_clip(clip: int, turned: bool, n_frames: int, path: Path, scale: int) -> None:
    """One clip's pictures at full size with grain, so that they cost what a camera's cost; a key frame every 250."""
    video = open_data_root(demo_root()).recording(_clips()[clip][0]).video_path
    assert video is not None
    width, height = (side // scale for side in SIZE_WH)
    grain = np.random.default_rng(clip).integers(0, 7, (4, height, width), dtype=np.uint8)
    with atomic_write(path) as stream, av.open(str(video)) as source, av.open(stream, "w", format="mp4") as out:
        target: Any = out.add_stream("libx264", rate=PICTURE_RATE)
        target.width, target.height, target.pix_fmt = width, height, "yuv420p"
        target.codec_context.thread_count = 1
        target.options = {
            "preset": "superfast",
            "crf": "31",
            "threads": "1",
            "x264-params": "keyint=250:scenecut=0:bframes=3",
        }
        for k, picture in enumerate(source.decode(video=0)):
            if k >= PICTURE_RATE * n_frames / 10:
                break
            planes = picture.reformat(width=width, height=height, format="yuv420p").to_ndarray()
            luma, colour = planes[:height], planes[height:].reshape(2, height // 2, width // 2)
            if turned:
                luma, colour = np.roll(luma, width // 2, axis=1), np.roll(colour, width // 4, axis=2)
            planes = np.concatenate([np.minimum(luma, 248) + grain[k % 4], colour.reshape(-1, width)])
            out.mux(target.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        out.mux(target.encode(None))


def _write_video(plan: Plan, path: Path, parts: Path) -> None:
    """The first layer's clips one behind the other, copied without coding anything anew."""
    with atomic_write(path) as stream, av.open(stream, "w", format="mp4") as out:
        target: Any = None
        for piece in plan.layers[0]:
            with av.open(str(parts / f"clip_{piece.clip}_{int(piece.turned)}.mp4")) as source:
                if target is None:
                    target = out.add_stream_from_template(source.streams.video[0])
                base = source.streams.video[0].time_base
                assert base is not None
                offset, end = round(piece.at / 10 / base), round(piece.n / 10 / base)
                for packet in source.demux(video=0):
                    if packet.dts is None or packet.pts is None or packet.pts >= end:
                        continue
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    packet.stream = target
                    out.mux(packet)


def make(folder: Path, size: Size, *, seed: int = 0, progress: Callable[[str], object] = print) -> None:
    """Make what is missing in ``folder``: ``root`` (78 recordings), ``many`` (1,000 small ones), ``new`` (predictions).

    Raises
    ------
    InputError
        The folder holds a root of another size or seed, or files of somebody else.
    """
    facts = {"made_by": "tests.benchmarks.full_scale", "seed": seed, **asdict(size)}
    mark = folder / "made.json"
    if mark.exists():
        if json.loads(mark.read_text()) != json.loads(json.dumps(facts)):
            raise InputError(f"{folder}: holds a root of another size or seed; give another folder.")
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: holds other files; give an empty folder, or one that does not exist.")
    else:
        with atomic_write(mark, "w") as stream:
            stream.write(json.dumps(facts))
    large = plans(size, seed)
    needed = 2e6 * size.total_s  # text, sound and video of a second
    if not (folder / "root").exists() and (free := shutil.disk_usage(folder).free) < needed:
        raise InputError(f"{folder}: has {free / 1e9:.0f} GB free, and {needed / 1e9:.0f} GB are needed; make room.")
    for number, plan in enumerate(large):
        systems = [*SYSTEMS, DENSE_SYSTEM] if number < size.dense else [*SYSTEMS]
        new = folder / NEW_SYSTEM / f"{plan.name}.json"
        made = _make_recording(plan, folder / "root", systems)
        if not new.exists():
            write_pieces(_predictions(plan, NEW_SYSTEM), new)
        if made:
            progress(f"{number + 1} of {len(large)}: {plan.name}")
    small = _many(size, seed)
    for number, plan in enumerate(small):
        if _make_recording(plan, folder / "many", ["fao"]) and (number + 1) % 100 == 0:
            progress(f"{number + 1} of {len(small)} small ones")
    longest: dict[tuple[int, bool], int] = {}
    for piece in (piece for plan in large for piece in plan.layers[0]):
        key = (piece.clip, piece.turned)
        longest[key] = max(longest.get(key, 0), piece.n)
    for (clip, turned), n_frames in sorted(longest.items()):
        path = folder / "parts" / f"clip_{clip}_{int(turned)}.mp4"
        if not path.exists():
            _write_clip(clip, turned, n_frames, path, size.picture_scale)
            progress(f"pictures of clip {clip}, {'turned' if turned else 'as they are'}")
    for number, plan in enumerate(large):
        path = folder / "root" / "video_dev" / plan.split / f"{plan.name}.mp4"
        if not path.exists():
            _write_video(plan, path, folder / "parts")
            progress(f"{number + 1} of {len(large)} videos: {plan.name}")


def _make_recording(plan: Plan, root: Path, systems: list[str]) -> bool:
    """All but the video; whether anything was missing."""
    made = False
    files: dict[Path, Callable[[Path], None]] = {
        root / "labels_dev" / plan.split / f"{plan.name}_std.json": lambda path: write_pieces(
            _annotations(plan, "labels"), path
        ),
        root / "metadata_dev" / plan.split / f"{plan.name}.csv": lambda path: _write_metadata(plan, path),
        root / "mic_dev" / plan.split / f"{plan.name}.wav": lambda path: _write_sound(plan, path),
    }
    for path, write in files.items():
        if not path.exists():
            made = True
            write(path)
    for system in systems:
        path = root / "predictions" / system / f"{plan.name}.json"
        if not path.exists():
            made = True
            write_pieces(_predictions(plan, system), path)
    return made


def _many(size: Size, seed: int) -> list[Plan]:
    """Recordings of two seconds; a hundred a room."""
    rng = np.random.default_rng([seed, 1])
    out = []
    for k in range(size.many):
        room, mix = divmod(k, 100)
        split = list(_ROOMS)[room % 2]
        out.append(Plan(f"fold4_room{room + 1}_mix{mix + 1:03d}", split, 20, (_layer(rng, 20, shifted=True),)))
    return out

"""One video file, decoded forward from any place, every picture with the label frame that it begins at.

Times are the container's own, counted from its start (the earliest of its sound and its pictures), so that pictures
that begin later than the sound stay late. A picture at ``t`` s begins at label frame ``round(10 t)``, halves upwards,
and is shown until another one begins: the rule of FFmpeg's ``fps=10`` filter, in whole numbers of the stream's own
clock. Everything is decoded by PyAV, whose FFmpeg knows more codecs than OpenCV's and tells when it cannot convert.
"""

from __future__ import annotations

import bisect
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import av.filter
import av.logging
import cv2
import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError
from sai_core.geometry import FRAME_RATE_HZ

Picture = npt.NDArray[np.uint8]

MAX_PIXELS: Final[int] = 80_000_000
"""Largest picture that is decoded (12,288 x 6,144 are 75 million pixels): several of them are in memory at a time."""

LONGEST_FRAMES: Final[int] = 86_400 * FRAME_RATE_HZ
"""Label frames of a day. A file that claims more is damaged; believing it would ask for lists of millions."""

_BIG_PICTURE: Final[int] = 16_000_000
"""Pixels above which one thread decodes: each thread holds pictures of its own."""

_FORMATS: Final[str] = ",".join(
    (
        *(
            "mov,mp4,m4a,3gp,3g2,mj2",
            "matroska,webm",
            "avi",
            "mpegts",
            "mpeg",
            "mpegvideo",
            "h264",
            "hevc",
            "vvc",
            "av1",
        ),
        *("obu", "ivf", "flv", "asf", "ogg", "m4v", "mjpeg", "h261", "h263", "vc1", "dv", "mxf", "nut", "rm", "wtv"),
        *("gif", "yuv4mpegpipe", "cavsvideo", "dirac", "dnxhd", "gxf", "lvf", "swf", "vob", "avs2", "avs3"),
    )
)
"""Containers that hold pictures themselves; playlists, which make FFmpeg open other files, are not among them."""

_TRUE_STAMPS: Final[frozenset[str]] = frozenset(("mov", "matroska", "mpegts", "flv"))
"""Containers that store when a picture is shown; of the others FFmpeg guesses while it decodes."""

_COUNTED: Final[frozenset[str]] = frozenset(("avi", "asf", "ogg", "mxf", "nut", "dv", "ivf"))
"""Containers whose index tells the time of every picture, so that it is the same behind a seek. Of the others (bare
streams, MPEG program streams) the time is guessed from the pictures before: there every jump back starts over."""

_LOOK_AHEAD: Final[int] = 24
"""Packets read ahead of the decoder: more than the pictures (16) by which coding order and time order may differ."""

_WALK_S: Final[float] = 2.5
"""Where key frames are not known, decoding forward this far is taken to be cheaper than a seek."""

av.logging.set_level(None)  # what there is to say is in our own errors


@dataclass(frozen=True)
class VideoFacts:
    """What the file says of itself, and what its first picture shows.

    Attributes
    ----------
    container, codec : str
        FFmpeg's short names.
    fps : float
        Mean pictures a second.
    width, height : int
        Of a picture as it is shown (after the turn that the header asks for).
    start_s : float
        Time of the first picture on the container's clock.
    end_s : float
        Time at which the last picture ends.
    n_frames : int
        Label frames until ``end_s``, at least one.
    notes : tuple of str
        What is odd, one sentence each.
    """

    container: str
    codec: str
    fps: float
    width: int
    height: int
    start_s: float
    end_s: float
    n_frames: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Decoded:
    """A decoded picture and the label frame at which it begins."""

    slot: int
    frame: av.VideoFrame
    turn: int

    def rgb(self, size_wh: tuple[int, int]) -> Picture:
        """The picture as it is to be seen, scaled by area averaging: uint8, shape (height, width, 3).

        Raises
        ------
        InputError
            Its pixels cannot be converted.
        """
        try:
            # bicubic as FFmpeg's own conversion when frames are extracted: the same bits
            frame = _both_fields(self.frame) if self.frame.interlaced_frame else self.frame
            full: npt.NDArray = frame.to_ndarray(format="rgb24", interpolation="BICUBIC", threads=1)
        except (av.FFmpegError, ValueError, TypeError, MemoryError) as error:
            raise InputError(
                f"pictures of the format {self.frame.format.name} cannot be converted ({error})."
            ) from error
        if self.turn:
            full = np.ascontiguousarray(np.rot90(full, self.turn // 90))
        if (full.shape[1], full.shape[0]) != size_wh:
            full = cv2.resize(full, size_wh, interpolation=cv2.INTER_AREA)
        return np.asarray(full, dtype=np.uint8)


@dataclass(frozen=True)
class _Extent:
    """When the pictures begin and end, in units of the stream's clock, and the times of key frames where known."""

    end: int | None
    n_pictures: int
    keys: tuple[int, ...]
    steady: bool
    counted: bool
    starts_over: int = 0
    """How often the clock jumps back: files put one behind another."""


class VideoFile:
    """Decoder of one file.

    Parameters
    ----------
    path : Path
        A regular file.

    Raises
    ------
    InputError
        Not a video, one without pictures, one that claims more than a day, or pictures that are too large.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._container: Any = None
        self._stream: Any = None
        self._pictures: Iterator[Decoded] = iter(())
        self._wanted = -1
        self._last_pts: int | None = None
        self._lead: int | None = None
        self._open()
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Free the decoder."""
        if self._container is not None:
            self._pictures = iter(())
            self._container.close()
            # the stream holds the decoder, and that the memory
            self._container = self._stream = None

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._container is None

    def restart(self) -> None:
        """Decode from the first picture on."""
        self.close()
        self._open()
        self._restart_pictures(None)

    def next(self) -> Decoded | None:
        """Next picture in the order of time; None at the end."""
        return next(self._pictures, None)

    def seek(self, slot: int) -> Decoded:
        """Start over at a picture that begins at label frame ``slot`` or before, as near as key frames allow.

        Pictures of which it is known that another one of the same or an earlier label frame follows before ``slot``
        may be left out; the one that is shown at ``slot``, and all that are shown later, come.
        """
        goal = self._pts_of(slot)
        back = 0
        step = max(round(1 / self._time_base), 1)
        while self._seekable and goal - back > self._first_pts:
            try:
                self._container.seek(goal - back, stream=self._stream, backward=True)
            except (av.FFmpegError, OverflowError):
                break
            self._restart_pictures(slot)
            landed = self.next()
            if (
                landed is not None
                and landed.slot <= slot
                and landed.frame.pts is not None
                and not landed.frame.is_corrupt
            ):
                return landed
            back = back * 4 or step
        self.restart()
        self._wanted = slot
        landed = self.next()
        if landed is None:
            raise InputError(f"{self.path}: pictures can no longer be decoded; the file has changed.")
        return landed

    def is_nearer_by_seek(self, current: int, wanted: int) -> bool:
        """Whether there is a key frame between two label frames, from which decoding would be shorter."""
        if not self._seekable:
            return False
        if not self._extent.keys:
            return wanted - current > _WALK_S * FRAME_RATE_HZ
        here, goal = self._pts_of(current), self._pts_of(wanted)
        at = bisect.bisect_right(self._extent.keys, goal) - 1
        return at >= 0 and self._extent.keys[at] > here + round(0.3 / self._time_base)

    # -- opening ----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        # The absolute path keeps a name such as "concat:x.mp4" from being taken for a protocol.
        options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS, "max_pixels": str(MAX_PIXELS)}
        try:
            self._container = av.open(str(self.path.absolute()), options=options, metadata_errors="replace")
        except (av.FFmpegError, ValueError, OverflowError, MemoryError, OSError) as error:
            raise InputError(f"{self.path}: not a video that can be decoded, or damaged.") from error
        pictures = [s for s in self._container.streams.video if not _is_cover(s)]
        if not pictures:
            self.close()
            raise InputError(f"{self.path}: holds no video.")
        best = self._container.streams.best("video")
        self._stream = best if best in pictures else pictures[0]
        self._n_streams = len(pictures)
        context = self._stream.codec_context
        if context is None:
            self.close()
            raise InputError(f"{self.path}: no decoder for its codec here; convert it with ffmpeg -c:v libx264.")
        if context.width * context.height > MAX_PIXELS:
            size = f"{context.width:,} x {context.height:,}"
            self.close()
            raise InputError(
                f"{self.path}: pictures of {size} pixels are larger than the {MAX_PIXELS / 1e6:.0f} million that are "
                "decoded; scale the video down."
            )
        context.options = {"max_pixels": str(MAX_PIXELS)}
        context.thread_type = "AUTO"
        # as many as OpenCV takes: one in worker processes (sai_core.threads)
        large = context.width * context.height > _BIG_PICTURE
        context.thread_count = 1 if large else min(4, max(cv2.getNumThreads(), 1))
        self._format = str(self._container.format.name).split(",")[0]
        self._reordered = self._format == "avi" and context.name in ("h264", "hevc")
        self._time_base = Fraction(self._stream.time_base or Fraction(1, 1000))
        started = self._container.start_time
        self._origin = 0 if started is None else _rescale(started, Fraction(1, av.time_base), self._time_base)

    def _begin(self) -> None:
        rate = self._stream.average_rate or self._stream.guessed_rate or self._stream.base_rate
        self._rate = Fraction(rate) if rate and Fraction(1, 100) <= rate <= 1000 else Fraction(30)
        self._step = max(_rescale(1, 1 / self._rate, self._time_base), 1)
        self._seekable, self._first_pts, self._turn = True, 0, 0
        self._extent = _Extent(None, 0, (), True, counted=False)
        self._extent = self._extent_of_index() or self._extent_of_packets()
        self._restart_pictures(None)
        first = self.next()
        if first is None:
            raise InputError(f"{self.path}: no picture can be decoded; the video is damaged.")
        self._first_pts = self._last_pts or 0
        self._seekable = first.frame.pts is not None and self._format in _TRUE_STAMPS | _COUNTED
        self._turn = _turn(first.frame)
        if self._extent.end is None and first.frame.pts is None:  # nothing but pictures one after the other
            self._extent = _Extent(
                self._origin + self._extent.n_pictures * self._step, self._extent.n_pictures, (), True, counted=True
            )
        end = max(self._extent.end or 0, self._first_pts + 1)
        n_frames = self._slot(end)
        if n_frames > LONGEST_FRAMES:
            raise InputError(f"{self.path}: claims {n_frames / FRAME_RATE_HZ:.0f} s, more than a day; it is damaged.")
        width, height = first.frame.width, first.frame.height
        if self._turn % 180:
            width, height = height, width
        self.facts = VideoFacts(
            container=self._format,
            codec=str(self._stream.codec_context.name),
            fps=float(self._rate),
            width=width,
            height=height,
            start_s=float((self._first_pts - self._origin) * self._time_base),
            end_s=float((end - self._origin) * self._time_base),
            n_frames=max(1, n_frames),
            notes=(),
        )
        self.facts = _with_notes(self.facts, self.path, first.frame, self)

    def _extent_of_index(self) -> _Extent | None:
        """From the index of an MP4 or MOV file, without reading the pictures; None where that is not the whole."""
        stream = self._stream
        if self._format != "mov" or not stream.frames or not stream.duration or stream.start_time is None:
            return None
        entries = stream.index_entries
        if len(entries) != stream.frames or not len(entries):
            return None
        size = os.stat(self.path).st_size
        times, keys = np.empty(len(entries), dtype=np.int64), []
        for number, entry in enumerate(entries):
            if entry.pos < 0 or entry.pos + entry.size > size:  # cut off
                return None
            times[number] = entry.timestamp
            if entry.is_keyframe:
                keys.append(int(entry.timestamp))
        spread = int(times[-1] - times[0]) + self._step
        if abs(spread - stream.duration) * self._time_base > 1:
            return None
        return _Extent(
            stream.start_time + stream.duration, len(entries), tuple(sorted(keys)), _is_steady(times), counted=False
        )

    def _extent_of_packets(self) -> _Extent:
        """By reading the whole file once, without decoding."""
        times, keys = [], []
        n, end, lasts, starts_over = 0, None, 0, 0
        before = None
        try:
            for packet in self._container.demux(self._stream):
                if packet.size == 0 or packet.is_discard:
                    continue
                n += 1
                lasts = packet.duration or lasts
                if packet.dts is not None:
                    starts_over += before is not None and (before - packet.dts) * self._time_base > 1
                    before = packet.dts
                if packet.pts is not None:
                    times.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
        except av.FFmpegError:
            pass  # damaged or cut off from here on: what came before counts
        if n > 200 * 86_400:
            raise InputError(f"{self.path}: {n} pictures, more than a day; the video is damaged.")
        if times:
            end = max(times) + self._step
        elif lasts:  # a bare stream: the header's rate is a guess, each packet's length is its own
            self._step, self._rate = lasts, 1 / (lasts * self._time_base)
        length = self._stream.duration or self._container.duration
        self.close()
        self._open()
        return _Extent(
            end,
            n,
            tuple(sorted(keys)) if self._format in _TRUE_STAMPS else (),
            _is_steady(np.sort(np.array(times, dtype=np.int64))),
            counted=not length or self._format in ("h264", "hevc", "mpegvideo", "m4v"),
            starts_over=starts_over,
        )

    # -- decoding ---------------------------------------------------------------------------------------------------

    def _restart_pictures(self, wanted: int | None) -> None:
        self._wanted = -1 if wanted is None else wanted
        self._last_pts = None
        self._pictures = self._decode()

    def _decode(self) -> Iterator[Decoded]:
        context = self._stream.codec_context
        may_skip = self._format in _TRUE_STAMPS and context.name in ("h264", "hevc")
        for packet, shown in self._packets():
            context.skip_frame = "DEFAULT" if shown or not may_skip else "NONREF"
            try:
                frames = packet.decode()
            except av.error.EOFError:
                return
            except (av.FFmpegError, ValueError):
                continue  # a damaged packet: the picture before stays
            for frame in frames:
                yield Decoded(self._slot(self._time_of(frame)), frame, self._turn)

    def _packets(self) -> Iterator[tuple[Any, bool]]:
        """Packets in coding order, each with whether its picture is ever shown, as far as those behind it tell."""
        waiting: deque[Any] = deque()
        slots: deque[tuple[int, int]] = deque(
            maxlen=2 * _LOOK_AHEAD
        )  # (time, label frame) around the oldest waiting one
        source = self._container.demux(self._stream)
        ended = False
        while True:
            while not ended and len(waiting) <= _LOOK_AHEAD:
                try:
                    packet = next(source, None)
                except av.FFmpegError:
                    packet = None
                if packet is None:
                    ended = True
                    break
                waiting.append(packet)
                if packet.pts is not None and packet.size:
                    slots.append((packet.pts, self._slot(packet.pts)))
            if not waiting:
                return
            packet = waiting.popleft()
            shown = True
            if packet.pts is not None and packet.size:
                last = max(self._slot(packet.pts), self._wanted)
                shown = not any(time > packet.pts and slot <= last for time, slot in slots)
            yield packet, shown

    def _time_of(self, frame: av.VideoFrame) -> int:
        time = frame.pts
        if self._reordered and frame.dts is not None:
            # AVI files hold no times of showing, and those that FFmpeg makes up are in coding order: count from the
            # first picture, which comes out of the decoder late
            self._lead = frame.dts - self._origin if self._lead is None else self._lead
            time = frame.dts - self._lead
        if self._last_pts is None:
            time = self._origin if time is None else time
        elif time is None:  # count
            time = self._last_pts + self._step
        else:
            time = max(time, self._last_pts)  # never back
        self._last_pts = int(time)
        return self._last_pts

    def _slot(self, pts: int) -> int:
        """Label frame at which a picture begins: FFmpeg's rounding, halves away from zero."""
        return _rescale(pts - self._origin, self._time_base, Fraction(1, FRAME_RATE_HZ))

    def _pts_of(self, slot: int) -> int:
        """First time at which a picture begins at ``slot``."""
        exact = Fraction(2 * slot - 1, 2 * FRAME_RATE_HZ) / self._time_base
        return self._origin + -(-exact.numerator // exact.denominator)


def _rescale(value: int, unit: Fraction, to: Fraction) -> int:
    """``value`` in other units, rounded to the nearest, halves away from zero."""
    exact = value * unit / to
    rounded = (2 * abs(exact.numerator) + exact.denominator) // (2 * exact.denominator)
    return int(rounded if exact >= 0 else -rounded)


def _both_fields(frame: av.VideoFrame) -> av.VideoFrame:
    """An interlaced picture in RGB, converted as a whole: what ``ffmpeg`` does unless it is told otherwise."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1)
    )
    steps = graph.add("scale", "flags=bicubic:interl=0"), graph.add("format", "rgb24"), graph.add("buffersink")
    for before, behind in zip((source, *steps), steps, strict=False):
        before.link_to(behind)
    graph.configure()
    source.push(frame)
    converted = steps[-1].pull()
    assert isinstance(converted, av.VideoFrame)
    return converted


def _is_cover(stream: Any) -> bool:
    return "attached_pic" in str(stream.disposition).lower()


def _turn(frame: av.VideoFrame) -> int:
    """Degrees, a multiple of 90 in [0, 360), by which a picture is to be turned to the left to be seen upright."""
    return round((frame.rotation or 0) / 90) * 90 % 360


def _is_steady(times: npt.NDArray[np.int64]) -> bool:
    """Whether pictures follow each other evenly; rounding to a coarse clock is even."""
    if len(times) < 4:
        return True
    steps = np.diff(times)
    middle = float(np.median(steps))
    return bool(np.mean(np.abs(steps - middle) > max(0.2 * middle, 1.5)) < 0.01)


def panorama_note(path: Path, width: int, height: int, shape: Fraction = Fraction(1)) -> str | None:
    """Sentence about pictures that cannot be a whole panorama; None for those that can.

    Parameters
    ----------
    path : Path
        Of the video or the image.
    width, height : int
        Pixels.
    shape : Fraction, optional
        Width of one pixel in units of its height; 1 if not given.
    """
    seen = float(width * shape)
    if abs(seen - 2 * height) <= max(2, height / 50):
        return None
    pixels = "" if seen == width else f" with pixels of {seen / width:.2f} : 1"
    return (
        f"{path}: pictures of {width} x {height}{pixels} are not 2 : 1, so they are not a full panorama (ERP); they "
        f"are stretched over the sphere, and directions seen in them are wrong."
    )


def _with_notes(facts: VideoFacts, path: Path, frame: Any, file: VideoFile) -> VideoFacts:
    stream, extent = file._stream, file._extent
    notes = []
    ratio = stream.sample_aspect_ratio or Fraction(1)
    if facts.width != frame.width:
        ratio = 1 / ratio
    if (note := panorama_note(path, facts.width, facts.height, ratio)) is not None:
        notes.append(note)
    if file._turn:
        notes.append(f"{path}: its header asks for a rotation by {file._turn} degrees, which is applied.")
    if facts.start_s >= 0.5 / FRAME_RATE_HZ:
        notes.append(
            f"{path}: its pictures begin {facts.start_s:.2f} s after its start (later than its sound); they are shown "
            "that late, and the first one until then."
        )
    if extent.counted:
        notes.append(f"{path}: its header gives no length; {facts.end_s:.1f} s by its pictures.")
    if extent.starts_over:
        notes.append(
            f"{path}: its clock starts over {extent.starts_over} times, as where files were put one after another; "
            f"pictures after the first part are not shown at their time (join the parts with ffmpeg -f concat)."
        )
    if frame.interlaced_frame:
        notes.append(f"{path}: interlaced; both fields of a picture are shown together.")
    if not extent.steady:
        notes.append(f"{path}: pictures follow each other unevenly; each is shown at its own time.")
    if file._n_streams > 1:
        notes.append(f"{path}: holds {file._n_streams} videos; number {stream.index} of its streams is shown.")
    if str(getattr(frame, "color_trc", "")).rsplit(".", 1)[-1].upper() in ("SMPTE2084", "ARIB_STD_B67", "16", "18"):
        notes.append(f"{path}: high dynamic range; shown without tone mapping.")
    return replace(facts, notes=tuple(notes))

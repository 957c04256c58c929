"""Pictures of a recording, one per label frame, from its video or from a folder of extracted images.

Which picture belongs to label frame ``k``: the last one that begins before the middle of the frame, ``(k + 0.5) / 10``
s after the start of the container (a picture exactly there belongs to frame ``k + 1``). That is the rule of FFmpeg's
``fps=10`` filter, with which the official ``frames_dev`` folders are extracted, so that a video and its extracted
frames show the same moments. Times are the file's own time stamps, never counted, so that 29.97 pictures a second do
not drift, an odd or changing rate is followed, and pictures that begin later than the sound come later. (One thing is
done better: of MPEG transport streams the ``ffmpeg`` program forgets by how much their pictures begin later.) Before
the first picture the first is shown, after the last one the last is held (a video is often a little shorter than its
audio).

Pictures are on the label grid: the ERP video scaled to 360 x 180 by area averaging.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from sai_core.cache import content_of, key_of
from sai_core.dataset.audio import AudioReader
from sai_core.dataset.decoding import MAX_PIXELS, Decoded, VideoFile, panorama_note
from sai_core.dataset.layout import IMAGE_SUFFIXES, kind_of_folder
from sai_core.dataset.root import Recording
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, FRAME_RATE_HZ

# OpenCV prints to stderr what the readers here tell as an error. A user's own settings are kept.
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_FATAL)

Picture = npt.NDArray[np.uint8]

CACHE_BYTES: Final[int] = 64 << 20
"""Default limit of a reader's cache: 345 pictures of 360 x 180."""

_PASSED_BYTES: Final[int] = 64 << 20
"""What may be kept of decoded pictures that were passed on the way: a block of 1920x960, less of larger pictures."""

_KEPT_BEHIND: Final[int] = 9
"""Label frames before the wanted one that are kept after a jump back."""

_MOST_NUMBERS: Final[int] = 120 * 86_400
"""Numbers of images from this one on (a day at 120 a second) are no numbers of frames."""

_RULES: Final[int] = 2
"""Raised whenever another picture is shown for some label frame: what was made from the old ones is made anew."""

_HELD_FRAMES: Final[int] = 5
"""A video that ends up to half a second early is shown with its last picture held; later frames have none."""

_IMAGE_NAME = re.compile(
    rf"(?P<prefix>.*?)(?P<number>\d+)(?:{'|'.join(re.escape(s) for s in IMAGE_SUFFIXES)})", re.IGNORECASE
)


class FrameSource(ABC):
    """Pictures of a recording, one per label frame, with a bounded cache; safe to use from several threads.

    Attributes
    ----------
    path : Path
        Video file or folder of images.
    size_wh : (int, int)
        Width and height of the pictures.
    n_frames : int
        Label frames that have a picture of their own; later ones repeat the last.
    notes : tuple of str
        What is odd about the pictures, guessed or left out, one sentence each.
    used : float
        When a picture was asked for last (``time.monotonic``).
    """

    def __init__(self, path: str | Path, size_wh: tuple[int, int], cache_bytes: int) -> None:
        if min(size_wh) < 1 or cache_bytes < 0:
            raise InputError(f"{path}: pictures of size {size_wh} with a cache of {cache_bytes} bytes are impossible.")
        self.path = Path(path)
        self.size_wh = (int(size_wh[0]), int(size_wh[1]))
        self.n_frames = 0
        self.notes: tuple[str, ...] = ()
        self.used = time.monotonic()
        self._cache: OrderedDict[int, Picture] = OrderedDict()
        self._capacity = max(1, cache_bytes // (3 * self.size_wh[0] * self.size_wh[1]))
        self._lock = threading.RLock()

    def frame(self, k: int) -> Picture:
        """Picture of label frame ``k``.

        Parameters
        ----------
        k : int
            Zero-based label frame (100 ms each); beyond the end the last picture is held.

        Returns
        -------
        rgb : uint8, shape (height, width, 3)
            A copy of the caller's own.

        Raises
        ------
        InputError
            Negative ``k``, a closed reader, or a picture that cannot be decoded.
        """
        return self._shared(k).copy()

    def picture(self, k: int, *, since: int | None = None) -> Picture | None:
        """Picture to be shown for label frame ``k``; None where it is damaged, and over half a second past the end.

        One damaged picture must not take with it what else is to be seen. With ``since``, label frames from that one on
        are asked for next: what is decoded of them on the way is kept.
        """
        try:
            return self._shared(k, since).copy() if k < self.n_frames + _HELD_FRAMES else None
        except InputError:
            return None

    def frames(self, start: int, stop: int) -> Picture:
        """Pictures of label frames [start, stop): uint8, shape (n, height, width, 3); errors as :meth:`frame`."""
        if not 0 <= start <= stop:
            raise InputError(f"{self.path}: frames {start} to {stop} are not a range from 0 on.")
        block = np.empty((stop - start, self.size_wh[1], self.size_wh[0], 3), dtype=np.uint8)
        for k in range(start, stop):
            block[k - start] = self._shared(k)
        return block

    def rest(self, *, deeply: bool = False) -> None:
        """Free the pictures that are kept, since nobody looks at them just now; not while one is being decoded.

        ``deeply``: what decodes them as well; it is made anew for the next picture, which is the same.
        """
        if self._lock.acquire(blocking=False):
            try:
                self._forget(deeply=deeply)
            finally:
                self._lock.release()

    def _forget(self, *, deeply: bool) -> None:
        self._cache.clear()

    def close(self) -> None:
        """Free the decoder and the cache; the reader cannot be used afterwards."""
        with self._lock:
            self._cache.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _shared(self, k: int, since: int | None = None) -> Picture:
        if k < 0:
            raise InputError(f"{self.path}: label frame {k} is before the beginning.")
        self.used = time.monotonic()
        with self._lock:
            k = min(k, max(self.n_frames - 1, 0))
            picture = self._cache.get(k)
            if picture is None:
                picture = self._decode(k, None if since is None else min(since, k))
                self._keep(k, picture)
            else:
                self._cache.move_to_end(k)
            return picture

    def _keep(self, k: int, picture: Picture) -> None:
        self._cache[k] = picture
        self._cache.move_to_end(k)
        while len(self._cache) > self._capacity:
            self._cache.popitem(last=False)

    @abstractmethod
    def _decode(self, k: int, since: int | None) -> Picture:
        """Picture of frame ``k``, not from the cache; called under the lock with 0 <= k < max(n_frames, 1)."""

    def _scaled(self, bgr: npt.NDArray) -> Picture:
        if (bgr.shape[1], bgr.shape[0]) != self.size_wh:
            bgr = cv2.resize(bgr, self.size_wh, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


class VideoReader(FrameSource):
    """Pictures from a video file.

    Going forward decodes without a seek. A jump starts at the key frame before the target: the picture is the one that
    decoding from the start gives. Pictures are converted only when they are asked for.

    Parameters
    ----------
    path : Path
        Any video that FFmpeg reads.
    size : (int, int)
        Width and height of the pictures.
    cache_bytes : int
        Limit of the picture cache (at least one picture is kept).

    Attributes
    ----------
    facts : VideoFacts
    fps : float
        Mean pictures a second.
    width, height : int
        Of the video itself.
    duration_s : float
        From the start of the container to the end of the last picture.

    Raises
    ------
    InputError
        No such file, not a video, one without pictures, or pictures that are too large.
    """

    def __init__(
        self, path: str | Path, *, size: tuple[int, int] = (ERP_WIDTH, ERP_HEIGHT), cache_bytes: int = CACHE_BYTES
    ) -> None:
        super().__init__(path, size, cache_bytes)
        _refuse_playlists(self.path)
        self._file = VideoFile(self.path)
        self.facts = self._file.facts
        self.fps, self.width, self.height = self.facts.fps, self.facts.width, self.facts.height
        self.duration_s, self.n_frames, self.notes = self.facts.end_s, self.facts.n_frames, self.facts.notes
        self._ahead: Decoded | None = None  # decoded, and not shown yet
        self._held: Decoded | None = None  # the picture before it: shown last
        self._ended = False
        self._since: int | None = None
        self._passed: list[Decoded] = []  # before the one that is held without a gap, from `_since` on
        self._first_slot: int | None = None
        self._closed = False
        self._begin()
        self._first_slot = self._held.slot if self._held is not None else 0

    def close(self) -> None:
        """Free the decoder and the cache; the reader cannot be used afterwards."""
        with self._lock:
            super().close()
            self._closed = True
            self._stop()

    def __del__(self) -> None:
        # the file and what decodes it refer to each other: they would stay until the collector of such circles comes
        if (file := self.__dict__.get("_file")) is not None:
            file.close()

    def _begin(self) -> None:
        self._file.restart()
        self._step()
        self._step()

    def _stop(self) -> None:
        self._file.close()
        self._held = self._ahead = self._since = None
        self._passed, self._ended = [], False

    def _forget(self, *, deeply: bool) -> None:
        super()._forget(deeply=deeply)
        self._since, self._passed = None, []
        if deeply:
            self._stop()

    def _decode(self, k: int, since: int | None) -> Picture:
        if self._closed:
            raise InputError(f"{self.path}: the reader is closed.")
        if self._file.closed:  # it was at rest
            self._begin()
        if self._held is not None and self._since is not None and self._since <= k < self._held.slot:
            shown = [d for d in self._passed if d.slot <= k]
            if shown:
                return self._converted(shown[-1], k)
        if since is not None and 3 * self.width * self.height * (k - since) <= 2 * _PASSED_BYTES:
            self._since = since
        else:
            self._since, self._passed = None, []
        start = k
        if since is None and self._held is not None and k < self._held.slot <= k + 3 * _KEPT_BEHIND:
            # Going back costs a seek. Who steps back once will step back again: keep what is passed on the way.
            start = max(0, k - min(_KEPT_BEHIND, self._capacity - 1))
        for passed in range(start, k):
            self._keep(passed, self._picture(passed))
        return self._picture(k)

    def _picture(self, k: int) -> Picture:
        """Last picture that begins at label frame ``k`` or before; the first one before it begins."""
        target = max(k, self._first_slot or 0)
        begin = target if self._since is None else max(self._since, self._first_slot or 0)
        if self._is_far(begin):
            self._go(begin)
        while not self._ended and (self._ahead is None or self._ahead.slot <= target):
            self._step()
        assert self._held is not None
        return self._converted(self._held, k)

    def _converted(self, decoded: Decoded, k: int) -> Picture:
        try:
            return decoded.rgb(self.size_wh)
        except InputError as error:
            raise InputError(f"{self.path}: label frame {k}: {error}") from error

    def _is_far(self, target: int) -> bool:
        if self._held is None or self._held.slot > target:
            return True
        waits = self._ahead is not None and self._ahead.slot <= target
        return waits and self._file.is_nearer_by_seek(self._held.slot, target)

    def _go(self, target: int) -> None:
        self._held, self._ended, self._passed = None, False, []
        self._ahead = self._file.seek(target)
        self._step()

    def _step(self) -> None:
        """Move on by one picture: the one ahead becomes the one that is held."""
        if self._ahead is not None:
            if self._since is not None and self._held is not None:
                shown_by = max(self._held.slot, self._since)  # of several until then the last one is shown
                self._passed = [d for d in self._passed if max(d.slot, self._since) < shown_by] + [self._held]
            self._held = self._ahead
        self._ahead = self._file.next()
        self._ended = self._ahead is None


class FramesReader(FrameSource):
    """Pictures from a folder of images ``<recording>_0000.png``.

    Extracted at 10 a second, image number ``k`` is label frame ``k``; without a number 0 but with a number 1, all were
    numbered from 1 (FFmpeg's default) and are taken one earlier. Where the length of the recording is known, the
    numbers tell another rate, or that they begin elsewhere, and every image is placed at its own time by the rule of
    videos. A number that is missing shows the image before it. Whatever was guessed or left out is in ``notes``.

    Parameters
    ----------
    path : Path
        The folder.
    size : (int, int)
        Width and height of the pictures; images of another size are scaled by area averaging.
    cache_bytes : int
        Limit of the picture cache (at least one picture is kept).
    durations_s : sequence of float
        How long the recording is, by its sound and by its video, as far as known.

    Attributes
    ----------
    fps : float
        Numbers a second.
    first_number : int
        Number that label frame 0 begins with.

    Raises
    ------
    InputError
        No such folder, or one without images that can be used.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        size: tuple[int, int] = (ERP_WIDTH, ERP_HEIGHT),
        cache_bytes: int = CACHE_BYTES,
        durations_s: Sequence[float] = (),
    ) -> None:
        super().__init__(path, size, cache_bytes)
        notes: list[str] = []
        numbered = _numbered_images(self.path, notes)
        self._numbers = np.array(sorted(numbered), dtype=np.int64)
        self._names = [numbered[n] for n in self._numbers.tolist()]
        place = _place(self.path, self._numbers, [d for d in durations_s if d > 0], notes)
        self.first_number, self.fps = place.first_number, float(place.rate)
        # halves upwards, as for videos
        twice = 2 * (self._numbers - place.first_number) * FRAME_RATE_HZ * place.rate.denominator
        self._slots = (twice + place.rate.numerator) // (2 * place.rate.numerator)
        end = Fraction(int(self._numbers[-1]) + place.step - place.first_number) / place.rate * FRAME_RATE_HZ
        self.n_frames = max(1, int(end + Fraction(1, 2)))
        self.notes = tuple(notes)

    @property
    def first_image(self) -> Path:
        """File of the lowest number."""
        return self.path / self._names[0]

    def source_size_wh(self) -> tuple[int, int]:
        """Width and height of the first image as it is on disk, from its header."""
        return _image_size(self.first_image)

    def _decode(self, k: int, since: int | None) -> Picture:
        index = max(int(np.searchsorted(self._slots, k, side="right")) - 1, 0)
        return self._scaled(self._image(index))

    def _image(self, index: int) -> npt.NDArray:
        file = self.path / self._names[index]
        _image_size(file)
        try:
            data = np.fromfile(file, dtype=np.uint8)
            bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        except (OSError, cv2.error, MemoryError) as error:
            raise InputError(f"{file}: cannot be read as an image ({error}).") from error
        if bgr is None:
            raise InputError(f"{file}: not an image, or damaged; extract the frames again.")
        return bgr


@dataclass(frozen=True)
class _Place:
    first_number: int
    rate: Fraction
    step: int = 1


_RATES: Final[tuple[Fraction, ...]] = tuple(
    Fraction(rate) * factor
    for rate in (1, 2, 5, 12, 15, 20, 24, 25, 30, 48, 50, 60, 120)
    for factor in (Fraction(1), Fraction(1000, 1001))
    if factor == 1 or rate in (15, 24, 30, 48, 60, 120)
)
"""Pictures a second that cameras and extraction scripts give, besides 10."""


def _place(path: Path, numbers: npt.NDArray[np.int64], durations_s: Sequence[float], notes: list[str]) -> _Place:
    """When numbered images are shown; what was found out or is missing is added to ``notes``."""
    low, high, n = int(numbers[0]), int(numbers[-1]), len(numbers)
    usual = 1 if low == 1 else 0
    place = _Place(usual, Fraction(FRAME_RATE_HZ))
    starts = dict.fromkeys((usual, low))  # the usual one first: it wins a tie
    missing = high - low + 1 - n
    step = int(np.gcd.reduce(np.diff(numbers))) if n > 1 else 1  # every third picture of a video, say
    for start in starts:
        apart = [abs(high + 1 - start - FRAME_RATE_HZ * d) / max(2.0, 0.01 * FRAME_RATE_HZ * d) for d in durations_s]
        if min(apart, default=2.0) <= 1.0:
            place = _Place(start, place.rate)
            if start > 1:
                notes.append(f"{path}: its images begin with number {start}, which is taken as label frame 0.")
            break
    else:
        found = [
            (abs(length / rate / Fraction(d) - 1), rate, start, d)
            for d in durations_s
            for start in starts
            for rate in _RATES
            if abs((length := high + step - start) / rate / Fraction(d) - 1) <= 0.015
            or abs(length - rate * Fraction(d)) <= 1
        ]
        if found:
            _, rate, start, seconds = min(found)
            place = _Place(start, rate, step)
            notes.append(
                f"{path}: numbers {low} to {high} in {seconds:.1f} s are {float(rate):.4g} images a second, not "
                f"{FRAME_RATE_HZ}; each is shown at its own time."
            )
        elif durations_s:
            early = high + 1 - place.first_number < FRAME_RATE_HZ * durations_s[0]
            what = "are of a video that ends early, or of another" if early else "are not of a usual"
            notes.append(
                f"{path}: numbers {low} to {high} in {durations_s[0]:.1f} s {what} rate; they are taken as "
                f"{FRAME_RATE_HZ} a second (extract frames with ffmpeg -vf fps=10 -start_number 0)."
            )
        else:
            notes.append(
                f"{path}: neither sound nor video says how long the recording is; its images are taken as "
                f"{FRAME_RATE_HZ} a second."
            )
        if low > 1 and place.first_number != low:
            notes.append(f"{path}: its images begin with number {low}; the first one is shown until then.")
    if missing and not (step > 1 and step * (n - 1) == high - low and place.rate > FRAME_RATE_HZ):
        gaps = np.flatnonzero(np.diff(numbers) > 1)
        notes.append(
            f"{path}: {missing} of the numbers from {low} to {high} are missing, the first after {numbers[gaps[0]]}; "
            "the image before is shown."
        )
    return place


def _numbered_images(path: Path, notes: list[str]) -> dict[int, str]:
    """File name by number of the images in a folder; links out of the data root and what is no file are left out."""
    root = os.path.realpath(_root_of(path))
    series: dict[str, dict[int, str]] = {}
    left_out: list[str] = []
    try:
        with os.scandir(path) as listing:
            entries = sorted(
                (entry for entry in listing if not entry.name.startswith(".")), key=lambda entry: entry.name
            )
    except OSError as error:
        raise InputError(f"{path}: the frames cannot be listed ({error.strerror or error}).") from error
    for entry in entries:
        match = _IMAGE_NAME.fullmatch(entry.name)
        if match is None:
            continue
        why = _why_not(entry, root)
        if why is None and int(match["number"].lstrip("0")[:20] or 0) >= _MOST_NUMBERS:
            why = f"has a number of {_MOST_NUMBERS:,} or more"
        if why is not None:
            left_out.append(f"{entry.name!r} {why}")
            continue
        group = series.setdefault(match["prefix"].lower(), {})
        # of two types of one number the first in the alphabet
        if (known := group.setdefault(int(match["number"]), entry.name)) != entry.name:
            left_out.append(f"{entry.name!r} has the number of {known!r}")
    if len(series) > 1:
        chosen = max(series, key=lambda prefix: (len(series[prefix]), prefix == path.name.lower() + "_"))
        for prefix, group in series.items():
            if prefix != chosen:
                left_out += [f"{name!r} belongs to another series" for name in group.values()]
    elif not series:
        why = f"; left out: {left_out[0]}" if left_out else ""
        raise InputError(f"{path}: holds no images named <recording>_0000.png{why}.")
    else:
        chosen = next(iter(series))
    if left_out:
        more = f" (and {len(left_out) - 1} more)" if len(left_out) > 1 else ""
        notes.append(f"{path}: {len(left_out)} of its images left out: {left_out[0]}{more}.")
    return series[chosen]


def _root_of(folder: Path) -> Path:
    """Data root that a folder of frames lies in: above ``frames_dev``; else the folder that holds it."""
    for parent in folder.parents:
        if kind_of_folder(parent.name) == "frames":
            return parent.parent
    return folder.parent


def _why_not(entry: os.DirEntry[str], root: str) -> str | None:
    """What keeps an entry from being an image of the data root; None for nothing."""
    try:
        if entry.is_symlink():
            target = os.path.realpath(entry.path, strict=True)
            if target != root and not target.startswith(root.rstrip(os.sep) + os.sep):
                return f"links to {target!r}, outside the data root"
        return None if entry.is_file() else "is no file"
    except OSError as error:
        return f"is a link that leads nowhere ({error.strerror or error})"


def _image_size(file: Path) -> tuple[int, int]:
    """Width and height by the header, after making sure that the image can be decoded within limits."""
    try:
        status = os.stat(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}).") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{file}: not a file.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        width = height = MAX_PIXELS  # twice what is a warning: far too large
    except OSError as error:
        why = f"cannot be read ({error.strerror})" if error.strerror else "not an image, or damaged"
        raise InputError(f"{file}: {why}; extract the frames again.") from error
    except (ValueError, SyntaxError, struct.error, OverflowError) as error:
        raise InputError(f"{file}: not an image, or damaged; extract the frames again.") from error
    if width * height > MAX_PIXELS or status.st_size > 4 * MAX_PIXELS:
        raise InputError(
            f"{file}: larger than the {MAX_PIXELS / 1e6:.0f} million pixels that are decoded; scale it down."
        )
    return width, height


def open_frames(
    recording: Recording, *, size: tuple[int, int] = (ERP_WIDTH, ERP_HEIGHT), cache_bytes: int = CACHE_BYTES
) -> FrameSource | None:
    """Reader of a recording's pictures: extracted frames when they are there, else the video, else ``None``.

    Raises
    ------
    InputError
        The frames or the video cannot be read.
    """
    if recording.frames_dir is not None:
        return _open_images(recording, size, cache_bytes)
    if recording.video_path is not None:
        return VideoReader(recording.video_path, size=size, cache_bytes=cache_bytes)
    return None


def pictures_key(recording: Recording) -> str | None:
    """Text that changes when a recording's pictures do: for stores of what was made from them. None without any.

    Raises
    ------
    InputError
        A file cannot be looked at.
    """
    source = recording.frames_dir or recording.video_path
    if source is None:
        return None
    parts = [source]
    if recording.frames_dir is not None:  # images are placed by these
        parts += [path for path in (recording.audio_path, recording.video_path) if path is not None]
    return key_of(_RULES, *(content_of(path) for path in parts))


def _open_images(recording: Recording, size: tuple[int, int], cache_bytes: int) -> FramesReader:
    """Reader of extracted frames, placed by the length of the sound; of the video, too, where that leaves doubt."""
    assert recording.frames_dir is not None
    durations_s: list[float] = []
    if recording.audio_path is not None:
        with suppress(InputError):  # told by who wants the sound
            audio = AudioReader(recording.audio_path)
            durations_s.append(audio.n_samples / audio.sample_rate_hz)

    def opened() -> FramesReader:
        return FramesReader(recording.frames_dir or "", size=size, cache_bytes=cache_bytes, durations_s=durations_s)

    frames = opened()
    if recording.video_path is not None and (frames.notes or not durations_s):
        with suppress(InputError), VideoReader(recording.video_path, cache_bytes=0) as video:
            durations_s.append(video.duration_s)
            frames = opened()
    with suppress(InputError):  # told when that image is shown
        note = panorama_note(frames.first_image, *frames.source_size_wh())
        frames.notes += () if note is None else (note,)
    return frames


def _refuse_playlists(path: Path) -> None:
    """Make sure that the file is a file, and not a list of other files that FFmpeg would open in its place."""
    try:
        if not os.path.isfile(path):
            raise InputError(f"{path}: no such video file.")
        with open(path, "rb") as stream:
            head = stream.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if not head:
        raise InputError(f"{path}: the video file is empty.")
    if head.startswith((b"#extm3u", b"ffconcat", b"<?xml", b"<mpd", b"[playlist]", b"v=0")):
        raise InputError(f"{path}: a playlist, not a video; give the video file itself.")

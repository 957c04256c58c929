"""Video of a recording as small pictures, one per label frame.

Which picture belongs to label frame ``k``: the last one whose time is before the middle of the frame,
``(k + 0.5) / 10`` s after the first picture (a picture exactly there belongs to frame ``k + 1``). That is the rule of
FFmpeg's ``fps=10`` filter, with which the official ``frames_dev`` folders are extracted, so that a video and its
extracted frames show the same moments. Times come from the file's own time stamps, never from counting, so that
29.97 pictures a second do not drift and an odd or changing rate is followed. Before the first picture the first is
shown, after the last one the last is held (a video is often a little shorter than its audio).

Pictures are on the label grid: the ERP video scaled to 360 x 180 by area averaging.
"""

from __future__ import annotations

import os
import re
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import cv2
import numpy as np
import numpy.typing as npt

from sai_core.dataset.layout import IMAGE_SUFFIXES
from sai_core.dataset.root import Recording
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, FRAME_RATE_HZ

# OpenCV and the FFmpeg inside print to stderr what the readers here tell as an error. FFmpeg's level (-8 is "quiet") is
# read when the first video is opened. A user's own settings are kept.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_FATAL)

Picture = npt.NDArray[np.uint8]

FRAME_MS: Final[float] = 1000.0 / FRAME_RATE_HZ
CACHE_BYTES: Final[int] = 64 << 20
"""Default limit of a reader's cache: 345 pictures of 360 x 180."""

_TIE_MS: Final[float] = 1e-3
"""Time stamps are exact fractions of a second turned into floating-point milliseconds; nearer than this is equal."""

_WALK_MS: Final[float] = 2500.0
"""Decoding forward this far is cheaper than a seek, which decodes from the key frame before the target (x264 sets
one every 8 s by default, cameras every 0.5 to 1 s)."""

_LONGEST_S: Final[float] = 86_400.0
"""A header that tells of more than a day is damaged; believing it would ask for lists of millions of frames."""

_KEPT_BEHIND: Final[int] = 9
"""Label frames before the wanted one that are kept after a jump back."""

_IMAGE_NAME = re.compile(rf".*?(\d+)(?:{'|'.join(re.escape(s) for s in IMAGE_SUFFIXES)})", re.IGNORECASE)


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
    """

    def __init__(self, path: str | Path, size_wh: tuple[int, int], cache_bytes: int) -> None:
        if min(size_wh) < 1 or cache_bytes < 0:
            raise InputError(f"{path}: pictures of size {size_wh} with a cache of {cache_bytes} bytes are impossible.")
        self.path = Path(path)
        self.size_wh = (int(size_wh[0]), int(size_wh[1]))
        self.n_frames = 0
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

    def frames(self, start: int, stop: int) -> Picture:
        """Pictures of label frames [start, stop): uint8, shape (n, height, width, 3); errors as :meth:`frame`."""
        if not 0 <= start <= stop:
            raise InputError(f"{self.path}: frames {start} to {stop} are not a range from 0 on.")
        block = np.empty((stop - start, self.size_wh[1], self.size_wh[0], 3), dtype=np.uint8)
        for k in range(start, stop):
            block[k - start] = self._shared(k)
        return block

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

    def _shared(self, k: int) -> Picture:
        if k < 0:
            raise InputError(f"{self.path}: label frame {k} is before the beginning.")
        with self._lock:
            k = min(k, max(self.n_frames - 1, 0))
            picture = self._cache.get(k)
            if picture is None:
                picture = self._decode(k)
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
    def _decode(self, k: int) -> Picture:
        """Picture of frame ``k``, not from the cache; called under the lock with 0 <= k < max(n_frames, 1)."""

    def _scaled(self, bgr: npt.NDArray) -> Picture:
        if (bgr.shape[1], bgr.shape[0]) != self.size_wh:
            bgr = cv2.resize(bgr, self.size_wh, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


class VideoReader(FrameSource):
    """Pictures from a video file, decoded by OpenCV.

    Going forward decodes without a seek. A jump seeks to a key frame before the target and checks the time stamp that
    it landed on, going further back when the container's index led too far, then decodes forward: the picture is the
    one that decoding from the start gives.

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
    fps : float
        Pictures a second, as the header tells.
    width, height : int
        Of the video itself.
    duration_s : float
        As the header tells.

    Raises
    ------
    InputError
        No such file, not a video, or one without pictures.
    """

    def __init__(
        self, path: str | Path, *, size: tuple[int, int] = (ERP_WIDTH, ERP_HEIGHT), cache_bytes: int = CACHE_BYTES
    ) -> None:
        super().__init__(path, size, cache_bytes)
        _refuse_playlists(self.path)
        self._capture: cv2.VideoCapture | None = self._open()
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        n_pictures = float(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if self.width < 1 or self.height < 1:
            raise InputError(f"{self.path}: holds no pictures.")
        self.fps = fps if np.isfinite(fps) and 0.1 <= fps <= 1000.0 else 30.0
        if np.isfinite(n_pictures) and n_pictures / self.fps > _LONGEST_S:
            raise InputError(f"{self.path}: {n_pictures:.0f} pictures, more than a day; the video is damaged.")
        self._interval_ms = 1000.0 / self.fps
        self.duration_s = n_pictures / self.fps if np.isfinite(n_pictures) and n_pictures > 0 else 0.0
        self.n_frames = max(1, int(np.floor(self.duration_s * FRAME_RATE_HZ + 0.5)))
        self._keep_all = False  # pictures come irregularly: convert each one, not only the likely ones
        self._ahead_ms: float | None = None  # time of the grabbed picture that is not shown yet
        self._held: tuple[float, Picture | None] | None = None  # the picture before it: shown last
        self._end_ms: float | None = None  # time of the very last picture, once seen
        if not self._rewind():
            raise InputError(f"{self.path}: no picture can be decoded; the video is damaged.")

    def close(self) -> None:
        """Free the decoder and the cache; the reader cannot be used afterwards."""
        with self._lock:
            super().close()
            if self._capture is not None:
                self._capture.release()
                self._capture = None

    def _open(self) -> cv2.VideoCapture:
        # Only FFmpeg: other back ends guess at image sequences and cameras. The absolute path keeps a name such as
        # "concat:x.mp4" from being taken for a protocol.
        try:
            capture = cv2.VideoCapture(str(self.path.absolute()), cv2.CAP_FFMPEG)
        except (cv2.error, UnicodeEncodeError) as error:
            raise InputError(f"{self.path}: cannot be opened as a video ({error}).") from error
        if not capture.isOpened():
            raise InputError(f"{self.path}: not a video that can be decoded, or damaged.")
        return capture

    def _decode(self, k: int) -> Picture:
        if self._capture is None:
            raise InputError(f"{self.path}: the reader is closed.")
        start = k
        if self._held is not None and self._held[0] >= (k + 0.5) * FRAME_MS - _TIE_MS:
            # Going back costs a seek. Who steps back once will step back again: keep what is passed on the way.
            start = max(0, k - min(_KEPT_BEHIND, self._capacity - 1))
        for passed in range(start, k):
            self._keep(passed, self._picture(passed))
        return self._picture(k)

    def _picture(self, k: int) -> Picture:
        target = (k + 0.5) * FRAME_MS - _TIE_MS
        while True:
            end_known = self._end_ms is not None
            picture = self._show(min(target, self._end_ms + _TIE_MS) if self._end_ms is not None else target)
            if picture is not None:
                return picture
            # The picture to show was passed over unconverted. Either the video ended before it, which is known from
            # now on, or it has a gap in its time stamps: convert every picture then.
            self._held = None
            if end_known or self._end_ms is None:
                if self._keep_all:
                    raise InputError(f"{self.path}: the picture of label frame {k} is damaged and cannot be decoded.")
                self._keep_all = True

    def _show(self, target: float) -> Picture | None:
        """Last picture before ``target`` ms (the first one when there is none), or ``None`` if it went unconverted."""
        held = self._held
        if held is None or held[0] >= target or (self._ahead_ms is not None and target - self._ahead_ms > _WALK_MS):
            self._seek(target)
        while self._ahead_ms is not None and (self._ahead_ms < target or self._held is None):
            self._step(target)
        return None if self._held is None else self._held[1]

    def _step(self, target: float) -> None:
        """Move on by one picture: the grabbed one becomes the held one."""
        assert self._capture is not None
        assert self._ahead_ms is not None
        now = self._ahead_ms
        wanted = self._keep_all or now + 1.5 * self._interval_ms >= target
        picture = None
        if wanted:
            done, bgr = self._capture.retrieve()
            if done and bgr is not None:
                picture = self._scaled(bgr)
            elif self._held is not None:
                picture = self._held[1]  # a damaged picture: hold the one before
        self._held = (now, picture)
        self._grab()
        if self._ahead_ms is None:
            self._end_ms = now

    def _grab(self) -> None:
        """Decode the next picture; ``_ahead_ms`` becomes its time, or ``None`` at the end."""
        assert self._capture is not None
        before = self._held[0] if self._held is not None else None
        if not self._capture.grab():
            self._ahead_ms = None
            return
        time_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        if before is not None and not time_ms > before:
            time_ms = before + self._interval_ms  # a stream without usable time stamps: count
        self._ahead_ms = time_ms

    def _rewind(self) -> bool:
        """Start over with a fresh decoder; whether there is a first picture."""
        if self._capture is not None:
            self._capture.release()
        self._capture = self._open()
        self._held = None
        self._grab()
        return self._ahead_ms is not None

    def _seek(self, target: float) -> None:
        """Stand on some picture before ``target`` ms, or on the first one."""
        assert self._capture is not None
        margin = max(3 * self._interval_ms, 2 * FRAME_MS)
        while target - margin > 0:
            self._held = None
            if self._capture.set(cv2.CAP_PROP_POS_MSEC, target - margin):
                self._grab()
                if self._ahead_ms is not None and self._ahead_ms < target:
                    return
            margin *= 4
        self._rewind()


class FramesReader(FrameSource):
    """Pictures from a folder of images ``<recording>_0000.png``, extracted at 10 a second.

    Image number ``k`` is label frame ``k``. If there is no number 0 but a number 1, all were numbered from 1 (the
    default of FFmpeg) and are taken one earlier. A number that is missing shows the image before it.

    Parameters
    ----------
    path : Path
        The folder.
    size : (int, int)
        Width and height of the pictures; images of another size are scaled by area averaging.
    cache_bytes : int
        Limit of the picture cache (at least one picture is kept).

    Raises
    ------
    InputError
        No such folder, or one without images.
    """

    def __init__(
        self, path: str | Path, *, size: tuple[int, int] = (ERP_WIDTH, ERP_HEIGHT), cache_bytes: int = CACHE_BYTES
    ) -> None:
        super().__init__(path, size, cache_bytes)
        numbered: dict[int, str] = {}
        try:
            with os.scandir(self.path) as listing:
                for entry in listing:
                    match = _IMAGE_NAME.fullmatch(entry.name)
                    if match is not None and not entry.name.startswith(".") and len(match.group(1)) <= 9:
                        number = int(match.group(1))
                        # of two types of one number the first in the alphabet, whatever the order of listing
                        numbered[number] = min(numbered.get(number, entry.name), entry.name)
        except OSError as error:
            raise InputError(f"{self.path}: the frames cannot be listed ({error.strerror or error}).") from error
        if not numbered:
            raise InputError(f"{self.path}: holds no images named <recording>_0000.png.")
        self.first_number = 1 if 0 not in numbered and 1 in numbered else 0
        self._numbers = np.array(sorted(numbered), dtype=np.int64)
        self._names = [numbered[n] for n in self._numbers.tolist()]
        self.n_frames = int(self._numbers[-1]) + 1 - self.first_number

    def source_size_wh(self) -> tuple[int, int]:
        """Width and height of the first image as it is on disk."""
        bgr = self._image(0)
        return bgr.shape[1], bgr.shape[0]

    def _decode(self, k: int) -> Picture:
        index = max(int(np.searchsorted(self._numbers, k + self.first_number, side="right")) - 1, 0)
        return self._scaled(self._image(index))

    def _image(self, index: int) -> npt.NDArray:
        file = self.path / self._names[index]
        try:
            data = np.fromfile(file, dtype=np.uint8)
            bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        except (OSError, cv2.error) as error:
            raise InputError(f"{file}: cannot be read as an image ({error}).") from error
        if bgr is None:
            raise InputError(f"{file}: not an image, or damaged; extract the frames again.")
        return bgr


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
        return FramesReader(recording.frames_dir, size=size, cache_bytes=cache_bytes)
    if recording.video_path is not None:
        return VideoReader(recording.video_path, size=size, cache_bytes=cache_bytes)
    return None


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

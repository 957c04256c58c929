"""Video of a recording with labels and predictions: four panels or one overlay, with its sound, as MP4.

Ten pictures a second, one per label frame: picture ``k`` of the file is shown from ``k / 10`` s on and holds what the
Explorer shows for frame ``start + k``; the sound begins with the first sample of frame ``start``. Pictures are drawn
by NumPy and OpenCV straight into one canvas whose fixed parts (legend, scales, timeline) are drawn once; matplotlib
would take a quarter of a second for each.

Work is spread over three threads (decoding; maps and drawing; encoding), which spend their time in libraries that
let the others run. The encoder's own number of threads is fixed, because it is part of its result: same input, same
bytes.

Panels are on the label grid, as everywhere (:mod:`sai_core.geometry`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable
from sai_core.dataset import Recording, open_heard
from sai_core.drawing.annotators import (
    Colour,
    Name,
    Picture,
    box_of,
    draw_line,
    draw_outlines,
    energy_levels,
    lay_over,
    paint,
    residual_levels,
    write_names,
)
from sai_core.drawing.colormaps import SEQUENTIAL, diverging_lut, sequential_lut
from sai_core.drawing.lettering import blit, shortened, text_tile
from sai_core.drawing.maps import Patch, annotation_patch, merged_canvas, outlines
from sai_core.errors import EnvironmentProblem, InputError, check_known
from sai_core.figures.heard import RATE_HZ, Heard, Listened, Plain, Sound
from sai_core.figures.paper.material import Material, System, open_material
from sai_core.figures.paper.panels import MapOptions
from sai_core.files import atomic_write
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.progress import Progress, no_progress
from sai_core.taxonomy import N_CLASSES, class_rgb, short_name
from sai_core.threads import ReadAhead

VideoLayout = Literal["panels", "overlay"]
LAYOUTS: Final[tuple[VideoLayout, ...]] = get_args(VideoLayout)
PRESETS: Final[tuple[str, ...]] = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium")

SIZE_WH: Final[tuple[int, int]] = (1280, 720)
_AUDIO_FRAME: Final[int] = 1024
"""Samples of an AAC frame."""

_LAYOUT_OF: Final = {1: "mono", 2: "stereo"}

_RING: Final[int] = 11
"""Radius in pixels of the ring around the direction that is heard."""

_PAGE: Final[Colour] = (16, 19, 26)
_PANEL: Final[Colour] = (26, 31, 42)
_TEXT: Final[Colour] = (230, 233, 239)
_MUTED: Final[Colour] = (150, 158, 172)
_RULE: Final[Colour] = (57, 65, 79)

_TOP: Final[int] = 40
_GAP: Final[int] = 8
_SIDE_X: Final[int] = 1144
_PANEL_WH: Final[tuple[int, int]] = (560, 280)
_OVERLAY_WH: Final[tuple[int, int]] = (1128, 564)
_LEFT: Final[int] = 8
_TIMELINE_TOP: Final[int] = _TOP + 2 * _PANEL_WH[1] + 2 * _GAP
_DECODED_WH: Final[tuple[int, int]] = (960, 480)
"""Half the official size: averaging 2 x 2 pixels takes half a millisecond, scaling straight to a panel seven."""

_AHEAD: Final[int] = 8
"""Pictures that one thread may be ahead of the next: 1.4 MB each."""


@dataclass(frozen=True, kw_only=True)
class VideoOptions(MapOptions):
    """What a video shows and how it is encoded.

    Attributes
    ----------
    layout : {"panels", "overlay"}
        RGB, ground truth, prediction and residual side by side; or RGB with outlines of both and the predicted energy
        over it.
    colormap : str
        Energy map.
    start, stop : int, int or None
        Label frames [start, stop); None = to the end.
    preset : str
        Of libx264: faster ones make larger files of the same look.
    crf : int
        Quality, 0 (lossless) to 51.
    """

    layout: VideoLayout = "panels"
    colormap: str = SEQUENTIAL[0]
    start: int = 0
    stop: int | None = None
    preset: str = "superfast"
    crf: int = 21

    def __post_init__(self) -> None:
        super().__post_init__()
        check_known("Layout", self.layout, LAYOUTS)
        check_known("Colour map", self.colormap, SEQUENTIAL)
        check_known("Preset", self.preset, PRESETS)
        if not 0 <= self.crf <= 51:
            raise InputError(f"A crf of {self.crf} is out of range; choose 0 to 51.")
        if self.start < 0 or (self.stop is not None and self.stop <= self.start):
            raise InputError(f"Frames {self.start} to {self.stop} are no range; choose 0 <= start < stop.")


@dataclass(frozen=True)
class VideoReport:
    """What was written.

    Attributes
    ----------
    path : Path
    start, stop : int
        Label frames [start, stop) that it shows.
    has_sound : bool
    notes : tuple of str
        What was missing or could not be read.
    """

    path: Path
    start: int
    stop: int
    has_sound: bool
    notes: tuple[str, ...]

    @property
    def n_frames(self) -> int:
        """Pictures."""
        return self.stop - self.start

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_frames / FRAME_RATE_HZ


def write_video(
    recording: Recording,
    system: System,
    path: Path,
    *,
    options: VideoOptions | None = None,
    heard: Heard | None = None,
    progress: Progress = no_progress,
) -> VideoReport:
    """Draw and encode the video of a recording with the predictions of a system.

    Parameters
    ----------
    recording : Recording
    system : System
    path : Path
        An ``.mp4`` file, replaced only when everything has been written.
    options : VideoOptions, optional
    heard : Heard, optional
        What is heard: a direction, a source alone, two ears; the mean of all channels where it is left out. A ring
        shows the direction, the title says it.
    progress : Progress
        Told after each picture; raising :class:`sai_core.errors.CancelledError` leaves no file.

    Raises
    ------
    InputError
        Labels or predictions that cannot be read, an empty range, another file ending, or ``heard`` of a recording
        whose sound holds no directions.
    EnvironmentProblem
        An encoder is missing, or the file cannot be written.
    """
    options = options or VideoOptions()
    check_ending(path)

    def reading(fraction: float, message: str) -> None:
        progress(0.05 * fraction, message)

    with open_material(recording, [system], picture_size_wh=_DECODED_WH, progress=reading) as material:
        start, stop = frame_range(material, options)
        sound, sound_problem = _sound(material, heard)
        canvas = _Canvas(material, options, start, stop, heard)
        with tempfile.TemporaryDirectory(prefix="sai-video-") as folder:
            # the index goes to the front in a second pass over a named file, so that a browser can start at once
            draft = Path(folder) / "draft.mp4"
            silent = _encode(draft, canvas, material, sound, start, stop, options, progress)
            with open(draft, "rb") as source, atomic_write(path) as target:
                shutil.copyfileobj(source, target, 1 << 20)
    progress(1.0, f"{stop - start} frames")
    notes = [
        *material.problems,
        *([sound_problem] if sound_problem else []),
        *(sound.notes() if sound else ()),
        *silent,
    ]
    for there, sentence in (
        (recording.has_video, "No video: the RGB panel is empty."),
        (sound is not None or bool(sound_problem), "No audio: the video is silent."),
        (material.labels is not None, "No labels: ground truth and residual are empty."),
        (material.tables[0] is not None, "No predictions: prediction and residual are empty."),
    ):
        if not there:
            notes.append(sentence)
    return VideoReport(path, start, stop, sound is not None, tuple(notes))


def check_ending(path: Path) -> None:
    """Make sure that a file's name is that of a video.

    Raises
    ------
    InputError
        Another ending than .mp4.
    """
    if path.suffix.lower() != ".mp4":
        raise InputError(f"{path}: a video is written as .mp4; change the file's ending.")


def check_encoder() -> None:
    """Make sure that videos can be encoded here.

    Raises
    ------
    EnvironmentProblem
        PyAV's FFmpeg has no H.264 or no AAC encoder.
    """
    import av

    for name in ("libx264", "aac"):
        try:
            av.codec.Codec(name, "w")
        except ValueError:
            raise EnvironmentProblem(
                f"PyAV's FFmpeg has no {name} encoder, which videos need; run: pip install --force-reinstall av"
            ) from None


def frame_range(material: Material, options: VideoOptions) -> tuple[int, int]:
    """First frame and end of a video.

    Raises
    ------
    InputError
        An empty range, or one that leaves the recording.
    """
    n = material.n_frames
    stop = n if options.stop is None else options.stop
    if not n:
        raise InputError(
            f"{material.place}: has neither labels, predictions, video nor audio; there is nothing to show."
        )
    if not 0 <= options.start < stop <= n:
        raise InputError(
            f"{material.place}: frames {options.start} to {stop} are not within its {n} frames; choose 0 <= start < "
            f"stop <= {n}."
        )
    return options.start, stop


def _sound(material: Material, heard: Heard | None) -> tuple[Sound | None, str]:
    """What is heard of the recording, or None and why. Who asked for a direction does not get a video without it."""
    if heard is not None:
        return Listened(material.recording, heard), ""
    try:
        reader = open_heard(material.recording)
    except InputError as error:
        return None, str(error)
    if reader is None:
        return None, ""
    return (Plain(reader), "") if reader.n_samples else (None, f"{reader.path}: holds no sound.")


def _encode(
    draft: Path,
    canvas: _Canvas,
    material: Material,
    sound: Sound | None,
    start: int,
    stop: int,
    options: VideoOptions,
    progress: Progress,
) -> tuple[str, ...]:
    """Write the file; gives a sentence where the sound could not be read to its end."""
    import av
    from av.error import FFmpegError

    lost = _Lost()

    def pictures() -> Iterator[Picture | None]:
        for k in range(start, stop):
            yield material.picture(k)

    def drawn(decoded: Iterator[Picture | None]) -> Iterator[Picture]:
        for k, picture in zip(range(start, stop), decoded, strict=True):
            # the encoder's colours, here and not in the encoding thread, which has most to do
            yield np.asarray(cv2.cvtColor(canvas.draw(k, picture), cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)

    try:
        with av.open(str(draft), "w", format="mp4", options={"movflags": "faststart"}) as output:
            video: Any = output.add_stream("libx264", rate=FRAME_RATE_HZ)
            video.width, video.height = SIZE_WH
            video.pix_fmt = "yuv420p"
            video.options = {
                "crf": str(options.crf),
                "preset": options.preset,
                # a key frame a second makes seeking cheap; the number of threads changes the bytes, so it is fixed
                "g": str(FRAME_RATE_HZ),
                "threads": "2",
            }
            # what cv2's conversion is: BT.601, limited range. Players guess BT.709 at this size
            context = video.codec_context
            context.colorspace, context.color_primaries, context.color_trc, context.color_range = 6, 6, 6, 1
            audio: Any = None
            if sound is not None:
                audio = output.add_stream("aac", rate=RATE_HZ)
                audio.layout = _LAYOUT_OF[sound.channels]
                audio.bit_rate = 128_000
            with (
                ReadAhead(pictures(), _AHEAD, name="video-pictures") as decoded,
                ReadAhead(drawn(decoded), _AHEAD, name="video-drawing") as ready,
            ):
                written = 0
                for number, planes in enumerate(ready):
                    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                    frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE_HZ)
                    for packet in video.encode(frame):
                        output.mux(packet)
                    if sound is not None:
                        written = _add_sound(
                            output, audio, sound, start, number + 1, written, lost, last=start + number + 1 == stop
                        )
                    progress(0.05 + 0.94 * (number + 1) / (stop - start), f"frame {number + 1} of {stop - start}")
            for stream in (video, audio):
                if stream is not None:
                    for packet in stream.encode():
                        output.mux(packet)
    except FFmpegError as error:
        raise EnvironmentProblem(f"The video cannot be encoded ({error}); check the disk's space and PyAV.") from error
    return lost.sentences()


@dataclass
class _Lost:
    """Sound that could not be read while the video was written: silence is in its place."""

    samples: int = 0
    first: int = 0
    why: str = ""

    def add(self, first: int, stop: int, why: str) -> None:
        if not self.samples:
            self.first, self.why = first, why
        self.samples += stop - first

    def sentences(self) -> tuple[str, ...]:
        if not self.samples:
            return ()
        begin, length = self.first / RATE_HZ, self.samples / RATE_HZ
        return (f"{self.why} {length:.1f} s of the video are silent, the first at {begin:.1f} s.",)


def _add_sound(
    output: Any, stream: Any, sound: Sound, start: int, n_frames: int, written: int, lost: _Lost, *, last: bool
) -> int:
    """Encode the sound up to the end of the pictures so far; gives the samples written in all."""
    import av

    end = n_frames * RATE_HZ // FRAME_RATE_HZ
    if not last:  # whole frames of the encoder; the rest waits for the next picture
        end -= end % _AUDIO_FRAME
    if end <= written:
        return written
    begin = start * RATE_HZ // FRAME_RATE_HZ
    try:
        samples = sound.read(begin + written, begin + end)
    except InputError as error:  # the file has gone or changed since it was opened
        samples = np.zeros((sound.channels, end - written), dtype=np.float32)
        lost.add(written, end, str(error))
    for first in range(0, samples.shape[1], _AUDIO_FRAME):
        piece = np.ascontiguousarray(samples[:, first : first + _AUDIO_FRAME])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=_LAYOUT_OF[sound.channels])
        frame.sample_rate, frame.time_base = RATE_HZ, Fraction(1, RATE_HZ)
        frame.pts = written + first
        for packet in stream.encode(frame):
            output.mux(packet)
    return end


class _Canvas:
    """The picture of a frame: fixed parts drawn once, the rest copied into it."""

    def __init__(
        self, material: Material, options: VideoOptions, start: int, stop: int, heard: Heard | None = None
    ) -> None:
        self.material, self.options, self.start, self.stop, self.heard = material, options, start, stop, heard
        self.system = material.systems[0]
        self.labels, self.predictions = material.labels, material.tables[0]
        if self.predictions is not None and options.min_score > 0:
            self.predictions = self.predictions.take(~(self.predictions.score < options.min_score))
        self.energy_lut = sequential_lut(options.colormap)
        self.residual_lut = diverging_lut(dark=True)
        self.classes = self._classes()
        self.base = self._base()
        # one canvas for all frames: a new one of 2.7 MB costs more in page faults than drawing on it
        self._buffer = np.empty_like(self.base)

    def _classes(self) -> list[int]:
        found = [t.category_id for t in (self.labels, self.predictions) if t is not None]
        return sorted({int(c) for c in np.unique(np.concatenate(found))} & set(range(N_CLASSES))) if found else []

    # fixed parts

    def _base(self) -> Picture:
        width, height = SIZE_WH
        canvas = np.empty((height, width, 3), dtype=np.uint8)
        canvas[:] = _PAGE
        title = f"{self.material.place}   ·   {self.system.title}"
        if self.options.min_score > 0:
            title += f", scores from {self.options.min_score:g}"
        if self.heard is not None:
            title += f"   ·   {self.heard}"
        notes = ["simulated"] * self.material.recording.is_simulated + ["stand-in predictions"] * self.system.stand_in
        right = _text("   ·   ".join(notes), 15, (255, 196, 94), bold=True) if notes else None
        room = SIZE_WH[0] - _LEFT - 230 - (right.shape[1] + 24 if right is not None else 0)
        blit(canvas, _text(shortened(title, 17, room), 17, _TEXT, bold=True), _LEFT + 2, 9)
        if right is not None:
            blit(canvas, right, SIZE_WH[0] - 230 - right.shape[1] - 12, 10)
        self._draw_legend(canvas)
        self._draw_timeline(canvas)
        return canvas

    def _draw_legend(self, canvas: Picture) -> None:
        x, y = _SIDE_X, _TOP
        for category in self.classes:
            cv2.rectangle(canvas, (x, y + 3), (x + 13, y + 16), class_rgb(category), -1, cv2.LINE_AA)
            blit(canvas, _text(short_name(category), 14, _TEXT), x + 20, y)
            y += 22
        if self.options.layout == "overlay":
            y += 8
            for dashed, name in ((False, "ground truth"), (True, "prediction")):
                points = np.array([[x, y + 9.0], [x + 26, y + 9]])
                draw_line(canvas, points, _TEXT, 2, rim=2 if dashed else 0, dashed=dashed)
                blit(canvas, _text(name, 13, _MUTED), x + 33, y)
                y += 20
        bars = [("Energy" if self.options.scale == "fixed" else "Energy / peak", self.energy_lut, ("0", "1"))]
        if self.options.layout == "panels":
            bars.append(("Residual", self.residual_lut, ("−1", "1")))
        y = _TIMELINE_TOP - 8 - 58 * len(bars)
        for name, lut, (low, high) in bars:
            blit(canvas, _text(name, 13, _MUTED), x, y)
            ramp = lut[np.linspace(0, len(lut) - 1, 128).astype(int)]
            canvas[y + 20 : y + 30, x : x + 128] = ramp
            cv2.rectangle(canvas, (x, y + 20), (x + 127, y + 29), _RULE, 1)
            blit(canvas, _text(low, 12, _MUTED), x, y + 32)
            end = _text(high, 12, _MUTED)
            blit(canvas, end, x + 128 - end.shape[1], y + 32)
            y += 58

    def _draw_timeline(self, canvas: Picture) -> None:
        """Lanes of classes: what the labels say above, what the system says below, in the class's colour."""
        left, right, top, bottom = self._span()
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), _PANEL, -1)
        lane = (bottom - top) / max(len(self.classes), 1)
        for number, category in enumerate(self.classes):
            for half, table in ((0, self.labels), (1, self.predictions)):
                if table is None:
                    continue
                y0 = top + (number + 0.5 * half) * lane
                y1 = y0 + 0.5 * lane
                rows = slice(round(y0 + 0.5), max(round(y1 - 0.5), round(y0 + 0.5) + 1))
                frames = np.unique(table.frame[table.category_id == category])
                frames = frames[(frames >= self.start) & (frames < self.stop)]
                shade = 1.0 if half == 0 else 0.6
                colour = np.array(class_rgb(category)) * shade + np.array(_PANEL) * (1 - shade)
                first = np.floor(self._x(frames)).astype(int)
                last = np.maximum(np.ceil(self._x(frames + 1)).astype(int), first + 1)
                columns = np.zeros(SIZE_WH[0] + 2, dtype=np.int64)
                np.add.at(columns, first, 1)
                np.add.at(columns, last, -1)
                canvas[rows, np.flatnonzero(np.cumsum(columns)[: SIZE_WH[0]] > 0)] = colour.astype(np.uint8)
            if number:
                y = round(top + number * lane)
                canvas[y : y + 1, left:right] = _PAGE
        for second in _nice_ticks(self.start / FRAME_RATE_HZ, self.stop / FRAME_RATE_HZ):
            x = round(float(self._x(np.array(second * FRAME_RATE_HZ))))
            cv2.line(canvas, (x, bottom), (x, bottom + 3), _MUTED, 1)
            label = _text(_clock(second), 12, _MUTED)
            blit(canvas, label, min(max(x - label.shape[1] // 2, left), right - label.shape[1]), bottom + 3)
        x = _SIDE_X
        for y, name in ((top, "upper: ground truth"), (top + 17, "lower: prediction")):
            blit(canvas, _text(name, 12, _MUTED), x, y)

    def _span(self) -> tuple[int, int, int, int]:
        """Left, right, top and bottom of the timeline."""
        return _LEFT, _LEFT + 2 * _PANEL_WH[0] + _GAP, _TIMELINE_TOP + 2, SIZE_WH[1] - 24

    def _x(self, frame: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        left, right, _, _ = self._span()
        return left + (frame - self.start) / (self.stop - self.start) * (right - left)

    # a frame

    def draw(self, frame: int, picture: Picture | None) -> Picture:
        """RGB picture of a frame, valid until the next call."""
        canvas = self._buffer
        np.copyto(canvas, self.base)
        draw = self._panels if self.options.layout == "panels" else self._overlay
        draw(canvas, frame, picture)
        clock = _text(f"{_clock(frame / FRAME_RATE_HZ, tenths=True)}   frame {frame}", 17, _TEXT, bold=True)
        blit(canvas, clock, SIZE_WH[0] - 8 - clock.shape[1], 9)
        _, _, top, bottom = self._span()
        # the cursor stands in the middle of the frame that is shown
        x = round(float(self._x(np.array(frame + 0.5))))
        cv2.line(canvas, (x, top - 3), (x, bottom + 2), (255, 255, 255), 2)
        return canvas

    def _sides(self, frame: int) -> list[tuple[list[tuple[int, float, Patch]], npt.NDArray[np.float32] | None]]:
        """Patches and merged map of labels and predictions; no map where there is no table."""
        sides: list[tuple[list[tuple[int, float, Patch]], npt.NDArray[np.float32] | None]] = []
        for table in (self.labels, self.predictions):
            if table is None:
                sides.append(([], None))
                continue
            patches = [
                (int(table.category_id[i]), float(table.score[i]), annotation_patch(table, i, mode=self.options.mode))
                for i in _rows(table, frame)
            ]
            energy = merged_canvas(patch for _, _, patch in patches)
            if self.options.scale == "per-map" and energy.max() > 0:
                energy /= energy.max()
            sides.append((patches, energy))
        return sides

    def _panels(self, canvas: Picture, frame: int, picture: Picture | None) -> None:
        (truth, truth_map), (guess, guess_map) = self._sides(frame)
        width, height = _PANEL_WH
        corners = [(_LEFT + i * (width + _GAP), _TOP + j * (height + _GAP)) for j in (0, 1) for i in (0, 1)]
        views = [canvas[y : y + height, x : x + width] for x, y in corners]
        self._rgb(views[0], picture)
        self._outlines(views[0], truth, thin=True)
        for view, energy, patches, missing in (
            (views[1], truth_map, truth, "no labels"),
            (views[2], guess_map, guess, "no predictions"),
        ):
            if energy is None:
                _empty(view, missing)
                continue
            paint(view, energy_levels(energy), self.energy_lut)
            self._outlines(view, patches, thin=False)
        if truth_map is None or guess_map is None:
            _empty(views[3], "needs labels and predictions")
        else:
            paint(views[3], residual_levels(guess_map - truth_map), self.residual_lut)
        for view, title in zip(views, ("RGB + truth", "Ground truth", "Prediction", "Residual"), strict=True):
            self._ring(view, frame)
            _tag(view, title)

    def _overlay(self, canvas: Picture, frame: int, picture: Picture | None) -> None:
        (truth, _), (guess, guess_map) = self._sides(frame)
        width, height = _OVERLAY_WH
        view = canvas[_TOP : _TOP + height, _LEFT : _LEFT + width]
        self._rgb(view, picture)
        if guess_map is not None:
            lay_over(view, energy_levels(guess_map), self.energy_lut, opacity=0.75)
        self._outlines(view, truth, thin=False)
        self._outlines(view, guess, thin=False, dashed=True)
        self._ring(view, frame)
        for table, missing in ((self.labels, "no labels"), (self.predictions, "no predictions")):
            if table is None:
                _tag(view, missing, right=True)

    def _ring(self, view: Picture, frame: int) -> None:
        """Around the direction that is heard, on both sides of the seam."""
        there = None if self.heard is None else self.heard.at(frame)
        if there is None:
            return
        height, width = view.shape[:2]
        azimuth_deg, elevation_deg = there
        x, y = (180.0 - azimuth_deg) % 360.0 / 360.0 * width, (90.0 - elevation_deg) / 180.0 * height
        for turn in (-width, 0, width):
            middle = (round(x + turn - 0.5), round(y - 0.5))
            for colour, thickness in ((_PAGE, 5), (_TEXT, 2)):
                cv2.circle(view, middle, _RING, colour, thickness, cv2.LINE_AA)

    def _rgb(self, view: Picture, picture: Picture | None) -> None:
        if picture is None:
            _empty(view, "no video")
        else:
            cv2.resize(picture, (view.shape[1], view.shape[0]), dst=view, interpolation=cv2.INTER_LINEAR)

    def _outlines(
        self, view: Picture, patches: Sequence[tuple[int, float, Patch]], *, thin: bool, dashed: bool = False
    ) -> None:
        names = []
        for category, score, patch in patches:
            colour, curves = class_rgb(category), outlines(patch)
            thickness, rim = (2, 2) if dashed or not thin else (1, 2)
            draw_outlines(view, curves, colour, thickness=thickness, rim=rim, dashed=dashed)
            if curves:
                text = short_name(category) if np.isnan(score) else f"{short_name(category)} {score:.2f}"
                names.append(Name(text, colour, box_of(curves[0])))
        if not thin:
            write_names(view, names, below=dashed)


def _rows(table: AnnotationTable, frame: int) -> range:
    rows = table.frame_slice(frame)
    return range(rows.start, rows.stop)


def _text(text: str, size: int, colour: Colour, *, bold: bool = False, background: Colour = _PAGE) -> Picture:
    return text_tile(text, size, colour, bold=bold, background=background)


def _empty(view: Picture, text: str) -> None:
    view[:] = _PANEL
    tile = _text(text, 16, _MUTED, background=_PANEL)
    blit(view, tile, (view.shape[1] - tile.shape[1]) // 2, (view.shape[0] - tile.shape[0]) // 2)


def _tag(view: Picture, text: str, *, right: bool = False) -> None:
    tile = _text(f" {text} ", 14, _TEXT, background=_PAGE)
    blit(view, tile, view.shape[1] - tile.shape[1] if right else 0, 0)


def _clock(seconds: float, *, tenths: bool = False) -> str:
    minutes, rest = divmod(round(seconds * 10), 600)
    return f"{minutes}:{rest / 10:04.1f}" if tenths else f"{minutes}:{rest // 10:02d}"


def _nice_ticks(begin_s: float, end_s: float) -> list[float]:
    """At most a dozen whole seconds to label."""
    step: float = next((s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300) if (end_s - begin_s) / s <= 12), 600)
    first = -(-begin_s // step) * step
    return [first + k * step for k in range(int((end_s - first) // step) + 1)]

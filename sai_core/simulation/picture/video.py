"""Panoramic H.264 video of a scene, 29.97 frames a second like the official recordings."""

from __future__ import annotations

import math
import shutil
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Final

from sai_core.errors import EnvironmentProblem
from sai_core.files import atomic_write
from sai_core.simulation.audio import RenderedAudio
from sai_core.simulation.picture.stage import Stage
from sai_core.simulation.scene import Scene

FRAME_RATE: Final[Fraction] = Fraction(30_000, 1001)

_HOLD: Final[int] = 2
"""Movements are drawn for every second frame: 15 a second, half as many people to cast, labels have 10 a second."""


def write_video(
    scene: Scene, sound: RenderedAudio, path: Path, *, size_wh: tuple[int, int] = (1920, 960), crf: int = 23
) -> int:
    """Render and encode the video of a scene; returns the number of frames.

    Frame n is shown at ``n * 1001 / 30000`` s; movements are drawn for the even ones. The video covers the whole
    recording.

    Parameters
    ----------
    scene, sound
        The scene and its rendered audio (for the movements).
    path : Path
        An ``.mp4`` file, replaced only when everything has been written.
    size_wh : pair of int
        Pixels, width twice the height. Azimuth 0 is at the middle column and grows to the left; elevation +90 is the
        upper edge (label grid, pixel centres).
    crf : int
        Quality of libx264, 0 (lossless) to 51.
    """
    import av

    stage = Stage(scene, sound.heard, size_wh=size_wh)
    n_frames = math.ceil(Fraction(scene.duration_s).limit_denominator(1000) * FRAME_RATE)
    try:
        with tempfile.TemporaryDirectory(prefix="sai-video-") as folder:
            # the index goes to the front in a second pass over a named file, so that a browser can start at once
            draft = Path(folder) / "draft.mp4"
            with av.open(str(draft), "w", format="mp4", options={"movflags": "faststart"}) as output:
                video = output.add_stream("libx264", rate=FRAME_RATE)
                video.width, video.height = size_wh
                video.pix_fmt = "yuv420p"
                # a key frame every second makes seeking cheap; one thread: workers are parallel already
                video.options = {"crf": str(crf), "preset": "veryfast", "g": "30", "threads": "1"}
                shown = stage.frame(0.0)
                for n in range(n_frames):
                    if n % _HOLD == 0:
                        shown = stage.frame(float(n / FRAME_RATE))
                    picture = av.VideoFrame.from_ndarray(shown, format="rgb24")
                    picture.pts = n
                    for packet in video.encode(picture):
                        output.mux(packet)
                for packet in video.encode():
                    output.mux(packet)
            with open(draft, "rb") as source, atomic_write(path) as target:
                shutil.copyfileobj(source, target)
    except (av.error.FFmpegError, OSError) as error:
        raise EnvironmentProblem(f"{path}: the video cannot be written ({error.strerror or error}).") from error
    return n_frames

"""Figures page: video of a recording with its sound."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Final

import streamlit as st

from pages.components import background, roles
from pages.components import state_keys as keys
from pages.components.text import plain
from pages.figures import common, sound
from sai_core.dataset import DataRoot, PredictionSet, Recording
from sai_core.errors import SaiError
from sai_core.figures.heard import Heard
from sai_core.figures.paper.material import System, system_of_set
from sai_core.figures.video import VideoLayout, VideoOptions, VideoReport, write_video
from sai_core.files import cache_root, file_signatures
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.jobs import Job
from sai_core.progress import Progress

_LAYOUT_WORDS: Final[dict[VideoLayout, str]] = {"panels": "Four panels", "overlay": "Overlay"}
_KEPT: Final[int] = 6
"""Finished videos kept in the cache for downloading."""

_LARGEST_PREVIEW: Final[int] = 120 << 20
"""Streamlit holds a shown video in memory as a whole."""


def draw(root: DataRoot, recording: Recording, systems: list[PredictionSet], n_frames: int) -> None:
    """Draw this part of the page."""
    prefix = keys.FIGURES_VIDEO
    left, right = st.columns([1, 2.6], gap="medium")
    with left:
        by_name = {s.name: s for s in systems if recording.name in s.files}
        if len(by_name) > 1:
            name = st.selectbox(
                "System shown", list(by_name), format_func=lambda n: by_name[n].title, key=f"{prefix}system"
            )
            system = system_of_set(by_name[name], recording.name)
        elif by_name:
            system = system_of_set(next(iter(by_name.values())), recording.name)
        else:
            system = System("no predictions", None)
        layout = common.choose_layout(prefix, _LAYOUT_WORDS)
        seconds = n_frames / FRAME_RATE_HZ
        begin, end = 0.0, seconds
        if n_frames > 1:
            begin, end = st.slider(
                "Part (s)", 0.0, seconds, (0.0, seconds), 0.1, format="%.1f", key=f"{prefix}part_{recording.name}"
            )
        heard = sound.choose(prefix, recording, system)
        min_score = common.choose_min_score(prefix)
        with st.expander("Maps"):
            mode, scale = common.choose_maps(prefix)
            colormap = common.choose_colormap(prefix)
        folder = roles.path_field(
            "Folder (empty: download)",
            key=f"{prefix}folder",
            persist_state="session",
            placeholder="outside the data root",
        )
        start = min(round(begin * FRAME_RATE_HZ), max(n_frames - 1, 0))
        stop = max(round(end * FRAME_RATE_HZ), start + 1)
        options = VideoOptions(
            layout=layout,
            mode=mode,
            scale=scale,
            colormap=colormap,
            start=start,
            stop=stop,
            min_score=min_score,
        )
        name = common.safe_name(
            recording.name, system.title, str(layout), *_part(start, stop, n_frames), *_sound(heard)
        )
        name += ".mp4"
        paths = [recording.label_path, recording.metadata_path, recording.video_path, recording.audio_path, system.path]
        paths += [recording.mic_path, recording.foa_path, recording.eigen_path]
        mark = "" if heard is None else heard.mark
        key = ("video", str(root.path), system.title, repr(options), file_signatures(paths), folder.strip(), mark)
        shop = common.workshop()
        job: Job[VideoReport] | None = shop.find(key)
        go = roles.button(
            f"Make the video ({(stop - start) / FRAME_RATE_HZ:.1f} s)",
            type="primary",
            icon=":material/movie:",
            disabled=bool(job and job.active),
        )
    with right:
        if go:
            try:
                target = common.output_file(folder, name, root)
            except SaiError as error:
                st.error(plain(error))
                return
            path = target or _cached(key)

            def work(progress: Progress) -> VideoReport:
                return write_video(recording, system, path, options=options, heard=heard, progress=progress)

            job = shop.submit(key, work, title="Video", reuse="active", needs="make")
            job.wait(0.3)
        if job is None:
            st.info(
                "Ten frames per second with the recording's sound or what is heard in a direction, a legend and a "
                "timeline, as MP4 (H.264, AAC). It is made in the background; all pages stay usable meanwhile."
            )
        elif background.ready(job):
            _show(job.value, name, written=bool(folder.strip()))


def _part(start: int, stop: int, n_frames: int) -> tuple[str, ...]:
    return () if (start, stop) == (0, n_frames) else (f"{start}-{stop}",)


def _sound(heard: Heard | None) -> tuple[str, ...]:
    return () if heard is None else (str(heard).removeprefix("heard: "),)


def _cached(key: tuple[object, ...]) -> Path:
    """File in the cache; the oldest kept are removed."""
    folder = cache_root() / "figures" / "videos"
    digest = hashlib.blake2b(repr(key).encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
    path = folder / f"{digest}.mp4"
    with suppress(OSError):
        kept = sorted((p for p in folder.glob("*.mp4") if p != path), key=lambda p: p.stat().st_mtime)
        for old in kept[: max(0, len(kept) - _KEPT + 1)]:
            old.unlink()
    return path


def _show(report: VideoReport, name: str, *, written: bool) -> None:
    for note in report.notes:
        st.warning(plain(note))
    try:
        size = report.path.stat().st_size
    except OSError:
        st.info("This video has since been removed from the cache; make it again.")
        return
    if size <= _LARGEST_PREVIEW:
        st.video(str(report.path))
    line = f"{report.n_frames} frames, {report.duration_s:.1f} s, {size / 1e6:.1f} MB"
    if written:
        st.success(plain(f"Written: {report.path} ({line})."))
        return
    st.download_button(
        f"Download ({line})",
        data=report.path.read_bytes,
        file_name=name,
        mime="video/mp4",
        icon=":material/download:",
        type="primary",
        on_click="ignore",
    )

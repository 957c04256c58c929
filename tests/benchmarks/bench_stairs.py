"""Speed of the label recipe against a plain version of it: ``python -m tests.benchmarks.bench_stairs``.

Both run on the same audio in turns, so that whatever else the machine does falls on both; the ratio is that of the
fastest runs. The audio is made here: two moving sources and one by the seam, reflections, noise, the sources of the
label in every frame. Threads are left as they are set outside.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sai_core.acoustics.audio_input import AudioInput
from sai_core.annotations import DcaseMetadata, read_annotations, write_label_json
from sai_core.geometry import directions_to_vectors, em32_positions_m
from sai_core.labelling import apgd, intensity, recipe, regions
from tests.benchmarks import literal_stairs

STAGES = ("visibilities", "solver", "interpolation", "contours", "JSON")


def scene(n_frames: int, seed: int = 5) -> tuple[npt.NDArray[np.float32], list[literal_stairs.Row]]:
    """Audio (samples, 32) and metadata rows."""
    rng = np.random.default_rng(seed)
    n = n_frames * 2400
    frequency = np.fft.rfftfreq(n, 1 / 24000)[:, None]
    capsules = em32_positions_m()
    audio = np.zeros((n, 32))
    rows: list[literal_stairs.Row] = []
    for source, (azimuth, elevation, drift) in enumerate(
        [(-60.0, 10.0, 4.0), (100.0, -25.0, -3.0), (178.0, 20.0, 0.0)]
    ):
        envelope = np.repeat(rng.uniform(0.2, 1.0, n_frames), 2400)
        spectrum = np.fft.rfft(rng.standard_normal(n) * envelope)[:, None]
        # twenty pieces of the path, cross-faded by time, would be more natural; a step a second does for timing
        for begin in range(0, n_frames, 10):
            end = min(begin + 10, n_frames)
            here = azimuth + drift * begin / 10
            window = np.zeros(n)
            window[begin * 2400 : end * 2400] = 1
            delay = capsules @ directions_to_vectors(here, elevation) / 340.5
            audio += np.fft.irfft(spectrum * np.exp(2j * np.pi * frequency * delay), n, axis=0) * window[:, None]
            # about two sources a frame, as in real recordings: the third has rows in every second second
            if source < 2 or begin % 20 == 0:
                rows += [
                    (k, source, 0, float((round(here) + 180) % 360 - 180), elevation, 150.0) for k in range(begin, end)
                ]
        for _ in range(4):
            delay = rng.uniform(0.005, 0.1) - capsules @ rng.normal(size=3) / 340.5
            audio += 0.3 * np.fft.irfft(spectrum * np.exp(-2j * np.pi * frequency * delay), n, axis=0)
    audio += 0.05 * audio.std() * rng.standard_normal(audio.shape)
    return (0.5 * audio / np.abs(audio).max()).astype(np.float32), sorted(rows)


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result


def _core_seconds(function: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall-clock seconds, seconds of all cores together, result."""
    cores = time.process_time()
    wall, result = _timed(function)
    return wall, time.process_time() - cores, result


def ours(audio: npt.NDArray[np.float32], metadata: DcaseMetadata, folder: Path) -> None:
    """From samples to both label files."""
    _write(recipe.label_recording(audio, metadata, recording="bench"), folder)


def _write(labels: recipe.StairsLabels, folder: Path) -> None:
    write_label_json(labels.raw, folder / "ours_raw.json")
    write_label_json(labels.table, folder / "ours_std.json")


def our_stages(audio: npt.NDArray[np.float32], metadata: DcaseMetadata, folder: Path) -> dict[str, float]:
    """Seconds of each stage run by itself, one thread, nothing at the same time."""
    seconds = dict.fromkeys(STAGES, 0.0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    n_frames = len(audio) // 2400

    solver = intensity._BandSolver(dtype="float64", device="cpu", options=apgd.ApgdOptions())

    def front() -> tuple[torch.Tensor, torch.Tensor]:
        return solver.prepare(AudioInput(audio, channels=32).read(0, n_frames))

    seconds["visibilities"], (power, norm) = _timed(front)
    seconds["solver"], solution = _timed(lambda: apgd.solve_chains(solver._problem, power, norm))
    maps = solution.intensity.median(1).values.double().numpy()
    where = list(zip(metadata.frame, metadata.azimuth_deg, metadata.elevation_deg, strict=True))
    # interpolation and contours are one pass over a window of the canvas here
    seconds["contours"], _ = _timed(
        lambda: [regions.official_regions(maps[f], float(a), float(e)) for f, a, e in where]
    )
    labels = recipe.label_recording(audio, metadata, recording="bench")
    seconds["JSON"], _ = _timed(lambda: _write(labels, folder))
    torch.set_num_threads(before)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=50, help="length of the audio in frames of 100 ms")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    audio, rows = scene(args.frames)
    table = np.array(rows)
    metadata = DcaseMetadata(
        table[:, 0].astype(np.int32),
        table[:, 1].astype(np.int16),
        table[:, 2].astype(np.int64),
        table[:, 3],
        table[:, 4],
        table[:, 5],
    )
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads; {args.frames} frames, {len(rows)} rows, {args.turns} turns"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours(audio[: 5 * 2400], metadata, folder)  # loads libraries, makes the constants
        plain: list[dict[str, float]] = []
        fast: list[tuple[float, float]] = []
        slow: list[tuple[float, float]] = []
        stages: list[dict[str, float]] = []
        for _ in range(args.turns):
            wide = audio.astype(np.float64)
            wall, cores, parts = _core_seconds(
                lambda: literal_stairs.label(wide, rows, folder / "raw.json", folder / "std.json")  # noqa: B023
            )
            plain.append(parts)
            slow.append((wall, cores))
            fast.append(_core_seconds(lambda: ours(audio, metadata, folder))[:2])
            stages.append(our_stages(audio, metadata, folder))
        official, mine = (read_annotations(folder / f, use_cache=False) for f in ("std.json", "ours_std.json"))
        same = np.array_equal(official.points_xy, mine.points_xy)
        worst = float(np.abs(official.energy - mine.energy).max()) if same else float("nan")
    print(f"same pixels: {same}, largest difference of an energy: {worst:.1e}")
    print(f"{'ms a frame':<16}{'plain':>10}{'ours':>10}{'ratio':>8}")
    for stage in STAGES:
        a = min(p[stage] for p in plain) / args.frames * 1e3
        b = min(s[stage] for s in stages) / args.frames * 1e3
        note = "  (in contours)" if stage == "interpolation" else ""
        print(f"{stage:<16}{a:>10.2f}{b:>10.2f}{(f'{a / b:.0f}' if b else '-'):>8}{note}")
    for k, (word, note) in enumerate((("all, wall clock", "(two stages side by side)"), ("all, core time", ""))):
        a, b = (min(pair[k] for pair in pairs) / args.frames * 1e3 for pairs in (slow, fast))
        print(f"{word:<16}{a:>10.2f}{b:>10.2f}{a / b:>8.0f}  {note}")


if __name__ == "__main__":
    main()

"""What float32 costs a label: ``python -m tests.benchmarks.label_precision``.

Audio that is hard on the solver (reverberation, coherent sources, near silence, sources that fade by 80 dB, one bit of
noise) is labelled in float32 and in float64. Deterministic; prints the largest differences of each kind.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sai_core.annotations import DcaseMetadata
from sai_core.geometry import directions_to_vectors, em32_positions_m
from sai_core.labelling import intensity, recipe, regions

FloatArray = npt.NDArray[np.float64]


def _wave(signal: FloatArray, azimuth_deg: float, elevation_deg: float, delay_s: float = 0.0) -> FloatArray:
    """Plane wave at the capsules, (samples, 32)."""
    delay = delay_s - em32_positions_m() @ directions_to_vectors(azimuth_deg, elevation_deg) / 340.5
    frequency = np.fft.rfftfreq(len(signal), 1 / 24000)[:, None]
    spectrum = np.fft.rfft(signal)[:, None] * np.exp(-2j * np.pi * frequency * delay)
    return np.fft.irfft(spectrum, len(signal), axis=0)


def hard_audio(n_frames: int, seed: int) -> Iterator[tuple[str, FloatArray]]:
    """Kinds of audio that are ill-conditioned, (samples, 32) each; sources at (-60, 10) and (100, -25) degrees."""
    rng = np.random.default_rng(seed)
    n = n_frames * 2400
    a, b = rng.standard_normal((2, n))
    direct = _wave(a, -60, 10) + _wave(b, 100, -25)
    echoes = np.zeros((n, 32))
    for k in range(30):
        azimuth, elevation = rng.uniform(-180, 180), np.degrees(np.arcsin(rng.uniform(-1, 1)))
        echoes += 0.8 ** (k / 3) * _wave(a if k % 2 else b, azimuth, elevation, rng.uniform(0.003, 0.3))
    yield "reverberant", direct + echoes
    yield "diffuse", echoes
    yield "coherent sources", _wave(a, -60, 10) + _wave(a, 100, -25, 0.001)
    fading = np.logspace(0, -4, n)[:, None]
    yield "fading by 80 dB, 16 bit", np.round(0.3 * direct / np.abs(direct).max() * fading * 32767) / 32768
    yield "one bit of noise", np.round(0.7 * rng.standard_normal((n, 32))) / 32768
    yield "bursts and silence", direct * np.repeat(rng.random(n_frames) < 0.3, 2400)[:, None]
    tone = np.sin(2 * np.pi * 3000 * np.arange(n) / 24000)
    yield "tones", _wave(tone, -60, 10) + _wave(tone, 100, -25, 0.0001)


def rows(n_frames: int) -> DcaseMetadata:
    """Both sources in every frame."""
    frame = np.repeat(np.arange(n_frames, dtype=np.int32), 2)
    n = len(frame)
    return DcaseMetadata(
        frame,
        np.zeros(n, np.int16),
        np.tile(np.arange(2, dtype=np.int64), n_frames),
        np.tile([-60.0, 100.0], n_frames),
        np.tile([10.0, -25.0], n_frames),
        np.full(n, 100.0),
    )


def compare(audio: FloatArray) -> tuple[float, int, int]:
    """Largest difference of an energy on common pixels, pixels of one label alone, frames off by more than 1e-5."""
    metadata = rows(len(audio) // 2400)
    narrow, wide = (
        recipe.label_recording(audio, metadata, recording="r", dtype=dtype).table for dtype in ("float32", "float64")
    )
    maps = [intensity.intensity_maps(audio, dtype=dtype).astype(np.float64) for dtype in ("float32", "float64")]
    peak = np.maximum(maps[1].max(axis=1), regions.AMPLITUDE_THRESHOLD)
    off = int((np.abs(maps[0] - maps[1]).max(axis=1) > 1e-5 * peak).sum())
    pixels: list[dict[tuple[int, int, int, int], float]] = []
    for table in (narrow, wide):
        of_polygon = np.repeat(np.arange(len(table.point_offsets) - 1), np.diff(table.point_offsets))
        row = np.repeat(np.arange(len(table)), np.diff(table.polygon_offsets))[of_polygon]
        keys = zip(table.frame[row], table.instance_id[row], *table.points_xy.T.astype(int), strict=True)
        pixels.append(dict(zip(((int(f), int(i), int(x), int(y)) for f, i, x, y in keys), table.energy, strict=True)))
    common = pixels[0].keys() & pixels[1].keys()
    worst = max((abs(pixels[0][k] - pixels[1][k]) for k in common), default=0.0)
    return float(worst), len(pixels[0].keys() ^ pixels[1].keys()), off


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100, help="length of each kind in frames of 100 ms")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(f"{'':<26}{'energy':>10}{'pixels':>8}{'frames':>8}  of {args.frames}")
    for kind, audio in hard_audio(args.frames, args.seed):
        worst, pixels, frames = compare(audio)
        print(f"{kind:<26}{worst:>10.1e}{pixels:>8}{frames:>8}", flush=True)


if __name__ == "__main__":
    main()

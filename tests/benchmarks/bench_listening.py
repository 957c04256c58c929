"""What listening in a direction is worth, and what it costs: two talkers 60 degrees apart in simulated rooms.

    python -m tests.benchmarks.bench_listening [--scenes 3] [--seconds 4] [--ways WAY ...] [--json FILE]

Rooms: none (direct sound alone), and reverberation of 0.2 and 0.35 s (Eyring, 1 kHz); talkers at 1.5 m, diffuse noise
50 dB below the first. For each array and way of listening, the median over scenes of

* ``other``: level of the other talker in what is heard against the omnidirectional channel, dB;
* ``own``: the same of the talker that is listened to;
* ``gain``: SI-SDR against the talker's direct sound, minus that of the mean of all channels (FOA: of W).

The shares of the two talkers are exact: weights that were made for the mix are applied to each talker by itself. Beam
accuracy is the angle between the aimed direction and the strongest of a plane wave's directions (one-degree steps along
two great circles through the aim), over 41 aims, at 500 Hz to 2 kHz. Times are of this process alone
(:func:`time.process_time`), with one BLAS thread where the environment says so.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sai_core.acoustics import rigid_sphere
from sai_core.geometry import (
    SAMPLES_PER_FRAME,
    directions_to_vectors,
    fibonacci_lattice_deg,
    great_circle_deg,
    vectors_to_directions,
)
from sai_core.listening.beams import BEAMS, adaptive_weights, beam_encoder, beam_weights
from sai_core.listening.binaural import ears
from sai_core.listening.encoding import Array, Encoder, capsules_of, design_frequencies, orders_of
from sai_core.listening.solo import Solo
from tests.listening.scenes import CHANNELS, Talkers, level_db, reader_of, si_sdr_db, talkers

ARRAYS: tuple[Array, ...] = ("foa", "mic", "eigen")
WAYS: tuple[str, ...] = (*BEAMS, "adaptive", "solo, others unknown", "solo")
ROOMS: tuple[float | None, ...] = (None, 0.2, 0.35)


def _heard(scene: Talkers, array: Array, way: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mix by one way of listening to the first talker, and each talker's share."""
    n = scene.noise.shape[1]
    own = scene.tracks[0]
    mixes = [scene.mix(array), *(part[CHANNELS[array]].T for part in scene.parts)]
    if way.startswith("solo"):
        others = [scene.tracks[1]] if way == "solo" else []
        solos = [Solo(array, reader_of(mix), own, others) for mix in mixes]
        for solo in solos[1:]:
            solo._inverse = solos[0]._inverse  # type: ignore[method-assign]
        whole, one, two = (solo.render(0, n) for solo in solos)
        return whole, one, two
    if way == "adaptive":
        encoder = Encoder(array, 1)
        frames = n // SAMPLES_PER_FRAME
        framed = [
            encoder.encode(reader_of(mix), 0, frames * SAMPLES_PER_FRAME).reshape(frames, SAMPLES_PER_FRAME, 4)
            for mix in mixes
        ]
        single = np.einsum("kti,ktj->kij", framed[0].astype(np.float64), framed[0])
        around = [single[max(k - 5, 0) : k + 6].sum(axis=0) for k in range(frames)]
        adapted = np.stack([adaptive_weights(c, own.azimuth_deg[0], own.elevation_deg[0]) for c in around])
        whole, one, two = (np.einsum("kth,kh->kt", harmonics, adapted).ravel() for harmonics in framed)
        return whole, one, two
    assert way in BEAMS
    encoder = beam_encoder(array, way)
    weights = beam_weights(way, encoder.order, own.azimuth_deg[0], own.elevation_deg[0])[0]
    whole, one, two = (encoder.encode(reader_of(mix), 0, n) @ weights for mix in mixes)
    return whole, one, two


def suppression(n_scenes: int, seconds: float, ways: Sequence[str]) -> list[dict[str, Any]]:
    """One row for each room, array and way of listening."""
    rows = []
    for rt60_s in ROOMS:
        scenes = [talkers(seed, seconds=seconds, rt60_s=rt60_s) for seed in range(1, n_scenes + 1)]
        for array in ARRAYS:
            for way in ways:
                figures = []
                for scene in scenes:
                    whole, one, two = _heard(scene, array, way)
                    mix = scene.mix(array)
                    mono = mix[:, 0] if array == "foa" else mix.mean(axis=1)
                    figures.append(
                        (
                            level_db(two) - level_db(scene.parts[1][32]),
                            level_db(one) - level_db(scene.parts[0][32]),
                            si_sdr_db(whole, scene.dry[0]) - si_sdr_db(mono, scene.dry[0]),
                        )
                    )
                other, own, gain = np.median(figures, axis=0).tolist()
                rows.append({"rt60_s": rt60_s, "array": array, "way": way, "other": other, "own": own, "gain": gain})
                print(
                    f"{'no room' if rt60_s is None else f'{rt60_s} s':>8}  {array:<6} {way:<21} other {other:6.1f} dB  "
                    f"own {own:5.1f} dB  SI-SDR {gain:+5.1f} dB",
                    flush=True,
                )
    return rows


def accuracy() -> list[dict[str, Any]]:
    """Angle between aim and strongest direction of max-rE beams, median and largest."""
    aims = np.stack(fibonacci_lattice_deg(), axis=1)[::12]
    bins = np.flatnonzero((design_frequencies() >= 500) & (design_frequencies() <= 2000))[::16]
    rows = []
    for array in ARRAYS:
        encoder = beam_encoder(array, "max-re")
        matrix = encoder.matrix()[bins] / np.sqrt(2.0 * orders_of(encoder.order) + 1.0)[:, None]
        angles = []
        for azimuth, elevation in aims:
            aim = directions_to_vectors(azimuth, elevation)
            side = np.cross(aim, [0.0, 0.0, 1.0])
            side /= np.linalg.norm(side)
            turn = np.deg2rad(np.arange(-20, 21))[:, None]
            around = [np.cos(turn) * aim + np.sin(turn) * way for way in (side, np.cross(side, aim))]
            looked = vectors_to_directions(np.concatenate(around))
            if array == "foa":
                plain = rigid_sphere.sh_matrix(1, *looked, normalisation="sn3d").T.astype(np.complex128)
                waves = plain[None].repeat(len(bins), 0)
            else:
                waves = rigid_sphere.steering(
                    *looked, design_frequencies()[bins], capsules_deg=capsules_of(array), convention="fft"
                )
            weights = beam_weights("max-re", encoder.order, azimuth, elevation)[0]
            power = (np.abs(np.einsum("h,fhc,fcd->fd", weights, matrix, waves)) ** 2).mean(axis=0)
            best = int(np.argmax(power))
            angles.append(float(great_circle_deg(azimuth, elevation, looked[0][best], looked[1][best])))
        rows.append({"array": array, "median_deg": float(np.median(angles)), "largest_deg": max(angles)})
        print(f"beam accuracy  {array:<6} median {np.median(angles):.1f} deg, largest {max(angles):.1f} deg")
    return rows


def costs(seconds: float) -> list[dict[str, Any]]:
    """Processor seconds a minute of audio, and bytes a second of what a player would fetch."""
    scene = talkers(1, seconds=seconds)
    n = scene.noise.shape[1]
    rows = []
    for array in ARRAYS:
        read = reader_of(scene.mix(array))
        encoder = Encoder(array)
        both = ears(encoder)
        work = {
            "encode": lambda read=read, encoder=encoder: encoder.encode(read, 0, n),
            "two ears": lambda read=read, both=both: both.apply(read, 0, n),
            "solo": lambda read=read, array=array: Solo(array, read, scene.tracks[0], scene.tracks[1:]).render(0, n),
        }
        for name, run in work.items():
            if name != "solo":
                run()  # filters are made once a session
            began = time.process_time()
            run()
            a_minute = (time.process_time() - began) * 60 / seconds
            rows.append({"array": array, "work": name, "s_per_minute": a_minute})
            print(f"{array:<6} {name:<9} {a_minute:6.2f} s of processor a minute of audio")
        print(f"{array:<6} {encoder.n_out} harmonics of 16 bit: {encoder.n_out * 48:.0f} kB/s")
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="ways of listening (all)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = {
        "accuracy": accuracy(),
        "costs": costs(args.seconds),
        "suppression": suppression(args.scenes, args.seconds, args.ways),
    }
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

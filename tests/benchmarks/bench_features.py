"""How fast the acoustic front end is, against a plain per-frame version, in one interleaved run.

    python -m tests.benchmarks.bench_features [--weights UpLAM.pth] [--frames 400] [--rounds 5] [--json FILE]

Both read the same WAV file with the same weights; theirs in float64 frame by frame with all threads inside torch's
operations, ours in float32 as ``extract`` does it. Rounds alternate, so that whatever else the machine does hits both;
the ratio is that of the medians. ``bound`` is what the arithmetic alone would take here: the convolutions at the speed
of a large matrix product, plus LAPACK's eigendecompositions, on all cores, both measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import torch

from sai_core.acoustics.features import MapMaker, extract
from sai_core.acoustics.hermitian import psd_part, unpack
from sai_core.acoustics.networks import UpLAM
from sai_core.acoustics.projection import to_canvas
from sai_core.acoustics.visibility import visibility_tensors
from tests.acoustics.official_rule import official_state
from tests.benchmarks.literal_features import LiteralFeatures

CONVOLUTION_GFLOP = 0.107
"""Of both paths of the official back-projection, per frame: 18 kernels of 12 x 12 on 32 x 32 channels and 16 tiles
(2.36 million products each), the input layers and two 3 x 3 kernels on 64 x 9 channels and 1,024 pixels."""


def _timed(work, rounds: int = 5) -> float:
    work()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def _stages(maker: MapMaker, wave: Path) -> dict[str, float]:
    """Milliseconds a frame of each stage, one thread."""
    assert isinstance(maker._model, UpLAM)
    model, frames = maker._model, maker._chunk
    source = maker.open(wave)
    frames = min(frames, len(source))
    audio = source.read(0, frames)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            tensor = torch.from_numpy(audio)
            matrices = visibility_tensors(tensor).matrices
            upsampled = model.upsample(matrices)
            latent = model.lam(upsampled, packed=True)
            work = {
                "read": lambda: source.read(0, frames),
                "visibility": lambda: visibility_tensors(tensor),
                "(visibility by the report's recipe)": lambda: visibility_tensors(tensor, recipe="report"),
                "(visibility by precedence)": lambda: visibility_tensors(tensor, recipe="precedence"),
                "upsample": lambda: [model.upsample(part) for part in matrices.split(20)],
                "lam": lambda: model.lam(upsampled, packed=True),
                "lam: positive part": lambda: psd_part(upsampled),
                "(projection to the canvas)": lambda: to_canvas(latent),
            }
            return {name: 1e3 * _timed(stage) / frames for name, stage in work.items()}
    finally:
        torch.set_num_threads(threads)


def _bound(threads: int) -> dict[str, float]:
    """Milliseconds a frame that the arithmetic takes on all cores, measured with one thread per core at once."""
    a = torch.randn(1024, 1024)
    hermitian = unpack(torch.randn(9 * 20, 32, 32))

    def product() -> None:
        for _ in range(4):
            a @ a

    def eigen() -> None:
        torch.linalg.eigh(hermitian)

    def together(work) -> float:
        with ThreadPoolExecutor(threads) as pool:
            return _timed(lambda: list(pool.map(lambda _: work(), range(threads))))

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        gflops = threads * 4 * 2 * 1.024**3 / together(product)
        eigh_ms = 1e3 * together(eigen) / (20 * threads)
    finally:
        torch.set_num_threads(before)
    convolution_ms = 1e3 * CONVOLUTION_GFLOP / gflops
    return {
        "matrix product GFLOP/s": gflops,
        "convolutions ms": convolution_ms,
        "eigendecompositions ms": eigh_ms,
        "bound ms": convolution_ms + eigh_ms,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="official UpLAM.pth (the oracle's rule B if not given)")
    parser.add_argument("--audio", type=Path, help="four-channel WAV at 24 kHz (noise if not given)")
    parser.add_argument("--frames", type=int, default=400, help="frames of a round of ours (400)")
    parser.add_argument("--literal-frames", type=int, default=20, help="frames of a round of the plain version (20)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="threads of both (all; one is steadier on a busy machine)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        wave, weights = args.audio, args.weights
        if wave is None:
            wave = Path(folder) / "noise.wav"
            noise = 0.1 * np.random.default_rng(0).standard_normal((args.frames * 2400, 4))
            soundfile.write(wave, noise, 24000, subtype="PCM_16")
        if weights is None:
            weights = Path(folder) / "UpLAM.pth"
            torch.save(official_state("B"), weights)
        state = torch.load(weights, weights_only=True)
        maker = MapMaker(weights=weights, device="cpu")
        literal = LiteralFeatures(state)
        theirs, ours = [], []
        warm = extract(wave, maker=maker)
        difference = 0.0
        for index in range(3):
            expected = literal.frame(wave, index)[0]
            difference = max(difference, float(np.abs(warm.lattice[index] - expected).max() / expected.max()))
        literal.seconds.clear()
        for _ in range(args.rounds):
            begin = time.perf_counter()
            for index in range(args.literal_frames):
                literal.frame(wave, index % len(warm))
            theirs.append(1e3 * (time.perf_counter() - begin) / args.literal_frames)
            begin = time.perf_counter()
            extract(wave, maker=maker)
            ours.append(1e3 * (time.perf_counter() - begin) / len(warm))
        done = args.rounds * args.literal_frames
        result: dict[str, object] = {
            "threads": torch.get_num_threads(),
            "largest difference over peak": difference,
            "literal ms a frame": statistics.median(theirs),
            "ours ms a frame": statistics.median(ours),
            "fastest round of each, ms": [min(theirs), min(ours)],
            "ratio of medians": statistics.median(theirs) / statistics.median(ours),
            "ratio in each round": [a / b for a, b in zip(theirs, ours, strict=True)],
            "literal by stage, ms": {name: 1e3 * value / done for name, value in literal.seconds.items()},
            "ours by stage on one thread, ms": _stages(maker, wave),
            "bound on all threads": _bound(torch.get_num_threads()),
        }
        bound = result["bound on all threads"]
        assert isinstance(bound, dict)
        result["ours over bound"] = statistics.median(ours) / bound["bound ms"]
        if torch.cuda.is_available():
            result["GPU"] = _gpu(weights, Path(folder), statistics.median(theirs))
    text = json.dumps(result, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


def _gpu(weights: Path, folder: Path, literal_ms: float) -> dict[str, object]:
    """Ten minutes of audio on the GPU, beside the time of reading the file alone."""
    wave = folder / "long.wav"
    noise = 0.1 * np.random.default_rng(1).standard_normal((6000 * 2400, 4))
    soundfile.write(wave, noise, 24000, subtype="PCM_16")
    maker = MapMaker(weights=weights, device="cuda")
    extract(wave, maker=maker)
    seconds = _timed(lambda: extract(wave, maker=maker), 3)
    read = _timed(lambda: [None for _ in maker.open(wave).blocks(640)], 3)
    return {
        "device": torch.cuda.get_device_name(),
        "ms a frame": 1e3 * seconds / 6000,
        "of which reading": 1e3 * read / 6000,
        "ratio": literal_ms * 6000 / (1e3 * seconds),
    }


if __name__ == "__main__":
    main()

"""Everything that runs on a GPU, measured and held against the processor, in one command.

    make bench-gpu
    python -m tests.benchmarks.gpu [--device cuda] [--json gpu.json] [--markdown gpu.md] [--minutes 25] [--rows ROW ...]

Each row runs in a process of its own with a time limit, so that one that fails or hangs is a line of the table and the
others go on. Rows that agree with the processor say how far; a row whose results differ is marked, and the exit code
is 1. With ``--device cpu --small`` the same code runs anywhere in a few minutes; its figures mean nothing, and a test
does so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import sai_core.training
from sai_core.detections.boxes import paired_iou
from sai_core.detections.raw import RawColumns, RawDetections
from sai_core.detector.baseline import OfficialBaseline
from sai_core.detector.config import DetectorConfig
from sai_core.detector.field_head import HeardFrames
from sai_core.detector.models import SaiDetector, load_detector
from sai_core.detector.spectrum import SoundContext
from sai_core.files import atomic_write
from sai_core.inference.networks import BaselineNetwork, NetworkOptions, OwnNetwork, run_in_batches
from sai_core.installation import asset
from sai_core.runs.kinds import KINDS

RECIPES: Final[Path] = Path(sai_core.training.__file__).parent / "recipes"
SAME_IOU: Final[float] = 0.8
"""A detection is found again where one of its class has this IoU with it."""

LEAST_SCORE: Final[float] = 0.1
SHARE_SAME: Final[float] = 0.95
"""Share of the processor's detections above :data:`LEAST_SCORE` that a row must find again."""

TRAINED: Final[dict[str, str]] = {"small_a": "track_a", "small_b": "track_b"}
"""Weights that ship, by their recipe. Networks without any are timed; on random weights every score is a tie."""


@dataclass(frozen=True)
class Setting:
    """How a row runs.

    Attributes
    ----------
    device : str
    small : bool
        A few frames, for a test of this file.
    """

    device: str
    small: bool

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device != "cpu":
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], object], rounds: int = 3) -> float:
        """Median time of a work after one that is not counted."""
        work()
        self.wait()
        times = []
        for _ in range(1 if self.small else rounds):
            begin = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - begin)
        return statistics.median(times)

    def peak_mb(self) -> float:
        """Largest memory of the device since :meth:`forget`."""
        return 0.0 if self.device == "cpu" else round(torch.cuda.max_memory_allocated() / 1e6)

    def forget(self) -> None:
        """Begin to count memory anew."""
        if self.device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def machine(setting: Setting) -> dict[str, Any]:
    """What this runs on."""
    facts: dict[str, Any] = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    if setting.device != "cpu":
        facts |= {
            "device": torch.cuda.get_device_name(),
            "memory GB": round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1),
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
            "bfloat16": torch.cuda.is_bf16_supported(),
        }
    return facts


def features(setting: Setting) -> dict[str, Any]:
    """Nine minutes of noise to acoustic maps, against the plain version frame by frame on the processor."""
    import soundfile

    from sai_core.acoustics.features import MapMaker, extract
    from tests.acoustics.official_rule import official_state
    from tests.benchmarks.literal_features import LiteralFeatures

    n_frames = 60 if setting.small else 5400
    with tempfile.TemporaryDirectory() as name:
        weights, wave = Path(name) / "UpLAM.pth", Path(name) / "noise.wav"
        state = official_state("B")
        torch.save(state, weights)
        noise = 0.1 * np.random.default_rng(0).standard_normal((n_frames * 2400, 4))
        soundfile.write(wave, noise, 24_000, subtype="PCM_16")
        literal = LiteralFeatures(state)
        begin = time.perf_counter()
        expected = [literal.frame(wave, k)[0] for k in range(5)]
        literal_s = (time.perf_counter() - begin) / 5
        maker = MapMaker(weights=weights, device=setting.device)
        found = extract(wave, maker=maker).lattice
        difference = max(float(np.abs(found[k] - e).max() / e.max()) for k, e in enumerate(expected))
        seconds = setting.seconds(lambda: extract(wave, maker=maker))
        reading = setting.seconds(lambda: [None for _ in maker.open(wave).blocks(640)])
    return {
        "frames/s": round(n_frames / seconds, 1),
        "times real time": round(n_frames / 10 / seconds, 1),
        "times the plain version": round(literal_s * n_frames / seconds, 1),
        "share of reading the file": round(reading / seconds, 3),
        "largest difference over peak": difference,
        "agrees": difference < 1e-3,
        "goal": "200 times the plain version",
    }


def _own(recipe: str) -> DetectorConfig:
    return DetectorConfig(**tomllib.loads((RECIPES / f"{recipe}.toml").read_text())["model"])


def _frames(config: DetectorConfig | None, n: int, device: str) -> tuple[Tensor, Tensor, SoundContext | None]:
    """Smooth random input, the same on every device."""
    generator = torch.Generator().manual_seed(0)
    bands = 9 if config is None else config.n_bands
    coarse = torch.rand(n, bands + 3, 12, 24, generator=generator)
    full = torch.nn.functional.interpolate(coarse, size=(180, 360), mode="bilinear")
    context = None
    if config is not None and config.context_frames:
        power = torch.rand(n, 2 * config.context_frames + 1, config.n_bands, 484, generator=generator)
        context = SoundContext.of(power.to(device))
    return full[:, :bands].to(device), full[:, bands:].to(device), context


def _network(
    name: str, device: str, options: NetworkOptions
) -> tuple[BaselineNetwork | OwnNetwork, DetectorConfig | None]:
    if name == "official baseline":
        from tests.detector.oracle_weights import oracle_state

        model = OfficialBaseline()
        model.load_state_dict(oracle_state())
        return BaselineNetwork(model.to(device).eval(), options), None
    if name in TRAINED:
        model = load_detector(asset(f"weights/{TRAINED[name]}.safetensors")).to(device).eval()
        return OwnNetwork(model, options), model.config
    config = _own(name)
    torch.manual_seed(0)
    return OwnNetwork(SaiDetector(config).to(device).eval(), replace(options, floor=0.0)), config


def share_same(expected: list[RawColumns], found: list[RawColumns]) -> float:
    """Share of the detections above a score of :data:`LEAST_SCORE` that are found again with their class and box."""
    n = hits = 0
    for a, b in zip(expected, found, strict=True):
        clear = a.own_scores >= LEAST_SCORE
        n += int(np.count_nonzero(clear))
        if not clear.any() or not len(b):
            continue
        iou = paired_iou(a.boxes_xyxy[clear][:, None], b.boxes_xyxy[None], wrap=True)
        same = (iou >= SAME_IOU) & (a.category_id[clear][:, None] == b.category_id[None])
        hits += int(np.count_nonzero(same.any(axis=1)))
    return hits / n if n else 1.0


def by_frame(raw: RawDetections) -> list[RawColumns]:
    """Candidates of each frame of a store."""
    edges = np.searchsorted(raw.frame, np.arange(raw.n_frames + 1))
    names = ("boxes_xyxy", "class_scores", "objectness", "category_id", "energy", "distance_cm", "embedding")
    return [
        RawColumns(
            **{name: np.asarray(getattr(raw, name))[first:last] for name in names}, full_energy=raw.full_energy[k]
        )
        for k, (first, last) in enumerate(pairwise(edges.tolist()))
    ]


def network(name: str) -> Callable[[Setting], dict[str, Any]]:
    """Row of a network: agreement with the processor, and frames/s at batch 1, 8, 64 in both precisions."""

    def row(setting: Setting) -> dict[str, Any]:
        out: dict[str, Any] = {}
        n_check = 1 if setting.small else 4
        with torch.inference_mode():
            plain, config = _network(name, "cpu", NetworkOptions())
            expected = plain.run(*_frames(config, n_check, "cpu"))
            agrees: bool | None = None
            for precision in ("float32", "bfloat16"):
                net, config = _network(name, setting.device, NetworkOptions(precision=precision))
                share = share_same(expected, net.run(*_frames(config, n_check, setting.device)))
                out[f"{precision}: found again"] = round(share, 3)
                if precision == "float32" and (name in TRAINED or config is None):
                    agrees = share >= SHARE_SAME
                for batch in (1,) if setting.small else (1, 8, 64):
                    frames = _frames(config, batch, setting.device)
                    setting.forget()
                    try:
                        seconds = setting.seconds(lambda net=net, frames=frames: net.run(*frames))  # type: ignore[misc]
                    except torch.OutOfMemoryError:
                        out[f"{precision}, batch {batch}"] = "out of memory"
                        continue
                    out[f"{precision}, batch {batch}: frames/s"] = round(batch / seconds, 1)
                    if setting.device != "cpu":
                        out[f"{precision}, batch {batch}: MB"] = setting.peak_mb()
        return {**out, "agrees": agrees}

    return row


def memory(setting: Setting) -> dict[str, Any]:
    """Out of memory in the middle: the batch is halved and the results are those of single frames."""
    net, config = _network("small_a", setting.device, NetworkOptions())
    n = 4 if setting.small else 64
    acoustic, rgb, context = _frames(config, n, setting.device)
    failed: list[int] = []

    def run(a: Tensor, r: Tensor | None, c: SoundContext | None, h: HeardFrames | None) -> list[RawColumns]:
        # a device without enough memory; on a real one the limit below does the same for real
        if setting.device == "cpu" and len(a) > 1:
            failed.append(len(a))
            raise torch.OutOfMemoryError("made up")
        try:
            return net.run(a, r, c, h)
        except torch.OutOfMemoryError:
            failed.append(len(a))
            raise

    with torch.inference_mode():
        single = [
            net.run(acoustic[k : k + 1], rgb[k : k + 1], None if context is None else context[k : k + 1])[0]
            for k in range(n)
        ]
        if setting.device != "cpu":
            setting.forget()
            net.run(acoustic[:4], rgb[:4], None if context is None else context[:4])
            # room for some eight frames
            room = torch.cuda.memory_allocated() + 2 * (
                torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
            )
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction(
                min(1.0, room / torch.cuda.get_device_properties(0).total_memory)
            )
        found, batch = run_in_batches(run, acoustic, rgb, context, batch=n)
    share = share_same(single, found)
    return {
        "asked for": n,
        "failed at": failed,
        "went on with": batch,
        "found again": round(share, 3),
        "agrees": bool(failed) and batch < n and share >= SHARE_SAME,
    }


def training(recipe: str) -> Callable[[Setting], dict[str, Any]]:
    """Row of a recipe: training steps under mixed precision, and the first losses against float32 on the processor."""

    def row(setting: Setting) -> dict[str, Any]:
        from sai_core.training.augment import make_batch
        from sai_core.training.optimiser import Strategy, clip_gradients
        from tests.training.material import frame_set

        config = KINDS["detector"].read_config(recipe)
        size = 2 if setting.small else config.batch
        frames = frame_set(
            [(k % 13, 20.0 * k % 360, 60.0 + k) for k in range(max(40, size))],
            context_frames=config.model.context_frames,
            rgb=config.model.track == "B",
        )

        def losses(device: str, steps: int, amp: bool) -> tuple[list[float], float, float]:
            torch.manual_seed(0)
            model = SaiDetector(config.model).to(device).train()
            strategy = Strategy(model, config.optimiser, pretrained=False)
            half = device != "cpu" and not torch.cuda.is_bf16_supported()
            scaler = torch.amp.GradScaler("cuda", enabled=half and amp)
            values, times = [], []
            for step in range(steps):
                begin = time.perf_counter()
                batch = make_batch(
                    frames.batch(range(size)),
                    circular=True,
                    augment=config.augment,
                    rng=np.random.default_rng(0),
                    device=device,
                )
                torch.manual_seed(step)
                with torch.autocast(device, dtype=torch.float16 if half else torch.bfloat16, enabled=amp):
                    terms = model.losses(
                        batch.acoustic,
                        batch.rgb,
                        batch.targets,
                        context=batch.context,
                        proposals=config.proposals,
                        regions=config.regions,
                    )
                total = torch.stack([t.float() for t in terms.values()]).sum()
                strategy.adamw.zero_grad(set_to_none=True)
                scaler.scale(total).backward()
                scaler.unscale_(strategy.adamw)
                clip_gradients(model.parameters(), config.optimiser.clip)
                scaler.step(strategy.adamw)
                scaler.update()
                values.append(float(total.detach()))
                times.append(time.perf_counter() - begin)
            return values, statistics.median(times[1:] or times), setting.peak_mb()

        plain, _, _ = losses("cpu", 1, False)
        setting.forget()
        mixed, seconds, peak = losses(setting.device, 2 if setting.small else 20, True)
        apart = abs(mixed[0] - plain[0]) / abs(plain[0])
        return {
            "batch": size,
            "frames/s": round(size / seconds, 1),
            "MB": peak,
            "first loss, processor": round(plain[0], 4),
            "first loss, mixed": round(mixed[0], 4),
            "last loss": round(mixed[-1], 4),
            "agrees": apart < 0.1 and bool(np.isfinite(mixed).all()),
        }

    return row


def labels(setting: Setting) -> dict[str, Any]:
    """The label recipe from 32 channels, with solver and visibilities on the device, against the processor."""
    from sai_core.annotations import DcaseMetadata
    from sai_core.labelling.recipe import label_recording
    from tests.benchmarks.bench_stairs import scene

    audio, rows = scene(10 if setting.small else 100)
    table: npt.NDArray[Any] = np.array(rows)
    metadata = DcaseMetadata(
        table[:, 0].astype(np.int32),
        table[:, 1].astype(np.int16),
        table[:, 2].astype(np.int64),
        table[:, 3],
        table[:, 4],
        table[:, 5],
    )
    for device in dict.fromkeys(("cpu", setting.device)):
        label_recording(audio[:2400], metadata, recording="warm", device=device)
    begin = time.perf_counter()
    plain = label_recording(audio, metadata, recording="bench", device="cpu").table
    processor_s = time.perf_counter() - begin
    begin = time.perf_counter()
    found = label_recording(audio, metadata, recording="bench", device=setting.device).table
    seconds = time.perf_counter() - begin
    same = plain.points_xy.shape == found.points_xy.shape and bool(np.array_equal(plain.points_xy, found.points_xy))
    apart = float(np.abs(plain.energy - found.energy).max()) if same else float("nan")
    return {
        "frames/s": round(len(audio) / 2400 / seconds, 1),
        "times the processor": round(processor_s / seconds, 2),
        "same pixels": same,
        "largest difference of energies": apart,
        "agrees": same and apart < 1e-6,
    }


def listening(setting: Setting) -> dict[str, Any]:
    """The wideband listener that ships: candidates of a demo recording, thirty a frame, against the processor."""
    from sai_core.acoustics.audio_input import AudioInput
    from sai_core.dataset import demo_root, open_data_root
    from sai_core.detector.wideband import SHIPPED_WIDEBAND, load_wideband

    path = open_data_root(demo_root()).recordings[0].array_path
    assert path is not None
    n_frames, each = (8, 4) if setting.small else (len(AudioInput(path, channels=4)), 30)
    rng = np.random.default_rng(0)
    frame = np.repeat(np.arange(n_frames), each)
    azimuth = rng.uniform(-180.0, 180.0, len(frame))
    elevation = np.rad2deg(np.arcsin(rng.uniform(-1.0, 1.0, len(frame))))

    def hear(device: str) -> npt.NDArray[np.float32]:
        listener = load_wideband(SHIPPED_WIDEBAND, device=device)
        with torch.inference_mode():
            return listener.of_frames(AudioInput(path, channels=4), 0, n_frames, frame, azimuth, elevation)

    expected = np.exp(hear("cpu"))
    setting.forget()
    apart = float(np.abs(np.exp(hear(setting.device)) - expected).max())
    seconds = setting.seconds(lambda: hear(setting.device))
    return {
        "frames/s": round(n_frames / seconds, 1),
        "directions/s": round(len(frame) / seconds),
        "MB": setting.peak_mb(),
        "largest difference of a probability": apart,
        "agrees": apart < 0.02,
    }


def end_to_end(setting: Setting) -> dict[str, Any]:
    """A demo recording with the detectors and the listener that ship: to raw detections, against the processor."""
    from sai_core.acoustics.features import FeatureOptions, MapMaker
    from sai_core.dataset import demo_root, open_data_root
    from sai_core.detector.wideband import SHIPPED_WIDEBAND, load_wideband
    from sai_core.files import content_hash
    from sai_core.inference.engine import InputOptions, WidebandListener, predict_recording
    from sai_core.inference.networks import describe_checkpoint, open_network

    recording = open_data_root(demo_root()).recordings[0]
    out: dict[str, Any] = {}
    agrees = True
    for name in ("track_a",) if setting.small else ("track_a", "track_b"):
        path = asset(f"weights/{name}.safetensors")
        facts = describe_checkpoint(path)
        found = {}
        for device in dict.fromkeys(("cpu", setting.device)):
            for precision in ("float32",) if device == "cpu" else ("float32", "bfloat16"):
                net = open_network(path, device=device, options=NetworkOptions(precision=precision))  # type: ignore[arg-type]
                maker = MapMaker(FeatureOptions(visibility=facts.visibility), device=device)
                with tempfile.TemporaryDirectory() as folder:
                    # features, too, are made anew
                    os.environ["SAI_CACHE_DIR"] = folder
                    begin = time.perf_counter()
                    raw = predict_recording(
                        recording,
                        net,
                        checkpoint_hash=content_hash(path),
                        out=Path(folder),
                        maker=maker,
                        wideband=WidebandListener(
                            load_wideband(SHIPPED_WIDEBAND, device=device), content_hash(SHIPPED_WIDEBAND)
                        ),
                        options=InputOptions(
                            magnitude=facts.magnitude,
                            grid=facts.grid,
                            smooth_frames=facts.smooth_frames,
                            batch=4 if device == "cpu" else 64,
                        ),
                    )
                    seconds = time.perf_counter() - begin
                    found[device, precision] = by_frame(raw)
                if device == setting.device:
                    out[f"{name}, {precision}: frames/s"] = round(raw.n_frames / seconds, 1)
        share = share_same(found["cpu", "float32"], found[setting.device, "float32"])
        out[f"{name}: found again"] = round(share, 3)
        agrees &= share >= SHARE_SAME
    return {**out, "agrees": agrees, "goal": "1,000 frames/s"}


ROWS: Final[dict[str, tuple[Callable[[Setting], dict[str, Any]], float]]] = {
    "machine": (machine, 60),
    "features": (features, 240),
    "network: official baseline": (network("official baseline"), 240),
    **{f"network: {r}": (network(r), 240) for r in ("small_a", "small_b", "fao", "track_b")},
    "memory": (memory, 120),
    **{f"training: {r}": (training(r), 240) for r in ("small_a", "small_b", "fao", "track_b")},
    "labels": (labels, 240),
    "listening": (listening, 120),
    "end to end": (end_to_end, 240),
}
"""Rows and the most seconds that each may take."""


def run_row(name: str, setting: Setting, limit_s: float) -> dict[str, Any]:
    """A row in a process of its own; what went wrong stands in ``error``."""
    command = [sys.executable, "-m", "tests.benchmarks.gpu", "--row", name, "--device", setting.device]
    begin = time.perf_counter()
    try:
        done = subprocess.run(
            [*command, *(["--small"] if setting.small else [])],
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {limit_s:.0f} s", "agrees": False}
    seconds = round(time.perf_counter() - begin, 1)
    if done.returncode:
        last = [line for line in done.stderr.strip().splitlines() if line.strip()][-1:] or ["no message"]
        return {"error": f"{last[0][:300]} (exit code {done.returncode})", "agrees": False, "seconds": seconds}
    return {**json.loads(done.stdout.splitlines()[-1]), "seconds": seconds}


def markdown(found: dict[str, dict[str, Any]]) -> str:
    """The rows as a table."""
    lines = ["| row | agrees | figures |", "| --- | --- | --- |"]
    for name, facts in found.items():
        mark = {True: "yes", False: "**no**", None: ""}[facts.get("agrees")]
        figures = ", ".join(f"{k} {v}" for k, v in facts.items() if k not in ("agrees", "seconds"))
        lines.append(f"| {name} | {mark} | {figures} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), help="only these")
    parser.add_argument("--minutes", type=float, default=25.0, help="for all rows together (25)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--small", action="store_true", help="a few frames, to try this file")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    args = parser.parse_args()
    setting = Setting(args.device, args.small)
    if args.row:
        print(json.dumps(ROWS[args.row][0](setting)))
        return 0
    if args.device != "cpu" and not torch.cuda.is_available():
        print("There is no CUDA device here; --device cpu --small tries the same code without one.", file=sys.stderr)
        return 1
    end = time.monotonic() + 60 * args.minutes
    found: dict[str, dict[str, Any]] = {}
    for name in args.rows or ROWS:
        left = end - time.monotonic()
        if left < 5:
            found[name] = {"error": "no time was left", "agrees": False}
        else:
            found[name] = run_row(name, setting, min(left, ROWS[name][1]))
        print(f"{name}: {json.dumps(found[name])}", flush=True)
        # after every row, so that what was measured is there whatever comes
        if args.json:
            with atomic_write(args.json) as stream:
                stream.write(json.dumps(found, indent=1).encode())
        if args.markdown:
            with atomic_write(args.markdown) as stream:
                stream.write(markdown(found).encode())
    return int(any(facts.get("agrees") is False for facts in found.values()))


if __name__ == "__main__":
    sys.exit(main())

"""How fast detectors are, against a plain torchvision forward, in one interleaved run.

    python -m tests.benchmarks.bench_detector [--rounds 5] [--threads 2] [--json FILE]

The official baseline with the reference's deterministic weights and input (12 x 180 x 360): ours as the engine runs it
(:class:`~sai_core.inference.networks.BaselineNetwork`) against
:class:`~tests.benchmarks.literal_baseline.LiteralBaseline`, which does everything for every detection. Three cases, by
the floor of the store: 100 candidates kept, 10, none. The plain forward knows no floor other than its own threshold:
its users get 100 detections and drop what they don't want; against a user who sets torchvision's threshold so that
only 10 come out, the second column of ratios stands. Rounds alternate, so that whatever else the machine does hits
both; ratios are those of medians, of wall time and of processor time (the fairer one on a busy machine). Before any
timing the outputs are compared.

Then our own small variants (the shipped recipes) at 50 candidates a frame, and options that change numbers, with what
they change. Peak memory is of one process that runs nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign

import sai_core.training
from sai_core.detector.baseline import OfficialBaseline
from sai_core.detector.config import DetectorConfig
from sai_core.detector.models import SaiDetector
from sai_core.detector.region_align import RegionAlign
from sai_core.detector.spectrum import SoundContext
from sai_core.inference.networks import BaselineNetwork, NetworkOptions, OwnNetwork
from tests.benchmarks.literal_baseline import LiteralBaseline
from tests.detector.oracle_weights import oracle_input, oracle_state

CASES = {"100 kept": 0.05, "10 kept": None, "none kept": 0.9999999}
RECIPES = Path(sai_core.training.__file__).parent / "recipes"


def _alternate(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each work in alternating rounds, after one that is not counted.

    ``wall_ms`` and ``processor_ms`` are medians, ``fastest_ms`` the shortest wall time, which other programs on the
    machine disturb least.
    """
    wall: dict[str, list[float]] = {name: [] for name in works}
    processor: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            cpu, begin = time.process_time(), time.perf_counter()
            work()
            if number:
                wall[name].append(1e3 * (time.perf_counter() - begin))
                processor[name].append(1e3 * (time.process_time() - cpu))
    return {
        name: {
            "wall_ms": round(statistics.median(wall[name]), 1),
            "fastest_ms": round(min(wall[name]), 1),
            "processor_ms": round(statistics.median(processor[name]), 1),
        }
        for name in works
    }


def _networks(floor: float) -> tuple[LiteralBaseline, BaselineNetwork]:
    state = oracle_state()
    plain = LiteralBaseline()
    plain.load_state_dict(state)
    model = OfficialBaseline()
    model.load_state_dict(state)
    return plain.eval(), BaselineNetwork(model, NetworkOptions(floor=floor))


def _tenth_score() -> float:
    """Floor that keeps 10 candidates of the reference frame."""
    plain, _ = _networks(0.5)
    scores = plain(oracle_input()[0])["scores"]
    return float((scores[9] + scores[10]) / 2)


def bench_baseline(rounds: int) -> dict[str, object]:
    """Ours against the plain forward, in the three cases."""
    images = oracle_input()
    rgb, acoustic = images[:, :3], images[:, 3:]
    out: dict[str, object] = {}
    floors = {name: _tenth_score() if floor is None else floor for name, floor in CASES.items()}
    for name, floor in floors.items():
        plain, ours = _networks(floor)
        strict = LiteralBaseline(score_thresh=floor)
        strict.load_state_dict(plain.state_dict())
        strict.eval()
        with torch.inference_mode():
            expected = strict(images[0])
            found = ours.run(acoustic, rgb)[0]
            n = len(found)
            np.testing.assert_array_equal(found.category_id + 1, expected["labels"].numpy())
            np.testing.assert_allclose(found.boxes_xyxy, expected["boxes"], rtol=0, atol=1e-3)
            np.testing.assert_allclose(found.energy, expected["energy_maps"], rtol=0, atol=1e-3)
            times = _alternate(
                {
                    "plain, 100 detections": partial(plain.forward, images[0]),
                    f"plain, {n} detections": partial(strict.forward, images[0]),
                    "ours": partial(ours.run, acoustic, rgb),
                },
                rounds,
            )
        ours_times = times["ours"]
        out[name] = {
            "kept": n,
            **times,
            "times as fast as plain with 100": {
                k: round(times["plain, 100 detections"][k] / ours_times[k], 2) for k in ours_times
            },
            f"times as fast as plain with {n}": {
                k: round(times[f"plain, {n} detections"][k] / ours_times[k], 2) for k in ours_times
            },
        }
        if name == "10 kept":
            out["stages"] = _stages(plain, ours, rounds)
    return out


def _stages(plain: LiteralBaseline, ours: BaselineNetwork, rounds: int) -> dict[str, dict[str, float]]:
    """Shortest wall milliseconds of each stage: the plain forward's own, and ours at 10 candidates."""
    images = oracle_input()
    model = ours.model
    theirs: dict[str, list[float]] = {}
    with torch.inference_mode():
        prepared = model.prepare(images).to(memory_format=torch.channels_last)
        levels = model.pyramid(prepared)
        found = model.candidates(prepared, levels)
        mine: dict[str, Callable[[], object]] = {
            "transform": lambda: model.prepare(images).to(memory_format=torch.channels_last),
            "backbone": lambda: model.pyramid(prepared),
            "rpn + box head": lambda: model.candidates(prepared, levels),
            "energy and distance heads": lambda: model.roi_outputs(levels, [c.boxes for c in found]),
            "full-map decoder": lambda: model.full_energy(levels),
        }
        times = _alternate(mine, rounds)
        for _ in range(rounds):
            plain(images[0])
            for name, seconds in plain.stages.items():
                theirs.setdefault(name, []).append(1e3 * seconds)
        regions = _some_regions(1000)
        names = ["0", "1", "2", "3"]
        slow, fast = MultiScaleRoIAlign(names, 7, 2), RegionAlign(names, 7)
        pools = _alternate(
            {
                "torchvision": lambda: slow(dict(levels), [regions], [(180, 360)]),
                "ours": lambda: fast(dict(levels), [regions], [(180, 360)]),
            },
            rounds,
        )
    return {
        "plain (100 detections)": {k: round(min(v), 1) for k, v in theirs.items()},
        "ours (10 candidates)": {k: v["fastest_ms"] for k, v in times.items()},
        "RoIAlign of 1,000 regions": {k: v["fastest_ms"] for k, v in pools.items()},
    }


def _some_regions(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(n, 2, generator=generator) * torch.tensor([300.0, 130.0])
    return torch.cat([corner, corner + 5 + torch.rand(n, 2, generator=generator) * 60], dim=1)


def _own_config(recipe: str) -> DetectorConfig:
    values = tomllib.loads((RECIPES / f"{recipe}.toml").read_text())["model"]
    return DetectorConfig(**values)


def bench_own(rounds: int) -> dict[str, object]:
    """Frames a second of the small variants, four frames at once, every candidate kept up to 50."""
    out: dict[str, object] = {}
    configs = {
        "small_a (recipe)": _own_config("small_a"),
        "small_b (recipe)": _own_config("small_b"),
        "resnet18, 128 channels, A": DetectorConfig.small("A"),
        "resnet18, 128 channels, B": DetectorConfig.small("B"),
    }
    works: dict[str, Callable[[], object]] = {}
    generator = torch.Generator().manual_seed(0)
    for name, config in configs.items():
        torch.manual_seed(0)
        network = OwnNetwork(SaiDetector(config).eval(), NetworkOptions(floor=0.0))
        acoustic = torch.rand(4, config.n_bands, 180, 360, generator=generator)
        rgb = torch.rand(4, 3, 180, 360, generator=generator)
        power = torch.rand(4, 2 * config.context_frames + 1, config.n_bands, 484, generator=generator)
        context = SoundContext.of(power) if config.context_frames else None

        def work(
            network: OwnNetwork = network,
            acoustic: Tensor = acoustic,
            rgb: Tensor = rgb,
            context: SoundContext | None = context,
        ) -> object:
            return network.run(acoustic, rgb, context)

        works[name] = work
    with torch.inference_mode():
        for name, times in _alternate(works, rounds).items():
            out[name] = {
                "frames_per_s": round(4e3 / times["fastest_ms"], 1),
                "processor_ms_per_frame": round(times["processor_ms"] / 4, 1),
            }
    return out


def bench_options(rounds: int) -> dict[str, object]:
    """Options that change numbers, on the baseline at 10 kept: how fast, and how many of the 10 stay the same."""
    images = oracle_input()
    rgb, acoustic = images[:, :3], images[:, 3:]
    floor = _tenth_score()
    variants = {
        "float32, 1,000 proposals": NetworkOptions(floor=floor),
        "float32, 300 proposals": NetworkOptions(floor=floor, proposals=300),
        "float32, 100 proposals": NetworkOptions(floor=floor, proposals=100),
        "float32, no full map": NetworkOptions(floor=floor, full_map=False),
        "bfloat16, 1,000 proposals": NetworkOptions(floor=floor, precision="bfloat16"),
    }
    networks = {}
    for name, options in variants.items():
        model = OfficialBaseline()
        model.load_state_dict(oracle_state())
        networks[name] = BaselineNetwork(model, options)
    out: dict[str, object] = {}
    with torch.inference_mode():
        exact = networks["float32, 1,000 proposals"].run(acoustic, rgb)[0]
        times = _alternate({n: partial(net.run, acoustic, rgb) for n, net in networks.items()}, rounds)
        for name, network in networks.items():
            found = network.run(acoustic, rgb)[0]
            same = sum(
                any(
                    c == d and np.abs(b - other).max() < 1.0
                    for d, other in zip(found.category_id, found.boxes_xyxy, strict=True)
                )
                for c, b in zip(exact.category_id, exact.boxes_xyxy, strict=True)
            )
            out[name] = {
                **times[name],
                "kept": len(found),
                "of the exact 10 found within 1 px": same,
            }
    return out


def _peak_mb(which: str, floor: float) -> float:
    """Peak memory of a fresh process that runs one frame a few times, MB; ``none`` only imports."""
    code = f"from tests.benchmarks.bench_detector import peak; peak({which!r}, {floor})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def peak(which: str, floor: float) -> None:
    """Print the peak memory of this process after three frames."""
    torch.set_num_threads(2)
    images = oracle_input()
    if which != "none":
        plain, ours = _networks(floor)
        if which == "plain":
            del ours
            for _ in range(3):
                plain(images[0])
        else:
            del plain
            with torch.inference_mode():
                for _ in range(3):
                    ours.run(images[:, 3:], images[:, :3])
    # not getrusage: its maximum is inherited from the process that started this one
    status = Path("/proc/self/status").read_text()
    print(int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024)


def main() -> None:
    """Run all parts and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    figures = {
        "threads": arguments.threads,
        "torch": torch.__version__,
        "baseline": bench_baseline(arguments.rounds),
        "options": bench_options(arguments.rounds),
        "own": bench_own(arguments.rounds),
        "peak_mb": {
            which: round(_peak_mb(which, floor))
            for which, floor in (
                ("none", 0.05),
                ("plain", 0.05),
                ("ours, 100 kept", 0.05),
                ("ours, 10 kept", _tenth_score()),
            )
        },
    }
    text = json.dumps(figures, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()

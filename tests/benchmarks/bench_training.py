"""Frames a second that one core trains on, step by step from the plain small networks to the recipes.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_training [--steps 4] [--json]

CPU seconds of the process are counted, not wall time, so that other work on the machine hardly matters. Frames are
made up (one source each); a step is batch, forward, backward, clipping and AdamW on 8 frames.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from sai_core.detector.config import DetectorConfig
from sai_core.detector.models import SaiDetector
from sai_core.runs.kinds import KINDS
from sai_core.training.augment import make_batch
from sai_core.training.config import TrainingConfig
from sai_core.training.optimiser import Strategy, clip_gradients
from tests.training.material import frame_set

BATCH = 8


@dataclass(frozen=True)
class Timing:
    """CPU seconds of one step, by part."""

    name: str
    batch_s: float
    forward_s: float
    backward_s: float
    update_s: float

    @property
    def frames_per_s(self) -> float:
        return BATCH / (self.batch_s + self.forward_s + self.backward_s + self.update_s)


def variants() -> list[tuple[str, TrainingConfig]]:
    """Each line adds one change to the line before, per track."""
    out = []
    for track, recipe in (("A", "small_a"), ("B", "small_b")):
        final = KINDS["detector"].read_config(recipe)
        plain = replace(
            final,
            model=DetectorConfig.small(track),  # type: ignore[arg-type]
            proposals=300,
            regions=128,
            cpu_bfloat16=False,
        )
        fewer = replace(plain, proposals=final.proposals, regions=final.regions)
        narrow = replace(
            fewer,
            model=replace(
                fewer.model,
                channels=final.model.channels,
                width=final.model.width,
                acoustic_channels=final.model.acoustic_channels,
            ),
        )
        from_p3 = replace(narrow, model=replace(narrow.model, first_level=3))
        coarse = replace(
            from_p3,
            model=replace(from_p3.model, coarse_stem=True, log_maps=True, cmaf_width=final.model.cmaf_width),
        )
        context = replace(final, cpu_bfloat16=False)
        out += [
            (f"{track}: ResNet-18, 128 channels, 300 proposals, 128 regions", plain),
            (f"{track}: + {final.proposals} proposals, {final.regions} regions", fewer),
            (f"{track}: + half width, 64 channels", narrow),
            (f"{track}: + pyramid from P3", from_p3),
            (f"{track}: + maps at half resolution" + (", narrow attention" if track == "B" else ""), coarse),
            (f"{track}: + sound of each region over two seconds", context),
            (f"{track}: + bfloat16 (= recipe {recipe})", final),
        ]
    return out


def measure(name: str, config: TrainingConfig, *, steps: int) -> Timing:
    """Mean over ``steps`` steps, after two that warm up."""
    torch.manual_seed(0)
    model = SaiDetector(config.model).train()
    strategy = Strategy(model, config.optimiser, pretrained=False)
    frames = frame_set(
        [(k % 13, 20.0 * k % 360, 60.0 + k) for k in range(40)],
        context_frames=config.model.context_frames,
        rgb=config.model.track == "B",
    )
    spent = np.zeros(4)
    for step in range(steps + 2):
        clock = [time.process_time()]
        batch = make_batch(
            frames.batch(range(step, step + BATCH)),
            circular=True,
            augment=config.augment,
            rng=np.random.default_rng(step),
        )
        clock.append(time.process_time())
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.cpu_bfloat16):
            terms = model.losses(
                batch.acoustic,
                batch.rgb,
                batch.targets,
                context=batch.context,
                proposals=config.proposals,
                regions=config.regions,
            )
        clock.append(time.process_time())
        strategy.adamw.zero_grad(set_to_none=True)
        torch.stack([t.float() for t in terms.values()]).sum().backward()
        clock.append(time.process_time())
        clip_gradients(model.parameters(), config.optimiser.clip)
        strategy.adamw.step()
        clock.append(time.process_time())
        if step >= 2:
            spent += np.diff(clock) / steps
    return Timing(name, *spent.tolist())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if not args.json:
        print("| configuration | batch s | forward s | backward s | update s | frames/s |")
        print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for name, config in variants():
        t = measure(name, config, steps=args.steps)
        if args.json:
            print(json.dumps({**vars(t), "frames_per_s": t.frames_per_s}), flush=True)
        else:
            parts = " | ".join(f"{v:.3f}" for v in (t.batch_s, t.forward_s, t.backward_s, t.update_s))
            print(f"| {t.name} | {parts} | {t.frames_per_s:.1f} |", flush=True)


if __name__ == "__main__":
    main()

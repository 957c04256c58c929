"""Whether a tagger hears synthesised sounds as what they are meant to be.

    python -m tests.benchmarks.bench_realism --tagger WHEEL [--sounds N] [--seconds 3] [--json FILE]

N sounds (20) of each class and variant of :func:`sai_core.simulation.sounds.synthesise`, dry, heard by the network of
:mod:`tests.benchmarks.tagger`, which has nothing of ours: the share that it hears as their class (a score of 0.2 and
more of one of the names that :mod:`tests.benchmarks.sort_sounds` takes for it; women and men are one), and what it
hears most instead.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from scipy.signal import resample_poly

from sai_core.simulation.sounds import SAMPLE_RATE_HZ, VARIANTS, synthesise
from sai_core.taxonomy import CLASS_NAMES
from tests.benchmarks.sort_sounds import CLASS_FOLDERS, LEAST_HEARD, hears
from tests.benchmarks.tagger import RATE_HZ, Tagger

SEED = 8300


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tagger", type=Path, required=True)
    parser.add_argument("--sounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    tagger = Tagger(chosen.tagger)
    places = {name: number for number, name in enumerate(tagger.names)}
    rows = []
    print("| class | variant | heard as it | most of all | and |\n| --- | --- | --- | --- | --- |")
    for category, folder in enumerate(CLASS_FOLDERS):
        for variant in VARIANTS[category]:
            sure, first = [], Counter[str]()
            for number in range(chosen.sounds):
                rng = np.random.default_rng([SEED, category, number])
                sound = synthesise(category, chosen.seconds, rng, variant=variant).signal
                samples = resample_poly(sound, RATE_HZ, SAMPLE_RATE_HZ)
                scores, _ = tagger.hear((0.5 * samples / np.abs(samples).max()).astype(np.float32))
                sure.append(hears(folder, scores, places))
                first[tagger.names[int(scores.argmax())]] += 1
            share = float(np.mean([s >= LEAST_HEARD for s in sure]))
            most = [f"{name} {n}" for name, n in first.most_common(2)] + ["", ""]
            rows.append({"class": CLASS_NAMES[category], "variant": variant, "heard": share, "first": dict(first)})
            print(f"| {CLASS_NAMES[category]} | {variant} | {share:.2f} | {most[0]} | {most[1]} |", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps({"seed": SEED, "sounds": chosen.sounds, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()

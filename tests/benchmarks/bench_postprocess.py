"""What the stages of post-processing cost, on a made-up 60 s recording with 50 candidates a frame.

    python -m tests.benchmarks.bench_postprocess

Seconds of processor time, so that other work on the machine does not count; the fastest of five runs. "dense" gives
every candidate a class of its own accord in each frame (some 20 kept a frame, most tracks contested), the worst case;
"steady" keeps the class of each of the 50 boxes, with three of them loud, as a trained detector does.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from sai_core.inference.store import RawDetections
from sai_core.postprocess import annotate, candidates, load_system, prepare, regions_of, select_tracks
from tests.postprocess.raws import make_raw, make_teacher


def stream(kind: str) -> RawDetections:
    raw = make_raw(0, n_frames=600, n_boxes=50, recording=kind)
    rng = np.random.default_rng(1)
    n = len(raw)
    columns = {name: getattr(raw, name) for name in raw.__dataclass_fields__}
    if kind == "dense":
        scores = rng.dirichlet(np.full(14, 0.3), n)[:, 1:]
    else:
        of_box = np.arange(n) % 50
        scores = rng.dirichlet(np.full(14, 0.4), n)[:, 1:] * 0.08
        scores[np.arange(n), of_box % 13] += np.where(of_box < 3, rng.uniform(0.5, 0.9, n), 0.0)
    columns["class_scores"] = scores.astype(np.float32)
    columns["category_id"] = scores.argmax(axis=1).astype(np.int16)
    return RawDetections(**columns)


def fastest_ms(work: Callable[[], object], runs: int = 5) -> float:
    best = float("inf")
    for _ in range(runs):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return 1e3 * best


def main() -> None:
    print(
        f"{'stream':8}{'system':10}{'once':>8}{'candidates':>12}{'select':>8}{'regions':>9}{'(number)':>10}{'table':>7}"
    )
    for kind in ("steady", "dense"):
        raw = stream(kind)
        teacher = make_teacher(raw, share=0.05)
        for name in ("Baseline", "FAO", "OR-AO", "TPAV", "ERAV"):
            system = load_system(name)
            s = system.settings
            prepared = prepare(raw, teacher=teacher)
            once = fastest_ms(lambda p=prepared: p.teacher_match, 1) if system.needs_teacher else 0.0  # type: ignore[misc]
            c = candidates(prepared, s)
            tracks = select_tracks(c, s)
            rows = np.unique(tracks.detection)
            regions = regions_of(c, rows, s)
            times = [
                fastest_ms(lambda p=prepared, s=s: candidates(p, s)),  # type: ignore[misc]
                fastest_ms(lambda c=c, s=s: select_tracks(c, s)),  # type: ignore[misc]
                fastest_ms(lambda c=c, r=rows, s=s: regions_of(c, r, s), 2),  # type: ignore[misc]
                fastest_ms(
                    lambda c=c, t=tracks, g=regions, s=s: annotate(c, t, g, recording="r", settings=s)  # type: ignore[misc]
                ),
            ]
            print(
                f"{kind:8}{name:10}{once:8.0f}{times[0]:12.1f}{times[1]:8.1f}{times[2]:9.0f}{len(rows):10}{times[3]:7.1f}"
            )


if __name__ == "__main__":
    main()

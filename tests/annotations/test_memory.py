"""Peak memory of reading, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sai_core.annotations import AnnotationTable, write_label_json
from tests.conftest import REPOSITORY

N_LABELS, N_POINTS = 3500, 613
"""Labels of a file, and pixels of each."""

_SCRIPT = """
import json, re, sys
from sai_core.annotations import _points, read_annotations

def peak_kb():
    # not ru_maxrss, which a child inherits from its parent
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1))

_points.parse(b"[[[1,2,3.5]]]", [(3, 10)])  # compiled code is loaded once a process
before = peak_kb()
table = read_annotations(sys.argv[1], use_cache=sys.argv[2] == "cache")
after = peak_kb()
print(json.dumps({"before": before * 1024, "after": after * 1024, "n_points": table.n_points}))
"""


def _dense_labels(n: int) -> AnnotationTable:
    """Dense regions as the official labels have them: whole pixels, energies with two decimals."""
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[-14:15, -14:15]
    disc = xx**2 + yy**2 <= 14**2
    assert np.count_nonzero(disc) == N_POINTS
    offsets = np.column_stack([xx[disc], yy[disc]])
    m = len(offsets)
    centre = rng.integers([15, 20], [340, 160], (n, 1, 2))
    return AnnotationTable(
        "dense",
        np.arange(n, dtype=np.int32) // 3,
        rng.integers(0, 13, n).astype(np.int16),
        np.arange(n, dtype=np.int64) % 3,
        rng.uniform(50, 500, n).round(2),
        np.full(n, np.nan),
        np.arange(n + 1, dtype=np.int64),
        np.arange(n + 1, dtype=np.int64) * m,
        (centre + offsets).reshape(-1, 2).astype(np.float64),
        rng.random(n * m).round(2),
    )


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same labels in the order of their frames, and shuffled."""
    folder = tmp_path_factory.mktemp("dense")
    paths = {order: folder / order / "dense_std.json" for order in ("sorted", "shuffled")}
    for path in paths.values():
        path.parent.mkdir()
    write_label_json(_dense_labels(N_LABELS), paths["sorted"])
    records = json.loads(paths["sorted"].read_text())["annotations"]
    np.random.default_rng(1).shuffle(records)
    paths["shuffled"].write_text(json.dumps({"annotations": records}))
    return paths


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("mode", "order"), [("cache", "sorted"), ("memory", "sorted"), ("cache", "shuffled"), ("memory", "shuffled")]
)
def test_reading_needs_less_than_three_times_the_file(dense, tmp_path, monkeypatch, mode, order):
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    path = dense[order]
    size = path.stat().st_size
    assert size > 28e6
    answer = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(path), mode],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    figures = json.loads(answer.stdout)
    assert figures["n_points"] == N_LABELS * N_POINTS
    # interpreter, NumPy (about 40 MB) and compiled code (130 MB) are there before the file is opened and do not grow
    assert figures["before"] < 240e6
    growth = (figures["after"] - figures["before"]) / size
    assert 0 < growth < 3

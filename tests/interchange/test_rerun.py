"""Recordings of Rerun, read by its own program; without the SDK, what is said."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sai_core.annotations import read_annotations
from sai_core.cli import main
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.taxonomy import class_name
from tests.figures.scenes import write_root

RECORDING = "fold4_room23_mix001"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("rerun") / "root", n_frames=6)


def of_rerun(*arguments: str | Path) -> str:
    """What Rerun's own program prints, without colours."""
    program = Path(sys.executable).parent / "rerun"
    done = subprocess.run([program, "rrd", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)


def rows_of(printed: str, entity: str) -> int:
    """Rows of an entity; the blueprint's have other names."""
    found = re.findall(rf"Chunk\(\w+\) with (\d+) rows? \([^)]*\) - {re.escape(entity)} - ", printed)
    return sum(map(int, found))


def test_rerun_reads_what_is_written(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rerun")
    labels, out = root / "labels_dev", tmp_path / "out"
    assert main(["convert", str(labels), "--to", "rerun", "--out", str(out), "--pictures", "--data", str(root)]) == 0
    (made,) = out.iterdir()
    assert made.name == f"{RECORDING}.rrd"
    assert "verified without error" in of_rerun("verify", made)
    (path,) = labels.rglob(f"{RECORDING}*")
    table = read_annotations(path, recording=RECORDING)
    frames = np.unique(table.frame)
    logged = np.union1d(frames, frames + 1)
    printed = of_rerun("print", made)
    for entity in ("/canvas/energy", "/canvas/outlines", "/canvas/names", "/room/sources"):
        assert rows_of(printed, entity) == len(logged), entity
    assert rows_of(printed, "/picture") == len(frames)


def test_sources_stand_where_they_are(root: Path) -> None:
    rr = pytest.importorskip("rerun")
    from sai_core.interchange import rerun as ours

    (path,) = (root / "labels_dev").rglob(f"{RECORDING}*")
    table = read_annotations(path, recording=RECORDING)
    logged: list[tuple[str, Any]] = []

    class Stream:
        def set_time(self, *_: object, **__: object) -> None: ...

        def log(self, entity: str, archetype: Any) -> None:
            logged.append((entity, archetype))

    ours._log_frames(rr, Stream(), table, None)
    first = table.frame == table.frame[0]
    azimuth, elevation = (angle[first] for angle in region_peak_direction(table))
    points = dict(reversed(logged))["room/sources"]
    found = np.array(points.positions.as_arrow_array().to_pylist())
    distance = np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(distance, table.distance_cm[first] / 100.0, rtol=1e-5)
    # x to the front, y to the left, z up: azimuths grow to the left
    np.testing.assert_allclose(np.degrees(np.arctan2(found[:, 1], found[:, 0])), azimuth, atol=1e-3)
    np.testing.assert_allclose(np.degrees(np.arcsin(found[:, 2] / distance)), elevation, atol=1e-3)
    names = points.labels.as_arrow_array().to_pylist()
    assert [name.rsplit(" ", 1)[0] for name in names] == [class_name(int(k)) for k in table.category_id[first]]
    canvas = np.array(dict(reversed(logged))["canvas/names"].positions.as_arrow_array().to_pylist())
    np.testing.assert_allclose(canvas[:, 0], (180.0 - azimuth) % 360, atol=1e-3)


def test_what_is_lost_is_counted(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rerun")
    from sai_core.interchange.rerun import write_rerun

    (path,) = (root / "labels_dev").rglob(f"{RECORDING}*")
    table = read_annotations(path, recording=RECORDING)
    distance_cm = table.distance_cm.copy()
    distance_cm[:2] = np.nan
    table = replace(table, distance_cm=distance_cm)
    written = write_rerun(table, tmp_path / "new" / "a.rrd")
    assert (written.n_without_region, written.n_without_distance, written.n_pictures) == (0, 2, 0)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.rrd"]


def test_without_the_sdk_nothing_is_begun(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    assert main(["convert", str(root / "labels_dev"), "--to", "rerun", "--out", str(tmp_path / "out")]) == 2
    assert "pip install" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

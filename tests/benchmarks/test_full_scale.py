"""The large root and its measurements, with the small variant: what is made can be opened, scored, and made again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sai_core.annotations import read_annotations
from sai_core.dataset import describe, open_data_root, open_frames
from sai_core.dataset.layout import is_official_name
from sai_core.errors import InputError
from tests.benchmarks import full_scale
from tests.benchmarks.full_scale_root import DENSE_SYSTEM, FULL, NEW_SYSTEM, SMALL, SYSTEMS, make, plans


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scale") / "data"
    make(path, SMALL, progress=lambda line: None)
    return path


def test_the_plan_is_that_of_the_development_test_set() -> None:
    chosen = plans(FULL, 0)
    lengths = np.array([plan.n_frames for plan in chosen]) / 10
    assert [sum(p.split == s for p in chosen) for s in ("dev-test-sony", "dev-test-tau")] == [30, 48]
    assert len({p.name for p in chosen}) == 78
    assert all(is_official_name(p.name) for p in chosen)
    assert lengths.min() >= 30
    assert lengths[0] == lengths.max() == 540
    assert lengths.sum() == pytest.approx(12_600, abs=10)
    assert plans(FULL, 0) == chosen != plans(FULL, 1)
    for plan in chosen:
        for layer in plan.layers:
            assert [p.at for p in layer] == np.cumsum([0, *(p.n for p in layer)])[:-1].tolist()
            assert sum(p.n for p in layer) == plan.n_frames


def test_the_root_can_be_opened(folder: Path) -> None:
    root = open_data_root(folder / "root")
    assert {s.name: len(s.files) for s in root.prediction_sets} == {**dict.fromkeys(SYSTEMS, 3), DENSE_SYSTEM: 1}
    for plan in plans(SMALL, 0):
        recording = root.recording(plan.name, plan.split)
        info = describe(recording)
        assert info.n_frames == plan.n_frames
        assert not info.problems
        frames = open_frames(recording)
        assert frames is not None
        assert frames.n_frames == plan.n_frames
        assert recording.label_path is not None
        labels = read_annotations(recording.label_path, use_cache=False)
        assert len(labels) > 0
        assert labels.n_frames <= plan.n_frames
    assert len(open_data_root(folder / "many").recordings) == SMALL.many


def test_a_turn_moves_labels_by_half_the_canvas(folder: Path) -> None:
    plan = next(p for p in plans(SMALL, 0) if p.layers[0][0].turned)
    piece = plan.layers[0][0]
    demo = open_data_root("assets/demo").recordings[piece.clip]
    assert demo.label_path is not None
    before = read_annotations(demo.label_path, use_cache=False)
    after = read_annotations(full_scale.Site(folder, SMALL).label(plan), use_cache=False)
    frame = int(before.frame[before.frame < piece.n][0])
    x = np.concatenate([before.points(int(i))[0][:, 0] for i in np.flatnonzero(before.frame == frame)])
    turned = np.concatenate([after.points(int(i))[0][:, 0] for i in np.flatnonzero(after.frame == frame)])
    assert set(((x + 180) % 360).tolist()) <= set(turned.tolist())


def test_making_goes_on_and_always_gives_the_same(folder: Path) -> None:
    site = full_scale.Site(folder, SMALL)
    paths = [
        site.label(site.longest),
        site.sound(site.longest),
        site.predictions(NEW_SYSTEM) / f"{site.longest.name}.json",
    ]
    kept = site.label(site.shortest)
    before, stamp = [p.read_bytes() for p in paths], kept.stat().st_mtime_ns
    for path in paths:
        path.unlink()
    make(folder, SMALL, progress=lambda line: None)
    assert [p.read_bytes() for p in paths] == before
    assert kept.stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="another size or seed"):
        make(folder, SMALL, seed=1)
    with pytest.raises(InputError, match="other files"):
        make(folder / "root", SMALL)


def test_rows_are_measured(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.json"
    arguments = ["x", "--folder", str(folder), "--small", "--rows", "label", "home", "--json", str(out)]
    monkeypatch.setattr("sys.argv", arguments)
    assert full_scale.main() == 0
    rows = json.loads(out.read_text())
    assert len(rows) == 4
    assert all(r["cpu_s"] > 0 and 10 < r["peak_mb"] < 3000 and r["wall_s"] > 0 for r in rows)
    assert 0 < rows[0]["facts"]["million points"] < 1


def test_a_row_that_fails_is_a_line_and_an_exit_code(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    label = full_scale.Site(folder, SMALL).label(plans(SMALL, 0)[0])
    text = label.read_bytes()
    label.write_text("{")
    try:
        monkeypatch.setattr("sys.argv", ["x", "--folder", str(folder), "--small", "--rows", "label"])
        assert full_scale.main() == 1
    finally:
        label.write_bytes(text)
    assert "FAILED with exit code" in capsys.readouterr().out

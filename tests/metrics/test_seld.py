"""SELD scores against the official code's results, HOTA by hand, and rows of annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from sai_core.annotations import AnnotationTable, DcaseMetadata, read_dcase_csv
from sai_core.annotations.writing import write_label_json, write_submission_json
from sai_core.cli import main
from sai_core.errors import InputError
from sai_core.metrics.evaluation.score_store import result_of_tables
from sai_core.metrics.reading.seld import (
    Convention,
    field_figures,
    hota,
    pearson_by_energy,
    rows_of_table,
    seld_report,
)
from tests.metrics.helpers import FIXTURES, made_up_recording, region, table


def metadata(rows: list[list[Any]]) -> DcaseMetadata:
    frame, category, source, azimuth, elevation, distance = (np.array([row[k] for row in rows]) for k in range(6))
    return DcaseMetadata(frame, category, source, azimuth, elevation, distance)


@pytest.mark.parametrize("convention", get_args(Convention))
def test_seld_scores_are_the_official_ones(convention: Convention) -> None:
    given = json.loads((FIXTURES.parent / "seld" / "official.json").read_text())
    labels, predictions = (
        [metadata(recording[side]) for recording in given["recordings"]] for side in ("labels", "predictions")
    )
    report = seld_report(labels, predictions, convention=convention)
    official = given["official"][convention]
    assert report.macro.f20 == pytest.approx(official["f"], abs=1e-12)
    assert report.macro.distance_m == pytest.approx(official["distance"], abs=1e-12)
    assert report.macro.relative_distance == pytest.approx(official["relative"], abs=1e-12)
    # the official code of 2024 adds 1e-10 to squared lengths
    assert report.macro.angle_deg == pytest.approx(official["angle"], abs=1e-6)
    if "recall" in official:
        assert report.macro.recall == pytest.approx(official["recall"], abs=1e-12)
    ours = [0.0 if np.isnan(row.f20) else row.f20 for row in report.per_class]
    np.testing.assert_allclose(ours, official["per_class_f"], rtol=0, atol=1e-12)
    assert report.macro_of_labelled.f20 == pytest.approx(report.macro.f20 * 13 / 9)
    json.dumps(report.to_json(), allow_nan=False)


def track(frames: range, source: int, azimuth: float, category: int = 0) -> list[list[Any]]:
    return [[f, category, source, azimuth, 0.0, 100.0] for f in frames]


def test_hota_by_hand() -> None:
    truth = metadata(track(range(10), 1, 0.0))
    perfect = hota([truth], [truth])
    assert (perfect.hota, perfect.detection, perfect.association, perfect.localisation) == pytest.approx((1, 1, 1, 1))
    # one source heard as two, half of the time each: every match knows half of its source
    halves = metadata(track(range(5), 1, 0.0) + track(range(5, 10), 2, 0.0))
    found = hota([truth], [halves])
    assert (found.detection, found.association, found.n_switches) == pytest.approx((1, 0.5, 1))
    assert found.hota == pytest.approx(np.sqrt(0.5))
    # 10 degrees off: similarity 0.75, a match at the thresholds up to 0.75 (15 of 19)
    off = hota([truth], [metadata(track(range(10), 1, 10.0))])
    assert (off.detection, off.localisation) == pytest.approx((15 / 19, 0.75))
    # a class that differs is nothing for the class-aware figure, and no matter for the other
    wrong = metadata(track(range(10), 1, 0.0, category=3))
    assert hota([truth], [wrong]).hota == 0
    assert hota([truth], [wrong], class_aware=False).hota == pytest.approx(1)
    # half of the frames missed, in two recordings
    missed = metadata(track(range(5), 1, 0.0))
    assert hota([truth, truth], [missed, missed]).detection == pytest.approx(0.5)
    assert hota([truth, truth], [missed, missed]).association == pytest.approx(0.5)
    # a place that crosses another's keeps its own by the whole recording, not by the frame
    two = metadata(track(range(10), 1, 0.0) + track(range(10), 2, 15.0))
    moved = metadata(track(range(9), 1, 0.0) + track(range(9), 2, 15.0) + [[9, 0, 1, 14.0, 0, 1], [9, 0, 2, 1.0, 0, 1]])
    assert hota([two], [moved]).n_switches == 0


def test_nothing_is_undefined() -> None:
    nothing = metadata([])
    assert np.isnan(hota([nothing], [nothing]).hota)
    assert hota([metadata(track(range(3), 1, 0.0))], [nothing]).hota == 0
    report = seld_report([nothing], [nothing])
    assert np.isnan(report.macro.angle_deg)
    json.dumps(report.to_json(), allow_nan=False)
    with pytest.raises(InputError, match="do not belong together"):
        seld_report([nothing], [])
    with pytest.raises(InputError, match="Unknown convention"):
        seld_report([], [], convention="2023")  # type: ignore[arg-type]


def test_rows_of_annotations() -> None:
    made = table(
        [(0, 2, region(100, 90, radius=5)), (0, 2, region(200, 60, radius=5)), (1, 4, region(0, 20, radius=5))],
        scores=[0.9, 0.2, 0.4],
        distances=[100.0, 200.0, float("nan")],
    )
    twice = AnnotationTable(
        "r", made.frame, made.category_id, np.array([3, 3, -1]), made.distance_cm, made.score, made.polygon_offsets,
        made.point_offsets, made.points_xy, made.energy,
    )  # fmt: skip
    rows = rows_of_table(twice)
    assert rows.source_id.tolist() == [3, 0, 0]
    np.testing.assert_allclose(rows.azimuth_deg, [79.5, -20.5, 179.5])
    np.testing.assert_allclose(rows.elevation_deg, [-0.5, 29.5, 69.5])
    assert rows_of_table(twice, min_score=0.3).frame.tolist() == [0, 1]
    labels = table([(0, 2, region(100, 90, radius=5))])
    assert len(rows_of_table(labels, min_score=0.9).frame) == 1  # no score is no low score


def test_pearson_by_energy_is_the_mean_of_its_parts() -> None:
    results = [result_of_tables(*made_up_recording(k, name=f"r{k}"), use_cache=False) for k in range(2)]
    parts = pearson_by_energy(results)
    values = np.concatenate([r.scores.pair_pearson for r in results])
    assert sum(n for _, n, _ in parts) == np.count_nonzero(~np.isnan(values))
    assert sum(n * r for _, n, r in parts) / sum(n for _, n, _ in parts) == pytest.approx(np.nanmean(values))
    assert [energy for energy, _, _ in parts] == sorted(energy for energy, _, _ in parts)
    assert pearson_by_energy([]) == []


def test_the_verbs_write_what_the_figures_are_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = {name: made_up_recording(seed, n_frames=6, name=name) for seed, name in enumerate(("a", "b"))}
    for folder in ("labels", "found"):
        (tmp_path / folder).mkdir()
    for name, (labels, predictions) in pairs.items():
        write_label_json(labels, tmp_path / "labels" / f"{name}_std.json")
        write_submission_json(predictions, tmp_path / "found" / f"{name}_inference.json")
    where = ["--labels", str(tmp_path / "labels"), "--predictions", str(tmp_path / "found"), "--no-cache"]
    assert main(["evaluate", *where, "--seld", "0.5", "--json", str(tmp_path / "o.json")]) == 0
    assert "HOTA class-agnostic" in capsys.readouterr().out
    written = json.loads((tmp_path / "o.json").read_text())["field"]
    sides = {}
    for side, score in (("labels", "0"), ("found", "0.5")):
        out = tmp_path / f"{side}_csv"
        assert main(["to-dcase", str(tmp_path / side), "--out", str(out), "--min-score", score, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert [Path(t["file"]).name for t in told] == ["a.csv", "b.csv"]
        sides[side] = [read_dcase_csv(out / f"{name}.csv") for name in pairs]
        if side == "found":
            assert sum(t["left_out"] for t in told) == written["n_left_out"] > 0
    again = seld_report(sides["labels"], sides["found"]).to_json()
    assert again["macro"] == pytest.approx(written["seld"]["2024"]["macro"], abs=1e-9)
    tables = [[pair[k] for pair in pairs.values()] for k in (0, 1)]
    results = [result_of_tables(*pair, use_cache=False) for pair in pairs.values()]
    figures = field_figures(tables[0], tables[1], results, min_score=0.5).to_json()
    assert figures["hota"] == written["hota"]
    for wrong in (["evaluate", *where, "--seld", "2"], ["to-dcase", str(tmp_path), "--out", "x", "--min-score", "-1"]):
        assert main(wrong) == 2
        assert "between 0 and 1" in capsys.readouterr().err
    # what is wrong with one file keeps no other from being written, as in convert, whose files these are
    (tmp_path / "found" / "z.json").write_text("{")
    assert main(["to-dcase", str(tmp_path / "found"), "--out", str(tmp_path / "some"), "--min-score", "0.5"]) == 2
    assert "z.json" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "found"), "--to", "dcase", "--out", str(tmp_path / "c"), "--quiet",
                 "--min-score", "0.5"]) == 2  # fmt: skip
    for name in pairs:
        written_to = [(tmp_path / folder / f"{name}.csv").read_bytes() for folder in ("found_csv", "some", "c")]
        assert written_to[0] == written_to[1] == written_to[2]
    (tmp_path / "out").symlink_to(tmp_path / "nowhere" / "at all")
    assert main(["to-dcase", str(tmp_path / "labels"), "--out", str(tmp_path / "out")]) == 1
    assert "cannot be written" in capsys.readouterr().err

"""Evaluating sets: files, processes, missing recordings, limits, caches."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sai_core.annotations.table import AnnotationTable
from sai_core.annotations.writing import MAX_SUBMISSION_BYTES, write_label_json, write_submission_json
from sai_core.errors import CancelledError, InputError
from sai_core.metrics import REVISIONS, evaluate, merge, score_recording, score_recordings
from sai_core.metrics.evaluation.map_cache import cached_maps_0630
from sai_core.metrics.evaluation.recording import submission_bytes
from sai_core.metrics.official.rendering_0630 import render_table_0630
from tests.damage import damage, entries
from tests.metrics.helpers import made_up_recording, region, table

Tables = dict[str, AnnotationTable]


@pytest.fixture(scope="module")
def tables() -> tuple[Tables, Tables]:
    pairs = {f"r{k}": made_up_recording(60 + k, n_frames=6, name=f"r{k}") for k in range(3)}
    return {n: p[0] for n, p in pairs.items()}, {n: p[1] for n, p in pairs.items()}


@pytest.fixture
def files(tables: tuple[Tables, Tables], tmp_path: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    labels, predictions = {}, {}
    for name in tables[0]:
        labels[name], predictions[name] = tmp_path / f"{name}_std.json", tmp_path / f"{name}.json"
        write_label_json(tables[0][name], labels[name])
        write_submission_json(tables[1][name], predictions[name])
    return labels, predictions


def _figures(*args: Any, **options: Any) -> str:
    return json.dumps(evaluate(*args, **options).to_json())


@pytest.mark.slow
@pytest.mark.parametrize("revision", ["2026-06-30", "2026-05-18", "2026-04-02"])
def test_two_processes_give_the_same_bits(
    tables: tuple[Tables, Tables], files: tuple[dict[str, Path], dict[str, Path]], revision: Any
) -> None:
    # starting processes is what takes long: one pool a revision, from files and from tables in turn
    given = tables if revision == "2026-05-18" else files
    assert _figures(*given, revision=revision, workers=2) == _figures(*given, revision=revision)


def test_progress_is_told_and_may_cancel(tables: tuple[Tables, Tables]) -> None:
    for revision in ("2026-06-30", "2026-04-02"):
        told: list[float] = []
        evaluate(*tables, revision=revision, progress=lambda fraction, _, told=told: told.append(fraction))
        assert told == sorted(told)
        assert {1 / 3, 2 / 3, 1} < set(told)

    def cancel(fraction: float, message: str) -> None:
        raise CancelledError("enough")

    with pytest.raises(CancelledError):
        evaluate(*tables, progress=cancel)


def test_recordings_without_predictions_are_left_out_or_counted(tables: tuple[Tables, Tables]) -> None:
    labels, predictions = tables
    some = {name: predictions[name] for name in ("r0", "r2")}
    left_out = evaluate(labels, some)
    assert left_out.recordings == ("r0", "r2")
    assert "r1" in left_out.warnings[0]
    official = evaluate({name: labels[name] for name in some}, some)
    assert left_out.to_json() | {"warnings": []} == official.to_json()
    counted = evaluate(labels, some, count_missing_recordings=True)
    assert counted.recordings == ("r0", "r1", "r2")
    assert counted.micro.n_labels == official.micro.n_labels + len(labels["r1"])
    assert counted.micro.n_detections == official.micro.n_detections
    assert counted.micro.mean_ap < official.micro.mean_ap
    assert "counted as missed" in counted.warnings[0]


def test_recordings_without_labels_are_left_out(tables: tuple[Tables, Tables]) -> None:
    labels, predictions = tables
    evaluation = evaluate({"r0": labels["r0"]}, predictions)
    assert evaluation.recordings == ("r0",)
    assert "2 recordings (r1, r2) without labels" in evaluation.warnings[0]


def test_nothing_in_common_is_an_error_and_nothing_at_all_is_undefined(tables: tuple[Tables, Tables]) -> None:
    with pytest.raises(InputError, match="No recording has both"):
        evaluate({"a": tables[0]["r0"]}, {"b": tables[1]["r0"]})
    for revision in ("2026-06-30", "2026-04-02"):
        empty = evaluate({}, {}, revision=revision)
        assert empty.revision == revision
        json.dumps(empty.to_json(), allow_nan=False)
    with pytest.raises(InputError, match="has no labels"):
        score_recordings({}, {"a": tables[1]["r0"]})


def test_wrong_options(tables: tuple[Tables, Tables]) -> None:
    with pytest.raises(InputError, match="revision"):
        evaluate(*tables, revision="2025-01-01")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="revision"):
        score_recording(tables[0]["r0"], tables[1]["r0"], revision="x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="workers"):
        evaluate(*tables, workers=0)


def test_missing_scores_are_0_and_missing_distances_100_percent() -> None:
    labels = table([(0, 1, region(100, 90)), (0, 1, region(200, 90))], distances=[100.0, 200.0])
    predictions = table([(0, 1, region(100, 90)), (0, 1, region(200, 90))], scores=[np.nan, 0.5])
    june = score_recording(labels, predictions, use_cache=False)
    np.testing.assert_array_equal(june.detection_score, [0, 0.5])
    april = score_recording(labels, predictions, revision="2026-04-02")
    np.testing.assert_array_equal(april.pair_distance_ape, [100, 100])
    assert merge([april]).micro.distance_mape == 100


def test_files_above_the_limit_are_refused_by_the_revision_of_june_alone(
    files: tuple[dict[str, Path], dict[str, Path]], tmp_path: Path
) -> None:
    labels, predictions = files
    text = predictions["r0"].read_text()
    large = tmp_path / "large.json"
    large.write_text(_padded(text, MAX_SUBMISSION_BYTES + 1))
    packed = tmp_path / "large.json.gz"
    packed.write_bytes(gzip.compress(large.read_bytes(), compresslevel=1))
    for path in (large, packed):
        with pytest.raises(InputError, match="20 MB"):
            evaluate({"r0": labels["r0"]}, {"r0": path})
    allowed = evaluate({"r0": labels["r0"]}, {"r0": packed}, allow_large=True)
    assert allowed.to_json() == evaluate({"r0": labels["r0"]}, {"r0": predictions["r0"]}).to_json()
    evaluate({"r0": labels["r0"]}, {"r0": packed}, revision="2026-04-02")
    # labels have no limit, and a file of exactly 20 MB is accepted
    exact = tmp_path / "exact.json"
    exact.write_text(_padded(text, MAX_SUBMISSION_BYTES))
    assert submission_bytes(exact) == MAX_SUBMISSION_BYTES
    evaluate({"r0": exact}, {"r0": exact})


def _padded(text: str, n_bytes: int) -> str:
    """The same JSON object with keys that nobody reads, up to a size."""
    assert text.rstrip().endswith("}")
    body = text.rstrip()[:-1]
    filling = ', "videos": [' + ", ".join(['"' + "x" * 1000 + '"'] * ((n_bytes - len(body)) // 1004 - 2)) + "]"
    rest = n_bytes - len(body) - len(filling) - len(', "rest": ""}')
    return body + filling + ', "rest": "' + "x" * rest + '"}'


def test_unknown_classes_are_left_out(tmp_path: Path, files: tuple[dict[str, Path], dict[str, Path]]) -> None:
    labels, predictions = files
    data = json.loads(predictions["r0"].read_text())
    data["annotations"].append(data["annotations"][0] | {"category_id": 13})
    path = tmp_path / "thirteen.json"
    path.write_text(json.dumps(data))
    without = evaluate({"r0": labels["r0"]}, {"r0": predictions["r0"]}).to_json()
    assert without["left_out"]["predictions"] == {"annotations": 0, "classes": {}}
    for revision in REVISIONS:
        with_it = evaluate({"r0": labels["r0"]}, {"r0": path}, revision=revision)
        assert with_it.left_out["predictions"] == {"annotations": 1, "classes": {"13": 1}}
        assert with_it.left_out["labels"] == {"annotations": 0, "classes": {}}
        told = "predictions: 1 annotation was left out, of classes that are none of the 13 (id 13: 1), in r0."
        assert told in with_it.warnings
    june = evaluate({"r0": labels["r0"]}, {"r0": path}).to_json()
    assert june | {"left_out": None, "warnings": []} == without | {"left_out": None, "warnings": []}


def test_maps_come_back_from_the_cache(tables: tuple[Tables, Tables], monkeypatch: pytest.MonkeyPatch) -> None:
    labels = replace(tables[0]["r0"], recording="cached")
    rendered = cached_maps_0630(labels)
    monkeypatch.setattr("sai_core.metrics.evaluation.map_cache.render_table_0630", None)  # must not be needed again
    other = replace(labels, category_id=np.zeros_like(labels.category_id), frame=labels.frame + 7)
    again = cached_maps_0630(other)
    for name in ("offsets", "pixels", "values", "painted"):
        np.testing.assert_array_equal(getattr(rendered, name), getattr(again, name))
    assert not again.values.flags.writeable


def test_damaged_caches_only_cost_time(
    tables: tuple[Tables, Tables], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rng: np.random.Generator
) -> None:
    monkeypatch.setenv("SAI_CACHE_DIR", os.fspath(tmp_path))
    labels = tables[0]["r1"]
    expected = render_table_0630(labels)
    cached_maps_0630(replace(labels))
    (path,) = entries(tmp_path, "maps")
    for how in damage(path, rng):
        found = cached_maps_0630(replace(labels))
        for name in ("offsets", "pixels", "values", "painted"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=how)


def test_a_cache_that_cannot_be_written_only_costs_time(
    tables: tuple[Tables, Tables], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SAI_CACHE_DIR", os.fspath(tmp_path / "file" / "cache"))
    labels = replace(tables[0]["r2"])
    assert len(cached_maps_0630(labels)) == len(labels)


def test_recordings_at_the_ends_of_the_scale() -> None:
    labels, _ = made_up_recording(70, n_frames=4)
    identical = replace(labels, score=np.linspace(0.1, 0.9, len(labels)))
    for revision in ("2026-06-30", "2026-04-02"):
        perfect = evaluate({"a": labels}, {"a": identical}, revision=revision)
        assert perfect.macro.mean_ap == pytest.approx(1.0, abs=1e-6)
        assert perfect.micro.pearson_r == pytest.approx(1.0, abs=1e-9)
        assert perfect.micro.distance_mape == 0
        # the same regions, all of another class
        wrong = replace(identical, category_id=np.full(len(labels), 12))
        nothing = evaluate({"a": labels}, {"a": wrong}, revision=revision)
        assert nothing.macro.mean_ap == 0
        assert nothing.micro.n_pairs == 0

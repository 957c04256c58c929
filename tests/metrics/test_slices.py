"""Slices: what is in them by hand, and that together they are the whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pages.components import state_keys as keys
from sai_core.annotations.table import AnnotationTable
from sai_core.annotations.writing import write_label_json, write_submission_json
from sai_core.cli import main
from sai_core.errors import InputError
from sai_core.metrics import Revision, merge
from sai_core.metrics.evaluation.score_store import result_of_tables
from sai_core.metrics.evaluation.scores import RecordingScores
from sai_core.metrics.official.directions import annotation_point_offsets
from sai_core.metrics.reading.drilldown import ap_moments, copies_joined
from sai_core.metrics.reading.slices import (
    ATTRIBUTES,
    NO_LABEL,
    SlicedRecording,
    slice_moments,
    slice_recording,
    sliced_scores,
    slices_of,
    slices_table,
    worst_table,
)
from sai_core.workspace import workspace
from sai_core.workspace.marks import VIEW_FILTER, change_marks
from tests.metrics.helpers import made_up_recording, region, table

NAMES = ("fold1_room2_mix001", "fold1_room7_mix002", "odd name")


def recordings(revision: Revision = "2026-06-30") -> list[SlicedRecording]:
    parts = []
    for seed, name in enumerate(NAMES):
        labels, predictions = made_up_recording(seed, n_frames=6, name=name)
        late = replace(predictions, frame=np.where(predictions.frame == 5, 7, predictions.frame))
        parts.append(slice_recording(labels, late, revision=revision, split="s" * seed, use_cache=False))
    return parts


def together(parts: list[RecordingScores], name: str) -> RecordingScores:
    """Rows of one recording's slices, in the order of the recording."""
    columns: dict[str, Any] = {}
    for prefix, key in (("detection_", "detection_index"), ("label_", "label_index"), ("pair_", "pair_prediction")):
        order = np.argsort(np.concatenate([getattr(p, key) for p in parts]), kind="stable")
        for field in RecordingScores.__dataclass_fields__:
            if field.startswith(prefix):
                columns[field] = np.concatenate([getattr(p, field) for p in parts])[order]
    sums = {k: np.sum([getattr(p, k) for p in parts], axis=0) for k in ("n_labels", "n_detections")}
    return replace(parts[0], recording=name, **columns, **sums)


@pytest.mark.parametrize("revision", ["2026-06-30", "2026-04-02"])
def test_slices_of_an_attribute_are_the_whole(revision: Revision) -> None:
    parts = recordings(revision)
    whole = merge([p.scores for p in parts])
    assert any((p.owner < 0).any() for p in parts)
    for attribute in ATTRIBUTES:
        slices = sliced_scores(parts, attribute)
        assert len(slices) > 1 or attribute in ("overlap", "movement", "phase")
        again = [together([s[k] for s in slices.values()], p.scores.recording) for k, p in enumerate(parts)]
        merged = merge(again)
        # as text, in which undefined equals undefined
        assert repr((merged.macro, merged.per_class)) == repr((whole.macro, whole.per_class)), attribute


def test_moments_of_slices_are_those_of_the_set() -> None:
    pairs = [made_up_recording(seed, n_frames=6, name=name) for seed, name in enumerate(NAMES)]
    results = [result_of_tables(*pair, use_cache=False) for pair in pairs]
    parts = [slice_recording(*pair, scores=r.scores, use_cache=False) for pair, r in zip(pairs, results, strict=True)]
    slices = slices_of(parts, n_resamples=0)
    everything = ap_moments(results, row="macro")
    for attribute in ATTRIBUTES:
        n = [len(slice_moments(results, slices, attribute, part.value)) for part in slices.of(attribute)]
        assert sum(n) == len(everything), attribute
    assert set(slice_moments(results, slices, "room", "7").recording) == {NAMES[1]}


def row(frame: int, category: int, x: float, y: float = 90.0) -> tuple[int, int, tuple[np.ndarray, np.ndarray]]:
    return (frame, category, region(x, y, radius=6))


def by_hand() -> tuple[AnnotationTable, AnnotationTable]:
    """Class 0 stands for eight frames and then moves for eight; class 1 joins in frames 2 to 4, twice in frame 4."""
    rows = [row(k, 0, 100) for k in range(8)] + [row(k, 0, 100 + 3 * (k - 7)) for k in range(8, 16)]
    rows += [row(k, 1, 250, 40) for k in (2, 3, 4)] + [row(4, 1, 300, 150)]
    labels = table(rows, name="fold1_room12_mix001", distances=[50.0 + 60 * r[0] for r in rows])
    instance = np.where(labels.category_id == 1, np.where(labels.points_xy[labels.point_offsets[:-1], 1] > 90, 3, 2), 1)
    labels = replace(labels, instance_id=instance)
    found = [row(k, 0, 101) for k in (0, 3, 12)] + [row(3, 5, 248, 42), row(20, 5, 10)]
    return labels, table(found, name="fold1_room12_mix001", scores=[0.9, 0.8, 0.7, 0.6, 0.5])


def test_values_by_hand() -> None:
    labels, predictions = by_hand()
    part = slice_recording(labels, predictions, use_cache=False)
    columns = (labels.frame.tolist(), labels.category_id.tolist(), labels.instance_id.tolist())
    at = {key: k for k, key in enumerate(zip(*columns, strict=True))}

    def value(name: str, frame: int, category: int = 0, instance: int = 1) -> str:
        return str(part.label_values[name][at[frame, category, instance]])

    assert [value("polyphony", f) for f in (0, 2, 4)] == ["1", "2", "3"]
    assert [value("phase", f) for f in (0, 2, 3, 12, 13, 15)] == ["onset", "onset", "body", "body", "end", "end"]
    assert value("phase", 4, 1, 2) == "onset"  # of an event of three frames
    assert [value("movement", f) for f in (2, 12)] == ["still", "moving"]
    assert value("overlap", 4, 1, 2) == value("overlap", 4, 1, 3) == "others of its class"
    assert value("overlap", 4) == "alone in its class"
    assert [value("distance", f) for f in (0, 1, 5, 15)] == ["under 1 m", "1 to 2 m", "2 to 4 m", "4 m and more"]
    assert (value("elevation", 3, 1, 2), value("elevation", 4, 1, 3)) == ("30° and more", "under -30°")
    assert value("elevation", 0) == "-10° to 10°"
    assert value("room", 0) == "12"
    assert part.size_deg2[labels.category_id == 0] == pytest.approx(np.pi * 6**2, rel=0.25)
    # of the wrong class, but it points at the second source of its frame; the last one is where nothing is
    assert part.owner.tolist() == [at[0, 0, 1], at[3, 0, 1], at[3, 1, 2], at[12, 0, 1], -1]
    assert set(sliced_scores([part], "polyphony")) == {"1", "2", "3", NO_LABEL}
    assert set(sliced_scores([part], "room")) == {"12"}


def test_parts_of_a_region_are_one_source() -> None:
    labels, predictions = by_hand()
    # no two sources have the same energy
    louder = np.repeat(1 - np.arange(len(labels)) / 99, np.diff(annotation_point_offsets(labels)))
    labels = replace(labels, energy=labels.energy * louder)
    # as the official code writes a region of two parts: the whole label twice
    twice = labels.take(np.repeat(np.arange(len(labels)), 2))
    part = slice_recording(labels, predictions, use_cache=False)
    doubled = slice_recording(twice, predictions, use_cache=False)
    for attribute in ("polyphony", "overlap"):
        assert doubled.label_values[attribute].tolist() == np.repeat(part.label_values[attribute], 2).tolist()
    results = [result_of_tables(twice, predictions, use_cache=False)]
    moments = slice_moments(results, slices_of([doubled], n_resamples=0), "polyphony", "3")
    joined = copies_joined(moments)
    missed = joined.prediction < 0
    assert joined.copies[missed].tolist() == [2, 2, 2]
    assert joined.copies.sum() == len(moments)
    # what a row costs is not changed by joining
    assert set(joined.hurt.tolist()) <= set(moments.hurt.tolist())


def test_the_worst_slices_find_themselves() -> None:
    parts = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rows, found, scores = [], [], []
        for k in range(30):
            high = k % 2 == 0
            y = 40.0 if high else 95.0
            rows.append(row(k, 0, 50 + k, y))
            if not high or rng.uniform() < 0.2:
                found.append(row(k, 0, 50 + k, y))
                scores.append(float(rng.uniform(0.2, 0.9)))
        name = f"fold1_room{seed}_mix001"
        parts.append(slice_recording(table(rows, name=name), table(found, name=name, scores=scores), use_cache=False))
    slices = slices_of(parts, name="s", n_resamples=50)
    worst = slices.worst()
    assert (worst[0].attribute, worst[0].value) == ("elevation", "30° and more")
    assert worst[0].loss > worst[0].loss_low > 0.1
    assert slices.of("elevation")[0].loss < 0
    assert worst_table(slices).rows[0] == "elevation: 30° and more"
    assert slices.worst(min_labels=91) == ()
    # five recordings that all lose may do so by chance
    assert slices_of(parts[1:], name="s", n_resamples=50).worst() == ()
    again = slices_of(list(reversed(parts)), name="s", n_resamples=50)
    assert json.dumps(again.to_json(), allow_nan=False) == json.dumps(slices.to_json(), allow_nan=False)
    # without intervals nothing is sure
    assert slices_of(parts, n_resamples=0).worst() == ()
    with pytest.raises(InputError, match="Unknown attribute"):
        sliced_scores(parts, "colour")  # type: ignore[arg-type]


def test_tags_and_views_are_slices_of_whole_recordings() -> None:
    plain = recordings()
    groups: list[dict[str, tuple[str, ...]]] = [{"tag": ("bad", "loud"), "view": ("v",)}, {"tag": ("loud",)}, {}]
    parts = [replace(part, groups=of) for part, of in zip(plain, groups, strict=True)]
    scores = [part.scores for part in parts]
    expected = {"bad": scores[:1], "loud": scores[:2], "none": scores[2:]}
    slices = slices_of(parts, n_resamples=20)
    # a recording with two tags counts in both, with all that is in it, also in frames without labels
    assert any((part.owner < 0).any() for part in parts)
    assert [s.value for s in slices.of("tag")] == list(expected)
    for found in slices.of("tag"):
        whole = merge(expected[found.value])
        assert repr((found.evaluation.macro, found.evaluation.per_class)) == repr((whole.macro, whole.per_class))
        assert found.n_recordings == len(expected[found.value])
    assert [(s.value, s.n_recordings) for s in slices.of("view")] == [("v", 1), ("none", 2)]
    assert not np.isnan(slices.of("tag")[0].loss_low)
    assert "with two tags or views counts in both" in slices_table(slices).note
    assert "counts in both" not in slices_table(slices, slices.of("room")).note
    assert slices.to_json()["overlapping"] == ["tag", "view"]
    assert slices_of(plain, n_resamples=0).of("tag") == ()


def test_nothing_has_slices() -> None:
    empty = AnnotationTable.empty("e")
    slices = slices_of([slice_recording(empty, empty, use_cache=False)], n_resamples=0)
    assert slices.slices == ()
    slices_table(slices)
    assert slices_of([]).to_json()["slices"] == []


def test_the_verb_gives_tables_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("a_room1", 1), ("b_room2", 2)):
        labels, predictions = made_up_recording(seed, n_frames=6, name=name)
        for folder in ("dev-test-x", "found"):
            (tmp_path / folder).mkdir(exist_ok=True)
        write_label_json(labels, tmp_path / "dev-test-x" / f"{name}_std.json")
        write_submission_json(predictions, tmp_path / "found" / f"{name}.json")
    where = ["--labels", str(tmp_path / "dev-test-x"), "--predictions", str(tmp_path / "found"), "--no-cache"]
    assert main(["evaluate", *where, "--slices", "--json", str(tmp_path / "o.json")]) == 0
    told = capsys.readouterr().out
    assert "polyphony: 2" in told
    assert "worst slices" in told
    written = json.loads((tmp_path / "o.json").read_text())
    rooms = [s for s in written["slices"]["slices"] if s["attribute"] == "room"]
    assert [s["value"] for s in rooms] == ["1", "2"]
    assert sum(s["n_labels"] for s in rooms) == written["micro"]["n_labels"]
    assert [s["value"] for s in written["slices"]["slices"] if s["attribute"] == "split"] == ["dev-test-x"]
    assert main(["evaluate", *where, "--slices", "--count-missing"]) == 2


def test_the_verb_takes_tags_and_views_of_the_data_root(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAI_WORKSPACE", str(tmp_path / "workspace"))
    root, found = tmp_path / "data", tmp_path / "found"
    # two recordings of one name: the tags of each are its own
    for split, name, seed in (
        ("dev-test-x", "a_room1", 1),
        ("dev-test-x", "b_room2", 2),
        ("dev-train-x", "a_room1", 3),
    ):
        labels, predictions = made_up_recording(seed, n_frames=6, name=name)
        for folder in (root / "labels_dev" / split, found):
            folder.mkdir(exist_ok=True, parents=True)
        write_label_json(labels, root / "labels_dev" / split / f"{name}_std.json")
        write_submission_json(predictions, found / f"{name}.json")
    views = {"second": "where=room2&sort=name", "good": "where=score%3E0.5", "broken": "where=nosuch%3A3"}
    change_marks(workspace(), root, ["dev-test-x/a_room1"], add=["bad", "loud"], views=views)
    change_marks(workspace(), root, ["dev-train-x/a_room1"], add=["other"])
    labels_at = root / "labels_dev" / "dev-test-x"
    where = ["--labels", str(labels_at), "--predictions", str(found), "--quiet"]
    assert main(["evaluate", *where, "--slices", "--json", "-"]) == 0
    told = capsys.readouterr()
    made = json.loads(told.out)["slices"]
    of = {
        kind: {s["value"]: s["n_labels"] for s in made["slices"] if s["attribute"] == kind}
        for kind in ("recording", "tag", "view")
    }
    a, b = of["recording"]["a_room1"], of["recording"]["b_room2"]
    assert of["tag"] == {"bad": a, "loud": a, "none": b}
    assert of["view"] == {"second": b, "none": a}
    assert any("Saved view broken" in note and "nosuch" in note for note in made["notes"])
    assert any("Saved view good" in note and "score" in note for note in made["notes"])
    assert all(f"note: {note}" in told.err for note in made["notes"])
    assert VIEW_FILTER == keys.DATASET_QUERY

"""The queue: every kind is found in a scene made for it, and in nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sai_core.annotations import (
    AnnotationTable,
    DcaseMetadata,
    read_annotations,
    write_label_json,
    write_submission_json,
)
from sai_core.cli import main
from sai_core.dataset import DataRoot, demo_root, open_data_root
from sai_core.errors import InputError
from sai_core.metrics.evaluation.score_store import ScoreStore
from sai_core.review.queue import KINDS, Item, Queue, QueueSettings, build_queue, recording_items
from sai_core.survey.index import Survey, groups_of
from sai_core.survey.table import table_of
from sai_core.viewing.recording_view import BytesCache, open_view
from tests.figures.scenes import write_root
from tests.review.helpers import RECORDING, table, track


def only(items: list[Item], kind: str) -> Item:
    assert [item.kind for item in items] == [kind], [(i.kind, i.reason) for i in items]
    (item,) = items
    assert 0 <= item.score <= 1
    assert item.start <= item.frame <= item.end
    return item


def agreeing(frames: range = range(20), **more: float) -> AnnotationTable:
    return table(track(0, 1, frames, score=0.9, **more))


def test_nothing_to_say_about_labels_that_everyone_finds() -> None:
    labels = table(track(0, 1, range(20)))
    assert recording_items(RECORDING, labels, {"a": agreeing(), "b": agreeing()}) == []


def test_confident_predictions_without_label_become_one_event() -> None:
    labels = table(track(0, 1, range(20)))
    extra = table(track(0, 1, range(20), score=0.9), track(11, 2, range(4, 9), x=300, score=0.8))
    item = only(recording_items(RECORDING, labels, {"a": extra, "b": agreeing()}), "unlabelled")
    assert (item.start, item.end, item.category_id, item.systems) == (4, 8, 11, ("a",))
    # 0.8 alone in five frames: 0.8 (0.5 + 0.5 * 5 / 10)
    np.testing.assert_allclose(item.score, 0.8 * 0.75, rtol=0, atol=1e-12)
    # a second system that hears it too makes it more suspicious: 1 - 0.2 * 0.2
    item = only(recording_items(RECORDING, labels, {"a": extra, "b": extra}), "unlabelled")
    np.testing.assert_allclose(item.score, 0.96 * 0.75, rtol=0, atol=1e-12)
    assert item.systems == ("a", "b")
    assert not recording_items(RECORDING, labels, {"a": extra}, settings=QueueSettings(confident=0.81))


def test_a_pause_ends_an_event_and_a_gap_does_not() -> None:
    frames = [*track(11, 2, range(4, 7), x=300, score=0.8), *track(11, 2, range(9, 12), x=300, score=0.8)]
    items = recording_items(RECORDING, None, {"a": table(frames)})
    assert [(i.start, i.end) for i in items] == [(4, 11)]
    items = recording_items(RECORDING, None, {"a": table(frames)}, settings=QueueSettings(gap_frames=1))
    assert [(i.start, i.end) for i in items] == [(4, 6), (9, 11)]


def test_events_at_two_places_and_over_the_seam_are_told_apart() -> None:
    rows = [*track(11, 2, range(5), x=300, score=0.8), *track(11, 3, range(5), x=200, score=0.8)]
    assert len(recording_items(RECORDING, None, {"a": table(rows)})) == 2
    moving = [row for k in range(10) for row in track(11, 2, range(k, k + 1), x=355 + k, score=0.8)]
    assert len(recording_items(RECORDING, None, {"a": table(moving)})) == 1


def test_a_label_that_no_system_finds() -> None:
    labels = table(track(0, 1, range(20)), track(5, 2, range(10), x=300))
    item = only(recording_items(RECORDING, labels, {"a": agreeing(), "b": agreeing()}), "unfound")
    assert (item.start, item.end, item.category_id) == (0, 9, 5)
    np.testing.assert_allclose(item.score, 0.75 * 1.0, rtol=0, atol=1e-12)
    assert item.targets == tuple(f"{k}.5.2.0" for k in range(10))


def test_several_systems_hear_another_class() -> None:
    labels = table(track(0, 1, range(20)))
    other = table(track(1, 1, range(20), score=0.6))
    item = only(recording_items(RECORDING, labels, {"a": other, "b": other}), "class")
    assert item.change == {"category": 1}
    np.testing.assert_allclose(item.score, 0.6, rtol=0, atol=1e-12)
    # one of two systems is no dispute; where only one is chosen, it is
    assert not recording_items(RECORDING, labels, {"a": other, "b": agreeing()})
    assert only(recording_items(RECORDING, labels, {"a": other}), "class")


def test_a_neighbour_of_its_own_class_is_no_vote() -> None:
    labels = table(track(0, 1, range(20)), track(1, 2, range(20), x=112))
    second = table(track(1, 2, range(20), x=112, score=0.9))
    assert "class" not in {i.kind for i in recording_items(RECORDING, labels, {"a": second, "b": second})}


def metadata(frames: range, azimuth: float, elevation: float = 10, distance: float = 200) -> DcaseMetadata:
    n = len(frames)
    full = np.full
    return DcaseMetadata(
        np.array(frames), full(n, 0), full(n, 1), full(n, azimuth), full(n, elevation), full(n, distance), RECORDING
    )


def test_energy_away_from_the_metadata_and_how_far() -> None:
    labels = table(track(0, 1, range(20)))  # azimuth 79.5, elevation 9.5
    assert not recording_items(RECORDING, labels, {}, metadata(range(20), 80))
    item = only(recording_items(RECORDING, labels, {}, metadata(range(20), 140)), "direction")
    assert item.change["shifts"][0] == ["0.0.1.0", 60, 0]
    np.testing.assert_allclose(item.score, 1 - np.exp(-(59.6 - 20) / 20), rtol=0, atol=0.02)
    item = only(recording_items(RECORDING, labels, {}, metadata(range(5, 20), 80)), "direction")
    assert (item.start, item.end, item.change) == (0, 4, {"remove": True})


def test_a_track_that_jumps_and_one_that_comes_back() -> None:
    labels = table(track(0, 1, range(10)), track(0, 1, range(10, 20), x=160))
    item = only(recording_items(RECORDING, labels, {}), "jump")
    assert item.change == {"split": 10}
    assert item.targets[0] == "10.0.1.0"
    labels = table(track(0, 1, range(10)), track(0, 1, range(10, 12), x=160), track(0, 1, range(12, 20)))
    item = only(recording_items(RECORDING, labels, {}), "jump")
    assert item.change == {"shifts": [["10.0.1.0", 60, 0], ["11.0.1.0", 60, 0]]}
    # over the seam is no jump
    assert not recording_items(RECORDING, table(track(0, 1, range(3), x=359), track(0, 1, range(3, 6), x=1)), {})


def test_distance_outliers_against_metadata_and_against_the_track() -> None:
    labels = table(track(0, 1, range(20), distance=200))
    item = only(recording_items(RECORDING, labels, {}, metadata(range(20), 80, distance=100)), "distance")
    assert item.change["distances"][0] == ["0.0.1.0", 100.0]
    labels = table(track(0, 1, range(10)), track(0, 1, range(10, 12), distance=900), track(0, 1, range(12, 30)))
    item = only(recording_items(RECORDING, labels, {}), "distance")
    assert (item.start, item.end) == (10, 11)
    labels = table(track(0, 1, range(10)), track(0, 1, range(10, 12), distance=0), track(0, 1, range(12, 30)))
    assert only(recording_items(RECORDING, labels, {}), "distance").score == 1.0


def test_doubled_labels_are_changed_together() -> None:
    labels = table(track(0, 1, range(6)), track(5, 2, range(6), x=300), track(5, 2, range(6), x=300))
    item = only(recording_items(RECORDING, labels, {"a": agreeing(range(6))}), "unfound")
    assert set(item.targets) == {f"{k}.5.2.{n}" for k in range(6) for n in (0, 1)}


def test_nothing_at_all_is_no_item() -> None:
    empty = AnnotationTable.empty(RECORDING)
    for labels in (None, empty):
        assert recording_items(RECORDING, labels, {}) == []
        assert recording_items(RECORDING, labels, {"a": empty}, metadata(range(3), 0)) == []


def test_the_demo_gives_the_same_queue_twice() -> None:
    root = open_data_root(demo_root())
    first, again = (build_queue(root, root.prediction_sets) for _ in range(2))
    assert first.items == again.items
    assert len({item.id for item in first.items}) == len(first) > 5
    assert [i.score for i in first.items] == sorted((i.score for i in first.items), reverse=True)
    # a threshold that only drops items leaves the others their identifiers
    fewer = build_queue(root, root.prediction_sets, settings=QueueSettings(min_frames=4))
    assert {i.id for i in fewer.items} < {i.id for i in first.items}


def test_a_queue_grows_by_whole_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    root = open_data_root(demo_root())
    for name in ("_TELL_EVERY_S", "_FIRST_AFTER_S"):
        monkeypatch.setattr(f"sai_core.review.queue.{name}", 0.0)
    parts: list[Queue] = []
    whole = build_queue(root, root.prediction_sets, so_far=parts.append)
    assert [part.n_recordings for part in parts] == list(range(1, len(root.recordings) + 1))
    assert parts[-1] == whole == build_queue(root, root.prediction_sets)
    for part in parts:
        seen = {item.recording for item in part.items}
        assert part.items == tuple(item for item in whole.items if item.recording in seen)
    sizes = {r.name: r.label_path.stat().st_size for r in root.recordings if r.label_path is not None}
    assert {i.recording for i in parts[0].items} == {min(sizes, key=lambda name: sizes[name])}


def scaled_root(folder: Path, scales: dict[str, float]) -> DataRoot:
    """Two recordings of 20 labels; systems that find them at 0.8 and say 5 and 10 frames more at 0.4, times a scale.

    A scale of NaN: a system without scores.
    """
    for number, extra in ((1, 5), (2, 10)):
        name = f"fold4_room1_mix00{number}"
        found = track(0, 1, range(20))
        for place, rows in (("labels_dev", found), *((f"predictions/{system}", None) for system in scales)):
            if rows is None:
                scale = scales[place.rpartition("/")[2]]
                rows = [
                    *track(0, 1, range(20), score=0.8 * scale),
                    *track(11, 2, range(extra), x=300, score=0.4 * scale),
                ]
            path = folder / place / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            write = write_label_json if np.isnan(rows[0][4]) else write_submission_json
            write(table(rows, recording=name), path)
    return open_data_root(folder)


def test_what_the_least_score_leaves_out_is_counted_on_the_scale_of_each_system(tmp_path: Path) -> None:
    root = scaled_root(tmp_path, {"high": 1.0, "low": 0.25, "lowest": 0.1, "none": np.nan})
    queue = build_queue(root, root.prediction_sets)
    assert [(i.kind, i.systems) for i in queue.items] == [("unlabelled", ("high",))] * 2
    high, low, lowest, none = queue.reach
    assert (high.n_free, high.n_below, high.n_labels) == (15, 0, 40)
    assert [r.n_below for r in (low, lowest, none)] == [15, 15, 15]
    assert [r.highest for r in queue.reach] == [0.8, 0.2, pytest.approx(0.08), None]
    # the 40 labels are found by the 40 predictions that score most, on whatever scale
    assert [r.as_labels for r in queue.reach] == [0.8, 0.2, pytest.approx(0.08), None]
    assert [r.out_of_reach for r in queue.reach] == [False, True, True, True]
    assert queue.remarks() == [
        "low has no score of at least 0.3 (the highest is 0.200), so that none of its 15 predictions near no label is "
        "listed. As many predictions as there are labels (40) score at least 0.200.",
        "lowest has no score of at least 0.3 (the highest is 0.080), so that none of its 15 predictions near no label "
        "is listed. As many predictions as there are labels (40) score at least 0.080.",
        "none has no scores, so that none of its 15 predictions near no label is listed.",
    ]
    assert high.sentence() == (
        "high: none of 15 predictions near no label scores less than 0.3. "
        "As many predictions as there are labels (40) score at least 0.800."
    )
    # a least score on the set's own scale lists what is listed of the high one
    lower = build_queue(root, [root.prediction_set("low")], settings=QueueSettings(confident=0.1))
    assert {i.id for i in lower.items} == {i.id for i in queue.items}
    assert len(lower) == 2
    assert (lower.reach[0].n_below, lower.remarks()) == (0, [])


def test_a_prediction_without_a_score_is_never_confident() -> None:
    rows = table(track(11, 2, range(5), x=300))
    assert not recording_items(RECORDING, None, {"a": rows}, settings=QueueSettings(confident=0.0))


def test_without_labels_no_score_is_that_of_as_many(tmp_path: Path) -> None:
    root = scaled_root(tmp_path, {"high": 1.0})
    for recording in root.recordings:
        assert recording.label_path is not None
        recording.label_path.unlink()
    bare = open_data_root(tmp_path)
    [reach] = build_queue(bare, bare.prediction_sets).reach
    assert (reach.n_free, reach.n_below, reach.n_labels, reach.as_labels) == (55, 0, 0, None)
    assert reach.sentence() == "high: none of 55 predictions near no label scores less than 0.3."


def test_the_verb_says_what_the_least_score_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scaled_root(tmp_path, {"high": 1.0, "low": 0.25})
    common = ["review", "queue", "--root", str(tmp_path), "--quiet"]
    assert main(common) == 0
    seen = capsys.readouterr()
    assert "\nhigh: none of 15 predictions near no label scores less than 0.3" in seen.out
    assert "warning: low has no score of at least 0.3" in seen.err
    assert "low has no score" not in seen.out
    assert main([*common, "--confident", "0.5"]) == 0
    assert "\nhigh: 15 of 15 predictions near no label do not reach a score of 0.5" in capsys.readouterr().out


def test_settings_out_of_range_are_one_sentence() -> None:
    with pytest.raises(InputError, match="confident"):
        QueueSettings(confident=1.5)
    assert len(KINDS) == 6


@pytest.mark.parametrize(("seconds", "asks"), [(1.2, True), (3.4, False), (4.0, None)])
def test_predictions_after_the_end_of_the_recording_are_said_everywhere(
    tmp_path: Path, seconds: float, asks: bool | None
) -> None:
    root = write_root(tmp_path / "root", n_frames=40, video_size=None, systems=("first",))
    [sound] = root.rglob("*.wav")
    soundfile.write(sound, np.full((round(seconds * 24_000), 4), 0.1), 24_000)
    data = open_data_root(root)
    [recording], [first] = data.recordings, data.prediction_sets
    frames = read_annotations(first.files[recording.name]).frame
    n_frames, n = round(seconds * 10), int(np.count_nonzero(frames >= round(seconds * 10)))
    view = open_view(recording, {"A": first}, cache=BytesCache(1 << 20))
    groups = groups_of(data, predictions=first)
    survey = Survey(ScoreStore())
    survey.look(groups)
    queue = build_queue(data, [first])
    told = (queue.foreign, view.problems, table_of(survey, data, groups).notes[0])
    if asks is None:
        assert not any("after the end" in sentence for sentences in told for sentence in sentences)
        return
    counted = f"{n} annotations of first lie"
    for sentences, whose in zip(told, (counted, counted, "Annotations of the predictions lie"), strict=True):
        [late] = [s for s in sentences if "after the end" in s and "of the labels" not in s]
        assert late.startswith(whose)
        assert f"after the end of {recording.name} ({n_frames} frames" in late
        assert ("are these predictions of other data?" in late) == asks
    assert queue.foreign[0] in queue.remarks()

"""What a review leads to: folders, differences, statistics, scores, the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from sai_core.annotations import read_annotations, write_label_json
from sai_core.cli import main
from sai_core.dataset import DataRoot, open_data_root
from sai_core.errors import InputError
from sai_core.review import ReviewStore, export_review, keep_label_set, revised_scores
from sai_core.review.desk import items_of_log
from sai_core.review.edits import apply_edits
from sai_core.review.export import diff_csv, diff_markdown, differences
from sai_core.review.queue import build_queue, recording_items
from sai_core.workspace import with_sets, workspace
from tests.figures.scenes import to_json
from tests.review.helpers import decide_on, files_of, put, table, track

NAMES = ("fold1_room1_mix001", "fold1_room1_mix002")


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    for name in NAMES:
        labels = table(track(0, 1, range(6)), track(5, 2, range(6), x=300), recording=name)
        path = tmp_path / "root" / "labels_dev" / "dev-x" / f"{name}_std.json.gz"
        write_label_json(labels, path)
        predicted = table(track(0, 1, range(6), score=0.9), recording=name)
        path = tmp_path / "root" / "predictions" / "ours" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(to_json(predicted, score=True)))
    return open_data_root(tmp_path / "root")


def review(root: DataRoot, path: Path, *, comment: str = "") -> ReviewStore:
    """A log in which the label that no system finds is removed from the first recording."""
    store = ReviewStore(path)
    recording = root.recording(NAMES[0])
    labels = read_annotations(recording.label_path)  # type: ignore[arg-type]
    predictions = {"ours": read_annotations(root.prediction_sets[0].files[NAMES[0]])}
    (item,) = recording_items(NAMES[0], labels, predictions, split="dev-x")
    put(store, item, decide_on(item, labels, {"action": "accept", "comment": comment}, predictions=predictions))
    return store


def test_every_recording_is_exported_and_the_data_root_left_alone(root: DataRoot, tmp_path: Path) -> None:
    before = files_of(root.path)
    store = review(root, tmp_path / "r.sqlite", comment="a | b <script>")
    report = export_review(root, store.history(), tmp_path / "out")
    assert (report.n_recordings, report.n_changed, report.n_differences, report.n_skipped) == (2, 1, 6, 0)
    assert files_of(root.path) == before
    out = open_data_root(tmp_path / "out")
    assert [r.name for r in out.recordings] == list(NAMES)
    changed, same = (r.label_path for r in out.recordings)
    assert changed is not None
    assert same is not None
    assert set(read_annotations(changed).category_id.tolist()) == {0}
    # what was not changed is the very file
    assert same.read_bytes() == before[str(same.relative_to(out.path))]
    rows = list(csv.DictReader((tmp_path / "out" / "diff.csv").read_text().splitlines()))
    assert [row["change"] for row in rows] == ["removed"] * 6
    markdown = (tmp_path / "out" / "diff.md").read_text()
    assert "<script" not in markdown
    assert "| 0-5 | removed |" in markdown
    facts = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert facts["by_reviewer"] == {"ann": {"accept": 1}}
    assert facts["differences"] == {"removed": 6}
    # the log in it brings the same labels elsewhere
    with ReviewStore(tmp_path / "other.sqlite") as other:
        other.import_file(tmp_path / "out" / "review.jsonl")
        again = export_review(root, other.history(), tmp_path / "again")
    assert again.n_differences == 6
    labels = {k: v for k, v in files_of(tmp_path / "out").items() if k.startswith("labels_dev")}
    assert labels == {k: v for k, v in files_of(tmp_path / "again").items() if k.startswith("labels_dev")}


def test_corrected_labels_are_kept_as_a_label_set(root: DataRoot, tmp_path: Path) -> None:
    store = review(root, tmp_path / "r.sqlite")
    kept, report = keep_label_set(root, store.history())
    assert (report.n_recordings, report.n_changed, report.n_differences) == (2, 1, 6)
    assert kept.name == "root corrected"
    assert (kept.facts.made_by, kept.facts.base, kept.facts.data) == ("review", "", str(root.path))
    assert kept.facts.recordings == tuple(f"dev-x/{name}" for name in NAMES)
    assert kept.facts.options["policy"] == "latest"
    assert sorted(kept.files) == list(NAMES)
    assert sorted(p.name for p in kept.folder.iterdir()) == ["dev-x", "diff.csv", "diff.md", "review.jsonl", "set.json"]
    export_review(root, store.history(), tmp_path / "out")
    for name, path in kept.files.items():
        assert path.read_bytes() == (tmp_path / "out" / "labels_dev" / "dev-x" / f"{name}_std.json.gz").read_bytes()
    # a review of the corrected labels says what it began with; the decision is applied to what it was made about
    again, report = keep_label_set(with_sets(root, labels=kept.name), store.history(), "twice")
    assert again.facts.base == kept.name
    assert report.n_changed == 0
    with pytest.raises(InputError, match="already"):
        keep_label_set(root, store.history(), "twice")
    with pytest.raises(InputError, match="nothing to keep"):
        keep_label_set(DataRoot(tmp_path), store.history(), "nothing")
    assert {s.name for s in workspace().sets("labels")} <= {kept.name, "twice"}
    assert workspace().trashed() == ()


@pytest.mark.parametrize("content", [b"", b"no gzip", b'{"annotations": [{"id": 1,'])
def test_labels_that_cannot_be_read_leave_their_recording_out(
    root: DataRoot, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    store = review(root, tmp_path / "r.sqlite")
    assert len(build_queue(root, root.prediction_sets)) == 2
    damaged = root.path / "labels_dev" / "dev-x" / f"{NAMES[0]}_std.json.gz"
    damaged.write_bytes(content)
    # its predictions are near no label that could be read, and yet no item: no decision about them could be kept
    queue = build_queue(root, root.prediction_sets)
    assert {item.recording for item in queue.items} == {NAMES[1]}
    assert (queue.unread, queue.n_recordings) == ((("dev-x", NAMES[0]),), 1)
    assert queue.remarks()[0].startswith("1 recording is left out of the queue")
    assert str(damaged) in queue.remarks()[1]
    assert items_of_log(store.history(), queue) == []
    assert main(["review", "queue", "--root", str(root.path), "--quiet"]) == 0
    told = capsys.readouterr()
    assert "1 items in 1 recordings, 1 left out: labels cannot be read" in told.out
    assert "warning: 1 recording is left out of the queue" in told.err
    kept, report = keep_label_set(root, store.history(), "rest")
    assert (report.n_recordings, len(report.unread), report.n_not_applied) == (1, 1, 1)
    assert sorted(kept.files) == [NAMES[1]]
    assert report.remarks()[0].startswith("1 recording is left out of the export")
    assert report.remarks()[1].startswith("1 decision on it")
    assert "left out of the export" in (kept.folder / "diff.md").read_text()
    export_review(root, store.history(), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "statistics.json").read_text())["decisions_left_out"] == 1
    older = tmp_path / "out" / "labels_dev" / "dev-x" / damaged.name
    older.write_bytes(b"of an older export")
    again = export_review(root, store.history(), tmp_path / "out", replace_older=True)
    assert again.unread[0].endswith(f"stays: {older}.")
    (row,) = revised_scores(root, root.prediction_sets, store.history())
    assert row.n_unread == 1
    # where nothing can be read there is nothing to keep, and the reason is told
    (root.path / "labels_dev" / "dev-x" / f"{NAMES[1]}_std.json.gz").write_bytes(content)
    with pytest.raises(InputError, match="mix001"):
        keep_label_set(root, store.history(), "none")
    assert [s.name for s in workspace().sets("labels")] == ["rest"]


def test_an_export_replaces_nothing_by_itself(root: DataRoot, tmp_path: Path) -> None:
    store = review(root, tmp_path / "r.sqlite")
    export_review(root, store.history(), tmp_path / "out")
    with pytest.raises(InputError, match="older export"):
        export_review(root, store.history(), tmp_path / "out")
    export_review(root, store.history(), tmp_path / "out", replace_older=True)
    for folder in (root.path, root.path / "mine", ""):
        with pytest.raises(InputError):
            export_review(root, store.history(), folder)
    assert not (root.path / "mine").exists()


def test_scores_side_by_side(root: DataRoot, tmp_path: Path) -> None:
    store = review(root, tmp_path / "r.sqlite")
    (row,) = revised_scores(root, root.prediction_sets, store.history())
    figures = {name: (before, after) for name, before, after in row.figures()}
    # class 5 is never found; without its labels in one recording it is still there in the other
    assert row.original.per_class[5].n_labels == 12
    assert row.corrected.per_class[5].n_labels == 6
    assert figures["AP50"] == (0.5, 0.5)


def test_a_difference_is_named_and_a_formula_is_text() -> None:
    labels = table(track(0, 1, range(3)), recording="=cmd()")
    edits = [
        {"op": "set", "targets": ["0.0.1.0"], "category": 4, "distance_cm": 5},
        {"op": "shift", "targets": ["1.0.1.0"], "azimuth_deg": 10, "elevation_deg": 0},
    ]
    found = differences("", labels, apply_edits(labels, edits))
    assert [d.change for d in found] == ["class+distance", "region"]
    text = diff_csv(found)
    assert "'=cmd()" in text
    assert text.splitlines()[2].endswith("9.86")  # 10 degrees of azimuth at elevation 9.5
    from sai_core.review import History

    assert "class+distance" not in diff_markdown([], History([]))


def test_the_command_line(root: DataRoot, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--root", str(root.path), "--quiet"]
    file = ["--review", str(tmp_path / "r.sqlite")]
    review(root, tmp_path / "theirs.sqlite").close()
    assert main(["review", "queue", *common, "--csv", str(tmp_path / "q.csv"), "--json", str(tmp_path / "q.json")]) == 0
    assert "2 items in 2 recordings" in capsys.readouterr().out
    assert len((tmp_path / "q.csv").read_text().splitlines()) == 3
    assert len(json.loads((tmp_path / "q.json").read_text())) == 2
    assert main(["review", "import", *common, *file, str(tmp_path / "theirs.sqlite")]) == 0
    assert "1 new" in capsys.readouterr().out
    assert main(["review", "stats", *common, *file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_lines"] == 1
    assert main(["review", "export", *common, *file, "--out", str(tmp_path / "out"), "--scores"]) == 0
    assert "1 changed" in capsys.readouterr().out
    assert main(["review", "export", *common, *file, "--out", str(tmp_path / "out")]) == 2
    assert main(["review", "queue", *common, "--kind", "nonsense"]) == 2

"""What the readers accept, and that files of any shape of text give the same table."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations import AnnotationTable, _scan, read_annotations, read_annotations_with_report
from sai_core.annotations.writing import submission_pieces
from sai_core.errors import CancelledError, InputError
from tests.annotations.helpers import annotation, assert_same, make_table, region_table, tables, write_file, write_text
from tests.conftest import ORACLE


def test_reads_a_label_file(tmp_path):
    result = read_annotations_with_report(write_file(tmp_path / "fold4_room1_mix001_std.json", annotation()))
    table = result.table
    assert (result.kind, result.n_dropped, table.recording) == ("label", 0, "fold4_room1_mix001")
    assert (table.frame[0], table.category_id[0], table.instance_id[0], table.distance_cm[0]) == (3, 5, 1, 120.5)
    assert np.isnan(table.score[0])
    np.testing.assert_array_equal(table.points_xy, [[10, 20], [11, 20], [10, 21]])
    np.testing.assert_array_equal(table.energy, [0.5, 0.25, 1.0])


def test_a_score_makes_it_a_submission(tmp_path):
    path = write_file(tmp_path / "a.json", annotation(), annotation(score=0.25))
    result = read_annotations_with_report(path, recording="given")
    assert result.kind == "submission"
    assert result.table.recording == "given"
    np.testing.assert_array_equal(result.table.score, [np.nan, 0.25])


@pytest.mark.parametrize("text", ['{"annotations": []}', '{"videos": [], "annotations": []}', '{"annotations":[ ]}\n'])
def test_no_annotations_are_a_valid_recording(tmp_path, text):
    table = read_annotations(write_text(tmp_path / "silent.json", text))
    assert len(table) == 0
    assert table.n_points == 0
    assert_same(table, AnnotationTable.empty("silent"))


def test_absent_and_null_values(tmp_path):
    path = write_file(
        tmp_path / "a.json",
        annotation(distance=..., instance_id=..., score=...),
        annotation(distance=None, instance_id=None, score=None),
    )
    table = read_annotations(path)
    np.testing.assert_array_equal(table.instance_id, [-1, -1])
    assert np.isnan(table.distance_cm).all()
    assert np.isnan(table.score).all()


def test_whole_numbers_may_be_floats_and_large_ones_stay_exact(tmp_path):
    path = write_file(
        tmp_path / "a.json",
        annotation(metadata_frame_index=3.0, category_id=5.0, instance_id=2.0),
        annotation(instance_id=2**53 + 1),
    )
    table = read_annotations(path)
    assert table.frame.tolist() == [3, 3]
    assert table.instance_id.tolist() == [2, 2**53 + 1]


def test_other_keys_are_skipped_wherever_they_stand(tmp_path):
    odd = annotation(
        video_id=0,
        video_frame_index=9,
        note='a "quoted" {brace} \\ and é',
        nested={"segmentation": [1], "deep": [[{"a": []}]]},
    )
    before = {"info": {"annotations": [1, 2]}, "videos": [{"id": 0, "s": "]}\\"}], "n": 1.5e3, "t": True, "z": None}
    after = {"categories": [{"id": 5}], "license": "MIT }]"}
    text = json.dumps({**before, "annotations": [odd, annotation()], **after}, ensure_ascii=False)
    table = read_annotations(write_text(tmp_path / "a.json", text))
    assert len(table) == 2
    assert_same(table.take([0]), table.take([1]))


def test_keys_spelt_with_escapes(tmp_path):
    text = json.dumps({"annotations": [annotation()]}).replace("annotations", "\\u0061nnotations")
    text = text.replace("category_id", "category\\u005fid")
    assert read_annotations(write_text(tmp_path / "a.json", text)).category_id.tolist() == [5]


def test_annotations_are_sorted_by_frame_and_stable(tmp_path):
    frames = [5, 2, 5, 0, 2, 5]
    records = [annotation(metadata_frame_index=f, instance_id=k, score=k / 10) for k, f in enumerate(frames)]
    for k, record in enumerate(records):
        record["segmentation"] = [[[k, j, 0.5] for j in range(k)], [[k, 90, 1]]]
    table = read_annotations(write_file(tmp_path / "a.json", *records))
    assert table.frame.tolist() == sorted(frames)
    assert table.instance_id.tolist() == [3, 1, 4, 0, 2, 5]
    for index, k in enumerate(table.instance_id.tolist()):
        assert table.score[index] == k / 10
        (first, _), (second, _) = table.polygons(index)
        np.testing.assert_array_equal(first, [[k, j] for j in range(k)] if k else np.zeros((0, 2)))
        np.testing.assert_array_equal(second, [[k, 90]])


def test_frame_slices(tmp_path):
    table = read_annotations(write_file(tmp_path / "a.json", *[annotation(metadata_frame_index=f) for f in (1, 1, 4)]))
    assert [table.frame_slice(k).stop - table.frame_slice(k).start for k in range(-1, 7)] == [0, 0, 2, 0, 0, 1, 0, 0]


def test_empty_parts_are_kept(tmp_path):
    path = write_file(tmp_path / "a.json", annotation(segmentation=[]), annotation(segmentation=[[], [[1, 2, 3]], []]))
    table = read_annotations(path)
    assert table.polygon_offsets.tolist() == [0, 0, 3]
    assert table.point_offsets.tolist() == [0, 0, 1, 1]


def test_edges_of_the_canvas_and_any_finite_energy(tmp_path):
    points = [[0, 0, -0.5], [360, 180, 7e300], [360.0, 0, 4e-5]]
    table = read_annotations(write_file(tmp_path / "a.json", annotation(segmentation=[points])))
    np.testing.assert_array_equal(np.column_stack([table.points_xy, table.energy]), points)


def test_canvas_check_can_be_switched_off(tmp_path):
    path = write_file(tmp_path / "a.json", annotation(segmentation=[[[360.5, -1, 1]]]))
    with pytest.raises(InputError, match="outside the canvas"):
        read_annotations(path)
    np.testing.assert_array_equal(read_annotations(path, check_canvas=False).points_xy, [[360.5, -1]])


def test_unknown_classes_can_be_dropped(tmp_path):
    path = write_file(tmp_path / "a.json", *[annotation(category_id=c, instance_id=c) for c in (13, 2, -1, 99, 12)])
    with pytest.raises(InputError, match=r"annotation 0, field 'category_id': got 13"):
        read_annotations(path)
    result = read_annotations_with_report(path, unknown_classes="drop")
    assert result.n_dropped == 3
    assert result.table.instance_id.tolist() == [2, 12]
    with pytest.raises(InputError, match="unknown_classes"):
        read_annotations(path, unknown_classes="ignore")  # type: ignore[arg-type]


def test_only_unknown_classes_leave_an_empty_table(tmp_path):
    path = write_file(tmp_path / "a.json", annotation(category_id=13))
    assert len(read_annotations(path, unknown_classes="drop")) == 0


def test_gzip_is_told_by_content_and_may_have_members(tmp_path):
    text = json.dumps({"annotations": [annotation()] * 3}).encode()
    expected = read_annotations(write_text(tmp_path / "plain.json", text))
    packed = gzip.compress(text[:100]) + gzip.compress(b"") + gzip.compress(text[100:]) + b"\0" * 1000
    for name in ("a.json.gz", "a.json"):
        assert_same(read_annotations(write_text(tmp_path / name, packed)), expected)
    assert_same(read_annotations(write_text(tmp_path / "named.json.gz", text)), expected)


def test_utf8_byte_order_mark_is_accepted(tmp_path):
    text = b"\xef\xbb\xbf" + json.dumps({"annotations": [annotation()]}).encode()
    assert len(read_annotations(write_text(tmp_path / "a.json", text))) == 1


def test_columns_are_read_only_and_the_file_is_untouched(tmp_path):
    path = write_file(tmp_path / "a.json", annotation())
    before = path.read_bytes(), path.stat().st_mtime_ns
    table = read_annotations(path)
    with pytest.raises(ValueError, match="read-only"):
        table.points_xy[0, 0] = 1
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_progress_and_cancel(tmp_path):
    path = write_text(tmp_path / "a.json", b"".join(submission_pieces(region_table(0, 200))))
    seen: list[float] = []
    read_annotations(path, use_cache=False, progress=lambda fraction, message: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def stop(fraction: float, message: str) -> None:
        raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        read_annotations(path, use_cache=False, progress=stop)


@given(table=tables(), chunk=st.integers(1, 300), indent=st.sampled_from([None, 0, 2]))
def test_any_chunking_and_spacing_gives_the_same_table(tmp_path_factory, table, chunk, indent):
    text = b"".join(submission_pieces(table))
    records = json.loads(text)["annotations"]
    for record in records:
        record["note"] = 'x"{}[]\\'
    path = tmp_path_factory.mktemp("chunks") / "a.json"
    path.write_text(json.dumps({"info": {"a": ["\\"]}, "annotations": records, "videos": [[]]}, indent=indent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_scan, "CHUNK_BYTES", chunk)
        patch.setattr("sai_core.annotations._source._READ_BYTES", chunk)
        assert_same(read_annotations(path), table)


def test_many_batches_equal_one(tmp_path, monkeypatch):
    table = region_table(1, 60)
    path = write_text(tmp_path / "a.json", b"".join(submission_pieces(table)))
    assert_same(read_annotations(path, use_cache=False), table)
    monkeypatch.setattr("sai_core.annotations.reading._BATCH_BYTES", 1)
    assert_same(read_annotations(path, use_cache=False), table)


@pytest.mark.oracle
def test_public_oracle_files_have_the_official_counts():
    counts = {"label": 0, "submission": 0}
    for path in sorted((ORACLE / "metrics" / "public").glob("*.gz")):
        result = read_annotations_with_report(path)
        assert result.kind == ("label" if "_std" in path.name else "submission")
        counts[result.kind] += len(result.table)
    assert counts == {"label": 1516, "submission": 1614}


@pytest.mark.oracle
def test_every_edge_case_that_the_official_code_accepts_opens():
    paths = sorted((ORACLE / "metrics" / "edge").glob("*/*.gz"))
    assert len(paths) == 36
    for path in paths:
        if path.name == "out_of_range_coord.json.gz":
            with pytest.raises(InputError, match=r"point 0 of part 0 is at \(360.5, 80\)"):
                read_annotations(path)
        else:
            read_annotations(path, unknown_classes="drop")
        read_annotations(path, unknown_classes="drop", check_canvas=False)


@pytest.mark.oracle
def test_other_official_outputs_open():
    assert len(read_annotations(ORACLE / "labels" / "f6_labels_raw.json.gz")) == 69
    assert len(read_annotations(ORACLE / "labels" / "f6_labels_std.json.gz")) == 69
    for name in ("default", "alt"):
        assert len(read_annotations(ORACLE / "tracker" / f"f5_export_{name}.json")) > 0


def test_make_table_helper_sorts_as_the_reader_does():
    table = make_table([(4, 1, 0, 1.0, 0.5, []), (2, 2, 0, 1.0, 0.5, [])])
    assert table.frame.tolist() == [2, 4]

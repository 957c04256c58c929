"""Malformed files give one sentence with file, annotation and field, and never anything but InputError."""

from __future__ import annotations

import builtins
import gzip
import json
import os
import zlib

import pytest

from sai_core.annotations import read_annotations, read_dcase_csv
from sai_core.errors import InputError, SaiError
from tests.annotations.helpers import annotation, write_file, write_text

GOOD = json.dumps(annotation())


def _refused(path, match: str) -> str:
    with pytest.raises(InputError, match=match) as caught:
        read_annotations(path, use_cache=False)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))
    return message


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"metadata_frame_index": ...}, "annotation 1 has no key 'metadata_frame_index'"),
        ({"category_id": ...}, "annotation 1 has no key 'category_id'"),
        ({"segmentation": ...}, "annotation 1 has no key 'segmentation'"),
        ({"metadata_frame_index": 1.5}, "annotation 1, field 'metadata_frame_index': got 1.5, expected a whole"),
        ({"metadata_frame_index": -1}, "field 'metadata_frame_index': got -1"),
        ({"metadata_frame_index": 10_000_001}, "field 'metadata_frame_index': got 10000001"),
        ({"metadata_frame_index": 10**30}, "field 'metadata_frame_index': the number is too large"),
        ({"metadata_frame_index": None}, "field 'metadata_frame_index': got null"),
        ({"metadata_frame_index": "3"}, "field 'metadata_frame_index': got the text '3'"),
        ({"metadata_frame_index": True}, "field 'metadata_frame_index': got true"),
        ({"category_id": 13}, "field 'category_id': got 13, expected a class from 0 to 12"),
        ({"category_id": -1}, "field 'category_id': got -1"),
        ({"category_id": [1]}, "field 'category_id': got a list"),
        ({"category_id": 0.5}, "field 'category_id': got 0.5"),
        ({"instance_id": 2**63}, "field 'instance_id': the number is too large"),
        ({"instance_id": 1e300}, "field 'instance_id': the number is too large"),
        ({"instance_id": {}}, "field 'instance_id': got an object"),
        ({"distance": "far"}, "field 'distance': got the text 'far'"),
        ({"distance": float("nan")}, "field 'distance': got nan"),
        ({"distance": float("inf")}, "field 'distance': got inf"),
        ({"score": 1.5}, r"field 'score': got 1.5, expected a number in \[0, 1\]"),
        ({"score": -0.1}, "field 'score': got -0.1"),
        ({"score": []}, "field 'score': got a list"),
        ({"segmentation": None}, "field 'segmentation': got null"),
        ({"segmentation": 3}, "field 'segmentation': got the number 3"),
        ({"segmentation": {"counts": "a", "size": [1, 1]}}, "field 'segmentation': got an object"),
        ({"segmentation": [[1, 2, 3]]}, "field 'segmentation': point 0 of part 0 is the number 1"),
        ({"segmentation": [1]}, "field 'segmentation': part 0 is the number 1"),
        ({"segmentation": [[[1, 2, 3], [1, 2]]]}, "point 1 of part 0 has 2 numbers, expected three"),
        ({"segmentation": [[[1, 2, 3, 4]]]}, "point 0 of part 0 has 4 numbers"),
        ({"segmentation": [[], [[1, 2, "x"]]]}, "energy of point 0 of part 1 is the text 'x'"),
        ({"segmentation": [[[1, None, 3]]]}, "y of point 0 of part 0 is null"),
        ({"segmentation": [[[float("nan"), 2, 3]]]}, "x of point 0 of part 0 is not a finite number"),
        ({"segmentation": [[[1, 2, float("-inf")]]]}, "energy of point 0 of part 0 is not a finite number"),
        ({"segmentation": [[[1, 2, 10**400]]]}, "energy of point 0 of part 0 is not a finite number"),
        ({"segmentation": [[[360.1, 2, 3]]]}, r"point 0 of part 0 is at \(360.1, 2\), outside the canvas"),
        ({"segmentation": [[[1, -1, 3]]]}, "outside the canvas"),
        ({"segmentation": [[[1, 180.5, 3]]]}, "outside the canvas"),
        ({"segmentation": [[[[1, 2, 3]]]]}, "point 0 of part 0 has 1 number"),
        ({"segmentation": [[[[1], [2], [3]]]]}, "x of point 0 of part 0 is a list"),
    ],
)
def test_a_bad_annotation_is_named_with_its_field(tmp_path, changes, match):
    _refused(write_file(tmp_path / "a.json", annotation(), annotation(**changes), annotation()), match)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "the file is empty"),
        (" \n\t ", "nothing but spaces"),
        ("\0" * 50, "starts with zero bytes"),
        ("null", "is not JSON; expected an object"),
        ("[]", "the top level is a list"),
        ("{}", r"no key 'annotations' \(keys found: none\)"),
        ('{"type": "FeatureCollection", "features": []}', "no key 'annotations' .*'type', 'features'"),
        ('{"annotations": {}}', "'annotations' is not a list"),
        ('{"annotations": null}', "'annotations' is not a list"),
        ('{"annotations": [1]}', "annotation 0 is not an object"),
        ('{"annotations": [[]]}', "annotation 0 is not an object"),
        (f'{{"annotations": [{GOOD},]}}', "after the comma after annotation 0"),
        (f'{{"annotations": [{GOOD} {GOOD}]}}', "unexpected '{' after annotation 0"),
        (f'{{"annotations": [{GOOD}', "after annotation 0; the file is cut off"),
        (f'{{"annotations": [{GOOD},', "where annotation 1 should start; the file is cut off"),
        (f'{{"annotations": [{GOOD}, {GOOD[:50]}', "inside annotation 1; the file is cut off"),
        (f'{{"annotations": [{GOOD}]', "the file is cut off"),
        ('{"annotations"', "the file is cut off"),
        ('{"annotations":', "the file is cut off"),
        ('{"anno', "the file is cut off"),
        ("{", "the file is cut off"),
        ('{"videos": [1, 2', "inside the value of 'videos'; the file is cut off"),
        ('{"videos": tru', "cut off"),
        ('{"videos": [}, "annotations": []}', "cut off|not valid JSON"),
        ('{"videos": [1 2], "annotations": []}', "value of the key 'videos' is not valid JSON"),
        ('{"videos": nope, "annotations": []}', "value of the key 'videos' is not valid JSON"),
        ('{"annotations": []} x', "text after the end"),
        ('{"annotations": []}{"annotations": []}', "text after the end"),
        ('{"annotations": [], "annotations": []}', "'annotations' appears twice"),
        ('{"a": 1, "a": 2, "annotations": []}', "'a' appears twice"),
        ("{annotations: []}", "unexpected 'a' where a key"),
        ("{'annotations': []}", "where a key"),
        ('{"annotations" []}', "after the key 'annotations'"),
        ('{"annotations": [] "b": 1}', "between two keys"),
        ('{"v": ' + "[" * 70 + "]" * 70 + ', "annotations": []}', "nests more than 64 levels"),
        ('{"v": ' + "[" * 200_000 + "]" * 200_000 + ', "annotations": []}', "nests more than 64 levels"),
        ('{"annotations": ' + "[" * 200_000, "annotation 0 is not an object"),
        ('{"annotations": [' + '{"a":' * 200_000, "annotation 0"),
        ('{"annotations": [{"segmentation": ' + "[" * 200_000 + "]" * 200_000 + "}]}", "annotation 0"),
        ('{"annotations": [{"z": ' + "[" * 200_000 + "]" * 200_000 + "}]}", "annotation 0"),
        ('{"annotations": [{]}', "annotation 0 is malformed JSON"),
        ('{"annotations": [{]}]}', "annotation 0 is malformed JSON"),
        ('{"annotations": [{"a" 1}]}', "annotation 0 is malformed JSON"),
        ('{"annotations": [{\\}]}', "annotation 0 is malformed JSON"),
        ('{"annotations": [{"metadata_frame_index": 01}]}', "annotation 0 is malformed JSON"),
        ('{"annotations": [{"\\ud800": 1, "x": "\\q"}]}', "annotation 0 is malformed JSON"),
        (GOOD, "no key 'annotations'"),
        ("﻿", "spaces|empty"),
    ],
)
def test_a_bad_document_is_refused(tmp_path, text, match):
    _refused(write_text(tmp_path / "a.json", text), match)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('"category_id": 5', '"category_id": 5, "category_id": 5', "category_id"),
        ('"category_id": 5', '"category_id": 5, "note": "a", "note": "b"', "note"),
        ('"category_id": 5', '"category_id": 5, "category\\u005fid": 6', "category_id"),
        ('"instance_id": 1', '"instance_id": 1, "segmentation": []', "segmentation"),
    ],
)
def test_a_key_twice_is_refused(tmp_path, old, new, key):
    text = f'{{"annotations": [{GOOD}, {GOOD.replace(old, new)}]}}'
    _refused(write_text(tmp_path / "a.json", text), f"annotation 1: the key '{key}' appears twice")


def test_a_value_that_equals_a_key_is_no_duplicate(tmp_path):
    record = annotation(note="category_id", other="note", nested={"category_id": 1})
    assert len(read_annotations(write_file(tmp_path / "a.json", record))) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_other_encodings_are_refused(tmp_path, encoding):
    path = write_text(tmp_path / "a.json", json.dumps({"annotations": []}).encode(encoding))
    _refused(path, "UTF-|is not JSON|zero bytes|where a key")


def test_invalid_utf8(tmp_path):
    _refused(write_text(tmp_path / "a.json", b'{"\xff": 1, "annotations": []}'), "not valid UTF-8")
    bad = GOOD.replace('"instance_id": 1', '"instance_id": "?"').encode().replace(b"?", b"\xff")
    _refused(write_text(tmp_path / "b.json", b'{"annotations": [' + bad + b"]}"), "annotation 0 is not valid UTF-8")


def test_what_is_no_file(tmp_path):
    _refused(tmp_path, "is a folder")
    _refused(tmp_path / "missing.json", "no such file")
    _refused(tmp_path / ("x" * 5000), "cannot be read")
    os.mkfifo(tmp_path / "pipe")
    _refused(tmp_path / "pipe", "not a regular file")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    _refused(tmp_path / "loop", "cannot be read")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    _refused(tmp_path / "dangling", "no such file")
    with pytest.raises(InputError, match="null byte"):
        read_annotations("a\0b.json")


def test_no_permission(tmp_path, monkeypatch):
    path = write_file(tmp_path / "a.json", annotation())
    real = builtins.open

    def denied(file, *args, **kwargs):
        # the tests may run as root, whom no mode stops
        if str(file) == str(path):
            raise PermissionError(13, "Permission denied")
        return real(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", denied)
    _refused(path, "cannot be read .Permission denied")


def test_a_read_error_in_the_middle(tmp_path, monkeypatch):
    path = write_file(tmp_path / "a.json", annotation())
    monkeypatch.setattr(
        "sai_core.annotations._source.ByteSource._plain", lambda self: (_ for _ in ()).throw(MemoryError())
    )
    _refused(path, "does not fit into memory")


@pytest.mark.parametrize("head", [b"", b'{"annotations": ['])
def test_a_sparse_file_of_four_gigabytes_fails_at_once(tmp_path, head):
    path = tmp_path / "huge.json"
    with open(path, "wb") as stream:
        stream.write(head)
        stream.truncate(4 << 30)
    _refused(path, "4.3 GB is more than an annotation file can have|zero bytes")
    with pytest.raises(InputError, match=r"huge.json: 4.3 GB is more"):
        read_dcase_csv(path)
    # with the cache, too: it must not be hashed first
    with pytest.raises(InputError, match=r"4.3 GB is more"):
        read_annotations(path)


def test_sparse_file_under_the_limit_fails_on_its_first_bytes(tmp_path):
    path = tmp_path / "large.json"
    with open(path, "wb") as stream:
        stream.truncate(1 << 30)
    _refused(path, "zero bytes")


def test_bad_gzip(tmp_path):
    packed = gzip.compress(json.dumps({"annotations": [annotation()] * 50}).encode())
    _refused(write_text(tmp_path / "cut.json.gz", packed[: len(packed) // 2]), "gzip data is cut off")
    _refused(write_text(tmp_path / "head.json.gz", packed[:5]), "gzip data is cut off")
    _refused(write_text(tmp_path / "tail.json.gz", packed[:-2]), "gzip data is cut off")
    damaged = bytearray(packed)
    damaged[-6] ^= 255
    _refused(write_text(tmp_path / "crc.json.gz", bytes(damaged)), "gzip data is damaged")
    _refused(write_text(tmp_path / "behind.json.gz", packed + b"more"), "something else after the gzip data")
    _refused(write_text(tmp_path / "twice.json.gz", gzip.compress(packed)), "is not JSON")
    _refused(write_text(tmp_path / "zip.json.gz", b"PK\3\4" + b"x" * 50), "is not JSON")
    _refused(write_text(tmp_path / "empty.json.gz", gzip.compress(b"")), "the file is empty")


def test_gzip_bombs(tmp_path, monkeypatch):
    def pack(text: bytes, n: int, head: bytes = b"") -> bytes:
        packer = zlib.compressobj(wbits=31)
        return packer.compress(head) + b"".join([packer.compress(text) for _ in range(n)]) + packer.flush()

    zeros = pack(b"\0" * (1 << 20), 300)
    assert len(zeros) < 400_000
    _refused(write_text(tmp_path / "zeros.json.gz", zeros), "zero bytes")
    spaces = pack(b" " * (1 << 20), 100)
    _refused(write_text(tmp_path / "spaces.json.gz", spaces), "megabytes of spaces")
    text = b'{"annotations": [{"metadata_frame_index": 0, "category_id": 0, "segmentation": [['
    points = b"[1,1,1]," * (1 << 16)
    _refused(write_text(tmp_path / "points.json.gz", pack(points, 60, text)), "annotation 0 is longer than 16 MB")
    monkeypatch.setattr("sai_core.annotations._source._RATIO_FREE_BYTES", 1 << 20)
    _refused(write_text(tmp_path / "ratio.json.gz", pack(b"x" * (1 << 20), 20, b'{"a": "')), "200 times its size")


def test_decompressed_size_is_limited(tmp_path):
    from sai_core.annotations._source import ByteSource

    path = write_text(tmp_path / "a.gz", gzip.compress(os.urandom(10_000)))
    with pytest.raises(InputError, match="unpacks to more than"):
        ByteSource(path, max_bytes=5000)


def test_a_long_value_of_another_key_is_skipped_and_a_needed_one_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("sai_core.annotations._scan.MAX_VALUE_BYTES", 1000)
    long = ["x" * 50] * 100
    assert len(read_annotations(write_file(tmp_path / "a.json", annotation(), other=long))) == 1
    _refused(write_file(tmp_path / "b.json", annotation(), images=long), "value of the key 'images' is longer")


def test_an_annotation_that_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr("sai_core.annotations._scan.MAX_ITEM_BYTES", 1000)
    monkeypatch.setattr("sai_core.annotations._scan.CHUNK_BYTES", 500)
    monkeypatch.setattr("sai_core.annotations._source._READ_BYTES", 500)
    path = write_file(tmp_path / "a.json", annotation(), annotation(segmentation=[[[1, 2, 0.5]] * 5000]))
    _refused(path, "annotation 1 is longer than")


def test_too_many_points(tmp_path, monkeypatch):
    monkeypatch.setattr("sai_core.annotations.reading.MAX_POINTS", 10)
    _refused(write_file(tmp_path / "a.json", *[annotation()] * 4), "more than 10 points")


def test_nothing_is_half_loaded_into_the_cache(tmp_path):
    records = [annotation(segmentation=[[[k % 360, j % 180, 0.5] for j in range(100)]]) for k in range(200)]
    path = write_file(tmp_path / "a.json", *records, annotation(category_id=77))
    for _ in range(2):
        with pytest.raises(InputError, match="annotation 200, field 'category_id'"):
            read_annotations(path)


def test_all_errors_are_of_the_projects_type():
    assert issubclass(InputError, SaiError)
    assert issubclass(InputError, ValueError)

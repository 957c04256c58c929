"""Mutation fuzzer over every reader: thousands of damaged files, nothing but the project's own error.

Mutations come from a fixed seed per case, so that a red run can be repeated: the number in the failure message is all
that is needed.
"""

from __future__ import annotations

import copy
import gzip
import json
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest

from sai_core.annotations import AnnotationTable, DcaseMetadata, read_annotations, read_dcase_csv, write_coco_json
from sai_core.annotations.writing import submission_pieces
from sai_core.errors import SaiError
from tests.annotations.helpers import annotation, region_table

N_FILES = 600
"""Mutated files for each reader and kind of file."""

_TOKENS = [
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1", b"0.5",
    b"9" * 400, b'"segmentation"', b'"annotations":', b"\0", b"\xff", b"\xef\xbb\xbf", b"[[[", b"]]]", b"\\u0000",
    b"\\ud800", b" " * 50, b"[" * 300, b'{"a":' * 300, b"18446744073709551616", b"\r\n", b"/*", b"'", b"+1", b"00",
]  # fmt: skip
_VALUES: list[Any] = [
    None, True, False, 0, -1, 13, 1.5, 1e308, -1e308, float("nan"), float("inf"), 2**31, 2**63, 2**64, 10**400, "", "x",
    [], {}, [[]], [[[]]], [[[1, 2]]], [[[1, 2, 3, 4]]], [[[1, 2, "3"]]], [[[1, 2, None]]], [[1, 2, 3]], {"a": 1},
    [[[361, 0, 0]]], "\ud800", [0] * 500, {"size": [180, 360], "counts": "abc"}, {"size": [9, 9], "counts": [81]},
]  # fmt: skip


def _label_file() -> bytes:
    records = [
        annotation(metadata_frame_index=k, note=f'"{k}" {{', video_id=0, extra={"a": [1, {"b": None}]})
        for k in range(4)
    ]
    return json.dumps({"videos": [{"id": 0}], "annotations": records, "info": {"x": [1.5, "é]"]}}).encode()


def _submission_file() -> bytes:
    return b"".join(submission_pieces(region_table(0, 6, n_points=8)))


def _coco_file(folder) -> bytes:
    write_coco_json(region_table(0, 4, n_points=6), folder / "coco.json")
    document = json.loads((folder / "coco.json").read_bytes())
    rle = {"size": [180, 360], "counts": [100, 20, 64680]}
    document["annotations"].append({"id": 9, "image_id": 0, "category_id": 1, "segmentation": rle, "iscrowd": 1})
    return json.dumps(document).encode()


def _csv_file() -> bytes:
    rows = [f"{k},{k % 13},{k % 3},{-180 + 7 * k},{k - 20},{100 + k}" for k in range(30)]
    return ("frame,class,source,azimuth,elevation,distance\r\n" + "\r\n".join(rows) + "\r\n").encode()


def _mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    result = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5, 20])):
        at = rng.randrange(len(result) + 1)
        kind = rng.randrange(8)
        if kind == 0:
            del result[at:]
        elif kind == 1:
            del result[:at]
        elif kind == 2:
            del result[at : at + rng.choice([1, 1, 2, 10, 100])]
        elif kind == 3:
            result[at:at] = rng.choice(_TOKENS)
        elif kind == 4 and at < len(result):
            result[at] ^= 1 << rng.randrange(8)
        elif kind == 5 and at < len(result):
            result[at] = rng.randrange(256)
        elif kind == 6:
            start = rng.randrange(len(result) + 1)
            result[at:at] = result[start : start + rng.choice([1, 10, 200])]
        else:
            result[at : at + rng.randrange(1, 12)] = rng.choice(_TOKENS)
        if not result:
            break
    return bytes(result)


def _mutate_structure(data: bytes, rng: random.Random) -> bytes:
    document = json.loads(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        node, key = document, None
        while isinstance(node, dict | list) and node and (key is None or rng.random() < 0.75):
            parent = node
            key = rng.choice(list(parent)) if isinstance(parent, dict) else rng.randrange(len(parent))
            node = parent[key]
        if key is None:
            break
        kind = rng.randrange(5)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif kind == 2 and isinstance(parent, dict):
            parent[rng.choice(["annotations", "images", "score", "segmentation", "x", ""])] = parent.pop(key)
        elif kind == 3:
            parent[key] = [parent[key]]
        else:
            parent[key] = copy.deepcopy(rng.choice(_VALUES))
    return json.dumps(document).encode()


def _mutate_gzip(data: bytes, rng: random.Random) -> bytes:
    packed = gzip.compress(data, compresslevel=1, mtime=0)
    return packed if rng.random() < 0.1 else _mutate_bytes(packed, rng)


def _mutate_gzipped_text(data: bytes, rng: random.Random) -> bytes:
    return gzip.compress(_mutate_bytes(data, rng), compresslevel=1, mtime=0)


def _check_annotations(path) -> None:
    table = read_annotations(path, use_cache=False)
    # whatever is accepted is a table that keeps its promises
    assert isinstance(table, AnnotationTable)
    assert table.n_points == 0 or (table.points_xy.min() >= 0 and table.points_xy.max() <= 360)
    assert len(table) == 0 or (table.category_id.min() >= 0 and table.category_id.max() <= 12)


def _check_csv(path) -> None:
    metadata = read_dcase_csv(path)
    assert isinstance(metadata, DcaseMetadata)
    assert len(metadata) == 0 or (abs(metadata.azimuth_deg).max() <= 180 and metadata.frame.min() >= 0)


_Mutation = Callable[[bytes, random.Random], bytes]


def _run(path, data: bytes, mutate: _Mutation, check: Callable, label: str) -> tuple[int, int]:
    check_ok = refused = 0
    for seed in range(N_FILES):
        mutated = mutate(data, random.Random(f"{label}-{seed}"))
        path.write_bytes(mutated)
        try:
            check(path)
            check_ok += 1
        except SaiError as error:
            message = str(error)
            assert message.startswith(str(path)), (label, seed, message)
            assert "\n" not in message, (label, seed, message)
            refused += 1
        except Exception as error:  # the whole point of the test
            pytest.fail(f"{label}, seed {seed}: {type(error).__name__}: {error}")
    return check_ok, refused


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutation", ["bytes", "structure", "gzip", "gzipped text"])
@pytest.mark.parametrize("kind", ["label", "submission", "coco"])
def test_annotation_readers_raise_nothing_else(tmp_path, kind, mutation):
    if mutation != "structure" and kind == "coco" and mutation.startswith("gzip"):
        pytest.skip("packing is the same for every kind")
    data = {"label": _label_file, "submission": _submission_file, "coco": lambda: _coco_file(tmp_path)}[kind]()
    _check_annotations(_written(tmp_path / "good.json", data))
    mutate = {
        "bytes": _mutate_bytes,
        "structure": _mutate_structure,
        "gzip": _mutate_gzip,
        "gzipped text": _mutate_gzipped_text,
    }[mutation]
    accepted, refused = _run(tmp_path / "a.json", data, mutate, _check_annotations, f"{kind}-{mutation}")
    # a mutation that never or always matters tests nothing
    assert refused > N_FILES // 4
    assert accepted > 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutation", ["bytes", "gzip"])
def test_the_csv_reader_raises_nothing_else(tmp_path, mutation):
    mutate = {"bytes": _mutate_bytes, "gzip": _mutate_gzip}[mutation]
    _check_csv(_written(tmp_path / "good.csv", _csv_file()))
    accepted, refused = _run(tmp_path / "a.csv", _csv_file(), mutate, _check_csv, f"csv-{mutation}")
    assert refused > N_FILES // 4
    assert accepted > 0


def test_random_bytes(tmp_path):
    rng = random.Random(0)
    path = tmp_path / "a.json"
    for size in (1, 2, 3, 10, 100, 5000):
        for _ in range(50):
            path.write_bytes(rng.randbytes(size))
            for check in (_check_annotations, _check_csv):
                with pytest.raises(SaiError):
                    check(path)
    path.write_bytes(struct.pack("<4sI", b"RIFF", 2**31) + bytes(100))
    with pytest.raises(SaiError):
        _check_annotations(path)


def _written(path, data: bytes):
    path.write_bytes(data)
    return path

"""Points that are read by compiled code: the same bits as by json, or not read in that way at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations import _numbers, _points, reading
from sai_core.annotations._columns import table_of
from sai_core.annotations._packed import packed
from sai_core.annotations.notes import NO_NOTES
from sai_core.annotations.reading import read_annotations
from sai_core.annotations.table import PackedPoints
from sai_core.drawing.maps import peak_points
from sai_core.errors import InputError

_PLAIN = st.one_of(
    st.integers(0, 360).map(str),
    st.tuples(st.integers(0, 359), st.text("0123456789", min_size=1, max_size=8)).map(lambda p: f"{p[0]}.{p[1]}"),
)
_FULL = st.one_of(  # as programs write float64: up to 17 digits, signs and exponents
    _PLAIN,
    st.floats(0, 1).map(repr),
    st.floats(-1e290, 1e290).map(repr),
    st.floats(0, 1).map("{:.18e}".format),
    st.sampled_from(
        ["-0.0", "-0", "0e5", "-0e5", "1e-5", "0.1E+2", "-3.25", "9007199254740993", "0.30000000000000004"]
    ),
)
_ANY = st.one_of(
    _FULL,
    st.sampled_from(
        ["12345678901234567890", "1e400", "-1e-400", "0." + 30 * "0", "1" + 40 * "0", "1e+", "1e", "-", "+1"]
    ),
    st.sampled_from(["1.0", "0", "123456789.125", "00", "01", "-01"]),
    st.sampled_from(["1.", ".5", "1.2.3", "", "NaN", "null", '"1"', "[1]", "1 2", "٣"]),
)
_X, _Y = st.sampled_from(["0", "357", "12.5", "3.0", "44.0625"]), st.sampled_from(["0", "91", "180", "1.25"])


def _points_text(energies: Any, coordinates: tuple[Any, Any] = (_X, _Y)) -> Any:
    part = st.lists(st.tuples(*coordinates, energies), min_size=1, max_size=5)
    return st.lists(part, min_size=1, max_size=3)


def _document(annotations: list[Any], *, comma: str = ",", tail: str = "") -> str:
    colon = ": " if comma == ", " else ":"
    records = []
    for frame, parts in enumerate(annotations):
        points = [comma.join("[" + comma.join(point) + "]" for point in part) for part in parts]
        segmentation = "[" + comma.join(f"[{part}]" for part in points) + "]"
        head = f'{{"metadata_frame_index"{colon}{frame}{comma}"category_id"{colon}7{comma}"segmentation"{colon}'
        records.append(head + segmentation + tail + "}")
    return f'{{"annotations"{colon}[' + comma.join(records) + "]}"


def _bits(values: Any) -> list[int]:
    return np.asarray(values, np.float64).view(np.uint64).tolist()


def _check(path: Path, text: str, annotations: list[Any]) -> None:
    path.write_text(text)
    table = read_annotations(path, use_cache=False, check_canvas=False)
    numbers = [[float(json.loads(n)) for n in point] for parts in annotations for part in parts for point in part]
    expected = np.array(numbers).reshape(-1, 3)
    assert _bits(table.points_xy) == _bits(expected[:, :2])
    assert _bits(table.energy) == _bits(expected[:, 2])
    assert np.diff(table.point_offsets).tolist() == [len(part) for parts in annotations for part in parts]
    assert np.diff(table.polygon_offsets).tolist() == [len(parts) for parts in annotations]


@pytest.fixture(autouse=True)
def _small_files_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_points, "_WORTH_IT_BYTES", 0)


@pytest.mark.parametrize("comma", [",", ", "])
def test_plain_files_are_read_in_the_fast_way_to_the_last_bit(
    comma: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_read_slowly", lambda *args: pytest.fail("not in the fast way"))

    @given(st.lists(_points_text(_FULL), min_size=1, max_size=4), st.sampled_from(["", ',"distance":12.5']))
    def check(annotations: list[Any], tail: str) -> None:
        _check(tmp_path / "a.json", _document(annotations, comma=comma, tail=tail), annotations)

    check()


def test_whatever_is_written_is_read_as_json_reads_it_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"

    @given(st.lists(_points_text(_ANY), min_size=1, max_size=3), st.sampled_from([",", ", ", ",\n", " ,"]))
    def check(annotations: list[Any], comma: str) -> None:
        text = _document(annotations, comma=comma)
        numbers: list[Any] = []
        try:
            for record in json.loads(text)["annotations"]:
                numbers += [n for part in record["segmentation"] for point in part for n in point]
        except ValueError:
            numbers = [None]
        if all(type(n) in (int, float) and np.isfinite(n) for n in numbers) and len(numbers) == 3 * sum(
            len(part) for parts in annotations for part in parts
        ):
            _check(path, text, annotations)
        else:
            path.write_text(text)
            with pytest.raises(InputError):
                read_annotations(path, use_cache=False, check_canvas=False)

    check()


def _floats(points: _points.Points) -> np.ndarray:
    columns = [
        column.codes / 10.0**column.decimals if isinstance(column, _points.Decimals) else column
        for column in (points.x, points.y, points.energy)
    ]
    return np.stack(columns, axis=1)


_NUMBERS = st.one_of(
    st.tuples(st.integers(0, 10**19 - 1), st.integers(-330, 330)),
    st.tuples(st.integers(0, 2**54), st.integers(-30, 30)),
    # half-way between two float64: 54 bits, the last of them set, times a power of ten that leaves it so
    st.tuples(st.integers(2**52, 2**53 - 1).map(lambda k: 2 * k + 1), st.integers(0, 2)),
    st.tuples(st.integers(2**52, 2**53 - 1).map(lambda k: 2 * k + 1), st.integers(0, 3)).map(
        lambda p: (p[0] * 5 ** p[1], -p[1])
    ),
)


@given(st.lists(st.tuples(_NUMBERS, st.booleans()), min_size=3, max_size=60))
def test_every_number_is_the_nearest_float(numbers: list[Any]) -> None:
    texts = [f"{'-' if negative else ''}{m}e{power}" for (m, power), negative in numbers if m < 10**19]
    texts = texts[: len(texts) // 3 * 3]
    values = [float(text) for text in texts]
    text = "[[[" + "],[".join(",".join(texts[k : k + 3]) for k in range(0, len(texts), 3)) + "]]]"
    found = _points.parse(text.encode(), [(3, len(text) - 3)])
    if not texts or not np.isfinite(values).all():
        assert found is None
        return
    assert found is not None
    assert _bits(_floats(found).reshape(-1)) == _bits(values)


@pytest.mark.parametrize("broken", ["absent", "no cache"])
def test_without_compiled_code_or_its_cache_the_numbers_are_the_same(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numba

    def refuses(**options: Any) -> Any:
        if "cache" in options:
            raise RuntimeError("no locator available")
        return lambda function: function  # as it is: plain Python does the same

    _numbers.compiled.cache_clear()
    try:
        if broken == "absent":
            monkeypatch.setitem(sys.modules, "numba", None)
        else:
            monkeypatch.setattr(numba, "njit", refuses)
        with np.errstate(over="ignore"):
            _check(
                tmp_path / "a.json",
                _document([[[("1", "2", "0.43782608695652174")]]]),
                [[[("1", "2", "0.43782608695652174")]]],
            )
        assert (_numbers.compiled() is None) == (broken == "absent")
    finally:
        _numbers.compiled.cache_clear()


@given(st.data())
def test_a_byte_that_is_changed_is_never_read_as_something_else(data: st.DataObject) -> None:
    pieces = [b"357,91,0.239],[358,91,0.24]],[[12,79,1],[13,80,0.125", b"1,2,0.5"]
    which = data.draw(st.integers(0, 1))
    changed, signs = bytearray(pieces[which]), st.sampled_from(list(b'0123456789.,[]-+eE "{}\n'))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(signs)
    pieces[which] = bytes(changed)
    text, spans = b"", []
    for piece in pieces:
        spans.append((len(text) + 3, len(text) + 3 + len(piece)))
        text += b"[[[" + piece + b"]]]"
    found = _points.parse(text, spans)
    try:
        expected = [json.loads(b"[[[" + piece + b"]]]") for piece in pieces]
    except ValueError:
        assert found is None
        return
    if found is None:
        return
    points = [point for parts in expected for part in parts for point in part]
    assert _bits(_floats(found)) == _bits(np.array(points, np.float64))
    assert found.part_sizes.tolist() == [len(part) for parts in expected for part in parts]
    assert found.n_parts.tolist() == [len(parts) for parts in expected]


_FLOATS = st.one_of(
    st.integers(0, 400).map(float),
    st.integers(0, 10**6).map(lambda k: k / 1000),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([-0.0, 0.1 + 0.2, 1e-7, 2.0**32]),
)


@given(st.lists(st.lists(_FLOATS, max_size=6), max_size=4))
def test_packed_numbers_are_the_same_bits(batches: list[list[float]]) -> None:
    from sai_core.annotations._packed import GrowingNumbers

    growing = GrowingNumbers()
    for batch in batches:
        growing.append(np.array(batch, np.float64))
    assert _bits(growing.finish().floats()) == _bits([n for batch in batches for n in batch])


def test_a_large_table_stays_packed_until_all_of_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 9, 200)
    n = int(sizes.sum())
    xy, energy = rng.integers(0, 180, (n, 2)).astype(float), rng.integers(0, 1000, n) / 1000
    columns = {
        "frame": np.arange(200) // 3,
        "category_id": np.zeros(200),
        "instance_id": np.zeros(200),
        "distance_cm": np.full(200, np.nan),
        "score": np.full(200, np.nan),
        "polygon_offsets": np.arange(201),
        "point_offsets": np.concatenate([[0], np.cumsum(sizes)]),
    }
    points = PackedPoints(packed(xy[:, 0]), packed(xy[:, 1]), packed(energy))
    assert points.nbytes == 4 * n
    plain = table_of("a", columns, points, NO_NOTES)
    monkeypatch.setattr("sai_core.annotations._columns._KEPT_PACKED_POINTS", 1)
    monkeypatch.setattr("sai_core.drawing.maps._PEAK_POINTS", 50)
    table = table_of("a", columns, points, NO_NOTES)
    assert table.nbytes < plain.nbytes - 19 * n
    for index in range(200):
        for a, b in zip(table.points(index), plain.points(index), strict=True):
            assert a.tolist() == b.tolist()
        assert [[v.tolist() for v in p] for p in table.polygons(index)] == [
            [v.tolist() for v in p] for p in plain.polygons(index)
        ]
    for a, b in zip(peak_points(table), peak_points(plain), strict=True):
        assert np.array_equal(a, b, equal_nan=True)
    chosen = table.take(np.arange(200) % 7 == 0)
    assert np.array_equal(chosen.energy, plain.take(np.arange(200) % 7 == 0).energy)
    before = table.nbytes
    copy = table.unpacked()
    assert np.array_equal(copy.points_xy, plain.points_xy)
    assert table.nbytes == before
    assert np.array_equal(table.energy, plain.energy)
    assert np.array_equal(table.points_xy, plain.points_xy)
    assert table.nbytes == before + 24 * n
    with pytest.raises(AttributeError):
        table.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_many_small_files_are_worth_the_compiled_code_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_points, "_WORTH_IT_BYTES", 100_000)
    monkeypatch.setattr(_points, "_slow_bytes", 0)
    monkeypatch.setattr(_points, "sys", SimpleNamespace(modules={}))
    slow: list[Path] = []
    plain = reading._read_slowly

    def read_slowly(path: Path, *args: Any) -> None:
        slow.append(path)
        plain(path, *args)

    monkeypatch.setattr(reading, "_read_slowly", read_slowly)
    text = _document([[[["1.5", "2", "0.25"]] * 1000]] * 4)
    paths = [tmp_path / f"{k}.json" for k in range(6)]
    for path in paths:
        path.write_text(text)
        read_annotations(path, use_cache=False, check_canvas=False)
    # each is too small by itself; together those before it are not
    assert 30_000 < len(text) < 60_000
    assert slow == paths[: len(slow)]
    assert 1 <= len(slow) < len(paths)

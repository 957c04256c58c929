from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations import DcaseMetadata, read_dcase_csv, write_dcase_csv
from sai_core.errors import InputError
from tests.annotations.helpers import write_text
from tests.conftest import ORACLE

NAMES = ("frame", "category_id", "source_id", "azimuth_deg", "elevation_deg", "distance_cm")

_rows = st.lists(
    st.tuples(
        st.integers(0, 10_000_000),
        st.integers(0, 12),
        st.integers(-(2**53), 2**53),
        st.floats(-180, 180, exclude_max=True),
        st.floats(-90, 90),
        st.one_of(st.just(float("nan")), st.floats(0, 1e9)),
    ),
    max_size=6,
)


def _metadata(rows) -> DcaseMetadata:
    columns = zip(*rows, strict=True) if rows else [[]] * 6
    return DcaseMetadata(**{name: np.array(list(column)) for name, column in zip(NAMES, columns, strict=True)})  # type: ignore[arg-type]


@given(rows=_rows)
def test_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "rec.csv"
    metadata = _metadata(rows)
    write_dcase_csv(metadata, path)
    again = read_dcase_csv(path)
    assert again.recording == "rec"
    assert len(again) == len(rows)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(again, name), getattr(metadata, name), err_msg=name)


def test_azimuths_in_range_are_not_touched(tmp_path):
    text = "0,1,0,179.99999999999997,0\n0,1,0,-180,0\n0,1,0,180,0\n0,1,0,-190,0\n0,1,0,1e-300,0\n"
    metadata = read_dcase_csv(write_text(tmp_path / "a.csv", text))
    assert metadata.azimuth_deg.tolist() == [179.99999999999997, -180, -180, 170, 1e-300]


def test_whole_degrees_round_trip_to_the_byte(tmp_path):
    text = "0,1,0,-180,10,150\n1,12,3,179,-90,0\n"
    write_text(tmp_path / "a.csv", text)
    write_dcase_csv(read_dcase_csv(tmp_path / "a.csv"), tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "0,1,2,30,-10,150\n3,4,5,-60,20,90\n",
        "0,1,2,30,-10,150\r\n3,4,5,-60,20,90\r\n",
        "0,1,2,30,-10,150\r3,4,5,-60,20,90",
        "\ufeff0,1,2,30,-10,150\n3,4,5,-60,20,90",
        "frame,class,source,azimuth,elevation,distance\n0,1,2,30,-10,150\n3,4,5,-60,20,90\n",
        "\ufeffFrame number, class index, source, az, el, dist\n0,1,2,30,-10,150\n3,4,5,-60,20,90\n",
        "\n\n 0 , 1,2,\t30,-10 ,150 \n   \n3.0,4.0,5,-60.0,+20,9e1\n\n",
        "0,1,2,390,-10,150".replace("390", "-330") + "\n3,4,5,300,20,90\n",
        "0,1,2,30,-10,150,\n3,4,5,-60,20,90,\n",
    ],
)
def test_spellings_of_the_same_rows(tmp_path, text):
    metadata = read_dcase_csv(write_text(tmp_path / "a.csv", text))
    assert metadata.frame.tolist() == [0, 3]
    assert metadata.category_id.tolist() == [1, 4]
    assert metadata.source_id.tolist() == [2, 5]
    assert metadata.azimuth_deg.tolist() == [30, -60]
    assert metadata.elevation_deg.tolist() == [-10, 20]
    assert metadata.distance_cm.tolist() == [150, 90]
    assert metadata.n_frames == 4
    assert metadata.rows(3).tolist() == [1]


def test_five_columns_have_no_distance(tmp_path):
    path = write_text(tmp_path / "a.csv", "0,1,0,180,0\n1,1,0,-180,0\n")
    metadata = read_dcase_csv(path)
    assert np.isnan(metadata.distance_cm).all()
    assert metadata.azimuth_deg.tolist() == [-180, -180]
    write_dcase_csv(metadata, tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text() == "0,1,0,-180,0\n1,1,0,-180,0\n"


def test_one_absent_distance_is_an_empty_field(tmp_path):
    metadata = _metadata([(0, 1, 0, 0.0, 0.0, 5.0), (1, 1, 0, 0.0, 0.0, float("nan"))])
    write_dcase_csv(metadata, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "0,1,0,0,0,5\n1,1,0,0,0,\n"
    np.testing.assert_array_equal(read_dcase_csv(tmp_path / "a.csv").distance_cm, [5, np.nan])


def test_a_silent_recording_is_a_header(tmp_path):
    write_dcase_csv(_metadata([]), tmp_path / "a.csv")
    assert len(read_dcase_csv(tmp_path / "a.csv")) == 0
    assert read_dcase_csv(tmp_path / "a.csv").n_frames == 0


def test_gzip(tmp_path):
    path = write_text(tmp_path / "a.csv.gz", gzip.compress(b"0,1,2,3,4,5\n"))
    assert len(read_dcase_csv(path)) == 1


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "the file is empty"),
        ("\n \n", "holds no rows"),
        ("0,1,2\n", "line 1: has 3 columns"),
        ("0,1,2,3\n0,1,2,3,4\n", "line 1: has 4 columns as other rows have 5"),
        ("<html>\n", "line 1: has 1 columns"),
        ("0,1,2,3,4,5\n\n0,1,2,3,4,5,6\n", "line 1: has 6 columns as other rows have 7"),
        ("0 1 2 3 4 5\n0 1 2 3 4 5\n", "line 1: has 1 columns.*separate columns by commas"),
        ("0;1;2;3,5;4;5\n", "line 1: 3,5 is a number with a decimal comma"),
        ('0,1,2,"3,5",4,5\n', "line 1: 3,5 is a number with a decimal comma"),
        ("0,1,2,3,4,5\nx,1,2,3,4,5\n", "line 2: frame is 'x', expected a number"),
        ("0,1,2,3,4,5\nframe,class,source,azimuth,elevation\n", "line 2: frame is 'frame'"),
        ("0,speech,2,3,4,5\n", "line 1: class is 'speech'"),
        ("0,1,,3,4,5\n", "line 1: source is ''"),
        ("0.5,1,2,3,4,5\n", "line 1: frame is 0.5, expected a whole number"),
        ("-1,1,2,3,4,5\n", "line 1: frame is -1"),
        ("99999999999,1,2,3,4,5\n", "line 1: frame is 99999999999"),
        ("0,13,2,3,4,5\n", "line 1: class is 13, expected 0 to 12"),
        ("0,1,1e300,3,4,5\n", "line 1: source is too large"),
        ("0,1,2,361,4,5\n", "line 1: azimuth is 361"),
        ("0,1,2,3,90.5,5\n", "line 1: elevation is 90.5"),
        ("0,1,2,3,4,-5\n", "line 1: distance is -5"),
        ("0,1,2,nan,4,5\n", "line 1: azimuth is 'nan'"),
        ("0,1,2,inf,4,5\n", "line 1: azimuth is 'inf'"),
        ("0,1,2,1e999,4,5\n", "line 1: azimuth is too large"),
        ("0,1,2,1_0,4,5\n", "line 1: azimuth is '1_0'"),
        ("0,1,2,٣,4,5\n", "line 1: azimuth is '٣'"),
        ("0,1,2,3,4,5\n0,1,2,0x1,4,5\n", "line 2: azimuth is '0x1'"),
        ('0,1,2,"3,4,5\n', "line 1: the quotes are not those of a CSV file"),
        ("0,1,2,3,4,5\0\n", "line 1: distance is"),
    ],
)
def test_bad_rows_are_named(tmp_path, text, match):
    path = write_text(tmp_path / "a.csv", text)
    with pytest.raises(InputError, match=match) as caught:
        read_dcase_csv(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_bad_files(tmp_path):
    for path, match in (
        (tmp_path, "is a folder"),
        (tmp_path / "no.csv", "no such file"),
        (write_text(tmp_path / "u.csv", "0,1,2,3,4,5".encode("utf-16")), "UTF-16"),
        (write_text(tmp_path / "l.csv", b"0,1,2,3,4,\xff"), "not UTF-8"),
    ):
        with pytest.raises(InputError, match=match):
            read_dcase_csv(path)


def test_columns_must_fit_together():
    with pytest.raises(InputError, match="column category_id"):
        DcaseMetadata(*[np.zeros(n) for n in (2, 1, 2, 2, 2, 2)])  # type: ignore[arg-type]


def test_rows_that_could_not_be_read_are_not_written(tmp_path):
    with pytest.raises(InputError, match="line 1: elevation is 95"):
        write_dcase_csv(_metadata([(0, 1, 0, 0.0, 95.0, 5.0)]), tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.oracle
def test_oracle_metadata_has_all_rows():
    metadata = read_dcase_csv(ORACLE / "labels" / "f6_metadata.csv")
    assert len(metadata) == 61
    assert (metadata.frame[0], metadata.azimuth_deg[0], metadata.distance_cm[0]) == (0, 61, 150)

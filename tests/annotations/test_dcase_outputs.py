"""CSV files as DCASE systems, spreadsheets and pandas write them: read right, or refused by name."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations import DcaseMetadata, read_dcase_csv
from sai_core.detections.teacher_files import find_teacher_csv, read_teacher
from sai_core.errors import InputError
from tests.annotations.helpers import write_text

ROWS = [(0, 1, 2, 30, -10, 150), (3, 4, 5, -60, 20, 90)]


def _same(metadata: DcaseMetadata, *, distance: bool = True) -> None:
    assert metadata.frame.tolist() == [0, 3]
    assert metadata.category_id.tolist() == [1, 4]
    assert metadata.source_id.tolist() == [2, 5]
    np.testing.assert_allclose(metadata.azimuth_deg, [30, -60], rtol=0, atol=1e-9)
    np.testing.assert_allclose(metadata.elevation_deg, [-10, 20], rtol=0, atol=1e-9)
    if distance:
        np.testing.assert_allclose(metadata.distance_cm, [150, 90], rtol=0, atol=1e-9)


directions = st.lists(st.tuples(st.floats(-179.5, 179.5), st.floats(-89.5, 89.5)), min_size=1, max_size=20)


@given(directions=directions, length=st.floats(0.5, 1.5), distance=st.sampled_from([None, 0.0, 0.35, 2.75, 9.0]))
def test_vectors_become_angles(
    tmp_path_factory: pytest.TempPathFactory,
    directions: list[tuple[float, float]],
    length: float,
    distance: float | None,
) -> None:
    """Six columns of 2021 and 2022; seven of 2023 (distance 0) and 2024 (metres). The vector's length says nothing."""
    lines = []
    for k, (azimuth, elevation) in enumerate(directions):
        a, e = math.radians(azimuth), math.radians(elevation)
        vector = [length * v for v in (math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e))]
        fields = [str(k), "8", "0", *map(str, vector), *([] if distance is None else [str(distance)])]
        lines.append(",".join(fields))
    path = write_text(tmp_path_factory.mktemp("csv") / "rec.csv", "\n".join(lines) + "\n")
    metadata = read_dcase_csv(path)
    expected = np.array(directions)
    np.testing.assert_allclose(metadata.azimuth_deg, expected[:, 0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(metadata.elevation_deg, expected[:, 1], rtol=0, atol=1e-6)
    np.testing.assert_allclose(metadata.distance_cm, 100 * distance if distance else np.nan, rtol=0, atol=1e-9)
    assert metadata.notes.notes[0].code == "vectors"
    assert ("distance_unit" in {n.code for n in metadata.notes.notes}) == bool(distance)


def test_four_columns_of_2020(tmp_path: Path) -> None:
    metadata = read_dcase_csv(write_text(tmp_path / "a.csv", "0,1,30,-10\n3,4,-60,20\n"))
    assert (metadata.azimuth_deg.tolist(), metadata.elevation_deg.tolist()) == ([30, -60], [-10, 20])
    assert [n.code for n in metadata.notes.notes] == ["four_columns"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("frame,class,source,azimuth,distance,onscreen\n0,1,0,120,200,1\n", "line 1: the header is that of DCASE 2025"),
        ("frame,class,source,azimuth,distance\n0,1,0,120,200\n", "line 1: the header is that of DCASE 2025"),
        ("0,1,0,20,200,0\n1,1,0,25,210,1\n", "the last column holds 0 and 1 alone, as 'onscreen' of DCASE 2025 does"),
        ("\u0660,\u0661,\u0660,\u0663,\u0661,\u0662\n", "line 1: frame is"),  # digits of another script: no header
        (
            "0,1,0,30,20,150,7\n1,1,0,30,20,150,7\n",
            r"line 1: has 7 columns, .*\(30, 20, 150\) is not a direction vector",
        ),
        ("0,1,0,1,0,1\n1,1,0,0,1,0\n", "line 1: .* may be azimuth, elevation and distance or x, y and z"),
        ("0,1,0,0.6,0.8,0.0\n1,1,0,0.8,0.6,0.0\n2,1,0,90.0,3.0,9.0\n", "line 3: .* most rows hold x, y, z"),
        ("frame,class,azimuth,elevation\n0,1,12,x\n", "line 2: elevation is 'x'"),
        ("frame,azimuth,elevation,distance\n0,1,12,3\n", "line 1: the header names no class"),
        ("frame,class,azimuth,theta,distance_m\n0,1,12,3,1\n", "the header is that of DCASE 2025"),
        ("onset,offset,class,azimuth,elevation\n0,1,2,3,4\n", "line 1: the header names no frame"),
        ("frame,class,azimuth,azi,elevation\n0,1,2,3,4\n", "line 1: two columns are the azimuth"),
        ("frame,class,x,y,z\n0,1,0,0,0\n", "line 2: x, y and z are all 0"),
        ("frame,class,azimuth,elevation\n0,Dog,2,3\n", "line 2: class is 'Dog', expected a number, or the name"),
        ("0;1;0;30,5;20;150\n", "line 1: 30,5 is a number with a decimal comma"),
    ],
)
def test_refused_by_name(tmp_path: Path, text: str, match: str) -> None:
    path = write_text(tmp_path / "a.csv", text)
    with pytest.raises(InputError, match=match) as caught:
        read_dcase_csv(path)
    assert "\n" not in str(caught.value)


NAMES = [
    ("frame", "class", "source", "azimuth", "elevation", "distance"),
    ("Frame number (int)", "active class index", "source number index", "azi (deg)", "ele (deg)", "dist [cm]"),
    ("metadata_frame_index", "category_id", "instance_id", "azimuth_deg", "elevation_deg", "distance_cm"),
    ("frameIdx", "classIndex", "trackId", "azimuthAngle", "elevationAngle", "distance"),
    ("FRAME", "LABEL", "TRACK", "AZ", "EL", "DIST"),
]


@given(
    names=st.sampled_from(NAMES),
    order=st.permutations(range(6)),
    separator=st.sampled_from([",", ";", "\t"]),
    quoted=st.sampled_from(["none", "all", "line"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    bom=st.booleans(),
    index=st.booleans(),
)
def test_columns_go_by_their_names(
    tmp_path_factory: pytest.TempPathFactory,
    names: tuple[str, ...],
    order: list[int],
    separator: str,
    quoted: str,
    end: str,
    bom: bool,
    index: bool,
) -> None:
    table = [[str(names[k]) for k in order], *([str(row[k]) for k in order] for row in ROWS)]
    if index:  # as pandas writes it
        table = [[str(k - 1) if k else "", *row] for k, row in enumerate(table)]
    if quoted == "all":
        table = [[f'"{field}"' for field in row] for row in table]
    lines = [separator.join(row) for row in table]
    if quoted == "line":
        lines = [f'"{line}"' for line in lines]
    path = write_text(tmp_path_factory.mktemp("csv") / "rec.csv", ("\ufeff" if bom else "") + end.join(lines) + end)
    metadata = read_dcase_csv(path)
    _same(metadata)
    assert ("separator" in {n.code for n in metadata.notes.notes}) == (separator != ",")


def test_units_in_names_are_kept_to(tmp_path: Path) -> None:
    radians = "\n".join(f"{f},{c},{s},{math.radians(a)},{math.radians(e)},{d / 100}" for f, c, s, a, e, d in ROWS)
    text = f"frame,class,source,azimuth_rad,elevation_rad,distance (m)\n{radians}\n"
    metadata = read_dcase_csv(write_text(tmp_path / "a.csv", text))
    _same(metadata)
    assert metadata.notes.sentences() == (
        "units were converted by the header: azimuth from radians, elevation from radians, distance from metres.",
    )


def test_names_of_classes_and_columns_that_nobody_reads(tmp_path: Path) -> None:
    text = "frame,class_name,class,azimuth,elevation,comment,video_frame\n0,Dog,maleSpeech,30,-10,x,5\n"
    metadata = read_dcase_csv(write_text(tmp_path / "a.csv", text))
    assert metadata.category_id.tolist() == [1]
    assert {n.code for n in metadata.notes.notes} == {"no_source", "other_columns"}
    assert "'class_name', 'comment', 'video_frame'" in " ".join(metadata.notes.sentences())
    metadata = read_dcase_csv(write_text(tmp_path / "a.csv", "a,b,c,d,e\n0,1,0,30,-10\n"))
    assert [n.code for n in metadata.notes.notes] == ["header_unknown"]


def test_metres_and_radians_without_names_are_noticed(tmp_path: Path) -> None:
    metres = read_dcase_csv(write_text(tmp_path / "a.csv", "0,1,0,30,-10,1.5\n1,1,0,30,-10,2.9\n"))
    assert [n.code for n in metres.notes.notes] == ["distances_small"]
    assert metres.distance_cm.tolist() == [1.5, 2.9]
    radians = read_dcase_csv(write_text(tmp_path / "a.csv", "0,1,0,3.05,-0.2\n1,1,0,-1.2,0.3\n"))
    assert [n.code for n in radians.notes.notes] == ["angles_small"]


def test_a_teacher_that_heard_nothing_writes_0_bytes(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write_text(tmp_path / "deep" / "er" / "rec.csv", "")
    rows = read_teacher(tmp_path, "rec")
    assert len(rows) == 0
    assert [n.code for n in rows.notes.notes] == ["silent"]
    with pytest.raises(InputError, match="the file is empty; a metadata file of a silent recording"):
        read_dcase_csv(tmp_path / "deep" / "er" / "rec.csv")


def test_one_rule_for_teacher_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_text(tmp_path / "a" / "pru\u0308fung.csv", "0,1,0,30,-10\n")
    assert find_teacher_csv(tmp_path, "pr\u00fcfung").parent.name == "a"
    with pytest.raises(InputError, match=r"holds no rec\.csv"):
        find_teacher_csv(tmp_path, "rec")
    (tmp_path / "b").mkdir()
    write_text(tmp_path / "b" / "pr\u00fcfung.csv", "0,1,0,30,-10\n")
    with pytest.raises(InputError, match="twice or more"):
        find_teacher_csv(tmp_path, "pr\u00fcfung")


def test_quotes_of_either_kind_and_distances_of_nothing(tmp_path: Path) -> None:
    for mark in ("'", '"'):
        rows = "\n".join(
            ",".join(f"{mark}{x}{mark}" for x in line.split(",")) for line in ("0,1,2,30,-10,0", "3,4,5,-60,20,0")
        )
        metadata = read_dcase_csv(write_text(tmp_path / "a.csv", rows))
        _same(metadata, distance=False)
        assert metadata.notes.sentences() == ("all 2 distances are 0, as where none was estimated.",)

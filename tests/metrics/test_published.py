"""Published figures are data, marked and sourced."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sai_core.metrics.official.published import PUBLISHED, track_of_name
from sai_core.metrics.reading.tables import COLUMNS_0402, TABLE_COLUMNS

REPORT = Path(__file__).resolve().parents[2].parent / "shared" / "docs" / "technical_report.txt"


def test_every_row_says_where_it_stands_and_has_known_columns() -> None:
    keys = {c.key for columns in (*TABLE_COLUMNS.values(), COLUMNS_0402) for c in columns}
    for row in PUBLISHED:
        assert row.source
        assert set(row.figures) <= keys | {"macro_pearson_r"}
        with pytest.raises(TypeError):
            row.figures["macro_mAP"] = 1.0  # type: ignore[index]


@pytest.mark.skipif(not REPORT.is_file(), reason="the report is not on this machine")
def test_figures_of_the_report_are_typed_rightly() -> None:
    lines = {line.split("\t")[0]: line.split("\t")[1:] for line in REPORT.read_text().splitlines() if "\t" in line}
    for row in PUBLISHED:
        if "technical report" not in row.source:
            continue
        expected = [float(cell) for cell in lines[row.system] if re.fullmatch(r"[\d.]+", cell)]
        assert list(row.figures.values()) == expected, row.system


@pytest.mark.parametrize(
    ("name", "track"),
    [
        ("FAO", "A"), ("runs/OR-AO_epoch10", "A"), ("my track A", "A"), ("audio_only_3", "A"),
        ("tpav", "B"), ("official-baseline", "B"), ("audio-visual", "B"),
        ("stand-in-A", None), ("mine", None), ("fao vs tpav", None), ("", None),
    ],
)  # fmt: skip
def test_a_name_may_tell_the_track(name: str, track: str | None) -> None:
    assert track_of_name(name) == track

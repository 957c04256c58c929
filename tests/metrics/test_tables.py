"""Tables and their exports."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest

from sai_core.errors import InputError
from sai_core.metrics import Revision, bootstrap, evaluate
from sai_core.metrics.evaluation.score_store import result_of_tables
from sai_core.metrics.reading.systems import SystemResult
from sai_core.metrics.reading.tables import (
    Column,
    Table,
    class_table,
    difference_table,
    latex_escape,
    recordings_table,
    systems_table,
    to_csv,
    to_latex,
)
from sai_core.taxonomy import CLASS_NAMES
from tests.metrics.helpers import made_up_recording


def _system(name: str, revision: Revision = "2026-06-30", seed: int = 10, n: int = 3) -> SystemResult:
    results = []
    for k in range(n):
        labels = made_up_recording(k, n_frames=6, name=f"r{k}")[0]
        predictions = made_up_recording(k if seed == 10 else seed + k, n_frames=6, name=f"r{k}")[1]
        results.append(result_of_tables(labels, predictions, revision=revision, use_cache=False))
    return SystemResult(name, revision, tuple(results))


@pytest.fixture(scope="module")
def mine() -> SystemResult:
    return _system("mine_1")


@pytest.fixture(scope="module")
def other() -> SystemResult:
    return _system("tpav", seed=50)


def _column(table: Table, key: str) -> np.ndarray:
    return table.values[:, [c.key for c in table.columns].index(key)]


def test_the_class_table_holds_the_official_figures(mine: SystemResult) -> None:
    pairs = {r: made_up_recording(k, n_frames=6, name=r) for k, r in enumerate(mine.recordings)}
    official = evaluate({r: p[0] for r, p in pairs.items()}, {r: p[1] for r, p in pairs.items()}, use_cache=False)
    table = class_table(mine, bootstrap=bootstrap(mine.scores, n=30))
    assert table.rows == (*CLASS_NAMES, "macro", "micro")
    for c, figures in enumerate((*official.per_class, official.macro, official.micro)):
        row = dict(zip((k.key for k in table.columns), table.values[c].tolist(), strict=True))
        np.testing.assert_equal([row["AP25"], row["AP50"], row["AP75"]], list(figures.ap))
        np.testing.assert_equal([row["mAP"], row["pearson_r"]], [figures.mean_ap, figures.pearson_r])
        assert (row["n_labels"], row["n_detections"]) == (figures.n_labels, figures.n_detections)
        if figures.n_labels and c < 13:
            assert row["mAP_low"] <= row["mAP_high"]
    place = mine.errors_of_place[1]
    assert _column(table, "angle_deg")[-1] == place.mean_deg
    assert "2026-06-30" in table.title


def test_undefined_is_a_dash_and_never_a_number(mine: SystemResult) -> None:
    table = class_table(mine)
    k = CLASS_NAMES.index("Knock")
    column = [c.key for c in table.columns].index("mAP")
    assert np.isnan(table.values[k, column])
    assert table.text(k, column) == "–"
    row = next(r for r in csv.reader(io.StringIO(to_csv(table))) if r[0] == "Knock")
    assert row[2 + column] == ""
    assert "-1" not in to_latex(table).replace("0-1", "")


def test_what_rounds_to_zero_has_no_sign() -> None:
    columns = (Column("a", "A", 4), Column("n", "N", 0))
    table = Table("t", "", "Class", ("x", "y"), ("measured",) * 2, columns, np.array([[-4e-5, -0.2], [-6e-5, -1234.0]]))
    assert [[table.text(k, c) for c in range(2)] for k in range(2)] == [["0.0000", "0"], ["-0.0001", "-1,234"]]


def test_published_rows_stand_beside_and_are_marked(mine: SystemResult, other: SystemResult) -> None:
    first = systems_table([mine, other], revision="2026-06-30", track="A", simulated=True)
    assert first.rows == ("mine_1", "SAID, PaSST", "SAID, AudioMAE", "SAID, task3a_2, evaluation set")
    assert first.sources == ("measured", *["published"] * 3)
    assert "real dev-test set" in first.note
    assert "simulated" in first.note
    every = systems_table([mine, other], revision="2026-06-30", track="A", all_revisions=True)
    assert every.rows[4:] == ("FAO, by 2026-05-28", "OR-AO, by 2026-05-28", *every.rows[6:])
    assert _column(every, "n_detections")[4] == 265_049
    second = systems_table([mine, other], revision="2026-06-30", track="B", all_revisions=True)
    assert second.rows[:3] == ("mine_1", "tpav", "Baseline, by 2026-05-28")
    assert _column(second, "micro_pearson_r")[2] == 0.4429
    assert "simulated" not in second.note
    # published figures never win
    assert all(k < 2 for c in range(len(second.columns)) for k in second.best(c))
    assert len(second.best(0)) == 1
    assert systems_table([mine], revision="2026-06-30", published=False).rows == ("mine_1",)
    assert systems_table([], revision="2026-06-30", published=False).values.shape[0] == 0


def test_april_has_a_table_of_its_own() -> None:
    system = _system("fao", "2026-04-02", n=2)
    table = systems_table([system], revision="2026-04-02", track="B")
    assert table.rows == ("fao",)
    figures = system.evaluation.to_json()
    assert _column(table, "macro_mAP")[0] == figures["mask_mAP"]
    assert _column(table, "micro_pearson_r")[0] == figures["pearson_r"]
    assert _column(table, "micro_distance_mape")[0] == figures["distance_mape"]
    per_class = class_table(system)
    np.testing.assert_equal(_column(per_class, "official_mape")[-1], figures["distance_mape"])
    json.dumps(figures, allow_nan=False)


def test_recordings_and_their_sum(mine: SystemResult) -> None:
    table = recordings_table(mine)
    assert table.rows == (*mine.recordings, "all recordings")
    for key in ("n_labels", "n_detections", "missed", "false_positives"):
        column = _column(table, key)
        assert column[:-1].sum() == column[-1]
    assert _column(table, "macro_mAP")[-1] == mine.evaluation.macro.mean_ap


def test_differences_are_second_minus_first(mine: SystemResult, other: SystemResult) -> None:
    samples = tuple(bootstrap(s.scores, n=25, seed=4) for s in (mine, other))
    table = difference_table(mine, other, samples=samples)  # type: ignore[arg-type]
    np.testing.assert_allclose(
        _column(table, "mAP.delta"), _column(table, "mAP.second") - _column(table, "mAP.first"), equal_nan=True
    )
    macro = table.rows.index("macro")
    assert _column(table, "mAP.low")[macro] <= _column(table, "mAP.delta")[macro] <= _column(table, "mAP.high")[macro]
    same = difference_table(mine, mine, samples=(samples[0], samples[0]))
    known = _column(same, "mAP.low")[~np.isnan(_column(same, "mAP.low"))]
    np.testing.assert_array_equal(known, 0)


def test_only_common_recordings_are_compared(mine: SystemResult) -> None:
    part = mine.only({"r0"})
    table = difference_table(mine, part)
    np.testing.assert_array_equal(np.nan_to_num(_column(table, "mAP.delta")), 0)
    with pytest.raises(InputError, match="in common"):
        difference_table(mine.only({"r1"}), part)
    with pytest.raises(InputError, match="one revision"):
        difference_table(mine, _system("x", "2026-04-02", n=1))


def test_csv_reads_back_to_the_same_bits(mine: SystemResult) -> None:
    table = class_table(mine)
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    assert rows[0][:3] == ["class", "source", "n_labels"]
    back = np.array([[float(v) if v else np.nan for v in row[2:]] for row in rows[1:]])
    np.testing.assert_array_equal(back, table.values)


def test_csv_holds_no_formula() -> None:
    table = Table("t", "", "System", ("=1+1", 'a,"b"'), ("measured",) * 2, (Column("x", "x"),), np.zeros((2, 1)))
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    assert [row[0] for row in rows[1:]] == ["'=1+1", 'a,"b"']


def test_latex_is_escaped_and_balanced(mine: SystemResult, other: SystemResult) -> None:
    table = systems_table([mine, other], revision="2026-06-30", track="B", simulated=True, all_revisions=True)
    text = to_latex(table)
    assert r"mine\_1" in text
    assert r"Baseline, by 2026-05-28 \emph{(published)}" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\cmidrule(lr){2-6}", r"\multicolumn{5}{c}{Macro}"):
        assert rule in text
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count(" & ") for line in rows} == {len(table.columns)}
    assert text.count(r"\textbf") == sum(len(table.best(c)) for c in range(len(table.columns)))


def test_names_cannot_become_commands() -> None:
    nasty = "\\input{x} 50% & $#_{}~^ \n end"
    escaped = latex_escape(nasty)
    assert "\n" not in escaped
    assert re.findall(r"(?<!\\)[&%$#_]", escaped) == []
    assert r"\input" not in escaped


def test_a_table_checks_its_shape() -> None:
    with pytest.raises(InputError, match="do not fit"):
        Table("t", "", "x", ("a",), ("measured",), (Column("x", "x"),), np.zeros((2, 1)))

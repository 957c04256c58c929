"""Runs beside each other."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sai_core.runs.comparing import differing_settings, settings_of


def run(folder: Path, config: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_only_what_differs_is_told(tmp_path: Path) -> None:
    shared = {"kind": "detector", "seed": 1, "model": {"width": 16, "anchors": [1, 2]}}
    one = run(tmp_path / "one", {**shared, "optimiser": {"rate": 1e-3}, "stages": [{"steps": 4}, {"steps": 8}]})
    two = run(tmp_path / "two", {**shared, "optimiser": {"rate": 3e-4}, "stages": [{"steps": 4}, {"steps": 9}]})
    three = run(tmp_path / "three", {**shared, "optimiser": {"rate": 1e-3}, "note": "x" * 100, "options": {}})
    names, values = differing_settings([one, two, three])
    assert names == ("optimiser.rate", "stages.0.steps", "stages.1.steps", "note")
    assert values[0] == {"optimiser.rate": "0.001", "stages.0.steps": "4", "stages.1.steps": "8"}
    assert values[1]["stages.1.steps"] == "9"
    assert values[2]["note"].endswith("…")
    assert len(values[2]["note"]) == 60
    assert differing_settings([one]) == ((), ({},))


def test_damaged_and_missing_settings_are_no_settings(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"seed": ')
    assert settings_of(tmp_path / "bare") == settings_of(broken) == {}
    names, _ = differing_settings([broken, run(tmp_path / "good", {"seed": 1})])
    assert names == ("seed",)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1, max_size=3), _JSON, max_size=4))
def test_a_run_never_differs_from_its_copy(tmp_path_factory: object, config: dict) -> None:
    folder = tmp_path_factory.mktemp("runs")  # type: ignore[attr-defined]
    assert differing_settings([run(folder / "a", config), run(folder / "b", config)]) == ((), ({}, {}))

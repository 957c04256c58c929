"""The detectors that ship: small, of known origin, and the demo's predictions are theirs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from sai_core.acoustics.audio_input import AudioInput
from sai_core.annotations import read_annotations, read_dcase_csv
from sai_core.cli import main
from sai_core.dataset import demo_root, open_data_root
from sai_core.detector.field import SHIPPED_FIELD, load_field
from sai_core.detector.wideband import SHIPPED_WIDEBAND, load_wideband
from sai_core.inference.networks import describe_checkpoint
from sai_core.metrics import evaluate
from sai_core.postprocess import load_system
from sai_core.postprocess.quality import SHIPPED_QUALITY, load_quality, quality_path

WEIGHTS = demo_root().parent / "weights"
SETS = {"track-A": WEIGHTS / "track_a.safetensors", "track-B": WEIGHTS / "track_b.safetensors"}

MEAN_AP: dict[str, float] = {"track-A": 0.5242, "track-B": 0.6249}
"""Macro mAP (2026-06-30) of the shipped predictions on the four simulated demo recordings."""


@pytest.mark.parametrize("name", list(SETS))
def test_they_are_small_half_precision_and_say_where_they_come_from(name: str) -> None:
    path = SETS[name]
    assert path.stat().st_size <= 35_000_000
    with safe_open(str(path), framework="np") as stored:
        kinds = {stored.get_slice(key).get_dtype() for key in stored.keys()}  # noqa: SIM118 (not a mapping)
    assert kinds == {"F16"}
    facts = describe_checkpoint(path)
    assert facts.kind == name.replace("-", " ")
    assert {"recipe", "seed", "hours", "data"} <= set(facts.notes)


def test_so_is_the_field_decoder() -> None:
    assert SHIPPED_FIELD.stat().st_size <= 200_000
    with safe_open(str(SHIPPED_FIELD), framework="np") as stored:
        kinds = {stored.get_slice(key).get_dtype() for key in stored.keys()}  # noqa: SIM118 (not a mapping)
        assert {"seed", "training", "data", "calibration"} <= set(stored.metadata())
    assert kinds == {"F16"}
    audio = open_data_root(demo_root()).recordings[0].array_path
    assert audio is not None
    source = AudioInput(audio, channels=4)
    field = load_field(SHIPPED_FIELD).of_frames(source, 20, 40)
    # strong enough somewhere for a label to have a region, and not the same everywhere
    assert (field.max(axis=1) > np.log(1e-4)).all()
    assert np.median(field.std(axis=1)) > 0.2


def test_so_is_the_wideband_listener() -> None:
    assert SHIPPED_WIDEBAND.stat().st_size <= 1_000_000
    with safe_open(str(SHIPPED_WIDEBAND), framework="np") as stored:
        kinds = {stored.get_slice(key).get_dtype() for key in stored.keys()}  # noqa: SIM118 (not a mapping)
        notes = stored.metadata()
    assert kinds <= {"F16", "I64"}
    assert json.loads(notes["settings"])["seed"] == 7900
    assert len(json.loads(notes["packages"])) > 20
    recording = open_data_root(demo_root()).recordings[0]
    assert recording.array_path is not None
    assert recording.metadata_path is not None
    truth = read_dcase_csv(recording.metadata_path)
    rows = np.flatnonzero(truth.frame % 10 == 5)
    source = AudioInput(recording.array_path, channels=4)
    order = rows[np.argsort(truth.frame[rows], kind="stable")]
    heard = load_wideband(SHIPPED_WIDEBAND).of_frames(
        source, 0, len(source), truth.frame[order], truth.azimuth_deg[order], truth.elevation_deg[order]
    )
    # two sources in one direction are heard as one of them
    assert (heard.argmax(axis=1) == truth.category_id[order]).mean() > 0.6


def test_the_quality_network_that_ships_is_the_one_of_the_system() -> None:
    settings = load_system("Field").settings
    assert settings.quality == "shipped"
    load_quality(quality_path(settings.quality))
    with safe_open(str(SHIPPED_QUALITY["shipped"]), framework="np") as stored:
        notes = stored.metadata()
    assert "seed" in json.dumps(notes)


@pytest.mark.parametrize("name", list(SETS))
def test_the_demo_scores_what_is_said(name: str) -> None:
    root = open_data_root(demo_root())
    chosen = root.prediction_set(name)
    found = evaluate({r.name: r.label_path for r in root.recordings if r.label_path}, dict(chosen.files))
    assert found.macro.mean_ap == pytest.approx(MEAN_AP[name], abs=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SETS))
def test_predicting_again_gives_the_demos_predictions(name: str, tmp_path: Path) -> None:
    root = open_data_root(demo_root())
    recording = root.recordings[0]
    words = ["predict", "--data", str(root.path), "--split", recording.split, "--recording", recording.name]
    words += ["--checkpoint", str(SETS[name]), "--system", "Field", "--out", str(tmp_path), "--quiet"]
    assert main(words) == 0
    shipped = read_annotations(root.prediction_set(name).files[recording.name], use_cache=False)
    again = read_annotations(tmp_path / f"{recording.name}.json", use_cache=False)
    # another processor rounds otherwise: a weak detection may come or go
    assert abs(len(again) - len(shipped)) <= 0.02 * len(shipped) + 2
    strong = {}
    for key, table in (("shipped", shipped), ("again", again)):
        rows = np.flatnonzero(table.score > 0.3)
        strong[key] = {(int(table.frame[k]), int(table.category_id[k])) for k in rows}
    both = strong["shipped"] & strong["again"]
    assert len(both) >= 0.97 * len(strong["shipped"] | strong["again"]) > 0

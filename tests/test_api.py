"""The program from Python: the page's examples, and what its tables hold."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

import sai_core as sai
from sai_core.annotations import read_annotations, write_submission_json
from sai_core.dataset import demo_root, open_data_root
from sai_core.errors import InputError
from sai_core.metrics import evaluate
from tests.figures.scenes import write_root

REPOSITORY = Path(__file__).resolve().parents[1]
NAME = "fold9_room1_mix001"


@pytest.mark.slow
def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    write_root(tmp_path / "my_recordings", n_frames=6, seed=3, video_size=None)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "python.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    data, scores = names["data"], names["scores"]
    assert isinstance(data, sai.Data)
    assert isinstance(scores, sai.Scores)
    assert {"track-A", "track-B"} <= set(data.prediction_sets)
    own = names["own"]
    assert isinstance(own, sai.Data)
    assert "from a notebook" in own.prediction_sets
    assert own.problems == sai.open(tmp_path / "my_recordings").problems
    assert (tmp_path / "fig3.png").stat().st_size > 10_000
    # the command line's figures, and the predictions that ship, made again
    root = open_data_root(demo_root())
    files = root.prediction_set("track-A").files
    label = root.recording(NAME).label_path
    assert label is not None
    official = evaluate({NAME: label}, {NAME: files[NAME]})
    assert scores.macro_map == official.macro.mean_ap
    table = scores.to_pandas()
    assert table.loc["macro", "mAP"] == official.macro.mean_ap
    assert table.loc["micro", "AP50"] == official.micro.ap[1]
    assert len(table) == 13 + 2


def test_importing_the_package_loads_nothing() -> None:
    code = "import sys, sai_core; dir(sai_core); print(sorted({'numpy', 'torch', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        sai.nonsense  # noqa: B018


def test_tables_are_what_the_files_hold() -> None:
    data = sai.open()
    recording = data[f"dev-test-sim/{NAME}"]
    assert recording is data[NAME]
    assert recording.labels is not None
    table, frame = recording.labels.table, recording.labels.to_pandas()
    assert len(frame) == len(table) == len(recording.labels) > 0
    k = len(frame) // 2
    points, energy = zip(*table.polygons(k), strict=True)
    row = frame.iloc[k]
    assert row["peak_energy"] == np.concatenate(energy).max()
    assert row["n_points"] == len(np.concatenate(points))
    assert row["time_s"] == pytest.approx(0.1 * row["frame"])
    assert np.isnan(row["score"])
    found = recording.predictions["track-A"]
    assert found is recording.predictions["track-A"]
    assert found.to_pandas()["score"].between(0, 1).all()
    loud = int(frame["frame"].to_numpy()[frame["peak_energy"].to_numpy().argmax()])
    energy_map = recording.labels.energy_map(loud)
    assert energy_map.shape == (180, 360)
    assert energy_map.max() == pytest.approx(frame[frame["frame"] == loud]["peak_energy"].max(), rel=1e-6)
    strongest = frame[frame["frame"] == loud].sort_values("peak_energy").iloc[-1]
    y, x = np.unravel_index(energy_map.argmax(), energy_map.shape)
    assert 180 - (x + 0.5) == pytest.approx(strongest["azimuth_deg"], abs=1.01)
    assert 90 - (y + 0.5) == pytest.approx(strongest["elevation_deg"], abs=1.01)
    samples, rate = recording.audio(1.0, 1.5)
    assert samples.shape == (rate // 2, 4)
    assert recording.n_frames == 150 or recording.n_frames > 0
    assert set(data.to_pandas()["recording"]) == {r.name for r in data}


def test_own_data_names_and_mistakes(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_root(root, n_frames=6, seed=3, video_size=None, audio=False)
    (name,) = (r.name for r in open_data_root(root).recordings)
    label = open_data_root(root).recording(name).label_path
    assert label is not None
    other = tmp_path / "perfect"
    other.mkdir()
    table = read_annotations(label, recording=name)
    write_submission_json(replace(table, score=np.full(len(table), 0.9)), other / f"{name}.json")
    data = sai.open(root, predictions=[str(other)])
    assert "perfect" in data.prediction_sets
    assert data[name].picture(0) is None
    assert data[name].n_frames == 6
    assert sai.evaluate(data, "perfect").macro_map > 0.9
    with pytest.raises(InputError, match="there is no audio"):
        data[name].audio()
    assert name in data
    assert data[name] in data
    assert "nothing" not in data
    unchecked: Any = data
    for wrong, words in (
        (lambda: unchecked[0], "not the name of a recording"),
        (lambda: unchecked[name].audio(kind="label"), "Kind of audio 'label' is unknown"),
        (lambda: unchecked[name].audio(float("nan")), "not a time"),
        (lambda: unchecked[name].audio(1, -1), "not a time"),
        (lambda: unchecked[name].picture(6), "there are 6, from 0"),
        (lambda: unchecked[name].labels.energy_map(10**9, mode="bad"), "Map rendering 'bad' is unknown"),
    ):
        with pytest.raises(InputError, match=words):
            wrong()
    with pytest.raises(KeyError, match="no predictions 'nothing'; there are"):
        data[name].predictions["nothing"]
    with pytest.raises(InputError):
        sai.open(tmp_path / "nowhere")
    with pytest.raises(InputError):
        sai.evaluate(data, "nothing")
    with pytest.raises(InputError):
        sai.predict(data, network=tmp_path / "none.pth")
    assert name in data._repr_html_()

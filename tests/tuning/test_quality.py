"""Learning a ranking: gradients, what it finds, figures that are those of written files, the verb."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sai_core.cli import main
from sai_core.detections.raw import RawWriter, store_folder, store_key
from sai_core.errors import InputError
from sai_core.metrics import merge
from sai_core.metrics.evaluation.discovery import find_labels
from sai_core.postprocess import PipelineSettings, load_system, run_prepared
from sai_core.postprocess.quality import FEATURES, load_quality, save_quality, sigmoid
from sai_core.tuning import TuningSet, fit_calibration, fit_quality, learn_network, open_raw_set, raw_set
from sai_core.tuning.quality import _gradients, _member, _rate
from tests.tuning.stand_in import labels_of, raw_columns, write_root

N_FRAMES = 40
SETTINGS = PipelineSettings(min_score=0.05, export="region")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings with labels, and raw detections of two detectors with a made-up field."""
    place = write_root(tmp_path_factory.mktemp("quality") / "root", n_recordings=3, n_frames=N_FRAMES, per_frame=20)
    for detector in range(2):
        for number in range(3):
            name = f"fold4_room{23 + number}_mix001"
            columns = raw_columns(
                labels_of(N_FRAMES, seed=number, recording=name), N_FRAMES, seed=7 * detector + number, per_frame=20
            )
            columns["embedding"] = np.zeros((len(columns["frame"]), 0))
            columns["field"] = np.random.default_rng(number).normal(-8, 1, (N_FRAMES, 484))
            # a listener that hears what the detector does
            heard = np.column_stack([columns["class_scores"], 1 - columns["class_scores"].sum(axis=1)])
            columns["wideband"] = np.log(np.clip(heard, 1e-3, 1))
            key = store_key({"detector": str(detector), "recording": name})
            folder = store_folder(place / f"predictions/field-{detector}/raw", name, key)
            writer = RawWriter(folder, recording=name, key=key, n_frames=N_FRAMES)
            writer.write(0, columns)
            writer.finish()
    return place


def opened(root: Path, detector: int = 0, **options: object) -> TuningSet:
    found = raw_set(root / f"predictions/field-{detector}")
    assert found is not None
    return open_raw_set(found.stores, find_labels(root / "labels_dev"), **options)  # type: ignore[arg-type]


def test_gradients_are_those_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=size) for size in ((3, 4), (4,), (4, 4), (4,), (4,), ())]
    read, share = rng.normal(size=(7, 3)), rng.choice([0, 1 / 3, 2 / 3, 1], 7)

    def loss() -> float:
        a = read
        for w, b in ((weights[0], weights[1]), (weights[2], weights[3])):
            a = a @ w + b
            a = a * sigmoid(a)
        p = sigmoid(a @ weights[4] + weights[5])
        return float(-(share * np.log(p) + (1 - share) * np.log(1 - p)).mean())

    for k, gradient in enumerate(_gradients(weights, read, share)):
        for index in np.ndindex(weights[k].shape):
            kept, ends = weights[k].copy(), []
            for step in (1e-5, -1e-5):
                weights[k] = kept.copy()
                weights[k][index] += step
                ends.append(loss())
            weights[k] = kept
            assert gradient[index] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-7)


def test_it_learns_a_rank_that_no_single_feature_has() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal([5, -3, *[0] * (len(FEATURES) - 2)], 2, (6000, len(FEATURES)))
    a, b = (features[:, 0] - 5) / 2, (features[:, 1] + 3) / 2
    share = np.where(a * b > 0, rng.choice([1 / 3, 1], 6000), 0.0)
    network = learn_network(features[:5000], share[:5000], seed=0)
    found = network.of(features[5000:])
    good = share[5000:] > 0
    assert np.mean(found[good][:, None] > found[~good][None]) > 0.95
    # a soft target: about its mean (some hundred steps do not get there), not its largest value
    assert found[good].mean() == pytest.approx(2 / 3, abs=0.15)
    again = learn_network(features[:5000], share[:5000], seed=0)
    assert np.array_equal(again.weight1, network.weight1)
    assert not np.array_equal(learn_network(features[:5000], share[:5000], seed=1).weight1, network.weight1)
    assert not np.array_equal(network.weight1[0], network.weight1[1])
    with pytest.raises(InputError, match="nothing to learn"):
        learn_network(features, np.zeros(6000), seed=0)
    assert max(_rate(k / 100) for k in range(101)) == pytest.approx(3e-3, rel=0.01)
    assert _rate(1.0) < 1e-9 < _rate(0.0) < 3e-4


def test_one_step_is_adamw_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first step is the rate against the sign of each gradient, after the decay."""
    import sai_core.tuning.quality as room

    seen: list[list[np.ndarray]] = []

    def watched(weights: list[np.ndarray], read: np.ndarray, share: np.ndarray) -> list[np.ndarray]:
        gradients = _gradients(weights, read, share)
        seen.append([np.array(weights[0]), gradients[0]])
        return gradients

    monkeypatch.setattr(room, "_gradients", watched)
    monkeypatch.setattr(room, "MIN_STEPS", 3)
    rng = np.random.default_rng(0)
    _member(rng.normal(size=(100, 5)), rng.random(100), rng)
    (before, gradient), (after, _) = seen[:2]
    rate = _rate(1 / 3)
    assert after == pytest.approx(before * (1 - rate * 0.1) - rate * gradient / (np.abs(gradient) + 1e-8), abs=1e-9)


def test_figures_are_those_of_the_tables_that_are_written(root: Path, tmp_path: Path) -> None:
    tuning_set = opened(root)
    found = fit_quality([tuning_set], SETTINGS, seed=3, n_resamples=20)
    [learned], [held_out] = found.learned, found.held_out
    assert set(learned.names) | set(held_out.names) == {r.name for r in tuning_set.recordings}
    assert not set(learned.names) & set(held_out.names)
    assert learned.after.mean_ap > learned.before.mean_ap + 0.02
    path = tmp_path / "q.safetensors"
    save_quality(found.network, path, notes=found.notes())
    settings = replace(SETTINGS, quality=str(path))
    for part in (learned, held_out):
        for scored, figures, micro in (
            (SETTINGS, part.before, part.micro_before),
            (settings, part.after, part.micro_after),
        ):
            again = merge([tuning_set.recording(name).scores(scored) for name in part.names])
            assert figures.mean_ap == again.macro.mean_ap
            assert micro == again.micro.mean_ap
    # the bench's table, the plain way's and one frame of Tune are the same
    for recording in tuning_set.recordings:
        plain, bench = run_prepared(recording.prepared, settings), recording.table(settings)
        assert np.array_equal(plain.score, bench.score)
        assert np.array_equal(recording.scores(settings).detection_score, plain.score)
        frame, _ = recording.frame_table(settings, 20)
        assert len(frame)
        assert np.array_equal(frame.score, plain.score[plain.frame_slice(20)])
    # what there is already is replaced, and a second time gives the same
    once_more = fit_quality([tuning_set], settings, seed=3, n_resamples=20)
    assert once_more.to_json() == found.to_json()
    with pytest.raises(InputError, match="quality: its network replaces"):
        fit_calibration(tuning_set, settings)


def test_two_detectors_are_divided_by_recording(root: Path) -> None:
    sets = [opened(root, detector) for detector in range(2)]
    found = fit_quality(sets, SETTINGS, seed=1, from_all=True, n_resamples=5)
    assert [p.detector for p in found.learned] == [p.detector for p in found.held_out] == [0, 1]
    assert found.learned[0].names == found.learned[1].names
    assert found.held_out[0].names == found.held_out[1].names
    assert found.n_rows == sum(len(r.tracks(SETTINGS).frame) for s in sets for r in s.recordings)
    half = fit_quality(sets, SETTINGS, seed=1, n_resamples=5)
    assert half.held_out[1].after == found.held_out[1].after
    assert half.n_rows < found.n_rows
    assert not np.array_equal(half.network.weight1, found.network.weight1)


def test_one_recording_is_divided_in_time(root: Path) -> None:
    found = fit_quality([opened(root, recordings=["fold4_room23_mix001"])], SETTINGS, n_resamples=5)
    assert found.by_time
    assert found.held_out[0].names == (f"fold4_room23_mix001, frames 20 to {N_FRAMES - 1}",)
    assert np.isnan(found.held_out[0].low)
    assert "no interval of one recording" in found.text()


def test_the_verb_writes_network_and_system(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = load_system("Field")
    system, network = tmp_path / "ranked.toml", tmp_path / "q.safetensors"
    call = ["calibrate", "--labels", str(root / "labels_dev"), "--raw", str(root / "predictions/field-0")]
    call += ["--system", "Field", "--resamples", "5"]
    learn = [*call, "--quality", str(network), "--out", str(system), "--also", str(root / "predictions/field-1")]
    assert main([*learn, "--from-all", "--json", "--quiet"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["held_out"]) == 2
    assert printed["from_all"]
    stored = load_system(system).settings
    assert stored == replace(start.settings, quality=str(network.resolve()))
    assert load_quality(network).bias3.shape == (3,)
    assert main([*learn, "--seed", "1"]) == 0
    text = capsys.readouterr().out
    assert "held out, raw 2: 1 recording" in text
    assert "learned from, raw 1: 2 recordings" in text
    # the system that was made can be tuned from
    assert main(["tune", *call[1:5], "--system", str(system), "--quiet"]) == 0
    capsys.readouterr()
    kept = network.read_bytes()
    for more, words in (
        (["--quality", "q.bin"], "must end in .safetensors"),
        (["--also", "x"], "are of --quality"),
        (["--from-all"], "are of --quality"),
        (["--quality", str(tmp_path / "x.safetensors"), "--method", "isotonic"], "are of curves"),
        (["--quality", str(tmp_path / "x.safetensors"), "--also", str(tmp_path)], "holds no finished raw detections"),
        (
            ["--quality", str(tmp_path / "x.safetensors"), "--raw", str(root / "predictions/stand-in-raw")],
            "needs raw detections that a wideband listener heard",
        ),
        (["--quality", str(root / "labels_dev/x.safetensors")], "labels_dev"),
    ):
        assert main([*call, *more]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert "Traceback" not in error
    assert network.read_bytes() == kept
    network.unlink()
    assert main(["tune", *call[1:5], "--system", str(system), "--quiet"]) == 2
    assert "there is no such file" in capsys.readouterr().err

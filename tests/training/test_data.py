"""The training cache: what is decoded once, what is left out, how frames are found."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sai_core.annotations import AnnotationTable, write_label_json
from sai_core.dataset import Recording, open_data_root
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.training import data
from sai_core.training.config import DataSettings
from sai_core.training.data import (
    FrameSet,
    LabelColumns,
    choose_recordings,
    columns_of,
    label_columns,
    map_maker,
    pictures,
    prepare,
)
from sai_core.workspace import SetFacts, workspace
from tests.damage import damage, entries
from tests.training.material import columns_from, frame_set, stored_maps, table_of, write_root


def _table(regions: list[list[tuple[float, float, float]]], frames: list[int]) -> AnnotationTable:
    n = len(regions)
    points = np.array([p for r in regions for p in r], dtype=np.float64).reshape(-1, 3)
    return AnnotationTable(
        "t",
        np.array(frames),
        np.zeros(n, dtype=np.int16),
        np.arange(n),
        np.full(n, 150.0),
        np.full(n, np.nan),
        np.arange(n + 1),
        np.concatenate([[0], np.cumsum([len(r) for r in regions])]).astype(np.int64),
        points[:, :2],
        points[:, 2],
    )


def test_columns_leave_out_regions_without_area_and_count_them() -> None:
    table = _table([[(5, 6, 0.5), (6, 6, 0.7)], [], [(1, 1, 0.5)], [(360, 180, 0.4), (2, 3, 1.7)]], [0, 0, 1, 3])
    columns, dropped = columns_of(table)
    assert dropped == 2
    assert columns["starts"].tolist() == [0, 1, 1, 1, 2]
    assert columns["pixels"].tolist() == [6 * 360 + 5, 6 * 360 + 6, 3 * 360 + 2, 179 * 360 + 359]
    # the last column and row hold what stands on the canvas' edge; energies are cut to [0, 1]
    assert np.allclose(columns["energy"], [0.5, 0.7, 1.0, 0.4], atol=1e-3)


def test_a_pixel_twice_in_a_region_counts_once_with_its_larger_energy() -> None:
    columns, dropped = columns_of(_table([[(5, 6, 0.2), (5, 6, 0.9), (7, 6, 0.5)], [(5, 6, 0.5), (5, 6, 0.5)]], [0, 0]))
    assert dropped == 1
    assert np.allclose(columns["energy"], [0.9, 0.5], atol=1e-3)


def test_labels_with_two_blobs_written_twice_count_once_with_one_box_over_both(tmp_path: Path) -> None:
    one = _table([[(10, 6, 0.2), (11, 6, 0.9), (30, 6, 0.5), (31, 6, 0.5)]], [0])
    twice = one.take([0, 0])
    path = tmp_path / "a_std.json"
    write_label_json(twice, path)
    assert len(label_columns(path).category) == 1


def test_labels_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a_std.json"
    write_label_json(table_of("a", [(0, 3, 1, 120.0, 50.0, 60.0), (4, 3, 1, 130.0, 52.0, 60.0)]), path)
    first = label_columns(path)
    monkeypatch.setattr(data, "read_annotations", None)  # would fail if it were called
    again = label_columns(path)
    for name in ("starts", "category", "instance", "distance_cm", "offsets", "pixels", "energy"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    copy = tmp_path / "renamed_std.json"
    shutil.copy(path, copy)
    assert np.array_equal(label_columns(copy).pixels, first.pixels)  # by content, not by name


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _same_columns(one: LabelColumns, other: LabelColumns) -> None:
    assert one.n_dropped == other.n_dropped
    for name in ("starts", "category", "instance", "distance_cm", "offsets", "pixels", "energy"):
        np.testing.assert_array_equal(getattr(one, name)[:], getattr(other, name)[:])


def test_damaged_label_columns_are_made_again(tmp_path: Path, root: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "b_std.json"
    write_label_json(table_of("b", [(k, 3, 1, 120.0, 51.0 + k, 61.0) for k in range(40)]), path)
    good = label_columns(path)
    good = replace(good, pixels=good.pixels[:], energy=good.energy[:])
    (entry,) = entries(root, "label-columns")
    for _ in damage(entry, rng):
        _same_columns(label_columns(path), good)


def test_damaged_pictures_are_made_again(tiny_root: Path, root: Path, rng: np.random.Generator) -> None:
    recording = open_data_root(tiny_root).recordings[0]
    good = np.stack([pictures(recording, n_frames=8, frame_step=2)[k] for k in range(4)])
    (entry,) = entries(root, "pictures")
    for how in damage(entry, rng, flips=4):
        again = pictures(recording, n_frames=8, frame_step=2)
        for k in range(4):
            np.testing.assert_array_equal(again[k], good[k], err_msg=how)


def test_without_a_cache_everything_works(tiny_root: Path, tiny_weights: Path, root: Path) -> None:
    recordings = open_data_root(tiny_root).recordings[:2]
    settings = DataSettings(weights=str(tiny_weights))
    maker = map_maker(settings, device="cpu")
    expected = prepare(recordings, settings=settings, maker=maker, with_rgb=True, frame_step=3).batch([1, 4])
    shutil.rmtree(root)
    root.write_text("in the way")
    found = prepare(recordings, settings=settings, maker=maker, with_rgb=True, frame_step=3).batch([1, 4])
    for name in ("lattice", "rgb"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert [r.label for frame in found.regions for r in frame] == [r.label for frame in expected.regions for r in frame]


def test_a_full_disk_is_a_sentence(tiny_root: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bus error, and the server with it, where a map is written into a sparse file."""
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("sai_core.cache.shutil.disk_usage", lambda path: usage._replace(free=400_000))
    with pytest.raises(EnvironmentProblem, match="SAI_CACHE_DIR"):
        pictures(open_data_root(tiny_root).recordings[0], n_frames=8, frame_step=2)


def test_pictures_are_kept_and_found_again(tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = open_data_root(tiny_root).recordings[0]
    made = pictures(recording, n_frames=8, frame_step=2)
    assert len(made) == 4
    monkeypatch.setattr(data, "open_frames", None)
    again = pictures(recording, n_frames=8, frame_step=2)
    for k in range(4):
        assert made[k].shape == (180, 360, 3)
        assert np.array_equal(again[k], made[k])
    with pytest.raises(InputError, match="no video"):
        pictures(Recording("x"), n_frames=8, frame_step=2)


def test_frames_extracted_again_under_the_same_names_are_seen(tmp_path: Path) -> None:
    for level in (40, 200):
        for k in range(2):
            cv2.imwrite(str(tmp_path / f"r_{k:04d}.png"), np.full((180, 360, 3), level, dtype=np.uint8))
        made = pictures(Recording("r", frames_dir=tmp_path), n_frames=2, frame_step=1)
        assert all(np.array_equal(made[k], np.full((180, 360, 3), level)) for k in range(2))


def test_prepared_frames_are_those_of_the_files(tiny_root: Path, tiny_weights: Path) -> None:
    recordings = open_data_root(tiny_root).recordings
    settings = DataSettings(weights=str(tiny_weights))
    maker = map_maker(settings, device="cpu")
    frames = prepare(recordings[:2], settings=settings, maker=maker, with_rgb=True, context_frames=2, frame_step=3)
    assert len(frames) == 6  # 8 frames each: 0, 3 and 6
    assert [frames.locate(k) for k in range(6)] == [(0, 0), (0, 3), (0, 6), (1, 0), (1, 3), (1, 6)]
    batch = frames.batch([1, 5])
    assert batch.lattice.shape == (2, 9, 484)
    assert np.array_equal(batch.lattice[1], frames.recordings[1].maps.lattice(6, 7)[0])
    assert batch.power is not None
    whole = frames.recordings[1].maps.lattice(magnitude="power")
    # frames after the last one repeat it
    assert np.array_equal(batch.power[1], whole[[4, 5, 6, 7, 7]])
    assert batch.rgb is not None
    assert batch.rgb.shape == (2, 180, 360, 3)
    assert len(batch.regions[0]) == 1
    assert len(batch.regions[1]) == 0  # the last two frames have no label
    assert frames.present.sum() == 4
    assert frames.n_regions == 12


def test_frames_behind_the_labels_and_labels_behind_the_audio() -> None:
    base = frame_set([(2, 10.0, 90.0)] * 3, rgb=False).recordings[0]
    labels = columns_from(table_of("l", [(0, 2, 1, 100.0, 10.0, 90.0), (7, 4, 1, 100.0, 10.0, 90.0)]))
    frames = FrameSet((type(base)(base.recording, base.maps, labels),))
    assert len(frames) == 3
    assert np.flatnonzero(frames.present.any(axis=0)).tolist() == [2]
    assert [len(r) for r in frames.batch([0, 1, 2]).regions] == [1, 0, 0]


def test_instances_of_recordings_and_classes_have_numbers_of_their_own() -> None:
    one, two = (
        frame_set([(2, 10.0, 90.0)], rgb=False).recordings[0],
        frame_set([(3, 10.0, 90.0)], rgb=False).recordings[0],
    )
    frames = FrameSet((one, two, one))
    numbers = [r[0].instance for r in frames.batch([0, 1, 2]).regions]
    assert len(set(numbers)) == 3


def test_an_unknown_distance_stays_unknown() -> None:
    base = frame_set([(2, 10.0, 90.0)], rgb=False).recordings[0]
    labels = columns_from(table_of("l", [(0, 2, 1, np.nan, 10.0, 90.0)]))
    frames = FrameSet((type(base)(base.recording, base.maps, labels),))
    assert np.isnan(frames.batch([0]).regions[0][0].distance_units)


def test_splits_decide_what_is_for_training(tmp_path: Path) -> None:
    for split in ("dev-train-sim", "dev-val-sim", "other"):
        for kind, suffix in (("labels_dev", "_std.json"), ("mic_dev", ".wav")):
            (tmp_path / kind / split).mkdir(parents=True)
            for k in range(2):
                (tmp_path / kind / split / f"{split}{k}{suffix}").touch()
    (tmp_path / "mic_dev" / "other" / "lonely.wav").touch()
    train, validation, said = choose_recordings([tmp_path], DataSettings())
    assert [r.split for r in train] == ["dev-train-sim"] * 2
    assert [r.split for r in validation] == ["dev-val-sim"] * 2
    assert "1 of 7 recordings lack labels or audio; left out (1 without labels, 0 without 4-channel audio)" in said[0]
    train, validation, _ = choose_recordings([tmp_path], DataSettings(train_splits=("other", "dev-val*")))
    assert [r.split for r in train] == ["other"] * 2
    train, validation, said = choose_recordings([tmp_path], DataSettings(validation_splits=("none",)))
    assert len(train) == 1
    assert len(validation) == 1
    assert "held out" in said[-1]


def test_a_label_set_takes_the_place_of_its_own_datas_labels(tmp_path: Path) -> None:
    for root in ("own", "sim"):
        for split in ("dev-train-x", "dev-val-x"):
            for kind, suffix in (("labels_dev", "_std.json"), ("mic_dev", ".wav")):
                (tmp_path / root / kind / split).mkdir(parents=True)
                for k in range(2):
                    (tmp_path / root / kind / split / f"{split}{k}{suffix}").touch()
    roots = [tmp_path / "own", tmp_path / "sim"]
    stored = workspace().begin("labels", "corrected", SetFacts(made_by="review", data=str(roots[0])))
    for name in ("dev-train-x/dev-train-x0", "dev-val-x/dev-val-x1"):
        path = stored.folder / f"{name}_std.json"
        path.parent.mkdir()
        path.touch()
    train, validation, said = choose_recordings(roots, DataSettings(), labels="corrected")
    own = stored.folder / "dev-train-x" / "dev-train-x0_std.json"
    sim = tmp_path / "sim" / "labels_dev" / "dev-train-x"
    assert [r.label_path for r in train] == [own, sim / "dev-train-x0_std.json", sim / "dev-train-x1_std.json"]
    assert len(validation) == 3
    assert f"{roots[0]}: its labels are those of corrected." in said
    assert "2 of 4 recordings have no label in the label set corrected." in said
    assert choose_recordings(roots, DataSettings(), labels=str(stored.folder))[0] == train
    with pytest.raises(InputError, match="were not made from"):
        choose_recordings(roots[1:], DataSettings(), labels="corrected")
    with pytest.raises(InputError, match="did you mean corrected"):
        choose_recordings(roots, DataSettings(), labels="correct")


def test_too_little_data_is_told(tmp_path: Path, tiny_root: Path) -> None:
    with pytest.raises(InputError, match="no recording has labels"):
        choose_recordings([tmp_path], DataSettings())
    write_root(tmp_path / "one", recordings=1)
    with pytest.raises(InputError, match="at least one recording"):
        choose_recordings([tmp_path / "one"], DataSettings())
    train, validation, said = choose_recordings([tiny_root], DataSettings())
    assert (len(train), len(validation)) == (2, 1)
    assert len(said) == 2


def test_a_missing_file_is_told(tiny_root: Path, tiny_weights: Path) -> None:
    settings = DataSettings(weights=str(tiny_weights))
    gone = Recording("gone", label_path=tiny_root / "gone.json", mic_path=tiny_root / "gone.wav")
    with pytest.raises(InputError, match=r"gone\.wav"):
        prepare([gone], settings=settings, maker=map_maker(settings, device="cpu"), with_rgb=False)


def test_reading_frames_opens_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = frame_set([(2, 10.0, 90.0)] * 4, context_frames=1)
    frames.batch([0])

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(os, "open", refuse)
    assert len(frames.batch([1, 2, 3])) == 3


def test_power_of_the_context_is_scaled_by_the_level() -> None:
    base = frame_set([(2, 10.0, 90.0)] * 2, rgb=False).recordings[0]
    lattice = base.maps.lattice()
    loud = type(base)(base.recording, stored_maps(lattice, level=4e-3), base.labels)
    batch = FrameSet((loud,), context_frames=1).batch([0])
    assert batch.power is not None
    assert np.allclose(batch.power[0, 1], lattice[0] * 4e-3, rtol=1e-5)

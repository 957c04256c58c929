"""The binary cache: same table, stale and broken entries noticed, never an error of its own."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from sai_core.annotations import AnnotationTable, cache, read_annotations, reading, write_label_json
from sai_core.annotations._columns import COLUMN_DTYPES
from sai_core.errors import CancelledError
from tests.annotations.helpers import assert_same, region_table


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def parses(monkeypatch) -> list[str]:
    """Names of the files that were parsed, in order."""
    seen: list[str] = []
    real = reading._parse

    def counted(path, *args, **kwargs):
        seen.append(Path(path).name)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(reading, "_parse", counted)
    return seen


def _write(path: Path, seed: int = 0, n: int = 40) -> AnnotationTable:
    table = region_table(seed, n, scores=False)
    write_label_json(table, path)
    return table


def _entries(folder: Path) -> list[Path]:
    return sorted((folder / "annotations").glob("v*/content/*"))


def test_second_reading_comes_from_the_cache(tmp_path, folder, parses):
    table = _write(tmp_path / "a_std.json")
    first = read_annotations(tmp_path / "a_std.json")
    second = read_annotations(tmp_path / "a_std.json", recording="other")
    assert parses == ["a_std.json"]
    assert (first.recording, second.recording) == ("a", "other")
    for read in (first, second):
        assert_same(read, table)
        with pytest.raises(ValueError, match="read-only"):
            read.energy[0] = 1
    (entry,) = _entries(folder)
    assert not list(entry.parent.glob(".work*"))


def test_use_cache_false_leaves_no_trace(tmp_path, folder):
    _write(tmp_path / "a.json")
    read_annotations(tmp_path / "a.json", use_cache=False)
    assert not folder.exists()


def test_small_files_are_not_cached(tmp_path, folder):
    _write(tmp_path / "a.json", n=1)
    read_annotations(tmp_path / "a.json")
    assert not _entries(folder)


def test_renamed_and_copied_files_find_their_entry(tmp_path, folder, parses):
    table = _write(tmp_path / "a.json")
    read_annotations(tmp_path / "a.json")
    shutil.copy(tmp_path / "a.json", tmp_path / "copy.json")
    (tmp_path / "a.json").rename(tmp_path / "b.json")
    assert_same(read_annotations(tmp_path / "b.json"), table)
    assert_same(read_annotations(tmp_path / "copy.json"), table)
    assert parses == ["a.json"]


def test_reader_options_have_their_own_entries(tmp_path, folder, parses):
    _write(tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text().replace('"category_id":', '"category_id":1', 1)
    (tmp_path / "a.json").write_text(text)
    dropped = read_annotations(tmp_path / "a.json", unknown_classes="drop")
    read_annotations(tmp_path / "a.json", unknown_classes="drop", check_canvas=False)
    result = reading.read_annotations_with_report(tmp_path / "a.json", unknown_classes="drop")
    assert (result.n_dropped, result.kind) == (40 - len(dropped), "label")
    assert len(parses) == 2


@pytest.mark.parametrize("small_bytes", [0, cache.SMALL_BYTES])
def test_a_changed_file_of_the_same_size_and_time_is_noticed(tmp_path, folder, monkeypatch, small_bytes):
    monkeypatch.setattr(cache, "SMALL_BYTES", small_bytes)
    path = tmp_path / "a.json"
    _write(path)
    read_annotations(path)
    before = path.stat()
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"instance_id":0', b'"instance_id":7', 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert read_annotations(path).instance_id[0] == 7


def test_two_writes_within_a_tick_are_told_apart(tmp_path, folder, monkeypatch):
    # time stamps frozen: only content differs, as for two writes within one tick of a coarse clock
    monkeypatch.setattr(cache, "SMALL_BYTES", 0)
    path = tmp_path / "a.json"
    _write(path)
    now = time.time_ns()
    monkeypatch.setattr(cache, "stamp", lambda p: [os.stat(p).st_size, now - now % 10**9, 0, 0, 0])
    assert read_annotations(path).instance_id[0] == 0
    path.write_bytes(path.read_bytes().replace(b'"instance_id":0', b'"instance_id":7', 1))
    assert read_annotations(path).instance_id[0] == 7


def test_an_untouched_large_file_is_not_hashed_again(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(cache, "SMALL_BYTES", 0)
    hashed: list[Path] = []
    real = cache.content_hash

    def counted(path: Path) -> str:
        hashed.append(path)
        return real(path)

    monkeypatch.setattr(cache, "content_hash", counted)
    path = tmp_path / "a.json"
    _write(path)
    for _ in range(3):
        read_annotations(path)
    assert cache.file_content_hash(path) == real(path)
    assert len(hashed) == 1


def test_a_damaged_index_only_costs_a_hash(tmp_path, folder, monkeypatch, parses):
    monkeypatch.setattr(cache, "SMALL_BYTES", 0)
    path = tmp_path / "a.json"
    table = _write(path)
    read_annotations(path)
    (record,) = (folder / "annotations").glob("v*/index/*.json")
    for content in (b"", b"{}", b"\xff\0", b'{"path":1}', record.read_bytes()[:-3]):
        record.write_bytes(content)
        assert_same(read_annotations(path), table)
    assert len(parses) == 1


def _break(entry: Path, how: str) -> None:
    points = entry / "points_xy.npy"
    data = bytearray(points.read_bytes())
    if how == "truncate":
        points.write_bytes(data[:-8])
    elif how == "empty":
        points.write_bytes(b"")
    elif how == "missing":
        (entry / "frame.npy").unlink()
    elif how == "no entry":
        (entry / "entry.json").unlink()
    elif how == "bad entry":
        (entry / "entry.json").write_text("{")
    elif how == "foreign":
        np.save(points, np.zeros(3, dtype=np.float32))
    elif how == "pickle":
        np.save(points, np.array([object()]), allow_pickle=True)
    elif how == "header":
        points.write_bytes(data[:20] + b"(((((" + data[25:])
    elif how == "small column":
        column = bytearray((entry / "score.npy").read_bytes())
        column[-1] ^= 1
        (entry / "score.npy").write_bytes(column)
    elif how == "zeroed points":
        points.write_bytes(data[:128] + bytes(len(data) - 128))
    elif how == "a file in its place":
        shutil.rmtree(entry)
        entry.write_text("x")
    elif how == "a link in its place":
        shutil.rmtree(entry)
        entry.symlink_to(entry.parent / "nowhere")


@pytest.mark.parametrize(
    "how",
    [
        "truncate",
        "empty",
        "missing",
        "no entry",
        "bad entry",
        "foreign",
        "pickle",
        "header",
        "small column",
        "zeroed points",
        "a file in its place",
        "a link in its place",
    ],
)
def test_a_broken_entry_is_made_again(tmp_path, folder, parses, how):
    table = _write(tmp_path / "a.json", n=200)
    read_annotations(tmp_path / "a.json")
    (entry,) = _entries(folder)
    _break(entry, how)
    assert_same(read_annotations(tmp_path / "a.json"), table)
    assert_same(read_annotations(tmp_path / "a.json"), table)
    assert len(parses) == 2
    assert _entries(folder) == [entry]


def test_a_cache_folder_that_is_a_file_only_costs_speed(tmp_path, folder):
    table = _write(tmp_path / "a.json")
    folder.write_text("in the way")
    for _ in range(2):
        assert_same(read_annotations(tmp_path / "a.json"), table)


@pytest.mark.parametrize("where", ["append", "finish", "reordered"])
def test_a_full_disk_only_costs_speed(tmp_path, folder, monkeypatch, where):
    table = region_table(0, 40, scores=False)
    write_label_json(table, tmp_path / "a.json")
    if where == "reordered":
        text = (tmp_path / "a.json").read_text()
        (tmp_path / "a.json").write_text(text.replace('"metadata_frame_index":0', '"metadata_frame_index":9', 1))
        table = read_annotations(tmp_path / "a.json", use_cache=False)

    def full(self, *args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"sai_core.annotations._columns.FolderSink.{where}", full)
    assert_same(read_annotations(tmp_path / "a.json"), table)
    assert not list((folder / "annotations").glob("v*/content/*"))
    assert not list((folder / "annotations").glob("v*/content/.work*"))


def test_a_nearly_full_disk_is_left_alone(tmp_path, folder, monkeypatch):
    table = _write(tmp_path / "a.json")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert_same(read_annotations(tmp_path / "a.json"), table)
    assert not _entries(folder)


def test_cancelling_leaves_nothing_behind(tmp_path, folder):
    _write(tmp_path / "a.json")

    def stop(fraction: float, message: str) -> None:
        raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        read_annotations(tmp_path / "a.json", progress=stop)
    assert not list((folder / "annotations").glob("v*/content/.work*"))


def test_unsorted_files_are_cached_sorted(tmp_path, folder, parses, monkeypatch):
    monkeypatch.setattr("sai_core.annotations._columns._REORDER_POINTS", 500)
    table = _write(tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text()
    head, tail = text.index("["), text.rindex("]")
    records = text[head + 1 : tail].split(',{"metadata')
    shuffled = np.random.default_rng(0).permutation(len(records)).tolist()
    records = [record if k == 0 else '{"metadata' + record for k, record in enumerate(records)]
    (tmp_path / "b.json").write_text(text[: head + 1] + ",".join(records[k] for k in shuffled) + text[tail:])
    order = np.argsort(table.frame[shuffled], kind="stable")
    expected = table.take(np.array(shuffled)[order])
    for use_cache in (True, True, False):
        assert_same(read_annotations(tmp_path / "b.json", use_cache=use_cache), expected)
    assert parses == ["b.json", "b.json"]
    assert {p.name for p in _entries(folder)[0].iterdir()} == {"entry.json", *(f"{n}.npy" for n in COLUMN_DTYPES)}


def test_least_recently_used_entries_are_pruned(tmp_path, folder, parses, monkeypatch):
    for k in range(4):
        _write(tmp_path / f"{k}.json", seed=k)
    tables = []
    for k in range(3):
        tables.append(read_annotations(tmp_path / f"{k}.json"))
        (newest,) = set(_entries(folder)) - {p for p in _entries(folder) if p.stat().st_mtime < 2 * 10**8 + k}
        os.utime(newest, (10**8 + k, 10**8 + k))
    read_annotations(tmp_path / "0.json")  # used again: now the newest
    size = sum(p.stat().st_size for p in _entries(folder)[0].iterdir())
    monkeypatch.setenv("SAI_CACHE_MAX_GB", str(2.5 * size / 1e9))
    read_annotations(tmp_path / "3.json")
    parses.clear()
    read_annotations(tmp_path / "0.json")
    read_annotations(tmp_path / "3.json")
    assert parses == []
    assert len(_entries(folder)) == 2
    # tables that were open stay readable after their files are gone
    for k, table in enumerate(tables):
        assert_same(table, region_table(k, 40, scores=False))


def test_abandoned_work_folders_are_removed(tmp_path, folder):
    _write(tmp_path / "a.json")
    base = folder / "annotations" / f"v{cache.FORMAT}" / "content"
    for name, age in ((".work-old", 10 * 3600), (".work-young", 60)):
        (base / name).mkdir(parents=True)
        os.utime(base / name, (time.time() - age, time.time() - age))
    read_annotations(tmp_path / "a.json")
    assert sorted(p.name for p in base.iterdir() if p.name.startswith(".")) == [".work-young"]


@pytest.mark.parametrize("value", ["", "lots", "-1", "nan", "1e99"])
def test_a_senseless_limit_is_the_default(monkeypatch, value):
    monkeypatch.setenv("SAI_CACHE_MAX_GB", value)
    assert cache.max_bytes() == 16 * 10**9


def test_clear(tmp_path, folder, parses):
    _write(tmp_path / "a.json")
    read_annotations(tmp_path / "a.json")
    assert cache.clear() > 0
    assert cache.clear() == 0
    read_annotations(tmp_path / "a.json")
    assert len(parses) == 2


def _read_in_process(path: str, folder: str, barrier, results) -> None:
    os.environ["SAI_CACHE_DIR"] = folder
    barrier.wait()
    table = read_annotations(path)
    results.put((len(table), float(table.energy.sum())))


def test_processes_may_fill_the_same_entry_at_once(tmp_path, folder):
    table = _write(tmp_path / "a.json", n=200)
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=_read_in_process, args=(str(tmp_path / "a.json"), str(folder), barrier, results))
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    answers = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(60)
    assert answers == {(len(table), float(table.energy.sum()))}
    assert len(_entries(folder)) == 1
    assert not list((folder / "annotations").glob("v*/content/.work*"))
    assert_same(read_annotations(tmp_path / "a.json"), table)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, folder, monkeypatch):
    path = tmp_path / "a.json"
    _write(path)
    real = reading._parse

    def meddle(*args, **kwargs):
        result = real(*args, **kwargs)
        path.write_bytes(path.read_bytes() + b" ")
        return result

    monkeypatch.setattr(reading, "_parse", meddle)
    with pytest.raises(reading.InputError, match="was changed while it was being read"):
        read_annotations(path)
    assert not _entries(folder)


def test_bytes_that_were_not_hashed_are_not_stored(tmp_path, folder, monkeypatch):
    # the file is replaced between hashing and parsing, and no time stamp shows it
    path = tmp_path / "a.json"
    _write(path)
    other = path.read_bytes().replace(b'"instance_id":0', b'"instance_id":7', 1)
    stamp = cache.stamp(path)
    monkeypatch.setattr(cache, "stamp", lambda p: stamp)
    real = cache.find

    def replaced(*args):
        found = real(*args)
        path.write_bytes(other)
        return found

    monkeypatch.setattr(cache, "find", replaced)
    with pytest.raises(reading.InputError, match="was changed while it was being read"):
        read_annotations(path)
    assert not _entries(folder)

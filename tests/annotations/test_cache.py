"""The binary cache: same table, stale and broken entries noticed, never an error of its own."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from sai_core import cache as sai_cache
from sai_core.annotations import AnnotationTable, cache, read_annotations, reading, write_label_json
from sai_core.errors import CancelledError
from sai_core.files import file_signature
from tests.annotations.helpers import assert_same, region_table
from tests.damage import damage, entries


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
    return entries(folder, "annotations")


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


def test_a_changed_file_of_the_same_size_and_time_is_noticed(tmp_path, folder):
    path = tmp_path / "a.json"
    _write(path)
    read_annotations(path)
    before = path.stat()
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"instance_id":0', b'"instance_id":7', 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert read_annotations(path).instance_id[0] == 7


def test_a_damaged_entry_is_made_again(tmp_path, folder, parses, rng):
    table = _write(tmp_path / "a.json", n=200)
    read_annotations(tmp_path / "a.json")
    (entry,) = _entries(folder)
    for n, how in enumerate(damage(entry, rng, flips=20)):
        for _ in range(2):
            assert_same(read_annotations(tmp_path / "a.json"), table)
        assert len(parses) == n + 2, how
        assert _entries(folder) == [entry]


def test_a_cache_folder_that_is_a_file_only_costs_speed(tmp_path, folder):
    table = _write(tmp_path / "a.json")
    folder.write_text("in the way")
    for _ in range(2):
        assert_same(read_annotations(tmp_path / "a.json"), table)


def test_a_full_disk_only_costs_speed(tmp_path, folder, monkeypatch):
    table = _write(tmp_path / "a.json")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sai_core.cache.write_entry", full)
    assert_same(read_annotations(tmp_path / "a.json"), table)
    assert not _entries(folder)
    assert not list((folder / "entries").rglob(".work*"))


def test_cancelling_leaves_nothing_behind(tmp_path, folder):
    _write(tmp_path / "a.json")

    def stop(fraction: float, message: str) -> None:
        raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        read_annotations(tmp_path / "a.json", progress=stop)
    assert not list((folder / "annotations").rglob(".work*"))


def test_unsorted_files_are_cached_sorted(tmp_path, folder, parses):
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
    assert not list((folder / "entries").rglob(".work*"))


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
    assert not list((folder / "annotations").rglob(".work*"))
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


@pytest.mark.parametrize("known", [True, False])
def test_bytes_are_only_stored_under_their_own_hash(known, tmp_path, folder, monkeypatch):
    # the file is replaced between looking into the cache and parsing, and no time stamp shows it
    path = tmp_path / "a.json"
    table = _write(path)
    if known:
        read_annotations(path)
        shutil.rmtree(folder / "entries" / "annotations")
    first = path.read_bytes()
    other = first.replace(b'"instance_id":0', b'"instance_id":7', 1)
    signature = file_signature(path)
    real = cache.find

    def replaced(*args):
        found = real(*args)
        path.write_bytes(other)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(reading, "file_signature", lambda p: signature)
        patch.setattr(cache, "find", replaced)
        if known:
            with pytest.raises(reading.InputError, match="was changed while it was being read"):
                read_annotations(path)
            assert not _entries(folder)
        else:
            assert 7 in read_annotations(path).instance_id
    assert 7 in read_annotations(path).instance_id
    path.write_bytes(first)
    assert_same(read_annotations(path), table)


def test_a_new_file_is_read_once_for_its_hash_and_its_table(tmp_path, folder, monkeypatch, parses):
    hashed = []
    real = sai_cache.content_hash
    monkeypatch.setattr(sai_cache, "_SMALL_BYTES", 0)

    def counted(path):
        hashed.append(path)
        return real(path)

    monkeypatch.setattr(sai_cache, "content_hash", counted)
    _write(tmp_path / "a.json")
    os.utime(tmp_path / "a.json", ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
    time.sleep(0.05)  # older than the granularity of time stamps
    read_annotations(tmp_path / "a.json")
    sai_cache._contents.clear()  # another process
    read_annotations(tmp_path / "a.json")
    assert hashed == []
    shutil.copy(tmp_path / "a.json", tmp_path / "b.json")  # looks like one that was read: worth hashing
    read_annotations(tmp_path / "b.json")
    assert hashed == [tmp_path / "b.json"]
    assert parses == ["a.json"]

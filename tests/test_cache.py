"""The cache service: entries are complete or absent, nothing damaged is believed, the budget holds."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sai_core import cache, cli
from sai_core.cache import Cache, content_of, key_of
from sai_core.entry_file import DamagedEntry, Rows, read_entry, write_entry
from sai_core.errors import CancelledError, EnvironmentProblem
from sai_core.files import content_hash
from tests.conftest import REPOSITORY


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_told", set())
    cache._notices.clear()
    return tmp_path / "cache"


def _arrays(seed: int = 0, rows: int = 6) -> dict[str, np.ndarray | Rows]:
    rng = np.random.default_rng(seed)
    wide = rng.random((rows, 5, 4)).astype(np.float32)
    blocks = (wide[k : k + 4] for k in range(0, rows, 4))
    return {"a": rng.random(30), "empty": np.zeros((0, 3), np.int16), "wide": Rows(np.float32, wide.shape, blocks)}


def _assert_equal(entry: cache.Entry | None, seed: int = 0) -> None:
    assert entry is not None
    expected = _arrays(seed)
    np.testing.assert_array_equal(entry.arrays["a"], expected["a"])
    assert entry.arrays["empty"].shape == (0, 3)
    wide = expected["wide"]
    assert isinstance(wide, Rows)
    whole = np.concatenate(list(wide.blocks))
    np.testing.assert_array_equal(entry.rows["wide"][:], whole)


# ---------------------------------------------------------------------------------------------------------------------
# the file


@settings(max_examples=60, deadline=None)
@given(
    arrays=st.dictionaries(
        st.text(max_size=8),
        hnp.arrays(
            st.sampled_from(["<f8", "<f4", "<f2", "<i8", "<u2", "|b1", "<c8", "<U3"]),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        ),
        max_size=3,
    ),
    n_rows=st.integers(0, 9),
    group=st.integers(1, 5),
    cut=st.integers(0, 9),
    facts=st.dictionaries(st.text(max_size=5), st.integers(-(2**50), 2**50) | st.text(max_size=5) | st.none()),
)
def test_what_is_written_comes_back(tmp_path_factory, arrays, n_rows, group, cut, facts):
    path = tmp_path_factory.mktemp("e") / "x"
    wide = np.arange(n_rows * 3, dtype=np.uint8).reshape(n_rows, 3)
    with open(path, "wb") as stream:
        write_entry(
            stream, "me", {**arrays, "\0rows": Rows(np.uint8, wide.shape, [wide[:cut], wide[cut:]], group)}, facts
        )
    entry = read_entry(path, "me")
    assert entry.facts == facts
    assert entry.arrays.keys() == arrays.keys()
    for name, values in arrays.items():
        read = entry.arrays[name]
        assert (read.dtype, read.shape) == (values.dtype, values.shape)
        assert read.tobytes() == values.tobytes()
        assert not read.flags.writeable
    stored = entry.rows["\0rows"]
    np.testing.assert_array_equal(stored[:], wide)
    for k in range(n_rows):
        np.testing.assert_array_equal(stored[k], wide[k])
        np.testing.assert_array_equal(stored[k - n_rows], wide[k])
        np.testing.assert_array_equal(stored[cut:k], wide[cut:k])
    with pytest.raises(IndexError):
        stored[n_rows]


def test_every_single_bit_counts(tmp_path):
    """Each bit of a small file is flipped, one at a time: none goes unnoticed."""
    path = tmp_path / "x"
    with open(path, "wb") as stream:
        write_entry(stream, "me", {"a": np.arange(5.0), "r": Rows(np.int16, (3, 2), [np.ones((3, 2))])}, {"k": 1.5})
    good = path.read_bytes()
    read_entry(path, "me")
    for place in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[place] ^= 1 << bit
            path.write_bytes(bad)
            with pytest.raises(DamagedEntry):
                read_entry(path, "me")
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(DamagedEntry):
            read_entry(path, "me")
    path.write_bytes(good + b"\0")
    with pytest.raises(DamagedEntry):
        read_entry(path, "me")
    path.write_bytes(good)
    with pytest.raises(DamagedEntry, match="something else"):
        read_entry(path, "you")


def test_large_rows_are_verified_when_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("sai_core.entry_file._VERIFY_AT_ONCE", 0)
    path = tmp_path / "x"
    values = np.arange(12.0).reshape(4, 3)
    with open(path, "wb") as stream:
        write_entry(stream, "me", {"r": Rows(np.float64, values.shape, [values])})
    rows = read_entry(path, "me").rows["r"]
    data = bytearray(path.read_bytes())
    data[8 + 2 * 24 + 5] ^= 4
    with open(path, "r+b") as stream:
        stream.write(data)
    np.testing.assert_array_equal(rows[:2], values[:2])
    np.testing.assert_array_equal(rows[3], values[3])
    for index in (2, slice(None), slice(1, 3)):
        with pytest.raises(DamagedEntry, match="row 2 "):
            rows[index]


def test_rows_that_are_cut_while_open_are_a_sentence(tmp_path):
    """A memory map would end the process with a bus error."""
    path = tmp_path / "x"
    values = np.arange(300_000.0).reshape(100, 3000)
    with open(path, "wb") as stream:
        write_entry(stream, "me", {"r": Rows(np.float64, values.shape, [values])})
    rows = read_entry(path, "me").rows["r"]
    os.truncate(path, 5000)
    with pytest.raises(DamagedEntry, match="was cut"):
        rows[:]
    # deleted or replaced is another matter: the open file stays what it was
    with open(path, "wb") as stream:
        write_entry(stream, "me", {"r": Rows(np.float64, values.shape, [values])})
    rows = read_entry(path, "me").rows["r"]
    other = tmp_path / "other"
    other.write_bytes(b"x")
    os.replace(other, path)
    np.testing.assert_array_equal(rows[:], values)


def test_mistakes_of_the_program_are_not_written(tmp_path):
    with open(tmp_path / "x", "wb") as stream:
        with pytest.raises(ValueError, match="2 rows where there must be 3"):
            write_entry(stream, "me", {"r": Rows(np.uint8, (3, 1), [np.zeros((2, 1))])})
        with pytest.raises(ValueError, match="a block of shape"):
            write_entry(stream, "me", {"r": Rows(np.uint8, (3, 1), [np.zeros((3, 2))])})
        with pytest.raises(TypeError, match="object"):
            write_entry(stream, "me", {"r": np.array([object()])})


# ---------------------------------------------------------------------------------------------------------------------
# entries


def test_an_entry_is_found_again_and_versions_do_not_mix(root):
    things = Cache("things", 1)
    assert things.get("k") is None
    assert things.put("k", _arrays(), {"x": 1})
    _assert_equal(things.get("k"))
    assert Cache("things", 2).get("k") is None
    assert Cache("others", 1).get("k") is None
    things.put("k", _arrays(1))
    _assert_equal(things.get("k"), 1)
    things.remove("k")
    assert things.get("k") is None
    assert not list(root.rglob(".work*"))
    assert cache.notices() == ()


def _damage(path: Path, how: str, other: Path) -> None:
    data = path.read_bytes()
    if how == "zero bytes":
        path.write_bytes(b"")
    elif how == "zeros":
        path.write_bytes(bytes(len(data)))
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "foreign":
        path.write_bytes(other.read_bytes())
    elif how == "text":
        path.write_text("hello")
    elif how == "a folder":
        path.unlink()
        (path / "x").mkdir(parents=True)
    elif how == "a link to itself":
        path.unlink()
        path.symlink_to(path)
    elif how == "a pipe":
        path.unlink()
        os.mkfifo(path)


@pytest.mark.parametrize(
    "how", ["zero bytes", "zeros", "cut", "foreign", "text", "a folder", "a link to itself", "a pipe"]
)
def test_what_is_no_entry_is_thrown_away_and_told(root, how, caplog):
    things = Cache("things", 1)
    things.put("k", _arrays())
    things.put("other", _arrays(1))
    _damage(things.path("k"), how, things.path("other"))
    assert things.get("k") is None
    assert not os.path.lexists(things.path("k"))
    (notice,) = cache.notices()
    assert "made again" in notice
    assert notice in caplog.text
    assert things.put("k", _arrays())
    _assert_equal(things.get("k"))


def test_a_folder_where_an_entry_is_to_be_does_not_matter(root):
    things = Cache("things", 1)
    (things.path("k") / "x").mkdir(parents=True)
    assert things.put("k", _arrays())
    _assert_equal(things.get("k"))


# ---------------------------------------------------------------------------------------------------------------------
# places that cannot be used


def test_a_place_under_a_file_costs_time_only_and_is_told_once(root):
    root.write_text("in the way")
    things = Cache("things", 1)
    for _ in range(3):
        assert things.get("k") is None
        assert not things.put("k", _arrays(), required=True)
        with things.lock("k"):
            pass
    (notice,) = cache.notices()
    assert str(root) in notice
    assert "SAI_CACHE_DIR" in notice
    assert "only slower" in notice


_READ_ONLY = """
import numpy as np
from sai_core import cache
things = cache.Cache("things", 1)
print(things.get("old").arrays["a"].sum(), things.put("k", {"a": np.ones(3)}, required=True))
with things.lock("k"):
    pass
print(*cache.notices())
"""


def _without_capabilities() -> list[str] | None:
    if os.geteuid() != 0:
        return []
    tool = shutil.which("setpriv")
    return None if tool is None else [tool, "--bounding-set=-all", "--inh-caps=-all"]


@pytest.mark.skipif(_without_capabilities() is None, reason="root without setpriv may write everywhere")
def test_a_read_only_cache_is_read(root):
    Cache("things", 1).put("old", {"a": np.ones(4)})
    folders = [p for p in (root, *root.rglob("*")) if p.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        answer = subprocess.run(
            [*(_without_capabilities() or []), sys.executable, "-c", _READ_ONLY],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    finally:
        for folder in folders:
            folder.chmod(0o755)
    first, notice = answer.stdout.splitlines()
    assert first == "4.0 False"
    assert "cannot be used (Permission denied)" in notice


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_a_sentence(root, monkeypatch, number):
    def full(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache, "write_entry", full)
    things = Cache("things", 1)
    for _ in range(2):
        assert not things.put("k", _arrays())
    (notice,) = cache.notices()
    assert "full" in notice
    with pytest.raises(EnvironmentProblem, match="SAI_CACHE_DIR"):
        things.put("k", _arrays(), required=True)
    assert things.get("k") is None
    assert not list(root.rglob(".work*"))


def test_a_small_disk_is_full_before_anything_is_written(root, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(EnvironmentProblem, match="is full"):
        Cache("things", 1).put("k", {"a": np.zeros(10_000)}, required=True)
    assert not list(root.rglob("*.entry"))


# ---------------------------------------------------------------------------------------------------------------------
# budget


def _total(root: Path) -> int:
    return sum(p.stat().st_size for p in root.rglob("*.entry"))


def test_filled_past_its_budget_it_stays_under_it(root, monkeypatch):
    monkeypatch.setenv("SAI_CACHE_MAX_GB", "0.001")
    names = [Cache(f"things{k}", 1) for k in range(3)]
    for k in range(40):
        assert names[k % 3].put(str(k), {"a": np.full(10_000, k)})
        assert _total(root) <= 1e6
    assert _total(root) > 6e5
    assert names[0].get("0") is None
    assert names[0].get("39") is not None


def test_what_was_used_last_stays(root, monkeypatch):
    monkeypatch.setenv("SAI_CACHE_MAX_GB", "0.001")
    things = Cache("things", 1)
    for k in range(10):
        things.put(str(k), {"a": np.zeros(10_000)})
        os.utime(things.path(str(k)), (1000 + k, 1000 + k))
    assert things.get("0") is not None  # used again
    for k in range(10, 14):
        things.put(str(k), {"a": np.zeros(10_000)})
    assert things.get("0") is not None
    assert things.get("1") is None


def test_an_entry_larger_than_the_budget_is_not_kept_and_evicts_nothing(root, monkeypatch):
    things = Cache("things", 1)
    things.put("small", {"a": np.zeros(10)})
    monkeypatch.setenv("SAI_CACHE_MAX_GB", "0.001")
    assert things.put("large", {"a": np.zeros(1_000_000)}, required=True) is False
    assert things.get("small") is not None
    (notice,) = cache.notices()
    assert "SAI_CACHE_MAX_GB" in notice


def test_rows_that_are_read_are_not_evicted(root, monkeypatch):
    pytest.importorskip("fcntl")
    monkeypatch.setenv("SAI_CACHE_MAX_GB", "0.001")
    things = Cache("things", 1)
    values = np.ones((50, 1000))
    things.put("held", {"r": Rows(np.float64, values.shape, [values])})
    held = things.get("held")
    os.utime(things.path("held"), (0, 0))
    assert held is not None
    for k in range(10):
        things.put(str(k), {"a": np.zeros(20_000)})
    assert things.path("held").exists()
    np.testing.assert_array_equal(held.rows["r"][:], values)
    del held
    for k in range(10):
        things.put(str(k), {"a": np.zeros(20_000)})
    assert not things.path("held").exists()


@pytest.mark.parametrize("value", ["", "lots", "-1", "nan", "1e99"])
def test_a_senseless_budget_is_the_default(root, monkeypatch, value):
    monkeypatch.setenv("SAI_CACHE_MAX_GB", value)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage._replace(free=10**12))
    assert cache.budget_bytes(10**10) == (10**12 + 10**10) // 2


@pytest.mark.parametrize("text", ["", "x", "-5", "1e30", "[]"])
def test_a_damaged_count_is_counted_anew(root, monkeypatch, text):
    monkeypatch.setenv("SAI_CACHE_MAX_GB", "0.001")
    things = Cache("things", 1)
    for k in range(20):
        things.put(str(k), {"a": np.zeros(10_000)})
        (root / "entries" / "usage.json").write_text(text)
        assert _total(root) <= 1e6
    assert things.get("19") is not None


def test_what_earlier_versions_left_makes_room(root):
    former = [
        root / "annotations" / "v1" / "content" / "x" / "energy.npy",
        root / "features" / ("a" * 32) / "maps.npy",
        root / "features" / ("b" * 32 + ".partial") / "0.npz",
        root / "training" / "rgb" / "k" / "rgb.npy",
        root / "scores" / "k.npz",
    ]
    others = [root / "features" / "notes.txt", root / "scores" / "mine.csv", root / "predictions" / "p" / "x.json"]
    for path in former + others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    assert {one.name: one.n_bytes >= 25 for one in cache.usage()} == {"former": True}
    Cache("things", 1).put("k", _arrays())
    assert not any(path.exists() for path in former)
    assert all(path.exists() for path in others)


def test_abandoned_work_is_removed(root, monkeypatch):
    things = Cache("things", 1)
    things.put("k", _arrays())
    folder = things.path("k").parent
    for name, age in ((".work-old", 10 * 3600), (".work-young", 60)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age, time.time() - age))
    (root / "entries" / "usage.json").unlink()
    things.put("l", _arrays())
    assert sorted(p.name for p in folder.glob(".work*")) == [".work-young"]


# ---------------------------------------------------------------------------------------------------------------------
# several processes


def _fill(folder: str, seed: int, barrier: multiprocessing.synchronize.Barrier) -> None:
    os.environ["SAI_CACHE_DIR"], os.environ["SAI_CACHE_MAX_GB"] = folder, "0.001"
    barrier.wait()
    for k in range(30):
        Cache("things", 1).put(f"{seed}-{k}", {"a": np.zeros(10_000)})


def test_the_budget_holds_for_all_processes_together(root):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    processes = [context.Process(target=_fill, args=(str(root), seed, barrier)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert 5e5 < _total(root) <= 1e6
    assert not list(root.rglob(".work*"))


def _make(folder: str, barrier: multiprocessing.synchronize.Barrier, results: multiprocessing.Queue) -> None:
    os.environ["SAI_CACHE_DIR"] = folder
    things = Cache("things", 1)
    barrier.wait()
    made = False
    with things.lock("k"):
        entry = things.get("k")
        if entry is None:
            made = True
            time.sleep(0.2)
            things.put("k", {"a": np.arange(1000)})
            entry = things.get("k")
    assert entry is not None
    results.put((made, int(entry.arrays["a"].sum())))


def test_two_processes_at_once_make_one_entry(root):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_make, args=(str(root), barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    answers = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(60)
    assert sorted(answers) == [(False, 499500)] * 3 + [(True, 499500)]


def test_whoever_waits_is_told_and_may_give_up(root):
    things = Cache("things", 1)

    def stop(fraction: float, message: str) -> None:
        assert message == "a.wav: waiting for another process that computes it"
        raise CancelledError("stopped")

    with things.lock("k"), pytest.raises(CancelledError), things.lock("k", stop, "a.wav"):
        pass
    with things.lock("k", stop, "a.wav"):
        pass  # free again


# ---------------------------------------------------------------------------------------------------------------------
# files by content


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were hashed, in order."""
    seen: list[str] = []

    def counted(path: Path) -> str:
        seen.append(Path(path).name)
        return content_hash(path)

    monkeypatch.setattr(cache, "content_hash", counted)
    cache._contents.clear()
    return seen


@pytest.mark.parametrize("small_bytes", [0, cache._SMALL_BYTES])
def test_an_untouched_file_is_hashed_once(root, tmp_path, monkeypatch, hashed, small_bytes):
    monkeypatch.setattr(cache, "_SMALL_BYTES", small_bytes)
    path = tmp_path / "a"
    path.write_bytes(b"one")
    time.sleep(0.05)
    assert content_of(path) == content_of(path) == content_hash(path)
    cache._contents.clear()  # another process
    content_of(path)
    assert len(hashed) == (1 if small_bytes == 0 else 2)


@pytest.mark.parametrize("small_bytes", [0, cache._SMALL_BYTES])
def test_a_changed_file_of_the_same_size_and_time_is_noticed(root, tmp_path, monkeypatch, small_bytes):
    monkeypatch.setattr(cache, "_SMALL_BYTES", small_bytes)
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first, before = content_of(path), path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert content_of(path) == content_hash(path) != first


def test_two_writes_within_a_tick_are_told_apart(root, tmp_path, monkeypatch):
    # time stamps frozen: only content differs, as for two writes within one tick of a coarse clock
    path = tmp_path / "a"
    now = time.time_ns()
    monkeypatch.setattr(cache, "file_signature", lambda p: (str(p), 3, now - now % 10**9, 0, 0, 0))
    path.write_bytes(b"one")
    first = content_of(path)
    path.write_bytes(b"two")
    assert content_of(path) != first


def test_a_damaged_index_only_costs_a_hash(root, tmp_path, monkeypatch, hashed):
    monkeypatch.setattr(cache, "_SMALL_BYTES", 0)
    path = tmp_path / "a"
    path.write_bytes(b"one")
    time.sleep(0.05)
    content_of(path)
    (record,) = root.rglob("*.entry")
    data = bytearray(record.read_bytes())
    data[40] ^= 1
    record.write_bytes(data)
    cache._contents.clear()
    assert content_of(path) == content_hash(path)
    assert len(hashed) == 2


def test_keys_tell_apart_what_differs():
    keys = {key_of(*parts) for parts in [(), ("a",), ("a", "b"), ("ab",), (1,), (1.0,), ("1",), (None,), ("\udcff",)]}
    assert len(keys) == 9


# ---------------------------------------------------------------------------------------------------------------------
# the verb


def test_the_verb_lists_and_clears(root, capsys):
    assert cli.main(["cache", "list"]) == 0
    assert "0.000 of" in capsys.readouterr().out
    for name, n in (("features", 3), ("scores", 2)):
        for k in range(n):
            Cache(name, 1).put(str(k), {"a": np.zeros(1000)})
    assert cli.main(["cache", "list", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {one["name"]: one["n_entries"] for one in report["namespaces"]} == {"features": 3, "scores": 2}
    assert report["path"] == str(root)
    assert cli.main(["cache", "clear", "features"]) == 0
    assert "3 entries removed" in capsys.readouterr().out
    assert cli.main(["cache", "list"]) == 0
    text = capsys.readouterr().out
    assert "scores" in text
    assert "features" not in text
    assert cli.main(["cache", "clear", "features"]) == 2
    assert "holds nothing called features; there are scores" in capsys.readouterr().err
    assert cli.main(["cache", "clear"]) == 0
    assert not list(root.rglob("*.entry"))
    with pytest.raises(SystemExit, match="2"):
        cli.main(["cache", "remove"])

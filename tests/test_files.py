"""Paths stay inside their root; a write is whole or not there at all."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import atomic_write, cache_root, confine, content_hash, file_signature, file_signatures, user_path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file.txt").write_text("inside")
    (tmp_path / "root2").mkdir()
    (tmp_path / "secret.txt").write_text("outside")
    return folder


def test_paths_inside(root: Path) -> None:
    assert confine(root, "sub/file.txt") == root / "sub" / "file.txt"
    assert confine(root, Path("sub") / ".." / "sub") == root / "sub"
    assert confine(root, "not/there/yet") == root / "not" / "there" / "yet"
    assert confine(root, "") == root
    assert confine(root, ".") == root
    assert confine(root, root / "sub") == root / "sub"  # absolute, but inside


@pytest.mark.parametrize(
    "path", ["..", "../secret.txt", "sub/../../secret.txt", "/etc/passwd", "../root2", "sub/../..", "//etc", "/"]
)
def test_paths_that_leave_the_root(root: Path, path: str) -> None:
    with pytest.raises(InputError, match="leaves the data root"):
        confine(root, path)


def test_links(root: Path) -> None:
    (root / "in").symlink_to(root / "sub")
    (root / "out").symlink_to(root.parent / "secret.txt")
    (root / "away").symlink_to("../root2")
    (root / "chain").symlink_to(root / "away")
    assert confine(root, "in/file.txt") == root / "sub" / "file.txt"
    for path in ("out", "away", "away/x", "chain/deeper/x"):
        with pytest.raises(InputError, match="leaves the data root"):
            confine(root, path)
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(InputError):
        confine(root, "loop/x")


def test_a_root_that_is_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert confine(tmp_path / "link", "sub") == root / "sub"


@pytest.mark.parametrize("path", ["a\0b", "\0", "../\0"])
def test_nul_bytes(root: Path, path: str) -> None:
    with pytest.raises(InputError, match="NUL"):
        confine(root, path)


@given(path=st.text(max_size=60) | st.lists(st.sampled_from(["..", ".", "sub", "a", "/", "~", ""])).map("/".join))
def test_whatever_comes_back_is_inside(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    root = tmp_path_factory.getbasetemp() / "confined"
    root.mkdir(exist_ok=True)
    try:
        found = confine(root, path)
    except InputError:
        return
    assert found == root or root in found.parents
    assert found.is_absolute()


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.bin"
    with atomic_write(path) as stream:
        stream.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    with atomic_write(path, "w") as stream:
        stream.write("zwölf")
        assert path.read_bytes() == b"one"
    assert path.read_text(encoding="utf-8") == "zwölf"
    before = os.umask(0o027)
    try:
        for private, mode in ((False, 0o640), (True, 0o600)):
            with atomic_write(path, private=private) as stream:
                stream.write(b"")
            assert path.stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)
    assert leftovers(path.parent) == ["file.bin"]


def test_after_an_error_the_old_file_is_untouched(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write() -> None:
        with atomic_write(path) as stream:
            stream.write(b"half")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write()
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == ["file"]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(EnvironmentProblem, match=r"file: cannot be written \(No space left on device\)"),
        atomic_write(path) as stream,
    ):
        stream.write(b"new")
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == ["file"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").touch()
    for path in (tmp_path / "file" / "below", tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(EnvironmentProblem, match="cannot be written"), atomic_write(path) as stream:
            stream.write(b"x")
    assert leftovers(tmp_path) == ["file", "folder"]


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def write(letter: bytes) -> None:
        for _ in range(10):
            with atomic_write(path) as stream:
                for _ in range(50):
                    stream.write(letter * 1000)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = path.read_bytes()
    assert len(content) == 50_000
    assert len(set(content)) == 1
    assert leftovers(tmp_path) == ["file"]


def test_hashes_are_of_the_content(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"x" * 10_000_000)  # more than one piece
    b.write_bytes(b"x" * 10_000_000)
    assert content_hash(a) == content_hash(b)
    assert len(content_hash(a)) == 32
    b.write_bytes(b"x" * 9_999_999 + b"y")
    assert content_hash(a) != content_hash(b)
    (tmp_path / "empty").touch()
    assert content_hash(tmp_path / "empty") == "cae66941d9efbd404e4d88758ea67670"  # BLAKE2b-128 of nothing


def test_signatures_of_what_is_gone_are_the_path(tmp_path: Path) -> None:
    path = tmp_path / "there"
    path.write_bytes(b"1")
    gone = tmp_path / "gone"
    found = file_signatures([path, None, gone, tmp_path])
    assert found == (file_signature(path), None, str(gone), file_signature(tmp_path))
    gone.write_bytes(b"2")
    assert file_signatures([gone]) != found[2:3]


def test_signatures_follow_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first, before = file_signature(path), path.stat()
    assert first[:3] == (str(path), 3, before.st_mtime_ns)
    path.write_bytes(b"longer")
    assert file_signature(path) != first
    time.sleep(0.02)
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_signature(path)[:3] == first[:3]
    assert file_signature(path) != first, "the time of change tells a file of equal size and time apart"


def test_a_folder_is_known_by_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(b"old")
    (folder / "broken.png").symlink_to(tmp_path / "nowhere")
    before, signature = folder.stat(), file_signature(folder)
    assert signature == file_signature(folder)
    # in place, of the same size, with the old time put back as rsync and tar do
    inner = folder / "1.png"
    times = inner.stat()
    with open(inner, "r+b") as stream:
        stream.write(b"new")
    os.utime(inner, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert folder.stat().st_mtime_ns == before.st_mtime_ns
    assert file_signature(folder) != signature
    renamed = file_signature(folder)
    (folder / "0.png").rename(folder / "7.png")
    assert file_signature(folder) != renamed


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        content_hash(tmp_path)
    for function in (content_hash, file_signature):
        with pytest.raises(InputError, match="absent: cannot be read"):
            function(tmp_path / "absent")


def test_where_caches_live(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "mine"))
    assert cache_root() == tmp_path / "mine"
    monkeypatch.delenv("SAI_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "sai-explorer"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_root() == tmp_path / "home" / ".cache" / "sai-explorer"
    assert not cache_root().exists()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/a/b", "/a/b"),
        ("  /a/b \n", "/a/b"),
        ('"/a/b c"', "/a/b c"),
        ("'/a/b c'", "/a/b c"),
        ("file:///a/b%20c", "/a/b c"),
        ("FILE://localhost/a", "/a"),
        ("'file:///a'", "/a"),
        ("a/../b", "a/../b"),
        ("'", "'"),
        ("\"a'", "\"a'"),
        ("", "."),
    ],
)
def test_paths_as_people_paste_them(text: str, path: str) -> None:
    assert user_path(text) == Path(path)


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert user_path("~/data") == Path("/home/anna/data")
    assert user_path("a/~/data") == Path("a/~/data")


def test_a_file_with_quotes_in_its_name_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "'a'").touch()
    assert user_path("'a'") == Path("'a'")
    assert user_path("'b'") == Path("b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("~nosuch", "there is no such user"),
        ("~nosuch/x", "there is no such user"),
        ("'~nosuch'", "there is no such user"),
        ("a\0b", "NUL byte"),
        ("file:///a%00b", "NUL byte"),
        ("file://server/share/a", "only files of this machine"),
        ("file://server", "only files of this machine"),
        ("\ud800", "no file name can have"),
        ("a" * 256, "longer than a file name"),
        ("ä" * 128, "longer than a file name"),
        ("a/" * 3000, "longer than a file name"),
    ],
)
def test_text_that_is_no_path_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        user_path(text, what="data root")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@given(st.text(st.characters(exclude_categories=())) | st.text("~/.%'\"file:a\0\udcff", max_size=20))
def test_any_text_is_a_path_or_a_sentence(text: str) -> None:
    try:
        path = user_path(text)
    except InputError:
        return
    # what comes back can be asked about
    path.is_dir()
    os.fsencode(path)

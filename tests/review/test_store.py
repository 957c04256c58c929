"""The review, in a file and in a database: nothing committed is lost, many write at once, foreign ones are refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sai_core.cli import main
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.review import databases
from sai_core.review.databases import ServerReview
from sai_core.review.desk import items_of_log
from sai_core.review.entries import new_uid
from sai_core.review.export import diff_markdown, statistics
from sai_core.review.queue import Queue
from sai_core.review.store import ReviewStore, default_review, read_review_file, second_review, write_review_file
from sai_core.workspace import SetFacts, workspace
from tests.review.conftest import Place

REPOSITORY = Path(__file__).resolve().parents[2]

_WRITER = """
import sys
from sai_core.review.databases import ServerReview, server_url
from sai_core.review.store import ReviewStore
place, reviewer, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = ReviewStore(ServerReview(server_url(), place) if server_url() else place)
for k in range(number):
    line = store.append(reviewer=reviewer, split="s", recording="r", item=str(k % 7), action="accept", comment=f"{k}")
    print(line.uid, flush=True)
"""


def start_writer(place: Place, reviewer: str, number: int) -> subprocess.Popen[str]:
    url, name = (place.url, place.name) if isinstance(place, ServerReview) else ("", str(place))
    command = [sys.executable, "-c", _WRITER, name, reviewer, str(number)]
    environment = {**os.environ, "SAI_REVIEW_DB": url}
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, env=environment)


def add(store: ReviewStore, item: str = "1", **more: str) -> str:
    fields = {"reviewer": "ann", "split": "s", "recording": "r", "action": "accept"}
    return store.append(item=item, **{**fields, **more}).uid  # type: ignore[arg-type]


def raw(store: ReviewStore, statement: str) -> list[Any]:
    """What the database answers to SQL that the program would never send."""
    with store._database.writing() as connection:
        return list(connection.exec_driver_sql(statement))


def test_a_killed_process_loses_nothing_it_was_told_is_kept(place: Place) -> None:
    writer = start_writer(place, "ann", 1_000_000)
    assert writer.stdout is not None
    told = [writer.stdout.readline().strip() for _ in range(25)]
    writer.send_signal(signal.SIGKILL)
    told += [line.strip() for line in writer.stdout if len(line) == 33]
    writer.wait()
    writer.stdout.close()
    with ReviewStore(place) as store:
        kept = [e.uid for e in store.entries()]
        assert kept[: len(told)] == told
        assert len(kept) <= len(told) + 1  # at most the one that was on its way
        if isinstance(place, Path):
            assert raw(store, "PRAGMA integrity_check") == [("ok",)]
        add(store)  # and it goes on


def test_processes_write_at_once(place: Place) -> None:
    writers = [start_writer(place, name, 30) for name in ("ann", "bob")]
    with ReviewStore(place) as store:
        for k in range(10):
            add(store, str(k), reviewer="cem")
        told = [writer.communicate(timeout=120)[0].split() for writer in writers]
        assert [writer.returncode for writer in writers] == [0, 0]
        entries = store.entries()
        assert {e.uid for e in entries} >= {uid for uids in told for uid in uids}
        assert len(entries) == 70
        for name in ("ann", "bob"):
            times = [e.time_utc for e in entries if e.reviewer == name]
            assert times == sorted(set(times))
        assert len(store.history().reviewers) == 3


def test_twenty_reviewers_decide_at_once(place: Place) -> None:
    """Each with a connection of their own; nothing is lost, nobody is told to wait, all see one order."""
    uids = {f"reviewer {k}": [new_uid() for _ in range(10)] for k in range(20)}
    readers = [ReviewStore(place) for _ in range(2)]
    seen: list[list[str]] = [[], []]
    done = threading.Event()

    def decide(name: str) -> None:
        with ReviewStore(place) as store:
            for k, uid in enumerate(uids[name]):
                add(store, str(k), reviewer=name, uid=uid)
                assert store.has(uid)
            assert store.undo(name) is not None

    def read(number: int) -> None:
        while not done.is_set():
            now = [e.uid for e in readers[number].entries()]
            # what was seen stays where it was: no line comes in before one that is known
            assert now[: len(seen[number])] == seen[number]
            seen[number] = now

    with ThreadPoolExecutor(22) as pool:
        reading = [pool.submit(read, number) for number in range(2)]
        deciding = [pool.submit(decide, name) for name in uids]
        try:
            for job in deciding:
                job.result(300)
        finally:
            done.set()
        for job in reading:
            job.result(60)
    with ReviewStore(place) as store:
        entries = store.entries()
        assert len(entries) == 20 * 11
        for name, own in uids.items():
            lines = [e for e in entries if e.reviewer == name]
            assert [e.uid for e in lines[:10]] == own
            assert (lines[10].action, lines[10].ref) == ("undo", own[-1])
            assert [e.time_utc for e in lines] == sorted({e.time_utc for e in lines})
        for reader in readers:
            assert reader.entries() == entries
            reader.close()


def test_the_log_is_append_only_and_durable(place: Place) -> None:
    with ReviewStore(place) as store:
        add(store)
        changing = ["DELETE FROM log", "UPDATE log SET comment = 'x'", "DELETE FROM log WHERE seq = 1"]
        if isinstance(place, ServerReview):
            changing = [line.replace("log", f"{place.name}.log") for line in (*changing, "TRUNCATE log")]
            assert raw(store, "SHOW synchronous_commit") == [("on",)]
        else:
            assert raw(store, "PRAGMA journal_mode") == [("wal",)]
            assert raw(store, "PRAGMA synchronous") == [(2,)]
        for statement in changing:
            with pytest.raises((InputError, EnvironmentProblem), match="append-only"):
                raw(store, statement)
        assert len(store.entries()) == 1
    with ReviewStore(place) as store:
        assert len(store.entries()) == 1


def test_text_is_never_sql(place: Place) -> None:
    nasty = "'); DROP TABLE log; -- <script>alert(1)</script>"
    with ReviewStore(place) as store:
        store.append(
            reviewer="o'neil; --", split=nasty, recording=nasty, item="i", action="tag", comment=nasty, tags=("';--",)
        )
        (line,) = store.entries()
        assert (line.comment, line.split, line.reviewer, line.tags) == (nasty, nasty, "o'neil; --", ("';--",))


def test_sending_twice_adds_once(place: Place) -> None:
    with ReviewStore(place) as store:
        uid = new_uid()
        assert add(store, uid=uid) == add(store, uid=uid) == uid
        assert len(store.entries()) == 1
        step = new_uid()
        assert store.undo("ann", uid=step) is not None
        assert store.undo("ann", uid=step) is None
        assert len(store.entries()) == 2


def test_undo_to_the_beginning_and_back(place: Place) -> None:
    with ReviewStore(place) as store:
        uids = [add(store, str(k)) for k in range(12)]
        assert [store.undo("ann").uid for _ in uids] == uids[::-1]  # type: ignore[union-attr]
        assert store.undo("ann") is None
        assert store.history().standing == ()
        assert [store.redo("ann").uid for _ in uids] == uids  # type: ignore[union-attr]
        assert store.redo("ann") is None
        assert store.undo("bob") is None
        assert len(store.entries()) == 36


@pytest.mark.parametrize("form", ["review.sqlite", "review.jsonl"])
def test_importing_is_idempotent_and_leaves_the_file_alone(
    tmp_path: Path, place_of: Callable[[str], Place], form: str
) -> None:
    with ReviewStore(tmp_path / "theirs.sqlite") as theirs:
        add(theirs, reviewer="bob")
        add(theirs, "2", reviewer="bob")
        theirs.undo("bob")
        write_review_file(theirs.entries(), tmp_path / "review.jsonl")
    shutil.copy(tmp_path / "theirs.sqlite", tmp_path / "review.sqlite")
    before = (tmp_path / form).read_bytes()
    with ReviewStore(place_of("mine")) as mine:
        add(mine)
        report = mine.import_file(tmp_path / form)
        assert (report.n_lines, report.n_new, report.reviewers) == (3, 3, ("bob",))
        standing = [e.uid for e in mine.history().standing]
        assert mine.import_file(tmp_path / form).n_new == 0
        assert [e.uid for e in mine.history().standing] == standing
        assert len(standing) == 2
    assert (tmp_path / form).read_bytes() == before


def test_a_log_reads_back_as_it_was(tmp_path: Path, place: Place) -> None:
    with ReviewStore(place) as store:
        add(store, comment="ä – 日本")
        write_review_file(store.entries(), tmp_path / "a.jsonl")
        assert read_review_file(tmp_path / "a.jsonl") == list(store.entries())


def test_a_bad_line_imports_nothing(tmp_path: Path, place: Place) -> None:
    with ReviewStore(tmp_path / "a.sqlite") as store:
        add(store)
        write_review_file(store.entries(), tmp_path / "a.jsonl")
        with (tmp_path / "a.jsonl").open("a") as stream:
            stream.write('{"uid": "no"}\n')
        with ReviewStore(place) as other:
            with pytest.raises(InputError, match="line 3"):
                other.import_file(tmp_path / "a.jsonl")
            assert other.entries() == ()


def foreign_files(folder: Path) -> list[Path]:
    text = folder / "text.sqlite"
    text.write_text("hello")
    other = folder / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE log (x)")
    connection.commit()
    connection.close()
    newer = folder / "newer.sqlite"
    with ReviewStore(newer) as store:
        add(store)
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    damaged = folder / "damaged.sqlite"
    damaged.write_bytes(b"SQLite format 3\x00" + b"\x00" * 3000)
    return [text, other, newer, damaged]


def test_foreign_files_are_refused_and_left_as_they_are(tmp_path: Path) -> None:
    for path in foreign_files(tmp_path):
        before = path.read_bytes()
        with pytest.raises(InputError):
            ReviewStore(path)
        with pytest.raises(InputError):
            read_review_file(path)
        assert path.read_bytes() == before, path
    with pytest.raises(InputError, match="folder"):
        ReviewStore(tmp_path)
    with pytest.raises(InputError, match="no such"):
        read_review_file(tmp_path / "none")


@pytest.mark.parametrize("fields", [{"reviewer": " "}, {"action": "erase"}, {"item": ""}, {"recording": "a\x00b"}])
def test_malformed_lines_are_refused(place: Place, fields: dict[str, str]) -> None:
    with ReviewStore(place) as store:
        with pytest.raises(InputError):
            add(store, **fields)
        assert store.entries() == ()


def test_the_default_place_is_the_workspace_and_not_the_data_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    path = default_review(root)
    assert isinstance(path, Path)
    assert path.parent == workspace().folder("reviews")
    assert not path.parent.exists()
    assert path != default_review(tmp_path / "other")
    assert path == default_review(Path(os.path.relpath(root)))
    with ReviewStore(path) as store:
        add(store)
    assert (workspace().path / "workspace.json").is_file()


def test_a_review_of_an_older_version_is_used_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    root = tmp_path / "root"
    new = default_review(root)
    former = tmp_path / "home" / "sai-explorer" / "reviews" / new.name
    for path in (former, new):
        assert second_review(root) == ""
        with ReviewStore(path) as store:
            add(store)
        assert default_review(root) == path
        if path == former:
            assert second_review(root) == ""
    assert str(former) in second_review(root)


def test_each_label_set_has_its_review_whatever_it_is_called(tmp_path: Path) -> None:
    stored = workspace().begin("labels", "mine", SetFacts())
    workspace().begin("labels", "other", SetFacts())
    path = default_review(tmp_path, "mine")
    renamed = workspace().change(stored, name="renamed")
    assert default_review(tmp_path, "renamed") == path
    assert default_review(tmp_path, workspace().restore(workspace().trash(renamed)).name) == path
    places = {path, default_review(tmp_path), default_review(tmp_path, "other")}
    places |= {default_review(tmp_path, "/a/folder"), default_review(tmp_path / "x", "renamed")}
    assert len(places) == 5


def test_no_review_is_made_in_a_workspace_among_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mic_dev").mkdir()
    (tmp_path / "mic_dev" / "r.wav").write_text("x")
    monkeypatch.setenv("SAI_WORKSPACE", str(tmp_path / "w"))
    with ReviewStore(default_review(tmp_path)) as store, pytest.raises(InputError, match="lies inside the data"):
        add(store)
    assert not (tmp_path / "w").exists()


def lines(**changes: object) -> str:
    """An exported log of one line, with changes."""
    line = {
        "uid": new_uid(),
        "time_utc": "2026-07-01T12:00:00.000000Z",
        "reviewer": "ann",
        "split": "s",
        "recording": "r",
        "item": "i",
        "action": "accept",
        "ref": "",
        "before": {},
        "after": {},
        "comment": "",
        "tags": [],
        **changes,
    }
    return json.dumps({"format": "sai-review", "version": 1}) + "\n" + json.dumps(line) + "\n"


def works(store: ReviewStore, folder: Path) -> None:
    """Everything that a log is used for."""
    add(store, "later")
    store.undo("ann")
    history = store.history()
    json.dumps(statistics(history), allow_nan=False)
    items_of_log(history, Queue((), (), 0))
    diff_markdown([], history).encode()
    write_review_file(store.entries(), folder / "works.jsonl")
    assert read_review_file(folder / "works.jsonl") == list(store.entries())


POISON: dict[str, dict[str, object]] = {
    "item is text": {"before": {"item": "x"}},
    "item is null": {"before": {"item": None}},
    "annotations are no list": {"before": {"annotations": 1}},
    "end of time": {"time_utc": "9999-12-31T23:59:59.999999Z"},
    "next week": {"time_utc": (datetime.now(UTC) + timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")},
    "year 1": {"time_utc": "0001-01-01T00:00:00.000000Z"},
    "not a number": {"after": {"x": float("nan")}},
    "infinity": {"before": {"item": {"score": float("inf")}}},
    "half a character": {"after": {"text": "\ud800"}},
    "half a character in a name": {"before": {"item": {"\udfff": 1}}},
    "half a character as reviewer": {"reviewer": "\ud800"},
    "half a character as tag": {"tags": ["\ud800"]},
    "NUL": {"after": {"text": "a\0"}},
    "huge number": {"before": {"item": {"score": 10**400}}},
    "deep": {"before": {"x": eval("[" * 60 + "]" * 60)}},  # noqa: S307 - our own brackets
    "settles": {"after": {"settles": "yes"}},
    "action is a list": {"action": ["accept"]},
    "edit of nothing": {"after": {"edits": [{"op": "set", "targets": []}]}},
    "NaN in an edit": {"after": {"edits": [{"op": "shift", "targets": [], "azimuth_deg": float("nan")}]}},
}


@pytest.mark.parametrize("name", list(POISON))
def test_nothing_that_would_poison_the_log_is_imported(tmp_path: Path, place: Place, name: str) -> None:
    path = tmp_path / "theirs.jsonl"
    path.write_text(lines(uid="0" * 32) + lines(**POISON[name]).partition("\n")[2])
    with ReviewStore(place) as store:
        add(store)
        with pytest.raises(InputError) as error:
            store.import_file(path)
        assert "\n" not in str(error.value)
        str(error.value).encode()
        assert len(store.entries()) == 1  # not the good line before it either
        works(store, tmp_path)


def test_a_number_beyond_floats_is_refused(tmp_path: Path) -> None:
    for number in ("1e999", "-1e999", "NaN", "9" * 5000):
        path = tmp_path / "theirs.jsonl"
        path.write_text(lines(before={"x": 0}).replace('"x": 0', f'"x": {number}'))
        with pytest.raises(InputError):
            read_review_file(path)


plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
objects = st.fixed_dictionaries(
    {},
    optional={
        "item": plain_json | st.fixed_dictionaries({}, optional={"kind": plain_json, "frame": plain_json}),
        "annotations": plain_json,
        "text": plain_json,
        "settles": plain_json,
        "edits": plain_json,
        "x": plain_json,
    },
)


imported = given(before=objects, after=objects, reviewer=st.sampled_from(["ann", "bob"]) | st.text(), comment=st.text())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@imported
def test_whatever_is_imported_leaves_a_log_that_works(
    tmp_path_factory: pytest.TempPathFactory, before: object, after: object, reviewer: str, comment: str
) -> None:
    folder = tmp_path_factory.mktemp("s")
    (folder / "theirs.jsonl").write_text(lines(before=before, after=after, reviewer=reviewer, comment=comment))
    with ReviewStore(folder / "mine.sqlite") as store:
        with suppress(InputError):
            store.import_file(folder / "theirs.jsonl")
        works(store, folder)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@imported
def test_a_file_and_a_database_hold_the_same(
    tmp_path: Path, postgres: str, before: object, after: object, reviewer: str, comment: str
) -> None:
    """Whatever a line holds: the same is refused, and the same comes back."""
    (tmp_path / "theirs.jsonl").write_text(lines(before=before, after=after, reviewer=reviewer, comment=comment))
    kept, told = [], []
    for place in (tmp_path / "both.sqlite", ServerReview(postgres, "review_both")):
        with ReviewStore(place) as store:
            try:
                store.import_file(tmp_path / "theirs.jsonl")
            except InputError as error:
                told.append(str(error))
            kept.append(store.entries())
    assert kept[0] == kept[1]
    assert told in ([], told[:1] * 2)


def files_under(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(p.relative_to(folder)): (p.read_bytes() if p.is_file() else b"", p.stat().st_mtime_ns)
        for p in sorted(folder.rglob("*"))
    }


def test_opening_and_reading_change_nothing_on_the_disk(tmp_path: Path) -> None:
    with ReviewStore(tmp_path / "there.sqlite") as store:
        add(store)
    (tmp_path / "empty.sqlite").touch()
    (tmp_path / "__init__.py").touch()
    before = files_under(tmp_path)
    for name in ("there.sqlite", "new/deep/er.sqlite", "none.sqlite"):
        with ReviewStore(tmp_path / name) as store:
            assert len(store.history().entries) == (name == "there.sqlite")
            assert store.undo("nobody") is None
    for name in ("empty.sqlite", "__init__.py"):
        with pytest.raises(InputError, match="is not a review file"):
            ReviewStore(tmp_path / name)
    with pytest.raises(InputError, match="there is no such review file"):
        ReviewStore(tmp_path / "none.sqlite", must_exist=True)
    assert files_under(tmp_path) == before


def test_a_reader_sees_what_others_write(place: Place) -> None:
    with ReviewStore(place) as reader:
        assert reader.entries() == ()
        with ReviewStore(place) as writer:
            add(writer)
            assert len(reader.entries()) == 1
            add(writer, "2")
            assert len(reader.entries()) == 2
        assert len(reader.entries()) == 2
        add(reader, "3")
        assert [e.item for e in reader.entries()] == ["1", "2", "3"]


def test_a_change_within_one_tick_of_the_files_clock_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writers one after the other, each closing the file, with nothing between them that a signature shows."""
    path = tmp_path / "r.sqlite"
    with ReviewStore(path) as store:
        add(store)
    signature = databases._signature(path)
    monkeypatch.setattr(databases, "_signature", lambda _: signature)
    with ReviewStore(path) as reader:
        assert len(reader.entries()) == 1
        with ReviewStore(path) as store:
            add(store, "2")
        assert len(reader.entries()) == 2


def test_a_review_that_may_only_be_read_works_for_reading(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "r.sqlite"
    with ReviewStore(path) as store:
        add(store)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        with ReviewStore(path) as store:
            assert statistics(store.history())["n_lines"] == 1
            if os.geteuid():
                with pytest.raises(EnvironmentProblem):
                    add(store)
    finally:
        path.parent.chmod(0o755)


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "r.sqlite"
    with ReviewStore(path) as store:
        for k in range(3):
            add(store, str(k))
    return path.read_bytes()


@settings(max_examples=100, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_file_is_one_sentence_of_the_users(
    tmp_path_factory: pytest.TempPathFactory, whole_file: bytes, changes: list[tuple[int, int]]
) -> None:
    """Bytes of the header, the schema and the rows: read, or refused as damaged; nothing of the file in the message."""
    data = bytearray(whole_file)
    written = [k for k, byte in enumerate(data) if byte]
    for place, value in changes:
        data[written[place % len(written)]] = value
    path = tmp_path_factory.mktemp("damaged") / "r.sqlite"
    path.write_bytes(data)
    told = []
    try:
        with ReviewStore(path) as store:
            store.history()
    except InputError as error:
        told.append(str(error))
    try:
        read_review_file(path)
    except InputError as error:
        told.append(str(error))
    assert all(sentence.isprintable() for sentence in told)


def test_a_damaged_line_is_one_sentence(place: Place) -> None:
    with ReviewStore(place) as store:
        add(store)
        if isinstance(place, ServerReview):
            off, log = f"ALTER TABLE {place.name}.log DISABLE TRIGGER ALL", f"{place.name}.log"
        else:
            off, log = "DROP TRIGGER log_no_update", "log"
        with store._database.writing() as connection:
            connection.exec_driver_sql(off)
            connection.exec_driver_sql(f"UPDATE {log} SET time_utc = 'x'")
    with ReviewStore(place) as store:
        for look in (store.history, store.entries, store.history):
            with pytest.raises(InputError, match="line 1: time_utc must look like"):
                look()


def test_the_command_makes_nothing_of_a_mistyped_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "root" / "labels_dev").mkdir(parents=True)
    root, out = ["--root", str(tmp_path / "root")], str(tmp_path / "out")
    for step in (["stats"], ["export", "--out", out], ["stats", "--json"]):
        assert main(["review", *step, *root, "--review", str(tmp_path / "a" / "typo.sqlite")]) == 2
        assert "there is no such review file" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["root"]


def test_opening_and_reading_make_no_schema(postgres: str) -> None:
    place = ServerReview(postgres, "review_not_made")
    with ReviewStore(place) as store:
        assert store.entries() == ()
        assert store.undo("nobody") is None
        assert not store.has("x")
    with pytest.raises(InputError, match="There is no review review_not_made"):
        ReviewStore(place, must_exist=True)


def test_a_schema_that_is_none_of_ours_or_gone_is_one_sentence(postgres: str) -> None:
    with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA review_foreign CREATE TABLE log (x int)")
        connection.execute(
            "CREATE SCHEMA review_other CREATE TABLE log (x int) CREATE TABLE meta (key text, value text)"
        )
        for name in ("review_foreign", "review_other"):
            with pytest.raises(InputError, match="holds something else"):
                ReviewStore(ServerReview(postgres, name))
        newer = ServerReview(postgres, "review_newer")
        with ReviewStore(newer) as store:
            add(store)
            connection.execute("UPDATE review_newer.meta SET value = '99' WHERE key = 'version'")
            with pytest.raises(InputError, match="newer version"):
                ReviewStore(newer)
            connection.execute("DROP SCHEMA review_newer CASCADE")
            for use in (store.entries, lambda: add(store)):
                with pytest.raises(EnvironmentProblem) as told:
                    use()
                assert "\n" not in str(told.value)
            # nothing was made again behind the back of whoever deleted it
            assert connection.execute("SELECT to_regclass('review_newer.log')").fetchone() == (None,)


def test_a_server_that_is_restarted_costs_no_decision(postgres: str) -> None:
    place = ServerReview(postgres, "review_restarted")
    with ReviewStore(place) as store:
        add(store)
        with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sai-explorer'"
            )
        add(store, "2")
        assert len(store.entries()) == 2


def test_an_account_that_may_only_add_is_enough(postgres: str) -> None:
    place = ServerReview(postgres, "review_granted")
    with ReviewStore(place) as store:
        add(store)
    with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE ROLE writer LOGIN")
        connection.execute("GRANT USAGE ON SCHEMA review_granted TO writer")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA review_granted TO writer")
        theirs = ServerReview(postgres.replace("sai@", "writer@"), place.name)
        with ReviewStore(theirs) as store:
            with pytest.raises(EnvironmentProblem, match="permission denied"):
                add(store)
            connection.execute("GRANT INSERT ON review_granted.log TO writer")
            add(store)
            assert len(store.entries()) == 2


SECRET = "s3cr3t-%40-w0rd"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"postgresql+psycopg://ann:{SECRET}@127.0.0.1:1/reviews", "the PostgreSQL database reviews at 127.0.0.1:1"),
        (f"postgresql://ann:{SECRET}@127.0.0.1:1/reviews?connect_timeout=3", "cannot be used"),
        (f"postgresql+psycopg://ann@127.0.0.1:1/reviews?password={SECRET}", "cannot be used"),
        (f"postgresql+psycopg://ann:{SECRET}@127.0.0.1:1/reviews?sslmode={SECRET}", "cannot be used"),
        (f"postgresql+psycopg://ann:{SECRET}@127.0.0.1:1/reviews?{SECRET}=1", "cannot be used"),
        (f"mysql://ann:{SECRET}@127.0.0.1/reviews", "does not name a PostgreSQL database"),
        (f"postgresql+psycopg://ann:{SECRET}@127.0.0.1:x/reviews", "is not the URL of a database"),
        (f"postgresql+psycopg://ann:{SECRET}@127.0.0.1", "names no database"),
        (f"ann:{SECRET}", "is not the URL of a database"),
    ],
)
def test_a_database_that_cannot_be_reached_is_one_sentence_without_secrets(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    url: str,
    words: str,
) -> None:
    (tmp_path / "labels_dev").mkdir(parents=True)
    monkeypatch.setenv("SAI_REVIEW_DB", url)
    caplog.set_level("DEBUG")
    assert main(["review", "stats", "--root", str(tmp_path)]) in (1, 2)
    told = capsys.readouterr()
    assert words in told.err
    assert "Traceback" not in told.err
    with pytest.raises((InputError, EnvironmentProblem)) as raised:
        ReviewStore(default_review(tmp_path))
    error: BaseException | None = raised.value
    everything = [told.out, told.err, caplog.text, *traceback.format_exception(raised.value)]
    assert error is not None
    assert "\n" not in str(error)
    for secret in (SECRET, "s3cr3t-@-w0rd"):
        assert not any(secret in said for said in everything)


def test_the_command_keeps_decisions_in_the_database_and_takes_them_to_a_file_and_back(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a file into the database and from there into another file: three times the same log and figures."""
    (tmp_path / "root" / "labels_dev").mkdir(parents=True)
    root = ["--root", str(tmp_path / "root")]
    file = default_review(tmp_path / "root")
    with ReviewStore(file) as store:
        for k in range(5):
            add(store, str(k), reviewer="ann", comment=f"ä {k}")
            add(store, str(k), reviewer="bob", action="reject" if k % 2 else "accept")
        store.undo("bob")
    monkeypatch.setenv("SAI_REVIEW_DB", postgres)
    assert main(["review", "stats", *root]) == 0
    told = capsys.readouterr()
    assert "0 lines in the log" in told.out
    assert str(file) in told.err  # that there is a review which is not used is said
    assert main(["review", "import", *root, str(file)]) == 0
    assert "11 decisions, 11 new, by ann, bob" in capsys.readouterr().out
    assert main(["review", "log", *root, "--out", str(tmp_path / "log.jsonl")]) == 0
    assert "11 lines" in capsys.readouterr().out
    other = tmp_path / "other.sqlite"
    assert main(["review", "import", *root, "--review", str(other), str(tmp_path / "log.jsonl")]) == 0
    stores = [ReviewStore(place) for place in (str(file), default_review(tmp_path / "root"), other)]
    assert isinstance(default_review(tmp_path / "root"), ServerReview)
    one, two, three = (store.entries() for store in stores)
    assert len(one) == 11
    assert one == two == three
    figures = [statistics(store.history()) for store in stores]
    assert figures[0] == figures[1] == figures[2]

"""What pages are told about a run folder, whole, torn or damaged."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sai_core.errors import InputError
from sai_core.runs import watch


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with a configuration and nothing else."""
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"seed": 1}')
    return folder


def curves(run: Path, **options: int) -> dict[tuple[str, str], watch.Curve]:
    return {(c.part, c.name): c for c in watch.read_curves(run, **options)}


def test_curves_of_rows_that_name_their_kind(run: Path) -> None:
    (run / "metrics.csv").write_text(
        "epoch,step,seconds,kind,box,total,rate.heads,mAP,pearson_r,memory_mb\n"
        "0,10,36,train,2.0,3.0,1e-4,,,900\n"
        "0,20,72,train,1.0,nan,1e-4,,,900\n"
        "0,20,80,validation,1.5,2.5,,0.1,0.4,\n"
        "1,30,108,train,0.5,1.0,5e-5,,,900\n"
    )
    found = curves(run)
    assert set(found) == {
        ("train", "box"),
        ("validation", "box"),
        ("train", "total"),
        ("validation", "total"),
        ("rate", "heads"),
        ("score", "mAP"),
        ("score", "pearson_r"),
    }
    assert_array_equal(found["train", "box"].value, [2.0, 1.0, 0.5])
    assert_array_equal(found["train", "box"].step, [10, 20, 30])
    assert_array_equal(found["train", "total"].step, [10, 30])
    assert_allclose(found["validation", "box"].hours, [80 / 3600], rtol=0, atol=1e-12)
    assert watch.best_of(run) == (0.1, "mAP")


def test_curves_of_columns_that_name_their_kind_with_steps_that_begin_anew(run: Path) -> None:
    (run / "metrics.csv").write_text(
        "stage,step,seconds,train_mean,validation_mean,train_band\n0,10,1,3,4,\n0,20,2,2,3,\n1,5,3,1,2,7\n"
    )
    found = curves(run)
    assert set(found) == {("train", "mean"), ("validation", "mean"), ("train", "band")}
    assert_array_equal(found["validation", "mean"].step, [10, 20, 25])
    assert np.isnan(found["train", "mean"].epoch).all()


def test_a_torn_row_and_rubbish_are_left_out(run: Path) -> None:
    path = run / "metrics.csv"
    path.write_bytes(b"epoch,step,kind,total\n0,1,train,5\n0,2,train,oops\n0,3,train,4,9,9,9\n\xff\xfe\n0,4,train,1")
    assert_array_equal(curves(run)["train", "total"].value, [5.0])
    path.write_bytes(b"epoch,step,kind,total\n0,1,train,5\n0,4,train,10\n")
    assert_array_equal(curves(run)["train", "total"].value, [5.0, 10.0])
    for text in (b"", b"\n", b"epoch,step", b"\x00\x00\x00\n"):
        path.write_bytes(text)
        assert watch.read_curves(run) == ()
    path.unlink()
    assert watch.read_curves(run) == ()


def test_long_curves_are_thinned_by_means(run: Path) -> None:
    rows = "".join(f"0,{k},train,{k % 2}\n" for k in range(10_000))
    (run / "metrics.csv").write_text("epoch,step,kind,total\n" + rows)
    curve = curves(run, max_points=100)["train", "total"]
    assert len(curve) == 100
    assert_allclose(curve.value, 0.5, rtol=0, atol=1e-12)
    assert_allclose(curve.step[0], 49.5, rtol=0, atol=1e-9)
    assert len(curves(run)["train", "total"]) == 600
    whole = curves(run, max_points=20_000)["train", "total"]
    assert whole.thinned(20_000) is whole


def test_best_score_prefers_map_then_ap50(run: Path) -> None:
    head, row = "epoch,step,kind,total,AP50,mAP\n", "0,5,validation,1,0.5,0.2\n1,9,validation,1,0.4,0.3\n"
    (run / "metrics.csv").write_text(head + row)
    assert watch.best_of(run) == (0.3, "mAP")
    (run / "metrics.csv").write_text(head.replace(",mAP", ",pearson") + row)
    assert watch.best_of(run) == (0.5, "AP50")
    (run / "metrics.csv").write_text("epoch,step,kind,total\n0,5,validation,1\n")
    assert watch.best_of(run) == (None, "")


def test_the_log_is_a_bounded_tail_without_control_characters(run: Path) -> None:
    lines = [f"step {k}" for k in range(60_000)]
    (run / "log.txt").write_text("\n".join([*lines, "  10 %\r  20 %\r  30 %\r", "\x1b[31merror: x\x1b[0m \x07y", ""]))
    tail = watch.read_log(run, max_lines=3)
    assert tail.lines == ("step 59999", "  30 %", "error: x y")
    assert tail.cut
    assert tail.n_bytes == (run / "log.txt").stat().st_size
    # the search goes further back than the tail
    found = watch.read_log(run, query="STEP 17", max_lines=5000)
    # 17, 170 to 179, 1700 to 1799, 17000 to 17999
    assert found.n_found == len(found.lines) == 1 + 10 + 100 + 1000
    assert found.lines[0] == "step 17"
    assert not found.cut


def test_no_log_is_no_lines(run: Path) -> None:
    assert watch.read_log(run) == watch.LogTail()
    (run / "log.txt").write_text("")
    assert watch.read_log(run, query="x").lines == ()


def test_samples_are_the_newest_pictures_in_the_folder_itself(run: Path, tmp_path: Path) -> None:
    assert watch.read_samples(run) == ()
    folder = run / "samples"
    folder.mkdir()
    outside = tmp_path / "secret.png"
    outside.write_bytes(b"x")
    (folder / "link.png").symlink_to(outside)
    (folder / "empty.png").write_bytes(b"")
    (folder / "note.txt").write_bytes(b"x")
    (folder / "sub.png").mkdir()
    for age, name in enumerate(("new.png", "old.png")):
        (folder / name).write_bytes(b"x")
        stamp = time.time() - 100 * age
        os.utime(folder / name, (stamp, stamp))
    assert [p.name for p in watch.read_samples(run)] == ["new.png", "old.png"]
    assert [p.name for p in watch.read_samples(run, limit=1)] == ["new.png"]


def test_an_old_run_without_status_is_shown_as_it_is(run: Path) -> None:
    seen = watch.look(run)
    assert (seen.state, seen.kind, seen.fraction) == ("unknown", "detector", None)
    assert "no status" in seen.message
    (run / "config.json").write_text('{"stages": []}')
    assert watch.look(run).kind == "uplam"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"state": 3, "rates": [1], "frozen": "a", "pid": "x", "updated": "now"}', "\x00"]
)
def test_damaged_files_break_nothing(run: Path, text: str) -> None:
    for name in ("status.json", "launch.json", "exit.json", "config.json", "environment.json"):
        (run / name).write_text(text)
    seen = watch.look(run)
    assert seen.state in ("unknown", "interrupted")
    assert not seen.active
    assert seen.rates == {}
    assert len(watch.list_runs(run.parent)) == 1


def test_numbers_that_are_none_are_none(run: Path) -> None:
    (run / "status.json").write_text(
        '{"state": "running", "host": "elsewhere", "updated": NaN, "eta_s": Infinity, "step": -3, "epoch": 1e300}'
    )
    seen = watch.look(run)
    assert (seen.step, seen.epoch, seen.eta_s) == (0, 0, None)


def test_a_run_on_another_machine_counts_by_its_last_word(run: Path) -> None:
    told = {"state": "running", "host": "elsewhere", "pid": 1, "pid_started": 1.0, "updated": time.time()}
    (run / "status.json").write_text(json.dumps(told))
    assert watch.look(run).state == "running"
    (run / "status.json").write_text(json.dumps({**told, "updated": time.time() - 3600}))
    seen = watch.look(run)
    assert seen.state == "interrupted"
    assert "No update from elsewhere for 60 min" in seen.message
    (run / "status.json").write_text(json.dumps({**told, "state": "finished", "updated": time.time() - 3600}))
    assert watch.look(run).state == "finished"


def test_the_last_words_of_a_failure(run: Path) -> None:
    trace = "Traceback (most recent call last):\n  File x\nValueError: no such layer\nsome warning at exit\n"
    (run / "log.txt").write_text(trace)
    assert watch.last_words(run) == "ValueError: no such layer"
    (run / "log.txt").write_text("a\nerror: a.toml: no such file.\n")
    assert watch.last_words(run) == "a.toml: no such file."
    torchrun = "torch.x.ChildFailedError: \n===\nerror_file: <N/A>\n"
    (run / "log.txt").write_text(f"error: old.\n== attempt 2, now: x\nerror: new.\n{torchrun}")
    assert watch.last_words(run) == "new."
    (run / "log.txt").write_text("just a line\n")
    assert watch.last_words(run) == "just a line"


def test_runs_are_listed_newest_first_one_level_deep(tmp_path: Path) -> None:
    for k, name in enumerate(("a", "group/b", "group/c", ".hidden", "x/y/z")):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "launch.json").write_text(json.dumps({"created": 1000.0 + k, "launched": 1000.0 + k}))
    assert [r.name for r in watch.list_runs(tmp_path)] == ["group/c", "group/b", "a"]
    assert watch.list_runs(tmp_path / "nowhere") == ()


def test_text_files_only(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        watch.read_text(tmp_path / "a.toml")
    with pytest.raises(InputError, match="cannot be read"):
        watch.read_text(tmp_path / "b.toml")


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


NONSENSE = st.one_of(
    st.integers(10**300, 10**420),
    st.integers(-(10**420), -1),
    st.floats(),
    st.text(max_size=5),
    st.booleans(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.one_of(st.floats(), st.integers(0, 10**420)), max_size=2),
    st.just("\ud800"),
)
FILES = {
    "status.json": "state message epoch epochs step steps frames_per_s eta_s frozen rates memory_mb pid host",
    "launch.json": "kind recipe data device epochs overrides options executor created launched attempt started command",
    "exit.json": "pid pid_started host job_id code ended",
    "config.json": "kind stages segment_frames seed data_roots device options",
}


@settings(max_examples=150, deadline=None)
@given(
    contents=st.fixed_dictionaries(
        {name: st.dictionaries(st.sampled_from(keys.split()), NONSENSE, max_size=4) for name, keys in FILES.items()}
    ),
    metrics=st.one_of(
        st.binary(max_size=80),
        st.lists(st.lists(NONSENSE, min_size=4, max_size=4), max_size=3).map(
            lambda rows: "\n".join(["epoch,step,total,mAP", *(",".join(map(repr, r)) for r in rows), ""]).encode(
                "utf-8", "replace"
            )
        ),
    ),
)
def test_no_nonsense_in_the_files_of_a_run_hides_the_others(contents: dict[str, dict], metrics: bytes) -> None:
    with TemporaryDirectory() as name:
        run = Path(name) / "one"
        run.mkdir()
        for file, content in contents.items():
            (run / file).write_text(json.dumps(content))
        (run / "metrics.csv").write_bytes(metrics)
        (found,) = watch.list_runs(Path(name))
        for text in (found.kind, found.message, found.host, found.job_id, found.executor, *found.frozen, *found.rates):
            text.encode("utf-8")
        figures = (found.epoch, found.step, found.steps, found.created, found.updated, *found.rates.values())
        assert all(-(2.0**53) < figure < 2.0**53 for figure in figures)
        for curve in watch.read_curves(run):
            assert np.isfinite(curve.value).all()
        watch.processes(run)
        watch.read_log(run)
        for file in FILES:
            shown = watch.showable(watch.read_json(run / file))
            json.dumps(shown, allow_nan=False).encode("utf-8")
            assert "9" * 30 not in json.dumps(shown)


@pytest.mark.parametrize(
    "text",
    [
        '{"state": "running", "epoch": 1' + "0" * 400 + "}",
        '{"state": "running", "epoch": NaN}',
        '{"state": "running", "eta_s": Infinity}',
        '{"state": "running", "epoch": "3"}',
        '{"state": ["running"]}',
        '{"state": "finished", "rates": {"heads": 1' + "0" * 400 + "}}",
        '{"state": "finished", "rates": [1]}',
        '{"state": "finished", "frozen": [{}]}',
        '{"state": "finished", "deep": ' + _nested(900) + "}",
        '{"state": "finished", "deep": ' + _nested(100_000) + "}",
        '{"state": "finished", "digits": 1' + "0" * 5000 + "}",
        '{"state": "finished"} and more',
        "[1, 2]",
        "\x00",
        '{"state": "finished", "long": "' + "a" * (5 << 20) + '"}',
    ],
)
def test_a_status_that_cannot_be_believed_is_unknown(run: Path, text: str) -> None:
    (run / "status.json").write_text(text)
    found = watch.look(run)
    assert found.state == "unknown"
    assert ("status.json cannot be read" in found.message) != ("status.json is not valid" in found.message)
    assert (found.epoch, found.rates, found.frozen) == (0, {}, ())


def test_what_is_no_file_is_not_waited_for(run: Path) -> None:
    for name in ("status.json", "metrics.csv", "log.txt", "launch.json"):
        os.mkfifo(run / name)
    assert watch.look(run).state == "unknown"
    assert watch.read_curves(run) == ()
    assert watch.read_log(run) == watch.LogTail()


def test_metrics_of_very_many_columns_or_steps_that_fall_are_read_at_once(run: Path) -> None:
    (run / "metrics.csv").write_text(",".join(f"c{k}" for k in range(100_000)) + "\n" + "1," * 99_999 + "1\n")
    assert watch.read_curves(run) == ()
    (run / "metrics.csv").write_text("step,total\n" + "5,1\n1,2\n" * 60_000)
    began = time.process_time()
    assert len(watch.read_curves(run)[0]) == 600
    assert time.process_time() - began < 5  # far longer where each fall moves all that follows


def test_a_name_in_another_encoding_is_shown(tmp_path: Path) -> None:
    run = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(run)
    with open(run + b"/config.json", "w") as stream:
        stream.write("{}")
    (found,) = watch.list_runs(tmp_path)
    assert found.name == "caf\\udce9"
    assert found.path.is_dir()

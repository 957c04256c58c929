"""Reports: the same bytes twice, nothing fetched, figures that are the metrics', pictures that lead back."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import soundfile
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pages.components import state_keys as keys
from sai_core.annotations import read_annotations, write_label_json, write_submission_json
from sai_core.cli import main
from sai_core.dataset import open_data_root
from sai_core.errors import InputError
from sai_core.metrics import evaluate
from sai_core.metrics.evaluation.discovery import find_labels
from sai_core.metrics.reading.tables import Column, Source, Table
from sai_core.reporting import Report, ReportOptions, as_html, charts, gather_report, page, paper
from tests.figures.scenes import tables

_EMPTY: Final = Report("made up", (), (), (), ())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("report") / "root"
    for k in range(2):
        name = f"fold4_room{k}_mix001"
        labels, predictions = tables(30, seed=k, recording=name)
        write_label_json(labels, base / "labels_dev" / "dev-test-x" / f"{name}_std.json")
        for system, factor in (("first", 1.0), ("<second>", 0.5)):
            scored = replace(predictions, score=np.round(predictions.score * factor, 3))
            write_submission_json(scored, base / "predictions" / system / f"{name}.json")
    return base


class References(HTMLParser):
    """Everything in a page that a browser would fetch, and everything that it would go to on a click."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "data", "poster", "srcset", "action", "xlink:href"):
                (self.links if tag == "a" and name == "href" else self.fetched).append(value or "")


def test_a_page_is_whole_offline_and_the_same_twice(root: Path, tmp_path: Path) -> None:
    call = ["report", "--data", str(root), "--predictions", "first", "<second>", "--resamples", "20", "--stills", "2"]
    call += ["--app", "https://here.example:99/sub"]
    pages = []
    for k in range(2):
        out = tmp_path / f"{k}.html"
        assert main([*call, "--out", str(out)]) == 0
        pages.append(out.read_bytes())
    assert pages[0] == pages[1]
    assert len(pages[0]) < page.MAX_BYTES
    text = pages[0].decode()
    found = References()
    found.feed(text)
    assert found.fetched
    assert all(reference.startswith(("data:image/webp;base64,", "#")) for reference in found.fetched)
    assert not re.findall(r"@import|url\((?!#)", text)
    outside = [link for link in found.links if not link.startswith("#")]
    assert len(outside) == 2 * 2 * 2
    # nothing else in the file names a place in the network
    assert text.count("https://here.example") == len(outside)
    assert len(re.findall(r"https?://", text)) == len(outside)
    for link in outside:
        address = urlsplit(link)
        assert (address.netloc, address.path) == ("here.example:99", "/sub/explorer")
        query = parse_qs(address.query)
        assert query[keys.ROOT] == [str(root)]
        assert query[keys.RECORDING][0].startswith("dev-test-x/fold4_room")
        assert query[keys.SYSTEM_A][0] in ("first", "<second>")
        assert query[keys.FRAME][0].isdecimal()
    # figures are the metrics', names cannot be markup, and what it was made from stands in it
    files = {name: root / "predictions" / "first" / f"{name}.json" for name in find_labels(root / "labels_dev")}
    macro = evaluate(find_labels(root / "labels_dev"), files).macro
    assert f">{macro.mean_ap:.4f}<" in text
    assert "<second>" not in text
    for words in (
        "Ranking",
        "Error budget",
        "No slice surely loses",
        "2026-06-30",
        "20 resamples, seed 0",
        "Best frames",
    ):
        assert words in text
    assert text.count("not surely better than") + text.count("is better than") == 1
    # all is there without scrolling to it, so that it is there on paper
    assert "lazy" not in text
    # links within the page lead somewhere
    for link in found.links:
        assert not link.startswith("#") or f'id="{link[1:]}"' in text


def test_the_pdf_has_the_same_parts(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.pdf"
    call = [
        "report",
        "--data",
        str(root),
        "--split",
        "all",
        "--predictions",
        "first",
        "--resamples",
        "5",
        "--stills",
        "1",
        "--quiet",
    ]
    pages = []
    for _ in range(2):
        assert main([*call, "--out", str(out)]) == 0
        pages.append(out.read_bytes())
    assert pages[0] == pages[1]
    assert pages[0].startswith(b"%PDF")
    assert pages[0].count(b"/Type /Page ") >= 3
    assert b"explorer?" in pages[0]


def test_what_is_worst_and_best(root: Path) -> None:
    data = open_data_root(root)
    [first] = [s for s in data.prediction_sets if s.name == "first"]
    report = gather_report(data, data.recordings, [first], ReportOptions(resamples=5, stills=3, revision="2026-04-02"))
    by_title = {part.title: part for part in report.parts}
    assert "2026-04-02" in by_title["Error budget"].text
    for title in ("Best frames", "Frames that cost most"):
        frames = [still.title for still in by_title[title].stills]
        assert len(set(frames)) == len(frames) == 3
        assert by_title[title].stills[0].labels.shape == (180, 360, 3)
    costs = [float(still.note.split()[1].rstrip(";")) for still in by_title["Frames that cost most"].stills]
    assert costs == sorted(costs, reverse=True)
    overlaps = [float(still.note.split()[1]) for still in by_title["Best frames"].stills]
    assert overlaps == sorted(overlaps, reverse=True)


@pytest.mark.parametrize(
    ("values", "highs", "end"),
    [
        ([0.031, 0.012], [0.0, 0.0], 0.04),
        ([0.28, 0.1], [0.0, 0.0], 0.3),
        ([0.28, 0.1], [0.0, 0.56], 0.6),  # an interval is not cut off
        ([0.3, 0.1], [0.0, 0.0], 0.3),
        ([0.95, 0.1], [0.99, 0.2], 1.0),
        ([0.0, 0.0], [0.0, 0.0], 1.0),
    ],
)
def test_bars_of_weak_systems_are_not_tiny_and_the_axis_says_where_it_ends(
    values: list[float], highs: list[float], end: float
) -> None:
    def system(value: float) -> Any:
        per_class = [SimpleNamespace(n_labels=int(c == 2), mean_ap=value if c == 2 else np.nan) for c in range(13)]
        return SimpleNamespace(evaluation=SimpleNamespace(per_class=per_class), recordings=("a", "b"))

    samples: list[Any] = [SimpleNamespace(per_class_map=np.full((3, 13), high)) for high in highs]
    systems = [system(value) for value in values]
    # one end for all systems
    assert charts.end_of_bars(systems, samples) == pytest.approx(end)
    axes = Figure().add_subplot()
    charts.class_bars(systems[1], samples[1], end=end).draw(axes)
    assert axes.get_xlim() == pytest.approx((0, end))
    assert (f"ends at {end:g}" in axes.get_xlabel()) == (end != 1)


def test_titles_of_groups_stay_in_their_table_and_a_note_takes_rows_along(tmp_path: Path) -> None:
    columns = tuple(Column(f"c{k}", f"c {k}", 0, "Better by far than that of all" if k < 2 else "") for k in range(3))
    sheets = paper._Sheets(cast(Any, SimpleNamespace(savefig=lambda figure: figures.append(figure))), _EMPTY)
    for n in range(3, 90):
        figures: list[Figure] = []
        names = tuple(f"row {k}" for k in range(n))
        sheets._figure = None
        sheets._new_page()
        sources: list[Source] = ["measured"] * n
        table = Table("t", "What to know.", "Name", names, tuple(sources), columns, np.zeros((n, 3)))
        sheets._table(table)
        sheets._end_page()
        last = [text.get_text() for text in figures[-1].texts]
        assert "What to know." in last
        assert last.count(f"row {n - 1}") == last.count(f"row {n - 3}") == 1
    [title] = [text for text in figures[-1].texts if text.get_text().startswith("Better")]
    box = title.get_window_extent(FigureCanvasAgg(figures[-1]).get_renderer())
    [first] = [text for text in figures[-1].texts if text.get_text() == f"row {n - 1}"]
    assert box.x0 > first.get_window_extent().x0


def test_simulated_recordings_are_called_so_at_the_top(root: Path, tmp_path: Path) -> None:
    data = tmp_path / "root"
    shutil.copytree(root, data)
    (data / "labels_dev" / "dev-test-x").rename(data / "labels_dev" / "dev-test-sim")
    opened = open_data_root(data)
    options = ReportOptions(resamples=2, stills=0)
    report = gather_report(opened, opened.recordings, opened.prediction_sets[:1], options)
    assert report.notes[0] == "All recordings are simulated."
    text = as_html(report).decode()
    assert text.index("All recordings are simulated.") < text.index("<h3")
    opened = open_data_root(root)
    report = gather_report(opened, opened.recordings, opened.prediction_sets[:1], options)
    assert not any("simulated" in note for note in report.notes)


def test_refusals(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["report", "--data", str(root), "--predictions", "first"]
    for more, words in (
        (["--out", str(tmp_path / "x.docx")], ".html or .pdf"),
        (["--out", str(tmp_path / "x.html"), "--app", "file:///etc"], "begins with http"),
        (["--out", str(tmp_path / "x.html"), "--resamples", "0"], "at least one resample"),
    ):
        assert main([*call, *more]) == 2
        assert words in capsys.readouterr().err
    with monkeypatch.context() as full:
        full.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=5000))
        assert main([*call, "--out", str(tmp_path / "x.html")]) == 1
        assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'x.html'}: the report will take about 0.5 MB")
    data = open_data_root(root)
    with pytest.raises(InputError, match="needs a prediction set"):
        gather_report(data, data.recordings, [])
    report = gather_report(data, data.recordings, data.prediction_sets[:1], ReportOptions(resamples=2, stills=0))
    monkeypatch.setattr(page, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="fewer systems or stills"):
        as_html(report)


def test_where_nothing_can_be_scored_the_first_reason_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = {"torn": tmp_path / "torn", "other": tmp_path / "other"}
    for folder in sets.values():
        folder.mkdir()
    for k in range(2):
        (sets["torn"] / f"fold4_room{k}_mix001.json").write_text('{"annotations": [{"metadata_frame_index": 3, "categ')
    shutil.copy(root / "predictions" / "first" / "fold4_room0_mix001.json", sets["other"] / "fold4_room7_mix001.json")
    for name, words in (
        ("torn", ("nothing could be scored", "fold4_room0_mix001.json", "The other 1 could not be scored either")),
        ("other", ("predictions for none of the 2 labelled recordings", "must agree")),
    ):
        out = tmp_path / f"{name}.html"
        call = ["report", "--data", str(root), "--predictions", str(sets[name]), "--out", str(out), "--quiet"]
        assert main(call) == 2
        message = capsys.readouterr().err
        assert all(word in message for word in words), message
        assert not out.exists()


def test_a_name_in_two_splits_and_predictions_of_other_data_are_said(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, name = tmp_path / "root", "fold4_room0_mix001"
    shutil.copytree(root, data)
    shutil.copytree(data / "labels_dev" / "dev-test-x", data / "labels_dev" / "dev-test-y")
    for file in (data / "labels_dev" / "dev-test-y").glob("*room1*"):
        file.unlink()
    sound = data / "mic_dev" / "dev-test-x" / f"{name}.wav"
    sound.parent.mkdir(parents=True)
    soundfile.write(sound, np.zeros((2400 * 12, 4)), 24_000)
    call = ["report", "--data", str(data), "--predictions", "first", "--resamples", "5", "--stills", "0"]
    out = tmp_path / "x.html"
    assert main([*call, "--out", str(out)]) == 0
    frames = read_annotations(data / "predictions" / "first" / f"{name}.json", recording=name).frame
    for text in (capsys.readouterr().err, out.read_text()):
        assert f"1 recording is left out: its name {name} is also in split dev-test-x, which counts" in text
        assert f"{np.count_nonzero(frames >= 12)} annotations of first lie after the end of {name} (12 frames" in text
        assert "are these predictions of other data?" in text
    assert main([*call, "--split", "dev-test-y", "--out", str(out)]) == 0
    assert "left out" not in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    call[2] = str(tmp_path / "empty")
    call[4] = str(data / "predictions" / "first")
    assert main([*call, "--out", str(out)]) == 2
    assert "there are no recordings" in capsys.readouterr().err

"""The verbs ``figure`` and ``video``: exit codes, files, messages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import pytest

from sai_core import cli
from sai_core.dataset import Recording
from tests.figures.scenes import write_root

NAME = "fold4_room23_mix001"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "root"
    write_root(folder, n_frames=20)
    write_root(folder, recording="fold4_room24_mix001", n_frames=20, seed=2, video_size=None, audio=False)
    return folder


def figure(root: Path, out: Path, *more: str, recording: str = NAME, frame: str = "12") -> int:
    predictions = str(root / "predictions" / "first" / f"{recording}.json")
    arguments = ["figure", "--data", str(root), "--recording", recording, "--frame", frame]
    return cli.main([*arguments, "--predictions", predictions, *more, "--out", str(out)])


@pytest.mark.parametrize(("ending", "magic"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_a_figure_is_written(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str, magic: bytes
) -> None:
    out = tmp_path / f"fig3.{ending}"
    assert figure(root, out, "--width", "one") == 0
    assert out.read_bytes().startswith(magic)
    text = capsys.readouterr().out
    assert "Fig. 3. " in text
    assert "frame 12" in text


def test_two_systems_with_names(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = str(root / "predictions" / "second" / f"{NAME}.json")
    assert figure(root, tmp_path / "a.svg", second, "--names", "Ours", "Baseline") == 0
    assert "Rows: (1) Ours; (2) Baseline." in capsys.readouterr().out


def test_a_figure_without_video(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.svg"
    assert figure(root, out, "--editable-text", recording="fold4_room24_mix001") == 0
    assert "no video" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frame", "20"], "choose 0 to 19"),
        (["--width", "wide"], "millimetres"),
        (["--font", "No Such Font"], "is not installed"),
        (["--names", "a", "b"], "2 names for 1 systems"),
        (["--split", "dev-test-tau"], "no recording"),
    ],
)
def test_mistakes_are_one_sentence(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    out = tmp_path / "a.pdf"
    assert figure(root, out, "--quiet", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("verb", ["figure", "gallery", "video"])
def test_all_mistakes_are_told_before_anything_is_read(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("read before everything was looked at")

    # modules that take the function from another one first, or they would keep this one
    for name in (
        "gallery.score_recordings",
        "gallery.open_material",
        "video.open_material",
        "paper.material.open_material",
    ):
        monkeypatch.setattr(f"sai_core.figures.{name}", never)
    folder = tmp_path / "ours"
    folder.mkdir()
    for name in (NAME, "fold4_room24_mix001"):
        (folder / f"{name}.json").write_text("no JSON")
    one = ["--recording", NAME, "--predictions", str(folder / f"{NAME}.json"), "--out", str(tmp_path / "a.doc")]
    arguments, expected = {
        "figure": (["figure", *one, "--frame", "1", "--width", "wide"], ("--width", "a.doc", f"{NAME}.json")),
        "video": (["video", *one, "--crf", "99"], ("crf of 99", "a.doc", f"{NAME}.json")),
        "gallery": (
            ["figure", "--gallery", "--predictions", str(folder), "--out", str(tmp_path / "a.doc"), "--font", "None"],
            ("None", "a.doc", f"{NAME}.json", "fold4_room24_mix001.json"),
        ),
    }[verb]
    assert cli.main([*arguments, "--data", str(root)]) == 2
    said = capsys.readouterr().err
    assert f"{len(expected)} things are in the way, and nothing was begun" in said
    assert all(part in said for part in expected)


def test_other_endings_and_the_data_itself_are_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert figure(root, tmp_path / "a.jpg", "--quiet") == 2
    assert ".pdf, .svg or .png" in capsys.readouterr().err
    inside = root / "frames_dev" / "dev-test-sony" / NAME / "a.png"
    assert figure(root, inside, "--quiet") == 2
    assert not inside.exists()


def test_a_gallery_in_one_call(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["figure", "--data", str(root), "--gallery", "--predictions", "first", "--recording", NAME]
    arguments += ["--width", "one", "--quiet", "--out", str(tmp_path / "g.zip")]
    assert cli.main(arguments) == 0
    assert (tmp_path / "g.zip").read_bytes().startswith(b"PK")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kept", [-40, 0])  # found when it is read, and beforehand
def test_a_gallery_is_of_the_recordings_that_can_be_scored(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    def drawn(recordings: Sequence[Recording], *args: object, **options: object) -> bytes:
        return " ".join(["PK", *(recording.name for recording in recordings)]).encode()

    if not kept:  # drawing once is enough
        monkeypatch.setattr("sai_core.figures.gallery.make_gallery", drawn)
    folder = tmp_path / "ours"
    folder.mkdir()
    for name in (NAME, "fold4_room24_mix001"):
        text = (root / "predictions" / "first" / f"{name}.json").read_text()
        (folder / f"{name}.json").write_text(text if name == NAME else text[:kept])
    out = tmp_path / "g.zip"
    assert cli.main(["figure", "--data", str(root), "--gallery", "--predictions", str(folder), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.count("failed: fold4_room24_mix001: ") == 1
    assert said.startswith("failed: ") == (kept == 0)
    assert "1 of 2 recordings could not be scored; the gallery shows the others" in said
    written = out.read_bytes()
    assert written.startswith(b"PK")
    assert kept or written == f"PK {NAME}".encode()


def test_a_video_is_written(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "v.mp4"
    arguments = ["video", "--data", str(root), "--recording", NAME, "--out", str(out), "--stop", "6"]
    arguments += ["--predictions", str(root / "predictions" / "first" / f"{NAME}.json"), "--layout", "overlay"]
    assert cli.main(arguments) == 0
    assert "6 frames" in capsys.readouterr().out
    with av.open(str(out)) as container:
        assert len(list(container.decode(video=0))) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", "30"], "choose 0 <= start"),
        (["--predictions", "nobody"], "no such prediction file"),
        (["--recording", "fold4_room23_mix002"], "did you mean"),
        (["--out", "video.avi"], "written as .mp4"),
    ],
)
def test_mistakes_of_a_video_are_one_sentence(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    arguments = ["video", "--data", str(root), "--recording", NAME, "--predictions", "first", "--quiet"]
    assert cli.main([*arguments, "--out", str(tmp_path / "v.mp4"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []

"""Figures for papers: what they hold, that they are the same bytes every time, and what they refuse."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from sai_core.annotations import AnnotationTable
from sai_core.dataset import DataRoot, open_data_root
from sai_core.drawing.colormaps import diverging_lut, sequential_lut
from sai_core.errors import InputError
from sai_core.figures.paper import curves
from sai_core.figures.paper.material import (
    Material,
    System,
    check_output,
    find_system,
    open_material,
    rename,
    system_of_set,
)
from sai_core.figures.paper.panels import (
    PanelOptions,
    PanelRow,
    Side,
    caption,
    frame_note,
    frame_rows,
    panel_figure,
    render_frame,
    render_panels,
    side_of,
)
from sai_core.figures.paper.style import FORMATS, FigureFormat, PaperStyle, drawing, format_of, suggested_fonts
from sai_core.metrics import merge, score_recording
from tests.figures.scenes import frame_map, tables, write_root

SMALL = PaperStyle(width_mm=85, dpi=100)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    folder = tmp_path_factory.mktemp("paper") / "root"
    write_root(folder)
    write_root(folder, recording="fold9_room1_mix001", split="dev-test-sim", seed=3, systems=("stand-in-A",))
    write_root(folder, recording="fold4_room9_mix001", video_size=None, audio=False, seed=4)
    return open_data_root(folder)


@pytest.fixture(scope="module")
def material(root: DataRoot) -> Iterator[Material]:
    recording = root.recording("fold4_room23_mix001")
    systems = [system_of_set(root.prediction_set(name), recording.name) for name in ("first", "second")]
    with open_material(recording, systems) as opened:
        yield opened


def pdf_text(data: bytes) -> bytes:
    """Everything in a PDF that is not a picture, unpacked."""
    parts = [data]
    for match in re.finditer(rb"stream\r?\n(.*?)endstream", data, re.DOTALL):
        try:
            parts.append(zlib.decompress(match.group(1)))
        except zlib.error:
            continue
    return b"\n".join(parts)


@pytest.mark.parametrize("file_format", FORMATS)
def test_same_input_same_bytes(material: Material, file_format: FigureFormat) -> None:
    first = render_frame(material, 12, file_format, style=SMALL)
    assert render_frame(material, 12, file_format, style=SMALL) == first
    assert b"/CreationDate" not in first
    assert b"<dc:date>" not in first


@pytest.mark.slow
def test_same_bytes_in_another_process(material: Material, tmp_path: Path) -> None:
    """Hash seeds, dictionaries and caches of a process leave no trace in a PDF or an SVG."""
    root = material.recording.label_path.parents[2]  # type: ignore[union-attr]
    command = ["figure", "--data", str(root), "--recording", material.recording.name, "--frame", "12", "--quiet"]
    command += ["--predictions", "first", "--out"]
    code = """
import sys
from sai_core.cli import main
for ending in sys.argv[1:3]:
    assert main([*sys.argv[4:], sys.argv[3] + ending]) == 0
"""
    # the other way round, so that what the first leaves behind in a process would be seen in the second
    for number, endings in (("1", ("pdf", "svg")), ("2", ("svg", "pdf"))):
        subprocess.run(
            [sys.executable, "-c", code, *endings, f"{tmp_path}/{number}.", *command],
            check=True,
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "PYTHONHASHSEED": number},
            timeout=300,
        )
    for ending in ("pdf", "svg"):
        assert (tmp_path / f"1.{ending}").read_bytes() == (tmp_path / f"2.{ending}").read_bytes()


def test_a_users_matplotlibrc_changes_nothing(material: Material) -> None:
    first = render_frame(material, 12, "svg", style=SMALL)
    with matplotlib.rc_context({"font.size": 31.0, "axes.facecolor": "red", "pdf.fonttype": 3, "image.cmap": "jet"}):
        assert render_frame(material, 12, "svg", style=SMALL) == first
        assert matplotlib.rcParams["font.size"] == 31.0


def test_threads_do_not_mix(material: Material) -> None:
    """Two styles at once, several times: each is what it is alone."""
    styles = [SMALL, replace(SMALL, font="STIXGeneral", font_size_pt=9, theme="slides")]
    alone = [render_frame(material, 5, "svg", style=style) for style in styles]
    results: list[tuple[int, bytes]] = []

    def work(number: int) -> None:
        results.extend((number, render_frame(material, 5, "svg", style=styles[number])) for _ in range(2))

    threads = [threading.Thread(target=work, args=(n,)) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(data == alone[number] for number, data in results)


def test_pyplot_is_never_imported() -> None:
    code = (
        "import sys, sai_core.figures.gallery, sai_core.figures.video, sai_core.figures.paper.curves as c;"
        "from sai_core.figures.paper.style import PaperStyle;"
        "c.render_class_bars({}, 'pdf', style=PaperStyle());"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2], timeout=120)


def test_fonts_are_embedded_as_truetype(material: Material) -> None:
    data = pdf_text(render_frame(material, 12, "pdf", style=SMALL))
    assert b"/FontFile2" in data
    assert b"/Type3" not in data
    assert b"DejaVuSans" in data


@pytest.mark.parametrize(("width_mm", "dpi"), [(85.0, 300), (178.0, 300), (120.0, 150)])
def test_the_width_is_the_width_asked_for(material: Material, width_mm: float, dpi: int) -> None:
    style = PaperStyle(width_mm=width_mm, dpi=dpi)
    with Image.open(io.BytesIO(render_frame(material, 3, "png", style=style))) as image:
        assert abs(image.width - width_mm / 25.4 * dpi) <= 1
        # 0.5: PNG keeps whole pixels a metre
        assert abs(image.info["dpi"][0] - dpi) < 0.5
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", render_frame(material, 3, "pdf", style=style))
    assert box is not None
    assert float(box.group(1)) == pytest.approx(width_mm / 25.4 * 72, abs=0.01)


def test_axes_are_in_degrees_and_marks_lie_where_they_should(material: Material) -> None:
    """A region left of the camera (azimuth +90) is drawn left of the middle, at its elevation."""
    style, options = PaperStyle(), PanelOptions()
    rows = frame_rows(material, 0)
    with drawing(style):
        figure = panel_figure(rows, options=options, style=style)
    panels = [axes for axes in figure.axes if axes.get_xlim() == (180, -180)]
    assert len(panels) == 8
    for axes in panels:
        assert axes.get_ylim() == (-90, 90)
        for image in axes.images:
            assert tuple(image.get_extent()) == (180, -180, -90, 90)
    titles = [text.get_text() for text in figure.texts]
    for title in ("(a) RGB", "(b) Ground truth", "(c) Prediction", "(d) Residual", "(1) first", "(2) second"):
        assert title in titles
    # label of class 0 in frame 0: centre (180, 85) on the canvas, so azimuth 0, elevation +5
    truth = panels[1]
    x = np.concatenate([np.asarray(line.get_xdata(), dtype=float) for line in truth.lines])
    y = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in truth.lines])
    near = np.abs(x) < 30
    assert x[near].mean() == pytest.approx(0, abs=1.5)
    assert y[near].mean() == pytest.approx(5, abs=1.5)
    assert truth.get_xlabel() == ""
    assert panels[5].get_xlabel() == "Azimuth (°)"
    assert panels[4].get_ylabel() == "Elevation (°)"


def test_a_region_over_the_seam_is_drawn_on_both_sides() -> None:
    labels, predictions = tables(40)
    rows = [_row(labels, predictions, 6)]
    with drawing(SMALL):
        figure = panel_figure(rows, options=PanelOptions(names="none"), style=SMALL)
    truth = [axes for axes in figure.axes if axes.get_xlim() == (180, -180)][1]
    spans = [
        (float(np.min(np.asarray(line.get_xdata()))), float(np.max(np.asarray(line.get_xdata()))))
        for line in truth.lines
    ]
    assert any(high > 180 for _, high in spans)
    assert any(low < -180 for low, _ in spans)


def test_the_fixed_scale_keeps_amplitudes_and_the_other_one_does_not() -> None:
    half = np.zeros((180, 360), np.float32)
    half[80:100, 170:190] = 0.5
    row = PanelRow("x", None, Side(half, ()), Side(half, ()))
    for scale, expected in (("fixed", 0.5), ("per-map", 1.0)):
        with drawing(SMALL):
            figure = panel_figure([row], options=PanelOptions(scale=scale), style=SMALL)  # type: ignore[arg-type]
        images = [axes.images[0] for axes in figure.axes if axes.images and axes.get_xlim() == (180, -180)]
        assert float(np.max(images[0].get_array())) == pytest.approx(expected)  # type: ignore[arg-type]
        assert images[0].get_clim() == (0, 1)
        assert images[2].get_clim() == (-1, 1)


def test_colours_are_those_of_the_tables() -> None:
    """The middle of a full-energy panel has the last colour of the map, the residual its neutral centre."""
    full = np.ones((180, 360), np.float32)
    row = PanelRow("", None, Side(full, ()), Side(full, ()))
    style = PaperStyle(width_mm=178, dpi=100)
    options = PanelOptions(note="caption")
    with Image.open(io.BytesIO(render_panels([row], "png", options=options, style=style))) as image:
        pixels = np.asarray(image.convert("RGB"))
    height, width, _ = pixels.shape
    # centres of the second and the fourth column, in the upper half of the picture
    line = pixels[round(0.25 * height)]
    seen = {tuple(int(v) for v in line[round(width * at)]) for at in (0.4, 0.6, 0.93)}
    last = sequential_lut("magma")[255].astype(int)
    # Agg's resampling rounds down by up to two levels
    assert any(np.abs(np.array(colour) - last).max() <= 2 for colour in seen)
    centre = diverging_lut(dark=False)[127].astype(int)
    assert any(np.abs(np.array(colour) - centre).max() <= 1 for colour in seen)


def test_residual_is_prediction_minus_truth(material: Material) -> None:
    rows = frame_rows(material, 20)
    with drawing(SMALL):
        figure = panel_figure(rows, options=PanelOptions(), style=SMALL)
    residual = [axes for axes in figure.axes if axes.get_xlim() == (180, -180)][3].images[0].get_array()
    assert material.labels is not None
    assert material.tables[0] is not None
    expected = frame_map(material.tables[0], 20) - frame_map(material.labels, 20)
    np.testing.assert_array_equal(np.asarray(residual), expected)
    assert np.abs(expected).max() > 0.1


def test_what_is_missing_is_said(root: DataRoot) -> None:
    recording = replace(root.recording("fold4_room9_mix001"), label_path=None)
    with open_material(recording, [System("nothing", None)], picture_size_wh=(320, 160)) as bare:
        rows = frame_rows(replace(bare, n_frames=5), 0)
    with drawing(SMALL):
        figure = panel_figure(rows, options=PanelOptions(), style=SMALL)
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    for sentence in ("no video", "no labels", "no predictions", "needs labels and predictions"):
        assert sentence in said


def test_a_damaged_video_leaves_the_rest(root: DataRoot, tmp_path: Path) -> None:
    broken = tmp_path / "x.mp4"
    broken.write_bytes(b"no video at all")
    recording = replace(root.recording("fold4_room23_mix001"), video_path=broken)
    with open_material(recording, []) as opened:
        assert opened.frames is None
        assert any("x.mp4" in problem for problem in opened.problems)
        assert render_frame(opened, 0, "png", style=SMALL).startswith(b"\x89PNG")


@pytest.mark.parametrize("frame", [-1, 40, 10_000])
def test_a_frame_outside_is_one_sentence(material: Material, frame: int) -> None:
    with pytest.raises(InputError, match="choose 0 to 39"):
        frame_rows(material, frame)


def test_simulated_and_stand_in_are_said_in_figure_and_caption(root: DataRoot) -> None:
    recording = root.recording("fold9_room1_mix001")
    system = system_of_set(root.prediction_set("stand-in-A"), recording.name)
    with open_material(recording, [system]) as opened:
        note = frame_note(opened, 7)
        assert "simulated recording" in note
        assert "stand-in" in note
        rows = frame_rows(opened, 7)
        text = caption(rows, PanelOptions(note="caption"), note=note, number="Fig. 3")
        assert "simulated recording" in text
        assert text.startswith("Fig. 3. ")
        for where, there in (("figure", True), ("caption", False)):
            with drawing(SMALL):
                figure = panel_figure(rows, options=PanelOptions(note=where), style=SMALL, note=note)  # type: ignore[arg-type]
            shown = " ".join(t.get_text() for t in figure.texts)
            assert ("simulated recording" in shown) == there


def test_a_stand_in_stays_one_under_another_name() -> None:
    systems = [System("stand-in-A", None, True), System("b", None)]
    assert [s.title for s in rename(systems, ["Ours", "Baseline"])] == ["Ours (stand-in)", "Baseline"]
    with pytest.raises(InputError, match="2 systems"):
        rename(systems, ["one"])


def test_hostile_names_are_only_text(material: Material) -> None:
    """Formulas, tags and scripts without glyphs in a system's name are drawn, not interpreted."""
    rows = [replace(frame_rows(material, 3)[0], title=r"$\frac{1}{0}$ <script>&amp; 声音")]
    data = render_panels(rows, "svg", style=replace(SMALL, width_mm=178, editable_text=True))
    assert b"<script>" not in data
    assert b"&lt;script&gt;" in data


@pytest.mark.parametrize("layout", ["grid", "stacked"])
def test_nothing_leaves_the_page(material: Material, layout: str) -> None:
    """Every text and panel lies on the page, at both widths and in all shipped fonts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for width in (85.0, 178.0):
        for font in suggested_fonts()[:2]:
            style = PaperStyle(width_mm=width, font=font, dpi=100)
            options = PanelOptions(layout=layout)  # type: ignore[arg-type]
            with drawing(style):
                figure = panel_figure(
                    frame_rows(material, 12), options=options, style=style, note=frame_note(material, 12)
                )
                canvas = FigureCanvasAgg(figure)
                canvas.draw()
                page = figure.bbox
                for text in figure.findobj(matplotlib.text.Text):
                    if not text.get_text() or not text.get_visible():
                        continue
                    box = text.get_window_extent(canvas.get_renderer())
                    # 1.5 px at 100 dpi is 0.4 mm: rounding of text sizes
                    assert box.x0 >= page.x0 - 1.5, (width, font, text.get_text())
                    assert box.x1 <= page.x1 + 1.5, (width, font, text.get_text())
                    assert box.y0 >= page.y0 - 1.5, (width, font, text.get_text())
                    assert box.y1 <= page.y1 + 1.5, (width, font, text.get_text())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width_mm": 10}, "40 to 500 mm"),
        ({"dpi": 5000}, "72 to 1200"),
        ({"font": "DejaVu Sanz"}, "did you mean DejaVu Sans"),
        ({"colormap": "jet"}, "magma"),
        ({"theme": "neon"}, "journal"),
    ],
)
def test_wrong_looks_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PaperStyle(**options)  # type: ignore[arg-type]


def test_weak_predictions_can_be_left_out_and_the_note_says_so(material: Material) -> None:
    table = material.tables[0]
    assert table is not None
    frame = int(np.bincount(table.frame).argmax())
    score = table.score[table.frame_slice(frame)]
    middle = float(np.median(score))
    everything = frame_rows(material, frame)[0].prediction
    strong = frame_rows(material, frame, min_score=middle)[0].prediction
    assert everything is not None
    assert strong is not None
    assert len(everything.regions) == len(score)
    assert len(strong.regions) == int((score >= middle).sum()) < len(score)
    assert strong.energy.sum() < everything.energy.sum()
    weakest = table.frame_slice(frame).start + int(score.argmin())
    focused = side_of(table, frame, focus=weakest, min_score=middle)
    assert focused is not None
    assert len(focused.regions) == len(strong.regions) + 1
    assert "score" not in frame_note(material, frame)
    assert frame_note(material, frame, min_score=0.5).endswith("predictions with a score of at least 0.5")
    options = PanelOptions(min_score=0.5, note="caption")
    assert render_frame(material, frame, "svg", options=options) != render_frame(material, frame, "svg")


def test_wrong_options_and_endings_are_refused() -> None:
    with pytest.raises(InputError, match="smallest score"):
        PanelOptions(min_score=1.5)
    with pytest.raises(InputError, match="Layout 'round'"):
        PanelOptions(layout="round")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no room"):
        render_panels([PanelRow("x", None, None, None)], "png", style=PaperStyle(width_mm=40, font_size_pt=20))
    with pytest.raises(InputError, match=r"\.pdf, \.svg or \.png"):
        format_of("figure.jpg")


def test_systems_are_found_by_file_folder_and_name(root: DataRoot, tmp_path: Path) -> None:
    recording = root.recording("fold4_room23_mix001")
    folder = root.path / "predictions" / "first"
    file = folder / f"{recording.name}.json"
    assert find_system(file, root, recording).title == "first"
    assert find_system(folder, root, recording).path == file
    assert find_system("second", root, recording).title == "second"
    other = tmp_path / "mine.json"
    other.write_bytes(file.read_bytes())
    assert find_system(other, root, recording).title == "mine"
    with pytest.raises(InputError, match="no such prediction file"):
        find_system("absent.json", root, recording)
    with pytest.raises(InputError, match="holds no predictions"):
        find_system(root.path / "predictions" / "stand-in-A", root, recording)


def test_inputs_and_data_are_never_written_over(root: DataRoot, tmp_path: Path) -> None:
    recording = root.recording("fold4_room23_mix001")
    for path in (
        root.path / "video_dev" / "dev-test-sony" / "new.mp4",
        root.path / "predictions" / "x.pdf",
        tmp_path,
    ):
        with pytest.raises(InputError):
            check_output(path, root)
    with pytest.raises(InputError, match="one of the inputs"):
        check_output(tmp_path / "a.pdf", root, inputs=[tmp_path / "a.pdf"])
    assert check_output(tmp_path / "a.pdf", root, inputs=[recording.label_path]) == tmp_path / "a.pdf"


def _row(labels: AnnotationTable, predictions: AnnotationTable, frame: int) -> PanelRow:
    from sai_core.figures.paper.panels import side_of

    return PanelRow("x", None, side_of(labels, frame), side_of(predictions, frame))


# curves


def test_ap_over_iou_passes_through_the_official_values() -> None:
    scores = [score_recording(*tables(60, seed=seed, recording=f"r{seed}"), use_cache=False) for seed in (1, 2)]
    macro, micro = curves.ap_over_iou(scores, (0.25, 0.5, 0.75))
    evaluation = merge(scores)
    np.testing.assert_allclose(macro, evaluation.macro.ap, rtol=0, atol=1e-7)  # float32 sums, averaged
    np.testing.assert_allclose(micro, evaluation.micro.ap, rtol=0, atol=1e-7)
    steps, _ = curves.ap_over_iou(scores)
    assert np.all(np.diff(steps) <= 1e-9)  # a stricter threshold never finds more


def test_curves_of_nothing_are_still_figures() -> None:
    empty = AnnotationTable.empty("r")
    nothing = {"a": [score_recording(empty, empty, use_cache=False)], "b": []}
    for data in (
        curves.render_ap_over_iou(nothing, "pdf", style=SMALL),
        curves.render_precision_recall(nothing, "pdf", style=SMALL),
        curves.render_class_bars(nothing, "pdf", style=SMALL),
    ):
        assert data.startswith(b"%PDF")
    macro, _ = curves.ap_over_iou([])
    assert np.isnan(macro).all()


def test_curves_are_the_same_bytes_and_say_what_is_made_up() -> None:
    scores = {"one": [score_recording(*tables(30), use_cache=False)]}
    style = replace(SMALL, editable_text=True)
    for draw in (curves.render_ap_over_iou, curves.render_precision_recall, curves.render_class_bars):
        first = draw(scores, "svg", style=style, note="simulated recording")
        assert first == draw(scores, "svg", style=style, note="simulated recording")
        assert b"simulated recording" in first
    with pytest.raises(InputError, match="mAP"):
        curves.render_class_bars(scores, "svg", style=style, figure_name="F1")


def test_training_curves_of_stages_follow_each_other(tmp_path: Path) -> None:
    run = tmp_path / "run7"
    run.mkdir()
    lines = ["stage,step,seconds,train_loss,val_loss"]
    lines += [
        f"{stage},{step},1,{1 / (1 + step)},{'' if step % 20 else 0.5}" for stage in (0, 1) for step in (10, 20, 30)
    ]
    (run / "metrics.csv").write_text("\n".join(lines) + "\n")
    log = curves.read_training_log(run)
    assert log.name == "run7"
    assert log.x.tolist() == [10, 20, 30, 40, 50, 60]
    assert log.stage_starts == (30.0,)
    assert curves.default_curves(log) == ["train_loss", "val_loss"]
    data = curves.render_training(log, ["train_loss", "val_loss"], "pdf", style=SMALL, logarithmic=True)
    assert data.startswith(b"%PDF")
    with pytest.raises(InputError, match="no column 'x'"):
        curves.render_training(log, ["x"], "pdf", style=SMALL)


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "step,x\n", "step,x\n1,\n"])
def test_logs_without_curves_are_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.csv").write_text(content)
    with pytest.raises(InputError):
        curves.read_training_log(tmp_path)


def test_a_folder_without_a_log_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metrics\.csv"):
        curves.read_training_log(tmp_path / "nowhere")

"""Every painter follows one rule: the same levels, colours, seam, boxes and names, also in the browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations import AnnotationTable
from sai_core.dataset import Recording
from sai_core.detections.raw import RawDetections
from sai_core.drawing import raw_picture
from sai_core.drawing.annotators import (
    Name,
    box_of,
    draw_box,
    draw_outlines,
    energy_levels,
    lay_over,
    place_names,
    quantise,
    residual_levels,
    turns,
    write_names,
)
from sai_core.drawing.colormaps import diverging_lut, sequential_lut
from sai_core.drawing.lettering import name_tile, shortened, text_tile
from sai_core.drawing.maps import Patch, outlines
from sai_core.drawing.still import still
from sai_core.figures import video
from sai_core.figures.paper.material import Material, System
from sai_core.figures.paper.panels import PanelOptions, PanelRow, panel_figure, side_of
from sai_core.figures.paper.style import PaperStyle, drawing
from sai_core.taxonomy import class_rgb, short_name
from sai_core.training.validation import _panel
from sai_core.viewing.player import encode_block
from tests.figures.scenes import Row, frame_map, table_of

Picture = npt.NDArray[np.uint8]
MUSIC = 8


def dense(category: int, x: int, y: int, energy: float, *, size: int = 20, score: float = np.nan) -> Row:
    """Square region of one energy on whole pixels; wraps at the seam."""
    columns, rows = np.meshgrid(np.arange(x, x + size) % 360, np.arange(y, y + size))
    points = np.column_stack([columns.ravel(), rows.ravel()]).astype(np.float64)
    return (0, category, 1, 100.0, score, points, np.full(len(points), energy))


def raw_of(table: AnnotationTable, energy: npt.NDArray[np.float32]) -> RawDetections:
    """Raw detections of frame 0: boxes around the regions of a table, and a full-frame map."""
    boxes = [box_of(np.concatenate(_curves(table, row))) for row in range(len(table))]
    # outlines go through pixel centres
    boxes_xyxy = np.array([(x0 - 0.5, y0 - 0.5, x1 + 0.5, y1 + 0.5) for x0, y0, x1, y1 in boxes])
    n = len(table)
    return RawDetections(
        recording="r",
        key="key",
        n_frames=1,
        notes={},
        frame=np.zeros(n, np.int32),
        boxes_xyxy=boxes_xyxy.astype(np.float32),
        class_scores=np.eye(13, dtype=np.float32)[table.category_id],
        objectness=np.ones(n, np.float32),
        category_id=table.category_id.astype(np.int16),
        energy=np.zeros((n, 28, 28), np.float16),
        distance_cm=np.zeros(n, np.float32),
        embedding=np.zeros((n, 0), np.float16),
        full_energy=energy[None].astype(np.float16),
    )


def _curves(table: AnnotationTable, row: int) -> list[npt.NDArray[np.float32]]:
    from sai_core.drawing.maps import annotation_patch

    return outlines(annotation_patch(table, row))


def canvas_of(table: AnnotationTable, predictions: AnnotationTable | None = None, **options: Any) -> video._Canvas:
    recording = Recording("r", "", None, None, None, None, None, None, None)
    material = Material(recording, table, (System("s", None),), (predictions,), None, 1, ())
    return video._Canvas(material, video.VideoOptions(**options), 0, 1)


def video_panel(table: AnnotationTable, predictions: AnnotationTable | None = None, panel: int = 1) -> Picture:
    picture = canvas_of(table, predictions).draw(0, None)
    width, height = video._PANEL_WH
    x, y = video._LEFT + panel % 2 * (width + video._GAP), video._TOP + panel // 2 * (height + video._GAP)
    return picture[y : y + height, x : x + width].copy()


def still_view(table: AnnotationTable) -> Picture:
    return still(table, 0, np.zeros((360, 720, 3), np.uint8), opacity=1.0)


def raw_map_view(table: AnnotationTable) -> Picture:
    shown = raw_picture.full_map_picture(raw_of(table, frame_map(table, 0)), 0)
    assert shown is not None
    return shown


def training_view(table: AnnotationTable) -> Picture:
    return _panel(frame_map(table, 0), np.zeros((0, 4)), np.zeros(0, np.int64), None)


def paper_images(table: AnnotationTable, predictions: AnnotationTable | None) -> list[Picture]:
    """Truth, prediction and residual of a paper figure in the colours that matplotlib gives them."""
    style = PaperStyle(width_mm=85, dpi=100, colormap="magma")
    with drawing(style):
        row = PanelRow("", None, side_of(table, 0), side_of(predictions, 0))
        figure = panel_figure([row], options=PanelOptions(outlines=False, note="caption"), style=style)
        images = [axes.images[0] for axes in figure.axes if axes.images and axes.get_xlim() == (180, -180)]
        return [
            np.asarray(image.to_rgba(np.ma.array(image.norm(cast(Any, image.get_array()))), bytes=True, norm=False))[
                ..., :3
            ]
            for image in images
        ]


def paper_view(table: AnnotationTable) -> Picture:
    return paper_images(table, None)[0]


PAINTERS: dict[str, Callable[[AnnotationTable], Picture]] = {
    "still": still_view,
    "raw picture": raw_map_view,
    "training sample": training_view,
    "video": video_panel,
    "paper": paper_view,
}


def browser(table: AnnotationTable, predictions: AnnotationTable, folder: Path, opacity: float) -> dict[str, Any]:
    """What the scripts paint, RGB and opacity, (180, 360, 4) each."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("SAI_REQUIRE_NODE"):
            pytest.fail("no node on this machine, and SAI_REQUIRE_NODE asks for it")
        pytest.skip("no node on this machine; only tests need it")
    (folder / "block").write_bytes(encode_block(0, {"L": table, "A": predictions}, n_frames=1))
    script = Path(__file__).resolve().parents[1] / "web" / "paint.mjs"
    tables = [sequential_lut().tobytes().hex(), diverging_lut(dark=True).tobytes().hex()]
    command = [node, str(script), str(folder / "block"), *tables, str(opacity)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return {
        name: np.array(pixels, dtype="<u4").view(np.uint8).reshape(180, 360, 4)
        for name, pixels in json.loads(done.stdout).items()
    }


def at(view: Picture, x: float, y: float) -> list[int]:
    """Colour of a view under the middle of a canvas pixel."""
    scale = view.shape[1] / 360
    return cast(list[int], view[int((y + 0.5) * scale), int((x + 0.5) * scale)].tolist())


@pytest.mark.parametrize("painter", PAINTERS)
@pytest.mark.parametrize("energy", [0.34, 0.5, 0.72, 1.0])
def test_an_energy_has_one_colour_on_both_sides_of_the_seam(painter: str, energy: float) -> None:
    """Also in the first and the last column, and the next pixels have none."""
    view = PAINTERS[painter](table_of("r", [dense(MUSIC, 350, 60, energy)]))
    colour = sequential_lut()[round(energy * 255)].tolist()
    for x in (354, 357, 2, 5):  # inside of what an outline covers
        assert at(view, x, 70) == colour, x
    none = [0, 0, 0] if painter == "still" else sequential_lut()[0].tolist()  # a still lies over a picture
    for x, y in ((346, 70), (13, 70), (2, 83), (357, 83), (180, 90)):
        assert at(view, x, y) == none, (x, y)
    rows = view[int(70.5 * view.shape[1] / 360)]
    assert rows[0].tolist() == rows[-1].tolist() == colour


@pytest.mark.parametrize("painter", [name for name in PAINTERS if name != "still"])
def test_the_faintest_energy_is_not_none(painter: str) -> None:
    """A still lies over a picture: there it is as faint as in the player (below)."""
    view = PAINTERS[painter](table_of("r", [dense(MUSIC, 100, 60, 1e-4)]))
    assert at(view, 110, 70) == sequential_lut()[1].tolist()


def test_the_browser_paints_the_same_pixels(tmp_path: Path) -> None:
    labels = table_of("r", [dense(MUSIC, 352, 60, 0.6, size=16), dense(0, 100, 20, 1e-4), dense(1, 30, 100, 1.0)])
    guesses = table_of("r", [dense(MUSIC, 355, 62, 51 / 255), dense(2, 200, 150, 17 / 255)])
    painted = browser(labels, guesses, tmp_path, 0.8)
    levels, other = energy_levels(frame_map(labels, 0)), energy_levels(frame_map(guesses, 0))
    np.testing.assert_array_equal(painted["energy"][..., :3], sequential_lut()[levels])
    residual = residual_levels((other.astype(float) - levels) / 255)
    np.testing.assert_array_equal(painted["residual"][..., :3], diverging_lut(dark=True)[residual])
    # over white and over black: what the browser composes from colour and opacity
    for ground in (0, 255):
        view = np.full((180, 360, 3), ground, np.uint8)
        lay_over(view, levels, sequential_lut(), opacity=0.8)
        weight = painted["over"][..., 3:] / 255
        # the browser's opacity is a byte: half of one is half a level
        np.testing.assert_allclose(view, painted["over"][..., :3] * weight + ground * (1 - weight), atol=1.01)
        assert (view[levels == 0] == ground).all()
    # paper and video draw the residual with the same table
    np.testing.assert_array_equal(paper_images(labels, guesses)[1], sequential_lut()[other])
    np.testing.assert_array_equal(paper_images(labels, guesses)[2], diverging_lut(dark=False)[residual])
    assert at(video_panel(labels, guesses, 3), 40, 110) == diverging_lut(dark=True)[0].tolist()


BOX_PAINTERS: dict[str, Callable[[AnnotationTable], Picture]] = {
    "raw picture": lambda table: raw_picture.draw_candidates(
        raw := raw_of(table, frame_map(table, 0)), raw_picture.frame_candidates(raw, 0), None
    ),
    "training sample": lambda table: _panel(
        np.zeros((180, 360), np.float32), raw_of(table, frame_map(table, 0)).boxes_xyxy, table.category_id, None
    ),
}


@pytest.mark.parametrize("painter", BOX_PAINTERS)
@pytest.mark.parametrize("x", [355, 345, 340, 0])
def test_a_box_lights_its_own_pixels_on_both_sides_of_the_seam(painter: str, x: int) -> None:
    """``[x, x + 20)``: the sides are the first and last pixels inside of the box."""
    view = BOX_PAINTERS[painter](table_of("r", [dense(MUSIC, x, 60, 0.5)]))
    scale = view.shape[1] // 360
    lit = (view == class_rgb(MUSIC)).all(axis=2)
    lower = lit[80 * scale - 1]
    inside = np.zeros(360 * scale, dtype=bool)
    inside[np.arange(x * scale, (x + 20) * scale) % (360 * scale)] = True
    np.testing.assert_array_equal(lower, inside)
    assert not lit[80 * scale].any()
    middle = lit[70 * scale]
    assert middle[x * scale]
    assert middle[((x + 20) * scale - 1) % (360 * scale)]
    assert middle.sum() in (4, 6)


NAME_PAINTERS: dict[str, Callable[[AnnotationTable], tuple[Picture, Picture]]] = {
    "raw picture": lambda table: (BOX_PAINTERS["raw picture"](table), name_tile("Music 1.00", class_rgb(MUSIC), 17)),
    "training sample": lambda table: (
        BOX_PAINTERS["training sample"](table),
        name_tile("Music", class_rgb(MUSIC), 13),
    ),
    "video": lambda table: (video_panel(table), name_tile("Music", class_rgb(MUSIC), 13)),
}


@pytest.mark.parametrize("painter", NAME_PAINTERS)
@pytest.mark.parametrize(("x", "y"), [(350, 60), (0, 1), (338, 1), (0, 159), (339, 159), (354, 0), (170, 80)])
def test_a_name_stands_whole_beside_its_region(painter: str, x: int, y: int) -> None:
    view, tile = NAME_PAINTERS[painter](table_of("r", [dense(MUSIC, x, y, 0.5)]))
    difference = cv2.matchTemplate(view, tile, cv2.TM_SQDIFF)
    _, _, (left, top), _ = cv2.minMaxLoc(difference)
    height, width = tile.shape[:2]
    np.testing.assert_array_equal(view[top : top + height, left : left + width], tile)
    scale = view.shape[1] / 360
    apart_x = abs((left + width / 2) / scale - (x + 10) + 180) % 360 - 180
    apart_y = (top + height / 2) / scale - (y + 10)
    assert abs(apart_x) <= 10 + width / scale / 2 + 4
    assert abs(apart_y) <= 10 + height / scale + 4
    beside = abs(apart_x) >= 10 + width / scale / 2 - 1
    assert beside or abs(apart_y) >= 10 + height / scale / 2 - 1


def test_names_of_a_paper_figure_stand_in_their_panels() -> None:
    table = table_of("r", [dense(MUSIC, 350, 60, 0.5), dense(0, 0, 0, 0.5), dense(1, 339, 159, 1.0)])
    style = PaperStyle(width_mm=178, dpi=100)
    with drawing(style):
        row = PanelRow("", None, side_of(table, 0), None)
        figure = panel_figure([row], options=PanelOptions(names="panel"), style=style)
        figure.canvas.draw()
        axes = [axes for axes in figure.axes if axes.get_xlim() == (180, -180)][1]
        assert {text.get_text() for text in axes.texts} == {short_name(c) for c in (MUSIC, 0, 1)}
        for text in axes.texts:
            box, panel = text.get_window_extent(), axes.get_window_extent()
            assert panel.x0 <= box.x0 < box.x1 <= panel.x1
            assert panel.y0 <= box.y0 < box.y1 <= panel.y1


@given(left=st.floats(-800, 800), width=st.floats(0.001, 359))
def test_turns_are_those_by_which_something_shows(left: float, width: float) -> None:
    found = list(turns(left, left + width))
    expected = [k for k in range(-4, 5) if left + width + 360 * k > 0 and left + 360 * k < 360]
    assert sorted(found) == expected
    assert 1 <= len(found) <= 2


@given(x=st.integers(0, 359), turn=st.integers(-1, 1))
def test_a_box_is_the_same_whatever_turn_it_is_given_in(x: int, turn: int) -> None:
    view, other = np.zeros((360, 720, 3), np.uint8), np.zeros((360, 720, 3), np.uint8)
    draw_box(view, (x, 40, x + 30, 60), (255, 0, 0), thickness=2)
    draw_box(other, (x + 360 * turn, 40, x + 30 + 360 * turn, 60), (255, 0, 0), thickness=2)
    np.testing.assert_array_equal(view, other)
    # and is that of the box at 0, turned
    there = np.zeros((360, 720, 3), np.uint8)
    draw_box(there, (0, 40, 30, 60), (255, 0, 0), thickness=2)
    np.testing.assert_array_equal(np.roll(there, 2 * x, axis=1), view)


@pytest.mark.parametrize("dashed", [False, True])
@pytest.mark.parametrize("x", [330, 345, 359, 0, 1])
def test_an_outline_is_that_of_the_middle_turned(x: int, dashed: bool) -> None:
    """Its rim too, and it lies evenly about the region."""
    views = []
    for at_x in (x, 170):
        curves = outlines(Patch(at_x, 60, np.ones((20, 20), np.float32)))
        view = np.zeros((360, 720, 3), np.uint8)
        draw_outlines(view, curves, (255, 0, 0), thickness=2, rim=2, dashed=dashed)
        views.append(np.roll(view, -2 * at_x, axis=1))
    np.testing.assert_array_equal(views[0], views[1])
    if not dashed:
        column, row = np.meshgrid(np.arange(720), np.arange(360))
        lit = np.roll(views[0], 20, axis=1)[..., 0] > 128
        assert column[lit].mean() == pytest.approx(20 + 20 - 0.5, abs=0.1)
        assert row[lit].mean() == pytest.approx(120 + 20 - 0.5, abs=0.1)


def test_names_give_way_to_each_other_and_to_regions() -> None:
    boxes = [
        (100.0, 50.0, 120.0, 70.0),
        (102.0, 50.0, 122.0, 70.0),
        (350.0, 50.0, 370.0, 70.0),
        (0.0, 30.0, 20.0, 47.0),
    ]
    places = place_names(boxes, [(40.0, 8.0)] * 4)
    frames = [(x - 20, y - 4, x + 20, y + 4) for x, y in places]
    for number, first in enumerate(frames):
        for second in [*frames[number + 1 :], *boxes, (-10, 50, 10, 70)]:
            wide = min(first[2], second[2]) - max(first[0], second[0])
            high = min(first[3], second[3]) - max(first[1], second[1])
            assert wide <= 0 or high <= 0, (first, second)
    assert place_names([], []) == []
    below = place_names(boxes[:1], [(40.0, 8.0)], below=True)
    assert below[0][1] > 70 > 50 > places[0][1]


def test_nothing_to_draw_changes_nothing() -> None:
    view = np.full((180, 360, 3), 7, np.uint8)
    lay_over(view, np.zeros((180, 360), np.uint8), sequential_lut(), opacity=1.0)
    draw_outlines(view, [], (1, 2, 3), thickness=2)
    write_names(view, [])
    assert (view == 7).all()
    assert energy_levels(np.zeros((0, 5), np.float32)).shape == (0, 5)
    values = np.array([-1.0, 0.0, 0.001, 0.5, 2.0])
    assert quantise(values).tolist() == [0, 0, 0, 128, 255]
    assert energy_levels(values).tolist() == [0, 0, 1, 128, 255]
    assert values.tolist() == [-1.0, 0.0, 0.001, 0.5, 2.0]


def test_a_name_wider_than_the_view_is_cut() -> None:
    view = np.zeros((20, 40, 3), np.uint8)
    write_names(view, [Name("a very long name", (255, 0, 0), (10.0, 10.0, 20.0, 20.0))])
    assert view.any()


def test_long_text_is_shortened_to_its_room() -> None:
    text = shortened("a very long system name " * 20, 17, 600)
    tile = text_tile(text, 17, (255, 255, 255), bold=True, background=(0, 0, 0))
    assert tile.shape[1] <= 604
    assert tile.any()
    assert shortened("short", 17, 600) == "short"

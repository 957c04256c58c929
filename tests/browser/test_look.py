"""The view from inside the sphere in a real Chromium: what it shows is where it is, drags hold, nothing leaks."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Page, expect

from sai_core.dataset import open_data_root
from sai_core.dataset.video import open_frames
from tests.browser.conftest import RECORDING, read, report, settle, wait_for

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]

PICTURE = """(() => {
    const q = p.lookOn, c = document.createElement('canvas');
    Object.assign(c, {width: Math.round(q.width), height: Math.round(q.height)});
    if (q.fast) q.lens.draw(q.perspective, q.layers, true);
    c.getContext('2d').drawImage(q.fast ? q.lens.canvas : q.plain.canvas, 0, 0, c.width, c.height);
    return [q.fast, c.toDataURL()];
})()"""
"""What the view shows without the lines over it, and whether the graphics card has drawn it."""


def seen(page: Page) -> tuple[bool, npt.NDArray[np.float64]]:
    fast, url = read(page, PICTURE)
    image = cv2.imdecode(np.frombuffer(base64.b64decode(url.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    return fast, np.asarray(image, dtype=np.float64)[..., ::-1]


def expected(panorama: npt.NDArray[Any], shape: tuple[int, ...], yaw: float, pitch: float, fov: float) -> Any:
    """The same view by matrices of rotation; azimuth grows to the left, as in ``sai_core.geometry``."""
    height, width = shape[:2]
    focal = max(width, height) / 2 / np.tan(np.radians(fov) / 2)
    x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
    rays = np.stack([np.full(x.shape, focal), -x, -y], -1)  # front, left, up
    e, a = np.radians(pitch), np.radians(yaw)
    tilt = np.array([[np.cos(e), 0, -np.sin(e)], [0, 1, 0], [np.sin(e), 0, np.cos(e)]])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    front, left, up = np.moveaxis(rays @ (turn @ tilt).T, -1, 0)
    azimuth, elevation = np.degrees(np.arctan2(left, front)), np.degrees(np.arctan2(up, np.hypot(front, left)))
    rows, columns = panorama.shape[:2]
    wide = np.hstack([panorama, panorama[:, :1]]).astype(np.float32)  # the first column follows the last
    column = np.clip((180 - azimuth) / 360 * columns - 0.5, 0, None).astype(np.float32)
    row = ((90 - elevation) / 180 * rows - 0.5).astype(np.float32)
    return cv2.remap(wide, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def test_what_is_seen_is_where_it_is(open_page: OpenPage, data_root: Path) -> None:
    """Edges of the picture's pale bar, its floor, the seam and a pole: to 2 px, with WebGL and without."""
    recording = open_data_root(data_root).recording(RECORDING.rpartition("/")[2])
    page = open_page(a="first", frame=100, view="onone_w_g21*3*60")
    frames = open_frames(recording, size=(720, 360))
    assert frames is not None
    panorama = frames.frame(100)
    pale = np.array([230, 205, 180])
    for fast in (True, False):
        if not fast:
            read(page, "(window.loss = p.lookOn.lens.gl.getExtension('WEBGL_lose_context'), loss.loseContext())")
            wait_for(page, "!p.lookOn.fast")
            expect(page.locator("[data-kind=look] .ph")).to_contain_text("without WebGL")
        for yaw, pitch, fov in ((45, 0, 60), (179, 10, 90), (-60, 88, 110)):
            read(page, f"(p.turn({{yaw: {yaw}, pitch: {pitch}, fov: {fov}}}), p.stage.draw())")
            by_card, image = seen(page)
            assert by_card == fast
            want = expected(panorama, image.shape, yaw, pitch, fov)
            assert np.abs(image - want).mean() < 4, (fast, yaw)
            if yaw == 45:
                bars = [np.argwhere(np.abs(one - pale).sum(-1) < 60) for one in (image, want)]
                assert len(bars[1]) > 500
                # quantiles: pixels at the very edge are the JPEG's matter
                places = [np.quantile(bar, [0.05, 0.5, 0.95], axis=0) for bar in bars]
                np.testing.assert_allclose(places[0], places[1], atol=2)
    read(page, "loss.restoreContext()")
    wait_for(page, "p.lookOn.fast")
    expect(page.locator("[data-kind=look] .ph")).not_to_contain_text("without WebGL")


def test_a_drag_holds_what_was_taken_and_back_undoes_it(open_page: OpenPage) -> None:
    page = open_page(a="first", frame=100)
    assert read(page, "p.lookOn") is None
    page.keyboard.press("v")
    wait_for(page, "p.lookOn")
    settle(page)
    box = page.locator("[data-kind=look] > canvas:not(.lens)").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    taken = read(page, "[p.cursor.x, p.cursor.y]")
    page.mouse.down()
    page.mouse.move(x + 70, y + 40, steps=5)
    page.mouse.up()
    page.mouse.move(x + 71, y + 40)
    page.mouse.move(x + 70, y + 40)
    assert read(page, "[p.cursor.x, p.cursor.y]") == pytest.approx(taken, abs=0.2)  # events know whole pixels
    turned = read(page, "p.gaze")
    assert turned["yaw"] > 5
    assert turned["pitch"] > 3
    page.mouse.wheel(0, -300)
    wait_for(page, "p.gaze.fov < 80")
    page.mouse.move(x + 69, y + 40)
    page.mouse.move(x + 70, y + 40)
    assert read(page, "[p.cursor.x, p.cursor.y]") == pytest.approx(taken, abs=0.2)  # events know whole pixels
    wait_for(page, "location.search.includes(`*${Math.round(p.gaze.fov * 10) / 10}_`)")
    for _ in range(2):  # one step for the wheel, one for the drag
        page.go_back()
        settle(page)
    assert read(page, "[p.turned, !!p.lookOn]") == [None, True]
    # the view's middle on a panel of the canvas is taken and moved
    left, top = read(
        page,
        "(() => { const q = p.panels.get('gt'), r = q.canvas.getBoundingClientRect();"
        " return [r.left + q.toX(180), r.top + q.toY(90)]; })()",
    )
    degrees = read(page, "1 / p.panels.get('gt').scale")
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(left - 30, top - 10, steps=3)
    page.mouse.up()
    assert read(page, "[p.gaze.yaw, p.gaze.pitch]") == pytest.approx([30 * degrees, 10 * degrees], abs=0.5)
    assert read(page, "[p.isolate, p.view.x]") == [None, 180]


def test_no_context_of_the_graphics_card_is_left_behind(open_page: OpenPage) -> None:
    page = open_page(a="first", frame=100, view="onone_w")
    page.evaluate(
        """() => { const get = HTMLCanvasElement.prototype.getContext, made = (window.made = new Set());
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
            if (kind.startsWith('webgl')) made.add(this);
            return get.call(this, kind, ...more);
        }; }"""
    )
    for k in range(40):
        page.keyboard.press("v" if k % 2 else "5")
        page.wait_for_timeout(20)
    assert page.evaluate("made.size") == 0
    for _ in range(2):
        page.get_by_role("link", name="Dataset").click()
        expect(page.locator(".sx")).to_have_count(0, timeout=60_000)
        page.get_by_role("link", name="Explorer").click()
        page.wait_for_selector(".sx[data-ready]", timeout=60_000)
    assert page.evaluate("made.size") <= 1


def test_a_frame_step_with_the_view_costs_little(open_page: OpenPage) -> None:
    """Script of a drawing with and without the view, in turns; measured, not judged: the machine is shared."""
    page = open_page(a="first", frame=100, view="oL_w_g40*10*90")
    wait_for(page, "p.store.blocks.size >= 4")
    figures = page.evaluate(
        """async (find) => {
            const p = eval(find), draw = p.stage.draw.bind(p.stage), times = {on: [], off: []};
            const rest = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
            let spent = 0;
            p.stage.draw = () => {
                const began = performance.now();
                draw();
                spent = performance.now() - began;
            };
            for (let turn = 0; turn < 16; turn++) {
                p.controls.act('look');
                for (let k = 0; k < 3; k++) await rest();
                for (let k = 0; k < 12; k++) {
                    p.seek(60 + ((turn * 12 + k) % 80));
                    await rest();
                    if (k > 1) times[p.lookOn ? 'on' : 'off'].push(spent);
                }
            }
            const of = (list, share) => {
                const sorted = [...list].sort((a, b) => a - b);
                return Math.round(sorted[Math.floor(list.length * share)] * 10) / 10;
            };
            return {
                without_p25_ms: of(times.off, 0.25), with_p25_ms: of(times.on, 0.25),
                without_p50_ms: of(times.off, 0.5), with_p50_ms: of(times.on, 0.5),
            };
        }""",
        "document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot.querySelector('.sx').player",
    )
    report("look_around", figures)
    assert figures["with_p25_ms"] < figures["without_p25_ms"] + 20

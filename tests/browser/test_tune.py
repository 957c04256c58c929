"""The tuning page in a real browser: clicks on charts, and how long figures take after a slider's release."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from pages.components import state_keys as keys
from tests.browser.conftest import ARTIFACTS, click_chart, report, settle
from tests.tuning.stand_in import write_root

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Visit = Callable[..., Page]
PATIENCE_MS = 120_000
"""Other programs may hold the machine; what is measured is reported, not asserted to the millisecond."""


@pytest.fixture(scope="module")
def tune_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One recording of 60 s with 50 stand-in candidates a frame, and a short one."""
    root = tmp_path_factory.mktemp("tune") / "root"
    write_root(root, n_recordings=1, n_frames=600)
    return root


@pytest.fixture
def tune(visit: Visit, tune_root: Path) -> Visit:
    def open_(*, scheme: str = "dark", **parameters: object) -> Page:
        page = visit("tune", scheme=scheme, **{keys.ROOT: str(tune_root), **parameters})
        page.get_by_text("Macro mAP").first.wait_for(timeout=PATIENCE_MS)
        page.locator("[data-testid=stDataFrame]").first.wait_for(timeout=PATIENCE_MS)
        return page

    return open_


def headline(page: Page) -> str:
    return page.locator(".st-key-tune_headline").inner_text()


# the moment of the release, and the moment in which the headline holds other figures
_WATCH = """() => {
  const box = document.querySelector('.st-key-tune_headline');
  const figures = () => [...document.querySelectorAll('.st-key-tune_headline [data-testid=stMetricValue]')]
    .map(e => e.innerText).join(' ');
  window.tuned = {before: figures(), released: 0, changed: 0};
  document.addEventListener('pointerup', () => {
    if (!window.tuned.released) window.tuned.released = performance.now();
  }, {capture: true, once: true});
  const timer = setInterval(() => {
    const now = figures();
    if (window.tuned.released && now && now.split(' ').length === 7 && now !== window.tuned.before) {
      window.tuned.changed = performance.now();
      clearInterval(timer);
    }
  }, 4);
}"""


def test_figures_follow_a_slider(tune: Visit) -> None:
    page = tune()
    settle(page)
    slider = f".st-key-{keys.TUNE_WIDGET}min_score [data-testid=stSlider]"
    track = page.locator(f"{slider} [role=group]").first
    times = []
    for share in (0.5, 0.3, 0.42, 0.25, 0.55):
        # the value stands over the thumb
        thumb = page.locator(f"{slider} [data-testid=stSliderThumbValue]").first
        at, whole = thumb.bounding_box(), track.bounding_box()
        assert at is not None
        assert whole is not None
        page.evaluate(_WATCH)
        page.mouse.move(at["x"] + at["width"] / 2, whole["y"] + whole["height"] / 2)
        page.mouse.down()
        page.mouse.move(whole["x"] + share * whole["width"], whole["y"] + whole["height"] / 2, steps=6)
        # a hand rests on the slider before it lets go
        page.wait_for_timeout(350)
        page.evaluate(
            "window.tuned.before = [...document.querySelectorAll("
            "'.st-key-tune_headline [data-testid=stMetricValue]')].map(e => e.innerText).join(' ')"
        )
        page.mouse.move(whole["x"] + (share + 0.06) * whole["width"], whole["y"] + whole["height"] / 2, steps=2)
        page.mouse.up()
        page.wait_for_function("window.tuned.changed > 0", timeout=PATIENCE_MS)
        times.append(float(page.evaluate("window.tuned.changed - window.tuned.released")))
        page.wait_for_timeout(300)
    median, p95 = np.percentile(times, [50, 95])
    report("tune_latency_60s", {"releases": len(times), "median_ms": round(median), "p95_ms": round(p95)})
    assert min(times) > 0


def test_clicks_on_charts_set_thresholds(tune: Visit) -> None:
    page = tune(scheme="light")
    page.get_by_role("radio", name="Curves", exact=True).click()
    page.locator(".js-plotly-plot").first.wait_for(timeout=PATIENCE_MS)
    settle(page)
    before = headline(page)
    # a point in the middle of the first curve
    click_chart(
        page,
        """plot => {
          const point = plot.calcdata[0][Math.floor(plot.calcdata[0].length * 0.4)];
          return [plot._fullLayout.xaxis.d2p(point.x), plot._fullLayout.yaxis.d2p(point.y)];
        }""",
    )
    page.get_by_text("Thresholds of single classes: 1 set").wait_for(timeout=PATIENCE_MS)
    page.wait_for_function(
        "before => document.querySelector('.st-key-tune_headline').innerText !== before",
        arg=before,
        timeout=PATIENCE_MS,
    )
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / "tune_curves_light.png")

    page.get_by_role("button", name="Back to the saved system").click()
    page.get_by_text("Thresholds of single classes: none set").wait_for(timeout=PATIENCE_MS)
    settle(page)
    page.get_by_role("radio", name="Heat map", exact=True).click()
    settle(page)
    page.get_by_role("button", name="Compute the heat map").click()
    # the rest of the page stays usable while it is computed
    page.get_by_role("radio", name="Tracking", exact=True).click()
    page.get_by_text("Tracking IoU").first.wait_for(timeout=PATIENCE_MS)
    page.get_by_role("radio", name="Selection", exact=True).click()
    page.get_by_text("Click a cell to use its values").wait_for(timeout=3 * PATIENCE_MS)
    # by number: Plotly would read the name '0.5' as half a category
    click_chart(
        page,
        """plot => {
          const at = (axis, name) => axis.d2p(axis._categories.indexOf(name));
          return [at(plot._fullLayout.xaxis, '0.5'), at(plot._fullLayout.yaxis, '0.2')];
        }""",
    )
    for name, value in (("min_score", "0.5"), ("nms_iou", "0.2")):  # one after the other
        expect(page.locator(f".st-key-{keys.TUNE_NUMBER}{name} input")).to_have_value(value, timeout=PATIENCE_MS)
    page.screenshot(path=ARTIFACTS / "tune_heat_light.png")

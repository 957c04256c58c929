"""Pictures of the pages for the documentation: how each page is brought to show something, and how it is kept."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import ARTIFACTS, REPOSITORY, wait_for

Open = Callable[..., Page]
"""Opens a page of the app in the picture's theme, with address parameters."""

Material = Callable[[str], Path]
"""Path of what a fixture makes, by the fixture's name; made when first asked for."""

IMAGES: Final[Path] = REPOSITORY / "docs" / "images"
BOTH_THEMES: Final[frozenset[str]] = frozenset({"explorer", "figures", "notebook"})
"""Pages whose light picture is kept as well; of the others the dark one alone."""

PATIENCE_MS: Final[int] = 400_000
_QUALITY: Final[int] = 88
_FILM_WIDTH: Final[int] = 960
_FILM_QUALITY: Final[int] = 62
_STILL: Final[str] = """() => {
    const app = document.querySelector('[data-testid=stApp]');
    const busy = '[data-testid=stSpinner], [data-testid=stSkeleton], [data-testid=stProgress], .rv.busy';
    return app && app.getAttribute('data-test-script-state') === 'notRunning' && !document.querySelector(busy)
        && !document.querySelector('[data-stale=true]') && document.fonts.status === 'loaded'
        && [...document.images].every((image) => image.complete);
}"""
_CHARTS: Final[str] = """n => {
    const plots = [...document.querySelectorAll('.js-plotly-plot')];
    return plots.length >= n && plots.every((plot) => plot.calcdata && plot.querySelector('.main-svg'));
}"""
# text and fields alike; the canvas of a table cannot be reached, so no page writes a full path into one
_RENAME: Final[str] = """names => {
    const rename = (text) => names.reduce((t, [from, to]) => t.split(from).join(to), text);
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const now = rename(walk.currentNode.data);
        if (now !== walk.currentNode.data) walk.currentNode.data = now;
    }
    for (const field of document.querySelectorAll('input, textarea')) {
        if (rename(field.value) !== field.value) field.value = rename(field.value);
        if (rename(field.placeholder) !== field.placeholder) field.placeholder = rename(field.placeholder);
    }
}"""
REVIEW_DESK: Final[str] = (
    "document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot.querySelector('.rv').desk"
)


def home(open_: Open, folder: Path, material: Material) -> Page:
    """Home on the demo recordings."""
    page = open_("")
    expect(page.get_by_role("heading", name="SAI Explorer")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_role("link", name="Open this moment")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_role("heading", name="Do next")).to_be_visible(timeout=PATIENCE_MS)
    return page


def explorer(open_: Open, folder: Path, material: Material) -> Page:
    """A moment of a demo recording with the predictions of the detector that ships."""
    page = open_("explorer", rec="dev-test-sim/fold9_room1_mix001", frame=106, a="track-A")
    page.wait_for_selector(".sx[data-ready]", timeout=PATIENCE_MS)
    wait_for(page, "p.matches.A && p.timeline.spectrogram && p.drawn === 106", timeout=PATIENCE_MS)
    expect(page.get_by_text("track-A").first).to_be_attached(timeout=PATIENCE_MS)
    expect(page.locator(".sx").get_by_text("simulated").first).to_be_visible(timeout=PATIENCE_MS)
    return page


def predict(open_: Open, folder: Path, material: Material) -> Page:
    """A finished job on a short simulated recording, and what the network saw in it."""
    page = open_("predict", root=material("simulated_root"))
    expect(page.get_by_role("heading", name="Detect sources in recordings")).to_be_visible(timeout=PATIENCE_MS)
    button = page.get_by_role("button", name="Predict 1 recording")
    expect(button).to_be_enabled(timeout=PATIENCE_MS)
    written = page.get_by_text("1 of 1 recordings written", exact=False)
    if not page.get_by_role("button", name="Remove").count():
        field = page.get_by_role("textbox", name="Name", exact=True)
        field.fill("first-try")
        field.press("Enter")
        button.click()
    expect(written).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_test_id("stImage").locator("img").first).to_be_visible(timeout=PATIENCE_MS)
    return page


def tune(open_: Open, folder: Path, material: Material) -> Page:
    """Stand-in candidates under the settings of the baseline."""
    page = open_("tune", root=material("tune_root"))
    page.get_by_text("Macro mAP").first.wait_for(timeout=PATIENCE_MS)
    page.get_by_role("radio", name="Curves", exact=True).click(timeout=PATIENCE_MS)
    page.wait_for_function(_CHARTS, arg=1, timeout=PATIENCE_MS)
    return page


def scores(open_: Open, folder: Path, material: Material) -> Page:
    """The report's tables with the detectors that ship and the published figures."""
    page = open_("scores", scores_view="Systems")
    page.wait_for_function(
        "() => document.querySelectorAll('[data-testid=stDataFrame] canvas').length >= 2", timeout=PATIENCE_MS
    )
    expect(page.get_by_text("Table 1", exact=False).first).to_be_visible(timeout=PATIENCE_MS)
    return page


def review(open_: Open, folder: Path, material: Material) -> Page:
    """What systems hear in the demo where there is no label, on the desk."""
    page = open_("review", review_file=folder / "review.sqlite", reviewer="you")
    page.wait_for_selector(".rv[data-ready]", timeout=PATIENCE_MS)
    page.locator(".rv-item", has_text="No label").first.click()
    page.wait_for_function(
        f"() => {{ const d = {REVIEW_DESK}; return d.item.title === 'No label' && d.waiting.length === 0"
        " && d.moments.names().every((n) => d.moments.blocks.has(n)) && d.moments.picture(); }",
        timeout=PATIENCE_MS,
    )
    return page


def figures(open_: Open, folder: Path, material: Material) -> Page:
    """Fig. 3 of a demo frame with both detectors that ship."""
    page = open_("figures", rec="dev-test-sim/fold9_room1_mix001", frame=106)
    page.wait_for_function(
        "() => (document.querySelector('[data-testid=stImage] img') || {}).naturalWidth > 1000", timeout=PATIENCE_MS
    )
    expect(page.get_by_text("frame 106 (10.6–10.7 s)")).to_be_visible(timeout=PATIENCE_MS)
    return page


def train(open_: Open, folder: Path, material: Material) -> Page:
    """A tiny run of the real UpLAM training."""
    page = open_("train", train_folder=material("finished_run").parent, train_run="tiny-uplam")
    expect(page.get_by_role("heading", name="tiny-uplam")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("finished", exact=True).first).to_be_visible(timeout=PATIENCE_MS)
    page.wait_for_function(_CHARTS, arg=1, timeout=PATIENCE_MS)
    return page


def label(open_: Open, folder: Path, material: Material) -> Page:
    """A label made from the 32 channels of a short simulated recording, beside the simulation's own."""
    page = open_("label", label_root=material("simulated_root"))
    made = page.get_by_text("annotations in 20 frames", exact=False)
    expect(page.get_by_role("button", name="Make the label").or_(made).first).to_be_visible(timeout=PATIENCE_MS)
    if not made.count():
        page.get_by_role("button", name="Make the label").click()
    page.wait_for_selector(".sx[data-ready]", timeout=PATIENCE_MS)
    wait_for(page, "p.timeline.spectrogram && p.drawn >= 0", timeout=PATIENCE_MS)
    expect(made).to_be_visible(timeout=PATIENCE_MS)
    page.keyboard.press("Shift+ArrowRight")
    wait_for(page, "p.drawn === 10", timeout=PATIENCE_MS)
    return page


def doctor(open_: Open, folder: Path, material: Material) -> Page:
    """This machine and the demo recordings."""
    page = open_("doctor")
    expect(page.get_by_role("heading", name="Machine")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_role("heading", name="Packages")).to_be_visible(timeout=PATIENCE_MS)
    page.wait_for_function(
        "() => document.querySelectorAll('[data-testid=stDataFrame] canvas').length >= 2", timeout=PATIENCE_MS
    )
    return page


SCENES: Final[Mapping[str, Callable[[Open, Path, Material], Page]]] = {
    "home": home,
    "explorer": explorer,
    "predict": predict,
    "tune": tune,
    "scores": scores,
    "review": review,
    "figures": figures,
    "train": train,
    "label": label,
    "doctor": doctor,
}


def stand_still(page: Page) -> None:
    """Wait until nothing on the page is loading, running or drawn faded, and has not been for half a second."""
    page.evaluate("window.saiRests = 0")
    page.wait_for_function(
        f"""() => {{
            const now = performance.now();
            if (!({_STILL})()) {{ window.saiRests = 0; return false; }}
            window.saiRests ||= now;
            return now - window.saiRests > 500;
        }}""",
        timeout=PATIENCE_MS,
    )


def updates_docs() -> bool:
    """Whether this run of the tests renews the pictures in git."""
    return bool(os.environ.get("SAI_UPDATE_DOCS"))


def take(page: Page, name: str, scheme: str, *, paths: Mapping[str, str]) -> bytes:
    """Take a picture of what is in the window; ``SAI_UPDATE_DOCS=1`` keeps it in ``docs/images``.

    Parameters
    ----------
    page : Page
    name, scheme : str
        Page and theme.
    paths : mapping of str
        Paths of this machine, and what is shown in their place.

    Returns
    -------
    bytes
        PNG.
    """
    page.mouse.move(1439, 899)  # nothing is hovered
    page.evaluate(_RENAME, sorted(paths.items(), key=lambda pair: -len(pair[0])))
    ARTIFACTS.mkdir(exist_ok=True)
    data = page.screenshot(path=ARTIFACTS / f"page_{name}_{scheme}.png")
    if updates_docs() and (scheme == "dark" or name in BOTH_THEMES):
        IMAGES.mkdir(parents=True, exist_ok=True)
        with Image.open(io.BytesIO(data)) as picture:
            picture.convert("RGB").save(IMAGES / f"{name}_{scheme}.webp", quality=_QUALITY, method=4)
    return data


def keep_film(pictures: Sequence[bytes], path: Path, *, frame_ms: int) -> None:
    """Write PNG pictures as a WebP animation that runs for ever."""
    frames = []
    for data in pictures:
        with Image.open(io.BytesIO(data)) as picture:
            height = round(picture.height * _FILM_WIDTH / picture.width)
            frames.append(picture.convert("RGB").resize((_FILM_WIDTH, height), Image.Resampling.LANCZOS))
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=frame_ms, loop=0, quality=_FILM_QUALITY, method=3
    )

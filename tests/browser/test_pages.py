"""The label page in a real browser, links to pages, and the pictures of the documentation."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
import soundfile
from PIL import Image
from playwright.sync_api import Page

from sai_core.annotations import read_annotations
from sai_core.dataset import demo_root
from sai_core.files import cache_root
from sai_core.runs import launch, watch
from sai_core.simulation.dataset import SimulationOptions, simulate_dataset
from tests.browser.conftest import ARTIFACTS, REPOSITORY, Scheme, read, wait_for
from tests.browser.contrast import faint
from tests.browser.pictures import IMAGES, SCENES, keep_film, stand_still, take, updates_docs
from tests.runs.stand_in import end_runs, wait_until
from tests.tuning.stand_in import write_root as write_raw_root

pytestmark = [pytest.mark.browser]

OpenPage = Callable[..., Page]
TINY_RUN = (
    "data.blocks=1",
    "data.block_frames=32",
    "data.scenes.n_clips=4",
    "data.scenes.clip_s=1.0",
    "validation_frames=16",
    "validate_every=4",
    "stages.0.steps=20",
    "stages.0.batch=4",
    f"stages.1.steps={60 if updates_docs() else 10}",
)


@pytest.mark.slow
def test_a_label_is_made_and_seen(visit: OpenPage, tmp_path: Path, app_workspace: Path) -> None:
    rng = np.random.default_rng(4)
    audio = tmp_path / "root" / "eigen_dev" / "dev-x" / "fold1_room1_mix001.wav"
    csv = tmp_path / "root" / "metadata_dev" / "dev-x" / "fold1_room1_mix001.csv"
    audio.parent.mkdir(parents=True)
    csv.parent.mkdir(parents=True)
    soundfile.write(audio, rng.normal(0, 0.1, (24_000, 32)), 24_000, subtype="PCM_16")
    csv.write_text("".join(f"{k},8,0,30,10,200\n" for k in range(10)))

    page = visit("label", label_root=tmp_path / "root")
    name = page.get_by_role("textbox", name="Name of the set")
    name.fill("seen")
    name.press("Tab")
    page.get_by_role("button", name="Make the label").click()
    page.wait_for_selector(".sx[data-ready]", timeout=120_000)
    table = read_annotations(app_workspace / "labels" / "seen" / "dev-x" / "fold1_room1_mix001_std.json")
    assert page.get_by_text(f"{len(table)} annotations in 10 frames").count() == 1
    assert read(page, "p.nFrames") == 10
    # the navigation is there: the page came through app.py
    assert page.get_by_role("link", name="Explorer").count() == 1
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / "label_dark.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of what the pictures show."""
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def simulated_root(folder: Path) -> Path:
    """One simulated recording of two seconds, with all 32 channels and a video."""
    simulate_dataset(folder / "sim", SimulationOptions(seed=3, seconds=2.0, video_wh=(720, 360)), recordings=1)
    return folder / "sim"


@pytest.fixture(scope="module")
def tune_root(folder: Path) -> Path:
    """Labels and stand-in candidates of a recording of twelve seconds."""
    return write_raw_root(folder / "labelled", n_frames=120)


@pytest.fixture(scope="module")
def finished_run(folder: Path) -> Iterator[Path]:
    """A run of the real UpLAM training that is over in a minute."""
    run = launch.launch(launch.LaunchSpec(kind="uplam", overrides=TINY_RUN), folder / "runs", "tiny-uplam")
    wait_until(lambda: not watch.look(run).active, 400)
    yield run
    end_runs(folder / "runs")


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SCENES))
def test_every_page_looks_like_its_picture(
    visit: OpenPage,
    folder: Path,
    app_workspace: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    name: str,
) -> None:
    """Each page comes up with something to see, in both themes; ``SAI_UPDATE_DOCS=1`` renews the documentation's
    pictures."""
    page = SCENES[name](partial(visit, scheme="dark"), folder, request.getfixturevalue)
    title = "Label audio" if name == "label" else name.capitalize()
    paths = {
        str(demo_root()): "assets/demo",
        str(folder): "~",
        str(app_workspace): "~/sai-workspace",
        str(tmp_path_factory.getbasetemp() / "checkpoint0"): "~/checkpoints",
        str(REPOSITORY): "~/sai-explorer",
        str(cache_root()): "~/.cache/sai-explorer",
        str(Path.home()): "~",
        f"· {socket.gethostname()}": "· this machine",
    }
    low = []
    schemes: tuple[Scheme, ...] = ("dark", "light")
    for scheme in schemes:
        # while the page is open, as evening falls
        page.emulate_media(color_scheme=scheme)
        stand_still(page)
        assert page.get_by_role("link", name=title, exact=True).count() >= 1
        assert page.get_by_test_id("stException").count() == 0
        assert page.get_by_test_id("stAlertContentError").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        low += [f"{scheme}: {line}" for line in faint(page)]
        with Image.open(io.BytesIO(take(page, name, scheme, paths=paths))) as picture:
            grey = np.asarray(picture.convert("L"), dtype=np.float64)
        if name == "explorer":
            assert read(page, "p.theme.dark") is (scheme == "dark")
        # the theme is the one that was asked for, and the page is not empty
        assert (np.median(grey) < 80) == (scheme == "dark")
        assert grey.std() > 8
    assert not low, "\n" + "\n".join(low)


def test_the_film_of_the_explorer(visit: OpenPage) -> None:
    """Six seconds of a demo recording, frame by frame, while the view from inside the sphere turns.

    ``SAI_UPDATE_DOCS=1`` renews the README's animation.
    """
    page = SCENES["explorer"](partial(visit, scheme="dark"), Path(), Path)
    n, first = (60 if updates_docs() else 3), 70
    read(page, f"(p.seek({first}), 0)")
    page.keyboard.press("v")
    page.keyboard.press("w")
    pictures = []
    for frame in range(first, first + n):
        wait_for(page, f"p.drawn === {frame} && p.store.blocks.has(Math.floor({frame} / 20))")
        read(page, f"(p.turn({{ yaw: {60 - 1.6 * (frame - first):.1f}, pitch: -4, fov: 84 }}), 0)")
        page.wait_for_timeout(120)
        pictures.append(page.screenshot())
        page.keyboard.press("ArrowRight")
    assert len(set(pictures)) == n
    if updates_docs():
        keep_film(pictures, IMAGES / "explorer.webp", frame_ms=100)
        assert (IMAGES / "explorer.webp").stat().st_size < 1_500_000


def test_the_data_folder_stays_in_the_address_on_every_page(visit: OpenPage, data_root: Path) -> None:
    """Also through links inside the app, so that a copied address opens what its sender saw."""
    page = visit("", root=str(data_root))
    link = page.get_by_role("link", name="Open this moment")

    def root() -> str:
        # asked of the page itself: what Playwright remembers lags behind a change without a load
        return parse_qs(urlparse(page.evaluate("location.href")).query).get("root", [""])[0]

    link.click(timeout=60_000)
    page.wait_for_selector(".sx[data-ready]", timeout=60_000)
    wait_for(page, "p.scene.header.recording === 'fold4_room23_mix001'")
    assert root() == str(data_root)
    # a page that shows nothing of the data keeps it too
    page.get_by_role("link", name="Doctor").click()
    page.get_by_text("Packages").wait_for(timeout=60_000)
    page.get_by_role("link", name="Home").click()
    link.wait_for(timeout=60_000)
    assert root() == str(data_root)


def test_a_figure_leads_to_its_moment(visit: OpenPage, data_root: Path) -> None:
    page = visit("figures", root=str(data_root), rec="dev-test-sony/fold4_room23_mix001", frame=120, a="first")
    page.get_by_role("button", name="Open in the Explorer").click(timeout=120_000)
    page.wait_for_selector(".sx[data-ready]", timeout=60_000)
    wait_for(page, "p.frame === 120")
    assert read(page, "p.scene.header.recording") == "fold4_room23_mix001"
    assert parse_qs(urlparse(page.evaluate("location.href")).query)["root"] == [str(data_root)]


def test_an_old_link_to_a_moment_opens_the_explorer(visit: OpenPage, data_root: Path) -> None:
    page = visit("", root=str(data_root), rec="dev-test-sony/fold4_room23_mix001", frame=120, a="second")
    page.wait_for_selector(".sx[data-ready]", timeout=60_000)
    wait_for(page, "p.frame === 120")
    assert urlparse(page.evaluate("location.href")).path == "/explorer"

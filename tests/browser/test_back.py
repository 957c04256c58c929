"""The browser's Back and Forward: one press each, to the view that was, and addresses that name what is shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlparse

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import RECORDING, read, settle, wait_for

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]
OTHER = "dev-test-sony/fold4_room24_mix001"


def asked(page: Page) -> dict[str, str]:
    """Parameters in the address, as the page itself has it."""
    query = parse_qs(urlparse(page.evaluate("location.href")).query)
    return {name: values[0] for name, values in query.items()}


def path(page: Page) -> str:
    return str(urlparse(page.evaluate("location.href")).path)


def shows(page: Page, recording: str, frame: int, system: str = "first") -> None:
    """Wait until a moment is on the screen and in the address."""
    split, name = recording.split("/")
    page.wait_for_selector(".sx[data-ready]", timeout=60_000)
    wait_for(
        page,
        f"p.scene && p.scene.header.recording === {name!r} && p.drawn === {frame} && p.frame === {frame}"
        f" && p.scene.header.systems.A?.title === {system!r}",
        timeout=60_000,
    )
    page.wait_for_function(
        """([rec, frame, a]) => {
            const q = new URLSearchParams(location.search);
            return q.get('rec') === rec && q.get('frame') === String(frame) && q.get('a') === a;
        }""",
        arg=[f"{split}/{name}", frame, system],
        timeout=60_000,
    )


def choose(page: Page, box: str, option: str) -> None:
    page.get_by_role("combobox", name=box).click()
    page.get_by_role("option", name=option).first.click()


def back(page: Page) -> None:
    """Back without waiting for a load: within the app there is none."""
    page.evaluate("history.back()")


def forward(page: Page) -> None:
    page.evaluate("history.forward()")


def test_back_and_forward_between_recordings_and_systems(open_page: OpenPage) -> None:
    page = open_page(rec=RECORDING, frame=5, a="first")
    shows(page, RECORDING, 5)
    entries = page.evaluate("history.length")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    page.keyboard.press("2")  # the ground truth alone
    page.locator("[data-pref=overlay]").select_option("L")
    # at once: the frame of a moment ago belongs to the view that is left
    choose(page, "Recording", "room24")
    shows(page, OTHER, 0)
    assert page.evaluate("history.length") == entries + 1
    read(page, "(p.focus(), 0)")  # arrows are the list's own while it has the focus
    page.keyboard.press("ArrowRight")
    page.keyboard.press("0")
    expect(page.locator("[data-pref=overlay]")).to_be_hidden()  # neither video nor sound: there is nothing to lay over
    choose(page, "Predictions A", "second")
    shows(page, OTHER, 1, "second")
    assert page.evaluate("history.length") == entries + 2

    back(page)
    shows(page, OTHER, 1)
    back(page)
    shows(page, RECORDING, 6)
    wait_for(page, "p.view.z === 1.5 && p.overlay === 'L' && p.visible.join() === 'gt'")
    expect(page.get_by_role("combobox", name="Recording")).to_have_value(re.compile("room23"))
    forward(page)
    shows(page, OTHER, 1)
    wait_for(page, "p.view.z === 1 && p.overlay === 'none' && p.visible.join() === 'gt'")
    forward(page)
    shows(page, OTHER, 1, "second")
    # a copied link opens what is shown
    there = asked(page)
    page.reload()
    shows(page, OTHER, 1, "second")
    assert asked(page) == there
    # a choice after Back goes on from there
    back(page)
    shows(page, OTHER, 1)
    choose(page, "Predictions A", "no predictions")
    page.wait_for_function("new URLSearchParams(location.search).get('a') === 'none'", timeout=60_000)
    back(page)
    shows(page, OTHER, 1)


def test_back_to_and_from_other_pages(open_page: OpenPage, data_root: Path) -> None:
    page = open_page(rec=RECORDING, frame=30, a="first")
    shows(page, RECORDING, 30)
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_role("link", name="Home").click()  # at once: the frame must be kept all the same
    page.get_by_role("link", name="Open this moment").wait_for(timeout=60_000)
    page.wait_for_function("location.search.includes('root=')", timeout=60_000)
    back(page)
    shows(page, RECORDING, 40)
    forward(page)
    page.get_by_role("link", name="Open this moment").click(timeout=60_000)
    page.wait_for_selector(".sx[data-ready]", timeout=60_000)
    page.wait_for_function("new URLSearchParams(location.search).has('b')", timeout=60_000)
    assert asked(page)["root"] == str(data_root)
    back(page)
    page.get_by_role("link", name="Open this moment").wait_for(timeout=60_000)
    assert path(page) == "/"
    back(page)
    shows(page, RECORDING, 40)


def test_back_to_a_page_that_was_left_at_once(open_page: OpenPage, data_root: Path) -> None:
    """It is of the same data, though its script had not come to its end."""
    page = open_page(rec=RECORDING, frame=30, a="first")
    shows(page, RECORDING, 30)
    links = page.get_by_test_id("stTopNavLinkContainer")
    links.get_by_text("Scores", exact=True).click()
    page.wait_for_function("location.pathname === '/scores'")
    links.get_by_text("Home", exact=True).click()
    page.get_by_role("link", name="Open this moment").wait_for(timeout=60_000)
    back(page)
    page.wait_for_function("location.pathname === '/scores'")
    settle(page)
    assert asked(page).get("root") == str(data_root)


@pytest.mark.parametrize("start", ["explorer", ""])
def test_a_link_into_the_explorer_is_left_by_one_press(
    visit: OpenPage, data_root: Path, app_url: str, start: str
) -> None:
    page = visit("_stcore/health")
    entries = page.evaluate("history.length")
    page.goto(f"{app_url}/{start}?" + urlencode({"root": str(data_root), "rec": RECORDING, "frame": 5, "a": "first"}))
    shows(page, RECORDING, 5)
    page.wait_for_function("new URLSearchParams(location.search).has('b')", timeout=60_000)
    assert path(page) == "/explorer"
    assert page.evaluate("history.length") == entries + 1
    page.go_back()
    assert path(page) == "/_stcore/health"


def test_a_button_to_a_moment_is_one_step(visit: OpenPage, data_root: Path) -> None:
    page = visit("figures", root=str(data_root), rec=RECORDING, frame=120, a="first")
    button = page.get_by_role("button", name="Open in the Explorer")
    button.wait_for(timeout=120_000)
    page.wait_for_function("new URLSearchParams(location.search).has('b')", timeout=60_000)
    entries = page.evaluate("history.length")
    button.click()
    shows(page, RECORDING, 120)
    assert page.evaluate("history.length") == entries + 1
    assert path(page) == "/explorer"
    back(page)
    button.wait_for(timeout=120_000)
    assert path(page) == "/figures"
    assert asked(page)["frame"] == "120"


def test_another_data_root_is_a_step(open_page: OpenPage, tmp_path: Path, data_root: Path) -> None:
    page = open_page(rec=RECORDING, frame=7, a="first")
    shows(page, RECORDING, 7)
    entries = page.evaluate("history.length")
    page.get_by_role("button", name="Data").click()
    field = page.get_by_role("textbox", name="Data root")
    field.fill("")
    field.press("Enter")
    wait_for(page, "p.scene.header.recording !== 'fold4_room23_mix001' && p.drawn >= 0", timeout=120_000)
    page.wait_for_function("!new URLSearchParams(location.search).has('root')", timeout=60_000)
    assert page.evaluate("history.length") == entries + 1
    back(page)
    shows(page, RECORDING, 7)
    assert asked(page)["root"] == str(data_root)

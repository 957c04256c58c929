"""Listening in the player: what the browser's audio graph renders, and what one presses and sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, Page, expect

from sai_core.dataset import open_data_root
from sai_core.listening.lines import placed, scene, towards
from sai_core.listening.signals import open_signal
from sai_core.listening.windows import EAR_ZERO
from sai_core.viewing.player import unpack
from tests.browser.conftest import read, wait_for
from tests.browser.player_sound import direction_of, heard, make_room, open_scripts
from tests.figures.scenes import write_root
from tests.listening.scenes import level_db, reader_of, talkers

pytestmark = pytest.mark.browser


@pytest.fixture
def scripts(browser: Browser) -> Page:
    page = browser.new_page()
    open_scripts(page)
    return page


def test_what_the_audio_graph_renders(scripts: Page, tmp_path: Path) -> None:
    room = make_room(tmp_path, ("mic", "foa"), seed=1, seconds=3.0, rt60_s=0.2)
    plain = [heard(scripts, room, share, "all") for share in (0, 1, 2)]
    np.testing.assert_allclose(plain[0][0], room.plain[0], rtol=0, atol=1.5 / 32768)

    def left(mode: str, share: int) -> float:
        return level_db(heard(scripts, room, share, mode)[0]) - level_db(plain[share][0])

    # the issue's own figures for four channels; what the talker loses himself are reflections
    assert left("point", 2) < -6.0
    assert left("point", 1) > -4.0
    assert left("solo", 2) < -12.0
    assert left("solo", 1) > -4.0
    assert left("around", 2) > -3.0
    # two ears of a turned head: what the whole filters make of the scene, and a source alone where it is
    azimuth, _ = direction_of(room, 0)
    recording = open_data_root(tmp_path / "0").recordings[0]
    facts, _ = unpack(room.sounds[0].facts())
    solo = room.sounds[0].solo(room.labels, 0, 0)
    for turn, ear in ((-80.0, 0), (80.0, 1)):
        head = {"yaw_deg": azimuth + turn}
        ways = {
            "all": (scene(open_signal(recording), **head), facts["gain"]),
            "solo": (
                placed(reader_of(solo.render(0, 72_000)[:, None]), towards(azimuth, 0.0), **head),
                facts["source_gain"],
            ),
        }
        for mode, (line, gain) in ways.items():
            both = heard(scripts, room, 0, mode, ears=True, yaw=azimuth + turn)[:, EAR_ZERO:]
            expected = line(0, both.shape[1]).T * gain
            # once it has faded in
            assert level_db((both - expected)[:, 4_800:]) < level_db(expected) - 28.0, mode
        assert level_db(both[ear]) > level_db(both[1 - ear]) + 1.0
    # steering is a matter of milliseconds, and nothing clicks: the sound moves away within 20 ms of the wish
    there, away = direction_of(room, 0)[0], (direction_of(room, 0)[0] + 360.0) % 360.0 - 180.0
    still = heard(scripts, room, 1, "point", beam="cardioid")[0]
    moved = heard(scripts, room, 1, "point", beam="cardioid", azimuth=there, moves=[[1.0, away, 0.0]])[0]
    np.testing.assert_allclose(moved[: 24_000 - 128], still[: 24_000 - 128], rtol=0, atol=1e-6)
    after = slice(24_000 + 600, 24_000 + 6_600)
    assert level_db(moved[after]) < level_db(still[after]) - 8.0
    scripts.close()


def test_listening_in_the_explorer(visit: Callable[..., Page], tmp_path: Path) -> None:
    two = talkers(1, seconds=6.0)
    for number, array in ((1, "foa"), (2, ""), (3, "mono")):
        name = f"fold4_room1_mix00{number}"
        write_root(tmp_path, recording=name, n_frames=60, video_size=(240, 120), audio=False, systems=("first",))
        if array:
            path = tmp_path / ("foa_dev" if array == "foa" else "mic_dev") / "dev-test-sony" / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            samples = two.mix("foa")
            soundfile.write(path, samples if array == "foa" else samples[:, :1], 24_000)
    page = visit("explorer", root=str(tmp_path), rec="dev-test-sony/fold4_room1_mix001", a="first", frame=5)
    page.wait_for_selector(".sx[data-ready]", timeout=60_000)
    menu = page.get_by_role("button", name="All directions")
    menu.click()
    expect(page.get_by_text("Directions are heard from FOA.")).to_be_visible(timeout=30_000)
    page.get_by_role("menuitemradio", name="Where I point").click()
    page.keyboard.press("Escape")
    box = page.get_by_role("img", name="Ground truth").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.4)
    page.keyboard.press("l")  # from here on for five seconds, again and again
    page.keyboard.press(" ")
    wait_for(page, "p.playing && !p.hearing.fallen && p.sound.plain.gain.value < 0.01")
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    # the sound of one source follows the view's single source; without a pointer on a panel it is the frame's first
    page.mouse.move(2, 2)
    page.keyboard.press("t")
    wait_for(page, "p.hearing.mode === 'solo' && p.hearing.singleLane.ends > 0 && !p.hearing.fallen")
    assert read(page, "p.isolate !== null")
    page.keyboard.press("r")
    wait_for(page, "p.hearing.mode === 'around' && !p.hearing.fallen")
    page.keyboard.press("Escape")
    wait_for(page, "p.hearing.mode === 'all' && p.hearing.words === 'All directions'")
    # the direction that is held is in the address, and another visit hears it
    page.keyboard.press("w")
    page.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    wait_for(page, "location.search.includes('hpoint')")
    words = read(page, "p.hearing.words")
    assert words.endswith("held")
    wait_for(page, "p.timeline.directed && p.timeline.directed.heard.startsWith('spec.point')")
    # picture and sound stay together; a busy machine may need a moment to get there
    wait_for(page, "p.stats.sync.length >= 30 && p.stats.sync.slice(-30).every((late) => -100 < late && late < 200)")
    address = page.url.partition("?")[2]
    from urllib.parse import parse_qsl

    page.close()
    again = visit("explorer", **dict(parse_qsl(address)))
    again.wait_for_selector(".sx[data-ready]", timeout=60_000)
    wait_for(again, f"p.hearing.words === '{words}'")
    again.close()
    # without directions: a sentence where one looks for them
    other = visit("explorer", root=str(tmp_path), rec="dev-test-sony/fold4_room1_mix003", a="first")
    other.wait_for_selector(".sx[data-ready]", timeout=60_000)
    other.keyboard.press("w")
    wait_for(other, "/is mono.*All directions are heard/.test(p.hearing.state)")
    expect(other.locator("[data-ref=note]")).to_contain_text("is mono")
    expect(other.get_by_role("button", name="Mono: all directions")).to_be_visible()
    assert read(other, "p.hearing.mode === 'all' && p.hearing.ring() === null")
    other.close()
    silent = visit("explorer", root=str(tmp_path), rec="dev-test-sony/fold4_room1_mix002", a="first")
    silent.wait_for_selector(".sx[data-ready]", timeout=60_000)
    silent.keyboard.press("w")
    expect(silent.locator("[data-ref=note]")).to_contain_text("No audio")
    assert read(silent, "p.hearing.mode === 'all' && p.ref.hear.disabled")

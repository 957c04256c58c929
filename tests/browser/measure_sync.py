"""How far picture, energy and sound are apart while the player plays, at each speed, across a seek and a loop.

A measurement, not collected with the other tests: ``python -m pytest tests/browser/measure_sync.py -q -s``.

Each frame of the recording says its own number three times: in the picture a bar, in the labels a region, both at a
column of their own (the same again after 30 frames), and in the sound a level. With every frame of the screen the first
two are read from the pixels of the panels, and the third from what the audio graph has rendered, as long ago as the
browser says that its way to the loudspeaker takes. Left out are the moments after a start, a seek or the end of a loop
in which the new sound has not reached the loudspeaker; how long these are is a figure of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page

from tests.browser.conftest import PLAYER, read, report, wait_for
from tests.figures.scenes import blob, table_of, to_json

pytestmark = [pytest.mark.browser, pytest.mark.slow]

N_FRAMES, PLACES, LOUDEST = 300, 30, 0.8
FIRST, STEP = 60, 8  # columns of the canvas: far from the seam, where names would lie beside their regions
SPEEDS = (0.5, 1, 2)

SAMPLE = f"""() => {{
    const p = {PLAYER}, {{sound}} = p, {{context}} = sound, analyser = context.createAnalyser();
    analyser.fftSize = 16384;
    sound.gain.connect(analyser);
    const buffer = new Float32Array(analyser.fftSize), found = (window.measured = []);
    // column of the brightest part of a row of a panel, in frames
    const place = (kind, y) => {{
        const panel = p.panels.get(kind), {{canvas}} = panel, scale = canvas.width / panel.width;
        const row = panel.ctx.getImageData(0, Math.round(panel.toY(y) * scale), canvas.width, 1).data;
        let sum = 0, weight = 0, most = 0;
        const level = (i) => row[4 * i] + row[4 * i + 1] + row[4 * i + 2];
        const from = Math.ceil(panel.toX(0.5) * scale), to = Math.floor(panel.toX(359.5) * scale);
        for (let i = from; i < to; i++) most = Math.max(most, level(i));
        for (let i = from; i < to; i++) if (level(i) > 0.75 * most) [sum, weight] = [sum + i, weight + 1];
        return Math.floor(((sum / weight / scale - panel.toX(0)) / panel.scale - {FIRST}) / {STEP});
    }};
    let turn = -1, begun = 0;
    const look = () => {{
        if (!window.measures) return;
        requestAnimationFrame(look);
        if (!sound.running || !sound.audible || p.drawn !== p.frame) return;
        if (sound.turn !== turn) [turn, begun] = [sound.turn, performance.now()];
        const late = Math.min(context.outputLatency || 0, 0.5), heardAt = context.currentTime - late;
        if (heardAt < sound.from.t0 + 0.01) return;
        analyser.getFloatTimeDomainData(buffer);
        const level = buffer[buffer.length - 1 - Math.round(late * context.sampleRate)];
        found.push([turn, performance.now() - begun, level, place('rgb', 130), place('gt', 60), p.frame]);
    }};
    window.measures = true;
    requestAnimationFrame(look);
}}"""


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root whose one recording says the number of each frame."""
    root, split, name = tmp_path_factory.mktemp("sync"), "dev-test-sony", "fold4_room23_mix001"
    places = [FIRST + STEP * (k % PLACES) for k in range(N_FRAMES)]
    rows: list[Any] = [(k, 0, 1, 200.0, np.nan, *blob(x + STEP / 2, 60, 4)) for k, x in enumerate(places)]
    labels = root / "labels_dev" / split / f"{name}_std.json"
    labels.parent.mkdir(parents=True)
    labels.write_text(json.dumps(to_json(table_of(name, rows), score=False)))
    levels = np.repeat((np.arange(N_FRAMES) + 1) / (N_FRAMES + 1) * LOUDEST, 2400)
    (root / "mic_dev" / split).mkdir(parents=True)
    soundfile.write(root / "mic_dev" / split / f"{name}.wav", np.repeat(levels[:, None], 4, axis=1), 24_000, "PCM_16")
    (root / "video_dev" / split).mkdir(parents=True)
    with av.open(str(root / "video_dev" / split / f"{name}.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 720, 360, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "20"}
        for k in range(N_FRAMES):
            picture = np.full((360, 720, 3), 30, np.uint8)
            picture[:, 2 * places[k] + 4 : 2 * (places[k] + STEP) - 4] = 235
            for _ in range(3):
                for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                    container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return root


def test_picture_energy_and_sound(visit: Callable[..., Page], numbered: Path) -> None:
    page = visit("explorer", root=numbered, frame=20, view="onone")
    page.wait_for_selector(".sx[data-ready]", timeout=60_000)
    figures: dict[str, Any] = {"load_average": round(os.getloadavg()[0], 1)}
    for speed in SPEEDS:
        read(page, f"(p.loopOn = false, p.controls.setPref('rate', '{speed}'), p.seek(20), 0)")
        wait_for(page, "p.drawn === 20 && p.store.blocks.size >= 3")
        page.keyboard.press("Space")
        wait_for(page, "p.playing && p.sound.running && p.frame > 22", timeout=60_000)
        page.evaluate(SAMPLE)
        page.wait_for_timeout(3000)
        read(page, "(p.seek(150), 0)")
        wait_for(page, "p.sound.running && p.frame >= 152 && p.frame < 200", timeout=60_000)
        page.wait_for_timeout(2500)
        read(page, "(p.setLoop(210, 222), p.seek(210), 0)")
        wait_for(page, "p.sound.running && p.frame >= 212 && p.frame < 222", timeout=60_000)
        page.wait_for_timeout(5000)
        measured = page.evaluate("(window.measures = false, window.measured)")
        page.keyboard.press("Space")
        wait_for(page, "!p.playing")
        turn, since, level, picture, energy, frame = np.array(measured, np.float64).T
        heard = level * (N_FRAMES + 1) / LOUDEST - 1
        clear = (heard > -0.5) & (np.abs(heard - np.round(heard)) < 0.3)  # not silence, nor between two levels
        assert clear.mean() > 0.9, f"{clear.mean()} of {len(clear)}"
        figures[f"{speed}x"] = {"moments": int(clear.sum()), "starts": len(np.unique(turn))}
        for name, shown in (("picture", picture), ("energy", energy)):
            apart = shown[clear] - np.round(heard[clear])
            apart = (apart + PLACES / 2) % PLACES - PLACES / 2
            figures[f"{speed}x"][name] = {
                "same_frame": round(float(np.mean(apart == 0)), 3),
                "within_one_frame": round(float(np.mean(np.abs(apart) <= 1)), 4),
                "most_frames": int(np.abs(apart).max()),
            }
            # requirement: at most one frame apart; a busy machine may miss it for a moment
            assert np.mean(np.abs(apart) <= 1) > 0.98
        first = [float(since[turn == one].min()) for one in np.unique(turn)[1:]]
        figures[f"{speed}x"]["sound_after_a_seek_or_loop_ms"] = [round(np.median(first)), round(max(first))]
        assert len(first) >= 2  # the seek, and the loop's end at least once
        assert frame.max() < 260
    report("sync", figures)

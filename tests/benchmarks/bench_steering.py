"""From a movement of the pointer to what is heard of it, measured in the sound itself.

    python -m tests.benchmarks.bench_steering [--moves 40] [--json FILE]

A recording (FOA) with one source to the left, a cardioid, a pointer that jumps to it and away: an audio worklet at the
graph's output sees the level in steps of 128 samples. A change is heard at the end of the step that has come to nine
tenths of the new level (or a tenth is left of the old), and reaches the loudspeaker when the browser says that this
moment of the audio's clock does (``getOutputTimestamp``), which counts the way out to the sound card. The movement is
the event's own time. Without the way out it is the same against the moment at which the audio was computed
(``currentTime``): what this program can do something about.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import numpy as np
import soundfile
from playwright.sync_api import Page, sync_playwright

from tests.benchmarks.bench_load import serve
from tests.browser.conftest import _ARGUMENTS, PLAYER, chromium_path, read, wait_for
from tests.figures.scenes import write_root

RATE_HZ: Final[int] = 24_000
SECONDS: Final[int] = 60
NAME: Final[str] = "fold4_room1_mix001"

_TAP: Final[str] = f"""async () => {{
  const p = {PLAYER}, {{ context }} = p.sound;
  const code = `registerProcessor("tap", class extends AudioWorkletProcessor {{
    process(inputs) {{
      let power = 0;
      for (const x of inputs[0][0] || []) power += x * x;
      this.port.postMessage([currentTime, power / 128]);
      return true;
    }}
  }});`;
  await context.audioWorklet.addModule("data:text/javascript," + encodeURIComponent(code));
  const tap = new AudioWorkletNode(context, "tap");
  p.hearing.graph.mono.connect(tap);
  window.heard = [];
  window.moves = [];
  tap.port.onmessage = (e) => window.heard.push(e.data);
  addEventListener("pointermove", (e) => {{
    const {{ contextTime, performanceTime }} = context.getOutputTimestamp();
    window.moves.push([e.timeStamp, contextTime, performanceTime, context.currentTime, performance.now()]);
  }}, true);
}}"""


def make_recording(folder: Path) -> None:
    """A tone to the left as FOA, for a minute."""
    write_root(folder, recording=NAME, n_frames=10 * SECONDS, video_size=(240, 120), audio=False, systems=("first",))
    path = folder / "foa_dev" / "dev-test-sony" / f"{NAME}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 0.1 * np.sin(2 * np.pi * 1500 * np.arange(SECONDS * RATE_HZ) / RATE_HZ)
    soundfile.write(path, tone[:, None] * [1.0, 1.0, 0.0, 0.0], RATE_HZ)


def delays_ms(page: Page, n_moves: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of each jump of the pointer: to the loudspeaker, and until the sound is computed."""
    box = page.get_by_role("img", name="Ground truth").bounding_box()
    assert box is not None
    rng = np.random.default_rng(seed)
    places = [(box["x"] + box["width"] * share, box["y"] + box["height"] * 0.5) for share in (0.25, 0.75)]
    page.mouse.move(*places[1])
    page.wait_for_timeout(500)
    page.evaluate("() => { window.heard.length = 0; window.moves.length = 0; }")
    for k in range(n_moves):
        page.mouse.move(*places[k % 2])
        page.wait_for_timeout(float(rng.uniform(250, 400)))
    heard, moves = (np.array(page.evaluate(f"window.{name}")) for name in ("heard", "moves"))
    full = np.median(heard[heard[:, 1] > heard[:, 1].max() / 2, 1])
    found = []
    for k, (at, context_s, performance_ms, current_s, now_ms) in enumerate(moves):
        later = heard[heard[:, 0] >= current_s]
        # amplitude within a tenth of where it goes
        there = later[:, 1] > 0.81 * full if k % 2 == 0 else later[:, 1] < 0.01 * full
        changed = later[np.argmax(there), 0] + 128 / RATE_HZ
        assert there.any()
        found.append((performance_ms + 1e3 * (changed - context_s) - at, now_ms + 1e3 * (changed - current_s) - at))
    at_the_ear, computed = np.array(found).T
    return at_the_ear, computed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        serve(Path(folder) / "w") as (port, _),
    ):
        make_recording(Path(folder) / "root")
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=[*_ARGUMENTS, "--autoplay-policy=no-user-gesture-required"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        query = {"root": str(Path(folder) / "root"), "rec": f"dev-test-sony/{NAME}", "a": "first"}
        page.goto(f"http://127.0.0.1:{port}/explorer?{urlencode(query)}")
        page.wait_for_selector(".sx[data-ready]", timeout=120_000)
        page.get_by_role("button", name="All directions").click()
        page.get_by_role("menuitemradio", name="Where I point").click(timeout=60_000)
        page.locator(".sx-hear select").select_option("cardioid")
        page.keyboard.press("Escape")
        page.keyboard.press(" ")
        wait_for(page, "p.playing && !p.hearing.fallen && p.hearing.graph", timeout=60_000)
        page.evaluate(_TAP)
        ear, computed = delays_ms(page, args.moves, args.seed)
        latency = read(page, "[p.sound.context.baseLatency * 1e3, p.sound.context.outputLatency * 1e3]")
        browser.close()
    result: dict[str, Any] = {"moves": len(ear), "base_latency_ms": latency[0], "output_latency_ms": latency[1]}
    for name, values in (("at the loudspeaker", ear), ("computed", computed)):
        low, middle, high = np.percentile(values, [5, 50, 95]).tolist()
        result[name] = {"p5": low, "p50": middle, "p95": high}
        print(f"{name:<19} {middle:5.0f} ms (p5 {low:.0f}, p95 {high:.0f})")
    print(f"base latency {latency[0]:.1f} ms, output latency {latency[1]:.1f} ms, {len(ear)} movements")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

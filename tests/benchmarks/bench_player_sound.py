"""What the player's audio graph makes of two talkers 60 degrees apart, rendered by Chromium in an offline context.

    python -m tests.benchmarks.bench_player_sound [--scenes 3] [--seconds 3] [--json FILE]
    python -m tests.benchmarks.bench_player_sound --windows 540

One points at the first talker, or hears it alone. *Other* is the level of the other talker's share against what is
played where all directions are heard, *own* the same of the first talker, medians over scenes. Windows are those that
the server sends, as 16 bit; gains and filters are the player's own scripts (``tests/browser/player_sound.py``).

With ``--windows`` instead: all windows of so many seconds of 32 channels as the server makes and keeps them; bytes and
processor seconds, and the most memory that the process took.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from playwright.sync_api import sync_playwright

from sai_core.dataset import open_data_root
from sai_core.listening.encoding import Array
from sai_core.listening.windows import PlayerSound
from sai_core.viewing.recording_view import BytesCache
from tests.browser.conftest import chromium_path
from tests.browser.player_sound import heard, make_room, open_scripts
from tests.listening.scenes import level_db

CASES: tuple[tuple[str, tuple[Array, ...], tuple[tuple[str, str], ...]], ...] = (
    ("FOA and 4 capsules", ("mic", "foa"), (("point", "max-re"), ("point", "adaptive"), ("solo", ""))),
    ("4 capsules", ("mic",), (("point", "adaptive"),)),
    ("32 capsules", ("eigen",), (("point", "max-re"), ("point", "adaptive"), ("solo", ""))),
)
ROOMS: tuple[float | None, ...] = (None, 0.2)


def windows(seconds: int) -> None:
    """Make all windows of a long recording of 32 channels."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "eigen_dev" / "dev-test" / "fold4_room1_mix001.wav"
        path.parent.mkdir(parents=True)
        rng = np.random.default_rng(1)
        with soundfile.SoundFile(path, "w", 24_000, 32, "PCM_16") as stream:
            for _ in range(seconds):
                stream.write(rng.normal(size=(24_000, 32)) * 0.05)
        sound, cache = PlayerSound(open_data_root(folder).recordings[0]), BytesCache(256 << 20)
        before, began, n_bytes = _peak_mb(), time.process_time(), 0
        for index in range(seconds // 2):
            data = sound.window(index)
            n_bytes += len(data)
            cache.put((index,), data)
        took = (time.process_time() - began) * 60 / seconds
        print(f"{n_bytes / seconds / 1e3:.0f} kB a second, {took:.1f} processor seconds a minute")
        print(f"most memory: {before:.0f} MB before, {_peak_mb():.0f} MB after {n_bytes / 1e6:.0f} MB of windows")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--windows", type=int, metavar="SECONDS")
    args = parser.parse_args()
    if args.windows:
        windows(args.windows)
        return
    rows: list[dict[str, Any]] = []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        open_scripts(page)
        for rt60_s in ROOMS:
            for name, arrays, ways in CASES:
                figures: dict[tuple[str, str], list[tuple[float, float]]] = {way: [] for way in ways}
                for seed in range(1, args.scenes + 1):
                    place = Path(folder) / f"{rt60_s}_{arrays}_{seed}"
                    room = make_room(place, arrays, seed=seed, seconds=args.seconds, rt60_s=rt60_s)
                    plain = [level_db(heard(page, room, share, "all")[0]) for share in (1, 2)]
                    for mode, beam in ways:
                        own, rest = (level_db(heard(page, room, k, mode, beam=beam)[0]) - plain[k - 1] for k in (1, 2))
                        figures[mode, beam].append((rest, own))
                for (mode, beam), found in figures.items():
                    rest, own = np.median(found, axis=0).tolist()
                    rows.append({"rt60_s": rt60_s, "recording": name, "mode": mode, "beam": beam})
                    rows[-1] |= {"other_db": rest, "own_db": own}
                    where = "no room" if rt60_s is None else f"{rt60_s} s"
                    print(
                        f"{where:>8}  {name:<18} {mode:<5} {beam:<9} other {rest:6.1f} dB  own {own:5.1f} dB",
                        flush=True,
                    )
        browser.close()
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""What the player's own audio graph renders of a recording, by the scripts as they are, in an offline context.

For the browser test and for the benchmark (``tests/benchmarks/bench_player_sound.py``): two talkers in a simulated
room, each one's share by itself. Weights and beams are made for the mix; the windows they are applied to are those of
the mix or of one talker alone.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soundfile
from playwright.sync_api import Page, Route

from sai_core.annotations import AnnotationTable, read_annotations
from sai_core.dataset import Recording, open_data_root
from sai_core.geometry import SAMPLE_RATE_HZ
from sai_core.listening.encoding import Array
from sai_core.listening.solo import Part, Solo
from sai_core.listening.windows import PlayerSound, Solos
from sai_core.player import scripts
from sai_core.viewing.player import BLOCK_FRAMES
from tests.figures.scenes import blob, table_of, to_json
from tests.listening.scenes import Talkers, talkers

Float32Array = npt.NDArray[np.float32]
NAME: Final[str] = "fold4_room1_mix001"
_ORIGIN: Final[str] = "http://scripts.test"

_RENDER: Final[str] = """
import { Hearing } from "./hearing.js";
import { Sound } from "./playback.js";

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

// The player's sound by its own clock, lanes and gains, every 20 ms of an offline context; as much of the player as
// they ask for.
window.render = async ({ facts, windows, mode, beam, ears, azimuth, elevation, yaw, seconds, plain, moves }) => {
  const context = new OfflineAudioContext(2, Math.round(seconds * 24000), 24000);
  const sound = new Sound();
  Object.assign(sound, { context, running: true, audible: true, rate: 24000 });
  sound.from = { frame0: 0, t0: 0, speed: 1, fps: 10 };
  sound.open(24000);
  const audio = new Int16Array(bytes(plain).buffer);
  sound.blockOf = (frame) => frame * 2400 < audio.length && { start: 0, stop: audio.length / 2400, audio };
  const source = { table: "L", category: 0, instance: 0 };
  const player = { sound, prefs: { beam }, scene: null, playing: true, isolate: source, gaze: { yaw, pitch: 0 },
    turned: true, blockAt: (frame) => Math.floor(frame / BLOCK) };
  const hearing = new Hearing(player);
  Object.defineProperty(hearing, "ears", { value: ears }); // there is no scene that would say whether it has any
  Object.assign(hearing, { mode, at: { azimuth, elevation } });
  hearing.take("sound", bytes(facts));
  for (const [name, data] of Object.entries(windows)) hearing.take(name, bytes(data));
  let moved = -1;
  for (let t = 0; t < seconds; t += 0.02) {
    context.suspend(t).then(() => {
      const move = (moves || []).find(([at]) => Math.abs(at - t) < 0.01);
      if (move) hearing.at = { azimuth: move[1], elevation: move[2] };
      sound.pump();
      hearing.tick();
      context.resume();
    });
  }
  const heard = await context.startRendering(), left = heard.getChannelData(0), right = heard.getChannelData(1);
  const both = new Float32Array(2 * left.length);
  both.set(left);
  both.set(right, left.length);
  let text = "";
  const raw = new Uint8Array(both.buffer);
  for (let k = 0; k < raw.length; k += 32768) text += String.fromCharCode(...raw.subarray(k, k + 32768));
  return btoa(text);
};
window.ready = true;
""".replace("BLOCK", str(BLOCK_FRAMES))


def open_scripts(page: Page) -> None:
    """Let a page load the player's scripts one by one, as modules, and what drives them."""

    def answer(route: Route) -> None:
        name = route.request.url.removeprefix(f"{_ORIGIN}/")
        if name == "":
            route.fulfill(content_type="text/html", body='<script type="module" src="render.js"></script>')
        elif name == "render.js":
            route.fulfill(content_type="text/javascript", body=_RENDER)
        else:
            path = scripts.FOLDER / name
            known = path.parent == scripts.FOLDER and path.is_file()
            route.fulfill(content_type="text/javascript", body=path.read_text("utf-8")) if known else route.abort()

    page.route(f"{_ORIGIN}/**", answer)
    page.goto(f"{_ORIGIN}/")
    page.wait_for_function("window.ready")


@dataclass(frozen=True)
class Room:
    """Two talkers as recordings on disk: the mix, and each talker alone.

    Attributes
    ----------
    sounds : tuple of PlayerSound
        Of the mix, then of each talker.
    plain : tuple of float32 array
        What is played where all directions are heard.
    labels : AnnotationTable
        Both talkers, classes 0 and 1.
    """

    sounds: tuple[PlayerSound, PlayerSound, PlayerSound]
    plain: tuple[Float32Array, Float32Array, Float32Array]
    labels: AnnotationTable
    scene: Talkers


def make_room(folder: Path, arrays: tuple[Array, ...], *, seed: int, seconds: float, rt60_s: float | None) -> Room:
    """Two talkers 60 degrees apart, with files of some kinds of recordings."""
    from tests.listening.scenes import CHANNELS

    scene = talkers(seed, seconds=seconds, rt60_s=rt60_s)
    frames = round(seconds * 10)
    rows = []
    for track in scene.tracks:
        points, energy = blob((180 - track.azimuth_deg[0]) % 360, 90.0, 9)
        rows += [(k, track.category_id, track.number, 150.0, np.nan, points, energy) for k in range(frames)]
    label = folder / "labels.json"
    label.parent.mkdir(parents=True, exist_ok=True)
    import json

    label.write_text(json.dumps(to_json(table_of(NAME, rows), score=False)), "utf-8")
    sounds, plain = [], []
    for number, channels in enumerate((sum(scene.parts) + scene.noise, *scene.parts)):
        root = folder / str(number)
        for array in arrays:
            path = root / f"{array}_dev" / "dev-test" / f"{NAME}.wav"
            path.parent.mkdir(parents=True)
            soundfile.write(path, np.asarray(channels)[CHANNELS[array]].T, SAMPLE_RATE_HZ, subtype="FLOAT")
        recording: Recording = open_data_root(root).recordings[0]
        assert recording.audio_path is not None
        sounds.append(PlayerSound(recording))
        plain.append(soundfile.read(recording.audio_path, dtype="float32")[0].mean(axis=1))
    labels = read_annotations(label, recording=NAME)
    return Room(tuple(sounds), tuple(plain), labels, scene)  # type: ignore[arg-type]


def direction_of(room: Room, talker: int) -> tuple[float, float]:
    """Azimuth and elevation of a talker."""
    track = room.scene.tracks[talker]
    return float(track.azimuth_deg[0]), float(track.elevation_deg[0])


def heard(page: Page, room: Room, share: int, mode: str, *, beam: str = "adaptive", **how: Any) -> Float32Array:
    """What the graph renders of the mix (0) or of a talker's share in it (1, 2): (2, samples).

    ``mode`` is the player's; one points at the first talker, and the first talker is the source.
    """
    seconds = room.scene.noise.shape[1] / SAMPLE_RATE_HZ
    n_blocks = -(-round(seconds * 10) // BLOCK_FRAMES)
    windows = {}
    for block in range(n_blocks):
        if mode in ("solo", "around"):
            windows[f"{mode}.L.0.0.{block}"] = _source(room, share, mode, block)  # type: ignore[arg-type]
        else:
            windows[f"h.{block}"] = _window(room, share, block)
    azimuth, elevation = direction_of(room, 0)
    plain = np.clip(np.rint(room.plain[share] * 32767), -32768, 32767).astype("<i2").tobytes()
    wish = {"mode": mode, "beam": beam, "ears": False, "azimuth": azimuth, "elevation": elevation, "yaw": 0.0}
    payload = {
        **wish,
        **how,
        "seconds": seconds,
        "facts": base64.b64encode(room.sounds[0].facts()).decode(),
        "windows": {name: base64.b64encode(data).decode() for name, data in windows.items()},
        "plain": base64.b64encode(plain).decode(),
    }
    answer = page.evaluate("(wish) => window.render(wish)", payload)
    return np.frombuffer(base64.b64decode(answer), dtype="<f4").reshape(2, -1)


def _window(room: Room, share: int, block: int) -> bytes:
    """Harmonics of a share with the covariances of the mix."""
    from sai_core.viewing.player import pack, unpack

    if not share:
        return room.sounds[0].window(block)
    header, arrays = unpack(room.sounds[share].window(block))
    _, mix = unpack(room.sounds[0].window(block))
    return pack(header, {"samples": arrays["samples"], "covariance": mix["covariance"]})


def _source(room: Room, share: int, part: Part, block: int) -> bytes:
    """The first talker of a share, by the beams of the mix."""

    def make() -> Solo:
        solo = room.sounds[share].solo(room.labels, 0, 0)
        if share:
            solo._inverse = room.sounds[0].solo(room.labels, 0, 0)._inverse  # type: ignore[method-assign]
        return solo

    return _kept(room).render((id(room), share), make, part, block)


def _kept(room: Room) -> Solos:
    return _SOLOS.setdefault(id(room), Solos(most=3))


_SOLOS: Final[dict[int, Solos]] = {}

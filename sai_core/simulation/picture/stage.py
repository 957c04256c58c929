"""What the camera sees at a moment: a fixed background and, before it, everything that may move or shine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.simulation.dsp import CONTROL_RATE_HZ
from sai_core.simulation.picture.people import Pose, is_woman, person, shirt_of
from sai_core.simulation.picture.raster import Limb, Shape, View, Window, box_filter, cast
from sai_core.simulation.picture.things import shadow_of, thing
from sai_core.simulation.picture.walls import Shell, lamp_of
from sai_core.simulation.propagate import Path
from sai_core.simulation.scene import Prop, Scene, generator
from sai_core.simulation.sounds import Sound

Float32Array = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
Takes = tuple[tuple[float, Sound], ...]
"""Start in seconds and sound of each event of one source."""

_CACHE_BYTES: Final[int] = 300_000_000
_STEP_M: Final[float] = 0.70
"""Length of a step of people who walk without audible steps."""

_SHADOW_M: Final[float] = 0.42


@dataclass(frozen=True)
class Patch:
    """Part of the picture: ``out = below * keep / 255 + rgb``.

    Attributes
    ----------
    x0, y0 : int
        Upper left pixel; x0 may lie outside the picture (taken modulo its width).
    rgb : uint8, shape (h, w, 3)
        Premultiplied colour.
    keep : uint8, shape (h, w, 1)
        Share of what is below, shadows included.
    """

    x0: int
    y0: int
    rgb: ByteArray
    keep: ByteArray


@dataclass(frozen=True)
class State:
    """What the picture of one player depends on, in whole steps.

    Attributes
    ----------
    role : str
        What a person does at this moment.
    motion, action : int
        Mouth, loudness or door; gesture, or phase of what shakes.
    blink : bool
    place : tuple of 3 floats
        Floor position in metres and heading in degrees.
    stride : float or None
        Phase of walking.
    busy : bool
        Whether the person at a table or door acts; ``apart``: how far the hand is away.
    """

    place: tuple[float, float, float]
    role: str = ""
    motion: int = 0
    action: int = 0
    blink: bool = False
    stride: float | None = None
    busy: bool = False
    apart: int = 0


class Player:
    """One source or silent person over time: its state at a moment, and the shapes of a state."""

    def __init__(self, prop: Prop, path: Path, takes: Takes, *, category_id: int | None, variant: str) -> None:
        self.prop, self.path, self.takes = prop, path, takes
        self.category_id, self.variant = category_id, variant
        self._strokes = np.sort(np.concatenate([start + sound.strokes_s for start, sound in takes] or [np.zeros(0)]))
        self._facing_times, self._facing = self._headings()
        self._helper: Prop | None = None
        if prop.kind in ("dishes", "knock table"):
            self._helper = self._behind(0.52)
        elif prop.kind == "door" and prop.role == "knock":
            self._helper = self._beside_door()

    # -- state --------------------------------------------------------------------------------------------------

    def motion(self, time_s: float) -> float:
        """Control track of the sound that is on, 0 between sounds."""
        for start, sound in self.takes:
            k = int((time_s - start) * CONTROL_RATE_HZ)
            if 0 <= k < sound.motion.size:
                return float(sound.motion[k])
        return 0.0

    def sounding(self, time_s: float, margin_s: float = 0.0) -> bool:
        """Whether an event is on."""
        return any(start - margin_s <= time_s <= start + sound.duration_s + margin_s for start, sound in self.takes)

    def state(self, time_s: float) -> State:
        """Everything that the picture of this player depends on, in steps; equal states look equal."""
        if self.prop.kind == "person":
            return self._person_state(time_s)
        motion = round(self.motion(time_s) * self._motion_steps)
        busy = self._helper is not None and self.sounding(time_s, 0.3)
        return State(
            motion=motion,
            action=round(8 * self._stroke(time_s, motion > 0)),
            place=self._place(time_s),
            busy=busy,
            apart=round(6 * self._apart(time_s, 0.10)) if busy else 0,
        )

    def _person_state(self, time_s: float) -> State:
        prop, on = self.prop, self.sounding(time_s)
        role = prop.role if prop.role in ("guitar", "walk", "idle") or self.sounding(time_s, 0.25) else "idle"
        action = 0
        if role == "clap":
            action = round(6 * self._apart(time_s, 0.11))
        elif role == "talk" and on:
            action = round(12 * ((time_s * 0.38 + (prop.look % 97) / 97) % 1.0)) % 12
        elif role == "laugh" and on:
            action = round(4 * self.motion(time_s))
        elif role == "guitar" and on:
            action = round(4 * (0.5 + 0.5 * self._swing(time_s)))
        stride = None
        if self.path.moves and self.path.moves_between(time_s - 0.05, time_s + 0.05):
            stride = round(self._stride(time_s), 2)
        return State(
            role=role,
            motion=round(4 * self.motion(time_s)) if role in ("talk", "laugh") and on else 0,
            action=action,
            blink=(time_s + (prop.look % 31) / 10) % 3.7 < 0.13,
            place=self._place(time_s),
            stride=stride,
        )

    def _place(self, time_s: float) -> tuple[float, float, float]:
        """Floor position and heading."""
        if not self.path.moves:
            return *self.prop.position_m, self.prop.facing_deg
        x, y, _ = self.path.at(time_s).tolist()
        return round(x, 3), round(y, 3), float(round(self._heading(time_s)))

    @property
    def _motion_steps(self) -> int:
        return 24 if self.prop.kind == "door" else 4

    def shapes(self, state: State) -> list[Shape]:
        """Shapes of a state."""
        prop = replace(self.prop, position_m=state.place[:2], facing_deg=state.place[2])
        if prop.kind == "person":
            pose = Pose(
                state.place[:2],
                state.place[2],
                state.motion / 4,
                state.action / {"clap": 6, "talk": 12}.get(state.role, 4),
                float("nan") if state.stride is None else state.stride,
                state.blink,
            )
            return person(replace(prop, role=state.role), pose, woman=is_woman(prop, self.category_id, self.variant))
        out = thing(prop, state.motion / self._motion_steps, state.action / 8)
        mate = self._helper
        if mate is not None:
            role = "dishes" if prop.kind == "dishes" and state.busy else "idle"
            reach: tuple[float, float, float] | None = None
            if state.busy and prop.kind != "dishes":
                x, y, z = self.path.points_m[0].tolist()
                reach = (x, y, z - 0.03 if prop.kind == "knock table" else z)
            pose = Pose(mate.position_m, mate.facing_deg, action=state.apart / 6, reach_m=reach)
            out += person(replace(mate, role=role), pose, woman=mate.look % 2 == 0)
        return out

    def anchors(self, state: State) -> list[tuple[float, float]]:
        """Where on the floor it throws a soft round shadow."""
        spots = [state.place[:2]] if self.prop.kind == "person" or self.path.moves else []
        return spots + ([self._helper.position_m] if self._helper is not None else [])

    # -- movement -----------------------------------------------------------------------------------------------

    def _stroke(self, time_s: float, on: bool) -> float:
        kind = self.prop.kind
        if kind == "bell":
            return self._swing(time_s)
        if kind == "chime":
            since = self._since(time_s)
            return float(np.exp(-3 * since) * np.cos(18 * since)) if since < 1.5 else 0.0
        if kind in ("dishes", "knock table", "door"):
            since = self._since(time_s)
            return (1.0 if int(time_s * 30) % 2 else -1.0) if since < 0.08 and kind != "knock table" else 0.0
        if kind == "piano" and on:
            return (int(np.searchsorted(self._strokes, time_s)) % 7) / 7
        if kind == "loudspeaker":
            return 0.0
        return (1.0, -0.5, -1.0, 0.5)[int(time_s * 15) % 4] if on else 0.0

    def _since(self, time_s: float) -> float:
        """Seconds since the last stroke; large before the first."""
        k = int(np.searchsorted(self._strokes, time_s, side="right"))
        return time_s - float(self._strokes[k - 1]) if k else 1e3

    def _apart(self, time_s: float, reach_s: float) -> float:
        """0 at a stroke, 1 from ``reach_s`` away: hands that clap, knuckles that knock."""
        if self._strokes.size == 0:
            return 1.0
        gap = float(np.abs(self._strokes - time_s).min())
        return float(np.sin(0.5 * np.pi * min(gap / reach_s, 1.0)))

    def _swing(self, time_s: float) -> float:
        """From one side to the other between strokes, dying away after the last."""
        k = int(np.searchsorted(self._strokes, time_s, side="right"))
        if k == 0:
            return 0.0
        since = time_s - float(self._strokes[k - 1])
        following = float(self._strokes[k]) if k < self._strokes.size else float(self._strokes[k - 1]) + 0.4
        sign = 1.0 if k % 2 else -1.0
        span = max(following - float(self._strokes[k - 1]), 0.05)
        fade = 1.0 if k < self._strokes.size and span < 1.0 else float(np.exp(-1.5 * since))
        return float(sign * np.cos(np.pi * since / min(span, 0.6)) * fade)

    def _stride(self, time_s: float) -> float:
        """Phase of walking in steps: by the audible steps, else by the distance."""
        if self.category_id == 6 and self._strokes.size > 1:
            k = int(np.clip(np.searchsorted(self._strokes, time_s), 1, self._strokes.size - 1))
            a, b = self._strokes[k - 1], self._strokes[k]
            # a foot strikes when it is foremost: half a phase after mid-stance
            return k - 0.5 + float(np.clip((time_s - a) / (b - a), 0.0, 1.0))
        times = np.linspace(0, time_s, 64)
        travelled = float(np.linalg.norm(np.diff(self.path.at(times), axis=0), axis=1).sum())
        return travelled / _STEP_M

    def _headings(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Direction of movement over time, turned smoothly at corners; constant for what stands."""
        if not self.path.moves:
            return np.zeros(1), np.array([self.prop.facing_deg])
        times = np.arange(self.path.times_s[0] - 0.5, self.path.times_s[-1] + 0.5, 0.04)
        step = self.path.at(times + 0.02) - self.path.at(times - 0.02)
        moving = np.hypot(step[:, 0], step[:, 1]) > 1e-4
        if not moving.any():
            return np.zeros(1), np.array([self.prop.facing_deg])
        angle = np.interp(times, times[moving], np.unwrap(np.arctan2(step[moving, 1], step[moving, 0])))
        kernel = np.hanning(13)
        padded = np.pad(angle, 6, mode="edge")
        return times, np.rad2deg(np.convolve(padded, kernel / kernel.sum(), mode="valid"))

    def _heading(self, time_s: float) -> float:
        return float(np.interp(time_s, self._facing_times, self._facing))

    def _behind(self, distance_m: float) -> Prop:
        angle = np.deg2rad(self.prop.facing_deg)
        x, y = self.prop.position_m
        spot = (x - distance_m * float(np.cos(angle)), y - distance_m * float(np.sin(angle)))
        look = (self.prop.look * 7 + 3) % (1 << 31)
        return Prop("person", -1, spot, self.prop.facing_deg, 0.5, look, "idle", 1.58 + (look % 29) / 100)

    def _beside_door(self) -> Prop:
        angle = np.deg2rad(self.prop.facing_deg)
        ahead, left = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        spot = np.asarray(self.prop.position_m) + 0.42 * ahead - 0.30 * left
        goal = np.asarray(self.prop.position_m) + 0.2 * left
        facing = float(np.rad2deg(np.arctan2(goal[1] - spot[1], goal[0] - spot[0])))
        look = (self.prop.look * 7 + 3) % (1 << 31)
        return Prop("person", -1, (float(spot[0]), float(spot[1])), facing, 0.5, look, "idle", 1.62 + (look % 23) / 100)


class Stage:
    """Renders frames of a scene.

    Parameters
    ----------
    scene : Scene
    heard : sequence of Takes
        Events of each actor, from :func:`sai_core.simulation.audio.render_audio`.
    size_wh : pair of int
        Pixels; width twice the height.
    samples : int
        Samples per pixel along each axis.
    """

    def __init__(self, scene: Scene, heard: Sequence[Takes], *, size_wh: tuple[int, int], samples: int = 2) -> None:
        width, height = size_wh
        self._size = size_wh
        self._view = View(width * samples, height * samples, samples, scene.listener.position_m, scene.listener.yaw_deg)
        look = generator(scene.seed, scene.room_index, "picture")
        self._light = lamp_of(scene.room, look)
        self.players = [
            Player(a.prop, a.path, takes, category_id=a.category_id, variant=a.variant)
            for a, takes in zip(scene.actors, heard, strict=True)
        ]
        self.players += [
            Player(p, Path(np.zeros(1), np.array([[*p.position_m, 1.0]])), (), category_id=None, variant="")
            for p in scene.decor
            if p.kind == "person"
        ]
        _dress_apart(self.players)
        still = [p for p in scene.decor if p.kind != "person"]
        props = still + [a.prop for a in scene.actors]
        shadows = [s for s in map(shadow_of, props) if s is not None]
        shell = Shell(scene.room, props, shadows, self._light, look)
        shapes = [shape for p in still for shape in thing(p, 0.0, 0.0)]
        shapes += self._lamp(scene)
        self._background, self._depth, self._floor = self._render_background(shell, shapes)
        self._patches: dict[tuple[int, State], Patch] = {}
        self._cached_bytes = 0

    @property
    def background(self) -> ByteArray:
        """The room without anything that may move, uint8 RGB (h, w, 3)."""
        return self._background

    def frame(self, time_s: float) -> ByteArray:
        """Picture at a time: uint8 RGB, shape (h, w, 3); label grid, pixel centres."""
        out = self._background.copy()
        todo = []
        for number, player in enumerate(self.players):
            state = player.state(time_s)
            x, y, _ = player.path.at(time_s).tolist()
            ox, oy, _ = self._view.origin_m
            todo.append((-float(np.hypot(x - ox, y - oy)), number, state))
        for _, number, state in sorted(todo, key=lambda item: item[0]):
            patch = self._patch(number, state)
            if patch is not None:
                _composite(out, patch)
        return out

    def _patch(self, number: int, state: State) -> Patch | None:
        key = (number, state)
        known = self._patches.get(key)
        if known is not None:
            return known
        patch = self._render(self.players[number], state)
        if patch is None:
            return None
        size = patch.rgb.nbytes + patch.keep.nbytes
        if self._cached_bytes + size > _CACHE_BYTES:
            self._patches.clear()
            self._cached_bytes = 0
        self._patches[key] = patch
        self._cached_bytes += size
        return patch

    def _render(self, player: Player, state: State) -> Patch | None:
        view, s = self._view, self._view.samples
        shapes = player.shapes(state)
        spots = player.anchors(state)
        windows = [view.window_of(*shape.bound()) for shape in shapes]
        windows += [view.window_of((x, y, 0.0), _SHADOW_M) for x, y in spots]
        window = _union(windows, view.width)
        if 0 in window.shape:
            return None
        columns = np.arange(window.x0, window.x1) % view.width
        behind = self._depth[window.y0 : window.y1, columns]
        rgb, depth = cast(shapes, view, window, self._light, depth=behind)
        cover = np.isfinite(depth).astype(np.float32)[..., None]
        rgb, cover = box_filter(rgb, s), box_filter(cover, s)
        keep = 1 - cover
        if spots:
            keep *= 1 - self._floor_shadow(
                Window(window.x0 // s, window.x1 // s, window.y0 // s, window.y1 // s), spots
            )
        return Patch(
            window.x0 // s,
            window.y0 // s,
            np.round(rgb * 255).astype(np.uint8),
            np.round(np.clip(keep, 0, 1) * 255).astype(np.uint8),
        )

    def _floor_shadow(self, window: Window, spots: Sequence[tuple[float, float]]) -> Float32Array:
        """Darkness of soft round shadows on the floor, shape (h, w, 1)."""
        columns = np.arange(window.x0, window.x1) % self._size[0]
        where = self._floor[window.y0 : window.y1, columns]
        dark = np.zeros(where.shape[:2], dtype=np.float32)
        for x, y in spots:
            square = (where[..., 0] - np.float32(x)) ** 2 + (where[..., 1] - np.float32(y)) ** 2
            shadow = 0.46 * np.exp(-square / (2 * 0.13**2)) + 0.10 * np.exp(-square / (2 * 0.22**2))
            dark = np.maximum(dark, np.where(square < _SHADOW_M**2, shadow, 0))
        return dark[..., None]

    def _render_background(self, shell: Shell, shapes: Sequence[Shape]) -> tuple[ByteArray, Float32Array, Float32Array]:
        """Picture of the room, sample distances, and for each pixel the floor point (far away where there is none)."""
        view, s = self._view, self._view.samples
        width, height = self._size
        picture = np.empty((height, width, 3), dtype=np.uint8)
        depth = np.empty((view.height, view.width), dtype=np.float32)
        floor = np.full((height, width, 2), 1e6, dtype=np.float32)
        # in strips: the intermediate arrays of a whole panorama would take a gigabyte
        rows = max(64 // s, 1) * s
        for y0 in range(0, view.height, rows):
            window = Window(0, view.width, y0, min(y0 + rows, view.height))
            rgb, distance = shell.cast(view, window)
            solid, nearest = cast(shapes, view, window, self._light, depth=distance)
            hit = np.isfinite(nearest)
            rgb[hit] = solid[hit]
            distance = np.where(hit, nearest, distance)
            depth[window.y0 : window.y1] = distance
            part = slice(window.y0 // s, window.y1 // s)
            picture[part] = np.round(np.clip(box_filter(rgb, s), 0, 1) * 255).astype(np.uint8)
            _, _, dz = view.rays(window)
            center = (slice(s // 2, None, s), slice(s // 2, None, s))
            z = view.origin_m[2] + distance[center] * dz[center]
            dx, dy, _ = view.rays(window)
            ground = z < 0.02
            floor[part][..., 0][ground] = (view.origin_m[0] + distance[center] * dx[center])[ground]
            floor[part][..., 1][ground] = (view.origin_m[1] + distance[center] * dy[center])[ground]
        return picture, depth, floor

    def _lamp(self, scene: Scene) -> list[Shape]:
        x, y, z = self._light.lamp_m
        ceiling = scene.room.size_m[2]
        shapes: list[Shape] = [
            Limb((x, y, ceiling), (x, y, z + 0.1), 0.008, 0.008, (0.2, 0.2, 0.2)),
            Limb((x, y, z + 0.06), (x, y, z - 0.06), 0.10, 0.19, (1.15, 1.10, 0.98), 0.0, 0.9),
        ]
        return shapes


def _dress_apart(players: Sequence[Player]) -> None:
    """Change the look of people until no two wear the same shirt (as far as the colours reach)."""
    worn: set[int] = set()
    for player in players:
        if player.prop.kind != "person":
            continue
        look = player.prop.look
        for step in range(40):
            # even steps: an idle figure's sex hangs on the parity of its look
            if shirt_of(look + 2 * step) not in worn:
                look += 2 * step
                break
        worn.add(shirt_of(look))
        player.prop = replace(player.prop, look=look)


def _union(windows: Sequence[Window], width: int) -> Window:
    """Smallest window around several, each moved by whole turns to lie near the first."""
    if not windows:
        return Window(0, 0, 0, 0)
    if any(w.x1 - w.x0 >= width for w in windows):
        return Window(0, width, min(w.y0 for w in windows), max(w.y1 for w in windows))
    middle = 0.5 * (windows[0].x0 + windows[0].x1)
    near = [w.shifted(-width * round((0.5 * (w.x0 + w.x1) - middle) / width)) for w in windows]
    out = Window(min(w.x0 for w in near), max(w.x1 for w in near), min(w.y0 for w in near), max(w.y1 for w in near))
    return out if out.x1 - out.x0 < width else Window(0, width, out.y0, out.y1)


def _composite(picture: ByteArray, patch: Patch) -> None:
    """Lay a patch over the picture (in place), over the seam where it must."""
    width = picture.shape[1]
    h, w = patch.rgb.shape[:2]
    begin = 0
    while begin < w:
        column = (patch.x0 + begin) % width
        count = min(w - begin, width - column)
        below = picture[patch.y0 : patch.y0 + h, column : column + count]
        keep = patch.keep[:, begin : begin + count].astype(np.uint16)
        below[...] = ((below * keep + 127) // 255 + patch.rgb[:, begin : begin + count]).clip(0, 255).astype(np.uint8)
        begin += count

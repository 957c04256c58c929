"""Furniture and everything that sounds but is not a person, built from boxes, drums and blobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.simulation.picture.raster import Blob, Block, Color, Drum, Limb, Shape
from sai_core.simulation.picture.walls import Shadow
from sai_core.simulation.scene import Prop

FloatArray = npt.NDArray[np.float64]

_WOOD: Final[tuple[Color, ...]] = ((0.72, 0.50, 0.31), (0.52, 0.35, 0.23), (0.84, 0.72, 0.55), (0.93, 0.91, 0.88))
_GAY: Final[tuple[Color, ...]] = (
    (0.85, 0.27, 0.26), (0.18, 0.58, 0.60), (0.96, 0.72, 0.22), (0.28, 0.46, 0.72), (0.45, 0.62, 0.34),
    (0.90, 0.50, 0.58),
)  # fmt: skip
_STEEL: Final[Color] = (0.72, 0.74, 0.77)
_BRASS: Final[Color] = (0.86, 0.64, 0.24)
_BLACK: Final[Color] = (0.13, 0.13, 0.14)
_WHITE: Final[Color] = (0.95, 0.95, 0.94)
_WATER: Final[Color] = (0.66, 0.86, 0.96)


class _Stand:
    """Coordinates of a prop: metres ahead of it, to its left, and above the floor."""

    def __init__(self, prop: Prop) -> None:
        angle = np.deg2rad(prop.facing_deg)
        self.ahead = np.array([np.cos(angle), np.sin(angle), 0.0])
        self.left = np.array([-np.sin(angle), np.cos(angle), 0.0])
        self.up = np.array([0.0, 0.0, 1.0])
        self.axes = np.stack([self.ahead, self.left, self.up])
        self.base = np.array([*prop.position_m, 0.0])
        self.rng = np.random.default_rng(prop.look)

    def at(self, ahead: float, left: float, up: float) -> FloatArray:
        return self.base + ahead * self.ahead + left * self.left + up * self.up

    def box(
        self, ahead: float, left: float, up: float, half: tuple[float, float, float], paint: Color,
        shine: float = 0.05, glow: float = 0.0,
    ) -> Block:  # fmt: skip
        return Block(self.at(ahead, left, up), half, paint, self.axes, shine, glow)

    def pick(self, colors: tuple[Color, ...]) -> Color:
        return colors[int(self.rng.integers(len(colors)))]


def thing(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    """Shapes of a prop.

    Parameters
    ----------
    prop : Prop
    motion : float
        Loudness, door angle or flow in [0, 1]; 0 when silent.
    stroke : float
        In [-1, 1]: phase of what shakes or swings; 0 at rest.
    """
    return _BUILDERS[prop.kind](prop, motion, stroke)


def shadow_of(prop: Prop) -> Shadow | None:
    """Footprint for the floor's shadows; None for what does not stand on the floor."""
    size = {
        "phone": (0.26, 0.26, 0.9), "blender": (0.3, 0.55, 1.2), "dishes": (0.35, 0.45, 0.8),
        "loudspeaker": (0.15, 0.15, 1.2), "piano": (0.3, 0.75, 1.25), "tap": (0.3, 0.55, 1.0),
        "knock table": (0.35, 0.45, 0.8), "sofa": (0.42, 0.95, 0.8), "shelf": (0.16, 0.5, 1.9),
        "plant": (0.2, 0.2, 1.1), "cabinet": (0.2, 0.6, 0.8),
    }.get(prop.kind)  # fmt: skip
    if size is None:
        return None
    stand = _Stand(prop)
    depth = size[0] if prop.wall >= 0 else 0.0
    center = stand.at(depth, 0.0, 0.0)
    return Shadow((float(center[0]), float(center[1])), (size[0], size[1]), prop.facing_deg, size[2])


def _tone(color: Color, gain: float, lift: float = 0.0) -> Color:
    """Darker or paler colour."""
    return gain * color[0] + lift, gain * color[1] + lift, gain * color[2] + lift


def _round_table(s: _Stand, height: float, radius: float) -> list[Shape]:
    wood = s.pick(_WOOD)
    return [
        Drum(s.at(0, 0, height - 0.03), s.at(0, 0, height), radius, wood),
        Limb(s.at(0, 0, 0.05), s.at(0, 0, height - 0.04), 0.028, 0.028, wood),
        Drum(s.at(0, 0, 0), s.at(0, 0, 0.03), radius * 0.55, wood),
    ]


def _table(s: _Stand) -> list[Shape]:
    wood = s.pick(_WOOD)
    out: list[Shape] = [s.box(0, 0, 0.735, (0.34, 0.45, 0.018), wood)]
    for i in (-1, 1):
        for j in (-1, 1):
            out.append(s.box(0.29 * i, 0.40 * j, 0.36, (0.025, 0.025, 0.36), wood))
    return out


def _phone(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    out = _round_table(s, 0.70, 0.27)
    color = s.pick(_GAY)
    jolt = 0.014 * stroke
    # a telephone with a dial; larger than life, so that it can be made out
    out.append(Limb(s.at(-0.02, -0.075, 0.755), s.at(-0.02, 0.075, 0.755), 0.058, 0.058, color, 0.3))
    out.append(Limb(s.at(0.05, -0.085, 0.735), s.at(0.05, 0.085, 0.735), 0.038, 0.038, color, 0.3))
    tilted = np.stack([0.8 * s.ahead + 0.6 * s.up, s.left, 0.8 * s.up - 0.6 * s.ahead])
    dial = s.at(0.035, 0, 0.79)
    out.append(Blob(dial, (0.012, 0.055, 0.055), _WHITE, tilted, shine=0.3))
    out.append(Blob(dial + 0.008 * tilted[0], (0.010, 0.026, 0.026), color, tilted))
    rest = 0.845 + abs(jolt)
    out.append(Limb(s.at(-0.02, -0.105, rest), s.at(-0.02, 0.105, rest + jolt), 0.024, 0.024, color, 0.35))
    for side in (-1, 1):
        out.append(
            Blob(s.at(0.0, 0.115 * side, rest - 0.012 + jolt * side), (0.042, 0.036, 0.034), color, s.axes, shine=0.35)
        )
    lamp = (1.0, 0.85, 0.30) if motion > 0.15 else (0.45, 0.38, 0.20)
    out.append(Blob(s.at(0.09, 0, 0.752), (0.012, 0.014, 0.014), lamp, s.axes, glow=0.9 if motion > 0.15 else 0.0))
    return out


def _robot_vacuum(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    shell = s.pick(((0.22, 0.23, 0.25), (0.92, 0.92, 0.91), (0.30, 0.40, 0.48)))
    light = (0.35, 0.95, 0.50) if motion > 0.1 else (0.30, 0.42, 0.34)
    return [
        Drum(s.at(0, 0, 0.015), s.at(0, 0, 0.085), 0.19, shell, 0.25),
        Drum(s.at(0, 0, 0.085), s.at(0, 0, 0.095), 0.15, _tone(shell, 0.75, 0.2), 0.3),
        Drum(s.at(-0.05, 0, 0.095), s.at(-0.05, 0, 0.125), 0.05, _BLACK, 0.3),
        Blob(s.at(0.10, 0, 0.095), (0.02, 0.02, 0.012), light, s.axes, glow=0.9 if motion > 0.1 else 0.0),
        Limb(s.at(0.17, 0.09, 0.02), s.at(0.21, 0.13, 0.012), 0.012, 0.008, _BLACK),
    ]


def _counter(s: _Stand, *, width: float = 1.1) -> list[Shape]:
    front = s.pick(((0.90, 0.90, 0.88), (0.45, 0.58, 0.60), (0.80, 0.70, 0.56), (0.36, 0.42, 0.52)))
    top = s.pick(((0.36, 0.34, 0.33), (0.72, 0.56, 0.38), (0.90, 0.89, 0.87)))
    half = width / 2
    out: list[Shape] = [
        s.box(0.29, 0, 0.47, (0.29, half, 0.39), front),
        s.box(0.27, 0, 0.04, (0.25, half - 0.02, 0.04), _BLACK),
        s.box(0.30, 0, 0.88, (0.32, half + 0.01, 0.02), top, 0.25),
    ]
    for k in range(2):
        middle = (k - 0.5) * half
        shade = (front[0] * 0.94, front[1] * 0.94, front[2] * 0.94)
        out.append(s.box(0.582, middle, 0.46, (0.006, half / 2 - 0.025, 0.33), shade))
        out.append(Limb(s.at(0.605, middle - 0.07, 0.74), s.at(0.605, middle + 0.07, 0.74), 0.009, 0.009, _STEEL, 0.5))
    return out


def _blender(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    out = _counter(s)
    jolt = 0.006 * stroke
    fruit = s.pick(((0.93, 0.42, 0.50), (0.52, 0.75, 0.36), (0.98, 0.68, 0.28)))
    out.append(Limb(s.at(0.33 + jolt, 0, 0.92), s.at(0.33 + jolt, 0, 1.0), 0.095, 0.070, s.pick(_GAY), 0.3))
    level = 1.04 + 0.16 * (0.55 + 0.25 * motion)
    out.append(Limb(s.at(0.33 + jolt, 0, 1.05), s.at(0.33 + jolt, 0, level), 0.066, 0.078, fruit, 0.4))
    out.append(Drum(s.at(0.33 + jolt, 0, level), s.at(0.33 + jolt, 0, 1.27), 0.088, (0.82, 0.90, 0.94), 0.6))
    out.append(Drum(s.at(0.33 + jolt, 0, 1.27), s.at(0.33 + jolt, 0, 1.30), 0.080, _BLACK, 0.3))
    out.append(Limb(s.at(0.33, 0.10, 1.08), s.at(0.33, 0.10, 1.22), 0.013, 0.013, (0.82, 0.90, 0.94), 0.5))
    # a fruit bowl beside it
    out.append(Blob(s.at(0.30, -0.36, 0.95), (0.13, 0.13, 0.06), _WHITE, s.axes, shine=0.3))
    for k, c in enumerate(((0.86, 0.25, 0.22), (0.95, 0.70, 0.20), (0.50, 0.68, 0.26))):
        out.append(
            Blob(s.at(0.30 + 0.05 * (k - 1), -0.36 + 0.05 * (k % 2), 1.0), (0.042, 0.042, 0.042), c, s.axes, shine=0.3)
        )
    return out


def _dishes(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    out = _table(s)
    jolt = 0.012 * stroke
    rim = s.pick(_GAY)
    for k in range(5):
        lift = 0.757 + 0.017 * k + (0.02 * motion if k == 4 else 0)
        paint = _WHITE if k % 2 else (0.5 * rim[0] + 0.48, 0.5 * rim[1] + 0.48, 0.5 * rim[2] + 0.48)
        out.append(
            Drum(
                s.at(jolt if k == 4 else 0, 0.0, lift),
                s.at(jolt if k == 4 else 0, 0.0, lift + 0.014),
                0.115,
                paint,
                0.35,
            )
        )
    for side, c in ((-0.27, rim), (0.26, _WHITE)):
        out.append(Limb(s.at(0.06, side, 0.775), s.at(0.06, side, 0.82), 0.032, 0.040, c, 0.35))
    out.append(Limb(s.at(-0.12, 0.28, 0.77), s.at(-0.12, 0.28, 0.93), 0.034, 0.018, (0.42, 0.62, 0.44), 0.6))
    return out


def _knock_table(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    out = _table(s)
    out.append(Limb(s.at(0.10, 0.28, 0.775), s.at(0.10, 0.28, 0.82), 0.032, 0.040, s.pick(_GAY), 0.35))
    out.append(s.box(0.02, -0.28, 0.765, (0.09, 0.065, 0.012), s.pick(_GAY)))
    return out


def _door(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    color = s.pick(((0.90, 0.88, 0.84), (0.60, 0.40, 0.26), (0.35, 0.48, 0.52), (0.78, 0.34, 0.28), (0.46, 0.58, 0.46)))
    angle = np.deg2rad(72.0 * motion + 0.6 * stroke)
    # hinged on its left, swings into the room
    hinge = s.at(0.03, 0.45, 0.0)
    along = -np.cos(angle) * s.left + np.sin(angle) * s.ahead
    out_of = np.cos(angle) * s.ahead + np.sin(angle) * s.left
    axes = np.stack([out_of, along, s.up])
    out: list[Shape] = [Block(hinge + 0.45 * along + 1.025 * s.up, (0.02, 0.448, 1.02), color, axes, 0.15)]
    dark = (color[0] * 0.86, color[1] * 0.86, color[2] * 0.86)
    for z, tall in ((0.55, 0.36), (1.50, 0.40)):
        for across in (0.26, 0.64):
            for face in (-1, 1):
                center = hinge + across * along + z * s.up + 0.019 * face * out_of
                out.append(Block(center, (0.004, 0.145, tall), dark, axes, 0.15))
    for face in (-1, 1):
        knob = hinge + 0.83 * along + 1.02 * s.up
        out.append(Limb(knob + 0.02 * face * out_of, knob + 0.055 * face * out_of, 0.014, 0.014, _BRASS, 0.6))
        out.append(
            Limb(knob + 0.055 * face * out_of, knob + 0.055 * face * out_of - 0.10 * along, 0.014, 0.013, _BRASS, 0.6)
        )
    return out


def _loudspeaker(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    body = s.pick(((0.16, 0.16, 0.17), (0.55, 0.37, 0.24), (0.93, 0.92, 0.90), (0.70, 0.24, 0.22)))
    out: list[Shape] = [
        Drum(s.at(0, 0, 0), s.at(0, 0, 0.025), 0.17, _BLACK, 0.2),
        Limb(s.at(0, 0, 0.03), s.at(0, 0, 0.78), 0.025, 0.025, _BLACK, 0.3),
        s.box(0, 0, 1.02, (0.15, 0.155, 0.26), body, 0.2),
    ]
    push = 0.012 * motion
    for z, r in ((0.92, 0.105), (1.16, 0.062)):
        out.append(Drum(s.at(0.15, 0, z), s.at(0.158, 0, z), r * 1.12, _STEEL, 0.4))
        out.append(Drum(s.at(0.15, 0, z), s.at(0.162, 0, z), r, (0.20, 0.20, 0.22), 0.2))
        out.append(
            Blob(s.at(0.158 + push, 0, z), (0.02 + push, r * 0.45, r * 0.45), (0.34, 0.34, 0.36), s.axes, shine=0.5)
        )
    on = motion > 0.05
    out.append(
        Blob(
            s.at(0.152, 0.11, 0.80),
            (0.008, 0.012, 0.012),
            (0.35, 0.75, 1.0) if on else (0.2, 0.25, 0.3),
            s.axes,
            glow=0.95 if on else 0.0,
        )
    )
    return out


def _piano(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    wood = s.pick(((0.15, 0.12, 0.11), (0.42, 0.24, 0.15), (0.93, 0.92, 0.90)))
    shine = 0.4
    out: list[Shape] = [
        s.box(0.17, 0, 0.62, (0.16, 0.74, 0.60), wood, shine),
        s.box(0.19, 0, 1.235, (0.18, 0.76, 0.018), wood, shine),
        s.box(0.42, 0, 0.66, (0.13, 0.74, 0.035), wood, shine),
        s.box(0.335, 0, 0.98, (0.006, 0.55, 0.16), _tone(wood, 0.8, 0.08), 0.2),
        s.box(0.38, 0.0, 1.02, (0.012, 0.20, 0.13), _WHITE),
    ]
    for side in (-1, 1):
        out.append(s.box(0.46, 0.70 * side, 0.32, (0.05, 0.035, 0.32), wood, shine))
        out.append(s.box(0.42, 0.715 * side, 0.72, (0.13, 0.025, 0.04), wood, shine))
    pressed: list[int] = s.rng.permutation(20)[:3].tolist() if motion > 0.25 else []
    turn = int(abs(stroke) * 7)
    for k in range(20):
        down = 0.012 if any((p + turn) % 20 == k for p in pressed) else 0.0
        tone = (0.98, 0.90, 0.62) if down else _WHITE
        out.append(s.box(0.44, -0.665 + 0.07 * k, 0.705 - down, (0.10, 0.0335, 0.010), tone, 0.3))
        if k % 7 not in (2, 6):
            out.append(s.box(0.40, -0.63 + 0.07 * k, 0.722, (0.06, 0.018, 0.010), _BLACK, 0.3))
    out.append(s.box(0.88, 0, 0.47, (0.16, 0.32, 0.04), (0.35, 0.16, 0.14), 0.2))
    for i in (-1, 1):
        for j in (-1, 1):
            out.append(s.box(0.88 + 0.13 * i, 0.28 * j, 0.22, (0.02, 0.02, 0.22), wood))
    return out


def _tap(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    out = _counter(s)
    out.append(s.box(0.33, 0, 0.897, (0.20, 0.28, 0.006), _STEEL, 0.5))
    out.append(s.box(0.33, 0, 0.899, (0.175, 0.25, 0.006), (0.34, 0.36, 0.39), 0.3))
    out.append(Limb(s.at(0.09, 0, 0.90), s.at(0.09, 0, 1.22), 0.022, 0.020, _STEEL, 0.6))
    out.append(Limb(s.at(0.09, 0, 1.22), s.at(0.20, 0, 1.29), 0.020, 0.019, _STEEL, 0.6))
    out.append(Limb(s.at(0.20, 0, 1.29), s.at(0.32, 0, 1.25), 0.019, 0.018, _STEEL, 0.6))
    out.append(Limb(s.at(0.32, 0, 1.25), s.at(0.33, 0, 1.18), 0.018, 0.018, _STEEL, 0.6))
    out.append(
        Limb(s.at(0.09, 0.03, 1.02), s.at(0.12 + 0.05 * motion, 0.10, 1.04), 0.012, 0.014, (0.80, 0.30, 0.28), 0.4)
    )
    if motion > 0.03:
        width = 0.010 + 0.012 * motion + 0.002 * stroke
        out.append(
            Limb(s.at(0.33, 0, 1.17), s.at(0.335 + 0.004 * stroke, 0, 0.91), width, width * 1.5, _WATER, 0.5, 0.35)
        )
        for k in range(4):
            a = 1.57 * k + 2.0 * stroke
            out.append(
                Blob(
                    s.at(0.335 + 0.07 * np.cos(a), 0.07 * np.sin(a), 0.915),
                    (0.02, 0.02, 0.014 * motion + 0.004),
                    _WATER,
                    s.axes,
                    glow=0.3,
                )
            )
    # a dish rack beside the sink
    out.append(Blob(s.at(0.30, -0.42, 0.96), (0.02, 0.09, 0.09), _WHITE, s.axes, shine=0.3))
    out.append(Blob(s.at(0.36, -0.42, 0.95), (0.02, 0.08, 0.08), s.pick(_GAY), s.axes, shine=0.3))
    out.append(Limb(s.at(0.28, 0.42, 0.91), s.at(0.28, 0.42, 1.02), 0.034, 0.026, s.pick(_GAY), 0.4))
    return out


def _bell(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    z = prop.height_m
    swing = 0.55 * stroke
    down = np.cos(swing) * -s.up + np.sin(swing) * s.left
    pivot = s.at(0.18, 0, z + 0.17)
    out: list[Shape] = [
        s.box(0.01, 0, z + 0.17, (0.012, 0.07, 0.10), (0.42, 0.28, 0.18)),
        Limb(s.at(0.02, 0, z + 0.20), s.at(0.19, 0, z + 0.20), 0.012, 0.012, _BLACK, 0.3),
        Limb(pivot, pivot + 0.05 * down, 0.012, 0.012, _BLACK),
        Limb(pivot + 0.08 * down, pivot + 0.15 * down, 0.055, 0.075, _BRASS, 0.7),
        Limb(pivot + 0.15 * down, pivot + 0.21 * down, 0.075, 0.112, _BRASS, 0.7),
        Drum(pivot + 0.235 * down, pivot + 0.262 * down, 0.128, _BRASS, 0.7),
        Blob(pivot + 0.285 * down - 0.03 * stroke * s.left, (0.026, 0.026, 0.026), _BLACK, s.axes, shine=0.4),
    ]
    return out


def _chime(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    z = prop.height_m
    case = s.pick(((0.95, 0.93, 0.88), (0.60, 0.42, 0.28), (0.30, 0.42, 0.50)))
    on = motion > 0.2
    out: list[Shape] = [
        s.box(0.05, 0, z + 0.06, (0.05, 0.17, 0.11), case, 0.2),
        Blob(
            s.at(0.10, 0, z + 0.06),
            (0.012, 0.035, 0.035),
            (1.0, 0.80, 0.30) if on else (0.62, 0.55, 0.40),
            s.axes,
            glow=0.9 if on else 0.0,
        ),
    ]
    for k, side in enumerate((-0.10, 0.0, 0.10)):
        lean = 0.02 * stroke * (1 if k % 2 else -1)
        out.append(
            Limb(
                s.at(0.07, side, z - 0.06),
                s.at(0.07 + abs(lean), side + lean, z - 0.30 - 0.07 * k),
                0.020,
                0.020,
                _BRASS,
                0.7,
            )
        )
    return out


def _sofa(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    color = s.pick(((0.36, 0.52, 0.56), (0.70, 0.42, 0.34), (0.50, 0.50, 0.54), (0.82, 0.68, 0.42), (0.44, 0.54, 0.40)))
    back = (color[0] * 0.92, color[1] * 0.92, color[2] * 0.92)
    out: list[Shape] = [
        s.box(0.45, 0, 0.22, (0.38, 0.80, 0.14), back),
        Limb(s.at(0.17, -0.75, 0.62), s.at(0.17, 0.75, 0.62), 0.13, 0.13, color),
        s.box(0.15, 0, 0.42, (0.10, 0.85, 0.24), back),
    ]
    for side in (-0.39, 0.39):
        out.append(Blob(s.at(0.50, side, 0.42), (0.34, 0.39, 0.11), color, s.axes))
        out.append(Limb(s.at(0.12, side * 2.25, 0.48), s.at(0.80, side * 2.25, 0.48), 0.10, 0.10, color))
        out.append(s.box(0.45, side * 2.25, 0.26, (0.36, 0.09, 0.20), back))
    tilted = np.stack([0.8 * s.ahead + 0.6 * s.up, s.left, 0.8 * s.up - 0.6 * s.ahead])
    out.append(Blob(s.at(0.36, 0.42, 0.62), (0.07, 0.19, 0.17), s.pick(_GAY), tilted))
    out.append(Blob(s.at(0.36, -0.48, 0.61), (0.07, 0.18, 0.16), s.pick(_GAY), tilted))
    return out


def _shelf(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    wood = s.pick(_WOOD)
    out: list[Shape] = [s.box(0.02, 0, 0.95, (0.012, 0.48, 0.95), _tone(wood, 0.8))]
    for side in (-1, 1):
        out.append(s.box(0.16, 0.48 * side, 0.95, (0.15, 0.018, 0.95), wood))
    for k in range(6):
        out.append(s.box(0.16, 0, 0.02 + 0.372 * k, (0.15, 0.48, 0.016), wood))
    for k in range(5):
        left = -0.44
        while left < 0.36:
            if s.rng.random() < 0.12:
                left += 0.10
                continue
            width, tall = s.rng.uniform(0.045, 0.085), s.rng.uniform(0.10, 0.15)
            out.append(
                s.box(0.18, left + width / 2, 0.04 + 0.372 * k + tall, (0.10, width / 2 - 0.003, tall), s.pick(_GAY))
            )
            left += width
    return out


def _plant(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    out: list[Shape] = [
        Limb(
            s.at(0.24, 0, 0.12),
            s.at(0.24, 0, 0.28),
            0.11,
            0.15,
            s.pick(((0.80, 0.45, 0.32), (0.93, 0.92, 0.90), (0.34, 0.44, 0.50))),
        ),
        Drum(s.at(0.24, 0, 0.36), s.at(0.24, 0, 0.385), 0.135, (0.25, 0.18, 0.13)),
    ]
    green = s.pick(((0.30, 0.54, 0.28), (0.22, 0.46, 0.34), (0.46, 0.60, 0.26)))
    for k in range(11):
        angle, lift = 2.4 * k, s.rng.uniform(0.25, 0.85)
        reach = s.rng.uniform(0.10, 0.24)
        tip = s.at(0.24 + reach * np.cos(angle), reach * np.sin(angle), 0.42 + lift)
        root = s.at(0.24, 0, 0.40)
        axis = tip - root
        axis /= np.linalg.norm(axis)
        side = np.cross(axis, s.up)
        side /= max(float(np.linalg.norm(side)), 1e-6)
        tone = (green[0] * (0.85 + 0.03 * k), green[1] * (0.85 + 0.03 * k), green[2] * (0.85 + 0.03 * k))
        out.append(Limb(root, root + 0.75 * (tip - root), 0.010, 0.008, (0.34, 0.42, 0.22)))
        out.append(
            Blob(root + 0.85 * (tip - root), (0.17, 0.075, 0.022), tone, np.stack([axis, side, np.cross(axis, side)]))
        )
    return out


def _cabinet(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    s = _Stand(prop)
    wood = s.pick(_WOOD)
    dark = (wood[0] * 0.88, wood[1] * 0.88, wood[2] * 0.88)
    out: list[Shape] = [s.box(0.20, 0, 0.44, (0.20, 0.58, 0.30), wood, 0.12)]
    for k in range(3):
        out.append(s.box(0.403, (k - 1) * 0.38, 0.44, (0.005, 0.18, 0.26), dark, 0.1))
        out.append(Blob(s.at(0.415, (k - 1) * 0.38 + 0.13, 0.46), (0.012, 0.014, 0.014), _BRASS, s.axes, shine=0.5))
    for i in (-1, 1):
        for j in (-1, 1):
            out.append(
                Limb(s.at(0.20 + 0.15 * i, 0.5 * j, 0.0), s.at(0.20 + 0.15 * i, 0.48 * j, 0.14), 0.015, 0.022, dark)
            )
    out.append(Limb(s.at(0.20, 0.34, 0.80), s.at(0.20, 0.34, 0.90), 0.055, 0.030, s.pick(_GAY), 0.4))
    out.append(Limb(s.at(0.20, -0.32, 0.75), s.at(0.20, -0.32, 0.95), 0.012, 0.012, _BRASS, 0.4))
    out.append(Limb(s.at(0.20, -0.32, 0.99), s.at(0.20, -0.32, 1.10), 0.12, 0.08, (1.0, 0.92, 0.70), 0.1, 0.55))
    return out


def _painted(prop: Prop, motion: float, stroke: float) -> list[Shape]:
    """Windows and pictures are painted on their wall."""
    return []


_BUILDERS: Final[dict[str, Callable[[Prop, float, float], list[Shape]]]] = {
    "phone": _phone,
    "robot vacuum": _robot_vacuum,
    "blender": _blender,
    "dishes": _dishes,
    "knock table": _knock_table,
    "door": _door,
    "loudspeaker": _loudspeaker,
    "piano": _piano,
    "tap": _tap,
    "bell": _bell,
    "chime": _chime,
    "sofa": _sofa,
    "shelf": _shelf,
    "plant": _plant,
    "cabinet": _cabinet,
    "window": _painted,
    "picture": _painted,
}

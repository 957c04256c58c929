"""Walls, floor and ceiling: painted once per room as flat textures, then seen from the camera by ray casting.

Every surface is an image of :data:`PX_PER_M` pixels per metre, drawn with OpenCV (planks, tiles, wallpaper, windows
with a view, pictures, door frames), then lit: lamp, dim corners, soft shadows of what stands on the floor, a patch of
sun. Texture columns run to the right as seen from inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from sai_core.simulation.picture.raster import Color, Light, View, Window
from sai_core.simulation.room import Room
from sai_core.simulation.scene import Prop

Float32Array = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]

PX_PER_M: Final[int] = 180
"""A texel is 5.6 mm: about one pixel of a 1920-pixel panorama at 1.7 m."""

_AA: Final[int] = cv2.LINE_AA
_SHIFT: Final[int] = 4

_WALLS: Final[tuple[Color, ...]] = (
    (0.93, 0.88, 0.78), (0.80, 0.87, 0.90), (0.84, 0.89, 0.79), (0.93, 0.82, 0.77), (0.90, 0.90, 0.87),
    (0.95, 0.84, 0.66), (0.78, 0.83, 0.88), (0.88, 0.83, 0.90),
)  # fmt: skip
_FLOORS: Final[tuple[str, ...]] = ("oak", "walnut", "tiles", "checker", "carpet", "ash")
_RUGS: Final[tuple[Color, ...]] = (
    (0.72, 0.30, 0.27), (0.22, 0.42, 0.55), (0.86, 0.68, 0.36), (0.40, 0.50, 0.36), (0.52, 0.36, 0.52),
)  # fmt: skip


@dataclass(frozen=True)
class Shadow:
    """Footprint of a thing for the floor's shadows: a box of this height, seen from above."""

    center_m: tuple[float, float]
    half_m: tuple[float, float]
    angle_deg: float
    height_m: float


def lamp_of(room: Room, look: np.random.Generator) -> Light:
    """Light of a room: a lamp under the ceiling near the middle, warm or cool."""
    x, y, z = room.size_m
    lamp = (x * look.uniform(0.42, 0.58), y * look.uniform(0.42, 0.58), z - 0.45)
    warm = look.uniform(0, 1)
    return Light(
        lamp,
        (0.56 + 0.05 * warm, 0.54 + 0.01 * warm, 0.52 - 0.07 * warm),
        (0.60, 0.62, 0.65),
        (0.40, 0.37, 0.33),
    )


class Shell:
    """The six painted surfaces of a room."""

    def __init__(
        self,
        room: Room,
        hung: Sequence[Prop],
        shadows: Sequence[Shadow],
        light: Light,
        look: np.random.Generator,
    ) -> None:
        self._room = room
        length, width, height = room.size_m
        wall = np.array(_WALLS[int(look.integers(len(_WALLS)))])
        style = str(look.choice(["plain", "stripes", "panel", "plain", "dado"]))
        floor = str(look.choice(_FLOORS))
        rug = _RUGS[int(look.integers(len(_RUGS)))] if look.random() < 0.75 and floor != "carpet" else None
        rug_round = bool(look.random() < 0.4)
        seed = int(look.integers(1 << 31))
        dusk = bool(look.random() < 0.25)
        # the sun stands on one side: it can shine through two neighbouring walls
        sunny = ((0, 2), (2, 1), (1, 3), (3, 0))[int(look.integers(4))] if not dusk else ()
        extents = (width, width, length, length)
        walls = []
        for number, extent in enumerate(extents):
            image = _paint_wall(extent, height, wall, style, np.random.default_rng([seed, number]))
            for prop in hung:
                if prop.wall == number:
                    _hang(image, prop, self._across(prop), height, dusk=dusk)
            walls.append(image)
        ground = _paint_floor(length, width, floor, np.random.default_rng([seed, 9]))
        if rug is not None:
            _lay_rug(ground, length, width, rug, rug_round, np.random.default_rng([seed, 10]))
        top = _blank(length, width, (0.88, 0.87, 0.85))
        _rectangle(top, 0.07, 0.07, length - 0.07, width - 0.07, (0.95, 0.945, 0.93))
        lit: list[Float32Array] = [np.float32(1 / 255) * t.astype(np.float32) for t in [*walls, ground, top]]
        lit[4] = _shade_floor(lit[4], shadows, light, length, width)
        for prop in hung:
            if prop.kind == "window" and prop.wall in sunny:
                _sun_patch(lit[4], prop, np.random.default_rng(prop.look))
        for number in range(6):
            if number < 4:
                _stain_wall(lit[number], number, shadows, room)
            lit[number] *= self._lit(number, lit[number].shape, light)
        self._textures = [np.ascontiguousarray(soft_clip(t)) for t in lit]

    def _across(self, prop: Prop) -> float:
        """Texture coordinate in metres of a wall prop's middle."""
        length, width, _ = self._room.size_m
        x, y = prop.position_m
        return (y, width - y, length - x, x)[prop.wall]

    def _points(self, surface: int, shape: tuple[int, ...]) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Room coordinates of the texels of a surface."""
        length, width, height = self._room.size_m
        u = ((np.arange(shape[1]) + 0.5) / shape[1])[None, :].astype(np.float32)
        v = ((np.arange(shape[0]) + 0.5) / shape[0])[:, None].astype(np.float32)
        ones = np.ones((shape[0], shape[1]), dtype=np.float32)
        if surface < 4:
            z = (1 - v) * height * ones
            if surface == 0:
                return 0 * ones, u * width * ones, z
            if surface == 1:
                return length * ones, (1 - u) * width * ones, z
            if surface == 2:
                return (1 - u) * length * ones, 0 * ones, z
            return u * length * ones, width * ones, z
        return u * length * ones, v * width * ones, (0.0 if surface == 4 else height) * ones

    def _lit(self, surface: int, shape: tuple[int, ...], light: Light) -> Float32Array:
        """Light on a surface: lamp by distance and angle, ambient, dim edges. Shape (h, w, 3)."""
        # smooth: a quarter of the texels is plenty
        small = (max(shape[0] // 4, 2), max(shape[1] // 4, 2))
        x, y, z = self._points(surface, small)
        length, width, height = self._room.size_m
        toward = [light.lamp_m[0] - x, light.lamp_m[1] - y, light.lamp_m[2] - z]
        normal = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))[surface]
        square = toward[0] ** 2 + toward[1] ** 2 + toward[2] ** 2
        facing = sum(n * t for n, t in zip(normal, toward, strict=True)) / np.sqrt(square)
        direct = np.clip((facing + 0.25) / 1.25, 0, 1) * (4.5 / (square + 2.5))
        if surface == 5:
            # the shade keeps most of the lamp's light from the ceiling
            direct *= 0.55
        ambient = 0.70 if surface < 4 else (0.68 if surface == 4 else 0.74)
        edges = np.ones(small, dtype=np.float32)
        for distance, counts in ((x, surface not in (0, 1)), (length - x, surface not in (0, 1)),
                                 (y, surface not in (2, 3)), (width - y, surface not in (2, 3)),
                                 (z, surface < 4), (height - z, surface < 4)):  # fmt: skip
            if counts:
                edges *= 1 - 0.17 * np.exp(-distance / 0.22) - 0.05 * np.exp(-distance / 0.9)
        lit = (ambient + direct[..., None] * np.asarray(light.lamp_color)) * edges[..., None]
        return cv2.resize(lit.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)

    def cast(self, view: View, window: Window) -> tuple[Float32Array, Float32Array]:
        """Colour (h, w, 3) and distance (h, w) of the shell for each sample of a window."""
        dx, dy, dz = view.rays(window)
        ox, oy, oz = view.origin_m
        length, width, height = self._room.size_m
        far = np.float32(1e9)
        with np.errstate(divide="ignore"):
            tx = np.where(dx > 0, (length - ox) / dx, np.where(dx < 0, -ox / dx, far))
            ty = np.where(dy > 0, (width - oy) / dy, np.where(dy < 0, -oy / dy, far))
            tz = np.where(dz > 0, (height - oz) / dz, np.where(dz < 0, -oz / dz, far))
        t = np.minimum(np.minimum(tx, ty), tz).astype(np.float32)
        surface = np.where(
            t == tx.astype(np.float32),
            np.where(dx > 0, 1, 0),
            np.where(t == ty.astype(np.float32), np.where(dy > 0, 3, 2), np.where(dz > 0, 5, 4)),
        )
        px, py, pz = ox + t * dx, oy + t * dy, oz + t * dz
        out = np.empty((*t.shape, 3), dtype=np.float32)
        for number in np.unique(surface).tolist():
            mine = surface == number
            u, v = {
                0: (py, height - pz), 1: (width - py, height - pz), 2: (length - px, height - pz), 3: (px, height - pz),
                4: (px, py), 5: (px, py),
            }[number]  # fmt: skip
            texture = self._textures[number]
            map_x = (u[mine] * PX_PER_M - 0.5).astype(np.float32)
            map_y = (v[mine] * PX_PER_M - 0.5).astype(np.float32)
            out[mine] = _sample(texture, map_x, map_y)
        return out, t


def _sample(texture: Float32Array, x: Float32Array, y: Float32Array) -> Float32Array:
    """Bilinear samples at texel coordinates of shape (k,)."""
    if x.size == 0:
        return np.zeros((0, 3), dtype=np.float32)
    # remap wants an image below 32767 pixels on a side
    columns = 4096
    rows = -(-x.size // columns)
    padded_x = np.zeros(rows * columns, dtype=np.float32)
    padded_y = np.zeros_like(padded_x)
    padded_x[: x.size], padded_y[: x.size] = x, y
    found = cv2.remap(
        texture,
        padded_x.reshape(rows, columns),
        padded_y.reshape(rows, columns),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(found, dtype=np.float32).reshape(-1, 3)[: x.size]


# ---------------------------------------------------------------------------------------------------------------
# painting
# ---------------------------------------------------------------------------------------------------------------


def soft_clip(color: Float32Array) -> Float32Array:
    """Compress what is brighter than 0.8 so that it approaches 1 without a hard edge."""
    knee = np.float32(0.8)
    over = np.maximum(color - knee, 0)
    return np.minimum(color, knee) + (1 - knee) * (1 - np.exp(-over / (1 - knee)))


def _px(metres: float) -> int:
    return max(round(metres * PX_PER_M), 2)


def _fix(x: float, y: float) -> tuple[int, int]:
    """Metres to OpenCV's fixed-point pixels."""
    return round(x * PX_PER_M * (1 << _SHIFT)), round(y * PX_PER_M * (1 << _SHIFT))


def _rectangle(image: ByteArray, x0: float, y0: float, x1: float, y1: float, color: Color | npt.NDArray) -> None:
    corners = np.array([_fix(x0, y0), _fix(x1, y0), _fix(x1, y1), _fix(x0, y1)], dtype=np.int32)
    cv2.fillConvexPoly(image, corners, _c(color), _AA, _SHIFT)


def _disc(image: ByteArray, x: float, y: float, rx: float, ry: float, color: Color | npt.NDArray) -> None:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    points = np.array([_fix(x + rx * np.cos(a), y + ry * np.sin(a)) for a in angle], dtype=np.int32)
    cv2.fillConvexPoly(image, points, _c(color), _AA, _SHIFT)


def _polygon(image: ByteArray, points: Sequence[tuple[float, float]], color: Color | npt.NDArray) -> None:
    cv2.fillPoly(image, [np.array([_fix(x, y) for x, y in points], dtype=np.int32)], _c(color), _AA, _SHIFT)


def _c(color: Color | npt.NDArray) -> tuple[float, float, float]:
    """Colour for OpenCV, which smooths edges in 8-bit images only."""
    return 255 * float(color[0]), 255 * float(color[1]), 255 * float(color[2])


def _blank(width_m: float, height_m: float, color: Color | npt.NDArray) -> ByteArray:
    image = np.empty((_px(height_m), _px(width_m), 3), dtype=np.uint8)
    image[:] = np.round(np.clip(_c(color), 0, 255))
    return image


def _times(image: ByteArray, factor: Float32Array) -> ByteArray:
    return np.clip(image * factor, 0, 255).astype(np.uint8)


def _grain(shape: tuple[int, int], rng: np.random.Generator, sigma: tuple[float, float], amount: float) -> Float32Array:
    """Smooth noise of standard deviation ``amount``, shape (h, w, 1)."""
    noise = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), sigma[0], sigmaY=sigma[1])
    return np.asarray(noise / max(float(noise.std()), 1e-9) * amount, dtype=np.float32)[..., None]


def _paint_wall(extent: float, height: float, color: npt.NDArray, style: str, rng: np.random.Generator) -> ByteArray:
    image = _blank(extent, height, color)
    if style == "stripes":
        step = 0.22
        for k in range(int(extent / step) + 1):
            if k % 2:
                _rectangle(image, k * step, 0, (k + 1) * step, height, color * 0.955)
    elif style == "dado":
        _rectangle(image, 0, height - 0.95, extent, height, color * np.array([0.80, 0.84, 0.84]))
        _rectangle(image, 0, height - 0.99, extent, height - 0.94, (0.95, 0.94, 0.92))
    elif style == "panel":
        _rectangle(image, 0, height - 1.0, extent, height, (0.93, 0.92, 0.90))
        for k in range(int(extent / 0.6) + 1):
            x = k * 0.6 + 0.06
            _rectangle(image, x, height - 0.90, x + 0.48, height - 0.22, (0.86, 0.85, 0.83))
            _rectangle(image, x + 0.015, height - 0.885, x + 0.48, height - 0.22, (0.95, 0.94, 0.92))
        _rectangle(image, 0, height - 1.03, extent, height - 0.99, (0.98, 0.97, 0.95))
    image = _times(image, 1 + _grain((image.shape[0], image.shape[1]), rng, (2, 2), 0.004))
    _rectangle(image, 0, height - 0.10, extent, height, (0.96, 0.955, 0.94))
    _rectangle(image, 0, height - 0.112, extent, height - 0.10, color * 0.82)
    _rectangle(image, 0, 0, extent, 0.06, (0.96, 0.955, 0.945))
    return image


def _hang(image: ByteArray, prop: Prop, across: float, height: float, *, dusk: bool) -> None:
    """Paint a window, a picture or a door's frame onto a wall."""
    rng = np.random.default_rng(prop.look)
    half = prop.width_m / 2
    if prop.kind == "window":
        _window(image, across - half, height - 2.15, across + half, height - 0.95, rng, dusk=dusk)
    elif prop.kind == "picture":
        middle = height - rng.uniform(1.5, 1.7)
        tall = half * rng.uniform(0.65, 1.15)
        _picture(image, across - half, middle - tall, across + half, middle + tall, rng)
    elif prop.kind == "door":
        # the opening behind the leaf: a lit corridor
        leaf = 0.45
        top = height - 2.06
        _rectangle(image, across - leaf - 0.09, top - 0.09, across + leaf + 0.09, height, (0.93, 0.92, 0.90))
        _rectangle(image, across - leaf - 0.01, top - 0.01, across + leaf + 0.01, height, (0.55, 0.52, 0.48))
        _rectangle(image, across - leaf, top, across + leaf, height, (0.80, 0.70, 0.52))
        _rectangle(image, across - leaf, height - 0.5, across + leaf, height, (0.45, 0.34, 0.25))
        _polygon(
            image,
            [(across - leaf, top), (across - 0.2, top + 0.35), (across - 0.2, height - 0.5), (across - leaf, height)],
            (0.68, 0.58, 0.43),
        )


def _window(
    image: ByteArray, x0: float, y0: float, x1: float, y1: float, rng: np.random.Generator, *, dusk: bool
) -> None:
    w, h = x1 - x0, y1 - y0
    _rectangle(image, x0 - 0.07, y0 - 0.07, x1 + 0.07, y1 + 0.07, (0.97, 0.97, 0.96))
    # the view: sky, hills, perhaps trees or roofs
    high, low = ((0.36, 0.42, 0.66), (0.98, 0.72, 0.52)) if dusk else ((0.45, 0.68, 0.93), (0.86, 0.94, 0.99))
    steps = 24
    for k in range(steps):
        a = k / (steps - 1)
        _rectangle(image, x0, y0 + h * k / steps, x1, y1, np.array(high) * (1 - a) + np.array(low) * a)
    for _ in range(3):
        cx, cy = rng.uniform(x0, x1), y0 + h * rng.uniform(0.12, 0.42)
        for _ in range(4):
            _disc_in(image, cx + rng.uniform(-0.15, 0.15), cy + rng.uniform(-0.02, 0.02), 0.11, 0.045,
                     (0.99, 0.97, 0.95), (x0, y0, x1, y1))  # fmt: skip
    for layer, color in ((0.62, (0.55, 0.70, 0.62)), (0.74, (0.40, 0.60, 0.42)), (0.86, (0.30, 0.48, 0.30))):
        phase, swing = rng.uniform(0, 6.28), rng.uniform(0.03, 0.07)
        xs = np.linspace(x0, x1, 30)
        ridge = [(x, y0 + h * (layer + swing * np.sin(phase + 4 * (x - x0) / w))) for x in xs]
        _polygon(image, [*ridge, (x1, y1), (x0, y1)], np.array(color) * (0.7 if dusk else 1.0))
    if rng.random() < 0.6:
        tx = rng.uniform(x0 + 0.2 * w, x1 - 0.2 * w)
        _rectangle(image, tx - 0.015, y0 + 0.62 * h, tx + 0.015, y0 + 0.88 * h, (0.38, 0.27, 0.20))
        _disc_in(image, tx, y0 + 0.58 * h, 0.11, 0.15, (0.28, 0.50, 0.28), (x0, y0, x1, y1))
    bar = 0.022
    white = (0.96, 0.96, 0.95)
    middle = (x0 + x1) / 2
    _rectangle(image, middle - bar, y0, middle + bar, y1, white)
    _rectangle(image, x0, y0 + 0.3 * h - bar / 2, x1, y0 + 0.3 * h + bar / 2, white)
    _rectangle(image, x0 - 0.10, y1 + 0.05, x1 + 0.10, y1 + 0.10, (0.90, 0.89, 0.87))
    if rng.random() < 0.7:
        cloth = np.array(_RUGS[int(rng.integers(len(_RUGS)))]) * 0.35 + 0.6
        for side in (-1, 1):
            edge = x0 - 0.1 if side < 0 else x1 + 0.1
            for k in range(6):
                a = edge - side * 0.045 * k
                fold = cloth * (0.92 + 0.08 * (k % 2))
                _rectangle(image, min(a, a - side * 0.045), y0 - 0.12, max(a, a - side * 0.045), y1 + 0.25, fold)
        _rectangle(image, x0 - 0.18, y0 - 0.14, x1 + 0.18, y0 - 0.11, (0.45, 0.36, 0.28))


def _disc_in(
    image: ByteArray, x: float, y: float, rx: float, ry: float, color: Color, frame: tuple[float, float, float, float]
) -> None:
    """Disc that does not leave a frame (its centre is moved inside)."""
    x0, y0, x1, y1 = frame
    _disc(image, float(np.clip(x, x0 + rx, x1 - rx)), float(np.clip(y, y0 + ry, y1 - ry)), rx, ry, color)


def _picture(image: ByteArray, x0: float, y0: float, x1: float, y1: float, rng: np.random.Generator) -> None:
    frame = ((0.30, 0.22, 0.16), (0.12, 0.12, 0.13), (0.80, 0.66, 0.36), (0.95, 0.94, 0.92))[int(rng.integers(4))]
    shade = image[_px(max(y0, 0)) - 1, min(_px(x1), image.shape[1] - 1)] / 255 * 0.8
    _rectangle(image, x0 + 0.015, y0 + 0.02, x1 + 0.015, y1 + 0.025, shade)
    _rectangle(image, x0, y0, x1, y1, frame)
    _rectangle(image, x0 + 0.03, y0 + 0.03, x1 - 0.03, y1 - 0.03, (0.96, 0.95, 0.92))
    a, b, c, d = x0 + 0.07, y0 + 0.07, x1 - 0.07, y1 - 0.07
    w, h = c - a, d - b
    hue = [np.array(_RUGS[int(k)]) for k in rng.permutation(len(_RUGS))[:3]]
    _rectangle(image, a, b, c, d, 0.4 * hue[0] + 0.58)
    kind = int(rng.integers(3))
    if kind == 0:
        _disc(image, a + 0.62 * w, b + 0.34 * h, 0.16 * min(w, h), 0.16 * min(w, h), (0.95, 0.75, 0.40))
        _polygon(image, [(a, d), (a, b + 0.6 * h), (a + 0.35 * w, b + 0.42 * h), (a + 0.7 * w, d)], hue[1])
        _polygon(image, [(c, d), (c, b + 0.5 * h), (a + 0.6 * w, b + 0.66 * h), (a + 0.3 * w, d)], hue[2] * 0.9)
    elif kind == 1:
        for k in range(3):
            r = 0.3 * min(w, h) * rng.uniform(0.6, 1.0)
            _disc(image, a + rng.uniform(0.3, 0.7) * w, b + rng.uniform(0.3, 0.7) * h, r, r, hue[k])
    else:
        for k in range(4):
            _rectangle(image, a + 0.08 * w, b + h * (0.1 + 0.22 * k), a + w * rng.uniform(0.45, 0.92),
                       b + h * (0.24 + 0.22 * k), hue[k % 3])  # fmt: skip


def _paint_floor(length: float, width: float, kind: str, rng: np.random.Generator) -> ByteArray:
    image = _blank(length, width, (0.62, 0.60, 0.57))
    shape = (image.shape[0], image.shape[1])
    if kind in ("oak", "walnut", "ash"):
        base = {"oak": (0.74, 0.56, 0.37), "walnut": (0.48, 0.33, 0.23), "ash": (0.80, 0.70, 0.56)}[kind]
        plank, piece = 0.14, 1.3
        for row in range(int(width / plank) + 1):
            x = -rng.uniform(0, piece)
            while x < length:
                tone = np.array(base) * (1 + 0.075 * rng.standard_normal())
                _rectangle(image, x, row * plank, x + piece, (row + 1) * plank, tone)
                x += piece
                _rectangle(image, x - 0.003, row * plank, x + 0.003, (row + 1) * plank, np.array(base) * 0.62)
            _rectangle(image, 0, row * plank - 0.003, length, row * plank + 0.003, np.array(base) * 0.66)
        image = _times(image, 1 + _grain(shape, rng, (26, 1.2), 0.035))
    elif kind in ("tiles", "checker"):
        light, dark = (
            ((0.80, 0.79, 0.76), (0.74, 0.73, 0.71)) if kind == "tiles" else ((0.88, 0.87, 0.84), (0.36, 0.40, 0.43))
        )
        size = 0.45 if kind == "tiles" else 0.40
        for i in range(int(length / size) + 1):
            for j in range(int(width / size) + 1):
                tone = np.array(light if (i + j) % 2 else dark) * (1 + 0.02 * rng.standard_normal())
                gap = 0.006
                _rectangle(image, i * size + gap, j * size + gap, (i + 1) * size - gap, (j + 1) * size - gap, tone)
        image = _times(image, 1 + _grain(shape, rng, (8, 8), 0.012))
    else:
        tone = np.array(((0.55, 0.58, 0.62), (0.62, 0.55, 0.50), (0.50, 0.57, 0.52))[int(rng.integers(3))])
        image = _blank(length, width, tone)
        image = _times(image, 1 + _grain(shape, rng, (1.2, 1.2), 0.028) + _grain(shape, rng, (30, 30), 0.012))
    return image


def _lay_rug(
    image: ByteArray, length: float, width: float, color: Color, circle: bool, rng: np.random.Generator
) -> None:
    x, y = length * rng.uniform(0.4, 0.6), width * rng.uniform(0.4, 0.6)
    tone = np.array(color)
    if circle:
        radius = min(length, width) * rng.uniform(0.2, 0.27)
        for share, c in ((1.0, tone * 0.8), (0.95, tone), (0.72, 0.5 * tone + 0.45), (0.64, tone), (0.3, tone * 0.85)):
            _disc(image, x, y, radius * share, radius * share, c)
    else:
        a, b = length * rng.uniform(0.18, 0.24), width * rng.uniform(0.18, 0.24)
        for share, c in ((1.0, tone * 0.8), (0.94, tone), (0.82, 0.5 * tone + 0.45), (0.77, tone)):
            _rectangle(image, x - a * share, y - b * share, x + a * share, y + b * share, c)
        for k in range(7):
            _disc(image, x - 0.6 * a + 0.2 * a * k, y, 0.06, 0.10, 0.5 * tone + 0.45)


def _shade_floor(
    image: Float32Array, shadows: Sequence[Shadow], light: Light, length: float, width: float
) -> Float32Array:
    """Soft shadows: dark where things touch the floor, and a wide one cast away from the lamp."""
    scale = 40
    size = (max(int(width * scale), 2), max(int(length * scale), 2))
    contact, cast = np.zeros(size, dtype=np.uint8), np.zeros(size, dtype=np.uint8)
    for shadow in shadows:
        angle = np.deg2rad(shadow.angle_deg)
        ahead, left = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        corners = np.array(
            [np.asarray(shadow.center_m) + i * shadow.half_m[0] * ahead + j * shadow.half_m[1] * left
             for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        )  # fmt: skip
        cv2.fillConvexPoly(contact, (corners * scale * 16).astype(np.int32), 255, _AA, 4)
        lamp = np.asarray(light.lamp_m)
        top = min(shadow.height_m, lamp[2] - 0.6)
        thrown = lamp[:2] + (corners - lamp[:2]) * (lamp[2] / (lamp[2] - top))
        hull = cv2.convexHull(np.concatenate([corners, thrown]).astype(np.float32)[:, None])
        cv2.fillConvexPoly(cast, (hull * scale * 16).astype(np.int32), 255, _AA, 4)
    touched, thrown_on = (mask.astype(np.float32) / 255 for mask in (contact, cast))
    dark = 0.42 * cv2.GaussianBlur(touched, (0, 0), 0.06 * scale)
    dark += 0.24 * cv2.GaussianBlur(thrown_on, (0, 0), 0.16 * scale)
    factor = 1 - cv2.resize(np.clip(dark, 0, 0.6), (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    return image * factor[..., None]


def _sun_patch(image: Float32Array, prop: Prop, rng: np.random.Generator) -> None:
    """Light of the sun through a window, as a bright patch on the floor before it."""
    x, y = prop.position_m
    inward = {0: (1, 0), 1: (-1, 0), 2: (0, 1), 3: (0, -1)}[prop.wall]
    side = (-inward[1], inward[0])
    skew, near, far = rng.uniform(-0.4, 0.4), rng.uniform(0.5, 0.8), rng.uniform(1.6, 2.2)
    mask = np.zeros(image.shape[:2], dtype=np.uint8)
    for a, b in ((-1.0, -0.08), (0.08, 1.0)):
        points = []
        for s, depth in ((a, near), (b, near), (b, far), (a, far)):
            across = s * prop.width_m / 2 + skew * depth
            points.append(_fix(x + inward[0] * depth + side[0] * across, y + inward[1] * depth + side[1] * across))
        cv2.fillConvexPoly(mask, np.array(points, dtype=np.int32), 255, _AA, _SHIFT)
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 0.03 * PX_PER_M)
    image += image * soft[..., None] * np.array([0.34, 0.29, 0.18], dtype=np.float32)


def _stain_wall(image: Float32Array, number: int, shadows: Sequence[Shadow], room: Room) -> None:
    """Dim the wall behind what stands close to it."""
    length, width, height = room.size_m
    scale = 40
    mask = np.zeros((max(int(height * scale), 2), max(int(image.shape[1] / PX_PER_M * scale), 2)), dtype=np.uint8)
    for shadow in shadows:
        x, y = shadow.center_m
        gap = (x, length - x, y, width - y)[number] - min(shadow.half_m)
        if gap > 0.15 or shadow.height_m < 0.3:
            continue
        across = (y, width - y, length - x, x)[number]
        half = max(shadow.half_m)
        box = np.array([(across - half, height), (across + half, height), (across + half, height - shadow.height_m),
                        (across - half, height - shadow.height_m)])  # fmt: skip
        cv2.fillConvexPoly(mask, (box * scale * 16).astype(np.int32), 255, _AA, 4)
    if mask.any():
        dark = 0.28 * cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 0.09 * scale)
        factor = cv2.resize(1 - dark, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
        image *= factor[..., None]

"""A small ray caster for panoramas: spheres, limbs, boxes and discs, per pixel, in NumPy.

The camera is at the listener. Pixel ``(x, y)`` of an image of width W and height H looks along azimuth
``180 - (x + 0.5) / W * 360`` and elevation ``90 - (y + 0.5) / H * 180`` degrees in the listener's frame: the label
grid of :mod:`sai_core.geometry`, sampled at pixel centres. Columns may run past both ends of the image (a window over
the seam); they are taken modulo W when the window is put into the picture.

Shapes are given in room coordinates. Each is tested only in the window that its bounding sphere covers, nearest hit
wins, and every hit is shaded once: a ceiling lamp, light from the sky and floor, a soft highlight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Vector = tuple[float, float, float] | npt.NDArray[np.float64]
Color = tuple[float, float, float]
Paint = Color | Callable[[Float32Array], Float32Array]
"""RGB in [0, 1], or a function from hit points (k, 3) to such colours (k, 3)."""

_FAR: Final[float] = 1e9


@dataclass(frozen=True)
class View:
    """Size of the picture and where the camera is.

    Attributes
    ----------
    width, height : int
        Pixels, samples included (the picture's size times ``samples``).
    samples : int
        Samples per pixel along each axis.
    origin_m : tuple of 3 floats
        Camera in the room.
    yaw_deg : float
        Room azimuth that the camera calls 0.
    """

    width: int
    height: int
    samples: int
    origin_m: tuple[float, float, float]
    yaw_deg: float

    def rays(self, window: Window) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Unit directions in room axes for each sample of a window, three arrays of shape (h, w)."""
        azimuth = np.deg2rad(180.0 - (np.arange(window.x0, window.x1) + 0.5) / self.width * 360.0 + self.yaw_deg)
        elevation = np.deg2rad(90.0 - (np.arange(window.y0, window.y1) + 0.5) / self.height * 180.0)
        cos_el = np.cos(elevation)[:, None]
        dx = (cos_el * np.cos(azimuth)[None, :]).astype(np.float32)
        dy = (cos_el * np.sin(azimuth)[None, :]).astype(np.float32)
        dz = np.broadcast_to(np.sin(elevation)[:, None].astype(np.float32), dx.shape)
        return dx, dy, dz

    def column_row(self, point_m: Vector) -> tuple[float, float, float]:
        """Sample column and row of a room point, and its distance."""
        rx, ry, rz = (float(point_m[k]) - self.origin_m[k] for k in range(3))
        distance = float(np.sqrt(rx * rx + ry * ry + rz * rz))
        azimuth = np.rad2deg(np.arctan2(ry, rx)) - self.yaw_deg
        elevation = np.rad2deg(np.arcsin(np.clip(rz / max(distance, 1e-9), -1, 1)))
        column = float(np.mod(180.0 - azimuth, 360.0) / 360.0 * self.width)
        return column, float((90.0 - elevation) / 180.0 * self.height), distance

    def window_of(self, center_m: Vector, radius_m: float) -> Window:
        """Smallest window around a sphere, on whole pixels; columns are not wrapped."""
        column, row, distance = self.column_row(center_m)
        if distance <= radius_m * 1.001:
            return Window(0, self.width, 0, self.height)
        half = float(np.rad2deg(np.arcsin(radius_m / distance)))
        elevation = 90.0 - row / self.height * 180.0
        low, high = elevation - half, elevation + half
        y0, y1 = (90.0 - high) / 180.0 * self.height, (90.0 - low) / 180.0 * self.height
        if high >= 89.0 or low <= -89.0:
            x0, x1 = 0.0, float(self.width)
        else:
            across = np.sin(np.deg2rad(half)) / np.cos(np.deg2rad(elevation))
            width = float(np.rad2deg(np.arcsin(min(across, 1.0)))) / 360.0 * self.width
            x0, x1 = column - width, column + width
        s = self.samples
        return Window(
            int(np.floor(x0 / s - 1)) * s,
            int(np.ceil(x1 / s + 1)) * s,
            max(int(np.floor(y0 / s - 1)) * s, 0),
            min(int(np.ceil(y1 / s + 1)) * s, self.height),
        )


@dataclass(frozen=True)
class Window:
    """Half-open range of sample columns (not wrapped) and rows."""

    x0: int
    x1: int
    y0: int
    y1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return max(self.y1 - self.y0, 0), max(self.x1 - self.x0, 0)

    def clip(self, window: Window) -> Window:
        """Intersection (possibly empty)."""
        return Window(
            max(self.x0, window.x0), min(self.x1, window.x1), max(self.y0, window.y0), min(self.y1, window.y1)
        )

    def shifted(self, columns: int) -> Window:
        """Moved sideways."""
        return Window(self.x0 + columns, self.x1 + columns, self.y0, self.y1)


Hit = tuple[Float32Array, Float32Array, Float32Array, Float32Array]
"""Distance along the ray (1e9 where missed) and the three components of the outward normal."""


class Shape(Protocol):
    """Anything that can be drawn."""

    paint: Paint
    shine: float
    glow: float

    def bound(self) -> tuple[npt.NDArray[np.float64], float]:
        """Centre and radius of a sphere around it."""

    def hit(self, o: tuple[float, float, float], d: tuple[Float32Array, Float32Array, Float32Array]) -> Hit:
        """Nearest intersection of rays from ``o``."""


def _vector(v: Vector) -> npt.NDArray[np.float64]:
    return np.asarray(v, dtype=np.float64)


@dataclass
class Limb:
    """Rounded cone: a sphere of radius ``ra`` at ``a`` that moves to ``b`` and becomes ``rb`` on the way."""

    a: Vector
    b: Vector
    ra: float
    rb: float
    paint: Paint
    shine: float = 0.10
    glow: float = 0.0

    def bound(self) -> tuple[npt.NDArray[np.float64], float]:
        """Centre and radius of a sphere around it."""
        a, b = _vector(self.a), _vector(self.b)
        return 0.5 * (a + b), float(np.linalg.norm(b - a) / 2 + max(self.ra, self.rb))

    def hit(self, o: tuple[float, float, float], d: tuple[Float32Array, Float32Array, Float32Array]) -> Hit:
        """Nearest intersection of rays from ``o``.

        The sphere at share s of the way meets the ray at t where ``F(t, s) = |o + t d - c(s)|^2 - r(s)^2 = 0``; the
        surface is where also ``dF/ds = 0``, which eliminates s and leaves one quadratic in t.
        """
        a = _vector(self.a) - np.asarray(o)
        v = _vector(self.b) - _vector(self.a)
        w = self.rb - self.ra
        dx, dy, dz = d
        best = np.full(dx.shape, _FAR, dtype=np.float32)
        share = np.zeros_like(best)
        spread = float(v @ v) - w * w
        if spread > 1e-9:
            alpha = dx * np.float32(v[0]) + dy * np.float32(v[1]) + dz * np.float32(v[2])
            along = dx * np.float32(a[0]) + dy * np.float32(a[1]) + dz * np.float32(a[2])
            beta = np.float32(-(v @ a) + w * self.ra)
            qa = 1.0 - alpha * alpha / np.float32(spread)
            qb = -along - alpha * beta / np.float32(spread)
            qc = np.float32(a @ a - self.ra**2) - beta * beta / np.float32(spread)
            root = qb * qb - qa * qc
            with np.errstate(divide="ignore", invalid="ignore"):
                t = (-qb - np.sqrt(root)) / qa
                s = (t * alpha + beta) / np.float32(spread)
            good = (root > 0) & (s >= 0) & (s <= 1) & (t > 1e-3)
            best = np.where(good, t, best)
            share = np.where(good, s, share)
        for end, center, radius in ((0.0, a, self.ra), (1.0, a + v, self.rb)):
            along = dx * np.float32(center[0]) + dy * np.float32(center[1]) + dz * np.float32(center[2])
            root = along * along - np.float32(center @ center - radius**2)
            with np.errstate(invalid="ignore"):
                t = along - np.sqrt(root)
            good = (root > 0) & (t > 1e-3) & (t < best)
            best = np.where(good, t, best)
            share = np.where(good, np.float32(end), share)
        inverse = 1.0 / np.maximum(np.float32(self.ra) + share * np.float32(w), np.float32(1e-6))
        nx = (best * dx - np.float32(a[0]) - share * np.float32(v[0])) * inverse
        ny = (best * dy - np.float32(a[1]) - share * np.float32(v[1])) * inverse
        nz = (best * dz - np.float32(a[2]) - share * np.float32(v[2])) * inverse
        return best, nx, ny, nz


@dataclass
class Blob:
    """Ellipsoid with half-axes ``radii`` along the rows of ``axes``; optionally cut.

    ``cut = (offset, slope)`` keeps the surface where, in units of the half-axes, ``up > offset + slope * ahead``
    (ahead is the first axis, up the third): hair that leaves the face free, half-domes.
    """

    center: Vector
    radii: tuple[float, float, float]
    paint: Paint
    axes: npt.NDArray[np.float64] | None = None
    cut: tuple[float, float] | None = None
    shine: float = 0.10
    glow: float = 0.0

    def bound(self) -> tuple[npt.NDArray[np.float64], float]:
        """Centre and radius of a sphere around it."""
        return _vector(self.center), float(max(self.radii))

    def hit(self, o: tuple[float, float, float], d: tuple[Float32Array, Float32Array, Float32Array]) -> Hit:
        """Nearest intersection of rays from ``o``."""
        axes = np.eye(3) if self.axes is None else self.axes
        scale = axes / np.asarray(self.radii)[:, None]
        start = scale @ (np.asarray(o) - _vector(self.center))
        dx, dy, dz = d
        rays = [dx * np.float32(r[0]) + dy * np.float32(r[1]) + dz * np.float32(r[2]) for r in scale]
        qa = rays[0] ** 2 + rays[1] ** 2 + rays[2] ** 2
        qb = rays[0] * np.float32(start[0]) + rays[1] * np.float32(start[1]) + rays[2] * np.float32(start[2])
        root = qb * qb - qa * np.float32(start @ start - 1.0)
        with np.errstate(invalid="ignore"):
            half = np.sqrt(root)
        t = np.full(dx.shape, _FAR, dtype=np.float32)
        # the far side counts where the near one was cut away
        for sign in (-1.0, 1.0):
            candidate = (-qb + np.float32(sign) * half) / qa
            kept = (root > 0) & (candidate > 1e-3) & (t >= _FAR)
            if self.cut is not None:
                ahead = np.float32(start[0]) + candidate * rays[0]
                up = np.float32(start[2]) + candidate * rays[2]
                kept &= up > np.float32(self.cut[0]) + np.float32(self.cut[1]) * ahead
            t = np.where(kept, candidate, t)
            if self.cut is None:
                break
        local = [np.float32(start[k]) + t * rays[k] for k in range(3)]
        normal = [sum(np.float32(scale[k, axis]) * local[k] for k in range(3)) for axis in range(3)]
        length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
        inverse = 1.0 / np.maximum(length, np.float32(1e-6))
        return t.astype(np.float32), normal[0] * inverse, normal[1] * inverse, normal[2] * inverse


@dataclass
class Block:
    """Box with half-edges ``half`` along the rows of ``axes``."""

    center: Vector
    half: tuple[float, float, float]
    paint: Paint
    axes: npt.NDArray[np.float64] | None = None
    shine: float = 0.05
    glow: float = 0.0

    def bound(self) -> tuple[npt.NDArray[np.float64], float]:
        """Centre and radius of a sphere around it."""
        return _vector(self.center), float(np.linalg.norm(self.half))

    def hit(self, o: tuple[float, float, float], d: tuple[Float32Array, Float32Array, Float32Array]) -> Hit:
        """Nearest intersection of rays from ``o``."""
        axes = np.eye(3) if self.axes is None else self.axes
        start = axes @ (np.asarray(o) - _vector(self.center))
        dx, dy, dz = d
        enter = np.full(dx.shape, -_FAR, dtype=np.float32)
        leave = np.full(dx.shape, _FAR, dtype=np.float32)
        face = np.zeros(dx.shape, dtype=np.int8)
        signs = []
        for k in range(3):
            ray = dx * np.float32(axes[k, 0]) + dy * np.float32(axes[k, 1]) + dz * np.float32(axes[k, 2])
            ray = np.where(np.abs(ray) < 1e-7, np.float32(1e-7), ray)
            inverse = 1.0 / ray
            middle = -np.float32(start[k]) * inverse
            reach = np.float32(self.half[k]) * np.abs(inverse)
            first, last = middle - reach, middle + reach
            later = first > enter
            enter = np.where(later, first, enter)
            face = np.where(later, np.int8(k), face)
            leave = np.minimum(leave, last)
            signs.append(-np.sign(ray))
        good = (enter < leave) & (enter > 1e-3)
        t = np.where(good, enter, np.float32(_FAR))
        sign = np.choose(face, signs)
        chosen = axes.astype(np.float32)[face]
        return t, sign * chosen[..., 0], sign * chosen[..., 1], sign * chosen[..., 2]


@dataclass
class Drum:
    """Cylinder with flat ends from ``a`` to ``b``."""

    a: Vector
    b: Vector
    radius: float
    paint: Paint
    shine: float = 0.08
    glow: float = 0.0

    def bound(self) -> tuple[npt.NDArray[np.float64], float]:
        """Centre and radius of a sphere around it."""
        a, b = _vector(self.a), _vector(self.b)
        return 0.5 * (a + b), float(np.hypot(np.linalg.norm(b - a) / 2, self.radius))

    def hit(self, o: tuple[float, float, float], d: tuple[Float32Array, Float32Array, Float32Array]) -> Hit:
        """Nearest intersection of rays from ``o``."""
        a, b = _vector(self.a), _vector(self.b)
        length = float(np.linalg.norm(b - a))
        axis = (b - a) / length
        start = np.asarray(o) - a
        dx, dy, dz = d
        along = dx * np.float32(axis[0]) + dy * np.float32(axis[1]) + dz * np.float32(axis[2])
        height = float(start @ axis)
        # what is left across the axis
        cx, cy, cz = (d[k] - along * np.float32(axis[k]) for k in range(3))
        side = start - height * axis
        qa = np.maximum(cx * cx + cy * cy + cz * cz, np.float32(1e-9))
        qb = cx * np.float32(side[0]) + cy * np.float32(side[1]) + cz * np.float32(side[2])
        root = qb * qb - qa * np.float32(side @ side - self.radius**2)
        with np.errstate(invalid="ignore"):
            t = (-qb - np.sqrt(root)) / qa
            level = height + t * along
        good = (root > 0) & (t > 1e-3) & (level >= 0) & (level <= length)
        best = np.where(good, t, np.float32(_FAR))
        inverse = np.float32(1.0 / self.radius)
        normal = [np.where(good, (np.float32(side[k]) + t * (cx, cy, cz)[k]) * inverse, 0.0) for k in range(3)]
        steep = np.where(np.abs(along) < 1e-7, np.float32(1e-7), along)
        for end, sign in ((0.0, -1.0), (length, 1.0)):
            t = (np.float32(end - height)) / steep
            px, py, pz = (np.float32(side[k]) + t * (cx, cy, cz)[k] for k in range(3))
            good = (t > 1e-3) & (t < best) & (px * px + py * py + pz * pz <= self.radius**2)
            best = np.where(good, t, best)
            for k in range(3):
                normal[k] = np.where(good, np.float32(sign * axis[k]), normal[k])
        return best, normal[0].astype(np.float32), normal[1].astype(np.float32), normal[2].astype(np.float32)


@dataclass(frozen=True)
class Light:
    """Light of a room: one lamp and light from all sides.

    Attributes
    ----------
    lamp_m : tuple of 3 floats
    lamp_color, sky, ground : RGB
        Lamp at two metres, light from above and from below.
    """

    lamp_m: tuple[float, float, float]
    lamp_color: Color
    sky: Color
    ground: Color

    def shade(self, point: Float32Array, normal: Float32Array, albedo: Float32Array, eye: Float32Array) -> Float32Array:
        """Colour of hits; all arguments of shape (k, 3), ``eye`` the unit vectors towards the camera."""
        to_lamp = np.asarray(self.lamp_m, dtype=np.float32) - point
        square = np.sum(to_lamp * to_lamp, axis=1, keepdims=True)
        to_lamp /= np.sqrt(square)
        facing = np.sum(to_lamp * normal, axis=1, keepdims=True)
        # wrapped cosine: a soft terminator, as under a large lampshade
        direct = np.clip((facing + 0.35) / 1.35, 0, 1) * (4.5 / (square + 2.5))
        up = 0.5 + 0.5 * normal[:, 2:3]
        ambient = up * np.asarray(self.sky, dtype=np.float32) + (1 - up) * np.asarray(self.ground, dtype=np.float32)
        # a little light from the camera keeps fronts readable against the lamp
        front = 0.14 * np.clip(np.sum(eye * normal, axis=1, keepdims=True), 0, 1)
        return albedo * (ambient + direct * np.asarray(self.lamp_color, dtype=np.float32) + front)

    def highlight(self, point: Float32Array, normal: Float32Array, eye: Float32Array) -> Float32Array:
        """Strength of a soft mirror image of the lamp, shape (k, 1)."""
        to_lamp = np.asarray(self.lamp_m, dtype=np.float32) - point
        to_lamp /= np.linalg.norm(to_lamp, axis=1, keepdims=True)
        half = to_lamp + eye
        half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
        return np.clip(np.sum(half * normal, axis=1, keepdims=True), 0, 1) ** 24


def cast(
    shapes: Sequence[Shape], view: View, window: Window, light: Light, *, depth: Float32Array | None = None
) -> tuple[Float32Array, Float32Array]:
    """Colour and distance of the nearest shape for each sample of a window.

    Parameters
    ----------
    shapes : sequence of Shape
    view, window, light
        Camera, samples, light.
    depth : float32, shape (h, w), optional
        Distances of what is there already; only nearer hits count.

    Returns
    -------
    rgb : float32, shape (h, w, 3)
        In [0, 1]; 0 where nothing is hit.
    distance : float32, shape (h, w)
        Metres; infinity where nothing (nearer) is hit.
    """
    h, w = window.shape
    best = np.full((h, w), np.inf, dtype=np.float32) if depth is None else depth.copy()
    owner = np.full((h, w), -1, dtype=np.int16)
    normals = [np.zeros((h, w), dtype=np.float32) for _ in range(3)]
    dx, dy, dz = view.rays(window)
    for number, shape in enumerate(shapes):
        bounds = view.window_of(*shape.bound())
        for shift in (-view.width, 0, view.width):
            part = bounds.shifted(shift).clip(window)
            if 0 in part.shape:
                continue
            rows = slice(part.y0 - window.y0, part.y1 - window.y0)
            columns = slice(part.x0 - window.x0, part.x1 - window.x0)
            t, *normal = shape.hit(view.origin_m, (dx[rows, columns], dy[rows, columns], dz[rows, columns]))
            nearest = best[rows, columns]
            nearer = (t < nearest) & (t < _FAR / 2)
            np.copyto(nearest, t, where=nearer)
            np.copyto(owner[rows, columns], np.int16(number), where=nearer)
            for plane, component in zip(normals, normal, strict=True):
                np.copyto(plane[rows, columns], component, where=nearer)
    rgb = np.zeros((h, w, 3), dtype=np.float32)
    hit = owner >= 0
    if hit.any():
        direction = np.stack([dx[hit], dy[hit], dz[hit]], axis=1)
        point = np.asarray(view.origin_m, dtype=np.float32) + best[hit][:, None] * direction
        numbers = owner[hit]
        facing = np.stack([plane[hit] for plane in normals], axis=1)
        albedo = np.empty_like(point)
        shine = np.empty((point.shape[0], 1), dtype=np.float32)
        glow = np.empty_like(shine)
        for number in np.unique(numbers).tolist():
            shape = shapes[number]
            mine = numbers == number
            albedo[mine] = shape.paint(point[mine]) if callable(shape.paint) else np.asarray(shape.paint)
            shine[mine], glow[mine] = shape.shine, shape.glow
        color = light.shade(point, facing, albedo, -direction)
        # things that stand on the floor darken towards it
        color *= 1 - 0.3 * np.exp(-np.maximum(point[:, 2:3], 0) / 0.10)
        color += shine * light.highlight(point, facing, -direction)
        color = color * (1 - glow) + albedo * glow
        # bright parts approach white without a hard edge
        over = np.maximum(color - 0.8, 0)
        rgb[hit] = np.minimum(color, 0.8) + 0.2 * (1 - np.exp(-over / 0.2))
    return rgb, np.where(hit, best, np.float32(np.inf))


def box_filter(samples: Float32Array, factor: int) -> Float32Array:
    """Mean over ``factor`` x ``factor`` samples; shape (h * factor, w * factor, ...) to (h, w, ...)."""
    if factor == 1:
        return samples
    total = samples[::factor, ::factor].copy()
    # strided sums: numpy's mean over two inner axes is ten times slower
    for row in range(factor):
        for column in range(factor):
            if row or column:
                total += samples[row::factor, column::factor]
    return total * np.float32(1.0 / factor**2)

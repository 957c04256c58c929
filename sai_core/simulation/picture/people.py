"""People made of rounded limbs: toys rather than portraits, but with a face, clothes, and joints that bend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.simulation.picture.raster import Blob, Color, Drum, Limb, Shape
from sai_core.simulation.scene import Prop

FloatArray = npt.NDArray[np.float64]

_SKIN: Final[tuple[Color, ...]] = (
    (0.96, 0.80, 0.69), (0.90, 0.70, 0.56), (0.76, 0.55, 0.41), (0.55, 0.37, 0.27), (0.42, 0.28, 0.21),
)  # fmt: skip
_HAIR: Final[tuple[Color, ...]] = (
    (0.16, 0.12, 0.10), (0.35, 0.22, 0.14), (0.60, 0.40, 0.20), (0.85, 0.68, 0.38), (0.62, 0.26, 0.15),
    (0.70, 0.70, 0.72),
)  # fmt: skip
_SHIRTS: Final[tuple[Color, ...]] = (
    (0.86, 0.30, 0.28), (0.20, 0.48, 0.74), (0.95, 0.73, 0.24), (0.30, 0.62, 0.46), (0.58, 0.38, 0.68),
    (0.93, 0.93, 0.91), (0.94, 0.54, 0.34), (0.22, 0.62, 0.66), (0.88, 0.48, 0.62),
)  # fmt: skip
_TROUSERS: Final[tuple[Color, ...]] = (
    (0.22, 0.27, 0.40), (0.25, 0.24, 0.25), (0.52, 0.45, 0.36), (0.36, 0.42, 0.36), (0.42, 0.30, 0.28),
)  # fmt: skip


@dataclass(frozen=True)
class Pose:
    """How a person stands at one moment.

    Attributes
    ----------
    position_m : tuple of 2 floats
        On the floor.
    facing_deg : float
        Room azimuth.
    mouth : float
        Opening in [0, 1].
    action : float
        Of the role's own movement, in [0, 1]: hands apart (clap), gesture (talk), strum, blow (knock), shaking (laugh).
    stride : float
        Phase of walking in half-turns (a step each); NaN when standing.
    blink : bool
        Eyes shut.
    reach_m : tuple of 3 floats, optional
        What the right hand knocks on, in the room.
    """

    position_m: tuple[float, float]
    facing_deg: float
    mouth: float = 0.0
    action: float = 0.0
    stride: float = float("nan")
    blink: bool = False
    reach_m: tuple[float, float, float] | None = None


def shirt_of(look: int) -> int:
    """Number of the shirt colour that a look gives, so that two people need not wear the same."""
    rng = np.random.default_rng(look)
    rng.integers(len(_SKIN))
    rng.integers(len(_HAIR))
    return int(rng.integers(len(_SHIRTS)))


def is_woman(prop: Prop, category_id: int | None, variant: str) -> bool:
    """Sex of a figure: that of the voice where there is one, else by its look."""
    if category_id == 0 or (category_id == 4 and variant == "female"):
        return True
    if category_id == 1 or (category_id == 4 and variant == "male"):
        return False
    return prop.look % 2 == 0


def person(prop: Prop, pose: Pose, *, woman: bool) -> list[Shape]:
    """Shapes of a person in a pose."""
    return _Figure(prop, pose, woman).shapes()


def _apart(number: int, skin: Color) -> Color:
    """Hair colour, the next one that does not look like the skin (else the head seems bald)."""
    for step in range(len(_HAIR)):
        hair = _HAIR[(number + step) % len(_HAIR)]
        if abs(sum(hair) - sum(skin)) > 0.45:
            return hair
    return _HAIR[number]


class _Figure:
    def __init__(self, prop: Prop, pose: Pose, woman: bool) -> None:
        rng = np.random.default_rng(prop.look)
        self.h = prop.height_m
        self.role = prop.role
        self.pose = pose
        self.woman = woman
        self.skin = _SKIN[int(rng.integers(len(_SKIN)))]
        self.hair = _apart(int(rng.integers(len(_HAIR))), self.skin)
        self.shirt = _SHIRTS[int(rng.integers(len(_SHIRTS)))]
        self.trousers = _TROUSERS[int(rng.integers(len(_TROUSERS)))]
        self.style = int(rng.integers(3))
        self.dress = bool(woman and rng.random() < 0.55)
        self.glasses = bool(rng.random() < 0.25)
        angle = np.deg2rad(pose.facing_deg)
        self.ahead = np.array([np.cos(angle), np.sin(angle), 0.0])
        self.left = np.array([-np.sin(angle), np.cos(angle), 0.0])
        self.up = np.array([0.0, 0.0, 1.0])
        self.axes = np.stack([self.ahead, self.left, self.up])
        walking = np.isfinite(pose.stride)
        self.swing = float(np.sin(np.pi * pose.stride)) if walking else 0.0
        self.base = np.array([*pose.position_m, 0.0])
        # knees and hips let the body down until the lower foot stands on the floor
        self.base[2] = 0.038 * self.h - min(float(self._leg(side)[2][2]) for side in (-1.0, 1.0))
        if self.role == "laugh":
            self.base[2] -= 0.014 * self.h * pose.action
        self.out: list[Shape] = []

    def at(self, ahead: float, left: float, up: float) -> FloatArray:
        """Point in body coordinates, lengths in body heights."""
        return self.base + self.h * (ahead * self.ahead + left * self.left + up * self.up)

    def shapes(self) -> list[Shape]:
        self._legs()
        self._trunk()
        self._arms()
        self._head()
        return self.out

    def _leg(self, side: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Hip, knee and ankle of a leg; the leg that swings back bends."""
        swing = 0.36 * self.swing * side
        back = swing - max(0.0, -swing) * 1.1
        hip = self.at(0, 0.052 * side, 0.50)
        knee = hip + self.h * 0.235 * (np.sin(swing) * self.ahead - np.cos(swing) * self.up)
        ankle = knee + self.h * 0.227 * (np.sin(back) * self.ahead - np.cos(back) * self.up)
        return hip, knee, ankle

    def _legs(self) -> None:
        h = self.h
        lower = self.skin if self.dress else self.trousers
        for side in (-1.0, 1.0):
            hip, knee, ankle = self._leg(side)
            # under a dress the thigh must not show through
            thigh = 0.036 if self.dress else 0.056
            self.out.append(Limb(hip, knee, thigh * h, (0.036 if self.dress else 0.045) * h, lower))
            self.out.append(Limb(knee, ankle, 0.043 * h, 0.032 * h, lower))
            toe = ankle + h * (0.055 * self.ahead) - np.array([0, 0, 0.012 * h])
            shoe = (0.18, 0.16, 0.16) if not self.dress else self.hair
            self.out.append(Limb(ankle - np.array([0, 0, 0.008 * h]), toe, 0.030 * h, 0.026 * h, shoe, 0.25))

    def _trunk(self) -> None:
        h = self.h
        top = self.shirt
        self.out.append(Limb(self.at(0, 0, 0.610), self.at(0, 0, 0.745), 0.087 * h, 0.097 * h, top))
        self.out.append(Limb(self.at(0, -0.075, 0.785), self.at(0, 0.075, 0.785), 0.050 * h, 0.050 * h, top))
        if self.dress:
            self.out.append(Limb(self.at(0, 0, 0.60), self.at(0, 0, 0.36), 0.085 * h, 0.135 * h, top))
        else:
            self.out.append(
                Limb(self.at(0, -0.030, 0.535), self.at(0, 0.030, 0.535), 0.076 * h, 0.076 * h, self.trousers)
            )
        self.out.append(Limb(self.at(0, 0, 0.80), self.at(0.004, 0, 0.87), 0.036 * h, 0.034 * h, self.skin))
        if self.role == "guitar":
            self._guitar()

    def _guitar(self) -> None:
        h = self.h
        wood, dark = (0.80, 0.52, 0.24), (0.20, 0.12, 0.08)
        tilt = np.deg2rad(28)
        along = np.cos(tilt) * self.left + np.sin(tilt) * self.up
        across = np.cross(self.ahead, along)
        turned = np.stack([self.ahead, along, across])
        belly = self.at(0.135, -0.06, 0.575)
        for offset, radius in ((0.0, 0.105), (0.115, 0.080)):
            self.out.append(
                Blob(belly + h * offset * along, (0.034 * h, radius * h, radius * 0.98 * h), wood, turned, shine=0.35)
            )
        hole = belly + h * 0.065 * along + h * 0.030 * self.ahead
        self.out.append(Blob(hole, (0.010 * h, 0.034 * h, 0.034 * h), dark, turned))
        self.out.append(
            Limb(belly + h * (0.15 * along + 0.03 * self.ahead), belly + h * (0.43 * along + 0.03 * self.ahead),
                 0.014 * h, 0.012 * h, dark)
        )  # fmt: skip
        self.out.append(
            Limb(belly + h * (0.43 * along + 0.03 * self.ahead), belly + h * (0.49 * along + 0.025 * self.ahead),
                 0.022 * h, 0.018 * h, wood)
        )  # fmt: skip

    def _arms(self) -> None:
        h, a = self.h, self.pose.action
        role = self.role
        shoulders = {side: self.at(0, 0.118 * side, 0.785) for side in (-1.0, 1.0)}
        hands: dict[float, FloatArray] = {}
        for side in (-1.0, 1.0):
            # hanging, swinging against the leg of the same side
            forward = -0.22 * self.swing * side
            hands[side] = self.at(0.03 + forward * 0.75, 0.155 * side, 0.475 + 0.10 * abs(forward))
        if role == "clap":
            # hands meet at 0.72 h, 30 cm ahead: where the sound is
            gap = 0.018 + 0.105 * a
            for side in (-1.0, 1.0):
                hands[side] = self.at(0.30 / h - 0.02, gap * side, 0.72 + 0.010 * side)
        elif role == "talk" and not np.isfinite(self.pose.stride):
            lift = 0.5 - 0.5 * np.cos(2 * np.pi * a)
            hands[1.0] = self.at(0.15 + 0.05 * lift, 0.15 - 0.03 * lift, 0.56 + 0.12 * lift)
            hands[-1.0] = self.at(0.10 + 0.03 * (1 - lift), -0.15, 0.52 + 0.07 * (1 - lift))
        elif role == "laugh":
            hands[1.0] = self.at(0.105, 0.055, 0.60 + 0.02 * a)
            hands[-1.0] = self.at(0.11, -0.05, 0.585 + 0.02 * a)
        elif role == "guitar":
            hands[1.0] = self.at(0.17, 0.245, 0.735)
            hands[-1.0] = self.at(0.175, -0.035 + 0.01 * a, 0.60 - 0.055 * a)
        elif role == "dishes":
            hands[1.0] = self.at(0.25, 0.09, 0.50 + 0.05 * a)
            hands[-1.0] = self.at(0.25, -0.09, 0.55 - 0.05 * a)
        if self.pose.reach_m is not None:
            target = np.asarray(self.pose.reach_m)
            away = shoulders[-1.0] - target
            away /= max(float(np.linalg.norm(away)), 1e-6)
            hands[-1.0] = target + away * (0.03 + 0.13 * a)
        sleeve = 0.62 if self.style else 1.0
        for side in (-1.0, 1.0):
            elbow, hand = _bend(
                shoulders[side], hands[side], 0.165 * h, 0.155 * h, self.left * side - 0.6 * self.ahead - self.up
            )
            self.out.append(Limb(shoulders[side], elbow, 0.037 * h, 0.031 * h, self.shirt))
            self.out.append(Limb(elbow, hand, 0.029 * h, 0.023 * h, self.shirt if sleeve == 1.0 else self.skin))
            self.out.append(Blob(hand, (0.030 * h, 0.026 * h, 0.032 * h), self.skin, self.axes))

    def _head(self) -> None:
        h, pose = self.h, self.pose
        lean = np.deg2rad(10 * pose.action) if self.role == "laugh" else 0.0
        ahead = np.cos(lean) * self.ahead + np.sin(lean) * self.up
        up = np.cos(lean) * self.up - np.sin(lean) * self.ahead
        axes = np.stack([ahead, self.left, up])
        center = self.at(0.008, 0, 0.925)
        rx, ry, rz = 0.074 * h, 0.068 * h, 0.085 * h

        def on(a: float, b: float, c: float) -> FloatArray:
            """Point of the head, in its radii."""
            return center + a * rx * ahead + b * ry * self.left + c * rz * up

        def surface(b: float, c: float, out: float = 1.0) -> FloatArray:
            return on(out * float(np.sqrt(max(1 - b * b - c * c, 0.05))), b, c)

        self.out.append(Blob(center, (rx, ry, rz), self.skin, axes))
        for side in (-1.0, 1.0):
            self.out.append(Blob(on(-0.05, 0.99 * side, -0.05), (0.012 * h, 0.008 * h, 0.018 * h), self.skin, axes))
            eye = surface(0.36 * side, 0.12)
            if pose.blink:
                self.out.append(Blob(eye, (0.004 * h, 0.013 * h, 0.003 * h), (0.15, 0.11, 0.10), axes))
            else:
                self.out.append(Blob(eye, (0.007 * h, 0.0135 * h, 0.016 * h), (0.98, 0.98, 0.97), axes, shine=0.3))
                self.out.append(
                    Blob(surface(0.36 * side, 0.12, 1.055), (0.006 * h, 0.008 * h, 0.010 * h), (0.13, 0.10, 0.10), axes)
                )
            brow = surface(0.37 * side, 0.40, 1.02)
            self.out.append(Blob(brow, (0.006 * h, 0.017 * h, 0.0042 * h), self.hair, axes))
            if self.glasses:
                lens = surface(0.36 * side, 0.12, 1.10)
                self.out.append(_ring(lens, axes, 0.021 * h))
            cheek = tuple(0.8 * s + 0.2 * c for s, c in zip(self.skin, (0.92, 0.40, 0.38), strict=True))
            self.out.append(
                Blob(
                    surface(0.55 * side, -0.28, 0.99),
                    (0.005 * h, 0.014 * h, 0.010 * h),
                    (cheek[0], cheek[1], cheek[2]),
                    axes,
                )
            )
        self.out.append(Blob(surface(0.0, -0.08, 1.04), (0.014 * h, 0.011 * h, 0.013 * h), self.skin, axes))
        opening = float(np.clip(pose.mouth, 0, 1))
        lips = (0.72, 0.28, 0.28) if self.woman else (0.60, 0.30, 0.27)
        mouth = surface(0.0, -0.47 - 0.06 * opening)
        if opening > 0.08:
            self.out.append(
                Blob(mouth, (0.008 * h, (0.021 + 0.004 * opening) * h, (0.007 + 0.020 * opening) * h), lips, axes)
            )
            inner = surface(0.0, -0.47 - 0.06 * opening, 1.05)
            self.out.append(
                Blob(inner, (0.007 * h, 0.017 * h, (0.002 + 0.016 * opening) * h), (0.22, 0.06, 0.07), axes)
            )
        else:
            self.out.append(Blob(mouth, (0.006 * h, 0.023 * h, 0.005 * h), lips, axes))
        self._hair(center, axes, (rx, ry, rz), on)

    def _hair(
        self,
        center: FloatArray,
        axes: FloatArray,
        radii: tuple[float, float, float],
        on: Callable[[float, float, float], FloatArray],
    ) -> None:
        h = self.h
        rx, ry, rz = radii
        cap = center - 0.10 * rx * axes[0] + 0.05 * rz * axes[2]
        grown = (1.08 * rx, 1.13 * ry, 1.10 * rz)
        if self.woman:
            self.out.append(Blob(cap, grown, self.hair, axes, cut=(-0.10, 0.85), shine=0.25))
            if self.style == 0:
                for side in (-0.75, 0.75):
                    self.out.append(
                        Limb(
                            on(-0.35, side, 0.25), on(-0.45, 1.05 * side, -1.35), 0.034 * h, 0.026 * h, self.hair, 0.25
                        )
                    )
                self.out.append(Limb(on(-0.60, 0, 0.2), on(-0.70, 0, -1.5), 0.052 * h, 0.044 * h, self.hair, 0.25))
            elif self.style == 1:
                self.out.append(Blob(on(-0.75, 0, 1.0), (0.034 * h, 0.036 * h, 0.034 * h), self.hair, axes, shine=0.25))
            else:
                self.out.append(Limb(on(-1.1, 0, 0.5), on(-1.45, 0, -1.1), 0.030 * h, 0.012 * h, self.hair, 0.25))
        elif self.style == 2 and self.h > 1.78:
            self.out.append(Blob(cap, grown, self.hair, axes, cut=(0.35, 1.1), shine=0.2))
        else:
            self.out.append(Blob(cap, grown, self.hair, axes, cut=(0.02, 0.62), shine=0.2))
            if self.style == 0:
                # a beard
                self.out.append(
                    Blob(center + 0.05 * rx * axes[0] - 0.16 * rz * axes[2], (1.02 * rx, 1.02 * ry, 0.93 * rz),
                         self.hair, np.stack([axes[0], axes[1], -axes[2]]), cut=(0.62, 0.0))
                )  # fmt: skip


def _ring(center: FloatArray, axes: FloatArray, radius: float) -> Shape:
    """A spectacle lens: thin dark disc, slightly bluish."""
    return Drum(center, center + 0.002 * axes[0], radius, (0.30, 0.34, 0.40), 0.5)


def _bend(
    shoulder: FloatArray, hand: FloatArray, upper: float, fore: float, hint: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Elbow of a two-bone arm that reaches for ``hand`` (pulled in if too far), bent towards ``hint``."""
    reach = hand - shoulder
    distance = float(np.linalg.norm(reach))
    longest = 0.995 * (upper + fore)
    if distance > longest:
        reach = reach * (longest / distance)
        hand = shoulder + reach
        distance = longest
    unit = reach / max(distance, 1e-9)
    along = (upper**2 - fore**2 + distance**2) / (2 * max(distance, 1e-9))
    out = float(np.sqrt(max(upper**2 - along**2, 0.0)))
    side = hint - (hint @ unit) * unit
    side = side / max(float(np.linalg.norm(side)), 1e-9)
    return shoulder + along * unit + out * side, hand

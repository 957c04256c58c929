"""What happens in a recording: a room, who and what stands in it, and when which of them sounds.

Everything is drawn from generators that are keyed by ``(seed, recording number, purpose)``, so that a recording does
not depend on how many others are made, in which order, or by how many processes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from sai_core.errors import InputError
from sai_core.geometry import SAMPLE_RATE_HZ, great_circle_deg, vectors_to_directions
from sai_core.simulation import real_scenes, sounds
from sai_core.simulation.propagate import Path
from sai_core.simulation.recorded import RecordedSounds
from sai_core.simulation.room import Listener, Room, draw_room
from sai_core.taxonomy import N_CLASSES

FloatArray = npt.NDArray[np.float64]
Style = Literal["even", "real"]
"""How the times of sources are drawn."""

_PURPOSES: Final[dict[str, int]] = {
    "room": 1, "scene": 2, "sound": 3, "tail": 4, "noise": 5, "picture": 6,
}  # fmt: skip

_EVENT_S: Final[tuple[tuple[float, float], ...]] = (
    (2.0, 6.0), (2.0, 6.0), (1.5, 4.0), (3.0, 6.0), (1.6, 3.6), (3.5, 8.0), (3.0, 7.0), (1.6, 2.8), (5.0, 10.0),
    (4.0, 8.0), (3.0, 6.0), (1.6, 4.0), (1.0, 3.0),
)  # fmt: skip
"""Range of the length of one event of each class in seconds."""

_WALL_GAP_M: Final[float] = 0.12
"""Distance of a wall-mounted source from its wall."""

MIN_DISTANCE_M: Final[float] = 0.9
"""No source comes closer to the array than this."""


def generator(seed: int, index: int, purpose: str, *more: int) -> np.random.Generator:
    """Random generator of one purpose of one recording (or room)."""
    return np.random.default_rng([seed, index, _PURPOSES[purpose], *more])


@dataclass(frozen=True)
class Prop:
    """A thing or a person in the room.

    Attributes
    ----------
    kind : str
        What is drawn: ``person``, ``phone``, ``robot vacuum``, ``blender``, ``dishes``, ``door``, ``loudspeaker``,
        ``piano``, ``tap``, ``bell``, ``chime``, or furniture (``sofa``, ``shelf``, ``plant``, ``window``,
        ``picture``, ``cabinet``).
    wall : int
        0: x = 0, 1: x = Lx, 2: y = 0, 3: y = Ly; -1 for what stands free.
    position_m : tuple of 2 floats
        Centre of the footprint in the room.
    facing_deg : float
        Direction of its front, room azimuth.
    width_m : float
        Extent along the wall, or diameter.
    look : int
        Seed of colours and shapes.
    role : str
        For a person: ``talk``, ``laugh``, ``clap``, ``walk``, ``guitar``, ``knock``, ``idle``; else empty.
    height_m : float
        Body height of a person, mounting height of the rest.
    """

    kind: str
    wall: int
    position_m: tuple[float, float]
    facing_deg: float
    width_m: float
    look: int
    role: str = ""
    height_m: float = 0.0


@dataclass(frozen=True)
class Event:
    """One sound of an actor: when, how long, how loud (``sound_seed`` makes it)."""

    start_s: float
    duration_s: float
    sound_seed: int


@dataclass(frozen=True)
class Actor:
    """A source: its class, its path, its picture and its events.

    Attributes
    ----------
    source : int
        Number in the metadata, unique in the recording.
    category_id : int
        0..12.
    variant : str
        Kind of sound, see :data:`sai_core.simulation.sounds.VARIANTS`.
    path : Path
        Of the point that sounds.
    prop : Prop
    events : tuple of Event
    """

    source: int
    category_id: int
    variant: str
    path: Path
    prop: Prop
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Scene:
    """Everything that fixes one recording.

    Attributes
    ----------
    recording : str
        E.g. ``fold9_room3_mix001``.
    seed, index : int
        Of the data set, and the recording's number in it.
    room_index : int
        Recordings with the same number share walls and acoustics.
    duration_s : float
        A whole number of 100 ms frames.
    room, listener
        Acoustics and where the array stands.
    actors : tuple of Actor
    decor : tuple of Prop
        Silent things and silent people.
    snr_db : float
        Ratio of the sources' mean power while any of them is active to the noise, 500 Hz to 5 kHz, at the capsules.
    noise_slope_db_per_octave : float
        Fall of the background noise above 200 Hz.
    recorded : RecordedSounds, optional
        Recordings to play; what has none is synthesised.
    whole_events : bool
        Silence within an event is annotated as the event, as people do between two footsteps.
    """

    recording: str
    seed: int
    index: int
    room_index: int
    duration_s: float
    room: Room
    listener: Listener
    actors: tuple[Actor, ...]
    decor: tuple[Prop, ...]
    snr_db: float
    noise_slope_db_per_octave: float
    recorded: RecordedSounds | None = None
    whole_events: bool = False

    def sound(self, actor: Actor, event: Event) -> sounds.Sound:
        """One event: taken from a recording where there are any of its class, else synthesised."""
        rng = generator(self.seed, self.index, "sound", event.sound_seed)
        if self.recorded is not None:
            taken = self.recorded.take(actor.category_id, event.duration_s, rng, variant=actor.variant)
            if taken is not None:
                return taken
        return sounds.synthesise(actor.category_id, event.duration_s, rng, variant=actor.variant)

    def to_json(self) -> dict[str, Any]:
        """Parameters for the manifest."""
        frequencies = (250.0, 1000.0, 4000.0)
        return {
            "recording": self.recording,
            "seed": self.seed,
            "index": self.index,
            "duration_s": self.duration_s,
            "snr_db": round(self.snr_db, 3),
            "noise_slope_db_per_octave": round(self.noise_slope_db_per_octave, 3),
            **({"whole_events": True} if self.whole_events else {}),
            "room": {
                "index": self.room_index,
                "size_m": [round(v, 4) for v in self.room.size_m],
                "reflection": [round(v, 5) for v in self.room.reflection],
                "tilt_hz": round(self.room.tilt_hz, 1),
                "rt60_s": {f"{f:.0f} Hz": round(float(self.room.rt60_s(f)), 3) for f in frequencies},
            },
            "listener": {
                "position_m": [round(v, 4) for v in self.listener.position_m],
                "yaw_deg": round(self.listener.yaw_deg, 3),
            },
            "sources": [
                {
                    "source": a.source,
                    "category_id": a.category_id,
                    "variant": a.variant,
                    "seen_as": a.prop.kind,
                    "moves": a.path.moves,
                    "path": [
                        [round(float(t), 3), *(round(float(v), 3) for v in p)]
                        for t, p in zip(a.path.times_s, a.path.points_m, strict=True)
                    ],
                    "events": [
                        {"start_s": e.start_s, "duration_s": e.duration_s, "sound_seed": e.sound_seed} for e in a.events
                    ],
                }
                for a in self.actors
            ],
        }


def draw_scene(
    seed: int,
    index: int,
    *,
    seconds: float,
    recording: str,
    room_index: int | None = None,
    classes: tuple[int, ...] | None = None,
    max_overlap: int = 3,
    rt60_s: tuple[float, float] = (0.2, 0.8),
    snr_db: tuple[float, float] = (6.0, 30.0),
    recorded: RecordedSounds | None = None,
    style: Style = "even",
) -> Scene:
    """Draw the scene of one recording.

    Parameters
    ----------
    seed, index : int
        Of the data set (>= 0) and of the recording in it.
    seconds : float
        Length, rounded to frames of 100 ms; 2 to 600.
    recording : str
        Name.
    room_index : int, optional
        Recordings of equal number share a room; ``index`` if not given.
    classes : tuple of int, optional
        Classes that must occur; drawn if not given.
    max_overlap : int
        Most sources that sound at once, 1 to 4.
    rt60_s, snr_db : pair of float
        Ranges of the reverberation time and the signal-to-noise ratio.
    recorded : RecordedSounds, optional
        Recordings to play; they change nothing of what is drawn.
    style : {"even", "real"}
        ``even``: every class equally often, in events of some seconds. ``real``: classes, lengths, pauses and overlap
        as in real recordings (:mod:`sai_core.simulation.real_scenes`), and events annotated as a person does, from
        beginning to end, whatever is silent within.

    Raises
    ------
    InputError
        An argument outside its range.
    """
    if seed < 0 or index < 0:
        raise InputError(f"The seed is {seed} and the index {index}; both must be 0 or more.")
    if not 2.0 <= seconds <= 600.0:
        raise InputError(f"A recording of {seconds} s cannot be simulated; choose 2 to 600 seconds.")
    if not 1 <= max_overlap <= 4:
        raise InputError(f"max_overlap is {max_overlap}; choose 1 to 4.")
    if classes is not None and not all(0 <= c < N_CLASSES for c in classes):
        raise InputError(f"Classes are {classes}; expected numbers from 0 to {N_CLASSES - 1}.")
    room_index = index if room_index is None else room_index
    room = draw_room(generator(seed, room_index, "room"), rt60_s=rt60_s)
    rng = generator(seed, index, "scene")
    duration = round(seconds * 10) / 10
    listener = _draw_listener(room, rng)
    classes, spans = draw_schedule(duration, max_overlap, rng, classes=classes, style=style)
    stage = _Stage(room, listener, rng)
    # what hangs on a wall first: it has the fewest places
    order = sorted(range(len(classes)), key=lambda k: (classes[k] not in (7, 10, 11, 12, 9, 5), k))
    actors: dict[int, Actor] = {}
    for k in order:
        if not spans[k]:
            continue
        events = tuple(Event(start, length, 100 * k + j) for j, (start, length) in enumerate(spans[k]))
        actor = stage.cast(k, classes[k], events, duration)
        if actor is not None:
            actors[k] = actor
    numbered = tuple(
        Actor(n, a.category_id, a.variant, a.path, a.prop, a.events) for n, (_, a) in enumerate(sorted(actors.items()))
    )
    return Scene(
        recording,
        seed,
        index,
        room_index,
        duration,
        room,
        listener,
        numbered,
        stage.furnish(),
        float(rng.uniform(*snr_db)),
        float(rng.uniform(2.0, 5.0)),
        recorded,
        whole_events=style == "real",
    )


def draw_schedule(
    duration: float,
    max_overlap: int,
    rng: np.random.Generator,
    *,
    classes: tuple[int, ...] | None = None,
    style: Style = "even",
) -> tuple[tuple[int, ...], list[list[tuple[float, float]]]]:
    """Classes of the sources, and the spans (start, length) in seconds of each one's events.

    Raises
    ------
    InputError
        Given classes together with the style "real", which draws its own.
    """
    if style == "real":
        if classes is not None:
            raise InputError("Scenes like real ones draw their classes; leave the classes or the style out.")
        return real_scenes.draw(duration, max_overlap, rng)
    if classes is None:
        # every class equally often over a data set; longer recordings hold more sources
        count = min(int(rng.integers(4, 7)) + int(duration // 30), 10)
        classes = tuple(int(c) for c in rng.permutation(N_CLASSES)[:count])
    return classes, _schedule(classes, duration, max_overlap, rng)


def _draw_listener(room: Room, rng: np.random.Generator) -> Listener:
    """Stand at 1.2 to 1.5 m height, at least 1.4 m from the walls where the room is wide enough, off the centre."""
    length, width, _ = room.size_m
    while True:
        x = float(rng.uniform(min(1.4, 0.36 * length), length - min(1.4, 0.36 * length)))
        y = float(rng.uniform(min(1.4, 0.36 * width), width - min(1.4, 0.36 * width)))
        if np.hypot(x - length / 2, y - width / 2) > 0.25:
            return Listener((x, y, float(rng.uniform(1.2, 1.5))), float(rng.uniform(-180, 180)))


def _schedule(
    classes: tuple[int, ...], duration: float, max_overlap: int, rng: np.random.Generator
) -> list[list[tuple[float, float]]]:
    """Spans (start, length) of each source's events, never more than ``max_overlap`` at once; times on 10 ms."""
    busy = np.zeros(round(duration * 100), dtype=np.int64)
    spans: list[list[tuple[float, float]]] = [[] for _ in classes]
    rounds = 1 + max(1, int(duration // 12))
    for turn in range(rounds):
        for k in rng.permutation(len(classes)).tolist():
            # everybody once; after that, only some
            if turn and rng.random() < 0.45:
                continue
            low, high = _EVENT_S[classes[k]]
            for attempt in range(40):
                length = float(rng.uniform(low, high)) * (1.0 if attempt < 20 else 0.6)
                length = round(min(length, 0.7 * duration), 2)
                if length < 0.5:
                    continue
                start = round(float(rng.uniform(0.1, max(duration - length - 0.2, 0.11))), 2)
                a, b = int(start * 100), int((start + length) * 100)
                apart = all(start > s + n + 0.5 or start + length + 0.5 < s for s, n in spans[k])
                if apart and b <= busy.size and busy[a:b].max(initial=0) < max_overlap:
                    busy[a:b] += 1
                    spans[k].append((start, length))
                    break
    return [sorted(s) for s in spans]


class _Stage:
    """Places props in a room so that they neither overlap nor hide each other."""

    def __init__(self, room: Room, listener: Listener, rng: np.random.Generator) -> None:
        self._room, self._listener, self._rng = room, listener, rng
        self._walls: list[list[tuple[float, float]]] = [[], [], [], []]
        self._floor: list[tuple[float, float, float]] = []
        self._directions: list[tuple[float, float]] = []
        self._lines: list[list[tuple[float, float]]] = []

    # -- sources ------------------------------------------------------------------------------------------------

    def cast(self, number: int, category_id: int, events: tuple[Event, ...], duration: float) -> Actor | None:
        """Place one source; None where the room has no place left."""
        rng = self._rng
        variant = str(rng.choice(sounds.VARIANTS[category_id]))
        look = int(rng.integers(1 << 31))
        placed: tuple[Prop, Path] | None
        if category_id in (0, 1, 4):
            sex_height = rng.uniform(1.56, 1.74) if category_id == 0 or variant == "female" else rng.uniform(1.68, 1.9)
            role = "laugh" if category_id == 4 else "talk"
            if category_id != 4 and rng.random() < 0.35:
                placed = self._walker(events, role, 0.905 * sex_height, sex_height, look, duration)
            else:
                placed = self._standing(role, 0.905 * sex_height, sex_height, look, forward_m=0.11)
        elif category_id == 2:
            height = float(rng.uniform(1.6, 1.85))
            placed = self._standing("clap", 0.72 * height, height, look, forward_m=0.30)
        elif category_id == 3:
            placed = self._object("phone", 0.80, 0.55, look)
        elif category_id == 5 and variant == "vacuum":
            placed = self._roller(events, look, duration)
        elif category_id == 5 and variant == "blender":
            placed = self._on_wall("blender", 1.14, 1.1, look, out_m=0.33)
        elif category_id == 5:
            placed = self._object("dishes", 0.82, 0.8, look)
        elif category_id == 6:
            height = float(rng.uniform(1.58, 1.88))
            placed = self._walker(events, "walk", 0.08, height, look, duration)
        elif category_id == 7:
            placed = self._on_wall("door", 1.05, 1.0, look, out_m=_WALL_GAP_M)
        elif category_id == 8:
            placed = self._object("loudspeaker", 1.02, 0.4, look)
        elif category_id == 9 and variant == "guitar":
            height = float(rng.uniform(1.6, 1.85))
            placed = self._standing("guitar", 0.60 * height, height, look, forward_m=0.2)
        elif category_id == 9:
            placed = self._on_wall("piano", 0.95, 1.5, look, out_m=0.35)
        elif category_id == 10:
            placed = self._on_wall("tap", 1.0, 1.1, look, out_m=0.33)
        elif category_id == 11:
            kind = "bell" if variant == "hand bell" else "chime"
            placed = self._on_wall(kind, float(rng.uniform(1.7, 2.0)), 0.5, look, out_m=_WALL_GAP_M + 0.06)
        elif variant == "door":
            placed = self._on_wall("door", 1.35, 1.0, look, out_m=_WALL_GAP_M, role="knock")
        else:
            placed = self._object("knock table", 0.80, 0.8, look)
        if placed is None:
            return None
        prop, path = placed
        return Actor(number, category_id, variant, path, prop, events)

    def _standing(
        self, role: str, source_z: float, height: float, look: int, *, forward_m: float
    ) -> tuple[Prop, Path] | None:
        spot = self._free_spot(0.35)
        if spot is None:
            return None
        facing = self._towards_listener(spot) + float(self._rng.uniform(-30, 30))
        angle = np.deg2rad(facing)
        point = (spot[0] + forward_m * np.cos(angle), spot[1] + forward_m * np.sin(angle), source_z)
        prop = Prop("person", -1, spot, facing, 0.5, look, role, height)
        return prop, Path(np.zeros(1), np.array([point]))

    def _object(self, kind: str, source_z: float, width: float, look: int) -> tuple[Prop, Path] | None:
        spot = self._free_spot(width / 2 + 0.1)
        if spot is None:
            return None
        prop = Prop(kind, -1, spot, self._towards_listener(spot), width, look, "", source_z)
        return prop, Path(np.zeros(1), np.array([[*spot, source_z]]))

    def _on_wall(
        self, kind: str, source_z: float, width: float, look: int, *, out_m: float, role: str = ""
    ) -> tuple[Prop, Path] | None:
        for _ in range(60):
            wall = int(self._rng.integers(4))
            extent = self._room.size_m[1] if wall < 2 else self._room.size_m[0]
            along = float(self._rng.uniform(0.3 + width / 2, extent - 0.3 - width / 2))
            point = self._wall_point(wall, along, out_m)
            if any(abs(along - taken) < (width + other_width) / 2 + 0.15 for taken, other_width in self._walls[wall]):
                continue
            if not self._clear_view(point, source_z) or not self._off_paths(point, width / 2):
                continue
            if (out_m > 0.2 or role) and not self._free(self._wall_point(wall, along, 0.5), 0.45):
                continue
            self._walls[wall].append((along, width))
            if out_m > 0.2:
                self._floor.append((*point, width / 2))
            elif role:
                # somebody stands there and knocks
                self._floor.append((*self._wall_point(wall, along, 0.5), 0.4))
            self._note(point, source_z)
            facing = (0.0, 180.0, 90.0, -90.0)[wall]
            prop = Prop(kind, wall, self._wall_point(wall, along, 0.0), facing, width, look, role, source_z)
            return prop, Path(np.zeros(1), np.array([[*point, source_z]]))
        return None

    def _walker(
        self, events: tuple[Event, ...], role: str, source_z: float, height: float, look: int, duration: float
    ) -> tuple[Prop, Path] | None:
        path = self._stroll(events, source_z, float(self._rng.uniform(0.75, 1.2)), 0.45)
        if path is None:
            return None
        start = (float(path.points_m[0, 0]), float(path.points_m[0, 1]))
        return Prop("person", -1, start, 0.0, 0.5, look, role, height), path

    def _roller(self, events: tuple[Event, ...], look: int, duration: float) -> tuple[Prop, Path] | None:
        path = self._stroll(events, 0.11, float(self._rng.uniform(0.25, 0.45)), 0.4)
        if path is None:
            return None
        start = (float(path.points_m[0, 0]), float(path.points_m[0, 1]))
        return Prop("robot vacuum", -1, start, 0.0, 0.36, look, "", 0.11), path

    def _stroll(self, events: tuple[Event, ...], source_z: float, speed: float, clearance: float) -> Path | None:
        """Straight lines between free spots, walked during the events; a step aside every few metres."""
        for _ in range(30):
            here = self._random_point(0.45)
            if not self._free(here, clearance):
                continue
            times, points = [max(events[0].start_s - 0.01, 0.0)], [here]
            failed = False
            for event in events:
                clock, stop = event.start_s, event.start_s + event.duration_s
                if times[-1] < clock:
                    times.append(clock)
                    points.append(here)
                while clock < stop - 1e-6:
                    goal = next(
                        (
                            g
                            for g in (self._random_point(0.45) for _ in range(200))
                            if self._free_line(here, g, clearance)
                        ),
                        None,
                    )
                    if goal is None:
                        failed = True
                        break
                    length = float(np.hypot(goal[0] - here[0], goal[1] - here[1]))
                    share = min(1.0, (stop - clock) * speed / length)
                    here = (here[0] + share * (goal[0] - here[0]), here[1] + share * (goal[1] - here[1]))
                    clock += max(share * length / speed, 1e-3)
                    times.append(clock)
                    points.append(here)
                if failed:
                    break
            if failed:
                continue
            self._lines.append(points)
            return Path(np.array(times), np.array([[x, y, source_z] for x, y in points]))
        return None

    # -- furniture ----------------------------------------------------------------------------------------------

    def furnish(self) -> tuple[Prop, ...]:
        """Draw windows, pictures, furniture along the walls and silent people, where there is room."""
        rng = self._rng
        props: list[Prop] = []
        wanted = [("window", 1.5, 0.0), ("window", 1.2, 0.0), ("sofa", 1.9, 0.85), ("shelf", 1.0, 0.3)]
        wanted += [("window", 1.5, 0.0), ("cabinet", 1.2, 0.4), ("plant", 0.5, 0.5), ("picture", 0.8, 0.0)]
        wanted += [("picture", 0.6, 0.0), ("plant", 0.5, 0.5), ("door", 1.0, 0.0), ("picture", 0.9, 0.0)]
        for kind, width, depth in wanted:
            if rng.random() < 0.15:
                continue
            for _ in range(25):
                wall = int(rng.integers(4))
                extent = self._room.size_m[1] if wall < 2 else self._room.size_m[0]
                if extent < width + 0.6:
                    continue
                along = float(rng.uniform(0.2 + width / 2, extent - 0.2 - width / 2))
                if any(abs(along - o) < (width + w) / 2 + 0.12 for o, w in self._walls[wall]):
                    continue
                point = self._wall_point(wall, along, depth / 2)
                if depth and not (self._free(point, width / 2) and self._off_paths(point, width / 2)):
                    continue
                self._walls[wall].append((along, width))
                if depth:
                    self._floor.append((*point, max(width, depth) / 2))
                facing = (0.0, 180.0, 90.0, -90.0)[wall]
                props.append(
                    Prop(kind, wall, self._wall_point(wall, along, 0.0), facing, width, int(rng.integers(1 << 31)))
                )
                break
        for _ in range(int(rng.integers(0, 3))):
            spot = self._free_spot(0.35)
            if spot is not None:
                facing = self._towards_listener(spot) + float(rng.uniform(-50, 50))
                height = float(rng.uniform(1.56, 1.88))
                props.append(Prop("person", -1, spot, facing, 0.5, int(rng.integers(1 << 31)), "idle", height))
        return tuple(props)

    # -- geometry -----------------------------------------------------------------------------------------------

    def _wall_point(self, wall: int, along: float, out_m: float) -> tuple[float, float]:
        length, width, _ = self._room.size_m
        return ((out_m, along), (length - out_m, along), (along, out_m), (along, width - out_m))[wall]

    def _random_point(self, margin: float) -> tuple[float, float]:
        length, width, _ = self._room.size_m
        return float(self._rng.uniform(margin, length - margin)), float(self._rng.uniform(margin, width - margin))

    def _towards_listener(self, spot: tuple[float, float]) -> float:
        return float(
            np.rad2deg(np.arctan2(self._listener.position_m[1] - spot[1], self._listener.position_m[0] - spot[0]))
        )

    def _free(self, spot: tuple[float, float], radius: float) -> bool:
        if (
            np.hypot(spot[0] - self._listener.position_m[0], spot[1] - self._listener.position_m[1])
            < MIN_DISTANCE_M + 0.1
        ):
            return False
        return all(np.hypot(spot[0] - x, spot[1] - y) > radius + r for x, y, r in self._floor)

    def _free_line(self, a: tuple[float, float], b: tuple[float, float], clearance: float) -> bool:
        if np.hypot(b[0] - a[0], b[1] - a[1]) < 0.8 or not self._free(b, clearance):
            return False
        share = np.linspace(0, 1, 25)
        x, y = a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])
        mx, my, _ = self._listener.position_m
        if np.hypot(x - mx, y - my).min() < MIN_DISTANCE_M + 0.05:
            return False
        return all(np.hypot(x - ox, y - oy).min() > 0.25 + r for ox, oy, r in self._floor)

    def _free_spot(self, radius: float) -> tuple[float, float] | None:
        for _ in range(120):
            spot = self._random_point(radius + 0.25)
            if self._free(spot, radius) and self._off_paths(spot, radius) and self._clear_view(spot, 1.0, radius):
                self._floor.append((*spot, radius))
                self._note(spot, 1.0)
                return spot
        return None

    def _off_paths(self, spot: tuple[float, float], radius: float) -> bool:
        """Nobody walks through the spot."""
        for line in self._lines:
            for (ax, ay), (bx, by) in itertools.pairwise(line):
                dx, dy = bx - ax, by - ay
                square = dx * dx + dy * dy
                share = 0.0 if square == 0 else min(max(((spot[0] - ax) * dx + (spot[1] - ay) * dy) / square, 0.0), 1.0)
                if np.hypot(ax + share * dx - spot[0], ay + share * dy - spot[1]) < radius + 0.3:
                    return False
        return True

    def _direction(self, spot: tuple[float, float], z: float) -> tuple[float, float]:
        azimuth, elevation = vectors_to_directions(self._listener.to_local([[*spot, z]])[0])
        return float(azimuth), float(elevation)

    def _note(self, spot: tuple[float, float], z: float) -> None:
        self._directions.append(self._direction(spot, z))

    def _clear_view(self, spot: tuple[float, float], z: float, radius: float = 0.0) -> bool:
        """At least 14 degrees of azimuth from every other standing source, so that none hides another."""
        azimuth, _ = self._direction(spot, z)
        return all(float(great_circle_deg(azimuth, 0.0, standing, 0.0)) > 14.0 for standing, _ in self._directions)


def sample_of(time_s: float) -> int:
    """Sample of a time."""
    return round(time_s * SAMPLE_RATE_HZ)

"""The panorama shows what sounds, where it sounds: ray casting, walls, things, people, the seam, the video file."""

from __future__ import annotations

import numpy as np
import pytest

from sai_core.annotations import DcaseMetadata
from sai_core.geometry import directions_to_vectors, great_circle_deg, pixel_to_direction
from sai_core.simulation import scene, sounds
from sai_core.simulation.audio import RenderedAudio, direction_of
from sai_core.simulation.picture.people import Pose, person
from sai_core.simulation.picture.raster import (
    Blob,
    Block,
    Drum,
    Light,
    Limb,
    Shape,
    View,
    Window,
    box_filter,
    cast,
)
from sai_core.simulation.picture.stage import Stage
from sai_core.simulation.picture.things import thing
from sai_core.simulation.picture.video import write_video
from sai_core.simulation.propagate import Path
from sai_core.simulation.room import Listener, Room

ROOM = Room((6.0, 5.0, 2.8), (0.8,) * 6, 4000.0)
HERE = Listener((2.6, 2.3, 1.35), 25.0)
LIGHT = Light((3.0, 2.5, 2.3), (0.5, 0.5, 0.5), (0.6, 0.6, 0.6), (0.4, 0.4, 0.4))
SIZE = (360, 180)


def _view(samples: int = 1) -> View:
    return View(SIZE[0] * samples, SIZE[1] * samples, samples, HERE.position_m, HERE.yaw_deg)


def _point(azimuth_deg: float, elevation_deg: float, distance_m: float) -> np.ndarray:
    return np.asarray(HERE.position_m) + distance_m * directions_to_vectors(azimuth_deg + HERE.yaw_deg, elevation_deg)


def _scene(actors: tuple[scene.Actor, ...] = (), decor: tuple[scene.Prop, ...] = ()) -> scene.Scene:
    return scene.Scene("fold9_room1_mix001", 0, 0, 0, 3.0, ROOM, HERE, actors, decor, 20.0, 3.0)


def _actor(kind: str, point: np.ndarray, category_id: int, variant: str, role: str = "", height: float = 0.0):
    spot = (float(point[0]), float(point[1]))
    facing = float(np.rad2deg(np.arctan2(HERE.position_m[1] - spot[1], HERE.position_m[0] - spot[0])))
    prop = scene.Prop(kind, -1, spot, facing, 0.5, 4242, role, height)
    return scene.Actor(0, category_id, variant, Path(np.zeros(1), point[None]), prop, ())


def _changed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(int) - b.astype(int)).max(axis=2) > 12


def _middle(mask: np.ndarray) -> tuple[float, float]:
    """Direction of the middle of a mask, seam-safe."""
    rows, columns = np.nonzero(mask)
    step = 180 / mask.shape[0]
    vectors = directions_to_vectors(*pixel_to_direction((columns + 0.5) * step, (rows + 0.5) * step))
    mean = vectors.mean(axis=0)
    return float(np.rad2deg(np.arctan2(mean[1], mean[0]))), float(np.rad2deg(np.arcsin(mean[2] / np.linalg.norm(mean))))


def test_rays_are_the_label_grids_pixel_centres():
    view = View(360, 180, 1, (0.0, 0.0, 1.0), 0.0)
    d = np.stack(view.rays(Window(0, 360, 0, 180)), axis=-1)
    x, y = np.meshgrid(np.arange(360) + 0.5, np.arange(180) + 0.5)
    np.testing.assert_allclose(d, directions_to_vectors(*pixel_to_direction(x, y)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("azimuth_deg", [0.0, 77.0, -130.0, 179.8, -179.9])
@pytest.mark.parametrize("shape", ["blob", "limb", "block", "drum"])
def test_shapes_are_seen_in_their_direction_and_at_their_distance(azimuth_deg, shape):
    center, up = _point(azimuth_deg, -10.0, 1.5), np.array([0.0, 0.0, 1.0])
    solid: dict[str, Shape] = {
        "blob": Blob(center, (0.1, 0.1, 0.1), (1, 0, 0)),
        "limb": Limb(center - 0.1 * up, center + 0.1 * up, 0.05, 0.05, (1, 0, 0)),
        "block": Block(center, (0.08, 0.08, 0.08), (1, 0, 0)),
        "drum": Drum(center - 0.06 * up, center + 0.06 * up, 0.08, (1, 0, 0)),
    }
    # four samples a degree: the outline of a 7-degree ball on whole degrees would be 10 % off in area
    _, depth = cast([solid[shape]], _view(4), Window(0, 1440, 0, 720), LIGHT)
    mask = np.isfinite(depth)
    assert float(great_circle_deg(*_middle(mask), azimuth_deg, -10.0)) < 0.5
    assert depth[mask].min() == pytest.approx(1.5 - 0.1, abs=0.06)
    if shape == "blob":
        # solid angle of a ball: 2 pi (1 - cos(asin(r / d)))
        rows = np.nonzero(mask)[0]
        area = (np.cos(np.deg2rad(90 - (rows + 0.5) / 4)) * np.deg2rad(0.25) ** 2).sum()
        assert area == pytest.approx(2 * np.pi * (1 - np.cos(np.arcsin(0.1 / 1.5))), rel=0.03)


def test_limb_surface_satisfies_its_equation(rng):
    """Every hit of a rounded cone lies at the swept radius from its axis."""
    limb = Limb(np.array([1.0, -0.2, 1.2]), np.array([1.3, 0.4, 1.7]), 0.12, 0.05, (1, 1, 1))
    d = directions_to_vectors(rng.uniform(-40, 60, 4000), rng.uniform(-30, 40, 4000)).astype(np.float32)
    t, nx, ny, nz = limb.hit((0.0, 0.0, 1.3), (d[None, :, 0], d[None, :, 1], d[None, :, 2]))
    hit = t[0] < 1e8
    assert hit.sum() > 50
    point = np.array([0.0, 0.0, 1.3]) + t[0][hit, None] * d[hit]
    share = np.linspace(0, 1, 2001)
    centers = limb.a + share[:, None] * (np.asarray(limb.b) - limb.a)
    gap = np.linalg.norm(point[:, None] - centers[None], axis=2) - (0.12 + share * (0.05 - 0.12))
    np.testing.assert_allclose(gap.min(axis=1), 0.0, rtol=0, atol=2e-3)
    np.testing.assert_allclose((nx**2 + ny**2 + nz**2)[0, hit], 1.0, rtol=0, atol=1e-2)


def test_nearer_shapes_hide_farther_ones_and_walls_hide_nothing():
    near = Blob(_point(30, 0, 1.0), (0.1, 0.1, 0.1), (1, 0, 0))
    far = Blob(_point(30, 0, 2.0), (0.2, 0.2, 0.2), (0, 0, 1))
    for order in ([near, far], [far, near]):
        rgb, depth = cast(order, _view(), Window(0, 360, 0, 180), LIGHT)
        row, column = 90, 150
        assert rgb[row, column, 0] > rgb[row, column, 2]
        assert depth[row, column] == pytest.approx(0.9, abs=0.02)
    _, nothing = cast([], _view(), Window(0, 10, 0, 10), LIGHT)
    assert np.isinf(nothing).all()


def test_background_distances_are_those_of_the_box():
    stage = Stage(_scene(), [], size_wh=SIZE, samples=1)
    depth = stage._depth
    for azimuth, elevation in ((0.5, 0.5), (90.5, 10.5), (-120.5, -30.5), (10.5, 80.5)):
        direction = directions_to_vectors(azimuth + HERE.yaw_deg, elevation)
        expected = min(
            ((size if component > 0 else 0.0) - start) / component
            for size, component, start in zip(ROOM.size_m, direction, HERE.position_m, strict=True)
            if abs(component) > 1e-9
        )
        lamp = 0.4  # the lamp hangs in the way of some rays
        assert depth[int(90 - elevation), int(180 - azimuth)] == pytest.approx(expected, abs=lamp)


@pytest.mark.parametrize("wall", [0, 1, 2, 3])
def test_what_is_painted_on_a_wall_is_seen_in_its_direction(wall):
    """A mirrored or swapped texture would put the picture elsewhere."""
    along = 1.3
    length, width, _ = ROOM.size_m
    spot = ((0.0, along), (length, along), (along, 0.0), (along, width))[wall]
    prop = scene.Prop("picture", wall, spot, (0.0, 180.0, 90.0, -90.0)[wall], 0.7, 5)
    plain = Stage(_scene(), [], size_wh=SIZE, samples=1).background
    hung = Stage(_scene(decor=(prop,)), [], size_wh=SIZE, samples=1).background
    relative = HERE.to_local([*spot, 1.55])
    expected = np.rad2deg(np.arctan2(relative[1], relative[0]))
    azimuth, elevation = _middle(_changed(plain, hung))
    assert abs((azimuth - expected + 180) % 360 - 180) < 2.0
    assert 0 < elevation < 15


@pytest.mark.parametrize("azimuth_deg", [15.0, -100.0, 179.5])
@pytest.mark.parametrize(
    ("kind", "category_id", "variant", "height_m"),
    [("phone", 3, "bell", 0.80), ("loudspeaker", 8, "band", 1.02), ("robot vacuum", 5, "vacuum", 0.11)],
)
def test_things_are_seen_where_they_sound(azimuth_deg, kind, category_id, variant, height_m):
    ground = 1.4 * directions_to_vectors(azimuth_deg + HERE.yaw_deg, 0.0)[:2] + np.asarray(HERE.position_m[:2])
    actor = _actor(kind, np.array([*ground, height_m]), category_id, variant)
    plain = Stage(_scene(), [], size_wh=SIZE, samples=1).frame(0.0)
    drawn = Stage(_scene((actor,)), [()], size_wh=SIZE, samples=1).frame(0.0)
    expected = direction_of(actor.path, HERE, 0.0)
    mask = _changed(plain, drawn)
    row = int(90 - expected[1])
    # the part of the picture around the sounding height: a stand or table reaches far below
    band = mask.copy()
    band[: row - 6] = band[row + 7 :] = False
    azimuth, _ = _middle(band)
    assert abs((azimuth - expected[0] + 180) % 360 - 180) < 2.5
    assert mask[row, int((180 - expected[0]) % 360)]
    if azimuth_deg > 179:
        assert mask[:, 0].any()
        assert mask[:, -1].any()


def test_mouth_is_at_the_sound_and_moves_with_it():
    height = 1.7
    spot = _point(40.0, 0.0, 1.3)
    facing = float(np.rad2deg(np.arctan2(HERE.position_m[1] - spot[1], HERE.position_m[0] - spot[0])))
    angle = np.deg2rad(facing)
    point = np.array([spot[0] + 0.11 * np.cos(angle), spot[1] + 0.11 * np.sin(angle), 0.905 * height])
    prop = scene.Prop("person", -1, (float(spot[0]), float(spot[1])), facing, 0.5, 7, "talk", height)
    take = sounds.synthesise(0, 3.0, np.random.default_rng(0))
    actor = scene.Actor(0, 0, "talk", Path(np.zeros(1), point[None]), prop, ())
    stage = Stage(_scene((actor,)), [((0.0, take),)], size_wh=(1440, 720), samples=1)
    player = stage.players[0]
    shut, wide = float(np.argmin(take.motion)) / 100, float(np.argmax(take.motion)) / 100
    assert player.motion(shut) < 0.1
    assert player.motion(wide) > 0.8
    assert player.motion(10.0) == 0.0
    expected = direction_of(actor.path, HERE, 0.0)
    x, y = int((180 - expected[0]) * 4), int((90 - expected[1]) * 4)
    around = (slice(y - 12, y + 12), slice(x - 12, x + 12))
    assert _changed(stage.frame(shut)[around], stage.frame(wide)[around]).sum() > 20


def test_walkers_move_in_the_picture():
    times = np.array([0.0, 3.0])
    points = np.stack([_point(-40, 0, 1.6), _point(40, 0, 1.6)])
    points[:, 2] = 0.08
    prop = scene.Prop("person", -1, (float(points[0, 0]), float(points[0, 1])), 0.0, 0.5, 3, "walk", 1.7)
    actor = scene.Actor(0, 6, "shoes", Path(times, points), prop, ())
    take = sounds.synthesise(6, 3.0, np.random.default_rng(0))
    stage = Stage(_scene((actor,)), [((0.0, take),)], size_wh=SIZE, samples=1)
    empty = Stage(_scene(), [], size_wh=SIZE, samples=1).frame(0.0)
    for time in (0.5, 1.5, 2.5):
        azimuth, _ = _middle(_changed(empty, stage.frame(time)))
        expected, _, _ = direction_of(actor.path, HERE, time)
        assert abs(azimuth - expected) < 4.0


@pytest.mark.parametrize("role", ["talk", "laugh", "clap", "walk", "guitar", "idle", "dishes"])
def test_people_are_complete_and_of_their_height(role):
    prop = scene.Prop("person", -1, (1.0, 2.0), 30.0, 0.5, 11, role, 1.75)
    shapes = person(prop, Pose((1.0, 2.0), 30.0, 0.5, 0.5, 0.25 if role == "walk" else float("nan")), woman=False)
    limbs = [s for s in shapes if isinstance(s, Limb)]
    low = min(min(s.a[2] - s.ra, s.b[2] - s.rb) for s in limbs)
    high = max(float(c[2] + r) for c, r in (s.bound() for s in shapes))
    # on the floor, whatever the legs do
    assert abs(low) < 0.02
    assert high == pytest.approx(1.75 * 1.02, abs=0.08)


def test_every_prop_can_be_drawn_in_every_state():
    kinds = ["phone", "robot vacuum", "blender", "dishes", "knock table", "door", "loudspeaker", "piano", "tap"]
    kinds += ["bell", "chime", "sofa", "shelf", "plant", "cabinet", "window", "picture"]
    for kind in kinds:
        for motion, stroke in ((0.0, 0.0), (1.0, 1.0), (0.5, -1.0)):
            shapes = thing(scene.Prop(kind, 0, (0.0, 2.0), 0.0, 1.0, 8, "", 1.8), motion, stroke)
            for shape in shapes:
                center, radius = shape.bound()
                assert np.isfinite(center).all()
                assert 0 < radius < 2.5
            assert shapes or kind in ("window", "picture")


def test_samples_are_averaged():
    samples = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_array_equal(box_filter(samples, 2), [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_array_equal(box_filter(samples, 1), samples)


def test_same_scene_same_picture():
    drawn = scene.draw_scene(4, 1, seconds=5, recording="a")
    heard = [tuple((e.start_s, drawn.sound(a, e)) for e in a.events) for a in drawn.actors]
    one = Stage(drawn, heard, size_wh=SIZE, samples=1)
    two = Stage(drawn, heard, size_wh=SIZE, samples=1)
    for time in (0.0, 2.0, 4.0):
        np.testing.assert_array_equal(one.frame(time), two.frame(time))
    # asking again, in another order, changes nothing
    np.testing.assert_array_equal(one.frame(2.0), two.frame(2.0))


def test_video_has_the_official_rate_and_shows_the_stage(tmp_path):
    import cv2

    actor = _actor("phone", np.array([*_point(20, 0, 1.4)[:2], 0.8]), 3, "warble")
    drawn = _scene((actor,))
    take = sounds.synthesise(3, 2.0, np.random.default_rng(0), variant="warble")
    nothing = DcaseMetadata(*([np.zeros(0)] * 6))  # type: ignore[arg-type]
    silent = np.zeros((1, 1), dtype=np.float32)
    sound = RenderedAudio(silent, silent, nothing, np.zeros((1, 30), dtype=bool), (((0.5, take),),), 0.0, -60.0)
    path = tmp_path / "a" / "x.mp4"
    assert write_video(drawn, sound, path, size_wh=SIZE, crf=18) == 90
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(30_000 / 1001, abs=1e-3)
    frames = []
    while True:
        more, frame = video.read()
        if not more:
            break
        frames.append(frame[..., ::-1])
    assert len(frames) == 90
    assert frames[0].shape == (180, 360, 3)
    wanted = Stage(drawn, sound.heard, size_wh=SIZE).frame(40 * 1001 / 30_000)
    # H.264 at this quality and 4:2:0 colour: a few grey levels
    assert np.abs(frames[40].astype(float) - wanted).mean() < 4.0
    assert [p.name for p in path.parent.iterdir()] == ["x.mp4"]

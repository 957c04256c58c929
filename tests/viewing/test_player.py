"""The player's bytes: what goes in comes out, and patches rebuild the maps."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.errors import InputError
from sai_core.viewing import player
from tests.figures.scenes import blob, frame_map, table_of, tables


@given(st.dictionaries(st.text(max_size=8), st.lists(st.integers(-1000, 1000), max_size=9), max_size=4), st.binary())
def test_containers_round_trip(columns, blob_bytes):
    arrays = {name: np.array(values, dtype=np.int32) for name, values in columns.items()}
    header, back = player.unpack(player.pack({"a": [1, "ü"]}, {**arrays, "bytes!": blob_bytes}))
    assert header == {"a": [1, "ü"]}
    assert back.pop("bytes!") == blob_bytes
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)


def test_arrays_are_aligned_to_eight_bytes():
    data = player.pack({}, {"a": np.zeros(3, np.uint8), "b": np.zeros(2, np.float64), "c": b"x"})
    (length,) = struct.unpack("<I", data[4:8])
    header_end = 8 + length
    assert header_end % 8 == 0
    assert len(data) == header_end + 8 + 16 + 8


def test_other_bytes_are_refused():
    with pytest.raises(InputError, match="not a player container"):
        player.unpack(b"PNG.........")


def rebuild(block: bytes, table_number: int, frame_in_block: int) -> np.ndarray:
    """What the browser does with the patches of a frame."""
    header, arrays = player.unpack(block)
    values = np.frombuffer(zlib.decompress(arrays["values"]), np.uint8)
    assert len(values) == header["n_values"]
    canvas = np.zeros((180, 360), np.uint8)
    for table, _, frame, x0, y0, width, height, offset in arrays["patches"].reshape(-1, 8).tolist():
        if (table, frame) == (table_number, frame_in_block):
            part = values[offset : offset + width * height].reshape(height, width)
            columns = (x0 + np.arange(width)) % 360
            rows = slice(y0, y0 + height)
            canvas[rows, columns] = np.maximum(canvas[rows, columns], part)
    return canvas


def test_patches_rebuild_the_maps_of_the_last_short_block():
    labels, predictions = tables(50)
    block = player.encode_block(2, {"L": labels, "A": predictions}, n_frames=50)
    assert player.unpack(block)[0]["stop"] == 50
    for number, table in enumerate((labels, predictions)):
        for frame in (40, 44, 49):
            expected = frame_map(table, frame)
            canvas = rebuild(block, number, frame - 40)
            # half a step of 8 bits, or the step that keeps a faint rim positive
            assert np.abs(canvas / 255 - expected).max() <= 1 / 255 + 1e-6
            np.testing.assert_array_equal(canvas > 0, expected > 0)


def test_a_crowd_is_merged_but_nothing_is_lost():
    rng = np.random.default_rng(1)
    rows = []
    for i in range(60):
        points, energy = blob(rng.uniform(0, 360), rng.uniform(30, 150), 5)
        rows.append((0, i % 13, i, 100.0, rng.uniform(), points, energy))
    table = table_of("r", rows)
    block = player.encode_block(0, {"A": table}, n_frames=1)
    patches = player.unpack(block)[1]["patches"].reshape(-1, 8)
    assert len(patches) == player.MAX_PATCHES_PER_FRAME + 1
    kept = patches[patches[:, 1] >= 0, 1]
    assert table.score[kept].min() >= np.sort(table.score)[-player.MAX_PATCHES_PER_FRAME]
    np.testing.assert_array_equal(rebuild(block, 0, 0) > 0, frame_map(table, 0) > 0)


def test_outlines_belong_to_their_patches():
    labels, _ = tables(20)
    _, arrays = player.unpack(player.encode_block(0, {"L": labels}, n_frames=20))
    patches, owner, offsets = arrays["patches"].reshape(-1, 8), arrays["outline_owner"], arrays["outline_offsets"]
    xy = arrays["outline_xy"].reshape(-1, 2) / player.OUTLINE_SCALE
    assert len(owner) >= len(patches)
    for k in range(len(owner)):
        _, _, _, x0, y0, width, height, _ = patches[owner[k]]
        line = xy[offsets[k] : offsets[k + 1]]
        assert x0 <= line[:, 0].min()
        assert line[:, 0].max() <= x0 + width
        assert y0 <= line[:, 1].min()
        assert line[:, 1].max() <= y0 + height


def test_pictures_and_sound_travel_with_their_frames(rng):
    pictures: list[np.ndarray | None] = [None, np.full((20, 40, 3), (200, 30, 60), np.uint8)]
    sound = rng.integers(-3000, 3000, 4800).astype(np.int16)
    block = player.encode_block(0, {}, n_frames=2, pictures=pictures, audio=sound)
    _, arrays = player.unpack(block)
    np.testing.assert_array_equal(arrays["audio"], sound)
    offsets = arrays["jpeg_offsets"]
    assert offsets[1] == 0
    back = cv2.imdecode(np.frombuffer(arrays["jpeg"], np.uint8)[offsets[1] : offsets[2]], cv2.IMREAD_COLOR)
    assert back is not None
    assert back.shape == (20, 40, 3)
    np.testing.assert_allclose(back[10, 20], (60, 30, 200), atol=4)  # BGR; JPEG's own error


def test_a_block_outside_is_refused():
    with pytest.raises(InputError, match="Block 3 is outside"):
        player.encode_block(3, {}, n_frames=60)


def test_a_scene_holds_every_column():
    labels, predictions = tables(10)
    header, arrays = player.unpack(player.encode_scene({"recording": "r"}, {"L": labels, "A": predictions}))
    assert header == {"recording": "r", "tables": ["L", "A"]}
    np.testing.assert_array_equal(arrays["A.frame"], predictions.frame)
    np.testing.assert_allclose(arrays["A.score"], predictions.score, atol=1e-7)
    assert np.isnan(arrays["L.score"]).all()
    assert arrays["L.azimuth"].dtype == np.float32


def test_levels_keep_order_and_silence_is_dark():
    levels = np.linspace(-100, -20, 9).reshape(3, 3)
    values = player.quantise_levels(levels)
    assert values.flat[-1] == 255
    assert values.flat[0] == 0
    assert np.all(np.diff(values.ravel().astype(int)) >= 0)
    assert not player.quantise_levels(np.full((2, 3), -120.0)).any()
    assert player.quantise_levels(np.zeros((0, 4))).shape == (0, 4)


def test_faint_energy_is_not_rounded_away():
    points, _ = blob(100, 90, 4)
    table = table_of("r", [(0, 0, 0, 100.0, 0.5, points, np.full(len(points), 0.001))])
    canvas = rebuild(player.encode_block(0, {"A": table}, n_frames=1), 0, 0)
    assert np.count_nonzero(canvas) == len(points)
    assert canvas.max() == 1

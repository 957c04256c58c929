from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations import read_annotations, read_annotations_with_report, write_coco_json
from sai_core.annotations._hull import convex_hull, hull_area
from sai_core.annotations.coco import mask_on_canvas
from sai_core.errors import InputError
from sai_core.taxonomy import CLASS_NAMES
from tests.annotations.helpers import assert_same, make_table, region_table, tables, write_text

mask_api = pytest.importorskip("pycocotools.mask")


def _coco(tmp_path, annotations, *, images=None, **extra):
    images = [{"id": 1, "frame_index": 7}] if images is None else images
    return write_text(tmp_path / "c.json", json.dumps({"images": images, "annotations": annotations, **extra}))


def _record(**changes):
    record = {"id": 1, "image_id": 1, "category_id": 3, "segmentation": [[1, 2, 3, 4, 5, 7]], "iscrowd": 0, **changes}
    return {key: value for key, value in record.items() if value is not ...}


@given(table=tables())
def test_round_trip(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("coco") / "rec.json"
    write_coco_json(table, path)
    result = read_annotations_with_report(path)
    assert result.kind == "coco"
    assert result.table.recording == "rec"
    assert_same(result.table, table)


def test_other_tools_can_open_it(tmp_path, capsys):
    from pycocotools.coco import COCO

    table = region_table(0, 6)
    write_coco_json(table, tmp_path / "rec.json")
    coco = COCO(str(tmp_path / "rec.json"))
    assert len(coco.getAnnIds()) == 6
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(CLASS_NAMES)
    image = coco.loadImgs(coco.getImgIds())[2]
    assert (image["frame_index"], image["file_name"]) == (2, "rec_0002.png")
    first = coco.loadAnns([1])[0]
    x, y, width, height = first["bbox"]
    xy = table.points(0)[0]
    np.testing.assert_allclose([x, y, x + width, y + height], [*xy.min(0), *xy.max(0)], rtol=0, atol=1e-9)
    assert 0 < first["area"] <= width * height


def test_polygons_without_energy_have_energy_one(tmp_path):
    table = read_annotations(_coco(tmp_path, [_record()]))
    assert (table.frame[0], table.category_id[0], table.instance_id[0]) == (7, 3, -1)
    np.testing.assert_array_equal(table.points_xy, [[1, 2], [3, 4], [5, 7]])
    np.testing.assert_array_equal(table.energy, [1, 1, 1])


@pytest.mark.parametrize("energy", [[0.25, 0.5, 1], [[0.25, 0.5, 1]]])
def test_energy_flat_or_nested(tmp_path, energy):
    table = read_annotations(_coco(tmp_path, [_record(energy=energy, distance=3.5, instance_id=2, score=0.5)]))
    np.testing.assert_array_equal(table.energy, [0.25, 0.5, 1])
    assert (table.distance_cm[0], table.instance_id[0], table.score[0]) == (3.5, 2, 0.5)


def test_images_and_categories_may_stand_behind(tmp_path):
    record = _record(category_id=9, image_id=5)
    text = json.dumps(
        {
            "annotations": [record],
            "categories": [{"id": 9, "name": "Bell"}],
            "images": [{"id": 5, "file_name": "frames/x/fold4_mix001_0042.png"}],
        }
    )
    table = read_annotations(write_text(tmp_path / "c.json", text))
    assert (table.frame[0], table.category_id[0]) == (42, CLASS_NAMES.index("Bell"))


def test_classes_go_by_name_where_names_are_ours(tmp_path):
    categories = [{"id": k + 1, "name": name.upper().replace("/", " ")} for k, name in enumerate(CLASS_NAMES)]
    path = _coco(tmp_path, [_record(category_id=k + 1) for k in range(13)], categories=categories)
    assert read_annotations(path).category_id.tolist() == list(range(13))
    foreign = [*categories, {"id": 14, "name": "Dog"}]
    path = _coco(tmp_path, [_record(category_id=14), _record(category_id=1)], categories=foreign)
    with pytest.raises(
        InputError, match="annotation 0, field 'category_id': 'Dog' \\(id 14\\) is none of the 13 classes"
    ):
        read_annotations(path)
    result = read_annotations_with_report(path, unknown_classes="drop")
    assert (result.n_dropped, result.table.category_id.tolist()) == (1, [0])


def test_other_image_sizes_are_scaled_onto_the_canvas(tmp_path):
    images = [{"id": 1, "frame_index": 0, "width": 1920, "height": 960}]
    path = _coco(tmp_path, [_record(segmentation=[[0, 0, 1920, 960, 960, 480]])], images=images)
    np.testing.assert_allclose(read_annotations(path).points_xy, [[0, 0], [360, 180], [180, 90]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("compressed", [True, False])
def test_masks_become_pixels(tmp_path, compressed):
    mask = np.zeros((180, 360), dtype=np.uint8)
    mask[20:30, 100:140] = 1
    mask[179, 359] = 1
    mask[0, 0] = 1
    encoded = mask_api.encode(np.asfortranarray(mask))
    if compressed:
        segmentation = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    else:
        flat = mask.T.reshape(-1)
        edges = np.flatnonzero(np.diff(flat)) + 1
        runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
        segmentation = {"size": [180, 360], "counts": ([0] if flat[0] else []) + runs}
    table = read_annotations(_coco(tmp_path, [_record(segmentation=segmentation)]))
    rows, columns = np.nonzero(mask)
    np.testing.assert_array_equal(table.points_xy, np.column_stack([columns, rows]))
    np.testing.assert_array_equal(table.energy, np.ones(402))


def test_masks_of_other_sizes_are_looked_up(tmp_path):
    mask = np.zeros((960, 1920), dtype=np.uint8)
    mask[480:, 960:] = 1
    encoded = mask_api.encode(np.asfortranarray(mask))
    segmentation = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    table = read_annotations(_coco(tmp_path, [_record(segmentation=segmentation)]))
    assert table.n_points == 90 * 180
    assert table.points_xy.min(0).tolist() == [180, 90]


@given(data=st.data())
def test_masks_agree_with_the_reference_decoder(data):
    height, width = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(bits, dtype=np.uint8).reshape(height, width)
    encoded = mask_api.encode(np.asfortranarray(mask))
    canvas = mask_on_canvas(encoded["counts"].decode(), size_hw=(height, width))
    np.testing.assert_array_equal(canvas, _looked_up(mask))


def test_long_runs_agree_with_the_reference_decoder():
    rng = np.random.default_rng(0)
    mask = np.kron((rng.random((7, 9)) < 0.5).astype(np.uint8), np.ones((130, 210), dtype=np.uint8))
    encoded = mask_api.encode(np.asfortranarray(mask))
    canvas = mask_on_canvas(encoded["counts"].decode(), size_hw=tuple(encoded["size"]))
    np.testing.assert_array_equal(canvas, _looked_up(mask))


def _looked_up(mask):
    """The mask's pixel under the centre of each pixel of the canvas."""
    height, width = mask.shape
    rows = [int((row + 0.5) * height / 180) for row in range(180)]
    columns = [int((column + 0.5) * width / 360) for column in range(360)]
    return mask[np.ix_(rows, columns)] == 1


@pytest.mark.parametrize(
    ("record", "match"),
    [
        (_record(image_id=2), "annotation 0, field 'image_id': 2 is not the id of any entry of 'images'"),
        (_record(segmentation=...), "annotation 0 has neither 'segmentation' nor 'bbox'"),
        (_record(segmentation=..., bbox=[1, 2, 3]), "field 'bbox': expected"),
        (_record(segmentation=[], bbox=[1, 2, -3, 4]), "field 'bbox': has the size -3 x 4"),
        (_record(segmentation=..., bbox=[350, 2, 30, 4]), r"point 1 of part 0 is at \(380, 2\), outside the canvas"),
        (_record(segmentation=[[1, 2, 3]]), "part 0 has 3 numbers, expected pairs"),
        (_record(segmentation=[[1, 2], [3, 400]]), r"point 0 of part 1 is at \(3, 400\), outside the canvas"),
        (_record(segmentation=[1, 2]), "is neither polygons"),
        (_record(segmentation="abc"), "is neither polygons"),
        (_record(segmentation=[["a", 2]]), "is neither polygons"),
        (_record(energy=[1]), "field 'energy': part 0 has 1 numbers for 3 points"),
        (_record(energy=[[1, 2, 3], []]), "field 'energy': has 2 lists for 1 parts"),
        (_record(energy="x"), "field 'energy': expected a list"),
        (_record(score=2), "field 'score': got 2"),
        (_record(category_id=13), "field 'category_id': got 13, expected a class"),
        (_record(category_id=1.5), "field 'category_id': got 1.5"),
        (_record(image_id=None), "field 'image_id': got null"),
        (_record(image_id=1.5), "field 'image_id': 1.5 is not the id"),
        (_record(instance_id=10**20), "field 'instance_id': the number is too large"),
        (_record(distance=[]), "field 'distance': got a list"),
        (_record(segmentation={"size": [2, 2]}), "is not a run-length mask"),
        (_record(segmentation={"size": [2], "counts": [4]}), "is not a run-length mask"),
        (_record(segmentation={"size": [2, 2], "counts": [3]}), "add up to 3 pixels, not to 2 x 2"),
        (_record(segmentation={"size": [2, 2], "counts": [5, -1]}), "negative run"),
        (_record(segmentation={"size": [-2, -2], "counts": [4]}), "mask size"),
        (_record(segmentation={"size": [10**9, 10**9], "counts": [4]}), "mask size"),
        (_record(segmentation={"size": [2, 2], "counts": "\x01"}), "not a compressed run-length text"),
        (_record(segmentation={"size": [2, 2], "counts": "P"}), "end in the middle of a run"),
        (_record(segmentation={"size": [2, 2], "counts": "o" * 99}), "not a compressed run-length text"),
        (_record(segmentation={"size": [1, 1], "counts": [0, 1]}, energy=[1]), "mask cannot have energies"),
    ],
)
def test_bad_annotations(tmp_path, record, match):
    with pytest.raises(InputError, match=match):
        read_annotations(_coco(tmp_path, [record]))


@pytest.mark.parametrize(
    ("images", "match"),
    [
        ([{"id": 1, "frame_index": 0}, {"id": 1, "frame_index": 1}], "image 1: the id 1 appears twice"),
        ([{"id": 1, "frame_index": 0}, {"id": 2, "frame_index": 0}], "image 1: is frame 0, as is image 0"),
        ([{"id": 1}], "image 0: has no 'frame_index'"),
        ([{"id": 1, "file_name": "fold4_mix001.png"}], "image 0: has no 'frame_index'"),
        ([{"id": 1, "frame_index": -1}], "got -1"),
        ([{"id": 1, "frame_index": 0.5}], "expected a whole number"),
        ([{"id": 1, "frame_index": 0, "width": 0}], "field 'width': got 0"),
        ({}, "'images' is not valid COCO"),
        ([{"id": "a"}], "'images' is not valid COCO"),
    ],
)
def test_bad_images(tmp_path, images, match):
    with pytest.raises(InputError, match=match):
        read_annotations(_coco(tmp_path, [_record()], images=images))


@pytest.mark.parametrize("categories", [{"a": []}, [{"id": 1, "name": "Bell"}, {"id": 1}], [{"id": 0.5}], 3])
def test_bad_categories(tmp_path, categories):
    with pytest.raises(InputError, match="categor"):
        read_annotations(_coco(tmp_path, [_record()], categories=categories))


def test_a_few_bytes_of_masks_do_not_fill_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("sai_core.annotations.reading.MAX_POINTS", 500_000)
    full = {"size": [180, 360], "counts": [0, 64800]}
    path = _coco(tmp_path, [_record(segmentation=full)] * 200)
    with pytest.raises(InputError, match="more than 500000 points"):
        read_annotations(path)


def test_no_annotations(tmp_path):
    result = read_annotations_with_report(_coco(tmp_path, []))
    assert (result.kind, len(result.table)) == ("coco", 0)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40))
def test_hull_contains_every_point(points):
    xy = np.array(points, dtype=np.float64).reshape(-1, 2)
    before = xy.copy()
    hull = convex_hull(xy)
    corners = xy[hull]
    assert len(np.unique(corners, axis=0)) == len(hull)
    if len(hull) > 2:
        edges = np.roll(corners, -1, axis=0) - corners
        offsets = xy[:, None] - corners[None]
        assert np.all(edges[None, :, 0] * offsets[:, :, 1] - edges[None, :, 1] * offsets[:, :, 0] >= 0)
        assert hull_area(xy) > 0
    else:
        assert hull_area(xy) == 0
    np.testing.assert_array_equal(xy, before)


def test_area_of_a_square():
    xy = np.array([[0, 0], [2, 0], [2, 2], [0, 2], [1, 1], [1, 0]], dtype=float)
    assert hull_area(xy) == 4
    assert sorted(convex_hull(xy).tolist()) == [0, 1, 2, 3]


def test_writing_leaves_absent_values_out(tmp_path):
    write_coco_json(make_table([(1, 2, -1, float("nan"), float("nan"), [])]), tmp_path / "a.json.gz")
    table = read_annotations(tmp_path / "a.json.gz")
    assert (table.instance_id[0], len(table)) == (-1, 1)
    assert np.isnan([table.score[0], table.distance_cm[0]]).all()

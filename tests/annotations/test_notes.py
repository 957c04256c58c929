"""Names of classes that others use, and what readers leave out, convert or guess: all of it is told."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.annotations import cache, coco, read_annotations, recording_name, write_label_json
from sai_core.annotations.notes import FileNotes, Note, distance_note, notes_json, summarise_notes
from sai_core.cli import main
from sai_core.errors import InputError
from sai_core.taxonomy import _OTHER_NAMES, CLASS_NAMES, SHORT_NAMES, category_of
from tests.annotations.helpers import annotation, region_table, write_text

TASK_PAGE = (
    "Female speech, woman speaking",
    "Male speech, man speaking",
    "Clapping",
    "Telephone",
    "Laughter",
    "Domestic sounds",
    "Walk, footsteps",
    "Door, open or close",
    "Music",
    "Musical instrument",
    "Water tap, faucet",
    "Bell",
    "Knock",
)
GENERATORS = (
    "femaleSpeech",
    "maleSpeech",
    "clapping",
    "telephone",
    "laughter",
    "domesticSounds",
    "footsteps",
    "doorCupboard",
    "music",
    "musicInstrument",
    "waterTap",
    "bell",
    "knock",
)
EVERY_NAME = [
    (name, k) for names in (CLASS_NAMES, SHORT_NAMES, TASK_PAGE, GENERATORS) for k, name in enumerate(names)
] + [(name, k) for k, names in enumerate(_OTHER_NAMES) for name in names]


def _spelt(name: str, how: str) -> str:
    words = re.findall("[A-Z]?[a-z]+|[A-Z]+", name)
    return {
        "as it is": name,
        "lower": name.lower(),
        "upper": name.upper(),
        "underscores": "_".join(words).lower(),
        "hyphens": "-".join(words),
        "camel": "".join(word.capitalize() for word in words),
        "numbered": f"07 {name}",
        "spaces": f"  {name}  ",
        "plural": name if name.endswith("s") or not name[-1].isalpha() else f"{name}s",
    }[how]


@given(named=st.sampled_from(EVERY_NAME), how=st.sampled_from(["as it is", "lower", "upper", "underscores", "hyphens",
       "camel", "numbered", "spaces", "plural"]))  # fmt: skip
def test_every_name_of_the_field_is_known_however_it_is_spelt(named: tuple[str, int], how: str) -> None:
    assert category_of(_spelt(named[0], how)) == named[1]


@pytest.mark.parametrize("name", ["", "Speech", "Dog", "Tap", "Female singing", "class 3", "Vacuum cleaner", "7", "語"])
def test_other_names_are_none_of_the_13(name: str) -> None:
    assert category_of(name) is None


OFFICIAL = [{"id": k, "name": name} for k, name in enumerate(CLASS_NAMES)]


def _file(path: Path, ids: list[int], **extra: Any) -> Path:
    records = [annotation(metadata_frame_index=k, category_id=c) for k, c in enumerate(ids)]
    return write_text(path, json.dumps({**extra, "annotations": records}))


@given(
    order=st.permutations(range(13)),
    shift=st.sampled_from([0, 1, 7, 100]),
    names=st.sampled_from([CLASS_NAMES, TASK_PAGE, GENERATORS]),
    behind=st.booleans(),
    strict=st.booleans(),
    is_coco=st.booleans(),
)
def test_ids_go_by_the_names_of_categories(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    shift: int,
    names: tuple[str, ...],
    behind: bool,
    strict: bool,
    is_coco: bool,
) -> None:
    """Whatever the ids, in any order, before the annotations or behind them."""
    path = tmp_path_factory.mktemp("names") / "rec.json"
    categories = [{"id": shift + k, "name": names[category]} for k, category in enumerate(order)]
    if is_coco:
        images = [{"id": k, "frame_index": k} for k in range(13)]
        annotations: list[dict[str, Any]] = [
            {"image_id": k, "category_id": shift + k, "segmentation": [[1, 2, 3, 4, 5, 7]]} for k in range(13)
        ]
    else:
        images = []
        annotations = [annotation(metadata_frame_index=k, category_id=shift + k) for k in range(13)]
    document = {"categories": categories, "images": images, "annotations": annotations}
    keys = sorted(document, key=lambda key: (key != "annotations") == behind)
    path.write_text(json.dumps({key: document[key] for key in keys}))
    table = read_annotations(path, unknown_classes="error" if strict else "drop")
    assert table.category_id.tolist() == list(order)
    assert not table.notes


@pytest.mark.parametrize("unknown", ["Speech", "Vacuum cleaner", ""])
def test_what_is_none_of_the_13_is_counted_by_name_and_survives_the_cache(tmp_path: Path, unknown: str) -> None:
    categories = [{"id": 5, "name": "Bell"}, {"id": 6, "name": unknown}, {"id": 7, "name": "Dog"}]
    path = _file(tmp_path / "rec.json", [5, 6, 7, 6, 8] * 200, categories=categories)
    for _ in range(2):
        table = read_annotations(path, unknown_classes="drop")
        assert table.category_id.tolist() == [11] * 200
        assert table.notes.classes == (
            (f"'{unknown}' (id 6)", 400),
            *sorted([("'Dog' (id 7)", 200), ("8", 200)]),
        )
        assert table.notes.n_left_out == 800
        assert table.take([0, 3]).notes == table.notes
    with pytest.raises(InputError, match=rf"annotation 1, field 'category_id': '{unknown}' \(id 6\) is none of the 13"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        (["Female speech", "Male speech"], [0, 1]),
        ({"0": "bell", "1": "knock"}, [11, 12]),
        ({"bell": 1, "knock": 0}, [12, 11]),
    ],
)
def test_other_forms_of_categories(tmp_path: Path, categories: Any, expected: list[int]) -> None:
    assert read_annotations(_file(tmp_path / "a.json", [0, 1], categories=categories)).category_id.tolist() == expected


def test_guesses_about_ids_are_told(tmp_path: Path) -> None:
    table = read_annotations(_file(tmp_path / "a.json", [1, 13, 13]), unknown_classes="drop")
    assert table.notes.classes == (("13", 2),)
    assert [note.code for note in table.notes.notes] == ["ids_from_one"]
    assert not read_annotations(_file(tmp_path / "a.json", [0, 13]), unknown_classes="drop").notes.notes
    foreign = [{"id": k, "name": f"Klasse {k}"} for k in range(3)]
    table = read_annotations(_file(tmp_path / "a.json", [0, 1], categories=foreign))
    assert table.category_id.tolist() == [0, 1]
    assert [note.code for note in table.notes.notes] == ["categories_foreign"]
    # a whole list in the official order with one name that nobody knows: by its place, for what it is worth
    odd = [{"id": k + 1, "name": "Geräusche im Haus" if k == 5 else name} for k, name in enumerate(TASK_PAGE)]
    table = read_annotations(_file(tmp_path / "a.json", [6, 13], categories=odd))
    assert table.category_id.tolist() == [5, 12]
    assert "'Geräusche im Haus' as Domestic sounds" in table.notes.sentences()[0]
    table = read_annotations(_file(tmp_path / "a.json", [0], categories=3))
    assert [note.code for note in table.notes.notes] == ["categories_unread"]
    # 13 names that nobody knows, counted as COCO does
    numbers = [{"id": k + 1, "name": f"class {k}"} for k in range(13)]
    table = read_annotations(_file(tmp_path / "a.json", [1, 13], categories=numbers))
    assert table.category_id.tolist() == [0, 12]
    assert "ids count from 1" in table.notes.sentences()[0]
    twice = [{"id": 1, "name": "Bell"}, {"id": 2, "name": "Bell (church)"}, {"id": 3, "name": "Knock"}]
    table = read_annotations(_file(tmp_path / "a.json", [1, 2, 3], categories=twice))
    assert table.category_id.tolist() == [11, 11, 12]
    assert "'Bell' (id 1) and 'Bell (church)' (id 2) as Bell." in table.notes.sentences()[0]
    record = {"image_id": 0, "category_id": 1, "segmentation": [[1, 2, 3, 4, 5, 7]]}
    document = {"images": [{"id": 0, "frame_index": 0}], "annotations": [record]}
    table = read_annotations(write_text(tmp_path / "a.json", json.dumps(document)))
    assert [note.code for note in table.notes.notes] == ["categories_missing"]


def test_categories_behind_annotations_count_where_nothing_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [annotation(metadata_frame_index=k, category_id=1 + k % 13) for k in range(3000)]
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(CLASS_NAMES)]
    path = write_text(tmp_path / "a.json", json.dumps({"annotations": records, "categories": categories}))
    expected = [k % 13 for k in range(3000)]
    assert read_annotations(path, use_cache=False).category_id.tolist() == expected
    monkeypatch.setattr(cache, "MIN_BYTES", 0)
    monkeypatch.setattr("sai_core.annotations.cache.store", lambda *args: None)
    assert read_annotations(path).category_id.tolist() == expected


@pytest.mark.parametrize("ids", [(1, 2), ("rec1", "rec2"), (0, None, 1)])
def test_two_recordings_in_one_file_are_refused(tmp_path: Path, ids: tuple[Any, ...]) -> None:
    records = [annotation(metadata_frame_index=k, video_id=v) for k, v in enumerate(ids)]
    path = write_text(tmp_path / "a.json", json.dumps({"annotations": records}))
    with pytest.raises(InputError, match=r"holds several recordings \('video_id' is"):
        read_annotations(path)
    images = [{"id": k, "frame_index": k, "video_id": v} for k, v in enumerate(ids)]
    record = {"image_id": 0, "category_id": 0, "segmentation": [[1, 2, 3, 4, 5, 7]]}
    path = write_text(tmp_path / "a.json", json.dumps({"images": images, "annotations": [record]}))
    with pytest.raises(InputError, match="holds several recordings"):
        read_annotations(path)
    same = [annotation(metadata_frame_index=k, video_id=None if k else 3) for k in range(3)]
    assert len(read_annotations(write_text(tmp_path / "a.json", json.dumps({"annotations": same})))) == 3


def _images(tmp_path: Path, names: list[str], **extra: Any) -> Path:
    images = [{"id": k, "file_name": name, **extra} for k, name in enumerate(names)]
    records = [{"image_id": k, "category_id": 0, "segmentation": [[1, 2, 3, 4, 5, 7]]} for k in range(len(names))]
    document = {"categories": OFFICIAL, "images": images, "annotations": records}
    return write_text(tmp_path / "a.json", json.dumps(document))


@pytest.mark.parametrize(
    "form",
    ["{:012d}.jpg", "frame{:06d}.png", "rec_{:04d}.png", "a/b/img{}.jpeg", "{}.png", "frame-{:d}.PNG", "F{:03d}.jpg"],
)
def test_frame_numbers_of_image_names(tmp_path: Path, form: str) -> None:
    table = read_annotations(_images(tmp_path, [form.format(k) for k in (42, 66, 0)]))
    assert table.frame.tolist() == [0, 42, 66]
    assert not table.notes
    counted = read_annotations(_images(tmp_path, [form.format(k) for k in (1, 2, 3)]))
    assert [note.code for note in counted.notes.notes] == ["frames_from_one"]


def test_images_of_two_recordings_are_refused(tmp_path: Path) -> None:
    for names in (["rec1_0001.png", "rec2_0002.png"], ["rec1/0001.png", "rec2/0002.png"]):
        with pytest.raises(InputError, match="images 0 and 1 belong to different series of frames"):
            read_annotations(_images(tmp_path, names))
    for name in ("fold4_room23_mix001.png", "mix001.png", "take2.png", "still.png"):
        with pytest.raises(InputError, match="does not end in a frame number"):
            read_annotations(_images(tmp_path, [name]))


def test_boxes_alone_are_rectangles_and_counted(tmp_path: Path) -> None:
    images = [{"id": 1, "frame_index": 0, "width": 720, "height": 360}]
    records = [
        {"image_id": 1, "category_id": 0, "bbox": [20, 40, 60, 80]},
        {"image_id": 1, "category_id": 1, "bbox": [20, 40, 60, 80], "segmentation": []},
        {"image_id": 1, "category_id": 2, "bbox": [20, 40, 60, 80], "segmentation": [[2, 4, 6, 8, 10, 14]]},
        {"image_id": 1, "category_id": 3, "bbox": [0, 0, 0, 0], "segmentation": []},
    ]
    document = {"categories": OFFICIAL, "images": images, "annotations": records}
    table = read_annotations(write_text(tmp_path / "a.json", json.dumps(document)))
    assert [len(table.points(k)[0]) for k in range(4)] == [4, 4, 3, 0]
    assert table.points(0)[0].tolist() == [[10, 20], [40, 20], [40, 60], [10, 60]]
    assert table.notes.sentences() == (
        "2 annotations have a box and no segmentation: the box's rectangle is taken, with energy 1.",
    )


@pytest.mark.parametrize("packed", [False, True])
def test_masks_unpack_in_proportion_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    import gzip

    monkeypatch.setattr(coco, "FREE_MASK_POINTS", 100_000)
    images = [{"id": 1, "frame_index": 0}]
    full = {"image_id": 1, "category_id": 0, "segmentation": {"size": [180, 360], "counts": [0, 64800]}}
    small = {"image_id": 1, "category_id": 0, "segmentation": {"size": [180, 360], "counts": [0, 1000, 63800]}}

    def write(record: dict[str, Any], n: int) -> Path:
        text = json.dumps({"images": images, "annotations": [record] * n}).encode()
        return write_text(tmp_path / "a.json", gzip.compress(text) if packed else text)

    with pytest.raises(InputError, match=r"annotation \d+, field 'segmentation': the masks up to here unpack to more"):
        read_annotations(write(full, 100), use_cache=False)
    assert len(read_annotations(write(full, 1), use_cache=False)) == 1
    if not packed:
        assert read_annotations(write(small, 2000), use_cache=False).n_points == 2_000_000


def test_a_large_mask_is_never_unpacked_at_its_own_size() -> None:
    # 8192 x 8192: its own size would take 67 MB, and 30 ms, for each annotation
    mask = coco.mask_on_canvas([0, 8192 * 4096, 8192 * 4096], size_hw=(8192, 8192))
    assert mask[:, :180].all()
    assert not mask[:, 180:].any()


def test_distances_that_look_like_metres_are_noticed(tmp_path: Path) -> None:
    def read(*distances: float | None) -> FileNotes:
        records = [annotation(metadata_frame_index=k, distance=d) for k, d in enumerate(distances)]
        return read_annotations(write_text(tmp_path / "a.json", json.dumps({"annotations": records}))).notes

    assert [n.code for n in read(1.5, 2.9, None).notes] == ["distances_small"]
    assert "all 2 distances lie below 20 cm (1.5 to 2.9)" in read(1.5, 2.9).sentences()[0]
    for usual in ((1.5, 120.0), (None,), (0.0, None), (20.0,)):
        assert not read(*usual)


def test_many_files_are_told_in_few_sentences() -> None:
    one = FileNotes((("13", 2),), (Note("a", "a is odd."),))
    other = FileNotes((("13", 1), ("'Dog' (id 3)", 5)), (Note("a", "a is odder."), Note("b", "b.")))
    assert summarise_notes([("r1", one), ("r2", FileNotes()), ("r3", other)], what="labels") == (
        "labels: 8 annotations were left out, of classes that are none of the 13 ('Dog' (id 3): 5, id 13: 3), in r1 "
        "and 1 more recording.",
        "labels: r1 and 1 more recording: a is odd.",
        "labels: r3: b.",
    )
    assert notes_json([("r1", one), ("r3", other)]) == {"annotations": 8, "classes": {"'Dog' (id 3)": 5, "13": 3}}
    assert summarise_notes([("r1", FileNotes())]) == ()
    assert distance_note(np.array([np.nan, 0.0])) is None


def test_evaluate_says_what_was_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_label_json(region_table(0, 3, n_points=30), tmp_path / "labels" / "rec_std.json")
    document = json.loads((tmp_path / "labels" / "rec_std.json").read_bytes())
    for record in document["annotations"]:
        record |= {"score": 0.5}
    document["annotations"].append(document["annotations"][0] | {"category_id": 13})
    write_text(tmp_path / "rec.json", json.dumps(document))
    (tmp_path / "predictions").mkdir()
    (tmp_path / "rec.json").rename(tmp_path / "predictions" / "rec.json")
    arguments = ["evaluate", "--labels", str(tmp_path / "labels"), "--predictions", str(tmp_path / "predictions")]
    assert main([*arguments, "--json", str(tmp_path / "out.json")]) == 0
    assert "warning: predictions: 1 annotation was left out, of classes that are none" in capsys.readouterr().err
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["left_out"]["predictions"] == {"annotations": 1, "classes": {"13": 1}}
    assert any("1 annotation was left out" in warning for warning in figures["warnings"])


def test_composed_and_decomposed_names_are_one() -> None:
    for form in ("NFC", "NFD"):
        assert recording_name(unicodedata.normalize(form, "prüfung_std.json")) == unicodedata.normalize(
            "NFC", "prüfung"
        )

"""Best, median and worst frames."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import pytest

from sai_core.dataset import DataRoot, open_data_root
from sai_core.errors import CancelledError, InputError
from sai_core.figures.gallery import KINDS, choose_examples, make_gallery, scorable, score_set, set_note
from sai_core.figures.paper.style import PaperStyle
from tests.figures.scenes import write_root

SMALL = PaperStyle(width_mm=120, dpi=80)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    folder = tmp_path_factory.mktemp("gallery") / "root"
    write_root(folder, systems=("first",))
    write_root(folder, recording="fold4_room24_mix001", seed=5, video_size=None, audio=False, systems=("first",))
    return open_data_root(folder)


def test_examples_are_the_extremes_and_the_middle(root: DataRoot) -> None:
    system = root.prediction_set("first")
    scores = score_set(scorable(root.recordings, system), system)
    by_class = {one.category_id: one for one in choose_examples(scores)}
    ious: dict[int, list[float]] = {}
    for one in scores:
        for category, prediction in zip(one.pair_category.tolist(), one.pair_prediction.tolist(), strict=True):
            value = float(one.detection_iou[one.detection_index == prediction][0])
            if value > 0:
                ious.setdefault(category, []).append(value)
    for category in (0, 1, 8):
        ranked = sorted(ious[category], reverse=True)
        chosen = by_class[category]
        assert chosen.n_overlapping == len(ranked)
        assert [e.kind for e in chosen.examples] == list(KINDS)
        expected = [ranked[0], ranked[len(ranked) // 2], ranked[-1]]
        assert [e.soft_iou for e in chosen.examples] == pytest.approx(expected, abs=1e-12)


def test_one_document_of_all_classes(root: DataRoot) -> None:
    system = root.prediction_set("first")
    data = make_gallery(root.recordings, system, "pdf", style=SMALL, categories=[0, 8])
    assert data == make_gallery(root.recordings, system, "pdf", style=SMALL, categories=[0, 8])
    assert len(re.findall(rb"/Type /Page\b", data)) == 2
    assert b"/FontFile2" in data


def test_one_file_a_class_in_a_zip(root: DataRoot) -> None:
    system = root.prediction_set("first")
    data = make_gallery(root.recordings, system, "zip-png", style=SMALL, categories=[1], kinds=["worst"])
    assert data == make_gallery(root.recordings, system, "zip-png", style=SMALL, categories=[1], kinds=["worst"])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["01_male_speech.png"]
        assert archive.read("01_male_speech.png").startswith(b"\x89PNG")


def test_nothing_to_show_is_one_sentence(root: DataRoot) -> None:
    system = root.prediction_set("first")
    with pytest.raises(InputError, match="no prediction overlaps"):
        make_gallery(root.recordings, system, "pdf", style=SMALL, categories=[12])
    with pytest.raises(InputError, match="no chosen recording"):
        make_gallery([], system, "pdf", style=SMALL)
    with pytest.raises(InputError, match="at least one"):
        make_gallery(root.recordings, system, "pdf", style=SMALL, kinds=[])


def test_it_can_be_cancelled(root: DataRoot) -> None:
    def stop(fraction: float, message: str) -> None:
        if fraction >= 0.6:
            raise CancelledError("enough")

    with pytest.raises(CancelledError):
        make_gallery(root.recordings, root.prediction_set("first"), "pdf", style=SMALL, progress=stop)


def test_the_note_counts_recordings(root: DataRoot) -> None:
    note = set_note(root.recordings, [root.prediction_set("first")])
    assert note == "2 recordings of dev-test-sony · metric of 2026-06-30"


def test_inputs_are_only_read(root: DataRoot) -> None:
    def stamps() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in sorted(root.path.rglob("*"))}

    before = stamps()
    make_gallery(root.recordings, root.prediction_set("first"), "zip-svg", style=SMALL, categories=[0], kinds=["best"])
    assert stamps() == before

"""Finding a data root without typing it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.dataset.browse import allowed_folders, better_roots, check_allowed, kind_of, list_folder
from sai_core.errors import InputError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two roots, one of them deeper, predictions, other things and a hidden folder."""
    (tmp_path / "STARSS23" / "mic_dev" / "dev-test-tau").mkdir(parents=True)
    (tmp_path / "unpacked" / "sim" / "labels_dev").mkdir(parents=True)
    (tmp_path / "out" / "baseline").mkdir(parents=True)
    (tmp_path / "out" / "baseline" / "fold4_room23_mix001.json").write_text("{}")
    (tmp_path / "predictions" / "x").mkdir(parents=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / ".hidden").mkdir()
    return tmp_path


def test_a_folder_is_listed_with_what_its_folders_hold(tree: Path) -> None:
    listing = list_folder(tree)
    kinds = {folder.path.name: folder.kind for folder in listing.folders}
    assert kinds == {"STARSS23": "data", "out": "", "photos": "", "predictions": "predictions", "unpacked": ""}
    assert listing.parent == tree.parent
    assert listing.n_more == 0
    assert kind_of(tree / "out" / "baseline") == "predictions"
    assert list_folder("/").parent is None


def test_too_many_folders_are_counted(tmp_path: Path) -> None:
    for number in range(403):
        (tmp_path / f"{number:03d}").mkdir()
    listing = list_folder(tmp_path)
    assert (len(listing.folders), listing.n_more) == (400, 3)


def test_what_is_no_folder_is_one_sentence(tree: Path) -> None:
    file = tree / "out" / "baseline" / "fold4_room23_mix001.json"
    for path in (tree / "gone", file, "a\0b"):
        with pytest.raises(InputError):
            list_folder(path)


@pytest.mark.parametrize(
    ("given_path", "offered"),
    [
        ("STARSS23/mic_dev/dev-test-tau", ["STARSS23"]),
        ("STARSS23/mic_dev", ["STARSS23"]),
        ("STARSS23/mic_dev/dev-test-tau/gone.wav", ["STARSS23"]),
        ("STARSS23/gone/deeper", ["STARSS23"]),
        ("unpacked", ["unpacked/sim"]),
        (".", ["STARSS23", "unpacked/sim"]),
        ("photos", []),
        ("STARSS23", []),
    ],
)
def test_the_right_folder_is_offered(tree: Path, given_path: str, offered: list[str]) -> None:
    found = better_roots(tree / given_path)
    assert [str(path.relative_to(tree)) for path in found] == offered


def test_the_allowed_folders_hold_for_links_and_detours(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAI_FOLDERS", f"{tree / 'STARSS23'}{os.pathsep}{tree / 'out'}")
    assert len(allowed_folders()) == 2
    assert check_allowed(tree / "STARSS23" / "mic_dev") == tree / "STARSS23" / "mic_dev"
    (tree / "STARSS23" / "away").symlink_to(tree / "photos")
    for outside in (tree / "photos", tree / "STARSS23" / ".." / "photos", tree / "STARSS23" / "away", tree, "/"):
        with pytest.raises(InputError, match="SAI_FOLDERS"):
            check_allowed(outside)
    assert check_allowed(tree / "photos", always=[tree / "photos"]) == tree / "photos"
    assert list_folder(tree / "STARSS23").parent is None
    assert better_roots(tree / "unpacked") == ()
    monkeypatch.setenv("SAI_FOLDERS", "relative")
    with pytest.raises(InputError, match="absolute"):
        allowed_folders()


@given(st.text(max_size=60))
def test_any_text_is_a_path_or_one_sentence(text: str) -> None:
    for ask in (better_roots, list_folder, check_allowed):
        with suppress(InputError):
            ask(text)

"""Notes and tags of a run: what is written is read again, and nothing of anybody else is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.errors import InputError
from sai_core.runs import launch, watch
from sai_core.runs.notes import MAX_NOTE, MAX_TAGS, NOTES_NAME, RunNotes, notes_from, write_notes


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    return tmp_path / "run"


def test_a_note_and_tags_are_the_runs(run: Path) -> None:
    write_notes(run, "  with the corrected labels ", ["paper", " paper ", "", "two  words"])
    seen = watch.look(run)
    assert (seen.note, seen.tags) == ("with the corrected labels", ("paper", "two words"))
    write_notes(run, "", [])
    assert watch.look(run).tags == ()
    assert launch.delete(run) == ()
    assert not run.exists()


@pytest.mark.parametrize("content", ["", "[1]", '{"note": 1, "tags": "x"}', '{"tags": [1, "good", {}]}', "\x00"])
def test_what_is_not_ours_is_read_as_far_as_it_goes_and_never_replaced(run: Path, content: str) -> None:
    (run / NOTES_NAME).write_text(content)
    assert watch.look(run).tags in ((), ("good",))
    if content != '{"note": 1, "tags": "x"}':
        with pytest.raises(InputError, match=r"notes\.json: was not written by this program"):
            write_notes(run, "mine", [])
        assert (run / NOTES_NAME).read_text() == content


def test_too_much_is_a_sentence(run: Path) -> None:
    with pytest.raises(InputError, match=f"at most {MAX_NOTE} characters"):
        write_notes(run, "x" * (MAX_NOTE + 1), [])
    with pytest.raises(InputError, match=f"at most {MAX_TAGS} tags"):
        write_notes(run, "", [f"t{k}" for k in range(MAX_TAGS + 1)])
    assert not (run / NOTES_NAME).exists()


@given(st.dictionaries(st.sampled_from(["note", "tags"]), st.recursive(st.none() | st.text(), st.lists)))
def test_any_object_gives_notes(raw: dict) -> None:
    found = notes_from(raw)
    assert isinstance(found, RunNotes)
    assert all(tag and tag == " ".join(tag.split()) for tag in found.tags)

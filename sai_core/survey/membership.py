"""Which recording is in which of the user's tags and saved views, for figures of parts of a set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl

from sai_core.dataset import DataRoot
from sai_core.errors import InputError
from sai_core.survey.query import Mask, apply, parse
from sai_core.survey.table import SetTable
from sai_core.workspace.marks import VIEW_FILTER, Marks


def splits_of(root: DataRoot, labels: Mapping[str, Path]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Split of recordings that are known by name and label file alone.

    Parameters
    ----------
    root : DataRoot
    labels : mapping of str to Path
        Label file by recording name.

    Returns
    -------
    splits : dict of str to str
        Without the recordings that are not the root's, and those that may be several of its.
    notes : tuple of str
        How many were left out.
    """
    found: dict[str, str] = {}
    for name, path in labels.items():
        same = [r for r in root.recordings if r.name == name]
        if len(same) > 1:
            at = os.path.realpath(path)
            same = [r for r in same if r.label_path is not None and os.path.realpath(r.label_path) == at] or [
                r for r in same if r.split == path.parent.name
            ]
        if len(same) == 1:
            found[name] = same[0].split
    left = len(labels) - len(found)
    note = (
        f"{left} of {len(labels)} recordings are not (or not clearly) of {root.path}: they are in no tag and no view."
    )
    return found, ((note,) if left else ())


def groups_of_recordings(
    marks: Marks, splits: Mapping[str, str], table: SetTable | None
) -> tuple[dict[str, dict[str, tuple[str, ...]]], tuple[str, ...]]:
    """Tags and saved views that recordings are in.

    Parameters
    ----------
    marks : Marks
    splits : mapping of str to str
        Split of each recording that is asked about, by name.
    table : SetTable or None
        What is known of the set; everything that views ask for must be. None: only tags.

    Returns
    -------
    groups : dict of str to dict
        By recording name, ``"tag"`` and ``"view"``.
    notes : tuple of str
        Views that were left out, and why.
    """
    # tags that differ in capitals alone are one, as in a filter
    spelled = {tag.casefold(): tag for tag in reversed(marks.tags)}
    keys = {name: f"{split}/{name}" if split else name for name, split in splits.items()}
    groups: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, key in keys.items():
        mark = marks.recordings.get(key)
        tags = {spelled[tag.casefold()] for tag in mark.tags} if mark is not None else set()
        groups[name] = {"tag": tuple(sorted(tags, key=str.casefold))}
    if table is None:
        return groups, ()
    notes = []
    row_of = {key: row for row, key in enumerate(table.keys)}
    matching: dict[str, Mask] = {}
    scores = {"score", *map(str.casefold, (*table.systems, *table.unchosen))}
    for view, address in sorted(marks.views.items()):
        try:
            conditions = parse(dict(parse_qsl(address)).get(VIEW_FILTER, ""))
            if any(c.column and c.column.casefold() in scores and not table.kind_of(c.column) for c in conditions):
                notes.append(f"Saved view {view}: filters by a system's score, which is no slice; it is left out.")
                continue
            matching[view] = apply(table, conditions)
        except InputError as error:
            notes.append(f"Saved view {view} is left out: {error}")
            continue
        if not any(key in row_of and matching[view][row_of[key]] for key in keys.values()):
            notes.append(f"Saved view {view}: none of the recordings here matches it.")
    for name, key in keys.items():
        row = row_of.get(key)
        groups[name]["view"] = tuple(view for view, mask in matching.items() if row is not None and mask[row])
    return groups, tuple(notes)

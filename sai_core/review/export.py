"""What a review leads to: corrected label files, a list of differences, statistics, and scores held side by side.

``keep_label_set`` keeps corrected labels in the workspace, ``export_review`` writes a folder anywhere:

* ``labels_dev/<split>/<file name of the original>``: every recording. A file without a change is copied byte for byte;
  a changed one is written anew in the official format.
* ``diff.csv`` and ``diff.md``: every annotation that differs, and every decision behind it.
* ``statistics.json``, ``review.jsonl`` (the log itself, which others can import; without items with known answers).
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from sai_core.annotations import AnnotationTable, read_annotations, write_label_json
from sai_core.dataset import DataRoot, PredictionSet, Recording
from sai_core.dataset.outputs import check_layout_output
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import atomic_write, confine, resolved, user_path
from sai_core.geometry import great_circle_deg
from sai_core.metrics import Evaluation, Revision, evaluate
from sai_core.metrics.official.directions import region_peak_direction
from sai_core.progress import Progress, no_progress, part_of
from sai_core.review.deciding import corrected
from sai_core.review.edits import AppliedEdits, annotation_keys
from sai_core.review.entries import NOTES
from sai_core.review.history import History, Policy, agreement
from sai_core.review.queue import Item, left_out
from sai_core.review.store import write_review_file
from sai_core.taxonomy import class_name
from sai_core.workspace import SetFacts, StoredSet, workspace

DIFF_COLUMNS: Final[tuple[str, ...]] = (
    "split",
    "recording",
    "frame",
    "annotation",
    "change",
    "class_before",
    "class_after",
    "instance_before",
    "instance_after",
    "distance_cm_before",
    "distance_cm_after",
    "points_before",
    "points_after",
    "peak_moved_deg",
)


@dataclass(frozen=True)
class Difference:
    """One annotation that differs.

    Attributes
    ----------
    split, recording : str
    frame : int
    annotation : str
        Its key (:mod:`sai_core.review.edits`).
    change : str
        ``added``, ``removed``, or what differs: ``class``, ``instance``, ``distance``, ``region``, joined by ``+``.
    before, after : dict or None
        ``class`` (number), ``instance``, ``distance_cm``, ``points``, ``peak_deg``.
    """

    split: str
    recording: str
    frame: int
    annotation: str
    change: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes
    ----------
    folder : Path
    n_recordings, n_changed : int
        Label files, and those with a difference.
    n_differences : int
        Annotations that differ.
    n_skipped : int
        Targets of decisions that the label files do not have (they were replaced since).
    unread : tuple of str
        Why a label file could not be read, one sentence each; such recordings are not in the folder.
    n_not_applied : int
        Decisions about them.
    """

    folder: Path
    n_recordings: int
    n_changed: int
    n_differences: int
    n_skipped: int
    unread: tuple[str, ...] = ()
    n_not_applied: int = 0

    def remarks(self) -> list[str]:
        """What was left out, one sentence each."""
        found = []
        if self.n_skipped:
            found.append(f"{self.n_skipped} changes concerned labels that the files no longer have; they were skipped.")
        if self.unread:
            found.append(left_out(len(self.unread), "export"))
            if self.n_not_applied:
                n = self.n_not_applied
                found.append(
                    f"{n} decision{' on it is' if n == 1 else 's on what is left out are'} kept in the review file and "
                    "not applied."
                )
            found += self.unread
        return found


def corrected_labels(
    recording: Recording, history: History, *, policy: Policy = "latest", reviewer: str | None = None
) -> tuple[AnnotationTable, AppliedEdits]:
    """Original and corrected labels of a recording; a recording without a label file begins empty.

    Raises
    ------
    InputError
        The label file cannot be read.
    """
    original = _original(recording)
    return original, corrected(original, history, split=recording.split, policy=policy, reviewer=reviewer)


def _original(recording: Recording) -> AnnotationTable:
    if recording.label_path is None:
        return AnnotationTable.empty(recording.name)
    return read_annotations(recording.label_path, recording=recording.name)


def differences(split: str, original: AnnotationTable, result: AppliedEdits) -> list[Difference]:
    """Every annotation that differs, by frame."""
    if result.table is original:
        return []
    keys = annotation_keys(original)
    before, after = _facts(original, keys), _facts(result.table, result.keys)
    found = []
    for key in dict.fromkeys([*keys, *result.keys]):
        old, new = before.get(key), after.get(key)
        if old is None or new is None:
            words = ["added" if old is None else "removed"]
        else:
            words = [name for name in ("class", "instance") if old[name] != new[name]]
            if not same_number(old["distance_cm"], new["distance_cm"]):
                words.append("distance")
            if not same_region(original, old["row"], result.table, new["row"]):
                words.append("region")
        if words:
            frame = (old or new or {})["frame"]
            found.append(Difference(split, original.recording, frame, key, "+".join(words), old, new))
    return sorted(found, key=lambda d: d.frame)


def _facts(table: AnnotationTable, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    azimuth, elevation = region_peak_direction(table)
    starts = table.point_offsets[table.polygon_offsets]
    columns = zip(
        keys,
        table.frame.tolist(),
        table.category_id.tolist(),
        table.instance_id.tolist(),
        table.distance_cm.tolist(),
        np.diff(starts).tolist(),
        azimuth.tolist(),
        elevation.tolist(),
        strict=True,
    )
    return {
        key: {
            "row": row,
            "frame": frame,
            "class": category,
            "instance": instance,
            "distance_cm": distance,
            "points": points,
            "peak_deg": (az, el),
        }
        for row, (key, frame, category, instance, distance, points, az, el) in enumerate(columns)
    }


def same_number(a: float, b: float) -> bool:
    """Whether two numbers are the same; two that are missing (NaN) are."""
    return a == b or (math.isnan(a) and math.isnan(b))


def same_region(a: AnnotationTable, row_a: int, b: AnnotationTable, row_b: int) -> bool:
    """Whether two annotations have the same points with the same energies in the same order."""
    points_a, points_b = a.polygons(row_a), b.polygons(row_b)
    return len(points_a) == len(points_b) and all(
        np.array_equal(p, q) and np.array_equal(e, f) for (p, e), (q, f) in zip(points_a, points_b, strict=True)
    )


def diff_csv(found: Iterable[Difference]) -> str:
    """Differences as CSV with a header; fields that begin like a spreadsheet formula get a quote in front."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(DIFF_COLUMNS)
    for d in found:
        old, new = d.before or {}, d.after or {}
        cells: list[Any] = [d.split, d.recording, d.frame, d.annotation, d.change]
        for name in ("class", "instance", "distance_cm", "points"):
            cells += [_cell(old.get(name)), _cell(new.get(name))]
        cells.append(_moved(d))
        writer.writerow([_safe(cell) for cell in cells])
    return stream.getvalue()


def items_csv(items: Iterable[Item]) -> str:
    """Items of a queue as CSV with a header."""
    names = ("id", "score", "kind", "split", "recording", "category_id", "start", "end", "frame", "reason", "proposal")
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*names, "systems"])
    for item in items:
        cells = [_cell(getattr(item, name)) for name in names]
        writer.writerow([_safe(cell) for cell in (*cells, " ".join(item.systems))])
    return stream.getvalue()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return round(value, 3) if isinstance(value, float) else value


def _safe(cell: Any) -> Any:
    # a recording may be named "=cmd()": text that a spreadsheet would run
    return "'" + cell if isinstance(cell, str) and cell[:1] in "=+-@\t\r" else cell


def _moved(d: Difference) -> Any:
    if d.before is None or d.after is None or "region" not in d.change:
        return ""
    angle = float(great_circle_deg(*d.before["peak_deg"], *d.after["peak_deg"]))
    return "" if math.isnan(angle) else round(angle, 2)


def diff_markdown(
    found: Sequence[Difference], history: History, *, title: str = "Corrected labels", remarks: Sequence[str] = ()
) -> str:
    """Differences and the decisions behind them as Markdown; text from data cannot act as Markdown or HTML."""
    lines = [f"# {_text(title)}", ""]
    by_recording: dict[tuple[str, str], list[Difference]] = {}
    for d in found:
        by_recording.setdefault((d.split, d.recording), []).append(d)
    n = len(found)
    lines.append(f"{n} annotation{'' if n == 1 else 's'} of {len(by_recording)} recording(s) differ.")
    lines += [line for remark in remarks for line in ("", _text(remark))]
    for (split, recording), group in sorted(by_recording.items()):
        lines += ["", f"## {_text(f'{split}/{recording}' if split else recording)}", ""]
        lines += ["| frames | change | before | after |", "| --- | --- | --- | --- |"]
        for first, last, change, before, after in _ranges(group):
            frames = str(first) if first == last else f"{first}-{last}"
            lines.append(f"| {frames} | {_text(change)} | {_text(before)} | {_text(after)} |")
    decided = [e for e in history.standing if e.edits or e.comment]
    if decided:
        lines += ["", "## Decisions", "", "| time (UTC) | reviewer | recording | decision | comment |"]
        lines.append("| --- | --- | --- | --- | --- |")
        for e in decided:
            time = e.time_utc[:19].replace("T", " ")
            cells = [time, e.reviewer, e.recording, e.text, e.comment]
            lines.append("| " + " | ".join(_text(c) for c in cells) + " |")
    return "\n".join(lines) + "\n"


def _ranges(group: Sequence[Difference]) -> list[tuple[int, int, str, str, str]]:
    """Runs of frames with one change."""
    runs: list[tuple[int, int, str, str, str]] = []
    open_runs: dict[tuple[str, str, str], int] = {}
    for d in group:
        key = (d.change, _words(d.before), _words(d.after))
        k = open_runs.get(key)
        if k is not None and d.frame <= runs[k][1] + 1:
            runs[k] = (runs[k][0], d.frame, *key)
        else:
            open_runs[key] = len(runs)
            runs.append((d.frame, d.frame, *key))
    return sorted(runs, key=lambda run: run[:2])


def _words(facts: dict[str, Any] | None) -> str:
    if facts is None:
        return "-"
    distance = facts["distance_cm"]
    shown = "" if math.isnan(distance) else f", {distance:.0f} cm"
    return f"{class_name(facts['class'])} #{facts['instance']}{shown}"


def _text(value: str) -> str:
    """Text in which nothing is Markdown or HTML."""
    escaped = "".join("\\" + c if c in "\\`*_{}[]()#+!|~$" else c for c in " ".join(value.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def statistics(history: History, found: Sequence[Difference] = ()) -> dict[str, Any]:
    """Counts of the review as a JSON object.

    ``kappa`` and ``observed`` are null where they are undefined (:func:`sai_core.review.history.cohen_kappa`).
    """
    by_action: dict[str, Counter[str]] = {}
    by_kind: dict[str, Counter[str]] = {}
    for entry in history.standing:
        by_action.setdefault(entry.reviewer, Counter())[entry.action] += 1
    for state in history.items.values():
        for view in state.views:
            kind = str(view.decisions[0].before.get("item", {}).get("kind", "unknown"))
            by_kind.setdefault(kind, Counter())[view.decisions[-1].action] += 1
    return {
        "n_lines": len(history.about_labels()),
        "n_standing": len(history.standing),
        "items": dict(sorted(Counter(state.status for state in history.items.values()).items())),
        "by_reviewer": {name: dict(sorted(counts.items())) for name, counts in sorted(by_action.items())},
        "by_kind": {name: dict(sorted(counts.items())) for name, counts in sorted(by_kind.items())},
        "agreement": [
            {
                "reviewers": list(a.reviewers),
                "n_items": a.n_items,
                "observed": None if math.isnan(a.observed) else round(a.observed, 6),
                "kappa": None if math.isnan(a.kappa) else round(a.kappa, 6),
            }
            for a in agreement(history)
        ],
        "differences": dict(sorted(Counter(word for d in found for word in d.change.split("+")).items())),
        "recordings_changed": len({(d.split, d.recording) for d in found}),
    }


def export_review(
    root: DataRoot,
    history: History,
    folder: str | Path,
    *,
    policy: Policy = "latest",
    reviewer: str | None = None,
    replace_older: bool = False,
    progress: Progress = no_progress,
) -> ExportReport:
    """Write corrected labels of all recordings, differences, statistics and the log.

    Parameters
    ----------
    root : DataRoot
        Only read.
    history : History
    folder : path
        Outside the data root; made when it is not there.
    policy, reviewer : str
        Whose decisions count (:mod:`sai_core.review.history`).
    replace_older : bool
        Allow files of an older export to be replaced.
    progress : Progress

    Raises
    ------
    InputError
        The folder lies inside the data root or holds an older export.
    EnvironmentProblem
        Something cannot be written.
    """
    target = export_folder(root, folder)
    if not replace_older and (target / "review.jsonl").exists():
        raise InputError(f"{target}: holds an older export; choose another folder, or allow it to be replaced.")
    report, found = _write_labels(
        root, history, target, Path("labels_dev"), policy=policy, reviewer=reviewer, progress=progress
    )
    account = {
        **statistics(history, found),
        "left_out": list(report.unread),
        "decisions_left_out": report.n_not_applied,
    }
    facts = json.dumps(account, indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_write(target / "statistics.json", "w") as stream:
        stream.write(facts + "\n")
    _write_account(found, history, target, report)
    progress(1.0, f"{report.n_recordings} recordings")
    return report


def keep_label_set(
    root: DataRoot,
    history: History,
    name: str = "",
    *,
    policy: Policy = "latest",
    reviewer: str | None = None,
    progress: Progress = no_progress,
) -> tuple[StoredSet, ExportReport]:
    """Keep the corrected labels of all recordings as a label set of the workspace, with differences and log beside.

    Parameters
    ----------
    root : DataRoot
        Only read; with the labels that the decisions are about (:attr:`~sai_core.dataset.DataRoot.label_set`).
    history : History
    name : str
        Of the new set; a free one where it is empty.
    policy, reviewer : str
        Whose decisions count (:mod:`sai_core.review.history`).
    progress : Progress

    Returns
    -------
    stored : StoredSet
        What it was made from, and by whose decisions, is in its facts.
    report : ExportReport

    Raises
    ------
    InputError
        A name that is not allowed or is taken, or nothing to keep.
    EnvironmentProblem
        Something cannot be written.
    """
    place = workspace()
    labelled = [r for r in root.recordings if r.has_labels]
    facts = SetFacts(
        made_by="review",
        data=os.fspath(root.path),
        recordings=tuple(f"{r.split}/{r.name}" if r.split else r.name for r in labelled),
        base=root.label_set,
        options={"policy": policy, "reviewer": reviewer or "", "decisions": len(history.standing)},
    )
    name = name or place.free_name("labels", f"{root.label_set or root.path.name} corrected")
    stored = place.begin("labels", name, facts)
    try:
        with place.writing(stored) as folder:
            report, found = _write_labels(
                root, history, folder, Path(), policy=policy, reviewer=reviewer, progress=progress
            )
            if not report.n_recordings and report.unread:
                raise InputError(report.unread[0])
            if not report.n_recordings:
                raise InputError(f"{root.path}: has no labels, and no decision makes some; there is nothing to keep.")
            _write_account(found, history, folder, report)
    except BaseException:
        place.delete(place.trash(stored))
        raise
    progress(1.0, f"{report.n_recordings} recordings")
    return place.find("labels", stored.name), report


def _write_labels(
    root: DataRoot,
    history: History,
    target: Path,
    below: Path,
    *,
    policy: Policy,
    reviewer: str | None,
    progress: Progress,
) -> tuple[ExportReport, list[Difference]]:
    """Label files of all recordings, in ``below`` and their split: copies, or written anew where they differ."""
    found: list[Difference] = []
    unread: list[str] = []
    n_written = n_changed = n_skipped = n_not_applied = 0
    for number, recording in enumerate(root.recordings):
        progress(number / max(len(root.recordings), 1), recording.name)
        name = recording.label_path.name if recording.label_path is not None else f"{recording.name}_std.json"
        path = confine(target, below / recording.split / name)
        try:
            original = _original(recording)
        except InputError as error:
            older = f" The file of an older export stays: {path}." if path.exists() else ""
            unread.append(f"{error}{older}")
            place = (recording.split, recording.name)
            n_not_applied += sum((e.split, e.recording) == place and e.action not in NOTES for e in history.standing)
            continue
        result = corrected(original, history, split=recording.split, policy=policy, reviewer=reviewer)
        n_skipped += result.n_skipped
        changes = differences(recording.split, original, result)
        if recording.label_path is None and not changes:
            continue
        if changes or recording.label_path is None:
            write_label_json(result.table, path)
            n_changed += 1
        else:
            _copy(recording.label_path, path)
        n_written += 1
        found += changes
    counts = (n_written, n_changed, len(found), n_skipped, tuple(unread), n_not_applied)
    return ExportReport(target, *counts), found


def _write_account(found: list[Difference], history: History, target: Path, report: ExportReport) -> None:
    """Every difference, what was left out, and the log."""
    account = diff_markdown(found, history, remarks=report.remarks())
    for name, text in (("diff.csv", diff_csv(found)), ("diff.md", account)):
        with atomic_write(target / name, "w") as stream:
            stream.write(text)
    # last: a folder with it is a whole export
    write_review_file(history.about_labels(), target / "review.jsonl")


def export_folder(root: DataRoot, folder: str | Path) -> Path:
    """Folder of an export as an absolute path.

    Raises
    ------
    InputError
        No name, a file, or inside the data root, which stays as it is.
    """
    text = os.fspath(folder).strip()
    if not text or "\x00" in text:
        raise InputError("Give a folder for the corrected labels, outside the data root.")
    target = resolved(user_path(text, what="folder"))
    if target.is_relative_to(root.path):
        raise InputError(f"{target}: lies inside the data root {root.path}; choose a folder outside it.")
    return check_layout_output(target, made_with=["review.jsonl"])


def _copy(source: Path, target: Path) -> None:
    try:
        with open(source, "rb") as stream, atomic_write(target) as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
    except OSError as error:
        raise EnvironmentProblem(f"{source}: cannot be copied to {target} ({error.strerror or error}).") from error


@dataclass(frozen=True)
class RevisedScores:
    """Scores of one system against original and corrected labels.

    Attributes
    ----------
    system : str
    original, corrected : Evaluation
    n_unread : int
        Recordings left out, for their label files cannot be read.
    """

    system: str
    original: Evaluation
    corrected: Evaluation
    n_unread: int = 0

    def figures(self) -> list[tuple[str, float, float]]:
        """``(name, original, corrected)`` of the macro figures; NaN where undefined."""
        a, b = self.original.macro, self.corrected.macro
        names = ["mAP", *(f"AP{100 * t:.0f}" for t in self.original.thresholds), "Pearson r"]
        return list(zip(names, (a.mean_ap, *a.ap, a.pearson_r), (b.mean_ap, *b.ap, b.pearson_r), strict=True))


def revised_scores(
    root: DataRoot,
    systems: Sequence[PredictionSet],
    history: History,
    *,
    policy: Policy = "latest",
    reviewer: str | None = None,
    revision: Revision = "2026-06-30",
    progress: Progress = no_progress,
) -> list[RevisedScores]:
    """Official scores of systems against the original and the corrected labels, side by side.

    Raises
    ------
    InputError
        As :func:`sai_core.metrics.evaluate`.
    """
    before: dict[str, AnnotationTable | Path] = {}
    after: dict[str, AnnotationTable | Path] = {}
    n_unread = 0
    for recording in root.recordings:
        if recording.label_path is None:
            continue
        try:
            original = _original(recording)
        except InputError:
            n_unread += 1
            continue
        result = corrected(original, history, split=recording.split, policy=policy, reviewer=reviewer)
        before[recording.name] = recording.label_path
        # the very file where nothing is changed: its rendered maps are in the cache already
        after[recording.name] = recording.label_path if result.table is original else result.table
    rows = []
    for number, system in enumerate(systems):
        predictions: Mapping[str, Path] = {name: path for name, path in system.files.items() if name in before}
        if not predictions:
            continue
        part = part_of(progress, number / len(systems), (number + 1) / len(systems))

        def score(
            labels: Mapping[str, AnnotationTable | Path], share: Progress, files: Mapping[str, Path]
        ) -> Evaluation:
            return evaluate(labels, files, revision=revision, allow_large=True, progress=share)

        rows.append(
            RevisedScores(
                system.name,
                score(before, part_of(part, 0.0, 0.5), predictions),
                score(after, part_of(part, 0.5, 1.0), predictions),
                n_unread,
            )
        )
    if not rows:
        raise InputError("No system has predictions for a recording with labels; choose prediction sets first.")
    return rows

"""Home's view of the workspace: every set that was made here, what it was made from, and what can be done with it."""

from __future__ import annotations

import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd
import streamlit as st

from pages.components import address, background, data_bar, roles
from pages.components import state_keys as keys
from pages.components.text import plain
from sai_core import permissions
from sai_core.dataset import DataRoot
from sai_core.dataset.browse import check_allowed
from sai_core.errors import InputError, SaiError
from sai_core.files import user_path
from sai_core.interchange.convert import TARGETS, convert_files
from sai_core.jobs import Job, JobQueue
from sai_core.progress import Progress
from sai_core.workspace import StoredSet, Trashed, Workspace, fits, workspace
from sai_core.workspace.importing import Imported, import_set

_MADE_BY: Final[dict[str, str]] = {
    "predict": "Predict",
    "label": "Label audio",
    "review": "Review",
    "tune": "Tune",
    "import": "imported",
}


_AS_IT_IS: Final[str] = "set"


def show(root: DataRoot) -> None:
    """Draw the view."""
    here = workspace()
    if message := st.session_state.pop(keys.SETS_SAID, None):
        (st.success if message[0] else st.error)(plain(message[1]))
    _show_job()
    sets = [*here.sets("predictions"), *here.sets("labels")]
    if not sets:
        st.info(
            f"Nothing has been made yet. Predictions, labels, corrected labels, systems, runs and reviews are kept in "
            f"{plain(here.path)}, with what they were made from, and all pages find them by name."
        )
        with st.container(horizontal=True, gap="medium"):
            address.page_link("predict", "Predict", icon=":material/network_node:")
            address.page_link("label", "Label audio", icon=":material/graphic_eq:")
            _import(root, here)
        _trash(here)
        return
    left, right = st.columns([3, 2], gap="medium")
    with left:
        chosen = _table(root, sets)
    with right:
        if not chosen:
            st.caption("Choose a set in the table; two of a kind can be compared.")
            _import(root, here)
            _space(here)
        elif len(chosen) == 1:
            _one(root, here, chosen[0])
        else:
            _several(chosen)
    _trash(here)


def _table(root: DataRoot, sets: list[StoredSet]) -> list[StoredSet]:
    """The sets as a table; gives the chosen ones."""
    wanted = st.text_input(
        "Filter",
        key=keys.SETS_FILTER,
        placeholder="filter by name, network, system, data, note or tag",
        label_visibility="collapsed",
        icon=":material/search:",
    ).strip()
    shown = [s for s in sets if all(word in _words(s) for word in wanted.lower().split())]
    rows = [_row(root, stored) for stored in shown]
    event = st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height="content" if len(rows) <= 10 else 420,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"{keys.SETS_TABLE}_{st.session_state.get(keys.SETS_CHANGED, 0)}",
        placeholder="",
        column_config={
            "made": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
            "this data": st.column_config.CheckboxColumn(
                help="Made from the data root that is open: listed on all pages without being added."
            ),
        },
    )
    if not rows:
        st.caption("No set matches the filter.")
    return [shown[k] for k in event.selection.rows if k < len(shown)]


def _words(stored: StoredSet) -> str:
    facts = stored.facts
    words = (stored.kind, stored.name, facts.checkpoint, facts.system, facts.data, facts.note, facts.base, *facts.tags)
    return " ".join(words).lower()


def _row(root: DataRoot, stored: StoredSet) -> dict[str, Any]:
    facts = stored.facts
    source = " · ".join(part for part in (_network(facts.checkpoint), facts.system, facts.base) if part)
    return {
        "kind": stored.kind,
        "name": stored.name,
        "made by": _MADE_BY.get(facts.made_by, facts.made_by or "unknown"),
        "from": source,
        "recordings": stored.n_files,
        "this data": fits(stored, root),
        "made": datetime.fromtimestamp(facts.created or stored.changed),
        "tags": ", ".join(facts.tags),
        "note": facts.note,
    }


def _network(checkpoint: str) -> str:
    path = Path(checkpoint)
    return path.parent.name if path.stem in ("best", "last") else path.stem


def _one(root: DataRoot, here: Workspace, stored: StoredSet) -> None:
    """What a set was made from, its name, note and tags, and where it leads."""
    facts = stored.facts
    with st.container(border=True):
        st.markdown(f"**{plain(stored.name)}**  ·  {stored.kind}, {_recordings(stored.n_files)}")
        if stored.problem:
            st.warning(plain(stored.problem))
        for problem in stored.left_out[:3]:
            st.warning(plain(problem))
        _lead_on(root, stored)
        lines = [
            ("Data", facts.data),
            ("Checkpoint", facts.checkpoint),
            ("System", facts.system),
            ("Made from", facts.base),
            ("Options", ", ".join(f"{k} {v}" for k, v in facts.options.items())),
            ("Program", facts.program),
            ("Folder", str(stored.folder)),
            ("Size", _size(stored.size_bytes())),
        ]
        st.markdown("  \n".join(f":gray[{name}] {plain(value)}" for name, value in lines if value))
        key = f"{stored.kind}_{stored.name}"
        name = st.text_input("Name", value=stored.name, key=f"sets_name_{key}")
        note = st.text_input("Note", value=facts.note, key=f"sets_note_{key}", placeholder="what you want to remember")
        tags = st.text_input("Tags", value=", ".join(facts.tags), key=f"sets_tags_{key}", placeholder="paper, ablation")
        wanted = tuple(tag.strip() for tag in tags.split(",") if tag.strip())
        with st.container(horizontal=True, gap="small"):
            roles.button(
                "Save",
                key="sets_save",
                type="primary",
                disabled=(name, note, wanted) == (stored.name, facts.note, facts.tags),
                on_click=_change,
                args=(here, stored, name, note, wanted),
            )
            _export(root, here, stored)
            if stored.has_raw:
                with st.popover("Free space", icon=":material/cleaning_services:"):
                    st.write(
                        "Deletes the raw detections of this set. Tune and *What the network saw* need them; predicting "
                        "again makes them anew. The predictions themselves stay."
                    )
                    roles.button("Delete raw detections", key="sets_drop", on_click=_drop_raw, args=(here, stored))
            roles.button(
                "Move to trash", key="sets_trash", icon=":material/delete:", on_click=_to_trash, args=(here, stored)
            )


def _recordings(n: int) -> str:
    return f"{n} recording{'s' * (n != 1)}"


def _lead_on(root: DataRoot, stored: StoredSet) -> None:
    """Links to pages that show the set; one of other data opens that data."""
    query = {} if fits(stored, root) or not Path(stored.facts.data).is_dir() else {keys.ROOT: stored.facts.data}
    with st.container(horizontal=True, gap="medium"):
        if stored.kind == "labels":
            query = {**query, keys.LABELS: stored.name}
            address.page_link("explorer", "See these labels", icon=":material/visibility:", query=query)
            address.page_link("scores", "Score against them", icon=":material/leaderboard:", query=query)
            return
        if not fits(stored, root) and keys.ROOT not in query:
            query = {keys.PREDICTION_FOLDER: "\n".join((*data_bar.predictions_added(), stored.name))}
        moment = {**query, keys.SYSTEM_A: stored.name}
        address.page_link("explorer", "Explorer", icon=":material/visibility:", query=moment)
        scores = {**query, keys.SCORES_VIEW: "Classes", keys.SCORES_SYSTEM: stored.name}
        address.page_link("scores", "Scores", icon=":material/leaderboard:", query=scores)
        if stored.has_raw:
            tune = {**query, keys.TUNE_RAW: str(stored.raw_folder)}
            address.page_link("tune", "Tune", icon=":material/tune:", query=tune)


def _several(chosen: list[StoredSet]) -> None:
    with st.container(border=True):
        st.markdown(f"**{len(chosen)} sets**")
        kinds = {stored.kind for stored in chosen}
        if len(chosen) == 2 and kinds == {"predictions"}:
            query = {
                keys.SCORES_VIEW: "Compare",
                keys.SCORES_SYSTEM: chosen[0].name,
                keys.SCORES_OTHER: chosen[1].name,
            }
            address.page_link("scores", "Compare their scores", icon=":material/compare_arrows:", query=query)
            side = {keys.SYSTEM_A: chosen[0].name, keys.SYSTEM_B: chosen[1].name}
            address.page_link("explorer", "Side by side in the Explorer", icon=":material/visibility:", query=side)
        elif len(chosen) == 2 and kinds == {"labels"}:
            query = {keys.SCORES_VIEW: "Labels", keys.LABELS: chosen[0].name, keys.LABELS_OTHER: chosen[1].name}
            address.page_link("scores", "Compare these labels", icon=":material/compare_arrows:", query=query)
        else:
            st.caption("Two sets of predictions, or two of labels, can be compared.")
        here = workspace()
        roles.button(
            f"Move {len(chosen)} sets to trash", icon=":material/delete:", on_click=_to_trash, args=(here, *chosen)
        )


def _change(here: Workspace, stored: StoredSet, name: str, note: str, tags: tuple[str, ...]) -> None:
    def work() -> str:
        changed = here.change(stored, name=name if name != stored.name else None, note=note, tags=tags)
        return f"{changed.name}: saved."

    _do(work)


def _drop_raw(here: Workspace, stored: StoredSet) -> None:
    _do(lambda: f"{stored.name}: {_size(here.drop_raw(stored))} freed.")


def _to_trash(here: Workspace, *chosen: StoredSet) -> None:
    def work() -> str:
        for stored in chosen:
            here.trash(stored)
        return f"{', '.join(s.name for s in chosen)}: moved to the trash, from where it can be restored below."

    _do(work)


def _do(work: Any) -> None:
    """Do what a button asks for, and let the next run tell what became of it."""
    try:
        st.session_state[keys.SETS_SAID] = (True, work())
    except SaiError as error:
        st.session_state[keys.SETS_SAID] = (False, str(error))
    # rows have moved: what was chosen in the table is another set now
    st.session_state[keys.SETS_CHANGED] = st.session_state.get(keys.SETS_CHANGED, 0) + 1


def _export(root: DataRoot, here: Workspace, stored: StoredSet) -> None:
    if not permissions.paths_allowed():  # it goes into a folder that is named
        return
    with st.popover("Export", icon=":material/download:"):
        formats = [_AS_IT_IS, *(t for t in TARGETS if t not in ("label", "submission"))]
        target = st.selectbox(
            "Format",
            formats,
            format_func=lambda name: TARGETS.get(name, "as it is, with what it was made from"),
            key=f"sets_format_{stored.kind}",
        )
        suffix = {_AS_IT_IS: ".zip", "parquet": ".parquet"}.get(target, f" {target}")
        out_key = f"sets_out_{stored.kind}_{stored.name}_{target}"
        st.text_input(
            "File on this machine" if suffix.startswith(".") else "Folder on this machine",
            value=str(Path.home() / f"{stored.name}{suffix}"),
            key=out_key,
            help="A .zip file with the files of the set and set.json; with any other ending, a folder."
            if target == _AS_IT_IS
            else None,
        )
        pictures = target == "masks" and st.checkbox("With the picture of each frame", key="sets_out_pictures")
        raw = stored.has_raw and target == _AS_IT_IS and st.checkbox("With raw detections", key="sets_out_raw")
        roles.button(
            "Write",
            key="sets_write",
            icon=":material/save:",
            on_click=_write,
            args=(root, here, stored, out_key, target, raw, pictures),
        )


def _write(
    root: DataRoot, here: Workspace, stored: StoredSet, out_key: str, target: str, raw: bool, pictures: bool
) -> None:
    # read now: what was typed last comes with the click, and is not yet among the arguments
    out: str = st.session_state[out_key]

    def work(progress: Progress) -> str:
        place = user_path(out, what="file")
        if target == _AS_IT_IS:
            return f"{stored.name}: written to {here.export(stored, place, raw=raw)}."
        recordings = {r.name: r for r in root.recordings}
        done = convert_files(stored.files, target, place, recordings=recordings, pictures=pictures, progress=progress)
        n = len(done.files)
        failed = [f"{name} is not converted: {why}" for name, why in done.failures.items()]
        failed = failed[:3] + ([f"{len(failed) - 3} more are not converted."] if len(failed) > 3 else [])
        notes = failed + done.notes[:5] + ([f"{len(done.notes) - 5} more remarks."] if len(done.notes) > 5 else [])
        return " ".join([f"{stored.name}: {n} file{'s' * (n != 1)} written to {place}.", *notes])

    st.session_state[keys.SETS_JOB] = _jobs().submit(object(), work, title=f"Export of {stored.name}", needs="make")


def _show_job() -> None:
    """How far an import or export is; its end is told by the next run."""
    job: Job[str] | None = st.session_state.get(keys.SETS_JOB)
    if job is None or not background.ready(job):
        return
    st.session_state.pop(keys.SETS_JOB)
    _do(lambda: job.value)
    st.rerun()


def _jobs() -> JobQueue:
    return background.queue("sets", at_once=1)


def _import(root: DataRoot, here: Workspace) -> None:
    """A set from elsewhere, as a file of the browser's machine or a path of the server's."""
    with st.popover("Import", icon=":material/upload:"):
        st.caption(
            "A set that somebody exported, a submission, or annotation files: a folder or a .zip. It is copied into "
            f"the workspace and belongs to {plain(root.path.name)}."
        )
        # forms send what was typed with the click, also what has not been left yet
        with st.form("sets_import_form", border=False):
            sent = st.file_uploader(".zip file from this computer", type="zip", key="sets_import_file")
            path = roles.path_field("or folder or .zip file on the server", key="sets_import_path")
            name = st.text_input("Name", key="sets_import_name", placeholder="as the folder or file")
            if roles.button("Import", form=True, icon=":material/upload:"):
                _start_import(root, here, sent, path.strip(), name.strip())


def _files_of(stored: StoredSet) -> str:
    return f"{stored.n_files} file{'s' * (stored.n_files != 1)} of {stored.kind}"


def _outcome(done: Imported) -> str:
    return " ".join((f"{done.stored.name}: {_files_of(done.stored)} imported.", *done.notes))


def _start_import(root: DataRoot, here: Workspace, sent: Any, path: str, name: str) -> None:
    try:
        if bool(path) == (sent is not None):
            raise InputError("Choose one: a file from this computer, or a path on the server.")
        source = check_allowed(path, always=(here.path,)) if sent is None else None
    except SaiError as error:
        st.error(plain(error))
        return
    content = b"" if sent is None else sent.getvalue()
    file_name = "" if sent is None else os.path.basename(sent.name)

    def work(progress: Progress) -> str:
        if source is not None:
            return _outcome(import_set(here, source, name=name, root=root, progress=progress))
        # under its own name, which is the set's, and which messages tell
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / file_name
            copy.write_bytes(content)
            with permissions.opening(Path(folder)):
                return _outcome(import_set(here, copy, name=name, root=root, origin=file_name, progress=progress))

    what = sent.name if sent is not None else path
    st.session_state[keys.SETS_JOB] = _jobs().submit(object(), work, title=f"Import of {what}", needs="make")
    st.rerun()


def _space(here: Workspace) -> None:
    """What the workspace takes, and what of it may go."""
    usage = here.usage()
    total = sum(part.size_bytes for part in usage)
    with st.container(border=True):
        st.markdown(f"**Workspace**  ·  {plain(here.path)}")
        sums: dict[str, int] = {}
        for part in usage:
            sums[part.part] = sums.get(part.part, 0) + part.size_bytes
        free = sum(part.size_bytes for part in usage if part.may_be_cleaned)
        rows = "\n".join(f"| {name} | {_size(size)} |" for name, size in sums.items() if size)
        if rows:
            st.markdown(f"| | |\n| --- | ---: |\n{rows}")
        st.caption(
            f"{_size(total)} in all; {_size(free)} can be freed: raw detections can be made again, and the trash is "
            f"no longer needed. To use another folder, set SAI_WORKSPACE, or give a command `--workspace`."
        )
    for problem in here.problems():
        st.warning(plain(problem))


def _trash(here: Workspace) -> None:
    trashed = here.trashed()
    if not trashed:
        return
    with st.expander(f"Trash ({len(trashed)})", icon=":material/delete:"):
        for number, thrown in enumerate(trashed):
            with st.container(horizontal=True, gap="small", vertical_alignment="center"):
                when = f"{datetime.fromtimestamp(thrown.when):%Y-%m-%d %H:%M}"
                what = f"{plain(thrown.name)}  ·  {thrown.kind}, {_size(thrown.size_bytes())}, thrown away {when}"
                st.markdown(what, width="stretch")
                for label, act in (("Restore", _restore), ("Delete", _delete)):
                    key = f"sets_{label.lower()}_{number}"
                    roles.button(label, key=key, type="tertiary", on_click=act, args=(here, thrown))
        with st.popover("Empty the trash", icon=":material/delete_forever:"):
            st.write("Deletes all of these for good.")
            roles.button("Delete them all", key="sets_empty", on_click=_empty, args=(here,))


def _restore(here: Workspace, thrown: Trashed) -> None:
    _do(lambda: f"{here.restore(thrown).name}: restored.")


def _delete(here: Workspace, thrown: Trashed) -> None:
    def work() -> str:
        here.delete(thrown)
        return f"{thrown.name}: deleted."

    _do(work)


def _empty(here: Workspace) -> None:
    def work() -> str:
        here.empty_trash()
        return "The trash is empty."

    _do(work)


def _size(n_bytes: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.3g} {unit}"
    return f"{n_bytes} B"

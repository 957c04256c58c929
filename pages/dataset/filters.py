"""The line that searches, filters and sorts, its parts as buttons, and saved views. All of it is in the address."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, roles
from pages.components import state_keys as keys
from pages.components.text import plain, shown
from sai_core.dataset import DataRoot
from sai_core.errors import SaiError
from sai_core.survey.query import Condition, parse, written
from sai_core.survey.table import COLUMNS, SetTable
from sai_core.taxonomy import CLASS_NAMES
from sai_core.workspace import workspace
from sai_core.workspace.marks import Marks, change_marks

_HELP: Final[str] = (
    "Words are searched for in names, classes, tags and notes. `column:value` and `column>=number` filter by a column, "
    "`duration:30..60` is a range, a minus before a part inverts it, quotes keep words together. All parts must "
    "match. **Filter** writes them for you."
)
_IN_A_VIEW: Final[tuple[str, ...]] = (
    keys.DATASET_QUERY,
    keys.DATASET_SORT,
    keys.DATASET_VIEW,
    keys.DATASET_SYSTEMS_TEXT,
)


def draw(bar: DeltaGenerator, root: DataRoot, table: SetTable, marks: Marks) -> None:
    """Draw search field, filter, order, views; then the parts of the filter."""
    with bar:
        _views(root, marks)
    line = st.container(horizontal=True, vertical_alignment="bottom", gap="small")
    with line:
        address.text_field(
            "Search",
            name=keys.DATASET_QUERY,
            placeholder="search or filter, e.g.  room23 class:bell polyphony>=3 -tag:bad",
            icon=":material/search:",
            label_visibility="collapsed",
            help=_HELP,
            width="stretch",
        )
        _add(table, marks)
        _sort(table)
    _parts()


def _parts() -> None:
    """Each part of the filter as a button that takes it away."""
    try:
        conditions = parse(str(st.session_state[keys.DATASET_QUERY]))
    except SaiError:
        text = str(st.session_state[keys.DATASET_QUERY])
        st.button(
            plain(text if len(text) <= 60 else f"{text[:60]}..."),
            key="dataset_part_0",
            icon=":material/close:",
            help="Remove it",
            on_click=_set_query,
            args=("",),
        )
        return
    if not conditions:
        return
    with st.container(horizontal=True, gap="small"):
        for number, condition in enumerate(conditions):
            rest = written(conditions[:number] + conditions[number + 1 :])
            st.button(
                plain(condition),
                key=f"dataset_part_{number}",
                icon=":material/close:",
                help="Remove it",
                on_click=_set_query,
                args=(rest,),
            )
        st.button("Clear", key="dataset_clear", type="tertiary", on_click=_set_query, args=("",))


def _set_query(text: str) -> None:
    st.session_state[keys.DATASET_QUERY] = text


def narrow(condition: Condition) -> None:
    """Add a part to the filter; for callbacks of widgets."""
    try:
        conditions = parse(str(st.session_state.get(keys.DATASET_QUERY, "")))
    except SaiError:
        conditions = ()
    if condition not in conditions:
        _set_query(written((*conditions, condition)))


def _add(table: SetTable, marks: Marks) -> None:
    """A popover that writes a part of the filter."""
    columns = {c.key: c for c in COLUMNS if c.key in table.column_names}
    with st.popover("Filter", icon=":material/filter_list:"), st.container(width=340):
        chosen = st.selectbox(
            "By",
            [*columns, *(s for s in table.systems if s not in columns)],
            key=keys.DATASET_BY,
            format_func=lambda key: _title(key),
        )
        kind = table.kind_of(chosen)
        if kind == "number":
            condition = _range(table, chosen)
        else:
            condition = _value(table, marks, chosen)
        if chosen in columns:
            st.caption(columns[chosen].help)
        negated = st.checkbox("all others", key="dataset_negated", help="Inverts the filter.")
        if condition is not None and negated:
            condition = Condition(condition.column, condition.sign, condition.value, True)
        st.button(
            "Add",
            key="dataset_add",
            type="primary",
            disabled=condition is None,
            on_click=narrow,
            args=(condition,),
        )


def _title(key: str) -> str:
    column = next((c for c in COLUMNS if c.key == key), None)
    if column is None:
        return shown(f"mAP of {key}")
    if column.key == "class":
        return "class"
    title = "number of classes" if column.key == "classes" else column.title
    return f"{title} ({column.unit})" if column.unit else title


def _range(table: SetTable, column: str) -> Condition | None:
    values = table.number(column)
    values = values[np.isfinite(values)]
    if not values.size:
        st.caption("No recording has a figure in this column yet.")
        return None
    low, high = float(np.floor(values.min() * 100) / 100), float(np.ceil(values.max() * 100) / 100)
    left, right = st.columns(2)
    begin = left.number_input("from", value=low, key=f"dataset_from_{column}", format="%g")
    end = right.number_input("to", value=high, key=f"dataset_to_{column}", format="%g")
    if begin > low and end >= high:
        return Condition(column, ">=", f"{begin:g}")
    if end < high and begin <= low:
        return Condition(column, "<=", f"{end:g}")
    return Condition(column, ":", f"{begin:g}..{end:g}")


def _value(table: SetTable, marks: Marks, column: str) -> Condition | None:
    if column == "class":
        options = list(CLASS_NAMES)
    elif column == "tag":
        options = list(marks.tags)
    elif table.kind_of(column) == "list":
        options = sorted({entry for row in table.entries(column) for entry in row})
    elif column == "problem":
        return Condition("problem", ":", "any")
    elif column in ("split", "room"):
        options = sorted({text for text in table.text(column) if text})
    else:
        text = st.text_input("holds", key=f"dataset_text_{column}", placeholder="part of the text")
        return Condition(column, ":", text.strip()) if text.strip() else None
    if not options:
        st.caption("There is none yet.")
        return None
    value = st.selectbox("is", options, key=f"dataset_value_{column}", format_func=shown)
    return Condition(column, "=" if table.kind_of(column) == "text" else ":", str(value))


def _sort(table: SetTable) -> None:
    """Order of the rows; the table's own heads sort, too, for the moment."""
    options = ["", *(f"{sign}{c.key}" for c in COLUMNS if c.key in table.column_names for sign in _signs(c.kind))]
    options += [f"{sign}{name}" for name in table.systems for sign in ("-", "")]
    options = list(dict.fromkeys(options))
    address.bound(keys.DATASET_SORT, options, "")
    st.selectbox(
        "Order",
        options,
        key=keys.DATASET_SORT,
        format_func=lambda key: (
            f"{'↓' if key.startswith('-') else '↑'} {_title(key.lstrip('-'))}" if key else "as on disk"
        ),
        label_visibility="collapsed",
        width=200,
        persist_state="session",
    )


def _signs(kind: str) -> tuple[str, ...]:
    return ("-", "") if kind == "number" else ("", "-")


def _views(root: DataRoot, marks: Marks) -> None:
    """Saved views: filter, order, view and systems under a name."""
    title = f"Views ({len(marks.views)})" if marks.views else "Views"
    with st.popover(title, icon=":material/bookmark:"), st.container(width=320):
        for number, (name, view) in enumerate(sorted(marks.views.items())):
            with st.container(horizontal=True, gap="small", vertical_alignment="center"):
                st.button(plain(name), key=f"dataset_view_{number}", width="stretch", on_click=_open_view, args=(view,))
                roles.button(
                    "",
                    key=f"dataset_unview_{number}",
                    icon=":material/delete:",
                    type="tertiary",
                    help="Delete this view",
                    on_click=_save_view,
                    args=(root, name, None),
                )
        name = st.text_input("Name", key=keys.DATASET_VIEW_NAME, placeholder="name of this view")
        roles.button(
            "Save this view",
            key="dataset_save_view",
            type="primary",
            disabled=not name.strip() or bool(marks.problem),
            on_click=_save_view,
            args=(root, name, _view()),
            help="Filter, order and systems as they are, for this data root; kept in the workspace. The address "
            "of the page holds them as well: a link is a view too.",
        )


def _view() -> str:
    values = {name: str(st.session_state.get(name) or "") for name in _IN_A_VIEW}
    return urlencode({name: value for name, value in values.items() if value})


def _open_view(view: str) -> None:
    values = dict(parse_qsl(view))
    for name in _IN_A_VIEW:
        if name != keys.DATASET_VIEW or name in values:
            st.session_state[name] = values.get(name, "")


def _save_view(root: DataRoot, name: str, view: str | None) -> None:
    tell(lambda: change_marks(workspace(), root.path, views={name: view}), "" if view is None else f"{name}: saved.")


def tell(work: Any, done: str) -> None:
    """Do what a button asks for; the next run tells what became of it."""
    try:
        work()
    except SaiError as error:
        st.session_state[keys.DATASET_SAID] = (False, str(error))
        return
    if done:
        st.session_state[keys.DATASET_SAID] = (True, done)

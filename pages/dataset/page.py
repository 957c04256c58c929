"""Dataset: every recording in one table, searched, sorted and filtered; statistics that lead back to the frames."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import streamlit as st

from pages.components import address, data_bar, set_survey
from pages.components import state_keys as keys
from pages.components.text import plain, shown
from pages.dataset import filters, recordings, statistics
from sai_core.dataset import DataRoot, PredictionSet
from sai_core.errors import SaiError
from sai_core.survey.query import apply, ordered, parse
from sai_core.survey.table import SetTable

RECORDINGS: Final[str] = "Recordings"
STATISTICS: Final[str] = "Statistics"
VIEWS: Final[tuple[str, ...]] = (RECORDINGS, STATISTICS)


def main() -> None:
    """Draw the page."""
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small", key="sai_bar")
    root = data_bar.choose_filled_root(bar)
    if root is None:
        return
    with bar:
        view = address.view(keys.DATASET_VIEW, VIEWS, RECORDINGS)
        systems = _systems(root)
    seen = set_survey.seen(root, systems)
    table = seen.table
    if message := st.session_state.pop(keys.DATASET_SAID, None):
        (st.success if message[0] else st.error)(plain(message[1]))
    if seen.marks.problem:
        st.warning(plain(seen.marks.problem))
    filters.draw(bar, root, table, seen.marks)
    rows = _rows(table)
    if rows is None:
        return
    set_survey.watch(seen)
    if view == STATISTICS:
        statistics.draw(root, table, rows, systems)
    else:
        recordings.draw(root, seen, rows, systems)


def _systems(root: DataRoot) -> list[PredictionSet]:
    """Prediction sets whose scores are columns; in the address."""
    by_name = {s.name: s for s in root.prediction_sets if len(s)}
    if not by_name:
        st.session_state[keys.DATASET_SYSTEMS_TEXT] = ""
        return []
    address.remembered(keys.DATASET_SYSTEMS_TEXT)
    asked = [n for n in str(st.session_state[keys.DATASET_SYSTEMS_TEXT]).split("\n") if n in by_name]
    st.session_state[keys.DATASET_SYSTEMS] = asked
    st.multiselect(
        "Systems",
        list(by_name),
        key=keys.DATASET_SYSTEMS,
        format_func=lambda name: shown(by_name[name].title),
        placeholder="scores of systems",
        label_visibility="collapsed",
        on_change=_keep_systems,
        width=300,
        help="Their scores become columns, where they are known; statistics show the first beside the labels.",
    )
    return [by_name[name] for name in asked]


def _keep_systems() -> None:
    st.session_state[keys.DATASET_SYSTEMS_TEXT] = "\n".join(st.session_state[keys.DATASET_SYSTEMS])


def _rows(table: SetTable) -> npt.NDArray[np.int64] | None:
    """What fulfils the filter, in order; None for a filter that cannot be, which is told."""
    try:
        conditions = parse(str(st.session_state[keys.DATASET_QUERY]))
        return ordered(table, np.flatnonzero(apply(table, conditions)), str(st.session_state[keys.DATASET_SORT]))
    except SaiError as error:
        st.error(plain(error))
        return None


main()

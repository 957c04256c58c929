"""Account: who is signed in, in which role, what that allows, and the way out."""

from __future__ import annotations

from typing import Final

import streamlit as st

from pages.components.text import plain
from sai_core import permissions
from sai_core.permissions import Action

_ACTIONS: Final[dict[Action, str]] = {
    "look": "See data, predictions, scores and reviews",
    "decide": "Decide in reviews, under this name",
    "make": "Predict, label, export, import, change and delete what is kept",
    "train": "Start, stop and delete trainings",
}


def main() -> None:
    """Draw the page."""
    somebody = permissions.person()
    if somebody is None:
        st.info("This app is used by one person: nobody signs in, and everything is allowed.")
        return
    line = st.container(horizontal=True, vertical_alignment="center", gap="medium")
    line.markdown(f"Signed in as **{plain(somebody.name)}**, role **{plain(somebody.role)}**", width="content")
    line.button("Sign out", key="sai_sign_out", icon=":material/logout:", on_click=st.logout)
    allowed = {words: action in somebody.actions for action, words in _ACTIONS.items()}
    allowed["Name folders and files of one's own"] = somebody.paths
    marks = {True: ":green[:material/check:] yes", False: ":gray[:material/remove:] no"}
    st.markdown("| | |\n| --- | --- |\n" + "\n".join(f"| {words} | {marks[may]} |" for words, may in allowed.items()))
    roots = ", ".join(plain(root) for root in somebody.roots)
    st.caption(f"Data are opened from {roots or 'the demo'} and the workspace alone.")


main()

"""Widgets for what not everybody may do: shown, but out of use, to those who may not.

The rule itself is in the core (:mod:`sai_core.permissions`): what a browser sends for a button that is out of use does
nothing here, and would be refused there.
"""

from __future__ import annotations

from typing import Any, Final

import streamlit as st

from pages.components import address
from sai_core import permissions
from sai_core.permissions import Action

_WHO: Final[dict[Action, str]] = {
    "look": "This needs a role in this app.",
    "decide": "Deciding needs the role reviewer or editor.",
    "make": "This needs the role editor.",
    "train": "Trainings need the role editor, and to be switched on in the file of roles.",
}


def button(label: str, *, needs: Action = "make", place: Any = st, form: bool = False, **options: Any) -> bool:
    """A button that is out of use, and never pressed, for those who may not do what it starts.

    Parameters
    ----------
    label : str
    needs : str
        What one must be allowed to do.
    place : container
        Where it is drawn.
    form : bool
        The button that sends a form.
    **options
        Of ``st.button``.
    """
    draw = place.form_submit_button if form else place.button
    if permissions.allowed(needs):
        return bool(draw(label, **options))
    for name in ("on_click", "args", "kwargs"):
        options.pop(name, None)
    draw(label, **{**options, "disabled": True, "help": _WHO[needs]})
    return False


def path_field(label: str, *, place: Any = st, **options: Any) -> str:
    """A field for a folder or file on the machine of the app; not there, and "", for those who may not name any."""
    return str(place.text_input(label, **options)) if permissions.paths_allowed() else ""


def path_in_address(label: str, *, name: str, **options: Any) -> str:
    """As :func:`path_field`, with its value in the address (:func:`pages.components.address.text_field`)."""
    return address.text_field(label, name=name, **options) if permissions.paths_allowed() else ""


def note(needs: Action = "make") -> None:
    """Say, where somebody may not do something, who could; nothing else."""
    if not permissions.allowed(needs):
        st.caption(f":material/lock: {_WHO[needs]}")


def note_on_paths() -> None:
    """Say, where somebody may name no folders, why a field is not there; nothing else."""
    if not permissions.paths_allowed():
        st.caption(":material/lock: Folders and files of one's own cannot be named in this app.")

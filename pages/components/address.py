"""The address of the page: what a link must hold to reopen it.

Choices whose shown text is not their value (a recording with its badges) cannot use Streamlit's own binding, which
writes the shown text; they are read and written here. The player writes ``frame`` and ``view`` by itself.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import streamlit as st

from pages.components import state_keys as keys


def choice(name: str, options: list[str], default: str) -> tuple[str, str]:
    """Choice named in the address, else the one made earlier in this session.

    Returns
    -------
    chosen : str
        The address's value when it is an option, else the remembered one, else ``default``.
    unknown : str
        The address's value when it is no option; else "".
    """
    value = st.query_params.get(name)
    if value in options:
        return str(value), ""
    remembered = st.session_state.get(keys.REMEMBERED, {}).get(name)
    return (remembered if remembered in options else default), value or ""


def write(values: dict[str, str]) -> None:
    """Write choices into the address where they differ from it; the address changes without a rerun."""
    st.session_state[keys.REMEMBERED] = {**st.session_state.get(keys.REMEMBERED, {}), **values}
    changed = {name: value for name, value in values.items() if st.query_params.get(name) != value}
    if changed:
        st.query_params.update(changed)


def text_field(label: str, *, name: str, default: str = "", **options: Any) -> str:
    """Text field whose value is in the address, on whichever page, and kept between pages.

    Streamlit's own binding does not do: a switch of pages empties the address and keeps the value, so that a copied
    link would open something else; and a link inside the app may not name a bound parameter.

    Parameters
    ----------
    label : str
    name : str
        Of the parameter and of the widget.
    default : str
        Not written into the address.
    **options
        Of ``st.text_input``.
    """
    asked = st.query_params.get(name)
    remembered = st.session_state.get(keys.REMEMBERED, {}).get(name)
    if asked is not None and asked != remembered:
        # a link, or the browser's way back, names another one
        wanted = asked
    else:
        wanted = st.session_state.get(name, default if remembered is None else remembered)
    # set every time: a page that has just been opened would begin with an empty field, whatever is remembered
    st.session_state[name] = wanted
    value: str = st.text_input(label, key=name, **options)
    if value != default:
        write({name: value})
    else:
        st.session_state[keys.REMEMBERED] = {**st.session_state.get(keys.REMEMBERED, {}), name: value}
        if name in st.query_params:
            del st.query_params[name]
    return value


def explorer_query(
    *,
    root: str,
    recording: str,
    split: str = "",
    frame: int | None = None,
    a: str = "",
    b: str = "",
    predictions: str = "",
) -> dict[str, str]:
    """Parameters that open the Explorer at a moment; for ``st.switch_page(..., query_params=...)`` and links.

    Parameters
    ----------
    root, predictions : str
        Data root, and the folder of further predictions ("" for none).
    recording, split : str
    frame : int, optional
        Zero-based 100 ms frame.
    a, b : str
        Names of prediction sets.
    """
    query = {keys.ROOT: root, keys.RECORDING: f"{split}/{recording}" if split else recording}
    if frame is not None:
        query[keys.FRAME] = str(frame)
    query |= {k: v for k, v in ((keys.SYSTEM_A, a), (keys.SYSTEM_B, b), (keys.PREDICTION_FOLDER, predictions)) if v}
    return query


def explorer_link(**moment: Any) -> str:
    """Address of the Explorer at a moment, relative to any page of the app; arguments of :func:`explorer_query`."""
    return "./explorer?" + urlencode(explorer_query(**moment))


def frame() -> int:
    """Frame in the address; 0 when there is none or it is no number."""
    text = st.query_params.get(keys.FRAME, "")
    return int(text) if text.isdecimal() and len(text) < 8 else 0

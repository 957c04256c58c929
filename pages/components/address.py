"""The address of the page: what a link must hold to reopen it.

Choices whose shown text is not their value (a recording with its badges) cannot use Streamlit's own binding, which
writes the shown text; they are read and written here. The player writes ``frame`` and ``view`` by itself.

A script says what the address must hold, and ``web/history.js`` writes it. ``st.query_params`` is read, never written:
Streamlit adds an entry to the browser's history for each writing, also on arrival, and Back would not lead away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import streamlit as st
from streamlit.errors import StreamlitPageNotFoundError
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.components import state_keys as keys
from sai_core.errors import SaiError
from sai_core.files import resolved, user_path
from sai_core.player import scripts

_OTHER_SPELLINGS: Final = {keys.ROOT: "data"}
"""What else parameters are called by who writes an address by hand: as the verbs' options are."""


@dataclass
class _Visit:
    """What the address of the page that is open must hold.

    Attributes
    ----------
    page : str
        Streamlit's hash of the page.
    by_go : bool
        Come to by :func:`go`, which the browser takes for a step in its history.
    path, paths : str, tuple of str
        Last part of the page's path, and those of all pages; empty until :func:`keep` was called.
    values : dict
        By parameter; None: must not be there.
    read : set of str
        Parameters that were taken over from the address.
    step : bool
        The user has changed a value since the address was written last.
    """

    page: str
    by_go: bool
    path: str = ""
    paths: tuple[str, ...] = ()
    values: dict[str, str | None] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    step: bool = False


def _visit() -> _Visit:
    context = get_script_run_ctx()
    page = context.page_script_hash if context is not None else ""
    visit: _Visit | None = st.session_state.get(keys.ADDRESS)
    if visit is None or visit.page != page:
        visit = _Visit(page, bool(st.session_state.pop(keys.ADDRESS_GO, False)))
        st.session_state[keys.ADDRESS] = visit
    return visit


def navigated() -> bool:
    """Whether the browser's Back or Forward led here: then the address counts, not what the widgets hold."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation and not _visit().by_go


def asked(name: str) -> str | None:
    """Value of a parameter when the page has just been come to, by a link or by Back; None else.

    Later runs get None: Streamlit sends the address as it was on arrival, and the widgets know better.
    """
    visit = _visit()
    if name in visit.read and not navigated():
        return None
    visit.read.add(name)
    value = st.query_params.get(name)
    spelling = _OTHER_SPELLINGS.get(name)
    if spelling is not None and spelling in st.query_params:
        visit.values[spelling] = None  # the address goes on under the name that pages write
        value = st.query_params[spelling] if value is None else value
    return None if value is None else str(value)


def is_new(name: str) -> bool:
    """Whether :func:`asked` would give the address's value: nothing has asked for it since the page was come to."""
    return name not in _visit().read or navigated()


def choice(name: str, options: list[str], default: str, *, key: str = "") -> str:
    """Set a widget to what the address names, else to the choice made earlier in this session.

    To be called before the widget is drawn.

    Parameters
    ----------
    name : str
        Of the parameter.
    options : list of str
    default : str
    key : str
        Of the widget; "" when it is called as the parameter is.

    Returns
    -------
    str
        The address's value when it is no option; else "".
    """
    state, key = st.session_state, key or name
    value = asked(name)
    if value in options:
        state[key] = value
    elif navigated() and value is None:
        state[key] = default
    elif state.get(key) not in options:
        remembered = state.get(keys.REMEMBERED, {}).get(name)
        state[key] = remembered if remembered in options else default
    return "" if value in options else value or ""


def bound(name: str, options: Sequence[str], default: str) -> str:
    """Bind a widget with options to the parameter of its name; to be called before it is drawn, without a default.

    Streamlit's own binding (``bind="query-params"``) adds an entry to the history when the page is left.

    Returns
    -------
    str
        The address's value when it is no option; else "".
    """
    missing = choice(name, list(options), default)
    value = st.session_state[name]
    write({name: None if value == default else value})
    return missing


def view(name: str, views: Sequence[str], default: str, *, labels: Mapping[str, str] = MappingProxyType({})) -> str:
    """Buttons for the views of a page, bound to the parameter ``name``; ``labels`` are shown in place of names."""
    bound(name, views, default)
    chosen: str | None = st.segmented_control(
        "View",
        views,
        required=True,
        key=name,
        format_func=lambda title: labels.get(title, title),
        persist_state="session",
        label_visibility="collapsed",
    )
    return chosen or default


def write(values: Mapping[str, str | None]) -> None:
    """Say what the address must hold; None takes a parameter out.

    It is written when the script has come to its end (:func:`keep`). A value that differs from the one of before is a
    step, to which Back returns; what is filled in on arrival is none.
    """
    visit = _visit()
    st.session_state[keys.REMEMBERED] = {
        **st.session_state.get(keys.REMEMBERED, {}),
        **{name: value for name, value in values.items() if value is not None},
    }
    changed = any(name in visit.values and visit.values[name] != value for name, value in values.items())
    visit.step = (visit.step or changed) and not navigated()
    visit.values |= values


def shown(*names: str) -> dict[str, str | None]:
    """What the address will hold of some parameters once this run has ended."""
    values = _visit().values
    return {name: values.get(name) for name in names}


def keep_place(page: str, pages: Sequence[str]) -> None:
    """Let the browser write at once which data an opened page is of; called by ``app.py`` before the page is drawn.

    Streamlit empties the address when another page is chosen. Who left that page before its script had ended would
    come back to an address without data, and so to the demo.

    Parameters
    ----------
    page, pages
        As of :func:`keep`.
    """
    visit = _visit()
    known = st.session_state.get(keys.REMEMBERED, {})
    values = {name: str(known[name]).strip() for name in _PLACE if str(known.get(name) or "").strip()}
    asked_for = any(name in st.query_params for name in (*_PLACE, *_OTHER_SPELLINGS.values()))
    # always there: the elements below it keep their places
    with st.container(key="sai_place"):
        if values and not visit.values and not asked_for and not navigated():
            message = {"page": page, "pages": tuple(pages), "values": values, "step": False, "history": False}
            _mount({**message, "forget": []}, key="sai_address_place")


def keep(page: str, pages: Sequence[str]) -> None:
    """Let the browser write the address; called by ``app.py`` at the end of every run.

    Parameters
    ----------
    page : str
        Last part of the open page's path.
    pages : sequence of str
        The same of all pages.
    """
    visit = _visit()
    visit.path, visit.paths = page, tuple(pages)
    _keep(visit, key="sai_address")


def keep_fragment() -> None:
    """Let the browser write the address after a run of a fragment that says something about it."""
    visit = _visit()
    if visit.paths:  # else it runs with the whole page, at whose end all is written
        _keep(visit, key="sai_address_fragment")


def _keep(visit: _Visit, *, key: str) -> None:
    message = {
        "page": visit.path,
        "pages": visit.paths,
        "values": visit.values,
        "step": visit.step,
        "history": navigated(),
        "forget": [name for name in (keys.FRAME, keys.VIEW, keys.ITEM) if name not in visit.values],
    }
    visit.step = False
    _mount(message, key=key)


def go(page: str, query: Mapping[str, str], *, replace: bool = False) -> None:
    """Open another page with parameters, as one step of the browser's history; the script ends here.

    ``st.switch_page`` would add two: the new parameters on the old page, and the new page.

    Parameters
    ----------
    page : str
        Last part of its path.
    query : mapping of str
    replace : bool
        The page that is left is not to be returned to.
    """
    st.session_state[keys.ADDRESS_GO] = True
    _mount({"go": f"./{page}?{urlencode(query)}", "replace": replace}, key="sai_go")
    st.stop()


def _mount(message: dict[str, Any], *, key: str) -> None:
    number = st.session_state.get(keys.ADDRESS_MESSAGE, 0) + 1
    st.session_state[keys.ADDRESS_MESSAGE] = number
    component = st.components.v2.component("sai_history", js=scripts.script("history"), isolate_styles=False)
    component(key=key, data={**message, "n": f"{key} {number}"})


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
    value = asked(name)
    if navigated():
        wanted = default if value is None else value
    elif value is not None:
        wanted = value
    else:
        wanted = st.session_state.get(name, st.session_state.get(keys.REMEMBERED, {}).get(name, default))
    # set every time: a page that has just been opened would begin with an empty field, whatever is remembered
    st.session_state[name] = wanted
    entered: str = st.text_input(label, key=name, **options)
    write({name: entered if entered.strip() not in ("", default) else None})
    st.session_state[keys.REMEMBERED] = {**st.session_state.get(keys.REMEMBERED, {}), name: entered}
    return entered


def remembered(name: str) -> None:
    """Bind a value of the session that no widget holds to the parameter of its name, on whichever page.

    To be called on every page that shows it, before it is read.
    """
    value = asked(name)
    if value is not None or navigated():
        st.session_state[name] = value or ""
    elif name not in st.session_state:
        st.session_state[name] = st.session_state.get(keys.REMEMBERED, {}).get(name, "")
    text = str(st.session_state[name])
    write({name: text or None})
    st.session_state[keys.REMEMBERED] = {**st.session_state.get(keys.REMEMBERED, {}), name: text}


def place(root: str | None = None) -> dict[str, str]:
    """Parameters that make another page look at the same data: root, labels, further predictions.

    Parameters
    ----------
    root : str, optional
        Data root of the link: the labels and added predictions of the data that are open are not those of others.
    """
    values = {name: str(st.session_state.get(name) or "").strip() for name in _PLACE}
    if root is not None and values[keys.ROOT] and not _is_same_folder(root, values[keys.ROOT]):
        return {keys.ROOT: root}
    return {name: value for name, value in values.items() if value}


def _is_same_folder(first: str, second: str) -> bool:
    """Whether two texts name one folder: links hold it as it was found, the field as it was typed."""
    if first == second:
        return True
    with suppress(SaiError):
        return resolved(user_path(first)) == resolved(user_path(second))
    return False


_PLACE = (keys.ROOT, keys.LABELS, keys.PREDICTION_FOLDER)


def page_link(page: str, label: str, *, icon: str = "", query: Mapping[str, str] = MappingProxyType({})) -> None:
    """Draw a link to another page of the app, on the same data.

    Parameters
    ----------
    page : str
        Last part of its path.
    label, icon : str
    query : mapping of str
        Parameters on top of :func:`place`.
    """
    try:
        values = {**place(query.get(keys.ROOT)), **query}
        st.page_link(f"pages/{page}/page.py", label=label, icon=icon or None, query_params=values)
    except StreamlitPageNotFoundError:  # the page runs by itself, without the app's navigation
        st.caption(f"{label}: page *{page.capitalize()}*")


def explorer_query(
    *,
    root: str,
    recording: str,
    split: str = "",
    frame: int | None = None,
    a: str = "",
    b: str = "",
) -> dict[str, str]:
    """Parameters that open the Explorer at a moment, for :func:`go` and links; with the page's labels and predictions.

    Parameters
    ----------
    root : str
        Data root.
    recording, split : str
    frame : int, optional
        Zero-based 100 ms frame.
    a, b : str
        Names of prediction sets.
    """
    query = {**place(root), keys.ROOT: root, keys.RECORDING: f"{split}/{recording}" if split else recording}
    if frame is not None:
        query[keys.FRAME] = str(frame)
    return query | {k: v for k, v in ((keys.SYSTEM_A, a), (keys.SYSTEM_B, b)) if v}


def app() -> str:
    """Where the app runs, as the browser calls it: what links in a file that leaves it begin with."""
    url = urlsplit(st.context.url or "")
    if not url.netloc:
        return "http://localhost:8501"
    return f"{url.scheme}://{url.netloc}{url.path.rpartition('/')[0]}"


def explorer_link(**moment: Any) -> str:
    """Address of the Explorer at a moment, relative to any page of the app; arguments of :func:`explorer_query`."""
    return "./explorer?" + urlencode(explorer_query(**moment))


def frame() -> int:
    """Frame in the address; 0 when there is none or it is no number (:func:`frame_fault` says so)."""
    text = st.query_params.get(keys.FRAME, "")
    return int(text) if text.isdecimal() and len(text) < 8 else 0


def frame_fault(n_frames: int) -> str:
    """What is wrong with the frame of a link that has just been followed to a recording of so many; "" if nothing."""
    text = asked(keys.FRAME)
    if not text or (text.isdecimal() and (len(text) < 8 and int(text) < n_frames)):
        return ""
    shown = "last" if text.isdecimal() and len(text) < 8 else "first"
    return (
        f"The link names the frame '{text}', and this recording has 0 to {n_frames - 1}; the {shown} is shown instead."
    )

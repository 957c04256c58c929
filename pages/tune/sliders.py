"""Settings of the tuning page: their widgets, in groups, and the values behind them.

The values live in one dict of the session (``TUNE_VALUES``), not in the widgets: only one group's widgets are drawn at
a time, and Streamlit forgets a widget that is not drawn. Each run gives every widget its value anew: a run that is cut
short between two groups leaves the browser without the first one's values but the server with them, and the browser
would answer with the least value of each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import streamlit as st

from pages.components import state_keys as keys
from pages.components.text import plain
from sai_core.errors import SaiError
from sai_core.postprocess import PipelineSettings, System
from sai_core.settings import Setting, describe
from sai_core.taxonomy import CLASS_NAMES, N_CLASSES

SECTIONS: Final[tuple[str, ...]] = ("Selection", "Classes", "Tracking", "Gating", "Export", "Teacher")
"""Of the form, in this order; each setting names its own (:mod:`sai_core.postprocess.pipeline`)."""


def values() -> dict[str, Any]:
    """Settings as they stand, by name; empty before a system is loaded."""
    found: dict[str, Any] = st.session_state.setdefault(keys.TUNE_VALUES, {})
    return found


def load(system: System, *, mark: str) -> None:
    """Take over a system's settings, and have the widgets show them."""
    st.session_state[keys.TUNE_LOADED] = mark
    take_over(system.settings)


def take_over(settings: PipelineSettings) -> None:
    """Put all settings in place of those that stand."""
    st.session_state[keys.TUNE_VALUES] = {d.name: getattr(settings, d.name) for d in describe(PipelineSettings)}
    for key in list(st.session_state):
        if str(key).startswith((keys.TUNE_WIDGET, keys.TUNE_NUMBER, keys.TUNE_CLASS)):
            del st.session_state[key]


def put(**changes: Any) -> None:
    """Change some settings from elsewhere than their widgets (a click on a chart, the search)."""
    take_over(PipelineSettings(**{**values(), **changes}))


def current() -> PipelineSettings:
    """Settings as they stand.

    Raises
    ------
    InputError
        A combination that is not allowed.
    """
    return PipelineSettings(**values())


def form(saved: PipelineSettings) -> None:
    """Draw the chosen group's widgets; changed settings are marked, and can be put back one by one."""
    now = values()
    changed = {d.name for d in describe(PipelineSettings) if now[d.name] != getattr(saved, d.name)}
    by_name = {d.name: d for d in describe(PipelineSettings)}
    groups: dict[str, list[str]] = {}
    for setting in sorted(by_name.values(), key=lambda s: (SECTIONS.index(s.form), not s.front)):
        groups.setdefault(setting.form, []).append(setting.name)

    group = st.segmented_control(
        "Settings",
        list(groups),
        default="Selection",
        key=keys.TUNE_GROUP,
        required=True,
        wrap=True,
        label_visibility="collapsed",
    )
    for name in groups[group or "Selection"]:
        _widget(by_name[name], is_changed=name in changed)
    if changed:
        where = ", ".join(g for g, names in groups.items() if changed.intersection(names))
        st.caption(f":orange[●] differs from the saved system (in {where})")
        st.button(
            f"Back to the saved system ({len(changed)} changed)",
            icon=":material/undo:",
            type="tertiary",
            on_click=take_over,
            args=(saved,),
        )


def _widget(setting: Setting, *, is_changed: bool) -> None:
    name = setting.name
    label = f":orange[●] {setting.label}" if is_changed else setting.label
    text = setting.help[:1].upper() + setting.help[1:] + "."
    key = keys.TUNE_WIDGET + name
    value = values()[name]
    if name == "min_score_per_class":
        _class_thresholds(label, text)
    elif name in ("temperature", "isotonic"):
        _calibration(name, label, value)
    elif name == "keep_classes":
        _classes(label, text, value)
    elif name == "quality":
        _quality(label, text, value)
    elif setting.choices:
        st.session_state[key] = value
        st.selectbox(label, setting.choices, key=key, help=text, on_change=_taken, args=(name, key))
    elif isinstance(setting.default, bool):
        st.session_state[key] = value
        st.toggle(label, key=key, help=text, on_change=_taken, args=(name, key))
    else:
        _number(setting, label, text)


def _number(setting: Setting, label: str, text: str) -> None:
    """A slider and, beside it, a field for the exact number; whichever is changed moves the other."""
    name = setting.name
    whole = isinstance(setting.default, int)
    kind = int if whole else float
    value = kind(values()[name])
    assert setting.low is not None
    assert setting.high is not None
    low, high = kind(setting.low), kind(setting.high)
    end = max(kind(setting.useful or high), value)
    slider, number = keys.TUNE_WIDGET + name, keys.TUNE_NUMBER + name
    st.session_state[slider] = st.session_state[number] = value
    step = kind(1) if whole else 0.01 if high <= 1 else 0.1
    left, right = st.columns([5, 2], vertical_alignment="bottom", gap="small")
    left.slider(label, low, end, step=step, key=slider, help=text, on_change=_taken, args=(name, slider, number))
    right.number_input(
        label,
        low,
        high,
        step=step,
        format="%d" if whole else "%.3g",
        key=number,
        label_visibility="collapsed",
        on_change=_taken,
        args=(name, number, slider),
    )


def _taken(name: str, key: str, twin: str = "") -> None:
    """A widget was changed: keep its value, and have its twin start from it.

    Two changes can come with one message (the slider is let go by a click on the field's **+**): the callback of the
    first then has taken the second one's key away, and the first counts for both.
    """
    value = st.session_state.get(key)
    if value is None:
        return
    values()[name] = value
    if twin:
        st.session_state.pop(twin, None)


def _class_thresholds(label: str, text: str) -> None:
    chosen: dict[int, float] = values()["min_score_per_class"]
    shown = f"{len(chosen)} set" if chosen else "none set"
    with st.popover(f"{label}: {shown}", width="stretch"):
        st.caption(f"{text} An empty field uses the common threshold.")
        columns = st.columns(2)
        for c in range(N_CLASSES):
            key = f"{keys.TUNE_CLASS}{c}"
            st.session_state[key] = chosen.get(c)
            columns[c % 2].number_input(
                CLASS_NAMES[c],
                0.0,
                1.0,
                value=None,
                step=0.01,
                format="%.3g",
                key=key,
                placeholder=f"{values()['min_score']:g}",
                on_change=_class_taken,
                args=(c, key),
            )


def _class_taken(category_id: int, key: str) -> None:
    chosen = dict(values()["min_score_per_class"])
    if key not in st.session_state:
        return
    value = st.session_state[key]
    if value is None:
        chosen.pop(category_id, None)
    else:
        chosen[category_id] = value
    values()["min_score_per_class"] = chosen


def _calibration(name: str, label: str, value: Any) -> None:
    """A calibration is fitted, not set by hand: what there is, and a way to take it off."""
    if not value:
        st.caption(f"{label}: none; the view **Calibrate** fits one.")
        return
    n = len(value)
    left, right = st.columns([3, 2], vertical_alignment="center")
    left.markdown(f"{label}: {n} class{'es' * (n != 1)}")
    right.button("Take it off", key=f"{keys.TUNE_WIDGET}{name}", on_click=put, kwargs={name: {}}, width="stretch")


def _quality(label: str, text: str, value: str) -> None:
    """A network is learned, not set by hand: which there is, and a way to take it off."""
    if not value:
        st.caption(f"{label}: none; `calibrate --quality` learns one.", help=text)
        return
    left, right = st.columns([3, 2], vertical_alignment="center")
    left.markdown(f"{label}: {plain(Path(value).name)}", help=text)
    key = f"{keys.TUNE_WIDGET}quality"
    right.button("Take it off", key=key, on_click=put, kwargs={"quality": ""}, width="stretch")


def _classes(label: str, text: str, value: Any) -> None:
    key, picked = keys.TUNE_WIDGET + "keep_classes", keys.TUNE_NUMBER + "keep_classes"
    st.session_state[key] = value if isinstance(value, str) else "chosen"
    kind = st.selectbox(
        label, ("all", "best", "chosen"), key=key, help=text, on_change=_classes_taken, args=(key, picked)
    )
    if kind == "chosen":
        st.session_state[picked] = list(value) if not isinstance(value, str) else list(range(N_CLASSES))
        st.multiselect(
            "Which",
            range(N_CLASSES),
            format_func=lambda c: CLASS_NAMES[c],
            key=picked,
            on_change=_classes_taken,
            args=(key, picked),
        )


def _classes_taken(key: str, picked: str) -> None:
    kind = st.session_state.get(key)
    if kind is None:
        return
    if kind == "chosen":
        kind = tuple(sorted(st.session_state.get(picked, range(N_CLASSES))))
    values()["keep_classes"] = kind


def problem() -> str:
    """What is wrong with the settings as they stand; "" if nothing is."""
    try:
        current()
    except SaiError as error:
        return str(error)
    return ""

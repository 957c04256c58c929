"""The data panel: which folder, labels and predictions all pages look at; in the address, and kept between pages."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, roles, sources
from pages.components import state_keys as keys
from pages.components.text import plain, shown
from sai_core import permissions
from sai_core.dataset import DataRoot, demo_root
from sai_core.dataset.browse import Folder, allowed_folders, better_roots, list_folder
from sai_core.errors import SaiError
from sai_core.files import user_path
from sai_core.workspace import label_sets, workspace

_WIDTH_PX = 420
OWN_LABELS = ""
"""Choice of the labels that lie in the data root."""


def choose_root(bar: DeltaGenerator | None = None, *, acoustic_weights: bool = False) -> DataRoot | None:
    """Draw the **Data** popover and open what it names.

    Parameters
    ----------
    bar : DeltaGenerator, optional
        Container that the popover goes into.
    acoustic_weights : bool
        Also ask for the weights of the acoustic layers (Explorer).

    Returns
    -------
    DataRoot or None
        With the workspace's predictions, those added by the user, and the chosen labels. None when the folder cannot be
        opened; the page has told why, with what can be done as buttons.
    """
    demo = str(demo_root())
    panel = (bar or st.container()).popover("Data", icon=":material/folder_open:")
    with panel.container(width=_WIDTH_PX):
        path = _root_field(demo)
        place = st.container()
        _recent(path, demo)
        _browser(path)
        labels = _labels_field(path)
        predictions = _predictions_field()
        if acoustic_weights:
            _weights()
        st.caption("Files are only read, never changed.")
    try:
        alone = sources.data_root(path)
    except SaiError as error:
        place.markdown(f":red[{plain(error)}]")
        st.error(plain(error))
        _ways_out(path, demo, where="page")
        return None
    try:
        sources.data_root(path, (), labels)
    except SaiError as error:
        st.error(plain(error))
        _other_labels(alone)
        return None
    root = sources.data_root(path, _usable(path, predictions), labels)
    if bar is not None:
        _say_what_is_odd(bar, root)
    if st.session_state.pop(keys.ROOT_CHOSEN, False) and path != demo:
        _remember(root.path)
    return root


def _usable(path: str, predictions: tuple[str, ...]) -> tuple[str, ...]:
    """Added predictions that can be opened; of the others it is said why not, and they are taken off by a click."""
    usable = []
    for number, entry in enumerate(predictions):
        try:
            sources.data_root(path, (entry,))
            usable.append(entry)
        except SaiError as error:
            with st.container(horizontal=True, gap="small", vertical_alignment="center"):
                st.error(plain(error), width="stretch")
                st.button(
                    "Remove it",
                    key=f"predictions_off_{number}",
                    icon=":material/close:",
                    on_click=_remove_predictions,
                    args=(entry,),
                )
    return tuple(usable)


def _other_labels(root: DataRoot) -> None:
    """Buttons out of a label set that is not there (renamed, thrown away, of another workspace)."""
    with st.container(horizontal=True, gap="small"):
        for number, name in enumerate((OWN_LABELS, *(stored.name for stored in label_sets(root)[:4]))):
            words = f"Use {plain(name)}" if name else "Use the labels of the data root"
            st.button(words, key=f"labels_other_{number}", on_click=choose_labels, args=(name,), icon=":material/rule:")


def _say_what_is_odd(bar: DeltaGenerator, root: DataRoot) -> None:
    """Which labels are the truth where they are not the root's own, and what was left out."""
    if root.label_set:
        bar.markdown(
            f":material/rule: **{plain(Path(root.label_set).name)}**",
            width="content",
            help="All pages take the labels of this set as ground truth; change it under **Data**, *Labels*.",
        )
    if root.problems:
        with bar.popover(str(len(root.problems)), icon=":material/warning:", help="Notes on these data"):
            say_problems(root.problems)


def choose_filled_root(bar: DeltaGenerator | None = None, *, acoustic_weights: bool = False) -> DataRoot | None:
    """As :func:`choose_root`, for pages that need recordings: None also for a root without any, which is told."""
    root = choose_root(bar, acoustic_weights=acoustic_weights)
    if root is not None and not root.recordings:
        say_empty(root)
        return None
    return root


def say_empty(root: DataRoot) -> None:
    """Tell that a root holds no recording, what would be one, and offer where some are."""
    st.info(
        f"{plain(root.path)} holds no recordings. It should have folders such as "
        "`labels_dev/<split>/<recording>_std.json`, `mic_dev/<split>/<recording>.wav` and "
        "`video_dev/<split>/<recording>.mp4`; any one of them is enough. Choose another folder under **Data**."
    )
    say_problems(root.problems)
    _ways_out(str(root.path), str(demo_root()), where="empty")


def say_problems(problems: tuple[str, ...]) -> None:
    """List files that were left out, each with its reason."""
    for problem in problems[:20]:
        st.warning(plain(problem))
    if len(problems) > 20:
        st.caption(f"... and {len(problems) - 20} more.")


def _root_field(demo: str) -> str:
    entered = address.text_field(
        "Data root",
        name=keys.ROOT,
        default=demo,
        on_change=_chosen,
        disabled=not permissions.paths_allowed(),
        help="A folder in the official layout: labels_dev, mic_dev, video_dev ... Any part of it is enough. "
        "Paste a path as it is: quotes, `~` and `file://` are understood.",
    )
    return entered.strip() or demo


def _chosen() -> None:
    """The user, not a link, has named the root; what was pasted becomes a plain path."""
    st.session_state[keys.ROOT_CHOSEN] = True
    with suppress(SaiError):
        entered = str(st.session_state[keys.ROOT]).strip()
        if entered.startswith(("'", '"', "file:")):
            st.session_state[keys.ROOT] = str(user_path(entered))


def open_root(path: str) -> None:
    """Let all pages look at another root, as if the user had typed it; for callbacks of widgets."""
    st.session_state[keys.ROOT] = path
    st.session_state[keys.BROWSE] = path
    _chosen()


def _ways_out(path: str, demo: str, *, where: str) -> None:
    """Buttons out of a folder that is not the right one."""
    try:
        better = better_roots(path)
    except SaiError:
        better = ()
    with st.container(horizontal=True, gap="small"):
        for number, folder in enumerate(better):
            st.button(
                f"Open {plain(folder)}",
                key=f"better_{where}_{number}",
                icon=":material/folder_open:",
                on_click=open_root,
                args=(str(folder),),
            )
        if path != demo:
            st.button("Open the demo", key=f"demo_{where}", icon=":material/home:", on_click=open_root, args=(demo,))


def _recent(path: str, demo: str) -> None:
    """The last opened roots, and the way back to the demo."""
    others = [str(recent) for recent in workspace().recent_roots() if str(recent) != path]
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        if others:
            st.selectbox(
                "Recent",
                others,
                index=None,
                key=keys.RECENT,
                format_func=_short,
                placeholder="recent folders",
                label_visibility="collapsed",
                on_change=_open_recent,
            )
        if path != demo:
            st.button("Demo", key="demo_panel", icon=":material/home:", on_click=open_root, args=(demo,))


def _open_recent() -> None:
    if chosen := st.session_state.get(keys.RECENT):
        st.session_state[keys.RECENT] = None
        open_root(str(chosen))


def _short(path: str) -> str:
    """A path as a line of a list: its name first, which is what one looks for."""
    folder = Path(path)
    return shown(f"{folder.name}  ·  {folder.parent}")


def _remember(path: Path) -> None:
    if problem := workspace().remember_root(path):  # no reason to show nothing
        st.caption(plain(problem))


def _browser(path: str) -> None:
    """Folders of the machine that the app runs on."""
    with st.expander("Browse folders", icon=":material/account_tree:"):
        at = str(st.session_state.get(keys.BROWSE) or path)
        try:
            listing = list_folder(at)
        except SaiError as error:
            st.markdown(f":red[{plain(error)}]")
            _places()
            return
        _places()
        here = str(listing.here.path)
        st.caption(plain(here) + _badge(listing.here))
        by_path = {str(folder.path): folder for folder in listing.folders}
        with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
            st.button(
                "Up",
                key="browse_up",
                icon=":material/arrow_upward:",
                disabled=listing.parent is None,
                on_click=_go_into,
                args=(str(listing.parent),),
            )
            st.selectbox(
                "Folder",
                list(by_path),
                index=None,
                key=keys.BROWSE_PICK,
                format_func=lambda p: shown(Path(p).name) + _badge(by_path.get(p, Folder(Path(p)))),
                placeholder=f"{len(by_path)} folders" if by_path else "no folders here",
                disabled=not by_path,
                label_visibility="collapsed",
                on_change=_go_into_picked,
            )
        if listing.n_more:
            st.caption(f"{listing.n_more} more folders are not listed; type the path above.")
        with st.container(horizontal=True, gap="small"):
            st.button(
                "Open as data root",
                key="browse_open",
                type="primary" if listing.here.kind == "data" else "secondary",
                on_click=open_root,
                args=(here,),
                disabled=here == path,
            )
            if listing.here.kind == "predictions":
                st.button("Add as predictions", key="browse_add", on_click=add_predictions, args=(here,))


def _places() -> None:
    """Where to begin to look: the folders that the app opens, or the home folder."""
    try:
        folders = allowed_folders()
    except SaiError:  # told already
        return
    with st.container(horizontal=True, gap="small"):
        for number, folder in enumerate(folders):
            label = plain(folder.name or folder)
            st.button(label, key=f"browse_place_{number}", help=plain(folder), on_click=_go_into, args=(str(folder),))
        if not folders:
            st.button("Home folder", key="browse_home", on_click=_go_into, args=(str(Path.home()),))


def _badge(folder: Folder) -> str:
    return {"data": "  ·  data root", "predictions": "  ·  predictions", "": ""}[folder.kind]


def _go_into(path: str) -> None:
    st.session_state[keys.BROWSE] = path


def _go_into_picked() -> None:
    if chosen := st.session_state.get(keys.BROWSE_PICK):
        st.session_state[keys.BROWSE_PICK] = None
        _go_into(str(chosen))


def _labels_field(path: str) -> str:
    """Choice of the label set; drawn only where there is one."""
    try:
        names = [stored.name for stored in label_sets(sources.data_root(path))]
    except SaiError:
        names = []
    asked = address.asked(keys.LABELS)
    if asked is not None or address.navigated():
        kept = asked or OWN_LABELS
    elif st.session_state.get(keys.LABELS_ROOT, path) != path:
        kept = OWN_LABELS  # of other data
    else:
        remembered = st.session_state.get(keys.REMEMBERED, {}).get(keys.LABELS, OWN_LABELS)
        kept = str(st.session_state.get(keys.LABELS, remembered))
    st.session_state[keys.LABELS_ROOT] = path
    if kept and kept not in names:
        names.append(kept)  # a path, a set of other data, or one that is gone, which is told when it is opened
    if not names:
        address.write({keys.LABELS: None})
        st.session_state[keys.LABELS] = OWN_LABELS
        return OWN_LABELS
    st.session_state[keys.LABELS] = kept
    chosen = st.selectbox(
        "Labels",
        [OWN_LABELS, *names],
        key=keys.LABELS,
        format_func=lambda name: shown(name) or "those of the data root",
        help="What every page shows as ground truth and scores against. A recording without a label in the chosen set "
        "counts as unlabelled: sets are never mixed.",
    )
    address.write({keys.LABELS: chosen or None})
    return str(chosen)


def choose_labels(name: str) -> None:
    """Let all pages take a label set for the truth ("" for the data root's own); for callbacks of widgets."""
    st.session_state[keys.LABELS] = name
    st.session_state[keys.REMEMBERED] = {**st.session_state.get(keys.REMEMBERED, {}), keys.LABELS: name}


def predictions_added() -> tuple[str, ...]:
    """Folders, files and names of sets that the user has added to the root's own predictions."""
    return sources.entries(str(st.session_state.get(keys.PREDICTION_FOLDER, "") or ""))


def add_predictions(entry: str) -> None:
    """Add a folder, a file or the name of a set to what all pages show; for callbacks of widgets."""
    if entry := entry.strip():
        with suppress(SaiError):  # a name that is no path is told when it is opened
            if (path := user_path(entry)).exists():
                entry = str(path.absolute())
        added = dict.fromkeys((*predictions_added(), entry))
        st.session_state[keys.PREDICTION_FOLDER] = "\n".join(added)


def _remove_predictions(entry: str) -> None:
    st.session_state[keys.PREDICTION_FOLDER] = "\n".join(added for added in predictions_added() if added != entry)


def _add_entered() -> None:
    add_predictions(str(st.session_state.get(keys.PREDICTION_ENTRY, "")))
    st.session_state[keys.PREDICTION_ENTRY] = ""


def _predictions_field() -> tuple[str, ...]:
    address.remembered(keys.PREDICTION_FOLDER)
    st.text_input(
        "More predictions",
        key=keys.PREDICTION_ENTRY,
        placeholder="folder, file or set name; press Enter to add it",
        on_change=_add_entered,
        help="Predictions outside the data root: a folder of <recording>.json or <recording>_inference.json, one "
        "such file, or a set of the workspace that was made from other data. Sets made here from these data are "
        "listed without being added.",
    )
    for number, entry in enumerate(predictions_added()):
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            st.caption(plain(entry), width="stretch")
            st.button(
                "",
                key=f"predictions_remove_{number}",
                icon=":material/close:",
                type="tertiary",
                help="Removes it from this list; its files stay.",
                on_click=_remove_predictions,
                args=(entry,),
            )
    return predictions_added()


def _weights() -> None:
    roles.path_in_address(
        "UpLAM weights",
        name=keys.UPLAM_WEIGHTS,
        placeholder="the weights that ship",
        help="For the acoustic map over the video: the official UpLAM.pth or a file trained here.",
    )
    roles.path_in_address(
        "LAM-32 weights",
        name=keys.LAM32_WEIGHTS,
        placeholder="lam_32_ch.pth",
        help="For the acoustic map of 32-channel recordings (eigen_dev).",
    )

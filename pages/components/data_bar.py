"""Which data folder the pages look at: one choice for all of them, in the address and kept between pages."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components import address, sources
from pages.components import state_keys as keys
from pages.components.text import plain
from sai_core.dataset import DataRoot, demo_root
from sai_core.errors import SaiError


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
        None when the folder cannot be opened; the page has told why and what to do.
    """
    demo = str(demo_root())
    with (bar or st.container()).popover("Data", icon=":material/folder_open:"):
        path = address.text_field(
            "Data root",
            name=keys.ROOT,
            default=demo,
            help="A folder in the official layout: labels_dev, mic_dev, video_dev ... Any part of it is enough.",
        )
        extra = address.text_field(
            "More predictions",
            name=keys.PREDICTION_FOLDER,
            placeholder="folder or file, anywhere",
            help="Prediction files outside of the data root: <recording>.json or <recording>_inference.json.",
        )
        if acoustic_weights:
            address.text_field(
                "UpLAM weights",
                name=keys.UPLAM_WEIGHTS,
                placeholder="those that ship with the program",
                help="For the acoustic map over the video: the official UpLAM.pth or a file trained here.",
            )
            address.text_field(
                "LAM-32 weights",
                name=keys.LAM32_WEIGHTS,
                placeholder="lam_32_ch.pth",
                help="For the acoustic map of 32-channel recordings (eigen_dev).",
            )
        st.caption("Files are only read, never changed.")
    path, extra = path.strip() or demo, extra.strip()
    try:
        return sources.data_root(path, extra)
    except SaiError as error:
        st.error(plain(error))
        if path == demo:
            st.info("The demo recordings are missing from this copy of the program; choose a folder under **Data**.")
        else:
            st.info("Correct the path under **Data**; an empty *Data root* opens the demo recordings.")
    return None


def choose_filled_root(bar: DeltaGenerator | None = None, *, acoustic_weights: bool = False) -> DataRoot | None:
    """As :func:`choose_root`, for pages that need recordings: None also for a root without any, which is told."""
    root = choose_root(bar, acoustic_weights=acoustic_weights)
    if root is not None and not root.recordings:
        say_empty(root)
        return None
    return root


def say_empty(root: DataRoot) -> None:
    """Tell that a root holds no recording, and what would be one."""
    st.info(
        f"{plain(root.path)} holds no recording. Expected are folders such as "
        "`labels_dev/<split>/<recording>_std.json`, `mic_dev/<split>/<recording>.wav` and "
        "`video_dev/<split>/<recording>.mp4`; any of them is enough. Choose another folder under **Data**."
    )
    say_problems(root.problems)


def say_problems(problems: tuple[str, ...]) -> None:
    """List files that were left out, each with its reason."""
    for problem in problems[:20]:
        st.warning(plain(problem))
    if len(problems) > 20:
        st.caption(f"... and {len(problems) - 20} more.")

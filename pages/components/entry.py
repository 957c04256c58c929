"""Every page is shown by ``app.py``, also when its own address is the first thing a fresh server is asked for."""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager


def through_app() -> None:
    """Start over through ``app.py`` if Streamlit runs this page by itself.

    A folder named ``pages`` makes a fresh server run its files as pages of an older kind, without ``app.py``, until
    ``st.navigation`` has been called once. A link to a page would then open it without navigation, theme and width.
    """
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()

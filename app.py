"""Entry point: `streamlit run app.py`. Pages, title, theme, and the server's guard; nothing else.

Streamlit finds the server ``app`` in this file and imports it once, under the file's name; for every look at a page it
runs the file again, as ``__main__``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from streamlit.runtime.pages_manager import PagesManager
from streamlit.starlette import App

from pages.components import address, identity
from pages.components.guard import Guard, exposure
from pages.components.text import plain
from sai_core import permissions
from sai_core.environment import check_torch_pair
from sai_core.threads import limit_blas


def main() -> None:
    """Draw the page that the address names."""
    # a file of our own: Streamlit fetches icon-font page icons from the network
    icon = str(Path(__file__).parent / "pages" / "components" / "icon.png")
    st.set_page_config(page_title="SAI Explorer", page_icon=icon, layout="wide")
    st.logo(icon, size="large")
    _style()
    identity.gate()  # before anything else: nobody without a role gets further

    pages = [
        st.Page("pages/home/page.py", title="Home", icon=":material/home:", default=True),
        st.Page("pages/dataset/page.py", title="Dataset", url_path="dataset", icon=":material/dataset:"),
        st.Page("pages/explorer/page.py", title="Explorer", url_path="explorer", icon=":material/visibility:"),
        st.Page("pages/predict/page.py", title="Predict", url_path="predict", icon=":material/network_node:"),
        st.Page("pages/tune/page.py", title="Tune", url_path="tune", icon=":material/tune:"),
        st.Page("pages/scores/page.py", title="Scores", url_path="scores", icon=":material/leaderboard:"),
        st.Page("pages/review/page.py", title="Review", url_path="review", icon=":material/rate_review:"),
        st.Page("pages/figures/page.py", title="Figures", url_path="figures", icon=":material/image:"),
        st.Page("pages/train/page.py", title="Train", url_path="train", icon=":material/model_training:"),
        st.Page("pages/label/page.py", title="Label audio", url_path="label", icon=":material/graphic_eq:"),
        st.Page("pages/doctor/page.py", title="Doctor", url_path="doctor", icon=":material/stethoscope:"),
    ]
    if permissions.enforced():
        pages.append(st.Page("pages/account/page.py", title="Account", url_path="account", icon=":material/person:"))

    st.cache_resource(limit_blas, show_spinner=False)()
    # Python's 5 ms: a page that asks for a picture would wait so long after every packet while a prediction runs
    sys.setswitchinterval(0.0005)
    # looked at once for all sessions: it reads what is installed, which does not change while the app runs
    if problem := st.cache_resource(check_torch_pair, show_spinner=False)():
        st.warning(plain(problem))

    page = st.navigation(pages, position="top")
    paths = [entry.url_path for entry in pages]
    address.keep_place(page.url_path, paths)
    page.run()
    address.keep(page.url_path, paths)


def _style() -> None:
    # Constant text, no data. The viewer needs the page's full width, and it must not fade while the script fetches its
    # next frames: it stays usable meanwhile.
    st.html(
        "<style>"
        ".stMainBlockContainer { padding-left: 1.25rem; padding-right: 1.25rem; }"
        # Streamlit writes white on the primary colour, which the dark theme's light blue cannot carry (2.6:1)
        ":is([data-testid=stBaseButton-primary], [data-testid=stBaseButton-primaryFormSubmit]):not(:disabled),"
        "[data-testid=stMultiSelectTagsContainer] [data-tag] { color: light-dark(#ffffff, #0b0e14) !important; }"
        # its syntax colours are as faint (2.8:1), and a command line needs none
        "[data-testid=stCode] .token { color: inherit !important; }"
        # a chart's words keep the colour of the theme in which it was drawn, and Streamlit's own are faint (3.7:1)
        ".js-plotly-plot :is(g[class*=tick] text, text[class*=title], .legendtext, .annotation-text)"
        " { fill: light-dark(#1b2230, #e6e9ef) !important; }"
        ".stElementContainer[data-stale=true]:has(.stBidiComponent)"
        " { opacity: 1 !important; transition: none !important; }"
        # seven figures side by side also at 1280
        "@media (max-width: 1400px) { .st-key-tune_headline [data-testid=stMetricValue], .st-key-tune_headline"
        " [data-testid=stMetricValue] * { font-size: 1.5rem !important; }"
        " .st-key-tune_headline [data-testid=stMetric] { padding-inline: 0.6rem !important; } }"
        # the bar of Review in one row at 1024: its menus by their icons; their names stay for who does not see
        "@media (max-width: 1200px) { .st-key-sai_review_bar [data-testid=stPopoverButton] { padding-inline: 0.5rem;"
        " & [data-testid=stMarkdownContainer]"
        " { position: absolute; clip-path: inset(50%); width: 1px; overflow: hidden; }"
        " & > [aria-hidden=true], & > * > [aria-hidden=true] { display: none; } } }"
        ".st-key-sai_place, .st-key-sai_address, .st-key-sai_address_fragment, .st-key-sai_go { display: none; }"
        "</style>"
    )


if __name__ == "__main__":
    main()
else:
    # a folder named "pages" makes a fresh server look in it for pages of an older kind, until st.navigation is called
    PagesManager.uses_pages_directory = False
    if reason := identity.install() or exposure():
        sys.exit(reason)
    app = App(Path(__file__), middleware=[Middleware(Guard)])

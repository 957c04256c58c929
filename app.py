"""Entry point: `streamlit run app.py`. Pages, title, theme; nothing else."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.components.text import plain
from sai_core.environment import check_torch_pair

# a file of our own: Streamlit fetches icon-font page icons from the network
ICON = str(Path(__file__).parent / "pages" / "components" / "icon.png")
st.set_page_config(page_title="SAI Explorer", page_icon=ICON, layout="wide")
st.logo(ICON, size="large")

PAGES = []
for name, title, icon in (
    ("home", "Home", "home"),
    ("explorer", "Explorer", "visibility"),
    ("predict", "Predict", "network_node"),
    ("tune", "Tune", "tune"),
    ("scores", "Scores", "leaderboard"),
    ("review", "Review", "rate_review"),
    ("figures", "Figures", "image"),
    ("train", "Train", "model_training"),
    ("label", "Label audio", "graphic_eq"),
    ("doctor", "Doctor", "stethoscope"),
):
    if (Path(__file__).parent / "pages" / f"{name}.py").is_file():
        PAGES.append(st.Page(f"pages/{name}.py", title=title, icon=f":material/{icon}:", default=name == "home"))

# looked at once for all sessions: it reads what is installed, which does not change while the app runs
if problem := st.cache_resource(check_torch_pair, show_spinner=False)():
    st.warning(plain(problem))

# Constant text, no data. The viewer needs the page's full width, and it must not fade while the script fetches its
# next frames: it stays usable meanwhile.
st.html(
    "<style>"
    ".stMainBlockContainer { padding-left: 1.25rem; padding-right: 1.25rem; }"
    ".stElementContainer[data-stale=true]:has(.stBidiComponent) { opacity: 1 !important; transition: none !important; }"
    "</style>"
)

st.navigation(PAGES, position="top").run()

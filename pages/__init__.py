"""Streamlit pages, one file each; thin layers over ``sai_core``."""

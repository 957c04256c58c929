"""Streamlit pages, one package each; thin layers over ``sai_core``."""

"""Several submissions to one, and the weights with which that is worth it; no streamlit, no torch."""

from sai_core.fusion.fuse import FusionSettings, fuse_tables
from sai_core.fusion.search import FusionSearch, search_weights

__all__ = ["FusionSearch", "FusionSettings", "fuse_tables", "search_weights"]

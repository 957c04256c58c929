"""Detection networks on the 360 x 180 canvas. Torch is imported with this package; no files, no settings of the app."""

from sai_core.detector.baseline import OfficialBaseline, load_official_baseline

__all__ = ["OfficialBaseline", "load_official_baseline"]

"""From a recording to raw detections: one pass of features and network, stored, resumable, never repeated."""

from sai_core.inference.store import RawDetections, RawWriter, open_raw

__all__ = ["RawDetections", "RawWriter", "open_raw"]

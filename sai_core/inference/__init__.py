"""From a recording to raw detections: one pass of features and network, stored, resumable, never repeated."""

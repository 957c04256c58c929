"""Try post-processing settings on stored raw detections, fast enough to play with; no streamlit, no torch.

What is slow in an evaluation (rendering the regions, comparing them with the labels) depends on a candidate and on the
settings of the export alone, so it is done once for each candidate that some setting pairs with a label. A change of a
threshold, of NMS, caps, tracking or gating reruns the selection and the official assignment on columns.
"""

from sai_core.tuning.bench import TuningRecording, TuningResult, TuningSet, detections_in_range
from sai_core.tuning.calibration import Calibration, fit_calibration
from sai_core.tuning.curves import Curve, precision_recall_curves
from sai_core.tuning.discovery import RawSet, find_raw_sets, open_raw_set, raw_set
from sai_core.tuning.quality import QualityFit, fit_quality, learn_network
from sai_core.tuning.search import HeatMap, ThresholdSearch, heat_map, search_thresholds

__all__ = [
    "Calibration",
    "Curve",
    "HeatMap",
    "QualityFit",
    "RawSet",
    "ThresholdSearch",
    "TuningRecording",
    "TuningResult",
    "TuningSet",
    "detections_in_range",
    "find_raw_sets",
    "fit_calibration",
    "fit_quality",
    "heat_map",
    "learn_network",
    "open_raw_set",
    "precision_recall_curves",
    "raw_set",
    "search_thresholds",
]

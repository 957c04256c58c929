"""Every name under which pages keep something: session state, widgets, and the address (query parameters).

Widgets bound to the address use their key as the parameter's name, so these names are part of every saved link.
"""

from __future__ import annotations

from typing import Final

ROOT: Final[str] = "root"
RECORDING: Final[str] = "rec"
SYSTEM_A: Final[str] = "a"
SYSTEM_B: Final[str] = "b"
FRAME: Final[str] = "frame"
"""Written by the player itself (JavaScript), never by a widget, so that a frame step costs no rerun."""

VIEW: Final[str] = "view"
"""Zoom, pan, layout and single source, as the player writes them."""

REMEMBERED: Final[str] = "remembered_choices"
"""Choices of this session by parameter name: a switch to another page empties the address."""

PREDICTION_FOLDER: Final[str] = "predictions"
UPLAM_WEIGHTS: Final[str] = "uplam"
LAM32_WEIGHTS: Final[str] = "lam32"
PLAYER: Final[str] = "player"

LABEL_ROOT: Final[str] = "label_root"
LABEL_RECORDING: Final[str] = "label_recording"
LABEL_FOLDER: Final[str] = "label_folder"
LABEL_FIXED: Final[str] = "label_fixed"
LABEL_RAW: Final[str] = "label_raw"
LABEL_REPLACE: Final[str] = "label_replace"
LABEL_PLAYER: Final[str] = "label_player"

SCORES_VIEW: Final[str] = "scores_view"
SCORES_SPLIT: Final[str] = "scores_split"
SCORES_REVISION: Final[str] = "scores_revision"
SCORES_SYSTEM: Final[str] = "scores_a"
SCORES_OTHER: Final[str] = "scores_b"
SCORES_COMMON: Final[str] = "scores_common"
SCORES_THRESHOLD: Final[str] = "scores_iou"
SCORES_CLASS: Final[str] = "scores_class"
SCORES_RESAMPLES: Final[str] = "scores_resamples"
SCORES_SEED: Final[str] = "scores_seed"
SCORES_SHARES: Final[str] = "scores_shares"
SCORES_STRETCHES: Final[str] = "scores_stretches"
SCORES_FOCUS: Final[str] = "scores_focus"
"""The figure whose frames are listed (:class:`pages.components.scores_moments.Focus`)."""

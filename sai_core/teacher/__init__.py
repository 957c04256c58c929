"""A DCASE 2023 teacher of our own: log-mel and spatial features, a CRNN, Multi-ACCDOA, DCASE CSVs out.

The report's Track B systems take a pretrained DCASE 2023 model as a prior. Any system's CSVs will do for that; this
room trains one where there is none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sai_core.installation import asset

SHIPPED_TEACHER: Final[Path] = asset("weights", "teacher.safetensors")
"""Trained on simulated recordings (docs/systems.md); listens to ambisonics."""

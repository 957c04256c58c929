"""The one configuration of our own detectors; saved as JSON inside every checkpoint."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

from sai_core.checkpoints import settings_from
from sai_core.errors import InputError


@dataclass(frozen=True)
class DetectorConfig:
    """What a network is built from. Two equal configurations build networks with equal state-dict keys.

    Attributes
    ----------
    track : "A" or "B"
        A: acoustic maps alone. B: acoustic maps with RGB frames.
    backbone : "resnet18" or "resnet50"
        Of the acoustic stream (A) or the visual stream (B). ``resnet18`` is the small variant.
    channels : int
        Width of the pyramid.
    seam : "circular" or "zero"
        How convolutions pad in azimuth, and whether boxes may cross the seam. ``zero`` is the plain image treatment,
        kept for comparison.
    neck : bool
        Transformer over the coarse levels (the report's optional Transformer neck).
    conformer : bool
        ResNet-Conformer context adapter on compact tokens (Track B; the report's Track A diagnostic).
    gated_fusion, roi_cmaf : bool
        Track B's fusion at the pyramid and at the RoI. Without the first the audio reaches only the RoIs; without
        both, the network is visual only.
    full_decoder : bool
        Full-frame energy decoder.
    aux_classifier : bool
        Frame-level multi-label classifier on P5; only its loss matters (FAO trains without it).
    embedding_dim : int
        Auxiliary instance embedding; 0 for none.
    acoustic_channels : int
        Channels of the light acoustic pyramid of Track B.
    n_bands : int
        Acoustic input channels.
    anchor_sizes_deg : tuple of float
        Side of the square anchor of each level P2..P5, in degrees; each with ratios 1:2, 1:1, 2:1. With
        ``first_level`` 3 the first is not used.
    width : int
        Channels of the ResNet's first stage; 64 is the usual network, fewer make a narrow one for training on a CPU.
    first_level : 2 or 3
        Finest pyramid level. With 3 nothing works on P2, which costs most: sources are 20 to 50 degrees wide, and
        a cell of P3 has 7.5.
    coarse_stem : bool
        Halve the canvas of the acoustic maps before their first convolution (Track A: which then leads to stride 4
        without pooling). The maps have 484 points, 9 degrees apart, so nothing is lost.
    log_maps : bool
        Take ``log(1 + 50 x) / 4`` of the acoustic maps, whose values span three decades.
    context_frames : int
        Frames before and after the present one whose band levels, in the direction of a region, help to classify it
        (:mod:`sai_core.detector.spectrum`); 0 for none.
    cmaf_width : int
        Width of the cross-modal attention at the regions, which costs most where regions are many.
    band_scale : "own" or "frame"
        How acoustic maps are normalised inside the network. ``own``: as they come (Track A), instance norm of each
        band by itself (Track B, as the official baseline). ``frame``: divided by the frame's largest value over all
        bands, so that the bands keep their proportions (the report's inter-band normalisation).
    energy_weights : "pixels" or "terms"
        What the report's weights 10 and 5 of the energy losses belong to. ``pixels``: annotated pixels (the official
        code). ``terms``: the terms themselves, all pixels alike. Matters in training alone.
    frozen_norm : bool
        Frozen batch norm in the ResNet, which is what pretrained weights need; group norm otherwise.
    """

    track: Literal["A", "B"] = "A"
    backbone: Literal["resnet18", "resnet50"] = "resnet50"
    channels: int = 256
    seam: Literal["circular", "zero"] = "circular"
    neck: bool = False
    conformer: bool = False
    gated_fusion: bool = True
    roi_cmaf: bool = True
    full_decoder: bool = True
    aux_classifier: bool = True
    embedding_dim: int = 32
    acoustic_channels: int = 64
    n_bands: int = 9
    anchor_sizes_deg: tuple[float, ...] = (14.0, 26.0, 48.0, 90.0)
    width: int = 64
    first_level: int = 2
    coarse_stem: bool = False
    log_maps: bool = False
    context_frames: int = 0
    frozen_norm: bool = False
    cmaf_width: int = 128
    band_scale: Literal["own", "frame"] = "own"
    energy_weights: Literal["pixels", "terms"] = "pixels"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("track", ("A", "B")),
            ("backbone", ("resnet18", "resnet50")),
            ("seam", ("circular", "zero")),
            ("band_scale", ("own", "frame")),
            ("energy_weights", ("pixels", "terms")),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"detector configuration: {name} is {getattr(self, name)!r}; one of {', '.join(allowed)} is needed."
                )
        if self.channels % 8 or self.channels < 32 or self.acoustic_channels < 8:
            raise InputError(
                f"detector configuration: channels {self.channels} must be a multiple of 8 from 32 on and "
                f"acoustic_channels {self.acoustic_channels} at least 8."
            )
        if len(self.anchor_sizes_deg) != 4 or min(self.anchor_sizes_deg) <= 0:
            raise InputError("detector configuration: anchor_sizes_deg needs four sizes > 0, for P2 to P5.")
        sizes = (self.channels, self.acoustic_channels, self.embedding_dim, self.n_bands, self.cmaf_width)
        if max(sizes) > 4096:
            raise InputError(f"detector configuration: {max(sizes)} is too many; no network here has more than 4096.")
        if self.embedding_dim < 0 or self.n_bands < 1:
            raise InputError("detector configuration: embedding_dim must be >= 0 and n_bands >= 1.")
        if self.width % 8 or not 16 <= self.width <= 64 or (self.width != 64 and self.backbone != "resnet18"):
            raise InputError(f"detector configuration: width {self.width} must be 16, 24 ... 64, and 64 for resnet50.")
        if self.first_level not in (2, 3):
            raise InputError(f"detector configuration: first_level is {self.first_level}; 2 or 3 is needed.")
        if self.cmaf_width < 16 or self.cmaf_width % 8:
            raise InputError(f"detector configuration: cmaf_width {self.cmaf_width} must be 16, 24, 32 ...")
        if not 0 <= self.context_frames <= 100:
            raise InputError(f"detector configuration: context_frames is {self.context_frames}; 0 to 100 is needed.")
        object.__setattr__(self, "anchor_sizes_deg", tuple(float(s) for s in self.anchor_sizes_deg))

    @classmethod
    def small(cls, track: Literal["A", "B"] = "A", **changes: Any) -> DetectorConfig:
        """The small variant: resnet18 and 128 channels; ``changes`` override single fields."""
        return cls(**{"track": track, "backbone": "resnet18", "channels": 128, **changes})

    def to_json(self) -> str:
        """Write as JSON, keys in the order of the fields."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> DetectorConfig:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        InputError
            Not JSON, an unknown key, a value out of range.
        """
        config: DetectorConfig = settings_from(cls, text, "detector configuration")
        return config

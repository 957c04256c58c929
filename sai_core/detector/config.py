"""The one configuration of our own detectors; saved as JSON inside every checkpoint."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from sai_core.errors import InputError
from sai_core.settings import Settings, about, build_json

Size = Annotated[float, Meta(gt=0)]


@dataclass(frozen=True)
class FieldConfig(Settings):
    """What a field network is built from."""

    channels: Annotated[int, about("numbers that a layer keeps of a point", ge=4, le=1024)] = 32
    blocks: Annotated[int, about("layers; each looks one frame further back and ahead", ge=1, le=32)] = 2
    degree: Annotated[int, about("highest degree of the filters on the sphere", ge=1, le=20)] = 10

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> FieldConfig:
        """Read what :meth:`to_json` wrote; an :class:`InputError` for anything else."""
        config: FieldConfig = build_json(cls, text, "configuration of a field network")
        return config


@dataclass(frozen=True)
class WidebandConfig(Settings):
    """What a wideband listener is built from."""

    width: Annotated[int, about("channels of the first layer; the others follow", ge=2, le=256)] = 16

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WidebandConfig:
        """Read what :meth:`to_json` wrote; an :class:`InputError` for anything else."""
        config: WidebandConfig = build_json(cls, text, "configuration of a wideband listener")
        return config


@dataclass(frozen=True)
class DetectorConfig(Settings):
    """What a network is built from. Two equal configurations build networks with equal state-dict keys."""

    track: Annotated[
        Literal["A", "B"], about("A: acoustic maps alone; B: acoustic maps with RGB frames", label="Track")
    ] = "A"
    backbone: Annotated[
        Literal["resnet18", "resnet50"],
        about("of the acoustic stream (A) or the visual stream (B); resnet18 is the small variant"),
    ] = "resnet50"
    channels: Annotated[int, about("width of the pyramid", ge=32, le=4096, multiple_of=8)] = 256
    seam: Annotated[
        Literal["circular", "zero"],
        about(
            "how convolutions pad in azimuth, and whether boxes may cross the seam; zero is the plain image "
            "treatment, kept for comparison"
        ),
    ] = "circular"
    neck: Annotated[bool, about("Transformer over the coarse levels (the report's optional Transformer neck)")] = False
    conformer: Annotated[
        bool,
        about(
            "ResNet-Conformer context adapter on compact tokens (Track B; the report's Track A diagnostic)",
        ),
    ] = False
    gated_fusion: Annotated[
        bool, about("Track B's fusion at the pyramid; without it the audio reaches only the RoIs")
    ] = True
    roi_cmaf: Annotated[
        bool,
        about("Track B's fusion at the RoI; without both fusions the network is visual only", label="RoI-CMAF"),
    ] = True
    full_decoder: Annotated[bool, about("full-frame energy decoder")] = True
    aux_classifier: Annotated[
        bool,
        about("frame-level multi-label classifier on P5; only its loss matters (FAO trains without it)"),
    ] = True
    embedding_dim: Annotated[int, about("auxiliary instance embedding; 0 for none", ge=0, le=4096)] = 32
    acoustic_channels: Annotated[int, about("channels of the light acoustic pyramid of Track B", ge=8, le=4096)] = 64
    n_bands: Annotated[int, about("acoustic input channels", ge=1, le=4096)] = 9
    anchor_sizes_deg: Annotated[
        tuple[Size, Size, Size, Size],
        about(
            "side of the square anchor of each level P2..P5, each with ratios 1:2, 1:1, 2:1; with first_level 3 the "
            "first is not used",
            unit="degrees",
        ),
    ] = (14.0, 26.0, 48.0, 90.0)
    width: Annotated[
        int,
        about(
            "channels of the ResNet's first stage; 64 is the usual network (and the only one for resnet50), fewer make "
            "a narrow one for training on a CPU",
            ge=16,
            le=64,
            multiple_of=8,
        ),
    ] = 64
    first_level: Annotated[
        Literal[2, 3],
        about(
            "finest pyramid level; with 3 nothing works on P2, which costs most: sources are 20 to 50 degrees wide, "
            "and a cell of P3 has 7.5"
        ),
    ] = 2
    coarse_stem: Annotated[
        bool,
        about(
            "halve the canvas of the acoustic maps before their first convolution (Track A: which then leads to "
            "stride 4 without pooling); the maps have 484 points, 9 degrees apart, so nothing is lost"
        ),
    ] = False
    log_maps: Annotated[bool, about("take log(1 + 50 x) / 4 of the acoustic maps, whose values span three decades")] = (
        False
    )
    context_frames: Annotated[
        int,
        about(
            "frames before and after the present one whose band levels, in the direction of a region, help to "
            "classify it; 0 for none",
            ge=0,
            le=100,
        ),
    ] = 0
    frozen_norm: Annotated[
        bool,
        about(
            "frozen batch norm in the ResNet, which is what pretrained weights need; group norm otherwise",
        ),
    ] = False
    cmaf_width: Annotated[
        int,
        about(
            "width of the cross-modal attention at the regions, which costs most where regions are many",
            ge=16,
            le=4096,
            multiple_of=8,
        ),
    ] = 128
    band_scale: Annotated[
        Literal["own", "frame"],
        about(
            "how acoustic maps are normalised inside the network. own: as they come (Track A), instance norm of each "
            "band by itself (Track B, as the official baseline); frame: divided by the frame's largest value over all "
            "bands, so that the bands keep their proportions (the report's inter-band normalisation)"
        ),
    ] = "own"
    energy_weights: Annotated[
        Literal["pixels", "terms"],
        about(
            "what the report's weights 10 and 5 of the energy losses belong to. pixels: annotated pixels (the official "
            "code); terms: the terms themselves, all pixels alike. Matters in training alone"
        ),
    ] = "pixels"
    energy_loss: Annotated[
        Literal["squared", "overlap"],
        about(
            "loss of the regions' energies. squared: the report's squared error; overlap: soft IoU and correlation, "
            "which are what is scored, and a little of the squared error for the level. Matters in training alone"
        ),
    ] = "squared"
    region: Annotated[
        Literal["roi", "field"],
        about(
            "what a network says of the shape of a region. roi: the report's energies of the region, stretched over "
            "its box; field: beside them the frame's intensity field, heard by four capsules and put right by what "
            'the pyramid sees, of which label code forms the region (systems with export = "field")'
        ),
    ] = "roi"
    field_channels: Annotated[
        int,
        about("with region = field: numbers that a layer of the field decoder keeps of a point", ge=4, le=1024),
    ] = 64
    field_blocks: Annotated[int, about("with region = field: layers of the field decoder", ge=1, le=32)] = 4
    field_degree: Annotated[
        int, about("with region = field: highest degree of the field decoder's filters on the sphere", ge=1, le=20)
    ] = 10

    @property
    def field(self) -> FieldConfig:
        """Of the field decoder within, where ``region`` is ``field``."""
        return FieldConfig(channels=self.field_channels, blocks=self.field_blocks, degree=self.field_degree)

    @property
    def field_reach(self) -> int:
        """Frames before and after each one that the field decoder within hears; 0 without one."""
        return self.field.blocks + 1 if self.region == "field" else 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width != 64 and self.backbone != "resnet18":
            raise InputError(f"width is {self.width}; 64 is needed for resnet50.")

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
        config: DetectorConfig = build_json(cls, text, "detector configuration")
        return config

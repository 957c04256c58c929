"""Settings of UpLAM's training; read without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Final, Literal

from msgspec import Meta

from sai_core.errors import InputError
from sai_core.settings import Settings, about

MAX_SOURCES: Final[int] = 4


@dataclass(frozen=True)
class SceneOptions(Settings):
    """What rooms, sources and noises are drawn; ranges are (low, high)."""

    recipe: Annotated[
        Literal["official", "report"],
        about(
            "visibilities that the spectra are for (ten 10 ms blocks, or nine 512-sample windows of three bins a band)"
        ),
    ] = "official"
    source_counts: Annotated[tuple[Annotated[float, Meta(ge=0)], ...], about("weights of 0, 1, 2, 3 and 4 sources")] = (
        0.03,
        0.45,
        0.27,
        0.16,
        0.09,
    )
    rt60_s: Annotated[tuple[float, float], about("reverberation time", unit="s")] = (0.15, 0.9)
    anechoic_share: Annotated[float, about("scenes with no reflections at all", ge=0, le=1)] = 0.08
    distance_m: Annotated[
        tuple[float, float],
        about("distance of sources from the array's centre (kept inside of the room)", unit="m"),
    ] = (0.7, 5.0)
    level_db: Annotated[
        float, about("sources differ by up to this much, drawn uniformly down from 0 dB", unit="dB", ge=0)
    ] = 10.0
    snr_db: Annotated[
        tuple[float, float],
        about(
            "power of a 0 dB source over the sensor noise (white, independent per capsule), averaged over the bands",
            unit="dB",
        ),
    ] = (0.0, 40.0)
    ambient_db: Annotated[tuple[float, float], about("the same over diffuse room noise", unit="dB")] = (5.0, 45.0)
    moving_share: Annotated[float, about("sources that move, at up to speed_deg_s around the array", ge=0, le=1)] = 0.3
    speed_deg_s: Annotated[float, about("largest speed of a moving source", unit="degrees/s", ge=0)] = 60.0
    mismatch: Annotated[
        tuple[float, float], about("standard deviation of the capsules' gain in dB and phase in degrees")
    ] = (0.3, 2.0)
    active_share: Annotated[
        float,
        about("frames in which a source is made to sound (otherwise it may be in a pause)", ge=0, le=1),
    ] = 0.92
    n_clips: Annotated[int, about("sounds in the bank", ge=1)] = 256
    clip_s: Annotated[float, about("length of a sound", unit="s", gt=0)] = 4.0
    frames_per_scene: Annotated[int, about("frames drawn from each room", ge=1)] = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = self.source_counts
        if not 1 <= len(counts) <= MAX_SOURCES + 1 or sum(counts) <= 0:
            raise InputError(f"source_counts is {counts}; expected up to {MAX_SOURCES + 1} weights, not all zero.")
        for name in ("rt60_s", "distance_m", "snr_db", "ambient_db"):
            low, high = getattr(self, name)
            if not low <= high:
                raise InputError(f"{name} is ({low}, {high}); the first must not exceed the second.")
        if self.rt60_s[0] <= 0.05 or self.distance_m[0] < 0.1:
            raise InputError("rt60_s must be above 0.05 s and distance_m at least 0.1 m.")


@dataclass(frozen=True, kw_only=True)
class DataConfig(Settings):
    """Training frames."""

    blocks: Annotated[int, about("blocks of frames, drawn once and kept in the cache folder", ge=1)] = 12
    block_frames: Annotated[int, about("frames of a block", ge=1)] = 8192
    frame_scale_share: Annotated[
        float,
        about("frames whose bands share one scale, so that both normalisations of the input are known", ge=0, le=1),
    ] = 0.3
    consensus_share: Annotated[
        float, about("how far a band's target map is drawn towards what all bands agree on", ge=0, le=1)
    ] = 0.67
    silent_band_share: Annotated[
        float, about("bands that are set to zero, input and target: silence must give silence", ge=0, le=1)
    ] = 0.02
    symmetries: Annotated[bool, about("turn each batch by one of the tetrahedron's 24 symmetries (docs/uplam.md)")] = (
        True
    )
    scenes: SceneOptions = field(default_factory=SceneOptions)


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Settings):
    """Widths of the network."""

    base_filter: Annotated[int, about("channels of the first convolution", ge=1)] = 32
    features: Annotated[int, about("width of the hidden layers", ge=1)] = 128


@dataclass(frozen=True, kw_only=True)
class LossConfig(Settings):
    """Weights of the loss terms."""

    sharpness: Annotated[float, about("exponent of the target maps (their peaks keep their height)", gt=0)] = 4.0
    band_weight: Annotated[float, about("cross-entropy of each band beside that of the mean over bands", ge=0)] = 0.5
    scale_weight: Annotated[float, about("squared difference of the logarithms of a map's total", ge=0)] = 0.02
    reconstruction_weight: Annotated[
        float, about("share of the 32-channel matrix that A diag(latent) A^H leaves unexplained", ge=0)
    ] = 0.05
    reconstruction_every: Annotated[
        int, about("steps between its evaluations (its weight is multiplied by this)", ge=1)
    ] = 4


@dataclass(frozen=True, kw_only=True)
class StageConfig(Settings):
    """One stage."""

    objective: Annotated[
        Literal["resolvent", "maps"], about("what is learned: the resolvent (on 1, 2 or 4 cells), or the maps")
    ] = "maps"
    cells: Annotated[Literal[1, 2, 4, 8], about("coarse to fine: no fewer than the stage before")] = 1
    steps: Annotated[int, about("of the stage", ge=0)] = 1000
    batch: Annotated[int, about("frames per step", label="Batch size", ge=1)] = 64
    rate: Annotated[float, about("of the network", label="Learning rate", gt=0)] = 2e-3
    kernel_rate: Annotated[float, about("learning rate of the kernels", gt=0)] = 5e-3
    average: Annotated[float, about("decay of the running mean of the weights; 0 for none", ge=0, lt=1)] = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective == "resolvent" and self.cells == 8:
            raise InputError("the resolvent is learned on coarse cells (1, 2 or 4).")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Settings):
    """All settings of a run."""

    seed: Annotated[int, about("seed of all random choices", ge=0)] = 1
    threads: Annotated[int, about("threads of torch on a CPU", ge=1)] = 1
    checkpoint_minutes: Annotated[float, about("time between checkpoints", unit="min", ge=0)] = 3.0
    validate_every: Annotated[int, about("steps between validations", ge=1)] = 1000
    validation_frames: Annotated[int, about("frames of a validation", ge=1)] = 2048
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    stages: tuple[StageConfig, ...] = (StageConfig(),)

    def __post_init__(self) -> None:
        super().__post_init__()
        for index, (before, stage) in enumerate(pairwise(self.stages), start=1):
            if stage.cells < before.cells:
                raise InputError(f"stages.{index} has fewer cells than the one before; stages go from coarse to fine.")

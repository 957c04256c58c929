"""Settings of a training run: one readable TOML file a recipe, ``--set key=value`` on top, resolved and typed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Final, Literal, get_args

from msgspec import Meta

from sai_core.acoustics.names import Grid, Magnitude, RecipeOrOwn
from sai_core.detector.config import DetectorConfig, FieldConfig, WidebandConfig
from sai_core.settings import Settings, about, check_names

Group = Literal[
    "stem", "layer1", "layer2", "layer3", "layer4", "fpn", "acoustic", "fusion", "context", "rpn", "heads", "field"
]
"""Parts of a network that have a learning rate and may be frozen; see :func:`sai_core.training.optimiser.group_of`."""

GROUPS: Final[tuple[Group, ...]] = get_args(Group)

LOSS_TERMS: Final[tuple[str, ...]] = (
    "rpn_objectness",
    "rpn_box",
    "class",
    "box",
    "roi_energy",
    "field",
    "full_energy",
    "distance",
    "cosine_margin",
    "frame_class",
)

SCORES: Final[tuple[str, ...]] = ("mAP", "AP50", "pearson")
COLUMNS: Final[tuple[str, ...]] = (
    "epoch",
    "step",
    "seconds",
    "kind",
    "total",
    *LOSS_TERMS,
    *SCORES,
    *(f"rate_{group}" for group in GROUPS),
)
"""Of a detector's ``metrics.csv``."""


@dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """Which recordings, and what is made of them."""

    train_splits: Annotated[
        tuple[str, ...],
        about(
            "patterns of split names to train on (* as in file names); where none matches, all recordings that are "
            "not for validation"
        ),
    ] = ("dev-train*",)
    validation_splits: Annotated[
        tuple[str, ...],
        about("patterns of split names to validate on; where none matches, holdout_share of the training recordings"),
    ] = ("dev-val*",)
    holdout_share: Annotated[float, about("share of recordings held out in that case", gt=0, le=0.9)] = 0.1
    frame_step: Annotated[
        int, about("train on every n-th frame; neighbours 100 ms apart are nearly the same picture", ge=1)
    ] = 1
    frames_per_epoch: Annotated[int, about("draws of an epoch; 0 for as many as there are frames", ge=0)] = 0
    rare_share: Annotated[float, about("share of an epoch drawn from frames with a rare class", ge=0, le=1)] = 0.5
    grid: Annotated[Grid, about("pixels that the lattice of maps is laid on")] = "official"
    magnitude: Annotated[Magnitude, about("how the energies of a map enter the network")] = "normalised"
    smooth_frames: Annotated[int, about("frames before and after that a map is averaged over", ge=0, le=50)] = 0
    weights: Annotated[str, about("UpLAM checkpoint; empty for the one that ships", label="UpLAM weights")] = ""
    visibility: Annotated[
        RecipeOrOwn,
        about("recipe of the matrices that maps are made from; empty for the one that the UpLAM was trained with"),
    ] = ""


@dataclass(frozen=True, kw_only=True)
class AugmentSettings(Settings):
    """Transforms of the training frames; see :mod:`sai_core.training.augment`."""

    shift: Annotated[bool, about("cyclic shift in azimuth by any whole number of degrees")] = True
    flip: Annotated[float, about("probability of the synchronised horizontal flip", ge=0, le=1)] = 0.5
    masked_bands: Annotated[int, about("at most this many bands are set to zero", ge=0, le=8)] = 2
    noise_sigma: Annotated[float, about("standard deviation of Gaussian noise on the acoustic maps", ge=0)] = 0.015
    noise_unit: Annotated[
        Literal["absolute", "relative", "peak"],
        about(
            "unit of noise_sigma: the maps' own, the standard deviation of the frame's maps, or the frame's largest "
            "value over all bands (the report's 0.015 on maps that are normalised across bands)"
        ),
    ] = "absolute"
    brightness: Annotated[float, about("the picture's factor is drawn from 1 - x to 1 + x", ge=0, le=1)] = 0.2
    contrast: Annotated[float, about("the picture's factor is drawn from 1 - x to 1 + x", ge=0, le=1)] = 0.2
    saturation: Annotated[float, about("the picture's factor is drawn from 1 - x to 1 + x", ge=0, le=1)] = 0.2


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings(Settings):
    """The learning strategy."""

    rate: Annotated[
        float, about("base learning rate: heads, stem, fusion and context", gt=0, label="Learning rate")
    ] = 1e-4
    scales: Annotated[
        Mapping[str, Annotated[float, Meta(ge=0)]],
        about("factors of the base rate; groups that are not named have 1"),
    ] = field(default_factory=lambda: {"layer1": 0.1, "layer2": 0.1, "layer3": 0.2, "layer4": 0.5, "fpn": 0.5})
    unfreeze: Annotated[
        Mapping[str, Annotated[int, Meta(ge=0)]],
        about("epoch (from 0) at which a group begins to learn; groups that are not named learn from the start"),
    ] = field(default_factory=lambda: {"layer4": 2, "fpn": 2, "layer3": 2, "layer2": 10, "layer1": 10})
    frozen: Annotated[
        tuple[Group, ...],
        about(
            "groups that never learn; only where starting weights are given, since frozen random layers teach nothing"
        ),
    ] = ()
    weight_decay: Annotated[float, about("of weights; biases, norms and gates have none", ge=0)] = 1e-4
    clip: Annotated[float, about("largest norm of the gradient", gt=0)] = 2.0
    warmup_steps: Annotated[int, about("steps over which the rate rises linearly", ge=0)] = 200
    plateau_factor: Annotated[float, about("factor of the rate on a plateau", gt=0, le=1)] = 0.5
    plateau_patience: Annotated[int, about("epochs without progress that make a plateau", ge=0)] = 3
    plateau_smooth: Annotated[int, about("number of last validation losses that are averaged", ge=1)] = 5
    final_share: Annotated[
        float,
        about(
            "share of the run at whose end the rate falls linearly to zero; 0 for the report's plan, which only has "
            "the plateau rule",
            ge=0,
            le=1,
        ),
    ] = 0.0
    average: Annotated[
        float,
        about("decay of a running mean of the weights, which is validated and kept as best; 0 for none", ge=0, lt=1),
    ] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names("scales", self.scales, GROUPS)
        check_names("unfreeze", self.unfreeze, GROUPS)


@dataclass(frozen=True, kw_only=True)
class ValidationSettings(Settings):
    """What is measured after each epoch."""

    frames: Annotated[int, about("frames of the validation loss, evenly spaced", ge=1)] = 256
    recordings: Annotated[int, about("whole recordings on which AP and Pearson r are measured; 0 for none", ge=0)] = 4
    every: Annotated[int, about("epochs between these measurements", ge=1)] = 1
    min_score: Annotated[
        float,
        about("score threshold of the exported detections; low, since AP wants the whole ranking", ge=0, le=1),
    ] = 0.05
    export: Annotated[
        Literal["region", "hull", "top_k"],
        about(
            "which points of a region are written; top_k, the official way, writes so small a part of a region that "
            "even perfect detections reach no IoU of 0.25 with dense labels"
        ),
    ] = "region"
    samples: Annotated[int, about("pictures of predictions kept of the last validation", ge=0)] = 4


@dataclass(frozen=True, kw_only=True)
class StartSettings(Settings):
    """Weights that a run starts from."""

    backbone: Annotated[
        str,
        about(
            "torchvision checkpoint (ImageNet classifier or COCO detector) for the backbone; torchvision for one that "
            "its cache on this machine holds; empty for none"
        ),
    ] = ""
    detector: Annotated[
        str,
        about(
            "checkpoint of one of our own detectors, or last.safetensors of a run; what fits is taken over; empty "
            "for none"
        ),
    ] = ""
    sounds: Annotated[
        str,
        about(
            "what train sounds made: the ear and the classifier of a network with model.context_frames; taken over "
            "after detector; empty for none"
        ),
    ] = ""
    field: Annotated[
        str,
        about(
            "what train field made: the decoder within a network with model.region = field, whose channels, blocks and "
            "degree must be the same; taken over after detector; empty for none"
        ),
    ] = ""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Settings):
    """All settings of a run; see the comments of the recipes."""

    name: Annotated[str, about("name of the recipe")] = "detector"
    seed: Annotated[int, about("seed of all random choices", ge=0)] = 1
    epochs: Annotated[int, about("passes over the drawn frames", ge=1)] = 30
    batch: Annotated[int, about("frames per step", ge=1, label="Batch size")] = 8
    threads: Annotated[int, about("threads of torch on a CPU; 0 for as many as it likes", ge=0)] = 0
    amp: Annotated[bool, about("mixed precision on a GPU", label="Mixed precision (GPU)")] = True
    cpu_bfloat16: Annotated[
        bool,
        about(
            "mixed precision on a CPU that has instructions for it (AVX-512 BF16, AMX); others train in float32, which"
            " is faster there"
        ),
    ] = False
    proposals: Annotated[int, about("proposals of a frame in training", ge=8)] = 300
    regions: Annotated[int, about("regions of a frame that classes and boxes learn from", ge=8)] = 128
    checkpoint_minutes: Annotated[float, about("time between checkpoints", unit="min", ge=0)] = 5.0
    log_every: Annotated[int, about("steps between rows of metrics.csv", ge=1)] = 20
    model: DetectorConfig = field(default_factory=DetectorConfig)
    data: DataSettings = field(default_factory=DataSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    loss: Annotated[
        Mapping[str, Annotated[float, Meta(ge=0)]], about("factors of the terms; those not named have 1")
    ] = field(default_factory=lambda: dict.fromkeys(LOSS_TERMS, 1.0))
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    start: StartSettings = field(default_factory=StartSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names("loss", self.loss, LOSS_TERMS)
        object.__setattr__(self, "loss", {**dict.fromkeys(LOSS_TERMS, 1.0), **self.loss})

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries, ready for JSON."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


@dataclass(frozen=True, kw_only=True)
class SoundSettings(Settings):
    """Settings of a sound school."""

    seed: Annotated[int, about("of the scenes, their directions and the network", ge=0, le=2**62)] = 7400
    scenes: Annotated[int, about("simulated scenes that are only heard", ge=0, le=100_000)] = 450
    seconds: Annotated[float, about("length of a scene", unit="s", ge=2, le=600)] = 10.0
    context_frames: Annotated[
        int, about("frames before and after; as the detector's model.context_frames", ge=1, le=100)
    ] = 10
    frame_step: Annotated[int, about("every n-th frame gives examples", ge=1, le=100)] = 2
    epochs: Annotated[int, about("passes over the examples", ge=1, le=10_000)] = 4
    batch: Annotated[int, about("examples per step", label="Batch size", ge=2, le=65_536)] = 256
    rate: Annotated[float, about("highest learning rate, of one cycle", label="Learning rate", gt=0, le=10)] = 3e-3
    weight_decay: Annotated[float, about("of the weights", ge=0, le=10)] = 1e-2
    smoothing: Annotated[float, about("label smoothing", label="Label smoothing", ge=0, le=0.5)] = 0.1
    level_sigma: Annotated[float, about("disturbance of the level of all bands", unit="20 dB", ge=0, le=10)] = 0.15
    band_sigma: Annotated[float, about("disturbance of the level of each band", unit="20 dB", ge=0, le=10)] = 0.08
    noise_sigma: Annotated[float, about("disturbance of each value", unit="20 dB", ge=0, le=10)] = 0.05
    nothing_share: Annotated[float, about("weight of the directions where nothing is", ge=0, le=100)] = 0.5
    held_out: Annotated[
        float, about("share of the scenes and recordings that measure instead of teach", ge=0, le=0.5)
    ] = 0.1
    visibility: Annotated[
        RecipeOrOwn,
        about("recipe of the maps, as data.visibility of the detector that is to start from it; empty for UpLAM's own"),
    ] = ""


@dataclass(frozen=True, kw_only=True)
class FieldTraining(Settings):
    """Settings of a field decoder's training."""

    seed: Annotated[int, about("of the scenes, the draws and the network", ge=0, le=2**62)] = 8100
    scenes: Annotated[int, about("simulated scenes that are heard with 32 capsules", ge=0, le=100_000)] = 120
    seconds: Annotated[float, about("length of a scene", unit="s", ge=2, le=600)] = 5.0
    turns: Annotated[int, about("turns of the array that each scene or recording is heard in", ge=1, le=12)] = 4
    epochs: Annotated[int, about("passes over the frames", ge=1, le=10_000)] = 12
    batch: Annotated[int, about("pieces of a step", label="Batch size", ge=1, le=4096)] = 3
    piece_frames: Annotated[int, about("frames of a piece, in a row", ge=1, le=1000)] = 16
    rate: Annotated[float, about("highest learning rate, of one cycle", label="Learning rate", gt=0, le=10)] = 3e-3
    weight_decay: Annotated[float, about("of the weights", ge=0, le=10)] = 1e-2
    overlap: Annotated[float, about("weight of the regions' loss beside that of the field", ge=0, le=1000)] = 1.0
    regions: Annotated[int, about("regions of a frame that the loss looks at", ge=1, le=100)] = 1
    direction_error_deg: Annotated[
        float,
        about(
            "standard deviation by which the region of the predicted field is formed beside the true direction, as a "
            "detector's is",
            unit="degrees",
            ge=0,
            le=90,
        ),
    ] = 4.0
    bfloat16: Annotated[
        bool, about("products in bfloat16 on a GPU, or where the processor has instructions (2.5 times as fast)")
    ] = True
    held_out: Annotated[
        float, about("share of the scenes and recordings that measure instead of teach", ge=0, le=0.5)
    ] = 0.1
    threads: Annotated[int, about("threads of torch on a CPU; 0 for as many as it likes", ge=0)] = 1
    checkpoint_minutes: Annotated[float, about("time between checkpoints", unit="min", ge=0)] = 3.0
    start: Annotated[str, about("field decoder whose weights a run begins with; empty for random ones")] = ""
    model: FieldConfig = field(default_factory=FieldConfig)


@dataclass(frozen=True, kw_only=True)
class ListenerSettings(Settings):
    """Settings of a listener's training."""

    seed: Annotated[int, about("of sounds, scenes, windows and weights", ge=0, le=2**31)] = 7600
    synthesised: Annotated[int, about("synthesised clips of each class", ge=1, le=100_000)] = 150
    takes: Annotated[int, about("clips of each recorded file (--sounds)", ge=1, le=100)] = 1
    clip_s: Annotated[float, about("longest clip", unit="s", ge=1, le=30)] = 4.0
    scenes: Annotated[int, about("simulated scenes heard through capsules and beam", ge=0, le=100_000)] = 40
    scene_s: Annotated[float, about("length of a scene", unit="s", ge=2, le=600)] = 10.0
    recorded_share: Annotated[float, about("windows from recordings, of those of single sounds", ge=0, le=1)] = 0.5
    scene_share: Annotated[float, about("windows from scenes", ge=0, le=1)] = 0.25
    nothing_share: Annotated[float, about("windows in which no class sounds", ge=0, le=0.9)] = 0.1
    leak: Annotated[float, about("windows into which another sound leaks, 3 to 20 dB below", ge=0, le=1)] = 0.6
    colour_db: Annotated[float, about("disturbance of the bands' levels", unit="dB", ge=0, le=40)] = 4.0
    width: Annotated[int, about("channels of the network's first layer", ge=2, le=256)] = 16
    epochs: Annotated[int, about("times that the network is measured", ge=1, le=10_000)] = 20
    steps: Annotated[int, about("steps of an epoch", ge=1, le=1_000_000)] = 200
    batch: Annotated[int, about("windows of a step", label="Batch size", ge=2, le=4096)] = 56
    rate: Annotated[float, about("highest learning rate, of one cycle", label="Learning rate", gt=0, le=10)] = 2e-3
    weight_decay: Annotated[float, about("of the weights", ge=0, le=10)] = 1e-2
    smoothing: Annotated[float, about("label smoothing", label="Label smoothing", ge=0, le=0.5)] = 0.05
    held_out: Annotated[float, about("share of each origin's clips that measure", ge=0.01, le=0.5)] = 0.1
    measured: Annotated[int, about("windows of each origin that are measured", ge=14, le=100_000)] = 390
    checkpoint_minutes: Annotated[float, about("between checkpoints", unit="min", ge=0, le=1440)] = 2.0
    start: Annotated[str, about("listener whose weights a run begins with; empty for random ones")] = ""


@dataclass(frozen=True, kw_only=True)
class WidebandTraining(Settings):
    """Settings of a wideband listener's training."""

    seed: Annotated[int, about("of scenes, draws and weights", ge=0, le=2**31)] = 7900
    scenes: Annotated[
        int, about("simulated scenes, every other one with recorded sounds (--sounds)", ge=0, le=100_000)
    ] = 600
    seconds: Annotated[float, about("length of a scene", unit="s", ge=2, le=600)] = 10.0
    jitter_deg: Annotated[
        float, about("standard deviation by which directions are beside the sources", unit="degrees", ge=0, le=45)
    ] = 5.0
    mixed: Annotated[float, about("share of frames that are the sum of those of two scenes", ge=0, le=1)] = 0.5
    mixed_db: Annotated[
        float, about("how much fainter the second may be; half of it louder", unit="dB", ge=0, le=60)
    ] = 12.0
    colour_db: Annotated[float, about("disturbance of the bands' levels", unit="dB", ge=0, le=40)] = 3.0
    epochs: Annotated[int, about("times that the network is measured", ge=1, le=10_000)] = 12
    steps: Annotated[int, about("steps of an epoch", ge=1, le=1_000_000)] = 400
    frames: Annotated[
        int, about("frames of a step, each in up to three directions", label="Batch size", ge=2, le=4096)
    ] = 44
    rate: Annotated[float, about("highest learning rate, of one cycle", label="Learning rate", gt=0, le=10)] = 2e-3
    weight_decay: Annotated[float, about("of the weights", ge=0, le=10)] = 5e-2
    smoothing: Annotated[float, about("label smoothing", label="Label smoothing", ge=0, le=0.5)] = 0.05
    bfloat16: Annotated[
        bool, about("products in bfloat16 on a GPU, or where the processor has instructions (twice as fast)")
    ] = True
    held_out: Annotated[
        float, about("share of the scenes and recordings that measure instead of teach", ge=0.01, le=0.5)
    ] = 0.1
    threads: Annotated[int, about("threads of torch on a CPU; 0 for as many as it likes", ge=0)] = 1
    checkpoint_minutes: Annotated[float, about("time between checkpoints", unit="min", ge=0)] = 2.0
    start: Annotated[str, about("wideband listener whose weights a run begins with; empty for random ones")] = ""
    model: WidebandConfig = field(default_factory=WidebandConfig)

"""Settings of a training run: one readable TOML file a recipe, ``--set key=value`` on top, resolved and typed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from sai_core.acoustics.features import Magnitude
from sai_core.acoustics.projection import Grid
from sai_core.acoustics.visibility import RecipeOrOwn
from sai_core.detector.config import DetectorConfig
from sai_core.errors import InputError
from sai_core.runs.kinds import kind_of
from sai_core.settings import build, read_toml, table

GROUPS: Final[tuple[str, ...]] = (
    "stem",
    "layer1",
    "layer2",
    "layer3",
    "layer4",
    "fpn",
    "acoustic",
    "fusion",
    "context",
    "rpn",
    "heads",
)
"""Parts of a network that have a learning rate and may be frozen; see :func:`sai_core.training.optimiser.group_of`."""

LOSS_TERMS: Final[tuple[str, ...]] = (
    "rpn_objectness",
    "rpn_box",
    "class",
    "box",
    "roi_energy",
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
class DataSettings:
    """Which recordings, and what is made of them.

    Attributes
    ----------
    train_splits, validation_splits : tuple of str
        Patterns of split names (``*`` as in file names). Where no recording is left for validation, every n-th one of
        training is held out; where none matches for training, all that are not for validation are taken.
    holdout_share : float
        Share of recordings held out in that case.
    frame_step : int
        Take every n-th frame for training; neighbours 100 ms apart are nearly the same picture.
    frames_per_epoch : int
        Draws of an epoch, at most as many as there are frames; 0 for that many.
    rare_share : float
        Share of an epoch drawn from frames with a rare class (see :mod:`sai_core.training.sampler`).
    grid, magnitude, smooth_frames
        How lattice maps become the network's input; as :class:`sai_core.inference.engine.InputOptions`.
    weights : str
        UpLAM checkpoint; empty for the one that ships.
    visibility : {"", "official", "report", "precedence"}
        Recipe of the matrices that the maps are made from; empty for the one that the UpLAM was trained with.
    """

    train_splits: tuple[str, ...] = ("dev-train*",)
    validation_splits: tuple[str, ...] = ("dev-val*",)
    holdout_share: float = 0.1
    frame_step: int = 1
    frames_per_epoch: int = 0
    rare_share: float = 0.5
    grid: Grid = "official"
    magnitude: Magnitude = "normalised"
    smooth_frames: int = 0
    weights: str = ""
    visibility: RecipeOrOwn = ""


@dataclass(frozen=True, kw_only=True)
class AugmentSettings:
    """Transforms of the training frames; see :mod:`sai_core.training.augment`.

    Attributes
    ----------
    shift : bool
        Cyclic azimuth shift by any whole number of degrees.
    flip : float
        Probability of the synchronised horizontal flip.
    masked_bands : int
        Up to so many bands are set to zero.
    noise_sigma : float
        Standard deviation of Gaussian noise on the acoustic maps.
    noise_unit : {"absolute", "relative", "peak"}
        In the maps' own units, times the standard deviation of the frame's maps, or times the frame's largest value
        over all bands (the report's 0.015 on maps that are normalised across bands).
    brightness, contrast, saturation : float
        ColorJitter of the picture: each factor is drawn from 1 - x to 1 + x.
    """

    shift: bool = True
    flip: float = 0.5
    masked_bands: int = 2
    noise_sigma: float = 0.015
    noise_unit: Literal["absolute", "relative", "peak"] = "absolute"
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """The learning strategy.

    Attributes
    ----------
    rate : float
        Base rate: heads, stem, fusion and context.
    scales : mapping of group to float
        Factors of the base rate; groups that are not named have 1.
    unfreeze : mapping of group to int
        Epoch (from 0) at which a group begins to learn; groups that are not named learn from the start.
    frozen : tuple of str
        Groups that never learn; only where starting weights are given, since frozen random layers teach nothing.
    weight_decay : float
        Of weights; biases, norms and gates have none.
    clip : float
        Largest norm of the gradient.
    warmup_steps : int
        Steps over which the rate rises linearly.
    plateau_factor, plateau_patience, plateau_smooth : float, int, int
        ReduceLROnPlateau on the mean of the last ``plateau_smooth`` validation losses.
    final_share : float
        Share of the run at whose end the rate falls linearly to zero; 0 for the report's plan, which only has the
        plateau rule.
    average : float
        Decay of a running mean of the weights, which is what is validated and kept as best; 0 for none.
    """

    rate: float = 1e-4
    scales: Mapping[str, float] = field(
        default_factory=lambda: {"layer1": 0.1, "layer2": 0.1, "layer3": 0.2, "layer4": 0.5, "fpn": 0.5}
    )
    unfreeze: Mapping[str, int] = field(
        default_factory=lambda: {"layer4": 2, "fpn": 2, "layer3": 2, "layer2": 10, "layer1": 10}
    )
    frozen: tuple[str, ...] = ()
    weight_decay: float = 1e-4
    clip: float = 2.0
    warmup_steps: int = 200
    plateau_factor: float = 0.5
    plateau_patience: int = 3
    plateau_smooth: int = 5
    final_share: float = 0.0
    average: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ValidationSettings:
    """What is measured after each epoch.

    Attributes
    ----------
    frames : int
        Frames of the validation loss, evenly spaced.
    recordings : int
        Whole recordings on which AP and Pearson r are measured; 0 for none.
    every : int
        Epochs between these measurements.
    min_score : float
        Score threshold of the exported detections. Low, since AP wants the whole ranking.
    export : {"region", "hull", "top_k"}
        Which points of a region are written (:class:`sai_core.postprocess.PipelineSettings`). The official ``top_k``
        writes so small a part of a region that even perfect detections reach no IoU of 0.25 with dense labels.
    samples : int
        Pictures of predictions kept of the last validation.
    """

    frames: int = 256
    recordings: int = 4
    every: int = 1
    min_score: float = 0.05
    export: Literal["region", "hull", "top_k"] = "region"
    samples: int = 4


@dataclass(frozen=True, kw_only=True)
class StartSettings:
    """Weights that a run starts from.

    Attributes
    ----------
    backbone : str
        torchvision checkpoint (ImageNet classifier or COCO detector) for the backbone; ``torchvision`` for one that
        its cache on this machine holds, where it holds one; empty for none.
    detector : str
        Checkpoint of one of our own detectors, or ``last.safetensors`` of a run; what fits is taken over; empty for
        none.
    sounds : str
        What ``train sounds`` made: the ear and the classifier of a network with ``model.context_frames``; taken over
        after ``detector``; empty for none.
    """

    backbone: str = ""
    detector: str = ""
    sounds: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """All settings of a run; see the comments of the recipes.

    ``amp`` is mixed precision on a GPU. ``cpu_bfloat16`` is the same on a CPU, which is faster where the processor
    has instructions for it (AVX-512 BF16, AMX) and slower elsewhere.
    """

    name: str = "detector"
    seed: int = 1
    epochs: int = 30
    batch: int = 8
    threads: int = 0
    amp: bool = True
    cpu_bfloat16: bool = False
    proposals: int = 300
    regions: int = 128
    checkpoint_minutes: float = 5.0
    log_every: int = 20
    model: DetectorConfig = field(default_factory=DetectorConfig)
    data: DataSettings = field(default_factory=DataSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    loss: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(LOSS_TERMS, 1.0))
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    start: StartSettings = field(default_factory=StartSettings)

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries, ready for JSON."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


_TABLES: Final[dict[str, type]] = {
    "model": DetectorConfig,
    "data": DataSettings,
    "augment": AugmentSettings,
    "optimiser": OptimiserSettings,
    "validation": ValidationSettings,
    "start": StartSettings,
}


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read a recipe (a name or a TOML file) and apply ``key.sub=value`` overrides, values as in TOML.

    Raises
    ------
    InputError
        No such file, not TOML, unknown or unfit settings.
    """
    file = kind_of("detector").recipe(str(path))
    return config_from(read_toml(file, overrides), str(file))


def config_from(raw: Mapping[str, Any], source: str = "configuration") -> TrainingConfig:
    """Make the typed configuration from plain dictionaries.

    Raises
    ------
    InputError
        Unknown names, values of the wrong kind or out of range.
    """
    top = dict(raw)
    for name, kind in _TABLES.items():
        top[name] = build(kind, table(top, name, source), f"{source}: {name}")
    config: TrainingConfig = build(TrainingConfig, top, source)
    _check(config, source)
    loss = {**dict.fromkeys(LOSS_TERMS, 1.0), **config.loss}
    return replace(config, loss=loss)


def _check(config: TrainingConfig, source: str) -> None:
    d, a, o, v = config.data, config.augment, config.optimiser, config.validation
    for name, good in (
        ("seed must be >= 0", config.seed >= 0),
        ("epochs, batch and log_every must be at least 1", min(config.epochs, config.batch, config.log_every) >= 1),
        ("proposals and regions must be at least 8", min(config.proposals, config.regions) >= 8),
        ("threads and checkpoint_minutes must be >= 0", config.threads >= 0 and config.checkpoint_minutes >= 0),
        ("data.frame_step must be at least 1", d.frame_step >= 1),
        ("data.frames_per_epoch must be >= 0", d.frames_per_epoch >= 0),
        ("data.rare_share must be in [0, 1]", 0 <= d.rare_share <= 1),
        ("data.holdout_share must be in (0, 0.9]", 0 < d.holdout_share <= 0.9),
        ("data.grid must be official, great_circle or label", d.grid in ("official", "great_circle", "label")),
        (
            "data.magnitude must be normalised, amplitude or power",
            d.magnitude in ("normalised", "amplitude", "power"),
        ),
        ("data.smooth_frames must be in 0..50", 0 <= d.smooth_frames <= 50),
        (
            "data.visibility must be empty, official, report or precedence",
            d.visibility in get_args(RecipeOrOwn),
        ),
        ("augment.flip must be in [0, 1]", 0 <= a.flip <= 1),
        ("augment.masked_bands must be in 0..8", 0 <= a.masked_bands <= 8),
        ("augment.noise_sigma must be >= 0", a.noise_sigma >= 0),
        ("augment.noise_unit must be absolute, relative or peak", a.noise_unit in ("absolute", "relative", "peak")),
        (
            "augment.brightness, contrast and saturation must be in [0, 1]",
            all(0 <= x <= 1 for x in (a.brightness, a.contrast, a.saturation)),
        ),
        ("optimiser.rate must be > 0", o.rate > 0),
        ("optimiser.clip must be > 0", o.clip > 0),
        ("optimiser.plateau_factor must be in (0, 1]", 0 < o.plateau_factor <= 1),
        (
            "optimiser.plateau_patience must be >= 0 and plateau_smooth >= 1",
            o.plateau_patience >= 0 and o.plateau_smooth >= 1,
        ),
        ("optimiser.average must be in [0, 1)", 0 <= o.average < 1),
        ("optimiser.final_share must be in [0, 1]", 0 <= o.final_share <= 1),
        ("validation.frames and every must be at least 1", min(v.frames, v.every) >= 1),
        ("validation.recordings and samples must be >= 0", min(v.recordings, v.samples) >= 0),
        ("validation.min_score must be in [0, 1]", 0 <= v.min_score <= 1),
        ("validation.export must be region, hull or top_k", v.export in ("region", "hull", "top_k")),
    ):
        if not good:
            raise InputError(f"{source}: {name}.")
    for what, names, known in (
        ("optimiser.scales", o.scales, GROUPS),
        ("optimiser.unfreeze", o.unfreeze, GROUPS),
        ("optimiser.frozen", o.frozen, GROUPS),
        ("loss", config.loss, LOSS_TERMS),
    ):
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise InputError(f"{source}: {what} names {unknown[0]!r}; known are {', '.join(known)}.")
    for what, shares in (("optimiser.scales", o.scales), ("optimiser.unfreeze", o.unfreeze), ("loss", config.loss)):
        for key, value in shares.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise InputError(f"{source}: {what}.{key} is {value!r}; a number >= 0 is needed.")

"""What the engine asks of a network, and how the official baseline and our own detectors answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from sai_core.acoustics.features import Magnitude, exact_convolutions
from sai_core.acoustics.projection import Grid
from sai_core.acoustics.visibility import Recipe
from sai_core.checkpoints import read_metadata
from sai_core.detections.raw import RawColumns
from sai_core.detector.baseline import DISTANCE_UNIT_CM, OfficialBaseline, fold_norms, load_official_baseline
from sai_core.detector.config import DetectorConfig
from sai_core.detector.field import FieldNetwork
from sai_core.detector.field_head import HeardFrames
from sai_core.detector.models import SaiDetector, load_detector
from sai_core.detector.spectrum import SoundContext
from sai_core.errors import InputError
from sai_core.files import content_hash
from sai_core.geometry import N_LATTICE
from sai_core.taxonomy import N_CLASSES


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """What is kept of a network's answer, and options that trade exactness for time (off by default).

    Attributes
    ----------
    floor : float, optional
        Candidates whose score is below are not kept, and no energy map is computed for them. ``None``: 0.05 for the
        official baseline (torchvision's ``score_thresh``), 0.01 for our own.
    at_most : int, optional
        Candidates per frame. ``None``: 100 for the official baseline, 50 for our own.
    corrected_map : bool
        Official baseline: store the registered full-frame map instead of the official one.
    full_map : bool
        Compute and store full-frame maps; without them a store holds none.
    proposals : int, optional
        Proposals per frame that are classified. ``None``: 1,000 for the official baseline, 100 for our own, as in
        training. Fewer changes what is found.
    precision : {"float32", "bfloat16"}
        ``bfloat16`` runs convolutions and matrix products at 8 bits of precision on processors that have them.
    classes : int
        Our own detectors: a region becomes a candidate for each of so many classes, the likeliest first, where their
        score reaches the floor. (The official baseline does this for all 13.)
    """

    floor: float | None = None
    at_most: int | None = None
    corrected_map: bool = False
    full_map: bool = True
    proposals: int | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    classes: int = 1

    def __post_init__(self) -> None:
        if self.floor is not None and not 0.0 <= self.floor < 1.0:
            raise InputError(f"floor {self.floor}: a score in [0, 1) is needed.")
        for name in ("at_most", "proposals"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 1000:
                raise InputError(f"{name} {value}: a number in 1..1000 is needed.")
        if not 1 <= self.classes <= N_CLASSES:
            raise InputError(f"classes {self.classes}: a number in 1..{N_CLASSES} is needed.")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"precision {self.precision!r}: choose float32 or bfloat16.")


class Network(Protocol):
    """A detector as the engine sees it."""

    needs_rgb: bool
    context_frames: int
    """Frames before and after each one whose power maps the network wants; 0 for none."""
    field_network: FieldNetwork | None
    """What hears four capsules for a network with an intensity field; None for those without."""
    device: torch.device

    def describe(self) -> dict[str, str]:
        """Options that change its numbers."""

    def run(
        self,
        acoustic: Tensor,
        rgb: Tensor | None,
        context: SoundContext | None = None,
        heard: HeardFrames | None = None,
    ) -> list[RawColumns]:
        """Candidates of a batch: (batch, 9, 180, 360) and (batch, 3, 180, 360) on the network's device.

        Without ``heard`` a network with an intensity field gives candidates without one.
        """


def _half(x: Tensor) -> npt.NDArray[np.float16]:
    out: npt.NDArray[np.float16] = x.half().cpu().numpy()
    return out


def _single(x: Tensor) -> npt.NDArray[np.float32]:
    out: npt.NDArray[np.float32] = x.float().cpu().numpy()
    return out


def _small_map(full: Tensor) -> Tensor:
    """Average (batch, 180, 360) over cells of 4 x 4 degrees."""
    return F.avg_pool2d(full[:, None], 4)[:, 0]


def _precision(options: NetworkOptions, device: torch.device, *, exact: bool = False) -> torch.autocast:
    """Mixed precision: float16 on a GPU unless it is to be ``exact``, bfloat16 if asked for."""
    wanted = options.precision == "bfloat16"
    if device.type == "cuda" and (wanted or not exact):
        return torch.autocast("cuda", dtype=torch.bfloat16 if wanted else torch.float16)
    return torch.autocast("cuda" if device.type == "cuda" else "cpu", dtype=torch.bfloat16, enabled=wanted)


def _describe(options: NetworkOptions) -> dict[str, str]:
    # options at their defaults are left out, so that a store made before an option existed is still found
    return {
        key: str(value)
        for key, value, default in (
            ("full_map", options.full_map, True),
            ("proposals", options.proposals, None),
            ("precision", options.precision, "float32"),
            ("classes", options.classes, 1),
        )
        if value != default
    }


def _likeliest(
    scores: npt.NDArray[np.float32], count: int, floor: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int16]]:
    """Region and class of each candidate from (regions, 13) scores, strongest first; at least one of each region."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(scores, order, axis=1)
    good = values >= floor
    good[:, :1] = True
    rows, places = np.nonzero(good)
    by_score = np.argsort(-values[good], kind="stable")
    rows, places = rows[by_score], places[by_score]
    return rows, order[rows, places].astype(np.int16)


class BaselineNetwork:
    """The official baseline behind the engine's interface.

    Parameters
    ----------
    model : OfficialBaseline
        Changed in place: norms are folded, settings of its heads are set.
    options : NetworkOptions, optional
    """

    needs_rgb = True
    context_frames = 0
    field_network: FieldNetwork | None = None

    def __init__(self, model: OfficialBaseline, options: NetworkOptions | None = None) -> None:
        self.options = options or NetworkOptions()
        self.model = fold_norms(model)
        self.floor = 0.05 if self.options.floor is None else self.options.floor
        self.at_most = 100 if self.options.at_most is None else self.options.at_most
        self.model.det.roi_heads.score_thresh = self.floor
        self.model.det.roi_heads.detections_per_img = self.at_most
        if self.options.proposals is not None:
            self.model.det.rpn._post_nms_top_n["testing"] = self.options.proposals
        self.device = next(model.parameters()).device

    def describe(self) -> dict[str, str]:
        """Options that change its numbers."""
        return {
            "network": "official baseline",
            "energy": "float32",
            "floor": str(self.floor),
            "at_most": str(self.at_most),
            "corrected_map": str(self.options.corrected_map),
            **_describe(self.options),
        }

    def run(
        self,
        acoustic: Tensor,
        rgb: Tensor | None,
        context: SoundContext | None = None,
        heard: HeardFrames | None = None,
    ) -> list[RawColumns]:
        """Candidates of a batch."""
        if rgb is None:
            raise InputError("the official baseline needs video beside the acoustic maps.")
        model = self.model
        with _precision(self.options, self.device, exact=True), exact_convolutions(self.device):
            prepared = model.prepare(torch.cat([rgb, acoustic], dim=1)).to(memory_format=torch.channels_last)
            levels = model.pyramid(prepared)
            found = model.candidates(prepared, levels)
            energy, distance = model.roi_outputs(levels, [c.boxes for c in found])
            if self.options.full_map:
                full = _small_map(model.full_energy(levels, corrected=self.options.corrected_map).float())
            else:
                full = acoustic.new_zeros(len(found), 0, 0)
        counts = [len(c.boxes) for c in found]
        return [
            RawColumns(
                _single(c.boxes),
                _single(c.class_scores),
                _single(c.objectness),
                (c.labels - 1).cpu().numpy().astype(np.int16),
                _single(e),
                _single(d * DISTANCE_UNIT_CM),
                np.zeros((len(c.boxes), 0), dtype=np.float16),
                _half(f),
            )
            for c, e, d, f in zip(found, energy.split(counts), distance.split(counts), full, strict=True)
        ]


class OwnNetwork:
    """One of our own detectors behind the engine's interface.

    Parameters
    ----------
    model : SaiDetector
        Put into channels-last layout, in place.
    options : NetworkOptions, optional
    floor, at_most : float and int, optional
        Instead of those of ``options``.
    """

    def __init__(
        self,
        model: SaiDetector,
        options: NetworkOptions | None = None,
        *,
        floor: float | None = None,
        at_most: int | None = None,
    ) -> None:
        self.options = options or NetworkOptions()
        self.model: SaiDetector = model.to(memory_format=torch.channels_last)
        floor = self.options.floor if floor is None else floor
        at_most = self.options.at_most if at_most is None else at_most
        self.floor = 0.01 if floor is None else floor
        self.at_most = 50 if at_most is None else at_most
        self.proposals = 100 if self.options.proposals is None else self.options.proposals
        self.needs_rgb = model.config.track == "B"
        self.context_frames = model.config.context_frames
        self.field_network = None if model.field_head is None else model.field_head.network
        self.device = next(model.parameters()).device

    def describe(self) -> dict[str, str]:
        """Options that change its numbers."""
        return {
            "network": f"track {self.model.config.track}",
            "floor": str(self.floor),
            "at_most": str(self.at_most),
            **_describe(self.options),
        }

    def run(
        self,
        acoustic: Tensor,
        rgb: Tensor | None,
        context: SoundContext | None = None,
        heard: HeardFrames | None = None,
    ) -> list[RawColumns]:
        """Candidates of a batch."""
        with _precision(self.options, self.device):
            if not self.needs_rgb:
                rgb = None
            features = self.model.features(acoustic, rgb, context, heard)
            found = self.model.detect(
                features,
                floor=self.floor,
                n_candidates=self.at_most,
                proposals=self.proposals,
                per_level=max(300, self.proposals),
            )
            if self.model.decoder is not None and self.options.full_map:
                full = _small_map(self.model.full_energy(features).float())
            else:
                full = acoustic.new_zeros(len(found), 0, 0)
            if self.field_network is None or heard is None:
                fields = np.zeros((len(found), 0, N_LATTICE), dtype=np.float16)
            else:
                fields = _half(self.model.field(features))
        out = []
        for c, f, field in zip(found, full, fields, strict=True):
            scores = _single(c.class_scores)
            rows, category_id = _likeliest(scores, self.options.classes, self.floor)
            out.append(
                RawColumns(
                    _single(c.boxes_deg)[rows],
                    scores[rows],
                    _single(c.objectness)[rows],
                    category_id,
                    _half(c.energy)[rows],
                    _single(c.distance_units * DISTANCE_UNIT_CM)[rows],
                    _half(c.embedding)[rows],
                    _half(f),
                    field,
                )
            )
        return out


@dataclass(frozen=True)
class CheckpointFacts:
    """What a checkpoint is, read from its header where it has one.

    Attributes
    ----------
    path : Path
    kind : {"track A", "track B", "official baseline"}
    backbone : str
    needs_rgb : bool
    content : str
        Hash of the file's bytes.
    magnitude, grid, smooth_frames : str, str and int
        How the acoustic maps were given in training.
    notes : mapping of str to str
        Everything else that the file tells of itself.
    visibility : str or None
        Recipe of the matrices that the maps were made from; None for the one that the UpLAM was trained with.
    has_field : bool
        Whether the network says an intensity field (``region = field``), for systems with regions by label code.
    """

    path: Path
    kind: str
    backbone: str
    needs_rgb: bool
    content: str
    magnitude: Magnitude
    grid: Grid
    smooth_frames: int
    notes: Mapping[str, str]
    visibility: Recipe | None = None
    has_field: bool = False


def _header(path: Path) -> dict[str, str] | None:
    """Metadata of a safetensors file of ours; None for every other checkpoint."""
    metadata = read_metadata(path)
    return metadata if "sai_detector" in metadata else None


def describe_checkpoint(path: Path) -> CheckpointFacts:
    """Find out what a checkpoint is. An official one is opened for it, ours only by its header.

    Raises
    ------
    InputError
        Not a checkpoint of either; the sentence says what was expected.
    """
    path = Path(path)
    metadata = _header(path)
    if metadata is None:
        load_official_baseline(path)
        return CheckpointFacts(
            path, "official baseline", "resnet50", True, content_hash(path), "normalised", "official", 0, {}
        )
    try:
        config = DetectorConfig.from_json(metadata["sai_detector"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    magnitude, grid, smooth_frames = _inputs(metadata)
    return CheckpointFacts(
        path,
        f"track {config.track}",
        config.backbone if config.width == 64 else f"{config.backbone}, {config.width} channels",
        config.track == "B",
        content_hash(path),
        magnitude,
        grid,
        smooth_frames,
        {key: value for key, value in metadata.items() if key not in ("sai_detector", "format")},
        _visibility(metadata),
        config.region == "field",
    )


def has_field(path: Path) -> bool:
    """Whether a checkpoint is a detector of ours that says an intensity field, by its header alone.

    Raises
    ------
    InputError
        No checkpoint, or one with a configuration that is none.
    """
    metadata = _header(Path(path))
    return metadata is not None and DetectorConfig.from_json(metadata["sai_detector"]).region == "field"


def fitting_system(facts: CheckpointFacts) -> str:
    """Name of the system that is proposed for a checkpoint.

    The official settings for the official baseline; regions by label code for a detector that says an intensity field;
    box voting for our other detectors.
    """
    if facts.kind == "official baseline":
        return "Baseline"
    return "Field" if facts.has_field else "Voted"


def _inputs(metadata: Mapping[str, str]) -> tuple[Magnitude, Grid, int]:
    magnitude, grid = metadata.get("magnitude", "normalised"), metadata.get("grid", "official")
    smooth = metadata.get("smooth_frames", "0")
    if (
        magnitude not in get_args(Magnitude)
        or grid not in get_args(Grid)
        or not smooth.isascii()
        or not smooth.isdigit()
    ):
        return "normalised", "official", 0
    return cast(Magnitude, magnitude), cast(Grid, grid), int(smooth)


def _visibility(metadata: Mapping[str, str]) -> Recipe | None:
    recipe = metadata.get("visibility", "")
    return cast(Recipe, recipe) if recipe in get_args(Recipe) else None


def open_network(path: Path, *, device: str | torch.device = "cpu", options: NetworkOptions | None = None) -> Network:
    """Open a checkpoint of any kind that the program knows: our own safetensors, or the official baseline.

    Raises
    ------
    InputError
        Not a checkpoint of either.
    """
    path = Path(path)
    if _header(path) is not None:
        return OwnNetwork(load_detector(path, device=device), options)
    return BaselineNetwork(load_official_baseline(path, device=device), options)


Forward = Callable[[Tensor, Tensor | None, SoundContext | None, HeardFrames | None], list[RawColumns]]


def run_in_batches(
    run: Forward,
    acoustic: Tensor,
    rgb: Tensor | None,
    context: SoundContext | None = None,
    heard: HeardFrames | None = None,
    *,
    batch: int,
    after: Callable[[int], None] | None = None,
) -> tuple[list[RawColumns], int]:
    """Run a network on many frames; when memory runs out, halve the batch and go on.

    ``after``, if given, is told after each batch how many frames are done.

    Returns
    -------
    outputs : list of RawColumns
        One a frame, in order; the same whatever the batch, to float tolerance.
    batch : int
        The batch size that fitted; to be used from then on.

    Raises
    ------
    torch.OutOfMemoryError, MemoryError
        Not even one frame fits.
    """
    outputs: list[RawColumns] = []
    while len(outputs) < acoustic.shape[0]:
        part = slice(len(outputs), len(outputs) + batch)
        try:
            outputs += run(
                acoustic[part],
                None if rgb is None else rgb[part],
                None if context is None else context[part],
                None if heard is None else heard[part],
            )
        except (torch.OutOfMemoryError, MemoryError):
            if batch == 1:
                raise
            batch = max(1, batch // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        if after is not None:
            after(len(outputs))
    return outputs, batch

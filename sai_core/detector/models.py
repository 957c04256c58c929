"""Our own detectors, Track A (sound alone) and Track B (sound and sight), as stages.

In
    ``acoustic`` float32 (batch, 9, 180, 360), projection grid; for Track B also ``rgb`` float32 (batch, 3, 180, 360)
    in [0, 1], label grid. Both are resampled to the 192 x 384 network canvas, circularly in azimuth.
Out, per frame (:class:`Candidates`)
    up to ``n_candidates`` regions before any threshold: box in canvas degrees (label grid, ``x0`` in [0, 360), ``x1``
    may exceed 360 over the seam), scores of the 13 classes, objectness, 28 x 28 energy, distance, embedding; and one
    full-frame map.

The seam: with ``seam="circular"`` every convolution closes on itself, proposals are brought to ``x0`` in [0, 360)
instead of being clipped, RoIs over the seam read features continued past the right edge, and non-maximum suppression
runs on two cuts of the cylinder. With ``seam="zero"`` the canvas is a plain image, as in the official baseline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder
from torchvision.ops import batched_nms, roi_align

from sai_core.checkpoints import load_into, read_config, read_state_dict, save_network
from sai_core.detector import losses
from sai_core.detector.backbone import LEVELS, STRIDES, AcousticPyramid, Pyramid, ResnetPyramid, levels_from
from sai_core.detector.config import DetectorConfig
from sai_core.detector.context import ConformerAdapter, TransformerNeck
from sai_core.detector.cylinder import (
    EXTENSION,
    NET_HEIGHT,
    NET_WIDTH,
    SCALE,
    canonical_boxes,
    cylinder_iou,
    extend_right,
    to_half_canvas,
    to_network_canvas,
)
from sai_core.detector.field_head import FieldHead, HeardFrames
from sai_core.detector.fusion import GatedFusion, RoiCmaf
from sai_core.detector.heads import (
    N_LABELS,
    BoxHead,
    DistanceHead,
    EnergyHead,
    FullEnergyDecoder,
    RpnHead,
)
from sai_core.detector.region_align import RegionAlign
from sai_core.detector.spectrum import RoiSpectrum, SoundContext
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, N_LATTICE
from sai_core.taxonomy import N_CLASSES

_MARK = "sai_detector"
"""Entry of a file's metadata that holds the configuration."""
_RATIOS = (0.5, 1.0, 2.0)
HIDDEN = 512
"""Width of what a region is classified from."""
_RGB_MEAN = (0.485, 0.456, 0.406)
_RGB_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Candidates:
    """Regions of one frame, strongest first, before thresholds and class-wise NMS.

    Attributes
    ----------
    boxes_deg : Tensor, shape (n, 4)
        Canvas columns and rows in degrees, label grid; ``x0`` in [0, 360), ``x1`` up to 450 over the seam.
    class_scores : Tensor, shape (n, 13)
        Softmax share of each class; the rest of 1 is background.
    objectness : Tensor, shape (n,)
        Class-agnostic score of the proposal, in [0, 1].
    energy : Tensor, shape (n, 28, 28)
    distance_units : Tensor, shape (n,)
        In 500 cm.
    embedding : Tensor, shape (n, d)
        Unit length; d may be 0.
    """

    boxes_deg: Tensor
    class_scores: Tensor
    objectness: Tensor
    energy: Tensor
    distance_units: Tensor
    embedding: Tensor


@dataclass(frozen=True)
class Features:
    """What the RoI stages read: the main pyramid, the acoustic one of Track B, the sound around each frame."""

    main: Pyramid
    acoustic: Pyramid | None
    context: SoundContext | None = None
    heard: HeardFrames | None = None


class SaiDetector(nn.Module):
    """Detector of one track, built from a :class:`DetectorConfig`."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        circular = config.seam == "circular"
        channels = config.channels
        self.levels = levels_from(config.first_level)
        self.strides = STRIDES[config.first_level - 2 :]
        main_inputs = config.n_bands if config.track == "A" else 3
        self.backbone = ResnetPyramid(
            config.backbone,
            in_channels=main_inputs,
            channels=channels,
            circular=circular,
            frozen_norm=config.frozen_norm,
            width=config.width,
            first_level=config.first_level,
            coarse_stem=config.coarse_stem and config.track == "A",
        )
        self.input_norm: nn.InstanceNorm2d | None = None
        self.neck = TransformerNeck(channels) if config.neck else None
        self.acoustic_pyramid: AcousticPyramid | None = None
        self.fusion: GatedFusion | None = None
        self.cmaf: RoiCmaf | None = None
        if config.track == "B" and (config.gated_fusion or config.roi_cmaf):
            if config.band_scale == "own":
                self.input_norm = nn.InstanceNorm2d(config.n_bands, affine=True)
            self.acoustic_pyramid = AcousticPyramid(
                config.n_bands,
                config.acoustic_channels,
                circular=circular,
                first_level=config.first_level,
                coarse=config.coarse_stem,
            )
            if config.gated_fusion:
                self.fusion = GatedFusion(channels, config.acoustic_channels, circular=circular, levels=self.levels)
            if config.roi_cmaf:
                self.cmaf = RoiCmaf(channels, config.acoustic_channels, HIDDEN, width=config.cmaf_width)
        self.adapter = ConformerAdapter(channels, levels=self.levels) if config.conformer else None
        self.rpn = RpnHead(channels, len(_RATIOS), circular=circular)
        self.box_pool = RegionAlign(list(self.levels), 7)
        self.energy_pool = RegionAlign(list(self.levels), 14)
        self.box_head = BoxHead(channels, HIDDEN)
        self.classifier = nn.Linear(HIDDEN, N_LABELS)
        self.box_deltas = nn.Linear(HIDDEN, 4)
        self.energy_head = EnergyHead(channels)
        self.distance_head = DistanceHead(HIDDEN)
        self.embedding_head = nn.Linear(HIDDEN, config.embedding_dim) if config.embedding_dim else None
        self.decoder = (
            FullEnergyDecoder(channels, max(channels // 2, 32), circular=circular, levels=self.levels)
            if config.full_decoder
            else None
        )
        self.frame_classifier = nn.Linear(channels, N_CLASSES) if config.aux_classifier else None
        self.spectrum = RoiSpectrum(config.n_bands, HIDDEN) if config.context_frames else None
        self.field_head = FieldHead(config.field, channels) if config.region == "field" else None
        self._rpn_coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
        self._roi_coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
        # events are rare: at the start nearly every anchor and every RoI is background
        nn.init.constant_(self.rpn.objectness.bias, -math.log(99.0))

    # -- features ------------------------------------------------------------------------------------------------

    def _check(self, acoustic: Tensor, rgb: Tensor | None, context: SoundContext | None) -> None:
        expected = (self.config.n_bands, ERP_HEIGHT, ERP_WIDTH)
        if acoustic.ndim != 4 or tuple(acoustic.shape[1:]) != expected:
            raise InputError(f"acoustic maps: shape (batch, {expected}) is needed, got {tuple(acoustic.shape)}.")
        if self.config.track == "B":
            if rgb is None:
                raise InputError("a Track B network needs RGB frames beside the acoustic maps.")
            if tuple(rgb.shape) != (acoustic.shape[0], 3, ERP_HEIGHT, ERP_WIDTH):
                raise InputError(
                    f"rgb: shape ({acoustic.shape[0]}, 3, {ERP_HEIGHT}, {ERP_WIDTH}) is needed, got {tuple(rgb.shape)}."
                )
        if self.spectrum is not None:
            wanted = (acoustic.shape[0], 2 * self.config.context_frames + 1, self.config.n_bands, N_LATTICE)
            if context is None or tuple(context.power.shape) != wanted:
                got = "none" if context is None else str(tuple(context.power.shape))
                raise InputError(f"sound context: power maps of shape {wanted} are needed, got {got}.")

    def features(
        self,
        acoustic: Tensor,
        rgb: Tensor | None = None,
        context: SoundContext | None = None,
        heard: HeardFrames | None = None,
    ) -> Features:
        """Pyramids of a batch; ``heard`` is for networks with an intensity field.

        Raises
        ------
        InputError
            Wrong shapes, no RGB for a Track B network, or no context for a network that listens to it.
        """
        self._check(acoustic, rgb, context)
        if self.config.band_scale == "frame":
            peak = acoustic.amax(dim=(1, 2, 3), keepdim=True)
            acoustic = acoustic / torch.where(peak > 0, peak, 1.0)
        sound = to_half_canvas(acoustic) if self.config.coarse_stem else to_network_canvas(acoustic)
        if self.config.log_maps:
            sound = (sound.clamp(min=0) * 50.0).log1p() / 4.0
        acoustic_levels: Pyramid | None = None
        if self.config.track == "A":
            main = self.backbone(sound)
        else:
            assert rgb is not None
            mean = rgb.new_tensor(_RGB_MEAN).view(1, 3, 1, 1)
            std = rgb.new_tensor(_RGB_STD).view(1, 3, 1, 1)
            main = self.backbone(to_network_canvas((rgb - mean) / std))
            if self.acoustic_pyramid is not None:
                acoustic_levels = self.acoustic_pyramid(sound if self.input_norm is None else self.input_norm(sound))
            if self.fusion is not None:
                assert acoustic_levels is not None
                main = self.fusion(main, acoustic_levels)
        if self.neck is not None:
            main = self.neck(main)
        if self.adapter is not None:
            main = self.adapter(main)
        return Features(main, acoustic_levels, context, heard)

    def field(self, features: Features) -> Tensor:
        """Natural logarithm of the intensity of the lattice, (batch, 484); of training frames as before their turn.

        Raises
        ------
        InputError
            The network was built without a field, or its features without what four capsules hear.
        """
        if self.field_head is None or features.heard is None:
            what = "has no intensity field (its region is not field)" if self.field_head is None else "was not given it"
            raise InputError(f"intensity field: this network {what}.")
        field: Tensor = self.field_head(features.heard, features.main)
        return field

    def full_energy(self, features: Features, *, low_resolution: bool = False) -> Tensor:
        """Full-frame energy (batch, 180, 360), or as the decoder makes it (48 x 96 from P2).

        Raises
        ------
        InputError
            The network was built without the decoder.
        """
        if self.decoder is None:
            raise InputError("this network has no full-frame decoder (full_decoder is off in its configuration).")
        if low_resolution:
            return self.decoder.low_resolution(features.main)
        energy: Tensor = self.decoder(features.main)
        return energy

    # -- proposals -----------------------------------------------------------------------------------------------

    def _anchors(self, device: torch.device) -> list[Tensor]:
        """Anchors of each level in network cells, row by row, ratios last: (h * w * 3, 4)."""
        out = []
        for stride, size in zip(self.strides, self.config.anchor_sizes_deg[-len(self.strides) :], strict=True):
            height, width = NET_HEIGHT // stride, NET_WIDTH // stride
            y = (torch.arange(height, device=device) + 0.5) * stride
            x = (torch.arange(width, device=device) + 0.5) * stride
            ratio = torch.tensor(_RATIOS, device=device)
            half_h = size * SCALE * ratio.sqrt() / 2
            half_w = size * SCALE / ratio.sqrt() / 2
            cy, cx = torch.meshgrid(y, x, indexing="ij")
            centre = torch.stack([cx, cy, cx, cy], dim=-1)[:, :, None, :]
            half = torch.stack([-half_w, -half_h, half_w, half_h], dim=-1)
            out.append((centre + half).reshape(-1, 4))
        return out

    def _to_canvas_limits(self, boxes: Tensor) -> Tensor:
        if self.config.seam == "circular":
            return canonical_boxes(boxes)
        limits = boxes.new_tensor([NET_WIDTH, NET_HEIGHT, NET_WIDTH, NET_HEIGHT])
        return torch.minimum(boxes.clamp(min=0), limits)

    def _suppress(self, boxes: Tensor, scores: Tensor, groups: Tensor, iou: float) -> Tensor:
        """Rows that survive NMS within groups, strongest first; on a cylinder both cuts must agree."""
        keep = batched_nms(boxes, scores, groups, iou)
        if self.config.seam != "circular" or keep.numel() == 0:
            return keep
        half = NET_WIDTH / 2
        turned = boxes[keep].clone()
        turned[:, [0, 2]] -= torch.where(turned[:, :1] >= half, NET_WIDTH, 0.0)
        return keep[batched_nms(turned, scores[keep], groups[keep], iou)]

    def propose(
        self, features: Features, *, per_level: int, at_most: int, iou: float = 0.7
    ) -> tuple[list[Tensor], list[Tensor], tuple[list[Tensor], Tensor, Tensor]]:
        """Region proposals.

        Parameters
        ----------
        features : Features
        per_level : int
            Strongest anchors of each level that are decoded.
        at_most : int
            Proposals kept after NMS.
        iou : float
            NMS threshold, within a level.

        Returns
        -------
        boxes : list of Tensor (n, 4)
            Network cells, one an image.
        objectness : list of Tensor (n,)
            In [0, 1], falling.
        raw : anchors of each level, logits (batch, anchors), deltas (batch, anchors, 4)
            For the losses.
        """
        anchors = self._anchors(features.main[LEVELS[-1]].device)
        outputs = [self.rpn(features.main[name]) for name in self.levels]
        batch = outputs[0][0].shape[0]
        chosen_boxes, chosen_scores, level_index = [], [], []
        for i, (level_anchors, (logits, deltas)) in enumerate(zip(anchors, outputs, strict=True)):
            scores, rows = logits.detach().topk(min(per_level, logits.shape[1]), dim=1)
            picked = deltas.detach().gather(1, rows[..., None].expand(-1, -1, 4))
            decoded = self._rpn_coder.decode_single(picked.reshape(-1, 4), level_anchors[rows].reshape(-1, 4))
            chosen_boxes.append(decoded.reshape(batch, -1, 4))
            chosen_scores.append(scores)
            level_index.append(torch.full_like(rows, i))
        boxes = torch.cat(chosen_boxes, dim=1)
        scores = torch.cat(chosen_scores, dim=1)
        levels = torch.cat(level_index, dim=1)
        out_boxes, out_scores = [], []
        for b in range(batch):
            limited = self._to_canvas_limits(boxes[b].float())
            sound = ((limited[:, 2] - limited[:, 0]) >= 1.0) & ((limited[:, 3] - limited[:, 1]) >= 1.0)
            limited, score, level = limited[sound], scores[b][sound].float(), levels[b][sound]
            keep = self._suppress(limited, score, level, iou)[:at_most]
            out_boxes.append(limited[keep])
            out_scores.append(score[keep].sigmoid())
        raw = (anchors, torch.cat([o[0] for o in outputs], dim=1), torch.cat([o[1] for o in outputs], dim=1))
        return out_boxes, out_scores, raw

    # -- regions -------------------------------------------------------------------------------------------------

    def _pool(self, pool: RegionAlign, levels: Pyramid, boxes: Sequence[Tensor]) -> Tensor:
        if self.config.seam == "circular":
            extended = {n: extend_right(levels[n], s) for n, s in zip(self.levels, self.strides, strict=True)}
            size = (NET_HEIGHT, NET_WIDTH + EXTENSION)
        else:
            extended = dict(levels)
            size = (NET_HEIGHT, NET_WIDTH)
        pooled: Tensor = pool(extended, list(boxes), [size] * len(boxes))
        return pooled

    def region_vectors(self, features: Features, boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Vectors for classification and for the box of each region: (n, 512) twice."""
        roi = self._pool(self.box_pool, features.main, boxes)
        for_class = for_box = self.box_head(roi)
        if self.cmaf is not None:
            assert features.acoustic is not None
            heard = self._pool(self.box_pool, features.acoustic, boxes)
            for_class, for_box = self.cmaf(roi, heard, for_box)
        if self.spectrum is not None:
            assert features.context is not None
            for_class = for_class + self.spectrum(features.context, boxes)
        return for_class, for_box

    def region_energy(self, features: Features, boxes: Sequence[Tensor]) -> Tensor:
        """28 x 28 energy of each region: (n, 28, 28)."""
        if sum(len(b) for b in boxes) == 0:
            return features.main[LEVELS[-1]].new_zeros(0, 28, 28)
        energy: Tensor = self.energy_head(self._pool(self.energy_pool, features.main, boxes))
        return energy

    # -- inference -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def detect(
        self,
        features: Features,
        *,
        n_candidates: int = 50,
        floor: float = 0.01,
        duplicate_iou: float = 0.8,
        per_level: int = 300,
        proposals: int = 100,
    ) -> list[Candidates]:
        """Candidates of each frame, before thresholds and class-wise NMS.

        Parameters
        ----------
        features : Features
        n_candidates : int
            At most this many a frame.
        floor : float
            Regions whose strongest class is below this are not kept, and no energy is computed for them.
        duplicate_iou : float
            Class-agnostic NMS that only removes near copies of one region.
        per_level, proposals : int
            Of the proposal stage.
        """
        boxes, objectness, _ = self.propose(features, per_level=per_level, at_most=proposals)
        counts = [len(b) for b in boxes]
        for_class, for_box = self.region_vectors(features, boxes)
        scores = self.classifier(for_class).float().softmax(dim=1)[:, 1:]
        refined = self._roi_coder.decode_single(self.box_deltas(for_box).float(), torch.cat(boxes))
        kept_boxes, rows = [], []
        start = 0
        for count in counts:
            index = torch.arange(start, start + count, device=scores.device)
            start += count
            limited = self._to_canvas_limits(refined[index])
            best = scores[index].amax(dim=1) if count else scores.new_zeros(0)
            good = (best >= floor) & (limited[:, 2] - limited[:, 0] >= 1) & (limited[:, 3] - limited[:, 1] >= 1)
            limited, index, best = limited[good], index[good], best[good]
            keep = self._suppress(limited, best, torch.zeros_like(index), duplicate_iou)[:n_candidates]
            kept_boxes.append(limited[keep])
            rows.append(index[keep])
        energy = self.region_energy(features, kept_boxes)
        chosen = torch.cat(rows)
        vectors = for_class[chosen]
        distance = self.distance_head(vectors)
        embedding = (
            F.normalize(self.embedding_head(vectors), dim=1)
            if self.embedding_head is not None
            else vectors.new_zeros(len(vectors), 0)
        )
        all_objectness = torch.cat(objectness)
        out, start = [], 0
        for kept, row in zip(kept_boxes, rows, strict=True):
            part = slice(start, start + len(row))
            start += len(row)
            out.append(
                Candidates(
                    kept / SCALE, scores[row], all_objectness[row], energy[part], distance[part], embedding[part]
                )
            )
        return out

    # -- training ------------------------------------------------------------------------------------------------

    def losses(
        self,
        acoustic: Tensor,
        rgb: Tensor | None,
        targets: Sequence[Mapping[str, Tensor]],
        *,
        context: SoundContext | None = None,
        heard: HeardFrames | None = None,
        proposals: int = 300,
        regions: int = 128,
    ) -> dict[str, Tensor]:
        """Every loss term of a batch, unweighted but for the annotated-pixel weights inside the energy terms.

        Parameters
        ----------
        acoustic, rgb, context, heard : as in :meth:`features`
        targets : one mapping a frame
            ``boxes_deg`` (n, 4) canvas degrees, ``x0`` in [0, 360), ``x1`` may exceed 360; ``labels`` (n,) 1..13;
            ``instance_maps`` (n, 180, 360) energy of each instance; ``distance_units`` (n,) in 500 cm, NaN unknown;
            ``instance_ids`` (n,) equal for one source in several frames of the batch; ``full_map`` (180, 360).
        proposals : int
            Proposals of a frame that regions are drawn from.
        regions : int
            Regions of a frame that classification and boxes learn from, at most a quarter of them foreground.

        Returns
        -------
        dict
            ``rpn_objectness``, ``rpn_box``, ``class``, ``box``, ``roi_energy``, ``field``, ``full_energy``,
            ``distance``, ``cosine_margin``, ``frame_class``; terms of parts that are switched off are missing.
        """
        features = self.features(acoustic, rgb, context, heard)
        truth = [t["boxes_deg"].float() * SCALE for t in targets]
        boxes, _, raw = self.propose(features, per_level=proposals * 5 // 3, at_most=proposals)
        out: dict[str, Tensor] = {}
        out["rpn_objectness"], out["rpn_box"] = self._rpn_losses(raw, truth)
        out.update(self._region_losses(features, boxes, truth, targets, regions))
        if self.decoder is not None:
            full = torch.stack([t["full_map"] for t in targets])
            seen = self.full_energy(features).float()
            if self.config.energy_weights == "pixels":
                out["full_energy"] = losses.full_map_loss(seen, full, full > 0)
            else:
                out["full_energy"] = losses.FULL_MAP_WEIGHT * losses.full_map_loss(seen, full, full > 0, weight=1.0)
        if self.frame_classifier is not None:
            present = acoustic.new_zeros(len(targets), N_CLASSES)
            for row, target in zip(present, targets, strict=True):
                row[target["labels"].long() - 1] = 1.0
            pooled = features.main[LEVELS[-1]].mean(dim=(-2, -1))
            out["frame_class"] = losses.frame_class_loss(self.frame_classifier(pooled).float(), present)
        return out

    def _overlap(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        iou, shift = cylinder_iou(a, b)
        if self.config.seam == "circular":
            return iou, shift
        left = torch.maximum(a[:, None, :2], b[None, :, :2])
        right = torch.minimum(a[:, None, 2:], b[None, :, 2:])
        intersection = (right - left).clamp(min=0).prod(dim=2)
        area = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
        union = ((a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1]))[:, None] + area[None, :] - intersection
        return intersection / union.clamp(min=1e-9), torch.zeros_like(shift)

    def _match(self, boxes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Best IoU with any true box, that box's row, and the true box moved next to ours."""
        iou, shift = self._overlap(boxes, truth)
        best, row = iou.max(dim=1)
        moved = truth[row].clone()
        moved[:, [0, 2]] += shift.gather(1, row[:, None])
        return best, row, moved

    def _rpn_losses(self, raw: tuple[list[Tensor], Tensor, Tensor], truth: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        anchors, logits, deltas = torch.cat(raw[0]), raw[1].float(), raw[2].float()
        sampler = BalancedPositiveNegativeSampler(256, 0.5)
        sampled_logits, sampled_deltas, wanted, wanted_deltas = [], [], [], []
        for b, boxes in enumerate(truth):
            label = torch.zeros(len(anchors), device=anchors.device)
            target = torch.zeros_like(anchors)
            if len(boxes):
                best, _, moved = self._match(anchors, boxes)
                label[best >= 0.3] = -1.0  # neither clearly background nor object
                label[best >= 0.6] = 1.0
                # every true box gets its best anchors, however poor they are
                iou, _ = self._overlap(anchors, boxes)
                label[((iou >= iou.amax(dim=0) - 1e-6) & (iou > 0.1)).any(dim=1)] = 1.0
                target = self._rpn_coder.encode_single(moved, anchors)
            positive, negative = sampler([label])
            rows = torch.where(positive[0] | negative[0])[0]
            sampled_logits.append(logits[b, rows])
            sampled_deltas.append(deltas[b, rows])
            wanted.append((label[rows] > 0).float())
            wanted_deltas.append(target[rows])
        return losses.proposal_losses(
            torch.cat(sampled_logits), torch.cat(sampled_deltas), torch.cat(wanted), torch.cat(wanted_deltas)
        )

    def _region_losses(
        self,
        features: Features,
        proposals: Sequence[Tensor],
        truth: Sequence[Tensor],
        targets: Sequence[Mapping[str, Tensor]],
        at_most: int,
    ) -> dict[str, Tensor]:
        sampler = BalancedPositiveNegativeSampler(at_most, 0.25)
        regions, labels, deltas, exact = [], [], [], []
        for found, boxes, target in zip(proposals, truth, targets, strict=True):
            candidates = torch.cat([found, self._to_canvas_limits(boxes)])
            label = torch.zeros(len(candidates), dtype=torch.long, device=candidates.device)
            moved = candidates
            if len(boxes):
                best, row, moved = self._match(candidates, boxes)
                label = torch.where(best >= 0.5, target["labels"].long()[row], label)
            positive, negative = sampler([label])
            rows = torch.where(positive[0] | negative[0])[0]
            regions.append(candidates[rows])
            labels.append(label[rows])
            deltas.append(self._roi_coder.encode_single(moved[rows], candidates[rows]))
            # the true boxes themselves stand last; they teach distance, embedding and energy
            exact.append(self._to_canvas_limits(boxes))
        for_class, for_box = self.region_vectors(features, regions)
        out: dict[str, Tensor] = {}
        out["class"], out["box"] = losses.box_losses(
            self.classifier(for_class).float(), self.box_deltas(for_box).float(), torch.cat(labels), torch.cat(deltas)
        )
        jittered = [self._jitter(boxes) for boxes in exact]
        vectors, _ = self.region_vectors(features, jittered)
        energy = self.region_energy(features, jittered).float()
        wanted = self._energy_targets(jittered, targets)
        if self.config.energy_loss == "overlap":
            out["roi_energy"] = losses.roi_overlap_loss(energy, wanted)
        elif self.config.energy_weights == "pixels":
            out["roi_energy"] = losses.roi_energy_loss(energy, wanted, wanted > 0)
        else:
            plain = losses.roi_energy_loss(energy, wanted, wanted > 0, weight=0.0)
            out["roi_energy"] = losses.ROI_ENERGY_WEIGHT * plain
        if self.field_head is not None:
            assert features.heard is not None
            frame = torch.cat([torch.full((len(b),), k, device=b.device) for k, b in enumerate(jittered)])
            maps = torch.cat([t["instance_maps"] for t in targets]).float()
            middles = torch.cat(jittered) / SCALE
            out["field"] = self.field_head.loss(self.field(features), features.heard, middles, frame, maps)
        distance = torch.cat([t["distance_units"] for t in targets]).to(energy.dtype)
        out["distance"] = losses.distance_loss(self.distance_head(vectors).float(), distance)
        if self.embedding_head is not None:
            instance = torch.cat([t["instance_ids"] for t in targets])
            out["cosine_margin"] = losses.cosine_margin_loss(self.embedding_head(vectors).float(), instance)
        return out

    def _jitter(self, boxes: Tensor, share: float = 0.1) -> Tensor:
        """Move each side by up to ``share`` of the box, so that the heads learn imperfect proposals."""
        size = torch.cat([boxes[:, 2:] - boxes[:, :2]] * 2, dim=1)
        moved = boxes + (torch.rand_like(boxes) * 2 - 1) * share * size
        moved[:, 2:] = torch.maximum(moved[:, 2:], moved[:, :2] + 1)
        return self._to_canvas_limits(moved)

    def _energy_targets(self, boxes: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """28 x 28 crops of each instance's own map: (n, 28, 28)."""
        crops = []
        for part, target in zip(boxes, targets, strict=True):
            if not len(part):
                continue
            maps = target["instance_maps"][:, None].float()
            if self.config.seam == "circular":
                maps = torch.cat([maps, maps[..., : int(EXTENSION / SCALE)]], dim=-1)
            index = torch.arange(len(part), device=part.device, dtype=part.dtype)[:, None]
            rois = torch.cat([index, part / SCALE], dim=1)
            crops.append(roi_align(maps, rois, output_size=28, sampling_ratio=2, aligned=True)[:, 0])
        return torch.cat(crops) if crops else boxes[0].new_zeros(0, 28, 28)


def save_detector(
    model: SaiDetector, path: Path, *, notes: Mapping[str, str] | None = None, half: bool = False
) -> None:
    """Write weights and configuration to one safetensors file, atomically.

    Parameters
    ----------
    model : SaiDetector
    path : Path
    notes : mapping of str to str, optional
        Provenance (seed, data, hours ...), kept in the file's metadata.
    half : bool
        float16 instead of float32: half the size. Numbers of what is opened again differ in the fourth digit.
    """
    save_network(model, path, {_MARK: model.config.to_json(), **(notes or {})}, half=half)


def mean_of(model: SaiDetector, partner: SaiDetector, *, share: float) -> SaiDetector:
    """Network whose weights are ``(1 - share) * model + share * partner``, in evaluation mode.

    Of two states of one training the mean is often better than either (Wortsman et al., CVPR 2022: "Robust fine-tuning
    of zero-shot models"). Running statistics are averaged too.

    Raises
    ------
    InputError
        The networks have other configurations, or ``share`` is not in [0, 1].
    """
    if model.config != partner.config:
        raise InputError("The two detectors have different configurations; only states of one network can be averaged.")
    if not 0.0 <= share <= 1.0:
        raise InputError(f"A share of {share} is not in [0, 1].")
    result = SaiDetector(model.config)
    theirs = partner.state_dict()
    result.load_state_dict(
        {
            key: torch.lerp(value, theirs[key], share) if value.is_floating_point() else value
            for key, value in model.state_dict().items()
        }
    )
    return result.eval()


def load_detector(path: Path, *, device: str | torch.device = "cpu") -> SaiDetector:
    """Open what :func:`save_detector` wrote, in evaluation mode.

    Raises
    ------
    InputError
        No such file, not safetensors, not a detector of ours, or weights that do not fit its configuration.
    """
    path = Path(path)
    refusal = "not a detector of this program (its metadata has no configuration)."
    model = SaiDetector(read_config(path, _MARK, DetectorConfig.from_json, refusal=refusal))
    load_into(model, read_state_dict(path), path, what="a detector with this configuration")
    return model.to(device).eval()

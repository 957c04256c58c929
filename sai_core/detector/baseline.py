"""The official baseline network, compatible with its checkpoints (``energy_seg_best.pth``).

In: float32, shape (batch, 12, 180, 360): RGB in [0, 1], then the nine acoustic maps, projection grid. Out: boxes in
canvas pixels (label grid), class scores, 28 x 28 RoI energies, distances (metres / 5, the network's own unit), the
full-frame energy map.

Architecture as published in ``model.py`` of ``iranroman/DCASE2026_Task3_SAISELD_baseline`` @ 8abeded: a torchvision
Faster R-CNN (ResNet-50, FPN) whose first convolution is a pair, one for RGB and one for the acoustic maps; instance
norm on the acoustic channels; a four-convolution energy head and a distance head on 14 x 14 RoI features; a decoder
from the pyramid to the canvas. Quirks that its checkpoints depend on and that are kept:

* backbone norms are frozen batch norms with eps 0 (torchvision sets that with its COCO weights);
* the canvas is zero-padded to 192 x 384 on the right and at the bottom, and the statistics of the instance norm
  include the padding;
* the full-frame decoder resizes the padded field to 180 x 360, so that its map is compressed by 180/192 and 360/384:
  misregistered by up to 22 columns at the right edge. :meth:`OfficialBaseline.full_energy` returns the official map
  or, with ``corrected=True``, the same field cut to the canvas instead of squeezed into it.

Differences in the computation, none in the numbers beyond rounding: energy and distance heads run only on the boxes
that are asked for; RoIAlign is :class:`~sai_core.detector.region_align.RegionAlign`; :func:`fold_norms` takes fixed
norms into the convolutions before them; and nothing is downloaded.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes
from torchvision.ops.misc import FrozenBatchNorm2d

from sai_core.checkpoints import load_into, read_state_dict
from sai_core.detector.region_align import RegionAlign
from sai_core.errors import InputError
from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH

N_LABELS = 14
"""13 classes and background (label 0)."""

_PADDED_HEIGHT, _PADDED_WIDTH = 192, 384
_IMAGE_MEAN = (0.485, 0.456, 0.406)
_IMAGE_STD = (0.229, 0.224, 0.225)
DISTANCE_UNIT_CM = 500.0
"""The network regresses ``distance_cm / 500`` (domain notes, section 1)."""


class Candidates(NamedTuple):
    """Detections of one image after torchvision's own score threshold and NMS.

    ``boxes`` float32 (n, 4) in canvas pixels; ``labels`` int64 (n,) 1..13; ``scores`` float32 (n,), falling;
    ``class_scores`` float32 (n, 13) of the proposal that each box came from; ``objectness`` float32 (n,) of that
    proposal, in [0, 1].
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    class_scores: Tensor
    objectness: Tensor


class DualStem(nn.Module):
    """First convolution: RGB and acoustic maps apart, each with a learned gain, added."""

    def __init__(self, n_acoustic: int = 9, out_channels: int = 64) -> None:
        super().__init__()
        self.conv1_rgb = nn.Conv2d(3, out_channels, 7, stride=2, padding=3, bias=False)
        self.conv1_audio = nn.Conv2d(n_acoustic, out_channels, 7, stride=2, padding=3, bias=False)
        self.rgb_scale = nn.Parameter(torch.tensor(1.0))
        self.audio_raw = nn.Parameter(torch.tensor(-0.274))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 12, H, W) to (batch, 64, H / 2, W / 2)."""
        # one convolution on all channels is the same sum, in one pass over the image
        weight = torch.cat(
            [self.rgb_scale * self.conv1_rgb.weight, (F.softplus(self.audio_raw) + 0.10) * self.conv1_audio.weight],
            dim=1,
        )
        return F.conv2d(x, weight, stride=2, padding=3)


class RoiEnergyHead(nn.Module):
    """14 x 14 RoI features to a 28 x 28 energy map in [0, 1]."""

    def __init__(self, channels: int = 256, dropout: float = 0.2) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for block in range(4):
            layers += [
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            if block % 2:
                layers.append(nn.Dropout2d(dropout))
        layers += [
            nn.ConvTranspose2d(channels, channels, 2, stride=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 1, 1),
            nn.Sigmoid(),
        ]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 256, 14, 14) to (n, 1, 28, 28)."""
        x = self.net[:-4](x)
        up, out = self.net[-4], self.net[-2]
        assert isinstance(up, nn.ConvTranspose2d)
        assert isinstance(out, nn.Conv2d)
        assert out.bias is not None
        # a 2 x 2 transposed convolution of stride 2 is four 1 x 1 convolutions; the last layer follows before their
        # results are put side by side, so that one channel is rearranged instead of 256
        quarters = up.weight.permute(2, 3, 1, 0).reshape(4 * up.out_channels, up.in_channels, 1, 1)
        bias = None if up.bias is None else up.bias.repeat(4)
        x = F.relu(F.conv2d(x, quarters, bias))
        last = torch.block_diag(*[out.weight.view(1, -1)] * 4)[:, :, None, None]
        return F.pixel_shuffle(F.conv2d(x, last, out.bias.repeat(4)), 2).sigmoid()


class FullEnergyDecoder(nn.Module):
    """Pyramid levels to one full-frame energy map in [0, 1]."""

    def __init__(self, channels: int = 256, mid: int = 128, dropout: float = 0.1) -> None:
        super().__init__()

        def block(a: int, b: int) -> list[nn.Module]:
            return [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]

        self.lat = nn.ModuleList(nn.Conv2d(channels, mid, 1) for _ in range(4))
        self.smooth = nn.ModuleList(nn.Sequential(*block(mid, mid)) for _ in range(4))
        self.head = nn.Sequential(
            *block(mid, 64), nn.Dropout2d(dropout), *block(64, 32), nn.Conv2d(32, 1, 1), nn.Sigmoid()
        )

    def forward(self, levels: list[Tensor], *, corrected: bool = False) -> Tensor:
        """Map four levels (finest first) to (batch, 1, 180, 360); ``corrected`` cuts the padding off first."""
        x = self.smooth[3](self.lat[3](levels[3]))
        for i in (2, 1, 0):
            x = F.interpolate(x, size=levels[i].shape[-2:], mode="nearest")
            x = self.smooth[i](x + self.lat[i](levels[i]))
        if corrected:
            x = F.interpolate(x, size=(_PADDED_HEIGHT, _PADDED_WIDTH), mode="bilinear", align_corners=False)
            x = x[..., :ERP_HEIGHT, :ERP_WIDTH]
        else:
            x = F.interpolate(x, size=(ERP_HEIGHT, ERP_WIDTH), mode="bilinear", align_corners=False)
        energy: Tensor = self.head(x)
        return energy


class DistanceHead(nn.Module):
    """Mean RoI features to a distance >= 0 in units of 500 cm."""

    def __init__(self, channels: int = 256, dropout: float = 0.3) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, 128),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(128, 64),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(64, 1),
        )

    def forward(self, roi_features: Tensor) -> Tensor:
        """Map (n, 256) to (n,)."""
        return F.softplus(self.fc(roi_features)).squeeze(-1)


class OfficialBaseline(nn.Module):
    """The official early-fusion model, as stages that can be run on their own.

    Parameters
    ----------
    score_thresh, detections_per_img
        torchvision's own settings; the official ones are the defaults.
    """

    def __init__(self, *, score_thresh: float = 0.05, detections_per_img: int = 100) -> None:
        super().__init__()
        body = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
        backbone = _resnet_fpn_extractor(body, trainable_layers=3)
        for module in backbone.modules():
            if isinstance(module, FrozenBatchNorm2d):
                module.eps = 0.0
        backbone.body.conv1 = DualStem()
        self.register_buffer("class_weights", torch.ones(N_LABELS))
        detector = FasterRCNN(
            backbone,
            num_classes=N_LABELS,
            box_score_thresh=score_thresh,
            box_detections_per_img=detections_per_img,
            box_roi_pool=RegionAlign(["0", "1", "2", "3"], 7),
        )
        # the transform would only resize to the same size; normalising and padding are done here
        del detector.transform
        self.det = detector
        self.acoustic_norm = nn.InstanceNorm2d(9, affine=True)
        self.energy_roi_pool = RegionAlign(["0", "1", "2", "3"], 14)
        self.energy_head = RoiEnergyHead()
        self.energy_decoder = FullEnergyDecoder()
        self.distance_head = DistanceHead()

    def prepare(self, images: Tensor) -> Tensor:
        """Normalise, pad and instance-normalise (batch, 12, 180, 360) to (batch, 12, 192, 384).

        Raises
        ------
        InputError
            Another shape.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != (12, ERP_HEIGHT, ERP_WIDTH):
            raise InputError(
                f"baseline input: shape (batch, 12, {ERP_HEIGHT}, {ERP_WIDTH}) is needed, got {tuple(images.shape)}."
            )
        mean = images.new_tensor(_IMAGE_MEAN).view(1, 3, 1, 1)
        std = images.new_tensor(_IMAGE_STD).view(1, 3, 1, 1)
        padded = images.new_zeros(images.shape[0], 12, _PADDED_HEIGHT, _PADDED_WIDTH)
        padded[:, :3, :ERP_HEIGHT, :ERP_WIDTH] = (images[:, :3] - mean) / std
        padded[:, 3:, :ERP_HEIGHT, :ERP_WIDTH] = images[:, 3:]
        padded[:, 3:] = self.acoustic_norm(padded[:, 3:])
        return padded

    def pyramid(self, prepared: Tensor) -> OrderedDict[str, Tensor]:
        """FPN levels ``"0"``..``"3"`` and ``"pool"`` of a prepared batch."""
        levels: OrderedDict[str, Tensor] = self.det.backbone(prepared)
        return levels

    def candidates(self, prepared: Tensor, levels: OrderedDict[str, Tensor]) -> list[Candidates]:
        """Boxes, labels and scores of each image (evaluation mode).

        The steps are those of torchvision's RPN and RoI heads, spelled out because their own forward functions drop
        the objectness and the scores of the other classes, which the inference engine stores.
        """
        sizes = [(ERP_HEIGHT, ERP_WIDTH)] * prepared.shape[0]
        rpn, heads = self.det.rpn, self.det.roi_heads
        maps = list(levels.values())
        # boxes and scores are worked on at full precision, whatever the convolutions ran at
        logits, deltas = ([x.float() for x in part] for part in rpn.head(maps))
        anchors = rpn.anchor_generator(ImageList(prepared, sizes), maps)
        per_level = [level[0].numel() for level in logits]
        flat_logits, flat_deltas = concat_box_prediction_layers(logits, deltas)
        decoded = rpn.box_coder.decode(flat_deltas, anchors).view(len(sizes), -1, 4)
        proposals, objectness = rpn.filter_proposals(decoded, flat_logits, sizes, per_level)

        features = heads.box_head(heads.box_roi_pool(levels, proposals, sizes))
        class_logits, regression = heads.box_predictor(features)
        counts = [len(p) for p in proposals]
        boxes = heads.box_coder.decode(regression.float(), proposals).split(counts)
        scores = class_logits.float().softmax(dim=-1).split(counts)
        return [self._select(b, s, o) for b, s, o in zip(boxes, scores, objectness, strict=True)]

    def _select(self, boxes: Tensor, scores: Tensor, objectness: Tensor) -> Candidates:
        """Torchvision's score threshold, minimal size and per-class NMS of one image; keeps each box's proposal."""
        heads = self.det.roi_heads
        share = scores[:, 1:]
        boxes = clip_boxes_to_image(boxes, (ERP_HEIGHT, ERP_WIDTH))[:, 1:].reshape(-1, 4)
        flat = share.reshape(-1)
        rows = torch.where(flat > heads.score_thresh)[0]
        rows = rows[remove_small_boxes(boxes[rows], min_size=1e-2)]
        label = rows % (N_LABELS - 1) + 1
        keep = batched_nms(boxes[rows], flat[rows], label, heads.nms_thresh)[: heads.detections_per_img]
        rows, label = rows[keep], label[keep]
        proposal = rows // (N_LABELS - 1)
        return Candidates(boxes[rows], label, flat[rows], share[proposal], objectness[proposal])

    def roi_outputs(self, levels: OrderedDict[str, Tensor], boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Energy (n, 28, 28) and distance (n,) of boxes, one (n_i, 4) tensor an image, concatenated."""
        if sum(len(b) for b in boxes) == 0:
            reference = levels["0"]
            return reference.new_zeros(0, 28, 28), reference.new_zeros(0)
        four = OrderedDict((k, levels[k]) for k in ("0", "1", "2", "3"))
        features = self.energy_roi_pool(four, boxes, [(ERP_HEIGHT, ERP_WIDTH)] * len(boxes))
        return self.energy_head(features).squeeze(1), self.distance_head(features.mean(dim=(-2, -1)))

    def full_energy(self, levels: OrderedDict[str, Tensor], *, corrected: bool = False) -> Tensor:
        """Full-frame energy (batch, 180, 360); ``corrected=True`` undoes the official misregistration."""
        energy: Tensor = self.energy_decoder([levels[str(i)] for i in range(4)], corrected=corrected)
        return energy[:, 0]

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Run all stages as the official ``eval()`` forward does.

        Returns
        -------
        list of dict
            One an image: ``boxes`` (n, 4), ``labels`` (n,), ``scores`` (n,), ``energy_maps`` (n, 28, 28),
            ``dist_pred`` (n,), ``full_energy`` (180, 360).
        """
        prepared = self.prepare(images)
        levels = self.pyramid(prepared)
        found = self.candidates(prepared, levels)
        energy, distance = self.roi_outputs(levels, [c.boxes for c in found])
        full = self.full_energy(levels)
        counts = [len(c.boxes) for c in found]
        return [
            {
                "boxes": c.boxes,
                "labels": c.labels,
                "scores": c.scores,
                "energy_maps": e,
                "dist_pred": d,
                "full_energy": f,
            }
            for c, e, d, f in zip(found, energy.split(counts), distance.split(counts), full, strict=True)
        ]


def fold_norms(model: OfficialBaseline) -> OfficialBaseline:
    """Take every fixed norm into the convolution before it, in place, for inference; keys are no longer official.

    In evaluation mode ``norm(conv(x))`` is a convolution with other weights. The results differ by rounding (1e-5 on
    pyramid levels of size 1); a pass over every feature map is saved, and channels-last layout pays off.
    """
    model.eval()
    with torch.no_grad():
        for module in list(model.modules()):
            children = list(module.named_children())
            for (_, conv), (name, norm) in pairwise(children):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, (nn.BatchNorm2d, FrozenBatchNorm2d)):
                    _fold(conv, norm)
                    setattr(module, name, nn.Identity())
    return model.to(memory_format=torch.channels_last)


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d | FrozenBatchNorm2d) -> None:
    assert isinstance(norm.running_mean, Tensor)
    assert isinstance(norm.running_var, Tensor)
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    before = torch.zeros_like(norm.running_mean) if conv.bias is None else conv.bias
    conv.weight = nn.Parameter(conv.weight * scale[:, None, None, None])
    conv.bias = nn.Parameter(norm.bias + (before - norm.running_mean) * scale)


def load_official_baseline(path: Path, *, device: str | torch.device = "cpu") -> OfficialBaseline:
    """Open an official checkpoint (plain state dict, or one under ``model_state_dict``) in evaluation mode.

    Raises
    ------
    InputError
        Not a checkpoint, or one of another network; the sentence names missing, unexpected and misshaped keys.
    """
    state = read_state_dict(path)
    model = OfficialBaseline()
    load_into(model, state, path, what="the official baseline")
    return model.to(device).eval()

"""The official baseline as a plain torchvision forward: what a user has without this program.

Written from the description (``docs/detector.md`` names it): torchvision's ``FasterRCNN`` whole, with its own
transform, RPN and RoI heads; both convolutions of the stem apart; norms as separate layers; energy and distance heads
on every detection that torchvision returns; the decoder at full size. No stage is skipped, nothing is folded. It is
the yardstick of the benchmark and the plain loop that the engine must equal.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.misc import FrozenBatchNorm2d


class _Stem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1_rgb = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.conv1_audio = nn.Conv2d(9, 64, 7, 2, 3, bias=False)
        self.rgb_scale = nn.Parameter(torch.tensor(1.0))
        self.audio_raw = nn.Parameter(torch.tensor(-0.274))

    def forward(self, x: Tensor) -> Tensor:
        seen, heard = self.conv1_rgb(x[:, :3]), self.conv1_audio(x[:, 3:])
        return self.rgb_scale * seen + (F.softplus(self.audio_raw) + 0.10) * heard


def _conv(a: int, b: int) -> list[nn.Module]:
    return [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]


class _EnergyHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        up = [nn.ConvTranspose2d(256, 256, 2, 2), nn.ReLU(), nn.Conv2d(256, 1, 1), nn.Sigmoid()]
        pair = [*_conv(256, 256), *_conv(256, 256), nn.Dropout2d(0.2)]
        second = [*_conv(256, 256), *_conv(256, 256), nn.Dropout2d(0.2)]
        self.net = nn.Sequential(*pair, *second, *up)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class _Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lat = nn.ModuleList(nn.Conv2d(256, 128, 1) for _ in range(4))
        self.smooth = nn.ModuleList(nn.Sequential(*_conv(128, 128)) for _ in range(4))
        self.head = nn.Sequential(*_conv(128, 64), nn.Dropout2d(0.1), *_conv(64, 32), nn.Conv2d(32, 1, 1), nn.Sigmoid())

    def forward(self, levels: list[Tensor]) -> Tensor:
        x = self.smooth[3](self.lat[3](levels[3]))
        for i in (2, 1, 0):
            x = self.smooth[i](F.interpolate(x, size=levels[i].shape[-2:], mode="nearest") + self.lat[i](levels[i]))
        return self.head(F.interpolate(x, size=(180, 360), mode="bilinear", align_corners=False))


class _Distance(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        hidden = [nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.3)]
        self.fc = nn.Sequential(*hidden, nn.Linear(64, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(self.fc(x)).squeeze(-1)


class LiteralBaseline(nn.Module):
    """Same parameters and keys as the official network.

    ``stages`` holds the seconds of each stage of the last forward.
    """

    def __init__(self, *, score_thresh: float = 0.05) -> None:
        super().__init__()
        backbone = _resnet_fpn_extractor(resnet50(weights=None, norm_layer=FrozenBatchNorm2d), 3)
        for module in backbone.modules():
            if isinstance(module, FrozenBatchNorm2d):
                module.eps = 0.0
        backbone.body.conv1 = _Stem()
        self.register_buffer("class_weights", torch.ones(14))
        self.det = FasterRCNN(
            backbone,
            num_classes=14,
            min_size=180,
            max_size=360,
            image_mean=[0.485, 0.456, 0.406] + [0.0] * 9,
            image_std=[0.229, 0.224, 0.225] + [1.0] * 9,
            box_score_thresh=score_thresh,
        )
        self.acoustic_norm = nn.InstanceNorm2d(9, affine=True)
        self.energy_roi_pool = MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=14, sampling_ratio=2)
        self.energy_head = _EnergyHead()
        self.energy_decoder = _Decoder()
        self.distance_head = _Distance()
        self.stages: dict[str, float] = {}

    @contextmanager
    def _stage(self, name: str):
        begin = perf_counter()
        yield
        self.stages[name] = perf_counter() - begin

    @torch.inference_mode()
    def forward(self, frame: Tensor) -> dict[str, Tensor]:
        """All outputs of one frame (12, 180, 360)."""
        with self._stage("transform"):
            images, _ = self.det.transform([frame])
            heard = self.acoustic_norm(images.tensors[:, 3:])
            images = ImageList(torch.cat([images.tensors[:, :3], heard], dim=1), images.image_sizes)
        with self._stage("backbone"):
            levels: OrderedDict[str, Tensor] = self.det.backbone(images.tensors)
        with self._stage("rpn"):
            proposals, _ = self.det.rpn(images, levels)
        with self._stage("box head"):
            found, _ = self.det.roi_heads(levels, proposals, images.image_sizes)
            out = self.det.transform.postprocess(found, images.image_sizes, [(180, 360)])[0]
        with self._stage("energy and distance heads"):
            if len(out["boxes"]):
                roi = self.energy_roi_pool(levels, [out["boxes"]], images.image_sizes)
                out["energy_maps"] = self.energy_head(roi)[:, 0]
                out["dist_pred"] = self.distance_head(roi.mean(dim=(-2, -1)))
            else:
                out["energy_maps"], out["dist_pred"] = torch.zeros(0, 28, 28), torch.zeros(0)
        with self._stage("full-map decoder"):
            out["full_energy"] = self.energy_decoder([levels[str(i)] for i in range(4)])[0, 0]
        return out

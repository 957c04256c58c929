"""torchvision's own weights where the user has them: nothing is ever downloaded.

torchvision keeps what it once fetched in ``$TORCH_HOME/hub/checkpoints`` (``~/.cache/torch/hub/checkpoints``). The
file names are those of its published weights; COCO detectors come before ImageNet classifiers, since their bodies have
seen detection and bring an FPN.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torchvision.models import ResNet18_Weights, ResNet50_Weights
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights, MaskRCNN_ResNet50_FPN_Weights

IN_CACHE = "torchvision"
"""Value of ``start.backbone`` that asks for whatever the cache holds."""


def weights_folder() -> Path:
    """Where torchvision keeps downloaded weights on this machine."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def known_files(backbone: Literal["resnet18", "resnet50"]) -> tuple[str, ...]:
    """File names of torchvision's weights that fit a backbone, the most useful first.

    The second version of the COCO detectors is left out: its FPN has norms that ours has not.
    """
    if backbone == "resnet18":
        weights = [ResNet18_Weights.IMAGENET1K_V1]
    else:
        weights = [
            MaskRCNN_ResNet50_FPN_Weights.COCO_V1,
            FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
            ResNet50_Weights.IMAGENET1K_V2,
            ResNet50_Weights.IMAGENET1K_V1,
        ]
    return tuple(str(w.url).rsplit("/", 1)[1] for w in weights)


def find_cached(backbone: Literal["resnet18", "resnet50"]) -> Path | None:
    """The best weights for a backbone in torchvision's cache; None where there are none."""
    folder = weights_folder()
    return next((folder / name for name in known_files(backbone) if (folder / name).is_file()), None)

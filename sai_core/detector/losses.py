"""Losses of the report (sections 3.2 and 4.1) as pure functions of tensors; each returns a scalar.

Empty inputs give a zero that is still connected to the graph, so that a batch without any event trains the rest.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FULL_MAP_WEIGHT = 10.0
"""Weight of annotated pixels in the full-frame MSE (report section 3.2; official ``fullmap_annot_w``)."""
ROI_ENERGY_WEIGHT = 5.0
"""Weight of annotated pixels in the RoI MSE (report section 3.2; official ``energy_annot_w``)."""
COSINE_MARGIN = 0.2
"""Cosine above which two different instances are pushed apart (ours; the report gives no figure)."""


def full_map_loss(predicted: Tensor, target: Tensor, annotated: Tensor, *, weight: float = FULL_MAP_WEIGHT) -> Tensor:
    """Mean squared error over all pixels, annotated ones weighted.

    Parameters
    ----------
    predicted, target : Tensor, shape (batch, H, W)
        Energy in [0, 1].
    annotated : bool Tensor, shape (batch, H, W)
    """
    weights = torch.where(annotated, weight, 1.0)
    return (weights * (predicted - target).square()).mean()


def roi_energy_loss(
    predicted: Tensor, target: Tensor, annotated: Tensor, *, weight: float = ROI_ENERGY_WEIGHT
) -> Tensor:
    """MSE over all RoI cells + ``weight`` x MSE over the annotated ones.

    Parameters
    ----------
    predicted, target : Tensor, shape (n, 28, 28)
    annotated : bool Tensor, shape (n, 28, 28)
    """
    if predicted.numel() == 0:
        return predicted.sum()
    squared = (predicted - target).square()
    share = annotated.to(squared.dtype)
    inside = (squared * share).sum() / share.sum().clamp(min=1.0)
    return squared.mean() + weight * inside


def roi_overlap_loss(predicted: Tensor, target: Tensor, *, least: float = 1e-4) -> Tensor:
    """What the metric sees of a region's map: overlap and correlation, and a little of its level.

    The mean squared error, which alone holds the level, plus half of one minus the soft IoU (sum of the smaller over
    sum of the larger values) of both maps divided by their peaks, plus half of one minus their correlation; the last
    two as means over regions with energy in the target.

    Parameters
    ----------
    predicted, target : Tensor, shape (n, 28, 28)
        Energy in [0, 1].
    least : float
        Peak below which a target counts as empty, and added where something could be divided by 0.
    """
    if predicted.numel() == 0:
        return predicted.sum()
    level = (predicted - target).square().mean()
    some = target.flatten(1).amax(dim=1) > least
    if not bool(some.any()):
        return level
    a, b = predicted[some].flatten(1), target[some].flatten(1)
    shape_a = a / a.amax(dim=1, keepdim=True).clamp(min=least)
    shape_b = b / b.amax(dim=1, keepdim=True)
    overlap = torch.minimum(shape_a, shape_b).sum(dim=1) / torch.maximum(shape_a, shape_b).sum(dim=1)
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    correlation = (a * b).sum(dim=1) / (a.square().sum(dim=1) * b.square().sum(dim=1) + least**2).sqrt()
    return level + 0.5 * (1.0 - overlap).mean() + 0.5 * (1.0 - correlation).mean()


def distance_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 (beta 1) between distances in units of 500 cm; NaN targets (unknown distance) are left out."""
    known = ~torch.isnan(target)
    if not bool(known.any()):
        return predicted.sum() * 0.0
    return F.smooth_l1_loss(predicted[known], target[known])


def cosine_margin_loss(embedding: Tensor, instance: Tensor, *, margin: float = COSINE_MARGIN) -> Tensor:
    """Pull embeddings of one instance together, push those of different instances below a cosine of ``margin``.

    Parameters
    ----------
    embedding : Tensor, shape (n, d)
        Of any length; compared by direction.
    instance : int Tensor, shape (n,)
        Rows with equal numbers are one instance (the same source in any frame of the batch).

    Returns
    -------
    Tensor
        Mean of ``1 - cos`` over equal pairs plus mean of ``max(0, cos - margin)`` over unequal ones; each mean is 0
        without such pairs.
    """
    if embedding.shape[0] < 2:
        return embedding.sum() * 0.0
    unit = F.normalize(embedding, dim=1)
    cosine = unit @ unit.T
    same = instance[:, None] == instance[None, :]
    upper = torch.triu(torch.ones_like(same), diagonal=1)
    pull, push = same & upper, ~same & upper
    loss = embedding.sum() * 0.0
    if bool(pull.any()):
        loss = loss + (1.0 - cosine[pull]).mean()
    if bool(push.any()):
        loss = loss + (cosine[push] - margin).clamp(min=0).mean()
    return loss


def proposal_losses(logits: Tensor, deltas: Tensor, objectness: Tensor, target_deltas: Tensor) -> tuple[Tensor, Tensor]:
    """RPN: binary cross-entropy of sampled anchors and smooth L1 (beta 1/9) of the positive ones.

    Parameters
    ----------
    logits, objectness : Tensor, shape (n,)
        Sampled anchors; ``objectness`` is 1 or 0.
    deltas, target_deltas : Tensor, shape (n, 4)
        Rows of negative anchors are ignored.
    """
    if logits.numel() == 0:
        return logits.sum(), deltas.sum()
    positive = objectness > 0.5
    box = F.smooth_l1_loss(deltas[positive], target_deltas[positive], beta=1 / 9, reduction="sum")
    return F.binary_cross_entropy_with_logits(logits, objectness), box / logits.numel()


def box_losses(class_logits: Tensor, deltas: Tensor, labels: Tensor, target_deltas: Tensor) -> tuple[Tensor, Tensor]:
    """RoI head: cross-entropy over 14 labels and smooth L1 (beta 1/9) of the foreground boxes.

    Parameters
    ----------
    class_logits : Tensor, shape (n, 14)
    deltas, target_deltas : Tensor, shape (n, 4)
        Class-agnostic.
    labels : int Tensor, shape (n,)
        0 = background.
    """
    if labels.numel() == 0:
        return class_logits.sum(), deltas.sum()
    positive = labels > 0
    box = F.smooth_l1_loss(deltas[positive], target_deltas[positive], beta=1 / 9, reduction="sum")
    return F.cross_entropy(class_logits, labels), box / labels.numel()


def frame_class_loss(logits: Tensor, present: Tensor) -> Tensor:
    """Auxiliary frame-level classification: binary cross-entropy over the 13 classes.

    Parameters
    ----------
    logits, present : Tensor, shape (batch, 13)
    """
    return F.binary_cross_entropy_with_logits(logits, present)

"""Each loss against a value computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from sai_core.detector import losses


def test_full_map_loss_weights_annotated_pixels() -> None:
    predicted = torch.tensor([[[0.5, 0.2], [0.0, 1.0]]])
    target = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    annotated = target > 0
    # (10 * 0.25 + 0.04 + 0 + 1) / 4
    assert losses.full_map_loss(predicted, target, annotated).item() == pytest.approx(3.54 / 4)


def test_roi_energy_loss_adds_the_annotated_mean() -> None:
    predicted = torch.tensor([[[0.5, 0.0], [0.0, 0.4]]])
    target = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    # all: (0.25 + 1 + 0 + 0.16) / 4; annotated: (0.25 + 1) / 2, times 5
    assert losses.roi_energy_loss(predicted, target, target > 0).item() == pytest.approx(1.41 / 4 + 5 * 1.25 / 2)


def test_roi_overlap_loss_is_overlap_and_correlation_of_shapes_and_a_little_of_the_level() -> None:
    predicted = torch.tensor([[[0.2, 0.4], [0.0, 0.1]], [[0.3, 0.1], [0.1, 0.1]]])
    target = torch.tensor([[[1.0, 0.5], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    level = (0.64 + 0.01 + 0.01 + 0.09 + 3 * 0.01) / 8
    # divided by their peaks: 0.5 1 0 0.25 against 1 0.5 0 0
    overlap = (0.5 + 0.5) / (1 + 1 + 0.25)
    r = torch.corrcoef(torch.stack([predicted[0].ravel(), target[0].ravel()]))[0, 1].item()
    found = losses.roi_overlap_loss(predicted, target).item()
    assert found == pytest.approx(level + 0.5 * (1 - overlap) + 0.5 * (1 - r), abs=1e-5)
    assert losses.roi_overlap_loss(target[:1], target[:1]).item() == pytest.approx(0.0, abs=1e-6)
    # half as loud costs the level alone
    assert losses.roi_overlap_loss(target[:1] / 2, target[:1]).item() == pytest.approx(
        (target[:1] / 2).square().mean().item(), abs=1e-5
    )


def test_roi_overlap_loss_teaches_the_shape() -> None:
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    target = torch.exp(-((x - 9) ** 2 + (y - 17) ** 2) / 30)[None]
    logits = torch.randn(1, 28, 28, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.2)
    for _ in range(300):
        optimiser.zero_grad()
        losses.roi_overlap_loss(logits.sigmoid(), target).backward()
        assert logits.grad is not None
        assert bool(torch.isfinite(logits.grad).all())
        optimiser.step()
    made = logits.sigmoid().detach()
    overlap = torch.minimum(made / made.max(), target).sum() / torch.maximum(made / made.max(), target).sum()
    assert overlap > 0.8
    empty = torch.zeros(2, 28, 28, requires_grad=True)
    losses.roi_overlap_loss(empty, torch.zeros(2, 28, 28)).backward()
    assert empty.grad is not None
    assert bool(torch.isfinite(empty.grad).all())


def test_distance_loss_ignores_unknown_distances() -> None:
    predicted = torch.tensor([0.5, 3.0, 9.0], requires_grad=True)
    target = torch.tensor([1.0, 1.0, float("nan")])
    loss = losses.distance_loss(predicted, target)
    # 0.5 * 0.5^2 and 2 - 0.5
    assert loss.item() == pytest.approx((0.125 + 1.5) / 2)
    loss.backward()
    assert predicted.grad is not None
    assert predicted.grad[2] == 0


def test_cosine_margin_loss() -> None:
    angle = math.radians(60)
    embedding = torch.tensor([[2.0, 0.0], [math.cos(angle), math.sin(angle)], [1.0, 0.0]])
    # rows 0 and 1 are one instance: pull 1 - cos 60; row 2 is another: push cos 0 and cos 60 beyond the margin
    expected = 0.5 + ((1 - 0.2) + (0.5 - 0.2)) / 2
    assert losses.cosine_margin_loss(embedding, torch.tensor([7, 7, 9])).item() == pytest.approx(expected, abs=1e-6)


def test_box_losses() -> None:
    logits = torch.zeros(2, 14)
    deltas = torch.tensor([[1.0, 0.0, 0.0, 0.0], [5.0, 5.0, 5.0, 5.0]])
    labels = torch.tensor([3, 0])
    classification, box = losses.box_losses(logits, deltas, labels, torch.zeros(2, 4))
    assert classification.item() == pytest.approx(math.log(14))
    # only the foreground row: |1| - beta / 2 with beta = 1 / 9, over two samples
    assert box.item() == pytest.approx((1 - 1 / 18) / 2)


def test_proposal_losses() -> None:
    objectness, box = losses.proposal_losses(
        torch.zeros(4), torch.full((4, 4), 0.05), torch.tensor([1.0, 0, 0, 0]), torch.zeros(4, 4)
    )
    assert objectness.item() == pytest.approx(math.log(2))
    # quadratic part: 4 * 0.5 * 0.05^2 * 9, over four samples
    assert box.item() == pytest.approx(4 * 0.5 * 0.0025 * 9 / 4)


def test_frame_class_loss() -> None:
    assert losses.frame_class_loss(torch.zeros(1, 13), torch.ones(1, 13)).item() == pytest.approx(math.log(2))


def test_empty_inputs_are_zero_and_connected() -> None:
    x = torch.zeros(0, 28, 28, requires_grad=True)
    e = torch.zeros(0, 8, requires_grad=True)
    d = torch.zeros(0, requires_grad=True)
    total = (
        losses.roi_energy_loss(x, x.detach(), x.detach() > 0)
        + losses.cosine_margin_loss(e, torch.zeros(0, dtype=torch.long))
        + losses.distance_loss(d, d.detach())
    )
    assert total.item() == 0
    total.backward()

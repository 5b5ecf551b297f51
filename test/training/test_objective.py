"""The task loss: the paper's formulas over every lane, for several lanes and for one class."""

import numpy as np
import pytest
import torch
from torch import Tensor

from training.objective import Objective, cross_entropy, soft_iou_loss


def batch(images: int, classes: int, size: int = 5) -> tuple[Tensor, Tensor]:
    """Logits and targets in float64 where the last class is nowhere."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(images, classes, size, size, generator=generator, dtype=torch.float64)
    target = torch.randint(0, max(2, classes - 1), (images, size, size), generator=generator)
    return logits, target


def test_iou_is_the_papers_over_every_lane() -> None:
    logits, target = batch(2, 4)
    p = logits.softmax(1)
    losses = []
    for b in (0, 1):
        of_image = []
        for lane in (1, 2):
            overlap = float(p[b, lane][target[b] == lane].sum())
            predicted, truth = float(p[b, lane].sum()), int((target[b] == lane).sum())
            of_image.append(1 - overlap / (predicted + truth - overlap))
        losses.append(np.mean(of_image))
    assert float(soft_iou_loss(logits, target)) == pytest.approx(np.mean(losses), abs=1e-12)


def test_perfect_segmentation_has_no_iou_loss() -> None:
    _, target = batch(2, 4)
    logits = 40.0 * torch.nn.functional.one_hot(target, 4).permute(0, 3, 1, 2).double()
    assert float(soft_iou_loss(logits, target)) == pytest.approx(0.0, abs=1e-9)


def test_every_lane_is_trained_by_the_iou() -> None:
    logits = torch.zeros(1, 4, 4, 4, requires_grad=True)
    target = torch.arange(4).repeat(4, 1)[None]
    soft_iou_loss(logits, target).backward()
    assert logits.grad is not None
    assert (logits.grad[0].abs().sum(dim=(1, 2)) > 1e-3).all()


def test_single_lane_class_is_trained() -> None:
    """BDD100K's binary case: two classes, no existence head."""
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    target = torch.zeros(1, 4, 4, dtype=torch.long)
    target[0, :, 1] = 1
    terms = Objective()(logits, None, target, torch.zeros(1, 1))
    assert set(terms) == {"segmentation", "iou", "task"}
    assert terms["iou"].item() == pytest.approx(1 - 2 / (8 + 4 - 2))
    terms["iou"].backward()
    assert logits.grad is not None
    assert (logits.grad[0, 1, :, 1] < 0).all()
    assert (logits.grad[0, 1, :, [0, 2, 3]] > 0).all()


def test_background_weighs_less() -> None:
    logits, target = batch(2, 4)
    log_p = logits.log_softmax(1).gather(1, target[:, None])[:, 0]
    weight = torch.where(target == 0, 0.4, 1.0).double()
    expected = [-(weight[b] * log_p[b]).sum() / weight[b].sum() for b in (0, 1)]
    found = cross_entropy(logits.float(), target, 0.4)
    assert float(found) == pytest.approx(float(sum(expected)) / 2, rel=1e-6)


def test_nothing_is_learnt_of_lanes_that_nobody_labelled() -> None:
    segmentation, target = batch(2, 5)
    target[target == 1] = 0  # of the unknown lane 0
    exists = torch.tensor([[0.0, 1.0, 1.0, 0.0]] * 2)
    known = torch.tensor([[False, True, True, True], [True] * 4])
    values = []
    for push in (0.0, 3.0):
        # What the unknown lane takes from the background alone.
        logits = segmentation.clone()
        merged = torch.logaddexp(logits[0, 0], logits[0, 1])
        logits[0, 1] -= push
        logits[0, 0] = (merged.exp() - logits[0, 1].exp()).log()
        flags = torch.zeros(2, 4)
        flags[0, 0] = push
        values.append(Objective()(logits, flags, target, exists, known))
    assert values[1]["segmentation"].item() == pytest.approx(values[0]["segmentation"].item())
    assert values[1]["existence"].item() == pytest.approx(values[0]["existence"].item())
    ignorant = Objective()(segmentation, torch.zeros(2, 4), target, exists)
    assert ignorant["segmentation"] > values[0]["segmentation"]
    assert ignorant["existence"] > values[0]["existence"]


def test_known_lanes_are_learnt_as_ever() -> None:
    segmentation, target = batch(2, 5)
    exists = torch.tensor([[0.0, 1.0, 1.0, 0.0]] * 2)
    everything = torch.ones(2, 4, dtype=torch.bool)
    with_mask = Objective()(segmentation, torch.zeros(2, 4), target, exists, everything)
    without = Objective()(segmentation, torch.zeros(2, 4), target, exists)
    assert with_mask["task"].item() == without["task"].item()


def test_task_is_weighted_like_the_paper() -> None:
    logits, target = batch(2, 3)
    existence = torch.tensor([[2.0, -1.0], [0.0, 3.0]])
    exists = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    terms = Objective()(logits, existence, target, exists)
    p = existence.sigmoid()
    flags = -(exists * p.log() + (1 - exists) * (1 - p).log()).mean()
    assert float(terms["existence"]) == pytest.approx(float(flags), rel=1e-6)
    expected = cross_entropy(logits.float(), target, 0.4) + 0.1 * soft_iou_loss(logits, target)
    assert float(terms["task"]) == pytest.approx(float(expected + 0.1 * flags), rel=1e-5)


def test_other_weights_are_taken() -> None:
    logits, target = batch(2, 3)
    flags, exists = torch.tensor([[2.0, -1.0]] * 2), torch.tensor([[1.0, 0.0]] * 2)
    terms = Objective(background=0.7, iou=0.3, existence=0.5)(logits, flags, target, exists)
    expected = cross_entropy(logits.float(), target, 0.7) + 0.3 * soft_iou_loss(logits, target)
    expected = expected + 0.5 * terms["existence"]
    assert float(terms["task"]) == pytest.approx(float(expected), rel=1e-5)


def test_batch_in_pieces_has_the_same_loss() -> None:
    logits, target = batch(4, 4)
    target[0] = 0  # an image without lanes
    existence = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    exists = torch.tensor([[0.0, 0, 0], [1, 1, 0], [1, 1, 0], [1, 1, 0]])
    arguments = (logits, existence, target, exists)
    whole = Objective()(*arguments)
    halves = [Objective()(*(a[part] for a in arguments)) for part in (slice(2), slice(2, 4))]
    for name, value in whole.items():
        assert float(value) == pytest.approx(float(halves[0][name] + halves[1][name]) / 2, rel=1e-5)


def test_image_without_lanes_is_no_trouble() -> None:
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    terms = Objective()(logits, None, torch.zeros(1, 4, 4, dtype=torch.long), torch.zeros(1, 2))
    assert terms["iou"].item() == 0.0
    terms["task"].backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()

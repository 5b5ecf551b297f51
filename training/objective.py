"""The task loss of the paper, L_seg + α·L_IoU + β·L_exist (section 3.3).

Every term is the mean over the images of a value of each image alone, so that a batch gives the
same loss and gradient in one piece or shared out to several processes. Distillation, the last term
of the whole loss, is in `training.distillation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(
    segmentation: Tensor, target: Tensor, background: float, known: Tensor | None = None
) -> Tensor:
    """L_seg: pixel-wise cross-entropy, the background class weighted by `background`.

    segmentation: logits B×(1+lanes)×H×W; target: B×H×W class ids, 0 background; known: B×lanes,
    False for lanes that nobody labelled, None if all are. A pixel of the background may be of such
    a lane: what is learnt there is the sum of these classes' probabilities (the marginal loss for
    partly labelled sets of Shi et al., arXiv 2007.03868).
    """
    weight = torch.ones(segmentation.shape[1], device=segmentation.device)
    weight[:1].fill_(background)
    loss = F.cross_entropy(segmentation, target, weight, reduction="none")
    if known is not None:  # for all images, as to choose some would wait for the device
        lanes = segmentation[:, 1:].masked_fill(known[:, :, None, None], -torch.inf)
        free = torch.cat([segmentation[:, :1], lanes], dim=1).logsumexp(dim=1)
        marginal = background * (segmentation.logsumexp(dim=1) - free)
        unsure = ~known.all(dim=1)[:, None, None] & (target == 0)
        loss = torch.where(unsure, marginal, loss)
    lanes = (target > 0).sum(dim=(1, 2))
    weights = background * (target[0].numel() - lanes) + lanes
    return (loss.sum(dim=(1, 2)) / weights).mean()


def soft_iou_loss(segmentation: Tensor, target: Tensor) -> Tensor:
    """L_IoU: 1 − N_p∩g / (N_p + N_g − N_p∩g), softly counted, the mean of all lanes of an image.

    segmentation: logits B×(1+lanes)×H×W; target: B×H×W class ids, 0 background. N_p∩g is the sum
    over the pixels of p·g, N_p of p and N_g of g, p a lane's probability and g its truth. Lanes
    that are not in an image do not count; an image without lanes gives 0.
    """
    lanes = segmentation.softmax(dim=1)[:, 1:]
    classes = torch.arange(1, segmentation.shape[1], device=target.device)
    truth = target[:, None] == classes[:, None, None]
    overlap = (lanes * truth).sum(dim=(2, 3))
    size = truth.sum(dim=(2, 3)).to(lanes.dtype)
    union = lanes.sum(dim=(2, 3)) + size - overlap
    present = (size > 0).to(lanes.dtype)
    loss = (1.0 - overlap / union.clamp_min(1e-6)) * present
    return (loss.sum(dim=1) / present.sum(dim=1).clamp_min(1.0)).mean()


@dataclass(frozen=True)
class Objective:
    """Weights of the loss terms; the defaults are the paper's.

    background: of that class in the cross-entropy. iou: α, of the soft IoU.
    existence: β, of the existence flags.
    """

    background: float = 0.4
    iou: float = 0.1
    existence: float = 0.1

    def __call__(
        self,
        segmentation: Tensor,
        existence: Tensor | None,
        target: Tensor,
        exists: Tensor,
        known: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss terms and their weighted sum "task".

        segmentation: logits B×(1+lanes)×H×W; existence: logits B×lanes, or None for a network
        without the head; target: B×H×W class ids; exists: B×lanes of 0 and 1; known: B×lanes, False
        where nobody labelled the lane, of which then no term says anything. Computed in float32.
        """
        segmentation = segmentation.float()
        terms = {
            "segmentation": cross_entropy(segmentation, target, self.background, known),
            "iou": soft_iou_loss(segmentation, target),
        }
        task = terms["segmentation"] + self.iou * terms["iou"]
        if existence is not None:
            weight = None if known is None else known.float()
            terms["existence"] = F.binary_cross_entropy_with_logits(
                existence.float(), exists, weight
            )
            task = task + self.existence * terms["existence"]
        return {**terms, "task": task}

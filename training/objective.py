"""The loss of the paper without distillation: L_seg + α·L_IoU + β·L_exist (section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_iou_loss(probabilities: Tensor, target: Tensor) -> Tensor:
    """1 − IoU of the lane pixels, softly counted, averaged over the lanes that the batch holds.

    probabilities: B×(1+lanes)×H×W, softmaxed; target: B×H×W class ids, 0 background.
    N_p∩g is the sum of p·g, N_p the sum of p and N_g the sum of g over all pixels of the batch.
    """
    lanes = probabilities[:, 1:]
    truth = F.one_hot(target, probabilities.shape[1])[..., 1:].permute(0, 3, 1, 2).to(lanes.dtype)
    overlap = (lanes * truth).sum(dim=(0, 2, 3))
    union = lanes.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3)) - overlap
    present = truth.sum(dim=(0, 2, 3)) > 0
    iou = overlap / union.clamp_min(1e-6)
    return 1.0 - iou[present].mean() if bool(present.any()) else lanes.sum() * 0.0


@dataclass(frozen=True)
class Objective:
    """Weights of the loss terms; the defaults are the paper's."""

    background: float = 0.4
    iou: float = 0.1
    existence: float = 0.1

    def __call__(
        self, segmentation: Tensor, existence: Tensor | None, target: Tensor, exists: Tensor
    ) -> dict[str, Tensor]:
        """The loss terms and their weighted sum "total".

        segmentation: logits B×(1+lanes)×H×W; existence: logits B×lanes, or None for a network
        without the head; target: B×H×W class ids; exists: B×lanes of 0 and 1.
        """
        weight = torch.ones(segmentation.shape[1], device=segmentation.device)
        weight[0] = self.background
        terms = {
            "segmentation": F.cross_entropy(segmentation, target, weight=weight),
            "iou": soft_iou_loss(segmentation.softmax(dim=1), target),
        }
        total = terms["segmentation"] + self.iou * terms["iou"]
        if existence is not None:
            terms["existence"] = F.binary_cross_entropy_with_logits(existence, exists)
            total = total + self.existence * terms["existence"]
        return {**terms, "total": total}

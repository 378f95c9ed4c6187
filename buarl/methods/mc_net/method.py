"""Mutual consistency of decoders, MC-Net (Wu et al., MICCAI 2021; docs/protocol.md 4.7, section 5).

Decoders that share an encoder and differ in their up-sampling disagree where an image is hard. Each
learns the labels, and each follows the sharpened prediction of the others, on labeled and unlabeled
images alike. No teacher. Three decoders make MC-Net+ (Wu et al., Medical Image Analysis 2022).
Reference: github.com/ycwu1997/MC-Net.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from buarl.data.batches import SemiBatch
from buarl.methods.base import RampedMethod, Step, StepOutput, require_unlabeled
from buarl.methods.mc_net.multi_decoder import MultiDecoder
from buarl.methods.mc_net.mutual import mutual_consistency


class McNet(RampedMethod):
    """Decoders that agree with each other's sharpened predictions.

    URL and CRL: the labeled rule cuts every decoder's loss by that decoder's own entropy. The
    unlabeled rule cuts once, by the entropy of the mean of the decoders' probabilities, as every
    pair compares two of them; it covers the place of the term, labeled images included.

    The paper's tables quote two decoders. The reference's 2-D Dice forgets a factor 2, see
    `D2_HALF`: the recipe of ACDC has it, `dice=D2_BCP` corrects it.

    Args:
        network: The trunk, a UNet or VNet; the student is `MultiDecoder` around it, and decoder 1
            is evaluated.
        decoders: 2 (MC-Net), 3 (MC-Net+), in 2-D also 4.
        temperature: Of the sharpening, see `sharpen`.
        detach_targets: True stops gradients through the sharpened predictions, which the reference
            lets pass.
        labeled_weight: Factor on the sum of the decoders' labeled losses (LA: 0.5).
        common: The ramp: see `RampedMethod`; rules, normalisers, Dice, optimizer: see `Method`.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        decoders: int = 2,
        temperature: float = 0.1,
        detach_targets: bool = False,
        labeled_weight: float = 1.0,
        **common: Any,
    ) -> None:
        super().__init__(MultiDecoder(network, decoders), **common)
        self.temperature, self.detach_targets = temperature, detach_targets
        self.labeled_weight = labeled_weight

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step; what is logged as labeled has its factor."""
        count = len(batch.labeled_image)
        require_unlabeled(self, batch)
        images = torch.cat([batch.labeled_image, batch.unlabeled_image])
        outputs = self.student.all_logits(images)  # decoders x (B_l + B_u, C, *spatial)
        labeled = [self.labeled_loss(logits[:count], batch.label) for logits in outputs]  # Eq. 7
        labeled_loss = self.labeled_weight * torch.stack(labeled).sum()
        unlabeled_loss = self.consistency([logits.float().softmax(1) for logits in outputs])
        weight = self.weight(step)
        logs = {"labeled": labeled_loss.detach(), "unlabeled": unlabeled_loss.detach()}
        return StepOutput(labeled_loss + weight * unlabeled_loss, {**logs, "weight": weight})

    def consistency(self, probs: list[Tensor]) -> Tensor:
        """Every decoder against every other one, sharpened, on the regions of the rule.

        Args:
            probs: Of each decoder on the whole batch, (B_l + B_u, C, *spatial).
        """
        mean_probs = torch.stack(probs).detach().mean(0)  # (B_l + B_u, C, *spatial)
        return mutual_consistency(
            probs,
            self.unlabeled_rule(mean_probs),  # CRL: Eq. 3, 4, 6
            reduction=self.unlabeled_reduction,
            temperature=self.temperature,
            detach_targets=self.detach_targets,
        )

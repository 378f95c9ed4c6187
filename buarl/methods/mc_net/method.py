"""Mutual consistency of decoders, MC-Net.

Decoders that share an encoder and differ in how they up-sample disagree where an image is hard.
Each decoder learns the labels, and each follows the sharpened predictions of the others, on labeled
and unlabeled images alike and more and more as training goes on. There is no teacher. Two decoders
make MC-Net, three MC-Net+ (Wu et al., Medical Image Analysis 2022).

Paper: Wu, Xu, Ge, Cai, Zhang, MICCAI 2021, arXiv 2103.02911.
Reference code: ycwu1997/MC-Net (docs/protocol.md 4.7 and 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from buarl.arguments import at_least_float32
from buarl.data.batches import SemiBatch
from buarl.dice import DICE_MC_NET_ACDC, DICE_SS_NET_LA
from buarl.methods.base import RampedMethod, Step, StepOutput, require_unlabeled
from buarl.methods.mc_net.multi_decoder import MultiDecoder
from buarl.methods.mc_net.mutual import mutual_consistency
from buarl.methods.options import Positive, Weight
from buarl.methods.recipe import Paper, Recipe, Reference, ramped_recipe_3d, recipe_2d
from buarl.schedules import Constant


@dataclass(kw_only=True, eq=False, repr=False)
class McNet(RampedMethod):
    """Decoders that agree with each other's sharpened predictions.

    The network given, a UNet or VNet, is the trunk of the student, see `MultiDecoder`; decoder 1 is
    evaluated.

    URL and CRL: the labeled rule cuts every decoder's loss by that decoder's own entropy. The
    unlabeled rule cuts once, by the entropy of the mean of the decoders' probabilities, as every
    pair compares two of them; it covers the place of the term, labeled images included.

    The paper's tables quote two decoders. The reference's 2-D Dice forgets a factor 2, see
    `DICE_MC_NET_ACDC`: the recipe of ACDC has it, `dice=DICE_BCP_ACDC` corrects it.

    >>> import buarl
    >>> method = McNet(buarl.networks.UNet(4, width=2), decoders=3)
    >>> len(method.student.all_logits(torch.zeros(2, 1, 32, 32)))
    3
    """

    name = "mc_net"
    paper = Paper(
        "Y. Wu, M. Xu, Z. Ge, J. Cai, L. Zhang",
        "Semi-supervised Left Atrium Segmentation with Mutual Consistency Training",
        "MICCAI 2021",
        2021,
        "https://arxiv.org/abs/2103.02911",
    )
    references = (
        Reference("ycwu1997/MC-Net", "fee453c", "code/train_mcnet_2d.py", "2-D"),
        Reference("ycwu1997/MC-Net", "fee453c", "code/train_mcnet_3d.py", "3-D"),
    )

    decoders: int = 2
    """How many decoders: 2 (MC-Net), 3 (MC-Net+), in 2-D also 4."""
    temperature: Positive = 0.1
    """Temperature of the sharpening, see `sharpen`."""
    detach_targets: bool = False
    """Stop gradients through the sharpened predictions, which the reference lets pass."""
    labeled_weight: Weight = 1.0
    """Factor on the sum of the decoders' labeled losses (LA: 0.5)."""

    def __post_init__(self, network: nn.Module) -> None:
        super().__post_init__(network)
        self.student = MultiDecoder(network, self.decoders)

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step; what is logged as labeled has its factor."""
        require_unlabeled(self, batch)
        batch = self.student_sees(batch)
        outputs = self.student.all_logits(batch.image)  # decoders x (B_l + B_u, C, *)  uses Eq. 1
        labeled = [self.labeled_loss(batch.split(logits)[0], batch.label) for logits in outputs]
        labeled_loss = self.labeled_weight * torch.stack(labeled).sum()
        probs = [at_least_float32(logits).softmax(1) for logits in outputs]
        unlabeled_loss = self.consistency(probs)
        return self.output(labeled_loss, unlabeled_loss, step)  # uses Eq. 9

    def consistency(self, probs: Sequence[Tensor]) -> Tensor:
        """Every decoder against every other one, sharpened, on the regions of the rule.

        Args:
            probs: Every decoder's probabilities on the whole batch, (B_l + B_u, C, *spatial).
        """
        mean_probs = torch.stack(list(probs)).detach().mean(0)  # (B_l + B_u, C, *spatial)
        return mutual_consistency(
            probs,
            self.unlabeled_rule(mean_probs),  # CRL: uses Eq. 3, 4, 6
            reduction=self.unlabeled_reduction,
            temperature=self.temperature,
            detach_targets=self.detach_targets,
        )

    @classmethod
    def recipe(cls, rank: int) -> Recipe:
        """The published schedule and settings, 2: ACDC, 3: LA."""
        if rank == 2:
            return recipe_2d(schedule=Constant(), dice=DICE_MC_NET_ACDC, ce_share=0.0)
        return ramped_recipe_3d(
            steps=15_000,
            schedule=Constant(),
            dice=DICE_SS_NET_LA,
            ce_share=0.0,
            labeled_weight=0.5,
            consistency_weight=1.0,
        )

"""What a method is: its networks, what it trains in which stage, and one training step.

A method steps no optimizer and knows no data set, device or loop. `buarl.fit` trains it, and so
can a loop of your own, see `Method.at`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field
from inspect import get_annotations, signature
from typing import Any, ClassVar

from torch import Tensor, nn

from buarl.arguments import at_least_float32
from buarl.data.batches import SemiBatch
from buarl.data.strong_views import StrongViews, apply_views, sample_views
from buarl.dice import DICE_SSL4MIS, Dice
from buarl.losses import Reduction, region_loss
from buarl.methods.copies import fresh_copy as fresh_copy, frozen_copy as frozen_copy
from buarl.methods.optimizers import Adam as Adam, Optimizer as Optimizer, Sgd as Sgd
from buarl.methods.options import Count, Share, Weight, check_options, check_unused
from buarl.methods.recipe import (
    Paper,
    Recipe,
    Reference,
    StagePlan,
    ramped_recipe_3d,
    recipe_2d,
    recipe_3d,
)
from buarl.methods.steps import (
    Learner as Learner,
    Stage as Stage,
    Step as Step,
    StepOutput as StepOutput,
)
from buarl.regions import Region, whole
from buarl.schedules import ramp

AnyRule = Callable[[Tensor], Sequence[Region]]
"""Probabilities (B, C, *spatial) to regions, see `buarl.regions`."""


@dataclass(kw_only=True, eq=False, repr=False)
class Method(nn.Module, ABC):
    """A training method around a student, the network that learns and that is evaluated.

    A method is a dataclass: its fields are its options, which are checked against their types when
    it is made. A subclass with options of its own is one too, `@dataclass(kw_only=True, eq=False,
    repr=False)`, and makes further networks in `__post_init__`, after the one of its base class.
    All networks together are the module's state dict. A method calls the rules it was given and
    never asks which they are.
    """

    name: ClassVar[str]
    """What the method is called in rows and on the command line."""
    paper: ClassVar[Paper]
    """The publication of the method."""
    references: ClassVar[tuple[Reference, ...]] = ()
    """Public code of the method."""
    untouched: ClassVar[tuple[str, ...]] = ()
    """Prefixes of those parameters of the student that a step need not reach."""
    recordable: ClassVar[bool] = True
    """Whether a GPU can repeat the steps from a recording, see `buarl.fast.recorder`."""
    unused: ClassVar[tuple[str, ...]] = ()
    """Options that this method never looks at; any other value than their default is refused."""
    one_device_only: ClassVar[str] = ""
    """Why a step cannot be shared out among several devices; empty where it can.

    A step can if all it knows of a batch are means over images and the losses and rules of the
    package, whose sums run over all devices, see `buarl.whole_batch`.
    """

    network: InitVar[nn.Module] = field(kw_only=False)
    """The network that learns: images (B, 1, *spatial) to logits (B, C, *spatial)."""
    labeled_rule: AnyRule = whole()
    """Cuts labeled images into regions of different weight, such as `url()`."""
    unlabeled_rule: AnyRule = whole()
    """Cuts unlabeled images into regions of different weight, such as `crl()`."""
    labeled_reduction: Reduction = "voxel"
    """What the labeled term is a mean over, see `region_loss`."""
    unlabeled_reduction: Reduction = "voxel"
    """What the unlabeled term is a mean over, see `region_loss`."""
    dice: Dice = DICE_SSL4MIS
    """Which Dice loss, see `Dice`."""
    ce_share: Share = 0.5
    """Part of the labeled term that is cross-entropy; the rest is Dice."""
    optimizer: Optimizer = Sgd()
    """The optimizer of the student."""
    strong_views: StrongViews | None = None
    """Other intensities of the unlabeled images that the student sees; a teacher sees them as they
    are. Where the student is its own target (URPC, MC-Net, SS-Net, SASSNet, DTC), all it is asked
    comes from the one harder image; SASSNet's discriminator sees the image as it is. None, as all
    publish it but UniMatch, changes nothing."""

    def __post_init__(self, network: nn.Module) -> None:
        super().__init__()
        _check_decorated(type(self))
        called = vars(type(self)).get("name", type(self).__name__)
        check_options(self, called)
        check_unused(self, called, self.unused)
        self.student = network

    @classmethod
    def recipe(cls, rank: int) -> Recipe:
        """How to train on images of a rank, 2 (ACDC) or 3 (LA).

        A method that publishes nothing for a rank has this default: 30,000 steps of 12 + 12 slices
        with a polynomial decay in 2-D, 6,000 steps of 2 + 2 patches with a step decay in 3-D.
        """
        return {2: recipe_2d(), 3: recipe_3d()}[rank]

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Every option of the method, with its default."""
        options: dict[str, Any] = {}
        for base in cls.__mro__:
            arguments = signature(base.__init__).parameters.values()
            named = {a.name: a.default for a in arguments if a.kind is a.KEYWORD_ONLY}
            options = {**named, **options}
            if not any(argument.kind is argument.VAR_KEYWORD for argument in arguments):
                break  # nothing is handed on to the next base class
        return options

    def stages(self) -> tuple[Stage, ...]:
        """The stages, in order: one, in which the student learns by `training_step`."""
        student = Learner("student", self.student, self.training_step, self.optimizer)
        return (Stage("train", (student,)),)

    @abstractmethod
    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step, of the last stage where there are more."""

    def check_plan(self, stages: Sequence[StagePlan]) -> None:
        """Refuse batches that the method cannot train on, before the first step.

        Args:
            stages: The numbers of every stage.
        Raises:
            ValueError: such batches; here any will do.
        """

    def numbers(self, step: Step) -> dict[str, float]:
        """Every number of a step that depends on when it happens, e.g. the weight of a ramp.

        Steps read them from `step.numbers`; the loop computes them once a step and logs them.
        """
        return {}

    def at(self, index: int, steps: int) -> Step:
        """The step of this index, from 0, in a stage of so many steps, with its numbers."""
        step = Step(index, steps)
        return step._replace(numbers=self.numbers(step))

    def student_view(self, unlabeled_image: Tensor) -> Tensor:
        """Unlabeled images as the student sees them: as they are, or as strong views, drawn anew.

        Args:
            unlabeled_image: (B_u, 1, *spatial).
        """
        if self.strong_views is None or not len(unlabeled_image):
            return unlabeled_image
        return apply_views(unlabeled_image, sample_views(unlabeled_image, self.strong_views))

    def student_sees(self, batch: SemiBatch) -> SemiBatch:
        """The batch as the student sees it, see `student_view`; labeled images never change."""
        if self.strong_views is None:
            return batch
        view = self.student_view(batch.unlabeled_image)
        return SemiBatch.from_parts(batch.labeled_image, batch.label, view)

    def labeled_and_unlabeled_logits(self, batch: SemiBatch) -> tuple[Tensor, Tensor]:
        """What the student says of all images, in one pass.

        Eq. 1  printed:  logits^l = F_t(X^l)
               read:     logits = F_s(X), for labeled and unlabeled images alike

        Paper note: the print has the teacher F_t there, which is to be pre-trained on labeled
        images. A teacher that only follows an average takes no gradient and cannot learn from a
        label, so the student learns here; see docs/protocol.md 7.2.

        Returns:
            Logits of the labeled images, (B_l, C, *spatial), and of the unlabeled ones,
            (B_u, C, *spatial).
        """
        logits = self.student(self.student_sees(batch).image)  # Eq. 1
        return batch.split(logits)

    def labeled_loss(
        self, logits: Tensor, label: Tensor, regions: Sequence[Region] | None = None
    ) -> Tensor:
        """The loss on labeled voxels, Dice and cross-entropy on the regions of the labeled rule.

        Args:
            logits: The student's logits, float (B, C, *spatial).
            label: The true classes, int64 (B, *spatial), 0 to C-1.
            regions: Regions that are cut already; None applies the labeled rule to the
                probabilities of these logits.
        Returns:
            A scalar.
        """
        if regions is None:
            regions = self.labeled_rule(detached_probs(logits))  # URL: uses Eq. 3-5
        return region_loss(  # uses Eq. 7
            logits,
            label,
            regions,
            reduction=self.labeled_reduction,
            dice=self.dice,
            ce_share=self.ce_share,
        )


@dataclass(kw_only=True, eq=False, repr=False)
class RampedMethod(Method):
    """A method of one stage whose unlabeled term gains weight as training goes on.

    The weight climbs a ramp, see `buarl.schedules.ramp` (docs/protocol.md 4.3).
    """

    consistency_weight: Weight = 0.1
    """Weight of the unlabeled term at the end of the ramp."""
    ramp_levels: Count = 200
    """In how many equal jumps the ramp is climbed."""
    ramp_share: Weight = 1.0
    """Part of the run after which the ramp is climbed; 0 gives the full weight at once."""
    consistency_start: Share = 0.0
    """Part of the run before which the weight is 0."""

    @classmethod
    def recipe(cls, rank: int) -> Recipe:
        """As in `Method.recipe`, with 40 levels of the ramp in 3-D, as in UA-MT."""
        return {2: recipe_2d(), 3: ramped_recipe_3d()}[rank]

    def weight(self, step: Step) -> float:
        """Weight of the unlabeled term at a step."""
        if step.index < self.consistency_start * step.steps:
            return 0.0
        length = self.ramp_share * step.steps
        return self.consistency_weight * ramp(step.index, length, self.ramp_levels)

    def numbers(self, step: Step) -> dict[str, float]:
        """The weight of the unlabeled term."""
        return {"weight": self.weight(step)}

    def output(self, labeled: Tensor, unlabeled: Tensor, step: Step, **logs: Tensor) -> StepOutput:
        """The total loss of a step, and its two terms and whatever else is to be logged."""
        loss = total_loss(labeled, unlabeled, step.numbers["weight"])  # uses Eq. 9
        terms = {"labeled": labeled, "unlabeled": unlabeled, **logs}
        return StepOutput(loss, {name: value.detach() for name, value in terms.items()})


def total_loss(labeled: Tensor, unlabeled: Tensor, weight: float = 1.0) -> Tensor:
    """The total loss of labeled and unlabeled images.

    Eq. 9  printed:  L_all = L^l + L^u
           read:     L_all = L^l + weight * L^u

    Paper note: the methods that the paper builds on have a weight there, and it says that their
    settings stay: Mean Teacher's ramp, which most methods share, and BCP's u_w.

    Args:
        labeled: L^l, a scalar.
        unlabeled: L^u, a scalar.
        weight: Factor on the unlabeled term.

    >>> total_loss(1.0, 2.0, weight=0.5)
    2.0
    """
    return labeled + weight * unlabeled  # Eq. 9


def detached_probs(logits: Tensor) -> Tensor:
    """Probabilities, in float32 or float64 and without a gradient, for whatever cuts or labels.

    Eq. 2  printed:  P^l = softmax(logits^l)

    Args:
        logits: Float of any precision, (B, C, *spatial).
    Returns:
        float32 (B, C, *spatial), float64 of float64; sums to 1 over the classes.

    >>> import torch
    >>> detached_probs(torch.zeros(1, 2, 1, requires_grad=True))
    tensor([[[0.5000],
             [0.5000]]])
    """
    return at_least_float32(logits.detach()).softmax(1)  # Eq. 2


def _check_decorated(kind: type[Method]) -> None:
    """Without the decorator an option would keep its default, whatever a row says."""
    if "__dataclass_fields__" in vars(kind):
        return
    kinds = get_annotations(kind)
    options = [name for name in kinds if name in vars(kind) and "ClassVar" not in str(kinds[name])]
    if options:
        raise TypeError(
            f"{kind.__name__} must be decorated with @dataclass(kw_only=True, eq=False, "
            f"repr=False), or its options {options} cannot be set"
        )


def require_unlabeled(method: Method, batch: SemiBatch) -> None:
    """Stop where there are no unlabeled images to learn from.

    Raises:
        ValueError: the batch has labeled images only.
    """
    if len(batch.image) == len(batch.label):
        name = type(method).__name__
        raise ValueError(f"{name} needs unlabeled images, got 0: use `supervised`")

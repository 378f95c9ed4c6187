"""What Mean Teacher and UA-MT share: a teacher that averages the student and sees noisy images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from buarl.ema import ema_decay_at, update_teacher
from buarl.methods.base import Learner, RampedMethod, Stage, Step, detached_probs, frozen_copy
from buarl.methods.options import Share, Weight


@dataclass(kw_only=True, eq=False, repr=False)
class NoisyTeacher(RampedMethod):
    """A student, and a teacher that starts as its copy and then follows it as a moving average."""

    entropy_from: Literal["teacher", "student"] = "teacher"
    """Whose entropy cuts the unlabeled images."""
    ema_limit: Share = 0.99
    """Upper bound of the share of the old teacher that is kept at a step."""
    noise: Weight = 0.1
    """Standard deviation of the noise on the teacher's images, which is clipped at two of them."""
    teacher_mode: Literal["train", "eval"] = "train"
    """How the teacher predicts: with dropout and batch statistics (the references) or without."""

    def __post_init__(self, network: nn.Module) -> None:
        super().__post_init__(network)
        self.teacher = frozen_copy(network)

    def stages(self) -> tuple[Stage, ...]:
        """One stage, in which the student learns and the teacher follows."""
        student = Learner("student", self.student, self.training_step, self.optimizer)
        return (Stage("train", (student,), after_step=self.update_teacher),)

    def numbers(self, step: Step) -> dict[str, float]:
        """The weight of the unlabeled term, and the share of the old teacher that is kept."""
        return {**super().numbers(step), "ema_decay": ema_decay_at(step.index, self.ema_limit)}

    @torch.no_grad()
    def teacher_probs(self, image: Tensor) -> Tensor:
        """What the teacher says of noisy images.

        Args:
            image: Unlabeled images, (B, 1, *spatial).
        Returns:
            Probabilities without a gradient, float32 (B, C, *spatial).
        """
        self.teacher.train(self.teacher_mode == "train")
        noise = (torch.randn_like(image) * self.noise).clamp(-2 * self.noise, 2 * self.noise)
        return detached_probs(self.teacher(image + noise))  # uses Eq. 2

    def update_teacher(self, step: Step) -> None:
        """Move the teacher's parameters towards the student's, after the optimizer's step.

        A teacher that is kept in evaluation mode sees no training pass, and so takes the student's
        statistics along; else it would keep those of its first day.
        """
        decay, evaluating = step.numbers["ema_decay"], self.teacher_mode == "eval"
        update_teacher(self.teacher, self.student, decay, buffers=evaluating)  # uses Eq. 10

"""The teacher follows the student: exponential moving average (Eq. 10)."""

from __future__ import annotations

import torch
from torch import nn


def ema_decay_at(step: int, limit: float = 0.99) -> float:
    """Share of the old teacher kept at a step: min(step / (step + 1), limit), so 0 at step 0.

    Source: Mean Teacher as in SSL4MIS; the paper's own recommendation below Eq. 10.
    """
    return min(step / (step + 1), limit)


@torch.no_grad()
def update_teacher(
    teacher: nn.Module, student: nn.Module, ema_decay: float, *, buffers: bool = False
) -> None:
    """Move the teacher towards the student, in place.

    Args:
        teacher, student: Networks of one architecture.
        ema_decay: Share of the old teacher kept, 0-1.
        buffers: Average float buffers (normalisation statistics) too and copy integer ones, as BCP
            does on ACDC; otherwise the teacher keeps its own.
    Paper note: Eq. 10 puts its factor lambda on the student, which with lambda = 0.99 would make
        the teacher a copy of the student. The factor stays on the old teacher here.
    """
    if not 0 <= ema_decay <= 1:
        raise ValueError(f"ema_decay must lie in 0-1, got {ema_decay}")
    old, new = list(teacher.parameters()), list(student.parameters())
    if buffers:
        for mine, theirs in zip(teacher.buffers(), student.buffers(), strict=True):
            if mine.is_floating_point():
                old.append(mine)
                new.append(theirs)
            else:
                mine.copy_(theirs)
    torch._foreach_lerp_(old, new, 1 - ema_decay)  # Eq. 10

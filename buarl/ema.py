"""The teacher follows the student: exponential moving average (Eq. 10)."""

from __future__ import annotations

import math

import torch
from torch import nn

from buarl.arguments import check_number, short


def ema_decay_at(step: int, limit: float = 0.99) -> float:
    """Share of the old teacher that is kept after a step: min(step / (step + 1), limit).

    After step 0 the teacher is a copy of the student, then the mean of all students so far, until
    the limit is reached. Source: Mean Teacher as in SSL4MIS; the paper recommends it below Eq. 10.

    Args:
        step: 0-based.
        limit: The largest share, 0 to 1.
    Returns:
        The share, 0 to `limit`.
    Raises:
        ValueError: a step below 0 or a limit outside 0-1.

    >>> [ema_decay_at(step) for step in (0, 1, 1000)]
    [0.0, 0.5, 0.99]
    """
    step = check_number("step", step, 0)
    limit = check_number("ema limit", limit, 0, 1)
    return min(step / (step + 1), limit)


@torch.no_grad()
def update_teacher(
    teacher: nn.Module, student: nn.Module, ema_decay: float, *, buffers: bool = False
) -> None:
    """Move the weights of the teacher towards those of the student, in place (Eq. 10).

    Eq. 10  printed:  theta_t = (1 - lambda) theta_{t-1} + lambda theta_s
            read:     theta_t = lambda theta_{t-1} + (1 - lambda) theta_s,  lambda = ema_decay

    Paper note: the print puts lambda on the student, which with the recommended 0.99 would make the
    teacher a copy of the student. As in every Mean Teacher it stays on the old teacher here.

    Args:
        teacher: The network that follows.
        student: The network that learns, of the same architecture; it does not change. Its
            precision may be lower: the average stays in the teacher's.
        ema_decay: Share of the old teacher that is kept, 0 to 1.
        buffers: True averages float buffers (the statistics of normalization) as well and copies
            integer ones, as BCP does on ACDC; False leaves the teacher its own, which a teacher
            that is kept in evaluation mode never gathers.
    Raises:
        TypeError: what is no network, or no number.
        ValueError: ema_decay outside 0-1, or networks whose parameters or buffers differ in number
            or shape.

    >>> teacher, student = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(teacher.weight, 1.0), nn.init.constant_(student.weight, 2.0)
    >>> update_teacher(teacher, student, 0.9)
    >>> round(teacher.weight.item(), 4)
    1.1
    """
    ema_decay = check_number("ema_decay", ema_decay, 0, 1)
    for name, network in (("teacher", teacher), ("student", student)):
        if not isinstance(network, nn.Module):
            raise TypeError(f"{name} must be a torch.nn.Module, got {type(network).__name__}")
    if not isinstance(buffers, bool):
        raise TypeError(f"buffers must be True or False, got {short(buffers)}")
    old, new = list(teacher.parameters()), list(student.parameters())
    _check_alike("parameters", old, new)
    if buffers:
        mine, theirs = list(teacher.buffers()), list(student.buffers())
        _check_alike("buffers", mine, theirs)
        for ours, other in zip(mine, theirs, strict=True):
            if ours.is_floating_point():
                old.append(ours)
                new.append(other)
            else:
                ours.copy_(other)
    if not old:  # nothing to move
        return
    new = [n if n.dtype == o.dtype else n.to(o.dtype) for o, n in zip(old, new, strict=True)]
    torch._foreach_lerp_(old, new, 1 - ema_decay)  # Eq. 10


def _check_alike(what: str, old: list[torch.Tensor], new: list[torch.Tensor]) -> None:
    shapes = [tuple(tensor.shape) for tensor in old], [tuple(tensor.shape) for tensor in new]
    if shapes[0] != shapes[1]:
        counts = [f"{len(s)} {what} of {sum(map(math.prod, s))} numbers" for s in shapes]
        raise ValueError(
            f"teacher and student must be of one architecture, got {counts[0]} and {counts[1]}"
        )

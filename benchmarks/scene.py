"""What the parts of the benchmark stand on: a method, its plain twin of equal weights, a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from benchmarks.plain import PlainBcp
from buarl.data.batches import SemiBatch
from buarl.data.source import Source
from buarl.dice import DICE_BCP_ACDC
from buarl.methods.bcp import Bcp
from buarl.networks import UNet, VNet
from buarl.regions import crl
from buarl.training.engine import Engine

SEED = 1337


@dataclass(frozen=True)
class Part:
    """One line of the table.

    ours, plain: Compute it once; plain may be missing.
    difference: Between their values, of what `compared` says.
    goal: What was aimed at, ms on another machine (Zen 4 with bf16) or a ratio.
    limit: What it waits for; with "convolutions" the achieved arithmetic is reported.
    units: Pieces of work in one call.
    """

    name: str
    plain_name: str
    ours: Callable[[], Any]
    plain: Callable[[], Any] | None
    difference: Callable[[], float | None]
    compared: str
    goal: str = ""
    limit: str = "convolutions"
    units: int = 1


class Scene(NamedTuple):
    """A BCP method around a U-Net or V-Net, its plain twin of the same weights, and a batch."""

    engine: Engine
    method: Bcp
    twin: PlainBcp
    batch: SemiBatch  # placed for ours
    contiguous: SemiBatch  # the same for the twin


def new_bcp(rank: int, num_classes: int, width: int, **settings: Any) -> Bcp:
    """BCP with CRL, each region normalized on its own; the same weights at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        network = (UNet if rank == 2 else VNet)(num_classes, width)
    rules = {"unlabeled_rule": crl(PlainBcp.percentile, PlainBcp.alpha)}
    settings = {"dice": DICE_BCP_ACDC} | settings
    reductions = dict.fromkeys(("labeled_reduction", "unlabeled_reduction"), "region")
    return Bcp(network, **rules, **reductions, **settings)


def twin_of(method: Bcp, device: torch.device) -> PlainBcp:
    """The plain counterpart of a method, with copies of its student's weights."""
    student = deepcopy(method.student).to(device, memory_format=torch.contiguous_format)
    return PlainBcp(
        student,
        method.dice,
        ema_buffers=method.ema_buffers,
        outside_first=method.unlabeled_outside_first,
    )


def new_scene(engine: Engine, batch: SemiBatch, num_classes: int, width: int) -> Scene:
    """A scene on a batch of slices."""
    method = new_bcp(2, num_classes, width)
    twin = twin_of(method, engine.device)
    engine.place(method).train()
    placed = SemiBatch(
        engine.place_image(batch.image),
        batch.label.to(engine.device),
    )
    return Scene(engine, method, twin, placed, batch.to(engine.device))


def few(source: Source, count: int) -> Source:
    """The source with `count` labeled and as many unlabeled samples, so that reading is short."""
    names = source.training_names()
    count = min(count, len(names) // 2)
    small = copy(source)
    small.split_labeled = lambda labeled: (names[:count], names[count : 2 * count])
    return small


@contextmanager
def without_dropout(*modules: nn.Module) -> Iterator[None]:
    """Dropout draws in memory order, so that two layouts can only be compared without it."""
    layers = [layer for module in modules for layer in module.modules() if hasattr(layer, "p")]
    shares = [layer.p for layer in layers]
    for layer in layers:
        layer.p = 0.0
    yield
    for layer, share in zip(layers, shares, strict=True):
        layer.p = share

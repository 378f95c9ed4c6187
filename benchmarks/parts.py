"""The parts of one BCP step on slices: ours, the plain counterpart, how far their values differ."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import torch
from torch import Tensor, nn

from benchmarks import plain as bench_plain
from benchmarks.plain import PlainBcp
from benchmarks.scene import SEED, Part, Scene, new_bcp, twin_of, without_dropout
from buarl.components import largest_component
from buarl.copy_paste import sample_box
from buarl.data.batches import Batches, SemiBatch
from buarl.data.source import Source
from buarl.entropy import entropy_of_probs, most_likely, uncertain_mask
from buarl.fast.resident import ResidentBatches
from buarl.methods.base import Sgd, Step, detached_probs
from buarl.methods.bcp import Pseudo
from buarl.regions import Region
from buarl.training.engine import Engine


def loading(batches: Batches, source: Source, engine: Engine, size: int) -> Part:
    """Load and augment the slices of a step."""
    ours = batches if engine.device.type == "cpu" else ResidentBatches(batches, engine.device)
    plain = bench_plain.FilesEveryStep(batches, source)
    steps = {"ours": cycle(range(50)), "plain": cycle(range(50))}

    def draw(maker: Batches, who: str) -> SemiBatch:
        return maker.batch((SEED, 1), next(steps[who]), size, size)

    def difference() -> float:
        pairs = zip(
            *(maker.batch((SEED, 1), 0, size, size) for maker in (ours, plain)), strict=True
        )
        return max(float((a.cpu() - b).abs().max()) for a, b in pairs)

    return Part(
        f"load and augment {2 * size} slices",
        "h5py, numpy.rot90, scipy rotate and zoom",
        lambda: draw(ours, "ours"),
        lambda: draw(plain, "plain"),
        difference,
        "images and labels",
        "10 ms",
        "memory: one gather per slice",
    )


def teacher_forward(scene: Scene) -> Part:
    """The teacher on the unlabeled slices."""
    image, plain_image = scene.batch.unlabeled_image, scene.contiguous.unlabeled_image

    @torch.no_grad()
    def ours() -> Tensor:
        with scene.engine.autocast():
            return scene.method.teacher(image)

    plain = torch.no_grad()(lambda: scene.twin.teacher(plain_image))

    def difference() -> float:
        with without_dropout(scene.method.teacher, scene.twin.teacher):
            return float((detached_probs(ours()) - detached_probs(plain())).abs().max())

    return Part(
        f"teacher forward, {len(image)} slices",
        "fp32 contiguous",
        ours,
        plain,
        difference,
        "probabilities",
        "320 ms",
    )


def noisy_label(label: Tensor, num_classes: int) -> Tensor:
    """A label with some islands of other classes, as pseudo-labels have them."""
    generator = torch.Generator().manual_seed(SEED)
    coarse = [-(-n // 16) for n in label.shape[1:]]
    island = torch.randint(8 * num_classes, (len(label), *coarse), generator=generator)
    for axis, n in enumerate(label.shape[1:], 1):
        island = island.repeat_interleave(16, axis).narrow(axis, 0, n)
    return torch.where(island.to(label.device) < num_classes, island.to(label), label)


def components(label: Tensor, num_classes: int) -> Part:
    """Largest component per class and slice of a pseudo-label."""
    pseudo_label = noisy_label(label, num_classes)

    def both() -> tuple[Tensor, Tensor]:
        return (
            largest_component(pseudo_label, num_classes),
            bench_plain.largest_components(pseudo_label, num_classes),
        )

    return Part(
        f"largest components, {len(label)} slices",
        f"{bench_plain.labeling()[0]}, class by class",
        lambda: largest_component(pseudo_label, num_classes),
        lambda: bench_plain.largest_components(pseudo_label, num_classes),
        lambda: float((both()[0] != both()[1]).sum()),
        "voxels that differ",
        "8 ms",
        "one pass of labeling over the batch",
    )


def masks(scene: Scene) -> Part:
    """Entropy, its percentile and the mask of the uncertain voxels."""
    with torch.no_grad():
        probs = detached_probs(scene.twin.teacher(scene.contiguous.unlabeled_image))

    def ours() -> Tensor:
        return uncertain_mask(entropy_of_probs(probs), PlainBcp.percentile)

    def plain() -> Tensor:
        return bench_plain.uncertain_mask(probs, PlainBcp.percentile)

    return Part(
        f"entropy, percentile and masks, {len(probs)} slices",
        "numpy.percentile on a CPU copy",
        ours,
        plain,
        lambda: float((ours() != plain()).sum()),
        "voxels that differ",
        limit="memory: logarithms and one selection over all voxels",
    )


def student_step(scene: Scene) -> Part:
    """Forward, loss and backward of the student, given what the teacher says."""
    given, regions, known = _given(scene)
    method = scene.method
    method.pseudo_label = given
    method.unlabeled_rule = regions
    half = scene.contiguous.label[: len(known[0].pseudo_label)]

    def ours() -> Tensor:
        method.student.zero_grad(set_to_none=True)
        with scene.engine.autocast():
            loss = method.training_step(scene.batch, Step(0, 1)).loss
        loss.backward()
        return loss.detach()

    def plain() -> Tensor:
        scene.twin.student.zero_grad(set_to_none=True)
        box = sample_box(half.shape[1:], device=half.device)  # as ours draws it
        loss = scene.twin.student_loss(scene.contiguous, known, box)
        loss.backward()
        return loss.detach()

    def difference() -> float:
        with without_dropout(method.student, scene.twin.student):
            losses = []
            for compute in (ours, plain):
                torch.manual_seed(SEED)  # the box
                losses.append(float(compute()))
        error = _gradient_error(method.student, scene.twin.student)
        return max(error, abs(losses[0] - losses[1]) / abs(losses[1]))

    return Part(
        "student forward, loss, backward",
        "fp32 contiguous, losses class by class",
        ours,
        plain,
        difference,
        "loss and gradient, relative",
        "850 ms",
    )


def _gradient_error(network: nn.Module, exact: nn.Module) -> float:
    """Norm of the difference of all gradients, relative to the exact ones."""
    pairs = zip(network.parameters(), exact.parameters(), strict=True)
    grads = [[p.grad.double() for p in pair] for pair in pairs]
    squared = sum(float((a - b).square().sum()) for a, b in grads)
    return (squared / sum(float(b.square().sum()) for _, b in grads)) ** 0.5


def _given(scene: Scene) -> tuple[Callable, Callable, list[bench_plain.Pseudo]]:
    """What stands in for the teacher and the rule: for ours two functions, for the twin a list."""
    with torch.no_grad():
        probs = detached_probs(scene.twin.teacher(scene.contiguous.unlabeled_image))
    cleaned = largest_component(most_likely(probs), probs.shape[1])
    uncertain = uncertain_mask(entropy_of_probs(probs), PlainBcp.percentile)
    pieces = [t.chunk(2) for t in (cleaned, probs, uncertain)]
    pseudo = cycle(Pseudo(*pair) for pair in zip(*pieces[:2], strict=True))
    cuts = cycle([Region(mask, PlainBcp.alpha), Region(~mask, 1.0)] for mask in pieces[2])
    known = [bench_plain.Pseudo(a, c) for a, _, c in zip(*pieces, strict=True)]
    return lambda image: next(pseudo), lambda probs: next(cuts), known


def optimizer(num_classes: int, width: int, engine: Engine) -> Part:
    """The optimizer's step and the teacher's average."""
    method = new_bcp(2, num_classes, width)
    twin = twin_of(method, engine.device)
    engine.place(method)
    descent = Sgd().build(method.student)
    pairs = list(zip(method.student.parameters(), twin.student.parameters(), strict=True))
    generator = torch.Generator().manual_seed(SEED)
    for mine, theirs in pairs:
        theirs.grad = torch.randn(theirs.shape, generator=generator).to(theirs.device)
        mine.grad = torch.empty_like(mine).copy_(theirs.grad)

    def ours() -> None:
        descent.step()
        method.update_teacher(Step(0, 1))

    def difference() -> float:
        ours()
        twin.update()
        both = zip(
            method.teacher.state_dict().values(), twin.teacher.state_dict().values(), strict=True
        )
        return max(float((a - b).abs().max()) for a, b in both)

    return Part(
        "optimizer and EMA",
        "loops over tensors",
        ours,
        twin.update,
        difference,
        "teacher's weights",
        "6 ms",
        "memory: every weight is read and written once or twice",
    )

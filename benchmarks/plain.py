"""Plain counterparts for the benchmark: fp32, contiguous, one thing after another, as most public
code of the field does it. Nothing else uses them; each gives the values of its fast counterpart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from buarl.copy_paste import sample_box
from buarl.data import augment
from buarl.data.batches import Batches, SemiBatch
from buarl.data.h5 import Sample
from buarl.data.source import Source
from buarl.dice import Dice


class FilesEveryStep(Batches):
    """The batches of `Batches`, with every sample read from its file and transformed by scipy."""

    def __init__(self, batches: Batches, source: Source) -> None:
        vars(self).update(vars(batches))
        self.source = source

    def _augmented(self, sample: Sample, rng: np.random.Generator) -> augment.Arrays:
        import h5py
        from scipy import ndimage

        name = self.source.slice_path if self.source.rank == 2 else self.source.volume_path
        with h5py.File(name(sample.case), "r") as file:
            image, label = file["image"][:], file["label"][:]
        if self.volumetric:
            turn, start = self._drawn_3d(sample, rng)
            return augment.apply_3d(image, label, turn, start, self.image_size)
        draw = augment.sample_2d(rng)
        pair = []
        for array in (image, label):
            if draw.flip_axis is not None:
                array = np.flip(np.rot90(array, draw.quarter_turns), draw.flip_axis)
            elif draw.angle:
                array = ndimage.rotate(array, draw.angle, order=0, reshape=False)
            zoom = [m / n for n, m in zip(array.shape, self.image_size, strict=True)]
            pair.append(ndimage.zoom(array, zoom, order=0))
        return pair[0], pair[1]


def labeling() -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """Name of the labeling function at hand and the function: every neighbor touches."""
    try:
        from skimage.measure import label
    except ImportError:
        from scipy import ndimage

        return "scipy.ndimage.label", lambda mask: ndimage.label(mask, np.ones((3,) * mask.ndim))[0]
    return "skimage.measure.label", label


def largest_components(pseudo_label: Tensor, num_classes: int) -> Tensor:
    """The largest component of every class and image, one after the other."""
    _, label = labeling()
    kept = []
    for image in pseudo_label.detach().cpu().numpy():
        cleaned = np.zeros_like(image)
        for c in range(1, num_classes):
            components = label(image == c)
            if components.max():
                largest = np.argmax(np.bincount(components.flat)[1:]) + 1
                cleaned[components == largest] = c
        kept.append(cleaned)
    return torch.from_numpy(np.stack(kept)).to(pseudo_label.device)


def uncertain_mask(probs: Tensor, percentile: float) -> Tensor:
    """Entropy, `numpy.percentile` of a copy on the CPU, and the mask above it."""
    entropy = -(probs * torch.log(probs + 1e-10)).sum(1)  # (B, *spatial)
    return entropy > float(np.percentile(entropy.detach().cpu().numpy().ravel(), percentile))


def masked_loss(logits: Tensor, target: Tensor, mask: Tensor, dice: Dice) -> Tensor:
    """Half Dice, class by class, half cross-entropy, both over the voxels of a mask."""
    probs, mask = torch.softmax(logits, 1), mask.float()
    axes = tuple(range(1, target.ndim)) if dice.per_sample else tuple(range(target.ndim))
    overlap = torch.zeros((), device=logits.device)
    for c in range(logits.shape[1]):
        score, truth = probs[:, c], (target == c).float()
        shared = (score * truth * mask).sum(axes)
        total = ((score * score if dice.squared else score) * mask).sum(axes)
        total = total + (truth * mask).sum(axes)
        fraction = (dice.overlap_factor * shared + dice.smooth) / (total + dice.smooth)
        overlap = overlap + 1 - fraction.mean()
    cross_entropy = functional.cross_entropy(logits, target, reduction="none")
    cross_entropy = (cross_entropy * mask).sum() / mask.sum().clamp_min(1)
    return 0.5 * overlap / logits.shape[1] + 0.5 * cross_entropy


class Pseudo(NamedTuple):
    """pseudo_label (B, *spatial), uncertain bool (B, *spatial), of one half of a batch."""

    pseudo_label: Tensor
    uncertain: Tensor


class PlainBcp:
    """A BCP step with CRL in stage 2, written out: regions normalized on their own.

    Args:
        network: Is copied.
        dice, ema_buffers, outside_first: The options of `Bcp` with these meanings.
        optimizer: The numbers of the optimizer.
    """

    percentile, alpha, unlabeled_weight, ema_decay = 99, 0.5, 0.5, 0.99

    def __init__(
        self, network: nn.Module, dice: Dice, *, ema_buffers: bool, outside_first: bool
    ) -> None:
        self.student = deepcopy(network).train()
        self.teacher = deepcopy(network).requires_grad_(False).train()
        self.dice, self.ema_buffers, self.outside_first = dice, ema_buffers, outside_first
        self.optimizer = torch.optim.SGD(
            self.student.parameters(), 0.01, 0.9, weight_decay=1e-4, foreach=False
        )

    def step(self, batch: SemiBatch) -> float:
        """One whole step on a batch that lies on the device of the networks; its loss."""
        box = sample_box(batch.label.shape[1:], device=batch.label.device)  # as ours draws it
        pseudo = []
        for image in batch.unlabeled_image.chunk(2):
            with torch.no_grad():
                probs = torch.softmax(self.teacher(image), 1)
            cleaned = largest_components(probs.argmax(1), probs.shape[1])
            pseudo.append(Pseudo(cleaned, uncertain_mask(probs, self.percentile)))
        self.optimizer.zero_grad()
        loss = self.student_loss(batch, pseudo, box)
        loss.backward()
        self.update()
        return loss.item()

    def student_loss(self, batch: SemiBatch, pseudo: Sequence[Pseudo], box) -> Tensor:
        """Mix, predict and compare, in both directions."""
        inside = torch.zeros(batch.label.shape[1:], device=batch.label.device)
        inside[tuple(slice(a, a + n) for a, n in zip(*box, strict=True))] = 1
        loss = torch.zeros((), device=inside.device)
        parts = batch.labeled_image, batch.label, batch.unlabeled_image
        halves = zip(*(tensor.chunk(2) for tensor in parts), pseudo, strict=True)
        for direction, (image, label, unlabeled, known) in enumerate(halves):
            around = (direction == 0) == self.outside_first
            place = 1 - inside if around else inside
            logits = self.student(unlabeled * place + image * (1 - place)).float()
            loss = loss + masked_loss(logits, label, (1 - place).expand(label.shape), self.dice)
            for mask, weight in ((~known.uncertain, 1.0), (known.uncertain, self.alpha)):
                part = masked_loss(logits, known.pseudo_label, mask * place, self.dice)
                loss = loss + self.unlabeled_weight * weight * part
        return loss

    @torch.no_grad()
    def update(self) -> None:
        """The optimizer's step and the teacher's average, tensor by tensor."""
        self.optimizer.step()
        pairs = list(zip(self.teacher.parameters(), self.student.parameters(), strict=True))
        if self.ema_buffers:
            pairs += zip(self.teacher.buffers(), self.student.buffers(), strict=True)
        for old, new in pairs:
            if old.is_floating_point():
                old.mul_(self.ema_decay).add_(new, alpha=1 - self.ema_decay)
            else:
                old.copy_(new)


def metrics_by_medpy(prediction: np.ndarray, label: np.ndarray, num_classes: int) -> list[float]:
    """Dice, Jaccard, 95HD and ASD of every foreground class, by MedPy."""
    from medpy.metric import binary

    scores = (binary.dc, binary.jc, binary.hd95, binary.asd)
    return [f(prediction == c, label == c) for c in range(1, num_classes) for f in scores]


@torch.no_grad()
def window_by_window(
    network: nn.Module, volume: np.ndarray, patch: Sequence[int], stride: Sequence[int]
) -> np.ndarray:
    """Labels of a volume, one window after the other; no window may stick out."""
    image = torch.from_numpy(volume).to(next(network.parameters()).device)
    total = torch.zeros((network.head.out_channels, *volume.shape), device=image.device)
    visits = torch.zeros(volume.shape, device=image.device)
    starts = [
        sorted({min(k, n - p) for k in range(0, n - p + s, s)})
        for n, p, s in zip(volume.shape, patch, stride, strict=True)
    ]
    for corner in product(*starts):
        window = tuple(slice(a, a + p) for a, p in zip(corner, patch, strict=True))
        total[(slice(None), *window)] += torch.softmax(network(image[window][None, None]), 1)[0]
        visits[window] += 1
    return (total / visits).argmax(0).cpu().numpy().astype(np.uint8)

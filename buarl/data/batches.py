"""Two-stream batches: labeled and unlabeled samples of a step, a pure function of seed and step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from buarl.data import augment
from buarl.data.checked import checked_sample
from buarl.data.h5 import DataError, Sample
from buarl.data.resample import working_copy
from buarl.data.source import Source
from buarl.data.stream import Store, Streamed


class SemiBatch(NamedTuple):
    """Labeled and unlabeled images of a step, together, the labeled ones first.

    image: float32 (B_l + B_u, 1, *spatial).
    label: Classes of the labeled images, int64 (B_l, *spatial). B_u may be 0.

    >>> batch = SemiBatch(torch.zeros(5, 1, 8, 8), torch.zeros(2, 8, 8, dtype=torch.int64))
    >>> len(batch.labeled_image), len(batch.unlabeled_image)
    (2, 3)
    """

    image: Tensor
    label: Tensor

    @classmethod
    def from_parts(
        cls, labeled_image: Tensor, label: Tensor, unlabeled_image: Tensor | None = None
    ) -> SemiBatch:
        """A batch of images that lie apart.

        Args:
            labeled_image: (B_l, 1, *spatial).
            label: (B_l, *spatial).
            unlabeled_image: (B_u, 1, *spatial); None for none.
        """
        if unlabeled_image is None:
            return cls(labeled_image, label)
        return cls(torch.cat([labeled_image, unlabeled_image]), label)

    @property
    def labeled_image(self) -> Tensor:
        """The labeled images, a view, (B_l, 1, *spatial)."""
        return self.image[: len(self.label)]

    @property
    def unlabeled_image(self) -> Tensor:
        """The unlabeled images, a view, (B_u, 1, *spatial)."""
        return self.image[len(self.label) :]

    def split(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """What belongs to the labeled images and what to the unlabeled ones, as views.

        Args:
            output: Anything with one entry per image, e.g. logits (B_l + B_u, C, *spatial).
        """
        return output[: len(self.label)], output[len(self.label) :]

    def to(self, device: torch.device) -> SemiBatch:
        """The same batch on a device."""
        return SemiBatch(*(tensor.to(device, non_blocking=True) for tensor in self))


def stream_indices(
    seed: Sequence[int], step: int, count: int, batch: int, steps_per_epoch: int
) -> np.ndarray:
    """Sample numbers of a step: chunks of a fresh permutation every epoch (docs/protocol.md 2.3).

    Needs no history, so a resumed run sees what an uninterrupted one would have seen.

    >>> [stream_indices([0], step, 4, 2, steps_per_epoch=2).tolist() for step in (0, 1, 2)]
    [[2, 0], [1, 3], [3, 0]]
    """
    epoch, position = divmod(step, steps_per_epoch)
    rounds = -(-batch * steps_per_epoch // count)
    rng = np.random.default_rng([*seed, epoch])
    order = np.concatenate([rng.permutation(count) for _ in range(rounds)])
    return order[position * batch : (position + 1) * batch]


class Batches:
    """All training samples at native size, and the batch of any step.

    They lie in memory, and partly on disk where the source has a budget, see `buarl.data.stream`.

    Args:
        source: Where they come from.
        labeled: Number of labeled patients, None for all.
        image_size: Training size, (rows, columns) or the 3-D patch.
        unlabeled: Read the unlabeled samples too; their labels are never read.
        shrink, standardise: 3-D only, see `working_copy`.
    """

    def __init__(
        self,
        source: Source,
        labeled: int | None,
        image_size: Sequence[int],
        *,
        unlabeled: bool = True,
        shrink: int = 1,
        standardise: bool = False,
    ) -> None:
        labeled_names, unlabeled_names = source.split_labeled(labeled)
        self.image_size = tuple(image_size)
        self.volumetric = source.rank == 3

        def read(names: Sequence[str], labeled: bool) -> Iterator[Sample]:
            for name in names:
                sample = source.training_sample(name, labeled=labeled)
                sample = checked_sample(sample, source, labeled=labeled)
                yield working_sample(sample, shrink, standardise) if self.volumetric else sample

        store = Store(source.memory_budget)
        self.labeled = store.kept(read(labeled_names, True))
        self.unlabeled = store.kept(read(unlabeled_names if unlabeled else [], False))
        self.streamed = store.streams

    def batch(
        self,
        seed: Sequence[int],
        step: int,
        labeled_batch: int,
        unlabeled_batch: int,
        *,
        number: int = 0,
        parts: int = 1,
    ) -> SemiBatch:
        """The augmented batch of a step, or one of several equal parts of it.

        A part has every `parts`-th sample of the labeled and of the unlabeled ones. So the two
        halves of a batch, which BCP pastes onto each other, stay halves in every part, and each
        sample keeps its partner, as long as `parts` divides a half.

        Args:
            seed: Any whole numbers, e.g. (seed, stage).
            step: Number of the step, from 0.
            labeled_batch, unlabeled_batch: How many samples of either kind; the latter may be 0.
                Both are numbers of the whole batch.
            number: Which part, from 0.
            parts: In how many parts the batch is.
        Where a batch is larger than what there is to draw from, samples are drawn again, and
        augmented anew each time.

        Raises:
            DataError: unlabeled samples wanted but none there, or no labeled ones wanted.
        """
        if unlabeled_batch and not self.unlabeled:
            raise no_unlabeled(unlabeled_batch)
        if labeled_batch < 1:
            raise DataError(f"labeled_batch must be at least 1, got {labeled_batch}")
        self._expect(seed, step + 1, labeled_batch, unlabeled_batch, slice(number, None, parts))
        steps_per_epoch = max(len(self.labeled) // labeled_batch, 1)
        chosen: list[tuple[int, Sample]] = []  # with their places in the whole batch
        streams = (self.labeled, labeled_batch), (self.unlabeled, unlabeled_batch)
        for kind, (samples, size) in enumerate(streams):
            if size:
                order = stream_indices([*seed, kind], step, len(samples), size, steps_per_epoch)
                mine = [(slot, samples[i]) for slot, i in enumerate(order)][number::parts]
                chosen += [(kind * labeled_batch + slot, sample) for slot, sample in mine]
        picked = [
            (sample, np.random.default_rng([*seed, 2, step, slot])) for slot, sample in chosen
        ]
        return self._assembled(picked, labeled_batch // parts)

    def _assembled(
        self, picked: Sequence[tuple[Sample, np.random.Generator]], labeled_batch: int
    ) -> SemiBatch:
        pairs = [self._augmented(sample, rng) for sample, rng in picked]
        images = np.stack([image for image, _ in pairs])  # (B_l + B_u, *spatial)
        labels = np.stack([label for _, label in pairs[:labeled_batch]])
        return SemiBatch(torch.from_numpy(images)[:, None], torch.from_numpy(labels).long())

    def _expect(
        self, seed: Sequence[int], step: int, labeled_batch: int, unlabeled_batch: int, part: slice
    ) -> None:
        """Name to the disk what a step will draw of the samples that lie there."""
        steps_per_epoch = max(len(self.labeled) // labeled_batch, 1)
        streams = (self.labeled, labeled_batch), (self.unlabeled, unlabeled_batch)
        for number, (samples, size) in enumerate(streams):
            if size and isinstance(samples, Streamed):
                stream = [*seed, number]
                order = stream_indices(stream, step, len(samples), size, steps_per_epoch)
                samples.expect(order[part])

    def _augmented(self, sample: Sample, rng: np.random.Generator) -> augment.Arrays:
        if not self.volumetric:
            return augment.apply_2d(
                sample.image, sample.label, augment.sample_2d(rng), self.image_size
            )
        turn, start = self._drawn_3d(sample, rng)
        return augment.apply_3d(sample.image, sample.label, turn, start, self.image_size)

    def _drawn_3d(
        self, sample: Sample, rng: np.random.Generator
    ) -> tuple[augment.Augmentation, tuple[int, ...]]:
        turn = augment.sample_3d(rng)
        shape = augment.turned_shape(sample.image.shape, turn, self.image_size)
        return turn, augment.sample_crop(rng, shape, self.image_size)


def no_unlabeled(unlabeled_batch: int) -> DataError:
    """What to say where unlabeled samples are wanted and there are none."""
    return DataError(
        f"a batch with {unlabeled_batch} unlabeled samples needs unlabeled patients; all are "
        "labeled: use method `supervised` or fewer labeled patients"
    )


def working_sample(sample: Sample, shrink: int, standardise: bool) -> Sample:
    """A volume and its label, if it has one, as a network sees them; see `working_copy`.

    >>> sample = Sample("case", np.ones((4, 4, 4), np.float32), np.ones((4, 4, 4), np.uint8))
    >>> working_sample(sample, shrink=2, standardise=False).label.shape
    (2, 2, 2)
    """
    image = working_copy(sample.image, shrink, standardise)
    label = None if sample.label is None else working_copy(sample.label, shrink, False)
    return sample._replace(image=image, label=label)

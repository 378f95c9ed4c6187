"""URL and CRL in MONAI's `SupervisedTrainer`: the loss is ours, the engine is MONAI's.

    pip install buarl monai pytorch-ignite
    python examples/other_trainers/monai_trainer.py --epochs 2

A batch holds labeled and unlabeled images. The trainer sends all of them through the network; the
loss gets the logits and the batch, and asks a teacher that follows the network by a handler.
"""

from __future__ import annotations

import argparse
from copy import deepcopy

import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.transforms import Compose, EnsureChannelFirstd, RandFlipd, Resized
from monai.utils import set_determinism
from torch import Tensor, nn

import buarl

SIZE = (64, 64)
Target = tuple[Tensor, Tensor, Tensor]


class MeanTeacherLoss(nn.Module):
    """URL on labeled images, CRL on the teacher's pseudo-labels of the unlabeled ones.

    Args:
        network: The student; the teacher begins as its copy.
        weight: How much the unlabeled term counts.
    """

    def __init__(self, network: nn.Module, weight: float = 0.1) -> None:
        super().__init__()
        self.teacher = deepcopy(network).requires_grad_(False)
        self.labeled_loss = buarl.RegionLoss(buarl.url(95), reduction="voxel")
        self.unlabeled_loss = buarl.PseudoLabelLoss(buarl.crl(99), reduction="voxel")
        self.weight = weight

    def forward(self, logits: Tensor, target: Target) -> Tensor:
        """The loss of a batch, as the trainer calls it."""
        image, label, has_label = target
        with torch.no_grad():
            teacher_logits = self.teacher(image[~has_label])
        labeled = self.labeled_loss(logits[has_label], label[has_label])  # uses Eq. 7
        unlabeled = self.unlabeled_loss(logits[~has_label], teacher_logits)  # uses Eq. 8
        return labeled + self.weight * unlabeled  # uses Eq. 9


def prepare_batch(
    batch: dict, device: torch.device, non_blocking: bool = False, **_: object
) -> tuple[Tensor, Target]:
    """What the network sees, and what the loss gets beside its logits."""
    image, label = (batch[key].to(device, non_blocking=non_blocking) for key in ("image", "label"))
    return image, (image, label, batch["has_label"].to(device))


def make_loader(pairs: int = 4) -> DataLoader:
    """Slices of the phantom; each item is a pair, one slice with a label and one without."""
    source = buarl.open_source("phantom")
    labeled, unlabeled = source.split_labeled(3)
    augment = Compose(
        [
            EnsureChannelFirstd(("image", "label"), channel_dim="no_channel"),
            Resized(("image", "label"), SIZE, mode="nearest"),
            RandFlipd(("image", "label"), prob=0.5, spatial_axis=1),
        ]
    )

    def item(name: str, has_label: bool) -> dict:
        sample = source.training_sample(name, labeled=has_label)
        label = sample.label if has_label else 0 * sample.image  # never looked at
        return {"image": sample.image, "label": label, "has_label": has_label}

    pairs_of_items = [
        [item(labeled[k % len(labeled)], True), item(name, False)]
        for k, name in enumerate(unlabeled)
    ]

    def collate(found: list[list[dict]]) -> dict[str, Tensor]:
        items = [each for pair in found for each in pair]
        stacked = {key: torch.stack([i[key] for i in items]) for key in ("image", "label")}
        return {**stacked, "has_label": torch.tensor([i["has_label"] for i in items])}

    dataset = Dataset(pairs_of_items, augment)  # MONAI applies it to each item of a pair
    return DataLoader(dataset, batch_size=pairs, shuffle=True, collate_fn=collate)


def main(epochs: int = 2, width: int = 8, ema_decay: float = 0.99) -> SupervisedTrainer:
    """Train for some epochs; the trainer that comes back holds network, loss and last output."""
    set_determinism(0)
    network = buarl.networks.UNet(4, width)
    loss = MeanTeacherLoss(network)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=make_loader(),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9),
        loss_function=loss,
        prepare_batch=prepare_batch,
        decollate=False,  # the loss of a batch stays one number
    )

    @trainer.on(Events.ITERATION_COMPLETED)
    def follow(engine: Engine) -> None:
        buarl.update_teacher(loss.teacher, network, ema_decay)  # uses Eq. 10

    trainer.run()
    return trainer


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=2)
    done = main(parser.parse_args().epochs)
    print(f"loss of the last batch: {done.state.output['loss']:.3f}")

"""URL and CRL in a plain Lightning module: Mean Teacher on pseudo-labels, the data your own.

    pip install "buarl[devices]"
    python examples/other_trainers/lightning_module.py --epochs 2

The three lines that are ours stand in `training_step`. Everything else is Lightning's.
"""

from __future__ import annotations

import argparse
from copy import deepcopy

import lightning
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import buarl
from buarl.data.resample import resize_nearest


class MeanTeacherModule(lightning.LightningModule):
    """A student that learns from labels with URL, and from its own average with CRL.

    Args:
        network: Images (B, 1, *spatial) to logits (B, C, *spatial).
        ema_decay: Share of the old teacher that is kept at a step.
        weight: How much the unlabeled term counts.
    """

    def __init__(self, network: nn.Module, ema_decay: float = 0.99, weight: float = 0.1) -> None:
        super().__init__()
        self.student = network
        self.teacher = deepcopy(network).requires_grad_(False)
        self.labeled_loss = buarl.RegionLoss(buarl.url(95), reduction="voxel")
        self.unlabeled_loss = buarl.PseudoLabelLoss(buarl.crl(99), reduction="voxel")
        self.ema_decay, self.weight = ema_decay, weight

    def training_step(self, batch: dict[str, list[Tensor]], index: int) -> Tensor:
        """The loss of one batch of labeled and one of unlabeled images."""
        (image, label), (unlabeled,) = batch["labeled"], batch["unlabeled"]
        with torch.no_grad():
            teacher_logits = self.teacher(unlabeled)
        loss = self.labeled_loss(self.student(image), label)  # uses Eq. 7
        unlabeled_loss = self.unlabeled_loss(self.student(unlabeled), teacher_logits)  # uses Eq. 8
        self.log("loss", loss, batch_size=len(image))
        return loss + self.weight * unlabeled_loss  # uses Eq. 9

    def on_train_batch_end(self, *_: object) -> None:
        """The teacher follows, after the optimizer's step."""
        buarl.update_teacher(self.teacher, self.student, self.ema_decay)  # uses Eq. 10

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """As in Mean Teacher; the teacher takes no gradient."""
        return torch.optim.SGD(self.student.parameters(), lr=0.01, momentum=0.9)


def loaders(size: int = 64, batch: int = 4) -> CombinedLoader:
    """Slices of the phantom: those of three patients with labels, all others without."""
    source = buarl.open_source("phantom")
    labeled, unlabeled = source.split_labeled(3)
    samples = [source.training_sample(name) for name in labeled]
    others = [source.training_sample(name, labeled=False) for name in unlabeled]

    def stack(arrays: list) -> Tensor:
        return torch.stack([torch.from_numpy(resize_nearest(a, (size, size))) for a in arrays])

    with_labels = TensorDataset(
        stack([s.image for s in samples])[:, None], stack([s.label for s in samples]).long()
    )
    without = TensorDataset(stack([s.image for s in others])[:, None])
    parts = {"labeled": with_labels, "unlabeled": without}
    each = {name: DataLoader(part, batch, shuffle=True) for name, part in parts.items()}
    return CombinedLoader(each, mode="min_size")


def main(epochs: int = 2, width: int = 8, **options: object) -> MeanTeacherModule:
    """Train for some epochs; options go to Lightning's Trainer."""
    lightning.seed_everything(0, verbose=False)
    module = MeanTeacherModule(buarl.networks.UNet(4, width))
    trainer = lightning.Trainer(max_epochs=epochs, logger=False, **options)
    trainer.fit(module, loaders())
    return module


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=2)
    main(parser.parse_args().epochs, enable_checkpointing=False)

"""From a trained network to the labels of a whole volume: slice by slice in 2-D, windows in 3-D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from buarl.components import largest_component
from buarl.data.resample import resize_nearest
from buarl.entropy import entropy_of_probs, most_likely
from buarl.evaluation.sliding_window import sliding_window_probs

BATCH = 16  # slices per call of a 2-D network
WINDOWS = {"cpu": 2, "cuda": 8, "mps": 2}  # per call of a 3-D network: more is no faster on a CPU
SendBack = Literal["labels", "probs"]
"""What is sent back from training size: the labels, by the nearest pixel, as the references do, or
the probabilities, interpolated, before the largest is taken."""
PLANES = 32  # whose classes are decided at a time; vectors end where they would in one go


@torch.no_grad()
def predict_probs(network: nn.Module, images: np.ndarray) -> Tensor:
    """Predict class probabilities of a stack of images at training size.

    Args:
        network: It is put into evaluation mode.
        images: float32 (N, *spatial), all of one size.
    Returns:
        float32 (N, C, *spatial) on the CPU, sums to 1 over axis 1.

    >>> network = nn.Conv2d(1, 3, 1)
    >>> predict_probs(network, np.zeros((2, 8, 8), np.float32)).shape
    torch.Size([2, 3, 8, 8])
    """
    return predict_logits(network, images).softmax(1)


@torch.no_grad()
def predict_logits(network: nn.Module, images: np.ndarray) -> Tensor:
    """Predict what `predict_probs` does, before the softmax.

    Args:
        network: It is put into evaluation mode.
        images: float32 (N, *spatial), all of one size.
    Returns:
        float32 (N, C, *spatial) on the CPU.

    >>> network = nn.Conv2d(1, 3, 1)
    >>> predict_logits(network, np.zeros((2, 8, 8), np.float32)).shape
    torch.Size([2, 3, 8, 8])
    """
    network.eval()
    device = next(network.parameters()).device
    stack = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[:, None]
    return torch.cat([network(part.to(device)).float().cpu() for part in stack.split(BATCH)])


def predict_slices(
    network: nn.Module,
    volume: np.ndarray,
    image_size: Sequence[int],
    send_back: SendBack = "labels",
) -> tuple[np.ndarray, np.ndarray]:
    """Predict labels and entropy of a volume slice by slice (docs/protocol.md 1.4, ACDC).

    Args:
        network: A 2-D network; it is put into evaluation mode.
        volume: float32 (Z, H, W).
        image_size: Size that the network was trained at, (rows, columns).
        send_back: What is sent back to the volume's own size, see `SendBack`.
    Returns:
        Labels uint8 and entropy float32 in nats, both (Z, H, W). No part of a label is removed.

    >>> network = nn.Conv2d(1, 4, 1)
    >>> label, entropy = predict_slices(network, np.zeros((3, 20, 24), np.float32), (16, 16))
    >>> label.shape, entropy.dtype
    ((3, 20, 24), dtype('float32'))
    """
    native = volume.shape[1:]
    label, entropy = np.empty(volume.shape, np.uint8), np.empty(volume.shape, np.float32)
    for start in range(0, len(volume), BATCH):
        part = slice(start, start + BATCH)
        probs = predict_probs(network, resize_nearest(volume[part], tuple(image_size)))
        if send_back == "probs":
            probs = F.interpolate(probs, native, mode="bilinear", align_corners=True)
            label[part], entropy[part] = _label_and_entropy(probs)
            continue
        small_label, small_entropy = _label_and_entropy(probs)  # (B, h, w)
        label[part] = resize_nearest(small_label.numpy(), native)
        entropy[part] = resize_nearest(small_entropy.numpy(), native)
    return label, entropy


@torch.no_grad()
def predict_windows(
    network: nn.Module,
    volume: np.ndarray,
    patch_size: Sequence[int],
    stride: Sequence[int],
    *,
    keep_largest: bool = False,
    batch_size: int | None = None,
    accumulate_on: torch.device | str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Predict labels and entropy of a volume by a sliding window (docs/protocol.md 1.4, LA).

    Memory beside the network's own: C maps of the volume in float32, then labels and entropy.

    Args:
        network: A 3-D network; it is put into evaluation mode.
        volume: float32 (X, Y, Z).
        patch_size: Size of the window in voxels.
        stride: Step of the window in voxels.
        keep_largest: Keep only the largest component of each class, as SS-Net, DTC and BCP do at
            test.
        batch_size: Windows per call of the network; None is 2 on a CPU, 8 on a GPU.
        accumulate_on: Device of the maps, see `sliding_window_probs`.
    Returns:
        Labels uint8 and entropy float32 in nats, both (X, Y, Z).
    Rounding note: convolution weights are laid out channels-last for the time of the call, about a
        fifth faster on a CPU. Logits move by less than 1e-5 of the largest against the plain
        layout, one window at a time; labels where two classes differ by less.

    >>> network = nn.Conv3d(1, 2, 1)
    >>> label, _ = predict_windows(network, np.zeros((9, 8, 8), np.float32), (4, 4, 4), (2, 2, 2))
    >>> label.shape, label.dtype
    ((9, 8, 8), dtype('uint8'))
    """
    network.eval()
    device = next(network.parameters()).device
    image = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None].to(device)
    weights = _channels_last_weights(network)
    probs = sliding_window_probs(
        lambda patches: functional_call(network, weights, patches).float().softmax(1),
        image,
        tuple(patch_size),
        tuple(stride),
        WINDOWS[device.type] if batch_size is None else batch_size,
        accumulate_on,
    )  # (C, X, Y, Z)
    num_classes = len(probs)
    label = torch.empty(volume.shape, dtype=torch.uint8)
    entropy = torch.empty(volume.shape)
    for start in range(0, len(volume), PLANES):
        part = slice(start, start + PLANES)
        label[part], entropy[part] = (x[0] for x in _label_and_entropy(probs[None, :, part].cpu()))
    del probs  # the largest component needs maps of its own
    if keep_largest:
        label = largest_component(label[None], num_classes)[0]
    return label.numpy(), entropy.numpy()


def _label_and_entropy(probs: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 and float32 (B, *spatial) from probabilities (B, C, *spatial)."""
    return most_likely(probs).to(torch.uint8), entropy_of_probs(probs)


def _channels_last_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights of 3-D convolutions in the faster layout, for `functional_call`: the network
    handed in keeps its own."""
    return {
        name: weight.contiguous(memory_format=torch.channels_last_3d)
        for name, weight in network.named_parameters()
        if weight.dim() == 5
    }

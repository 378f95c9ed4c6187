"""From a trained network to the labels of a whole volume: slice by slice in 2-D, windows in 3-D."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from buarl.components import largest_component
from buarl.entropy import entropy_of_probs
from buarl.resample import resize_nearest
from buarl.sliding_window import sliding_window_probs

BATCH = 16


@torch.no_grad()
def predict_probs(network: nn.Module, images: np.ndarray) -> Tensor:
    """Class probabilities of a stack of images at training size.

    Args:
        network: Put into eval mode here. images: float32 (N, *spatial).
    Returns:
        float32 (N, C, *spatial) on the CPU.
    """
    network.eval()
    device = next(network.parameters()).device
    stack = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[:, None]
    return torch.cat(
        [network(part.to(device)).float().softmax(1).cpu() for part in stack.split(BATCH)]
    )


def predict_slices(
    network: nn.Module, volume: np.ndarray, image_size: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and entropy of a volume, slice by slice (protocol 1.4, ACDC).

    Args:
        network: 2-D. volume: float32 (Z, H, W). image_size: Size the network was trained at.
    Returns:
        Labels uint8 (Z, H, W) and entropy in nats float32 (Z, H, W), resized back by nearest
        neighbour; no largest-component step.
    """
    probs = predict_probs(network, resize_nearest(volume, tuple(image_size)))  # (Z, C, h, w)
    label = probs.argmax(1).to(torch.uint8).numpy()
    entropy = entropy_of_probs(probs).numpy()
    native = volume.shape[1:]
    return resize_nearest(label, native), resize_nearest(entropy, native)


@torch.no_grad()
def predict_windows(
    network: nn.Module,
    volume: np.ndarray,
    patch_size: Sequence[int],
    stride: Sequence[int],
    *,
    keep_largest: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and entropy of a volume by a sliding window (protocol 1.4, LA).

    Args:
        network: 3-D. volume: float32 (X, Y, Z). patch_size, stride: Of the window, in voxels.
        keep_largest: Keep the largest component per class, as SS-Net, DTC and BCP do at test.
    Returns:
        Labels uint8 (X, Y, Z) and entropy in nats float32 (X, Y, Z).
    """
    network.eval()
    device = next(network.parameters()).device
    image = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None].to(device)
    probs = sliding_window_probs(
        lambda patches: network(patches).float().softmax(1), image, tuple(patch_size), tuple(stride)
    )[None].cpu()  # (1, C, X, Y, Z)
    label = probs.argmax(1)
    if keep_largest:
        label = largest_component(label, probs.shape[1])
    return label[0].to(torch.uint8).numpy(), entropy_of_probs(probs)[0].numpy()

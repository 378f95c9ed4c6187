"""Strong views: images with other intensities and the same anatomy, for the student alone.

As in `augment` the draw is one step and its application another. Both are tensor operations on the
device of the images, of a whole batch at once, in 2-D and 3-D; nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from buarl.arguments import check_choice, check_number, short


@dataclass(frozen=True)
class StrongViews:
    """How far the intensities of an image are varied; every strength of 0 switches its part off.

    Weak and strong views are FixMatch's idea (Sohn et al., NeurIPS 2020): whoever makes the
    pseudo-label sees the image as it is, the student sees a harder one. In methods without a
    teacher and without views of their own both are the harder one, plain augmentation. The parts
    are those of the field's toolboxes. Nothing is clipped: an MR image has no white.

    Args:
        brightness: The distance from the darkest value is multiplied by 1 - x to 1 + x; 0 to 1.
        contrast: The distance from the mean is multiplied by 1 - x to 1 + x; 0 to 1.
        gamma: The image, scaled to 0-1 and back, is raised to the power exp(-x) to exp(x); 0 to 3.
        noise: Standard deviation of Gaussian noise, 0 to x of the image's range; 0 to 1.
        blur: Standard deviation of a Gaussian blur, 0.1 to x pixels; 0, or 0.1 to 5.
        share: Part of the images whose brightness, contrast and gamma are varied; 0 to 1.
        noise_share: Part of the images that get noise; 0 to 1.
        blur_share: Part of the images that are blurred; 0 to 1.
    Raises:
        TypeError: what is no number.
        ValueError: a number outside its range.

    >>> StrongViews(blur=0).brightness
    0.3
    """

    brightness: float = 0.3
    contrast: float = 0.3
    gamma: float = 0.3
    noise: float = 0.03
    blur: float = 0.8
    share: float = 0.8
    noise_share: float = 0.5
    blur_share: float = 0.5

    def __post_init__(self) -> None:
        most = {"gamma": 3, "blur": 5}
        for each in fields(self):
            value = getattr(self, each.name)
            value = check_number(f"{each.name} of strong views", value, 0, most.get(each.name, 1))
            object.__setattr__(self, each.name, value)  # frozen
        if 0 < self.blur < 0.1:
            raise ValueError(f"blur of strong views must be 0 or lie in 0.1 to 5, got {self.blur}")


UNIMATCH_VIEWS = StrongViews(brightness=0.5, contrast=0.5, gamma=0.0, noise=0.0, blur=2.0)
"""UniMatch's on ACDC at 256x256, where brightness and contrast are clipped at black and white."""
STRONG_VIEWS = {"moderate": StrongViews(), "unimatch": UNIMATCH_VIEWS}
"""Strong views by the name they have in rows and on the command line."""


def strong_views_from(given: Any) -> StrongViews | None:
    """Strong views as a row names them.

    Args:
        given: A name in `STRONG_VIEWS`, a mapping of numbers, "none" or None, or what is made
            already.
    Raises:
        ValueError: an unknown name or number, or one out of range.

    >>> strong_views_from("moderate") == strong_views_from({}) == StrongViews()
    True
    """
    if given is None or given == "none" or isinstance(given, StrongViews):
        return None if given == "none" else given
    if not isinstance(given, Mapping):
        check_choice("strong_views", given, ("none", *STRONG_VIEWS))
        return STRONG_VIEWS[given]
    known = [each.name for each in fields(StrongViews)]
    if unknown := [key for key in given if key not in known]:
        raise ValueError(f"strong_views have the numbers {known}, got {short(unknown[0])}")
    try:
        return StrongViews(**given)
    except TypeError as error:
        raise ValueError(str(error)) from error


class ViewDraw(NamedTuple):
    """What to do with each image of a batch; a part that is switched off is None.

    brightness, contrast, gamma: Factors and the exponent, float32 (B,); 1 changes nothing.
    blur: Gaussian kernels, float32 (B, 2 r + 1); each sums to 1.
    noise: What is added, in parts of the image's range, float32 (B, channels, *spatial).
    """

    brightness: Tensor | None = None
    contrast: Tensor | None = None
    gamma: Tensor | None = None
    blur: Tensor | None = None
    noise: Tensor | None = None


def sample_views(image: Tensor, views: StrongViews) -> ViewDraw:
    """Draw what to do with every image of a batch, from torch's generator of its device.

    Args:
        image: The batch, (B, channels, *spatial); only its shape and device count.
        views: How far.

    >>> draw = sample_views(torch.zeros(3, 1, 8, 8), StrongViews(noise=0))
    >>> draw.brightness.shape, draw.noise
    (torch.Size([3]), None)
    """
    count, device = len(image), image.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, device=device) * (high - low) + low

    jittered = uniform(0, 1) < views.share
    factors = [
        torch.where(jittered, uniform(1 - x, 1 + x), 1.0) if x else None
        for x in (views.brightness, views.contrast)
    ]
    gamma = blur = noise = None
    if views.gamma:
        gamma = torch.where(jittered, uniform(-views.gamma, views.gamma).exp(), 1.0)
    if views.blur:
        blurred = uniform(0, 1) < views.blur_share
        blur = gaussian_kernels(torch.where(blurred, uniform(0.1, views.blur), 0.0), views.blur)
    if views.noise:
        noisy = uniform(0, 1) < views.noise_share
        std = torch.where(noisy, uniform(0, views.noise), 0.0)
        noise = torch.randn(image.shape, device=device) * _per_image(std, image)
    return ViewDraw(*factors, gamma, blur, noise)


def gaussian_kernels(std: Tensor, largest: float) -> Tensor:
    """Kernels of three standard deviations of the largest blur to each side.

    Args:
        std: Standard deviations in pixels, float32 (B,); 0 leaves an image as it is.
        largest: The largest that may be drawn, which decides the size.
    Returns:
        float32 (B, 2 r + 1), r = ceil(3 * largest); each sums to 1.

    >>> gaussian_kernels(torch.tensor([0.0, 1.0]), 0.3)
    tensor([[0.0000, 1.0000, 0.0000],
            [0.2741, 0.4519, 0.2741]])
    """
    radius = math.ceil(3 * largest)
    place = torch.arange(-radius, radius + 1, device=std.device, dtype=torch.float32)
    kernels = torch.exp(-((place / std.clamp_min(1e-3)[:, None]) ** 2) / 2)
    return kernels / kernels.sum(1, keepdim=True)


def apply_views(image: Tensor, draw: ViewDraw) -> Tensor:
    """Change brightness, contrast and gamma, then blur, then add noise.

    Args:
        image: float32 (B, channels, *spatial), of any range.
        draw: What was drawn by `sample_views`.
    Returns:
        New images, float32 (B, channels, *spatial).

    >>> image = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> apply_views(image, ViewDraw(brightness=torch.tensor([1.5])))  # the darkest stays
    tensor([[[1.0000, 2.5000, 4.0000]]])
    >>> apply_views(image, ViewDraw(contrast=torch.tensor([0.5])))  # the mean stays
    tensor([[[1.5000, 2.0000, 2.5000]]])
    >>> apply_views(image, ViewDraw(gamma=torch.tensor([2.0])))  # darkest and brightest stay
    tensor([[[1.0000, 1.5000, 3.0000]]])
    """
    axes = tuple(range(1, image.dim()))
    darkest, brightest = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
    full_range = brightest - darkest
    if draw.brightness is not None:
        image = darkest + (image - darkest) * _per_image(draw.brightness, image)
    if draw.contrast is not None:
        mean = image.mean(axes, keepdim=True)
        image = mean + (image - mean) * _per_image(draw.contrast, image)
    if draw.gamma is not None:
        low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
        extent = (high - low).clamp_min(1e-12)  # an image of one value stays as it is
        image = low + extent * ((image - low) / extent) ** _per_image(draw.gamma, image)
    if draw.blur is not None:
        image = blurred(image, draw.blur)
    return image if draw.noise is None else image + full_range * draw.noise


def blurred(image: Tensor, kernels: Tensor) -> Tensor:
    """Blur every image with its own kernel, one axis after the other; edges are mirrored.

    Args:
        image: (B, channels, *spatial).
        kernels: (B, 2 r + 1), from `gaussian_kernels`.

    >>> blurred(torch.tensor([[[0.0, 4.0, 0.0, 0.0]]]), torch.tensor([[0.25, 0.5, 0.25]]))
    tensor([[[2., 2., 1., 0.]]])
    """
    radius = kernels.shape[1] // 2
    for axis in range(2, image.dim()):
        last = image.shape[axis] - 1
        place = torch.arange(-radius, last + radius + 1, device=image.device).abs()
        place = (last - (last - place).abs()).clamp_min(0)  # mirrored about the edge voxels
        wide = image.index_select(axis, place)
        image = sum(
            wide.narrow(axis, shift, last + 1) * _per_image(kernels[:, shift], image)
            for shift in range(kernels.shape[1])
        )
    return image


def _per_image(values: Tensor, image: Tensor) -> Tensor:
    """(B,) in the shape that spreads over images, (B, 1, ..., 1)."""
    return values.view(-1, *[1] * (image.dim() - 1))

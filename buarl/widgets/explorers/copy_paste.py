"""Copy-paste explorer: move BCP's box and see what the student is shown and asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from buarl.copy_paste import Box, copy_paste, outside_mask, sample_box
from buarl.figures.draw import UNCERTAIN
from buarl.widgets.explorers import live
from buarl.widgets.explorers.controls import Button, Choice, Slider
from buarl.widgets.still import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buarl.widgets.explorers.box import Explorer

DIRECTIONS = {
    "unlabeled around labeled": ("unlabeled", "labeled"),
    "labeled around unlabeled": ("labeled", "unlabeled"),
    "labeled around labeled": ("labeled", "labeled"),
    "unlabeled around unlabeled": ("unlabeled", "unlabeled"),
}
"""Kind around the box, kind in the box: the two directions of BCP's stage 2, its stage 1, and the
mixture that nobody uses, for comparison."""


class Images(NamedTuple):
    """The images that can be mixed, all of one size.

    Attributes:
        labeled: (B, H, W), any numbers.
        label: Whole numbers (B, H, W), the labels of these.
        unlabeled: (B, H, W), any numbers.
        pseudo_label: Whole numbers (B, H, W), what the teacher says of these.
        class_names: Background first.
    """

    labeled: np.ndarray
    label: np.ndarray
    unlabeled: np.ndarray
    pseudo_label: np.ndarray
    class_names: Sequence[str]


class Mixed(NamedTuple):
    """One mixed pair.

    Attributes:
        image: (H, W).
        target: Whole numbers (H, W).
        outside: bool (H, W), the K of BCP.
        is_label: bool (H, W), True where the target is a label, False where it is a pseudo-label.
    """

    image: np.ndarray
    target: np.ndarray
    outside: np.ndarray
    is_label: np.ndarray


def mix(images: Images, box: Box, direction: str, around: int = 0, inside: int = 0) -> Mixed:
    """Paste one image onto another through a box, by `buarl.copy_paste`.

    Args:
        images: What there is.
        box: In pixels.
        direction: One of `DIRECTIONS`.
        around: Number of the image around the box, from 0.
        inside: Number of the image in the box, from 0.
    Raises:
        ValueError: a box that leaves the image.
    """
    spatial = images.labeled.shape[1:]
    ends = [start + size for start, size in zip(*box, strict=True)]
    if min(box.start) < 0 or any(e > n for e, n in zip(ends, spatial, strict=True)):
        raise ValueError(f"the box must lie inside the image {spatial}, got {box}")
    outside = outside_mask(spatial, box)
    kinds = DIRECTIONS[direction]
    (image_a, target_a), (image_b, target_b) = (
        _pick(images, kind, number) for kind, number in zip(kinds, (around, inside), strict=True)
    )
    image, target = copy_paste(image_a, image_b, outside), copy_paste(target_a, target_b, outside)
    from_label = [torch.tensor(kind == "labeled") for kind in kinds]
    is_label = copy_paste(*from_label, outside)
    return Mixed(image.numpy(), target.numpy(), outside.numpy(), is_label.numpy())


class CopyPasteView(live.LiveView):
    """Around, inside, mixed image, mixed target; the box framed, pseudo-labels striped."""

    def __init__(self, images: Images) -> None:
        _check(images)
        self.images = images
        self.legend = live.class_colors(images.class_names) | {"stripes: pseudo-label": UNCERTAIN}

    def show(self, box: Box, direction: str, around: int = 0, inside: int = 0) -> Mixed:
        """Show a mixture; arguments as in `mix`."""
        mixed = mix(self.images, box, direction, around, inside)
        kinds = DIRECTIONS[direction]
        pairs = [_pick(self.images, k, n) for k, n in zip(kinds, (around, inside), strict=True)]
        around_box, in_box = (
            live.class_overlay(live.grey(image.numpy()), target.numpy()) for image, target in pairs
        )
        mixed_image = live.grey(mixed.image)
        target = live.class_overlay(mixed_image, mixed.target)
        target = live.overlay(target, live.stripes(~mixed.is_label, period=6), [UNCERTAIN], 0.5)
        titles = (f"around the box: {kinds[0]}", f"in the box: {kinds[1]}")
        titles += ("mixed image", "mixed target")
        frame = (*box.start, *box.size)
        shown = (around_box, in_box, mixed_image, target)
        self.panels = [Panel(*given, frame) for given in zip(titles, shown, strict=True)]
        in_the_box, label = (~mixed.outside).mean(), mixed.is_label.mean()
        self.lines = [
            f"box: {box.size[0]} x {box.size[1]} pixels at row {box.start[0]}, "
            f"column {box.start[1]}; {in_the_box:.1%} of the image in the box",
            f"target: a label on {label:.1%}, a pseudo-label on {1 - label:.1%} of the image",
        ]
        return mixed


def draw_copy_paste(
    images: Images, box: Box, direction: str = "unlabeled around labeled", **numbers: int
) -> Figure:
    """The static picture; arguments as in `mix`."""
    view = CopyPasteView(images)
    view.show(box, direction, **numbers)
    return view.figure()


def copy_paste_explorer(
    labeled: np.ndarray,
    label: np.ndarray,
    unlabeled: np.ndarray,
    pseudo_label: np.ndarray,
    class_names: Sequence[str],
) -> Explorer:
    """Box, direction and images of bidirectional copy-paste.

    Args:
        labeled: Images (B, H, W), arrays or CPU tensors.
        label: Whole numbers (B, H, W), the labels of these.
        unlabeled: Images (B, H, W).
        pseudo_label: Whole numbers (B, H, W), what the teacher says of these.
        class_names: Background first.
    Returns:
        A box; bad input becomes a message in it.
    """
    from buarl.widgets.explorers import box as ui

    def build() -> Explorer:
        arrays = (np.asarray(values) for values in (labeled, label, unlabeled, pseudo_label))
        view = CopyPasteView(Images(*arrays, class_names))
        shape = view.images.labeled.shape[1:]
        size = sample_box(shape).size
        start = tuple((n - s) // 2 for n, s in zip(shape, size, strict=True))
        most = max(len(view.images.labeled), len(view.images.unlabeled))
        controls = {
            "direction": Choice("direction", list(DIRECTIONS), next(iter(DIRECTIONS))),
            "row": Slider("row", 0, shape[0] - size[0], start[0]),
            "column": Slider("column", 0, shape[1] - size[1], start[1]),
            "height": Slider("height", 0, shape[0], size[0]),
            "width": Slider("width", 0, shape[1], size[1]),
            "around": Slider("around", 1, most, 1),
            "inside": Slider("in the box", 1, most, min(2, most)),
            "draw": Button("Draw a box as BCP does"),
        }
        columns = {
            "Mixture": ("direction",),
            "Box, in pixels": ("row", "column", "height", "width", "draw"),
            "Images": ("around", "inside"),
        }

        def update(
            direction: str, row: int, column: int, height: int, width: int, around: int, inside: int
        ) -> str:
            start = min(row, shape[0] - height), min(column, shape[1] - width)  # keep it inside
            view.show(Box(start, (height, width)), direction, around - 1, inside - 1)
            return ""

        explorer = ui.Explorer(view, controls, update, columns)

        def bound(_: object = None) -> None:  # the corner may go as far as the box allows
            controls["row"].max = shape[0] - controls["height"].value
            controls["column"].max = shape[1] - controls["width"].value

        def drawn(_: object) -> None:
            box = sample_box(shape)
            with explorer.paused():
                controls["height"].value, controls["width"].value = box.size
                controls["row"].value, controls["column"].value = box.start
            explorer.refresh()

        controls["height"].observe(bound, "value")
        controls["width"].observe(bound, "value")
        controls["draw"].observe(drawn, "value")
        return explorer

    return ui.guarded(build)


def _pick(images: Images, kind: str, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    image, target = (
        (images.labeled, images.label)
        if kind == "labeled"
        else (images.unlabeled, images.pseudo_label)
    )
    number = min(number, len(image) - 1)
    return torch.as_tensor(image[number]), torch.as_tensor(target[number].astype(np.int64))


def _check(images: Images) -> None:
    shape = images.labeled.shape[1:]
    for name in ("labeled", "label", "unlabeled", "pseudo_label"):
        values = getattr(images, name)
        if values.ndim != 3:
            raise ValueError(
                f"{name} must be 2-D images (B, H, W), got shape {values.shape}; "
                "of a volume, give slices"
            )
        if not len(values) or values.shape[1:] != shape:
            raise ValueError(f"{name} must hold images of {shape}, got shape {values.shape}")
        live.check_finite(name, values)

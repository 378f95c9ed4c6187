"""Batch normalization over a batch in parts; in two processes it is in test_devices.py."""

from __future__ import annotations

import pytest
import torch
from test_whole_batch import Threads, in_parts
from torch import nn

from buarl.training.batch_norm import over_the_whole_batch
from buarl.whole_batch import WholeBatch, batch_in_parts


class Twice(WholeBatch):
    """Two parts that happen to hold the same images."""

    parts = 2

    def total(self, part):
        return 2 * part


class Doubled(Twice):
    """The same, for statistics that are laid side by side: both parts bring their own."""

    def total(self, part):
        return part + part.flip(0) if part.dim() == 3 else 2 * part


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(4, 3, 6, 5), (2, 3, 4, 4, 3), (8, 3)], ids=str)
def test_value_gradient_and_statistics_are_those_of_torch(shape, affine):
    """A batch that stands there twice has the statistics of one."""
    kind = {2: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[len(shape)]
    ours, theirs = (kind(3, affine=affine).double() for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    first = (3 + 2 * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_()
    second = torch.cat([first.detach(), first.detach()]).requires_grad_()
    pull = torch.randn(shape, generator=generator, dtype=torch.float64)
    with over_the_whole_batch(ours, 0), batch_in_parts(Doubled()):
        found = ours(first)
        (found * pull).sum().backward()
    expected = theirs(second)
    (expected * torch.cat([pull, pull])).sum().backward()
    torch.testing.assert_close(found, expected[: len(first)], atol=1e-12, rtol=0)
    torch.testing.assert_close(first.grad, second.grad[: len(first)], atol=1e-12, rtol=0)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, atol=1e-12, rtol=0)
    if affine:
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(2 * a.grad, b.grad, atol=1e-11, rtol=0)


def test_parts_with_different_images_take_the_statistics_of_all():
    image = torch.randn(4, 3, 6, 5, dtype=torch.float64) + torch.arange(4.0).view(4, 1, 1, 1)
    expected = nn.BatchNorm2d(3).double()(image)
    batches = {}

    def normalized(part):
        layer = nn.BatchNorm2d(3).double()
        number = batches["here"].place.number
        with over_the_whole_batch(layer, number):
            return layer(part)

    class Known(Threads):
        def __init__(self, parts):
            super().__init__(parts)
            batches["here"] = self

    for number, found in enumerate(in_parts(normalized, 2, image, batch=Known(2))):
        torch.testing.assert_close(found, expected[number::2], atol=1e-12, rtol=0)


@pytest.mark.parametrize("case", ["eval mode", "outside of a step", "after it"])
def test_elsewhere_a_layer_is_as_it_was(case):
    layer, image = nn.BatchNorm2d(3), torch.randn(2, 3, 4, 4)
    layer.train(case != "eval mode")
    with over_the_whole_batch(layer, 0):
        if case == "eval mode":
            with batch_in_parts(Twice()):
                found = layer(image)
        elif case == "outside of a step":
            found = layer(image)
    if case == "after it":
        found = layer(image)
    assert torch.equal(found, nn.BatchNorm2d(3).train(layer.training)(image))
    assert "forward" not in vars(layer)


def test_bf16_is_normalized_in_float32():
    layer, image = nn.BatchNorm2d(3), torch.randn(2, 3, 4, 4, dtype=torch.bfloat16)
    image.requires_grad_()
    with over_the_whole_batch(layer, 0), batch_in_parts(Doubled()):
        found = layer(image)
        found.float().square().mean().backward()
    assert found.dtype == image.grad.dtype == torch.bfloat16
    torch.testing.assert_close(found, nn.BatchNorm2d(3)(image), atol=0.02, rtol=0.02)

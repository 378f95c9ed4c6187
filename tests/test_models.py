"""The networks are those of the references by their parameter counts, and behave like networks."""

from __future__ import annotations

import pytest
import torch

from buarl.networks import UNet, VNet
from buarl.networks.vnet import Conv3d

SIZES = {UNet: (32, 48), VNet: (16, 32, 16)}
BOTH = pytest.mark.parametrize("model", [UNet, VNet])


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def small(model, **kwargs):
    torch.manual_seed(0)
    return model(num_classes=3, width=2, **kwargs)


def image_for(model, batch=2, channels=1):
    return torch.randn(batch, channels, *SIZES[model], generator=torch.Generator().manual_seed(1))


def test_unet_has_the_parameters_of_the_reference():
    net = UNet()
    assert count(net) == 1_813_764
    assert count(net.encoder) == 1_180_464
    assert count(net.reduce, net.decoder, net.head) == 633_300
    assert all(p.requires_grad for p in net.parameters())


def test_vnet_has_the_parameters_of_the_reference():
    net = VNet()
    assert count(net) == 9_448_866
    assert count(net.encoder, net.down) == 7_376_896
    assert count(net.up, net.decoder, net.head) == 2_071_970


@BOTH
@pytest.mark.parametrize("channels", [1, 2])
def test_logits_have_the_size_of_the_image(model, channels):
    logits = small(model, in_channels=channels)(image_for(model, channels=channels))
    assert logits.shape == (2, 3, *SIZES[model])
    assert logits.dtype == torch.float32
    assert logits.min() < 0 < logits.max()  # no activation on the head


@BOTH
@pytest.mark.parametrize("axis", [0, 1])
def test_sizes_that_16_does_not_divide_are_refused(model, axis):
    size = list(SIZES[model])
    size[axis] += 8
    with pytest.raises(ValueError, match=rf"multiples of 16, got \({', '.join(map(str, size))}\)"):
        small(model)(torch.zeros(1, 1, *size))


@BOTH
def test_eval_mode_is_deterministic_and_ignores_the_rest_of_the_batch(model):
    net, image = small(model), image_for(model)
    net(image)  # running statistics other than their start
    net.eval()
    first, second = net(image), net(image)
    assert torch.equal(first, second)
    torch.testing.assert_close(net(image[:1]), first[:1], atol=1e-5, rtol=1e-4)


@BOTH
def test_train_mode_drops_out(model):
    net, image = small(model), image_for(model)
    assert not torch.equal(net(image), net(image))


def test_vnet_drops_whole_channels_before_its_head():
    net = small(VNet)
    seen = []
    net.head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    for _ in range(8):
        net(image_for(VNet))
    feature = torch.cat(seen)  # (16, width, X, Y, Z)
    dropped = (feature == 0).flatten(2).all(2)
    assert 0.2 < dropped.float().mean() < 0.8


def test_vnet_drops_out_twice():
    net = small(VNet)
    seen = []
    net.dropout.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1]))
    net(image_for(VNet))
    assert seen == [32, 2]  # the deepest features, and those before the head


def test_unet_up_sampling_aligns_corners():
    net = small(UNet).eval()
    coarse, joined = [], []
    net.reduce[0].register_forward_hook(lambda module, inputs, output: coarse.append(output))
    net.decoder[0].register_forward_pre_hook(lambda module, inputs: joined.append(inputs[0]))
    net(image_for(UNet))  # 2 x 3 -> 4 x 6
    low, high = coarse[0], joined[0][:, 16:]
    torch.testing.assert_close(high[..., ::3, ::5], low[..., ::2])
    third = low[..., 0, :] + (low[..., 1, :] - low[..., 0, :]) / 3
    torch.testing.assert_close(high[..., 1, ::5], third[..., ::2])


@BOTH
def test_every_parameter_learns(model):
    net = small(model).eval()  # no dropout, so that nothing is cut off by chance
    net(image_for(model)).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert (parameter.grad != 0).any(), name


@BOTH
def test_the_seed_decides_the_weights(model):
    first, second = small(model).state_dict(), small(model).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@BOTH
def test_every_voxel_sees_the_skip_of_its_own_place(model):
    """A change of one voxel moves the logits there more than those far away."""
    net, image = small(model).eval(), image_for(model, batch=1)
    other = image.clone()
    other[(0, 0, *(0 for _ in SIZES[model]))] += 5
    change = (net(other) - net(image)).abs().sum(1)[0]
    assert change.flatten()[0] > 10 * change.flatten()[-1]


@pytest.mark.parametrize("planes", [1, 2, 3])
def test_bf16_gradients_are_finite_whatever_the_memory_held(planes):
    """oneDNN's own for two planes reads memory that nobody wrote; NaN is left lying about here."""
    torch.manual_seed(0)
    convolution = Conv3d(16, 32, 3, padding=1)
    feature = torch.randn(2, 16, planes, 4, 4)
    with torch.autocast("cpu", torch.bfloat16, enabled=False):
        (expected,) = torch.autograd.grad(convolution(feature).square().mean(), convolution.weight)
    for _ in range(20):
        litter = [torch.full((2**k,), torch.nan) for k in range(8, 18) for _ in range(4)]
        del litter
        with torch.autocast("cpu", torch.bfloat16):
            loss = convolution(feature).float().square().mean()
        (gradient,) = torch.autograd.grad(loss, convolution.weight)
        cosine = torch.cosine_similarity(gradient.flatten(), expected.flatten(), 0)
        assert cosine > 0.999  # NaN is not


@BOTH
def test_the_gradient_is_the_slope(model):
    net, image = small(model).eval(), image_for(model).double().requires_grad_()
    net.double()
    direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(2)).double()
    (gradient,) = torch.autograd.grad(net(image).square().sum(), image)
    moved = [net(image + s * 1e-6 * direction).square().sum() for s in (1, -1)]
    slope = (moved[0] - moved[1]) / 2e-6
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-5)

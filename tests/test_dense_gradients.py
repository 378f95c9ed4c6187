"""A network with dense gradients is the plain network, bit for bit."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from buarl.fast.dense_gradients import make_gradients_dense
from buarl.networks import UNet
from buarl.networks.vnet import VNetDecoder
from buarl.training.engine import Engine

CPU = torch.device("cpu")


def gradients(network, image):
    network.train().zero_grad()
    torch.manual_seed(0)  # dropout
    network(image).square().sum().backward()
    return [parameter.grad.clone() for parameter in network.parameters()]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("up_sampling", UNet.up_samplings)
def test_gradients_are_those_of_the_plain_network_bit_for_bit(up_sampling, layout):
    torch.manual_seed(0)
    network, image = UNet(4, 4), torch.randn(2, 1, 32, 48)

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk, self.decoder = network, network.new_decoder(up_sampling)

        def forward(self, image):
            features = self.trunk.encode(image)
            return self.trunk.head(self.trunk.decode(features)[-1]) + self.decoder(features)

    plain = Whole().to(memory_format=layout)
    fast = copy.deepcopy(plain)
    make_gradients_dense(fast)
    assert list(fast.state_dict()) == list(plain.state_dict())
    for ours, theirs in zip(gradients(fast, image), gradients(plain, image), strict=True):
        assert torch.equal(ours, theirs)


def test_a_network_in_an_engine_gets_them_once_and_keeps_them_in_copies():
    network = Engine(CPU, "fp32").place(UNet(4, 2))
    (hook,) = network.resize._forward_hooks.values()
    Engine(CPU, "fp32").place(network)
    assert list(network.resize._forward_hooks.values()) == [hook]
    assert list(copy.deepcopy(network).resize._forward_hooks.values()) == [hook]
    assert pickle.loads(pickle.dumps(hook)) is hook


@pytest.mark.parametrize("fast", [False, True])
def test_what_reaches_the_up_sampling_is_dense(fast):
    layer = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    if fast:
        make_gradients_dense(layer)
    seen = []
    feature = torch.randn(2, 3, 4, 4, requires_grad=True)
    grown = layer(feature)
    node = grown.grad_fn.next_functions[0][0] if fast else grown.grad_fn
    node.register_prehook(lambda given: seen.append(given[0].is_contiguous()))
    torch.cat([torch.zeros(2, 5, 8, 8), grown], 1).square().sum().backward()
    assert seen == [fast]


def test_volumes_are_left_alone():
    """There a convolution follows the up-sampling, and its gradient is dense."""
    decoder = VNetDecoder(2, 2, "trilinear")
    make_gradients_dense(decoder)
    (layer,) = (part for part in decoder.up[0] if isinstance(part, nn.Upsample))
    assert (
        "Upsample" in type(layer(torch.randn(1, 2, 2, 2, 2, requires_grad=True)).grad_fn).__name__
    )

"""Our dropout is `nn.Dropout` in all but the order of its draws."""

from __future__ import annotations

import pytest
import torch

from buarl.fast.dropout import Dropout


def drawn(p, *shape, seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    return Dropout(p)(torch.ones(shape, dtype=dtype))


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.999])
def test_the_share_p_is_dropped_and_the_mean_kept(p):
    values = drawn(p, 40, 50_000)
    error = 5 * (p * (1 - p) / values.numel()) ** 0.5
    assert (values == 0).double().mean() == pytest.approx(p, abs=error)
    kept = values[values != 0]
    assert (kept == kept[0]).all()
    assert kept[0].item() == pytest.approx(1 / (1 - p), rel=2e-2 if p > 0.99 else 1e-4)
    assert values.double().mean().item() == pytest.approx(1, abs=error / (1 - p))


def test_neighbours_are_dropped_independently():
    dropped = (drawn(0.5, 1_000_003) == 0).double()  # not a multiple of the values in a word
    for distance in (1, 2, 3, 4, 8, 64):
        both = (dropped[distance:] * dropped[:-distance]).mean()
        assert both == pytest.approx(0.25, abs=0.003), distance


def test_the_seed_decides_and_every_call_draws_anew():
    assert torch.equal(drawn(0.3, 999), drawn(0.3, 999))
    assert not torch.equal(drawn(0.3, 999), drawn(0.3, 999, seed=1))
    layer, feature = Dropout(0.3), torch.ones(999)
    assert not torch.equal(layer(feature), layer(feature))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_stays_is_scaled_in_every_precision(dtype):
    """In bf16, 1 / 0.95 itself is 1.0546875, 0.2 % too large."""
    values = drawn(0.05, 256, 257, dtype=dtype)
    feature = torch.linspace(0.5, 2, 256).to(dtype)[:, None].expand(256, 257)
    torch.manual_seed(0)
    out = Dropout(0.05)(feature)
    expected = (feature.double() / 0.95).to(dtype)
    where = values != 0
    tolerance = 2**-8 if dtype is torch.bfloat16 else 1e-5
    torch.testing.assert_close(out[where], expected[where], rtol=tolerance, atol=0)
    assert out.dtype == dtype


def test_the_gradient_passes_what_stays():
    feature = torch.randn(64, 65, requires_grad=True)
    out = Dropout(0.4)(feature)
    (gradient,) = torch.autograd.grad(out.sum(), feature)
    assert torch.equal(gradient == 0, out == 0)
    p_rounds = {"atol": 0, "rtol": 1e-4}  # 0.4 is 26214 of 65536
    torch.testing.assert_close(
        gradient[out != 0], torch.full_like(out, 1 / 0.6)[out != 0], **p_rounds
    )


@pytest.mark.parametrize("strided", [torch.channels_last, "slice", "transposed"])
def test_layouts(strided):
    feature = torch.rand(3, 4, 6, 8) + 1
    if strided == "slice":
        feature = feature[:, 1:3, ::2]
    elif strided == "transposed":
        feature = feature.transpose(1, 3)
    else:
        feature = feature.contiguous(memory_format=strided)
    out = Dropout(0.5)(feature)
    kept = out != 0
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(out[kept], 2 * feature[kept])
    if strided is torch.channels_last:
        assert out.stride() == feature.stride()


def test_eval_mode_and_the_ends_of_p():
    feature = torch.randn(5, 7)
    assert Dropout(0.5).eval()(feature) is feature
    assert torch.equal(Dropout(0.0)(feature), feature)
    assert not Dropout(1.0)(feature).any()
    assert Dropout(0.5)(torch.empty(0, 3)).shape == (0, 3)

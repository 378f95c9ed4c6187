"""Solutions of lesson 12: sharpening that sums to one, disagreement, when a pixel counts."""

# %% Exercise 1: sharpening that sums to one
from __future__ import annotations

import math

import torch

from buarl.lessons.check import check
from buarl.methods.mc_net.mutual import sharpen


def sharpen_together(probs, temperature):
    """Probabilities (B, C, *spatial) -> sharpened ones that sum to 1 over the classes."""
    powered = probs ** (1 / temperature)
    return powered / powered.sum(1, keepdim=True)


pixel = torch.tensor([[0.4, 0.3, 0.2, 0.1]])
print("alone:   ", [f"{p:.2f}" for p in sharpen(pixel)[0].tolist()])
print("together:", [f"{p:.2f}" for p in sharpen_together(pixel, 0.1)[0].tolist()])
# With two classes both are the same, which is why MC-Net could do without the sum on LA.
two = torch.rand(1, 1, 50, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
two = torch.cat([two, 1 - two], 1)
assert torch.allclose(sharpen_together(two, 0.1), sharpen(two), atol=1e-5)
assert check("12.1", sharpen_together).right


# %% Exercise 2: disagreement
def disagreement(predictions):
    """Probabilities (S, C) of one pixel, at S scales -> D of every scale, (S,), nats."""
    mean = predictions.mean(0)
    return (mean * (mean / predictions).log()).sum(1)


agreed = torch.tensor([[0.9, 0.1]]).repeat(4, 1)
assert disagreement(agreed).abs().max() < 1e-6
# Excluding what the others believe in costs more than believing in what they exclude.
excludes, believes = disagreement(torch.tensor([[0.01, 0.99], [0.6, 0.4]])).tolist()
assert excludes > believes
assert check("12.2", disagreement).right

# %% Exercise 3: when does it begin to teach?
entropy = -(0.7 * math.log(0.7) + 0.3 * math.log(0.3))  # nats
rise = (entropy / math.log(2) - 0.75) / 0.25  # what exp(-5 (1 - t)^2) has to be
share = 1 - math.sqrt(-math.log(rise) / 5)
print(f"entropy {entropy:.3f} nats; it counts after {share:.0%} of the run")
# Torn evenly between two classes: rise is 1, reached at the very end and not exceeded.
assert check("12.3", share).right

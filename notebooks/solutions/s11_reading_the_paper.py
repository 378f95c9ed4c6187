"""Solutions to the exercises of lesson 11: a fair alpha, missing rows, scope."""

# %% Exercise 1: a fair alpha
from dataclasses import replace

import torch

import buarl
from buarl.lessons.check import check
from buarl.results.paper import table_rows


def fair_alpha(q):
    """From (alpha / (1 - q)) = 1 / q; every pixel then weighs 1 / (q N), with q as a fraction."""
    return (100 - q) / q, 100 / q


assert check("11.1", fair_alpha).right

torch.manual_seed(0)
logits = torch.randn(4, 4, 64, 64) * torch.rand(4, 1, 64, 64) * 4
label = torch.randint(0, 4, (4, 64, 64))
probs = logits.softmax(1)
alpha, multiple = fair_alpha(99)
regions = buarl.crl(99, alpha=alpha)(probs)
per_region = buarl.region_loss(logits, label, regions, reduction="region", ce_share=1.0)
plain = torch.nn.functional.cross_entropy(logits, label)
assert torch.isclose(per_region, multiple * plain, rtol=1e-3)

# The same by counting, with the paper's alpha: a pixel's weight is its region's over its size.
uncertain, certain = buarl.crl(99)(probs)
weights = [region.weight / int(region.mask.sum()) for region in (uncertain, certain)]
assert abs(weights[0] / weights[1] - 49.5) < 0.5
print(f"exercise 1: alpha {alpha:.4f}, and the loss is {multiple:.4f} times the plain mean")


# %% Exercise 2: the missing rows of Table 5
def missing_rows(rows):
    """All pairs of 95, 97 and 99 that are not there, as data."""
    base = rows["95, 95"]
    return {
        f"{u}, {c}": replace(base, labeled_rule=buarl.url(u), unlabeled_rule=buarl.crl(c))
        for u in (95, 97, 99)
        for c in (95, 97, 99)
        if f"{u}, {c}" not in rows
    }


assert check("11.2", missing_rows).right
found = missing_rows(table_rows(5))
for row in found.values():
    assert buarl.Experiment.from_dict(row.as_dict()) == row  # survives JSON
print("exercise 2:", "; ".join(found))

# %% Exercise 3: one hard and one easy image
shares = 0.10, 0.05
assert check("11.3", shares).right

hard, easy = torch.randn(2, 1, 4, 64, 64)
batch = torch.cat([0.2 * hard, 20 + 0 * easy]).softmax(1)
batch[1] = (20 * torch.eye(4)[torch.randint(4, (64, 64))]).movedim(-1, 0).softmax(0)  # sure
batch[1] += 1e-6 * torch.rand(4, 64, 64)  # no ties
batch[1] /= batch[1].sum(0)
for scope, expected in zip(("batch", "image"), shares, strict=True):
    uncertain = buarl.url(95, scope=scope)(batch)[0].mask
    share = uncertain[0].float().mean().item()
    assert abs(share - expected) < 0.001
    print(f"exercise 3: scope {scope}: {100 * share:.1f} % of the hard image are uncertain")

"""Solutions of notebook 11: a fair alpha, the missing rows, the scope of the percentile."""

# %% Exercise 1: a fair alpha
from dataclasses import replace

import torch

import buarl
from buarl.entropy import entropy_of_probs
from buarl.results.paper import table_rows

torch.manual_seed(0)
logits = torch.randn(4, 4, 64, 64) * torch.rand(4, 1, 64, 64) * 4
label = torch.randint(0, 4, (4, 64, 64))
probs = logits.softmax(1)

q = 0.99
fair = (1 - q) / q  # from (alpha / (1 - q)) / (1 / q) = 1
print(f"fair alpha at q = 99: {fair:.4f}; at q = 95: {0.05 / 0.95:.4f}")

cross_entropy = torch.nn.functional.cross_entropy(logits, label, reduction="none")
uncertain, certain = buarl.crl(99, alpha=fair)(probs)
per_region = sum(r.weight * cross_entropy[r.mask].mean() for r in (uncertain, certain))
# Weights 1 / |certain| everywhere: the plain mean times N / |certain| = 1 / q.
assert torch.isclose(per_region, cross_entropy.mean() / q, rtol=1e-3)

# The same by counting: a voxel's weight is its region's weight over the region's size.
voxels = [int(r.mask.sum()) for r in (uncertain, certain)]
weight = [r.weight / count for r, count in zip((uncertain, certain), voxels, strict=True)]
assert abs(weight[0] / weight[1] - 1) < 0.01
# With the paper's alpha = 0.5 instead:
assert abs(0.5 / voxels[0] * voxels[1] - 49.5) < 0.5

# %% Exercise 2: the missing rows of Table 5
rows = table_rows(5)
base = rows["95, 95"]
rows |= {
    f"{u}, {c}": replace(base, labeled_rule=buarl.url(u), unlabeled_rule=buarl.crl(c))
    for u, c in ((99, 95), (97, 95), (95, 97), (97, 97), (97, 99), (99, 97))
}
print(len(rows), "rows:", "; ".join(rows))
assert len(rows) == 9  # all pairs of 95, 97, 99
for name, row in rows.items():
    pair = tuple(map(int, name.split(", ")))
    assert (row.labeled_rule.percentile, row.unlabeled_rule.percentile) == pair
    assert (row.method, row.source, row.labeled, row.preset) == ("bcp", "acdc", 7, "paper")
    assert buarl.Experiment.from_dict(row.as_dict()) == row

# %% Exercise 3: one hard and one easy image
hard, easy = torch.randn(2, 1, 4, 64, 64)
batch = torch.cat([0.5 * hard, 8 * easy]).softmax(1)  # small logits: unsure everywhere
entropy = entropy_of_probs(batch)
assert entropy[0].mean() > entropy[1].mean()

for scope in ("batch", "image"):
    uncertain = buarl.url(95, scope=scope)(batch)[0].mask
    shares = uncertain.float().mean((1, 2)).tolist()
    print(f"scope {scope}: hard {100 * shares[0]:.1f} %, easy {100 * shares[1]:.1f} % uncertain")
    if scope == "batch":
        assert shares[0] > 0.09
        assert shares[1] < 0.01
    else:
        assert abs(shares[0] - shares[1]) < 0.002

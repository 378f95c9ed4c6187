"""Hashes of the weights of every method after three toy steps: did a change touch a bit?

    python tools/weight_hashes.py > before.txt    (change the code)    ... > after.txt; diff

Every method in 2-D and 3-D, plain and with URL + CRL. The hashes are of one machine and one torch:
compare two files made on the same one.
"""

from __future__ import annotations

import hashlib

import torch

import buarl

RULES = {
    "whole": {},
    "url+crl": {"labeled_rule": buarl.url(80), "unlabeled_rule": buarl.crl(80)},
}


def weight_hash(method: str, source: buarl.data.source.Source, rules: dict) -> str:
    row = buarl.Experiment(method, source=source.name, labeled=6, **rules)
    network = buarl.build_method(row, source.num_classes)
    buarl.fit(network, source, buarl.config_for(row).shortened(3))
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def main() -> None:
    torch.set_num_threads(1)
    for name in ("phantom", "phantom_la"):
        source = buarl.open_source(name)
        for method in sorted(buarl.METHODS):
            for title, rules in RULES.items():
                used = dict(rules)
                if method == "supervised":
                    used.pop("unlabeled_rule", None)
                print(f"{name:10} {method:12} {title:7} {weight_hash(method, source, used)}")


if __name__ == "__main__":
    main()

"""`python -m tools.fuzz --seconds 60 --seed 7`; `--only nifti:123` repeats one input."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

from .campaign import FAULTS, KINDS, Campaign, one


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--inputs", type=int, help="so many and no more")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--only", metavar="KIND:NUMBER", help="repeat one input of a seed")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.only:
        kind, number = asked.only.split(":")
        with tempfile.TemporaryDirectory() as place:
            verdict, what, said = one(kind, int(number), asked.seed, Path(place))
        print(f"{verdict}: {kind}: {what}\n    {said}")
        return int(verdict in FAULTS)
    print(
        f"seed {asked.seed}, {asked.seconds:g} s; --seed {asked.seed} repeats all of it", flush=True
    )
    campaign = Campaign(asked.kinds, asked.seed, lambda text: print(text, flush=True))
    campaign.run(asked.seconds, asked.inputs)
    print(campaign.table())
    return int(bool(campaign.faults))


if __name__ == "__main__":
    sys.exit(main())

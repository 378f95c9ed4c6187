"""Train and score the rows of the ACDC ledger, one after another, and enter them into results/.

    python tools/run_ledger.py ACDC_FOLDER [--runs DIR] [--threads N] [NAME ...]
    python tools/run_ledger.py --table           only rewrite results/README.md

A row that is in the ledger is skipped, an interrupted one is resumed, so the command can be given
again until nothing is left.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from buarl.config import Experiment, config_for
from buarl.data.source import open_source
from buarl.evaluate import ceiling, summary
from buarl.regions import crl, url
from buarl.run import run_experiment
from buarl.score import score_run
from buarl.table import text_table
from buarl_lab.results import add_to_ledger, ledger_table, read_ledger

RESULTS = Path(__file__).resolve().parent.parent / "results"
URL_CRL = {"labeled_rule": url(95), "unlabeled_rule": crl(99)}
REGION = {"labeled_reduction": "region", "unlabeled_reduction": "region"}
PSEUDO = {"method": "mean_teacher", "options": {"unsupervised": "pseudo_label"}}
ROWS: dict[str, dict] = {
    "supervised": {"method": "supervised"},
    "bcp": {"method": "bcp"},
    "bcp_url_crl_voxel": {"method": "bcp", **URL_CRL},
    "bcp_url_crl_region": {"method": "bcp", **URL_CRL, **REGION},
    "mean_teacher": {"method": "mean_teacher"},
    "mean_teacher_pseudo_label": PSEUDO,
    "mean_teacher_url_crl_voxel": {**PSEUDO, **URL_CRL},
    "mean_teacher_url_crl_region": {**PSEUDO, **URL_CRL, **REGION},
    "bcp_crl_region": {
        "method": "bcp",
        "unlabeled_rule": crl(99),
        "unlabeled_reduction": "region",
    },
    "bcp_url_voxel_crl_region": {"method": "bcp", **URL_CRL, "unlabeled_reduction": "region"},
}
for name in ("ua_mt", "sassnet", "dtc", "urpc", "mc_net", "ss_net"):  # the compared methods
    ROWS |= {name: {"method": name}, f"{name}_url_crl_voxel": {"method": name, **URL_CRL}}
HEAD = """# Ledger of runs

One file per finished run, made by `python tools/run_ledger.py FOLDER`: the row, its numbers, the
environment, the selection rule, the metric definition, seconds per stage, every case. The same tool
writes this page. The paper's full schedules stand in notebook 08.

## ACDC, preset mini (128x128, batch 12+12, 1000 steps a stage), 7 labeled patients, seed 1337

20 validation volumes; last checkpoint, nothing selected; Dice and Jaccard 0-1 in 3-D, mean over
cases, then over 3 classes; 95HD and ASD in voxels (MedPy's definitions), a missed structure counts
as the image diagonal. "region" and "voxel" name the normaliser of both terms; url at q = 95, crl at
q = 99, alpha 0.5. **One seed:** the spread between seeds is not measured yet, so no difference
here is called a gain. Hours are of a shared machine; MiB are the most that the training process
held, data included, "-" where it was not recorded.
"""


def experiment(name: str) -> Experiment:
    return Experiment(source="acdc", preset="mini", labeled=7, seed=1337, **ROWS[name])


def run_row(name: str, source, runs: Path) -> None:
    folder, row = runs / name, experiment(name)
    run_experiment(row, source, folder, resume=folder.exists(), progress=True)
    score(name, folder, source)


def score(name: str, folder: Path, source) -> None:
    scored = score_run(folder, source.root)
    add_to_ledger(RESULTS, name, folder)
    print(name, text_table({name: summary(scored.rows)}), sep="\n")


def write_page(limit: str) -> None:
    page = RESULTS / "README.md"
    if not limit and page.is_file():
        limit = page.read_text().partition("## Ceiling\n\n")[2].strip()
    table = ledger_table({name: experiment(name) for name in ROWS}, read_ledger(RESULTS))
    page.write_text(f"{HEAD}\n{table}\n\n## Ceiling\n\n{limit}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_intermixed_args()
    limit = ""
    if not options.table:
        torch.set_num_threads(options.threads)
        source = open_source("acdc", options.root)
        best = summary(ceiling(source, "val", config_for(experiment("bcp"))))
        limit = "The ground truth sent to 128x128 and back by nearest neighbour:\n\n"
        limit += text_table({"ceiling": best})
        done = {entry["name"] for entry in read_ledger(RESULTS)}
        for name in options.names or [name for name in ROWS if name not in done]:
            run_row(name, source, options.runs)
    write_page(limit)


if __name__ == "__main__":
    main()

"""Train and score the rows of the ledger, one after another, and enter them into results/.

    python tools/run_ledger.py FOLDER [--source acdc|la] [--runs DIR] [--threads N] [NAME ...]
    python tools/run_ledger.py FOLDER NAME --seeds 1337 1338 [--precision P]   into results/seeds/
    python tools/run_ledger.py --table           only rewrite results/README.md

A row that is in the ledger is skipped, an interrupted one is resumed, so the command can be given
again until nothing is left.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import torch

from buarl.data.source import Source, open_source
from buarl.evaluation.evaluate import ceiling
from buarl.evaluation.score import score_run
from buarl.evaluation.scores import summary
from buarl.methods import METHODS
from buarl.regions import crl, url
from buarl.results.ledger import add_to_ledger, ledger_table, read_ledger, spread_table
from buarl.results.table import text_table
from buarl.training.config import Experiment, config_for
from buarl.training.engine import Precision, choose_engine
from buarl.training.run import run_experiment

RESULTS = Path(__file__).resolve().parent.parent / "results"
SEEDS = RESULTS / "seeds"
URL_CRL = {"labeled_rule": url(95), "unlabeled_rule": crl(99)}
REGION = {"labeled_reduction": "region", "unlabeled_reduction": "region"}
PSEUDO = {"method": "mean_teacher", "options": {"unsupervised": "pseudo_label"}}
ACDC_ROWS: dict[str, dict] = {
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
for name in METHODS:  # those that have no rows above are compared plain, and with both rules
    if name not in ACDC_ROWS:
        ACDC_ROWS |= {name: {"method": name}, f"{name}_url_crl_voxel": {"method": name, **URL_CRL}}
URL_CRL_LA = {"labeled_rule": url(95), "unlabeled_rule": crl(95)}
LA_ROWS: dict[str, dict] = {
    "la_supervised": {"method": "supervised"},
    "la_supervised_url_voxel": {"method": "supervised", "labeled_rule": url(95)},
    "la_mean_teacher": {"method": "mean_teacher"},
    "la_mean_teacher_pseudo_label": PSEUDO,
    "la_mean_teacher_url_crl_voxel": {**PSEUDO, **URL_CRL_LA},
    "la_bcp": {"method": "bcp"},
    "la_bcp_url_crl_voxel": {"method": "bcp", **URL_CRL_LA},
}
ROWS = {"acdc": ACDC_ROWS, "la": LA_ROWS}
LABELED = {"acdc": 7, "la": 8}
HEAD = """# Ledger of runs

One file per finished run, made by `python tools/run_ledger.py FOLDER`: the row, its numbers, the
environment, the selection rule, the metric definition, seconds per stage, every case. The same tool
writes this page. The paper's full schedules stand in notebook 14. **One seed a row**, so no
difference here is called a gain; the last section says how far seeds lie apart, where that has been
measured. Hours are of a shared machine;
MiB are the most that the training process held, data included, "-" where it was not recorded.
"""
SECTIONS = {
    "acdc": """## ACDC, preset mini, 7 labeled patients, seed 1337

128x128, batch 12+12, 1000 steps a stage. 20 validation volumes; last checkpoint, nothing selected;
Dice and Jaccard 0-1 in 3-D, mean over cases, then over 3 classes; 95HD and ASD in voxels (MedPy's
definitions), a missed structure counts as the image diagonal. "region" and "voxel" name the
normaliser of both terms; url at q = 95, crl at q = 99, alpha 0.5.
""",
    "la": """## LA, preset mini, 8 labeled scans, seed 1337

Half resolution, every volume standardised once more, patch 64x64x32, V-Net of width 8, 400 steps a
stage, Adam, polynomial decay (the published step decay would leave a run this short 70 steps at its
full rate). Trained on the first 70 scans of the public training list, 8 of them labeled; evaluated
on its last 10, whole volumes at full resolution, sliding window with a stride of half a patch, no
largest component; last checkpoint, nothing selected. The public files are cropped around the label.
The preset's numbers (resolution, standardising) were chosen with plain supervision on these same
10 scans, as there are no others. Metrics as above; url and crl at q = 95, alpha 0.5.
""",
}


SPREAD = """## Between seeds

Mean and standard deviation (n - 1) between seeds of a row; all else as in its table above. Their
files lie in `seeds/`, made by one commit each, later than the tables': the random stream of
dropout is another one since. A difference between two rows above that is within this spread says
nothing. The precision bf16_backward, gradients of convolutions in bf16, was removed since: no
machine was a fifth faster with it. Its row stays as history.
"""


def experiment(name: str, seed: int = 1337) -> Experiment:
    source = "la" if name in LA_ROWS else "acdc"
    row = ROWS[source][name]
    return Experiment(source=source, preset="mini", labeled=LABELED[source], seed=seed, **row)


def run_row(
    name: str, source: Source, runs: Path, row: Experiment, ledger: Path, precision: Precision
) -> None:
    folder = runs / name
    how = {"resume": folder.exists(), "precision": precision, "progress": True}
    run_experiment(row, source, folder, **how)
    scored = score_run(folder, source.root)
    add_to_ledger(ledger, name, folder)
    print(name, text_table({name: summary(scored.rows)}), sep="\n")


def ceiling_of(source: Source) -> str:
    config = config_for(experiment(next(iter(ROWS[source.name]))))
    best = text_table({"ceiling": summary(ceiling(source, "val", config))})
    return f"The ground truth sent to training resolution and back by nearest neighbour:\n\n{best}"


def write_page(ceilings: Mapping[str, str]) -> None:
    """Sections not named in `ceilings` keep the one they have."""
    page, ledger = RESULTS / "README.md", read_ledger(RESULTS)
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    parts = [HEAD]
    for source, head in SECTIONS.items():
        title = head.partition(",")[0]  # "## ACDC"
        kept = old.partition(title)[2].partition("### Ceiling\n\n")[2].partition("\n## ")[0].strip()
        table = ledger_table({name: experiment(name) for name in ROWS[source]}, ledger)
        parts.append(f"{head}\n{table}\n\n### Ceiling\n\n{ceilings.get(source, kept)}\n")
    rows = {name: experiment(name) for source in ROWS for name in ROWS[source]}
    parts.append(f"{SPREAD}\n{spread_table(rows, read_ledger(SEEDS))}\n")
    page.write_text("\n".join(parts), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--source", choices=sorted(ROWS), default="acdc")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", nargs="+", type=int, default=[])
    parser.add_argument("--precision", choices=get_args(Precision), default="auto")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_intermixed_args()
    if options.precision != "auto" and not options.seeds:
        parser.error("--precision needs --seeds: the tables of results/ are of fp32")
    precision = choose_engine(precision=options.precision if options.seeds else "fp32").precision
    named = [precision] if precision != "fp32" else []
    ceilings = {}
    if not options.table:
        torch.set_num_threads(options.threads)
        source = open_source(options.source, options.root)
        ceilings[options.source] = ceiling_of(source)
        done = {entry["name"] for entry in read_ledger(RESULTS)}
        for name in options.names or [name for name in ROWS[options.source] if name not in done]:
            if not options.seeds:
                run_row(name, source, options.runs, experiment(name), RESULTS, precision)
            for seed in options.seeds:
                row, title = experiment(name, seed), "_".join([name, *named, str(seed)])
                run_row(title, source, options.runs, row, SEEDS, precision)
    write_page(ceilings)


if __name__ == "__main__":
    main()

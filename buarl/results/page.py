"""The page of the committed ledger, `results/README.md`, made from its files and from nothing else.

Its rows are those that were run before whole tables could be planned; `buarl table N` lays the same
files out as the paper's tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from buarl.methods import METHODS
from buarl.regions import crl, url
from buarl.results.ledger import ledger_table, read_ledger, spread_table
from buarl.results.measured import plain_experiment, runs_of
from buarl.training.config import Experiment

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
for name in METHODS:  # plain alone; what both rules do there is asked under quick
    if name not in ("supervised", "mean_teacher", "bcp"):
        LA_ROWS[f"la_{name}"] = {"method": name}
ROWS = {"acdc": ACDC_ROWS, "la": LA_ROWS}
LABELED = {"acdc": 7, "la": 8}
HEAD = """# Ledger of runs

One file per finished run, as `buarl plan` enters it: the row, its numbers, the environment, the
selection rule, the metric definition, seconds per stage, every case. `python -m tools.make_results`
writes this page from them. What the paper's full schedules would cost stands in lesson 14; none has
been run. **One seed a row** in the tables of mini, so no difference there is called a gain; the
last section says how far seeds lie apart, where that has been measured. Hours are of a shared
machine; MiB are the most that the training process held, data included, "-" where that was not
recorded.
"""
SECTIONS = {
    "acdc": """## ACDC, preset mini, 7 labeled patients, seed 1337

128x128, batch 12+12, 1000 steps a stage. 20 validation volumes; last checkpoint, nothing selected;
Dice and Jaccard 0-1 in 3-D, mean over cases, then over 3 classes; 95HD and ASD in voxels (MedPy's
definitions), a missed structure counts as the image diagonal. "region" and "voxel" name the
normalizer of both terms; url at q = 95, crl at q = 99, alpha 0.5.
""",
    "la": """## LA, preset mini, 8 labeled scans, seed 1337

Half resolution, every volume standardized once more, patch 64x64x32, V-Net of width 8, 400 steps a
stage, Adam, polynomial decay (the published step decay would leave a run this short 70 steps at its
full rate). Trained on the first 70 scans of the public training list, 8 of them labeled; evaluated
on its last 10, whole volumes at full resolution, sliding window with a stride of half a patch, no
largest component; last checkpoint, nothing selected. The public files are cropped around the label.
The preset's numbers (resolution, standardizing) were chosen with plain supervision on these same
10 scans, as there are no others. Metrics as above; url and crl at q = 95, alpha 0.5.
""",
}


SPREAD = """## Between seeds

Mean and standard deviation (n - 1) between seeds of a row; all else as in its table above. Their
files lie in `seeds/`; each names its commit ("-dirty": with changes that were not committed yet),
later than those of the tables: the random stream of dropout is another one since, so a seed of a
table and the same seed here are two draws. A difference between two rows above that is within this
spread says nothing. The precision bf16_backward, gradients of convolutions in bf16, was removed
since: no machine was a fifth faster with it. Its row stays as history.
"""

QUICK = """## ACDC, preset quick, 7 labeled patients, or 3 where the row says so

128x128, batch 6+6, 4,000 and 8,000 steps, one cycle of the rate, strong views: docs/quick.md. All
else as in the first table; the files lie in `seeds/`. Rows of 4,000 + 4,000 steps are of a Xeon,
that of CRL alone is of a Zen 3, the others are of a Zen 5: one seed of plain BCP ended half a point
apart on the first and the last.
"""


QUICK_LA = """## LA, preset quick, 8 labeled scans

Half resolution, patch 64x64x32, V-Net of width 16, 600 and 1,400 steps, one cycle of the rate,
strong views: docs/quick.md. All else as in the table of LA above; the files lie in `seeds/`.
"""


def quick_rows(source: str) -> dict[str, Experiment]:
    """The rows of preset quick that have runs, by the beginnings of their names.

    Args:
        source: "acdc" or "la".
    """
    shared = {"source": source, "preset": "quick", "labeled": LABELED[source]}
    if source == "la":
        return {
            "quick_la_bcp": Experiment("bcp", **shared),
            "quick_la_bcp_url_crl_voxel": Experiment("bcp", **URL_CRL_LA, **shared),
        }
    half = {**shared, "set": {"steps": 4000}}
    return {
        "quick_bcp": Experiment("bcp", **shared),
        "quick_bcp_crl_voxel": Experiment("bcp", unlabeled_rule=crl(99), **shared),
        "quick_bcp_url_crl_voxel": Experiment("bcp", **URL_CRL, **shared),
        "quick_bcp_url_crl_region": Experiment("bcp", **URL_CRL, **REGION, **shared),
        "quick_mean_teacher": Experiment("mean_teacher", **shared),
        "quick_mean_teacher_url_crl_voxel": Experiment(**PSEUDO, **URL_CRL, **shared),
        "quick_bcp_3_labeled": Experiment("bcp", **{**shared, "labeled": 3}),
        "quick_bcp_4000_4000": Experiment("bcp", **half),
        "quick_bcp_url_crl_voxel_4000_4000": Experiment("bcp", **URL_CRL, **half),
    }


def _quick(head: str, source: str, ledger: list[dict[str, Any]]) -> str:
    """Every run of preset quick, and what lies between the seeds of a row."""
    plain = [{**entry, "experiment": plain_experiment(entry["experiment"])} for entry in ledger]
    rows, named = quick_rows(source), {}
    for name, row in rows.items():
        for run in runs_of(row, plain):
            seed = run["experiment"]["seed"]
            named[f"{name}, seed {seed}"] = replace(row, seed=seed)
    spread = spread_table(rows, plain)
    several = f"\n{spread}\n" if len(spread.splitlines()) > 2 else ""
    return f"{head}\n{ledger_table(named, plain)}\n{several}"


def ledger_rows(source: str, seed: int = 1337) -> dict[str, Experiment]:
    """The rows of the committed ledger on a data set, by the names of their files.

    Args:
        source: "acdc" or "la".
        seed: Of every row.

    >>> list(ledger_rows("acdc"))[:2]
    ['supervised', 'bcp']
    """
    shared = {"source": source, "preset": "mini", "labeled": LABELED[source], "seed": seed}
    return {name: Experiment(**shared, **row) for name, row in ROWS[source].items()}


def ledger_page(results: Path, ceilings: Mapping[str, str] | None = None) -> str:
    """The whole page.

    Args:
        results: The committed ledger.
        ceilings: By data set what stands under "Ceiling", which needs the data; sections that are
            not named keep what they have.
    """
    page = Path(results) / "README.md"
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    ledger, parts, given = read_ledger(results), [HEAD], dict(ceilings or {})
    seeds = read_ledger(Path(results) / "seeds")
    for source, head in SECTIONS.items():
        title = head.partition(",")[0]  # "## ACDC"
        kept = old.partition(title)[2].partition("### Ceiling\n\n")[2].partition("\n## ")[0].strip()
        rows = ledger_rows(source)
        below = [name for name in rows if name in spread_table({name: rows[name]}, seeds)]
        table = ledger_table(rows, ledger, below)
        parts.append(f"{head}\n{table}\n\n### Ceiling\n\n{given.get(source, kept)}\n")
    rows = {name: row for source in ROWS for name, row in ledger_rows(source).items()}
    parts += [_quick(QUICK, "acdc", seeds), _quick(QUICK_LA, "la", seeds)]
    parts.append(f"{SPREAD}\n{spread_table(rows, seeds)}\n")
    return "\n".join(parts)

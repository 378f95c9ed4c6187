"""Write results/README.md, and the tables of README and docs/results.md, from the committed runs:
`python -m tools.make_results`.

With FOLDERs the ceilings are computed anew: `python -m tools.make_results acdc=FOLDER la=FOLDER`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from buarl.data.source import open_source
from buarl.evaluation.evaluate import ceiling
from buarl.evaluation.scores import summary
from buarl.results.measured import read_results
from buarl.results.page import ledger_page, ledger_rows
from buarl.results.table import text_table
from buarl.training.config import config_for
from tools.page_tables import TABLES, filled

RESULTS = Path(__file__).resolve().parent.parent / "results"


def ceiling_of(name: str, root: str) -> str:
    config = config_for(next(iter(ledger_rows(name).values())))
    best = text_table({"ceiling": summary(ceiling(open_source(name, root), "val", config))})
    return f"The ground truth sent to training resolution and back by nearest neighbor:\n\n{best}"


def main() -> None:
    pairs = (word.partition("=") for word in sys.argv[1:])
    ceilings = {name: ceiling_of(name, root) for name, _, root in pairs}
    page = ledger_page(RESULTS, ceilings)
    (RESULTS / "README.md").write_text(page, encoding="utf-8")
    results = read_results(RESULTS)
    for name, tables in TABLES.items():
        path = RESULTS.parent / name
        text = filled(path.read_text(encoding="utf-8"), tables, results)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

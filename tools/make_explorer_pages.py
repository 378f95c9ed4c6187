"""Write the explorers that the book shows as pages: figures/explorer_metrics.html, _regions.html.

python tools/make_explorer_pages.py      part of `make figures`; everything in them is synthetic
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from buarl import config_for
from buarl.data.batches import Batches
from buarl.data.source import open_source
from buarl.dice import DICE_SSL4MIS
from buarl.lessons.rows import LESSON_SOURCE, lesson_row
from buarl.lessons.trained import trained
from buarl.widgets.explorer_page import metric_data, region_data, write_explorer_page
from buarl.widgets.explorers.definitions import Blob
from buarl.widgets.explorers.metrics import metric_explorer
from buarl.widgets.explorers.region_terms import Term, method_terms
from buarl.widgets.explorers.regions import region_explorer

FIGURES = Path(__file__).resolve().parent.parent / "figures"
SHOWN, MIDDLE = 2, slice(24, 104)  # images, and the middle of 128 rows and columns


def metrics() -> None:
    row, column = np.mgrid[:64, :64]
    disc = ((row - 32) ** 2 + (column - 20) ** 2 < 12**2).astype(np.int64)
    explorer = metric_explorer(disc, disc, blob=Blob(row=32, column=54, radius=2))
    note = "A prediction that is perfect but for a stray blob: move it, and watch each definition."
    data = metric_data(disc, disc)
    write_explorer_page(FIGURES / "explorer_metrics.html", explorer, data, "Metrics", note)


def regions() -> None:
    source = open_source(LESSON_SOURCE)
    row = lesson_row("BCP + URL + CRL", source)
    config, method = config_for(row), trained(row, source)
    batches = Batches(source, config.labeled, config.image_size)
    batch = batches.batch((config.seed, 1), 5, SHOWN, SHOWN)
    terms = [
        Term(*(values[..., MIDDLE, MIDDLE] for values in t)) for t in method_terms(method, batch)
    ]
    note = (
        "A trained network of the lessons on synthetic hearts, the middle of two labeled and two "
        "unlabeled slices: choose rules and normalizers, and watch what the loss is made of."
    )
    data = region_data(*terms, DICE_SSL4MIS)
    explorer = region_explorer(*terms)
    write_explorer_page(FIGURES / "explorer_regions.html", explorer, data, "Regions", note)


def main() -> int:
    metrics()
    regions()
    return 0


if __name__ == "__main__":
    sys.exit(main())

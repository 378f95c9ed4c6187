"""The threshold scrubber and the explorers; they need `pip install "buarl[notebooks]"`."""

from buarl.widgets.explorers.cases import case_browser
from buarl.widgets.explorers.copy_paste import copy_paste_explorer
from buarl.widgets.explorers.definitions import Blob
from buarl.widgets.explorers.metrics import metric_explorer
from buarl.widgets.explorers.region_terms import method_terms
from buarl.widgets.explorers.regions import region_explorer
from buarl.widgets.later import Later, fill_later
from buarl.widgets.scrub import Scrubber, lesson_scrubber, read_page, run_scrubber, scrubber
from buarl.widgets.threshold import PERCENTILES, ThresholdView, read_threshold

__all__ = [
    "PERCENTILES",
    "Blob",
    "Later",
    "Scrubber",
    "ThresholdView",
    "case_browser",
    "copy_paste_explorer",
    "fill_later",
    "lesson_scrubber",
    "method_terms",
    "metric_explorer",
    "read_page",
    "read_threshold",
    "region_explorer",
    "run_scrubber",
    "scrubber",
]

"""One offline page about runs: curves, tables, premise, worst cases, and the scrubber."""

from buarl.widgets.run_page.page import readable_runs, run_page, write_run_page

__all__ = ["readable_runs", "run_page", "write_run_page"]

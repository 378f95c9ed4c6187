"""`buarl show RUN [RUN ...]`: one offline page about runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from buarl.commands.console import say, sentence
from buarl.commands.words import Places
from buarl.outside import load_code


@dataclass
class Show:
    """One offline page about runs: curves, scores, premise, worst cases, scrubber."""

    run_folders: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folders, finished or in training."""
    out: Path | None = None
    """The page, whose folder is made; without it show.html in the folder of the first run."""
    root: Path | None = None
    """Folder of the data, if it has moved."""
    code: Places = ()
    """Code of your own that a run was trained with. A run folder alone never imports any."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice."""

    def run(self) -> None:
        """Write the page, say what was left out, and print its path."""
        from buarl.widgets.run_page import write_run_page

        if self.out is not None and self.out.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"{self.out}: the name of a page must end in .html")
        page, faults = write_run_page(
            self.run_folders, self.out, root=self.root, code=[load_code(p) for p in self.code]
        )
        for fault in faults:
            say(f"left out: {fault}")
        print(page)


def page_of(folder: Path, root: Path | None, places: Sequence[str]) -> Path | None:
    """The page of a run that has just ended; a page that cannot be written fails no training.

    Args:
        folder: The run folder. root: Where its data lie. places: Code that it was trained with.
    """
    from buarl.widgets.run_page import write_run_page

    try:
        return write_run_page([folder], root=root, code=[load_code(p) for p in places])[0]
    except (ValueError, OSError) as error:
        say(f"warning: no page about this run: {sentence(error)}")
        return None

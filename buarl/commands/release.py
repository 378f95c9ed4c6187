"""`buarl release`: the student of a run as a file for others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from buarl.commands.words import Places


@dataclass
class Release:
    """Write the student of an evaluated run in half precision, with its model card."""

    run_folder: Annotated[Path, tyro.conf.Positional]
    """A finished run that has been evaluated."""
    out: Annotated[Path, tyro.conf.Positional]
    """New or empty folder; its name becomes that of the weights."""
    license: str | None = None
    """Terms of the weights; needed where the data have no open license, as LA and your own."""
    note: str = ""
    """A sentence for the card, for example what other seeds gave."""
    root: Path | None = None
    """Folder of the data, if it has moved; it is used to say what half precision changes."""
    code: Places = ()
    """Code of your own that the run was trained with. A run folder alone never imports any."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice."""

    def run(self) -> None:
        """Write, and say how to ship it."""
        from buarl.files.release import release

        words = {"license": self.license, "note": self.note, "root": self.root, "code": self.code}
        done = release(self.run_folder, self.out, **words)
        print(done.text())

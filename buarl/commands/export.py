"""`buarl export`: a trained network as a file for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from buarl.commands.words import Places


@dataclass
class Export:
    """Write the student of a run as ONNX, if onnxruntime gives its very labels."""

    run_folder: Annotated[Path, tyro.conf.Positional]
    """A finished run."""
    onnx: Path
    """File to write, NAME.onnx."""
    teacher: bool = False
    """The teacher instead of the student."""
    root: Path | None = None
    """Folder of the data, if it has moved."""
    case: str | None = None
    """Volume to check on; without it the first of the validation split."""
    overwrite: bool = False
    """Replace a file that exists."""
    code: Places = ()
    """Code of your own that the run was trained with. A run folder alone never imports any."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice."""

    def run(self) -> None:
        """Export, and say what was checked."""
        from buarl.files.export_onnx import export_onnx

        done = export_onnx(
            self.run_folder,
            self.onnx,
            root=self.root,
            teacher=self.teacher,
            case=self.case,
            overwrite=self.overwrite,
            code=self.code,
        )
        print(done.text())

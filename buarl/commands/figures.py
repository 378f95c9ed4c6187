"""`buarl figures RUN [RUN ...]`: the paper's figures, of your own runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from buarl.commands.console import say
from buarl.commands.words import Places

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from buarl.capsule import Capsule

Named = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[TITLE=]RUN")]


@dataclass
class Figures:
    """The paper's Fig. 1, 3, 5 and 6 and a training that moves, of runs of your own."""

    runs: Named
    """Finished runs, each with the title that it has in pictures: "Ours=runs/mine"."""
    out: Path
    """New or empty folder for the pictures and their captions.md."""
    slice: int = 0
    """Which of the slices that the runs kept is drawn, from 0."""
    percentile: float = 99
    """Cut of Fig. 1 and of the training in percent, over this slice."""
    networks: bool = False
    """Draw from weights and data instead: also Fig. 1 c, d, and of volumes Fig. 3 or 4."""
    root: Path | None = None
    """Folder of the data, if it has moved; only --networks reads it."""
    code: Places = ()
    """Code of your own that a run was trained with. A run folder alone never imports any."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice."""

    def run(self) -> None:
        """Draw, say what was left out, and print what was written."""
        from buarl.data.cache import built_beside, is_new_or_empty
        from buarl.widgets.run_page import readable_runs

        if self.networks and (self.slice, self.percentile) != (0, 99):
            raise ValueError("--slice and --percentile are of what runs kept, without --networks")
        if not self.networks and (self.root is not None or self.code):
            raise ValueError("--root and --code are read by --networks alone")
        if not is_new_or_empty(self.out):
            raise ValueError(f"{self.out}: must be a new or empty folder")
        titles = titled(self.runs)
        capsules, faults = readable_runs([*titles.values()])
        if not capsules:
            raise ValueError("; ".join(faults))
        by_folder = {run.folder.resolve(): run for run in capsules}
        runs = {
            title: by_folder[folder.resolve()]
            for title, folder in titles.items()
            if folder.resolve() in by_folder
        }
        with built_beside(self.out) as built:
            written = self._draw(runs, built)
        for fault in faults:
            say(f"left out: {fault}")
        print("\n".join(str(self.out / name) for name in written))

    def _draw(self, runs: Mapping[str, Capsule], folder: Path) -> list[str]:
        from buarl.figures.loops import write_loop
        from buarl.figures.of_run import training_of_run
        from buarl.lessons.paper_figures import save_drawn, write_captions

        licences = list(dict.fromkeys(str(run.run["data"].get("licence")) for run in runs.values()))
        drawn = self._of_networks(runs) if self.networks else self._of_slices(runs)
        said = save_drawn(drawn, folder, "; ".join(licences))
        if not self.networks:
            title, run = next(iter(runs.items()))
            frames = training_of_run(run.slices, self.slice, run.class_names, self.percentile)
            for frame in frames:
                frame.text(0.5, 1.0, licences[0], ha="center", va="top", fontsize=5.5)
            write_loop(frames, folder / "training.gif", 0.8)
            said["training.gif"] = f"{run.slices.names[self.slice]} while {title} was trained."
        about = " ".join(f"{title}: {run.folder.resolve()}." for title, run in runs.items())
        write_captions(folder / "captions.md", said, f"Data: {'; '.join(licences)}. {about}")
        return [*said, "captions.md"]

    def _of_slices(self, runs: Mapping[str, Capsule]) -> dict[str, tuple[Figure, str]]:
        """Of what the runs recorded: neither weights nor data are read."""
        from buarl.figures.of_run import figures_of_run, runs_side_by_side

        for title, run in runs.items():
            if run.slices is None:
                raise ValueError(f"{title}: {run.folder} kept no slices; --networks draws without")
        first = next(iter(runs.values()))
        kept = {title: run.slices for title, run in runs.items()}
        alone = figures_of_run(first.slices, self.slice, first.class_names, self.percentile)
        return alone | runs_side_by_side(kept, self.slice, first.class_names)

    def _of_networks(self, runs: Mapping[str, Capsule]) -> dict[str, tuple[Figure, str]]:
        from buarl.lessons.run_figures import figures_of_runs
        from buarl.outside import load_code

        folders = {title: run.folder for title, run in runs.items()}
        staged = {}  # with both stages of their own; `plan` lends a first one to rows that share it
        for title, run in runs.items():
            if lender := run.run.get("pretrained"):
                say(f"left out of Fig. 6: {title}, whose first stage {lender['run']} trained")
            elif len(run.run["seconds"]) > 1:
                staged[title] = run.folder
        code = [load_code(place) for place in self.code]
        return dict(figures_of_runs(folders, staged, self.root, code))


def titled(words: tuple[str, ...]) -> dict[str, Path]:
    """Run folders by their titles.

    Args:
        words: TITLE=RUN, or RUN, whose title is the name of its folder.
    Raises:
        ValueError: no word, a title without a run, or a title that stands there twice.

    >>> titled(("Ours=runs/mine", "runs/bcp"))
    {'Ours': PosixPath('runs/mine'), 'bcp': PosixPath('runs/bcp')}
    """
    found: dict[str, Path] = {}
    for word in words:
        title, mark, place = word.partition("=")
        folder = Path(place if mark and not Path(word).exists() else word)
        title = title if folder != Path(word) else folder.resolve().name
        if not title or title in found:
            raise ValueError(f"every run needs a title of its own, got {word!r} ([TITLE=]RUN)")
        found[title] = folder
    if not found:
        raise ValueError("figures need a run, got none")
    return found

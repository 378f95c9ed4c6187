"""Commands around files: convert, fetch, doctor, predict."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from buarl.arguments import counted
from buarl.commands.console import say
from buarl.commands.words import Images, Out, Places, Raw, Run, program, quoted


@dataclass
class ConvertAcdc:
    """Convert the official ACDC release (NIfTI) into the h5 layout."""

    raw: Raw
    """Folder of the release, with training/ and testing/ or with the patients themselves."""
    out: Out
    """New or empty folder."""
    lists: Path | None = None
    """Folder with the public train_slices.list, val.list, test.list; without it, by the seed."""
    val: float = 0.1
    """Share of patients to validate on (without --lists)."""
    test: float = 0.2
    """Share of patients to test on (without --lists)."""
    seed: int = 1337
    """Draws the patients (without --lists)."""
    check_affine: bool = True
    """Refuse a label that lies elsewhere than its image."""

    def run(self) -> None:
        """Convert, say what was written and what to do next."""
        from buarl.files.convert_acdc import convert_acdc

        print(convert_acdc(**vars(self)).text())
        print(f"next: {program()} doctor --source acdc --root {quoted(self.out)}")


@dataclass
class ConvertLa:
    """Convert scans of the 2018 LA challenge (NRRD) into the h5 layout."""

    raw: Raw
    """Folder of scans, each with lgemri.nrrd and laendo.nrrd."""
    out: Out
    """New or empty folder."""
    crop: Literal["label", "none"] = "label"
    """label: cut around the label as published, which leaks where it lies. none: whole volumes."""
    lists: Path | None = None
    """Folder with the public train.list and test.list; without it, by the seed."""
    test: float = 0.2
    """Share of scans to test on (without --lists)."""
    seed: int = 1337
    """Draws scans and margins."""
    check_affine: bool = True
    """Refuse a label that lies elsewhere than its image."""

    def run(self) -> None:
        """Convert, say what was written and what to do next."""
        from buarl.files.convert_la import convert_la

        print(convert_la(**vars(self)).text())
        print(f"next: {program()} doctor --source la --root {quoted(self.out)}")


@dataclass
class ConvertFolder:
    """Convert a folder of your own NIfTI or NRRD images, some of them labeled."""

    images: Images
    """Folder of images."""
    out: Out
    """New or empty folder."""
    labels: Path | None = None
    """Folder of labels named like the images; NAME_gt or NAME_label beside an image also count."""
    classes: tuple[str, ...] = ()
    """Names of the classes, background first; without it, numbers."""
    rank: Literal[2, 3] = 3
    """2 trains on slices along z, 3 on volumes."""
    val: float = 0.1
    """Share of the labeled patients to validate on."""
    test: float = 0.2
    """Share of the labeled patients to test on."""
    seed: int = 1337
    """Draws the patients."""
    patient: str | None = None
    """Pattern whose one group is the patient in a file name; else the part before the first _."""
    label_values: tuple[int, ...] = ()
    """Values in the label files in order of the classes, e.g. 0 255."""
    check_affine: bool = True
    """Refuse a label that lies elsewhere than its image."""

    def run(self) -> None:
        """Convert, say what was written and what to do next."""
        from buarl.files.convert_folder import convert_folder

        report = convert_folder(**vars(self))
        print(report.text())
        root = quoted(self.out)
        print(f"table of cases: {self.out / 'cases.csv'}")
        print(f"next: {program()} train --source {report.source} --root {root} --out runs/own")


@dataclass
class Fetch:
    """Get a data set: LA by download with checked contents, ACDC by the steps to take."""

    dataset: Annotated[Literal["la", "acdc"], tyro.conf.Positional]
    """Which one."""
    out: Path | None = None
    """Folder to fill, the user's cache without it."""
    accept_terms: bool = False
    """You have read where the data comes from and its terms; nothing is downloaded without it."""
    test: bool = False
    """Also the test scans, of which no checksums are known."""
    base_url: str | None = None
    """A mirror of the folder that holds `2018LA_Seg_Training Set/`."""

    def run(self) -> None:
        """Print source and terms, download if they are accepted; otherwise exit code 2."""
        from buarl.files.fetch import ACDC_STEPS, LA_TERMS, LA_URL, fetch_la

        if self.dataset == "acdc":
            print(ACDC_STEPS.format(program=program()))
            return
        url, root = self.base_url or LA_URL, self.root()
        print(LA_TERMS.format(url=url))
        if not self.accept_terms:
            print("nothing was downloaded; if you may and want to use it, add --accept-terms")
            raise SystemExit(2)
        fetch_la(root, base_url=url, include_test=self.test, say=print)
        print(f"next: {program()} doctor --source la --root {quoted(root)}")

    def root(self) -> Path:
        """The folder that is filled."""
        from buarl.data.cache import cache_root

        return self.out or cache_root() / "LA"

    def interrupted(self, again: str) -> str:
        """What to say after an interruption."""
        return f"interrupted; finished files stay in {quoted(self.root())}; go on with: {again}"


@dataclass
class Predict:
    """Segment image files with a trained run; the masks lie where the images lie."""

    run_folder: Run
    """A finished run, or with --weights the name or file of released weights."""
    inputs: Images
    """A .nii, .nii.gz, .nrrd or .h5 file, or a folder of them."""
    out: Out
    """Folder for NAME_seg.nii.gz."""
    weights: bool = False
    """The first word names released weights, as in `predict --weights NAME IMAGES OUT`."""
    entropy: bool = False
    """Also write NAME_entropy.nii.gz, in nats."""
    keep_largest: bool = False
    """Keep only the largest component per class."""
    normalisation: Literal["minmax", "zscore"] | None = None
    """How a volume's grays are normalized; by default as in training, and h5 files not at all."""
    temperature: float | Literal["run"] | None = None
    """With --entropy: divide logits by it, 0.05 to 20; run: what the run fitted on validation."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..., mps."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice."""
    overwrite: bool = False
    """Replace files that exist."""
    code: Places = ()
    """Code of your own that the run was trained with. A run folder alone never imports any."""

    def __post_init__(self) -> None:
        self._done = 0  # images

    def run(self) -> None:
        """Predict and say a line per file, on stderr that of a file that cannot be segmented."""
        from buarl.files.predict_files import predict_each
        from buarl.files.weights import terms_of
        from buarl.weights import SHIPPED, names_weights

        if str(self.run_folder) in SHIPPED and not (self.weights or self.run_folder.exists()):
            raise ValueError(f"{self.run_folder} are released weights; add --weights")
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "threads"}
        for done in predict_each(**options, refuse=say):
            print(done.text())
            self._done += 1
        print(f"written to {quoted(self.out)}")
        if self.weights or names_weights(self.run_folder):
            print(f"weights {self.run_folder}: {terms_of(self.run_folder)}; not for clinical use")

    def interrupted(self, again: str) -> str:
        """What to say after an interruption."""
        written = counted(self._done, "image")
        if not self._done:
            return f"interrupted before a mask was written; start again with: {again}"
        more = "" if self.overwrite else " --overwrite"
        return (
            f"interrupted; the masks of {written} are written, whole; to write all: {again}{more}"
        )


@dataclass
class Doctor:
    """Say what is here: versions, device, threads, data and whether it is complete."""

    source: str | None = None
    """Name of the data set to look at; without it what lies in --root, or the phantom."""
    root: Path | None = None
    """Its folder, or one with several data sets in it."""
    check: bool = True
    """Compare every file of acdc and la with the public figures, about 20 s."""

    def run(self) -> None:
        """Print the report; a problem found is exit code 1."""
        from buarl.files.doctor import report

        text, healthy = report(self.source, self.root, check=self.check)
        print(text)
        if not healthy:
            raise SystemExit(1)

    def interrupted(self, again: str) -> str:
        """What to say after an interruption."""
        return f"interrupted; doctor only looks, so nothing has changed; look again with: {again}"

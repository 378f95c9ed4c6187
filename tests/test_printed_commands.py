"""Every command that another command, the README or a lesson prints works as it is printed."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import tyro
from raw_files import image_of, label_of, write_acdc, write_la, write_nifti
from tiny import PRESET, write_tiny

from buarl.commands import main as commands
from buarl.commands.main import Command, main
from buarl.commands.runs import next_after_demo
from buarl.files.fetch import ACDC_STEPS
from buarl.training.config import PRESETS
from buarl.training.run import read_run

REPOSITORY = Path(__file__).resolve().parent.parent
TINY = replace(PRESET, image_size={2: (32, 32), 3: (16, 16, 16)}, steps=2, labeled_batch=None)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder to work in, and presets that take a second."""
    monkeypatch.chdir(tmp_path)
    for name in ("toy", "mini"):
        monkeypatch.setitem(PRESETS, name, TINY)
    return tmp_path


def said(capsys, words, code=0):
    """What a command prints; it ends with this code."""
    try:
        ended = main(list(words))
    except SystemExit as stopped:  # doctor and fetch
        ended = stopped.code or 0
    printed = capsys.readouterr()
    assert ended == code, printed.err
    return printed.out


def words_of(line):
    """The words of a printed command after the program's name."""
    words = shlex.split(line, comments=True)
    (first, *_) = [i for i, word in enumerate(words) if re.fullmatch(r"(.*[/\\])?buarl", word)]
    return words[first + 1 :]


def commands_in(text):
    """Every command of this package in a text, continued lines joined."""
    joined = re.sub(r"\\\n(\s*#[^\n]*\n)*\s*", " ", text)
    start = r"(?:\S*python3?(?:\.exe)? -m |[^\s`\"]*[/\\])?"
    found = re.findall(rf"(?:^|[\s`\"])({start}buarl [a-z]+[^\n`]*)", joined)
    known = (
        "demo",
        "train",
        "evaluate",
        "predict",
        "convert",
        "fetch",
        "doctor",
        "table",
        "plan",
        "show",
        "figures",
        "export",
        "release",
        "compare",
        "leak",
        "speedrun",
    )
    return [line.strip() for line in found if line.split("buarl ")[1].split()[0] in known]


def next_of(text):
    return words_of(re.search(r"next: (.*)", text)[1])


def train_and_evaluate(capsys, train):
    """A printed training and what it prints in turn, to the end of the chain."""
    evaluate = next_of(said(capsys, train))
    assert evaluate[0] == "evaluate"
    assert "per case" in said(capsys, evaluate)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("patients", [4, 8])
def test_own_images(here, capsys, rank, patients):
    """With labels for all, and few: some of the training patients stay unlabeled."""
    for patient in range(patients):
        write_nifti(here / "my images" / f"p{patient}_scan.nii.gz", image_of(patient))
        write_nifti(here / "my images" / f"p{patient}_scan_gt.nii.gz", label_of(patient, 3))
    words = ["convert", "folder", "my images", "my data", "--rank", str(rank), "--val", "0.2"]
    train_and_evaluate(capsys, next_of(said(capsys, words)))


def test_own_single_slices(here, capsys):
    """Fewer slices than a batch: drawn again, and said."""
    for patient in range(5):
        write_nifti(here / "images" / f"p{patient}.nii.gz", image_of(patient, (12, 10, 1)))
        label = label_of(patient, 3, (12, 10, 1))
        write_nifti(here / "images" / f"p{patient}_gt.nii.gz", label)
    train = next_of(said(capsys, ["convert", "folder", "images", "data", "--rank", "2"]))
    assert main(train) == 0
    printed = capsys.readouterr()
    assert "buarl: warning: a step draws 12 labeled images, and there are 1" in printed.err
    assert "labeled: the first 1 of the few patients there are" in printed.out
    said(capsys, next_of(printed.out))


@pytest.mark.parametrize(
    ("write", "source"),
    [(lambda raw: write_acdc(raw), "acdc"), (lambda raw: write_la(raw, 18), "la")],
)
def test_releases(here, capsys, write, source):
    write(here / "RAW")
    doctor = next_of(said(capsys, ["convert", source, "RAW", "with space"]))
    said(capsys, doctor, code=1)  # these are not the public voxels, and it says so
    train_and_evaluate(capsys, ["train", "--source", source, "--root", "with space", "--out", "r"])


@pytest.mark.parametrize("source", ["phantom", "phantom_la"])
def test_the_phantoms(here, capsys, source):
    evaluate = next_of(said(capsys, ["train", "--source", source, "--out", "runs/a"]))
    assert (
        read_run(here / "runs" / "a")["experiment"]["labeled"]
        == {2: 3, 3: 4}[3 if source.endswith("la") else 2]
    )
    assert evaluate == ["evaluate", "runs/a", "--split", "val"]


NOT_RUN = {
    "fetch": "asks a server; tests/test_fetch_command.py runs it against one of its own",
    "demo": "trains for a minute; tests/test_lessons.py runs it",
    "plan": "starts processes that train; tests/test_plan.py runs it",
}


def test_the_readme_from_top_to_bottom(here, capsys, monkeypatch):
    """FOLDER is a tiny ACDC, RAW and IMAGES are raw files, in the order of the README."""
    write_acdc(here / "RAW")
    for patient in range(6):
        write_nifti(here / "IMAGES" / f"p{patient}.nii.gz", image_of(patient))
        write_nifti(here / "L" / f"p{patient}.nii.gz", label_of(patient, 3))
    write_tiny(here / "FOLDER", patients=9)
    seen = set()
    for line in commands_in((REPOSITORY / "README.md").read_text()):
        words = words_of(line)
        tyro.cli(Command, prog="buarl", args=words)
        if words[0] in NOT_RUN or "--devices" in words:  # tests/test_devices_runs.py runs that
            continue
        if words[0] == "convert":  # each into a folder of its own, here
            words = [{"FOLDER": f"FOLDER {words[1]}"}.get(word, word) for word in words]
        said(capsys, words)
        seen.add(words[0])
    used = {
        "convert",
        "doctor",
        "train",
        "evaluate",
        "show",
        "figures",
        "predict",
        "table",
        "compare",
    }
    assert seen == used


def test_every_other_printed_command_can_be_parsed():
    """In the lessons and in what commands say; they stand beside data that is not here."""
    lessons = [
        "".join(source)
        for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
        for cell in json.loads(path.read_text())["cells"]
        for source in [cell["source"]]
    ]
    found = [
        line
        for text in [*lessons, ACDC_STEPS.format(program="buarl"), next_after_demo()]
        for line in commands_in(text)
    ]
    assert len(found) >= 6
    for line in found:
        words = words_of(line)
        names = len(words) == 1 or words == ["convert", "folder"]  # a command, in a sentence
        if "--help" not in words and not names:
            tyro.cli(Command, prog="buarl", args=[word.rstrip(".,") for word in words])


def test_an_interrupted_run_names_its_own_command(here, capsys, monkeypatch):
    """The real folder, the real --code, the options of this machine; and it works."""
    write_tiny(here / "data")
    (here / "my code").mkdir()
    (here / "my code" / "mine.py").write_text(
        "import os, signal\n"
        "from buarl.methods import MeanTeacher\n"
        "class Mine(MeanTeacher):\n"
        "    def training_step(self, batch, step):\n"
        "        if step.index == 3 and not os.environ.pop('CALM', None):\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "        return super().training_step(batch, step)\n"
    )
    words = ["train", "--source", "acdc", "--root", "data", "--labeled", "2", "--out", "a run"]
    words += ["--method", "my code/mine.py:Mine", "--set", "steps=6", "--validate", "2"]
    assert main([*words, "--device", "cpu"]) == 143
    line = capsys.readouterr().err.split("go on with: ")[1].splitlines()[0]
    resume = words_of(line)
    assert resume == [
        *["train", "--resume", "a run", "--code", "my code/mine.py:Mine"],
        *["--root", "data", "--device", "cpu", "--validate", "2"],
    ]
    monkeypatch.setitem(os.environ, "CALM", "1")
    evaluate = next_of(said(capsys, resume))
    assert read_run(here / "a run")["finished"]
    rows = (here / "a run" / "validation.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows if row[0] != "#"] == ["step", "2", "4", "6"]
    said(capsys, evaluate)


def test_a_warning_is_one_line(capsys):
    import warnings

    from buarl.training.health import TeachesNothing

    commands._show_warning(None, TeachesNothing("seen; advice"), TeachesNothing, "file", 1)
    assert capsys.readouterr().err == "buarl: warning: seen; advice\n"
    assert warnings.showwarning is not commands._show_warning

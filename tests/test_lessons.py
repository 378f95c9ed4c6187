"""The lessons' cache is never trusted when it could be wrong; the demo's report is complete."""

from __future__ import annotations

import csv
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny import PRESET, same_weights, write_tiny

import buarl.lessons.trained as lessons
from buarl.data.acdc import Acdc
from buarl.data.source import open_source
from buarl.lessons.demo import ROWS, run_demo, train_rows
from buarl.lessons.rows import STUDY_ROWS
from buarl.training.config import PRESETS, Experiment, build_method, config_for


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("BUARL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(PRESETS, "lesson", PRESET)
    return Acdc(write_tiny(tmp_path / "data"))


@pytest.fixture
def row(source):
    return replace(lessons.lesson_row("BCP", source), labeled=2)


@pytest.fixture
def count(monkeypatch):
    calls, train = [], lessons.run_experiment
    monkeypatch.setattr(
        lessons, "run_experiment", lambda *a, **k: (calls.append(a), train(*a, **k))
    )
    return calls


def test_trained_once_then_read(source, row, count):
    first, second = lessons.trained(row, source), lessons.trained(row, source)
    assert len(count) == 1
    assert same_weights(first, second)
    kept = [path.name for path in (lessons.cache_root() / "trained").iterdir()]
    entry = lessons.fingerprint(row, source)
    assert sorted(kept) == [entry, f"{entry}.lock"]


def test_of_two_at_once_one_trains_and_the_other_waits(source, row, count, monkeypatch):
    train, begun = lessons.run_experiment, threading.Event()

    def slow(*args, **options):
        begun.set()
        time.sleep(0.5)
        return train(*args, **options)

    monkeypatch.setattr(lessons, "run_experiment", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lessons.trained, row, source)
        assert begun.wait(30)
        second = pool.submit(lessons.trained, row, source)
        assert same_weights(first.result(), second.result())
    assert len(count) == 1


def test_the_first_training_shows_a_bar_that_says_what_is_made_once(source, row, count, capsys):
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tqdm.std.time", iter(range(10**6)).__next__)  # every step is shown
        lessons.trained(row, source, callback=lambda *step: seen.append(step))
    said = capsys.readouterr().err
    assert "training bcp with url + crl, once: it is kept" not in said  # this row has no rules
    assert "training bcp, once: it is kept" in said
    assert f"/{len(seen)} [" in said  # of all steps of both stages
    lessons.trained(row, source)
    lessons.trained(replace(row, seed=1), source, progress=False)
    assert capsys.readouterr().err == ""
    assert len(count) == 2


@pytest.mark.parametrize("fault", ["cut", "gone", "unfinished"])
def test_a_damaged_entry_is_trained_again(source, row, count, fault):
    first = lessons.trained(row, source)
    folder = lessons.cache_root() / "trained" / lessons.fingerprint(row, source)
    if fault == "cut":
        whole = (folder / "last.pt").read_bytes()
        (folder / "last.pt").write_bytes(whole[: len(whole) // 2])
    elif fault == "gone":
        (folder / "last.pt").unlink()
    else:
        text = (folder / "run.json").read_text()
        (folder / "run.json").write_text(text.replace('"finished": true', '"finished": false'))
    assert same_weights(lessons.trained(row, source), first)
    assert len(count) == 2


def test_fingerprint_follows_row_numbers_and_code(source, row, tmp_path, monkeypatch):
    before = lessons.fingerprint(row, source)
    assert lessons.fingerprint(replace(row, seed=1), source) != before
    with monkeypatch.context() as patch:
        patch.setitem(PRESETS, "lesson", replace(PRESET, width=3))
        assert lessons.fingerprint(row, source) != before
    losses = tmp_path / "losses.py"
    losses.write_text("# another loss\n")
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["buarl.losses"], "__file__", str(losses))
        assert lessons.fingerprint(row, source) != before
    assert lessons.fingerprint(row, source) == before


class Mine(Acdc):
    """A data set outside the package."""


def test_fingerprint_follows_the_file_of_a_data_set_outside_the_package(
    source, row, tmp_path, monkeypatch
):
    mine = Mine(source.root)
    before = lessons.fingerprint(row, mine)
    edited = tmp_path / "mine.py"
    edited.write_text("# read otherwise\n")
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "__file__", str(edited))
        assert lessons.fingerprint(row, mine) != before
    assert lessons.fingerprint(row, mine) == before


def test_fingerprint_leaves_out_other_methods():
    """Work on one method leaves the trained networks of the others in the cache."""
    source_code = {
        name: lessons.training_code(build_method(Experiment(method=name, preset="toy"), 4))
        for name in ("supervised", "bcp")
    }
    assert {"buarl.training.loop", "buarl.losses", "buarl.entropy"} <= set(
        source_code["supervised"]
    )
    assert {"buarl.methods.bcp", "buarl.copy_paste", "buarl.ema"} <= set(source_code["bcp"])
    assert "buarl.data.phantom.heart" in source_code["bcp"]
    assert not {"buarl.methods.bcp", "buarl.ema"} & set(source_code["supervised"])


def test_after_stage_is_the_end_of_that_stage(source, row):
    early, late = lessons.after_stage(row, source, "pretrain"), lessons.trained(row, source)
    assert not same_weights(early.student, late.student)
    with pytest.raises(ValueError, match=r"nonsense\.pt"):
        lessons.after_stage(row, source, "nonsense")


def test_demo_reports_every_row_and_writes_three_figures(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "toy", replace(PRESETS["toy"], steps=2, width=2, labeled_batch=2))
    report = run_demo(tmp_path / "figures")
    for part in (*ROWS, "ceiling", "seed 1337", "validation volumes", "last checkpoint"):
        assert part in report
    files = sorted((tmp_path / "figures").iterdir())
    assert [path.name for path in files] == [
        "fig1_errors_and_uncertainty.png",
        "fig3_predictions.png",
        "fig5_entropy_cuts.png",
        "table.csv",
        "table.md",
    ]
    assert all(str(path) in report for path in files)
    written = (tmp_path / "figures" / "table.md").read_text()
    assert report.strip().startswith(written.strip())
    lines = (tmp_path / "figures" / "table.csv").read_text().splitlines()
    table = list(csv.DictReader(line for line in lines if line[0] != "#"))
    assert [row["row"] for row in table][:4] == list(ROWS)
    for row in table:  # as printed, to more digits
        (line,) = [li for li in written.splitlines() if f"| {row['row']} |" in " ".join(li.split())]
        assert f" {float(row['dice']):.3f} " in line


def test_demo_trains_the_same_networks_in_processes_of_their_own(monkeypatch):
    monkeypatch.setitem(PRESETS, "toy", replace(PRESETS["toy"], steps=2, width=2, labeled_batch=2))
    few = ["Mean Teacher", "BCP + URL + CRL"]
    monkeypatch.setattr("buarl.lessons.demo.ROWS", few)
    source = open_source("phantom")
    alone, shared = (list(train_rows(source, workers)) for workers in (1, 2))
    assert [row[0] for row in alone] == [row[0] for row in shared] == few
    for (_, method, scores, _), (_, other, other_scores, _) in zip(alone, shared, strict=True):
        assert same_weights(method, other)
        assert scores == other_scores


def test_rows_of_the_lessons_take_the_same_number_of_steps():
    """Else a part of any difference between them is simply more training."""
    fine = SimpleNamespace(name="phantom_fine", rank=2)
    steps = {sum(config_for(lessons.lesson_row(title, fine)).steps) for title in STUDY_ROWS}
    assert steps == {PRESETS["lesson"].steps}


def test_an_unknown_row_is_named_with_those_there_are(source):
    with pytest.raises(ValueError, match="one of .*'BCP'.*got 'BPC'"):
        lessons.lesson_row("BPC", source)


@pytest.mark.parametrize(
    ("name", "rank"),
    [("phantom", 2), ("phantom_fine", 2), ("acdc", 2), ("phantom_la", 3), ("la", 3)],
)
def test_every_row_has_as_many_labeled_patients_as_a_batch_needs(name, rank):
    for title in STUDY_ROWS:
        row = lessons.lesson_row(title, SimpleNamespace(name=name, rank=rank))
        needed = max(plan.labeled_batch for plan in config_for(row).stages)
        slices = 8 if rank == 2 else 1  # a patient of ACDC has that many and more
        assert row.labeled * slices >= needed

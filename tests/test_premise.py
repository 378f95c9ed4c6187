"""The premise in a ledger and as a table: shares counted by hand, over seeds, and damage named."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest
from test_tables import RESULTS, entry_of, put

from buarl.capsule.read import CALIBRATION_COLUMNS, PREMISE_COLUMNS
from buarl.commands.main import main
from buarl.regions import url
from buarl.results import premise
from buarl.results.measured import read_results
from buarl.results.premise import premise_of_run, premise_table
from buarl.results.rows import rows_of
from buarl.training.config import Experiment
from buarl.training.run import describe

BCP = next(row.experiment for row in rows_of("3") if row.title == "BCP")


def line(step, images, network, low, high, voxels, errors):
    place = ("selftrain", step, images, network, "background", "inside")
    return dict(zip(PREMISE_COLUMNS, (*place, low, high, voxels, errors), strict=True))


def write(path, columns, rows):
    with path.open("w", newline="") as file:
        file.write("# a note\n")
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def run(tmp_path):
    """1000 voxels, 20 errors; 10 of the 50 above q = 95, 6 of the 10 above q = 99."""
    from buarl.data.source import open_source

    row = Experiment("bcp", source="phantom", labeled=3, preset="toy")
    (tmp_path / "run.json").write_text(json.dumps(describe(row, open_source("phantom"))))
    rows = [line(1, "unlabeled", "student", 0, 10, 1000, 999)]  # an earlier moment
    for images, network in (("labeled", "student"), ("unlabeled", "teacher")):
        rows.append(line(2, images, network, 0, 10, 950, 10))
        rows.append(line(2, images, network, 95, 96, 40, 4))
        rows.append(line(2, images, network, 99, 99.5, 10, 6))
    write(tmp_path / "premise.csv", PREMISE_COLUMNS, rows)
    values = ("selftrain", 2, None, 0.9, 1.0, 5, 0.95, 0.9)
    known = dict(zip(CALIBRATION_COLUMNS, values, strict=True))
    fitted = [{**known, "temperature": t} for t in (1.0, 1.5)]
    write(tmp_path / "calibration.csv", CALIBRATION_COLUMNS, fitted)
    return tmp_path


def test_shares_at_the_end_of_a_run_are_those_counted_by_hand(run):
    found = premise_of_run(run)
    assert (found["stage"], found["step"], found["temperature"]) == ("selftrain", 2, 1.5)
    assert found["unlabeled"]["network"] == "teacher"
    for images in ("labeled", "unlabeled"):
        at_95, at_99 = found[images]["95"], found[images]["99"]
        assert (at_95["recall"], at_95["precision"], at_95["ceiling"]) == (0.5, 0.2, 1.0)
        assert (at_99["recall"], at_99["precision"], at_99["ceiling"]) == (0.3, 0.6, 0.5)
        assert (at_99["base"], at_99["share"]) == (0.02, 0.01)


def test_a_run_without_counts_has_no_premise(run):
    (run / "premise.csv").unlink()
    assert premise_of_run(run) is None


def entry(seed, recall):
    cut = {"recall": recall, "ceiling": 1.0, "precision": 0.25, "base": 0.0125, "share": 0.01}
    side = {"network": "teacher", "95": cut, "99": {**cut, "recall": None}}
    kept = {"stage": "selftrain", "step": 9, "unlabeled": side}
    return {**entry_of(replace(BCP, seed=seed), [0.7] * 4), "premise": kept}


def test_the_table_has_mean_and_spread_over_seeds(tmp_path, capsys):
    for seed, recall in enumerate((0.4, 0.5, 0.6)):
        put(tmp_path, f"bcp_{seed}", entry(seed, recall))
    put(tmp_path, "without", entry_of(replace(BCP, seed=9), [0.7] * 4))
    assert main(["table", "premise", "--runs", str(tmp_path)]) == 0
    (found,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("| acdc7_bcp_mini")]
    cells = [cell.strip() for cell in found.strip("|").split("|")]
    assert cells[1:7] == [
        "unlabeled",
        "teacher",
        "1.2 ± 0.0",
        "25.0 ± 0.0",
        "50.0 ± 10.0",
        "100.0 ± 0.0",
    ]
    assert (cells[8], cells[-1]) == ("-", "3: 0 1 2")  # no errors, no share of them
    parts = [{"95": {"recall": value}} for value in (None, 0.5, 0.7)]
    assert premise._share(parts, 95, "recall") == "60.0 ± 14.1 (2 of 3)"
    assert main(["table", "premise", "--runs", str(tmp_path), "--preset", "quick"]) == 0
    assert "No run of this preset kept its premise." in capsys.readouterr().out


def test_rows_that_differ_in_what_a_name_does_not_say_are_not_pooled(capsys, tmp_path):
    ours = entry(0, 0.4)
    plain = {**ours["experiment"], "options": {"box_share": 0.0}}
    softer = {**ours["experiment"], "labeled_rule": url(95, alpha=1).as_dict()}
    harder = {**softer, "labeled_rule": url(95).as_dict()}
    foreign = {**ours["experiment"], "labeled_rule": {"name": "my_rules.py:Mine"}}
    runs = [
        {**entry(seed, 0.4), "name": f"r{seed}", "experiment": {**row, "seed": seed}}
        for seed, row in enumerate([ours["experiment"], plain, softer, harder, foreign])
    ]
    lines = premise_table(runs, "mini", "csv").splitlines()[1:]
    names = [line.split(",")[0] for line in lines]
    assert names[:2] == ["acdc7_bcp_mini", "acdc7_bcp_mini box_share=0.0"]
    assert len(set(names)) == len(runs)
    assert names[2].startswith("acdc7_bcp_url95_whole_voxel_mini ")  # and its hash
    assert names[4] == "r4"
    for number, run in enumerate(runs[:4]):
        put(tmp_path, f"bcp_{number}", {k: v for k, v in run.items() if k != "name"})
    for words, shown in (([], 4), (["--source", "la"], 0), (["--labeled", "3"], 0)):
        assert main(["table", "premise", "--runs", str(tmp_path), *words]) == 0
        assert capsys.readouterr().out.count("| acdc7_bcp") == shown
    assert main(["table", "premise", "--set", "steps=9"]) == 2
    assert "choose nothing in the table of the premise" in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage", [{"95": {}}, {"network": None, "95": "x"}, {"99": {"recall": 7}}]
)
def test_a_damaged_premise_is_named(damage):
    spoilt = {**entry(0, 0.5), "name": "bcp_0"}
    spoilt["premise"] = {
        **spoilt["premise"],
        "unlabeled": {**spoilt["premise"]["unlabeled"], **damage},
    }
    with pytest.raises(ValueError, match="bcp_0: its premise is damaged"):
        premise_table([spoilt], "mini")


def test_near_the_regime_of_the_paper_the_uncertain_hold_most_errors():
    """Of every run of BCP per voxel, whatever its seed and labels."""
    wanted = {"method": "bcp", "source": "acdc", "preset": "quick", "unlabeled_reduction": "voxel"}
    runs = [e for e in read_results(RESULTS).entries if wanted.items() <= e["experiment"].items()]
    kept = [e["premise"]["unlabeled"]["95"] for e in runs if "premise" in e]
    assert len(kept) >= 6
    for cut in kept:
        assert cut["recall"] > 0.9
        assert cut["precision"] > 10 * cut["base"]

"""Printed beside measured: what stands in a table was run, and what was not run is named."""

from __future__ import annotations

import csv
import json
import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from buarl.commands.main import main
from buarl.evaluation.metrics import metric_definition
from buarl.evaluation.protocols import Validated
from buarl.evaluation.scores import summary
from buarl.regions import crl, url, whole
from buarl.results.controls import control_rows
from buarl.results.leak import RULES, TooFew, halves, leak
from buarl.results.ledger import KEYS
from buarl.results.measured import Results, read_results, runs_of
from buarl.results.page import ledger_page
from buarl.results.printed import printed_rows
from buarl.results.rows import READING_NAMES, WHAT, rows_of, run_name
from buarl.results.tables import FORMATS, lines_of, table_text
from buarl.training.config import Experiment, build_method, config_for

HOME = Path(__file__).parent.parent
RESULTS = HOME / "results"
RUNS = read_results(RESULTS).entries


# Rows


def test_every_printed_row_of_six_tables_is_a_row_that_can_be_run():
    for table in range(1, 7):
        rows = rows_of(str(table), preset="paper", readings=["voxel"])
        assert [row.printed for row in rows] == printed_rows(table) or table >= 3
        assert {id(row.printed) is None for row in rows} == {False}
        assert sorted(row.printed.dice for row in rows) == sorted(
            printed.dice for printed in printed_rows(table)
        )
        for row in rows:
            experiment, printed = row.experiment, row.printed
            assert experiment.source == printed.data
            assert experiment.labeled in (printed.labeled, None)
            assert (experiment.labeled is None) == (printed.unlabeled == 0 and printed.labeled > 9)
            for rule, said in (
                (experiment.labeled_rule, printed.labeled_rule),
                (experiment.unlabeled_rule, printed.unlabeled_rule),
            ):
                name, percentile = (said.split() + ["whole", None])[:2] if said else ("whole", None)
                assert rule.name == name
                assert rule.percentile == (None if percentile is None else int(percentile))
            build_method(experiment, 4 if experiment.source == "acdc" else 2)


def test_a_plain_row_is_the_same_under_every_reading_and_stands_once():
    rows = rows_of("3", readings=list(READING_NAMES))
    assert [row.title for row in rows if row.name == "BCP"] == ["BCP"]
    plain = next(row.experiment for row in rows if row.name == "BCP")
    assert (plain.labeled_reduction, plain.unlabeled_reduction) == ("voxel", "voxel")
    both = [row for row in rows if row.name == "URL + CRL"]
    assert [row.reading for row in both] == list(READING_NAMES)
    assert (
        len({(r.experiment.labeled_reduction, r.experiment.unlabeled_reduction) for r in both}) == 4
    )


@pytest.mark.parametrize("what", WHAT)
def test_rows_have_names_of_their_own_and_two_names_only_for_two_experiments(what):
    rows = rows_of(what, readings=["voxel", "region"])
    names = [run_name(row.experiment) for row in rows]
    assert len(set(names)) == len(names)
    assert len({row.title for row in rows}) == len(rows)
    for name in names:
        assert name.replace("_", "").replace("-", "").replace(".", "").isalnum()
    seeds = {run_name(replace(rows[0].experiment, seed=seed)) for seed in range(5)}
    assert len(seeds) == 5


def test_the_rows_of_the_shared_best_run_are_one_run_in_five_tables():
    best = {
        run_name(
            next(r.experiment for r in rows_of(t, readings=["voxel"], labeled=7) if r.name == n)
        )
        for t, n in (("3", "URL + CRL"), ("4", "URL + CRL"), ("5", "95, 99"), ("6", "weigh down"))
    }
    (row,) = (
        r for r in rows_of("1", readings=["voxel"], labeled=7) if r.name == "Ours(BCP), 7 labeled"
    )
    assert best == {run_name(row.experiment)}


def test_other_data_take_no_printed_numbers_with_them():
    base = Experiment(source="phantom", preset="toy", set={"steps": 5})
    for row in rows_of("3", base=base):
        assert row.printed is None
        assert (row.experiment.source, row.experiment.preset) == ("phantom", "toy")
        assert config_for(row.experiment).steps == (5, 5)
    assert rows_of("3", labeled=3)[0].printed is None  # the print has 7 patients there
    lottery = rows_of("controls", base=base)[-1].experiment
    assert lottery.set["steps"] == 5


# What was measured


def entry_of(row: Experiment, scores: list[float], **more) -> dict:
    cases = [
        {"case": f"patient{i // 2:02}_frame{i % 2 + 1:02}", "class": "LV", "dice": dice,
         "jaccard": dice / (2 - dice), "hd95": 1.0, "asd": 0.5, "missed": False}
        for i, dice in enumerate(scores)
    ]  # fmt: skip
    row_json = json.loads(json.dumps(row.as_dict()))
    entry = dict.fromkeys(KEYS, "-") | {
        "experiment": row_json,
        "config": {"seed": row.seed, "preset": row.preset, "labeled": row.labeled},
        "environment": {"precision": "fp32"},
        "data": {},
        "metric": metric_definition(),
        "split": "val",
        "notes": [],
        "seconds": {"train": 1.0},
        "started": "2026-01-01T00:00:00",
        "cases": cases,
        "summary": summary(cases),
    }
    return entry | more


def put(folder: Path, name: str, entry: dict) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(entry))
    return path


BCP = rows_of("3")[0].experiment


def test_mean_and_spread_over_seeds_by_hand(tmp_path):
    for seed, dice in enumerate((0.8, 0.83, 0.86)):
        put(tmp_path, f"bcp_{seed}", entry_of(replace(BCP, seed=seed), [dice] * 4))
    results = read_results(tmp_path)
    text = table_text(
        "3", lines_of(rows_of("3"), results), results, preset="mini", split="val", form="text"
    )
    (line,) = (x for x in text.splitlines() if x.startswith("| BCP "))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:5] == ["88.84", "80.62", "3.98", "1.17"]
    assert cells[5] == "83.00 ± 3.00"
    jaccard = [100 * d / (2 - d) for d in (0.8, 0.83, 0.86)]
    assert cells[6] == f"{statistics.mean(jaccard):.2f} ± {statistics.stdev(jaccard):.2f}"
    assert cells[7:] == ["1.00 ± 0.00", "0.50 ± 0.00", "3: 0 1 2"]
    assert "Not run (6): URL, voxel; URL, region; CRL" in text
    assert "Slip of the print: URL, 95HD: printed 6.37" in text


def test_one_seed_has_no_spread_and_the_paper_s_protocol_a_line_of_its_own(tmp_path):
    better = entry_of(BCP, [0.9] * 4)
    put(
        tmp_path,
        "a",
        entry_of(BCP, [0.8] * 4, paper={k: better[k] for k in ("cases", "summary", "notes")}),
    )
    results = read_results(tmp_path)
    text = table_text(
        "3", lines_of(rows_of("3"), results), results, preset="mini", split="val", form="csv"
    )
    rows = [row for row in csv.DictReader(text.splitlines()) if row["row"] == "BCP"]
    assert [(row["protocol"], row["dice_mean"], row["dice_sd"], row["n"]) for row in rows] == [
        ("honest", "80", "", "1"),
        ("paper", "90", "", "1"),
    ]
    assert "last checkpoint" in rows[0]["selection"]
    assert "inference" in rows[1]["selection"]


def spoil(entry: dict, **changes) -> dict:
    return json.loads(json.dumps(entry | changes))


def with_row(entry: dict, **changes) -> dict:
    """The entry of another row, which sets a number, so that it is looked at."""
    return spoil(entry, experiment=entry["experiment"] | {"set": {"steps": 9}} | changes)


def with_case(entry: dict, **changes) -> dict:
    """The entry with other values in its first case."""
    first, *rest = entry["cases"]
    return spoil(entry, cases=[first | changes, *rest])


def test_a_seed_that_was_not_scored_on_all_volumes_of_its_row_is_named_and_left_out(tmp_path):
    put(tmp_path, "whole", entry_of(BCP, [0.8] * 4))
    put(tmp_path, "half", entry_of(replace(BCP, seed=1), [0.9] * 2))
    results = read_results(tmp_path)
    assert [entry["name"] for entry in results.entries] == ["whole"]
    assert list(results.left_out) == [
        "half: was scored on 2 volumes, not on the 4 of another seed of its row"
    ]


def test_runs_of_no_row_of_a_table_are_named_below_it(tmp_path):
    put(tmp_path, "mine", entry_of(BCP, [0.8] * 4))
    put(tmp_path, "other", entry_of(replace(BCP, preset="quick"), [0.8] * 4))
    results = read_results(tmp_path)
    lines = lines_of(rows_of("3"), results)
    text = table_text("3", lines, results, preset="mini", split="val")
    assert "data or labels: 1 run (other; 1 with --preset quick)." in text
    nothing = Results([], {})
    empty = table_text("3", lines_of(rows_of("3"), nothing), nothing, preset="mini", split="val")
    assert "The folder holds no run." in empty


def test_steps_of_every_stage_are_the_same_row_as_one_number(tmp_path):
    row = replace(BCP, set={"steps": 500})
    put(tmp_path, "mine", entry_of(row, [0.8] * 4))
    entries = read_results(tmp_path).entries
    assert len(runs_of(replace(BCP, set={"steps": (500, 500)}), entries)) == 1
    assert len(runs_of(replace(BCP, set={"steps": (500, 400)}), entries)) == 0


def test_a_number_of_labeled_patients_that_no_row_has_is_refused(capsys):
    assert main(["table", "1", "--labeled", "5"]) == 2
    assert "table 1 has rows with [3, 7, 70] labeled" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda e: "{", "not JSON, damaged or cut short"),
        (lambda e: json.dumps(e)[:500], "not JSON, damaged or cut short"),
        (lambda e: "[]", "a ledger entry needs"),
        (lambda e: json.dumps(spoil(e, config={"seed": 5, "preset": "mini", "labeled": 7})), "mixed: its row has seed 1337"),
        (lambda e: json.dumps(spoil(e, summary=e["summary"] | {"dice": 0.99})), "mixed: its dice is 0.99"),
        (lambda e: json.dumps(spoil(e, cases=[{"case": "a"}])), "damaged, KeyError"),
        (lambda e: json.dumps(spoil(e, experiment=3)), "experiment must be a dict, got 3"),
        (lambda e: json.dumps(spoil(e, environment=[])), "environment must be a dict, got []"),
        (lambda e: json.dumps(with_row(e, options=[])), "damaged, TypeError: options of a row"),
        (lambda e: json.dumps(with_row(e, set=3)), "damaged, TypeError: set of a row"),
        (lambda e: json.dumps(with_row(e, method=3)), "damaged, TypeError: method of a row"),
        (lambda e: json.dumps(with_row(e, source=[])), "damaged, TypeError: source is []"),
        (lambda e: json.dumps(spoil(e, patients=[])), "patients must be a dict, got []"),
        (lambda e: json.dumps(spoil(e, cases=[5])), "cases must hold a dict each, got 5"),
        (lambda e: json.dumps(with_case(e, dice="0.8")), "dice is '0.8'"),
        (lambda e: json.dumps(with_case(e, dice=1.7)), "dice is 1.7"),
        (lambda e: json.dumps(with_case(e, jaccard=0.1)), "Dice 0.8 makes a Jaccard of 0.666667"),
        (lambda e: json.dumps(with_case(e, missed=True)), "is missed and has a Dice of 0.8"),
        (lambda e: json.dumps(with_case(e, hd95=None)), "has a Dice and no distances"),
        (lambda e: json.dumps(with_case(e, case="patient00_frame02")), "class 'LV' twice"),
        (lambda e: json.dumps(spoil(e, notes=["split val, 8 volumes; last"])), "incomplete, 4 of 8 volumes"),
        (lambda e: json.dumps(spoil(e, notes=["split val, 4 volumes; the teacher is evaluated"])), "the teacher is evaluated"),
        (lambda e: json.dumps(spoil(e, metric=metric_definition(unit="mm"))), "distances in mm"),
        (lambda e: json.dumps(spoil(e, split="test")), "was evaluated on split test, not val"),
        (lambda e: json.dumps(spoil(e, environment={"precision": "bf16"})), "was trained in bf16"),
    ],
)  # fmt: skip
def test_a_spoiled_entry_is_named_and_left_out(tmp_path, write, says):
    put(tmp_path, "good", entry_of(replace(BCP, seed=1), [0.8] * 4))
    bad = put(tmp_path, "bad", {})
    bad.write_text(write(entry_of(BCP, [0.8] * 4)))
    results = read_results(tmp_path)
    assert [entry["name"] for entry in results.entries] == ["good"]
    (said,) = results.left_out
    assert "bad" in said
    assert says in said
    text = table_text("3", lines_of(rows_of("3"), results), results, preset="mini", split="val")
    assert f"Left out (1): {said}." in text


def test_of_two_runs_of_a_row_and_seed_the_newer_counts_and_the_other_is_named(tmp_path):
    put(tmp_path, "old", entry_of(BCP, [0.7] * 4, started="2025-01-01"))
    put(tmp_path / "seeds", "new", entry_of(BCP, [0.8] * 4, started="2026-01-01"))
    results = read_results(tmp_path)
    assert [entry["name"] for entry in results.entries] == ["seeds/new"]
    said = "old: seeds/new is newer, of the same row and seed"
    assert list(results.left_out) == [said]
    for preset, note in (("mini", f"Left out (1): {said}."), ("toy", "of other rows: 1 run.")):
        lines = lines_of(rows_of("3", preset=preset), results)
        text = table_text("3", lines, results, preset=preset, split="val")
        assert note in text
        assert (said in text) == (preset == "mini")


def test_a_percentile_that_was_typed_with_a_point_is_the_same_row(tmp_path):
    ours = replace(BCP, labeled_rule=url(95))
    entry = entry_of(ours, [0.7] * 4, started="2025-01-01")
    put(tmp_path, "planned", entry_of(ours, [0.8] * 4, started="2026-01-01"))
    rule = {**entry["experiment"]["labeled_rule"], "percentile": 95.0}
    put(tmp_path, "typed", spoil(entry, experiment=entry["experiment"] | {"labeled_rule": rule}))
    results = read_results(tmp_path)
    assert [run["name"] for run in runs_of(ours, results.entries)] == ["planned"]
    assert list(results.left_out) == ["typed: planned is newer, of the same row and seed"]


def test_table_2_says_that_la_is_trained_on_ten_scans_fewer():
    nothing = Results([], {})
    for what, said in (("2", True), ("1", False)):
        lines = lines_of(rows_of(what), nothing)
        text = table_text(what, lines, nothing, preset="mini", split="val")
        assert ("the last 10 of the 80 training scans are held out" in text) == said


def test_only_runs_that_are_equal_in_every_field_but_the_seed_count_as_seeds_of_a_row(tmp_path):
    put(tmp_path, "a", entry_of(replace(BCP, seed=5), [0.8] * 4))
    for i, other in enumerate(
        [
            replace(BCP, labeled=3),
            replace(BCP, set={"lr": 0.02}),
            replace(BCP, options={"box_share": 0.0}),
        ]
    ):
        put(tmp_path, f"other{i}", entry_of(other, [0.2] * 4))
    entries = read_results(tmp_path).entries
    assert len(entries) == 4
    assert [entry["name"] for entry in runs_of(BCP, entries)] == ["a"]


# The committed results


def test_the_page_of_the_committed_ledger_is_made_of_its_files():
    """`python -m tools.make_results` writes it; nothing there is typed."""
    assert (RESULTS / "README.md").read_text(encoding="utf-8") == ledger_page(RESULTS)


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("form", FORMATS)
def test_every_table_prints_from_the_committed_results(capsys, what, form):
    assert main(["table", what, "--format", form]) == 0
    said = capsys.readouterr().out
    rows = rows_of(what)
    if form == "csv":
        lines = [line["protocol"] for line in csv.DictReader(said.splitlines())]
        both = sum("paper" in entry for row in rows for entry in runs_of(row.experiment, RUNS)[:1])
        assert lines.count("honest") == len(rows)
        assert lines.count("paper") == len(lines) - len(rows) == both
    else:
        assert all(row.title in said for row in rows)
        assert "not run" in said


def test_the_committed_runs_stand_in_table_3(capsys):
    assert main(["table", "3", "--format", "csv"]) == 0
    rows = {
        (r["row"], r["reading"]): r for r in csv.DictReader(capsys.readouterr().out.splitlines())
    }
    plain, ours = rows["BCP", ""], rows["URL + CRL", "voxel"]
    assert (plain["n"], plain["seeds"]) == ("5", "1337 1338 1339 1340 1341")
    assert (
        f"{float(plain['dice_mean']) / 100:.3f} ± {float(plain['dice_sd']) / 100:.3f}"
        == "0.777 ± 0.006"
    )
    assert (
        f"{float(ours['dice_mean']) / 100:.3f} ± {float(ours['dice_sd']) / 100:.3f}"
        == "0.770 ± 0.007"
    )
    assert (rows["URL", "voxel"]["n"], rows["URL", "voxel"]["dice_mean"]) == ("0", "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["7"], "table must be"),
        (["3", "--runs", "nowhere"], "nowhere: no such folder"),
        (["3", "--readings", "pixel"], "reading must be"),
        (["3", "--labeled", "0"], "labeled must be at least 1, got 0"),
        (["3", "--set", "speed=3"], "a row can set"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, words, says):
    assert main(["table", *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


# The leak meter


def validations(
    curve: dict[int, list[float]], teacher: list[float] | None = None
) -> list[Validated]:
    names = [f"p{i}_a" for i in range(len(next(iter(curve.values()))))]
    rows = [
        Validated("self", step, "student", case, "LV", dice)
        for step, scores in curve.items()
        for case, dice in zip(names, scores, strict=True)
    ]
    last = max(curve)
    return rows + [
        Validated("self", last, "teacher", case, "LV", dice)
        for case, dice in zip(names, teacher or [], strict=False)
    ]


def test_the_leak_meter_by_hand():
    """Two patients: one chooses, the other reports, then the other way round."""
    found = leak(validations({10: [0.2, 0.9], 20: [0.8, 0.1], 30: [0.5, 0.5]}, [0.6, 0.7]))
    assert found["best on test"] == pytest.approx((0.9 + 0.8) / 2)
    assert found["best on validation"] == pytest.approx((0.1 + 0.2) / 2)
    assert found["last"] == pytest.approx(0.5)
    assert found["last teacher"] == pytest.approx(0.65)
    assert (found["splits"], found["validations"]) == (2, 3)


@settings(max_examples=30)
@given(
    st.integers(2, 7).flatmap(
        lambda n: st.lists(
            st.lists(st.floats(0, 1), min_size=n, max_size=n), min_size=1, max_size=5
        )
    )
)
def test_choosing_on_the_test_set_never_reports_less_than_any_honest_rule(curve):
    found = leak(validations({10 * (i + 1): scores for i, scores in enumerate(curve)}))
    for rule in ("best on validation", "last"):
        assert found["best on test"] >= found[rule] - 1e-12
    assert set(found) - {"splits", "validations"} == set(RULES[:3])


def test_both_frames_of_a_patient_stand_in_the_same_half():
    cases = ["p1_a", "p1_b", "p2_a", "p2_b"]
    rows = [
        Validated("s", 1, "student", c, "LV", d) for c, d in zip(cases, (1, 1, 0, 0), strict=True)
    ]
    patients = {case: case[:2] for case in cases}
    assert leak(rows, patients)["splits"] == 2
    assert leak(rows)["splits"] == 6
    assert len(halves([str(i) for i in range(40)])) == 500


def test_a_leak_meter_without_two_patients_or_with_a_gap_says_so():
    with pytest.raises(TooFew, match="at least 2 patients to part, got 1"):
        leak(validations({10: [0.5]}))
    rows = validations({10: [0.5, 0.6], 20: [0.5, 0.6]})
    with pytest.raises(ValueError, match="validation after step 20 lacks"):
        leak(rows[:-1])


def test_a_class_that_is_nowhere_counts_nowhere():
    rows = validations({10: [0.5, 0.7], 20: [0.6, 0.8]})
    with_nan = [*rows, *(r._replace(class_name="RV", dice=math.nan) for r in rows)]
    assert leak(with_nan) == leak(rows)


def test_controls_name_what_they_change():
    rows = control_rows(READING_NAMES["region"])
    plain, ours = rows["BCP"], rows["URL + CRL"]
    assert (plain.labeled_rule, plain.unlabeled_rule) == (whole(), whole())
    assert (ours.labeled_rule, ours.unlabeled_rule) == (url(95), crl(99))
    for name, row in rows.items():
        changed = (
            {key for key, value in vars(row).items() if value != getattr(ours, key)}
            if name.startswith(("URL", "total", "random", "border", "alpha"))
            else set()
        )
        assert changed <= {"labeled_rule", "unlabeled_rule", "options", "set"}, name

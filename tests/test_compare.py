"""Paired statistics against SciPy and by hand, and verdicts by the rule that was fixed before."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats
from test_tables import RESULTS, entry_of, put

from buarl.commands.main import main
from buarl.evaluation.protocols import Validated
from buarl.results import leak, patients, statistics
from buarl.results.comparison import comparison_text
from buarl.results.measured import read_results
from buarl.results.printed import printed_row
from buarl.results.rows import rows_of
from buarl.results.statistics import compare, interval, needed, summarize, wilcoxon
from buarl.results.verdicts import CLAIMS, judge, verdict_text, verdicts

ROWS = {row.title: row.experiment for row in rows_of("3")}
BCP, OURS = ROWS["BCP"], ROWS["URL + CRL, voxel"]


def group(row, table, first=0):
    return [
        {"name": f"{i}", **entry_of(replace(row, seed=first + i), list(scores))}
        for i, scores in enumerate(table)
    ]


def test_differences_are_paired_by_seed_and_case_whatever_their_order():
    a = group(BCP, [[0.5, 0.6, 0.7, 0.8], [0.4, 0.5, 0.6, 0.7]])
    b = group(OURS, [[0.6, 0.6, 0.9, 0.8], [0.5, 0.7, 0.6, 0.6]])
    for entry in b:
        entry["cases"].reverse()
    found = compare(a, b[::-1])
    np.testing.assert_allclose(
        found.differences, [[0.1, 0, 0.2, 0], [0.1, 0.2, 0, -0.1]], atol=1e-12
    )
    assert found.seeds == [0, 1]
    assert found.mean == pytest.approx(0.5 / 8)
    assert found.seed_spread == pytest.approx(np.std([0.3 / 4, 0.2 / 4], ddof=1))
    by_patient = [(0.1 + 0.0 + 0.1 + 0.2) / 4, (0.2 + 0.0 + 0.0 - 0.1) / 4]
    assert found.patient_spread == pytest.approx(np.std(by_patient, ddof=1))
    assert found.patients == ["patient00", "patient00", "patient01", "patient01"]
    assert found.unpaired == []


def test_what_only_one_group_has_is_left_out_and_named():
    a = group(BCP, [[0.5] * 4, [0.4] * 4, [0.3] * 4])
    b = group(OURS, [[0.6] * 4, [0.7] * 4], first=1)
    del b[0]["cases"][0]
    found = compare(a, b)
    assert found.seeds == [1, 2]
    assert len(found.cases) == 3
    assert found.unpaired == ["seed 0", "patient00_frame01"]


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ([], group(OURS, [[0.5] * 4]), "group A must have at least one run, got none"),
        (group(BCP, [[0.5] * 4]), group(OURS, [[0.5] * 4], 9), "must have seeds in common"),
        (group(BCP, [[0.5] * 4]) * 2, group(OURS, [[0.5] * 4]), "every seed once, got \\[0\\]"),
        (group(replace(BCP, source="la"), [[0.5] * 4]), group(OURS, [[0.5] * 4]), "one data set"),
    ],
)
def test_groups_that_cannot_be_paired_are_refused(a, b, says):
    with pytest.raises(ValueError, match=says):
        compare(a, b)


def test_the_interval_of_one_seed_is_scipy_s_bootstrap_over_patients():
    rng = np.random.default_rng(0)
    values = rng.normal(0.01, 0.03, 20)
    ours = interval(values[None], [str(i) for i in range(20)], seed=1)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.001)


def test_the_interval_of_one_patient_is_scipy_s_bootstrap_over_seeds():
    values = np.random.default_rng(3).normal(0.0, 0.02, (12, 1))
    ours = interval(values, ["only"], seed=1)
    theirs = stats.bootstrap(
        (values[:, 0],),
        np.mean,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.001)


def test_the_variance_of_both_together_is_that_of_the_crossed_design():
    """Of additive effects the resampled mean has the variance of both parts, added."""
    rng = np.random.default_rng(4)
    seeds, patients = rng.normal(0, 0.02, (30, 1)), rng.normal(0, 0.03, (1, 40))
    low, high = interval(seeds + patients, [str(i) for i in range(40)])
    spread = math.sqrt(seeds.var() / 30 + patients.var() / 40)
    assert (high - low) / (2 * 1.96) == pytest.approx(spread, rel=0.05)


def test_two_frames_of_a_patient_are_drawn_together():
    values = np.array([[0.1, 0.1, -0.1, -0.1]])
    together = interval(values, ["a", "a", "b", "b"])
    apart = interval(values, list("abcd"))
    assert together == (-0.1, 0.1)
    assert apart[1] - apart[0] <= together[1] - together[0]


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 6), st.floats(-0.2, 0.2))
def test_an_interval_moves_with_its_differences_and_holds_their_range(seeds, cases, shift):
    values = np.random.default_rng(seeds * 10 + cases).normal(0, 0.05, (seeds, cases))
    names = [str(i) for i in range(cases)]
    low, high = interval(values, names)
    assert values.min() - 1e-12 <= low <= high <= values.max() + 1e-12
    np.testing.assert_allclose(
        interval(values + shift, names), (low + shift, high + shift), atol=1e-9
    )
    assert interval(values, names) == (low, high)


def test_wilcoxon_is_scipy_s_and_the_smallest_case_by_hand():
    values = np.random.default_rng(5).normal(0.01, 0.03, 20)
    assert wilcoxon(values) == stats.wilcoxon(values).pvalue
    assert wilcoxon(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.0])) == pytest.approx(2 / 2**5)


def test_two_frames_of_a_patient_are_one_observation_of_the_wilcoxon_test():
    by_volume = np.random.default_rng(8).normal(0.01, 0.03, (3, 12))
    found = summarize(by_volume, [0, 1, 2], list("abcdefghijkl"), list("aabbccddeeff"))
    by_patient = by_volume.mean(0).reshape(6, 2).mean(1)
    assert found.p == pytest.approx(stats.wilcoxon(by_patient).pvalue)
    assert found.p != pytest.approx(stats.wilcoxon(by_volume.mean(0)).pvalue)


@pytest.mark.parametrize(("of_seeds", "held"), [(0.006, 0.94), (0.02, 0.82)])
def test_intervals_of_three_seeds_hold_the_truth_as_often_as_is_said(of_seeds, held, monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 1000)
    rng, patients = np.random.default_rng(9), [str(i // 2) for i in range(20)]
    hits, studies = 0, 300
    for study in range(studies):
        values = rng.normal(0, of_seeds, (3, 1)) + rng.normal(0, 0.02, (3, 20))
        values += np.repeat(rng.normal(0, 0.01, (1, 10)), 2, 1)
        low, high = interval(values, patients, seed=study)
        hits += low <= 0 <= high
    assert hits / studies == pytest.approx(held, abs=0.05)


@pytest.mark.parametrize("spread", [0.003, 0.006, 0.01, 0.02])
def test_as_many_seeds_as_are_said_to_be_needed_see_half_a_point_in_four_of_five_studies(spread):
    count = needed(spread)
    rng = np.random.default_rng(6)
    studies = rng.normal(0.005, spread, (20_000, count))
    seen = (stats.ttest_1samp(studies, 0, axis=1).pvalue < 0.05).mean()
    assert seen > 0.79
    if count > 2:
        fewer = (stats.ttest_1samp(studies[:, :-1], 0, axis=1).pvalue < 0.05).mean()
        assert fewer < 0.81


def test_twenty_volumes_of_ten_patients_cannot_carry_half_a_point():
    """On the committed runs of BCP with and without the rules."""
    entries = {e["name"]: e for e in read_results(RESULTS).entries}
    names = [f"seeds/bcp_{seed}" for seed in (1337, 1338, 1339)]
    ours = [f"seeds/bcp_url_crl_voxel_{seed}" for seed in (1337, 1338, 1339)]
    found = compare([entries[n] for n in names], [entries[n] for n in ours])
    assert (len(found.cases), len(set(found.patients))) == (20, 10)
    assert found.visible > 0.02
    assert found.patients_needed > 100


def test_a_case_without_a_score_is_left_out():
    found = summarize(np.array([[0.1, np.nan], [0.1, 0.2]]), [0, 1], ["a", "b"], ["a", "b"])
    assert (found.cases, found.unpaired) == (["a"], ["b"])
    assert math.isnan(found.patient_spread)
    assert found.patients_needed is None


# Verdicts


@pytest.mark.parametrize(
    ("low", "high", "gain", "seeds", "word"),
    [
        (0.01, 3, 1.56, 3, "holds"),
        (0.01, 0.5, 1.56, 3, "holds"),  # above 0, though below half the gain
        (0, 3, 1.56, 3, "undecided"),
        (-1, 0.779, 1.56, 3, "refuted"),
        (-1, 0.781, 1.56, 3, "undecided"),
        (-3, -1, 1.56, 3, "refuted"),
        (-3, -1, 1.56, 2, "undecided"),
        (1, 3, 1.56, 1, "undecided"),
    ],
)
def test_the_rule(low, high, gain, seeds, word):
    assert judge(low, high, gain, seeds) == word


def test_every_claim_is_a_printed_gain():
    assert len(CLAIMS) == 8 + 5 + 3 + 3 + 2 + 2 + 1
    for claim in CLAIMS:
        better, other = (printed_row(*place, claim.labeled) for place in claim.places)
        assert claim.gain == better.dice - other.dice > 0
    gains = [round(claim.gain, 2) for claim in CLAIMS[:4]]
    assert gains == [12.44, 0.83, 2.54, 1.56]
    over_bcp = {str(claim): round(claim.gain, 2) for claim in CLAIMS if claim.other_table}
    assert list(over_bcp.values()) == [1.29, 1.44, 1.28, 1.26, 1.22]  # as the text has them
    assert next(iter(over_bcp)) == "Table 4, 7 labeled: CRL on both over BCP of Table 3"


def test_verdicts_come_from_runs_and_name_them(tmp_path):
    rng = np.random.default_rng(7)
    for seed in range(3):
        plain = rng.uniform(0.7, 0.8, 20)
        put(tmp_path, f"bcp_{seed}", entry_of(replace(BCP, seed=seed), list(plain)))
        better = list(plain + rng.normal(0.02, 0.002, 20))
        put(tmp_path, f"ours_{seed}", entry_of(replace(OURS, seed=seed), better))
        worse = list(plain - 0.01)
        put(tmp_path, f"url_{seed}", entry_of(replace(ROWS["URL, voxel"], seed=seed), worse))
    found = {
        (v.claim.table, v.claim.better, v.claim.other, v.reading): v
        for v in verdicts(read_results(tmp_path).entries)
    }
    both = found[3, "URL + CRL", "BCP", "voxel"]
    assert both.word == "holds"
    assert both.runs == (("ours_0", "ours_1", "ours_2"), ("bcp_0", "bcp_1", "bcp_2"))
    assert both.comparison.mean == pytest.approx(0.02, abs=0.001)
    assert found[3, "URL", "BCP", "voxel"].word == "refuted"
    assert found[1, "Ours(BCP)", "BCP", "voxel"].word in ("holds", "not run")
    assert found[3, "URL + CRL", "BCP", "region"].word == "not run"
    assert found[6, "weigh down", "remove", "voxel"].why == '"remove" not run'
    text = verdict_text(list(found.values()))
    assert "lies above 0" in text
    assert f"{sum(v.word == 'not run' for v in found.values())} not run" in text


def test_no_committed_claim_is_settled_by_fewer_than_three_seeds():
    for verdict in verdicts(read_results(RESULTS).entries):
        if verdict.word in ("holds", "refuted"):
            assert len(verdict.comparison.seeds) >= 3


# The command


def test_verdicts_print_with_the_rule_and_as_csv_with_one_head(capsys):
    assert main(["table", "verdicts"]) == 0
    said = capsys.readouterr().out
    assert "preset mini, split val, protocol honest" in said
    assert "lies above 0; refuted: it lies below half the printed gain" in said
    assert main(["table", "verdicts", "--format", "csv"]) == 0
    head, *rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    facts = ["claim", "reading", "preset", "split", "protocol", "printed_gain", "verdict"]
    assert head == [*facts, "mean", "low", "high", "seeds", "why", "runs", "other_runs"]
    assert len(rows) == 2 * 2 * len(CLAIMS)  # readings, protocols
    lines = [dict(zip(head, row, strict=True)) for row in rows]
    assert {each["verdict"] for each in lines} <= {"holds", "refuted", "undecided", "not run"}
    assert {each["protocol"] for each in lines} == {"honest", "paper"}
    (region,) = (
        each
        for each in lines
        if (each["claim"], each["reading"]) == ("Table 3, 7 labeled: URL + CRL over BCP", "region")
        and each["protocol"] == "honest"
    )
    assert float(region["low"]) < float(region["mean"]) < float(region["high"]) < 0
    assert (region["preset"], region["seeds"], region["verdict"]) == ("mini", "3", "refuted")


def test_a_row_that_was_run_and_not_validated_is_not_called_not_run(tmp_path, capsys):
    for seed in range(3):
        put(tmp_path, f"bcp_{seed}", entry_of(replace(BCP, seed=seed), [0.7] * 4))
        put(tmp_path, f"ours_{seed}", entry_of(replace(OURS, seed=seed), [0.71] * 4))
    entries = read_results(tmp_path).entries
    (found,) = (
        each
        for each in verdicts(entries, protocol="paper", readings=["voxel"])
        if (each.claim.table, each.claim.better, each.claim.other) == (3, "URL + CRL", "BCP")
    )
    assert found.why == '"URL + CRL" run without validations; "BCP" run without validations'
    assert main(["table", "3", "--runs", str(tmp_path), "--protocol", "paper"]) == 0
    said = capsys.readouterr().out
    assert "Run, but not evaluated under protocol paper: BCP; URL + CRL, voxel." in said
    assert "Not run (5): URL, voxel;" in said


def test_two_rows_of_a_table_are_judged_by_their_printed_gain(capsys):
    assert main(["compare", "3:BCP", "3:URL + CRL, region"]) == 0
    assert "printed gain +1.56 points: refuted (holds: the 95 % interval" in capsys.readouterr().out
    assert main(["compare", "3:URL + CRL, region", "3:BCP"]) == 0  # nobody printed that
    assert "printed gain" not in capsys.readouterr().out


def test_an_installed_package_has_the_printed_cells_and_says_where_runs_are(
    capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr("buarl.commands.tables.RESULTS", tmp_path / "gone")
    assert main(["table", "3", "--runs", str(tmp_path / "gone")]) == 0
    said = capsys.readouterr()
    assert "| 90.40 " in said.out
    assert "no runs come with an installed buarl; name yours with --runs" in said.err


def test_two_rows_of_the_ledger_are_compared(capsys):
    assert main(["compare", "bcp", "bcp_url_crl_voxel"]) == 0
    said = capsys.readouterr().out
    assert "bcp_url_crl_voxel minus bcp" in said
    assert "seeds 1337 1338 1339; 20 volumes of 10 patients" in said
    assert "left out, in one group only or without a score: seed 1340, seed 1341" in said
    assert "arXiv 2307.10926" in said
    assert "\nA and B differ in: labeled rule, unlabeled rule\n" in said
    assert main(["compare", "3:BCP", "3:URL + CRL, voxel"]) == 0
    again = capsys.readouterr().out.splitlines()
    (judged,) = (line for line in again if line.startswith("printed gain +1.56 points: undecided"))
    again.remove(judged)
    assert said.splitlines()[1:] == again[1:]


def test_rows_of_preset_quick_are_compared_and_everything_that_differs_is_named(capsys):
    assert main(["compare", "bcp", "quick_bcp"]) == 0
    said = capsys.readouterr().out
    assert "quick_bcp minus bcp" in said
    assert "seeds 1337 1338 1339 1340 1341; 20 volumes" in said
    assert "A and B differ in: preset, machine\n" in said
    assert main(["compare", "quick_bcp", "quick_bcp_url_crl_region"]) == 0  # one names no processor
    said = capsys.readouterr().out
    assert "labeled reduction, unlabeled reduction\n" in said


@pytest.mark.parametrize(
    ("seeds", "volumes", "says"),
    [
        (1, 2, "one seed and one patient: the interval is over nothing"),
        (1, 4, "one seed: the interval is over patients only"),
        (2, 2, "one patient: the interval is over seeds only"),
        (2, 4, "an interval of so few is too narrow"),
    ],
)
def test_what_an_interval_is_over_is_said_once(seeds, volumes, says):
    a, b = (group(row, [[dice] * volumes] * seeds) for row, dice in ((BCP, 0.5), (OURS, 0.6)))
    said = comparison_text("B minus A", compare(a, b))
    assert said.count("the interval is over") + said.count("too narrow") == 1
    assert says in said


def test_folders_of_runs_are_compared(tmp_path, capsys):
    for name, row, dice in (("a", BCP, 0.7), ("b", OURS, 0.75)):
        for seed in range(2):
            put(tmp_path / name, f"{seed}", entry_of(replace(row, seed=seed), [dice] * 4))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert (
        "difference of dice: +5.00 points, 95 % interval +5.00 to +5.00" in capsys.readouterr().out
    )
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--score", "hd95"]) == 0
    assert "+0.00 voxels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["bcp", "nothing"], "nothing: neither a folder nor a row"),
        (["bcp", "3:Ours"], "table 3 has the rows BCP; URL"),
        (["bcp", "9:BCP"], "table must be"),
        (["bcp", "dtc"], "dtc: no run yet on split val"),
        (["bcp", "bcp", "--protocol", "paper"], "none evaluated under protocol paper"),
        (["bcp", "bcp", "--seed", "-1"], "seed must be at least 0"),
        (["la_bcp", "bcp"], "both groups must be of one data set"),
        (["bcp", "."], "no runs"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_a_verdict_says_where_both_rows_were_trained_if_that_differs():
    a, b = group(BCP, [[0.5] * 4] * 3), group(OURS, [[0.6] * 4] * 3)
    (same,) = (v for v in verdicts([*a, *b]) if v.claim.table == 3 and v.word == "holds")
    assert "trained on" not in same.why
    for place, runs in (("AVX2", a), ("AVX512", b)):
        for run in runs:
            run["environment"] = {**run["environment"], "machine": place}
    (other,) = (v for v in verdicts([*a, *b]) if v.claim.table == 3 and v.word == "holds")
    assert other.why.endswith("; trained on AVX512 and AVX2")
    a[0]["environment"]["machine"] = "AVX512"
    (mixed,) = (v for v in verdicts([*a, *b]) if v.claim.table == 3 and v.word == "holds")
    assert mixed.why.endswith("; trained on AVX512 and AVX2 or AVX512")


def test_a_leak_is_not_told_of_a_part_of_the_checkpoints(tmp_path, monkeypatch):
    run = {"experiment": {"source": "acdc"}, "config": {"stages": [{"steps": 2}]}}
    run["seconds"] = {"train": 1.0}
    (tmp_path / "validation.csv").write_text("stage,step,dice\ntrain,1,0.5\ntrain,2,0.6\n")
    lines = "".join(f"train,2,student,p{n}_a,LV,0.6\n" for n in (1, 2))
    (tmp_path / "validation_cases.csv").write_text(f"stage,step,network,case,class,dice\n{lines}")
    for module in (leak, patients):
        monkeypatch.setattr(module, "read_run", lambda folder: run)
    with pytest.raises(ValueError, match="step 1 was validated by a version that kept no Dice"):
        leak.leak_of_run(tmp_path)
    (tmp_path / "validation.csv").write_text("stage,step,dice\ntrain,2,0.6\n")
    assert leak.leak_of_run(tmp_path)["last"] == pytest.approx(0.6)
    run["config"]["stages"][0]["steps"] = 3  # it went on without validations
    with pytest.raises(ValueError, match="last validation was after step 2 of stage train"):
        leak.leak_of_run(tmp_path)
    run["config"]["stages"][0]["steps"], run["seconds"] = 2, {}  # in training
    with pytest.raises(ValueError, match="what is best or last cannot be said"):
        leak.leak_of_run(tmp_path)


def test_a_patient_without_a_dice_is_left_out_of_the_leak_meter():
    """As a volume is without a structure that nobody predicts either."""
    scores = {1: (0.5, 0.9, math.nan), 2: (0.7, 0.6, math.nan)}
    rows = [
        Validated("train", step, "student", f"{case}_x", "LV", dice)
        for step, each in scores.items()
        for case, dice in zip("abc", each, strict=True)
    ]
    whole = {f"{case}_x": case for case in "abc"}
    found = leak.leak(rows, whole)
    assert [round(found[rule], 3) for rule in leak.RULES[:3]] == [0.8, 0.55, 0.65]
    assert found["splits"] == 2
    with pytest.raises(leak.TooFew, match="at least 2 patients to part, got 1"):
        leak.leak([row for row in rows if row.case != "b_x"], whole)


def test_the_leak_of_a_run_without_validations_is_one_sentence(capsys, tmp_path):
    assert main(["leak", str(RESULTS / "bcp.json")]) == 2
    assert "`buarl train --validate STEPS` train runs that do" in capsys.readouterr().err
    assert main(["leak", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err


def test_damaged_files_are_named_beside_a_comparison_and_the_verdicts(capsys, tmp_path):
    for seed in range(3):
        put(tmp_path, f"bcp_{seed}", entry_of(replace(BCP, seed=seed), [0.7] * 4))
        put(tmp_path, f"ours_{seed}", entry_of(replace(OURS, seed=seed), [0.8] * 4))
    (tmp_path / "ours_1.json").write_text("{")
    words = ["compare", "3:BCP", "3:URL + CRL, voxel", "--runs", str(tmp_path)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "left out: " in said
    assert "ours_1.json: not JSON" in said
    assert "A: method bcp; data acdc, 7 labeled; preset mini; precision fp32; on " in said
    assert main(["table", "verdicts", "--runs", str(tmp_path)]) == 0
    assert "ours_1.json: not JSON" in capsys.readouterr().err
    assert main(["table", "3", "--format", "csv", "--runs", str(tmp_path)]) == 0
    assert "ours_1.json: not JSON" in capsys.readouterr().err


def test_verdicts_are_of_the_numbers_and_the_data_that_are_asked_for(capsys, tmp_path):
    for seed in range(3):
        for name, row, dice in (("bcp", BCP, 0.7), ("ours", OURS, 0.8)):
            moved = replace(row, seed=seed, set={"steps": 500}, source="phantom")
            put(tmp_path, f"{name}_{seed}", entry_of(moved, [dice] * 4))
    words = ["table", "verdicts", "--runs", str(tmp_path), "--protocol", "honest"]
    assert main([*words, "--source", "phantom", "--set", "steps=500"]) == 0
    said = capsys.readouterr().out
    assert "data phantom, preset mini, steps=500" in said
    assert "| holds" in said
    assert main(words) == 0
    assert "0 holds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["bcp", "bcp"], "bcp and bcp are the same runs"),
        (["bcp", "bcp_url_crl_voxel", "--preset", "quick"], "--preset chooses among runs of TABLE"),
        (["bcp", "bcp_url_crl_voxel", "--preset", "nope"], "preset must be"),
    ],
)
def test_what_compare_cannot_mean_is_refused(capsys, words, says):
    assert main(["compare", *words]) == 2
    assert says in capsys.readouterr().err


def test_a_file_is_checked_as_a_table_would(capsys, tmp_path):
    good = put(tmp_path, "good", entry_of(BCP, [0.7] * 4))
    bad = entry_of(OURS, [0.8] * 4)
    bad = put(tmp_path, "bad", bad | {"summary": bad["summary"] | {"dice": 0.99}})
    assert main(["compare", str(good), str(bad)]) == 2
    assert "mixed: its dice is 0.99" in capsys.readouterr().err
    assert main(["compare", str(good), str(good), "--split", "test"]) == 2
    assert "was evaluated on split val, not test" in capsys.readouterr().err


def test_a_folder_that_is_named_like_a_row_does_not_hide_it(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bcp").mkdir()
    assert main(["compare", "bcp", "bcp_url_crl_voxel", "--runs", str(RESULTS)]) == 0
    assert "A: method bcp; data acdc" in capsys.readouterr().out
    assert main(["compare", "./bcp", "bcp_url_crl_voxel", "--runs", str(RESULTS)]) == 2
    assert "it holds no run and no entry" in capsys.readouterr().err

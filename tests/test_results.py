"""A ledger entry tells of a run what a reader must know, and no more; tables show their gaps."""

from __future__ import annotations

import json
import math
import re
import statistics
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from scipy import stats
from tiny import PRESET, write_tiny

from benchmarks.report import ratios_of
from buarl.data.acdc import Acdc
from buarl.evaluation.scores import write_metrics
from buarl.regions import url
from buarl.results.ledger import (
    KEYS,
    OPTIONAL,
    add_to_ledger,
    ledger_table,
    read_ledger,
    spread_table,
)
from buarl.results.measured import read_results, runs_of
from buarl.results.page import quick_rows
from buarl.results.rows import rows_of
from buarl.results.speedrun import p_of_target
from buarl.results.statistics import compare
from buarl.results.verdicts import judge, verdicts
from buarl.training.checkpoint import write_json
from buarl.training.config import PRESETS, Experiment
from buarl.training.identity import plain_row
from buarl.training.run import SELECTION, read_run, run_experiment
from tools.page_tables import TABLES, filled

ROW = Experiment(
    method="supervised", labeled_rule=url(80), source="acdc", labeled=2, preset="tiny", seed=7
)
SCORES = [
    {"case": "p91", "class": "RV", "dice": 0.4, "jaccard": 0.25, "hd95": 4.0, "asd": 1.5},
    {"case": "p91", "class": "LV", "dice": 0.0, "jaccard": 0.0, "hd95": math.nan, "asd": math.nan},
]
HOME = Path(__file__).parent.parent
ROWS = [{**row, "missed": row["class"] == "LV"} for row in SCORES]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A trained and evaluated run; do not write there."""
    root = tmp_path_factory.mktemp("data") / "secret"
    root.mkdir()
    out = tmp_path_factory.mktemp("runs") / "url"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", PRESET)
        run_experiment(ROW, Acdc(write_tiny(root)), out)
    write_metrics(out / "metrics_val.csv", ROWS, ("split val, 1 volumes",), "nan")
    return out


@pytest.fixture
def copied(finished, tmp_path):
    """A run folder to damage."""
    out = tmp_path / "run"
    out.mkdir()
    for name in ("run.json", "metrics_val.csv"):
        (out / name).write_bytes((finished / name).read_bytes())
    return out


def test_an_entry_tells_how_the_numbers_came_about(finished, tmp_path):
    path = add_to_ledger(tmp_path / "results", "acdc_url", finished)
    assert path == tmp_path / "results" / "acdc_url.json"
    (entry,) = read_ledger(tmp_path / "results")
    run = read_run(finished)
    assert set(entry) == {"name", *KEYS, *OPTIONAL}
    assert 50 < entry["peak_mib"] < 50_000
    assert entry["name"] == "acdc_url"
    assert Experiment.from_dict(entry["experiment"]) == ROW
    for key in ("config", "environment", "seconds", "started"):
        assert entry[key] == run[key]
    assert entry["selection"] == SELECTION
    assert entry["metric"].startswith("MedPy")
    assert entry["notes"] == ["split val, 1 volumes"]
    assert entry["summary"]["dice"] == pytest.approx(0.2)
    assert entry["summary"]["dice RV"] == 0.4
    assert (entry["summary"]["missed"], entry["summary"]["cases"]) == (1, 1)
    assert [row["dice"] for row in entry["cases"]] == [0.4, 0.0]


def test_an_entry_is_strict_json_without_paths(finished, tmp_path):
    text = add_to_ledger(tmp_path, "url", finished).read_text()

    def refuse(constant):
        raise AssertionError(constant)

    entry = json.loads(text, parse_constant=refuse)  # NaN would be no JSON
    assert entry["cases"][1]["hd95"] is None
    assert "secret" not in text
    assert str(tmp_path) not in text


def test_entering_a_run_again_replaces_it_but_not_another(finished, copied, tmp_path):
    add_to_ledger(tmp_path / "r", "url", finished)
    path = add_to_ledger(tmp_path / "r", "url", finished)
    before = path.read_bytes()
    run = read_run(copied)
    write_json(copied / "run.json", {**run, "experiment": {**run["experiment"], "seed": 8}})
    with pytest.raises(ValueError, match=r"url\.json: holds another experiment"):
        add_to_ledger(tmp_path / "r", "url", copied)
    assert path.read_bytes() == before


def test_an_unfinished_run_is_refused(copied, tmp_path):
    write_json(copied / "run.json", {**read_run(copied), "finished": False})
    with pytest.raises(ValueError, match="not finished"):
        add_to_ledger(tmp_path / "r", "url", copied)
    assert not (tmp_path / "r").exists()


def test_a_run_without_that_evaluation_is_refused(finished, tmp_path):
    with pytest.raises(ValueError, match=r"metrics_test\.csv"):
        add_to_ledger(tmp_path / "r", "url", finished, split="test")


def test_a_ledger_is_read_by_name_and_may_be_absent(finished, tmp_path):
    assert read_ledger(tmp_path / "none") == []
    for name in ("b", "a"):
        add_to_ledger(tmp_path, name, finished)
    assert [entry["name"] for entry in read_ledger(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(("text", "says"), [("{", "not JSON"), ("{}", "summary"), ("[]", "needs")])
def test_a_file_that_is_no_entry_is_named(tmp_path, text, says):
    (tmp_path / "odd.json").write_text(text)
    with pytest.raises(ValueError, match=rf"odd\.json.*{says}"):
        read_ledger(tmp_path)


def test_the_table_shows_scores_and_gaps(finished, tmp_path):
    add_to_ledger(tmp_path, "url", finished)
    rows = {"URL": ROW, "other seed": replace(ROW, seed=8), "paper": replace(ROW, preset="paper")}
    lines = ledger_table(rows, read_ledger(tmp_path)).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0][:6] == ["", "Dice", "Jaccard", "95HD", "ASD", "missed"]
    assert cells[2][:6] == ["URL", "0.200", "0.125", "4.00", "1.50", "1"]
    assert cells[2][6:9] + cells[2][10:] == ["val", "6", "0.0", "CPU"]
    assert int(cells[2][9]) == read_ledger(tmp_path)[0]["peak_mib"]
    assert cells[3] == ["other seed", "not yet run", *[""] * 9]
    assert cells[4][:2] == ["paper", "not yet run"]
    assert len({len(line) for line in lines}) == 1


def test_the_table_shows_every_entry_of_a_row(finished, tmp_path):
    for name in ("first", "second"):
        add_to_ledger(tmp_path, name, finished)
    assert ledger_table({"URL": ROW}, read_ledger(tmp_path)).count("0.200") == 2
    assert ledger_table({"URL": ROW}, []).count("not yet run") == 1


@pytest.mark.parametrize("path", sorted((HOME / "results").rglob("*.json")), ids=lambda p: p.stem)
def test_a_committed_row_is_written_today_as_it_was_then(path):
    written = json.loads(path.read_text()).get("experiment")
    if written is not None:  # benchmarks have none
        row = Experiment.from_dict(written)
        assert json.dumps(row.as_dict()) == json.dumps(written)
        if path.parent.name != "road":  # where numbers are tried
            shorter = "steps=4000" if "4000_4000" in path.stem else ""
            assert plain_row(row).changes == shorter


def test_what_a_row_sets_stands_beside_it_in_both_tables(finished, tmp_path):
    path = add_to_ledger(tmp_path, "url_7", finished)
    entry = json.loads(path.read_text())
    row = replace(ROW, set={"steps": 9, "lr": 0.03})
    for seed in (7, 8):
        experiment = replace(row, seed=seed).as_dict()
        write_json(tmp_path / f"longer_{seed}.json", {**entry, "experiment": experiment})
    plain, longer = ledger_table({"URL": ROW, "longer": row}, read_ledger(tmp_path)).splitlines()[
        2:
    ]
    assert plain.startswith("| URL ")
    assert longer.startswith("| longer (steps=9 lr=0.03) | 0.200 ")
    assert "| longer (steps=9 lr=0.03), fp32 |" in spread_table(
        {"longer": row}, read_ledger(tmp_path)
    )


def test_the_spread_between_seeds_by_hand(finished, tmp_path):
    path = add_to_ledger(tmp_path, "url_1", finished)
    entry = json.loads(path.read_text())
    for precision, seed, dice in (
        *(("fp32", 8, 0.1), ("fp32", 9, 0.3)),
        *(("bf16_backward", 8, 0.3), ("bf16_backward", 9, 0.4), ("bf16", 8, 0.9)),
    ):
        changed = {
            **entry,
            "experiment": {**entry["experiment"], "seed": seed},
            "environment": {**entry["environment"], "precision": precision},
            "summary": {**entry["summary"], "dice": dice, "asd": None},
        }
        write_json(tmp_path / f"url_{precision}_{seed}.json", changed)
    rows = {"URL": ROW, "one": replace(ROW, preset="paper")}
    lines = spread_table(rows, read_ledger(tmp_path)).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len(cells) == 4  # nothing to say of a row without seeds, nor of one seed in bf16
    assert cells[0] == ["", "Dice", "Jaccard", "95HD", "ASD", "missed", "seeds"]
    assert cells[2][:5] == [
        "URL, fp32",
        "0.200 ± 0.100",
        "0.125 ± 0.000",
        "4.00 ± 0.00",
        "-",
    ]
    assert cells[2][6] == f"{ROW.seed}, 8, 9"
    assert cells[3][:2] == ["URL, bf16_backward", "0.350 ± 0.071"]
    assert cells[3][6] == "8, 9"


def words(page: str) -> str:
    """What a page says, without line breaks."""
    return " ".join((HOME / page).read_text().split())


def around(scores: dict[str, float]) -> tuple[float, float, str]:
    """Mean and standard deviation between seeds, and both as README writes them."""
    mean, spread = statistics.mean(scores.values()), statistics.stdev(scores.values())
    return mean, spread, f"{mean:.3f} ± {spread:.3f}"


def test_the_scores_on_the_page_of_results_are_the_ledgers():
    dice = {e["name"]: f"{e['summary']['dice']:.3f}" for e in read_ledger(HOME / "results")}
    said = words("docs/results.md")
    voxel, region = "url_crl_voxel", "url_crl_region"
    assert (
        f"BCP {dice['bcp']} plain, {dice[f'bcp_{voxel}']} with URL + CRL per voxel, "
        f"{dice[f'bcp_{region}']} per region; Mean Teacher {dice['mean_teacher']} plain, with its own "
        f"squared error, on pseudo-labels {dice[f'mean_teacher_{voxel}']} per voxel and "
        f"{dice[f'mean_teacher_{region}']} per region"
    ) in said
    assert (
        f"supervised {dice['la_supervised']} and {dice['la_supervised_url_voxel']} (URL alone), "
        f"BCP {dice['la_bcp']} and {dice[f'la_bcp_{voxel}']}, Mean Teacher on pseudo-labels "
        f"{dice['la_mean_teacher_pseudo_label']} and {dice[f'la_mean_teacher_{voxel}']} "
        f"(with its own squared error {dice['la_mean_teacher']}). What looks like a gain of the "
        f"rules there is that of the pseudo-labels. SASSNet, plain, has {dice['la_sassnet']}, DTC "
        f"{dice['la_dtc']}."
    ) in said


def test_the_seeds_in_readme_and_results_are_the_ledgers():
    entries = read_ledger(HOME / "results" / "seeds")
    dice = {e["name"]: e["summary"]["dice"] for e in entries}
    said, readme = words("docs/results.md"), words("README.md")
    rows = ("bcp", "bcp_url_crl_voxel", "bcp_url_crl_region")
    rows += ("mean_teacher_pseudo_label", "mean_teacher_url_crl_voxel")
    plain, ruled, region, control, weighted = (
        {name[-4:]: value for name, value in dice.items() if re.fullmatch(rf"{row}_\d+", name)}
        for row in rows
    )
    number = {3: "three", 4: "four", 5: "five"}
    _, _, written = around(plain)
    assert (
        f"plain BCP had {written} over {number[len(plain)]} seeds and URL + CRL per voxel "
        f"{around(ruled)[2]} over {number[len(ruled)]}, less with each of them"
    ) in said
    seeds = f"{len(plain)}, {len(ruled)}, {len(region)}"
    cells = f"{written} | {around(ruled)[2]} | {around(region)[2]} | {seeds} |"
    assert f"| `mini`, 1,000 + 1,000 steps | {cells}" in readme
    assert f"per region, {number[len(region)]} seeds: {around(region)[2]}, 21 points below" in said
    assert all(ruled[seed] < plain[seed] for seed in ruled)
    (_, _, control_written), (_, _, weighted_written) = around(control), around(weighted)
    found = compare(
        *([e for e in entries if re.fullmatch(rf"{row}_\d+", e["name"])] for row in rows[3:])
    )
    between = f"{100 * found.low:.1f} to {100 * found.high:+.1f}"
    gain = f"{100 * found.mean:+.1f} points, 95 % interval {between}"
    assert judge(100 * found.low, 100 * found.high, 2.54, 3) == "undecided"
    assert (
        f"Mean Teacher on pseudo-labels, {number[len(control)]} seeds: {control_written} plain and "
        f"{weighted_written} with URL + CRL per voxel, more with each of them: {gain}, undecided"
    ) in said
    added = f"{100 * found.mean:+.1f} points, {between}"
    written = f"{control_written} plain, {weighted_written} per voxel, {number[len(control)]} seeds"
    assert f"nor is it for Mean Teacher on pseudo-labels ({written}: {added})" in readme
    said = f"{control_written} without rules and {weighted_written} per voxel (three each)"
    assert said in notebook_words("06_crl")
    assert all(weighted[seed] > control[seed] for seed in control)


@pytest.mark.parametrize("page", TABLES)
def test_the_tables_of_a_page_are_those_of_the_committed_runs(page):
    """`python -m tools.make_results` writes them; then read the sentences around what changed."""
    text = (HOME / page).read_text(encoding="utf-8")
    results = read_results(HOME / "results")
    assert filled(text, TABLES[page], results) == text
    assert filled(text.replace("| 0.777 ±", "| 0.888 ±"), TABLES[page], results) == text
    with pytest.raises(ValueError, match="must have one place, found 0"):
        filled(text.replace("<!-- table", "<!-- no table"), TABLES[page], results)


def test_what_the_rules_add_to_bcp_under_mini_is_what_the_committed_runs_say():
    found = read_results(HOME / "results").entries
    rows = rows_of("3", preset="mini")
    plain = next(row for row in rows if row.name == "BCP")
    results, readme = words("docs/results.md"), words("README.md")
    for reading, word in (("voxel", "undecided"), ("region", "refuted")):
        (row,) = (row for row in rows if (row.name, row.reading) == ("URL + CRL", reading))
        pairs = compare(*(runs_of(each.experiment, found) for each in (plain, row)))
        mean, low, high = (100 * value for value in (pairs.mean, pairs.low, pairs.high))
        assert judge(low, high, 1.56, len(pairs.seeds)) == word
        for page in (results, readme):
            assert f"{mean:+.2f} ({low:+.2f} to {high:+.2f}): {word}" in page
        if reading == "voxel":
            said = f"{mean:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}."
            assert said in results
            lesson = notebook_words("11_reading_the_paper")
            assert f"BCP: {mean:+.1f} points, {low:+.1f} to {high:+.1f}." in lesson
        else:
            said = (
                f"{-mean:.0f} points below plain BCP (95 % interval over paired seeds and patients"
            )
            assert f"{said} {-high:.0f} to {-low:.0f})" in results


@pytest.mark.parametrize("name", ["acdc_two_avx2_cores", "acdc_two_zen4_cores"])
def test_the_speeds_on_their_page_are_the_committed_benchmarks(name):
    bench = json.loads((HOME / "results" / "bench" / f"{name}.json").read_text())
    text = (HOME / "docs/speed.md").read_text()
    (said,) = re.findall(rf"\(../results/bench/{name}\.json\) \|(.*)\|", text)
    parts = (
        "load and augment",
        "largest components",
        "metrics",
        "sliding window",
        "whole BCP step",
    )
    lines = [next(x for x in bench["lines"] if x["name"].startswith(part)) for part in parts]
    ratios = [statistics.median(ratios_of(line)) for line in lines]
    cells = [f"{ratio:.{0 if ratio > 20 else 1}f} x" for ratio in ratios]
    cells[-1] += f", {statistics.median(lines[-1]['ours']):.1f} s"
    assert [cell.strip() for cell in said.split("|")] == cells
    assert f"{lines[-1]['gflop']:.0f} GFLOP" in text


def test_the_speed_on_amx_is_that_of_its_file():
    bench = json.loads((HOME / "results/bench/acdc_two_amx_cores.json").read_text())
    (line,) = (x for x in bench["lines"] if x["name"].endswith("256x256, bf16"))
    seconds, ratio = statistics.median(line["ours"]), statistics.median(ratios_of(line))
    said = f"takes {seconds:.2f} s in bf16, {ratio:.2f} x as fast as plain fp32"
    assert said in words("docs/speed.md")


def test_what_compiling_costs_is_what_its_file_says():
    runs = json.loads((HOME / "results/bench/compile_zen5.json").read_text())["runs"]
    eager, compiled, again, rounded = (statistics.median(run["seconds"]) for run in runs)
    extra = (runs[1]["total_s"] - runs[0]["total_s"]) / 60
    said = words("docs/speed.md")
    assert f"takes {compiled:.2f} s of processor time compiled" in said
    low, high = sorted((eager, again))
    assert f"{low:.2f} to {high:.2f} s as written (two measurements), after three" in said
    assert f"as written, takes {rounded:.2f} s there" in said
    assert 3 <= extra < 4
    assert compiled > max(eager, again)


def spread_of(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def test_what_five_seeds_of_quick_reached_is_what_their_files_say():
    """Student and teacher, labels and probabilities sent back; the record was said beforehand."""
    seeds, results = range(1337, 1342), HOME / "results"
    road = [json.loads((results / "road" / f"quick_{seed}.json").read_text()) for seed in seeds]
    dice = {
        part: [entry["scores"][f"metrics_val{part}"]["dice"] for entry in road]
        for part in ("", "_teacher", "_probs", "_teacher_probs")
    }
    entries = [json.loads((results / f"seeds/quick_bcp_{seed}.json").read_text()) for seed in seeds]
    assert dice[""] == pytest.approx([entry["summary"]["dice"] for entry in entries])
    said, p = (
        {part: spread_of(found) for part, found in dice.items()},
        p_of_target(dice["_probs"], 0.85),
    )
    minutes = [sum(entry["seconds"].values()) / 60 for entry in road]
    threads = [entry["environment"]["threads"] for entry in road]
    alone = [m for m, count in zip(minutes, threads, strict=True) if count == 1]
    took = f"{min(alone):.0f} to {max(alone):.0f}"
    quick, road_page = words("docs/quick.md"), words("results/road/README.md")
    assert f"| {' | '.join(said.values())} |" in quick
    assert f"one thread a seed: {took} minutes" in quick
    assert f"took {minutes[threads.index(2)]:.0f}." in quick
    assert f"(p = {p:.3f} against 0.85, one-sided" in quick
    assert f"| 4,000 + 8,000 | {' | '.join(said.values())} | {took} | 5 |" in road_page
    for part in ("", "_probs"):
        assert ", ".join(f"{found:.3f}" for found in dice[part]) in road_page
    assert f"plain BCP {said['']} over five seeds, {said['_probs']} with prob" in words("README.md")
    assert f"five seeds: {said['']} ({said['_probs']} with prob" in words("docs/results.md")
    assert f"in {took} minutes of one core" in words("README.md")
    record = words("results/speedrun.md")
    assert f"the same networks have {said['']} and do not reach 0.85" in record
    assert f"one core each and took {min(alone):.0f} minutes" in record
    assert f"both cores and took {minutes[threads.index(2)]:.0f}." in record
    (line,) = (x for x in record.split("| acdc7 ")[1:])
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[1:6] == [
        *("bcp quick fp32", "student, probs", said["_probs"], "5 of 5", f"{p:.3g}"),
    ]


def test_the_precisions_on_their_page_are_the_committed_runs():
    page, results = words("results/precision/README.md"), HOME / "results"
    for title, files, count in (
        ("fp32", "seeds/bcp_13??.json", 5),
        ("bf16", "precision/bcp_bf16_13??.json", 4),
        ("no machine was a fifth faster with it", "seeds/bcp_bf16_backward_13??.json", 3),
    ):
        entries = [json.loads(path.read_text()) for path in results.glob(files)]
        assert len(entries) == count
        written = spread_of([entry["summary"]["dice"] for entry in entries])
        assert f"{title} | {written} | 1337 - {1336 + count} |" in page


def notebook_words(name):
    """The prose of a lesson."""
    cells = nbformat.read(HOME / f"notebooks/{name}.ipynb", 4).cells
    text = " ".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
    return " ".join(text.split())


def lesson_15():
    return notebook_words("15_does_it_hold")


def test_what_the_rules_add_under_quick_is_what_the_committed_runs_say():
    found = read_results(HOME / "results")
    rows = {row.name: row for row in rows_of("3", preset="quick", readings=["voxel"])}
    plain, ruled = (runs_of(rows[n].experiment, found.entries) for n in ("BCP", "URL + CRL"))
    assert [len(plain), len(ruled)] == [5, 5]
    pairs = compare(plain, ruled)
    low, high, mean = (100 * value for value in (pairs.low, pairs.high, pairs.mean))
    written = spread_of([run["summary"]["dice"] for run in ruled])
    added = f"{mean:+.2f}".replace("-0.00", "0.00")
    gain = f"{added} points over plain BCP, 95 % interval {low:+.2f} to {high:+.2f}"
    for page in ("docs/results.md", "docs/quick.md"):
        assert written in words(page)
        assert gain in words(page)
        assert f"**{judge(low, high, 1.56, 5)}** by the rule" in words(page)
    assert f"{added} ({low:+.2f} to {high:+.2f}): refuted" in words("README.md")
    better = sum(pairs.differences.mean(1) > 0)
    number = {2: "two", 3: "three"}
    each = f"with {number[better]} of them and less with {number[5 - better]}: {gain}"
    for page in ("docs/results.md", "docs/quick.md"):
        assert each in words(page)
    first = compare(plain[:3], ruled[:3])  # what was seen before two more were begun
    seen = f"{100 * first.mean:+.2f}, {100 * first.low:+.2f} to {100 * first.high:+.2f}"
    spreads = [f"{100 * each.seed_spread:.2f}" for each in (first, pairs)]
    ended = [f"{-100 * value:.1f}" for value in pairs.differences.mean(1)[3:]]
    page = words("docs/results.md")
    assert f"it had been {seen}, undecided" in page
    assert f"p = {first.p:.3f} over patients" in page
    assert f"ended {' and '.join(ended)} points below plain BCP" in page
    assert f"was {spreads[0]} points, from five it is {spreads[1]}." in page
    lesson = lesson_15()
    for said in (f"the mean was {seen.split(',')[0]} points", f"gave p = {first.p:.3f}"):
        assert said in lesson
    assert f"lie {spreads[0]} points apart; five say {spreads[1]}" in lesson
    assert f"ended {' and '.join(ended)} points *below*" in lesson


def quick_runs(name, reading="voxel", table="3"):
    """The committed runs of a row under `quick`."""
    found = read_results(HOME / "results").entries
    rows = {row.name: row for row in rows_of(table, preset="quick", readings=[reading])}
    return runs_of(rows[name].experiment, found)


def seeds_alone(pairs):
    """Student's interval of a comparison over its seeds, without its patients, in points."""
    each = 100 * pairs.differences.mean(1)
    return stats.t.interval(0.95, len(each) - 1, each.mean(), stats.sem(each))


def test_where_the_word_per_voxel_under_quick_depends_on_the_interval_every_page_says_so():
    """Over seeds and patients together refuted, over the seeds alone undecided; per region both
    intervals lie below 0."""
    plain = quick_runs("BCP")
    pairs = compare(plain, quick_runs("URL + CRL"))
    low, high = seeds_alone(pairs)
    assert len(pairs.seeds) == 5
    assert judge(100 * pairs.low, 100 * pairs.high, 1.56, 5) == "refuted"
    assert judge(low, high, 1.56, 5) == "undecided"
    said = f"over the five seeds alone gives {low:+.2f} to {high:+.2f}"
    lessons = map(notebook_words, ("05_url", "11_reading_the_paper", "15_does_it_hold"))
    pages = map(words, ("README.md", "docs/results.md", "docs/quick.md"))
    for text in (*pages, *lessons):
        assert said in text
        assert f"({1.56 / 2})" in text
        assert "undecided" in text.partition(said)[2][:160].replace("*", "")
    region = compare(plain, quick_runs("URL + CRL", "region"))
    assert max(seeds_alone(region)[1], 100 * region.high) < 0
    for page in ("README.md", "docs/results.md"):
        assert "er region both intervals lie below 0" in words(page)


def test_the_teachers_with_both_rules_under_quick_are_what_their_files_say():
    runs = quick_runs("URL + CRL")
    teachers = [run["leak"]["last teacher"] for run in runs]
    for run in runs:  # halves of ten patients with two volumes each: the mean over all volumes
        assert run["leak"]["last"] == pytest.approx(run["summary"]["dice"])
    said = f"The teachers of all five have {spread_of(teachers)}"
    assert f"{said} (labels sent back, after the last step" in words("docs/results.md")
    assert f"{said}." in words("docs/quick.md")


def test_what_the_rules_do_per_region_under_quick_is_what_the_committed_runs_say():
    plain, region = quick_runs("BCP"), quick_runs("URL + CRL", "region")
    pairs = compare(plain, region)
    mean, low, high = (-100 * value for value in (pairs.mean, pairs.high, pairs.low))
    written = spread_of([run["summary"]["dice"] for run in region])
    assert len(region) == 3
    word = judge(-high, -low, 1.56, len(pairs.seeds))
    page = words("docs/results.md")
    assert (
        f"{written}, {mean:.1f} points below plain BCP, 95 % interval {low:.1f} to {high:.1f} over "
        f"paired seeds and patients: **{word}**"
    ) in page
    for text in (page, words("README.md")):
        assert f"{-mean:+.2f} ({-high:+.2f} to {-low:+.2f}): {word}" in text
    lesson = lesson_15()
    assert f"cost {mean:.0f} points here" in lesson


def test_what_is_said_of_the_premise_is_what_the_committed_runs_say():
    kept = [run["premise"]["unlabeled"] for run in quick_runs("URL + CRL")]
    assert len(kept) == 5

    def shares(cut, key):
        return [100 * each[cut][key] for each in kept]

    page, readme, lesson = words("docs/results.md"), words("README.md"), lesson_15()
    wrong, held = (statistics.mean(shares("99", key)) for key in ("precision", "recall"))
    said = f"{wrong:.0f} % of the top 1 % are wrong, and they hold {held:.0f} % of the errors"
    assert said in notebook_words("02_entropy")
    for cut in ("95", "99"):
        cells = [
            f"{statistics.mean(shares(cut, key)):.0f} ± {statistics.stdev(shares(cut, key)):.0f}"
            for key in ("precision", "recall", "ceiling")
        ]
        assert f"| q = {cut} | {' | '.join(cells)} |" in page
    wrong, held = statistics.mean(shares("95", "base")), statistics.mean(shares("95", "recall"))
    assert f"of all voxels {wrong:.1f} % are wrong" in page
    assert (
        f"{wrong:.1f} % of the voxels are wrong, and the top 5 % of entropy hold {held:.0f} %"
        in readme
    )
    dice = [run["summary"]["dice"] for run in quick_runs("URL + CRL")]
    assert f"rules per voxel (Dice {min(dice):.3f} to {max(dice):.3f})" in readme
    assert (
        f"top 5 % of entropy hold {held:.0f} ± {statistics.stdev(shares('95', 'recall')):.0f} %"
        in readme
    )
    assert 45 < statistics.mean(shares("99", "recall")) < 55  # "half of them"
    assert "it holds half of them, and the top 5 % hold nearly all" in lesson
    elsewhere = (
        ("BCP per region has {} and {} % of the errors", quick_runs("URL + CRL", "region"), 3),
        ("Mean Teacher {} and {} % (one seed)", quick_runs("MT, 7 labeled", table="1"), 1),
        ("plain BCP on LA {} % above q = 95", quick_runs("BCP, 8 labeled", table="2"), 2),
    )
    for said, runs, count in elsewhere:
        assert len(runs) == count
        kept = [run["premise"]["unlabeled"] for run in runs]
        held = [100 * statistics.mean(each[cut]["recall"] for each in kept) for cut in ("95", "99")]
        assert said.format(*(f"{value:.0f}" for value in held)) in page


def test_what_a_rule_changes_in_a_step_is_what_its_file_says():
    """`tools/measure_gradients.py` wrote it."""
    kept = json.loads((HOME / "results/gradients/quick.json").read_text())
    found = kept["changes"]["acdc7_bcp_quick"]
    voxel, region, chance = (
        found[name]
        for name in ("CRL per voxel", "CRL per region", "another box and dropout pattern")
    )
    each = [100 * statistics.mean(part["each"]) for part in (voxel, region, chance)]
    ends = [f"{100 * min(p['each']):.0f} to {100 * max(p['each']):.0f} %" for p in (voxel, region)]
    page, lesson = words("docs/results.md"), lesson_15()
    assert f"over {kept['batches']} batches of stage 2, CRL per voxel changes the gradient" in page
    assert f"by {each[0]:.0f} % ({ends[0]}), CRL per region by {each[1]:.0f} % ({ends[1]})" in page
    assert f"and another box and dropout pattern by {each[2]:.0f} %" in page
    means = [f"{100 * part['mean']:.0f}" for part in (voxel, region, chance)]
    assert f"by {means[0]}, {means[1]} and {means[2]} %" in page
    assert (
        f"CRL per voxel changes a step by {each[0]:.0f} %, CRL per region by {each[1]:.0f} %"
        in lesson
    )
    assert f"another box and dropout pattern by {each[2]:.0f} %" in lesson
    removed = 100 * statistics.mean(found["removed instead of weighed down"]["each"])
    said = f"weighing down changes a step by {each[0]:.0f} % and removing by {removed:.0f} %"
    assert said in notebook_words("06_crl")


def test_what_mean_teacher_and_la_reached_under_quick_is_what_their_files_say():
    (mean_teacher,) = quick_runs("MT, 7 labeled", table="1")
    page, quick = words("docs/results.md"), words("docs/quick.md")
    dice = f"{mean_teacher['summary']['dice']:.3f}"
    assert f"own squared error under `quick`, one seed (1337): {dice}" in page
    entries = {e["name"]: e for e in read_ledger(HOME / "results" / "seeds")}
    road = json.loads((HOME / "results/road/quick_la_1337.json").read_text())
    teacher = f"{road['scores']['metrics_val_teacher']['dice']:.3f}"
    minutes = f"{sum(road['seconds'].values()) / 60:.0f}"
    students = [
        f"{entries[name]['summary']['dice']:.3f}"
        for name in sorted(entries)
        if name.startswith("quick_la_bcp_13")
    ]
    second = json.loads((HOME / "results/road/quick_la_1338.json").read_text())
    other = f"{second['scores']['metrics_val_teacher']['dice']:.3f}"
    took = f"{minutes} and {sum(second['seconds'].values()) / 60:.0f} minutes of one core"
    scored = f"{' and '.join(students)}, their teachers {teacher} and {other}"
    assert f"{scored}, in {took}" in page
    assert f"same views and cycle, {took}" in quick
    shown = words("results/road/README.md")
    assert f"{students[0]}, and {teacher} of the teacher, in {minutes} minutes" in shown
    assert f"had {students[1]} and {other}" in shown
    said = f"{' and '.join(students)}, the teacher of the first {teacher}, of the second {other}."
    assert said in quick
    assert max(map(float, students)) < 0.85  # the goal that is called missed
    kept = [entries[f"quick_la_bcp_{seed}"]["premise"]["unlabeled"]["95"] for seed in (1337, 1338)]
    held, most = ([100 * each[key] for each in kept] for key in ("recall", "ceiling"))
    said = f"{statistics.mean(held):.0f} ± {statistics.stdev(held):.0f} % of them lie above q = 95"
    assert f"{said}, where {statistics.mean(most):.0f} % could" in page


def test_what_three_labeled_patients_reached_is_what_its_file_says():
    entry = json.loads((HOME / "results/road/quick_bcp_3_labeled_1337.json").read_text())
    parts = ("", "_teacher", "_probs", "_teacher_probs")
    dice = [f"{entry['scores'][f'metrics_val{part}']['dice']:.3f}" for part in parts]
    minutes = f"{sum(entry['seconds'].values()) / 60:.0f}"
    stage_1 = [row["dice"] for row in entry["curve"] if row["stage"] == "pretrain"][-1]
    quick = words("docs/quick.md")
    assert f"all else as above: {', '.join(dice[:3])} and {dice[3]} in the columns" in quick
    assert f"in {minutes} minutes. After stage 1 it had {stage_1:.3f};" in quick
    assert f"| {' | '.join([*dice, minutes])} | 1 |" in words("results/road/README.md")
    assert entry["experiment"]["labeled"] == 3


def test_what_longer_and_ruled_runs_of_quick_reached_is_what_their_files_say():
    """One seed each on one machine; minutes are those of the clock."""
    road, cells, labels, probs = HOME / "results" / "road", {}, {}, {}
    for name in ("4000_4000", "4000_8000", "4000_4000_url_crl"):
        entry = json.loads((road / f"batch6_{name}_1337.json").read_text())
        found = {key: f"{score['dice']:.3f}" for key, score in entry["scores"].items()}
        labels[name], probs[name] = found["metrics_val"], found["metrics_val_probs"]
        if len(found) == 4:
            parts = ("", "_teacher", "_probs", "_teacher_probs")
            cells[name] = [found[f"metrics_val{part}"] for part in parts]
            cells[name].append(f"{sum(entry['seconds'].values()) / 60:.0f}")
    quick, page = words("docs/quick.md"), words("docs/results.md")
    shown = words("results/road/README.md").replace("**", "")
    for line in cells.values():
        assert f"| {' | '.join(line)} |" in quick
        assert f"| {' | '.join(line)} | 1 |" in shown
    longer, shorter, ruled = "4000_8000", "4000_4000", "4000_4000_url_crl"
    assert f"one seed each: {labels[longer]} ({probs[longer]})" in page
    assert f"4,000 steps {labels[shorter]} ({probs[shorter]})" in page
    assert f"URL + CRL per voxel {labels[ruled]} ({probs[ruled]})" in page
    assert f"ended at {labels[ruled]} ({probs[ruled]} with probabilities)" in quick


def test_the_weights_that_come_with_the_package_are_of_committed_runs():
    """Both of one seed and machine; their cards and the page on other programs say their scores."""
    programs, dice = words("docs/other_programs.md"), {}
    for name, run in (
        ("acdc7_bcp_quick", "quick_bcp_1337"),
        ("acdc7_bcp_url_crl_quick", "quick_bcp_url_crl_voxel_1337"),
    ):
        entry = json.loads((HOME / f"results/seeds/{run}.json").read_text())
        card = words(f"buarl/weights/{name}.md")
        dice[name] = f"{entry['summary']['dice']:.3f}"
        assert f"| metrics_val.csv | 20 | {dice[name]} |" in card
        assert f"{entry['environment']['machine']}, commit {entry['environment']['commit']}" in card
    assert f"BCP, Dice {dice['acdc7_bcp_quick']} (one of" in programs
    assert f"of the same seed and machine, {dice['acdc7_bcp_url_crl_quick']} (" in programs


def test_the_refuted_gain_is_the_verdict_on_the_committed_runs():
    found = [
        v
        for v in verdicts(read_results(HOME / "results").entries)
        if (v.claim.table, v.claim.better, v.reading) == (3, "URL + CRL", "region")
        and v.claim.other == "BCP"
    ]
    (verdict,) = found
    low, high = (-100 * x for x in (verdict.comparison.high, verdict.comparison.low))
    mean = round(-100 * verdict.comparison.mean)
    said = words("docs/results.md")
    assert verdict.word == "refuted"
    assert f"{mean} points below plain BCP" in said
    assert f"paired seeds and patients {low:.0f} to {high:.0f})" in said
    selected = [
        e["paper"]["summary"]["dice"]
        for e in read_ledger(HOME / "results" / "seeds")
        if re.fullmatch(r"bcp_url_crl_region_\d+", e["name"])
    ]
    _, _, written = around(dict(enumerate(selected)))
    assert f"with the best checkpoint of validation {written}" in said
    assert f"rules cost BCP {mean} points per region" in words("README.md")


def test_what_the_rules_add_on_la_under_quick_is_what_the_committed_runs_say():
    found = read_results(HOME / "results").entries
    rows = quick_rows("la")
    plain, ruled = (runs_of(rows[f"quick_la_bcp{end}"], found) for end in ("", "_url_crl_voxel"))
    pairs = compare(plain, ruled)
    assert pairs.seeds == [1337]
    (run,) = ruled
    mean, low, high = (100 * value for value in (pairs.mean, pairs.low, pairs.high))
    printed = {row.name: row.printed.dice for row in rows_of("2") if row.name.endswith("8 labeled")}
    gain = printed["Ours(BCP), 8 labeled"] - printed["BCP, 8 labeled"]
    assert judge(low, high, gain, 1) == "undecided"
    page = words("docs/results.md")
    dice, teacher = run["summary"]["dice"], run["leak"]["last teacher"]
    assert (
        f"seed 1337 has {dice:.3f}, its teacher {teacher:.3f}: {mean:+.2f} points, 95 % interval "
        f"{low:+.2f} to {high:+.2f} over patients alone"
    ) in page
    assert f"printed gain {gain:.2f}; {sum(run['seconds'].values()) / 60:.0f} minutes" in page
    said = f"{dice:.3f}, {mean:+.2f} points over plain BCP, {low:+.2f} to {high:+.2f} over patients"
    assert said in words("docs/quick.md")


def test_what_crl_alone_adds_under_quick_is_what_the_committed_run_says():
    found, rows = read_results(HOME / "results").entries, quick_rows("acdc")
    plain = [run for run in runs_of(rows["quick_bcp"], found) if run["experiment"]["seed"] == 1337]
    (run,) = runs_of(rows["quick_bcp_crl_voxel"], found)
    pairs = compare(plain, [run])
    mean, low, high = (100 * value for value in (pairs.mean, pairs.low, pairs.high))
    printed = {row.name: row.printed.dice for row in rows_of("3")}
    gain = printed["CRL"] - printed["BCP"]
    word = judge(low, high, gain, 1)
    dice, minutes = run["summary"]["dice"], sum(run["seconds"].values()) / 60
    page, quick = words("docs/results.md"), words("docs/quick.md")
    assert (
        f"{dice:.3f}, its teacher {run['leak']['last teacher']:.3f}: {mean:+.2f} points over plain "
        f"BCP of the seed, 95 % interval {low:+.2f} to {high:+.2f} over patients alone (printed "
        f"gain {gain:.2f}): {word}"
    ) in page
    assert f"{minutes:.0f} minutes of one core of a Zen 3" in page
    said = f"{dice:.3f}, {mean:+.2f} points over plain BCP, {low:+.2f} to {high:+.2f} over patients"
    assert said in quick
    assert f"took {minutes:.0f} minutes, beside tests" in quick


def test_what_is_said_of_the_pictures_of_real_hearts_is_what_their_captions_say():
    """The captions are written with the pictures; README and lessons quote them."""
    text = (HOME / "figures/acdc/captions.md").read_text(encoding="utf-8")
    said = dict(part.split("\n\n", 1) for part in text.split("\n## ")[1:])
    moves, doubt = said["percentile.gif"], said["reliability.png"]
    wrong, of_all, held = re.search(
        r"Of them (\d+) % are wrong, of all pixels ([\d.]+) %; they hold (\d+) % of", moves
    ).groups()
    (over_all,) = re.search(r"and they hold (\d+) % of the errors; of the slices", moves).groups()
    readme = words("README.md")
    assert f"of the top 1 % of entropy {wrong} %, of all pixels {of_all} %." in readme
    assert f"Those 1 % hold {held} % of the errors ({over_all} % over 40 slices" in readme
    lesson = notebook_words("04_is_entropy_right")
    rate, before, temperature, after, entropy, doubts = re.search(
        r"([\d.]+) % of the pixels are wrong; expected calibration error ([\d.]+) %, with the "
        r"temperature ([\d.]+) of half the validation volumes ([\d.]+) %\. Errors caught at "
        r"q = 99, 97, 95: entropy ([\d, ]+) %; 1 - max p ([\d, ]+) %; at most 100, 100, 100 %",
        doubt,
    ).groups()
    by_entropy, by_doubt = (" and ".join(each.rsplit(", ", 1)) for each in (entropy, doubts))
    assert f"{rate} % of whose pixels are wrong" in lesson
    assert f"One temperature, {temperature}, fitted on half the validation volumes" in lesson
    assert f"takes its ECE from {before} to {after} %" in lesson
    assert f"Of its errors {by_entropy} % lie in the top 1, 3 and 5 % by entropy" in lesson
    assert f"it is {by_doubt} %" in lesson
    at_95, at_97, at_99 = re.findall(r"(\d+) % at q = 9\d", said["fig5_entropy_cuts.png"])
    assert at_99 == "0"
    for name in ("03_thresholds", "06_crl"):
        assert re.search(rf"{at_95} % .*{at_97} % at 97 and none at 99", notebook_words(name))

"""The paper's printed numbers: complete, and consistent with what its text says of them."""

from __future__ import annotations

from collections import Counter

import pytest

from buarl.regions import crl, drop, url, whole
from buarl.results.paper import table_rows
from buarl.results.printed import SCORES, SLIPS, printed_row, printed_rows

METHODS = ["MT", "SASSNet", "DTC", "URPC", "MC-Net", "SS-Net", "BCP", "Ours(MT)", "Ours(BCP)"]


def test_every_cell_of_the_six_tables_is_there():
    assert Counter(row.table for row in printed_rows()) == {1: 21, 2: 21, 3: 4, 4: 4, 5: 3, 6: 2}
    for table, network, few, some, every in ((1, "U-Net", 3, 7, 70), (2, "V-Net", 4, 8, 80)):
        rows = printed_rows(table)
        assert [(r.row, r.labeled) for r in rows[:3]] == [(network, n) for n in (few, some, every)]
        for labeled, part in ((few, rows[3:12]), (some, rows[12:])):
            assert [row.row for row in part] == METHODS
            assert {(row.labeled, row.unlabeled) for row in part} == {(labeled, every - labeled)}


@pytest.mark.parametrize(
    ("labeled", "method", "gain", "said"),
    [(3, "MT", 12.44, 12.4), (3, "BCP", 0.83, 0.8), (7, "MT", 2.54, 2.5), (7, "BCP", 1.56, 1.56)],
)
def test_gains_on_acdc_are_those_of_the_text(labeled, method, gain, said):
    """Section 4.4 says 12.4, 0.8, 2.5 and 1.56 %: differences of the printed Dice, rounded."""
    ours, plain = (printed_row(1, name, labeled) for name in (f"Ours({method})", method))
    assert ours.dice - plain.dice == pytest.approx(gain, abs=1e-9)
    assert said in (round(gain, 1), gain)


def test_the_text_on_table_3():
    assert printed_row(3, "URL").dice == 89.45
    assert printed_row(3, "CRL").dice == 90.20


def test_ours_bcp_is_one_run_in_five_tables_but_for_a_slip():
    best = printed_row(1, "Ours(BCP)", 7)
    for table, name in ((3, "URL + CRL"), (4, "URL + CRL"), (5, "95, 99"), (6, "weigh down")):
        row = printed_row(table, name)
        for score in SCORES:
            if (table, name, score) in SLIPS:
                assert getattr(row, score) == pytest.approx(getattr(best, score), abs=0.05)
            else:
                assert getattr(row, score) == getattr(best, score)
    plain = printed_row(3, "BCP")
    assert all(
        getattr(plain, score) == getattr(printed_row(1, "BCP", 7), score) for score in SCORES
    )


def test_no_row_has_a_jaccard_that_its_dice_forbids():
    """Per case J = D / (2 - D), which is convex, so a mean of J is at least that of the mean D."""
    for row in printed_rows():
        dice = row.dice / 100
        assert 100 * dice / (2 - dice) - 0.02 <= row.jaccard < row.dice, row


@pytest.mark.parametrize("table", [3, 4, 5, 6])
def test_printed_rows_and_rows_to_run_are_the_same_rules(table):
    kinds = {"url": url, "crl": crl, "drop": drop}

    def rule(text):
        name, _, percentile = text.partition(" ")
        return kinds[name](float(percentile)) if name else whole()

    rows = table_rows(table)
    assert {row.row for row in printed_rows(table)} == set(rows)
    for row in printed_rows(table):
        experiment = rows[row.row]
        assert experiment.labeled_rule == rule(row.labeled_rule)
        assert experiment.unlabeled_rule == rule(row.unlabeled_rule)
        assert experiment.labeled == row.labeled


def test_a_table_or_row_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="1 to 6, got 7"):
        printed_rows(7)
    with pytest.raises(ValueError, match="2 rows 'BCP' with labeled None"):
        printed_row(1, "BCP")

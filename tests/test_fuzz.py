"""A short campaign of spoiled inputs, and every input that once ended wrongly, with its right end."""

from __future__ import annotations

import csv
import json
import math
import sys
import time
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

import buarl
from buarl import copy_paste, dice, ema, entropy, losses, rule, schedules
from buarl.data.errors import DataError
from buarl.data.h5 import read_list
from buarl.data.source import open_source
from buarl.evaluation import metrics
from buarl.evaluation.scores import SCORES, read_metrics
from buarl.results.ledger import read_ledger
from buarl.training.checkpoint import load_state

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tools.fuzz import judge as judging  # noqa: E402
from tools.fuzz.arguments import TENSORS  # noqa: E402
from tools.fuzz.calls import CALLS, call  # noqa: E402
from tools.fuzz.campaign import KINDS, Campaign, one  # noqa: E402
from tools.fuzz.judge import FAULTS, Input, judge  # noqa: E402
from tools.fuzz.runs import small_state  # noqa: E402

SHORT = {"h5": 60, "list": 60, "dataset": 60, "nifti": 60, "nrrd": 60, "metrics": 60, "info": 40}
SHORT |= {"ledger": 30, "checkpoint": 30, "run": 30, "call": 300}


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_campaign_finds_nothing(kind, tmp_path):
    found = [one(kind, number, 1, tmp_path) for number in range(SHORT[kind])]
    assert [f for f in found if f[0] in FAULTS] == []
    assert {verdict for verdict, _, _ in found} & {"refused", "equal"}


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"Experiment", "config_for"}))
def test_every_function_refuses_or_returns_what_it_promises(name):
    found = [
        (judge(spoiled), spoiled.what)
        for spoiled in (call(Path(), Random(k), name) for k in range(40))
    ]
    assert [f for f in found if f[0][0] in FAULTS] == []


# The judge itself: a fault that is put in is found.


def judged(run, **more) -> str:
    return judge(Input("test", run, {"a": 1}, ["name"], **more))[0]


def fails(error):
    raise error


def long_loop():
    begun = time.process_time()
    while time.process_time() < begun + 5:
        pass


@pytest.mark.parametrize(
    ("run", "verdict"),
    [
        (lambda: {"a": 1}, "equal"),
        (lambda: {"a": 2}, "wrong"),
        (lambda: {"a": True}, "wrong"),
        (lambda: fails(KeyError("name")), "foreign"),
        (lambda: fails(ValueError("name")), "foreign"),  # raised here, not in buarl
        (lambda: [][1], "foreign"),
        (lambda: read_list(Path("nowhere.list")), "unclear"),
        (lambda: fails(MemoryError()), "memory"),
    ],
)
def test_the_judge_tells_right_from_wrong(run, verdict):
    assert judged(run) == verdict


def test_the_judge_stops_what_takes_too_long(monkeypatch):
    assert judge(Input("test", long_loop, {}, []), seconds=0.05)[0] == "slow"


def test_the_judge_sees_another_file_being_opened(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    (tmp_path / "case").mkdir()
    spy = lambda: {"a": len(secret.read_text())}  # noqa: E731
    assert judged(spy, folder=tmp_path / "case") == "escaped"
    assert judged(spy, folder=tmp_path) == "equal"


def test_the_judge_lists_free_fields_and_holds_them_to_their_rule():
    free = {"free": frozenset("a")}
    assert judged(lambda: {"a": 2}, **free) == "listed"
    assert judged(lambda: {"a": 2}, **free, rule=lambda found: "too large") == "wrong"


def test_nan_equals_nan_and_types_differ():
    assert judging.same({"a": np.array([np.nan])}, {"a": np.array([np.nan])})
    assert not judging.same(np.float32([1]), np.float64([1]))
    assert not judging.same(torch.zeros(2), torch.zeros(3))


def test_a_child_that_dies_costs_one_input(monkeypatch):
    def deadly(folder, rng):
        import os

        if rng.random() < 0.3:
            os._exit(7)
        return Input("lives", lambda: {}, {}, [])

    monkeypatch.setitem(KINDS, "list", deadly)
    said = []
    campaign = Campaign(["list"], 3, said.append)
    campaign.run(60, 12)
    crashes = sum("crash" in text for text in said)
    assert 0 < crashes < 12
    assert f"| {12:>8} |" in campaign.table()
    assert "--only list:" in said[0]


def test_one_line_repeats_an_input(tmp_path):
    assert one("nifti", 12, 5, tmp_path) == one("nifti", 12, 5, tmp_path)


# The corpus: inputs that ended in a foreign error, a message without a name, or a wrong result.

PROBS = torch.tensor([[[0.6, 0.9], [0.4, 0.1]]])
REGIONS = [rule.Region(torch.ones(1, 2, dtype=torch.bool), 1.0)]
LABEL = torch.tensor([[0, 1]])


def loss(**given):
    right = {"logits": PROBS, "target": LABEL, "regions": REGIONS, "reduction": "voxel"}
    return losses.region_loss(**{**right, **given})


def box_mask(start, size, spatial=(4, 4)):
    return copy_paste.outside_mask(spatial, copy_paste.Box(start, size))


def of_flat(make):
    return lambda: make(PROBS[0, 0])


REFUSED = {
    "probabilities that are a scalar": (lambda: buarl.url()(torch.tensor(0.5)), "probs"),
    "probabilities without classes": (lambda: buarl.whole()(PROBS[:, :0]), "probs"),
    "entropy of a flat tensor": (of_flat(buarl.entropy_of_probs), "probs"),
    "entropy of flat logits": (of_flat(buarl.entropy_map), "logits"),
    "entropy of a negative probability": (lambda: buarl.entropy_of_probs(-PROBS), "probs"),
    "entropy of logits as probabilities": (lambda: buarl.entropy_of_probs(9 * PROBS), "probs"),
    "entropy of a sparse tensor": (lambda: buarl.entropy_of_probs(PROBS.to_sparse()), "probs"),
    "a scalar as entropy": (lambda: buarl.uncertain_mask(torch.tensor(0.5), 5, "image"), "entropy"),
    "an array as scope": (lambda: buarl.uncertain_mask(PROBS, 5, np.array([])), "scope"),
    "float8": (lambda: entropy.most_likely(PROBS.to(torch.float8_e4m3fn)), "probs"),
    "a sparse target": (lambda: loss(target=LABEL.to_sparse()), "target"),
    "logits without classes": (lambda: loss(logits=PROBS[:, :0]), "logits"),
    "a dict of regions": (
        lambda: losses.voxel_weights({"name": "url"}, reduction="voxel"),
        "regions",
    ),
    "Dice of masks without axes": (
        lambda: dice.dice_loss(PROBS, LABEL, torch.tensor(1.0), dice.DICE_BCP_LA),
        "masks",
    ),
    "Dice of four axes": (
        lambda: dice.dice_loss(PROBS[None], LABEL, torch.ones(1, 1, 2), dice.DICE_BCP_LA),
        "probs",
    ),
    "Dice of a class below 0": (
        lambda: dice.dice_loss(PROBS, LABEL - 1, torch.ones(1, 1, 2), dice.DICE_BCP_LA),
        "target",
    ),
    "a tensor as Dice": (lambda: loss(dice=torch.ones(2, 3)), "dice"),
    "smooth of None": (lambda: dice.Dice(True, False, True, None), "smooth"),
    "smooth of NaN": (lambda: dice.Dice(True, False, True, math.nan), "smooth"),
    "smooth of 0": (lambda: dice.Dice(True, False, True, 0), "smooth"),
    "a word as a switch": (lambda: dice.Dice("no", False, True, 1e-5), "squared"),
    "an overlap factor of 2^63": (
        lambda: dice.Dice(True, False, True, 1e-5, 2**63),
        "overlap_factor",
    ),
    "a list as a name": (lambda: dice.dice_by_name([1]), "dice"),
    "a place of another size": (
        lambda: rule.within(REGIONS, torch.ones(0, dtype=torch.bool)),
        "place",
    ),
    "masks of integers": (lambda: rule.within([rule.Region(LABEL, 1.0)], LABEL > 0), "region mask"),
    "a word as student": (lambda: ema.update_teacher(torch.nn.Linear(1, 1), "0", 0.9), "student"),
    "buffers of an array": (
        lambda: ema.update_teacher(*[torch.nn.Linear(1, 1)] * 2, 0.9, buffers=np.ones(2)),
        "buffers",
    ),
    "sizes of a word": (lambda: copy_paste.sample_box("\u00fc"), "spatial"),
    "sizes beyond int64": (lambda: copy_paste.sample_box((8, 10**30)), "size of an axis"),
    "sizes beyond memory": (lambda: box_mask((0, 0), (1, 1), (2**31, 2**31)), "spatial"),
    "sizes with fractions": (lambda: copy_paste.sample_box((8.5, 8)), "size of an axis"),
    "a tensor as box": (lambda: copy_paste.outside_mask((4, 4), torch.tensor(True)), "box"),
    "a box of bytes": (lambda: box_mask((1, 2), (b"x", 3)), "box"),
    "a complex corner": (lambda: box_mask((1, torch.tensor(1j)), (3, 3)), "box"),
    "a step beyond every float": (lambda: schedules.StepDecay(0.4)(5, 10**400), "steps"),
    "levels with fractions": (lambda: schedules.ramp(1, 10, 2.5), "levels"),
    "a record as mask": (
        lambda: metrics.case_metrics(np.zeros((2, 2), [("a", "f4")]), np.eye(2)),
        "prediction",
    ),
    "a masked array": (
        lambda: metrics.case_metrics(np.ma.masked_array(np.eye(2)), np.eye(2)),
        "prediction",
    ),
    "a tensor with a graph": (
        lambda: metrics.case_metrics(torch.eye(2).requires_grad_(), np.eye(2)),
        "prediction",
    ),
    "a policy in a list": (lambda: metrics.case_metrics(np.eye(2), np.eye(2), empty=[]), "empty"),
    "a spacing of words": (lambda: metrics.case_metrics(np.eye(2), np.eye(2), "ab"), "spacing"),
    "a spacing whose square is infinite": (
        lambda: metrics.case_metrics(np.eye(2), np.eye(2), (1e200, 1)),
        "spacing",
    ),
    "a spacing whose square is 0": (
        lambda: metrics.case_metrics(np.eye(2), np.eye(2), (1e-200, 1)),
        "spacing",
    ),
    "classes as a word": (lambda: metrics.multiclass_metrics(LABEL, LABEL, "3"), "num_classes"),
    "a unit in a dict": (lambda: metrics.metric_definition(unit={}), "unit"),
    "more classes than a byte": (
        lambda: metrics.multiclass_metrics(LABEL, LABEL, 2**32),
        "num_classes",
    ),
    "code that is a tensor": (lambda: buarl.load_code(torch.ones(2, 3)), "code"),
    "code that is a number": (lambda: buarl.load_code(np.float64("nan")), "code"),
    "code behind a NUL": (lambda: buarl.load_code("a\0.py:Mine"), "cannot be read"),
    "a source that is a set": (lambda: open_source({1}), "source"),
    "a root that is a number": (lambda: open_source("acdc", np.int64(-3)), "root"),
    "a root whose name is too long": (lambda: open_source("acdc", "x" * 3000), "too long"),
    "regions that are none": (lambda: losses.voxel_weights([None], reduction="voxel"), "regions"),
    "a source that is a tensor": (lambda: open_source(torch.ones(2, 3)), "source"),
    "a rule whose name is a tensor": (
        lambda: buarl.rule_from_dict({"name": torch.ones(2, 3)}),
        "rule",
    ),
    "a rule with keys of other types": (
        lambda: buarl.rule_from_dict({"name": "url", 1: 2, "b": 3}),
        "no argument",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_corpus_of_calls_that_are_refused(name):
    run, word = REFUSED[name]
    verdict, said = judge(Input(name, lambda: {"result": run()}, {}, [word]))
    assert verdict == "refused", said


@pytest.mark.parametrize(
    ("given", "right"),
    [
        (lambda: ema.ema_decay_at(7, Fraction(1, 2)), 0.5),
        (lambda: ema.ema_decay_at(np.float32(1), 0.75), 0.5),
        (lambda: schedules.Poly(Fraction(1))(np.int64(5), 10), 0.5),
        (lambda: schedules.ramp(1e300, 1e-320), 1.0),
        (lambda: schedules.StepDecay(1e-320)(5, 10), 0.0),
        (lambda: buarl.url(np.float32(95)).percentile, 95),
        (lambda: buarl.confidence(Fraction(1, 2)).threshold, 0.5),
        (lambda: float(loss(ce_share=Fraction(1, 2))), float(loss(ce_share=0.5))),
        (lambda: float(loss(regions=[rule.Region(REGIONS[0].mask, Fraction(1))])), float(loss())),
        (
            lambda: float(buarl.entropy_threshold(PROBS, np.float32(50))),
            float(buarl.entropy_threshold(PROBS, 50)),
        ),
    ],
)
def test_other_kinds_of_numbers_mean_the_same(given, right):
    found = given()
    assert type(found) is type(right)
    assert found == right


def test_a_rule_with_numpys_numbers_is_plain_json():
    assert (
        json.loads(json.dumps(buarl.url(np.float32(90), np.float64(0.5)).as_dict()))["percentile"]
        == 90
    )


def test_one_bit_that_calls_a_part_of_a_checkpoint_a_folder(tmp_path):
    """Torch reads such a part as whatever stands in the memory, though every checksum is right."""
    path = tmp_path / "last.pt"
    torch.save(small_state(), path)
    content = bytearray(path.read_bytes())
    at = content.index(b"last/data/1", content.index(b"PK\x01\x02")) - 46 + 38
    content[at] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"last.pt.*last/data/1"):
        load_state(path)


@pytest.mark.parametrize("key", ["labeled_reduction", "unlabeled_reduction", "options", "set"])
@pytest.mark.parametrize("value", [["voxel"], 7, "x"], ids=str)
def test_a_row_names_what_is_of_another_type(key, value):
    with pytest.raises((TypeError, ValueError), match=key):
        buarl.Experiment("bcp", **{key: value})


def table(path, **changes) -> Path:
    scores = {**dict.fromkeys(SCORES, "0.5"), "jaccard": "0.333333"}
    row = {"case": "p1", "class": "RV", **scores, "missed": "0", **changes}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([row.keys(), row.values()])
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"dice": "p1_frame01"},
        {"dice": "7.0"},
        {"dice": "-1"},
        {"hd95": "inf"},
        {"asd": ""},
        {"missed": "0.1"},
        {"missed": "2"},
        {"missed": ""},
    ],
    ids=str,
)
def test_a_table_of_scores_with_something_else_in_it(tmp_path, changes):
    path = table(tmp_path / "metrics_val.csv", **changes)
    with pytest.raises(DataError, match=f"metrics_val.csv.*{next(iter(changes))}"):
        read_metrics(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# a note\n",
        b"case,class\np1,RV\n",
        "case,dice".encode("utf-16-le"),
        b"a\0b\n1\n",
        b"case,class,dice,jaccard,hd95,asd,missed\np1,RV,1,1,0,0,0,more\n",
    ],
)
def test_a_table_that_is_none(tmp_path, content):
    (tmp_path / "metrics_val.csv").write_bytes(content)
    with pytest.raises(DataError, match="metrics_val.csv"):
        read_metrics(tmp_path / "metrics_val.csv")


def test_nan_in_a_table_of_scores_is_a_number(tmp_path):
    (row,) = read_metrics(table(tmp_path / "a.csv", **dict.fromkeys(SCORES, "nan")))
    assert math.isnan(row["dice"])
    assert row["missed"] is False


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xe2\x28", b"{}", b"[]", b"7"])
def test_a_ledger_entry_that_is_none(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match="a.json"):
        read_ledger(tmp_path)


def test_a_name_of_three_thousand_signs_is_cut(tmp_path):
    path = tmp_path / "train.list"
    path.write_text("../" + "x" * 3000)
    with pytest.raises(DataError) as caught:
        read_list(path)
    assert len(str(caught.value)) < 500


def test_an_odd_key_in_dataset_json_is_one_line(tmp_path):
    case = {"patient": "p1", "labeled": True, "slices": 1, "\r": 0}
    about = {"rank": 2, "class_names": ["a", "b"], "normalisation": "minmax", "cases": {"p1": case}}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(DataError) as caught:
        open_source("own", tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_spoiled_tensors_are_of_all_sorts():
    assert len(TENSORS) > 30

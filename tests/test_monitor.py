"""What every run writes of itself: the premise, calibration, four slices; hand-computed, seamless."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from tiny import PRESET, slice_path, write_tiny

import buarl.training.run
from buarl.capsule import read_capsule
from buarl.commands.main import main
from buarl.data.acdc import Acdc
from buarl.entropy import uncertain_mask
from buarl.evaluation.calibration import calibration_error, fit_temperature, reliability
from buarl.evaluation.errors import error_capture
from buarl.evaluation.premise import (
    EDGES,
    border_mask,
    counts_of_rows,
    cut_at,
    error_rates,
    premise_counts,
)
from buarl.evaluation.watch import watch_run
from buarl.methods.base import Method, Step
from buarl.regions import crl, url, whole
from buarl.training.checkpoint import load_state
from buarl.training.config import PRESETS, Experiment, config_for
from buarl.training.loop import StopTraining
from buarl.training.run import run_experiment

ROW = Experiment(
    "bcp",
    labeled_rule=url(80),
    unlabeled_rule=crl(90),
    source="acdc",
    labeled=2,
    preset="tiny",
)


# Counting


def test_the_border_is_a_band_of_two_voxels_in_2d_and_3d():
    flat = torch.zeros(1, 5, 5, dtype=torch.long)
    flat[0, 2, 2] = 1
    assert border_mask(flat)[0].int().tolist() == [
        [0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    solid = torch.zeros(1, 5, 5, 5, dtype=torch.long)
    solid[0, 2, 2, 2] = 1
    assert border_mask(solid).sum() == 7
    assert not border_mask(torch.stack([flat[0] * 0, flat[0] * 0 + 1])).any()  # no border to others


def test_a_mask_of_one_percent_cannot_hold_six_percent_of_errors():
    entropy = torch.arange(1000.0)[None]
    label = torch.zeros(1, 1000, dtype=torch.long)
    said = label.clone()
    said[0, -60:] = 1  # errors are the 60 voxels of highest entropy
    cut = cut_at(premise_counts(entropy, label, said, 2), 99)
    assert cut.recall == cut.ceiling == pytest.approx(10 / 60)
    assert (cut.precision, cut.base, cut.share) == (1.0, 0.06, 0.01)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(2, 9, 11), (2, 5, 6, 7)]))
def test_counts_agree_with_the_mask_of_the_losses_at_every_edge(seed, shape):
    rng = torch.Generator().manual_seed(seed)
    entropy = torch.rand(shape, generator=rng).mul(20).round() / 20  # with ties
    label = torch.randint(0, 3, shape, generator=rng)
    said = torch.randint(0, 3, shape, generator=rng)
    counts = premise_counts(entropy, label, said, 3)
    assert counts[..., 0].sum() == entropy.numel()
    for q in EDGES[1:-1]:
        cut, capture = cut_at(counts, q), error_capture(label != said, entropy, q)
        assert (cut.recall, cut.share) == (capture.recall, capture.share)
        assert cut.precision == capture.precision or math.isnan(cut.precision)
        marked = uncertain_mask(entropy, q)
        per_class = counts[EDGES.index(q) :, :, :, 0].sum((0, 2))
        assert per_class.tolist() == [int((marked & (label == k)).sum()) for k in range(3)]
    border = border_mask(label)
    assert counts[:, :, 0, 1].sum() == (border & (label != said)).sum()


def test_edges_and_cuts_that_make_no_sense_are_refused():
    entropy, label = torch.rand(1, 9), torch.zeros(1, 9, dtype=torch.long)
    for edges in ((0, 50), (10, 100), (0, 50, 40, 100)):
        with pytest.raises(ValueError, match="edges must rise from 0 to 100"):
            premise_counts(entropy, label, label, 2, edges)
    counts = premise_counts(entropy, label, label, 2)
    with pytest.raises(ValueError, match="percentile must be one of"):
        cut_at(counts, 93)
    assert math.isnan(cut_at(counts, 95).recall)
    assert np.nanmax(error_rates(counts)) == 0


# Temperature


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5, 7.0])
def test_scaled_logits_recover_the_temperature(temperature):
    """Labels in exact proportion to softmax(z): the best temperature of T z is T."""
    shares = torch.tensor([[5, 3, 2], [8, 1, 1], [2, 2, 6]])
    logits = (shares / 10).log()  # softmax(logits) = shares / 10
    voxels = logits.repeat_interleave(10, 0)
    label = torch.cat([torch.arange(3).repeat_interleave(row) for row in shares])
    found = fit_temperature(temperature * voxels.T[None], label[None])
    assert found == pytest.approx(temperature, rel=1e-3)


def test_a_temperature_moves_no_class_and_mends_the_confidence():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 4000, generator=rng)
    label = torch.multinomial(logits[0].T.softmax(1), 1, generator=rng).T
    sharp = 3 * logits
    found = fit_temperature(sharp, label)
    assert found == pytest.approx(3, rel=0.05)
    before = calibration_error(reliability(sharp.softmax(1), label))
    after = calibration_error(reliability((sharp / found).softmax(1), label))
    assert after < 0.03 < 0.15 < before
    assert torch.equal(sharp.argmax(1), (sharp / found).argmax(1))


def test_label_and_logits_must_fit():
    with pytest.raises(ValueError, match=r"label must fit logits \(1, 2, 4\), got \(1, 5\)"):
        fit_temperature(torch.zeros(1, 2, 4), torch.zeros(1, 5, dtype=torch.long))


# Runs


@pytest.fixture(scope="module", autouse=True)
def tiny_preset():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", PRESET)
        patch.setitem(PRESETS, "toy", PRESET)
        patch.setattr(
            buarl.training.run,
            "config_for",
            lambda *row: replace(config_for(*row), checkpoint_every=2),
        )
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny data")))


class StopAfter:
    """The watch, and a stop after so many steps of a stage."""

    def __init__(self, watch, stage, steps):
        self.watch, self.place = watch, (stage, steps)
        self.begin, self.flush = watch.begin, watch.flush

    def __call__(self, stage: str, step: Step, method: Method) -> None:
        self.watch(stage, step, method)
        if (stage, step.index + 1) == self.place:
            raise StopTraining


def train(source, out, stop=None, resume=False, **keywords):
    watch = watch_run(source, config_for(ROW), out, **keywords)
    callback = watch if stop is None else StopAfter(watch, *stop)
    result = run_experiment(ROW, source, out, callback=callback, resume=resume)
    watch.finish()
    return result


@pytest.fixture(scope="module")
def watched(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "watched"
    train(source, out)
    return out


def test_a_watched_run_has_the_weights_of_one_that_is_not(source, watched, tmp_path):
    run_experiment(ROW, source, tmp_path / "plain")
    ours, plain = (load_state(out / "last.pt")["method"] for out in (watched, tmp_path / "plain"))
    assert all(torch.equal(ours[key], plain[key]) for key in plain)


def test_a_run_keeps_four_slices_and_what_was_said_of_them(watched, source):
    slices = read_capsule(watched).slices
    unlabeled = source.split_labeled(2)[1]
    assert slices.names == [unlabeled[i] for i in (0, 2, 3, 5)]  # 1/8, 3/8, 5/8, 7/8 of six
    stages = ["pretrain"] * 3 + ["selftrain"] * 3
    assert (slices.stages, slices.steps) == (stages, [1, 2, 6] * 2)
    assert slices.networks == ["student"] * 3 + ["teacher"] * 3
    assert slices.image.shape == (4, 32, 32)
    assert slices.entropy.shape == slices.error.shape == (6, 4, 32, 32)
    assert slices.image.dtype == slices.label.dtype == slices.pseudo_label.dtype == np.uint8
    assert slices.entropy.dtype == np.uint16
    assert slices.nats.max() <= math.log(4) + 1e-6
    assert (watched / "slices.npz").stat().st_size < 100_000


def test_the_premise_is_counted_on_both_sides_at_few_steps(watched, source):
    run = read_capsule(watched)
    moments = list(dict.fromkeys((r["stage"], r["step"], r["images"]) for r in run.premise))
    assert len(moments) == 12
    for stage, step, images in moments:
        rows = [
            r for r in run.premise if (r["stage"], r["step"], r["images"]) == (stage, step, images)
        ]
        counts = counts_of_rows(rows, run.class_names)
        assert counts[..., 0].sum() == 4 * 32 * 32  # as many as a batch has
        assert {r["network"] for r in rows} == (
            {"teacher"} if (stage, images) == ("selftrain", "unlabeled") else {"student"}
        )
    last = [r for r in run.premise if r["stage"] == "selftrain" and r["step"] == 6]
    errors = counts_of_rows([r for r in last if r["images"] == "unlabeled"], run.class_names)
    of_slices = run.slices.error[-1].mean()
    assert errors[..., 1].sum() / errors[..., 0].sum() == pytest.approx(of_slices, abs=0.2)


def test_the_temperature_is_fitted_on_validation_and_both_are_written(watched):
    run = read_capsule(watched)
    assert [*dict.fromkeys(row["stage"] for row in run.calibration)] == ["pretrain", "selftrain"]
    for stage in ("pretrain", "selftrain"):
        rows = [row for row in run.calibration if row["stage"] == stage]
        temperatures = [*dict.fromkeys(row["temperature"] for row in rows)]
        assert temperatures[0] == 1
        assert len(temperatures) == 2
        assert sum(row["voxels"] for row in rows) == 2 * 2 * 32 * 32  # two slices of one volume
    note = (watched / "calibration.csv").read_text().splitlines()[1]
    assert "fitted on 2 images of 1 validation volumes" in note
    assert "the same one, as there is no other" in note


@pytest.mark.parametrize("stop", [("pretrain", 1), ("pretrain", 3), ("selftrain", 2)])
def test_a_resumed_run_ends_with_the_same_files(watched, source, tmp_path, stop):
    out = tmp_path / "run"
    with pytest.raises(StopTraining):
        train(source, out, stop, validate=2)
    train(source, out, resume=True, validate=2)
    for name in ("ids.csv", "history.csv", "premise.csv", "calibration.csv", "slices.npz"):
        assert (out / name).read_bytes() == (watched / name).read_bytes(), name
    steps = [(row["stage"], row["step"]) for row in read_capsule(out).validation]
    assert steps == [(stage, step) for stage in ("pretrain", "selftrain") for step in (2, 4, 6)]


def test_one_can_train_without_validation_volumes_or_unlabeled_images(source, tmp_path):
    bare = shutil.copytree(source.root, tmp_path / "bare")
    (bare / "val.list").unlink()
    row = replace(ROW, method="supervised", unlabeled_rule=whole(), labeled=None)
    data, out = Acdc(bare), tmp_path / "run"
    watch = watch_run(data, config_for(row), out)
    run_experiment(row, data, out, callback=watch)
    run = read_capsule(out)
    assert (run.slices, run.calibration, run.ids["validation"]) == (None, [], [])
    assert {r["images"] for r in run.premise} == {"labeled"}


def test_what_cannot_be_read_of_an_earlier_part_is_named(source, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(StopTraining):
        train(source, out, ("pretrain", 3))
    (out / "premise.csv").write_text("spoiled")
    with pytest.raises(ValueError, match=r"premise\.csv: damaged"):
        train(source, out, resume=True)


# TensorBoard


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_has_the_curves_of_the_csv_files_without_a_seam(source, tmp_path):
    pytest.importorskip("tensorboard")
    out = tmp_path / "run"
    with pytest.raises(StopTraining):
        train(source, out, ("selftrain", 3), log="tensorboard", validate=3)
    train(source, out, resume=True, log="tensorboard", validate=3)
    found, run = scalars(out), read_capsule(out)
    assert [step for step, _ in found["train/student_loss"]] == [2, 4, 6, 8, 10, 12]
    values = [value for _, value in found["train/student_loss"]]
    assert values == pytest.approx([row["student_loss"] for row in run.history])
    dice = [row["dice"] for row in run.validation]
    assert [step for step, _ in found["validation/dice"]] == [3, 6, 9, 12]
    assert [value for _, value in found["validation/dice"]] == pytest.approx(dice)


def test_without_tensorboard_one_sentence_says_so_before_anything_is_trained(
    source, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    words = ["train", "--source", "acdc", "--root", str(source.root), "--labeled", "2"]
    out = tmp_path / "run"
    assert main([*words, "--out", str(out), "--log", "tensorboard"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0
    assert "pip install 'buarl[log]'" in said
    assert not out.exists()
    assert slice_path(source.root, source.training_names()[0]).is_file()

"""A run cut anywhere and resumed, or begun from another's first stage, gives the same bits."""

from __future__ import annotations

import pytest
import torch
from tiny import Cut, cut_after, same_weights, tiny_config, tiny_method, trained, write_tiny

from buarl.data.acdc import Acdc
from buarl.training.loop import fit


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def straight(source, tmp_path_factory):
    """BCP in one go, with its folder, by checkpoint_every."""
    runs = {}

    def get(every):
        if every not in runs:
            out = tmp_path_factory.mktemp("straight")
            method = tiny_method("bcp")
            config = tiny_config("bcp", checkpoint_every=every)
            runs[every] = method, fit(method, source, config, out=out), out
        return runs[every]

    return get


@pytest.mark.parametrize(
    ("every", "stage", "index"),
    [
        (4, "pretrain", 4),  # right after a checkpoint, in the middle of a block of logs
        (4, "pretrain", 6),  # between checkpoints
        (5, "pretrain", 11),  # last step of stage 1, its end not yet saved
        (4, "selftrain", 0),  # stage border that is a checkpoint: all of stage 1 is done
        (5, "selftrain", 0),  # stage border that is none: back to step 10 of stage 1
        (5, "selftrain", 12),
        (4, "selftrain", 13),  # the very last step
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(source, straight, tmp_path, every, stage, index):
    whole, result, _ = straight(every)
    config = tiny_config("bcp", checkpoint_every=every)
    with pytest.raises(Cut):
        fit(tiny_method("bcp"), source, config, out=tmp_path, callback=cut_after(stage, index))
    steps = []
    method = tiny_method("bcp")
    resumed = fit(
        method,
        source,
        config,
        out=tmp_path,
        resume=True,
        callback=lambda name, step, _: steps.append((name, step.index)),
    )
    assert same_weights(method, whole)
    assert resumed.history == result.history
    assert resumed.seconds.keys() == result.seconds.keys()
    cut = index if stage == "pretrain" else 12 + index  # the callback comes before the checkpoint
    held = list(range(every, 13, every)) + [12 + n for n in range(every, 15, every)]
    done = max(n for n in held if n <= cut)
    assert len(steps) == 26 - done  # nothing is done twice that a checkpoint holds


def test_two_interruptions(source, straight, tmp_path):
    whole, result, _ = straight(4)
    config = tiny_config("bcp", checkpoint_every=4)
    for resume, cut in ((False, ("pretrain", 9)), (True, ("selftrain", 5))):
        with pytest.raises(Cut):
            fit(
                tiny_method("bcp"),
                source,
                config,
                out=tmp_path,
                resume=resume,
                callback=cut_after(*cut),
            )
    method = tiny_method("bcp")
    resumed = fit(method, source, config, out=tmp_path, resume=True)
    assert same_weights(method, whole)
    assert resumed.history == result.history


@pytest.mark.parametrize("name", ["supervised", "mean_teacher"])
def test_a_resumed_run_of_one_stage(source, tmp_path, name):
    config = tiny_config(name, checkpoint_every=5)
    whole, result = trained(name, source, checkpoint_every=5)
    with pytest.raises(Cut):
        fit(tiny_method(name), source, config, out=tmp_path, callback=cut_after("train", 7))
    method = tiny_method(name)
    assert fit(method, source, config, out=tmp_path, resume=True).history == result.history
    assert same_weights(method, whole)


def test_resuming_a_finished_run_trains_nothing(source, straight):
    whole, result, out = straight(4)
    method, config = tiny_method("bcp"), tiny_config("bcp", checkpoint_every=4)
    again = fit(method, source, config, out=out, resume=True, callback=cut_after("selftrain", 0))
    assert same_weights(method, whole)
    assert again.history == result.history
    assert again.seconds == result.seconds
    assert again.network is method.student


def test_a_folder_changes_nothing(source, straight):
    method, result = trained("bcp", source, checkpoint_every=4)
    assert same_weights(method, straight(4)[0])
    assert result.history == straight(4)[1].history


@pytest.mark.parametrize("keep", [True, False])
def test_begin_from_the_end_of_stage_1_equals_a_straight_run(source, tmp_path, keep):
    config = tiny_config("bcp")
    whole = tiny_method("bcp", keep_optimizer=keep)
    result = fit(whole, source, config, out=tmp_path)
    method = tiny_method("bcp", keep_optimizer=keep)
    stages = set()
    begun = fit(
        method,
        source,
        config,
        begin_from=tmp_path / "pretrain.pt",
        callback=lambda name, *_: stages.add(name),
    )
    assert stages == {"selftrain"}
    assert same_weights(method, whole)
    assert begun.history == result.history


def test_resume_goes_before_begin_from(source, straight, tmp_path):
    whole, _, out = straight(4)
    config = tiny_config("bcp", checkpoint_every=4)
    with pytest.raises(Cut):
        fit(
            tiny_method("bcp"),
            source,
            config,
            out=tmp_path,
            begin_from=out / "pretrain.pt",
            callback=cut_after("selftrain", 9),
        )
    method, steps = tiny_method("bcp"), []
    fit(
        method,
        source,
        config,
        out=tmp_path,
        resume=True,
        begin_from=out / "pretrain.pt",
        callback=lambda _, step, __: steps.append(step.index),
    )
    assert steps == [8, 9, 10, 11, 12, 13]
    assert same_weights(method, whole)


def test_checkpoints_hold_tensors_and_plain_types(straight):
    _, _, out = straight(4)
    assert sorted(path.name for path in out.iterdir()) == ["history.csv", "last.pt", "pretrain.pt"]
    for name, position in (("pretrain.pt", [1, 0]), ("last.pt", [2, 0])):
        state = torch.load(out / name, weights_only=True)
        assert state["position"] == position
        assert {key.split(".")[0] for key in state["method"]} == {"student", "teacher"}

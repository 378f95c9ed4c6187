"""Pictures that move: frames of one size, numbers that are true, files small enough for a page."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from buarl.figures.loops import ceiling, sweep_frames, training_frames, write_loop
from buarl.figures.of_run import figures_of_run, training_of_run

RNG = np.random.default_rng(2)
NAMES = ("background", "RV", "myocardium", "LV")
IMAGE = RNG.random((40, 40))
LABEL = np.zeros((40, 40), int)
LABEL[10:30, 10:30] = 1
GUESS = LABEL.copy()
GUESS[10:30, 28:32] = 2  # 80 of 1600 pixels are wrong
ENTROPY = np.where(GUESS == LABEL, 0.1, 0.9) + 0.001 * RNG.random((40, 40))
HISTORY = np.stack([RNG.random((40, 40)), ENTROPY]), np.stack([0 * GUESS, GUESS])


def words(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def test_a_training_has_a_frame_a_moment_with_its_shares():
    frames = training_frames(IMAGE, LABEL, *HISTORY, ["step 1 of 9", "step 9 of 9"], NAMES)
    assert plt.get_fignums() == []
    assert len(frames) == 2
    assert "step 1 of 9" in words(frames[0])
    assert "wrong: 5.0 % of all pixels, 100 % of the most uncertain 1 %" in words(frames[1])
    assert "wrong: 25.0 % of all pixels" in " ".join(words(frames[0]))


def test_frames_of_one_training_share_one_scale_of_entropy():
    frames = training_frames(IMAGE, LABEL, *HISTORY, ["a", "b"], NAMES)
    scales = {frame.axes[1].images[0].get_clim() for frame in frames}
    assert scales == {(0, np.log(4))}


@pytest.mark.parametrize("moments", [[], ["one"], ["a", "b", "c"]])
def test_moments_that_do_not_fit_are_refused(moments):
    with pytest.raises(ValueError, match="alike many, got"):
        training_frames(IMAGE, LABEL, *HISTORY, moments, NAMES)


def test_a_sweep_prints_precision_and_recall_beside_what_they_are_held_against():
    frames = sweep_frames(IMAGE, LABEL, GUESS, ENTROPY, (90, 99), NAMES)
    wide, narrow = map(words, frames)
    assert "the most uncertain 10 % of the pixels" in wide
    assert {"precision 50 %", "recall 100 %"} <= set(wide)  # 160 marked, 80 wrong
    assert {"precision 100 %", "recall 20 %"} <= set(narrow)  # 16 of 80
    assert "of all pixels 5 % are wrong" in narrow
    assert "at most 20 %: no more fit" in narrow
    assert "at most 100 %" in wide


def test_no_slice_without_errors_breaks_a_sweep():
    (frame,) = sweep_frames(IMAGE, LABEL, LABEL, ENTROPY, (99,), NAMES)
    assert {"precision 0 %", "recall none"} <= set(words(frame))
    assert ceiling(0.01, 0) == 1


def test_the_record_of_a_run_is_drawn_with_its_stages():
    slices = SimpleNamespace(
        image=IMAGE[None],
        label=LABEL[None],
        stages=["pretrain", "selftrain"],
        steps=[20, 10],
        nats=HISTORY[0][:, None].astype(np.float32),
        pseudo_label=HISTORY[1][:, None],
    )
    frames = training_of_run(slices, 0, NAMES)
    assert "pre-training, step 20" in words(frames[0])
    assert "self-training, step 10" in words(frames[1])
    drawn = figures_of_run(slices, 0, NAMES)
    figure, said = drawn["fig1_errors_and_uncertainty"]
    assert "(a) errors: 5.0 % of pixels" in words(figure)
    assert "Of them 100 % are wrong, of all pixels 5.0 %" in said
    assert len(drawn["fig5_entropy_cuts"][0].axes) == 6  # a color bar beside five panels
    with pytest.raises(ValueError, match="slice must lie in 0 to 0, got 1"):
        training_of_run(slices, 1, NAMES)
    slices.label = None
    with pytest.raises(ValueError, match="no label"):
        training_of_run(slices, 0, NAMES)


def test_a_loop_keeps_every_frame_rests_at_its_ends_and_never_stops(tmp_path):
    frames = sweep_frames(IMAGE, LABEL, GUESS, ENTROPY, (90, 95, 99), NAMES)
    path = tmp_path / "a.gif"
    write_loop(frames, path, seconds=0.2, rest=1.0)
    with Image.open(path) as loop:
        assert loop.n_frames == 3
        assert loop.info["loop"] == 0
        pauses = []
        for number in range(3):
            loop.seek(number)
            pauses.append(loop.info["duration"])
        assert pauses == [1000, 200, 1000]
        assert loop.size == (768, 384)
    assert path.stat().st_size < 200_000
    for wrong in ([], frames):
        with pytest.raises(ValueError, match="a loop needs frames"):
            write_loop(wrong, tmp_path / "a.png")

"""Student and teacher side by side, as a picture that moves."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from buarl.figures.pairs import student_and_teacher_frames

NAMES = ("background", "RV", "myocardium", "LV")
STEPS = np.array([20, 40, 60])
WRONG = np.array([[0.5, 0.1], [0.1, 0.05], [0.02, 0.03]])


def frames(guesses, steps=STEPS, wrong=WRONG):
    label = np.zeros((8, 8), int)
    label[2:6, 2:6] = 3
    return student_and_teacher_frames(np.ones((8, 8)), label, steps, guesses, wrong, NAMES)


def outlined(axes):
    (lines,) = (c for c in axes.collections if isinstance(c, LineCollection))
    return len(lines.get_segments())


def test_a_line_goes_around_the_errors_of_each_network():
    guesses = np.zeros((3, 2, 8, 8), int)
    guesses[:, 1, 2:6, 2:6] = 3  # the teacher is right, the student misses all
    student, teacher = frames(guesses)[0].axes[:2]
    assert outlined(student) == 16
    assert outlined(teacher) == 0
    assert (student.get_title(), teacher.get_title()) == ("student", "teacher")


def test_curves_go_as_far_as_the_moment_and_axes_do_not_move():
    drawn = [figure.axes[2] for figure in frames(np.zeros((3, 2, 8, 8), int))]
    assert [len(axes.lines[0].get_xdata()) for axes in drawn] == [1, 2, 3]
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in drawn}) == 1
    assert drawn[-1].lines[0].get_ydata()[-1] == pytest.approx(2)


@pytest.mark.parametrize("shape", [(2, 2, 8, 8), (3, 1, 8, 8), (3, 2, 8, 9)])
def test_arrays_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="two networks at 3 moments"):
        frames(np.zeros(shape, int))

"""A small picture that moves: student and teacher side by side while the student learns."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from buarl.figures.draw import class_legend, closed, draw_labels, draw_outline

SIZE = (8.0, 3.3)  # inches
WHO = ("student", "teacher")
LINES = (("#D55E00", "-"), ("#0072B2", "--"))
SIDE, BOTTOM = 0.31, 0.13  # of the panels, as shares of the figure's width and height
CURVES = (0.725, 0.265, 0.26, 0.52)


def student_and_teacher_frames(
    image: np.ndarray,
    label: np.ndarray,
    steps: np.ndarray,
    guesses: np.ndarray,
    wrong: np.ndarray,
    class_names: Sequence[str],
) -> list[Figure]:
    """Draw what student and teacher say of one slice at several steps, and how wrong they were.

    Args:
        image: (H, W), any numbers.
        label: Whole numbers (H, W), the truth, which the training does not see.
        steps: Whole numbers (T,), how many steps were done at each moment.
        guesses: Whole numbers (T, 2, H, W), the classes that student and teacher give.
        wrong: float (T, 2), their shares of wrong pixels over many slices, 0 to 1.
        class_names: Background first.
    Returns:
        T closed figures for `buarl.figures.loops.write_loop`; a line goes around every error.
    Raises:
        ValueError: arrays that do not fit each other.
    """
    moments = len(steps)
    if np.shape(guesses) != (moments, 2, *image.shape) or np.shape(wrong) != (moments, 2):
        raise ValueError(
            f"guesses and wrong must hold two networks at {moments} moments, got shapes "
            f"{np.shape(guesses)} and {np.shape(wrong)}"
        )
    figures = []
    for now in range(moments):
        figure = plt.figure(figsize=SIZE)
        figure.text(0.855, 0.91, f"step {steps[now]}", ha="center", fontsize=13, weight="bold")
        for number, name in enumerate(WHO):
            tall = SIDE * SIZE[0] / SIZE[1]
            panel = figure.add_axes((0.005 + number * (SIDE + 0.01), BOTTOM, SIDE, tall))
            draw_labels(panel, image, guesses[now, number])
            draw_outline(panel, guesses[now, number] != label)
            panel.set_title(name, fontsize=12)
        _curves(figure.add_axes(CURVES), steps, 100 * np.asarray(wrong), now)
        class_legend(figure, class_names, errors=True)
        figures.append(closed(figure))
    return figures


def _curves(axes: Axes, steps: np.ndarray, percent: np.ndarray, now: int) -> None:
    """Both shares of wrong pixels up to this moment, on axes that do not move."""
    for number, (name, (color, style)) in enumerate(zip(WHO, LINES, strict=True)):
        axes.plot(steps[: now + 1], percent[: now + 1, number], style, color=color, label=name)
        axes.plot(steps[now], percent[now, number], "o", color=color, markersize=5)
    top = 1.05 * float(percent.max())
    axes.set(xlim=(0, 1.02 * steps[-1]), ylim=(0, top), xlabel="step")
    axes.set_title("wrong pixels, %", fontsize=11)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=9, frameon=False, loc="upper right")

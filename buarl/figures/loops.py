"""Small pictures that move: a training step by step, and a percentile that sweeps."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from buarl.entropy import uncertain_mask
from buarl.evaluation.errors import Capture, error_capture
from buarl.figures.draw import BOTH, ERROR, PALETTE, UNCERTAIN, closed, draw_labels, draw_mask

SIZE = (8.0, 4.0)  # inches
INK, MUTED = "#1C2430", "#59636F"


def training_frames(
    image: np.ndarray,
    label: np.ndarray,
    entropies: np.ndarray,
    pseudo_labels: np.ndarray,
    moments: Sequence[str],
    class_names: Sequence[str],
    percentile: float = 99,
) -> list[Figure]:
    """Draw one slice at several moments of a training: its pseudo-label, entropy and errors.

    Args:
        image: (H, W), any numbers.
        label: Whole numbers (H, W), the truth, which the training does not see.
        entropies: float (T, H, W), nats, at T moments.
        pseudo_labels: Whole numbers (T, H, W), at the same moments.
        moments: The title of each, such as "step 40 of 400".
        class_names: Background first.
        percentile: Cut in percent, over this slice.
    Returns:
        T closed figures for `write_loop`; all entropies share one scale, 0 to ln C.
    Raises:
        ValueError: arrays or moments that do not fit each other.
    """
    counts = len(entropies), len(pseudo_labels), len(moments)
    if len(set(counts)) > 1 or not counts[0]:
        raise ValueError(f"entropies, pseudo_labels and moments must be alike many, got {counts}")
    highest, figures = float(np.log(len(class_names))), []
    for entropy, pseudo_label, moment in zip(entropies, pseudo_labels, moments, strict=True):
        figure, panels = _sheet(moment)
        draw_labels(panels[0], image, pseudo_label)
        panels[0].set_title("pseudo-label", fontsize=12)
        panels[1].imshow(entropy, "cividis", vmin=0, vmax=highest, interpolation="nearest")
        panels[1].set_title("entropy", fontsize=12)
        panels[1].set_axis_off()
        capture = _marks(panels[2], image, pseudo_label != label, entropy, percentile)
        panels[2].set_title("errors and the uncertain", fontsize=12)
        wrong = 100 * float((pseudo_label != label).mean())
        name = f"the most uncertain {_share(percentile)} %"
        said = f"wrong: {wrong:.1f} % of all pixels, {_percent(capture.precision)} of {name}"
        _foot(figure, said, class_names)
        _progress(figure, (len(figures) + 1) / len(moments))
        figures.append(closed(figure))
    return figures


def sweep_frames(
    image: np.ndarray,
    label: np.ndarray,
    pseudo_label: np.ndarray,
    entropy: np.ndarray,
    percentiles: Sequence[float],
    class_names: Sequence[str],
) -> list[Figure]:
    """Draw one slice while the percentile sweeps: what is marked, and what of it is wrong.

    Bars show precision (how much of the marked is wrong) beside the share of errors in the whole
    slice, and recall (how many errors are marked) beside its ceiling: a mask smaller than the
    errors cannot hold them all.

    Args:
        image: (H, W), any numbers.
        label: Whole numbers (H, W), the truth.
        pseudo_label: Whole numbers (H, W).
        entropy: float (H, W), nats.
        percentiles: One frame each.
        class_names: Background first.
    Returns:
        Closed figures for `write_loop`.
    """
    error = pseudo_label != label
    figures = []
    for percentile in percentiles:
        figure, panels = _sheet(f"the most uncertain {_share(percentile)} % of the pixels")
        draw_labels(panels[0], image, pseudo_label)
        panels[0].set_title("pseudo-label", fontsize=12)
        capture = _marks(panels[1], image, error, entropy, percentile)
        panels[1].set_title(f"percentile {percentile:g}", fontsize=12)
        _bars(panels[2], capture, float(error.mean()))
        _foot(figure, "", class_names)
        figures.append(closed(figure))
    return figures


def ceiling(share: float, errors: float) -> float:
    """The highest recall that a mask of this share can have, 0 to 1.

    Args:
        share: Marked pixels as a share of all, 0 to 1.
        errors: Wrong pixels as a share of all, 0 to 1.

    >>> ceiling(0.01, 0.06)  # 1 % of the pixels cannot hold 6 % errors
    0.16666666666666669
    """
    return min(1.0, share / errors) if errors else 1.0


def write_loop(
    figures: Sequence[Figure], path: Path, seconds: float = 0.5, rest: float = 1.5, dpi: int = 96
) -> None:
    """Write figures as a GIF that begins again for ever.

    Args:
        figures: Frames, of one size.
        path: The file, ending in .gif; replaced if it exists.
        seconds: How long a frame is shown.
        rest: How long the first and the last are shown.
        dpi: Pixels per inch.
    Raises:
        ValueError: no frame, or another ending.
    """
    if not figures or path.suffix != ".gif":
        raise ValueError(f"a loop needs frames and a file .gif, got {len(figures)} and {path.name}")
    frames = []
    for figure in figures:
        with io.BytesIO() as file:
            figure.savefig(file, format="png", dpi=dpi, facecolor="white")
            frames.append(Image.open(file).convert("RGB"))
    tall = Image.new("RGB", (frames[0].width, sum(frame.height for frame in frames)))
    for number, frame in enumerate(frames):
        tall.paste(frame, (0, number * frame.height))
    colors = tall.quantize(255)  # one palette for all, so that what rests costs nothing
    frames = [frame.quantize(palette=colors, dither=Image.Dither.NONE) for frame in frames]
    pauses = [round(1000 * seconds)] * len(frames)
    pauses[0] = pauses[-1] = round(1000 * rest)
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=pauses, loop=0, optimize=False
    )


def _sheet(title: str) -> tuple[Figure, list[Axes]]:
    """Three panels in a row with a title; places are fixed, so that only the content moves."""
    figure = plt.figure(figsize=SIZE)
    figure.text(0.5, 0.93, title, ha="center", fontsize=14, weight="bold")
    side = 0.315
    axes = [
        figure.add_axes((0.012 + number * 0.331, 0.155, side, side * SIZE[0] / SIZE[1]))
        for number in range(3)
    ]
    return figure, axes


def _marks(
    panel: Axes, image: np.ndarray, error: np.ndarray, entropy: np.ndarray, percentile: float
) -> Capture:
    batch = torch.from_numpy(np.ascontiguousarray(entropy, dtype=np.float32))[None]
    uncertain = uncertain_mask(batch, percentile)[0].numpy()
    draw_labels(panel, image, None)
    draw_mask(panel, error & ~uncertain, ERROR)
    draw_mask(panel, uncertain & ~error, UNCERTAIN)
    draw_mask(panel, uncertain & error, BOTH, 1)
    return error_capture(torch.from_numpy(error)[None], batch, percentile)


def _bars(panel: Axes, capture: Capture, errors: float) -> None:
    """Precision and recall as bars, each with what it is to be held against."""
    panel.set_position((0.705, 0.2, 0.275, 0.56))
    panel.set(xlim=(0, 1), ylim=(-1, 3.2))
    most = ceiling(capture.share, errors)
    fit = f"at most {_percent(most)}" + (": no more fit" if most < 1 else "")
    rows = (
        (
            2.1,
            "precision",
            capture.precision,
            errors,
            f"of all pixels {round(100 * errors, 1):g} % are wrong",
        ),
        (
            0,
            "recall",
            capture.recall,
            most,
            fit,
        ),
    )
    for row, name, value, beside, words in rows:
        panel.barh(row, 1, 0.5, color="#E6E9ED")
        if not np.isnan(value):
            panel.barh(row, value, 0.5, color=BOTH, edgecolor=INK, linewidth=0.8)
        panel.plot([beside] * 2, [row - 0.36, row + 0.36], color=INK, linewidth=2.5)
        panel.text(0, row + 0.5, f"{name} {_percent(value)}", fontsize=13, weight="bold")
        panel.text(0, row - 0.8, words, fontsize=11, color=MUTED)
    panel.set_axis_off()


def _foot(figure: Figure, said: str, class_names: Sequence[str]) -> None:
    if said:
        figure.text(0.5, 0.088, said, ha="center", va="center", fontsize=12)
    handles = [Patch(color=PALETTE[i], label=name) for i, name in enumerate(class_names) if i]
    handles += [
        Patch(color=ERROR, label="error"),
        Patch(color=UNCERTAIN, label="uncertain"),
        Patch(color=BOTH, label="both"),
    ]
    style = {"ncols": len(handles), "frameon": False, "fontsize": 10.5, "columnspacing": 1.1}
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, -0.015), **style)


def _progress(figure: Figure, share: float) -> None:
    axes = figure.add_axes((0.35, 0.895, 0.3, 0.014))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axvspan(0, 1, color="#E6E9ED")
    axes.axvspan(0, share, color=UNCERTAIN)
    axes.set_axis_off()


def _share(percentile: float) -> str:
    return f"{round(100 - percentile, 6):g}"


def _percent(value: float) -> str:
    return "none" if np.isnan(value) else f"{100 * value:.0f} %"

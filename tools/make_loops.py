"""Draw what one network says of real hearts: moving pictures, and Fig. 1 and 5 on ACDC.

    python tools/make_loops.py ACDC_FOLDER

trains one Mean Teacher on 7 labeled patients (5 minutes of one core), records what its teacher says
of 40 unlabeled slices, evenly spaced in the list, and draws the slice that is most like the others.
The record is kept in `runs/loops` and used when the tool runs again. `BUARL_ACDC=FOLDER make
figures` calls it too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from buarl.data.source import Source, open_source
from buarl.entropy import entropy_of_probs
from buarl.evaluation.calibration import calibration_error, reliability
from buarl.evaluation.errors import Capture, error_capture
from buarl.evaluation.predict import predict_probs
from buarl.figures import captions, plots, undecided
from buarl.figures.confidence import confidence_and_accuracy
from buarl.figures.loops import sweep_frames, training_frames, write_loop
from buarl.figures.views import training_view
from buarl.lessons.paper_figures import Drawn
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.loop import fit

HOME = Path(__file__).resolve().parent.parent
RECORD = HOME / "runs" / "loops" / "slices.npz"
ROW = Experiment(
    "mean_teacher",
    source="acdc",
    labeled=7,
    preset="mini",
    set={"steps": 400, "optimizer": "adam", "lr": 0.003, "labeled_batch": 8, "unlabeled_batch": 8},
)
STEPS = ROW.set["steps"]
SHARES = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
COUNT, LEAST = 40, 60  # slices that are recorded; pixels of every class in one that is shown
SWEEP = (90, 91, 92, 93, 94, 95, 96, 97, 98, 98.5, 99, 99.3, 99.6, 99.8, 99.9)
CREDIT = "ACDC, Bernard et al. 2018\nCC BY-NC-SA 4.0"
BRIGHT = 99.5  # percentile of an image that is drawn white


class Record(NamedTuple):
    """What the teacher said of N unlabeled slices at S steps."""

    names: np.ndarray
    image: np.ndarray  # (N, H, W)
    label: np.ndarray  # (N, H, W)
    steps: np.ndarray  # (S,)
    entropy: np.ndarray  # (S, N, H, W), nats
    pseudo_label: np.ndarray  # (S, N, H, W)
    probs: np.ndarray  # (N, C, H, W), the student's at the last step


def record(source: Source) -> Record:
    """Train, or read what an earlier call kept."""
    if not RECORD.is_file():
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(RECORD, **train(source)._asdict())
    with np.load(RECORD) as file:
        return Record(*(file[name] for name in Record._fields))


def train(source: Source) -> Record:
    config, method = config_for(ROW), build_method(ROW, source.num_classes)
    unlabeled = source.split_labeled(ROW.labeled)[1]
    names = [unlabeled[(2 * i + 1) * len(unlabeled) // (2 * COUNT)] for i in range(COUNT)]
    views = [training_view(source.training_sample(name), config) for name in names]
    image, label = (np.stack(part) for part in zip(*views, strict=True))
    moments = {max(1, round(share * STEPS)) for share in SHARES}
    said = {}

    def look(stage, step, method):
        if step.index + 1 in moments:
            said[step.index + 1] = predict_probs(method.teacher, image).numpy()

    fit(method, source, config, progress=True, callback=look)
    return pack(names, image, label, said, predict_probs(method.student, image).numpy())


def pack(names, image, label, said: dict[int, np.ndarray], probs: np.ndarray) -> Record:
    """The record of the teacher's probabilities (N, C, H, W) by step, and the student's last."""
    entropies = [entropy_of_probs(torch.from_numpy(probs)).numpy() for probs in said.values()]
    guesses = [probs.argmax(1).astype(np.uint8) for probs in said.values()]
    history = np.array(list(said)), np.stack(entropies), np.stack(guesses)
    return Record(np.array(names), image, label, *history, probs)


def capture(found: Record, numbers: list[int]) -> Capture:
    """Of these slices at the last step, each cut on its own at the 99th percentile."""
    error = torch.from_numpy(found.pseudo_label[-1, numbers] != found.label[numbers])
    return error_capture(error, torch.from_numpy(found.entropy[-1, numbers]), 99, "image")


def typical(found: Record) -> int:
    """The slice with all classes whose precision at 99 is nearest to that of all slices."""
    together = capture(found, list(range(len(found.names)))).precision
    whole = [
        number
        for number, label in enumerate(found.label)
        if np.bincount(label.ravel(), minlength=4).min() >= LEAST
    ]
    return min(whole, key=lambda number: abs(capture(found, [number]).precision - together))


def draw_loops(source: Source, folder: Path) -> dict[str, str]:
    """Write percentile.gif and training.gif, and return their captions by file."""
    found, names = record(source), source.class_names
    number = typical(found)
    image, label, guess, entropy = at(found, number)
    moments = [f"step {step} of {STEPS}" for step in found.steps]
    history = found.entropy[:, number], found.pseudo_label[:, number]
    frames = sweep_frames(image, label, guess, entropy, SWEEP, names)
    credit(frames)
    write_loop(frames + frames[-2:0:-1], folder / "percentile.gif", 0.35, 1.2)
    frames = training_frames(image, label, *history, moments, names)
    credit(frames)
    write_loop(frames, folder / "training.gif", 0.6)
    for name in ("percentile", "training"):
        print(f"acdc/{name}.gif: {(folder / f'{name}.gif').stat().st_size / 1000:.0f} kB")
    said = captions.of_errors(label, guess, entropy)
    above = (
        f"{100 * (entropy > 0.5).mean():.3g} % at step {step}"
        for step, entropy in zip(found.steps, found.entropy, strict=True)
    )
    drift = f"Pixels of all {len(found.names)} slices above half a nat: {', '.join(above)}."
    slice_ = f"{found.names[number]}, an unlabeled training slice."
    return {
        "percentile.gif": f"The most uncertain 10 % to 0.1 % of {slice_} {said}",
        "training.gif": f"{slice_} The last of these steps: {said} {drift}",
    }


def credit(frames: list[Figure]) -> None:
    """Whose images these are stands on every frame."""
    for frame in frames:
        frame.text(0.012, 0.955, CREDIT, fontsize=7.5, color="#59636F", va="center")


def draw_figures(source: Source) -> dict[str, Drawn]:
    """Fig. 1 and 5 of the same slice and network, each with its caption."""
    found, names = record(source), source.class_names
    number = typical(found)
    image, label, guess, entropy = at(found, number)
    places = {
        "(c) a reliable pixel": undecided.most_reliable(found.probs, found.label),
        "(d) an unreliable one": undecided.most_undecided(found.probs),
    }
    errors = plots.errors_beside_uncertainty(image, label, guess, entropy, names)
    pixels = undecided.pixels_and_places(found.image, found.probs.argmax(1), places, names)
    slice_, cuts = f"{found.names[number]}.", captions.of_cuts(label, entropy)
    said = {
        "fig1_errors_and_uncertainty": (
            errors,
            f"Fig. 1 a, b, {slice_} {captions.of_errors(label, guess, entropy)}",
        ),
        "fig1_bars": (
            pixels,
            f"Fig. 1 c, d. {captions.of_places(places, names)} Mean Teacher's student. "
            f"{trained(found)}",
        ),
        "fig5_entropy_cuts": (plots.entropy_cuts(image, entropy), f"Fig. 5, {slice_} {cuts}"),
        "fig5_paper_colors": (
            plots.entropy_cuts(image, entropy, colors="paper"),
            f"Fig. 5, {slice_} In the paper's colors: green is high entropy, red low. {cuts}",
        ),
    }
    return {name: Drawn(*drawn) for name, drawn in said.items()} | {"reliability": doubt(found)}


def doubt(found: Record) -> Drawn:
    """Confidence beside accuracy of the student, and what two ways of doubt catch (lesson 04)."""
    probs, label = torch.from_numpy(found.probs), torch.from_numpy(found.label.astype(np.int64))
    wrong, rows = probs.argmax(1) != label, reliability(probs, label)
    ways = {"entropy": entropy_of_probs(probs), "1 - max p": 1 - probs.amax(1)}
    cuts = (99, 97, 95)
    caught = {
        way: ", ".join(f"{100 * error_capture(wrong, values, q).recall:.0f}" for q in cuts)
        for way, values in ways.items()
    }
    rate = wrong.float().mean().item()
    most = ", ".join(f"{100 * min(1, (100 - q) / 100 / rate):.0f}" for q in cuts)
    by_way = "; ".join(f"{way} {found_} %" for way, found_ in caught.items())
    return Drawn(
        confidence_and_accuracy({"Mean Teacher on ACDC": rows}),
        f"All {len(label)} slices, one cut for all. {100 * rate:.1f} % of the "
        f"pixels are wrong; expected calibration error {100 * calibration_error(rows):.1f} %. "
        f"Errors caught at q = 99, 97, 95: {by_way}; at most {most} %. Mean Teacher's student. "
        f"{trained(found)}",
    )


def at(found: Record, number: int) -> tuple[np.ndarray, ...]:
    """Image, label, pseudo-label and entropy of a slice at the last step."""
    image = np.minimum(found.image[number], np.percentile(found.image[number], BRIGHT))
    label, guess = found.label[number], found.pseudo_label[-1, number]
    return image, label.astype(np.int64), guess.astype(np.int64), found.entropy[-1, number]


def about(source: Source) -> str:
    """The network, and how far the slice stands for the others."""
    found = record(source)
    count = len(found.names)
    together = capture(found, list(range(count)))
    return (
        f"Over all {count} slices recorded, each cut on its own at q = 99, "
        f"{100 * together.precision:.0f} % of the uncertain are wrong, and they hold "
        f"{100 * together.recall:.0f} % of the errors; of the slices with all classes the one "
        f"drawn is nearest to them in the first number. Mean Teacher's teacher. {trained(found)}"
    )


def trained(found: Record) -> str:
    """How the networks of a recording were trained."""
    last = int(found.steps[-1])
    weights = "last weights" if last == STEPS else f"weights of step {last}"
    said = captions.of_run(ROW, config_for(ROW), weights=weights)
    return f"{said} Set for this row: {ROW.changes}."


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        raise SystemExit("name the folder of ACDC: python tools/make_loops.py ACDC_FOLDER")
    source = open_source("acdc", sys.argv[1])
    for name, said in draw_loops(source, HOME / "figures" / "acdc").items():
        print(f"{name}: {said}")
    print(about(source))


if __name__ == "__main__":
    main()

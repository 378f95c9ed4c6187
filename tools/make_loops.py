"""Draw what networks say of real hearts: a training, a sweeping percentile, their confidence.

    python tools/make_loops.py ACDC_FOLDER

draws the training: one Mean Teacher is trained on 7 labeled patients (10 minutes of one core) and
its teacher recorded; the record is kept in `runs/loops` and used when the tool runs again. The
others, of the weights that come with the package, `BUARL_ACDC=FOLDER make figures` draws. Each
network looks at the same 40 unlabeled slices, evenly spaced in the list, and the slice that is most
like the others moves.
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
from buarl.figures import captions
from buarl.figures.confidence import confidence_and_accuracy
from buarl.figures.loops import sweep_frames, training_frames, write_loop
from buarl.figures.views import training_view
from buarl.files.weights import load_released, row_of_weights
from buarl.lessons.paper_figures import Drawn, read_captions, write_captions
from buarl.training.config import Config, Experiment, build_method, config_for
from buarl.training.loop import fit

HOME = Path(__file__).resolve().parent.parent
RECORD = HOME / "runs" / "loops" / "slices.npz"
WEIGHTS = "acdc7_bcp_quick"
ROW = Experiment(  # of the training
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
    """What a network said of N unlabeled slices at S steps."""

    names: np.ndarray
    image: np.ndarray  # (N, H, W)
    label: np.ndarray  # (N, H, W)
    steps: np.ndarray  # (S,)
    entropy: np.ndarray  # (S, N, H, W), nats
    pseudo_label: np.ndarray  # (S, N, H, W)
    probs: np.ndarray  # (N, C, H, W), the student's at the last step


def of_weights(source: Source) -> tuple[Record, float]:
    """What the released student says, at the last step of its run, and its temperature."""
    model = load_released(WEIGHTS, "cpu")
    names, image, label = views(source, model.config)
    probs = predict_probs(model.network, image).numpy()
    said = {model.config.steps[-1]: probs}
    return pack(names, image, label, said, probs), model.temperature


def record(source: Source) -> Record:
    """Train, or read what an earlier call kept."""
    if not RECORD.is_file():
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(RECORD, **train(source)._asdict())
    with np.load(RECORD) as file:
        return Record(*(file[name] for name in Record._fields))


def train(source: Source) -> Record:
    config, method = config_for(ROW), build_method(ROW, source.num_classes)
    names, image, label = views(source, config)
    moments = {max(1, round(share * STEPS)) for share in SHARES}
    said = {}

    def look(stage, step, method):
        if step.index + 1 in moments:
            said[step.index + 1] = predict_probs(method.teacher, image).numpy()

    fit(method, source, config, progress=True, callback=look)
    return pack(names, image, label, said, predict_probs(method.student, image).numpy())


def views(source: Source, config: Config) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, images and labels of the slices that every network here looks at."""
    unlabeled = source.split_labeled(config.labeled)[1]
    names = [unlabeled[(2 * i + 1) * len(unlabeled) // (2 * COUNT)] for i in range(COUNT)]
    seen = [training_view(source.training_sample(name), config) for name in names]
    image, label = (np.stack(part) for part in zip(*seen, strict=True))
    return names, image, label


def pack(names, image, label, said: dict[int, np.ndarray], probs: np.ndarray) -> Record:
    """The record of probabilities (N, C, H, W) by step, and the student's last."""
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


def draw_sweep(found: Record, source: Source, folder: Path) -> dict[str, str]:
    """Write percentile.gif, of the released weights, and return its caption by file."""
    number = typical(found)
    image, label, guess, entropy = at(found, number)
    frames = sweep_frames(image, label, guess, entropy, SWEEP, source.class_names)
    save(frames + frames[-2:0:-1], folder / "percentile.gif", 0.35, 1.2)
    said = captions.of_errors(label, guess, entropy)
    slice_ = f"The most uncertain 10 % to 0.1 % of {found.names[number]}, an unlabeled slice."
    return {"percentile.gif": f"{slice_} {said} {together(found)} {of_released()}"}


def draw_training(source: Source, folder: Path) -> dict[str, str]:
    """Write training.gif, of the teacher recorded, and return its caption by file."""
    found = record(source)
    number = typical(found)
    image, label, guess, entropy = at(found, number)
    moments = [f"step {step} of {STEPS}" for step in found.steps]
    history = found.entropy[:, number], found.pseudo_label[:, number]
    frames = training_frames(image, label, *history, moments, source.class_names)
    save(frames, folder / "training.gif", 0.6)
    said = captions.of_errors(label, guess, entropy)
    above = (
        f"{100 * (entropy > 0.5).mean():.3g} % at step {step}"
        for step, entropy in zip(found.steps, found.entropy, strict=True)
    )
    drift = f"Pixels of all {len(found.names)} slices above half a nat: {', '.join(above)}."
    slice_ = f"{found.names[number]}, an unlabeled slice. The last of these steps:"
    how = f"{together(found)} Mean Teacher's teacher. {trained(found)}"
    return {"training.gif": f"{slice_} {said} {drift} {how}"}


def save(frames: list[Figure], path: Path, *seconds: float) -> None:
    """Write a picture that moves, with a line on every frame about whose images these are."""
    for frame in frames:
        frame.text(0.012, 0.955, CREDIT, fontsize=7.5, color="#59636F", va="center")
    write_loop(frames, path, *seconds)
    print(f"{path.parent.name}/{path.name}: {path.stat().st_size / 1000:.0f} kB")


def doubt(found: Record, temperature: float) -> Drawn:
    """Confidence beside accuracy of the released student, and what two ways of doubt catch."""
    probs, label = torch.from_numpy(found.probs), torch.from_numpy(found.label.astype(np.int64))
    tempered = (probs.log() / temperature).softmax(1)  # as of its logits: a constant cancels
    name = f"BCP, T = {temperature:.2f}"
    rows = {"BCP": reliability(probs, label), name: reliability(tempered, label)}
    wrong, cuts = probs.argmax(1) != label, (99, 97, 95)
    ways = {"entropy": entropy_of_probs(probs), "1 - max p": 1 - probs.amax(1)}
    caught = {
        way: ", ".join(f"{100 * error_capture(wrong, values, q).recall:.0f}" for q in cuts)
        for way, values in ways.items()
    }
    rate = wrong.float().mean().item()
    most = ", ".join(f"{100 * min(1, (100 - q) / 100 / rate):.0f}" for q in cuts)
    by_way = "; ".join(f"{way} {found_} %" for way, found_ in caught.items())
    before, after = (100 * calibration_error(bins) for bins in rows.values())
    return Drawn(
        confidence_and_accuracy(rows),
        f"All {len(label)} slices, one cut for all. {100 * rate:.1f} % of the pixels are wrong; "
        f"expected calibration error {before:.2f} %, with the temperature {temperature:.2f} of "
        f"half the validation volumes {after:.2f} %. Errors caught at q = 99, 97, 95: {by_way}; "
        f"at most {most} %. {of_released()}",
    )


def at(found: Record, number: int) -> tuple[np.ndarray, ...]:
    """Image, label, pseudo-label and entropy of a slice at the last step."""
    image = np.minimum(found.image[number], np.percentile(found.image[number], BRIGHT))
    label, guess = found.label[number], found.pseudo_label[-1, number]
    return image, label.astype(np.int64), guess.astype(np.int64), found.entropy[-1, number]


def together(found: Record) -> str:
    """How far the slice drawn stands for the others."""
    count = len(found.names)
    all_of_them = capture(found, list(range(count)))
    return (
        f"Over all {count} slices recorded, each cut on its own at q = 99, "
        f"{100 * all_of_them.precision:.0f} % of the uncertain are wrong, and they hold "
        f"{100 * all_of_them.recall:.0f} % of the errors; of the slices with all classes the one "
        f"drawn is nearest to them in the first number."
    )


def of_released() -> str:
    """How the released weights were trained."""
    row = row_of_weights(WEIGHTS)
    said = captions.of_run(row, config_for(row), weights="last weights, in half precision")
    return f"The student of BCP, {WEIGHTS}. {said}"


def trained(found: Record) -> str:
    """How the networks of a recording were trained."""
    last = int(found.steps[-1])
    weights = "last weights" if last == STEPS else f"weights of step {last}"
    said = captions.of_run(ROW, config_for(ROW), weights=weights)
    return f"{said} Set for this row: {ROW.changes}."


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        raise SystemExit("name the folder of ACDC: python tools/make_loops.py ACDC_FOLDER")
    folder = HOME / "figures" / "acdc"
    about, said = read_captions(folder / "captions.md")
    said |= draw_training(open_source("acdc", sys.argv[1]), folder)
    write_captions(folder / "captions.md", said, about)


if __name__ == "__main__":
    main()

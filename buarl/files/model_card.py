"""A model card in Markdown, made from what a run says of itself; nothing in it is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from buarl.evaluation.scores import summary
from buarl.weights import SHIPPED

TUNED = (("quick", "acdc"), ("mini", "la"))  # docs/quick.md, results/README.md


class Card(NamedTuple):
    """What a model card is made from.

    Attributes:
        name: Of the weights.
        run: `run.json`.
        class_names: Background first.
        normalisation: Of gray values.
        license: Terms of the weights.
        tables: Scores by the name of their file.
        rounding: What half precision changes, in words.
        digest: SHA-256 of the file.
        parameters: How many numbers the network has.
        note: More about the scores, for example what other seeds gave.
        temperature: What the file keeps of `fitted_temperature`.
    """

    name: str
    run: Mapping[str, Any]
    class_names: Sequence[str]
    normalisation: str
    license: str
    tables: Mapping[str, Sequence[dict]]
    rounding: str
    digest: str
    parameters: int
    note: str = ""
    temperature: float | None = None


def model_card(card: Card, patients: Sequence[str]) -> str:
    """The text of a card.

    Args:
        card: What it is made from.
        patients: Whose labels were used; none if that is not known.
    """
    run, row = card.run, card.run["experiment"]
    known = run.get("config", {})
    environment, stages = run["environment"], known.get("stages", [])
    steps = " + ".join(str(stage.get("steps", "?")) for stage in stages) or "see the preset"
    network = (
        "V-Net of the paper" if len(known.get("image_size", ())) == 3 else "U-Net of the paper"
    )
    facts = {
        "classes": ", ".join(card.class_names),
        "data": f"{row['source']}: {run['data'].get('licence') or 'see there'}",
        "labeled patients": _labeled(row) + (f": {', '.join(patients)}" if patients else ""),
        "method": row["method"] + (f", {row['options']}" if row["options"] else ""),
        "labeled rule": f"{_rule(row['labeled_rule'])}, per {row['labeled_reduction']}",
        "unlabeled rule": f"{_rule(row['unlabeled_rule'])}, per {row['unlabeled_reduction']}",
        "network": f"{row.get('network') or network}, {card.parameters:,} "
        "parameters; the student, last checkpoint",
        "protocol": f"preset {row['preset']}, {steps} steps"
        + "".join(f", {key} {value}" for key, value in row.get("set", {}).items()),
        "image size": "x".join(map(str, known.get("image_size", ["?"]))),
        "gray values": f"{card.normalisation} over the volume; no resampling, no reorientation",
        "selection": run.get("selection", "last checkpoint"),
        "seed": str(row["seed"]),
        "trained with": ", ".join(
            f"{key} {environment[key]}"
            for key in ("torch", "device", "precision", "machine", "commit")
            if environment.get(key)
        ),
        **_temperature(card),
        "precision of the file": f"half; {card.rounding}",
        "SHA-256": card.digest,
        "license of the weights": card.license,
    }
    lines = [f"# {card.name}", "", f"{', '.join(card.class_names[1:])} in medical images, by "]
    lines[-1] += "`buarl`. **For research only. Not for clinical use.**"
    lines += ["", "| what | |", "| --- | --- |"]
    lines += [f"| {key} | {_cell(value)} |" for key, value in facts.items()]
    return "\n".join([*lines, "", *_scores(card), *_limits(card)]) + "\n"


def _labeled(row: Mapping[str, Any]) -> str:
    if row["labeled"] is None:
        return "all"
    if (draw := row.get("set", {}).get("labeled_draw")) is not None:
        return f"{row['labeled']}, drawn by labeled_draw {draw}"
    return f"the first {row['labeled']} of the list"


def _rule(rule: Mapping[str, Any]) -> str:
    if rule.get("name") == "whole":
        return "whole"
    arguments = [
        f"{key} {value}" for key, value in rule.items() if key != "name" and value is not None
    ]
    return f"{rule.get('name')} ({', '.join(arguments)})" if arguments else str(rule.get("name"))


def _temperature(card: Card) -> dict[str, str]:
    """The line on confidence, of weights whose run has fitted a temperature."""
    if card.temperature is None:
        return {}
    how = "fitted on images of half the validation volumes"
    use = "`--entropy --temperature run` divides logits by it"
    return {"temperature": f"{card.temperature:.2f}, {how}; {use}"}


def _cell(value: str) -> str:
    """Text that stays inside its cell."""
    return " ".join(value.replace("|", "\\|").split())


def _scores(card: Card) -> list[str]:
    lines = [
        "## Scores",
        "",
        "Of the network in float32, means over cases, then over classes. One seed.",
        "",
        "| file of the run | cases | Dice | Jaccard | 95HD | ASD | missed | Dice per class |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, rows in card.tables.items():
        found = summary(rows)
        each = ", ".join(
            f"{key.removeprefix('dice ')} {value:.3f}"
            for key, value in found.items()
            if key.startswith("dice ")
        )
        lines.append(
            f"| {name} | {found['cases']} | {found['dice']:.3f} | {found['jaccard']:.3f} | "
            f"{found['hd95']:.2f} | {found['asd']:.2f} | {found['missed']} | {each} |"
        )
    return [*lines, "", *([card.note, ""] if card.note else [])]


def _limits(card: Card) -> list[str]:
    row = card.run["experiment"]
    labels = "" if row["labeled"] is None else f", with the labels of {row['labeled']} patients"
    tuned = []
    if (row["preset"], row["source"]) in TUNED:
        said = "were chosen on the validation volumes of these data, so scores there flatter it."
        tuned = [f"- The numbers of preset {row['preset']} {said}"]
    return [
        "## Limits",
        "",
        "- Not a medical device. Not for diagnosis, treatment or any other clinical use.",
        f"- Trained on {row['source']} alone{labels}. Other scanners, sequences, orientations, "
        "diseases and voxel sizes were not tried, and nothing warns where it fails.",
        "- Scores above are those of one training; another seed gives others.",
        *tuned,
        "- Where it is unsure it is often wrong: `--entropy` shows where.",
        "",
        *_use(card),
    ]


def _use(card: Card) -> list[str]:
    """How to apply the weights: by their name where they come with the package, else by file."""
    shipped = SHIPPED.get(card.name) == card.digest  # a file of one's own may have the same name
    where = "These weights come with buarl:" if shipped else "In the folder of this card:"
    place = card.name if shipped else f"{card.name}.safetensors"
    command = f"buarl predict --weights {place} IMAGES OUT"
    return ["## Use", "", where, "", "```bash", command, "```"]

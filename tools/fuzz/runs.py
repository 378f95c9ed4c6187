"""Run folders: run.json, and checkpoints with spoiled bytes or with other content."""

from __future__ import annotations

import io
import json
import math
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch

import buarl
from buarl.training.checkpoint import load_state
from buarl.training.run import load_method, row_of_run
from buarl.training.run_folder import describe
from buarl.training.state import TrainingState

from .judge import Input
from .mutate import hostile, spoil_bytes, spoil_json


@cache
def row() -> buarl.Experiment:
    numbers = {"width": 2, "image_size": [32, 32], "steps": 10}
    return buarl.Experiment(
        "mean_teacher",
        labeled_rule=buarl.url(),
        unlabeled_rule=buarl.crl(),
        options={"noise": 0.1},
        source="own_2d",
        labeled=2,
        set=numbers,
    )


@cache
def run_bytes() -> tuple[dict[str, Any], bytes]:
    """run.json and last.pt of a finished run of an untrained network."""
    method = buarl.build_method(row(), 4)
    state = TrainingState(method, method.stages())
    state.position = (0, 10)
    block = io.BytesIO()
    optimizers = {name: o.state_dict() for name, o in state.optimizers.items()}
    seconds = {"train": 1.0}
    history = [{"stage": "train", "step": 10, "lr": 0.01, "student_loss": 0.5}]
    torch.save(
        {
            "position": [0, 10],
            "method": method.state_dict(),
            "optimizers": optimizers,
            "history": history,
            "seconds": seconds,
        },
        block,
    )

    class _Source:
        root, licence, class_names = Path("/data"), "-", ("a", "b", "c", "d")

    about = describe(row(), _Source())
    about["environment"] = {**about["environment"], "commit": "0", "machine": "-", "threads": 1}
    about |= {"started": "2026-01-01T00:00:00+00:00", "finished": True, "seconds": seconds}
    return json.loads(json.dumps(about | {"peak_mib": 400})), block.getvalue()


def run(folder: Path, rng: Random) -> Input:
    """run.json, read by `row_of_run` and, now and then, `load_method`."""
    about, weights = run_bytes()
    keys = ("experiment", "finished") if rng.random() < 0.8 else tuple(about)
    spoiled, what = spoil_json(about, rng, lambda path: path[0] in keys)
    (folder / "run.json").write_bytes(spoiled)
    whole = rng.random() < 0.15
    if whole:
        (folder / "last.pt").write_bytes(weights)

    def read() -> dict[str, Any]:
        found = row_of_run(folder).as_dict()
        if whole:
            load_method(folder, 4)
        return found

    try:
        said = json.loads(spoiled)["experiment"]
    except Exception:
        said = {}
    right = row().as_dict()
    free = (
        frozenset(key for key in {**right, **said} if said.get(key) != right.get(key))
        if isinstance(said, dict)
        else frozenset()
    )

    def rule(found: dict[str, Any]) -> str | None:
        if type(found["seed"]) is not int or type(found["labeled"]) not in (int, type(None)):
            return f"seed {found['seed']!r}, labeled {found['labeled']!r}"
        for key in ("method", "source", "preset", "labeled_reduction", "unlabeled_reduction"):
            if type(found[key]) is not str:
                return f"{key} {found[key]!r}"
        if found["labeled_reduction"] not in ("voxel", "region"):
            return f"labeled_reduction {found['labeled_reduction']!r}"
        return None

    return Input(what, read, right, [str(folder)], free, rule, folder)


@cache
def small_state() -> dict[str, Any]:
    """A checkpoint in small: what it holds does not matter to `load_state`."""
    weights = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.count": torch.tensor(3)}
    return {
        "position": [0, 10],
        "method": weights,
        "optimizers": {"student": {"state": {0: {"m": torch.ones(5)}}}},
        "history": [{"stage": "train", "lr": 0.1}],
        "seconds": {"train": 1.5},
    }


def checkpoint(folder: Path, rng: Random) -> Input:
    """last.pt: bytes spoiled behind its checksums' back, or other content with right checksums."""
    if rng.random() < 0.75:
        return _spoiled_checkpoint(folder, rng)
    about, weights = run_bytes()
    (folder / "run.json").write_text(json.dumps(about))
    state = torch.load(io.BytesIO(weights), weights_only=True)
    change = rng.choice(STATE_CHANGES)
    right = {"method": state["method"].copy()}
    state = change(state, rng)
    torch.save(state, folder / "last.pt")
    return Input(
        change.__name__.strip("_").replace("_", " "),
        lambda: {"method": load_method(folder, 4).state_dict()},
        right,
        [str(folder / "last.pt"), str(folder)],
        frozenset(("method",)) if change is _other_numbers else frozenset(),
        lambda found: None if change not in MUST_FAIL else "accepted",
        folder,
    )


def _spoiled_checkpoint(folder: Path, rng: Random) -> Input:
    path, block = folder / "last.pt", io.BytesIO()
    torch.save(small_state(), block)
    spoiled, what = spoil_bytes(block.getvalue(), rng)
    path.write_bytes(spoiled)
    return Input(what, lambda: load_state(path), small_state(), [str(path)], folder=folder)


def _key_gone(state: Any, rng: Random) -> Any:
    del state["method"]
    return state


def _weight_gone(state: Any, rng: Random) -> Any:
    del state["method"][rng.choice(list(state["method"]))]
    return state


def _weight_added(state: Any, rng: Random) -> Any:
    state["method"]["student.more"] = torch.zeros(2)
    return state


def _other_shape(state: Any, rng: Random) -> Any:
    name = rng.choice(list(state["method"]))
    value = state["method"][name]
    state["method"][name] = rng.choice((value[None].repeat(2, *[1] * value.ndim), torch.zeros(0)))
    return state


def _other_kind(state: Any, rng: Random) -> Any:
    name = rng.choice(list(state["method"]))
    state["method"][name] = rng.choice((None, 3, "x", [1.0], {"a": 1}))
    return state


def _not_finite(state: Any, rng: Random) -> Any:
    names = [n for n, v in state["method"].items() if v.is_floating_point() and v.numel()]
    value = state["method"][rng.choice(names)]
    value.view(-1)[rng.randrange(value.numel())] = rng.choice((math.nan, math.inf, -math.inf))
    return state


def _other_numbers(state: Any, rng: Random) -> Any:
    names = [n for n, v in state["method"].items() if v.is_floating_point() and v.numel()]
    state["method"][rng.choice(names)].view(-1)[0] = 0.125
    return state


def _position(state: Any, rng: Random) -> Any:
    state["position"] = rng.choice(([0, 2], [7, 0], [-1, 3], [0, 10**9], None, "x", [], [0.5, 2]))
    return state


def _another_document(state: Any, rng: Random) -> Any:
    return rng.choice(
        (None, [], 3, "x", {}, {"method": None}, {"method": []}, torch.zeros(3), {1: 2})
    )


def _a_class(state: Any, rng: Random) -> Any:
    return {**state, "method": rng.choice((Path("x"), Random(3), Decimal(1), buarl.Experiment))}


def _hostile_method(state: Any, rng: Random) -> Any:
    return {**state, "method": hostile(rng)}


STATE_CHANGES = (
    _key_gone,
    _weight_gone,
    _weight_added,
    _other_shape,
    _other_kind,
    _not_finite,
    _other_numbers,
    _position,
    _another_document,
    _a_class,
    _hostile_method,
)
MUST_FAIL = frozenset(STATE_CHANGES) - {_other_numbers}

"""Dice, Jaccard, 95HD and ASD of a case, defined as in MedPy, with a named rule for empty masks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from buarl.arguments import check_count, short

Unit = Literal["voxels", "mm"]
NARROWEST, WIDEST = 1e-9, 1e9  # mm of a voxel; beyond, squares of distances lose digits
MOST_CLASSES = 256  # a label is a byte
REACH = 2  # voxels around a surface voxel that are looked at before the k-d tree is asked
EMPTY_POLICIES = {  # what to score where a mask is empty
    "diagonal": "one mask empty: Dice = Jaccard = 0 and distances = image diagonal; "
    "both empty: all NaN (not counted)",
    "nan": "one mask empty: Dice = Jaccard = 0 and distances NaN; "
    "both empty: all NaN (not counted)",
    "zero_as_published": "any mask empty: all 0 (distance 0 flatters a missed structure)",
}
OLD_NAMES = {"lineage": "zero_as_published"}  # of policies, still accepted


def case_metrics(
    prediction: np.ndarray,
    target: np.ndarray,
    spacing: Sequence[float] | None = None,
    empty: str = "diagonal",
) -> dict[str, float | bool]:
    """Score one binary structure in one image or volume.

    The definitions are MedPy's (`dc`, `jc`, `hd95`, `asd`; docs/protocol.md 1.4), and the tests
    compare with it. The surface of a mask is what erosion by the cross of face neighbors removes;
    everything beyond the image counts as outside.

    Where a mask is empty there is no distance, and `empty` names what is scored instead
    (docs/protocol.md 6.11):
      "diagonal": if one mask is empty, dice = jaccard = 0 and hd95 = asd = the diagonal of the
          image box (norm of shape * spacing; no true distance is longer); if both are, all four are
          NaN.
      "nan": the same, but hd95 = asd = NaN if one is empty.
      "zero_as_published": all four are 0. So the public code scores an empty prediction, even where
          the target is empty too: the distance 0 rewards a miss. For an empty target alone that
          code stops with MedPy's error, and the 0 is our extension (no volume that ACDC or LA
          evaluates reaches it). Called "lineage" up to version 0.1, a name still accepted.

    Args:
        prediction: Mask of 0/1 or bool, 2-D or 3-D array (or CPU tensor).
        target: Mask of the same shape.
        spacing: Voxel size in mm per axis; None gives distances in voxels, like the paper.
        empty: One of `EMPTY_POLICIES`.
    Returns:
        A dict: "dice" and "jaccard" in 0-1; "hd95", the 95th percentile (linear) of the surface
        distances of both directions pooled; "asd", the mean distance from the prediction's surface
        to the target's (one direction); "missed", True if exactly one of the masks is empty.
    Raises:
        TypeError: what is no array of real numbers.
        ValueError: unknown policy, rank other than 2 or 3, shape mismatch, a value other than 0
            and 1, or a spacing that is not one number from 1e-9 to 1e9 per axis.

    >>> target = np.zeros((8, 8), bool)
    >>> target[2:6, 2:6] = True
    >>> shifted = np.roll(target, 1, axis=0)
    >>> case_metrics(shifted, target)
    {'dice': 0.75, 'jaccard': 0.6, 'hd95': 1.0, 'asd': 0.5, 'missed': False}
    >>> case_metrics(np.zeros_like(target), target)["hd95"] == 8 * 2**0.5
    True
    """
    empty = policy_name(empty)
    prediction, target = _as_mask(prediction, "prediction"), _as_mask(target, "target")
    _check_shapes(prediction, target)
    scale = _as_scale(spacing, prediction.ndim)
    prediction_size, target_size = int(np.count_nonzero(prediction)), int(np.count_nonzero(target))
    if not (prediction_size and target_size):
        diagonal = math.hypot(*(np.array(prediction.shape) * scale))
        return _empty_scores(bool(prediction_size or target_size), diagonal, empty)
    overlap = int(np.count_nonzero(prediction & target))
    forward, backward = _surface_distances(prediction, target, scale)
    return {
        "dice": 2 * overlap / (prediction_size + target_size),
        "jaccard": overlap / (prediction_size + target_size - overlap),
        "hd95": float(np.percentile(np.concatenate([forward, backward]), 95)),
        "asd": float(forward.mean()),
        "missed": False,
    }


def multiclass_metrics(
    prediction: np.ndarray,
    label: np.ndarray,
    num_classes: int,
    spacing: Sequence[float] | None = None,
    empty: str = "diagonal",
) -> list[dict[str, float | bool | int]]:
    """Score every foreground class of a label map with `case_metrics`.

    Args:
        prediction: Integer classes 0 to num_classes - 1, 2-D or 3-D array (or CPU tensor).
        label: True classes, the same shape.
        num_classes: Number of classes C, background (0) included.
        spacing: As in `case_metrics`.
        empty: As in `case_metrics`.
    Returns:
        One dict per class 1 to num_classes - 1, in order, with the key "class" added.
    Raises:
        ValueError: a class outside 0 to num_classes - 1, or as in `case_metrics`.

    >>> label = np.array([[0, 1, 1], [0, 2, 2]])
    >>> [(scores["class"], scores["dice"]) for scores in multiclass_metrics(label, label, 3)]
    [(1, 1.0), (2, 1.0)]
    """
    prediction, label = _as_array(prediction, "prediction"), _as_array(label, "label")
    num_classes = check_count("num_classes", num_classes, 1, MOST_CLASSES)
    _check_shapes(prediction, label)
    for name, classes in (("prediction", prediction), ("label", label)):
        if classes.dtype.kind not in "bui":
            raise ValueError(f"{name} must hold integer classes, got dtype {classes.dtype}")
        if classes.size and not (classes.min() >= 0 and classes.max() < num_classes):
            raise ValueError(
                f"{name} must hold classes 0..{num_classes - 1}, "
                f"got {classes.min()}..{classes.max()}"
            )
    return [
        {"class": c, **case_metrics(prediction == c, label == c, spacing, empty)}
        for c in range(1, num_classes)
    ]


def metric_definition(
    spacing: Sequence[float] | None = None, empty: str = "diagonal", unit: Unit = "voxels"
) -> str:
    """Say in one line what the four scores mean, their unit and the rule for empty masks.

    Args:
        spacing: What was given to `case_metrics`.
        empty: What was given to `case_metrics`.
        unit: "voxels", or "mm", which without a spacing says that every case had its own.
    Returns:
        Text without line breaks, for the head of a CSV file.
    Raises:
        ValueError: unknown policy or unit.

    >>> metric_definition(unit="mm")[:44]
    'MedPy 0.5.2 definitions: Dice and Jaccard in'
    """
    empty = policy_name(empty)
    if not isinstance(unit, str) or unit not in get_args(Unit):
        raise ValueError(f"unit must be one of {get_args(Unit)}, got {short(unit)}")
    if spacing is not None:
        sizes = _as_scale(spacing, len(spacing) if isinstance(spacing, Sequence) else 1)
        distances = f"mm (spacing {' x '.join(f'{s:g}' for s in sizes)})"
    else:
        distances = "mm (spacing of each case)" if unit == "mm" else unit
    return (
        "MedPy 0.5.2 definitions: Dice and Jaccard in 0..1; 95HD = 95th percentile (linear) of the "
        "pooled surface distances of both directions; ASD = mean distance from prediction surface "
        f"to target surface (one direction); distances in {distances}; "
        f"empty masks '{empty}': {EMPTY_POLICIES[empty]}"
    )


def policy_name(empty: str) -> str:
    """The name of a policy for empty masks as it is written into files.

    Args:
        empty: One of `EMPTY_POLICIES`, or a name that one of them had before.
    Raises:
        ValueError: unknown policy.

    >>> policy_name("lineage")
    'zero_as_published'
    """
    name = OLD_NAMES.get(empty, empty) if isinstance(empty, str) else None
    if name not in EMPTY_POLICIES:
        raise ValueError(f"empty must be one of {sorted(EMPTY_POLICIES)}, got {short(empty)}")
    return name


def _check_shapes(prediction: np.ndarray, target: np.ndarray) -> None:
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction and target must have one shape, got {prediction.shape} and {target.shape}"
        )
    if prediction.ndim not in (2, 3):
        raise ValueError(f"masks must be 2-D or 3-D, got shape {prediction.shape}")


def _as_mask(values: np.ndarray, name: str) -> np.ndarray:
    values = _as_array(values, name)
    if values.dtype == bool:
        return values
    mask = values == 1
    wrong = values[~mask & (values != 0)]
    if wrong.size:
        raise ValueError(f"{name} must hold only 0 and 1, got {wrong[0]}")
    return mask


def _as_array(values: np.ndarray, name: str) -> np.ndarray:
    """An array of real numbers; a masked one would lose its mask without a word."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # a GPU's tensor, one with a graph, odd lists
        array = None
    if array is None or array.dtype.kind not in "buif" or np.ma.isMaskedArray(values):
        given = type(values).__name__ + (f" of {array.dtype}" if array is not None else "")
        raise TypeError(f"{name} must be an array or CPU tensor of real numbers, got {given}")
    return array


def _as_scale(spacing: Sequence[float] | None, rank: int) -> np.ndarray:
    if spacing is None:
        return np.ones(rank)
    try:
        scale = np.asarray(spacing, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        scale = np.zeros(0)
    if scale.shape != (rank,) or not ((scale >= NARROWEST) & (scale <= WIDEST)).all():
        raise ValueError(
            f"spacing must be {rank} positive numbers (mm per axis, {NARROWEST:g} to {WIDEST:g}), "
            f"got {short(spacing)}"
        )
    return scale


def _empty_scores(missed: bool, diagonal: float, empty: str) -> dict[str, float | bool]:
    if empty == "zero_as_published":
        overlap = distance = 0.0
    elif missed:
        overlap, distance = 0.0, diagonal if empty == "diagonal" else math.nan
    else:
        overlap = distance = math.nan
    scores = dict.fromkeys(("dice", "jaccard"), overlap) | dict.fromkeys(("hd95", "asd"), distance)
    return {**scores, "missed": missed}


def _surface_distances(
    prediction: np.ndarray, target: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distances of each surface voxel to the other mask's surface: (from prediction, from target).

    MedPy transforms the whole volume three times; only surface voxels of the joint box enter here.
    Each looks around itself first, and a k-d tree answers for those that are further away.
    """
    # Outside the joint box both masks are empty and outside the image counts as empty, so the
    # border of the box can be treated like the border of the image.
    box = _bounding_box(prediction | target)
    surfaces = [_surface(mask[box]) for mask in (prediction, target)]
    return _distances(*surfaces, scale), _distances(*reversed(surfaces), scale)


def _distances(surface: np.ndarray, other: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Distance of every voxel of a surface, in raster order, to the nearest of the other."""
    around, marked = other.reshape(-1), np.flatnonzero(surface)
    distance = np.zeros(len(marked))
    left = np.flatnonzero(~around[marked])  # shared surface voxels have distance 0
    at = marked[left]
    for length, step in _steps(surface.shape, scale):
        found = around[at + step]
        distance[left[found]] = length
        left, at = left[~found], at[~found]
        if not left.size:
            return distance

    from scipy.spatial import cKDTree

    places = [np.stack(np.unravel_index(i, other.shape), 1) for i in (np.flatnonzero(around), at)]
    tree = cKDTree(places[0] * scale, leafsize=24, balanced_tree=False, compact_nodes=False)
    distance[left] = tree.query(places[1] * scale)[0]
    return distance


def _steps(shape: tuple[int, ...], scale: np.ndarray) -> list[tuple[float, int]]:
    """Length and flat index of the steps shorter than any beyond REACH, the shortest first."""
    steps = np.array(list(itertools.product(range(-REACH, REACH + 1), repeat=len(shape))))
    length = np.sqrt(((steps * scale) ** 2).sum(1))
    flat = steps @ np.array([math.prod(shape[axis + 1 :]) for axis in range(len(shape))])
    order = np.argsort(length, kind="stable")
    near = order[(length[order] > 0) & (length[order] < (REACH + 1) * scale.min())]
    return list(zip(length[near].tolist(), flat[near].tolist(), strict=True))


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    box: tuple[slice, ...] = ()
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        occupied = np.flatnonzero(mask.any(axis=others))
        box += (slice(int(occupied[0]), int(occupied[-1]) + 1),)
        # Cropping axis by axis keeps the later passes short.
        mask = mask[(slice(None),) * axis + (box[-1],)]
    return box


def _surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of the mask with a face neighbor outside it, in a frame of REACH empty voxels."""
    framed = np.pad(np.ascontiguousarray(mask), REACH)
    flat = framed.reshape(-1)  # the frame keeps the end of a row from the start of the next
    interior = flat.copy()
    for stride in framed.strides:  # in bytes, of one voxel each
        interior[stride:] &= flat[:-stride]
        interior[:-stride] &= flat[stride:]
    return framed & ~interior.reshape(framed.shape)


METRIC_DEFINITION = metric_definition()
"""The definition with the defaults: distances in voxels, empty masks score the diagonal."""

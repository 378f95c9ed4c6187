"""A synthetic left atrium among its neighbors, the phantom that stands in for LA.

It needs no download and no license. It is a drawing, not anatomy: scores on it say whether the
code learns, never how well a method works on patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from buarl.data.phantom.anatomy_3d import CHAMBERS, VEINS, VESSELS, draw_atrium, draw_chest
from buarl.data.phantom.shapes_3d import Canvas, rotation

Pair = tuple[float, float]

_FIELD = ((-98.0, 98.0), (-98.0, 78.0))  # drawn before the crop, along x and y
_PATCH = 70.0  # the crop is at least this long in x and y, plus margins: 112 voxels in LA
_MARGIN = (6.5, 11.5)  # beyond that, either side: 10 to 19 voxels in LA


@dataclass(frozen=True)
class Phantom3dSpec:
    """Size, variation and image quality of the phantom; ranges are (low, high), drawn per patient.

    Gray values are in [0, 1] before bias and noise. A larger spacing makes smaller files.
    """

    seed: int = 2018
    train_scans: int = 24  # lines of train.list, the held-out ones at its end included
    test_scans: int = 4
    spacing: float = 1.4  # mm; LA has 0.625
    height: float = 56.0  # mm, the same in all scans
    chest_scale: Pair = (0.94, 1.06)
    atrium_scale: Pair = (0.76, 1.18)
    turn: float = 12.0  # of the atrium, +- degrees about each axis
    shift: float = 3.0  # of each neighbor, +- mm per axis
    warp: float = 1.0  # largest push of each of the four deforming waves, mm
    label_end: Pair = (4.0, 14.0)  # how far outside the chamber the label follows a vein
    wall: Pair = (1.6, 2.6)
    scar: Pair = (0.02, 0.35)  # share of the wall that is bright
    blood: Pair = (0.5, 0.75)
    unlike: float = 0.1  # a neighbor's blood differs from the atrium's, +- share
    muscle: Pair = (0.14, 0.28)
    fat: Pair = (0.2, 0.42)
    lung: Pair = (0.01, 0.05)
    bias: Pair = (0.1, 0.35)  # strength of the smooth multiplicative field
    texture: Pair = (0.04, 0.1)
    noise: Pair = (0.02, 0.055)  # standard deviation of each channel of the Rician noise

    def __post_init__(self) -> None:
        if min(self.train_scans, self.test_scans) < 1:
            raise ValueError(f"both lists need at least one scan, got {self}")
        if not 0.5 <= self.spacing <= 4 or not 40 <= self.height <= 100:
            raise ValueError(f"need spacing 0.5 to 4 and height 40 to 100 mm, got {self}")


def phantom_scan(spec: Phantom3dSpec, patient: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the scan of one patient: a pure function of its arguments.

    Args:
        spec: What to draw.
        patient: Number from 1. Sizes of lists do not change what a patient looks like.
    Returns:
        Image float32 (X, Y, Z), brought to mean 0 and standard deviation 1 before it was cropped
        around the label, as in LA; and label uint8 (X, Y, Z), 1 is the left atrium.
    Raises:
        ValueError: a patient below 1.

    >>> image, label = phantom_scan(Phantom3dSpec(spacing=4), patient=1)
    >>> image.shape == label.shape, image.shape[2], int(label.max())
    (True, 14, 1)
    """
    if patient < 1:
        raise ValueError(f"need patient >= 1, got {patient}")
    from scipy.ndimage import label as components  # here: `import buarl` stays light

    rng = np.random.default_rng([spec.seed, patient])
    p = _draw_patient(spec, rng)
    canvas = Canvas(_axes(spec, p.above), p.waves, spec.warp, p.gray["lung"])
    draw_chest(canvas, p)
    distance = draw_atrium(canvas, p, rng)
    image = np.round(1000 * _degrade(canvas.gray, p, rng))  # scanners store integers
    image = ((image - image.mean()) / image.std()).astype(np.float32)
    parts, _ = components(distance < 0, np.ones((3, 3, 3)))  # the top may cut a bent vein in two
    label = (parts == np.bincount(parts[parts > 0]).argmax()).astype(np.uint8)
    window = _crop(label, spec.spacing, rng)
    return np.ascontiguousarray(image[window]), np.ascontiguousarray(label[window])


def _draw_patient(spec: Phantom3dSpec, rng: np.random.Generator) -> SimpleNamespace:
    """What differs between patients."""
    neighbors = (*CHAMBERS, *VESSELS, "left ventricle")
    blood = rng.uniform(*spec.blood)
    veins = int(rng.choice([3, 4, 5], p=[0.2, 0.5, 0.3]))
    common = 2.5 * (veins == 3)  # of three, the last is a wide common vein of the left lung
    return SimpleNamespace(
        chest=rng.uniform(*spec.chest_scale),
        axes=np.array([33, 19, 18.5]) * rng.uniform(*spec.atrium_scale) * rng.uniform(0.9, 1.1, 3),
        turn=rotation(rng.uniform(-spec.turn, spec.turn, 3) + [8, 0, -14]),
        above=rng.uniform(-2.0, 5.0),  # the atrium's center over the middle slice
        valve=np.array([0.66, -0.58, -0.48]) + rng.uniform(-0.1, 0.1, 3),  # to the left ventricle
        valve_depth=rng.uniform(0.72, 0.84),
        veins=VEINS[:veins],
        vein_radius=rng.uniform(5.0, 7.0, veins) + common * (np.arange(veins) == 2),
        vein_bend=rng.uniform(-1, 1, (veins, 3, 3)),
        label_end=rng.uniform(*spec.label_end, veins),
        appendage=rng.uniform([-4, -4, -4, -1], [4, 4, 4, 1.5], (5, 4)),
        twigs=_lung_vessels(rng),
        shift={name: rng.uniform(-spec.shift, spec.shift, 3) for name in neighbors},
        size={name: rng.uniform(0.92, 1.1) for name in neighbors},
        gray={n: blood * rng.uniform(1 - spec.unlike, 1 + spec.unlike) for n in neighbors}
        | {"blood": blood, "scar": blood * rng.uniform(1.3, 1.8)}
        | {tissue: rng.uniform(*getattr(spec, tissue)) for tissue in ("muscle", "fat", "lung")},
        wall=rng.uniform(*spec.wall),
        scar=rng.uniform(*spec.scar),
        waves=rng.uniform(-1, 1, (4, 3, 3)),
        bias=rng.uniform(*spec.bias) * rng.normal(0, 1, 4),
        texture=rng.uniform(*spec.texture),
        noise=rng.uniform(*spec.noise),
    )


def _lung_vessels(rng: np.random.Generator, count: int = 16) -> list[tuple]:
    """Start, end and end radius of the vessels that branch out from behind the heart."""
    side = rng.choice([-1, 1], count)
    start = np.column_stack(
        [side * rng.uniform(40, 60, count), rng.uniform([-5, -25], [30, 25], (count, 2))]
    )
    step = np.column_stack(
        [side * rng.uniform(5, 25, count), rng.uniform([0, -15], [25, 15], (count, 2))]
    )
    return list(zip(start, start + step, rng.uniform(0.7, 1.5, count), strict=True))


def _axes(spec: Phantom3dSpec, above: float) -> list[np.ndarray]:
    """Positions of the voxel centers along x, y and z."""
    bottom = -spec.height / 2 - above
    sides = (*_FIELD, (bottom, bottom + spec.height))
    counts = [round((high - low) / spec.spacing) for low, high in sides]
    return [
        low + spec.spacing * (np.arange(count) + 0.5)
        for (low, _), count in zip(sides, counts, strict=True)
    ]


def _degrade(image: np.ndarray, p: SimpleNamespace, rng: np.random.Generator) -> np.ndarray:
    """Tissue texture, smooth bias field, blur of the acquisition and Rician noise."""
    from scipy.ndimage import gaussian_filter  # here: `import buarl` stays light

    x, y, z = np.meshgrid(
        *(np.linspace(-1, 1, n, dtype=np.float32) for n in image.shape), indexing="ij", sparse=True
    )
    a, b, c, d = p.bias.astype(np.float32)
    field = np.exp(a * x + b * y + 0.5 * c * z + 0.5 * d * (x * x + y * y))
    texture = gaussian_filter(rng.standard_normal(image.shape, np.float32), 1.2)
    image = image * (1 + np.float32(p.texture / texture.std()) * texture) * field / field.max()
    image = gaussian_filter(image, 0.5)
    real, imaginary = np.float32(p.noise) * rng.standard_normal((2, *image.shape), np.float32)
    return np.hypot(image + real, imaginary)


def _crop(label: np.ndarray, spacing: float, rng: np.random.Generator) -> tuple[slice, ...]:
    """Around the label in x and y with random margins, all of z (docs/protocol.md 1.2)."""
    window = []
    for axis in (0, 1):
        inside = np.flatnonzero(label.any(axis=(1 - axis, 2)))
        low, high = inside[0], inside[-1] + 1
        missing = max(round(_PATCH / spacing) - (high - low), 0) // 2
        before, after = np.round(rng.uniform(*_MARGIN, 2) / spacing).astype(int) + missing
        window.append(slice(max(low - before, 0), high + after))
    return (*window, slice(None))

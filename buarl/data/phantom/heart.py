"""A synthetic heart in short-axis slices, the phantom that stands in for ACDC.

It needs no download and no license. It is a drawing, not anatomy: scores on it say whether the
code learns, never how well a method works on patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from buarl.data.phantom.anatomy_2d import draw_heart, draw_thorax

Pair = tuple[float, float]
Grid = tuple[np.ndarray, np.ndarray]

# Heart types as in ACDC (normal, dilated, hypertrophic, infarcted, abnormal right ventricle).
# Lengths in half short sides of the image: pool radius, wall, share of the pool radius left at end
# systole, right ventricle size, uneven wall (share of its thickness).
_HEART_TYPES = (
    (0.22, 0.100, 0.68, 1.00, 0.10),
    (0.30, 0.095, 0.88, 1.05, 0.10),
    (0.19, 0.150, 0.55, 0.95, 0.30),
    (0.24, 0.100, 0.80, 1.00, 0.35),
    (0.19, 0.095, 0.72, 1.40, 0.10),
)


@dataclass(frozen=True)
class PhantomSpec:
    """Size, variation and image quality of the phantom; ranges are (low, high), drawn per patient.

    Lengths are in half short sides of the image, gray values in [0, 1] before bias and noise.
    """

    seed: int = 2502
    train_patients: int = 40
    val_patients: int = 6
    test_patients: int = 8
    side: tuple[int, int] = (64, 96)  # pixels along each in-plane axis
    depth: tuple[int, int] = (6, 10)  # slices per volume
    oversampling: int = 3  # sub-pixels per pixel and axis; odd, the center one gives the label
    heart_scale: Pair = (0.9, 1.25)
    shift: float = 0.16  # heart center, +- per axis
    rotation: float = 40.0  # heart axis, +- degrees
    warp: float = 0.035  # largest smooth deformation
    blood: Pair = (0.6, 0.95)
    muscle: Pair = (0.18, 0.38)
    fat: Pair = (0.45, 1.0)
    lung: Pair = (0.02, 0.14)
    organ: Pair = (0.2, 0.6)  # liver, spine
    stomach: Pair = (0.03, 0.95)
    first_slice: Pair = (-0.08, 0.1)  # position on the long axis: 0 base, 1 apex of the pool
    last_slice: Pair = (0.8, 1.08)
    bias: Pair = (0.1, 0.4)  # strength of the smooth multiplicative field
    texture: Pair = (0.04, 0.1)
    noise: Pair = (0.012, 0.035)  # standard deviation of each channel of the Rician noise
    grain: float = 1.2  # width of the spots of the texture, pixels
    blur: float = 0.5  # of the acquisition, pixels

    def __post_init__(self) -> None:
        if self.oversampling < 1 or self.oversampling % 2 == 0:
            raise ValueError(f"oversampling must be odd and >= 1, got {self.oversampling}")
        if min(self.train_patients, self.val_patients, self.test_patients) < 1:
            raise ValueError(f"every split needs at least one patient, got {self}")
        if min(self.side) < 16 or min(self.depth) < 2:
            raise ValueError(f"side must be >= 16 and depth >= 2, got {self.side}, {self.depth}")


def phantom_case(spec: PhantomSpec, patient: int, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one volume of one patient: a pure function of its arguments.

    Args:
        spec: What to draw.
        patient: Number from 1. Sizes of splits do not change what a patient looks like.
        frame: 1 is end diastole (large pool), 2 end systole (small pool, thick wall).
    Returns:
        Image float32 (Z, H, W) with minimum 0 and maximum 1, and label uint8 (Z, H, W):
        0 background, 1 right ventricle, 2 myocardium, 3 left ventricle.
    Raises:
        ValueError: a patient below 1, or a frame other than 1 and 2.

    >>> image, label = phantom_case(PhantomSpec(side=(32, 40), depth=(4, 6)), patient=1, frame=1)
    >>> image.shape == label.shape, float(image.max()), int(label.max())
    (True, 1.0, 3)
    """
    if patient < 1 or frame not in (1, 2):
        raise ValueError(f"need patient >= 1 and frame 1 or 2, got {patient} and {frame}")
    person = _draw_patient(spec, patient)
    rng = np.random.default_rng([spec.seed, patient, frame])
    grids = _grid(person, 1), _grid(person, spec.oversampling)
    drawn = [_draw_slice(person, grids, frame, position, rng) for position in person.positions]
    image = _degrade(np.stack([gray for gray, _ in drawn]), person, rng)
    image = np.round(1000 * image)  # scanners store integers; the files also pack better
    image = (image - image.min()) / (image.max() - image.min())
    return image.astype(np.float32), np.stack([label for _, label in drawn])


def _draw_patient(spec: PhantomSpec, patient: int) -> SimpleNamespace:
    """What both frames of a patient share."""
    rng = np.random.default_rng([spec.seed, patient])
    pool, wall, ejection, rv_size, uneven = _HEART_TYPES[rng.integers(len(_HEART_TYPES))]
    scale = rng.uniform(*spec.heart_scale)
    shape = rng.integers(spec.side[0], spec.side[1] + 1, 2)
    depth = int(rng.integers(spec.depth[0], spec.depth[1] + 1))
    return SimpleNamespace(
        shape=shape,
        positions=np.linspace(rng.uniform(*spec.first_slice), rng.uniform(*spec.last_slice), depth),
        half=shape[::-1] / shape.min(),  # half extent of the image along x and y
        center=np.array([0.12, -0.08]) + rng.uniform(-spec.shift, spec.shift, 2),
        tilt=rng.uniform(-0.12, 0.12, 2),  # in-plane drift of the long axis from base to apex
        angle=np.deg2rad(200 + rng.uniform(-spec.rotation, spec.rotation)),  # towards the septum
        pool=pool * scale * rng.uniform(0.92, 1.08),
        wall=wall * scale * rng.uniform(0.88, 1.15),
        ejection=ejection * rng.uniform(0.94, 1.06),
        squeeze=rng.uniform(0.93, 1.07),
        uneven=uneven,
        uneven_angle=rng.uniform(-np.pi, np.pi),
        rv_size=rv_size * rng.uniform(0.85, 1.15),
        rv_angle=rng.uniform(-0.35, 0.35),
        rv_base=rng.uniform(-0.12, 0.0),
        rv_apex=rng.uniform(0.8, 1.0),
        descent=rng.uniform(0.03, 0.12),  # of the base towards the apex at end systole
        papillary=rng.uniform(0.12, 0.24, 2),
        papillary_angle=np.array([2.2, -2.2]) + rng.uniform(-0.4, 0.4, 2),
        waves=rng.uniform(-1, 1, (3, 5)),
        warp=spec.warp,
        chest=rng.uniform([0.05, 0.03], [0.16, 0.09]),  # thickness of fat and muscle
        body=rng.uniform(0.95, 1.25, 2),
        liver=rng.uniform([-0.7, 0.5, 0.5], [-0.2, 0.85, 0.8]),  # x, y, size
        gut=rng.uniform([0.3, 0.45, 0.2], [0.75, 0.85, 0.4]),
        aorta=rng.uniform([0.05, 0.52, 0.07], [0.4, 0.68, 0.11]),
        vessels=rng.uniform([-0.9, -0.7, 0.015], [0.9, 0.6, 0.03], (5, 3)),
        pad_size=rng.uniform(0.5, 1.1),  # fat in front of the heart
        pad_angle=rng.uniform(-1.0, -0.2),
        pad_grey=rng.uniform(0.35, 0.8),
        pericardium=rng.uniform(0.0, 0.09),
        gray={k: rng.uniform(*getattr(spec, k)) for k in ("blood", "muscle", "fat", "lung")}
        | {"liver": rng.uniform(*spec.organ), "spine": rng.uniform(*spec.organ)}
        | {"gut": rng.uniform(*spec.stomach)},
        bias=rng.uniform(*spec.bias) * rng.normal(0, 1, 3),
        texture=rng.uniform(*spec.texture),
        noise=rng.uniform(*spec.noise),
        grain=spec.grain,
        blur=spec.blur,
        oversampling=spec.oversampling,
    )


def _draw_slice(
    p: SimpleNamespace,
    grids: tuple[Grid, Grid],
    frame: int,
    position: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Gray values and label of one slice; sub-pixels are averaged (partial volume)."""
    (coarse, fine), n, (h, w) = grids, p.oversampling, p.shape
    gray = dict(p.gray, blood=p.gray["blood"] * rng.uniform(0.9, 1.05))  # inflow differs by slice
    # The unlabeled surroundings are drawn pixel by pixel (blurred later), the heart n x n finer.
    canvas = draw_thorax(p, gray, position, *coarse)
    canvas = canvas.repeat(n, axis=0).repeat(n, axis=1)
    label = draw_heart(p, gray, frame, position, *fine, canvas)
    canvas = canvas.reshape(h, n, w, n).mean((1, 3))
    return canvas, label[n // 2 :: n, n // 2 :: n]


def _grid(p: SimpleNamespace, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Smoothly deformed coordinates x, y of all sub-pixel centers, n per pixel and axis."""
    y, x = (
        ((np.arange(size * n) + 0.5) / n * 2 / p.shape.min() - half).astype(np.float32)
        for size, half in zip(p.shape, p.half[::-1], strict=True)
    )
    x, y = np.meshgrid(x, y)
    for kx, ky, phase, dx, dy in p.waves.astype(np.float32):
        wave = np.sin(4 * (kx * x + ky * y) + 3 * phase)
        x, y = x + p.warp * dx * wave, y + p.warp * dy * wave
    return x, y


def _degrade(image: np.ndarray, p: SimpleNamespace, rng: np.random.Generator) -> np.ndarray:
    """Tissue texture, smooth bias field, blur of the acquisition and Rician noise."""
    from scipy.ndimage import gaussian_filter  # here: `import buarl` stays light

    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in p.shape), indexing="ij")
    field = np.exp(p.bias[0] * x + p.bias[1] * y + 0.5 * p.bias[2] * (x * x + y * y))
    texture = gaussian_filter(rng.normal(size=image.shape), (0, p.grain, p.grain))
    image = image * (1 + p.texture * texture / texture.std()) * field / field.max()
    image = gaussian_filter(image, (0, p.blur, p.blur))
    real, imaginary = rng.normal(0, p.noise, (2, *image.shape))
    return np.hypot(image + real, imaginary)

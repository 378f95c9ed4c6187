"""The parts of the 3-D phantom: where each lies in the chest and how it is painted (see `atrium`).

Lengths are in mm; x points to the patient's left, y to the back, z to the head, as in the files of
the LA challenge; 0 is the center of the left atrium. `p` is the patient that `atrium` has drawn at
random.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from buarl.data.phantom.shapes_3d import Canvas, Shape, along, blend, dot, rotation

# Ellipsoids: center, semi-axes, turn about x, y, z in degrees.
CHAMBERS = {
    "right ventricle": ((-6, -62, -26), (38, 22, 26), (0, 10, 12)),
    "right atrium": ((-43, -20, -13), (21, 23, 30), (0, 0, 10)),
}
# Tubes: (x, y, z, radius) along them.
VESSELS = {
    "outflow tract": ((6, -62, -12, 15), (14, -48, 10, 13), (15, -34, 34, 13)),
    "right pulmonary artery": ((14, -26, 33, 9), (-14, -10, 32, 8), (-58, 0, 27, 7)),
    "left pulmonary artery": ((14, -26, 33, 9), (34, -2, 33, 8), (50, 22, 26, 6)),
    "superior vena cava": ((-39, -22, 0, 10), (-34, -21, 24, 9), (-33, -21, 50, 9)),
    "ascending aorta": ((13, -34, -24, 12), (-4, -34, -2, 15), (-14, -38, 40, 14)),
    "descending aorta": ((17, 35, -50, 11), (13, 36, 0, 11.5), (11, 36, 50, 12)),
    "coronary sinus": ((33, -4, -13, 3), (18, 12, -20, 4), (-8, 12, -24, 5)),
}
# What opens into each other, and the wall around it; later groups lie over earlier ones.
GROUPS = (
    (("right ventricle", "outflow tract", "right pulmonary artery", "left pulmonary artery"), 2.5),
    (("right atrium", "superior vena cava"), 2.0),
    (("left ventricle", "ascending aorta"), 2.0),
    (("descending aorta",), 1.8),
    (("coronary sinus",), 1.2),
)
# Pulmonary veins: where they leave the chamber (in its semi-axes) and their direction.
VEINS = (
    ((-0.62, 0.25, 0.50), (-0.90, -0.05, 0.32)),  # right upper
    ((-0.66, 0.45, -0.25), (-0.85, 0.48, -0.18)),  # right lower
    ((0.60, 0.55, -0.10), (0.80, 0.52, -0.10)),  # left lower, or both left ones in one
    ((0.62, 0.30, 0.45), (0.80, 0.35, 0.42)),  # left upper
    ((-0.72, 0.35, 0.10), (-0.98, 0.20, 0.05)),  # right middle: some people have it
)


def draw_chest(canvas: Canvas, p: SimpleNamespace) -> None:
    """Everything but the atrium, painted back to front; no label."""
    fat, muscle, level = p.gray["fat"], p.gray["muscle"], np.eye(3)
    for center, axes, gray in (
        ((4, -40, -20), (76, 58, 75), fat),  # around the heart
        ((2, 18, 10), (24, 24, 90), fat),  # around the great vessels
        ((-38, 84, 0), (42, 26, 200), 1.4 * muscle),  # back
        ((38, 84, 0), (42, 26, 200), 1.4 * muscle),
        ((-4, 66, 0), (21, 17, 200), 1.2 * fat),  # vertebra
        ((0, 29, 0), (7, 4, 200), 1.3 * muscle),  # esophagus
    ):
        shape = canvas.ellipsoid(p.chest * np.array(center), p.chest * np.array(axes), level)
        canvas.paint(shape, gray)
    for start, end, size in p.twigs:
        canvas.paint(canvas.tube([[*start, 2 * size], [*end, size]]), 0.8 * p.gray["blood"])
    for names, wall in GROUPS:
        shapes = {name: _neighbor(canvas, p, name) for name in names}
        for box, distance in shapes.values():
            canvas.paint((box, distance - np.float32(wall)), muscle)
        if "left ventricle" in names:
            canvas.paint(_left_ventricle(canvas, p, 10.0), muscle)
        for name, shape in shapes.items():
            canvas.paint(shape, p.gray[name])


def _neighbor(canvas: Canvas, p: SimpleNamespace, name: str) -> Shape:
    shift, size = p.shift[name], p.size[name]
    if name == "left ventricle":
        return _left_ventricle(canvas, p)
    if name in CHAMBERS:
        center, axes, turn = (np.array(value) for value in CHAMBERS[name])
        return canvas.ellipsoid(p.chest * center + shift, size * axes, rotation(turn))
    return canvas.tube(np.array(VESSELS[name]) * [*[p.chest] * 3, size] + [*shift, 0])


def _valve_plane(p: SimpleNamespace) -> tuple[np.ndarray, float]:
    """Normal of the mitral valve towards the ventricle and its distance from the center."""
    normal = p.valve / np.linalg.norm(p.valve)
    return normal, p.valve_depth * float(np.linalg.norm(p.axes * (p.turn @ normal)))


def _left_ventricle(canvas: Canvas, p: SimpleNamespace, wall: float = 0.0) -> Shape:
    """The pool, which opens into the atrium at the valve, or what its thick wall fills."""
    normal, depth = _valve_plane(p)
    axes = p.size["left ventricle"] * np.array([42, 23, 23])
    center = normal * (depth + 0.8 * axes[0] + 0.2 * wall)
    return canvas.ellipsoid(center, axes + wall, along(normal))


def draw_atrium(canvas: Canvas, p: SimpleNamespace, rng: np.random.Generator) -> np.ndarray:
    """Paint the left atrium; return the signed distance to what the label holds, in mm."""
    from scipy.ndimage import gaussian_filter  # here: `import buarl` stays light

    normal, depth = _valve_plane(p)
    beyond = dot(normal, canvas.points) - np.float32(depth)
    body = canvas.whole(canvas.ellipsoid(np.zeros(3), p.axes, p.turn, 8))
    appendage = canvas.whole(canvas.tube(_appendage_path(p), 8))
    label = blend(np.maximum(body, beyond), appendage, 3.0)
    blood = label.copy()  # veins go on in the image where the label has ended
    for k in range(len(p.veins)):
        path = _vein_path(p, k)
        for distance, part in ((blood, path), (label, path[:2])):
            box, vein = canvas.tube(part, 8)
            distance[box] = blend(distance[box], vein, 5.0)
    spots = gaussian_filter(rng.standard_normal(label.shape, np.float32), 4 / canvas.spacing)
    scar = (spots > np.quantile(spots, 1 - p.scar)) & (label < 4)
    wall = np.where(scar, np.float32(p.gray["scar"]), np.float32(p.gray["muscle"]))
    closed = (beyond < -0.5 * canvas.spacing) | (appendage < p.wall)  # the valve has no wall
    everywhere = (slice(None),) * 3
    canvas.paint((everywhere, blood - np.float32(p.wall)), wall, closed)
    canvas.paint((everywhere, blood), np.float32(p.gray["blood"]))
    leaflets = np.maximum(np.abs(beyond) - np.float32(0.6), body - 2)
    canvas.paint((everywhere, leaflets), np.float32(p.gray["muscle"]), 0.5 * (appendage > 0))
    return label


def _appendage_path(p: SimpleNamespace) -> np.ndarray:
    """A hooked finger forward on the left, beside the pulmonary artery."""
    path = np.array(
        [[20, -5, 7, 8], [32, -10, 10, 6.5], [40, -17, 11, 7.5], [43, -25, 8, 7], [38, -32, 5, 5]]
    )
    path[:, :3] *= p.axes / [33, 19, 18.5]
    return path + p.appendage


def _vein_path(p: SimpleNamespace, k: int) -> np.ndarray:
    """A vein from inside the chamber into the lung; its first piece is labeled."""
    start, direction = (np.array(v) for v in p.veins[k])
    start, radius = p.turn.T @ (start * p.axes), p.vein_radius[k]
    direction = p.turn.T @ (direction + 0.15 * p.vein_bend[k, 0])
    direction /= np.linalg.norm(direction)
    steps = np.array([0, 8 + p.label_end[k], 26, 46])
    points = start + steps[:, None] * direction
    points[2:] += 5 * p.vein_bend[k, 1:] * [1, 1, 0.7]
    return np.column_stack([points, radius * np.array([1.25, 1.0, 0.8, 0.5])])

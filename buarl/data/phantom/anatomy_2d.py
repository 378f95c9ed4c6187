"""The parts of the 2-D phantom: thorax and heart, painted on one short-axis slice (see `heart`).

Lengths are in half short sides of the image; x runs to the right and y down, 0 is the middle.
`p` is the patient that `heart` has drawn at random.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

RIGHT_VENTRICLE, MYOCARDIUM, LEFT_VENTRICLE = 1, 2, 3
Pair = tuple[float, float]


def _ellipse(
    x: np.ndarray, y: np.ndarray, center: Pair, axes: Pair, angle: float = 0.0
) -> np.ndarray:
    """Distance from the center in semi-axes: 1 on the outline."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dx, dy = x - np.float32(center[0]), y - np.float32(center[1])
    along, across = (c * dx + s * dy) / np.float32(axes[0]), (c * dy - s * dx) / np.float32(axes[1])
    return np.sqrt(along * along + across * across)


def draw_thorax(
    p: SimpleNamespace, gray: dict[str, float], position: float, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Everything but the heart, painted back to front; no label."""
    canvas = np.full(x.shape, 0.01, np.float32)
    body = _ellipse(x, y, (0.0, 0.05), p.half * p.body)
    fat, muscle = 1 - p.chest[0], 1 - p.chest.sum()
    canvas[body < 1] = gray["fat"]
    canvas[body < fat] = gray["muscle"]
    cavity = body < muscle
    canvas[cavity] = gray["lung"]
    for cx, cy, size in p.vessels:
        canvas[cavity & (_ellipse(x, y, (cx, cy), (size, size)) < 1)] = gray["blood"] * 0.7
    fade, near = (
        p.pad_size * (1 - 0.5 * max(0.0, position)),
        (p.center[0] - 0.35, p.center[1] - 0.35),
    )
    mediastinum = _ellipse(x, y, near, (fade * 0.3, fade * 0.5), p.pad_angle)
    canvas[cavity & (mediastinum < 1)] = p.pad_grey * gray["fat"]
    lx, ly, size = p.liver
    liver = _ellipse(x, y, (lx, ly + 0.25 * (1 - position)), (1.2 * size, 0.8 * size), 0.25)
    canvas[cavity & (liver < 1)] = gray["liver"]
    gx, gy, size = p.gut
    gut = _ellipse(x, y, (gx, gy + 0.25 * (1 - position)), (1.2 * size, size), -0.3)
    canvas[cavity & (gut < 1)] = gray["muscle"]
    canvas[cavity & (gut < 0.85)] = gray["gut"]
    ax, ay, size = p.aorta
    spine = _ellipse(x, y, (ax - 0.28, ay + 0.22), (0.2, 0.17))
    canvas[spine < 1] = gray["spine"]
    aorta = _ellipse(x, y, (ax, ay), (size, size))
    canvas[aorta < 1.2] = gray["muscle"]
    canvas[aorta < 1] = gray["blood"]
    return canvas


def _ventricle_radii(p: SimpleNamespace, frame: int, position: float) -> tuple[float, float]:
    """Radius of the pool and of the outer wall; the wall keeps its area when the pool shrinks."""

    def taper(z: float) -> float:
        return float(np.sqrt(max(0.0, 1 - max(0.0, z) ** 2.5)))

    pool = p.pool * taper(position)
    outer = (p.pool + p.wall) * taper(position / (1 + 0.7 * p.wall / p.pool / 2))
    if frame == 1:
        return pool, outer
    small = pool * p.ejection
    return small, float(np.sqrt(small**2 + 1.1 * (outer**2 - pool**2)))


def draw_heart(
    p: SimpleNamespace,
    gray: dict[str, float],
    frame: int,
    position: float,
    x: np.ndarray,
    y: np.ndarray,
    canvas: np.ndarray,
) -> np.ndarray:
    """Paint the heart on the canvas in place and return its label at sub-pixel resolution."""
    if frame == 2:  # the base moves towards the apex
        position = (position - p.descent) / (1 - p.descent)
    label = np.zeros(x.shape, np.uint8)
    dx, dy = (np.float32(d) for d in p.center + p.tilt * (position - 0.5))
    c, s = np.float32(np.cos(p.angle)), np.float32(np.sin(p.angle))
    u, v = c * (x - dx) + s * (y - dy), c * (y - dy) - s * (x - dx)  # u points at the septum
    pool, outer = _ventricle_radii(p, frame, position)
    radius = np.sqrt((u * p.squeeze) ** 2 + (v / p.squeeze) ** 2).astype(np.float32) + 1e-6
    lobe = (u * math.cos(p.uneven_angle) + v * math.sin(p.uneven_angle)) / radius
    wall = radius < pool + (outer - pool) * (1 + p.uneven * lobe)
    right = _right_ventricle(p, frame, position, u, v)
    canvas[(right < 1.12 + p.pericardium) | (radius < outer + p.pericardium)] = 0.7 * gray["fat"]
    canvas[right < 1.12] = gray["muscle"]
    canvas[right < 1] = gray["blood"]
    if position > p.rv_base:
        label[right < 1] = RIGHT_VENTRICLE
    if position < 0:  # above the base: atrium with a thin wall and the aortic root, not labeled
        atrium = _ellipse(u, v, (-0.1 * pool, 0.0), (1.25 * pool, 1.05 * pool))
        root = _ellipse(u, v, (0.75 * outer, -0.35 * outer), (0.55 * pool, 0.55 * pool))
        for part in (atrium, root):
            canvas[part < 1.07] = gray["muscle"]
            label[part < 1.07] = 0
            canvas[part < 1] = gray["blood"]
        return label
    canvas[wall], label[wall] = gray["muscle"], MYOCARDIUM
    inside = radius < pool
    canvas[inside], label[inside] = gray["blood"], LEFT_VENTRICLE
    if 0.15 < position < 0.75:
        for size, angle in zip(p.papillary * pool, p.papillary_angle, strict=True):
            tip = (0.8 * pool * np.cos(angle), 0.8 * pool * np.sin(angle))
            muscle = _ellipse(u, v, tip, (1.6 * size, 0.9 * size), angle)
            canvas[inside & (muscle < 1)] = gray["muscle"]
    return label


def _right_ventricle(
    p: SimpleNamespace, frame: int, position: float, u: np.ndarray, v: np.ndarray
) -> np.ndarray:
    """Distance map of the crescent's outer outline (< 1 inside); the left ventricle covers it."""
    outer = p.pool + p.wall
    size = np.sqrt(max(1e-6, 1 - (max(0.0, position) / p.rv_apex) ** 2.5))
    size *= p.rv_size * (0.86 if frame == 2 else 1.0)
    if position <= p.rv_base:  # right atrium: smaller, round, lower, so that the label can be seen
        low = (0.75 * outer, 0.6 * outer)
        return _ellipse(u, v, low, (0.7 * outer, 0.75 * outer))
    center = (0.75 * outer * min(1.0, 0.4 + size), 0.0)
    body = _ellipse(u, v, center, (0.92 * outer * size, 1.05 * outer * size), p.rv_angle)
    if position > 0.15:
        return body
    tract = _ellipse(u, v, (0.9 * outer, -0.85 * outer), (0.45 * outer, 0.6 * outer), 0.5)
    return np.minimum(body, tract)  # near the base it opens into the outflow tract

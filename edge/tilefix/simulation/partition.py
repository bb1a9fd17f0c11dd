"""Plane partition: a convex area cut again and again into parcels; the cuts are roads, tracks and hedges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from tilefix.types import Float64Array


@dataclass(frozen=True)
class Cut:
    """A straight cut through a polygon of `area_m2`: what it becomes depends on how large that was."""

    start: Float64Array
    end: Float64Array
    area_m2: float


def polygon_area(polygon: Float64Array) -> float:
    """Area of a simple polygon (n, 2)."""
    x, y = polygon[:, 0], polygon[:, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2.0


def oriented_box(polygon: Float64Array) -> tuple[float, float, float, float, float]:
    """(x, y, length, width, angle_rad) of the smallest rectangle around a polygon, length >= width."""
    (x, y), (a, b), degrees = cv2.minAreaRect(polygon.astype(np.float32))
    angle = math.radians(degrees)
    if a < b:
        a, b, angle = b, a, angle + math.pi / 2.0
    return float(x), float(y), float(a), float(b), angle


def _split(
    polygon: Float64Array, point: Float64Array, direction: Float64Array
) -> tuple[list[Float64Array], Float64Array]:
    side = (polygon[:, 0] - point[0]) * direction[1] - (polygon[:, 1] - point[1]) * direction[0]
    left: list[Float64Array] = []
    right: list[Float64Array] = []
    crossings: list[Float64Array] = []
    for i in range(len(polygon)):
        j = (i + 1) % len(polygon)
        (left if side[i] >= 0.0 else right).append(polygon[i])
        if (side[i] >= 0.0) != (side[j] >= 0.0):
            crossing = polygon[i] + (polygon[j] - polygon[i]) * (side[i] / (side[i] - side[j]))
            crossings.append(crossing)
            left.append(crossing)
            right.append(crossing)
    parts = [np.array(part) for part in (left, right) if len(part) >= 3]
    return parts, np.array(crossings)


def partition(
    rng: np.random.Generator,
    polygon: Float64Array,
    stop_area_m2: Callable[[Float64Array], float],
    jitter_rad: Callable[[Float64Array], float],
) -> tuple[list[Float64Array], list[Cut]]:
    """The convex leaves of a random partition, and its cuts, largest first.

    `stop_area_m2(centre)`: a part smaller than that is a leaf; `jitter_rad(centre)`: how far a cut strays from
    the perpendicular of the part's long side.
    """
    leaves: list[Float64Array] = []
    cuts: list[Cut] = []
    waiting = [polygon]
    while waiting:
        part = waiting.pop()
        area = polygon_area(part)
        x, y, length, width, angle = oriented_box(part)
        centre = np.array([x, y])
        if area < stop_area_m2(centre):
            leaves.append(part)
            continue
        along = np.array([math.cos(angle), math.sin(angle)])
        if length < 1.25 * width and rng.random() < 0.5:
            along, length = np.array([-along[1], along[0]]), width
        point = centre + along * length * rng.uniform(-0.16, 0.16)
        turn = angle_of(along) + math.pi / 2.0 + rng.normal(0.0, jitter_rad(centre))
        parts, crossings = _split(part, point, np.array([math.cos(turn), math.sin(turn)]))
        if len(parts) < 2 or len(crossings) != 2:
            leaves.append(part)
            continue
        cuts.append(Cut(crossings[0], crossings[1], area))
        waiting.extend(parts)
    cuts.sort(key=lambda cut: -cut.area_m2)
    return leaves, cuts


def angle_of(vector: Float64Array) -> float:
    """Direction of a vector, radians from x towards y."""
    return math.atan2(float(vector[1]), float(vector[0]))


def densify(points: Float64Array, step_m: float, closed: bool) -> Float64Array:
    """The polyline with a point at least every `step_m`."""
    ring = np.vstack([points, points[:1]]) if closed else points
    pieces = []
    for a, b in itertools.pairwise(ring):
        count = max(1, math.ceil(float(np.hypot(*(b - a))) / step_m))
        pieces.append(a + (b - a) * (np.arange(count) / count)[:, None])
    if not closed:
        pieces.append(ring[-1:])
    return np.vstack(pieces)


def shrink(polygon: Float64Array, factor: float) -> Float64Array:
    """The polygon scaled about its mean point."""
    middle = polygon.mean(axis=0)
    return np.asarray(middle + (polygon - middle) * factor)


def smooth_ring(polygon: Float64Array, rounds: int = 3) -> Float64Array:
    """A closed polygon with its corners cut off. Source: Chaikin, High-speed curve generation, 1974."""
    for _ in range(rounds):
        after = np.roll(polygon, -1, axis=0)
        polygon = np.stack([0.75 * polygon + 0.25 * after, 0.25 * polygon + 0.75 * after], axis=1).reshape(-1, 2)
    return polygon

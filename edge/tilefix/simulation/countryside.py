"""Open country: crop fields in strips, meadows, woods, orchards, ponds and farmsteads."""

from __future__ import annotations

import math

import numpy as np

from tilefix.simulation.draft import LOTS, Draft
from tilefix.simulation.ground import Cover
from tilefix.simulation.partition import oriented_box, partition, polygon_area, shrink, smooth_ring
from tilefix.simulation.settlement import beside
from tilefix.types import Float64Array


def parcel(draft: Draft, rng: np.random.Generator, leaf: Float64Array, woodiness: float) -> None:
    """Fills one parcel of open country; `woodiness` (about -2 to 2) is how wooded the neighbourhood is."""
    roll = rng.random()
    wood_share = 0.1 + 0.5 / (1.0 + math.exp(-3.0 * (woodiness - 0.7)))
    if roll < wood_share:
        wood(draft, rng, draft.bend(leaf))
    elif roll < wood_share + 0.13:
        _meadow(draft, rng, leaf)
    elif roll < wood_share + 0.16:
        _orchard(draft, rng, leaf)
    elif roll < wood_share + 0.185:
        _pond(draft, rng, leaf)
    else:
        _fields(draft, rng, leaf)
    if rng.random() < 0.09:
        _farmstead(draft, rng, leaf)


def _fields(draft: Draft, rng: np.random.Generator, leaf: Float64Array) -> None:
    strips = [leaf]
    if rng.random() < 0.5:
        narrow = polygon_area(leaf) / rng.uniform(1.5, 5.0)
        strips, _ = partition(rng, leaf, lambda _: narrow, lambda _: 0.02)
    angle = oriented_box(draft.bend(leaf))[4] + (math.pi / 2.0 if rng.random() < 0.15 else 0.0)
    for strip in strips:
        polygon = draft.bend(strip)
        if len(strips) == 1 or rng.random() < 0.7:
            angle = oriented_box(polygon)[4]
        crop = draft.regions.add(Cover.FIELD, angle + math.pi / 2.0)
        draft.fill(0, polygon, crop)  # the headland, worked across
        inner = draft.bend(shrink(strip, 0.9))
        draft.fill(0, inner, draft.regions.add(Cover.FIELD, angle, crop))
        if rng.random() < 0.25:  # a lone bush or tree, a heap, a wet spot
            x, y = inner[int(rng.integers(len(inner)))] * 0.5 + inner.mean(axis=0) * 0.5
            draft.tree(rng, float(x), float(y), rng.uniform(1.5, 5.0), Cover.BROADLEAF)
        if rng.random() < 0.2:
            spot = _blob(rng, inner.mean(axis=0) + rng.normal(0.0, 12.0, 2), rng.uniform(4.0, 14.0))
            draft.fill(0, spot, draft.regions.add(Cover.MEADOW))


def _blob(rng: np.random.Generator, centre: Float64Array, radius_m: float) -> Float64Array:
    turn = np.linspace(0.0, 2.0 * math.pi, 10, endpoint=False)
    reach = radius_m * rng.uniform(0.5, 1.3, 10)
    return smooth_ring(np.stack([centre[0] + reach * np.cos(turn), centre[1] + reach * np.sin(turn)], 1), 2)


def _meadow(draft: Draft, rng: np.random.Generator, leaf: Float64Array) -> None:
    polygon = draft.bend(leaf)
    draft.fill(0, polygon, draft.regions.add(Cover.MEADOW, oriented_box(polygon)[4]))
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    for _ in range(int(rng.integers(0, 25))):
        x, y = rng.uniform(low, high)
        shrub = rng.random() < 0.5
        draft.tree(rng, x, y, rng.uniform(0.8, 2.2) if shrub else rng.uniform(2.0, 5.5),
                   Cover.SHRUB if shrub else draft.grove(rng))  # fmt: skip
    if rng.random() < 0.5:  # a trodden path
        start, end = polygon[int(rng.integers(len(polygon)))], polygon[int(rng.integers(len(polygon)))]
        t = np.linspace(0.0, 1.0, 24)[:, None]
        sway = np.cumsum(rng.normal(0.0, 2.5, (24, 2)), axis=0) * t * (1 - t) * 4.0
        draft.line(0, start + (end - start) * t + sway, draft.paths[Cover.DIRT], rng.uniform(0.8, 2.0))


def wood(draft: Draft, rng: np.random.Generator, polygon: Float64Array, floor: bool = True) -> None:
    """A stand of trees on a polygon, with clearings and rides."""
    if floor:
        draft.fill(0, polygon, draft.regions.add(Cover.WOOD_FLOOR))
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    spacing = rng.uniform(3.8, 5.8)
    columns, rows = int((high[0] - low[0]) / spacing) + 1, int((high[1] - low[1]) / spacing) + 1
    if columns * rows > 60000:
        return
    gx, gy = np.meshgrid(np.arange(columns), np.arange(rows))
    points = low + (np.stack([gx.ravel(), gy.ravel()], 1) + rng.uniform(-0.5, 0.5, (columns * rows, 2))) * spacing
    conifers = float(np.clip(draft.conifer_share + rng.normal(0.0, 0.35), 0.0, 1.0))
    plantation = rng.random() < 0.3
    gaps = [(rng.uniform(low, high), rng.uniform(5.0, 22.0)) for _ in range(int(polygon_area(polygon) / 9000.0))]
    keep = inside(polygon, points) & (rng.random(len(points)) < rng.uniform(0.8, 0.98))
    for centre, radius in gaps:
        keep &= np.hypot(*(points - centre).T) > radius
    for x, y in points[keep]:
        radius = spacing * (rng.uniform(0.55, 0.72) if plantation else rng.uniform(0.5, 1.0))
        draft.tree(rng, x, y, radius, Cover.CONIFER if rng.random() < conifers else Cover.BROADLEAF)


def inside(polygon: Float64Array, points: Float64Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which points (n, 2) lie inside a polygon. Source: even-odd crossing rule."""
    result = np.zeros(len(points), bool)
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        crosses = (a[1] > points[:, 1]) != (b[1] > points[:, 1])
        if a[1] != b[1]:
            at = a[0] + (points[:, 1] - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
            result ^= crosses & (points[:, 0] < at)
    return result


def _orchard(draft: Draft, rng: np.random.Generator, leaf: Float64Array) -> None:
    polygon = draft.bend(leaf)
    x, y, length, width, angle = oriented_box(polygon)
    draft.fill(0, polygon, draft.regions.add(Cover.MEADOW, angle))
    row_m, step_m = rng.uniform(5.0, 9.0), rng.uniform(3.5, 7.0)
    radius = min(row_m, step_m) * rng.uniform(0.3, 0.45)
    u, v = np.meshgrid(np.arange(-length / 2, length / 2, step_m), np.arange(-width / 2, width / 2, row_m))
    c, s = math.cos(angle), math.sin(angle)
    points = np.stack([x + c * u.ravel() - s * v.ravel(), y + s * u.ravel() + c * v.ravel()], 1)
    points = points[inside(draft.bend(shrink(leaf, 0.94)), points)]
    for px, py in points[rng.random(len(points)) < 0.94] + 0.0:
        draft.tree(
            rng, px + rng.normal(0, 0.3), py + rng.normal(0, 0.3), radius * rng.uniform(0.75, 1.15), Cover.BROADLEAF
        )


def _pond(draft: Draft, rng: np.random.Generator, leaf: Float64Array) -> None:
    _meadow(draft, rng, leaf)
    shore = smooth_ring(shrink(leaf, rng.uniform(0.35, 0.7)) + rng.normal(0.0, 6.0, (len(leaf), 2)))
    shore = draft.bend(shore, 20.0)
    draft.fill(LOTS, shrink(shore, 1.07), draft.regions.add(Cover.BANK))
    draft.fill(LOTS, shore, draft.regions.add(Cover.WATER))
    for x, y in shrink(shore, 1.13)[:: int(rng.integers(1, 4))]:
        if rng.random() < 0.7:
            draft.tree(rng, x + rng.normal(0, 2), y + rng.normal(0, 2), rng.uniform(1.5, 4.0), Cover.BROADLEAF)


def _farmstead(draft: Draft, rng: np.random.Generator, leaf: Float64Array) -> None:
    x, y, length, width, angle = oriented_box(draft.bend(leaf))
    yard = (*beside((x, y, length, width, angle), length * 0.3, width * 0.25, 0, 0)[:2], 55.0, 45.0, angle)
    draft.fill(LOTS, _blob(rng, np.array(yard[:2]), 42.0), draft.regions.add(Cover.LAWN))
    draft.fill(LOTS, _blob(rng, np.array(yard[:2]), 26.0), draft.regions.add(Cover.GRAVEL))
    for i in range(int(rng.integers(2, 6))):
        turn = math.pi / 2.0 * (i % 2)
        side = 24.0 * (1 if i < 2 else -1)
        at = (side, rng.uniform(-6, 6)) if i % 2 else (rng.uniform(-6, 6), side)
        barn = beside(yard, *at, rng.uniform(14.0, 40.0), rng.uniform(9.0, 16.0), turn)
        roof = Cover.ROOF_TILE if rng.random() < 0.5 else Cover.ROOF_METAL
        draft.house(rng, barn, rng.uniform(3.0, 6.5), False, roof)
    for _ in range(int(rng.integers(5, 20))):
        tx, ty, *_ = beside(yard, rng.normal(0, 30), rng.normal(0, 30), 0, 0)
        draft.tree(rng, tx, ty, rng.uniform(2.0, 5.0), draft.grove(rng))
    draft.slots.extend((yard[0] + rng.uniform(-12, 12), yard[1] + rng.uniform(-12, 12), angle) for _ in range(4))

"""Town blocks: houses on lots, terraces and courtyards, halls with car parks, parks and pitches."""

from __future__ import annotations

import math

import numpy as np

from tilefix.simulation.draft import LOTS, Draft
from tilefix.simulation.ground import Cover, rectangle
from tilefix.simulation.partition import oriented_box, partition, polygon_area, shrink
from tilefix.types import Float64Array

Box = tuple[float, float, float, float, float]


def beside(box: Box, along_m: float, across_m: float, length_m: float, width_m: float, turn_rad: float = 0.0) -> Box:
    """A box placed relative to another one's centre and axes."""
    x, y, _, _, angle = box
    c, s = math.cos(angle), math.sin(angle)
    return x + c * along_m - s * across_m, y + s * along_m + c * across_m, length_m, width_m, angle + turn_rad


def block(draft: Draft, rng: np.random.Generator, leaf: Float64Array, density: float) -> None:
    """Fills one town block: what stands there depends on how central it is."""
    roll = rng.random()
    if density > 0.8 and roll < 0.55:
        _courtyard(draft, rng, leaf)
    elif roll < 0.07:
        _park(draft, rng, leaf)
    elif roll < 0.2:
        _industry(draft, rng, leaf)
    elif roll < 0.25:
        _estate(draft, rng, leaf)
    else:
        _houses(draft, rng, leaf, density)


def _houses(draft: Draft, rng: np.random.Generator, leaf: Float64Array, density: float) -> None:
    draft.fill(0, draft.bend(leaf), draft.regions.add(Cover.LAWN))
    lot_m2 = rng.uniform(420.0, 700.0) + 900.0 * max(0.0, 0.75 - density)
    lots, _ = partition(rng, shrink(leaf, 0.93), lambda _: lot_m2 * rng.uniform(0.8, 1.9), lambda _: 0.02)
    flat_share = rng.uniform(0.0, 0.3)
    for lot in lots:
        polygon = draft.bend(lot)
        box = oriented_box(polygon)
        kind = Cover.LAWN if rng.random() < 0.8 else Cover.GARDEN_BED
        draft.fill(LOTS, polygon, draft.regions.add(kind, box[4]))
        if rng.random() < 0.06 or box[3] < 9.0:
            _gardens(draft, rng, box, 6)
            continue
        length = min(0.62 * box[2], rng.uniform(9.0, 17.0))
        width = min(0.62 * box[3], rng.uniform(7.5, 11.5))
        turn = math.pi / 2.0 if rng.random() < 0.3 and box[3] > 14.0 else 0.0
        aside = (box[2] - length) * rng.uniform(-0.28, 0.28)
        home = beside(box, aside, (box[3] - width) * rng.uniform(-0.2, 0.2), length, width, turn)
        flat = bool(rng.random() < flat_share)
        roof = Cover.ROOF_FLAT if flat else Cover.ROOF_TILE
        eave = rng.uniform(2.8, 7.0)
        place = draft.house(rng, home, eave, flat, roof)
        if rng.random() < 0.35:  # an L-shaped house
            wing = beside(home, length * 0.3, width * 0.5, width * 0.8, length * 0.4, math.pi / 2.0)
            draft.house(rng, wing, eave * 0.95, flat, roof, place)
        if rng.random() < 0.6:  # the drive
            drive = beside(home, length / 2.0 + 1.8, -width * 0.2, 3.0, box[3] * 0.8)
            draft.fill(LOTS, rectangle(*drive), draft.paths[Cover.PAVING if rng.random() < 0.6 else Cover.GRAVEL])
            draft.slots.append((drive[0], drive[1], drive[4] + math.pi / 2.0))
        if rng.random() < 0.45:  # a shed or garage
            shed = beside(
                box, -box[2] * 0.38, box[3] * rng.uniform(-0.35, 0.35), rng.uniform(3, 6), rng.uniform(2.5, 4)
            )
            draft.house(rng, shed, 2.3, True, Cover.ROOF_METAL if rng.random() < 0.5 else Cover.ROOF_FLAT, place)
        if rng.random() < 0.08:
            pool = beside(box, box[2] * 0.33, box[3] * 0.25, rng.uniform(6, 10), rng.uniform(3, 5))
            draft.fill(LOTS, rectangle(*pool), draft.paths[Cover.POOL])
        terrace = beside(home, rng.uniform(-2, 2), width / 2.0 + 1.5, rng.uniform(4, 9), 4.0)
        draft.fill(LOTS, rectangle(*terrace), draft.paths[Cover.PAVING])
        _gardens(draft, rng, box, int(rng.integers(1, 7)))


def _gardens(draft: Draft, rng: np.random.Generator, box: Box, count: int) -> None:
    for _ in range(count):
        x, y, *_ = beside(box, box[2] * rng.uniform(-0.5, 0.5), box[3] * rng.uniform(-0.5, 0.5), 0, 0)
        shrub = rng.random() < 0.45
        draft.tree(rng, x, y, rng.uniform(0.8, 1.8) if shrub else rng.uniform(1.8, 4.5),
                   Cover.SHRUB if shrub else draft.grove(rng))  # fmt: skip
    if rng.random() < 0.4:  # a hedge along one long side
        for s in np.arange(-box[2] / 2.0, box[2] / 2.0, 1.3):
            x, y, *_ = beside(box, s, box[3] / 2.0, 0, 0)
            draft.tree(rng, x, y, rng.uniform(0.8, 1.2), Cover.SHRUB)


def _courtyard(draft: Draft, rng: np.random.Generator, leaf: Float64Array) -> None:
    draft.fill(0, draft.bend(leaf), draft.regions.add(Cover.PAVING))
    depth = rng.uniform(9.0, 14.0)
    inset_m = 6.5 + depth / 2.0  # behind half a street and its pavement
    ring = draft.bend(shrink(leaf, max(0.4, 1.0 - 2.0 * inset_m / oriented_box(leaf)[3])), 1000.0)
    eave_of_block = rng.uniform(8.0, 16.0)
    flat = bool(rng.random() < 0.3)
    for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        side = float(np.hypot(*(b - a)))
        at = 0.0
        angle = math.atan2(float(b[1] - a[1]), float(b[0] - a[0]))
        while at < side - 8.0:
            length = min(rng.uniform(11.0, 26.0), side - at)
            if rng.random() > 0.12:
                middle = a + (b - a) * ((at + length / 2.0) / side)
                box = (float(middle[0]), float(middle[1]), length, depth * rng.uniform(0.85, 1.1), angle)
                roof = Cover.ROOF_FLAT if flat else Cover.ROOF_TILE
                draft.house(rng, box, eave_of_block * rng.uniform(0.85, 1.15), flat, roof)
            at += length
    yard = oriented_box(draft.bend(shrink(leaf, 0.45)))
    if yard[3] > 12.0 and rng.random() < 0.5:
        draft.fill(LOTS, rectangle(*yard), draft.regions.add(Cover.LAWN))
    _gardens(draft, rng, yard, int(rng.integers(2, 12)))


def _industry(draft: Draft, rng: np.random.Generator, leaf: Float64Array) -> None:
    ground = Cover.PAVING if rng.random() < 0.5 else (Cover.GRAVEL if rng.random() < 0.3 else Cover.ASPHALT)
    draft.fill(0, draft.bend(leaf), draft.regions.add(Cover.LAWN))
    draft.fill(LOTS, draft.bend(shrink(leaf, 0.9)), draft.regions.add(ground))
    parts, _ = partition(rng, shrink(leaf, 0.8), lambda _: rng.uniform(1800.0, 6000.0), lambda _: 0.01)
    for part in parts:
        box = oriented_box(draft.bend(part))
        area = polygon_area(part)
        if rng.random() < 0.3:
            draft.parking(rng, (*box[:2], box[2] * 0.85, box[3] * 0.8, box[4]), LOTS)
        elif area > 500.0:
            hall = (*box[:2], box[2] * rng.uniform(0.55, 0.85), box[3] * rng.uniform(0.5, 0.8), box[4])
            place = draft.house(
                rng, hall, rng.uniform(5.0, 12.0), True, Cover.ROOF_METAL if rng.random() < 0.6 else Cover.ROOF_FLAT
            )
            if rng.random() < 0.6:
                office = beside(hall, hall[2] * 0.35, hall[3] * 0.5, hall[2] * 0.25, hall[3] * 0.35)
                draft.house(rng, office, rng.uniform(6.0, 14.0), True, Cover.ROOF_FLAT, place)
            for _ in range(int(rng.integers(0, 10))):  # containers
                box_at = beside(box, box[2] * rng.uniform(-0.48, 0.48), box[3] * rng.choice([-0.46, 0.46]), 6.1, 2.5)
                draft.house(rng, box_at, 2.6, True, Cover.ROOF_METAL)
    _gardens(draft, rng, oriented_box(draft.bend(leaf)), 10)


def _estate(draft: Draft, rng: np.random.Generator, leaf: Float64Array) -> None:
    draft.fill(0, draft.bend(leaf), draft.regions.add(Cover.LAWN))
    box = oriented_box(draft.bend(shrink(leaf, 0.8)))
    turn = 0.0 if rng.random() < 0.5 else math.pi / 2.0
    span, run = (box[3], box[2]) if turn == 0.0 else (box[2], box[3])
    eave = rng.uniform(9.0, 24.0)
    for across in np.arange(-span / 2.0 + 10.0, span / 2.0 - 8.0, rng.uniform(28.0, 42.0)):
        slab, near = (0.0, across), (0.0, across + 13.0)
        if turn > 0.0:
            slab, near = slab[::-1], near[::-1]
        draft.house(rng, beside(box, *slab, run * rng.uniform(0.5, 0.9), 12.0, turn), eave, True, Cover.ROOF_FLAT)
        if rng.random() < 0.5:
            draft.parking(rng, beside(box, *near, run * 0.6, 6.0, turn), LOTS)
    _gardens(draft, rng, box, int(rng.integers(10, 40)))


def _park(draft: Draft, rng: np.random.Generator, leaf: Float64Array) -> None:
    polygon = draft.bend(leaf)
    draft.fill(0, polygon, draft.regions.add(Cover.LAWN))
    box = oriented_box(polygon)
    if rng.random() < 0.6 and box[3] > 55.0:
        pitch = (*box[:2], min(100.0, box[2] * 0.75), min(62.0, box[3] * 0.7), box[4])
        draft.fill(LOTS, rectangle(*pitch), draft.regions.add(Cover.PITCH, box[4]))
        outline = rectangle(*pitch[:2], pitch[2] - 4.0, pitch[3] - 4.0, pitch[4])
        draft.line(LOTS, np.vstack([outline, outline[:1]]), draft.marking, 0.2)
        turn = np.linspace(0.0, 2.0 * math.pi, 30)
        draft.line(
            LOTS, np.stack([pitch[0] + 9.0 * np.cos(turn), pitch[1] + 9.0 * np.sin(turn)], 1), draft.marking, 0.2
        )
    for _ in range(int(rng.integers(1, 4))):
        start, end = polygon[int(rng.integers(len(polygon)))], polygon[int(rng.integers(len(polygon)))]
        middle = (start + end) / 2.0 + rng.normal(0.0, 15.0, 2)
        t = np.linspace(0.0, 1.0, 20)[:, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end
        draft.line(LOTS, curve, draft.paths[Cover.GRAVEL], rng.uniform(1.5, 3.0))
    _gardens(draft, rng, box, int(polygon_area(polygon) / rng.uniform(80.0, 250.0)))

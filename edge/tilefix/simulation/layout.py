"""The plan of a generated world: where the roads, towns, fields, woods and waters lie."""

from __future__ import annotations

import math

import numpy as np

from tilefix.simulation import countryside, settlement
from tilefix.simulation.draft import LOTS, MAIN_ROADS, MAIN_VERGES, STREETS, VERGES, WATER, Draft
from tilefix.simulation.ground import Cover, Layout
from tilefix.simulation.noise import Warp, rng_for
from tilefix.simulation.partition import Cut, partition
from tilefix.types import Float64Array

_MARGIN_M = 350.0
_TOWN = 0.5  # density from which on a parcel is a town block


class _Density:
    """How built-up a place is, 0 to 1: towns and hamlets that thin out."""

    def __init__(self, rng: np.random.Generator, size_m: float) -> None:
        towns = int(rng.integers(1, 3)) + int(rng.poisson(size_m * size_m / 4.0e6))
        self._centres = rng.uniform(0.0, size_m, (towns, 2))
        self._radii_m = rng.uniform(220.0, 620.0, towns)

    def __call__(self, at: Float64Array) -> float:
        distance = np.hypot(*(self._centres - at).T)
        return float(np.exp(-np.square(distance / self._radii_m)).max())


def plan(seed: int, size_m: float) -> Layout:
    """Draws up the layout of a world of `size_m` x `size_m` from its seed."""
    rng = rng_for(seed, "plan")
    draft = Draft(seed, size_m, Warp(rng_for(seed, "warp"), size_m, 2.0 * _MARGIN_M))
    density = _Density(rng_for(seed, "towns"), size_m)
    moods = rng_for(seed, "moods").normal(0.0, 1.0, (64, 64))

    def woodiness(at: Float64Array) -> float:
        column, row = (np.clip(at / 450.0 + 2.0, 0, 63)).astype(int)
        return float(moods[row, column])

    def stop_area_m2(at: Float64Array) -> float:
        if density(at) > _TOWN:
            return float(rng.uniform(7000.0, 20000.0))
        return float(rng.uniform(12000.0, 80000.0))

    turn = rng.uniform(0.0, math.pi / 2.0)
    half = size_m / 2.0 + _MARGIN_M
    reach = half * (abs(math.cos(turn)) + abs(math.sin(turn)))
    corners = np.array([[-reach, -reach], [reach, -reach], [reach, reach], [-reach, reach]])
    spin = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    root = corners @ spin.T + size_m / 2.0
    leaves, cuts = partition(rng, root, stop_area_m2, lambda at: 0.05 if density(at) > _TOWN else 0.13)

    for cut in cuts:
        _draw_cut(draft, rng, cut, density(0.5 * (cut.start + cut.end)) > _TOWN - 0.12)
    for leaf in leaves:
        centre = leaf.mean(axis=0)
        if np.any(centre < -150.0) or np.any(centre > size_m + 150.0):
            continue
        if density(centre) > _TOWN:
            settlement.block(draft, rng, leaf, density(centre))
        else:
            countryside.parcel(draft, rng, leaf, woodiness(centre))
    river_rng = rng_for(seed, "river")
    if river_rng.random() < 0.7:
        _river(draft, river_rng)
    return draft.finish()


def _draw_cut(draft: Draft, rng: np.random.Generator, cut: Cut, town: bool) -> None:
    straight = np.array([cut.start, cut.end])
    points = draft.bend(straight, 8.0, closed=False)
    if cut.area_m2 > 900_000.0:
        _road(draft, rng, points, rng.uniform(8.5, 13.0), MAIN_VERGES, MAIN_ROADS, town, marked=True)
    elif cut.area_m2 > 160_000.0 or town:
        width = rng.uniform(6.0, 8.0) if cut.area_m2 > 160_000.0 else rng.uniform(4.6, 6.5)
        _road(draft, rng, points, width, VERGES, STREETS, town, marked=cut.area_m2 > 300_000.0)
    else:
        _boundary(draft, rng, points)


def _road(
    draft: Draft,
    rng: np.random.Generator,
    points: Float64Array,
    width_m: float,
    verge: int,
    layer: int,
    town: bool,
    marked: bool,
) -> None:
    side = Cover.PAVING if town else Cover.MEADOW
    draft.line(verge, points, draft.regions.add(side), width_m + (3.6 if town else rng.uniform(2.0, 6.0)))
    surface = draft.regions.add(Cover.ASPHALT if rng.random() < 0.93 else Cover.PAVING)
    draft.line(layer, points, surface, width_m)
    draft.lanes.append((points, width_m))
    lengths = _lengths(points)
    if marked:
        for s in np.arange(2.0, lengths[-1] - 6.0, 9.0):
            draft.line(layer, _along(points, lengths, np.array([s, s + 3.5])), draft.marking, 0.3)
    for s in np.arange(5.0, lengths[-1] - 5.0, 11.0):  # patches in the surface, trees and parked cars beside it
        here, ahead = _along(points, lengths, np.array([s, s + 2.0]))
        direction = (ahead - here) / max(float(np.hypot(*(ahead - here))), 1e-6)
        across = np.array([-direction[1], direction[0]])
        if rng.random() < 0.06:
            patch = draft.regions.add(Cover.ASPHALT)
            draft.line(
                layer,
                _along(points, lengths, np.array([s, s + rng.uniform(3, 25)])) + across * width_m * 0.22,
                patch,
                width_m * 0.4,
            )
        if town and rng.random() < 0.35:
            place = here + across * (width_m / 2.0 - 1.1) * rng.choice([-1.0, 1.0])
            draft.slots.append((float(place[0]), float(place[1]), math.atan2(direction[1], direction[0])))
        if rng.random() < (0.13 if town else 0.1):
            place = here + across * (width_m / 2.0 + rng.uniform(2.5, 4.5)) * rng.choice([-1.0, 1.0])
            draft.tree(rng, float(place[0]), float(place[1]), rng.uniform(1.5, 4.5), Cover.BROADLEAF)


def _boundary(draft: Draft, rng: np.random.Generator, points: Float64Array) -> None:
    roll = rng.random()
    if roll < 0.4:
        kind = Cover.DIRT if rng.random() < 0.6 else Cover.GRAVEL
        draft.line(LOTS, points, draft.regions.add(Cover.MEADOW), rng.uniform(4.0, 7.0))
        draft.line(LOTS, points, draft.regions.add(kind), rng.uniform(2.4, 3.4))
        draft.line(LOTS, points, draft.regions.add(Cover.MEADOW), 0.7)  # grass between the ruts
    elif roll < 0.72:
        draft.line(LOTS, points, draft.regions.add(Cover.MEADOW), rng.uniform(1.5, 5.0))
        shrubs = rng.random() < 0.5
        fullness = rng.uniform(0.25, 0.95)
        for x, y in _every(points, rng.uniform(2.0, 6.0)):
            if rng.random() < fullness:
                kind = Cover.SHRUB if shrubs and rng.random() < 0.8 else Cover.BROADLEAF
                radius = rng.uniform(1.0, 2.2) if kind is Cover.SHRUB else rng.uniform(1.8, 4.8)
                draft.tree(rng, x + rng.normal(0, 0.8), y + rng.normal(0, 0.8), radius, kind)
    elif roll < 0.82:
        draft.line(LOTS, points, draft.regions.add(Cover.BANK), 3.5)
        draft.line(LOTS, points, draft.regions.add(Cover.WATER), rng.uniform(1.0, 2.0))


def _lengths(points: Float64Array) -> Float64Array:
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])


def _along(points: Float64Array, lengths: Float64Array, at_m: Float64Array) -> Float64Array:
    return np.stack([np.interp(at_m, lengths, points[:, k]) for k in (0, 1)], axis=-1)


def _every(points: Float64Array, step_m: float) -> Float64Array:
    lengths = _lengths(points)
    return _along(points, lengths, np.arange(0.0, lengths[-1], step_m))


def _river(draft: Draft, rng: np.random.Generator) -> None:
    size = draft.size_m
    s = np.linspace(-0.15, 1.15, 260)
    sway = sum(
        amplitude * size * np.sin(2.0 * math.pi * (s * waves + rng.random()))
        for waves, amplitude in (
            (rng.uniform(0.6, 1.4), 0.09),
            (rng.uniform(2.0, 4.0), 0.035),
            (rng.uniform(6.0, 10.0), 0.01),
        )
    )
    angle = rng.uniform(0.0, 2.0 * math.pi)
    start = (s - 0.5) * size * 1.5
    across = sway + rng.uniform(-0.3, 0.3) * size
    c, sn = math.cos(angle), math.sin(angle)
    points = np.stack([size / 2 + c * start - sn * across, size / 2 + sn * start + c * across], 1)
    width = rng.uniform(6.0, 45.0) * (1.0 + 0.25 * np.sin(np.linspace(0.0, rng.uniform(10, 40), len(s)) + rng.random()))
    water, bank = draft.regions.add(Cover.WATER), draft.regions.add(Cover.BANK)
    wild = draft.regions.add(Cover.MEADOW)
    for region, extra in ((wild, rng.uniform(8.0, 30.0)), (bank, rng.uniform(1.0, 4.0)), (water, 0.0)):
        for i in range(len(points) - 1):
            draft.line(WATER, points[i : i + 2], region, float(width[i]) + extra)
    for x, y in _every(points, 4.0):
        if rng.random() < 0.5:
            reach = float(width.mean()) / 2.0 + rng.uniform(2.0, 10.0)
            turn = rng.uniform(0.0, 2.0 * math.pi)
            draft.tree(
                rng, x + reach * math.cos(turn), y + reach * math.sin(turn), rng.uniform(1.5, 5.0), Cover.BROADLEAF
            )

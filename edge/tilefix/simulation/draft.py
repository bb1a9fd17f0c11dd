"""The layout of a world while it is being drawn up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from tilefix.simulation.ground import Building, Cover, Layout, Regions, rectangle
from tilefix.simulation.noise import Warp, rng_for
from tilefix.simulation.partition import densify
from tilefix.types import Float64Array

# Paint order: what comes later covers what came before.
PARCELS, LOTS, VERGES, STREETS, WATER, MAIN_VERGES, MAIN_ROADS = range(7)
CROWN_TINTS = 40


@dataclass
class Draft:
    """Collects strokes by layer, buildings, trees, parking slots and lanes. Metres, x east, y south."""

    seed: int
    size_m: float
    warp: Warp
    regions: Regions = field(default_factory=Regions)
    layers: list[list[tuple[str, Float64Array, int, float]]] = field(default_factory=lambda: [[] for _ in range(7)])
    buildings: list[Building] = field(default_factory=list)
    trees: list[tuple[float, float, float, float, int]] = field(default_factory=list)
    slots: list[tuple[float, float, float]] = field(default_factory=list)
    lanes: list[tuple[Float64Array, float]] = field(default_factory=list)
    places: int = 0

    def __post_init__(self) -> None:
        rng = rng_for(self.seed, "species")
        kinds = (Cover.BROADLEAF, Cover.CONIFER, Cover.SHRUB)
        self.species = {kind: [self.regions.add(kind) for _ in range(CROWN_TINTS)] for kind in kinds}
        self.marking = self.regions.add(Cover.MARKING)
        self.solar = self.regions.add(Cover.SOLAR)
        self.glass = self.regions.add(Cover.GLASS)
        self.cars = [self.regions.add(Cover.CAR) for _ in range(24)]
        self.facades = [self.regions.add(Cover.FACADE) for _ in range(12)]
        self.paths = {kind: self.regions.add(kind) for kind in (Cover.GRAVEL, Cover.DIRT, Cover.PAVING, Cover.POOL)}
        # A world has its own mix of species: some are all conifer, some have none.
        self.conifer_share = float(rng.beta(0.7, 1.2))

    def bend(self, polygon: Float64Array, step_m: float = 12.0, closed: bool = True) -> Float64Array:
        """A straight-edged polygon or line, displaced by the world's warp."""
        return self.warp(densify(polygon, step_m, closed))

    def fill(self, layer: int, polygon: Float64Array, region: int) -> None:
        """Paints the inside of a polygon."""
        self.layers[layer].append(("fill", polygon, region, 0.0))

    def line(self, layer: int, points: Float64Array, region: int, width_m: float) -> None:
        """Paints a line of that width."""
        self.layers[layer].append(("line", points, region, width_m))

    def tree(self, rng: np.random.Generator, x_m: float, y_m: float, radius_m: float, kind: Cover) -> None:
        """Plants one tree or shrub, its height in proportion."""
        factor = {Cover.BROADLEAF: 2.6, Cover.CONIFER: 4.5, Cover.SHRUB: 1.1}[kind]
        height_m = min(radius_m * factor * rng.uniform(0.75, 1.25), 30.0)
        self.trees.append((x_m, y_m, radius_m, height_m, self.species[kind][int(rng.integers(CROWN_TINTS))]))

    def grove(self, rng: np.random.Generator) -> Cover:
        """The kind of a tree at random by the world's mix."""
        return Cover.CONIFER if rng.random() < self.conifer_share else Cover.BROADLEAF

    def house(
        self,
        rng: np.random.Generator,
        box: tuple[float, float, float, float, float],
        eave_m: float,
        flat: bool,
        roof: Cover,
        place: int | None = None,
    ) -> int:
        """Builds on an oriented box (x, y, length, width, angle); gives its place number."""
        x, y, length, width, angle = box
        if place is None:
            self.places += 1
            place = self.places
        ridge = 0.0 if flat else width / 2.0 * math.tan(math.radians(rng.uniform(15.0, 45.0)))
        solar = self.solar if rng.random() < 0.18 else -1
        region = self.regions.add(roof, angle)
        facade = self.facades[int(rng.integers(len(self.facades)))]
        hipped = bool(rng.random() < 0.35)
        self.buildings.append(Building(x, y, length, width, angle, eave_m, ridge, hipped, region, facade, solar, place))
        return place

    def parking(self, rng: np.random.Generator, box: tuple[float, float, float, float, float], layer: int) -> None:
        """An asphalt rectangle with rows of marked stalls, each a slot for a car."""
        x, y, length, width, angle = box
        self.fill(layer, rectangle(x, y, length, width, angle), self.regions.add(Cover.ASPHALT))
        along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
        offset = -width / 2.0 + 2.7
        row = 0
        while offset < width / 2.0 - 2.0:
            for s in np.arange(-length / 2.0 + 2.0, length / 2.0 - 2.0, 2.6):
                at = np.array([x, y]) + along * (s + 1.3) + across * offset
                self.slots.append((float(at[0]), float(at[1]), angle + math.pi / 2.0))
                edge = np.array([x, y]) + along * s + across * offset
                self.line(layer, np.array([edge - across * 2.4, edge + across * 2.4]), self.marking, 0.2)
            offset += 5.0 if row % 2 else 11.0
            row += 1
        for s in np.arange(-length / 2.0, length / 2.0, 17.0):
            if rng.random() < 0.5:
                at = np.array([x, y]) + along * s + across * (width / 2.0 - 0.5)
                self.tree(rng, float(at[0]), float(at[1]), rng.uniform(1.2, 3.0), Cover.BROADLEAF)

    def finish(self) -> Layout:
        """The layout as drawn."""
        strokes = [stroke for layer in self.layers for stroke in layer]
        trees = np.array(self.trees, np.float64).reshape(-1, 5)
        slots = np.array(self.slots, np.float64).reshape(-1, 3)
        return Layout(self.regions, strokes, self.buildings, trees, slots, self.lanes, tuple(self.cars), self.glass)

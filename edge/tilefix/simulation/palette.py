"""Colours and textures of land cover by season: made-up reflectances in display space, after many orthophotos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tilefix.simulation.ground import Cover, Regions
from tilefix.simulation.looks import Look
from tilefix.simulation.noise import rng_for
from tilefix.types import Float32Array, Float64Array

# Crops by season: what may stand on a field. Spring, summer, autumn, winter.
_CROPS = (
    [(0.33, 0.44, 0.23), (0.30, 0.42, 0.20), (0.52, 0.43, 0.33), (0.47, 0.38, 0.29), (0.70, 0.67, 0.24),
     (0.42, 0.48, 0.28), (0.56, 0.48, 0.38)],
    [(0.72, 0.64, 0.43), (0.66, 0.58, 0.38), (0.25, 0.37, 0.18), (0.30, 0.42, 0.20), (0.68, 0.61, 0.46),
     (0.48, 0.39, 0.30), (0.40, 0.46, 0.25), (0.76, 0.70, 0.52)],
    [(0.45, 0.36, 0.28), (0.40, 0.32, 0.25), (0.60, 0.52, 0.38), (0.36, 0.44, 0.23), (0.52, 0.47, 0.30),
     (0.55, 0.46, 0.36)],
    [(0.40, 0.33, 0.27), (0.36, 0.30, 0.25), (0.36, 0.41, 0.26), (0.50, 0.44, 0.35), (0.42, 0.44, 0.30),
     (0.46, 0.38, 0.31)],
)  # fmt: skip
_ROOF_TILES = [(0.60, 0.36, 0.27), (0.52, 0.30, 0.24), (0.45, 0.30, 0.25), (0.34, 0.31, 0.31), (0.27, 0.27, 0.29),
               (0.65, 0.47, 0.38), (0.44, 0.42, 0.41)]  # fmt: skip
_ROOF_FLATS = [(0.62, 0.60, 0.57), (0.40, 0.40, 0.41), (0.78, 0.77, 0.75), (0.50, 0.48, 0.45), (0.30, 0.30, 0.32)]
_ROOF_METALS = [(0.80, 0.80, 0.79), (0.58, 0.61, 0.64), (0.40, 0.48, 0.58), (0.48, 0.53, 0.48), (0.66, 0.63, 0.58),
                (0.52, 0.35, 0.30)]  # fmt: skip
_CARS = [(0.88, 0.88, 0.88), (0.65, 0.66, 0.68), (0.15, 0.15, 0.17), (0.42, 0.43, 0.46), (0.60, 0.15, 0.13),
         (0.17, 0.25, 0.45), (0.75, 0.74, 0.70)]  # fmt: skip
_CHOICES = {
    Cover.ROOF_TILE: _ROOF_TILES,
    Cover.ROOF_FLAT: _ROOF_FLATS,
    Cover.ROOF_METAL: _ROOF_METALS,
    Cover.CAR: _CARS,
}

# Cover -> colour in spring, summer, autumn, winter (one entry: all year), spread of brightness.
_PLAIN: dict[Cover, tuple[list[tuple[float, float, float]], float]] = {
    Cover.MEADOW: ([(0.38, 0.47, 0.25), (0.45, 0.48, 0.28), (0.46, 0.45, 0.29), (0.43, 0.41, 0.28)], 0.22),
    Cover.LAWN: ([(0.34, 0.45, 0.24), (0.40, 0.47, 0.27), (0.41, 0.43, 0.27), (0.38, 0.39, 0.26)], 0.25),
    Cover.GARDEN_BED: ([(0.42, 0.40, 0.28), (0.38, 0.42, 0.26), (0.42, 0.38, 0.28), (0.40, 0.35, 0.28)], 0.25),
    Cover.WOOD_FLOOR: ([(0.27, 0.30, 0.19), (0.20, 0.26, 0.15), (0.33, 0.27, 0.19), (0.34, 0.29, 0.23)], 0.15),
    Cover.ASPHALT: ([(0.46, 0.46, 0.47)], 0.30),
    Cover.PAVING: ([(0.64, 0.62, 0.58)], 0.25),
    Cover.GRAVEL: ([(0.66, 0.62, 0.54)], 0.20),
    Cover.DIRT: ([(0.58, 0.50, 0.39)], 0.20),
    Cover.WATER: ([(0.20, 0.27, 0.26), (0.17, 0.26, 0.25), (0.22, 0.26, 0.23), (0.26, 0.27, 0.23)], 0.35),
    Cover.BANK: ([(0.50, 0.47, 0.37), (0.52, 0.49, 0.38), (0.45, 0.41, 0.31), (0.42, 0.37, 0.29)], 0.20),
    Cover.FACADE: ([(0.60, 0.57, 0.52)], 0.35),
    Cover.SOLAR: ([(0.16, 0.18, 0.27)], 0.10),
    Cover.GLASS: ([(0.36, 0.42, 0.46)], 0.20),
    Cover.BROADLEAF: ([(0.30, 0.41, 0.18), (0.22, 0.34, 0.15), (0.43, 0.37, 0.19), (0.41, 0.36, 0.31)], 0.35),
    Cover.CONIFER: ([(0.18, 0.27, 0.16), (0.17, 0.27, 0.16), (0.16, 0.25, 0.16), (0.16, 0.23, 0.15)], 0.30),
    Cover.SHRUB: ([(0.28, 0.38, 0.18), (0.25, 0.35, 0.17), (0.38, 0.34, 0.19), (0.37, 0.33, 0.26)], 0.35),
    Cover.MARKING: ([(0.85, 0.85, 0.83)], 0.05),
    Cover.PITCH: ([(0.33, 0.48, 0.25), (0.34, 0.49, 0.26), (0.35, 0.46, 0.26), (0.36, 0.43, 0.26)], 0.15),
    Cover.POOL: ([(0.33, 0.66, 0.74), (0.33, 0.68, 0.76), (0.33, 0.60, 0.64), (0.25, 0.36, 0.36)], 0.15),
    Cover.BALLAST: ([(0.46, 0.42, 0.38)], 0.10),
}  # fmt: skip

# Cover -> relative brightness of texture that stays (fine, coarse), that is new in each look (fine, coarse), of rows.
_TEXTURE: dict[Cover, tuple[float, float, float, float, float]] = {
    Cover.FIELD: (0.035, 0.085, 0.045, 0.05, 0.05), Cover.MEADOW: (0.05, 0.10, 0.06, 0.07, 0.012),
    Cover.LAWN: (0.05, 0.07, 0.05, 0.06, 0.0), Cover.GARDEN_BED: (0.09, 0.06, 0.11, 0.06, 0.05),
    Cover.WOOD_FLOOR: (0.08, 0.08, 0.12, 0.06, 0.0), Cover.ASPHALT: (0.03, 0.06, 0.02, 0.025, 0.0),
    Cover.PAVING: (0.05, 0.05, 0.03, 0.03, 0.0), Cover.GRAVEL: (0.06, 0.07, 0.05, 0.05, 0.0),
    Cover.DIRT: (0.06, 0.08, 0.06, 0.07, 0.0), Cover.WATER: (0.01, 0.04, 0.035, 0.08, 0.0),
    Cover.BANK: (0.10, 0.08, 0.10, 0.07, 0.0), Cover.ROOF_TILE: (0.04, 0.05, 0.025, 0.02, 0.03),
    Cover.ROOF_FLAT: (0.04, 0.06, 0.025, 0.03, 0.0), Cover.ROOF_METAL: (0.015, 0.03, 0.015, 0.02, 0.05),
    Cover.BROADLEAF: (0.05, 0.03, 0.13, 0.04, 0.0), Cover.CONIFER: (0.05, 0.03, 0.12, 0.04, 0.0),
    Cover.SHRUB: (0.05, 0.03, 0.12, 0.04, 0.0), Cover.PITCH: (0.02, 0.04, 0.03, 0.04, 0.05),
    Cover.BALLAST: (0.05, 0.03, 0.05, 0.03, 0.0), Cover.FACADE: (0.05, 0.0, 0.03, 0.0, 0.0),
}  # fmt: skip
_GREEN = (Cover.FIELD, Cover.MEADOW, Cover.LAWN, Cover.PITCH, Cover.GARDEN_BED)


@dataclass(frozen=True)
class Paint:
    """Per-region tables (n regions): `colour` (n, 3); `texture` (n, 4) as `_TEXTURE`; `row_*`: rows' amplitude and
    wave vector, cycles per metre along x and y; `tint`: how much coarse texture turns the hue from green to brown."""

    colour: Float32Array
    texture: Float32Array
    row_amplitude: Float32Array
    row_x: Float32Array
    row_y: Float32Array
    tint: Float32Array


def paint(regions: Regions, seed: int, look: Look) -> Paint:
    """How each region looks: what it is stays with the seed, crops and freshness come with the look."""
    count = len(regions.cover)
    cover, group = np.array(regions.cover), np.array(regions.group)
    lasting = rng_for(seed, "regions").random((count, 5))[group]
    fresh = rng_for(seed, "regions", look.moved_seed).random((count, 5))[group]
    soil = rng_for(seed, "soil").uniform((0.98, 0.94, 0.80), (1.14, 1.02, 1.0))  # each world has its own soil, warm
    colour = np.full((count, 3), 0.5)
    spread = np.full(count, 0.1)
    for kind, (shades, width) in _PLAIN.items():
        members = cover == kind
        colour[members] = shades[int(look.season) % len(shades)]
        spread[members] = width
    for kind, choices in _CHOICES.items():
        members = cover == kind
        colour[members] = _pick(choices, lasting[members, 0])
        spread[members] = 0.15
    fields = cover == Cover.FIELD
    colour[fields] = _pick(_CROPS[int(look.season)], fresh[fields, 0])
    spread[fields] = 0.14
    earthy = np.isin(cover, [Cover.FIELD, Cover.DIRT, Cover.GRAVEL, Cover.BANK, Cover.MEADOW])
    colour[earthy] *= soil
    # Brightness: mostly the place's own, partly the day's.
    colour *= (1.0 + spread * (1.4 * (lasting[:, 1] - 0.5) + 0.8 * (fresh[:, 1] - 0.5)))[:, None]
    green = np.isin(cover, _GREEN)
    colour[green] *= 1.0 + (fresh[green, 2:5] - 0.5) * 0.14
    crowns = np.isin(cover, [Cover.BROADLEAF, Cover.SHRUB])
    if look.season == 2:  # autumn colours, from green through yellow to red
        colour[crowns] *= 1.0 + (lasting[crowns, 2:3] - 0.5) * np.array([0.45, -0.25, -0.1])
    colour[crowns | (cover == Cover.CONIFER)] *= 1.0 + (lasting[crowns | (cover == Cover.CONIFER), 2:5] - 0.5) * 0.16

    colour += 0.15 * (colour.mean(axis=1, keepdims=True) - colour)
    texture = np.zeros((count, 5))
    for kind, amplitudes in _TEXTURE.items():
        texture[cover == kind] = amplitudes
    texture[:, :4] *= 0.5 + lasting[:, 3:4]
    texture[:, 2:5] *= 0.4 + 1.2 * fresh[:, 3:4]
    pitch_m = np.select([fields, cover == Cover.PITCH, cover == Cover.ROOF_METAL, cover == Cover.ROOF_TILE],
                        [1.6 + 4.0 * fresh[:, 4], 11.0, 2.0 + 3.0 * lasting[:, 4], 1.3], 3.0)  # fmt: skip
    across = np.array(regions.angle_rad) + np.pi / 2.0
    return Paint(
        colour.astype(np.float32),
        texture[:, :4].astype(np.float32),
        texture[:, 4].astype(np.float32),
        (np.cos(across) / pitch_m).astype(np.float32),
        (np.sin(across) / pitch_m).astype(np.float32),
        (np.where(green, 0.022, 0.0)).astype(np.float32),
    )


def _pick(choices: list[tuple[float, float, float]], chance: Float64Array) -> Float64Array:
    table = np.array(choices)
    return np.asarray(table[np.minimum((chance * len(table)).astype(int), len(table) - 1)])

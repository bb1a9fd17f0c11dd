"""A match tried out: at a place, under assumed errors of heading and height."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tilefix.localization.look import Look
from tilefix.localization.register import MapCorrelator, Peak, Surface, Template, refine_peak, support
from tilefix.localization.settings import LocalizerSettings

TRY_TURNS_DEG = (-12.0, -8.0, -4.0, 4.0, 8.0, 12.0)
TRY_SCALES = (0.92, 0.96, 1.04, 1.08)
REFINE_PX = 16  # least half side of the window in which a match is refined


@dataclass(frozen=True, slots=True)
class Trial:
    """A match under an assumed heading and height error. `plain_z_score`: without one."""

    peak: Peak
    turn_deg: float
    scale: float
    plain_z_score: float
    template: Template
    surface: Surface
    correlator: MapCorrelator

    @property
    def support(self) -> float:
        """Share of the patch that agrees with the map: see `tilefix.localization.register.support`."""
        surface, template = self.surface, self.template
        row, column = divmod(int(np.nanargmax(surface.values)), surface.values.shape[1])
        half = template.size_px // 2
        on_map = self.correlator.features(
            surface.column + column - half, surface.row + row - half, template.size_px, template.size_px
        )
        return support(on_map, template)


def trial_at(
    seen: Look,
    east_m: float,
    north_m: float,
    spread: float,
    reach_m: float,
    turn_deg: float,
    scale: float,
    plain_z: float | None,
) -> Trial | None:
    """The best match within about `reach_m` of the vehicle's place, under one heading and height error; `None` off
    the map. `spread`: of the scores that do not match. `plain_z`: the score without any error, when it is known."""
    found = _around(seen, east_m, north_m, reach_m, turn_deg, scale)
    if found is None:
        return None
    template, surface = found
    at = divmod(int(np.nanargmax(surface.values)), surface.values.shape[1])
    peak = refine_peak(surface, at[0], at[1], spread)
    plain_z = peak.z_score if plain_z is None else plain_z
    return Trial(peak, turn_deg, scale, plain_z, template, surface, seen.correlator)


def correlation_at(
    seen: Look, east_m: float, north_m: float, reach_m: float, turn_deg: float, scale: float
) -> float | None:
    """Only the correlation of what `trial_at` gives."""
    found = _around(seen, east_m, north_m, reach_m, turn_deg, scale)
    return None if found is None else float(np.nanmax(found[1].values))


def _around(
    seen: Look, east_m: float, north_m: float, reach_m: float, turn_deg: float, scale: float
) -> tuple[Template, Surface] | None:
    level = seen.correlator.level
    template = seen.template
    if turn_deg or scale != 1.0:
        template = seen.turned(turn_deg, scale)
    column, row = (round(v) for v in level.to_pixel(east_m + seen.offset_m[0], north_m + seen.offset_m[1]))
    reach = max(REFINE_PX, math.ceil(reach_m / level.gsd_m) + 4)
    surface = seen.correlator.search(template, column - reach, row - reach, 2 * reach + 1, 2 * reach + 1)
    if not surface.values.size or not np.isfinite(surface.values).any():
        return None
    return template, surface


def try_out(
    seen: Look, east_m: float, north_m: float, spread: float, reach_m: float, settings: LocalizerSettings
) -> Trial | None:
    """The best match around a place over small heading and height errors; `None` off the map."""
    plain = trial_at(seen, east_m, north_m, spread, reach_m, 0.0, 1.0, None)
    if plain is None or plain.peak.z_score < 0.5 * settings.settle_z_score:
        return None
    plain_z = plain.peak.z_score
    best = plain
    for turn_deg, scale in _errors_to_try(settings):
        base_turn, base_scale = (0.0, best.scale) if scale == 1.0 else (best.turn_deg, 1.0)
        trial = trial_at(seen, east_m, north_m, spread, reach_m, base_turn + turn_deg, base_scale * scale, plain_z)
        if trial is not None and trial.peak.correlation > best.peak.correlation:
            best = trial
    return best


def _errors_to_try(settings: LocalizerSettings) -> Iterator[tuple[float, float]]:
    """(turn_deg, scale) steps: headings first, then heights at the best heading."""
    for turn_deg in TRY_TURNS_DEG:
        if abs(turn_deg) <= settings.heading_error_deg:
            yield turn_deg, 1.0
    for scale in TRY_SCALES:
        if abs(scale - 1.0) <= settings.height_error:
            yield 0.0, scale

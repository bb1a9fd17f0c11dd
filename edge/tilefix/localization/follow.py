"""Still there? One frame looked for in a window around the tracked place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tilefix.localization.look import Look
from tilefix.localization.register import Peak, Surface, background_spread, refine_peak
from tilefix.localization.settings import LocalizerSettings
from tilefix.localization.trial import correlation_at, try_out

WINDOW_PX = 72  # half side of the tracking window: wide enough to know what a wrong place scores
RETRY_SHARE = 0.75  # of the usual correlation: below it, heading and height errors are tried out again
TURN_PROBE_DEG, SCALE_PROBE = 3.0, 0.03
GAIN = 0.6  # of one probe
# Of the view's side: a vehicle that moves less from frame to frame sees the same ground again, and what was found on
# the fine pixels errs alike.
SAME_VIEW_SHARE = 0.015
PROBE_MEMORY = 0.1  # share of the newest probe in their running mean square


@dataclass(frozen=True, slots=True)
class Match:
    """The best place in the window, under errors of heading and height beside those already taken out."""

    peak: Peak
    turn_deg: float = 0.0
    scale: float = 1.0


class Follower:
    """Looks for frames around a place. Keeps which error was probed last, and a running mean of the correlation that
    matches have, `usual_correlation`: 0 before the first."""

    def __init__(self, settings: LocalizerSettings, cell_m: float) -> None:
        self._settings = settings
        self._cell_m = cell_m
        self.usual_correlation = 0.0
        self._probe = 0
        self._refines = True
        # Mean squares of what the probes said.
        self._turn2, self._scale2 = TURN_PROBE_DEG**2, SCALE_PROBE**2

    @property
    def turn_sigma_deg(self) -> float:
        """Standard deviation of the heading error followed: of a filter of that gain over noise that its steps show."""
        return math.sqrt(0.5 * GAIN * self._turn2)

    @property
    def scale_sigma(self) -> float:
        """The same of the height's scale."""
        return math.sqrt(0.5 * GAIN * self._scale2)

    def begin(self, correlation: float) -> None:
        """Tracking starts with a match that correlates so well."""
        self.usual_correlation = correlation
        self._refines = True

    def window(self, seen: Look, east_m: float, north_m: float) -> Surface:
        """Scores around the vehicle's place."""
        level = seen.correlator.level
        column, row = (round(v) for v in level.to_pixel(east_m + seen.offset_m[0], north_m + seen.offset_m[1]))
        return seen.correlator.search(
            seen.template, column - WINDOW_PX, row - WINDOW_PX, 2 * WINDOW_PX + 1, 2 * WINDOW_PX + 1
        )

    def best(self, seen: Look, surface: Surface, east_m: float, north_m: float) -> Match:
        """The best match in the window; under other errors where the picture fits less than usual."""
        spread = background_spread(surface.values)
        at = divmod(int(np.nanargmax(surface.values)), surface.values.shape[1])
        peak = refine_peak(surface, at[0], at[1], spread)
        if peak.correlation < RETRY_SHARE * self.usual_correlation:
            # The heading or the height may have jumped: try their errors out before giving up.
            trial = try_out(seen, east_m, north_m, spread, self._cell_m, self._settings)
            if trial is not None and trial.peak.correlation > peak.correlation:
                return Match(trial.peak, trial.turn_deg, trial.scale)
        return Match(peak)

    def due(self, seen: Look, moved_m: float) -> tuple[bool, bool]:
        """(refine, probe): whether to refine this match, and whether to probe for errors. Either costs as much as the
        match itself, so they take turns while the view hardly changes. `moved_m`: since the frame before."""
        if seen.fine is None or moved_m > SAME_VIEW_SHARE * math.sqrt(seen.view.area_m2):
            return True, True
        self._refines = not self._refines
        return self._refines, not self._refines

    def matched(self, peak: Peak) -> None:
        """The match was taken in."""
        self.usual_correlation += 0.2 * (peak.correlation - self.usual_correlation)

    def probe(self, seen: Look, peak: Peak) -> tuple[float, float]:
        """(turn_deg, scale) that the errors seem to have changed by: tries one of the two a little to both sides."""
        self._probe += 1
        turn = self._probe % 2 == 0
        step = TURN_PROBE_DEG if turn else SCALE_PROBE
        east_m, north_m = peak.east_m - seen.offset_m[0], peak.north_m - seen.offset_m[1]
        scores = []
        for side in (-1.0, 1.0):
            turn_deg, scale = (side * step, 1.0) if turn else (0.0, 1.0 + side * step)
            correlation = correlation_at(seen, east_m, north_m, self._cell_m, turn_deg, scale)
            scores.append(-1.0 if correlation is None else correlation)
        curvature = scores[0] - 2.0 * peak.correlation + scores[1]
        if curvature < 0.0:
            shift = step * max(-1.0, min(1.0, 0.5 * (scores[0] - scores[1]) / curvature))
        else:
            shift = step if scores[1] > scores[0] else -step
        if turn:
            self._turn2 += PROBE_MEMORY * (shift * shift - self._turn2)
            return GAIN * shift, 1.0
        self._scale2 += PROBE_MEMORY * (shift * shift - self._scale2)
        return 0.0, 1.0 + GAIN * shift

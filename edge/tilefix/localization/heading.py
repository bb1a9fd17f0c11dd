"""The heading where the autopilot states none: carried on by how the picture turns, found by matches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from tilefix.localization.look import Look
from tilefix.localization.motion import likeness
from tilefix.types import VehicleState

UNKNOWN_DEG = 30.0  # standard deviation of a heading that says nothing: matches bear 12 degrees either way
ANY_DEG = 180.0
STATED_DEG = 5.0  # of one that was stated until now
MATCHED_DEG = 2.0  # of one that a match was found under
TURN_SIGMA_DEG = 0.45  # of one measured turn
DOUBT_DEG = 10.0  # that a heading is less sure of each time that nothing fits
TURNS_DEG_PER_S = 40.0  # that a vehicle may make unseen

FINE_STEP_DEG = 1.0
STEP_DEG = 2.0  # half of what leaves two pictures of the same ground alike at the coarser level
COARSE_STEP_DEG = 4.0
FARTHEST_DEG = 44.0  # between two frames
MIN_CORRELATION = 0.4  # of two pictures of one sensor taken moments apart


class Heading:
    """A heading for frames without one. `deg`: of the body, clockwise from north; `sigma_deg`: its standard deviation.
    `carried`: none is stated."""

    def __init__(self) -> None:
        self.deg, self.sigma_deg = 0.0, ANY_DEG
        self.carried = False
        self._rate_dps = 0.0

    @property
    def unknown(self) -> bool:
        """True while it may point anywhere."""
        return self.carried and self.sigma_deg > UNKNOWN_DEG

    def told(self, state: VehicleState, *, stated: bool = True) -> VehicleState:
        """The state with a heading: its own, or the one carried on. `stated`: False where what it has is none of its
        own."""
        self.carried = not stated or state.yaw_deg is None or not math.isfinite(state.yaw_deg)
        if self.carried:
            return replace(state, yaw_deg=self.deg)
        assert state.yaw_deg is not None
        self.deg, self.sigma_deg, self._rate_dps = state.yaw_deg, STATED_DEG, 0.0
        return state

    def turned(self, turn_deg: float | None, seconds: float) -> None:
        """Takes in a turn since the frame before; `None`: it could not be measured."""
        if turn_deg is None:
            self._rate_dps = 0.0
            self.sigma_deg = min(self.sigma_deg + TURNS_DEG_PER_S * seconds, ANY_DEG)
            return
        self.deg = (self.deg + turn_deg) % 360.0
        self.sigma_deg = min(math.hypot(self.sigma_deg, TURN_SIGMA_DEG), ANY_DEG)
        self._rate_dps = turn_deg / seconds if seconds > 0.0 else 0.0

    def matched(self, sigma_deg: float) -> None:
        """A match was taken in under it, with the errors that are followed beside it."""
        self.sigma_deg = min(self.sigma_deg, max(sigma_deg, MATCHED_DEG))

    def doubt(self) -> None:
        """Nothing was found under it for a while."""
        self.sigma_deg = min(self.sigma_deg + DOUBT_DEG, ANY_DEG)

    def expected_deg(self, seconds: float) -> float:
        """The turn that goes on as the last one did."""
        return self._rate_dps * seconds


def turn_between(before: Look, seen: Look, expected_deg: float, reach_m: float) -> float | None:
    """How far the vehicle turned between two frames that were looked at under the same carried heading, clockwise,
    degrees; `None` where the pictures do not agree. `expected_deg`: where to look first; `reach_m`: the longest
    movement."""
    # What was corrected in between turns the pictures, but not the vehicle.
    corrected_deg = math.remainder(seen.turn_deg + seen.turned_deg - before.turn_deg - before.turned_deg, 360.0)
    gsd_m = 2.0 * max(before.correlator.level.gsd_m, seen.correlator.level.gsd_m)
    earlier = before.placed(gsd_m)
    scores: dict[float, float] = {}

    def score(turn_deg: float) -> float:
        if abs(turn_deg) > FARTHEST_DEG:
            return -1.0
        if turn_deg not in scores:
            later = replace(seen, turned_deg=seen.turned_deg + turn_deg).placed(gsd_m)
            scores[turn_deg] = likeness(earlier, later, reach_m)
        return scores[turn_deg]

    first = max(-FARTHEST_DEG, min(FARTHEST_DEG, expected_deg - corrected_deg))
    best = max((first - STEP_DEG, first, first + STEP_DEG), key=score)
    if score(best) < MIN_CORRELATION:
        steps = round(FARTHEST_DEG / COARSE_STEP_DEG)
        best = max((COARSE_STEP_DEG * step for step in range(-steps, steps + 1)), key=score)
    while True:
        left, right = score(best - STEP_DEG), score(best + STEP_DEG)
        if max(left, right) <= score(best):
            break
        best += STEP_DEG if right > left else -STEP_DEG
    if score(best) < MIN_CORRELATION:
        return None
    # Once more around what that says: a parabola over wide steps leans to its middle.
    best = _vertex(score, best, STEP_DEG)
    return _vertex(score, best, FINE_STEP_DEG) + corrected_deg


def _vertex(score: Callable[[float], float], middle: float, step: float) -> float:
    """Where a parabola through three scores is highest, within a step of their middle."""
    left, right = score(middle - step), score(middle + step)
    curvature = left - 2.0 * score(middle) + right
    if curvature >= 0.0:
        return middle
    return middle + step * max(-1.0, min(1.0, 0.5 * (left - right) / curvature))

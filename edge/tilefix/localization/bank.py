"""Wrong headings and heights: what the map is searched under when the picture, as stated, fits nowhere.

A heading wrong by more than about 4 degrees or a height wrong by more than 4 % takes a picture's correlation with the
map down to what other places reach. So while nothing fits, a few combinations of the two errors a frame are searched
for, in turn, the likely ones first, on the next coarser level of the map: a quarter of the work, and rims that move
half as many pixels tolerate twice the error. What is found there is a proposal only: it is refined at the fine level,
and must then gather evidence over new ground as any other place must.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tilefix.localization.belief import Belief
from tilefix.localization.look import Look
from tilefix.localization.register import Surface, Template, background_spread
from tilefix.localization.search import likely_blocks
from tilefix.localization.settings import LocalizerSettings
from tilefix.localization.trial import Trial, trial_at

# Half a step off in both, a picture keeps half of its score or more at the coarser level.
TURN_STEP_DEG = 5.0
SCALE_STEP = 1.065
MIN_SIDE_PX = 49  # of a template at the coarser level; smaller ones are searched at their own
PROPOSE_Z_SCORE = 5.0  # the best of a map with nothing to find reaches about that much
PROPOSALS = 2  # a frame
ERRORS_A_FRAME = 6
TURNS_A_FRAME = 12  # of those of a whole circle
FINER = ((-2.5, 1.0), (2.5, 1.0), (0.0, 1.0 / 1.033), (0.0, 1.033), (-1.25, 1.0), (1.25, 1.0))


@dataclass(frozen=True, slots=True)
class Errors:
    """The heading is `turn_deg` larger than stated, the height `scale` times what is stated."""

    turn_deg: float
    scale: float


def errors_to_try(heading_error_deg: float, height_error: float, *, any_heading: bool = False) -> list[Errors]:
    """Combinations that leave no error within the bounds further than half a step away, the likeliest first:
    `any_heading`: every heading, all of them at the stated height first."""
    if any_heading:
        circle = errors_to_try(180.0, 0.0)
        heights = errors_to_try(0.0, height_error)
        return [Errors(turn.turn_deg, height.scale) for height in heights for turn in circle]
    # What half a step beyond the last covers need not be looked for; a circle closes.
    turns = math.ceil(min(heading_error_deg, 180.0) / TURN_STEP_DEG - 0.5)
    scales = math.ceil(math.log1p(height_error) / math.log(SCALE_STEP) - 0.5)
    table = [
        (
            math.hypot(turn * TURN_STEP_DEG / max(heading_error_deg, TURN_STEP_DEG), scale / max(scales, 1)),
            Errors(turn * TURN_STEP_DEG, SCALE_STEP**scale),
        )
        for turn in range(-max(turns, 0), max(turns, 0) + 1)
        for scale in range(-max(scales, 0), max(scales, 0) + 1)
        if turn * TURN_STEP_DEG > -180.0
    ]
    return [errors for _, errors in sorted(table, key=lambda item: item[0])]


@dataclass(frozen=True, slots=True)
class _Proposal:
    z_score: float
    east_m: float
    north_m: float
    errors: Errors


class Bank:
    """Goes through the errors, a few of them a frame. Keeps its place between frames, nothing else. `any_heading`: none
    is known."""

    def __init__(self, settings: LocalizerSettings, *, any_heading: bool = False) -> None:
        self._table = errors_to_try(settings.heading_error_deg, settings.height_error, any_heading=any_heading)
        # A circle is worth as much as the search for the frame itself.
        self._a_frame = TURNS_A_FRAME if any_heading else ERRORS_A_FRAME
        self._budget_px = settings.search_budget_px if any_heading else settings.search_budget_px // 2
        self._next = 0

    def begin(self) -> None:
        """Starts over with the likeliest."""
        self._next = 0

    def propose(self, seen: Look, belief: Belief, spread: float) -> tuple[Trial, Look] | None:
        """The best match under this frame's share of the errors, refined, and the frame as it looks from there; `None`
        when none stands out.

        `spread`: of the scores that do not match, at the fine level.
        """
        proposals: list[_Proposal] = []
        budget_px = self._budget_px
        tried = 0
        while tried < min(self._a_frame, len(self._table)) and budget_px > 0:
            errors = self._table[self._next]
            self._next = (self._next + 1) % len(self._table)
            tried += 1
            proposal, looked_px = self._search(seen, belief, errors, budget_px)
            budget_px -= max(looked_px, 1)
            if proposal is not None:
                proposals.append(proposal)
        proposals.sort(key=lambda one: -one.z_score)
        best: tuple[Trial, Look] | None = None
        for one in proposals[:PROPOSALS]:
            there = seen.at(one.east_m, one.north_m)
            # Found over a plane at the mean height: above the place's own ground that part of the error is none.
            scale = one.errors.scale * seen.view.agl_m / there.view.agl_m
            trial = _refined(there, replace(one, errors=replace(one.errors, scale=scale)), spread)
            if trial is not None and (best is None or trial.peak.correlation > best[0].peak.correlation):
                best = trial, there
        return best

    def _search(self, seen: Look, belief: Belief, errors: Errors, budget_px: int) -> tuple[_Proposal | None, int]:
        """The place that fits best under these errors, and how many pixels were looked at."""
        correlator, size_px = seen.coarser(MIN_SIDE_PX)
        template = Template(
            seen.cut(correlator.level.gsd_m, size_px, errors.turn_deg - seen.turn_deg, errors.scale / seen.scale)
        )
        surfaces = []
        looked_px = 0
        for block in likely_blocks(correlator, seen.offset_m, belief, None, budget_px):
            surface = correlator.search_block(template, block)
            looked_px += surface.values.size
            if np.isfinite(surface.values).any():
                surfaces.append(surface)
        if not surfaces:
            return None, looked_px
        spread = background_spread(np.concatenate([s.values[::3, ::3].ravel() for s in surfaces]))
        best = max(surfaces, key=lambda s: float(np.nanmax(s.values)))
        z_score, east_m, north_m = _peak(best, spread)
        if z_score < PROPOSE_Z_SCORE:
            return None, looked_px
        place = east_m - seen.offset_m[0], north_m - seen.offset_m[1]
        return _Proposal(z_score, *place, errors), looked_px


def _peak(surface: Surface, spread: float) -> tuple[float, float, float]:
    row, column = divmod(int(np.nanargmax(surface.values)), surface.values.shape[1])
    place = surface.level.to_local(surface.column + column, surface.row + row)
    return float(surface.values[row, column]) / spread, *place


def _refined(seen: Look, proposal: _Proposal, spread: float) -> Trial | None:
    """The proposal at the fine level, over small steps of both errors."""
    reach_m = 3.0 * seen.correlator.level.gsd_m
    turn_deg, scale = proposal.errors.turn_deg - seen.turn_deg, proposal.errors.scale / seen.scale
    best = trial_at(seen, proposal.east_m, proposal.north_m, spread, reach_m, turn_deg, scale, None)
    for more_deg, more in FINER:
        if best is None:
            return None
        trial = trial_at(
            seen, proposal.east_m, proposal.north_m, spread, reach_m, best.turn_deg + more_deg, best.scale * more, None
        )
        if trial is not None and trial.peak.correlation > best.peak.correlation:
            best = trial
    return best

"""Where is it? One frame searched for over the whole map and weighed into the belief."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tilefix.localization.bank import Bank
from tilefix.localization.belief import MODE_REACH_CELLS, Belief, Mode
from tilefix.localization.look import Look
from tilefix.localization.search import RATIO_RANGE, RATIO_SLOPE, Searcher, tile_log_ratio
from tilefix.localization.settings import LocalizerSettings
from tilefix.localization.trial import Trial, trial_at, try_out
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Embedder
from tilefix.types import Float32Array, Reason

# Of a map with more tiles than this, after a hint or a fix, only the descriptors around the belief are read, but those
# of the whole map for every so many frames: what was hinted may be wrong.
MANY_TILES = 100_000
EVERYWHERE_EACH = 4
FEWEST_TILES = 64  # whose similarities tell what is usual
NEAR_M = 1000.0  # a belief as wide as this has a place
PEAK_LEVEL_PX = 2.5  # from a peak's middle to where it ends
CLEAR_Z_SCORE = 12.0  # of a match that no wrong heading and place reach
BETTER_BY = 1.5  # in z-score, than the heading supposed
HELD = 0.5  # probability of a place that holds the belief
UNSUPPORTED_FRAMES = 3  # without a match under assumed errors, then they are taken for wrong


@dataclass(frozen=True, slots=True)
class Found:
    """What one frame came to. `match`: that the picture fits, if it does, as it looks from `there`; `settled`: and that
    the belief holds it. `plain`: errors assumed so far have not helped for long. `reason`: why it is not settled."""

    match: Trial | None = None
    there: Look | None = None
    settled: bool = False
    plain: bool = False
    reason: Reason | None = None


class Acquisition:
    """Searches for frames while the place is unknown. Keeps counts between frames; the belief is its owner's."""

    def __init__(
        self, package: MapPackage, index: TileIndex, embedder: Embedder, belief: Belief, settings: LocalizerSettings
    ) -> None:
        self._package, self._index, self._embedder = package, index, embedder
        self._belief, self._settings = belief, settings
        self._searcher = Searcher(package.tile_centres_m, settings.search_budget_px)
        self._bank = Bank(settings)
        self._circle = Bank(settings, any_heading=True)
        self._searches = 0
        self._unsupported = 0

    def begin(self) -> None:
        """The place was lost, or never known."""
        self._unsupported = 0
        self._bank.begin()
        self._circle.begin()

    def tile_evidence(self, seen: Look, *, placed: bool) -> Float32Array:
        """Log ratio of every tile's descriptor; `placed`: the belief started from a hint or a fix."""
        manifest = self._embedder.manifest
        patch = seen.coloured(self._package.manifest.patch_m / manifest.patch_px, manifest.patch_px)
        descriptor = self._embedder.embed(patch.image[None], patch.mask[None])[0]
        self._searches += 1
        if placed and len(self._index) > MANY_TILES and self._searches % EVERYWHERE_EACH:
            east_m, north_m, half_m = self._belief.spread_m()
            if half_m <= NEAR_M:
                place = east_m + seen.offset_m[0], north_m + seen.offset_m[1]
                tiles, near = self._index.similarities_near(descriptor, *place, 2.0 * half_m + seen.view.extent_m)
                if tiles.size >= FEWEST_TILES:
                    evidence = np.full(len(self._index), -np.inf, np.float32)  # nobody looked
                    evidence[tiles] = tile_log_ratio(near)
                    return evidence
        return tile_log_ratio(self._index.similarities(descriptor))

    def search(self, seen: Look, tiles: Float32Array, new_ground: float, *, any_heading: bool = False) -> Found:
        """Weighs the frame into the belief; settled when one place holds it and the picture agrees all over.
        `any_heading`: the heading may be any, not only one wrong by as much as the settings say."""
        belief = self._belief
        evidence = self._searcher.everywhere(seen.correlator, seen.template, seen.offset_m, belief, tiles)
        if not evidence.surfaces:
            belief.update(np.full_like(evidence.log_ratio, np.nan), new_ground)
            return Found(reason=Reason.OFF_MAP)
        promising = belief.log_posterior() + np.nan_to_num(evidence.log_ratio, nan=0.0)
        row, column = divmod(int(promising.argmax()), belief.columns)
        easts, norths = belief.centres()
        place = float(easts[column]), float(norths[row])
        there = seen.at(*place)
        best = try_out(there, *place, evidence.spread, belief.cell_m, self._settings)
        ratio = evidence.log_ratio
        if best is not None:
            cell = belief.cell_of(best.peak.east_m - there.offset_m[0], best.peak.north_m - there.offset_m[1])
            if 0 <= cell[0] < belief.rows and 0 <= cell[1] < belief.columns:
                gained = RATIO_SLOPE * (
                    best.peak.z_score - self._searched_z_score(seen, best, there, place, evidence.spread)
                )
                known = float(np.nan_to_num(ratio[cell], nan=0.0))
                # However well it fits under other errors, one look decides no more than any look may.
                ratio[cell] = max(known, min(known + gained, RATIO_RANGE[1]))
        belief.update(ratio, new_ground)
        # A coarse level's peak is as wide as its pixels.
        wide_m = PEAK_LEVEL_PX * seen.correlator.level.gsd_m
        mode = belief.mode(max(MODE_REACH_CELLS, math.ceil(wide_m / belief.cell_m)))
        reason = Reason.NO_MATCH if mode.nowhere > 0.5 else Reason.AMBIGUOUS  # nothing fits, or several places do
        if best is None or not self._fits(best):
            return self._doubt_errors(seen, evidence.spread, reason, mode, any_heading=any_heading)
        self._unsupported = 0
        settled = self._settled(mode, best, there)
        if any_heading and not settled and best.peak.z_score < CLEAR_Z_SCORE:
            # Of all headings and places, several fit by chance: a better one may be among those not tried yet.
            other = self._circle.propose(seen, belief, evidence.spread)
            if other is not None and self._fits(other[0]) and other[0].peak.z_score > best.peak.z_score + BETTER_BY:
                belief.reconsider()
                return Found(*other, reason=reason)
        return Found(best, there, settled, reason=None if settled else reason)

    def _searched_z_score(
        self, seen: Look, best: Trial, there: Look, place: tuple[float, float], spread: float
    ) -> float:
        """What the map was searched with scores at the best place: over terrain, the picture as it looks from there
        scores more, and that is evidence for the place."""
        if there is seen:
            return best.plain_z_score
        plain = trial_at(seen, *place, spread, self._belief.cell_m, 0.0, 1.0, None)
        return best.plain_z_score if plain is None else min(plain.peak.z_score, best.plain_z_score)

    def _doubt_errors(self, seen: Look, spread: float, reason: Reason, mode: Mode, *, any_heading: bool) -> Found:
        """Nothing fits under the errors assumed: looks under others, and gives up those that do not help."""
        self._unsupported += 1
        # The right heading is seldom come by: while a place holds the belief it is not given up for a few frames.
        held = any_heading and mode.probability > HELD
        other = None if held else (self._circle if any_heading else self._bank).propose(seen, self._belief, spread)
        if other is not None and self._fits(other[0]):
            self._unsupported = 0
            self._belief.reconsider()
            return Found(*other, reason=reason)
        given_up = self._unsupported >= UNSUPPORTED_FRAMES and not held
        if given_up:
            self._unsupported = 0
        return Found(plain=given_up, reason=reason)

    def _fits(self, match: Trial) -> bool:
        """True when the picture agrees with the map all over, at that place."""
        s = self._settings
        return match.peak.z_score >= s.settle_z_score and match.support >= s.settle_support

    def _settled(self, mode: Mode, best: Trial, seen: Look) -> bool:
        s = self._settings
        away_m = math.hypot(
            best.peak.east_m - seen.offset_m[0] - mode.east_m, best.peak.north_m - seen.offset_m[1] - mode.north_m
        )
        return (
            mode.probability >= s.settle_probability
            and self._belief.evidence_near(mode.east_m, mode.north_m) >= s.settle_evidence
            and away_m <= max(2.5 * self._belief.cell_m, PEAK_LEVEL_PX * seen.correlator.level.gsd_m)
        )

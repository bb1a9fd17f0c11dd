"""The pure decision: a frame and the vehicle's state in, a `Fix` or a `NoFix` with its reason out.

No clock, thread, socket or file: equal inputs give equal answers, so a recorded flight replays exactly. While the place
is unknown, every frame is searched for over the whole map (`search`) and weighed into the belief (`belief`); once one
place holds nearly all probability and the picture agrees with the map all over (`register.support`), the vehicle is
tracked in a small window (`track`). A frame that does not match lets the position coast on the camera's own motion
(`motion`), for a bounded time.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from tilefix.belief import Belief, Mode
from tilefix.camera import CameraModel, Mount
from tilefix.gates import leaning_mps2
from tilefix.ground import Place
from tilefix.look import Look, Looker
from tilefix.mappackage import MapPackage
from tilefix.motion import Placed, motion_between
from tilefix.ports import Embedder
from tilefix.register import Peak, Surface, background_spread, refine_peak
from tilefix.search import RATIO_SLOPE, Searcher, gather, tile_log_ratio
from tilefix.settings import LocalizerSettings
from tilefix.tileindex import TileIndex
from tilefix.timing import StageTimer
from tilefix.track import MapOffset, Odometry
from tilefix.trial import Trial, correlation_at, try_out
from tilefix.types import (
    FIX_MAX_MATCH_AGE_S,
    Covariance,
    Fix,
    FixKind,
    Float32Array,
    Frame,
    NoFix,
    Reason,
    VehicleState,
    fix_max_sigma_m,
)

__all__ = ["Localizer", "LocalizerSettings"]

WINDOW_PX = 72  # half side of the tracking window: wide enough to know what a wrong place scores
# Of a map with more tiles than this, after a hint or a fix, only the descriptors around the belief are read, but those
# of the whole map for every so many frames: what was hinted may be wrong.
MANY_TILES = 100_000
EVERYWHERE_EACH = 4
FEWEST_TILES = 64  # whose similarities tell what is usual
NEAR_M = 1000.0  # a belief as wide as this has a place
RETRY_SHARE = 0.75  # of the usual correlation: below it, heading and height errors are tried out again


class Localizer:
    """Position of one vehicle on one map. See the module's page for how."""

    def __init__(
        self,
        package: MapPackage,
        index: TileIndex,
        embedder: Embedder,
        camera: CameraModel,
        mount: Mount,
        settings: LocalizerSettings | None = None,
    ) -> None:
        self._package = package
        self._index = index
        self._embedder = embedder
        self._settings = settings or LocalizerSettings()
        self._looker = Looker(package, camera, mount, self._settings)
        self._searcher = Searcher(package.tile_centres_m, self._settings.search_budget_px)
        gsd = package.grid.gsd_m
        span = max(package.grid.width_px, package.grid.height_px) * gsd
        # Cells of six map pixels, coarser on a map so large that a million cells would not cover it.
        self._belief = Belief(package.grid, max(6.0 * gsd, span / 1000.0))
        self._fix_sigma_m = fix_max_sigma_m(gsd)
        self._odometry = Odometry(self._settings.acceleration_mps2)
        self._offset: MapOffset | None = None
        self._before: Placed | None = None
        self._at_ns: int | None = None
        self._matched_ns = self._moved_ns = 0
        self._bias_sigma_m = 0.0
        self._turn_deg, self._scale = 0.0, 1.0
        self._new_ground = 0.0
        self._probe = 0
        self._searches = 0
        self._has_prior = False
        self._usual_correlation = 0.0
        self._reason: Reason | None = Reason.NO_FRAME

    @property
    def usual_correlation(self) -> float | None:
        """Running mean of the correlation with the map that accepted matches have; `None` before the first."""
        return self._usual_correlation or None

    def reset(self) -> None:
        """Forgets where the vehicle is: anywhere on the map is equally likely. The camera's motion is kept."""
        self._belief.start_uniform()
        self._offset = None
        self._has_prior = False
        self._turn_deg, self._scale = 0.0, 1.0
        self._new_ground = 0.0

    def hint(self, lat_deg: float, lon_deg: float, sigma_m: float) -> None:
        """Starts the belief near a place. A wrong hint is overcome by the pictures, only later."""
        self.reset()
        east_m, north_m = self._package.frame.to_local(lat_deg, lon_deg)
        self._belief.start_near(east_m, north_m, sigma_m)
        self._has_prior = True

    def process(self, frame: Frame, state: VehicleState, timer: StageTimer | None = None) -> Fix | NoFix:
        """The position at the frame's exposure. `state` is the vehicle's at that instant."""

        def stage(name: str) -> AbstractContextManager[None]:
            return nullcontext() if timer is None else timer.stage(name)

        if self._at_ns is not None and frame.captured_ns <= self._at_ns:
            self._reason = Reason.STALE_FRAME
            return self.predict(self._at_ns)
        with stage("rectify"):
            seen = self._looker.look(frame, state, self._turn_deg, self._scale, self._believed(frame.captured_ns))
        with stage("track"):
            if isinstance(seen, Reason):
                # Nothing is seen of the motion, but a vehicle that leans accelerates.
                self._odometry.expect(leaning_mps2(state))
                self._move_blind(frame.captured_ns)
            else:
                self._odometry.expect(0.0)
                self._move(seen)
        if isinstance(seen, Reason):
            self._reason = seen
        elif self._offset is None or self._match_age_s(frame.captured_ns) > self._settings.research_after_s:
            with stage("embed"):
                tiles = self._tile_evidence(seen)
            with stage("search"):
                self._reason = self._acquire(seen, tiles)
        else:
            with stage("register"):
                self._reason = self._follow(seen)
        if self._reason in (Reason.NO_MATCH, Reason.AMBIGUOUS) and self._beyond_imagery():
            self._reason = Reason.OFF_MAP
        if not isinstance(seen, Reason):
            self._give_up_if_doubted()
        return self.predict(frame.captured_ns)

    def _place(self, offset: MapOffset) -> tuple[float, float]:
        """East and north of the tracked vehicle: the odometry, moved onto the map."""
        return self._odometry.raw_east_m + offset.east_m, self._odometry.raw_north_m + offset.north_m

    def _believed(self, at_ns: int) -> Place | None:
        """Where the vehicle is at an instant, as far as it is known: only asked for on a map with terrain."""
        if self._package.terrain is None:
            return None
        if self._offset is None or self._at_ns is None:
            return Place(*self._belief.spread_m())
        state, covariance = self._odometry.at((at_ns - self._at_ns) / 1e9)
        spread_m = math.sqrt(float(np.trace(covariance[:2, :2] + self._offset.covariance_m2)))
        return Place(float(state[0]) + self._offset.east_m, float(state[1]) + self._offset.north_m, 2.0 * spread_m)

    def _beyond_imagery(self) -> bool:
        """True where the last known place, carried on, has no imagery."""
        if self._offset is None:
            return False
        grid = self._package.grid
        east_m, north_m = self._place(self._offset)
        if not grid.contains(east_m, north_m):
            return True
        column, row = grid.to_pixel(east_m, north_m)
        row, column = min(max(row, 0.0), grid.height_px - 1.0), min(max(column, 0.0), grid.width_px - 1.0)
        return int(self._package.coverage[round(row), round(column)]) == 0

    def _match_age_s(self, at_ns: int) -> float:
        return max(0.0, (at_ns - self._matched_ns) / 1e9)

    def _tile_evidence(self, seen: Look) -> Float32Array:
        manifest = self._embedder.manifest
        gsd_m = self._package.manifest.patch_m / manifest.patch_px
        patch = seen.coloured(gsd_m, manifest.patch_px)
        descriptor = self._embedder.embed(patch.image[None], patch.mask[None])[0]
        self._searches += 1
        if self._has_prior and len(self._index) > MANY_TILES and self._searches % EVERYWHERE_EACH:
            east_m, north_m, half_m = self._belief.spread_m()
            if half_m <= NEAR_M:
                place = east_m + seen.offset_m[0], north_m + seen.offset_m[1]
                tiles, near = self._index.similarities_near(descriptor, *place, 2.0 * half_m + seen.view.extent_m)
                if tiles.size >= FEWEST_TILES:
                    evidence = np.full(len(self._index), -np.inf, np.float32)  # nobody looked
                    evidence[tiles] = tile_log_ratio(near)
                    return evidence
        return tile_log_ratio(self._index.similarities(descriptor))

    # Motion

    def _move(self, seen: Look) -> None:
        """Carries odometry and belief to this frame by the camera's motion since the one before."""
        placed = Placed(seen.template, *seen.offset_m, seen.correlator.level.gsd_m)
        before, self._before = self._before, placed
        if self._at_ns is None or before is None:
            self._move_blind(seen.at_ns)
            self._before = placed
            return
        seconds = (seen.at_ns - self._at_ns) / 1e9
        s = self._settings
        motion = motion_between(before, placed, s.max_speed_mps * seconds + 4.0 * seen.attitude_sigma_m)
        if motion is None:
            self._move_blind(seen.at_ns)
            self._before = placed
            return
        self._at_ns = self._moved_ns = seen.at_ns
        distance_m = math.hypot(motion.east_m, motion.north_m)
        # A height that is too small by a tenth makes the motion too short by a tenth.
        drift_m = math.hypot(max(s.odometry_drift, seen.height_sigma) * distance_m, motion.sigma_m)
        self._odometry.propagate(seconds)
        self._odometry.observe(motion.east_m, motion.north_m, seen.attitude_sigma_m, motion.sigma_m)
        self._belief.move(motion.east_m, motion.north_m, drift_m)
        if self._offset is not None:
            self._offset.drift(drift_m)
        self._new_ground = min(1.0, self._new_ground + distance_m / math.sqrt(seen.view.area_m2))

    def _move_blind(self, at_ns: int) -> None:
        """Carries odometry and belief on without a picture of the motion."""
        self._before = None
        if self._at_ns is None:
            self._at_ns = at_ns
            return
        seconds = (at_ns - self._at_ns) / 1e9
        self._at_ns = at_ns
        if not self._odometry.has_velocity:
            self._belief.move_unknown(self._settings.max_speed_mps * seconds)
            if self._offset is not None:
                self._offset.jump(self._settings.max_speed_mps * seconds)
            return
        raw = (self._odometry.raw_east_m, self._odometry.raw_north_m)
        self._odometry.propagate(seconds)
        sigma_m = self._odometry.skip()
        east_m, north_m = self._odometry.raw_east_m - raw[0], self._odometry.raw_north_m - raw[1]
        self._belief.move(east_m, north_m, sigma_m)
        if self._offset is not None:
            self._offset.drift(sigma_m)

    # Where is it?

    def _acquire(self, seen: Look, tiles: Float32Array) -> Reason | None:
        """Searches the whole map; settles when one place holds the belief and the picture agrees all over."""
        self._turn_deg, self._scale = 0.0, 1.0
        evidence = self._searcher.everywhere(seen.correlator, seen.template, seen.offset_m, self._belief, tiles)
        if not evidence.surfaces:
            self._weigh(np.full_like(evidence.log_ratio, np.nan))
            return Reason.OFF_MAP
        promising = self._belief.log_posterior() + np.nan_to_num(evidence.log_ratio, nan=0.0)
        row, column = divmod(int(promising.argmax()), self._belief.columns)
        easts, norths = self._belief.centres()
        place = float(easts[column]), float(norths[row])
        there = seen.at(*place)
        best = try_out(there, *place, evidence.spread, self._belief.cell_m, self._settings)
        ratio = evidence.log_ratio
        if best is not None:
            cell = self._belief.cell_of(best.peak.east_m - there.offset_m[0], best.peak.north_m - there.offset_m[1])
            if 0 <= cell[0] < self._belief.rows and 0 <= cell[1] < self._belief.columns:
                gained = RATIO_SLOPE * (best.peak.z_score - best.plain_z_score)
                ratio[cell] = np.nan_to_num(ratio[cell], nan=0.0) + max(0.0, gained)
        self._weigh(ratio)
        mode = self._belief.mode()
        if best is None or not self._settled(mode, best, there):
            return _why_unsettled(mode)
        self._before = Placed(there.template, *there.offset_m, there.correlator.level.gsd_m)
        self._correct(there, best)
        self._anchor(there, best.peak)
        return None

    def _settled(self, mode: Mode, best: Trial, seen: Look) -> bool:
        s = self._settings
        away_m = math.hypot(
            best.peak.east_m - seen.offset_m[0] - mode.east_m, best.peak.north_m - seen.offset_m[1] - mode.north_m
        )
        return (
            mode.probability >= s.settle_probability
            and self._belief.evidence_near(mode.east_m, mode.north_m) >= s.settle_evidence
            and away_m <= 2.5 * self._belief.cell_m
            and best.peak.z_score >= s.settle_z_score
            and best.support >= s.settle_support
        )

    def _weigh(self, log_ratio: Float32Array) -> None:
        self._belief.update(log_ratio, self._new_ground)
        self._new_ground = 0.0

    def _correct(self, seen: Look, best: Trial) -> None:
        """Takes over the heading and height error of a match, for the next frame's motion too."""
        self._turn_deg, self._scale = seen.turn_deg + best.turn_deg, seen.scale * best.scale
        if best.turn_deg or best.scale != 1.0:
            template = seen.turned(best.turn_deg, best.scale)
            self._before = Placed(template, *seen.offset_m, seen.correlator.level.gsd_m)

    def _anchor(self, seen: Look, peak: Peak) -> None:
        """Takes up tracking at a match."""
        self._belief.commit()
        self._has_prior = True
        east_m, north_m = peak.east_m - seen.offset_m[0], peak.north_m - seen.offset_m[1]
        self._offset = MapOffset(
            east_m - self._odometry.raw_east_m, north_m - self._odometry.raw_north_m, peak.covariance_m2
        )
        self._usual_correlation = peak.correlation
        self._matched(seen, peak)

    def _matched(self, seen: Look, peak: Peak) -> None:
        self._usual_correlation += 0.2 * (peak.correlation - self._usual_correlation)
        self._matched_ns = self._moved_ns = seen.at_ns
        self._bias_sigma_m = seen.bias_sigma_m

    # Still there?

    def _follow(self, seen: Look) -> Reason | None:
        """Looks in a window around the tracked place; takes in the match, or says why there is none."""
        offset = self._offset
        assert offset is not None
        east_m, north_m = self._place(offset)
        level = seen.correlator.level
        column, row = (round(v) for v in level.to_pixel(east_m + seen.offset_m[0], north_m + seen.offset_m[1]))
        surface = seen.correlator.search(
            seen.template, column - WINDOW_PX, row - WINDOW_PX, 2 * WINDOW_PX + 1, 2 * WINDOW_PX + 1
        )
        evidence = gather([surface], seen.offset_m, self._belief, None)
        self._weigh(evidence.log_ratio)
        return self._take_in(seen, surface, offset) if evidence.surfaces else Reason.OFF_MAP

    def _give_up_if_doubted(self) -> None:
        """Drops a place that the belief has left: it no longer coasts, and says so."""
        offset = self._offset
        if offset is None:
            return
        east_m, north_m = self._place(offset)
        near_m = max(2.0 * self._belief.cell_m, 3.0 * math.sqrt(float(np.trace(offset.covariance_m2))))
        if self._belief.probability_near(east_m, north_m, near_m) < self._settings.lose_probability:
            self._offset = None
            self._has_prior = False
            self._turn_deg, self._scale = 0.0, 1.0
            self._reason = self._reason or Reason.AMBIGUOUS

    def _take_in(self, seen: Look, surface: Surface, offset: MapOffset) -> Reason | None:
        spread = background_spread(surface.values)
        at = divmod(int(np.nanargmax(surface.values)), surface.values.shape[1])
        peak = refine_peak(surface, at[0], at[1], spread)
        if peak.correlation < RETRY_SHARE * self._usual_correlation:
            # The heading or the height may have jumped: try their errors out before giving up.
            best = try_out(seen, *self._place(offset), spread, self._belief.cell_m, self._settings)
            if best is not None and best.peak.correlation > peak.correlation:
                peak = best.peak
                self._correct(seen, best)
        if peak.z_score < self._settings.track_z_score:
            return Reason.NO_MATCH
        east_m = peak.east_m - seen.offset_m[0] - self._odometry.raw_east_m
        north_m = peak.north_m - seen.offset_m[1] - self._odometry.raw_north_m
        if offset.distance2(east_m, north_m, peak.covariance_m2) > 16.0:
            return Reason.IMPLAUSIBLE_JUMP
        offset.observe(east_m, north_m, peak.covariance_m2)
        self._matched(seen, peak)
        self._adapt(seen, peak)
        # Tracking leaves time to get ready for the day that the place is lost.
        seen.correlator.warm(seen.template)
        return None

    def _adapt(self, seen: Look, peak: Peak) -> None:
        """Follows slow errors of heading and height: tries one of the two a little to both sides each frame."""
        self._probe += 1
        s = self._settings
        turn = self._probe % 2 == 0
        step = 3.0 if turn else 0.03
        east_m, north_m = peak.east_m - seen.offset_m[0], peak.north_m - seen.offset_m[1]
        scores = []
        for side in (-1.0, 1.0):
            turn_deg, scale = (side * step, 1.0) if turn else (0.0, 1.0 + side * step)
            correlation = correlation_at(seen, east_m, north_m, self._belief.cell_m, turn_deg, scale)
            scores.append(-1.0 if correlation is None else correlation)
        curvature = scores[0] - 2.0 * peak.correlation + scores[1]
        if curvature < 0.0:
            shift = step * max(-1.0, min(1.0, 0.5 * (scores[0] - scores[1]) / curvature))
        else:
            shift = step if scores[1] > scores[0] else -step
        if turn:
            self._turn_deg = max(
                -1.5 * s.heading_error_deg, min(1.5 * s.heading_error_deg, self._turn_deg + 0.6 * shift)
            )
        else:
            bound = 1.0 + 2.0 * s.height_error
            self._scale = max(1.0 / bound, min(bound, self._scale * (1.0 + 0.6 * shift)))

    # What is said

    def predict(self, at_ns: int) -> Fix | NoFix:
        """The belief carried on to `at_ns` by the last known velocity, with its grown error."""
        offset, reason = self._offset, self._reason
        if offset is None or self._at_ns is None:
            return NoFix(at_ns, reason or Reason.AMBIGUOUS)
        ahead_s = max(0.0, (at_ns - self._at_ns) / 1e9)
        state, covariance = self._odometry.at(ahead_s)
        spread = covariance[:2, :2] + offset.covariance_m2 + self._bias_sigma_m**2 * np.eye(2)
        whole = Covariance(float(spread[0, 0]), float(spread[0, 1]), float(spread[1, 1]))
        age_s = self._match_age_s(at_ns)
        east_m, north_m = float(state[0]) + offset.east_m, float(state[1]) + offset.north_m
        if not self._package.grid.contains(east_m, north_m):
            return NoFix(at_ns, Reason.OFF_MAP)
        blind_s = (at_ns - self._moved_ns) / 1e9
        if blind_s > self._settings.max_blind_s:
            return NoFix(at_ns, reason or Reason.NO_FRAME)
        if age_s > self._settings.max_coast_s or whole.sigma_major > self._settings.max_sigma_m:
            return NoFix(at_ns, reason or Reason.NO_MATCH)
        tight = age_s <= FIX_MAX_MATCH_AGE_S and whole.sigma_major <= self._fix_sigma_m
        lat_deg, lon_deg = self._package.frame.to_geodetic(east_m, north_m)
        moving = self._odometry.has_velocity
        velocity = self._odometry.velocity_mps
        return Fix(
            at_ns=at_ns,
            kind=FixKind.FIX if tight else FixKind.COAST,
            lat_deg=lat_deg,
            lon_deg=lon_deg,
            east_m=east_m,
            north_m=north_m,
            covariance_m2=whole,
            match_age_s=age_s,
            velocity_east_mps=velocity[0] if moving else None,
            velocity_north_mps=velocity[1] if moving else None,
            velocity_covariance=self._odometry.velocity_covariance() if moving else None,
            reason=reason,
        )


def _why_unsettled(mode: Mode) -> Reason:
    """Nothing fits, or several places do."""
    return Reason.NO_MATCH if mode.nowhere > 0.5 else Reason.AMBIGUOUS

"""The pure decision: a frame and the vehicle's state in, a `Fix` or a `NoFix` with its reason out.

No clock, thread, socket or file: equal inputs give equal answers, so a recorded flight replays exactly. While the place
is unknown, every frame is searched for over the whole map (`search`) and weighed into the belief (`belief`); once one
place holds nearly all probability and the picture agrees with the map all over (`register.support`), the vehicle is
tracked in a small window (`follow`). A frame that does not match lets the position coast on the camera's own motion
(`motion`), for a bounded time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from tilefix.camera import CameraModel, Mount
from tilefix.geodesy import Grid
from tilefix.localization.acquire import Acquisition
from tilefix.localization.belief import Belief
from tilefix.localization.chain import Chain, Step
from tilefix.localization.fine import refined
from tilefix.localization.follow import Follower
from tilefix.localization.ground import Place
from tilefix.localization.look import Look
from tilefix.localization.mapoffset import MapOffset
from tilefix.localization.register import Peak
from tilefix.localization.search import gather
from tilefix.localization.seentilt import seen_tilt
from tilefix.localization.settings import LocalizerSettings
from tilefix.localization.trial import Trial
from tilefix.localization.viewing import Viewing
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Embedder
from tilefix.timing import StageTimer
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

FARTHEST2 = 16.0  # squared Mahalanobis distance of a match from where the motion leads
DOUBTED_FRAMES = 3  # fine matches as far off as that; one more is believed
WRONG_SHARE = 0.25  # of the way since a match that a heading gone wrong by 15 degrees leads astray
LEVEL_EVERY_NS = 1_000_000_000  # pictures are asked for their tilt
LEANED = (Reason.TILTED, Reason.HORIZON)
OUTVOTED_M = 200.0  # flown while another place seemed right: then the one before was not


# How much wider the ground is looked at, for its mean height, than the belief is.
UNSETTLED_M = 200.0


class Localizer:
    """Position of one vehicle on one map. See the module's page for how. `belief`: makes the one over the map's grid,
    from that and the size of its cells in metres."""

    def __init__(
        self,
        package: MapPackage,
        index: TileIndex,
        embedder: Embedder,
        camera: CameraModel,
        mount: Mount,
        settings: LocalizerSettings | None = None,
        *,
        belief: Callable[[Grid, float], Belief] = Belief,
    ) -> None:
        self._package = package
        self._settings = settings or LocalizerSettings()
        self._viewing = Viewing(package, camera, mount, self._settings)
        gsd = package.grid.gsd_m
        span = max(package.grid.width_px, package.grid.height_px) * gsd
        # Cells of six map pixels, coarser on a map so large that a million cells would not cover it.
        self._belief = belief(package.grid, max(6.0 * gsd, span / 1000.0))
        self._acquisition = Acquisition(package, index, embedder, self._belief, self._settings)
        self._follower = Follower(self._settings, self._belief.cell_m)
        self._fix_sigma_m = fix_max_sigma_m(gsd)
        self._chain = Chain(self._settings, mount)
        self._odometry = self._chain.odometry
        self._offset: MapOffset | None = None
        self._lost: MapOffset | None = None  # the place last given up: motion still says where that would be
        self._elsewhere_m = 0.0  # flown while one other place seemed right
        self._elsewhere: tuple[float, float] | None = None  # from odometry to that place
        self._since_match_m = 0.0
        self._matched_ns = self._levelled_ns = 0
        self._frame_s = 0.0
        self._bias_sigma_m = 0.0
        self._doubted = 0  # fine matches in a row that lay where the motion did not lead
        self._has_prior = False
        self._reason: Reason | None = Reason.NO_FRAME

    @property
    def usual_correlation(self) -> float | None:
        """Running mean of the correlation with the map that accepted matches have; `None` before the first."""
        return self._follower.usual_correlation or None

    def reset(self) -> None:
        """Forgets where the vehicle is: anywhere on the map is equally likely. The camera's motion is kept."""
        self._belief.start_uniform()
        self._offset = None
        self._has_prior = False
        self._acquisition.begin()
        self._chain.new_ground = 0.0
        self._lost, self._elsewhere_m = None, 0.0

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

        if self._chain.at_ns is not None and frame.captured_ns <= self._chain.at_ns:
            # The clock may have leapt: where the vehicle is by now is not known any more.
            return NoFix(self._chain.at_ns, Reason.STALE_FRAME)
        self._frame_s = 0.0 if self._chain.at_ns is None else (frame.captured_ns - self._chain.at_ns) / 1e9
        with stage("rectify"):
            seen, state = self._viewing.look(
                frame, state, self._chain.shown, self._frame_s, self._believed(frame.captured_ns)
            )
        with stage("track"):
            if isinstance(seen, Reason):
                self._carry(self._chain.move_blind(frame.captured_ns, state, leaned=seen in LEANED))
            else:
                self._carry(self._chain.move(seen, state))
        if isinstance(seen, Reason):
            self._reason = seen
            if seen is Reason.OUT_OF_SCALE and self._offset is None:
                self._viewing.scale = 1.0  # it may be what was thought to be wrong with the height that is
        elif self._offset is None or self._match_age_s(frame.captured_ns) > self._settings.research_after_s:
            with stage("embed"):
                tiles = self._acquisition.tile_evidence(seen, placed=self._has_prior)
            with stage("search"):
                self._reason = self._acquire(seen, tiles)
        else:
            with stage("register"):
                self._reason = self._follow(seen)
        if self._reason in (Reason.NO_MATCH, Reason.AMBIGUOUS) and self._beyond_imagery():
            self._reason = Reason.OFF_MAP
        if not isinstance(seen, Reason):
            self._give_up_if_doubted()
        elif seen is Reason.FROZEN_CAMERA:
            self._chain.broken = True
        return self.predict(frame.captured_ns)

    def _place(self, offset: MapOffset) -> tuple[float, float]:
        """East and north of the tracked vehicle: the odometry, moved onto the map."""
        return self._odometry.raw_east_m + offset.east_m, self._odometry.raw_north_m + offset.north_m

    def _believed(self, at_ns: int) -> Place | None:
        """Where the vehicle is at an instant, as far as it is known: only asked for on a map with terrain."""
        if self._package.terrain is None:
            return None
        if self._offset is None or self._chain.at_ns is None:
            # A belief that is not settled yet may be wrong: the ground around is as likely.
            east_m, north_m, half_m = self._belief.spread_m()
            return Place(east_m, north_m, 3.0 * half_m + UNSETTLED_M)
        state, covariance = self._odometry.at((at_ns - self._chain.at_ns) / 1e9)
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

    def _carry(self, step: Step) -> None:
        """Takes what is believed along with the vehicle."""
        places = [place for place in (self._offset, self._lost) if place is not None]
        unknown_m = step.unknown_m
        if self._viewing.blind_heading and self._offset is None:
            # Of a way whose direction is not known the next step goes on as this one: that adds up.
            unknown_m = max(unknown_m, 2.0 * math.hypot(step.east_m, step.north_m))
        if unknown_m:
            self._belief.move_unknown(unknown_m)
            for place in places:
                place.jump(unknown_m)
            return
        self._since_match_m += math.hypot(step.east_m, step.north_m)
        self._belief.move(step.east_m, step.north_m, step.sigma_m)
        for place in places:
            place.drift(step.sigma_m)

    # Where is it?

    def _acquire(self, seen: Look, tiles: Float32Array) -> Reason | None:
        """Searches the whole map; takes up tracking when the place is settled."""
        found = self._acquisition.search(
            seen, tiles, self._take_new_ground(), any_heading=self._viewing.heading.unknown
        )
        match = found.match
        # While a place is coasted on, what was known of heading and height there holds until another is settled.
        placed = self._offset is not None
        if match is None:
            if found.plain and not placed:
                errors = self._viewing.give_up()
                if errors != (self._viewing.turn_deg, self._viewing.scale):
                    self._assume(seen, *errors)
            return found.reason
        # Over terrain, the picture as it looks from that place.
        there = found.there or seen
        contradicted = found.settled and self._contradicted(there, match.peak)
        if found.settled and not contradicted:
            seen = there
            self._chain.show(there)
        if not placed or (found.settled and not contradicted):
            self._viewing.supposed = True
            self._correct(seen, match.turn_deg, match.scale)
        if contradicted:
            return Reason.IMPLAUSIBLE_JUMP
        if found.settled:
            self._anchor(there, match)
        return found.reason

    def _contradicted(self, seen: Look, peak: Peak) -> bool:
        """True while a place cannot be reached from where the vehicle was: the motion since then shows no leap.

        A map that shows here what lies elsewhere would be believed otherwise. But who was wrong before must come
        right: what seems right for long enough is.
        """
        known = self._offset or self._lost
        if known is None or self._chain.broken:
            return False
        east_m, north_m = self._offset_of(seen, peak)
        away_m = math.hypot(east_m - known.east_m, north_m - known.north_m)
        spread_m = math.sqrt(float(np.trace(known.covariance_m2)))
        if away_m <= 4.0 * spread_m + 3.0 * self._belief.cell_m + WRONG_SHARE * self._since_match_m:
            return False
        before, self._elsewhere = self._elsewhere, (east_m, north_m)
        if before is None or math.dist(before, self._elsewhere) > 4.0 * self._belief.cell_m:
            self._elsewhere_m = 0.0  # one place after another is no place
        self._elsewhere_m += math.hypot(*self._odometry.velocity_mps) * self._frame_s
        return self._elsewhere_m < OUTVOTED_M

    def _take_new_ground(self) -> float:
        taken, self._chain.new_ground = self._chain.new_ground, 0.0
        return taken

    def _correct(self, seen: Look, turn_deg: float, scale: float) -> None:
        """Takes over the heading and height error of a match."""
        if turn_deg or scale != 1.0:
            self._assume(seen, seen.turn_deg + turn_deg, seen.scale * scale)

    def _assume(self, seen: Look, turn_deg: float, scale: float) -> None:
        """Looks under these errors from here on, this frame included as far as the next one's motion needs it."""
        self._viewing.assume(turn_deg, scale)
        self._chain.show(seen.under(turn_deg - seen.turn_deg, scale / seen.scale))
        self._odometry.turn(turn_deg - seen.turn_deg)

    def _anchor(self, seen: Look, match: Trial) -> None:
        """Takes up tracking at a match."""
        self._belief.commit()
        self._has_prior = True
        peak = refined(seen, match.peak, match.turn_deg, match.scale)
        east_m, north_m = peak.east_m - seen.offset_m[0], peak.north_m - seen.offset_m[1]
        self._offset = MapOffset(
            east_m - self._odometry.raw_east_m, north_m - self._odometry.raw_north_m, peak.covariance_m2
        )
        self._follower.begin(peak.correlation)
        self._matched(seen)

    def _matched(self, seen: Look) -> None:
        self._chain.broken = False
        self._lost, self._elsewhere_m, self._since_match_m = None, 0.0, 0.0
        self._matched_ns = self._chain.moved_ns = seen.at_ns
        self._viewing.matched(self._follower.turn_sigma_deg)
        # What is seen aside of the point below shifts that point as the heading turns.
        aside_m = math.hypot(*seen.offset_m) * math.radians(self._viewing.carried_sigma_deg)
        self._bias_sigma_m = math.hypot(self._settings.map_sigma_m, aside_m)

    # Still there?

    def _follow(self, seen: Look) -> Reason | None:
        """Looks in a window around the tracked place; takes in the match, or says why there is none."""
        offset = self._offset
        assert offset is not None
        east_m, north_m = self._place(offset)
        surface = self._follower.window(seen, east_m, north_m)
        evidence = gather([surface], seen.offset_m, self._belief, None)
        self._belief.update(evidence.log_ratio, self._take_new_ground())
        if not evidence.surfaces:
            return Reason.OFF_MAP
        match = self._follower.best(seen, surface, east_m, north_m)
        if match.peak.z_score < self._settings.track_z_score:
            return Reason.NO_MATCH
        if offset.distance2(*self._offset_of(seen, match.peak), match.peak.covariance_m2) > FARTHEST2:
            return Reason.IMPLAUSIBLE_JUMP
        self._correct(seen, match.turn_deg, match.scale)
        refine, probe = self._follower.due(seen, math.hypot(*self._odometry.velocity_mps) * self._frame_s)
        jumped = (match.turn_deg, match.scale) != (0.0, 1.0)
        if refine or jumped:
            peak = self._plausible(seen, refined(seen, match.peak, match.turn_deg, match.scale), match.peak)
            offset.observe(*self._offset_of(seen, peak), peak.covariance_m2)
            if not jumped:
                self._level(seen, peak)
        self._follower.matched(match.peak)
        self._matched(seen)
        if probe and not jumped:
            self._viewing.follow(*self._follower.probe(seen, match.peak))
        # Tracking leaves time to get ready for the day that the place is lost.
        seen.correlator.warm(seen.template)
        return None

    def _level(self, seen: Look, peak: Peak) -> None:
        """Has the picture tell the error of its attitude, now and then: over known ground alone, for a slope looks
        like a tilt."""
        if seen.view.relief is None or seen.at_ns - self._levelled_ns < LEVEL_EVERY_NS:
            return
        self._levelled_ns = seen.at_ns
        # Laid over the relief of where the vehicle was thought to be: hills a few metres off look like a tilt.
        there = seen.at(peak.east_m - seen.offset_m[0], peak.north_m - seen.offset_m[1])
        told = seen_tilt(there, peak)
        if told is not None:
            self._odometry.observe_tilt(told.rad, told.covariance, seen.view.extent_m)

    def _plausible(self, seen: Look, fine: Peak, coarse: Peak) -> Peak:
        """The fine peak, or the coarse one while the fine one lies where the motion does not lead. A few such in a row
        are believed: then it is the place that was off."""
        assert self._offset is not None
        if self._offset.distance2(*self._offset_of(seen, fine), fine.covariance_m2) <= FARTHEST2:
            self._doubted = 0
            return fine
        self._doubted += 1
        return coarse if self._doubted <= DOUBTED_FRAMES else fine

    def _offset_of(self, seen: Look, peak: Peak) -> tuple[float, float]:
        """From odometry to the place that a peak means."""
        return (
            peak.east_m - seen.offset_m[0] - self._odometry.raw_east_m,
            peak.north_m - seen.offset_m[1] - self._odometry.raw_north_m,
        )

    def _give_up_if_doubted(self) -> None:
        """Drops a place that the belief has left: it no longer coasts, and says so."""
        offset = self._offset
        if offset is None:
            return
        east_m, north_m = self._place(offset)
        near_m = max(2.0 * self._belief.cell_m, 3.0 * math.sqrt(float(np.trace(offset.covariance_m2))))
        if self._belief.probability_near(east_m, north_m, near_m) < self._settings.lose_probability:
            self._offset, self._lost = None, offset
            self._has_prior = False
            self._acquisition.begin()
            self._reason = self._reason or Reason.AMBIGUOUS

    # What is said

    def predict(self, at_ns: int) -> Fix | NoFix:
        """The belief carried on to `at_ns` by the last known velocity, with its grown error."""
        offset, reason = self._offset, self._reason
        if offset is None or self._chain.at_ns is None:
            return NoFix(at_ns, reason or Reason.AMBIGUOUS)
        if self._chain.broken:
            return NoFix(at_ns, reason or Reason.IMPLAUSIBLE_JUMP)
        ahead_s = max(0.0, (at_ns - self._chain.at_ns) / 1e9)
        state, covariance = self._odometry.at(ahead_s)
        spread = covariance[:2, :2] + offset.covariance_m2 + self._bias_sigma_m**2 * np.eye(2)
        whole = Covariance(float(spread[0, 0]), float(spread[0, 1]), float(spread[1, 1]))
        age_s = self._match_age_s(at_ns)
        east_m, north_m = float(state[0]) + offset.east_m, float(state[1]) + offset.north_m
        if not self._package.grid.contains(east_m, north_m):
            return NoFix(at_ns, Reason.OFF_MAP)
        blind_s = (at_ns - self._chain.moved_ns) / 1e9
        if blind_s > self._settings.max_blind_s:
            return NoFix(at_ns, reason or Reason.NO_FRAME)
        if age_s > self._settings.max_coast_s or whole.sigma_major > self._settings.max_sigma_m:
            return NoFix(at_ns, reason or Reason.NO_MATCH)
        tight = age_s <= FIX_MAX_MATCH_AGE_S and whole.sigma_major <= self._fix_sigma_m
        lat_deg, lon_deg = self._package.frame.to_geodetic(east_m, north_m)
        moving, viewing = self._odometry.has_velocity, self._viewing
        carried = viewing.heading.carried
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
            turn_deg=None if carried else viewing.turn_deg,
            turn_sigma_deg=None if carried else self._follower.turn_sigma_deg,
            heading_deg=viewing.heading_deg,
            heading_sigma_deg=viewing.heading.sigma_deg if carried else self._follower.turn_sigma_deg,
            scale=viewing.scale,
            scale_sigma=self._follower.scale_sigma,
        )

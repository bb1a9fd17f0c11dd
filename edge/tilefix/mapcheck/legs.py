"""A mission laid on a map: leg by leg, where a frame has nothing to match, and whether coasting bears it."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tilefix.errors import MissionError
from tilefix.geodesy import Grid
from tilefix.mapbuild.package import Progress
from tilefix.mapcheck.mission import Leg, Place, Route
from tilefix.mapcheck.sight import MIN_COVERED, Glance, Sight
from tilefix.mapcheck.survey import HARD_BELOW

MAX_SAMPLES = 2000  # over the whole route; further apart on a longer one
SPACING = 0.3  # of the footprint
MAX_ROUTE_M = 2_000_000.0
WHOLE = 0.995


class State(enum.Enum):
    """What a frame from a place on the way is worth. The value is what a pilot reads."""

    CLEAR = "clear"
    OVERHANG = "footprint over the edge"
    INDISTINCT = "indistinct"
    UNCOVERED = "no imagery"
    OUT_OF_SCALE = "too low or too high"

    @property
    def matches(self) -> bool:
        """True where a match is to be expected."""
        return self in (State.CLEAR, State.OVERHANG)


@dataclass(frozen=True, slots=True)
class Sample:
    """One place on the way. `length_m`: of the way that it stands for; `bridged`: a stretch without matches that
    coasting bears, or no such stretch at all."""

    leg: int
    east_m: float
    north_m: float
    agl_m: float
    length_m: float
    state: State
    match: float
    bridged: bool = True


@dataclass(frozen=True, slots=True)
class Judgement:
    """One leg. `lengths_m`: of its way in each state; `longest_m`: the longest stretch without matches that it is part
    of; `hard`: coasting does not bear it."""

    leg: Leg
    length_m: float
    lengths_m: dict[State, float]
    longest_m: float
    hard: bool


@dataclass(frozen=True, slots=True)
class MissionCheck:
    """A route judged. `notes`: what was assumed."""

    judgements: tuple[Judgement, ...]
    samples: tuple[Sample, ...]
    max_coast_s: float
    max_coast_m: float
    notes: tuple[str, ...]

    @property
    def hard(self) -> bool:
        """True when a leg is."""
        return any(one.hard for one in self.judgements)


def check_route(
    route: Route,
    sight: Sight,
    max_coast_s: float,
    *,
    max_coast_m: float = math.inf,
    where: object = None,
    progress: Progress | None = None,
) -> MissionCheck:
    """Judges each leg of a route; raises `MissionError` for one that no aircraft flies. A stretch without matches is
    coasted over for `max_coast_s`, and for `max_coast_m`: then the position is too uncertain to be sent."""
    ends = [(_local(leg.start, sight), _local(leg.end, sight)) for leg in route.legs]
    lengths = [math.hypot(b[0] - a[0], b[1] - a[1]) for a, b in ends]
    if not sum(lengths) <= MAX_ROUTE_M:
        raise MissionError(
            f"the route is {sum(lengths) / 1000.0:.0f} km long, at most {MAX_ROUTE_M / 1000.0:.0f} km are checked",
            where=where,
        )
    coarsest_m = sum(lengths) / MAX_SAMPLES
    samples: list[Sample] = []
    for number, (leg, (start, end), length_m) in enumerate(zip(route.legs, ends, lengths, strict=True)):
        samples += _along(number, leg, start, end, length_m, sight, coarsest_m)
        if progress is not None:
            progress("flying the mission", (number + 1) / len(route.legs))
    samples, longest = _stretches(samples, route.legs, (max_coast_s, max_coast_m), sight.package.grid)
    judgements = []
    for number, (leg, length_m) in enumerate(zip(route.legs, lengths, strict=True)):
        own = [one for one in samples if one.leg == number]
        by_state = {state: sum(one.length_m for one in own if one.state is state) for state in State}
        hard = any(not one.bridged for one in own)
        judgements.append(Judgement(leg, length_m, by_state, longest[number], hard))
    return MissionCheck(tuple(judgements), tuple(samples), max_coast_s, max_coast_m, route.notes)


def _local(place: Place, sight: Sight) -> tuple[float, float]:
    return sight.package.frame.to_local(place.lat_deg, place.lon_deg)


def _along(
    number: int,
    leg: Leg,
    start: tuple[float, float],
    end: tuple[float, float],
    length_m: float,
    sight: Sight,
    coarsest_m: float,
) -> list[Sample]:
    heights_m = sorted((leg.start.agl_m, leg.end.agl_m))
    # A climb from the ground is looked at as from a third of its height: below, nothing matches anyway.
    spacing_m = SPACING * sight.footprint_m(max(heights_m[0], 0.3 * heights_m[1], 1.0))
    spacing_m = max(spacing_m, coarsest_m, 1.0)
    count = math.ceil(length_m / spacing_m) if length_m > 0.5 else 0
    yaw_deg = math.degrees(math.atan2(end[0] - start[0], end[1] - start[1]))
    found = []
    for k in range(count):
        share = (k + 0.5) / count
        east_m, north_m, agl_m = (
            a + share * (b - a) for a, b in zip((*start, leg.start.agl_m), (*end, leg.end.agl_m), strict=True)
        )
        glance = sight.glance(east_m, north_m, agl_m, yaw_deg)
        match = 0.0 if glance.chances is None else glance.chances.match
        found.append(Sample(number, east_m, north_m, agl_m, length_m / count, _state(glance), match))
    return found


def _state(glance: Glance) -> State:
    if glance.covered < MIN_COVERED:
        return State.UNCOVERED
    if not glance.in_scale:
        return State.OUT_OF_SCALE
    if glance.chances is None or glance.chances.match < HARD_BELOW:
        return State.INDISTINCT
    return State.CLEAR if glance.covered >= WHOLE else State.OVERHANG


def _stretches(
    samples: Sequence[Sample], legs: Sequence[Leg], bearable: tuple[float, float], grid: Grid
) -> tuple[list[Sample], dict[int, float]]:
    """The samples with their `bridged`, and for each leg the longest stretch without matches that it is part of.

    `bearable`: seconds and metres of one. Stretches run on from leg to leg. Take-off and landing are too low in any
    case: that alone makes no stretch. Beyond the map's edge nothing is coasted.
    """
    out: list[Sample] = []
    longest = dict.fromkeys(range(len(legs)), 0.0)
    stretch: list[Sample] = []

    def close() -> None:
        length_m = sum(one.length_m for one in stretch)
        seconds = sum(one.length_m / legs[one.leg].speed_mps for one in stretch)
        within = all(grid.contains(one.east_m, one.north_m) for one in stretch)
        for one in stretch:
            longest[one.leg] = max(longest[one.leg], length_m)
            out.append(replace(one, bridged=within and seconds <= bearable[0] and length_m <= bearable[1]))
        stretch.clear()

    for one in samples:
        if one.state.matches or (one.state is State.OUT_OF_SCALE and legs[one.leg].low):
            close()
            out.append(one)
        else:
            stretch.append(one)
    close()
    return out, longest

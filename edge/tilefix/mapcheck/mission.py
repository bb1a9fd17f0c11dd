"""A mission as it will be flown: legs between places with their height above ground and speed.

What stands in the waypoint files of ground stations (`missionfile`) is followed once, from the first item to the last.
Numbers are MAVLink's: `MAV_CMD`, `MAV_FRAME`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from tilefix.errors import MissionError

WAYPOINT, SPLINE, LAND, TAKEOFF, RTL, VTOL_TAKEOFF, VTOL_LAND = 16, 82, 21, 22, 20, 84, 85
LOITERS = {17: "loiter", 18: "loiter", 19: "loiter", 31: "loiter to height"}
CHANGE_SPEED, JUMP = 178, 177
NAMES = {
    WAYPOINT: "waypoint",
    SPLINE: "spline",
    LAND: "land",
    TAKEOFF: "take-off",
    VTOL_TAKEOFF: "take-off",
    VTOL_LAND: "land",
    **LOITERS,
}
# Cameras, gimbals, servos, waits and the like: the route does not depend on them.
WITHOUT_ROUTE = frozenset(
    {
        *(
            92,
            93,
            95,
            112,
            113,
            114,
            115,
            159,
            181,
            182,
            183,
            184,
            189,
            195,
            196,
            197,
            200,
            201,
            202,
            203,
            204,
            205,
            206,
        ),
        *(
            207,
            208,
            209,
            210,
            211,
            212,
            214,
            220,
            222,
            223,
            252,
            530,
            531,
            532,
            600,
            1000,
            1001,
            2000,
            2001,
            2500,
            2501,
        ),
    }
)
AMSL_FRAMES, RELATIVE_FRAMES, TERRAIN_FRAMES = (0, 5), (3, 6), (10, 11)
MAX_LAT_DEG = 85.0
HEIGHT_RANGE_M = (-1000.0, 20_000.0)
MAX_SPEED_MPS = 300.0


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a waypoint file. `params`: seven numbers, NaN where the file says nothing; `line`: of the file."""

    line: int
    command: int
    frame: int
    params: tuple[float, float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Home:
    """Where it starts. `amsl_m`: the ground's height above sea level, `None` where it is not told."""

    lat_deg: float
    lon_deg: float
    amsl_m: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a waypoint file says. `speed_mps`: the speed it plans with, `None` where it names none."""

    items: tuple[Item, ...]
    home: Home | None = None
    speed_mps: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A place on the way: WGS84 degrees and height above ground."""

    lat_deg: float
    lon_deg: float
    agl_m: float


@dataclass(frozen=True, slots=True)
class Leg:
    """From one place straight to the next. `line`: of the item that it leads to; `low`: take-off or landing."""

    line: int
    name: str
    start: Place
    end: Place
    speed_mps: float
    low: bool


@dataclass(frozen=True, slots=True)
class Route:
    """The legs in order, and what was assumed or left out."""

    legs: tuple[Leg, ...]
    notes: tuple[str, ...]


Ground = Callable[[float, float], "float | None"]


class _Follower:
    def __init__(
        self, plan: Plan, speed_mps: float, ground_amsl_m: float | None, ground: Ground | None, where: object
    ) -> None:
        self.where = where
        self._ground = ground
        self._home_ground_m: float | None = None
        if ground is not None and plan.home is not None:
            self._home_ground_m = ground(plan.home.lat_deg, plan.home.lon_deg)
        self.home = plan.home
        self.usual_mps = self.speed_mps = speed_mps
        home_amsl_m = None if plan.home is None else plan.home.amsl_m
        self.ground_amsl_m = home_amsl_m if ground_amsl_m is None else ground_amsl_m
        self.at = None if plan.home is None else Place(plan.home.lat_deg, plan.home.lon_deg, 0.0)
        self.legs: list[Leg] = []
        self.notes: dict[str, None] = dict.fromkeys(plan.notes)
        self.skipped: Counter[int] = Counter()

    def take(self, item: Item) -> None:
        if item.command == CHANGE_SPEED:
            self._change_speed(item)
        elif item.command == RTL:
            self._return(item)
        elif item.command == JUMP:
            self._note("jumps are not followed: the legs are those of one pass")
        elif item.command in NAMES:
            self._go(item)
        elif item.command not in WITHOUT_ROUTE:
            self.skipped[item.command] += 1

    def _note(self, text: str) -> None:
        self.notes[text] = None

    def _change_speed(self, item: Item) -> None:
        kind, speed_mps = item.params[0], item.params[1]
        if kind in (2.0, 3.0) or not math.isfinite(speed_mps) or speed_mps == -1.0:
            return  # climb and descent rates; no change
        if speed_mps == -2.0:
            self.speed_mps = self.usual_mps
        elif 0.0 < speed_mps <= MAX_SPEED_MPS:
            self.speed_mps = speed_mps
        else:
            raise MissionError(f"line {item.line}: speed {speed_mps:g} m/s is no speed", where=self.where)

    def _return(self, item: Item) -> None:
        if self.home is None or self.at is None:
            self._note("the way home is not checked: the file names no home")
            return
        self._note("the way home is taken straight, at the height of the leg before")
        self._leg(item, "return", replace(self.at, lat_deg=self.home.lat_deg, lon_deg=self.home.lon_deg), low=False)

    def _go(self, item: Item) -> None:
        if item.command == SPLINE:
            self._note("splines are taken as straight legs")
        lat_deg, lon_deg = item.params[4], item.params[5]
        here = math.isnan(lat_deg) or math.isnan(lon_deg) or (lat_deg == 0.0 and lon_deg == 0.0)
        if here and self.at is None:
            self._note(f"line {item.line}: no place is known before it; left out")
            return
        if here:
            assert self.at is not None
            lat_deg, lon_deg = self.at.lat_deg, self.at.lon_deg
        elif not (abs(lat_deg) <= MAX_LAT_DEG and abs(lon_deg) <= 180.0):
            raise MissionError(
                f"line {item.line}: {lat_deg:g}, {lon_deg:g} is no latitude up to {MAX_LAT_DEG:g} and longitude",
                where=self.where,
            )
        landing = item.command in (LAND, VTOL_LAND)
        agl_m = 0.0 if landing else self._agl_m(item, lat_deg, lon_deg)
        low = landing or item.command in (TAKEOFF, VTOL_TAKEOFF)
        self._leg(item, NAMES[item.command], Place(lat_deg, lon_deg, agl_m), low=low)

    def _agl_m(self, item: Item, lat_deg: float, lon_deg: float) -> float:
        height_m = item.params[6]
        if math.isnan(height_m):
            if self.at is None:
                raise MissionError(f"line {item.line}: no height, and none before it", where=self.where)
            return self.at.agl_m
        if not HEIGHT_RANGE_M[0] <= height_m <= HEIGHT_RANGE_M[1]:
            raise MissionError(f"line {item.line}: height {height_m:g} m is out of range", where=self.where)
        if item.frame in RELATIVE_FRAMES:
            return height_m - self._rise_m(lat_deg, lon_deg)
        if item.frame in TERRAIN_FRAMES:
            self._note("heights above terrain are taken as they are")
            return height_m
        if item.frame not in AMSL_FRAMES:
            raise MissionError(
                f"line {item.line}: frame {item.frame} has no place on a map",
                where=self.where,
                mend="plan with heights relative to home, above terrain or above sea level",
            )
        if self.ground_amsl_m is None:
            raise MissionError(
                f"line {item.line}: height above sea level, and the height of the ground is not known",
                where=self.where,
                mend="give --ground-amsl-m",
            )
        self._note(f"heights above sea level: less {self.ground_amsl_m:g} m, the ground's at home")
        return height_m - self.ground_amsl_m - self._rise_m(lat_deg, lon_deg)

    def _rise_m(self, lat_deg: float, lon_deg: float) -> float:
        """How much higher than at home the ground is."""
        if self._ground is None or self._home_ground_m is None:
            self._note("the ground is taken to be as high everywhere as at home")
            return 0.0
        here_m = self._ground(lat_deg, lon_deg)
        self._note("the ground's height is the map's terrain at the waypoints, straight between them")
        return 0.0 if here_m is None else here_m - self._home_ground_m

    def _leg(self, item: Item, name: str, to: Place, *, low: bool) -> None:
        if self.at is not None:
            self.legs.append(Leg(item.line, name, self.at, to, self.speed_mps, low))
        self.at = to


def follow(
    plan: Plan,
    *,
    speed_mps: float,
    ground_amsl_m: float | None = None,
    ground: Ground | None = None,
    where: object = None,
) -> Route:
    """The legs of a plan. `speed_mps`: until the plan changes it; `ground_amsl_m`: instead of home's height;
    `ground`: the terrain's height at a latitude and longitude, above any zero, `None` where it is unknown.

    Raises `MissionError` with the line for what cannot be a route.
    """
    follower = _Follower(plan, speed_mps, ground_amsl_m, ground, where)
    for item in plan.items:
        follower.take(item)
    for command, count in sorted(follower.skipped.items()):
        follower.notes[f"{count} x command {command}: not known here, left out"] = None
    if not follower.legs:
        raise MissionError("no leg between two places in it", where=where, mend="give a mission with waypoints")
    return Route(tuple(follower.legs), tuple(follower.notes))

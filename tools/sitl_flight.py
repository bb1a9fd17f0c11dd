"""The flight: take-off, a square mission, GNSS lost for minutes, a fault by choice, GNSS back, landing."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from sitl_pilot import MODES, Item, Pilot
from sitl_process import COPTER
from sitl_rig import Rig
from tilefix.errors import LinkError, TilefixError

FAULTS = ("camera-dead", "reboot", "link-cut", "map-exhausted", "canary", "spoof")
_IN_AIR = ("camera-dead", "link-cut")
CAMERA_DEAD_S, LINK_CUT_S, RESUMED_S = 20.0, 10.0, 30.0
SPOOF_M, SPOOF_S = 100.0, 60.0
CANARY_M = 15.0
_SPOOF_STEP_S = 0.5
_METRES_PER_DEG = math.pi * 6_371_000.0 / 180.0
_BOOT_S, _ARM_S = 90.0, 120.0
_JUMP_ITEM = mavlink.MAV_CMD_DO_JUMP
_WAYPOINT = mavlink.MAV_CMD_NAV_WAYPOINT


@dataclass(frozen=True)
class FlightPlan:
    """What to fly. `side_m`: of the square about home; `with_gnss_s`: in the square before the loss and after the
    return; `faults`: of `FAULTS`; those in the air come one by one, each `fault_after_s` after what was before."""

    denied_s: float = 300.0
    with_gnss_s: float = 30.0
    above_m: float = 120.0
    side_m: float = 800.0
    faults: tuple[str, ...] = ()
    fault_after_s: float = 30.0


@dataclass
class Marks:
    """When things happened, by this machine's monotonic clock; and what arming said."""

    at_ns: dict[str, int] = field(default_factory=dict)
    commanded: list[tuple[int, int]] = field(default_factory=list)
    arm_s: float = 0.0
    refusals: list[str] = field(default_factory=list)
    failure: str | None = None


# What each route asks for, beside the model's own parameters; see docs/autopilots.md.
_RECEIVER = (
    "GPS2_TYPE 14", "GPS_TYPE2 14",  # since 4.6, and before
    # Not more than the real receiver's own delay: the EKF's buffer is made for that one when it starts.
    "GPS2_DELAY_MS 100", "GPS_DELAY_MS2 100",
)  # fmt: skip
_EXTERNAL = (
    "VISO_TYPE 1", "EK3_SRC2_POSXY 6", "EK3_SRC2_VELXY 0", "EK3_SRC2_POSZ 1", "EK3_SRC2_VELZ 0", "EK3_SRC2_YAW 1",
    "EK3_SRC_OPTIONS 0",
)  # fmt: skip
_ROUTES = {"auto": _RECEIVER, "gps_input": _RECEIVER, "vision": _EXTERNAL, "odometry": _EXTERNAL}
# These are dated by as much later as VISO_DELAY_MS says. Their set of sources is selected by tilefix, not by the pilot.
_DELAYED = ("vision", "odometry")


def extra_parameters(vehicle: str, route: str, wind_mps: float) -> list[str]:
    """Parameters beside the model's own: what the route asks for, wind, and how it flies. Names of both 4.5 and later:
    a firmware leaves out what it does not know."""
    lines = [*_ROUTES.get(route, ()), "SIM_TERRAIN 0", f"SIM_WIND_SPD {wind_mps:g}", "SIM_WIND_DIR 230"]
    if vehicle == COPTER.name:
        # Its lean is the camera's: at most what leaves a picture of the ground, also while it hurries back to its path.
        return [*lines, "WPNAV_SPEED 700", "WPNAV_SPEED_UP 500", "LAND_SPEED_HIGH 500", "LAND_SPEED 100",
                "ANGLE_MAX 2500", "AUTO_OPTIONS 3"]  # fmt: skip
    # What a camera that is fixed to the body may bank: tilefix takes no picture tilted by more than 35 degrees.
    return [*lines, "ROLL_LIMIT_DEG 30", "LIM_ROLL_CD 3000", "RTL_AUTOLAND 2"]


def square(rig: Rig, plan: FlightPlan) -> list[Item]:
    """The mission: home, take-off, four corners again and again, then the way down for a plane."""
    half, above = plan.side_m / 2.0, plan.above_m
    home = rig.frame.to_geodetic(0.0, 0.0)
    corners = [(half, half), (half, -half), (-half, -half), (-half, half)]
    items = [Item(_WAYPOINT, *home), Item(mavlink.MAV_CMD_NAV_TAKEOFF, *home, above, (15.0, 0.0, 0.0, 0.0))]
    for east_m, north_m in corners:
        items.append(Item(_WAYPOINT, *rig.frame.to_geodetic(east_m, north_m), above))
    items.append(Item(_JUMP_ITEM, parameters=(2.0, -1.0, 0.0, 0.0)))
    if rig.plan.vehicle is not COPTER:
        items.append(Item(mavlink.MAV_CMD_DO_LAND_START))
        for south_m, height_m in ((900.0, 80.0), (500.0, 45.0)):
            items.append(Item(_WAYPOINT, *rig.frame.to_geodetic(0.0, -south_m), height_m))
        items.append(Item(mavlink.MAV_CMD_NAV_LAND, *home))
    return items


class Flight:
    """One flight on a rig; `fly` gives the marks, with what went wrong in them."""

    def __init__(self, rig: Rig, plan: FlightPlan, say: Callable[[str], None]) -> None:
        self._rig, self._plan, self._say = rig, plan, say
        self._pilot: Pilot = rig.pilot
        self._modes = MODES[rig.plan.vehicle.name]
        self._now_ns = rig.now_ns
        self.marks = Marks()

    def fly(self) -> Marks:
        """Flies it all. What SITL or tilefix refuses ends the flight and stands in `failure`."""
        try:
            self._prepare()
            self._take_off()
            self._cross()
            self._land()
        except TilefixError as error:
            self.marks.failure = str(error)
            self._say(f"failed: {error}")
        return self.marks

    def _mark(self, name: str) -> None:
        self.marks.at_ns[name] = self._now_ns()
        self._say(name.replace("_", " "))

    def _enter(self, mode: str) -> None:
        self.marks.commanded.append((self._now_ns(), self._modes[mode]))
        self._pilot.set_mode(self._modes[mode])

    def _prepare(self) -> None:
        pilot = self._pilot
        self._mark("started")
        pilot.until(lambda: pilot.truth is not None, _BOOT_S, "SITL tells the truth")
        self._mark("heard")
        pilot.command(mavlink.MAV_CMD_REQUEST_MESSAGE, mavlink.MAVLINK_MSG_ID_AUTOPILOT_VERSION)
        self.gnss = self._gnss_names()
        if "reboot" in self._plan.faults:
            pilot.until(lambda: self._rig.heard_tilefix(), _BOOT_S, "tilefix speaks")
            pilot.wait(10.0)
            self._mark("rebooted")
            pilot.command(mavlink.MAV_CMD_PREFLIGHT_REBOOT_SHUTDOWN, 1.0)
            before = self._rig.reboots
            pilot.until(lambda: self._rig.reboots > before, _BOOT_S, "the autopilot is back")
        pilot.upload(square(self._rig, self._plan))
        pilot.until(lambda: self._rig.heard_tilefix(), _BOOT_S, "tilefix speaks")
        healthy, second = mavlink.EKF_POS_HORIZ_ABS, self._rig.plan.route in ("auto", "gps_input")
        ready = lambda: bool(pilot.ekf_flags & healthy) and (pilot.fixes[2] >= 3 or not second)  # noqa: E731
        pilot.until(ready, _ARM_S, "the position, and the second receiver")
        self._rig.relay.origin = pilot.origin
        if self._rig.plan.route in _DELAYED:
            self._rig.relay.vision_delay_ns = round(1e6 * (pilot.parameter("VISO_DELAY_MS") or 0.0))
        self._mark("ready")

    def _gnss_names(self) -> tuple[str, float, float, str]:
        """(parameter, value that takes GNSS away, value that gives it back, parameter that shifts it north)."""
        if self._pilot.parameter("SIM_GPS1_ENABLE") is not None:
            return "SIM_GPS1_ENABLE", 0.0, 1.0, "SIM_GPS1_GLTCH_X"
        if self._pilot.parameter("SIM_GPS_DISABLE") is not None:
            return "SIM_GPS_DISABLE", 1.0, 0.0, "SIM_GPS_GLITCH_X"
        raise LinkError("has neither SIM_GPS1_ENABLE nor SIM_GPS_DISABLE", mend="this is not ArduPilot's SITL")

    def _take_off(self) -> None:
        pilot, above_m = self._pilot, self._plan.above_m
        copter = self._rig.plan.vehicle is COPTER
        self._enter("GUIDED" if copter else "AUTO")
        self.marks.arm_s, self.marks.refusals = pilot.arm(_ARM_S)
        self._mark("armed")
        if copter:
            result = pilot.command(mavlink.MAV_CMD_NAV_TAKEOFF, 0, 0, 0, 0, 0, 0, above_m)
            if result != mavlink.MAV_RESULT_ACCEPTED:
                raise LinkError(f"take-off refused with {result}", mend="see the texts in summary.json")
        # Of the true height: by its barometer 4.5 believes to be 5 % higher than it is.
        pilot.until(lambda: self._above_m() > 0.93 * above_m, 180.0, f"{above_m:g} m high")
        self._mark("high")
        if copter:
            self._enter("AUTO")

    def _above_m(self) -> float:
        truth = self._pilot.truth
        return 0.0 if truth is None else truth.amsl_m - self._rig.start.amsl_m

    def _cross(self) -> None:
        pilot, plan = self._pilot, self._plan
        pilot.until(self._rig.sees, 90.0, "a place of tilefix's own")
        self._mark("found")
        pilot.wait(plan.with_gnss_s)
        if "spoof" in plan.faults:
            self._spoof()
        else:
            self._deny()
        pilot.wait(plan.with_gnss_s)
        self._mark("crossed")

    def _deny(self) -> None:
        pilot, plan = self._pilot, self._plan
        name, lost, back, _ = self.gnss
        self._rig.relay.origin = pilot.origin
        self._mark("denied")
        if not pilot.set_parameter(name, lost):
            raise LinkError(f"{name} was not taken", mend="see sitl.log")
        over_s = time.monotonic() + plan.denied_s
        for fault in plan.faults:
            if fault in _IN_AIR:
                pilot.wait(plan.fault_after_s)
                self._disturb(fault)
        pilot.wait(max(over_s - time.monotonic(), 0.0))
        self._mark("restored")
        if not pilot.set_parameter(name, back):
            raise LinkError(f"{name} was not taken", mend="see sitl.log")

    def _disturb(self, fault: str) -> None:
        """Injects a fault that happens in flight, and takes it away again."""
        if fault == "camera-dead":
            self._mark("camera_dead")
            self._rig.flip_camera()
            self._pilot.wait(CAMERA_DEAD_S)
            self._rig.flip_camera()
            self._mark("camera_back")
        else:
            self._mark("link_cut")
            self._rig.relay.cut.set()
            self._pilot.wait(LINK_CUT_S)
            self._rig.relay.cut.clear()
            self._mark("link_back")
        self._resume()

    def _resume(self) -> None:
        """What a pilot does whom a failsafe took the mission from: waits for the position, and commands it again."""
        pilot = self._pilot
        with contextlib.suppress(LinkError):
            pilot.until(lambda: bool(pilot.ekf_flags & mavlink.EKF_POS_HORIZ_ABS), RESUMED_S, "a position again")
        if pilot.armed and pilot.mode != self._modes["AUTO"]:
            self._mark("resumed")
            self._enter("AUTO")

    def _spoof(self) -> None:
        pilot, name = self._pilot, self.gnss[3]
        self._mark("spoofed")
        steps = round(SPOOF_S / _SPOOF_STEP_S)
        for step in range(1, steps + 1):
            pilot.set_parameter(name, SPOOF_M * step / steps / _METRES_PER_DEG, check=False)
            pilot.wait(_SPOOF_STEP_S)
        self._mark("spoof_full")
        pilot.wait(max(self._plan.denied_s - SPOOF_S, 10.0))
        pilot.set_parameter(name, 0.0)
        self._mark("spoof_over")

    def _land(self) -> None:
        pilot = self._pilot
        if self._rig.plan.vehicle is COPTER:
            self._enter("LAND")
        else:
            pilot.command(mavlink.MAV_CMD_DO_LAND_START)
        pilot.until(lambda: not pilot.armed, 300.0, "landed and disarmed")
        self._mark("landed")

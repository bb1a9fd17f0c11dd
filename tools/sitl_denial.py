"""Flies SITL without GNSS on tilefix's positions: take-off, a square, GNSS lost, a fault, GNSS back, landing.

python tools/sitl_denial.py --ardupilot ~/ardupilot --vehicle copter --out out/sitl/copter

Everything is real but the aircraft and the world: autopilot, `tilefix run` and the link between them. The map is one
acquisition of a generated world, the camera sees another season's. Writes summary.json, report.html and every log.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sitl_flight import CANARY_M, FAULTS, SPOOF_M, SPOOF_S, Flight, FlightPlan, Marks, extra_parameters
from sitl_ground import Weather
from sitl_page import page
from sitl_process import COPTER, VEHICLES
from sitl_rig import Rig, RigPlan
from sitl_score import MEDIAN_LIMIT_M, P95_LIMIT_M, STALL_LIMIT_MS, Scored, score_flight, uncommanded
from tilefix.errors import TilefixError
from tilefix.maps.package import MapPackage
from tilefix.timing import MonotonicClock

# Of the map's width: what a flight that leaves the map still has below it.
_EXHAUSTED_SHARE = 0.62
DETECTED_M = 25.0  # of pull, by which a spoofer must be known
SILENT_S = 5.0  # beyond the map, a position that is only carried on ends within 10 s


def main(argv: Sequence[str] | None = None) -> int:
    """Flies once; 0 when every verdict holds, 1 when one does not, 2 when there was no flight."""
    args = _parser().parse_args(argv)
    # Told to end, it ends what it started, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        summary = denial(args)
    except TilefixError as error:
        print(f"sitl_denial: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(json.dumps({key: summary[key] for key in ("flight", "ekf_error", "fix_error", "verdicts")}, indent=1))
    print(args.out / "report.html")
    return 0 if all(summary["verdicts"].values()) else 1


def denial(args: argparse.Namespace) -> dict[str, Any]:
    """Flies as the arguments say, writes the report and gives its summary."""
    vehicle = VEHICLES[args.vehicle]
    if args.denied_s < 1.0 or args.rate_hz < 0.5 or not 20.0 <= args.above_m <= 1000.0 or args.side_m < 50.0:
        raise TilefixError(
            "a figure is out of range", mend="--denied-s 1, --rate-hz 0.5, --above-m 20 to 1000, --side-m 50 at least"
        )
    clock = MonotonicClock()
    rig_plan = RigPlan(
        folder=args.out.resolve(),
        vehicle=vehicle,
        world=args.world,
        map=args.map,
        ground=args.ground,
        weather=Weather(args.season, args.sun_azimuth_deg, args.sun_elevation_deg),
        map_share=_EXHAUSTED_SHARE if "map-exhausted" in args.fault else 1.0,
        offset_north_m=CANARY_M if "canary" in args.fault else 0.0,
        route=args.route,
        rate_hz=args.rate_hz,
        latency_ms=args.latency_ms,
        wind_mps=args.wind_mps,
        publish=tuple(args.publish),
        record=args.record,
    )
    plan = FlightPlan(
        denied_s=args.denied_s,
        above_m=args.above_m,
        side_m=args.side_m,
        faults=tuple(args.fault),
        with_gnss_s=args.with_gnss_s,
    )
    parameters = [*extra_parameters(vehicle.name, args.route, args.wind_mps), *args.parameter]
    rig = Rig(rig_plan, args.ardupilot, args.defaults, parameters, clock, _say)
    try:
        marks = Flight(rig, plan, _say).fly()
        summary = _report(rig, plan, marks, args)
    finally:
        rig.close()
    return summary


def _report(rig: Rig, plan: FlightPlan, marks: Marks, args: argparse.Namespace) -> dict[str, Any]:
    pilot, zero_ns = rig.pilot, rig.pilot.zero_ns
    half = plan.side_m / 2.0
    corners = np.array([(half, half), (half, -half), (-half, -half), (-half, half)])
    with rig.relay.lock:
        notes = rig.relay.notes
    scored = score_flight(rig.frame, pilot.log, notes, marks.at_ns, zero_ns, corners)
    strange = uncommanded(pilot.log, marks.at_ns, zero_ns, marks.commanded)
    summary = scored.summary
    begun = marks.at_ns.get("started", 0)
    summary["flight"] = {
        "vehicle": args.vehicle, "route": args.route, "fault": args.fault, "world": args.world,
        "failure": marks.failure, "firmware": pilot.firmware,
        "armed_after_s": round(marks.arm_s, 1), "arming_refused_for": marks.refusals,
        "uncommanded_modes": strange, "real_time_factor": pilot.log.real_time_factor,
        "marks_s": {name: round((at - begun) / 1e9, 1) for name, at in marks.at_ns.items()},
    }  # fmt: skip
    summary["messages_sent"] = dict(notes.counts)
    summary["verdicts"] = verdicts(scored, marks, strange, plan.faults)
    events = [(at, f"-- {name.replace('_', ' ')}") for name, at in marks.at_ns.items()]
    events += [(at, f"autopilot: {text}") for at, _, text in pilot.log.texts]
    events += [(at, f"tilefix:   {text}") for at, _, text in notes.texts]
    events += [(at + zero_ns, f"mode {mode}") for at, mode in pilot.log.modes]
    summary["events"] = [f"{(at - begun) / 1e9:8.1f} s  {text}" for at, text in sorted(events)]
    package = MapPackage.open(rig.package, verify=False)
    what = ", ".join(plan.faults) or "no fault"
    title = f"{args.vehicle.capitalize()}, {args.route}, {plan.denied_s:g} s without GNSS, {what}"
    _write(rig.plan.folder / "report.html", page(title, scored, package.imagery, package.grid, sorted(events)))
    _write(rig.plan.folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    _keep_tracks(rig.plan.folder / "tracks.npz", scored)
    return summary


def verdicts(scored: Scored, marks: Marks, strange: Sequence[str], faults: Sequence[str] = ()) -> dict[str, bool]:
    """What the flight must show: without a fault all of it, with one what can be asked then."""
    summary, told = scored.summary, scored.summary["told"]
    error, fix = summary["ekf_error"], summary["fix_error"]
    result = {"armed with default checks": "armed" in marks.at_ns}
    # Else nothing is to be concluded from the flight, whatever the others say.
    result["simulation never stood still"] = (summary["simulation_stall_ms"] or 0.0) <= STALL_LIMIT_MS
    if "canary" in faults:
        result["tilefix tells of the bias before GNSS is lost"] = told["bias_before_loss_s"] is not None
        result["the score shows the bias"] = _known(fix["median_m"]) > MEDIAN_LIMIT_M
        return result
    if "spoof" in faults:
        after_s = told["spoofing_after_s"]
        # Not before the spoofing either: that would be a false alarm.
        result["told before 25 m of pull"] = after_s is not None and 0.0 <= after_s / SPOOF_S * SPOOF_M < DETECTED_M
        result["never further than 25 m from the truth"] = _at_most(error["max_m"], DETECTED_M)
        return {**result, "mission completed": marks.failure is None and not strange}
    if "map-exhausted" in faults:
        # The autopilot then has nothing to navigate by, and does what it is set to do.
        result["silent beyond the map"] = _known(told["silent_s"]) > SILENT_S
        result["no position sent that is off by 25 m"] = _at_most(fix["max_m"], DETECTED_M)
        return {**result, "landed": "landed" in marks.at_ns}
    if "camera-dead" in faults or "link-cut" in faults:
        # Longer than the autopilot waits: its failsafe may land it until the pilot commands the mission again.
        for fault, ended in (("camera-dead", "camera_back"), ("link-cut", "link_back")):
            if fault in faults:
                error_m = summary["error_after_fault_m"].get(ended)
                result[f"{ended.replace('_', ' ')}: error at most 8 m after 30 s"] = _at_most(error_m, P95_LIMIT_M)
        result["no position sent that is off by 25 m"] = _at_most(fix["max_m"], DETECTED_M)
        return {**result, "landed": "landed" in marks.at_ns}
    result["mission completed"] = marks.failure is None and not strange
    result[f"EKF error median <= {MEDIAN_LIMIT_M:g} m"] = _at_most(error["median_m"], MEDIAN_LIMIT_M)
    result[f"EKF error p95 <= {P95_LIMIT_M:g} m"] = _at_most(error["p95_m"], P95_LIMIT_M)
    health = summary["ekf_unhealthy"]
    result["EKF never unhealthy"] = health["samples"] > 0 and not health["unhealthy"]
    return result


def _known(value: float | None) -> float:
    return -math.inf if value is None else value


def _at_most(value: float | None, limit: float) -> bool:
    return value is not None and value <= limit


def _keep_tracks(path: Path, scored: Scored) -> None:
    """The tracks, so that a figure can be looked into after the flight."""
    arrays = {
        f"{name}_{part}": getattr(getattr(scored, name), part)
        for name in ("truth", "ekf", "fixes")
        for part in ("at_ns", "east_m", "north_m")
    }
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    partial.replace(path)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def _say(line: str) -> None:
    print(f"sitl_denial: {line}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Fly ArduPilot's SITL without GNSS on tilefix's positions.")
    parser.add_argument("--ardupilot", type=Path, required=True, help="source folder, build folder or program")
    parser.add_argument("--defaults", type=Path, help="parameters of the model (default: of that source folder)")
    parser.add_argument("--vehicle", choices=sorted(VEHICLES), default=COPTER.name)
    parser.add_argument("--route", default="gps_input", help="as in [publish] of the configuration")
    parser.add_argument("--fault", choices=FAULTS, action="append", default=[], help="may be given several times")
    parser.add_argument("--out", type=Path, default=Path("out/sitl/flight"), help="the report's folder")
    parser.add_argument("--world", type=int, default=9001, metavar="SEED", help="of the generated ground")
    parser.add_argument("--map", type=Path, help="a map package instead of a generated world")
    parser.add_argument("--ground", type=Path, help="what the camera sees (default: the map)")
    parser.add_argument("--season", help="that the camera sees of a generated world (default: drawn from the seed)")
    parser.add_argument("--sun-azimuth-deg", type=float)
    parser.add_argument("--sun-elevation-deg", type=float)
    parser.add_argument("--denied-s", type=float, default=300.0)
    parser.add_argument("--with-gnss-s", type=float, default=30.0, help="in the square before the loss and after")
    parser.add_argument("--above-m", type=float, default=120.0)
    parser.add_argument("--side-m", type=float, default=800.0, help="of the square")
    parser.add_argument("--rate-hz", type=float, default=5.0, help="of the camera")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="of the camera")
    parser.add_argument("--wind-mps", type=float, default=3.0)
    parser.add_argument("--parameter", action="append", default=[], metavar="'NAME VALUE'", help="one more for SITL")
    parser.add_argument("--publish", action="append", default=[], metavar="'KEY = VALUE'", help="for [publish]")
    parser.add_argument("--record", action="store_true", help="keep what tilefix saw in OUT/flight, to be replayed")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

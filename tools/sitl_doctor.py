"""Tries `tilefix doctor` on ArduPilot's SITL: fresh parameters, examined, mended, rebooted, examined again.

python tools/sitl_doctor.py --ardupilot ~/ardupilot --out out/doctor

One row for each vehicle that was built there and each route that it can take; ends with 1 when one was not right after
all. `--out` is given what the doctor said each time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sitl_process import VEHICLES, Sitl, Start, Vehicle, find_binary, find_defaults, free_port
from tilefix.cli import main as tilefix
from tilefix.errors import LinkError, TilefixError
from tilefix.links import open_link
from tilefix.links.messages import Heartbeat
from tilefix.service.config import LinkSettings
from tilefix.timing import MonotonicClock

ROUTES = {
    "copter": ("gps_input", "vision", "odometry"),
    "plane": ("gps_input", "vision", "odometry", "external_estimate"),
}
_START = Start(47.0, 8.0, 400.0)
_PREFLIGHT_REBOOT = 246
_BOOT_S = 30.0
SETTLE_S = 8.0


@dataclass(frozen=True)
class Outcome:
    """Of one vehicle and route: exit statuses fresh, when mended and after a reboot, and what was wrong at first."""

    vehicle: str
    version: str
    route: str
    statuses: tuple[int, int, int]
    read: int
    wrong: tuple[str, ...]
    advice: tuple[str, ...]
    attitude_hz: float
    round_trip_ms: float | None

    @property
    def mended(self) -> bool:
        """True when everything was right in the end."""
        return self.statuses[1:] == (0, 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Tries every route; 0 when each was right in the end, 1 when one was not, 2 when nothing could be tried."""
    args = _parser().parse_args(argv)
    outcomes = []
    try:
        for name in args.vehicle or _built(args.ardupilot):
            for route in args.route or ROUTES[name]:
                outcomes.append(attempt(args.ardupilot, VEHICLES[name], route, args.out))
                print(row(outcomes[-1]), flush=True)
    except TilefixError as error:
        print(f"sitl_doctor: {error}", file=sys.stderr)
        return 2
    return 0 if all(one.mended for one in outcomes) else 1


def _built(place: Path) -> list[str]:
    built = []
    for name, vehicle in sorted(VEHICLES.items()):
        with contextlib.suppress(LinkError):
            find_binary(place, vehicle)
            built.append(name)
    if not built:
        raise LinkError("holds no vehicle", where=place, mend="./waf configure --board sitl && ./waf copter plane")
    return built


def attempt(place: Path, vehicle: Vehicle, route: str, out: Path) -> Outcome:
    """Starts SITL with fresh parameters and goes through it once. Raises `LinkError` where it cannot be tried."""
    binary = find_binary(place, vehicle)
    folder = out / f"{vehicle.name}-{route}"
    ports = (free_port(), free_port(), free_port())
    url = f"udpin:127.0.0.1:{ports[1]}"
    with closing(Sitl(binary, vehicle, [find_defaults(binary, vehicle)], _START, folder, ports)):
        _wait_for_heartbeat(url)
        fresh, found = examine(url, route, folder / "fresh")
        mended, _ = examine(url, route, folder / "mended", "--write", "--yes")
        _reboot(url)
        again, last = examine(url, route, folder / "rebooted")
    findings, stream = found["findings"], last["link"]["streams"][0]
    return Outcome(
        vehicle.name,
        ".".join(map(str, found["autopilot"]["version"])) + ("-dev" if found["autopilot"]["development"] else ""),
        route,
        (fresh, mended, again),
        found["parameters"],
        tuple(one["line"] or one["name"] for one in findings if one["weight"] == "wrong"),
        tuple(one["name"] for one in findings if one["weight"] == "advice"),
        stream["rate_hz"],
        last["link"]["round_trip_ms"],
    )


def examine(url: str, route: str, path: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """The doctor's exit status and what it found; what it said is left at `path`.txt, the findings at `path`.json.
    Raises `LinkError` when it found out nothing."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = tilefix(
            ["doctor", "--link", url, "--route", route, "--json", str(path.with_suffix(".json")), *options]
        )
    path.with_suffix(".txt").write_text(said.getvalue(), encoding="utf-8")
    if not path.with_suffix(".json").is_file():
        raise LinkError(f"the doctor found out nothing: {said.getvalue().strip()}", where=url)
    return status, json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def _wait_for_heartbeat(url: str) -> None:
    clock = MonotonicClock()
    with closing(open_link(LinkSettings(url), clock)) as link:
        end_ns = clock.now_ns() + round(_BOOT_S * 1e9)
        while clock.now_ns() < end_ns:
            if any(isinstance(message, Heartbeat) for message in link.poll()):
                return
            time.sleep(0.02)
    raise LinkError(f"SITL is silent for {_BOOT_S:g} s", where=url, mend="see sitl.log in --out")


def _reboot(url: str) -> None:
    """Reboots the autopilot and waits until it speaks again."""
    clock = MonotonicClock()
    with closing(open_link(LinkSettings(url), clock)) as link:
        end_ns = clock.now_ns() + round(_BOOT_S * 1e9)
        while link.system_id is None and clock.now_ns() < end_ns:
            link.poll()
            time.sleep(0.02)
        link.send_command(_PREFLIGHT_REBOOT, 1)
    time.sleep(SETTLE_S)
    _wait_for_heartbeat(url)


def row(outcome: Outcome) -> str:
    """A line of the table in docs/results.md."""
    statuses = ", ".join(map(str, outcome.statuses))
    wrong = ", ".join(f"`{line.removeprefix('param set ')}`" for line in outcome.wrong) or "nothing"
    advice = ", ".join(f"`{name}`" for name in outcome.advice) or "nothing"
    trip = "unknown" if outcome.round_trip_ms is None else f"{outcome.round_trip_ms:.1f} ms"
    link = f"{outcome.attitude_hz:.0f} Hz, {trip}"
    return (
        f"| {outcome.vehicle} {outcome.version} | `{outcome.route}` | {outcome.read} | {wrong} | {advice} "
        f"| {statuses} | {link} |"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ardupilot", type=Path, required=True, metavar="PATH", help="source or build folder")
    parser.add_argument("--vehicle", nargs="+", choices=sorted(VEHICLES), help="default: what was built there")
    parser.add_argument("--route", nargs="+", help="default: every route that the vehicle can take")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="SITL's folders, and what was said")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`tilefix map check MAP --agl-m ... --mission ...`: draws where fixes will be hard, and judges a mission's legs."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tilefix.camera import CameraModel, Mount
from tilefix.errors import MapError, MissionError
from tilefix.evaluation.results import write_results
from tilefix.localization.settings import LocalizerSettings
from tilefix.mapbuild.package import Progress
from tilefix.mapcheck.legs import MissionCheck, check_route
from tilefix.mapcheck.mission import MAX_SPEED_MPS, Route, follow
from tilefix.mapcheck.missionfile import load_plan
from tilefix.mapcheck.options import CRUISE_MPS, DEFAULT_HFOV_DEG
from tilefix.mapcheck.page import check_html
from tilefix.mapcheck.sight import Sight
from tilefix.mapcheck.survey import HARD_BELOW, Survey, survey
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.publishing.settings import PublishSettings
from tilefix.service.config import load_config

_WIDTH, _HEIGHT = 640, 480


def draw(args: argparse.Namespace, package: MapPackage, progress: Progress | None = None) -> int:
    """Writes the page and the figures; 0, or 1 when a leg of the mission is hard. Raises `TilefixError`."""
    _check_numbers(args)
    camera = CameraModel.from_hfov(_WIDTH, _HEIGHT, args.hfov_deg or DEFAULT_HFOV_DEG)
    mount, settings, publish = Mount(), LocalizerSettings(), PublishSettings()
    if args.config is not None:
        config = load_config(args.config)
        camera, mount, settings = config.camera.model, config.mount, config.localizer
        publish = config.publish
        package = package.moved(config.map.offset_east_m, config.map.offset_north_m)
    sight = Sight(package, TileIndex.open(package), camera, mount)
    route = None if args.mission is None else _route(args, package)
    surveyed = None
    if args.agl_m is not None:
        if not sight.in_scale(args.agl_m):
            footprint_m = sight.footprint_m(args.agl_m)
            raise MapError(
                f"frames from {args.agl_m:g} m are out of scale: their footprint is {footprint_m:.0f} m, "
                f"the map has {package.grid.gsd_m:g} m a pixel",
                where=package.path,
                mend="give another --agl-m, or the camera by --config or --hfov-deg",
            )
        surveyed = survey(sight, args.agl_m, progress=progress)
    mission = None
    if route is not None:
        # What is coasted errs by a share of the way; a position that errs by more than is published is not sent.
        coast_m = min(settings.max_sigma_m, publish.max_coast_sigma_m) / settings.odometry_drift
        mission = check_route(
            route, sight, settings.max_coast_s, max_coast_m=coast_m, where=args.mission, progress=progress
        )
    out = args.out or Path(f"{package.path.resolve().name}-check")
    facts = _facts(args, package, camera, settings)
    result = {"facts": dict(facts), **_survey_json(surveyed), **_mission_json(mission)}
    page = check_html(package, surveyed, mission, facts)
    write_results(out, {"check.html": page, "check.json": json.dumps(result, indent=1, allow_nan=False) + "\n"})
    sys.stdout.write(summary(surveyed, mission) + f"{out / 'check.html'}\n")
    return 1 if mission is not None and mission.hard else 0


def _check_numbers(args: argparse.Namespace) -> None:
    for name, low, high in (
        ("agl_m", 1.0, 20_000.0),
        ("hfov_deg", 1.0, 170.0),
        ("speed_mps", 0.1, MAX_SPEED_MPS),
        ("ground_amsl_m", -500.0, 9000.0),
    ):
        value = getattr(args, name)
        if value is not None and not low <= value <= high:
            option = "--" + name.replace("_", "-")
            raise MapError(f"{value:g} is out of range", where=option, mend=f"give {low:g} to {high:g}")
    if args.config is not None and args.hfov_deg is not None:
        raise MapError("the configuration has a camera of its own", where="--hfov-deg", mend="give one of the two")


def _route(args: argparse.Namespace, package: MapPackage) -> Route:
    plan = load_plan(args.mission)
    terrain = package.terrain

    def ground(lat_deg: float, lon_deg: float) -> float | None:
        return None if terrain is None else terrain.at(*package.frame.to_local(lat_deg, lon_deg))

    speed_mps, note = plan.speed_mps, "the plan's own speed until it changes it"
    if args.speed_mps is not None or speed_mps is None:
        speed_mps = CRUISE_MPS if args.speed_mps is None else args.speed_mps
        note = f"{speed_mps:g} m/s until the plan changes it"
    route = follow(
        plan,
        speed_mps=speed_mps,
        ground_amsl_m=args.ground_amsl_m,
        ground=None if terrain is None else ground,
        where=args.mission,
    )
    farthest_m = max(
        math.hypot(*package.frame.to_local(place.lat_deg, place.lon_deg))
        for leg in route.legs
        for place in (leg.start, leg.end)
    )
    if not math.isfinite(farthest_m):
        raise MissionError("lies where this map's metres do not reach", where=args.mission, mend="give its own map")
    return replace(route, notes=(*route.notes, note))


def _facts(
    args: argparse.Namespace, package: MapPackage, camera: CameraModel, settings: LocalizerSettings
) -> list[tuple[str, str]]:
    imagery = package.manifest.imagery
    hfov_deg = math.degrees(2.0 * math.atan(0.5 * camera.width / camera.fx))
    facts = [
        ("map", package.path.resolve().name),
        ("imagery", imagery.source or "unknown"),
        ("date", imagery.date or "unknown"),
        ("map pixel", f"{package.grid.gsd_m:g} m"),
        ("camera", f"{camera.width} x {camera.height} px, {hfov_deg:.1f} degrees across, held level"),
        ("hard", f"a chance of a match below {100.0 * HARD_BELOW:.0f} %"),
        ("coasting", f"{settings.max_coast_s:g} s"),
    ]
    return facts if args.mission is None else [*facts, ("mission", args.mission.name)]


def summary(surveyed: Survey | None, mission: MissionCheck | None) -> str:
    """What came of it, in lines."""
    lines = []
    if surveyed is not None:
        lines.append(
            f"From {surveyed.agl_m:g} m: {100.0 * surveyed.hard_share:.1f} % of the area is hard (a frame most likely "
            f"does not match), {100.0 * surveyed.ambiguous_share:.1f} % is not found by one frame alone."
        )
    if mission is not None:
        for number, one in enumerate(mission.judgements, start=1):
            lengths = ", ".join(f"{m:.0f} m {s.value}" for s, m in one.lengths_m.items() if m >= 0.5)
            verdict = f"HARD, {one.longest_m:.0f} m on end without a match" if one.hard else "fine"
            way = f"{one.length_m:.0f} m at {one.leg.speed_mps:g} m/s, {lengths or 'no way to go'}"
            lines.append(f"leg {number} (line {one.leg.line}, {one.leg.name}): {way}: {verdict}")
        lines += mission.notes
    return "".join(line + "\n" for line in lines)


def _survey_json(surveyed: Survey | None) -> dict[str, Any]:
    if surveyed is None:
        return {}

    def rows(values: Any) -> list[list[float | None]]:
        return [[None if np.isnan(v) else round(float(v), 3) for v in row] for row in values]

    return {
        "survey": {
            "agl_m": surveyed.agl_m,
            "footprint_m": round(surveyed.footprint_m, 2),
            "west_m": surveyed.west_m,
            "north_m": surveyed.north_m,
            "step_m": surveyed.step_m,
            "hard_share": round(surveyed.hard_share, 4),
            "ambiguous_share": round(surveyed.ambiguous_share, 4),
            "match": rows(surveyed.match),
            "found": rows(surveyed.found),
        }
    }


def _mission_json(mission: MissionCheck | None) -> dict[str, Any]:
    if mission is None:
        return {}
    legs = [
        {
            "line": one.leg.line,
            "to": one.leg.name,
            "length_m": round(one.length_m, 1),
            "speed_mps": one.leg.speed_mps,
            "agl_m": [round(one.leg.start.agl_m, 1), round(one.leg.end.agl_m, 1)],
            **{f"{state.name.lower()}_m": round(length_m, 1) for state, length_m in one.lengths_m.items()},
            "longest_without_m": round(one.longest_m, 1),
            "hard": one.hard,
        }
        for one in mission.judgements
    ]
    return {"mission": {"hard": mission.hard, "legs": legs, "notes": list(mission.notes)}}

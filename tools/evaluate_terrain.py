"""Flies over generated worlds laid over hills, and replays each flight on a map with terrain and on one without.

    python tools/evaluate_terrain.py --worlds 1760 1761           to choose by; 9300 and on for figures
    python tools/evaluate_terrain.py --worlds 9300 --report       the table and the picture of what was run
    python tools/evaluate_terrain.py --worlds 9300 --woods-m 15 --out out/terrain-woods

The map's terrain is not the truth: it is sampled at 10 m and wrong by about a metre. Every second flight knows its
height from a rangefinder, the others from air pressure alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from generated_survey import GROUND_AMSL_M, surveyed
from tilefix.camera import CameraModel
from tilefix.embedders import open_embedder
from tilefix.errors import TilefixError
from tilefix.evaluation.replay import replay
from tilefix.evaluation.results import write_results
from tilefix.evaluation.scoring import Answer, score
from tilefix.flights.flight import open_flight
from tilefix.localization.localizer import Localizer
from tilefix.mapbuild.package import ArrayImagery, ArrayTerrain, build_package
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Embedder
from tilefix.simulation.camera import Exposure
from tilefix.simulation.flights import FlightPlan, fly_over
from tilefix.simulation.relief import hills, wooded
from tilefix.simulation.sight import Scenery
from tilefix.simulation.world import drone_look, generate_world, satellite_look
from tilefix.timing import MonotonicClock

SIZE_M, GSD_M, PATCH_M, STRIDE_M = 1600.0, 0.5, 120.0, 40.0
RELIEF_M = (30.0, 60.0, 120.0)
AGL_M = (120.0, 200.0, 300.0)
SPEED_MPS, RATE_HZ = 12.0, 2.0
KINDS = ("flat", "terrain")
TWO_SIGMA = 6.180  # chi-square quantile of 95.45 %, two degrees of freedom


@dataclass(frozen=True, slots=True)
class Cell:
    """One flight: over which world, how hilly, how high above the hills' middle, and where its height comes from."""

    world: int
    relief_m: float
    agl_m: float
    ranged: bool

    @property
    def name(self) -> str:
        """Of its folder and its results."""
        return f"{self.world}-{self.relief_m:.0f}-{self.agl_m:.0f}-{'range' if self.ranged else 'baro'}"


def cells(worlds: Sequence[int], reliefs_m: Sequence[float], heights_m: Sequence[float]) -> list[Cell]:
    """Every combination that leaves room above the hills."""
    return [
        Cell(world, relief_m, agl_m, ranged)
        for world in worlds
        for relief_m in reliefs_m
        for agl_m in heights_m
        for ranged in (True, False)
        if agl_m > 0.5 * relief_m + 40.0
    ]


def prepare(
    out: Path, flown: Sequence[Cell], frames: int, attitude_error_deg: float, woods_m: float, embedder: Embedder
) -> None:
    """Builds the maps of one world for this model and records its flights, those that are not there yet. `woods_m`: how
    high woods stand on the ground that is flown over; the map's terrain is the bare ground."""
    missing = [one for one in flown if not (out / one.name / "flight.toml").is_file()]
    unmapped = sorted({one.relief_m for one in flown if not _mapped(out, one, embedder)})
    if not missing and not unmapped:
        return
    world = generate_world(flown[0].world, size_m=SIZE_M, gsd_m=GSD_M)
    seen = world.render(drone_look(1000 * world.seed + 1))
    pixels = world.render(satellite_look(world.seed))
    cover = np.full(pixels.shape[:2], 255, np.uint8)
    imagery = ArrayImagery(world.frame, world.grid, pixels, cover, f"generated world {world.seed}", "", "none")
    for relief_m in sorted({one.relief_m for one in flown}):
        truth = hills(world.seed, world.grid, relief_m)
        if relief_m in unmapped:
            build_package(
                imagery,
                out / f"map-{world.seed}-{relief_m:.0f}",
                embedder=embedder,
                patch_m=PATCH_M,
                stride_m=STRIDE_M,
                terrain=ArrayTerrain(surveyed(truth, world.seed, world.grid), "generated", "sea level"),
            )
        for one in missing:
            if one.relief_m == relief_m:
                shutil.rmtree(out / one.name, ignore_errors=True)
                plan = _plan(one, frames, attitude_error_deg)
                surface = wooded(truth, world.seed, woods_m) if woods_m else truth
                fly_over(Scenery(seen, world.grid, surface), world.frame, plan, out / one.name)


def _mapped(out: Path, cell: Cell, embedder: Embedder) -> bool:
    """True with a map of this model; one of another is built anew."""
    with contextlib.suppress(TilefixError):
        MapPackage.open(out / f"map-{cell.world}-{cell.relief_m:.0f}", model=embedder.manifest, verify=False)
        return True
    return False


def _plan(cell: Cell, frames: int, attitude_error_deg: float) -> FlightPlan:
    return FlightPlan(
        agl_m=cell.agl_m,
        speed_mps=SPEED_MPS,
        rate_hz=RATE_HZ,
        duration_s=(frames + 0.5) / RATE_HZ,
        seed=100 * cell.world + round(cell.agl_m),
        camera=CameraModel.from_hfov(480, 360, 66.0),
        exposure=Exposure(blur_px=0.5, noise=0.01, vignette=0.2),
        ground_amsl_m=GROUND_AMSL_M,
        attitude_error_deg=attitude_error_deg,
        ranged=cell.ranged,
    )


def fly(out: Path, cell: Cell, embedder: Embedder) -> dict[str, Any]:
    """Replays one flight with no hint, on the map with its terrain and without it; gives the figures of both."""
    flight = open_flight(out / cell.name)
    package = MapPackage.open(out / f"map-{cell.world}-{cell.relief_m:.0f}", model=embedder.manifest, verify=False)
    found: dict[str, Any] = {"relief_m": cell.relief_m, "agl_m": cell.agl_m, "ranged": cell.ranged}
    for kind in KINDS:
        used = package if kind == "terrain" else replace(package, terrain=None)
        localizer = Localizer(used, TileIndex.open(used), embedder, flight.camera, flight.mount)
        result = replay(flight, localizer, used.frame, used.grid, MonotonicClock())
        found[kind] = _figures(result.answers)
    return found


def _figures(answers: Sequence[Answer]) -> dict[str, Any]:
    result = score(answers)
    fixes = [a for a in answers if a.kind == "fix" and a.fix is not None and a.error_m is not None]
    errors = [a.distance_m for a in fixes if a.distance_m is not None]
    spread = [
        a.fix.covariance_m2.mahalanobis2(*a.error_m) for a in fixes if a.fix is not None and a.error_m is not None
    ]
    first = next((n for n, a in enumerate(answers) if a.kind == "fix"), len(answers))
    return {
        "frames": len(answers),
        "first": first,
        "fixes": result.fixes,
        "false_fixes": result.false_fixes,
        "errors_m": [round(error, 3) for error in errors],
        "within_95": sum(one < TWO_SIGMA for one in spread),
    }


def table(found: Sequence[dict[str, Any]]) -> str:
    """All cells of a kind together, by relief, and by height, as Markdown."""
    lines = [
        "| flights over | height from | map | availability | after the first fix | median | p95 | max | within 95.45 % "
        "| false fixes |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    groups = [(f"hills of {r:.0f} m", {"relief_m": r}) for r in sorted({one["relief_m"] for one in found})]
    groups += [(f"any hills, at {h:.0f} m", {"agl_m": h}) for h in sorted({one["agl_m"] for one in found})]
    for what, wanted in groups:
        for ranged in (True, False):
            chosen = [one for one in found if one["ranged"] is ranged and all(one[k] == v for k, v in wanted.items())]
            for kind in KINDS if chosen else ():
                source = "rangefinder" if ranged else "pressure"
                lines.append(f"| {what} | {source} | {kind} | {_row([one[kind] for one in chosen])} |")
    return "\n".join(lines) + "\n"


def _row(parts: Sequence[dict[str, Any]]) -> str:
    frames, fixes = sum(p["frames"] for p in parts), sum(p["fixes"] for p in parts)
    after = sum(p["frames"] - p["first"] for p in parts)
    errors = [error for p in parts for error in p["errors_m"]]
    metres = [f"{np.percentile(errors, q):.2f} m" if errors else "-" for q in (50.0, 95.0, 100.0)]
    within = f"{100.0 * sum(p['within_95'] for p in parts) / fixes:.1f} %" if fixes else "-"
    later = f"{100.0 * fixes / after:.1f} %" if after else "-"
    shares = [f"{100.0 * fixes / frames:.1f} %", later]
    return " | ".join([*shares, *metres, within, str(sum(p["false_fixes"] for p in parts))])


def picture(found: Sequence[dict[str, Any]]) -> str:
    """How errors are spread, with terrain and without, as SVG: a curve of cumulative share for each relief."""
    width, height, top_m = 640, 300, 8.0
    reliefs = sorted({one["relief_m"] for one in found})
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 60}" font-family="sans-serif" '
        f'font-size="12"><rect width="{width}" height="{height + 60}" fill="#fff"/>'
    ]
    left, bottom, across, up = 50.0, height + 10.0, width - 70.0, height - 20.0
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - up * share
        parts.append(f'<line x1="{left}" x2="{left + across}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{100 * share:.0f} %</text>')
    for error_m in range(int(top_m) + 1):
        x = left + across * error_m / top_m
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{error_m} m</text>')
    parts.append(
        f'<text x="{left}" y="{bottom + 40}">share of all frames with a fix closer than that: '
        "solid with terrain, dashed without</text>"
    )
    for relief_m, colour in zip(reliefs, ("#2a7", "#27c", "#c33"), strict=False):
        chosen = [one for one in found if one["relief_m"] == relief_m]
        for kind in KINDS:
            frames = sum(one[kind]["frames"] for one in chosen)
            errors = np.sort([error for one in chosen for error in one[kind]["errors_m"]])
            points = " ".join(
                f"{left + across * at / top_m:.1f},{bottom - up * np.searchsorted(errors, at) / frames:.1f}"
                for at in np.linspace(0.0, top_m, 201)
            )
            dash = "" if kind == "terrain" else ' stroke-dasharray="5 4"'
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        y = bottom - 60 + 18 * reliefs.index(relief_m)
        parts.append(f'<text x="{left + across - 130}" y="{y}" fill="{colour}">hills of {relief_m:.0f} m</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Records, replays and reports; what exists already is kept. 2 with one clear line when it cannot be done."""
    args = _parser().parse_args(argv)
    results = args.out / "results"
    results.mkdir(parents=True, exist_ok=True)
    flown = cells(args.worlds, args.relief_m, args.agl_m)
    try:
        if not args.report:
            embedder = open_embedder(args.model)
            for world in args.worlds:
                here = [one for one in flown if one.world == world]
                prepare(args.out, here, args.frames, args.attitude_error_deg, args.woods_m, embedder)
                for one in here:
                    if args.again or not (results / f"{one.name}.json").is_file():
                        found = fly(args.out, one, embedder)
                        write_results(results, {f"{one.name}.json": json.dumps(found) + "\n"})
                        print(one.name, *(f"{kind}: {_row([found[kind]])}" for kind in KINDS), sep="\n  ", flush=True)
        paths = [path for one in flown if (path := results / f"{one.name}.json").is_file()]
        if not paths:
            raise TilefixError("nothing was run yet", where=results, mend="run without --report")
        ran = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        write_results(args.out, {"results.md": table(ran), "terrain.svg": picture(ran)})
        print("\n" + table(ran))
    except TilefixError as error:
        print(f"evaluate_terrain: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Evaluate tilefix over hills, with terrain in the map and without.")
    parser.add_argument("--worlds", type=int, nargs="+", required=True, metavar="SEED")
    parser.add_argument("--relief-m", type=float, nargs="+", default=RELIEF_M)
    parser.add_argument("--agl-m", type=float, nargs="+", default=AGL_M)
    parser.add_argument("--frames", type=int, default=120, help="of each flight")
    parser.add_argument("--attitude-error-deg", type=float, default=0.35, help="sigma of roll and pitch in the logs")
    parser.add_argument("--woods-m", type=float, default=0.0, help="height of woods that the map's terrain lacks")
    parser.add_argument("--model", help="default: the one that ships")
    parser.add_argument("--out", type=Path, default=Path("out/terrain"))
    parser.add_argument("--again", action="store_true", help="replay what was replayed before")
    parser.add_argument("--report", action="store_true", help="only the table and the picture")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

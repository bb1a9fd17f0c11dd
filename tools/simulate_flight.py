"""Flies a simulated camera over a map package or an orthophoto and writes a flight folder with the truth.

python tools/simulate_flight.py --imagery ortho.tif --out out/flight --agl-m 900 --speed-mps 20 --duration-s 90
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tilefix.camera import CameraModel, Mount
from tilefix.errors import FlightError, TilefixError
from tilefix.geodesy import LocalFrame
from tilefix.mapbuild.imagery import open_imagery
from tilefix.mapbuild.package import create_arrays
from tilefix.mapbuild.resample import fill, layout_of
from tilefix.maps.package import MapPackage
from tilefix.maps.terrain import Terrain
from tilefix.simulation.camera import Exposure
from tilefix.simulation.flights import FlightPlan, fly_over
from tilefix.simulation.relief import hills
from tilefix.simulation.sight import Scenery
from tilefix.simulation.vehicle import COPTER, PLANE


def main(argv: Sequence[str] | None = None) -> int:
    """Writes one flight; 0 when it stands, 2 with one clear line when it cannot be flown."""
    args = _parser().parse_args(argv)
    try:
        plan = _plan(args)
        with tempfile.TemporaryDirectory() as scratch:
            scenery, frame, ground_m = open_scenery(args.map, args.imagery, Path(scratch))
            if args.relief_m > 0.0:
                scenery = replace(scenery, terrain=hills(args.seed, scenery.grid, args.relief_m))
            elif ground_m is not None:
                plan = replace(plan, ground_amsl_m=ground_m)
            count = fly_over(scenery, frame, plan, args.out)
    except TilefixError as error:
        print(f"simulate_flight: {error}", file=sys.stderr)
        return 2
    print(f"{count} frames in {args.out}")
    return 0


def open_scenery(package: Path | None, imagery: Path | None, scratch: Path) -> tuple[Scenery, LocalFrame, float | None]:
    """The ground to fly over: a map package's imagery, or imagery on disk, resampled into `scratch`.

    Last: how high above the sea the plane lies that the terrain of a package rises from; `None` without terrain.
    """
    if package is not None:
        opened = MapPackage.open(package, verify=False)
        if opened.terrain is None:
            return Scenery(opened.imagery, opened.grid), opened.frame, None
        plane_m = float(np.nanmedian(opened.terrain.height_m))
        terrain = Terrain(opened.terrain.grid, opened.terrain.height_m - np.float32(plane_m))
        return Scenery(opened.imagery, opened.grid, terrain), opened.frame, plane_m
    assert imagery is not None
    source = open_imagery(imagery)
    try:
        layout = layout_of(source)
        grid = layout.grid(layout.gsd_m)
        pixels, coverage = create_arrays(scratch, grid)
        fill(source, layout.frame, grid, pixels, coverage, finest_gsd_m=layout.finest_gsd_m)
    finally:
        source.close()
    return Scenery(np.array(pixels), grid), layout.frame, None


def _plan(args: argparse.Namespace) -> FlightPlan:
    try:
        camera = CameraModel.from_hfov(args.width, args.height, args.hfov_deg)
    except ValueError as error:
        raise FlightError(str(error), mend="check --width, --height and --hfov-deg") from error
    exposure = Exposure(gain=args.gain, blur_px=args.blur_px, noise=args.noise, vignette=args.vignette)
    return FlightPlan(
        agl_m=args.agl_m,
        speed_mps=args.speed_mps,
        rate_hz=args.rate_hz,
        duration_s=args.duration_s,
        seed=args.seed,
        camera=camera,
        mount=Mount(pitch_deg=args.mount_pitch_deg, yaw_deg=args.mount_yaw_deg),
        airframe=PLANE if args.plane else COPTER,
        attitude_error_deg=args.attitude_error_deg,
        heading_error_deg=args.heading_error_deg,
        height_error=args.height_error,
        amsl_error_m=args.amsl_error_m,
        ranged=not args.no_rangefinder,
        exposure=exposure,
        exposure_ms=args.exposure_ms,
        lossless=args.png,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Fly a simulated camera over imagery and write a flight folder.")
    ground = parser.add_mutually_exclusive_group(required=True)
    ground.add_argument("--map", type=Path, help="fly over this map package's imagery")
    ground.add_argument("--imagery", type=Path, help="fly over this GeoTIFF, MBTiles or folder of tiles")
    parser.add_argument("--out", type=Path, required=True, help="the flight folder to write")
    parser.add_argument("--agl-m", type=float, default=120.0)
    parser.add_argument("--speed-mps", type=float, default=10.0)
    parser.add_argument("--hfov-deg", type=float, default=70.0)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--mount-pitch-deg", type=float, default=0.0)
    parser.add_argument("--mount-yaw-deg", type=float, default=0.0)
    parser.add_argument("--rate-hz", type=float, default=2.0)
    parser.add_argument("--duration-s", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plane", action="store_true", help="banks to turn, instead of tilting")
    parser.add_argument("--attitude-error-deg", type=float, default=0.35, help="sigma of roll and pitch in the log")
    parser.add_argument("--heading-error-deg", type=float, default=1.0, help="sigma of the heading in the log")
    parser.add_argument("--height-error", type=float, default=0.01, help="sigma of the height in the log, relative")
    parser.add_argument("--relief-m", type=float, default=0.0, help="hills of so many metres (default: the map's own)")
    parser.add_argument(
        "--amsl-error-m", type=float, default=2.0, help="sigma of the height above sea level, over hills"
    )
    parser.add_argument("--no-rangefinder", action="store_true", help="over hills: height from air pressure alone")
    parser.add_argument("--gain", type=float, default=1.0, help="brightness of the pictures")
    parser.add_argument("--blur-px", type=float, default=0.0)
    parser.add_argument("--noise", type=float, default=0.0, help="sigma, of full scale 1")
    parser.add_argument("--vignette", type=float, default=0.0, help="share of light lost in the corners")
    parser.add_argument("--exposure-ms", type=float, default=0.0, help="for motion blur")
    parser.add_argument("--png", action="store_true", help="lossless pictures instead of JPEG")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

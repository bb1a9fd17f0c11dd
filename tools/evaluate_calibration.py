"""Plants errors in flights over generated worlds and lets `tilefix calibrate` find them.

    python tools/evaluate_calibration.py record evaluation      flights and maps, in out/calibration
    python tools/evaluate_calibration.py run evaluation         the same, then estimates: evaluation.md
    python tools/evaluate_calibration.py mount evaluation       replays before and after, mount pitch wrong by 9 degrees

Sets: `development` to choose settings by, `evaluation` for figures that are published. What exists is kept. A planted
error is what is true minus what `flight.toml` and the log say; the log's attitude and heading err besides, as those of
the simulated autopilot do, and its height by half a percent.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from replay_flight import line_of
from replay_flight import run as run_replay
from tilefix.calibration.command import calibrate
from tilefix.calibration.model import Parameters
from tilefix.calibration.report import html_of, svg_of
from tilefix.camera import CameraModel, Mount
from tilefix.embedders import open_embedder
from tilefix.errors import TilefixError
from tilefix.evaluation.results import write_results
from tilefix.flights.flight import FlightRow, open_flight
from tilefix.flights.writer import FlightWriter, write_flight_toml
from tilefix.geodesy import Grid, LocalFrame
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.maps.package import MapPackage
from tilefix.simulation.camera import Exposure
from tilefix.simulation.flights import FlightPlan, exposure_of, flown
from tilefix.simulation.noise import rng_for
from tilefix.simulation.sight import Scenery, picture_of
from tilefix.simulation.vehicle import Motion
from tilefix.simulation.world import drone_look, generate_world, satellite_look

SETS = {"development": range(1800, 1806), "evaluation": range(9800, 9812)}
WORLD_M, STRIDE_M, PATCH_M = 1600.0, 100.0, 120.0
LOG_HZ = 50.0  # of the flight that the log is taken from
FRAME_STEPS = 25  # of those from picture to picture
DURATION_S = 300.0
HEIGHT_SIGMA = 0.005
WRONG_PITCH_DEG = 9.0
SAME_M = 0.05
# Of each value: its name, factor to the unit printed, the unit, and within how much of it the estimate should be.
VALUES = {
    "roll_deg": ("mount roll", 1.0, "°", 0.5),
    "pitch_deg": ("mount pitch", 1.0, "°", 0.5),
    "yaw_deg": ("mount yaw", 1.0, "°", 0.5),
    "log_focal": ("focal length", 100.0, "%", 1.0),
    "time_s": ("time", 1000.0, "ms", 20.0),
    "east_m": ("map east", 1.0, "m", 1.0),
    "north_m": ("map north", 1.0, "m", 1.0),
}


@dataclass(frozen=True)
class Draw:
    """A flight and what is planted in it."""

    plan: FlightPlan
    planted: Parameters


def draw(seed: int) -> Draw:
    """Drawn from the seed: 80 to 250 m, 8 to 16 m/s, errors of the size that operators make."""
    rng = rng_for(seed, "calibration")
    quarter = float(rng.choice([0.0, 0.0, 90.0, 180.0, -90.0]))
    planted = Parameters(
        float(rng.uniform(-12.0, 12.0)),
        float(rng.uniform(-12.0, 12.0)),
        quarter + float(rng.uniform(-8.0, 8.0)),
        float(rng.uniform(-0.17, 0.17)),
        round(float(rng.uniform(-0.8, 0.8)) * LOG_HZ) / LOG_HZ,
        float(rng.uniform(-18.0, 18.0)),
        float(rng.uniform(-18.0, 18.0)),
    )
    plan = FlightPlan(
        agl_m=float(rng.uniform(80.0, 250.0)),
        speed_mps=float(rng.uniform(8.0, 16.0)),
        rate_hz=LOG_HZ,
        duration_s=DURATION_S,
        seed=seed,
        camera=CameraModel.from_hfov(640, 480, float(rng.uniform(55.0, 80.0))),
        mount=Mount(*(float(rng.uniform(-3.0, 3.0)) for _ in range(3))),
        height_error=HEIGHT_SIGMA,
        exposure=Exposure(gain=0.97, blur_px=0.6, noise=0.012, vignette=0.2),
        exposure_ms=5.0,
    )
    return Draw(plan, planted)


def record(folder: Path, seed: int, model: str | None) -> None:
    """Writes `map` and `flight`, with the planted errors in the flight's folder, unless they are there."""
    if (folder / "flight" / "flight.toml").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    world = generate_world(seed, size_m=WORLD_M)
    pixels = world.render(satellite_look(seed))
    cover = np.full(pixels.shape[:2], 255, np.uint8)
    imagery = ArrayImagery(world.frame, world.grid, pixels, cover, f"generated world {seed}", "", "generated")
    build_package(imagery, folder / "map", embedder=open_embedder(model), patch_m=PATCH_M, stride_m=STRIDE_M)
    scenery = Scenery(world.render(drone_look(seed)), world.grid)
    one = draw(seed)
    camera, mount = configured(one)
    with FlightWriter(folder / "flight", frames="frames/*.jpg", camera=camera, mount=mount) as writer:
        (folder / "flight" / "frames").mkdir()
        for number, (row, motion) in enumerate(logged(one, world.grid, world.frame)):
            exposure = exposure_of(one.plan, motion)
            picture = picture_of(scenery, one.plan.camera, one.plan.mount, motion, exposure, seed, number)
            path = folder / "flight" / "frames" / row.frame
            cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
            writer.add(row)


def logged(one: Draw, grid: Grid, frame: LocalFrame) -> Iterator[tuple[FlightRow, Motion]]:
    """The log with the planted errors, and the motion at each exposure."""
    steps = list(flown(grid, frame, one.plan))
    late = round(-one.planted.time_s * LOG_HZ)  # steps from exposure to stamp
    margin = round(LOG_HZ)
    for number in range(margin, len(steps) - margin, FRAME_STEPS):
        row = steps[number + late][0]
        assert row.truth is not None
        east_m, north_m = frame.to_local(*row.truth)
        # The receiver's positions stand beside the map: as if the map lay elsewhere.
        truth = frame.to_geodetic(east_m + one.planted.east_m, north_m + one.planted.north_m)
        yield replace(row, frame=f"{number:06d}.jpg", truth=truth), steps[number][1]


def check_recorded(rows: Sequence[FlightRow], one: Draw, grid: Grid, frame: LocalFrame, where: Path) -> None:
    """Raises `TilefixError` when today's simulation flies another way than that on which pictures were taken.

    A new log would not belong to them.
    """
    now = [row.truth for row, _ in logged(one, grid, frame)]
    apart_m = [
        math.dist(frame.to_local(*was.truth), frame.to_local(*truth))
        for was, truth in zip(rows, now, strict=False)
        if was.truth is not None and truth is not None
    ]
    if len(rows) != len(now) or len(apart_m) != len(now) or max(apart_m, default=0.0) > SAME_M:
        raise TilefixError("was recorded by another simulation", where=where, mend="delete it: it is recorded anew")


def configured(one: Draw) -> tuple[CameraModel, Mount]:
    """What `flight.toml` says wrongly."""
    plan, planted = one.plan, one.planted
    shrink = math.exp(-planted.log_focal)
    camera = replace(plan.camera, fx=plan.camera.fx * shrink, fy=plan.camera.fy * shrink)
    mount = Mount(
        plan.mount.roll_deg - planted.roll_deg,
        plan.mount.pitch_deg - planted.pitch_deg,
        plan.mount.yaw_deg - planted.yaw_deg,
    )
    return camera, mount


def estimated(folder: Path, seed: int) -> dict[str, Any]:
    """Calibrates one flight; errors and sigmas of the estimate, kept in `estimate.json`."""
    path = folder / "estimate.json"
    if not path.exists():
        flight, package = open_flight(folder / "flight"), MapPackage.open(folder / "map", verify=False)
        result, found = calibrate(flight, package, height_sigma=HEIGHT_SIGMA)
        one = draw(seed)
        mount = one.plan.mount
        planted = replace(one.planted, roll_deg=mount.roll_deg, pitch_deg=mount.pitch_deg, yaw_deg=mount.yaw_deg)
        error = result.solution.parameters.vector - planted.vector
        error[2] = (error[2] + 180.0) % 360.0 - 180.0
        fields = {
            "seed": seed,
            "agl_m": one.plan.agl_m,
            "speed_mps": one.plan.speed_mps,
            "planted": asdict(one.planted),
            "error": dict(zip(Parameters.names(), map(float, error), strict=True)),
            "sigma": dict(zip(Parameters.names(), map(float, result.sigma), strict=True)),
            "told": [value.told for value in found.values],
            "frames": found.frames,
            "parts_share": found.parts_found / found.parts,
        }
        page = html_of(f"Calibration of flight {seed}", result, found)
        write_results(folder, {"estimate.json": json.dumps(fields, indent=2) + "\n", "calibration.html": page})
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def table(records: Sequence[dict[str, Any]]) -> str:
    """Errors against the limits and against the stated sigmas."""
    lines = [
        "| | planted, largest | error, median | error, largest | within | limit | sigma, median | within 1, 2 sigma |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key, (name, factor, unit, limit) in VALUES.items():
        planted, error, sigma = (
            factor * np.abs([one[field][key] for one in records]) for field in ("planted", "error", "sigma")
        )
        lines.append(
            f"| {name} | {planted.max():.3g} {unit} | {np.median(error):.2f} {unit} | {error.max():.2f} {unit} "
            f"| {(error <= limit).sum()} of {len(error)} | {limit:g} {unit} | {np.median(sigma):.2f} {unit} "
            f"| {100 * (error <= sigma).mean():.0f}, {100 * (error <= 2 * sigma).mean():.0f} % |"
        )
    return "\n".join(lines) + "\n"


def mount_case(folder: Path, seed: int, model: str | None, frames: int) -> None:
    """Replays a flight whose mount pitch alone is configured 9 degrees wrong, before and after what calibrate says."""
    embedder = open_embedder(model)
    package = MapPackage.open(folder / "map", model=embedder.manifest)
    case = folder / "mount"
    shutil.rmtree(case, ignore_errors=True)
    case.mkdir()
    one = draw(seed)
    check_recorded(open_flight(folder / "flight").rows, one, package.grid, package.frame, folder)
    wrong = replace(one, planted=Parameters(0.0, WRONG_PITCH_DEG, 0.0))
    camera, mount = configured(wrong)
    with FlightWriter(case, frames="../flight/frames/*.jpg", camera=camera, mount=mount) as writer:
        for row, _ in logged(wrong, package.grid, package.frame):
            writer.add(row)
    flight = open_flight(case)
    result, found = calibrate(flight, package, height_sigma=HEIGHT_SIGMA)
    print(found.config)
    write_results(case, {"calibrate.svg": svg_of(result)})
    before = run_replay(flight, package, embedder, hint=None, limit=frames, out=case / "before").score
    print("before:", line_of(before), flush=True)
    p = result.solution.parameters
    write_flight_toml(
        case, frames="../flight/frames/*.jpg", camera=p.camera(flight.camera), mount=p.mount,
        latency_ms=-1000.0 * p.time_s,
    )  # fmt: skip
    moved = package.moved(p.east_m, p.north_m)
    after = run_replay(open_flight(case), moved, embedder, hint=None, limit=frames, out=case / "after").score
    print("after: ", line_of(after))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a set; 0 when its table was written, 2 with one clear line when it could not be."""
    parser = argparse.ArgumentParser(
        description="Plant errors in generated flights and let tilefix calibrate find them."
    )
    parser.add_argument("what", choices=("record", "run", "mount"))
    parser.add_argument("set", choices=tuple(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", help="of these worlds only")
    parser.add_argument("--frames", type=int, default=200, help="rows to replay (mount)")
    parser.add_argument("--model", help="default: the one that ships")
    parser.add_argument("--out", type=Path, default=Path("out/calibration"))
    args = parser.parse_args(argv)
    seeds = args.seeds or list(SETS[args.set])
    try:
        if args.what == "mount":
            record(args.out / str(seeds[0]), seeds[0], args.model)
            mount_case(args.out / str(seeds[0]), seeds[0], args.model, args.frames)
            return 0
        records = []
        for seed in seeds:
            record(args.out / str(seed), seed, args.model)
            if args.what == "record":
                continue
            records.append(estimated(args.out / str(seed), seed))
            print(json.dumps({k: records[-1][k] for k in ("seed", "error", "sigma")}), flush=True)
        if not records:
            return 0
        text = table(records)
        write_results(args.out, {f"{args.set}.md": text})
        print(text, end="")
    except TilefixError as error:
        print(f"evaluate_calibration: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

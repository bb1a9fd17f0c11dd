"""How well `tilefix map check` tells beforehand where single frames match.

    python tools/evaluate_distinctiveness.py sample out/distinct/dev.csv --worlds 1510-1521 --naip 2009,2012,2015,2018
    python tools/evaluate_distinctiveness.py fit out/distinct/dev.csv          the weights of tilefix.mapcheck.score
    python tools/evaluate_distinctiveness.py report out/distinct/test.csv     rank correlation, reliability

`sample` takes frames at random places of generated worlds (map: one look; frames: two others) and of aerial surveys
(map: one year; frames: another), and judges each by the localizer's own parts: *match*, when the place is known within
metres, and *found*, when nothing is known. Weights are fitted on seeds below 9000 and four years, reported on others.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from real_maps import NAIP_CAMERA, naip_map
from tilefix.camera import CameraModel, Mount
from tilefix.embedders import open_embedder
from tilefix.errors import MapError, TilefixError
from tilefix.geodesy import Grid, LocalFrame
from tilefix.localization.belief import Belief
from tilefix.localization.look import Looker
from tilefix.localization.register import background_spread, refine_peak
from tilefix.localization.search import Searcher, tile_log_ratio
from tilefix.localization.settings import LocalizerSettings
from tilefix.localization.trial import try_out
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.mapcheck.score import FOUND_WEIGHTS, MATCH_WEIGHTS, regressors
from tilefix.mapcheck.sight import Sight
from tilefix.mapcheck.traits import MapSelf, Traits
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Embedder
from tilefix.simulation.camera import Exposure, expose, render_view
from tilefix.simulation.world import drone_look, generate_world, satellite_look
from tilefix.types import Float64Array, Frame, Reason, UInt8Array, VehicleState

WORLD_CAMERA = CameraModel.from_hfov(640, 480, 70.0)
WORLD_M, PATCH_M, STRIDE_M = 1200.0, 120.0, 60.0
WORLD_HEIGHTS_M = (30.0, 50.0, 90.0, 200.0)
NAIP_HEIGHTS_M = (300.0, 400.0, 500.0, 900.0)
EXPOSURE = Exposure(gain=0.97, blur_px=0.6, noise=0.012, vignette=0.2)
LEAN_DEG = 3.0  # of the aircraft, one standard deviation; below, what the log gets wrong
TILT_SIGMA_DEG, HEADING_SIGMA_DEG, HEIGHT_SIGMA = 0.35, 1.0, 0.01
KNOWN_SIGMA_M = 4.0  # of the place, each way, for a match
SURE_MARGIN = 3.0  # log likelihood ratio over every other place: twenty times as likely
NEAR_M, NEAR_PX = 25.0, 6.0
WINDOW_PX = 72


@dataclass(frozen=True, slots=True)
class Outcome:
    """One frame judged. `z_score` and `margin` are the figures behind `match` and `found`; 0 for a refused frame."""

    match: bool
    found: bool
    z_score: float
    margin: float


@dataclass(frozen=True, slots=True)
class Picture:
    """Imagery to take frames of: uint8 (H, W, 3) RGB on a grid of its own frame."""

    pixels: UInt8Array
    grid: Grid
    frame: LocalFrame


@dataclass(frozen=True, slots=True)
class Ground:
    """A map, and pictures of the same ground at another time."""

    name: str
    package: MapPackage
    pictures: tuple[Picture, ...]
    camera: CameraModel
    heights_m: tuple[float, ...]
    seed: int


class Judge:
    """Judges single frames on one map, each without memory of the one before."""

    def __init__(self, package: MapPackage, embedder: Embedder, camera: CameraModel) -> None:
        self._package, self._embedder = package, embedder
        self.index = TileIndex.open(package)
        self._settings = LocalizerSettings()
        self._looker = Looker(package, camera, Mount(), self._settings)
        self._searcher = Searcher(package.tile_centres_m, self._settings.search_budget_px)
        grid = package.grid
        self._belief = Belief(grid, max(6.0, max(grid.width_px, grid.height_px) / 1000.0) * grid.gsd_m)

    def judge(
        self, image: UInt8Array, state: VehicleState, east_m: float, north_m: float, rng: np.random.Generator
    ) -> Outcome:
        """What comes of a frame taken at that place."""
        seen = self._looker.look(Frame(image, state.at_ns, 0), state, 0.0, 1.0)
        if isinstance(seen, Reason):
            return Outcome(False, False, 0.0, 0.0)
        s, gsd_m = self._settings, self._package.grid.gsd_m
        assert state.agl_m is not None
        tilt_m = 3.0 * state.agl_m * math.tan(math.radians(math.sqrt(2.0) * TILT_SIGMA_DEG))
        east, north = east_m + seen.offset_m[0], north_m + seen.offset_m[1]
        level = seen.correlator.level
        slip = rng.normal(0.0, KNOWN_SIGMA_M, 2)
        column, row = (round(v) for v in level.to_pixel(east + slip[0], north + slip[1]))
        side = 2 * WINDOW_PX + 1
        surface = seen.correlator.search(seen.template, column - WINDOW_PX, row - WINDOW_PX, side, side)
        if not surface.values.size or not np.isfinite(surface.values).any():
            return Outcome(False, False, 0.0, 0.0)
        at_row, at_column = divmod(int(np.nanargmax(surface.values)), surface.values.shape[1])
        peak = refine_peak(surface, at_row, at_column, background_spread(surface.values))
        off_m = math.hypot(peak.east_m - east, peak.north_m - north)
        match = peak.z_score >= s.track_z_score and off_m <= max(10.0, 3.0 * gsd_m) + tilt_m
        manifest = self._embedder.manifest
        patch = seen.coloured(self._package.manifest.patch_m / manifest.patch_px, manifest.patch_px)
        tiles = tile_log_ratio(self.index.similarities(self._embedder.embed(patch.image[None], patch.mask[None])[0]))
        belief = self._belief
        belief.start_uniform()
        evidence = self._searcher.everywhere(seen.correlator, seen.template, seen.offset_m, belief, tiles)
        ratio = np.nan_to_num(evidence.log_ratio, nan=-9.0)
        row, column = divmod(int(ratio.argmax()), belief.columns)
        easts, norths = belief.centres()
        place = float(easts[column]), float(norths[row])
        apart = np.hypot(easts[None, :] - place[0], norths[:, None] - place[1]) > 4.0 * belief.cell_m
        margin = float(ratio[row, column] - ratio[apart].max()) if apart.any() else math.inf
        right = math.hypot(place[0] - east_m, place[1] - north_m) <= max(NEAR_M, NEAR_PX * gsd_m) + tilt_m
        best = try_out(seen, *place, evidence.spread, belief.cell_m, s)
        agrees = best is not None and best.peak.z_score >= s.settle_z_score and best.support >= s.settle_support
        return Outcome(match, right and agrees and margin >= SURE_MARGIN, peak.z_score, margin if right else -margin)


def sample(ground: Ground, embedder: Embedder, count: int) -> Iterator[dict[str, object]]:
    """Frames at `count` random places from each height: traits of the map there, and what came of the frame."""
    judge = Judge(ground.package, embedder, ground.camera)
    sight = Sight(ground.package, judge.index, ground.camera, Mount())
    grid, rng = ground.package.grid, np.random.default_rng([ground.seed, 77])
    for agl_m in ground.heights_m:
        itself = MapSelf(ground.package, judge.index, sight.footprint_m(agl_m))
        margin_m = 0.6 * sight.view(agl_m).extent_m
        for k in range(count):
            east_m = float(rng.uniform(grid.west_m + margin_m, grid.east_m - margin_m))
            north_m = float(rng.uniform(grid.south_m + margin_m, grid.north_m - margin_m))
            roll_deg, pitch_deg = rng.normal(0.0, LEAN_DEG, 2)
            yaw_deg = float(rng.uniform(0.0, 360.0))
            picture = ground.pictures[k % len(ground.pictures)]
            attitude = (float(roll_deg), float(pitch_deg), yaw_deg)
            there = picture.frame.to_local(*ground.package.frame.to_geodetic(east_m, north_m))
            view = render_view(picture.pixels, picture.grid, ground.camera, Mount(), *there, agl_m, *attitude)
            wrong = rng.standard_normal(4)
            state = VehicleState(
                1,
                attitude[0] + TILT_SIGMA_DEG * float(wrong[0]),
                attitude[1] + TILT_SIGMA_DEG * float(wrong[1]),
                yaw_deg + HEADING_SIGMA_DEG * float(wrong[2]),
                agl_m * (1.0 + HEIGHT_SIGMA * float(wrong[3])),
            )
            outcome = judge.judge(expose(view, EXPOSURE, rng), state, east_m, north_m, rng)
            traits = itself.traits(east_m, north_m)
            if traits is not None:
                place = {"agl_m": agl_m, "east_m": round(east_m, 2), "north_m": round(north_m, 2)}
                yield {"ground": ground.name, **place, **asdict(traits), **asdict(outcome)}


def worlds(seeds: Sequence[int], out: Path, embedder: Embedder, size_m: float = WORLD_M) -> Iterator[Ground]:
    """Generated worlds with their maps, kept in `out`."""
    for seed in seeds:
        world = generate_world(seed, size_m=size_m)
        ground = world.render(satellite_look(seed))
        covered = np.full(ground.shape[:2], 255, np.uint8)
        imagery = ArrayImagery(
            frame=world.frame, grid=world.grid, pixels=ground, coverage=covered, source="generated", date="", licence=""
        )
        package = build_package(imagery, out / f"map_{seed}", embedder=embedder, patch_m=PATCH_M, stride_m=STRIDE_M)
        looks = [world.render(drone_look(seed + 10_000 * other)) for other in (0, 1)]
        pictures = tuple(Picture(look, world.grid, world.frame) for look in looks)
        yield Ground(f"world {seed}", package, pictures, WORLD_CAMERA, WORLD_HEIGHTS_M, seed)


def surveys(data: Path, years: Sequence[int], out: Path, embedder: Embedder) -> Iterator[Ground]:
    """Every year's map with every other year's picture; the maps are kept in `out`."""
    maps = {year: naip_map(data, year, out / f"map_naip_{year}", embedder) for year in years}
    for mapped, flown in itertools.permutations(years, 2):
        picture = Picture(maps[flown].imagery, maps[flown].grid, maps[flown].frame)
        yield Ground(
            f"NAIP {mapped} by {flown}", maps[mapped], (picture,), NAIP_CAMERA, NAIP_HEIGHTS_M, 10_000 * mapped + flown
        )


@dataclass(frozen=True)
class Samples:
    """What `sample` wrote: regressors float64 (n, 7), outcomes, and where from."""

    x: Float64Array
    match: Float64Array
    found: Float64Array
    z_score: Float64Array
    margin: Float64Array
    ground: tuple[str, ...]
    agl_m: Float64Array


def load(paths: Sequence[Path]) -> Samples:
    """Reads samples; raises `TilefixError`."""
    rows = [row for path in paths for row in _rows(path)]
    names = [one.name for one in fields(Traits)]
    if not rows or not {*names, "match", "found"} <= set(rows[0]):
        raise TilefixError("no samples in it", where=paths[0], mend="write them with the command sample")

    def column(name: str) -> Float64Array:
        return np.array(
            [float(row[name] == "True") if name in ("match", "found") else float(row[name]) for row in rows]
        )

    x = np.stack([regressors(Traits(**{name: float(row[name]) for name in names})) for row in rows])
    grounds = tuple(row["ground"] for row in rows)
    return Samples(x, column("match"), column("found"), column("z_score"), column("margin"), grounds, column("agl_m"))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise TilefixError(f"cannot be read: {error.strerror}", where=path) from error


def fit(x: Float64Array, y: Float64Array, ridge: float = 1.0, rounds: int = 50) -> Float64Array:
    """Weights of a logistic regression, by Newton's method; the ridge holds standardised weights, not the constant."""
    mean, spread = x[:, 1:].mean(axis=0), x[:, 1:].std(axis=0) + 1e-9
    a = np.column_stack([np.ones(len(x)), (x[:, 1:] - mean) / spread])
    penalty = ridge * np.eye(a.shape[1])
    penalty[0, 0] = 1e-6
    w = np.zeros(a.shape[1])
    for _ in range(rounds):
        p = probability(a, w)
        w += np.linalg.solve(a.T @ (a * (p * (1.0 - p) + 1e-9)[:, None]) + penalty, a.T @ (y - p) - penalty @ w)
    slopes = w[1:] / spread
    return np.concatenate([[w[0] - float(slopes @ mean)], slopes])


def probability(x: Float64Array, weights: Float64Array | Sequence[float]) -> Float64Array:
    """Predicted chances."""
    return np.asarray(1.0 / (1.0 + np.exp(-(x @ np.asarray(weights, np.float64)))))


def rank_correlation(a: Float64Array, b: Float64Array) -> float:
    """Spearman's, ties at their mean rank."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def area_under_curve(score: Float64Array, y: Float64Array) -> float:
    """Chance that a frame that works out has the higher score than one that does not."""
    ones = float(y.sum())
    zeros = len(y) - ones
    if not ones or not zeros:
        return math.nan
    return float((_ranks(score)[y == 1.0].sum() - ones * (ones + 1.0) / 2.0) / (ones * zeros))


def within_heights(score: Float64Array, y: Float64Array, agl_m: Float64Array) -> float:
    """The same among frames of one height: how well places are told apart, height aside. Mean over the heights, each
    counting by its pairs."""
    total, pairs = 0.0, 0.0
    for height in np.unique(agl_m):
        rows = agl_m == height
        weight = float(y[rows].sum() * (1.0 - y[rows]).sum())
        if weight:
            total, pairs = total + weight * area_under_curve(score[rows], y[rows]), pairs + weight
    return total / pairs if pairs else math.nan


def _ranks(values: Float64Array) -> Float64Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - 0.5 * (counts - 1))[inverse], np.float64)


EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97, 1.0 + 1e-9)


def report(samples: Samples) -> str:
    """Rank correlation and reliability of both chances, as Markdown."""
    lines = []
    groups = {"generated": "world", "surveys": "NAIP"}
    kinds = {name: np.array([g.startswith(start) for g in samples.ground]) for name, start in groups.items()}
    pairs = (
        ("match", MATCH_WEIGHTS, samples.match, samples.z_score),
        ("found", FOUND_WEIGHTS, samples.found, samples.margin),
    )
    lines += [
        "| chance | frames of | frames | predicted | happened | rank correlation | ROC area | at one height | Brier |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, weights, y, behind in pairs:
        p = probability(samples.x, weights)
        for kind, rows in {"all": np.ones(len(y), bool), **kinds}.items():
            if rows.any():
                shares = f"{100 * p[rows].mean():.1f} % | {100 * y[rows].mean():.1f} %"
                lines.append(
                    f"| {name} | {kind} | {int(rows.sum())} | {shares} | {rank_correlation(p[rows], behind[rows]):.2f} "
                    f"| {area_under_curve(p[rows], y[rows]):.2f} "
                    f"| {within_heights(p[rows], y[rows], samples.agl_m[rows]):.2f} "
                    f"| {np.mean((p[rows] - y[rows]) ** 2):.3f} |"
                )
    for name, weights, y, _ in pairs:
        p = probability(samples.x, weights)
        lines += ["", f"| predicted chance ({name}) | frames | predicted | happened |", "| --- | ---: | ---: | ---: |"]
        for low, high in itertools.pairwise(EDGES):
            rows = (p >= low) & (p < high)
            if rows.any():
                lines.append(
                    f"| {100 * low:.0f} to {100 * min(high, 1.0):.0f} % | {int(rows.sum())} "
                    f"| {100 * p[rows].mean():.0f} % | {100 * y[rows].mean():.0f} % |"
                )
    return "\n".join(lines) + "\n"


def _seeds(text: str) -> list[int]:
    try:
        low, _, high = text.partition("-")
        return list(range(int(low), int(high or low) + 1))
    except ValueError as error:
        raise MapError(f"{text!r} are no seeds", where="--worlds", mend="give for example 1510-1521") from error


def _sample(args: argparse.Namespace) -> None:
    embedder = open_embedder(args.model)
    folder = args.out.parent
    folder.mkdir(parents=True, exist_ok=True)
    grounds: list[Iterator[Ground]] = []
    if args.naip:
        grounds.append(surveys(args.data, [int(year) for year in args.naip.split(",")], folder, embedder))
    if args.worlds:
        grounds.append(worlds(_seeds(args.worlds), folder, embedder, args.world_m))
    partial = args.out.with_name(args.out.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[str] | None = None
        for ground in itertools.chain(*grounds):
            for row in sample(ground, embedder, args.count):
                writer = writer or csv.DictWriter(file, list(row))
                if not file.tell():
                    writer.writeheader()
                writer.writerow(row)
            print(ground.name, file=sys.stderr, flush=True)
    partial.replace(args.out)


def _fit(args: argparse.Namespace) -> None:
    samples = load(args.samples)
    for name, y in (("MATCH", samples.match), ("FOUND", samples.found)):
        print(f"{name}_WEIGHTS = ({', '.join(f'{w:.3f}' for w in fit(samples.x, y))})")


def main(argv: Sequence[str] | None = None) -> int:
    """Samples, fits or reports; 0 when it worked, 2 with one clear line when it could not."""
    parser = argparse.ArgumentParser(description="Evaluate where fixes are predicted to be hard.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("sample", help="take frames and judge them")
    one.add_argument("out", type=Path)
    one.add_argument("--worlds", metavar="FIRST-LAST", help="seeds")
    one.add_argument("--world-m", type=float, default=WORLD_M)
    one.add_argument("--naip", metavar="YEARS", help="separated by commas")
    one.add_argument("--count", type=int, default=30, help="places for each height (default: %(default)s)")
    one.add_argument("--data", type=Path, default=Path("../shared/data"))
    one.add_argument("--model", help="default: the one that ships")
    for name, text in (("fit", "weights from samples"), ("report", "how well the present weights hold")):
        commands.add_parser(name, help=text).add_argument("samples", type=Path, nargs="+")
    args = parser.parse_args(argv)
    try:
        if args.command == "sample":
            _sample(args)
        elif args.command == "fit":
            _fit(args)
        else:
            print(report(load(args.samples)), end="")
    except TilefixError as error:
        print(f"evaluate_distinctiveness: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Compares ways to register one frame on the whole map: dense correlation, SIFT, the embedding's tile centre alone.

Every frame stands alone: no belief, no motion, no hint. Each method gets the same rectified picture, and says for
itself whether it accepts its answer and how sure it is; errors and false fixes are counted by the usual definitions.

    python tools/compare_registration.py --flight out/real/nust --map out/real/map_nust --out out/real
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from backbone_features import Backbone, likeness
from tilefix.embedders import open_embedder, open_model_files
from tilefix.errors import TilefixError
from tilefix.evaluation.results import write_results
from tilefix.evaluation.scoring import Answer, judge, score
from tilefix.flights.flight import Flight, open_flight
from tilefix.geodesy import Grid
from tilefix.localization.localizer import LocalizerSettings
from tilefix.localization.rectify import Patch, PreparedFrame, Rectifier, View
from tilefix.localization.register import (
    MAX_TEMPLATE_PX,
    MapCorrelator,
    Surface,
    Template,
    background_spread,
    refine_peak,
)
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Embedder
from tilefix.types import Covariance, Fix, FixKind, Frame, NoFix, Reason, UInt8Array, VehicleState

BASELINE_PATCH_M = 90.0
BASELINE_GSD_M = 0.5  # on a coarser map the patch keeps its pixels, as far as the footprint reaches
BASELINE_MIN_PEAK = 0.2
MIN_VARIANCE = 0.1
DENSE_FACTOR = 2  # on maps as fine as the baseline; coarser ones are taken as they are
BACKBONE_MIN_Z_SCORE = 6.0  # wrong places over North Dakota, 2012 on 2018, reach 5.3
SIFT_RATIO = 0.8
SIFT_MIN_INLIERS = 8
SIFT_REPROJECTION_PX = 3.0
SIFT_MAX_SCALE = 1.2
SIFT_MAX_TURN_DEG = 20.0
POINT_SIGMA_M = 3.0

# The place below the camera (east_m, north_m) with its covariance, or nothing.
Place = tuple[float, float, Covariance] | None


class Seen:
    """One frame with its geometry, from which each method cuts what it needs."""

    def __init__(self, rectifier: Rectifier, frame: Frame, state: VehicleState) -> None:
        roll_deg, pitch_deg, yaw_deg, agl_m = state.roll_deg, state.pitch_deg, state.yaw_deg, state.agl_m
        assert roll_deg is not None
        assert pitch_deg is not None
        assert yaw_deg is not None
        assert agl_m is not None
        view = rectifier.view(roll_deg, pitch_deg, yaw_deg, agl_m)
        assert view is not None
        self.view: View = view
        self._rectifier, self._image, self._agl_m = rectifier, frame.image, agl_m

    def patch(self, gsd_m: float, side_m: float | None = None, size_px: int | None = None) -> Patch:
        """A north-up square of the ground in view (by default all of it), odd-sided unless a size is given."""
        prepared: PreparedFrame = self._rectifier.prepare(self._image, self._agl_m, gsd_m)
        size_px = size_px or 2 * math.ceil(0.5 * (side_m or self.view.extent_m) / gsd_m) + 1
        return prepared.patch(self.view, gsd_m=gsd_m, size_px=size_px, centre_m=self.view.centre_m)


def dense(package: MapPackage) -> Callable[[Seen], Place]:
    """What the localizer registers with: edge orientations, all of the frame, at about 1 m/px or the map's sampling."""
    factor = DENSE_FACTOR if package.grid.gsd_m <= BASELINE_GSD_M else 1
    correlator = MapCorrelator(package.imagery, package.coverage, package.grid, factor)
    level = correlator.level
    settings = LocalizerSettings()

    def locate(seen: Seen) -> Place:
        patch = seen.patch(level.gsd_m, min(seen.view.extent_m, (MAX_TEMPLATE_PX - 1) * level.gsd_m))
        surface = _whole(correlator, Template(patch))
        spread = background_spread(surface.values)
        row, column = divmod(int(np.nanargmax(surface.values)), surface.values.shape[1])
        peak = refine_peak(surface, row, column, spread)
        if peak.z_score < settings.settle_z_score:
            return None
        # The errors of attitude and map that the localizer adds.
        common = settings.map_sigma_m**2 + (seen.view.agl_m * math.tan(math.radians(settings.mount_sigma_deg))) ** 2
        c = peak.covariance_m2
        whole = Covariance(c.ee + common, c.en, c.nn + common)
        return peak.east_m - patch.east_m, peak.north_m - patch.north_m, whole

    return locate


def _whole(correlator: MapCorrelator, template: Template) -> Surface:
    """The scores over the whole map, from the blocks that the localizer searches."""
    level = correlator.level
    values = np.full((level.height_px, level.width_px), np.nan, np.float32)
    for block in correlator.blocks:
        part = correlator.search_block(template, block)
        rows, columns = part.values.shape
        values[part.row : part.row + rows, part.column : part.column + columns] = part.values
    return Surface(values, 0, 0, level)


def magnitudes(package: MapPackage) -> Callable[[Seen], Place]:
    """The baseline: normalised cross-correlation of the root of the gradient's magnitude, 90 m at 0.5 m/px."""
    grid = package.grid
    gsd_m = max(BASELINE_GSD_M, grid.gsd_m)
    scale = grid.gsd_m / gsd_m
    ground = np.asarray(package.imagery)
    if scale != 1.0:
        ground = np.asarray(cv2.resize(ground, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    field = _root_magnitude(ground)
    sums, squares = cv2.integral2(field, sdepth=cv2.CV_64F, sqdepth=cv2.CV_64F)

    def locate(seen: Seen) -> Place:
        reach_m = 0.7 * math.sqrt(seen.view.area_m2)  # a turned footprint holds about that square
        patch = seen.patch(gsd_m, min(BASELINE_PATCH_M / BASELINE_GSD_M * gsd_m, max(reach_m, BASELINE_PATCH_M)))
        template = _root_magnitude(patch.image)
        scores = cv2.matchTemplate(field, template, cv2.TM_CCOEFF_NORMED)
        # Ground without features divides by nothing.
        side = template.shape[0]
        variance = _windows(squares, side) / side**2 - (_windows(sums, side) / side**2) ** 2
        scores[variance < MIN_VARIANCE * template.var()] = -1.0
        _, peak, _, (column, row) = cv2.minMaxLoc(scores)
        if peak < BASELINE_MIN_PEAK:
            return None
        half = side // 2
        east_m = grid.west_m + (column + half + 0.5) * gsd_m
        north_m = grid.north_m - (row + half + 0.5) * gsd_m
        return east_m - patch.east_m, north_m - patch.north_m, _round(POINT_SIGMA_M)

    return locate


def _windows(integral: np.ndarray, side: int) -> np.ndarray:
    """Sums over every window of that side, from an integral image."""
    return np.asarray(
        integral[side:, side:] - integral[:-side, side:] - integral[side:, :-side] + integral[:-side, :-side]
    )


def _root_magnitude(image: UInt8Array) -> np.ndarray:
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    return np.sqrt(cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)))


def sift(package: MapPackage) -> Callable[[Seen], Place]:
    """SIFT on the map's ground sampling, ratio test, similarity by RANSAC; refused when few agree or it is turned."""
    detector = cv2.SIFT.create()
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    points, descriptors = detector.detectAndCompute(cv2.cvtColor(np.asarray(package.imagery), cv2.COLOR_RGB2GRAY), None)
    places = np.array([point.pt for point in points], np.float32)
    grid = package.grid

    def locate(seen: Seen) -> Place:
        patch = seen.patch(grid.gsd_m)
        grey = cv2.cvtColor(patch.image, cv2.COLOR_RGB2GRAY)
        found, own = detector.detectAndCompute(grey, cv2.erode(patch.mask.astype(np.uint8), np.ones((9, 9), np.uint8)))
        if own is None or len(found) < SIFT_MIN_INLIERS:
            return None
        pairs = [pair for pair in matcher.knnMatch(own, descriptors, k=2) if len(pair) == 2]
        good = [a for a, b in pairs if a.distance < SIFT_RATIO * b.distance]
        if len(good) < SIFT_MIN_INLIERS:
            return None
        source = np.array([found[match.queryIdx].pt for match in good], np.float32)
        target = places[[match.trainIdx for match in good]]
        cv2.setRNGSeed(0)
        transform, inliers = cv2.estimateAffinePartial2D(
            source, target, method=cv2.RANSAC, ransacReprojThreshold=SIFT_REPROJECTION_PX, maxIters=5000
        )
        if transform is None or int(inliers.sum()) < SIFT_MIN_INLIERS:
            return None
        size = math.hypot(transform[0, 0], transform[1, 0])
        turn_deg = math.degrees(math.atan2(transform[1, 0], transform[0, 0]))
        if not 1.0 / SIFT_MAX_SCALE <= size <= SIFT_MAX_SCALE or abs(turn_deg) > SIFT_MAX_TURN_DEG:
            return None
        # The point below the camera, in the patch.
        half = 0.5 * (patch.image.shape[0] - 1)
        below = np.array([half - patch.east_m / grid.gsd_m, half + patch.north_m / grid.gsd_m, 1.0])
        column, row = transform @ below
        return *grid.to_local(float(column), float(row)), _round(POINT_SIGMA_M)

    return locate


def tile_centre(package: MapPackage, embedder: Embedder) -> Callable[[Seen], Place]:
    """The centre of the tile whose descriptor is most similar; always accepted."""
    index = TileIndex.open(package)
    manifest = package.manifest
    size_px = embedder.manifest.patch_px

    def locate(seen: Seen) -> Place:
        patch = seen.patch(manifest.patch_m / size_px, size_px=size_px)
        best = index.search(embedder.embed(patch.image[None], patch.mask[None])[0], 1)[0]
        # Spread evenly over a cell of the stride.
        return best.east_m - patch.east_m, best.north_m - patch.north_m, _round(manifest.stride_m / math.sqrt(12.0))

    return locate


def backbone(package: MapPackage, model: Path) -> Callable[[Seen], Place]:
    """Dense correlation of the network's own first stage, at the sampling of `dense`."""
    network = Backbone(model)
    stride = network.stride_px
    grid = package.grid
    factor = DENSE_FACTOR if grid.gsd_m <= BASELINE_GSD_M else 1
    gsd_m = grid.gsd_m * factor
    width, height = (side // factor // stride * stride for side in (grid.width_px, grid.height_px))
    image, cover = (
        np.asarray(
            cv2.resize(
                np.asarray(whole)[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_AREA
            ),
            np.uint8,
        )
        for whole in (package.imagery, package.coverage)
    )
    ground, covered = network.features(image, cover == 255)
    level = Grid(grid.west_m, grid.north_m, stride * gsd_m, width // stride, height // stride)

    def locate(seen: Seen) -> Place:
        cells = 2 * math.ceil(0.5 * min(seen.view.extent_m, MAX_TEMPLATE_PX * gsd_m) / level.gsd_m) + 1
        patch = seen.patch(gsd_m, size_px=cells * stride)
        vectors, whole = network.features(patch.image, patch.mask)
        surface = Surface(likeness(ground, vectors, covered, whole), 0, 0, level)
        row, column = divmod(int(np.nanargmax(surface.values)), surface.values.shape[1])
        peak = refine_peak(surface, row, column, background_spread(surface.values))
        if peak.z_score < BACKBONE_MIN_Z_SCORE:
            return None
        return peak.east_m - patch.east_m, peak.north_m - patch.north_m, peak.covariance_m2

    return locate


def _round(sigma_m: float) -> Covariance:
    return Covariance(sigma_m**2, 0.0, sigma_m**2)


def compare(flight: Flight, package: MapPackage, embedder: Embedder, model: Path) -> list[dict[str, object]]:
    """One row of figures for each method. `model`: the ONNX file of the embedder's network."""
    methods: dict[str, Callable[[Seen], Place]] = {
        "dense correlation of edge orientations (tilefix)": dense(package),
        "dense correlation of gradient magnitudes": magnitudes(package),
        "dense correlation of the network's first stage": backbone(package, model),
        "SIFT, ratio test, RANSAC similarity": sift(package),
        "the embedding's tile centre alone": tile_centre(package, embedder),
    }
    answers: dict[str, list[Answer]] = {name: [] for name in methods}
    took_ms: dict[str, list[float]] = {name: [] for name in methods}
    rectifier = Rectifier(flight.camera, flight.mount)
    for row, frame in flight.frames():
        seen = Seen(rectifier, frame, row.state)
        for name, locate in methods.items():
            begun = time.perf_counter()
            place = locate(seen)
            took_ms[name].append(1e3 * (time.perf_counter() - begun))
            position = _answer(place, package, row.state.at_ns)
            answers[name].append(judge(row.frame, row.time_s, position, row.truth, package.frame, package.grid.gsd_m))
    rows: list[dict[str, object]] = []
    for name, given in answers.items():
        result = score(given)
        rows.append(
            {
                "method": name,
                "frames": result.frames,
                "availability": result.availability,
                "median_error_m": result.median_error_m,
                "p95_error_m": result.p95_error_m,
                "max_error_m": result.max_error_m,
                "false_fixes": result.false_fixes,
                "latency_p50_ms": float(np.median(took_ms[name])),
            }
        )
    return rows


def _answer(place: Place, package: MapPackage, at_ns: int) -> Fix | NoFix:
    if place is None:
        return NoFix(at_ns, Reason.NO_MATCH)
    east_m, north_m, covariance = place
    lat_deg, lon_deg = package.frame.to_geodetic(east_m, north_m)
    return Fix(at_ns, FixKind.FIX, lat_deg, lon_deg, east_m, north_m, covariance, 0.0)


def markdown(rows: Sequence[dict[str, object]]) -> str:
    """The rows as a table."""
    lines = [
        "| registration, each frame alone on the whole map | accepted | median | p95 | false fixes | ms a frame |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        metres = ["–" if row[key] is None else f"{row[key]:.1f} m" for key in ("median_error_m", "p95_error_m")]
        lines.append(
            f"| {row['method']} | {100 * float(str(row['availability'])):.1f} % | {metres[0]} | {metres[1]} "
            f"| {row['false_fixes']} | {row['latency_p50_ms']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Writes registration.md for one flight and map."""
    parser = argparse.ArgumentParser(description="Compare ways to register a frame on the whole map.")
    parser.add_argument("--flight", type=Path, required=True)
    parser.add_argument("--map", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    try:
        with closing(open_embedder(args.model)) as embedder:
            package = MapPackage.open(args.map, model=embedder.manifest)
            model = open_model_files(args.model)[1]
            table = markdown(compare(open_flight(args.flight), package, embedder, model))
        write_results(args.out, {"registration.md": table})
    except TilefixError as error:
        print(f"compare_registration: {error}", file=sys.stderr)
        return 2
    print(table, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

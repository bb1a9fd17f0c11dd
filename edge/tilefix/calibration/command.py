"""`tilefix calibrate`: mount, field of view, latency and map offset from a flight with positions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tilefix.calibration.estimate import HEIGHT_SIGMA, Estimate, estimate
from tilefix.calibration.findings import Findings, findings
from tilefix.calibration.model import Parameters
from tilefix.calibration.pictures import FEWEST, MOST, read_pictures
from tilefix.calibration.report import html_of, json_of, svg_of, text_of
from tilefix.errors import FlightError
from tilefix.evaluation.results import write_results
from tilefix.flights.flight import Flight, open_flight
from tilefix.maps.package import MapPackage


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tilefix calibrate`."""
    parser.add_argument("--flight", type=Path, required=True, metavar="DIR", help="flight folder with positions")
    parser.add_argument("--map", type=Path, required=True, metavar="DIR", help="map package")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write a report there: .html, .json or .svg")
    parser.add_argument("--frames", type=int, default=MOST, help=f"pictures to look at (default {MOST})")
    parser.add_argument(
        "--height-sigma",
        type=float,
        default=HEIGHT_SIGMA,
        help=f"how well the recorded height above ground is known, relative (default {HEIGHT_SIGMA})",
    )


def run(args: argparse.Namespace) -> int:
    """Calibrates, prints what to paste, and writes the report."""
    _check(args)
    flight = open_flight(args.flight)
    package = MapPackage.open(args.map)
    result, found = calibrate(flight, package, frames=args.frames, height_sigma=args.height_sigma)
    sys.stdout.write(text_of(found))
    if args.out is not None:
        title = f"Calibration by {flight.folder.resolve().name}"
        pages = {
            ".html": lambda: html_of(title, result, found),
            ".json": lambda: json_of(result, found),
            ".svg": lambda: svg_of(result),
        }
        write_results(args.out.parent, {args.out.name: pages[args.out.suffix]()})
        sys.stdout.write(f"{args.out}\n")
    return 0


def calibrate(
    flight: Flight, package: MapPackage, *, frames: int = MOST, height_sigma: float = HEIGHT_SIGMA
) -> tuple[Estimate, Findings]:
    """The estimate and what it means. Raises `FlightError` for a flight that does not allow one."""
    pictures = read_pictures(flight, package.frame, most=frames, progress=lambda share: _tell("pictures", share))
    result = estimate(package, pictures, Parameters.of(flight.mount), height_sigma=height_sigma, progress=_tell)
    _tell("", 1.0)
    return result, findings(result, flight.camera, flight.latency_ms)


def _check(args: argparse.Namespace) -> None:
    if args.frames < FEWEST:
        raise FlightError(f"--frames {args.frames} is too few", mend=f"give {FEWEST} or more")
    if not 1e-4 <= args.height_sigma <= 0.5:
        raise FlightError(f"--height-sigma {args.height_sigma:g} is out of range", mend="give 0.0001 to 0.5")
    if args.out is not None and args.out.suffix not in (".html", ".json", ".svg"):
        raise FlightError(f"--out {args.out.name} is neither .html, .json nor .svg", mend="end it in one of them")


def _tell(what: str, share: float) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{100.0 * share:3.0f} % {what:<20}" + ("\n" if not what else ""))
        sys.stderr.flush()

"""`tilefix map`: build, inspect, check and fetch, from the command line."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from contextlib import closing
from pathlib import Path

from tilefix.errors import MapError
from tilefix.mapbuild.sources import parse_bbox
from tilefix.mapcheck.age import MAX_AGE_YEARS, age_warning
from tilefix.mapcheck.options import configure_drawing, drawing_wanted

_MODEL_HELP = "name or path of the model (default: the one that ships with tilefix)"
_BBOX_HELP = "only this part, degrees"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands of `tilefix map`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="imagery in, map package out")
    build.add_argument("--imagery", type=Path, required=True, help="GeoTIFF/COG, MBTiles, or folder of XYZ tiles")
    build.add_argument("--out", type=Path, required=True, help="folder of the map package; an older one is replaced")
    build.add_argument("--gsd-m", type=float, help="metres per map pixel (default: the imagery's)")
    build.add_argument("--patch-m", type=float, help="metres across a tile (default: from the model and --gsd-m)")
    build.add_argument("--stride-m", type=float, help="metres between tiles (default: a quarter of --patch-m)")
    build.add_argument("--model", help=_MODEL_HELP)
    build.add_argument("--zoom", type=int, help="zoom of the tiles (default: the finest that covers the ground)")
    build.add_argument("--bbox", metavar="W,S,E,N", help=_BBOX_HELP)
    build.add_argument("--bands", metavar="R,G,B", help="bands of a GeoTIFF, counted from 1")
    build.add_argument("--terrain", type=Path, metavar="DEM", help="GeoTIFF of ground heights, metres above sea level")
    build.add_argument("--source", help="where the imagery comes from (default: its name)")
    build.add_argument("--date", help="when it was taken (default: what it says itself)")
    build.add_argument("--license", "--licence", dest="licence", help="its licence (default: what it says itself)")
    info = actions.add_parser("info", help="what a map package holds")
    info.add_argument("map", type=Path, metavar="DIR")
    info.add_argument("--json", action="store_true", help="for programs")
    check = actions.add_parser(
        "check", help="whether a map package is whole and fits the model, and where fixes will be hard on it"
    )
    check.add_argument("map", type=Path, metavar="DIR")
    check.add_argument("--model", help=_MODEL_HELP)
    check.add_argument(
        "--max-age-years", type=float, default=MAX_AGE_YEARS, help="older imagery is warned of (default: %(default)g)"
    )
    configure_drawing(check)
    fetch = actions.add_parser("fetch", help="load XYZ tiles from your own provider")
    fetch.add_argument("--url", required=True, metavar="TEMPLATE", help="address with {z}, {x} and {y}")
    fetch.add_argument("--bbox", required=True, metavar="W,S,E,N", help="what to load, degrees")
    fetch.add_argument("--zoom", type=int, required=True)
    fetch.add_argument("--license", "--licence", dest="licence", required=True, help="terms you may use them under")
    fetch.add_argument("--out", type=Path, required=True, help="folder for z/x/y.png; an interrupted load goes on")
    fetch.add_argument("--date", default="", help="when the imagery was taken")
    fetch.add_argument("--max-tiles", type=int, default=20_000, help="refuse to load more (default: %(default)s)")
    fetch.add_argument("--rate", type=float, default=4.0, help="tiles a second at most (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Runs the chosen action; raises `TilefixError`."""
    return {"build": _build, "info": _info, "check": _check, "fetch": _fetch}[args.action](args)


class ProgressLine:
    """Progress on standard error: one line rewritten on a terminal, a line per tenth elsewhere."""

    def __init__(self) -> None:
        self._what, self._shown = "", -1
        self._live = sys.stderr.isatty()

    def __call__(self, what: str, done: float) -> None:
        percent = int(100.0 * done)
        step = percent if self._live else percent // 10 * 10
        if (what, step) == (self._what, self._shown):
            return
        if self._live and self._what not in ("", what):
            sys.stderr.write("\n")
        self._what, self._shown = what, step
        sys.stderr.write(f"\r{what}: {step} %" if self._live else f"{what}: {step} %\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leaves the cursor on a new line."""
        if self._live and self._what:
            sys.stderr.write("\n")


def _build(args: argparse.Namespace) -> int:
    from tilefix.embedders import open_embedder
    from tilefix.mapbuild.build import BuildOptions, build_map
    from tilefix.mapbuild.inspect import info_text

    options = BuildOptions(
        gsd_m=args.gsd_m,
        patch_m=args.patch_m,
        stride_m=args.stride_m,
        zoom=args.zoom,
        bbox=None if args.bbox is None else parse_bbox(args.bbox),
        bands=None if args.bands is None else _bands(args.bands),
        source=args.source,
        date=args.date,
        licence=args.licence,
        terrain=args.terrain,
        created=_created(),
    )
    progress = ProgressLine()
    try:
        with closing(open_embedder(args.model)) as embedder:
            package = build_map(args.imagery, args.out, embedder=embedder, options=options, progress=progress)
    finally:
        progress.end()
    sys.stdout.write(info_text(package) + "\n")
    return 0


def _info(args: argparse.Namespace) -> int:
    from tilefix.mapbuild.inspect import info_json, info_text
    from tilefix.maps.package import MapPackage

    package = MapPackage.open(args.map, verify=False)
    sys.stdout.write((info_json(package) if args.json else info_text(package)) + "\n")
    return 0


def _check(args: argparse.Namespace) -> int:
    from tilefix.embedders import open_embedder
    from tilefix.mapbuild.inspect import check_map
    from tilefix.maps.package import MapPackage

    progress = ProgressLine()
    try:
        with closing(open_embedder(args.model)) as embedder:
            found = check_map(args.map, embedder, progress)
    finally:
        progress.end()
    sys.stdout.write(
        f"{args.map}: whole. {100.0 * found.coverage_share:.1f} % covered, {found.tiles} tiles; "
        f"{found.tiles_checked} embedded again, lowest agreement {found.agreement:.4f}\n"
    )
    if found.relief is None:
        sys.stdout.write("No terrain: the ground is taken to be flat.\n")
    else:
        low_m, high_m, share = found.relief.lowest_m, found.relief.highest_m, found.relief.known_share
        sys.stdout.write(f"Terrain from {low_m:.0f} to {high_m:.0f} m, {100.0 * share:.1f} % known.\n")
    package = MapPackage.open(args.map, verify=False)
    today = datetime.datetime.now(datetime.timezone.utc).date()
    if warning := age_warning(package.manifest.imagery.date, today, args.max_age_years):
        sys.stdout.write(f"Warning: {warning}.\n")
    if not drawing_wanted(args):
        return 0
    from tilefix.mapcheck.command import draw

    try:
        return draw(args, package, progress)
    finally:
        progress.end()


def _fetch(args: argparse.Namespace) -> int:
    from tilefix.mapbuild.fetch import FetchOptions, TileFetcher

    fetcher = TileFetcher(
        FetchOptions(
            url=args.url,
            bbox=parse_bbox(args.bbox),
            zoom=args.zoom,
            licence=args.licence,
            date=args.date,
            max_tiles=args.max_tiles,
            rate_per_s=args.rate,
        )
    )
    progress = ProgressLine()
    try:
        result = fetcher.fetch(args.out, lambda done: progress("loading tiles", done))
    finally:
        progress.end()
    sys.stdout.write(
        f"{args.out}: {result.loaded} tiles loaded, {result.kept} there before, {result.missing} not at the provider\n"
    )
    return 0


def _bands(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise MapError(f"{text!r} are no band numbers", where="--bands", mend="give for example 1,2,3") from error


def _created() -> str:
    """The date of SOURCE_DATE_EPOCH where it is set, else nothing: equal input gives equal bytes."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return ""
    try:
        return datetime.datetime.fromtimestamp(int(text), datetime.timezone.utc).isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise MapError(f"{text!r} is not a Unix time", where="SOURCE_DATE_EPOCH", mend="unset it") from error

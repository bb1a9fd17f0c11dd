"""How far matches fall behind the flight's start when map, air or lens change, and when the daemon warns of it.

    python tools/evaluate_drift.py --maps out/distinct --pairs 2017,2020 2010,2014

For each pair (map's year, year flown over) a simulated camera flies legs 900 m above an aerial survey; after 80 s the
lens gets dirty, the air hazy, the lens loses its focus, or the imagery flown over becomes the other year's after being
the map's own. The maps are those that `evaluate_distinctiveness.py sample --naip` left in the folder.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from panels import SHADES, Panel, drawing, key, text
from real_maps import NAIP_CAMERA, NAIP_EXPOSURE
from tilefix.camera import Mount
from tilefix.embedders import open_embedder
from tilefix.errors import TilefixError
from tilefix.evaluation.results import write_results
from tilefix.localization.drift import LOW_SHARE, MatchDrift
from tilefix.localization.localizer import Localizer
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Embedder
from tilefix.simulation.camera import expose, render_view
from tilefix.simulation.faultpictures import PictureEdit
from tilefix.simulation.faults import Fault, Window
from tilefix.types import Fix, Frame, VehicleState

AGL_M, SPEED_MPS, STEP_S = 900.0, 28.0, 2.0
BEGIN_S = 80.0
FAULTS = (None, Fault.HAZE, Fault.BLUR, Fault.LENS_DIRT)
TILT_SIGMA_DEG, HEADING_SIGMA_DEG, HEIGHT_SIGMA = 0.1, 0.5, 0.005


@dataclass(frozen=True, slots=True)
class Drifted:
    """One flight: the share of the start after each frame, when it was warned of (`None`: never), and its matches."""

    shares: tuple[float, ...]
    warned_s: float | None
    matched: int

    @property
    def frames(self) -> int:
        """How many were flown."""
        return len(self.shares)

    @property
    def least(self) -> float:
        """The least share."""
        return min(1.0, *self.shares)

    @property
    def last(self) -> float:
        """The last."""
        return self.shares[-1]


def fly(
    package: MapPackage, early: MapPackage, late: MapPackage, embedder: Embedder, fault: Fault | None, seed: int,
    frames: int,
) -> Drifted:  # fmt: skip
    """A flight on a map, over the imagery of `early` until `BEGIN_S` and of `late` from then on."""
    rng = np.random.default_rng([seed, 5])
    localizer = Localizer(package, TileIndex.open(package), embedder, NAIP_CAMERA, Mount())
    localizer.hint(*package.frame.to_geodetic(0.0, 0.0), 30.0)
    edit, drift = PictureEdit(fault, seed, Window(BEGIN_S, math.inf)), MatchDrift()
    east_m = north_m = 0.0
    yaw_deg = float(rng.uniform(0.0, 360.0))
    shares: list[float] = []
    warned_s, matched = None, 0
    for sequence in range(frames):
        at_s = sequence * STEP_S
        ground = early if at_s < BEGIN_S else late
        there = ground.frame.to_local(*package.frame.to_geodetic(east_m, north_m))
        view = render_view(ground.imagery, ground.grid, NAIP_CAMERA, Mount(), *there, AGL_M, 0.0, 0.0, yaw_deg)
        image = edit(expose(view, NAIP_EXPOSURE, rng), sequence, at_s)
        wrong = rng.standard_normal(4)
        state = VehicleState(
            round(at_s * 1e9),
            TILT_SIGMA_DEG * float(wrong[0]),
            TILT_SIGMA_DEG * float(wrong[1]),
            yaw_deg + HEADING_SIGMA_DEG * float(wrong[2]),
            AGL_M * (1.0 + HEIGHT_SIGMA * float(wrong[3])),
        )
        estimate = localizer.process(Frame(image, state.at_ns, sequence), state)
        if isinstance(estimate, Fix) and estimate.reason is None and localizer.usual_correlation is not None:
            matched += 1
            drift.note(estimate.at_ns, localizer.usual_correlation)
        shares.append(drift.share_of_start)
        if drift.low and warned_s is None:
            warned_s = at_s - BEGIN_S
        east_m, north_m, yaw_deg = _onwards(package, east_m, north_m, yaw_deg, rng)
    return Drifted(tuple(shares), warned_s, matched)


def _onwards(
    package: MapPackage, east_m: float, north_m: float, yaw_deg: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """The next place on a straight way, which turns where the footprint would leave the map."""
    while True:
        way = SPEED_MPS * STEP_S
        to = east_m + way * math.sin(math.radians(yaw_deg)), north_m + way * math.cos(math.radians(yaw_deg))
        if package.grid.contains(*to, margin_m=0.8 * AGL_M):
            return *to, yaw_deg
        yaw_deg = float(rng.uniform(0.0, 360.0))


def picture(pairs: Mapping[str, Mapping[str, Drifted]]) -> str:
    """An SVG drawing: for each pair of map and year flown over, the share of the start's correlation over time, a curve
    for each case; what changes does so at the mark, and a warning begins below the dashes."""
    parts: list[str] = []
    top = 60.0
    for pair, cases in pairs.items():
        last_s = STEP_S * max(max(found.frames for found in cases.values()), 2)
        panel = Panel(60, 680, top, top + 190, (0.0, last_s), (0.0, 1.2))
        parts += panel.axes("{:g} s".format, "{:.0%}".format, f"Matches against the flight's start, {pair}", lift=14.0)
        parts.append(panel.line([(0.0, LOW_SHARE), (last_s, LOW_SHARE)], "stroke:var(--false);stroke-dasharray:4 4"))
        parts.append(panel.line([(BEGIN_S, 0.0), (BEGIN_S, 1.2)], "stroke:var(--ink);stroke-dasharray:2 3"))
        for number, (name, found) in enumerate(cases.items()):
            curve = [(STEP_S * k, share) for k, share in enumerate(found.shares)]
            parts.append(panel.line(curve, f"stroke:{SHADES[number]};stroke-width:2"))
            warned = "" if found.warned_s is None else f", warned of after {found.warned_s:.0f} s"
            parts += key(700, top + 20 + 36 * number, [name], [SHADES[number]])
            parts.append(text(717, top + 34 + 36 * number, f"{found.matched} of {found.frames} matched{warned}"))
        top += 260
    return drawing(1080, top - 20, "Share of the correlation at the start over time", parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Flies all cases and prints a table; 2 with one clear line when it cannot."""
    parser = argparse.ArgumentParser(description="How far matches fall behind when map, air or lens change.")
    parser.add_argument("--maps", type=Path, required=True, help="folder with map_naip_YEAR")
    parser.add_argument("--pairs", nargs="+", required=True, metavar="MAP,FLOWN", help="years")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--model", help="default: the one that ships")
    parser.add_argument("--out", type=Path, default=Path("out/drift"), help="for drift.svg")
    args = parser.parse_args(argv)
    try:
        embedder = open_embedder(args.model)
        print("| map, flown over | from 80 s on | matched | least share | last share | warned after |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
        flown: dict[str, dict[str, Drifted]] = {}
        for seed, pair in enumerate(args.pairs):
            own, other = (
                MapPackage.open(args.maps / f"map_naip_{year}", model=embedder.manifest) for year in pair.split(",", 1)
            )
            cases = [(other, "the same" if fault is None else fault.value, fault) for fault in FAULTS]
            for early, name, fault in [*cases, (own, "the other year's imagery, the map's own before", None)]:
                found = fly(own, early, other, embedder, fault, seed, args.frames)
                flown.setdefault(f"map of {pair.replace(',', ', over ')}", {})[name] = found
                warned = "never" if found.warned_s is None else f"{found.warned_s:.0f} s"
                print(
                    f"| {pair.replace(',', ', ')} | {name} | {found.matched} of {found.frames} "
                    f"| {100.0 * found.least:.0f} % | {100.0 * found.last:.0f} % | {warned} |",
                    flush=True,
                )
        write_results(args.out, {"drift.svg": picture(flown)})
    except (TilefixError, ValueError) as error:
        print(f"evaluate_drift: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

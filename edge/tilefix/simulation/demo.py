"""`tilefix demo`: a drone over a generated world loses GNSS and finds itself.

Everything that flies is the real thing: the daemon with its localizer and publisher, over MAVLink on the loopback
interface. The ground, the camera, the vehicle and the autopilot are simulated. The map is the "satellite" look of the
world, the camera sees the "drone" look: another season, sun and sensor, with cars and some buildings elsewhere.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tilefix.embedders import open_embedder
from tilefix.errors import TilefixError
from tilefix.evaluation.replay import Latency, fixes_csv, summary_json
from tilefix.evaluation.report import report_html
from tilefix.evaluation.results import write_results
from tilefix.evaluation.scoring import Answer, judge, score
from tilefix.maps.package import MapPackage
from tilefix.ports import Embedder
from tilefix.simulation.demoflight import GSD_M, DemoOptions, Flown, Seen, build_map_of, fly
from tilefix.simulation.flying import TICK_NS
from tilefix.simulation.sight import Scenery
from tilefix.simulation.world import EVALUATION_SEED_START, drone_look, generate_world, satellite_look
from tilefix.types import FIX_MAX_MATCH_AGE_S


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tilefix demo`."""
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="folder for map and results")
    parser.add_argument(
        "--seed",
        type=int,
        default=DemoOptions.seed,
        help=f"of the world; from {EVALUATION_SEED_START} on no model saw it",
    )
    parser.add_argument("--seconds", type=float, default=DemoOptions.seconds, help="of flight without GNSS")
    parser.add_argument("--rate-hz", type=float, default=DemoOptions.rate_hz, help="of the camera")
    parser.add_argument("--model", help="another model than the one that ships (.onnx or .json)")


def run(args: argparse.Namespace) -> int:
    """Flies the demonstration and prints its table; 0 when results were written."""
    options = DemoOptions(args.out, args.seed, args.seconds, args.rate_hz, args.model)
    for name, value, low, high in (
        ("--seed", options.seed, 0, 2**31),
        ("--seconds", options.seconds, 5.0, 3600.0),
        ("--rate-hz", options.rate_hz, 0.5, 30.0),
    ):
        if not low <= value <= high:
            raise TilefixError(f"{name} {value:g} is out of range", mend=f"give {low:g} to {high:g}")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TilefixError(
            f"cannot write here: {error.strerror}", where=options.out, mend="give another --out"
        ) from error
    summary = demonstrate(options)
    sys.stdout.write(f"{table(summary)}\n{options.out / 'report.html'}\n")
    return 0


def demonstrate(options: DemoOptions) -> dict[str, Any]:
    """Generates, builds, flies, scores and writes; gives what stands in `summary.json`."""
    with closing(open_embedder(options.model)) as embedder:
        return _demonstrate(options, embedder)


def _demonstrate(options: DemoOptions, embedder: Embedder) -> dict[str, Any]:
    begun_s = time.monotonic()
    _say(f"generating world {options.seed}")
    world = generate_world(options.seed, size_m=options.world_m, gsd_m=GSD_M)
    scenery = Scenery(world.render(drone_look(options.seed)), world.grid)
    generated_s = time.monotonic() - begun_s
    _say("building the map")
    package = build_map_of(world, options, embedder)
    built_s = time.monotonic() - begun_s - generated_s
    _say(f"flying: GNSS for {options.with_gnss_s:g} s, then {options.seconds:g} s without")
    flown = fly(package, embedder, scenery, world, options)
    return _write(flown, package, embedder, options, {"generate_s": generated_s, "build_s": built_s})


def _write(
    flown: Flown, package: MapPackage, embedder: Embedder, options: DemoOptions, took: dict[str, float]
) -> dict[str, Any]:
    denied = [one for one in flown.seen if flown.denied_ns <= one.captured_ns <= flown.ended_ns]
    if not denied:
        raise TilefixError("no frame was looked at", mend="see the log above")
    flight, local, grid = flown.autopilot.flight, package.frame, package.grid
    answers: list[Answer] = []
    for one in denied:
        motion = flight.truth_at(one.captured_ns)
        truth = local.to_geodetic(motion.east_m, motion.north_m)
        time_s = (one.captured_ns - flown.denied_ns) / 1e9
        answers.append(judge(str(one.sequence), time_s, one.estimate, truth, local, grid.gsd_m))
    result = score(answers)
    delays_ms = [(one.answered_ns - one.captured_ns) / 1e6 for one in denied]
    p50_ms, p99_ms = np.percentile(delays_ms, [50.0, 99.0])
    denied_s = (flown.ended_ns - flown.denied_ns) / 1e9
    if flown.reset_ns is None or flown.reset_ns < flown.denied_ns:
        raise TilefixError("the daemon did not notice the loss of GNSS", mend="see the log above")
    reset_s = (flown.reset_ns - flown.denied_ns) / 1e9
    answered_s = [(one.answered_ns - flown.denied_ns) / 1e9 for one in denied]
    first_s = next(
        (at for at, one in zip(answered_s, answers, strict=True) if one.kind == "fix" and at > reset_s), None
    )
    more = {
        "seed": options.seed,
        "map_km2": round(grid.width_px * grid.height_px * grid.gsd_m**2 / 1e6, 3),
        "map_tiles": len(package.tile_centres_m),
        "model": f"{embedder.manifest.name} ({embedder.manifest.sha256[:12]})",
        "belief_uniform_after_s": round(reset_s, 2),
        "denied_s": round(denied_s, 2),
        "frames_per_s": round(len(denied) / denied_s, 3),
        "availability_over_time": round(_over_time(flown, answers, denied), 4),
        "first_fix_after_s": None if first_s is None else round(first_s, 2),
        **{name: round(value, 1) for name, value in took.items()},
        "autopilot": _autopilot(flown),
    }
    latency = Latency(float(p50_ms), float(p99_ms), flown.stages_ms)
    text = summary_json(result, latency, **more)
    page = report_html(
        f"Demonstration, world {options.seed}",
        answers,
        result,
        imagery=package.imagery,
        grid=grid,
        local=local,
        subtitle=f"{denied_s:.0f} s without GNSS over a generated world of {more['map_km2']} km\u00b2",
        facts={"satellite look": asdict(satellite_look(options.seed)), "drone look": asdict(drone_look(options.seed)),
               **{key: value for key, value in more.items() if key != "autopilot"}},
    )  # fmt: skip
    write_results(options.out, {"fixes.csv": fixes_csv(answers), "summary.json": text, "report.html": page})
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _over_time(flown: Flown, answers: list[Answer], denied: list[Seen]) -> float:
    """Share of the time without GNSS at which a fix was at hand that was at most 2 s old.

    Stricter than the availability over frames: it counts the time that the first answers took, in which the camera's
    other pictures were not looked at.
    """
    reset_ns = flown.reset_ns or flown.ended_ns
    fresh = [
        (max(one.answered_ns, reset_ns), one.captured_ns + round((FIX_MAX_MATCH_AGE_S - answer.fix.match_age_s) * 1e9))
        for one, answer in zip(denied, answers, strict=True)
        if answer.kind == "fix" and answer.fix is not None and one.answered_ns > reset_ns
    ]
    instants = range(flown.denied_ns, flown.ended_ns, 100_000_000)
    at_hand = sum(any(begin <= at < end for begin, end in fresh) for at in instants)
    return at_hand / len(instants)


def _autopilot(flown: Flown) -> dict[str, Any]:
    """What the autopilot made of it: what it took and refused, and how well it knew where it was."""
    flight = flown.autopilot.flight
    first = (flown.denied_ns - flight.start_ns) // TICK_NS
    last = (flown.ended_ns - flight.start_ns) // TICK_NS
    errors_m = [
        float(np.hypot(motion.east_m - east_m, motion.north_m - north_m))
        for motion, (east_m, north_m) in zip(flight.motions[first:last], flight.estimates[first:last], strict=True)
    ]
    median_m, p95_m, most_m = np.percentile(errors_m, [50.0, 95.0, 100.0])
    return {
        "verdicts": {verdict.name: count for verdict, count in flight.tally.verdicts.items()},
        "flaws": {flaw.name: count for flaw, count in flight.tally.flaws.items()},
        "events": flight.events,
        "landed": flight.landing,
        "texts": flown.autopilot.texts,
        "estimate_error_median_m": round(float(median_m), 2),
        "estimate_error_p95_m": round(float(p95_m), 2),
        "estimate_error_max_m": round(float(most_m), 2),
    }


def table(summary: dict[str, Any]) -> str:
    """What a person reads at the end, a few lines."""

    def metres(key: str) -> str:
        return "-" if summary[key] is None else f"{summary[key]:.2f} m"

    autopilot, first = summary["autopilot"], summary["first_fix_after_s"]
    rows = [
        ("flight without GNSS", f"{summary['denied_s']:.0f} s, {summary['frames_per_s']:.1f} frames/s"),
        ("map", f"{summary['map_km2']:.2f} km2, {summary['map_tiles']} tiles"),
        ("belief made uniform", f"{summary['belief_uniform_after_s']:.1f} s after the loss"),
        ("first fix", "-" if first is None else f"{first:.1f} s after the loss"),
        ("availability", f"{100.0 * summary['availability']:.1f} % of frames, "
                         f"{100.0 * summary['availability_over_time']:.1f} % of the time"),
        ("error median / p95", f"{metres('median_error_m')} / {metres('p95_error_m')}"),
        ("false fixes", str(summary["false_fixes"])),
        ("latency median / p99", f"{summary['latency_p50_ms']:.0f} / {summary['latency_p99_ms']:.0f} ms"),
        ("autopilot's own error", f"{autopilot['estimate_error_median_m']:.2f} m median, "
                                  f"{autopilot['estimate_error_p95_m']:.2f} m p95"),
        ("positions it took", f"{autopilot['verdicts'].get('FUSED', 0)} of {sum(autopilot['verdicts'].values())}"),
        ("it had to land", "yes" if autopilot["landed"] else "no"),
    ]  # fmt: skip
    return "\n".join(f"{name:<24}{value}" for name, value in rows)


def _say(line: str) -> None:
    sys.stderr.write(f"tilefix demo: {line}\n")

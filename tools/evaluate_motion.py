"""How robust the camera's motion is to what moves over the ground: shadows, traffic, water.

    python tools/evaluate_motion.py run --worlds 1700 1703            development worlds, into out/motion
    python tools/evaluate_motion.py run                               evaluation worlds
    python tools/evaluate_motion.py report                            tables and picture of what was run

Over each world a low flight and a high one are flown, plain and with each of the things that pass; whatever passes,
log, noise and way are the same. Motion is measured from frame to frame as in flight, beside what one correlation of the
whole patches alone gives; the localizer is given the same frames, with no hint. One JSON file for each flight and case;
those that stand already, of the same model, code, settings and plan, are kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np

from evaluate_flights import each
from generated_figures import Record, read_record, write_record
from generated_flights import build_map, map_folder, open_map
from generated_plans import WorldSet
from generated_runs import state_of
from motion_report import line_of, picture, tables
from motion_trials import CASES, PLAIN, Case, Course, Trial, passing_of, pictures, share_changed, trials
from tilefix.camera import CameraModel, Mount
from tilefix.embedders import open_embedder
from tilefix.errors import TilefixError
from tilefix.evaluation.results import write_results
from tilefix.evaluation.scoring import judge
from tilefix.localization import motion as motion_module
from tilefix.localization.localizer import Localizer
from tilefix.localization.look import Look, Looker
from tilefix.localization.motion import Motion, motion_between
from tilefix.localization.settings import LocalizerSettings
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Embedder
from tilefix.simulation.sight import Scenery
from tilefix.simulation.world import EVALUATION_SEED_START, drone_look, generate_world
from tilefix.types import Frame, NoFix, Reason, VehicleState

WORLDS = (EVALUATION_SEED_START + 130, EVALUATION_SEED_START + 131)
FRAMES = 100
SIZE_M = 2100.0

Pair = list[float] | None


class Witness:
    """Measures motion from frame to frame, of a heading and a height as they are logged."""

    def __init__(self, package: MapPackage, camera: CameraModel, mount: Mount) -> None:
        self._settings = LocalizerSettings()
        self._looker = Looker(package, camera, mount, self._settings)
        self._before: Look | None = None

    def step(self, frame: Frame, state: VehicleState) -> tuple[Pair, Pair]:
        """East and north metres since the frame before, as in flight and of the whole patches alone; `None` where there
        is no motion."""
        seen = self._looker.look(frame, state, 0.0, 1.0)
        before, self._before = self._before, None if isinstance(seen, Reason) else seen
        if before is None or isinstance(seen, Reason):
            return None, None
        gsd_m = max(before.correlator.level.gsd_m, seen.correlator.level.gsd_m)
        seconds = (seen.at_ns - before.at_ns) / 1e9
        pair = before.placed(gsd_m), seen.placed(gsd_m)
        reach_m = self._settings.max_speed_mps * seconds + 4.0 * seen.attitude_sigma_m
        found = motion_between(*pair, reach_m)
        with whole_patches():
            whole = motion_between(*pair, reach_m)
        return _pair(found), _pair(whole)


def whole_patches() -> AbstractContextManager[object]:
    """While it is entered motion is that of whole patches, whatever their parts do."""
    return mock.patch.object(motion_module, "consensus", return_value=None)


def _pair(motion: Motion | None) -> Pair:
    return None if motion is None else [motion.east_m, motion.north_m]


def fly(
    course: Course, case: Case, scenery: Scenery, package: MapPackage, embedder: Embedder, *, positions: bool = True
) -> Record:
    """Flies one case and gives what came of it; `positions`: False to measure motion alone."""
    plan = course.trial.plan
    passing = passing_of(case, course)
    witness = Witness(package, plan.camera, plan.mount)
    localizer = Localizer(package, TileIndex.open(package), embedder, plan.camera, plan.mount)
    answers = []
    steps: list[Pair] = []
    whole: list[Pair] = []
    for row, frame in zip(course.rows, pictures(course, scenery, passing), strict=True):
        nothing = NoFix(frame.captured_ns, Reason.NO_FRAME)
        position = localizer.process(frame, row.state) if positions else nothing
        answers.append(judge(row.frame, row.time_s, position, row.truth, package.frame, package.grid.gsd_m))
        for kept, found in zip((steps, whole), witness.step(frame, row.state), strict=True):
            kept.append(found)
    facts: dict[str, Any] = {
        "world": course.trial.world,
        "trial": course.trial.name,
        "case": case.name,
        "agl_m": plan.agl_m,
        "speed_mps": plan.speed_mps,
        "share": share_changed(course, scenery, passing),
        "positions": positions,
        "steps": steps,
        "whole": whole,
        "passes_mps": [None if passing is None else list(passing.moves_mps(motion)) for motion in course.motions],
    }
    truth_m = np.array([(motion.east_m, motion.north_m) for motion in course.motions])
    truth_mps = np.array([(motion.east_mps, motion.north_mps) for motion in course.motions])
    return Record(course.trial.name, facts, {}, tuple(answers), truth_m, truth_mps, 0.0)


def run_world(
    out: Path, world: int, names: Sequence[str], frames: int, model: str | None, flights: Sequence[str] = ("*",), *,
    positions: bool = True,
) -> list[Path]:  # fmt: skip
    """Flies what is missing over a world; gives the records' files. `names`, `flights`: patterns."""
    with contextlib.closing(open_embedder(model)) as embedder:
        cases = [PLAIN, *(case for case in CASES if any(fnmatch(case.name, name) for name in names))]
        flown = [trial for trial in trials([world], frames) if any(fnmatch(trial.name, name) for name in flights)]
        wanted = [(trial, case) for trial in flown for case in cases]
        states = {trial.name: _stated(trial, embedder, frames, positions=positions) for trial in flown}
        missing = [one for one in wanted if _state(_path(out, *one)) != states[one[0].name]]
        if missing:
            place = generate_world(world, size_m=SIZE_M)
            folder = map_folder(out, world)
            if not folder.is_dir():
                build_map(place, folder, WorldSet((world,), 2, frames), embedder)
            package = open_map(out, world, embedder)
            scenery = Scenery(place.render(drone_look(1000 * world + 7)), place.grid)
            courses = {trial.name: Course.of(trial, scenery, place.frame) for trial, _ in missing}
            for trial, case in missing:
                record = fly(courses[trial.name], case, scenery, package, embedder, positions=positions)
                path = _path(out, trial, case)
                write_record(path, replace(record, state=states[trial.name]))
                print(line_of(read_record(path)), flush=True)
    return [_path(out, *one) for one in wanted]


def _path(out: Path, trial: Trial, case: Case) -> Path:
    plain = "".join(letter if letter.isalnum() else "-" for letter in case.name)
    return out / "motion" / f"{trial.name}_{plain}.json"


def _stated(trial: Trial, embedder: Embedder, frames: int, *, positions: bool) -> dict[str, Any]:
    stated: dict[str, Any] = json.loads(json.dumps({**state_of(embedder, frames), "plan": asdict(trial.plan)}))
    return stated if positions else {**stated, "positions": False}


def _state(path: Path) -> object:
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8")).get("state")
    return None


def report(out: Path, worlds: Sequence[int]) -> str:
    """Writes `motion.md` and `motion.svg` about what was run over these worlds; gives the tables."""
    paths = sorted((out / "motion").glob("*_*.json"))
    records = [record for path in paths if (record := read_record(path)).facts["world"] in worlds]
    if not records:
        raise TilefixError("holds no result over these worlds", where=out, mend="evaluate_motion.py run")
    text = tables(records)
    write_results(out, {"motion.md": text, "motion.svg": picture(records)})
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Flies, or reports; 2 with one clear line when it cannot be done."""
    parser = argparse.ArgumentParser(description="Measure the camera's motion over ground that something passes over.")
    commands = parser.add_subparsers(dest="command", required=True)
    flying = commands.add_parser("run", help="fly every case and write one JSON file each, then report")
    flying.add_argument("--cases", nargs="+", default=["*"], metavar="GLOB", help="some of them: 'water*'")
    flying.add_argument("--flights", nargs="+", default=["*"], metavar="GLOB", help="some of them: '*-0' for the low")
    flying.add_argument("--motion-only", action="store_true", help="without positions, which take most of the time")
    flying.add_argument("--frames", type=int, default=FRAMES, help="of each flight")
    flying.add_argument("--jobs", type=int, choices=range(1, 65), default=1, metavar="N")
    flying.add_argument("--model", help="default: the one that ships")
    for command in (flying, commands.add_parser("report", help="tables and picture of what was run")):
        command.add_argument("--worlds", type=int, nargs="+", default=WORLDS, help="seeds")
        command.add_argument("--out", type=Path, default=Path("out/motion"))
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)
    try:
        if args.command == "run":
            if not 3 <= args.frames <= 2000:
                raise TilefixError(f"--frames {args.frames} is out of range", mend="give 3 to 2000")
            tasks = [
                partial(
                    run_world,
                    args.out,
                    world,
                    tuple(args.cases),
                    args.frames,
                    args.model,
                    tuple(args.flights),
                    positions=not args.motion_only,
                )
                for world in args.worlds
            ]
            for _ in each(tasks, args.jobs):
                pass
        print(report(args.out, args.worlds), end="")
    except TilefixError as error:
        print(f"evaluate_motion: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

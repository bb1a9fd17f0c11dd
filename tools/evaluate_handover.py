"""Measures how well spoofing and biased vision are told from honest errors, on recorded and on generated flights.

    python tools/evaluate_handover.py development     to choose settings by: worlds 1700 to 1707, long flights from 1000
    python tools/evaluate_handover.py evaluation      for figures that are published: worlds 9100 to 9111, from 9000

Recorded flights are the answers that `tools/evaluate_flights.py run SET` kept in out/generated; beside them flies a
generated receiver. Long flights are generated whole (`tools/handover_trials.py`). Writes results.md and handover.svg
into out/handover/SET.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from generated_figures import read_record
from generated_plans import SETS, sorties
from handover_report import Row, attack_table, canary_table, honest_table, picture
from handover_trials import Attack, Outcome, Track, judged, long_track, track_of, trials
from tilefix.errors import TilefixError
from tilefix.evaluation.results import write_results

SEEDS = {"development": 1000, "evaluation": 9000}
AFTER_S = 25.0  # of a recorded flight: time to earn credit
RAMPS_MPS = (0.5, 100.0 / 60.0, 3.0, 6.0)
STEPS_M = (20.0, 30.0, 50.0, 222.0)
CANARIES_M = (10.0, 15.0, 20.0, 30.0)
MOST_M = 100.0
LIMIT_M = 25.0  # a ramp has to be noticed by then: only flights that last so long are counted


def recorded(folder: Path, name: str) -> list[Track]:
    """The tracks of a set that have the time for an attack after credit was earned."""
    paths = [folder / name / "runs" / f"{one.name}.json" for one in sorties(SETS[name])]
    tracks = [track_of(read_record(path)) for path in paths if path.is_file()]
    if not tracks:
        raise TilefixError(
            "no replayed flights", where=folder / name, mend=f"python tools/evaluate_flights.py run {name}"
        )
    return [track for track in tracks if track.seconds > AFTER_S + 15.0]


def measure(name: str, tracks: Sequence[Track], draws: int, hours: int, jobs: int) -> tuple[dict[str, str], str]:
    """The files and the tables of a set."""
    seed = SEEDS[name]
    lasting = {rate: [one for one in tracks if one.seconds > AFTER_S + LIMIT_M / rate] for rate in RAMPS_MPS}
    ramps = {f"{rate:.2g} m/s": Attack(AFTER_S, ramp_mps=rate, most_m=MOST_M) for rate in RAMPS_MPS}
    steps = {f"{step_m:g} m at once": Attack(AFTER_S, step_m=step_m) for step_m in STEPS_M}
    canaries = {}
    for size_m in CANARIES_M:
        canaries[f"{size_m:g} m from the start"] = Attack(canary_m=size_m, canary_from_start=True)
        canaries[f"{size_m:g} m in flight"] = Attack(AFTER_S, canary_m=size_m)
    tasks = [functools.partial(trials, tracks, Attack(), 4 * draws, seed)]
    tasks += [functools.partial(_long, seed + k) for k in range(hours)]
    tasks += [
        functools.partial(trials, flown, attack, draws, seed)
        for flown, attack in zip(lasting.values(), ramps.values(), strict=True)
    ]
    tasks += [functools.partial(trials, tracks, one, draws, seed) for one in (*steps.values(), *canaries.values())]
    honest, *done = _results(tasks, jobs)
    long_flights, done = [one for flight in done[:hours] for one in flight], done[hours:]
    rows = [Row(*named, outcomes) for named, outcomes in zip((ramps | steps | canaries).items(), done, strict=True)]
    told = len(ramps) + len(steps)
    text = "\n".join(
        [
            honest_table({f"{len(tracks)} recorded flights": honest, "long flights": long_flights}),
            attack_table(rows[:told]),
            canary_table(rows[told:]),
        ]
    )
    return {"results.md": text, "handover.svg": picture(rows[: len(ramps)], rows[told:])}, text


def _long(seed: int) -> list[Outcome]:
    """An hour of honest flight."""
    return [judged(long_track(seed, 1.0), Attack(), seed)]


def _results(tasks: Sequence[Callable[[], list[Outcome]]], jobs: int) -> list[list[Outcome]]:
    """What the tasks give, in their order; with one job, in this process."""
    if jobs == 1:
        return [task() for task in tasks]
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and writes; 2 with one clear line when it cannot be done."""
    parser = argparse.ArgumentParser(description="Measure detection of spoofing and of biased vision.")
    parser.add_argument("set", choices=sorted(SEEDS))
    parser.add_argument("--flights", type=Path, default=Path("out/generated"), help="where recorded flights lie")
    parser.add_argument("--out", type=Path, default=Path("out/handover"))
    parser.add_argument("--draws", type=int, default=2, choices=range(1, 65), metavar="N", help="receivers per flight")
    parser.add_argument("--hours", type=int, default=50, choices=range(1001), metavar="N", help="of long flights")
    parser.add_argument("--jobs", type=int, default=1, choices=range(1, 65), metavar="N")
    args = parser.parse_args(argv)
    try:
        tracks = recorded(args.flights, args.set)
        files, text = measure(args.set, tracks, args.draws, args.hours, args.jobs)
        write_results(args.out / args.set, files)
    except TilefixError as error:
        print(f"evaluate_handover: {error}", file=sys.stderr)
        return 2
    print(f"{text}\n{args.out / args.set}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

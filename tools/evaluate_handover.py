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
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from generated_figures import read_record
from generated_plans import SETS, sorties
from handover_report import Row, attack_table, canary_table, honest_table, picture
from handover_trials import Attack, Outcome, Track, judged, long_track, track_of, trials
from tilefix.errors import TilefixError
from tilefix.evaluation.replay import write_results

SEEDS = {"development": 1000, "evaluation": 9000}
AFTER_S = 25.0  # of a recorded flight: time to earn credit
RAMPS_MPS = (0.5, 100.0 / 60.0, 3.0, 6.0)
STEPS_M = (20.0, 30.0, 50.0, 222.0)
CANARIES_M = (10.0, 15.0, 20.0, 30.0)
MOST_M = 100.0
LIMIT_M = 25.0  # a ramp has to be noticed by then: only flights that last so long are counted
Trials = Callable[[Attack], list[Outcome]]


def recorded(folder: Path, name: str) -> list[Track]:
    """The tracks of a set that have the time for an attack after credit was earned."""
    paths = [folder / name / "runs" / f"{one.name}.json" for one in sorties(SETS[name])]
    tracks = [track_of(read_record(path)) for path in paths if path.is_file()]
    if not tracks:
        raise TilefixError(
            "no replayed flights", where=folder / name, mend=f"python tools/evaluate_flights.py run {name}"
        )
    return [track for track in tracks if track.seconds > AFTER_S + 15.0]


def measure(name: str, tracks: Sequence[Track], draws: int, hours: int) -> tuple[dict[str, str], str]:
    """The files and the tables of a set."""
    seed = SEEDS[name]
    each: Trials = functools.partial(_trials, tracks, draws, seed)
    honest = trials(tracks, Attack(), 4 * draws, seed)
    long_flights = [judged(long_track(seed + k, 1.0), Attack(), seed + k) for k in range(hours)]
    ramps = []
    for rate_mps in RAMPS_MPS:
        attack = Attack(AFTER_S, ramp_mps=rate_mps, most_m=MOST_M)
        lasting = [track for track in tracks if track.seconds > AFTER_S + LIMIT_M / rate_mps]
        ramps.append(Row(f"{rate_mps:.2g} m/s", attack, trials(lasting, attack, draws, seed)))
    steps = []
    for step_m in STEPS_M:
        attack = Attack(AFTER_S, step_m=step_m)
        steps.append(Row(f"{step_m:g} m at once", attack, each(attack)))
    canaries = []
    for size_m in CANARIES_M:
        for start, words in ((0.0, "from the start"), (AFTER_S, "in flight")):
            attack = Attack(start, canary_m=size_m, canary_from_start=start == 0.0)
            canaries.append(Row(f"{size_m:g} m {words}", attack, each(attack)))
    text = "\n".join(
        [
            honest_table({f"{len(tracks)} recorded flights": honest, "long flights": long_flights}),
            attack_table([*ramps, *steps]),
            canary_table(canaries),
        ]
    )
    return {"results.md": text, "handover.svg": picture(ramps, canaries)}, text


def _trials(tracks: Sequence[Track], draws: int, seed: int, attack: Attack) -> list[Outcome]:
    return trials(tracks, attack, draws, seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and writes; 2 with one clear line when it cannot be done."""
    parser = argparse.ArgumentParser(description="Measure detection of spoofing and of biased vision.")
    parser.add_argument("set", choices=sorted(SEEDS))
    parser.add_argument("--flights", type=Path, default=Path("out/generated"), help="where recorded flights lie")
    parser.add_argument("--out", type=Path, default=Path("out/handover"))
    parser.add_argument("--draws", type=int, default=2, choices=range(1, 65), metavar="N", help="receivers per flight")
    parser.add_argument("--hours", type=int, default=50, choices=range(1001), metavar="N", help="of long flights")
    args = parser.parse_args(argv)
    try:
        tracks = recorded(args.flights, args.set)
        with np.errstate(all="raise"):
            files, text = measure(args.set, tracks, args.draws, args.hours)
        write_results(args.out / args.set, files)
    except TilefixError as error:
        print(f"evaluate_handover: {error}", file=sys.stderr)
        return 2
    print(f"{text}\n{args.out / args.set}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

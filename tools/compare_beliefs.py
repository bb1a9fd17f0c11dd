"""Compares ways to hold the belief over the map: the grid that flies, particles, and Gaussian hypotheses.

    python tools/compare_beliefs.py starts evaluation --flights "*-0" "*-1" --frames 60
    python tools/compare_beliefs.py faults                     faults of what is believed, over evaluation worlds
    python tools/compare_beliefs.py cost                       time and memory, on maps of 4.4 and 25 km2
    python tools/compare_beliefs.py report                     tables and a picture of what was run

The same localizer, frames, measurements and rules of decision; only the belief is another: `particle_belief.py`,
`mixture_belief.py`, and the grid with the tolerance that these have, `tolerant_grid.py`. The flights and maps are those
of `evaluate_flights.py generate`. Settings of the rivals were chosen on development worlds. Results that stand already,
of the same code and settings, are kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from fnmatch import fnmatch
from functools import cache, partial
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

from belief_cost import costs
from belief_report import markdown, picture
from evaluate_flights import each
from fault_report import Tried
from generated_flights import flight_folder, open_map
from generated_plans import SETS, Sortie, sorties
from generated_runs import starts_along, state_of
from mixture_belief import MixtureBelief, MixtureSettings
from particle_belief import ParticleBelief, ParticleSettings
from tilefix.embedders import open_embedder
from tilefix.errors import TilefixError
from tilefix.evaluation.results import write_results
from tilefix.flights.flight import open_flight
from tilefix.geodesy import Grid
from tilefix.localization.belief import Belief
from tilefix.localization.localizer import Localizer
from tilefix.maps.tileindex import TileIndex
from tilefix.simulation.faults import Fault
from tilefix.simulation.provingground import ProvingGround, full_scene, quick_scene
from tilefix.simulation.world import EVALUATION_SEED_START
from tilefix.timing import StageTimer
from tilefix.types import Fix, Frame, NoFix, VehicleState
from tolerant_grid import TolerantGrid

Made = Callable[[Grid, float], Belief]


def particles(count: int) -> Made:
    """Makes particle filters of that many."""
    return partial(ParticleBelief, settings=ParticleSettings(count))


BELIEFS: dict[str, Made] = {
    "grid": Belief,
    "grid, a cell around": TolerantGrid,
    "1,000 particles": particles(1_000),
    "10,000 particles": particles(10_000),
    "100,000 particles": particles(100_000),
    "hypotheses": partial(MixtureBelief, settings=MixtureSettings()),
}
FAULTS = (Fault.REPETITIVE_FIELD, Fault.TILE_SWAPPED, Fault.KIDNAPPED, Fault.WRONG_HINT)
FAULT_SEEDS = tuple(range(EVALUATION_SEED_START + 300, EVALUATION_SEED_START + 303))
COST_FLIGHTS = (("evaluation", "9100-1"), ("large", "9120-1"))


class Counting(Localizer):
    """A localizer that counts what it said: fix, coast, or the reason for none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.said: Counter[str] = Counter()

    def process(self, frame: Frame, state: VehicleState, timer: StageTimer | None = None) -> Fix | NoFix:
        """The position at the frame's exposure."""
        answer = super().process(frame, state, timer)
        self.said[answer.kind.name if isinstance(answer, Fix) else answer.reason.name] += 1
        return answer


@cache
def rivals_hash() -> str:
    """A hash of the rivals' code."""
    folder = Path(__file__).parent
    names = ("point_belief.py", "particle_belief.py", "mixture_belief.py", "tolerant_grid.py")
    return sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest()[:16]


def _known(path: Path, state: Mapping[str, Any]) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("state") == state)
    except (OSError, ValueError):
        return False


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_results(path.parent, {path.name: json.dumps(content, indent=1) + "\n"})


def start_over(flights: Path, results: Path, one: Sortie, frames: int | None, name: str) -> Path:
    """Starts over and over along one flight with that belief and gives the JSON file of it."""
    path = results / f"{one.name} {name}.json"
    with closing(open_embedder(None)) as embedder:
        state = {**state_of(embedder, frames), "belief": name, "rivals": rivals_hash()}
        if _known(path, state):
            return path
        package, flight = open_map(flights, one.world, embedder), open_flight(flight_folder(flights, one.name))
        index = TileIndex.open(package)
        localizer = Counting(package, index, embedder, flight.camera, flight.mount, belief=BELIEFS[name])
        starts = [asdict(start) for start in starts_along(flight, package, localizer, one, frames)]
    _write(path, {"state": state, "belief": name, "starts": starts, "said": dict(localizer.said)})
    return path


def try_faults(results: Path, seeds: Sequence[int], names: Sequence[str], *, quick: bool) -> Iterator[Path]:
    """Tries the faults over each world with each belief; gives the JSON files as they come."""
    with closing(open_embedder(None)) as embedder:
        for seed in seeds:
            scene = (quick_scene if quick else full_scene)(seed)
            state = {**state_of(embedder, None), "rivals": rivals_hash(), "quick": quick}
            files = {
                (fault, name): results / f"{seed} {fault.name} {name}.json" for fault, name in product(FAULTS, names)
            }
            waiting = [key for key, path in files.items() if not _known(path, state)]
            ground = ProvingGround(scene, embedder, results / "maps" / str(seed)) if waiting else None
            for fault, name in waiting:
                assert ground is not None
                outcome, _, flight = ground.try_fault(fault, belief=BELIEFS[name])
                record = {"state": state, "belief": name, "outcome": asdict(outcome), "answers": []}
                _write(files[fault, name], {**record, "window": asdict(flight.window)})
            yield from files.values()


def _read(folder: Path, order: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The records in a folder by belief."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return {name: held for name in order if (held := [one for one in records if one["belief"] == name])}


def report(out: Path) -> str:
    """Writes `beliefs.md` and `beliefs.svg` about all that stands in `out`; gives the tables."""
    starts, faults = _read(out / "starts", list(BELIEFS)), _read(out / "faults", list(BELIEFS))
    if not starts:
        raise TilefixError("nothing was run yet", where=out, mend="use `starts` first")
    tried = {name: [Tried.of(record) for record in held] for name, held in faults.items()}
    cost = json.loads((out / "cost.json").read_text(encoding="utf-8")) if (out / "cost.json").is_file() else {}
    text = markdown(starts, tried, cost)
    write_results(out, {"beliefs.md": text, "beliefs.svg": picture(starts, cost)})
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Runs, or reports; 2 with one clear line when it cannot be done."""
    args = _parser().parse_args(argv)
    try:
        if args.command == "starts":
            flown = [one for one in sorties(SETS[args.set]) if any(fnmatch(one.name, glob) for glob in args.flights)]
            flights, results = args.flown / args.set, args.out / "starts"
            tasks = [
                partial(start_over, flights, results, *task) for task in product(flown, [args.frames], args.beliefs)
            ]
            for path in each(tasks, args.jobs):
                print(path.stem, flush=True)
        elif args.command == "faults":
            for path in try_faults(args.out / "faults", args.seeds, args.beliefs, quick=args.quick):
                print(path.stem, flush=True)
        elif args.command == "cost":
            found = {
                name: costs(args.flown / name, flight, args.frames, {key: BELIEFS[key] for key in args.beliefs})
                for name, flight in COST_FLIGHTS
            }
            _write(args.out / "cost.json", found)
        print(report(args.out), end="")
    except TilefixError as error:
        print(f"compare_beliefs: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare ways to hold the belief over the map.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("starts", "start over and over along flights"),
        ("faults", "try faults of what is believed"),
        ("cost", "time and memory, side by side"),
        ("report", "tables and picture of what was run"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--out", type=Path, default=Path("out/beliefs"))
        command.add_argument("--flown", type=Path, default=Path("out/generated"), help="where the flights are")
        if name != "report":
            command.add_argument("--beliefs", nargs="+", choices=BELIEFS, default=list(BELIEFS), metavar="NAME")
        if name == "starts":
            command.add_argument("set", choices=sorted(SETS))
            command.add_argument("--flights", nargs="+", default=["*"], metavar="GLOB", help="some of them: 1701-* *-0")
            command.add_argument("--jobs", type=int, choices=range(1, 65), default=1, metavar="N")
        if name in ("starts", "cost"):
            command.add_argument("--frames", type=int, default=60, help="the first so many of each flight")
        if name == "faults":
            command.add_argument("--seeds", type=int, nargs="+", default=FAULT_SEEDS, help="of the worlds")
            command.add_argument("--quick", action="store_true", help="a village instead of 4.4 km2")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

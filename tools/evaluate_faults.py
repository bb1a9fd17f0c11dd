"""Tries every fault over generated worlds: is anything false said, what is left meanwhile, how soon is it over?

    python tools/evaluate_faults.py run                                   evaluation worlds, into out/faults
    python tools/evaluate_faults.py run --seeds 1700 --faults KIDNAPPED   one fault over one world of one's choice
    python tools/evaluate_faults.py run --quick --seeds 1700              the village of tests/replay/test_faults.py
    python tools/evaluate_faults.py report                                table and picture of what was run

One JSON file for each fault and world; those that stand already, of the same model, code, settings and
scene, are kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fault_report import Tried, failures, markdown, picture
from generated_runs import code_hash
from tilefix.embedders import open_embedder
from tilefix.errors import TilefixError
from tilefix.evaluation.replay import Replay
from tilefix.evaluation.results import write_results
from tilefix.localization.localizer import LocalizerSettings
from tilefix.ports import Embedder
from tilefix.simulation.faultoutcome import Outcome
from tilefix.simulation.faults import Fault
from tilefix.simulation.faultyflight import FaultyFlight
from tilefix.simulation.provingground import ProvingGround, Scene, full_scene, quick_scene
from tilefix.simulation.world import EVALUATION_SEED_START

SEEDS = tuple(range(EVALUATION_SEED_START + 300, EVALUATION_SEED_START + 303))
CLEAN = "NONE"
NAMES = (CLEAN, *(fault.name for fault in Fault))


def run(out: Path, seeds: Sequence[int], names: Sequence[str], embedder: Embedder, *, quick: bool, fresh: bool) -> None:
    """Tries the faults that have not been tried in the same state, one world at a time."""
    for seed in seeds:
        scene = (quick_scene if quick else full_scene)(seed)
        state = _state(scene, embedder)
        waiting = [name for name in names if fresh or _known(_path(out, seed, name), state) is None]
        if not waiting:
            continue
        ground = ProvingGround(scene, embedder, out / "maps" / str(seed))
        for name in waiting:
            outcome, result, flight = ground.try_fault(None if name == CLEAN else Fault[name])
            record = {"state": state, "outcome": asdict(outcome), "answers": _timeline(result, flight)}
            record["window"] = asdict(flight.window)
            write_results(out, {_path(out, seed, name).name: json.dumps(record, indent=1) + "\n"})
            print(line_of(outcome), flush=True)


def line_of(outcome: Outcome) -> str:
    """The outcome in one line."""
    phases = " / ".join(
        "-" if phase.availability is None else f"{100.0 * phase.availability:.0f}"
        for phase in (outcome.before, outcome.during, outcome.after)
    )
    back = "never" if outcome.recovery_s is None else f"{outcome.recovery_s:.1f} s"
    return f"{outcome.seed} {outcome.fault}: available {phases} %, back after {back}, false {len(outcome.false)}"


def _timeline(result: Replay, flight: FaultyFlight) -> list[list[Any]]:
    """(seconds, kind, metres off, false) of every frame."""
    return [
        [round(at_s, 3), one.kind, None if one.distance_m is None else round(one.distance_m, 2), one.false_fix]
        for at_s, one in zip(flight.arrives_s, result.answers, strict=True)
    ]


def _state(scene: Scene, embedder: Embedder) -> dict[str, Any]:
    """What a result holds for."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(LocalizerSettings())))
    stated: dict[str, Any] = json.loads(json.dumps(asdict(scene)))
    return {"model": embedder.manifest.identity, "code": code_hash(), "settings": settings, "scene": stated}


def _path(out: Path, seed: int, name: str) -> Path:
    return out / f"{seed}_{name}.json"


def _known(path: Path, state: dict[str, Any] | None) -> dict[str, Any] | None:
    """A result that stands already; `state`: in which it must have come about."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if state is None or record.get("state") == state else None


def report(out: Path, names: Sequence[str]) -> str:
    """Writes `faults.md` and `faults.svg` about all that stands in `out`; gives the table."""
    order = {name: number for number, name in enumerate(NAMES)}
    found: list[Tried] = []
    for path in sorted(out.glob("*_*.json")):
        record = _known(path, None)
        if record is not None and record["outcome"]["fault"] in names:
            found.append(Tried.of(record))
    if not found:
        raise TilefixError("holds no result", where=out, mend="evaluate_faults.py run")
    found.sort(key=lambda one: (order[one.fault], one.seed))
    table = markdown(found)
    if short := failures(found):
        table += "\nNot as asked:\n\n" + "".join(f"* {line}\n" for line in short)
    write_results(out, {"faults.md": table, "faults.svg": picture(found)})
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Tries faults, or reports."""
    parser = argparse.ArgumentParser(description="Try every fault over generated worlds.")
    commands = parser.add_subparsers(dest="command", required=True)
    trying = commands.add_parser("run", help="try faults and write one JSON file each")
    trying.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="of the worlds")
    trying.add_argument("--quick", action="store_true", help="a village instead of 4.4 km2")
    trying.add_argument("--fresh", action="store_true", help="again, whatever stands already")
    trying.add_argument("--model", help="default: the one that ships")
    for command in (trying, commands.add_parser("report", help="table and picture")):
        command.add_argument("--faults", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help="default: all")
        command.add_argument("--out", type=Path, default=Path("out/faults"))
    args = parser.parse_args(argv)
    try:
        if args.command == "run":
            embedder = open_embedder(args.model)
            run(args.out, args.seeds, args.faults, embedder, quick=args.quick, fresh=args.fresh)
        print(report(args.out, args.faults), end="")
    except TilefixError as error:
        print(f"evaluate_faults: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
